//! Reads and writes
//! [manifests](https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#pulling-manifests), indexes and
//! tags.

use bytes::Bytes;
use reqwest::Method;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use serde::Deserialize;

use super::Registries;
use super::answer::Answer;
use super::auth::Access;
use super::blobs::Ensured;
use super::call::{Call, Payload};
use super::error::{Cause, RegistryError, Request};
use super::trouble::Trouble;
use crate::image::manifest::{ACCEPTED, ManifestOrIndex};
use crate::image::{Digest, Document, PinnedReference, Reference, Repository, Tag};

/// The size that every registry must accept for a manifest. Hardly any accepts more.
const MANIFEST: u64 = 4 * 1024 * 1024;
const DIGEST_HEADER: &str = "docker-content-digest";

/// A manifest or an index as a registry returned it.
#[derive(Clone, Debug)]
pub struct Pulled {
    /// The repository that it was pulled from, and the digest of the document.
    pub reference: PinnedReference,
    /// The parsed document.
    pub content: ManifestOrIndex,
    /// The bytes, under the media type that the registry sent.
    pub document: Document,
}

/// The bytes of a manifest or an index, not yet parsed.
pub(super) struct Fetched {
    request: Request,
    /// The `Content-Type`; empty if there is none.
    announced: String,
    bytes: Bytes,
    /// The digest of the bytes. It matches the one that was asked for, and the one that the registry named.
    pub(super) digest: Digest,
}

impl Registries {
    /// Reads the image that a reference names.
    ///
    /// # Errors
    /// It doesn't exist or isn't an image, or the registry fails.
    pub async fn resolve(&self, reference: &Reference) -> Result<Pulled, RegistryError> {
        self.find(reference).await?.ok_or_else(|| RegistryError::Missing(reference.to_string()))
    }

    /// Reads the image that a reference names; `None` if there is no such tag, manifest or repository.
    ///
    /// # Errors
    /// It isn't an image, or the registry fails.
    pub async fn find(&self, reference: &Reference) -> Result<Option<Pulled>, RegistryError> {
        let mut retry = self.retry();
        loop {
            match self.pull_once(reference).await {
                Ok(pulled) => return Ok(pulled),
                Err(trouble) => retry.pause(trouble).await?,
            }
        }
    }

    /// Reads a manifest or an index by its digest.
    ///
    /// # Errors
    /// It doesn't exist or isn't an image, or the registry fails.
    pub async fn manifest(&self, reference: &PinnedReference) -> Result<Pulled, RegistryError> {
        self.resolve(&reference.clone().into()).await
    }

    /// Pushes a manifest or an index by digest, unless it is there. Everything that it refers to must be there.
    ///
    /// # Errors
    /// The registry fails.
    pub async fn ensure_manifest(&self, to: &Repository, document: &Document) -> Result<Ensured, RegistryError> {
        if self.has_manifest(to, document.digest()).await? {
            return Ok(Ensured::AlreadyThere);
        }
        let mut retry = self.retry();
        while let Err(trouble) = self.put_once(to, document.digest().as_str(), document).await {
            if let Err(error) = retry.pause(trouble).await {
                self.unless_there(error, to, document.digest().as_str(), document).await?;
                break;
            }
        }
        Ok(Ensured::Pushed)
    }

