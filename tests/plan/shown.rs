//! What people and programs see of a plan, and how the binary behaves.

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Command, Output};

use publish_variants::action::options::NOT_IN_A_PLAN;
use publish_variants::cli::Cli;
use publish_variants::plan::Plan;
use serde_json::json;

use crate::given::{Given, given};

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

const UV: &str = include_str!("../fixtures/matrix/uv.txt");
const RUFF: &str = include_str!("../fixtures/matrix/ruff.txt");

#[test]
fn the_table_fits_the_terminal_and_a_longer_word_is_not_broken() {
    let plan = given().input("version", "0.9.26").input("matrix", MATRIX).input("source-tags", "default").plan();
    let tables = [240, 100, 40].map(|width| format!("# {width} columns\n{}", plan.to_table(width)));
    insta::assert_snapshot!(tables.join("\n"));
}

#[test]
fn no_width_breaks_a_tag_or_a_base() {
    let plan = given().input("version", "0.9.26").input("matrix", UV).input("source-tags", "default").plan();
    let tags = plan.variants.iter().flat_map(|variant| variant.tags.iter()).map(ToString::to_string);
    let bases = plan.variants.iter().filter_map(|variant| Some(variant.made.base()?.familiar()));
    let wanted: Vec<String> = tags.chain(bases).collect();
    assert_eq!(wanted.len(), 120 + 29);
    for width in [20, 40, 60, 72, 80, 86, 90, 98, 100, 120] {
        let table = plan.to_table(width);
        let words: BTreeSet<&str> = table.split_whitespace().collect();
        let broken: Vec<&String> = wanted.iter().filter(|word| !words.contains(word.as_str())).collect();
        assert!(broken.is_empty(), "{width}: {broken:?}\n{table}");
        let longest = words.iter().map(|word| word.chars().count()).max().unwrap() + "executables   ".len();
        assert!(table.lines().all(|line| line.chars().count() <= width.max(longest)), "{width}\n{table}");
    }
    let table = plan.to_table(100);
    assert!(
        table.ends_with("\n29 variants and the source, 41 exact and 82 rolling tags in each of 2 repositories\n"),
        "{table}"
    );
    assert_eq!(table.matches("auto: all that source and base have").count(), 1);
    assert!(table.lines().count() <= 125, "{} lines", table.lines().count());
}

#[test]
fn markdown_lists_bases_and_tags_as_a_page_of_documentation_does() {
    let uv = given().input("version", "0.9.26").input("matrix", UV).input("source-tags", "default");
    insta::assert_snapshot!(uv.plan().to_markdown());
    let ruff = given().input("version", "0.14.11").input("matrix", RUFF).input("binaries", "/ruff");
    let ruff = ruff.input("images", "ghcr.io/astral-sh/ruff").input("platforms", "linux/amd64 linux/arm64");
    insta::assert_snapshot!(ruff.plan().to_markdown());
}

