//! Blobs on disk, on their way from one registry to others.
//!
//! A copy between registries goes through a file. So an interrupted download resumes where it stopped, nothing is sent
//! on before its digest has been checked, and a blob is read once for everybody who waits for it.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, Weak};

use reqwest::Method;
use reqwest::header::RANGE;
use sha2::{Digest as _, Sha256};
use tempfile::TempPath;
use tokio::fs::File;
use tokio::io::{AsyncSeekExt as _, AsyncWriteExt as _};

use super::answer::Answer;
use super::auth::Access;
use super::call::Call;
use super::error::{Cause, RegistryError};
use super::trouble::Trouble;
use super::{Registries, lock};
use crate::image::unpack::compression;
use crate::image::{Descriptor, Digest, Repository};

/// How many bytes count as progress.
const PROGRESS: u64 = 1024 * 1024;
/// How many bytes may be buffered in memory for the disk.
const BUFFER: usize = 256 * 1024;

/// A blob in a file, with its digest and size checked. The file is deleted when the last of these values is dropped.
#[derive(Debug)]
pub struct SpooledBlob {
    path: TempPath,
}

impl SpooledBlob {
    /// The file with the blob.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// The blobs that are being downloaded or are on disk.
#[derive(Default)]
pub(super) struct Spools(Mutex<HashMap<Digest, Arc<tokio::sync::Mutex<Weak<SpooledBlob>>>>>);

impl Registries {
    /// Downloads a blob into a file in the folder `dir`.
    ///
    /// # Errors
    /// The blob doesn't exist, the disk is full, or the registry fails.
    pub async fn spool_blob(
        &self,
        from: &Repository,
        blob: &Descriptor,
        dir: &Path,
    ) -> Result<SpooledBlob, RegistryError> {
        let mut spooling = Spooling::start(dir, blob).await?;
        let mut retry = self.retry();
        let mut had = 0;
        loop {
            let Err(trouble) = self.spool_once(from, blob, &mut spooling).await else {
                return Ok(SpooledBlob { path: spooling.path });
            };
            if trouble.status() == Some(404) {
                return Err(RegistryError::Missing(from.pinned(blob.digest.clone()).to_string()));
            }
            if spooling.written >= had + PROGRESS {
                retry.progressed();
            }
            had = had.max(spooling.written);
            retry.pause(trouble).await?;
        }
    }

    /// The same in the folder of [`Options`](super::Options). As long as the file exists, all who ask for the blob
    /// share it.
    pub(super) async fn shared_spool(
        &self,
        from: &Repository,
        blob: &Descriptor,
    ) -> Result<Arc<SpooledBlob>, RegistryError> {
        let slot = Arc::clone(lock(&self.0.spools.0).entry(blob.digest.clone()).or_default());
        let mut slot = slot.lock().await;
        if let Some(spooled) = slot.upgrade() {
            return Ok(spooled);
        }
        let spooled = Arc::new(self.spool_blob(from, blob, &self.0.options.spool).await?);
        *slot = Arc::downgrade(&spooled);
        Ok(spooled)
    }

    /// The diff ID of a layer, from its bytes; or why they can't be unpacked.
    ///
    /// # Errors
    /// The errors of [`Self::spool_blob`].
    pub async fn diff_id(&self, from: &Repository, layer: &Descriptor) -> Result<io::Result<Digest>, RegistryError> {
        let spooled = self.shared_spool(from, layer).await?;
        let unpack = move || {
            let file = io::BufReader::with_capacity(BUFFER, std::fs::File::open(spooled.path())?);
            let mut hash = Sha256::new();
            io::copy(&mut compression::open(file)?, &mut hash)?;
            Ok(Digest::from_hash(hash))
        };
        Ok(tokio::task::spawn_blocking(unpack).await.map_err(io::Error::other).flatten())
    }

