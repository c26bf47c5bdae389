//! A run as a step of a job: from its environment to its outputs, whatever comes in between.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use crate::Ended;
use crate::action::log::Log;
use crate::action::workflow::{self, Level};
use crate::action::{Environment, Files, Options};
use crate::error::{Failure, Fault, Situation};
use crate::plan::Plan;
use crate::remotes::Remotes;
use crate::report::{Report, outputs, summary};
use crate::stages::Stages;

/// How long removing what the run made on the engine may take.
const CLEAN_UP: Duration = Duration::from_secs(60);
/// The same for a run that is stopped, which ends within five seconds.
const CLEAN_UP_WHEN_STOPPED: Duration = Duration::from_secs(4);

/// How long a run that is stopped while it writes tags may take for its last look. Nothing is on the engine by then.
const LAST_LOOK: Duration = Duration::from_secs(4);

/// Somebody stopped the run.
#[derive(Debug, thiserror::Error)]
#[error("the run was stopped by {signal} {}; {}\nhint: run it again: it goes on from what is there", during(*.stage), visible(*.stage))]
pub struct Interrupted {
    signal: &'static str,
    stage: Option<&'static str>,
}

impl Situation for Interrupted {
    fn fault(&self) -> Fault {
        Fault::Publication
    }
}

fn during(stage: Option<&str>) -> String {
    stage.map_or_else(|| "before its first stage".to_owned(), |stage| format!("during the stage `{stage}`"))
}

/// What outsiders see of a run that ends in `stage`.
fn visible(stage: Option<&str>) -> &'static str {
    match stage {
        Some("tag") => "the tags that the log names were written, the others were not",
        Some("report") => "everything was published, and the release's notes may not tell",
        _ => "nothing was published",
    }
}

/// Publishes what `options`, `environment` and `files` ask for, and writes what the runner reads.
///
/// # Errors
/// The first stage that fails. What the run made on the engine is removed all the same. Where only the release's notes can't be
/// written, everything is published, and outputs and summary are written.
pub async fn publish(
    options: &Options,
    environment: &Environment,
    files: &dyn Files,
    log: &Log,
) -> Result<Report, Failure> {
    // From here on: the first process of a container gets no signal that it has no handler for.
    let interruption = interruption();
    tokio::pin!(interruption);
    let (plan, inputs, event) = Plan::read(options, environment, files)?;
    inputs.secrets().for_each(|secret| log.mask(secret));
    plan.warnings.iter().for_each(|warning| log.annotate(Level::Warning, "publish-variants", &warning.to_string()));
    let remotes = Remotes::prepare(&inputs, environment)?;
    let stages = Stages::start();
    let (outcome, patience) = {
        let run = crate::run(plan, &inputs, &event, &remotes, &stages, log);
        tokio::pin!(run);
        tokio::select! {
            outcome = &mut run => (outcome, CLEAN_UP),
            signal = &mut interruption => {
                let interrupted = Interrupted { signal, stage: stages.current() };
                // Writes under way are finished, and the tags that were written are looked at once more.
                if interrupted.stage == Some("tag") {
                    stages.stop().request();
                    let _ = tokio::time::timeout(LAST_LOOK, run).await;
                }
                (Err(interrupted.into()), CLEAN_UP_WHEN_STOPPED)
            }
        }
    };
    if let Some(left) = remotes.clean_up(patience).await {
        log.annotate(Level::Warning, "publish-variants", &left);
    }
    let Ended { report, untold } = outcome?;
    // Outputs and summary come before the notes' error: the next steps need them.
    tell(&report, environment, log)?;
    match untold {
        None => Ok(report),
        Some(failure) => {
            Err(failure.after_publishing("everything is published, and the release's notes don't tell of it"))
        }
    }
}

/// The first SIGTERM or SIGINT since this was called.
fn interruption() -> impl Future<Output = &'static str> {
    let listening = signal(SignalKind::terminate()).and_then(|term| Ok((term, signal(SignalKind::interrupt())?)));
    async {
        let Ok((mut terminate, mut interrupt)) = listening else { return std::future::pending().await };
        tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        }
    }
}

/// Writes outputs and summary, and warnings into the log.
fn tell(report: &Report, environment: &Environment, log: &Log) -> Result<(), workflow::NotWritten> {
    for warning in &report.warnings {
        log.annotate(Level::Warning, "publish-variants", warning);
    }
    let files = workflow::Files::of(|name| environment.get(name).map(str::to_owned));
    let mut values = outputs::outputs(report);
    if let Some(path) = write_checksums(report, environment)? {
        values.push(("checksums", path.display().to_string()));
    }
    for (_, value) in &mut values {
        *value = log.redacted(value);
    }
    files.set_outputs(&values)?;
    files.append_summary(&log.redacted(&summary::markdown(report)))
}

/// The file of checksums, in the workspace, which is the one folder that this step and the next ones share. Its path
/// is relative to it.
fn write_checksums(report: &Report, environment: &Environment) -> Result<Option<PathBuf>, workflow::NotWritten> {
    let Some(workspace) = environment.get("GITHUB_WORKSPACE").filter(|_| environment.is_action()) else {
        return Ok(None);
    };
    let name = PathBuf::from("publish-variants.sha256");
    let path = Path::new(workspace).join(&name);
    std::fs::write(&path, outputs::checksums(report)).map_err(|cause| workflow::NotWritten {
        variable: "GITHUB_WORKSPACE",
        path,
        cause,
    })?;
    Ok(Some(name))
}
