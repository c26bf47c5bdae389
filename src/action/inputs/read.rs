//! Reading the inputs, with all problems in one go.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroUsize;
use std::path::Path;

use super::{Builder, Inputs, MatrixText, OnConflict, Rolling, VersionPattern, list};
use crate::action::environment::{Environment, Files, read_text, without_mark};
use crate::action::options::Options;
use crate::compose::binaries::Binaries;
use crate::credentials::{self, Credentials};
use crate::image::environment::wrong_name;
use crate::image::platform::NotLinux;
use crate::image::{EnvValue, Platform, Repository};
use crate::plan::{Place, PlannedAnnotations, Platforms, Problem, Template, WrittenSource};
use crate::secret::Secret;
use crate::version::{Scheme, VersionSet};

/// The tags of a variant, where `tag-templates` doesn't say otherwise.
const DEFAULT_TEMPLATES: [&str; 3] = ["{version}-{tag}", "{major}.{minor}-{tag}", "{tag}"];
/// What `source-tags: default` means.
const DEFAULT_SOURCE_TAGS: [&str; 3] = ["{version}", "{major}.{minor}", "latest"];
/// The largest matrix that is read.
const MATRIX_LIMIT: u64 = 8 << 20;

impl Inputs {
    /// Reads the options, or else the variables that GitHub sets for the action's inputs. What is wrong with them goes
    /// to `problems`, and a default takes its place.
    #[must_use]
    #[deny(unused_variables, reason = "an input that is described and not read must not compile")]
    pub fn read(options: &Options, environment: &Environment, files: &dyn Files, problems: &mut Vec<Problem>) -> Self {
        // All of them by name, and no `..`: a new one has to be read here.
        let Options {
            version,
            version_pattern,
            version_scheme,
            source,
            source_tags,
            binaries,
            matrix,
            file,
            tag_templates,
            platforms,
            env,
            labels,
            annotations,
            images,
            credentials,
            github_token,
            insecure_registries,
            builder,
            dry_run,
            verify,
            rolling,
            on_conflict,
            ignore_versions,
            release_notes,
            concurrency,
        } = options;
        let github_token = written("github-token", github_token.as_deref(), environment).and_then(Secret::new);
        let credentials = lines("credentials", credentials, environment);
        let credentials = Credentials::read(&credentials, github_token.as_ref(), environment, files, problems);
        let mut reader = Reader { environment, problems };
        let version_scheme = reader.choice("version-scheme", version_scheme, Scheme::Auto);
        Self {
            version: reader.text("version", version),
            version_pattern: reader.pattern(version_pattern),
            version_scheme,
            source: reader.source(source),
            source_tags: reader.source_tags(source_tags),
            binaries: reader.binaries(binaries),
            matrix: reader.matrix(matrix, file, files),
            tag_templates: reader.tag_templates(tag_templates),
            platforms: reader.platforms(platforms),
            env: reader.env(env),
            labels: reader.assignments("labels", labels).into_iter().collect(),
            annotations: reader.annotations(annotations),
            images: reader.images(images),
            insecure_registries: reader.words("insecure-registries", insecure_registries),
            builder: reader.choice("builder", builder, Builder::default()),
            dry_run: reader.choice("dry-run", dry_run, false),
            verify: reader.choice("verify", verify, true),
            rolling: reader.choice("rolling", rolling, Rolling::default()),
            on_conflict: reader.choice("on-conflict", on_conflict, OnConflict::default()),
            ignore_versions: reader.ignore_versions(ignore_versions, version_scheme),
            release_notes: reader.choice("release-notes", release_notes, true),
            concurrency: reader.concurrency(concurrency),
            credentials,
            github_token,
        }
    }
}

/// The variables with tokens that the runner gives to steps, beside those of the inputs.
const TOKENS: [&str; 3] = ["GITHUB_TOKEN", "ACTIONS_ID_TOKEN_REQUEST_TOKEN", "ACTIONS_RUNTIME_TOKEN"];

