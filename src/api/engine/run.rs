//! Runs a command in an image: without network or capabilities, with only `/tmp` writable, and with a time limit.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use serde_json::{Value, json};

use super::containers::{Container, unframe};
use super::http::PATIENCE;
use super::{Engine, EngineError, ImageLease, LocalImage, Shared, until_answered};
use crate::image::Platform;

/// How many bytes of the output are kept: half of them from its beginning, and half from its end.
const OUTPUT: usize = 64 * 1024;
/// How many bytes of a log are read. The log driver keeps 4 MB.
const LOG: usize = 16 << 20;
const MEMORY: u64 = 2 << 30;
const PROCESSES: u32 = 256;
/// A shell's exit code for a command that doesn't exist.
const NOT_FOUND: i64 = 127;
/// A shell's exit code for a command that can't be executed.
const NOT_EXECUTABLE: i64 = 126;
/// The kernel's error for an executable for another platform that nothing emulates.
const FOREIGN: &str = "exec format error";

/// The result of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ran {
    /// The exit code; 127 if the image has no such command, 126 if it can't be executed.
    pub exit_code: i64,
    /// Whether it was started. Otherwise the output is the engine's message.
    pub started: bool,
    /// Standard output and standard error, interleaved; of more than 64 KiB, the first and the last 32 KiB.
    pub output: String,
    /// Whether it was killed because it exceeded its time limit.
    pub timed_out: bool,
}

/// The result of trying to run a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// It was run.
    Ran(Ran),
    /// The engine can't run this platform, for the given reason.
    Skipped(String),
}

/// What commands have shown about platforms other than the engine's own.
#[derive(Debug, Default)]
pub(super) struct Emulation(Mutex<BTreeMap<Platform, Emulated>>);

/// Whether the engine's machine emulates a platform.
#[derive(Debug)]
enum Emulated {
    /// It does: a command has succeeded.
    Yes,
    /// It doesn't, for this reason.
    No(String),
}

impl Emulation {
    /// Judges the result of a command for `platform`, and learns from it. `own` is the platform of the engine's machine.
    ///
    /// If a command has succeeded for a platform, its failures are those of the commands, whatever they print.
    fn judge(&self, ran: Ran, platform: &Platform, own: &Platform) -> Attempt {
        if platform == own {
            return Attempt::Ran(ran);
        }
        let mut known = self.known();
        if ran.exit_code == 0 {
            known.insert(platform.clone(), Emulated::Yes);
        }
        if matches!(known.get(platform), Some(Emulated::Yes)) || !ran.output.to_ascii_lowercase().contains(FOREIGN) {
            return Attempt::Ran(ran);
        }
        let reason = format!("this machine ({own}) does not emulate `{platform}`; docker/setup-qemu-action adds that");
        known.insert(platform.clone(), Emulated::No(reason.clone()));
        Attempt::Skipped(reason)
    }

