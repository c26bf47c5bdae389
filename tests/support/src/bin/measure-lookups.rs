//! Measures the requests of a publication, and how long its tags take, against registries in memory. See
//! `bench/lookups`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use clap::Parser;
use support::image::{TinyImage, executable};
use support::memory_registry::{MemoryRegistry, Verdict};
use support::runner::{Done, Step};

const PLATFORMS: &[&str] = &["linux/amd64", "linux/arm64"];
/// uv's number of variants.
const VARIANTS: usize = 29;

/// Measures the requests of a publication, and how long its tags take.
#[derive(Parser)]
struct Options {
    /// The program to measure
    program: PathBuf,
    /// Its `action.yml`
    #[arg(long)]
    action: PathBuf,
    /// A Docker Engine to build with as well, by its address in the form of `DOCKER_HOST`
    #[arg(long)]
    engine: Option<String>,
    /// How many tags the full repository has
    #[arg(long, default_value_t = 20_000)]
    tags: usize,
}

/// The registries of a project: one for the bases, one for the sources, two to publish to.
struct World<'a> {
    options: &'a Options,
    bases: MemoryRegistry,
    sources: MemoryRegistry,
    destinations: [MemoryRegistry; 2],
}

impl<'a> World<'a> {
    fn new(options: &'a Options, variants: usize) -> Self {
        let [bases, sources, here, there] = std::array::from_fn(|_| MemoryRegistry::start());
        for number in 0..variants {
            bases.put_image(&base(number, 0).build(), &format!("library/base{number}"), "1");
        }
        for version in ["1.2.3", "1.2.4"] {
            sources.put_image(&TinyImage::tool(PLATFORMS, &["tool"], version).build(), "acme/tool", version);
        }
        Self { options, bases, sources, destinations: [here, there] }
    }

    fn step(&self, version: &str, variants: usize, builder: &str) -> Step {
        let action = std::fs::read_to_string(&self.options.action).expect("action.yml can be read");
        let program = self.options.program.to_str().expect("the program's path is text");
        let host = self.bases.host();
        let mut matrix = String::new();
        for number in 0..variants {
            writeln!(matrix, "{host}/library/base{number}:1,v{number}.1,v{number}")
                .expect("a String takes every write");
        }
        let images = self.destinations.each_ref().map(|registry| format!("{}/acme/tool", registry.host()));
        let engine = self.options.engine.as_deref().unwrap_or("unix:///nowhere");
        Step::new(program, &action)
            .variable("GITHUB_REPOSITORY", "")
            .variable("DOCKER_HOST", engine)
            .input("version", version)
            .input("source", &format!("{}/acme/tool:{{version}}", self.sources.host()))
            .input("source-tags", "default")
            .input("binaries", "/tool")
            .input("images", &images.join("\n"))
            .input("builder", builder)
            .input("matrix", &matrix)
    }

    fn forget(&self) {
        for (_, registry) in self.registries() {
            registry.clear_requests();
        }
    }

