//! GitHub's own [OpenAPI description], for validating requests and responses.
//!
//! The file has about 13 MB, and only few of its operations are needed: it is scanned once per process, and only these
//! operations are parsed, with the schemas that they refer to. OpenAPI 3.0's dialect of JSON Schema differs in one way
//! that matters here: `nullable`, which is rewritten.
//!
//! [OpenAPI description]: https://github.com/github/rest-api-description

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use jsonschema::Validator;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

/// The operations that the stand-in serves.
const OPERATIONS: [(&str, &str); 10] = [
    ("get", "/repos/{owner}/{repo}"),
    ("get", "/repos/{owner}/{repo}/releases"),
    ("get", "/repos/{owner}/{repo}/releases/latest"),
    ("get", "/repos/{owner}/{repo}/releases/tags/{tag}"),
    ("get", "/repos/{owner}/{repo}/releases/{release_id}"),
    ("patch", "/repos/{owner}/{repo}/releases/{release_id}"),
    ("get", "/repos/{owner}/{repo}/commits/{ref}"),
    ("get", "/repos/{owner}/{repo}/contents/{path}"),
    ("get", "/repos/{owner}/{repo}/git/ref/{ref}"),
    ("get", "/repos/{owner}/{repo}/git/tags/{tag_sha}"),
];

/// The part of the description that is needed, ready for validating.
#[derive(Debug)]
pub struct Description {
    operations: BTreeMap<(String, String), Operation>,
    error: Validator,
}

#[derive(Debug)]
struct Operation {
    parameters: Vec<Parameter>,
    body: Option<Body>,
    /// By status and media type.
    responses: BTreeMap<(String, String), Validator>,
}

#[derive(Debug)]
struct Parameter {
    name: String,
    place: String,
    required: bool,
    kind: String,
    schema: Validator,
}

#[derive(Debug)]
struct Body {
    properties: Vec<String>,
    schema: Validator,
}

#[derive(Deserialize)]
struct Document<'a> {
    #[serde(borrow)]
    paths: HashMap<String, &'a RawValue>,
    #[serde(borrow)]
    components: HashMap<String, HashMap<String, &'a RawValue>>,
}

/// The parts of a request that the description is about.
#[derive(Debug, Clone, Copy)]
pub struct Given<'a> {
    /// The parameters of the path, decoded.
    pub path: &'a [(&'static str, String)],
    /// The query, decoded.
    pub query: &'a [(String, String)],
    /// The body, if there is one.
    pub body: Option<&'a Value>,
}

impl Description {
    /// Reads the description at `path` (`api.github.com.json` of npm's `@octokit/openapi`), once per process. Panics if
    /// it can't be read, or lacks an operation that the stand-in serves.
    pub fn read(path: &Path) -> Arc<Self> {
        static READ: OnceLock<Mutex<HashMap<PathBuf, Arc<Description>>>> = OnceLock::new();
        let mut read = READ.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
        let parse = || {
            let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("`{}`: {error}", path.display()));
            Arc::new(Self::parse(&text).unwrap_or_else(|error| panic!("`{}`: {error}", path.display())))
        };
        Arc::clone(read.entry(path.to_owned()).or_insert_with(parse))
    }

    fn parse(text: &str) -> Result<Self, String> {
        let document: Document<'_> = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let mut operations = BTreeMap::new();
        for (method, path) in OPERATIONS {
            let item = document.paths.get(path).ok_or_else(|| format!("no path `{path}`"))?;
            let item: Value = serde_json::from_str(item.get()).map_err(|error| error.to_string())?;
            let operation = document.operation(&item[method]).map_err(|error| format!("`{method} {path}`: {error}"))?;
            operations.insert((method.to_owned(), path.to_owned()), operation);
        }
        let error = document.validator(&json!({ "$ref": "#/components/schemas/basic-error" }))?;
        Ok(Self { operations, error })
    }

    /// What is wrong with a request according to the description, as sentences. Unknown properties and parameters count
    /// as wrong, although GitHub ignores them: they are slips of the pen. A body may repeat a parameter of the path.
    pub fn request(&self, method: &str, template: &str, given: Given<'_>) -> Vec<String> {
        let operation = self.operation(method, template);
        let mut wrong = Vec::new();
        for parameter in &operation.parameters {
            let value = match parameter.place.as_str() {
                "path" => given.path.iter().find(|(name, _)| *name == parameter.name).map(|(_, value)| value),
                "query" => given.query.iter().find(|(name, _)| *name == parameter.name).map(|(_, value)| value),
                _ => continue,
            };
            match value {
                None if parameter.required => wrong.push(format!("`{}` is missing", parameter.name)),
                None => {}
                Some(value) => {
                    let typed = match parameter.kind.as_str() {
                        "integer" => value.parse::<i64>().map_or_else(|_| value.clone().into(), Value::from),
                        "boolean" => value.parse::<bool>().map_or_else(|_| value.clone().into(), Value::from),
                        _ => value.clone().into(),
                    };
                    wrong.extend(complaints(&parameter.schema, &typed, &format!("`{}`", parameter.name)));
                }
            }
        }
        for (name, _) in given.query {
            if !operation.parameters.iter().any(|parameter| parameter.place == "query" && parameter.name == *name) {
                wrong.push(format!("`{name}` is no parameter of its query"));
            }
        }
        match (&operation.body, given.body) {
            (None, Some(_)) => wrong.push("it takes no body".into()),
            (Some(body), Some(value)) => {
                wrong.extend(complaints(&body.schema, value, "body"));
                // octocrab repeats the path's `release_id` in the body.
                let repeats = |name: &str, value: &Value| {
                    given
                        .path
                        .iter()
                        .any(|(key, text)| *key == name && text.parse::<Value>().is_ok_and(|text| text == *value))
                };
                let unknown = value.as_object().into_iter().flatten();
                let unknown = unknown.filter(|(name, value)| !body.properties.contains(name) && !repeats(name, value));
                wrong.extend(unknown.map(|(name, _)| format!("`{name}` is no property of its body")));
            }
            (_, None) => {}
        }
        wrong
    }

    /// What is wrong with a JSON response according to the description. A refusal that isn't described must be a
    /// `basic-error`.
    pub fn response(&self, method: &str, template: &str, status: u16, media_type: &str, body: &Value) -> Vec<String> {
        let key = (status.to_string(), media_type.to_owned());
        match self.operation(method, template).responses.get(&key) {
            Some(schema) => complaints(schema, body, "response"),
            None if status >= 400 => complaints(&self.error, body, "response"),
            None => vec![format!("{status} with `{media_type}` is not described")],
        }
    }

    fn operation(&self, method: &str, template: &str) -> &Operation {
        let key = (method.to_ascii_lowercase(), template.to_owned());
        self.operations.get(&key).unwrap_or_else(|| panic!("`{method} {template}` is not among the operations"))
    }
}

