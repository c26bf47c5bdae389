//! The oracle: what any tag may name, judged by who pushed which image. It parses neither tags nor annotations, and has
//! no code in common with the program. It is slow: to find out which versions a tag may be mistaken for, it tries all
//! of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use publish_variants::image::{Digest, Platform, Repository, Tag};
use publish_variants::ownership::{Evidence, Reason, Standing, TagKind, Verdict};

use crate::run::{Ended, recipe_of};
use crate::versions::{KNOWN, Known, gives, render, tags_of_all, version};
use crate::workflow::{Item, Workflow};
use crate::world::{Image, Origin, Shared, World, Write, both_platforms};

/// Watches an undisturbed run, whose outcome must be what the oracle says.
pub(crate) fn watch(world: &Shared, workflow: &Workflow, version: &str, run: impl FnOnce() -> Ended) -> Ended {
    let before = world.borrow().clone();
    let ended = run();
    let complaints = complaints(&before, &world.borrow(), workflow, version, &ended);
    assert!(complaints.is_empty(), "{version}:\n{}\nof {workflow:#?}", complaints.join("\n"));
    ended
}

/// What is wrong with the outcome of an undisturbed run on `before`.
pub(crate) fn complaints(before: &World, after: &World, workflow: &Workflow, text: &str, ended: &Ended) -> Vec<String> {
    let mut complaints = after.objections.clone();
    if let Ended::NoPlan(_) = ended {
        return complaints;
    }
    let version = version(text);
    let expectation = Expectation { before, workflow, version, rolling: workflow.rolling_tags(version) };
    let tags = expectation.tags();
    match expectation.end(&tags) {
        End::Conflicts if !matches!(ended, Ended::Conflicts) => {
            complaints.push(format!("it should find conflicts, and ends with {ended:?}"))
        }
        End::Platforms if !matches!(ended, Ended::Platforms) => {
            complaints.push(format!("it should find lost platforms, and ends with {ended:?}"))
        }
        End::Publishes if !matches!(ended, Ended::Published(_)) => {
            complaints.push(format!("it should publish, and ends with {ended:?}"))
        }
        End::Publishes => {}
        End::Conflicts | End::Platforms => {
            if before.writes.len() != after.writes.len() {
                complaints.push("it should have written nothing".to_owned());
            }
            return complaints;
        }
    }
    for expected in tags {
        let now = after.named(&expected.repository, &expected.tag);
        let said = ended
            .decisions()
            .iter()
            .find(|decision| decision.destination == expected.repository && decision.tag == expected.tag);
        let said = said.map(|decision| match &decision.verdict {
            Verdict::Right => Why::Right,
            Verdict::Stays(reason) => Why::of(reason),
            Verdict::Write(_) | Verdict::Give { .. } => Why::Undone,
        });
        let is_met =
            |(names, why): &(Names, Why)| names.are(after, workflow, text, now.as_ref()) && said.as_ref() == Some(why);
        if !expected.any_of.iter().any(is_met) {
            let tell =
                |digest: Option<&Digest>| digest.map_or_else(|| "nothing".to_owned(), |digest| after.tell(digest));
            complaints.push(format!(
                "{}:{} named {}, names {} ({said:?}), and should be one of {:?}",
                expected.repository,
                expected.tag,
                tell(before.named(&expected.repository, &expected.tag).as_ref()),
                tell(now.as_ref()),
                expected.any_of
            ));
        }
    }
    // Only the tags of the plan may change.
    let planned: BTreeSet<(&Repository, &Tag)> =
        ended.decisions().iter().map(|decision| (&decision.destination, &decision.tag)).collect();
    for (repository, shelf) in &after.repositories {
        for (tag, digest) in &shelf.tags {
            if before.named(repository, tag).as_ref() != Some(digest) && !planned.contains(&(repository, tag)) {
                complaints.push(format!("{repository}:{tag} is none of its tags"));
            }
        }
    }
    complaints
}

