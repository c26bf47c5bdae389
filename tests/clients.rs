//! A publication of real executables on real bases, read by common clients (Docker with both image stores, buildx,
//! skopeo, crane) and byte by byte.

#![expect(clippy::unwrap_used, reason = "a failing setup fails its test")]

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use support::github::{GitHub, Release, WRITE_TOKEN};
use support::image::{Image, digest};
use support::parts;
use support::process::output;
use support::registry::{Auth, Registry};
use support::runner::{Done, Step, payload};

const ACTION: &str = include_str!("../action.yml");
const REPOSITORY: &str = "astral-sh/uv";
/// The variants, each with its base and the base's layout.
const VARIANTS: [(&str, &str, &str); 2] = [
    ("alpine3.23", "library/alpine:3.23", "alpine-3.23"),
    ("python3.13-trixie-slim", "library/python:3.13-slim-trixie", "python-3.13-slim-trixie"),
];

struct World {
    registry: Registry,
    _github: GitHub,
    tools: PathBuf,
    layouts: PathBuf,
    done: Done,
}

impl World {
    /// Publishes; `None` if a part is missing, which is reported.
    async fn publish() -> Option<Self> {
        let registry = Registry::start(Auth::None).await;
        let github = GitHub::start(REPOSITORY, vec![Release::new("0.9.26")]);
        let real = (parts::engine_classic(), parts::oci_layouts(), parts::tools());
        let (Some(registry), Some(github), (Some(engine), Some(layouts), Some(tools))) = (registry, github, real)
        else {
            parts::skip("no engine, registry, bases, tools, or description of GitHub's API");
            return None;
        };
        registry.seed(&layouts.join("uv-0.9.26"), REPOSITORY, "0.9.26").await;
        for (_, base, layout) in VARIANTS {
            let (repository, tag) = base.split_once(':').unwrap();
            registry.seed(&layouts.join(layout), repository, tag).await;
        }
        let host = registry.host();
        let matrix = json!({
            "variants": [
                { "base": format!("{host}/{}", VARIANTS[0].1), "tags": ["alpine3.23", "alpine"] },
                {
                    "base": format!("{host}/{}", VARIANTS[1].1),
                    "tags": ["python3.13-trixie-slim"],
                    "env": { "UV_TOOL_BIN_DIR": "/usr/local/bin" },
                    "entrypoint": ["uv"],
                    "cmd": ["--version"],
                    "labels": { "org.opencontainers.image.vendor": "Somebody" },
                    "annotations": { "org.example.note": "A note, with \"quotes\"" },
                },
            ],
        });
        let events = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/events");
        let done = Step::new(env!("CARGO_BIN_EXE_publish-variants"), ACTION)
            .variable("DOCKER_HOST", &engine)
            .variable("GITHUB_API_URL", &github.url())
            .variable("GITHUB_REF", "refs/tags/0.9.26")
            .variable("GITHUB_SHA", &Release::new("0.9.26").commit)
            .input("binaries", "/uv /uvx")
            .input("images", &format!("{host}/{REPOSITORY}"))
            .input("github-token", WRITE_TOKEN)
            .input("matrix", &matrix.to_string())
            .event("release", &payload(&events, "release.published"))
            .run()
            .await
            .succeeded();
        Some(Self { registry, _github: github, tools, layouts, done })
    }

    fn image(&self, variant: &str) -> String {
        format!("{}/{REPOSITORY}:0.9.26-{variant}", self.registry.host())
    }

    fn digest(&self, variant: &str) -> String {
        self.done.json("digests")[variant].as_str().unwrap().to_owned()
    }

    fn tool(&self, name: &str) -> Command {
        let mut command = Command::new(self.tools.join(name));
        // Without the logins and plug-ins of the person who runs the test.
        command.env("DOCKER_CONFIG", env!("CARGO_TARGET_TMPDIR"));
        command
    }

    fn docker(&self, engine: &str, arguments: &[&str]) -> String {
        output(self.tool("docker").args(["--host", engine]).args(arguments))
    }

    /// Pulls and runs the variant for each of the platforms.
    fn docker_runs(&self, engine: &str, variant: &str, platforms: &[(&str, &str)]) {
        let image = self.image(variant);
        for (platform, machine) in platforms {
            let pulled = self.docker(engine, &["pull", "--platform", platform, &image]);
            assert!(pulled.contains(&self.digest(variant)), "{pulled}");
            let run = ["run", "--rm", "--network", "none", "--platform", platform];
            let version = self.docker(engine, &[&run[..], &["--entrypoint", "uv", &image, "--version"]].concat());
            assert!(version.starts_with("uv 0.9.26"), "{version}");
            let shell = [&run[..], &["--entrypoint", "sh", &image, "-c", "uname -m; command -v uvx"]].concat();
            assert_eq!(self.docker(engine, &shell), format!("{machine}\n/usr/local/bin/uvx\n"), "{platform}");
            // The classic store holds one platform at a time, and would run that one whichever is asked for.
            self.docker(engine, &["image", "rm", "--force", &image]);
        }
    }
}

