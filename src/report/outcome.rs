//! The outcome of a run, on one line: the log ends with it, and the step summary begins with it.

use std::time::Duration;

use super::{Report, Status, Tally};
use crate::quote::count;

/// For example `Published 29 variants of uv 0.9.26 to 2 repositories in 3.3 s: 82 tags moved, 2 kept`.
#[must_use]
pub fn line(report: &Report) -> String {
    let tool = format!("{} of {} {}", count(report.variants.len(), "variant"), report.tool(), report.version);
    let repositories: Vec<String> = report.repositories().map(ToString::to_string).collect();
    let places = match &repositories[..] {
        [one] => one.clone(),
        several => count(several.len(), "repository"),
    };
    let time = report.stages.iter().map(|stage| stage.start + stage.duration).max().unwrap_or_default();
    let to_be = if report.status == Status::DryRun { "to be " } else { "" };
    let (tags, time) = (tags(report.tally, to_be), duration(time));
    match report.status {
        Status::Published => format!("Published {tool} to {places} in {time}: {tags}"),
        Status::Unchanged => format!("Nothing to do for {tool} in {places}, checked in {time}: {tags}"),
        Status::DryRun => format!("Dry run of {tool} for {places} in {time}: {tags}"),
    }
}

/// The numbers of tags; `to_be` comes before what happens to those that are written.
fn tags(tally: Tally, to_be: &str) -> String {
    let Tally { created, moved, unchanged, given, kept } = tally;
    listed(&[
        (created, format!("{to_be}created")),
        (moved, format!("{to_be}moved")),
        (unchanged, "unchanged".to_owned()),
        (given, format!("{to_be}given to a newer version")),
        (kept, "kept".to_owned()),
    ])
}

fn listed(counts: &[(usize, String)]) -> String {
    let mut said = Vec::new();
    for (number, what) in counts.iter().filter(|(number, _)| *number > 0) {
        let number = if said.is_empty() { count(*number, "tag") } else { number.to_string() };
        said.push(format!("{number} {what}"));
    }
    if said.is_empty() { "no tags".to_owned() } else { said.join(", ") }
}

/// A duration for people: `3.3 s`, `2 min 5 s`.
pub(super) fn duration(duration: Duration) -> String {
    match duration.as_secs() {
        seconds @ 60.. => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{:.1} s", duration.as_secs_f64()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_are_zero_are_left_out() {
        let tally = Tally { moved: 82, kept: 2, ..Tally::default() };
        assert_eq!(tags(tally, ""), "82 tags moved, 2 kept");
        assert_eq!(tags(tally, "to be "), "82 tags to be moved, 2 kept");
        assert_eq!(tags(Tally { created: 1, ..Tally::default() }, ""), "1 tag created");
        assert_eq!(tags(Tally::default(), ""), "no tags");
    }

    #[test]
    fn durations_are_readable() {
        for (milliseconds, text) in [(40, "0.0 s"), (3_260, "3.3 s"), (59_990, "60.0 s"), (125_400, "2 min 5 s")] {
            assert_eq!(duration(Duration::from_millis(milliseconds)), text);
        }
    }
}