    async fn spool_once(&self, from: &Repository, blob: &Descriptor, spooling: &mut Spooling) -> Result<(), Trouble> {
        let mut call = Call::new(from, Access::Pull, Method::GET, format!("blobs/{}", blob.digest), &[200, 206]);
        if spooling.written > 0 {
            call = call.header(RANGE, format!("bytes={}-", spooling.written));
        }
        let mut answer = match self.send(&call).await {
            Ok(answer) => answer,
            Err(trouble) => {
                // The range doesn't exist, so our bytes aren't the beginning of the blob.
                if trouble.status() == Some(416) {
                    spooling.restart().await.map_err(|error| Trouble::other(trouble.request.clone(), error))?;
                }
                return Err(trouble);
            }
        };
        let last = |answer: &Answer, error| Trouble::other(answer.request.clone(), error);
        if !continues(&answer, spooling.written) {
            spooling.restart().await.map_err(|error| last(&answer, error))?;
            if answer.status() == 206 {
                let cause = Cause::Malformed("it is another range than the one asked for".to_owned());
                return Err(answer.trouble(cause));
            }
        }
        while spooling.written < blob.size
            && let Some(bytes) = answer.chunk().await?
        {
            if spooling.written + bytes.len() as u64 > blob.size {
                spooling.restart().await.map_err(|error| last(&answer, error))?;
                let cause = Cause::Malformed(format!("it has more than {} bytes", blob.size));
                return Err(answer.trouble(cause));
            }
            spooling.write(&bytes).await.map_err(|error| last(&answer, error))?;
        }
        if spooling.written < blob.size {
            return Err(answer.trouble(Cause::Cut { received: spooling.written, size: blob.size }));
        }
        let found = spooling.finish().await.map_err(|error| last(&answer, error))?;
        if found != blob.digest {
            spooling.restart().await.map_err(|error| last(&answer, error))?;
            let cause = Cause::Mismatch { expected: blob.digest.clone(), found: found.to_string() };
            return Err(answer.trouble(cause));
        }
        Ok(())
    }
}

/// Whether the response's body begins at byte `at` of the blob.
fn continues(answer: &Answer, at: u64) -> bool {
    match answer.status() {
        206 => answer.header("content-range").and_then(first_byte) == Some(at),
        _ => at == 0,
    }
}

/// The first position in `bytes 100-199/200`.
fn first_byte(content_range: &str) -> Option<u64> {
    content_range.trim().strip_prefix("bytes")?.trim_start().split_once('-')?.0.parse().ok()
}

/// A blob that is being written to disk.
struct Spooling {
    path: TempPath,
    file: File,
    written: u64,
    hash: Sha256,
}

impl Spooling {
    async fn start(dir: &Path, blob: &Descriptor) -> Result<Self, RegistryError> {
        let disk = |cause| RegistryError::Disk { path: dir.to_owned(), cause };
        tokio::fs::create_dir_all(dir).await.map_err(disk)?;
        // A part of the digest, to recognise the file by.
        let prefix = format!("{}-", &blob.digest.hex()[..12]);
        let file = tempfile::Builder::new().prefix(&prefix).suffix(".blob").tempfile_in(dir).map_err(disk)?;
        let (file, path) = file.into_parts();
        let mut file = File::from_std(file);
        file.set_max_buf_size(BUFFER);
        Ok(Self { path, file, written: 0, hash: Sha256::new() })
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), RegistryError> {
        self.file.write_all(bytes).await.map_err(|cause| self.disk(cause))?;
        self.hash.update(bytes);
        self.written += bytes.len() as u64;
        Ok(())
    }

    async fn restart(&mut self) -> Result<(), RegistryError> {
        self.hash = Sha256::new();
        self.written = 0;
        let rewound = match self.file.set_len(0).await {
            Ok(()) => self.file.rewind().await,
            Err(error) => Err(error),
        };
        rewound.map(drop).map_err(|cause| self.disk(cause))
    }

    async fn finish(&mut self) -> Result<Digest, RegistryError> {
        self.file.flush().await.map_err(|cause| self.disk(cause))?;
        Ok(Digest::from_hash(self.hash.clone()))
    }

    fn disk(&self, cause: std::io::Error) -> RegistryError {
        RegistryError::Disk { path: self.path.to_path_buf(), cause }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_byte_of_a_range_is_parsed() {
        for (header, at) in [
            ("bytes 100-199/200", Some(100)),
            ("bytes 0-0/*", Some(0)),
            ("bytes */200", None),
            ("items 1-2/3", None),
            ("", None),
        ] {
            assert_eq!(first_byte(header), at, "{header:?}");
        }
    }
}
