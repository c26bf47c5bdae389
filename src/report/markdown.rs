//! Parts that notes and summary share: a table of the variants, and the details of each variant.
//!
//! The format is [GitHub's Markdown](https://github.github.com/gfm/). Texts from outside (commands, reasons, texts of
//! the matrix) are escaped, so that they are shown literally: they can't end a cell, contain HTML or mention anybody.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::tags::{and, listed};
use super::{BuiltPlatform, Copied, Destination, Outcome, Report, Variant};
use crate::image::{self, Location, Reference};

/// `text` in a code span, on one line.
pub(super) fn code(text: &str) -> String {
    let text = one_line(text);
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or_default();
    let fence = "`".repeat(longest + 1);
    let pad = if text.starts_with('`') || text.ends_with('`') || text.is_empty() { " " } else { "" };
    format!("{fence}{pad}{text}{pad}{fence}")
}

/// `text` as prose, on one line. Its parts in backticks become code spans.
pub(super) fn prose(text: &str) -> String {
    let text = one_line(text);
    let parts: Vec<&str> = text.split('`').collect();
    // An unpaired backtick is literal.
    if parts.len().is_multiple_of(2) {
        return escaped(&text);
    }
    let part = |(number, part): (usize, &&str)| match number % 2 {
        1 => code(part),
        _ => escaped(part),
    };
    parts.iter().enumerate().map(part).collect()
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            // GitHub would notify the user of that name.
            '@' => escaped.push_str("@<!-- -->"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '~' | '#' => {
                escaped.push('\\');
                escaped.push(character);
            }
            _ => escaped.push(character),
        }
    }
    escaped
}

fn one_line(text: &str) -> String {
    let printable: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    printable.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A number of bytes for people: `23 MB`.
pub(super) fn size(bytes: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "one decimal is shown")]
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..10_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        10_000..1_000_000 => format!("{:.0} kB", bytes as f64 / 1e3),
        1_000_000..10_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        10_000_000..1_000_000_000 => format!("{:.0} MB", bytes as f64 / 1e6),
        _ => format!("{:.2} GB", bytes as f64 / 1e9),
    }
}

/// The reference by which to pull a variant: its most specific tag at the first destination, or just its name.
pub(super) fn pull_name(variant: &Variant) -> String {
    let mut references = variant.destinations.iter().flat_map(Destination::references);
    references.next().map_or_else(|| variant.name.clone(), |reference| reference.to_string())
}

/// Whether to show the checks. Only the run that builds an image has their results, and a second run must not change
/// the release notes, so only the step summary shows them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Checks {
    Told,
    Untold,
}

/// The names of a variant's platforms.
pub(super) fn platforms(variant: &Variant) -> Vec<String> {
    variant.platforms.iter().map(|built| built.platform.to_string()).collect()
}

/// Sizes in one unit, if they can share one: `23 / 22 MB`. If there are many, only the smallest and the largest.
/// Non-breaking spaces keep a narrow cell one line high.
pub(super) fn sizes(sizes: impl Iterator<Item = u64>) -> String {
    in_one_unit(sizes).replace(' ', "\u{a0}")
}

fn in_one_unit(sizes: impl Iterator<Item = u64>) -> String {
    let mut sizes: Vec<u64> = sizes.collect();
    let separator = if sizes.len() > 3 { " – " } else { " / " };
    if sizes.len() > 3 {
        sizes = [sizes.iter().min(), sizes.iter().max()].into_iter().flatten().copied().collect();
    }
    let mut texts: Vec<String> = sizes.into_iter().map(size).collect();
    // Equal sizes are shown once: `21 MB` instead of `21 / 21 MB`.
    if texts.iter().all(|text| *text == texts[0]) {
        texts.truncate(1);
    }
    let unit =
        texts.last().and_then(|text| text.split_once(' ')).map(|(_, unit)| format!(" {unit}")).unwrap_or_default();
    if texts.iter().all(|text| text.ends_with(&unit)) {
        let numbers: Vec<&str> = texts.iter().filter_map(|text| text.strip_suffix(&unit)).collect();
        return format!("{}{unit}", numbers.join(separator));
    }
    texts.join(separator)
}

/// The base of a variant, which may be unknown for an image built elsewhere.
pub(super) fn of_base(variant: &Variant) -> String {
    variant.base.as_ref().map_or_else(|| "–".to_owned(), |base| code(&base.reference.familiar()))
}

