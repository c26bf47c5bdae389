//! The version of each event, and the message if it has none.

use serde_json::json;

use crate::given::{Given, failures, given};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

fn given_matrix() -> Given {
    given().input("matrix", "alpine:3.23,alpine")
}

/// The version, the possible tags of the release, the revision, and whether it is a dry run.
fn facts(given: &Given) -> (String, Vec<String>, Option<String>, bool) {
    let plan = given.plan();
    let tags = plan.release.map(|release| release.tags).unwrap_or_default();
    (plan.version.to_string(), tags, plan.revision, plan.dry_run)
}

fn expected(
    version: &str,
    tags: &[&str],
    revision: Option<&str>,
    dry_run: bool,
) -> (String, Vec<String>, Option<String>, bool) {
    let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
    (version.to_owned(), tags, revision.map(str::to_owned), dry_run)
}

#[test]
fn recorded_events_have_their_version() {
    for (file, facts_expected) in [
        ("release.published", expected("0.9.26", &["0.9.26"], Some(COMMIT), false)),
        ("release.released", expected("0.9.26", &["0.9.26"], Some(COMMIT), false)),
        ("release.edited", expected("0.9.26", &["0.9.26"], Some(COMMIT), false)),
        ("release.prereleased", expected("0.10.0rc1", &["0.10.0rc1"], Some(COMMIT), false)),
        ("push.tag", expected("0.9.26", &["0.9.26", "v0.9.26"], Some(COMMIT), false)),
        ("workflow_dispatch", expected("0.9.26", &["0.9.26", "v0.9.26"], None, false)),
        ("repository_dispatch", expected("0.9.26", &["0.9.26", "v0.9.26"], None, false)),
        ("pull_request.opened", expected("sha-ec26c3e", &[], Some("ec26c3e57ca3a959ca5aad62de7213c562f8c821"), true)),
    ] {
        assert_eq!(facts(&given_matrix().recorded(file, &[])), facts_expected, "{file}");
    }
}

#[test]
fn the_input_overrides_the_event() {
    let given = given_matrix().input("version", "v0.9.20").recorded("workflow_dispatch", &[]);
    assert_eq!(facts(&given), expected("0.9.20", &["v0.9.20", "0.9.20"], None, false));
    let given = given_matrix().input("version", "0.9.26").recorded("release.published", &[]);
    assert_eq!(facts(&given), expected("0.9.26", &["0.9.26"], Some(COMMIT), false));
    let given =
        given_matrix().input("version", "1.0").event("schedule", "{}").variable("GITHUB_REF", "refs/heads/main");
    assert_eq!(facts(&given), expected("1.0", &["1.0", "v1.0"], None, false));
    let given = given_matrix().input("version", "1.0").event("workflow_call", "{}");
    assert_eq!(facts(&given).0, "1.0");
}

#[test]
fn a_dispatch_that_runs_on_a_tag_takes_it() {
    let given = given_matrix().event("workflow_dispatch", "{}").variable("GITHUB_REF", "refs/tags/v1.2.3");
    assert_eq!(facts(&given), expected("1.2.3", &["v1.2.3", "1.2.3"], Some(COMMIT), false));
}

#[test]
fn a_version_pattern_finds_the_tool_in_a_repository_of_several() {
    for (pattern, tag, version) in [
        ("tool-v{version}", "tool-v1.2.3", "1.2.3"),
        ("tool@{version}", "tool@1.2.3rc1", "1.2.3rc1"),
        ("{version}-tool", "2.0-tool", "2.0"),
    ] {
        let given = given_matrix().input("version-pattern", pattern);
        let release = given.clone().recorded("release.published", &[("/release/tag_name", json!(tag))]);
        assert_eq!(facts(&release), expected(version, &[tag], Some(COMMIT), false));
        let (found, tags, ..) = facts(&given.clone().input("version", tag).event("workflow_dispatch", "{}"));
        assert_eq!((found.as_str(), tags[0].as_str()), (version, tag));
        let (_, tags, ..) = facts(&given.input("version", version).event("workflow_dispatch", "{}"));
        assert_eq!(tags[0], tag);
    }
}

