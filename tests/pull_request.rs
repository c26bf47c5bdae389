//! Pull requests: those of the same repository may push development images, and none needs a login to be tried.

#![expect(clippy::unwrap_used, reason = "a failing setup fails its test")]

mod tool;

use serde_json::{Value, json};
use support::github::{GitHub, Release};
use support::image::{TinyImage, executable};
use support::memory_registry::MemoryRegistry;
use support::parts;
use support::runner::{Done, Step};

use tool::{event, on_github, registry, step};

const HEAD: &str = "ec26c3e57ca3a959ca5aad62de7213c562f8c821";
/// The commit of the branch that the pull request is to be merged into.
const BASE: &str = "f95f852bd8fca8fcc58a9a2d6c842781e32a215e";

/// A step for a pull request whose head is in the repository with this id.
fn on_pull_request(registry: &MemoryRegistry, head: u64) -> Step {
    let opened = event("pull_request.opened", |event| {
        event["pull_request"]["head"]["repo"]["id"] = head.into();
        event["pull_request"]["base"]["repo"]["id"] = 1.into();
    });
    step(registry)
        .input("source", &format!("{}/acme/source:1.2.3", registry.host()))
        .input("tag-templates", "sha-{sha}-{tag}")
        .event("pull_request", &opened)
}

#[tokio::test]
async fn a_pull_request_pushes_development_images_if_told_to_and_not_from_a_fork() {
    let registry = registry(&json!({}));
    for (head, what, status) in
        [(1, "", "dry-run"), (1, "dry-run", "dry-run"), (2, "push", "dry-run"), (1, "push", "published")]
    {
        let done = on_pull_request(&registry, head).input("pull-request", what).run().await.succeeded();
        assert_eq!(done.outputs["status"], status, "{head} {what}");
        let tags = if status == "published" { vec!["sha-ec26c3e-alpine"] } else { Vec::new() };
        assert_eq!(registry.tags("acme/tool"), tags, "{head} {what}");
        assert_eq!(done.outputs["version"], "sha-ec26c3e");
    }
    let manifest = registry.manifest("acme/tool", "sha-ec26c3e-alpine").unwrap().json();
    assert_eq!(manifest["annotations"]["org.opencontainers.image.revision"], HEAD);
}

#[tokio::test]
async fn a_pull_request_never_publishes_a_version() {
    let registry = registry(&json!({}));
    let step = on_pull_request(&registry, 1)
        .input("pull-request", "push")
        .input("version", "1.2.3")
        .input("tag-templates", "");
    let done = step.run().await.succeeded();
    assert_eq!(done.outputs["status"], "dry-run");
    assert!(done.log.contains("pull requests push development images only"), "{}", done.log);
    assert!(registry.tags("acme/tool").is_empty());
}

/// A registry that requires a login for its images, and a matrix with bases from there and from elsewhere.
fn hardened(registry: &MemoryRegistry) -> (MemoryRegistry, String) {
    let hardened = MemoryRegistry::start();
    let base = TinyImage::new(&["linux/amd64"]).layer(vec![executable("/bin/sh", "#!")]).build();
    hardened.put_image(&base, "hardened/alpine", "3.23");
    hardened.require_login();
    let matrix =
        format!("{}/base/alpine:3.23,alpine\n{}/hardened/alpine:3.23,alpine-dhi\n", registry.host(), hardened.host());
    (hardened, matrix)
}

