//! Publish variants of a tool's scratch image: one step, one digest per variant.
//!
//! ```text
//! event + inputs + matrix ──▶ Plan ──▶ Resolved ──▶ Built ──▶ Verified ──▶ Pushed ──▶ Published ──▶ Report
//!               parse         plan     resolve      build     verify       push       tag           report
//!                             pure     registries   engine    engine       registries registries    GitHub
//! ```
//!
//! Each stage takes what the one before it made, so none can be skipped. Decisions are in pure code; the three remote APIs are
//! one module each under [`api`].

pub mod action;
pub mod api;
pub mod build;
pub mod cli;
pub mod error;
pub mod image;
pub mod job;
pub mod matrix;
pub mod plan;
pub mod provenance;
pub mod publish;
pub mod remotes;
pub mod report;
pub mod resolve;
pub mod secret;
pub mod stages;
pub mod verify;
pub mod version;

use action::{Event, Inputs, Log};
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
    /// Why the release's notes don't tell of it, where they should.
    pub untold: Option<Failure>,
}

/// Publishes `plan`: the way through the program.
///
/// # Errors
/// The first stage that fails. What is published by then is complete, or not yet visible under a tag.
pub async fn run(
    plan: Plan,
    inputs: &Inputs,
    event: &Event,
    remotes: &Remotes,
    stages: &Stages,
    log: &Log,
) -> Result<Ended, Failure> {
    let Remotes { engine, registries, github, scratch, .. } = remotes;

    let stage = stages.begin("resolve", log);
    let provenance = provenance::find(&plan, event, github.as_ref()).await?;
    let resolved = resolve::resolve(plan, &provenance, registries, scratch.path()).await?;
    resolved.tell(log);
    if !resolved.plan.dry_run {
        publish::preflight(&resolved.plan, registries).await?;
    }
    drop(stage);

    let stage = stages.begin("build and verify", log);
    let built = build::build(&resolved, engine.as_ref(), scratch.path(), remotes.builds_at_once(), log);
    let verified = verify::verify(built, resolved.images(), remotes.builds_at_once(), log).await?;
    drop(stage);

    if resolved.plan.dry_run {
        return Ok(Ended { report: Report::gather(&resolved, &verified, None, stages.times()), untold: None });
    }
    let stage = stages.begin("push", log);
    let pushed = publish::push(&resolved, &verified, registries, log).await?;
    drop(stage);

    let stage = stages.begin("tag", log);
    let published = publish::tag(pushed, &resolved.plan, registries, inputs.into(), log).await?;
    drop(stage);

    let stage = stages.begin("report", log);
    let mut report = Report::gather(&resolved, &verified, Some(&published), Vec::new());
    let untold = match (inputs.release_notes, github, &provenance.release) {
        (true, Some(github), Some(release)) => tell(github, release, &mut report).await.err(),
        _ => None,
    };
    drop(stage);
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
