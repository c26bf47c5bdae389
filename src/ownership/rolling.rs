//! Rolling tags: each of them moves to this version, is given to a newer one, or stays.
//!
//! The owner is the newest final version of the series: this one, or a newer one that counts. Newer versions are
//! nominated by the list of tags and by the image under the rolling tag. Whether they count follows from this table:
//!
//! | a newer version | holds the tag | is given the tag, unless it has it already |
//! | --- | --- | --- |
//! | is in `ignore-versions`, or is a pre-release on GitHub | no | no |
//! | is proved at its exact tag | yes | if its image has no missing parts |
//! | is proved there, but GitHub has neither a release nor a tag of it | yes, with a warning | likewise |
//! | is shown by the rolling tag, in our annotation | yes, with a warning | no |
//! | is likely | yes, with a warning | no |
//! | anything else: a nightly `20260110`, `1.2.3-22-slim` of another variant | no | no |

use std::sync::Arc;

use super::Artifact;
use super::evidence::{Answer, Asker, Kinship, SeenImage, Standing};
use super::exact::Placed;
use super::nominees::Nominee;
use super::verdict::{Evidence, Image, Reason, Verdict};
use crate::action::inputs::{OnConflict, Rolling};
use crate::image::{Digest, Platform, Repository, Tag};
use crate::plan::RollingTag;
use crate::version::Version;

/// A rolling tag at a destination.
struct Looked<'a> {
    asker: &'a Asker<'a>,
    artifact: &'a Artifact,
    placed: &'a Placed,
    destination: &'a Repository,
    rolling: &'a RollingTag,
    /// The digest that it names now.
    now: Option<Digest>,
}

/// What is known about the image under a rolling tag.
enum Shows {
    /// There is no such tag, or its image doesn't have to be read.
    Nothing,
    /// It is the image that the exact tag of this older version names, for the same entry.
    Older(Arc<Nominee>),
    /// The image had to be read.
    Read(SeenImage),
}

/// The version that a rolling tag belongs to.
enum Owner {
    This,
    Newer {
        version: Version,
        evidence: Evidence,
        /// The digest under its exact tag, if that proves the version.
        digest: Option<Digest>,
    },
}

/// The verdict on a rolling tag.
pub(super) fn verdict(
    asker: &Asker<'_>,
    artifact: &Artifact,
    placed: &Placed,
    destination: &Repository,
    rolling: &RollingTag,
) -> Answer<Verdict> {
    let wanted = asker.wanted;
    let now = asker.tag(destination, &rolling.tag)?;
    let looked = Looked { asker, artifact, placed, destination, rolling, now };
    let of_entry = placed.of_entry(artifact, destination, &rolling.entry);
    // A tag that already names this version's image isn't written, so no rule can forbid it.
    let names_ours = matches!(&of_entry, Ok(Some(digest)) if looked.now.as_ref() == Some(digest));
    if let Some(reason) = wanted.reason_to_write_no_rolling_tag() {
        return Ok(if names_ours { Verdict::Right } else { Verdict::Stays(reason) });
    }
    if wanted.rolling == Rolling::Always {
        return match of_entry {
            Err(reason) => Ok(Verdict::Stays(reason)),
            Ok(digest) => looked.write(digest, &Shows::Nothing),
        };
    }
    // If the tag has the digest of this version's exact tag, the image doesn't have to be read.
    let shows = if names_ours { Shows::Nothing } else { looked.shows()? };
    match looked.owner(&shows)? {
        Owner::Newer { version, evidence, digest } => looked.held(version, evidence, digest, &shows),
        Owner::This => match of_entry {
            Err(reason) => Ok(Verdict::Stays(reason)),
            Ok(digest) if looked.stays_within_version(digest.as_ref(), &shows)? => {
                Ok(Verdict::Stays(Reason::NewerBase))
            }
            Ok(digest) => looked.write(digest, &shows),
        },
    }
}

