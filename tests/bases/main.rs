//! Bases in the wild: [shapes](rows) of manifests and configs, and unusual folders.

#![expect(clippy::unwrap_used, reason = "a failing setup fails its test")]

mod folders;
mod rows;
mod shape;
#[path = "../world/mod.rs"]
mod world;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use futures_util::future::join_all;
use serde_json::{Value, json};
use support::image::TinyImage;
use support::memory_registry::MemoryRegistry;
use support::parts;
use support::process::output;
use support::registry::Registry;
use support::runner::{Done, Step};

use rows::{Outcome, Row, rows};
use world::World;

/// A registry with the bases that accepts everything, and one to publish to that validates what it is sent.
struct Market {
    bases: MemoryRegistry,
    world: World,
}

impl Market {
    async fn open(rows: &[Row]) -> Option<Self> {
        let world = World::without_images(&["1.2.3"]).await?;
        let bases = MemoryRegistry::start();
        let tool = TinyImage::tool(&[shape::AMD64, shape::ARM64], &["tool"], "1.2.3").build();
        bases.put_image(&tool, "acme/tool", "1.2.3");
        for row in rows {
            bases.put_image(&row.base, &format!("bases/{}", row.name), "1");
        }
        Some(Self { bases, world })
    }

    /// Publishes a variant on each of the bases to `repository`.
    async fn publish(&self, names: &[&str], engine: Option<&str>, repository: &str) -> Done {
        let base = |name: &&str| json!({ "base": format!("{}/bases/{name}:1", self.bases.host()), "tags": [name] });
        let variants: Vec<Value> = names.iter().map(base).collect();
        self.step(engine, repository, &json!({ "variants": variants })).run().await
    }

    fn step(&self, engine: Option<&str>, repository: &str, matrix: &Value) -> Step {
        let builder = if engine.is_some() { "engine" } else { "registry" };
        // Running the same program in dozens of variants that differ only in their manifests would show nothing.
        let verify = if matrix["variants"].as_array().unwrap().len() > 9 { "false" } else { "true" };
        self.world
            .step(engine.unwrap_or_default(), "acme", "1.2.3")
            .input("source", &format!("{}/acme/tool:1.2.3", self.bases.host()))
            .input("binaries", "/tool")
            .input("images", &format!("{}/{repository}", self.destination().host()))
            .input("matrix", &matrix.to_string())
            .input("builder", builder)
            .input("tag-templates", "{version}-{tag}")
            .input("release-notes", "false")
            .input("verify", verify)
    }

    fn destination(&self) -> &Registry {
        &self.world.open
    }
}

fn names(rows: &[Row], published: bool) -> Vec<&'static str> {
    let wanted = |row: &&Row| matches!(row.outcome, Outcome::Published(_)) == published;
    rows.iter().filter(wanted).map(|row| row.name).collect()
}

