//! Publishing without GitHub: from a laptop, from GitLab CI, and on Forgejo.

#![expect(clippy::unwrap_used, reason = "a failing setup fails its test")]

mod tool;

use std::process::Command;

use serde_json::{Value, json};
use support::image::{TinyImage, executable};
use support::memory_registry::MemoryRegistry;
use support::parts;
use support::runner::{Done, Step};

use tool::{PREFIX, event, index, labels, step};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const DATE: &str = "2026-01-15T20:00:00Z";

/// A source without facts, and a base.
fn registry() -> MemoryRegistry {
    let registry = MemoryRegistry::start();
    let tool = TinyImage::tool(&["linux/amd64"], &["tool"], "1.2.3").created(None).build();
    registry.put_image(&tool, "acme/source", "1.2.3");
    let base = TinyImage::new(&["linux/amd64"]).layer(vec![executable("/bin/sh", "#!")]).build();
    registry.put_image(&base, "base/alpine", "3.23");
    registry
}

/// A step on a machine without any of GitHub's variables.
fn outside(registry: &MemoryRegistry) -> Step {
    let github = ["ACTIONS", "ENV", "OUTPUT", "REPOSITORY", "RUN_ID", "SERVER_URL", "STEP_SUMMARY", "WORKSPACE"];
    github.iter().fold(step(registry), |step, name| step.variable(&format!("GITHUB_{name}"), ""))
}

fn publish(step: &Step) -> Done {
    step.done(&step.command().arg("publish").output().unwrap())
}

/// The facts under their short names. Index and config must agree on them.
fn facts(registry: &MemoryRegistry) -> Value {
    let (annotations, labels) = (index(registry)["annotations"].clone(), labels(registry));
    let names = ["created", "description", "revision", "source", "title", "url"];
    let fact = |name: &str| {
        let key = format!("{PREFIX}{name}");
        assert_eq!(annotations.get(&key), labels.get(&key), "{name}");
        Some((name.to_owned(), labels.get(&key)?.clone()))
    };
    names.into_iter().filter_map(fact).collect::<serde_json::Map<_, _>>().into()
}

#[test]
fn what_the_inputs_state_is_enough_and_counts_more_than_what_the_source_says() {
    let registry = registry();
    let says = json!({ format!("{PREFIX}revision"): "the source's", format!("{PREFIX}url"): "the source's", format!("{PREFIX}title"): "Tool" });
    let source = TinyImage::tool(&["linux/amd64"], &["tool"], "1.2.3").config("Labels", says).build();
    registry.put_image(&source, "acme/source", "1.2.3");
    let step = outside(&registry)
        .input("version", "1.2.3")
        .input("repository-url", "git@example.org:acme/tool.git")
        .input("revision", COMMIT)
        .input("created", "2026-01-15T21:00:00+01:00");
    publish(&step).succeeded();
    let address = "https://example.org/acme/tool";
    let expected = json!({ "created": DATE, "revision": COMMIT, "source": address, "title": "Tool", "url": address });
    assert_eq!(facts(&registry), expected);
    let first = registry.named("acme/tool", "alpine");
    publish(&step).succeeded();
    assert_eq!(registry.named("acme/tool", "alpine"), first);
}

#[test]
fn facts_that_cannot_be_used_are_refused_with_a_hint() {
    let registry = registry();
    let step = outside(&registry)
        .input("version", "1.2.3")
        .input("repository-url", "/srv/git/tool")
        .input("created", "yesterday");
    let done = publish(&step.input("revision", "two words"));
    assert_eq!(done.code, Some(2), "{}", done.log);
    for said in [
        "`--repository-url`: it is not the address",
        "`--created`: `yesterday` is not a time",
        "`--revision`: `two words`",
    ] {
        assert!(done.log.contains(said), "{}", done.log);
    }
    assert_eq!(done.log.matches("hint:").count(), 3, "{}", done.log);
}

#[test]
fn on_a_laptop_the_work_tree_tells_the_commit_of_the_tag() {
    let registry = registry();
    let step = outside(&registry).input("version", "1.2.3");
    let git = |arguments: &[&str]| {
        let mut git = Command::new("git");
        git.current_dir(step.workspace()).args(["-c", "user.name=A", "-c", "user.email=a@example.org"]).args(arguments);
        git.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_COMMITTER_DATE", DATE).output()
    };
    if git(&["init", "-q"]).is_err() {
        return parts::skip("no git");
    }
    let git = |arguments: &[&str]| String::from_utf8(git(arguments).unwrap().stdout).unwrap().trim().to_owned();
    git(&["remote", "add", "origin", "https://user:secret@example.org/acme/tool.git"]);
    git(&["commit", "-q", "--allow-empty", "-m", "released"]);
    git(&["tag", "-a", "v1.2.3", "-m", "released"]);
    let released = git(&["rev-parse", "HEAD"]);
    git(&["commit", "-q", "--allow-empty", "-m", "later"]);
    publish(&step).succeeded();
    let address = "https://example.org/acme/tool";
    let expected = json!({ "created": DATE, "revision": released, "source": address, "title": "tool", "url": address });
    assert_eq!(facts(&registry), expected);
    // Without a version, the commit that is checked out is planned.
    let plan = step.command().args(["plan", "--version", "dry-run", "--format", "json"]).output().unwrap();
    let plan: Value = serde_json::from_slice(&plan.stdout).unwrap();
    assert_eq!((&plan["revision"], &plan["dry_run"]), (&json!(git(&["rev-parse", "HEAD"])), &json!(true)));
}

