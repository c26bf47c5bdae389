//! A run in the world, request by request. It does with the decisions what `src/survey.rs` and `src/publish/tags.rs`
//! do.
//!
//! A run is a future that waits before each of its requests, so that its driver decides which run continues, and where
//! one is killed.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use publish_variants::action::inputs::OnConflict;
use publish_variants::image::{Digest, Platform, Repository, Tag};
use publish_variants::ownership::{
    Artifact, Decision, Decisions, Image as OfRelease, Kinship, Question, Reason, SeenImage, Standing, Survey, TagKind,
    Verdict, Wanted, decide, goes_before_exact_tags,
};
use publish_variants::plan::Plan;

use crate::workflow::{Item, Row, Workflow};
use crate::world::{Image, Origin, Shared, Write, both_platforms, built};

/// How a run goes about its work. Tests change a habit to show what would happen without it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Habits {
    /// How many tags it looks up before it writes the first of them, since requests are made in parallel.
    pub(crate) at_once: usize,
    /// Whether it looks up a tag right before it writes it. The program does.
    pub(crate) looks_before_writing: bool,
    /// Whether it looks again until a look finds nothing to write. The program does.
    pub(crate) looks_again: bool,
    /// Whether it writes exact tags before rolling ones. The program does.
    pub(crate) exact_first: bool,
    /// Whether it writes rolling tags of a replaced image before the exact tags by which that is recognised. The
    /// program does.
    pub(crate) replaced_first: bool,
}

impl Default for Habits {
    fn default() -> Self {
        Self { at_once: 1, looks_before_writing: true, looks_again: true, exact_first: true, replaced_first: true }
    }
}

/// How a run ended.
#[derive(Clone, Debug)]
pub(crate) enum Ended {
    /// The inputs don't result in a plan.
    NoPlan(String),
    /// Before the first tag: exact tags are taken, and `on-conflict` is `fail`.
    Conflicts,
    /// Before the first tag: rolling tags would lose platforms.
    Platforms,
    /// Everything that could be written was written.
    Published(Vec<Decision>),
    /// Some tags couldn't be written.
    Failed(Vec<Decision>),
    /// Other runs kept moving the tags.
    Contended,
}

pub(crate) type Place = (Repository, Tag);

impl Ended {
    pub(crate) fn decisions(&self) -> &[Decision] {
        match self {
            Self::Published(decisions) | Self::Failed(decisions) => decisions,
            _ => &[],
        }
    }

    /// Why a tag stays.
    pub(crate) fn reason(&self, tag: &str) -> Option<&Reason> {
        let decision = self.decisions().iter().find(|decision| decision.tag.as_str() == tag)?;
        match &decision.verdict {
            Verdict::Stays(reason) => Some(reason),
            _ => None,
        }
    }
}

/// A run that waits before its next request.
pub(crate) struct Run(Option<Pin<Box<dyn Future<Output = Ended>>>>);

impl Run {
    pub(crate) fn start(world: &Shared, workflow: &Workflow, version: &str, habits: Habits) -> Self {
        let (world, workflow, version) = (Rc::clone(world), Rc::new(workflow.clone()), version.to_owned());
        Self(Some(Box::pin(async move {
            match workflow.plan(&version) {
                Err(error) => Ended::NoPlan(error.to_string()),
                Ok(plan) => publish(world, workflow, &plan, habits).await.unwrap_or_else(|ended| ended),
            }
        })))
    }

    /// Makes the next request, and continues to the one after it. Returns how the run ended, if that was the last one.
    pub(crate) fn step(&mut self) -> Option<Ended> {
        let future = self.0.as_mut()?;
        match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Pending => None,
            Poll::Ready(ended) => {
                self.0 = None;
                Some(ended)
            }
        }
    }

    pub(crate) fn ended(mut self) -> Ended {
        loop {
            if let Some(ended) = self.step() {
                return ended;
            }
        }
    }
}

/// Called before each request.
async fn request() {
    let mut waited = false;
    std::future::poll_fn(|_| if std::mem::replace(&mut waited, true) { Poll::Ready(()) } else { Poll::Pending }).await;
}

