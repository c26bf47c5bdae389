//! Who owns a tag: what every tag of the plan is to name at every destination, and why.
//!
//! Pure: [`decide`] is a function of the run's intentions ([`Wanted`]) and of the facts that were looked up about the
//! destinations ([`Survey`]). Facts that it lacks are returned as [`Question`]s; the caller answers them and calls again. So
//! every request decides something, and a decision can be printed with its evidence.
//!
//! A tag is text, and text proves nothing: `22`, `20260110` and `1.2.3-22` all read as versions. Text only *nominates* a
//! version. The evidence is the image that the tag names, and of the image only our own annotations ([`VERSION_ANNOTATION`],
//! [`BASE_CREATED_ANNOTATION`]). Labels come from bases and from other tools, and are never read.
//!
//! | an exact tag names | that is | [`exact`] |
//! | --- | --- | --- |
//! | nothing | | it is written |
//! | what the run composes | *ours* | nothing to do |
//! | this release on another base | *begun* | the release is finished with that image |
//! | anything else | *taken* | `on-conflict` decides; kept, it holds the rolling tags of its entry as well |
//!
//! A rolling tag belongs to the newest final version of its series: this one, or a newer one whose exact tag is
//! [proved](Evidence). For a newer version that is only shown or likely, the tag stays as it is: [`rolling`].

pub mod evidence;
mod exact;
mod nominees;
mod rolling;
mod verdict;

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};

pub use evidence::{Kinship, Question, SeenImage, Standing, Survey};
pub use nominees::{Grammar, Nominees};
pub use verdict::{Decision, Decisions, Evidence, Image, Reason, TagKind, Verdict};

use crate::action::inputs::{OnConflict, Rolling};
use crate::image::{Digest, Platform, Repository, Tag};
use crate::plan::Tags;
use crate::version::{Version, VersionSet};
use evidence::{Asker, Lack};
use exact::Placed;

/// The annotation of our indexes with their version, as it was written: `0.9.26`.
pub const VERSION_ANNOTATION: &str = "io.github.astral-sh.publish-variants.version";
/// The annotation of a variant's index with the date of its base: the newest `created` of the base's configs, in RFC 3339.
pub const BASE_CREATED_ANNOTATION: &str = "io.github.astral-sh.publish-variants.base.created";

/// The run's intentions: the parts of the plan and of the resolved images that decisions about tags depend on.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The version that is being published.
    pub version: Version,
    /// Why the version moves no rolling tag: `2.0.0rc1 is a pre-release`. `None` for a final release.
    pub not_final: Option<String>,
    /// Versions that own no rolling tag.
    pub ignored: VersionSet,
    /// When rolling tags move.
    pub rolling: Rolling,
    /// Whether exact tags that are taken are kept, replaced, or end the run.
    pub on_conflict: OnConflict,
    /// The repositories that tags are written to.
    pub destinations: Vec<Repository>,
    /// The images that get tags: the variants in the order of the plan, then the source if it has tags.
    pub artifacts: Vec<Artifact>,
    /// How versions are read out of exact tags.
    pub grammar: Grammar,
}

/// An image that gets tags: a variant, or the source.
#[derive(Clone, Debug)]
pub struct Artifact {
    /// The variant's name; `None` for the source.
    pub variant: Option<String>,
    /// Its tags.
    pub tags: Tags,
    /// The index that the run composes. `None` before the build of a variant with `run` lines.
    pub composed: Option<Digest>,
    /// The source's index as it was resolved, which also counts as ours. `None` for variants.
    pub as_resolved: Option<Digest>,
    /// The newest `created` of the base's configs.
    pub base_created: Option<DateTime<Utc>>,
    /// The platforms of the composed index.
    pub platforms: BTreeSet<Platform>,
    /// Whether platforms may be missing that nobody asked to leave out: those of the source that the base lacks, and any of an image that
    /// something else has built.
    pub leaves_out_platforms: bool,
}

