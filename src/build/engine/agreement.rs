//! Whether the engine's config and the composed one agree.

use std::fmt;

use serde_json::{Map, Value};

use crate::image::config::DEFAULT_PATH;

/// The fields that describe how to run an image. The other fields describe the container that once made it.
///
/// [The specification](https://github.com/moby/docker-image-spec/blob/v1.3.1/spec.md) lists them.
const FIELDS: [&str; 12] = [
    "Cmd",
    "Entrypoint",
    "Env",
    "ExposedPorts",
    "Healthcheck",
    "Labels",
    "OnBuild",
    "Shell",
    "StopSignal",
    "User",
    "Volumes",
    "WorkingDir",
];

/// A field on which the two configs disagree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The field's name in the config.
    pub field: &'static str,
    /// The value in the engine's config.
    pub engine: Value,
    /// The value in the composed config.
    pub composed: Value,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is {} in the engine and {} in ours", self.field, self.engine, self.composed)
    }
}

/// The fields of two runtime sections whose meanings differ.
pub(super) fn differences(engine: &Value, composed: &Value) -> Vec<Difference> {
    let mut differences = Vec::new();
    for field in FIELDS {
        let (engine, composed) = (meaning(field, &engine[field]), meaning(field, &composed[field]));
        if engine != composed && !(field == "Env" && is_same_environment(&engine, &composed)) {
            differences.push(Difference { field, engine, composed });
        }
    }
    differences
}

/// The meaning of a field's value; `null` if it is as good as unset.
fn meaning(field: &str, value: &Value) -> Value {
    match value {
        Value::String(text) if text.is_empty() => Value::Null,
        Value::Array(list) if list.is_empty() => Value::Null,
        Value::Object(map) if map.is_empty() => Value::Null,
        Value::String(text) if field == "WorkingDir" && text == "/" => Value::Null,
        Value::Object(map) if field == "Healthcheck" => Value::Object(healthcheck(map)),
        other => other.clone(),
    }
}

/// Zero means "inherited" in a health check. `StartInterval` is newer than the oldest engine that we support.
fn healthcheck(map: &Map<String, Value>) -> Map<String, Value> {
    let says = |(name, value): &(&String, &Value)| name.as_str() != "StartInterval" && value.as_i64() != Some(0);
    map.iter().filter(says).map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// BuildKit adds the default `PATH` to an image without one, before everything else, and so do runtimes.
fn is_same_environment(engine: &Value, composed: &Value) -> bool {
    let split = |value: &Value| {
        let entries = value.as_array().into_iter().flatten().filter_map(|entry| entry.as_str().map(str::to_owned));
        let (path, others): (Vec<_>, Vec<_>) = entries.partition(|entry| entry.starts_with("PATH="));
        (path, others)
    };
    let ((engine, others), (composed, ours)) = (split(engine), split(composed));
    let is_default = composed.is_empty() && engine == [format!("PATH={DEFAULT_PATH}")];
    others == ours && (is_default || engine == composed)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_that_engines_add_or_drop_are_not_differences() {
        let engine = json!({
            "Hostname": "", "AttachStdin": false, "Image": "", "Env": [format!("PATH={DEFAULT_PATH}"), "A=1"], "Cmd": null, "Volumes": null,
            "WorkingDir": "/", "Entrypoint": [], "OnBuild": null, "Labels": {}, "Healthcheck": { "Test": ["NONE"], "Retries": 0 },
            "ExposedPorts": { "80/tcp": {} },
        });
        let composed = json!({
            "Image": "sha256:0", "Env": ["A=1"], "Healthcheck": { "Test": ["NONE"], "StartInterval": 5 },
            "ExposedPorts": { "80/tcp": {} },
        });
        assert_eq!(differences(&engine, &composed), []);
    }

    #[test]
    fn a_path_of_our_own_may_be_at_another_place() {
        let engine = json!({ "Env": ["PATH=/opt/bin", "HOME=/tmp"] });
        assert_eq!(differences(&engine, &json!({ "Env": ["HOME=/tmp", "PATH=/opt/bin"] })), []);
        for other in [json!(["HOME=/tmp", "PATH=/bin"]), json!(["HOME=/tmp"]), json!(["PATH=/opt/bin"])] {
            assert_eq!(differences(&engine, &json!({ "Env": other })).len(), 1, "{other}");
        }
    }

    #[test]
    fn every_other_difference_is_reported() {
        for (field, engine, composed) in [
            ("Env", json!(["A=1"]), json!(["A=2"])),
            ("Env", json!(["PATH=/bin"]), json!(null)),
            ("Cmd", json!(null), json!(["sh"])),
            ("User", json!("root"), json!(null)),
            ("WorkingDir", json!("/a"), json!("/")),
            ("Labels", json!({ "a": "" }), json!({})),
            ("Volumes", json!({ "/data": {} }), json!(null)),
            ("Healthcheck", json!({ "Test": ["NONE"] }), json!({ "Test": ["CMD", "true"] })),
        ] {
            let found = differences(&json!({ field: engine }), &json!({ field: composed }));
            assert_eq!(found.len(), 1, "{field}");
            assert_eq!(found[0].field, field);
        }
        let difference = differences(&json!({ "User": "root" }), &json!({})).remove(0);
        assert_eq!(difference.to_string(), "`User` is \"root\" in the engine and null in ours");
    }
}
