//! The model's world for real: a registry, the stand-in for GitHub, and the program as a step of a workflow. Everything
//! that happens in the model happens here as well, and afterwards all tags must name the same.

use std::collections::{BTreeMap, BTreeSet};

use publish_variants::image::{Digest, Platform};
use publish_variants::ownership::Standing;
use support::github::{GitHub, Release, Setup, WRITE_TOKEN};
use support::image::{Image, TinyImage, file};
use support::memory_registry::MemoryRegistry;
use support::registry::Registry;
use support::runner::Step;

use crate::script::BASES;
use crate::versions::version;
use crate::workflow::{IMAGE, Workflow};
use crate::world::{Base, Origin, World};

const ACTION: &str = include_str!("../../action.yml");

/// Where the images are.
pub(crate) enum Store<'a> {
    Memory(&'a MemoryRegistry),
    Real(&'a Registry),
}

/// The repositories of one history.
pub(crate) struct Shop<'a> {
    pub(crate) store: Store<'a>,
    pub(crate) github: GitHub,
    /// The owner, which is unique to the history.
    owner: String,
    /// The state of the model that has been carried over.
    seen: World,
}

const PLATFORMS: [&str; 2] = ["linux/amd64", "linux/arm64"];

impl<'a> Shop<'a> {
    /// A shop in which nothing has happened.
    pub(crate) fn open(store: Store<'a>, owner: &str) -> Self {
        let github = GitHub::serve(Setup {
            listen: "127.0.0.1:0".into(),
            repository: "acme/tool".into(),
            releases: Vec::new(),
            token: None,
            description: None,
            state: None,
            log: false,
        });
        Self { store, github, owner: owner.to_owned(), seen: World::new() }
    }

    /// The build job of a version.
    pub(crate) async fn build(&self, tool: &str, text: &str) {
        self.put(&source(tool, text), &self.builds(tool), version(text).tag).await;
    }

    fn builds(&self, tool: &str) -> String {
        format!("{}-builds/{tool}", self.owner)
    }

    pub(crate) fn repository(&self) -> String {
        format!("{}/tool", self.owner)
    }

    pub(crate) fn host(&self) -> String {
        match self.store {
            Store::Memory(registry) => registry.host(),
            Store::Real(registry) => registry.host().to_owned(),
        }
    }

    async fn put(&self, image: &Image, repository: &str, tag: &str) {
        match self.store {
            Store::Memory(registry) => drop(registry.put_image(image, repository, tag)),
            Store::Real(registry) => drop(registry.push(image, repository, tag).await),
        }
    }

    /// What all tags name.
    pub(crate) async fn tags(&self) -> BTreeMap<String, String> {
        let repository = self.repository();
        let mut named = BTreeMap::new();
        match self.store {
            Store::Memory(registry) => {
                let tags = registry.tags(&repository).into_iter();
                named.extend(tags.map(|tag| (tag.clone(), registry.named(&repository, &tag).unwrap())));
            }
            Store::Real(registry) => {
                for tag in registry.tags(&repository).await {
                    let digest = registry.manifest(&repository, &tag).await.unwrap().digest();
                    named.insert(tag, digest);
                }
            }
        }
        named
    }

    fn untag(&self, tag: &str) {
        let repository = self.repository();
        match self.store {
            Store::Memory(registry) => registry.untag(&repository, tag),
            // Distribution has no request for this.
            Store::Real(registry) => {
                let tags = format!("docker/registry/v2/repositories/{repository}/_manifests/tags/{tag}");
                std::fs::remove_dir_all(registry.storage().join(tags)).unwrap();
            }
        }
    }

    /// Repeats here what has happened in the model since, except for runs.
    pub(crate) async fn follow(&mut self, world: &World) {
        let before = std::mem::replace(&mut self.seen, world.clone());
        for (name, days) in &world.bases {
            let known = before.bases.get(name).map_or(0, Vec::len);
            for (day, base) in days.iter().enumerate().skip(known) {
                let (repository, tag) = name.split_once(':').unwrap();
                self.put(&image_of_base(name, day, base), &format!("{}-bases/{repository}", self.owner), tag).await;
            }
        }
        let (was, is) = (before.github.clone().unwrap_or_default(), world.github.clone().unwrap_or_default());
        for (version, standing) in &is {
            let old = was.get(version).copied().unwrap_or(Standing::Absent);
            if old != *standing {
                self.set_standing(version, old, *standing);
            }
        }
        let image = IMAGE.parse().unwrap();
        let tags = |world: &World| world.repositories.get(&image).map(|shelf| shelf.tags.clone()).unwrap_or_default();
        let (was, is) = (tags(&before), tags(world));
        for tag in was.keys().filter(|tag| !is.contains_key(*tag)) {
            self.untag(tag.as_str());
        }
        for (tag, digest) in is.iter().filter(|(tag, digest)| was.get(*tag) != Some(*digest)) {
            let image = match &world.images[digest].origin {
                Origin::Built { tool, version } => source(tool, version),
                Origin::Old { version, label } => foreign(label, Some(version)),
                Origin::Foreign(label) => foreign(label, None),
                Origin::Ours { .. } => panic!("only runs push {tag}"),
            };
            self.put(&image, &self.repository(), tag.as_str()).await;
        }
    }

