//! The entries of a [tar archive](https://pubs.opengroup.org/onlinepubs/9799919799/utilities/pax.html#tag_20_94_13), in
//! order, with the long names of pax and GNU.
//!
//! The `tar` crate's own iterator reads extension headers of any length into memory, and ends a pax record at its first
//! line break, although values of extended attributes may contain line breaks.

use std::collections::BTreeMap;
use std::io::{self, Read, Seek, SeekFrom};

use tar::{EntryType, Header};

const BLOCK: usize = 512;
/// The most bytes that all extension headers of an entry may have together.
const LONGEST_EXTENSION: u64 = 1 << 20;
/// `PATH_MAX` of Linux.
const LONGEST_PATH: usize = 4096;

/// The extended attribute with the capabilities of a file.
const CAPABILITY: &[u8] = b"SCHILY.xattr.security.capability";

/// A file, folder or link of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The absolute path without `.`, `..` and trailing slash; empty for the root.
    pub path: String,
    /// Its kind, with the attributes that matter.
    pub kind: Kind,
}

/// What an entry creates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file, whose content follows in the archive.
    File {
        /// The length of its content in bytes.
        size: u64,
        /// The permission bits with setuid and setgid.
        mode: u32,
        /// Whether it has capabilities.
        capabilities: bool,
    },
    /// A folder.
    Folder,
    /// A symbolic link, with its target as it is written.
    Symlink(String),
    /// A hard link to the file at this path, written in the form of [`Entry::path`].
    HardLink(String),
    /// A device or the like, and its name in errors.
    Other(&'static str),
}

/// Reads an archive. After an entry has been returned, reading from this reads the content of that entry.
#[derive(Debug)]
pub struct Archive<R> {
    from: R,
    /// Bytes left of the current entry's content, and of the padding after it.
    content: u64,
    padding: u64,
}

/// The extension headers for the next entry.
#[derive(Default)]
struct Extensions {
    pax: BTreeMap<Vec<u8>, Vec<u8>>,
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
}

impl<R: Read> Archive<R> {
    /// Reads the tar archive in `from`.
    pub fn new(from: R) -> Self {
        Self { from, content: 0, padding: 0 }
    }

    /// The next entry; `None` at the end.
    ///
    /// # Errors
    /// Reading fails, or this isn't an archive that can be unpacked.
    pub fn next_entry(&mut self) -> io::Result<Option<Entry>> {
        let (mut extensions, mut left) = (Extensions::default(), LONGEST_EXTENSION);
        loop {
            let Some(block) = self.block()? else { return Ok(None) };
            let header = Header::from_byte_slice(&block);
            let size = header.entry_size()?;
            let kind = header.entry_type();
            if kind.is_pax_local_extensions() {
                extensions.pax.extend(records(&self.extension(size, &mut left)?)?);
            } else if kind.is_gnu_longname() {
                extensions.long_name = Some(until_nul(self.extension(size, &mut left)?));
            } else if kind.is_gnu_longlink() {
                extensions.long_link = Some(until_nul(self.extension(size, &mut left)?));
            } else if kind.is_pax_global_extensions() {
                // Engines don't apply them to entries, either.
                self.begin(size);
            } else {
                return self.entry(header, size, &extensions).map(Some);
            }
        }
    }