#[test]
fn a_dispatched_version_finds_its_tag_with_and_without_a_v() {
    for (pattern, version, tags) in [
        ("{version}", "1.2.3", &["1.2.3", "v1.2.3"][..]),
        ("{version}", "v1.2.3", &["v1.2.3", "1.2.3"]),
        ("tool-{version}", "1.2.3", &["tool-1.2.3", "tool-v1.2.3"]),
        ("tool-{version}", "v1.2.3", &["tool-v1.2.3", "tool-1.2.3"]),
        ("tool-{version}", "tool-v1.2.3", &["tool-v1.2.3", "tool-1.2.3"]),
        ("tool-v{version}", "1.2.3", &["tool-v1.2.3"]),
        ("tool-v{version}", "v1.2.3", &["tool-v1.2.3"]),
        ("tool-v{version}", "tool-v1.2.3", &["tool-v1.2.3"]),
    ] {
        let given = given_matrix().input("version-pattern", pattern).input("version", version);
        let (found, of, ..) = facts(&given.event("workflow_dispatch", "{}"));
        assert_eq!(
            (found.as_str(), of.as_slice()),
            ("1.2.3", &tags.iter().map(ToString::to_string).collect::<Vec<_>>()[..]),
            "{pattern} {version}"
        );
    }
}

#[test]
fn development_builds_are_published_if_a_template_asks_for_them() {
    let push = given_matrix().event("push", "{}").variable("GITHUB_REF", "refs/heads/main");
    let plan = push.clone().input("tag-templates", "{version}-{tag}\n{tag}\nsha-{sha}-{tag}").plan();
    assert_eq!(plan.version.to_string(), "sha-0123456");
    assert_eq!(plan.revision.as_deref(), Some(COMMIT));
    let tags = &plan.variants[0].tags;
    assert_eq!(tags.exact.iter().map(ToString::to_string).collect::<Vec<_>>(), ["sha-0123456-alpine"]);
    assert!(tags.rolling.is_empty());
    let plan = push.input("version", "sha-0123456").plan();
    assert_eq!((plan.version.to_string(), plan.revision.as_deref()), ("sha-0123456".to_owned(), Some(COMMIT)));
    assert_eq!(plan.source.unwrap().name.to_string(), "ghcr.io/astral-sh/uv:sha-0123456");
}

#[test]
fn a_release_that_github_marks_as_a_prerelease_moves_no_rolling_tag() {
    let plan = given_matrix().recorded("release.published", &[("/release/prerelease", json!(true))]).plan();
    let json: serde_json::Value = serde_json::from_str(&plan.to_json()).unwrap();
    assert_eq!(json["variants"][0]["tags"]["rolling"], json!([]));
    assert!(plan.to_table(100).contains("No rolling tag moves: release `0.9.26` is marked as a pre-release."));
}

