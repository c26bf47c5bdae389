//! The scripts that release this action, each run for real: on a clone whose origin is a bare repository next to it,
//! with a registry on loopback in place of ghcr.io, and with images built from the `Dockerfile`.

#![expect(clippy::unwrap_used, reason = "a failing setup fails its test")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};
use support::elf::printing;
use support::github::{GitHub, READ_TOKEN};
use support::image::{TinyImage, executable};
use support::parts;
use support::registry::{Auth, Registry};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const VERSION: &str = env!("CARGO_PKG_VERSION");
const PLATFORMS: &[&str] = &["linux/amd64", "linux/arm64"];
const IMAGE: &str = "ghcr.io/astral-sh/publish-variants@sha256:";
/// The files that a release is made from, besides the sources, which only a compiler needs.
const FILES: [&str; 11] = [
    ".github",
    "action.yml",
    "Cargo.lock",
    "Cargo.toml",
    "CHANGELOG.md",
    "Dockerfile",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
    "scripts/parts",
    "scripts/release",
];

/// A clone of the project in which the changelog is ready for a release, and its origin.
struct Project {
    folder: tempfile::TempDir,
}

impl Project {
    fn new() -> Self {
        let project = Self { folder: tempfile::tempdir().unwrap() };
        let origin = project.folder.path().join("origin.git");
        succeeded(Command::new("git").args(["init", "--quiet", "--bare"]).arg(&origin));
        fs::create_dir_all(project.path("scripts")).unwrap();
        for file in FILES {
            succeeded(Command::new("cp").arg("-R").arg(Path::new(ROOT).join(file)).arg(project.path(file)));
        }
        let heading = format!("## {VERSION}\n");
        project.edit("CHANGELOG.md", |text| text.replace("## Unreleased\n", &heading));
        // On a commit of a release, action.yml names the release's image.
        project.edit("action.yml", |text| {
            format!("{}\n  image: Dockerfile\n", text.rsplit_once("\n  image: ").unwrap().0)
        });
        project.git(&["init", "--quiet", "--initial-branch=main"]);
        project.git(&["remote", "add", "origin", origin.to_str().unwrap()]);
        project.commit();
        project
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("clone").join(name)
    }

    fn edit(&self, name: &str, edit: impl FnOnce(String) -> String) {
        let text = fs::read_to_string(self.path(name)).unwrap();
        fs::write(self.path(name), edit(text)).unwrap();
    }

    fn git(&self, arguments: &[&str]) -> String {
        let mut git = self.command("git");
        let identity = ["-c", "user.name=a maintainer", "-c", "user.email=maintainer@example.com"];
        succeeded(git.args(identity).args(arguments)).trim().to_owned()
    }

    fn commit(&self) {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--message", "Ready"]);
        self.git(&["push", "--quiet", "origin", "main"]);
    }

    /// A command in the clone, without the settings of this machine's git.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.path(".")).env("GIT_CONFIG_GLOBAL", "/dev/null").env("HOME", self.folder.path());
        command.env_remove("GITHUB_REPOSITORY");
        command
    }

    fn script(&self, name: &str, arguments: &[&str]) -> Command {
        let mut script = self.command(self.path("scripts/release").join(name).to_str().unwrap());
        script.args(arguments);
        script
    }

    /// The commit that a tag of the origin names.
    fn tag(&self, name: &str) -> Option<String> {
        let line = self.git(&["ls-remote", "origin", &format!("refs/tags/{name}")]);
        line.split('\t').next().filter(|commit| !commit.is_empty()).map(str::to_owned)
    }
}

