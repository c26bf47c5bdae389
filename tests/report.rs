//! `report`: what people and later steps see.

#![expect(clippy::unwrap_used, reason = "a failing setup fails its test")]

use std::time::Duration;

use publish_variants::action::inputs::ReleaseNotes;
use publish_variants::error::Failure;
use publish_variants::hint::{Flaw, Hints};
use publish_variants::image::Digest;
use publish_variants::ownership::{Evidence, Reason};
use publish_variants::plan::{Place, PlanError, Problem};
use publish_variants::publish::PublishError;
use publish_variants::report::notes::{self, LONGEST_BODY};
use publish_variants::report::section::{END, PLACEHOLDER, begin, sections};
use publish_variants::report::{
    Base, Blobs, BuiltPlatform, Check, Destination, KeptTag, Outcome, Report, RollingTag, Source, Stage, Status, Tally,
    Variant, outcome, outputs, summary,
};
use publish_variants::stages::Ledger;

fn digest(of: &str) -> Digest {
    Digest::of(of.as_bytes())
}

fn check(command: &str, outcome: Outcome) -> Check {
    Check { command: command.into(), outcome }
}

fn destination(repository: &str, version: &str, name: &str) -> Destination {
    Destination {
        repository: repository.parse().unwrap(),
        digest: Some(digest(name)),
        exact: vec![format!("{version}-{name}").parse().unwrap()],
        rolling: vec![RollingTag { tag: name.parse().unwrap(), previous: Some(digest(&format!("{name} before"))) }],
        kept: vec![],
        blobs: Blobs { already_there: 2, mounted: 3, copied: 0, pushed: 1, manifests: 3 },
    }
}

fn variant(name: &str, base: &str) -> Variant {
    let emulation = || Outcome::Skipped { reason: "the engine can't run `linux/arm64`".into() };
    let destinations =
        ["ghcr.io/acme/tool", "docker.io/acme/tool"].map(|repository| destination(repository, "1.4.0", name));
    Variant {
        name: name.into(),
        entries: vec![name.into()],
        digest: Some(digest(name)),
        is_vouched_for: true,
        source: None,
        base: Some(Base { reference: base.parse().unwrap(), digest: Some(digest(base)) }),
        image: None,
        destinations: destinations.into(),
        platforms: vec![
            BuiltPlatform {
                platform: "linux/amd64".parse().unwrap(),
                digest: digest(&format!("{name} amd64")),
                size: 26_120_345,
                checks: vec![check("tool --version", Outcome::Passed), check("sh -c true", Outcome::Passed)],
            },
            BuiltPlatform {
                platform: "linux/arm64".parse().unwrap(),
                digest: digest(&format!("{name} arm64")),
                size: 25_004_001,
                checks: vec![check("tool --version", emulation()), check("sh -c true", emulation())],
            },
        ],
        deprecated: None,
    }
}

fn report() -> Report {
    let mut alpine = variant("alpine3.23", "alpine:3.23");
    alpine.entries.push("alpine".into());
    for destination in &mut alpine.destinations {
        destination.exact.push("1.4.0-alpine".parse().unwrap());
        destination.rolling.push(RollingTag { tag: "1.4-alpine".parse().unwrap(), previous: None });
    }
    let kept = KeptTag {
        tag: "alpine".parse().unwrap(),
        reason: Reason::HeldBy("1.5.0".parse().unwrap(), Evidence::Proved).to_string(),
    };
    alpine.destinations[0].kept.push(kept);
    let mut python = variant("python3.9-slim", "ghcr.io/bases/python:3.9-slim");
    python.deprecated = Some("Python 3.9 has reached its end of life | use `python3.14-slim`".into());
    let stage = |name: &str, start, duration| Stage {
        name: name.into(),
        start: Duration::from_millis(start),
        duration: Duration::from_millis(duration),
    };
    Report {
        status: Status::Published,
        version: "1.4.0".into(),
        source: Some(Source {
            reference: "ghcr.io/acme/tool:1.4.0".parse().unwrap(),
            digest: digest("source"),
            destinations: vec![],
            sizes: vec![("linux/amd64".parse().unwrap(), 21_300_000), ("linux/arm64".parse().unwrap(), 19_400_000)],
        }),
        variants: vec![alpine, python],
        unreleased: None,
        dropped_variants: vec!["python3.8-slim".into()],
        warnings: vec!["base `alpine:3.23` has no `linux/riscv64`, which the source has".into()],
        stages: vec![
            stage("Resolve", 0, 812),
            stage("Build", 812, 14_300),
            stage("Verify", 9_000, 7_900),
            stage("Publish", 16_900, 5_450),
        ],
        new_variants: vec![],
        comparison: None,
        next_tag_forms: vec![],
        tag_forms: FORMS.map(str::to_owned).into(),
        tally: Tally { created: 6, moved: 5, kept: 1, ..Tally::default() },
    }
}