impl Document<'_> {
    fn operation(&self, operation: &Value) -> Result<Operation, String> {
        let mut parameters = Vec::new();
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            let parameter = self.dereferenced(parameter)?;
            let text = |key: &str| parameter[key].as_str().unwrap_or_default().to_owned();
            parameters.push(Parameter {
                name: text("name"),
                place: text("in"),
                required: parameter["required"] == true,
                kind: parameter["schema"]["type"].as_str().unwrap_or_default().to_owned(),
                schema: self.validator(&parameter["schema"])?,
            });
        }
        let body = match operation.pointer("/requestBody/content/application~1json/schema") {
            None => None,
            Some(schema) => Some(Body {
                properties: schema["properties"]
                    .as_object()
                    .into_iter()
                    .flatten()
                    .map(|(name, _)| name.clone())
                    .collect(),
                schema: self.validator(schema)?,
            }),
        };
        let mut responses = BTreeMap::new();
        for (status, response) in operation["responses"].as_object().ok_or("no responses")? {
            for (media_type, content) in self.dereferenced(response)?["content"].as_object().into_iter().flatten() {
                responses.insert((status.clone(), media_type.clone()), self.validator(&content["schema"])?);
            }
        }
        Ok(Operation { parameters, body, responses })
    }

    fn validator(&self, schema: &Value) -> Result<Validator, String> {
        let mut components = Map::new();
        self.collect(schema, &mut components)?;
        let mut root = json!({ "allOf": [schema], "components": { "schemas": components } });
        allow_null(&mut root);
        jsonschema::options().should_validate_formats(true).build(&root).map_err(|error| error.to_string())
    }

    /// Gathers the schemas that `value` refers to, and those that they refer to.
    fn collect(&self, value: &Value, components: &mut Map<String, Value>) -> Result<(), String> {
        match value {
            Value::Object(object) => {
                if let Some(reference) = object.get("$ref").and_then(Value::as_str) {
                    let name = reference.rsplit('/').next().unwrap_or_default();
                    if !components.contains_key(name) {
                        let schema = self.dereferenced(value)?;
                        components.insert(name.to_owned(), schema.clone());
                        self.collect(&schema, components)?;
                    }
                }
                // An example may contain a `$ref` that isn't a reference.
                object
                    .iter()
                    .filter(|(key, _)| !matches!(key.as_str(), "example" | "examples"))
                    .try_for_each(|(_, value)| self.collect(value, components))
            }
            Value::Array(values) => values.iter().try_for_each(|value| self.collect(value, components)),
            _ => Ok(()),
        }
    }

    fn dereferenced(&self, value: &Value) -> Result<Value, String> {
        let Some(reference) = value["$ref"].as_str() else { return Ok(value.clone()) };
        let mut steps = reference.strip_prefix("#/components/").unwrap_or_default().splitn(2, '/');
        let raw = steps.next().zip(steps.next()).and_then(|(kind, name)| self.components.get(kind)?.get(name));
        let raw = raw.ok_or_else(|| format!("`{reference}` leads nowhere"))?;
        serde_json::from_str(raw.get()).map_err(|error| error.to_string())
    }
}

/// Rewrites OpenAPI 3.0's `nullable: true` for JSON Schema.
fn allow_null(value: &mut Value) {
    match value {
        Value::Object(object) => {
            object.values_mut().for_each(allow_null);
            if object.get("nullable") == Some(&Value::Bool(true)) {
                object.remove("nullable");
                let schema = std::mem::take(object);
                object.insert("anyOf".into(), json!([schema, { "type": "null" }]));
            }
        }
        Value::Array(values) => values.iter_mut().for_each(allow_null),
        _ => {}
    }
}

fn complaints(schema: &Validator, value: &Value, what: &str) -> Vec<String> {
    schema.iter_errors(value).map(|error| format!("{what}{}: {error}", error.instance_path())).collect()
}

#[cfg(test)]
mod tests;