    /// Considers the model's latest run done.
    pub(crate) fn catch_up(&mut self, world: &World) {
        self.seen = world.clone();
    }

    pub(crate) fn set_standing(&self, version: &str, old: Standing, new: Standing) {
        if old != Standing::Absent {
            self.github.withdraw(version);
        }
        match new {
            Standing::Final => self.github.add(Release::new(version)),
            Standing::Prerelease => self.github.add(Release::new(version).prerelease()),
            Standing::Tagged => self.github.add_tag(Release::new(version)),
            Standing::Absent | Standing::Unknown => {}
        }
    }

    /// The step that publishes a version.
    pub(crate) fn step(&self, workflow: &Workflow, text: &str) -> Step {
        let host = self.host();
        let variants = workflow.variants.iter().map(|row| {
            let base = format!("{host}/{}-bases/{}", self.owner, row.base);
            serde_json::json!({ "base": base, "tags": row.entries, "env": { "MODE": row.env } })
        });
        Step::new(env!("CARGO_BIN_EXE_publish-variants"), ACTION)
            .variable("GITHUB_API_URL", &self.github.url())
            .variable("GITHUB_REPOSITORY", "acme/tool")
            .variable("GITHUB_REF", "refs/heads/main")
            .event("workflow_dispatch", &serde_json::json!({ "inputs": {} }))
            .input("version", text)
            .input("images", &format!("{host}/{}", self.repository()))
            .input("source", &format!("{host}/{}", self.builds(&workflow.tool)))
            .input("binaries", "/tool")
            .input("matrix", &serde_json::json!({ "variants": variants.collect::<Vec<_>>() }).to_string())
            .input("tag-templates", &workflow.templates.join("\n"))
            .input("source-tags", &workflow.source_tags.join("\n"))
            .input("ignore-versions", &workflow.ignored.join("\n"))
            .input("rolling", &workflow.rolling)
            .input("on-conflict", &workflow.on_conflict)
            .input("builder", "registry")
            .input("release-notes", "false")
            .input("github-token", WRITE_TOKEN)
    }

    /// The difference between the tags here and those of the model, if any.
    pub(crate) async fn difference(&self, world: &World, digests: &mut BTreeMap<Digest, String>) -> Option<String> {
        let here = self.tags().await;
        let image = IMAGE.parse().unwrap();
        let model = world.repositories.get(&image).map(|shelf| shelf.tags.clone()).unwrap_or_default();
        let tags: BTreeSet<&str> =
            here.keys().map(String::as_str).chain(model.keys().map(|tag| tag.as_str())).collect();
        for tag in tags {
            let (Some(real), Some(meant)) = (here.get(tag), model.get(tag)) else {
                return Some(format!(
                    "{tag} is {:?} in the registry, and {:?} in the model",
                    here.get(tag),
                    model.get(tag)
                ));
            };
            let known = digests.entry(meant.clone()).or_insert_with(|| real.clone());
            if known != real {
                return Some(format!(
                    "{tag} names {real} in the registry, and should name {known}: {}",
                    world.tell(meant)
                ));
            }
        }
        let distinct: BTreeSet<&String> = digests.values().collect();
        (distinct.len() != digests.len())
            .then(|| format!("two images of the model are one in the registry: {digests:?}"))
    }
}

/// All bases, so that they are there before the first run.
pub(crate) fn know_all_bases(world: &mut World) {
    for base in BASES {
        world.base(base);
    }
}

fn source(tool: &str, text: &str) -> Image {
    TinyImage::tool(&PLATFORMS, &["tool"], &format!("of {tool} {text}"))
        .annotation("org.opencontainers.image.revision", "0123456789abcdef0123456789abcdef01234567")
        .annotation("org.opencontainers.image.created", "2026-01-15T20:50:55Z")
        .build()
}

/// An image of another tool, with the labels that docker/metadata-action gives.
fn foreign(label: &str, of: Option<&str>) -> Image {
    let labels = serde_json::json!({ "org.opencontainers.image.version": of.unwrap_or("9.9.9") });
    TinyImage::new(&PLATFORMS).layer(vec![file("/label", label)]).config("Labels", labels).build()
}

fn image_of_base(name: &str, day: usize, base: &Base) -> Image {
    let platforms: Vec<String> = base.platforms.iter().map(Platform::to_string).collect();
    let platforms: Vec<&str> = platforms.iter().map(String::as_str).collect();
    let made = base.made.map(|made| made.to_rfc3339());
    TinyImage::new(&platforms).layer(vec![file("/base", format!("{name} {day}"))]).created(made.as_deref()).build()
}