/// The tags that the default templates make of an entry.
const FORMS: [&str; 3] = ["1.4.0-<tag>", "1.4-<tag>", "<tag>"];

/// A report of variants `base,entry,entry`, with the tags of the default templates.
fn of_lines<'a>(lines: impl IntoIterator<Item = &'a str>) -> Report {
    let variants = lines.into_iter().map(|line| {
        let words: Vec<&str> = line.split(',').collect();
        let mut variant = variant(words[1], words[0]);
        variant.entries = words[1..].iter().map(|entry| (*entry).to_owned()).collect();
        for (destination, repository) in
            variant.destinations.iter_mut().zip(["ghcr.io/astral-sh/uv", "docker.io/astral/uv"])
        {
            destination.repository = repository.parse().unwrap();
            let tags = |form: &str| -> Vec<_> {
                words[1..].iter().map(|entry| form.replace("<tag>", entry).parse().unwrap()).collect()
            };
            destination.exact = tags(FORMS[0]);
            let rolling = FORMS[1..].iter().flat_map(|form| tags(form));
            let moved = |tag| RollingTag { tag, previous: Some(digest(&format!("{} before", words[1]))) };
            destination.rolling = rolling.map(moved).collect();
        }
        variant
    });
    let variants: Vec<Variant> = variants.collect();
    let source = Source { reference: "ghcr.io/astral-sh/uv:1.4.0".parse().unwrap(), ..report().source.unwrap() };
    Report { variants, source: Some(source), dropped_variants: vec![], warnings: vec![], ..report() }
}

/// The variants of uv.
fn uv() -> Report {
    of_lines(include_str!("fixtures/matrix/uv.txt").lines())
}

fn large(count: usize) -> Report {
    let lines: Vec<String> =
        (0..count).map(|n| format!("python:3.{n}-slim-bookworm,python3.{n}-bookworm-slim")).collect();
    of_lines(lines.iter().map(String::as_str))
}

fn compact(body: &str, report: &Report) -> String {
    notes::update(body, report, ReleaseNotes::Compact).unwrap()
}

/// The exact tags name somebody else's image, which is neither advertised nor attested.
#[test]
fn a_variant_whose_exact_tags_are_taken_is_named_and_not_vouched_for() {
    let mut report = report();
    report.variants.truncate(1);
    let taken = &mut report.variants[0];
    let reason = Reason::Taken { digest: digest("theirs"), why: "which another tool has published".into() };
    (taken.digest, taken.platforms) = (None, Vec::new());
    for destination in &mut taken.destinations {
        destination.digest = None;
        destination.rolling.clear();
        let exact = destination.exact.drain(..);
        destination.kept = exact.map(|tag| KeptTag { tag, reason: reason.to_string() }).collect();
    }
    insta::assert_snapshot!(summary::markdown(&report, None));
    assert_eq!(outputs::checksums(&report), "");
    let outputs = outputs::outputs(&report);
    let output = |name| outputs.iter().find(|(known, _)| *known == name).unwrap().1.as_str();
    assert_eq!((output("digests"), output("tags")), ("{}", ""));
    assert_eq!(output("kept").lines().count(), 4, "{}", output("kept"));
}

/// The layers of `run` lines differ each time, so only the run that made them knows their content.
#[test]
fn images_that_this_run_did_not_make_are_not_in_the_checksums() {
    let mut report = report();
    report.variants[0].is_vouched_for = false;
    let checksums = outputs::checksums(&report);
    assert!(!checksums.contains(digest("alpine3.23").hex()) && checksums.contains(digest("python3.9-slim").hex()));
}

