//! Versions of the tool: [PEP 440](https://packaging.python.org/en/latest/specifications/version-specifiers/),
//! [semantic versions](https://semver.org/spec/v2.0.0.html), and commits for development builds.

mod reading;
mod set;

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use pep440_rs::LocalSegment;

use crate::hint::{Hinted, Hints};
use crate::quote::quoted;

pub use reading::Reading;
pub use set::{InvalidSet, VersionSet};

/// How a version is to be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Scheme {
    /// PEP 440 if that parses, else semver.
    #[default]
    Auto,
    /// PEP 440 only.
    Pep440,
    /// Semver only.
    Semver,
}

/// A version, as it was written (without a leading `v`).
///
/// Versions have one order, whichever scheme they were parsed by: that of PEP 440 or semver if both versions follow it.
#[derive(Clone, Debug)]
pub struct Version {
    text: String,
    /// Major, minor and patch, as far as they are written, with leading zeros: `24.04`.
    numbers: Vec<String>,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    Pep440(pep440_rs::Version),
    Semver(semver::Version),
    /// The known digits of the commit.
    Commit(String),
}

/// A text that isn't a version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{}` is not a version",
    quoted(.0)
)]
pub struct InvalidVersion(pub String);

impl Hinted for InvalidVersion {
    fn hints(&self) -> Hints {
        "a version looks like `1.2.3`, `1.2.3rc1` (PEP 440), `1.2.3-beta.1` (semver) or `sha-0123456` (a development build)".into()
    }
}

/// How many digits of a commit name a development build, as in docker/metadata-action.
const SHORT_COMMIT: usize = 7;

