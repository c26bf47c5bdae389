//! Reads the inputs, and collects all their problems.

use std::collections::BTreeMap;
use std::io;
use std::num::NonZeroUsize;
use std::path::Path;

use chrono::DateTime;
use serde::Deserialize;

use super::choice::{self, Choice};
use super::{
    Builder, Inputs, MatrixText, OnConflict, PullRequest, RecordText, ReleaseNotes, Rolling, VersionPattern, list,
};
use crate::action::environment::{Environment, Files, read_all, read_text, without_bom};
use crate::action::event::DRY_RUN;
use crate::action::forge::SECRETS;
use crate::action::options::Options;
use crate::compose::binaries::Binaries;
use crate::credentials::{self, Credentials};
use crate::facts::Stated;
use crate::hint::{self, Flaw, Hinted, Hints};
use crate::image::environment::wrong_name;
use crate::image::platform::NotLinux;
use crate::image::{EnvValue, Platform, Repository};
use crate::plan::template::BARE;
use crate::plan::{Place, PlannedAnnotations, Platforms, Problem, RepositoryFacts, Template, Text, WrittenSource};
use crate::secret::Secret;
use crate::version::{Scheme, VersionSet};

/// The default of `tag-templates`.
const DEFAULT_TEMPLATES: [&str; 3] = ["{version}-{tag}", "{major}.{minor}-{tag}", "{tag}"];
/// The largest matrix that is read, in bytes.
const MATRIX_LIMIT: u64 = 8 << 20;

impl Inputs {
    /// Reads the options, or else the variables that GitHub sets for the action's inputs. What is wrong with them is
    /// added to `problems`, and replaced by a default.
    #[must_use]
    #[deny(unused_variables, reason = "an input that is described and not read must not compile")]
    pub fn read(options: &Options, environment: &Environment, files: &dyn Files, problems: &mut Vec<Problem>) -> Self {
        // Every field by name, without `..`, so that a new option must be read here.
        let Options {
            version,
            version_pattern,
            version_scheme,
            source,
            source_tags,
            binaries,
            matrix,
            file,
            images_from,
            tag_templates,
            platforms,
            env,
            labels,
            annotations,
            repository_url,
            revision,
            created,
            images,
            credentials,
            github_token,
            insecure_registries,
            builder,
            dry_run,
            pull_request,
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
        let (version, is_implicit) = reader.version(version);
        let version_scheme = reader.choice("version-scheme", version_scheme, Scheme::Auto);
        Self {
            version,
            version_pattern: reader.pattern(version_pattern),
            version_scheme,
            source: reader.source(source),
            source_tags: reader.source_tags(source_tags),
            binaries: reader.binaries(binaries),
            matrix: reader.matrix(matrix, file, files),
            images_from: reader.images_from(images_from, files),
            tag_templates: reader.tag_templates(tag_templates),
            platforms: reader.platforms(platforms),
            env: reader.env(env),
            labels: reader.assignments("labels", labels).into_iter().collect(),
            annotations: reader.annotations(annotations),
            stated: reader.stated(repository_url, revision, created),
            images: reader.images(images),
            insecure_registries: reader.words("insecure-registries", insecure_registries),
            builder: reader.choice("builder", builder, Builder::default()),
            dry_run: reader.choice("dry-run", dry_run, false) || is_implicit,
            pull_request: reader.choice("pull-request", pull_request, PullRequest::default()),
            verify: reader.choice("verify", verify, true),
            rolling: reader.choice("rolling", rolling, Rolling::default()),
            on_conflict: reader.choice("on-conflict", on_conflict, OnConflict::default()),
            ignore_versions: reader.ignore_versions(ignore_versions, version_scheme),
            release_notes: reader.choice("release-notes", release_notes, ReleaseNotes::default()),
            concurrency: reader.concurrency(concurrency),
            credentials,
            github_token,
        }
    }
}

/// Every secret in options and environment, whether or not the inputs can be used.
#[must_use]
pub fn secrets(options: &Options, environment: &Environment) -> Vec<Secret> {
    let given = credentials::secrets(&lines("credentials", &options.credentials, environment));
    let token = written("github-token", options.github_token.as_deref(), environment);
    let tokens = SECRETS.iter().filter_map(|name| environment.get(name)).map(str::to_owned);
    given.into_iter().chain(token.into_iter().chain(tokens).filter_map(Secret::new)).collect()
}

/// The text of an input, from the command line or else from the workflow.
fn written(name: &str, option: Option<&str>, environment: &Environment) -> Option<String> {
    option.or_else(|| environment.input(name)).map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned)
}

