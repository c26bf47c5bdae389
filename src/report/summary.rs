//! The job's [step
//! summary](https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands#adding-a-job-summary):
//! what the run did, for the maintainers: the variants, what changed, how to roll back, and where the time went.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use super::failure::alert;
use super::markdown::{Checks, code, details, kept_tags, of_base, prose};
use super::outcome::{self, duration};
use super::tags::{Forms, and};
use super::{Blobs, BuiltPlatform, Comparison, Destination, Outcome, Report, Stage, Status, Variant};
use crate::error::Failure;
use crate::image::reference::DOCKER_HUB;
use crate::image::{Digest, Repository};
use crate::quote::count;

pub use super::failure::markdown as of_failure;

/// A shorter stage isn't shown in the timeline.
const SHORTEST: Duration = Duration::from_millis(50);

/// The summary, as Markdown. `error` is a failure after everything was published.
#[must_use]
pub fn markdown(report: &Report, error: Option<&Failure>) -> String {
    let what = if report.status == Status::DryRun { "Dry run of the Docker images" } else { "Docker images" };
    let mut text = format!("## {what} for {} {}\n\n", prose(report.tool()), report.version);
    let _ = writeln!(text, "**{}**\n", prose(&outcome::line(report)));
    if let Some(error) = error {
        let _ = writeln!(text, "{}", alert(error));
    }
    for warning in &report.warnings {
        let _ = writeln!(text, "> [!WARNING]\n> {}\n", prose(warning));
    }
    let _ = writeln!(text, "{}\n", introduction(report));
    if let Some(unreleased) = &report.unreleased {
        let _ = writeln!(text, "{}{}\n", prose(unreleased), notes_elsewhere(report.status));
    }
    text.push_str(&differences(report));
    text.push_str(&report.comparison.as_ref().map(comparison).unwrap_or_default());
    text.push_str(&table(report));
    let skipped = skipped(report);
    if !skipped.is_empty() {
        let _ = writeln!(text, "\nNot run:\n\n{}", skipped.trim_end());
    }
    let kept = kept_tags(report, usize::MAX);
    if !kept.is_empty() {
        let _ = writeln!(text, "\n### Tags that stay where they are\n\n{}", kept.trim_end());
    }
    if report.status == Status::Published {
        let _ = writeln!(text, "\n{}", blobs(report));
    }
    let of_variants: Vec<String> = report.variants.iter().map(|variant| details(variant, Checks::Told)).collect();
    text.push_str(&folded("Tags, digests and checks", &of_variants.join("\n")));
    let rollback = rollback(report);
    if !rollback.is_empty() {
        let content = format!(
            "Each command points tags back to the image that they named before this run.\n\n```sh\n{rollback}```\n"
        );
        text.push_str(&folded("Roll back", &content));
    }
    text + &where_the_time_went(&report.stages)
}

fn folded(title: &str, content: &str) -> String {
    format!("\n<details><summary>{title}</summary>\n\n{}\n\n</details>\n", content.trim_end())
}

/// The changes of the matrix since the previous release.
fn differences(report: &Report) -> String {
    let mut text = String::new();
    let named = |names: &[String]| names.iter().map(|name| code(name)).collect::<Vec<_>>().join(", ");
    if !report.new_variants.is_empty() {
        let _ = writeln!(text, "New since the previous release: {}.\n", named(&report.new_variants));
    }
    if !report.dropped_variants.is_empty() {
        let _ = writeln!(text, "The previous release also had: {}.\n", named(&report.dropped_variants));
    }
    text
}

/// The most lines of differences that are shown.
const MOST_DIFFERENCES: usize = 200;

/// What a pull request changes.
fn comparison(comparison: &Comparison) -> String {
    let (base, differences) = match comparison {
        Comparison::Unknown(reason) => {
            return format!("The changes against the base branch aren't known: {}.\n\n", prose(reason));
        }
        Comparison::Known { base, differences } => (code(base.get(..7).unwrap_or(base)), differences),
    };
    if differences.is_empty() {
        return format!("The variants are those of the base branch, at {base}.\n\n");
    }
    let shown = differences.iter().take(MOST_DIFFERENCES).map(|line| line.replace('`', "'"));
    let mut text =
        format!("Against the base branch, at {base}:\n\n```diff\n{}\n", shown.collect::<Vec<_>>().join("\n"));
    if let Some(more) = differences.len().checked_sub(MOST_DIFFERENCES).filter(|more| *more > 0) {
        let _ = writeln!(text, "… and {more} more");
    }
    text + "```\n\n"
}

