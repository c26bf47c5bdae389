//! Pull requests: those of the same repository may push development images, and none needs a login to be tried.

#![expect(clippy::unwrap_used, reason = "what can't be set up fails its test")]

mod tool;

use serde_json::{Value, json};
use support::image::{TinyImage, executable};
use support::memory_registry::MemoryRegistry;
use support::runner::Step;

use tool::{event, registry, step};

const HEAD: &str = "ec26c3e57ca3a959ca5aad62de7213c562f8c821";

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
