//! The compression of a layer, which is recognised by its first bytes, as in engines.
//!
//! [gzip](https://www.rfc-editor.org/rfc/rfc1952#section-2.2) may have several members, and
//! [zstd](https://www.rfc-editor.org/rfc/rfc8878#section-3.1) several frames, some of them skippable, as in eStargz,
//! `zstd:chunked` and pzstd.

use std::io::{self, BufRead, Read};

use flate2::bufread::{GzDecoder, MultiGzDecoder};
use lzma_rust2::XzReader;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

/// The largest layer of a source, unpacked: 16 GiB.
pub const LIMIT: u64 = 16 << 30;

/// The most memory for a decoder's window, whose size the file itself asks for: 128 MiB. By default, zstd allows no more,
/// and it is twice what xz asks for at its highest level.
const LARGEST_WINDOW: u64 = 128 << 20;

/// Whether we can read layers of this media type.
#[must_use]
pub fn is_read(media_type: &str) -> bool {
    let suffix = media_type.rsplit_once(".tar").map(|(_, suffix)| suffix);
    matches!(suffix, Some("" | "+gzip" | ".gzip" | "+zstd" | ".zstd"))
}

#[derive(Clone, Copy)]
enum Compression {
    Gzip,
    Zstd,
    Xz,
}

impl Compression {
    /// The compression of a file that begins with `head`, if any.
    fn of(head: &[u8]) -> Option<Self> {
        match head {
            [0x1f, 0x8b, ..] => Some(Self::Gzip),
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Some(Self::Zstd),
            // Release archives are often compressed by xz; image layers aren't.
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some(Self::Xz),
            _ => None,
        }
    }
}

/// Whether `blob` is compressed. Nothing is consumed.
///
/// # Errors
/// Reading fails.
pub fn is_compressed(blob: &mut impl BufRead) -> io::Result<bool> {
    Ok(Compression::of(blob.fill_buf()?).is_some())
}

/// The archive in `blob`, which is a layer or an OCI layout. Its checksum is verified when its end is read.
///
/// # Errors
/// Reading fails.
pub fn open<'a>(mut blob: impl BufRead + 'a) -> io::Result<Box<dyn Read + 'a>> {
    Ok(match Compression::of(blob.fill_buf()?) {
        Some(Compression::Gzip) => Box::new(Bounded::new(MultiGzDecoder::new(blob))),
        Some(Compression::Zstd) => Box::new(Bounded::new(Frames::new(blob))),
        Some(Compression::Xz) => Box::new(Bounded::new(Xz::new(blob))),
        None => Box::new(Bounded::new(blob)),
    })
}

/// Like [`open`], for the archive of a release: as gzip does, this ignores what follows the last gzip member. Not all
/// engines would unpack a layer like that.
///
/// # Errors
/// Reading fails.
pub fn open_release<'a>(mut blob: impl BufRead + 'a) -> io::Result<Box<dyn Read + 'a>> {
    match Compression::of(blob.fill_buf()?) {
        Some(Compression::Gzip) => Ok(Box::new(Bounded::new(Members(Some(GzDecoder::new(blob)))))),
        _ => open(blob),
    }
}

/// Passes on at most [`LIMIT`] bytes, and fails after them.
struct Bounded<R> {
    from: R,
    left: u64,
}

impl<R> Bounded<R> {
    fn new(from: R) -> Self {
        Self { from, left: LIMIT }
    }
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.from.read(buffer)?;
        self.left = self.left.checked_sub(length as u64).ok_or_else(|| {
            io::Error::other(format!("the layer has more than {} GiB when it is unpacked", LIMIT >> 30))
        })?;
        Ok(length)
    }
}

fn window_too_large() -> io::Error {
    io::Error::other(format!("unpacking it would take a window of more than {} MiB", LARGEST_WINDOW >> 20))
}

/// The content of the members at the beginning of a gzip file; `None` after them.
struct Members<R>(Option<GzDecoder<R>>);

