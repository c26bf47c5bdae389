//! The section of the release notes: the published images and how to pull them.
//!
//! People get these notes in pull requests of bots, in feeds and by mail, so the section is short. It depends neither
//! on the clock nor on the work that this run had to do, which the step summary shows: two runs with the same outcome
//! write the same text.

use std::fmt::Write as _;

use super::Report;
use super::markdown::{
    Checks, by_place, code, details, kept_tags, of_base, places, platforms, prose, pull_name, sizes,
};
use super::record::{Record, Subject};
use super::section::{END, begin, replace_section, sections};
use super::tags::{Forms, and, listed};
use crate::action::inputs::ReleaseNotes;
use crate::error::{Fault, StageError};
use crate::hint::{Hinted, Hints};
use crate::image::{Platform, Reference};
use crate::troubleshooting::Topic;

/// The longest notes that GitHub accepts, in characters.
pub const LONGEST_BODY: usize = 125_000;

/// A compact section with more characters is shortened. About 60 variants fit.
const LONGEST_COMPACT: usize = 16_000;

/// How many tags with the same reason a section lists. The step summary lists all of them.
const LISTED: usize = 12;

/// The notes have no room for the section.
#[derive(Debug, thiserror::Error)]
#[error("the notes would have {0} characters with the variants' section, and GitHub takes {LONGEST_BODY}")]
pub struct TooLong(usize);

impl Hinted for TooLong {
    fn hints(&self) -> Hints {
        "shorten the notes, then run it again; the images are published".into()
    }
}

impl StageError for TooLong {
    fn topic(&self) -> Topic {
        Topic::Notes
    }

    fn fault(&self) -> Fault {
        Fault::Publication
    }
}

/// How detailed the section is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// The table, and the details of each variant.
    Full,
    /// The table, and the digests.
    Pinned,
    /// The table, folded.
    Folded,
    /// Only the names.
    Names,
}

/// The compact section for `report`, with its markers.
#[must_use]
pub fn section(report: &Report) -> String {
    candidates(report, ReleaseNotes::Compact).next().unwrap_or_default()
}

/// `body` with the section for `report` in it, in a shorter form if there isn't enough room.
///
/// The section replaces that of an earlier run with the same repositories and at least one variant in common; sections
/// of other tools and jobs stay. The function is idempotent.
///
/// # Errors
/// There isn't enough room even for the shortest form.
pub fn update(body: &str, report: &Report, wanted: ReleaseNotes) -> Result<String, TooLong> {
    let subject = Subject::of(report);
    let mut length = 0;
    for section in candidates(report, wanted) {
        let text = replace_section(body, &section, |section| subject.is_of(section));
        length = text.chars().count();
        if length <= LONGEST_BODY {
            return Ok(text);
        }
    }
    Err(TooLong(length))
}

/// The variants that are new or gone since an earlier release.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// The variants that the earlier release lacked.
    pub new: Vec<String>,
    /// The variants that only the earlier release had.
    pub dropped: Vec<String>,
}

/// The changes between an earlier release and `report`. `None` if none of that release's sections is about the same
/// images.
#[must_use]
pub fn changes_since(earlier_notes: &str, report: &Report) -> Option<Changes> {
    let subject = Subject::of(report);
    sections(earlier_notes).iter().find_map(|section| subject.changes_since(section))
}

/// The section in every form that may be used, the wanted form first.
fn candidates(report: &Report, wanted: ReleaseNotes) -> impl Iterator<Item = String> {
    let forms = [Form::Full, Form::Pinned, Form::Folded, Form::Names].into_iter();
    let forms = forms.filter(move |form| *form != Form::Full || wanted == ReleaseNotes::Full);
    let texts = forms.map(|form| (form, write(report, form)));
    let is_short = |(form, text): &(Form, String)| *form != Form::Pinned || text.chars().count() <= LONGEST_COMPACT;
    texts.filter(is_short).map(|(_, text)| text)
}

fn write(report: &Report, form: Form) -> String {
    let repositories: Vec<String> = report.repositories().map(ToString::to_string).collect();
    let mut text = format!(
        "{}\n{}\n\n## Docker images for {} {}\n\n",
        begin(repositories.iter().map(String::as_str)),
        Record::of(report).comment(),
        prose(report.tool()),
        report.version
    );
    if let Some(variant) = report.variants.iter().find(|variant| variant.digest.is_some()) {
        let _ = writeln!(text, "```sh\ndocker pull {}\n```\n", pull_name(variant));
    }
    let forms = Forms::of(report);
    let forms = if form == Form::Folded { forms.exact() } else { forms };
    let _ = writeln!(text, "{}\n", introduction(report, &forms));
    match form {
        Form::Full | Form::Pinned => text.push_str(&table(report, &forms)),
        Form::Folded => text.push_str(&folded("Bases and tags", &table(report, &forms))),
        Form::Names => {
            let names: Vec<String> = report.variants.iter().map(|variant| code(&variant.name)).collect();
            text.push_str(&folded("All variants", &format!("{}\n", names.join(", "))));
        }
    }
    let kept = kept_tags(report, LISTED);
    if !kept.is_empty() {
        let _ = writeln!(text, "\nTags that stay where they are:\n\n{}", kept.trim_end());
    }
    if !report.dropped_variants.is_empty() {
        let names: Vec<String> = report.dropped_variants.iter().map(|name| code(name)).collect();
        let _ = writeln!(text, "\nThe previous release also had: {}.", names.join(", "));
    }
    let pins = pins(report);
    match form {
        Form::Full => {
            let variants: Vec<String> =
                report.variants.iter().map(|variant| details(variant, Checks::Untold)).collect();
            let _ = write!(text, "\n{}", folded("Tags and digests", &variants.join("\n")));
        }
        Form::Pinned if !pins.is_empty() => {
            let _ = write!(text, "\n{}", folded("Pin by digest", &format!("```text\n{pins}```\n")));
        }
        Form::Pinned | Form::Folded | Form::Names => {}
    }
    text + "\n" + END
}

