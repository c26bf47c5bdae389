//! The workflows in `examples` result in the plans that they promise.

#![expect(clippy::unwrap_used, reason = "a failing setup fails its test")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use support::runner;

const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples")
}

/// A repository that contains the examples' matrices.
fn repository() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (example, place) in [("uv-variants.yml", ".github"), ("variants.yml", ".forgejo"), ("variants.yml", ".gitlab")]
    {
        fs::create_dir(folder.path().join(place)).unwrap();
        fs::copy(examples().join(example), folder.path().join(place).join("variants.yml")).unwrap();
    }
    folder
}

/// The plan of the step in an example, with values for everything that is known only when it runs.
fn plan(example: &str, options: &[&str]) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_publish-variants"))
        .current_dir(repository().path())
        .env_clear()
        .args(["plan", "--format", "json", "--workflow"])
        .arg(examples().join(example))
        .args(options)
        .output()
        .unwrap();
    assert!(output.status.success(), "{example}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn strings(value: &Value) -> Vec<&str> {
    value.as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect()
}

/// Every tag of the plan, including the source's own.
fn tags(plan: &Value) -> BTreeSet<&str> {
    let images = plan["variants"].as_array().unwrap().iter().chain([&plan["source"]]);
    images
        .flat_map(|image| strings(&image["tags"]["exact"]).into_iter().chain(strings(&image["tags"]["rolling"])))
        .collect()
}

/// The bases in the lines of a current workflow, and their tags without a version.
fn lines(fixture: &str) -> Vec<(String, Vec<String>)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/matrix").join(fixture);
    let line = |line: &str| {
        let mut parts = line.split(',').map(str::to_owned);
        (parts.next().unwrap(), parts.collect())
    };
    fs::read_to_string(path).unwrap().lines().map(line).collect()
}

/// Asserts that a plan has the variants of these lines, with their tags.
fn has_variants_of(plan: &Value, fixture: &str) {
    let variants = plan["variants"].as_array().unwrap();
    let lines = lines(fixture);
    assert_eq!(variants.len(), lines.len());
    for (base, entries) in lines {
        let variant = variants.iter().find(|variant| variant["name"] == *entries[0]).unwrap();
        assert!(variant["base"].as_str().unwrap().ends_with(&base), "{variant}");
        let of_entries: Vec<String> = entries.iter().map(|entry| format!("0.9.26-{entry}")).collect();
        assert_eq!(strings(&variant["tags"]["exact"]), of_entries, "{base}");
    }
}

#[test]
fn uv_and_ruff_get_the_images_that_they_have() {
    let source = |repository: &str| format!("{repository}@{DIGEST}");
    let uv = ["--step", "variants", "--version", "0.9.26", "--source", &source("ghcr.io/astral-sh/uv-dev")];
    let uv = plan("uv.yml", &uv);
    has_variants_of(&uv, "uv.txt");
    assert_eq!(strings(&uv["destinations"]), ["ghcr.io/astral-sh/uv", "docker.io/astral/uv"]);
    assert!(["0.9.26", "0.9", "latest"].iter().all(|tag| tags(&uv).contains(tag)));
    let ruff = plan("ruff.yml", &["--version", "0.9.26", "--source", &source("ghcr.io/astral-sh/ruff")]);
    has_variants_of(&ruff, "ruff.txt");
    // The default word in cargo-dist's workflow.
    let nothing = plan(
        "ruff.yml",
        &["--version", "dry-run", "--revision", "0123456789abcdef", "--source", "ghcr.io/astral-sh/ruff:latest"],
    );
    assert_eq!(nothing["dry_run"], true);
}

#[test]
fn pull_requests_of_uv_get_only_development_images() {
    let development = ["--step", "development", "--version", "sha-0123456", "--source", "ghcr.io/astral-sh/uv:latest"];
    let plan = plan("uv.yml", &development);
    assert_eq!(strings(&plan["destinations"]), ["ghcr.io/astral-sh/uv-dev"]);
    let tags = tags(&plan);
    assert!(tags.len() > 29 && tags.iter().all(|tag| tag.starts_with("sha-0123456")), "{tags:?}");
}

