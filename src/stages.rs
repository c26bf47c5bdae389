//! The progress of a run: its stage, the tags that it has written, and the time that each stage took.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crate::action::Log;
use crate::action::log::Group;
use crate::image::{Reference, Repository};
use crate::plan::Plan;
use crate::report::Stage;

/// The progress of a run through its stages.
#[derive(Debug)]
pub struct Stages {
    started: Instant,
    times: Mutex<Vec<Stage>>,
    current: Mutex<Option<&'static str>>,
    ledger: Mutex<Ledger>,
    stop: Stop,
}

/// What a run intends to do and has done so far. It outlives the run, so that the summary of a failed run can use it.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// The name of the tool: `uv`.
    pub tool: String,
    /// The version; empty until it is known.
    pub version: String,
    /// Whether this is a dry run.
    pub is_dry_run: bool,
    /// The destinations.
    pub repositories: Vec<Repository>,
    /// The tags to write, in the order of the plan. Empty until they are decided.
    pub to_write: Vec<Reference>,
    /// Tags that were written.
    pub written: BTreeSet<Reference>,
}

impl Ledger {
    /// The ledger of `plan` before anything is done.
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

/// A request to end the run early. The stage `tag` checks it, and finishes the writes in flight instead of being
/// dropped.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Requests the end.
    pub fn request(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether the end has been requested.
    #[must_use]
    pub fn is_requested(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A stage in progress.
#[derive(Debug)]
#[must_use = "the stage ends when this is dropped"]
struct UnderWay<'a> {
    stages: &'a Stages,
    name: &'static str,
    started: Instant,
    _group: Group,
}

impl Stages {
    /// Starts the clock; no stage has begun yet.
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

    /// Does the work of a stage within a group of the log.
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

    /// The stage that began last.
    #[must_use]
    pub fn current(&self) -> Option<&'static str> {
        *self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Updates the ledger.
    pub fn note(&self, add: impl FnOnce(&mut Ledger)) {
        add(&mut self.ledger.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// A copy of the ledger.
    #[must_use]
    pub fn ledger(&self) -> Ledger {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The times of the stages that have ended.
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
