//! The action from the event to the release notes, run as GitHub's runner runs it, on real engines and registries.

use std::path::Path;

use serde_json::{Value, json};
use support::github::{GitHub, Release, WRITE_TOKEN};
use support::image::{MediaTypes, TinyImage, executable, file};
use support::parts;
use support::registry::{Auth, Registry};
use support::runner::{Done, Step, payload};

const ACTION: &str = include_str!("../action.yml");
const PLATFORMS: &[&str] = &["linux/amd64", "linux/arm64"];
const USER: &str = "publisher";
const PASSWORD: &str = "correct-horse-battery-staple";

/// Two registries, one of them with a password, a source, two bases and a release.
struct World {
    open: Registry,
    closed: Registry,
    github: GitHub,
}

impl World {
    /// `None` where a part isn't there; says so.
    async fn start() -> Option<Self> {
        let open = Registry::start(Auth::None).await;
        let closed = Registry::start(Auth::Htpasswd { user: USER, password: PASSWORD }).await;
        let github = GitHub::start("astral-sh/uv", vec![Release::new("0.9.25"), Release::new("0.9.26")]);
        let (Some(open), Some(closed), Some(github)) = (open, closed, github) else {
            parts::skip("no docker-registry, or no description of GitHub's API");
            return None;
        };
        let tool = TinyImage::tool(PLATFORMS, &["uv", "uvx"], "0.9.26").attestations().build();
        open.push(&tool, "astral-sh/uv", "0.9.26").await;
        let alpine = shell(TinyImage::new(PLATFORMS)).media_types(MediaTypes::Docker).attestations().build();
        open.push(&alpine, "library/alpine", "3.23").await;
        let debian = shell(TinyImage::new(PLATFORMS))
            .layer(vec![file("/etc/debian_version", "12.8\n")])
            .config("Env", json!(["PATH=/usr/local/bin:/usr/bin:/bin", "LANG=C.UTF-8"]))
            .config("Cmd", json!(["bash"]))
            .build();
        open.push(&debian, "library/debian", "bookworm-slim").await;
        Some(Self { open, closed, github })
    }

    /// The step of a workflow that publishes both variants to both registries, to `owner/uv`.
    fn step(&self, engine: &str, owner: &str) -> Step {
        let (open, closed) = (self.open.host(), self.closed.host());
        Step::new(env!("CARGO_BIN_EXE_publish-variants"), ACTION)
            .variable("DOCKER_HOST", engine)
            .variable("GITHUB_API_URL", &self.github.url())
            .variable("GITHUB_REF", "refs/tags/0.9.26")
            .variable("GITHUB_SHA", &self.github.release("0.9.26").commit)
            .input("source", &format!("{open}/astral-sh/uv:0.9.26"))
            .input("binaries", "/uv /uvx")
            .input("images", &format!("{open}/{owner}/uv\n{closed}/{owner}/uv"))
            .input("credentials", &format!("{closed} {USER} {PASSWORD}"))
            .input("github-token", WRITE_TOKEN)
            .input("matrix", &format!("{open}/library/alpine:3.23,alpine3.23,alpine\n{open}/library/debian:bookworm-slim,bookworm-slim,debian-slim\n"))
            .event("release", &event("release.published"))
    }

    async fn run(&self, engine: &str, owner: &str) -> Done {
        self.step(engine, owner).run().await
    }
}

/// A base with what `sh -c true` needs: an executable that exits with 0 whatever it is told.
fn shell(base: TinyImage) -> TinyImage {
    PLATFORMS.iter().fold(base, |base, platform| {
        let shell = support::elf::printing(platform, "");
        base.layer_for(platform, vec![executable("/bin/sh", shell)])
    })
}

fn event(name: &str) -> Value {
    payload(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/events"), name)
}

fn engines() -> Vec<String> {
    [parts::engine_classic(), parts::engine_containerd()].into_iter().flatten().collect()
}

/// The blobs and manifests that a registry was sent; not the uploads that were only opened to see whether they may be.
fn pushes(registry: &Registry) -> usize {
    let sent = |method: &str, status| method == "PUT" || (method == "POST" && status == 201);
    registry.requests().iter().filter(|request| sent(&request.method, request.status)).count()
}

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
    let Some(world) = World::start().await else { return };
    let mut all_digests: Vec<Value> = Vec::new();
    for (number, engine) in engines().iter().enumerate() {
        let owner = format!("engine-{number}");
        let repository = format!("{owner}/uv");
        world.github.set_body("0.9.26", "Notes");
        let done = world.run(engine, &owner).await.succeeded();
        assert_eq!(done.outputs["status"], "published");
        assert_eq!(done.outputs["version"], "0.9.26");
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
        let again = world.run(engine, &owner).await.succeeded();
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

#[tokio::test]
async fn a_dry_run_builds_and_verifies_and_writes_nothing_anywhere() {
    let Some(engine) = parts::engine_classic() else { return parts::skip("no engine") };
    let Some(world) = World::start().await else { return };
    let notes = world.github.release("0.9.26").body;
    let before = (pushes(&world.open), pushes(&world.closed));
    // No token and no password: it needs no permission to write.
    let step = world.step(&engine, "dry").input("dry-run", "true").input("github-token", "").input("credentials", "");
    let done = step.run().await.succeeded();
    assert_eq!(done.outputs["status"], "dry-run");
    assert!(done.json("digests")["alpine3.23"].as_str().unwrap().starts_with("sha256:"));
    assert!(done.summary.contains("0.9.26-alpine3.23"), "{}", done.summary);
    assert!(done.log.contains("`/usr/local/bin/uv --version` passed"), "{}", done.log);
    assert_eq!((pushes(&world.open), pushes(&world.closed)), before);
    assert_eq!(world.github.count("PATCH"), 0);
    assert_eq!(world.github.release("0.9.26").body, notes);
    // What would be published is what is published then.
    let published = world.run(&engine, "dry").await.succeeded();
    assert_eq!(published.json("digests"), done.json("digests"));
}
