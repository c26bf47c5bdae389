//! A recipe as a [Dockerfile](https://docs.docker.com/reference/dockerfile/).
//!
//! It uses only the syntax that every BuildKit since Docker 20.10 has built in: a newer frontend would be downloaded.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::api::engine::EXECUTABLES;
use crate::compose::recipe::Recipe;

/// A Dockerfile, and the values of its build arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dockerfile {
    /// The text of the Dockerfile.
    pub text: String,
    /// Build arguments, for values that can't be written on a line.
    pub arguments: BTreeMap<String, String>,
}

/// Older parsers refuse lines of 64 KiB or more.
const LONGEST: usize = 32 * 1024;

/// Renders a recipe. Stages are named after `stage`; `link` makes the layer of the executables independent of the base,
/// so that BuildKit makes it once for all of them.
#[must_use]
pub fn render(recipe: &Recipe, stage: &str, link: bool) -> Dockerfile {
    let mut file = Dockerfile { text: String::new(), arguments: BTreeMap::new() };
    let platform = &recipe.platform;
    let pulled = recipe.source.name.reference();
    match pulled {
        Some(source) => {
            // The platform of its config, by which the engine knows it.
            let of_source = recipe.source.config.platform();
            file.line(&format!("FROM --platform={of_source} {source} AS {stage}-source"));
        }
        None => {
            file.line(&format!("FROM scratch AS {stage}-source"));
            file.line(&format!("ADD {EXECUTABLES} /"));
        }
    }
    // Mode, owner and name are set in a stage of their own, where another layer doesn't matter.
    file.line(&format!("FROM scratch AS {stage}-files"));
    let folders = recipe.binaries.by_folder();
    for (number, (_, files)) in folders.iter().enumerate() {
        for binary in files {
            let from = if pulled.is_some() { binary.from() } else { binary.to() };
            let paths = [pattern(from), literal(&format!("/{number}/{}", binary.name()))];
            let mode = recipe.mode(binary);
            file.line(&format!("COPY --from={stage}-source --chown=0:0 --chmod={mode:o} {}", json(&paths)));
        }
    }
    let base = recipe.base.image().map_or_else(|| "scratch".to_owned(), |base| base.reference.to_string());
    file.line(&format!("FROM --platform={platform} {base} AS {stage}"));
    let link = if link { "--link " } else { "" };
    for (number, (folder, files)) in folders.iter().enumerate() {
        let mut paths: Vec<String> =
            files.iter().map(|binary| pattern(&format!("/{number}/{}", binary.name()))).collect();
        paths.push(literal(&format!("{folder}/")));
        file.line(&format!("COPY {link}--from={stage}-files {}", json(&paths)));
    }
    for (name, value) in &recipe.base.config().expanded(&recipe.changes) {
        let value = file.word(value);
        // Engines accept more names than the parser does without quotes.
        let is_plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b));
        let name = if is_plain { name.clone() } else { file.word(name) };
        file.line(&format!("ENV {name}={value}"));
    }
    if !recipe.run.is_empty() {
        // BuildKit and many programs use it as the time of the files that they make.
        let created = recipe.created.as_deref().and_then(|created| chrono::DateTime::parse_from_rfc3339(created).ok());
        let seconds = created.map_or(0, |created| created.timestamp());
        file.arguments.insert("SOURCE_DATE_EPOCH".to_owned(), seconds.to_string());
        file.line("ARG SOURCE_DATE_EPOCH");
    }
    for run in &recipe.run {
        file.line(&format!("RUN {run}"));
    }
    for (name, value) in &recipe.changes.labels {
        let (name, value) = (file.word(name), file.word(value));
        file.line(&format!("LABEL {name}={value}"));
    }
    // The entrypoint comes first: it drops the base's command, as `changes` do.
    for (instruction, list) in [("ENTRYPOINT", &recipe.changes.entrypoint), ("CMD", &recipe.changes.cmd)] {
        if let Some(list) = list {
            file.line(&format!("{instruction} {}", json(list)));
        }
    }
    for (instruction, text) in [("WORKDIR", &recipe.changes.workdir), ("USER", &recipe.changes.user)] {
        if let Some(text) = text {
            let text = file.word(text);
            file.line(&format!("{instruction} {text}"));
        }
    }
    file
}

impl Dockerfile {
    fn line(&mut self, line: &str) {
        writeln!(self.text, "{line}").expect("a String takes every write");
    }

    /// `value` as one word of an instruction that expands variables. A value that no line can contain goes through a
    /// build argument, whose value isn't parsed.
    fn word(&mut self, value: &str) -> String {
        if value.contains(['\n', '\r']) || value.len() > LONGEST {
            let name = format!("pv_value_{}", self.arguments.len());
            self.line(&format!("ARG {name}"));
            self.arguments.insert(name.clone(), value.to_owned());
            return format!("\"${{{name}}}\"");
        }
        let mut word = String::from('"');
        for character in value.chars() {
            if matches!(character, '"' | '\\' | '$') {
                word.push('\\');
            }
            word.push(character);
        }
        word.push('"');
        word
    }
}

