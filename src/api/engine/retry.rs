//! Which failures of the engine pass, and how long it is asked again.
//!
//! The engine hands on what registries tell it as text, in the words of four libraries, so there is nothing but the words to judge by.

use std::time::Duration;

use tokio::time::Instant;

use super::error::Cause;
use crate::api::backoff::backoff;

const FIRST_WAIT: Duration = Duration::from_millis(500);
/// Attempts at what doesn't look like a registry's or a network's trouble.
const FEW: u32 = 4;

/// What a registry or the way to it has on a bad day.
const PASSING: &[&str] = &[
    "bad gateway",
    "broken pipe",
    "connection",
    "eof",
    "failed size validation",
    "failed to copy",
    "failed to do request",
    "http response",
    "http status",
    "internal server error",
    "name resolution",
    "service unavailable",
    "status code",
    "timed out",
    "timeout",
    "tls handshake",
    "too many requests",
    "toomanyrequests",
    "unexpected commit digest",
    "unexpected status",
    "verification failed",
];

/// What stays as it is. An image that isn't there, a full disk, a `run` line that fails.
const LASTING: &[&str] = &[
    "did not complete successfully",
    "executor failed running",
    "invalid reference",
    "manifest unknown",
    "no matching manifest",
    "no space left",
    "not found",
    "parse error",
    "took longer than",
    "was interrupted",
];

/// Whether another attempt may succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Prospect {
    Passing,
    /// Words that we don't know; an engine that can't be reached; or a refusal, which is worth a second look, since the run has
    /// read these images itself.
    Unknown,
    Lasting,
}

/// The attempts at one thing.
#[derive(Debug)]
pub(super) struct Retry {
    deadline: Duration,
    first_failure: Option<Instant>,
    attempts: u32,
}

impl Retry {
    /// Until `deadline` has passed since the first failure.
    pub(super) fn until(deadline: Duration) -> Self {
        Self { deadline, first_failure: None, attempts: 0 }
    }

    /// Waits until the next attempt should be made, after one that failed with `cause`.
    ///
    /// # Errors
    /// No further attempt should be made.
    pub(super) async fn pause(&mut self, cause: Cause) -> Result<(), Cause> {
        let wait = backoff(FIRST_WAIT, self.attempts, fastrand::f64());
        self.attempts += 1;
        let failing = self.first_failure.get_or_insert_with(Instant::now).elapsed();
        let again = match prospect(&cause) {
            Prospect::Passing => failing + wait <= self.deadline,
            Prospect::Unknown => self.attempts < FEW,
            Prospect::Lasting => false,
        };
        if !again {
            return Err(if self.attempts == 1 { cause } else { cause.after(self.attempts) });
        }
        tokio::time::sleep(wait).await;
        Ok(())
    }
}

fn prospect(cause: &Cause) -> Prospect {
    let message = cause.message().to_lowercase();
    let says = |texts: &[&str]| texts.iter().any(|text| message.contains(text));
    let refused = cause.status().is_some_and(|status| (400..500).contains(&status) && !matches!(status, 408 | 429));
    if says(LASTING) || (refused && !is_refusal(&message)) {
        Prospect::Lasting
    } else if says(PASSING) && !is_refusal(&message) && !cause.is_ours() {
        Prospect::Passing
    } else {
        Prospect::Unknown
    }
}

/// Whether a registry doesn't want to give us an image. `message` is in lower case.
pub(super) fn is_refusal(message: &str) -> bool {
    ["unauthorized", "denied", "no basic auth credentials", "authentication required", "forbidden"]
        .iter()
        .any(|text| message.contains(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_pass_is_tried_again() {
        for message in [
            "toomanyrequests: You have reached your pull rate limit",
            "received unexpected HTTP status: 503 Service Unavailable",
            "Get \"http://127.0.0.1:5000/v2/\": dial tcp 127.0.0.1:5000: connect: connection refused",
            "unexpected EOF",
            "failed to solve: failed to copy: httpReadSeeker: failed open: unexpected status code http://a/v2/b: 503",
            "failed to solve with frontend dockerfile.v0: failed to create LLB definition: failed to do request: Head \"http://a/v2/b\": EOF",
        ] {
            assert_eq!(prospect(&Cause::text(message)), Prospect::Passing, "{message}");
            assert_eq!(prospect(&Cause::refused(500, message)), Prospect::Passing, "{message}");
        }
        for message in [
            "manifest for a@sha256:0 not found: manifest unknown: manifest unknown",
            "write /var/lib/docker/x: no space left on device",
            "process \"/bin/sh -c curl a\" did not complete successfully: exit code: 7: connection refused",
        ] {
            assert_eq!(prospect(&Cause::refused(500, message)), Prospect::Lasting, "{message}");
        }
        for message in ["pull access denied for a, or it may require 'docker login'", "layer does not exist"] {
            assert_eq!(prospect(&Cause::refused(500, message)), Prospect::Unknown, "{message}");
        }
        let broken = std::io::Error::other("connection refused");
        assert_eq!(prospect(&Cause::new(&broken)), Prospect::Unknown, "the engine has gone");
        assert_eq!(prospect(&Cause::refused(400, "invalid")), Prospect::Lasting);
        assert_eq!(prospect(&Cause::refused(429, "slow down: too many requests")), Prospect::Passing);
    }

    /// How often one tries that fails with `message`, for how many seconds, and what is said in the end.
    async fn failing(message: &str) -> (u32, u64, String) {
        let (mut retry, started) = (Retry::until(Duration::from_secs(60)), Instant::now());
        loop {
            if let Err(cause) = retry.pause(Cause::text(message)).await {
                return (retry.attempts, started.elapsed().as_secs(), cause.to_string());
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn attempts_end_at_the_deadline_and_their_number_is_told() {
        let (attempts, seconds, last) = failing("unexpected EOF").await;
        assert!((45..=60).contains(&seconds), "{seconds}");
        assert_eq!(last, format!("unexpected EOF (after {attempts} attempts)"));
        assert_eq!(failing("what?").await.2, "what? (after 4 attempts)");
        assert_eq!(failing("not found").await, (1, 0, "not found".to_owned()));
    }
}
