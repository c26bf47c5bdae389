//! action.yml, the options of the command line and the README say the same.

use std::collections::BTreeMap;

use clap::CommandFactory as _;
use publish_variants::cli::Cli;
use serde::Deserialize;

#[derive(Deserialize)]
struct Action {
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
    for command in Cli::command().get_subcommands().filter(|command| command.get_name() != "schema") {
        let mut options: Vec<String> = command
            .get_arguments()
            .filter_map(|argument| argument.get_long().map(str::to_owned))
            .filter(|long| !["file", "format", "help"].contains(&long.as_str()))
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
    assert_eq!(outputs, ["checksums", "digests", "images", "status", "tags", "version"]);
    assert_eq!((action.runs["using"].as_str(), action.runs["image"].as_str()), ("docker", "Dockerfile"));
}

#[test]
fn the_readme_lists_every_input_and_output() {
    let Ok(readme) = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")) else { return };
    let action = action();
    for name in action.inputs.keys().chain(action.outputs.keys()) {
        assert!(readme.contains(&format!("| `{name}` |")), "the README has no row for `{name}`");
    }
}
