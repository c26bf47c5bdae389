//! Makes the tags of each image, and ensures that no two images claim the same tag.

use std::collections::BTreeMap;
use std::fmt;

use super::template::Template;
use super::{Place, Problem, RollingTag, Source, TagOrigin, Tags};
use crate::hint::Input;
use crate::image::{Repository, SourceName, Tag};
use crate::matrix::Row;
use crate::version::Version;

/// The pseudo-entry of the default variant's bare tags. It can't be a real entry, since tags contain no colon.
pub(super) const DEFAULT_ENTRY: &str = "default: true";

/// Makes tags from templates and entries.
pub(super) struct Tagger<'a> {
    pub(super) version: &'a Version,
    /// The templates for the tags of variants.
    pub(super) templates: &'a [Template],
    /// The templates for the default variant's bare tags.
    pub(super) bare: &'a [Template],
}

impl Tagger<'_> {
    pub(super) fn variant(&self, row: &Row, problems: &mut Vec<Problem>) -> Tags {
        let mut tags = self.tags(self.templates, &row.tags, problems);
        if tags.exact.is_empty() && !self.templates.is_empty() && problems.is_empty() {
            problems.push(
                Problem::new(
                    &Place::Input("tag-templates"),
                    format!("no template gives an exact tag of version `{}`", self.version),
                )
                .hint("add `{version}-{tag}`"),
            );
        }
        if let Some(place) = &row.default {
            let mut bare = self.tags(self.bare, &[(DEFAULT_ENTRY.to_owned(), place.clone())], problems);
            // An entry `latest` makes one of the bare tags as well.
            bare.exact.retain(|tag| !tags.origins.contains_key(tag));
            bare.rolling.retain(|rolling| !tags.origins.contains_key(&rolling.tag));
            bare.origins.retain(|tag, _| !tags.origins.contains_key(tag));
            tags.exact.extend(bare.exact);
            tags.rolling.extend(bare.rolling);
            tags.origins.extend(bare.origins);
        }
        tags
    }

    /// Refuses rolling tags that look like this version's exact tag of another entry, since a later release may have
    /// that entry. Tags that two variants claim have been refused before.
    pub(super) fn refuse_ambiguous(&self, row: &Row, tags: &Tags, claims: &Claims, problems: &mut Vec<Problem>) {
        for rolling in tags.rolling.iter().filter(|rolling| claims.belongs_to(&rolling.tag, row)) {
            let Some(other) = self.own_exact_tag_of(rolling) else { continue };
            let place = place_of(row, &rolling.entry);
            problems.push(
                Problem::new(
                    place,
                    format!(
                        "rolling tag `{}` reads as the exact tag of version `{}` for an entry `{other}`",
                        rolling.tag, self.version
                    ),
                )
                .hint("rename the entry, so that it doesn't begin with a version"),
            );
        }
    }

    /// The other entry for which the rolling tag would be an exact tag of this version: `22-slim` of `slim` is also 22
    /// for the entry `slim`.
    fn own_exact_tag_of(&self, rolling: &RollingTag) -> Option<String> {
        let version = self.version.tag_text();
        let cuts = self.templates.iter().flat_map(|template| template.cuts(rolling.tag.as_str()));
        cuts.filter(|(of, entry)| *of == version && *entry != rolling.entry).map(|(_, entry)| entry.to_owned()).next()
    }

    /// The tags of one image, ordered by template and then by entry, so that `0.9-alpine` is next to `0.9-alpine3.23`.
    pub(super) fn tags(
        &self,
        templates: &[Template],
        entries: &[(String, Place)],
        problems: &mut Vec<Problem>,
    ) -> Tags {
        let mut tags = Tags::default();
        // For a version 2024.10, `{version}` and `{major}.{minor}` make the same tag; then the exact one counts.
        let (exact, rolling): (Vec<&Template>, Vec<&Template>) =
            templates.iter().partition(|template| template.is_exact());
        // A development build has no successor that could take over its rolling tags.
        let rolling = rolling.into_iter().filter(|_| self.version.as_commit().is_none());
        for template in exact.into_iter().chain(rolling) {
            for (entry, place) in entries {
                let Some(text) = template.render(self.version, entry) else { continue };
                let tag = match text.parse::<Tag>() {
                    Ok(tag) => tag,
                    Err(invalid) => {
                        problems.push(Problem::new(place, invalid));
                        continue;
                    }
                };
                if tags.origins.contains_key(&tag) {
                    let other = tags.rolling.iter().find(|rolling| rolling.tag == tag);
                    let other = other.filter(|other| other.template != *template || other.entry != *entry);
                    if let Some(RollingTag { template: of, entry: other, .. }) = other {
                        let message = if other == entry {
                            format!("rolling tag `{tag}` comes from both `{of}` and `{template}`")
                        } else {
                            format!(
                                "rolling tag `{tag}` comes from `{of}` with `{other}` and from `{template}` with `{entry}`"
                            )
                        };
                        let hint =
                            "these move with different versions: rename the entry, or leave one of the templates out";
                        problems.push(Problem::new(place, message).hint(hint));
                    }
                    continue;
                }
                let origin =
                    TagOrigin { template: template.to_string(), entry: entry.clone(), place: place.to_string() };
                if template.is_exact() {
                    tags.exact.push(tag.clone());
                } else {
                    let template = template.clone();
                    tags.rolling.push(RollingTag { tag: tag.clone(), template, entry: entry.clone() });
                }
                tags.origins.insert(tag, origin);
            }
        }
        tags
    }
}

