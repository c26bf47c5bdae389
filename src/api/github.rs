//! GitHub's [REST API](https://docs.github.com/en/rest): releases, tags and facts of one repository.
//!
//! The only place that names `octocrab`. Requests are repeated until a deadline where that can help
//! (`github/retry.rs`); TLS roots come from the system or from `SSL_CERT_FILE`, proxies from the usual variables.

mod error;
mod retry;

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use octocrab::{Octocrab, ReqwestClientConfig};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::Url;

use crate::secret::Secret;

pub use error::Error;
use retry::{Answer, Verdict};

/// How long one request may take; GitHub itself gives up after 10 seconds.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// How often the notes may change under our hands before we give up.
const EDIT_ROUNDS: u32 = 8;

/// The API for one repository.
#[derive(Clone, Debug)]
pub struct GitHub {
    client: Octocrab,
    /// `https://api.github.com/repos/owner/name`
    root: Url,
    repository: String,
    anonymous: bool,
    deadline: Duration,
}

/// A release, as far as we look at it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Release {
    /// Its number.
    pub id: u64,
    /// Its tag, as written.
    pub tag_name: String,
    /// Its notes.
    #[serde(default, deserialize_with = "empty_for_null")]
    pub body: String,
    /// Whether it isn't published yet.
    pub draft: bool,
    /// Whether it is marked as a pre-release.
    pub prerelease: bool,
    /// When it was published; `None` for a draft.
    pub published_at: Option<DateTime<Utc>>,
    /// Its page.
    pub html_url: String,
    /// The branch or commit that its tag was to be made from.
    pub target_commitish: String,
}

/// A commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Its forty digits.
    pub sha: String,
    /// When it was committed.
    pub date: Option<DateTime<Utc>>,
}

/// What is known about the repository.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Facts {
    /// The name without its owner.
    pub name: String,
    /// `owner/name`, spelled as the repository spells it.
    pub full_name: String,
    /// What it is, in a line.
    pub description: Option<String>,
    /// Its page.
    pub html_url: String,
    /// Its licence.
    pub license: Option<License>,
    /// The branch that it shows first.
    pub default_branch: String,
}

/// A licence, as GitHub has recognised it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct License {
    /// Its [SPDX identifier](https://spdx.org/licenses/); `NOASSERTION` for one that GitHub doesn't know.
    pub spdx_id: Option<String>,
}

/// What became of the notes of a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edited {
    /// They were as they should be.
    AlreadyThere,
    /// They were written, and read back.
    Written,
}

impl GitHub {
    /// The API at `api_url` (`GITHUB_API_URL`) for `repository` (`owner/name`). Without a token, public repositories can be read.
    ///
    /// Plain HTTP is for loopback and for the hosts (`host` or `host:port`) of `insecure`.
    ///
    /// # Errors
    /// A URL or a repository that is none, and plain HTTP elsewhere. Nothing is asked yet.
    pub fn new(api_url: &str, token: Option<&Secret>, repository: &str, insecure: &[String]) -> Result<Self, Error> {
        let root = root(api_url, repository, insecure)?;
        // The first provider installed stays; reqwest panics without one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = Octocrab::builder()
            .base_uri(root.as_str())
            .map_err(|cause| Error::ApiUrl { url: api_url.to_owned(), cause: error::Cause::of(&cause).into() })?
            .add_header("x-github-api-version".parse().expect("a valid header name"), "2022-11-28".to_owned())
            .set_connect_timeout(Some(Duration::from_secs(10)))
            .set_read_timeout(Some(REQUEST_TIMEOUT));
        if let Some(token) = token {
            builder = builder.personal_token(token.expose());
        }
        let client = builder
            .build_with_reqwest(ReqwestClientConfig::Default)
            .map_err(|cause| Error::Client { cause: error::Cause::of(&cause) })?;
        Ok(Self {
            client,
            root,
            repository: repository.to_owned(),
            anonymous: token.is_none(),
            deadline: Duration::from_secs(300),
        })
    }

