//! What goes wrong with the engine.

use bollard::errors::Error;
use bollard::grpc::error::GrpcError;

use crate::error::{Fault, Situation};
use crate::image::{PinnedReference, Platform};

/// Why the engine can't do what it is asked for.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// Nothing at the path of the socket.
    #[error(
        "there is no Docker Engine at `{0}`\nhint: start one, or set `DOCKER_HOST`; a container needs the socket mounted, which GitHub's Linux runners do"
    )]
    NoSocket(String),
    /// Neither `unix://` nor `tcp://`.
    #[error(
        "`{0}` is not the address of a Docker Engine\nhint: set `DOCKER_HOST` to `unix:///path/to/docker.sock` or `tcp://host:port`"
    )]
    UnknownHost(String),
    /// Something is there, and doesn't answer as an engine does.
    #[error(
        "the Docker Engine at `{host}` does not answer\nhint: check that `docker version` works there with the same `DOCKER_HOST` and the same user"
    )]
    Unreachable {
        /// Its address.
        host: String,
        /// Why not.
        #[source]
        cause: Error,
    },
    /// No BuildKit.
    #[error(
        "the Docker Engine at `{host}` speaks version `{api}` of the API, which is too old for BuildKit\nhint: use Docker 18.09 or newer, which speaks 1.39"
    )]
    TooOld {
        /// Its address.
        host: String,
        /// What it speaks.
        api: String,
    },
    /// It runs Windows containers.
    #[error("the Docker Engine at `{0}` runs Windows containers\nhint: run the job on a Linux runner")]
    Windows(String),
    /// An image can't be pulled.
    #[error("the engine can't pull `{image}` for `{platform}`")]
    Pull {
        /// The image.
        image: PinnedReference,
        /// Its platform.
        platform: Platform,
        /// Why not.
        #[source]
        cause: Error,
    },
    /// A build fails.
    #[error("the engine can't build `{image}`")]
    Build {
        /// Its name on the engine.
        image: String,
        /// Why not.
        #[source]
        cause: GrpcError,
    },
    /// Anything else.
    #[error("the engine can't {request}")]
    Request {
        /// What was asked for.
        request: &'static str,
        /// Why not.
        #[source]
        cause: Error,
    },
}

impl EngineError {
    pub(super) fn request(request: &'static str) -> impl Fn(Error) -> Self + use<> {
        move |cause| Self::Request { request, cause }
    }
}

impl Situation for EngineError {
    fn fault(&self) -> Fault {
        match self {
            Self::NoSocket(_)
            | Self::UnknownHost(_)
            | Self::Unreachable { .. }
            | Self::TooOld { .. }
            | Self::Windows(_) => Fault::Input,
            Self::Pull { .. } | Self::Build { .. } | Self::Request { .. } => Fault::Publication,
        }
    }
}

/// The engine's own words, if it was the engine that refused.
pub(super) fn said_by_engine(error: &Error) -> Option<String> {
    match error {
        Error::DockerResponseServerError { message, .. } => Some(message.clone()),
        _ => None,
    }
}

/// Whether the same pull may succeed later. The engine gives the registry's refusals as text.
pub(super) fn is_passing(error: &Error) -> bool {
    match error {
        Error::DockerResponseServerError { status_code: 404, .. } => false,
        Error::DockerResponseServerError { message, .. } | Error::DockerStreamError { error: message } => {
            let final_words =
                ["not found", "manifest unknown", "unauthorized", "denied", "no basic auth", "no matching manifest"];
            !final_words.iter().any(|words| message.contains(words))
        }
        _ => true,
    }
}
