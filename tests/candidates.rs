//! Images built by the real buildx, with provenance and SBOM, are published by digest, from a registry and from an OCI
//! archive, and both engines run them before and after.

#![expect(clippy::unwrap_used, reason = "a failing setup fails its test")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use support::github::{GitHub, Release, WRITE_TOKEN};
use support::parts;
use support::process::output;
use support::registry::{Auth, Registry};
use support::runner::{Done, Step};

const ACTION: &str = include_str!("../action.yml");
const USER: &str = "publisher";
const PASSWORD: &str = "correct-horse-battery-staple";
const VERSION: &str = "0.9.26";

struct World {
    /// The registry with the candidates, and with what they are built of.
    open: Registry,
    closed: Registry,
    github: GitHub,
    tools: PathBuf,
    folder: tempfile::TempDir,
    /// The image that buildx pushed, by its digest.
    candidate: String,
}

/// The generator of SBOMs for buildx; the usual one isn't available without the Internet.
const SCANNER: &str = r#"FROM BASE
ENTRYPOINT ["/bin/sh", "-c", "echo '{\"_type\":\"https://in-toto.io/Statement/v0.1\",\"predicateType\":\"https://spdx.dev/Document\",\"predicate\":{\"spdxVersion\":\"SPDX-2.3\",\"SPDXID\":\"SPDXRef-DOCUMENT\",\"name\":\"candidate\"}}' > $BUILDKIT_SCAN_DESTINATION/sbom.spdx.json"]
"#;

impl World {
    /// Lets buildx build the candidate, into the registry and into `candidate.tar`. `None` if a part is missing, which
    /// is reported.
    async fn build() -> Option<Self> {
        let open = Registry::start(Auth::None).await;
        let closed = Registry::start(Auth::Htpasswd { user: USER, password: PASSWORD }).await;
        let github = GitHub::start("astral-sh/uv", vec![Release::new(VERSION), Release::new("0.9.27")]);
        let real = (parts::engine_containerd(), parts::oci_layouts(), parts::tools());
        let (Some(open), Some(closed), Some(github), (Some(engine), Some(layouts), Some(tools))) =
            (open, closed, github, real)
        else {
            parts::skip(
                "no engine with the containerd image store, registry, bases, tools, or description of GitHub's API",
            );
            return None;
        };
        open.seed(&layouts.join("uv-0.9.26"), "astral-sh/uv", VERSION).await;
        open.seed(&layouts.join("alpine-3.23"), "library/alpine", "3.23").await;
        let folder = tempfile::tempdir().unwrap();
        let mut world = Self { open, closed, github, tools, folder, candidate: String::new() };
        let host = world.open.host().to_owned();
        let base = format!("{host}/library/alpine:3.23");
        let scanner = format!("--output=type=image,name={host}/tools/scanner,push=true");
        world.buildx(&engine, &SCANNER.replace("BASE", &base), &["--provenance=false", &scanner]);
        let dockerfile = format!(
            "FROM {base}\nCOPY --from={host}/astral-sh/uv:{VERSION} /uv /uvx /usr/local/bin/\nENV MADE=elsewhere\nCMD [\"uv\"]\n"
        );
        let sbom = format!("--sbom=generator={host}/tools/scanner");
        let attest = ["--platform=linux/amd64,linux/arm64", "--provenance=mode=max", sbom.as_str()];
        let pushed = format!("--output=type=image,name={host}/acme/candidates:any,push=true");
        let built = world.buildx(&engine, &dockerfile, &[&attest[..], &[&pushed]].concat());
        let digest = built["containerimage.digest"].as_str().unwrap();
        world.candidate = format!("{host}/acme/candidates@{digest}");
        // The engine must not have it without a name.
        for made in ["acme/candidates:any", "tools/scanner"] {
            world.docker(&engine, &["image", "rm", "--force", &format!("{host}/{made}")]);
        }
        let archive = format!("--output=type=oci,dest={}", world.folder.path().join("candidate.tar").display());
        world.buildx(&engine, &dockerfile, &[&attest[..], &[&archive]].concat());
        Some(world)
    }