#[tokio::test]
async fn the_plan_is_published_and_every_client_reads_it_and_the_engines_run_it() {
    let Some(world) = World::publish().await else { return };
    a_variant_is_its_base_and_one_layer_with_what_the_plan_says_and_nothing_else(&world).await;
    every_client_reads_it_and_the_engines_run_it(&world);
}

fn every_client_reads_it_and_the_engines_run_it(world: &World) {
    let platforms: Vec<_> =
        [("linux/amd64", "x86_64"), ("linux/arm64", "aarch64")].into_iter().filter(runs_here).collect();
    std::thread::scope(|scope| {
        for engine in parts::engines() {
            let platforms = &platforms;
            scope.spawn(move || VARIANTS.map(|(variant, ..)| world.docker_runs(&engine, variant, platforms)));
        }
        every_client_reads_it(world);
    });
}

fn runs_here((platform, machine): &(&str, &str)) -> bool {
    let runs =
        std::env::consts::ARCH == *machine || Path::new(&format!("/proc/sys/fs/binfmt_misc/qemu-{machine}")).exists();
    if !runs {
        parts::skip(&format!("{platform} is not emulated"));
    }
    runs
}

fn every_client_reads_it(world: &World) {
    for (variant, ..) in VARIANTS {
        let (image, digest) = (world.image(variant), world.digest(variant));
        let inspected = output(world.tool("buildx").args(["imagetools", "inspect", &image]));
        assert!(inspected.contains(&digest), "{inspected}");
        for platform in ["linux/amd64", "linux/arm64"] {
            assert!(inspected.split_whitespace().any(|word| word == platform), "{inspected}");
        }
        assert!(!inspected.contains("unknown"), "{inspected}");

        output(world.tool("crane").args(["validate", "--remote", &image]));
        assert_eq!(output(world.tool("crane").args(["digest", &image])).trim(), digest);
        let manifest: Value = serde_json::from_str(&output(world.tool("crane").args(["manifest", &image]))).unwrap();
        assert_eq!(manifest["manifests"].as_array().unwrap().len(), 2, "{manifest}");

        if Command::new("skopeo").arg("--version").output().is_err() {
            parts::skip("no skopeo");
            continue;
        }
        let reference = format!("docker://{image}");
        let inspect = ["inspect", "--tls-verify=false", "--override-arch=arm64", &reference];
        let inspected: Value = serde_json::from_str(&output(Command::new("skopeo").args(inspect))).unwrap();
        assert_eq!((&inspected["Digest"], &inspected["Architecture"]), (&json!(digest), &json!("arm64")));
        let folder = tempfile::tempdir().unwrap();
        let target = format!("dir:{}", folder.path().display());
        let copy = ["copy", "--all", "--preserve-digests", "--src-tls-verify=false", &reference, &target];
        output(Command::new("skopeo").args(copy));
        let copied = std::fs::read(folder.path().join("manifest.json")).unwrap();
        assert_eq!(support::image::digest(&copied), digest);
    }
}

/// One platform of a variant: its manifest and its config.
async fn platform(registry: &Registry, index: &Value, number: usize) -> (Value, Value) {
    let manifest = index["manifests"][number]["digest"].as_str().unwrap();
    let manifest = registry.manifest(REPOSITORY, manifest).await.unwrap().json();
    let config = registry.blob(REPOSITORY, manifest["config"]["digest"].as_str().unwrap()).await.unwrap();
    (manifest, serde_json::from_slice(&config).unwrap())
}

/// The manifest and the config of an in-memory base for an architecture.
fn base(image: &Image, architecture: &str) -> (Value, Value) {
    let json = |wanted: &str| -> Value {
        let manifests = image.manifests.iter().map(|manifest| (manifest.digest(), &manifest.bytes));
        let blobs = image.blobs.iter().map(|blob| (digest(blob), blob));
        let found = manifests.chain(blobs).find(|(digest, _)| digest == wanted).unwrap();
        serde_json::from_slice(found.1).unwrap()
    };
    let index = image.top().json();
    let entries = index["manifests"].as_array().unwrap();
    let entry = entries.iter().find(|entry| entry["platform"]["architecture"] == architecture).unwrap();
    let manifest = json(entry["digest"].as_str().unwrap());
    let config = json(manifest["config"]["digest"].as_str().unwrap());
    (manifest, config)
}

