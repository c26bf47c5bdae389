//! Histories that broke earlier versions of the rules.

use publish_variants::ownership::{Evidence, Reason, Standing, Verdict};

use crate::history::{History, parsed, place};
use crate::run::{Ended, Habits, Run};
use crate::workflow::{IMAGE, OTHER_IMAGE, Workflow, workflow};
use crate::world::Base;

const ALPINE: &str = "alpine:3.23";
const DEBIAN: &str = "debian:13-slim";

/// One variant with one entry.
fn alpine() -> Workflow {
    workflow(&[(ALPINE, &["alpine"])])
}

/// One variant with two entries.
fn two_entries() -> Workflow {
    workflow(&[(ALPINE, &["alpine3.23", "alpine"])])
}

fn is_held_by(ended: &Ended, tag: &str, version: &str, evidence: Evidence) {
    match ended.reason(tag) {
        Some(Reason::HeldBy(by, found)) if by.to_string() == version && *found == evidence => {}
        other => panic!("{tag} isn't held by {version} ({evidence:?}): {other:?}"),
    }
}

fn published(ended: &Ended) {
    assert!(matches!(ended, Ended::Published(_)), "{ended:?}");
}

fn refused(ended: &Ended, message: &str) {
    assert!(matches!(ended, Ended::NoPlan(why) if why.contains(message)), "{ended:?}");
}

/// Asserts that nothing is left to write for this version.
fn nothing_to_do(history: &History, workflow: &Workflow, version: &str) {
    let before = history.world.borrow().writes.len();
    published(&history.run(workflow, version));
    assert_eq!(history.world.borrow().writes.len(), before, "{version} wrote something again");
}

fn steps(run: &mut Run, steps: usize) {
    for _ in 0..steps {
        assert!(run.step().is_none(), "it has ended before");
    }
}

/// Runs up to the moment at which the run has looked up a tag for the last time and is about to write it. The moment is
/// found by trial.
fn about_to_write(history: &History, workflow: &Workflow, version: &str, tag: &str) -> Run {
    for steps in 1.. {
        let world = history.world.borrow().clone();
        let mut run = history.start(workflow, version);
        let mut next = || -> bool {
            for _ in 0..steps {
                if run.step().is_some() {
                    panic!("{version} never writes {tag}");
                }
            }
            run.step().is_some()
                || history
                    .world
                    .borrow()
                    .writes
                    .last()
                    .is_some_and(|write| write.version == version && write.tag.as_str() == tag)
        };
        let wrote = next();
        *history.world.borrow_mut() = world;
        if wrote {
            let mut run = history.start(workflow, version);
            for _ in 0..steps {
                run.step();
            }
            return run;
        }
    }
    unreachable!()
}

// 1.

#[test]
fn a_pre_release_that_we_published_owns_no_rolling_tag() {
    let history = History::new();
    history.github("1.3.0rc1", Standing::Prerelease);
    let ended = history.run(&alpine(), "1.3.0rc1");
    assert!(matches!(ended.reason("alpine"), Some(Reason::NotFinal(_))), "{ended:?}");
    assert_eq!(history.shows("alpine"), "nothing");
    published(&history.release(&alpine(), "1.2.4"));
    assert_eq!(history.shows("alpine"), "1.2.4 on alpine:3.23");
    // Not even if GitHub doesn't know that it is one.
    history.release(&alpine(), "1.3.0-beta.1");
    assert_eq!(history.shows("alpine"), "1.2.4 on alpine:3.23");
    nothing_to_do(&history, &alpine(), "1.2.4");
}

// 2.

#[test]
fn a_withdrawn_version_that_a_rolling_tag_still_shows_holds_it_and_says_how_to_let_go() {
    let history = History::new();
    history.release(&alpine(), "1.2.3");
    history.release(&alpine(), "1.3.0");
    history.delete("1.3.0-alpine").github("1.3.0", Standing::Absent);
    let ended = history.release(&alpine(), "1.2.4");
    is_held_by(&ended, "alpine", "1.3.0", Evidence::Shown);
    assert!(ended.reason("alpine").unwrap().to_string().contains("ignore-versions"));
    assert!(ended.reason("alpine").unwrap().is_worth_a_warning());
    assert_eq!(history.shows("alpine"), "1.3.0 on alpine:3.23");
    assert_eq!(history.shows("1.2-alpine"), "1.2.4 on alpine:3.23", "its own series goes on");
    published(&history.run(&alpine().ignoring(&["1.3.0"]), "1.2.4"));
    assert_eq!(history.shows("alpine"), "1.2.4 on alpine:3.23");
}

#[test]
fn a_withdrawn_version_whose_image_is_left_gets_its_tag_back_with_a_warning() {
    let history = History::new();
    history.release(&alpine(), "1.2.3");
    history.release(&alpine(), "1.3.0");
    // Its release and its git tag are deleted, and the rolling tag is moved back by hand.
    history.github("1.3.0", Standing::Absent).set("alpine", "1.2.3-alpine");
    let ended = history.release(&alpine(), "1.2.4");
    is_held_by(&ended, "alpine", "1.3.0", Evidence::Unreleased);
    assert!(ended.reason("alpine").unwrap().to_string().contains("ignore-versions"));
    assert!(ended.reason("alpine").unwrap().is_worth_a_warning());
    assert_eq!(history.shows("alpine"), "1.3.0 on alpine:3.23", "its release may not be made yet");
    assert_eq!(history.shows("1.2-alpine"), "1.2.4 on alpine:3.23");
    published(&history.run(&alpine().ignoring(&["1.3.0"]), "1.2.4"));
    assert_eq!(history.shows("alpine"), "1.2.4 on alpine:3.23");
}

