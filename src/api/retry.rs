//! The one rule of retrying, for registries, GitHub and the engine: which failures are retried, and for how long.
//!
//! An API describes its failure as a [`Failure`], [`TABLE`] gives its class, and [`Retry`] the waits.
//! `docs/publishing.md` shows both; a test compares them.

use std::ops::RangeInclusive;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::Instant;

/// How long transient failures are retried, from the first one on. `PUBLISH_VARIANTS_DEADLINE` overrides it.
pub(crate) const DEADLINE: Duration = Duration::from_secs(300);
/// The wait before the first retry. It doubles with each retry.
pub(super) const FIRST_WAIT: Duration = Duration::from_millis(250);
/// The longest wait, unless the other side asks for a longer one.
const LONGEST: Duration = Duration::from_secs(15);
/// How often a failure that is usually permanent is tried, and the factor for its waits: with [`FIRST_WAIT`], the waits
/// add up to between 8 and 15 seconds.
const FEW: u32 = 5;
const LONGER: u32 = 4;
/// The shortest wait that GitHub expects after a rate limit without a `Retry-After`.
pub(super) const GITHUB_LIMIT: Duration = Duration::from_secs(60);

/// The API that has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Api {
    Registry,
    GitHub,
    Engine,
}

/// How promising another attempt is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// It won't help: there is one attempt.
    Permanent,
    /// It rarely helps: there are a few attempts.
    UsuallyPermanent,
    /// It is likely to help: there are attempts until the deadline.
    Transient,
    /// It will help after the wait that was asked for: there are attempts until the deadline.
    Throttled,
}

/// An attempt that failed, as an API describes it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Failure<'a> {
    /// An unexpected answer. The status is missing if the engine repeats what a registry told it.
    Answered { status: Option<u16>, code: Option<&'a str>, message: &'a str, asks_to_wait: bool },
    /// The connection couldn't be established, broke or stalled.
    Connection,
    /// The host's name can't be resolved.
    UnknownHost,
    /// The bytes, or their digest, don't match the request.
    Mismatch,
    /// The answer can't be parsed.
    Malformed,
    /// Another attempt would fail in the same way: an untrusted certificate, a full disk.
    Settled,
}

/// The condition of a row of the table.
enum When {
    Status(&'static [RangeInclusive<u16>]),
    Code(&'static [&'static str]),
    /// The message contains one of these, ignoring case.
    Says(&'static [&'static str]),
    /// 401 or 403 with no message but `denied`.
    BareDenied,
    /// 403 with a wait, or with a message about a rate limit.
    RateLimit,
    Connection,
    UnknownHost,
    MismatchOrMalformed,
    Otherwise,
}

struct Row {
    apis: &'static [Api],
    when: When,
    class: Class,
    /// The condition in words, as the documentation has it.
    #[cfg_attr(not(test), expect(dead_code, reason = "the documentation is compared with it"))]
    failure: &'static str,
}

const fn row(apis: &'static [Api], when: When, class: Class, failure: &'static str) -> Row {
    Row { apis, when, class, failure }
}

const HTTP: &[Api] = &[Api::Registry, Api::GitHub];
const REGISTRY: &[Api] = &[Api::Registry];
const GITHUB: &[Api] = &[Api::GitHub];
const ENGINE: &[Api] = &[Api::Engine];

