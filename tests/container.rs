//! The action in a container, as people use it: started by the command of GitHub's runner, on the bridge network of the
//! engine whose socket it gets; and from a workflow by [act](https://nektosact.com).

#![expect(clippy::unwrap_used, reason = "a test fails by it")]

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use support::github::{Description, GitHub, Release, Setup, WRITE_TOKEN};
use support::image::{TinyImage, executable};
use support::parts;
use support::registry::{Auth, Registry};
use support::runner::{Step, payload};

const ACTION: &str = include_str!("../action.yml");
const BINARY: &str = env!("CARGO_BIN_EXE_publish-variants");
const PLATFORMS: &[&str] = &["linux/amd64", "linux/arm64"];
const PASSWORD: &str = "correct-horse-battery-staple";

/// An engine, through its command line.
struct Engine {
    docker: PathBuf,
    socket: PathBuf,
}

impl Engine {
    /// `None` if there is no engine with a Unix socket, or no command line.
    fn find() -> Option<Self> {
        let socket = PathBuf::from(parts::engine_classic()?.strip_prefix("unix://")?);
        let docker = parts::tools()?.join("docker");
        docker.is_file().then_some(Self { docker, socket })
    }

    fn host(&self) -> String {
        format!("unix://{}", self.socket.display())
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.docker);
        command.env("DOCKER_CONFIG", env!("CARGO_TARGET_TMPDIR")).args(["--host", &self.host()]).args(arguments);
        command
    }

    #[track_caller]
    fn run(&self, arguments: &[&str]) -> String {
        succeeded(&self.command(arguments).output().unwrap(), &format!("docker {arguments:?}"))
    }

    /// The address of the machine on the bridge; `None` if the engine requires TLS from registries there.
    fn gateway(&self) -> Option<String> {
        let gateway = self.run(&["network", "inspect", "bridge", "--format", "{{(index .IPAM.Config 0).Gateway}}"]);
        let trusted = self.run(&["info", "--format", "{{json .RegistryConfig.InsecureRegistryCIDRs}}"]);
        let trusted: Vec<String> = serde_json::from_str(&trusted).unwrap();
        let start = |address: &str| address.split('.').take(2).map(str::to_owned).collect::<Vec<_>>();
        let trusts = trusted.iter().any(|network| start(network) == start(&gateway));
        trusts.then(|| gateway.trim().to_owned())
    }

    /// An image with only our binary, like the last stage of the `Dockerfile`; if the binary isn't static, with its
    /// libraries. `PV_STATIC_BINARY` may name a static one. The image is removed when the value is dropped.
    fn action(&self, name: &str) -> ActionImage<'_> {
        let binary = std::env::var("PV_STATIC_BINARY").unwrap_or_else(|_| BINARY.to_owned());
        let libraries = Command::new("ldd").arg(&binary).output().unwrap().stdout;
        let libraries = String::from_utf8(libraries).unwrap();
        let libraries = libraries.split_whitespace().filter(|word| word.starts_with('/')).map(str::to_owned);
        let mut files: BTreeMap<String, String> = libraries.map(|path| (path.clone(), path)).collect();
        files.insert("/publish-variants".into(), binary);
        files.insert("/etc/ssl/certs/ca-certificates.crt".into(), "/etc/ssl/certs/ca-certificates.crt".into());
        let import = ["import", "--change", "ENTRYPOINT [\"/publish-variants\"]", "-", name];
        let mut import = self.command(&import).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut archive = tar::Builder::new(import.stdin.take().unwrap());
        // Engines don't support holes in files.
        archive.sparse(false);
        for (path, file) in files.iter().filter(|(_, file)| Path::new(file).is_file()) {
            archive.append_path_with_name(file, path.trim_start_matches('/')).unwrap();
        }
        let mut temporary = tar::Header::new_gnu();
        temporary.set_entry_type(tar::EntryType::Directory);
        temporary.set_mode(0o1777);
        temporary.set_size(0);
        archive.append_data(&mut temporary, "tmp/", std::io::empty()).unwrap();
        archive.into_inner().unwrap().flush().unwrap();
        succeeded(&import.wait_with_output().unwrap(), "docker import");
        ActionImage { engine: self, name: name.to_owned() }
    }
}