#[track_caller]
fn succeeded(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", said(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// The output of a command, which must fail.
#[track_caller]
fn refused(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(!output.status.success(), "{command:?}: {}", said(&output));
    String::from_utf8(output.stderr).unwrap()
}

fn said(output: &Output) -> String {
    format!("{}\n{}{}", output.status, String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The first line of the changelog's newest section.
fn changes() -> String {
    let changelog = fs::read_to_string(Path::new(ROOT).join("CHANGELOG.md")).unwrap();
    let mut lines = changelog.lines().skip_while(|line| !line.starts_with("## ")).skip(1);
    lines.find(|line| !line.is_empty()).unwrap().to_owned()
}

fn digest(hex: char) -> String {
    format!("{IMAGE}{}", String::from(hex).repeat(64))
}

#[test]
fn a_version_is_released_only_if_manifest_lock_file_changelog_and_tags_agree() {
    let project = Project::new();
    assert!(succeeded(&mut project.script("changelog", &[VERSION])).starts_with(&changes()));
    succeeded(&mut project.script("check", &[VERSION]));
    for version in ["", "1", "v1.0.0", "1.0.0-rc.1", "1.0.0 "] {
        assert!(refused(&mut project.script("check", &[version])).contains("isn't a version"), "{version}");
    }
    let said = refused(&mut project.script("check", &["97.98.99"]));
    for problem in ["Cargo.toml has version", "Cargo.lock has version", "a heading `## 97.98.99`"] {
        assert!(said.contains(problem), "{problem}: {said}");
    }

    project.edit("action.yml", |text| text.replace("image: Dockerfile", "image: docker://alpine"));
    project.edit("CHANGELOG.md", |_| format!("# Changelog\n\n## {VERSION}\n\n## 0.0.1\n\nNothing.\n"));
    project.git(&["push", "--quiet", "origin", &format!("main:refs/tags/v{VERSION}")]);
    let said = refused(&mut project.script("check", &[VERSION]));
    for problem in ["action.yml doesn't have", "CHANGELOG.md has nothing", "has the tag"] {
        assert!(said.contains(problem), "{problem}: {said}");
    }
    project.git(&["remote", "set-url", "origin", "/nowhere"]);
    let said = refused(&mut project.script("check", &[VERSION]));
    assert!(said.contains("/nowhere") && !said.contains("has the tag"), "{said}");
}

#[test]
fn the_workflow_passes_its_version_on_to_the_scripts() {
    let act = parts::tools().map(|tools| tools.join("act")).filter(|act| act.is_file());
    let (Some(act), Some(engine)) = (act, parts::engine_classic()) else { return parts::skip("no act, or no engine") };
    let project = Project::new();
    let event = project.folder.path().join("event.json");
    // The workflow's other jobs need machines and images that only GitHub has.
    let dispatched = |version: &str| {
        fs::write(&event, json!({ "inputs": { "version": version } }).to_string()).unwrap();
        let mut act = project.command(act.to_str().unwrap());
        act.args([
            "workflow_dispatch",
            "--workflows",
            ".github/workflows/release.yml",
            "--job",
            "check",
            "--pull=false",
        ]);
        act.args(["--platform", "ubuntu-24.04=-self-hosted", "--eventpath"]).arg(&event).env("DOCKER_HOST", &engine);
        let output = act.output().unwrap();
        (output.status.success(), said(&output))
    };
    let (succeeds, log) = dispatched(VERSION);
    assert!(succeeds && log.contains(&format!("{VERSION} can be released")), "{log}");
    let (succeeds, log) = dispatched("97.98.99");
    assert!(!succeeds && log.contains("97.98.99 can't be released"), "{log}");
}

#[test]
fn the_release_commit_differs_by_the_image_alone_and_is_only_under_its_tag() {
    let project = Project::new();
    let (head, image) = (project.git(&["rev-parse", "HEAD"]), digest('a'));
    let commit = succeeded(&mut project.script("tag", &[VERSION, &image])).trim().to_owned();
    let tag = format!("v{VERSION}");
    assert_eq!(project.tag(&tag), Some(commit.clone()));
    assert_eq!(project.git(&["rev-parse", &format!("{commit}^")]), head);
    assert_eq!(project.git(&["diff", "--name-only", &head, &commit]), "action.yml");
    let action = project.git(&["show", &format!("{commit}:action.yml")]);
    let action: Value = serde_saphyr::from_str(&action).unwrap();
    assert_eq!(action["runs"], json!({ "using": "docker", "image": format!("docker://{image}") }));
    // The clone and its branches stay as they were.
    assert_eq!(project.git(&["rev-parse", "HEAD"]), head);
    assert_eq!(project.git(&["status", "--short"]), "");
    assert_eq!(project.git(&["ls-remote", "--heads", "origin"]), format!("{head}\trefs/heads/main"));

    // The same tag again is the same commit; another image doesn't replace it.
    assert_eq!(succeeded(&mut project.script("tag", &[VERSION, &image])).trim(), commit);
    refused(&mut project.script("tag", &[VERSION, &digest('b')]));
    assert_eq!(project.tag(&tag), Some(commit));
    for image in ["", "ghcr.io/astral-sh/publish-variants:1.0.0", &format!("{IMAGE}abc"), &format!("{image}|")] {
        assert!(refused(&mut project.script("tag", &["1.0.1", image])).contains("isn't an image with its digest"));
    }
}

#[test]
fn the_tag_of_the_major_version_moves_to_its_newest_release_and_never_back() {
    let project = Project::new();
    let release = |version: &str, hex: char| {
        let commit = succeeded(&mut project.script("tag", &[version, &digest(hex)])).trim().to_owned();
        succeeded(&mut project.script("move-major", &[version]));
        commit
    };
    let first = release("1.9.0", 'a');
    assert_eq!(project.tag("v1"), Some(first));
    let tenth = release("1.10.0", 'b');
    assert_eq!(project.tag("v1"), Some(tenth.clone()), "10 is more than 9");
    release("1.9.1", 'c');
    assert_eq!(project.tag("v1"), Some(tenth.clone()));
    let next = release("2.0.0", 'd');
    assert_eq!((project.tag("v1"), project.tag("v2")), (Some(tenth), Some(next)));
    refused(&mut project.script("move-major", &["3.0.0"]));
    assert_eq!(project.tag("v3"), None);
}

/// The files of the image, with executables that print what the released ones print.
fn root(folder: &Path, executable: &[u8]) {
    let root = folder.join("image");
    fs::create_dir_all(root.join("etc/ssl/certs")).unwrap();
    fs::create_dir(root.join("tmp")).unwrap();
    fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
    fs::write(root.join("publish-variants"), executable).unwrap();
    fs::set_permissions(root.join("publish-variants"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(root.join("etc/ssl/certs/ca-certificates.crt"), "certificates\n").unwrap();
}

/// A project, and buildx on an engine that can write OCI layouts.
struct Builder {
    project: Project,
    engine: String,
}

impl Builder {
    /// `None` if a part is missing, which is reported.
    fn find() -> Option<Self> {
        let (engine, tools) = (parts::engine_containerd(), parts::tools());
        let (Some(engine), Some(tools)) = (engine, tools.filter(|tools| tools.join("buildx").is_file())) else {
            parts::skip("no engine with the containerd image store, or no buildx");
            return None;
        };
        let project = Project::new();
        let plugins = project.folder.path().join(".docker/cli-plugins");
        fs::create_dir_all(&plugins).unwrap();
        std::os::unix::fs::symlink(tools.join("buildx"), plugins.join("docker-buildx")).unwrap();
        Some(Self { project, engine })
    }

    /// A script that finds the engine, and its command line on `PATH`.
    fn script(&self, name: &str, arguments: &[&str]) -> Command {
        let path = format!("{}:{}", parts::tools().unwrap().display(), std::env::var("PATH").unwrap());
        let mut script = self.project.script(name, arguments);
        script.env("PATH", path).env("DOCKER_HOST", &self.engine).env_remove("DOCKER_CONFIG");
        script
    }

    /// Builds the last stage of the `Dockerfile` from an executable. A folder replaces the stage that compiles.
    fn build(&self, platform: &str, executable: &[u8], layout: &str) {
        let folder = tempfile::tempdir().unwrap();
        root(folder.path(), executable);
        let stage = format!("build={}", folder.path().display());
        succeeded(&mut self.script("build-image", &[VERSION, platform, layout, "--build-context", &stage]));
    }
}

#[test]
fn an_image_of_more_than_ten_megabytes_or_without_one_of_the_platforms_is_not_released() {
    let Some(builder) = Builder::find() else { return };
    builder.build("linux/amd64", b"small", "image-amd64");
    let said = refused(&mut builder.script("join", &["image", "image-amd64"]));
    assert!(said.contains("the images are for linux/amd64, and should be for linux/amd64 linux/arm64"), "{said}");
    let mut random = fastrand::Rng::with_seed(1);
    let large: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(10_100_000).collect();
    builder.build("linux/arm64", &large, "image-arm64");
    let said = refused(&mut builder.script("join", &["image", "image-amd64", "image-arm64"]));
    assert!(said.contains("bytes to download, and 10000000 is the most"), "{said}");
}

/// A base with a shell that does nothing, and a folder for certificates.
fn base() -> TinyImage {
    PLATFORMS.iter().fold(TinyImage::new(PLATFORMS), |base, platform| {
        base.layer_for(platform, vec![executable("/bin/sh", printing(platform, ""))])
    })
}

/// A stand-in for GitHub's command line. It finds no release, and records the release that it is told to create.
const GH: &str = r#"#!/bin/sh
if [ "$2" = view ]; then exit 1; fi
printf '%s\n' "$@" >"$RECORD"
while [ "$1" != --notes-file ]; do shift; done
cat "$2" >"$RECORD.notes"
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_release_is_an_image_under_its_digest_with_variants_then_archives_a_tag_and_notes() {
    let Some(builder) = Builder::find() else { return };
    let github = GitHub::start("astral-sh/publish-variants", Vec::new());
    let (Some(registry), Some(github)) = (Registry::start(Auth::None).await, github) else {
        return parts::skip("no docker-registry, or no description of GitHub's API");
    };
    if !Path::new("/proc/sys/fs/binfmt_misc/qemu-aarch64").exists() {
        return parts::skip("this machine can't run arm64");
    }
    let project = &builder.project;
    for (platform, layout) in PLATFORMS.iter().zip(["image-amd64", "image-arm64"]) {
        let executable = printing(platform, &format!("publish-variants {VERSION}\n"));
        builder.build(platform, &executable, layout);
        let built = fs::read(project.path(layout).join("index.json")).unwrap();
        builder.build(platform, &executable, "again");
        assert_eq!(fs::read(project.path("again/index.json")).unwrap(), built, "the same commit gives the same image");
    }
    succeeded(&mut builder.script("join", &["image", "image-amd64", "image-arm64"]));

    // The image and its variants are published.
    for (name, tag) in [("alpine", "3.23"), ("debian", "trixie-slim")] {
        registry.push(&base().build(), &format!("library/{name}"), tag).await;
    }
    let host = registry.host();
    let repository = format!("{host}/astral-sh/publish-variants");
    let variants = fs::read_to_string(Path::new(ROOT).join(".github/variants.yml")).unwrap();
    let variants = variants.replace("- alpine:", &format!("- {host}/library/alpine:"));
    let variants = variants.replace("- debian:", &format!("- {host}/library/debian:"));
    let event = project.folder.path().join("event.json");
    fs::write(&event, json!({ "inputs": { "version": VERSION } }).to_string()).unwrap();
    let mut publish = builder.script("publish", &[VERSION, "image"]);
    publish.env("IMAGE", &repository).env("MATRIX", &variants).env("INPUT_GITHUB-TOKEN", READ_TOKEN);
    publish.env("PUBLISH_VARIANTS", env!("CARGO_BIN_EXE_publish-variants")).env("GITHUB_API_URL", github.url());
    publish.envs([
        ("GITHUB_ACTIONS", "true"),
        ("GITHUB_EVENT_NAME", "workflow_dispatch"),
        ("GITHUB_REF", "refs/heads/main"),
        ("GITHUB_REPOSITORY", "astral-sh/publish-variants"),
        ("GITHUB_SERVER_URL", "https://github.com"),
    ]);
    publish.env("GITHUB_EVENT_PATH", &event).env("GITHUB_WORKSPACE", project.path("."));
    publish.env("GITHUB_SHA", project.git(&["rev-parse", "HEAD"]));
    let image = succeeded(&mut publish).trim().to_owned();
    let digest = image.strip_prefix(&format!("{repository}@")).unwrap();
    let index = registry.manifest("astral-sh/publish-variants", digest).await.unwrap().json();
    let platforms: Vec<&Value> =
        index["manifests"].as_array().unwrap().iter().map(|entry| &entry["platform"]).collect();
    assert_eq!(platforms.len(), 2, "{index}");
    for tag in [VERSION, VERSION.split('.').next().unwrap(), "latest"] {
        assert_eq!(registry.manifest("astral-sh/publish-variants", tag).await.unwrap().digest(), digest, "{tag}");
    }
    let tags = registry.tags("astral-sh/publish-variants").await;
    for tag in [format!("{VERSION}-alpine3.23"), "debian-slim".into(), "1-alpine".into()] {
        assert!(tags.contains(&tag), "{tag}: {tags:?}");
    }
    let manifest = index["manifests"][0]["digest"].as_str().unwrap();
    let manifest = registry.manifest("astral-sh/publish-variants", manifest).await.unwrap().json();
    let config = manifest["config"]["digest"].as_str().unwrap();
    let config = registry.blob("astral-sh/publish-variants", config).await.unwrap();
    let config: Value = serde_json::from_slice(&config).unwrap();
    assert_eq!(config["config"]["Entrypoint"], json!(["/publish-variants"]));
    let labels = &config["config"]["Labels"];
    assert_eq!(labels["org.opencontainers.image.revision"], project.git(&["rev-parse", "HEAD"]), "{labels}");
    assert_eq!(labels["org.opencontainers.image.version"], VERSION);

    // By its digest, the image starts as the runner would start it.
    let docker = parts::tools().unwrap().join("docker");
    for platform in PLATFORMS {
        let run = ["run", "--rm", "--network=none", "--platform", platform, &image, "--version"];
        let started = succeeded(Command::new(&docker).args(["--host", &builder.engine]).args(run));
        assert_eq!(started, format!("publish-variants {VERSION}\n"), "{platform}");
    }
    succeeded(Command::new(&docker).args(["--host", &builder.engine, "image", "rm", "--force", &image]));

    // The archives have the same executables.
    let macos = project.path("macos");
    fs::write(&macos, "a Mach-O file").unwrap();
    let pair = format!("aarch64-apple-darwin={}", macos.display());
    succeeded(&mut builder.script("archives", &[VERSION, "image", "archives", &pair]));
    let sums = fs::read_to_string(project.path("archives/SHA256SUMS")).unwrap();
    let names: Vec<&str> = sums.lines().filter_map(|line| line.split("  ").nth(1)).collect();
    let expected = ["aarch64-apple-darwin", "aarch64-unknown-linux-musl", "x86_64-unknown-linux-musl"];
    assert_eq!(names, expected.map(|target| format!("publish-variants-{target}.tar.gz")));
    succeeded(project.command("sha256sum").current_dir(project.path("archives")).args(["--check", "SHA256SUMS"]));
    let archive = project.path("archives/publish-variants-x86_64-unknown-linux-musl.tar.gz");
    let member = "publish-variants-x86_64-unknown-linux-musl/publish-variants";
    let unpacked = project.command("tar").arg("-xzOf").arg(archive).arg(member).output().unwrap().stdout;
    assert_eq!(unpacked, printing("linux/amd64", &format!("publish-variants {VERSION}\n")));
    let said = refused(&mut builder.script("archives", &["9.9.9", "image", "other"]));
    assert!(said.contains(&format!("says that it is `publish-variants {VERSION}`")), "{said}");
    builder.build("linux/amd64", &fs::read("/bin/true").unwrap(), "image-dynamic");
    succeeded(&mut builder.script("join", &["dynamic", "image-dynamic", "image-arm64"]));
    let said = refused(&mut builder.script("archives", &[VERSION, "dynamic", "other"]));
    assert!(said.contains("is linked dynamically"), "{said}");

    // The tag and the release are made. The notes begin with the action's section.
    let bin = project.folder.path().join("bin");
    fs::create_dir(&bin).unwrap();
    fs::write(bin.join("gh"), GH).unwrap();
    fs::set_permissions(bin.join("gh"), fs::Permissions::from_mode(0o755)).unwrap();
    let record = project.folder.path().join("record");
    let mut release = builder.script("release", &[VERSION, &image, "publish-variants.md", "archives"]);
    release.env("PATH", format!("{}:{}", bin.display(), std::env::var("PATH").unwrap())).env("RECORD", &record);
    succeeded(&mut release);
    let tag = format!("v{VERSION}");
    let commit = project.tag(&tag).unwrap();
    assert_eq!(project.tag("v1"), Some(commit.clone()));
    let asked = fs::read_to_string(&record).unwrap();
    assert!(asked.starts_with(&format!("release\ncreate\n{tag}\n--verify-tag\n")), "{asked}");
    assert_eq!(asked.matches("archives/").count(), 4, "{asked}");
    let notes = fs::read_to_string(project.folder.path().join("record.notes")).unwrap();
    let section = fs::read_to_string(project.path("publish-variants.md")).unwrap();
    assert!(notes.starts_with(&section) && section.contains("alpine3.23"), "{notes}");
    for part in [&format!("## What has changed\n\n{}", changes()), &format!("@{commit} # {tag}"), &image] {
        assert!(notes.contains(part), "{part}: {notes}");
    }
    // A damaged archive isn't released, and the tag isn't written for it.
    fs::write(project.path("archives/publish-variants-aarch64-apple-darwin.tar.gz"), "damaged").unwrap();
    refused(&mut builder.script("release", &["1.0.1", &image, "publish-variants.md", "archives"]));
    assert_eq!(project.tag("v1.0.1"), None);
}
