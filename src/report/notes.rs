//! The section of a release's notes: the published images and how to pull them.
//!
//! Nothing in it depends on the clock, nor on the checks, which only the run that builds an image has: two runs with the same
//! outcome write the same text. A comment holds the record for the next run: the variants' digests, and the former digests of
//! rolling tags.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::markdown::{Checks, code, details, kept_tags, places, pull_name, table};
use super::section::{BEGIN, END, find_section, replace_section};
use super::{Destination, Report};
use crate::error::{Fault, Situation};
use crate::image::Digest;

/// GitHub refuses notes of more characters.
pub const LONGEST_BODY: usize = 125_000;

/// The notes have no room for the section.
#[derive(Debug, thiserror::Error)]
#[error(
    "the notes would have {0} characters with the variants' section, and GitHub takes {LONGEST_BODY}\nhint: shorten the notes, then run it again; the images are published"
)]
pub struct TooLong(usize);

impl Situation for TooLong {
    fn fault(&self) -> Fault {
        Fault::Publication
    }
}

/// How detailed the section is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// All of it.
    Full,
    /// The table, and no details.
    Table,
    /// A line for each variant.
    List,
}

/// The section for `report`, with its markers.
#[must_use]
pub fn section(report: &Report) -> String {
    write(report, Form::Full)
}

/// `body` with the section for `report` in it, in a shorter form where the full one has no room.
///
/// Moves of rolling tags by an earlier run of the same version are taken over from the present section. Applied to its own
/// result, it changes nothing.
///
/// # Errors
/// Even the shortest form has no room.
pub fn update(body: &str, report: &Report) -> Result<String, TooLong> {
    let mut report = report.clone();
    if let Some(record) = Record::read(body) {
        record.restore_moves(&mut report);
    }
    let mut length = 0;
    for form in [Form::Full, Form::Table, Form::List] {
        let text = replace_section(body, &write(&report, form));
        length = text.chars().count();
        if length <= LONGEST_BODY {
            return Ok(text);
        }
    }
    Err(TooLong(length))
}

/// The variants that the notes of an earlier release name and `names` doesn't have. `None` if the notes have no section.
#[must_use]
pub fn dropped_variants<'a>(earlier_notes: &str, names: impl IntoIterator<Item = &'a str>) -> Option<Vec<String>> {
    let names: Vec<&str> = names.into_iter().collect();
    let record = Record::read(earlier_notes)?;
    Some(record.variants.into_keys().filter(|name| !names.contains(&name.as_str())).collect())
}

/// The version that the section of `notes` is about.
#[must_use]
pub fn version_of(notes: &str) -> Option<String> {
    Record::read(notes).map(|record| record.version)
}

fn write(report: &Report, form: Form) -> String {
    let tool = report.tool();
    let mut text = format!("{BEGIN}\n{}\n\n## Images of {tool} {}\n\n", Record::of(report).comment(), report.version);
    let count = match report.variants.len() {
        1 => "One variant".to_owned(),
        count => format!("{count} variants"),
    };
    // A path on the machine of the run says nothing to readers.
    let source = match report.source.reference.repository() {
        Some(repository) => format!("{repository}@{}", report.source.digest),
        None => format!("{tool} {}", report.version),
    };
    let _ = writeln!(text, "{count} of {} in {}.\n", code(&source), places(report));
    match form {
        Form::Full | Form::Table => text.push_str(&table(report, Checks::Untold)),
        Form::List => {
            for variant in &report.variants {
                let _ = writeln!(text, "- {}", code(&pull_name(variant)));
            }
        }
    }
    let kept = kept_tags(report);
    if !kept.is_empty() {
        let _ = writeln!(text, "\nTags that stay where they are:\n\n{}", kept.trim_end());
    }
    if !report.dropped_variants.is_empty() {
        let names: Vec<String> = report.dropped_variants.iter().map(|name| code(name)).collect();
        let _ = writeln!(text, "\nThe release before also had: {}.", names.join(", "));
    }
    if form == Form::Full {
        text.push_str("\n<details><summary>Tags and digests</summary>\n\n");
        for variant in &report.variants {
            let _ = writeln!(text, "{}", details(variant, Checks::Untold));
        }
        text.push_str("</details>\n");
    }
    text + "\n" + END
}

/// The record for the next run.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    version: String,
    /// Each variant's digest.
    variants: BTreeMap<String, Digest>,
    /// The former digests of rolling tags, by their reference.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    moved: BTreeMap<String, Digest>,
}

impl Record {
    const NAME: &'static str = "<!-- publish-variants:record ";

    fn of(report: &Report) -> Self {
        let variants = report
            .variants
            .iter()
            .filter_map(|variant| Some((variant.name.clone(), variant.digest.clone()?)))
            .collect();
        let destinations = report.variants.iter().flat_map(|variant| &variant.destinations);
        let moved = destinations.chain(&report.source.destinations).flat_map(moved).collect();
        Self { version: report.version.clone(), variants, moved }
    }

    /// One line. JSON has `--`, `<` and `>` in strings only, where they can be escaped: nothing ends the comment early.
    fn comment(&self) -> String {
        let json = serde_json::to_string(self).expect("a record has string keys only");
        format!("{}{} -->", Self::NAME, json.replace("--", "-\\u002d").replace('<', "\\u003c").replace('>', "\\u003e"))
    }

    /// The record in the section of `body`; `None` if it is missing or unreadable, as after an edit by hand.
    fn read(body: &str) -> Option<Self> {
        let lines = find_section(body)?.lines();
        let json = lines.filter_map(|line| line.strip_prefix(Self::NAME)?.trim_end().strip_suffix("-->")).next()?;
        serde_json::from_str(json).ok()
    }

    /// Restores the former digests of rolling tags that an earlier run of the same release has moved.
    fn restore_moves(&self, report: &mut Report) {
        if self.version != report.version {
            return;
        }
        let same: Vec<bool> = report.variants.iter().map(|v| self.variants.get(&v.name) == v.digest.as_ref()).collect();
        let variants = report.variants.iter_mut().zip(same).filter(|(_, same)| *same);
        let destinations = variants.flat_map(|(variant, _)| &mut variant.destinations);
        for destination in destinations.chain(&mut report.source.destinations) {
            for rolling in &mut destination.rolling {
                if rolling.previous.is_none() {
                    let reference = format!("{}:{}", destination.repository, rolling.tag);
                    rolling.previous = self.moved.get(&reference).cloned();
                }
            }
        }
    }
}

fn moved(destination: &Destination) -> impl Iterator<Item = (String, Digest)> {
    destination
        .rolling
        .iter()
        .filter_map(|rolling| Some((format!("{}:{}", destination.repository, rolling.tag), rolling.previous.clone()?)))
}
