//! A registry's answer to a request, with an expected or an unexpected status.

use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use chrono::{DateTime, Utc};
use reqwest::Response;
use reqwest::header::{DATE, RETRY_AFTER, WWW_AUTHENTICATE};
use tokio::sync::OwnedSemaphorePermit;
use url::Url;

use super::challenge::Challenge;
use super::endpoint;
use super::error::{Answered, Cause, RegistryError, Request};
use super::trouble::Trouble;
use crate::api::retry::retry_after;

/// The most bytes that are read from a response with an unexpected status.
const REFUSAL: u64 = 64 * 1024;

/// A response with an expected status, its body unread. Holds its in-flight permit until dropped.
pub(super) struct Answer {
    pub(super) request: Request,
    response: Response,
    idle: Duration,
    _permit: OwnedSemaphorePermit,
}

impl Answer {
    pub(super) fn new(request: Request, response: Response, idle: Duration, permit: OwnedSemaphorePermit) -> Self {
        Self { request, response, idle, _permit: permit }
    }

    pub(super) fn status(&self) -> u16 {
        self.response.status().as_u16()
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.response.headers().get(name)?.to_str().ok()
    }

    /// All values of a header that may occur several times. Bytes that aren't UTF-8 are replaced.
    pub(super) fn headers(&self, name: &str) -> impl Iterator<Item = String> {
        self.response
            .headers()
            .get_all(name)
            .into_iter()
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
    }

    pub(super) fn trouble(&self, cause: Cause) -> Trouble {
        Trouble::new(self.request.clone(), cause)
    }

    /// The URL in the header `Location`.
    pub(super) fn location(&self) -> Result<Url, Trouble> {
        let location = self.header("location").and_then(|l| endpoint::follow(self.response.url(), l));
        location.ok_or_else(|| self.trouble(Cause::Malformed("it has no `Location`".to_owned())))
    }

    /// The target of a redirect; `None` if the response isn't a redirect.
    pub(super) fn redirect(&self) -> Option<Url> {
        let is_redirect = matches!(self.status(), 301 | 302 | 303 | 307 | 308);
        endpoint::follow(self.url(), self.header("location").filter(|_| is_redirect)?)
    }

    /// The authentication that the registry asks for, if it does.
    pub(super) fn challenge(&self) -> Option<Challenge> {
        let headers = self.response.headers().get_all(WWW_AUTHENTICATE);
        Challenge::choose(headers.iter().filter_map(|value| value.to_str().ok()))
    }

    pub(super) fn url(&self) -> &Url {
        self.response.url()
    }

    /// The next chunk of the body.
    pub(super) async fn chunk(&mut self) -> Result<Option<Bytes>, Trouble> {
        match tokio::time::timeout(self.idle, self.response.chunk()).await {
            Ok(Ok(chunk)) => Ok(chunk),
            Ok(Err(error)) => Err(broken(self.request.clone(), error)),
            Err(_) => Err(self.trouble(Cause::Stalled(self.idle))),
        }
    }

    /// The whole body, if it has at most `limit` bytes.
    pub(super) async fn bytes(mut self, what: &str, limit: u64) -> Result<Bytes, Trouble> {
        let mut bytes = BytesMut::new();
        while let Some(chunk) = self.chunk().await? {
            bytes.extend_from_slice(&chunk);
            let size = bytes.len() as u64;
            if size > limit {
                return Err(Trouble::other(
                    self.request,
                    RegistryError::TooLarge { what: what.to_owned(), size, limit },
                ));
            }
        }
        Ok(bytes.freeze())
    }

    /// As much of the body as arrived, up to `limit` bytes, for an error message.
    async fn beginning(mut self, limit: u64) -> BytesMut {
        let mut bytes = BytesMut::new();
        while (bytes.len() as u64) < limit {
            match self.chunk().await {
                Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
                Ok(None) | Err(_) => break,
            }
        }
        bytes.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        bytes
    }
}

/// The error for a response with an unexpected status.
pub(super) async fn refused(answer: Answer) -> Trouble {
    let (status, request) = (answer.status(), answer.request.clone());
    let now = answer.header(DATE.as_str()).and_then(|date| DateTime::parse_from_rfc2822(date).ok());
    let now = now.map_or_else(|| SystemTime::now().into(), |date| date.with_timezone(&Utc));
    let wait = answer.header(RETRY_AFTER.as_str()).and_then(|header| retry_after(header, now));
    let answered = Answered::read(status, &answer.beginning(REFUSAL).await, wait);
    Trouble::new(request, Cause::Answered(Box::new(answered)))
}

/// The error for a failed connection. The URL is removed, since its query may contain a signature.
pub(super) fn broken(request: Request, error: reqwest::Error) -> Trouble {
    Trouble::new(request, Cause::Broken(error.without_url()))
}
