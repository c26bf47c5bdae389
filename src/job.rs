//! A run as a step of a job: from its environment to its outputs, however the run ends.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};

use crate::Ended;
use crate::action::environment::write_anew;
use crate::action::inputs::{self, ReleaseNotes};
use crate::action::log::Log;
use crate::action::workflow::{self, Level};
use crate::action::{Environment, Files, Options};
use crate::error::{Failure, Fault, StageError};
use crate::hint::{Hinted, Hints};
use crate::image::{Repository, SourceName};
use crate::plan::Plan;
use crate::pull_request::{self, Given};
use crate::quote::quoted;
use crate::remotes::Remotes;
use crate::report::{Comparison, Report, Status, notes, outputs, summary};
use crate::stages::Stages;
use crate::troubleshooting::Topic;

/// How long removing the run's images and containers from the engine may take.
const CLEAN_UP: Duration = Duration::from_secs(60);
/// How long that may take in a stopped run, which must end within five seconds.
const CLEAN_UP_WHEN_STOPPED: Duration = Duration::from_secs(4);

/// How long a run that is stopped while it writes tags may take to look at them once more. By then, nothing of it is
/// left on the engine.
const LAST_LOOK: Duration = Duration::from_secs(4);

/// A signal that ended the run, and the stage that it came in.
#[derive(Debug, thiserror::Error)]
#[error("the run was stopped by {signal} {}; {}", during(*.stage), visible(*.stage))]
pub struct Interrupted {
    signal: &'static str,
    stage: Option<&'static str>,
}

impl Hinted for Interrupted {
    fn hints(&self) -> Hints {
        "run it again: it continues where this run stopped".into()
    }
}

impl StageError for Interrupted {
    fn topic(&self) -> Topic {
        Topic::Stopped
    }

    fn fault(&self) -> Fault {
        Fault::Publication
    }
}

fn during(stage: Option<&str>) -> String {
    stage.map_or_else(|| "before its first stage".to_owned(), |stage| format!("during the stage `{stage}`"))
}

/// What outsiders can see of a run that ends in `stage`.
fn visible(stage: Option<&str>) -> &'static str {
    match stage {
        Some("tag") => "the tags that the log names were written, the others were not",
        Some("report") => "everything was published, but the release notes may not say so",
        _ => "nothing was published",
    }
}

/// Publishes what `options`, `environment` and `files` ask for, and writes what the runner reads.
///
/// # Errors
/// The error of the first stage that fails. What the run made on the engine is removed nevertheless, and the
/// summary says how far it got. If only the release notes can't be written, everything is published, and outputs and
/// summary are written.
pub async fn publish(
    options: &Options,
    environment: &Environment,
    files: &dyn Files,
    log: &Log,
) -> Result<Report, Failure> {
    let stages = Stages::start();
    match run_until_stopped(options, environment, files, &stages, log).await {
        // Outputs and summary come before the error about the notes: the next steps need them.
        Ok(ended) => write_results(ended, environment, log),
        Err(failure) => {
            let redacted = failure.map(|text| log.redacted(text));
            let summary = summary::of_failure(&redacted, &stages.ledger(), &stages.times());
            if let Err(unwritten) = runner_files(environment).append_summary(&log.redacted(&summary)) {
                log.annotate(Level::Warning, "publish-variants", &Failure::from(unwritten).to_string());
            }
            Err(failure)
        }
    }
}

