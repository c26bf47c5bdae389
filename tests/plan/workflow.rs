//! The step in a workflow file, and a matrix on standard input.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use publish_variants::action::step::Workflow;
use publish_variants::action::{Environment, Options};
use publish_variants::error::Failure;
use publish_variants::plan::{Plan, Text};

const WORKFLOW: &str = "\
name: Release
on:
  workflow_dispatch: { inputs: { version: { required: true } } }
jobs:
  build:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v5
      - run: make
  variants:
    runs-on: ubuntu-latest
    steps:
      - id: variants
        uses: astral-sh/publish-variants@0123456789abcdef0123456789abcdef01234567 # v1
        with:
          version: ${{ inputs.version }}
          binaries: /uv /uvx
          images: ghcr.io/astral-sh/uv
          credentials: docker.io ${{ vars.HUB_USER }} ${{ secrets.HUB_TOKEN }}
          verify: false
          matrix: |
            alpine:3.23,alpine3.23,alpine
            debian:trixie-slim,trixie-slim,debian
";

fn inputs(text: &str, step: Option<&str>, given: &[&str]) -> Result<Environment, Failure> {
    let files = BTreeMap::from([(PathBuf::from("release.yml"), text.to_owned())]);
    let given: BTreeSet<String> = given.iter().map(|name| (*name).to_owned()).collect();
    let workflow = Workflow { path: "release.yml", step, given: &given };
    workflow.inputs(&Environment::default(), &files).map_err(Failure::from)
}

fn message(text: &str, step: Option<&str>, given: &[&str]) -> String {
    let failure = inputs(text, step, given).map(|_| ()).unwrap_err();
    assert_eq!(failure.exit_code(), 2);
    failure.to_string()
}

#[test]
fn the_inputs_are_those_of_the_step() {
    let inputs = inputs(WORKFLOW, None, &["version"]).unwrap();
    let all = ["version", "binaries", "images", "credentials", "verify"].map(|name| inputs.input(name));
    assert_eq!(all, [None, Some("/uv /uvx"), Some("ghcr.io/astral-sh/uv"), None, Some("false")]);
    assert_eq!(inputs.input("matrix").unwrap().trim().lines().count(), 2);
}

#[test]
fn every_way_of_using_the_action_is_found() {
    let pinned = "astral-sh/publish-variants@0123456789abcdef0123456789abcdef01234567 # v1";
    for uses in [
        "$/",
        "./",
        "./actions/variants",
        "acme/publish-variants@v1",
        "docker://ghcr.io/astral-sh/publish-variants:1.0.0",
    ] {
        let text = WORKFLOW.replace(pinned, uses);
        assert!(inputs(&text, None, &["version"]).is_ok(), "{uses}");
    }
    let elsewhere = WORKFLOW.replace(pinned, "acme/publish@v1");
    assert!(
        message(&elsewhere, None, &[])
            .starts_with("release.yml:1:1: no step of this workflow uses this action\nhint: ")
    );
    let local = WORKFLOW.replace(pinned, "./other").replace("matrix: |", "text: |");
    assert!(message(&local, None, &[]).contains("no step"));
}

