//! A world in memory: registries, GitHub and bases, with a record of who made what. The program learns about an image
//! only what its bytes would reveal; only the oracle knows where it came from.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use chrono::{DateTime, TimeZone as _, Utc};
use publish_variants::image::{Digest, Platform, Repository, Tag};
use publish_variants::ownership::{Standing, TagKind};

use crate::workflow::Workflow;

pub(crate) type Shared = Rc<RefCell<World>>;

#[derive(Clone, Debug, Default)]
pub(crate) struct World {
    pub(crate) repositories: BTreeMap<Repository, Shelf>,
    /// All images that ever existed, anywhere.
    pub(crate) images: BTreeMap<Digest, Image>,
    /// What GitHub knows, by version; `None` without GitHub.
    pub(crate) github: Option<BTreeMap<String, Standing>>,
    /// The images that a base's tag named, day by day; the last is today's.
    pub(crate) bases: BTreeMap<String, Vec<Base>>,
    /// How often facts about the tool have changed: a description on GitHub may change, and all digests with it.
    pub(crate) facts: u32,
    /// Tags that can't be written.
    pub(crate) refusing: BTreeSet<Tag>,
    /// All writes of tags by runs.
    pub(crate) writes: Vec<Write>,
    /// The oracle's objections to some of them.
    pub(crate) objections: Vec<String>,
    /// The number of runs so far.
    pub(crate) runs: usize,
}

/// A repository.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shelf {
    pub(crate) tags: BTreeMap<Tag, Digest>,
    /// Indexes whose manifests were deleted.
    pub(crate) broken: BTreeSet<Digest>,
    /// Digests that were pushed here.
    pub(crate) content: BTreeSet<Digest>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Base {
    pub(crate) made: Option<DateTime<Utc>>,
    pub(crate) platforms: BTreeSet<Platform>,
    /// Whether it has disappeared.
    pub(crate) gone: bool,
}

/// What an image contains, and where it came from.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    pub(crate) annotated: Option<String>,
    pub(crate) base_made: Option<DateTime<Utc>>,
    pub(crate) platforms: BTreeSet<Platform>,
    pub(crate) origin: Origin,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Made by a run of ours.
    Ours {
        tool: String,
        version: String,
        /// Everything that makes it this variant, except for its entries.
        recipe: String,
        /// The first of its entries; empty for the source.
        entry: String,
        /// On which of the base's images it was built.
        day: usize,
        /// The facts about the tool at that time.
        facts: u32,
    },
    /// The source of a version, pushed by the build job.
    Built { tool: String, version: String },
    /// A version of the tool published by another workflow, with a description.
    Old { version: String, label: String },
    /// Somebody else's image, which isn't a version of the tool.
    Foreign(String),
}

/// A tag that was written.
#[derive(Clone, Debug)]
pub(crate) struct Write {
    pub(crate) version: String,
    pub(crate) repository: Repository,
    pub(crate) tag: Tag,
    pub(crate) kind: TagKind,
    /// The entry that the tag was made from.
    pub(crate) entry: String,
    /// The digest that it named at the run's last look.
    pub(crate) looked: Option<Digest>,
    /// The digest that it named when it was written.
    pub(crate) before: Option<Digest>,
    pub(crate) after: Digest,
    pub(crate) workflow: Rc<Workflow>,
}

impl World {
    pub(crate) fn new() -> Self {
        Self { github: Some(BTreeMap::new()), ..Self::default() }
    }

    pub(crate) fn shelf(&mut self, repository: &Repository) -> &mut Shelf {
        self.repositories.entry(repository.clone()).or_default()
    }

    pub(crate) fn named(&self, repository: &Repository, tag: &Tag) -> Option<Digest> {
        self.repositories.get(repository)?.tags.get(tag).cloned()
    }

    pub(crate) fn is_broken(&self, repository: &Repository, digest: &Digest) -> bool {
        self.repositories
            .get(repository)
            .is_none_or(|shelf| shelf.broken.contains(digest) || !shelf.content.contains(digest))
    }

    pub(crate) fn standing(&self, version: &str) -> Standing {
        match &self.github {
            None => Standing::Unknown,
            Some(github) => github.get(version).copied().unwrap_or(Standing::Absent),
        }
    }

    /// Today's image of a base. A base that wasn't mentioned before was made on the first day, for both platforms.
    pub(crate) fn base(&mut self, name: &str) -> (usize, Base) {
        let days = self.bases.entry(name.to_owned()).or_insert_with(|| vec![Base::made(1)]);
        (days.len() - 1, days[days.len() - 1].clone())
    }

    /// Moves the base to another image, which may be younger or older.
    pub(crate) fn move_base(&mut self, name: &str, base: Base) {
        self.base(name);
        self.bases.get_mut(name).expect("it was just looked at").push(base);
    }

    /// Puts somebody else's image under a tag.
    pub(crate) fn put_foreign(&mut self, repository: &Repository, tag: &Tag, label: &str) -> Digest {
        self.put(repository, tag, Origin::Foreign(label.to_owned()), label)
    }

    /// Another workflow publishes a version.
    pub(crate) fn put_old(&mut self, repository: &Repository, tag: &Tag, version: &str, label: &str) -> Digest {
        self.put(repository, tag, Origin::Old { version: version.to_owned(), label: label.to_owned() }, label)
    }

    /// The build job pushes the source of a version.
    pub(crate) fn put_built(&mut self, repository: &Repository, tag: &Tag, tool: &str, version: &str) -> Digest {
        let origin = Origin::Built { tool: tool.to_owned(), version: version.to_owned() };
        self.put(repository, tag, origin, &built(tool, version))
    }

    fn put(&mut self, repository: &Repository, tag: &Tag, origin: Origin, bytes: &str) -> Digest {
        let digest = Digest::of(bytes.as_bytes());
        let image = Image { annotated: None, base_made: None, platforms: both_platforms(), origin };
        self.images.insert(digest.clone(), image);
        let shelf = self.shelf(repository);
        shelf.content.insert(digest.clone());
        shelf.tags.insert(tag.clone(), digest.clone());
        digest
    }

    /// A description of an image.
    pub(crate) fn tell(&self, digest: &Digest) -> String {
        match &self.images[digest].origin {
            Origin::Ours { version, entry, recipe, day, .. } => {
                let base = recipe.split(' ').next().unwrap_or_default();
                let day = if *day == 0 { String::new() } else { format!(", day {day}") };
                if entry.is_empty() { version.clone() } else { format!("{version} on {base}{day}") }
            }
            Origin::Built { version, .. } => format!("{version} as built"),
            Origin::Old { label, .. } | Origin::Foreign(label) => label.clone(),
        }
    }
}

/// The bytes of a source.
pub(crate) fn built(tool: &str, version: &str) -> String {
    format!("the source of {tool} {version}")
}

impl Base {
    pub(crate) fn made(day: u32) -> Self {
        Self { made: Some(day_of(day)), platforms: both_platforms(), gone: false }
    }

    pub(crate) fn only(mut self, platform: &str) -> Self {
        self.platforms = [platform.parse().unwrap()].into();
        self
    }

    pub(crate) fn undated(mut self) -> Self {
        self.made = None;
        self
    }
}

pub(crate) fn day_of(day: u32) -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 1, 1, 0, 0, 0).unwrap() + chrono::Duration::days(i64::from(day))
}

pub(crate) fn both_platforms() -> BTreeSet<Platform> {
    ["linux/amd64", "linux/arm64"].map(|platform| platform.parse().unwrap()).into()
}
