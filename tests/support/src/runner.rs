//! Runs the action's binary like [GitHub's runner][docs]: inputs, event and files are passed by environment variables,
//! and nothing else is.
//!
//! [docs]: https://docs.github.com/en/actions/reference/workflows-and-actions/metadata-syntax#inputs

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::process::Process;

/// Some variables of a job of GitLab CI for the tag `v1.2.3`, as in [its reference][gitlab].
///
/// [gitlab]: https://docs.gitlab.com/ci/variables/predefined_variables/
pub const OF_GITLAB: [(&str, &str); 6] = [
    ("GITLAB_CI", "true"),
    ("CI_COMMIT_SHA", "0123456789abcdef0123456789abcdef01234567"),
    ("CI_COMMIT_TAG", "v1.2.3"),
    ("CI_PIPELINE_SOURCE", "push"),
    ("CI_PROJECT_URL", "https://gitlab.com/acme/tool"),
    ("CI_REGISTRY_IMAGE", "registry.gitlab.com/acme/tool"),
];

/// A step of a job that uses the action.
#[derive(Debug)]
pub struct Step {
    binary: PathBuf,
    folder: TempDir,
    environment: BTreeMap<String, String>,
}

/// A running step. Dropping it kills it.
#[derive(Debug)]
pub struct Running<'step> {
    step: &'step Step,
    process: Process,
}

/// The result of a step.
#[derive(Debug)]
pub struct Done {
    /// The exit code; `None` if it was killed.
    pub code: Option<i32>,
    /// Everything that it printed: standard output, then standard error.
    pub log: String,
    /// Its outputs.
    pub outputs: BTreeMap<String, String>,
    /// Its part of the job's summary.
    pub summary: String,
}

impl Step {
    /// A step that runs `binary`, with every input of `action` (the text of `action.yml`) unset: GitHub passes such
    /// inputs as empty strings, or as their default.
    pub fn new(binary: &str, action: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("step-").tempdir().expect("a temporary folder can be made");
        let mut environment: BTreeMap<String, String> = inputs(action)
            .into_iter()
            .map(|(name, default)| (format!("INPUT_{}", name.replace(' ', "_").to_uppercase()), default))
            .collect();
        let file = |name: &str| {
            let path = folder.path().join(name);
            fs::write(&path, "").expect("the temporary folder is writable");
            path.display().to_string()
        };
        let workspace = folder.path().join("workspace");
        let temporary = folder.path().join("temp");
        for made in [&workspace, &temporary] {
            fs::create_dir(made).expect("the temporary folder is writable");
        }
        let set = [
            ("CI", "true".to_owned()),
            ("GITHUB_ACTIONS", "true".to_owned()),
            ("GITHUB_ENV", file("env")),
            ("GITHUB_OUTPUT", file("output")),
            ("GITHUB_REPOSITORY", "astral-sh/uv".to_owned()),
            ("GITHUB_RUN_ID", "20999000111".to_owned()),
            ("GITHUB_SERVER_URL", "https://github.com".to_owned()),
            ("GITHUB_STEP_SUMMARY", file("summary.md")),
            ("GITHUB_WORKSPACE", workspace.display().to_string()),
            ("HOME", folder.path().join("home").display().to_string()),
            ("PATH", "/usr/local/bin:/usr/bin:/bin".to_owned()),
            ("RUNNER_TEMP", temporary.display().to_string()),
            ("TMPDIR", temporary.display().to_string()),
        ];
        environment.extend(set.map(|(name, value)| (name.to_owned(), value)));
        Self { binary: binary.into(), folder, environment }
    }