    fn entry(&mut self, header: &Header, size: u64, extensions: &Extensions) -> io::Result<Entry> {
        let size = match extensions.pax("size") {
            Some(text) => std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).ok_or_else(malformed)?,
            None => size,
        };
        let name = extensions.pax("GNU.sparse.name").or_else(|| extensions.pax("path"));
        let name =
            name.or(extensions.long_name.as_deref()).map_or_else(|| header.path_bytes().into_owned(), <[u8]>::to_vec);
        let link = extensions.pax("linkpath").or(extensions.long_link.as_deref());
        let link = link.map(<[u8]>::to_vec).or_else(|| header.link_name_bytes().map(std::borrow::Cow::into_owned));
        let link = String::from_utf8_lossy(&link.unwrap_or_default()).into_owned();
        let (mut kind, mut has_content) = match header.entry_type() {
            // Archives from before 1988 mark folders like this.
            EntryType::Regular | EntryType::Continuous if name.ends_with(b"/") => (Kind::Folder, true),
            EntryType::Regular | EntryType::Continuous => {
                let mode = header.mode()? & 0o7777;
                (Kind::File { size, mode, capabilities: extensions.pax.contains_key(CAPABILITY) }, true)
            }
            EntryType::Directory => (Kind::Folder, false),
            EntryType::Symlink => {
                check_length(link.as_bytes())?;
                (Kind::Symlink(link), false)
            }
            EntryType::Link => (Kind::HardLink(absolute(link.as_bytes())?), false),
            EntryType::Char | EntryType::Block => (Kind::Other("a device"), false),
            EntryType::Fifo => (Kind::Other("a pipe"), false),
            EntryType::GNUSparse => (Kind::Other("a sparse file"), true),
            _ => (Kind::Other("neither a file nor a folder"), true),
        };
        if extensions.pax.keys().any(|key| key.starts_with(b"GNU.sparse.")) {
            (kind, has_content) = (Kind::Other("a sparse file"), true);
        }
        if header.entry_type().is_gnu_sparse() {
            self.sparse_headers(header)?;
        }
        self.begin(if has_content { size } else { 0 });
        Ok(Entry { path: absolute(&name)?, kind })
    }

    /// Skips further headers with the positions of holes, which precede the content.
    fn sparse_headers(&mut self, header: &Header) -> io::Result<()> {
        let mut more = header.as_gnu().is_some_and(tar::GnuHeader::is_extended);
        while more {
            let mut block = [0; BLOCK];
            self.from.read_exact(&mut block)?;
            more = block[504] == 1;
        }
        Ok(())
    }

    /// The next header, with its checksum verified; `None` at the end of the archive.
    fn block(&mut self) -> io::Result<Option<[u8; BLOCK]>> {
        let skipped = self.content.checked_add(self.padding).ok_or_else(malformed)?;
        if io::copy(&mut (&mut self.from).take(skipped), &mut io::sink())? < skipped {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.begin(0);
        let mut block = [0; BLOCK];
        let mut length = 0;
        while length < BLOCK {
            match self.from.read(&mut block[length..])? {
                0 if length == 0 => return Ok(None),
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                more => length += more,
            }
        }
        if block == [0; BLOCK] {
            return Ok(None);
        }
        let without_checksum = block[..148].iter().chain(&block[156..]);
        let sum = 8 * u32::from(b' ') + without_checksum.map(|byte| u32::from(*byte)).sum::<u32>();
        // A fuzzer can't guess checksums.
        if Header::from_byte_slice(&block).cksum()? != sum && !cfg!(fuzzing) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a header of its archive has a wrong checksum"));
        }
        Ok(Some(block))
    }

    fn begin(&mut self, size: u64) {
        self.content = size;
        self.padding = size.wrapping_neg() % BLOCK as u64;
    }

    /// The whole content of an extension header, which may have at most `left` bytes.
    fn extension(&mut self, size: u64, left: &mut u64) -> io::Result<Vec<u8>> {
        *left = left.checked_sub(size).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidData, "the headers of an entry of its archive have more than 1 MiB")
        })?;
        self.begin(size);
        let mut bytes = Vec::new();
        self.read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

impl<R: Read + Seek> Archive<R> {
    /// Skips what is left of the current entry's content without reading it. Returns the offset at which that began.
    ///
    /// # Errors
    /// Seeking fails.
    pub fn skip_content(&mut self) -> io::Result<u64> {
        let start = self.from.stream_position()?;
        let end = start.checked_add(self.content).ok_or_else(malformed)?;
        self.from.seek(SeekFrom::Start(end))?;
        self.content = 0;
        Ok(start)
    }
}

impl<R: Read> Read for Archive<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.content == 0 || buffer.is_empty() {
            return Ok(0);
        }
        let wanted = usize::try_from(self.content).map_or(buffer.len(), |left| left.min(buffer.len()));
        let length = self.from.read(&mut buffer[..wanted])?;
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.content -= length as u64;
        Ok(length)
    }
}

impl Extensions {
    /// An empty value removes the key.
    fn pax(&self, key: &str) -> Option<&[u8]> {
        self.pax.get(key.as_bytes()).map(Vec::as_slice).filter(|value| !value.is_empty())
    }
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a header of its archive is malformed")
}

