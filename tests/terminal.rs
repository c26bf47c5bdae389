//! What people see at a terminal of 80 columns.

#![expect(clippy::unwrap_used, reason = "a failing setup fails its test")]

mod tool;

use std::process::Command;

use serde_json::json;
use support::terminal::{Done, run};

use tool::{registry, step};

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_publish-variants"));
    command.env_clear().env("TERM", "xterm-256color").args(arguments);
    command
}

/// Asserts that lines end where the program ended them, and that nothing is padded.
fn assert_tidy(done: &Done) {
    let blanks = " ".repeat(10);
    assert!(done.written.ends_with("\r\n") || done.written.ends_with("\u{1b}[2K"), "{:?}", done.written);
    for line in &done.lines {
        assert!(!line.trim_start().contains(&blanks) && !line.ends_with(' '), "{:#?}", done.lines);
    }
}

#[test]
fn an_error_of_several_lines_keeps_its_lines() {
    let done = run(&command(&["plan", "--version", "1.2.3", "--images", "Acme", "--platforms", "linux"]), 80);
    assert_eq!(done.code, Some(2));
    assert_tidy(&done);
    assert!(!done.written.contains(&" ".repeat(10)), "{:?}", done.written);
    assert_eq!(done.lines[0], "error: the input has 4 problems");
    let (link, problems) = done.lines[1..].split_last().unwrap();
    assert!(problems.len() > 4 && problems.iter().all(|line| line.starts_with("  ")), "{:#?}", done.lines);
    assert!(link.starts_with("see https://"), "{link}");
}

#[test]
fn the_table_of_a_plan_fits_the_terminal() {
    let matrix = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/matrix/uv.txt");
    let plan =
        ["plan", "--version", "0.9.26", "--binaries", "/uv /uvx", "--images", "ghcr.io/astral-sh/uv", "-f", matrix];
    let done = run(&command(&plan), 80);
    assert_eq!(done.code, Some(0));
    assert!(done.lines.iter().all(|line| line.chars().count() <= 80), "{:#?}", done.lines);
    assert_eq!(done.lines.last().unwrap(), "29 variants, 40 exact and 80 rolling tags in ghcr.io/astral-sh/uv");
}

/// The words that bash offers after `words`, the last of which is incomplete.
fn completed(words: &[&str]) -> Vec<String> {
    let script = "
        eval \"$(\"$0\" completions bash)\"
        [[ $(complete -p publish-variants) =~ -F\\ ([^ ]+) ]] || exit
        COMP_WORDS=(publish-variants \"$@\")
        COMP_CWORD=$#
        ${BASH_REMATCH[1]} publish-variants \"${COMP_WORDS[COMP_CWORD]}\" \"${COMP_WORDS[COMP_CWORD-1]}\"
        printf '%s\\n' \"${COMPREPLY[@]}\"";
    let output =
        Command::new("bash").args(["-c", script, env!("CARGO_BIN_EXE_publish-variants")]).args(words).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_commands_options_and_values() {
    assert_eq!(completed(&["pl"]), ["plan"]);
    assert_eq!(completed(&["publish", "--rol"]), ["--rolling"]);
    assert_eq!(completed(&["publish", "--rolling", ""]), ["guard", "always", "never"]);
    assert_eq!(completed(&["plan", "--format", "m"]), ["markdown"]);
    assert_eq!(completed(&["plan", "--conc"]), [""], "a plan doesn't offer it");
}

#[test]
fn every_shell_gets_a_script() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let output =
            Command::new(env!("CARGO_BIN_EXE_publish-variants")).args(["completions", shell]).output().unwrap();
        assert!(output.status.success() && output.stdout.len() > 1_000, "{shell}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_of_a_run_keeps_its_lines_and_leaves_no_bars_behind() {
    let registry = registry(&json!({}));
    let host = registry.host();
    let step = step(&registry).variable("GITHUB_ACTIONS", "").variable("TERM", "xterm").input("version", "1.2.3");
    let mut command = step.command();
    command.arg("publish");
    let done = tokio::task::spawn_blocking(move || run(&command, 80)).await.unwrap();
    assert_eq!(done.code, Some(0), "{:#?}", done.lines);
    assert_tidy(&done);
    assert!(!done.lines.iter().any(|line| line.contains('█') || line.contains('░')), "{:#?}", done.lines);
    for line in
        ["resolve", "survey", "push", "tag", &format!("  {host}/acme/tool  created 1.2.3-alpine, 1.2-alpine, alpine")]
    {
        assert!(done.lines.iter().any(|written| written == line), "`{line}` is missing: {:#?}", done.lines);
    }
    assert!(done.lines.last().unwrap().starts_with("Published 1 variant of tool 1.2.3"), "{:#?}", done.lines);
}
