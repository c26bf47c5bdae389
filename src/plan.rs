//! What will be published: the version, the variants, and every tag with its origin.
//!
//! Pure: a plan is made from the inputs and the event alone, without any request. `publish-variants plan` prints it.

mod annotations;
mod make;
pub mod print;
pub mod problem;
mod refusals;
mod repository;
mod source;
mod table;
mod tags;
pub mod template;
mod variant;
mod version;

use std::collections::{BTreeMap, BTreeSet};

use crate::action::inputs::{OnConflict, Rolling, VersionPattern};
use crate::compose::binaries::Binaries;
use crate::compose::run::RunInstruction;
use crate::facts::Stated;
use crate::image::config::Changes;
use crate::image::{Base, Location, Platform, Reference, Repository, SourceName, Tag};
use crate::ownership::{Grammar, Reason};
use crate::version::{Version, VersionSet};

pub use annotations::PlannedAnnotations;
pub use problem::{Place, PlanError, Problem, Text};
pub use repository::RepositoryFacts;
pub use source::WrittenSource;
pub use template::Template;

/// Everything that will be published.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The version of the tool.
    pub version: Version,
    /// The release that the version belongs to. `None` for a development build.
    pub release: Option<Release>,
    /// The commit that the version was made from, if the event or the version says so.
    pub revision: Option<String>,
    /// Facts about the tool that the inputs state.
    pub stated: Stated,
    /// Labels that the inputs set.
    pub labels: BTreeMap<String, String>,
    /// The scratch image for variants that don't name one themselves; `None` if no variant needs it and the inputs
    /// don't name it.
    pub source: Option<Source>,
    /// Which files of the source go where, for variants that don't say so themselves.
    pub binaries: Binaries,
    /// The repositories that variants are pushed to, without duplicates.
    pub destinations: Vec<Repository>,
    /// The variants, in the order of the matrix.
    pub variants: Vec<Variant>,
    /// Whether nothing may be pushed.
    pub dry_run: bool,
    /// Why this version gets no rolling tags: `0.5.0rc1 is a pre-release`. `None` for a final release. GitHub's
    /// pre-release mark is added later, by `resolve`.
    pub not_final: Option<String>,
    /// Versions that own no rolling tag.
    pub ignored: VersionSet,
    /// When rolling tags move.
    pub rolling: Rolling,
    /// What happens to taken exact tags.
    pub on_conflict: OnConflict,
    /// The templates that the tags of variants are made from.
    pub tag_templates: Vec<Template>,
    /// How versions are parsed out of exact tags.
    pub grammar: Grammar,
    /// How the repository's tags name a version.
    pub version_pattern: VersionPattern,
    /// Oddities of the input that aren't reasons to refuse it.
    pub warnings: Vec<Problem>,
}

impl Plan {
    /// The sources to look up, without duplicates: those of variants, and the plan's own if a variant uses it, if it
    /// gets tags, or if the facts about images built elsewhere come from it.
    #[must_use]
    pub fn sources(&self) -> BTreeSet<&SourceName> {
        let tells_facts = self.variants.iter().any(|variant| variant.source.is_none());
        let own = self.source.iter().filter(|source| tells_facts || !source.tags.is_empty());
        let of_variants = self.variants.iter().filter_map(|variant| variant.source.as_ref());
        of_variants.chain(own.map(|source| &source.name)).collect()
    }

    /// The source of a variant, if it isn't the plan's.
    #[must_use]
    pub fn own_source<'a>(&self, variant: &'a Variant) -> Option<&'a SourceName> {
        let is_own = |name: &&SourceName| self.source.as_ref().is_none_or(|source| source.name != **name);
        variant.source.as_ref().filter(is_own)
    }

    /// Why this version moves no rolling tag, if that is known without looking at the registries.
    #[must_use]
    pub fn reason_to_write_no_rolling_tag(&self) -> Option<Reason> {
        Reason::to_write_no_rolling_tag(self.not_final.as_deref(), &self.version, &self.ignored, self.rolling)
    }

    /// What the templates make of `entry`, in their order.
    #[must_use]
    pub fn tag_forms(&self, entry: &str) -> Vec<String> {
        let mut forms = Vec::new();
        for variant in &self.variants {
            for tag in variant.tags.iter() {
                let Some(origin) = variant.tags.origins.get(tag) else { continue };
                let template = origin.template.parse::<Template>().ok();
                let form = template.and_then(|template| template.render(&self.version, entry));
                forms.extend(form.filter(|form| !forms.contains(form)));
            }
        }
        forms
    }
}