    /// Builds, and returns buildx's metadata of the result.
    fn buildx(&self, engine: &str, dockerfile: &str, arguments: &[&str]) -> Value {
        let context = tempfile::tempdir().unwrap();
        std::fs::write(context.path().join("Dockerfile"), dockerfile).unwrap();
        let metadata = context.path().join("metadata.json");
        let mut command = Command::new(self.tools.join("buildx"));
        command.env("DOCKER_HOST", engine).env("BUILDX_CONFIG", context.path()).env("DOCKER_CONFIG", context.path());
        command.arg("build").args(arguments).arg(format!("--metadata-file={}", metadata.display())).arg(context.path());
        output(&mut command);
        serde_json::from_slice(&std::fs::read(metadata).unwrap()).unwrap()
    }

    /// The step that publishes the candidate as two variants, from the registry and from the archive, to `owner/uv` in
    /// both registries.
    fn step(&self, engine: &str, owner: &str, version: &str) -> Step {
        let (open, closed) = (self.open.host(), self.closed.host());
        let matrix = json!({
            "defaults": { "verify": ["sh -c 'test $MADE = elsewhere'"] },
            "variants": [{ "tags": ["full"] }, { "image": "oci:candidate.tar", "tags": ["loaded"] }],
        });
        let step = Step::new(env!("CARGO_BIN_EXE_publish-variants"), ACTION)
            .variable("DOCKER_HOST", engine)
            .variable("GITHUB_API_URL", &self.github.url())
            .variable("GITHUB_SHA", &self.github.release(version).commit)
            .input("version", version)
            .input("binaries", "/uv /uvx")
            .input("images", &format!("{open}/{owner}/uv\n{closed}/{owner}/uv"))
            .input("credentials", &format!("{closed} {USER} {PASSWORD}"))
            .input("github-token", WRITE_TOKEN)
            .input("matrix", &matrix.to_string())
            .file("images.json", &json!({ "full": self.candidate }).to_string())
            .input("images-from", "images.json");
        std::fs::copy(self.folder.path().join("candidate.tar"), step.workspace().join("candidate.tar")).unwrap();
        step
    }

    fn docker(&self, engine: &str, arguments: &[&str]) -> String {
        output(self.tool("docker").args(["--host", engine]).args(arguments))
    }

    fn tool(&self, name: &str) -> Command {
        let mut command = Command::new(self.tools.join(name));
        command.env("DOCKER_CONFIG", env!("CARGO_TARGET_TMPDIR"));
        command
    }

    /// Everything on an engine: its images with all their names, and its containers.
    fn on(&self, engine: &str) -> (BTreeSet<String>, String) {
        let format = "{{.Repository}}:{{.Tag}}@{{.Digest}} {{.ID}}";
        let images = self.docker(engine, &["images", "--all", "--no-trunc", "--digests", "--format", format]);
        // Their order isn't stable.
        let images = images.lines().map(str::to_owned).collect();
        (images, self.docker(engine, &["ps", "--all", "--quiet"]))
    }
}

fn digests(index: &Value) -> Vec<String> {
    index["manifests"].as_array().unwrap().iter().map(|entry| entry["digest"].as_str().unwrap().to_owned()).collect()
}

fn emulates_arm64() -> bool {
    let emulates = cfg!(target_arch = "aarch64") || Path::new("/proc/sys/fs/binfmt_misc/qemu-aarch64").exists();
    if !emulates {
        parts::skip("linux/arm64 is not emulated");
    }
    emulates
}

/// Every check of both variants, as the run reports it: platform, command, outcome.
fn checks(done: &Done) -> Vec<(String, String, String)> {
    let report = done.json("images");
    let mut checks = Vec::new();
    for platform in report["variants"].as_array().unwrap().iter().flat_map(|v| v["platforms"].as_array().unwrap()) {
        for check in platform["checks"].as_array().unwrap() {
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            checks.push((text(&platform["platform"]), text(&check["command"]), text(&check["outcome"])));
        }
    }
    checks
}

#[tokio::test]
async fn images_of_buildx_are_published_with_their_attestations_and_the_engines_run_them() {
    let Some(mut world) = World::build().await else { return };
    let emulates = emulates_arm64();
    for (number, engine) in parts::engines().into_iter().enumerate() {
        let owner = format!("acme{number}");
        let before = world.on(&engine);
        let step = world.step(&engine, &owner, VERSION);
        let done = step.run().await.succeeded();
        assert_eq!(world.on(&engine), before, "nothing is left on the engine");
        let checks = checks(&done);
        assert_eq!(checks.len(), 2 * 2 * 2, "{checks:?}");
        for (platform, command, outcome) in &checks {
            let runs = platform == "linux/amd64" || emulates;
            assert_eq!(
                outcome,
                if runs { "passed" } else { "skipped" },
                "{engine}: {command} on {platform}\n{}",
                done.log
            );
        }
        assert_eq!(step.run().await.succeeded().outputs["status"], "unchanged");
        all_of_it_is_there(&world, &owner, &done).await;
        clients_read_it(&world, &engine, &owner, ["full", "loaded"][number]);
    }
    the_version_is_checked(&world).await;
    a_damaged_destination_is_restored(&mut world).await;
}