#[test]
fn markdown_claims_no_tag_that_a_variant_lacks() {
    let matrix = "
variants:
  - { base: alpine:3.23, tags: [alpine3.23, alpine], default: true }
  - base: debian:trixie-slim
    tags: [trixie-slim]
    deprecated: use `alpine` | or another
    platforms: [linux/amd64]
";
    let plan = given().input("version", "1.4.0").input("matrix", matrix).input("source", "ghcr.io/acme/source");
    insta::assert_snapshot!(plan.plan().to_markdown(), @r"
    2 variants in `ghcr.io/astral-sh/uv` and `docker.io/astral/uv`. Every tag of a variant also exists as `1.4.0-<tag>` and `1.4-<tag>`.

    | Base | Tags | Platforms |
    | --- | --- | --- |
    | `alpine:3.23` | `alpine3.23`, `alpine`, `1.4.0`, `1.4`, `latest` | those of the base |
    | `debian:trixie-slim` | `trixie-slim` (deprecated: use `alpine` \| or another) | linux/amd64 |
    ");
    insta::assert_snapshot!(plan.input("version", "1.4.0rc1").plan().to_markdown(), @r"
    2 variants in `ghcr.io/astral-sh/uv` and `docker.io/astral/uv`.

    | Base | Tags | Platforms |
    | --- | --- | --- |
    | `alpine:3.23` | `1.4.0rc1-alpine3.23`, `1.4.0rc1-alpine`, `1.4.0rc1` | those of the base |
    | `debian:trixie-slim` | `1.4.0rc1-trixie-slim` (deprecated: use `alpine` \| or another) | linux/amd64 |
    ");
}

/// A plan in every format with its warnings, or the error.
fn seen(given: &Given) -> String {
    let shown = |plan: Plan| {
        let warnings = plan.warnings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        [plan.to_table(80), plan.to_json(), plan.to_github_matrix(), plan.to_markdown(), warnings].join("\n")
    };
    given.read().map_or_else(|error| error.to_string(), |(plan, ..)| shown(plan))
}

#[test]
fn plan_offers_the_options_that_change_it_and_no_others() {
    let matrix = "
variants:
  - { base: alpine, tags: [alpine], run: [touch /x] }
  - { tags: [other], image: 'ghcr.io/acme/other@sha256:HEX' }
";
    let matrix = matrix.replace("HEX", &"0".repeat(64));
    let given = given()
        .recorded(
            "pull_request.opened",
            &[("/pull_request/head/sha", json!("0123456789abcdef0123456789abcdef01234567"))],
        )
        .variable("GITHUB_REF", "refs/pull/7/merge")
        .input("tag-templates", "sha-{sha}-{tag}")
        .file("record.json", json!({ "third": format!("ghcr.io/acme/other@sha256:{}", "1".repeat(64)) }).to_string())
        .input("matrix", &matrix);
    let values = BTreeMap::from([
        ("annotations", "org.opencontainers.image.vendor=Acme"),
        ("binaries", "/other"),
        ("builder", "registry"),
        ("concurrency", "2"),
        ("created", "2026-01-15T20:00:00Z"),
        ("credentials", "quay.io user password"),
        ("dry-run", "true"),
        ("env", "NAME=value"),
        ("github-token", "token"),
        ("ignore-versions", "1.2.3"),
        ("images", "quay.io/acme/uv"),
        ("images-from", "record.json"),
        ("insecure-registries", "registry.local:5000"),
        ("labels", "name=value"),
        ("matrix", "debian,debian"),
        ("on-conflict", "replace"),
        ("platforms", "linux/amd64"),
        ("pull-request", "push"),
        ("release-notes", "false"),
        ("repository-url", "https://github.com/acme/uv"),
        ("revision", "fedcba9876543210fedcba9876543210fedcba98"),
        ("rolling", "never"),
        ("source", "ghcr.io/acme/other"),
        ("source-tags", "sha-{sha}"),
        ("tag-templates", "{sha}-{tag}"),
        ("verify", "false"),
        ("version", "1.2.3"),
        ("version-pattern", "uv-{version}"),
        ("version-scheme", "semver"),
    ]);
    let before = seen(&given);
    let changes: Vec<&str> = values
        .iter()
        .filter(|(name, value)| {
            let given = match **name {
                // Development builds have neither.
                "version-pattern" => given.clone().input("version", "uv-1.2.3"),
                "version-scheme" => {
                    given.clone().input("version", "1.2.3-post1").input("tag-templates", "{version}-{tag}")
                }
                "ignore-versions" | "rolling" => {
                    given.clone().input("version", "1.2.3").input("tag-templates", "{version}-{tag}\n{tag}")
                }
                "images-from" => given.clone().input("matrix", "variants: [{ tags: [third] }]"),
                "dry-run" => given.clone().input("pull-request", "push"),
                _ => given.clone(),
            };
            seen(&given.clone().input(name, value)) != seen(&given)
        })
        .map(|(name, _)| *name)
        .collect();
    assert!(before.contains("\"name\": \"alpine\""), "{before}");
    let commands = Cli::offered();
    let offered = |command: &str| -> BTreeSet<&str> {
        let options = commands.find_subcommand(command).unwrap().get_arguments();
        options
            .filter(|option| !option.is_hide_set())
            .filter_map(clap::Arg::get_long)
            .filter(|name| values.contains_key(name))
            .collect()
    };
    assert_eq!(offered("plan").into_iter().collect::<Vec<_>>(), changes);
    assert_eq!(offered("publish"), values.keys().copied().collect());
    // A command line of `publish` can be tried with `plan`.
    let line = ["plan", "--version", "1.2.3", "--binaries", "/b", "--images", "a.io/b/c", "--matrix", "alpine,alpine"];
    let hidden = NOT_IN_A_PLAN.iter().flat_map(|name| [format!("--{name}"), values[name].to_owned()]);
    let all: Vec<String> = line.map(str::to_owned).into_iter().chain(hidden).collect();
    let all = run(&all.iter().map(String::as_str).collect::<Vec<_>>(), &[]);
    assert_eq!(text(&all.stdout), text(&run(&line, &[]).stdout), "{}", text(&all.stderr));
}

#[test]
fn the_command_line_and_the_inputs_say_which_values_are_possible() {
    let commands = Cli::offered();
    let publish = commands.find_subcommand("publish").unwrap();
    let mut seen = 0;
    for option in publish.get_arguments().filter(|option| option.get_long().is_some_and(|name| name != "help")) {
        let values: Vec<String> = option
            .get_possible_values()
            .iter()
            .filter(|value| !value.is_hide_set())
            .map(|value| value.get_name().to_owned())
            .collect();
        if values.is_empty() || !option.get_action().takes_values() {
            continue;
        }
        let name = option.get_long().unwrap();
        let (near, listed) = (format!("{}x", values[0]), format!("[possible values: {}]", values.join(", ")));
        let refused = run(&["publish", &format!("--{name}={near}")], &[]);
        let (by_option, by_input) = (text(&refused.stderr), given().input(name, &near).failure());
        assert_eq!(refused.status.code(), Some(2));
        assert!(by_option.contains(&listed) && by_input.contains(&listed), "{by_option}\n{by_input}");
        let similar = format!("a similar value exists: '{}'", values[0]);
        assert!(
            by_option.contains(&similar) && by_input.contains(&similar.replace('\'', "`")),
            "{by_option}\n{by_input}"
        );
        seen += 1;
    }
    assert_eq!(seen, 8);
}

#[test]
fn the_table_says_which_tags_will_not_move() {
    let plan = given()
        .input("version", "0.10.0rc1")
        .input("dry-run", "true")
        .input("matrix", "alpine:3.23,alpine3.23,alpine")
        .plan();
    insta::assert_snapshot!(plan.to_table(100));
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
fn options_and_variables_are_the_same_inputs_and_options_take_precedence() {
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
        "--tag-templates",
        "{version}-{tag}",
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
        ("INPUT_TAG_TEMPLATES", "{version}-{tag}"),
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
                   hint: the path is relative to the workspace; does an earlier step run `actions/checkout`?%0Asee ";
    let expected = format!("{message}{page}#the-matrix-cant-be-used");
    assert!(in_a_job.lines().any(|line| line.starts_with("::error") && line.ends_with(&expected)), "{in_a_job}");
}

#[test]
fn warnings_are_not_printed_to_standard_output() {
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