/// Everything that options and environment hold and nobody may see, whether the inputs can be used or not.
#[must_use]
pub fn secrets(options: &Options, environment: &Environment) -> Vec<Secret> {
    let given = credentials::secrets(&lines("credentials", &options.credentials, environment));
    let token = written("github-token", options.github_token.as_deref(), environment);
    let tokens = TOKENS.iter().filter_map(|name| environment.get(name)).map(str::to_owned);
    given.into_iter().chain(token.into_iter().chain(tokens).filter_map(Secret::new)).collect()
}

/// What was written for an input, on the command line or else in the workflow.
fn written(name: &str, option: Option<&str>, environment: &Environment) -> Option<String> {
    option.or_else(|| environment.input(name)).map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned)
}

fn lines(name: &str, option: &[String], environment: &Environment) -> String {
    if option.is_empty() { environment.input(name).unwrap_or_default().to_owned() } else { option.join("\n") }
}

/// Reads one input after the other. `option` is what the command line says.
struct Reader<'a> {
    environment: &'a Environment,
    problems: &'a mut Vec<Problem>,
}

impl Reader<'_> {
    fn problem(&mut self, input: &'static str, situation: impl fmt::Display) {
        self.problems.push(Problem::new(&Place::Input(input), situation));
    }

    fn text(&self, name: &str, option: &Option<String>) -> Option<String> {
        written(name, option.as_deref(), self.environment)
    }

    /// Lines, without blank ones and comments.
    fn lines(&self, name: &str, option: &[String]) -> Vec<String> {
        list::lines(&lines(name, option, self.environment)).map(str::to_owned).collect()
    }

    /// Words apart by blanks, commas or line ends, without comments.
    fn words(&self, name: &str, option: &[String]) -> Vec<String> {
        list::words(&lines(name, option, self.environment)).map(str::to_owned).collect()
    }

    fn choice<T: Choice>(&mut self, name: &'static str, option: &Option<String>, default: T) -> T {
        let Some(text) = self.text(name, option) else { return default };
        match T::VALUES.iter().find(|(value, _)| text.eq_ignore_ascii_case(value)) {
            Some((_, choice)) => *choice,
            None => {
                let values: Vec<String> = T::VALUES.iter().map(|(value, _)| format!("`{value}`")).collect();
                self.problem(name, format!("`{text}` is none of its values\nhint: use one of {}", values.join(", ")));
                default
            }
        }
    }

    /// Lines `NAME=value`.
    fn assignments(&mut self, name: &'static str, option: &[String]) -> Vec<(String, String)> {
        let mut assignments = Vec::new();
        for line in self.lines(name, option) {
            match line.split_once('=') {
                Some((key, value)) if !key.is_empty() && !key.contains(char::is_whitespace) => {
                    assignments.push((key.to_owned(), value.to_owned()));
                }
                _ => self.problems.push(
                    Problem::new(&Place::Input(name), format!("`{line}` is not an assignment"))
                        .hint("write `NAME=value`, one a line, without blanks in the name"),
                ),
            }
        }
        assignments
    }

    fn env(&mut self, option: &[String]) -> BTreeMap<String, EnvValue> {
        let mut values = BTreeMap::new();
        for (variable, text) in self.assignments("env", option) {
            if let Some(why) = wrong_name(&variable) {
                self.problems.push(
                    Problem::new(&Place::Input("env"), format!("{variable:?} is not the name of a variable: {why}"))
                        .hint("write `NAME=value`, one a line"),
                );
            }
            match text.parse() {
                Ok(value) => drop(values.insert(variable, value)),
                Err(invalid) => self.problem("env", invalid),
            }
        }
        values
    }

    fn annotations(&mut self, option: &[String]) -> PlannedAnnotations {
        let mut annotations = PlannedAnnotations::default();
        for (key, value) in self.assignments("annotations", option) {
            if let Err(invalid) = annotations.set(&key, &value) {
                self.problems.push(Problem::new(&Place::Input("annotations"), invalid.situation).hint(invalid.hint));
            }
        }
        annotations
    }

    fn templates(&mut self, name: &'static str, lines: &[String]) -> Vec<Template> {
        let mut templates = Vec::new();
        for line in lines {
            match line.parse::<Template>() {
                Ok(template) if templates.contains(&template) => {}
                Ok(template) => templates.push(template),
                Err(invalid) => self.problem(name, invalid),
            }
        }
        templates
    }

    fn pattern(&mut self, option: &Option<String>) -> VersionPattern {
        let Some(text) = self.text("version-pattern", option) else { return VersionPattern::default() };
        text.parse().unwrap_or_else(|invalid| {
            self.problem("version-pattern", invalid);
            VersionPattern::default()
        })
    }

    fn source(&mut self, option: &Option<String>) -> Option<WrittenSource> {
        let text = self.text("source", option)?;
        let read = WrittenSource::read(&text);
        read.map_err(|problems| problems.iter().for_each(|problem| self.problem("source", problem))).ok()
    }

    fn source_tags(&mut self, option: &[String]) -> Vec<Template> {
        let lines = self.lines("source-tags", option);
        let lines: Vec<String> = match &lines[..] {
            [word] if word == "none" || word == "false" => return Vec::new(),
            [word] if word == "default" || word == "true" => DEFAULT_SOURCE_TAGS.map(str::to_owned).to_vec(),
            _ => lines,
        };
        let templates = self.templates("source-tags", &lines);
        if let Some(template) = templates.iter().find(|template| template.has_tag()) {
            self.problem("source-tags", format!("`{template}` has `{{tag}}`, which only variants have"));
        }
        if !templates.is_empty() && !templates.iter().any(Template::is_exact) {
            self.problem(
                "source-tags",
                "no template names the version\nhint: add `{version}`; rolling tags are moved by the exact tags that exist",
            );
        }
        templates
    }

    fn ignore_versions(&mut self, option: &[String], scheme: Scheme) -> VersionSet {
        let lines = self.lines("ignore-versions", option);
        let mut versions = VersionSet::default();
        let words = |line| str::split_whitespace(line).take_while(|word| !word.starts_with('#'));
        for text in lines.iter().flat_map(|line| words(line)) {
            if let Err(invalid) = versions.add(text, scheme) {
                self.problem("ignore-versions", invalid);
            }
        }
        versions
    }

    fn tag_templates(&mut self, option: &[String]) -> Vec<Template> {
        let mut lines = self.lines("tag-templates", option);
        if lines.is_empty() {
            lines = DEFAULT_TEMPLATES.map(str::to_owned).to_vec();
        }
        let before = self.problems.len();
        let templates = self.templates("tag-templates", &lines);
        if let Some(template) = templates.iter().find(|template| !template.has_tag()) {
            self.problem(
                "tag-templates",
                format!("`{template}` gives all variants the same tag\nhint: add `{{tag}}`, the entry of the variant's `tags`"),
            );
        }
        if self.problems.len() == before && !templates.iter().any(Template::is_exact) {
            self.problem(
                "tag-templates",
                "no template names the version\nhint: add `{version}-{tag}`; rolling tags are moved by the exact tags that exist",
            );
        }
        templates
    }

    fn binaries(&mut self, option: &[String]) -> Binaries {
        let (mut binaries, mut problems) = (Binaries::default(), Vec::new());
        binaries.add(&self.words("binaries", option).join(" "), &mut problems);
        problems.iter().for_each(|problem| self.problem("binaries", problem));
        binaries
    }

    fn platforms(&mut self, option: &[String]) -> Platforms {
        let words = self.words("platforms", option);
        if words.is_empty() || words == ["auto"] {
            return Platforms::Auto;
        }
        let mut platforms = Vec::new();
        for word in &words {
            match word.parse::<Platform>() {
                Ok(platform) if platforms.contains(&platform) => {}
                Ok(platform) if !platform.is_linux() => self.problem("platforms", NotLinux(platform)),
                Ok(platform) => platforms.push(platform),
                Err(invalid) => self.problem("platforms", invalid),
            }
        }
        Platforms::Listed(platforms)
    }

    fn images(&mut self, option: &[String]) -> Vec<Repository> {
        let mut words = self.words("images", option);
        if words.is_empty() {
            words.extend(
                self.environment
                    .container_registry()
                    .zip(self.environment.get("GITHUB_REPOSITORY"))
                    .map(|(registry, name)| format!("{registry}/{}", name.to_lowercase())),
            );
        }
        if words.is_empty() {
            self.problem(
                "images",
                "no repository to publish to is named\nhint: list some, such as `ghcr.io/astral-sh/uv`",
            );
        }
        let mut images = Vec::new();
        for word in &words {
            match word.parse::<Repository>() {
                Ok(repository) if images.contains(&repository) => {}
                Ok(repository) => images.push(repository),
                Err(invalid) => self.problem("images", invalid),
            }
        }
        images
    }

    fn concurrency(&mut self, option: &Option<String>) -> NonZeroUsize {
        const DEFAULT: NonZeroUsize = NonZeroUsize::new(8).expect("8 is not 0");
        let Some(text) = self.text("concurrency", option) else { return DEFAULT };
        text.parse().ok().filter(|number: &NonZeroUsize| number.get() <= 64).unwrap_or_else(|| {
            self.problem("concurrency", format!("`{text}` is no number from 1 to 64"));
            DEFAULT
        })
    }

    fn matrix(&mut self, option: &Option<String>, file: &Option<String>, files: &dyn Files) -> Option<MatrixText> {
        let text = match (file, option) {
            (Some(_), _) => None,
            // Not trimmed: columns are to be those of the text.
            (None, Some(text)) => Some(text.clone()),
            (None, None) => self.environment.input("matrix").map(str::to_owned),
        };
        let path = match (file, text) {
            (Some(path), _) => path.clone(),
            (None, Some(text)) if is_path(&text) => text.trim().to_owned(),
            (None, Some(text)) if text.len() as u64 > MATRIX_LIMIT => {
                self.problem("matrix", format!("it has more than {} MiB", MATRIX_LIMIT >> 20));
                return None;
            }
            (None, Some(text)) => {
                return Some(MatrixText { name: "matrix".to_owned(), text: without_mark(text) });
            }
            (None, None) => {
                self.problem(
                    "matrix",
                    "no variants are given\nhint: give YAML, lines such as `alpine:3.23,alpine3.23,alpine`, or the path of a file",
                );
                return None;
            }
        };
        match read_text(files, Path::new(&path), MATRIX_LIMIT) {
            Ok(text) => Some(MatrixText { name: path, text }),
            Err(error) => {
                self.problem(
                    "matrix",
                    format!("file `{path}` can't be read: {error}\nhint: the path is relative to the workspace; is there an `actions/checkout` step before?"),
                );
                None
            }
        }
    }
}

