//! The tree of dependencies is one that `deny.toml` and the manifest allow. These are cargo-deny's rules that need no
//! network, applied to the crates of the program on any platform.

#![expect(clippy::unwrap_used, reason = "a failing setup fails its test")]

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use semver::{Version, VersionReq};
use serde_json::Value;
use spdx::{Expression, ParseMode};

const DENY: &str = include_str!("../deny.toml");
const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// A list of texts in `deny.toml`.
fn list(key: &str) -> Vec<&'static str> {
    let (_, list) = DENY.split_once(&format!("\n{key} = [\n")).unwrap();
    let lines = list.split_once("\n]").unwrap().0.lines();
    lines.map(|line| line.trim().strip_prefix('"').unwrap().split_once('"').unwrap().0).collect()
}

/// The crates that the program is built from, itself included, as `cargo metadata` describes them.
fn packages() -> Vec<Value> {
    let arguments = ["metadata", "--format-version=1", "--locked"];
    let output = Command::new(env!("CARGO")).current_dir(env!("CARGO_MANIFEST_DIR")).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let by_id = |list: &Value| -> BTreeMap<String, Value> {
        let items = list.as_array().unwrap().iter();
        items.map(|item| (item["id"].as_str().unwrap().to_owned(), item.clone())).collect()
    };
    let (mut packages, nodes) = (by_id(&metadata["packages"]), by_id(&metadata["resolve"]["nodes"]));
    let mut waiting = vec![metadata["resolve"]["root"].as_str().unwrap().to_owned()];
    let mut found = BTreeSet::new();
    while let Some(id) = waiting.pop() {
        if !found.insert(id.clone()) {
            continue;
        }
        let is_shipped =
            |needed: &&Value| needed["dep_kinds"].as_array().unwrap().iter().any(|kind| kind["kind"] != "dev");
        let needed = nodes[&id]["deps"].as_array().unwrap().iter().filter(is_shipped);
        waiting.extend(needed.map(|needed| needed["pkg"].as_str().unwrap().to_owned()));
    }
    packages.retain(|id, _| found.contains(id));
    assert!(packages.len() > 100, "{} crates", packages.len());
    packages.into_values().collect()
}

fn text<'a>(package: &'a Value, key: &str) -> &'a str {
    package[key].as_str().unwrap_or_default()
}

fn name(package: &Value) -> String {
    format!("{} {}", text(package, "name"), text(package, "version"))
}

#[test]
fn every_licence_is_one_that_we_may_publish_under() {
    let allowed = list("allow");
    let mut used: BTreeSet<&str> = BTreeSet::new();
    let mut refused = Vec::new();
    for package in packages() {
        let licence = text(&package, "license");
        let is_fine = Expression::parse_mode(licence, ParseMode::LAX).is_ok_and(|expression| {
            expression.evaluate(|asked| {
                let asked = asked.to_string();
                let known = allowed.iter().copied().find(|allowed| *allowed == asked);
                used.extend(known);
                known.is_some()
            })
        });
        if !is_fine {
            refused.push(format!("{}: `{licence}`", name(&package)));
        }
    }
    assert!(refused.is_empty(), "{}", refused.join("\n"));
    assert_eq!(used.into_iter().collect::<Vec<_>>(), allowed, "those that are needed, sorted");
}

#[test]
fn every_crate_is_from_crates_io_and_in_one_version() {
    let packages = packages();
    let elsewhere = packages.iter().filter(|package| text(package, "source") != CRATES_IO);
    assert_eq!(elsewhere.map(|package| text(package, "name")).collect::<Vec<_>>(), ["publish-variants"]);

    let mut skipped = list("skip");
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for package in &packages {
        versions.entry(text(package, "name")).or_default().push(text(package, "version"));
    }
    for (name, mut versions) in versions.into_iter().filter(|(_, versions)| versions.len() > 1) {
        skipped.retain(|skip| {
            let (of, which) = skip.split_once('@').unwrap();
            let which = VersionReq::parse(which).unwrap();
            let there = versions.len();
            versions.retain(|version| of != name || !which.matches(&Version::parse(version).unwrap()));
            there == versions.len()
        });
        assert_eq!(versions.len(), 1, "`{name}` is there as {versions:?}");
    }
    assert!(skipped.is_empty(), "{skipped:?} of `skip` are there in one version, or not at all");
}

#[test]
fn no_crate_needs_a_newer_rust_than_we_say() {
    let number = |rust: &str| -> Vec<u32> { rust.split('.').map(|part| part.parse().unwrap()).collect() };
    let ours = number(env!("CARGO_PKG_RUST_VERSION"));
    let packages = packages();
    let told = packages.iter().filter(|package| !text(package, "rust_version").is_empty());
    let newer = told.filter(|package| number(text(package, "rust_version")) > [ours.as_slice(), &[0]].concat());
    assert_eq!(newer.map(name).collect::<Vec<_>>(), Vec::<String>::new());
}
