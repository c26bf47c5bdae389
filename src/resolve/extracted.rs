//! A file that was taken from a source: copied to disk, hashed on the way, and checked for its platform. It is the same
//! for sources that are images and for files of the workspace.

use std::io::{self, Read, Write as _};
use std::path::Path;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;

use crate::image::layer::InstalledFile;
use crate::image::platform::Format;
use crate::image::{Digest, Platform, interpreter};

/// The largest file that is taken, in bytes.
pub(super) const LARGEST: u64 = 2 << 30;

/// A file of a source, on disk.
#[derive(Debug)]
pub(super) struct Extracted {
    /// Its length in bytes.
    pub(super) size: u64,
    executable: bool,
    digest: Digest,
    interpreter: Option<String>,
    content: Arc<NamedTempFile>,
}

/// Why a file isn't taken.
#[derive(Debug)]
pub(super) enum ExtractError {
    /// The source can't be read.
    Unreadable(io::Error),
    /// The copy can't be written.
    Disk(io::Error),
    /// The platform can't execute it. What its first bytes say, as a clause.
    WrongMachine(String),
}

impl Extracted {
    /// Copies `from` to a file in `directory`, unless it is an executable for another platform, or isn't an executable
    /// although it must be. Scripts are accepted: their interpreter is in the base.
    pub(super) fn copy(
        mut from: impl Read,
        platform: &Platform,
        must_be_executable: bool,
        directory: &Path,
    ) -> Result<Self, ExtractError> {
        let mut head = Vec::new();
        from.by_ref().take(Format::HEAD).read_to_end(&mut head).map_err(ExtractError::Unreadable)?;
        let executable = is_executable(&head, platform, must_be_executable).map_err(ExtractError::WrongMachine)?;
        let mut content = NamedTempFile::new_in(directory).map_err(ExtractError::Disk)?;
        let (mut hash, mut size, mut buffer) = (Sha256::new(), 0, vec![0; 1 << 16]);
        let mut chunk = &head[..];
        while !chunk.is_empty() {
            hash.update(chunk);
            content.write_all(chunk).map_err(ExtractError::Disk)?;
            size += chunk.len() as u64;
            let length = from.read(&mut buffer).map_err(ExtractError::Unreadable)?;
            chunk = &buffer[..length];
        }
        let mut written = content.reopen().map_err(ExtractError::Disk)?;
        let interpreter = interpreter::of(&mut written).map_err(ExtractError::Disk)?;
        let (digest, content) = (Digest::from_hash(hash), Arc::new(content));
        Ok(Self { size, executable, digest, interpreter, content })
    }

    /// The file as it is in a variant, at `path`: with mode 0755, or 0644 if it isn't executable.
    pub(super) fn installed_at(&self, path: String) -> InstalledFile {
        InstalledFile {
            path,
            mode: if self.executable { 0o755 } else { 0o644 },
            size: self.size,
            digest: self.digest.clone(),
            interpreter: self.interpreter.clone(),
            content: self.content.clone(),
        }
    }
}

fn is_executable(head: &[u8], platform: &Platform, must: bool) -> Result<bool, String> {
    match (Format::of(head), platform.elf()) {
        (Format::Elf(found), Some(expected)) if found != expected => Err(format!("its ELF header says {found}")),
        (Format::Elf(_) | Format::Script, _) => Ok(true),
        (Format::Other(what), _) if must => Err(format!("it is {what}")),
        (Format::Other(_), _) => Ok(false),
    }
}
