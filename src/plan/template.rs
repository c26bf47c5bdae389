//! Tag templates: what the tags of an image are called, and which version and entry a tag was made from.
//!
//! A template with `{version}` (or `{sha}`) gives an exact tag, one without gives a rolling tag.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::image::Tag;
use crate::version::{Scheme, Version};

/// One tag template: `{major}.{minor}-{tag}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Text(String),
    Field(Field),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Field {
    Version,
    Major,
    Minor,
    Patch,
    Sha,
    Tag,
}

impl Field {
    const ALL: [(Self, &'static str); 6] = [
        (Self::Version, "version"),
        (Self::Major, "major"),
        (Self::Minor, "minor"),
        (Self::Patch, "patch"),
        (Self::Sha, "sha"),
        (Self::Tag, "tag"),
    ];

    fn name(self) -> &'static str {
        Self::ALL.iter().find(|(field, _)| *field == self).map_or("", |(_, name)| name)
    }
}

/// A text that is no template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTemplate {
    /// `{` without `}` or the other way round.
    #[error("`{0}` has a brace without its counterpart\nhint: placeholders are written as `{{version}}`")]
    Brace(String),
    /// A placeholder that nobody fills.
    #[error(
        "`{template}` has the unknown placeholder `{{{placeholder}}}`\nhint: use {}",
        Field::ALL.map(|(_, name)| format!("`{{{name}}}`")).join(", ")
    )]
    Placeholder {
        /// The template.
        template: String,
        /// What stands in the braces.
        placeholder: String,
    },
}

impl Template {
    /// Whether the tag names one version, or one commit.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        self.has(Field::Version) || self.has(Field::Sha)
    }

    /// Whether the tag differs from variant to variant.
    #[must_use]
    pub fn has_tag(&self) -> bool {
        self.has(Field::Tag)
    }

    /// Whether the tag names a commit, so that it is meant for development builds.
    #[must_use]
    pub fn has_sha(&self) -> bool {
        self.has(Field::Sha)
    }

    /// The text of the tag for `version` and the entry `tag`. `None` where the version has no such number or commit.
    #[must_use]
    pub fn render(&self, version: &Version, tag: &str) -> Option<String> {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Text(literal) => text.push_str(literal),
                Part::Field(Field::Version) => text.push_str(&version.tag_text()),
                Part::Field(Field::Major) => text.push_str(version.major()?),
                Part::Field(Field::Minor) => text.push_str(version.minor()?),
                Part::Field(Field::Patch) => text.push_str(version.patch()?),
                Part::Field(Field::Sha) => text.push_str(version.as_commit()?.get(..7)?),
                Part::Field(Field::Tag) => text.push_str(tag),
            }
        }
        Some(text)
    }

    /// The versions that share the tag that this gives for `version`.
    #[must_use]
    pub fn series(&self, version: &Version) -> Series {
        let number = |field, text: Option<&str>| text.filter(|_| self.has(field)).and_then(|text| text.parse().ok());
        Series {
            major: number(Field::Major, version.major()),
            minor: number(Field::Minor, version.minor()),
            patch: number(Field::Patch, version.patch()),
        }
    }

    fn has(&self, field: Field) -> bool {
        self.parts.contains(&Part::Field(field))
    }

    /// What stands before and after the version in the tags that this makes of the entry `tag`.
    fn around_version(&self, tag: &str) -> Option<(String, String)> {
        let at = self.parts.iter().position(|part| *part == Part::Field(Field::Version))?;
        let literal = |parts: &[Part]| {
            parts
                .iter()
                .map(|part| match part {
                    Part::Text(literal) => Some(literal.as_str()),
                    Part::Field(Field::Tag) => Some(tag),
                    Part::Field(_) => None,
                })
                .collect::<Option<String>>()
        };
        Some((literal(&self.parts[..at])?, literal(&self.parts[at + 1..])?))
    }
}

impl FromStr for Template {
    type Err = InvalidTemplate;

    fn from_str(text: &str) -> Result<Self, InvalidTemplate> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(brace) = rest.find(['{', '}']) {
            let unbalanced = || InvalidTemplate::Brace(text.to_owned());
            if brace > 0 {
                parts.push(Part::Text(rest[..brace].to_owned()));
            }
            let (name, after) =
                rest[brace..].strip_prefix('{').and_then(|open| open.split_once('}')).ok_or_else(unbalanced)?;
            let field = Field::ALL.iter().find(|(_, known)| *known == name).map(|(field, _)| *field);
            let field = field.ok_or_else(|| InvalidTemplate::Placeholder {
                template: text.to_owned(),
                placeholder: name.to_owned(),
            })?;
            parts.push(Part::Field(field));
            rest = after;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        Ok(Self { parts })
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.parts.iter().try_for_each(|part| match part {
            Part::Text(text) => f.write_str(text),
            Part::Field(field) => write!(f, "{{{}}}", field.name()),
        })
    }
}

/// The versions that share a rolling tag: `0.9-alpine` is that of all 0.9.x, `alpine` that of every version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Series {
    major: Option<u64>,
    minor: Option<u64>,
    patch: Option<u64>,
}

impl Series {
    /// All versions.
    pub const ALL: Self = Self { major: None, minor: None, patch: None };

    /// Whether `version` is one of them. Its epoch doesn't count: tags don't show it.
    #[must_use]
    pub fn contains(&self, version: &Version) -> bool {
        [(self.major, version.major()), (self.minor, version.minor()), (self.patch, version.patch())]
            .into_iter()
            .all(|(wanted, number)| wanted.is_none() || wanted == number.and_then(|number| number.parse().ok()))
    }
}