#[test]
fn a_withdrawn_version_that_is_being_published_again_keeps_its_series_from_going_back() {
    let history = History::new();
    history.release(&alpine(), "1.2.3");
    history.release(&alpine(), "1.2.4");
    history.delete("1.2.4-alpine").github("1.2.4", Standing::Absent);
    // It is being published again, and hasn't written its exact tag yet.
    let mut again = history.start(&alpine(), "1.2.4");
    steps(&mut again, 4);
    history.run(&alpine(), "1.2.3");
    assert_eq!(history.shows("1.2-alpine"), "1.2.4 on alpine:3.23");
    again.ended();
    assert_eq!(history.shows("1.2-alpine"), "1.2.4 on alpine:3.23");
    assert_eq!(history.shows("1.2.4-alpine"), "1.2.4 on alpine:3.23");
}

// 3.

#[test]
fn a_rolling_tag_that_looks_like_a_version_equal_to_another_moves_on() {
    for (first, second, rolling) in [("1.0.0", "1.0.1", "1.0-alpine"), ("0.9.0", "0.9.1", "0.9-alpine")] {
        let history = History::new();
        history.release(&alpine(), first);
        published(&history.release(&alpine(), second));
        assert_eq!(history.shows(rolling), format!("{second} on alpine:3.23"));
        nothing_to_do(&history, &alpine(), first);
        nothing_to_do(&history, &alpine(), second);
        assert_eq!(history.shows(rolling), format!("{second} on alpine:3.23"));
    }
}

// 4.

#[test]
fn images_of_an_old_workflow_hold_a_rolling_tag_back_whatever_their_labels_say() {
    let history = History::new();
    history.github("1.2.4", Standing::Final);
    for tag in ["1.2.4-alpine3.23", "1.2.4-alpine", "1.2-alpine3.23", "1.2-alpine", "alpine3.23", "alpine"] {
        history.push_old(tag, "1.2.4", "1.2.4 by the old workflow");
    }
    let ended = history.release(&two_entries(), "1.2.3");
    for tag in ["alpine", "alpine3.23", "1.2-alpine"] {
        is_held_by(&ended, tag, "1.2.4", Evidence::Likely);
        assert_eq!(history.shows(tag), "1.2.4 by the old workflow");
    }
    assert!(ended.reason("alpine").unwrap().is_worth_a_warning());
    assert_eq!(history.shows("1.2.3-alpine"), "1.2.3 on alpine:3.23");
    // A newer release moves them all.
    published(&history.release(&two_entries(), "1.3.0"));
    assert_eq!(history.shows("alpine"), "1.3.0 on alpine:3.23");
    assert_eq!(history.shows("1.2-alpine"), "1.2.4 by the old workflow");
}

// 5.

#[test]
fn a_run_that_was_overtaken_while_it_built_moves_no_rolling_tag_back() {
    let all = {
        let history = History::new();
        let mut run = history.start(&alpine(), "1.2.3");
        (1..).find(|_| run.step().is_some()).unwrap()
    };
    for moment in 0..all {
        let history = History::new();
        history.github("1.2.3", Standing::Final).github("1.2.4", Standing::Final);
        let mut slow = history.start(&alpine(), "1.2.3");
        for _ in 0..moment {
            assert!(slow.step().is_none());
        }
        published(&Run::start(&history.world, &alpine(), "1.2.4", Habits::default()).ended());
        published(&slow.ended());
        for tag in ["alpine", "1.2-alpine"] {
            assert_eq!(history.shows(tag), "1.2.4 on alpine:3.23", "{tag}, overtaken at request {moment}");
        }
    }
}

#[test]
fn a_run_that_was_overtaken_while_it_built_overwrites_no_exact_tag() {
    let history = History::new();
    history.release(&alpine(), "24.0");
    let mut slow = history.start(&alpine(), "24.1.1");
    // It has looked up `24.1-alpine`, which didn't exist, and is building.
    while history.world.borrow().images.len() < 2 {
        assert!(slow.step().is_none());
    }
    published(&history.release(&alpine(), "24.1"));
    let ended = slow.ended();
    assert_eq!(history.shows("24.1-alpine"), "24.1 on alpine:3.23");
    assert!(
        matches!(ended.reason("24.1-alpine"), Some(Reason::ExactTagOf(of)) if of.to_string() == "24.1"),
        "{ended:?}"
    );
    assert_eq!(history.shows("alpine"), "24.1.1 on alpine:3.23");
}