    /// Why images for `platform` don't run, if that is known.
    fn missing(&self, platform: &Platform) -> Option<String> {
        match self.known().get(platform)? {
            Emulated::Yes => None,
            Emulated::No(reason) => Some(reason.clone()),
        }
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<Platform, Emulated>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Engine {
    /// Why images for `platform` don't run here, if an attempt has shown it. The engine's own platform always runs.
    #[must_use]
    pub fn cannot_run(&self, platform: &Platform) -> Option<String> {
        self.shared.emulation.missing(platform)
    }
}

impl ImageLease {
    /// Runs `command` in this pulled image, like [`LocalImage::run`].
    ///
    /// # Errors
    /// The engine doesn't answer. A failing command isn't an error.
    pub async fn run(&self, platform: &Platform, command: &[String], limit: Duration) -> Result<Attempt, EngineError> {
        self.engine().run_in(&self.reference().to_string(), platform, command, limit).await
    }
}

impl LocalImage {
    /// Runs `command` (an executable and its arguments) in this image, which is for `platform`, for at most `limit`.
    ///
    /// The container has no network, a read-only root, `/tmp` in memory, no capabilities, and no volumes that outlive
    /// it.
    ///
    /// # Errors
    /// The engine doesn't answer. A failing command isn't an error.
    pub async fn run(&self, platform: &Platform, command: &[String], limit: Duration) -> Result<Attempt, EngineError> {
        self.engine().run_in(self.name(), platform, command, limit).await
    }
}

impl Engine {
    async fn run_in(
        &self,
        image: &str,
        platform: &Platform,
        command: &[String],
        limit: Duration,
    ) -> Result<Attempt, EngineError> {
        if let Some(reason) = self.cannot_run(platform) {
            return Ok(Attempt::Skipped(reason));
        }
        let ran = until_answered(|| self.run_once(image, command, limit)).await?;
        Ok(self.shared.emulation.judge(ran, platform, self.platform()))
    }

    async fn run_once(&self, image: &str, command: &[String], limit: Duration) -> Result<Ran, EngineError> {
        let container = Container::create(self, image, confined(&self.shared, command)).await?;
        self.shared.start_and_wait(&container, limit).await
    }
}

fn confined(shared: &Shared, command: &[String]) -> Value {
    let (executable, arguments) = command.split_first().map_or(("", &[][..]), |(first, rest)| (first.as_str(), rest));
    let mut host = json!({
        "NetworkMode": "none",
        "ReadonlyRootfs": true,
        "CapDrop": ["ALL"],
        "SecurityOpt": ["no-new-privileges"],
        "Tmpfs": { "/tmp": "rw,nosuid,nodev,exec,size=256m,mode=1777" },
        // This log driver can be read, whatever the engine's default is.
        "LogConfig": { "Type": "json-file", "Config": { "max-size": "4m", "max-file": "1" } },
    });
    if shared.can_limit.memory {
        host["Memory"] = MEMORY.into();
    }
    if shared.can_limit.pids {
        host["PidsLimit"] = PROCESSES.into();
    }
    json!({ "Entrypoint": [executable], "Cmd": arguments, "NetworkDisabled": true, "HostConfig": host })
}

impl Shared {
    async fn start_and_wait(&self, container: &Container, limit: Duration) -> Result<Ran, EngineError> {
        let path = |verb: &str| format!("/containers/{}/{verb}", container.name);
        let started = self.http.post(path("start"), "start a container").json().await;
        if let Err(EngineError::Request { what, cause }) = started {
            let Some(exit_code) = refused_to_start(cause.message()) else {
                return Err(EngineError::Request { what, cause });
            };
            return Ok(Ran { exit_code, started: false, output: cause.message().to_owned(), timed_out: false });
        }
        started?;
        let wait = async {
            // Not a usual request: the answer takes as long as the command.
            let mut body = self.http.post(path("wait"), "wait for a container").unlimited_stream().await?;
            let mut answer = Vec::new();
            while let Some(chunk) = body.next().await {
                let failed = |cause| EngineError::Request { what: "wait for a container".to_owned(), cause };
                answer.extend_from_slice(&chunk.map_err(failed)?);
            }
            let answer: Value = serde_json::from_slice(&answer).unwrap_or_default();
            Ok::<i64, EngineError>(answer["StatusCode"].as_i64().unwrap_or(-1))
        };
        let (exit_code, timed_out) = match tokio::time::timeout(limit, wait).await {
            Ok(exit_code) => (exit_code?, false),
            Err(_) => {
                match self.http.post(path("kill"), "kill a container").json().await {
                    // It ended by itself just now.
                    Err(error) if error.status() == Some(409) => {}
                    other => drop(other?),
                }
                (137, true)
            }
        };
        let output = String::from_utf8_lossy(&self.log(container).await?).into_owned();
        Ok(Ran { exit_code, started: true, output, timed_out })
    }

    async fn log(&self, container: &Container) -> Result<Vec<u8>, EngineError> {
        let what = "read a container's output";
        let failed = |cause| EngineError::Request { what: what.to_owned(), cause };
        let request = self.http.get(format!("/containers/{}/logs", container.name), what);
        let mut body = request.query("stdout", "1").query("stderr", "1").stream(PATIENCE).await?;
        let mut log = Vec::new();
        while let Some(chunk) = body.next().await {
            log.extend_from_slice(&chunk.map_err(failed)?);
            if log.len() > LOG {
                break;
            }
        }
        let mut text = unframe(&log).map_err(failed)?;
        if text.len() > OUTPUT {
            text.drain(OUTPUT / 2..text.len() - OUTPUT / 2);
        }
        Ok(text)
    }
}

/// The exit code that a shell would give; `None` if the engine failed and not the command.
fn refused_to_start(message: &str) -> Option<i64> {
    let message = message.to_ascii_lowercase();
    let says = |texts: &[&str]| texts.iter().any(|text| message.contains(text));
    if says(&["executable file not found", "no such file or directory"]) {
        Some(NOT_FOUND)
    } else if says(&["permission denied", FOREIGN, "is a directory"]) {
        Some(NOT_EXECUTABLE)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BROKEN: &str = "exec /usr/local/bin/tool: exec format error";

    fn ran(exit_code: i64, output: &str) -> Ran {
        Ran { exit_code, started: true, output: output.to_owned(), timed_out: false }
    }

    #[test]
    fn a_platform_is_not_emulated_if_the_kernel_says_so_before_anything_has_succeeded() {
        let (own, foreign): (Platform, Platform) = ("linux/amd64".parse().unwrap(), "linux/arm64".parse().unwrap());
        let emulation = Emulation::default();
        for failure in [ran(1, "no such option"), ran(127, "not found")] {
            assert_eq!(emulation.judge(failure.clone(), &foreign, &own), Attempt::Ran(failure));
        }
        assert_eq!(emulation.judge(ran(126, BROKEN), &own, &own), Attempt::Ran(ran(126, BROKEN)));
        let attempt = emulation.judge(ran(126, BROKEN), &foreign, &own);
        let Attempt::Skipped(reason) = attempt else { panic!("{attempt:?}") };
        assert!(reason.contains("(linux/amd64) does not emulate `linux/arm64`"), "{reason}");
        assert_eq!((emulation.missing(&foreign), emulation.missing(&own)), (Some(reason), None));
    }

    #[test]
    fn a_command_that_has_succeeded_proves_that_its_platform_is_emulated() {
        let (own, foreign): (Platform, Platform) = ("linux/amd64".parse().unwrap(), "linux/arm64".parse().unwrap());
        // Commands run at the same time, so one that fails may end before one that succeeds.
        for first in [ran(0, "1.2.3"), ran(126, BROKEN)] {
            let emulation = Emulation::default();
            emulation.judge(first, &foreign, &own);
            assert_eq!(emulation.judge(ran(0, BROKEN), &foreign, &own), Attempt::Ran(ran(0, BROKEN)));
            assert_eq!(emulation.judge(ran(126, BROKEN), &foreign, &own), Attempt::Ran(ran(126, BROKEN)));
            assert_eq!(emulation.missing(&foreign), None);
        }
    }
}
