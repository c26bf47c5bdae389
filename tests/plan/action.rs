//! action.yml, the command-line options and the reference agree.

use std::collections::BTreeMap;

use clap::CommandFactory as _;
use publish_variants::cli::Cli;
use serde::Deserialize;

#[derive(Deserialize)]
struct Action {
    description: String,
    inputs: BTreeMap<String, Described>,
    outputs: BTreeMap<String, Described>,
    runs: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Described {
    description: String,
}

fn action() -> Action {
    serde_saphyr::from_str(include_str!("../../action.yml")).unwrap()
}

#[test]
fn every_input_is_an_option_of_both_commands() {
    let inputs: Vec<String> = action().inputs.into_keys().collect();
    let commands = Cli::command();
    for command in ["plan", "publish"].map(|name| commands.find_subcommand(name).unwrap()) {
        let mut options: Vec<String> = command
            .get_arguments()
            .filter_map(|argument| argument.get_long().map(str::to_owned))
            .filter(|long| !["file", "format", "help", "quiet", "step", "verbose", "workflow"].contains(&long.as_str()))
            .collect();
        options.sort();
        assert_eq!(options, inputs, "{}", command.get_name());
    }
}

#[test]
fn inputs_and_outputs_are_described_and_the_action_is_a_container() {
    let action = action();
    for (name, described) in action.inputs.iter().chain(&action.outputs) {
        assert!(described.description.len() > 20, "{name} is not described");
    }
    let outputs: Vec<&String> = action.outputs.keys().collect();
    assert_eq!(outputs, ["checksums", "digests", "images", "kept", "notes", "status", "tags", "version"]);
    // The commit of a release names the image that was built from it by its digest.
    let image = action.runs["image"].as_str();
    assert_eq!(action.runs["using"], "docker");
    let is_released = image.starts_with("docker://ghcr.io/astral-sh/publish-variants@sha256:");
    assert!(image == "Dockerfile" || is_released, "{image}");
}

#[test]
fn the_marketplace_takes_the_description() {
    let description = action().description;
    assert!(description.chars().count() <= 125, "{} characters: {description}", description.chars().count());
}

/// The names in the first column of the table under a heading; a row may have several of them.
fn table(reference: &str, heading: &str) -> Vec<String> {
    let section = reference.split_once(heading).unwrap().1.split("\n## ").next().unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `")?.split(" |").next());
    let mut names: Vec<String> =
        rows.flat_map(|cell| cell.split(", ")).map(|name| name.trim_matches('`').to_owned()).collect();
    names.sort();
    names
}

#[test]
fn the_reference_lists_every_input_and_output_and_no_other() {
    let reference = include_str!("../../docs/reference.md");
    let action = action();
    assert_eq!(table(reference, "\n## Inputs\n"), action.inputs.into_keys().collect::<Vec<_>>());
    assert_eq!(table(reference, "\n## Outputs\n"), action.outputs.into_keys().collect::<Vec<_>>());
}