#[test]
fn images_that_another_workflow_publishes_during_a_run_stay() {
    for moment in 0.. {
        let history = History::new();
        history.release(&alpine(), "1.2.2");
        history.github("1.2.3", Standing::Final).github("1.2.4", Standing::Final);
        let mut slow = history.start(&alpine(), "1.2.3");
        if (0..moment).any(|_| slow.step().is_some()) {
            break;
        }
        for tag in ["1.2.4-alpine", "1.2-alpine", "alpine"] {
            history.push_old(tag, "1.2.4", "1.2.4 by another workflow");
        }
        slow.ended();
        for tag in ["1.2-alpine", "alpine"] {
            let is_crossed = history
                .world
                .borrow()
                .writes
                .iter()
                .any(|write| write.tag.as_str() == tag && write.looked != write.before);
            let shown = history.shows(tag);
            assert!(
                is_crossed || shown == "1.2.4 by another workflow",
                "{tag} shows {shown}, overtaken at request {moment}"
            );
        }
    }
}

// 6.

#[test]
fn three_runs_that_cross_leave_nothing_one_release_behind() {
    for (first, second) in [("1.2.3", "1.2.4"), ("1.2.4", "1.2.3")] {
        let history = History::new();
        for version in ["1.2.2", "1.2.3", "1.2.4"] {
            history.github(version, Standing::Final);
        }
        let mut oldest = about_to_write(&history, &alpine(), "1.2.2", "alpine");
        let mut older = about_to_write(&history, &alpine(), first, "alpine");
        published(&Run::start(&history.world, &alpine(), second, Habits::default()).ended());
        older.step();
        oldest.step();
        published(&older.ended());
        published(&oldest.ended());
        for tag in ["alpine", "1.2-alpine"] {
            assert_eq!(history.shows(tag), "1.2.4 on alpine:3.23", "{tag}, {first} late");
        }
    }
}

// 7.

#[test]
fn a_rolling_tag_that_looks_exact_does_not_undo_a_refresh() {
    let history = History::new();
    history.release(&alpine(), "1.2.3");
    // A refresh has moved the rolling tags to today's base; exact tags stay.
    history.move_base(ALPINE, Base::made(8));
    history.run(&alpine().templates(&["{version}-{tag}-8", "{major}.{minor}-{tag}", "{tag}"]), "1.2.3");
    assert_eq!(history.shows("1.2-alpine"), "1.2.3 on alpine:3.23, day 1");
    let ended = history.run(&alpine(), "1.2.3");
    assert_eq!(ended.reason("1.2-alpine"), Some(&Reason::NewerBase));
    assert_eq!(history.shows("1.2-alpine"), "1.2.3 on alpine:3.23, day 1");
    assert_eq!(history.shows("1.2.3-alpine"), "1.2.3 on alpine:3.23");
}

#[test]
fn a_rolling_tag_that_looks_exact_is_not_moved_back_by_a_backfill() {
    let history = History::new();
    history.release(&alpine(), "1.2.4");
    history.release(&alpine(), "1.2.3");
    assert_eq!(history.shows("1.2-alpine"), "1.2.4 on alpine:3.23");
    // 1.2 itself is published late: its exact tag is the rolling tag of its successors.
    let ended = history.release(&alpine(), "1.2");
    assert!(matches!(ended.reason("1.2-alpine"), Some(Reason::Taken { .. })), "{ended:?}");
    assert_eq!(history.shows("1.2-alpine"), "1.2.4 on alpine:3.23");
    assert_eq!(history.shows("alpine"), "1.2.4 on alpine:3.23");
}

// 8.

#[test]
fn a_version_that_is_rebuilt_takes_its_rolling_tags_along_even_on_the_same_base() {
    let history = History::new();
    history.release(&alpine(), "1.3.0");
    // It was withdrawn, and built again with another binary: another source makes another image.
    history.delete("1.3.0-alpine");
    let mut anew = alpine();
    anew.variants[0].env = "another binary".to_owned();
    published(&history.run(&anew, "1.3.0"));
    assert_eq!(history.digest("alpine"), history.digest("1.3.0-alpine"));
    assert_eq!(history.digest("1.3-alpine"), history.digest("1.3.0-alpine"));
}

#[test]
fn a_version_that_is_replaced_by_another_plan_takes_its_rolling_tags_along() {
    let history = History::new();
    history.release(&alpine(), "1.3.0");
    let before = history.digest("alpine");
    let mut other = alpine().on_conflict("replace");
    other.variants[0].env = "another plan".to_owned();
    published(&history.run(&other, "1.3.0"));
    assert_ne!(history.digest("alpine"), before);
    assert_eq!(history.digest("alpine"), history.digest("1.3.0-alpine"));
    assert_eq!(history.digest("1.3-alpine"), history.digest("1.3.0-alpine"));
}

// 9.

#[test]
fn source_tags_without_the_version_are_refused() {
    let history = History::new();
    let mut workflow = alpine();
    workflow.source_tags = vec!["{major}.{minor}".to_owned(), "latest".to_owned()];
    refused(&history.run(&workflow, "1.3.0"), "no template names the version");
    // With such a template, the backfill moves nothing.
    let workflow = alpine().with_source();
    history.release(&workflow, "1.3.0");
    history.release(&workflow, "1.2.0");
    assert_eq!(history.shows("latest"), "1.3.0");
    assert_eq!(history.shows("1.2"), "1.2.0");
}

// 10.

