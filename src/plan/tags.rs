//! The tags of each image, and that no two images claim the same one.

use std::collections::BTreeMap;

use super::template::Template;
use super::{KeptTag, Place, Problem, Reason, RollingTag, Source, Tags};
use crate::image::{Repository, Tag};
use crate::matrix::Row;
use crate::version::Version;

/// Makes tags of templates and entries.
pub(super) struct Tagger<'a> {
    pub(super) version: &'a Version,
    /// Why no rolling tag goes to this version, if none does.
    pub(super) withheld: Option<&'a str>,
}

impl Tagger<'_> {
    pub(super) fn variant(&self, templates: &[Template], row: &Row, problems: &mut Vec<Problem>) -> Tags {
        let tags = self.tags(templates, &row.tags, problems);
        if tags.exact.is_empty() && !templates.is_empty() && problems.is_empty() {
            problems.push(
                Problem::new(
                    &Place::Input("tag-templates"),
                    format!("no template gives an exact tag of version `{}`", self.version),
                )
                .hint("add `{version}-{tag}`"),
            );
        }
        tags
    }

    /// The tags of one image. Templates come first, then entries, so that `0.9-alpine` stands beside `0.9-alpine3.23`.
    pub(super) fn tags(
        &self,
        templates: &[Template],
        entries: &[(String, Place)],
        problems: &mut Vec<Problem>,
    ) -> Tags {
        let mut tags = Tags::default();
        for template in templates {
            for (entry, place) in entries {
                let Some(text) = template.render(self.version, entry) else { continue };
                let tag = match text.parse::<Tag>() {
                    Ok(tag) => tag,
                    Err(invalid) => {
                        problems.push(Problem::new(place, invalid));
                        continue;
                    }
                };
                // Of `{version}` and `{major}.{minor}` for a version 2024.10, the exact tag is the one to keep.
                if tags.reasons.contains_key(&tag) {
                    continue;
                }
                let reason = Reason { template: template.to_string(), entry: entry.clone(), place: place.to_string() };
                if template.is_exact() {
                    tags.exact.push(tag.clone());
                } else if let Some(why) = self.withheld {
                    tags.kept.push(KeptTag { tag: tag.clone(), reason: why.to_owned() });
                } else {
                    let series = template.series(self.version);
                    tags.rolling.push(RollingTag { tag: tag.clone(), series, entry: entry.clone() });
                }
                tags.reasons.insert(tag, reason);
            }
        }
        // Where a rolling template comes before the exact one that gives the same tag.
        let exact = templates.iter().filter(|template| template.is_exact());
        for text in
            exact.flat_map(|template| entries.iter().filter_map(|(entry, _)| template.render(self.version, entry)))
        {
            let rolling = tags.rolling.iter().position(|rolling| rolling.tag.as_str() == text);
            let kept = tags.kept.iter().position(|kept| kept.tag.as_str() == text);
            let moved =
                rolling.map(|at| tags.rolling.remove(at).tag).or_else(|| kept.map(|at| tags.kept.remove(at).tag));
            tags.exact.extend(moved);
        }
        tags
    }
}

/// Who claims which tag at the destinations.
#[derive(Default)]
pub(super) struct Claims(BTreeMap<String, Claim>);

struct Claim {
    who: String,
    place: Place,
}

impl Claims {
    /// The tags of the source: those that it gets, and the one that it has if it lives at a destination.
    pub(super) fn source(&mut self, source: &Source, destinations: &[Repository]) {
        let own = source.reference.tag().filter(|_| destinations.contains(source.reference.repository()));
        let kept = source.tags.kept.iter().map(|kept| &kept.tag);
        for tag in source.tags.iter().chain(kept).chain(own) {
            let claim = Claim { who: "the source image".to_owned(), place: Place::Input("source-tags") };
            self.0.insert(tag.to_string(), claim);
        }
    }

    pub(super) fn variant(&mut self, row: &Row, tags: &Tags, problems: &mut Vec<Problem>) {
        let kept = tags.kept.iter().map(|kept| &kept.tag);
        let mut named = Vec::<(String, String)>::new();
        for tag in tags.iter().chain(kept) {
            let entry = tags.reasons.get(tag).map(|reason| reason.entry.as_str()).unwrap_or_default();
            let place = row.tags.iter().find(|(text, _)| text == entry).map_or(&row.place, |(_, place)| place);
            match self.0.get(tag.as_str()) {
                Some(other) => {
                    // One clash of entries shows in each of their tags; once is enough.
                    let clash = (entry.to_owned(), other.place.to_string());
                    if !named.contains(&clash) {
                        problems.push(
                            Problem::new(
                                place,
                                format!("tag `{tag}` is claimed here and by {} at {}", other.who, other.place),
                            )
                            .hint("give each tag to one of them"),
                        );
                        named.push(clash);
                    }
                }
                None => {
                    let who = format!("variant `{}`", row.tags.first().map_or("", |(name, _)| name));
                    self.0.insert(tag.to_string(), Claim { who, place: place.clone() });
                }
            }
        }
    }
}
