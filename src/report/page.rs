//! The images of a plan for a page of a project's documentation, or for the description of a repository at a registry.

use std::fmt::Write as _;

use super::markdown::{code, prose};
use super::tags::{ENTRY, and, sentence};
use crate::plan::{Made, Plan, Platforms, Tags, Variant};
use crate::quote::count;

impl Plan {
    /// A sentence, and a table with the base and the tags of each variant, as Markdown. Tags that don't move to this
    /// version are left out.
    #[must_use]
    pub fn to_markdown(&self) -> String {
        let rolls = self.reason_to_write_no_rolling_tag().is_none();
        let mut forms = self.tag_forms(ENTRY);
        // Forms without an entry are those of the default variant's bare tags.
        forms.retain(|form| form.contains(ENTRY) && (rolls || self.is_exact_form(form)));
        // `{tag}` alone is the shortest form, and the one that people type.
        let shown = forms.iter().find(|form| *form == ENTRY).or_else(|| forms.first()).cloned();
        let columns = Columns { forms: &forms, shown: shown.as_deref().unwrap_or(ENTRY), rolls };

        let repositories: Vec<String> =
            self.destinations.iter().map(|repository| code(&repository.to_string())).collect();
        let mut out =
            format!("{} in {}", count(self.variants.len(), "variant"), and(&repositories).unwrap_or_default());
        let differ = self.variants.iter().any(|variant| variant.platforms != self.variants[0].platforms);
        match self.variants.first().map(|variant| &variant.platforms) {
            Some(Platforms::Listed(platforms)) if !differ => {
                let platforms: Vec<String> = platforms.iter().map(ToString::to_string).collect();
                write!(out, ", each for {}.", and(&platforms).unwrap_or_default()).expect("a String takes every write");
            }
            _ => out.push('.'),
        }
        let exceptions = !self.variants.iter().all(|variant| columns.has_all(variant));
        if let Some(sentence) = sentence(columns.shown, &forms, exceptions) {
            write!(out, " {sentence}").expect("a String takes every write");
        }

        out.push_str(if differ {
            "\n\n| Base | Tags | Platforms |\n| --- | --- | --- |\n"
        } else {
            "\n\n| Base | Tags |\n| --- | --- |\n"
        });
        let mut row = |base: String, tags: String, platforms: String| {
            let platforms = if differ { format!(" {platforms} |") } else { String::new() };
            writeln!(out, "| {base} | {tags} |{platforms}").expect("a String takes every write");
        };
        if let Some(source) = self.source.as_ref().filter(|source| !source.tags.is_empty()) {
            row(code("scratch"), columns.every(&source.tags, |_| true), String::new());
        }
        for variant in &self.variants {
            let base = match &variant.made {
                Made::Here(base) => code(&base.familiar()),
                Made::Elsewhere(_) => code(&variant.name),
            };
            let platforms = match &variant.platforms {
                Platforms::Auto => "those of the base".to_owned(),
                Platforms::Listed(platforms) => {
                    platforms.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
                }
            };
            row(base, columns.cell(variant), platforms);
        }
        out
    }

    fn is_exact_form(&self, form: &str) -> bool {
        self.variants.iter().any(|variant| {
            let mut tags = variant.tags.exact.iter();
            tags.any(|tag| form.replace(ENTRY, variant.tags.entry_of(tag)) == tag.as_str())
        })
    }
}

/// How the table shows the tags.
struct Columns<'a> {
    /// The forms of tags, of which the table shows one and the sentence names the others.
    forms: &'a [String],
    shown: &'a str,
    /// Whether rolling tags move to the version.
    rolls: bool,
}

impl Columns<'_> {
    /// Whether an entry has all forms.
    fn is_complete(&self, variant: &Variant, entry: &str) -> bool {
        self.forms.iter().all(|form| self.has(variant, entry, form))
    }

    /// Whether every entry has either all forms or, as the pseudo-entry of bare tags, none.
    fn has_all(&self, variant: &Variant) -> bool {
        let forms = |entry: &String| self.forms.iter().filter(|form| self.has(variant, entry, form)).count();
        variant.tags.entries().iter().all(|entry| [0, self.forms.len()].contains(&forms(entry)))
    }

    fn has(&self, variant: &Variant, entry: &str, form: &str) -> bool {
        let tag = form.replace(ENTRY, entry);
        variant.tags.iter().any(|known| known.as_str() == tag)
    }

    /// The cell of a variant: one tag for each entry that has all forms, then all tags of the other entries.
    fn cell(&self, variant: &Variant) -> String {
        let entries = variant.tags.entries();
        let complete: Vec<String> = entries.into_iter().filter(|entry| self.is_complete(variant, entry)).collect();
        let of_complete =
            |tag: &str| complete.iter().any(|entry| self.forms.iter().any(|form| form.replace(ENTRY, entry) == tag));
        let mut tags: Vec<String> = complete.iter().map(|entry| code(&self.shown.replace(ENTRY, entry))).collect();
        let more = self.every(&variant.tags, |tag| !of_complete(tag));
        if !more.is_empty() {
            tags.push(if self.has_all(variant) { more } else { format!("only {more}") });
        }
        let deprecated =
            variant.deprecated.iter().map(|why| format!(" (deprecated: {})", prose(why).replace('|', "\\|")));
        tags.join(", ") + &deprecated.collect::<String>()
    }

    /// The wanted tags among all that name the version.
    fn every(&self, tags: &Tags, wanted: impl Fn(&str) -> bool) -> String {
        let rolling = tags.rolling.iter().map(|rolling| &rolling.tag).filter(|_| self.rolls);
        let tags = tags.exact.iter().chain(rolling).filter(|tag| wanted(tag.as_str()));
        tags.map(|tag| code(tag.as_str())).collect::<Vec<_>>().join(", ")
    }
}