#[test]
fn a_work_tree_that_cannot_be_read_is_an_error_and_never_another_digest() {
    let registry = registry();
    let step = outside(&registry).input("version", "1.2.3").file(".git", "gitdir: /nowhere/else\n");
    let done = publish(&step);
    assert_eq!(done.code, Some(2), "{}", done.log);
    assert!(
        done.log.contains("the git work tree can't be read") && done.log.contains("hint: set `--revision`"),
        "{}",
        done.log
    );
    assert!(registry.tags("acme/tool").is_empty());
}

/// The variables of a pipeline for a tag.
fn on_gitlab(registry: &MemoryRegistry) -> Step {
    let host = registry.host();
    let image = format!("{host}/acme/tool");
    let variables = [
        ("GITLAB_CI", "true"),
        ("CI_COMMIT_SHA", COMMIT),
        ("CI_COMMIT_TAG", "v1.2.3"),
        ("CI_COMMIT_TIMESTAMP", "2026-01-15T21:00:00+01:00"),
        ("CI_PIPELINE_SOURCE", "push"),
        ("CI_PROJECT_DESCRIPTION", "A tool"),
        ("CI_PROJECT_NAME", "tool"),
        ("CI_PROJECT_URL", "https://gitlab.example.org/acme/tool"),
        ("CI_REGISTRY", &host),
        ("CI_REGISTRY_IMAGE", &image),
        ("CI_REGISTRY_PASSWORD", "glcbt-a-password-of-one-job"),
        ("CI_REGISTRY_USER", "gitlab-ci-token"),
    ];
    let step = variables.iter().fold(outside(registry), |step, (name, value)| step.variable(name, value));
    step.input("images", "")
}

#[test]
fn gitlab_tells_version_facts_destination_and_credentials() {
    let registry = registry();
    registry.require_login();
    let step = on_gitlab(&registry);
    let folder = step.workspace().display().to_string();
    let step = step.variable("CI_PROJECT_DIR", &folder);
    let done = publish(&step).succeeded();
    assert_eq!(registry.tags("acme/tool"), ["1.2-alpine", "1.2.3-alpine", "alpine"]);
    let address = "https://gitlab.example.org/acme/tool";
    let expected = json!({
        "created": DATE, "description": "A tool", "revision": COMMIT, "source": address, "title": "tool", "url": address,
    });
    assert_eq!(facts(&registry), expected);
    assert!(!done.log.contains("glcbt-"), "{}", done.log);
    let notes = std::fs::read_to_string(step.workspace().join("publish-variants.md")).unwrap();
    assert!(notes.contains("1.2.3-alpine"), "{notes}");
}

#[test]
fn a_merge_request_of_gitlab_is_a_dry_run() {
    let registry = registry();
    let step = on_gitlab(&registry)
        .variable("CI_PIPELINE_SOURCE", "merge_request_event")
        .variable("CI_COMMIT_TAG", "")
        .input("source", &format!("{}/acme/source:1.2.3", registry.host()));
    let done = publish(&step).succeeded();
    assert!(done.log.contains("Dry run of 1 variant of tool sha-0123456"), "{}", done.log);
    assert!(registry.tags("acme/tool").is_empty());
}

#[tokio::test]
async fn forgejo_is_no_github_and_its_api_is_not_asked() {
    let registry = registry();
    let push = event("push.tag", |event| {
        event["ref"] = "refs/tags/1.2.3".into();
        event["head_commit"] = json!({ "id": COMMIT, "timestamp": DATE });
        event["repository"] = json!({
            "full_name": "acme/tool", "html_url": "https://codeberg.example/acme/tool", "name": "tool", "description": "A tool",
        });
    });
    // Nothing listens on this address.
    let step = step(&registry)
        .variable("FORGEJO_ACTIONS", "true")
        .variable("GITHUB_API_URL", "http://127.0.0.1:9/api/v1")
        .variable("GITHUB_SERVER_URL", "https://codeberg.example")
        .variable("GITHUB_REPOSITORY", "acme/tool")
        .variable("GITHUB_REF", "refs/tags/1.2.3")
        .variable("GITHUB_SHA", COMMIT)
        .event("push", &push);
    let done = step.run().await.succeeded();
    assert_eq!(done.outputs["status"], "published");
    let address = "https://codeberg.example/acme/tool";
    let expected = json!({
        "created": DATE, "description": "A tool", "revision": COMMIT, "source": address, "title": "tool", "url": address,
    });
    assert_eq!(facts(&registry), expected);
    assert_eq!(step.run().await.succeeded().outputs["status"], "unchanged");
}

/// If an input on a laptop names the repository, GitHub is asked as in a workflow, and an outage is reported.
#[test]
fn a_repository_at_github_that_an_input_names_is_asked() {
    let registry = registry();
    let step = outside(&registry)
        .variable("GITHUB_API_URL", "http://127.0.0.1:9")
        .variable("PUBLISH_VARIANTS_DEADLINE", "1")
        .input("repository-url", "https://github.com/astral-sh/uv")
        .input("version", "1.2.3");
    let done = publish(&step);
    assert_eq!(done.code, Some(1), "{}", done.log);
    assert!(done.log.contains("GitHub didn't answer"), "{}", done.log);
    assert!(registry.tags("acme/tool").is_empty());
}