fn folded(title: &str, content: &str) -> String {
    format!("<details><summary>{title}</summary>\n\n{content}\n</details>\n")
}

/// How many variants there are, where and for which platforms, and which tags the table doesn't show.
fn introduction(report: &Report, forms: &Forms<'_>) -> String {
    let mut text = match report.variants.len() {
        1 => format!("One variant in {}", places(report)),
        count => format!("{count} variants in {}", places(report)),
    };
    if let Some(all) = common_platforms(report).and_then(|all| and(&all)) {
        let each = if report.variants.len() == 1 { "" } else { "each " };
        let _ = write!(text, ", {each}for {all}");
    }
    text.push('.');
    if let Some(sentence) = forms.sentence(report) {
        let _ = write!(text, " {sentence}");
    }
    text
}

/// The platforms of the variants, if they are the same for all.
fn common_platforms(report: &Report) -> Option<Vec<String>> {
    let mut lists = report.variants.iter().filter(|variant| variant.digest.is_some()).map(platforms);
    let first = lists.next().filter(|list| !list.is_empty())?;
    lists.all(|other| other == first).then_some(first)
}

/// The scratch image and the variants, with their bases, tags and sizes, and with their platforms if these differ.
fn table(report: &Report, forms: &Forms<'_>) -> String {
    let common = common_platforms(report);
    let (name, line) = if common.is_none() { (" Platforms |", " --- |") } else { ("", "") };
    let mut text = format!("| Base | Tags |{name} Size |\n| --- | --- |{line} --- |\n");
    let mut row = |base: String, tags: String, of: &[String], size: String| {
        let of = of.iter().map(|platform| platform.strip_prefix("linux/").unwrap_or(platform));
        let platforms = if common.is_none() { vec![or_dash(of.collect::<Vec<_>>().join(", "))] } else { Vec::new() };
        let cells = [vec![base, tags], platforms, vec![or_dash(size)]].concat();
        // An unescaped bar would end the cell, even in a code span.
        let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
        let _ = writeln!(text, "| {} |", cells.join(" | "));
    };
    let tags = source_tags(report);
    if !tags.is_empty() {
        let known: Vec<(&Platform, u64)> =
            report.source.iter().flat_map(|source| &source.sizes).map(|(of, size)| (of, *size)).collect();
        let is_shown = |of: &Platform| common.as_ref().is_none_or(|common| common.contains(&of.to_string()));
        let shown: Vec<(&Platform, u64)> = known.into_iter().filter(|(of, _)| is_shown(of)).collect();
        let of: Vec<String> = shown.iter().map(|(of, _)| of.to_string()).collect();
        row(code("scratch"), tags, &of, sizes(shown.iter().map(|(_, size)| *size)));
    }
    for variant in &report.variants {
        let mut tags = match variant.digest {
            Some(_) => forms.cell(variant),
            None => format!("not published: the exact tags of {} name something else", code(&variant.name)),
        };
        if let Some(instead) = &variant.deprecated {
            let _ = write!(tags, "<br>deprecated: {}", prose(instead));
        }
        let size = sizes(variant.platforms.iter().map(|built| built.size));
        row(of_base(variant), tags, &platforms(variant), size);
    }
    text
}

fn or_dash(text: String) -> String {
    if text.is_empty() { "–".to_owned() } else { text }
}

/// The tags of the source at the destinations: its own tags, or else the one that it was found under.
fn source_tags(report: &Report) -> String {
    let given = by_place(report.source_destinations(), |destination| listed(destination, |_| true));
    let given: Vec<String> = given.into_iter().map(|(tags, place)| format!("{tags}{place}")).collect();
    let found = own_source_tag(report).map(|reference| code(reference.target()));
    if given.is_empty() { found.unwrap_or_default() } else { given.join("; ") }
}

/// The source with the tag that it was found under, if that is at a destination.
fn own_source_tag(report: &Report) -> Option<&Reference> {
    let reference = report.source.as_ref()?.reference.reference()?;
    let is_ours = report.repositories().any(|repository| repository == reference.repository());
    (is_ours && reference.tag().is_some() && reference.digest().is_none()).then_some(reference)
}

/// A line for each image, with its most specific tag and its digest. Destinations with the same image share a line.
fn pins(report: &Report) -> String {
    let mut text = String::new();
    let images = report.variants.iter().map(|variant| &variant.destinations[..]).chain([report.source_destinations()]);
    for destinations in images {
        let mut seen = Vec::new();
        for destination in destinations {
            let (Some(digest), Some(reference)) = (&destination.digest, destination.references().next()) else {
                continue;
            };
            if !seen.contains(&digest) {
                let _ = writeln!(text, "{reference}@{digest}");
                seen.push(digest);
            }
        }
    }
    if report.source_destinations().is_empty()
        && let Some(source) = &report.source
        && let Some(reference) = own_source_tag(report)
    {
        let _ = writeln!(text, "{reference}@{}", source.digest);
    }
    text
}
