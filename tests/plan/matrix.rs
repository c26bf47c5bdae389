//! The matrix: everything that it can contain, and everything that can be wrong with it.

use publish_variants::plan::{Plan, Platforms};

use crate::given::{Given, failures, given};

fn with(matrix: &str) -> Given {
    given().input("version", "0.9.26").input("matrix", matrix)
}

fn plan(matrix: &str) -> Plan {
    with(matrix).plan()
}

fn failure(matrix: &str) -> String {
    with(matrix).failure()
}

#[test]
fn every_key_of_a_variant_gets_into_the_plan() {
    let plan = plan(include_str!("../fixtures/matrix/everything.yml"));
    insta::assert_snapshot!(plan.to_json());
    let all = &plan.variants;
    assert_eq!((&all[1].changes.cmd, &all[1].changes.entrypoint, all[1].checks.len()), (&None, &None, 0));
    assert_eq!(all[2].changes.cmd.as_deref(), Some(&["/usr/local/bin/uv".to_owned()][..]));
    assert_eq!(all[2].changes.entrypoint.as_deref(), Some(&[][..]));
}

#[test]
fn inputs_are_the_defaults_of_the_defaults() {
    let plan = given()
        .input("version", "0.9.26")
        .input("env", "A=input\nB=input\nC=input = x")
        .input("platforms", "linux/amd64, linux/arm64")
        .input("labels", "x=1")
        .input(
            "matrix",
            "{defaults: {env: {B: default, A: default}}, variants: [{base: alpine, tags: a, env: {A: own}}]}",
        )
        .plan();
    let variant = &plan.variants[0];
    assert_eq!(
        variant.changes.env.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>(),
        ["A=own", "B=default", "C=input = x"]
    );
    assert_eq!(variant.changes.labels["x"], "1");
    let Platforms::Listed(platforms) = &variant.platforms else { panic!("auto") };
    assert_eq!(platforms.len(), 2);
}

#[test]
fn axes_multiply_exclude_and_name_the_newest() {
    let plan = plan(
        "
variants:
  - for: { python: [3.14, 3.13, 3.10], os: [alpine, trixie] }
    exclude:
      - { python: 3.14, os: trixie }
      - python: 3.10
    base: python:{python}-{os}
    tags: ['python{python}-{os}']
    newest-tags: ['python-{os}', python, 'newest-{python}-{os}']
",
    );
    let variants: Vec<String> = plan
        .variants
        .iter()
        .map(|variant| {
            let tags = variant.tags.exact.iter().map(|tag| tag.as_str().trim_start_matches("0.9.26-"));
            format!("{}: {}", variant.made.base().unwrap(), tags.collect::<Vec<_>>().join(" "))
        })
        .collect();
    assert_eq!(
        variants,
        [
            "docker.io/library/python:3.14-alpine: python3.14-alpine python-alpine python newest-3.14-alpine",
            "docker.io/library/python:3.13-alpine: python3.13-alpine",
            "docker.io/library/python:3.13-trixie: python3.13-trixie python-trixie",
        ]
    );
}

#[test]
fn a_file_is_read_from_the_workspace() {
    let given = given().input("version", "1.0").input("matrix", ".github/variants.yml");
    let plan = given.clone().file(".github/variants.yml", "alpine:3.23,alpine").plan();
    assert_eq!(plan.variants[0].name, "alpine");
    let faulty = given.clone().file(".github/variants.yml", "variants:\n  - bsae: x\n    tags: [a]\n");
    insta::assert_snapshot!(failures([("not there", given), ("faulty", faulty)]));
}

#[test]
fn every_problem_is_found_with_its_line_and_column() {
    insta::assert_snapshot!(failure(
        "
defaults:
  platform: linux/amd64
  env: [a]
variants:
  - base: alpine:3.23
    tags: [alpine3.23, alpine, alpine]
    tag: x
  - base: Alpine
    tags: [a b]
    workdir: app
  - tags: [x]
  - base: debian
  - for: { python: [3.14, 3.14], os: [] }
    base: python:{pyton}
    tags: ['python{python}']
  - for: { python: [3.14] }
    exclude: [{ python: 3.13 }, { pythn: 3.14 }]
    base: python:{python}
    tags: ['python{python}', '{x']
    newest-tags: {}
    platforms: [linux]
    verify: \"python '\"
  - 3
  - [a]
  - base: buildpack-deps
    tags: [alpine3.23]
    newest-tags: [x]
"
    ));
}

#[test]
fn a_text_that_is_not_a_matrix_is_refused() {
    let cases = [
        ("a bracket is open", "variants:\n  - base: [alpine\n  - x: }"),
        ("no list", "variants: 3"),
        ("an empty list", "variants: []"),
        ("only a comment", "# nothing\n"),
        ("a base without tags", "alpine:3.23"),
        ("JSON that ends too soon", "{\"variants\": [{\"base\": \"alpine\", \"tags\": [\"a\"]}"),
        ("a key twice", "variants:\n  - base: a\n    base: b\n    tags: [x]\n"),
        ("a key of another language", "services:\n  - image: alpine\n"),
    ];
    insta::assert_snapshot!(failures(cases.map(|(name, matrix)| (name, with(matrix)))));
}

