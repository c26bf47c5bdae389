//! The evidence: facts about the destinations, and the questions that are still open.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use super::nominees::Readings;
use super::{Nominees, Wanted};
use crate::image::{Digest, Platform, Repository, Tag};
use crate::version::Version;

/// A fact that is needed before a tag can be decided about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Question {
    /// The digest that a tag names: a `HEAD`.
    Tag(Repository, Tag),
    /// The complete list of a repository's tags.
    Tags(Repository),
    /// Our annotations and the platforms of an image: a `GET`.
    Image(Repository, Digest),
    /// Whether an image is the release of an artifact (its number in [`Wanted::artifacts`]) on another base.
    Kinship(usize, Repository, Digest),
    /// Whether all manifests that an index lists are there.
    Children(Repository, Digest),
    /// How a version, as it is written, stands at GitHub.
    Standing(String),
}

/// An image that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SeenImage {
    /// Not an image, or an image with missing parts; with the reason. It has no version.
    Unreadable(String),
    /// An image.
    Image {
        /// Our annotation: the version, as it was written. `None` for an image that another tool has published.
        version: Option<String>,
        /// Our annotation: the date of its base.
        base_created: Option<DateTime<Utc>>,
        /// Its platforms.
        platforms: BTreeSet<Platform>,
    },
}

/// Whether an image is this release on another base than today's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kinship {
    /// It is: an earlier run has begun the release with it.
    Begun,
    /// It isn't, for this reason.
    Stranger(String),
}

/// How a version stands at GitHub.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It has a published release that isn't a pre-release.
    Final,
    /// Its release is marked as a pre-release; or it has none, and a draft that is marked so.
    Prerelease,
    /// It has a tag and no release. A draft that isn't marked as a pre-release changes nothing.
    Tagged,
    /// It has neither a release nor a tag. A draft that isn't marked as a pre-release changes nothing.
    Absent,
    /// The run has no GitHub repository to ask about.
    Unknown,
}

/// An answer.
#[derive(Clone, Debug)]
enum Known {
    Tag(Option<Digest>),
    Tags(Nominees),
    Image(SeenImage),
    Kinship(Kinship),
    Children(bool),
    Standing(Standing),
}

/// The answers to questions about the destinations.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    known: BTreeMap<Question, Result<Known, String>>,
    readings: Readings,
}

impl Survey {
    /// Records the digest that a tag names; `None` where there is no such tag.
    pub fn tag(&mut self, repository: &Repository, tag: &Tag, named: Option<Digest>) {
        self.learn(Question::Tag(repository.clone(), tag.clone()), Known::Tag(named));
    }

    /// Records all tags of a repository.
    pub fn tags<'a>(&mut self, wanted: &Wanted, repository: &Repository, tags: impl IntoIterator<Item = &'a Tag>) {
        let nominees = wanted.grammar.nominees_with(tags, &mut self.readings);
        self.learn(Question::Tags(repository.clone()), Known::Tags(nominees));
    }

    /// Records an image that was read.
    pub fn image(&mut self, repository: &Repository, digest: &Digest, image: SeenImage) {
        self.learn(Question::Image(repository.clone(), digest.clone()), Known::Image(image));
    }

    /// Records whether an image is this release of an artifact.
    pub fn kinship(&mut self, artifact: usize, repository: &Repository, digest: &Digest, kinship: Kinship) {
        self.learn(Question::Kinship(artifact, repository.clone(), digest.clone()), Known::Kinship(kinship));
    }

    /// Records whether all manifests that an index lists are there.
    pub fn children(&mut self, repository: &Repository, digest: &Digest, there: bool) {
        self.learn(Question::Children(repository.clone(), digest.clone()), Known::Children(there));
    }

    /// Records how a version stands at GitHub.
    pub fn standing(&mut self, version: &str, standing: Standing) {
        self.learn(Question::Standing(version.to_owned()), Known::Standing(standing));
    }

    /// Records a question without an answer: the tags that depend on it stay, for this reason.
    pub fn failed(&mut self, question: Question, why: String) {
        self.known.insert(question, Err(why));
    }

    /// Whether an image was read that has no annotation of ours.
    pub(super) fn has_no_annotation(&self, repository: &Repository, digest: &Digest) -> bool {
        let known = self.known.get(&Question::Image(repository.clone(), digest.clone()));
        matches!(known, Some(Ok(Known::Image(SeenImage::Image { version: None, .. }))))
    }

    /// Forgets everything that may have changed since: digests of tags, lists of tags, missing manifests and failures. The
    /// content of a digest can't change, and versions at GitHub are asked about once.
    pub fn forget_what_changes(&mut self) {
        self.known.retain(|_, known| {
            matches!(known, Ok(Known::Image(SeenImage::Image { .. }) | Known::Kinship(Kinship::Begun)))
        });
    }

    fn learn(&mut self, question: Question, known: Known) {
        self.known.insert(question, Ok(known));
    }
}