impl Version {
    /// Parses `text` by `scheme`; a leading `v` is dropped.
    ///
    /// # Errors
    /// The text isn't a version by this scheme.
    pub fn parse(text: &str, scheme: Scheme) -> Result<Self, InvalidVersion> {
        let invalid = || InvalidVersion(text.to_owned());
        let trimmed = text.trim();
        if let Some(commit) = trimmed.strip_prefix("sha-") {
            return Self::commit(commit).ok_or_else(invalid);
        }
        let bare = match trimmed.strip_prefix(['v', 'V']) {
            Some(rest) if rest.starts_with(|c: char| c.is_ascii_digit()) => rest,
            _ => trimmed,
        };
        if bare.len() > 128 || !bare.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(invalid());
        }
        let pep440 = || bare.parse().ok().map(Kind::Pep440);
        let semver = || bare.parse().ok().map(Kind::Semver);
        let kind = match scheme {
            Scheme::Auto => pep440().or_else(semver),
            Scheme::Pep440 => pep440(),
            Scheme::Semver => semver(),
        };
        Ok(Self { text: bare.to_owned(), numbers: numbers(bare), kind: kind.ok_or_else(invalid)? })
    }

    /// The development build of a commit: `sha-0123456`. `None` unless `commit` has 7 to 64 hexadecimal digits.
    #[must_use]
    pub fn commit(commit: &str) -> Option<Self> {
        let digits = (SHORT_COMMIT..=64).contains(&commit.len()) && commit.bytes().all(|b| b.is_ascii_hexdigit());
        digits.then(|| Self {
            text: format!("sha-{}", commit[..SHORT_COMMIT].to_ascii_lowercase()),
            numbers: Vec::new(),
            kind: Kind::Commit(commit.to_ascii_lowercase()),
        })
    }

    /// The version that is spelled exactly like `text`: `1.0` isn't `1.0.0`. `None` for `v1.0`, since versions have no
    /// `v`.
    #[must_use]
    pub fn as_written(text: &str, scheme: Scheme) -> Option<Self> {
        Self::parse(text, scheme).ok().filter(|version| version.text == text)
    }

    /// The version as it was written: `0.9.26`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The version as it is written in a tag: `1!2.0.0` is `1-2.0.0`, `1.2.3+build5` is `1.2.3-build5`.
    #[must_use]
    pub fn tag_text(&self) -> Cow<'_, str> {
        // Hardly any version needs this, and it is called for each tag of a repository.
        if self.text.bytes().any(|byte| matches!(byte, b'!' | b'+')) {
            Cow::Owned(self.text.replace(['!', '+'], "-"))
        } else {
            Cow::Borrowed(&self.text)
        }
    }

    /// The first number, as it was written. `None` for a development build.
    #[must_use]
    pub fn major(&self) -> Option<&str> {
        self.number(0)
    }

    /// The second number, as it was written; `0` if there is none.
    #[must_use]
    pub fn minor(&self) -> Option<&str> {
        self.number(1)
    }

    /// The third number, as it was written; `0` if there is none.
    #[must_use]
    pub fn patch(&self) -> Option<&str> {
        self.number(2)
    }

    /// Whether this is a pre-release (`rc1`, `a1`, `.dev1`, `-beta.1`) or a development build: rolling tags never move
    /// to these. A post-release is a final release.
    #[must_use]
    pub fn is_prerelease(&self) -> bool {
        match &self.kind {
            Kind::Pep440(version) => version.any_prerelease(),
            Kind::Semver(version) => !version.pre.is_empty(),
            Kind::Commit(_) => true,
        }
    }

    /// Whether this version comes after `other`. Among equal versions that are written differently, the one with more
    /// numbers comes later (1.2.0 after 1.2), else the text decides, so that rolling tags don't move back and forth
    /// between them.
    #[must_use]
    pub fn succeeds(&self, other: &Self) -> bool {
        self.succession(other) == Ordering::Greater
    }

    /// The order of [`Version::succeeds`].
    #[must_use]
    pub fn succession(&self, other: &Self) -> Ordering {
        self.cmp(other)
            .then_with(|| self.numbers.len().cmp(&other.numbers.len()))
            .then_with(|| self.text.cmp(&other.text))
    }

    /// Whether the text of this version, found where the exact tags of `successor` are, certainly belongs to a
    /// predecessor: both have the same first number, and equally many numbers, at least three. A text such as `3.13`
    /// may be the beginning of a rolling tag or of an entry.
    #[must_use]
    pub fn is_written_like(&self, successor: &Self) -> bool {
        self.numbers.len() >= 3
            && self.numbers.len() == successor.numbers.len()
            && self.numbers[0] == successor.numbers[0]
            && self.epoch() == successor.epoch()
    }

    /// Whether a tag can't contain the version as it is written, because some characters become `-`, or because its `-`
    /// means a post-release.
    #[must_use]
    pub fn is_altered_in_tags(&self) -> bool {
        self.tag_text() != self.text || self.has_implicit_post_release()
    }

    /// The known digits of a development build's commit.
    #[must_use]
    pub fn as_commit(&self) -> Option<&str> {
        match &self.kind {
            Kind::Commit(commit) => Some(commit),
            _ => None,
        }
    }

    fn number(&self, index: usize) -> Option<&str> {
        match self.kind {
            Kind::Commit(_) => None,
            _ => Some(self.numbers.get(index).map_or("0", String::as_str)),
        }
    }

    fn epoch(&self) -> u64 {
        match &self.kind {
            Kind::Pep440(version) => version.epoch(),
            Kind::Semver(_) | Kind::Commit(_) => 0,
        }
    }

    /// The order across schemes: by epoch, release without trailing zeros, and then pre-releases before final releases.
    fn rank(&self) -> (u64, Vec<u64>, bool) {
        match &self.kind {
            Kind::Commit(_) => (0, Vec::new(), false),
            Kind::Semver(v) => (0, without_trailing_zeros(&[v.major, v.minor, v.patch]), v.pre.is_empty()),
            // A development version of a post-release comes after the final release.
            Kind::Pep440(v) => (
                v.epoch(),
                without_trailing_zeros(v.release()),
                !v.any_prerelease() || v.post().is_some() && v.pre().is_none(),
            ),
        }
    }
}

