//! The builder that uses the Docker Engine, and the comparison of what it built with what was composed.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Weak};

use futures_util::TryStreamExt as _;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tokio::sync::Mutex;
use tokio_util::io::{StreamReader, SyncIoBridge};

use super::compose::Composed;
use super::dockerfile;
use super::recipe::{DESTINATION, Recipe, ResolvedImage};
use crate::api::engine::{Container, Engine, EngineError, LocalImage};
use crate::error::{Fault, Situation};
use crate::image::layer::{Executable, Layer};
use crate::image::manifest::InvalidManifest;
use crate::image::{Digest, PinnedReference, Platform};

/// What the engine built is not what will be published.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// Other layers than the base's and the new ones.
    #[error(
        "the engine's image of variant `{variant}` for `{platform}` has {found} layers of which {common} are the base's, \
         and should have {expected} of which {} are", expected - new
    )]
    Layers {
        /// The variant.
        variant: String,
        /// Its platform.
        platform: Platform,
        /// How many there are.
        found: usize,
        /// How many there should be.
        expected: usize,
        /// How many of these come on top of the base.
        new: usize,
        /// How many are the base's.
        common: usize,
    },
    /// Another config than the composed one.
    #[error(
        "the engine's image of variant `{variant}` for `{platform}` differs in `{field}`: \
         the engine has {engine}, composed was {composed}"
    )]
    Config {
        /// The variant.
        variant: String,
        /// Its platform.
        platform: Platform,
        /// The field of the config.
        field: String,
        /// What the engine says.
        engine: Value,
        /// What would be published.
        composed: Value,
    },
    /// Another file than in the layer.
    #[error(
        "`{path}` in the engine's image of variant `{variant}` for `{platform}` is not the one that would be published: {difference}"
    )]
    Executable {
        /// The variant.
        variant: String,
        /// Its platform.
        platform: Platform,
        /// The file.
        path: String,
        /// What differs.
        difference: String,
    },
    /// The container's archive can't be read.
    #[error("the files of variant `{variant}` for `{platform}` can't be read from the engine")]
    Archive {
        /// The variant.
        variant: String,
        /// Its platform.
        platform: Platform,
        /// Why not.
        #[source]
        cause: io::Error,
    },
    /// The base can't be built upon.
    #[error("the base of variant `{0}` can't be used: {1}")]
    Base(String, InvalidManifest),
    /// The engine fails.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl Situation for BuildError {
    fn fault(&self) -> Fault {
        match self {
            Self::Engine(error) => error.fault(),
            _ => Fault::Publication,
        }
    }
}

/// A variant's image on the engine, with the images that it was built from: all are removed when this is dropped, those
/// from which others are built as well not before the last of them is done.
#[derive(Debug)]
pub struct OnEngine {
    /// The image.
    pub image: LocalImage,
    _base: Arc<LocalImage>,
    _source: Arc<LocalImage>,
}

/// Builds on the engine.
#[derive(Debug)]
pub struct EngineBuilder<'a> {
    engine: &'a Engine,
    run: String,
    pulled: Mutex<BTreeMap<PinnedReference, Slot>>,
}

/// A pull that others can wait for. The image lives as long as somebody builds from it.
type Slot = Arc<Mutex<Weak<LocalImage>>>;

impl<'a> EngineBuilder<'a> {
    /// A builder whose images on the engine have names with `run` in them.
    #[must_use]
    pub fn new(engine: &'a Engine, run: &str) -> Self {
        Self { engine, run: run.to_owned(), pulled: Mutex::default() }
    }

    /// Builds `recipe` and compares the result with `composed`, whose executables are those of `executables`.
    ///
    /// # Errors
    /// The engine can't build it, or builds something else.
    pub async fn build(
        &self,
        recipe: &Recipe,
        composed: &Composed,
        executables: &Layer,
    ) -> Result<OnEngine, BuildError> {
        let base = self.pull(&recipe.base, &recipe.platform).await?;
        let source = self.pull(&recipe.source, &recipe.platform).await?;
        let platform = recipe.platform.to_string().replace('/', "-");
        let name = format!("publish-variants.local/{}/{}:{platform}", self.run, recipe.variant.to_lowercase());
        let image = self.engine.build(&name, &dockerfile::render(recipe), &recipe.platform).await?;
        let built = OnEngine { image, _base: base, _source: source };
        self.compare_config(recipe, composed, &built).await?;
        self.compare_executables(recipe, executables, &built).await?;
        Ok(built)
    }

