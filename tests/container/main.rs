//! The action in a container, as people use it: started with the command of GitHub's runner, on the bridge network of
//! the engine whose socket it gets; and started from a workflow by [act](https://nektosact.com).

#![expect(clippy::unwrap_used, reason = "a failing setup fails its test")]

mod act;
mod engine;
mod examples;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use support::github::{Description, GitHub, Release, Setup, WRITE_TOKEN};
use support::image::{TinyImage, executable};
use support::parts;
use support::registry::{Auth, Registry};
use support::runner::{Step, payload};

use act::{Act, Checkout, said};
use engine::{ActionImage, Engine};

const ACTION: &str = include_str!("../../action.yml");
const BINARY: &str = env!("CARGO_BIN_EXE_publish-variants");
const PLATFORMS: &[&str] = &["linux/amd64", "linux/arm64"];
const PASSWORD: &str = "correct-horse-battery-staple";

/// Two registries, one of them with a password, and GitHub with a release, all on `address`.
struct World {
    open: Registry,
    closed: Registry,
    github: GitHub,
}

impl World {
    async fn start(address: &str) -> Option<Self> {
        let listen = format!("{address}:0");
        let open = Registry::start_on(&listen, Auth::None).await?;
        let closed = Registry::start_on(&listen, Auth::Htpasswd { user: "publisher", password: PASSWORD }).await?;
        let github = GitHub::serve(Setup {
            listen,
            repository: "astral-sh/uv".into(),
            releases: vec![Release::new("0.9.26")],
            token: None,
            description: Some(Description::read(&parts::github_openapi()?)),
            state: None,
            log: false,
        });
        let tool = TinyImage::tool(PLATFORMS, &["uv", "uvx"], "0.9.26").build();
        open.push(&tool, "astral-sh/uv", "0.9.26").await;
        let shell = |base: TinyImage, platform: &&str| {
            base.layer_for(platform, vec![executable("/bin/sh", support::elf::printing(platform, ""))])
        };
        let alpine = PLATFORMS.iter().fold(TinyImage::new(PLATFORMS), shell).build();
        open.push(&alpine, "library/alpine", "3.23").await;
        Some(Self { open, closed, github })
    }

