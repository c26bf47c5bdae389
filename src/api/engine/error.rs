//! Errors of the engine.

use std::fmt;
use std::time::Duration;

use crate::api::retry::{Failure, Retry};
use crate::error::{Fault, StageError};
use crate::hint::{Hinted, Hints, Input, REPORT_THIS};
use crate::quote::without_error_numbers;
use crate::troubleshooting::Topic;

/// The hint for an engine without disk space.
pub(super) const FREE_ENGINE: &str = "free disk space on the engine's machine: `docker system df` shows what takes it";

/// Why the engine can't be used, or which request it refused.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// An address with an unsupported scheme.
    #[error("`{0}` is not the address of a Docker Engine")]
    UnsupportedAddress(String),
    /// A context of Docker's command line.
    #[error("`DOCKER_CONTEXT` names the Docker context `{0}`, and contexts are not supported")]
    Context(String),
    /// An engine over SSH.
    #[error("`DOCKER_HOST` is `{0}`, and engines over SSH are not supported")]
    Ssh(String),
    /// An engine behind TLS.
    #[error("{0}, and TLS to an engine is not supported")]
    Tls(String),
    /// Nothing listens at the address.
    #[error("`{address}` has no Docker Engine")]
    NotThere {
        /// The address as it was given.
        address: String,
        /// Why the connection failed.
        #[source]
        cause: Cause,
    },
    /// We aren't allowed to open the socket.
    #[error("`{address}` can't be opened by this user")]
    NotAllowed {
        /// The address as it was given.
        address: String,
        /// Why the connection failed.
        #[source]
        cause: Cause,
    },
    /// Something listens at the address, but doesn't speak the engine's API.
    #[error("`{address}` doesn't answer as a Docker Engine does")]
    NotAnEngine {
        /// The address as it was given.
        address: String,
        /// What was wrong with the answer.
        #[source]
        cause: Cause,
    },
    /// An engine from before BuildKit.
    #[error(
        "the Docker Engine at `{address}` is too old: it is version `{version}` with API {api}, and variants need API 1.41"
    )]
    TooOld {
        /// The address as it was given.
        address: String,
        /// What the engine calls its version; not necessarily a number.
        version: String,
        /// The newest API version that it speaks.
        api: String,
    },
    /// An engine that runs Windows containers.
    #[error("the Docker Engine at `{address}` runs `{os}` containers")]
    NotLinux {
        /// The address as it was given.
        address: String,
        /// Its operating system.
        os: String,
    },
    /// The engine, or a program that imitates it, has no BuildKit.
    #[error("the engine at `{address}` has no BuildKit")]
    NoBuildKit {
        /// The address as it was given.
        address: String,
        /// The engine's answer.
        #[source]
        cause: Cause,
    },
    /// The engine refused a request, or the connection failed.
    #[error("the engine failed to {what}")]
    Request {
        /// What it was asked to do.
        what: String,
        /// Its message, or the failure of the connection.
        #[source]
        cause: Cause,
    },
    /// An image can't be pulled.
    #[error("`{reference}` can't be pulled by the engine")]
    Pull {
        /// The image.
        reference: String,
        /// What can be done about it.
        hints: Hints,
        /// The engine's message.
        #[source]
        cause: Cause,
    },
    /// A path in a container isn't a regular file.
    #[error("image `{image}` has no file at `{path}`")]
    NoFile {
        /// The image.
        image: String,
        /// The path.
        path: String,
    },
}

/// The engine's message, or the failure of the connection.
#[derive(Debug)]
pub struct Cause {
    status: Option<u16>,
    message: String,
    /// Whether the error is the client's, not the engine's.
    is_ours: bool,
}

impl Cause {
    /// An answer from the engine other than the expected one.
    pub(super) fn refused(status: u16, message: impl Into<String>) -> Self {
        Self { status: Some(status), message: message.into().trim().to_owned(), is_ours: false }
    }

    /// An error of a library with all of its causes, because the outer messages of HTTP clients say nothing.
    pub(super) fn new(error: &dyn std::error::Error) -> Self {
        let mut message = without_error_numbers(&error.to_string());
        let mut next = error.source();
        while let Some(error) = next {
            let text = without_error_numbers(&error.to_string());
            if !message.contains(&text) {
                message = format!("{message}: {text}");
            }
            next = error.source();
        }
        Self { status: None, message, is_ours: true }
    }

    pub(super) fn text(message: impl Into<String>) -> Self {
        Self { status: None, message: message.into(), is_ours: false }
    }

    /// A connection on which nothing arrived for `silence`.
    pub(super) fn stalled(silence: Duration) -> Self {
        Self { status: None, message: format!("it sent nothing for {} s", silence.as_secs()), is_ours: true }
    }

