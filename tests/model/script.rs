//! Random histories: what may happen, and playing it.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use proptest::prelude::*;
use publish_variants::image::Tag;
use publish_variants::ownership::{Reason, Standing, Verdict};

use crate::history::{parsed, place};
use crate::oracle;
use crate::run::{Ended, Habits, Run};
use crate::versions::{Known, render, version};
use crate::workflow::{IMAGE, OTHER_IMAGE, Row, Workflow};
use crate::world::{Base, Origin, Shared, World};

/// Versions that one tool might have, in any order.
const FAMILIES: [&[&str]; 6] = [
    &["1.2.2", "1.2.3rc1", "1.2.3", "1.2.3.post1", "1.2.4", "1.3.0-beta.1", "1.3.0", "1.3.1", "2.0.0rc1", "2.0.0"],
    &["0.9.0", "0.9.1", "1.0.0", "1.0.1", "1.2.0", "1.2.1", "1.2.2"],
    &["21", "22", "22.04", "24.0", "24.1", "24.1.1", "24.1.2", "24.2"],
    &["1.29.1+k3s1", "1.29.2+k3s1", "1.29.2+k3s2", "1.30.0+k3s1", "1.3.0", "1.2.3+22"],
    &["2026.1.10", "2026.1.11", "1.2.3", "24.1", "24.1.1"],
    &["1.2", "1.2.0", "1.2.1", "1.3", "1.3.0", "24.0", "24.1", "24.1.1", "1!1.2.3", "1!1.2.4"],
];

/// Tags of other tools that look like versions.
const STRANGE: [&str; 10] =
    ["1.0", "20260110", "1234567", "2026!01-10", "22", "21!1.2.3", "1.2.3-22", "1.3.0-22", "22.04", "2026.1.10"];

const ENTRIES: [&str; 11] = [
    "alpine",
    "alpine3.23",
    "slim",
    "22-slim",
    "22",
    "21",
    "3.13-alpine",
    "3.14-alpine",
    "debian",
    "my-alpine",
    "3.13.1-alpine",
];

pub(crate) const BASES: [&str; 4] = ["alpine:3.23", "debian:13-slim", "node:22-slim", "python:3.13-alpine"];

const TEMPLATES: [&[&str]; 9] = [
    &["{version}-{tag}", "{major}.{minor}-{tag}", "{tag}"],
    &["{version}-{tag}", "{major}.{minor}-{tag}", "{tag}"],
    &["{tag}-{version}", "{tag}-{major}.{minor}", "{tag}"],
    &["{version}-{tag}", "{tag}"],
    &["{version}-{tag}", "{tag}-{version}", "{major}.{minor}-{tag}", "{major}-{tag}", "{tag}"],
    &["v{version}-{tag}", "v{major}-{tag}", "{tag}"],
    &["v{version}-{tag}", "{major}.{minor}-{tag}", "{tag}"],
    &["{tag}{version}", "{tag}"],
    &["{version}_{tag}", "{major}.{minor}_{tag}", "{tag}_latest"],
];

const SOURCE_TAGS: [&[&str]; 6] = [
    &[],
    &["{version}", "{major}.{minor}", "latest"],
    &["v{version}", "{major}", "latest"],
    &["v{version}", "{major}.{minor}", "latest"],
    &["{version}", "latest"],
    // Refused, since no template names the version.
    &["{major}.{minor}", "latest"],
];

const STANDINGS: [Standing; 4] = [Standing::Final, Standing::Prerelease, Standing::Tagged, Standing::Absent];

/// A history. Numbers select one of the possible choices at that time.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    family: usize,
    github: bool,
    workflows: Vec<Sketch>,
    pub(crate) events: Vec<Event>,
}

/// A workflow.
#[derive(Clone, Debug)]
struct Sketch {
    rows: Vec<(usize, Vec<usize>, u8)>,
    templates: usize,
    source_tags: usize,
    ignored: Vec<usize>,
    rolling: usize,
    on_conflict: usize,
    two: bool,
    other_tool: bool,
}

/// A version, and the workflow that publishes it.
pub(crate) type Job = (usize, usize);

