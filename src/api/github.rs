//! GitHub's [REST API](https://docs.github.com/en/rest): releases, tags, files and facts of one repository.
//!
//! The only module that names `octocrab`. Requests are retried by the rule in `api/retry.rs`. TLS roots come from the
//! system or from `SSL_CERT_FILE`, proxies from the usual environment variables.

mod answer;
mod commits;
mod contents;
mod error;
mod notes;
mod releases;
mod repository;

use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use octocrab::Octocrab;
use serde::de::DeserializeOwned;
use tokio::sync::OnceCell;
use url::Url;

use super::retry::{Api, DEADLINE, FIRST_WAIT, Retry};
use crate::api::tls;
use crate::loopback::is_loopback;
use crate::secret::Secret;

pub use commits::Commit;
pub use error::Error;
pub use notes::Edited;
pub use releases::Release;

pub use crate::ownership::Standing;
use answer::Answer;
pub use repository::{Facts, License};

/// How long one request may take; GitHub itself gives up after 10 seconds.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// The API for one repository. Clones share their caches.
#[derive(Clone, Debug)]
pub struct GitHub {
    client: Octocrab,
    /// For example `https://api.github.com/repos/owner/name`.
    root: Url,
    repository: String,
    anonymous: bool,
    deadline: Duration,
    drafts: Arc<OnceCell<Vec<Release>>>,
}

impl GitHub {
    /// The API at `api_url` (`GITHUB_API_URL`) for `repository` (`owner/name`). Public repositories can be read without
    /// a token.
    ///
    /// Plain HTTP is allowed to loopback, and to the hosts (`host` or `host:port`) in `insecure`.
    ///
    /// # Errors
    /// The URL or the repository's name is invalid, or the URL is plain HTTP to another host. No request is sent yet.
    pub fn new(api_url: &str, token: Option<&Secret>, repository: &str, insecure: &[String]) -> Result<Self, Error> {
        let root = root(api_url, repository, insecure)?;
        let mut builder = Octocrab::builder()
            .base_uri(root.as_str())
            .map_err(|cause| Error::ApiUrl { url: api_url.to_owned(), cause: error::Cause::of(&cause).into() })?
            .add_header("x-github-api-version".parse().expect("a valid header name"), "2022-11-28".to_owned());
        if let Some(token) = token {
            builder = builder.personal_token(token.expose());
        }
        let http = reqwest::Client::builder().connect_timeout(Duration::from_secs(10)).read_timeout(REQUEST_TIMEOUT);
        // Requests to loopback may go without TLS, but a proxy may be on another machine.
        let http = if is_loopback(&root) { http.no_proxy() } else { http };
        let http = tls::client(http).map_err(|cause| Error::Client { cause: error::Cause::of(&*cause) })?;
        let client =
            builder.build_with_reqwest(http).map_err(|cause| Error::Client { cause: error::Cause::of(&cause) })?;
        Ok(Self {
            client,
            root,
            repository: repository.to_owned(),
            anonymous: token.is_none(),
            deadline: DEADLINE,
            drafts: Arc::default(),
        })
    }

    /// Sets how long a request is retried, from its first failure on.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    async fn get<T: DeserializeOwned>(&self, url: Url) -> Result<T, Error> {
        let mut retry = self.retry();
        loop {
            match attempt(self.client.get(url.as_str(), None::<&()>)).await {
                Ok(value) => return Ok(value),
                Err(answer) => self.pause(&mut retry, "GET", &url, answer).await?,
            }
        }
    }

    fn retry(&self) -> Retry {
        Retry::new(Api::GitHub, self.deadline, FIRST_WAIT)
    }

    /// Waits before the next attempt.
    ///
    /// # Errors
    /// There should be no further attempt.
    async fn pause(&self, retry: &mut Retry, method: &str, url: &Url, answer: Answer) -> Result<(), Error> {
        let now = Utc::now();
        if retry.pause(&answer.failure(), answer.wait(), fastrand::f64()).await {
            return Ok(());
        }
        let asked = error::Asked {
            request: format!("{method} {}", url.path()),
            writing: method != "GET",
            repository: self.repository.clone(),
            anonymous: self.anonymous,
            attempts: retry.attempts(),
        };
        Err(Error::of(asked, answer, now))
    }

    /// The URL of `steps` below the repository's. Each step is escaped, including its slashes.
    fn url(&self, steps: &[&str]) -> Url {
        let mut url = self.root.clone();
        url.path_segments_mut().expect("an http URL has a path").extend(steps);
        url
    }
}

