//! Whether another attempt makes sense, and when.
//!
//! Follows GitHub's [best practices](https://docs.github.com/en/rest/using-the-rest-api/best-practices-for-using-the-rest-api#handle-rate-limit-errors-appropriately).

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::error::Cause;
use crate::api::backoff::backoff;
use crate::quote::quoted;

const FIRST_WAIT: Duration = Duration::from_millis(500);

/// An answer that isn't the wanted one.
#[derive(Debug)]
pub(super) enum Answer {
    /// GitHub refused.
    Refusal(Refusal),
    /// There was none: a broken or refused connection, a name that isn't known, too long a wait.
    Silence(Cause),
    /// It isn't what GitHub's description says.
    Malformed(Cause),
}

/// A refusal.
#[derive(Debug, Default)]
pub(super) struct Refusal {
    pub(super) status: u16,
    /// GitHub's words, in one line.
    pub(super) message: String,
    retry_after: Option<Duration>,
    /// When the hour's requests are given anew; only where none are left.
    resets_at: Option<DateTime<Utc>>,
}

/// What follows from an answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Ask again after this time.
    Again(Duration),
    /// There's no use in asking again.
    Final,
}

impl Answer {
    pub(super) fn of(error: &octocrab::Error) -> Self {
        match error {
            octocrab::Error::GitHub { source, .. } => {
                let number = |name: &str| -> Option<i64> {
                    source.headers.as_ref()?.get(name)?.to_str().ok()?.trim().parse().ok()
                };
                let spent = number("x-ratelimit-remaining") == Some(0);
                let reset = number("x-ratelimit-reset").filter(|_| spent);
                Self::Refusal(Refusal {
                    status: source.status_code.as_u16(),
                    message: one_line(&source.message, source.errors.as_deref().unwrap_or_default()),
                    retry_after: number("retry-after").map(|seconds| Duration::from_secs(seconds.unsigned_abs())),
                    resets_at: reset.and_then(|seconds| DateTime::from_timestamp(seconds, 0)),
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
}

impl Refusal {
    /// Whether GitHub asks for fewer requests; a 403 can also mean that something isn't allowed.
    pub(super) fn is_limit(&self) -> bool {
        self.status == 429
            || self.status == 403
                && (self.retry_after.is_some()
                    || self.resets_at.is_some()
                    || self.message.to_ascii_lowercase().contains("rate limit"))
    }
}

/// Judges the answer to attempt number `attempt`, counted from 0.
pub(super) fn verdict(answer: &Answer, attempt: u32, now: DateTime<Utc>) -> Verdict {
    match answer {
        Answer::Refusal(refusal) if refusal.is_limit() => {
            Verdict::Again(match (refusal.retry_after, refusal.resets_at) {
                (Some(wait), _) => wait.max(Duration::from_millis(100)),
                // Clocks differ by a second or so.
                (None, Some(reset)) => (reset - now).to_std().unwrap_or_default() + Duration::from_secs(1),
                (None, None) => Duration::from_secs(60 << attempt.min(4)),
            })
        }
        Answer::Refusal(refusal) if refusal.status >= 500 || refusal.status == 408 => {
            Verdict::Again(backoff(FIRST_WAIT, attempt, fastrand::f64()))
        }
        Answer::Silence(_) => Verdict::Again(backoff(FIRST_WAIT, attempt, fastrand::f64())),
        Answer::Refusal(_) | Answer::Malformed(_) => Verdict::Final,
    }
}

/// What GitHub said, without the pages of its load balancers.
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

    fn refusal(status: u16) -> Refusal {
        Refusal { status, message: "no".into(), ..Refusal::default() }
    }

    fn wait(refusal: Refusal, attempt: u32) -> Option<u64> {
        let now = DateTime::from_timestamp(1_000, 0).unwrap();
        match verdict(&Answer::Refusal(refusal), attempt, now) {
            Verdict::Again(wait) => Some(wait.as_secs()),
            Verdict::Final => None,
        }
    }

    #[test]
    fn only_what_may_pass_is_asked_again() {
        for (status, again) in [
            (400, false),
            (401, false),
            (403, false),
            (404, false),
            (408, true),
            (422, false),
            (500, true),
            (502, true),
            (503, true),
        ] {
            assert_eq!(wait(refusal(status), 0).is_some(), again, "{status}");
        }
        let now = Utc::now();
        assert!(matches!(verdict(&Answer::Silence(Cause::from("reset".to_owned())), 0, now), Verdict::Again(_)));
        assert_eq!(verdict(&Answer::Malformed(Cause::from("not JSON".to_owned())), 0, now), Verdict::Final);
    }

    #[test]
    fn limits_are_waited_for_as_github_says() {
        let retry_after = Refusal { retry_after: Some(Duration::from_secs(7)), ..refusal(403) };
        assert_eq!(wait(retry_after, 0), Some(7));
        let spent = Refusal { resets_at: DateTime::from_timestamp(1_030, 0), ..refusal(403) };
        assert_eq!(wait(spent, 0), Some(31));
        let silent = || Refusal { message: "You have exceeded a secondary rate limit.".into(), ..refusal(403) };
        assert_eq!((wait(silent(), 0), wait(silent(), 2)), (Some(60), Some(240)));
        assert_eq!(wait(refusal(429), 0), Some(60));
    }

    #[test]
    fn pages_of_load_balancers_are_not_repeated() {
        assert_eq!(one_line("<!DOCTYPE html>\n<html>", &[]), "an HTML page");
        let errors = [serde_json::json!({ "message": "body is too long" })];
        assert_eq!(one_line("Validation Failed\n", &errors), "Validation Failed body is too long");
        assert_eq!(one_line(&"é".repeat(400), &[]).chars().count(), 80);
    }
}
