//! The plan for people: a table that fits the terminal, in which no tag is broken.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::print::{files, written};
use super::{Made, Plan, Platforms, RollingTag, Tags, Variant};
use crate::image::{Location, SourceName};
use crate::quote::count;

/// The blanks between columns.
const GAP: usize = 2;
/// The width of the names of the fields above the table.
const FIELD: usize = 14;
/// The column of variants is never narrower than this; if there is no room for it, the layout changes.
const NARROWEST: usize = 24;

/// A variant, or the source.
struct Row {
    about: Vec<String>,
    exact: Vec<String>,
    rolling: Vec<String>,
}

impl Plan {
    /// A table for a terminal of `width` columns. Words are never broken, so a longer one makes its line wider.
    #[must_use]
    pub fn to_table(&self, width: usize) -> String {
        let mut out = String::new();
        let mut field = |name: &str, value: String| {
            let value = wrap(&value, width.saturating_sub(FIELD)).join(&format!("\n{:FIELD$}", ""));
            writeln!(out, "{name:<FIELD$}{value}").expect("a String takes every write");
        };
        field("version", self.version.to_string());
        // If every variant names its own source, the plan's isn't looked up.
        if let Some(source) = self.source.as_ref().filter(|source| self.sources().contains(&source.name)) {
            field("source", source.name.to_string());
            files(&source.name).into_iter().for_each(|file| field("", file));
        }
        if !self.binaries.is_empty() {
            field("executables", written(&self.binaries).join(" "));
        }
        for destination in &self.destinations {
            field("to", destination.to_string());
        }
        let usual = self.usual_platforms();
        if let Some(platforms) = usual {
            let is_composed = self.variants.iter().any(|variant| variant.made.base().is_some());
            field("platforms", listed(platforms, if is_composed { "source and base have" } else { "the images have" }));
        }
        if self.dry_run {
            field("dry run", "nothing will be pushed".to_owned());
        }
        let reason = self.reason_to_write_no_rolling_tag();
        let rolls = reason.is_none();
        let row = |variant| Row::of(variant, self.own_source(variant), usual, rolls);
        let mut rows: Vec<Row> = self.variants.iter().map(row).collect();
        if let Some(source) = self.source.as_ref().filter(|source| !source.tags.is_empty()) {
            rows.push(Row::with(vec!["the source itself".to_owned()], &source.tags, rolls));
        }
        out.push('\n');
        out.push_str(&table(&rows, width));
        let reason = reason.map(|reason| format!("No rolling tag moves: {reason}."));
        for sentence in reason.into_iter().chain([self.totals(rolls)]) {
            writeln!(out, "\n{}", wrap(&sentence, width).join("\n")).expect("a String takes every write");
        }
        out
    }

    /// The platforms that most variants have.
    fn usual_platforms(&self) -> Option<&Platforms> {
        let mut counts = BTreeMap::<String, (usize, &Platforms)>::new();
        for variant in &self.variants {
            counts.entry(listed(&variant.platforms, "")).or_insert((0, &variant.platforms)).0 += 1;
        }
        counts.into_values().max_by_key(|(count, _)| *count).map(|(_, platforms)| platforms)
    }

    /// `29 variants, 41 exact and 82 rolling tags in each of 2 repositories`.
    fn totals(&self, rolls: bool) -> String {
        let of_source = self.source.iter().map(|source| &source.tags).filter(|tags| !tags.is_empty());
        let and_source = if of_source.clone().count() > 0 { " and the source" } else { "" };
        let tags: Vec<&Tags> = self.variants.iter().map(|variant| &variant.tags).chain(of_source).collect();
        let exact: usize = tags.iter().map(|tags| tags.exact.len()).sum();
        let rolling: usize = tags.iter().map(|tags| tags.rolling.len()).sum();
        let tags = match rolling {
            rolling @ 1.. if rolls => format!("{exact} exact and {}", count(rolling, "rolling tag")),
            _ => count(exact, "exact tag"),
        };
        let places = match &self.destinations[..] {
            [one] => one.to_string(),
            several => format!("each of {}", count(several.len(), "repository")),
        };
        format!("{}{and_source}, {tags} in {places}", count(self.variants.len(), "variant"))
    }
}

impl Row {
    /// A variant. Its platforms are shown if they aren't the `usual` ones.
    fn of(variant: &Variant, own_source: Option<&SourceName>, usual: Option<&Platforms>, rolls: bool) -> Self {
        let made = match &variant.made {
            Made::Here(base) => format!("  on {}", base.familiar()),
            Made::Elsewhere(image) => format!("  from {}", shortened(image)),
        };
        let mut about = vec![variant.name.clone(), made];
        if usual != Some(&variant.platforms) {
            let all = if variant.made.base().is_some() { "source and base have" } else { "the image has" };
            about.push(format!("  {}", listed(&variant.platforms, all)));
        }
        if let Some(source) = own_source {
            about.push(format!("  from {source}"));
            about.extend(files(source).into_iter().map(|file| format!("    {file}")));
        }
        about.extend(variant.deprecated.iter().map(|why| format!("  deprecated: {why}")));
        Self::with(about, &variant.tags, rolls)
    }

