//! The stage `verify`: runs every image before anybody can pull it.
//!
//! The content was compared when the image was built: the base's layers are an unchanged prefix, the config is the
//! composed one, and the executables that the engine sees are, byte for byte, those of the layer that will be
//! published. In this stage the engine runs the plan's commands in the image, without network, with a read-only root
//! and a time limit. Without an engine the checks are reported as skipped. An image built elsewhere is pulled to be
//! run; its content isn't compared.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::{Stream, StreamExt as _, TryStreamExt as _};

use crate::action::Log;
use crate::api::engine::{Attempt, EngineError};
use crate::build::Built;
use crate::compose::Composed;
use crate::error::{Failure, Fault, StageError};
use crate::hint::{Hinted, Hints};
use crate::image::Platform;
use crate::plan::{Check, CheckOrigin};
use crate::quote::count;
use crate::troubleshooting::Topic;

/// How long a command may run in a variant, including under emulation.
const LIMIT: Duration = Duration::from_secs(60);

/// How often a command is run again if its output is missing although some was expected.
const SILENT: usize = 3;

/// Why an image must not be published.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// A command of the plan fails, or its output isn't the expected one.
    #[error("`{command}` in variant `{variant}` for `{platform}` {what}{output}")]
    Command {
        /// The variant.
        variant: String,
        /// Its platform.
        platform: Platform,
        /// The command.
        command: String,
        /// What went wrong, as a predicate of the command.
        what: String,
        /// The end of what it printed, on lines of its own.
        output: String,
    },
    /// The engine doesn't answer.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl Hinted for VerifyError {
    fn hints(&self) -> Hints {
        match self {
            Self::Command { .. } => {
                "nothing was published; run the executable on the base to see more, or change `verify` of the variant"
                    .into()
            }
            Self::Engine(error) => error.hints(),
        }
    }
}

impl StageError for VerifyError {
    fn topic(&self) -> Topic {
        match self {
            Self::Command { .. } => Topic::Verify,
            Self::Engine(error) => error.topic(),
        }
    }

    fn fault(&self) -> Fault {
        match self {
            Self::Engine(error) => error.fault(),
            Self::Command { .. } => Fault::Publication,
        }
    }
}

/// The outcome of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It succeeded, with the expected output.
    Passed,
    /// It can't be run here, for the given reason.
    Skipped(String),
}

/// An image that may be published. Only this module makes one.
#[expect(clippy::manual_non_exhaustive, reason = "nor may the other modules of this crate make one")]
#[derive(Debug)]
pub struct Verified {
    /// The name of the variant.
    pub variant: String,
    /// What will be pushed.
    pub image: Composed,
    /// The checks of the plan with their outcomes.
    pub checks: Vec<(Check, Outcome)>,
    /// Warnings about its base's folders.
    pub warnings: Vec<String>,
    _private: (),
}

/// Verifies the builder's images, up to `at_once` in parallel, and removes each one from the engine afterwards. `images`
/// is their number.
///
/// # Errors
/// The failed check of the first image that doesn't pass.
pub async fn verify(
    built: impl Stream<Item = Result<Built<'_>, Failure>>,
    images: usize,
    at_once: usize,
    log: &Log,
) -> Result<Vec<Verified>, Failure> {
    let bar = log.progress("images", images as u64);
    let verified: Vec<Verified> = built
        .map(async |built| {
            let verified = image(built?).await?;
            bar.step();
            if verified.not_run().is_none() || log.is_verbose() {
                log.line(&format!("{}  {}  {}", verified.variant, verified.image.platform, told(&verified.checks)));
            }
            Ok::<_, Failure>(verified)
        })
        .buffer_unordered(at_once)
        .try_collect()
        .await?;
    let mut not_run = BTreeMap::<&str, usize>::new();
    for reason in verified.iter().filter_map(Verified::not_run).filter(|_| !log.is_verbose()) {
        *not_run.entry(reason).or_default() += 1;
    }
    for (reason, number) in not_run {
        log.line(&format!("{number} of {} not run: {reason}", count(verified.len(), "image")));
    }
    Ok(verified)
}

impl Verified {
    /// Why no check was run; `None` if one was, or if they have several reasons.
    fn not_run(&self) -> Option<&str> {
        let (_, Outcome::Skipped(why)) = self.checks.first()? else { return None };
        let all = self.checks.iter().all(|(_, outcome)| matches!(outcome, Outcome::Skipped(other) if other == why));
        all.then_some(why.as_str())
    }
}

