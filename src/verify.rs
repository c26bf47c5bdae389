//! Runs every image, before anybody can pull it.
//!
//! What the image is made of was compared when it was built: the base's layers are an unchanged prefix, the config is what
//! the plan says, and the executables that the engine sees are, byte for byte, those of the layer that will be published. Here
//! the engine runs the commands of the plan in it, without network, on a read-only root and with a time limit.

use std::time::Duration;

use futures_util::{Stream, StreamExt as _, TryStreamExt as _};

use crate::action::Log;
use crate::api::engine::{Engine, EngineError, Ran};
use crate::build::Built;
use crate::build::compose::Composed;
use crate::error::{Failure, Fault, Situation};
use crate::image::Platform;
use crate::plan::{Check, CheckOrigin};

/// How long a command of a variant may take, emulated ones included.
const LIMIT: Duration = Duration::from_secs(60);

/// Why an image must not be published.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// A command of the plan fails, or says something else.
    #[error(
        "`{command}` in variant `{variant}` for `{platform}` {what}{output}\n\
         hint: nothing was published; look at it with `docker run` on the base, or change `verify` of the variant"
    )]
    Command {
        /// The variant.
        variant: String,
        /// Its platform.
        platform: Platform,
        /// The command.
        command: String,
        /// What went wrong.
        what: String,
        /// The end of what it printed, on lines of its own.
        output: String,
    },
    /// The engine doesn't answer.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl Situation for VerifyError {
    fn fault(&self) -> Fault {
        match self {
            Self::Engine(error) => error.fault(),
            Self::Command { .. } => Fault::Publication,
        }
    }
}

/// What became of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It did what the plan says.
    Passed,
    /// It could not be run here, for this reason.
    Skipped(String),
}

/// An image that may be published. Only this module makes one.
#[derive(Debug)]
pub struct Verified {
    /// The variant's name.
    pub variant: String,
    /// The image.
    pub composed: Composed,
    /// The checks of the plan and what became of them.
    pub checks: Vec<(Check, Outcome)>,
    _private: (),
}

/// Verifies images as they come from the builder, `at_once` at the same time; one that is verified leaves the engine.
///
/// # Errors
/// The first image that isn't what the plan says.
pub async fn verify(
    built: impl Stream<Item = Result<Built<'_>, Failure>>,
    engine: &Engine,
    at_once: usize,
    log: &Log,
) -> Result<Vec<Verified>, Failure> {
    built
        .map(async |built| {
            let verified = image(built?, engine).await?;
            log.line(&format!("{}  {}  {}", verified.variant, verified.composed.platform, told(&verified.checks)));
            Ok(verified)
        })
        .buffer_unordered(at_once)
        .try_collect()
        .await
}

async fn image(built: Built<'_>, engine: &Engine) -> Result<Verified, VerifyError> {
    let mut checks = Vec::new();
    for check in &built.variant.variant.checks {
        let outcome = run(&built, check, engine).await?;
        checks.push((check.clone(), outcome));
    }
    Ok(Verified { variant: built.recipe.variant.clone(), composed: built.composed, checks, _private: () })
}

async fn run(built: &Built<'_>, check: &Check, engine: &Engine) -> Result<Outcome, VerifyError> {
    let platform = &built.recipe.platform;
    let container = engine.create(&built.on_engine.image, platform, &check.command).await?;
    let ran = engine.run(&container, LIMIT).await?;
    let native = platform == engine.platform();
    judge(&ran, check, native).map_err(|(what, output)| VerifyError::Command {
        variant: built.recipe.variant.clone(),
        platform: platform.clone(),
        command: check.command.join(" "),
        what,
        output: output.trim_end().lines().map(|line| format!("\n  | {line}")).collect(),
    })
}

/// What an engine without emulation, or a kernel that can't run the executable, says.
const NOT_EMULATED: &str = "exec format error";
/// What an engine says of a program that the image doesn't have.
const NOT_THERE: &[&str] = &["executable file not found", "no such file or directory"];

/// What a command's end means for `check`: an outcome, or what went wrong and what it printed.
fn judge(ran: &Ran, check: &Check, native: bool) -> Result<Outcome, (String, String)> {
    match ran {
        Ran::Ended(0, output) => match &check.contains {
            Some(expected) if !output.contains(expected.as_str()) => {
                Err((format!("does not print `{expected}`"), output.clone()))
            }
            _ => Ok(Outcome::Passed),
        },
        Ran::NotStarted(reason) | Ran::Ended(_, reason) if !native && reason.contains(NOT_EMULATED) => {
            Ok(Outcome::Skipped("the engine has no emulation for this platform".to_owned()))
        }
        Ran::NotStarted(reason)
            if check.origin == CheckOrigin::Shell && NOT_THERE.iter().any(|words| reason.contains(words)) =>
        {
            Ok(Outcome::Skipped("the base has no shell".to_owned()))
        }
        Ran::NotStarted(reason) => Err(("can't be started".to_owned(), reason.clone())),
        Ran::Ended(code, output) => Err((format!("fails with exit code {code}"), output.clone())),
        Ran::TimedOut(output) => Err((format!("does not end within {} seconds", LIMIT.as_secs()), output.clone())),
    }
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

    fn check(origin: CheckOrigin) -> Check {
        Check { command: vec!["uv".into(), "--version".into()], contains: Some("0.9.26".into()), origin }
    }

    #[test]
    fn a_command_must_succeed_and_say_what_is_expected() {
        let check = check(CheckOrigin::Version);
        assert_eq!(judge(&Ran::Ended(0, "uv 0.9.26".into()), &check, true), Ok(Outcome::Passed));
        for bad in [
            Ran::Ended(0, "uv 0.9.25".into()),
            Ran::Ended(1, "uv 0.9.26".into()),
            Ran::Ended(139, String::new()),
            Ran::TimedOut("uv 0.9.26".into()),
            Ran::NotStarted("exec: \"uv\": executable file not found in $PATH".into()),
        ] {
            assert!(judge(&bad, &check, true).is_err(), "{bad:?} passed");
        }
    }

    #[test]
    fn a_missing_emulation_is_a_skip_only_for_another_platform() {
        let ran = Ran::Ended(1, "exec /usr/local/bin/uv: exec format error".into());
        assert!(matches!(judge(&ran, &check(CheckOrigin::Version), false), Ok(Outcome::Skipped(_))));
        assert!(judge(&ran, &check(CheckOrigin::Version), true).is_err());
    }

    #[test]
    fn a_base_without_a_shell_is_a_skip_only_for_the_default_check() {
        let ran = Ran::NotStarted("exec: \"sh\": executable file not found in $PATH".into());
        assert!(matches!(judge(&ran, &check(CheckOrigin::Shell), true), Ok(Outcome::Skipped(_))));
        assert!(judge(&ran, &check(CheckOrigin::Matrix), true).is_err());
    }
}