/// Why a question has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Lack {
    /// It wasn't asked yet.
    Open,
    /// It couldn't be answered, for this reason.
    Failed(String),
}

pub(super) type Answer<T> = Result<T, Lack>;

/// Reads the survey, and collects the questions that it has no answer to.
pub(super) struct Asker<'a> {
    pub(super) wanted: &'a Wanted,
    survey: &'a Survey,
    open: RefCell<BTreeSet<Question>>,
}

impl<'a> Asker<'a> {
    pub(super) fn new(wanted: &'a Wanted, survey: &'a Survey) -> Self {
        Self { wanted, survey, open: RefCell::default() }
    }

    /// # Errors
    /// The questions that came up, if any.
    pub(super) fn nothing_open(&self) -> Result<(), BTreeSet<Question>> {
        let open = self.open.take();
        if open.is_empty() { Ok(()) } else { Err(open) }
    }

    pub(super) fn tag(&self, repository: &Repository, tag: &Tag) -> Answer<Option<Digest>> {
        match self.ask(Question::Tag(repository.clone(), tag.clone()))? {
            Known::Tag(named) => Ok(named.clone()),
            _ => unreachable!("`Survey::tag` gives this answer"),
        }
    }

    pub(super) fn nominees(&self, repository: &Repository) -> Answer<&'a Nominees> {
        match self.ask(Question::Tags(repository.clone()))? {
            Known::Tags(nominees) => Ok(nominees),
            _ => unreachable!("`Survey::tags` gives this answer"),
        }
    }

    /// The annotations and platforms of an image. Those of composed images are known without a request.
    pub(super) fn image(&self, repository: &Repository, digest: &Digest) -> Answer<SeenImage> {
        if let Some(ours) = self.wanted.artifacts.iter().find(|artifact| artifact.composed.as_ref() == Some(digest)) {
            return Ok(SeenImage::Image {
                version: Some(self.wanted.version.to_string()),
                base_created: ours.base_created,
                platforms: ours.platforms.clone(),
            });
        }
        match self.ask(Question::Image(repository.clone(), digest.clone()))? {
            Known::Image(image) => Ok(image.clone()),
            _ => unreachable!("`Survey::image` gives this answer"),
        }
    }

    /// Whether an image is this release of `artifact`, begun by an earlier run.
    pub(super) fn kinship(
        &self,
        artifact: &super::Artifact,
        repository: &Repository,
        digest: &Digest,
    ) -> Answer<Kinship> {
        let number = self.wanted.artifacts.iter().position(|other| std::ptr::eq(other, artifact));
        let number = number.expect("an artifact is one of those that are wanted");
        match self.ask(Question::Kinship(number, repository.clone(), digest.clone()))? {
            Known::Kinship(kinship) => Ok(kinship.clone()),
            _ => unreachable!("`Survey::kinship` gives this answer"),
        }
    }

    pub(super) fn children_are_there(&self, repository: &Repository, digest: &Digest) -> Answer<bool> {
        match self.ask(Question::Children(repository.clone(), digest.clone()))? {
            Known::Children(there) => Ok(*there),
            _ => unreachable!("`Survey::children` gives this answer"),
        }
    }

    pub(super) fn standing(&self, version: &Version) -> Answer<Standing> {
        match self.ask(Question::Standing(version.to_string()))? {
            Known::Standing(standing) => Ok(*standing),
            _ => unreachable!("`Survey::standing` gives this answer"),
        }
    }

    fn ask(&self, question: Question) -> Answer<&'a Known> {
        match self.survey.known.get(&question) {
            Some(Ok(known)) => Ok(known),
            Some(Err(cause)) => Err(Lack::Failed(cause.clone())),
            None => {
                self.open.borrow_mut().insert(question);
                Err(Lack::Open)
            }
        }
    }
}
