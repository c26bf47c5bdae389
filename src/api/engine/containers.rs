//! Containers that are made and never started, to look at the files of an image.

use serde_json::{Value, json};

use super::error::Cause;
use super::http::Body;
use super::janitor::{Chore, Making};
use super::spool::{copy, read_archive};
use super::{Engine, EngineError, LABEL, LocalImage};
use crate::image::Digest;

/// A regular file in an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileInImage {
    /// The path that was asked for.
    pub path: String,
    /// The length in bytes.
    pub size: u64,
    /// The permission bits, `0o755`.
    pub mode: u32,
    /// The owner.
    pub uid: u64,
    /// The group.
    pub gid: u64,
    /// The digest of the content.
    pub digest: Digest,
}

/// A container of the run. It is removed with its anonymous volumes when this is dropped.
#[derive(Debug)]
pub(super) struct Container {
    engine: Engine,
    pub(super) name: String,
}

impl Container {
    /// Makes a container of `image`; `config` has the fields of the API's request.
    pub(super) async fn create(image: &LocalImage, mut config: Value) -> Result<Self, EngineError> {
        let engine = image.engine().clone();
        let shared = &engine.shared;
        let name = format!("publish-variants-{}-{}", shared.run, shared.ledger.number());
        config["Image"] = image.name().into();
        config["Labels"] = json!({ LABEL: shared.run });
        config["Healthcheck"] = json!({ "Test": ["NONE"] });
        let what = format!("create a container of image `{}`", image.name());
        // From here on the name is removed, whether or not the answer reaches us.
        let container = Self { engine: engine.clone(), name };
        let making = Making::begin(&shared.ledger);
        shared.http.post("/containers/create", what).query("name", &container.name).body(config).json().await?;
        making.made();
        Ok(container)
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        self.engine.janitor.hand(Chore::Container(self.name.clone()));
    }
}

/// Gives the files of an image, from a container that is never started.
#[derive(Debug)]
pub struct FilesLease {
    container: Container,
    image: String,
}

impl LocalImage {
    /// Makes the image's files readable.
    ///
    /// # Errors
    /// The engine can't make a container of it.
    pub async fn files(&self) -> Result<FilesLease, EngineError> {
        // An image without a command is refused without one.
        let container = Container::create(self, json!({ "Entrypoint": ["/"], "NetworkDisabled": true })).await?;
        Ok(FilesLease { container, image: self.name().to_owned() })
    }
}

impl FilesLease {
    /// Reads the regular file at `path`, which is never in memory as a whole.
    ///
    /// # Errors
    /// There is no such file, or the engine can't be asked.
    pub async fn read(&self, path: &str) -> Result<FileInImage, EngineError> {
        let no_file = || EngineError::NoFile { image: self.image.clone(), path: path.to_owned() };
        let what = format!("read `{path}` of image `{}`", self.image);
        let failed = |cause| EngineError::Request { what: what.clone(), cause };
        let body = match self.archive(path, &what).await {
            Err(error) if error.status() == Some(404) => return Err(no_file()),
            other => other?,
        };
        let path = path.to_owned();
        let file = read_archive(body, move |archive| {
            for entry in archive.entries()? {
                let mut entry = entry?;
                if !entry.header().entry_type().is_file() {
                    continue;
                }
                let header = entry.header();
                let (mode, uid, gid) = (header.mode()? & 0o7777, header.uid()?, header.gid()?);
                let (digest, size) = copy(&mut entry, &mut std::io::sink())?;
                return Ok(Some(FileInImage { path, size, mode, uid, gid, digest }));
            }
            Ok(None)
        });
        file.await.map_err(failed)?.ok_or_else(no_file)
    }

    async fn archive(&self, path: &str, what: &str) -> Result<Body, EngineError> {
        let http = &self.container.engine.shared.http;
        let request = http.get(format!("/containers/{}/archive", self.container.name), what).query("path", path);
        request.stream().await
    }
}

/// Splits the frames of a log, in which each has a head of eight bytes: the stream, three zeros, the length.
///
/// See [the API's description](https://docs.docker.com/reference/api/engine/version/v1.41/#tag/Container/operation/ContainerAttach).
pub(super) fn unframe(mut log: &[u8]) -> Result<Vec<u8>, Cause> {
    let mut text = Vec::with_capacity(log.len());
    while let Some((head, rest)) = log.split_at_checked(8) {
        let length = u32::from_be_bytes([head[4], head[5], head[6], head[7]]) as usize;
        if head[0] > 3 || head[1..4] != [0; 3] {
            return Err(Cause::text("the log has a malformed frame"));
        }
        // The last frame may be cut by our limit.
        let frame = &rest[..length.min(rest.len())];
        text.extend_from_slice(frame);
        log = &rest[frame.len()..];
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_joined_and_a_cut_one_keeps_its_beginning() {
        let log = b"\x01\0\0\0\0\0\0\x03out\x02\0\0\0\0\0\0\x04error";
        assert_eq!(unframe(&log[..]).unwrap(), b"outerro"[..].to_vec());
        assert_eq!(unframe(&log[..log.len() - 3]).unwrap(), b"outer"[..].to_vec());
        assert!(unframe(b"no frames at all").is_err());
    }
}