struct Surveyed<'a> {
    world: Shared,
    workflow: Rc<Workflow>,
    plan: &'a Plan,
    run: usize,
    wanted: Wanted,
    decisions: Decisions,
    survey: Survey,
    /// The image of each artifact, on the bases that the run found.
    made: Vec<Image>,
    /// Content of this release that the run could send.
    contents: BTreeMap<Digest, Image>,
    /// Indexes that have been read.
    documents: BTreeSet<Digest>,
    verified: BTreeSet<Digest>,
}

async fn publish(world: Shared, workflow: Rc<Workflow>, plan: &Plan, habits: Habits) -> Result<Ended, Ended> {
    let mut surveyed = Surveyed::resolve(world, workflow, plan).await;
    surveyed.decide().await;
    surveyed.refuse()?;
    surveyed.build().await?;
    let mut done = Done::default();
    let mut sent = surveyed.send(&BTreeSet::new()).await;
    for _ in 0..20 {
        surveyed.survey.forget_what_changes();
        surveyed.decide().await;
        if done.written.is_empty() {
            surveyed.refuse()?;
        }
        sent.extend(surveyed.send(&sent).await);
        let open = done.to_write(&surveyed);
        if open.is_empty() {
            return Ok(done.finish(surveyed));
        }
        for phase in 0..4 {
            let writes: Vec<&Decision> =
                open.iter().filter(|decision| surveyed.phase(decision, habits) == phase).collect();
            if !done.write(&surveyed, &writes, habits).await {
                break;
            }
        }
        if !habits.looks_again {
            return Ok(done.finish(surveyed));
        }
    }
    Ok(Ended::Contended)
}

/// Everything that makes an image this variant.
fn recipe(row: &Row) -> String {
    format!("{} env={} run={}", row.base, row.env, row.run)
}

pub(crate) const SOURCE_RECIPE: &str = "the source";

pub(crate) fn recipe_of(item: Item<'_>) -> String {
    match item {
        Item::Variant(row) => recipe(row),
        Item::Source => SOURCE_RECIPE.to_owned(),
    }
}

impl<'a> Surveyed<'a> {
    async fn resolve(world: Shared, workflow: Rc<Workflow>, plan: &'a Plan) -> Self {
        request().await;
        let run = {
            let mut world = world.borrow_mut();
            world.runs += 1;
            world.runs
        };
        let version = plan.version.to_string();
        let mut not_final = plan.not_final.clone();
        if !plan.version.is_prerelease() && world.borrow().standing(&version) == Standing::Prerelease {
            not_final = Some(format!("GitHub has the release of {version} as a pre-release"));
        }
        let mut artifacts = Vec::new();
        let mut contents = BTreeMap::new();
        let mut made = Vec::new();
        for item in workflow.items() {
            let (name, tags) = match item {
                Item::Variant(row) => {
                    let variant = plan.variants.iter().find(|variant| variant.name == row.entries[0]).unwrap();
                    (Some(variant.name.clone()), variant.tags.clone())
                }
                Item::Source => (None, plan.source.as_ref().unwrap().tags.clone()),
            };
            let image = today(&world, &workflow, &version, item);
            let is_run = matches!(item, Item::Variant(row) if row.run);
            let source = Digest::of(built(&workflow.tool, &version).as_bytes());
            let as_resolved = name.is_none().then(|| source.clone());
            let composed = (!is_run).then(|| digest(&image, 0));
            if let Some(composed) = &composed {
                contents.insert(composed.clone(), image.clone());
            }
            if let Some(source) = &as_resolved {
                let origin = Origin::Built { tool: workflow.tool.clone(), version: version.clone() };
                contents.insert(
                    source.clone(),
                    Image { annotated: None, base_made: None, platforms: both_platforms(), origin },
                );
            }
            artifacts.push(Artifact {
                variant: name,
                tags,
                composed,
                as_resolved,
                base_created: image.base_made,
                leaves_out_platforms: image.platforms != both_platforms(),
                platforms: image.platforms.clone(),
            });
            made.push(image);
        }
        let wanted = Wanted {
            version: plan.version.clone(),
            not_final,
            ignored: plan.ignored.clone(),
            rolling: plan.rolling,
            on_conflict: plan.on_conflict,
            destinations: plan.destinations.clone(),
            artifacts,
            grammar: plan.grammar.clone(),
        };
        Self {
            world,
            workflow,
            plan,
            run,
            wanted,
            decisions: Decisions { tags: Vec::new(), images: Vec::new() },
            survey: Survey::default(),
            made,
            contents,
            documents: BTreeSet::new(),
            verified: BTreeSet::new(),
        }
    }

