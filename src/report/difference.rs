//! How a plan differs from another one, a line for each variant: what a pull request changes.

use crate::plan::print::settings;
use crate::plan::{Made, Plan, Tags, Variant};

/// The differences of `head` from `base`. Tags are represented by their entries, since all entries fill the same
/// templates.
#[must_use]
pub fn lines(base: &Plan, head: &Plan) -> Vec<String> {
    let mut lines = of_inputs(base, head);
    let named = |plan: &'_ Plan, name: &str| plan.variants.iter().position(|variant| variant.name == name);
    for variant in &head.variants {
        match named(base, &variant.name) {
            None => lines.push(format!("+ {} ({}){}", variant.name, made(&variant.made), aliases(variant))),
            Some(at) => lines.extend(changed((&base.variants[at], base), (variant, head))),
        }
    }
    let gone = base.variants.iter().filter(|variant| named(head, &variant.name).is_none());
    lines.extend(gone.map(|variant| format!("- {} ({}){}", variant.name, made(&variant.made), aliases(variant))));
    lines
}

/// The differences that concern all variants.
fn of_inputs(base: &Plan, head: &Plan) -> Vec<String> {
    let mut lines = Vec::new();
    let texts = |items: &[String]| items.join(", ");
    let all = |plan: &Plan| {
        let source = plan.source.as_ref();
        [
            ("images", plan.destinations.iter().map(ToString::to_string).collect::<Vec<_>>()),
            ("tag-templates", plan.tag_templates.iter().map(ToString::to_string).collect()),
            ("source", source.map(|source| source.name.to_string()).into_iter().collect()),
            ("source-tags", source.map(|source| texts_of(&source.tags)).unwrap_or_default()),
        ]
    };
    for ((name, before), (_, after)) in all(base).into_iter().zip(all(head)) {
        if before != after {
            lines.push(format!("~ {name}: {} → {}", or_none(&texts(&before)), or_none(&texts(&after))));
        }
    }
    let others = [("labels", base.labels != head.labels), ("binaries", base.binaries != head.binaries)];
    lines.extend(others.iter().filter(|(_, differ)| *differ).map(|(name, _)| format!("~ {name}")));
    lines
}

fn texts_of(tags: &Tags) -> Vec<String> {
    tags.iter().map(ToString::to_string).collect()
}

fn or_none(text: &str) -> &str {
    if text.is_empty() { "none" } else { text }
}

/// The line of a variant that both plans have; `None` if it is the same in both.
fn changed((before, base): (&Variant, &Plan), (after, head): (&Variant, &Plan)) -> Option<String> {
    let mut changes = Vec::new();
    if before.made != after.made {
        changes.push(format!("{} → {}", made(&before.made), image(&after.made)));
    }
    let (old, new) = (before.tags.entries(), after.tags.entries());
    let come = new.iter().filter(|entry| !old.contains(entry)).map(|entry| format!(" +{entry}"));
    let go = old.iter().filter(|entry| !new.contains(entry)).map(|entry| format!(" -{entry}"));
    let tags: String = come.chain(go).collect();
    if !tags.is_empty() {
        changes.push(format!("tags{tags}"));
    }
    let (old, new) = (settings(before, base), settings(after, head));
    let names = old.keys().chain(new.keys().filter(|name| !old.contains_key(*name)));
    changes.extend(names.filter(|name| old.get(*name) != new.get(*name)).cloned());
    (!changes.is_empty()).then(|| format!("~ {}: {}", after.name, changes.join("; ")))
}

fn made(made: &Made) -> String {
    let what = if made.base().is_some() { "base" } else { "image" };
    format!("{what} {}", image(made))
}

fn image(made: &Made) -> String {
    match made {
        Made::Here(base) => base.familiar(),
        Made::Elsewhere(image) => image.to_string(),
    }
}

/// The entries besides the one that is the variant's name.
fn aliases(variant: &Variant) -> String {
    let others: Vec<String> = variant.tags.entries().into_iter().filter(|entry| *entry != variant.name).collect();
    if others.is_empty() { String::new() } else { format!(", also {}", others.join(", ")) }
}