impl<R: BufRead> Read for Members<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(member) = &mut self.0 {
            let length = member.read(buffer)?;
            if length > 0 || buffer.is_empty() {
                return Ok(length);
            }
            let is_followed = member.get_mut().fill_buf()?.first() == Some(&0x1f);
            self.0 = self.0.take().filter(|_| is_followed).map(|member| GzDecoder::new(member.into_inner()));
        }
        Ok(0)
    }
}

/// The content of all streams of an [xz file](https://tukaani.org/xz/xz-file-format.txt).
struct Xz<R: Read>(XzReader<R>);

impl<R: Read> Xz<R> {
    fn new(from: R) -> Self {
        // In addition to its dictionary, the decoder has buffers of about 100 KiB.
        const KIBIBYTES: u32 = (LARGEST_WINDOW >> 10) as u32 + 1024;
        Self(XzReader::new_mem_limit(from, true, KIBIBYTES))
    }
}

impl<R: Read> Read for Xz<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer).map_err(|error| match error.kind() {
            io::ErrorKind::OutOfMemory => window_too_large(),
            _ => error,
        })
    }
}

/// The contents of all frames of a zstd stream.
struct Frames<R> {
    from: R,
    decoder: FrameDecoder,
    inside: bool,
}

impl<R: BufRead> Frames<R> {
    fn new(from: R) -> Self {
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(LARGEST_WINDOW);
        Self { from, decoder, inside: false }
    }

    /// Goes to the next frame with content; `false` at the end of the stream.
    fn next(&mut self) -> io::Result<bool> {
        loop {
            if self.from.fill_buf()?.is_empty() {
                return Ok(false);
            }
            match self.decoder.reset(&mut self.from) {
                Ok(()) => return Ok(true),
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame { length, .. })) => {
                    let length = u64::from(length);
                    if io::copy(&mut (&mut self.from).take(length), &mut io::sink())? < length {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
                Err(FrameDecoderError::WindowSizeTooBig { .. }) => return Err(window_too_large()),
                Err(error) => return Err(io::Error::other(error)),
            }
        }
    }

    /// Verifies the checksum of a frame whose content has been read, if it has one.
    fn verify(&self) -> io::Result<()> {
        let stated = self.decoder.get_checksum_from_data();
        if stated.is_some() && stated != self.decoder.get_calculated_checksum() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a zstd frame has a wrong checksum"));
        }
        Ok(())
    }
}

