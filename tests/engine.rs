//! The engine's builder on real engines: one with the classic image store, one with containerd's.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::{Duration, Instant};

use publish_variants::api::engine::{Attempt, Engine, EngineError, Logins, Ran};
use publish_variants::build::engine::{BuildError, BuiltImage, build, hold};
use publish_variants::build::recipe::{Recipe, ResolvedImage};
use publish_variants::error::{Failure, Fault, Situation as _};
use publish_variants::image::config::Changes;
use publish_variants::image::manifest::ManifestOrIndex;
use publish_variants::image::{Config, Digest, Platform, Repository};
use publish_variants::secret::Secret;
use serde_json::{Value, json};
use support::image::{Image, MediaTypes, TinyImage, executable, file};
use support::parts;
use support::registry::{Auth, Registry};
use tokio::sync::RwLock;

const AMD64: &str = "linux/amd64";
const ARM64: &str = "linux/arm64";
const BUDGET: Duration = Duration::from_secs(30);
const LIMIT: Duration = Duration::from_secs(60);

/// Tests that compare the engine's state before and after have it for themselves; the others share it.
static ENGINES: RwLock<()> = RwLock::const_new(());

/// The engines of this machine; says so where there is none.
fn engines() -> Vec<(&'static str, String)> {
    let engines = [("classic", parts::engine_classic()), ("containerd", parts::engine_containerd())];
    let engines: Vec<_> = engines.into_iter().filter_map(|(store, address)| Some((store, address?))).collect();
    if engines.is_empty() {
        parts::skip("neither PV_ENGINE_CLASSIC nor PV_ENGINE_CONTAINERD is set");
    }
    engines
}

/// A registry with the scratch image of a tool and a base with a shell.
struct World {
    registry: Registry,
    tool: Image,
    base: Image,
}

impl World {
    async fn new() -> Option<Self> {
        Self::with(Auth::None, |base| base).await
    }

    async fn with(auth: Auth<'_>, base: impl FnOnce(TinyImage) -> TinyImage) -> Option<Self> {
        let Some(registry) = Registry::start(auth).await else {
            parts::skip("no docker-registry");
            return None;
        };
        let Ok(busybox) = std::fs::read("/bin/busybox") else {
            parts::skip("no busybox-static");
            return None;
        };
        let tool = TinyImage::tool(&[AMD64, ARM64], &["tool", "toolx"], "1.2.3").build();
        let plain = TinyImage::new(&[AMD64, ARM64])
            .media_types(MediaTypes::Docker)
            .layer_for(AMD64, vec![executable("/bin/sh", busybox)])
            .layer(vec![file("/etc/os-release", "ID=tiny\n"), file("/etc/unique", registry.host())])
            .config("Env", json!(["PATH=/usr/local/bin:/bin", "LANG=C.UTF-8"]))
            .config("Cmd", json!(["/bin/sh"]));
        let base = base(plain).build();
        registry.push(&tool, "acme/tool", "1.2.3").await;
        registry.push(&base, "library/base", "1").await;
        Some(Self { registry, tool, base })
    }

    fn recipe(&self, platform: &str, changes: Changes, run: &[&str]) -> Recipe {
        Recipe {
            variant: "Base_1".into(),
            platform: platform.parse().unwrap(),
            base: self.resolved(&self.base, "library/base", platform),
            source: self.resolved(&self.tool, "acme/tool", platform),
            binaries: vec!["/tool".into(), "/toolx".into()],
            changes,
            run: run.iter().map(ToString::to_string).collect(),
            created: "2026-01-15T20:44:00Z".into(),
        }
    }