#[test]
fn a_tag_that_two_variants_claim_is_named_with_both_places() {
    let cases = [
        ("two variants", with("alpine:3.23,alpine3.23,alpine\nalpine:3.22,alpine3.22,alpine\n")),
        ("a variant and the source", with("alpine:3.23,alpine,latest").input("source-tags", "default")),
        (
            "a template without the version's separator",
            with("alpine:3.23,a\nalpine:3.22,9.26a").input("tag-templates", "{version}-{tag}\n0.{tag}\n{version}{tag}"),
        ),
    ];
    insta::assert_snapshot!(failures(cases));
}

#[test]
fn a_tag_that_is_too_long_with_the_version_is_refused() {
    let long = "x".repeat(125);
    assert!(failure(&format!("alpine:3.23,{long}")).contains("is not a valid tag"));
}

#[test]
fn an_anchor_bomb_is_refused() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..=12 {
        let above = vec![format!("*a{}", level - 1); 10].join(", ");
        bomb.push_str(&format!("a{level}: &a{level} [{above}]\n"));
    }
    bomb.push_str("variants: *a12\n");
    let failure = failure(&bomb);
    assert!(failure.len() < 2_000, "{failure}");
    let nested = format!("variants: {}", "[".repeat(100_000));
    assert!(self::failure(&nested).len() < 2_000);
}

#[test]
fn two_thousand_variants_are_planned() {
    let lines: String = (0..2_000).map(|n| format!("alpine:{n},alpine{n},a{n}\n")).collect();
    assert_eq!(plan(&lines).variants.len(), 2_000);
    let axes = "for: { a: [1,2,3,4,5,6,7,8,9,10], b: [1,2,3,4,5,6,7,8,9,10], c: [1,2,3,4,5,6,7,8,9,10], d: [1,2] }";
    let matrix = format!("variants:\n  - {axes}\n    base: alpine:{{a}}\n    tags: ['x{{a}}-{{b}}-{{c}}-{{d}}']\n");
    assert_eq!(plan(&matrix).variants.len(), 2_000);
    assert!(failure(&matrix.replace("[1,2]", "[1,2,3,4,5,6,7,8,9,0,11]")).contains("more than 10000 variants"));
}

#[test]
fn the_schema_has_the_keys_that_the_reader_knows() {
    let schema = serde_json::to_value(publish_variants::matrix::schema()).unwrap();
    let keys = schema.pointer("/$defs/VariantEntry/properties").unwrap().as_object().unwrap();
    let written: String = keys.keys().map(|key| format!("    {key}: {{}}\n")).collect();
    let failure = failure(&format!("variants:\n  -\n{written}"));
    assert!(!failure.contains("unknown key"), "{failure}");
    assert_eq!(keys.len(), 20);
    for (key, value) in keys {
        assert!(value.to_string().contains("\"description\""), "{key} is not described");
    }
    assert!(schema.pointer("/$defs/VariantEntry/additionalProperties").unwrap() == false);
}

#[test]
fn a_source_without_a_tag_gets_the_version() {
    for (source, reference) in [
        ("ghcr.io/astral-sh/uv", "ghcr.io/astral-sh/uv:0.9.26"),
        ("localhost:5000/uv", "localhost:5000/uv:0.9.26"),
        ("uv:{major}.{minor}-scratch", "docker.io/library/uv:0.9-scratch"),
        ("quay.io/uv:fixed", "quay.io/uv:fixed"),
    ] {
        assert_eq!(with("alpine,alpine").input("source", source).plan().source.unwrap().name.to_string(), reference);
    }
}

