//! Names of images: repository, tag, digest and the references made of them.
//!
//! The grammar is that of the [distribution specification](https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#pulling-manifests);
//! the short forms (`alpine`, `astral/uv:0.9`) are read as Docker reads them.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::hint::{Hinted, Hints};
use crate::loopback::is_loopback;
use crate::quote::quoted;

/// The registry that is meant by a name without one.
pub const DOCKER_HUB: &str = "docker.io";

/// Why a text isn't the name of an image.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    /// Not `[A-Za-z0-9_][A-Za-z0-9._-]{0,127}`.
    #[error(
        "`{}` is not a valid tag",
        quoted(.0)
    )]
    Tag(String),
    /// Not `sha256:` and 64 hexadecimal digits.
    #[error("`{}` is not a digest", quoted(.0))]
    Digest(String),
    /// Not a registry and a path.
    #[error(
        "`{}` is not a valid repository",
        quoted(.0)
    )]
    Repository(String),
    /// Not the path of an OCI layout, with or without an image's name.
    #[error("`{}` does not name an OCI layout", quoted(.0))]
    Layout(String),
}

impl Hinted for InvalidName {
    fn hints(&self) -> Hints {
        match self {
            Self::Tag(_) => {
                "a tag has 1 to 128 letters, digits, `_`, `.` and `-`, and starts with none of the last two".into()
            }
            Self::Digest(_) => "a digest is `sha256:` followed by 64 lower-case hexadecimal digits".into(),
            Self::Repository(text) => match corrected(text) {
                Some(repository) => format!("write `{repository}`").into(),
                None => "a repository looks like `ghcr.io/astral-sh/uv`, in lower case and without a tag".into(),
            },
            Self::Layout(_) => {
                "write `oci:` and the path of a folder or a tar archive, such as `oci:dist/image.tar`".into()
            }
        }
    }
}

/// The repository that `text` probably means: without a scheme, a tag and capital letters.
fn corrected(text: &str) -> Option<String> {
    let name = text.trim().trim_end_matches('/');
    let name = name.strip_prefix("https://").or_else(|| name.strip_prefix("docker://")).unwrap_or(name);
    let (path, last) = name.rsplit_once('/').unwrap_or(("", name));
    let last = last.split(['@', ':']).next().unwrap_or_default();
    let name = if path.is_empty() { last.to_lowercase() } else { format!("{path}/{last}").to_lowercase() };
    Repository::from_str(&name).is_ok().then_some(name)
}

/// A tag that every registry accepts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Tag(String);

impl Tag {
    /// The tag without a repository: `0.9.26-alpine`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Tag {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let mut bytes = text.bytes();
        let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        let starts = bytes.next().is_some_and(word);
        if starts && text.len() <= 128 && bytes.all(|b| word(b) || b == b'.' || b == b'-') {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidName::Tag(text.to_owned()))
        }
    }
}

/// The SHA-256 digest of some bytes: `sha256:…`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(String);

impl Digest {
    /// Hashes `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self::from_hash(Sha256::new_with_prefix(bytes))
    }

    /// The digest of the bytes that were written to `hash`.
    #[must_use]
    pub fn from_hash(hash: Sha256) -> Self {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = String::with_capacity(71);
        text.push_str("sha256:");
        for byte in hash.finalize() {
            text.push(char::from(DIGITS[usize::from(byte >> 4)]));
            text.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
        Self(text)
    }

    /// The digest with its algorithm: `sha256:…`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The hexadecimal digits without the algorithm.
    #[must_use]
    pub fn hex(&self) -> &str {
        &self.0["sha256:".len()..]
    }

    /// The first twelve hexadecimal digits, for people.
    #[must_use]
    pub fn short(&self) -> &str {
        &self.hex()[..12]
    }
}

impl FromStr for Digest {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let hex = text.strip_prefix("sha256:").unwrap_or_default();
        if hex.len() == 64 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidName::Digest(text.to_owned()))
        }
    }
}

/// A repository in a registry. It is always written in full: `docker.io/library/alpine`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Repository {
    registry: String,
    path: String,
}

