//! The day on which a project moves to this action: images that its old workflow published, with buildx and with the
//! labels and annotations of docker/metadata-action, are neither overwritten nor mistaken for ours, and no tag goes
//! back.

#![expect(clippy::unwrap_used, reason = "a failing setup fails its test")]

mod world;

use std::path::PathBuf;
use std::process::Command;

use serde_json::json;
use support::parts;
use support::registry::Registry;

use world::World;

const PLATFORMS: &[&str] = &["linux/amd64", "linux/arm64"];
/// The variants of the old workflow: the base of each, and the entries of its tags.
const VARIANTS: [(&str, [&str; 2]); 2] = [
    ("library/alpine:3.23", ["alpine3.23", "alpine"]),
    ("library/debian:bookworm-slim", ["bookworm-slim", "debian-slim"]),
];

struct OldWorkflow {
    buildx: PathBuf,
    engine: String,
}

impl OldWorkflow {
    /// `None` if a part is missing, which is reported.
    fn find() -> Option<Self> {
        let (Some(engine), Some(tools)) = (parts::engine_containerd(), parts::tools()) else {
            parts::skip("no engine with the containerd image store, or no buildx");
            return None;
        };
        Some(Self { buildx: tools.join("buildx"), engine })
    }

    /// Publishes a variant of `version` like uv's workflow: every tag at once, with labels, and with annotations on
    /// index and manifests.
    fn publish(&self, registry: &Registry, version: &str, base: &str, tags: &[String]) {
        let folder = tempfile::tempdir().unwrap();
        let host = registry.host();
        let dockerfile = format!(
            "FROM {host}/astral-sh/uv:{version} AS uv\nFROM {host}/{base}\nCOPY --from=uv /uv /uvx /usr/local/bin/\n\
             ENTRYPOINT []\nCMD [\"/usr/local/bin/uv\"]\n"
        );
        std::fs::write(folder.path().join("Dockerfile"), dockerfile).unwrap();
        let (_, first) = tags[0].split_once(':').unwrap_or(("", &tags[0]));
        let says = [
            ("created", "2026-01-10T06:30:00.000Z"),
            ("description", "An extremely fast Python package and project manager, written in Rust."),
            ("licenses", "Apache-2.0"),
            ("revision", "ee4f0036283a350681a618176484df6bcde27507"),
            ("source", "https://github.com/astral-sh/uv"),
            ("title", "uv"),
            ("url", "https://github.com/astral-sh/uv"),
            ("version", first),
        ];
        let mut command = Command::new(&self.buildx);
        command
            .env("DOCKER_HOST", &self.engine)
            .env("BUILDX_CONFIG", folder.path())
            .env("DOCKER_CONFIG", folder.path());
        command.args(["build", "--provenance=false", "--push", "--platform", &PLATFORMS.join(",")]);
        for (name, value) in says {
            command.arg(format!("--label=org.opencontainers.image.{name}={value}"));
            command.arg(format!("--annotation=index,manifest:org.opencontainers.image.{name}={value}"));
        }
        for tag in tags {
            command.arg(format!("--tag={host}/acme/uv:{tag}"));
        }
        let done = command.arg(folder.path()).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }

    /// Publishes all variants of a version with all their tags.
    fn release(&self, registry: &Registry, version: &str) {
        for (base, entries) in VARIANTS {
            self.publish(registry, version, base, &tags_of(version, &entries));
        }
    }
}

/// The tags of a variant in the order of the old workflow's templates.
fn tags_of(version: &str, entries: &[&str]) -> Vec<String> {
    let minor = version.rsplit_once('.').unwrap().0;
    let templates = [format!("{version}-"), format!("{minor}-"), String::new()];
    templates.iter().flat_map(|before| entries.iter().map(move |entry| format!("{before}{entry}"))).collect()
}

async fn named(registry: &Registry, tag: &str) -> Option<String> {
    registry.manifest("acme/uv", tag).await.map(|manifest| manifest.digest())
}

/// The version that our images state, in the annotation on which decisions are based.
async fn ours(registry: &Registry, tag: &str) -> serde_json::Value {
    let index = registry.manifest("acme/uv", tag).await.unwrap().json();
    index["annotations"]["io.github.astral-sh.publish-variants.version"].clone()
}