    /// Makes a tag name a document. Everything that the document refers to must be there. `from` is what the tag named
    /// a moment ago; `None` if it didn't exist. A refusal counts as success if the tag names the document afterwards: the
    /// answer to an earlier attempt may have been lost, and some registries have immutable tags.
    ///
    /// Returns false if the tag names something else before an attempt is repeated: then another run has written it.
    ///
    /// # Errors
    /// The registry fails.
    pub async fn move_tag(
        &self,
        to: &Repository,
        tag: &Tag,
        from: Option<&Digest>,
        document: &Document,
    ) -> Result<bool, RegistryError> {
        let mut retry = self.retry();
        while let Err(trouble) = self.put_once(to, tag.as_str(), document).await {
            if let Err(error) = retry.pause(trouble).await {
                self.unless_there(error, to, tag.as_str(), document).await?;
                break;
            }
            let now = self.digest(&to.tagged(tag.clone())).await?;
            if now.as_ref() == Some(document.digest()) {
                break;
            }
            if now.as_ref() != from {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn pull_once(&self, reference: &Reference) -> Result<Option<Pulled>, Trouble> {
        let Some(fetched) = self.fetch(reference, Access::Pull).await? else { return Ok(None) };
        let Fetched { request, announced, bytes, digest } = fetched;
        let media_type = media_type(announced, &bytes);
        let content = ManifestOrIndex::parse(&media_type, &bytes).map_err(|cause| {
            Trouble::other(request, RegistryError::Invalid { reference: reference.to_string(), cause })
        })?;
        let document = Document::received(&media_type, bytes);
        Ok(Some(Pulled { reference: reference.repository().pinned(digest), content, document }))
    }

    /// Reads the bytes that a reference names, without retrying; `None` if there is no such tag, manifest or
    /// repository.
    pub(super) async fn fetch(&self, reference: &Reference, access: Access<'_>) -> Result<Option<Fetched>, Trouble> {
        let rest = format!("manifests/{}", reference.target());
        let call = Call::new(reference.repository(), access, Method::GET, rest, &[200, 404]).header(ACCEPT, ACCEPTED);
        let answer = self.send(&call).await?;
        if answer.status() == 404 {
            return Ok(None);
        }
        let request = answer.request.clone();
        let named = named_digest(&answer);
        let announced = answer.header("content-type").unwrap_or_default().to_owned();
        let bytes = answer.bytes(&reference.to_string(), MANIFEST).await?;
        let digest = Digest::of(&bytes);
        if let Some(other) = named.as_ref().into_iter().chain(reference.digest()).find(|named| **named != digest) {
            let cause = Cause::Mismatch { expected: other.clone(), found: digest.to_string() };
            return Err(Trouble::new(request, cause));
        }
        Ok(Some(Fetched { request, announced, bytes, digest }))
    }

    async fn put_once(&self, to: &Repository, target: &str, document: &Document) -> Result<(), Trouble> {
        let call = Call::new(to, Access::Push, Method::PUT, format!("manifests/{target}"), &[200, 201, 202])
            .header(CONTENT_TYPE, document.media_type())
            .payload(Payload::Bytes(document.bytes().clone()));
        same_digest(&self.send(&call).await?, document.digest())
    }

    /// The error of a push, unless a last lookup finds that the tag or digest names the document after all.
    async fn unless_there(
        &self,
        error: RegistryError,
        to: &Repository,
        target: &str,
        document: &Document,
    ) -> Result<(), RegistryError> {
        let call = Call::new(to, Access::Push, Method::HEAD, format!("manifests/{target}"), &[200]);
        let answer = self.send(&call.header(ACCEPT, ACCEPTED)).await;
        let is_there = answer.is_ok_and(|answer| named_digest(&answer).as_ref() == Some(document.digest()));
        if is_there { Ok(()) } else { Err(error) }
    }
}

/// The digest in a response; `None` if there is none, or one of another algorithm.
pub(super) fn named_digest(answer: &Answer) -> Option<Digest> {
    answer.header(DIGEST_HEADER)?.parse().ok()
}

pub(super) fn same_digest(answer: &Answer, digest: &Digest) -> Result<(), Trouble> {
    match named_digest(answer) {
        Some(other) if other != *digest => {
            let cause = Cause::Mismatch { expected: digest.clone(), found: other.to_string() };
            Err(answer.trouble(cause))
        }
        _ => Ok(()),
    }
}

/// The media type that the registry sent, without parameters such as `charset`, or if that isn't one of an image, the
/// one in the document.
fn media_type(announced: String, bytes: &[u8]) -> String {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Itself {
        media_type: Option<String>,
    }
    let itself = || serde_json::from_slice::<Itself>(bytes).ok().and_then(|itself| itself.media_type);
    let named = if announced.contains("vnd.") { announced } else { itself().unwrap_or(announced) };
    named.split(';').next().unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_document_sent_as_json_states_its_own_media_type() {
        let index = br#"{"mediaType":"application/vnd.oci.image.index.v1+json"}"#;
        for (announced, bytes, media_type) in [
            ("application/vnd.docker.x", &index[..], "application/vnd.docker.x"),
            ("application/json", index, "application/vnd.oci.image.index.v1+json"),
            ("", index, "application/vnd.oci.image.index.v1+json"),
            ("text/plain", b"{}", "text/plain"),
            ("text/plain", b"no JSON", "text/plain"),
            ("application/vnd.docker.x; charset=utf-8", index, "application/vnd.docker.x"),
            ("application/json; charset=utf-8", b"{}", "application/json"),
            ("application/json", br#"{"mediaType":"application/vnd.x;\n"}"#, "application/vnd.x"),
        ] {
            assert_eq!(super::media_type(announced.to_owned(), bytes), media_type);
        }
    }
}
