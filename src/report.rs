//! The report of a run, for people and for the steps that follow. Pure: a [`Report`] in, texts out.
//!
//! - [`notes`]: a section of the release notes,
//! - [`summary`]: the job's step summary, also of a run that failed,
//! - [`outcome`]: the line that the log ends with,
//! - [`outputs`]: the action's outputs.

use std::time::Duration;

use serde::{Serialize, Serializer};

pub use crate::publish::Blobs;

use crate::image::{self, Digest, Location, Platform, Reference, Repository, SourceName, Tag};

pub mod difference;
mod failure;
mod gather;
mod markdown;
pub mod notes;
pub mod outcome;
pub mod outputs;
mod page;
mod record;
pub mod section;
pub mod summary;
mod tags;

/// The report of a run. As JSON, it is the action's output `images`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Whether anything was published.
    pub status: Status,
    /// The version, without a leading `v`.
    pub version: String,
    /// The scratch image. `None` if all variants were built elsewhere and the source isn't named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// The variants in the order of the matrix.
    pub variants: Vec<Variant>,
    /// A clause that says that GitHub has no published release of this version: then no notes were written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unreleased: Option<String>,
    /// Variants that the previous release had and this one lacks.
    pub dropped_variants: Vec<String>,
    /// Warnings, a sentence each.
    pub warnings: Vec<String>,
    /// How long each stage took.
    pub stages: Vec<Stage>,
    /// Variants that the previous release lacked; empty if nothing is known about it.
    #[serde(skip)]
    pub new_variants: Vec<String>,
    /// For a pull request, its changes.
    #[serde(skip)]
    pub comparison: Option<Comparison>,
    /// For a development build, the tags that the templates of the next release would make: `{version}-<tag>`.
    #[serde(skip)]
    pub next_tag_forms: Vec<String>,
    /// The tags that the templates make, with `<tag>` for an entry of the matrix: `1.4-<tag>`.
    #[serde(skip)]
    pub tag_forms: Vec<String>,
    /// The outcome of the tags, at all destinations together.
    #[serde(skip)]
    pub tally: Tally,
}

impl Report {
    /// The name of the tool: the last path segment of the first destination, else of the source.
    #[must_use]
    pub fn tool(&self) -> &str {
        let source = self.source.as_ref().and_then(|source| source.reference.repository());
        let repository = self.repositories().next().or(source);
        repository.map(Repository::name).unwrap_or_default()
    }

    /// Where the source is published; empty unless `source-tags` asks for it.
    #[must_use]
    pub fn source_destinations(&self) -> &[Destination] {
        self.source.as_ref().map(|source| &source.destinations[..]).unwrap_or_default()
    }

    /// The repositories that are published to, without duplicates.
    pub fn repositories(&self) -> impl Iterator<Item = &Repository> {
        let mut seen = std::collections::BTreeSet::new();
        let destinations = self.variants.iter().flat_map(|variant| &variant.destinations);
        destinations.map(|destination| &destination.repository).filter(move |repository| seen.insert(*repository))
    }
}

/// The plan of a pull request, compared with that of the branch that it is to be merged into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// Both plans are known.
    Known {
        /// The commit of the branch.
        base: String,
        /// A line for each difference.
        differences: Vec<String>,
    },
    /// Why the other plan isn't known, as a clause.
    Unknown(String),
}

/// Numbers of tags by their outcome; in a dry run, by their expected outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Tags that didn't exist before.
    pub created: usize,
    /// Tags that named another image before.
    pub moved: usize,
    /// Tags that already named the right image.
    pub unchanged: usize,
    /// Tags that were given to the newer version that they belong to.
    pub given: usize,
    /// Tags that were left alone, and don't name this run's image.
    pub kept: usize,
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
    /// The value of the output `status`.
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
    /// The name of an image, `oci:` and the path of a layout, or `files`.
    pub reference: SourceName,
    /// The digest that it was resolved to.
    pub digest: Digest,
    /// The source's own tags; empty unless `source-tags` asks for them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub destinations: Vec<Destination>,
    /// The bytes that a pull transfers on each platform that variants have.
    #[serde(skip)]
    pub sizes: Vec<(Platform, u64)>,
}