#[test]
fn a_flagged_version_that_a_rolling_tag_shows_gives_way_to_the_owner_and_not_to_a_backfill() {
    let history = History::new();
    history.release(&alpine(), "1.3.1");
    history.release(&alpine(), "2.0.0");
    assert_eq!(history.shows("alpine"), "2.0.0 on alpine:3.23");
    history.github("2.0.0", Standing::Prerelease);
    let ended = history.release(&alpine(), "1.3.0");
    assert_eq!(history.shows("alpine"), "1.3.1 on alpine:3.23");
    is_held_by(&ended, "alpine", "1.3.1", Evidence::Proved);
}

// 11.

#[test]
fn a_stranger_at_an_exact_tag_takes_no_rolling_tag_from_the_version_that_it_shows() {
    let history = History::new();
    history.release(&alpine(), "1.3.0");
    history.push_foreign("1.3.0-alpine", "a stranger's");
    let ended = history.release(&alpine(), "1.2.4");
    is_held_by(&ended, "alpine", "1.3.0", Evidence::Shown);
    assert_eq!(history.shows("alpine"), "1.3.0 on alpine:3.23");
    // The version itself finds its exact tag taken, and leaves the rolling tags alone.
    let ended = history.run(&alpine(), "1.3.0");
    assert!(matches!(ended.reason("1.3.0-alpine"), Some(Reason::Taken { .. })), "{ended:?}");
    assert!(matches!(ended.reason("alpine"), Some(Reason::EntryTaken(_))), "{ended:?}");
    assert_eq!(history.shows("1.3.0-alpine"), "a stranger's");
}

// 12.

#[test]
fn an_ignored_version_gets_only_its_exact_tags() {
    let history = History::new();
    let workflow = two_entries().ignoring(&["1.3.0"]);
    history.release(&workflow, "1.2.4");
    let ended = history.release(&workflow, "1.3.0");
    published(&ended);
    assert_eq!(ended.reason("alpine"), Some(&Reason::Ignored));
    assert_eq!(history.shows("1.3.0-alpine"), "1.3.0 on alpine:3.23");
    assert_eq!(history.shows("1.3-alpine"), "nothing");
    assert_eq!(history.shows("alpine"), "1.2.4 on alpine:3.23");
}

// 13.

#[test]
fn a_rolling_tag_that_looks_like_an_exact_tag_of_another_entry_is_refused() {
    let history = History::new();
    let of_node = workflow(&[("node:22-slim", &["22-slim"])]);
    let ended = history.release(&of_node, "22");
    refused(&ended, "reads as the exact tag of version `22`");
    let slim = workflow(&[(DEBIAN, &["slim"])]);
    published(&history.release(&slim, "21"));
    assert_eq!(history.shows("slim"), "21 on debian:13-slim");
    nothing_to_do(&history, &slim, "21");
    // The other version made the tag by its own workflow, and its image lacks our annotation.
    history.push_foreign("22-slim", "22 of the entry 22-slim");
    published(&history.run(&slim, "21"));
    assert_eq!(history.shows("slim"), "21 on debian:13-slim");
}

#[test]
fn an_entry_never_names_the_image_of_one_that_begins_with_a_number() {
    let history = History::new();
    let both = workflow(&[(DEBIAN, &["slim"]), ("node:22-slim", &["22-slim"])]);
    published(&history.release(&both, "1.2.3"));
    for version in ["1.2.3", "1.2.4"] {
        published(&history.release(&both, version));
        assert_eq!(history.shows("slim"), format!("{version} on debian:13-slim"));
        assert_eq!(history.shows("22-slim"), format!("{version} on node:22-slim"));
    }
}

// 14.

#[test]
fn no_rolling_tag_is_given_to_an_image_that_cannot_be_pulled() {
    let history = History::new();
    history.release(&alpine(), "1.2.3");
    history.release(&alpine(), "1.3.0");
    history.set("alpine", "1.2.3-alpine").delete_children("1.3.0-alpine");
    let ended = history.release(&alpine(), "1.2.4");
    assert!(
        matches!(ended.reason("alpine"), Some(Reason::ChildrenMissing(of)) if of.to_string() == "1.3.0"),
        "{ended:?}"
    );
    assert_eq!(history.shows("alpine"), "1.2.3 on alpine:3.23");
    // Its own run restores them.
    published(&history.run(&alpine(), "1.3.0"));
    assert_eq!(history.shows("alpine"), "1.3.0 on alpine:3.23");
}

#[test]
fn a_base_that_lost_a_platform_stops_no_copy_of_the_published_image_to_another_registry() {
    let history = History::new();
    let both = alpine().in_two_registries();
    history.release(&both, "1.2.2");
    // One registry is down.
    history.release(&alpine(), "1.2.3");
    history.move_base(ALPINE, Base::made(2).only("linux/amd64"));
    published(&history.run(&both, "1.2.3"));
    assert_eq!(history.shows_at(OTHER_IMAGE, "alpine"), "1.2.3 on alpine:3.23");
}

