//! The interpreter of a dynamically linked executable: the dynamic linker, which the image must contain.
//!
//! Its path is in the segment `PT_INTERP` of an [ELF
//! file](https://refspecs.linuxfoundation.org/elf/gabi4+/ch5.pheader.html). Statically linked executables have none.

use std::io::{self, Read, Seek, SeekFrom};

use super::platform::ElfIdentity;

/// The type of the segment with the interpreter's path.
const PT_INTERP: u64 = 3;
/// `PATH_MAX` of Linux.
const LONGEST_PATH: u64 = 4096;

/// The path of an executable's interpreter; `None` for a statically linked executable, and for a file that is damaged
/// or isn't an executable.
///
/// # Errors
/// Reading fails.
pub fn of(file: &mut (impl Read + Seek)) -> io::Result<Option<String>> {
    match find(file) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        found => found,
    }
}

fn find(file: &mut (impl Read + Seek)) -> io::Result<Option<String>> {
    let head = read(file, 0, 64)?;
    let Some(identity) = ElfIdentity::of(&head) else { return Ok(None) };
    let is_large = identity.bits == 64;
    let number = |bytes: &[u8], at: usize, length: usize| {
        let bytes = &bytes[at..at + length];
        let add = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
        if identity.little_endian { bytes.iter().rev().fold(0, add) } else { bytes.iter().fold(0, add) }
    };
    // The offset of the segment table, the size of its entries, and their number.
    let (table, size, count) = if is_large {
        (number(&head, 32, 8), number(&head, 54, 2), number(&head, 56, 2))
    } else {
        (number(&head, 28, 4), number(&head, 42, 2), number(&head, 44, 2))
    };
    for entry in 0..count {
        let at = table.checked_add(entry * size).ok_or(io::ErrorKind::UnexpectedEof)?;
        let entry = read(file, at, if is_large { 56 } else { 32 })?;
        if number(&entry, 0, 4) != PT_INTERP {
            continue;
        }
        let (at, length) = if is_large {
            (number(&entry, 8, 8), number(&entry, 32, 8))
        } else {
            (number(&entry, 4, 4), number(&entry, 16, 4))
        };
        if length > LONGEST_PATH {
            return Ok(None);
        }
        let path = read(file, at, length)?;
        let path = path.split(|byte| *byte == 0).next().unwrap_or_default();
        return Ok(Some(String::from_utf8_lossy(path).into_owned()).filter(|path| path.starts_with('/')));
    }
    Ok(None)
}

fn read(file: &mut (impl Read + Seek), at: u64, length: u64) -> io::Result<Vec<u8>> {
    // No file has bytes beyond the offsets that it can be sought to.
    let at = i64::try_from(at).map_err(|_| io::ErrorKind::UnexpectedEof)?;
    file.seek(SeekFrom::Start(at.unsigned_abs()))?;
    let mut bytes = Vec::new();
    file.take(length).read_to_end(&mut bytes)?;
    if bytes.len() as u64 == length { Ok(bytes) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    /// An ELF file with two segments, the second of which names `path`.
    fn elf(bits: u8, little_endian: bool, path: &[u8]) -> Vec<u8> {
        let (head, entry) = if bits == 64 { (64, 56) } else { (52, 32) };
        let mut file = vec![0; head + 2 * entry];
        let put = |file: &mut Vec<u8>, at: usize, value: u64, length: usize| {
            let bytes = value.to_be_bytes();
            let bytes = bytes[8 - length..].iter().copied();
            let bytes: Vec<u8> = if little_endian { bytes.rev().collect() } else { bytes.collect() };
            file[at..at + length].copy_from_slice(&bytes);
        };
        file[..4].copy_from_slice(b"\x7fELF");
        (file[4], file[5]) = (if bits == 64 { 2 } else { 1 }, if little_endian { 1 } else { 2 });
        let word = usize::from(bits / 8);
        let (table, sizes, offset, length) = if bits == 64 { (32, 54, 8, 32) } else { (28, 42, 4, 16) };
        put(&mut file, table, head as u64, word);
        put(&mut file, sizes, entry as u64, 2);
        put(&mut file, sizes + 2, 2, 2);
        put(&mut file, head, 1, 4);
        put(&mut file, head + entry, PT_INTERP, 4);
        put(&mut file, head + entry + offset, (head + 2 * entry) as u64, word);
        put(&mut file, head + entry + length, path.len() as u64, word);
        file.extend(path);
        file
    }

    fn found(file: &[u8]) -> Option<String> {
        of(&mut Cursor::new(file)).unwrap()
    }

    #[test]
    fn the_interpreter_is_read_from_files_of_any_class_and_byte_order() {
        for (bits, little_endian) in [(64, true), (64, false), (32, true), (32, false)] {
            let file = elf(bits, little_endian, b"/lib/ld-musl-x86_64.so.1\0");
            assert_eq!(found(&file).as_deref(), Some("/lib/ld-musl-x86_64.so.1"), "{bits} {little_endian}");
            for length in 0..file.len() {
                assert_eq!(found(&file[..length]), None, "cut after {length} bytes");
            }
        }
        assert_eq!(found(b"#!/bin/sh\n"), None);
        assert_eq!(found(&elf(64, true, b"ld.so\0")), None, "a relative path");
    }

    #[test]
    fn the_interpreter_of_this_test_exists_if_it_has_one() {
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        if cfg!(target_env = "gnu") {
            assert!(std::path::Path::new(&found(&own).unwrap()).exists());
        }
    }
}
