//! Failures of GitHub's API: [limits], and the pages of its load balancers.
//!
//! [limits]: https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api

use std::time::Duration;

use chrono::Utc;
use hyper::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};

use super::payload;
use crate::http::{Body, json, text};

/// A way in which a request fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// 403: the quota is used up until it is reset.
    RateLimit {
        /// Seconds until `x-ratelimit-reset`.
        reset_in: u64,
    },
    /// 403 or 429: too many requests in a short time.
    SecondaryRateLimit {
        /// The status.
        status: u16,
        /// Seconds of `Retry-After`.
        retry_after: Option<u64>,
    },
    /// 502 with an HTML page.
    BadGateway,
    /// 500.
    ServerError,
    /// 503.
    Unavailable,
    /// The connection is closed before the request has an effect.
    Reset,
    /// The request takes effect, but its answer never arrives.
    LoseAnswer,
    /// Nothing happens for a while, then everything continues as usual.
    Stall(Duration),
}

impl Failure {
    /// The answer that is the failure; failures of the connection have none.
    pub(super) fn response(&self) -> Response<Body> {
        match self {
            Self::RateLimit { reset_in } => {
                let mut response = refusal(
                    403,
                    "API rate limit exceeded for installation.",
                    "/using-the-rest-api/rate-limits-for-the-rest-api",
                );
                rate_limit(response.headers_mut(), 0, Duration::from_secs(*reset_in));
                response
            }
            Self::SecondaryRateLimit { status, retry_after } => {
                let message =
                    "You have exceeded a secondary rate limit. Please wait a few minutes before you try again.";
                let mut response = refusal(
                    *status,
                    message,
                    "/using-the-rest-api/rate-limits-for-the-rest-api#about-secondary-rate-limits",
                );
                rate_limit(response.headers_mut(), 4_000, Duration::from_secs(3_600));
                response.headers_mut().extend(retry_after.map(|seconds| (RETRY_AFTER, HeaderValue::from(seconds))));
                response
            }
            Self::BadGateway => {
                let page = "<!DOCTYPE html>\n<html>\n  <head><title>Unicorn! &middot; GitHub</title></head>\n  <body><p><strong>We had issues producing the response to your request.</strong></p></body>\n</html>\n";
                text(StatusCode::BAD_GATEWAY, "text/html; charset=utf-8", page.into())
            }
            Self::ServerError => refusal(500, "Server Error", ""),
            Self::Unavailable => refusal(503, "Service unavailable", ""),
            Self::Reset | Self::LoseAnswer | Self::Stall(_) => unreachable!("the caller deals with the connection"),
        }
    }
}

/// The rate-limit headers of every answer.
pub(super) fn rate_limit(headers: &mut HeaderMap, remaining: u64, reset_in: Duration) {
    let reset = Utc::now().timestamp().unsigned_abs() + reset_in.as_secs();
    for (name, value) in [("limit", 5_000), ("remaining", remaining), ("used", 5_000 - remaining), ("reset", reset)] {
        let name = HeaderName::try_from(format!("x-ratelimit-{name}")).expect("a valid name");
        headers.insert(name, HeaderValue::from(value));
    }
    headers.insert("x-ratelimit-resource", HeaderValue::from_static("core"));
    headers.insert("x-github-media-type", HeaderValue::from_static("github.v3; format=json"));
    headers.insert("x-github-request-id", HeaderValue::from_static("C0DE:2F1B:1A2B3C4:5D6E7F8:65A5B0C1"));
}

fn refusal(status: u16, message: &str, page: &str) -> Response<Body> {
    let code = StatusCode::from_u16(status).expect("the test asks for a valid status");
    json(code, &payload::error(status, message, page))
}

/// Failures that are still due.
#[derive(Debug, Default)]
pub(super) struct Failures(Vec<(String, usize, Failure)>);

impl Failures {
    pub(super) fn add(&mut self, method: &str, times: usize, failure: Failure) {
        self.0.push((method.into(), times, failure));
    }

    pub(super) fn next(&mut self, method: &str) -> Option<Failure> {
        let takes = |(on, times, _): &&mut (String, usize, Failure)| *times > 0 && (on == "*" || on == method);
        let (_, times, failure) = self.0.iter_mut().find(takes)?;
        *times -= 1;
        Some(failure.clone())
    }
}