#[test]
fn the_section_of_the_notes() {
    insta::assert_snapshot!(notes::section(&report()));
}

#[test]
fn the_full_section_of_the_notes() {
    insta::assert_snapshot!(notes::update("", &report(), ReleaseNotes::Full).unwrap());
}

#[test]
fn the_section_of_one_variant() {
    insta::assert_snapshot!(notes::section(&of_lines(["alpine:3.23,alpine3.23,alpine"])));
}

#[test]
fn the_section_of_uvs_variants() {
    insta::assert_snapshot!(notes::section(&uv()));
}

#[test]
fn platforms_are_a_column_if_they_differ() {
    let mut report = uv();
    report.variants.truncate(3);
    report.variants[1].platforms.truncate(1);
    insta::assert_snapshot!(notes::section(&report));
}

/// A fix of an older line only gets that line's tags, except for one entry that the newer line no longer has.
#[test]
fn tags_that_only_some_variants_have_are_not_claimed_for_all() {
    let mut report = uv();
    report.variants.truncate(4);
    for destination in report.variants[..3].iter_mut().flat_map(|variant| &mut variant.destinations) {
        let (rolling, kept) =
            destination.rolling.drain(..).partition(|rolling| rolling.tag.as_str().starts_with("1.4-"));
        destination.rolling = rolling;
        let reason = Reason::HeldBy("1.5.0".parse().unwrap(), Evidence::Proved).to_string();
        let kept: Vec<RollingTag> = kept;
        destination.kept = kept.into_iter().map(|kept| KeptTag { tag: kept.tag, reason: reason.clone() }).collect();
    }
    let pulled = |repository: usize| report.variants[3].destinations[repository].rolling[0].tag.to_string();
    assert_eq!(pulled(0), pulled(1));
    report.variants[3].destinations[1].rolling.remove(0);
    insta::assert_snapshot!(notes::section(&report));
}

#[test]
fn the_step_summary() {
    insta::assert_snapshot!(summary::markdown(&report(), None));
}

#[test]
fn the_step_summary_of_a_dry_run_pulls_nothing() {
    let tally = Tally { created: 6, moved: 3, kept: 1, ..Tally::default() };
    let text = summary::markdown(&Report { status: Status::DryRun, tally, ..report() }, None);
    assert!(!text.contains("docker pull") && !text.contains("built and verified"), "{text}");
    assert!(text.contains("**Dry run of 2 variants of tool 1.4.0 for 2 repositories in 22.4 s: 6 tags to be created, 3 to be moved, 1 kept**"), "{text}");
    assert!(text.contains("Nothing was written to [`ghcr.io/acme/tool`]"), "{text}");
}

#[test]
fn the_summary_of_a_pull_request_says_what_the_next_release_will_have() {
    let mut report = of_lines(["alpine:3.23,alpine3.23,alpine", "python:3.15-slim,python3.15-slim"]);
    report.status = Status::DryRun;
    report.version = "sha-0123456".into();
    report.next_tag_forms = ["{version}-<tag>", "{major}.{minor}-<tag>", "<tag>"].map(str::to_owned).into();
    (report.new_variants, report.dropped_variants) = (vec!["python3.15-slim".into()], vec!["python3.9-slim".into()]);
    report.tally = Tally { created: 6, ..Tally::default() };
    let text = summary::markdown(&report, None);
    insta::assert_snapshot!(text.split("<details>").next().unwrap());
}

#[test]
fn the_log_ends_with_a_line_of_counts() {
    let of = |status, tally| outcome::line(&Report { status, tally, ..report() });
    assert_eq!(
        of(Status::Published, Tally { moved: 82, kept: 2, ..Tally::default() }),
        "Published 2 variants of tool 1.4.0 to 2 repositories in 22.4 s: 82 tags moved, 2 kept"
    );
    assert_eq!(
        of(Status::Unchanged, Tally { unchanged: 1, ..Tally::default() }),
        "Nothing to do for 2 variants of tool 1.4.0 in 2 repositories, checked in 22.4 s: 1 tag unchanged"
    );
}