#[test]
fn a_variant_may_have_binaries_of_its_own_and_the_input_is_for_the_others() {
    let matrix = "
defaults: { binaries: /uv-musl -> /usr/local/bin/uv }
variants:
  - alpine,alpine
  - for: { libc: [glibc] }
    base: debian
    tags: [debian]
    binaries: [/LICENSE -> /usr/share/doc/uv/, '/uv-{libc}']
";
    let plan = with(matrix).input("binaries", "").plan();
    let binaries = |variant: usize| plan.variants[variant].binaries.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(binaries(0), ["/uv-musl -> /usr/local/bin/uv"]);
    assert_eq!(binaries(1), ["/LICENSE -> /usr/share/doc/uv/LICENSE", "/uv-glibc"]);
    let commands = plan.variants.iter().map(|variant| variant.changes.cmd.clone().unwrap()).collect::<Vec<_>>();
    assert_eq!(commands, [["/usr/local/bin/uv"], ["/usr/local/bin/uv-glibc"]]);
    assert!(
        with("alpine,alpine").input("binaries", "").failure().contains("input `binaries`: no executables are named")
    );
    insta::assert_snapshot!(failure("variants:\n  - base: alpine\n    tags: [a]\n    binaries: [/uv, uvx]\n"), @"
    matrix:4:21: `uvx` is not the absolute path of a file
    hint: write `/uvx`
    ");
}

#[test]
fn variants_are_for_linux() {
    let matrix = "variants:\n  - base: alpine\n    tags: [a]\n    platforms: windows/amd64\n";
    insta::assert_snapshot!(failure(matrix), @"
    matrix:4:16: `windows/amd64` is not a Linux platform, and variants are for Linux
    hint: remove it from `platforms`
    ");
}

#[test]
fn run_lines_need_the_engine() {
    let matrix = "variants:\n  - base: alpine\n    tags: [alpine]\n    run: apk add git\n";
    assert_eq!(with(matrix).input("builder", "engine").plan().variants[0].run[0].to_string(), "apk add git");
    insta::assert_snapshot!(with(matrix).input("builder", "registry").failure(), @"
    matrix:2:5: `run` needs the engine, which `builder: registry` doesn't use
    hint: remove the `run` lines, or set `builder: engine`
    ");
}

#[test]
fn a_block_of_lines_keeps_its_places() {
    let failure = failure("variants: |\n  alpine:3.23,alpine\n  Alpine,x\n");
    assert!(failure.starts_with("matrix:3:3: `Alpine`"), "{failure}");
}

#[test]
fn merge_keys_and_anchors_are_what_yaml_says() {
    let plan = plan(
        "
variants:
  - &slim
    base: debian:trixie-slim
    tags: [trixie-slim]
    user: nobody
  - <<: *slim
    tags: [slim]
",
    );
    assert_eq!(plan.variants[1].made, plan.variants[0].made);
    assert_eq!(plan.variants[1].changes.user.as_deref(), Some("nobody"));
}

#[test]
fn inputs_that_cannot_be_used_are_all_named() {
    let given = with("alpine:3.23,alpine")
        .input("binaries", "uv /a/uv /b/uv /../x")
        .input("images", "ghcr.io/astral-sh/uv:latest")
        .input("tag-templates", "{version}\n{versoin}-{tag}\n{tag")
        .input("source", "ghcr.io/x/{tag}")
        .input("source-tags", "{tag}")
        .input("platforms", "linux/amd64 windows")
        .input("env", "NAME")
        .input("builder", "docker")
        .input("dry-run", "yes")
        .input("rolling", "sometimes")
        .input("on-conflict", "retry")
        .input("concurrency", "0")
        .input("version-scheme", "calver")
        .input("version-pattern", "tool-v");
    insta::assert_snapshot!(given.failure());
}

#[test]
fn the_schema_takes_what_the_reader_takes_and_is_kept_for_editors() {
    let schema = serde_json::to_value(publish_variants::matrix::schema()).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let mut matrix: serde_json::Value =
        serde_saphyr::from_str(include_str!("../fixtures/matrix/everything.yml")).unwrap();
    let problems: Vec<String> = validator.iter_errors(&matrix).map(|error| error.to_string()).collect();
    assert!(problems.is_empty(), "{problems:?}");
    let rows =
        serde_json::json!(["alpine,alpine", { "base": "debian", "tags": ["a", null], "env": { "A": null } }, null]);
    for (form, is_taken) in [
        (rows.clone(), true),
        (serde_json::json!({ "image-mapping": rows }), true),
        (serde_json::json!({ "include": rows, "defaults": { "verify": ["a", null] } }), true),
        (serde_json::json!({ "variants": "alpine,alpine\ndebian,debian" }), true),
        (serde_json::json!("alpine,alpine\ndebian,debian"), true),
        (serde_json::json!("alpine"), false),
        (serde_json::json!({ "variant": rows }), false),
        (serde_json::json!([{ "base": "alpine", "tags": "alpine", "enviroment": {} }]), false),
        (serde_json::json!(3), false),
    ] {
        assert_eq!(validator.is_valid(&form), is_taken, "{form}");
        let text = form.as_str().map_or_else(|| form.to_string(), str::to_owned);
        assert_eq!(with(&text).read().is_ok(), is_taken, "{form}");
    }
    matrix["variants"][0]["bsae"] = "x".into();
    assert!(!validator.is_valid(&matrix));

    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/variants.schema.json");
    let kept: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert!(kept == schema, "run `publish-variants schema > docs/variants.schema.json`");
}

#[test]
fn a_key_without_a_value_is_ignored() {
    let plan = plan("variants:\n  - base: alpine\n    tags: [a]\n    env:\n    platforms:\n    verify:\n    user: ~\n");
    assert_eq!(plan.variants[0].changes.env.len(), 0);
    assert!(failure("variants:\n  - base:\n    tags: [a]\n").contains("`base` is missing"));
}
