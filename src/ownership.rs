//! Which image every tag of the plan should name at every destination, and why.
//!
//! Pure: [`decide`] is a function of the run's intentions ([`Wanted`]) and of the facts that were looked up about the
//! destinations ([`Survey`]). Missing facts are returned as [`Question`]s, which the caller answers before it calls
//! again. So no request is made that decides nothing, and a decision can be printed with its evidence.
//!
//! A tag is text, and text proves nothing: `22`, `20260110` and `1.2.3-22` all read as versions. Text only *nominates*
//! a version. The evidence is the image that the tag names, and there only our own annotations ([`VERSION_ANNOTATION`],
//! [`BASE_CREATED_ANNOTATION`]). Labels come from bases and from other tools, and are never read.
//!
//! | an exact tag names | which we call | [`exact`] |
//! | --- | --- | --- |
//! | nothing | | it is written |
//! | the image that this run composes | *ours* | nothing is to be done |
//! | this release on another base | *begun* | the release is finished with that image |
//! | anything else | *taken* | `on-conflict` decides; if it is kept, so are the rolling tags of its entry |
//!
//! A rolling tag belongs to the newest final version of its series: this one, or a newer one whose exact tag is
//! [proved](Evidence). If there is weaker evidence of a newer version, the tag stays as it is: see [`rolling`].

pub mod evidence;
mod exact;
mod nominees;
mod rolling;
mod verdict;

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};

pub use evidence::{Kinship, Question, SeenImage, Standing, Survey};
pub use nominees::{Grammar, Nominees};
pub use verdict::{Decision, Decisions, Evidence, Image, Reason, TagKind, TagOutcome, Verdict};

use crate::action::inputs::{OnConflict, Rolling};
use crate::image::{Digest, Platform, Repository, Tag};
use crate::plan::Tags;
use crate::version::{Version, VersionSet};
use evidence::{Asker, Lack};
use exact::Placed;

/// The annotation on our indexes with their version, as it was written: `0.9.26`.
pub const VERSION_ANNOTATION: &str = "io.github.astral-sh.publish-variants.version";
/// The annotation on a variant's index with the date of its base: the newest `created` of the base's configs, in RFC
/// 3339.
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
    /// Whether taken exact tags are kept, replaced, or fail the run.
    pub on_conflict: OnConflict,
    /// The repositories that tags are written to.
    pub destinations: Vec<Repository>,
    /// The images that get tags: the variants in the order of the plan, then the source if it gets tags of its own.
    pub artifacts: Vec<Artifact>,
    /// How versions are parsed out of exact tags.
    pub grammar: Grammar,
}

/// An image that gets tags: a variant, or the source.
#[derive(Clone, Debug)]
pub struct Artifact {
    /// The variant's name; `None` for the source.
    pub variant: Option<String>,
    /// The tags that it should get.
    pub tags: Tags,
    /// The index that the run composes. `None` before the build of a variant with `run` lines.
    pub composed: Option<Digest>,
    /// The source's index as it was resolved, which also counts as ours. `None` for variants.
    pub as_resolved: Option<Digest>,
    /// The newest `created` of the base's configs.
    pub base_created: Option<DateTime<Utc>>,
    /// The platforms of the composed index.
    pub platforms: BTreeSet<Platform>,
    /// Whether platforms may be missing unintentionally: those of the source that the base lacks, and any platform of
    /// an image that was built elsewhere.
    pub leaves_out_platforms: bool,
}

/// Decides about every tag of the plan at every destination.
///
/// # Errors
/// The questions to answer first. Answers may raise further questions, but only finitely many.
pub fn decide(wanted: &Wanted, survey: &Survey) -> Result<Decisions, BTreeSet<Question>> {
    let asker = Asker::new(wanted, survey);
    // The list of tags is requested after every tag of the plan was looked up, so that it contains tags that appear in
    // between.
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
    // Which image stands for this release depends on all exact tags, so these are judged before any decision.
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
                decide(tag, TagKind::Exact, placed.verdict(destination, tag));
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

/// Whether a rolling tag has to be written before the exact tags. Such a tag names an image of another tool and looks
/// like an exact tag; that it isn't one is known only because an exact tag of this version names the same image, and
/// that tag is being replaced. If the run were killed in between, nothing would prove it any more, and the rolling tag
/// would stay for ever.
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

    /// Whether rolling tags can move, so that other versions matter.
    fn competes(&self) -> bool {
        self.rolling == Rolling::Guard
            && self.reason_to_write_no_rolling_tag().is_none()
            && self.artifacts.iter().any(|artifact| !artifact.tags.rolling.is_empty())
    }

    fn reason_to_write_no_rolling_tag(&self) -> Option<Reason> {
        Reason::to_write_no_rolling_tag(self.not_final.as_deref(), &self.version, &self.ignored, self.rolling)
    }
}
