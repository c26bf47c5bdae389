//! The facts in labels and annotations, and that the published bytes depend only on sources, bases and plan.

#![expect(clippy::unwrap_used, reason = "a failing setup fails its test")]

mod tool;

use serde_json::{Value, json};
use support::github::{GitHub, Release};
use support::parts;

use tool::{PREFIX, digest, event, index, labels, on_github, registry, step};

#[tokio::test]
async fn every_event_results_in_the_same_bytes_before_and_after_the_release() {
    let Some(github) = GitHub::start("astral-sh/uv", vec![]) else {
        return parts::skip("no description of GitHub's API");
    };
    let release = Release::new("1.2.3");
    github.add_tag(release.clone());
    let registry = registry(&json!({}));
    let start = registry.snapshot();
    let mut digests = Vec::new();
    let mut publish = async |name: &str, event: &Value, version: &str, commit: &str, reference: &str| {
        registry.restore(&start);
        let step = on_github(&registry, &github, name, event, commit).input("version", version);
        let done = step.variable("GITHUB_REF", reference).run().await.succeeded();
        digests.push((name.to_owned(), digest(&done)));
    };
    let push = event("push.tag", |event| event["ref"] = "refs/tags/1.2.3".into());
    publish("push", &push, "", &release.commit, "refs/tags/1.2.3").await;
    let dispatch = event("workflow_dispatch", |event| event["inputs"] = json!({ "version": "1.2.3" }));
    // By hand, from a branch that has moved on.
    publish("workflow_dispatch", &dispatch, "1.2.3", &"b".repeat(40), "refs/heads/main").await;
    github.add(release.clone());
    let released = event("release.published", |event| event["release"]["tag_name"] = "1.2.3".into());
    publish("release", &released, "", &release.commit, "refs/tags/1.2.3").await;
    github.set_body("1.2.3", "Notes that somebody has edited");
    publish("workflow_dispatch", &dispatch, "1.2.3", &"c".repeat(40), "refs/heads/main").await;
    assert!(digests.iter().all(|(_, digest)| *digest == digests[0].1), "{digests:#?}");
}

#[tokio::test]
async fn facts_of_the_source_take_precedence_and_github_is_asked_only_for_missing_ones() {
    let Some(github) = GitHub::start("astral-sh/uv", vec![Release::new("1.2.3")]) else {
        return parts::skip("no description of GitHub's API");
    };
    let says = ["created", "description", "documentation", "licenses", "revision", "source", "title", "url", "vendor"];
    let value =
        |name: &str| if name == "created" { "2026-01-10T06:30:00Z".to_owned() } else { format!("the source's {name}") };
    let all: Value = says
        .iter()
        .map(|name| (format!("{PREFIX}{name}"), json!(value(name))))
        .collect::<serde_json::Map<_, _>>()
        .into();
    let registry = registry(&all);
    let start = registry.snapshot();
    let dispatch = event("workflow_dispatch", |event| event["inputs"] = json!({ "version": "1.2.3" }));
    let at_github =
        on_github(&registry, &github, "workflow_dispatch", &dispatch, &"b".repeat(40)).input("version", "1.2.3");
    let at_github = digest(&at_github.run().await.succeeded());
    for name in says {
        assert_eq!(labels(&registry)[format!("{PREFIX}{name}")], value(name), "{name}");
        assert_eq!(index(&registry)["annotations"][format!("{PREFIX}{name}")], value(name), "{name}");
    }
    let asked: Vec<String> = github.requests().into_iter().map(|asked| asked.target).collect();
    let needless = |target: &&String| target.contains("/commits/") || target.ends_with("/repos/astral-sh/uv");
    assert_eq!(asked.iter().find(needless), None, "{asked:#?}");
    // A laptop without GitHub publishes the same bytes.
    registry.restore(&start);
    assert_eq!(digest(&step(&registry).input("version", "1.2.3").run().await.succeeded()), at_github);
}

#[tokio::test]
async fn unknown_facts_are_left_out_and_facts_of_the_base_are_dropped() {
    let registry = registry(&json!({}));
    step(&registry).input("version", "1.2.3").run().await.succeeded();
    let labels = labels(&registry);
    for name in ["title", "description", "documentation", "revision", "base.name"] {
        assert_eq!(labels.get(format!("{PREFIX}{name}")), None, "{name}");
    }
    for name in ["vendor", "authors"] {
        assert_eq!(labels[format!("{PREFIX}{name}")], "the base's", "{name}");
    }
    assert_eq!(labels[format!("{PREFIX}version")], "1.2.3-alpine");
}

