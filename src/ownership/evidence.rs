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

/// An answer; why there is none, where the question failed.
type Known<T> = Result<T, String>;

/// The answers to one kind of question about repositories. Found by reference: each tag is looked up many times.
#[derive(Clone, Debug)]
struct Answers<K, T>(BTreeMap<Repository, BTreeMap<K, Known<T>>>);

impl<K, T> Default for Answers<K, T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Ord, T> Answers<K, T> {
    fn learn(&mut self, repository: &Repository, key: K, known: Known<T>) {
        match self.0.get_mut(repository) {
            Some(answers) => drop(answers.insert(key, known)),
            None => drop(self.0.insert(repository.clone(), BTreeMap::from([(key, known)]))),
        }
    }

    fn get(&self, repository: &Repository, key: &K) -> Option<&Known<T>> {
        self.0.get(repository)?.get(key)
    }

    fn retain(&mut self, stays: impl Fn(&T) -> bool) {
        for answers in self.0.values_mut() {
            answers.retain(|_, known| known.as_ref().is_ok_and(&stays));
        }
    }
}

/// The answers to questions about the destinations.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    tags: Answers<Tag, Option<Digest>>,
    lists: BTreeMap<Repository, Known<Nominees>>,
    images: Answers<Digest, SeenImage>,
    kinships: Answers<(usize, Digest), Kinship>,
    children: Answers<Digest, bool>,
    standings: BTreeMap<String, Known<Standing>>,
    readings: Readings,
}

impl Survey {
    /// Records the digest that a tag names; `None` where there is no such tag.
    pub fn tag(&mut self, repository: &Repository, tag: &Tag, named: Option<Digest>) {
        self.tags.learn(repository, tag.clone(), Ok(named));
    }

    /// Records all tags of a repository.
    pub fn tags<'a>(&mut self, wanted: &Wanted, repository: &Repository, tags: impl IntoIterator<Item = &'a Tag>) {
        let nominees = wanted.grammar.nominees_with(&wanted.version, tags, &mut self.readings);
        self.lists.insert(repository.clone(), Ok(nominees));
    }

    /// Records an image that was read.
    pub fn image(&mut self, repository: &Repository, digest: &Digest, image: SeenImage) {
        self.images.learn(repository, digest.clone(), Ok(image));
    }

    /// Records whether an image is this release of an artifact.
    pub fn kinship(&mut self, artifact: usize, repository: &Repository, digest: &Digest, kinship: Kinship) {
        self.kinships.learn(repository, (artifact, digest.clone()), Ok(kinship));
    }

    /// Records whether all manifests that an index lists are there.
    pub fn children(&mut self, repository: &Repository, digest: &Digest, there: bool) {
        self.children.learn(repository, digest.clone(), Ok(there));
    }

    /// Records how a version stands at GitHub.
    pub fn standing(&mut self, version: &str, standing: Standing) {
        self.standings.insert(version.to_owned(), Ok(standing));
    }

    /// Records a question without an answer: the tags that depend on it stay, for this reason.
    pub fn failed(&mut self, question: Question, why: String) {
        match question {
            Question::Tag(repository, tag) => self.tags.learn(&repository, tag, Err(why)),
            Question::Tags(repository) => drop(self.lists.insert(repository, Err(why))),
            Question::Image(repository, digest) => self.images.learn(&repository, digest, Err(why)),
            Question::Kinship(artifact, repository, digest) => {
                self.kinships.learn(&repository, (artifact, digest), Err(why));
            }
            Question::Children(repository, digest) => self.children.learn(&repository, digest, Err(why)),
            Question::Standing(version) => drop(self.standings.insert(version, Err(why))),
        }
    }

    /// Whether an image was read that has no annotation of ours.
    pub(super) fn has_no_annotation(&self, repository: &Repository, digest: &Digest) -> bool {
        matches!(self.images.get(repository, digest), Some(Ok(SeenImage::Image { version: None, .. })))
    }

    /// Forgets everything that may have changed since: digests of tags, lists of tags, missing manifests and failures. The
    /// content of a digest can't change. (Nor does the caller ask GitHub about a version twice.)
    pub fn forget_what_changes(&mut self) {
        self.tags = Answers::default();
        self.lists.clear();
        self.images.retain(|image| matches!(image, SeenImage::Image { .. }));
        self.kinships.retain(|kinship| *kinship == Kinship::Begun);
        self.children = Answers::default();
        self.standings.clear();
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
        let known = self.survey.tags.get(repository, tag);
        self.ask(known, || Question::Tag(repository.clone(), tag.clone())).cloned()
    }

    pub(super) fn nominees(&self, repository: &Repository) -> Answer<&'a Nominees> {
        self.ask(self.survey.lists.get(repository), || Question::Tags(repository.clone()))
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
        let known = self.survey.images.get(repository, digest);
        self.ask(known, || Question::Image(repository.clone(), digest.clone())).cloned()
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
        let known = self.survey.kinships.get(repository, &(number, digest.clone()));
        self.ask(known, || Question::Kinship(number, repository.clone(), digest.clone())).cloned()
    }

    pub(super) fn children_are_there(&self, repository: &Repository, digest: &Digest) -> Answer<bool> {
        let known = self.survey.children.get(repository, digest);
        self.ask(known, || Question::Children(repository.clone(), digest.clone())).copied()
    }

    pub(super) fn standing(&self, version: &Version) -> Answer<Standing> {
        let known = self.survey.standings.get(version.as_str());
        self.ask(known, || Question::Standing(version.to_string())).copied()
    }

    fn ask<T>(&self, known: Option<&'a Known<T>>, question: impl FnOnce() -> Question) -> Answer<&'a T> {
        match known {
            Some(Ok(known)) => Ok(known),
            Some(Err(cause)) => Err(Lack::Failed(cause.clone())),
            None => {
                self.open.borrow_mut().insert(question());
                Err(Lack::Open)
            }
        }
    }
}