impl Looked<'_> {
    /// The image under the tag. Usually a `HEAD` request shows that it is the one of the entry's newest older exact
    /// tag.
    fn shows(&self) -> Answer<Shows> {
        let Some(now) = &self.now else { return Ok(Shows::Nothing) };
        // `1-alpine`, `1.2-alpine` and `3.13-alpine` may be rolling tags of another plan that name a newer version.
        // Only a tag that is certainly exact spares us reading the image.
        let this = &self.asker.wanted.version;
        let older = self.not_newer()?;
        let older = older.iter().find(|nominee| {
            nominee.literal
                && !nominee.version.is_prerelease()
                && nominee.version.is_written_like(this)
                && !is_extended(nominee.version.as_str(), this.as_str())
        });
        if let Some(older) = older
            && !self.is_an_entry(older)?
            && self.asker.tag(self.destination, &older.tag)?.as_ref() == Some(now)
        {
            return Ok(Shows::Older(Arc::clone(older)));
        }
        Ok(Shows::Read(self.asker.image(self.destination, now)?))
    }

    /// The tags of the repository that may be exact tags of the entry, newest version first. Only the guard needs them.
    fn nominees(&self) -> Answer<&[Arc<Nominee>]> {
        Ok(self.asker.nominees(self.destination)?.of(&self.rolling.entry))
    }

    /// The nominees that are newer than this version.
    fn newer(&self) -> Answer<&[Arc<Nominee>]> {
        Ok(self.asker.nominees(self.destination)?.around(&self.rolling.entry).0)
    }

    /// The nominees for this version and for older ones.
    fn not_newer(&self) -> Answer<&[Arc<Nominee>]> {
        Ok(self.asker.nominees(self.destination)?.around(&self.rolling.entry).1)
    }

    /// Whether a longer tag, which isn't one of the older version's, begins or ends with that version's tag, so that
    /// the latter looks like an entry: if there is `24.1-3.13-alpine`, `3.13-alpine` is an entry. If there is the
    /// source's `1.2.3`, then `1.2.3-alpine3.23`, which may be a pre-release as well, is a variant's exact tag.
    fn is_an_entry(&self, older: &Nominee) -> Answer<bool> {
        let tag = older.tag.as_str();
        let has = |longer: &str| {
            let rest = longer.strip_suffix(tag).map(|before| before.ends_with(['-', '_']));
            rest.or_else(|| longer.strip_prefix(tag).map(|after| after.starts_with(['-', '_']))) == Some(true)
        };
        let grammar = &self.asker.wanted.grammar;
        let longer = self.nominees()?.iter().filter(|nominee| has(nominee.tag.as_str()));
        Ok(longer.map(|longer| &longer.tag).any(|longer| !grammar.is_exact_tag_of(longer, &older.version)))
    }

    /// Whether a newer version is final and belongs to the tag's series.
    fn competes(&self, version: &Version) -> bool {
        self.rolling.template.gives(self.rolling.tag.as_str(), version, &self.rolling.entry) && !version.is_prerelease()
    }

    fn owner(&self, shows: &Shows) -> Answer<Owner> {
        let wanted = self.asker.wanted;
        // Usually the image has this version, which isn't a newer one.
        let shown = shows.version().filter(|text| *text != wanted.version.as_str());
        let newer = self.newer()?;
        let shown = shown.and_then(|text| {
            let nominee = newer.iter().find(|nominee| nominee.version.as_str() == text);
            let read =
                || Version::as_written(text, wanted.grammar.scheme()).filter(|read| read.succeeds(&wanted.version));
            nominee.map(|nominee| nominee.version.clone()).or_else(read)
        });
        let shown = shown.filter(|version| self.competes(version));
        let newer = newer.iter().map(Arc::as_ref);
        let nominees: Vec<&Nominee> = newer.filter(|nominee| self.competes(&nominee.version)).collect();
        let mut versions: Vec<&Version> = nominees.iter().map(|nominee| &nominee.version).chain(&shown).collect();
        // Equal versions are now neighbours; two that are written alike are one version.
        versions.sort_by(|a, b| b.succession(a));
        versions.dedup_by_key(|version| version.as_str());
        // Usually the newest one counts. Batches double in size, so that hundreds of nightly builds don't take hundreds
        // of round trips.
        let (mut decided, mut at_once) = (0, 1);
        while decided < versions.len() {
            let batch = &versions[decided..versions.len().min(decided + at_once)];
            let answers: Vec<_> = batch.iter().map(|version| self.counts(version, &nominees, shown.as_ref())).collect();
            for (version, answer) in batch.iter().zip(answers) {
                if let Some((evidence, digest)) = answer? {
                    return Ok(Owner::Newer { version: (*version).clone(), evidence, digest });
                }
            }
            decided += batch.len();
            at_once *= 2;
        }
        Ok(Owner::This)
    }

    /// The evidence for a newer version, and the digest under its exact tag if that proves it. `None` if the version
    /// doesn't count.
    fn counts(
        &self,
        version: &Version,
        nominees: &[&Nominee],
        shown: Option<&Version>,
    ) -> Answer<Option<(Evidence, Option<Digest>)>> {
        if self.asker.wanted.ignored.contains(version) {
            return Ok(None);
        }
        let same = |other: &Version| other.as_str() == version.as_str();
        let mut found = shown.filter(|shown| same(shown)).map(|_| (Evidence::Shown, None));
        for nominee in nominees.iter().filter(|nominee| same(&nominee.version)) {
            let Some(digest) = self.asker.tag(self.destination, &nominee.tag)? else { continue };
            match self.asker.image(self.destination, &digest)? {
                SeenImage::Image { version: Some(says), .. } if says == version.as_str() => {
                    found = Some((Evidence::Proved, Some(digest)));
                    break;
                }
                SeenImage::Image { version: None, .. } if found.is_none() && self.is_likely(nominee, &digest)? => {
                    let is_source = self.artifact.variant.is_none();
                    found = Some((if is_source { Evidence::LikelySource } else { Evidence::Likely }, None));
                }
                SeenImage::Image { .. } | SeenImage::Unreadable(_) => {}
            }
        }
        let Some((evidence, digest)) = found else { return Ok(None) };
        Ok(match (self.asker.standing(version)?, evidence) {
            (Standing::Prerelease, _) => None,
            // It may have been withdrawn, or its release isn't made yet.
            (Standing::Absent, Evidence::Proved) => Some((Evidence::Unreleased, digest)),
            _ => Some((evidence, digest)),
        })
    }

    /// Whether an image without our annotation is likely to be the nominee's version.
    fn is_likely(&self, nominee: &Nominee, digest: &Digest) -> Answer<bool> {
        let shown = self.now.as_ref() == Some(digest);
        let counts = shown && nominee.literal
            || match self.asker.standing(&nominee.version)? {
                Standing::Final | Standing::Tagged => true,
                // Nobody knows whether the tool writes `1.30.0-k3s1` for 1.30.0+k3s1, unless this version is written
                // like that.
                Standing::Unknown => {
                    shown
                        && self.asker.wanted.version.is_altered_in_tags()
                        && !self.has_shorter_exact_tag(nominee, digest)?
                }
                Standing::Prerelease | Standing::Absent => false,
            };
        Ok(counts && !self.has_longer_exact_tag(&nominee.tag, digest)?)
    }

    /// Whether the image is also named by the exact tag of a version that this one extends. If there is
    /// `1.30.0-k3s1-slim`, then `1.30.0-k3s1-22-slim` isn't 1.30.0+k3s1-22 of `slim`, but 1.30.0+k3s1 of `22-slim`.
    fn has_shorter_exact_tag(&self, nominee: &Nominee, digest: &Digest) -> Answer<bool> {
        let long = nominee.version.tag_text();
        let goes_on = |short: &str| long.strip_prefix(short).is_some_and(|rest| rest.starts_with('-'));
        let shorter = self.nominees()?.iter().filter(|other| goes_on(&other.version.tag_text()));
        self.names(shorter, digest)
    }

    /// Whether the image is also named by a longer exact tag of the entry. Then `tag` is a rolling tag that another
    /// tool wrote: `1.2-alpine`, if there is `1.2.4-alpine`. `1.2.4-3.13-alpine` isn't a longer tag of `alpine`, but
    /// 1.2.4 of `3.13-alpine`.
    fn has_longer_exact_tag(&self, tag: &Tag, digest: &Digest) -> Answer<bool> {
        let versions = self.asker.wanted.grammar.versions_of_entry(tag, &self.rolling.entry);
        let longer = self.nominees()?.iter().filter(|nominee| {
            let extends = |short: &Version| is_extended(short.as_str(), nominee.version.as_str());
            nominee.literal
                && !nominee.version.is_prerelease()
                && nominee.tag.as_str().len() > tag.as_str().len()
                && (versions.iter().any(extends) || nominee.tag.as_str().ends_with(&format!("-{tag}")))
        });
        self.names(longer, digest)
    }

    /// Whether the tag of any of these nominees names the image.
    fn names<'n>(&self, nominees: impl Iterator<Item = &'n Arc<Nominee>>, digest: &Digest) -> Answer<bool> {
        // All questions are asked before any answer is used, so that they can be answered in parallel.
        let named: Vec<_> = nominees.map(|nominee| self.asker.tag(self.destination, &nominee.tag)).collect();
        for named in named {
            if named?.as_ref() == Some(digest) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The verdict on a tag that belongs to a newer version.
    fn held(&self, version: Version, evidence: Evidence, digest: Option<Digest>, shows: &Shows) -> Answer<Verdict> {
        let Some(digest) = digest else { return Ok(Verdict::Stays(Reason::HeldBy(version, evidence))) };
        if self.now.as_ref() == Some(&digest) || shows.version() == Some(version.as_str()) {
            return Ok(Verdict::Stays(Reason::HeldBy(version, evidence)));
        }
        if !self.asker.children_are_there(self.destination, &digest)? {
            return Ok(Verdict::Stays(Reason::ChildrenMissing(version)));
        }
        Ok(match self.protection(shows)? {
            Some(reason) => Verdict::Stays(reason),
            None => Verdict::Give { version, digest },
        })
    }

    /// Whether the tag already names this release, on a base that isn't older than that of `digest`, or of the image
    /// still to be built.
    fn stays_within_version(&self, digest: Option<&Digest>, shows: &Shows) -> Answer<bool> {
        let Some(now) = self.now.as_ref().filter(|now| Some(*now) != digest) else { return Ok(false) };
        if shows.version() != Some(self.asker.wanted.version.as_str()) {
            return Ok(false);
        }
        // With `replace`, no release counts as begun: this run's images replace earlier ones on any base.
        let ours = self.artifact.composed.as_ref() == Some(now)
            || self.asker.wanted.on_conflict != OnConflict::Replace
                && self.asker.kinship(self.artifact, self.destination, now)? == Kinship::Begun;
        if !ours {
            return Ok(false);
        }
        let date = |repository, digest| Ok(self.asker.image(repository, digest)?.base_created());
        let exact = digest.map_or(Ok(self.artifact.base_created), |digest| date(self.home(digest), digest))?;
        Ok(matches!((date(self.destination, now)?, exact), (Some(shown), Some(exact)) if shown >= exact))
    }

    /// Writes the tag, unless that would overwrite another version's exact tag or lose a platform.
    fn write(&self, digest: Option<Digest>, shows: &Shows) -> Answer<Verdict> {
        if self.now.is_some() && self.now == digest {
            return Ok(Verdict::Right);
        }
        if let Some(reason) = self.protection(shows)? {
            return Ok(Verdict::Stays(reason));
        }
        let lost = self.lost_platforms(digest.as_ref())?;
        Ok(if lost.is_empty() { Verdict::Write(digest) } else { Verdict::Stays(Reason::Platforms(lost)) })
    }

    /// The reason if this is, or may be, the exact tag of another version: of 24.1, if 24.1.1 has the rolling tag
    /// `24.1`.
    fn protection(&self, shows: &Shows) -> Answer<Option<Reason>> {
        let Some(now) = &self.now else { return Ok(None) };
        let wanted = self.asker.wanted;
        let others = wanted.grammar.versions(&self.rolling.tag);
        let mut others: Vec<&Version> =
            others.iter().filter(|other| other.as_str() != wanted.version.as_str()).collect();
        let may_be_of_other_templates = match shows {
            // This plan has an exact tag for the image. If that tag is longer, the image certainly belongs to its
            // version; `22.0` may still be a rolling tag of 22.
            Shows::Older(older) => {
                let tag = self.rolling.tag.as_str();
                others.retain(|other| older.tag.as_str().len() <= tag.len() || **other == older.version);
                false
            }
            Shows::Nothing | Shows::Read(_) => self.rolling.tag.as_str().contains(|c: char| c.is_ascii_digit()),
        };
        if others.is_empty() && !may_be_of_other_templates {
            return Ok(None);
        }
        let image = self.asker.image(self.destination, now)?;
        let SeenImage::Image { version, .. } = image else { return Ok(None) };
        if let Some(says) = version {
            return match Version::as_written(&says, wanted.grammar.scheme()) {
                Some(says) if self.is_exact_tag_of(&says, &others, now)? => Ok(Some(Reason::ExactTagOf(says))),
                _ => Ok(None),
            };
        }
        if wanted.rolling == Rolling::Always {
            return Ok(None);
        }
        let of_entry = wanted.grammar.versions_of_entry(&self.rolling.tag, &self.rolling.entry);
        for other in others.into_iter().filter(|other| of_entry.iter().any(|of| of.as_str() == other.as_str())) {
            let known = self.asker.standing(other)? != Standing::Absent;
            if known && !self.has_longer_exact_tag(&self.rolling.tag, now)? {
                return Ok(Some(Reason::PerhapsExactTagOf(other.clone())));
            }
        }
        Ok(None)
    }

    /// Whether the tag is an exact tag of the version that our annotation on its image states. It is if this plan's
    /// templates make it for the same entry. The templates of earlier plans aren't known: then a tag that contains the
    /// version as it is written counts as exact, unless this plan's templates give the version another exact tag. So
    /// if there is `v24.1-alpine`, then `24.1-alpine` is a rolling tag.
    fn is_exact_tag_of(&self, version: &Version, others: &[&Version], now: &Digest) -> Answer<bool> {
        let (wanted, written) = (self.asker.wanted, version.as_str());
        if written == wanted.version.as_str() {
            return Ok(false);
        }
        let own = wanted.grammar.exact_tags(version, &self.rolling.entry);
        if own.contains(&self.rolling.tag) {
            return Ok(true);
        }
        let is_read = others.iter().any(|other| other.as_str() == written);
        if !is_read && !has_number(self.rolling.tag.as_str(), &version.tag_text()) {
            return Ok(false);
        }
        for tag in &own {
            let Some(named) = self.asker.tag(self.destination, tag)? else { continue };
            if named == *now {
                return Ok(false);
            }
            let image = self.asker.image(self.destination, &named)?;
            if matches!(image, SeenImage::Image { version: Some(says), .. } if says == written) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Where an image of this release is, which this destination may still lack.
    fn home(&self, digest: &Digest) -> &'_ Repository {
        match &self.placed.image {
            Image::Published { repository, digest: published } if published == digest => repository,
            _ => self.destination,
        }
    }

    /// The platforms that the tag would lose. They are looked up only with `platforms: auto`, and only if the base
    /// lacks a platform of the source, or the image was built elsewhere; otherwise every release would have to read the
    /// image of every rolling tag.
    fn lost_platforms(&self, digest: Option<&Digest>) -> Answer<Vec<Platform>> {
        let (Some(now), true) = (&self.now, self.artifact.leaves_out_platforms) else { return Ok(Vec::new()) };
        let SeenImage::Image { platforms: has, .. } = self.asker.image(self.destination, now)? else {
            return Ok(Vec::new());
        };
        let gets = match digest {
            Some(digest) if self.artifact.composed.as_ref() != Some(digest) => {
                match self.asker.image(self.home(digest), digest)? {
                    SeenImage::Image { platforms, .. } => platforms,
                    SeenImage::Unreadable(_) => self.artifact.platforms.clone(),
                }
            }
            _ => self.artifact.platforms.clone(),
        };
        Ok(has.difference(&gets).cloned().collect())
    }
}

impl Shows {
    /// The version in our annotation, as it is written.
    fn version(&self) -> Option<&str> {
        match self {
            Self::Read(SeenImage::Image { version, .. }) => version.as_deref(),
            _ => None,
        }
    }
}

impl SeenImage {
    fn base_created(&self) -> Option<chrono::DateTime<chrono::Utc>> {
        match self {
            Self::Image { base_created, .. } => *base_created,
            Self::Unreadable(_) => None,
        }
    }
}

/// Whether a tag contains a version as a whole, not as a part of a longer number: `alpine3.23` contains 3.23, but
/// neither 3.2 nor 23.
fn has_number(tag: &str, version: &str) -> bool {
    let goes_on = |mut chars: std::str::Chars<'_>, backwards: bool| {
        let mut next = || if backwards { chars.next_back() } else { chars.next() };
        match next() {
            Some('.') => next().is_some_and(|c| c.is_ascii_digit()),
            next => next.is_some_and(|c| c.is_ascii_digit()),
        }
    };
    tag.match_indices(version)
        .any(|(at, _)| !goes_on(tag[..at].chars(), true) && !goes_on(tag[at + version.len()..].chars(), false))
}

/// Whether `long` continues `short` with something else than a digit: `1.2.4` continues `1.2`, but `1.20` doesn't.
fn is_extended(short: &str, long: &str) -> bool {
    long.strip_prefix(short).is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_digit()) && !rest.is_empty())
}