    /// Sets an input.
    #[must_use]
    pub fn input(self, name: &str, value: &str) -> Self {
        let variable = format!("INPUT_{}", name.to_uppercase());
        assert!(self.environment.contains_key(&variable), "action.yml has no input `{name}`");
        self.variable(&variable, value)
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Sets the event and its payload.
    #[must_use]
    pub fn event(self, name: &str, payload: &Value) -> Self {
        let path = self.folder.path().join("event.json");
        fs::write(&path, payload.to_string()).expect("the temporary folder is writable");
        self.variable("GITHUB_EVENT_NAME", name).variable("GITHUB_EVENT_PATH", &path.display().to_string())
    }

    /// Writes a file into the workspace.
    #[must_use]
    pub fn file(self, name: &str, text: &str) -> Self {
        fs::write(self.workspace().join(name), text).expect("the temporary folder is writable");
        self
    }

    /// The folder that the steps of a job share.
    pub fn workspace(&self) -> PathBuf {
        self.folder.path().join("workspace")
    }

    /// The folder for temporary files, which a run must leave empty.
    pub fn temporary(&self) -> PathBuf {
        self.folder.path().join("temp")
    }

    /// The command, for a test that wants to stop it half-way. Its output is piped.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.binary);
        command
            .current_dir(self.workspace())
            .env_clear()
            .envs(&self.environment)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// The same step with folders of its own, for a run at the same time or after one that was killed. The files of the
    /// workspace and the event are copied; outputs, summary and temporary files aren't.
    #[must_use]
    pub fn another(&self) -> Self {
        let folder = tempfile::Builder::new().prefix("step-").tempdir().expect("a temporary folder can be made");
        let (from, to) = (self.folder.path(), folder.path());
        copy(&self.workspace(), &to.join("workspace"));
        fs::create_dir(to.join("temp")).expect("the temporary folder is writable");
        for file in ["env", "output", "summary.md"] {
            fs::write(to.join(file), "").expect("the temporary folder is writable");
        }
        if from.join("event.json").exists() {
            fs::copy(from.join("event.json"), to.join("event.json")).expect("the temporary folder is writable");
        }
        let moved = |value: &String| match Path::new(value).strip_prefix(from) {
            Ok(below) => to.join(below).display().to_string(),
            Err(_) => value.clone(),
        };
        let environment = self.environment.iter().map(|(name, value)| (name.clone(), moved(value))).collect();
        Self { binary: self.binary.clone(), folder, environment }
    }

    /// Starts the step. A second run begins with empty outputs and an empty summary, like another job. For a run at the
    /// same time, see [`Step::another`].
    pub fn spawn(&self) -> Running<'_> {
        for file in ["output", "summary.md"] {
            fs::write(self.folder.path().join(file), "").expect("the temporary folder is writable");
        }
        Running { step: self, process: Process::spawn(&mut self.command()) }
    }

    /// Runs the step to its end; see [`Step::spawn`].
    pub async fn run(&self) -> Done {
        self.spawn().wait().await
    }

    /// The result of a finished process.
    pub fn done(&self, output: &Output) -> Done {
        let log = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        self.ended(output.status, log)
    }

    fn ended(&self, status: ExitStatus, log: String) -> Done {
        let read = |name: &str| fs::read_to_string(self.folder.path().join(name)).unwrap_or_default();
        Done { code: status.code(), log, outputs: outputs(&read("output")), summary: read("summary.md") }
    }
}

impl Running<'_> {
    /// The process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Everything that it has printed so far.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Waits until `found` returns something for the log; see [`Process::wait_for`].
    pub async fn wait_for<T>(&mut self, what: &str, found: impl Fn(&str) -> Option<T>) -> T {
        self.process.wait_for(what, found).await
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        self.process.ended().is_some()
    }

    /// Waits for the step to end. Dropping the future (in a `select!`) changes nothing.
    pub async fn wait(&mut self) -> Done {
        let status = self.process.wait().await;
        self.step.ended(status, self.process.log())
    }

    /// Kills the step immediately (`SIGKILL`), and returns its result so far.
    pub fn kill(&mut self) -> Done {
        self.process.kill();
        let status = self.process.ended().expect("its end was waited for");
        self.step.ended(status, self.process.log())
    }
}

impl Done {
    /// Panics with the log unless the step succeeded.
    #[track_caller]
    pub fn succeeded(self) -> Self {
        assert_eq!(self.code, Some(0), "the step failed:\n{}", self.log);
        self
    }

    /// The value of an output that is JSON.
    #[track_caller]
    pub fn json(&self, output: &str) -> Value {
        let text = self.outputs.get(output).unwrap_or_else(|| panic!("there is no output `{output}`"));
        serde_json::from_str(text).unwrap_or_else(|error| panic!("output `{output}` is no JSON: {error}\n{text}"))
    }
}

/// The recorded payload of an event, from `folder`.
pub fn payload(folder: &Path, name: &str) -> Value {
    let path = folder.join(format!("{name}.json"));
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Copies a folder with everything in it.
fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).expect("the temporary folder is writable");
    for entry in fs::read_dir(from).expect("the workspace is a folder") {
        let entry = entry.expect("the workspace can be read");
        let (path, to) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type().expect("the workspace can be read").is_dir() {
            copy(&path, &to);
        } else {
            fs::copy(path, to).expect("the temporary folder is writable");
        }
    }
}

