//! Where credentials come from, where they are sent, and that no secret gets out.

#![expect(clippy::unwrap_used, reason = "a failing setup fails its test")]

mod world;

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::json;
use support::github::WRITE_TOKEN;
use support::image::{TinyImage, executable};
use support::parts;
use support::runner::{Done, Step};

use world::{PASSWORD, USER, World};

const AMD64: &[&str] = &["linux/amd64"];

/// What the runner shows: all lines but those that name something to mask.
fn shown(done: &Done) -> String {
    let lines = done.log.lines().filter(|line| !line.starts_with("::add-mask::"));
    lines.map(|line| format!("{line}\n")).collect::<String>() + &done.summary
}

/// A step that publishes to the registry with a password, without an engine and without `credentials`.
fn step(world: &World, owner: &str) -> Step {
    world
        .step("unix:///nowhere", owner, "0.9.26")
        .input("builder", "registry")
        .input("images", &format!("{}/{owner}/uv", world.closed.host()))
        .input("credentials", "")
}

async fn publishes(step: Step, why: &str) -> Done {
    let done = step.run().await;
    assert_eq!(done.code, Some(0), "{why}: {}", done.log);
    assert_eq!(done.outputs["status"], "published", "{why}");
    assert!(!shown(&done).contains(PASSWORD), "{why}: {}", done.log);
    assert!(!done.log.contains("::warning"), "{why}: {}", done.log);
    done
}

#[tokio::test]
async fn credentials_are_found_where_docker_podman_and_their_helpers_keep_them() {
    let Some(world) = World::start(AMD64, &["0.9.26"]).await else { return };
    let host = world.closed.host();
    let refused = step(&world, "nobody").run().await;
    assert_eq!(refused.code, Some(1), "{}", refused.log);

    let docker = login_by_docker(host);
    if let Some(folder) = &docker {
        let config = std::fs::read_to_string(folder.path().join("config.json")).unwrap();
        assert!(config.contains(host) && !config.contains(PASSWORD), "{config}");
        let named = step(&world, "docker").variable("DOCKER_CONFIG", folder.path().to_str().unwrap());
        publishes(named, "docker login").await;
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join(".docker")).unwrap();
        std::fs::write(home.path().join(".docker/config.json"), config).unwrap();
        publishes(step(&world, "home").variable("HOME", home.path().to_str().unwrap()), "docker login, in HOME").await;
    } else {
        parts::skip("no Docker command line, or no engine");
    }

    // Podman itself uses the same library.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("auth.json");
    if run_with_password(Command::new("skopeo").args(["login", "--tls-verify=false", "--authfile"]).arg(&file).args([
        "--username",
        USER,
        "--password-stdin",
        &format!("{host}/skopeo"),
    ])) {
        let named = |owner| step(&world, owner).variable("REGISTRY_AUTH_FILE", file.to_str().unwrap());
        publishes(named("skopeo"), "skopeo login").await;
        let elsewhere = named("elsewhere").run().await;
        assert_eq!(elsewhere.code, Some(1), "its key is for a part of the registry: {}", elsewhere.log);
    } else {
        parts::skip("no skopeo");
    }

    let (folder, log) = (helper(host), tempfile::NamedTempFile::new().unwrap());
    let with_helper = |owner, config: serde_json::Value| {
        let path = format!("{}:/usr/bin:/bin", folder.path().display());
        std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
        step(&world, owner)
            .variable("PATH", &path)
            .variable("DOCKER_CONFIG", folder.path().to_str().unwrap())
            .variable("ASKED", log.path().to_str().unwrap())
    };
    let done = publishes(with_helper("helper", json!({ "credHelpers": { host: "of-test" } })), "its own helper").await;
    assert!(done.log.contains(&format!("::add-mask::{PASSWORD}\n")), "{}", done.log);
    publishes(with_helper("store", json!({ "credsStore": "of-test", "auths": { host: {} } })), "the helper for all")
        .await;
    let asked = std::fs::read_to_string(log.path()).unwrap();
    let open = world.open.host();
    let mut asked: Vec<&str> = asked.lines().collect();
    asked.sort_unstable();
    let mut expected = [host, host, open];
    expected.sort_unstable();
    assert_eq!(asked, expected, "once for each registry that it is for");
}