/// What is wrong with one write, even if runs cross: what counts is what was true at the moment of the write.
pub(crate) fn objection(world: &World, write: &Write) -> Option<String> {
    let why = object(world, write).err()?;
    let before = write.before.as_ref().map_or_else(|| "nothing".to_owned(), |digest| world.tell(digest));
    Some(format!(
        "{} lets {}:{} name {} instead of {before}: {why}",
        write.version,
        write.repository,
        write.tag,
        world.tell(&write.after)
    ))
}

fn object(world: &World, write: &Write) -> Result<(), String> {
    let Write { workflow, entry, .. } = write;
    let this = version(&write.version);
    let made = made_of(&world.images[&write.after], &workflow.tool).ok_or("it isn't the tool's")?;
    let crossed = write.looked != write.before;
    let item = item_of(workflow, entry);
    let is_of_item = |digest: &Digest| match &world.images[digest].origin {
        Origin::Ours { recipe, .. } => *recipe == recipe_of(item),
        Origin::Built { .. } => matches!(item, Item::Source),
        _ => false,
    };
    if write.kind == TagKind::Exact {
        return match &write.before {
            _ if made != this => Err("it is another version's".to_owned()),
            _ if !is_of_item(&write.after) => Err("it is another variant's".to_owned()),
            Some(_) if workflow.on_conflict != "replace" && !crossed => Err("an exact tag is for ever".to_owned()),
            _ => Ok(()),
        };
    }
    if !may_roll(world, workflow, this) {
        return Err("this version may own no rolling tag".to_owned());
    }
    let pushed = |of: Known| {
        let names = |tag: &str| world.named(&write.repository, &tag.parse().unwrap()).as_ref() == Some(&write.after);
        exact_tags(workflow, item, of, entry).iter().any(|tag| names(tag))
            || world.writes.iter().any(|earlier| {
                earlier.kind == TagKind::Exact
                    && earlier.repository == write.repository
                    && earlier.after == write.after
                    && earlier.entry == *entry
                    && earlier.version == of.text
            })
    };
    // An old workflow's image may be recognised only by the tags that are replaced, so rolling tags go first.
    let replaces = workflow.on_conflict == "replace"
        && write.before.as_ref().is_some_and(|before| {
            !matches!(world.images[before].origin, Origin::Ours { .. })
                && exact_tags(workflow, item, this, entry)
                    .iter()
                    .any(|tag| world.named(&write.repository, &tag.parse().unwrap()).as_ref() == Some(before))
        });
    if !pushed(made) && !replaces {
        return Err(format!("it was never pushed as {} of `{entry}`", made.text));
    }
    if made != this {
        if made.order() <= this.order() {
            return Err("it is older".to_owned());
        }
        if !may_roll(world, workflow, made) {
            return Err("that may own no rolling tag".to_owned());
        }
    }
    let (Some(before), false) = (&write.before, crossed) else { return Ok(()) };
    let is_told = |earlier: &Write, before: &Digest| {
        let was = version(&earlier.version);
        if matches!(world.images[before].origin, Origin::Ours { .. }) {
            return !has_exact_tag(world, workflow, item, was, entry, &write.repository, &write.tag);
        }
        // An image without our annotation is recognised by its tag and by GitHub.
        let of_earlier = item_of(&earlier.workflow, &earlier.entry);
        workflow.rolling != "always"
            && world.standing(&earlier.version) != Standing::Absent
            && exact_tags(workflow, of_earlier, was, &earlier.entry).iter().any(|tag| tag == write.tag.as_str())
    };
    let own_exact = world.writes.iter().any(|earlier| {
        earlier.kind == TagKind::Exact
            && (&earlier.repository, &earlier.tag) == (&write.repository, &write.tag)
            && earlier.after == *before
            && earlier.version != write.version
            && is_told(earlier, before)
    });
    if own_exact {
        return Err("that is the exact tag of another version".to_owned());
    }
    let Origin::Ours { tool, version: was, .. } = &world.images[before].origin else { return Ok(()) };
    let was = version(was);
    let in_series = rolling_templates(workflow, item, entry, write.tag.as_str(), this)
        .iter()
        .any(|template| gives(template, was, entry, write.tag.as_str()));
    if workflow.rolling != "always"
        && *tool == workflow.tool
        && was.order() > made.order()
        && in_series
        && may_roll(world, workflow, was)
    {
        return Err(format!("it goes back from {}", was.text));
    }
    Ok(())
}

