//! A tool with its releases, bases to publish it on, two registries to publish to, and the step of a workflow that does
//! so.
#![allow(dead_code, reason = "each test file uses only a part of it")]

use std::path::Path;

use serde_json::{Value, json};
use support::github::{GitHub, Release, WRITE_TOKEN};
use support::image::{MediaTypes, TinyImage, executable, file};
use support::parts;
use support::registry::{Auth, Registry};
use support::runner::{Step, payload};

const ACTION: &str = include_str!("../../action.yml");
pub(crate) const USER: &str = "publisher";
pub(crate) const PASSWORD: &str = "correct-horse-battery-staple";

/// Two registries, the second one with a password; the first contains the sources and the bases.
pub(crate) struct World {
    pub(crate) open: Registry,
    pub(crate) closed: Registry,
    pub(crate) github: GitHub,
}

impl World {
    /// A world in which `versions` of uv have been released for `platforms`. `None` if a part is missing, which is
    /// reported.
    pub(crate) async fn start(platforms: &[&str], versions: &[&str]) -> Option<Self> {
        let world = Self::without_images(versions).await?;
        for version in versions {
            let tool = TinyImage::tool(platforms, &["uv", "uvx"], version).attestations().build();
            world.open.push(&tool, "astral-sh/uv", version).await;
        }
        world.push_alpine(platforms, "3.23.0").await;
        let debian = shell(platforms)
            .layer(vec![file("/etc/debian_version", "12.8\n")])
            .config("Env", json!(["PATH=/usr/local/bin:/usr/bin:/bin", "LANG=C.UTF-8"]))
            .config("Cmd", json!(["bash"]))
            .build();
        world.open.push(&debian, "library/debian", "bookworm-slim").await;
        Some(world)
    }

    /// The same without pushing the tool or a base.
    pub(crate) async fn without_images(versions: &[&str]) -> Option<Self> {
        let open = Registry::start(Auth::None).await;
        let closed = Registry::start(Auth::Htpasswd { user: USER, password: PASSWORD }).await;
        let github = GitHub::start("astral-sh/uv", versions.iter().map(|version| Release::new(version)).collect());
        let (Some(open), Some(closed), Some(github)) = (open, closed, github) else {
            parts::skip("no docker-registry, or no description of GitHub's API");
            return None;
        };
        Some(Self { open, closed, github })
    }

    /// Makes `alpine:3.23` name the image of this patch release.
    pub(crate) async fn push_alpine(&self, platforms: &[&str], patch: &str) {
        let release = file("/etc/alpine-release", format!("{patch}\n"));
        let alpine = shell(platforms).layer(vec![release]).media_types(MediaTypes::Docker).attestations().build();
        self.open.push(&alpine, "library/alpine", "3.23").await;
    }

    /// The step for the release of `version`: both variants, to `owner/uv` in both registries.
    pub(crate) fn step(&self, engine: &str, owner: &str, version: &str) -> Step {
        let (open, closed) = (self.open.host(), self.closed.host());
        let matrix = format!(
            "{open}/library/alpine:3.23,alpine3.23,alpine\n{open}/library/debian:bookworm-slim,bookworm-slim,debian-slim\n"
        );
        Step::new(env!("CARGO_BIN_EXE_publish-variants"), ACTION)
            .variable("DOCKER_HOST", engine)
            .variable("GITHUB_API_URL", &self.github.url())
            .variable("GITHUB_REF", &format!("refs/tags/{version}"))
            .variable("GITHUB_SHA", &self.github.release(version).commit)
            .input("source", &format!("{open}/astral-sh/uv:{version}"))
            .input("binaries", "/uv /uvx")
            .input("images", &format!("{open}/{owner}/uv\n{closed}/{owner}/uv"))
            .input("credentials", &format!("{closed} {USER} {PASSWORD}"))
            .input("github-token", WRITE_TOKEN)
            .input("matrix", &matrix)
            .event("release", &released(version))
    }

    /// The same with one variant, to `owner/uv` in the first registry only.
    pub(crate) fn small_step(&self, engine: &str, owner: &str, version: &str) -> Step {
        let open = self.open.host();
        self.step(engine, owner, version)
            .input("images", &format!("{open}/{owner}/uv"))
            .input("matrix", &format!("{open}/library/alpine:3.23,alpine3.23,alpine"))
    }
}

/// A base with everything that `sh -c true` needs: an executable that exits with 0 whatever its arguments are.
fn shell(platforms: &[&str]) -> TinyImage {
    platforms.iter().fold(TinyImage::new(platforms), |base, platform| {
        base.layer_for(platform, vec![executable("/bin/sh", support::elf::printing(platform, ""))])
    })
}

/// The payload of the event for the publication of `version`.
pub(crate) fn released(version: &str) -> Value {
    let mut event = payload(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/events"), "release.published");
    event["release"]["tag_name"] = version.into();
    event["release"]["name"] = version.into();
    event
}

/// How many blobs and manifests a registry was sent, without uploads that were only opened to check the permission.
pub(crate) fn pushes(registry: &Registry) -> usize {
    let sent = |method: &str, status| method == "PUT" || (method == "POST" && status == 201);
    registry.requests().iter().filter(|request| sent(&request.method, request.status)).count()
}