/// Waits for GitHub's answer to one request.
async fn attempt<T>(answer: impl Future<Output = octocrab::Result<T>>) -> Result<T, Answer> {
    match tokio::time::timeout(REQUEST_TIMEOUT, answer).await {
        Ok(answer) => answer.map_err(|error| Answer::of(&error, Utc::now())),
        Err(_) => Err(Answer::timeout(REQUEST_TIMEOUT)),
    }
}

/// The URL below which requests go: `https://api.github.com` gives `https://api.github.com/repos/owner/name`.
fn root(api_url: &str, repository: &str, insecure: &[String]) -> Result<Url, Error> {
    let mut url =
        Url::parse(api_url).map_err(|cause| Error::ApiUrl { url: api_url.to_owned(), cause: cause.into() })?;
    let host = url.host_str().unwrap_or_default().to_owned();
    let listed = || {
        let with_port = format!("{host}:{}", url.port_or_known_default().unwrap_or_default());
        insecure.iter().any(|allowed| *allowed == host || *allowed == with_port)
    };
    match url.scheme() {
        "https" => {}
        "http" if is_loopback(&url) || listed() => {}
        "http" => return Err(Error::PlainHttp { url: api_url.to_owned() }),
        _ => {
            let cause = std::io::Error::other("neither `https` nor `http`").into();
            return Err(Error::ApiUrl { url: api_url.to_owned(), cause });
        }
    }
    let word = |part: &str| {
        !part.is_empty()
            && part != "."
            && part != ".."
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
    };
    match repository.split_once('/') {
        Some((owner, name)) if word(owner) && word(name) => {
            let mut path = url.path_segments_mut().expect("an http URL has a path");
            path.pop_if_empty().extend(["repos", owner, name]);
            drop(path);
            Ok(url)
        }
        _ => Err(Error::Repository { repository: repository.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_go_below_the_repository() {
        for (api_url, expected) in [
            ("https://api.github.com", "https://api.github.com/repos/astral-sh/uv"),
            ("https://ghe.example/api/v3/", "https://ghe.example/api/v3/repos/astral-sh/uv"),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080/repos/astral-sh/uv"),
            ("http://[::1]:8080", "http://[::1]:8080/repos/astral-sh/uv"),
            ("http://172.17.0.1:8080", "http://172.17.0.1:8080/repos/astral-sh/uv"),
        ] {
            let url = root(api_url, "astral-sh/uv", &["172.17.0.1:8080".to_owned()]).unwrap();
            assert_eq!(url.as_str(), expected);
        }
    }

    #[test]
    fn a_token_never_goes_over_plain_http_to_another_machine() {
        for api_url in ["http://api.github.com", "http://172.17.0.1:8081", "http://localhost.example.org"] {
            let error = root(api_url, "astral-sh/uv", &["172.17.0.1:8080".to_owned()]).unwrap_err();
            assert!(matches!(error, Error::PlainHttp { .. }), "{error}");
        }
    }

    #[test]
    fn an_invalid_repository_is_refused() {
        for repository in ["uv", "astral-sh/", "/uv", "astral-sh/uv/x", "astral-sh/..", "a b/c", "a/b?c"] {
            let error = root("https://api.github.com", repository, &[]).unwrap_err();
            assert!(matches!(error, Error::Repository { .. }), "{error}");
        }
        assert!(matches!(root("ftp://x", "a/b", &[]), Err(Error::ApiUrl { .. })));
        assert!(matches!(root("api.github.com", "a/b", &[]), Err(Error::ApiUrl { .. })));
    }
}
