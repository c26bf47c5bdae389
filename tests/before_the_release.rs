//! Images are published before the release exists, as in most release workflows, and the workflow runs again
//! afterwards.

#![expect(clippy::unwrap_used, reason = "a failing setup fails its test")]

mod tool;

use std::fs;

use serde_json::json;
use support::github::{GitHub, Release};
use support::parts;
use support::runner::{Done, Step};

use tool::{PREFIX, digest, event, index, on_github, registry};

/// A tag of the repository that doesn't name a version, on the commit that will be released.
fn commit_of(release: &Release) -> Release {
    Release { tag: "nightly".to_owned(), ..release.clone() }
}

fn notes(step: &Step, done: &Done) -> String {
    fs::read_to_string(step.workspace().join(&done.outputs["notes"])).unwrap()
}

#[tokio::test]
async fn without_release_or_tag_or_with_a_draft_everything_but_the_notes_is_done() {
    let Some(github) = GitHub::start("astral-sh/uv", vec![Release::new("1.2.2")]) else {
        return parts::skip("no description of GitHub's API");
    };
    let release = Release::new("1.2.3");
    github.add_tag(commit_of(&release));
    let registry = registry(&json!({}));
    let dispatch = event("workflow_dispatch", |event| event["inputs"] = json!({ "tag": "1.2.3" }));
    let step = on_github(&registry, &github, "workflow_dispatch", &dispatch, &release.commit)
        .variable("GITHUB_REF", "refs/heads/main")
        .input("source-tags", "default");

    let first = step.run().await.succeeded();
    assert_eq!(first.outputs["status"], "published");
    assert_eq!(index(&registry)["annotations"][format!("{PREFIX}revision")], release.commit);
    let section = notes(&step, &first);
    assert!(section.contains("docker pull") && section.contains("1.2.3-alpine"), "{section}");
    let said = "GitHub has no published release `1.2.3` or `v1.2.3` yet";
    let unchanged = async |situation: &str| {
        let done = step.run().await.succeeded();
        assert_eq!((done.outputs["status"].as_str(), digest(&done)), ("unchanged", digest(&first)), "{situation}");
        done
    };
    github.add_tag(release.clone());
    let with_tag = unchanged("a tag").await;
    github.add(release.clone().draft());
    let with_draft = unchanged("a draft").await;
    for done in [&first, &with_tag, &with_draft] {
        assert!(done.log.contains(said), "{}", done.log);
        assert!(done.summary.contains(&format!("{said}, so no notes were written.")), "{}", done.summary);
        assert_eq!(github.count("PATCH"), 0);
    }

    github.set_release(Release { body: section.clone(), ..release });
    let released = unchanged("a release that was made with the file").await;
    assert!(!released.log.contains("no published release") && !released.summary.contains("no published release"));
    let body = github.release("1.2.3").body;
    assert_eq!(body.matches("publish-variants:begin").count(), 1, "{body}");
    assert_eq!(notes(&step, &released), section, "nothing moved since");
    assert_eq!(github.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn a_dry_run_names_no_notes_since_nothing_of_them_can_be_pulled() {
    let registry = registry(&json!({}));
    let done = tool::step(&registry).input("version", "1.2.3").input("dry-run", "true").run().await.succeeded();
    assert_eq!(done.outputs["status"], "dry-run");
    assert!(!done.outputs.contains_key("notes"));
}

#[tokio::test]
async fn an_event_of_a_release_that_is_gone_is_an_error() {
    let Some(github) = GitHub::start("astral-sh/uv", vec![Release::new("1.2.2")]) else {
        return parts::skip("no description of GitHub's API");
    };
    let registry = registry(&json!({}));
    let released = event("release.published", |event| event["release"]["tag_name"] = "1.2.3".into());
    let step = on_github(&registry, &github, "release", &released, &Release::new("1.2.2").commit);
    let done = step.run().await;
    assert_eq!(done.code, Some(2), "{}", done.log);
    assert!(done.log.contains("release `1.2.3` no longer exists"), "{}", done.log);
    assert!(registry.tags("acme/tool").is_empty());
}
