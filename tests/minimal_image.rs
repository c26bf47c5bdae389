//! The Dockerfile of `docs/minimal-image.md`: built by a real engine from a variant of the real uv, and run.

#![expect(clippy::unwrap_used, reason = "a failing setup fails its test")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::parts;
use support::process::output;
use support::registry::{Auth, Registry};
use support::runner::Step;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const ACTION: &str = include_str!("../action.yml");
const PAGE: &str = include_str!("../docs/minimal-image.md");
/// Bases, each with its layout. The slim image also stands for the one with development tools, since the project of the
/// test has nothing to compile.
const BASES: [(&str, &str, &str); 4] = [
    ("library/python", "3.13-trixie", "python-3.13-slim-trixie"),
    ("library/python", "3.13-slim-trixie", "python-3.13-slim-trixie"),
    ("library/python", "3.11-slim-bookworm", "python-3.11-slim-bookworm"),
    ("library/debian", "trixie-slim", "debian-trixie-slim"),
];

/// The page's code block in this language.
fn block(language: &str) -> &'static str {
    let (_, rest) = PAGE.split_once(&format!("```{language}\n")).unwrap();
    rest.split_once("```").unwrap().0
}

/// The default of an `ARG` of the Dockerfile.
fn argument(name: &str) -> &'static str {
    block("dockerfile").lines().find_map(|line| line.strip_prefix(&format!("ARG {name}="))).unwrap()
}

struct World {
    registry: Registry,
    engine: String,
    docker: PathBuf,
    /// Contains the project and the Dockerfile of the page.
    folder: tempfile::TempDir,
}

impl World {
    /// Publishes the variant that the Dockerfile names. `None` if a part is missing, which is reported.
    async fn start() -> Option<Self> {
        let registry = Registry::start(Auth::None).await;
        let (Some(registry), Some(engine), Some(layouts), Some(tools)) =
            (registry, parts::engine(), parts::oci_layouts(), parts::tools())
        else {
            parts::skip("no engine, registry, bases, or Docker's command line");
            return None;
        };
        registry.seed(&layouts.join("uv-0.9.26"), "astral-sh/uv", "0.9.26").await;
        for (repository, tag, layout) in BASES {
            registry.seed(&layouts.join(layout), repository, tag).await;
        }
        let host = registry.host();
        Step::new(env!("CARGO_BIN_EXE_publish-variants"), ACTION)
            .variable("GITHUB_REPOSITORY", "")
            .input("version", "0.9.26")
            .input("builder", "registry")
            .input("binaries", "/uv /uvx")
            .input("images", &format!("{host}/astral-sh/uv"))
            .input("matrix", &format!("{host}/library/python:3.13-trixie,python3.13-trixie"))
            .run()
            .await
            .succeeded();
        let folder = tempfile::tempdir().unwrap();
        output(Command::new("cp").arg("-r").arg(fixture("project")).arg(fixture("greeting")).arg(folder.path()));
        fs::write(folder.path().join("project/Dockerfile"), block("dockerfile")).unwrap();
        Some(Self { registry, engine, docker: tools.join("docker"), folder })
    }

    fn docker(&self) -> Command {
        let mut command = Command::new(&self.docker);
        // Without the logins of the person who runs the test.
        command.env("DOCKER_CONFIG", env!("CARGO_TARGET_TMPDIR")).env("DOCKER_BUILDKIT", "1");
        command.args(["--host", &self.engine]);
        command
    }

    /// A name for an image in the engine that no other test uses.
    fn name(&self, name: &str) -> String {
        format!("{name}-{}", self.registry.host().replace([':', '.'], "-"))
    }

