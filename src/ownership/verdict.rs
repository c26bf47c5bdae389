//! Decisions about tags, and their reasons.

use std::fmt;

use crate::action::inputs::Rolling;
use crate::image::{Digest, Platform, Reference, Repository, Tag};
use crate::version::{Version, VersionSet};

/// The decision about a tag at a destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The repository that the tag is in.
    pub destination: Repository,
    /// The index of its artifact in [`Wanted::artifacts`](super::Wanted::artifacts).
    pub artifact: usize,
    /// The tag without the repository.
    pub tag: Tag,
    /// Whether it is exact or rolling.
    pub kind: TagKind,
    /// The digest that it named when it was last looked up.
    pub now: Option<Digest>,
    /// Whether it is written, given away, or stays.
    pub verdict: Verdict,
}

impl Decision {
    /// The tag with its repository, as one can pull it.
    #[must_use]
    pub fn reference(&self) -> Reference {
        self.destination.tagged(self.tag.clone())
    }

    /// What becomes of the tag if the decision is carried out.
    #[must_use]
    pub fn outcome(&self) -> TagOutcome {
        self.outcome_after(self.now.as_ref())
    }

    /// The same for a tag that named `before` when the run began.
    #[must_use]
    pub fn outcome_after(&self, before: Option<&Digest>) -> TagOutcome {
        match (&self.verdict, before) {
            (Verdict::Right, _) => TagOutcome::Unchanged,
            (Verdict::Write(_), None) => TagOutcome::Created,
            (Verdict::Write(_), Some(before)) => TagOutcome::Moved(before.clone()),
            (Verdict::Give { version, .. }, _) => TagOutcome::GivenTo(version.clone()),
            (Verdict::Stays(reason), _) => TagOutcome::Kept(reason.clone()),
        }
    }
}

/// The decision with its evidence, as a predicate of the tag.
impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.verdict, &self.now) {
            (Verdict::Right, _) => f.write_str("is already right"),
            (Verdict::Write(_), None) => f.write_str("is new: there is no such tag"),
            (Verdict::Write(_), Some(now)) => write!(f, "moves from {now}: no newer version owns it"),
            (Verdict::Give { version, digest }, _) => {
                write!(f, "goes to {version}, which is newer: its exact tag names {digest}, whose annotation says so")
            }
            (Verdict::Stays(reason), _) => write!(f, "stays: {reason}"),
        }
    }
}

/// What became of a tag at a destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TagOutcome {
    /// It already named this image.
    Unchanged,
    /// It didn't exist before.
    Created,
    /// It named this digest before.
    Moved(Digest),
    /// It was left alone.
    Kept(Reason),
    /// It belongs to this newer version, and names that version's image now.
    GivenTo(Version),
}

impl fmt::Display for TagOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unchanged => f.write_str("unchanged"),
            Self::Created => f.write_str("created"),
            Self::Moved(from) => write!(f, "moved from {from}"),
            Self::Kept(reason) => write!(f, "kept: {reason}"),
            Self::GivenTo(version) => write!(f, "given to {version}, which is newer"),
        }
    }
}

/// The two kinds of tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TagKind {
    /// It names one version, for ever.
    Exact,
    /// It moves from release to release.
    Rolling,
}

/// Whether a tag is written, given away, or stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It already names the right image.
    Right,
    /// It has to name the image of this release; `None` before a variant with `run` lines is built.
    Write(Option<Digest>),
    /// It belongs to a newer version, and has to name that version's image.
    Give {
        /// The version that owns it.
        version: Version,
        /// The digest that the owner's exact tag names.
        digest: Digest,
    },
    /// It is left alone, and doesn't name this run's image.
    Stays(Reason),
}

impl Verdict {
    /// The digest to write, if the tag has to be written and the digest is known.
    #[must_use]
    pub fn digest(&self) -> Option<&Digest> {
        match self {
            Self::Write(digest) => digest.as_ref(),
            Self::Give { digest, .. } => Some(digest),
            Self::Right | Self::Stays(_) => None,
        }
    }

    /// Whether the tag has to be written.
    #[must_use]
    pub fn writes(&self) -> bool {
        matches!(self, Self::Write(_) | Self::Give { .. })
    }
}

/// The decisions about all tags of the plan.
#[derive(Clone, Debug)]
pub struct Decisions {
    /// Every tag of the plan at every destination, in the order of artifacts and destinations, exact tags first.
    pub tags: Vec<Decision>,
    /// The image of this release, for each artifact.
    pub images: Vec<Image>,
}

/// The image of this release, which new tags will name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Image {
    /// The image that this run composes.
    Composed,
    /// An image that an exact tag already names.
    Published {
        /// The repository in which the tag names it.
        repository: Repository,
        /// Its digest.
        digest: Digest,
    },
}

