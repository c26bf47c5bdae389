//! Detects requests that have stalled.
//!
//! The client's own read timeout counts from the start of a request, so it would end long uploads.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;

use super::call::Payload;
use super::lock;

/// The slowest rate at which a registry is assumed to read an uploaded blob again before it answers, in bytes per
/// second.
const DIGESTING: u64 = 10_000_000;

/// When a request last made progress.
#[derive(Clone)]
pub(super) struct Progress(Arc<Mutex<Life>>);

struct Life {
    idle: Duration,
    digested: u64,
    left: u64,
    patience: Instant,
}

impl Progress {
    pub(super) fn new(idle: Duration, payload: &Payload<'_>) -> Self {
        let (digested, left) = (payload.digested(), payload.length());
        let progress = Self(Arc::new(Mutex::new(Life { idle, digested, left, patience: Instant::now() })));
        progress.sent(0);
        progress
    }

    pub(super) fn sent(&self, bytes: u64) {
        let mut life = lock(&self.0);
        life.left = life.left.saturating_sub(bytes);
        let digesting = if life.left == 0 { Duration::from_secs(life.digested / DIGESTING) } else { Duration::ZERO };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_registry_gets_time_to_read_what_it_received_in_chunks() {
        for (payload, is_awaited) in [(Payload::Sent(DIGESTING), true), (Payload::Empty, false)] {
            let answer = tokio::time::sleep(Duration::from_millis(200));
            let answered = Progress::new(Duration::from_millis(20), &payload).watch(answer).await;
            assert_eq!(answered.is_some(), is_awaited);
        }
    }
}
