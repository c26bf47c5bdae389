//! Prints the plan, for people and for programs.

use serde::Serialize;

use super::{Check, Made, Plan, PlannedAnnotations, Platforms, TagOrigin, Tags, Variant};
use crate::compose::binaries::Binaries;
use crate::compose::run::RunInstruction;
use crate::image::config::Changes;
use crate::image::source::SourceFile;
use crate::image::{Base, Location, Repository, SourceName, Tag};

#[derive(Serialize)]
struct PlanJson<'a> {
    version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<SourceJson<'a>>,
    destinations: &'a [Repository],
    variants: Vec<VariantJson<'a>>,
    binaries: Vec<String>,
    release_tags: &'a [String],
    revision: Option<&'a str>,
    dry_run: bool,
}

#[derive(Serialize)]
struct SourceJson<'a> {
    reference: &'a SourceName,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    files: Vec<String>,
    tags: TagsJson<'a>,
}

#[derive(Serialize)]
struct TagsJson<'a> {
    exact: &'a [Tag],
    rolling: Vec<&'a Tag>,
    kept: Vec<KeptJson<'a>>,
}

#[derive(Serialize)]
struct KeptJson<'a> {
    tag: &'a Tag,
    reason: String,
}

#[derive(Serialize)]
struct VariantJson<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    base: Option<&'a Base>,
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<&'a Location>,
    version_label: &'a Tag,
    platforms: PlatformsJson<'a>,
    tags: TagsJson<'a>,
    origins: &'a std::collections::BTreeMap<Tag, TagOrigin>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<&'a SourceName>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    files: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    binaries: Option<Vec<String>>,
    #[serde(flatten)]
    changes: &'a Changes,
    annotations: &'a PlannedAnnotations,
    run: &'a [RunInstruction],
    verify: Vec<CheckJson<'a>>,
    deprecated: &'a Option<String>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum PlatformsJson<'a> {
    Auto(&'static str),
    Listed(&'a [crate::image::Platform]),
}

#[derive(Serialize)]
struct CheckJson<'a> {
    command: &'a [String],
    contains: Option<&'a str>,
}

impl<'a> TagsJson<'a> {
    fn of(tags: &'a Tags, plan: &Plan) -> Self {
        let reason = plan.reason_to_write_no_rolling_tag().map(|reason| reason.to_string());
        let rolling = || tags.rolling.iter().map(|rolling| &rolling.tag);
        Self {
            exact: &tags.exact,
            rolling: rolling().filter(|_| reason.is_none()).collect(),
            kept: reason
                .iter()
                .flat_map(|reason| rolling().map(|tag| KeptJson { tag, reason: reason.clone() }))
                .collect(),
        }
    }
}

impl<'a> VariantJson<'a> {
    fn of(variant: &'a Variant, plan: &'a Plan) -> Self {
        let check = |check: &'a Check| CheckJson { command: &check.command, contains: check.contains.as_deref() };
        let own_source = plan.own_source(variant);
        Self {
            source: own_source,
            files: own_source.map(files).unwrap_or_default(),
            name: &variant.name,
            base: variant.made.base(),
            image: variant.made.elsewhere(),
            version_label: &variant.version_label,
            platforms: match &variant.platforms {
                Platforms::Auto => PlatformsJson::Auto("auto"),
                Platforms::Listed(platforms) => PlatformsJson::Listed(platforms),
            },
            tags: TagsJson::of(&variant.tags, plan),
            origins: &variant.tags.origins,
            binaries: (variant.made.base().is_some() && variant.binaries != plan.binaries)
                .then(|| written(&variant.binaries)),
            changes: &variant.changes,
            annotations: &variant.annotations,
            run: &variant.run,
            verify: variant.checks.iter().map(check).collect(),
            deprecated: &variant.deprecated,
        }
    }
}

/// A variant's settings by name: its JSON without its name, its base or image, and its tags.
#[must_use]
pub fn settings(variant: &Variant, plan: &Plan) -> serde_json::Map<String, serde_json::Value> {
    let json = serde_json::to_value(VariantJson::of(variant, plan)).expect("texts and lists are JSON");
    let serde_json::Value::Object(mut settings) = json else { return serde_json::Map::new() };
    settings.retain(|name, _| !["name", "base", "image", "version_label", "tags", "origins"].contains(&name.as_str()));
    settings
}

impl Plan {
    /// The plan as indented JSON. Names don't change from release to release; new ones may be added.
    #[must_use]
    pub fn to_json(&self) -> String {
        let json = PlanJson {
            version: self.version.to_string(),
            source: self.source.as_ref().map(|source| SourceJson {
                reference: &source.name,
                files: files(&source.name),
                tags: TagsJson::of(&source.tags, self),
            }),
            destinations: &self.destinations,
            variants: self.variants.iter().map(|variant| VariantJson::of(variant, self)).collect(),
            binaries: written(&self.binaries),
            release_tags: self.release.as_ref().map(|release| &release.tags[..]).unwrap_or_default(),
            revision: self.revision.as_deref(),
            dry_run: self.dry_run,
        };
        serde_json::to_string_pretty(&json).expect("texts and lists are JSON")
    }

    /// A [matrix](https://docs.github.com/en/actions/how-tos/write-workflows/choose-what-workflows-do/run-job-variations)
    /// for a job of a workflow, on one line: one `include` for each variant.
    #[must_use]
    pub fn to_github_matrix(&self) -> String {
        let include: Vec<serde_json::Value> = self
            .variants
            .iter()
            .map(|variant| {
                let tags: Vec<&str> = variant.tags.iter().map(Tag::as_str).collect();
                let platforms = match &variant.platforms {
                    Platforms::Auto => "auto".to_owned(),
                    Platforms::Listed(platforms) => {
                        platforms.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
                    }
                };
                let (key, made) = match &variant.made {
                    Made::Here(base) => ("base", base.to_string()),
                    Made::Elsewhere(image) => ("image", image.to_string()),
                };
                serde_json::json!({
                    "name": variant.name,
                    (key): made,
                    "version_label": variant.version_label,
                    "platforms": platforms,
                    "tags": tags.join("\n"),
                })
            })
            .collect();
        serde_json::json!({ "include": include }).to_string()
    }
}

pub(super) fn written(binaries: &Binaries) -> Vec<String> {
    binaries.iter().map(ToString::to_string).collect()
}

/// The lines of a source that is made of files.
pub(super) fn files(source: &SourceName) -> Vec<String> {
    match source {
        SourceName::Files(files) => files.iter().map(SourceFile::to_string).collect(),
        SourceName::Image(_) | SourceName::Layout(_) => Vec::new(),
    }
}
