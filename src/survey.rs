//! The stage `survey`: compares the destinations with the composed images. The difference is the work to do.
//!
//! Answers the questions of [`ownership`] from registries and GitHub until every tag is decided. An uncontested release
//! costs a few `HEAD` requests and one list of tags for each destination.

mod answers;
mod comparison;
mod error;

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

use futures_util::{StreamExt as _, stream};

use crate::action::Log;
use crate::action::inputs::OnConflict;
use crate::api::github::GitHub;
use crate::api::registry::{Registries, RegistryError};
use crate::compose::{self, Content};
use crate::error::first_line;
use crate::image::{Digest, Document, Platform, Repository};
use crate::ownership::{
    self, Artifact, Decision, Decisions, Image, Kinship, Question, Reason, Survey, TagKind, Verdict, Wanted,
};
use crate::plan::Platforms;
use crate::quote::count;
use crate::resolve::{Resolved, ResolvedVariant};
use crate::tag_lines::{self, Said, Word};
use crate::verify::Verified;
use answers::Answer;
use error::platforms;
pub use error::{Conflict, LostPlatforms, SurveyError};

/// The resolved plan with the decisions about its tags.
#[derive(Debug)]
pub struct Surveyed<'a> {
    /// The resolved plan.
    pub resolved: &'a Resolved,
    /// The run's intentions.
    pub wanted: Wanted,
    /// The decision about every tag.
    pub decisions: Decisions,
    /// Destinations that a dry run isn't allowed to read, and why.
    pub unseen: BTreeMap<Repository, String>,
    registries: &'a Registries,
    github: Option<&'a GitHub>,
    survey: Survey,
    /// All content that may have to be sent, by the digest of its index.
    contents: BTreeMap<Digest, Content>,
    /// Indexes of other versions that were read.
    documents: BTreeMap<Digest, Document>,
    /// Indexes that this run has verified.
    verified: BTreeSet<Digest>,
}

/// Looks at every destination, and decides every tag.
///
/// # Errors
/// A registry or GitHub doesn't answer; exact tags are taken and `on-conflict` is `fail`; or rolling tags
/// would lose platforms.
pub async fn survey<'a>(
    resolved: &'a Resolved,
    registries: &'a Registries,
    github: Option<&'a GitHub>,
) -> Result<Surveyed<'a>, SurveyError> {
    let contents = resolved.variants.iter().filter_map(ResolvedVariant::content);
    let source = resolved.tagged_source.iter().flat_map(|source| [&source.as_resolved, &source.annotated]).cloned();
    let contents = contents.chain(source).map(|content| (content.digest().clone(), content)).collect();
    let mut surveyed = Surveyed {
        wanted: Wanted::of(resolved),
        decisions: Decisions { tags: Vec::new(), images: Vec::new() },
        unseen: BTreeMap::new(),
        survey: Survey::default(),
        documents: BTreeMap::new(),
        verified: BTreeSet::new(),
        resolved,
        registries,
        github,
        contents,
    };
    surveyed.decide(|_, _, error| Err(error)).await?;
    surveyed.refuse()?;
    Ok(surveyed)
}

impl Wanted {
    /// The intentions of a resolved plan.
    #[must_use]
    pub fn of(resolved: &Resolved) -> Self {
        let plan = &resolved.plan;
        let variants = resolved.variants.iter().map(|variant| Artifact {
            variant: Some(variant.variant.name.clone()),
            tags: variant.variant.tags.clone(),
            composed: variant.content().map(|content| content.digest().clone()),
            as_resolved: None,
            base_created: variant.base_created,
            platforms: variant.platforms(),
            // Which other platforms an image built elsewhere should have isn't known.
            leaves_out_platforms: !variant.left_out.is_empty()
                || (variant.copied.is_some() && variant.variant.platforms == Platforms::Auto),
        });
        let source = resolved.tagged_source.iter().zip(&plan.source).map(|(source, planned)| Artifact {
            variant: None,
            tags: planned.tags.clone(),
            composed: Some(source.annotated.digest().clone()),
            as_resolved: Some(source.as_resolved.digest().clone()),
            base_created: None,
            platforms: source.as_resolved.images.iter().filter_map(|image| image.platform.clone()).collect(),
            leaves_out_platforms: false,
        });
        Self {
            version: plan.version.clone(),
            not_final: plan.not_final.clone(),
            ignored: plan.ignored.clone(),
            rolling: plan.rolling,
            on_conflict: plan.on_conflict,
            destinations: plan.destinations.clone(),
            artifacts: variants.chain(source).collect(),
            grammar: plan.grammar.clone(),
        }
    }
}