/// The first row whose condition is met decides.
const TABLE: &[Row] = &[
    row(HTTP, When::Status(&[429..=429]), Class::Throttled, "429"),
    row(
        GITHUB,
        When::RateLimit,
        Class::Throttled,
        "403 with `Retry-After`, with no requests left, or with `rate limit` in its message",
    ),
    row(
        REGISTRY,
        When::BareDenied,
        Class::UsuallyPermanent,
        "401 or 403 with a bare `denied`, with which GHCR sometimes answers authorised requests",
    ),
    row(
        REGISTRY,
        When::Code(&[
            "BLOB_UPLOAD_UNKNOWN",
            "BLOB_UPLOAD_INVALID",
            "DIGEST_INVALID",
            "SIZE_INVALID",
            "MANIFEST_BLOB_UNKNOWN",
            "MANIFEST_UNKNOWN",
            "BLOB_UNKNOWN",
        ]),
        Class::UsuallyPermanent,
        "an upload that the registry lost or mixed up, a blob or manifest that isn't visible everywhere yet (by error code)",
    ),
    row(REGISTRY, When::Status(&[416..=416]), Class::UsuallyPermanent, "416"),
    row(
        HTTP,
        When::Status(&[408..=408, 500..=500, 502..=504, 506..=599]),
        Class::Transient,
        "408, 500, 502 to 504, 506 and above",
    ),
    row(HTTP, When::Connection, Class::Transient, "no connection, or one that breaks or stalls"),
    row(REGISTRY, When::UnknownHost, Class::UsuallyPermanent, "an unknown host name"),
    row(
        REGISTRY,
        When::MismatchOrMalformed,
        Class::UsuallyPermanent,
        "bytes with a wrong digest, an answer that can't be parsed",
    ),
    row(
        HTTP,
        When::Otherwise,
        Class::Permanent,
        "everything else: 401 with a fresh token, a missing permission, 404, 413, an untrusted certificate",
    ),
    // The engine passes on messages of registries as text, in the words of four libraries, so only words are left to
    // judge by.
    row(
        ENGINE,
        When::Says(&["failed to load ref", "parent snapshot"]),
        Class::UsuallyPermanent,
        "a record of the build cache, or an unpacked layer, that was removed meanwhile (by its words)",
    ),
    row(
        ENGINE,
        When::Says(&[
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
        ]),
        Class::Permanent,
        "a missing image, a full disk, a failing `run` line, a build that took too long (by its words)",
    ),
    row(
        ENGINE,
        When::Says(REFUSED),
        Class::UsuallyPermanent,
        "a registry's refusal: the run has read the same image itself",
    ),
    row(
        ENGINE,
        When::Status(&[400..=407, 409..=428, 430..=499]),
        Class::Permanent,
        "other 4xx, except for 408 and 429",
    ),
    row(ENGINE, When::Connection, Class::UsuallyPermanent, "the connection to the engine itself"),
    row(
        ENGINE,
        When::Says(&[
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
        ]),
        Class::Transient,
        "a temporary failure of a registry or of the network (by its words)",
    ),
    row(ENGINE, When::Otherwise, Class::UsuallyPermanent, "unknown words"),
];

const REFUSED: &[&str] =
    &["unauthorized", "denied", "no basic auth credentials", "authentication required", "forbidden"];

pub(super) fn class(api: Api, failure: &Failure<'_>) -> Class {
    let row = TABLE.iter().find(|row| row.apis.contains(&api) && row.when.fits(failure));
    row.map_or(Class::Permanent, |row| row.class)
}

/// Whether the message, which the engine repeats, says that a registry refuses.
pub(super) fn says_refused(message: &str) -> bool {
    contains(message, REFUSED)
}

fn contains(message: &str, texts: &[&str]) -> bool {
    let message = message.to_lowercase();
    texts.iter().any(|text| message.contains(text))
}

impl When {
    fn fits(&self, failure: &Failure<'_>) -> bool {
        match (self, *failure) {
            (Self::Status(ranges), Failure::Answered { status: Some(status), .. }) => {
                ranges.iter().any(|range| range.contains(&status))
            }
            (Self::Code(codes), Failure::Answered { code: Some(code), .. }) => codes.contains(&code),
            (Self::Says(texts), Failure::Answered { message, .. }) => contains(message, texts),
            (Self::BareDenied, Failure::Answered { status: Some(401 | 403), message, .. }) => {
                matches!(message.to_ascii_lowercase().as_str(), "denied" | "denied: denied")
            }
            (Self::RateLimit, Failure::Answered { status: Some(403), message, asks_to_wait, .. }) => {
                asks_to_wait || contains(message, &["rate limit"])
            }
            (Self::Connection, Failure::Connection)
            | (Self::UnknownHost, Failure::UnknownHost)
            | (Self::MismatchOrMalformed, Failure::Mismatch | Failure::Malformed)
            | (Self::Otherwise, _) => true,
            _ => false,
        }
    }
}

/// The longest wait that somebody may ask for. Nobody waits that long, and sums of longer times overflow.
pub(super) const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The attempts at one operation.
#[derive(Debug)]
pub(super) struct Retry {
    api: Api,
    deadline: Duration,
    first_wait: Duration,
    first_failure: Option<Instant>,
    attempts: u32,
    few: u32,
    limited: u32,
    doublings: u32,
}

