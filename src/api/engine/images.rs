//! Images in the engine's store, pulled from registries or built there.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::error::{Cause, FREE_ENGINE};
use super::janitor::{Chore, Making};
use super::{Engine, EngineError, Shared, until_answered};
use crate::api::retry::says_refused;
use crate::credentials::Credential;
use crate::hint::Input;
use crate::image::{Digest, PinnedReference, Platform};

/// A pull without any message for this long is started again. Engines report progress twice a second.
const SILENCE: Duration = Duration::from_secs(180);

/// An image on the engine. If the run built or loaded it, it is removed when this value is dropped.
#[derive(Debug)]
pub struct LocalImage {
    engine: Engine,
    name: String,
    chore: Option<Chore>,
}

impl LocalImage {
    pub(super) fn new(engine: &Engine, name: String, chore: Chore) -> Self {
        Self { engine: engine.clone(), name, chore: Some(chore) }
    }

    /// An image that was there before the run, and stays there.
    pub(super) fn of_others(engine: &Engine, name: String) -> Self {
        Self { engine: engine.clone(), name, chore: None }
    }

    /// Its name on the engine.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The engine that it is on.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The engine's description of it: `Config`, `RootFS`, `Architecture`, …
    ///
    /// # Errors
    /// The engine doesn't answer.
    pub async fn inspect(&self) -> Result<Value, EngineError> {
        let ask = || {
            let what = format!("inspect image `{}`", self.name);
            self.engine.shared.http.get(format!("/images/{}/json", self.name), what).json()
        };
        until_answered(ask).await
    }
}

impl Drop for LocalImage {
    fn drop(&mut self) {
        self.chore.take().into_iter().for_each(|chore| self.engine.janitor.hand(chore));
    }
}

/// The progress of a pull in bytes. `total` grows while layers are discovered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes that have been downloaded.
    pub current: u64,
    /// Bytes that are known to be needed.
    pub total: u64,
}

/// Keeps an image from a registry on the engine. It is removed with its last lease, if the run pulled it.
#[derive(Debug)]
pub struct ImageLease {
    engine: Engine,
    reference: PinnedReference,
    base: Arc<Base>,
}

/// An image from a registry that the run uses.
#[derive(Debug, Default)]
pub(super) struct Base {
    waiting: AtomicUsize,
    presence: Mutex<Presence>,
    reference: Option<PinnedReference>,
    /// The digest of its config, by which classic stores know it, unless they had such an image before.
    config: Mutex<Option<Digest>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Presence {
    #[default]
    Unknown,
    /// It was there before the run, and isn't ours to remove.
    Theirs,
    /// The run began to pull it, and may have been interrupted.
    Begun,
    /// The run pulled it.
    Ours,
    /// The run pulled it, and removed it again.
    Removed,
}

impl Engine {
    /// Announces that the image `reference` (the manifest for one platform) is needed, without pulling it yet.
    #[must_use]
    pub fn lease(&self, reference: &PinnedReference) -> ImageLease {
        let mut bases = self.shared.ledger.bases();
        let base = bases
            .entry(reference.clone())
            .or_insert_with(|| Arc::new(Base { reference: Some(reference.clone()), ..Base::default() }));
        base.waiting.fetch_add(1, Ordering::SeqCst);
        ImageLease { engine: self.clone(), reference: reference.clone(), base: Arc::clone(base) }
    }
}

impl ImageLease {
    pub(super) fn engine(&self) -> &Engine {
        &self.engine
    }

    pub(super) fn reference(&self) -> &PinnedReference {
        &self.reference
    }

