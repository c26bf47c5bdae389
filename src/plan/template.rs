//! Tag templates: they make the tags of an image, and parse such tags.
//!
//! A template with `{version}` (or `{sha}`) makes an exact tag, any other one a rolling tag.

use std::fmt;
use std::str::FromStr;

use crate::hint::{Hinted, Hints};
use crate::version::Version;

/// A template for one tag: `{major}.{minor}-{tag}`.
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
    /// Every field, with its name and its meaning.
    const ALL: [(Self, &'static str, &'static str); 6] = [
        (Self::Version, "version", "the version, without a leading `v`: `0.9.26`"),
        (Self::Major, "major", "its first number"),
        (Self::Minor, "minor", "its second number, or 0"),
        (Self::Patch, "patch", "its third number, or 0"),
        (Self::Sha, "sha", "the first seven digits of a development build's commit"),
        (Self::Tag, "tag", "each entry of the variant's `tags`"),
    ];

    fn name(self) -> &'static str {
        Self::ALL.iter().find(|(field, ..)| *field == self).map_or("", |(_, name, _)| name)
    }
}

/// A text that isn't a template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTemplate {
    /// `{` without `}` or the other way round.
    #[error("`{0}` has a brace without its counterpart")]
    Brace(String),
    /// A placeholder that doesn't exist.
    #[error("`{template}` has the unknown placeholder `{{{placeholder}}}`")]
    Placeholder {
        /// The template.
        template: String,
        /// The text in the braces.
        placeholder: String,
    },
}

impl Hinted for InvalidTemplate {
    fn hints(&self) -> Hints {
        match self {
            Self::Brace(_) => "placeholders are written as `{version}`".into(),
            Self::Placeholder { template, .. } if template.contains("{{") => {
                "placeholders have single braces here, other than docker/metadata-action's: `{version}`".into()
            }
            Self::Placeholder { .. } => {
                format!("use {}", Field::ALL.map(|(_, name, _)| format!("`{{{name}}}`")).join(", ")).into()
            }
        }
    }
}

/// The tags of the default variant, and of a source with `source-tags: default`.
pub const BARE: [&str; 3] = ["{version}", "{major}.{minor}", "latest"];

impl Template {
    /// The placeholders, each with its meaning.
    pub fn placeholders() -> impl Iterator<Item = (String, &'static str)> {
        Field::ALL.into_iter().map(|(_, name, meaning)| (format!("{{{name}}}"), meaning))
    }

    /// The templates of [`BARE`].
    #[must_use]
    pub fn bare() -> Vec<Self> {
        BARE.iter().filter_map(|template| template.parse().ok()).collect()
    }

    /// Whether its tags name a single version or commit.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        self.has(Field::Version) || self.has(Field::Sha)
    }

    /// Whether its tags differ between variants.
    #[must_use]
    pub fn has_tag(&self) -> bool {
        self.has(Field::Tag)
    }

    /// Whether its tags name a commit, so that it is for development builds.
    #[must_use]
    pub fn has_sha(&self) -> bool {
        self.has(Field::Sha)
    }

    /// The tag for `version` and the entry `tag`; `None` if the version lacks a number or commit that the template
    /// needs.
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

    /// Whether the template makes `text` for `version` and the entry `tag`: [`Self::render`] without allocating.
    #[must_use]
    pub fn gives(&self, text: &str, version: &Version, tag: &str) -> bool {
        let rest = self.parts.iter().try_fold(text, |rest, part| match part {
            Part::Text(literal) => rest.strip_prefix(literal.as_str()),
            Part::Field(Field::Version) => rest.strip_prefix(&*version.tag_text()),
            Part::Field(Field::Major) => rest.strip_prefix(version.major()?),
            Part::Field(Field::Minor) => rest.strip_prefix(version.minor()?),
            Part::Field(Field::Patch) => rest.strip_prefix(version.patch()?),
            Part::Field(Field::Sha) => rest.strip_prefix(version.as_commit()?.get(..7)?),
            Part::Field(Field::Tag) => rest.strip_prefix(tag),
        });
        rest == Some("")
    }

    fn has(&self, field: Field) -> bool {
        self.parts.contains(&Part::Field(field))
    }

    /// The text before and after the version in exact tags of `entry`; `None` for templates without `{version}`.
    #[must_use]
    pub fn around_version(&self, entry: &str) -> Option<(String, String)> {
        let at = self.parts.iter().position(|part| *part == Part::Field(Field::Version))?;
        let literal = |parts: &[Part]| {
            parts
                .iter()
                .map(|part| match part {
                    Part::Text(literal) => Some(literal.as_str()),
                    Part::Field(Field::Tag) => Some(entry),
                    Part::Field(_) => None,
                })
                .collect::<Option<String>>()
        };
        Some((literal(&self.parts[..at])?, literal(&self.parts[at + 1..])?))
    }

    /// The versions and entries for which the template may have made `tag`: one pair for each way to split the text.
    /// Empty for templates without `{version}`; the entry is empty for those without `{tag}`.
    #[must_use]
    pub fn cuts<'a>(&self, tag: &'a str) -> Vec<(&'a str, &'a str)> {
        let mut cuts = Vec::new();
        if self.has(Field::Version) {
            cut(&self.parts, tag, ("", ""), &mut cuts);
        }
        cuts
    }
}