#[test]
fn a_rolling_tag_follows_none_of_its_exact_tags_if_one_is_taken() {
    let history = History::new();
    history.release(&alpine(), "1.2.3");
    let mut other = alpine().templates(&["v{version}-{tag}", "{version}-{tag}", "{tag}"]);
    other.variants[0].env = "other".to_owned();
    let ended = history.run(&other, "1.2.3");
    assert!(matches!(ended.reason("1.2.3-alpine"), Some(Reason::Taken { .. })), "{ended:?}");
    assert!(matches!(ended.reason("alpine"), Some(Reason::EntryTaken(_))), "{ended:?}");
    assert_eq!(history.digest("alpine"), history.digest("1.2.3-alpine"));
}

#[test]
fn a_base_that_lost_a_platform_stops_no_backfill_that_moves_nothing() {
    let history = History::new();
    history.release(&alpine(), "1.3.0");
    history.move_base(ALPINE, Base::made(2).only("linux/amd64"));
    let ended = history.release(&alpine(), "1.2.4");
    published(&ended);
    is_held_by(&ended, "alpine", "1.3.0", Evidence::Proved);
    // A run that would move it ends before the first tag.
    let before = history.world.borrow().writes.len();
    assert!(matches!(history.release(&alpine(), "1.3.1"), Ended::Platforms));
    assert_eq!(history.world.borrow().writes.len(), before);
}

// 15.

#[test]
fn inserting_an_entry_before_another_keeps_the_release_begun() {
    let history = History::new();
    history.release(&alpine(), "1.2.3");
    let image = history.digest("1.2.3-alpine");
    history.move_base(ALPINE, Base::made(5));
    let more = workflow(&[(ALPINE, &["alpine3.24", "alpine"])]);
    let ended = history.run(&more, "1.2.3");
    published(&ended);
    for tag in ["1.2.3-alpine", "1.2.3-alpine3.24", "alpine3.24", "1.2-alpine3.24", "alpine"] {
        assert_eq!(history.digest(tag), image, "{tag}");
    }
}

#[test]
fn two_runs_of_one_version_give_one_digest_though_the_base_moves_between_them() {
    let workflow = two_entries().in_two_registries();
    for moment in 0.. {
        let history = History::new();
        history.github("1.2.3", Standing::Final);
        let mut first = history.start(&workflow, "1.2.3");
        if (0..moment).any(|_| first.step().is_some()) {
            break;
        }
        history.move_base(ALPINE, Base::made(5));
        published(&Run::start(&history.world, &workflow, "1.2.3", Habits::default()).ended());
        published(&first.ended());
        if history.was_crossed() {
            // They crossed in the one round trip before the first tag was written. Then both images are this release,
            // and both stay.
            continue;
        }
        let image = history.digest("1.2.3-alpine3.23");
        for tag in ["1.2.3-alpine3.23", "1.2.3-alpine", "1.2-alpine", "alpine3.23", "alpine"] {
            for repository in &workflow.images {
                let world = history.world.borrow();
                let named = world.named(&crate::history::place(repository), &crate::history::parsed(tag));
                assert_eq!(named, image, "{repository}:{tag}, the second run at request {moment}");
            }
        }
    }
}

// 16.

#[test]
fn two_versions_that_cross_in_the_last_round_trip_are_corrected_or_reported() {
    // 24.1.1 looks up `24.1-alpine`, which doesn't exist; 24.1 writes it; 24.1.1 overwrites it.
    let history = History::new();
    history.github("24.1", Standing::Final).github("24.1.1", Standing::Final);
    let mut successor = about_to_write(&history, &alpine(), "24.1.1", "24.1-alpine");
    let mut first = about_to_write(&history, &alpine(), "24.1", "24.1-alpine");
    first.step();
    successor.step();
    let first = first.ended();
    let successor = successor.ended();
    assert_eq!(history.shows("24.1.1-alpine"), "24.1.1 on alpine:3.23");
    assert_eq!(history.shows("alpine"), "24.1.1 on alpine:3.23");
    let told = matches!(first.reason("24.1-alpine"), Some(Reason::Taken { .. }));
    let right = history.shows("24.1-alpine") == "24.1 on alpine:3.23";
    assert!(told || right, "{first:?} {successor:?}");
}

// 17.

#[test]
fn a_late_write_of_a_killed_run_is_corrected_by_any_run_of_the_series() {
    for version in ["1.2.2", "1.2.3", "1.3.0"] {
        let history = History::new();
        let workflow = alpine().with_source();
        history.release(&workflow, "1.2.3");
        history.release(&workflow, "1.3.0");
        history.set("alpine", "1.2.3-alpine").set("latest", "1.2.3");
        let ended = history.release(&workflow, version);
        published(&ended);
        assert_eq!(history.shows("alpine"), "1.3.0 on alpine:3.23", "{version}");
        assert_eq!(history.shows("latest"), "1.3.0", "{version}");
        assert!(ended.decisions().iter().all(|decision| !matches!(decision.verdict, Verdict::Write(_))));
        nothing_to_do(&history, &workflow, version);
    }
}

// F8.

#[test]
fn a_release_marked_as_a_pre_release_moves_no_rolling_tag_whatever_started_the_run() {
    let history = History::new();
    history.release(&alpine(), "1.3.0");
    history.github("2.0.0", Standing::Prerelease);
    let ended = history.run(&alpine(), "2.0.0");
    assert!(matches!(ended.reason("alpine"), Some(Reason::NotFinal(_))), "{ended:?}");
    assert_eq!(history.shows("2.0.0-alpine"), "2.0.0 on alpine:3.23");
    assert_eq!(history.shows("alpine"), "1.3.0 on alpine:3.23");
}

