//! [act](https://nektosact.com), which runs workflows in containers of an engine.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use serde_json::Value;
use support::parts;
use support::registry::Registry;
use tempfile::TempDir;

use super::ACTION;
use super::engine::{ActionImage, Engine, succeeded};

/// act, with the image that jobs run in and the image of the action.
pub(crate) struct Act {
    program: PathBuf,
    engine: Engine,
    runner: String,
    action: Arc<ActionImage>,
}

impl Act {
    /// act on an engine. The image that jobs run in is pushed to `registry`. `None` if a part is missing, which is
    /// reported.
    pub(crate) async fn find(engine: &Engine, registry: &Registry) -> Option<Self> {
        let program = parts::tools().map(|tools| tools.join("act")).filter(|act| act.is_file());
        let (Some(program), Some(layouts)) = (program, parts::oci_layouts()) else {
            parts::skip("no act, or no bases");
            return None;
        };
        registry.seed(&layouts.join("debian-bookworm-slim"), "runner/debian", "bookworm-slim").await;
        let runner = format!("{}/runner/debian:bookworm-slim", registry.host());
        engine.run(&["pull", "--quiet", &runner]);
        Some(Self { program, engine: engine.clone(), runner, action: engine.action() })
    }

    /// Our `action.yml`, with the image of our binary.
    pub(crate) fn action(&self) -> String {
        let (before, _) = ACTION.split_once("\nruns:\n").unwrap();
        format!("{before}\nruns:\n  using: docker\n  image: docker://{}\n", self.action.name)
    }

    /// Runs the workflow that `event` starts in `checkout`, and returns the log.
    #[track_caller]
    pub(crate) fn run(&self, checkout: &Checkout, event: &str, payload: &Value, arguments: &[String]) -> String {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("event.json");
        std::fs::write(&file, payload.to_string()).unwrap();
        let output = Command::new("timeout")
            .arg("300")
            .arg(&self.program)
            .args([event, "--pull=false", "--rm", "-e"])
            .arg(&file)
            .args(["ubuntu-latest", "ubuntu-24.04"].map(|label| format!("--platform={label}={}", self.runner)))
            .args(arguments)
            .current_dir(checkout.folder.path())
            .env("DOCKER_HOST", self.engine.host())
            .env("HOME", home.path())
            .env_remove("XDG_CACHE_HOME")
            .output()
            .unwrap();
        succeeded(&output, "act")
    }
}

impl Drop for Act {
    fn drop(&mut self) {
        let _ = self.engine.command(&["image", "rm", "--force", &self.runner]).output();
    }
}

/// A repository of GitHub on this machine.
pub(crate) struct Checkout {
    folder: TempDir,
}

impl Checkout {
    /// A checkout of `repository` with these files.
    pub(crate) fn new(repository: &str, files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        let checkout = Self { folder };
        let origin = format!("https://github.com/{repository}");
        checkout.git(&["init", "--quiet"]);
        checkout.git(&["remote", "add", "origin", &origin]);
        checkout.git(&["add", "."]);
        checkout.git(&["-c", "user.name=A", "-c", "user.email=a@example.org", "commit", "--quiet", "-m", "A"]);
        checkout
    }

    pub(crate) fn commit(&self) -> String {
        self.git(&["rev-parse", "HEAD"]).trim().to_owned()
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        Path::join(self.folder.path(), path)
    }

    #[track_caller]
    fn git(&self, arguments: &[&str]) -> String {
        succeeded(&Command::new("git").args(arguments).current_dir(self.folder.path()).output().unwrap(), "git")
    }
}

/// The value in a step's output line `NAME is VALUE`. act's log has `| ` before each line that a step prints.
pub(crate) fn said<'a>(log: &'a str, name: &str) -> &'a str {
    let line = log.lines().find_map(|line| line.split_once(&format!("| {name} is ")));
    line.unwrap_or_else(|| panic!("no {name}:\n{log}")).1.trim()
}