/// How to find the release of a version on GitHub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// The names that its tag may have, first the one that was written.
    pub tags: Vec<String>,
}

/// The image with the executables.
#[derive(Clone, Debug)]
pub struct Source {
    /// The image, layout or files that the executables come from.
    pub name: SourceName,
    /// Tags of its own to write at the destinations, after all others.
    pub tags: Tags,
}

/// One row of the matrix.
#[derive(Clone, Debug)]
pub struct Variant {
    /// Its line in the matrix.
    pub place: Place,
    /// The most specific entry of its `tags`: `alpine3.23`.
    pub name: String,
    /// Whether it is made here or elsewhere.
    pub made: Made,
    /// The value of `org.opencontainers.image.version`: `0.9.26-alpine3.23`.
    pub version_label: Tag,
    /// The image with its executables; `None` if the variant is built elsewhere.
    pub source: Option<SourceName>,
    /// Which files of the source go where.
    pub binaries: Binaries,
    /// The platforms that were asked for.
    pub platforms: Platforms,
    /// Every tag that it should get.
    pub tags: Tags,
    /// What it changes in its base's config. These changes override computed labels.
    pub changes: Changes,
    /// Annotations to set. They override computed ones.
    pub annotations: PlannedAnnotations,
    /// Extra `RUN` instructions, in order.
    pub run: Vec<RunInstruction>,
    /// Commands that must succeed in it.
    pub checks: Vec<Check>,
    /// Why people should stop using it.
    pub deprecated: Option<String>,
}

/// Where the image of a variant is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Made {
    /// Here: the executables of the source on this base.
    Here(Base),
    /// Elsewhere: the image has been built already, and is copied from this place.
    Elsewhere(Location),
}

impl Made {
    /// The base, which may be `scratch`; `None` for an image made elsewhere.
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

    /// The place of an image made elsewhere.
    #[must_use]
    pub fn elsewhere(&self) -> Option<&Location> {
        match self {
            Self::Here(_) => None,
            Self::Elsewhere(location) => Some(location),
        }
    }

    /// The repository that is read for it: the base's, or that of the image made elsewhere.
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
    /// All platforms that source and base have in common, or that an image made elsewhere has.
    Auto,
    /// The listed platforms. It is an error if one is missing.
    Listed(Vec<Platform>),
}

/// The tags of an image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tags {
    /// Tags for this version only, the most specific one first.
    pub exact: Vec<Tag>,
    /// Tags that move from version to version.
    pub rolling: Vec<RollingTag>,
    /// Which template and entry each tag was made from.
    pub origins: BTreeMap<Tag, TagOrigin>,
}

impl Tags {
    /// Exact tags, then rolling ones.
    pub fn iter(&self) -> impl Iterator<Item = &Tag> {
        self.exact.iter().chain(self.rolling.iter().map(|rolling| &rolling.tag))
    }

    /// The entry that a tag was made from; empty for the source's own tags.
    #[must_use]
    pub fn entry_of(&self, tag: &Tag) -> &str {
        self.origins.get(tag).map_or("", |origin| origin.entry.as_str())
    }

    /// The entries that the tags were made from, the most specific first.
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

/// A tag that moves from version to version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RollingTag {
    /// The tag.
    pub tag: Tag,
    /// The template that it was made from. The versions for which the template gives the same tag are the tag's series.
    pub template: Template,
    /// The entry that it was made from; empty for the source's own tags. Exact tags of this entry compete for the
    /// rolling tag.
    pub entry: String,
}

/// Where a tag comes from.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct TagOrigin {
    /// The template: `{version}-{tag}`.
    pub template: String,
    /// The entry of the variant's `tags`; empty for the source's own tags.
    pub entry: String,
    /// Where the entry is in the matrix.
    pub place: String,
}

/// A command that must succeed in a variant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// The command and its arguments; no shell is involved.
    pub command: Vec<String>,
    /// What the output must contain.
    pub contains: Option<String>,
    /// Why it is run.
    pub origin: CheckOrigin,
}

/// Why a command is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckOrigin {
    /// By default: the tool prints its version.
    Version,
    /// By default, in an image made elsewhere: the tool prints its version, if it is in the `PATH`.
    VersionIfThere,
    /// By default: there is a shell. A base without a shell (a hardened image) doesn't fail the check.
    Shell,
    /// The variant's `verify`.
    Matrix,
}
