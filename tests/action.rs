//! The action from the event to the release notes, run as GitHub's runner runs it, on real engines and registries.

mod world;

use serde_json::{Value, json};
use support::parts;

use world::{World, pushes};

const PLATFORMS: &[&str] = &["linux/amd64", "linux/arm64"];

const TAGS: [&str; 12] = [
    "0.9-alpine",
    "0.9-alpine3.23",
    "0.9-bookworm-slim",
    "0.9-debian-slim",
    "0.9.26-alpine",
    "0.9.26-alpine3.23",
    "0.9.26-bookworm-slim",
    "0.9.26-debian-slim",
    "alpine",
    "alpine3.23",
    "bookworm-slim",
    "debian-slim",
];

#[tokio::test]
async fn a_release_gets_the_same_digests_in_both_registries_on_either_engine_and_twice() {
    let Some(world) = World::start(PLATFORMS, &["0.9.25", "0.9.26"]).await else { return };
    let mut all_digests: Vec<Value> = Vec::new();
    for (number, engine) in parts::engines().iter().enumerate() {
        let owner = format!("engine-{number}");
        let repository = format!("{owner}/uv");
        world.github.set_body("0.9.26", "Notes");
        let done = world.step(engine, &owner, "0.9.26").run().await.succeeded();
        assert_eq!(done.outputs["status"], "published");
        assert_eq!(done.outputs["version"], "0.9.26");
        assert_log_ends_well(&done);
        let digests = done.json("digests");
        for registry in [&world.open, &world.closed] {
            assert_eq!(registry.tags(&repository).await, TAGS);
            for tag in TAGS {
                let variant = if tag.contains("alpine") { "alpine3.23" } else { "bookworm-slim" };
                let index = registry.manifest(&repository, tag).await.unwrap();
                assert_eq!(digests[variant], index.digest(), "{tag}");
                let manifests = index.json()["manifests"].clone();
                let platforms: Vec<&Value> = manifests.as_array().unwrap().iter().map(|m| &m["platform"]).collect();
                let expected = ["amd64", "arm64"].map(|cpu| json!({ "architecture": cpu, "os": "linux" }));
                assert_eq!(platforms, expected.iter().collect::<Vec<_>>(), "{tag}");
            }
        }
        let notes = world.github.release("0.9.26").body;
        assert!(notes.starts_with("Notes"), "what was there before stays:\n{notes}");
        let pull = format!("docker pull {}/{repository}:0.9.26-alpine3.23", world.open.host());
        assert!(notes.contains(&pull), "{notes}");

        let before = (pushes(&world.open), pushes(&world.closed));
        let again = world.step(engine, &owner, "0.9.26").run().await.succeeded();
        assert_eq!(again.outputs["status"], "unchanged");
        assert_eq!(again.json("digests"), digests);
        assert_eq!((pushes(&world.open), pushes(&world.closed)), before, "a second run pushes nothing");
        assert_eq!(world.github.release("0.9.26").body, notes);
        all_digests.push(digests);
    }
    match all_digests.split_first() {
        None => parts::skip("no engine"),
        Some((first, others)) => assert!(others.iter().all(|other| other == first), "{all_digests:#?}"),
    }
}

/// The written tags are logged in the order of the plan, exact ones first, and the last line has the counts.
fn assert_log_ends_well(done: &support::runner::Done) {
    let mut created = Vec::new();
    for (repository, tags) in done.log.lines().filter_map(|line| line.split_once("  created ")) {
        let tags: Vec<&str> = tags.split(", ").collect();
        assert!(tags.is_sorted_by_key(|tag| !tag.starts_with("0.9.26-")), "{repository}: {tags:?}");
        created.extend(tags.iter().map(|tag| format!("{repository}:{tag}")));
    }
    let mut tags: Vec<&str> = done.outputs["tags"].lines().collect();
    created.sort();
    tags.sort_unstable();
    assert_eq!(created, tags, "{}", done.log);
    let end = format!(": {} tags created", created.len());
    let last = done.log.lines().last().unwrap_or_default();
    assert!(
        last.starts_with("Published 2 variants of uv 0.9.26 to 2 repositories in ") && last.ends_with(&end),
        "{last}"
    );
}

#[tokio::test]
async fn without_an_engine_the_same_digests_are_published_and_what_was_not_run_is_told() {
    let Some(world) = World::start(PLATFORMS, &["0.9.26"]).await else { return };
    let alone = world.step("unix:///nowhere/docker.sock", "alone", "0.9.26").input("builder", "registry");
    let done = alone.run().await.succeeded();
    assert_eq!(done.outputs["status"], "published");
    for registry in [&world.open, &world.closed] {
        assert_eq!(registry.tags("alone/uv").await, TAGS);
    }
    assert!(done.summary.contains("`builder: registry` runs nothing"), "{}", done.summary);
    assert_eq!(alone.run().await.succeeded().outputs["status"], "unchanged");
    for engine in parts::engines() {
        let built = world.step(&engine, "alone", "0.9.26").run().await.succeeded();
        assert_eq!((built.json("digests"), &*built.outputs["status"]), (done.json("digests"), "unchanged"));
    }
}

#[tokio::test]
async fn a_dry_run_builds_and_verifies_and_writes_nothing_anywhere() {
    let Some(engine) = parts::engine_classic() else { return parts::skip("no engine") };
    let Some(world) = World::start(PLATFORMS, &["0.9.25", "0.9.26"]).await else { return };
    let notes = world.github.release("0.9.26").body;
    let before = (pushes(&world.open), pushes(&world.closed));
    // Neither a token nor a password: a dry run needs no permission to write.
    let step = world
        .step(&engine, "dry", "0.9.26")
        .input("dry-run", "true")
        .input("github-token", "")
        .input("credentials", "");
    let done = step.run().await.succeeded();
    assert_eq!(done.outputs["status"], "dry-run");
    assert!(done.json("digests")["alpine3.23"].as_str().unwrap().starts_with("sha256:"));
    assert!(done.summary.contains("0.9.26-alpine3.23"), "{}", done.summary);
    assert!(done.log.contains("`/usr/local/bin/uv --version` passed"), "{}", done.log);
    assert_eq!((pushes(&world.open), pushes(&world.closed)), before);
    assert_eq!(world.github.count("PATCH"), 0);
    assert_eq!(world.github.release("0.9.26").body, notes);
    // The dry run's digests are those that the real run publishes.
    let published = world.step(&engine, "dry", "0.9.26").run().await.succeeded();
    assert_eq!(published.json("digests"), done.json("digests"));
}