async fn image(built: Built<'_>) -> Result<Verified, VerifyError> {
    let mut checks = Vec::new();
    for check in &built.variant.variant.checks {
        let outcome = run(&built, check).await?;
        checks.push((check.clone(), outcome));
    }
    let warnings = built.on_engine.warnings().to_vec();
    Ok(Verified { variant: built.variant.variant.name.clone(), image: built.image, checks, warnings, _private: () })
}

async fn run(built: &Built<'_>, check: &Check) -> Result<Outcome, VerifyError> {
    let platform = &built.image.platform;
    let mut attempt = built.on_engine.run(platform, &check.command, LIMIT).await?;
    for _ in 0..SILENT {
        if !lacks_output(&attempt, check) {
            break;
        }
        attempt = built.on_engine.run(platform, &check.command, LIMIT).await?;
    }
    judge(&attempt, check).map_err(|(what, output)| VerifyError::Command {
        variant: built.variant.variant.name.clone(),
        platform: platform.clone(),
        command: check.command.join(" "),
        what,
        output: output.trim_end().lines().map(|line| format!("\n  | {line}")).collect(),
    })
}

/// Whether a command succeeded without output although output was expected. Two seconds after a container has ended, a
/// busy engine closes its log even if output is still missing.
fn lacks_output(attempt: &Attempt, check: &Check) -> bool {
    let is_silent = matches!(attempt, Attempt::Ran(ran) if ran.exit_code == 0 && ran.output.is_empty());
    is_silent && check.contains.as_ref().is_some_and(|expected| !expected.is_empty())
}

/// The exit code for a command that doesn't exist. A command that exists may end with it as well, for example if one of
/// its libraries is missing.
const NOT_FOUND: i64 = 127;

/// The outcome of `check`, judged by the exit code and the output. The error has two parts: what went wrong, and the end
/// of the output.
fn judge(attempt: &Attempt, check: &Check) -> Result<Outcome, (String, String)> {
    let ran = match attempt {
        Attempt::Skipped(reason) => return Ok(Outcome::Skipped(reason.clone())),
        Attempt::Ran(ran) => ran,
    };
    let wrong = |what: String| Err((what, ran.output.clone()));
    match (&check.contains, ran.exit_code) {
        _ if ran.timed_out => wrong(format!("does not end within {} seconds", LIMIT.as_secs())),
        (_, NOT_FOUND) if !ran.started && check.origin == CheckOrigin::Shell => {
            Ok(Outcome::Skipped("the base has no shell".to_owned()))
        }
        (_, NOT_FOUND) if !ran.started && check.origin == CheckOrigin::VersionIfThere => {
            Ok(Outcome::Skipped("it isn't in the `PATH` of the image".to_owned()))
        }
        (Some(expected), 0) if !is_printed(&ran.output, expected, check.origin) => {
            wrong(format!("does not print `{expected}`"))
        }
        (_, 0) => Ok(Outcome::Passed),
        (_, code) => wrong(format!("fails with exit code {code}")),
    }
}

/// Whether the output contains the text. A version only counts if it isn't the beginning of a longer one: 1.2.34 and
/// 1.2.3rc1 aren't 1.2.3.
fn is_printed(output: &str, expected: &str, origin: CheckOrigin) -> bool {
    let is_whole = |at: usize| {
        let (before, after) = (&output[..at], &output[at + expected.len()..]);
        let digit = |c: Option<char>| c.is_some_and(|c| c.is_ascii_digit());
        let goes_on = digit(after.chars().next())
            || after.starts_with('.') && digit(after.chars().nth(1))
            || is_stage(&after.to_ascii_lowercase());
        let begins_earlier =
            digit(before.chars().next_back()) || before.ends_with('.') && digit(before.chars().nth_back(1));
        !goes_on && !begins_earlier
    };
    output.match_indices(expected).any(|(at, _)| origin == CheckOrigin::Matrix || is_whole(at))
}

/// Whether `after` makes the version before it a pre- or post-release: `rc1`, `-beta.2`, `.dev0`, `-alpha`. A commit
/// such as `-a1b2c3d` doesn't.
fn is_stage(after: &str) -> bool {
    const WORDS: [&str; 7] = ["alpha", "beta", "preview", "pre", "rc", "dev", "post"];
    let separators = ['.', '-', '_'];
    let is_number = |text: &str| text.starts_with(|c: char| c.is_ascii_digit());
    let word = after.strip_prefix(separators).unwrap_or(after);
    let of_words = WORDS.iter().filter_map(|name| word.strip_prefix(name)).any(|rest| {
        let ends = !rest.starts_with(|c: char| c.is_ascii_alphanumeric() || separators.contains(&c));
        ends || is_number(rest.strip_prefix(separators).unwrap_or(rest))
    });
    of_words || ["a", "b", "c"].iter().filter_map(|letter| after.strip_prefix(letter)).any(is_number)
}