#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// It is released, and published.
    Release(Job),
    /// It is published, whatever GitHub says.
    Publish(Job),
    /// GitHub says this about a version from now on.
    GitHub(usize, usize),
    /// Somebody deletes a tag.
    Delete(usize),
    /// A clean-up deletes the manifests below a tag.
    DeleteChildren(usize),
    /// Another tool pushes a tag that looks like a version: which version, for which entry, by which template.
    Strange(usize, usize, usize),
    /// The previous workflow publishes a version: its exact tag and perhaps rolling tags.
    Old(usize, usize, bool),
    /// The build job pushes the source of a version.
    Built(usize),
    /// A stranger overwrites a tag.
    Overwrite(usize),
    /// A base moves: which one, to an image of which age, for which platforms.
    MoveBase(usize, u32, usize),
    /// The images of a base disappear.
    LoseBase(usize),
    /// The description on GitHub changes.
    Facts,
    /// A run is killed before a request; the number counts them.
    Kill(Job, usize),
    /// Runs cross in the order of `turns`; one of them may be killed.
    Cross(Vec<Job>, Vec<usize>, Option<usize>, usize),
}

fn job() -> impl Strategy<Value = Job> {
    (0..10usize, 0..3usize)
}

fn sketch() -> impl Strategy<Value = Sketch> {
    // Often one entry is another one prefixed by a number.
    let entries = prop_oneof![
        3 => prop::collection::vec(0..ENTRIES.len(), 1..3),
        1 => prop::sample::select(vec![vec![6, 0], vec![0, 6], vec![3, 2], vec![2, 3], vec![5, 4]]),
    ];
    let row = (0..BASES.len(), entries, prop_oneof![8 => Just(0u8), 1 => Just(1), 1 => Just(2)]);
    let tags = (0..TEMPLATES.len(), 0..SOURCE_TAGS.len(), prop::collection::vec(0..10usize, 0..2));
    let choices = (
        prop_oneof![10 => Just(0usize), 1 => Just(1), 1 => Just(2)],
        prop_oneof![8 => Just(0usize), 1 => Just(1), 2 => Just(2)],
    );
    let more = (prop::bool::weighted(0.2), prop::bool::weighted(0.1));
    (prop::collection::vec(row, 1..4), tags, choices, more).prop_map(|(rows, tags, choices, more)| Sketch {
        rows,
        templates: tags.0,
        source_tags: tags.1,
        ignored: if tags.2.len() == 1 && tags.2[0] > 6 { tags.2 } else { Vec::new() },
        rolling: choices.0,
        on_conflict: choices.1,
        two: more.0,
        other_tool: more.1,
    })
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => job().prop_map(Event::Release),
        3 => job().prop_map(Event::Publish),
        3 => (0..10usize, 0..4usize).prop_map(|(version, standing)| Event::GitHub(version, standing)),
        2 => any::<usize>().prop_map(Event::Delete),
        1 => any::<usize>().prop_map(Event::DeleteChildren),
        2 => (0..STRANGE.len(), 0..ENTRIES.len(), any::<usize>()).prop_map(|(version, entry, way)| Event::Strange(version, entry, way)),
        2 => (0..10usize, 0..3usize, any::<bool>()).prop_map(|(version, workflow, rolls)| Event::Old(version, workflow, rolls)),
        1 => (0..10usize).prop_map(Event::Built),
        1 => any::<usize>().prop_map(Event::Overwrite),
        2 => (0..BASES.len(), 0..9u32, 0..6usize).prop_map(|(base, day, platforms)| Event::MoveBase(base, day, platforms)),
        1 => (0..BASES.len()).prop_map(Event::LoseBase),
        1 => Just(Event::Facts),
        2 => (job(), 0..60usize).prop_map(|(job, at)| Event::Kill(job, at)),
        3 => (prop::collection::vec(job(), 2..4), prop::collection::vec(0..3usize, 1..40), prop::option::weighted(0.3, 0..3usize), 0..60usize)
            .prop_map(|(jobs, turns, killed, at)| Event::Cross(jobs, turns, killed, at)),
    ]
}

pub(crate) fn scripts() -> impl Strategy<Value = Script> {
    (
        0..FAMILIES.len(),
        prop::bool::weighted(0.85),
        sketch(),
        prop::collection::vec((0..6usize, sketch()), 0..3),
        prop::collection::vec(event(), 2..12),
    )
        .prop_map(|(family, github, first, later, events)| {
            // Later workflows are usually the first one with one change.
            let later = later.into_iter().map(|(what, other)| {
                let mut sketch = first.clone();
                match what {
                    0 => sketch.rows = other.rows,
                    1 => sketch.rows[0].1 = other.rows[0].1.clone(),
                    2 => sketch.rows.extend(other.rows),
                    3 => drop(sketch.rows.pop().filter(|_| !sketch.rows.is_empty()).or_else(|| {
                        sketch.rows = other.rows.clone();
                        None
                    })),
                    4 => (sketch.templates, sketch.source_tags) = (other.templates, other.source_tags),
                    _ => return other,
                }
                (sketch.rolling, sketch.on_conflict) = (other.rolling, other.on_conflict);
                sketch
            });
            let workflows = std::iter::once(first.clone()).chain(later).collect();
            Script { family, github, workflows, events }
        })
}

