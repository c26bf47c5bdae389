//! Inputs and matrices as people write them: on several lines, with comments, empty items, byte order marks, and the
//! spellings of other tools.

use publish_variants::hint::Hinted;
use publish_variants::plan::{Plan, Platforms};

use crate::given::{Given, failures, given};

fn with(matrix: &str) -> Given {
    given().input("version", "0.9.26").input("matrix", matrix)
}

/// A variant with additional keys.
fn variant(keys: &str) -> Given {
    let keys: String = keys.lines().map(|line| format!("    {line}\n")).collect();
    with(&format!("variants:\n  - base: alpine\n    tags: [alpine]\n{keys}"))
}

/// The commands that the matrix asks for, after the default ones.
fn verified(keys: &str) -> Vec<Vec<String>> {
    variant(keys).plan().variants[0].checks.iter().skip(2).map(|check| check.command.clone()).collect()
}

fn warnings(plan: &Plan) -> Vec<String> {
    plan.warnings.iter().map(Hinted::with_hints).collect()
}

#[test]
fn every_line_of_verify_is_a_command() {
    let lines = "verify: |\n  tool --version\n\n  # and then\n  tool selfcheck | grep ok\n  python -c 'a\n  b'\n  tool \\\n    x\n";
    assert_eq!(
        verified(lines),
        [
            &["tool", "--version"][..],
            &["sh", "-c", "tool selfcheck | grep ok"],
            &["python", "-c", "a\nb"],
            &["tool", "x"]
        ]
    );
    assert_eq!(verified("verify: [tool --version, '', ~, \"python -c 'a\\nb'\"]").len(), 2);
    assert!(verified("verify: ''").is_empty() && verified("verify: [\"''\"]").is_empty());
}

#[test]
fn a_single_command_has_a_single_line() {
    let one = "cmd: |\n  # the tool\n  uv \\\n    'a\n  b'\nentrypoint: >\n  env\n  -i\n";
    let plan = variant(one).plan();
    assert_eq!(plan.variants[0].changes.cmd.as_deref().unwrap(), ["uv", "a\nb"]);
    assert_eq!(plan.variants[0].changes.entrypoint.as_deref().unwrap(), ["env", "-i"]);
    insta::assert_snapshot!(failures([
        ("two lines", variant("cmd: |\n  uv\n  uvx\n")),
        ("two lines of an item", variant("verify:\n  - |\n    cd /tmp\n    uv --version\n")),
        ("two lines with an expected output", variant("verify: { command: \"a\\nb\", contains: x }")),
        ("a loop", variant("verify: |\n  for a in b; do\n    uv $a\n  done\n")),
        ("an open quote", variant("entrypoint: \"uv 'a\"")),
        ("no command", variant("verify: { command: [], contains: x }")),
        ("a command without a name", variant("cmd: ['', x]")),
        ("a character that nothing takes", variant("cmd: \"uv \\0\"")),
    ]));
}

#[test]
fn an_empty_entrypoint_is_cleared_however_it_is_written() {
    for empty in ["''", "[]", "['']", "' '", "\"''\"", "|\n  # none\n"] {
        let plan = variant(&format!("cmd: {empty}\nentrypoint: {empty}")).plan();
        let changes = &plan.variants[0].changes;
        assert_eq!((changes.cmd.as_deref(), changes.entrypoint.as_deref()), (Some(&[][..]), Some(&[][..])), "{empty}");
    }
    assert_eq!(variant("cmd: [sh, -c, '']").plan().variants[0].changes.cmd.as_ref().unwrap().len(), 3);
}

#[test]
fn names_that_no_variable_can_have_are_refused_with_their_place() {
    let matrix = "env: { \"A B\": 1, \"\": 2, \"A=B\": 3, \"A\\tB\": 4, a.b-c: 5 }\nlabels: { \"\": x, \"a b\": y }";
    insta::assert_snapshot!(failures([
        ("in the matrix", variant(matrix)),
        ("in the defaults", with("defaults:\n  env:\n    A B: 1\nvariants:\n  - alpine,a\n  - debian,b\n")),
        ("in the input", with("alpine,alpine").input("env", "A B=1\n=2\nA\u{1}B=3\nGOOD=4")),
    ]));
}

