//! What people see if the input can't be used: one message with a hint, and exit code 2; and that nothing was written.

#![expect(clippy::unwrap_used, reason = "a failing setup fails its test")]

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use support::github::{GitHub, Release, WRITE_TOKEN};
use support::image::{TinyImage, executable};
use support::memory_registry::MemoryRegistry;
use support::parts;
use support::registry::{Auth, Registry};
use support::runner::{Done, Step, payload};

const ACTION: &str = include_str!("../action.yml");
const PLATFORMS: &[&str] = &["linux/amd64", "linux/arm64"];
const MATRIX: &str = "library/alpine:3.23,alpine3.23,alpine";

/// Listens on loopback, gives every connection the same answer, and counts connections.
struct Listener {
    host: String,
    connections: Arc<AtomicUsize>,
}

impl Listener {
    fn answering(status: &str, headers: &str, body: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let connections = Arc::new(AtomicUsize::new(0));
        let answer =
            format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
        let counted = Arc::clone(&connections);
        // The thread ends with the process: nobody has to wait for a connection that must never come.
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                counted.fetch_add(1, Ordering::SeqCst);
                // It doesn't matter if a client hangs up.
                let _ = stream.read(&mut [0; 4096]);
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        Self { host, connections }
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

fn event(name: &str) -> Value {
    payload(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/events"), name)
}

fn dispatch(version: Option<&str>) -> Value {
    let mut event = event("workflow_dispatch");
    event["inputs"] = version.map_or(Value::Null, |version| json!({ "version": version }));
    event
}

/// A step with a valid input, for a test to change.
fn step(engine: &str, registry: &str, github: &str) -> Step {
    Step::new(env!("CARGO_BIN_EXE_publish-variants"), ACTION)
        .variable("DOCKER_HOST", engine)
        .variable("GITHUB_API_URL", github)
        .variable("GITHUB_REF", "refs/tags/0.9.26")
        .variable("GITHUB_SHA", &Release::new("0.9.26").commit)
        .input("source", &format!("{registry}/astral-sh/uv:{{version}}"))
        .input("binaries", "/uv /uvx")
        .input("images", &format!("{registry}/published/uv"))
        .input("github-token", WRITE_TOKEN)
        .input("matrix", &format!("{registry}/{MATRIX}"))
        .event("release", &event("release.published"))
}

/// The one message of a step that failed with exit code 2, as it is in the log.
#[track_caller]
fn refusal(done: &Done) -> String {
    assert_eq!(done.code, Some(2), "{}", done.log);
    let errors: Vec<&str> = done.log.lines().filter(|line| line.starts_with("::error")).collect();
    let [error] = errors[..] else { panic!("not one `::error` but {}:\n{}", errors.len(), done.log) };
    let message = error.splitn(3, "::").nth(2).unwrap().replace("%0A", "\n").replace("%25", "%");
    assert!(message.contains("hint: "), "no hint:\n{message}");
    assert!(done.outputs.is_empty(), "{:?}", done.outputs);
    assert!(done.summary.contains("> [!CAUTION]") && done.summary.contains("othing was published"), "{}", done.summary);
    message
}

/// The message of a step that is refused before any request.
async fn refused_unasked(change: impl FnOnce(Step) -> Step) -> String {
    let nobody = Listener::answering("500 Internal Server Error", "", "");
    let host = &nobody.host;
    let changed = change(step(&format!("tcp://{host}"), host, &format!("http://{host}")));
    let message = refusal(&changed.run().await);
    assert_eq!(nobody.connections(), 0, "something was asked before: {message}");
    message.replace(host.as_str(), "REGISTRY")
}

async fn refused_matrix(matrix: &str) -> String {
    refused_unasked(|step| step.input("matrix", matrix)).await
}

#[tokio::test]
async fn messages_about_the_input_name_the_place_and_what_to_do() {
    let mut seen = String::new();
    let mut add = |name: &str, message: String| seen += &format!("# {name}\n{message}\n\n");
    add(
        "no version",
        refused_unasked(|step| {
            step.event("workflow_dispatch", &dispatch(None)).variable("GITHUB_REF", "refs/heads/main")
        })
        .await,
    );
    add("a draft", refused_unasked(|step| step.event("release", &event("release.created-draft"))).await);
    add("a matrix that is no YAML", refused_matrix("variants:\n  - base: alpine:3.23\n    tags: [alpine\n").await);
    add("an unknown key", refused_matrix("variants:\n  - base: alpine:3.23\n    tgas: [alpine]\n").await);
    add("an invalid image", refused_matrix("variants:\n  - base: Alpine:3.23\n    tags: [alpine]\n").await);
    add("an invalid tag", refused_matrix("variants:\n  - base: alpine:3.23\n    tags: [al pine]\n").await);
    add("one tag of two variants", refused_matrix("alpine:3.23,alpine\nalpine:3.22,alpine3.22,alpine").await);
    let minutes = refused_unasked(|step| step.variable("PUBLISH_VARIANTS_DEADLINE", "5m")).await;
    add("a deadline that isn't a number", minutes);
    add("an input with an unknown value", refused_unasked(|step| step.input("rolling", "gard")).await);
    insta::assert_snapshot!(seen.trim_end());
}

#[tokio::test]
async fn a_matrix_that_is_not_yaml_is_refused_with_line_and_column() {
    let message = refused_matrix("variants:\n  - base: alpine:3.23\n    tags: {a\n  - base: x\n").await;
    let place = message.split(' ').next().unwrap();
    let numbers: Vec<u32> = place.split(':').filter_map(|part| part.parse().ok()).collect();
    assert!(matches!(numbers[..], [line, column] if (3..=5).contains(&line) && column > 0), "{message}");
}

/// `step` with arguments, limited to an address space and to one minute.
async fn bounded(step: &Step, megabytes: usize, arguments: &[&str]) -> Done {
    let inner = step.command();
    let mut command = Command::new("timeout");
    command
        .args(["60", "prlimit", &format!("--as={}", megabytes << 20)])
        .arg(inner.get_program())
        .args(arguments)
        .current_dir(inner.get_current_dir().unwrap())
        .env_clear()
        .envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap();
    step.done(&output.unwrap())
}

#[tokio::test]
async fn an_anchor_bomb_is_refused_in_bounded_memory_before_anything_is_asked() {
    let mut bomb = String::from("l0: &l0 [alpine, alpine, alpine, alpine, alpine, alpine, alpine, alpine, alpine]\n");
    for level in 1..12 {
        let below = vec![format!("*l{}", level - 1); 9].join(", ");
        bomb += &format!("l{level}: &l{level} [{below}]\n");
    }
    bomb += "variants:\n  - base: alpine:3.23\n    tags: *l11\n";
    let nobody = Listener::answering("500 Internal Server Error", "", "");
    let host = &nobody.host;
    let step = step(&format!("tcp://{host}"), host, &format!("http://{host}")).input("matrix", &bomb);
    let message = refusal(&bounded(&step, 512, &[]).await);
    assert!(message.starts_with("matrix:") || message.contains("input `matrix`"), "{message}");
    assert!(message.len() < 4_000, "{} bytes", message.len());
    assert_eq!(nobody.connections(), 0);
}

#[tokio::test]
async fn two_thousand_variants_are_planned_in_bounded_memory() {
    let line = |number| format!("alpine:3.{number},alpine3.{number},tag-{number}\n");
    let matrix: String = (0..2_000).map(line).collect();
    let step = step("unix:///nowhere", "ghcr.io", "http://127.0.0.1:1").input("matrix", "many").file("many", &matrix);
    let done = bounded(&step, 512, &["plan", "--format", "json"]).await.succeeded();
    let plan: Value = serde_json::from_str(&done.log).unwrap();
    assert_eq!(plan["variants"].as_array().unwrap().len(), 2_000);
}

/// The message of a step that is refused because of the engine.
async fn refused_for_the_engine(engine: &str) -> String {
    let nobody = Listener::answering("500 Internal Server Error", "", "");
    let host = &nobody.host;
    let message = refusal(&step(engine, host, &format!("http://{host}")).run().await);
    assert_eq!(nobody.connections(), 0, "a registry or GitHub was asked: {message}");
    message
}

#[tokio::test]
async fn an_engine_that_cannot_be_used_is_found_before_anything_is_written() {
    let Some(world) = World::start().await else { return };
    let mut seen = String::new();
    let mut add = |name: &str, message: String| seen += &format!("# {name}\n{message}\n\n");
    add("no engine at the socket", refused_for_the_engine("unix:///nowhere/docker.sock").await);
    add("no address", refused_for_the_engine("ssh://somewhere").await);

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("docker.sock");
    std::fs::write(&file, "").unwrap();
    let message = refused_for_the_engine(&format!("unix://{}", file.display())).await;
    add("a file at the socket's place", message.replace(&folder.path().display().to_string(), "/FOLDER"));

    for (name, status, headers, body) in [
        ("a web server", "200 OK", "Content-Type: text/html\r\n", "<!DOCTYPE html><p>Welcome!"),
        ("a web server without such a page", "404 Not Found", "Content-Type: text/html\r\n", "<h1>404</h1>"),
        ("other JSON", "200 OK", "Content-Type: application/json\r\n", r#"{"Version": 3}"#),
        (
            "an engine too old for BuildKit",
            "200 OK",
            "Content-Type: application/json\r\n",
            r#"{"Version": "1.12.6", "ApiVersion": "1.24", "Os": "linux", "Arch": "amd64"}"#,
        ),
        (
            "an engine for Windows",
            "200 OK",
            "Content-Type: application/json\r\n",
            r#"{"Version": "28.0.1", "ApiVersion": "1.48", "Os": "windows", "Arch": "amd64"}"#,
        ),
    ] {
        let listener = Listener::answering(status, headers, body);
        // Whether an engine answers is found out only when something has to be built.
        let step = world.step().variable("DOCKER_HOST", &format!("tcp://{}", listener.host));
        let message = refusal(&step.run().await);
        assert!(listener.connections() > 0);
        let requests = world.registry.requests();
        assert!(!requests.iter().any(|request| request.method == "PUT" && request.path.contains("/published/")));
        add(name, message.replace(&listener.host, "ENGINE"));
    }
    insta::assert_snapshot!(seen.trim_end());
}

/// A real engine, a registry with a source and a base, and GitHub with a release.
struct World {
    engine: String,
    registry: Registry,
    github: GitHub,
}

impl World {
    /// `None` if a part is missing, which is reported.
    async fn start() -> Option<Self> {
        let engine = parts::engine();
        let registry = Registry::start(Auth::None).await;
        let github = GitHub::start("astral-sh/uv", vec![Release::new("0.9.26")]);
        let (Some(engine), Some(registry), Some(github)) = (engine, registry, github) else {
            parts::skip("no engine, no docker-registry, or no description of GitHub's API");
            return None;
        };
        let tool = TinyImage::tool(PLATFORMS, &["uv", "uvx"], "0.9.26").build();
        registry.push(&tool, "astral-sh/uv", "0.9.26").await;
        let shell = |base: TinyImage, platform: &&str| {
            base.layer_for(platform, vec![executable("/bin/sh", support::elf::printing(platform, ""))])
        };
        let alpine = PLATFORMS.iter().fold(TinyImage::new(PLATFORMS), shell).build();
        registry.push(&alpine, "library/alpine", "3.23").await;
        let mainframe = TinyImage::new(&["linux/s390x"]).build();
        registry.push(&mainframe, "library/mainframe", "1").await;
        Some(Self { engine, registry, github })
    }

    fn step(&self) -> Step {
        step(&self.engine, self.registry.host(), &self.github.url())
    }

    fn assert_untouched(&self) {
        let requests = self.registry.requests();
        let writes = requests.iter().filter(|request| !matches!(request.method.as_str(), "GET" | "HEAD"));
        let pushes: Vec<_> = writes.filter(|request| request.path.contains("/published/")).collect();
        assert!(pushes.is_empty(), "something was pushed: {pushes:#?}");
        assert_eq!(self.github.count("PATCH"), 0, "the release was edited");
    }

    /// The message of a step that is refused because of what registries or GitHub have.
    async fn refused(&self, change: impl FnOnce(Step) -> Step) -> String {
        let message = refusal(&change(self.step()).run().await);
        self.assert_untouched();
        message.replace(self.registry.host(), "REGISTRY").replace(&self.github.url(), "GITHUB")
    }
}

#[tokio::test]
async fn what_registries_and_github_lack_is_found_before_anything_is_pushed() {
    let Some(world) = World::start().await else { return };
    let host = world.registry.host();
    let mut seen = String::new();
    let mut add = |name: &str, message: String| seen += &format!("# {name}\n{message}\n\n");
    let message = world.refused(|step| step.input("binaries", "/uv /uvz")).await;
    assert!(message.contains("/uvz"), "{message}");
    add("a binary that the source doesn't have", message);
    let message = world.refused(|step| step.input("platforms", "linux/s390x linux/amd64")).await;
    assert!(message.contains("linux/s390x") && message.contains("linux/arm64"), "{message}");
    add("a platform that the source doesn't have", message);
    let matrix = format!("{host}/library/mainframe:1,mainframe");
    let message = world.refused(|step| step.input("matrix", &matrix).input("platforms", "linux/amd64")).await;
    add("a platform that the base doesn't have", message);
    add("a base without any platform of the source", world.refused(|step| step.input("matrix", &matrix)).await);
    let matrix = format!("{host}/library/alpine:3.99,alpine3.99");
    add("a base that isn't there", world.refused(|step| step.input("matrix", &matrix)).await);
    let message = world.refused(|step| step.event("workflow_dispatch", &dispatch(Some("9.9.9")))).await;
    assert!(message.contains("9.9.9") && message.contains("astral-sh/uv"), "{message}");
    add("a version that has no source", message);
    add("a token that GitHub doesn't know", world.refused(|step| step.input("github-token", "ghs_wrong")).await);
    insta::assert_snapshot!(seen.trim_end());
}

#[tokio::test]
async fn several_missing_bases_keep_their_own_causes_and_hints() {
    let Some(world) = World::start().await else { return };
    let host = world.registry.host();
    let matrix = format!("{host}/library/alpine:3.99,alpine\n{host}/library/alpne:3.23,alpne");
    let message = world.refused(|step| step.input("matrix", &matrix)).await;
    assert_eq!(message.matches("  cause: ").count(), 2, "{message}");
    assert_eq!(message.matches("hint: ").count(), 1, "{message}");
}

/// The summary escapes some of its characters for Markdown.
#[tokio::test]
async fn a_password_that_a_registry_repeats_is_not_in_the_summary() {
    let Some(world) = World::start().await else { return };
    let secret = "pa_ss*w0rd_of~nobody";
    let body = json!({ "errors": [{ "code": "DENIED", "message": format!("no {secret} here") }] }).to_string();
    let registry = Listener::answering("403 Forbidden", "Content-Type: application/json\r\n", &body);
    let step = world.step().input("source", &format!("{}/x/uv:0.9.26", registry.host));
    let done = step.input("credentials", &format!("{} user {secret}", registry.host)).run().await;
    let summary = done.summary.replace('\\', "");
    assert!(!summary.contains(secret) && summary.contains("no *** here"), "{}\n{}", done.summary, done.log);
}

#[tokio::test]
async fn an_error_of_a_base_points_to_its_entry_in_the_file_of_the_matrix() {
    let registry = MemoryRegistry::start();
    let host = registry.host();
    registry.put_image(&TinyImage::tool(PLATFORMS, &["uv", "uvx"], "0.9.26").build(), "astral-sh/uv", "0.9.26");
    registry.put_image(&TinyImage::new(&["linux/s390x"]).build(), "library/mainframe", "1");
    let matrix =
        |base: &str| format!("variants:\n  - base: scratch\n    tags: bare\n  - base: {base}\n    tags: other\n");
    for (base, said) in [
        (format!("{host}/library/nothing:1"), "can't be resolved"),
        (format!("{host}/library/mainframe:1"), "has no platform of the source"),
    ] {
        let step = step("unix:///nowhere", &host, "http://127.0.0.1:1")
            .input("builder", "registry")
            .input("version", "0.9.26");
        let step = step.variable("GITHUB_REPOSITORY", "").input("release-notes", "false");
        let in_file = step.another().input("matrix", "./images.yml").file("images.yml", &matrix(&base)).run().await;
        let message = refusal(&in_file);
        assert!(message.starts_with("./images.yml:4:5: base `") && message.contains(said), "{message}");
        assert!(
            in_file.log.contains("::error title=publish-variants,file=images.yml,line=4,col=5::"),
            "{}",
            in_file.log
        );
        let inline = step.input("matrix", &matrix(&base)).run().await;
        assert!(refusal(&inline).starts_with("matrix:4:5: base `"), "{}", inline.log);
        assert!(inline.log.contains("::error title=publish-variants::"), "{}", inline.log);
    }
}

#[tokio::test]
async fn a_pull_request_is_a_dry_run_that_needs_no_credentials() {
    let Some(world) = World::start().await else { return };
    let done = world
        .step()
        .event("pull_request", &event("pull_request.opened"))
        .variable("GITHUB_REF", "refs/pull/7/merge")
        .input("version", "0.9.26")
        .input("github-token", "")
        .run()
        .await
        .succeeded();
    assert_eq!(done.outputs["status"], "dry-run");
    assert!(done.summary.contains("alpine3.23") && !done.summary.contains("docker pull"), "{}", done.summary);
    world.assert_untouched();
    assert!(world.github.requests().iter().all(|asked| !asked.authorized));
}

#[tokio::test]
async fn an_event_of_thirty_megabytes_is_handled() {
    let Some(world) = World::start().await else { return };
    let mut event = event("release.published");
    event["release"]["body"] = Value::from("Notes. ".repeat((30 << 20) / 7));
    let done = world.step().event("release", &event).input("dry-run", "true").run().await.succeeded();
    assert_eq!((done.outputs["status"].as_str(), done.outputs["version"].as_str()), ("dry-run", "0.9.26"));
    world.assert_untouched();
}