// Found by random histories.

#[test]
fn a_replaced_image_takes_its_rolling_tags_along_even_if_its_base_is_as_old() {
    let history = History::new();
    let mut workflow = alpine();
    workflow.variants[0].run = true;
    history.release(&workflow, "1.3.0");
    let before = history.digest("alpine");
    published(&history.run(&workflow.clone().on_conflict("replace"), "1.3.0"));
    assert_ne!(history.digest("1.3.0-alpine"), before, "another run of the same lines gives another image");
    assert_eq!(history.digest("alpine"), history.digest("1.3.0-alpine"));
    assert_eq!(history.digest("1.3-alpine"), history.digest("1.3.0-alpine"));
    // The same if more is known about the tool.
    let history = History::new();
    history.release(&alpine(), "1.3.0");
    history.world.borrow_mut().facts += 1;
    published(&history.run(&alpine().on_conflict("replace"), "1.3.0"));
    assert_eq!(history.digest("alpine"), history.digest("1.3.0-alpine"));
}

#[test]
fn a_rolling_tag_of_another_plan_is_not_taken_for_an_exact_tag_of_an_older_version() {
    // `1` was the source's rolling tag, and names the image of `latest`.
    let history = History::new();
    let mut before = alpine();
    before.source_tags = vec!["v{version}".to_owned(), "{major}".to_owned(), "latest".to_owned()];
    history.release(&before, "1.2.4");
    let ended = history.release(&alpine().with_source(), "1.2.3");
    is_held_by(&ended, "latest", "1.2.4", Evidence::Shown);
    assert_eq!(history.shows("latest"), "1.2.4");
    // `3.13-alpine` was a variant's rolling tag.
    let history = History::new();
    history.release(&workflow(&[("python:3.13-alpine", &["3.13-alpine", "alpine"])]), "24.1.2");
    history.delete("24.1.2-alpine");
    let ended = history.release(&workflow(&[("python:3.13-alpine", &["alpine"])]), "24.1.1");
    is_held_by(&ended, "alpine", "24.1.2", Evidence::Shown);
}

#[test]
fn an_exact_tag_is_protected_even_if_a_longer_rolling_tag_names_the_same_image() {
    let history = History::new();
    let workflow = alpine().templates(&["{version}-{tag}", "{major}.{minor}-{tag}", "{major}-{tag}", "{tag}"]);
    history.release(&workflow, "22");
    assert_eq!(history.digest("22.0-alpine"), history.digest("22-alpine"));
    let ended = history.release(&workflow, "22.04");
    assert!(matches!(ended.reason("22-alpine"), Some(Reason::ExactTagOf(of)) if of.to_string() == "22"), "{ended:?}");
    assert_eq!(history.shows("22-alpine"), "22 on alpine:3.23");
    assert_eq!(history.shows("alpine"), "22.04 on alpine:3.23");
}

#[test]
fn a_version_of_another_entry_is_not_taken_for_a_longer_version() {
    for (older, newer) in [("1.2.3", "1.2.4"), ("24.0", "24.1")] {
        let history = History::new();
        let python = workflow(&[("python:3.13-alpine", &["3.13-alpine", "alpine"])]);
        history.github(newer, Standing::Final);
        let old = format!("{newer} by the old workflow");
        let exact = [format!("{newer}-3.13-alpine"), format!("{newer}-alpine")];
        for tag in exact.iter().map(String::as_str).chain(["3.13-alpine", "alpine"]) {
            history.push_old(tag, newer, &old);
        }
        let ended = history.release(&python, older);
        is_held_by(&ended, "alpine", newer, Evidence::Likely);
        is_held_by(&ended, "3.13-alpine", newer, Evidence::Likely);
        assert_eq!(history.shows("alpine"), old);
    }
}

#[test]
fn an_old_workflows_entry_with_a_number_holds_no_other_entry() {
    // `22-slim` is a rolling tag of the plan, not version 22 of `slim`.
    let history = History::new();
    for tag in ["1.2.3-22-slim", "1.2.3-slim", "22-slim", "slim"] {
        history.push_old(tag, "1.2.3", "1.2.3 by the old workflow");
    }
    history.github("1.2.3", Standing::Final);
    published(&history.release(&workflow(&[("node:22-slim", &["22-slim", "slim"])]), "1.2.4"));
    assert_eq!(history.shows("slim"), "1.2.4 on node:22-slim");
    assert_eq!(history.shows("22-slim"), "1.2.4 on node:22-slim");
}

#[test]
fn an_image_that_has_not_been_built_leaves_a_rolling_tag_on_a_newer_base() {
    let history = History::new();
    let mut workflow = alpine();
    workflow.variants[0].run = true;
    history.move_base(ALPINE, Base::made(9));
    history.release(&workflow, "1.3.0");
    history.delete("1.3.0-alpine").move_base(ALPINE, Base::made(1).only("linux/amd64"));
    let ended = history.run(&workflow, "1.3.0");
    published(&ended);
    assert_eq!(ended.reason("alpine"), Some(&Reason::NewerBase));
}

// Tags that look like an older version.