#[tokio::test]
async fn on_the_runner_itself_its_logins_and_registries_on_localhost_are_used() {
    let Some(world) = World::start(AMD64, &["0.9.26"]).await else { return };
    let Some(docker) = login_by_docker(world.closed.host()) else {
        return parts::skip("no Docker command line, or no engine");
    };
    let home = tempfile::tempdir().unwrap();
    std::fs::rename(docker.path(), home.path().join(".docker")).unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_publish-variants"));
    let (open, closed) = (world.open.host(), world.closed.host());
    // As a workflow has it, with the shell that the runner takes; in a job there are no inputs, but GitHub's variables.
    let script = format!(
        "publish-variants publish --version \"$VERSION\" --source {open}/astral-sh/uv:{{version}} --binaries '/uv /uvx' \
         --builder registry --images '{} {closed}/runner/uv' --matrix {open}/library/alpine:3.23,alpine --release-notes false",
        format_args!("localhost:{}/runner/uv", open.rsplit_once(':').unwrap().1),
    );
    let job = world.step("unix:///nowhere", "runner", "0.9.26");
    let mut command = Command::new("bash");
    for (name, value) in job.command().get_envs().filter(|(name, _)| !name.to_string_lossy().starts_with("INPUT_")) {
        command.env(name, value.unwrap());
    }
    let path = format!("{}:/usr/bin:/bin", program.parent().unwrap().display());
    command.current_dir(job.workspace()).env("PATH", path).env("HOME", home.path()).env("VERSION", "0.9.26");
    command.env("INPUT_GITHUB_TOKEN", WRITE_TOKEN).args(["--noprofile", "--norc", "-eo", "pipefail", "-c", &script]);
    let output = command.output().unwrap();
    let done = job.done(&output).succeeded();
    assert_eq!(done.outputs["status"], "published", "{}", done.log);
    for registry in [&world.open, &world.closed] {
        assert!(registry.manifest("runner/uv", "0.9.26-alpine").await.is_some(), "{}", registry.host());
    }
    assert!(!shown(&done).contains(PASSWORD), "{}", done.log);
    assert!(done.summary.contains("localhost:"), "{}", done.summary);
}

/// A folder with the `config.json` that `docker login` writes.
fn login_by_docker(host: &str) -> Option<tempfile::TempDir> {
    let (tools, engine) = (parts::tools()?, parts::engine_classic()?);
    let folder = tempfile::tempdir().unwrap();
    let mut docker = Command::new(tools.join("docker"));
    docker.env("DOCKER_CONFIG", folder.path()).args(["--host", &engine, "login", "--username", USER]);
    assert!(run_with_password(docker.args(["--password-stdin", host])), "`docker login` failed");
    Some(folder)
}

/// Whether the program exists and succeeds.
fn run_with_password(command: &mut Command) -> bool {
    let command = command.stdin(Stdio::piped()).stdout(Stdio::null());
    let Ok(mut child) = command.spawn() else { return false };
    child.stdin.take().unwrap().write_all(PASSWORD.as_bytes()).unwrap();
    child.wait().unwrap().success()
}

