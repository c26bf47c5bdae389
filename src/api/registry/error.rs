//! Errors of registries.

use std::error::Error;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::refusal::Applicant;
use crate::api::retry::Failure;
use crate::error::{Fault, StageError};
use crate::hint::{FREE_DISK, Hinted, Hints, Input};
use crate::image::Digest;
use crate::image::manifest::InvalidManifest;
use crate::quote::without_error_numbers;
use crate::troubleshooting::Topic;

/// Why something couldn't be done at a registry.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// There are no certificates of CAs to check a registry's certificate with.
    #[error("no registry can be trusted")]
    Client(#[source] Box<dyn Error + Send + Sync>),
    /// The registry's certificate is not signed by anybody we trust.
    #[error("{request}: the certificate is not trusted")]
    Untrusted {
        /// The request.
        request: Box<Request>,
        /// What is wrong with the certificate.
        #[source]
        cause: Cause,
    },
    /// A request without TLS, to a host that isn't on loopback.
    #[error("{request}: `{url}` doesn't use TLS")]
    PlainHttp {
        /// The request.
        request: Box<Request>,
        /// The address that the registry redirects to, without its query.
        url: String,
        /// Its host and port.
        host: String,
    },
    /// The tag, manifest or blob isn't there.
    #[error("`{0}` does not exist")]
    Missing(String),
    /// The registry denies access.
    #[error("{request} is refused: {answered}")]
    Refused {
        /// The request.
        request: Box<Request>,
        /// The registry's answer.
        answered: Box<Answered>,
        /// The setting to change.
        hint: String,
    },
    /// Every attempt failed.
    #[error("{request} failed{}", Effort { attempts: *attempts, elapsed: *elapsed })]
    Failed {
        /// The request.
        request: Box<Request>,
        /// How often it was sent.
        attempts: u32,
        /// From the first failure to the last.
        elapsed: Duration,
        /// Why the last attempt failed.
        #[source]
        cause: Cause,
    },
    /// More bytes than we read.
    #[error("`{what}` has {size} bytes, more than the {limit} that are allowed")]
    TooLarge {
        /// A reference or a digest.
        what: String,
        /// Its bytes, at least.
        size: u64,
        /// The most bytes that are read.
        limit: u64,
    },
    /// The registry's list of tags is incomplete.
    #[error("the list of tags of `{repository}` is incomplete: {why}")]
    TagsIncomplete {
        /// The repository, with its registry.
        repository: String,
        /// What is wrong with the list.
        why: String,
    },
    /// It isn't the manifest of an image.
    #[error("`{reference}` can't be used")]
    Invalid {
        /// The reference that was asked for.
        reference: String,
        /// Why.
        #[source]
        cause: InvalidManifest,
    },
    /// A local file can't be read or written.
    #[error("`{}` can't be used", path.display())]
    Disk {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
}

impl RegistryError {
    /// Whether the registry wants a login, or denies access with the one that it got.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused { answered, .. } if matches!(answered.status, 401 | 403))
    }
}

impl Hinted for RegistryError {
    fn hints(&self) -> Hints {
        match self {
            Self::Client(_) => "install `ca-certificates`, or set `SSL_CERT_FILE` to a file of certificates".into(),
            Self::Untrusted { .. } => {
                "set `SSL_CERT_FILE` to a file with the public CAs and that of the registry".into()
            }
            Self::PlainHttp { host, .. } => {
                format!("if that is intended, add `{host}` to {}", Input("insecure-registries")).into()
            }
            Self::Missing(_) => {
                format!("check the spelling; if the image is private, check that {} may pull it", Input("credentials"))
                    .into()
            }
            Self::Refused { hint, .. } => hint.as_str().into(),
            Self::TagsIncomplete { .. } => {
                "run it again; if that doesn't help, the registry, or a proxy in front of it, has to be repaired".into()
            }
            Self::Invalid { cause, .. } => cause.hints(),
            Self::Failed { cause: Cause::Other(error), .. } => error.hints(),
            Self::Failed { request, cause, .. } => {
                let hint = cause.hint(request.host());
                match request.repository_to_make().filter(|_| matches!(cause.failure(), Failure::Connection)) {
                    Some(make) => format!("{hint}; if the repository doesn't exist, {make}").into(),
                    None => hint.into(),
                }
            }
            Self::TooLarge { .. } => "check the name: images don't have documents of this size".into(),
            Self::Disk { .. } => FREE_DISK.into(),
        }
    }
}