/// The destinations, with links, and the forms of the tags.
fn introduction(report: &Report) -> String {
    let places: Vec<String> = report.repositories().map(|repository| link(repository, &report.version)).collect();
    let places = and(&places).unwrap_or_default();
    let mut text = match report.status {
        Status::DryRun => format!("Nothing was written to {places}."),
        Status::Unchanged | Status::Published => format!("The images are in {places}."),
    };
    let next: Vec<String> = report.next_tag_forms.iter().map(|form| code(form)).collect();
    if let Some(next) = and(&next) {
        let _ = write!(text, " The next release will publish every tag of the table as {next}.");
    } else if let Some(sentence) = Forms::of(report).sentence(report) {
        let sentence = match report.status {
            Status::DryRun => sentence.replace(" also exists as ", " would also exist as "),
            Status::Unchanged | Status::Published => sentence,
        };
        let _ = write!(text, " {sentence}");
    }
    text
}

/// The repository, with a link to its page if its registry has one.
fn link(repository: &Repository, version: &str) -> String {
    // Docker Hub looks for this text in tags, which have no `+`.
    let version = version.split('+').next().unwrap_or_default();
    let (registry, path) = (repository.registry(), repository.path());
    let page = match registry {
        // It redirects to the page of the package, whoever owns that.
        "ghcr.io" => format!("https://ghcr.io/{path}"),
        DOCKER_HUB => match path.strip_prefix("library/") {
            Some(name) => format!("https://hub.docker.com/_/{name}/tags?name={version}"),
            None => format!("https://hub.docker.com/r/{path}/tags?name={version}"),
        },
        "quay.io" => format!("https://quay.io/repository/{path}?tab=tags"),
        _ => return code(&repository.to_string()),
    };
    format!("[{}]({page})", code(&repository.to_string()))
}

/// A row for each variant. There is a column for platforms if they differ, or the checks on them do.
fn table(report: &Report) -> String {
    let forms = Forms::of(report);
    let common = common_platforms(report);
    let (name, line) = if common.is_none() { (" Platforms |", " --- |") } else { ("", "") };
    let mut text = format!("| Base | Tags | Digest |{name}\n| --- | --- | --- |{line}\n");
    for variant in &report.variants {
        let mut tags = match (&variant.digest, report.status) {
            // For a development build, people want to know the tags of the next release.
            (Some(_), _) if !report.next_tag_forms.is_empty() => entries(variant),
            (Some(_), _) => forms.cell(variant),
            (None, Status::DryRun) => code(&variant.name),
            (None, _) => format!("not published: the exact tags of {} name something else", code(&variant.name)),
        };
        if let Some(instead) = &variant.deprecated {
            let _ = write!(tags, "<br>deprecated: {}", prose(instead));
        }
        let digest = variant.digest.as_ref().map(|digest| code(digest.short())).unwrap_or_default();
        let mut cells = vec![of_base(variant), tags, digest];
        if common.is_none() {
            cells.push(platforms(variant).replace("linux/", ""));
        }
        let cells: Vec<String> =
            cells.iter().map(|cell| if cell.is_empty() { "–".to_owned() } else { cell.replace('|', "\\|") }).collect();
        let _ = writeln!(text, "| {} |", cells.join(" | "));
    }
    if let Some(common) = common {
        let _ = writeln!(text, "\nPlatforms: {common}.");
    }
    if report.variants.iter().flat_map(|variant| &variant.platforms).any(was_run) {
        text.push_str("\n✓ marks the platforms that the image was run on.\n");
    }
    text
}

/// The platforms of a variant, with a mark on those on which every check was run.
fn platforms(variant: &Variant) -> String {
    let marked = |built: &BuiltPlatform| {
        let mark = if was_run(built) { "\u{a0}✓" } else { "" };
        format!("{}{mark}", built.platform)
    };
    variant.platforms.iter().map(marked).collect::<Vec<_>>().join(", ")
}

/// The platforms with marks, if they are the same for all variants.
fn common_platforms(report: &Report) -> Option<String> {
    let mut all = report.variants.iter().filter(|variant| variant.digest.is_some()).map(platforms);
    let first = all.next().filter(|platforms| !platforms.is_empty())?;
    all.all(|other| other == first).then_some(first)
}

fn entries(variant: &Variant) -> String {
    variant.entries.iter().map(|entry| code(entry)).collect::<Vec<_>>().join(", ")
}