    async fn decide(&mut self) {
        loop {
            let open = match decide(&self.wanted, &self.survey) {
                Ok(decisions) => {
                    self.decisions = decisions;
                    return;
                }
                Err(open) => open,
            };
            for question in open {
                request().await;
                self.answer(question);
            }
        }
    }

    fn answer(&mut self, question: Question) {
        let world = Rc::clone(&self.world);
        let world = world.borrow();
        match question {
            Question::Tag(repository, tag) => self.survey.tag(&repository, &tag, world.named(&repository, &tag)),
            Question::Tags(repository) => {
                let tags = world.repositories.get(&repository).map(|shelf| &shelf.tags);
                self.survey.tags(&self.wanted, &repository, tags.into_iter().flatten().map(|(tag, _)| tag));
            }
            Question::Image(repository, digest) => {
                let is_there = world.repositories.get(&repository).is_some_and(|shelf| {
                    shelf.content.contains(&digest) || shelf.tags.values().any(|named| *named == digest)
                });
                let image = &world.images[&digest];
                let seen = if is_there {
                    self.documents.insert(digest.clone());
                    SeenImage::Image {
                        version: image.annotated.clone(),
                        base_created: image.base_made,
                        platforms: image.platforms.clone(),
                    }
                } else {
                    SeenImage::Unreadable("it isn't there".to_owned())
                };
                self.survey.image(&repository, &digest, seen);
            }
            Question::Kinship(artifact, repository, digest) => {
                let kinship = match self.stranger(&world, artifact, &repository, &digest) {
                    Some(why) => Kinship::Stranger(why.to_owned()),
                    None => {
                        self.contents.entry(digest.clone()).or_insert_with(|| world.images[&digest].clone());
                        Kinship::Begun
                    }
                };
                self.survey.kinship(artifact, &repository, &digest, kinship);
            }
            Question::Children(repository, digest) => {
                let there = !world.is_broken(&repository, &digest);
                self.survey.children(&repository, &digest, there);
            }
            Question::Standing(version) => {
                let standing = world.standing(&version);
                self.survey.standing(&version, standing);
            }
        }
    }

