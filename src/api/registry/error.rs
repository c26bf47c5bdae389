//! How a registry fails us.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::api::retry::Failure;
use crate::error::{Fault, StageError};
use crate::hint::{Hinted, Hints, Input};
use crate::image::Digest;
use crate::image::manifest::InvalidManifest;

/// Why something couldn't be done at a registry.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// There is nothing to check a registry's certificate with.
    #[error("no registry can be trusted")]
    Client(#[source] reqwest::Error),
    /// The registry's certificate is not signed by anybody we trust.
    #[error("{request}: the certificate is not trusted")]
    Untrusted {
        /// What was asked.
        request: Box<Request>,
        /// What is wrong with the certificate.
        #[source]
        cause: Cause,
    },
    /// Without TLS, to a host that isn't this machine.
    #[error("{request}: `{url}` is without TLS")]
    PlainHttp {
        /// What was asked.
        request: Box<Request>,
        /// Where the registry wants us to go, without its query.
        url: String,
        /// Its host and port.
        host: String,
    },
    /// The tag, manifest or blob isn't there.
    #[error("`{0}` does not exist")]
    Missing(String),
    /// We aren't allowed to.
    #[error("{request} is refused: {answered}")]
    Refused {
        /// What was asked.
        request: Box<Request>,
        /// What the registry said.
        answered: Box<Answered>,
        /// The setting to change.
        hint: String,
    },
    /// It failed, in the end.
    #[error("{request} failed{}", Effort { attempts: *attempts, elapsed: *elapsed })]
    Failed {
        /// What was asked.
        request: Box<Request>,
        /// How often.
        attempts: u32,
        /// From the first failure to the last.
        elapsed: Duration,
        /// What happened the last time.
        #[source]
        cause: Cause,
    },
    /// More bytes than we are ready to take.
    #[error("`{what}` has {size} bytes, more than the {limit} that are allowed")]
    TooLarge {
        /// A reference or a digest.
        what: String,
        /// How many bytes it has, at least.
        size: u64,
        /// How many are allowed.
        limit: u64,
    },
    /// A part of the tags is missing from the list that a registry gives.
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
        /// What was asked for.
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
    /// Whether the registry wants to know who is asking, or doesn't give it to them.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused { answered, .. } if matches!(answered.status, 401 | 403))
    }
}

impl Hinted for RegistryError {
    fn hints(&self) -> Hints {
        match self {
            Self::Client(_) => "install `ca-certificates`, or set `SSL_CERT_FILE` to a file of certificates".into(),
            Self::Untrusted { .. } => "set `SSL_CERT_FILE` to a file that has the certificate of its CA".into(),
            Self::PlainHttp { host, .. } => {
                format!("if that is meant to be, add `{host}` to {}", Input("insecure-registries")).into()
            }
            Self::Missing(_) => {
                format!("look for a typing error; if it is private, check that {} may pull it", Input("credentials"))
                    .into()
            }
            Self::Refused { hint, .. } => hint.as_str().into(),
            Self::TagsIncomplete { .. } => {
                "run it again; if that doesn't help, the registry, or a proxy before it, has to be repaired".into()
            }
            Self::Invalid { cause, .. } => cause.hints(),
            Self::Failed { cause: Cause::Other(error), .. } => error.hints(),
            Self::Failed { .. } | Self::TooLarge { .. } | Self::Disk { .. } => Hints::none(),
        }
    }
}

impl StageError for RegistryError {
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
    #[error("the connection failed")]
    Broken(#[source] reqwest::Error),
    /// Nothing came, or went, for so long.
    #[error("the connection stalled for {} s", .0.as_secs())]
    Stalled(Duration),
    /// The body ends early.
    #[error("it ends after {received} of {size} bytes")]
    Cut {
        /// What came.
        received: u64,
        /// What should have come.
        size: u64,
    },
    /// The bytes, or the digest that the registry names, are others.
    #[error("`{expected}` was expected and `{found}` came")]
    Mismatch {
        /// The digest that was asked for, or that the bytes have.
        expected: Digest,
        /// What came instead.
        found: String,
    },
    /// The answer makes no sense.
    #[error("the registry's answer can't be used: {0}")]
    Malformed(String),
    /// Something that has a name of its own.
    #[error(transparent)]
    Other(Box<RegistryError>),
}

impl Cause {
    /// The same in the terms of the table of retries.
    pub(super) fn failure(&self) -> Failure<'_> {
        match self {
            Self::Answered(answered) => Failure::Answered {
                status: Some(answered.status),
                code: answered.code.as_deref(),
                message: &answered.message,
                asks_to_wait: answered.retry_after.is_some(),
            },
            Self::Broken(error) if is_untrusted(error) => Failure::Settled,
            // More often a typing error than an outage.
            Self::Broken(error) if error.is_dns() => Failure::UnknownHost,
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
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        // The `source()` of an `io::Error` isn't the error that it wraps.
        let inner = cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        let tls = inner.and_then(|inner| inner.downcast_ref()).or_else(|| cause.downcast_ref());
        if matches!(tls, Some(rustls::Error::InvalidCertificate(_))) {
            return true;
        }
        source = match inner {
            Some(inner) => Some(inner),
            None => cause.source(),
        };
    }
    false
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
