//! Variants built elsewhere: `image` instead of `base`, and the record of `images-from`.

use publish_variants::hint::Hinted;
use publish_variants::plan::{CheckOrigin, Made, Plan};

use crate::given::{Given, failures, given};

const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn with(matrix: &str) -> Given {
    let matrix = matrix.replace("DIGEST", DIGEST);
    given().input("version", "0.9.26").input("matrix", &matrix)
}

/// With a record of another workflow.
fn recorded(matrix: &str, record: &str) -> Given {
    with(matrix).input("images-from", "images.json").file("images.json", record.replace("DIGEST", DIGEST))
}

fn images(plan: &Plan) -> Vec<String> {
    plan.variants
        .iter()
        .map(|variant| match &variant.made {
            Made::Here(base) => format!("{} on {base}", variant.name),
            Made::Elsewhere(image) => format!("{} is {}", variant.name, image.to_string().replace(DIGEST, "DIGEST")),
        })
        .collect()
}

#[test]
fn a_variant_has_a_base_or_an_image_and_its_own_keys_override_the_defaults() {
    let plan = with(
        "
defaults: { base: 'alpine:3.23', env: { A: b }, cmd: [x], run: ['true'] }
variants:
  - tags: [alpine]
  - { image: 'ghcr.io/acme/candidates@DIGEST', tags: [full] }
  - { image: 'oci:dist/{python}.tar', for: { python: ['3.14', '3.13'] }, tags: ['python{python}'] }
",
    )
    .plan();
    assert_eq!(
        images(&plan),
        [
            "alpine on docker.io/library/alpine:3.23",
            "full is ghcr.io/acme/candidates@DIGEST",
            "python3.14 is oci:dist/3.14.tar",
            "python3.13 is oci:dist/3.13.tar",
        ]
    );
    let full = &plan.variants[1];
    assert!(
        full.changes.env.is_empty() && full.changes.cmd.is_none() && full.run.is_empty(),
        "they are for the others"
    );
    assert_eq!(full.tags.iter().map(ToString::to_string).collect::<Vec<_>>(), ["0.9.26-full", "0.9-full", "full"]);
    let other = with("defaults: { image: 'oci:dist' }\nvariants: [{ tags: [full] }, 'alpine,alpine']").plan();
    assert_eq!(images(&other), ["full is oci:dist", "alpine on docker.io/library/alpine:latest"]);
}

#[test]
fn keys_that_would_change_an_image_are_refused_beside_image() {
    let image = "image: 'ghcr.io/acme/candidates@DIGEST'\n    tags: [full]\n    ";
    let variant = |keys: &str| with(&format!("variants:\n  - {image}{}", keys.replace('\n', "\n    ")));
    insta::assert_snapshot!(failures([
        (
            "all of them",
            variant(
                "source: ghcr.io/acme/tool\nbinaries: /uv\nenv: { A: b }\ncmd: [x]\nentrypoint: []\nuser: nobody\nworkdir: /x\nlabels: { a: b }\nrun: 'true'\n\
                 annotations: { \"manifest:a\": b }"
            )
        ),
        ("both", variant("base: alpine")),
        ("both in the defaults", with("defaults: { base: alpine, image: 'oci:x' }\nvariants: [{ tags: [full] }]")),
        ("neither", with("variants: [{ tags: [full] }]")),
        ("not an image", with("variants: [{ image: 'Acme/x', tags: [a] }, { image: 'oci:', tags: [b] }]")),
        (
            "an invalid digest",
            with("variants: [{ image: 'oci:x@sha256:abc', tags: [a] }, { image: 'a@sha256:1', tags: [b] }]")
        ),
        (
            "layouts outside of the workspace",
            with("variants: [{ image: 'oci:/srv/x.tar', tags: [a] }, { image: 'oci:x/../../y:1', tags: [b] }]")
        ),
        (
            "in the defaults",
            with("defaults: { image: 'oci:/srv/x' }\nvariants: [{ for: { a: [x, y] }, tags: ['{a}'] }]")
        ),
    ]));
    let harmless =
        variant("annotations: { a: b, \"index:c\": d }\nplatforms: linux/amd64\nverify: tool check\ndeprecated: old");
    let plan = harmless.plan();
    let annotations = &plan.variants[0].annotations;
    assert_eq!((annotations.index.len(), annotations.manifest.len()), (2, 0), "the manifests stay as they are");
}

#[test]
fn a_tag_is_a_warning_since_it_may_move() {
    let plan = with("variants: [{ image: 'ghcr.io/acme/candidates:full', tags: [full] }]").plan();
    let warnings: Vec<String> = plan.warnings.iter().map(Hinted::with_hints).collect();
    insta::assert_snapshot!(warnings.join("\n"));
    assert!(
        with("variants: [{ image: 'a@DIGEST', tags: [a] }, { image: 'oci:x', tags: [b] }]").plan().warnings.is_empty()
    );
}