#[tokio::test]
async fn an_outage_of_github_is_an_error_and_never_another_digest() {
    let registry = registry(&json!({}));
    let dispatch = event("workflow_dispatch", |event| event["inputs"] = json!({ "version": "1.2.3" }));
    let step = step(&registry)
        .variable("GITHUB_REPOSITORY", "astral-sh/uv")
        .variable("GITHUB_API_URL", "http://127.0.0.1:9")
        .variable("PUBLISH_VARIANTS_DEADLINE", "1")
        .input("version", "1.2.3")
        .event("workflow_dispatch", &dispatch);
    let done = step.run().await;
    assert_eq!(done.code, Some(1), "{}", done.log);
    assert!(registry.tags("acme/tool").is_empty());
}

/// The bytes are the same with each builder, since published images aren't built again.
#[tokio::test]
async fn a_second_run_asks_no_engine() {
    let registry = registry(&json!({}));
    let first = step(&registry).input("version", "1.2.3").run().await.succeeded();
    // An engine that doesn't answer doesn't matter as long as nothing has to be built.
    let engine = |version: &str| {
        let step = step(&registry).input("version", version).input("builder", "engine");
        step.variable("DOCKER_HOST", "tcp://127.0.0.1:9")
            .input("source", &format!("{}/acme/source:1.2.3", registry.host()))
    };
    let again = engine("1.2.3").run().await.succeeded();
    assert_eq!((again.outputs["status"].as_str(), digest(&again)), ("unchanged", digest(&first)));
    let newer = engine("1.2.4").run().await;
    assert_eq!(newer.code, Some(2), "{}", newer.log);
    assert!(registry.named("acme/tool", "1.2.4-alpine").is_none());
}

#[tokio::test]
async fn a_release_begun_with_another_compression_is_finished_unless_its_layer_has_other_files() {
    let registry = registry(&json!({}));
    let step = step(&registry).input("version", "1.2.3");
    let first = step.run().await.succeeded();
    let start = registry.snapshot();
    // Whatever the layer contains, config and annotations are those of the first run.
    let begun_with = async |change: fn(&mut Vec<u8>)| {
        registry.restore(&start);
        let (begun, _) = registry.put_recompressed("acme/tool", &digest(&first), change);
        registry.untag("acme/tool", "alpine");
        registry.tag("acme/tool", "1.2.3-alpine", &begun);
        let done = step.run().await.succeeded();
        let checksums = std::fs::read_to_string(step.workspace().join("publish-variants.sha256")).unwrap();
        (begun, done, checksums)
    };
    let (begun, done, checksums) = begun_with(|_| {}).await;
    assert_ne!(begun, digest(&first));
    assert_eq!(digest(&done), begun);
    assert_eq!(registry.named("acme/tool", "alpine"), Some(begun.clone()));
    assert!(checksums.contains(begun.trim_start_matches("sha256:")), "{checksums}");

    let forge = |archive: &mut Vec<u8>| {
        let at = archive.windows(5).position(|bytes| bytes == b"1.2.3").unwrap();
        archive[at] = b'6';
    };
    let (begun, done, checksums) = begun_with(forge).await;
    assert!(done.log.contains("whose layer of executables isn't the one that its config states"), "{}", done.log);
    assert!(done.outputs["kept"].contains("1.2.3-alpine"), "{}", done.outputs["kept"]);
    assert_ne!(registry.named("acme/tool", "alpine"), Some(begun));
    assert_eq!(checksums, "", "{}", done.log);
}

#[tokio::test]
async fn annotations_go_to_the_level_in_their_prefix() {
    let registry = registry(&json!({}));
    let annotations = "# as docker/metadata-action writes them\nindex:com.example.top=1\nmanifest:com.example.each=2\n\
                       index,manifest:com.example.all=3\ncom.example.both=4";
    let step = step(&registry).input("version", "1.2.3").input("annotations", annotations);
    step.run().await.succeeded();
    let index = index(&registry);
    let manifest = registry.manifest("acme/tool", index["manifests"][0]["digest"].as_str().unwrap()).unwrap().json();
    let of = |document: &Value| {
        ["top", "each", "all", "both"].map(|name| document["annotations"][format!("com.example.{name}")].clone())
    };
    assert_eq!(of(&index), [json!("1"), Value::Null, json!("3"), json!("4")]);
    assert_eq!(of(&manifest), [Value::Null, json!("2"), json!("3"), json!("4")]);
    assert_eq!(step.run().await.succeeded().outputs["status"], "unchanged");
}