fn broken() -> Failure {
    let tag = |tag: &str| {
        let cause = Flaw::new("the registry answered 500\nhint: reboot", Hints::none());
        (format!("ghcr.io/acme/tool:{tag}").parse().unwrap(), cause)
    };
    PublishError::Tags(vec![tag("alpine"), tag("1.4-alpine")]).into()
}

#[test]
fn the_summary_of_a_run_that_failed_between_its_tags_says_which_were_written() {
    let references =
        ["1.4.0-alpine", "1.4-alpine", "alpine"].map(|tag| format!("ghcr.io/acme/tool:{tag}").parse().unwrap());
    let ledger = Ledger {
        tool: "tool".into(),
        version: "1.4.0".into(),
        repositories: vec!["ghcr.io/acme/tool".parse().unwrap()],
        written: references[..1].iter().cloned().collect(),
        to_write: references.into(),
        ..Ledger::default()
    };
    let mut stages = report().stages;
    stages.last_mut().unwrap().name = "tag".into();
    insta::assert_snapshot!(summary::of_failure(&broken(), &ledger, &stages));
}

#[test]
fn the_summary_of_a_run_that_was_refused_says_that_nothing_was_published() {
    let problem = Problem::new(&Place::Input("matrix"), "it has *no* variants");
    let failure = Failure::from(PlanError::unless_none(vec![problem]).unwrap_err());
    insta::assert_snapshot!(summary::of_failure(&failure, &Ledger::default(), &[]));
}

#[test]
fn the_summary_says_what_failed_after_publishing() {
    let text = summary::markdown(&report(), Some(&broken()));
    assert!(text.contains("**Published 2 variants") && text.contains("> [!CAUTION]"), "{text}");
}

#[test]
fn the_outputs() {
    let outputs = outputs::outputs(&report());
    let named = |name| &outputs.iter().find(|(other, _)| *other == name).unwrap().1;
    assert_eq!(
        outputs.iter().map(|(name, _)| *name).collect::<Vec<_>>(),
        ["status", "version", "digests", "images", "tags", "kept"]
    );
    assert_eq!((named("status").as_str(), named("version").as_str()), ("published", "1.4.0"));
    insta::assert_snapshot!(named("tags"));
    let pretty = |name| serde_json::from_str::<serde_json::Value>(named(name)).unwrap();
    insta::assert_snapshot!(serde_json::to_string_pretty(&pretty("images")).unwrap());
    assert_eq!(pretty("digests")["alpine3.23"], digest("alpine3.23").as_str());
}

#[test]
fn checksums_are_lines_of_sha256sum() {
    let expected = format!(
        "{0}  ghcr.io/acme/tool:1.4.0-alpine3.23\n{0}  docker.io/acme/tool:1.4.0-alpine3.23\n\
         {1}  ghcr.io/acme/tool:1.4.0-python3.9-slim\n{1}  docker.io/acme/tool:1.4.0-python3.9-slim\n",
        digest("alpine3.23").hex(),
        digest("python3.9-slim").hex()
    );
    assert_eq!(outputs::checksums(&report()), expected);
}

#[test]
fn a_kept_tag_is_not_a_reference_of_this_release() {
    let tags = outputs::tags(&report());
    assert!(!tags.lines().any(|tag| tag == "ghcr.io/acme/tool:alpine"), "{tags}");
}

#[test]
fn a_rerun_that_moves_nothing_leaves_the_notes_as_they_are() {
    for form in [ReleaseNotes::Compact, ReleaseNotes::Full] {
        let first = notes::update("Notes\r\n", &report(), form).unwrap();
        let mut rerun = report();
        rerun.status = Status::Unchanged;
        rerun.stages.clear();
        rerun.tally = Tally { unchanged: 12, ..Tally::default() };
        for destination in rerun.variants.iter_mut().flat_map(|variant| &mut variant.destinations) {
            destination.blobs = Blobs { already_there: 6, ..Blobs::default() };
            destination.rolling.iter_mut().for_each(|rolling| rolling.previous = None);
        }
        assert_eq!(notes::update(&first, &rerun, form).unwrap(), first);
    }
}