/// Short ones, for registries, where each run takes a moment. Runs don't cross, and one repository is enough.
pub(crate) fn short_scripts() -> impl Strategy<Value = Script> {
    scripts().prop_map(|mut script| {
        script.github = true;
        for sketch in &mut script.workflows {
            sketch.two = false;
            sketch.rows.truncate(2);
            sketch.rows.iter_mut().filter(|(.., kind)| *kind == 2).for_each(|row| row.2 = 1);
        }
        let is_played = |event: &Event| {
            !matches!(event, Event::Cross(..) | Event::DeleteChildren(_) | Event::LoseBase(_) | Event::Facts)
        };
        script.events.retain(is_played);
        let runs = |event: &Event| matches!(event, Event::Release(_) | Event::Publish(_) | Event::Kill(..));
        let mut left = 3;
        script.events.retain(|event| {
            let stays = !runs(event) || left > 0;
            left -= usize::from(stays && runs(event));
            stays
        });
        let last = script.events.iter().rposition(runs).map_or(0, |last| last + 1);
        script.events.truncate(last);
        script
    })
}

impl Sketch {
    fn workflow(&self, family: &[&str]) -> Workflow {
        let mut taken = Vec::new();
        let prefix = if self.other_tool { "b-" } else { "" };
        // If two variants differed only in their entries, one would restore what a clean-up deleted from the other.
        let mut bases = Vec::new();
        let rows = self.rows.iter().filter_map(|(base, entries, kind)| {
            if bases.contains(base) {
                return None;
            }
            bases.push(*base);
            let entries: Vec<String> = entries.iter().map(|entry| format!("{prefix}{}", ENTRIES[*entry])).collect();
            let fresh: Vec<String> = entries.into_iter().filter(|entry| !taken.contains(entry)).collect();
            taken.extend(fresh.clone());
            let mut fresh: Vec<String> = fresh;
            fresh.dedup();
            (!fresh.is_empty()).then(|| Row {
                base: BASES[*base].to_owned(),
                entries: fresh,
                env: if *kind == 1 { "other".to_owned() } else { String::new() },
                run: *kind == 2,
            })
        });
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        Workflow {
            tool: if self.other_tool { "other" } else { "tool" }.to_owned(),
            images: if self.two { vec![IMAGE.to_owned(), OTHER_IMAGE.to_owned()] } else { vec![IMAGE.to_owned()] },
            variants: rows.collect(),
            templates: owned(TEMPLATES[self.templates]),
            source_tags: if self.other_tool { Vec::new() } else { owned(SOURCE_TAGS[self.source_tags]) },
            ignored: self.ignored.iter().map(|number| family[number % family.len()].to_owned()).collect(),
            rolling: ["guard", "always", "never"][self.rolling].to_owned(),
            on_conflict: ["keep", "fail", "replace"][self.on_conflict].to_owned(),
            scheme: "auto".to_owned(),
        }
    }
}

impl Script {
    /// Plays the script. Fails with what is wrong.
    pub(crate) fn play(&self) -> Result<(), String> {
        let player = Player::new(self);
        for (number, event) in self.events.iter().enumerate() {
            player
                .play(event)
                .map_err(|wrong| format!("at event {number}, {event:?}: {wrong}\nof {:#?}", player.workflows))?;
        }
        Ok(())
    }
}

pub(crate) struct Player {
    pub(crate) world: Shared,
    pub(crate) family: &'static [&'static str],
    workflows: Vec<Workflow>,
}

impl Player {
    pub(crate) fn new(script: &Script) -> Self {
        let family = FAMILIES[script.family];
        let mut world = World::new();
        if !script.github {
            world.github = None;
        }
        let workflows = script.workflows.iter().map(|sketch| sketch.workflow(family)).collect();
        Self { world: Rc::new(RefCell::new(world)), family, workflows }
    }

    pub(crate) fn version(&self, number: usize) -> Known {
        version(self.family[number % self.family.len()])
    }

    pub(crate) fn workflow(&self, number: usize) -> &Workflow {
        &self.workflows[number % self.workflows.len()]
    }

    /// Some tag of the first repository.
    fn some_tag(&self, number: usize) -> Option<Tag> {
        let mut world = self.world.borrow_mut();
        let tags: Vec<&Tag> = world.shelf(&place(IMAGE)).tags.keys().collect();
        (!tags.is_empty()).then(|| tags[number % tags.len()].clone())
    }

