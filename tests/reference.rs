//! The tables of the reference: rendered from `action.yml` and the types, and compared with the page.
//!
//! `UPDATE_DOCS=1 cargo test --test reference` writes them.

#![expect(clippy::unwrap_used, reason = "a failing setup fails its test")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use clap::CommandFactory as _;
use publish_variants::cli::Cli;
use publish_variants::error::Fault;
use publish_variants::plan::Template;
use serde::Deserialize;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const ACTION: &str = include_str!("../action.yml");

/// The section of the documentation about an input or an output.
const MORE: [(&str, &str); 20] = [
    ("annotations", "matrix.md#labels-and-annotations"),
    ("binaries", "matrix.md#binaries"),
    ("builder", "publishing.md#without-an-engine"),
    ("checksums", "report.md#other-outputs"),
    ("created", "matrix.md#labels-and-annotations"),
    ("credentials", "#permissions-and-credentials"),
    ("env", "matrix.md#variables"),
    ("ignore-versions", "tags.md#rolling-tags-never-go-back"),
    ("images", "report.md#the-output-images"),
    ("images-from", "matrix.md#images-built-elsewhere"),
    ("kept", "tags.md#why-a-tag-stays"),
    ("labels", "matrix.md#labels-and-annotations"),
    ("matrix", "matrix.md"),
    ("on-conflict", "publishing.md#exact-tags-that-are-taken"),
    ("release-notes", "report.md#the-release-notes"),
    ("rolling", "tags.md#rolling-tags-never-go-back"),
    ("source", "matrix.md#sources"),
    ("tag-templates", "#placeholders"),
    ("verify", "matrix.md#what-is-run"),
    ("version", "#which-version"),
];

#[derive(Deserialize)]
struct Action {
    inputs: BTreeMap<String, Described>,
    outputs: BTreeMap<String, Described>,
}

#[derive(Deserialize)]
struct Described {
    description: String,
    #[serde(default)]
    required: bool,
}

fn action() -> Action {
    serde_saphyr::from_str(ACTION).unwrap()
}

/// A table with these columns. The rows are in the order of `action.yml`, where the names are keys of `part`.
fn described(column: &str, part: &str, named: &BTreeMap<String, Described>, linked: &[(&str, &str)]) -> String {
    let text = ACTION.split(&format!("\n{part}:\n")).nth(1).unwrap();
    let mut rows: Vec<(&String, &Described)> = named.iter().collect();
    rows.sort_by_key(|(name, _)| format!("\n{text}").find(&format!("\n  {name}:\n")).unwrap());
    let row = |(name, described): (&String, &Described)| {
        let required = if described.required { " Required." } else { "" };
        let more = linked.iter().find(|(linked, _)| linked == name);
        let more = more.map_or_else(String::new, |(_, target)| format!(" [More]({target})."));
        format!("| `{name}` | {}{required}{more} |\n", described.description.trim().replace('|', "\\|"))
    };
    format!("| {column} | what it is |\n| --- | --- |\n{}", rows.into_iter().map(row).collect::<String>())
}

fn placeholders() -> String {
    let rows = Template::placeholders().map(|(name, meaning)| format!("| `{name}` | {meaning} |\n"));
    format!("| placeholder | what it stands for |\n| --- | --- |\n{}", rows.collect::<String>())
}

fn exit_codes() -> String {
    let rows = Fault::ALL.map(|fault| format!("| {} | {} |\n", fault.exit_code(), fault.meaning()));
    format!("| code | meaning |\n| --- | --- |\n| 0 | published, or nothing to do |\n{}", rows.concat())
}

#[test]
fn the_tables_are_those_of_the_action_and_the_types() {
    let path = Path::new(ROOT).join("docs/reference.md");
    let page = fs::read_to_string(&path).unwrap();
    let action = action();
    // `images` and `version` are inputs and outputs. The section is about the output `images`, and about the input
    // `version`.
    let of_inputs: Vec<_> = MORE.iter().filter(|(name, _)| *name != "images").copied().collect();
    let of_outputs: Vec<_> = MORE.iter().filter(|(name, _)| *name != "version").copied().collect();
    let mut rendered = page.clone();
    for (name, table) in [
        ("inputs", described("input", "inputs", &action.inputs, &of_inputs)),
        ("outputs", described("output", "outputs", &action.outputs, &of_outputs)),
        ("placeholders", placeholders()),
        ("exit codes", exit_codes()),
    ] {
        let (begin, end) = (format!("<!-- {name}:begin -->\n"), format!("<!-- {name}:end -->"));
        let (before, rest) = rendered.split_once(&begin).unwrap();
        let (_, after) = rest.split_once(&end).unwrap();
        rendered = format!("{before}{begin}{table}{end}{after}");
    }
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &rendered).unwrap();
    } else if let Some((line, (is, should))) = page.lines().zip(rendered.lines()).enumerate().find(|(_, (a, b))| a != b)
    {
        panic!("line {}:\n  {is}\nshould be\n  {should}\nUPDATE_DOCS=1 cargo test --test reference", line + 1);
    } else {
        assert_eq!(page, rendered, "UPDATE_DOCS=1 cargo test --test reference");
    }
}

#[test]
fn what_is_linked_is_an_input_or_an_output() {
    let action = action();
    for (name, _) in MORE {
        assert!(action.inputs.contains_key(name) || action.outputs.contains_key(name), "{name}");
    }
}

/// The description of an input begins with the text of `--help`. Text for the terminal alone is in brackets.
#[test]
fn help_and_action_say_the_same() {
    let inputs = action().inputs;
    let command = Cli::command();
    let publish = command.get_subcommands().find(|command| command.get_name() == "publish").unwrap();
    let mut compared = 0;
    for option in publish.get_arguments() {
        let Some(described) = option.get_long().and_then(|name| inputs.get(name)) else { continue };
        let help = option.get_help().unwrap().to_string();
        let help = help.split(" [").next().unwrap().split(" (better").next().unwrap();
        let begins =
            described.description.strip_prefix(help).is_some_and(|rest| rest.starts_with(['.', ',', ':', ';', ' ']));
        assert!(begins, "{}:\n  {help}\n  {}", option.get_id(), described.description);
        compared += 1;
    }
    assert_eq!(compared, inputs.len());
}
