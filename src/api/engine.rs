//! The Docker Engine, through its [API](https://docs.docker.com/reference/api/engine/) and BuildKit's.
//!
//! Everything that a run creates on the engine is recorded before it is created, and removed when its lease is dropped,
//! even if a future is dropped half-way. [`Engine::clean_up`] waits until everything is removed.

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

/// The state that the janitor needs as well.
#[derive(Debug)]
struct Shared {
    http: http::Http,
    docker: bollard::Docker,
    platform: Platform,
    can_limit: Limits,
    /// Whether nobody can eavesdrop on the connection.
    is_private: bool,
    /// Whether containerd stores the images, rather than a graph driver.
    stores_in_containerd: bool,
    /// Whether the owners of files in containers are shown as users of the machine.
    remaps_users: bool,
    run: String,
    ledger: janitor::Ledger,
    emulation: run::Emulation,
}

/// The resource limits that the engine's kernel supports.
#[derive(Clone, Copy, Debug)]
struct Limits {
    memory: bool,
    pids: bool,
}

impl Engine {
    /// Uses these credentials for pulls and builds from now on. An engine on another machine, which is spoken to
    /// without TLS, gets none of them.
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

    /// The retries of an operation that involves registries.
    fn retry(&self) -> Retry {
        Retry::new(Api::Engine, self.deadline, FIRST_WAIT)
    }

    /// The platform of the engine's machine.
    #[must_use]
    pub fn platform(&self) -> &Platform {
        &self.shared.platform
    }

    /// The id that is part of the name or label of everything that this run creates on the engine.
    #[must_use]
    pub fn run_id(&self) -> &str {
        &self.shared.run
    }
}

/// Asks until the engine answers, since an engine that is being restarted is back within seconds, and until it has the
/// layers of its images. `attempt` starts from the beginning each time, so it must be idempotent.
async fn until_answered<T, F>(attempt: impl Fn() -> F) -> Result<T, EngineError>
where
    F: Future<Output = Result<T, EngineError>>,
{
    let mut retry = Retry::new(Api::Engine, DEADLINE, FIRST_WAIT);
    loop {
        match attempt().await {
            Err(EngineError::Request { what, cause }) if cause.is_lost_connection() || cause.lacks_snapshot() => {
                cause.pause(&mut retry).await.map_err(|cause| EngineError::Request { what, cause })?;
            }
            answer => return answer,
        }
    }
}

/// The label on the containers of a run. Its value is the run's id.
const LABEL: &str = "publish-variants.run";
/// The registry in local names, which doesn't exist: nobody owns the top-level domain `.local`.
const LOCAL: &str = "publish-variants.local";