/// The version of the tool that an image contains.
fn made_of(image: &Image, of: &str) -> Option<Known> {
    match &image.origin {
        Origin::Ours { tool, version: text, .. } | Origin::Built { tool, version: text } if tool == of => {
            Some(version(text))
        }
        Origin::Old { version: text, .. } => Some(version(text)),
        _ => None,
    }
}

/// Whether a version may own a rolling tag: it is final, hasn't been withdrawn, and isn't a pre-release on GitHub.
fn may_roll(world: &World, workflow: &Workflow, of: Known) -> bool {
    of.is_final && !is_ignored(workflow, of) && world.standing(of.text) != Standing::Prerelease
}

fn is_ignored(workflow: &Workflow, of: Known) -> bool {
    workflow.ignored.iter().any(|text| version(text).rank == of.rank)
}

fn item_of<'a>(workflow: &'a Workflow, entry: &str) -> Item<'a> {
    let row = workflow.variants.iter().find(|row| row.entries.iter().any(|other| other == entry));
    row.map_or(Item::Source, Item::Variant)
}

fn exact_tags(workflow: &Workflow, item: Item<'_>, of: Known, entry: &str) -> Vec<String> {
    workflow.exact_templates(item).map(|template| render(template, of, entry)).collect()
}

/// Whether a version has exact tags by this workflow's templates, but `tag` isn't one of them. Then nobody can tell
/// whether it was one by an earlier workflow's templates.
fn has_exact_tag(
    world: &World,
    workflow: &Workflow,
    item: Item<'_>,
    of: Known,
    entry: &str,
    repository: &Repository,
    tag: &Tag,
) -> bool {
    let own = exact_tags(workflow, item, of, entry);
    let shows_it = |tag: &String| {
        world.named(repository, &tag.parse().unwrap()).is_some_and(
            |digest| matches!(&world.images[&digest].origin, Origin::Ours { version, .. } if version == of.text),
        )
    };
    !own.iter().any(|own| own == tag.as_str()) && own.iter().any(shows_it)
}

/// The templates that make this rolling tag of an entry.
fn rolling_templates<'a>(workflow: &'a Workflow, item: Item<'a>, entry: &str, tag: &str, this: Known) -> Vec<&'a str> {
    let (_, rolling) = workflow.names(item);
    let gives = |(template, other): &(&str, &str)| *other == entry && gives(template, this, entry, tag);
    rolling.into_iter().filter(gives).map(|(template, _)| template).collect()
}

/// What a tag may name in the end.
#[derive(Clone, PartialEq, Eq)]
enum Names {
    Nothing,
    This(Digest),
    /// An image made of the variant with this recipe today.
    New {
        recipe: String,
        day: usize,
    },
}

/// The reason.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Why {
    Right,
    Held(String, Evidence),
    ChildrenMissing(String),
    Taken,
    EntryTaken,
    NotFinal,
    Ignored,
    ExactTagOf(String),
    NewerBase,
    Platforms,
    Never,
    Unknown,
    /// It should have been written, but wasn't.
    Undone,
}

struct Expected {
    repository: Repository,
    tag: Tag,
    any_of: Vec<(Names, Why)>,
}

enum End {
    Publishes,
    Conflicts,
    Platforms,
}

/// The expected outcome of a run in a world.
struct Expectation<'a> {
    before: &'a World,
    workflow: &'a Workflow,
    version: Known,
    /// The rolling tags of its plan.
    rolling: BTreeSet<Tag>,
}

/// A newer version that could own a rolling tag.
struct Rival {
    version: Known,
    evidence: Evidence,
    digest: Option<Digest>,
    /// Whether it must count; otherwise it may.
    is_certain: bool,
}