    fn resolved(&self, image: &Image, path: &str, platform: &str) -> ResolvedImage {
        let platform: Platform = platform.parse().unwrap();
        let repository: Repository = format!("{}/{path}", self.registry.host()).parse().unwrap();
        let resolved = image.manifests.iter().find_map(|document| {
            let parsed = ManifestOrIndex::parse(&document.media_type, &document.bytes).unwrap();
            let ManifestOrIndex::Manifest(manifest) = parsed else { return None };
            let config = image.blobs.iter().find(|blob| Digest::of(blob) == manifest.config.digest).unwrap();
            let config = Config::parse(config).unwrap();
            let reference = repository.pinned(Digest::of(&document.bytes));
            (config.platform() == platform).then_some(ResolvedImage { reference, manifest, config })
        });
        resolved.unwrap()
    }
}

async fn built(engine: &Engine, recipe: &Recipe) -> BuiltImage {
    match build(engine, recipe, &|_| {}).await {
        Ok(image) => image,
        Err(error) => panic!("{}", Failure::from(error)),
    }
}

fn words(command: &[&str]) -> Vec<String> {
    command.iter().map(ToString::to_string).collect()
}

async fn run(image: &BuiltImage, command: &[&str], limit: Duration) -> Ran {
    match image.image.run(&image.platform, &words(command), limit).await.unwrap() {
        Attempt::Ran(ran) => ran,
        Attempt::Skipped(reason) => panic!("skipped: {reason}"),
    }
}

async fn clean_up(engine: Engine) {
    let left = engine.clean_up(BUDGET).await;
    assert!(left.is_empty(), "{left}");
}

/// An answer of the engine's API, asked for without the code under test.
fn ask(address: &str, path: &str) -> Value {
    let mut socket = UnixStream::connect(address.strip_prefix("unix://").unwrap()).unwrap();
    write!(socket, "GET /v1.41{path} HTTP/1.0\r\nHost: engine\r\n\r\n").unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains(" 200 "), "{answer}");
    serde_json::from_str(body).unwrap()
}

/// All that an engine holds.
fn state(address: &str) -> BTreeSet<String> {
    let mut state = BTreeSet::new();
    let mut note = |kind: &str, list: &Value, fields: &[&str]| {
        for item in list.as_array().into_iter().flatten() {
            let fields: Vec<String> = fields.iter().map(|field| item[field].to_string()).collect();
            state.insert(format!("{kind} {}", fields.join(" ")));
        }
    };
    note("image", &ask(address, "/images/json?all=1"), &["Id", "RepoTags", "RepoDigests"]);
    note("container", &ask(address, "/containers/json?all=1"), &["Id", "State"]);
    note("volume", &ask(address, "/volumes")["Volumes"], &["Name"]);
    note("network", &ask(address, "/networks"), &["Id"]);
    note("cache", &ask(address, "/system/df")["BuildCache"], &["ID", "Type", "Description"]);
    state
}

#[tokio::test(flavor = "multi_thread")]
async fn explore() {
    let _alone = ENGINES.write().await;
    for (store, address) in engines() {
        let Some(world) = World::new().await else { return };
        let before = state(&address);
        let engine = Engine::connect(Some(&address)).await.unwrap();
        let mut holds = vec![];
        let mut images = vec![];
        for platform in [AMD64, ARM64] {
            let recipe = world.recipe(platform, Changes::default(), &[]);
            holds.push(hold(&engine, &recipe));
            let started = Instant::now();
            let image = built(&engine, &recipe).await;
            eprintln!("{store} {platform} {:?}", started.elapsed());
            eprintln!("{:#?}", image.executables);
            eprintln!(
                "{:?}",
                image.image.run(&image.platform, &words(&["/usr/local/bin/tool", "--version"]), LIMIT).await
            );
            eprintln!("{:#}", image.image.inspect().await.unwrap());
            images.push(image);
        }
        eprintln!("{:#?}", ask(&address, "/system/df")["BuildCache"]);
        for line in state(&address).difference(&before) {
            eprintln!("+ {line}");
        }
        drop(images);
        drop(holds);
        clean_up(engine).await;
        let after = state(&address);
        for line in after.difference(&before) {
            eprintln!("left {line}");
        }
        for line in before.difference(&after) {
            eprintln!("lost {line}");
        }
    }
}