    fn registries(&self) -> [(&'static str, &MemoryRegistry); 4] {
        let [here, there] = &self.destinations;
        [("bases", &self.bases), ("sources", &self.sources), ("first destination", here), ("second destination", there)]
    }

    /// A line for each registry, with the number of requests of each kind.
    fn tell(&self) {
        for (name, registry) in self.registries() {
            let mut counts = BTreeMap::<String, usize>::new();
            for request in registry.requests() {
                *counts.entry(kind(&request.asked.method, &request.asked.path)).or_default() += 1;
            }
            let counts: Vec<String> = counts.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
            say(&format!("    {name}: {}", counts.join(", ")));
        }
    }
}

/// A base with a shell that does nothing. Another `patch` makes another image.
fn base(number: usize, patch: usize) -> TinyImage {
    let image = PLATFORMS.iter().fold(TinyImage::new(PLATFORMS), |image, platform| {
        image.layer_for(platform, vec![executable("/bin/sh", support::elf::printing(platform, ""))])
    });
    image.layer(vec![executable("/etc/base", format!("{number}.{patch}"))])
}

fn kind(method: &str, path: &str) -> String {
    let what = match path {
        path if path.ends_with("/tags/list") => return "list of tags".to_owned(),
        path if path.contains("/blobs/uploads/") => return "uploads and mounts".to_owned(),
        path if path.contains("/manifests/") => "manifest",
        path if path.contains("/blobs/") => "blob",
        _ => "other",
    };
    format!("{method} {what}")
}

#[expect(clippy::print_stdout, reason = "the measurement is the output")]
fn say(line: &str) {
    println!("{line}");
}

async fn run(step: Step, name: &str) -> Done {
    let began = Instant::now();
    let done = step.run().await.succeeded();
    let built = done.log.lines().find_map(|line| line.split_once("to be written; ").map(|(_, built)| built.to_owned()));
    say(&format!(
        "{name}: {:.1} s, {}, {}",
        began.elapsed().as_secs_f64(),
        done.outputs["status"],
        built.unwrap_or_default()
    ));
    done
}

async fn lookups(options: &Options) {
    say(&format!("{VARIANTS} variants with two entries each, {} platforms, two registries", PLATFORMS.len()));
    let world = World::new(options, VARIANTS);
    run(world.step("1.2.3", VARIANTS, "registry"), "first release").await;
    world.forget();
    run(world.step("1.2.4", VARIANTS, "registry"), "next release").await;
    world.tell();
    world.forget();
    run(world.step("1.2.4", VARIANTS, "registry"), "the same again").await;
    world.tell();
    world.forget();
    run(world.step("1.2.3", VARIANTS, "registry"), "the older one again").await;
    world.tell();
}

async fn with_an_engine(options: &Options) {
    say(&format!("{VARIANTS} variants on {} platforms, built by the engine", PLATFORMS.len()));
    let world = World::new(options, VARIANTS);
    run(world.step("1.2.4", VARIANTS, "engine"), "release").await;
    world.tell();
    world.forget();
    run(world.step("1.2.4", VARIANTS, "engine"), "the same again").await;
    world.tell();
    run(world.step("1.2.4", VARIANTS, "registry"), "the same again, without an engine").await;
    world.bases.put_image(&base(7, 1).build(), "library/base7", "1");
    let replaced = world.step("1.2.4", VARIANTS, "engine").input("on-conflict", "replace");
    run(replaced, "one base of them moved, `replace`").await;
}

async fn full_repository(options: &Options) {
    const VARIANTS: usize = 30;
    say(&format!("{} tags in the repository, {VARIANTS} variants with two entries each", options.tags));
    let world = World::new(options, VARIANTS);
    run(world.step("1.2.3", VARIANTS, "registry"), "first release").await;
    let [here, there] = &world.destinations;
    for registry in [here, there] {
        let digest = registry.named("acme/tool", "v0").expect("it was just published");
        for number in 0..options.tags {
            let (version, entry) = (number / (2 * VARIANTS), number % (2 * VARIANTS) / 2);
            let entry = if number % 2 == 0 { format!("v{entry}.1") } else { format!("v{entry}") };
            registry.tag("acme/tool", &format!("0.{}.{}-{entry}", version / 100, version % 100), &digest);
        }
    }
    let written: Arc<Mutex<Vec<Instant>>> = Arc::default();
    for registry in [here, there] {
        let written = Arc::clone(&written);
        registry.on_request(move |asked, _| {
            if asked.method == "PUT" && asked.tag().is_some() {
                written.lock().expect("nobody panics with it").push(Instant::now());
            }
            Verdict::Serve
        });
    }
    run(world.step("1.2.4", VARIANTS, "registry"), "next release").await;
    let written = written.lock().expect("nobody panics with it");
    let (first, last) = (written.iter().min(), written.iter().max());
    let between = first.zip(last).map(|(first, last)| last.duration_since(*first)).unwrap_or_default();
    say(&format!("    {} tags written, {:.2} s from the first to the last", written.len(), between.as_secs_f64()));
}

#[tokio::main]
async fn main() {
    let mut options = Options::parse();
    // Each step works in a folder of its own.
    options.program = options.program.canonicalize().expect("the program is there");
    lookups(&options).await;
    full_repository(&options).await;
    if options.engine.is_some() {
        with_an_engine(&options).await;
    }
}
