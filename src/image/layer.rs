//! The layer of the executables: the tool's files, in `/usr/local/bin` or wherever `binaries` puts them.
//!
//! It is reproducible: the same files give the same bytes on every machine. A
//! [layer](https://github.com/opencontainers/image-spec/blob/v1.1.1/layer.md) is a tar archive; ours is compressed as
//! [gzip members](https://www.rfc-editor.org/rfc/rfc1952#section-2.2) that hold 1 MiB of the archive each, so that
//! several cores can compress it in bounded memory, and their number doesn't influence the result.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, Scope};

use libdeflater::{CompressionLvl, Compressor};
use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;

use super::manifest::{Descriptor, MediaType};
use super::reference::Digest;

/// Bytes of the archive in a gzip member.
const MEMBER: usize = 1 << 20;
/// More threads gain little and take memory: each holds up to four members.
const MAX_THREADS: usize = 4;
/// gzip's own default. Changing it changes every digest.
const LEVEL: i32 = 6;

/// An executable or another file, copied from the source image to disk.
#[derive(Debug)]
pub struct InstalledFile {
    /// Its absolute path in the variant: `/usr/local/bin/uv`.
    pub path: String,
    /// Its permission bits: 0755, or 0644 if it isn't executable.
    pub mode: u32,
    /// Its length in bytes.
    pub size: u64,
    /// The digest of its content.
    pub digest: Digest,
    /// The path of its interpreter, if it is a dynamically linked executable.
    pub interpreter: Option<String>,
    /// The file on disk, which several entries may share.
    pub content: Arc<NamedTempFile>,
}

/// A layer, compressed and on disk.
#[derive(Debug)]
pub struct Compressed {
    /// Its digest, size and media type.
    pub descriptor: Descriptor,
    /// The digest of the uncompressed archive.
    pub diff_id: Digest,
    blob: NamedTempFile,
}

impl Compressed {
    /// Compresses the tar archive `archive` into a file in `directory`.
    ///
    /// # Errors
    /// Reading or writing fails.
    pub fn read(archive: &mut impl Read, directory: &Path) -> io::Result<Self> {
        Self::write(directory, |members| io::copy(archive, members).map(drop))
    }

    fn write(directory: &Path, archive: impl FnOnce(&mut Members) -> io::Result<()>) -> io::Result<Self> {
        let blob = NamedTempFile::new_in(directory)?;
        let threads = thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS);
        let (archive_hash, blob_hash, size) = thread::scope(|scope| {
            let (mut members, writer) = Members::start(scope, blob.as_file(), threads);
            let archived = archive(&mut members).and_then(move |()| members.finish());
            // A failure to write ends the archiving as well, so it is the one to report.
            let (blob_hash, size) = writer.join().expect("writing reports errors and doesn't panic")?;
            io::Result::Ok((archived?, blob_hash, size))
        })?;
        Ok(Self {
            descriptor: Descriptor::new(MediaType::LayerGzip, Digest::from_hash(blob_hash), size),
            diff_id: Digest::from_hash(archive_hash),
            blob,
        })
    }

    /// The file with the compressed layer, which exists for as long as this value lives.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.blob.path()
    }
}

/// The layer of the executables.
#[derive(Debug)]
pub struct Layer {
    /// The compressed archive of `files`.
    pub compressed: Compressed,
    /// The files in it, sorted by path.
    pub files: Vec<InstalledFile>,
}

impl Layer {
    /// Writes the layer into a file in `directory`.
    ///
    /// # Errors
    /// Reading the files or writing the layer fails.
    pub fn write(mut files: Vec<InstalledFile>, directory: &Path) -> io::Result<Self> {
        files.sort_by(|a, b| a.path.cmp(&b.path));
        let compressed = Compressed::write(directory, |members| archive(&files, members))?;
        Ok(Self { compressed, files })
    }
}

/// Writes the archive: one entry for each file, none for folders, and nothing that depends on this machine.
fn archive(files: &[InstalledFile], to: &mut impl Write) -> io::Result<()> {
    let mut archive = tar::Builder::new(to);
    for file in files {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Regular);
        header.set_mode(file.mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(file.size);
        archive.append_data(&mut header, file.path.trim_start_matches('/'), File::open(file.content.path())?)?;
    }
    archive.finish()
}

/// A writer that cuts its input into members, which several threads compress in turn.
struct Members {
    pending: Vec<u8>,
    hash: Sha256,
    next: usize,
    to_threads: Vec<SyncSender<Vec<u8>>>,
}

type Written = io::Result<(Sha256, u64)>;