    /// For how long a request is repeated; five minutes otherwise.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// The published release of `tag`, or `None`. Drafts have no tag yet.
    ///
    /// # Errors
    /// No answer until the deadline, or a refusal.
    pub async fn release_by_tag(&self, tag: &str) -> Result<Option<Release>, Error> {
        match self.get(self.url(&["releases", "tags", tag])).await {
            Ok(release) => Ok(Some(release)),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The release of the first of `tags` that has one.
    ///
    /// # Errors
    /// [`Error::NoRelease`], with all that was looked for, beside those of [`Self::release_by_tag`].
    pub async fn release(&self, tags: &[&str]) -> Result<Release, Error> {
        for tag in tags {
            if let Some(release) = self.release_by_tag(tag).await? {
                return Ok(release);
            }
        }
        let tags = tags.iter().map(ToString::to_string).collect();
        Err(Error::NoRelease { repository: self.repository.clone(), tags, anonymous: self.anonymous })
    }

    /// The releases published before `release`, the newest first; at most the hundred that GitHub lists on its first page.
    ///
    /// # Errors
    /// No answer until the deadline, or a refusal.
    pub async fn previous_releases(&self, release: &Release) -> Result<Vec<Release>, Error> {
        let mut url = self.url(&["releases"]);
        url.query_pairs_mut().append_pair("per_page", "100");
        let mut releases: Vec<Release> = self.get(url).await?;
        releases.retain(|other| {
            other.id != release.id && !other.draft && other.published_at.is_some()
                // A draft that is about to be published comes after all that are.
                && release.published_at.is_none_or(|published| other.published_at <= Some(published))
        });
        releases.sort_by_key(|release| std::cmp::Reverse(release.published_at));
        Ok(releases)
    }

    /// The commit that `tag` leads to, also through the object of an annotated tag.
    ///
    /// # Errors
    /// No such tag, no answer until the deadline, or a refusal.
    pub async fn commit_of_tag(&self, tag: &str) -> Result<Commit, Error> {
        self.commit(&format!("tags/{tag}"), tag).await
    }

    /// A commit by its digits.
    ///
    /// # Errors
    /// No such commit, no answer until the deadline, or a refusal.
    pub async fn commit_by_sha(&self, sha: &str) -> Result<Commit, Error> {
        self.commit(sha, sha).await
    }

    async fn commit(&self, reference: &str, name: &str) -> Result<Commit, Error> {
        #[derive(Deserialize)]
        struct Answer {
            sha: String,
            commit: Git,
        }
        #[derive(Deserialize)]
        struct Git {
            committer: Option<Committer>,
        }
        #[derive(Deserialize)]
        struct Committer {
            date: Option<DateTime<Utc>>,
        }
        match self.get(self.url(&["commits", reference])).await {
            Ok(Answer { sha, commit }) => Ok(Commit { sha, date: commit.committer.and_then(|by| by.date) }),
            // 422 is how GitHub says that a reference leads nowhere.
            Err(Error::NotFound { .. } | Error::Refused { status: 422, .. }) => {
                Err(Error::NoTag { repository: self.repository.clone(), tag: name.to_owned() })
            }
            Err(error) => Err(error),
        }
    }

    /// What is known about the repository.
    ///
    /// # Errors
    /// No such repository, no answer until the deadline, or a refusal.
    pub async fn repository(&self) -> Result<Facts, Error> {
        match self.get(self.root.clone()).await {
            Err(Error::NotFound { .. }) => {
                Err(Error::NoRepository { repository: self.repository.clone(), anonymous: self.anonymous })
            }
            answer => answer,
        }
    }

    /// Brings the notes of release `id` to where `edit` changes nothing any more.
    ///
    /// GitHub has no conditional write. So the notes are read right before they are written, and afterwards, and
    /// `edit` is applied again whenever they are not what it was applied to. It must give its own result back unchanged.
    /// What somebody writes in the one round trip between reading and writing is lost.
    ///
    /// # Errors
    /// Those of `edit`, a refusal, and [`Error::Contended`] where the notes keep changing.
    pub async fn edit_release_body<E: From<Error>>(
        &self,
        id: u64,
        edit: impl Fn(&str) -> Result<String, E>,
    ) -> Result<Edited, E> {
        let started = Instant::now();
        let mut edited = Edited::AlreadyThere;
        let mut body = self.release_body(id).await?;
        let mut attempt = 0;
        for _ in 0..EDIT_ROUNDS {
            let wanted = edit(&body)?;
            if wanted == body {
                return Ok(edited);
            }
            let now = self.release_body(id).await?;
            if now != body {
                body = now;
                continue;
            }
            // Only one attempt for each reading: a repeated PATCH would undo what was written while it waited.
            while let Err(wait) = self.write_body(id, &wanted, attempt, started).await? {
                attempt += 1;
                tokio::time::sleep(wait).await;
                if self.release_body(id).await? != body {
                    break;
                }
            }
            edited = Edited::Written;
            body = self.release_body(id).await?;
        }
        Err(Error::Contended { repository: self.repository.clone(), id }.into())
    }

    async fn release_body(&self, id: u64) -> Result<String, Error> {
        let release: Release = self.get(self.url(&["releases", &id.to_string()])).await?;
        Ok(release.body)
    }

    /// Writes the notes once: `Ok(Err(wait))` says after what time another attempt makes sense.
    async fn write_body(
        &self,
        id: u64,
        body: &str,
        attempt: u32,
        started: Instant,
    ) -> Result<Result<(), Duration>, Error> {
        let url = self.url(&["releases", &id.to_string()]);
        let body = serde_json::json!({ "body": body });
        let answer = self.client.patch::<serde::de::IgnoredAny, _, _>(url.as_str(), Some(&body));
        match self.judge(answer, "PATCH", &url, attempt, started).await? {
            Ok(_) => Ok(Ok(())),
            Err(wait) => Ok(Err(wait)),
        }
    }

    async fn get<T: DeserializeOwned>(&self, url: Url) -> Result<T, Error> {
        let started = Instant::now();
        let mut attempt = 0;
        loop {
            let answer = self.client.get(url.as_str(), None::<&()>);
            match self.judge(answer, "GET", &url, attempt, started).await? {
                Ok(value) => return Ok(value),
                Err(wait) => tokio::time::sleep(wait).await,
            }
            attempt += 1;
        }
    }

    /// Waits for an answer and decides what it means: a value, a wait before the next attempt, or the end.
    async fn judge<T>(
        &self,
        answer: impl Future<Output = octocrab::Result<T>>,
        method: &'static str,
        url: &Url,
        attempt: u32,
        started: Instant,
    ) -> Result<Result<T, Duration>, Error> {
        let answer = match tokio::time::timeout(REQUEST_TIMEOUT, answer).await {
            Ok(Ok(value)) => return Ok(Ok(value)),
            Ok(Err(error)) => Answer::of(&error),
            Err(_) => Answer::timeout(REQUEST_TIMEOUT),
        };
        let now = Utc::now();
        let left = self.deadline.saturating_sub(started.elapsed());
        match retry::verdict(&answer, attempt, now) {
            Verdict::Again(wait) if wait <= left => Ok(Err(wait)),
            verdict => {
                let asked = error::Asked {
                    request: format!("{method} {}", url.path()),
                    writing: method != "GET",
                    repository: self.repository.clone(),
                    anonymous: self.anonymous,
                    attempts: attempt + 1,
                };
                Err(Error::of(asked, answer, verdict, now))
            }
        }
    }

    /// The URL of `steps` below the repository's; each step is escaped, slashes included.
    fn url(&self, steps: &[&str]) -> Url {
        let mut url = self.root.clone();
        url.path_segments_mut().expect("an http URL has a path").extend(steps);
        url
    }
}

/// Checks where requests will go: `https://api.github.com` gives `https://api.github.com/repos/owner/name`.
fn root(api_url: &str, repository: &str, insecure: &[String]) -> Result<Url, Error> {
    let mut url =
        Url::parse(api_url).map_err(|cause| Error::ApiUrl { url: api_url.to_owned(), cause: cause.into() })?;
    let host = url.host_str().unwrap_or_default().to_owned();
    let loopback = match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    let listed = || {
        let with_port = format!("{host}:{}", url.port_or_known_default().unwrap_or_default());
        insecure.iter().any(|allowed| *allowed == host || *allowed == with_port)
    };
    match url.scheme() {
        "https" => {}
        "http" if loopback || listed() => {}
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

/// GitHub writes empty notes as `null`.
fn empty_for_null<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
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
    fn what_is_no_repository_is_refused() {
        for repository in ["uv", "astral-sh/", "/uv", "astral-sh/uv/x", "astral-sh/..", "a b/c", "a/b?c"] {
            let error = root("https://api.github.com", repository, &[]).unwrap_err();
            assert!(matches!(error, Error::Repository { .. }), "{error}");
        }
        assert!(matches!(root("ftp://x", "a/b", &[]), Err(Error::ApiUrl { .. })));
        assert!(matches!(root("api.github.com", "a/b", &[]), Err(Error::ApiUrl { .. })));
    }
}
