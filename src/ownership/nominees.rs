//! Nominations: the versions and entries that a repository's tags may be the exact tags of, by their text.
//!
//! A nomination decides nothing. One text may nominate several versions: `1.2.3-22-slim` is 1.2.3 of the entry `22-slim`, and
//! 1.2.3-22 (a post-release) or 1.2.3+22 of the entry `slim`.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::image::Tag;
use crate::plan::Template;
use crate::version::{Reading, Scheme, Version};

/// How versions are read out of exact tags: the templates that give the tags, and the entries that fill them.
///
/// The source's own tags are made of the empty entry, and the default variant's bare ones of another that no variant has.
#[derive(Clone, Debug)]
pub struct Grammar {
    templates: Vec<Template>,
    /// Templates that take no entry, each after what stands for one.
    bare: Vec<(String, Template)>,
    scheme: Scheme,
    /// From the text after the version in an exact tag to the text before it and the entry. Keyed by the end, so that a tag
    /// is looked up by its ends and not compared with every entry.
    shapes: HashMap<String, Vec<(String, String)>>,
    /// The plan's rolling tags. They nominate nothing, although `1.2-alpine` reads as version 1.2.
    rolling: HashSet<Tag>,
}

/// A tag that may be the exact tag of a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nominee {
    /// The version.
    pub version: Version,
    /// Whether the tag has the version literally; else a `-` stands for `+`, `!` or a post-release.
    pub literal: bool,
    /// The tag.
    pub tag: Tag,
}

/// The nominees of a repository, by entry, the newest version first.
#[derive(Clone, Debug, Default)]
pub struct Nominees(HashMap<String, Vec<Arc<Nominee>>>);

/// The entries and nominees that were read out of tags. A run looks at its repositories several times, and they have thousands of
/// tags, of which each is read once.
pub(super) type Readings = HashMap<Tag, Vec<(String, Arc<Nominee>)>>;

impl Grammar {
    /// The grammar of a plan: the templates of variants with all their `entries`, the `bare` ones that take no entry, each with the one
    /// that stands for it, and the `rolling` tags of all. Templates that give no exact tag are left aside.
    #[must_use]
    pub fn new(
        templates: &[Template],
        bare: &[(&str, &Template)],
        entries: impl IntoIterator<Item = String>,
        rolling: impl IntoIterator<Item = Tag>,
        scheme: Scheme,
    ) -> Self {
        let mut shapes = HashMap::<String, Vec<(String, String)>>::new();
        let entries: HashSet<String> = entries.into_iter().collect();
        let of_variants =
            templates.iter().flat_map(|template| entries.iter().map(move |entry| (template, entry.as_str())));
        for (template, entry) in of_variants.chain(bare.iter().map(|(entry, template)| (*template, *entry))) {
            if let Some((before, after)) = template.around_version(entry) {
                shapes.entry(after).or_default().push((before, entry.to_owned()));
            }
        }
        Self {
            templates: templates.to_vec(),
            bare: bare.iter().map(|(entry, template)| ((*entry).to_owned(), (*template).clone())).collect(),
            scheme,
            shapes,
            rolling: rolling.into_iter().collect(),
        }
    }

    /// How versions are read.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Reads the list of a repository's tags.
    #[must_use]
    pub fn nominees<'a>(&self, tags: impl IntoIterator<Item = &'a Tag>) -> Nominees {
        self.nominees_with(tags, &mut Readings::new())
    }

    /// The same, with what was read before.
    pub(super) fn nominees_with<'a>(&self, tags: impl IntoIterator<Item = &'a Tag>, before: &mut Readings) -> Nominees {
        let mut nominees = HashMap::<String, Vec<Arc<Nominee>>>::new();
        for tag in tags {
            if self.rolling.contains(tag) {
                continue;
            }
            if !before.contains_key(tag) {
                let read = self.readings(tag).map(|(entry, Reading { version, literal })| {
                    (entry.to_owned(), Arc::new(Nominee { version, literal, tag: tag.clone() }))
                });
                before.insert(tag.clone(), read.collect());
            }
            for (entry, nominee) in &before[tag] {
                match nominees.get_mut(entry) {
                    Some(of_entry) => of_entry.push(Arc::clone(nominee)),
                    None => drop(nominees.insert(entry.clone(), vec![Arc::clone(nominee)])),
                }
            }
        }
        for of_entry in nominees.values_mut() {
            of_entry.sort_by(|a, b| b.version.succession(&a.version).then_with(|| a.tag.cmp(&b.tag)));
        }
        Nominees(nominees)
    }

    /// The entries of the plan and the versions that `tag` may be an exact tag of.
    fn readings<'a>(&'a self, tag: &'a Tag) -> impl Iterator<Item = (&'a str, Reading)> {
        let text = tag.as_str();
        // A tag has ASCII characters only.
        let ends = (0..=text.len()).map(|at| (at, &text[at..]));
        ends.filter_map(|(at, end)| Some((at, self.shapes.get(end)?)))
            .flat_map(|(at, shapes)| shapes.iter().map(move |shape| (at, shape)))
            .filter_map(|(at, (before, entry))| Some((entry.as_str(), text[..at].strip_prefix(before.as_str())?)))
            .flat_map(|(entry, version)| {
                Version::readings(version, self.scheme).into_iter().map(move |reading| (entry, reading))
            })
    }

    /// The versions that `tag` may be an exact tag of, for any entry, in the plan or not.
    #[must_use]
    pub fn versions(&self, tag: &Tag) -> Vec<Version> {
        let text = tag.as_str();
        let mut versions = Vec::<Version>::new();
        for template in self.templates.iter().chain(self.bare.iter().map(|(_, template)| template)) {
            for (version, _) in template.cuts(text) {
                versions.extend(Version::readings(version, self.scheme).into_iter().map(|reading| reading.version));
            }
        }
        let mut seen = HashSet::new();
        versions.retain(|version| seen.insert(version.to_string()));
        versions
    }

    /// The exact tags that this plan would give a version of `entry`.
    #[must_use]
    pub fn exact_tags(&self, version: &Version, entry: &str) -> Vec<Tag> {
        let mut templates: Vec<&Template> =
            self.bare.iter().filter(|(of, _)| of == entry).map(|(_, template)| template).collect();
        if templates.is_empty() {
            templates.extend(&self.templates);
        }
        let exact = templates.into_iter().filter(|template| template.is_exact());
        exact.filter_map(|template| template.render(version, entry)?.parse().ok()).collect()
    }

    /// The versions that `tag` may be an exact tag of, for `entry`.
    #[must_use]
    pub fn versions_of_entry(&self, tag: &Tag, entry: &str) -> Vec<Version> {
        self.readings(tag).filter(|(of, _)| *of == entry).map(|(_, reading)| reading.version).collect()
    }
}

impl Nominees {
    /// The nominees of an entry, the newest version first.
    #[must_use]
    pub fn of(&self, entry: &str) -> &[Arc<Nominee>] {
        self.0.get(entry).map(Vec::as_slice).unwrap_or_default()
    }

    /// The nominees of an entry whose versions come after `version`, and all others; the newest version first in both.
    #[must_use]
    pub fn around(&self, entry: &str, version: &Version) -> (&[Arc<Nominee>], &[Arc<Nominee>]) {
        let all = self.of(entry);
        all.split_at(all.partition_point(|nominee| nominee.version.succeeds(version)))
    }
}