impl Expectation<'_> {
    fn end(&self, tags: &[Expected]) -> End {
        let all =
            |why: Why| tags.iter().any(|tag| tag.any_of.iter().all(|(_, is)| *is == why) && !tag.any_of.is_empty());
        if self.workflow.on_conflict == "fail" && all(Why::Taken) {
            End::Conflicts
        } else if all(Why::Platforms) {
            End::Platforms
        } else {
            End::Publishes
        }
    }

    fn tags(&self) -> Vec<Expected> {
        let mut tags = Vec::new();
        for item in self.workflow.items() {
            let release = self.release(item);
            let (exact, rolling) = self.workflow.names(item);
            for image in &self.workflow.images {
                let repository: Repository = image.parse().unwrap();
                let mut seen = BTreeSet::new();
                for (template, entry) in &exact {
                    let tag = self.tag(template, entry);
                    if seen.insert(tag.clone()) {
                        let any_of = vec![self.exact(item, &release, &repository, &tag)];
                        tags.push(Expected { repository: repository.clone(), tag, any_of });
                    }
                }
                for (template, entry) in &rolling {
                    let tag = self.tag(template, entry);
                    if seen.insert(tag.clone()) {
                        let any_of = self.rolling(item, &release, &repository, &tag, template, entry);
                        tags.push(Expected { repository: repository.clone(), tag, any_of });
                    }
                }
            }
        }
        tags
    }

    fn tag(&self, template: &str, entry: &str) -> Tag {
        render(template, self.version, entry).parse().unwrap()
    }

    fn replaces(&self) -> bool {
        self.workflow.on_conflict == "replace"
    }

    fn today(&self, item: Item<'_>) -> usize {
        match item {
            Item::Variant(row) => self.before.bases.get(&row.base).map_or(0, |days| days.len() - 1),
            Item::Source => 0,
        }
    }

    /// The image of this release: the first one that an exact tag names, else a new one.
    fn release(&self, item: Item<'_>) -> Names {
        let (exact, _) = self.workflow.names(item);
        for image in &self.workflow.images {
            for (template, entry) in &exact {
                let named = self.before.named(&image.parse().unwrap(), &self.tag(template, entry));
                if let Some(digest) = named.filter(|digest| self.is_release(item, &image.parse().unwrap(), digest)) {
                    return Names::This(digest);
                }
            }
        }
        Names::New { recipe: recipe_of(item), day: self.today(item) }
    }

    /// Whether an image is this release of an item.
    fn is_release(&self, item: Item<'_>, repository: &Repository, digest: &Digest) -> bool {
        let image = &self.before.images[digest];
        match (&image.origin, item) {
            (Origin::Built { tool, version }, Item::Source) => {
                *tool == self.workflow.tool && version == self.version.text
            }
            (Origin::Ours { tool, version, recipe, day, .. }, _) => {
                let same = *tool == self.workflow.tool && version == self.version.text && *recipe == recipe_of(item);
                let new = Names::New { recipe: recipe.clone(), day: self.today(item) };
                let composed = new.are(self.before, self.workflow, self.version.text, Some(digest))
                    && self.is_todays_bytes(item, image);
                let base = match item {
                    Item::Variant(row) => {
                        same && !self.before.bases[&row.base][*day].gone && !self.before.is_broken(repository, digest)
                    }
                    Item::Source => true,
                };
                same && (composed || (base && !self.replaces()))
            }
            _ => false,
        }
    }

    /// Whether an image is the one that an exact tag names in the end.
    fn is_mine(&self, item: Item<'_>, digest: &Digest, mine: &Names) -> bool {
        match mine {
            Names::This(mine) => mine == digest,
            _ => {
                mine.are(self.before, self.workflow, self.version.text, Some(digest))
                    && self.is_todays_bytes(item, &self.before.images[digest])
            }
        }
    }

    /// Whether an image made today would have the same bytes: nothing has been learned about the tool since, its first
    /// entry is the same, and nothing is run.
    fn is_todays_bytes(&self, item: Item<'_>, image: &Image) -> bool {
        let Origin::Ours { entry, facts, .. } = &image.origin else { return false };
        let first = match item {
            Item::Variant(row) if row.run => return false,
            Item::Variant(row) => row.entries[0].as_str(),
            Item::Source => "",
        };
        entry == first && *facts == self.before.facts
    }

    fn exact(&self, item: Item<'_>, release: &Names, repository: &Repository, tag: &Tag) -> (Names, Why) {
        match self.before.named(repository, tag) {
            None => (release.clone(), Why::Right),
            Some(named) if self.is_release(item, repository, &named) => (Names::This(named), Why::Right),
            Some(_) if self.replaces() => (release.clone(), Why::Right),
            Some(named) => (Names::This(named), Why::Taken),
        }
    }

    fn rolling(
        &self,
        item: Item<'_>,
        release: &Names,
        repository: &Repository,
        tag: &Tag,
        template: &str,
        entry: &str,
    ) -> Vec<(Names, Why)> {
        let now = self.before.named(repository, tag);
        let stays = |why: Why| (now.clone().map_or(Names::Nothing, Names::This), why);
        // The image that the first exact tag of the entry names in the end, unless one of them is taken.
        let (exact, _) = self.workflow.names(item);
        let exact = exact.into_iter().filter(|(_, other)| *other == entry);
        let exact: Vec<(Names, Why)> =
            exact.map(|(template, _)| self.exact(item, release, repository, &self.tag(template, entry))).collect();
        let taken = exact.iter().find(|(_, why)| *why == Why::Taken);
        let (mine, why) = taken.or(exact.first()).cloned().unwrap_or((release.clone(), Why::Right));
        let is_mine = now.as_ref().is_some_and(|now| why == Why::Right && self.is_mine(item, now, &mine));
        let withheld = if !self.version.is_final || self.before.standing(self.version.text) == Standing::Prerelease {
            Some(Why::NotFinal)
        } else if is_ignored(self.workflow, self.version) {
            Some(Why::Ignored)
        } else {
            (self.workflow.rolling == "never").then_some(Why::Never)
        };
        if let Some(why) = withheld {
            return vec![stays(if is_mine { Why::Right } else { why })];
        }
        let unguarded = self.workflow.rolling == "always";
        let protected = self.protects(item, repository, tag, entry, now.as_ref());
        let write = |names: Names, why: Why| {
            let mut any_of: Vec<(Names, Why)> =
                protected.iter().map(|(other, _)| stays(Why::ExactTagOf(other.text.to_owned()))).collect();
            if !protected.iter().any(|(_, is_certain)| *is_certain) {
                any_of.push((names, why));
            }
            any_of
        };
        let mut any_of = Vec::new();
        let rivals =
            if unguarded { Vec::new() } else { self.rivals(item, repository, now.as_ref(), tag, template, entry) };
        for rival in rivals {
            let name = rival.version.text.to_owned();
            match &rival.digest {
                Some(digest) if now.as_ref() != Some(digest) && !self.shows(now.as_ref(), rival.version) => {
                    if self.before.is_broken(repository, digest) {
                        any_of.push(stays(Why::ChildrenMissing(name)));
                    } else {
                        any_of.extend(write(Names::This(digest.clone()), Why::Held(name, rival.evidence)));
                    }
                }
                _ => any_of.push(stays(Why::Held(name, rival.evidence))),
            }
            if rival.is_certain {
                return any_of;
            }
        }
        if why == Why::Taken {
            any_of.push(stays(Why::EntryTaken));
        } else if is_mine {
            any_of.push(stays(Why::Right));
        } else if !unguarded && self.stays_within_version(item, repository, now.as_ref(), &mine) {
            any_of.push(stays(Why::NewerBase));
        } else if self.loses_platforms(item, now.as_ref(), &mine) {
            any_of.extend(write(stays(Why::Platforms).0, Why::Platforms));
        } else {
            any_of.extend(write(mine, Why::Right));
        }
        any_of
    }

    /// Whether the image that a tag names is annotated with that version.
    fn shows(&self, now: Option<&Digest>, version: Known) -> bool {
        now.is_some_and(
            |now| matches!(&self.before.images[now].origin, Origin::Ours { version: text, .. } if text == version.text),
        )
    }

    /// The newer versions that may count, newest first.
    fn rivals(
        &self,
        item: Item<'_>,
        repository: &Repository,
        now: Option<&Digest>,
        tag: &Tag,
        template: &str,
        entry: &str,
    ) -> Vec<Rival> {
        let newer = KNOWN.iter().enumerate().filter(|(_, other)| {
            other.order() > self.version.order()
                && gives(template, **other, entry, tag.as_str())
                && may_roll(self.before, self.workflow, **other)
        });
        let exact: Vec<_> = self.workflow.exact_templates(item).map(|template| tags_of_all(template, entry)).collect();
        let rivals = newer.filter_map(|(number, other)| {
            self.counts(item, repository, now, *other, entry, exact.iter().map(|tags| &tags[number]))
        });
        let by_order: BTreeMap<_, Rival> = rivals.map(|rival| (rival.version.order(), rival)).collect();
        by_order.into_values().rev().collect()
    }

    /// Whether a version with these exact tags counts.
    fn counts<'t>(
        &self,
        item: Item<'_>,
        repository: &Repository,
        now: Option<&Digest>,
        of: Known,
        entry: &str,
        exact: impl Iterator<Item = &'t Tag>,
    ) -> Option<Rival> {
        let mut found = self.shows(now, of).then_some(Rival {
            version: of,
            evidence: Evidence::Shown,
            digest: None,
            is_certain: true,
        });
        for tag in exact {
            let Some(digest) = self.before.named(repository, tag) else { continue };
            if self.rolling.contains(tag) {
                continue;
            }
            match &self.before.images[&digest].origin {
                Origin::Ours { version: text, .. } if text == of.text => {
                    let is_unreleased = self.before.standing(of.text) == Standing::Absent;
                    return Some(Rival {
                        version: of,
                        evidence: if is_unreleased { Evidence::Unreleased } else { Evidence::Proved },
                        digest: Some(digest),
                        is_certain: true,
                    });
                }
                Origin::Ours { .. } => {}
                origin => {
                    let known = matches!(self.before.standing(of.text), Standing::Final | Standing::Tagged);
                    let shown = now == Some(&digest)
                        && (of.literal || self.is_told_by_the_tag(item, repository, &digest, of, entry));
                    if found.is_none() && (known || shown) {
                        found = Some(Rival {
                            version: of,
                            evidence: match item {
                                Item::Variant(_) => Evidence::Likely,
                                Item::Source => Evidence::LikelySource,
                            },
                            digest: None,
                            is_certain: is_really(origin, of),
                        });
                    }
                }
            }
        }
        found
    }

    /// Without GitHub: whether the tool may write `1.30.0-k3s1` for 1.30.0+k3s1, because it writes this version like
    /// that; unless a shorter tag, of 1.30.0, names the image as well.
    fn is_told_by_the_tag(
        &self,
        item: Item<'_>,
        repository: &Repository,
        digest: &Digest,
        of: Known,
        entry: &str,
    ) -> bool {
        let is_shorter = |other: &Known| of.tag.strip_prefix(other.tag).is_some_and(|rest| rest.starts_with('-'));
        let names = |tag: &String| self.before.named(repository, &tag.parse().unwrap()).as_ref() == Some(digest);
        self.before.github.is_none()
            && !self.version.literal
            && !KNOWN
                .iter()
                .filter(|other| is_shorter(other))
                .any(|other| exact_tags(self.workflow, item, *other, entry).iter().any(names))
    }

    /// The other versions whose exact tag a rolling tag may be, and whether it certainly is.
    fn protects(
        &self,
        item: Item<'_>,
        repository: &Repository,
        tag: &Tag,
        entry: &str,
        now: Option<&Digest>,
    ) -> Vec<(Known, bool)> {
        let Some(now) = now else { return Vec::new() };
        match &self.before.images[now].origin {
            Origin::Ours { version: text, .. } => {
                let was = version(text);
                if was.text == self.version.text {
                    return Vec::new();
                }
                if exact_tags(self.workflow, item, was, entry).iter().any(|own| own == tag.as_str()) {
                    return vec![(was, true)];
                }
                if has_exact_tag(self.before, self.workflow, item, was, entry, repository, tag) {
                    return Vec::new();
                }
                let pushed = self.before.writes.iter().any(|earlier| {
                    earlier.kind == TagKind::Exact
                        && (&earlier.repository, &earlier.tag) == (repository, tag)
                        && earlier.after == *now
                        && earlier.version == was.text
                });
                // It may be one of unknown templates and entries: nobody can tell.
                (pushed || tag.as_str().contains(was.tag)).then_some((was, pushed)).into_iter().collect()
            }
            _ if self.workflow.rolling == "always" => Vec::new(),
            origin => {
                let known = |of: &Known| self.before.standing(of.text) != Standing::Absent;
                let reads =
                    |of: &Known| exact_tags(self.workflow, item, *of, entry).iter().any(|own| own == tag.as_str());
                let others = KNOWN.iter().copied().filter(|of| of.text != self.version.text && reads(of) && known(of));
                others.map(|of| (of, is_really(origin, of))).collect()
            }
        }
    }

    /// Whether a tag names this release on a base that isn't older than that of the image that the tag would get.
    fn stays_within_version(
        &self,
        item: Item<'_>,
        repository: &Repository,
        now: Option<&Digest>,
        mine: &Names,
    ) -> bool {
        let Some(now) = now.filter(|now| self.is_release(item, repository, now)) else { return false };
        if !matches!(self.before.images[now].origin, Origin::Ours { .. }) {
            return false;
        }
        let date = match mine {
            Names::This(digest) => self.before.images[digest].base_made,
            Names::New { day, .. } => match item {
                Item::Variant(row) => {
                    self.before.bases.get(&row.base).map_or(Some(crate::world::day_of(1)), |days| days[*day].made)
                }
                Item::Source => None,
            },
            Names::Nothing => None,
        };
        matches!((self.before.images[now].base_made, date), (Some(shown), Some(exact)) if shown >= exact)
    }

    /// Whether a tag would lose platforms because today's base lacks them.
    fn loses_platforms(&self, item: Item<'_>, now: Option<&Digest>, mine: &Names) -> bool {
        let Item::Variant(row) = item else { return false };
        let todays =
            self.before.bases.get(&row.base).map_or_else(both_platforms, |days| days[days.len() - 1].platforms.clone());
        let Some(now) = now.filter(|_| todays != both_platforms()) else { return false };
        let gets: BTreeSet<Platform> = match mine {
            Names::This(digest) => self.before.images[digest].platforms.clone(),
            _ => todays,
        };
        !self.before.images[now].platforms.is_subset(&gets)
    }
}