#[test]
fn run_entries_are_single_instructions() {
    let plan =
        variant("run:\n  - apk add git\n  - |\n    # tools\n    apk add \\\n      # for builds\n      make\n  -\n")
            .plan();
    let run: Vec<String> = plan.variants[0].run.iter().map(ToString::to_string).collect();
    assert_eq!(run, ["apk add git", "apk add \\\n  make"]);
    insta::assert_snapshot!(failures([
        ("two instructions", variant("run: |\n  apt-get update\n  apt-get install -y git\n")),
        ("a second item", variant("run:\n  - 'true'\n  - |\n    true \\\n")),
        ("a line that engines read differently", variant("run: |\n  echo a\\\\\n  USER root\n")),
        ("a here-document", variant("run: |\n  cat <<EOF\n")),
        ("nothing but a comment", variant("run: '# nothing'")),
        ("the instruction's name", variant("run: RUN apk add git")),
    ]));
}

#[test]
fn comments_and_empty_items_are_left_out_of_every_list() {
    let plan =
        with("# bases\r\n\r\nalpine:3.23, alpine3.23,,alpine, # the usual\r\n\tdebian:13,debian\t# the other\r\n")
            .input("images", "# the registry\r\nghcr.io/a/b,,\r\n# docker.io/a/b\r\nquay.io/a/b # mirror\r\n")
            .input("binaries", "# the tool\r\n/uv  # and\r\n#/uvw\r\n/uvx")
            .input("platforms", "# usual\r\nlinux/amd64,\r\n")
            .input("env", "# where tools go\r\nA=b # c\r\n#D=e\r\n\r\n")
            .input("labels", "# of the company\r\na=#b\r\n")
            .input("annotations", "# of the company\r\nc=d\r\n")
            .input("tag-templates", "# exact\r\n{version}-{tag}\r\n# rolling\r\n{tag}\r\n")
            .input("source-tags", "# exact\r\n{version}\r\n# rolling\r\nlatest\r\n")
            .input("ignore-versions", "# withdrawn\r\n0.9.25 # bad\r\n")
            .input("insecure-registries", "# none\r\n")
            .plan();
    let destinations: Vec<String> = plan.destinations.iter().map(ToString::to_string).collect();
    assert_eq!(destinations, ["ghcr.io/a/b", "quay.io/a/b"]);
    assert_eq!(plan.binaries, ["/uv", "/uvx"].into_iter().collect());
    let [alpine, debian] = &plan.variants[..] else { panic!("not two variants") };
    let tags: Vec<&str> = alpine.tags.iter().map(|tag| tag.as_str()).collect();
    assert_eq!(tags, ["0.9.26-alpine3.23", "0.9.26-alpine", "alpine3.23", "alpine"]);
    assert_eq!(debian.name, "debian");
    assert_eq!(alpine.changes.env, [("A".to_owned(), "b # c".parse().unwrap())].into());
    assert_eq!(alpine.changes.labels, [("a".to_owned(), "#b".to_owned())].into());
    assert_eq!(alpine.annotations.index, [("c".to_owned(), "d".to_owned())].into());
    assert!(matches!(&alpine.platforms, Platforms::Listed(listed) if listed.len() == 1));
    assert_eq!(plan.source.unwrap().tags.iter().count(), 2);
}

#[test]
fn empty_items_of_a_matrix_are_left_out_and_empty_values_of_axes_count() {
    let plan = with(
        "
variants:
  -
  - ''
  - for: { suffix: ['', -slim] }
    base: debian:13{suffix}
    tags: |
      debian13{suffix}, debian{suffix}
      # the first
    newest-tags: ['', ~, first]
    platforms: |
      linux/amd64
      # linux/s390x
",
    )
    .plan();
    let names: Vec<String> = plan
        .variants
        .iter()
        .map(|variant| {
            format!(
                "{} {}",
                variant.made.base().unwrap(),
                variant.tags.exact.iter().map(|tag| tag.as_str()).collect::<Vec<_>>().join(" ")
            )
        })
        .collect();
    assert_eq!(
        names,
        [
            "docker.io/library/debian:13 0.9.26-debian13 0.9.26-debian 0.9.26-first",
            "docker.io/library/debian:13-slim 0.9.26-debian13-slim 0.9.26-debian-slim"
        ]
    );
    assert!(matches!(&plan.variants[0].platforms, Platforms::Listed(listed) if listed.len() == 1));
}