/// How certain it is that a version is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// The image under its exact tag says so, in our annotation.
    Proved,
    /// Like `Proved`, but GitHub has neither a release nor a tag of the version.
    Unreleased,
    /// The rolling tag names an image that says so, in our annotation, but there is no such exact tag.
    Shown,
    /// Its exact tag names an image of another tool, and either GitHub has the version or the rolling tag names the
    /// same image.
    Likely,
    /// Like `Likely`, for the source: the image may be the source that another job pushed, which is published as it was
    /// found, without our annotation.
    LikelySource,
}

/// Why a tag of the plan doesn't name this run's image. `docs/tags.md` explains every reason, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It belongs to this newer version.
    HeldBy(Version, Evidence),
    /// It belongs to this newer version, whose index lists missing manifests.
    ChildrenMissing(Version),
    /// The exact tag names another image.
    Taken {
        /// The digest of that image.
        digest: Digest,
        /// Why it isn't this release.
        why: String,
    },
    /// This exact tag of the same entry is taken.
    EntryTaken(Tag),
    /// This version isn't final: `2.0.0rc1 is a pre-release`.
    NotFinal(String),
    /// This version is in `ignore-versions`.
    Ignored,
    /// It is the exact tag of another version.
    ExactTagOf(Version),
    /// It can be read as the exact tag of this version, and names an image of another tool.
    PerhapsExactTagOf(Version),
    /// It names this release, on a base that is at least as new.
    NewerBase,
    /// It would lose these platforms.
    Platforms(Vec<Platform>),
    /// The input `rolling` is `never`.
    Never,
    /// A registry or GitHub didn't answer; this is the first line of the error.
    Unknown(String),
}

impl Reason {
    /// Why a run writes no rolling tags at all, if that is the case. `not_final` is the reason if the version isn't
    /// final.
    #[must_use]
    pub fn to_write_no_rolling_tag(
        not_final: Option<&str>,
        version: &Version,
        ignored: &VersionSet,
        rolling: Rolling,
    ) -> Option<Self> {
        match not_final {
            Some(why) => Some(Self::NotFinal(why.to_owned())),
            None if ignored.contains(version) => Some(Self::Ignored),
            None => (rolling == Rolling::Never).then_some(Self::Never),
        }
    }

    /// Whether the report warns about it.
    #[must_use]
    pub fn is_worth_a_warning(&self) -> bool {
        match self {
            Self::HeldBy(_, evidence) => *evidence != Evidence::Proved,
            Self::ChildrenMissing(_)
            | Self::Taken { .. }
            | Self::PerhapsExactTagOf(_)
            | Self::Platforms(_)
            | Self::Unknown(_) => true,
            Self::EntryTaken(_)
            | Self::NotFinal(_)
            | Self::Ignored
            | Self::ExactTagOf(_)
            | Self::NewerBase
            | Self::Never => false,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HeldBy(version, Evidence::Proved) => write!(f, "belongs to {version}, which is newer"),
            Self::HeldBy(version, Evidence::Unreleased) => write!(
                f,
                "belongs to {version}, which is newer, but has neither a release nor a tag on GitHub; if {version} was withdrawn, add it to \
                 `ignore-versions`"
            ),
            Self::HeldBy(version, Evidence::Shown) => write!(
                f,
                "names an image of {version}, which is newer but has no exact tag; if {version} was withdrawn, add it to `ignore-versions`"
            ),
            Self::HeldBy(version, Evidence::Likely) => write!(
                f,
                "probably belongs to {version}, which is newer and was published by another tool; publish {version} with this \
                 action, or add it to `ignore-versions`"
            ),
            Self::HeldBy(version, Evidence::LikelySource) => write!(
                f,
                "probably belongs to {version}, which is newer and whose source already existed when this action published it; if {version} was \
                 withdrawn, add it to `ignore-versions`"
            ),
            Self::ChildrenMissing(version) => write!(
                f,
                "belongs to {version}, which is newer and has missing parts; run {version} again to restore them"
            ),
            Self::Taken { digest, why } => write!(f, "already names {digest}, {why}"),
            Self::EntryTaken(exact) => write!(f, "follows the exact tag `{exact}`, which names another image"),
            Self::NotFinal(why) => f.write_str(why),
            Self::Ignored => f.write_str("this version is in `ignore-versions`"),
            Self::ExactTagOf(version) => write!(f, "is the exact tag of {version}"),
            Self::PerhapsExactTagOf(version) => write!(
                f,
                "may be the exact tag of {version}, published by another tool; if it is a rolling tag, delete it once"
            ),
            Self::NewerBase => f.write_str("already names this version, on the same or a newer base"),
            Self::Platforms(lost) => {
                let lost: Vec<String> = lost.iter().map(|platform| format!("`{platform}`")).collect();
                write!(f, "would lose {}", lost.join(", "))
            }
            Self::Never => f.write_str("`rolling: never`"),
            Self::Unknown(cause) => f.write_str(cause),
        }
    }
}