/// Decides about every tag of the plan at every destination.
///
/// # Errors
/// The questions that have to be answered first. Answers may raise further questions; their number is finite.
pub fn decide(wanted: &Wanted, survey: &Survey) -> Result<Decisions, BTreeSet<Question>> {
    let asker = Asker::new(wanted, survey);
    // The list of tags is requested after every tag of the plan was looked at, so a tag that appears in between is in the list.
    for (destination, artifact) in wanted.everywhere() {
        for tag in artifact.tags.iter() {
            let _ = asker.tag(destination, tag);
        }
    }
    asker.nothing_open()?;
    if wanted.competes() {
        for destination in &wanted.destinations {
            let _ = asker.nominees(destination);
        }
        asker.nothing_open()?;
    }
    // The image of this release depends on all exact tags, so these come before any decision.
    let placed: Vec<Placed> = wanted.artifacts.iter().map(|artifact| Placed::of(&asker, artifact)).collect();
    asker.nothing_open()?;
    let mut tags = Vec::new();
    for (number, (artifact, placed)) in wanted.artifacts.iter().zip(&placed).enumerate() {
        for destination in &wanted.destinations {
            let mut decide = |tag: &Tag, kind, verdict| {
                let (destination, tag) = (destination.clone(), tag.clone());
                let now = asker.tag(&destination, &tag).ok().flatten();
                tags.push(Decision { destination, artifact: number, tag, kind, now, verdict });
            };
            for tag in &artifact.tags.exact {
                decide(tag, TagKind::Exact, placed.verdict(wanted.on_conflict, destination, tag));
            }
            for rolling in &artifact.tags.rolling {
                match rolling::verdict(&asker, artifact, placed, destination, rolling) {
                    Ok(verdict) => decide(&rolling.tag, TagKind::Rolling, verdict),
                    Err(Lack::Failed(cause)) => {
                        decide(&rolling.tag, TagKind::Rolling, Verdict::Stays(Reason::Unknown(cause)));
                    }
                    Err(Lack::Open) => {}
                }
            }
        }
    }
    asker.nothing_open()?;
    Ok(Decisions { tags, images: placed.into_iter().map(|placed| placed.image).collect() })
}

/// Whether a rolling tag has to be written before the exact ones. It shows an image of another tool, reads as an exact tag, and is
/// known to be none by one of this version's exact tags alone, which names the same image and is being replaced. After that nothing
/// would tell, so a run that is killed in between would leave it for ever.
#[must_use]
pub fn goes_before_exact_tags(wanted: &Wanted, survey: &Survey, decisions: &Decisions, rolling: &Decision) -> bool {
    let (true, Some(now)) = (wanted.on_conflict == OnConflict::Replace, &rolling.now) else { return false };
    let tags = &wanted.artifacts[rolling.artifact].tags;
    let entry = tags.entry_of(&rolling.tag);
    let is_taken_from = |exact: &Decision| {
        exact.kind == TagKind::Exact
            && (exact.artifact, &exact.destination) == (rolling.artifact, &rolling.destination)
            && tags.entry_of(&exact.tag) == entry
            && exact.now == rolling.now
            && exact.verdict.writes()
    };
    rolling.kind == TagKind::Rolling
        && matches!(rolling.verdict, Verdict::Write(_))
        && decisions.tags.iter().any(is_taken_from)
        && survey.has_no_annotation(&rolling.destination, now)
        && !wanted.grammar.versions_of_entry(&rolling.tag, entry).is_empty()
}

impl Wanted {
    /// Every artifact at every destination.
    fn everywhere(&self) -> impl Iterator<Item = (&Repository, &Artifact)> {
        self.destinations
            .iter()
            .flat_map(|destination| self.artifacts.iter().map(move |artifact| (destination, artifact)))
    }

    /// Whether a rolling tag can move at all, so that other versions matter.
    fn competes(&self) -> bool {
        self.rolling == Rolling::Guard
            && self.reason_to_write_no_rolling_tag().is_none()
            && self.artifacts.iter().any(|artifact| !artifact.tags.rolling.is_empty())
    }

    /// Why this run writes no rolling tag at all, if that is so.
    fn reason_to_write_no_rolling_tag(&self) -> Option<Reason> {
        match &self.not_final {
            Some(why) => Some(Reason::NotFinal(why.clone())),
            None if self.ignored.contains(&self.version) => Some(Reason::Ignored),
            None => (self.rolling == Rolling::Never).then_some(Reason::Never),
        }
    }
}