    /// Makes an image of the variant with a folder of wheels in place of PyPI, which tests don't use, and the project's
    /// lock file. Returns the image's name.
    fn builder(&self) -> String {
        let variant = argument("BUILDER").replace("ghcr.io", self.registry.host());
        let (folder, name) = (self.folder.path(), self.name("builder"));
        let uv = |arguments: &str| {
            let mounted = format!("{}:/mounted", folder.display());
            let run = ["run", "--rm", "--network", "none", "--volume", &mounted, "--workdir", "/mounted", &variant];
            output(self.docker().args(run).args(arguments.split(' ')));
        };
        uv("uv build --offline --wheel --out-dir wheels greeting");
        let recipe = format!("FROM {variant}\nCOPY wheels /wheels\nENV UV_OFFLINE=1 UV_FIND_LINKS=/wheels\n");
        fs::write(folder.join("Dockerfile"), recipe).unwrap();
        output(self.docker().args(["build", "--quiet", "--network", "none", "--tag", &name]).arg(folder));
        let project = format!("{}:/src", folder.join("project").display());
        output(
            self.docker()
                .args(["run", "--rm", "--network", "none", "--volume", &project, "--workdir", "/src", &name])
                .args(["uv", "lock"]),
        );
        name
    }

    /// Builds and runs the image with the commands of the page, on another runner. Returns whether it succeeded, and what
    /// it printed.
    fn built_and_run(&self, builder: &str, runner: &str) -> (bool, String) {
        let name = self.name("hello");
        let mut printed = (false, String::new());
        for line in block("sh").lines() {
            let words: Vec<&str> = line.strip_prefix("docker ").unwrap().split(' ').collect();
            let (command, arguments) = words.split_first().unwrap();
            let arguments = arguments.iter().map(|word| if *word == "hello" { &name } else { *word });
            let mut docker = self.docker();
            docker.current_dir(self.folder.path().join("project")).arg(command).args(["--network", "none"]);
            if *command == "build" {
                docker.args(["--build-arg", &format!("BUILDER={builder}")]);
                docker.args(["--build-arg", &format!("RUNNER={}/library/{runner}", self.registry.host())]);
                output(docker.args(arguments));
            } else {
                let done = docker.args(arguments).output().unwrap();
                let text = [done.stdout, done.stderr].concat();
                printed = (done.status.success(), String::from_utf8(text).unwrap());
            }
        }
        printed
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let variant = argument("BUILDER").replace("ghcr.io", self.registry.host());
        for name in [self.name("hello"), self.name("builder"), variant] {
            // A failed test may not have made all of these images.
            let _ = self.docker().args(["image", "rm", "--force", &name]).output();
        }
    }
}

fn fixture(name: &str) -> PathBuf {
    Path::new(ROOT).join("tests/fixtures/minimal-image").join(name)
}

/// The rows of the page's table whose example is an image of this test: the promised message, and the runner.
fn mismatches() -> Vec<(&'static str, &'static str)> {
    let rows = PAGE.lines().filter(|line| line.starts_with("| ")).map(|line| line.split(" | ").collect::<Vec<_>>());
    let quoted = |cell: &'static str| cell.split('`').nth(1);
    let rows = rows.filter_map(|cells| Some((quoted(cells.get(1)?)?, quoted(cells.get(2)?)?)));
    let there =
        |runner: &str| BASES.iter().any(|(name, tag, _)| format!("library/{runner}") == format!("{name}:{tag}"));
    rows.filter(|(_, runner)| there(runner)).collect()
}

#[tokio::test]
async fn the_dockerfile_that_is_shown_gives_a_small_image_that_runs_and_a_mismatch_fails_as_the_page_says() {
    let Some(world) = World::start().await else { return };
    let builder = world.builder();
    let (succeeded, printed) = world.built_and_run(&builder, argument("RUNNER"));
    assert!(succeeded, "{printed}");
    assert!(printed.starts_with("Hello, world from Python 3.13 of /app/bin/python"), "{printed}");
    // The image has nothing of the builder but the environment.
    let name = world.name("hello");
    let look = ["run", "--rm", "--network", "none", "--entrypoint", "sh", &name, "-c", "id -u; ls /src; command -v uv"];
    let looked = world.docker().args(look).output().unwrap();
    assert_eq!(String::from_utf8(looked.stdout).unwrap(), "1000\n");

    let mismatches = mismatches();
    assert_eq!(mismatches.len(), 2, "{mismatches:?}");
    for (message, runner) in mismatches {
        let (succeeded, printed) = world.built_and_run(&builder, runner);
        assert!(!succeeded && printed.contains(message), "{runner}: {message}\n{printed}");
    }
}