#[test]
fn the_corpus_has_fifty_shapes_and_each_says_where_it_was_seen() {
    let rows = rows();
    let names: BTreeSet<&str> = rows.iter().map(|row| row.name).collect();
    assert_eq!(names.len(), rows.len(), "a name is there twice");
    let (recorded, cited): (Vec<&Row>, Vec<&Row>) = rows.iter().partition(|row| row.seen == "tests/fixtures/bases");
    assert!(cited.len() >= 50 && recorded.len() >= 20, "{} and {}", cited.len(), recorded.len());
    assert!(cited.iter().all(|row| row.seen.starts_with("https://")));
    let files = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/bases")).unwrap();
    assert_eq!(files.count(), recorded.len(), "a recorded base is in no row");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_shape_of_a_base_is_published_or_refused_with_its_reason() {
    let rows = rows();
    let Some(market) = Market::open(&rows).await else { return };
    let refused = rows.iter().filter_map(|row| match row.outcome {
        Outcome::Refused(reason) => Some((row, reason)),
        Outcome::Published(_) => None,
    });
    let refusals = refused.map(async |(row, reason)| {
        let done = market.publish(&[row.name], None, "corpus/refused").await;
        let said = done.code == Some(2) && done.log.contains(reason);
        (!said).then(|| format!("{}: {:?}, not `{reason}`: {}", row.name, done.code, done.log))
    });
    let wrong: Vec<String> = join_all(refusals).await.into_iter().flatten().collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(market.destination().tags("corpus/refused").await.is_empty());

    market.publish(&names(&rows, true), None, "corpus/tool").await.succeeded();
    for row in &rows {
        if let Outcome::Published(platforms) = row.outcome {
            check(&market, row, platforms).await;
        }
    }
}

/// Checks the published variant of a base: the types follow the specification, the base's layers are below ours, and
/// the history accounts for all layers.
async fn check(market: &Market, row: &Row, platforms: &[&str]) {
    let registry = market.destination();
    let index = registry.manifest("corpus/tool", &format!("1.2.3-{}", row.name)).await.unwrap().json();
    assert_eq!(index["mediaType"], shape::INDEX, "{}", row.name);
    let entries = index["manifests"].as_array().unwrap();
    let of = |entry: &Value| {
        let text = |key: &str| entry["platform"][key].as_str().unwrap_or_default().to_owned();
        format!("{}/{}", text("os"), text("architecture"))
    };
    assert_eq!(entries.iter().map(of).collect::<Vec<_>>(), platforms, "{}", row.name);
    for entry in entries {
        let manifest = registry.manifest("corpus/tool", entry["digest"].as_str().unwrap()).await.unwrap().json();
        let config = registry.blob("corpus/tool", manifest["config"]["digest"].as_str().unwrap()).await.unwrap();
        let config: Value = serde_json::from_slice(&config).unwrap();
        assert_eq!(
            (&manifest["mediaType"], &manifest["config"]["mediaType"]),
            (&shape::MANIFEST.into(), &shape::CONFIG.into())
        );
        let layers = manifest["layers"].as_array().unwrap();
        let (_, of_base) = layers.split_last().unwrap();
        for layer in layers {
            assert!(
                layer["mediaType"].as_str().unwrap().starts_with("application/vnd.oci.image.layer.v1.tar"),
                "{layer}"
            );
        }
        let is_of_base =
            |layer: &Value| row.base.blobs.iter().any(|blob| layer["digest"] == support::image::digest(blob));
        assert!(!of_base.is_empty() && of_base.iter().all(is_of_base), "{}: {layers:?}", row.name);
        let lowest = row.base.blobs.iter().find(|blob| of_base[0]["digest"] == support::image::digest(blob)).unwrap();
        assert!(shape::has_shell(lowest), "{}: another image of the index was taken", row.name);
        let makes_layer = |entry: &&Value| entry["empty_layer"] != true;
        let history = config["history"].as_array().unwrap().iter().filter(makes_layer).count();
        let diff_ids = config["rootfs"]["diff_ids"].as_array().unwrap().len();
        assert_eq!((history, diff_ids), (layers.len(), layers.len()), "{}: {config}", row.name);
        assert_eq!(
            (&config["os"], &config["architecture"]),
            (&entry["platform"]["os"], &entry["platform"]["architecture"])
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_shape_of_a_base_has_the_same_digests_by_each_builder_and_can_be_pulled() {
    let rows = rows();
    let (engines, tools) = (parts::engines(), parts::tools());
    let (Some(tools), false) = (tools, engines.is_empty()) else {
        return parts::skip("no engine, or no Docker client in PV_TOOLS");
    };
    let Some(market) = Market::open(&rows).await else { return };
    // Docker itself refuses this base: "too many non-empty layers in History section".
    let names: Vec<&str> = names(&rows, true).into_iter().filter(|name| *name != "long-history").collect();
    let composed = market.publish(&names, None, "corpus/tool").await.succeeded().json("digests");
    let by_engines = engines.iter().enumerate().map(async |(number, engine)| {
        let repository = format!("corpus/tool-{number}");
        let (mut names, mut composed) = (names.clone(), composed.clone());
        if parts::engine_classic().as_ref() == Some(engine) {
            let (zstd, others): (Vec<_>, Vec<_>) = names.into_iter().partition(|name| name.contains("zstd"));
            let refused = market.publish(&zstd, Some(engine), &repository).await;
            assert_eq!(refused.code, Some(2));
            assert!(refused.log.contains("compressed by zstd, which Docker Engines before version 23 can't unpack"));
            zstd.iter().for_each(|name| drop(composed.as_object_mut().unwrap().remove(*name)));
            names = others;
        }
        let built = market.publish(&names, Some(engine), &repository).await.succeeded().json("digests");
        assert_eq!(built, composed, "{engine}");
        let image = format!("{}/{repository}", market.destination().host());
        let docker = |arguments: &[&str]| {
            let mut docker = Command::new(tools.join("docker"));
            docker.env("DOCKER_CONFIG", env!("CARGO_TARGET_TMPDIR")).args(["--host", engine]).args(arguments);
            output(&mut docker)
        };
        docker(&["pull", "--quiet", "--all-tags", &image]);
        let pulled = docker(&["images", "--format", "{{.Repository}}:{{.Tag}}", &image]);
        let pulled: Vec<&str> = pulled.lines().collect();
        docker(&[&["image", "rm", "--force"], &pulled[..]].concat());
        assert_eq!(pulled.len(), names.len(), "{engine}");
    });
    join_all(by_engines).await;
}

/// Buildah parses images with its own code, which Podman shares. It refuses an image whose history doesn't account for
/// its layers.
#[tokio::test(flavor = "multi_thread")]
async fn buildah_makes_containers_of_variants_whatever_history_the_base_has() {
    let Some(buildah) = parts::buildah() else { return parts::skip("PV_BUILDAH is not set") };
    let rows = rows();
    let Some(market) = Market::open(&rows).await else { return };
    let names =
        ["no-history", "null-history", "short-history", "long-history", "rules-oci-on-docker-base", "buildkit-zstd"];
    market.publish(&names, None, "corpus/tool").await.succeeded();
    let storage = tempfile::tempdir().unwrap();
    let folder = |name: &str| storage.path().join(name).display().to_string();
    let (root, run_root) = (folder("root"), folder("run"));
    let buildah = |arguments: &[&str]| {
        let mut buildah = Command::new(&buildah);
        buildah.args(["--storage-driver", "vfs", "--root", &root, "--runroot", &run_root]).args(arguments);
        output(&mut buildah)
    };
    for name in names {
        let image = format!("docker://{}/corpus/tool:1.2.3-{name}", market.destination().host());
        let container = buildah(&["from", "--quiet", "--tls-verify=false", &image]);
        // Only a commit compares the history with the layers.
        let committed = buildah(&["commit", "--quiet", container.trim(), &format!("committed-{name}")]);
        assert!(!committed.is_empty(), "{name}");
        let mounted = buildah(&["mount", container.trim()]);
        assert!(Path::new(mounted.trim()).join("usr/local/bin/tool").is_file(), "{name}");
        buildah(&["umount", container.trim()]);
    }
}
