//! Nominations: which versions and entries a repository's tags may belong to, judged by their text.
//!
//! A nomination decides nothing. One text may nominate several versions: `1.2.3-22-slim` is 1.2.3 of the entry
//! `22-slim`, or 1.2.3-22 (a post-release) or 1.2.3+22 of the entry `slim`.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use crate::image::Tag;
use crate::plan::Template;
use crate::version::{Reading, Scheme, Version};

/// How versions are parsed out of exact tags: the templates that make the tags, and the entries that fill them in.
///
/// The source's own tags are made of the empty entry, and the default variant's bare tags of an entry that no variant
/// has.
#[derive(Clone, Debug)]
pub struct Grammar {
    templates: Vec<Template>,
    /// Templates without an entry, each with the name that stands for one.
    bare: Vec<(String, Template)>,
    scheme: Scheme,
    /// From the text after the version in an exact tag to the text before it and the entry. It is keyed by the end, so
    /// that a tag is looked up by its possible ends instead of being compared with every entry.
    shapes: HashMap<String, Vec<(String, String)>>,
    /// The lengths of the keys of `shapes`, so that only few ends of a tag are looked up.
    lengths: BTreeSet<usize>,
    /// The plan's rolling tags, each with the versions that it would be an exact tag of. They nominate nothing,
    /// although `1.2-alpine` looks like version 1.2.
    rolling: HashMap<Tag, Vec<Version>>,
}

/// A tag that may be the exact tag of a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nominee {
    /// The version that the tag's text stands for.
    pub version: Version,
    /// Whether the tag contains the version literally; otherwise a `-` stands for `+`, `!` or a post-release.
    pub literal: bool,
    /// The tag that nominates the version.
    pub tag: Tag,
}

/// The nominees of a repository, by entry.
#[derive(Clone, Debug, Default)]
pub struct Nominees(HashMap<String, OfEntry>);

/// The nominees of an entry, newest version first.
#[derive(Clone, Debug, Default)]
struct OfEntry {
    all: Vec<Arc<Nominee>>,
    /// How many of them are newer than the version that is being published.
    newer: usize,
}

/// The entries and nominees parsed from tags. A run looks at a repository several times, and it may have thousands of
/// tags, so each is parsed once.
pub(super) type Readings = HashMap<Tag, Vec<(String, Arc<Nominee>)>>;

