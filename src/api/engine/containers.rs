//! Containers that are created but never started, in order to read the files of an image.

use serde_json::{Value, json};

use super::error::Cause;
use super::http::{Body, PATIENCE};
use super::janitor::{Chore, Making};
use super::spool::{copy, read_archive, read_head};
use super::{Engine, EngineError, ImageLease, LABEL, LocalImage, until_answered};
use crate::image::Digest;

/// A regular file in an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileInImage {
    /// The path that was asked for, which may lead through links.
    pub path: String,
    /// The length in bytes.
    pub size: u64,
    /// The permission bits, `0o755`.
    pub mode: u32,
    /// The user id of the owner. An engine with `userns-remap` shows another one, so it counts as 0 there, as does `gid`.
    pub uid: u64,
    /// The id of the group.
    pub gid: u64,
    /// The digest of the content.
    pub digest: Digest,
}

/// Whatever is at a path of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryInImage {
    /// Whether it is a folder, a link or something else.
    pub kind: EntryKind,
    /// The permission bits, `0o755`, including set-user-id, set-group-id and sticky.
    pub mode: u32,
    /// The user id of the owner. An engine with `userns-remap` shows another one, so it counts as 0 there, as does `gid`.
    pub uid: u64,
    /// The id of the group.
    pub gid: u64,
}

/// The kind of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A folder.
    Folder,
    /// A symbolic link with this target.
    Link(String),
    /// A file, a device or the like.
    Other,
}

impl EntryKind {
    fn of<R: std::io::Read>(entry: &tar::Entry<'_, R>) -> std::io::Result<Self> {
        let kind = entry.header().entry_type();
        Ok(match entry.link_name()?.filter(|_| kind.is_symlink()) {
            Some(target) => Self::Link(target.to_string_lossy().into_owned()),
            None if kind.is_dir() => Self::Folder,
            None => Self::Other,
        })
    }
}

/// A container of the run. It is removed with its anonymous volumes when this value is dropped.
#[derive(Debug)]
pub(super) struct Container {
    engine: Engine,
    pub(super) name: String,
}

impl Container {
    /// Creates a container of `image`. `config` contains further fields of the API request.
    pub(super) async fn create(engine: &Engine, image: &str, mut config: Value) -> Result<Self, EngineError> {
        let shared = &engine.shared;
        let name = format!("publish-variants-{}-{}", shared.run, shared.ledger.number());
        config["Image"] = image.into();
        config["Labels"] = json!({ LABEL: shared.run });
        config["Healthcheck"] = json!({ "Test": ["NONE"] });
        let what = format!("create a container of image `{image}`");
        // From here on the container will be removed by name, whether or not the answer reaches us.
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

/// The user and the group that a file belongs to.
fn owner(header: &tar::Header, remapped: bool) -> std::io::Result<(u64, u64)> {
    if remapped { Ok((0, 0)) } else { Ok((header.uid()?, header.gid()?)) }
}

/// Reads the files of an image from a container that is never started.
#[derive(Debug)]
pub struct FilesLease {
    container: Container,
    image: String,
}

impl LocalImage {
    /// Makes the image's files readable.
    ///
    /// # Errors
    /// The engine can't create a container of the image.
    pub async fn files(&self) -> Result<FilesLease, EngineError> {
        FilesLease::new(self.engine(), self.name()).await
    }
}

impl ImageLease {
    /// Makes the files of the pulled image readable.
    ///
    /// # Errors
    /// The engine can't create a container of the image.
    pub async fn files(&self) -> Result<FilesLease, EngineError> {
        FilesLease::new(self.engine(), &self.reference().to_string()).await
    }
}

impl FilesLease {
    async fn new(engine: &Engine, image: &str) -> Result<Self, EngineError> {
        // The engine refuses to create a container without a command, unless the image has one.
        let config = json!({ "Entrypoint": ["/"], "NetworkDisabled": true });
        let container = until_answered(|| Container::create(engine, image, config.clone())).await?;
        Ok(Self { container, image: image.to_owned() })
    }

    /// The entry at `path`, whose parents may be links; `None` if there is none.
    ///
    /// # Errors
    /// The engine doesn't answer.
    pub async fn entry(&self, path: &str) -> Result<Option<EntryInImage>, EngineError> {
        until_answered(|| self.entry_once(path)).await
    }

    async fn entry_once(&self, path: &str) -> Result<Option<EntryInImage>, EngineError> {
        let what = format!("look at `{path}` of image `{}`", self.image);
        let body = match self.archive(path, &what).await {
            Err(error) if error.status() == Some(404) => return Ok(None),
            other => other?,
        };
        // A `HEAD` request doesn't return the owner. The first entry of the archive is `path` itself; the connection is
        // closed before the rest is sent.
        let remapped = self.container.engine.shared.remaps_users;
        let entry = read_head(body, move |archive| {
            let Some(entry) = archive.entries()?.next() else { return Ok(None) };
            let entry = entry?;
            let header = entry.header();
            let (mode, (uid, gid)) = (header.mode()? & 0o7777, owner(header, remapped)?);
            Ok(Some(EntryInImage { kind: EntryKind::of(&entry)?, mode, uid, gid }))
        });
        entry.await.map_err(|cause| EngineError::Request { what, cause })
    }

    /// Reads the regular file at `path`, without holding it in memory as a whole.
    ///
    /// # Errors
    /// There is no such file, or the engine doesn't answer.
    pub async fn read(&self, path: &str) -> Result<FileInImage, EngineError> {
        until_answered(|| self.read_once(path)).await
    }

    async fn read_once(&self, path: &str) -> Result<FileInImage, EngineError> {
        let no_file = || EngineError::NoFile { image: self.image.clone(), path: path.to_owned() };
        let what = format!("read `{path}` of image `{}`", self.image);
        let failed = |cause| EngineError::Request { what: what.clone(), cause };
        let body = match self.archive(path, &what).await {
            Err(error) if error.status() == Some(404) => return Err(no_file()),
            other => other?,
        };
        let (path, remapped) = (path.to_owned(), self.container.engine.shared.remaps_users);
        let file = read_archive(body, move |archive| {
            for entry in archive.entries()? {
                let mut entry = entry?;
                if !entry.header().entry_type().is_file() {
                    continue;
                }
                let header = entry.header();
                let (mode, (uid, gid)) = (header.mode()? & 0o7777, owner(header, remapped)?);
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
        request.stream(PATIENCE).await
    }
}

/// Joins the frames of a log. Each has a header of eight bytes: the stream, three zeros, the length.
///
/// See [the API's description](https://docs.docker.com/reference/api/engine/version/v1.41/#tag/Container/operation/ContainerAttach).
pub(super) fn unframe(mut log: &[u8]) -> Result<Vec<u8>, Cause> {
    let mut text = Vec::with_capacity(log.len());
    while let Some((head, rest)) = log.split_at_checked(8) {
        let length = u32::from_be_bytes([head[4], head[5], head[6], head[7]]) as usize;
        if head[0] > 3 || head[1..4] != [0; 3] {
            return Err(Cause::text("the log has a malformed frame"));
        }
        // Our own limit may have cut the last frame.
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
    fn frames_are_joined_and_a_truncated_one_keeps_its_beginning() {
        let log = b"\x01\0\0\0\0\0\0\x03out\x02\0\0\0\0\0\0\x04error";
        assert_eq!(unframe(&log[..]).unwrap(), b"outerro"[..].to_vec());
        assert_eq!(unframe(&log[..log.len() - 3]).unwrap(), b"outer"[..].to_vec());
        assert!(unframe(b"no frames at all").is_err());
    }
}