/// The order of texts in which runs of digits are numbers: `k3s9` comes before `k3s10`. Neither scheme says so, but it
/// is what tools mean by build metadata.
fn by_numbers(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.bytes().peekable(), b.bytes().peekable());
    let number = |bytes: &mut std::iter::Peekable<std::str::Bytes<'_>>| {
        let mut digits = Vec::new();
        while let Some(digit) = bytes.next_if(u8::is_ascii_digit) {
            if digit != b'0' || !digits.is_empty() {
                digits.push(digit);
            }
        }
        (digits.len(), digits)
    };
    loop {
        let order = match (a.peek(), b.peek()) {
            (Some(one), Some(other)) if one.is_ascii_digit() && other.is_ascii_digit() => {
                number(&mut a).cmp(&number(&mut b))
            }
            (None, None) => return Ordering::Equal,
            _ => a.next().cmp(&b.next()),
        };
        if order.is_ne() {
            return order;
        }
    }
}

fn without_trailing_zeros(numbers: &[u64]) -> Vec<u64> {
    let length = numbers.iter().rposition(|number| *number != 0).map_or(0, |last| last + 1);
    numbers[..length].to_vec()
}

/// The numbers of the release, as they were written.
fn numbers(bare: &str) -> Vec<String> {
    let release = bare.split_once('!').map_or(bare, |(_, release)| release);
    let end = release.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(release.len());
    release[..end].split('.').filter(|number| !number.is_empty()).map(str::to_owned).collect()
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        match (&self.kind, &other.kind) {
            (Kind::Pep440(a), Kind::Pep440(b)) => {
                let texts = a.local().iter().zip(b.local()).find(|(a, b)| a != b).map(|(a, b)| match (a, b) {
                    (LocalSegment::String(a), LocalSegment::String(b)) => by_numbers(a, b),
                    _ => Ordering::Equal,
                });
                let public = || a.clone().without_local().cmp(&b.clone().without_local());
                texts.filter(|order| order.is_ne() && public().is_eq()).unwrap_or_else(|| a.cmp(b))
            }
            (Kind::Semver(a), Kind::Semver(b)) => {
                a.cmp_precedence(b).then_with(|| by_numbers(&a.build, &b.build)).then_with(|| a.cmp(b))
            }
            // Commits have no meaningful order; they come before all releases.
            (Kind::Commit(a), Kind::Commit(b)) => a.cmp(b),
            (Kind::Commit(_), _) => Ordering::Less,
            (_, Kind::Commit(_)) => Ordering::Greater,
            (a, b) => self.rank().cmp(&other.rank()).then_with(|| a.scheme().cmp(&b.scheme())),
        }
    }
}

