//! The tags and labels that the workflows of uv and Ruff compute today, row by row.

use std::collections::BTreeSet;

use publish_variants::facts::{Facts, Teller};
use publish_variants::plan::{Made, Plan, Tags};
use publish_variants::version::Version;
use serde::Deserialize;
use serde_json::json;

use crate::given::{Given, given};

#[derive(Deserialize)]
struct Row {
    tool: String,
    version: Option<String>,
    sha: Option<String>,
    images: Vec<String>,
    source: GoldenTags,
    variants: Vec<GoldenVariant>,
}

#[derive(Deserialize)]
struct GoldenTags {
    label_version: String,
    tags: BTreeSet<String>,
}

#[derive(Deserialize)]
struct GoldenVariant {
    line: String,
    base: String,
    #[serde(flatten)]
    tags: GoldenTags,
    labels: std::collections::BTreeMap<String, String>,
}

fn rows() -> Vec<Row> {
    let rows: Vec<Row> = serde_json::from_str(include_str!("../fixtures/golden/tags.json")).unwrap();
    assert!(rows.len() >= 11 && rows.iter().all(|row| !row.variants.is_empty()));
    rows
}

impl Row {
    fn given(&self) -> Given {
        let lines: Vec<&str> = self.variants.iter().map(|variant| variant.line.as_str()).collect();
        let given = given()
            .input("images", &self.images.join("\n"))
            .input("binaries", if self.tool == "uv" { "/uv /uvx" } else { "/ruff" })
            .input("matrix", &lines.join("\n"));
        match &self.version {
            Some(version) => given
                .recorded("release.published", &[("/release/tag_name", json!(version))])
                .input("source-tags", "default"),
            None => given
                .event("push", "{}")
                .variable("GITHUB_REF", "refs/heads/main")
                .variable("GITHUB_SHA", self.sha.as_deref().unwrap())
                .input("tag-templates", "sha-{sha}-{tag}")
                .input("source-tags", "sha-{sha}"),
        }
    }

    fn version(&self) -> Option<Version> {
        self.version.as_ref().map(|version| version.parse().unwrap())
    }

    fn is_post_release(&self) -> bool {
        self.version.as_ref().is_some_and(|version| version.contains("post"))
    }

    fn is_prerelease(&self) -> bool {
        self.version().is_some_and(|version| version.is_prerelease())
    }
}

fn set(tags: &Tags) -> BTreeSet<String> {
    tags.iter().map(ToString::to_string).collect()
}

/// For the source and each variant: the tags that a run of ours may write, and those of today's workflow.
fn pairs<'a>(row: &'a Row, plan: &Plan) -> Vec<(BTreeSet<String>, &'a GoldenTags)> {
    let set = |tags: &Tags| match plan.not_final {
        Some(_) => tags.exact.iter().map(ToString::to_string).collect(),
        None => set(tags),
    };
    let variants = plan.variants.iter().zip(&row.variants).map(|(ours, theirs)| (set(&ours.tags), &theirs.tags));
    std::iter::once((set(&plan.source.as_ref().unwrap().tags), &row.source)).chain(variants).collect()
}

#[test]
fn every_row_has_the_same_bases_labels_and_version_labels() {
    for row in rows() {
        let plan = row.given().plan();
        assert_eq!(plan.variants.len(), row.variants.len());
        assert_eq!(plan.destinations.iter().map(ToString::to_string).collect::<Vec<_>>(), row.images);
        let source = plan.source.as_ref().unwrap();
        assert_eq!(source.tags.exact[0].as_str(), row.source.label_version);
        assert_eq!(source.name.to_string(), format!("{}:{}", row.images[0], row.source.label_version));
        for (ours, theirs) in plan.variants.iter().zip(&row.variants) {
            assert_eq!(ours.made, Made::Here(theirs.base.parse().unwrap()));
            assert_eq!(ours.version_label.as_str(), theirs.tags.label_version);
            assert_eq!(ours.version_label, ours.tags.exact[0]);
        }
    }
}

#[test]
fn every_row_without_a_fault_has_the_same_tags() {
    let mut compared = 0;
    for row in rows().iter().filter(|row| !row.is_prerelease() && !row.is_post_release()) {
        for (ours, theirs) in pairs(row, &row.given().plan()) {
            assert_eq!(ours, theirs.tags, "{} {:?}", row.tool, row.version);
            compared += ours.len();
        }
    }
    assert!(compared > 500, "only {compared} tags were compared");
}

#[test]
fn a_pull_request_that_pushes_has_the_tags_of_their_development_images() {
    let rows = rows();
    let rows: Vec<&Row> = rows.iter().filter(|row| row.sha.is_some()).collect();
    assert!(!rows.is_empty());
    for row in rows {
        let changes = [("/pull_request/head/sha", json!(row.sha))];
        let given = row.given().variable("GITHUB_REF", "refs/pull/7/merge").recorded("pull_request.opened", &changes);
        let plan = given.input("pull-request", "push").plan();
        assert!(!plan.dry_run);
        for (ours, theirs) in pairs(row, &plan) {
            assert_eq!(ours, theirs.tags, "{} {:?}", row.tool, row.sha);
        }
    }
}