fn digests(manifest: &Value) -> Vec<String> {
    let layers = manifest["layers"].as_array().unwrap().iter();
    layers.map(|layer| layer["digest"].as_str().unwrap().to_owned()).collect()
}

/// The mode, owner, group and time of each entry of a layer, by path.
fn files(layer: &[u8]) -> BTreeMap<String, (u32, u64, u64, u64)> {
    let mut tar = Vec::new();
    flate2::read::MultiGzDecoder::new(layer).read_to_end(&mut tar).unwrap();
    let mut archive = tar::Archive::new(&tar[..]);
    let entries = archive.entries().unwrap().map(|entry| {
        let entry = entry.unwrap();
        let header = entry.header();
        let facts = (header.mode().unwrap(), header.uid().unwrap(), header.gid().unwrap(), header.mtime().unwrap());
        (entry.path().unwrap().display().to_string(), facts)
    });
    entries.collect()
}

async fn a_variant_is_its_base_and_one_layer_with_what_the_plan_says_and_nothing_else(world: &World) {
    let registry = &world.registry;
    // The source states its own date, so the date of its release doesn't get into the images.
    let (_, source) = base(&Image::read_layout(&world.layouts.join("uv-0.9.26"), "0.9.26"), "amd64");
    let created = source["config"]["Labels"]["org.opencontainers.image.created"].as_str().unwrap();
    for (variant, base_tag, layout) in VARIANTS {
        let image = Image::read_layout(&world.layouts.join(layout), base_tag.split_once(':').unwrap().1);
        let index = registry.manifest(REPOSITORY, &format!("0.9.26-{variant}")).await.unwrap();
        assert_eq!(index.media_type, "application/vnd.oci.image.index.v1+json");
        let index = index.json();
        let expected = BTreeMap::from([
            ("created", created.to_owned()),
            ("version", format!("0.9.26-{variant}")),
            ("revision", Release::new("0.9.26").commit),
            ("base.digest", image.top().digest()),
            ("title", "uv".to_owned()),
            ("source", "https://github.com/astral-sh/uv".to_owned()),
        ]);
        for (number, architecture) in ["amd64", "arm64"].into_iter().enumerate() {
            let (manifest, config) = platform(registry, &index, number).await;
            let (base_manifest, base_config) = base(&image, architecture);
            assert_eq!((&config["architecture"], &config["os"]), (&json!(architecture), &json!("linux")));
            assert_eq!(config["created"], created);

            let layers = digests(&manifest);
            let (own, of_base) = layers.split_last().unwrap();
            assert_eq!(of_base, digests(&base_manifest), "the base's blobs, as they are");
            let own = files(&registry.blob(REPOSITORY, own).await.unwrap());
            for name in ["uv", "uvx"] {
                let file = own[&format!("usr/local/bin/{name}")];
                assert_eq!((file.0 & 0o7777, file.1, file.2, file.3), (0o755, 0, 0, 0), "{name}");
            }
            let others = own.keys().filter(|path| !["usr/", "usr/local/", "usr/local/bin/"].contains(&path.as_str()));
            assert_eq!(others.count(), 2, "{own:?}");

            let (ours, theirs) = (&config["config"], &base_config["config"]);
            for (name, value) in &expected {
                let name = format!("org.opencontainers.image.{name}");
                for labels in [&ours["Labels"], &manifest["annotations"], &index["annotations"]] {
                    assert_eq!(labels[&name], value.as_str(), "{name}");
                }
            }
            // On loopback, the base's name means nothing to others.
            assert_eq!(index["annotations"].get("org.opencontainers.image.base.name"), None);
            let ours_alone = &index["annotations"]["io.github.astral-sh.publish-variants.version"];
            assert_eq!(
                (ours_alone, ours["Labels"].get("io.github.astral-sh.publish-variants.version")),
                (&json!("0.9.26"), None)
            );
            let env = |config: &Value| config["Env"].as_array().cloned().unwrap_or_default();
            if variant.starts_with("alpine") {
                assert_eq!((&ours["Entrypoint"], &ours["Cmd"]), (&Value::Null, &json!(["/usr/local/bin/uv"])));
                assert_eq!(env(ours), env(theirs));
            } else {
                assert_eq!((&ours["Entrypoint"], &ours["Cmd"]), (&json!(["uv"]), &json!(["--version"])));
                assert_eq!(env(ours), [env(theirs), vec![json!("UV_TOOL_BIN_DIR=/usr/local/bin")]].concat());
                assert_eq!(ours["Labels"]["org.opencontainers.image.vendor"], "Somebody");
                assert_eq!(manifest["annotations"]["org.example.note"], "A note, with \"quotes\"");
                assert_eq!(index["annotations"]["org.example.note"], "A note, with \"quotes\"");
            }
        }
    }
}
