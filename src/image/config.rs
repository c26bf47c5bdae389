//! The [image config](https://github.com/opencontainers/image-spec/blob/v1.1.1/config.md).
//!
//! A base's config is kept as JSON, including fields that we don't know (`Healthcheck`, `Shell`, …). Only what the plan
//! says is changed.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use super::environment::EnvValue;
use super::platform::Platform;
use super::reference::Digest;
use crate::hint::{Hinted, Hints};

/// The `PATH` in containers of images that set none. BuildKit, Docker and containerd agree on it.
pub const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Our history entry for a layer of the base for which the base's history has none.
const UNKNOWN_LAYER: &str = "a layer of the base, whose history has no entry for it";

/// A config: of a base, or of an image on top of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config(Map<String, Value>);

/// Why a config can't be used.
#[derive(Debug, thiserror::Error)]
pub enum InvalidConfig {
    /// The config has no platform, or belongs to an artifact that isn't an image.
    #[error("its config has no `os` or no `architecture`")]
    NoPlatform,
    /// Not a JSON object with `rootfs.diff_ids`.
    #[error("the config is not that of an image: {0}")]
    Malformed(String),
    /// The base would run commands in every Docker build on top of it, including ours.
    #[error("the config has `ONBUILD` triggers")]
    OnBuild,
}

impl Hinted for InvalidConfig {
    fn hints(&self) -> Hints {
        match self {
            Self::NoPlatform => {
                "name an image with a platform in its config (`crane mutate --set-platform` adds one)".into()
            }
            Self::Malformed(_) => "name an image, or push it again with a current tool".into(),
            Self::OnBuild => "use a base without them: they would run only if the engine builds the variant".into(),
        }
    }
}

/// What a variant changes in its base's config.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Changes {
    /// Environment variables to set. They replace variables with the same name, and may refer to their values.
    pub env: BTreeMap<String, EnvValue>,
    /// The command. `None` keeps the base's.
    pub cmd: Option<Vec<String>>,
    /// The entrypoint; empty to clear it. `None` keeps the base's.
    pub entrypoint: Option<Vec<String>>,
    /// The user. `None` keeps the base's.
    pub user: Option<String>,
    /// The working directory. `None` keeps the base's.
    pub workdir: Option<String>,
    /// Labels to set. They replace labels with the same name.
    pub labels: BTreeMap<String, String>,
    /// Labels of the base to drop, because they describe only the base.
    #[serde(skip)]
    pub unlabel: BTreeSet<String>,
}

/// A layer on top of the base, as the config knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddedLayer {
    /// The digest of the layer's uncompressed archive.
    pub diff_id: Digest,
    /// The command that made it, for `docker history`.
    pub created_by: String,
}

impl Config {
    /// Parses the config of a base.
    ///
    /// # Errors
    /// The bytes aren't a config, or nothing can be built on that config.
    pub fn parse(bytes: &[u8]) -> Result<Self, InvalidConfig> {
        let config = Self::of_finished(bytes)?;
        match config.section("config").and_then(|c| c.get("OnBuild")).and_then(Value::as_array) {
            Some(triggers) if !triggers.is_empty() => Err(InvalidConfig::OnBuild),
            _ => Ok(config),
        }
    }

    /// Parses the config of an image that won't be built upon.
    ///
    /// # Errors
    /// The bytes aren't a config.
    pub fn of_finished(bytes: &[u8]) -> Result<Self, InvalidConfig> {
        let value: Map<String, Value> =
            serde_json::from_slice(bytes).map_err(|e| InvalidConfig::Malformed(e.to_string()))?;
        let config = Self(value);
        if !config.platform().is_specified() {
            return Err(InvalidConfig::NoPlatform);
        }
        config
            .try_diff_ids()
            .ok_or_else(|| InvalidConfig::Malformed("`rootfs.diff_ids` are not digests".to_owned()))?;
        Ok(config)
    }

