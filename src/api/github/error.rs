//! What can go wrong with GitHub, and what to do about it.

use std::fmt;

use chrono::{DateTime, SecondsFormat, Utc};

use super::answer::Answer;
use crate::api::retry::GITHUB_LIMIT;
use crate::error::{Fault, Situation};

/// Why GitHub couldn't be asked, or what it refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API's address is none.
    #[error(
        "`{url}` is not the address of GitHub's API\nhint: set `GITHUB_API_URL`, for example to `https://api.github.com`"
    )]
    ApiUrl {
        /// What was given.
        url: String,
        /// Why it is none.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Plain HTTP to another machine.
    #[error(
        "`{url}` would send the token unencrypted\nhint: use `https`, or list the host in `insecure-registries` where the way to it is trusted"
    )]
    PlainHttp {
        /// The API's address.
        url: String,
    },
    /// Not `owner/name`.
    #[error("`{repository}` is not a repository on GitHub\nhint: a repository looks like `astral-sh/uv`")]
    Repository {
        /// What was given.
        repository: String,
    },
    /// No client could be made: no TLS roots, as a rule.
    #[error(
        "no client for GitHub's API can be made\nhint: `SSL_CERT_FILE` names the file of trusted certificates, where it is set"
    )]
    Client {
        /// What the client's library says.
        #[source]
        cause: Cause,
    },
    /// There's no release of this tag.
    #[error("`{repository}` has no release of {}\nhint: {}", listed(tags), no_release_hint(*anonymous))]
    NoRelease {
        /// Where it was looked for.
        repository: String,
        /// What was looked for.
        tags: Vec<String>,
        /// Whether there was no token.
        anonymous: bool,
    },
    /// There's no such commit.
    #[error(
        "`{repository}` has no commit `{sha}`\nhint: push it first; for one of another repository, set `revision` and `created`"
    )]
    NoCommit {
        /// Where it was looked for.
        repository: String,
        /// What was looked for.
        sha: String,
    },
    /// There's no such tag.
    #[error("`{repository}` has no tag `{tag}`\nhint: push the tag, or correct `version`")]
    NoTag {
        /// Where it was looked for.
        repository: String,
        /// What was looked for.
        tag: String,
    },
    /// There's no such repository, or it can't be seen.
    #[error("repository `{repository}` is not to be found on GitHub\nhint: {}", no_repository_hint(*anonymous))]
    NoRepository {
        /// What was looked for.
        repository: String,
        /// Whether there was no token.
        anonymous: bool,
    },
    /// 404, where no better words are at hand.
    #[error("`{request}` found nothing\nhint: it may exist and not be visible to this `github-token`")]
    NotFound {
        /// Method and path.
        request: String,
        /// Whether something was to be written.
        writing: bool,
    },
    /// 401.
    #[error("{} (`{request}`: {message})\nhint: {}", unauthorized(*anonymous), unauthorized_hint(*anonymous))]
    Unauthorized {
        /// Method and path.
        request: String,
        /// GitHub's words.
        message: String,
        /// Whether there was no token.
        anonymous: bool,
        /// Whether something was to be written.
        writing: bool,
    },
    /// 403.
    #[error("`github-token` may not {} `{repository}` (`{request}`: {message})\nhint: give the job `permissions: contents: {}`", verb(*writing), permission(*writing))]
    Forbidden {
        /// Method and path.
        request: String,
        /// The repository.
        repository: String,
        /// GitHub's words.
        message: String,
        /// Whether something was to be written.
        writing: bool,
    },
    /// Too many requests, for longer than we wait.
    #[error("GitHub asks to wait until {} (`{request}`: {message})\nhint: run it again then{}", date(until), limit_hint(*anonymous))]
    Limited {
        /// Method and path.
        request: String,
        /// GitHub's words.
        message: String,
        /// When requests are welcome again.
        until: DateTime<Utc>,
        /// Whether there was no token.
        anonymous: bool,
    },
    /// Another refusal.
    #[error("GitHub refused `{request}` with status {status}, {attempts} time(s): {message}")]
    Refused {
        /// Method and path.
        request: String,
        /// The status.
        status: u16,
        /// GitHub's words.
        message: String,
        /// How often it was asked.
        attempts: u32,
        /// Whether something was to be written.
        writing: bool,
    },
    /// No answer.
    #[error(
        "GitHub didn't answer `{request}`, {attempts} time(s)\nhint: see https://www.githubstatus.com, then run it again"
    )]
    Unreachable {
        /// Method and path.
        request: String,
        /// How often it was asked.
        attempts: u32,
        /// What happened the last time.
        #[source]
        cause: Cause,
    },
    /// An answer that GitHub doesn't give.
    #[error("the answer to `{request}` is not one of GitHub's\nhint: does `GITHUB_API_URL` lead to GitHub's API?")]
    Malformed {
        /// Method and path.
        request: String,
        /// What is wrong with it.
        #[source]
        cause: Cause,
    },
    /// The notes keep changing.
    #[error(
        "the notes of release {id} of `{repository}` changed each time they were to be written\nhint: run it again when nobody else edits them"
    )]
    Contended {
        /// The repository.
        repository: String,
        /// The release.
        id: u64,
    },
}

