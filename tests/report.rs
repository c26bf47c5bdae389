//! `report`: what people and following steps get to see.

#![expect(clippy::unwrap_used, reason = "what a test prepares is there, or it fails")]

use std::time::Duration;

use publish_variants::image::Digest;
use publish_variants::ownership::{Evidence, Reason};
use publish_variants::report::notes::{self, LONGEST_BODY};
use publish_variants::report::section::{BEGIN, END, find_section};
use publish_variants::report::{
    Base, Blobs, BuiltPlatform, Check, Destination, KeptTag, Outcome, Report, RollingTag, Source, Stage, Status,
    Variant, outputs, summary,
};

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
        digest: Some(digest(name)),
        is_vouched_for: true,
        source: None,
        base: Base { reference: base.parse().unwrap(), digest: Some(digest(base)) },
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
        source: Source {
            reference: "ghcr.io/acme/tool:1.4.0".parse().unwrap(),
            digest: digest("source"),
            destinations: vec![],
        },
        variants: vec![alpine, python],
        dropped_variants: vec!["python3.8-slim".into()],
        warnings: vec!["base `alpine:3.23` has no `linux/riscv64`, which the source has".into()],
        stages: vec![
            stage("Resolve", 0, 812),
            stage("Build", 812, 14_300),
            stage("Verify", 9_000, 7_900),
            stage("Publish", 16_900, 5_450),
        ],
    }
}

/// As many variants as uv has, and more.
fn large(count: usize) -> Report {
    let variants =
        (0..count).map(|n| variant(&format!("python3.{n}-bookworm-slim"), &format!("python:3.{n}-slim-bookworm")));
    Report { variants: variants.collect(), ..report() }
}

/// Somebody else's image is under the exact tags: it is neither promoted nor vouched for.
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
    insta::assert_snapshot!(summary::markdown(&report));
    assert_eq!(outputs::checksums(&report), "");
    let outputs = outputs::outputs(&report);
    let output = |name| outputs.iter().find(|(known, _)| *known == name).unwrap().1.as_str();
    assert_eq!((output("digests"), output("tags")), ("{}", ""));
    assert_eq!(output("kept").lines().count(), 4, "{}", output("kept"));
}

