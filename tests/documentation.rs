//! What people read first: links lead somewhere, the README is short, and the workflows and commands that are shown are plans.

#![expect(clippy::unwrap_used, reason = "what can't be set up fails its test")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use publish_variants::troubleshooting::Topic;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
/// What the variants of the shown workflows are when they are in a file.
const MATRIX: &str = "alpine:3.23,alpine3.23,alpine\ndebian:trixie-slim,trixie-slim,debian-slim\n";

fn pages() -> Vec<PathBuf> {
    let docs = fs::read_dir(Path::new(ROOT).join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let mut pages: Vec<PathBuf> = docs.filter(|path| path.extension().is_some_and(|end| end == "md")).collect();
    pages.extend(["README.md", "CONTRIBUTING.md"].map(|name| Path::new(ROOT).join(name)));
    pages
}

/// The text without code blocks, whose `](` and `#` mean something else.
fn prose(page: &str) -> String {
    page.split("```").step_by(2).collect()
}

/// The content of the code blocks in a language, without the indentation of the list that they may be in.
fn blocks(page: &str, language: &str) -> Vec<String> {
    let parts = page.split("```").skip(1).step_by(2);
    let of_language = parts.filter_map(|part| part.strip_prefix(language)?.strip_prefix('\n'));
    of_language.map(str::to_owned).collect()
}

/// The anchors of the headings, as GitHub makes them.
fn anchors(page: &str) -> BTreeSet<String> {
    let headings = prose(page);
    let headings =
        headings.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    let anchor = |heading: &str| {
        let kept = heading.to_lowercase();
        let kept = kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        kept.collect::<String>().replace(' ', "-")
    };
    headings.map(anchor).collect()
}

#[test]
fn every_link_within_the_project_leads_to_a_file_and_a_heading() {
    let mut broken = Vec::new();
    let mut seen = 0;
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        let prose = prose(&text);
        let targets = prose.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for target in targets.filter(|target| !target.contains("://")) {
            seen += 1;
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let path = if file.is_empty() { page.clone() } else { page.parent().unwrap().join(file) };
            let is_there = match fs::read_to_string(&path) {
                Ok(linked) => anchor.is_empty() || anchors(&linked).contains(anchor),
                Err(_) => path.is_dir(),
            };
            if !is_there {
                broken.push(format!("{}: {target}", page.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
    assert!(seen > 50, "{seen} links");
}

#[test]
fn the_readme_is_read_in_a_minute() {
    let lines = fs::read_to_string(Path::new(ROOT).join("README.md")).unwrap().lines().count();
    assert!(lines <= 120, "{lines} lines");
}

fn planned(folder: &Path, arguments: &[&str]) -> Result<String, String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_publish-variants"));
    let output = command.current_dir(folder).env_clear().args(arguments).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

#[test]
fn the_workflows_that_are_shown_are_plans() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("variants.yml"), MATRIX).unwrap();
    let mut seen = 0;
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for block in blocks(&text, "yaml").iter().filter(|block| block.contains("uses: astral-sh/publish-variants@")) {
            let workflow = match block.starts_with("- ") {
                true => {
                    let step: String = block.lines().map(|line| format!("      {line}\n")).collect();
                    format!("jobs:\n  variants:\n    steps:\n{step}")
                }
                false => block.clone(),
            };
            fs::write(folder.path().join("workflow.yml"), &workflow).unwrap();
            let plan = planned(folder.path(), &["plan", "--workflow", "workflow.yml", "--version", "0.9.26"]);
            let plan = plan.unwrap_or_else(|error| panic!("{}: {error}\n{workflow}", page.display()));
            assert!(plan.contains("0.9.26-debian-slim"), "{}: {plan}", page.display());
            seen += 1;
        }
    }
    assert!(seen >= 2, "{seen} workflows");
}

#[test]
fn the_commands_that_are_shown_are_plans() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("variants.yml"), MATRIX).unwrap();
    let mut seen = 0;
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        let blocks = blocks(&text, "sh").join("\n");
        for line in blocks.lines().filter_map(|line| line.trim().strip_prefix("publish-variants plan ")) {
            let words = shlex(line);
            let arguments: Vec<&str> = ["plan"].into_iter().chain(words.iter().map(String::as_str)).collect();
            let plan = planned(folder.path(), &arguments);
            let plan = plan.unwrap_or_else(|error| panic!("{}: {error}\n{line}", page.display()));
            assert!(plan.contains("alpine3.23"), "{}: {plan}", page.display());
            seen += 1;
        }
    }
    assert!(seen >= 2, "{seen} commands");
}

/// The words of a command line with quotes of the simple kind.
fn shlex(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (number, part) in line.split('\'').enumerate() {
        if number % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    words
}

/// The headings of the sections about errors: those below the parts of a run.
fn sections_about_errors() -> Vec<String> {
    let page = fs::read_to_string(Path::new(ROOT).join("docs/troubleshooting.md")).unwrap();
    page.lines().filter(|line| line.starts_with("### ")).flat_map(anchors).collect()
}

#[test]
fn every_error_has_its_section_of_the_troubleshooting_page() {
    let expected: Vec<&str> = Topic::ALL.iter().map(|topic| topic.anchor()).collect();
    assert_eq!(sections_about_errors(), expected, "in the order in which a run meets them");
    for topic in Topic::ALL {
        assert!(topic.link().ends_with(&format!("/v1/docs/troubleshooting.md#{}", topic.anchor())));
    }
}

/// All Rust files below `folder`.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] }).collect()
}

#[test]
fn every_section_of_the_troubleshooting_page_is_led_to_by_an_error() {
    let files = sources(&Path::new(ROOT).join("src"));
    let errors: String = files
        .iter()
        .filter(|path| !path.ends_with("troubleshooting.rs"))
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    let used = |topic: &Topic| {
        let name = format!("Topic::{topic:?}");
        errors.split(&name).skip(1).any(|rest| !rest.starts_with(|c: char| c.is_alphanumeric()))
    };
    let unused: Vec<&Topic> = Topic::ALL.iter().filter(|topic| !used(topic)).collect();
    assert!(unused.is_empty(), "{unused:?}");
}