impl<R: BufRead> Read for Frames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            if !self.inside {
                if !self.next()? {
                    return Ok(0);
                }
                self.inside = true;
            }
            while self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
                let one = BlockDecodingStrategy::UptoBlocks(1);
                self.decoder.decode_blocks(&mut self.from, one).map_err(io::Error::other)?;
            }
            match self.decoder.read(buffer)? {
                0 => {
                    self.verify()?;
                    self.inside = false;
                }
                length => return Ok(length),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(bytes).unwrap();
        gzip.finish().unwrap()
    }

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
    }

    /// A skippable frame with three bytes of data.
    const SKIPPED: &[u8] = b"\x5a\x2a\x4d\x18\x03\0\0\0abc";

    fn unpacked(blob: &[u8]) -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        open(blob)?.read_to_end(&mut content)?;
        Ok(content)
    }

    #[test]
    fn members_and_frames_are_joined_and_skippable_frames_are_dropped() {
        let (a, b) = (vec![b'a'; 300_000], b"b".to_vec());
        let whole = [a.clone(), b.clone()].concat();
        for (what, blob) in [
            ("uncompressed", whole.clone()),
            ("one member", gzip(&whole)),
            ("two members", [gzip(&a), gzip(&b)].concat()),
            ("an empty member between", [gzip(&a), gzip(b""), gzip(&b)].concat()),
            ("one frame", zstd(&whole)),
            ("two frames", [zstd(&a), zstd(&b)].concat()),
            ("a skippable frame first", [SKIPPED.to_vec(), zstd(&whole)].concat()),
            ("skippable frames everywhere", [&zstd(&a), SKIPPED, SKIPPED, &zstd(b""), &zstd(&b), SKIPPED].concat()),
        ] {
            assert!(unpacked(&blob).unwrap() == whole, "{what}");
        }
    }

    #[test]
    fn a_truncated_layer_is_an_error() {
        let (gzip, zstd) = (gzip(&[b'a'; 1000]), zstd(&[b'a'; 1000]));
        for blob in [&gzip[..gzip.len() - 9], &zstd[..zstd.len() - 1], &SKIPPED[..SKIPPED.len() - 1], &SKIPPED[..5]] {
            assert!(unpacked(blob).is_err(), "{blob:?}");
        }
    }

    #[test]
    fn a_wrong_checksum_is_an_error() {
        let xz = b"\xfd7zXZ\0\0\x01i\"\xde6\x02\0!\x01\x16\0\0\0t/\xe5\xa3\x01\0\x03tool\0\xd1>\xf3\x20\
            \0\x01\x18\x04k\xe9\xf0\xa5\x90B\x99\r\x01\0\0\0\0\x01YZ";
        let (gzip, zstd) = (gzip(b"tool"), zstd(b"tool"));
        for (blob, checksum) in [(&gzip[..], gzip.len() - 8), (&zstd, zstd.len() - 4), (xz, 32)] {
            assert_eq!(unpacked(blob).unwrap(), b"tool");
            let mut damaged = blob.to_vec();
            damaged[checksum] ^= 1;
            assert!(unpacked(&damaged).is_err(), "{damaged:?}");
        }
    }

    #[test]
    fn what_follows_the_members_is_ignored_in_releases_only() {
        let members = [gzip(b"a"), gzip(b""), gzip(b"b")].concat();
        for rest in [&b""[..], &[0; 1000], b"more"] {
            let blob = [&members[..], rest].concat();
            let mut content = Vec::new();
            open_release(&blob[..]).unwrap().read_to_end(&mut content).unwrap();
            assert_eq!(content, b"ab");
            assert_eq!(unpacked(&blob).is_ok(), rest.is_empty());
        }
    }

    /// The beginning of an xz file whose only block asks for a dictionary of this size, by the
    /// [encoding](https://tukaani.org/xz/xz-file-format.txt) of section 5.3.1.
    fn xz_with_dictionary(encoded: u8) -> Vec<u8> {
        let checked = |bytes: &[u8]| {
            let mut crc = flate2::Crc::new();
            crc.update(bytes);
            [bytes, &crc.sum().to_le_bytes()].concat()
        };
        let no_check = checked(&[0, 0]);
        let header = checked(&[2, 0, 0x21, 1, encoded, 0, 0, 0]);
        [b"\xfd7zXZ\0".as_slice(), &no_check, &header].concat()
    }

    /// The beginning of a zstd frame that asks for a window of this size, by the
    /// [encoding](https://www.rfc-editor.org/rfc/rfc8878#section-3.1.1.1.2) of its exponent.
    fn zstd_with_window(exponent: u8) -> Vec<u8> {
        vec![0x28, 0xb5, 0x2f, 0xfd, 0, (exponent - 10) << 3]
    }

    #[test]
    fn what_asks_for_a_huge_window_is_refused_before_it_gets_any() {
        let refusal = |blob: &[u8]| unpacked(blob).unwrap_err().to_string();
        for (what, blob) in [
            ("a dictionary of 192 MiB", xz_with_dictionary(31)),
            ("a dictionary of 4 GiB", xz_with_dictionary(40)),
            ("a window of 256 MiB", zstd_with_window(28)),
            ("a window of 2 TiB", zstd_with_window(41)),
        ] {
            assert!(refusal(&blob).contains("a window of more than 128 MiB"), "{what}: {}", refusal(&blob));
        }
        // These windows are allowed; the files end too early.
        for blob in [xz_with_dictionary(28), xz_with_dictionary(30), zstd_with_window(27)] {
            assert!(!refusal(&blob).contains("a window"), "{}", refusal(&blob));
        }
    }

    #[test]
    fn a_layer_that_unpacks_to_too_much_is_an_error() {
        let mut bounded = Bounded { from: io::repeat(0), left: 1000 };
        let error = bounded.read_to_end(&mut Vec::new()).unwrap_err();
        assert!(error.to_string().contains("more than 16 GiB"), "{error}");
    }
}