/// `0.9`, or `all versions`.
impl fmt::Display for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::ALL {
            return f.write_str("all versions");
        }
        let numbers = [self.major, self.minor, self.patch];
        let last = numbers.iter().rposition(Option::is_some).unwrap_or_default();
        let text = numbers[..=last].iter().map(|number| number.map_or("*".to_owned(), |number| number.to_string()));
        f.write_str(&text.collect::<Vec<_>>().join("."))
    }
}

/// Tells of the tags that are in a registry which version and which entry they are the exact tags of.
///
/// This is how the owner of a rolling tag is found: it is the newest version of the tag's series whose exact tag for the
/// same entry exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExactTags {
    /// What stands before and after the version, and of which entry. An exact tag belongs to the longest entry that
    /// fits, so that `1.2.3-1-slim` is `1.2.3` of `1-slim` and not `1.2.3-1` of `slim`.
    shapes: Vec<(String, String, String)>,
    scheme: Scheme,
}

impl ExactTags {
    /// For the exact ones of `templates` and the `entries` of all variants (or an empty one for the source's own tags).
    #[must_use]
    pub fn new(templates: &[Template], entries: impl IntoIterator<Item = String>, scheme: Scheme) -> Self {
        let shape = |entry: String| {
            templates.iter().filter_map(move |template| {
                let (before, after) = template.around_version(&entry)?;
                Some((before, after, entry.clone()))
            })
        };
        let mut shapes: Vec<_> = entries.into_iter().flat_map(shape).collect();
        shapes.sort_by(|a, b| b.2.len().cmp(&a.2.len()).then_with(|| a.cmp(b)));
        shapes.dedup();
        Self { shapes, scheme }
    }

    /// The version and the entry that `tag` was made from; `None` if it is no exact tag of this plan's variants.
    #[must_use]
    pub fn read(&self, tag: &str) -> Option<(Version, &str)> {
        self.shapes.iter().find_map(|(before, after, entry)| {
            let text = tag.strip_prefix(before.as_str())?.strip_suffix(after.as_str())?;
            let version = Version::from_tag(text, self.scheme).filter(|version| version.tag_text() == text)?;
            Some((version, entry.as_str()))
        })
    }

    /// Of `tags` (all those of a repository) the exact ones, by entry: each with its version.
    pub fn read_all<'a>(&self, tags: impl IntoIterator<Item = &'a Tag>) -> BTreeMap<&str, Vec<(Version, Tag)>> {
        let mut found = BTreeMap::<&str, Vec<(Version, Tag)>>::new();
        for tag in tags {
            if let Some((version, entry)) = self.read(tag.as_str()) {
                found.entry(entry).or_default().push((version, tag.clone()));
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn templates(texts: &[&str]) -> Vec<Template> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn templates_round_trip_and_render() {
        let version: Version = "1!2.4.6".parse().unwrap();
        for (text, tag, series) in [
            ("{version}-{tag}", "1-2.4.6-alpine", "all versions"),
            ("{major}.{minor}-{tag}", "2.4-alpine", "2.4"),
            ("{major}-{tag}", "2-alpine", "2"),
            ("{tag}", "alpine", "all versions"),
            ("x{patch}y", "x6y", "*.*.6"),
            ("latest", "latest", "all versions"),
        ] {
            let template: Template = text.parse().unwrap();
            assert_eq!(template.to_string(), text);
            assert_eq!(template.render(&version, "alpine").as_deref(), Some(tag));
            assert_eq!(template.series(&version).to_string(), series);
        }
        for text in ["{", "}", "{version", "version}", "{python}", "{}", "{{tag}}"] {
            assert!(text.parse::<Template>().is_err(), "{text} was accepted");
        }
    }

    #[test]
    fn a_series_contains_the_versions_that_give_the_same_tag() {
        let template: Template = "{major}.{minor}-{tag}".parse().unwrap();
        let series = template.series(&"0.9.26".parse().unwrap());
        for (version, within) in
            [("0.9.27", true), ("0.9", true), ("1!0.9.0", true), ("0.10.0", false), ("1.9.0", false)]
        {
            assert_eq!(series.contains(&version.parse().unwrap()), within, "{version}");
        }
        assert!(Series::ALL.contains(&"5".parse().unwrap()));
    }

    #[test]
    fn exact_tags_tell_their_version_and_entry() {
        let entries = ["alpine", "alpine3.23", "python3.13-alpine", "slim", "1-slim"].map(str::to_owned);
        let exact =
            ExactTags::new(&templates(&["{version}-{tag}", "{major}.{minor}-{tag}", "{tag}"]), entries, Scheme::Auto);
        let read = |tag| exact.read(tag).map(|(version, entry)| (version.to_string(), entry));
        assert_eq!(read("0.9.27-alpine3.23"), Some(("0.9.27".to_owned(), "alpine3.23")));
        assert_eq!(read("0.9.27-python3.13-alpine"), Some(("0.9.27".to_owned(), "python3.13-alpine")));
        assert_eq!(read("1-2.0.0-alpine"), Some(("1!2.0.0".to_owned(), "alpine")));
        assert_eq!(read("1.2.3-1-slim"), Some(("1.2.3".to_owned(), "1-slim")));
        assert_eq!(read("0.5.0rc1-slim"), Some(("0.5.0rc1".to_owned(), "slim")));
        assert_eq!(read("alpine"), None);
        assert_eq!(read("sha256-0123.sig"), None);
        let source = ExactTags::new(&templates(&["{version}", "latest"]), [String::new()], Scheme::Auto);
        assert_eq!(source.read("0.9.27").map(|(version, _)| version.to_string()).as_deref(), Some("0.9.27"));
        assert_eq!(source.read("0.9.27-alpine").map(|(version, _)| version.is_prerelease()), Some(true));
    }
}
