//! Blobs: configs and layers.
//! [Pushing](https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#pushing-blobs) first looks whether
//! the blob is there, then tries to
//! [mount](https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#mounting-a-blob-from-another-repository)
//! it, then sends it.

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

/// How often a mount is tried before the blob is sent.
const MOUNTS: u32 = 3;
/// The largest blob that is read into memory, in bytes.
const SMALL: u64 = 8 * 1024 * 1024;

/// Where a blob comes from.
#[derive(Clone, Copy, Debug)]
pub enum BlobOrigin<'a> {
    /// A repository in the same or in another registry.
    Repository(&'a Repository),
    /// A file with exactly the bytes of the blob.
    File(&'a Path),
    /// The part of a file that begins at this offset and is as long as the blob.
    Section(&'a Path, u64),
    /// The bytes of a small blob.
    Bytes(&'a Bytes),
}

/// How a blob or a manifest got to its destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ensured {
    /// It was already there.
    AlreadyThere,
    /// It was mounted from another repository of the registry, without sending a byte.
    Mounted,
    /// It was copied from another registry.
    Copied,
    /// It was uploaded from this machine.
    Pushed,
}

/// What is known about blobs in repositories.
#[derive(Default)]
pub(super) struct Known {
    slots: Mutex<HashMap<(Repository, Digest), Slot>>,
    /// Sources and destinations between which we aren't allowed to mount.
    unmountable: Mutex<HashSet<(Repository, Repository)>>,
    /// A repository that has the blob, by registry.
    homes: Mutex<HashMap<(String, Digest), Repository>>,
}

/// Whether a repository has a blob. It stays locked while that is being ensured.
type Slot = Arc<tokio::sync::Mutex<bool>>;

/// The bytes of a blob, which are read at most once, and only if they are needed.
struct Content<'a> {
    origin: BlobOrigin<'a>,
    spooled: OnceCell<Arc<SpooledBlob>>,
}

impl Registries {
    /// Reads a blob of at most 8 MiB, such as a config.
    ///
    /// # Errors
    /// The blob doesn't exist or is too large, or the registry fails.
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

    /// Ensures that a repository has a blob. Concurrent calls with the same blob and repository wait for one upload.
    ///
    /// # Errors
    /// A registry or the disk fails.
    pub async fn ensure_blob(
        &self,
        to: &Repository,
        blob: &Descriptor,
        from: BlobOrigin<'_>,
    ) -> Result<Ensured, RegistryError> {
        self.ensure(to, blob, &Content::new(from)).await
    }

    /// Ensures in parallel that several repositories have a blob, and reads it at most once. The results are in the
    /// order of `to`.
    ///
    /// # Errors
    /// A registry or the disk fails; then the remaining uploads are dropped.
    pub async fn ensure_blob_everywhere(
        &self,
        to: &[Repository],
        blob: &Descriptor,
        from: BlobOrigin<'_>,
    ) -> Result<Vec<Ensured>, RegistryError> {
        let content = Content::new(from);
        futures_util::future::try_join_all(to.iter().map(|to| self.ensure(to, blob, &content))).await
    }

    /// Checks whether we may push, by opening an upload and cancelling it.
    ///
    /// # Errors
    /// We may not, or the registry fails.
    pub async fn check_push(&self, to: &Repository) -> Result<(), RegistryError> {
        let mut retry = self.retry();
        let session = loop {
            match self.open_upload(to).await {
                Ok(session) => break session,
                Err(trouble) => retry.pause(trouble).await?,
            }
        };
        // If the upload's session is on another host, that host gets nothing but uploads.
        if session.origin() != self.url(to, "").origin() {
            return Ok(());
        }
        // Without retries: some registries don't allow cancelling, and all of them clean up by themselves in the end.
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
                // The registry doesn't mount, or doesn't allow it to us. Whatever its answer is, an upload may still
                // succeed.
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
            // The body isn't read, so one byte is enough.
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

enum Mount {
    Done,
    /// The registry wants an upload instead, and has opened this one.
    Upload(Url),
    Refused,
}

impl<'a> Content<'a> {
    fn new(origin: BlobOrigin<'a>) -> Self {
        Self { origin, spooled: OnceCell::new() }
    }
}