struct ActionImage<'a> {
    engine: &'a Engine,
    name: String,
}

impl Drop for ActionImage<'_> {
    fn drop(&mut self) {
        // Leftovers of a failed test aren't another failure.
        let _ = self.engine.command(&["image", "rm", "--force", &self.name]).output();
    }
}

#[track_caller]
fn succeeded(output: &Output, what: &str) -> String {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{what}: {}\n{out}{err}", output.status);
    out.into_owned()
}

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
    let image = engine.action("publish-variants-action:runner");
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
    let left = engine.run(&["ps", "--all", "--quiet", "--filter", &format!("ancestor={}", image.name)]);
    assert_eq!(left, "");
}

/// The command with which the runner runs the step as a container action. Variables are passed by name, as by the
/// runner.
fn in_a_container(step: &Step, image: &ActionImage<'_>) -> Command {
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
    let mut command = image.engine.command(&["run", "--workdir", "/github/workspace", "--rm"]);
    command.args(environment.keys().flat_map(|name| ["-e", name]));
    command.args(mounts.iter().flat_map(|mount| ["-v", mount]));
    command.arg(&image.name).envs(environment);
    command
}

#[tokio::test]
async fn act_runs_the_action_from_a_workflow_and_the_next_step_gets_its_outputs() {
    let Some(engine) = Engine::find() else { return parts::skip("no engine, or no docker") };
    let act = parts::tools().map(|tools| tools.join("act")).filter(|act| act.is_file());
    let (Some(act), Some(layouts)) = (act, parts::oci_layouts()) else { return parts::skip("no act, or no bases") };
    // The job uses the machine's own network.
    let Some(world) = World::start("127.0.0.1").await else {
        return parts::skip("no docker-registry, or no description of GitHub's API");
    };
    let image = engine.action("publish-variants-action:act");
    world.open.seed(&layouts.join("debian-bookworm-slim"), "library/debian", "bookworm-slim").await;
    let runner = format!("{}/library/debian:bookworm-slim", world.open.host());
    engine.run(&["pull", "--quiet", &runner]);

    let checkout = tempfile::tempdir().unwrap();
    let folder = checkout.path();
    let (before, _) = ACTION.split_once("\nruns:\n").unwrap();
    let action = format!("{before}\nruns:\n  using: docker\n  image: docker://{}\n", image.name);
    std::fs::write(folder.join("action.yml"), action).unwrap();
    std::fs::write(folder.join("event.json"), release_event().to_string()).unwrap();
    std::fs::create_dir_all(folder.join(".github/workflows")).unwrap();
    std::fs::write(folder.join(".github/workflows/release.yml"), workflow(&world).to_string()).unwrap();
    for arguments in [
        &["init", "--quiet"][..],
        &["remote", "add", "origin", "https://github.com/astral-sh/uv"],
        &["add", "."],
        &["-c", "user.name=A", "-c", "user.email=a@example.org", "commit", "--quiet", "-m", "A"],
    ] {
        succeeded(&Command::new("git").args(arguments).current_dir(folder).output().unwrap(), "git");
    }
    let home = tempfile::tempdir().unwrap();
    let api = format!("GITHUB_API_URL={}", world.github.url());
    let output = Command::new("timeout")
        .arg("120")
        .arg(act)
        .args(["release", "-e", "event.json", "-P", &format!("ubuntu-latest={runner}"), "--pull=false", "--rm"])
        .args(["--env", &api, "--env", "GITHUB_REPOSITORY=astral-sh/uv"])
        .current_dir(folder)
        .env("DOCKER_HOST", engine.host())
        .env("HOME", home.path())
        .env_remove("XDG_CACHE_HOME")
        .output()
        .unwrap();
    let _ = engine.command(&["image", "rm", "--force", &runner]).output();
    let log = succeeded(&output, "act");
    // act prefixes the output of a step.
    let said = |name: &str| {
        let line = log.lines().find_map(|line| line.split_once(&format!("| {name} is ")));
        line.unwrap_or_else(|| panic!("no {name}:\n{log}")).1.trim().to_owned()
    };
    assert_eq!((said("status"), said("version")), ("published".into(), "0.9.26".into()));
    world.assert_published(&said("digest")).await;
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