/// Everything about one variant.
pub(super) fn details(variant: &Variant, told: Checks) -> String {
    let mut text = format!("#### {}\n\n", code(&variant.name));
    if let Some(instead) = &variant.deprecated {
        let _ = writeln!(text, "- deprecated: {}", prose(instead));
    }
    if let Some(digest) = &variant.digest {
        let _ = writeln!(text, "- digest {}", code(digest.as_str()));
        if let Some(base) = &variant.base {
            let base = match (&base.reference, &base.digest) {
                (image::Base::Image(reference), Some(digest)) => format!("{}@{digest}", tag_only(reference)),
                (base, _) => base.to_string(),
            };
            let _ = writeln!(text, "- base {}", code(&base));
        }
        match variant.source.as_ref().map(|source| (source.reference.repository(), source)) {
            Some((Some(repository), source)) => {
                let _ = writeln!(text, "- executables from {}", code(&format!("{repository}@{}", source.digest)));
            }
            // A path on the machine of the run means nothing to readers of the notes.
            Some((None, source)) if told == Checks::Told => {
                let _ = writeln!(text, "- executables from {}", code(&source.reference.to_string()));
            }
            _ => {}
        }
        if let Some(copied) = &variant.image {
            let _ = writeln!(text, "- copied from {}", code(&written(copied)));
        }
    }
    for (tags, places) in by_place(&variant.destinations, |destination| listed(destination, |_| true)) {
        let _ = writeln!(text, "- tags{places}: {tags}");
    }
    if told == Checks::Told {
        for (moved, places) in by_place(&variant.destinations, moved_tags) {
            let _ = writeln!(text, "- moved{places}: {moved}");
        }
    }
    for built in &variant.platforms {
        let _ = writeln!(
            text,
            "- {}, {}, {}{}",
            built.platform,
            size(built.size),
            code(built.digest.as_str()),
            if told == Checks::Told { checks(built) } else { String::new() }
        );
    }
    text
}

/// An image built elsewhere, with the digest that it was resolved to.
fn written(copied: &Copied) -> String {
    match &copied.reference {
        Location::Registry(reference) => format!("{}@{}", reference.repository(), copied.digest),
        Location::Layout(_) => copied.reference.to_string(),
    }
}

fn tag_only(reference: &Reference) -> String {
    match reference.tag() {
        Some(tag) => reference.repository().tagged(tag.clone()).to_string(),
        None => reference.repository().to_string(),
    }
}

fn moved_tags(destination: &Destination) -> String {
    // Tags usually move together, so each previous digest is shown once.
    let mut by_digest = Vec::<(&str, Vec<String>)>::new();
    for rolling in &destination.rolling {
        let Some(previous) = &rolling.previous else { continue };
        let tag = code(rolling.tag.as_str());
        match by_digest.iter_mut().find(|(digest, _)| *digest == previous.as_str()) {
            Some((_, tags)) => tags.push(tag),
            None => by_digest.push((previous.as_str(), vec![tag])),
        }
    }
    let parts: Vec<String> =
        by_digest.iter().map(|(digest, tags)| format!("{} from {}", tags.join(", "), code(digest))).collect();
    parts.join("; ")
}

/// The texts that `says` gives for the destinations, merged into one entry if all agree; empty texts are dropped.
pub(super) fn by_place(destinations: &[Destination], says: impl Fn(&Destination) -> String) -> Vec<(String, String)> {
    let said: Vec<String> = destinations.iter().map(says).collect();
    if said.windows(2).all(|pair| pair[0] == pair[1]) {
        return said.into_iter().take(1).filter(|text| !text.is_empty()).map(|text| (text, String::new())).collect();
    }
    let places = destinations.iter().map(|destination| format!(" in {}", code(&destination.repository.to_string())));
    said.into_iter().zip(places).filter(|(text, _)| !text.is_empty()).collect()
}

