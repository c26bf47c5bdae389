//! Prints the plan, for people and for programs.

use std::fmt::Write as _;

use serde::Serialize;

use super::{Check, Made, Plan, PlannedAnnotations, Platforms, Reason, RollingTag, Tags, Variant};
use crate::compose::binaries::Binaries;
use crate::compose::run::RunInstruction;
use crate::image::config::Changes;
use crate::image::source::SourceFile;
use crate::image::{Base, Location, Repository, SourceName, Tag};

/// The width of the table in columns.
const WIDTH: usize = 100;

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
    reason: &'a str,
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
    reasons: &'a std::collections::BTreeMap<Tag, Reason>,
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
    /// `not_final` is the reason if this version gets no rolling tags.
    fn of(tags: &'a Tags, not_final: Option<&'a str>) -> Self {
        let rolling = || tags.rolling.iter().map(|rolling| &rolling.tag);
        Self {
            exact: &tags.exact,
            rolling: rolling().filter(|_| not_final.is_none()).collect(),
            kept: not_final.into_iter().flat_map(|reason| rolling().map(move |tag| KeptJson { tag, reason })).collect(),
        }
    }
}

impl<'a> VariantJson<'a> {
    fn of(variant: &'a Variant, plan: &'a Plan) -> Self {
        let not_final = plan.not_final.as_deref();
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
            tags: TagsJson::of(&variant.tags, not_final),
            reasons: &variant.tags.reasons,
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

/// What a variant's settings are, by name: all of its JSON but what it is called and made of.
#[must_use]
pub fn settings(variant: &Variant, plan: &Plan) -> serde_json::Map<String, serde_json::Value> {
    let json = serde_json::to_value(VariantJson::of(variant, plan)).expect("texts and lists are JSON");
    let serde_json::Value::Object(mut settings) = json else { return serde_json::Map::new() };
    settings.retain(|name, _| !["name", "base", "image", "version_label", "tags", "reasons"].contains(&name.as_str()));
    settings
}

impl Plan {
    /// The plan as indented JSON. Names don't change from release to release; new ones may be added.
    #[must_use]
    pub fn to_json(&self) -> String {
        let not_final = self.not_final.as_deref();
        let json = PlanJson {
            version: self.version.to_string(),
            source: self.source.as_ref().map(|source| SourceJson {
                reference: &source.name,
                files: files(&source.name),
                tags: TagsJson::of(&source.tags, not_final),
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

    /// A table for people, at most 100 columns wide.
    #[must_use]
    pub fn to_table(&self) -> String {
        let mut out = String::new();
        let mut field = |name: &str, value: String| {
            let value = wrap(&value, WIDTH - 14).join(&format!("\n{:14}", ""));
            writeln!(out, "{name:<14}{value}").expect("a String takes every write");
        };
        field("version", self.version.to_string());
        // If each variant has its own source, the general one isn't used.
        if let Some(source) = self.source.as_ref().filter(|source| self.sources().contains(&source.name)) {
            field("source", source.name.to_string());
            files(&source.name).into_iter().for_each(|file| field("", file));
        }
        if !self.binaries.is_empty() {
            field("executables", written(&self.binaries).join(" "));
        }
        for destination in &self.destinations {
            field("to", destination.to_string());
        }
        if self.dry_run {
            field("dry run", "nothing will be pushed".to_owned());
        }
        let mut rows = vec![["VARIANT", "EXACT TAGS", "ROLLING TAGS"].map(|title| vec![title.to_owned()])];
        let not_final = self.not_final.is_some();
        rows.extend(self.variants.iter().map(|variant| row(variant, self.own_source(variant), not_final)));
        if let Some(source) = self.source.as_ref().filter(|source| !source.tags.is_empty()) {
            rows.push(cells(vec!["the source itself".to_owned()], &source.tags, not_final));
        }
        out.push('\n');
        out.push_str(&table(&rows));
        if let Some(reason) = &self.not_final {
            writeln!(out, "\nNo rolling tag moves: {reason}.").expect("a String takes every write");
        }
        out
    }
}

fn written(binaries: &Binaries) -> Vec<String> {
    binaries.iter().map(ToString::to_string).collect()
}

/// The lines of a source that is made of files.
fn files(source: &SourceName) -> Vec<String> {
    match source {
        SourceName::Files(files) => files.iter().map(SourceFile::to_string).collect(),
        SourceName::Image(_) | SourceName::Layout(_) => Vec::new(),
    }
}

fn row(variant: &Variant, own_source: Option<&SourceName>, not_final: bool) -> [Vec<String>; 3] {
    let (made, all) = match &variant.made {
        Made::Here(base) => (format!("  on {}", familiar(base)), "all platforms of both"),
        Made::Elsewhere(image) => (format!("  from {}", shortened(image)), "all its platforms"),
    };
    let platforms = match &variant.platforms {
        Platforms::Auto => all.to_owned(),
        Platforms::Listed(platforms) => platforms.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
    };
    let mut about = vec![variant.name.clone(), made, format!("  {platforms}")];
    if let Some(source) = own_source {
        about.push(format!("  from {source}"));
        about.extend(files(source).into_iter().map(|file| format!("    {file}")));
    }
    about.extend(variant.deprecated.iter().map(|why| format!("  deprecated: {why}")));
    cells(about, &variant.tags, not_final)
}

fn cells(about: Vec<String>, tags: &Tags, not_final: bool) -> [Vec<String>; 3] {
    let exact = tags.exact.iter().map(ToString::to_string).collect();
    let rolling = tags.rolling.iter().map(
        |RollingTag { tag, .. }| {
            if not_final { format!("({tag} stays)") } else { tag.to_string() }
        },
    );
    [about, exact, rolling.collect()]
}

/// The short form of a Docker Hub image that people know.
fn familiar(base: &Base) -> String {
    let text = base.to_string();
    let short = text.strip_prefix("docker.io/library/").or_else(|| text.strip_prefix("docker.io/"));
    short.map_or_else(|| text.clone(), str::to_owned)
}

/// An image made elsewhere, with enough digits of its digest to tell it from others.
fn shortened(image: &Location) -> String {
    let text = image.to_string();
    match text.rsplit_once("@sha256:") {
        Some((before, hex)) => format!("{before}@sha256:{}…", hex.chars().take(12).collect::<String>()),
        None => text,
    }
}

/// Lays out rows of cells, each with several lines. Columns are as wide as they need to be, or if that is too much, as
/// wide as possible.
fn table(rows: &[[Vec<String>; 3]]) -> String {
    const GAP: usize = 2;
    let longest =
        |column: usize| rows.iter().flat_map(|row| &row[column]).map(|line| line.chars().count()).max().unwrap_or(0);
    let mut widths = [0, 1, 2].map(longest);
    while widths.iter().sum::<usize>() + 2 * GAP > WIDTH {
        let widest = widths.iter().copied().max().unwrap_or_default();
        if let Some(width) = widths.iter_mut().find(|width| **width == widest) {
            *width -= 1;
        }
    }
    let mut out = String::new();
    for (number, row) in rows.iter().enumerate() {
        let wrapped: Vec<Vec<String>> = row
            .iter()
            .zip(widths)
            .map(|(lines, width)| lines.iter().flat_map(|line| wrap(line, width)).collect())
            .collect();
        let height = wrapped.iter().map(Vec::len).max().unwrap_or_default();
        for at in 0..height {
            let mut line = String::new();
            for (cell, width) in wrapped.iter().zip(widths) {
                let text = cell.get(at).map_or("", String::as_str);
                write!(line, "{text:<width$}{:GAP$}", "").expect("a String takes every write");
            }
            out.push_str(line.trim_end());
            out.push('\n');
        }
        if number > 0 && number + 1 < rows.len() {
            out.push('\n');
        }
    }
    out
}

/// `text` in pieces of at most `width` characters, split at blanks if possible. Later pieces are indented like the
/// first.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let indent: String = text.chars().take_while(|c| *c == ' ').take(width / 2).collect();
    let mut lines = Vec::new();
    let mut rest: Vec<char> = text.trim_end().chars().collect();
    while rest.len() > width {
        let blank = rest[..=width].iter().rposition(|c| *c == ' ').filter(|at| *at > indent.len());
        let end = blank.unwrap_or(width);
        lines.push(rest[..end].iter().collect());
        let remaining: String = rest[end..].iter().collect();
        rest = format!("{indent}{}", remaining.trim_start()).chars().collect();
    }
    lines.push(rest.into_iter().collect());
    lines
}