#[test]
fn a_byte_order_mark_and_windows_line_ends_change_nothing() {
    let matrix = "variants:\n  - base: alpine\n    tags: [alpine]\n    verify: |\n      uv a\n      uv b\n    run: |\n      apk add \\\n        git\n";
    let plan = with(matrix).plan().to_json();
    let marked = format!("\u{feff}{}", matrix.replace('\n', "\r\n"));
    assert_eq!(with(&marked).plan().to_json(), plan);
    let file = given().input("version", "0.9.26").input("matrix", "variants.yml");
    let of_file = file.clone().file("variants.yml", marked.clone()).plan().to_json();
    assert_eq!(of_file.replace("variants.yml:", "matrix:"), plan);
    assert_eq!(file.clone().file("variants.yml", "\u{feff}alpine,alpine\r\n").plan().variants[0].name, "alpine");
    let faulty = marked.replace("base: alpine", "base: Alpine");
    assert!(file.file("variants.yml", faulty).failure().starts_with("variants.yml:2:11: `Alpine`"));
}

#[test]
fn levels_of_annotations_are_those_of_metadata_action() {
    let plan = variant("annotations: { \"index:a\": own, \"manifest:b\": own }")
        .input("annotations", "index:a=input\nmanifest:a=input\nindex,manifest:c=input\nd=input")
        .plan();
    let annotations = &plan.variants[0].annotations;
    let of = |level: &std::collections::BTreeMap<String, String>| {
        level.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(of(&annotations.index), "a=own c=input d=input");
    assert_eq!(of(&annotations.manifest), "a=input b=own c=input d=input");
    insta::assert_snapshot!(failures([
        ("in the matrix", variant("annotations: { \"manifest-descriptor:a\": 1, \"manifst:b\": 2, \"index:\": 3 }")),
        ("in the input", with("alpine,alpine").input("annotations", "index-descriptor:a=1\nmanifest[linux/amd64]:b=2")),
    ]));
}

#[test]
fn a_check_that_needs_a_shell_is_refused_if_there_is_none() {
    let checks = "    verify:\n      - tool --version | grep 1\n      - tool --help\n";
    let failure = with(&format!("variants:\n  - base: scratch\n    tags: bare\n{checks}")).failure();
    let expected =
        "`tool --version | grep 1` in `verify` needs a shell, and `base: scratch` has none\nhint: run one program";
    assert!(failure.contains(expected), "{failure}");
    let brought = "    binaries: [/tool, /busybox -> /bin/sh]\n";
    for fine in [
        format!("  - base: alpine\n    tags: a\n{checks}"),
        format!("  - base: scratch\n    tags: bare\n{checks}{brought}"),
        "  - base: scratch\n    tags: bare\n    verify: tool --help\n".to_owned(),
    ] {
        with(&format!("variants:\n{fine}")).plan();
    }
}

#[test]
fn a_platform_that_nobody_knows_is_a_warning_with_the_nearest() {
    let plan = with("defaults:\n  platforms: [linux/amd64, linux/arm46]\nvariants:\n  - alpine,a\n  - debian,b\n")
        .input("platforms", "linux/amd64 linux/rsicv64 linux/quantum")
        .plan();
    insta::assert_snapshot!(warnings(&plan).join("\n\n"));
    let known = with("alpine,a").input("platforms", "linux/amd64 linux/arm/v6 linux/aarch64").plan();
    assert_eq!(warnings(&known), [""; 0]);
}

#[test]
fn mistakes_that_are_often_made_are_answered_with_what_was_meant() {
    let lines = |name: &str, value: &str| with("alpine:3.23,alpine3.23").input(name, value);
    let seen = failures([
        (
            "an axis that an entry doesn't have",
            with("- { for: { python: ['3.14', '3.13'] }, base: 'python:{python}', tags: [python] }"),
        ),
        ("braces without quotes", with("- { base: python:{python}, tags: [python] }")),
        ("quoted lines", with("\"alpine:3.23,alpine3.23\"\n\"debian:13,debian\"")),
        ("a date as the version", given().input("matrix", "alpine,alpine").input("version", "2024-01-01")),
        ("a tool's name before the version", given().input("matrix", "alpine,alpine").input("version", "tool-v1.2.3")),
        ("double braces", lines("tag-templates", "{{version}}-{tag}")),
        ("templates on one line", lines("tag-templates", "v{version}-{tag}, {tag}")),
        ("a template without the variant", lines("tag-templates", "{version}")),
        ("capitals in a repository", lines("images", "ghcr.io/Astral-SH/uv")),
        ("a URL as a repository", lines("images", "https://ghcr.io/astral-sh/uv/")),
        ("a tag at a repository", lines("images", "ghcr.io/astral-sh/uv:latest")),
        ("a path in quotes", lines("binaries", "'/uv'")),
        ("a blank in a name", lines("env", "A B=c")),
        ("no number", lines("concurrency", "0")),
        ("a file that isn't there", with("nowhere.yml")),
    ]);
    insta::assert_snapshot!(seen);
}