/// The inputs of an `action.yml` with their defaults: the keys below `inputs:`, indented by two.
fn inputs(action: &str) -> Vec<(String, String)> {
    let section = action.lines().skip_while(|line| *line != "inputs:").skip(1);
    let section = section.take_while(|line| line.is_empty() || line.starts_with([' ', '#']));
    let mut inputs: Vec<(String, String)> = Vec::new();
    for line in section {
        if let Some(name) = line.strip_prefix("  ").and_then(|line| line.strip_suffix(':'))
            && !name.starts_with([' ', '#'])
        {
            inputs.push((name.to_owned(), String::new()));
        } else if let (Some(value), Some(input)) = (line.strip_prefix("    default: "), inputs.last_mut()) {
            input.1 = value.trim_matches(['"', '\'']).to_owned();
        }
    }
    inputs
}

/// Parses `GITHUB_OUTPUT`: `name=value` lines and `name<<DELIMITER` blocks.
fn outputs(text: &str) -> BTreeMap<String, String> {
    let mut outputs = BTreeMap::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some((name, delimiter)) = line.split_once("<<") {
            let block: Vec<&str> = lines.by_ref().take_while(|line| *line != delimiter).collect();
            outputs.insert(name.to_owned(), block.join("\n"));
        } else if let Some((name, value)) = line.split_once('=') {
            outputs.insert(name.to_owned(), value.to_owned());
        }
    }
    outputs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_and_defaults_are_read_from_the_action() {
        let action = "name: x\ninputs:\n  version:\n    description: v\n  # a comment\n  dry-run:\n    default: \"false\"\n\noutputs:\n  digests:\n    description: d\n";
        assert_eq!(inputs(action), [("version".into(), String::new()), ("dry-run".into(), "false".into())]);
    }

    const ACTION: &str = "name: x\ninputs:\n  version:\n    description: v\n";

    /// A step that is a shell script in its workspace.
    fn script(text: &str) -> Step {
        Step::new("/bin/sh", ACTION).file("script", text)
    }

    impl Step {
        fn spawn_script(&self) -> Running<'_> {
            Running { step: self, process: Process::spawn(self.command().arg("script")) }
        }
    }

    #[tokio::test]
    async fn a_killed_step_returns_its_result_so_far() {
        let step = script("echo begun; echo status=begun > $GITHUB_OUTPUT; exec sleep 600");
        let mut running = step.spawn_script();
        running.process.wait_for("its output", |log| log.contains("begun").then_some(())).await;
        while !step.folder.path().join("output").metadata().is_ok_and(|output| output.len() > 0) {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        let done = running.kill();
        assert_eq!((done.code, done.log.as_str(), done.outputs["status"].as_str()), (None, "begun\n", "begun"));
        assert_eq!(running.wait().await.code, None);
    }

    #[tokio::test]
    async fn many_runs_of_a_step_at_once_have_folders_of_their_own() {
        let text = "cat event/name > $RUNNER_TEMP/file; echo version=$INPUT_VERSION-$(cat $RUNNER_TEMP/file) >> $GITHUB_OUTPUT";
        let step = script(text).input("version", "1").event("release", &serde_json::json!({}));
        fs::create_dir(step.workspace().join("event")).unwrap();
        fs::write(step.workspace().join("event/name"), "x").unwrap();
        let steps: Vec<Step> = (0..20).map(|number| step.another().input("version", &number.to_string())).collect();
        let mut running: Vec<Running<'_>> = steps.iter().map(Step::spawn_script).collect();
        for (number, running) in running.iter_mut().enumerate() {
            assert_eq!(running.wait().await.succeeded().outputs["version"], format!("{number}-x"));
        }
        assert!(steps.iter().all(|step| step.temporary().join("file").exists()));
        assert!(!step.temporary().join("file").exists());
        let event = &steps[0].environment["GITHUB_EVENT_PATH"];
        assert!(Path::new(event).starts_with(steps[0].folder.path()) && Path::new(event).exists());
    }

    #[test]
    fn outputs_of_one_and_of_several_lines_are_read() {
        let read = outputs("status=published\ntags<<EOF_1\na=1\nb\nEOF_1\nversion=0.9.26\n");
        assert_eq!(read["tags"], "a=1\nb");
        assert_eq!((read["status"].as_str(), read["version"].as_str()), ("published", "0.9.26"));
    }
}
