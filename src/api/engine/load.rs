//! Loads an image that is in no registry into the engine, in the
//! [format](https://docs.docker.com/reference/api/engine/version/v1.41/#tag/Image/operation/ImageLoad) that every
//! engine accepts.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::StreamExt as _;
use serde_json::{Value, json};

use super::error::Cause;
use super::images::is_nameless;
use super::janitor::{Chore, Making};
use super::{Engine, EngineError, LocalImage, until_answered};
use crate::image::{Digest, Platform};

/// How long an engine may take to unpack an image.
const LIMIT: Duration = Duration::from_secs(20 * 60);

/// An image on this machine that can be loaded.
#[derive(Clone, Debug)]
pub struct Loadable {
    /// The blob of its config.
    pub config: Part,
    /// The blobs of its layers, lowest first, compressed or not.
    pub layers: Vec<Part>,
}

/// A blob that is a part of a file.
#[derive(Clone, Debug)]
pub struct Part {
    /// The digest of the blob.
    pub digest: Digest,
    /// The file that contains it.
    pub path: PathBuf,
    /// The offset of its first byte.
    pub start: u64,
    /// Its length in bytes.
    pub size: u64,
}

impl Engine {
    /// Loads an image for `platform` under a local name that contains `name`. An archive for the engine is made in
    /// `directory` first. The image is removed when the returned lease is dropped.
    ///
    /// # Errors
    /// A file can't be read, the disk is full, or the engine refuses the image.
    pub async fn load(
        &self,
        loadable: Loadable,
        platform: &Platform,
        name: &str,
        directory: &Path,
    ) -> Result<LocalImage, EngineError> {
        let image = self.local_name(&self.stage(), platform, name);
        let what = format!("load image `{name}`");
        let failed = |cause| EngineError::Request { what: what.clone(), cause };
        // Loading it would give a name to somebody else's unnamed image, and removing that name would remove the image.
        let id = loadable.config.digest.as_str();
        if self.shared.image(id).await?.is_some_and(|image| is_nameless(&image)) {
            return Ok(LocalImage::of_others(self, id.to_owned()));
        }
        let (reference, directory) = (image.clone(), directory.to_owned());
        let archive = tokio::task::spawn_blocking(move || archive(&loadable, &reference, &directory));
        let archive = archive.await.map_err(io::Error::other).and_then(|made| made);
        let archive = archive.map_err(|error| failed(Cause::new(&error)))?;
        // From here on the image will be removed by name, whether or not the answer reaches us.
        let lease = LocalImage::new(self, image.clone(), Chore::Built(image));
        let making = Making::begin(&self.shared.ledger);
        let told = async || {
            let archive = from_its_beginning(&archive).map_err(|error| failed(Cause::new(&error)))?;
            let request = self.shared.http.post("/images/load", what.clone()).query("quiet", "1").archive(archive);
            let (mut body, mut told) = (request.unlimited_stream().await?, Vec::new());
            while let Some(chunk) = body.next().await {
                told.extend_from_slice(&chunk.map_err(failed)?);
            }
            Ok::<_, EngineError>(told)
        };
        let too_long = |_| failed(Cause::text(format!("it took longer than {} minutes", LIMIT.as_secs() / 60)));
        let told = tokio::time::timeout(LIMIT, until_answered(told)).await.map_err(too_long)??;
        making.made();
        let messages = told.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice::<Value>(line).ok());
        let error = messages.filter_map(|message| message["error"].as_str().map(str::to_owned)).next();
        error.map_or(Ok(lease), |error| Err(failed(Cause::text(error))))
    }
}

/// The same file, for one more attempt to send it.
fn from_its_beginning(archive: &File) -> io::Result<File> {
    let mut again = archive.try_clone()?;
    again.rewind()?;
    Ok(again)
}

/// The image in the format of `docker save`.
fn archive(image: &Loadable, name: &str, directory: &Path) -> io::Result<File> {
    let mut archive = tar::Builder::new(tempfile::tempfile_in(directory)?);
    let config = format!("{}.json", image.config.digest.hex());
    let layer = |part: &Part| format!("{}.tar", part.digest.hex());
    append(&mut archive, &config, &image.config)?;
    let mut written = std::collections::BTreeSet::new();
    // An image may contain a layer twice.
    for part in image.layers.iter().filter(|part| written.insert(&part.digest)) {
        append(&mut archive, &layer(part), part)?;
    }
    let layers: Vec<String> = image.layers.iter().map(layer).collect();
    let manifest = json!([{ "Config": config, "RepoTags": [name], "Layers": layers }]).to_string();
    archive.append_data(&mut header(manifest.len() as u64), "manifest.json", manifest.as_bytes())?;
    let mut file = archive.into_inner()?;
    file.rewind()?;
    Ok(file)
}

fn append(archive: &mut tar::Builder<File>, name: &str, part: &Part) -> io::Result<()> {
    let mut file = File::open(&part.path)?;
    file.seek(SeekFrom::Start(part.start))?;
    archive.append_data(&mut header(part.size), name, file.take(part.size))
}

fn header(size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_size(size);
    header.set_mode(0o644);
    header
}
