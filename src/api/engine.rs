//! The Docker Engine, through its [API](https://docs.docker.com/reference/api/engine/) and BuildKit's.
//!
//! What a run makes in the engine is recorded before it is made, and is removed when its lease is dropped:
//! also when a future is dropped half-way. [`Engine::clean_up`] waits until all of it is gone.

mod cache;
mod connect;
mod containers;
mod error;
mod export;
mod http;
mod images;
mod janitor;
mod load;
mod run;
mod solve;
mod spool;

use std::sync::Arc;
use std::time::Duration;

pub use containers::{EntryInImage, EntryKind, FileInImage, FilesLease};
pub use error::{Cause, EngineError};
pub use export::ExportedLayer;
pub use images::{ImageLease, LocalImage, Progress};
pub use janitor::LeftBehind;
pub use load::{Loadable, Part};
pub use run::{Attempt, Ran};
pub use solve::{EXECUTABLES, Solve};

use super::retry::{Api, DEADLINE, FIRST_WAIT, Retry};
use crate::credentials::Credential;
use crate::image::Platform;

/// A connection to a Docker Engine for one run. Clones share it.
#[derive(Clone, Debug)]
pub struct Engine {
    shared: Arc<Shared>,
    credentials: Arc<[Credential]>,
    deadline: Duration,
    janitor: janitor::Janitor,
}

/// What the janitor needs, too.
#[derive(Debug)]
struct Shared {
    http: http::Http,
    docker: bollard::Docker,
    platform: Platform,
    can_limit: Limits,
    /// Whether nobody can listen to what is sent to it.
    is_private: bool,
    run: String,
    ledger: janitor::Ledger,
    emulation: run::Emulation,
}

/// The limits that the engine's kernel can set.
#[derive(Clone, Copy, Debug)]
struct Limits {
    memory: bool,
    pids: bool,
}

impl Engine {
    /// Pulls and builds with these credentials from now on. An engine on another machine, which is spoken to without TLS, gets
    /// none of them.
    #[must_use]
    pub fn with_credentials(self, credentials: &[Credential]) -> Self {
        let credentials = if self.shared.is_private { credentials } else { &[] };
        Self { credentials: credentials.into(), ..self }
    }

    /// Retries failures of registries for this long.
    #[must_use]
    pub fn with_deadline(self, deadline: Duration) -> Self {
        Self { deadline, ..self }
    }

    /// The attempts at something that registries have a part in.
    fn retry(&self) -> Retry {
        Retry::new(Api::Engine, self.deadline, FIRST_WAIT)
    }

    /// The platform of the engine's machine.
    #[must_use]
    pub fn platform(&self) -> &Platform {
        &self.shared.platform
    }

    /// What everything that this run makes in the engine has in its name or label.
    #[must_use]
    pub fn run_id(&self) -> &str {
        &self.shared.run
    }
}

/// Asks until the engine answers, since one that is being restarted is back within seconds. `attempt` starts from the beginning
/// each time, so it must be harmless to repeat.
async fn until_answered<T, F>(attempt: impl Fn() -> F) -> Result<T, EngineError>
where
    F: Future<Output = Result<T, EngineError>>,
{
    let mut retry = Retry::new(Api::Engine, DEADLINE, FIRST_WAIT);
    loop {
        match attempt().await {
            Err(EngineError::Request { what, cause }) if cause.is_lost_connection() => {
                cause.pause(&mut retry).await.map_err(|cause| EngineError::Request { what, cause })?;
            }
            answer => return answer,
        }
    }
}

/// The label of the containers that a run makes; its value is the run's id.
const LABEL: &str = "publish-variants.run";
/// The registry that local names pretend to; the top-level domain `.local` is nobody's.
const LOCAL: &str = "publish-variants.local";
