//! A short form for the tags of many variants: a table shows each entry of the matrix once, and a sentence explains the
//! templates.

use std::collections::BTreeMap;

use super::markdown::{by_place, code};
use super::{Destination, Report, Variant};

/// The placeholder for the entry in forms of tags: `1.4-<tag>`.
pub(crate) const ENTRY: &str = "<tag>";

/// The forms of tags that the entries of a report have: the templates, with the version filled in.
#[derive(Debug)]
pub(super) struct Forms<'a> {
    all: &'a [String],
    /// The forms that most entries have, at every destination.
    common: Vec<&'a str>,
    /// The one of `common` that the table shows.
    shown: Option<&'a str>,
}

impl<'a> Forms<'a> {
    pub(super) fn of(report: &'a Report) -> Self {
        let mut counts = BTreeMap::<Vec<&str>, usize>::new();
        let variants = report.variants.iter().filter(|variant| variant.digest.is_some());
        for (variant, entry) in variants.flat_map(|variant| variant.entries.iter().map(move |entry| (variant, entry))) {
            if let Some(forms) = forms_of(&report.tag_forms, variant, entry) {
                *counts.entry(forms).or_default() += 1;
            }
        }
        // The tags of a single variant are shorter than a sentence about them.
        let common =
            counts.into_iter().filter(|_| report.variants.len() > 1).max_by_key(|(forms, count)| (*count, forms.len()));
        let common = common.map(|(forms, _)| forms).unwrap_or_default();
        let bare = common.iter().find(|form| **form == ENTRY);
        Self { all: &report.tag_forms, shown: bare.or_else(|| common.first()).copied(), common }
    }

    /// These forms, with the most exact tags in the table: readers of a long table look for them.
    pub(super) fn exact(self) -> Self {
        Self { shown: self.common.first().copied(), ..self }
    }

    /// A sentence about the tags that the table doesn't show, if there are any. `report` must be the one that these
    /// forms were made of.
    pub(super) fn sentence(&self, report: &Report) -> Option<String> {
        let shown = self.shown?;
        let is_other = |variant: &Variant| variant.entries.iter().any(|entry| !self.is_common(variant, entry));
        let variants = report.variants.iter().filter(|variant| variant.digest.is_some());
        sentence(shown, &self.common, variants.into_iter().any(is_other))
    }

    /// The cell of the table with the tags of `variant`.
    pub(super) fn cell(&self, variant: &Variant) -> String {
        let Some(shown) = self.shown else { return everything(variant) };
        let (common, others): (Vec<&String>, Vec<&String>) =
            variant.entries.iter().partition(|entry| self.is_common(variant, entry));
        let mut tags: Vec<String> = common.iter().map(|entry| code(&shown.replace(ENTRY, entry))).collect();
        let of_others = |destination: &Destination| {
            let names =
                |tag: &str| others.iter().any(|entry| self.all.iter().any(|form| form.replace(ENTRY, entry) == tag));
            listed(destination, names)
        };
        let of_others =
            by_place(&variant.destinations, of_others).into_iter().map(|(tags, place)| format!("{tags}{place}"));
        let of_others = of_others.collect::<Vec<_>>().join("; ");
        if !of_others.is_empty() {
            tags.push(if self.common.len() > 1 { format!("only {of_others}") } else { of_others });
        }
        tags.join(", ")
    }

    fn is_common(&self, variant: &Variant, entry: &str) -> bool {
        forms_of(self.all, variant, entry).is_some_and(|forms| forms == self.common)
    }
}

/// The forms of tags that `variant` has for `entry`; `None` if they differ between destinations.
fn forms_of<'a>(all: &'a [String], variant: &Variant, entry: &str) -> Option<Vec<&'a str>> {
    let mut there = variant.destinations.iter().map(|destination| {
        let has = |form: &&String| {
            let tag = form.replace(ENTRY, entry);
            destination.tags().any(|other| other.as_str() == tag)
        };
        all.iter().filter(has).map(String::as_str).collect::<Vec<_>>()
    });
    let first = there.next()?;
    there.all(|other| other == first).then_some(first)
}

/// A sentence about the forms that a table of tags doesn't show, if there are any. `exceptions` are entries without some
/// of the forms: after the word “only”, the table shows all tags of those.
pub(super) fn sentence(shown: &str, forms: &[impl AsRef<str>], exceptions: bool) -> Option<String> {
    let others = forms.iter().map(AsRef::as_ref).filter(|form| *form != shown);
    let others = and(&others.map(code).collect::<Vec<_>>())?;
    let subject = match shown {
        ENTRY => "Every tag of a variant".to_owned(),
        shown => format!("Every tag {}", code(shown)),
    };
    let except = if exceptions { ", except where the table says “only”" } else { "" };
    Some(format!("{subject} also exists as {others}{except}."))
}

/// All tags of `variant`.
pub(super) fn everything(variant: &Variant) -> String {
    let tags = by_place(&variant.destinations, |destination| listed(destination, |_| true));
    tags.into_iter().map(|(tags, place)| format!("{tags}{place}")).collect::<Vec<_>>().join("; ")
}

/// The wanted tags of a destination.
pub(super) fn listed(destination: &Destination, wanted: impl Fn(&str) -> bool) -> String {
    let tags = destination.tags().map(|tag| tag.as_str()).filter(|tag| wanted(tag));
    tags.map(code).collect::<Vec<_>>().join(", ")
}

/// The items joined for a sentence; `None` if there are none.
pub(super) fn and(items: &[String]) -> Option<String> {
    match items {
        [] => None,
        [one] => Some(one.clone()),
        [others @ .., last] => Some(format!("{} and {last}", others.join(", "))),
    }
}
