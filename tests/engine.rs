//! Building on real engines: one with the classic image store, and one with containerd's.

#![expect(clippy::unwrap_used, reason = "clippy takes only functions with the attribute for tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use publish_variants::api::engine::{Attempt, Engine, EngineError, Ran, Solve};
use publish_variants::build::engine::{BuildError, BuiltImage, build, hold};
use publish_variants::compose::binaries::Binaries;
use publish_variants::compose::recipe::{Recipe, ResolvedBase, ResolvedImage};
use publish_variants::credentials::Credential;
use publish_variants::error::{Failure, Fault, Hinted as _, StageError as _};
use publish_variants::image::config::Changes;
use publish_variants::image::layer::{InstalledFile, Layer};
use publish_variants::image::manifest::ManifestOrIndex;
use publish_variants::image::{Config, Digest, EnvValue, Manifest, PinnedName, Platform, Repository};
use publish_variants::secret::Secret;
use serde_json::{Value, json};
use support::image::{Image, MediaTypes, TinyImage, executable, file, symlink};
use support::parts;
use support::registry::{Auth, Registry};
use support::token_server::TokenServer;
use tokio::sync::RwLock;

const AMD64: &str = "linux/amd64";
const ARM64: &str = "linux/arm64";
const BUDGET: Duration = Duration::from_secs(30);
const LIMIT: Duration = Duration::from_secs(60);

/// Tests that compare the engine's state before and after run alone; the others run together.
static ENGINES: RwLock<()> = RwLock::const_new(());

/// The engines of this machine. Reports if there is none.
fn engines() -> Vec<(&'static str, String)> {
    let engines = [("classic", parts::engine_classic()), ("containerd", parts::engine_containerd())];
    let engines: Vec<_> = engines.into_iter().filter_map(|(store, address)| Some((store, address?))).collect();
    if engines.is_empty() {
        parts::skip("neither PV_ENGINE_CLASSIC nor PV_ENGINE_CONTAINERD is set");
    }
    engines
}