/// Adds to `cuts` each way in which `parts` match `text`. `found` is the version and the entry so far.
fn cut<'a>(parts: &[Part], text: &'a str, found: (&'a str, &'a str), cuts: &mut Vec<(&'a str, &'a str)>) {
    let (version, entry) = found;
    match parts.split_first() {
        None if text.is_empty() => cuts.push(found),
        None => {}
        Some((Part::Text(literal), rest)) => {
            if let Some(text) = text.strip_prefix(literal.as_str()) {
                cut(rest, text, found, cuts);
            }
        }
        Some((Part::Field(field), rest)) => {
            for end in 1..=text.len() {
                let Some((part, text)) = text.split_at_checked(end) else { continue };
                match field {
                    Field::Version => cut(rest, text, (part, entry), cuts),
                    Field::Tag => cut(rest, text, (version, part), cuts),
                    Field::Major | Field::Minor | Field::Patch | Field::Sha => {}
                }
            }
        }
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
            let field = Field::ALL.iter().find(|(_, known, _)| *known == name).map(|(field, ..)| *field);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_round_trip_and_render() {
        let version: Version = "1!2.4.6".parse().unwrap();
        for (text, tag) in [
            ("{version}-{tag}", "1-2.4.6-alpine"),
            ("{major}.{minor}-{tag}", "2.4-alpine"),
            ("{major}-{tag}", "2-alpine"),
            ("{tag}", "alpine"),
            ("x{patch}y", "x6y"),
            ("latest", "latest"),
        ] {
            let template: Template = text.parse().unwrap();
            assert_eq!(template.to_string(), text);
            assert_eq!(template.render(&version, "alpine").as_deref(), Some(tag));
        }
        for text in ["{", "}", "{version", "version}", "{python}", "{}", "{{tag}}"] {
            assert!(text.parse::<Template>().is_err(), "{text} was accepted");
        }
    }

    #[test]
    fn a_tag_is_split_in_every_possible_way() {
        let cuts = |template: &str, tag| template.parse::<Template>().unwrap().cuts(tag);
        assert_eq!(cuts("{version}-{tag}", "1.2-22-slim"), [("1.2", "22-slim"), ("1.2-22", "slim")]);
        assert_eq!(cuts("{tag}-{version}", "21-1.2.3"), [("1.2.3", "21")]);
        assert_eq!(cuts("v{version}", "v1.2.3"), [("1.2.3", "")]);
        for (template, tag) in
            [("{version}-{tag}", "slim"), ("{tag}", "1.2.3"), ("v{version}", "1.2.3"), ("{sha}-{tag}", "a-b")]
        {
            assert!(cuts(template, tag).is_empty(), "{template} {tag}");
        }
    }
}