/// Runs until it ends, fails or is stopped.
async fn run_until_stopped(
    options: &Options,
    environment: &Environment,
    files: &dyn Files,
    stages: &Stages,
    log: &Log,
) -> Result<Ended, Failure> {
    // Listens from the beginning: the first process of a container gets no signal without a handler for it.
    let interruption = interruption();
    tokio::pin!(interruption);
    // Before anything else is printed, whether or not the input can be used.
    inputs::secrets(options, environment).iter().for_each(|secret| log.mask(secret));
    let (plan, inputs, event) = Plan::read(options, environment, files)?;
    let known = inputs.credentials.settle(repositories(&plan)).await;
    known.credentials.iter().for_each(|credential| log.mask_credential(credential));
    refuse_secrets(&plan, log)?;
    plan.warnings.iter().for_each(|warning| log.warn(warning));
    known.warnings.iter().for_each(|warning| log.annotate(Level::Warning, "publish-variants", warning));
    let remotes = Remotes::prepare(&inputs, known.credentials, environment, log)?;
    let (outcome, patience) = {
        let run = async {
            let given = Given { options, environment, files };
            let compared = pull_request::compare(&plan, &inputs, &event, given, remotes.github.as_ref());
            let run = crate::run(plan.clone(), &inputs, &event, &remotes, files, stages, log);
            let (mut outcome, comparison) = tokio::join!(run, compared);
            if let Ok(ended) = &mut outcome {
                ended.report.comparison = comparison;
            }
            outcome
        };
        tokio::pin!(run);
        tokio::select! {
            outcome = &mut run => (outcome, CLEAN_UP),
            signal = &mut interruption => {
                let interrupted = Interrupted { signal, stage: stages.current() };
                // Finishes the writes in flight, and looks at the written tags once more.
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
    outcome
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

/// The repositories that a run reads from or writes to.
fn repositories(plan: &Plan) -> impl Iterator<Item = &Repository> {
    let read = plan.variants.iter().filter_map(|variant| variant.made.repository());
    let sources = plan.sources().into_iter().filter_map(SourceName::repository);
    plan.destinations.iter().chain(sources).chain(read)
}

/// The published content would contain a secret, in this place.
#[derive(Debug, thiserror::Error)]
#[error("a password or token is part of what would be published: `{0}`")]
pub struct SecretInPlan(String);

impl Hinted for SecretInPlan {
    fn hints(&self) -> Hints {
        "take it out of the inputs; if it happens to be a common word, use a longer password".into()
    }
}

impl StageError for SecretInPlan {
    fn topic(&self) -> Topic {
        Topic::Secret
    }

    fn fault(&self) -> Fault {
        Fault::Input
    }
}

fn refuse_secrets(plan: &Plan, log: &Log) -> Result<(), SecretInPlan> {
    let plan = serde_json::from_str(&plan.to_json()).expect("a plan is JSON");
    let mut values = vec![&plan];
    while let Some(value) = values.pop() {
        match value {
            Value::String(text) => {
                let redacted = log.redacted(text);
                if redacted != *text {
                    return Err(SecretInPlan(quoted(&redacted)));
                }
            }
            Value::Array(inner) => values.extend(inner),
            Value::Object(inner) => values.extend(inner.values()),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
    Ok(())
}

/// The outputs that would contain a secret, by name.
#[derive(Debug, thiserror::Error)]
#[error(
    "a password or token is part of {}, which the runner doesn't get; everything else was done as the log says", listed(.0)
)]
pub struct SecretInOutput(Vec<&'static str>);

fn listed(names: &[&str]) -> String {
    match names {
        [several @ .., last] if !several.is_empty() => format!("the outputs `{}` and `{last}`", several.join("`, `")),
        names => format!("the output `{}`", names.concat()),
    }
}

impl Hinted for SecretInOutput {
    fn hints(&self) -> Hints {
        "if it happens to be a common word, use a longer password".into()
    }
}

impl StageError for SecretInOutput {
    fn topic(&self) -> Topic {
        Topic::Secret
    }

    fn fault(&self) -> Fault {
        Fault::Publication
    }
}

fn runner_files(environment: &Environment) -> workflow::Files {
    workflow::Files::of(|name| environment.get(name).map(str::to_owned))
}

/// Writes outputs and summary, and logs warnings. Fails if the release notes couldn't be written.
fn write_results(ended: Ended, environment: &Environment, log: &Log) -> Result<Report, Failure> {
    let Ended { report, form, notes_failure } = ended;
    let notes_failure = notes_failure
        .map(|failure| failure.after_publishing("everything is published, but the release notes don't say so"));
    let failure = set_outputs(&report, form, environment, log).err().or(notes_failure);
    let error = failure.as_ref().map(|failure| failure.map(|text| log.redacted(text)));
    let summary = summary::markdown(&without_secrets(&report, log), error.as_ref());
    runner_files(environment).append_summary(&log.redacted(&summary))?;
    failure.map_or(Ok(report), Err)
}

/// `report` with `***` for secrets in texts that others wrote. In the Markdown made of it they would be escaped, and no
/// longer found.
fn without_secrets(report: &Report, log: &Log) -> Report {
    let mut report = report.clone();
    report.warnings.iter_mut().for_each(|warning| *warning = log.redacted(warning));
    match &mut report.comparison {
        Some(Comparison::Known { differences, .. }) => {
            differences.iter_mut().for_each(|line| *line = log.redacted(line));
        }
        Some(Comparison::Unknown(reason)) => *reason = log.redacted(reason),
        None => {}
    }
    let destinations = report.variants.iter_mut().flat_map(|variant| &mut variant.destinations);
    let of_source = report.source.iter_mut().flat_map(|source| &mut source.destinations);
    let kept = destinations.chain(of_source).flat_map(|destination| &mut destination.kept);
    kept.for_each(|kept| kept.reason = log.redacted(&kept.reason));
    report
}

/// Writes outputs, and logs warnings. An output is written unchanged or not at all: with `***` in it, no program could
/// use it.
fn set_outputs(report: &Report, form: ReleaseNotes, environment: &Environment, log: &Log) -> Result<(), Failure> {
    for warning in &report.warnings {
        log.annotate(Level::Warning, "publish-variants", warning);
    }
    let mut values = outputs::outputs(report);
    let mut refused = Vec::new();
    for (output, name, content) in files_of(report, form, log) {
        if log.redacted(&content) != content {
            refused.push(output);
        } else if let Some(path) = write(name, &content, environment)? {
            values.push((output, path.display().to_string()));
        }
    }
    values.retain(|(name, value)| {
        let is_clean = log.redacted(value) == *value;
        if !is_clean {
            refused.push(*name);
        }
        is_clean
    });
    let files = runner_files(environment);
    let artifacts = outputs::artifacts(report);
    if log.redacted(&artifacts) == artifacts {
        files.declare_artifacts(&artifacts)?;
    }
    files.set_outputs(&values)?;
    if refused.is_empty() { Ok(()) } else { Err(SecretInOutput(refused).into()) }
}

/// The outputs that are files: output, file name, content. The notes list images that can be pulled, so a dry run has
/// none.
fn files_of(report: &Report, form: ReleaseNotes, log: &Log) -> Vec<(&'static str, &'static str, String)> {
    let mut files = vec![("checksums", "publish-variants.sha256", outputs::checksums(report))];
    if report.status != Status::DryRun {
        match notes::update("", report, form) {
            Ok(section) => files.push(("notes", "publish-variants.md", section)),
            Err(too_long) => log.annotate(Level::Warning, "publish-variants", &Failure::from(too_long).to_string()),
        }
    }
    files
}

/// Writes a file into the workspace, the only folder that this step shares with the next ones. The path is relative to
/// it.
fn write(name: &str, content: &str, environment: &Environment) -> Result<Option<PathBuf>, workflow::NotWritten> {
    let Some(workspace) = environment.workspace() else { return Ok(None) };
    let name = PathBuf::from(name);
    write_anew(Path::new(workspace), &name, content.as_bytes()).map_err(|cause| workflow::NotWritten {
        variable: "GITHUB_WORKSPACE",
        path: Path::new(workspace).join(&name),
        cause,
    })?;
    Ok(Some(name))
}