/// Runs a test on all engines at the same time, since most of it is waiting for them.
async fn on_engines<T>(test: impl AsyncFn(&'static str, String) -> T) -> Vec<T> {
    join_all(engines().into_iter().map(|(store, address)| test(store, address))).await
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
        let Some(busybox) = parts::busybox() else {
            parts::skip("PV_BUSYBOX is not set");
            return None;
        };
        let busybox = std::fs::read(busybox).unwrap();
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
            base: ResolvedBase::Image(self.resolved(&self.base, "library/base", platform)),
            source: self.resolved(&self.tool, "acme/tool", platform).into(),
            binaries: ["/tool /toolx"].into_iter().collect(),
            not_executable: BTreeSet::new(),
            interpreters: BTreeMap::new(),
            changes,
            run: run.iter().map(|run| run.parse().unwrap()).collect(),
            created: Some("2026-01-15T20:44:00Z".into()),
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

fn base(recipe: &Recipe) -> &ResolvedImage {
    recipe.base.image().unwrap()
}

fn base_mut(recipe: &mut Recipe) -> &mut ResolvedImage {
    match &mut recipe.base {
        ResolvedBase::Image(image) => image,
        ResolvedBase::Scratch(_) => panic!("the recipe is on `scratch`"),
    }
}

/// No layer of the executables, since the engine pulls the source.
fn unneeded() -> &'static Path {
    Path::new("/nowhere")
}

async fn built(engine: &Engine, recipe: &Recipe) -> BuiltImage {
    match build(engine, recipe, unneeded(), &|_| {}).await {
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

/// An answer of the engine's API, requested without the code under test.
fn ask(address: &str, path: &str) -> Value {
    loop {
        if let Some(answer) = try_asking(address, path) {
            return answer;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// `None` while the engine is busy measuring for another client.
fn try_asking(address: &str, path: &str) -> Option<Value> {
    let mut socket = UnixStream::connect(address.strip_prefix("unix://").unwrap()).unwrap();
    write!(socket, "GET /v1.41{path} HTTP/1.0\r\nHost: engine\r\n\r\n").unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    if body.contains("already running") || body.contains("No such image") || body.contains("not found") {
        return None;
    }
    assert!(head.contains(" 200 "), "{answer}");
    Some(serde_json::from_str(body).unwrap())
}

/// Everything on an engine.
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
async fn both_stores_build_the_same_and_nothing_is_left_behind() {
    let _alone = ENGINES.write().await;
    let seen = on_engines(async |store, address| {
        let world = World::new().await?;
        let before = state(&address);
        let engine = Engine::connect(Some(&address)).await.unwrap();
        let recipes = [AMD64, ARM64].map(|platform| world.recipe(platform, Changes::default(), &[]));
        let holds = recipes.each_ref().map(|recipe| hold(&engine, recipe));
        let mut executables = Vec::new();
        for recipe in &recipes {
            let started = Instant::now();
            let image = built(&engine, recipe).await;
            eprintln!("{store} {}: built in {:?}", recipe.platform, started.elapsed());
            assert_eq!(image.image.inspect().await.unwrap()["Architecture"], recipe.platform.architecture());
            executables.extend(image.executables.clone());
        }
        let contents = recipes.each_ref().map(|recipe| {
            ["tool", "toolx"]
                .map(|name| support::elf::printing(&recipe.platform.to_string(), &format!("{name} 1.2.3\n")))
        });
        for (file, content) in executables.iter().zip(contents.iter().flatten()) {
            assert_eq!((file.size, &file.digest), (content.len() as u64, &Digest::of(content)));
            assert_eq!((file.mode, file.uid, file.gid), (0o755, 0, 0));
        }
        assert_ne!(state(&address), before, "the base is still held");
        drop(holds);
        clean_up(engine).await;
        assert_eq!(state(&address), before);
        Some(executables)
    })
    .await;
    assert!(seen.windows(2).all(|pair| pair[0] == pair[1]), "{seen:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_of_a_local_source_or_of_a_command_that_is_a_list() {
    let _alone = ENGINES.write().await;
    on_engines(async |store, address| {
        let Some(world) = World::new().await else { return };
        let before = state(&address);
        let engine = Engine::connect(Some(&address)).await.unwrap();
        let mut recipe = world.recipe(AMD64, Changes::default(), &[r#"["/bin/sh", "-c", "true"]"#]);
        let digest = recipe.source.name.digest().clone();
        recipe.source.name = PinnedName::Local("oci:dist/image.tar".parse().unwrap(), digest);
        let folder = tempfile::tempdir().unwrap();
        let files = ["tool", "toolx"].map(|name| {
            let bytes = support::elf::printing(AMD64, &format!("{name} of the context\n"));
            let mut content = tempfile::NamedTempFile::new_in(folder.path()).unwrap();
            content.write_all(&bytes).unwrap();
            InstalledFile {
                path: format!("/usr/local/bin/{name}"),
                mode: 0o755,
                size: bytes.len() as u64,
                digest: Digest::of(&bytes),
                interpreter: None,
                content: Arc::new(content),
            }
        });
        let layer = Layer::write(files.into(), folder.path()).unwrap();
        let image = build(&engine, &recipe, layer.compressed.path(), &|_| {}).await.unwrap();
        for (found, expected) in image.executables.iter().zip(&layer.files) {
            assert_eq!((&found.path, &found.digest), (&expected.path, &expected.digest), "{store}");
        }
        drop(image);
        clean_up(engine).await;
        assert_eq!(state(&address), before, "{store}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_in_several_folders_get_their_names_modes_and_owner() {
    let _shared = ENGINES.read().await;
    on_engines(async |store, address| {
        let Some(mut world) = World::new().await else { return };
        let tool = support::elf::printing(AMD64, "tool\n");
        let source = TinyImage::new(&[AMD64]).layer(vec![
            executable("/store/tool", tool.clone()).mode(0o511).owner(1000),
            symlink("/tool", "store/tool"),
            file("/it's$HOME[1]*", "MIT").mode(0o400).owner(7),
        ]);
        world.tool = source.build();
        world.registry.push(&world.tool, "acme/tool", "1.2.4").await;
        let mut recipe = world.recipe(AMD64, Changes::default(), &["echo run >/run-line"]);
        let mut binaries = Binaries::default();
        binaries.add("/tool /store/tool->/opt/a/b/toolx /it's$HOME[1]*->/opt/licenses/", &mut Vec::new());
        recipe.binaries = binaries;
        recipe.not_executable = ["/opt/licenses/it's$HOME[1]*".to_owned()].into();
        let engine = Engine::connect(Some(&address)).await.unwrap();
        let image = built(&engine, &recipe).await;
        let found: Vec<_> = image
            .executables
            .iter()
            .map(|file| (file.path.as_str(), file.mode, file.uid, file.gid, file.digest.clone()))
            .collect();
        let expected = [
            ("/usr/local/bin/tool", 0o755, 0, 0, Digest::of(&tool)),
            ("/opt/a/b/toolx", 0o755, 0, 0, Digest::of(&tool)),
            ("/opt/licenses/it's$HOME[1]*", 0o644, 0, 0, Digest::of(b"MIT")),
        ];
        assert_eq!(found, expected, "{store}");
        assert_eq!(image.run_layers.len(), 1, "{store}");
        drop(image);
        clean_up(engine).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_value_survives() {
    let _shared = ENGINES.read().await;
    let values = [
        "plain",
        "with spaces  and\ttabs ",
        " leading",
        "",
        "it's",
        r#"say "hi""#,
        r"back\slash \n \\ \$ end\",
        "$HOME ${HOME:-x} $$ $(id) `id`",
        "#hash # not a comment",
        "line\nbreak\n",
        "carriage\rreturn\r\n",
        "<<EOF",
        "grüße 世界 🐳 \u{2028}",
        "a=b=c,d;e&f|g>h<i*?[x]{y}!",
        "/tmp, and \" at the end \\\"",
    ];
    let mut changes = Changes::default();
    for (place, value) in values.iter().enumerate() {
        changes.env.insert(format!("VALUE_{place}"), value.replace('$', "\\$").parse().unwrap());
        changes.labels.insert(format!("com.example.{place}"), (*value).to_owned());
    }
    changes.env.insert("LANG".into(), r#"C "x" \$y"#.parse().unwrap());
    let odd_names = ["npm_config_@acme:registry", "a.b-c", "$quoted\"'\\", "#x"];
    changes.env.extend(odd_names.map(|name| (name.to_owned(), "odd".parse().unwrap())));
    changes.labels.insert("key with \"quotes\" $and 'more'".into(), "x".repeat(70_000));
    changes.entrypoint = Some(vec!["/bin/sh".into(), "-c".into()]);
    changes.cmd = Some(values.iter().map(ToString::to_string).collect());
    changes.user = Some("1000:1000".into());
    on_engines(async |store, address| {
        let Some(world) = World::new().await else { return };
        let engine = Engine::connect(Some(&address)).await.unwrap();
        let recipe = world.recipe(AMD64, changes.clone(), &[]);
        // `build` has compared everything already; these are what a reader of this test might doubt.
        let image = built(&engine, &recipe).await;
        let config = image.image.inspect().await.unwrap()["Config"].clone();
        for (place, value) in values.iter().enumerate() {
            let env = json!(format!("VALUE_{place}={value}"));
            assert!(config["Env"].as_array().unwrap().contains(&env), "{store}: {env}");
            assert_eq!(config["Labels"][format!("com.example.{place}")], *value, "{store}");
            assert_eq!(config["Cmd"][place], *value, "{store}");
        }
        assert_eq!(config["Env"][1], "LANG=C \"x\" $y", "{store}");
        for name in odd_names {
            assert!(config["Env"].as_array().unwrap().contains(&json!(format!("{name}=odd"))), "{store}: {name}");
        }
        drop(image);
        clean_up(engine).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn variables_of_the_base_are_expanded_as_in_a_dockerfile() {
    let _shared = ENGINES.read().await;
    let base: std::collections::BTreeMap<String, String> = [("PATH", "/usr/bin:/bin"), ("ONE", "1"), ("EMPTY", "")]
        .map(|(name, value)| (name.into(), value.into()))
        .into();
    let values = [
        "/opt/bin:$PATH",
        "/opt/bin:${PATH}:/x",
        "$ONE-${ONE}x$ONE_x",
        "[$EMPTY][$UNKNOWN]",
        "${EMPTY:-a}${UNKNOWN:-b}${ONE:-c}",
        "${EMPTY:+a}${UNKNOWN:+b}${ONE:+c}",
        "${UNKNOWN:-${EMPTY:-$ONE}}",
        r"5\$ONE \${ONE} \n",
        "100 $ $. $(id) {ONE} it's",
        "$VALUE_0",
    ];
    on_engines(async |store, address| {
        let engine = Engine::connect(Some(&address)).await.unwrap();
        let stage = engine.stage();
        let assignments: Vec<String> =
            values.iter().enumerate().map(|(number, value)| format!("VALUE_{number}=\"{value}\"")).collect();
        let dockerfile = format!(
            "FROM scratch AS {stage}-base\nCOPY Dockerfile /\nENV PATH=/usr/bin:/bin ONE=1 EMPTY=\nFROM {stage}-base AS {stage}\nENV {}\n",
            assignments.join(" ")
        );
        let platform = engine.platform().clone();
        let solve = Solve { dockerfile, arguments: [].into(), platform, commands: vec![], executables: None };
        let image = engine.solve(solve, &stage, "variables").await.unwrap();
        let env = image.inspect().await.unwrap()["Config"]["Env"].clone();
        for (number, value) in values.iter().enumerate() {
            let expanded = value.parse::<EnvValue>().unwrap().expand(&base);
            let assignment = json!(format!("VALUE_{number}={expanded}"));
            assert!(env.as_array().unwrap().contains(&assignment), "{store}: {value}: {env}");
        }
        drop(image);
        clean_up(engine).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn values_of_the_base_are_kept_or_cleared_as_the_plan_says() {
    let _shared = ENGINES.read().await;
    on_engines(async |store, address| {
        let world = World::with(Auth::None, |base| {
            base.config("Entrypoint", json!(["/docker-entrypoint.sh"]))
                .config("User", json!("65532"))
                .config("WorkingDir", json!("/srv"))
                .config("Labels", json!({ "maintainer": "x", "title": "base" }))
                .config("ExposedPorts", json!({ "8080/tcp": {} }))
                .config("Volumes", json!({ "/data": {} }))
                .config("StopSignal", json!("SIGINT"))
                .config("Shell", json!(["/bin/sh", "-ec"]))
                .config("Healthcheck", json!({ "Test": ["CMD", "true"], "Interval": 30_000_000_000_u64 }))
                .config("Env", json!(["LANG=C"]))
        });
        let Some(world) = world.await else { return };
        let engine = Engine::connect(Some(&address)).await.unwrap();
        for changes in [
            Changes::default(),
            Changes { entrypoint: Some(vec![]), cmd: Some(vec!["/usr/local/bin/tool".into()]), ..Changes::default() },
            Changes { entrypoint: Some(vec!["/bin/sh".into()]), ..Changes::default() },
            Changes { cmd: Some(vec![]), workdir: Some("/".into()), ..Changes::default() },
            Changes { workdir: Some("/work dir/$x".into()), user: Some("root".into()), ..Changes::default() },
        ] {
            let recipe = world.recipe(AMD64, changes.clone(), &[]);
            let image = build(&engine, &recipe, unneeded(), &|_| {}).await;
            assert!(image.is_ok(), "{store} {changes:?}: {}", Failure::from(image.unwrap_err()));
        }
        clean_up(engine).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_config_that_differs_stops_the_build() {
    let _shared = ENGINES.read().await;
    on_engines(async |_, address| {
        let Some(world) = World::new().await else { return };
        let engine = Engine::connect(Some(&address)).await.unwrap();
        let mut wrong = world.recipe(AMD64, Changes::default(), &[]);
        let changes = Changes { user: Some("1000".into()), ..Changes::default() };
        let derived = wrong.base.config().derive(&wrong.platform, Some("2026-01-15T20:44:00Z"), &[], &changes);
        base_mut(&mut wrong).config = derived;
        let error = build(&engine, &wrong, unneeded(), &|_| {}).await.unwrap_err();
        let BuildError::Config { differences, .. } = &error else { panic!("{error}") };
        assert_eq!(differences.len(), 1);
        assert_eq!(error.fault(), Fault::Publication);
        assert!(error.to_string().contains("`User` is null in the engine and \"1000\" in ours"), "{error}");
        base_mut(&mut wrong).config = wrong.source.config.clone();
        assert!(matches!(build(&engine, &wrong, unneeded(), &|_| {}).await, Err(BuildError::Layers { .. })));
        clean_up(engine).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_layers_of_run_lines_are_exported() {
    let _shared = ENGINES.read().await;
    on_engines(async |store, address| {
        let Some(world) = World::new().await else { return };
        let engine = Engine::connect(Some(&address)).await.unwrap();
        let changes = Changes {
            env: [("GREETING".into(), "hello".parse().unwrap())].into(),
            workdir: Some("/work".into()),
            user: Some("1000".into()),
            ..Changes::default()
        };
        let run = ["echo \"$GREETING\" \\\n  \"$SOURCE_DATE_EPOCH\" >/greeting", ":", ":", "echo 2 >/second"];
        let recipe = world.recipe(AMD64, changes, &run);
        let image = built(&engine, &recipe).await;
        let made: Vec<&str> = image.run_layers.iter().map(|layer| layer.created_by.as_str()).collect();
        assert_eq!(made, run.map(|run| format!("RUN {run}")), "{store}");
        let mut files = Vec::new();
        for layer in &image.run_layers {
            let mut bytes = Vec::new();
            (&layer.layer.file).read_to_end(&mut bytes).unwrap();
            assert_eq!((Digest::of(&bytes), bytes.len() as u64), (layer.layer.diff_id.clone(), layer.layer.size));
            let mut archive = tar::Archive::new(&bytes[..]);
            for entry in archive.entries().unwrap() {
                let mut entry = entry.unwrap();
                let mut text = String::new();
                entry.read_to_string(&mut text).unwrap();
                if entry.header().entry_type().is_file() {
                    files.push((entry.path().unwrap().to_string_lossy().into_owned(), text));
                }
            }
        }
        let expected = [("greeting", "hello 1768509840\n"), ("second", "2\n")];
        let expected = expected.map(|(path, text)| (path.to_owned(), text.to_owned()));
        assert_eq!(files, expected, "{store}");
        drop(image);
        clean_up(engine).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_names_the_failing_run_line() {
    let _alone = ENGINES.write().await;
    on_engines(async |store, address| {
        let Some(world) = World::new().await else { return };
        let before = state(&address);
        let engine = Engine::connect(Some(&address)).await.unwrap();
        let recipe = world.recipe(AMD64, Changes::default(), &["echo kept >/kept", "exit 7"]);
        let error = Failure::from(build(&engine, &recipe, unneeded(), &|_| {}).await.unwrap_err());
        assert!(error.to_string().contains("exit 7") && error.to_string().contains("exit code: 7"), "{store}: {error}");
        assert_eq!(error.exit_code(), 1);
        clean_up(engine).await;
        assert_eq!(state(&address), before);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn operations_that_are_dropped_half_way_leave_nothing_behind() {
    let _alone = ENGINES.write().await;
    on_engines(async |store, address| {
        let Some(world) = World::with(Auth::None, |base| base.config("Volumes", json!({ "/data": {} }))).await else {
            return;
        };
        let mut before = state(&address);
        let mut cancelled = 0;
        for milliseconds in [0, 30, 80, 150, 300, 500, 700, 900, 1200, 1600] {
            let engine = Engine::connect(Some(&address)).await.unwrap();
            let recipe = world.recipe(AMD64, Changes::default(), &["sleep 0.3"]);
            let work = async {
                let image = built(&engine, &recipe).await;
                run(&image, &["/bin/sh", "-c", "sleep 100"], LIMIT).await
            };
            let _ = tokio::time::timeout(Duration::from_millis(milliseconds), work).await;
            let started = Instant::now();
            let left = engine.clean_up(BUDGET).await.to_string();
            eprintln!("{store}: dropped after {milliseconds} ms, cleaned up in {:?}", started.elapsed());
            let after = state(&address);
            let mut new = after.difference(&before);
            if left.is_empty() {
                assert_eq!(new.next(), None, "{store}, dropped after {milliseconds} ms");
            } else {
                // On a busy machine, a build that doesn't finish in time is cancelled, and the engine keeps what such a
                // build was using. Nothing else may stay, and the leftovers must be reported.
                assert!(left.lines().all(|line| line.starts_with("build cache `")), "{store}: {left}");
                assert!(new.all(|item| item.starts_with("cache ")), "{store}, dropped after {milliseconds} ms");
                cancelled += 1;
            }
            before = after;
        }
        assert!(cancelled <= 5, "{store}: {cancelled} of 10 dropped builds have left something");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn images_that_were_there_before_stay() {
    let _alone = ENGINES.write().await;
    on_engines(async |store, address| {
        let Some(world) = World::new().await else { return };
        let recipe = world.recipe(AMD64, Changes::default(), &["echo 1 >/one"]);
        let first = Engine::connect(Some(&address)).await.unwrap();
        let theirs = built(&first, &recipe).await;
        let holds = hold(&first, &recipe);
        // Wait for removals in progress.
        settled(&address, first.run_id()).await;
        let before = state(&address);
        let second = Engine::connect(Some(&address)).await.unwrap();
        drop(built(&second, &recipe).await);
        clean_up(second).await;
        assert_eq!(state(&address), before, "{store}");
        drop((theirs, holds));
        clean_up(first).await;
    })
    .await;
}

/// Waits until the containers of a run are gone.
async fn settled(address: &str, run: &str) {
    let filter = format!("%7B%22label%22%3A%5B%22publish-variants.run%3D{run}%22%5D%7D");
    while !ask(address, &format!("/containers/json?all=1&filters={filter}")).as_array().unwrap().is_empty() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_base_is_removed_when_nothing_waits_for_it_and_not_earlier() {
    let _shared = ENGINES.read().await;
    on_engines(async |store, address| {
        let Some(world) = World::new().await else { return };
        let engine = Engine::connect(Some(&address)).await.unwrap();
        let recipe = world.recipe(AMD64, Changes::default(), &[]);
        let is_there = || state(&address).iter().any(|item| item.contains(&base(&recipe).reference.to_string()));
        let (one, two) = (hold(&engine, &recipe), hold(&engine, &recipe));
        let image = built(&engine, &recipe).await;
        drop(one);
        drop(built(&engine, &recipe).await);
        assert!(is_there(), "{store}");
        drop(two);
        let deadline = Instant::now() + BUDGET;
        while is_there() {
            assert!(Instant::now() < deadline, "{store}: the base is still there");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let ran = run(&image, &["/bin/sh", "-c", "cat /etc/os-release"], LIMIT).await;
        assert_eq!(ran.output, "ID=tiny\n", "{store}: the image does without its base");
        // It comes back when it is needed again.
        drop(built(&engine, &recipe).await);
        drop(image);
        clean_up(engine).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pulled_base_is_not_asked_for_again() {
    let _shared = ENGINES.read().await;
    on_engines(async |store, address| {
        let Some(world) = World::new().await else { return };
        let engine = Engine::connect(Some(&address)).await.unwrap();
        for platform in [AMD64, ARM64] {
            let recipe = world.recipe(platform, Changes::default(), &[]);
            let lease = engine.lease(&base(&recipe).reference);
            let source = engine.lease(recipe.source.name.reference().unwrap());
            let pull = async |lease: &publish_variants::api::engine::ImageLease, manifest: &Manifest| {
                lease.pull(&recipe.platform, &manifest.config.digest, &|_| {}).await.unwrap();
            };
            pull(&lease, &base(&recipe).manifest).await;
            pull(&source, &recipe.source.manifest).await;
            let asked = world.registry.requests().len();
            drop(built(&engine, &recipe).await);
            let requests = world.registry.requests();
            // containerd's store checks that the registry has the digest; nothing is downloaded.
            assert!(requests[asked..].iter().all(|request| request.method == "HEAD"), "{store}: {requests:#?}");
        }
        clean_up(engine).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_base_that_another_run_has_removed_is_pulled_again() {
    let _shared = ENGINES.read().await;
    on_engines(async |_, address| {
        let Some(world) = World::new().await else { return };
        let recipe = world.recipe(AMD64, Changes::default(), &[]);
        let base = base(&recipe);
        let pulled = async |engine: &Engine| {
            let lease = engine.lease(&base.reference);
            lease.pull(&recipe.platform, &base.manifest.config.digest, &|_| {}).await.unwrap();
            lease
        };
        let first = Engine::connect(Some(&address)).await.unwrap();
        let second = Engine::connect(Some(&address)).await.unwrap();
        let of_first = pulled(&first).await;
        // It exists already, so this run believes that it belongs to somebody else.
        let of_second = pulled(&second).await;
        drop(of_first);
        clean_up(first).await;
        drop(built(&second, &recipe).await);
        drop(of_second);
        clean_up(second).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_builds_at_once_do_not_disturb_each_other() {
    let _alone = ENGINES.write().await;
    on_engines(async |store, address| {
        let Some(world) = World::new().await else { return };
        let before = state(&address);
        let engine = Engine::connect(Some(&address)).await.unwrap();
        let recipes: Vec<Recipe> = (0..16)
            .map(|number| {
                let env = [("NUMBER".to_owned(), number.to_string().parse().unwrap())].into();
                let platform = if number % 2 == 0 { AMD64 } else { ARM64 };
                let run: &[&str] = if number % 4 == 0 { &["echo $NUMBER >/number"] } else { &[] };
                world.recipe(platform, Changes { env, ..Changes::default() }, run)
            })
            .collect();
        let started = Instant::now();
        let builds = recipes.chunks(4).map(|recipes| {
            let (engine, recipes) = (engine.clone(), recipes.to_vec());
            tokio::spawn(async move {
                for recipe in &recipes {
                    let image = built(&engine, recipe).await;
                    assert_eq!(run(&image, &["/usr/local/bin/tool"], LIMIT).await.output, "tool 1.2.3\n");
                }
            })
        });
        for build in builds.collect::<Vec<_>>() {
            build.await.unwrap();
        }
        eprintln!("{store}: 16 builds, 4 at a time, in {:?}", started.elapsed());
        clean_up(engine).await;
        assert_eq!(state(&address), before, "{store}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_is_confined() {
    let _shared = ENGINES.read().await;
    on_engines(async |store, address| {
        let world = World::with(Auth::None, |base| base.config("Entrypoint", json!(["/bin/false"])));
        let Some(world) = world.await else { return };
        let engine = Engine::connect(Some(&address)).await.unwrap();
        let image = built(&engine, &world.recipe(AMD64, Changes::default(), &[])).await;
        for (script, output) in [
            ("echo err >&2", "err\n"),
            ("cat /proc/net/dev | grep -c :", "1\n"),
            ("echo x 2>/dev/null >/file || echo read-only", "read-only\n"),
            ("echo x >/tmp/file && cat /tmp/file", "x\n"),
            ("grep CapEff /proc/self/status", "CapEff:\t0000000000000000\n"),
            ("grep NoNewPrivs /proc/self/status", "NoNewPrivs:\t1\n"),
            ("echo $LANG", "C.UTF-8\n"),
        ] {
            let ran = run(&image, &["/bin/sh", "-c", script], LIMIT).await;
            assert_eq!(ran.output, output, "{store}: {script}");
            assert!(!ran.timed_out);
        }
        for (command, exit_code) in
            [(["/bin/sh", "-c", "exit 3"], 3), (["/no-such", "", ""], 127), (["/etc/os-release", "", ""], 126)]
        {
            assert_eq!(run(&image, &command, LIMIT).await.exit_code, exit_code, "{store}: {command:?}");
        }
        let flood = run(&image, &["/bin/sh", "-c", "while :; do echo 0123456789abcdef; done | head -c 300000"], LIMIT);
        assert_eq!(flood.await.output.len(), 64 * 1024, "{store}");
        drop(image);
        clean_up(engine).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_is_killed_at_its_time_limit() {
    let _shared = ENGINES.read().await;
    on_engines(async |store, address| {
        let Some(world) = World::new().await else { return };
        let engine = Engine::connect(Some(&address)).await.unwrap();
        let image = built(&engine, &world.recipe(AMD64, Changes::default(), &[])).await;
        let script = "trap '' TERM INT; echo started; while :; do sleep 1; done";
        let ran = run(&image, &["/bin/sh", "-c", script], Duration::from_secs(2)).await;
        assert_eq!(ran, Ran { exit_code: 137, started: true, output: "started\n".into(), timed_out: true }, "{store}");
        drop(image);
        clean_up(engine).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_platform_runs_or_is_skipped_with_the_reason() {
    let _shared = ENGINES.read().await;
    on_engines(async |store, address| {
        let Some(world) = World::new().await else { return };
        let engine = Engine::connect(Some(&address)).await.unwrap();
        // An executable for a platform that no machine emulates stands for a machine without emulation.
        let foreign: Platform = "linux/s390x".parse().unwrap();
        let image = built(
            &engine,
            &world.recipe(AMD64, Changes::default(), &["printf '\\177ELF\\1\\1\\1' >/alien; chmod 755 /alien"]),
        )
        .await;
        let attempt = image.image.run(&foreign, &words(&["/alien"]), LIMIT).await.unwrap();
        let Attempt::Skipped(reason) = attempt else { panic!("{store}: {attempt:?}") };
        assert!(reason.contains("`linux/s390x`"), "{reason}");
        assert_eq!(engine.cannot_run(&foreign), Some(reason));
        assert_eq!(engine.cannot_run(engine.platform()), None);
        // On the engine's own platform, the same is a failure.
        assert_ne!(run(&image, &["/alien"], LIMIT).await.exit_code, 0);
        drop(image);
        clean_up(engine).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pulls_use_the_credentials_and_report_refusals() {
    let _shared = ENGINES.read().await;
    on_engines(async |store, address| {
        let auth = Auth::Htpasswd { user: "publisher", password: "s3cret" };
        let Some(world) = World::with(auth, |base| base).await else { return };
        let engine = Engine::connect(Some(&address)).await.unwrap();
        let recipe = world.recipe(AMD64, Changes::default(), &[]);
        for credentials in [Vec::new(), login(&world, "wr0ng")] {
            let refused = engine.clone().with_credentials(&credentials);
            let error = Failure::from(build(&refused, &recipe, unneeded(), &|_| {}).await.unwrap_err()).to_string();
            assert!(error.contains("\nhint: check the line of this registry in `credentials`"), "{store}: {error}");
            assert!(!error.contains("wr0ng"));
        }
        let engine = engine.with_credentials(&login(&world, "s3cret"));
        assert!(!format!("{engine:?}").contains("s3cret"));
        drop(built(&engine, &recipe).await);
        clean_up(engine).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_base_behind_tokens_is_built_upon() {
    let _shared = ENGINES.read().await;
    on_engines(async |_, address| {
        let tokens = TokenServer::start();
        tokens.add_user("publisher", "s3cret");
        let Some(world) = World::with(Auth::Token(&tokens), |base| base).await else { return };
        let engine = Engine::connect(Some(&address)).await.unwrap().with_credentials(&login(&world, "s3cret"));
        drop(built(&engine, &world.recipe(AMD64, Changes::default(), &[])).await);
        clean_up(engine).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_takes_too_long_is_stopped() {
    let _shared = ENGINES.read().await;
    on_engines(async |store, address| {
        let Some(world) = World::new().await else { return };
        let engine = Engine::connect(Some(&address)).await.unwrap();
        let recipe = world.recipe(AMD64, Changes::default(), &["sleep 600"]);
        let work = build(&engine, &recipe, unneeded(), &|_| {});
        assert!(tokio::time::timeout(Duration::from_secs(3), work).await.is_err(), "{store}");
        let run_id = engine.run_id().to_owned();
        let started = Instant::now();
        let left = engine.clean_up(BUDGET).await;
        eprintln!("{store}: a long build given up in {:?}, left: {left}", started.elapsed());
        assert!(started.elapsed() < BUDGET);
        let images = ask(&address, "/images/json").to_string();
        assert!(!images.contains(&run_id), "{store}: {images}");
        assert!(!images.contains(&base(&recipe).reference.to_string()), "{store}: {images}");
    })
    .await;
}

fn login(world: &World, password: &str) -> Vec<Credential> {
    let password = Secret::new(password).unwrap();
    vec![Credential { registry: world.registry.host().to_owned(), username: "publisher".to_owned(), password }]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transient_failure_of_the_registry_is_retried_and_a_permanent_one_is_not() {
    use support::fault_proxy::{Fault, FaultProxy, Rule};
    let _shared = ENGINES.read().await;
    on_engines(async |store, address| {
        let Some(world) = World::new().await else { return };
        let engine = Engine::connect(Some(&address)).await.unwrap();
        let proxy = FaultProxy::start(world.registry.host());
        let mut recipe = world.recipe(AMD64, Changes::default(), &[]);
        let repository: Repository = format!("{}/library/base", proxy.host()).parse().unwrap();
        let digest = base(&recipe).reference.digest().clone();
        base_mut(&mut recipe).reference = repository.pinned(digest);
        proxy.inject(Rule::on("GET", "/manifests/", Fault::unavailable(None)).times(2));
        drop(built(&engine, &recipe).await);
        let asked = proxy.count("GET", "/manifests/");
        assert!(asked > 2, "{store}: {asked} requests");
        let missing = Digest::of(b"nobody has this");
        base_mut(&mut recipe).reference = repository.pinned(missing.clone());
        let error = Failure::from(build(&engine, &recipe, unneeded(), &|_| {}).await.unwrap_err()).to_string();
        assert!(error.contains("can't be pulled by the engine\n  cause: "), "{store}: {error}");
        let asked = proxy.requests().iter().filter(|request| request.asked.path.ends_with(missing.as_str())).count();
        assert!((1..=2).contains(&asked), "{store}: {asked} requests");
        clean_up(engine).await;
    })
    .await;
}

/// A socket on which every request is answered by `answer`. An empty status closes the connection without an answer.
fn fake_engine(answer: fn(&str) -> (&'static str, String)) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("engine.sock");
    let listener = UnixListener::bind(&path).unwrap();
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let mut socket = socket.unwrap();
            let mut head = [0; 4096];
            let length = socket.read(&mut head).unwrap_or_default();
            let (status, body) = answer(&String::from_utf8_lossy(&head[..length]));
            let length = body.len();
            if status.is_empty() {
                continue;
            }
            // The client that only checked for a listener is gone.
            let _ = write!(socket, "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
        }
    });
    let address = format!("unix://{}", path.display());
    (folder, address)
}

fn version(api: &str, os: &str) -> (&'static str, String) {
    ("200 OK", json!({ "Version": "library-import", "ApiVersion": api, "Os": os, "Arch": "amd64" }).to_string())
}

#[tokio::test]
async fn an_engine_that_cannot_be_used_is_one_clear_error() {
    type Answer = fn(&str) -> (&'static str, String);
    let fakes: [(Answer, &str); 5] = [
        (|_| version("1.24", "linux"), "is too old: it is version `library-import` with API 1.24"),
        (|_| version("1.48", "windows"), "runs `windows` containers\nhint: switch it"),
        (|_| ("200 OK", "<html>".into()), "doesn't answer as a Docker Engine does"),
        (|_| ("404 Not Found", "nothing".into()), "doesn't answer as a Docker Engine does"),
        (
            |head| match head {
                grpc if grpc.contains("/grpc") => ("404 Not Found", json!({ "message": "page not found" }).to_string()),
                _ => version("1.41", "linux"),
            },
            "has no BuildKit\nhint: use Docker Engine 20.10 or newer",
        ),
    ];
    for (answer, expected) in fakes {
        let (_folder, address) = fake_engine(answer);
        refused(&address, expected).await;
    }
    let folder = tempfile::tempdir().unwrap();
    let nobody = folder.path().join("nobody.sock");
    drop(UnixListener::bind(&nobody).unwrap());
    refused(&format!("unix://{}", nobody.display()), "has no Docker Engine\nhint: start the engine").await;
    refused(&format!("unix://{}/none", folder.path().display()), "has no Docker Engine").await;
    refused("tcp://127.0.0.1:1", "has no Docker Engine").await;
    for address in ["ssh://host", "unix://", "docker.sock", "tcp://"] {
        refused(address, "is not the address of a Docker Engine\nhint: set `DOCKER_HOST`").await;
    }
}

#[tokio::test]
async fn anonymous_records_stay_if_the_engine_did_not_list_the_build_cache_before() {
    static RUN: OnceLock<String> = OnceLock::new();
    static PRUNED: Mutex<Vec<String>> = Mutex::new(Vec::new());
    let (_folder, address) = fake_engine(|head| {
        let path = head.split(' ').nth(1).unwrap_or_default();
        let found = |answer: Value| ("200 OK", answer.to_string());
        match (path.split('?').next().unwrap_or_default().rsplit('/').next().unwrap_or_default(), RUN.get()) {
            ("version", _) => version("1.41", "linux"),
            ("grpc", _) => ("400 Bad Request", json!({ "message": "no upgrade" }).to_string()),
            ("df", None) => ("500 Internal Server Error", json!({ "message": "context canceled" }).to_string()),
            ("df", Some(run)) => found(json!({ "BuildCache": [
                { "ID": "ours", "Description": format!("[pv-{run}-0 2/2] COPY --link / /") },
                { "ID": "strangers", "Description": "" },
            ] })),
            ("prune", _) => {
                PRUNED.lock().unwrap().push(path.to_owned());
                found(json!({}))
            }
            ("json", _) => found(json!([])),
            _ => found(json!({})),
        }
    });
    let engine = Engine::connect(Some(&address)).await.unwrap();
    RUN.set(engine.run_id().to_owned()).unwrap();
    let left = engine.clean_up(Duration::from_secs(30)).await;
    assert_eq!(left.to_string(), "build cache `ours`", "it never goes");
    let pruned = PRUNED.lock().unwrap();
    assert!(!pruned.is_empty());
    assert!(pruned.iter().all(|path| path.contains("ours") && !path.contains("strangers")), "{pruned:#?}");
}

#[tokio::test]
async fn a_connection_that_breaks_while_the_engine_is_asked_for_buildkit_is_made_again() {
    static BROKEN: AtomicBool = AtomicBool::new(false);
    let (_folder, address) = fake_engine(|head| match head {
        grpc if grpc.contains("/grpc") && !BROKEN.swap(true, Ordering::Relaxed) => ("", String::new()),
        grpc if grpc.contains("/grpc") => ("400 Bad Request", json!({ "message": "no upgrade" }).to_string()),
        _ => version("1.41", "linux"),
    });
    let connected = Engine::connect(Some(&address)).await;
    assert!(connected.is_ok(), "{connected:?}");
    assert!(BROKEN.load(Ordering::Relaxed));
}

#[tokio::test]
async fn an_image_whose_layers_containerd_has_just_removed_is_used_again() {
    static LOST: AtomicBool = AtomicBool::new(false);
    let (_folder, address) = fake_engine(|head| match head {
        create if create.contains("/containers/create") && !LOST.swap(true, Ordering::Relaxed) => {
            let message = "NotFound: parent snapshot sha256:0 does not exist: not found";
            ("404 Not Found", json!({ "message": message }).to_string())
        }
        create if create.contains("/containers/create") => ("201 Created", json!({ "Id": "x" }).to_string()),
        grpc if grpc.contains("/grpc") => ("400 Bad Request", json!({ "message": "no upgrade" }).to_string()),
        _ => version("1.41", "linux"),
    });
    let engine = Engine::connect(Some(&address)).await.unwrap();
    let base = format!("registry.lan/base@{}", Digest::of(b"base")).parse().unwrap();
    let files = engine.lease(&base).files().await;
    assert!(files.is_ok() && LOST.load(Ordering::Relaxed), "{files:?}");
}

#[tokio::test]
async fn what_the_engine_refuses_to_remove_is_named_and_everything_else_is_removed() {
    const HELD: [&str; 3] = ["held-base", "held-container", "held-image"];
    const FREE: [&str; 4] = ["busy-container", "free-base", "free-container", "free-image"];
    static RUN: OnceLock<String> = OnceLock::new();
    // The names of what is there. The name `busy` stands for the engine's first refusal to remove the busy container.
    static THERE: Mutex<BTreeSet<&str>> = Mutex::new(BTreeSet::new());
    let (_folder, address) = fake_engine(|head| {
        let mut there = THERE.lock().unwrap();
        let run = RUN.get().map(String::as_str).unwrap_or_default();
        let found = |answer: Value| ("200 OK", answer.to_string());
        let no = |status, message: &str| (status, json!({ "message": message }).to_string());
        let request = head.lines().next().unwrap_or_default();
        let (method, path) = request.split_once(' ').unwrap_or_default();
        let path = path.split(['?', ' ']).next().unwrap_or_default();
        let name = HELD.into_iter().chain(FREE).find(|name| request.contains(name));
        match (method, path.strip_prefix("/v1.41").unwrap_or(path), name) {
            (_, "/version", _) => version("1.41", "linux"),
            (_, "/grpc", _) => no("400 Bad Request", "no upgrade"),
            (_, "/images/create", Some(name)) => {
                there.insert(name);
                found(json!({}))
            }
            (_, "/containers/json", _) => {
                let ids = there.iter().filter(|name| name.ends_with("-container"));
                found(ids.map(|name| json!({ "Id": name })).collect())
            }
            (_, "/images/json", _) => {
                let names = there.iter().filter(|name| name.ends_with("-image"));
                let tags: Value = names.map(|name| format!("publish-variants.local/{run}/{name}:1")).collect();
                found(json!([{ "RepoTags": tags }]))
            }
            (_, "/system/df", _) => {
                // The sweep removes this record, and only at its end.
                let record = json!({ "ID": "cache", "Description": format!("[pv-{run}-0 2/2] COPY --link / /") });
                let records: Value = there.get("cache").map(|_| record).into_iter().collect();
                found(json!({ "BuildCache": records }))
            }
            (_, "/build/prune", _) => {
                there.remove("cache");
                found(json!({}))
            }
            ("DELETE", _, Some(name)) if name.starts_with("held-") => no("409 Conflict", "somebody uses it"),
            ("DELETE", _, Some("busy-container")) if there.remove("busy") => no("409 Conflict", "somebody uses it"),
            ("DELETE", _, Some(name)) => {
                there.remove(name);
                found(json!({}))
            }
            ("GET", _, Some(name)) if there.contains(name) => found(json!({ "RepoDigests": [name] })),
            (_, "/info", _) => found(json!({})),
            _ => no("404 Not Found", "no such thing"),
        }
    });
    let engine = Engine::connect(Some(&address)).await.unwrap();
    RUN.set(engine.run_id().to_owned()).unwrap();
    let platform: Platform = AMD64.parse().unwrap();
    let leases = ["held-base", "free-base"].map(|name| {
        let repository: Repository = format!("registry.example/library/{name}").parse().unwrap();
        engine.lease(&repository.pinned(Digest::of(b"manifest")))
    });
    for lease in &leases {
        lease.pull(&platform, &Digest::of(b"config"), &|_| {}).await.unwrap();
    }
    assert_eq!(*THERE.lock().unwrap(), BTreeSet::from(["free-base", "held-base"]));
    THERE.lock().unwrap().extend(HELD.into_iter().chain(FREE).chain(["busy", "cache"]));
    drop(leases);
    let left = engine.clean_up(BUDGET).await.to_string();
    assert_eq!(*THERE.lock().unwrap(), BTreeSet::from(HELD), "{left}");
    assert_eq!(left.lines().count(), HELD.len(), "{left}");
    for name in HELD {
        let is_named = |line: &str| line.contains(name) && line.ends_with(": somebody uses it");
        assert!(left.lines().any(is_named), "{name}: {left}");
    }
}

async fn refused(address: &str, expected: &str) {
    let error: EngineError = Engine::connect(Some(address)).await.unwrap_err();
    assert_eq!(error.fault(), Fault::Input);
    let said = error.with_hints();
    assert!(said.contains(expected) && said.contains(&format!("`{address}`")), "{address}: {said}");
}
