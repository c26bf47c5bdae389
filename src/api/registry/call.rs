//! A request to a registry, and its body.

use std::path::Path;

use bytes::Bytes;
use futures_util::StreamExt as _;
use reqwest::header::HeaderName;
use reqwest::{Body, Method};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tokio_util::io::ReaderStream;
use url::Url;

use super::auth::Access;
use super::error::RegistryError;
use super::progress::Progress;
use super::refusal::Applicant;
use crate::image::Repository;

/// The chunk size for sending a file, in bytes; each upload has a few chunks in memory.
const PIECE: usize = 256 * 1024;

/// A request to a registry.
pub(super) struct Call<'a> {
    pub(super) repository: &'a Repository,
    pub(super) access: Access<'a>,
    pub(super) method: Method,
    pub(super) target: Target,
    pub(super) headers: Vec<(HeaderName, String)>,
    pub(super) payload: Payload<'a>,
    /// The expected statuses; all others are errors.
    pub(super) expects: &'static [u16],
}

/// The target of a request.
pub(super) enum Target {
    /// A path in the repository: `manifests/latest`.
    Api(String),
    /// A URL from the registry.
    Url(Url),
}

/// The body of a request, which can be sent several times.
#[derive(Clone)]
pub(super) enum Payload<'a> {
    Empty,
    /// Nothing, because so many bytes were sent by earlier requests.
    Sent(u64),
    Bytes(Bytes),
    File {
        path: &'a Path,
        start: u64,
        length: u64,
    },
}

impl<'a> Call<'a> {
    pub(super) fn new(
        repository: &'a Repository,
        access: Access<'a>,
        method: Method,
        rest: impl Into<String>,
        expects: &'static [u16],
    ) -> Self {
        let target = Target::Api(rest.into());
        Self { repository, access, method, target, headers: Vec::new(), payload: Payload::Empty, expects }
    }

    pub(super) fn to(mut self, url: Url) -> Self {
        self.target = Target::Url(url);
        self
    }

    pub(super) fn header(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(super) fn payload(mut self, payload: Payload<'a>) -> Self {
        self.payload = payload;
        self
    }

    /// The kind by which [`Registries::requests`](super::Registries::requests) counts it.
    pub(super) fn kind(&self) -> &'static str {
        let rest = match &self.target {
            Target::Api(rest) => rest.as_str(),
            // Only uploads continue at a URL from the registry.
            Target::Url(_) => "blobs/uploads/",
        };
        let (noun, below) = rest.split_once('/').unwrap_or((rest, ""));
        match (noun, self.method.as_str()) {
            ("manifests", "GET") => "GET manifest",
            ("manifests", "HEAD") => "HEAD manifest",
            ("manifests", "PUT") => "PUT manifest",
            ("blobs", _) if below.starts_with("uploads/") => "upload",
            ("blobs", "GET") => "GET blob",
            ("blobs", "HEAD") => "HEAD blob",
            ("tags", _) => "tags",
            _ => "other",
        }
    }

    pub(super) fn applicant(&self, has_credentials: bool) -> Applicant<'a> {
        let (registry, repository) = (self.repository.registry(), self.repository.path());
        Applicant { registry, repository, has_credentials, pushes: self.access.pushes() }
    }
}

impl Payload<'_> {
    pub(super) fn length(&self) -> u64 {
        match self {
            Self::Empty | Self::Sent(_) => 0,
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File { length, .. } => *length,
        }
    }

    /// How many bytes the registry may read again before it answers.
    pub(super) fn digested(&self) -> u64 {
        if let Self::Sent(length) = self { *length } else { self.length() }
    }

    /// `count` bytes, beginning at `from`.
    pub(super) fn part(&self, from: u64, count: u64) -> Self {
        match self {
            Self::Empty | Self::Sent(_) => self.clone(),
            Self::Bytes(bytes) => {
                let index = |at: u64| usize::try_from(at).expect("what is in memory has an index");
                Self::Bytes(bytes.slice(index(from)..index(from + count)))
            }
            Self::File { path, start, .. } => Self::File { path, start: start + from, length: count },
        }
    }

    pub(super) async fn body(&self, progress: &Progress) -> Result<Option<Body>, RegistryError> {
        match self {
            Self::Empty | Self::Sent(_) => Ok(None),
            Self::Bytes(bytes) => Ok(Some(bytes.clone().into())),
            Self::File { path, start, length } => {
                let disk = |cause| RegistryError::Disk { path: path.to_path_buf(), cause };
                let mut file = tokio::fs::File::open(path).await.map_err(disk)?;
                file.set_max_buf_size(PIECE);
                let size = file.metadata().await.map_err(disk)?.len();
                if size < start + length {
                    return Err(disk(std::io::Error::other(format!(
                        "it has {size} bytes instead of {}",
                        start + length
                    ))));
                }
                file.seek(std::io::SeekFrom::Start(*start)).await.map_err(disk)?;
                let progress = progress.clone();
                let pieces = ReaderStream::with_capacity(file.take(*length), PIECE);
                Ok(Some(Body::wrap_stream(pieces.inspect(move |piece| {
                    if let Ok(piece) = piece {
                        progress.sent(piece.len() as u64);
                    }
                }))))
            }
        }
    }
}
