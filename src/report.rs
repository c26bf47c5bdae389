//! The report of a run, for people and for the steps that follow. Pure: a [`Report`] in, texts out.
//!
//! - [`notes`]: a section of the release's notes,
//! - [`summary`]: the job's step summary, also of a run that failed,
//! - [`outcome`]: the line that the log ends with,
//! - [`outputs`]: the action's outputs.

use std::time::Duration;

use serde::{Serialize, Serializer};

pub use crate::publish::Blobs;

use crate::image::{self, Digest, Location, Platform, Reference, Repository, SourceName, Tag};

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
    /// How it ended.
    pub status: Status,
    /// The version, without a leading `v`.
    pub version: String,
    /// The scratch image. `None` where something else has built all variants and the source isn't named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// The variants in the order of the matrix.
    pub variants: Vec<Variant>,
    /// That GitHub has no published release of this version, as a clause: then no notes were written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unreleased: Option<String>,
    /// Variants that the release before had and this one hasn't.
    pub dropped_variants: Vec<String>,
    /// Warnings, a sentence each.
    pub warnings: Vec<String>,
    /// Where the time went.
    pub stages: Vec<Stage>,
    /// Variants that this release has and the one before hadn't; empty where nothing is known of that.
    #[serde(skip)]
    pub new_variants: Vec<String>,
    /// For a development build, what the templates of the next release make of an entry: `{version}-<tag>`.
    #[serde(skip)]
    pub next_tag_forms: Vec<String>,
    /// What the templates make of an entry of the matrix, which stands there as `<tag>`: `1.4-<tag>`.
    #[serde(skip)]
    pub tag_forms: Vec<String>,
    /// What became of the tags, at all destinations together.
    #[serde(skip)]
    pub tally: Tally,
}

impl Report {
    /// The name of the tool: the last part of the path of the first destination, else of the source.
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

    /// The repositories that are published to, each once.
    pub fn repositories(&self) -> impl Iterator<Item = &Repository> {
        let mut seen = std::collections::BTreeSet::new();
        let destinations = self.variants.iter().flat_map(|variant| &variant.destinations);
        destinations.map(|destination| &destination.repository).filter(move |repository| seen.insert(*repository))
    }
}

/// Numbers of tags, by what became of them; in a dry run, by what would become of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// They are new.
    pub created: usize,
    /// They named another image before.
    pub moved: usize,
    /// They were right already.
    pub unchanged: usize,
    /// They went to a newer version that they belong to.
    pub given: usize,
    /// They stay, and don't name this run's image.
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
    /// What a pull transfers on each platform that variants have, in bytes.
    #[serde(skip)]
    pub sizes: Vec<(Platform, u64)>,
}

/// A variant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Variant {
    /// Its name: the most specific tag without the version.
    pub name: String,
    /// Its entries in the matrix, which tags are made from.
    #[serde(skip)]
    pub entries: Vec<String>,
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
    /// The image under it, as far as an image that something else has built says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base: Option<Base>,
    /// The image that it is, where something else has built it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<Copied>,
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

/// An image that something else has built.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Copied {
    /// Where the matrix says it is.
    pub reference: Location,
    /// Its digest when it was resolved.
    pub digest: Digest,
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
    /// The tags under which the image can be pulled now, exact ones first.
    pub fn tags(&self) -> impl Iterator<Item = &Tag> {
        self.exact.iter().chain(self.rolling.iter().map(|rolling| &rolling.tag))
    }

    /// The same with the repository.
    pub fn references(&self) -> impl Iterator<Item = Reference> {
        self.tags().map(|tag| self.repository.tagged(tag.clone()))
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
