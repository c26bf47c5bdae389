//! How long the log is, and in what colours: uv's matrix to two repositories, without an engine.

#![expect(clippy::unwrap_used, reason = "a failing setup fails its test")]

mod tool;

use std::process::Command;

use support::image::TinyImage;
use support::memory_registry::MemoryRegistry;
use support::runner::Step;
use support::terminal::run;

const BOTH: [&str; 2] = ["linux/amd64", "linux/arm64"];
const UV: &str = include_str!("fixtures/matrix/uv.txt");
const RED: &str = "\u{1b}[1m\u{1b}[31m";
const CYAN: &str = "\u{1b}[1m\u{1b}[36m";

/// A registry with uv's bases, and a step that publishes to two of its repositories.
fn uv(versions: &[&str]) -> (MemoryRegistry, Step) {
    let registry = MemoryRegistry::start();
    let host = registry.host();
    for version in versions {
        registry.put_image(&TinyImage::tool(&BOTH, &["tool"], version).build(), "acme/source", version);
    }
    let mut matrix = String::new();
    for line in UV.lines() {
        let (base, tags) = line.split_once(',').unwrap();
        let (repository, tag) = base.trim_start_matches("dhi.io/").split_once(':').unwrap();
        let file = support::image::file("/etc/base", base);
        registry.put_image(&TinyImage::new(&BOTH).layer(vec![file]).build(), repository, tag);
        matrix += &format!("{host}/{repository}:{tag},{tags}\n");
    }
    let step = tool::step(&registry)
        .variable("GITHUB_ACTIONS", "")
        .input("images", &format!("{host}/acme/tool {host}/other/tool"))
        .input("matrix", &matrix);
    (registry, step)
}

/// The lines that a publication logs.
async fn log(step: &Step, version: &str, arguments: &[&str]) -> Vec<String> {
    let mut command = step.command();
    command.env("INPUT_VERSION", version).arg("publish").args(arguments);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let done = step.done(&output);
    assert_eq!(done.code, Some(0), "{}", done.log);
    done.log.lines().map(str::to_owned).collect()
}

fn count(log: &[String], text: &str) -> usize {
    log.iter().filter(|line| line.contains(text)).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_image_has_a_line_and_shared_lines_are_logged_once() {
    let (_registry, step) = uv(&["1.2.3", "1.2.4"]);
    let first = log(&step, "1.2.3", &[]).await;
    assert!(first.len() <= 160, "{} lines: {first:#?}", first.len());
    assert_eq!((count(&first, "  created "), count(&first, "not run: ")), (2 * 29, 1), "{first:#?}");
    assert_eq!(count(&first, "builder: registry` runs nothing"), 1);
    assert!(first.last().unwrap().starts_with("Published 29 variants of tool 1.2.3 to 2 repositories in "));
    // Every tag that was written is named.
    for tag in UV.lines().flat_map(|line| line.split(',').skip(1)) {
        let named = first.iter().filter(|line| line.split([' ', ',', ';']).any(|word| word == tag));
        assert_eq!(named.count(), 2, "{tag}: {first:#?}");
    }

    let again = log(&step, "1.2.3", &[]).await;
    assert!(again.len() <= 50 && count(&again, "120 tags unchanged") == 2, "{again:#?}");
    assert!(!again.iter().any(|line| line == "build and verify"), "a group without lines isn't logged: {again:#?}");
    assert_eq!(count(&again, "29 images already complete"), 2);

    let next = log(&step, "1.2.4", &[]).await;
    assert!(next.len() <= 160 && count(&next, "; moved ") == 2 * 29, "{next:#?}");

    let old = log(&step, "1.2.3", &[]).await;
    assert!(old.len() <= 50, "{old:#?}");
    let kept = "/acme/tool  kept (belongs to 1.2.4, which is newer): 1.2-alpine3.23, 1.2-alpine, alpine3.23, alpine, ";
    assert!(count(&old, kept) == 1 && count(&old, "and 74 more") == 2, "{old:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn quiet_leaves_the_outcome_and_verbose_names_every_platform_and_tag() {
    let (registry, step) = uv(&["1.2.3"]);
    let start = registry.snapshot();
    let dry = log(&step, "1.2.3", &["--quiet", "--dry-run"]).await;
    assert_eq!((dry.len(), count(&dry, "Dry run of 29 variants")), (1, 1), "{dry:#?}");
    let dry = log(&step, "1.2.3", &["--dry-run"]).await;
    assert!(dry.len() <= 100 && count(&dry, "  to be created: 1.2.3-") == 2 * 29, "{dry:#?}");

    let quiet = log(&step, "1.2.3", &["-q"]).await;
    assert_eq!((quiet.len(), count(&quiet, "Published 29 variants")), (1, 1), "{quiet:#?}");
    registry.restore(&start);
    let verbose = log(&step, "1.2.3", &["-v"]).await;
    assert_eq!(verbose.iter().filter(|line| line.ends_with("  created")).count(), 2 * 120, "{verbose:#?}");
    for platform in BOTH {
        assert_eq!(count(&verbose, &format!("  {platform}  ")), 29 + 2 * 29, "{platform}: {verbose:#?}");
    }
    // As in a job that is run again with debug logging.
    registry.restore(&start);
    let debugged = step.another().variable("RUNNER_DEBUG", "1");
    assert_eq!(log(&debugged, "1.2.3", &[]).await.len(), verbose.len());
}

fn plan(variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_publish-variants"));
    command.env_clear().envs(variables.iter().copied()).args(["plan", "--version", "1.2.3", "--images", "a.io/b/c"]);
    command
}

#[test]
fn a_terminal_has_colours_unless_they_are_not_wanted() {
    let coloured = run(&plan(&[("TERM", "xterm")]), 80).written;
    assert!(coloured.starts_with(&format!("{RED}error")) && coloured.contains(&format!("{CYAN}hint")), "{coloured:?}");
    for variables in [&[("TERM", "dumb")][..], &[("TERM", "xterm"), ("NO_COLOR", "1")]] {
        let plain = run(&plan(variables), 80);
        assert!(plain.lines[0].starts_with("error: the input has 2 problems"), "{:#?}", plain.lines);
        assert!(!plain.written.contains('\u{1b}'), "{variables:?}: {:?}", plain.written);
    }
}

#[test]
fn elsewhere_there_are_colours_only_if_they_are_asked_for() {
    let written = |variables: &[(&str, &str)]| {
        let output = plan(variables).output().unwrap();
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
    };
    for variables in [&[][..], &[("TERM", "xterm")], &[("NO_COLOR", "1"), ("CLICOLOR_FORCE", "1")]] {
        assert!(!written(variables).contains('\u{1b}'), "{variables:?}");
    }
    assert!(written(&[("CLICOLOR_FORCE", "1")]).starts_with(&format!("{RED}error")));
}

#[tokio::test(flavor = "multi_thread")]
async fn githubs_log_has_colours_only_if_they_are_asked_for() {
    let (_registry, step) = uv(&["1.2.3"]);
    let step = step.variable("GITHUB_ACTIONS", "true").input("dry-run", "true");
    let plain = log(&step, "1.2.3", &[]).await;
    assert!(plain.contains(&"::group::resolve".to_owned()) && count(&plain, "\u{1b}") == 0, "{plain:#?}");
    let asked = step.another().variable("CLICOLOR_FORCE", "1");
    let coloured = log(&asked, "1.2.3", &[]).await;
    assert!(coloured.contains(&"::group::\u{1b}[1mresolve\u{1b}[0m".to_owned()), "{coloured:#?}");
}
