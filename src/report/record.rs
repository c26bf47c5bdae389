//! The record in a section of notes: a hidden comment by which later runs recognise their own section, and find out
//! which variants are gone.

use std::collections::{BTreeMap, BTreeSet};

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer, Serialize};

use super::Report;
use super::notes::Changes;
use super::section::Section;

/// The contents of the comment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// The version that the section is about.
    pub version: String,
    /// The variants whose images are in the section.
    #[serde(deserialize_with = "names")]
    pub variants: Vec<String>,
    /// The variants that aren't published, because their exact tags are taken.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unpublished: Vec<String>,
}

/// A list of names. Older versions wrote a map from names to digests.
fn names<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Names {
        List(Vec<String>),
        Map(BTreeMap<String, IgnoredAny>),
    }
    Ok(match Names::deserialize(deserializer)? {
        Names::List(names) => names,
        Names::Map(names) => names.into_keys().collect(),
    })
}

impl Record {
    const NAME: &'static str = "<!-- publish-variants:record ";

    pub(super) fn of(report: &Report) -> Self {
        let (published, unpublished): (Vec<_>, Vec<_>) =
            report.variants.iter().partition(|variant| variant.digest.is_some());
        let names = |variants: Vec<&super::Variant>| variants.iter().map(|variant| variant.name.clone()).collect();
        Self { version: report.version.clone(), variants: names(published), unpublished: names(unpublished) }
    }

    /// The comment, on one line. In JSON, `--`, `<` and `>` occur only in strings, where they can be escaped, so
    /// nothing ends the comment early.
    pub(super) fn comment(&self) -> String {
        let json = serde_json::to_string(self).expect("a record has string keys only");
        format!("{}{} -->", Self::NAME, json.replace("--", "-\\u002d").replace('<', "\\u003c").replace('>', "\\u003e"))
    }

    /// The record of a section; `None` if it is missing or unreadable, perhaps after a manual edit.
    pub(super) fn read(section: &Section<'_>) -> Option<Self> {
        let mut lines = section.text.lines();
        let json = lines.find_map(|line| line.strip_prefix(Self::NAME)?.trim_end().strip_suffix("-->"))?;
        serde_json::from_str(json).ok()
    }
}

/// What the sections of a run are about. The run replaces sections that are about its own repositories and contain one
/// of its variants, or that may do so.
#[derive(Debug)]
pub(super) struct Subject<'a> {
    repositories: BTreeSet<String>,
    variants: BTreeSet<&'a str>,
}

impl<'a> Subject<'a> {
    pub(super) fn of(report: &'a Report) -> Self {
        Self {
            repositories: report.repositories().map(ToString::to_string).collect(),
            variants: report.variants.iter().map(|variant| variant.name.as_str()).collect(),
        }
    }

    /// Whether `section` is about this subject. The run may have more repositories than the section, but not fewer:
    /// then the section would lose its text about the missing ones.
    pub(super) fn is_of(&self, section: &Section<'_>) -> bool {
        if section.is_empty() || !repositories(section).iter().all(|name| self.repositories.contains(*name)) {
            return false;
        }
        Record::read(section).is_none_or(|record| {
            record.variants.iter().chain(&record.unpublished).any(|name| self.variants.contains(name.as_str()))
        })
    }

    /// The changes since `section` was written; `None` if it is about something else. Variants that weren't published
    /// are neither new nor dropped.
    pub(super) fn changes_since(&self, section: &Section<'_>) -> Option<Changes> {
        let record = Record::read(section).filter(|_| self.is_of(section))?;
        let is_known = |name: &str| record.variants.iter().chain(&record.unpublished).any(|known| known == name);
        let dropped = record.variants.iter().filter(|name| !self.variants.contains(name.as_str()));
        let new = self.variants.iter().filter(|name| !is_known(name));
        Some(Changes { new: new.map(|name| (*name).to_owned()).collect(), dropped: dropped.cloned().collect() })
    }
}

/// The repositories that a section is about. Sections written by older versions name them only in a sentence: ``29
/// variants of `SOURCE` in `ghcr.io/acme/tool` and `docker.io/acme/tool`.``
fn repositories<'s>(section: &Section<'s>) -> Vec<&'s str> {
    if !section.repositories.is_empty() {
        return section.repositories.clone();
    }
    let places = section.text.lines().find_map(|line| {
        let (before, places) = line.split_once("` in `")?;
        (before.contains(" variants of `") || before.starts_with("One variant of `")).then_some(places)
    });
    places.into_iter().flat_map(|places| places.split('`').step_by(2)).filter(|name| name.contains('/')).collect()
}

#[cfg(test)]
mod tests {
    use super::super::section::{END, sections};
    use super::*;

    /// A section in the format of older versions.
    fn old(repositories: &str, record: &str) -> String {
        let source = format!("`ghcr.io/acme/tool@sha256:{}`", "0".repeat(64));
        format!(
            "<!-- publish-variants:begin -->\n<!-- publish-variants:record {record} -->\n\n## Images of tool 1.4.0\n\n\
             2 variants of {source} in {repositories}.\n\n{END}\n"
        )
    }

    fn subject<'a>(repositories: &[&str], variants: &[&'a str]) -> Subject<'a> {
        Subject {
            repositories: repositories.iter().map(|name| (*name).to_owned()).collect(),
            variants: variants.iter().copied().collect(),
        }
    }

    #[test]
    fn sections_of_older_versions_are_understood() {
        let digest = format!("\"sha256:{}\"", "1".repeat(64));
        let record = format!(
            "{{\"version\":\"1.4.0\",\"variants\":{{\"alpine\":{digest},\"debian\":{digest}}},\"moved\":{{\"x:y\":{digest}}}}}"
        );
        let body = old("`ghcr.io/acme/tool` and `docker.io/acme/tool`", &record).replace('\n', "\r\n");
        let section = &sections(&body)[0];
        let both = ["ghcr.io/acme/tool", "docker.io/acme/tool"];
        assert_eq!(repositories(section), both);
        assert_eq!(
            subject(&both, &["alpine", "fedora"]).changes_since(section),
            Some(Changes { new: vec!["fedora".to_owned()], dropped: vec!["debian".to_owned()] })
        );
        for other in [subject(&["ghcr.io/acme/tool"], &["alpine"]), subject(&both, &["fedora"])] {
            assert!(!other.is_of(section), "{other:?}");
            assert_eq!(other.changes_since(section), None);
        }
    }

    #[test]
    fn a_section_with_a_damaged_record_is_recognised_by_its_repositories() {
        let body = old("`ghcr.io/acme/tool`", "{{");
        let section = &sections(&body)[0];
        assert!(subject(&["ghcr.io/acme/tool"], &["alpine"]).is_of(section));
        assert!(!subject(&["ghcr.io/acme/other"], &["alpine"]).is_of(section));
        assert_eq!(subject(&["ghcr.io/acme/tool"], &["alpine"]).changes_since(section), None);
    }
}