async fn all_of_it_is_there(world: &World, owner: &str, done: &Done) {
    let repository = format!("{owner}/uv");
    let (_, candidate) = world.candidate.rsplit_once('@').unwrap();
    let theirs = world.open.manifest("acme/candidates", candidate).await.unwrap().json();
    assert_eq!(digests(&theirs).len(), 4, "two images, and an attestation of each: {theirs}");
    for registry in [&world.open, &world.closed] {
        let ours = registry.manifest(&repository, "0.9.26-full").await.unwrap();
        assert_eq!(ours.digest(), done.json("digests")["full"].as_str().unwrap());
        assert_eq!(ours.json()["manifests"], theirs["manifests"]);
        let annotations = &ours.json()["annotations"];
        assert_eq!(annotations["org.opencontainers.image.version"], "0.9.26-full");
        let commit = world.github.release(VERSION).commit.clone();
        assert_eq!(annotations["org.opencontainers.image.revision"], commit.as_str(), "the image doesn't say it");
        let loaded = registry.manifest(&repository, "0.9.26-loaded").await.unwrap().json();
        assert_eq!(digests(&loaded).len(), 4);
    }
}

/// Each engine runs a different variant, because an image of 25 MB takes a while.
fn clients_read_it(world: &World, engine: &str, owner: &str, variant: &str) {
    let image = format!("{}/{owner}/uv:0.9.26-{variant}", world.open.host());
    let inspect = |what: &str| {
        let format = format!("{{{{json .{what}}}}}");
        let said = output(world.tool("buildx").args(["imagetools", "inspect", &image, "--format", &format]));
        serde_json::from_str::<Value>(&said).unwrap()
    };
    for platform in ["linux/amd64", "linux/arm64"] {
        assert!(inspect("Provenance")[platform]["SLSA"].is_object(), "{variant} {platform}");
        assert_eq!(inspect("SBOM")[platform]["SPDX"]["name"], "candidate", "{variant} {platform}");
    }
    output(world.tool("crane").args(["validate", "--remote", &image]));
    let run = ["run", "--rm", "--network", "none", "--pull", "always", "--platform", "linux/amd64", &image];
    let version = world.docker(engine, &[&run[..], &["uv", "--version"]].concat());
    assert!(version.starts_with("uv 0.9.26"), "{version}");
    world.docker(engine, &["image", "rm", "--force", &image]);
}

/// The image that a record names may be one of another version.
async fn the_version_is_checked(world: &World) {
    let engine = parts::engine().unwrap();
    let done = world.step(&engine, "other", "0.9.27").run().await;
    assert_eq!(done.code, Some(1), "{}", done.log);
    assert!(done.log.contains("does not print `0.9.27`"), "{}", done.log);
    assert!(world.open.tags("other/uv").await.is_empty() && world.closed.tags("other/uv").await.is_empty());
}

async fn a_damaged_destination_is_restored(world: &mut World) {
    let index = world.closed.manifest("acme0/uv", "0.9.26-full").await.unwrap();
    let children = digests(&index.json());
    world.closed.delete_manifest("acme0/uv", &children[1]).await;
    world.closed.delete_manifest("acme0/uv", &children[3]).await;
    // This deletes all tags that name it as well.
    world.closed.delete_manifest("acme0/uv", &index.digest()).await;
    let engine = parts::engine().unwrap();
    let step = world.step(&engine, "acme0", VERSION);
    let done = step.run().await.succeeded();
    assert_eq!(done.outputs["status"], "published");
    for child in children {
        assert!(world.closed.manifest("acme0/uv", &child).await.is_some(), "{child}");
    }
    for tag in ["0.9.26-full", "0.9-full", "full"] {
        assert_eq!(world.closed.manifest("acme0/uv", tag).await.unwrap().digest(), index.digest(), "{tag}");
    }
    assert_eq!(step.run().await.succeeded().outputs["status"], "unchanged");
}