impl Retry {
    pub(super) fn new(api: Api, deadline: Duration, first_wait: Duration) -> Self {
        Self { api, deadline, first_wait, first_failure: None, attempts: 0, few: 0, limited: 0, doublings: 0 }
    }

    /// Counts a failed attempt, and returns the wait before the next one; `None` if there should be none. `after` is
    /// the wait that was asked for. `random`, from 0 to 1, is the jitter: it determines half of our own wait.
    pub(super) fn next(&mut self, failure: &Failure<'_>, after: Option<Duration>, random: f64) -> Option<Duration> {
        self.attempts += 1;
        let now = Instant::now();
        let elapsed = now - *self.first_failure.get_or_insert(now);
        let own = backoff(self.first_wait, self.doublings, random);
        self.doublings += 1;
        let wait = match class(self.api, failure) {
            Class::Permanent => None,
            Class::UsuallyPermanent => {
                self.few += 1;
                (self.few < FEW).then(|| backoff(self.first_wait * LONGER, self.few - 1, random))
            }
            // Jitter: clients that were asked for the same wait would otherwise all come back at the same time.
            Class::Transient => Some(after.map_or(own, |after| after + own / 4)),
            Class::Throttled => {
                self.limited += 1;
                let unasked = match self.api {
                    Api::GitHub => GITHUB_LIMIT * 2_u32.pow((self.limited - 1).min(4)),
                    Api::Registry | Api::Engine => own,
                };
                Some(after.map_or(unasked, |after| after + own / 4))
            }
        };
        wait.filter(|wait| elapsed + *wait <= self.deadline)
    }

    /// Waits as long as [`Self::next`] says. Returns false immediately if there should be no further attempt.
    pub(super) async fn pause(&mut self, failure: &Failure<'_>, after: Option<Duration>, random: f64) -> bool {
        let Some(wait) = self.next(failure, after, random) else { return false };
        tokio::time::sleep(wait).await;
        true
    }

    /// How many attempts have failed.
    pub(super) fn attempts(&self) -> u32 {
        self.attempts
    }

    /// The time since the first failure.
    pub(super) fn elapsed(&self) -> Duration {
        self.first_failure.map(|first| first.elapsed()).unwrap_or_default()
    }

    /// Excludes the last attempt, which was transferring data, from the deadline.
    pub(super) fn excuse(&mut self, attempt: Duration) {
        self.first_failure = self.first_failure.map(|first| first + attempt);
    }

    /// Starts the time and the waits anew, because there was progress since the last failure.
    pub(super) fn progressed(&mut self) {
        self.first_failure = None;
        self.doublings = 0;
    }
}

/// `first`, doubled with each retry, up to [`LONGEST`]. Half of it depends on `random`, so that clients that failed
/// together don't come back together.
fn backoff(first: Duration, doublings: u32, random: f64) -> Duration {
    let whole = first.saturating_mul(2_u32.saturating_pow(doublings)).min(LONGEST);
    whole.mul_f64(0.5 + random / 2.0)
}