#[tokio::test]
async fn the_first_release_moves_every_rolling_tag_of_the_old_workflow_without_reading_its_images() {
    let Some(old) = OldWorkflow::find() else { return };
    let Some(world) = World::start(PLATFORMS, &["0.9.26", "0.9.27"]).await else { return };
    old.release(&world.open, "0.9.26");
    let step = world.step("unix:///nowhere", "acme", "0.9.27").input("builder", "registry");
    let images = format!("{}/acme/uv", world.open.host());
    let before = world.open.requests().len();
    let done = step.input("images", &images).run().await.succeeded();
    assert_eq!(done.outputs["kept"], "");
    for (_, entries) in VARIANTS {
        for tag in tags_of("0.9.27", &entries) {
            assert_eq!(ours(&world.open, &tag).await, "0.9.27", "{tag}");
        }
    }
    let requests = world.open.requests();
    let read = |path: &str| path.starts_with("/v2/acme/uv/manifests/");
    // The assertions above make their requests after the run's last write.
    let last = requests.iter().rposition(|request| request.method == "PUT").unwrap();
    let gets: Vec<_> = requests[before..last].iter().filter(|r| r.method == "GET" && read(&r.path)).collect();
    assert!(gets.is_empty(), "{gets:#?}");
}

/// As in astral-sh/uv issue 15367: one registry has lacked the release since then.
#[tokio::test]
async fn a_registry_that_lacks_the_old_workflows_release_gets_it_and_the_other_one_stays_as_it_is() {
    let Some(old) = OldWorkflow::find() else { return };
    let Some(world) = World::start(PLATFORMS, &["0.9.26"]).await else { return };
    old.release(&world.open, "0.9.26");
    let tags: Vec<String> = VARIANTS.iter().flat_map(|(_, entries)| tags_of("0.9.26", entries)).collect();
    let mut before = Vec::new();
    for tag in &tags {
        before.push(named(&world.open, tag).await);
    }
    let step = world.step("unix:///nowhere", "acme", "0.9.26").input("builder", "registry");
    let done = step.run().await.succeeded();
    for (tag, before) in tags.iter().zip(before) {
        assert_eq!(named(&world.open, tag).await, before, "{tag}");
        assert_eq!(ours(&world.closed, tag).await, "0.9.26", "{tag}");
        assert!(done.outputs["kept"].contains(&format!("{}/acme/uv:{tag}  ", world.open.host())), "{tag}");
        assert!(done.outputs["tags"].contains(&format!("{}/acme/uv:{tag}", world.closed.host())), "{tag}");
        let theirs = before.unwrap();
        assert!(!done.outputs["digests"].contains(&theirs), "another tool's image is vouched for");
    }
    assert_eq!(step.run().await.succeeded().outputs["status"], "unchanged");
}

#[tokio::test]
async fn a_release_that_the_old_workflow_left_half_done_is_completed_and_an_older_one_takes_nothing_back() {
    let Some(old) = OldWorkflow::find() else { return };
    let Some(world) = World::start(PLATFORMS, &["0.9.25", "0.9.26", "0.9.27"]).await else { return };
    old.release(&world.open, "0.9.26");
    // Only the job for alpine finished for 0.9.27.
    old.publish(&world.open, "0.9.27", VARIANTS[0].0, &tags_of("0.9.27", &VARIANTS[0].1));
    let theirs = named(&world.open, "alpine").await;
    let images = format!("{}/acme/uv", world.open.host());
    let publish = async |version: &str| {
        let step = world.step("unix:///nowhere", "acme", version).input("builder", "registry").input("images", &images);
        step.run().await.succeeded()
    };

    let completed = publish("0.9.27").await;
    assert_eq!(named(&world.open, "0.9.27-alpine").await, theirs);
    for tag in ["alpine", "0.9-alpine", "alpine3.23"] {
        assert_eq!(named(&world.open, tag).await, theirs, "{tag}");
    }
    for tag in ["0.9.27-debian-slim", "0.9-debian-slim", "debian-slim", "bookworm-slim"] {
        assert_eq!(ours(&world.open, tag).await, "0.9.27", "{tag}");
    }
    assert_eq!(completed.json("digests").as_object().unwrap().keys().collect::<Vec<_>>(), ["bookworm-slim"]);

    let backfilled = publish("0.9.25").await;
    assert_eq!(ours(&world.open, "0.9.25-alpine").await, "0.9.25");
    assert_eq!(named(&world.open, "alpine").await, theirs, "GitHub has 0.9.27, so its image holds the tag");
    assert_eq!(ours(&world.open, "debian-slim").await, "0.9.27");
    assert!(
        backfilled.outputs["kept"].contains("alpine  probably belongs to 0.9.27"),
        "{}",
        backfilled.outputs["kept"]
    );
    assert_eq!(backfilled.json("digests").as_object().unwrap().len(), VARIANTS.len(), "{}", json!(backfilled.outputs));
}
