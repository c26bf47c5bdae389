//! Writing tags: first exact tags, then rolling tags, and the source's own rolling tags last. If `on-conflict: replace`
//! takes an exact tag from another tool's image, the rolling tags that were recognised by it come before everything
//! else.
//!
//! Registries have no compare-and-swap, so two runs may interfere. Each tag is looked up again right before it is
//! written; if it has changed, everything is looked up and decided again. Afterwards all tags are looked up until
//! nothing is left to write. The remaining race is the round trip between the lookup of a tag and its write; the next
//! look repairs its damage.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::sync::{Mutex, PoisonError};

use futures_util::{StreamExt as _, stream};

use super::{Blobs, PublishError, Pushed, content};
use crate::action::Log;
use crate::api::registry::{Registries, RegistryError};
use crate::error::together;
use crate::hint::{Flaw, Hinted as _, Hints};
use crate::image::{Digest, Document, Reference, Repository, Tag};
use crate::ownership::{Decision, Reason, TagKind, TagOutcome, Verdict};
use crate::stages::Stages;
use crate::survey::Surveyed;
use crate::tag_lines::{self, Said, Word};

type Place = (Repository, Tag);

/// A complete publication: the last look found nothing more to write. Only [`tag`](super::tag) makes one.
#[derive(Debug)]
pub struct Published<'a> {
    /// The survey of the last look, with the decision about every tag.
    pub surveyed: Surveyed<'a>,
    /// How many blobs of each index were there, mounted, copied or pushed, per destination.
    pub blobs: BTreeMap<(Repository, Digest), Blobs>,
    /// The outcome for each tag.
    pub outcomes: BTreeMap<Place, TagOutcome>,
}

impl Published<'_> {
    /// Whether nothing was written.
    #[must_use]
    pub fn is_unchanged(&self) -> bool {
        let still = |outcome: &TagOutcome| matches!(outcome, TagOutcome::Unchanged | TagOutcome::Kept(_));
        self.blobs.values().all(Blobs::is_unchanged) && self.outcomes.values().all(still)
    }
}

pub(super) async fn write<'a>(
    pushed: Pushed<'a>,
    registries: &Registries,
    stages: &Stages,
    log: &Log,
) -> Result<Published<'a>, PublishError> {
    let stop = stages.stop();
    let Pushed { mut surveyed, mut blobs, .. } = pushed;
    let mut done = Done::default();
    let mut patience = registries.patience_with_tags();
    loop {
        surveyed.look_again().await;
        if done.written.is_empty() {
            surveyed.refuse()?;
        }
        let stopped = stop.is_requested();
        if !stopped {
            // Another run may have begun the release in the meantime; then its image is the release's.
            match content::ensure(registries, &surveyed, &blobs, log).await {
                Ok(ensured) => blobs.extend(ensured),
                Err(error) if done.written.is_empty() => return Err(error),
                // The tags of complete images are written nevertheless.
                Err(error) => done.fail_incomplete(&surveyed, &blobs, &error),
            }
        }
        let open = done.to_write(&surveyed, stopped);
        stages.note(|ledger| {
            let known: BTreeSet<Reference> = ledger.to_write.iter().cloned().collect();
            ledger.to_write.extend(open.iter().map(Decision::reference).filter(|tag| !known.contains(tag)));
        });
        if open.is_empty() {
            return done.finish(surveyed, blobs, log);
        }
        let lines = Lines { log, written: Mutex::default() };
        // A phase begins when the previous one is complete. If a tag has changed, later phases wait for the next look.
        for phase in [Phase::Replaced, Phase::Exact, Phase::Rolling, Phase::Source] {
            let writes = open.iter().filter(|decision| Phase::of(&surveyed, decision) == phase);
            let through = done.write(registries, &surveyed, writes, stages, stopped, &lines).await;
            if !through {
                break;
            }
        }
        if stopped {
            return done.finish(surveyed, blobs, log);
        }
        // A run that is being stopped takes its last look at once.
        if !stop.is_requested() && !patience.pause().await {
            return Err(PublishError::Contended);
        }
    }
}

/// The order in which tags are written.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    /// Rolling tags that couldn't be told from exact ones any more after this version's exact tags are replaced.
    Replaced,
    Exact,
    Rolling,
    /// The source's rolling tags: the tags that most people look at move last.
    Source,
}

