//! Who owns a rolling tag: the guard against moving one backwards.
//!
//! Pure. Registries can't compare and swap, so two runs may cross. What decides is therefore not who wrote last but
//! which exact tags exist: every run writes its exact tags before it touches a rolling one, so that whichever run looks
//! last sees the other's.

use crate::action::inputs::Rolling;
use crate::image::Tag;
use crate::plan::Series;
use crate::version::Version;

/// What is known about a rolling tag in one repository.
#[derive(Clone, Debug)]
pub struct Situation<'a> {
    /// The versions that the tag may show.
    pub series: &'a Series,
    /// The version that it shows, if it is there and says so.
    pub shown: Option<Version>,
    /// The versions whose exact tag for the same variant is there, each with that tag.
    pub published: &'a [(Version, Tag)],
}

/// What to do with a rolling tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is ours.
    Move,
    /// It stays what it is, for this reason.
    Keep(String),
    /// A newer version has appeared; the tag belongs to what this exact tag names.
    GiveTo(Version, Tag),
}

/// Decides what a run for the version `ours` does with a rolling tag.
#[must_use]
pub fn judge(policy: Rolling, ours: &Version, situation: &Situation<'_>) -> Verdict {
    match policy {
        Rolling::Always => return Verdict::Move,
        Rolling::Never => return Verdict::Keep("`rolling: never`".to_owned()),
        Rolling::Guard => {}
    }
    let newer = |version: &Version| version > ours && situation.series.contains(version);
    let owner = situation
        .published
        .iter()
        .filter(|(version, _)| newer(version) && !version.is_prerelease())
        .max_by(|(a, _), (b, _)| a.cmp(b));
    match (&situation.shown, owner) {
        // What it shows is at least as new as anything we know of.
        (Some(shown), owner) if newer(shown) && owner.is_none_or(|(version, _)| version <= shown) => {
            Verdict::Keep(format!("shows {shown}, which is newer"))
        }
        (_, Some((version, tag))) => Verdict::GiveTo(version.clone(), tag.clone()),
        (_, None) => Verdict::Move,
    }
}