fn told(checks: &[(Check, Outcome)]) -> String {
    let tell = |(check, outcome): &(Check, Outcome)| match outcome {
        Outcome::Passed => format!("`{}` passed", check.command.join(" ")),
        Outcome::Skipped(reason) => format!("`{}` skipped: {reason}", check.command.join(" ")),
    };
    checks.iter().map(tell).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::engine::Ran;

    fn check(origin: CheckOrigin) -> Check {
        Check { command: vec!["uv".into(), "--version".into()], contains: Some("0.9.26".into()), origin }
    }

    fn ran(exit_code: i64, output: &str) -> Attempt {
        Attempt::Ran(Ran { exit_code, started: true, output: output.to_owned(), timed_out: false })
    }

    #[test]
    fn a_command_that_started_and_says_that_something_is_missing_has_failed() {
        for origin in [CheckOrigin::VersionIfThere, CheckOrigin::Shell] {
            let check = check(origin);
            let missing = Ran { exit_code: NOT_FOUND, started: false, output: "no such file".into(), timed_out: false };
            assert!(matches!(judge(&Attempt::Ran(missing.clone()), &check), Ok(Outcome::Skipped(_))));
            let broken = Attempt::Ran(Ran { started: true, ..missing });
            assert_eq!(judge(&broken, &check).unwrap_err().0, "fails with exit code 127");
        }
    }

    #[test]
    fn only_a_success_without_a_word_may_have_lost_its_output() {
        let check = check(CheckOrigin::Version);
        assert!(lacks_output(&ran(0, ""), &check));
        for told in [ran(0, "uv 0.9.25"), ran(1, ""), Attempt::Skipped("no emulation".to_owned())] {
            assert!(!lacks_output(&told, &check), "{told:?}");
        }
        assert!(!lacks_output(&ran(0, ""), &Check { contains: None, ..check }));
    }

    #[test]
    fn a_command_must_succeed_and_say_what_is_expected() {
        let check = check(CheckOrigin::Version);
        assert_eq!(judge(&ran(0, "uv 0.9.26"), &check), Ok(Outcome::Passed));
        let late = Attempt::Ran(Ran { exit_code: 0, started: true, output: "uv 0.9.26".into(), timed_out: true });
        for good in [
            "0.9.26",
            "uv 0.9.26.\n",
            "uv 0.9.26+12 (abc)",
            "uv-0.9.26-x",
            "v0.9.26",
            "uv 0.9.26-a1b2c3d",
            "uv 0.9.26-prebuilt",
            "uv 0.9.25, once 0.9.26rc1, now 0.9.26",
        ] {
            assert_eq!(judge(&ran(0, good), &check), Ok(Outcome::Passed), "{good}");
        }
        for other in [
            "uv 0.9.261",
            "uv 0.9.26.1",
            "uv 10.9.26",
            "uv 1.0.9.26",
            "uv 0.9.26rc1",
            "uv 0.9.26a1",
            "uv 0.9.26-RC.1",
            "uv 0.9.26-beta",
            "uv 0.9.26.dev3",
            "uv 0.9.26.post1 (abc)",
        ] {
            assert!(judge(&ran(0, other), &check).is_err(), "{other} passed");
        }
        for bad in [ran(0, "uv 0.9.25"), ran(1, "uv 0.9.26"), ran(139, ""), ran(127, "not found"), late] {
            assert!(judge(&bad, &check).is_err(), "{bad:?} passed");
        }
    }

    #[test]
    fn what_the_engine_cannot_run_is_skipped_with_its_reason() {
        let skipped = Attempt::Skipped("no emulation".into());
        assert_eq!(judge(&skipped, &check(CheckOrigin::Version)), Ok(Outcome::Skipped("no emulation".into())));
    }

    #[test]
    fn a_base_without_a_shell_is_a_skip_only_for_the_default_check() {
        let output = "exec: \"sh\": executable file not found in $PATH".to_owned();
        let not_found = Attempt::Ran(Ran { exit_code: NOT_FOUND, started: false, output, timed_out: false });
        let shell = Check { contains: None, ..check(CheckOrigin::Shell) };
        assert!(matches!(judge(&not_found, &shell), Ok(Outcome::Skipped(_))));
        assert!(judge(&not_found, &Check { origin: CheckOrigin::Matrix, ..shell }).is_err());
    }
}