impl Phase {
    fn of(surveyed: &Surveyed<'_>, decision: &Decision) -> Self {
        match (decision.kind, &surveyed.wanted.artifacts[decision.artifact].variant) {
            (TagKind::Exact, _) => Self::Exact,
            (TagKind::Rolling, _) if surveyed.goes_before_exact_tags(decision) => Self::Replaced,
            (TagKind::Rolling, Some(_)) => Self::Rolling,
            (TagKind::Rolling, None) => Self::Source,
        }
    }
}

/// What has been written so far.
#[derive(Default)]
struct Done {
    /// For each written tag, the digest that it named before this run.
    written: BTreeMap<Place, Option<Digest>>,
    failed: BTreeMap<Place, Flaw>,
}

/// The result of writing one tag.
enum Attempt {
    Written,
    /// The tag has changed since it was decided.
    Changed,
    Failed(RegistryError),
    /// The tag was left alone, because the run is being stopped.
    Left,
}

impl Done {
    /// The tags that have to be written now. A tag that failed isn't retried by this run, and holds the rolling tags of
    /// its entry. A run that is being stopped only corrects tags that it wrote itself.
    fn to_write(&self, surveyed: &Surveyed<'_>, stopped: bool) -> Vec<Decision> {
        let is_open = |decision: &&Decision| {
            let place = (decision.destination.clone(), decision.tag.clone());
            surveyed.may_publish(decision)
                && !self.failed.contains_key(&place)
                && !self.waits_for_exact(surveyed, decision)
                && (!stopped || self.written.contains_key(&place))
        };
        surveyed.decisions.tags.iter().filter(is_open).cloned().collect()
    }

    /// Whether a rolling tag would name an image whose exact tag couldn't be written.
    fn waits_for_exact(&self, surveyed: &Surveyed<'_>, decision: &Decision) -> bool {
        let tags = &surveyed.wanted.artifacts[decision.artifact].tags;
        decision.kind == TagKind::Rolling
            && matches!(decision.verdict, Verdict::Write(_))
            && tags.exact.iter().any(|exact| {
                tags.entry_of(exact) == tags.entry_of(&decision.tag)
                    && self.failed.contains_key(&(decision.destination.clone(), exact.clone()))
            })
    }

    /// Fails the tags that name, or would name, an image of this release whose content couldn't be completed.
    fn fail_incomplete(
        &mut self,
        surveyed: &Surveyed<'_>,
        complete: &BTreeMap<(Repository, Digest), Blobs>,
        error: &PublishError,
    ) {
        let hints = match error {
            PublishError::Registry(error) => error.hints(),
            _ => Hints::none(),
        };
        for (to, _, content) in surveyed.content_by_destination() {
            let decisions = surveyed.decisions.tags.iter().filter(|decision| decision.destination == *to);
            let named =
                |decision: &&Decision| decision.verdict.digest().or(decision.now.as_ref()) == Some(content.digest());
            if !complete.contains_key(&(to.clone(), content.digest().clone())) {
                for decision in decisions.filter(named) {
                    let place = (to.clone(), decision.tag.clone());
                    self.failed.entry(place).or_insert_with(|| flaw(error, hints.clone()));
                }
            }
        }
    }