    fn with(about: Vec<String>, tags: &Tags, rolls: bool) -> Self {
        let rolling = |RollingTag { tag, .. }: &RollingTag| {
            if rolls { tag.to_string() } else { format!("({tag} stays)") }
        };
        Self {
            about,
            exact: tags.exact.iter().map(ToString::to_string).collect(),
            rolling: tags.rolling.iter().map(rolling).collect(),
        }
    }

    /// The lines above the tags, with name and base on one line if they fit.
    fn heading(&self, width: usize) -> Vec<String> {
        let about = match &self.about[..] {
            [name, made, more @ ..] if length(name) + length(made) < width => {
                let first = format!("{name} {}", made.trim_start());
                std::iter::once(first).chain(more.iter().cloned()).collect()
            }
            about => about.to_vec(),
        };
        about.iter().flat_map(|line| wrap(line, width)).collect()
    }
}

fn listed(platforms: &Platforms, all: &str) -> String {
    match platforms {
        Platforms::Auto => format!("auto: all that {all}"),
        Platforms::Listed(platforms) => platforms.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
    }
}

/// An image that is made elsewhere, with the beginning of its digest.
fn shortened(image: &Location) -> String {
    let text = image.to_string();
    match text.rsplit_once("@sha256:") {
        Some((before, hex)) => format!("{before}@sha256:{}…", hex.chars().take(12).collect::<String>()),
        None => text,
    }
}

fn length(text: &str) -> usize {
    text.chars().count()
}

fn longest<'a>(lines: impl IntoIterator<Item = &'a String>) -> usize {
    lines.into_iter().map(|line| length(line)).max().unwrap_or_default()
}

/// Lays out the rows in three columns. If these don't fit, each variant stands above its tags; if exact and rolling
/// tags don't fit side by side, they stand below each other.
fn table(rows: &[Row], width: usize) -> String {
    let titles = ["VARIANT", "EXACT TAGS", "ROLLING TAGS"].map(str::to_owned);
    let [variant, exact, rolling] = &titles;
    let exact_width = longest(rows.iter().flat_map(|row| &row.exact).chain([exact]));
    let rolling_width = longest(rows.iter().flat_map(|row| &row.rolling).chain([rolling]));
    let about = longest(rows.iter().flat_map(|row| &row.about).chain([variant]));
    let unbroken = rows.iter().flat_map(|row| &row.about).flat_map(|line| wrap(line, NARROWEST)).collect::<Vec<_>>();
    let beside = width.saturating_sub(exact_width + rolling_width + 2 * GAP).min(about);
    let mut blocks: Vec<Vec<String>> = Vec::new();
    if beside >= longest(&unbroken) {
        let line = |[about, exact, rolling]: [&str; 3]| {
            format!("{about:beside$}{:GAP$}{exact:exact_width$}{:GAP$}{rolling}", "", "").trim_end().to_owned()
        };
        blocks.push(vec![line(titles.each_ref().map(String::as_str))]);
        for row in rows {
            let about: Vec<String> = row.about.iter().flat_map(|line| wrap(line, beside)).collect();
            blocks.push(side_by_side([&about, &row.exact, &row.rolling], line));
        }
    } else if GAP + exact_width + GAP + rolling_width <= width {
        let line = |[exact, rolling]: [&str; 2]| {
            format!("{:GAP$}{exact:exact_width$}{:GAP$}{rolling}", "", "").trim_end().to_owned()
        };
        blocks.push(vec![variant.clone(), line([exact, rolling])]);
        for row in rows {
            blocks.push([row.heading(width), side_by_side([&row.exact, &row.rolling], line)].concat());
        }
    } else {
        for row in rows {
            let below = |name: &'static str, tags: &[String]| {
                let names = std::iter::once(name).chain(std::iter::repeat(""));
                names.zip(tags).map(|(name, tag)| format!("  {name:9}{tag}")).collect::<Vec<_>>()
            };
            blocks.push([row.heading(width), below("exact", &row.exact), below("rolling", &row.rolling)].concat());
        }
    }
    // Titles stand right above the first row.
    let titles = blocks.len() - rows.len();
    let blocks = blocks.into_iter().enumerate().map(|(number, lines)| {
        let gap = if number > titles { "\n" } else { "" };
        format!("{gap}{}\n", lines.join("\n"))
    });
    blocks.collect()
}

/// The lines of cells that stand side by side, as many as the highest cell has.
fn side_by_side<const COLUMNS: usize>(
    cells: [&Vec<String>; COLUMNS],
    line: impl Fn([&str; COLUMNS]) -> String,
) -> Vec<String> {
    let height = cells.iter().map(|cell| cell.len()).max().unwrap_or_default();
    (0..height).map(|at| line(cells.map(|cell| cell.get(at).map_or("", String::as_str)))).collect()
}

/// `text` in lines of at most `width` characters, as far as its words allow; later lines are indented like the first.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let indent = &text[..text.len() - text.trim_start().len()];
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if length(line) + 1 + length(word) <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(format!("{indent}{word}")),
        }
    }
    if lines.is_empty() { vec![String::new()] } else { lines }
}
