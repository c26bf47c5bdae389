//! A tool with its scratch image in an in-memory registry, a base to publish it on, and the step that does so without
//! an engine.
#![allow(dead_code, reason = "each test file uses only a part of it")]

use std::path::Path;

use serde_json::{Value, json};
use support::github::{GitHub, WRITE_TOKEN};
use support::image::{TinyImage, executable};
use support::memory_registry::MemoryRegistry;
use support::runner::{Done, Step, payload};

const ACTION: &str = include_str!("../../action.yml");
const AMD64: &[&str] = &["linux/amd64"];
pub(crate) const PREFIX: &str = "org.opencontainers.image.";

/// A tool whose source has the labels `labels`, and a base with other labels.
pub(crate) fn registry(labels: &Value) -> MemoryRegistry {
    let registry = MemoryRegistry::start();
    let tool = TinyImage::tool(AMD64, &["tool"], "1.2.3").config("Labels", labels.clone()).build();
    registry.put_image(&tool, "acme/source", "1.2.3");
    let says = |names: &[&str]| -> Value {
        names
            .iter()
            .map(|name| (format!("{PREFIX}{name}"), json!("the base's")))
            .collect::<serde_json::Map<_, _>>()
            .into()
    };
    let base = TinyImage::new(AMD64)
        .layer(vec![executable("/bin/sh", "#!")])
        .config("Labels", says(&["title", "description", "documentation", "vendor", "authors", "version"]))
        .build();
    registry.put_image(&base, "base/alpine", "3.23");
    registry
}

pub(crate) fn step(registry: &MemoryRegistry) -> Step {
    let host = registry.host();
    Step::new(env!("CARGO_BIN_EXE_publish-variants"), ACTION)
        .variable("GITHUB_REPOSITORY", "")
        .input("builder", "registry")
        .input("source", &format!("{host}/acme/source:{{version}}"))
        .input("binaries", "/tool")
        .input("images", &format!("{host}/acme/tool"))
        .input("matrix", &format!("{host}/base/alpine:3.23,alpine"))
}

pub(crate) fn event(name: &str, change: impl FnOnce(&mut Value)) -> Value {
    let mut event = payload(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/events"), name);
    change(&mut event);
    event
}

/// A step as GitHub's runner starts it.
pub(crate) fn on_github(registry: &MemoryRegistry, github: &GitHub, name: &str, event: &Value, commit: &str) -> Step {
    step(registry)
        .variable("GITHUB_REPOSITORY", "astral-sh/uv")
        .variable("GITHUB_API_URL", &github.url())
        .variable("GITHUB_SHA", commit)
        .input("github-token", WRITE_TOKEN)
        .event(name, event)
}

pub(crate) fn index(registry: &MemoryRegistry) -> Value {
    registry.manifest("acme/tool", "alpine").unwrap().json()
}

pub(crate) fn labels(registry: &MemoryRegistry) -> Value {
    let child = index(registry)["manifests"][0]["digest"].as_str().unwrap().to_owned();
    let manifest = registry.manifest("acme/tool", &child).unwrap().json();
    let config = registry.blob("acme/tool", manifest["config"]["digest"].as_str().unwrap()).unwrap();
    serde_json::from_slice::<Value>(&config).unwrap()["config"]["Labels"].clone()
}

pub(crate) fn digest(done: &Done) -> String {
    done.json("digests")["alpine"].as_str().unwrap().to_owned()
}
