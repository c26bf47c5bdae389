//! A child process that does not outlive the test that started it.

use std::fs::File;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// The standard output of a command, which must succeed.
#[track_caller]
pub fn output(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{out}{err}", output.status);
    out.into_owned()
}

/// A running child process. Dropping it kills the process, by its id, and waits for its end.
///
/// Standard output and standard error each go to a file, so that a talkative child can't block on a full pipe.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    logs: TempDir,
}

impl Process {
    /// Starts `command`. Panics with the program's name if it can't be started.
    pub fn spawn(command: &mut Command) -> Self {
        let name = command.get_program().to_string_lossy().into_owned();
        let logs = TempDir::new().expect("a temporary folder can be made");
        let log = |stream: &str| File::create(logs.path().join(stream)).expect("the temporary folder is writable");
        let child = command
            .stdin(Stdio::null())
            .stdout(log("stdout"))
            .stderr(log("stderr"))
            .spawn()
            .unwrap_or_else(|error| panic!("`{name}` did not start: {error}"));
        Self { name, child, logs }
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Everything the process has written so far: its standard output, then its standard error.
    pub fn log(&self) -> String {
        self.stream("stdout") + &self.stream("stderr")
    }

    /// How the process ended, or `None` while it runs.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child's state can be asked for")
    }

    /// Waits for the process to end. Dropping the future changes nothing.
    pub async fn wait(&mut self) -> ExitStatus {
        loop {
            if let Some(status) = self.ended() {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Waits until `found` returns something for the log. Panics with the log if the process ends first, or after 30
    /// seconds.
    pub async fn wait_for<T>(&mut self, what: &str, found: impl Fn(&str) -> Option<T>) -> T {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            if let Some(value) = found(&self.log()) {
                return value;
            }
            if let Some(status) = self.ended() {
                panic!("`{}` ended ({status}) before {what}:\n{}", self.name, self.log());
            }
            assert!(Instant::now() < deadline, "`{}`: no {what} within 30 s:\n{}", self.name, self.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Kills the process, and waits for its end. Does nothing if it has ended.
    pub fn kill(&mut self) {
        // Both fail only if the process has already ended, which is what we want.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    fn stream(&self, stream: &str) -> String {
        let path: PathBuf = self.logs.path().join(stream);
        String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A TCP port on loopback on which nothing listened a moment ago. Prefer port 0 if the program can report which one it
/// got.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    listener.local_addr().expect("a bound socket has an address").port()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_running(id: u32) -> bool {
        PathBuf::from(format!("/proc/{id}")).exists()
    }

    #[test]
    fn a_dropped_process_is_gone() {
        let process = Process::spawn(Command::new("sleep").arg("600"));
        let id = process.id();
        assert!(is_running(id));
        drop(process);
        assert!(!is_running(id));
    }

    #[tokio::test]
    async fn the_log_holds_both_streams() {
        let mut process = Process::spawn(Command::new("sh").args(["-c", "echo out; echo err >&2; exec sleep 600"]));
        process.wait_for("both lines", |log| (log.contains("out\n") && log.contains("err\n")).then_some(())).await;
    }

    #[tokio::test]
    async fn waiting_for_the_end_can_be_cancelled_without_harm() {
        let mut process = Process::spawn(Command::new("sleep").arg("600"));
        assert!(tokio::time::timeout(Duration::from_millis(20), process.wait()).await.is_err());
        assert!(is_running(process.id()));
        process.kill();
        assert_eq!(process.wait().await.code(), None);
    }

    #[tokio::test]
    #[should_panic(expected = "before a word")]
    async fn a_process_that_ends_early_is_a_failure_with_its_log() {
        Process::spawn(&mut Command::new("false")).wait_for("a word", |_| None::<()>).await;
    }
}
