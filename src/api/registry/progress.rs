//! Detects requests that have stalled.
//!
//! The client's own read timeout counts from the start of a request, so it would end long uploads.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;

use super::lock;

/// The slowest rate at which a registry is assumed to read an uploaded blob again before it answers, in bytes per
/// second.
const DIGESTING: u64 = 10_000_000;

/// When a request last made progress.
#[derive(Clone)]
pub(super) struct Progress(Arc<Mutex<Life>>);

struct Life {
    idle: Duration,
    length: u64,
    left: u64,
    patience: Instant,
}

impl Progress {
    pub(super) fn new(idle: Duration, length: u64) -> Self {
        Self(Arc::new(Mutex::new(Life { idle, length, left: length, patience: Instant::now() + idle })))
    }

    pub(super) fn sent(&self, bytes: u64) {
        let mut life = lock(&self.0);
        life.left = life.left.saturating_sub(bytes);
        let digesting = if life.left == 0 { Duration::from_secs(life.length / DIGESTING) } else { Duration::ZERO };
        life.patience = Instant::now() + life.idle + digesting;
    }

    /// Waits for the answer; `None` if the request makes no progress any more.
    pub(super) async fn watch<T>(&self, answer: impl Future<Output = T>) -> Option<T> {
        let mut answer = std::pin::pin!(answer);
        loop {
            let patience = lock(&self.0).patience;
            match tokio::time::timeout_at(patience, &mut answer).await {
                Ok(answer) => return Some(answer),
                Err(_) if lock(&self.0).patience <= Instant::now() => return None,
                Err(_) => {}
            }
        }
    }
}