#[test]
fn a_possible_entry_or_rolling_tag_is_read_before_it_counts_as_an_older_version() {
    // `3.13-alpine` was an entry under other templates, or its newer exact tags were deleted.
    let python = workflow(&[("python:3.13-alpine", &["3.13-alpine", "alpine"])]);
    let others = python.clone().templates(&["{tag}-{version}", "{tag}"]);
    for (before, exact) in [(python, "24.2-alpine"), (others, "alpine-24.2")] {
        let history = History::new();
        history.release(&before, "24.2");
        history.delete(exact);
        let after = workflow(&[("python:3.13-alpine", &["alpine"])]);
        let ended = history.release(&after, "24.1");
        is_held_by(&ended, "alpine", "24.2", Evidence::Shown);
        assert_eq!(history.shows("alpine"), "24.2 on python:3.13-alpine");
    }
}

#[test]
fn a_rolling_tag_left_behind_by_a_later_epoch_is_not_an_older_version() {
    for (late, rolling) in [("24.1", "latest"), ("1.3", "latest")] {
        let history = History::new();
        history.release(&alpine().with_source(), "1!1.2.3");
        history.delete("1-1.2.3");
        let ended = history.release(&alpine().with_source(), late);
        is_held_by(&ended, rolling, "1!1.2.3", Evidence::Shown);
        assert_eq!(history.shows(rolling), "1!1.2.3", "{late}");
    }
}

// Spellings.

#[test]
fn one_of_two_spellings_of_a_version_owns_the_rolling_tags_whichever_runs() {
    for order in [["1.2", "1.2.0"], ["1.2.0", "1.2"]] {
        let history = History::new();
        for version in order {
            published(&history.release(&alpine().with_source(), version));
        }
        for rerun in ["1.2", "1.2.0", "1.2.0", "1.2"] {
            nothing_to_do(&history, &alpine().with_source(), rerun);
            assert_eq!(history.shows("alpine"), "1.2.0 on alpine:3.23", "{order:?}");
            assert_eq!(history.shows("latest"), "1.2.0", "{order:?}");
        }
    }
}

// Templates that change.

#[test]
fn rolling_tags_do_not_overwrite_exact_tags_of_earlier_templates() {
    let before = alpine().with_source();
    let mut after = alpine().templates(&["v{version}-{tag}", "{major}.{minor}-{tag}", "{tag}"]);
    after.source_tags = vec!["v{version}".to_owned(), "{major}.{minor}".to_owned(), "latest".to_owned()];
    let history = History::new();
    history.release(&before, "24.1");
    let ended = history.release(&after, "24.1.1");
    for tag in ["24.1-alpine", "24.1"] {
        assert!(matches!(ended.reason(tag), Some(Reason::ExactTagOf(of)) if of.to_string() == "24.1"), "{ended:?}");
        assert!(history.shows(tag).starts_with("24.1"), "{tag}");
        assert!(!history.shows(tag).starts_with("24.1.1"), "{tag}");
    }
    assert_eq!(history.shows("alpine"), "24.1.1 on alpine:3.23");
    // If 24.1 has an exact tag by these templates, the same text is a rolling tag.
    let history = History::new();
    history.release(&after, "24.1");
    published(&history.release(&after, "24.1.1"));
    assert_eq!(history.shows("24.1-alpine"), "24.1.1 on alpine:3.23");
    assert_eq!(history.shows("24.1"), "24.1.1");
}

#[test]
fn a_tag_of_two_series_is_refused() {
    let templates = ["{version}-{tag}", "{major}-{tag}", "{tag}"];
    let both = workflow(&[("node:22-slim", &["22-slim", "slim"])]).templates(&templates);
    let history = History::new();
    refused(
        &history.release(&both, "22.04"),
        "rolling tag `22-slim` comes from `{major}-{tag}` with `slim` and from `{tag}`",
    );
    published(&history.release(&both, "24.0"));
    assert_eq!(history.shows("22-slim"), "24.0 on node:22-slim");
}

// Without GitHub.

#[test]
fn a_version_that_a_tag_may_stand_for_holds_the_tag_without_github() {
    let history = History::new();
    history.world.borrow_mut().github = None;
    let source = alpine().with_source();
    for tag in ["1.30.0-k3s1", "1.30", "latest"] {
        history.push_old(tag, "1.30.0+k3s1", "1.30.0+k3s1 by the old workflow");
    }
    let ended = history.run(&source, "1.29.2+k3s1");
    is_held_by(&ended, "latest", "1.30.0+k3s1", Evidence::LikelySource);
    assert_eq!(history.shows("latest"), "1.30.0+k3s1 by the old workflow");
    // `1.30.0-k3s1-22-slim` is a tag of another entry.
    let history = History::new();
    history.world.borrow_mut().github = None;
    for tag in ["1.30.0-k3s1-22-slim", "1.30.0-k3s1-slim", "22-slim", "slim"] {
        history.push_old(tag, "1.30.0+k3s1", "1.30.0+k3s1 by the old workflow");
    }
    let slim = workflow(&[("node:22-slim", &["22-slim", "slim"])]).on_conflict("replace");
    published(&history.run(&slim, "1.30.0+k3s1"));
    assert_eq!(history.shows("slim"), "1.30.0+k3s1 on node:22-slim");
}