/// A folder with a credential helper `of-test`, which has the password for `host` and records its requests.
fn helper(host: &str) -> tempfile::TempDir {
    let script = format!(
        "#!/bin/sh\n\
         [ \"$1\" = get ] || exit 2\n\
         server=$(cat)\n\
         echo \"$server\" >>\"$ASKED\"\n\
         [ \"$server\" = {host} ] || {{ echo 'credentials not found in native keychain'; exit 1; }}\n\
         printf '{{\"ServerURL\":\"%s\",\"Username\":\"{USER}\",\"Secret\":\"{PASSWORD}\"}}' \"$server\"\n"
    );
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("docker-credential-of-test");
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

#[tokio::test]
async fn a_failing_helper_is_a_warning_that_shows_at_most_a_line() {
    let Some(world) = World::start(AMD64, &["0.9.26"]).await else { return };
    let folder = tempfile::tempdir().unwrap();
    for (name, script) in [
        ("fails", "#!/bin/sh\nfor i in 1 2 3 4 5 6 7 8 9; do echo the keychain is locked; done; exit 1\n"),
        ("babbles", "#!/bin/sh\necho '{\"Secret\": \"hunter2\"'\n"),
    ] {
        let path = folder.path().join(format!("docker-credential-{name}"));
        std::fs::write(&path, script).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    for (name, warning) in [
        ("fails", format!("has no credentials for `{}`: the keychain is locked the keychain", world.closed.host())),
        ("babbles", "its answer is not the JSON of a credential".to_owned()),
        ("gone", "`docker-credential-gone` is not on `PATH`".to_owned()),
        ("/bin/sh", "`/bin/sh` is not the name of a credential helper".to_owned()),
    ] {
        let config = json!({ "credHelpers": { world.closed.host(): name } });
        std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
        let step = step(&world, "acme")
            .variable("PATH", &format!("{}:/usr/bin:/bin", folder.path().display()))
            .variable("DOCKER_CONFIG", folder.path().to_str().unwrap());
        let done = step.run().await;
        let warnings: Vec<&str> = done.log.lines().filter(|line| line.starts_with("::warning")).collect();
        let [said] = warnings[..] else { panic!("{name}: {}", done.log) };
        assert!(said.contains(&warning) && said.len() < 300, "{name}: {said}");
        assert!(!done.log.contains("hunter2"), "{}", done.log);
        assert_eq!(done.code, Some(1), "it goes on without, and the registry refuses: {}", done.log);
    }
}

/// A proxy that answers like `ghcr.io` to a client that wants to pull, and records the heads of requests. It ends with
/// the process.
fn ghcr_by_proxy() -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, heads) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(Vec::new())));
    let keep = Arc::clone(&heads);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut buffer = [0; 8192];
            let length = stream.read(&mut buffer).unwrap_or_default();
            let head = String::from_utf8_lossy(&buffer[..length]).into_owned();
            let (status, header, body) = if head.starts_with("GET http://ghcr.io/token") {
                ("200 OK", "", r#"{"token": "to-pull"}"#)
            } else if head.to_lowercase().contains("authorization:") {
                ("404 Not Found", "", r#"{"errors": [{"code": "MANIFEST_UNKNOWN"}]}"#)
            } else {
                let challenge = "WWW-Authenticate: Bearer realm=\"http://ghcr.io/token\",service=\"ghcr.io\"\r\n";
                ("401 Unauthorized", challenge, "{}")
            };
            keep.lock().unwrap().push(head);
            let length = body.len();
            let _ = write!(
                stream,
                "HTTP/1.1 {status}\r\n{header}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
            );
        }
    });
    (address.to_string(), heads)
}

#[tokio::test]
async fn the_token_of_a_github_enterprise_server_never_goes_to_ghcr() {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    let Some(world) = World::start(AMD64, &["0.9.26"]).await else { return };
    let login = STANDARD.encode(format!("x-access-token:{WRITE_TOKEN}"));
    for (server, is_sent) in
        [("https://github.com", true), ("https://ghe.corp.example", false), ("https://acme.ghe.com", false)]
    {
        let (proxy, heads) = ghcr_by_proxy();
        let proxy = format!("http://{proxy}");
        let step = step(&world, "acme")
            .variable("GITHUB_SERVER_URL", server)
            .variable("HTTP_PROXY", &proxy)
            .variable("http_proxy", &proxy)
            .input("insecure-registries", "ghcr.io")
            .input("matrix", "ghcr.io/other/base:1,alpine");
        let done = step.run().await;
        assert_eq!(done.code, Some(2), "the base isn't there: {}", done.log);
        let heads = heads.lock().unwrap().join("\n");
        assert!(heads.contains("Bearer to-pull"), "{server}: {heads}");
        assert_eq!(heads.contains(&login), is_sent, "{server}: {heads}");
        assert!(!heads.contains(WRITE_TOKEN), "no other request goes by the proxy: {heads}");
    }
}