#[test]
fn the_text_around_the_section_stays() {
    let first = compact("# Before", &report());
    let edited = format!("{first}## After\n");
    let second = compact(&edited, &Report { dropped_variants: vec![], ..report() });
    assert!(second.starts_with("# Before\n\n<!--") && second.ends_with("end -->\n## After\n"), "{second}");
    assert_ne!(second, edited);
}

#[test]
fn the_section_goes_where_the_notes_say() {
    let notes = compact(&format!("New things\n\n{PLACEHOLDER}\n\n## Verifying\n"), &report());
    let at = |text: &str| notes.find(text).unwrap();
    assert!(at("New things") < at("## Docker images") && at(END) < at(PLACEHOLDER), "{notes}");
    assert!(at(PLACEHOLDER) < at("## Verifying"), "{notes}");
}

/// Two tools, two jobs with variants of their own, and two jobs with a registry each.
#[test]
fn every_job_of_a_release_has_its_own_section() {
    let only = |number: usize| {
        let mut report = report();
        report.variants.swap(0, number);
        report.variants.truncate(1);
        report
    };
    let at = |repository: &str| {
        let mut report = report();
        for destination in report.variants.iter_mut().flat_map(|variant| &mut variant.destinations) {
            destination.repository = repository.parse().unwrap();
        }
        report.variants.iter_mut().for_each(|variant| variant.destinations.truncate(1));
        report
    };
    for (first, second) in
        [(report(), at("ghcr.io/acme/other")), (only(0), only(1)), (at("ghcr.io/acme/tool"), at("docker.io/acme/tool"))]
    {
        let notes = compact(&compact("Notes\n", &first), &second);
        assert_eq!(sections(&notes).len(), 2, "{notes}");
        for report in [&first, &second] {
            let section = notes::section(report);
            assert!(sections(&notes).iter().any(|other| other.text == section), "{notes}");
            assert_eq!(compact(&notes, report), notes, "a second run of each changes nothing");
        }
        assert_eq!(notes::changes_since(&notes, &second), Some(notes::Changes::default()));
        assert_eq!(notes::changes_since(&compact("", &first), &second), None, "what another job has isn't lost");
    }
    // One job has taken over the work of both.
    let merged = compact(&compact(&compact("Notes\n", &only(0)), &only(1)), &report());
    assert_eq!(sections(&merged).iter().filter(|section| !section.is_empty()).count(), 1, "{merged}");
}

#[test]
fn the_next_release_learns_which_variants_are_gone() {
    let notes = compact("Notes", &report());
    let with = |names: &[&str]| Report {
        variants: names.iter().map(|name| variant(name, "alpine:3.23")).collect(),
        ..report()
    };
    let changes = notes::changes_since(&notes, &with(&["alpine3.23", "new"])).unwrap();
    assert_eq!((changes.new, changes.dropped), (vec!["new".to_owned()], vec!["python3.9-slim".to_owned()]));
    let all = with(&["alpine3.23", "python3.9-slim"]);
    assert_eq!(notes::changes_since(&notes.replace('\n', "\r\n"), &all), Some(notes::Changes::default()));
    for other in ["Notes", &notes.replace("record {", "record {{"), &notes.replace(END, "")] {
        assert_eq!(notes::changes_since(other, &all), None);
        assert!(notes::update(other, &report(), ReleaseNotes::Compact).is_ok());
    }
}

/// In the format of the first version: the marker names nothing, and the record contains the digests.
#[test]
fn a_section_of_an_older_version_is_found_and_replaced() {
    let record = format!(
        "{{\"version\":\"1.4.0\",\"variants\":{{\"alpine3.23\":\"{}\",\"python3.8-slim\":\"{0}\"}}}}",
        digest("x")
    );
    let old = format!(
        "Notes\n\n{}\n<!-- publish-variants:record {record} -->\n\n## Images of tool 1.4.0\n\n\
         2 variants of `ghcr.io/acme/tool@{}` in `ghcr.io/acme/tool` and `docker.io/acme/tool`.\n\n{END}\n",
        begin([]),
        digest("source")
    );
    assert_eq!(notes::changes_since(&old, &report()).unwrap().dropped, ["python3.8-slim"]);
    let new = compact(&old, &report());
    assert_eq!(new, format!("Notes\n\n{}\n", notes::section(&report())));
}