/// A variant, as it was published.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Variant {
    /// The most specific tag without the version: `alpine3.23`.
    pub name: String,
    /// Its entries in the matrix, which tags are made from.
    #[serde(skip)]
    pub entries: Vec<String>,
    /// The digest of its index; `None` if its exact tags are taken at every destination. [`Destination::digest`] may
    /// differ, if a destination already has another image of this release.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// Whether the image may be attested: this run built it, or recomposed it exactly but for the facts. Variants with
    /// `run` lines that an earlier run built don't qualify.
    #[serde(skip)]
    pub is_vouched_for: bool,
    /// The image with its executables, if it isn't the report's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<OwnSource>,
    /// Its base image. For an image built elsewhere, the one that its annotations name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base: Option<Base>,
    /// The image that it is a copy of, if it was built elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<Copied>,
    /// Its tags and digest at each destination, in the order of `images`. Never empty.
    pub destinations: Vec<Destination>,
    /// One entry for each manifest of the index, in its order.
    pub platforms: Vec<BuiltPlatform>,
    /// Why people should stop using it, if the matrix says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deprecated: Option<String>,
}

/// The source of a variant that names its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OwnSource {
    /// The name of an image, `oci:` and the path of a layout, or `files`.
    pub reference: SourceName,
    /// The digest that it was resolved to.
    pub digest: Digest,
}

/// The base image of a variant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Base {
    /// Its full name; `scratch` if there is none.
    pub reference: image::Base,
    /// The digest that it was resolved to; `None` for `scratch`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
}

/// An image that was built elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Copied {
    /// The place that the matrix names.
    pub reference: Location,
    /// The digest that it was resolved to.
    pub digest: Digest,
}

/// An image at one destination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Destination {
    /// The repository.
    pub repository: Repository,
    /// The digest that its exact tags name there; `None` if all of them are taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// The tags that name this version, the most specific first.
    pub exact: Vec<Tag>,
    /// The rolling tags that name this image now.
    pub rolling: Vec<RollingTag>,
    /// All other tags of the plan, exact ones included.
    pub kept: Vec<KeptTag>,
    /// How many blobs were there already, mounted, copied or pushed.
    pub blobs: Blobs,
}

impl Destination {
    /// The tags under which the image can be pulled now, first the exact ones.
    pub fn tags(&self) -> impl Iterator<Item = &Tag> {
        self.exact.iter().chain(self.rolling.iter().map(|rolling| &rolling.tag))
    }

    /// The same tags, with the repository.
    pub fn references(&self) -> impl Iterator<Item = Reference> {
        self.tags().map(|tag| self.repository.tagged(tag.clone()))
    }
}

/// A tag that moves from release to release, and now names this one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RollingTag {
    /// The tag without the repository.
    pub tag: Tag,
    /// The digest that it named before this run, if this run moved it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous: Option<Digest>,
}

/// A tag of the plan that doesn't name this release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KeptTag {
    /// The tag without the repository.
    pub tag: Tag,
    /// The reason, as a predicate of the tag: `belongs to 0.9.27, which is newer`.
    pub reason: String,
}

/// An image of a variant for one platform.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BuiltPlatform {
    /// The platform that it runs on.
    pub platform: Platform,
    /// The digest of its manifest.
    pub digest: Digest,
    /// The bytes that a pull transfers: the config and the compressed layers.
    pub size: u64,
    /// The commands that were run in it. Base, executables and config are verified on every platform without running
    /// anything.
    pub checks: Vec<Check>,
}

/// A command that was run in an image, or was skipped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// The command line, as in the log.
    pub command: String,
    /// Its outcome. A failed check ends the run, so no report contains one.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// The outcome of a check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum Outcome {
    /// It succeeded.
    Passed,
    /// Not run: the image has been published already, or can't be run here.
    Skipped {
        /// The reason, as a clause.
        reason: String,
    },
}

/// A stage of the run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Stage {
    /// Its name: `resolve`, `push`.
    pub name: String,
    /// The time from the start of the run to the start of the stage.
    #[serde(rename = "start_ms", serialize_with = "milliseconds")]
    pub start: Duration,
    /// How long it took.
    #[serde(rename = "duration_ms", serialize_with = "milliseconds")]
    pub duration: Duration,
}

fn milliseconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}