/// Layers of `run` lines differ each time: only the run that made them knows what is in them.
#[test]
fn what_this_run_has_not_made_is_in_no_checksum() {
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
fn the_step_summary() {
    insta::assert_snapshot!(summary::markdown(&report()));
}

#[test]
fn the_summary_says_when_nothing_was_written() {
    for (status, says) in [
        (
            Status::Unchanged,
            "2 variants in `ghcr.io/acme/tool` and `docker.io/acme/tool`: everything was there already, nothing has changed.",
        ),
        (
            Status::DryRun,
            "Dry run: 2 variants built and verified, nothing written to `ghcr.io/acme/tool` and `docker.io/acme/tool`.",
        ),
    ] {
        let text = summary::markdown(&Report { status, ..report() });
        assert!(text.lines().any(|line| line == says), "{text}");
    }
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
fn a_kept_tag_is_no_reference_of_this_release() {
    let tags = outputs::tags(&report());
    assert!(!tags.lines().any(|tag| tag == "ghcr.io/acme/tool:alpine"), "{tags}");
}

#[test]
fn a_rerun_that_moves_nothing_leaves_the_notes_as_they_are() {
    let first = notes::update("Notes\r\n", &report()).unwrap();
    let mut rerun = report();
    rerun.status = Status::Unchanged;
    rerun.stages.clear();
    for destination in rerun.variants.iter_mut().flat_map(|variant| &mut variant.destinations) {
        destination.blobs = Blobs { already_there: 6, ..Blobs::default() };
        destination.rolling.iter_mut().for_each(|rolling| rolling.previous = None);
    }
    assert_eq!(notes::update(&first, &rerun).unwrap(), first);

    // Of another version, or another image, what is there says nothing.
    let other_version = Report { version: "1.4.1".into(), ..rerun.clone() };
    assert!(!notes::update(&first, &other_version).unwrap().contains("moved"));
    rerun.variants[0].digest = Some(digest("rebuilt"));
    let rebuilt = notes::update(&first, &rerun).unwrap();
    assert_eq!(rebuilt.matches("- moved").count(), 1, "{rebuilt}");
}

#[test]
fn what_stands_around_the_section_stays() {
    let first = notes::update("# Before", &report()).unwrap();
    let edited = format!("{first}## After\n");
    let second = notes::update(&edited, &Report { dropped_variants: vec![], ..report() }).unwrap();
    assert!(second.starts_with("# Before\n\n<!--") && second.ends_with("end -->\n## After\n"), "{second}");
    assert_ne!(second, edited);
}

#[test]
fn the_next_release_learns_which_variants_are_gone() {
    let notes = notes::update("Notes", &report()).unwrap();
    assert_eq!(notes::dropped_variants(&notes, ["alpine3.23", "new"]), Some(vec!["python3.9-slim".to_owned()]));
    assert_eq!(notes::dropped_variants(&notes.replace('\n', "\r\n"), ["alpine3.23", "python3.9-slim"]), Some(vec![]));
    assert_eq!(notes::version_of(&notes).as_deref(), Some("1.4.0"));
    for other in ["Notes", &notes.replace("record {", "record {{"), &notes.replace(END, "")] {
        assert_eq!(notes::dropped_variants(other, []), None);
        assert!(notes::update(other, &report()).is_ok());
    }
}

#[test]
fn names_and_texts_from_outside_stay_in_their_place() {
    let mut report = report();
    let evil = format!("x`y|z\n{END}\n<img src=x onerror=y> --> @everyone");
    report.variants[0].name = evil.clone();
    report.variants[0].deprecated = Some(evil.clone());
    report.variants[0].platforms[0].checks[0].command = evil.clone();
    report.variants[0].destinations[0].kept[0].reason = evil.clone();
    report.dropped_variants = vec![evil.clone()];
    report.warnings = vec![evil];
    let notes = notes::update("", &report).unwrap();
    assert_eq!(find_section(&notes).unwrap(), notes.trim_end(), "the section ends where it should");
    assert_eq!(notes::dropped_variants(&notes, ["python3.9-slim"]).unwrap(), [report.variants[0].name.clone()]);
    for line in notes.lines().filter(|line| line.starts_with('|')) {
        let cells = line.replace("\\|", "").matches('|').count();
        assert_eq!(cells, 4, "{line}");
    }
    insta::assert_snapshot!(notes);
}

#[test]
fn uvs_variants_fit_with_all_details() {
    let notes = notes::update("Notes\n", &large(29)).unwrap();
    assert!(notes.contains("<details>"));
    assert!(notes.chars().count() < LONGEST_BODY / 2, "{}", notes.chars().count());
    assert_eq!(notes.lines().filter(|line| line.starts_with("| `docker pull ")).count(), 29);
}

#[test]
fn what_has_no_room_gets_shorter_and_is_refused_only_then() {
    let mut seen = Vec::new();
    for body in [0, 60_000, 90_000, 110_000, 120_000, 124_900].map(|length| "ü".repeat(length)) {
        let form = match notes::update(&body, &large(29)) {
            Ok(notes) => {
                assert!(notes.chars().count() <= LONGEST_BODY && notes.starts_with(&body));
                assert!(notes.contains(BEGIN) && notes.contains("1.4.0-python3.28-bookworm-slim"));
                match (notes.contains("<details>"), notes.contains("| Base |")) {
                    (true, _) => "full",
                    (false, true) => "table",
                    (false, false) => "list",
                }
            }
            Err(error) => {
                assert!(error.to_string().contains("\nhint: shorten the notes"), "{error}");
                "refused"
            }
        };
        seen.push(form);
    }
    assert_eq!(seen, ["full", "full", "full", "table", "refused", "refused"]);
}
