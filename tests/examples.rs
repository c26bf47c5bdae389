//! The workflows of `examples/`: their step of this action makes a plan, as it stands there.

#![expect(clippy::unwrap_used, reason = "what can't be set up fails its test")]

use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// What a workflow fills in, and an example of it.
const FILLED: [(&str, &str); 2] = [
    ("${{ inputs.version }}", "1.2.3"),
    ("${{ inputs.gnu-digest }}", "sha256:4b6f1e2a0d5a5e2a9c1cf0c3ab4e0a9b0d8b9d8f6a3c3f0e5b7a1c2d3e4f5061"),
];

/// The inputs of a workflow's step of this action.
fn inputs(workflow: &Value) -> Vec<(String, String)> {
    let jobs = workflow["jobs"].as_object().unwrap().values();
    let steps = jobs.flat_map(|job| job["steps"].as_array().into_iter().flatten());
    let mut ours =
        steps.filter(|step| step["uses"].as_str().is_some_and(|uses| uses.starts_with("astral-sh/publish-variants@")));
    let with = ours.next().unwrap()["with"].as_object().unwrap();
    let filled =
        |text: &str| FILLED.iter().fold(text.to_owned(), |text, (placeholder, value)| text.replace(placeholder, value));
    with.iter().map(|(name, value)| (name.clone(), filled(value.as_str().unwrap()))).collect()
}

#[test]
fn every_example_makes_a_plan() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut seen = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "yml") {
            continue;
        }
        let workflow: Value = serde_saphyr::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_publish-variants"));
        command.args(["plan", "--format", "json"]).env_clear();
        for (name, value) in inputs(&workflow) {
            command.env(format!("INPUT_{}", name.to_uppercase()), value);
        }
        let done = command.output().unwrap();
        assert!(done.status.success(), "{}: {}", path.display(), String::from_utf8_lossy(&done.stderr));
        let plan: Value = serde_json::from_slice(&done.stdout).unwrap();
        assert!(!plan["variants"].as_array().unwrap().is_empty(), "{}", path.display());
        seen += 1;
    }
    assert!(seen > 0, "there are no examples");
}