/// The records of a pax header: each is `LENGTH KEY=VALUE` and a line break, and `LENGTH` is that of the whole record.
fn records(mut header: &[u8]) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut records = Vec::new();
    while !header.is_empty() {
        let blank = header.iter().position(|byte| *byte == b' ').ok_or_else(malformed)?;
        let length = std::str::from_utf8(&header[..blank]).ok().and_then(|text| text.parse::<usize>().ok());
        let length = length.filter(|length| *length > blank + 1).ok_or_else(malformed)?;
        let (record, rest) = header.split_at_checked(length).ok_or_else(malformed)?;
        let record = record[blank + 1..].strip_suffix(b"\n").ok_or_else(malformed)?;
        let equals = record.iter().position(|byte| *byte == b'=').ok_or_else(malformed)?;
        records.push((record[..equals].to_vec(), record[equals + 1..].to_vec()));
        header = rest;
    }
    Ok(records)
}

fn until_nul(mut bytes: Vec<u8>) -> Vec<u8> {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    bytes.truncate(end);
    bytes
}

/// A path of an archive in the form `/usr/bin/x`. Bytes that aren't UTF-8 are replaced, since inputs can't name such a
/// path.
fn absolute(path: &[u8]) -> io::Result<String> {
    check_length(path)?;
    let mut parts = Vec::new();
    let text = String::from_utf8_lossy(path);
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                if parts.pop().is_none() {
                    let message = format!("`{text}` leads out of the image");
                    return Err(io::Error::new(io::ErrorKind::InvalidData, message));
                }
            }
            name => parts.push(name),
        }
    }
    Ok(parts.iter().flat_map(|part| ["/", part]).collect())
}

