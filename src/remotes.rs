//! The remote sides of a run, connected: engine, registries, GitHub; and the folder for what is on its way between them.

use std::time::Duration;

use tempfile::TempDir;

use crate::action::inputs::Builder;
use crate::action::{Environment, Inputs};
use crate::api::engine::{Engine, EngineError};
use crate::api::github::{self, GitHub};
use crate::api::registry::{Credential, Options, Registries, RegistryError};
use crate::error::{Fault, Situation};

/// Builds at the same time. An engine gains little from more, and each takes memory and disk there.
const BUILDS_AT_ONCE: usize = 4;

/// Everything remote.
#[derive(Debug)]
pub struct Remotes {
    /// The Docker Engine, unless `builder` is `registry`.
    pub engine: Option<Engine>,
    /// The registries.
    pub registries: Registries,
    /// GitHub; `None` where no repository is named, outside of a workflow.
    pub github: Option<GitHub>,
    /// Where spooled files go; removed with this value.
    pub scratch: TempDir,
    concurrency: usize,
}

/// Why a remote side can't be had.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// A number that is none.
    #[error("`PUBLISH_VARIANTS_DEADLINE` is `{0}`, which is no number of seconds\nhint: write it as `300`")]
    Deadline(String),
    /// The engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The registries.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// GitHub.
    #[error(transparent)]
    GitHub(#[from] github::Error),
    /// The disk.
    #[error("a temporary folder can't be made\nhint: point `TMPDIR` to a folder that can be written")]
    Disk(#[source] std::io::Error),
}

impl Situation for RemoteError {
    fn fault(&self) -> Fault {
        match self {
            Self::Deadline(_) => Fault::Input,
            Self::Engine(error) => error.fault(),
            Self::Registry(error) => error.fault(),
            Self::GitHub(error) => error.fault(),
            Self::Disk(_) => Fault::Publication,
        }
    }
}

/// For how long a request that fails is made again: five minutes, or as many seconds as `PUBLISH_VARIANTS_DEADLINE` says.
fn deadline(environment: &Environment) -> Result<Duration, RemoteError> {
    let Some(text) = environment.get("PUBLISH_VARIANTS_DEADLINE") else { return Ok(Duration::from_secs(300)) };
    text.trim().parse().map(Duration::from_secs).map_err(|_| RemoteError::Deadline(text.to_owned()))
}

impl Remotes {
    /// Connects to the engine, and makes ready for the others.
    ///
    /// # Errors
    /// There is no usable engine, or an address is none.
    pub async fn connect(inputs: &Inputs, environment: &Environment) -> Result<Self, RemoteError> {
        let scratch = tempfile::Builder::new().prefix("publish-variants-").tempdir().map_err(RemoteError::Disk)?;
        let (concurrency, deadline) = (inputs.concurrency.get(), deadline(environment)?);
        let registries = Registries::new(Options {
            credentials: inputs
                .credentials
                .iter()
                .map(|known| Credential {
                    registry: known.registry.clone(),
                    username: known.username.clone(),
                    password: known.password.clone(),
                })
                .collect(),
            insecure: inputs.insecure_registries.clone(),
            concurrency,
            deadline,
            spool: scratch.path().to_owned(),
            seed: fastrand::u64(..),
            ..Options::default()
        })?;
        let github = environment
            .get("GITHUB_REPOSITORY")
            .map(|repository| {
                let api = environment.get("GITHUB_API_URL").unwrap_or("https://api.github.com");
                let github = GitHub::new(api, inputs.github_token.as_ref(), repository, &inputs.insecure_registries)?;
                Ok::<_, github::Error>(github.with_deadline(deadline))
            })
            .transpose()?;
        let credentials = inputs
            .credentials
            .iter()
            .map(|known| (known.registry.clone(), (known.username.clone(), known.password.clone())))
            .collect();
        let engine = match inputs.builder {
            Builder::Engine => Some(Engine::connect(environment.get("DOCKER_HOST")).await?),
            Builder::Registry => None,
        };
        let engine = engine.map(|engine| engine.with_logins(credentials).with_deadline(deadline));
        Ok(Self { engine, registries, github, scratch, concurrency })
    }

    /// How many images may be built or run at the same time.
    #[must_use]
    pub fn builds_at_once(&self) -> usize {
        self.concurrency.min(BUILDS_AT_ONCE)
    }
}