/// A step whose input can't be used, whatever else is set.
fn bad_step() -> Step {
    let host = "127.0.0.1:1";
    Step::new(env!("CARGO_BIN_EXE_publish-variants"), include_str!("../action.yml"))
        .variable("GITHUB_REF", "refs/tags/0.9.26")
        .variable("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "id-token-of-the-job")
        .input("images", &format!("{host}/acme/uv"))
        .input("binaries", "/uv")
        .input("version", "0.9.26")
        .input("credentials", "# Docker Hub\ndocker.io bob HUBPASSWORD\nquay.io alice correct horse")
        .input("github-token", "ghs_THETOKEN")
        .input("matrix", "variants.yml")
}

#[tokio::test]
async fn masks_are_printed_before_anything_else_and_comments_are_not_masked() {
    let done = bad_step().run().await;
    assert_eq!(done.code, Some(2), "{}", done.log);
    let masks: Vec<&str> = done.log.lines().take_while(|line| line.starts_with("::add-mask::")).collect();
    for secret in ["HUBPASSWORD", "correct horse", "ghs_THETOKEN", "id-token-of-the-job"] {
        assert!(masks.contains(&format!("::add-mask::{secret}").as_str()), "{secret}: {}", done.log);
    }
    assert!(!done.log.lines().skip(masks.len()).any(|line| line.starts_with("::add-mask::")), "{}", done.log);
    assert!(!masks.contains(&"::add-mask::Hub"), "{}", done.log);
}

#[tokio::test]
async fn a_matrix_that_is_a_link_out_of_the_workspace_is_refused_and_nothing_of_it_is_shown() {
    for target in ["/proc/self/environ", "/etc/passwd", "/dev/zero"] {
        let step = bad_step().variable("SOME_SECRET", "of-the-environment");
        symlink(target, step.workspace().join("variants.yml")).unwrap();
        let done = step.run().await;
        assert_eq!(done.code, Some(2), "{}", done.log);
        let shown = shown(&done);
        assert!(
            shown.contains("`variants.yml` can't be read: it is, or is behind, a link out of the workspace"),
            "{shown}"
        );
        for secret in ["of-the-environment", "HUBPASSWORD", "ghs_THETOKEN", "id-token-of-the-job", "root:"] {
            assert!(!shown.contains(secret), "{secret}: {shown}");
        }
    }
}

#[tokio::test]
async fn invalid_names_of_a_matrix_are_quoted_in_eighty_characters() {
    let long = "x".repeat(500);
    for matrix in [format!("alpine:3.23,{long}"), format!("{long}!:3.23,alpine"), format!("variants:\n- {long}: x\n")] {
        let done = bad_step().input("credentials", "").file("variants.yml", &matrix).run().await;
        assert_eq!(done.code, Some(2), "{}", done.log);
        let error = done.log.lines().find(|line| line.starts_with("::error")).unwrap();
        assert!(error.contains("x…`") && !error.contains(&"x".repeat(81)), "{error}");
    }
}

#[tokio::test]
async fn a_secret_in_what_would_be_published_is_refused_before_anything_is_asked() {
    let matrix = "alpine:3.23,alpine3.23\n";
    for (name, value) in [
        ("env", "TOKEN=ghs_THETOKEN"),
        ("labels", "note=the ghs_THETOKEN of it"),
        ("images", "127.0.0.1:1/hubpassword/uv"),
    ] {
        let credentials = "docker.io bob hubpassword";
        let step = bad_step().input("credentials", credentials).file("variants.yml", matrix).input(name, value);
        let done = step.run().await;
        assert_eq!(done.code, Some(2), "{name}: {}", done.log);
        let shown = shown(&done);
        assert!(shown.contains("a password or token is part of what would be published: `"), "{name}: {shown}");
        assert!(
            shown.contains("***") && !shown.contains("ghs_THETOKEN") && !shown.contains("hubpassword"),
            "{name}: {shown}"
        );
    }
}

#[tokio::test]
async fn an_output_that_redaction_would_alter_is_left_out_and_the_file_of_checksums_replaces_a_link() {
    let Some(world) = World::start(AMD64, &["0.9.26"]).await else { return };
    let credentials = format!("{} {USER} {PASSWORD}", world.closed.host());
    let step = || step(&world, "acme").input("credentials", &credentials);
    let victim = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(victim.path(), "precious").unwrap();
    let first = step();
    let link = first.workspace().join("publish-variants.sha256");
    symlink(victim.path(), &link).unwrap();
    let done = first.run().await.succeeded();
    assert_eq!(std::fs::read_to_string(victim.path()).unwrap(), "precious");
    let digest = done.json("digests")["alpine3.23"].as_str().unwrap().trim_start_matches("sha256:").to_owned();
    assert!(std::fs::read_to_string(&link).unwrap().contains(&digest), "the link is replaced");

    // By chance, the digest contains somebody's password.
    let unlucky = format!("{credentials}\ndocker.io user {}", &digest[8..20]);
    let done = step().input("credentials", &unlucky).run().await;
    assert_eq!(done.code, Some(1), "{}", done.log);
    assert_eq!(done.outputs["status"], "unchanged");
    assert!(
        done.log.contains("a password or token is part of the outputs `checksums`, `notes`, `digests` and `images`"),
        "{}",
        done.log
    );
    assert!(!done.outputs.contains_key("digests") && !done.outputs.contains_key("checksums"), "{:?}", done.outputs);
    assert!(done.outputs.values().all(|value| !value.contains("***")), "{:?}", done.outputs);
}

#[tokio::test]
async fn an_engine_on_another_machine_gets_no_passwords() {
    let Some(world) = World::start(AMD64, &["0.9.26"]).await else { return };
    let (Some(engine), Some(address)) = (parts::engine_classic(), own_address()) else {
        return parts::skip("no engine, or no network");
    };
    let base = TinyImage::new(AMD64)
        .layer_for("linux/amd64", vec![executable("/bin/sh", support::elf::printing("linux/amd64", ""))])
        .build();
    world.closed.push(&base, "library/private", "1").await;
    let (forwarded, sent) = forward(&address, engine.trim_start_matches("unix://"));
    let done = world
        .small_step(&format!("tcp://{forwarded}"), "acme", "0.9.26")
        .input("matrix", &format!("{}/library/private:1,private", world.closed.host()))
        .run()
        .await;
    assert_eq!(done.code, Some(1), "{}", done.log);
    let error = done.log.lines().find(|line| line.starts_with("::error")).unwrap();
    assert!(error.contains("can't be pulled by the engine") && error.contains("so it gets no credentials"), "{error}");
    assert!(
        done.log.contains("::warning") && done.log.contains("no credentials and pulls bases anonymously"),
        "{}",
        done.log
    );
    let sent = String::from_utf8_lossy(&sent.lock().unwrap()).to_ascii_lowercase();
    assert!(sent.contains("/images/create") && !sent.contains("x-registry-auth"), "{sent}");
}

/// The address by which other machines know this one.
fn own_address() -> Option<String> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    // Nothing is sent: this only selects the route.
    socket.connect("192.0.2.1:9").ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback()).then(|| address.to_string())
}