    pub(crate) fn play(&self, event: &Event) -> Result<(), String> {
        let image = place(IMAGE);
        match event {
            Event::Release(job) => {
                self.set_github(self.version(job.0), Standing::Final);
                self.publish(*job)?;
            }
            Event::Publish(job) => self.publish(*job)?,
            Event::GitHub(number, standing) => self.set_github(self.version(*number), STANDINGS[*standing]),
            Event::Delete(number) => {
                if let Some(tag) = self.some_tag(*number) {
                    self.world.borrow_mut().shelf(&image).tags.remove(&tag);
                }
            }
            Event::DeleteChildren(number) => {
                if let Some(tag) = self.some_tag(*number) {
                    let mut world = self.world.borrow_mut();
                    let digest = world.named(&image, &tag).unwrap();
                    world.shelf(&image).broken.insert(digest);
                }
            }
            Event::Strange(number, entry, way) => {
                let strange = version(STRANGE[*number]);
                let mut names = vec![strange.tag.to_owned(), format!("{}-{}", strange.tag, ENTRIES[*entry])];
                names.extend(
                    self.workflows[0].templates.iter().map(|template| render(template, strange, ENTRIES[*entry])),
                );
                let name = &names[way % names.len()];
                self.world.borrow_mut().put_foreign(&image, &parsed(name), &format!("{name} of another tool"));
            }
            Event::Old(number, workflow, rolls) => self.old(self.version(*number), self.workflow(*workflow), *rolls),
            Event::Built(number) => {
                let built = self.version(*number);
                let tag = parsed(built.tag);
                let free = self.world.borrow().named(&image, &tag).is_none();
                if free {
                    self.world.borrow_mut().put_built(&image, &tag, "tool", built.text);
                }
            }
            Event::Overwrite(number) => {
                if let Some(tag) = self.some_tag(*number) {
                    self.world.borrow_mut().put_foreign(&image, &tag, &format!("a stranger's {tag}"));
                }
            }
            Event::MoveBase(number, day, platforms) => {
                let base = Base::made(*day);
                let base = match platforms {
                    0 => base.only("linux/amd64"),
                    1 => base.undated(),
                    _ => base,
                };
                self.world.borrow_mut().move_base(BASES[*number], base);
            }
            Event::LoseBase(number) => {
                let mut world = self.world.borrow_mut();
                world.move_base(BASES[*number], Base::made(20));
                let days = world.bases.get_mut(BASES[*number]).unwrap();
                let last = days.len() - 1;
                days[..last].iter_mut().for_each(|base| base.gone = true);
            }
            Event::Facts => self.world.borrow_mut().facts += 1,
            Event::Kill(job, at) => self.kill(*job, *at)?,
            Event::Cross(jobs, turns, killed, at) => self.cross(jobs, turns, *killed, *at)?,
        }
        Ok(())
    }

    fn set_github(&self, of: Known, standing: Standing) {
        if let Some(github) = &mut self.world.borrow_mut().github {
            github.insert(of.text.to_owned(), standing);
        }
    }

    /// An old workflow publishes a version, if nobody has published it yet.
    fn old(&self, of: Known, workflow: &Workflow, rolls: bool) {
        let mut world = self.world.borrow_mut();
        let image = place(IMAGE);
        for item in workflow.items() {
            let (exact, rolling) = workflow.names(item);
            let entry = exact.iter().chain(&rolling).map(|(_, entry)| *entry).next().unwrap_or_default();
            let label = format!("{} by the old workflow for {entry}", of.text);
            let rolling = rolling.into_iter().filter(|_| rolls && of.is_final);
            for (template, entry) in exact.into_iter().chain(rolling) {
                let tag = render(template, of, entry).parse().unwrap();
                let free = world.named(&image, &tag).is_none_or(|digest| {
                    matches!(&world.images[&digest].origin, Origin::Old { version: was, .. } if version(was).rank < of.rank)
                });
                if free {
                    world.put_old(&image, &tag, of.text, &label);
                }
            }
        }
    }

    fn start(&self, job: Job, at_once: usize) -> Run {
        let habits = Habits { at_once, ..Habits::default() };
        Run::start(&self.world, self.workflow(job.1), self.version(job.0).text, habits)
    }

    pub(crate) fn publish(&self, job: Job) -> Result<(), String> {
        self.published(job).map(drop)
    }

    /// An undisturbed run, and how it ended.
    pub(crate) fn published(&self, job: Job) -> Result<Ended, String> {
        let before = self.world.borrow().clone();
        let ended = self.start(job, 1).ended();
        let complaints =
            oracle::complaints(&before, &self.world.borrow(), self.workflow(job.1), self.version(job.0).text, &ended);
        self.told(complaints).map(|()| ended)
    }