impl Grammar {
    /// The grammar of a plan: the templates of variants with all their `entries`, the `bare` templates without an
    /// entry, each with the name that stands for one, and all `rolling` tags. Templates that make no exact tags are
    /// ignored.
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
        let mut grammar = Self {
            templates: templates.to_vec(),
            bare: bare.iter().map(|(entry, template)| ((*entry).to_owned(), (*template).clone())).collect(),
            scheme,
            lengths: shapes.keys().map(String::len).collect(),
            shapes,
            rolling: HashMap::new(),
        };
        let rolling = rolling.into_iter().map(|tag| (grammar.versions_in(&tag), tag));
        grammar.rolling = rolling.map(|(versions, tag)| (tag, versions)).collect();
        grammar
    }

    /// The scheme by which versions are parsed.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Parses a repository's tags, for a run that publishes `version`.
    #[must_use]
    pub fn nominees<'a>(&self, version: &Version, tags: impl IntoIterator<Item = &'a Tag>) -> Nominees {
        self.nominees_with(version, tags, &mut Readings::new())
    }

    /// Like [`Self::nominees`], reusing earlier readings.
    pub(super) fn nominees_with<'a>(
        &self,
        version: &Version,
        tags: impl IntoIterator<Item = &'a Tag>,
        before: &mut Readings,
    ) -> Nominees {
        let mut nominees = HashMap::<String, OfEntry>::new();
        let mut add = |(entry, nominee): &(String, Arc<Nominee>)| match nominees.get_mut(entry) {
            Some(of_entry) => of_entry.all.push(Arc::clone(nominee)),
            None => drop(nominees.insert(entry.clone(), OfEntry { all: vec![Arc::clone(nominee)], newer: 0 })),
        };
        for tag in tags {
            match before.get(tag) {
                Some(read) => read.iter().for_each(&mut add),
                None => {
                    let read = self.read(tag);
                    read.iter().for_each(&mut add);
                    before.insert(tag.clone(), read);
                }
            }
        }
        for OfEntry { all, newer } in nominees.values_mut() {
            all.sort_by(|a, b| b.version.succession(&a.version).then_with(|| a.tag.cmp(&b.tag)));
            *newer = all.partition_point(|nominee| nominee.version.succeeds(version));
        }
        Nominees(nominees)
    }

    /// The entries and nominees of one tag.
    fn read(&self, tag: &Tag) -> Vec<(String, Arc<Nominee>)> {
        if self.rolling.contains_key(tag) {
            return Vec::new();
        }
        let nominee = |(entry, Reading { version, literal }): (&str, Reading)| {
            (entry.to_owned(), Arc::new(Nominee { version, literal, tag: tag.clone() }))
        };
        self.readings(tag).map(nominee).collect()
    }

    /// The entries of the plan, and the versions, for which `tag` may be an exact tag.
    fn readings<'a>(&'a self, tag: &'a Tag) -> impl Iterator<Item = (&'a str, Reading)> {
        let text = tag.as_str();
        // Tags are ASCII, so any byte index is a character boundary.
        let ends = self.lengths.iter().filter_map(|length| text.len().checked_sub(*length)).map(|at| (at, &text[at..]));
        ends.filter_map(|(at, end)| Some((at, self.shapes.get(end)?)))
            .flat_map(|(at, shapes)| shapes.iter().map(move |shape| (at, shape)))
            .filter_map(|(at, (before, entry))| Some((entry.as_str(), text[..at].strip_prefix(before.as_str())?)))
            .flat_map(|(entry, version)| {
                Version::readings(version, self.scheme).into_iter().map(move |reading| (entry, reading))
            })
    }

    /// The versions for which `tag` may be an exact tag, with any entry, whether it is in the plan or not.
    #[must_use]
    pub fn versions(&self, tag: &Tag) -> Cow<'_, [Version]> {
        self.rolling.get(tag).map_or_else(|| Cow::Owned(self.versions_in(tag)), |known| Cow::Borrowed(known.as_slice()))
    }

    fn versions_in(&self, tag: &Tag) -> Vec<Version> {
        let text = tag.as_str();
        let mut versions = Vec::<Version>::new();
        for template in self.templates.iter().chain(self.bare.iter().map(|(_, template)| template)) {
            for (version, _) in template.cuts(text) {
                versions.extend(Version::readings(version, self.scheme).into_iter().map(|reading| reading.version));
            }
        }
        let mut seen = HashSet::new();
        versions.retain(|version| seen.insert(version.as_str().to_owned()));
        versions
    }

    /// The exact tags that this plan would give `version` for `entry`.
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

    /// Whether `tag` may be an exact tag of `version`, with any entry of the plan.
    pub(super) fn is_exact_tag_of(&self, tag: &Tag, version: &Version) -> bool {
        self.readings(tag).any(|(_, reading)| reading.version.as_str() == version.as_str())
    }

    /// The versions for which `tag` may be an exact tag of `entry`.
    #[must_use]
    pub fn versions_of_entry(&self, tag: &Tag, entry: &str) -> Vec<Version> {
        self.readings(tag).filter(|(of, _)| *of == entry).map(|(_, reading)| reading.version).collect()
    }
}

impl Nominees {
    /// The nominees of an entry, newest version first.
    #[must_use]
    pub fn of(&self, entry: &str) -> &[Arc<Nominee>] {
        self.0.get(entry).map(|of_entry| of_entry.all.as_slice()).unwrap_or_default()
    }

    /// The nominees of an entry in two parts, each with the newest version first: those that are newer than the version
    /// being published, and the others.
    #[must_use]
    pub fn around(&self, entry: &str) -> (&[Arc<Nominee>], &[Arc<Nominee>]) {
        self.0.get(entry).map(|of_entry| of_entry.all.split_at(of_entry.newer)).unwrap_or_default()
    }
}