/// One line that is neither YAML nor `base,tag`: a path.
fn is_path(text: &str) -> bool {
    let text = text.trim();
    let one_word = !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || matches!(c, ',' | '{' | '['));
    let extension = Path::new(text).extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    one_word && (matches!(extension, "yml" | "yaml" | "json" | "txt") || !text.contains(':'))
}

/// An input with few values, which are written as these.
trait Choice: Copy + Default + 'static {
    const VALUES: &'static [(&'static str, Self)];
}

impl Choice for Builder {
    const VALUES: &'static [(&'static str, Self)] = &[("engine", Self::Engine), ("registry", Self::Registry)];
}

impl Choice for Rolling {
    const VALUES: &'static [(&'static str, Self)] =
        &[("guard", Self::Guard), ("always", Self::Always), ("never", Self::Never)];
}

impl Choice for OnConflict {
    const VALUES: &'static [(&'static str, Self)] =
        &[("keep", Self::Keep), ("fail", Self::Fail), ("replace", Self::Replace)];
}

impl Choice for Scheme {
    const VALUES: &'static [(&'static str, Self)] =
        &[("auto", Self::Auto), ("pep440", Self::Pep440), ("semver", Self::Semver)];
}

impl Choice for bool {
    const VALUES: &'static [(&'static str, Self)] = &[("true", true), ("false", false)];
}