impl StageError for RegistryError {
    fn topic(&self) -> Topic {
        match self {
            Self::Client(_) | Self::Untrusted { .. } | Self::PlainHttp { .. } => Topic::Tls,
            Self::Missing(_) => Topic::NotFound,
            Self::Refused { .. } => Topic::Refused,
            Self::Failed { cause: Cause::Broken(error), .. } if speaks_http(error) => Topic::Tls,
            Self::Failed { cause: Cause::Broken(_) | Cause::Stalled(_) | Cause::Cut { .. }, .. } => Topic::Unreachable,
            Self::Failed { cause: Cause::Other(error), .. } => error.topic(),
            Self::Failed { cause: Cause::Answered(_) | Cause::Mismatch { .. } | Cause::Malformed(_), .. }
            | Self::TagsIncomplete { .. } => Topic::Registry,
            Self::TooLarge { .. } | Self::Invalid { .. } => Topic::Unusable,
            Self::Disk { .. } => Topic::Disk,
        }
    }

    fn fault(&self) -> Fault {
        match self {
            Self::Missing(_) | Self::Invalid { .. } | Self::TooLarge { .. } | Self::PlainHttp { .. } => Fault::Input,
            Self::Client(_)
            | Self::Untrusted { .. }
            | Self::Refused { .. }
            | Self::Failed { .. }
            | Self::TagsIncomplete { .. }
            | Self::Disk { .. } => Fault::Publication,
        }
    }
}

/// Why one attempt failed.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// The registry answered with an unexpected status.
    #[error("the registry answered {0}")]
    Answered(Box<Answered>),
    /// There was no answer, or not all of it.
    #[error("{}", reason(.0))]
    Broken(reqwest::Error),
    /// No byte was received or sent for this long.
    #[error("the connection stalled for {} s", .0.as_secs())]
    Stalled(Duration),
    /// The body ends early.
    #[error("the answer ends after {received} of {size} bytes")]
    Cut {
        /// The bytes that were received.
        received: u64,
        /// The bytes that were announced.
        size: u64,
    },
    /// The received bytes, or the digest that the registry names, don't match.
    #[error("expected `{expected}`, received `{found}`")]
    Mismatch {
        /// The digest that was asked for, or that the bytes have.
        expected: Digest,
        /// What the registry sent instead.
        found: String,
    },
    /// The answer makes no sense.
    #[error("the registry's answer can't be used: {0}")]
    Malformed(String),
    /// An error that has a variant of its own.
    #[error(transparent)]
    Other(Box<RegistryError>),
}

impl Cause {
    /// What can be done after the last attempt at `host` has failed like this.
    fn hint(&self, host: &str) -> String {
        const AGAIN: &str = "run it again: what has already been sent isn't sent again";
        match self {
            Self::Answered(answered) if answered.status == 429 => {
                format!("`{host}` limits the rate of requests; {} may raise the limit; {AGAIN}", Input("credentials"))
            }
            Self::Answered(answered) if answered.status >= 500 => {
                format!("`{host}` has problems of its own; when they are over, {AGAIN}")
            }
            Self::Answered(_) => format!("see what the documentation or the log of `{host}` says about it"),
            Self::Broken(error) if speaks_http(error) => {
                format!("`{host}` speaks plain HTTP; if that is intended, add it to {}", Input("insecure-registries"))
            }
            Self::Broken(error) if error.is_dns() => format!("is `{host}` the right host?"),
            Self::Broken(error) if error.is_connect() => {
                format!("is `{host}` the right host and port? If so, the registry is down; when it is back, {AGAIN}")
            }
            Self::Broken(_) | Self::Stalled(_) | Self::Cut { .. } => {
                format!("look at the network between this machine and `{host}`, then {AGAIN}")
            }
            Self::Mismatch { .. } => {
                format!("`{host}`, or a proxy in front of it, changes what it is given, and has to be repaired")
            }
            Self::Malformed(_) => {
                format!("is `{host}` a registry? If so, it, or a proxy in front of it, has to be repaired")
            }
            Self::Other(error) => error.hints().iter().collect::<Vec<_>>().join("; "),
        }
    }

    /// The same failure, in the terms of the table of retries.
    pub(super) fn failure(&self) -> Failure<'_> {
        match self {
            Self::Answered(answered) => Failure::Answered {
                status: Some(answered.status),
                code: answered.code.as_deref(),
                message: &answered.message,
                asks_to_wait: answered.retry_after.is_some(),
            },
            Self::Broken(error) if is_untrusted(error) => Failure::Settled,
            // Usually the host is misspelt; an outage of DNS is rarer.
            Self::Broken(error) if error.is_dns() || speaks_http(error) => Failure::UnknownHost,
            Self::Broken(_) | Self::Stalled(_) | Self::Cut { .. } => Failure::Connection,
            Self::Mismatch { .. } => Failure::Mismatch,
            Self::Malformed(_) => Failure::Malformed,
            Self::Other(error) if matches!(**error, RegistryError::TagsIncomplete { .. }) => Failure::Malformed,
            Self::Other(_) => Failure::Settled,
        }
    }
}

