//! The inputs of the action, read: every one has a type, and its default.

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
use crate::image::{EnvValue, Repository};
use crate::plan::{PlannedAnnotations, Platforms, Template, Text, WrittenSource};
use crate::secret::Secret;
use crate::version::{Scheme, VersionSet};

/// The inputs, read.
#[derive(Clone, Debug)]
pub struct Inputs {
    /// The version as it was written.
    pub version: Option<String>,
    /// How versions are written in tags of the repository.
    pub version_pattern: VersionPattern,
    /// How versions are read.
    pub version_scheme: Scheme,
    /// The source, with placeholders. `None`: the first of `images`.
    pub source: Option<WrittenSource>,
    /// Templates of the source's own tags.
    pub source_tags: Vec<Template>,
    /// The executables of variants that don't name theirs.
    pub binaries: Binaries,
    /// The matrix. `None` where it is missing, which is reported.
    pub matrix: Option<MatrixText>,
    /// The record with the images of variants that the matrix doesn't name any for.
    pub images_from: Option<RecordText>,
    /// Templates of the tags of variants.
    pub tag_templates: Vec<Template>,
    /// The platforms of variants that don't name theirs.
    pub platforms: Platforms,
    /// Environment variables of all variants.
    pub env: BTreeMap<String, EnvValue>,
    /// Labels of all variants.
    pub labels: BTreeMap<String, String>,
    /// Annotations of all variants.
    pub annotations: PlannedAnnotations,
    /// Facts about the tool.
    pub stated: Stated,
    /// The destinations.
    pub images: Vec<Repository>,
    /// Who we are at registries.
    pub credentials: Credentials,
    /// The token for GitHub.
    pub github_token: Option<Secret>,
    /// Registries without TLS, beside those on loopback.
    pub insecure_registries: Vec<String>,
    /// What builds.
    pub builder: Builder,
    /// Whether `dry-run` was asked for.
    pub dry_run: bool,
    /// What a pull request of the same repository does.
    pub pull_request: PullRequest,
    /// Whether variants are run before they are published.
    pub verify: bool,
    /// When rolling tags move.
    pub rolling: Rolling,
    /// Whether an exact tag that is taken is kept, replaced, or ends the run.
    pub on_conflict: OnConflict,
    /// Versions that own no rolling tag.
    pub ignore_versions: VersionSet,
    /// Whether the release's notes get a section, and how long it is.
    pub release_notes: ReleaseNotes,
    /// How many requests and builds may run at once.
    pub concurrency: NonZeroUsize,
}

/// The text of a matrix or of a record of images, and what to call it in messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MatrixText {
    /// The input, or the file.
    pub name: Text,
    /// The text.
    pub text: String,
}

/// The text of a record of images.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordText {
    /// The text, and the path of the file.
    Read(MatrixText),
    /// The file can't be read, which is reported.
    Unreadable,
}

/// `builder`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Builder {
    /// The Docker Engine builds.
    #[default]
    Engine,
    /// Manifests are put together of layers in registries.
    Registry,
}

/// `pull-request`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PullRequest {
    /// Nothing is written.
    #[default]
    DryRun,
    /// Development images are pushed, unless the pull request is one of a fork.
    Push,
}

/// `rolling`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rolling {
    /// A rolling tag never goes back.
    #[default]
    Guard,
    /// Every rolling tag moves.
    Always,
    /// None does.
    Never,
}

/// `on-conflict`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnConflict {
    /// What is published stays.
    #[default]
    Keep,
    /// The run fails.
    Fail,
    /// The tag moves.
    Replace,
}

/// `release-notes`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReleaseNotes {
    /// A short section: what to pull, a table, and the digests.
    #[default]
    Compact,
    /// The same with everything about each variant.
    Full,
    /// No section.
    Off,
}

/// How a version is written in a tag of the repository: `tool-v{version}`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VersionPattern {
    before: String,
    after: String,
}

impl VersionPattern {
    /// Whether tags are versions and nothing else.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        *self == Self::default()
    }

    /// The version in `tag`; `None` for the tag of another tool.
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
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split("{version}").collect::<Vec<_>>()[..] {
            [before, after] => Ok(Self { before: before.to_owned(), after: after.to_owned() }),
            _ => Err(format!(
                "`{text}` doesn't have `{{version}}` once\nhint: a pattern looks like `tool-v{{version}}` or `tool@{{version}}`"
            )),
        }
    }
}