impl Repository {
    /// The registry's host, and its port if there is one. `docker.io` for Docker Hub.
    #[must_use]
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The name within the registry: `library/alpine`.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The last segment of the path: `alpine`.
    #[must_use]
    pub fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }

    /// Whether the registry is on this machine, so that its name means nothing to others.
    #[must_use]
    pub fn is_on_loopback(&self) -> bool {
        url::Url::parse(&format!("http://{}/", self.registry)).is_ok_and(|url| is_loopback(&url))
    }

    /// The reference to `tag` in this repository.
    #[must_use]
    pub fn tagged(&self, tag: Tag) -> Reference {
        Reference { repository: self.clone(), tag: Some(tag), digest: None }
    }

    /// The reference to `digest` in this repository.
    #[must_use]
    pub fn pinned(&self, digest: Digest) -> PinnedReference {
        PinnedReference { repository: self.clone(), digest }
    }
}

impl FromStr for Repository {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let invalid = || InvalidName::Repository(text.to_owned());
        let (registry, path) = match text.split_once('/') {
            Some((host, path)) if is_host(host) => (host, path.to_owned()),
            Some(_) => (DOCKER_HUB, text.to_owned()),
            None => (DOCKER_HUB, format!("library/{text}")),
        };
        let registry = match registry {
            "index.docker.io" | "registry-1.docker.io" => DOCKER_HUB,
            other => other,
        };
        let path = match path.as_str() {
            bare if registry == DOCKER_HUB && !bare.contains('/') => format!("library/{bare}"),
            _ => path,
        };
        let well_formed =
            path.len() + registry.len() < 255 && path.split('/').all(is_path_component) && is_authority(registry);
        if well_formed { Ok(Self { registry: registry.to_owned(), path }) } else { Err(invalid()) }
    }
}

/// Docker's rule to tell registries (`localhost/x`, `ghcr.io/x`) from paths on Docker Hub (`astral/uv`).
fn is_host(first_component: &str) -> bool {
    first_component == "localhost" || first_component.contains(['.', ':']) || first_component.starts_with('[')
}

/// A host name or address with an optional port, without anything that would change the meaning of a URL.
fn is_authority(registry: &str) -> bool {
    url::Url::parse(&format!("https://{registry}/")).is_ok_and(|url| {
        let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
        let host = url.host_str().unwrap_or_default();
        registry.eq_ignore_ascii_case(&format!("{host}{port}")) || registry.eq_ignore_ascii_case(&format!("{host}:443"))
    })
}

/// Matches `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`.
fn is_path_component(text: &str) -> bool {
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bounded = text.bytes().next().is_some_and(alphanumeric) && text.bytes().last().is_some_and(alphanumeric);
    let separators = text.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    bounded
        && separators.filter(|s| !s.is_empty()).all(|s| matches!(s, "." | "_" | "__") || s.bytes().all(|b| b == b'-'))
}

/// A reference that may move: a tag, a digest, or both (then the digest counts). Without either, `latest` is meant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Reference {
    repository: Repository,
    tag: Option<Tag>,
    digest: Option<Digest>,
}

impl Reference {
    /// The repository.
    #[must_use]
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// The tag, if there is one.
    #[must_use]
    pub fn tag(&self) -> Option<&Tag> {
        self.tag.as_ref()
    }

    /// The digest, if there is one.
    #[must_use]
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// What to request from the registry: the digest if there is one, else the tag.
    #[must_use]
    pub fn target(&self) -> &str {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.as_str(),
            (None, Some(tag)) => tag.as_str(),
            (None, None) => unreachable!("a reference is parsed with a tag or a digest"),
        }
    }
}

impl FromStr for Reference {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(digest.parse()?)),
            None => (text, None),
        };
        // A colon before the last slash precedes the registry's port.
        let colon = name.rfind(':').filter(|&colon| !name[colon..].contains('/'));
        let (repository, tag) = match colon {
            Some(colon) => (&name[..colon], Some(name[colon + 1..].parse()?)),
            None if digest.is_none() => (name, Some("latest".parse()?)),
            None => (name, None),
        };
        Ok(Self { repository: repository.parse()?, tag, digest })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

/// A reference by digest, which can't move.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PinnedReference {
    repository: Repository,
    digest: Digest,
}