/// The wait that a [`Retry-After`](https://www.rfc-editor.org/rfc/rfc9110#name-retry-after) header asks for, in seconds
/// or as a date, up to a year. `now` is the time of the clock that the date refers to.
pub(super) fn retry_after(header: &str, now: DateTime<Utc>) -> Option<Duration> {
    let header = header.trim();
    let wait = match header.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        // After a date in the past, no wait is needed.
        Err(_) => DateTime::parse_from_rfc2822(header).ok()?.signed_duration_since(now).to_std().unwrap_or_default(),
    };
    Some(wait.min(YEAR))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(status: u16, code: Option<&'static str>, message: &'static str) -> Failure<'static> {
        Failure::Answered { status: Some(status), code, message, asks_to_wait: false }
    }

    fn words(message: &str) -> Failure<'_> {
        Failure::Answered { status: None, code: None, message, asks_to_wait: false }
    }

    #[test]
    fn each_failure_of_a_registry_has_its_class() {
        use Class::{Permanent, Throttled, Transient, UsuallyPermanent};
        for (status, code, message, expected) in [
            (429, Some("TOOMANYREQUESTS"), "slow down", Throttled),
            (408, None, "", Transient),
            (500, None, "", Transient),
            (502, None, "<html>", Transient),
            (503, None, "", Transient),
            (504, None, "", Transient),
            (506, None, "", Transient),
            (599, None, "", Transient),
            (501, None, "", Permanent),
            (505, None, "", Permanent),
            (401, Some("DENIED"), "denied", UsuallyPermanent),
            (403, Some("DENIED"), "Denied", UsuallyPermanent),
            (403, None, "denied: denied", UsuallyPermanent),
            (403, Some("DENIED"), "permission_denied: write_package", Permanent),
            (403, Some("DENIED"), "requested access to the resource is denied", Permanent),
            (403, None, "rate limit", Permanent),
            (401, Some("UNAUTHORIZED"), "authentication required", Permanent),
            (404, Some("MANIFEST_UNKNOWN"), "manifest unknown", UsuallyPermanent),
            (404, Some("NAME_UNKNOWN"), "", Permanent),
            (404, Some("BLOB_UPLOAD_UNKNOWN"), "upload unknown", UsuallyPermanent),
            (400, Some("BLOB_UPLOAD_INVALID"), "", UsuallyPermanent),
            (400, Some("DIGEST_INVALID"), "", UsuallyPermanent),
            (400, Some("SIZE_INVALID"), "", UsuallyPermanent),
            (400, Some("MANIFEST_BLOB_UNKNOWN"), "", UsuallyPermanent),
            (404, Some("BLOB_UNKNOWN"), "", UsuallyPermanent),
            (416, None, "", UsuallyPermanent),
            (400, Some("MANIFEST_INVALID"), "", Permanent),
            (400, None, "", Permanent),
            (405, None, "", Permanent),
            (409, None, "", Permanent),
            (413, None, "", Permanent),
        ] {
            assert_eq!(class(Api::Registry, &answered(status, code, message)), expected, "{status} {code:?} {message}");
        }
        for (failure, expected) in [
            (Failure::Connection, Transient),
            (Failure::UnknownHost, UsuallyPermanent),
            (Failure::Mismatch, UsuallyPermanent),
            (Failure::Malformed, UsuallyPermanent),
            (Failure::Settled, Permanent),
        ] {
            assert_eq!(class(Api::Registry, &failure), expected, "{failure:?}");
        }
    }

    #[test]
    fn each_failure_of_github_has_its_class() {
        for (status, expected) in [
            (400, Class::Permanent),
            (401, Class::Permanent),
            (403, Class::Permanent),
            (404, Class::Permanent),
            (408, Class::Transient),
            (422, Class::Permanent),
            (429, Class::Throttled),
            (500, Class::Transient),
            (502, Class::Transient),
            (503, Class::Transient),
        ] {
            assert_eq!(class(Api::GitHub, &answered(status, None, "denied")), expected, "{status}");
        }
        let limit = Failure::Answered { status: Some(403), code: None, message: "no", asks_to_wait: true };
        assert_eq!(class(Api::GitHub, &limit), Class::Throttled);
        let limit = answered(403, None, "You have exceeded a secondary rate limit.");
        assert_eq!(class(Api::GitHub, &limit), Class::Throttled);
        assert_eq!(class(Api::GitHub, &Failure::Connection), Class::Transient);
        assert_eq!(class(Api::GitHub, &Failure::Malformed), Class::Permanent);
    }

    #[test]
    fn each_failure_of_the_engine_has_its_class() {
        for message in [
            "toomanyrequests: You have reached your pull rate limit",
            "received unexpected HTTP status: 503 Service Unavailable",
            "Get \"http://127.0.0.1:5000/v2/\": dial tcp 127.0.0.1:5000: connect: connection refused",
            "unexpected EOF",
            "failed to solve: failed to copy: httpReadSeeker: failed open: unexpected status code http://a/v2/b: 503",
            "failed to solve with frontend dockerfile.v0: failed to create LLB definition: failed to do request: Head \"http://a/v2/b\": EOF",
        ] {
            for failure in
                [words(message), Failure::Answered { status: Some(500), code: None, message, asks_to_wait: false }]
            {
                assert_eq!(class(Api::Engine, &failure), Class::Transient, "{message}");
            }
        }
        for message in [
            "manifest for a@sha256:0 not found: manifest unknown: manifest unknown",
            "write /var/lib/docker/x: no space left on device",
            "process \"/bin/sh -c curl a\" did not complete successfully: exit code: 7: connection refused",
        ] {
            assert_eq!(class(Api::Engine, &words(message)), Class::Permanent, "{message}");
        }
        for message in [
            "pull access denied for a, or it may require 'docker login'",
            "layer does not exist",
            "failed to load ref: bzkwlp80hex1tc1ivgqhtuhpk: not found",
            "NotFound: parent snapshot sha256:0 does not exist: not found",
        ] {
            assert_eq!(class(Api::Engine, &words(message)), Class::UsuallyPermanent, "{message}");
        }
        assert_eq!(class(Api::Engine, &Failure::Connection), Class::UsuallyPermanent, "the engine has gone");
        assert_eq!(class(Api::Engine, &answered(400, None, "invalid")), Class::Permanent);
        assert_eq!(class(Api::Engine, &answered(429, None, "slow down: too many requests")), Class::Transient);
    }

    /// The number of attempts until it gives up, and the seconds that they take.
    async fn failing(api: Api, failure: Failure<'_>, after: Option<u64>) -> (u32, u64) {
        let mut retry = Retry::new(api, Duration::from_secs(60), FIRST_WAIT);
        let started = Instant::now();
        while retry.pause(&failure, after.map(Duration::from_secs), 0.5).await {}
        (retry.attempts(), started.elapsed().as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn the_class_determines_the_number_and_the_time_of_attempts() {
        assert_eq!(failing(Api::Registry, answered(404, None, ""), None).await, (1, 0));
        assert_eq!(failing(Api::Registry, Failure::Mismatch, None).await, (5, 11));
        assert_eq!(failing(Api::Engine, words("what?"), None).await, (5, 11));
        let (attempts, seconds) = failing(Api::Registry, Failure::Connection, None).await;
        assert!(attempts > 8 && (45..=60).contains(&seconds), "{attempts} in {seconds} s");
        assert_eq!(failing(Api::Registry, answered(429, None, ""), Some(3600)).await, (1, 0), "beyond the deadline");
        let (attempts, seconds) = failing(Api::Registry, answered(503, None, ""), Some(20)).await;
        assert_eq!((attempts, seconds / 10), (3, 4), "as it asks for");
        assert_eq!(failing(Api::GitHub, answered(429, None, ""), None).await, (2, 60), "a minute, then two");
    }

    #[test]
    fn waits_double_up_to_a_limit_and_half_of_each_is_random() {
        let first = Duration::from_millis(100);
        for (doublings, random, millis) in
            [(0, 0.0, 50), (0, 1.0, 100), (1, 1.0, 200), (3, 0.5, 600), (40, 1.0, 15_000)]
        {
            assert_eq!(backoff(first, doublings, random), Duration::from_millis(millis));
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = "2026-01-15T20:44:00Z".parse().unwrap();
        for (header, seconds) in [
            ("0", Some(0)),
            ("120", Some(120)),
            (" 7 ", Some(7)),
            ("Thu, 15 Jan 2026 20:45:30 GMT", Some(90)),
            ("Thu, 15 Jan 2026 20:43:00 GMT", Some(0)),
            ("-1", None),
            ("1.5", None),
            ("soon", None),
            ("", None),
            ("99999999999999999999999", None),
            ("18446744073709551615", Some(365 * 86_400)),
            ("Fri, 15 Jan 9999 20:43:00 GMT", Some(365 * 86_400)),
        ] {
            assert_eq!(retry_after(header, now), seconds.map(Duration::from_secs), "{header:?}");
        }
    }

    #[test]
    fn the_documentation_shows_this_table() {
        let mut table = String::new();
        for Row { apis, class, failure, .. } in TABLE {
            let name = |api: &Api| match api {
                Api::Registry => "registries",
                Api::GitHub => "GitHub",
                Api::Engine => "the engine",
            };
            let apis: Vec<&str> = apis.iter().map(name).collect();
            let class = match class {
                Class::Permanent => "permanent",
                Class::UsuallyPermanent => "usually permanent",
                Class::Transient => "transient",
                Class::Throttled => "throttled",
            };
            table += &format!("| {} | {failure} | {class} |\n", apis.join(", "));
        }
        assert!(include_str!("../../docs/publishing.md").contains(&table), "docs/publishing.md lacks\n{table}");
    }
}