#[test]
fn the_other_workflows_are_plans_too() {
    let released = plan("on-release.yml", &["--version", "1.2.3"]);
    assert_eq!(released["source"]["reference"], "ghcr.io/acme/tool:1.2.3");
    let source = format!("ghcr.io/acme/tool@{DIGEST}");
    let tagged = plan("on-tag.yml", &["--version", "1.2.3", "--source", &source]);
    assert!(["1.2.3", "1.2", "latest", "scratch-1.2.3", "scratch"].iter().all(|tag| tags(&tagged).contains(tag)));
    let called = [
        "--version",
        "1.2.3",
        "--source",
        &source,
        "--binaries",
        "/tool",
        "--images",
        "ghcr.io/acme/tool",
        "--matrix",
        "alpine,alpine",
    ];
    assert!(tags(&plan("reusable.yml", &called)).contains("1.2.3-alpine"));
    let made = plan("scratch-from-tarballs.yml", &["--version", "1.2.3"]);
    assert_eq!(made["source"]["reference"], "files");
    assert_eq!(strings(&made["source"]["files"]).len(), 2);
    assert!(["1.2.3", "1.2", "latest", "1.2.3-alpine", "trixie-slim"].iter().all(|tag| tags(&made).contains(tag)));
    let forgejo = plan("forgejo.yml", &["--version", "1.2.3"]);
    assert_eq!(strings(&forgejo["destinations"]), ["codeberg.org/acme/tool"]);
    assert!(tags(&forgejo).contains("latest"));
}

#[test]
fn each_variant_gets_the_build_for_its_base() {
    let text = fs::read_to_string(examples().join("two-libcs.yml")).unwrap();
    let workflow: Value = serde_saphyr::from_str(&text).unwrap();
    let steps = workflow["jobs"]["publish"]["steps"].as_array().unwrap();
    let matrix = steps.iter().find_map(|step| step["with"]["matrix"].as_str()).unwrap();
    let matrix = matrix.replace("${{ inputs.gnu-digest }}", DIGEST);
    let plan = plan("two-libcs.yml", &["--version", "1.2.3", "--matrix", &matrix]);
    assert_eq!(plan["source"]["reference"], "ghcr.io/acme/tool:1.2.3");
    assert_eq!(plan["variants"][0]["source"], Value::Null);
    assert_eq!(plan["variants"][1]["source"], format!("ghcr.io/acme/tool-gnu@{DIGEST}"));
}

#[test]
fn the_command_of_the_gitlab_job_makes_a_plan_from_its_variables() {
    let text = fs::read_to_string(examples().join("gitlab-ci.yml")).unwrap();
    let pipeline: Value = serde_saphyr::from_str(&text).unwrap();
    let script = strings(&pipeline["variants"]["script"]);
    let command = script.iter().find(|line| line.starts_with("publish-variants publish ")).unwrap();
    let command = command.replace("publish-variants publish", "\"$PROGRAM\" plan --format json");
    let output = Command::new("sh")
        .current_dir(repository().path())
        .env_clear()
        .env("PROGRAM", env!("CARGO_BIN_EXE_publish-variants"))
        .envs(runner::OF_GITLAB)
        .args(["-c", &command])
        .output()
        .unwrap();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    let plan: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(strings(&plan["destinations"]), ["registry.gitlab.com/acme/tool"]);
    assert_eq!(plan["source"]["reference"], "registry.gitlab.com/acme/tool/scratch:1.2.3");
    assert!(["1.2.3-alpine", "1.2.3", "latest"].iter().all(|tag| tags(&plan).contains(tag)));
}

/// The scripts of a job, by the names of their steps.
fn scripts(example: &str) -> Vec<(String, String)> {
    let workflow: Value = serde_saphyr::from_str(&fs::read_to_string(examples().join(example)).unwrap()).unwrap();
    let steps = workflow["jobs"]["variants"]["steps"].as_array().unwrap();
    let text = |value: &Value| value.as_str().map(str::to_owned);
    steps.iter().filter_map(|step| Some((text(&step["name"])?, text(&step["run"])?))).collect()
}

#[test]
fn the_commands_on_the_runner_are_plans() {
    let scripts = scripts("on-the-runner.yml");
    let published: Vec<_> =
        scripts.iter().filter(|(_, script)| script.starts_with("publish-variants publish ")).collect();
    assert_eq!(published.len(), 2);
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("variants.yml"), "alpine:3.23,alpine3.23,alpine\n").unwrap();
    for ((_, script), destination) in published.iter().zip(["localhost:5000/acme/tool", "ghcr.io/acme/tool"]) {
        let command = script.replace("publish-variants publish", "\"$PROGRAM\" plan --format json");
        let output = Command::new("sh")
            .current_dir(folder.path())
            .env_clear()
            .env("PROGRAM", env!("CARGO_BIN_EXE_publish-variants"))
            .env("VERSION", "1.2.3")
            .args(["-c", &command])
            .output()
            .unwrap();
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
        let plan: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(strings(&plan["destinations"]), [destination]);
        assert_eq!(plan["source"]["reference"], "ghcr.io/acme/tool:1.2.3");
    }
}

#[test]
fn every_example_is_tried_here() {
    let there = fs::read_dir(examples()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let here = include_str!("examples.rs");
    let untried: Vec<String> = there.filter(|name| !here.contains(&format!("\"{name}\""))).collect();
    assert_eq!(untried, Vec::<String>::new());
}