#[test]
fn names_and_texts_from_outside_stay_in_their_place() {
    let mut report = report();
    let evil = format!("x`y|z\n{END}\n<img src=x onerror=y> --> @everyone");
    report.variants[0].name = evil.clone();
    report.variants[0].entries = vec![evil.clone()];
    report.variants[0].deprecated = Some(evil.clone());
    report.variants[0].platforms[0].checks[0].command = evil.clone();
    report.variants[0].destinations[0].kept[0].reason = evil.clone();
    report.dropped_variants = vec![evil.clone()];
    report.warnings = vec![evil];
    let notes = notes::update("", &report, ReleaseNotes::Full).unwrap();
    assert_eq!(sections(&notes)[0].text, notes.trim_end(), "the section ends where it should");
    let name = report.variants[0].name.clone();
    let rest = Report { variants: report.variants[1..].to_vec(), ..report.clone() };
    assert_eq!(notes::changes_since(&notes, &rest).unwrap().dropped, [name]);
    let summary = summary::markdown(&report, None);
    for (text, columns) in [(&notes, 3), (&summary, 3)] {
        for line in text.lines().filter(|line| line.starts_with('|')) {
            let cells = line.replace("\\|", "").matches('|').count();
            assert_eq!(cells, columns + 1, "{line}");
        }
    }
    insta::assert_snapshot!(notes);
}

#[test]
fn the_section_of_uvs_variants_has_at_most_90_lines_and_8_kilobytes() {
    let mut report = uv();
    let section = notes::section(&report);
    assert!(
        section.lines().count() <= 90 && section.len() <= 8_000,
        "{} lines, {} bytes",
        section.lines().count(),
        section.len()
    );
    assert!(section.contains("Pin by digest"));
    assert_eq!(section.matches("docker pull ").count(), 1);
    // It doesn't get much longer even if many tags stay.
    let reason = Reason::HeldBy("1.5.0".parse().unwrap(), Evidence::Proved).to_string();
    for destination in report.variants.iter_mut().flat_map(|variant| &mut variant.destinations) {
        let kept = |kept: RollingTag| KeptTag { tag: kept.tag, reason: reason.clone() };
        destination.kept = destination.rolling.drain(..).map(kept).collect();
    }
    let section = notes::section(&report);
    assert!(
        section.lines().count() <= 90 && section.len() <= 8_500,
        "{} lines, {} bytes",
        section.lines().count(),
        section.len()
    );
}

#[test]
fn five_hundred_variants_leave_room_for_the_notes() {
    let section = notes::section(&large(500));
    assert!(section.len() < 64_000, "{} bytes", section.len());
    assert!(section.contains("<details><summary>Bases and tags</summary>") && !section.contains("Pin by digest"));
    assert!(section.lines().any(|line| line.contains("`1.4.0-python3.499-bookworm-slim`") && line.starts_with('|')));
}

#[test]
fn a_section_without_room_gets_shorter_before_it_is_refused() {
    for (wanted, forms) in [
        (ReleaseNotes::Full, ["full", "full", "pinned", "folded", "names", "refused"]),
        (ReleaseNotes::Compact, ["pinned", "pinned", "pinned", "folded", "names", "refused"]),
    ] {
        let mut seen = Vec::new();
        for body in [0, 60_000, 115_000, 120_000, 122_800, 124_900].map(|length| "ü".repeat(length)) {
            let form = match notes::update(&body, &uv(), wanted) {
                Ok(notes) => {
                    assert!(notes.chars().count() <= LONGEST_BODY && notes.starts_with(&body));
                    assert!(notes.contains("publish-variants:begin") && notes.contains("python3.10-dhi"));
                    match (notes.contains("Tags and digests"), notes.contains("Pin by"), notes.contains("| Base |")) {
                        (true, ..) => "full",
                        (_, true, _) => "pinned",
                        (.., true) => "folded",
                        _ => "names",
                    }
                }
                Err(error) => {
                    let error = Failure::from(error).to_string();
                    assert!(error.contains("\nhint: shorten the notes"), "{error}");
                    "refused"
                }
            };
            seen.push(form);
        }
        assert_eq!(seen, forms);
    }
}
