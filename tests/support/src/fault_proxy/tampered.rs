//! A body that is counted while it passes through, and cut, ended, changed or delayed at an exact byte.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::Sleep;

use crate::http::Failure;

/// What is done to a body.
#[derive(Debug)]
pub(super) enum Tampering {
    None,
    /// It fails after some bytes, which closes the connection.
    Cut {
        after: u64,
    },
    /// It ends after some bytes as if it were complete.
    End {
        after: u64,
    },
    /// The lowest bit of one byte is flipped.
    Flip {
        at: u64,
    },
    /// It pauses after some bytes.
    Stall {
        after: u64,
        duration: Duration,
    },
}

/// A body under [`Tampering`].
#[derive(Debug)]
pub(super) struct Tampered {
    inner: Incoming,
    tampering: Tampering,
    passed: Arc<AtomicU64>,
    /// The rest of a frame, behind the byte at which something happens.
    held: Option<Bytes>,
    asleep: Option<Pin<Box<Sleep>>>,
}

impl Tampered {
    pub(super) fn new(inner: Incoming, tampering: Tampering, passed: Arc<AtomicU64>) -> Self {
        Self { inner, tampering, passed, held: None, asleep: None }
    }

    fn pass(&self, data: Bytes) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        self.passed.fetch_add(data.len() as u64, Ordering::Relaxed);
        Poll::Ready(Some(Ok(Frame::data(data))))
    }

    /// How many of `length` bytes may pass before `after` bytes have passed in total.
    fn room(&self, after: u64, length: usize) -> usize {
        let left = after.saturating_sub(self.passed.load(Ordering::Relaxed));
        usize::try_from(left).unwrap_or(usize::MAX).min(length)
    }
}

impl Body for Tampered {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        if let Some(asleep) = &mut self.asleep {
            ready!(asleep.as_mut().poll(context));
            self.asleep = None;
        }
        match self.tampering {
            Tampering::Cut { after } if self.room(after, 1) == 0 => {
                return Poll::Ready(Some(Err("cut by the proxy".into())));
            }
            Tampering::End { after } if self.room(after, 1) == 0 => return Poll::Ready(None),
            _ => {}
        }
        let data = match self.held.take() {
            Some(held) => held,
            None => match ready!(Pin::new(&mut self.inner).poll_frame(context)) {
                None => return Poll::Ready(None),
                Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => data,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
            },
        };
        match self.tampering {
            Tampering::None => self.pass(data),
            Tampering::Cut { after } | Tampering::End { after } => {
                let room = self.room(after, data.len());
                self.pass(data.slice(..room))
            }
            Tampering::Flip { at } => {
                let before = self.room(at, data.len());
                if before == data.len() || self.passed.load(Ordering::Relaxed) > at {
                    return self.pass(data);
                }
                let mut changed = BytesMut::from(data);
                changed[before] ^= 1;
                self.pass(changed.freeze())
            }
            Tampering::Stall { after, duration } => {
                let room = self.room(after, data.len());
                if room == data.len() {
                    return self.pass(data);
                }
                self.tampering = Tampering::None;
                self.held = Some(data.slice(room..));
                self.asleep = Some(Box::pin(tokio::time::sleep(duration)));
                if room == 0 {
                    return self.poll_frame(context);
                }
                self.pass(data.slice(..room))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self.tampering {
            // A fault at a byte that never comes has no effect.
            Tampering::Cut { .. } => false,
            _ => self.held.is_none() && self.inner.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self.tampering {
            Tampering::End { .. } => SizeHint::default(),
            _ if self.held.is_some() => SizeHint::default(),
            _ => self.inner.size_hint(),
        }
    }
}
