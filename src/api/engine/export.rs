//! Taking layers from the engine, through its [export of an
//! image](https://docs.docker.com/reference/api/engine/version/v1.41/#tag/Image/operation/ImageGet).
//!
//! The archive contains every layer, in no useful order, under names that depend on the engine's store: classic stores
//! write them uncompressed, containerd's as they were stored. So layers are recognised by their digests.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::time::Duration;

use flate2::read::MultiGzDecoder;

use super::spool::{copy, read_archive};
use super::{EngineError, LocalImage, until_answered};
use crate::image::Digest;

/// How long the engine may send nothing: classic stores write the whole archive to disk before its first byte is sent.
const PATIENCE: Duration = Duration::from_secs(20 * 60);

/// A layer taken from the engine, in an unnamed file that disappears when this value is dropped.
#[derive(Debug)]
pub struct ExportedLayer {
    /// The digest of the uncompressed layer.
    pub diff_id: Digest,
    /// The length of the uncompressed layer in bytes.
    pub size: u64,
    /// The uncompressed layer, a tar archive, positioned at its beginning.
    pub file: File,
}

impl LocalImage {
    /// Takes the layers of `wanted` (by diff id), in that order. Blobs in `skipped` (diff ids and compressed digests of
    /// known layers) aren't unpacked.
    ///
    /// # Errors
    /// The engine doesn't answer, the disk is full, or a layer isn't in the image.
    pub async fn export(
        &self,
        wanted: &[Digest],
        skipped: &HashSet<Digest>,
    ) -> Result<Vec<ExportedLayer>, EngineError> {
        until_answered(|| self.export_once(wanted, skipped.clone())).await
    }

    async fn export_once(
        &self,
        wanted: &[Digest],
        skipped: HashSet<Digest>,
    ) -> Result<Vec<ExportedLayer>, EngineError> {
        let what = format!("export image `{}`", self.name());
        let http = &self.engine().shared.http;
        let body = http.get(format!("/images/{}/get", self.name()), what.clone()).stream(PATIENCE).await?;
        let list = wanted.to_vec();
        let layers = read_archive(body, move |archive| {
            let mut layers: Vec<Option<ExportedLayer>> = list.iter().map(|_| None).collect();
            for entry in archive.entries()? {
                let mut entry = entry?;
                let path = entry.path()?.to_string_lossy().into_owned();
                if !entry.header().entry_type().is_file() || path.ends_with(".json") || is_known(&path, &skipped) {
                    continue;
                }
                let Some(layer) = spool(&mut entry, &list)? else { continue };
                let place = list.iter().position(|diff_id| *diff_id == layer.diff_id);
                if let Some(place) = place {
                    layers[place] = Some(layer);
                }
            }
            let missing = || io::Error::new(io::ErrorKind::NotFound, "the export lacks a layer of the image");
            // An image may contain a layer twice, but the export contains it once.
            fill_repeated(&list, &mut layers)?;
            layers.into_iter().map(|layer| layer.ok_or_else(missing)).collect()
        });
        layers.await.map_err(|cause| EngineError::Request { what, cause })
    }
}

/// The name `blobs/sha256/<hex>` contains the digest.
fn is_known(path: &str, skipped: &HashSet<Digest>) -> bool {
    let hex = path.strip_prefix("blobs/sha256/").unwrap_or_default();
    format!("sha256:{hex}").parse().is_ok_and(|digest: Digest| skipped.contains(&digest))
}

/// Writes the entry to a file if it is one of the wanted layers, compressed or not.
fn spool(entry: &mut impl io::Read, wanted: &[Digest]) -> io::Result<Option<ExportedLayer>> {
    let mut file = tempfile::tempfile()?;
    let (digest, size) = copy(entry, &mut file)?;
    file.rewind()?;
    if wanted.contains(&digest) {
        return Ok(Some(ExportedLayer { diff_id: digest, size, file }));
    }
    let mut magic = [0; 2];
    let is_gzip = file.read(&mut magic)? == 2 && magic == [0x1f, 0x8b];
    file.rewind()?;
    if !is_gzip {
        return Ok(None);
    }
    let mut uncompressed = tempfile::tempfile()?;
    let (diff_id, size) = copy(&mut MultiGzDecoder::new(io::BufReader::new(file)), &mut uncompressed)?;
    uncompressed.rewind()?;
    Ok(wanted.contains(&diff_id).then_some(ExportedLayer { diff_id, size, file: uncompressed }))
}

fn fill_repeated(wanted: &[Digest], layers: &mut [Option<ExportedLayer>]) -> io::Result<()> {
    for place in 0..layers.len() {
        if layers[place].is_some() {
            continue;
        }
        let first = layers.iter().flatten().find(|layer| layer.diff_id == wanted[place]);
        let Some(ExportedLayer { diff_id, size, file }) = first else { continue };
        let mut copied = tempfile::tempfile()?;
        let mut original = file.try_clone()?;
        io::copy(&mut original, &mut copied)?;
        original.rewind()?;
        copied.rewind()?;
        layers[place] = Some(ExportedLayer { diff_id: diff_id.clone(), size: *size, file: copied });
    }
    Ok(())
}
