//! Versions in the text of tags. Tags write `!` and `+` as `-`, so the text is ambiguous.

use super::{Kind, Scheme, Version};

/// A version that a part of a tag may stand for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The version that the text would stand for.
    pub version: Version,
    /// Whether the text is the version itself, without a dash that stands for an epoch, a local version, build metadata
    /// or a post-release.
    pub literal: bool,
}

impl Version {
    /// Every version whose [text in a tag](Version::tag_text) may be `text`: `1.2.3-22` may be a post-release of 1.2.3,
    /// or 1.2.3+22. The literal reading comes first.
    #[must_use]
    pub fn readings(text: &str, scheme: Scheme) -> Vec<Reading> {
        // A fast path, since most tags aren't versions.
        if !text.starts_with(|c: char| c.is_ascii_digit()) {
            return if text.starts_with("sha-") {
                Self::reading(text, text, scheme).into_iter().collect()
            } else {
                Vec::new()
            };
        }
        let dashes: Vec<usize> = text.match_indices('-').map(|(at, _)| at).collect();
        let mut candidates = vec![text.to_owned()];
        let epoch = dashes.first().filter(|at| text[..**at].bytes().all(|b| b.is_ascii_digit()));
        candidates.extend(epoch.map(|at| with(text, *at, "!")));
        for at in &dashes {
            candidates.push(with(text, *at, "+"));
            if let Some(epoch) = epoch.filter(|epoch| *epoch < at) {
                candidates.push(with(&with(text, *at, "+"), *epoch, "!"));
            }
        }
        candidates.into_iter().filter_map(|candidate| Self::reading(&candidate, text, scheme)).collect()
    }

    fn reading(candidate: &str, text: &str, scheme: Scheme) -> Option<Reading> {
        let version = Self::as_written(candidate, scheme)?;
        if version.tag_text() != text {
            return None;
        }
        let literal = candidate == text && !version.has_implicit_post_release();
        Some(Reading { version, literal })
    }

    /// Whether it has a post-release written as a dash and a number: `1.2.3-22`.
    pub(crate) fn has_implicit_post_release(&self) -> bool {
        match &self.kind {
            Kind::Pep440(version) => version.post().is_some() && !self.text.contains(['p', 'P', 'r', 'R']),
            Kind::Semver(_) | Kind::Commit(_) => false,
        }
    }
}

/// `text` with the dash at `at` replaced.
fn with(text: &str, at: usize, instead: &str) -> String {
    format!("{}{instead}{}", &text[..at], &text[at + 1..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, scheme: Scheme) -> Vec<(String, bool)> {
        let readings = Version::readings(text, scheme).into_iter();
        readings.map(|reading| (reading.version.to_string(), reading.literal)).collect()
    }

    #[test]
    fn every_version_that_a_text_may_stand_for_is_found() {
        for (text, scheme, expected) in [
            ("0.9.26", Scheme::Auto, &[("0.9.26", true)][..]),
            ("0.5.0rc1", Scheme::Auto, &[("0.5.0rc1", true)]),
            ("1.2.3-beta.1", Scheme::Semver, &[("1.2.3-beta.1", true), ("1.2.3+beta.1", false)]),
            ("1.29.2-k3s1", Scheme::Auto, &[("1.29.2-k3s1", true), ("1.29.2+k3s1", false)]),
            ("1.2.3-22", Scheme::Auto, &[("1.2.3-22", false), ("1.2.3+22", false)]),
            ("1-2.0.0", Scheme::Auto, &[("1!2.0.0", false), ("1+2.0.0", false)]),
            ("0.5.0.post1", Scheme::Auto, &[("0.5.0.post1", true)]),
            ("20260110", Scheme::Auto, &[("20260110", true)]),
            ("sha-0123456", Scheme::Auto, &[("sha-0123456", true)]),
            ("alpine", Scheme::Auto, &[]),
            ("v1.2.3", Scheme::Auto, &[]),
            ("", Scheme::Auto, &[]),
        ] {
            let expected: Vec<(String, bool)> =
                expected.iter().map(|(text, literal)| ((*text).to_owned(), *literal)).collect();
            assert_eq!(read(text, scheme), expected, "{text}");
        }
    }
}