#[test]
fn a_killed_replacement_of_an_old_release_still_takes_its_rolling_tags_along() {
    let replace = alpine().on_conflict("replace");
    let setting = || {
        let history = History::new();
        history.world.borrow_mut().github = None;
        for tag in ["2.0.0-alpine", "2.0-alpine", "alpine"] {
            history.push_old(tag, "2.0.0", "2.0.0 by the old workflow");
        }
        history
    };
    let all_follow = |habits: Habits| {
        for moment in 0.. {
            let history = setting();
            let mut run = Run::start(&history.world, &replace, "2.0.0", habits);
            if (0..moment).any(|_| run.step().is_some()) {
                return true;
            }
            drop(run);
            published(&Run::start(&history.world, &replace, "2.0.0", habits).ended());
            if ["2.0.0-alpine", "2.0-alpine", "alpine"].iter().any(|tag| history.shows(tag) != "2.0.0 on alpine:3.23") {
                return false;
            }
        }
        unreachable!()
    };
    assert!(all_follow(Habits::default()));
    assert!(!all_follow(Habits { replaced_first: false, ..Habits::default() }), "the model wouldn't notice");
}

// The model itself would notice mistakes.

/// The number of requests of `held` at which a run in between leaves something wrong behind.
fn wrong_moments(habits: Habits, held: &str, other: &str, is_right: impl Fn(&History) -> bool) -> usize {
    let mut wrong = 0;
    for moment in 0.. {
        let history = History::new();
        history.github(held, Standing::Final).github(other, Standing::Final);
        let mut run = Run::start(&history.world, &alpine(), held, habits);
        if (0..moment).any(|_| run.step().is_some()) {
            return wrong;
        }
        Run::start(&history.world, &alpine(), other, Habits::default()).ended();
        run.ended();
        wrong += usize::from(!is_right(&history) || !history.world.borrow().objections.is_empty());
    }
    unreachable!()
}

#[test]
fn a_run_without_its_habits_is_noticed() {
    let is_newest = |history: &History| history.shows("alpine") == "1.2.4 on alpine:3.23";
    let first_wins = |history: &History| {
        let world = history.world.borrow();
        let first =
            world.writes.iter().find(|write| write.tag.as_str() == "24.1-alpine").map(|write| write.after.clone());
        drop(world);
        history.digest("24.1-alpine") == first
    };
    let usual = Habits::default();
    assert_eq!(wrong_moments(usual, "1.2.3", "1.2.4", is_newest), 0);
    assert_eq!(wrong_moments(usual, "24.1.1", "24.1", first_wins), 1, "in the one round trip alone");
    assert!(wrong_moments(Habits { looks_before_writing: false, ..usual }, "24.1.1", "24.1", first_wins) > 1);
    assert!(wrong_moments(Habits { looks_again: false, ..usual }, "1.2.3", "1.2.4", is_newest) > 0);
    assert!(wrong_moments(Habits { exact_first: false, ..usual }, "1.2.3", "1.2.4", is_newest) > 0);
}

#[test]
fn the_build_jobs_image_holds_a_rolling_tag_once_github_knows_its_version() {
    let (history, workflow) = (History::new(), alpine().with_source());
    history.release(&workflow, "1.29.1+k3s1");
    history.world.borrow_mut().put_built(&place(IMAGE), &parsed("1.29.2-k3s2"), "tool", "1.29.2+k3s2");
    published(&history.run(&workflow, "1.29.2+k3s2"));
    assert_eq!(history.shows("latest"), "1.29.2+k3s2 as built");
    // `1.29.2-k3s2` may just as well be 1.29.2 of a variant `k3s2`, and GitHub has no 1.29.2+k3s2.
    published(&history.run(&workflow, "1.29.1+k3s1"));
    assert_eq!(history.shows("latest"), "1.29.1+k3s1");
    assert_eq!(history.shows("alpine"), "1.29.2+k3s2 on alpine:3.23", "what we have made says what it is");
    history.github("1.29.2+k3s2", Standing::Tagged);
    published(&history.run(&workflow, "1.29.2+k3s2"));
    let ended = history.run(&workflow, "1.29.1+k3s1");
    is_held_by(&ended, "latest", "1.29.2+k3s2", Evidence::LikelySource);
    assert_eq!(history.shows("latest"), "1.29.2+k3s2 as built");
}

#[test]
fn a_tag_that_a_newer_version_mistakes_for_an_exact_one_is_given_to_it_by_the_older_version() {
    let (history, mut workflow) = (History::new(), alpine());
    workflow.source_tags = vec!["v{version}".to_owned(), "{major}".to_owned(), "latest".to_owned()];
    history.release(&workflow, "22");
    // Now only the text of `22` says whether it is an exact tag of 22.
    history.push_foreign("v22", "a stranger's");
    let ended = history.release(&workflow, "22.04");
    assert!(matches!(ended.reason("22"), Some(Reason::ExactTagOf(of)) if of.to_string() == "22"), "{ended:?}");
    assert_eq!(history.shows("22"), "22");
    published(&history.run(&workflow, "22"));
    assert_eq!(history.shows("22"), "22.04");
    nothing_to_do(&history, &workflow, "22");
}
