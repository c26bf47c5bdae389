//! The step summary of a failed run: which tags were written, which weren't, why, and what to do.

use std::fmt::Write as _;

use super::Stage;
use super::markdown::{code, prose};
use super::outcome::duration;
use super::summary::where_the_time_went;
use super::tags::and;
use crate::error::Failure;
use crate::image::Reference;
use crate::quote::count;
use crate::stages::Ledger;

/// The summary, as Markdown. `error` is the error's message; `stages` have begun, and the last of them
/// failed.
#[must_use]
pub fn markdown(error: &Failure, ledger: &Ledger, stages: &[Stage]) -> String {
    let what = if ledger.is_dry_run { "Dry run of the Docker images" } else { "Docker images" };
    let subject = if ledger.version.is_empty() {
        String::new()
    } else {
        format!(" for {} {}", prose(&ledger.tool), ledger.version)
    };
    let mut text =
        format!("## {what}{subject}\n\n**{}**\n\n{}\n", prose(&outcome(ledger, stages)), alert(error).trim_end());
    let (written, missing): (Vec<&Reference>, Vec<&Reference>) =
        ledger.to_write.iter().partition(|reference| ledger.written.contains(*reference));
    if !written.is_empty() {
        text.push_str(&listed("Tags that were written", &written));
        text.push_str(&listed("Tags that were not written", &missing));
    }
    text + &where_the_time_went(stages)
}

/// What outsiders can see of the run.
fn outcome(ledger: &Ledger, stages: &[Stage]) -> String {
    let Some(stage) = stages.last() else {
        return "Failed before anything was looked up; nothing was published.".to_owned();
    };
    let time = stages.iter().map(|stage| stage.start + stage.duration).max().unwrap_or_default();
    let repositories: Vec<String> =
        ledger.repositories.iter().map(|repository| code(&repository.to_string())).collect();
    let places = and(&repositories).unwrap_or_default();
    let mut text = format!("Failed in the stage {} after {}", code(&stage.name), duration(time));
    if ledger.is_dry_run {
        return text + ". Nothing was to be published.";
    }
    match (ledger.written.len(), ledger.to_write.len()) {
        (0, _) if stage.name == "push" || stage.name == "tag" => {
            let _ = write!(
                text,
                ". No tag was written: nobody sees a change in {places}. The next run won't send the content again."
            );
        }
        (0, _) => {
            let _ = write!(text, ". Nothing was published: no tag in {places} has changed.");
        }
        (written, all) if written >= all => {
            let _ = write!(text, ". All {} in {places} were written.", count(all, "tag"));
        }
        (written, all) => {
            let _ = write!(
                text,
                ". {written} of {} in {places} were written; the others didn't change.",
                count(all, "tag")
            );
        }
    }
    text
}

/// An error, with its hints.
pub(super) fn alert(error: &Failure) -> String {
    let situation = error.situation();
    let situation: Vec<&str> = situation.lines().collect();
    let mut text = String::from("> [!CAUTION]\n");
    for (number, line) in situation.iter().enumerate() {
        let end = if number + 1 < situation.len() { "<br>" } else { "" };
        // The output of a command in an image.
        let line = match line.trim_start().strip_prefix("| ") {
            Some(output) => code(output),
            None => prose(line),
        };
        let _ = writeln!(text, "> {line}{end}");
    }
    text.push_str("\nWhat to do:\n\n");
    for hint in error.hints().iter() {
        let first = hint.chars().next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
        let rest: String = hint.chars().skip(1).collect();
        let _ = writeln!(text, "- {}", prose(&format!("{first}{rest}")));
    }
    if error.hints().is_empty() {
        text.push_str("- Correct what the error names, or run the job again: it continues where this run stopped.\n");
    }
    let _ = writeln!(text, "- [More about errors of this kind]({})", error.topic().link());
    text
}

fn listed(title: &str, references: &[&Reference]) -> String {
    if references.is_empty() {
        return String::new();
    }
    let lines: String = references.iter().map(|reference| format!("{reference}\n")).collect();
    format!("\n<details><summary>{title}: {}</summary>\n\n```text\n{lines}```\n\n</details>\n", references.len())
}
