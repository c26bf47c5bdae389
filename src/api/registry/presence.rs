//! Digests, and [whether something is there](https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#checking-if-content-exists-in-the-registry),
//! without reading it.
//!
//! Asked by `HEAD`, which Docker Hub [doesn't count as a pull](https://docs.docker.com/docker-hub/usage/pulls/). Where the answer
//! names no usable digest, or may be due to the method ([`Trouble::concerns_method`]), the same is asked by `GET`.

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

/// Waits before looking again for a manifest that was just pushed, in units of [`Options::first_wait`](super::Options::first_wait):
/// large registries are eventually consistent. With the usual unit 0.5, 0.5, 2, 4, 8 and 16 seconds, 31 in all.
const READ_BACK: [u32; 6] = [2, 2, 8, 16, 32, 64];
/// The same for a manifest that another job has just pushed. With the usual unit 10 seconds in all.
const JUST_PUSHED: [u32; 6] = [2, 2, 4, 8, 12, 12];

/// The waits between looks for a manifest that may not be visible yet.
struct Patience {
    unit: Duration,
    waits: std::slice::Iter<'static, u32>,
}

impl Patience {
    /// Waits until the next attempt; false, at once, where the last one was made.
    async fn pause(&mut self) -> bool {
        let Some(wait) = self.waits.next() else { return false };
        tokio::time::sleep(self.unit * *wait).await;
        true
    }
}

impl Registries {
    /// The digest of what a reference names; `None` where there is no such tag, manifest or repository. What it is isn't looked at.
    ///
    /// # Errors
    /// A reference by digest is answered with another digest, or the registry fails us.
    pub async fn digest(&self, reference: &Reference) -> Result<Option<Digest>, RegistryError> {
        self.look(reference, Access::Pull).await
    }

    /// Whether a repository has a manifest or an index.
    ///
    /// # Errors
    /// The registry names another digest, or fails us.
    pub async fn has_manifest(&self, repository: &Repository, digest: &Digest) -> Result<bool, RegistryError> {
        Ok(self.look_at(repository, digest, Access::Push).await?.is_some())
    }

    /// Whether a repository has a manifest or an index that was pushed a moment ago. A registry that doesn't know it yet is asked
    /// again for 124 times [`Options::first_wait`](super::Options::first_wait), usually 31 seconds, before that means no.
    ///
    /// # Errors
    /// Those of [`Self::has_manifest`].
    pub async fn confirm(&self, to: &Repository, digest: &Digest) -> Result<bool, RegistryError> {
        let mut patience = self.patience(&READ_BACK);
        loop {
            let there = self.has_manifest(to, digest).await?;
            if there || !patience.pause().await {
                return Ok(there);
            }
        }
    }

    /// Whether a repository has every manifest that an index lists; a manifest is complete by itself. What those refer to isn't
    /// looked at.
    ///
    /// # Errors
    /// Those of [`Self::has_manifest`].
    pub async fn complete(&self, repository: &Repository, index: &Pulled) -> Result<bool, RegistryError> {
        let ManifestOrIndex::Index(index) = &index.content else { return Ok(true) };
        let children = index.manifests.iter().map(|child| self.look_at(repository, &child.digest, Access::Pull));
        let found = futures_util::future::try_join_all(children).await?;
        Ok(found.iter().all(Option::is_some))
    }

    /// Asks for something that may have been pushed a moment ago: while it is missing, again for 40 times
    /// [`Options::first_wait`](super::Options::first_wait), usually 10 seconds.
    ///
    /// # Errors
    /// Those of `ask`.
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