    /// Once for all that build from it at the same time.
    async fn pull(&self, image: &ResolvedImage, platform: &Platform) -> Result<Arc<LocalImage>, EngineError> {
        let slot = self.pulled.lock().await.entry(image.reference.clone()).or_default().clone();
        let mut pulled = slot.lock().await;
        if let Some(there) = pulled.upgrade() {
            return Ok(there);
        }
        let image = Arc::new(self.engine.pull(&image.reference, platform).await?);
        *pulled = Arc::downgrade(&image);
        Ok(image)
    }

    async fn compare_config(&self, recipe: &Recipe, composed: &Composed, built: &OnEngine) -> Result<(), BuildError> {
        let inspected = self.engine.inspect(&built.image).await?;
        let base = recipe.base.config.diff_ids();
        // `WORKDIR` makes the folder, in a layer of its own.
        let new = 1 + recipe.run.len() + usize::from(recipe.changes.workdir.is_some());
        let common = inspected.diff_ids.iter().zip(&base).take_while(|(theirs, ours)| theirs == ours).count();
        if common != base.len() || inspected.diff_ids.len() != base.len() + new {
            return Err(BuildError::Layers {
                variant: recipe.variant.clone(),
                platform: recipe.platform.clone(),
                found: inspected.diff_ids.len(),
                expected: base.len() + new,
                new,
                common,
            });
        }
        match difference(&inspected.runtime, &composed.config.runtime()) {
            None => Ok(()),
            Some((field, engine, composed)) => Err(BuildError::Config {
                variant: recipe.variant.clone(),
                platform: recipe.platform.clone(),
                field,
                engine,
                composed,
            }),
        }
    }

    async fn compare_executables(
        &self,
        recipe: &Recipe,
        executables: &Layer,
        built: &OnEngine,
    ) -> Result<(), BuildError> {
        // Never started: it is there to be read.
        let container = self.engine.create(&built.image, &recipe.platform, &["/".to_owned()]).await?;
        for executable in &executables.executables {
            let path = format!("{DESTINATION}/{}", executable.name());
            let found = self.read(&container, &path).await.map_err(|cause| BuildError::Archive {
                variant: recipe.variant.clone(),
                platform: recipe.platform.clone(),
                cause,
            })?;
            if let Some(difference) = found.difference(executable) {
                let (variant, platform) = (recipe.variant.clone(), recipe.platform.clone());
                return Err(BuildError::Executable { variant, platform, path, difference });
            }
        }
        Ok(())
    }

    /// Reads a file of a container on the way, in little memory.
    async fn read(&self, container: &Container, path: &str) -> io::Result<FoundFile> {
        let archive = StreamReader::new(Box::pin(self.engine.archive(container, path).map_err(io::Error::other)));
        let archive = SyncIoBridge::new(archive);
        tokio::task::spawn_blocking(move || FoundFile::read(archive)).await.map_err(io::Error::other)?
    }
}

/// A file as the engine has it.
struct FoundFile {
    digest: Digest,
    mode: u32,
    owner: (u64, u64),
}

impl FoundFile {
    fn read(archive: impl io::Read) -> io::Result<Self> {
        let mut archive = tar::Archive::new(archive);
        let mut entry = archive.entries()?.next().ok_or_else(|| io::Error::other("the archive is empty"))??;
        let header = entry.header();
        let (mode, owner) = (header.mode()? & 0o7777, (header.uid()?, header.gid()?));
        let mut hash = Sha256::new();
        io::copy(&mut entry, &mut hash)?;
        Ok(Self { digest: Digest::from_hash(hash), mode, owner })
    }

    fn difference(&self, executable: &Executable) -> Option<String> {
        if self.digest != executable.digest {
            return Some(format!("its digest is {}, the source's is {}", self.digest, executable.digest));
        }
        if self.mode != 0o755 || self.owner != (0, 0) {
            let (user, group) = self.owner;
            return Some(format!("its mode is {:o}, its owner {user}:{group}; it would be 755 and 0:0", self.mode));
        }
        None
    }
}