    /// Why an image isn't this release of an artifact, judged by who made it.
    fn stranger(
        &self,
        world: &crate::world::World,
        artifact: usize,
        repository: &Repository,
        digest: &Digest,
    ) -> Option<&'static str> {
        let item = self.workflow.items()[artifact];
        let Origin::Ours { tool, version, recipe, day, .. } = &world.images[digest].origin else {
            return Some("which another tool has published");
        };
        let made = (tool == &self.workflow.tool, *version == self.plan.version.to_string(), *recipe == recipe_of(item));
        if made != (true, true, true) {
            return Some("which was made by another plan");
        }
        let Item::Variant(row) = item else { return None };
        if world.bases[&row.base][*day].gone {
            return Some("whose base can't be read any more");
        }
        world.is_broken(repository, digest).then_some("which has missing parts")
    }

    fn refuse(&self) -> Result<(), Ended> {
        let reasons = self.decisions.tags.iter().filter_map(|decision| match &decision.verdict {
            Verdict::Stays(reason) => Some(reason),
            _ => None,
        });
        let is_taken = |reason: &&Reason| matches!(reason, Reason::Taken { .. });
        if self.wanted.on_conflict == OnConflict::Fail && reasons.clone().any(|reason| is_taken(&reason)) {
            return Err(Ended::Conflicts);
        }
        if reasons.clone().any(|reason| matches!(reason, Reason::Platforms(_))) {
            return Err(Ended::Platforms);
        }
        Ok(())
    }

    /// Builds the images that a tag should name and no exact tag names yet. That takes minutes.
    async fn build(&mut self) -> Result<(), Ended> {
        let is_written = |number: usize| {
            self.decisions
                .tags
                .iter()
                .any(|decision| decision.artifact == number && matches!(decision.verdict, Verdict::Write(_)))
        };
        let variants = 0..self.plan.variants.len();
        let build: Vec<usize> = variants
            .filter(|number| self.decisions.images[*number] == OfRelease::Composed && is_written(*number))
            .collect();
        let mut learned = false;
        for number in build {
            request().await;
            let image = self.made[number].clone();
            let digest = match &self.wanted.artifacts[number].composed {
                Some(digest) => digest.clone(),
                None => digest(&image, self.run),
            };
            self.verified.insert(digest.clone());
            learned |= self.wanted.artifacts[number].composed.replace(digest.clone()).is_none();
            self.contents.entry(digest).or_insert(image);
        }
        if learned {
            self.decide().await;
            self.refuse()?;
        }
        Ok(())
    }

    /// Sends content to every destination that needs it.
    async fn send(&self, sent: &BTreeSet<(Repository, Digest)>) -> BTreeSet<(Repository, Digest)> {
        let mut wanted = BTreeSet::new();
        for decision in &self.decisions.tags {
            let digest = match &decision.verdict {
                Verdict::Right => decision.now.as_ref(),
                Verdict::Write(digest) => digest.as_ref(),
                Verdict::Give { .. } | Verdict::Stays(_) => None,
            };
            let Some(digest) = digest.filter(|digest| self.contents.contains_key(digest)) else { continue };
            if !decision.verdict.writes() || self.may_publish(decision) {
                wanted.insert((decision.destination.clone(), digest.clone()));
            }
        }
        wanted.retain(|place| !sent.contains(place));
        for (repository, digest) in &wanted {
            request().await;
            let mut world = self.world.borrow_mut();
            world.images.entry(digest.clone()).or_insert_with(|| self.contents[digest].clone());
            let shelf = world.shelf(repository);
            shelf.broken.remove(digest);
            shelf.content.insert(digest.clone());
        }
        wanted
    }

    fn may_publish(&self, decision: &Decision) -> bool {
        let Some(digest) = decision.verdict.digest() else { return false };
        matches!(decision.verdict, Verdict::Give { .. })
            || self.wanted.artifacts[decision.artifact].variant.is_none()
            || self.verified.contains(digest)
            || matches!(&self.decisions.images[decision.artifact], OfRelease::Published { digest: published, .. } if published == digest)
            || self.decisions.tags.iter().any(|other| {
                other.artifact == decision.artifact
                    && other.kind == TagKind::Exact
                    && other.verdict == Verdict::Right
                    && other.now.as_ref() == Some(digest)
            })
    }

    fn phase(&self, decision: &Decision, habits: Habits) -> usize {
        match (decision.kind, &self.wanted.artifacts[decision.artifact].variant) {
            (TagKind::Rolling, _)
                if habits.replaced_first
                    && goes_before_exact_tags(&self.wanted, &self.survey, &self.decisions, decision) =>
            {
                0
            }
            (TagKind::Exact, _) if habits.exact_first => 1,
            (TagKind::Exact, _) => 3,
            (TagKind::Rolling, Some(_)) => 2,
            (TagKind::Rolling, None) => 3,
        }
    }
}

/// The image that a run would make of an item today.
fn today(world: &Shared, workflow: &Workflow, version: &str, item: Item<'_>) -> Image {
    let (day, base_made, platforms, entry) = match item {
        Item::Variant(row) => {
            let (day, base) = world.borrow_mut().base(&row.base);
            let platforms: BTreeSet<Platform> = base.platforms.intersection(&both_platforms()).cloned().collect();
            (day, base.made, platforms, row.entries[0].clone())
        }
        Item::Source => (0, None, both_platforms(), String::new()),
    };
    let origin = Origin::Ours {
        tool: workflow.tool.clone(),
        version: version.to_owned(),
        recipe: recipe_of(item),
        entry,
        day,
        facts: world.borrow().facts,
    };
    Image { annotated: Some(version.to_owned()), base_made, platforms, origin }
}