#[test]
fn a_prerelease_moves_no_rolling_tag_although_theirs_does() {
    let rows = rows();
    let rows: Vec<&Row> = rows.iter().filter(|row| row.is_prerelease()).collect();
    assert_eq!(rows.len(), 2);
    for row in rows {
        let plan = row.given().plan();
        let prefix = plan.version.tag_text();
        for (ours, theirs) in pairs(row, &plan) {
            let exact: BTreeSet<String> = theirs.tags.iter().filter(|tag| tag.starts_with(&*prefix)).cloned().collect();
            assert_eq!(ours, exact);
        }
        let alpine = &plan.variants[0].tags;
        assert!(row.variants[0].tags.tags.contains("alpine"), "theirs has the fault no longer");
        assert!(alpine.rolling.iter().any(|rolling| rolling.tag.as_str() == "alpine"));
        assert!(plan.not_final.as_ref().unwrap().contains("pre-release"));
    }
}

#[test]
fn a_post_release_moves_the_rolling_tags_although_theirs_does_not() {
    let rows = rows();
    let rows: Vec<&Row> = rows.iter().filter(|row| row.is_post_release()).collect();
    assert_eq!(rows.len(), 1);
    for row in rows {
        let plan = row.given().plan();
        for (ours, theirs) in pairs(row, &plan) {
            assert!(ours.is_superset(&theirs.tags), "{ours:?} lacks some of {:?}", theirs.tags);
            let more: Vec<&String> = ours.difference(&theirs.tags).collect();
            assert!(!more.is_empty() && more.iter().all(|tag| tag.starts_with("0.5") || *tag == "latest"), "{more:?}");
        }
        assert!(set(&plan.variants[0].tags).contains("0.5-alpine"));
    }
}

#[test]
fn an_old_release_does_not_take_back_a_rolling_tag_although_theirs_does() {
    let rows = rows();
    let find = |version| rows.iter().find(|row| row.tool == "uv" && row.version.as_deref() == Some(version)).unwrap();
    let (old, new) = (find("v0.4.7").given().plan(), find("0.9.26").given().plan());
    let there: Vec<_> = new.variants.iter().flat_map(|variant| variant.tags.iter().cloned()).collect();
    let nominees = old.grammar.nominees(&old.version, &there);
    for variant in &old.variants {
        for rolling in &variant.tags.rolling {
            let newer = nominees.of(&rolling.entry).iter().any(|nominee| {
                let tag = rolling.template.render(&nominee.version, &rolling.entry);
                nominee.version > old.version && tag.as_deref() == Some(rolling.tag.as_str())
            });
            let of_all_versions = !rolling.tag.as_str().starts_with("0.4-");
            assert_eq!(newer, of_all_versions, "{}", rolling.tag);
        }
    }
}

#[tokio::test]
async fn labels_are_those_of_metadata_action() {
    for row in rows().iter().filter(|row| row.version.is_some()) {
        let (plan, _, mut event) = row.given().read().unwrap();
        let repository = event.repository.as_mut().unwrap();
        if row.tool == "ruff" {
            repository.name = "ruff".into();
            repository.html_url = "https://github.com/astral-sh/ruff".into();
            repository.description = "An extremely fast Python linter and code formatter, written in Rust.".into();
            repository.license = "MIT".into();
        }
        let ours = Teller::new(&plan, &event, None).complete(Facts::default()).await.unwrap().labels;
        for (variant, theirs) in plan.variants.iter().zip(&row.variants) {
            let mut ours = ours.clone();
            ours.insert("org.opencontainers.image.version".into(), variant.version_label.to_string());
            assert_eq!(ours, theirs.labels);
        }
    }
}

#[test]
fn the_lines_are_accepted_in_every_shape_that_a_workflow_has() {
    let lines = "alpine:3.23,alpine3.23,alpine\ndebian:trixie-slim,trixie-slim,debian-slim";
    let expected = given().input("version", "0.9.26").input("matrix", lines).plan().to_json();
    let entries: Vec<&str> = lines.lines().collect();
    for matrix in [
        format!("\n  # Alpine\n  {}\n\n  {}  # comment\n", entries[0], entries[1]),
        format!("- {}\n# comment\n- \"{}\"\n", entries[0], entries[1]),
        format!("image-mapping:\n  - {}\n  - {}\n", entries[0], entries[1]),
        format!("variants: |\n  {}\n  {}\n", entries[0], entries[1]),
        json!(entries).to_string(),
        json!({ "variants": entries }).to_string(),
        json!([
            { "base": "alpine:3.23", "tags": ["alpine3.23", "alpine"] },
            { "base": "debian:trixie-slim", "tags": ["trixie-slim", "debian-slim"] },
        ])
        .to_string(),
    ] {
        let plan = given().input("version", "0.9.26").input("matrix", &matrix).plan();
        let places = |json: &str| json.lines().filter(|line| !line.contains("\"place\"")).collect::<String>();
        assert_eq!(places(&plan.to_json()), places(&expected), "{matrix}");
    }
}

#[test]
fn the_lines_of_the_workflows_are_kept_as_examples() {
    for (tool, lines) in
        [("uv", include_str!("../fixtures/matrix/uv.txt")), ("ruff", include_str!("../fixtures/matrix/ruff.txt"))]
    {
        let rows = rows();
        let row = rows.iter().find(|row| row.tool == tool).unwrap();
        assert!(row.variants.iter().map(|variant| variant.line.as_str()).eq(lines.lines()), "{tool}");
    }
}
