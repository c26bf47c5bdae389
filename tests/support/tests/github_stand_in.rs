//! The program `github-stand-in`, run as the demo runs it.

use std::process::Command;

use support::github::READ_TOKEN;
use support::http;
use support::parts::{github_openapi, skip};
use support::process::Process;

async fn start(arguments: &[&str]) -> (Process, String) {
    let mut process = Process::spawn(Command::new(env!("CARGO_BIN_EXE_github-stand-in")).args(arguments));
    let listening = |log: &str| Some(log.split_once("listening on ")?.1.split_once('\n')?.0.to_owned());
    let url = process.wait_for("its address", listening).await;
    (process, url)
}

#[tokio::test]
async fn notes_written_with_the_token_survive_a_restart() {
    if github_openapi().is_none() {
        return skip("PV_GITHUB_OPENAPI is not set");
    }
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state.json");
    let arguments = ["--repository", "acme/tool", "--release", "1.0.0", "--release", "1.1.0", "--token", "s3cret"];
    let arguments = [&arguments[..], &["--state", state.to_str().unwrap()]].concat();

    let (process, url) = start(&arguments).await;
    let headers = [("user-agent", "tests"), ("authorization", "Bearer s3cret")];
    let release = format!("{url}/repos/acme/tool/releases/tags/1.0.0");
    let found = http::get(&release, &headers).await.unwrap().json();
    let patch = format!("{url}/repos/acme/tool/releases/{}", found["id"]);
    assert_eq!(http::request("PATCH", &patch, &headers, r#"{"body":"kept"}"#).await.unwrap().status, 200);
    let reader = [("user-agent", "tests"), ("authorization", &format!("Bearer {READ_TOKEN}"))];
    assert_eq!(http::request("PATCH", &patch, &reader, r#"{"body":"no"}"#).await.unwrap().status, 403);
    assert_eq!(http::request("PATCH", &patch, &headers, r#"{"body":1}"#).await.unwrap().status, 422);
    assert!(process.log().contains("VIOLATION PATCH"), "{}", process.log());
    drop(process);

    let (_process, url) = start(&arguments).await;
    let found = http::get(&format!("{url}/repos/acme/tool/releases/tags/1.0.0"), &headers).await.unwrap().json();
    assert_eq!(found["body"], "kept");
}
