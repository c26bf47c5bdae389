//! The evidence: facts about the destinations, and the questions that are still open.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use super::nominees::Readings;
use super::{Nominees, Wanted};
use crate::image::{Digest, Platform, Repository, Tag};
use crate::version::Version;

/// A fact that is needed before a tag can be decided.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Question {
    /// The digest that a tag names, from a `HEAD` request.
    Tag(Repository, Tag),
    /// The complete list of a repository's tags.
    Tags(Repository),
    /// The platforms and our annotations of an image, from a `GET` request.
    Image(Repository, Digest),
    /// Whether an image is the release of an artifact (an index into [`Wanted::artifacts`]) on another base.
    Kinship(usize, Repository, Digest),
    /// Whether the registry has all manifests that an index lists.
    Children(Repository, Digest),
    /// The standing of a version, as it is written, on GitHub.
    Standing(String),
}

/// An image that has been read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SeenImage {
    /// Not an image, or an image with missing parts, for the given reason. It has no version.
    Unreadable(String),
    /// A complete image.
    Image {
        /// The version in our annotation, as it is written. `None` for an image published by another tool.
        version: Option<String>,
        /// The date of its base, from our annotation.
        base_created: Option<DateTime<Utc>>,
        /// The platforms that its index lists.
        platforms: BTreeSet<Platform>,
    },
}

/// Whether an image is this release on an earlier base.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kinship {
    /// It is: an earlier run began the release with it.
    Begun,
    /// It isn't, for the given reason.
    Stranger(String),
}

/// What GitHub says about a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It has a published release that isn't a pre-release.
    Final,
    /// Its release is marked as a pre-release; or it has no release, but a draft with that mark.
    Prerelease,
    /// It has a tag, but no release. A draft without the pre-release mark doesn't count.
    Tagged,
    /// It has neither a release nor a tag. A draft without the pre-release mark doesn't count.
    Absent,
    /// The run has no GitHub repository to ask about.
    Unknown,
}

/// An answer, or why the question failed.
type Known<T> = Result<T, String>;

/// The answers to one kind of question about repositories. Lookups take references, because each tag is looked up many
/// times.
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
    /// Records the digest that a tag names; `None` if there is no such tag.
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

    /// Records whether the registry has all manifests that an index lists.
    pub fn children(&mut self, repository: &Repository, digest: &Digest, there: bool) {
        self.children.learn(repository, digest.clone(), Ok(there));
    }

    /// Records the standing of a version on GitHub.
    pub fn standing(&mut self, version: &str, standing: Standing) {
        self.standings.insert(version.to_owned(), Ok(standing));
    }

    /// Records that a question couldn't be answered: the tags that depend on it stay, for this reason.
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

    /// A tag that a repository has.
    #[must_use]
    pub fn known_tag(&self, repository: &Repository) -> Option<&Tag> {
        self.tags.0.get(repository)?.iter().find_map(|(tag, named)| matches!(named, Ok(Some(_))).then_some(tag))
    }

    /// Whether an image has been read and lacks our annotation.
    pub(super) fn has_no_annotation(&self, repository: &Repository, digest: &Digest) -> bool {
        matches!(self.images.get(repository, digest), Some(Ok(SeenImage::Image { version: None, .. })))
    }

    /// Forgets everything that may have changed since it was looked up: digests of tags, lists of tags, missing
    /// manifests and failures. The content of a digest can't change. (The caller doesn't ask GitHub about a version
    /// twice, either.)
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
    /// It hasn't been asked yet.
    Open,
    /// It couldn't be answered, for this reason.
    Failed(String),
}

pub(super) type Answer<T> = Result<T, Lack>;

/// Reads the survey, and collects the questions that the survey can't answer.
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
    /// The unanswered questions, if there are any.
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

    /// The annotations and platforms of an image. For composed images no request is needed.
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
