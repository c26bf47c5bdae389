//! Errors of GitHub's API.

use std::fmt;

use chrono::{DateTime, SecondsFormat, Utc};

use super::answer::Answer;
use crate::api::retry::GITHUB_LIMIT;
use crate::error::{Fault, StageError};
use crate::hint::{Hinted, Hints, Input};
use crate::quote::count;
use crate::troubleshooting::Topic;

/// Why GitHub couldn't be asked, or what it refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API's address is invalid.
    #[error("`{url}` is not the address of GitHub's API")]
    ApiUrl {
        /// The address as it was given.
        url: String,
        /// Why it is invalid.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Plain HTTP to another machine.
    #[error("`{url}` would send the token unencrypted")]
    PlainHttp {
        /// The API's address.
        url: String,
    },
    /// Not `owner/name`.
    #[error("`{repository}` is not a repository on GitHub")]
    Repository {
        /// The name as it was given.
        repository: String,
    },
    /// The HTTP client can't be created, usually because there are no trusted certificates.
    #[error("no client for GitHub's API can be created")]
    Client {
        /// What the client's library says.
        #[source]
        cause: Cause,
    },
    /// There's no release of this tag.
    #[error("`{repository}` has no release of {}", listed(tags))]
    NoRelease {
        /// The repository.
        repository: String,
        /// The names that its tag may have.
        tags: Vec<String>,
        /// Whether there was no token.
        anonymous: bool,
    },
    /// There's no such commit.
    #[error("`{repository}` has no commit `{sha}`")]
    NoCommit {
        /// The repository.
        repository: String,
        /// The commit.
        sha: String,
    },
    /// There's no such tag.
    #[error("`{repository}` has no tag `{tag}`")]
    NoTag {
        /// The repository.
        repository: String,
        /// The tag.
        tag: String,
    },
    /// There's no such repository, or the token can't see it.
    #[error("repository `{repository}` was not found on GitHub")]
    NoRepository {
        /// The repository.
        repository: String,
        /// Whether there was no token.
        anonymous: bool,
    },
    /// 404, and the request doesn't say what was missing.
    #[error("`{request}` found nothing")]
    NotFound {
        /// Method and path.
        request: String,
        /// Whether something was to be written.
        writing: bool,
    },
    /// 401.
    #[error("{} (`{request}`: {message})", unauthorized(*anonymous))]
    Unauthorized {
        /// Method and path.
        request: String,
        /// GitHub's message.
        message: String,
        /// Whether there was no token.
        anonymous: bool,
        /// Whether something was to be written.
        writing: bool,
    },
    /// 403.
    #[error("{} may not {} `{repository}` (`{request}`: {message})", Input("github-token"), verb(*writing))]
    Forbidden {
        /// Method and path.
        request: String,
        /// The repository.
        repository: String,
        /// GitHub's message.
        message: String,
        /// Whether something was to be written.
        writing: bool,
    },
    /// A rate limit that lasts longer than we wait.
    #[error("GitHub asks to wait until {} (`{request}`: {message})", date(until))]
    Limited {
        /// Method and path.
        request: String,
        /// GitHub's message.
        message: String,
        /// When requests are allowed again.
        until: DateTime<Utc>,
        /// Whether there was no token.
        anonymous: bool,
    },
    /// GitHub refused the request for another reason.
    #[error("GitHub refused `{request}` with status {status} in {}: {message}", count(*attempts as usize, "attempt"))]
    Refused {
        /// Method and path.
        request: String,
        /// The status.
        status: u16,
        /// GitHub's message.
        message: String,
        /// The number of attempts.
        attempts: u32,
        /// Whether something was to be written.
        writing: bool,
    },
    /// GitHub didn't answer.
    #[error("GitHub didn't answer `{request}` in {}", count(*attempts as usize, "attempt"))]
    Unreachable {
        /// Method and path.
        request: String,
        /// The number of attempts.
        attempts: u32,
        /// Why the last attempt failed.
        #[source]
        cause: Cause,
    },
    /// An answer that isn't in the form of GitHub's API.
    #[error("the answer to `{request}` is not in the form of GitHub's API")]
    Malformed {
        /// Method and path.
        request: String,
        /// What is wrong with it.
        #[source]
        cause: Cause,
    },
    /// Others keep changing the notes.
    #[error("the notes of release {id} of `{repository}` changed each time they were to be written")]
    Contended {
        /// The repository.
        repository: String,
        /// GitHub's id of the release.
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

impl Hinted for Error {
    fn hints(&self) -> Hints {
        let token = Input("github-token");
        match self {
            Self::ApiUrl { .. } => "set `GITHUB_API_URL`, for example to `https://api.github.com`".into(),
            Self::PlainHttp { .. } => format!(
                "use `https`, or list the host in {} if the network to it is trusted",
                Input("insecure-registries")
            )
            .into(),
            Self::Repository { .. } => "a repository looks like `astral-sh/uv`".into(),
            Self::Client { .. } => "`SSL_CERT_FILE`, if it is set, names the file of trusted certificates".into(),
            Self::NoRelease { anonymous: true, .. } => {
                format!("publish the release first; a draft has no tag, and a private repository needs {token}").into()
            }
            Self::NoRelease { anonymous: false, .. } => {
                format!("publish the release first (a draft has no tag), or correct {}", Input("version")).into()
            }
            Self::NoCommit { .. } => format!(
                "push it first; for one of another repository, set {} and {}",
                Input("revision"),
                Input("created")
            )
            .into(),
            Self::NoTag { .. } => format!("push the tag, or correct {}", Input("version")).into(),
            Self::NoRepository { anonymous: true, .. } => format!("a private repository needs {token}").into(),
            Self::NoRepository { anonymous: false, .. } => {
                format!("{token} must have access to this repository").into()
            }
            Self::NotFound { .. } => format!("it may exist, but {token} can't see it").into(),
            Self::Unauthorized { anonymous: true, .. } => {
                format!("set {token}; in a workflow its default is `${{{{ github.token }}}}`").into()
            }
            Self::Unauthorized { anonymous: false, .. } => {
                format!("the token has expired or was revoked; in a workflow, leave {token} at its default").into()
            }
            Self::Forbidden { writing: true, .. } => "give the job `permissions: contents: write`".into(),
            Self::Forbidden { writing: false, .. } => "give the job `permissions: contents: read`".into(),
            Self::Limited { anonymous: true, .. } => {
                format!("run it again then; with {token} the limit is higher").into()
            }
            Self::Limited { anonymous: false, .. } => "run it again then".into(),
            Self::Refused { status: 500.., .. } => "see https://www.githubstatus.com, then run it again".into(),
            Self::Refused { .. } => "do what GitHub says, then run it again".into(),
            Self::Unreachable { .. } => "see https://www.githubstatus.com, then run it again".into(),
            Self::Malformed { .. } => "does `GITHUB_API_URL` lead to GitHub's API?".into(),
            Self::Contended { .. } => "run it again when nobody else edits them".into(),
        }
    }
}

impl StageError for Error {
    fn topic(&self) -> Topic {
        match self {
            Self::NoRelease { .. } | Self::NoCommit { .. } | Self::NoTag { .. } => Topic::Release,
            Self::NoRepository { .. } | Self::NotFound { .. } | Self::Unauthorized { .. } | Self::Forbidden { .. } => {
                Topic::Token
            }
            Self::ApiUrl { .. }
            | Self::PlainHttp { .. }
            | Self::Repository { .. }
            | Self::Client { .. }
            | Self::Limited { .. }
            | Self::Refused { .. }
            | Self::Unreachable { .. }
            | Self::Malformed { .. } => Topic::GitHub,
            Self::Contended { .. } => Topic::Notes,
        }
    }

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
            // The text of an outer error often ends with that of the inner one.
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

fn unauthorized(anonymous: bool) -> String {
    if anonymous {
        "GitHub needs a token".to_owned()
    } else {
        format!("GitHub doesn't accept {}", Input("github-token"))
    }
}

fn verb(writing: bool) -> &'static str {
    if writing { "write the releases of" } else { "read" }
}

fn date(date: &DateTime<Utc>) -> String {
    date.to_rfc3339_opts(SecondsFormat::Secs, true)
}
