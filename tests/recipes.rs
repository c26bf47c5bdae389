//! What `docs/recipes.md` promises about tags, with a registry in memory.

#![expect(clippy::unwrap_used, reason = "a failing setup fails its test")]

mod tool;

use serde_json::json;
use support::image::TinyImage;
use support::memory_registry::MemoryRegistry;
use support::runner::Step;

use tool::{registry, step};

/// A registry with the sources of several versions, and a step that publishes one of them.
fn with_versions(versions: &[&str]) -> (MemoryRegistry, impl Fn(&str) -> Step) {
    let registry = registry(&json!({}));
    for version in versions {
        registry.put_image(&TinyImage::tool(&["linux/amd64"], &["tool"], version).build(), "acme/source", version);
    }
    let first = step(&registry);
    (registry, move |version| first.another().input("version", version))
}

#[tokio::test]
async fn withdrawing_a_release_gives_its_rolling_tags_back_as_long_as_it_is_ignored() {
    let (registry, step) = with_versions(&["1.2.9", "1.3.0"]);
    let named = |tag: &str| registry.named("acme/tool", tag).unwrap();
    step("1.2.9").run().await.succeeded();
    step("1.3.0").run().await.succeeded();
    assert_eq!(named("alpine"), named("1.3.0-alpine"));

    let back = step("1.2.9").input("ignore-versions", "1.3.0");
    let done = back.run().await.succeeded();
    assert_eq!(done.outputs["status"], "published");
    assert_eq!(named("alpine"), named("1.2.9-alpine"));
    assert_eq!(named("1.3-alpine"), named("1.3.0-alpine"), "it names nothing else");
    assert_eq!(back.run().await.succeeded().outputs["status"], "unchanged");

    step("1.3.0").input("ignore-versions", "1.3.0").run().await.succeeded();
    assert_eq!(named("alpine"), named("1.2.9-alpine"));
    step("1.3.0").run().await.succeeded();
    assert_eq!(named("alpine"), named("1.3.0-alpine"));
}

#[tokio::test]
async fn a_release_is_withdrawn_with_the_matrix_of_the_release_to_go_back_to() {
    let (registry, step) = with_versions(&["1.2.9", "1.3.0"]);
    let named = |tag: &str| registry.named("acme/tool", tag).unwrap();
    let changed = "NEW=1";
    step("1.2.9").run().await.succeeded();
    step("1.3.0").input("env", changed).run().await.succeeded();

    let back = step("1.2.9").input("ignore-versions", "1.3.0");
    let taken = back.another().input("env", changed).run().await.succeeded();
    assert_eq!(named("alpine"), named("1.3.0-alpine"));
    for tag in ["1.2.9-alpine", "alpine"] {
        assert!(taken.outputs["kept"].contains(&format!("/acme/tool:{tag}  ")), "{}", taken.outputs["kept"]);
    }
    back.run().await.succeeded();
    assert_eq!(named("alpine"), named("1.2.9-alpine"));
}

#[tokio::test]
async fn names_and_variants_are_added_to_a_published_version_and_removed_ones_stay_where_they_are() {
    let (registry, step) = with_versions(&["1.2.3", "1.2.4"]);
    let named = |tag: &str| registry.named("acme/tool", tag).unwrap();
    let base = format!("{}/base/alpine:3.23", registry.host());
    let with = |version: &str, matrix: &[&str]| {
        let matrix: Vec<String> = matrix.iter().map(|names| format!("{base},{names}")).collect();
        step(version).input("matrix", &matrix.join("\n"))
    };
    with("1.2.3", &["alpine3.23,alpine"]).run().await.succeeded();
    let before = named("1.2.3-alpine3.23");

    with("1.2.3", &["alpine3.23,alpine,small", "edge"]).run().await.succeeded();
    for tag in ["1.2.3-alpine3.23", "1.2.3-small", "small"] {
        assert_eq!(named(tag), before, "{tag}");
    }
    assert_ne!(named("edge"), before, "its version label has another name");

    with("1.2.4", &["alpine3.23,small"]).run().await.succeeded();
    assert_eq!(named("small"), named("1.2.4-alpine3.23"));
    assert_eq!(named("alpine"), before);
    assert_eq!(named("edge"), named("1.2.3-edge"));
}
