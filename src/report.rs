//! The report of a run, for people and for the steps that follow. Pure: a [`Report`] in, texts out.
//!
//! - [`notes`]: a section of the release's notes,
//! - [`summary`]: the job's step summary,
//! - [`outputs`]: the action's outputs.

use std::time::Duration;

use serde::{Serialize, Serializer};

pub use crate::publish::Blobs;

use crate::image::{self, Digest, Platform, Reference, Repository, SourceName, Tag};

mod gather;
mod markdown;
pub mod notes;
pub mod outputs;
pub mod section;
pub mod summary;

/// The report of a run. As JSON, it is the action's output `images`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// How it ended.
    pub status: Status,
    /// The version, without a leading `v`.
    pub version: String,
    /// The scratch image.
    pub source: Source,
    /// The variants in the order of the matrix.
    pub variants: Vec<Variant>,
    /// Variants that the release before had and this one hasn't.
    pub dropped_variants: Vec<String>,
    /// Warnings, a sentence each.
    pub warnings: Vec<String>,
    /// Where the time went.
    pub stages: Vec<Stage>,
}

impl Report {
    /// The tool's name: the last word of its source's repository; for a source that is in none, of the first destination.
    #[must_use]
    pub fn tool(&self) -> &str {
        let destination = || Some(&self.variants.first()?.destinations.first()?.repository);
        let repository = self.source.reference.repository().or_else(destination);
        repository.and_then(|repository| repository.path().rsplit('/').next()).unwrap_or_default()
    }
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// A blob, manifest or tag was written.
    Published,
    /// No blob, manifest or tag was written.
    Unchanged,
    /// Nothing was written. Variants that aren't published yet were built and verified.
    DryRun,
}

impl Status {
    /// The status as the output `status` has it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Published => "published",
            Self::Unchanged => "unchanged",
            Self::DryRun => "dry-run",
        }
    }
}

/// The scratch image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Source {
    /// Its name: that of an image, `oci:` and the path of a layout, or `files`.
    pub reference: SourceName,
    /// Its digest when it was resolved.
    pub digest: Digest,
    /// The tags it was given itself; empty unless `source-tags` asks for them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub destinations: Vec<Destination>,
}

/// A variant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Variant {
    /// Its name: the most specific tag without the version.
    pub name: String,
    /// The digest of its index. [`Destination::digest`] may differ, where a destination has another image of this release. `None`
    /// if its exact tags are taken at every destination.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// Whether the image may be attested: this run has built it, or has recomposed it up to facts. Not so for variants with `run`
    /// lines that an earlier run has built.
    #[serde(skip)]
    pub is_vouched_for: bool,
    /// The image with its executables, where that isn't the report's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<OwnSource>,
    /// The image under it.
    pub base: Base,
    /// The destinations in the order of `images`. Never empty.
    pub destinations: Vec<Destination>,
    /// One entry for each manifest of the index, in its order.
    pub platforms: Vec<BuiltPlatform>,
    /// Why people should no longer use it, where the matrix says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deprecated: Option<String>,
}

/// The source that a variant names itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OwnSource {
    /// Its name.
    pub reference: SourceName,
    /// Its digest when it was resolved.
    pub digest: Digest,
}

/// The image under a variant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Base {
    /// Its name in the matrix, in full: `scratch` where there is none.
    pub reference: image::Base,
    /// Its digest when it was resolved. `scratch` has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
}

/// An image at one destination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Destination {
    /// The repository.
    pub repository: Repository,
    /// The digest under its exact tags there; `None` if all of them are taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// The tags that name this version, the most specific first.
    pub exact: Vec<Tag>,
    /// The rolling tags that show this image now.
    pub rolling: Vec<RollingTag>,
    /// All other tags of the plan, exact ones included.
    pub kept: Vec<KeptTag>,
    /// The tally of the blobs.
    pub blobs: Blobs,
}

impl Destination {
    /// The references under which the image can be pulled now, exact ones first.
    pub fn references(&self) -> impl Iterator<Item = Reference> {
        let rolling = self.rolling.iter().map(|rolling| &rolling.tag);
        self.exact.iter().chain(rolling).map(|tag| self.repository.tagged(tag.clone()))
    }
}

/// A tag that moves from release to release, and shows this one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RollingTag {
    /// The tag.
    pub tag: Tag,
    /// Its digest before this run, if this run has moved it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous: Option<Digest>,
}

/// A tag of the plan that doesn't show this release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KeptTag {
    /// The tag.
    pub tag: Tag,
    /// Why, as a predicate of the tag: `belongs to 0.9.27, which is newer`.
    pub reason: String,
}

/// An image of a variant for one platform.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BuiltPlatform {
    /// What it runs on.
    pub platform: Platform,
    /// The digest of its manifest.
    pub digest: Digest,
    /// What a pull transfers: config and compressed layers, in bytes.
    pub size: u64,
    /// The commands that were run in it. Base, executables and config are verified on every platform without a command.
    pub checks: Vec<Check>,
}

/// A command that was run in an image, or would have been.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// The command.
    pub command: String,
    /// The outcome. A failed check ends the run and is in no report.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// The outcome of a check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum Outcome {
    /// As expected.
    Passed,
    /// Not run: the image is published already, or can't be run here.
    Skipped {
        /// Why.
        reason: String,
    },
}

/// A stage of the run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Stage {
    /// Its verb.
    pub name: String,
    /// When it started, since the start of the run.
    #[serde(rename = "start_ms", serialize_with = "milliseconds")]
    pub start: Duration,
    /// How long it took.
    #[serde(rename = "duration_ms", serialize_with = "milliseconds")]
    pub duration: Duration,
}

fn milliseconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}