    /// The inputs as a workflow gives them.
    fn inputs(&self) -> [(&'static str, String); 7] {
        let (open, closed) = (self.open.host(), self.closed.host());
        let github = self.github.url();
        [
            ("source", format!("{open}/astral-sh/uv")),
            ("binaries", "/uv /uvx".into()),
            ("images", format!("{open}/published/uv\n{closed}/published/uv")),
            ("credentials", format!("{closed} publisher {PASSWORD}")),
            ("github-token", WRITE_TOKEN.into()),
            ("matrix", format!("{open}/library/alpine:3.23,alpine3.23,alpine")),
            ("insecure-registries", format!("{open} {closed} {}", github.trim_start_matches("http://"))),
        ]
    }

    async fn assert_published(&self, digest: &str) {
        for registry in [&self.open, &self.closed] {
            for tag in ["0.9.26-alpine3.23", "0.9-alpine", "alpine"] {
                let published = registry.manifest("published/uv", tag).await.unwrap();
                assert_eq!(published.digest(), digest, "{tag}");
            }
        }
        let notes = self.github.release("0.9.26").body;
        assert!(notes.contains(&format!("docker pull {}/published/uv:0.9.26-alpine3.23", self.open.host())), "{notes}");
    }
}

fn release_event() -> Value {
    payload(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/events"), "release.published")
}

#[tokio::test]
async fn the_runners_command_publishes_from_a_container_on_the_bridge_network() {
    let Some(engine) = Engine::find() else { return parts::skip("no engine, or no docker") };
    let Some(gateway) = engine.gateway() else { return parts::skip("the engine wants TLS on its bridge") };
    let Some(world) = World::start(&gateway).await else {
        return parts::skip("no docker-registry, or no description of GitHub's API");
    };
    let image = engine.action();
    let mut step = Step::new(BINARY, ACTION)
        .variable("GITHUB_API_URL", &world.github.url())
        .variable("GITHUB_REF", "refs/tags/0.9.26")
        .variable("GITHUB_SHA", &Release::new("0.9.26").commit)
        .event("release", &release_event());
    for (name, value) in world.inputs() {
        step = step.input(name, &value);
    }
    let output = in_a_container(&step, &image).output().unwrap();
    let done = step.done(&output).succeeded();
    assert_eq!(done.outputs["status"], "published");
    assert!(done.summary.contains("alpine3.23"), "{}", done.summary);
    world.assert_published(done.json("digests")["alpine3.23"].as_str().unwrap()).await;

    // The next step has the same workspace under another path.
    let checksums = std::fs::read_to_string(step.workspace().join(&done.outputs["checksums"])).unwrap();
    assert!(checksums.lines().count() > 0, "{checksums}");
    let notes = std::fs::read_to_string(step.workspace().join(&done.outputs["notes"])).unwrap();
    assert!(notes.contains("publish-variants:begin"), "{notes}");
    let left = engine.run(&["ps", "--all", "--quiet", "--filter", &format!("label={LABEL}")]);
    assert_eq!(left, "");
}

/// On the containers of [`in_a_container`]. Workflows of other tests run the same image at the same time.
const LABEL: &str = "publish-variants.test=runner";

/// The command with which the runner runs the step as a container action. Variables are passed by name, as by the
/// runner.
fn in_a_container(step: &Step, image: &ActionImage) -> Command {
    let workspace = step.workspace();
    let folder = workspace.parent().unwrap();
    let mut environment: BTreeMap<String, String> = step
        .command()
        .get_envs()
        .filter_map(|(name, value)| Some((name.to_str()?.to_owned(), value?.to_str()?.to_owned())))
        .filter(|(name, _)| !["PATH", "TMPDIR"].contains(&name.as_str()))
        .collect();
    for (name, path) in [
        ("HOME", "/github/home"),
        ("GITHUB_WORKSPACE", "/github/workspace"),
        ("GITHUB_EVENT_PATH", "/github/workflow/event.json"),
        ("GITHUB_OUTPUT", "/github/file_commands/output"),
        ("GITHUB_ENV", "/github/file_commands/env"),
        ("GITHUB_STEP_SUMMARY", "/github/file_commands/summary.md"),
        // A folder of the machine, which doesn't exist in the container.
        ("RUNNER_TEMP", "/home/runner/work/_temp"),
    ] {
        environment.insert(name.into(), path.into());
    }
    let mount = |from: &Path, to: &str| format!("{}:{to}", from.display());
    let mounts = [
        mount(&image.engine.socket, "/var/run/docker.sock"),
        mount(&step.temporary(), "/github/home"),
        mount(folder, "/github/workflow"),
        mount(folder, "/github/file_commands"),
        mount(&workspace, "/github/workspace"),
    ];
    let mut command = image.engine.command(&["run", "--workdir", "/github/workspace", "--rm", "--label", LABEL]);
    command.args(environment.keys().flat_map(|name| ["-e", name]));
    command.args(mounts.iter().flat_map(|mount| ["-v", mount]));
    command.arg(&image.name).envs(environment);
    command
}

#[tokio::test]
async fn act_runs_the_action_from_a_workflow_and_the_next_step_gets_its_outputs() {
    let Some(engine) = Engine::find() else { return parts::skip("no engine, or no docker") };
    // The job uses the machine's own network.
    let Some(world) = World::start("127.0.0.1").await else {
        return parts::skip("no docker-registry, or no description of GitHub's API");
    };
    let Some(act) = Act::find(&engine, &world.open).await else { return };
    let workflow = workflow(&world).to_string();
    let files = [("action.yml", &*act.action()), (".github/workflows/release.yml", &workflow)];
    let checkout = Checkout::new("astral-sh/uv", &files);
    let api = format!("--env=GITHUB_API_URL={}", world.github.url());
    let log = act.run(&checkout, "release", &release_event(), &[api, "--env=GITHUB_REPOSITORY=astral-sh/uv".into()]);
    assert_eq!((said(&log, "status"), said(&log, "version")), ("published", "0.9.26"));
    world.assert_published(said(&log, "digest")).await;
    assert!(!log.contains(PASSWORD), "the password is in the log");
}

/// A workflow as JSON, which is also YAML.
fn workflow(world: &World) -> Value {
    let inputs: BTreeMap<_, _> = world.inputs().into_iter().collect();
    json!({
        "name": "release",
        "on": { "release": { "types": ["published"] } },
        "jobs": { "publish": { "runs-on": "ubuntu-latest", "steps": [
            { "uses": "actions/checkout@v5" },
            { "id": "variants", "uses": "./", "with": inputs },
            {
                "run": "echo \"status is ${{ steps.variants.outputs.status }}\"\n\
                        echo \"version is ${{ steps.variants.outputs.version }}\"\n\
                        echo \"digest is ${{ fromJSON(steps.variants.outputs.digests)['alpine3.23'] }}\"\n",
            },
        ] } },
    })
}