/// What BuildKit sets on Linux where a base sets nothing.
const DEFAULT_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The first field in which two runtime sections differ, with both values. What is empty and what isn't there are the
/// same, and the order of a set doesn't count.
fn difference(engine: &Value, composed: &Value) -> Option<(String, Value, Value)> {
    /// Fields that the engine's API doesn't show, or always shows, or that only the builder of the base has set.
    const IGNORED: &[&str] = &[
        "ArgsEscaped",
        "Image",
        "Hostname",
        "Domainname",
        "AttachStdin",
        "AttachStdout",
        "AttachStderr",
        "Tty",
        "OpenStdin",
        "StdinOnce",
    ];
    let fields = |value: &Value| value.as_object().cloned().unwrap_or_default();
    let (engine, composed) = (fields(engine), fields(composed));
    let mut engine = engine;
    // BuildKit writes the default into an image without a `PATH`; runtimes use the same default for one without.
    if let Some(Value::Array(env)) = engine.get_mut("Env")
        && !assigns_path(composed.get("Env"))
    {
        env.retain(|entry| entry != DEFAULT_PATH);
    }
    let names: std::collections::BTreeSet<&String> = engine.keys().chain(composed.keys()).collect();
    names.into_iter().filter(|name| !IGNORED.contains(&name.as_str())).find_map(|name| {
        let (theirs, ours) = (plain(name, engine.get(name)), plain(name, composed.get(name)));
        (theirs != ours).then(|| (name.clone(), theirs, ours))
    })
}

fn assigns_path(env: Option<&Value>) -> bool {
    let entries = env.and_then(Value::as_array).into_iter().flatten();
    entries.filter_map(Value::as_str).any(|entry| entry.starts_with("PATH="))
}

fn plain(name: &str, value: Option<&Value>) -> Value {
    match value {
        None => Value::Null,
        Some(Value::Array(list)) if list.is_empty() => Value::Null,
        Some(Value::Object(map)) if map.is_empty() => Value::Null,
        Some(Value::String(text)) if text.is_empty() => Value::Null,
        // A set, which JSON has as an object of empty objects and the library as a list.
        Some(Value::Object(set)) if matches!(name, "ExposedPorts" | "Volumes") => {
            set.keys().cloned().collect::<Vec<_>>().into()
        }
        Some(Value::Array(set)) if matches!(name, "ExposedPorts" | "Volumes") => {
            let mut names: Vec<&str> = set.iter().filter_map(Value::as_str).collect();
            names.sort_unstable();
            names.into()
        }
        Some(other) => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_empty_and_what_is_missing_are_the_same() {
        let engine = json!({ "Env": ["A=1"], "Cmd": [], "Volumes": ["/data"], "OnBuild": null, "User": "" });
        let composed = json!({ "Env": ["A=1"], "Volumes": { "/data": {} }, "Labels": {} });
        assert_eq!(difference(&engine, &composed), None);
    }

    #[test]
    fn the_path_that_buildkit_adds_is_no_difference_and_another_one_is() {
        let engine = json!({ "Env": [DEFAULT_PATH, "A=1"] });
        assert_eq!(difference(&engine, &json!({ "Env": ["A=1"] })), None);
        assert_eq!(difference(&json!({ "Env": [DEFAULT_PATH] }), &json!({})), None);
        assert!(difference(&engine, &json!({ "Env": ["PATH=/bin", "A=1"] })).is_some());
    }

    #[test]
    fn a_field_that_differs_is_named_with_both_values() {
        let engine = json!({ "Env": ["A=1"], "Labels": { "a": "1" } });
        let composed = json!({ "Env": ["A=1"], "Labels": { "a": "2" } });
        let found = difference(&engine, &composed);
        assert_eq!(found, Some(("Labels".to_owned(), json!({ "a": "1" }), json!({ "a": "2" }))));
        assert!(difference(&engine, &json!({ "Labels": { "a": "1" } })).is_some(), "what only one side has");
    }
}