    fn told(&self, complaints: Vec<String>) -> Result<(), String> {
        if complaints.is_empty() { Ok(()) } else { Err(complaints.join("\n")) }
    }

    fn no_objections(&self) -> Result<(), String> {
        self.told(self.world.borrow().objections.clone())
    }

    /// Kills a run. One more run of the same version and plan must end like one that isn't killed.
    fn kill(&self, job: Job, at: usize) -> Result<(), String> {
        let before = self.world.borrow().clone();
        self.start(job, 1).ended();
        let undisturbed = self.world.replace(before);
        let mut run = self.start(job, 1);
        let _ = (0..at).any(|_| run.step().is_some());
        drop(run);
        self.no_objections()?;
        let killed = self.world.borrow().clone();
        self.publish(job)?;
        same_tags(&undisturbed, &self.world.borrow())?;
        self.world.replace(killed);
        Ok(())
    }

    /// Lets runs cross. Each write must be right at its moment, and in the end nothing may be left to write.
    fn cross(&self, jobs: &[Job], turns: &[usize], killed: Option<usize>, at: usize) -> Result<(), String> {
        let mut runs: Vec<Option<Run>> =
            jobs.iter().enumerate().map(|(number, job)| Some(self.start(*job, 1 + 2 * (number % 2)))).collect();
        let mut ends = Vec::new();
        let mut steps = vec![0; runs.len()];
        for turn in turns.iter().cycle() {
            if runs.iter().all(Option::is_none) {
                break;
            }
            let number =
                (0..runs.len()).map(|by| (turn + by) % runs.len()).find(|number| runs[*number].is_some()).unwrap();
            if killed == Some(number) && steps[number] == at {
                runs[number] = None;
                continue;
            }
            steps[number] += 1;
            if let Some(ended) = runs[number].as_mut().unwrap().step() {
                ends.push((jobs[number], ended));
                runs[number] = None;
            }
        }
        self.no_objections()?;
        let workflows: Vec<&Workflow> = jobs.iter().map(|job| self.workflow(job.1)).collect();
        let agree = workflows
            .iter()
            .all(|workflow| workflow.on_conflict == "keep" && workflow.rolling == "guard" && *workflow == workflows[0]);
        // If tags spell a version differently and GitHub has never heard of it, nobody can tell what the build job's
        // image under a rolling tag is.
        let is_told = |job: &Job| {
            let of = self.version(job.0);
            let is_known = matches!(self.world.borrow().standing(of.text), Standing::Final | Standing::Tagged);
            of.literal || is_known || self.workflow(job.1).source_tags.is_empty()
        };
        if !agree
            || !jobs.iter().all(is_told)
            || killed.is_some()
            || ends.iter().any(|(_, ended)| !matches!(ended, Ended::Published(_)))
        {
            return Ok(());
        }
        // A tag that one of them left alone as another version's exact tag is decided by that version.
        let doubted: BTreeSet<_> = ends
            .iter()
            .flat_map(|(_, ended)| ended.decisions())
            .filter(|decision| {
                matches!(decision.verdict, Verdict::Stays(Reason::ExactTagOf(_) | Reason::PerhapsExactTagOf(_)))
            })
            .map(|decision| (&decision.destination, &decision.tag))
            .collect();
        for (job, _) in &ends {
            let writes = self.world.borrow().writes.len();
            self.publish(*job)?;
            let world = self.world.borrow();
            let again =
                world.writes[writes..].iter().filter(|write| !doubted.contains(&(&write.repository, &write.tag)));
            let again: Vec<String> = again.map(|write| format!("{}:{}", write.repository, write.tag)).collect();
            if !again.is_empty() {
                return Err(format!("{job:?} was through, and writes again: {}", again.join(", ")));
            }
        }
        Ok(())
    }
}

/// Whether all tags name the same in two worlds, apart from what `run` lines contribute.
fn same_tags(one: &World, other: &World) -> Result<(), String> {
    let tell = |world: &World| {
        let mut all = Vec::new();
        for (repository, shelf) in &world.repositories {
            all.extend(
                shelf.tags.iter().map(|(tag, digest)| format!("{repository}:{tag} {:?}", world.images[digest].origin)),
            );
        }
        all
    };
    let (one, other) = (tell(one), tell(other));
    let differ: Vec<String> = one
        .iter()
        .filter(|line| !other.contains(line))
        .map(|line| format!("undisturbed: {line}"))
        .chain(other.iter().filter(|line| !one.contains(line)).map(|line| format!("killed and run again: {line}")))
        .collect();
    if differ.is_empty() { Ok(()) } else { Err(differ.join("\n")) }
}
