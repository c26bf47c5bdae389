//! Git's objects: [loose ones](https://git-scm.com/book/en/v2/Git-Internals-Git-Objects), each in a file of its own,
//! and those in [packs](https://git-scm.com/docs/gitformat-pack).

use std::fs::File;
use std::io::{self, BufReader, Read, Seek as _, SeekFrom};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use flate2::read::ZlibDecoder;

use super::{invalid, open};

/// The largest object that is read, in bytes. A commit has a few hundred.
const LIMIT: u64 = 16 << 20;
/// The longest chain of deltas; git makes chains of up to 50.
const MOST_DELTAS: usize = 4096;
/// The most deltas in a chain that refer to their base by name, and so may form a circle. Git rarely writes these:
/// usually a delta has an offset.
const MOST_NAMED: usize = 64;

/// The deltas that an object consists of.
#[derive(Default)]
struct Chain {
    /// The number of deltas that name their base.
    named: usize,
    /// Their size in total.
    bytes: u64,
}

impl Chain {
    /// Reads the next delta. All of them are in memory together, so they share the limit of one object.
    fn read(&mut self, entry: impl Read) -> io::Result<Vec<u8>> {
        let delta = inflate(entry)?;
        self.bytes += delta.len() as u64;
        if self.bytes > LIMIT { Err(invalid("a pack is damaged")) } else { Ok(delta) }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Commit,
    /// An annotated tag.
    Tag,
    Other,
}

pub(super) struct Objects<'a> {
    pub(super) workspace: &'a Path,
    pub(super) folder: PathBuf,
}

impl Objects<'_> {
    /// The object with this name, as text; `None` if it doesn't exist.
    pub(super) fn read(&self, name: &str) -> io::Result<Option<(Kind, String)>> {
        let name: Vec<u8> =
            (0..name.len() / 2).filter_map(|at| u8::from_str_radix(name.get(2 * at..2 * at + 2)?, 16).ok()).collect();
        let found = match self.loose(&name)? {
            Some(found) => Some(found),
            None => self.packed(&name, &mut Chain::default())?,
        };
        Ok(found.map(|(kind, content)| (kind, String::from_utf8_lossy(&content).into_owned())))
    }

    fn loose(&self, name: &[u8]) -> io::Result<Option<(Kind, Vec<u8>)>> {
        let digits: String = name.iter().map(|byte| format!("{byte:02x}")).collect();
        let Some((folder, file)) = digits.split_at_checked(2) else { return Ok(None) };
        let file = match open(self.workspace, &self.folder.join(folder).join(file)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let content = inflate(file)?;
        let end = content.iter().position(|byte| *byte == 0).ok_or_else(|| invalid("an object has no head"))?;
        let kind = match content[..end].split(|byte| *byte == b' ').next() {
            Some(b"commit") => Kind::Commit,
            Some(b"tag") => Kind::Tag,
            _ => Kind::Other,
        };
        Ok(Some((kind, content[end + 1..].to_vec())))
    }

    fn packed(&self, name: &[u8], chain: &mut Chain) -> io::Result<Option<(Kind, Vec<u8>)>> {
        let folder = self.folder.join("pack");
        let entries = match std::fs::read_dir(super::inside(self.workspace, &folder).unwrap_or(folder)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        for entry in entries {
            let path = entry?.path();
            if path.extension().is_none_or(|extension| extension != "idx") {
                continue;
            }
            let Some(offset) = offset(&open(self.workspace, &path)?, name)? else { continue };
            let pack = open(self.workspace, &path.with_extension("pack"))?;
            return self.entry(&pack, offset, name.len(), chain).map(Some);
        }
        Ok(None)
    }

    /// The object at `offset` of a pack. A delta is applied to its base.
    fn entry(&self, pack: &File, mut offset: u64, name_len: usize, chain: &mut Chain) -> io::Result<(Kind, Vec<u8>)> {
        let mut deltas = Vec::new();
        let (kind, mut content) = loop {
            let mut entry = BufReader::new(pack.try_clone()?);
            entry.seek(SeekFrom::Start(offset))?;
            let first = byte(&mut entry)?;
            let mut next = first;
            while next & 0x80 != 0 {
                next = byte(&mut entry)?;
            }
            match (first >> 4) & 7 {
                1 => break (Kind::Commit, inflate(entry)?),
                4 => break (Kind::Tag, inflate(entry)?),
                2 | 3 => break (Kind::Other, Vec::new()),
                6 => {
                    let back = distance(&mut entry)?;
                    deltas.push(chain.read(entry)?);
                    offset = offset.checked_sub(back).ok_or_else(|| invalid("a pack is damaged"))?;
                }
                7 if chain.named < MOST_NAMED => {
                    chain.named += 1;
                    let mut base = vec![0; name_len];
                    entry.read_exact(&mut base)?;
                    deltas.push(chain.read(entry)?);
                    let base = match self.loose(&base)? {
                        Some(base) => base,
                        None => self.packed(&base, chain)?.ok_or_else(|| invalid("a pack lacks an object"))?,
                    };
                    break base;
                }
                _ => return Err(invalid("a pack is damaged")),
            }
            if deltas.len() > MOST_DELTAS {
                return Err(invalid("a pack is damaged"));
            }
        };
        for delta in deltas.iter().rev() {
            content = patched(&content, delta).ok_or_else(|| invalid("a pack is damaged"))?;
        }
        Ok((kind, content))
    }
}

/// The offset of an object in a pack, from the pack's index (of version 2, which git has written since 2007).
fn offset(index: &File, name: &[u8]) -> io::Result<Option<u64>> {
    let number = |at: u64| {
        let mut bytes = [0; 4];
        index.read_exact_at(&mut bytes, at).map(|()| u64::from(u32::from_be_bytes(bytes)))
    };
    let (Some(first), name_len) = (name.first(), name.len() as u64) else { return Ok(None) };
    if number(0)? != 0xff74_4f63 || number(4)? != 2 {
        return Err(invalid("the index of a pack isn't of version 2"));
    }
    // The index contains: for each byte, how many names begin with that byte or a smaller one; the names in order; a
    // checksum for each; an offset for each; and the offsets that need 8 bytes.
    let up_to = |byte: u8| number(8 + 4 * u64::from(byte));
    let count = up_to(0xff)?;
    let (mut low, mut high) = (first.checked_sub(1).map_or(Ok(0), up_to)?, up_to(*first)?);
    let names = 8 + 4 * 256;
    while low < high {
        let middle = low + (high - low) / 2;
        let mut there = vec![0; name.len()];
        index.read_exact_at(&mut there, names + middle * name_len)?;
        match there.as_slice().cmp(name) {
            std::cmp::Ordering::Less => low = middle + 1,
            std::cmp::Ordering::Greater => high = middle,
            std::cmp::Ordering::Equal => {
                let offsets = names + count * (name_len + 4);
                let offset = number(offsets + 4 * middle)?;
                if offset & 0x8000_0000 == 0 {
                    return Ok(Some(offset));
                }
                let large = offsets + 4 * count + 8 * (offset & 0x7fff_ffff);
                return Ok(Some(number(large)? << 32 | number(large + 4)?));
            }
        }
    }
    Ok(None)
}

fn inflate(reader: impl Read) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    ZlibDecoder::new(reader).take(LIMIT).read_to_end(&mut content)?;
    Ok(content)
}