    /// Waits until the next attempt should be made, after one that failed with this cause.
    ///
    /// # Errors
    /// No further attempt should be made.
    pub(super) async fn pause(self, retry: &mut Retry) -> Result<(), Self> {
        let failure = match self.is_ours {
            true => Failure::Connection,
            false => Failure::Answered { status: self.status, code: None, message: &self.message, asks_to_wait: false },
        };
        if retry.pause(&failure, None, fastrand::f64()).await {
            return Ok(());
        }
        Err(match retry.attempts() {
            1 => self,
            attempts => Self { message: format!("{} (after {attempts} attempts)", self.message), ..self },
        })
    }

    /// Whether there was no answer from the engine, or only a part of it.
    pub(super) fn is_lost_connection(&self) -> bool {
        self.is_ours
    }

    /// Whether containerd has just removed an unpacked layer of an image. The next attempt unpacks it again.
    pub(super) fn lacks_snapshot(&self) -> bool {
        self.message.contains("parent snapshot")
    }

    /// The HTTP status, if the engine answered.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        self.status
    }

    /// The engine's message, or the client's.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Cause {}

impl EngineError {
    /// The HTTP status of a refused request.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Request { cause, .. } | Self::Pull { cause, .. } => cause.status(),
            _ => None,
        }
    }

    /// Whether the engine didn't answer a request, or only in part.
    pub(super) fn is_lost_connection(&self) -> bool {
        matches!(self, Self::Request { cause, .. } if cause.is_lost_connection())
    }
}

impl Hinted for EngineError {
    fn hints(&self) -> Hints {
        match self {
            Self::UnsupportedAddress(_) => "set `DOCKER_HOST` to `unix:///path/of/docker.sock` or `tcp://host:port`".into(),
            Self::Context(_) => {
                "set `DOCKER_HOST` to the engine's address, as `docker context inspect` shows it, and unset `DOCKER_CONTEXT`".into()
            }
            Self::Ssh(_) => {
                "forward its socket (`ssh -nNT -L /tmp/docker.sock:/var/run/docker.sock HOST`) and set `DOCKER_HOST` to \
                 `unix:///tmp/docker.sock`".into()
            }
            Self::Tls(_) => "use the engine's socket, or forward it by SSH".into(),
            Self::NotThere { .. } => format!("start the engine, or set `DOCKER_HOST` to its address; {} doesn't need one", Input("builder").set_to("registry")).into(),
            Self::NotAllowed { .. } => "run as root or as a member of the group `docker`".into(),
            Self::NotAnEngine { .. } => "set `DOCKER_HOST` to the address of one".into(),
            Self::TooOld { .. } => "update Docker to 20.10 or newer".into(),
            Self::NotLinux { .. } => "switch it to Linux containers, or run the job on `ubuntu-latest`".into(),
            Self::NoBuildKit { .. } => "use Docker Engine 20.10 or newer; Podman's Docker API has no BuildKit".into(),
            Self::Pull { hints, .. } => hints.clone(),
            Self::Request { cause, .. } if cause.message().to_lowercase().contains("no space left") => FREE_ENGINE.into(),
            Self::Request { cause, .. } if cause.is_lost_connection() => {
                "check that the engine is still running (`docker info`), then run it again: it continues where this run stopped".into()
            }
            Self::Request { .. } => "look at the engine's log, then run it again".into(),
            Self::NoFile { .. } => REPORT_THIS.into(),
        }
    }
}

impl StageError for EngineError {
    fn topic(&self) -> Topic {
        match self {
            Self::UnsupportedAddress(_)
            | Self::Context(_)
            | Self::Ssh(_)
            | Self::Tls(_)
            | Self::NotThere { .. }
            | Self::NotAllowed { .. }
            | Self::NotAnEngine { .. }
            | Self::TooOld { .. }
            | Self::NotLinux { .. }
            | Self::NoBuildKit { .. } => Topic::Engine,
            Self::Request { .. } | Self::Pull { .. } | Self::NoFile { .. } => Topic::EngineFailed,
        }
    }

    fn fault(&self) -> Fault {
        match self {
            Self::Request { .. } | Self::Pull { .. } | Self::NoFile { .. } => Fault::Publication,
            Self::UnsupportedAddress(_)
            | Self::Context(_)
            | Self::Ssh(_)
            | Self::Tls(_)
            | Self::NotThere { .. }
            | Self::NotAllowed { .. }
            | Self::NotAnEngine { .. }
            | Self::TooOld { .. }
            | Self::NotLinux { .. }
            | Self::NoBuildKit { .. } => Fault::Input,
        }
    }
}
