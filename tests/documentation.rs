//! The documentation: links aren't broken, and the README is short. `tests/snippets.rs` tries its examples.

#![expect(clippy::unwrap_used, reason = "a failing setup fails its test")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use publish_variants::troubleshooting::Topic;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

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

/// The anchors of the headings, by GitHub's rule.
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
fn every_link_within_the_project_leads_to_an_existing_file_and_heading() {
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

/// What the operating system and registries say. The other messages on the page are ours.
const OUTSIDE: [&str; 7] = [
    "Bad credentials",
    "No such file or directory",
    "No space left on device",
    "Resource not accessible by integration",
    "exec format error",
    "toomanyrequests",
    "You have reached your pull rate limit",
];

/// What the program puts together from several texts.
const TOGETHER: [&str; 6] = [
    "failed after",
    "is a link to",
    "may not write the releases of",
    "tags could not be written",
    "the engine failed to build",
    "the run was stopped by SIGTERM during the stage",
];

/// The parts of a quoted message that are the same in every message of its kind.
fn constant_parts(line: &str) -> Vec<String> {
    let unquoted: Vec<&str> = line.split('`').step_by(2).collect();
    let is_argument = |word: &str| {
        word.contains(|c: char| c.is_ascii_digit()) || word.trim_matches([',', ';']).contains(['/', '…', '*'])
    };
    let parts = unquoted.iter().flat_map(|part| part.split([':', '(', ')', '[', ']', ',', ';']));
    let parts = parts.flat_map(|part| {
        let words: Vec<&str> = part.split_whitespace().collect();
        words.split(|word| is_argument(word)).map(|words| words.join(" ")).collect::<Vec<_>>()
    });
    parts.filter(|part| part.len() > 3 && part != "hint" && part != "cause").collect()
}

/// Whether a text is in the source, possibly with a placeholder in place of one of its words.
fn is_written_by(source: &str, text: &str) -> bool {
    let words: Vec<&str> = text.split(' ').collect();
    let with_placeholder = |word: usize| {
        let (before, after) = (words[..word].join(" "), words[word + 1..].join(" "));
        let before = format!("{before} {{");
        let mut places = source.split(&before).skip(1).filter_map(|rest| rest.split_once('}'));
        places.any(|(_, rest)| rest.strip_prefix(' ').is_some_and(|rest| rest.starts_with(&after)))
    };
    source.contains(text) || (1..words.len()).any(with_placeholder)
}

#[test]
fn messages_on_the_troubleshooting_page_are_those_that_the_program_prints() {
    let source: String = sources(&Path::new(ROOT).join("src"))
        .iter()
        .flat_map(|path| {
            let text = fs::read_to_string(path).unwrap();
            text.split("\\\n").map(|part| part.trim_start().to_owned()).collect::<Vec<_>>()
        })
        .collect();
    let page = fs::read_to_string(Path::new(ROOT).join("docs/troubleshooting.md")).unwrap();
    let quoted = page.lines().filter(|line| line.starts_with("    "));
    let parts: BTreeSet<String> = quoted.flat_map(constant_parts).collect();
    let unknown: Vec<&String> = parts
        .iter()
        .filter(|part| ![&OUTSIDE[..], &TOGETHER].concat().contains(&part.as_str()) && !is_written_by(&source, part))
        .collect();
    assert!(unknown.is_empty(), "{unknown:#?}");
    assert!(parts.len() > 80, "{}", parts.len());
}