/// The image that claims each tag at the destinations.
#[derive(Default)]
pub(super) struct Claims(BTreeMap<String, Claim>);

struct Claim {
    who: String,
    place: Place,
    hint: String,
}

/// The hint for a tag that two images claim.
const SHARE: &str = "give each tag to one of them";

/// The hint if one of the two images is the source itself, which `key` names.
fn taken_from(key: impl fmt::Display) -> String {
    format!("the executables are taken from that tag; set {key} to another repository or tag")
}

impl Claims {
    /// The tags of the source: the ones that it should get, and the one under which it is already at a destination.
    pub(super) fn source(&mut self, source: &Source, destinations: &[Repository]) {
        if let Some(tag) = tag_of(&source.name, destinations) {
            let who = format!("the source `{}`", source.name);
            self.0.insert(
                tag.to_string(),
                Claim { who, place: Place::Input("source"), hint: taken_from(Input("source")) },
            );
        }
        for tag in source.tags.iter() {
            let claim = Claim {
                who: "the source image".to_owned(),
                place: Place::Input("source-tags"),
                hint: SHARE.to_owned(),
            };
            self.0.insert(tag.to_string(), claim);
        }
    }

    /// The tag under which a variant's own source is already at a destination, if it is.
    pub(super) fn own_source(&mut self, row: &Row, source: &SourceName, destinations: &[Repository]) {
        if let Some(tag) = tag_of(source, destinations) {
            let place = row.source.as_ref().map_or(&row.place, |(_, place)| place).clone();
            let claim =
                || Claim { who: format!("the source of {}", variant_of(row)), place, hint: taken_from("`source`") };
            self.0.entry(tag.to_string()).or_insert_with(claim);
        }
    }

    /// Whether the variant of `row` is the first to claim a tag.
    fn belongs_to(&self, tag: &Tag, row: &Row) -> bool {
        self.0.get(tag.as_str()).is_some_and(|claim| claim.who == variant_of(row))
    }

    pub(super) fn variant(&mut self, row: &Row, tags: &Tags, problems: &mut Vec<Problem>) {
        let mut named = Vec::<(String, String)>::new();
        for tag in tags.iter() {
            let entry = tags.origins.get(tag).map(|origin| origin.entry.as_str()).unwrap_or_default();
            let place = place_of(row, entry);
            match self.0.get(tag.as_str()) {
                Some(other) => {
                    // Two clashing entries clash in each of their tags; one report is enough.
                    let clash = (entry.to_owned(), other.place.to_string());
                    if !named.contains(&clash) {
                        problems.push(if other.place == *place {
                            let axes: Vec<String> = row.axes.iter().map(|axis| format!("`{{{axis}}}`")).collect();
                            let message = format!("more than one combination of `for` gives the tag `{tag}`");
                            Problem::new(place, message).hint(format!(
                                "put {} into the entry of `tags`, or move the entry to `newest-tags`, which only the first \
                                 combination gets",
                                axes.join(" or ")
                            ))
                        } else {
                            let message = format!("tag `{tag}` is claimed here and by {} at {}", other.who, other.place);
                            Problem::new(place, message).hint(&other.hint)
                        });
                        named.push(clash);
                    }
                }
                None => {
                    let claim = Claim { who: variant_of(row), place: place.clone(), hint: SHARE.to_owned() };
                    self.0.insert(tag.to_string(), claim);
                }
            }
        }
    }
}

fn tag_of<'a>(source: &'a SourceName, destinations: &[Repository]) -> Option<&'a Tag> {
    let reference = source.reference()?;
    reference.tag().filter(|_| destinations.contains(reference.repository()))
}

/// The place of an entry in the matrix.
fn place_of<'a>(row: &'a Row, entry: &str) -> &'a Place {
    let of_entry = row.tags.iter().find(|(text, _)| text == entry).map(|(_, place)| place);
    of_entry.or(row.default.as_ref().filter(|_| entry == DEFAULT_ENTRY)).unwrap_or(&row.place)
}

fn variant_of(row: &Row) -> String {
    format!("variant `{}`", row.tags.first().map_or("", |(name, _)| name))
}
