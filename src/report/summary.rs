//! The job's [step summary](https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands#adding-a-job-summary):
//! the table of the variants, and where the time went.

use std::fmt::Write as _;
use std::time::Duration;

use super::markdown::{Checks, code, details, kept_tags, places, prose, table};
use super::{Blobs, Report, Stage, Status};

/// The summary, as Markdown.
#[must_use]
pub fn markdown(report: &Report) -> String {
    let tool = report.tool();
    let mut text = format!("## Images of {tool} {}\n\n", report.version);
    let _ = writeln!(text, "{}\n", outcome(report));
    text.push_str(&table(report, Checks::Told));
    for warning in &report.warnings {
        let _ = writeln!(text, "\n> [!WARNING]\n> {}", prose(warning));
    }
    let kept = kept_tags(report);
    if !kept.is_empty() {
        let _ = writeln!(text, "\n### Tags that stay where they are\n\n{}", kept.trim_end());
    }
    if !report.dropped_variants.is_empty() {
        let names: Vec<String> = report.dropped_variants.iter().map(|name| code(name)).collect();
        let _ = writeln!(text, "\nThe release before also had: {}.", names.join(", "));
    }
    if !report.stages.is_empty() {
        let _ = writeln!(text, "\n### Where the time went\n\n{}", timeline(&report.stages));
    }
    text.push_str("\n<details><summary>Tags, digests and checks</summary>\n\n");
    for variant in &report.variants {
        let _ = writeln!(text, "{}", details(variant, Checks::Told));
    }
    text + "</details>\n"
}

fn outcome(report: &Report) -> String {
    let count = match report.variants.len() {
        1 => "One variant".to_owned(),
        count => format!("{count} variants"),
    };
    let blobs = report.variants.iter().flat_map(|variant| &variant.destinations).map(|destination| destination.blobs);
    let blobs = blobs.fold(Blobs::default(), |mut sum, blobs| {
        sum.add(blobs);
        sum
    });
    let places = places(report);
    match report.status {
        Status::DryRun => format!("Dry run: {count} built and verified, nothing written to {places}."),
        Status::Unchanged => format!("{count} in {places}: everything was there already, nothing has changed."),
        Status::Published => format!(
            "{count} published to {places}. Blobs: {} already there, {} mounted, {} copied, {} pushed.",
            blobs.already_there, blobs.mounted, blobs.copied, blobs.pushed
        ),
    }
}

/// A [Gantt diagram](https://mermaid.js.org/syntax/gantt.html), counted from the start of the run.
fn timeline(stages: &[Stage]) -> String {
    let end = stages.iter().map(|stage| stage.start + stage.duration).max().unwrap_or_default();
    let axis = if end < Duration::from_secs(60) { "%-S s" } else { "%-M:%S" };
    let mut text = format!(
        "```mermaid\ngantt\n    title {} in all\n    dateFormat x\n    axisFormat {axis}\n    todayMarker off\n",
        seconds(end)
    );
    for stage in stages {
        let (start, end) = (stage.start.as_millis(), (stage.start + stage.duration).as_millis());
        // `:` and `;` would end the name, `#` starts an entity.
        let name: String = stage.name.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c)).collect();
        let _ = writeln!(text, "    {name} {} : {start}, {}", seconds(stage.duration), end.max(start + 1));
    }
    text + "```"
}

fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}