    /// Pulls the image, unless the engine has it. `config` is the digest of its config, by which the engine may know
    /// it. Transient failures of the registry are retried.
    ///
    /// # Errors
    /// The image can't be pulled.
    pub async fn pull(
        &self,
        platform: &Platform,
        config: &Digest,
        progress: &(dyn Fn(Progress) + Sync),
    ) -> Result<(), EngineError> {
        let mut presence = self.base.presence.lock().await;
        if matches!(*presence, Presence::Theirs | Presence::Ours) {
            return Ok(());
        }
        let shared = &self.engine.shared;
        if *presence == Presence::Unknown {
            if shared.image(&self.reference.to_string()).await?.is_some() {
                *presence = Presence::Theirs;
                return Ok(());
            }
            // Our pull would give a name to somebody else's unnamed image, and removing that name would then remove the
            // image.
            for id in [config, self.reference.digest()] {
                match shared.image(id.as_str()).await? {
                    Some(image) if is_nameless(&image) => *presence = Presence::Theirs,
                    None if id == config => *self.base.config.lock().await = Some(config.clone()),
                    _ => {}
                }
            }
        }
        if *presence != Presence::Theirs {
            *presence = Presence::Begun;
        }
        let making = Making::begin(&shared.ledger);
        let mut retry = self.engine.retry();
        while let Err(cause) = self.pull_once(platform, progress).await {
            cause.pause(&mut retry).await.map_err(|cause| self.explain(cause))?;
        }
        making.made();
        if *presence != Presence::Theirs {
            *presence = Presence::Ours;
        }
        Ok(())
    }

    /// Asks for something about the pulled image. Another run on the same engine may have removed the image as if it
    /// were its own; then it is pulled again. (In a build, BuildKit does that by itself.)
    ///
    /// # Errors
    /// The errors of `ask`; or the image can't be pulled again.
    pub async fn ask<T, F>(&self, platform: &Platform, config: &Digest, ask: impl Fn() -> F) -> Result<T, EngineError>
    where
        F: Future<Output = Result<T, EngineError>>,
    {
        for _ in 0..3 {
            match ask().await {
                Err(error) if error.status() == Some(404) => {
                    *self.base.presence.lock().await = Presence::Removed;
                    self.pull(platform, config, &|_| {}).await?;
                }
                answer => return answer,
            }
        }
        ask().await
    }

    async fn pull_once(&self, platform: &Platform, progress: &(dyn Fn(Progress) + Sync)) -> Result<(), Cause> {
        let mut request = self
            .engine
            .shared
            .http
            .post("/images/create", "pull")
            .query("fromImage", self.reference.repository().to_string())
            .query("tag", self.reference.digest().as_str())
            .query("platform", platform.to_string());
        let repository = self.reference.repository();
        if let Some(credential) = Credential::find(&*self.engine.credentials, repository) {
            let address = hub_address(repository.registry(), "https://index.docker.io/v1/");
            let secret = credential.password.expose();
            let login = if credential.is_identity_token() {
                json!({ "identitytoken": secret, "serveraddress": address })
            } else {
                json!({ "username": credential.username, "password": secret, "serveraddress": address })
            };
            request = request.header("X-Registry-Auth", URL_SAFE.encode(login.to_string()));
        }
        let silent = |_| Cause::text(format!("timed out: no message about the pull for {} s", SILENCE.as_secs()));
        let answer = tokio::time::timeout(SILENCE, request.unlimited_stream()).await.map_err(silent)?;
        let mut body = answer.map_err(|error| match error {
            EngineError::Request { cause, .. } => cause,
            other => Cause::new(&other),
        })?;
        let mut layers = std::collections::BTreeMap::<String, Progress>::new();
        let mut rest = Vec::new();
        while let Some(chunk) = tokio::time::timeout(SILENCE, body.next()).await.map_err(silent)? {
            rest.extend_from_slice(&chunk?);
            while let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = rest.drain(..=end).collect();
                // Incomplete and unknown messages are ignored.
                let Ok(message) = serde_json::from_slice::<Value>(&line) else { continue };
                if let Some(error) = message["errorDetail"]["message"].as_str().or(message["error"].as_str()) {
                    return Err(Cause::text(error));
                }
                if let Some(known) = downloaded(&message, &mut layers) {
                    progress(known);
                }
            }
        }
        Ok(())
    }