impl<'a> Surveyed<'a> {
    /// The variants to build and verify: a tag should name them, and no exact tag does so yet.
    #[must_use]
    pub fn to_build(&self) -> Vec<&'a ResolvedVariant> {
        let is_written = |number: usize| {
            let writes = |decision: &Decision| matches!(decision.verdict, Verdict::Write(_));
            self.decisions.tags.iter().any(|decision| decision.artifact == number && writes(decision))
        };
        let variants = self.resolved.variants.iter().enumerate();
        variants
            .filter(|(number, _)| self.decisions.images[*number] == Image::Composed && is_written(*number))
            .map(|(_, variant)| variant)
            .collect()
    }

    /// Whether the image of an artifact was built elsewhere.
    fn is_copied(&self, artifact: usize) -> bool {
        self.resolved.variants.get(artifact).is_some_and(|variant| variant.copied.is_some())
    }

    /// Logs how many tags are written; in a dry run also a line for each tag, with the evidence.
    pub fn tell(&self, log: &Log) {
        let writes = self.decisions.tags.iter().filter(|decision| decision.verdict.writes()).count();
        let tags = self.decisions.tags.len();
        let (copied, built): (Vec<_>, Vec<_>) =
            self.to_build().into_iter().partition(|variant| variant.copied.is_some());
        let copied = match copied.len() {
            0 => String::new(),
            count => format!(", {count} to be copied"),
        };
        let (tags, built) = (count(tags, "tag"), count(built.len(), "variant"));
        log.line(&format!("{tags}, {writes} to be written; {built} to be built{copied}"));
        if !self.resolved.plan.dry_run {
            return;
        }
        if log.is_verbose() {
            for decision in &self.decisions.tags {
                log.image(&decision.reference(), None, &decision.to_string());
            }
            return;
        }
        let said = self.decisions.tags.iter().map(|decision| Said::of(decision, Word::to_be(&decision.outcome())));
        tag_lines::lines(said).iter().for_each(|line| log.line(line));
    }

    /// Adds the verified images. The digests of variants with `run` lines are known only from now on.
    ///
    /// # Errors
    /// The errors of [`survey`].
    pub async fn built(&mut self, verified: &[Verified]) -> Result<(), SurveyError> {
        let resolved = self.resolved;
        let mut learned = false;
        for (number, variant) in resolved.variants.iter().enumerate() {
            let images: Vec<_> = verified
                .iter()
                .filter(|image| image.variant == variant.variant.name)
                .map(|image| &image.image)
                .collect();
            if images.is_empty() {
                continue;
            }
            let content = match &variant.copied {
                Some(copied) => copied.content.clone(),
                None => compose::index(&images, &variant.index_annotations),
            };
            let digest = content.digest().clone();
            self.verified.insert(digest.clone());
            learned |= self.wanted.artifacts[number].composed.replace(digest.clone()).is_none();
            self.contents.insert(digest, content);
        }
        if learned {
            self.decide(|_, _, error| Err(error)).await?;
            self.refuse()?;
        }
        Ok(())
    }

    /// Looks up everything again that may have changed, and decides anew. If a question can't be answered, the tags that
    /// depend on it are left alone.
    pub async fn look_again(&mut self) {
        self.survey.forget_what_changes();
        let Ok(()) = self
            .decide::<Infallible>(|survey, question, error| {
                survey.failed(question, first_line(&error));
                Ok(())
            })
            .await;
    }

    /// Refuses to write any tag, if there is a reason to.
    ///
    /// # Errors
    /// Exact tags are taken and `on-conflict` is `fail`; rolling tags would lose platforms.
    pub fn refuse(&self) -> Result<(), SurveyError> {
        let conflicts = self.conflicts();
        if self.wanted.on_conflict == OnConflict::Fail && !conflicts.is_empty() {
            return Err(SurveyError::Conflicts(conflicts));
        }
        let lost = self.decisions.tags.iter().filter_map(|decision| match &decision.verdict {
            Verdict::Stays(Reason::Platforms(lost)) => Some((decision, lost)),
            _ => None,
        });
        let lost: Vec<(&Decision, &Vec<Platform>)> = lost.collect();
        let Some((first, _)) = lost.first() else { return Ok(()) };
        let artifact = &self.wanted.artifacts[first.artifact];
        Err(SurveyError::Platforms {
            platforms: platforms(&artifact.platforms),
            lost: lost
                .into_iter()
                .map(|(decision, lost)| LostPlatforms {
                    reference: decision.reference(),
                    lost: lost.clone(),
                    lacking: if self.is_copied(decision.artifact) { "image" } else { "base" },
                })
                .collect(),
        })
    }

    /// The exact tags that are taken.
    #[must_use]
    pub fn conflicts(&self) -> Vec<Conflict> {
        let conflict = |decision: &Decision| match &decision.verdict {
            Verdict::Stays(Reason::Taken { digest, why }) => {
                Some(Conflict { reference: decision.reference(), published: digest.clone(), why: why.clone() })
            }
            _ => None,
        };
        self.decisions.tags.iter().filter_map(conflict).collect()
    }

    /// The content that each destination needs: every index of this release that a tag names there or is about to name.
    pub(crate) fn content_by_destination(&self) -> Vec<(&Repository, usize, &Content)> {
        let mut seen = BTreeSet::new();
        let mut wanted = Vec::new();
        for decision in &self.decisions.tags {
            let digest = match &decision.verdict {
                Verdict::Right => decision.now.as_ref(),
                Verdict::Write(digest) => digest.as_ref(),
                Verdict::Give { .. } | Verdict::Stays(_) => None,
            };
            let Some(content) = digest.and_then(|digest| self.contents.get(digest)) else { continue };
            if decision.verdict.writes() && !self.may_publish(decision) {
                continue;
            }
            if seen.insert((&decision.destination, content.digest())) {
                wanted.push((&decision.destination, decision.artifact, content));
            }
        }
        wanted
    }

    /// Whether a tag may be written: its image was verified by this run, is already published under an exact tag, is
    /// the source's, or belongs to another version.
    pub(crate) fn may_publish(&self, decision: &Decision) -> bool {
        let Some(digest) = decision.verdict.digest() else { return false };
        matches!(decision.verdict, Verdict::Give { .. })
            || self.wanted.artifacts[decision.artifact].variant.is_none()
            || self.verified.contains(digest)
            || matches!(&self.decisions.images[decision.artifact], Image::Published { digest: published, .. } if published == digest)
            || self.decisions.tags.iter().any(|other| {
                other.artifact == decision.artifact
                    && other.kind == TagKind::Exact
                    && other.verdict == Verdict::Right
                    && other.now.as_ref() == Some(digest)
            })
    }

    /// Whether a rolling tag has to be written before the exact ones.
    pub(crate) fn goes_before_exact_tags(&self, rolling: &Decision) -> bool {
        ownership::goes_before_exact_tags(&self.wanted, &self.survey, &self.decisions, rolling)
    }

    /// The content of this release with this digest.
    #[must_use]
    pub fn content(&self, digest: &Digest) -> Option<&Content> {
        self.contents.get(digest)
    }

    /// The document that a tag is written with.
    pub(crate) fn document(&self, digest: &Digest) -> Option<&Document> {
        self.contents.get(digest).map(|content| &content.index).or_else(|| self.documents.get(digest))
    }

    /// Decides every tag, and answers the questions that come up. `unanswered` says what a failure means.
    async fn decide<E>(
        &mut self,
        unanswered: impl Fn(&mut Survey, Question, SurveyError) -> Result<(), E>,
    ) -> Result<(), E> {
        loop {
            let open = match ownership::decide(&self.wanted, &self.survey) {
                Ok(decisions) => {
                    self.decisions = decisions;
                    return Ok(());
                }
                Err(open) => open,
            };
            let this = &*self;
            let answers: Vec<_> = stream::iter(open)
                .map(async |question| (question.clone(), this.answer(&question).await))
                .buffer_unordered(self.registries.concurrency())
                .collect()
                .await;
            for (question, answer) in answers {
                match answer {
                    Ok(answer) => self.learn(question, answer),
                    Err(error) if self.resolved.plan.dry_run && self.leave_unseen(&question, &error) => {}
                    Err(error) => unanswered(&mut self.survey, question, error)?,
                }
            }
        }
    }

    /// Lets a dry run continue without access to a destination, which it doesn't write to anyway. The report gets a
    /// warning.
    fn leave_unseen(&mut self, question: &Question, error: &SurveyError) -> bool {
        let SurveyError::Registry(RegistryError::Refused { .. } | RegistryError::Failed { .. }) = error else {
            return false;
        };
        let repository = match question {
            Question::Tag(repository, tag) => {
                self.survey.tag(repository, tag, None);
                repository
            }
            Question::Tags(repository) => {
                self.survey.tags(&self.wanted, repository, []);
                repository
            }
            _ => return false,
        };
        self.unseen.insert(repository.clone(), first_line(error));
        true
    }

    fn learn(&mut self, question: Question, answer: Answer) {
        match (question, answer) {
            (Question::Tag(repository, tag), Answer::Tag(named)) => self.survey.tag(&repository, &tag, named),
            (Question::Tags(repository), Answer::Tags(tags)) => self.survey.tags(&self.wanted, &repository, &tags),
            (Question::Image(repository, digest), Answer::Image(image, document)) => {
                self.documents.extend(document.map(|document| (digest.clone(), document)));
                self.survey.image(&repository, &digest, image);
            }
            (Question::Kinship(artifact, repository, digest), Answer::Kinship(kinship)) => {
                let kinship = match kinship {
                    Ok(content) => {
                        self.contents.entry(digest.clone()).or_insert(content);
                        Kinship::Begun
                    }
                    Err(why) => Kinship::Stranger(why),
                };
                self.survey.kinship(artifact, &repository, &digest, kinship);
            }
            (Question::Children(repository, digest), Answer::Children(there)) => {
                self.survey.children(&repository, &digest, there);
            }
            (Question::Standing(version), Answer::Standing(standing)) => self.survey.standing(&version, standing),
            (question, _) => unreachable!("`answer` gives the answer to {question:?}"),
        }
    }
}