/// A failed request.
pub(super) struct Asked {
    pub(super) request: String,
    pub(super) writing: bool,
    pub(super) repository: String,
    pub(super) anonymous: bool,
    pub(super) attempts: u32,
}

impl Error {
    pub(super) fn of(asked: Asked, answer: Answer, now: DateTime<Utc>) -> Self {
        let Asked { request, writing, repository, anonymous, attempts } = asked;
        let refusal = match answer {
            Answer::Silence(cause) => return Self::Unreachable { request, attempts, cause },
            Answer::Malformed(cause) => return Self::Malformed { request, cause },
            Answer::Refusal(refusal) => refusal,
        };
        let limited = refusal.is_limit();
        let message = refusal.message;
        match refusal.status {
            _ if limited => {
                let until = now + refusal.wait.unwrap_or(GITHUB_LIMIT);
                Self::Limited { request, message, until, anonymous }
            }
            401 => Self::Unauthorized { request, message, anonymous, writing },
            403 => Self::Forbidden { request, repository, message, writing },
            404 => Self::NotFound { request, writing },
            status => Self::Refused { request, status, message, attempts, writing },
        }
    }
}

impl Situation for Error {
    fn fault(&self) -> Fault {
        match self {
            Self::ApiUrl { .. }
            | Self::PlainHttp { .. }
            | Self::Repository { .. }
            | Self::Client { .. }
            | Self::NoRelease { .. }
            | Self::NoTag { .. }
            | Self::NoCommit { .. }
            | Self::NoRepository { .. } => Fault::Input,
            // Everything that is read is read before anything is published.
            Self::Unauthorized { writing, .. } | Self::Forbidden { writing, .. } | Self::NotFound { writing, .. } => {
                if *writing {
                    Fault::Publication
                } else {
                    Fault::Input
                }
            }
            Self::Limited { .. }
            | Self::Refused { .. }
            | Self::Unreachable { .. }
            | Self::Malformed { .. }
            | Self::Contended { .. } => Fault::Publication,
        }
    }
}

/// The message of a library's error with its causes, without repetitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause(String);

impl Cause {
    pub(super) fn of(error: &(dyn std::error::Error + 'static)) -> Self {
        let mut said = Vec::<String>::new();
        for cause in std::iter::successors(Some(error), |error| error.source()) {
            let text = cause.to_string();
            // A wrapper's text ends with the text of what it wraps.
            said.retain(|earlier| !earlier.ends_with(&text));
            if !said.iter().any(|earlier| earlier.contains(&text)) {
                said.push(text);
            }
        }
        Self(said.join(": "))
    }
}

impl From<String> for Cause {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Cause {}

fn listed(tags: &[String]) -> String {
    let tags: Vec<String> = tags.iter().map(|tag| format!("`{tag}`")).collect();
    if tags.is_empty() { "the version".to_owned() } else { tags.join(" or ") }
}

fn no_release_hint(anonymous: bool) -> &'static str {
    if anonymous {
        "publish the release first; a draft has no tag, and a private repository needs `github-token`"
    } else {
        "publish the release first (a draft has no tag), or correct `version`"
    }
}

fn no_repository_hint(anonymous: bool) -> &'static str {
    if anonymous { "a private repository needs `github-token`" } else { "`github-token` must be of this repository" }
}

fn unauthorized(anonymous: bool) -> &'static str {
    if anonymous { "GitHub needs a token" } else { "GitHub doesn't accept `github-token`" }
}

fn unauthorized_hint(anonymous: bool) -> &'static str {
    if anonymous {
        "set `github-token`; in a workflow its default is `${{ github.token }}`"
    } else {
        "the token has expired or was revoked; in a workflow, leave `github-token` at its default"
    }
}

fn verb(writing: bool) -> &'static str {
    if writing { "write the releases of" } else { "read" }
}

fn permission(writing: bool) -> &'static str {
    if writing { "write" } else { "read" }
}

fn limit_hint(anonymous: bool) -> &'static str {
    if anonymous { "; with `github-token` the limit is higher" } else { "" }
}

fn date(date: &DateTime<Utc>) -> String {
    date.to_rfc3339_opts(SecondsFormat::Secs, true)
}
