//! Publish variants of a tool's scratch image: one step, one digest per variant.
//!
//! ```text
//! event + inputs + matrix ─▶ Plan ─▶ Resolved ─▶ Surveyed ─▶ Built ─▶ Verified ─▶ Pushed ─▶ Published ─▶ Report
//!               parse        plan    resolve     survey      build    verify      push      tag          report
//!                            pure    registries  registries  engine   engine      registries             GitHub
//!                                    and GitHub              only for what no tag names yet
//! ```
//!
//! Each stage takes what the one before it made, so none can be skipped. Decisions are in pure code; the three remote APIs are
//! one module each under [`api`].

pub mod action;
pub mod api;
pub mod build;
pub mod cli;
pub mod compose;
pub mod credentials;
pub mod error;
pub mod facts;
pub mod image;
pub mod job;
pub mod layout;
mod loopback;
pub mod matrix;
pub mod ownership;
pub mod plan;
pub mod publish;
pub mod quote;
pub mod remotes;
pub mod report;
pub mod resolve;
pub mod secret;
pub mod stages;
pub mod survey;
pub mod verify;
pub mod version;

use action::{Event, Files, Inputs, Log};
use api::github::{GitHub, Release};
use error::Failure;
use plan::Plan;
use remotes::Remotes;
use report::Report;
use stages::Stages;

/// A run that came to its end.
#[derive(Debug)]
pub struct Ended {
    /// What it did.
    pub report: Report,
    /// The error that kept the release notes from being updated.
    pub untold: Option<Failure>,
}

/// Publishes `plan`: the way through the program.
///
/// # Errors
/// The error of the first stage that fails. Before the stage `tag`, nothing is visible under a tag; after it, a second run
/// writes the tags that are missing.
pub async fn run(
    plan: Plan,
    inputs: &Inputs,
    event: &Event,
    remotes: &Remotes,
    files: &dyn Files,
    stages: &Stages,
    log: &Log,
) -> Result<Ended, Failure> {
    let Remotes { registries, github, scratch, .. } = remotes;

    let resolved = stages.during("resolve", log, async {
        let resolved = resolve::resolve(plan, event, github.as_ref(), registries, files, scratch).await?;
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
        let images = variants.iter().map(|variant| variant.recipes.len()).sum();
        let built = build::build(&resolved, variants, engine, scratch.path(), remotes.builds_at_once(), log);
        verify::verify(built, images, remotes.builds_at_once(), log).await
    });
    let verified = verified.await?;
    if resolved.plan.dry_run {
        surveyed.built(&verified).await?;
        return Ok(Ended { report: Report::of_dry_run(&surveyed, &verified, stages.times()), untold: None });
    }
    let pushed = stages.during("push", log, publish::push(surveyed, &verified, registries, log)).await?;
    let published = stages.during("tag", log, publish::tag(pushed, registries, stages.stop(), log)).await?;

    let mut report = Report::of_publication(&published, &verified);
    let untold = stages.during("report", log, async {
        match (inputs.release_notes, github, &resolved.release) {
            (true, Some(github), Some(release)) => tell(github, release, &mut report).await.err(),
            _ => None,
        }
    });
    let untold = untold.await;
    report.stages = stages.times();
    Ok(Ended { report, untold })
}

/// Writes the report into the notes of the release.
async fn tell(github: &GitHub, release: &Release, report: &mut Report) -> Result<(), Failure> {
    let earlier = github.previous_releases(release).await?;
    report.dropped_variants = report.dropped_since(earlier.iter().map(|release| release.body.as_str()));
    github.edit_release_body(release.id, |body| report::notes::update(body, report).map_err(Failure::from)).await?;
    Ok(())
}
