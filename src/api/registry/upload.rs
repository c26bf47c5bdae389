//! Uploads of blobs:
//! [monolithic](https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#post-then-put), or [in
//! chunks](https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#pushing-a-blob-in-chunks) if that is
//! refused.

use std::time::Duration;

use reqwest::Method;
use reqwest::header::{CONTENT_RANGE, CONTENT_TYPE};
use tokio::time::Instant;
use url::Url;

use super::answer::Answer;
use super::auth::Access;
use super::call::{Call, Payload};
use super::error::{Cause, RegistryError};
use super::trouble::Trouble;
use super::{Registries, lock};
use crate::api::retry::Class;
use crate::image::{Descriptor, Repository};

/// The chunk sizes to try, in this order.
const CHUNKS: [u64; 4] = [16 << 20, 4 << 20, 1 << 20, 256 << 10];
/// An upload that takes longer than this has been transferring data: nothing else takes so long.
const LONG: Duration = Duration::from_secs(60);
/// How often such an upload doesn't count as failing.
const EXCUSES: u32 = 2;
const OCTETS: &str = "application/octet-stream";
/// Broken monolithic uploads before we switch to chunks: proxies often refuse a large body by hanging up.
const BROKEN: u32 = 3;

impl Registries {
    /// Uploads a blob, into the session that is already open, if there is one.
    pub(super) async fn upload(
        &self,
        to: &Repository,
        blob: &Descriptor,
        payload: &Payload<'_>,
        mut session: Option<Url>,
    ) -> Result<(), RegistryError> {
        let mut retry = self.retry();
        let (mut broken, mut excuses) = (0, EXCUSES);
        loop {
            let chunk = lock(&self.0.chunks).get(to.registry()).copied();
            let began = Instant::now();
            let Err(trouble) = self.upload_once(to, blob, payload, session.take(), chunk).await else {
                return Ok(());
            };
            if began.elapsed() > LONG && excuses > 0 {
                excuses -= 1;
                retry.excuse(began.elapsed());
            }
            broken += u32::from(matches!(trouble.cause, Cause::Broken(_)));
            if let Some(smaller) = smaller(&trouble, chunk, payload.length(), broken) {
                lock(&self.0.chunks).insert(to.registry().to_owned(), smaller);
                // Don't repeat the same attempt.
                if trouble.class() == Class::Permanent {
                    continue;
                }
            }
            retry.pause(trouble).await?;
            // Perhaps only the answer was lost.
            if self.has_blob(to, blob).await? {
                return Ok(());
            }
        }
    }

    pub(super) async fn open_upload(&self, to: &Repository) -> Result<Url, Trouble> {
        self.send(&Call::new(to, Access::Push, Method::POST, "blobs/uploads/", &[202])).await?.location()
    }

    async fn upload_once(
        &self,
        to: &Repository,
        blob: &Descriptor,
        payload: &Payload<'_>,
        session: Option<Url>,
        chunk: Option<u64>,
    ) -> Result<(), Trouble> {
        let mut at = match session {
            Some(session) => session,
            None => self.open_upload(to).await?,
        };
        let mut rest = payload.clone();
        if let Some(chunk) = chunk {
            at = self.send_chunks(to, payload, at, chunk).await?;
            rest = Payload::Sent(payload.length());
        }
        at.query_pairs_mut().append_pair("digest", blob.digest.as_str());
        let call =
            Call::new(to, Access::Push, Method::PUT, "", &[201, 204]).to(at).header(CONTENT_TYPE, OCTETS).payload(rest);
        self.send(&call).await.map(drop)
    }

    /// Sends all bytes, and returns the URL at which the upload has to be closed.
    async fn send_chunks(
        &self,
        to: &Repository,
        payload: &Payload<'_>,
        mut at: Url,
        chunk: u64,
    ) -> Result<Url, Trouble> {
        let mut from = 0;
        while from < payload.length() {
            let count = chunk.min(payload.length() - from);
            let call = Call::new(to, Access::Push, Method::PATCH, "", &[202, 204])
                .to(at)
                .header(CONTENT_TYPE, OCTETS)
                .header(CONTENT_RANGE, format!("{from}-{}", from + count - 1))
                .payload(payload.part(from, count));
            let answer = self.send(&call).await?;
            from += count;
            check_received(&answer, from)?;
            at = answer.location()?;
        }
        Ok(at)
    }
}

/// Checks that the registry's `Range` agrees with the bytes sent.
fn check_received(answer: &Answer, sent: u64) -> Result<(), Trouble> {
    let range = answer.header("range").map(|range| range.trim_start_matches("bytes=").to_owned());
    let received = range.as_deref().and_then(|range| range.split_once('-')?.1.parse::<u64>().ok());
    match received {
        Some(last) if last + 1 != sent => {
            let cause = Cause::Malformed(format!("it has {} bytes of {sent}", last + 1));
            Err(answer.trouble(cause))
        }
        _ => Ok(()),
    }
}

/// The chunk size to continue with, if the body was too large.
fn smaller(trouble: &Trouble, chunk: Option<u64>, length: u64, broken: u32) -> Option<u64> {
    let refused = match trouble.status() {
        Some(413) => true,
        // The registry has no monolithic uploads, or a proxy before it can't stream.
        Some(405 | 411 | 501) => chunk.is_none(),
        Some(_) => false,
        None => chunk.is_none() && broken >= BROKEN && trouble.request.method == "PUT",
    };
    let whole = trouble.status() == Some(413);
    let below = chunk.unwrap_or(u64::MAX).min(if whole { length } else { u64::MAX });
    CHUNKS.into_iter().find(|size| *size < below).filter(|_| refused)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::registry::{Answered, Request};

    fn trouble(status: u16) -> Trouble {
        let request = Request { repository: String::new(), method: "PUT".into(), path: String::new() };
        Trouble::new(request, Cause::Answered(Box::new(Answered::read(status, b"", None))))
    }

    #[test]
    fn chunks_become_smaller_until_they_are_accepted() {
        for (status, chunk, length, next) in [
            (413, None, 1 << 30, Some(16 << 20)),
            (413, None, 5 << 20, Some(4 << 20)),
            (413, Some(16 << 20), 1 << 30, Some(4 << 20)),
            (413, Some(256 << 10), 1 << 30, None),
            (413, None, 1000, None),
            (405, None, 1000, Some(16 << 20)),
            (501, None, 1000, Some(16 << 20)),
            (501, Some(16 << 20), 1000, None),
            (403, None, 1 << 30, None),
            (500, None, 1 << 30, None),
        ] {
            assert_eq!(smaller(&trouble(status), chunk, length, 0), next, "{status} {chunk:?} {length}");
        }
    }
}
