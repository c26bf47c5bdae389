//! Removes everything that the run created on the engine, and nothing else.
//!
//! A lease's `Drop` can't wait for the engine, so it hands the removal over to a task, which carries out removals in
//! order.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot, watch};

use super::cache::{Extent, Record};
use super::images::Base;
use super::{Engine, EngineError, LABEL, LOCAL, Shared, until_answered};
use crate::image::PinnedReference;

/// The pause between two looks for what an interrupted operation may still create.
const PAUSE: Duration = Duration::from_millis(200);
/// How many consecutive looks must find nothing after something was interrupted.
const LOOKS: usize = 3;
/// How long an abandoned build may take to finish.
const GRACE: Duration = Duration::from_secs(2);
/// How many looks are taken while something can't be removed.
const PATIENCE: usize = 6;

/// What has to be removed sooner or later.
#[derive(Debug)]
pub(super) struct Ledger {
    /// The records in the build cache before the run; `None` if the engine didn't list them.
    pub(super) cache_before: Option<HashSet<String>>,
    /// The images from registries that the run uses.
    pub(super) bases: Mutex<BTreeMap<PinnedReference, Arc<Base>>>,
    /// The commands in the builds' steps: up to Docker 20.10, BuildKit has no better name for their records.
    commands: Mutex<HashSet<String>>,
    /// Whether an operation was dropped half-way, so that its result may appear after we have looked.
    interrupted: AtomicBool,
    counter: AtomicU64,
    /// Stops abandoned builds, which are its receivers.
    stop: watch::Sender<bool>,
}

/// Something to remove from the engine.
#[derive(Debug)]
pub(super) enum Chore {
    /// A container, by name.
    Container(String),
    /// An image that the run built, by name.
    Built(String),
    /// An image that the run pulled, unless a lease waits for it again.
    Pulled(PinnedReference),
    /// Everything. What couldn't be removed is sent back.
    Sweep(oneshot::Sender<Vec<String>>),
}

/// Hands chores to the task.
#[derive(Clone, Debug)]
pub(super) struct Janitor(mpsc::UnboundedSender<Chore>);

/// What could not be removed, for a warning.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeftBehind(Vec<String>);

impl LeftBehind {
    /// Whether everything was removed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for LeftBehind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl Engine {
    /// Waits until everything that the run created on the engine is removed, for at most `budget`, and returns what is
    /// left.
    ///
    /// Drop everything that holds leases first: built images, base leases, and futures that were working with the
    /// engine.
    pub async fn clean_up(&self, budget: Duration) -> LeftBehind {
        let (answer, swept) = oneshot::channel();
        self.janitor.hand(Chore::Sweep(answer));
        match tokio::time::timeout(budget, swept).await {
            Ok(Ok(left)) => LeftBehind(left),
            _ => LeftBehind(vec![format!(
                "the engine was not cleaned up within {} s; {}",
                budget.as_secs(),
                self.shared.whereabouts()
            )]),
        }
    }
}

impl Ledger {
    pub(super) fn new(cache_before: Option<HashSet<String>>) -> Self {
        Self {
            cache_before,
            bases: Mutex::default(),
            commands: Mutex::default(),
            interrupted: AtomicBool::new(false),
            counter: AtomicU64::new(0),
            stop: watch::Sender::new(false),
        }
    }