#[test]
fn neither_a_source_nor_executables_are_needed_if_every_variant_is_built_elsewhere() {
    let matrix = "variants: [{ image: 'ghcr.io/acme/candidates@DIGEST', tags: [full] }]";
    let alone = with(matrix).input("binaries", "");
    let plan = alone.plan();
    assert!(plan.source.is_none());
    assert!(plan.variants[0].checks.is_empty(), "nothing is known of what is in it");
    assert!(!plan.to_json().contains("\"source\":"), "{}", plan.to_json());
    insta::assert_snapshot!(plan.to_table(100));
    for (input, value) in [("source", "ghcr.io/acme/tool"), ("source-tags", "default")] {
        assert!(alone.clone().input(input, value).plan().source.is_some(), "{input}");
    }
    let own = "{ base: alpine, tags: [alpine], source: 'ghcr.io/acme/own' }";
    let own = with(&format!("variants: [{{ image: 'a@DIGEST', tags: [full] }}, {own}]")).plan();
    assert!(own.source.is_none(), "the one that is composed has its own");
    assert_eq!(own.sources().into_iter().map(ToString::to_string).collect::<Vec<_>>(), ["ghcr.io/acme/own:0.9.26"]);
    let both = with("variants: [{ image: 'a@DIGEST', tags: [full] }, 'alpine,alpine']");
    assert!(both.plan().source.is_some());
    assert!(both.input("binaries", "").failure().contains("no executables are named"));
}

#[test]
fn the_tool_is_asked_for_its_version_if_it_is_in_the_path_and_verify_is_run() {
    let plan = with("variants: [{ image: 'a@DIGEST', tags: [full], verify: python --version }]").plan();
    let checks: Vec<_> = plan.variants[0].checks.iter().map(|check| (check.command.join(" "), check.origin)).collect();
    let expected = [("uv --version", CheckOrigin::VersionIfThere), ("python --version", CheckOrigin::Matrix)];
    assert_eq!(checks, expected.map(|(command, origin)| (command.to_owned(), origin)));
    assert_eq!(plan.variants[0].checks[0].contains.as_deref(), Some("0.9.26"));
    for off in ["verify: false", "verify: ~"] {
        let plan = with(&format!("variants: [{{ image: 'a@DIGEST', tags: [full], {off} }}]")).plan();
        assert_eq!(plan.variants[0].checks.is_empty(), off == "verify: false", "{off}");
    }
}

#[test]
fn json_has_image_instead_of_base() {
    let plan = with("variants: [{ image: 'ghcr.io/acme/candidates@DIGEST', tags: [full] }, 'alpine,alpine']").plan();
    let json: serde_json::Value = serde_json::from_str(&plan.to_json()).unwrap();
    let image = format!("ghcr.io/acme/candidates@{DIGEST}");
    assert_eq!((&json["variants"][0]["image"], json["variants"][0].get("base")), (&image.clone().into(), None));
    assert_eq!(json["variants"][1].get("image"), None);
    let matrix: serde_json::Value = serde_json::from_str(&plan.to_github_matrix()).unwrap();
    assert_eq!((&matrix["include"][0]["image"], matrix["include"][0].get("base")), (&image.into(), None));
}

#[test]
fn a_record_fills_in_the_images_of_variants_that_have_none() {
    let matrix = "variants:\n  - { tags: [full, big] }\n  - { for: { python: ['3.14'] }, tags: ['python{python}'] }\n  - alpine,alpine";
    let record = r#"{ "full": "ghcr.io/acme/candidates@DIGEST", "python3.14": "ghcr.io/acme/candidates:tag@DIGEST" }"#;
    assert_eq!(
        images(&recorded(matrix, record).plan()),
        [
            "full is ghcr.io/acme/candidates@DIGEST",
            "python3.14 is ghcr.io/acme/candidates:tag@DIGEST",
            "alpine on docker.io/library/alpine:latest",
        ]
    );
}

#[test]
fn a_record_of_another_matrix_is_refused_with_places() {
    let matrix = "variants:\n  - tags: [full]\n  - tags: [slim]\n  - alpine,alpine\n";
    let full = r#""full": "ghcr.io/acme/candidates@DIGEST""#;
    let record = |rest: &str| recorded(matrix, &format!("{{\n  {full}{rest}\n}}\n"));
    let slim = ",\n  \"slim\": \"ghcr.io/acme/candidates@DIGEST\"";
    assert_eq!(record(slim).plan().variants.len(), 3);
    insta::assert_snapshot!(failures([
        ("a variant is missing", record("")),
        ("a variant is misspelt", record(",\n  \"slmi\": \"ghcr.io/acme/candidates@DIGEST\"")),
        (
            "a variant that the matrix hasn't",
            record(&format!("{slim},\n  \"other\": \"ghcr.io/acme/candidates@DIGEST\""))
        ),
        ("a variant with a base", record(&format!("{slim},\n  \"alpine\": \"ghcr.io/acme/candidates@DIGEST\""))),
        ("an image that may move", record(",\n  \"slim\": \"ghcr.io/acme/candidates:slim\"")),
        ("no image", record(",\n  \"slim\": { \"digest\": \"DIGEST\", \"tags\": [\"latest\"] }")),
        ("twice", record(&format!(",\n  {full}"))),
        ("no object", recorded(matrix, "[]")),
        ("no JSON", recorded(matrix, "{")),
        ("no file", with(matrix).input("images-from", "images.json")),
    ]));
}