fn check_length(path: &[u8]) -> io::Result<()> {
    if path.len() > LONGEST_PATH {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a path of its archive is longer than 4096 bytes"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An archive with one entry, after whatever `before` appends.
    fn archive(
        before: impl FnOnce(&mut tar::Builder<Vec<u8>>),
        path: &str,
        kind: EntryType,
        content: &[u8],
    ) -> Vec<u8> {
        let mut archive = tar::Builder::new(Vec::new());
        before(&mut archive);
        let mut header = Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(0o4555);
        header.set_size(content.len() as u64);
        header.set_path(path).unwrap();
        header.set_cksum();
        archive.append(&header, content).unwrap();
        archive.into_inner().unwrap()
    }

    fn pax(records: &'static [(&'static str, &'static [u8])]) -> impl FnOnce(&mut tar::Builder<Vec<u8>>) {
        |archive| archive.append_pax_extensions(records.iter().copied()).unwrap()
    }

    fn entries(bytes: &[u8]) -> io::Result<Vec<(Entry, String)>> {
        let (mut archive, mut entries) = (Archive::new(bytes), Vec::new());
        while let Some(entry) = archive.next_entry()? {
            let mut content = String::new();
            archive.read_to_string(&mut content)?;
            entries.push((entry, content));
        }
        Ok(entries)
    }

    fn only(bytes: &[u8]) -> Entry {
        let entries = entries(bytes).unwrap();
        assert_eq!(entries.len(), 1, "{entries:?}");
        entries[0].0.clone()
    }

    #[test]
    fn entries_have_their_path_kind_and_content() {
        let mut bytes = archive(|_| {}, "./opt/./uv", EntryType::Regular, b"#!");
        bytes.extend(archive(|_| {}, "dir/", EntryType::Regular, b""));
        // The archive ends at the zeros after its first part.
        let found = entries(&bytes).unwrap();
        let kind = Kind::File { size: 2, mode: 0o4555, capabilities: false };
        assert_eq!(found, [(Entry { path: "/opt/uv".into(), kind }, "#!".into())]);
        let folder = Entry { path: "/dir".into(), kind: Kind::Folder };
        assert_eq!(only(&archive(|_| {}, "dir/", EntryType::Regular, b"")), folder);
        assert_eq!(only(&archive(pax(&[("path", b"x/../dir")]), "x", EntryType::Directory, b"")), folder);
    }

    #[test]
    fn long_names_are_those_of_pax_and_gnu() {
        let long = "a/".repeat(150) + "uv";
        let mut gnu = tar::Builder::new(Vec::new());
        let mut header = Header::new_gnu();
        header.set_size(0);
        header.set_mode(0o755);
        gnu.append_data(&mut header, &long, &b""[..]).unwrap();
        header.set_entry_type(EntryType::Symlink);
        gnu.append_link(&mut header, "uvx", &long).unwrap();
        let found = entries(&gnu.into_inner().unwrap()).unwrap();
        assert_eq!(found[0].0.path, format!("/{long}"));
        assert_eq!(found[1].0.kind, Kind::Symlink(long));

        let named = archive(pax(&[("comment", b"two\nlines\n\n"), ("path", b"bin/uv")]), "x", EntryType::Regular, b"");
        assert_eq!(only(&named).path, "/bin/uv");
        let linked = archive(pax(&[("linkpath", b"bin/uv")]), "x", EntryType::Link, b"");
        assert_eq!(only(&linked).kind, Kind::HardLink("/bin/uv".into()));
        let larger = archive(pax(&[("size", b"600")]), "x", EntryType::Regular, &[b'x'; 1000]);
        assert!(matches!(only(&larger).kind, Kind::File { size: 600, .. }));
    }

    #[test]
    fn capabilities_and_sparse_files_are_noticed() {
        let capable = pax(&[("SCHILY.xattr.security.capability", b"\x01\0\0\x02\0\x04\0\0\0\n\0\0\0\0\0\0\0\0\0\0")]);
        let capable = archive(capable, "uv", EntryType::Regular, b"x");
        assert!(matches!(only(&capable).kind, Kind::File { capabilities: true, .. }));
        let other = archive(pax(&[("SCHILY.xattr.user.note", b"\n")]), "uv", EntryType::Regular, b"x");
        assert!(matches!(only(&other).kind, Kind::File { capabilities: false, .. }));
        let sparse = [("GNU.sparse.major", &b"1"[..]), ("GNU.sparse.name", b"bin/uv")];
        let sparse = archive(|archive| archive.append_pax_extensions(sparse).unwrap(), "x", EntryType::Regular, b"x");
        assert_eq!(only(&sparse), Entry { path: "/bin/uv".into(), kind: Kind::Other("a sparse file") });
    }

    #[test]
    fn contents_are_skipped_and_their_offsets_are_known() {
        let mut bytes = archive(|_| {}, "uv", EntryType::Regular, &[b'x'; 600]);
        bytes.truncate(3 * BLOCK);
        bytes.extend(archive(pax(&[("path", b"bin/uvx")]), "x", EntryType::Regular, b"#!"));
        let mut archive = Archive::new(io::Cursor::new(&bytes));
        for (path, content) in [("/uv", &[b'x'; 600][..]), ("/bin/uvx", b"#!")] {
            assert_eq!(archive.next_entry().unwrap().unwrap().path, path);
            let start = usize::try_from(archive.skip_content().unwrap()).unwrap();
            assert_eq!(&bytes[start..start + content.len()], content);
        }
        assert_eq!(archive.next_entry().unwrap(), None);
    }

    #[test]
    fn an_archive_that_cannot_be_unpacked_is_an_error() {
        let good = archive(|_| {}, "uv", EntryType::Regular, &[b'x'; 600]);
        let mut flipped = good.clone();
        flipped[0] ^= 1;
        let climbing = archive(pax(&[("path", b"../uv")]), "uv", EntryType::Regular, b"");
        let long = archive(
            |archive| archive.append_pax_extensions([("path", &[b'x'; 5000][..])]).unwrap(),
            "uv",
            EntryType::Regular,
            b"",
        );
        let link = archive(
            |archive| archive.append_pax_extensions([("linkpath", &[b'x'; 5000][..])]).unwrap(),
            "uv",
            EntryType::Symlink,
            b"",
        );
        let huge = archive(
            |archive| archive.append_pax_extensions([("comment", &[b'x'; 1 << 20][..])]).unwrap(),
            "uv",
            EntryType::Regular,
            b"",
        );
        let half = || pax(&[("comment", &[b'x'; 1 << 19])]);
        let many = archive(
            |archive| {
                half()(archive);
                half()(archive);
            },
            "uv",
            EntryType::Regular,
            b"",
        );
        for (bytes, expected) in [
            (&flipped[..], "wrong checksum"),
            (&good[..1000], "unexpected end"),
            (&good[..100], "unexpected end"),
            (&climbing, "leads out of the image"),
            (&long, "longer than 4096"),
            (&link, "longer than 4096"),
            (&huge, "more than 1 MiB"),
            (&many, "more than 1 MiB"),
        ] {
            let error = entries(bytes).unwrap_err().to_string();
            assert!(error.contains(expected), "{expected}: {error}");
        }
        assert!(entries(&archive(half(), "uv", EntryType::Regular, b"")).is_ok());
        for record in ["x a=b\n", "5 a=b\n", "7 a=b\n", "99 a=b\n", "0 a=b\n", "2 a=b\n", "6 a-b\n", "a=b"] {
            assert!(records(record.as_bytes()).is_err(), "{record:?}");
        }
        assert_eq!(records(b"6 a=b\n").unwrap(), [(b"a".to_vec(), b"b".to_vec())]);
    }
}
