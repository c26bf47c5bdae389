//! Registries, through the API of the [distribution
//! specification](https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md).
//!
//! [`Registries`] is the client for all registries of a run. Every request is retried until it succeeds, fails
//! permanently, or has failed for [`Options::deadline`]. Downloads are checked against their digest and size before
//! they are passed on. Functions named `ensure_…` are idempotent: they look before they send. Only this module and its
//! children know the HTTP client.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::Semaphore;

use super::retry::{DEADLINE, FIRST_WAIT};
use crate::image::Repository;
use crate::secret::Listener;

mod answer;
mod auth;
mod blobs;
mod call;
mod challenge;
mod endpoint;
mod error;
mod identity;
mod manifests;
mod presence;
mod progress;
mod refusal;
mod scope;
mod spool;
mod tags;
mod transport;
mod trouble;
mod upload;

pub use crate::credentials::Credential;
pub use blobs::{BlobOrigin, Ensured};
pub use error::{Answered, Cause, RegistryError, Request};
pub use manifests::Pulled;
pub use spool::SpooledBlob;

/// The parsers of headers that come from the network, for the fuzz targets.
#[doc(hidden)]
pub mod headers {
    pub use super::challenge::realm;
    pub use super::tags::next_target as next_page;
}

/// How a run talks to its registries.
#[derive(Clone, Debug)]
pub struct Options {
    /// Credentials by registry. Other registries are asked anonymously.
    pub credentials: Vec<Credential>,
    /// Receives every token that a token server issues.
    pub issued: Listener,
    /// Hosts (`host` or `host:port`) that may be spoken to without TLS. Loopback always may.
    pub insecure: Vec<String>,
    /// The maximum number of requests in flight, over all registries; at least one.
    pub concurrency: usize,
    /// How long transient failures are retried, from the first one on. If a registry asks for a longer wait, the
    /// request fails immediately.
    pub deadline: Duration,
    /// The wait before the first retry. It doubles with each retry.
    pub first_wait: Duration,
    /// How long a connection may make no progress. After an upload, one second more for each 10 MB.
    pub idle: Duration,
    /// The folder for blobs on their way from one registry to another. It needs room for all blobs that are in transit
    /// at the same time.
    pub spool: PathBuf,
    /// The seed for the random part of waits.
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            credentials: Vec::new(),
            issued: Listener::default(),
            insecure: Vec::new(),
            concurrency: 8,
            deadline: DEADLINE,
            first_wait: FIRST_WAIT,
            idle: Duration::from_secs(20),
            spool: std::env::temp_dir(),
            seed: 0,
        }
    }
}

/// All registries of a run. Cheap to clone; clones share connections, tokens and knowledge about blobs.
#[derive(Clone, Debug)]
pub struct Registries(Arc<Shared>);

struct Shared {
    options: Options,
    through_proxies: reqwest::Client,
    direct: reqwest::Client,
    in_flight: Arc<Semaphore>,
    random: Mutex<fastrand::Rng>,
    failures: AtomicU64,
    /// The number of requests by host and kind.
    sent: Mutex<BTreeMap<(String, &'static str), u64>>,
    /// Which scheme each host turned out to use: where plain HTTP is allowed, it is only tried first.
    schemes: Mutex<HashMap<String, endpoint::Scheme>>,
    auth: auth::Auth,
    blobs: blobs::Known,
    spools: spool::Spools,
    chunks: Mutex<HashMap<String, u64>>,
}

impl Registries {
    /// Whether there are credentials for a repository.
    #[must_use]
    pub fn has_credentials(&self, repository: &Repository) -> bool {
        self.0.auth.has_credentials(repository)
    }

    /// Prepares the client; nothing is requested yet.
    ///
    /// # Errors
    /// There are no trusted certificates.
    pub fn new(options: Options) -> Result<Self, RegistryError> {
        let concurrency = options.concurrency.max(1);
        Ok(Self(Arc::new(Shared {
            through_proxies: transport::client(false)?,
            direct: transport::client(true)?,
            in_flight: Arc::new(Semaphore::new(concurrency)),
            random: Mutex::new(fastrand::Rng::with_seed(options.seed)),
            failures: AtomicU64::new(0),
            sent: Mutex::default(),
            schemes: Mutex::default(),
            auth: auth::Auth::new(&options.credentials),
            blobs: blobs::Known::default(),
            spools: spool::Spools::default(),
            chunks: Mutex::default(),
            options,
        })))
    }

    /// The maximum number of requests in flight.
    #[must_use]
    pub fn concurrency(&self) -> usize {
        self.0.options.concurrency.max(1)
    }

    /// How many failed attempts have been retried so far, for the report.
    #[must_use]
    pub fn retried(&self) -> u64 {
        self.0.failures.load(Ordering::Relaxed)
    }

    /// How many requests have been sent so far, by host (with its port, unless that is the scheme's default) and by
    /// kind: `GET manifest`, `HEAD manifest`, `PUT manifest`, `GET blob`, `HEAD blob`, `upload`, `tags`, `token` or
    /// `other`. Each attempt counts, and so does each step of a redirect.
    #[must_use]
    pub fn requests(&self) -> BTreeMap<(String, &'static str), u64> {
        lock(&self.0.sent).clone()
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registries").field("options", &self.options).finish_non_exhaustive()
    }
}

/// Locks state that is held only for a few statements.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nothing panics while it holds the lock")
}