fn checks(built: &BuiltPlatform) -> String {
    let passed: Vec<String> = built
        .checks
        .iter()
        .filter(|check| check.outcome == Outcome::Passed)
        .map(|check| code(&check.command))
        .collect();
    let mut skipped = Vec::<(&str, Vec<String>)>::new();
    for check in &built.checks {
        let Outcome::Skipped { reason } = &check.outcome else { continue };
        match skipped.iter_mut().find(|(other, _)| other == reason) {
            Some((_, commands)) => commands.push(code(&check.command)),
            None => skipped.push((reason, vec![code(&check.command)])),
        }
    }
    let mut text = String::new();
    if !passed.is_empty() {
        let _ = write!(text, "; passed: {}", passed.join(", "));
    }
    for (reason, commands) in skipped {
        let _ = write!(text, "; skipped: {} ({})", commands.join(", "), prose(reason));
    }
    text
}

/// The tags that were left alone, on one line for each reason with at most `limit` tags; empty if there are none.
pub(super) fn kept_tags(report: &Report, limit: usize) -> String {
    let images = report.variants.iter().map(|variant| &variant.destinations[..]).chain([report.source_destinations()]);
    let mut by_reason = Vec::<(&str, Vec<String>)>::new();
    for destinations in images {
        // A tag with the same reason at every destination is shown once.
        let mut places = BTreeMap::<(&str, &str), Vec<&Destination>>::new();
        let mut order = Vec::new();
        for destination in destinations {
            for kept in &destination.kept {
                let key = (kept.tag.as_str(), kept.reason.as_str());
                let known = places.entry(key).or_default();
                if known.is_empty() {
                    order.push(key);
                }
                known.push(destination);
            }
        }
        for key in order {
            let (tag, reason) = key;
            let names: Vec<String> = if places[&key].len() == destinations.len() {
                vec![code(tag)]
            } else {
                places[&key].iter().map(|destination| code(&format!("{}:{tag}", destination.repository))).collect()
            };
            match by_reason.iter_mut().find(|(other, _)| *other == reason) {
                Some((_, tags)) => tags.extend(names),
                None => by_reason.push((reason, names)),
            }
        }
    }
    let mut text = String::new();
    for (reason, tags) in by_reason {
        let more = tags.len().saturating_sub(limit);
        let and_more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let _ = writeln!(text, "- {}: {}{and_more}", prose(reason), tags[..tags.len() - more].join(", "));
    }
    text
}

/// The destinations, for a sentence.
pub(super) fn places(report: &Report) -> String {
    let places: Vec<String> = report.repositories().map(|repository| code(&repository.to_string())).collect();
    and(&places).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_shows_any_text_and_stays_in_its_cell() {
        for (text, expected) in [
            ("uv --version", "`uv --version`"),
            ("a | b", "`a | b`"),
            ("echo `x`", "`` echo `x` ``"),
            ("`` ` ``", "``` `` ` `` ```"),
            ("a\n\n<!-- publish-variants:end -->\nb", "`a <!-- publish-variants:end --> b`"),
            ("", "`  `"),
        ] {
            assert_eq!(code(text), expected);
        }
    }

    #[test]
    fn prose_is_escaped_except_for_its_code() {
        for (text, expected) in [
            ("it shows `0.9.27`, which is newer", "it shows `0.9.27`, which is newer"),
            ("a ` b | c", "a \\` b | c"),
            ("<b>@acme</b> *x* [y](z) #1", "&lt;b&gt;@<!-- -->acme&lt;/b&gt; \\*x\\* \\[y\\](z) \\#1"),
            ("line\n# title\r\n| x |", "line \\# title | x |"),
            ("`@acme`", "`@acme`"),
        ] {
            assert_eq!(prose(text), expected);
        }
    }

    #[test]
    fn sizes_of_platforms_share_their_unit() {
        for (bytes, text) in [
            (&[][..], ""),
            (&[21_000_000], "21 MB"),
            (&[21_000_000, 19_400_000], "21 / 19 MB"),
            (&[21_000_000, 21_100_000], "21 MB"),
            (&[999_000, 1_200_000], "999 kB / 1.2 MB"),
            (&[21_000_000, 19_000_000, 20_000_000, 23_000_000], "19 – 23 MB"),
        ] {
            assert_eq!(in_one_unit(bytes.iter().copied()), text);
        }
    }

    #[test]
    fn sizes_are_readable() {
        for (bytes, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1_000, "1.0 kB"),
            (2_460_000, "2.5 MB"),
            (22_460_000, "22 MB"),
            (1_040_000_000, "1.04 GB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }
}
