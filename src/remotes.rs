//! The remote sides of a run, connected: engine, registries and GitHub, and the folder for files on their way between
//! them.

use std::time::Duration;

use tempfile::TempDir;
use tokio::sync::OnceCell;

use crate::action::inputs::Builder;
use crate::action::log::Log;
use crate::action::workflow::Level;
use crate::action::{Environment, Inputs};
use crate::api::DEADLINE;
use crate::api::engine::{Engine, EngineError};
use crate::api::github::{self, GitHub};
use crate::api::registry::{Options, Registries, RegistryError};
use crate::credentials::Credential;
use crate::error::{Fault, StageError};
use crate::hint::{Hinted, Hints};
use crate::plan::RepositoryFacts;
use crate::secret::Listener;
use crate::troubleshooting::Topic;

/// Builds in parallel. An engine gains little from more, and each one takes memory and disk there.
const BUILDS_AT_ONCE: usize = 4;

/// Clients for everything remote.
#[derive(Debug)]
pub struct Remotes {
    /// One client for all registries.
    pub registries: Registries,
    /// GitHub; `None` if nothing names a repository there.
    pub github: Option<GitHub>,
    /// The folder for spooled files, which is removed when this value is dropped.
    pub spool: TempDir,
    concurrency: usize,
    builder: Builder,
    docker_host: Option<String>,
    credentials: Vec<Credential>,
    deadline: Duration,
    engine: OnceCell<Engine>,
}

/// Why a remote side can't be used.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// The deadline isn't a number.
    #[error("`PUBLISH_VARIANTS_DEADLINE` is `{0}`, which is not a number of seconds")]
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
    #[error("a temporary folder can't be created")]
    Disk(#[source] std::io::Error),
}

impl Hinted for RemoteError {
    fn hints(&self) -> Hints {
        match self {
            Self::Deadline(_) => "write it as `300`".into(),
            Self::Engine(error) => error.hints(),
            Self::Registry(error) => error.hints(),
            Self::GitHub(error) => error.hints(),
            Self::Disk(_) => "point `TMPDIR` to a folder that can be written".into(),
        }
    }
}

impl StageError for RemoteError {
    fn topic(&self) -> Topic {
        match self {
            Self::Deadline(_) => Topic::Inputs,
            Self::Engine(error) => error.topic(),
            Self::Registry(error) => error.topic(),
            Self::GitHub(error) => error.topic(),
            Self::Disk(_) => Topic::Disk,
        }
    }

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

/// How long a request is retried: the seconds in `PUBLISH_VARIANTS_DEADLINE`, if it is set.
fn deadline(environment: &Environment) -> Result<Duration, RemoteError> {
    let Some(text) = environment.get("PUBLISH_VARIANTS_DEADLINE") else { return Ok(DEADLINE) };
    text.trim().parse().map(Duration::from_secs).map_err(|_| RemoteError::Deadline(text.to_owned()))
}

/// The repository on GitHub: the job's, else the one that `repository-url` names.
fn github_repository(inputs: &Inputs, environment: &Environment) -> Option<String> {
    let stated = inputs.stated.repository.as_ref().filter(|_| !environment.is_forgejo());
    let at_github = |repository: &&RepositoryFacts| {
        repository.html_url.starts_with(&format!("{}/", environment.server().trim_end_matches('/')))
    };
    let stated = stated.filter(at_github).map(|repository| repository.full_name.clone());
    environment.github_repository().map(str::to_owned).or(stated)
}

impl Remotes {
    /// Prepares the clients; nothing is requested yet.
    ///
    /// # Errors
    /// An address or the deadline is invalid, nothing listens on the engine's socket, or there is no temporary
    /// folder.
    pub fn prepare(
        inputs: &Inputs,
        credentials: Vec<Credential>,
        environment: &Environment,
        log: &Log,
    ) -> Result<Self, RemoteError> {
        let spool = tempfile::Builder::new().prefix("publish-variants-").tempdir().map_err(RemoteError::Disk)?;
        let (concurrency, deadline) = (inputs.concurrency.get(), deadline(environment)?);
        let registries = Registries::new(Options {
            credentials: credentials.clone(),
            issued: Listener::new({
                let log = log.clone();
                move |token| log.mask_token(token)
            }),
            insecure: inputs.insecure_registries.clone(),
            concurrency,
            deadline,
            spool: spool.path().to_owned(),
            seed: fastrand::u64(..),
            ..Options::default()
        })?;
        let github = github_repository(inputs, environment)
            .map(|repository| {
                let api = environment.get("GITHUB_API_URL").unwrap_or("https://api.github.com");
                let github = GitHub::new(api, inputs.github_token.as_ref(), &repository, &inputs.insecure_registries)?;
                Ok::<_, github::Error>(github.with_deadline(deadline))
            })
            .transpose()?;
        let docker_host = environment.get("DOCKER_HOST").map(str::to_owned);
        let (builder, engine) = (inputs.builder, OnceCell::new());
        if builder == Builder::Engine {
            Engine::refuse_unsupported(|name| environment.get(name))?;
            Engine::look_for(docker_host.as_deref())?;
            if !credentials.is_empty() && !Engine::is_private(docker_host.as_deref()) {
                let warning =
                    "the connection to the engine has no TLS, so it gets no credentials and pulls bases anonymously";
                log.annotate(Level::Warning, "publish-variants", warning);
            }
        }
        Ok(Self { registries, github, spool, concurrency, builder, docker_host, credentials, deadline, engine })
    }

    /// The Docker Engine, which is first contacted when something has to be built; `None` if `builder` is `registry`.
    ///
    /// # Errors
    /// There is no usable engine.
    pub async fn engine(&self) -> Result<Option<&Engine>, RemoteError> {
        if self.builder == Builder::Registry {
            return Ok(None);
        }
        let connect = async || {
            let engine = Engine::connect(self.docker_host.as_deref()).await?;
            Ok::<_, RemoteError>(engine.with_credentials(&self.credentials).with_deadline(self.deadline))
        };
        self.engine.get_or_try_init(connect).await.map(Some)
    }

    /// Removes everything that the run made on the engine, if it used one. Returns a warning if something is left.
    pub async fn clean_up(&self, patience: Duration) -> Option<String> {
        let left = self.engine.get()?.clean_up(patience).await;
        (!left.is_empty()).then(|| left.to_string())
    }

    /// How many images may be built or run in parallel.
    #[must_use]
    pub fn builds_at_once(&self) -> usize {
        self.concurrency.min(BUILDS_AT_ONCE)
    }
}