impl Kind {
    fn scheme(&self) -> u8 {
        match self {
            Self::Commit(_) => 0,
            Self::Semver(_) => 1,
            Self::Pep440(_) => 2,
        }
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Equal versions may be written differently (`1.0` and `1.0.0`).
impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Version {}

impl FromStr for Version {
    type Err = InvalidVersion;

    fn from_str(text: &str) -> Result<Self, InvalidVersion> {
        Self::parse(text, Scheme::Auto)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl serde::Serialize for Version {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Version {
        text.parse().unwrap()
    }

    #[test]
    fn versions_are_read_with_their_numbers() {
        for (text, tag, numbers, prerelease) in [
            ("0.9.26", "0.9.26", ["0", "9", "26"], false),
            ("v0.4.7", "0.4.7", ["0", "4", "7"], false),
            ("V1.0", "1.0", ["1", "0", "0"], false),
            ("7", "7", ["7", "0", "0"], false),
            ("2024.10", "2024.10", ["2024", "10", "0"], false),
            ("24.04", "24.04", ["24", "04", "0"], false),
            ("1!2.0.0", "1-2.0.0", ["2", "0", "0"], false),
            ("0.5.0rc1", "0.5.0rc1", ["0", "5", "0"], true),
            ("0.5.0a1", "0.5.0a1", ["0", "5", "0"], true),
            ("0.5.0.dev3", "0.5.0.dev3", ["0", "5", "0"], true),
            ("0.5.0.post1", "0.5.0.post1", ["0", "5", "0"], false),
            ("0.5.0.post1.dev2", "0.5.0.post1.dev2", ["0", "5", "0"], true),
            ("1.2.3+build5", "1.2.3-build5", ["1", "2", "3"], false),
            ("1.2.3-beta.1", "1.2.3-beta.1", ["1", "2", "3"], true),
            ("1.2.3-alpha.beta+x.y", "1.2.3-alpha.beta-x.y", ["1", "2", "3"], true),
            (" 1.2.3 ", "1.2.3", ["1", "2", "3"], false),
        ] {
            let version = version(text);
            assert_eq!(version.tag_text(), tag, "{text}");
            let read = [version.major(), version.minor(), version.patch()];
            assert_eq!(read, numbers.map(Some), "{text}");
            assert_eq!(version.is_prerelease(), prerelease, "{text}");
        }
        for text in ["", "v", "latest", "sha-", "sha-012345", "sha-xyzxyzx", "1.2.3 4", "1..2", "-1", "tool-v1.2.3"] {
            assert!(text.parse::<Version>().is_err(), "{text:?} was accepted");
        }
    }

    #[test]
    fn numbers_in_build_metadata_are_compared_as_numbers() {
        for scheme in [Scheme::Pep440, Scheme::Semver] {
            let rising = ["1.30.0", "1.30.0+k3s9", "1.30.0+k3s10", "1.30.0+k3s10.2", "1.30.0+rke2r1", "1.30.1+k3s1"];
            let rising = rising.map(|text| Version::parse(text, scheme).unwrap());
            assert!(rising.is_sorted_by(|lower, higher| lower < higher), "{rising:?}");
        }
        assert!(version("1.0+k3s9") < version("1.0.0+k3s10") && version("1.0+k3s9") == version("1.0.0+k3s9"));
    }

    #[test]
    fn versions_are_ordered_across_schemes() {
        let rising = [
            "sha-0123456",
            "0.9.9",
            "0.9.27.dev1",
            "0.9.27-alpha.beta",
            "0.9.27a1",
            "0.9.27rc1",
            "0.9.27",
            "0.9.27+k3s9",
            "0.9.27+k3s10",
            "0.9.27+local",
            "0.9.27.post1.dev1",
            "0.9.27.post1",
            "0.10.0",
            "1.0-rc1",
            "1.0.0",
            "1.0.1-x.y",
            "1.0.1",
            "2024.10",
            "1!0.1",
        ];
        for (at, lower) in rising.iter().enumerate() {
            for higher in &rising[at + 1..] {
                if ["0.9.27.dev1", "0.9.27a1"].contains(lower) && higher.contains("alpha.beta")
                    || lower.contains("alpha.beta")
                {
                    continue;
                }
                assert!(version(lower) < version(higher), "{lower} is not before {higher}");
            }
        }
        assert!(version("0.9.27-alpha.beta") < version("0.9.27"));
        assert_eq!(version("1.0"), version("v1.0.0"));
    }

    #[test]
    fn the_scheme_decides_what_a_dash_means() {
        assert!(!Version::parse("1.2.3-1", Scheme::Auto).unwrap().is_prerelease());
        assert!(Version::parse("1.2.3-1", Scheme::Semver).unwrap().is_prerelease());
        assert!(Version::parse("1.2.3-alpha.beta", Scheme::Pep440).is_err());
        assert!(Version::parse("1!2.0", Scheme::Semver).is_err());
    }

    #[test]
    fn development_builds_are_named_by_seven_digits() {
        let version = version("sha-0123456789ABCDEF0123456789abcdef01234567");
        assert_eq!(version.to_string(), "sha-0123456");
        assert_eq!(version.as_commit(), Some("0123456789abcdef0123456789abcdef01234567"));
        assert_eq!(version.major(), None);
    }
}