/// The digest, a function of sources, bases and plan. `nonce` stands for what `run` lines contribute.
fn digest(image: &Image, nonce: usize) -> Digest {
    Digest::of(format!("{:?} {nonce}", image.origin).as_bytes())
}

#[derive(Default)]
struct Done {
    written: BTreeSet<Place>,
    failed: BTreeMap<Place, String>,
}

impl Done {
    fn to_write(&self, surveyed: &Surveyed<'_>) -> Vec<Decision> {
        let is_open = |decision: &&Decision| {
            let place = (decision.destination.clone(), decision.tag.clone());
            surveyed.may_publish(decision)
                && !self.failed.contains_key(&place)
                && !self.waits_for_exact(surveyed, decision)
        };
        surveyed.decisions.tags.iter().filter(is_open).cloned().collect()
    }

    fn waits_for_exact(&self, surveyed: &Surveyed<'_>, decision: &Decision) -> bool {
        let tags = &surveyed.wanted.artifacts[decision.artifact].tags;
        decision.kind == TagKind::Rolling
            && matches!(decision.verdict, Verdict::Write(_))
            && tags.exact.iter().any(|exact| {
                tags.entry_of(exact) == tags.entry_of(&decision.tag)
                    && self.failed.contains_key(&(decision.destination.clone(), exact.clone()))
            })
    }

    async fn write(&mut self, surveyed: &Surveyed<'_>, decisions: &[&Decision], habits: Habits) -> bool {
        let decisions: Vec<&&Decision> =
            decisions.iter().filter(|decision| !self.waits_for_exact(surveyed, decision)).collect();
        let mut through = true;
        for some in decisions.chunks(habits.at_once) {
            let mut unchanged = Vec::new();
            for decision in some {
                if habits.looks_before_writing {
                    request().await;
                    let now = surveyed.world.borrow().named(&decision.destination, &decision.tag);
                    if now != decision.now {
                        through = false;
                        continue;
                    }
                }
                unchanged.push(decision);
            }
            for decision in unchanged {
                request().await;
                let place = (decision.destination.clone(), decision.tag.clone());
                match put(surveyed, decision) {
                    Ok(()) => drop(self.written.insert(place)),
                    Err(why) => drop(self.failed.insert(place, why)),
                }
            }
        }
        through
    }

    fn finish(mut self, surveyed: Surveyed<'_>) -> Ended {
        for decision in &surveyed.decisions.tags {
            let place = (decision.destination.clone(), decision.tag.clone());
            if decision.verdict.writes() && !self.written.contains(&place) {
                self.failed.entry(place).or_insert_with(|| "it has changed while this run was under way".to_owned());
            }
        }
        let decisions = surveyed.decisions.tags;
        if self.failed.is_empty() { Ended::Published(decisions) } else { Ended::Failed(decisions) }
    }
}

fn put(surveyed: &Surveyed<'_>, decision: &Decision) -> Result<(), String> {
    let digest = decision.verdict.digest().unwrap();
    assert!(
        surveyed.contents.contains_key(digest) || surveyed.documents.contains(digest),
        "{} is to name what nobody has read",
        decision.tag
    );
    let tags = &surveyed.wanted.artifacts[decision.artifact].tags;
    let mut world = surveyed.world.borrow_mut();
    if world.refusing.contains(&decision.tag) {
        return Err("the registry refuses it".to_owned());
    }
    if world.is_broken(&decision.destination, digest) {
        return Err("parts of it are missing".to_owned());
    }
    let write = Write {
        version: surveyed.plan.version.to_string(),
        repository: decision.destination.clone(),
        tag: decision.tag.clone(),
        kind: decision.kind,
        entry: tags.entry_of(&decision.tag).to_owned(),
        looked: decision.now.clone(),
        before: world.named(&decision.destination, &decision.tag),
        after: digest.clone(),
        workflow: Rc::clone(&surveyed.workflow),
    };
    let objection = crate::oracle::objection(&world, &write);
    world.objections.extend(objection);
    world.shelf(&decision.destination).tags.insert(decision.tag.clone(), digest.clone());
    world.writes.push(write);
    Ok(())
}
