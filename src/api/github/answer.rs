//! GitHub's unexpected answers, described in the terms of `api/retry.rs`.
//!
//! Follows GitHub's [best practices](https://docs.github.com/en/rest/using-the-rest-api/best-practices-for-using-the-rest-api#handle-rate-limit-errors-appropriately).

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::error::Cause;
use crate::api::retry::{self, Api, Class, Failure};
use crate::quote::quoted;

/// An answer other than the expected one.
#[derive(Debug)]
pub(super) enum Answer {
    /// GitHub answered with an error status.
    Refusal(Refusal),
    /// No answer: a broken or refused connection, an unknown host, or a timeout.
    Silence(Cause),
    /// An answer that doesn't match GitHub's API description.
    Malformed(Cause),
}

/// An answer with an error status.
#[derive(Debug, Default)]
pub(super) struct Refusal {
    pub(super) status: u16,
    /// GitHub's message, on one line.
    pub(super) message: String,
    /// The wait that GitHub asks for: `Retry-After`, or the time until the quota is reset if it is used up.
    pub(super) wait: Option<Duration>,
}

impl Answer {
    pub(super) fn of(error: &octocrab::Error, now: DateTime<Utc>) -> Self {
        match error {
            octocrab::Error::GitHub { source, .. } => {
                let header = |name: &str| source.headers.as_ref()?.get(name)?.to_str().ok();
                let number = |name: &str| header(name)?.trim().parse::<i64>().ok();
                let spent = number("x-ratelimit-remaining") == Some(0);
                let reset = number("x-ratelimit-reset").filter(|_| spent);
                let reset = reset.and_then(|seconds| DateTime::from_timestamp(seconds, 0));
                // Clocks may differ by a second or so.
                let until_reset =
                    reset.map(|at| (at - now).to_std().unwrap_or_default().min(retry::YEAR) + Duration::from_secs(1));
                Self::Refusal(Refusal {
                    status: source.status_code.as_u16(),
                    message: one_line(&source.message, source.errors.as_deref().unwrap_or_default()),
                    wait: header("retry-after").and_then(|asked| retry::retry_after(asked, now)).or(until_reset),
                })
            }
            octocrab::Error::Serde { .. } | octocrab::Error::Json { .. } | octocrab::Error::InvalidUtf8 { .. } => {
                Self::Malformed(Cause::of(error))
            }
            _ => Self::Silence(Cause::of(error)),
        }
    }

    pub(super) fn timeout(after: Duration) -> Self {
        Self::Silence(Cause::from(format!("no answer within {} s", after.as_secs())))
    }

    pub(super) fn failure(&self) -> Failure<'_> {
        match self {
            Self::Refusal(refusal) => refusal.failure(),
            Self::Silence(_) => Failure::Connection,
            Self::Malformed(_) => Failure::Malformed,
        }
    }

    /// The wait that GitHub asks for, if any.
    pub(super) fn wait(&self) -> Option<Duration> {
        match self {
            Self::Refusal(refusal) => refusal.wait,
            Self::Silence(_) | Self::Malformed(_) => None,
        }
    }
}

impl Refusal {
    fn failure(&self) -> Failure<'_> {
        let (status, message) = (Some(self.status), self.message.as_str());
        Failure::Answered { status, code: None, message, asks_to_wait: self.wait.is_some() }
    }

    /// Whether this is a rate limit; a 403 can also mean that something isn't allowed.
    pub(super) fn is_limit(&self) -> bool {
        retry::class(Api::GitHub, &self.failure()) == Class::Throttled
    }
}

/// GitHub's message on one line; HTML pages of its load balancers are dropped.
fn one_line(message: &str, errors: &[serde_json::Value]) -> String {
    let message = message.trim();
    if message.starts_with('<') {
        return "an HTML page".to_owned();
    }
    let details = errors.iter().filter_map(|error| error["message"].as_str().or(error.as_str()));
    let text: Vec<&str> = std::iter::once(message).chain(details).flat_map(str::split_whitespace).collect();
    quoted(&text.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_load_balancers_are_not_repeated() {
        assert_eq!(one_line("<!DOCTYPE html>\n<html>", &[]), "an HTML page");
        let errors = [serde_json::json!({ "message": "body is too long" })];
        assert_eq!(one_line("Validation Failed\n", &errors), "Validation Failed body is too long");
        assert_eq!(one_line(&"é".repeat(400), &[]).chars().count(), 80);
    }
}
