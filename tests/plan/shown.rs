//! What people and programs see of a plan, and the binary from outside.

use std::process::{Command, Output};

use crate::given::given;

const MATRIX: &str = "
variants:
  - base: alpine:3.23
    tags: [alpine3.23, alpine]
  - for: { python: ['3.14', '3.13'] }
    base: python:{python}-slim-trixie
    tags: ['python{python}-trixie-slim']
    newest-tags: [python-slim]
    platforms: [linux/amd64, linux/arm64]
  - base: registry.example.com:5000/some/very/long/path/of/an/image/that/fills/the/line:with-a-long-tag
    tags: [a-variant-with-a-name-that-is-longer-than-anybody-would-choose-but-which-a-registry-accepts]
    deprecated: use another, since this one will not be updated after the end of this year
";

#[test]
fn the_table_fits_a_hundred_columns() {
    let plan = given().input("version", "0.9.26").input("matrix", MATRIX).input("source-tags", "default").plan();
    let table = plan.to_table();
    assert!(table.lines().all(|line| line.chars().count() <= 100), "{table}");
    insta::assert_snapshot!(table);
}

#[test]
fn the_table_says_which_tags_will_not_move() {
    let plan = given()
        .input("version", "0.10.0rc1")
        .input("dry-run", "true")
        .input("matrix", "alpine:3.23,alpine3.23,alpine")
        .plan();
    insta::assert_snapshot!(plan.to_table());
}

#[test]
fn json_has_the_names_of_the_contract() {
    let plan = given()
        .input("version", "0.9.26")
        .input("matrix", "alpine:3.23,alpine3.23,alpine")
        .input("source-tags", "default")
        .plan();
    insta::assert_snapshot!(plan.to_json());
    insta::assert_snapshot!(plan.to_github_matrix());
}

fn run(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_publish-variants"))
        .args(arguments)
        .env_clear()
        .envs(variables.iter().copied())
        .current_dir(env!("CARGO_TARGET_TMPDIR"))
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn options_and_variables_are_the_same_inputs_and_options_count_more() {
    let options = [
        "plan",
        "--version",
        "0.9.26",
        "--matrix",
        "alpine:3.23,alpine",
        "--images",
        "ghcr.io/a/b",
        "--binaries",
        "/b",
        "--format",
        "json",
    ];
    let from_options = run(&options, &[("INPUT_VERSION", "1.0"), ("INPUT_DRY-RUN", "")]);
    assert!(from_options.status.success(), "{}", text(&from_options.stderr));
    let variables = [
        ("INPUT_VERSION", "0.9.26"),
        ("INPUT_MATRIX", "alpine:3.23,alpine"),
        ("INPUT_IMAGES", "ghcr.io/a/b"),
        ("INPUT_BINARIES", "/b"),
        ("INPUT_VERSION-PATTERN", ""),
        ("INPUT_DRY-RUN", ""),
    ];
    let from_variables = run(&["plan", "--format", "json"], &variables);
    assert_eq!(text(&from_options.stdout), text(&from_variables.stdout));
    assert!(text(&from_options.stdout).contains("\"version\": \"0.9.26\""));
}

#[test]
fn bad_input_is_one_message_with_exit_code_2() {
    let output = run(&["plan", "--matrix", "alpine:3.23,alpine"], &[]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(text(&output.stdout), "");
    insta::assert_snapshot!(text(&output.stderr));
    let unknown = run(&["plan", "--platfrms", "x"], &[]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(text(&unknown.stderr).contains("--platforms"), "{}", text(&unknown.stderr));
}

#[test]
fn at_a_terminal_a_message_speaks_of_options_and_leads_to_its_section() {
    let given = ["plan", "--version", "1.0", "--images", "a/b", "--binaries", "/b"];
    let missing = text(&run(&[&given[..], &["-f", "nowhere.yml"]].concat(), &[]).stderr);
    let page = "https://github.com/astral-sh/publish-variants/blob/v1/docs/troubleshooting.md";
    assert_eq!(
        missing,
        format!(
            "error: `--matrix`: file `nowhere.yml` can't be read: No such file or directory\n\
             hint: give the path of a YAML file, or `-f -` to read it from standard input\n\
             see {page}#the-matrix-cant-be-used\n"
        )
    );
    let in_a_job = text(&run(&[&given[..], &["-f", "nowhere.yml"]].concat(), &[("GITHUB_ACTIONS", "true")]).stdout);
    let message = "input `matrix`: file `nowhere.yml` can't be read: No such file or directory%0A\
                   hint: the path is relative to the workspace; is there an `actions/checkout` step before?%0Asee ";
    let expected = format!("{message}{page}#the-matrix-cant-be-used");
    assert!(in_a_job.lines().any(|line| line.starts_with("::error") && line.ends_with(&expected)), "{in_a_job}");
}

#[test]
fn warnings_are_not_in_what_is_printed() {
    let plan = ["plan", "--version", "1.0", "--matrix", "alpine,alpine", "--images", "a/b", "--binaries", "/b"];
    let plan = [&plan[..], &["--format", "json", "--platforms", "linux/arm46"]].concat();
    for (variables, warning) in
        [(&[][..], "warning: `--platforms`"), (&[("GITHUB_ACTIONS", "true")], "::warning title=")]
    {
        let output = run(&plan, variables);
        let stderr = text(&output.stderr);
        assert!(output.status.success() && stderr.contains(warning) && stderr.contains("linux/arm64"), "{stderr}");
        let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(json["variants"][0]["platforms"][0], "linux/arm46");
    }
}

#[test]
fn without_a_command_people_get_help() {
    let output = run(&[], &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stdout).contains("Usage:"), "{}", text(&output.stdout));
}

#[test]
fn secrets_are_in_no_output() {
    let output = run(
        &["plan", "--version", "x", "--credentials", "docker.io user hunter2 hunter2", "--github-token", "hunter2"],
        &[("INPUT_CREDENTIALS", "quay.io hunter2")],
    );
    assert!(!text(&output.stderr).contains("hunter2"));
    assert_eq!(output.status.code(), Some(2));
}