fn lines(name: &str, option: &[String], environment: &Environment) -> String {
    if option.is_empty() { environment.input(name).unwrap_or_default().to_owned() } else { option.join("\n") }
}

/// The fields that we need of the release in `dist plan --output-format=json`.
#[derive(Deserialize)]
struct DistPlan {
    /// The tag; `None` if nothing is announced.
    announcement_tag: Option<String>,
    /// Whether cargo-dist derived the tag from the versions of the packages, as it does for pull requests. Then no
    /// release was asked for.
    #[serde(default)]
    announcement_tag_is_implicit: bool,
}

/// Reads one input after another. `option` is the value on the command line.
struct Reader<'a> {
    environment: &'a Environment,
    problems: &'a mut Vec<Problem>,
}

impl Reader<'_> {
    fn problem(&mut self, input: &'static str, situation: impl Hinted) {
        self.problems.push(Problem::new(&Place::Input(input), situation));
    }

    fn text(&self, name: &str, option: &Option<String>) -> Option<String> {
        written(name, option.as_deref(), self.environment)
    }

    /// The version as it was written, or the one in cargo-dist's plan; and whether that plan announces nothing yet.
    fn version(&mut self, option: &Option<String>) -> (Option<String>, bool) {
        match self.text("version", option) {
            Some(text) if text.starts_with('{') => match serde_json::from_str::<DistPlan>(&text) {
                Ok(plan) => {
                    (plan.announcement_tag.or_else(|| Some(DRY_RUN.to_owned())), plan.announcement_tag_is_implicit)
                }
                Err(invalid) => {
                    let hint = "give a version, or the whole plan: `version: ${{ inputs.plan }}`";
                    self.problem("version", Flaw::new(format!("it is not a plan of cargo-dist: {invalid}"), hint));
                    (None, false)
                }
            },
            text => (text, false),
        }
    }

    /// The lines, without blank ones and comments.
    fn lines(&self, name: &str, option: &[String]) -> Vec<String> {
        list::lines(&lines(name, option, self.environment)).map(str::to_owned).collect()
    }

    /// The words, separated by blanks, commas or line breaks, without comments.
    fn words(&self, name: &str, option: &[String]) -> Vec<String> {
        list::words(&lines(name, option, self.environment)).map(str::to_owned).collect()
    }

    fn choice<T: Choice>(&mut self, name: &'static str, option: &Option<String>, default: T) -> T {
        let Some(text) = self.text(name, option) else { return default };
        choice::read(&text).unwrap_or_else(|(situation, hint)| {
            self.problem(name, Flaw::new(situation, hint));
            default
        })
    }

    /// Lines of the form `NAME=value`.
    fn assignments(&mut self, name: &'static str, option: &[String]) -> Vec<(String, String)> {
        let mut assignments = Vec::new();
        for line in self.lines(name, option) {
            match line.split_once('=') {
                Some((key, value)) if !key.is_empty() && !key.contains(char::is_whitespace) => {
                    assignments.push((key.to_owned(), value.to_owned()));
                }
                _ => self.problems.push(
                    Problem::new(&Place::Input(name), format!("`{line}` is not an assignment"))
                        .hint("write `NAME=value`, one per line, without blanks in the name"),
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
                        .hint("write `NAME=value`, one per line"),
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
                self.problem("annotations", invalid);
            }
        }
        annotations
    }

    fn templates(&mut self, name: &'static str, lines: &[String]) -> Vec<Template> {
        let mut templates = Vec::new();
        for line in lines {
            if line.contains(',') {
                let situation = format!("`{line}` has a comma, which no tag can have");
                self.problem(name, Flaw::new(situation, "write one template per line"));
                continue;
            }
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
            [word] if word == "default" || word == "true" => BARE.map(str::to_owned).to_vec(),
            _ => lines,
        };
        let templates = self.templates("source-tags", &lines);
        if let Some(template) = templates.iter().find(|template| template.has_tag()) {
            self.problem("source-tags", format!("`{template}` has `{{tag}}`, which only variants have"));
        }
        if !templates.is_empty() && !templates.iter().any(Template::is_exact) {
            let hint = "add `{version}`; rolling tags are moved by the exact tags that exist";
            self.problem("source-tags", Flaw::new("no template names the version", hint));
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
        let mut templates = self.templates("tag-templates", &lines);
        if let Some(template) = templates.iter().find(|template| !template.has_tag()) {
            let situation = format!("`{template}` gives all variants the same tag");
            self.problem("tag-templates", Flaw::new(situation, "add `{tag}`, the entry of the variant's `tags`"));
        }
        // Their tags would only cause further problems.
        templates.retain(Template::has_tag);
        if self.problems.len() == before && !templates.iter().any(Template::is_exact) {
            let hint = "add `{version}-{tag}`; rolling tags are moved by the exact tags that exist";
            self.problem("tag-templates", Flaw::new("no template names the version", hint));
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

    fn stated(
        &mut self,
        repository_url: &Option<String>,
        revision: &Option<String>,
        created: &Option<String>,
    ) -> Stated {
        let mut stated = Stated { revision: self.text("revision", revision), ..Stated::default() };
        if let Some(revision) = stated.revision.take_if(|revision| revision.contains(char::is_whitespace)) {
            let situation = format!("`{revision}` is more than one word");
            self.problem("revision", Flaw::new(situation, "give the name of a commit"));
        }
        if let Some(text) = self.text("repository-url", repository_url) {
            stated.repository = RepositoryFacts::at(&text);
            if stated.repository.is_none() {
                // Not quoted, because an address may contain a password.
                let hint = "write it as `https://github.com/astral-sh/uv`";
                self.problem("repository-url", Flaw::new("it is not the address of a repository", hint));
            }
        }
        if let Some(text) = self.text("created", created) {
            stated.created = DateTime::parse_from_rfc3339(&text).ok().map(|time| time.to_utc());
            if stated.created.is_none() {
                let situation = format!("`{text}` is not a time with a time zone");
                let hint = "write it as `2026-01-15T20:00:00Z`; `git log -1 --format=%cI` prints a commit's";
                self.problem("created", Flaw::new(situation, hint));
            }
        }
        stated
    }

    fn images(&mut self, option: &[String]) -> Vec<Repository> {
        let mut words = self.words("images", option);
        if words.is_empty() {
            words.extend(self.environment.own_image());
        }
        if words.is_empty() {
            let hint = "list some, such as `ghcr.io/astral-sh/uv`";
            self.problem("images", Flaw::new("no repository to publish to is named", hint));
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
            let situation = format!("`{text}` is not a number from 1 to 64");
            self.problem("concurrency", Flaw::new(situation, "leave it out for 8"));
            DEFAULT
        })
    }

    fn matrix(&mut self, option: &Option<String>, file: &Option<String>, files: &dyn Files) -> Option<MatrixText> {
        let text = match (file, option) {
            (Some(_), _) => None,
            // Not trimmed, so that columns count from the beginning of the lines.
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
                return Some(MatrixText { name: self.environment.text_of("matrix"), text: without_bom(text) });
            }
            (None, None) => {
                let hint = "give YAML, lines such as `alpine:3.23,alpine3.23,alpine`, or the path of a file";
                self.problem("matrix", Flaw::new("no variants are given", hint));
                return None;
            }
        };
        let read = match file.as_deref() {
            Some("-") => read_all(files.standard_input(), MATRIX_LIMIT),
            _ => read_text(files, Path::new(&path), MATRIX_LIMIT),
        };
        self.file("matrix", path, read, hint::of_matrix())
    }

    fn images_from(&mut self, option: &Option<String>, files: &dyn Files) -> Option<RecordText> {
        let path = self.text("images-from", option)?;
        let read = read_text(files, Path::new(&path), MATRIX_LIMIT);
        let text = self.file("images-from", path, read, hint::of_path("does an earlier step download the record?"));
        Some(text.map_or(RecordText::Unreadable, RecordText::Read))
    }

    fn file(&mut self, input: &'static str, path: String, read: io::Result<String>, hint: Hints) -> Option<MatrixText> {
        match read {
            Ok(text) => Some(MatrixText { name: Text::File(path), text }),
            Err(error) => {
                let situation = format!("file `{path}` can't be read: {error}");
                self.problem(input, Flaw::new(situation, hint));
                None
            }
        }
    }
}

/// Whether the text is a single line that is neither YAML nor `base,tag`: then it is a path.
fn is_path(text: &str) -> bool {
    let text = text.trim();
    let one_word = !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || matches!(c, ',' | '{' | '['));
    let extension = Path::new(text).extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    one_word && (matches!(extension, "yml" | "yaml" | "json" | "txt") || !text.contains(':'))
}