    /// The config of `FROM scratch`: no layers, and no command.
    #[must_use]
    pub fn scratch(platform: &Platform) -> Self {
        let mut config = Map::new();
        config.insert("os".into(), platform.os().into());
        config.insert("architecture".into(), platform.architecture().into());
        config.extend(platform.variant().map(|variant| ("variant".into(), variant.into())));
        config.insert("rootfs".into(), json!({ "type": "layers", "diff_ids": [] }));
        Self(config)
    }

    /// The platform that the image runs on.
    #[must_use]
    pub fn platform(&self) -> Platform {
        let field = |name| self.text(name).unwrap_or_default();
        Platform::new(field("os"), field("architecture"), self.text("variant"))
    }

    /// The digests of the uncompressed layers, lowest first.
    #[must_use]
    pub fn diff_ids(&self) -> Vec<Digest> {
        self.try_diff_ids().expect("checked when it was parsed")
    }

    /// The section that describes how to run the image: `config`.
    #[must_use]
    pub fn runtime(&self) -> Value {
        self.0.get("config").filter(|c| c.is_object()).cloned().unwrap_or_else(|| json!({}))
    }

    /// The environment of the image's containers. If a variable occurs twice, the last one counts, as it does for
    /// runtimes.
    #[must_use]
    pub fn environment(&self) -> BTreeMap<String, String> {
        let env = self.section("config").and_then(|config| config.get("Env")).and_then(Value::as_array);
        let assigned = env.into_iter().flatten().filter_map(|entry| entry.as_str()?.split_once('='));
        let default = [("PATH", DEFAULT_PATH)].into_iter();
        default.chain(assigned).map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    /// The variables that `changes` sets on top of this config.
    #[must_use]
    pub fn expanded(&self, changes: &Changes) -> BTreeMap<String, String> {
        let environment = self.environment();
        changes.env.iter().map(|(name, value)| (name.clone(), value.expand(&environment))).collect()
    }

    /// When the image was made, if its config says so in RFC 3339.
    #[must_use]
    pub fn created(&self) -> Option<DateTime<Utc>> {
        Some(DateTime::parse_from_rfc3339(self.text("created")?).ok()?.to_utc())
    }

    /// The labels in the section `config`.
    #[must_use]
    pub fn labels(&self) -> BTreeMap<String, String> {
        let labels = self.section("config").and_then(|config| config.get("Labels")).and_then(Value::as_object);
        let text = |(name, value): (&String, &Value)| Some((name.clone(), value.as_str()?.to_owned()));
        labels.into_iter().flatten().filter_map(text).collect()
    }

    /// The value of a label, if it is set.
    #[must_use]
    pub fn label(&self, name: &str) -> Option<&str> {
        self.section("config")?.get("Labels")?.get(name)?.as_str()
    }

    /// The config of an image for `platform` that adds `layers` and `changes` to this one. `created` is in RFC 3339;
    /// without it, the image has no date.
    #[must_use]
    pub fn derive(&self, platform: &Platform, created: Option<&str>, layers: &[AddedLayer], changes: &Changes) -> Self {
        let mut config = self.0.clone();
        // Leftovers of the classic builder: they describe the container that made the base's last layer.
        for stale in ["container", "container_config", "docker_version", "id", "parent"] {
            config.remove(stale);
        }
        match created {
            Some(created) => config.insert("created".into(), created.into()),
            None => config.remove("created"),
        };
        // Spelled as in the index: a base says `arm64/v8` where the index has `arm64`, and clients compare the two.
        config.insert("os".into(), platform.os().into());
        config.insert("architecture".into(), platform.architecture().into());
        match platform.variant() {
            Some(variant) => config.insert("variant".into(), variant.into()),
            None => config.remove("variant"),
        };
        let mut diff_ids = self.diff_ids();
        let mut history = self.history();
        for layer in layers {
            diff_ids.push(layer.diff_id.clone());
            let mut entry = json!({ "created_by": layer.created_by });
            if let Some(created) = created {
                entry["created"] = created.into();
            }
            history.push(entry);
        }
        config.insert("history".into(), history.into());
        config.insert("rootfs".into(), json!({ "type": "layers", "diff_ids": diff_ids }));
        let mut runtime = match self.runtime() {
            Value::Object(runtime) => runtime,
            _ => Map::new(),
        };
        changes.apply(&self.expanded(changes), &mut runtime);
        config.insert("config".into(), Value::Object(runtime));
        Self(config)
    }

    /// The config as JSON.
    #[must_use]
    pub fn as_json(&self) -> &Map<String, Value> {
        &self.0
    }

    /// The history, completed to one entry for each layer. Many builders write none, or miss some layers; then an entry
    /// of ours would be mistaken for one of a base layer's, and Podman and Buildah refuse such an image. Filled in as
    /// BuildKit does it: missing entries follow the last one, and entries beyond the last layer count as having made
    /// none.
    fn history(&self) -> Vec<Value> {
        let written = self.0.get("history").and_then(Value::as_array).into_iter().flatten();
        let written = written.map(|entry| entry.as_object().cloned().unwrap_or_default());
        let (mut missing, mut history) = (self.diff_ids().len(), Vec::new());
        for mut entry in written {
            let makes_layer = !entry.get("empty_layer").and_then(Value::as_bool).unwrap_or_default();
            match missing.checked_sub(1).filter(|_| makes_layer) {
                Some(fewer) => missing = fewer,
                None if makes_layer => drop(entry.insert("empty_layer".into(), true.into())),
                None => {}
            }
            history.push(Value::Object(entry));
        }
        history.extend((0..missing).map(|_| json!({ "comment": UNKNOWN_LAYER })));
        history
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_str()
    }

    fn section(&self, name: &str) -> Option<&Map<String, Value>> {
        self.0.get(name)?.as_object()
    }

    fn try_diff_ids(&self) -> Option<Vec<Digest>> {
        match self.section("rootfs")?.get("diff_ids")? {
            // An empty list, as Go writes it.
            Value::Null => Some(Vec::new()),
            diff_ids => diff_ids.as_array()?.iter().map(|id| id.as_str()?.parse().ok()).collect(),
        }
    }
}

impl Changes {
    /// Applies the changes to `runtime`. `variables` are the ones to set, expanded on the base.
    fn apply(&self, variables: &BTreeMap<String, String>, runtime: &mut Map<String, Value>) {
        if !variables.is_empty() {
            let mut env: Vec<String> = runtime
                .get("Env")
                .and_then(Value::as_array)
                .map(|env| env.iter().filter_map(Value::as_str).map(str::to_owned).collect())
                .unwrap_or_default();
            for (name, value) in variables {
                let assignment = format!("{name}={value}");
                match env.iter_mut().find(|entry| entry.split_once('=').is_some_and(|(n, _)| n == name)) {
                    Some(entry) => *entry = assignment,
                    None => env.push(assignment),
                }
            }
            runtime.insert("Env".into(), env.into());
        }
        let has_labels = runtime.get("Labels").is_some_and(Value::is_object);
        if !self.labels.is_empty() || has_labels && !self.unlabel.is_empty() {
            let mut labels = runtime.get("Labels").and_then(Value::as_object).cloned().unwrap_or_default();
            labels.retain(|name, _| !self.unlabel.contains(name));
            labels.extend(self.labels.iter().map(|(name, value)| (name.clone(), value.clone().into())));
            runtime.insert("Labels".into(), Value::Object(labels));
        }
        // As in a Dockerfile: a new entrypoint drops the command, which was meant for the old one.
        if self.entrypoint.is_some() && self.cmd.is_none() {
            runtime.remove("Cmd");
        }
        for (key, list) in [("Entrypoint", &self.entrypoint), ("Cmd", &self.cmd)] {
            match list {
                Some(list) if list.is_empty() => {
                    runtime.remove(key);
                }
                Some(list) => {
                    runtime.insert(key.into(), list.clone().into());
                    // The classic builder sets this if the command is a line for a shell; ours never is.
                    runtime.remove("ArgsEscaped");
                }
                None => {}
            }
        }
        for (key, text) in [("User", &self.user), ("WorkingDir", &self.workdir)] {
            if let Some(text) = text {
                runtime.insert(key.into(), text.clone().into());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base() -> Config {
        let json = json!({
            "architecture": "arm64", "os": "linux", "variant": "v8",
            "container_config": { "Image": "stale" }, "docker_version": "20.10",
            "config": {
                "Env": ["PATH=/usr/bin", "LANG=C.UTF-8"], "Cmd": ["python3"], "Entrypoint": ["/docker-entrypoint.sh"],
                "Labels": { "maintainer": "x" }, "Healthcheck": { "Test": ["NONE"] },
            },
            "history": [{ "created_by": "debootstrap" }],
            "rootfs": { "type": "layers", "diff_ids": [Digest::of(b"base")] },
        });
        Config::parse(json.to_string().as_bytes()).unwrap()
    }

    fn arm64() -> Platform {
        "linux/arm64".parse().unwrap()
    }

    fn layer() -> AddedLayer {
        AddedLayer { diff_id: Digest::of(b"ours"), created_by: "COPY /uv /usr/local/bin/".into() }
    }

    #[test]
    fn only_what_the_plan_says_is_changed() {
        let changes = Changes {
            env: [("LANG", "C"), ("TOOL_PATH", "/opt:$PATH")].map(|(k, v)| (k.into(), v.parse().unwrap())).into(),
            cmd: Some(vec!["/usr/local/bin/uv".into()]),
            entrypoint: Some(vec![]),
            labels: [("org.opencontainers.image.version".into(), "0.9.26".into())].into(),
            ..Changes::default()
        };
        let derived = base().derive(&arm64(), Some("2026-01-15T20:44:00Z"), &[layer()], &changes);
        let expected = json!({
            "architecture": "arm64", "os": "linux", "created": "2026-01-15T20:44:00Z",
            "config": {
                "Env": ["PATH=/usr/bin", "LANG=C", "TOOL_PATH=/opt:/usr/bin"], "Cmd": ["/usr/local/bin/uv"],
                "Labels": { "maintainer": "x", "org.opencontainers.image.version": "0.9.26" }, "Healthcheck": { "Test": ["NONE"] },
            },
            "history": [
                { "created_by": "debootstrap" },
                { "created": "2026-01-15T20:44:00Z", "created_by": "COPY /uv /usr/local/bin/" },
            ],
            "rootfs": { "type": "layers", "diff_ids": [Digest::of(b"base"), Digest::of(b"ours")] },
        });
        assert_eq!(&Value::Object(derived.as_json().clone()), &expected);
        assert_eq!(derived.platform().to_string(), "linux/arm64");
        assert_eq!(derived.label("maintainer"), Some("x"));
    }

    #[test]
    fn numbers_of_unknown_fields_stay_the_same() {
        let numbers = "[0.1, 33333333333333333333333333333333.33325555555, 9007199254740993, 1e-7]";
        let base = format!(r#"{{"os":"linux","architecture":"arm64","x":{numbers},"rootfs":{{"diff_ids":[]}}}}"#);
        let derived = Config::parse(base.as_bytes()).unwrap().derive(&arm64(), None, &[layer()], &Changes::default());
        let written = serde_json::to_vec(derived.as_json()).unwrap();
        assert_eq!(Config::parse(&written).unwrap().as_json(), derived.as_json());
    }

    #[test]
    fn the_history_has_an_entry_for_each_layer_whatever_the_base_has() {
        let (made, none) = (json!({ "created_by": "x" }), json!({ "created_by": "y", "empty_layer": true }));
        let (ours, unknown) =
            (json!({ "created_by": "COPY /uv /usr/local/bin/" }), json!({ "comment": UNKNOWN_LAYER }));
        let cases = [
            (json!(null), vec![&unknown, &unknown]),
            (json!([]), vec![&unknown, &unknown]),
            (json!("no list"), vec![&unknown, &unknown]),
            (json!([made, none]), vec![&made, &none, &unknown]),
            (json!([made, none, made]), vec![&made, &none, &made]),
            (json!([made, made, { "created_by": "y" }]), vec![&made, &made, &none]),
        ];
        for (history, expected) in cases {
            let mut base = base();
            base.0["rootfs"]["diff_ids"] = json!([Digest::of(b"one"), Digest::of(b"two")]);
            base.0.insert("history".into(), history.clone());
            let derived = base.derive(&arm64(), None, &[layer()], &Changes::default());
            let expected: Vec<&Value> = expected.into_iter().chain([&ours]).collect();
            assert_eq!(derived.as_json()["history"], json!(expected), "{history}");
        }
        let mut base = base();
        base.0.remove("history");
        let derived = base.derive(&arm64(), None, &[layer()], &Changes::default());
        assert_eq!(derived.as_json()["history"], json!([unknown, ours]));
    }

    #[test]
    fn a_base_without_a_path_has_the_path_of_its_containers() {
        let mut base = base();
        base.0["config"]["Env"] = json!(["A=1", "A=2", "no assignment"]);
        let changes = Changes { env: [("B".into(), "$A:$PATH".parse().unwrap())].into(), ..Changes::default() };
        assert_eq!(base.expanded(&changes)["B"], format!("2:{DEFAULT_PATH}"));
    }

    #[test]
    fn the_platform_is_spelled_as_in_the_index() {
        let arm =
            base().derive(&"linux/arm/v6".parse().unwrap(), Some("2026-01-15T20:44:00Z"), &[], &Changes::default());
        assert_eq!(arm.as_json()["variant"], "v6");
        assert_eq!(arm.platform().to_string(), "linux/arm/v6");
    }

    #[test]
    fn no_changes_keep_the_runtime_section() {
        let derived = base().derive(&arm64(), Some("2026-01-15T20:44:00Z"), &[], &Changes::default());
        assert_eq!(derived.runtime(), base().runtime());
    }

    #[test]
    fn an_entrypoint_alone_drops_the_command_of_the_base() {
        let changes = Changes { entrypoint: Some(vec!["/uv".into()]), ..Changes::default() };
        let runtime = base().derive(&arm64(), Some("2026-01-15T20:44:00Z"), &[], &changes).runtime();
        assert_eq!(runtime["Entrypoint"], json!(["/uv"]));
        assert_eq!(runtime.get("Cmd"), None);
    }

    #[test]
    fn onbuild_triggers_and_invalid_configs_are_refused() {
        let onbuild = json!({
            "architecture": "amd64", "os": "linux", "config": { "OnBuild": ["RUN make"] },
            "rootfs": { "type": "layers", "diff_ids": [] },
        });
        assert!(matches!(Config::parse(onbuild.to_string().as_bytes()), Err(InvalidConfig::OnBuild)));
        for text in ["{}", r#"{"os":"","architecture":""}"#, r#"{"os":null,"architecture":"amd64"}"#] {
            assert!(matches!(Config::parse(text.as_bytes()), Err(InvalidConfig::NoPlatform)), "{text:?} was accepted");
        }
        for text in ["", "[]", r#"{"os":"linux","architecture":"amd64","rootfs":{"diff_ids":["x"]}}"#] {
            assert!(
                matches!(Config::parse(text.as_bytes()), Err(InvalidConfig::Malformed(_))),
                "{text:?} was accepted"
            );
        }
    }
}
