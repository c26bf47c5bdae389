//! When an attempt is made again, and when we give up.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use super::error::{Cause, RegistryError, Request};
use super::{Registries, lock};
use crate::api::backoff::backoff;

/// Attempts at failures that are usually permanent, but sometimes transient. Their waits are longer: with the usual first
/// wait, 8 to 15 seconds in all.
const FEW: u32 = 5;
const LONGER: u32 = 4;

/// Whether another attempt may help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Again {
    /// Yes, as long as there is time.
    UntilDeadline {
        /// `Retry-After`, if sent.
        after: Option<Duration>,
    },
    /// Perhaps.
    FewTimes,
    /// No.
    Never,
}

/// An attempt that failed.
#[derive(Debug)]
pub(super) struct Trouble {
    pub(super) request: Box<Request>,
    pub(super) cause: Cause,
    pub(super) again: Again,
    /// Where we aren't allowed to: the setting to change.
    pub(super) hint: Option<String>,
    /// Whether it happened where the registry had sent us.
    pub(super) redirected: bool,
}

impl Trouble {
    pub(super) fn new(request: impl Into<Box<Request>>, cause: Cause, again: Again) -> Self {
        Self { request: request.into(), cause, again, hint: None, redirected: false }
    }

    /// A failure that no attempt changes and that has its own words.
    pub(super) fn last(request: impl Into<Box<Request>>, error: RegistryError) -> Self {
        Self::new(request, Cause::Other(Box::new(error)), Again::Never)
    }

    /// Whether a `GET` may succeed where this `HEAD` failed: proxies may not support `HEAD`, storage refuses it at a URL that is
    /// signed for `GET`, and a refusal without a body has no error code. Transient failures are retried as `HEAD`.
    pub(super) fn concerns_method(&self) -> bool {
        match &self.cause {
            Cause::Answered(_) => !matches!(self.again, Again::UntilDeadline { .. }),
            Cause::Malformed(_) => true,
            Cause::Broken(_) | Cause::Stalled(_) => self.redirected,
            Cause::Other(error) => self.redirected && matches!(**error, RegistryError::PlainHttp { .. }),
            Cause::Mismatch { .. } => false,
        }
    }

    /// The status that the registry answered with, where it did.
    pub(super) fn status(&self) -> Option<u16> {
        match &self.cause {
            Cause::Answered(answered) => Some(answered.status),
            _ => None,
        }
    }

    /// Whether the registry, or whoever gives its tokens, has answered and doesn't want to.
    pub(super) fn is_refusal(&self) -> bool {
        let of_tokens = matches!(&self.cause, Cause::Other(error) if matches!(**error, RegistryError::Refused { .. }));
        of_tokens || self.status().is_some()
    }

    pub(super) fn into_error(self, attempts: u32, elapsed: Duration) -> RegistryError {
        let request = self.request;
        match (self.cause, self.hint) {
            (Cause::Other(error), _) => *error,
            (Cause::Answered(answered), Some(hint)) => RegistryError::Refused { request, answered, hint },
            (cause @ Cause::Broken(_), _) if self.again == Again::Never => RegistryError::Untrusted { request, cause },
            (cause, _) => RegistryError::Failed { request, attempts, elapsed, cause },
        }
    }
}

/// The attempts at one thing.
pub(super) struct Retry<'a> {
    registries: &'a Registries,
    first_failure: Option<Instant>,
    attempts: u32,
    few: u32,
    doublings: u32,
}

impl Registries {
    pub(super) fn retry(&self) -> Retry<'_> {
        Retry { registries: self, first_failure: None, attempts: 0, few: 0, doublings: 0 }
    }

    fn jitter(&self) -> f64 {
        lock(&self.0.random).f64()
    }
}

impl Retry<'_> {
    /// Waits until the next attempt should be made.
    ///
    /// # Errors
    /// No further attempt should be made.
    pub(super) async fn pause(&mut self, trouble: Trouble) -> Result<(), RegistryError> {
        self.attempts += 1;
        let now = Instant::now();
        let elapsed = now - *self.first_failure.get_or_insert(now);
        let options = &self.registries.0.options;
        let own = backoff(options.first_wait, self.doublings, self.registries.jitter());
        self.doublings += 1;
        let wait = match trouble.again {
            Again::Never => return Err(trouble.into_error(self.attempts, elapsed)),
            Again::FewTimes => {
                self.few += 1;
                let longer = backoff(options.first_wait * LONGER, self.few - 1, self.registries.jitter());
                (self.few < FEW).then_some(longer)
            }
            // Jitter: all clients that got the same `Retry-After` would come back at once.
            Again::UntilDeadline { after } => Some(after.map_or(own, |after| after + own / 4)),
        };
        let Some(wait) = wait.filter(|wait| elapsed + *wait <= options.deadline) else {
            return Err(trouble.into_error(self.attempts, elapsed));
        };
        self.registries.0.failures.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(wait).await;
        Ok(())
    }

    /// Excludes the last attempt, which was transferring data, from the deadline.
    pub(super) fn excuse(&mut self, attempt: Duration) {
        self.first_failure = self.first_failure.map(|first| first + attempt);
    }

    /// Something was achieved since the last failure: the time and the waits start anew.
    pub(super) fn progressed(&mut self) {
        self.first_failure = None;
        self.doublings = 0;
    }
}
