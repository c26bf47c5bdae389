//! The inputs of the action, parsed: each has a type and a default.

pub(crate) mod choice;
pub(crate) mod list;
mod read;

pub use read::secrets;

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroUsize;

use crate::compose::binaries::Binaries;
use crate::credentials::Credentials;
use crate::facts::Stated;
use crate::hint::Flaw;
use crate::image::{EnvValue, Repository};
use crate::plan::{PlannedAnnotations, Platforms, Template, Text, WrittenSource};
use crate::secret::Secret;
use crate::version::{Scheme, VersionSet};

/// The inputs, parsed.
#[derive(Clone, Debug)]
pub struct Inputs {
    /// The version as it was written.
    pub version: Option<String>,
    /// How the repository's tags name a version.
    pub version_pattern: VersionPattern,
    /// The scheme by which versions are parsed.
    pub version_scheme: Scheme,
    /// The source, with placeholders; `None` for the default, which is the first of `images`.
    pub source: Option<WrittenSource>,
    /// The templates for the source's own tags.
    pub source_tags: Vec<Template>,
    /// The executables, for variants that don't name their own.
    pub binaries: Binaries,
    /// The matrix; `None` if it is missing, which has been reported.
    pub matrix: Option<MatrixText>,
    /// The record with the images of variants for which the matrix names none.
    pub images_from: Option<RecordText>,
    /// The templates for the tags of variants.
    pub tag_templates: Vec<Template>,
    /// The platforms, for variants that don't name their own.
    pub platforms: Platforms,
    /// Environment variables for all variants.
    pub env: BTreeMap<String, EnvValue>,
    /// Labels for all variants.
    pub labels: BTreeMap<String, String>,
    /// Annotations for all variants.
    pub annotations: PlannedAnnotations,
    /// Facts about the tool that override those of the source.
    pub stated: Stated,
    /// The repositories to publish to.
    pub images: Vec<Repository>,
    /// The credentials for registries.
    pub credentials: Credentials,
    /// The token for GitHub.
    pub github_token: Option<Secret>,
    /// Registries that may be spoken to without TLS, besides those on loopback.
    pub insecure_registries: Vec<String>,
    /// Whether the engine builds the images.
    pub builder: Builder,
    /// Whether the input `dry-run` is set.
    pub dry_run: bool,
    /// Whether a pull request of the same repository pushes.
    pub pull_request: PullRequest,
    /// Whether variants are run before they are published.
    pub verify: bool,
    /// When rolling tags move.
    pub rolling: Rolling,
    /// Whether taken exact tags are kept, replaced, or fail the run.
    pub on_conflict: OnConflict,
    /// Versions that own no rolling tag.
    pub ignore_versions: VersionSet,
    /// Whether the release notes get a section, and how detailed it is.
    pub release_notes: ReleaseNotes,
    /// How many requests may be in flight, and how many builds may run, in parallel.
    pub concurrency: NonZeroUsize,
}

/// The text of a matrix or of a record of images, with its name for messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MatrixText {
    /// The input or the file that the text comes from.
    pub name: Text,
    /// The whole text.
    pub text: String,
}

/// The text of a record of images.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordText {
    /// The text and the path of the file.
    Read(MatrixText),
    /// The file can't be read, which has been reported.
    Unreadable,
}

/// The input `builder`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Builder {
    /// The Docker Engine builds the images.
    #[default]
    Engine,
    /// Nothing builds them: manifests are composed of layers in registries.
    Registry,
}

/// The input `pull-request`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PullRequest {
    /// Nothing is written.
    #[default]
    DryRun,
    /// Development images are pushed, unless the pull request comes from a fork.
    Push,
}

/// The input `rolling`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rolling {
    /// A rolling tag never moves back.
    #[default]
    Guard,
    /// Every rolling tag moves.
    Always,
    /// No rolling tag moves.
    Never,
}

/// The input `on-conflict`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnConflict {
    /// The tag is left alone.
    #[default]
    Keep,
    /// The run fails.
    Fail,
    /// The tag moves to this run's image.
    Replace,
}

/// The input `release-notes`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReleaseNotes {
    /// A short section: how to pull, a table, and the digests.
    #[default]
    Compact,
    /// A section with the details of each variant as well.
    Full,
    /// No section.
    Off,
}

/// How the repository's tags name a version: `tool-v{version}`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VersionPattern {
    before: String,
    after: String,
}

impl VersionPattern {
    /// Whether tags consist of nothing but the version.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        *self == Self::default()
    }

    /// Whether a `v` comes before the version.
    #[must_use]
    pub fn has_v(&self) -> bool {
        self.before.ends_with(['v', 'V'])
    }

    /// The version in `tag`; `None` if the tag belongs to another tool.
    #[must_use]
    pub fn version_in<'a>(&self, tag: &'a str) -> Option<&'a str> {
        tag.strip_prefix(self.before.as_str())?.strip_suffix(self.after.as_str()).filter(|text| !text.is_empty())
    }

    /// The tag for `version`.
    #[must_use]
    pub fn tag(&self, version: &str) -> String {
        format!("{}{version}{}", self.before, self.after)
    }
}

impl fmt::Display for VersionPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{{version}}{}", self.before, self.after)
    }
}

impl std::str::FromStr for VersionPattern {
    type Err = Flaw;

    fn from_str(text: &str) -> Result<Self, Flaw> {
        match text.split("{version}").collect::<Vec<_>>()[..] {
            [before, after] => Ok(Self { before: before.to_owned(), after: after.to_owned() }),
            _ => Err(Flaw::new(
                format!("`{text}` doesn't have `{{version}}` once"),
                "a pattern looks like `tool-v{version}` or `tool@{version}`",
            )),
        }
    }
}
