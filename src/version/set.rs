//! Sets of versions, made of single versions and ranges.

use std::str::FromStr;

use super::{Kind, Scheme, Version};
use crate::hint::{Hinted, Hints};

/// Versions and ranges: `0.4.7 >=2024,<2025 3.*`.
#[derive(Clone, Debug, Default)]
pub struct VersionSet(Vec<Part>);

#[derive(Clone, Debug)]
enum Part {
    Version(Version),
    Pep440(pep440_rs::VersionSpecifiers),
    Semver(semver::VersionReq),
}

/// A text that is neither a version nor a range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is neither a version nor a range")]
pub struct InvalidSet(pub String);

impl Hinted for InvalidSet {
    fn hints(&self) -> Hints {
        "write versions such as `1.3.0`, and ranges such as `>=2024` or `>=1.0,<2.0`, separated by spaces".into()
    }
}

impl VersionSet {
    /// Adds a version, or a range in the syntax of PEP 440 or Cargo. Without an operator, `1.3` and `1.3.*` stand for
    /// themselves, not for later versions as in Cargo.
    ///
    /// # Errors
    /// The text is neither a version nor a range.
    pub fn add(&mut self, text: &str, scheme: Scheme) -> Result<(), InvalidSet> {
        let is_bare = |text: &str| text.starts_with(|c: char| c.is_ascii_digit());
        let several = text.contains(',') && text.split(',').any(is_bare);
        let equal = |operator: &str| if is_bare(text) { format!("{operator}{text}") } else { text.to_owned() };
        let version = || Version::parse(text, scheme).ok().map(Part::Version);
        let pep440 = || pep440_rs::VersionSpecifiers::from_str(&equal("==")).ok().map(Part::Pep440);
        let semver = || equal("=").parse().ok().map(Part::Semver);
        let part = match scheme {
            _ if several => None,
            Scheme::Auto | Scheme::Pep440 => version().or_else(pep440).or_else(semver),
            Scheme::Semver => version().or_else(semver),
        };
        self.0.push(part.ok_or_else(|| InvalidSet(text.to_owned()))?);
        Ok(())
    }

    /// Whether `version` is in the set.
    #[must_use]
    pub fn contains(&self, version: &Version) -> bool {
        self.0.iter().any(|part| match (part, &version.kind) {
            (Part::Version(one), _) => one == version,
            (Part::Pep440(range), Kind::Pep440(version)) => range.contains(version),
            (Part::Semver(range), Kind::Semver(version)) => range.matches(version),
            // A range of the other scheme is compared with the numbers that both schemes have.
            (Part::Pep440(range), Kind::Semver(version)) => {
                range.contains(&pep440_rs::Version::new([version.major, version.minor, version.patch]))
            }
            (Part::Semver(range), Kind::Pep440(version)) => {
                let number = |place: usize| version.release().get(place).copied().unwrap_or(0);
                range.matches(&semver::Version::new(number(0), number(1), number(2)))
            }
            (Part::Pep440(_) | Part::Semver(_), Kind::Commit(_)) => false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_and_ranges_are_recognised() {
        for (set, inside, outside) in [
            ("1.3.0", &["1.3.0", "1.3"][..], &["1.3.1", "1.3.0rc1"][..]),
            (">=2024", &["2024.1", "20260110"], &["1.3.0"]),
            (">=1.0,<2.0 3.0.0", &["1.0", "1.9.9", "3.0.0"], &["2.0", "3.0.1"]),
            ("3.*", &["3.0", "3.14.1"], &["4.0", "30.0"]),
            ("^1.2", &["1.2.0", "1.9.9"], &["2.0.0", "1.1.9"]),
            ("^24", &["24", "24.1", "24.1.2.3"], &["23.9", "25.0"]),
            ("", &[], &["1.0"]),
        ] {
            let mut versions = VersionSet::default();
            set.split_whitespace().for_each(|text| versions.add(text, Scheme::Auto).unwrap());
            for version in inside {
                assert!(versions.contains(&version.parse().unwrap()), "{version} isn't in {set}");
            }
            for version in outside {
                assert!(!versions.contains(&version.parse().unwrap()), "{version} is in {set}");
            }
        }
        for text in ["latest", ">=", "1.x.y", "alpine", "1.3.0,1.4.0", ">=1.0,1.4.0"] {
            assert!(VersionSet::default().add(text, Scheme::Auto).is_err(), "{text} was accepted");
        }
        let mut versions = VersionSet::default();
        versions.add("1.3", Scheme::Semver).unwrap();
        let parse = |text| Version::parse(text, Scheme::Semver).unwrap();
        assert!(versions.contains(&parse("1.3.1")) && !versions.contains(&parse("1.4.0")), "it is no caret range");
    }
}
