//! A failed attempt, and whether there is another one. The rule for that is in `api/retry.rs`.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::error::{Cause, RegistryError, Request};
use super::{Registries, lock};
use crate::api::retry::{self, Api, Class};

/// A failed attempt.
#[derive(Debug)]
pub(super) struct Trouble {
    pub(super) request: Box<Request>,
    pub(super) cause: Cause,
    /// For a refusal: the setting to change.
    pub(super) hint: Option<String>,
    /// Whether it happened at a host that the registry had redirected us to.
    pub(super) redirected: bool,
}

impl Trouble {
    pub(super) fn new(request: impl Into<Box<Request>>, cause: Cause) -> Self {
        Self { request: request.into(), cause, hint: None, redirected: false }
    }

    /// A failure with an error of its own.
    pub(super) fn other(request: impl Into<Box<Request>>, error: RegistryError) -> Self {
        Self::new(request, Cause::Other(Box::new(error)))
    }

    pub(super) fn class(&self) -> Class {
        retry::class(Api::Registry, &self.cause.failure())
    }

    /// Whether a `GET` may succeed after this `HEAD` failed: proxies may not support `HEAD`, storage refuses it for a
    /// URL signed for `GET`, and a refusal without a body has no error code. Transient failures are retried as `HEAD`.
    pub(super) fn concerns_method(&self) -> bool {
        match &self.cause {
            Cause::Answered(_) => matches!(self.class(), Class::Permanent | Class::UsuallyPermanent),
            Cause::Malformed(_) => true,
            Cause::Broken(_) | Cause::Stalled(_) | Cause::Cut { .. } => self.redirected,
            Cause::Other(error) => self.redirected && matches!(**error, RegistryError::PlainHttp { .. }),
            Cause::Mismatch { .. } => false,
        }
    }

    /// The status of the registry's answer, if there was one.
    pub(super) fn status(&self) -> Option<u16> {
        match &self.cause {
            Cause::Answered(answered) => Some(answered.status),
            Cause::Other(error) => match &**error {
                RegistryError::Refused { answered, .. } => Some(answered.status),
                _ => None,
            },
            _ => None,
        }
    }

    /// Whether the registry, or its token server, says that we aren't allowed to.
    pub(super) fn is_denial(&self) -> bool {
        matches!(self.status(), Some(401 | 403)) && !self.redirected
    }

    pub(super) fn into_error(self, attempts: u32, elapsed: Duration) -> RegistryError {
        let permanent = self.class() == Class::Permanent;
        let request = self.request;
        match (self.cause, self.hint) {
            (Cause::Other(error), _) => *error,
            (Cause::Answered(answered), Some(hint)) => RegistryError::Refused { request, answered, hint },
            (cause @ Cause::Broken(_), _) if permanent => RegistryError::Untrusted { request, cause },
            (cause, _) => RegistryError::Failed { request, attempts, elapsed, cause },
        }
    }
}

/// The attempts at one operation.
pub(super) struct Retry<'a> {
    registries: &'a Registries,
    attempts: retry::Retry,
}

impl Registries {
    pub(super) fn retry(&self) -> Retry<'_> {
        let options = &self.0.options;
        let attempts = retry::Retry::new(Api::Registry, options.deadline, options.first_wait);
        Retry { registries: self, attempts }
    }
}

impl Retry<'_> {
    /// Waits before the next attempt.
    ///
    /// # Errors
    /// There should be no further attempt.
    pub(super) async fn pause(&mut self, trouble: Trouble) -> Result<(), RegistryError> {
        let shared = &self.registries.0;
        let random = lock(&shared.random).f64();
        let after = match &trouble.cause {
            Cause::Answered(answered) => answered.retry_after,
            _ => None,
        };
        let Some(wait) = self.attempts.next(&trouble.cause.failure(), after, random) else {
            return Err(trouble.into_error(self.attempts.attempts(), self.attempts.elapsed()));
        };
        shared.failures.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(wait).await;
        Ok(())
    }

    /// How many attempts have failed.
    pub(super) fn attempts(&self) -> u32 {
        self.attempts.attempts()
    }

    /// Excludes the last attempt, which was transferring data, from the deadline.
    pub(super) fn excuse(&mut self, attempt: Duration) {
        self.attempts.excuse(attempt);
    }

    /// Starts the time and the waits anew, because there was progress since the last failure.
    pub(super) fn progressed(&mut self) {
        self.attempts.progressed();
    }
}