    /// A number that the run hasn't used in a name so far.
    pub(super) fn number(&self) -> u64 {
        self.counter.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn bases(&self) -> MutexGuard<'_, BTreeMap<PinnedReference, Arc<Base>>> {
        self.bases.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ledger {
    /// Records that a build is about to run `commands`. Only their first lines count, because BuildKit joins the
    /// others.
    pub(super) fn will_run(&self, commands: &[String]) {
        // BuildKit describes a list by its words, and a shell's command by its text.
        let named = |command: &String| {
            let command = without_flags(command);
            match serde_json::from_str::<Vec<String>>(command) {
                Ok(words) => words.join(" "),
                Err(_) => command.lines().next().unwrap_or_default().trim_end_matches(['\\', ' ', '\t']).to_owned(),
            }
        };
        self.commands.lock().unwrap_or_else(PoisonError::into_inner).extend(commands.iter().map(named));
    }

    /// Whether a record's description contains a command or an image of the run.
    pub(super) fn mentioned(&self, description: &str) -> bool {
        let commands = self.commands.lock().unwrap_or_else(PoisonError::into_inner);
        let of_command = description.starts_with("mount / from exec ")
            || description.starts_with("cached mount ") && description.contains(" from exec ");
        (of_command && commands.iter().any(|command| description.contains(command.as_str())))
            || self.bases().keys().any(|reference| description.contains(&reference.to_string()))
    }
}

/// A `RUN` instruction without `--mount=…` and the like, which BuildKit doesn't describe.
fn without_flags(mut command: &str) -> &str {
    while let Some(rest) = command.trim_start().strip_prefix("--") {
        command = rest.trim_start_matches(|c: char| !c.is_whitespace());
    }
    command.trim_start()
}

/// A build in progress.
#[derive(Debug)]
pub(super) struct Solving(watch::Receiver<bool>);

impl Solving {
    /// Waits until the build should stop.
    pub(super) async fn stopped(mut self) {
        // Without the ledger, nothing can ask the build to stop; it then ends by itself.
        if self.0.wait_for(|&stop| stop).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl Ledger {
    /// Registers a build, which the clean-up then waits for.
    pub(super) fn solving(&self) -> Solving {
        Solving(self.stop.subscribe())
    }

    /// Waits for abandoned builds, and stops those that take too long. Returns whether there were any.
    async fn finish_builds(&self) -> bool {
        let dropped = self.stop.receiver_count() > 0;
        if tokio::time::timeout(GRACE, self.stop.closed()).await.is_err() {
            self.stop.send_replace(true);
            self.stop.closed().await;
            self.stop.send_replace(false);
        }
        dropped
    }
}

/// Wraps a request that creates something: if this is dropped before [`Making::made`], the ledger counts the request as
/// interrupted.
pub(super) struct Making<'a>(Option<&'a Ledger>);

impl<'a> Making<'a> {
    pub(super) fn begin(ledger: &'a Ledger) -> Self {
        Self(Some(ledger))
    }

    /// Records that the engine has answered.
    pub(super) fn made(mut self) {
        self.0 = None;
    }
}

impl Drop for Making<'_> {
    fn drop(&mut self) {
        if let Some(ledger) = self.0 {
            ledger.interrupted.store(true, Ordering::Relaxed);
        }
    }
}

impl Janitor {
    pub(super) fn start(shared: &Arc<Shared>) -> Self {
        let (sender, mut chores) = mpsc::unbounded_channel();
        let shared = Arc::clone(shared);
        tokio::spawn(async move {
            while let Some(chore) = chores.recv().await {
                shared.see_to(chore).await;
            }
        });
        Self(sender)
    }

    pub(super) fn hand(&self, chore: Chore) {
        // Without a janitor, the runtime has ended, so nothing can wait for the removal.
        let _ = self.0.send(chore);
    }
}

/// What a look at the engine found.
#[derive(Default)]
struct Found {
    /// The number of containers and images that the engine has removed.
    removed: usize,
    /// The records of the build cache that it was asked to remove.
    records: Vec<Record>,
    /// What it refused to list or to remove, and why.
    refusals: Vec<String>,
}

impl Found {
    /// Notes a refusal, which doesn't concern anything else. Without a connection, nothing else can be removed either.
    fn unless_refused<T: Default>(&mut self, answer: Result<T, EngineError>) -> Result<T, EngineError> {
        match answer {
            Err(error) if !error.is_lost_connection() => {
                self.refusals.push(describe(&error));
                Ok(T::default())
            }
            answer => answer,
        }
    }

    /// Counts a container or an image, if it was removed.
    fn count(&mut self, removed: Result<bool, EngineError>) -> Result<(), EngineError> {
        let removed = self.unless_refused(removed)?;
        self.removed += usize::from(removed);
        Ok(())
    }
}

impl Shared {
    /// Failures are ignored here: the sweep at the end looks again, and reports them.
    async fn see_to(&self, chore: Chore) {
        match chore {
            Chore::Container(name) => drop(self.remove_container(&name).await),
            Chore::Built(image) => {
                let _ = self.remove_image(&image).await;
                let _ = self.prune(Extent::Finished).await;
            }
            Chore::Pulled(reference) => {
                if let Ok(true) = self.remove_base(&reference).await {
                    let _ = self.prune(Extent::Finished).await;
                }
            }
            Chore::Sweep(answer) => {
                // The receiver may have stopped waiting.
                let _ = answer.send(self.sweep().await);
            }
        }
    }

    /// Returns whether there was something to remove.
    async fn remove_base(&self, reference: &PinnedReference) -> Result<bool, EngineError> {
        let Some(base) = self.ledger.bases().get(reference).cloned() else { return Ok(false) };
        base.remove(self).await
    }

    /// Removes everything of the run until nothing is left, or until the rest can't be removed. Returns the rest.
    async fn sweep(&self) -> Vec<String> {
        // The engine may still be busy with dropped operations; then one look that finds nothing isn't enough.
        let interrupted = self.ledger.finish_builds().await || self.ledger.interrupted.load(Ordering::Relaxed);
        let mut looks = if interrupted { LOOKS } else { 1 };
        let (mut before, mut patience) = (None, PATIENCE);
        loop {
            let found = match until_answered(|| self.sweep_once()).await {
                Ok(found) => found,
                Err(error) => return vec![format!("{}; {}", describe(&error), self.whereabouts())],
            };
            // An anonymous record that can't be removed is in use, and hence not ours. A record of ours is in use by a
            // dropped build that hasn't noticed yet.
            let records = found.records.iter().filter(|record| self.is_named_ours(record));
            let records = records.map(|record| format!("build cache `{}`", record.id));
            let left: Vec<String> = found.refusals.into_iter().chain(records).collect();
            if found.removed == 0 && (found.records.is_empty() || before.as_ref() == Some(&found.records)) {
                patience -= 1;
                looks = looks.saturating_sub(usize::from(left.is_empty()));
            }
            if looks == 0 || patience == 0 {
                return left;
            }
            before = Some(found.records);
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Looks once for everything of the run, and removes what the engine doesn't refuse to remove.
    ///
    /// # Errors
    /// The connection is lost.
    async fn sweep_once(&self) -> Result<Found, EngineError> {
        let mut found = Found::default();
        let label = json!({ "label": [format!("{LABEL}={}", self.run)] }).to_string();
        let listing = self.http.get("/containers/json", "list containers").query("all", "1").query("filters", label);
        let listing = found.unless_refused(listing.json().await)?;
        for container in listing.as_array().into_iter().flatten() {
            let removed = self.remove_container(container["Id"].as_str().unwrap_or_default()).await;
            found.count(removed.map(|()| true))?;
        }
        let names = json!({ "reference": [format!("{LOCAL}/{}/*", self.run)] }).to_string();
        let listing = self.http.get("/images/json", "list images").query("filters", names);
        let listing = found.unless_refused(listing.json().await)?;
        for name in self.local_names(&listing) {
            let removed = self.remove_image(&name).await;
            found.count(removed.map(|()| true))?;
        }
        let references: Vec<_> = self.ledger.bases().keys().cloned().collect();
        for reference in &references {
            found.count(self.remove_base(reference).await)?;
        }
        found.records = found.unless_refused(self.prune(Extent::Everything).await)?;
        Ok(found)
    }

    /// How to find what the run made, if it isn't known by name.
    fn whereabouts(&self) -> String {
        format!("look for containers with the label `{LABEL}={run}` and images named `{LOCAL}/{run}/…`", run = self.run)
    }

    /// The names in a list of images that this run chose.
    fn local_names(&self, listing: &Value) -> Vec<String> {
        let prefix = format!("{LOCAL}/{}/", self.run);
        let tags = listing.as_array().into_iter().flatten().filter_map(|image| image["RepoTags"].as_array()).flatten();
        tags.filter_map(Value::as_str).filter(|name| name.starts_with(&prefix)).map(str::to_owned).collect()
    }

    async fn remove_container(&self, name: &str) -> Result<(), EngineError> {
        let what = format!("remove container `{name}`");
        let request = self.http.delete(format!("/containers/{name}"), what).query("force", "1").query("v", "1");
        gone(request.json().await)
    }

    pub(super) async fn remove_image(&self, name: &str) -> Result<(), EngineError> {
        let request = self.http.delete(format!("/images/{name}"), format!("remove image `{name}`"));
        // Its untagged parents, if there are any, were there before the run.
        gone(request.query("noprune", "1").json().await)
    }
}

/// A missing container or image is fine, and so is one that is being removed already.
fn gone(answer: Result<Value, EngineError>) -> Result<(), EngineError> {
    match answer {
        Err(error) if error.status() == Some(404) => Ok(()),
        Err(EngineError::Request { cause, .. }) if cause.message().contains("already in progress") => Ok(()),
        other => other.map(drop),
    }
}

fn describe(error: &EngineError) -> String {
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}"));
    format!("{error}{}", cause.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_recognised_by_the_command_whatever_its_flags() {
        let ledger = Ledger::new(None);
        ledger.will_run(&[
            "--mount=type=cache,target=/var/cache/apt --network=none apt-get update \\\t\n  && apt-get install git"
                .to_owned(),
            r#"--security=insecure ["make", "all"]"#.to_owned(),
            "echo -- done".to_owned(),
        ]);
        for ours in [
            "mount / from exec /bin/sh -c apt-get update && apt-get install git",
            "cached mount /var/cache/apt from exec /bin/sh -c apt-get update && apt-get install git",
            "mount / from exec make all",
            "mount / from exec /bin/sh -c echo -- done",
        ] {
            assert!(ledger.mentioned(ours), "{ours}");
        }
        for other in ["mount / from exec /bin/sh -c make", "local source for context", "cached mount /x"] {
            assert!(!ledger.mentioned(other), "{other}");
        }
    }
}
