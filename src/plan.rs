//! What will be published: the version, the variants, and every tag with the reason for it.
//!
//! Pure: a plan is made of the inputs and the event alone, nothing remote is asked. `publish-variants plan` prints it.

mod annotations;
mod make;
pub mod print;
pub mod problem;
mod repository;
mod source;
mod table;
mod tags;
pub mod template;
mod version;

use std::collections::{BTreeMap, BTreeSet};

use crate::action::inputs::{OnConflict, Rolling, VersionPattern};
use crate::compose::binaries::Binaries;
use crate::compose::run::RunInstruction;
use crate::facts::Stated;
use crate::image::config::Changes;
use crate::image::{Base, Location, Platform, Reference, Repository, SourceName, Tag};
use crate::ownership::Grammar;
use crate::version::{Version, VersionSet};

pub use annotations::PlannedAnnotations;
pub use problem::{Place, PlanError, Problem, Text};
pub use repository::RepositoryFacts;
pub use source::WrittenSource;
pub use template::Template;

/// What will be published.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The version of the tool.
    pub version: Version,
    /// The release that the version belongs to. `None` for a development build.
    pub release: Option<Release>,
    /// The commit that the version was made from, where the event or the version tells it.
    pub revision: Option<String>,
    /// Facts about the tool that the inputs state.
    pub stated: Stated,
    /// Labels that the inputs set.
    pub labels: BTreeMap<String, String>,
    /// The scratch image of variants that don't name one themselves; `None` where none of them is made of it and it isn't named.
    pub source: Option<Source>,
    /// What of the source goes where in variants that don't say it themselves.
    pub binaries: Binaries,
    /// The repositories that variants are pushed to, each once.
    pub destinations: Vec<Repository>,
    /// The variants, in the order of the matrix.
    pub variants: Vec<Variant>,
    /// Whether nothing may be pushed.
    pub dry_run: bool,
    /// Why no rolling tag goes to this version: `0.5.0rc1 is a pre-release`. `None` for a final release. GitHub's mark is added
    /// later, by `resolve`.
    pub not_final: Option<String>,
    /// Versions that own no rolling tag.
    pub ignored: VersionSet,
    /// When rolling tags move.
    pub rolling: Rolling,
    /// What happens to exact tags that are taken.
    pub on_conflict: OnConflict,
    /// What the tags of variants are made by.
    pub tag_templates: Vec<Template>,
    /// How versions are read out of exact tags.
    pub grammar: Grammar,
    /// How the repository's tags name a version.
    pub version_pattern: VersionPattern,
    /// What is odd about the input, and no reason to refuse it.
    pub warnings: Vec<Problem>,
}

impl Plan {
    /// The sources that are asked for, each once: those of variants, and that of the plan if a variant has it, if it gets tags, or for
    /// the facts about images that something else has built.
    #[must_use]
    pub fn sources(&self) -> BTreeSet<&SourceName> {
        let tells_facts = self.variants.iter().any(|variant| variant.source.is_none());
        let own = self.source.iter().filter(|source| tells_facts || !source.tags.is_empty());
        let of_variants = self.variants.iter().filter_map(|variant| variant.source.as_ref());
        of_variants.chain(own.map(|source| &source.name)).collect()
    }

    /// The source of a variant, if that isn't the plan's.
    #[must_use]
    pub fn own_source<'a>(&self, variant: &'a Variant) -> Option<&'a SourceName> {
        let is_own = |name: &&SourceName| self.source.as_ref().is_none_or(|source| source.name != **name);
        variant.source.as_ref().filter(is_own)
    }

    /// What the templates make of `entry`, in their order.
    #[must_use]
    pub fn tag_forms(&self, entry: &str) -> Vec<String> {
        let mut forms = Vec::new();
        for variant in &self.variants {
            for tag in variant.tags.iter() {
                let Some(reason) = variant.tags.reasons.get(tag) else { continue };
                let template = reason.template.parse::<Template>().ok();
                let form = template.and_then(|template| template.render(&self.version, entry));
                forms.extend(form.filter(|form| !forms.contains(form)));
            }
        }
        forms
    }
}

/// How the release of a version is found at GitHub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// The names that its tag may have, the one that was written first.
    pub tags: Vec<String>,
}

/// The image with the executables.
#[derive(Clone, Debug)]
pub struct Source {
    /// Its name.
    pub name: SourceName,
    /// Tags of its own that are to be written at the destinations, last of all.
    pub tags: Tags,
}