fn json(list: &[String]) -> String {
    serde_json::to_string(list).expect("strings are JSON")
}

/// A pattern for `COPY` that matches exactly this path.
fn pattern(path: &str) -> String {
    let mut pattern = String::new();
    for character in path.chars() {
        match character {
            '*' | '?' | '[' => pattern.extend(['[', character, ']']),
            other => pattern.push(other),
        }
    }
    literal(&pattern)
}

/// A path in which `COPY` expands nothing.
fn literal(path: &str) -> String {
    let mut literal = String::new();
    for character in path.chars() {
        if matches!(character, '$' | '\\' | '"' | '\'') {
            literal.push('\\');
        }
        literal.push(character);
    }
    literal
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::json;

    use super::*;
    use crate::compose::recipe::{ResolvedBase, ResolvedImage};
    use crate::image::config::Changes;
    use crate::image::{Config, Descriptor, Digest, Manifest, MediaType, PinnedName};

    fn image(repository: &str) -> ResolvedImage {
        let config = json!({ "os": "linux", "architecture": "arm64", "rootfs": { "diff_ids": [] } });
        ResolvedImage {
            reference: repository.parse::<crate::image::Repository>().unwrap().pinned(Digest::of(b"")),
            manifest: Manifest {
                schema_version: 2,
                media_type: String::new(),
                config: Descriptor::new(MediaType::Config, Digest::of(b""), 0),
                layers: Vec::new(),
                annotations: BTreeMap::new(),
            },
            config: Config::parse(config.to_string().as_bytes()).unwrap(),
        }
    }

    fn recipe(changes: Changes, run: &[&str]) -> Recipe {
        Recipe {
            variant: "alpine3.23".into(),
            platform: "linux/arm64".parse().unwrap(),
            base: ResolvedBase::Image(image("alpine")),
            source: image("ghcr.io/astral-sh/uv").into(),
            binaries: ["/uv /uvx"].into_iter().collect(),
            not_executable: BTreeSet::new(),
            interpreters: BTreeMap::new(),
            changes,
            run: run.iter().map(|run| run.parse().unwrap()).collect(),
            created: Some("2026-01-15T20:44:00Z".into()),
        }
    }

    #[test]
    fn a_recipe_becomes_a_dockerfile() {
        let changes = Changes {
            env: [("UV_TOOL_BIN_DIR".into(), "/usr/local/bin:$NONE".parse().unwrap())].into(),
            labels: [("org.opencontainers.image.title".into(), "it's \"uv\" for $5\\".into())].into(),
            cmd: Some(vec!["/usr/local/bin/uv".into()]),
            entrypoint: Some(vec![]),
            user: Some("1000:1000".into()),
            workdir: Some("/work".into()),
            ..Changes::default()
        };
        let file = render(&recipe(changes, &["apk add git"]), "pv-x-0", false);
        let digest = Digest::of(b"");
        let expected = format!(
            r#"FROM --platform=linux/arm64 ghcr.io/astral-sh/uv@{digest} AS pv-x-0-source
FROM scratch AS pv-x-0-files
COPY --from=pv-x-0-source --chown=0:0 --chmod=755 ["/uv","/0/uv"]
COPY --from=pv-x-0-source --chown=0:0 --chmod=755 ["/uvx","/0/uvx"]
FROM --platform=linux/arm64 docker.io/library/alpine@{digest} AS pv-x-0
COPY --from=pv-x-0-files ["/0/uv","/0/uvx","/usr/local/bin/"]
ENV UV_TOOL_BIN_DIR="/usr/local/bin:"
ARG SOURCE_DATE_EPOCH
RUN apk add git
LABEL "org.opencontainers.image.title"="it's \"uv\" for \$5\\"
ENTRYPOINT []
CMD ["/usr/local/bin/uv"]
WORKDIR "/work"
USER "1000:1000"
"#
        );
        assert_eq!(file.text, expected);
        assert_eq!(file.arguments, [("SOURCE_DATE_EPOCH".to_owned(), "1768509840".to_owned())].into());
    }

    #[test]
    fn files_that_are_in_no_registry_come_from_the_context() {
        let mut recipe = recipe(Changes::default(), &[]);
        recipe.source.name = PinnedName::Local("oci:dist/image.tar".parse().unwrap(), Digest::of(b""));
        let file = render(&recipe, "pv-x-0", true);
        let expected = r#"FROM scratch AS pv-x-0-source
ADD executables.tar.gz /
FROM scratch AS pv-x-0-files
COPY --from=pv-x-0-source --chown=0:0 --chmod=755 ["/usr/local/bin/uv","/0/uv"]
"#;
        assert!(file.text.starts_with(expected), "{}", file.text);
    }

    #[test]
    fn a_line_break_goes_through_an_argument() {
        let changes = Changes { env: [("A".into(), "1\n2".parse().unwrap())].into(), ..Changes::default() };
        let file = render(&recipe(changes, &[]), "pv-x-0", false);
        assert!(file.text.ends_with("ARG pv_value_0\nENV A=\"${pv_value_0}\"\n"), "{}", file.text);
        assert_eq!(file.arguments["pv_value_0"], "1\n2");
    }
}