/// Whether all checks were run on the platform.
fn was_run(built: &BuiltPlatform) -> bool {
    !built.checks.is_empty() && built.checks.iter().all(|check| check.outcome == Outcome::Passed)
}

/// Why checks were skipped: a line for each reason, with the variants and platforms that it is true of.
fn skipped(report: &Report) -> String {
    let mut by_reason = BTreeMap::<&str, Vec<(&Variant, &BuiltPlatform)>>::new();
    for variant in &report.variants {
        for built in &variant.platforms {
            let reasons = built.checks.iter().filter_map(|check| match &check.outcome {
                Outcome::Skipped { reason } => Some(reason.as_str()),
                Outcome::Passed => None,
            });
            for reason in reasons {
                let images = by_reason.entry(reason).or_default();
                if !images.iter().any(|(other, of)| other.name == variant.name && of.platform == built.platform) {
                    images.push((variant, built));
                }
            }
        }
    }
    let mut text = String::new();
    for (reason, images) in by_reason {
        let mut of: Vec<String> = images.iter().map(|(_, built)| built.platform.to_string()).collect();
        of.sort();
        of.dedup();
        let mut names: Vec<&str> = images.iter().map(|(variant, _)| variant.name.as_str()).collect();
        names.dedup();
        let who = match &names[..] {
            [one] => code(one),
            several => count(several.len(), "variant"),
        };
        let _ = writeln!(text, "- {who} on {}: {}", and(&of).unwrap_or_default(), prose(reason));
    }
    text
}

fn blobs(report: &Report) -> String {
    let destinations = report.variants.iter().flat_map(|variant| &variant.destinations);
    let blobs = destinations.chain(report.source_destinations()).map(|destination| destination.blobs);
    let blobs = blobs.fold(Blobs::default(), |mut sum, blobs| {
        sum.add(blobs);
        sum
    });
    let said = blobs.to_string();
    format!("Blobs: {}.", if said.is_empty() { "none" } else { &said })
}

/// Commands that move tags back, one for each image that they named before.
fn rollback(report: &Report) -> String {
    let destinations = report.variants.iter().flat_map(|variant| &variant.destinations);
    let mut text = String::new();
    for destination in destinations.chain(report.source_destinations()) {
        let mut by_digest = Vec::<(&Digest, Vec<&str>)>::new();
        for rolling in &destination.rolling {
            let Some(previous) = &rolling.previous else { continue };
            match by_digest.iter_mut().find(|(digest, _)| *digest == previous) {
                Some((_, tags)) => tags.push(rolling.tag.as_str()),
                None => by_digest.push((previous, vec![rolling.tag.as_str()])),
            }
        }
        for (digest, tags) in by_digest {
            let Destination { repository, .. } = destination;
            let tags: String = tags.iter().map(|tag| format!(" --tag {repository}:{tag}")).collect();
            let _ = writeln!(text, "docker buildx imagetools create{tags} {repository}@{digest}");
        }
    }
    text
}

/// The timeline, folded; empty without stages.
pub(super) fn where_the_time_went(stages: &[Stage]) -> String {
    let stages: Vec<&Stage> = stages.iter().filter(|stage| stage.duration >= SHORTEST).collect();
    if stages.is_empty() { String::new() } else { folded("Where the time went", &timeline(&stages)) }
}

/// Where to find the section if there are no release notes.
fn notes_elsewhere(status: Status) -> &'static str {
    match status {
        Status::DryRun => ".",
        Status::Published | Status::Unchanged => {
            ", so no notes were written. Their section is in the file that the output `notes` names, for `gh release create --notes-file`."
        }
    }
}

/// A [Gantt diagram](https://mermaid.js.org/syntax/gantt.html); time begins at the start of the run.
fn timeline(stages: &[&Stage]) -> String {
    let end = stages.iter().map(|stage| stage.start + stage.duration).max().unwrap_or_default();
    let axis = if end < Duration::from_secs(60) { "%-S s" } else { "%-M:%S" };
    let mut text = format!(
        "```mermaid\ngantt\n    title {} in total\n    dateFormat x\n    axisFormat {axis}\n    todayMarker off\n",
        duration(end)
    );
    for stage in stages {
        let (start, end) = (stage.start.as_millis(), (stage.start + stage.duration).as_millis());
        // `:` and `;` would end the name, and `#` would begin an entity.
        let name: String = stage.name.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c)).collect();
        let _ = writeln!(text, "    {name} {} : {start}, {}", duration(stage.duration), end.max(start + 1));
    }
    text + "```"
}