    fn explain(&self, cause: Cause) -> EngineError {
        let hints = if says_refused(cause.message()) && !self.engine.shared.is_private {
            "the connection to the engine has no TLS, so it gets no credentials; use an engine on this machine".into()
        } else if says_refused(cause.message()) {
            format!(
                "check the line of this registry in {}, and that its account may pull the image",
                Input("credentials")
            )
            .into()
        } else if cause.message().to_lowercase().contains("no space left") {
            FREE_ENGINE.into()
        } else {
            "check that the engine reaches that registry: try `docker pull` of the same image".into()
        };
        EngineError::Pull { reference: self.reference.to_string(), hints, cause }
    }
}

impl Drop for ImageLease {
    fn drop(&mut self) {
        if self.base.waiting.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.engine.janitor.hand(Chore::Pulled(self.reference.clone()));
        }
    }
}

impl Base {
    /// Removes the image if it is ours and no lease waits for it. Returns whether it did.
    pub(super) async fn remove(&self, shared: &Shared) -> Result<bool, EngineError> {
        // A pull in progress holds the lock: then a lease waits for the image, and its end brings us back here.
        let Ok(mut presence) = self.presence.try_lock() else { return Ok(false) };
        let Some(reference) = &self.reference else { return Ok(false) };
        if self.waiting.load(Ordering::SeqCst) > 0 || !matches!(*presence, Presence::Begun | Presence::Ours) {
            return Ok(false);
        }
        let mut found = false;
        // An interrupted pull may leave the image without its name. There was no unnamed one before.
        let ids = self.config.lock().await;
        for name in [Some(reference.to_string()), ids.as_ref().map(ToString::to_string)].into_iter().flatten() {
            let Some(image) = shared.image(&name).await? else { continue };
            if name.contains('@') || is_nameless(&image) {
                found = true;
                shared.remove_image(&name).await?;
            }
        }
        // An image whose pull was only begun may still appear: the last look decides.
        if *presence == Presence::Ours {
            *presence = Presence::Removed;
        }
        Ok(found)
    }
}

impl Shared {
    pub(super) async fn image(&self, name: &str) -> Result<Option<Value>, EngineError> {
        let ask = || self.http.get(format!("/images/{name}/json"), format!("inspect image `{name}`")).json();
        match until_answered(ask).await {
            Ok(image) => Ok(Some(image)),
            Err(error) if error.status() == Some(404) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// For credentials, Docker Hub has other names.
pub(super) fn hub_address<'a>(registry: &'a str, hub: &'a str) -> &'a str {
    if registry == crate::image::reference::DOCKER_HUB { hub } else { registry }
}

pub(super) fn is_nameless(image: &Value) -> bool {
    ["RepoTags", "RepoDigests"].iter().all(|list| image[list].as_array().is_none_or(Vec::is_empty))
}

/// The sum over all layers after `message`, if that is about a layer.
fn downloaded(message: &Value, layers: &mut std::collections::BTreeMap<String, Progress>) -> Option<Progress> {
    let layer = layers.entry(message["id"].as_str()?.to_owned()).or_default();
    match message["status"].as_str()? {
        "Downloading" => {
            let detail = &message["progressDetail"];
            *layer = Progress { current: detail["current"].as_u64()?, total: detail["total"].as_u64()? };
        }
        "Download complete" | "Pull complete" => layer.current = layer.total,
        _ => return None,
    }
    let sum = |sum: Progress, next: &Progress| Progress {
        current: sum.current + next.current,
        total: sum.total + next.total,
    };
    Some(layers.values().fold(Progress::default(), sum))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_the_sum_over_the_layers() {
        let mut layers = std::collections::BTreeMap::new();
        let mut tell = |message: Value| downloaded(&message, &mut layers);
        assert_eq!(tell(json!({ "status": "Pulling from a", "id": "sha256:0" })), None);
        let download = |id, current| json!({ "status": "Downloading", "id": id, "progressDetail": { "current": current, "total": 10 } });
        tell(download("a", 4));
        assert_eq!(tell(download("b", 1)), Some(Progress { current: 5, total: 20 }));
        let done = tell(json!({ "status": "Download complete", "id": "a", "progressDetail": {} }));
        assert_eq!(done, Some(Progress { current: 11, total: 20 }));
    }
}
