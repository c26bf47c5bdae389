//! Digests, and [whether something is there](https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#checking-if-content-exists-in-the-registry),
//! without reading it.
//!
//! Lookups use `HEAD`, which Docker Hub [doesn't count as a pull](https://docs.docker.com/docker-hub/usage/pulls/). If
//! the answer has no usable digest, or may be due to the method ([`Trouble::concerns_method`]), they fall back to
//! `GET`.

use std::time::Duration;

use reqwest::Method;
use reqwest::header::ACCEPT;

use super::Registries;
use super::auth::Access;
use super::call::Call;
use super::error::RegistryError;
use super::manifests::{Pulled, named_digest, same_digest};
use super::trouble::Trouble;
use crate::image::manifest::{ACCEPTED, ManifestOrIndex};
use crate::image::{Digest, Reference, Repository};

/// Waits between lookups of a manifest that was just pushed, in units of
/// [`Options::first_wait`](super::Options::first_wait): large registries are eventually consistent. With the default
/// unit they are 0.5, 0.5, 2, 4, 8 and 16 seconds, 31 in total.
const READ_BACK: [u32; 6] = [2, 2, 8, 16, 32, 64];
/// Like [`READ_BACK`], for a manifest that another job has just pushed. With the default unit, the waits take 10
/// seconds in total.
const JUST_PUSHED: [u32; 6] = [2, 2, 4, 8, 12, 12];

/// Like [`READ_BACK`], for tags: the first wait comes after they were written for the first time. While a registry
/// returns what a tag named before, or another run writes the same tags, they are written again. With the default unit,
/// the waits take 33 seconds in total.
const TAGS: [u32; 19] = [0, 2, 2, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8];

/// The waits between lookups of something that may not be visible yet.
pub struct Patience {
    unit: Duration,
    waits: std::slice::Iter<'static, u32>,
}

impl Patience {
    /// Waits until the next attempt. Returns false immediately after the last one.
    pub async fn pause(&mut self) -> bool {
        let Some(wait) = self.waits.next() else { return false };
        tokio::time::sleep(self.unit * *wait).await;
        true
    }
}

impl Registries {
    /// The digest that a reference names; `None` if there is no such tag, manifest or repository. The content isn't
    /// read.
    ///
    /// # Errors
    /// The registry returns another digest for a reference by digest, or fails.
    pub async fn digest(&self, reference: &Reference) -> Result<Option<Digest>, RegistryError> {
        self.look(reference, Access::Pull).await
    }

    /// Whether a repository has a manifest or an index.
    ///
    /// # Errors
    /// The registry returns another digest, or fails.
    pub async fn has_manifest(&self, repository: &Repository, digest: &Digest) -> Result<bool, RegistryError> {
        Ok(self.look_at(repository, digest, Access::Push).await?.is_some())
    }

    /// Whether a repository has a manifest or an index that was just pushed. If the registry doesn't have it yet, the
    /// lookup is repeated for 124 times [`Options::first_wait`](super::Options::first_wait), by default 31 seconds.
    ///
    /// # Errors
    /// The errors of [`Self::has_manifest`].
    pub async fn confirm(&self, to: &Repository, digest: &Digest) -> Result<bool, RegistryError> {
        let mut patience = self.patience(&READ_BACK);
        loop {
            let there = self.has_manifest(to, digest).await?;
            if there || !patience.pause().await {
                return Ok(there);
            }
        }
    }

    /// Whether a repository has every manifest that an index lists. A single manifest is complete by itself. What the
    /// manifests refer to isn't looked up.
    ///
    /// # Errors
    /// The errors of [`Self::has_manifest`].
    pub async fn complete(&self, repository: &Repository, index: &Pulled) -> Result<bool, RegistryError> {
        let ManifestOrIndex::Index(index) = &index.content else { return Ok(true) };
        let children = index.manifests.iter().map(|child| self.look_at(repository, &child.digest, Access::Pull));
        let found = futures_util::future::try_join_all(children).await?;
        Ok(found.iter().all(Option::is_some))
    }

    /// Requests something that may have been pushed a moment ago. While it is missing, the request is repeated for 40
    /// times [`Options::first_wait`](super::Options::first_wait), by default 10 seconds.
    ///
    /// # Errors
    /// The errors of `ask`.
    pub async fn patiently<T, F>(&self, ask: impl Fn() -> F) -> Result<T, RegistryError>
    where
        F: Future<Output = Result<T, RegistryError>>,
    {
        let mut patience = self.patience(&JUST_PUSHED);
        loop {
            match ask().await {
                Err(RegistryError::Missing(_)) if patience.pause().await => {}
                answer => return answer,
            }
        }
    }

    /// The waits between requests for a list of tags that lacks what was pushed, which take 10 seconds in total.
    #[must_use]
    pub fn patience_with_lists(&self) -> Patience {
        self.patience(&JUST_PUSHED)
    }

    /// The waits between looks at all tags of a run, of which there are 20.
    #[must_use]
    pub fn patience_with_tags(&self) -> Patience {
        self.patience(&TAGS)
    }

    fn patience(&self, waits: &'static [u32]) -> Patience {
        Patience { unit: self.0.options.first_wait, waits: waits.iter() }
    }

    async fn look_at(
        &self,
        repository: &Repository,
        digest: &Digest,
        access: Access<'_>,
    ) -> Result<Option<Digest>, RegistryError> {
        self.look(&repository.pinned(digest.clone()).into(), access).await
    }

    async fn look(&self, reference: &Reference, access: Access<'_>) -> Result<Option<Digest>, RegistryError> {
        let mut retry = self.retry();
        loop {
            match self.look_once(reference, access).await {
                Ok(found) => return Ok(found),
                Err(trouble) => retry.pause(trouble).await?,
            }
        }
    }

    async fn look_once(&self, reference: &Reference, access: Access<'_>) -> Result<Option<Digest>, Trouble> {
        let rest = format!("manifests/{}", reference.target());
        let call = Call::new(reference.repository(), access, Method::HEAD, rest, &[200, 404]).header(ACCEPT, ACCEPTED);
        match self.send(&call).await {
            Ok(answer) if answer.status() == 404 => return Ok(None),
            Ok(answer) => {
                if let Some(named) = named_digest(&answer) {
                    reference.digest().map_or(Ok(()), |asked| same_digest(&answer, asked))?;
                    return Ok(Some(named));
                }
            }
            Err(trouble) if trouble.concerns_method() => {}
            Err(trouble) => return Err(trouble),
        }
        Ok(self.fetch(reference, access).await?.map(|fetched| fetched.digest))
    }
}
