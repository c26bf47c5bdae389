//! A publication is killed at a hundred random requests. After each kill, the visible state is consistent, and one more
//! run ends like an undisturbed one.
//!
//! A killed run leaves its images on the engine, so this test runs after `engine`, which precedes it in the alphabet.

#![expect(clippy::unwrap_used, reason = "a failing setup fails its test")]

mod world;

use std::collections::BTreeMap;
use std::time::Duration;

use support::fault_proxy::FaultProxy;
use support::parts;
use support::registry::Registry;
use support::runner::Step;

use world::World;

const AMD64: &[&str] = &["linux/amd64"];
const KILLS: u64 = 100;
/// Runs in parallel, each with repositories of its own.
const AT_ONCE: u64 = 4;
/// After this many kills, one more run must converge.
const CONVERGE_AFTER: u64 = 5;
const EXACT: [&str; 4] = ["0.9.26-alpine", "0.9.26-alpine3.23", "0.9.26-bookworm-slim", "0.9.26-debian-slim"];
const ROLLING: [&str; 8] = [
    "0.9-alpine",
    "0.9-alpine3.23",
    "0.9-bookworm-slim",
    "0.9-debian-slim",
    "alpine",
    "alpine3.23",
    "bookworm-slim",
    "debian-slim",
];

/// The digests that the tags of a repository name.
async fn tags(registry: &Registry, repository: &str) -> BTreeMap<String, String> {
    let mut named = BTreeMap::new();
    for tag in registry.tags(repository).await {
        // The registry lists a tag whose file exists, a moment before it serves it.
        if let Some(manifest) = registry.manifest(repository, &tag).await {
            named.insert(tag, manifest.digest());
        }
    }
    named
}

/// How far a run got before it was killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Left {
    Untagged,
    HalfTagged,
    Complete,
}

/// No tag names an incomplete index, and no rolling tag has moved while an exact one is missing.
async fn assert_sound(registries: [&Registry; 2], repository: &str, context: &str) -> Left {
    let mut count = 0;
    let mut exact_missing = false;
    let mut rolling_there = false;
    for registry in registries {
        let named = tags(registry, repository).await;
        for (tag, digest) in &named {
            let index = registry.manifest(repository, digest).await.unwrap().json();
            for manifest in index["manifests"].as_array().unwrap() {
                let child = registry.manifest(repository, manifest["digest"].as_str().unwrap()).await;
                let child = child.unwrap_or_else(|| panic!("{context}: `{tag}` lacks a manifest")).json();
                for blob in child["layers"].as_array().unwrap().iter().chain([&child["config"]]) {
                    let there = registry.blob_exists(repository, blob["digest"].as_str().unwrap()).await;
                    assert!(there, "{context}: `{tag}` lacks a blob");
                }
            }
        }
        count += named.len();
        exact_missing |= !EXACT.iter().all(|tag| named.contains_key(*tag));
        rolling_there |= ROLLING.iter().any(|tag| named.contains_key(*tag));
    }
    assert!(!(exact_missing && rolling_there), "{context}: a rolling tag has moved while an exact one is missing");
    match count {
        0 => Left::Untagged,
        count if count < 2 * (EXACT.len() + ROLLING.len()) => Left::HalfTagged,
        _ => Left::Complete,
    }
}

/// Runs the step, and kills it as soon as the destination has had this many requests.
async fn kill_at(step: &Step, proxy: &FaultProxy, request: usize) {
    proxy.forget();
    let mut child = step.command().spawn().unwrap();
    while proxy.requests().len() < request && child.try_wait().unwrap().is_none() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    // It may have ended just now.
    let _ = child.kill();
    tokio::task::spawn_blocking(move || child.wait_with_output()).await.unwrap().unwrap();
    // Writes that were sent before the kill still complete.
    tokio::time::sleep(Duration::from_millis(300)).await;
}

#[tokio::test]
async fn a_killed_publication_leaves_nothing_half_done_and_the_next_run_finishes_it() {
    let Some(engine) = parts::engine() else { return parts::skip("no engine") };
    let Some(world) = World::start(AMD64, &["0.9.26"]).await else { return };
    let through = |proxy: &FaultProxy, owner: &str| {
        let images = format!("{}/{owner}/uv\n{}/{owner}/uv", proxy.host(), world.closed.host());
        world.step(&engine, owner, "0.9.26").input("images", &images)
    };
    let proxy = FaultProxy::start(world.open.host());
    let undisturbed = through(&proxy, "calm").run().await.succeeded().json("digests");
    let whole = proxy.requests().len();
    let expected = tags(&world.open, "calm/uv").await;
    assert_eq!(expected.len(), EXACT.len() + ROLLING.len());

    let series = (0..AT_ONCE).map(|seed| {
        let (world, expected, undisturbed) = (&world, &expected, &undisturbed);
        async move {
            let mut random = fastrand::Rng::with_seed(seed);
            let proxy = FaultProxy::start(world.open.host());
            let mut left = Vec::new();
            for kill in 0..KILLS / AT_ONCE {
                let owner = format!("killed-{seed}-{}", kill / CONVERGE_AFTER);
                let step = through(&proxy, &owner);
                let request = random.usize(1..whole);
                let context = format!("seed {seed}, kill {kill} at request {request}");
                kill_at(&step, &proxy, request).await;
                left.push(assert_sound([&world.open, &world.closed], &format!("{owner}/uv"), &context).await);
                if (kill + 1) % CONVERGE_AFTER == 0 {
                    let done = tokio::time::timeout(Duration::from_secs(300), step.run()).await;
                    let done = done.unwrap_or_else(|_| panic!("{context}: the next run doesn't end")).succeeded();
                    assert_eq!(&done.json("digests"), undisturbed, "{context}");
                    for registry in [&world.open, &world.closed] {
                        assert_eq!(&tags(registry, &format!("{owner}/uv")).await, expected, "{context}");
                    }
                }
            }
            left
        }
    });
    let mut seen = BTreeMap::<Left, usize>::new();
    for left in futures_util::future::join_all(series).await.into_iter().flatten() {
        *seen.entry(left).or_default() += 1;
    }
    println!("seeds 0 to {}: {seen:?}", AT_ONCE - 1);
    assert!(
        seen.contains_key(&Left::Untagged) && seen.contains_key(&Left::HalfTagged),
        "the kills are not spread: {seen:?}"
    );
}