/// Whether an image without our annotation is a version of the tool.
fn is_really(origin: &Origin, of: Known) -> bool {
    matches!(origin, Origin::Built { version, .. } | Origin::Old { version, .. } if version == of.text)
}

impl Names {
    fn are(&self, world: &World, workflow: &Workflow, version: &str, now: Option<&Digest>) -> bool {
        match (self, now) {
            (Self::Nothing, None) => true,
            (Self::This(digest), Some(now)) => digest == now,
            (Self::New { recipe, day }, Some(now)) => matches!(
                &world.images[now].origin,
                Origin::Ours { tool, version: text, recipe: other, day: on, .. }
                    if (tool, text.as_str(), other, on) == (&workflow.tool, version, recipe, day)
            ),
            _ => false,
        }
    }
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("nothing"),
            Self::This(digest) => f.write_str(digest.short()),
            Self::New { recipe, day } => write!(f, "a new one on {recipe}, day {day}"),
        }
    }
}

impl Why {
    fn of(reason: &Reason) -> Self {
        match reason {
            Reason::HeldBy(version, evidence) => Self::Held(version.to_string(), *evidence),
            Reason::ChildrenMissing(version) => Self::ChildrenMissing(version.to_string()),
            Reason::Taken { .. } => Self::Taken,
            Reason::EntryTaken(_) => Self::EntryTaken,
            Reason::NotFinal(_) => Self::NotFinal,
            Reason::Ignored => Self::Ignored,
            Reason::ExactTagOf(version) | Reason::PerhapsExactTagOf(version) => Self::ExactTagOf(version.to_string()),
            Reason::NewerBase => Self::NewerBase,
            Reason::Platforms(_) => Self::Platforms,
            Reason::Never => Self::Never,
            Reason::Unknown(_) => Self::Unknown,
        }
    }
}