fn byte(reader: &mut impl Read) -> io::Result<u8> {
    let mut byte = [0];
    reader.read_exact(&mut byte).map(|()| byte[0])
}

/// The distance from an entry back to its base.
fn distance(reader: &mut impl Read) -> io::Result<u64> {
    let mut next = byte(reader)?;
    let mut distance = u64::from(next & 0x7f);
    while next & 0x80 != 0 {
        next = byte(reader)?;
        let more = distance.checked_add(1).and_then(|distance| distance.checked_mul(128));
        distance = more.ok_or_else(|| invalid("a pack is damaged"))? | u64::from(next & 0x7f);
    }
    Ok(distance)
}

/// Applies a delta to `base`: its instructions copy parts of the base, or insert new bytes.
fn patched(base: &[u8], delta: &[u8]) -> Option<Vec<u8>> {
    let mut rest = delta.iter().copied();
    for _ in ["size of the base", "size of the result"] {
        while rest.next()? & 0x80 != 0 {}
    }
    let mut content = Vec::new();
    while let Some(instruction) = rest.next() {
        if instruction & 0x80 == 0 {
            let inserted: Vec<u8> = rest.by_ref().take(instruction.into()).collect();
            if instruction == 0 || inserted.len() != usize::from(instruction) {
                return None;
            }
            content.extend(inserted);
        } else {
            let mut operand = |bits: std::ops::Range<u32>| {
                let first = bits.start;
                bits.filter(|bit| instruction & 1 << bit != 0)
                    .try_fold(0usize, |number, bit| Some(number | usize::from(rest.next()?) << (8 * (bit - first))))
            };
            let (start, length) = (operand(0..4)?, operand(4..7)?);
            let length = if length == 0 { 0x10000 } else { length };
            content.extend(base.get(start..start.checked_add(length)?)?);
        }
        if content.len() as u64 > LIMIT {
            return None;
        }
    }
    Some(content)
}
