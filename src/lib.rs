//! Publish variants of a tool's scratch image: one step, one digest per variant.
//!
//! ```text
//! event + inputs + matrix ─▶ Plan ─▶ Resolved ─▶ Surveyed ─▶ Built ─▶ Verified ─▶ Pushed ─▶ Published ─▶ Report
//!               parse        plan    resolve     survey      build    verify      push      tag          report
//!                            pure    registries  registries  engine   engine      registries             GitHub
//!                                    and GitHub              only for what no tag names yet
//! ```
//!
//! Each stage takes the result of the one before, so none can be skipped. Decisions are made in pure code; each of the
//! three remote APIs has a module under [`api`].

pub mod action;
pub mod api;
pub mod build;
pub mod cli;
pub mod compose;
pub mod credentials;
pub mod error;
pub mod facts;
pub mod hint;
pub mod image;
pub mod job;
mod loopback;
pub mod matrix;
pub mod ownership;
pub mod plan;
pub mod publish;
pub mod pull_request;
pub mod quote;
pub mod remotes;
pub mod report;
pub mod resolve;
pub mod secret;
pub mod stages;
pub mod survey;
mod tag_lines;
pub mod terminal;
pub mod troubleshooting;
pub mod verify;
pub mod version;
pub mod work_tree;

use std::time::Duration;

use action::inputs::ReleaseNotes;
use action::{Event, Files, Inputs, Log};
use api::github::{GitHub, Release};
use error::Failure;
use plan::Plan;
use remotes::Remotes;
use report::Report;
use stages::{Ledger, Stages};

/// A run that has ended without a failure.
#[derive(Debug)]
pub struct Ended {
    /// What it published, or would have published.
    pub report: Report,
    /// The form of the section in the release notes.
    pub form: ReleaseNotes,
    /// The error that kept the release notes from being updated.
    pub notes_failure: Option<Failure>,
}

/// Publishes `plan`, stage by stage.
///
/// # Errors
/// The error of the first stage that fails. Nothing is visible under a tag before the stage `tag`; once it has
/// begun, a second run writes the missing tags.
pub async fn run(
    plan: Plan,
    inputs: &Inputs,
    event: &Event,
    remotes: &Remotes,
    files: &dyn Files,
    stages: &Stages,
    log: &Log,
) -> Result<Ended, Failure> {
    let Remotes { registries, github, spool, .. } = remotes;
    stages.note(|ledger| *ledger = Ledger::of(&plan));

    let resolved = stages.during("resolve", log, async {
        let resolved = resolve::resolve(plan, event, github.as_ref(), registries, files, spool).await?;
        resolved.tell(log);
        if !resolved.plan.dry_run {
            publish::preflight(&resolved.plan, registries).await?;
        }
        Ok::<_, Failure>(resolved)
    });
    let resolved = resolved.await?;
    let surveyed = stages.during("survey", log, async {
        let surveyed = survey::survey(&resolved, registries, github.as_ref()).await?;
        surveyed.tell(log);
        Ok::<_, Failure>(surveyed)
    });
    let mut surveyed = surveyed.await?;

    let verified = stages.during("build and verify", log, async {
        let variants = surveyed.to_build();
        let engine = if variants.is_empty() { None } else { remotes.engine().await? };
        let images = variants.iter().map(|variant| variant.platforms().len()).sum();
        let built = build::build(&resolved, variants, engine, spool.path(), remotes.builds_at_once(), log);
        verify::verify(built, images, remotes.builds_at_once(), log).await
    });
    let verified = verified.await?;
    if resolved.plan.dry_run {
        surveyed.built(&verified).await?;
        let mut report = Report::of_dry_run(&surveyed, &verified, stages.times());
        if let Some(github) = github {
            compare(github, resolved.release.as_ref(), &mut report).await;
        }
        return Ok(Ended { report, form: inputs.release_notes, notes_failure: None });
    }
    let pushed = stages.during("push", log, publish::push(surveyed, &verified, registries, log)).await?;
    let published = stages.during("tag", log, publish::tag(pushed, registries, stages, log)).await?;

    let mut report = Report::of_publication(&published, &verified);
    let notes_failure = stages.during("report", log, async {
        let github = github.as_ref().filter(|_| resolved.plan.release.is_some());
        let told = match (inputs.release_notes, github) {
            (ReleaseNotes::Off, _) => {
                let setting = hint::Input("release-notes").set_to("false");
                Some(format!("no section in the release notes: {setting}"))
            }
            (form, Some(github)) => write_notes(github, resolved.release.as_ref(), &mut report, form).await?,
            (_, None) => None,
        };
        log.line(told.as_deref().unwrap_or("there is no release, so there are no notes to write the images into"));
        Ok::<_, Failure>(())
    });
    let notes_failure = notes_failure.await.err();
    report.stages = stages.times();
    Ok(Ended { report, form: inputs.release_notes, notes_failure })
}

/// How long a run that writes no notes waits for those of earlier releases, which only its summary needs.
const PATIENCE: Duration = Duration::from_secs(10);

/// Compares the report, if GitHub answers, with the release before `release`, or with the newest one if there is none.
async fn compare(github: &GitHub, release: Option<&Release>, report: &mut Report) {
    if let Ok(Ok(earlier)) = tokio::time::timeout(PATIENCE, github.previous_releases(release)).await {
        report.compare_with(earlier.iter().map(|release| release.body.as_str()));
    }
}

/// Compares the report with earlier releases, and writes it into the notes of the release, if there is one. Returns the
/// line to log.
async fn write_notes(
    github: &GitHub,
    release: Option<&Release>,
    report: &mut Report,
    form: ReleaseNotes,
) -> Result<Option<String>, Failure> {
    let Some(release) = release else {
        compare(github, None, report).await;
        return Ok(None);
    };
    let earlier = github.previous_releases(Some(release)).await?;
    report.compare_with(earlier.iter().map(|release| release.body.as_str()));
    let update = |body: &str| report::notes::update(body, report, form).map_err(Failure::from);
    let edited = github.edit_release_body(release.id, update).await?;
    Ok(Some(format!("notes of the release {}: {edited}", release.tag_name)))
}