#[tokio::test]
async fn a_dry_run_leaves_out_variants_whose_base_needs_a_missing_login() {
    let registry = registry(&json!({}));
    let (hardened, matrix) = hardened(&registry);
    let host = hardened.host();
    let digests = |digests: Value| digests.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let said = "left out of this dry run: `alpine-dhi`, since the base";
    // A fork doesn't get the secret.
    let fork = on_pull_request(&registry, 2).input("matrix", &matrix).input("credentials", &format!("{host} user "));
    let done = fork.run().await.succeeded();
    assert_eq!(digests(done.json("digests")), ["alpine"]);
    assert!(done.log.contains(&format!("::warning title=publish-variants::{said}")), "{}", done.log);
    assert!(done.summary.contains("left out of this dry run"), "{}", done.summary);
    // With the login, both are tried.
    let done = fork.input("credentials", &format!("{host} user password-of-a-user")).run().await.succeeded();
    assert_eq!(digests(done.json("digests")), ["alpine", "alpine-dhi"]);
    assert!(!done.log.contains(said));
    // A real run doesn't leave a variant out, and a dry run of nothing fails.
    let release = step(&registry).input("version", "1.2.3").input("matrix", &matrix);
    let done = release.run().await;
    assert_ne!(done.code, Some(0));
    assert!(done.log.contains(&format!("base `{host}/hardened/alpine:3.23` can't be resolved")), "{}", done.log);
    assert!(registry.tags("acme/tool").is_empty());
    let nothing = on_pull_request(&registry, 2).input("matrix", &format!("{host}/hardened/alpine:3.23,alpine-dhi"));
    assert_ne!(nothing.run().await.code, Some(0));
}

/// A repository at GitHub whose files the token may read.
fn github() -> Option<GitHub> {
    let github = GitHub::start("astral-sh/uv", vec![Release::new("1.2.3")]);
    if github.is_none() {
        parts::skip("no description of GitHub's API");
    }
    github
}

/// A step on the pull request of a fork.
fn compared(registry: &MemoryRegistry, github: &GitHub) -> Step {
    let head = github.release("1.2.3").commit;
    let opened = event("pull_request.opened", |event| {
        event["pull_request"]["base"]["sha"] = BASE.into();
        event["pull_request"]["head"]["sha"] = head.as_str().into();
    });
    on_github(registry, github, "pull_request", &opened, &head)
        .input("source", &format!("{}/acme/source:1.2.3", registry.host()))
}