impl Members {
    fn start<'scope>(
        scope: &'scope Scope<'scope, '_>,
        blob: &'scope File,
        threads: usize,
    ) -> (Self, thread::ScopedJoinHandle<'scope, Written>) {
        let (mut to_threads, mut from_threads) = (Vec::new(), Vec::new());
        for _ in 0..threads {
            let (to_thread, archive) = sync_channel(1);
            let (member, from_thread) = sync_channel(1);
            scope.spawn(move || compress(&archive, &member));
            to_threads.push(to_thread);
            from_threads.push(from_thread);
        }
        let writer = scope.spawn(move || write_in_turn(&from_threads, blob));
        (Self { pending: Vec::with_capacity(MEMBER), hash: Sha256::new(), next: 0, to_threads }, writer)
    }

    fn hand_over(&mut self) -> io::Result<()> {
        let member = std::mem::replace(&mut self.pending, Vec::with_capacity(MEMBER));
        self.hash.update(&member);
        let thread = &self.to_threads[self.next % self.to_threads.len()];
        self.next += 1;
        thread.send(member).map_err(|_| io::Error::other("the layer could not be written"))
    }

    /// Compresses the rest. Returns the hash of everything.
    fn finish(mut self) -> io::Result<Sha256> {
        if !self.pending.is_empty() {
            self.hand_over()?;
        }
        Ok(self.hash)
    }
}

impl Write for Members {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(MEMBER - self.pending.len());
        self.pending.extend_from_slice(&bytes[..taken]);
        if self.pending.len() == MEMBER {
            self.hand_over()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn compress(archive: &Receiver<Vec<u8>>, members: &SyncSender<Vec<u8>>) {
    let level = CompressionLvl::new(LEVEL).expect("6 is between 0 and 12");
    let mut compressor = Compressor::new(level);
    for bytes in archive {
        let mut member = vec![0; compressor.gzip_compress_bound(bytes.len())];
        let length = compressor.gzip_compress(&bytes, &mut member).expect("the bound leaves room for the member");
        member.truncate(length);
        if members.send(member).is_err() {
            return; // the writer reports its own error
        }
    }
}

/// The first thread has the first member, the second the second, and so on, in turn.
fn write_in_turn(threads: &[Receiver<Vec<u8>>], mut blob: &File) -> Written {
    let (mut hash, mut size) = (Sha256::new(), 0);
    for thread in threads.iter().cycle() {
        let Ok(member) = thread.recv() else { break };
        hash.update(&member);
        size += member.len() as u64;
        blob.write_all(&member)?;
    }
    Ok((hash, size))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn executable(path: &str, bytes: &[u8]) -> InstalledFile {
        let mut content = NamedTempFile::new().unwrap();
        content.write_all(bytes).unwrap();
        let (size, digest, content) = (bytes.len() as u64, Digest::of(bytes), Arc::new(content));
        InstalledFile { path: path.to_owned(), mode: 0o755, size, digest, interpreter: None, content }
    }

    /// 3.5 MiB of data that compresses a little, so that there are several members.
    fn noise() -> Vec<u8> {
        let mut random = fastrand::Rng::with_seed(7);
        (0..7 << 19).map(|_| random.u8(0..16)).collect()
    }

    fn layer() -> Layer {
        let files = vec![executable("/usr/local/bin/uvx", b"#!x"), executable("/usr/local/bin/uv", &noise())];
        Layer::write(files, &std::env::temp_dir()).unwrap()
    }

    #[test]
    fn the_layer_has_the_files_sorted_and_nothing_else() {
        let layer = layer();
        let file = File::open(layer.compressed.path()).unwrap();
        assert_eq!(file.metadata().unwrap().len(), layer.compressed.descriptor.size);
        let mut archive = tar::Archive::new(flate2::read::MultiGzDecoder::new(file));
        let mut entries = Vec::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            let header = entry.header();
            assert_eq!((header.uid().unwrap(), header.gid().unwrap()), (0, 0));
            assert_eq!((header.mode().unwrap(), header.mtime().unwrap()), (0o755, 0));
            entries.push((entry.path().unwrap().display().to_string(), content));
        }
        let expected = [("usr/local/bin/uv".to_owned(), noise()), ("usr/local/bin/uvx".to_owned(), b"#!x".to_vec())];
        assert!(entries == expected, "the entries differ");
    }

    #[test]
    fn the_digests_are_those_of_the_bytes() {
        let layer = layer();
        let blob = std::fs::read(layer.compressed.path()).unwrap();
        assert_eq!(layer.compressed.descriptor.digest, Digest::of(&blob));
        let mut archive = Vec::new();
        flate2::read::MultiGzDecoder::new(&blob[..]).read_to_end(&mut archive).unwrap();
        assert_eq!(layer.compressed.diff_id, Digest::of(&archive));
    }

    /// The expected bytes. An update of the compressor that changes them must be noticed, since it changes every
    /// digest.
    #[test]
    fn the_bytes_are_the_same_on_every_machine() {
        assert_eq!(layer().compressed.descriptor.digest.short(), "7bc82fbce68c");
    }

    #[test]
    fn the_number_of_threads_does_not_change_the_bytes() {
        let compressed = |threads| {
            let blob = NamedTempFile::new().unwrap();
            thread::scope(|scope| {
                let (mut members, writer) = Members::start(scope, blob.as_file(), threads);
                members.write_all(&noise()).unwrap();
                members.finish().unwrap();
                writer.join().unwrap().unwrap();
            });
            Digest::of(&std::fs::read(blob.path()).unwrap())
        };
        assert_eq!(compressed(1), compressed(3));
    }
}