    /// Writes tags, as many in parallel as the registries allow, so that outsiders see half-moved tags only during this
    /// call. Returns whether all tags were unchanged since their decisions.
    async fn write<'d>(
        &mut self,
        registries: &Registries,
        surveyed: &Surveyed<'_>,
        decisions: impl Iterator<Item = &'d Decision>,
        stages: &Stages,
        stopped: bool,
        lines: &Lines<'_>,
    ) -> bool {
        let documents = decisions
            .filter(|decision| !self.waits_for_exact(surveyed, decision))
            .filter_map(|decision| Some((decision, surveyed.document(decision.verdict.digest()?)?)));
        let attempts: Vec<(&Decision, Attempt)> = stream::iter(documents.enumerate())
            .map(async |(number, (decision, document))| {
                if stages.stop().is_requested() && !stopped {
                    return (decision, Attempt::Left);
                }
                let attempt = write_one(registries, decision, document).await.unwrap_or_else(Attempt::Failed);
                if matches!(attempt, Attempt::Written) {
                    stages.note(|ledger| ledger.written.extend([decision.reference()]));
                    lines.add(Phase::of(surveyed, decision), number, decision);
                }
                (decision, attempt)
            })
            .buffer_unordered(registries.concurrency())
            .collect()
            .await;
        let mut through = true;
        for (decision, attempt) in attempts {
            let place = (decision.destination.clone(), decision.tag.clone());
            match attempt {
                Attempt::Written => {
                    // If a tag is written several times, the first write saw the digest from before this run.
                    self.written.entry(place).or_insert_with(|| decision.now.clone());
                }
                Attempt::Changed | Attempt::Left => through = false,
                Attempt::Failed(error) => drop(self.failed.insert(place, flaw(&error, error.hints()))),
            }
        }
        through
    }

    fn finish<'a>(
        self,
        surveyed: Surveyed<'a>,
        blobs: BTreeMap<(Repository, Digest), Blobs>,
        log: &Log,
    ) -> Result<Published<'a>, PublishError> {
        let mut failed = self.failed;
        let (mut outcomes, mut said) = (BTreeMap::new(), Vec::new());
        for decision in &surveyed.decisions.tags {
            let place = (decision.destination.clone(), decision.tag.clone());
            let outcome = match self.written.get(&place) {
                Some(before) if !matches!(decision.verdict, Verdict::Stays(_)) => {
                    outcome_of_written(decision, before.as_ref())
                }
                // This run gave the tag to a newer version, whose image the tag names now.
                Some(_) => given(decision).unwrap_or_else(|| decision.outcome()),
                None => decision.outcome(),
            };
            if decision.verdict.writes() && !self.written.contains_key(&place) {
                failed
                    .entry(place.clone())
                    .or_insert_with(|| Flaw::from("it has changed while this run was under way".to_owned()));
            }
            if let Verdict::Stays(Reason::Unknown(cause)) = &decision.verdict {
                failed.entry(place.clone()).or_insert_with(|| Flaw::from(cause.clone()));
            }
            if !self.written.contains_key(&place) {
                said.push((decision, outcome.clone()));
            }
            outcomes.insert(place, outcome);
        }
        tell(&said, log);
        if failed.is_empty() {
            return Ok(Published { surveyed, blobs, outcomes });
        }
        let failed = failed.into_iter().map(|((repository, tag), cause)| (repository.tagged(tag), cause));
        Err(PublishError::Tags(failed.collect()))
    }
}

/// The log lines about written tags, in the order of the plan, whichever was written first. They are logged when this
/// is dropped, even if the run ends in between.
struct Lines<'a> {
    log: &'a Log,
    written: Mutex<BTreeMap<(Phase, usize), (Decision, TagOutcome)>>,
}

impl Lines<'_> {
    fn add(&self, phase: Phase, number: usize, decision: &Decision) {
        let line = (decision.clone(), decision.outcome());
        self.written.lock().unwrap_or_else(PoisonError::into_inner).insert((phase, number), line);
    }
}

impl Drop for Lines<'_> {
    fn drop(&mut self) {
        let written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let said: Vec<_> = written.values().map(|(decision, outcome)| (decision, outcome.clone())).collect();
        tell(&said, self.log);
    }
}

/// Logs what became of tags: a line for each if the log is verbose, else one for the tags of each image.
fn tell(said: &[(&Decision, TagOutcome)], log: &Log) {
    if log.is_verbose() {
        said.iter().for_each(|(decision, outcome)| log.image(&decision.reference(), None, &outcome.to_string()));
    } else {
        let said = said.iter().map(|(decision, outcome)| Said::of(decision, Word::done(outcome)));
        tag_lines::lines(said).iter().for_each(|line| log.line(line));
    }
}

async fn write_one(
    registries: &Registries,
    decision: &Decision,
    document: &Document,
) -> Result<Attempt, RegistryError> {
    if registries.digest(&decision.reference()).await? != decision.now {
        return Ok(Attempt::Changed);
    }
    let moved = registries.move_tag(&decision.destination, &decision.tag, decision.now.as_ref(), document).await?;
    Ok(if moved { Attempt::Written } else { Attempt::Changed })
}

/// An error with its causes.
fn flaw(error: &(dyn Error + 'static), hints: Hints) -> Flaw {
    Flaw::new(together([error]), hints)
}

/// The outcome for a tag that this run wrote, and that names the right image now.
fn outcome_of_written(decision: &Decision, before: Option<&Digest>) -> TagOutcome {
    match (&decision.verdict, before) {
        (Verdict::Right, None) => TagOutcome::Created,
        (Verdict::Right, Some(before)) if Some(before) != decision.now.as_ref() => TagOutcome::Moved(before.clone()),
        _ => decision.outcome_after(before),
    }
}

fn given(decision: &Decision) -> Option<TagOutcome> {
    match &decision.verdict {
        Verdict::Stays(Reason::HeldBy(version, _)) => Some(TagOutcome::GivenTo(version.clone())),
        _ => None,
    }
}
