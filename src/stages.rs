//! Which stage a run is in, what it has done so far, and where its time went.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crate::action::Log;
use crate::action::log::Group;
use crate::image::{Reference, Repository};
use crate::plan::Plan;
use crate::report::Stage;

/// The stages of a run, so far.
#[derive(Debug)]
pub struct Stages {
    started: Instant,
    times: Mutex<Vec<Stage>>,
    current: Mutex<Option<&'static str>>,
    ledger: Mutex<Ledger>,
    stop: Stop,
}

/// What a run is to do and has done so far. It outlives the run, for the summary of one that fails.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// The tool's name.
    pub tool: String,
    /// Its version; empty while it isn't known.
    pub version: String,
    /// Whether nothing is to be published.
    pub is_dry_run: bool,
    /// Where to publish.
    pub repositories: Vec<Repository>,
    /// The tags that are to be written, in the order of the plan. Empty while nobody knows.
    pub to_write: Vec<Reference>,
    /// Those that were written.
    pub written: BTreeSet<Reference>,
}

impl Ledger {
    /// A run of `plan` that has done nothing yet.
    #[must_use]
    pub fn of(plan: &Plan) -> Self {
        let source = plan.source.as_ref().and_then(|source| source.name.repository());
        let repository = plan.destinations.first().or(source);
        Self {
            tool: repository.map(Repository::name).unwrap_or_default().to_owned(),
            version: plan.version.to_string(),
            is_dry_run: plan.dry_run,
            repositories: plan.destinations.clone(),
            ..Self::default()
        }
    }
}

/// A request to end the run. The stage `tag` checks it, and finishes the writes under way instead of being dropped.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Asks for the end.
    pub fn request(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether somebody has asked for it.
    #[must_use]
    pub fn is_requested(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A stage under way. It ends when this is dropped.
#[derive(Debug)]
#[must_use = "the stage ends when this is dropped"]
struct UnderWay<'a> {
    stages: &'a Stages,
    name: &'static str,
    started: Instant,
    _group: Group,
}

impl Stages {
    /// None yet.
    #[must_use]
    pub fn start() -> Self {
        Self {
            started: Instant::now(),
            times: Mutex::default(),
            current: Mutex::default(),
            ledger: Mutex::default(),
            stop: Stop::default(),
        }
    }

    /// Does the work of a stage, in a group of the log.
    pub async fn during<T>(&self, name: &'static str, log: &Log, work: impl Future<Output = T>) -> T {
        let _stage = self.begin(name, log);
        work.await
    }

    /// The request to end the run early.
    #[must_use]
    pub fn stop(&self) -> &Stop {
        &self.stop
    }

    /// Begins a stage, and its group in the log.
    fn begin(&self, name: &'static str, log: &Log) -> UnderWay<'_> {
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Some(name);
        UnderWay { stages: self, name, started: Instant::now(), _group: log.group(name) }
    }

    /// The stage that was begun last.
    #[must_use]
    pub fn current(&self) -> Option<&'static str> {
        *self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds to what is known of the run.
    pub fn note(&self, add: impl FnOnce(&mut Ledger)) {
        add(&mut self.ledger.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// What is known of the run.
    #[must_use]
    pub fn ledger(&self) -> Ledger {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The stages that have ended.
    #[must_use]
    pub fn times(&self) -> Vec<Stage> {
        self.times.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        let stage = Stage {
            name: self.name.to_owned(),
            start: self.started - self.stages.started,
            duration: self.started.elapsed(),
        };
        self.stages.times.lock().unwrap_or_else(PoisonError::into_inner).push(stage);
    }
}
