//! The default variant: the one that also has the tags without a suffix.

use crate::given::{Given, failures, given};

fn with(matrix: &str) -> Given {
    given().input("version", "0.9.26").input("source", "ghcr.io/astral-sh/uv-scratch").input("matrix", matrix)
}

const DEBIAN: &str = "\
- { base: 'alpine:3.23', tags: [alpine3.23, alpine] }
- { base: 'debian:trixie-slim', tags: [trixie-slim, debian], default: true }
";

#[test]
fn the_default_variant_has_the_bare_tags_after_its_own() {
    let plan = with(DEBIAN).plan();
    let debian = &plan.variants[1];
    let exact: Vec<&str> = debian.tags.exact.iter().map(|tag| tag.as_str()).collect();
    assert_eq!(exact, ["0.9.26-trixie-slim", "0.9.26-debian", "0.9.26"]);
    let rolling: Vec<&str> = debian.tags.rolling.iter().map(|rolling| rolling.tag.as_str()).collect();
    assert_eq!(rolling, ["0.9-trixie-slim", "0.9-debian", "trixie-slim", "debian", "0.9", "latest"]);
    assert_eq!(debian.version_label.as_str(), "0.9.26-trixie-slim");
    assert_eq!(plan.variants[0].tags.exact.len(), 2);
    // Newer versions are found in the list of tags for the bare tags as well, but not for the entries.
    let there = ["0.9.27".parse().unwrap(), "0.9.28-debian".parse().unwrap()];
    let nominees = plan.grammar.nominees(&plan.version, &there);
    let of = |entry: &str| nominees.of(entry).iter().map(|nominee| nominee.version.to_string()).collect::<Vec<_>>();
    assert!(of("default: true").contains(&"0.9.27".to_owned()));
    assert_eq!(of("debian"), ["0.9.28"]);
    assert!(of("").is_empty());
}

#[test]
fn a_bare_tag_among_the_default_variants_own_tags_is_not_a_conflict() {
    let plan = with("- { base: alpine, tags: [latest], default: true }").plan();
    let tags = &plan.variants[0].tags;
    let all: Vec<String> = tags.iter().map(ToString::to_string).collect();
    assert_eq!(all, ["0.9.26-latest", "0.9.26", "0.9-latest", "latest", "0.9"]);
    let other = with("- { base: alpine, tags: [alpine], default: false }").plan();
    assert_eq!(other.variants[0].tags.exact.len(), 1);
}

#[test]
fn the_source_keeps_bare_tags_that_differ_from_the_default_variants() {
    let plan = with(DEBIAN).input("source-tags", "scratch-{version}\nscratch").plan();
    let there = ["0.9.27".parse().unwrap(), "scratch-0.9.28".parse().unwrap()];
    let nominees = plan.grammar.nominees(&plan.version, &there);
    let of = |entry: &str| nominees.of(entry).iter().map(|nominee| nominee.version.to_string()).collect::<Vec<_>>();
    assert_eq!((of("default: true"), of("")), (vec!["0.9.27".to_owned()], vec!["0.9.28".to_owned()]));
}

#[test]
fn whoever_else_claims_a_bare_tag_is_named_with_both_places() {
    let axes =
        "- { base: 'python:{python}', for: { python: ['3.14', '3.13'] }, tags: ['python{python}'], default: true }";
    insta::assert_snapshot!(failures([
        ("the source's own tags", with(DEBIAN).input("source-tags", "default")),
        ("the source itself", with(DEBIAN).input("source", "")),
        (
            "another variant's entry",
            with("- { base: alpine, tags: [latest] }\n- { base: debian, tags: [debian], default: true }")
        ),
        (
            "another default variant",
            with(
                "- { base: alpine, tags: [alpine], default: true }\n- { base: debian, tags: [debian], default: true }"
            )
        ),
        ("each value of an axis", with(axes)),
        ("a word that is neither", with("- { base: alpine, tags: [alpine], default: latest }")),
    ]));
}
