//! The default variant's bare tags, and the artifacts that a step declares, with a registry.

#![expect(clippy::unwrap_used, reason = "a failing setup fails its test")]

mod tool;

use std::fs;

use serde_json::json;
use support::image::TinyImage;

use tool::{registry, step};

#[tokio::test]
async fn the_bare_tags_move_with_the_releases_and_never_back() {
    let registry = registry(&json!({}));
    let newer = TinyImage::tool(&["linux/amd64"], &["tool"], "1.2.4").build();
    registry.put_image(&newer, "acme/source", "1.2.4");
    let host = registry.host();
    let matrix = format!("- {{ base: '{host}/base/alpine:3.23', tags: [alpine], default: true }}");
    let step = |version: &str| step(&registry).input("version", version).input("matrix", &matrix);
    let named = |tag: &str| registry.named("acme/tool", tag);

    step("1.2.3").run().await.succeeded();
    let tags = ["1.2", "1.2-alpine", "1.2.3", "1.2.3-alpine", "alpine", "latest"];
    assert_eq!(registry.tags("acme/tool"), tags);
    assert!(tags.iter().all(|tag| named(tag) == named("latest")));
    step("1.2.4").run().await.succeeded();
    assert!(named("latest") == named("1.2.4") && named("1.2") == named("1.2.4") && named("1.2.3") != named("1.2.4"));
    let again = step("1.2.3").run().await.succeeded();
    assert_eq!(again.outputs["status"], "unchanged");
    assert!(again.outputs["kept"].contains(&format!("{host}/acme/tool:latest  ")), "{}", again.outputs["kept"]);
    assert_eq!(named("latest"), named("1.2.4"));
}

#[tokio::test]
async fn a_newer_source_that_another_job_has_pushed_holds_its_tags_and_is_not_called_another_tools() {
    let registry = registry(&json!({}));
    for version in ["1.2.3", "1.2.4"] {
        registry.put_image(&TinyImage::tool(&["linux/amd64"], &["tool"], version).build(), "acme/tool", version);
    }
    let host = registry.host();
    let step = |version: &str| {
        let source = format!("{host}/acme/tool:{version}");
        step(&registry).input("version", version).input("source", &source).input("source-tags", "default")
    };
    step("1.2.4").run().await.succeeded();
    let newer = registry.named("acme/tool", "1.2.4");
    assert!(newer == registry.named("acme/tool", "latest") && newer == registry.named("acme/tool", "1.2"));
    let older = step("1.2.3").run().await.succeeded();
    assert_eq!(registry.named("acme/tool", "latest"), newer);
    let kept = &older.outputs["kept"];
    let says = "latest  probably belongs to 1.2.4, which is newer and whose source already existed";
    assert!(kept.contains(&format!("{host}/acme/tool:{says}")), "{kept}");
    assert!(!kept.contains("another tool") && kept.contains("alpine  belongs to 1.2.4"), "{kept}");
}

#[tokio::test]
async fn the_images_are_declared_if_the_runner_has_a_file_for_artifacts() {
    let registry = registry(&json!({}));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("artifacts");
    fs::write(&file, "file://dist/tool\n").unwrap();
    let step = step(&registry)
        .input("version", "1.2.3")
        .input("source-tags", "scratch-{version}")
        .variable("GITHUB_ARTIFACTS", &file.display().to_string());
    let dry = step.another().input("dry-run", "true");
    dry.run().await.succeeded();
    assert_eq!(fs::read_to_string(&file).unwrap(), "file://dist/tool\n");
    step.run().await.succeeded();
    let host = registry.host();
    let line = |tag: &str| format!("oci://{host}/acme/tool:{tag}@{}\n", registry.named("acme/tool", tag).unwrap());
    let expected = format!("file://dist/tool\n{}{}", line("1.2.3-alpine"), line("scratch-1.2.3"));
    assert_eq!(fs::read_to_string(&file).unwrap(), expected);
}