#[test]
fn inputs_that_are_known_only_when_the_workflow_runs_are_reported_with_their_place() {
    let unknown = WORKFLOW
        .replace("images: ghcr.io/astral-sh/uv", "images: ghcr.io/${{ github.repository }}\n          matricks: x");
    insta::assert_snapshot!(message(&unknown, None, &[]), @"
    the input has 3 problems
      release.yml:16:20: input `version` has `${{ inputs.version }}`, which is known only when the workflow runs
        hint: give the input's value with `--version`
      release.yml:18:19: input `images` has `${{ github.repository }}`, which is known only when the workflow runs
        hint: give the input's value with `--images`
      release.yml:19:11: the action has no input `matricks`
        hint: did you mean `matrix`?
    ");
}

#[test]
fn one_of_several_steps_is_chosen() {
    let second = "  nightly:\n    steps:\n      - name: Nightly images\n        uses: ./\n        with: { matrix: 'alpine,nightly' }\n";
    let text = format!("{WORKFLOW}{second}");
    insta::assert_snapshot!(message(&text, None, &[]), @"
    release.yml:1:1: several steps use this action: `variants` in line 13, `Nightly images` in line 26
    hint: choose one with `--step`: its `id`, its `name`, or the job that it is in
    ");
    for step in ["nightly", "Nightly images"] {
        let inputs = inputs(&text, Some(step), &[]).unwrap();
        assert_eq!(inputs.input("matrix").map(str::trim), Some("alpine,nightly"), "{step}");
    }
    assert!(inputs(&text, Some("variants"), &["version"]).is_ok());
    assert!(message(&text, Some("nothing"), &[]).contains("`--step` fits no step"));
}

#[test]
fn what_is_wrong_in_the_matrix_has_its_place_in_the_file() {
    let place = |matrix: &str, wrong: &str| {
        let text = WORKFLOW.split("          matrix: |").next().unwrap().to_owned() + "          matrix: " + matrix;
        let (line, column) =
            text.lines().zip(1..).find_map(|(text, line)| Some((line, text.find(wrong)? + 1))).unwrap();
        let files = BTreeMap::from([(PathBuf::from("release.yml"), text)]);
        let given = BTreeSet::from(["version".to_owned()]);
        let inputs =
            Workflow { path: "release.yml", step: None, given: &given }.inputs(&Environment::default(), &files);
        let inputs = inputs.unwrap().with([("INPUT_VERSION".to_owned(), "1.2.3".to_owned())]);
        let error = Plan::read(&Options::default(), &inputs, &files).map(|(plan, ..)| plan.to_json()).unwrap_err();
        assert!(error.to_string().contains(&format!("release.yml:{line}:{column}: ")), "{line}:{column}: {error}");
    };
    place("|\n            alpine,alpine\n\n            # a comment\n            debian,de/bian\n", "de/bian");
    place(
        "|\n            defaults: {}\n            variants:\n              - base: alpine\n                tagz: [a]\n",
        "tagz",
    );
    place("'{ variants: [{ base: alpine, tagz: [a] }] }'\n", "tagz");
    place("alpine,al/pine\n", "al/pine");
    // If the lines of a text aren't literally in the file, its places are those in the text.
    let folded = WORKFLOW.replace("matrix: |", "matrix: >").replace("debian:trixie-slim,trixie-slim,debian", "de/bian");
    let inputs = inputs(&folded, None, &["version"]).unwrap();
    assert_eq!(inputs.text_of("matrix"), Text::Input("matrix"));
}

#[test]
fn the_repository_of_the_work_tree_gives_the_defaults_that_the_job_has() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join(".git")).unwrap();
    std::fs::write(folder.path().join(".git/config"), "[remote \"origin\"]\n\turl = git@github.com:Acme/uv.git\n")
        .unwrap();
    std::fs::write(folder.path().join("release.yml"), WORKFLOW.replace("images: ghcr.io/astral-sh/uv", "")).unwrap();
    let mut plan = Command::new(env!("CARGO_BIN_EXE_publish-variants"));
    plan.current_dir(folder.path()).env_clear().args(["plan", "--workflow", "release.yml", "--version", "0.9.26"]);
    let output = plan.output().unwrap();
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(table.contains("ghcr.io/acme/uv"), "{table}{}", String::from_utf8_lossy(&output.stderr));
}

/// Runs `plan` with a text on standard input. Returns what it printed, and its exit code.
fn plan(arguments: &[&str], input: &str) -> (String, Option<i32>) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("release.yml"), WORKFLOW).unwrap();
    let mut plan = Command::new(env!("CARGO_BIN_EXE_publish-variants"));
    plan.current_dir(folder.path()).env_clear().arg("plan").args(arguments);
    let mut plan = plan.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    plan.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = plan.wait_with_output().unwrap();
    (String::from_utf8([output.stdout, output.stderr].concat()).unwrap(), output.status.code())
}

#[test]
fn the_command_line_reads_workflows_and_standard_input_and_options_take_precedence() {
    let inputs =
        ["--version", "0.9.26", "--binaries", "/uv /uvx", "--images", "ghcr.io/astral-sh/uv", "--verify", "false"];
    let json = ["--format", "json"];
    let lines = "alpine:3.23,alpine3.23,alpine\ndebian:trixie-slim,trixie-slim,debian\n";
    let (by_input, code) = plan(&[&inputs[..], &json, &["-f", "-"]].concat(), lines);
    assert_eq!(code, Some(0), "{by_input}");
    let (by_workflow, code) = plan(&[&["--workflow", "release.yml", "--version", "0.9.26"][..], &json].concat(), "");
    assert_eq!(code, Some(0), "{by_workflow}");
    let without_places =
        |json: &str| json.lines().filter(|line| !line.contains("\"place\"")).collect::<Vec<_>>().join("\n");
    assert_eq!(without_places(&by_workflow), without_places(&by_input));
    let (other, _) = plan(
        &["--workflow", "release.yml", "--version", "0.9.26", "--images", "quay.io/acme/uv", "-f", "-"],
        "alpine,alpine",
    );
    assert!(
        other.contains("quay.io/acme/uv") && !other.contains("ghcr.io/astral-sh/uv\n") && !other.contains("debian"),
        "{other}"
    );
    let (refused, code) =
        plan(&["--version", "0.9.26", "--binaries", "/uv", "--images", "quay.io/acme/uv", "-f", "release.yml"], "");
    assert_eq!(code, Some(2));
    assert!(refused.contains("this is a workflow") && refused.contains("plan --workflow release.yml"), "{refused}");
}