/// One row of the matrix.
#[derive(Clone, Debug)]
pub struct Variant {
    /// Where it stands in the matrix.
    pub place: Place,
    /// The most specific entry of its `tags`: `alpine3.23`.
    pub name: String,
    /// Where it is made.
    pub made: Made,
    /// The value of `org.opencontainers.image.version`: `0.9.26-alpine3.23`.
    pub version_label: Tag,
    /// The image with its executables; `None` where something else has built it.
    pub source: Option<SourceName>,
    /// What of the source goes where.
    pub binaries: Binaries,
    /// The platforms that were asked for.
    pub platforms: Platforms,
    /// Its tags.
    pub tags: Tags,
    /// What it changes in its base's config; labels that are computed give way before these.
    pub changes: Changes,
    /// Annotations to set, before which those that are computed give way.
    pub annotations: PlannedAnnotations,
    /// Extra `RUN` instructions of a Dockerfile.
    pub run: Vec<RunInstruction>,
    /// Commands that must succeed in it.
    pub checks: Vec<Check>,
    /// Why people should no longer use it.
    pub deprecated: Option<String>,
}

/// Where the image of a variant is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Made {
    /// Here: the executables of the source on this base.
    Here(Base),
    /// Elsewhere: something else has built it, and it is copied from there.
    Elsewhere(Location),
}

impl Made {
    /// The base, which may be `scratch`; `None` for an image that is made elsewhere.
    #[must_use]
    pub fn base(&self) -> Option<&Base> {
        match self {
            Self::Here(base) => Some(base),
            Self::Elsewhere(_) => None,
        }
    }

    /// The name of the base's image.
    #[must_use]
    pub fn base_reference(&self) -> Option<&Reference> {
        self.base().and_then(Base::reference)
    }

    /// Where the image is that something else has built.
    #[must_use]
    pub fn elsewhere(&self) -> Option<&Location> {
        match self {
            Self::Here(_) => None,
            Self::Elsewhere(location) => Some(location),
        }
    }

    /// The repository that is read for it: that of its base, or its own.
    #[must_use]
    pub fn repository(&self) -> Option<&Repository> {
        match self {
            Self::Here(base) => base.reference().map(Reference::repository),
            Self::Elsewhere(location) => location.repository(),
        }
    }
}

/// The platforms of a variant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Platforms {
    /// Those that source and base have in common; all of an image that is made elsewhere.
    Auto,
    /// These; one that is missing is an error.
    Listed(Vec<Platform>),
}

/// The tags of an image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tags {
    /// Tags of this version alone, the most specific one first.
    pub exact: Vec<Tag>,
    /// Tags that go from version to version.
    pub rolling: Vec<RollingTag>,
    /// Which template and entry each tag was made from.
    pub reasons: BTreeMap<Tag, Reason>,
}

impl Tags {
    /// Exact tags, then rolling ones.
    pub fn iter(&self) -> impl Iterator<Item = &Tag> {
        self.exact.iter().chain(self.rolling.iter().map(|rolling| &rolling.tag))
    }

    /// The entry that a tag was made from; empty for the source's own tags.
    #[must_use]
    pub fn entry_of(&self, tag: &Tag) -> &str {
        self.reasons.get(tag).map_or("", |reason| reason.entry.as_str())
    }

    /// The entries that they were made from, the most specific first.
    #[must_use]
    pub fn entries(&self) -> Vec<String> {
        let mut entries = Vec::<String>::new();
        for tag in self.iter() {
            let entry = self.entry_of(tag);
            if !entries.iter().any(|known| known == entry) {
                entries.push(entry.to_owned());
            }
        }
        entries
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.rolling.is_empty()
    }
}

/// A tag that goes from version to version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RollingTag {
    /// The tag.
    pub tag: Tag,
    /// What it was made from. The versions for which this gives the same tag are its series.
    pub template: Template,
    /// The entry that it was made from; empty for the source's own tags. The exact tags of this entry compete for it.
    pub entry: String,
}

/// Where a tag comes from.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Reason {
    /// The template: `{version}-{tag}`.
    pub template: String,
    /// The entry of the variant's `tags`; empty for the source's own tags.
    pub entry: String,
    /// Where the entry stands.
    pub place: String,
}

/// A command that must succeed in a variant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// The command and its arguments; no shell is involved.
    pub command: Vec<String>,
    /// What the output must contain.
    pub contains: Option<String>,
    /// Who asked for it.
    pub origin: CheckOrigin,
}

/// Who asked for a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckOrigin {
    /// By default: the tool tells its version.
    Version,
    /// By default, in an image that is made elsewhere: the tool tells its version, if it is in the `PATH`.
    VersionIfThere,
    /// By default: there is a shell. A base without one (a hardened image) is no reason to fail.
    Shell,
    /// The variant's `verify`.
    Matrix,
}