impl PinnedReference {
    /// The repository.
    #[must_use]
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// The digest.
    #[must_use]
    pub fn digest(&self) -> &Digest {
        &self.digest
    }
}

impl From<PinnedReference> for Reference {
    fn from(pinned: PinnedReference) -> Self {
        Self { repository: pinned.repository, tag: None, digest: Some(pinned.digest) }
    }
}

impl FromStr for PinnedReference {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let reference: Reference = text.parse()?;
        let digest = reference.digest.ok_or_else(|| InvalidName::Digest(text.to_owned()))?;
        Ok(Self { repository: reference.repository, digest })
    }
}

impl fmt::Display for PinnedReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.repository, self.digest)
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.path)
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Borrow<str> for Tag {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// Serde reads and writes these types as their text.
macro_rules! as_text {
    ($($type:ty),*) => {$(
        impl TryFrom<String> for $type {
            type Error = InvalidName;

            fn try_from(text: String) -> Result<Self, InvalidName> {
                text.parse()
            }
        }

        impl From<$type> for String {
            fn from(value: $type) -> Self {
                value.to_string()
            }
        }
    )*};
}
as_text!(Tag, Digest, Repository, Reference, PinnedReference);

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn references_are_written_in_full() {
        for (text, full) in [
            ("alpine", "docker.io/library/alpine:latest"),
            ("alpine:3.23", "docker.io/library/alpine:3.23"),
            ("astral/uv:0.9", "docker.io/astral/uv:0.9"),
            ("docker.io/alpine", "docker.io/library/alpine:latest"),
            ("index.docker.io/library/alpine", "docker.io/library/alpine:latest"),
            ("localhost/uv", "localhost/uv:latest"),
            ("127.0.0.1:5000/a/b__c:x", "127.0.0.1:5000/a/b__c:x"),
            ("[::1]:5000/a", "[::1]:5000/a:latest"),
            ("ghcr.io/astral-sh/uv:0.9.26", "ghcr.io/astral-sh/uv:0.9.26"),
        ] {
            let reference: Reference = text.parse().unwrap();
            assert_eq!(reference.to_string(), full);
            assert_eq!(full.parse::<Reference>().unwrap(), reference, "{full} reads back");
        }
    }

    #[test]
    fn a_digest_takes_precedence_over_a_tag() {
        let reference: Reference = format!("python:3.13@sha256:{HEX}").parse().unwrap();
        assert_eq!(reference.target(), format!("sha256:{HEX}"));
        assert_eq!(reference.tag().unwrap().as_str(), "3.13");
        assert_eq!(reference.to_string(), format!("docker.io/library/python:3.13@sha256:{HEX}"));
    }

    #[test]
    fn invalid_references_are_refused() {
        for text in [
            "",
            ":",
            "/",
            "Alpine",
            "alpine:",
            "alpine:-x",
            "ghcr.io/",
            "ghcr.io//uv",
            "a@b",
            "a b",
            "ghcr.io:99999/a",
            "user@host.io/a",
            "ghcr.io/a?b=c",
            "ghcr.io/../a",
            "a/-b",
            "a/b-",
            "a/b..c",
            "a/b___c",
            "alpine@sha256:abc",
        ] {
            assert!(text.parse::<Reference>().is_err(), "{text:?} was accepted");
        }
    }

    #[test]
    fn tags_follow_the_grammar() {
        let longest = "a".repeat(128);
        for text in ["latest", "0.9.26", "_a", "A-b.c_d", &longest] {
            assert_eq!(text.parse::<Tag>().unwrap().to_string(), text);
        }
        let too_long = "a".repeat(129);
        for text in ["", ".a", "-a", "a+b", "1!2.0", "a/b", "ü", &too_long] {
            assert!(text.parse::<Tag>().is_err(), "{text:?} was accepted");
        }
    }

    #[test]
    fn the_digest_of_nothing_is_the_known_one() {
        assert_eq!(Digest::of(b"").hex(), HEX);
        assert!(format!("sha256:{}", HEX.to_uppercase()).parse::<Digest>().is_err());
        assert!(format!("sha512:{HEX}").parse::<Digest>().is_err());
    }
}
