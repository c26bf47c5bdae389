//! Archives from the engine, read entry by entry while they arrive.

use std::io::{self, Read};

use bytes::{Buf as _, Bytes};
use futures_util::StreamExt as _;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;

use super::error::Cause;
use super::http::Body;
use crate::image::Digest;

/// How many chunks may be buffered for the reader.
const AHEAD: usize = 16;
const BUFFER: usize = 128 * 1024;

/// Lets `read` read `body` on a thread that may block. Dropping the future ends both.
pub(super) async fn read_archive<T: Send + 'static>(
    body: Body,
    read: impl FnOnce(&mut tar::Archive<Arriving>) -> io::Result<T> + Send + 'static,
) -> Result<T, Cause> {
    on_thread(body, |mut archive| {
        let read = read(&mut archive)?;
        // Without the end of the archive, the connection was cut.
        io::copy(&mut archive.into_inner(), &mut io::sink())?;
        Ok(read)
    })
    .await
}

/// Like [`read_archive`], for a part at the beginning of the archive: the connection is closed as soon as `read` returns.
pub(super) async fn read_head<T: Send + 'static>(
    body: Body,
    read: impl FnOnce(&mut tar::Archive<Arriving>) -> io::Result<T> + Send + 'static,
) -> Result<T, Cause> {
    on_thread(body, |mut archive| read(&mut archive)).await
}

async fn on_thread<T: Send + 'static>(
    mut body: Body,
    read: impl FnOnce(tar::Archive<Arriving>) -> io::Result<T> + Send + 'static,
) -> Result<T, Cause> {
    let (sender, receiver) = mpsc::channel(AHEAD);
    let reader =
        tokio::task::spawn_blocking(move || read(tar::Archive::new(Arriving { receiver, chunk: Bytes::new() })));
    while let Some(chunk) = body.next().await {
        // A reader that has ended early has either what it wants or an error to report.
        if sender.send(chunk.map_err(io::Error::other)).await.is_err() {
            break;
        }
    }
    drop(sender);
    let read: io::Result<T> = reader.await.map_err(|error| Cause::new(&error))?;
    read.map_err(|error| match error.kind() {
        // These errors don't come from the connection, and would occur again.
        io::ErrorKind::NotFound | io::ErrorKind::StorageFull => Cause::text(error.to_string()),
        _ => Cause::new(&error),
    })
}

/// The bytes of a body, for a thread that waits for them.
pub(super) struct Arriving {
    receiver: mpsc::Receiver<io::Result<Bytes>>,
    chunk: Bytes,
}

impl Read for Arriving {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.chunk.is_empty() {
            match self.receiver.blocking_recv() {
                Some(chunk) => self.chunk = chunk?,
                None => return Ok(0),
            }
        }
        let length = self.chunk.len().min(buffer.len());
        self.chunk.copy_to_slice(&mut buffer[..length]);
        Ok(length)
    }
}

/// Copies all of `from` to `to`. Returns the digest and the length of the copy.
pub(super) fn copy(from: &mut impl Read, to: &mut impl io::Write) -> io::Result<(Digest, u64)> {
    let (mut hash, mut size, mut buffer) = (Sha256::new(), 0, vec![0; BUFFER]);
    loop {
        let length = from.read(&mut buffer)?;
        if length == 0 {
            return Ok((Digest::from_hash(hash), size));
        }
        hash.update(&buffer[..length]);
        to.write_all(&buffer[..length])?;
        size += length as u64;
    }
}