/// Whether the server's certificate wasn't accepted.
fn is_untrusted(error: &reqwest::Error) -> bool {
    causes(error).any(|cause| matches!(cause.downcast_ref(), Some(rustls::Error::InvalidCertificate(_))))
}

/// Whether the server has answered a request for TLS with something else, which is usually plain HTTP.
fn speaks_http(error: &reqwest::Error) -> bool {
    causes(error).any(|cause| matches!(cause.downcast_ref(), Some(rustls::Error::InvalidMessage(_))))
}

/// Why a connection failed, in one sentence. Only the innermost errors tell: the outer ones say that something failed.
fn reason(error: &reqwest::Error) -> String {
    if speaks_http(error) {
        return "the answer isn't TLS".to_owned();
    }
    let text = causes(error).last().map_or_else(|| error.to_string(), ToString::to_string);
    let text = without_error_numbers(&text);
    if error.is_dns() { format!("the host isn't known ({text})") } else { text }
}

/// The causes of `error`, the innermost last.
fn causes(error: &reqwest::Error) -> impl Iterator<Item = &(dyn Error + 'static)> {
    std::iter::successors(error.source(), |cause| {
        // `io::Error::source` skips the error that it wraps.
        match cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
            Some(inner) => Some(inner as &(dyn Error + 'static)),
            None => (*cause).source(),
        }
    })
}

/// A request, as errors name it: without its query, which may contain a signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The repository, with its registry.
    pub repository: String,
    /// The HTTP method: `GET`.
    pub method: String,
    /// The path, prefixed with the host if that isn't the registry's.
    pub path: String,
}

impl Request {
    /// The host that was asked, with its port.
    fn host(&self) -> &str {
        let at_home = self.path.starts_with('/');
        let name = if at_home { &self.repository } else { &self.path };
        name.split('/').next().unwrap_or_default()
    }

    /// What to do if the request begins an upload to a repository that doesn't exist, at a registry that may then close
    /// the connection without an answer.
    fn repository_to_make(&self) -> Option<String> {
        let (registry, repository) = self.repository.split_once('/').filter(|_| self.method == "POST")?;
        Applicant { registry, repository, has_credentials: true, pushes: true }.repository_to_make_at_ecr()
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: `{} {}`", self.repository, self.method, self.path)
    }
}

/// A response with an unexpected status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// The status.
    pub status: u16,
    /// The registry's own code for the error: `DENIED`.
    pub code: Option<String>,
    /// The registry's message, on one line of bounded length. It may be empty.
    pub message: String,
    /// The wait that the registry asks for.
    pub retry_after: Option<Duration>,
}

impl fmt::Display for Answered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.status)?;
        if let Some(code) = &self.code {
            write!(f, " {code}")?;
        }
        if !self.message.is_empty() {
            write!(f, " ({})", self.message)?;
        }
        if let Some(wait) = self.retry_after {
            write!(f, " and asks to wait {} s", wait.as_secs())?;
        }
        Ok(())
    }
}

/// ` after 7 attempts in 300 s`, if there was more than one attempt.
struct Effort {
    attempts: u32,
    elapsed: Duration,
}

impl fmt::Display for Effort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.attempts < 2 {
            return Ok(());
        }
        write!(f, " after {} attempts in {} s", self.attempts, self.elapsed.as_secs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_connection_names_the_repository_to_create_where_that_may_be_the_cause() {
        let hints = |repository: &str, method: &str| {
            let request = Request { repository: repository.into(), method: method.into(), path: "/v2/x".into() };
            let cause = Cause::Cut { received: 0, size: 1 };
            let error = RegistryError::Failed { request: request.into(), attempts: 7, elapsed: Duration::ZERO, cause };
            error.hints().iter().collect::<String>()
        };
        let ecr = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/acme/tool";
        assert!(hints(ecr, "POST").contains("`aws ecr create-repository --repository-name acme/tool`"));
        for (repository, method) in [(ecr, "GET"), ("ghcr.io/acme/tool", "POST")] {
            assert!(!hints(repository, method).contains("create"), "{}", hints(repository, method));
        }
    }
}