#[test]
fn a_pull_request_of_a_fork_has_no_secrets_and_needs_none() {
    let given = given_matrix().input("credentials", "docker.io  \n ghcr.io user ").input("dry-run", "false");
    assert!(given.clone().recorded("pull_request.opened", &[]).plan().dry_run);
    insta::assert_snapshot!(given.input("version", "1.0").failure(), @"
    the input has 2 problems
      input `credentials`: line 1 has no username or no password
        hint: write `registry username password`; is the secret or variable of that line set?
      input `credentials`: line 2 has no username or no password
        hint: write `registry username password`; is the secret or variable of that line set?
    ");
}

#[test]
fn a_line_without_a_password_is_no_problem_if_its_registry_is_not_used() {
    let given =
        given_matrix().input("version", "1.0").input("credentials", "# Docker Hub\nregistry.lan user \nquay.io");
    assert_eq!(given.plan().destinations[0].to_string(), "ghcr.io/astral-sh/uv");
}

#[test]
fn the_default_destination_is_the_registry_of_the_github_server() {
    let given = given_matrix().input("version", "1.0").input("images", "");
    for (server, destination) in [
        ("https://github.com", "ghcr.io/astral-sh/uv"),
        ("https://ghe.corp.example", "containers.ghe.corp.example/astral-sh/uv"),
        ("https://acme.ghe.com", "containers.acme.ghe.com/astral-sh/uv"),
    ] {
        let plan = given.clone().variable("GITHUB_SERVER_URL", server).plan();
        assert_eq!(plan.destinations.iter().map(ToString::to_string).collect::<Vec<_>>(), [destination]);
    }
}

#[test]
fn if_no_version_is_found_the_message_says_what_was_looked_for() {
    let plain = given_matrix();
    let release = |tag| plain.clone().recorded("release.published", &[("/release/tag_name", json!(tag))]);
    let cases = [
        ("no event", plain.clone()),
        ("schedule", plain.clone().event("schedule", "{}")),
        ("dispatch without a version", plain.clone().event("workflow_dispatch", r#"{"inputs": {"version": ""}}"#)),
        (
            "repository_dispatch without a version",
            plain.clone().event("repository_dispatch", r#"{"client_payload": {}}"#),
        ),
        ("push of a branch", plain.clone().event("push", "{}").variable("GITHUB_REF", "refs/heads/main")),
        ("a draft", plain.clone().recorded("release.created-draft", &[])),
        ("release of one tool of several", release("tool-v1.2.3")),
        ("release of no version", release("nightly")),
        ("release of another tool", release("0.9.26").input("version-pattern", "tool-v{version}")),
        ("release of another version", release("0.9.26").input("version", "0.9.25")),
        ("a word instead of a version", plain.clone().input("version", "latest")),
        ("a payload that ends too soon", plain.clone().event("release", "{ \"release\": ")),
    ];
    insta::assert_snapshot!(failures(cases));
}

/// The version, and whether it is a dry run.
fn planned(given: &Given) -> (String, bool) {
    let plan = given.plan();
    (plan.version.to_string(), plan.dry_run)
}

#[test]
fn the_word_dry_run_instead_of_a_version_is_a_dry_run() {
    let dispatch =
        |tag: &str| given_matrix().event("workflow_dispatch", json!({ "inputs": { "tag": tag } }).to_string());
    let development = ("sha-0123456".to_owned(), true);
    assert_eq!(planned(&dispatch("dry-run")), development);
    assert_eq!(planned(&given_matrix().input("version", "dry-run").event("push", "{}")), development);
    // A version that cargo-dist derived is no reason to publish.
    assert_eq!(planned(&dispatch("dry-run").input("version", "0.9.26")), ("0.9.26".to_owned(), true));
    assert_eq!(planned(&dispatch("0.9.26").input("version", "dry-run")), ("0.9.26".to_owned(), true));
    assert_eq!(planned(&dispatch("0.9.26")), ("0.9.26".to_owned(), false));
    let nowhere = given_matrix().input("version", "dry-run").variable("GITHUB_SHA", "");
    insta::assert_snapshot!(nowhere.failure(), @"
    input `version`: `dry-run` is a dry run of a development build, and the run's commit isn't known
    hint: give a version, with `dry-run: true`, or set `revision`
    ");
}

#[test]
fn the_plan_of_cargo_dist_has_the_version() {
    let given =
        |plan: serde_json::Value| given_matrix().event("workflow_dispatch", "{}").input("version", &plan.to_string());
    let plan = |tag, is_implicit: bool| json!({ "dist_version": "0.30.2", "announcement_tag": tag, "announcement_tag_is_implicit": is_implicit, "releases": [] });
    assert_eq!(planned(&given(plan(Some("0.9.26"), false))), ("0.9.26".to_owned(), false));
    assert_eq!(planned(&given(plan(Some("v0.9.26"), true))), ("0.9.26".to_owned(), true));
    assert_eq!(planned(&given(plan(None, false))), ("sha-0123456".to_owned(), true));
    let message = given_matrix().input("version", "{ \"announcement_tag\": 3 }").failure();
    assert!(
        message.contains("input `version`: it is not a plan of cargo-dist") && message.contains("\nhint: "),
        "{message}"
    );
}

#[test]
fn only_a_pull_request_of_the_same_repository_itself_may_push() {
    let push = given_matrix().input("pull-request", "push");
    let opened = |changes: &[(&str, serde_json::Value)]| push.clone().recorded("pull_request.opened", changes);
    assert!(!opened(&[]).plan().dry_run);
    assert!(opened(&[]).input("dry-run", "true").plan().dry_run);
    assert!(opened(&[("/pull_request/head/repo/id", json!(7))]).plan().dry_run, "a fork");
    assert!(opened(&[("/pull_request/head/repo", json!(null))]).plan().dry_run, "a fork that was deleted");
    for name in ["pull_request_target", "pull_request_review", "pull_request_review_comment"] {
        assert!(opened(&[]).variable("GITHUB_EVENT_NAME", name).plan().dry_run, "{name}");
    }
    let plan = opened(&[]).input("version", "1.0").plan();
    assert!(plan.dry_run && plan.warnings.len() == 1, "{:?}", plan.warnings);
    let run =
        r#"{ "workflow_run": { "event": "pull_request", "head_sha": "0123456789abcdef0123456789abcdef01234567" } }"#;
    assert!(push.event("workflow_run", run).plan().dry_run);
}