/// Forwards connections to a socket, and records what is sent to it.
fn forward(address: &str, socket: &str) -> (String, Arc<Mutex<Vec<u8>>>) {
    let listener = TcpListener::bind(format!("{address}:0")).unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let (socket, sent) = (Path::new(socket).to_owned(), Arc::new(Mutex::new(Vec::new())));
    let keep = Arc::clone(&sent);
    // The thread ends with the process of the test.
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let engine = UnixStream::connect(&socket).unwrap();
            let (answers, asker): (UnixStream, TcpStream) = (engine.try_clone().unwrap(), client.try_clone().unwrap());
            std::thread::spawn(move || {
                let (mut answers, mut asker) = (answers, asker);
                let _ = std::io::copy(&mut answers, &mut asker);
                let _ = asker.shutdown(std::net::Shutdown::Both);
            });
            let (mut client, mut engine, keep) = (client, engine, Arc::clone(&keep));
            std::thread::spawn(move || {
                let mut buffer = [0; 16 * 1024];
                while let Ok(length @ 1..) = client.read(&mut buffer) {
                    keep.lock().unwrap().extend_from_slice(&buffer[..length]);
                    if engine.write_all(&buffer[..length]).is_err() {
                        break;
                    }
                }
                let _ = engine.shutdown(std::net::Shutdown::Write);
            });
        }
    });
    (host, sent)
}
