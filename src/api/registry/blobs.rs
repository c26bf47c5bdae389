//! Blobs: configs and layers. [Pushing](https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#pushing-blobs)
//! looks first, then [mounts](https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#mounting-a-blob-from-another-repository),
//! then sends.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use reqwest::Method;
use reqwest::header::RANGE;
use tokio::sync::OnceCell;
use url::Url;

use super::auth::Access;
use super::call::{Call, Payload};
use super::error::{Cause, RegistryError};
use super::spool::SpooledBlob;
use super::trouble::Trouble;
use super::{Registries, lock};
use crate::api::retry::Class;
use crate::image::{Descriptor, Digest, Repository};

/// Attempts at a mount before the blob is sent.
const MOUNTS: u32 = 3;
/// The most that is taken into memory at once.
const SMALL: u64 = 8 * 1024 * 1024;

/// Where a blob comes from.
#[derive(Clone, Copy, Debug)]
pub enum BlobOrigin<'a> {
    /// A repository, of the same registry or of another.
    Repository(&'a Repository),
    /// A file that is the blob.
    File(&'a Path),
    /// The part of a file that begins there and is as long as the blob.
    Section(&'a Path, u64),
    /// The blob itself, if it is small.
    Bytes(&'a Bytes),
}

/// How a blob or manifest got to its destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ensured {
    /// Nothing.
    AlreadyThere,
    /// It was mounted from another repository of the registry; no byte was sent.
    Mounted,
    /// It was sent from another registry.
    Copied,
    /// It was uploaded from this machine.
    Pushed,
}

/// What is known about blobs at destinations.
#[derive(Default)]
pub(super) struct Known {
    slots: Mutex<HashMap<(Repository, Digest), Slot>>,
    /// Sources and destinations between which we may not mount.
    unmountable: Mutex<HashSet<(Repository, Repository)>>,
    /// A repository that has a blob, by registry.
    homes: Mutex<HashMap<(String, Digest), Repository>>,
}

/// Whether a repository has a blob. Whoever sees to it keeps it locked.
type Slot = Arc<tokio::sync::Mutex<bool>>;

/// A blob's bytes, fetched at most once, and only if they are needed.
struct Content<'a> {
    origin: BlobOrigin<'a>,
    spooled: OnceCell<Arc<SpooledBlob>>,
}

impl Registries {
    /// Reads a blob of at most 8 MiB, such as a config.
    ///
    /// # Errors
    /// It doesn't exist, is too large, or the registry fails us.
    pub async fn small_blob(&self, from: &Repository, blob: &Descriptor) -> Result<Bytes, RegistryError> {
        if blob.size > SMALL {
            let what = from.pinned(blob.digest.clone()).to_string();
            return Err(RegistryError::TooLarge { what, size: blob.size, limit: SMALL });
        }
        let mut retry = self.retry();
        loop {
            match self.small_blob_once(from, blob).await {
                Ok(Some(bytes)) => return Ok(bytes),
                Ok(None) => return Err(RegistryError::Missing(from.pinned(blob.digest.clone()).to_string())),
                Err(trouble) => retry.pause(trouble).await?,
            }
        }
    }

    /// Sees to it that a repository has a blob. Several callers with the same blob and repository wait for one upload.
    ///
    /// # Errors
    /// A registry or the disk fails us.
    pub async fn ensure_blob(
        &self,
        to: &Repository,
        blob: &Descriptor,
        from: BlobOrigin<'_>,
    ) -> Result<Ensured, RegistryError> {
        self.ensure(to, blob, &Content::new(from)).await
    }

    /// Sees to it that several repositories have a blob, all at once, and reads it once at most. The answers are in the order of `to`.
    ///
    /// # Errors
    /// A registry or the disk fails us; then the others are given up, too.
    pub async fn ensure_blob_everywhere(
        &self,
        to: &[Repository],
        blob: &Descriptor,
        from: BlobOrigin<'_>,
    ) -> Result<Vec<Ensured>, RegistryError> {
        let content = Content::new(from);
        futures_util::future::try_join_all(to.iter().map(|to| self.ensure(to, blob, &content))).await
    }

    /// Asks whether we may push, by opening an upload and cancelling it.
    ///
    /// # Errors
    /// We may not, or the registry fails us.
    pub async fn check_push(&self, to: &Repository) -> Result<(), RegistryError> {
        let mut retry = self.retry();
        let session = loop {
            match self.open_upload(to).await {
                Ok(session) => break session,
                Err(trouble) => retry.pause(trouble).await?,
            }
        };
        // Another host that the session is at gets what belongs to an upload, and no more.
        if session.origin() != self.url(to, "").origin() {
            return Ok(());
        }
        // One attempt: some registries don't allow it, and all of them clean up by themselves in the end.
        let cancel = Call::new(to, Access::Cancel, Method::DELETE, "", &[200, 202, 204]).to(session);
        let _ = tokio::time::timeout(self.0.options.idle, self.send(&cancel)).await;
        Ok(())
    }

    async fn ensure(
        &self,
        to: &Repository,
        blob: &Descriptor,
        content: &Content<'_>,
    ) -> Result<Ensured, RegistryError> {
        let slot = Arc::clone(lock(&self.0.blobs.slots).entry((to.clone(), blob.digest.clone())).or_default());
        let mut there = slot.lock().await;
        if *there {
            return Ok(Ensured::AlreadyThere);
        }
        let ensured = self.place(to, blob, content).await?;
        *there = true;
        lock(&self.0.blobs.homes).insert((to.registry().to_owned(), blob.digest.clone()), to.clone());
        Ok(ensured)
    }

    async fn place(&self, to: &Repository, blob: &Descriptor, content: &Content<'_>) -> Result<Ensured, RegistryError> {
        if self.has_blob(to, blob).await? {
            return Ok(Ensured::AlreadyThere);
        }
        let mut session = None;
        if let Some(source) = self.mount_source(to, blob, content.origin) {
            match self.mount(to, blob, &source).await? {
                Mount::Done => return Ok(Ensured::Mounted),
                Mount::Upload(opened) => session = Some(opened),
                Mount::Refused => {}
            }
        }
        match content.origin {
            BlobOrigin::Bytes(bytes) => {
                self.upload(to, blob, &Payload::Bytes(bytes.clone()), session).await?;
            }
            BlobOrigin::File(path) => {
                self.upload(to, blob, &Payload::File { path, start: 0, length: blob.size }, session).await?;
            }
            BlobOrigin::Section(path, start) => {
                self.upload(to, blob, &Payload::File { path, start, length: blob.size }, session).await?;
            }
            BlobOrigin::Repository(source) => {
                let spooled = content.spooled.get_or_try_init(|| self.shared_spool(source, blob)).await?;
                let payload = Payload::File { path: spooled.path(), start: 0, length: blob.size };
                self.upload(to, blob, &payload, session).await?;
                return Ok(Ensured::Copied);
            }
        }
        Ok(Ensured::Pushed)
    }

    /// Another repository of the same registry that has the blob.
    fn mount_source(&self, to: &Repository, blob: &Descriptor, origin: BlobOrigin<'_>) -> Option<Repository> {
        let origin = match origin {
            BlobOrigin::Repository(source) if source.registry() == to.registry() => Some(source.clone()),
            _ => lock(&self.0.blobs.homes).get(&(to.registry().to_owned(), blob.digest.clone())).cloned(),
        };
        origin.filter(|source| source != to)
    }

    async fn mount(&self, to: &Repository, blob: &Descriptor, source: &Repository) -> Result<Mount, RegistryError> {
        let pair = (source.clone(), to.clone());
        if lock(&self.0.blobs.unmountable).contains(&pair) {
            return Ok(Mount::Refused);
        }
        let rest = format!("blobs/uploads/?mount={}&from={}", blob.digest, source.path());
        let call = Call::new(to, Access::Mount(source), Method::POST, rest, &[201, 202]);
        let mut retry = self.retry();
        loop {
            let attempt = match self.send(&call).await {
                Ok(answer) if answer.status() == 201 => Ok(Mount::Done),
                Ok(answer) => answer.location().map(Mount::Upload),
                Err(trouble) => Err(trouble),
            };
            match attempt {
                Ok(mount) => return Ok(mount),
                // The registry doesn't mount, or not for us: whatever it says, an upload may still be fine.
                Err(trouble) => {
                    let is_denial = trouble.is_denial();
                    let is_last = retry.attempts() + 1 >= MOUNTS && trouble.class() != Class::Throttled;
                    if is_last || retry.pause(trouble).await.is_err() {
                        if is_denial {
                            lock(&self.0.blobs.unmountable).insert(pair);
                        }
                        return Ok(Mount::Refused);
                    }
                }
            }
        }
    }

    pub(super) async fn has_blob(&self, repository: &Repository, blob: &Descriptor) -> Result<bool, RegistryError> {
        let rest = format!("blobs/{}", blob.digest);
        let head = Call::new(repository, Access::Push, Method::HEAD, rest.clone(), &[200, 404]);
        let mut get = Call::new(repository, Access::Push, Method::GET, rest, &[200, 206, 404]);
        if blob.size > 0 {
            // Its body isn't read.
            get = get.header(RANGE, "bytes=0-0");
        }
        let mut retry = self.retry();
        loop {
            let answer = match self.send(&head).await {
                Err(trouble) if trouble.concerns_method() => self.send(&get).await,
                answer => answer,
            };
            match answer {
                Ok(answer) => return Ok(answer.status() != 404),
                Err(trouble) => retry.pause(trouble).await?,
            }
        }
    }

    async fn small_blob_once(&self, from: &Repository, blob: &Descriptor) -> Result<Option<Bytes>, Trouble> {
        let call = Call::new(from, Access::Pull, Method::GET, format!("blobs/{}", blob.digest), &[200, 404]);
        let answer = self.send(&call).await?;
        if answer.status() == 404 {
            return Ok(None);
        }
        let request = answer.request.clone();
        let bytes = answer.bytes(blob.digest.as_str(), SMALL).await?;
        let found = Digest::of(&bytes);
        if found != blob.digest {
            let cause = Cause::Mismatch { expected: blob.digest.clone(), found: found.to_string() };
            return Err(Trouble::new(request, cause));
        }
        if bytes.len() as u64 != blob.size {
            let cause = Cause::Malformed(format!("it has {} bytes instead of {}", bytes.len(), blob.size));
            return Err(Trouble::new(request, cause));
        }
        Ok(Some(bytes))
    }
}

/// What became of a mount.
enum Mount {
    Done,
    /// The registry prefers an upload, and has opened one.
    Upload(Url),
    Refused,
}

impl<'a> Content<'a> {
    fn new(origin: BlobOrigin<'a>) -> Self {
        Self { origin, spooled: OnceCell::new() }
    }
}
