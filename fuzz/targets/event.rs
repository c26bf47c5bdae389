//! Any name and payload of an event: the result is a version or a problem, but never a panic.
#![no_main]

use std::collections::BTreeMap;
use std::path::PathBuf;

use libfuzzer_sys::fuzz_target;
use publish_variants::action::{Environment, Options};
use publish_variants::plan::Plan;

fuzz_target!(|text: &str| {
    // The first line is the event's name, the second one its ref, and the rest its payload.
    let mut parts = text.splitn(3, '\n');
    let mut part = || parts.next().unwrap_or_default().to_owned();
    let (name, git_ref, payload) = (part(), part(), part());
    let environment: Environment = [
        ("GITHUB_EVENT_NAME", name.as_str()),
        ("GITHUB_REF", &git_ref),
        ("GITHUB_SHA", "0123456789abcdef0123456789abcdef01234567"),
        ("GITHUB_EVENT_PATH", "/event.json"),
        ("INPUT_IMAGES", "ghcr.io/astral-sh/uv"),
        ("INPUT_BINARIES", "/uv"),
        ("INPUT_MATRIX", "alpine:3.23,alpine"),
        ("INPUT_TAG-TEMPLATES", "{version}-{tag}\n{tag}\nsha-{sha}-{tag}"),
    ]
    .into_iter()
    .collect();
    let files = BTreeMap::from([(PathBuf::from("/event.json"), payload)]);
    if let Ok((plan, _, event)) = Plan::read(&Options::default(), &environment, &files) {
        assert!(plan.dry_run || !event.is_pull_request());
        assert!(!plan.version.is_prerelease() || plan.not_final.is_some());
    }
});