/// The lines of the difference in the summary, without their fences.
fn difference(done: &Done) -> Vec<String> {
    let (_, rest) = done.summary.split_once("```diff\n").unwrap_or_else(|| panic!("{}", done.summary));
    rest.split_once("```").unwrap().0.lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn the_summary_has_the_difference_to_the_matrix_of_the_base_branch() {
    let registry = registry(&json!({}));
    let Some(github) = github() else { return };
    let host = registry.host();
    let before = format!(
        "variants:\n  - {host}/base/alpine:3.22,alpine,alpine3.22\n  - {host}/base/alpine:3.21,old,older\n  - {{ base: \"{host}/base/alpine:3.23\", tags: [same] }}\n"
    );
    let after = format!(
        "variants:\n  - {{ base: \"{host}/base/alpine:3.23\", tags: [same], env: {{ A: b }} }}\n  - {host}/base/alpine:3.23,alpine,alpine3.23\n  - {host}/base/alpine:3.23,new,newer\n"
    );
    github.put_file(BASE, ".github/variants.yml", &before);
    let step = compared(&registry, &github).input("matrix", ".github/variants.yml");
    std::fs::create_dir(step.workspace().join(".github")).unwrap();
    let step = step.file(".github/variants.yml", &after);
    let done = step.run().await.succeeded();
    let expected = [
        "~ same: env".to_owned(),
        format!("~ alpine: base {host}/base/alpine:3.22 → {host}/base/alpine:3.23; tags +alpine3.23 -alpine3.22"),
        format!("+ new (base {host}/base/alpine:3.23), also newer"),
        format!("- old (base {host}/base/alpine:3.21), also older"),
    ];
    assert_eq!(difference(&done), expected, "{}", done.summary);
    assert!(done.summary.contains("Against the base branch, at `f95f852`:"), "{}", done.summary);
    // The same matrix in other words is the same.
    github.put_file(BASE, ".github/variants.yml", &format!("# a comment\n\n{after}"));
    let done = step.run().await.succeeded();
    let said = "The variants are those of the base branch, at `f95f852`.";
    assert!(done.summary.contains(said), "{}", done.summary);
}

#[tokio::test]
async fn a_matrix_within_the_workflow_is_read_out_of_the_workflow_of_the_base_branch() {
    let registry = registry(&json!({}));
    let Some(github) = github() else { return };
    let host = registry.host();
    let uses = "uses: astral-sh/publish-variants@v1";
    let workflow = format!(
        "on: pull_request\njobs:\n  other:\n    steps:\n      - {{ {uses}, with: {{ matrix: \"{host}/base/alpine:3.23,x\", binaries: /x }} }}\n  variants:\n    steps:\n      - {uses}\n        with:\n          source: ${{{{ needs.scratch.outputs.image }}}}\n          binaries: /tool\n          images: {host}/acme/old\n          tag-templates: |\n            {{version}}-{{tag}}\n          matrix: |\n            {host}/base/alpine:3.22,alpine\n"
    );
    github.put_file(BASE, ".github/workflows/ci.yml", &workflow);
    let done = compared(&registry, &github)
        .variable("GITHUB_WORKFLOW_REF", "astral-sh/uv/.github/workflows/ci.yml@refs/pull/2/merge")
        .variable("GITHUB_ACTION", "__astral-sh_publish-variants")
        .variable("GITHUB_JOB", "variants")
        .run()
        .await
        .succeeded();
    let expected = [
        format!("~ images: {host}/acme/old → {host}/acme/tool"),
        "~ tag-templates: {version}-{tag} → {version}-{tag}, {major}.{minor}-{tag}, {tag}".to_owned(),
        format!("~ alpine: base {host}/base/alpine:3.22 → {host}/base/alpine:3.23"),
    ];
    assert_eq!(difference(&done), expected, "{}", done.summary);
}

#[tokio::test]
async fn a_comparison_that_cannot_be_made_is_one_line_and_fails_nothing() {
    let registry = registry(&json!({}));
    let matrix = format!("{}/base/alpine:3.23,alpine", registry.host());
    let file =
        |github: &GitHub| compared(&registry, github).input("matrix", "variants.yml").file("variants.yml", &matrix);
    let inline = |github: &GitHub| {
        compared(&registry, github)
            .variable("GITHUB_WORKFLOW_REF", "astral-sh/uv/.github/workflows/ci.yml@refs/pull/2/merge")
    };
    type Prepare = fn(&GitHub);
    let cases: [(&str, Prepare, bool); 6] = [
        ("it has no file `variants.yml`", |_| {}, true),
        ("Resource not accessible by integration", GitHub::refuse_contents, true),
        (
            "unknown key `bse`",
            |github| github.put_file(BASE, "variants.yml", "variants: [{ bse: x, tags: [x] }]"),
            true,
        ),
        ("no file `.github/workflows/ci.yml`", |_| {}, false),
        (
            "no step of this workflow uses this action",
            |github| {
                github.put_file(BASE, ".github/workflows/ci.yml", "jobs: {}");
            },
            false,
        ),
        (
            "the matrix has `${{ inputs.m }}`",
            |github| {
                let step = "{ uses: a/publish-variants@v1, with: { matrix: \"${{ inputs.m }}\" } }";
                github.put_file(BASE, ".github/workflows/ci.yml", &format!("jobs: {{ a: {{ steps: [{step}] }} }}"));
            },
            false,
        ),
    ];
    for (reason, prepare, is_file) in cases {
        let Some(github) = github() else { return };
        prepare(&github);
        let step = if is_file { file(&github) } else { inline(&github) };
        let done = step.run().await.succeeded();
        let line = done.summary.lines().find(|line| line.contains("The changes against the base branch aren't known"));
        assert!(line.is_some_and(|line| line.contains(reason)), "{reason}: {}", done.summary);
        assert_eq!(done.outputs["status"], "dry-run");
    }
}

#[tokio::test]
async fn only_pull_requests_are_compared() {
    let registry = registry(&json!({}));
    let Some(github) = github() else { return };
    let released = event("release.published", |event| event["release"]["tag_name"] = "1.2.3".into());
    let done = on_github(&registry, &github, "release", &released, HEAD).run().await.succeeded();
    assert!(!done.summary.contains("base branch"), "{}", done.summary);
    assert!(!github.requests().iter().any(|asked| asked.target.contains("/contents/")));
}
