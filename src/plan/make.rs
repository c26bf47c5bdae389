//! Makes a plan from the inputs and the event.

use super::refusals::{own_source, refuse, refuse_defaults, unknown, warn};
use super::tags::{Claims, DEFAULT_ENTRY, Tagger};
use super::variant::variant;
use super::version::{asks_for_dry_run, determine};
use super::{Made, Place, Plan, PlanError, Platforms, Problem, Source, Template, Variant};
use crate::action::inputs::PullRequest;
use crate::action::{Environment, Event, Files, Inputs, Options};
use crate::hint::{Flaw, Input};
use crate::image::SourceName;
use crate::image::reference::InvalidName;
use crate::matrix::{self, Row};
use crate::ownership::Grammar;
use crate::version::Scheme;

impl Plan {
    /// Reads options, environment and files, and makes the plan.
    ///
    /// # Errors
    /// All problems of the inputs and the event.
    pub fn read(
        options: &Options,
        environment: &Environment,
        files: &dyn Files,
    ) -> Result<(Self, Inputs, Event), PlanError> {
        let mut problems = Vec::new();
        let inputs = Inputs::read(options, environment, files, &mut problems);
        let event = Event::read(environment, files, &mut problems);
        let plan = Self::new(&inputs, &event, problems)?;
        Ok((plan, inputs, event))
    }

    /// Makes the plan. `problems` are those found so far in the inputs and the event.
    ///
    /// # Errors
    /// These problems, and all others.
    pub fn new(inputs: &Inputs, event: &Event, mut problems: Vec<Problem>) -> Result<Self, PlanError> {
        let determined = determine(inputs, event, &mut problems);
        let is_release = determined.as_ref().is_some_and(|determined| determined.version.as_commit().is_none());
        let record = inputs.images_from.as_ref();
        let mut rows =
            inputs.matrix.as_ref().map(|matrix| matrix::read(matrix, record, &mut problems)).unwrap_or_default();
        problems.extend(missing_binaries(inputs, &rows));
        let Some(determined) = determined else {
            return Err(PlanError::unless_none(problems).expect_err("no version is a problem"));
        };
        let version = determined.version;
        let bare = Template::bare();
        let tagger = Tagger { version: &version, templates: &inputs.tag_templates, bare: &bare };
        let is_without_source = inputs.source.is_none()
            && inputs.source_tags.is_empty()
            && !rows.is_empty()
            && rows.iter().all(|row| row.made.elsewhere().is_some() || row.source.is_some());
        let source = if is_without_source { None } else { source(inputs, &tagger, &mut problems) };
        refuse_defaults(&mut rows, &mut problems);

        let mut warnings = Vec::new();
        if is_release && inputs.pull_request == PullRequest::Push && event.is_pull_request() {
            let situation =
                format!("pull requests push development images only, so this is a dry run of version `{version}`");
            warnings.push(
                Problem::new(&Place::Input("pull-request"), situation)
                    .hint(format!("leave {} empty on pull requests", Input("version"))),
            );
        }
        if inputs.version_scheme == Scheme::Auto && version.has_implicit_post_release() {
            let scheme = |scheme| Input("version-scheme").set_to(scheme);
            let hint = format!("set {} if it is a pre-release, else {}", scheme("semver"), scheme("pep440"));
            let situation = format!("`{version}` is read as a post-release, which moves rolling tags");
            warnings.push(Problem::new(&Place::Input("version-scheme"), situation).hint(hint));
        }
        if let Platforms::Listed(platforms) = &inputs.platforms {
            warnings.extend(platforms.iter().filter_map(|platform| unknown(platform, &Place::Input("platforms"))));
        }
        rows.iter().for_each(|row| warn(row, &mut warnings));
        let variants = variants(rows, source.as_ref(), &tagger, inputs, &mut problems);
        let dry_run = is_dry_run(inputs, event, is_release);
        if !dry_run {
            problems.extend(missing_credentials(inputs, source.as_ref(), &variants));
        }
        PlanError::unless_none(problems)?;
        Ok(Self {
            grammar: grammar(inputs, &bare, source.as_ref(), &variants),
            tag_templates: inputs.tag_templates.clone(),
            not_final: determined.not_final,
            ignored: inputs.ignore_versions.clone(),
            rolling: inputs.rolling,
            on_conflict: inputs.on_conflict,
            version_pattern: inputs.version_pattern.clone(),
            release: determined.release,
            revision: inputs.stated.revision.clone().or(determined.revision),
            stated: inputs.stated.clone(),
            labels: inputs.labels.clone(),
            source,
            binaries: inputs.binaries.clone(),
            destinations: inputs.images.clone(),
            variants,
            dry_run,
            warnings,
            version,
        })
    }
}

/// Whether nothing may be pushed. A pull request may at most push development builds, not a release.
fn is_dry_run(inputs: &Inputs, event: &Event, is_release: bool) -> bool {
    let pushes = inputs.pull_request == PullRequest::Push && event.is_own_pull_request() && !is_release;
    inputs.dry_run || (event.is_pull_request() && !pushes) || asks_for_dry_run(inputs, event)
}

fn missing_binaries(inputs: &Inputs, rows: &[Row]) -> Option<Problem> {
    let needs_binaries = |row: &Row| row.binaries.is_none() && row.made.elsewhere().is_none();
    (inputs.binaries.is_empty() && (inputs.matrix.is_none() || rows.iter().any(needs_binaries))).then(|| {
        Problem::new(&Place::Input("binaries"), "no executables are named")
            .hint("list their paths in the source image, such as `/uv /uvx`")
    })
}

/// The lines of `credentials` that lack a part and are needed.
fn missing_credentials(inputs: &Inputs, source: Option<&Source>, variants: &[Variant]) -> Vec<Problem> {
    let named = source.map(|source| &source.name);
    let own = variants.iter().filter_map(|variant| variant.source.as_ref());
    let sources = named.into_iter().chain(own).filter_map(SourceName::repository);
    let read = variants.iter().filter_map(|variant| variant.made.repository());
    inputs.credentials.missing(inputs.images.iter().chain(sources).chain(read))
}

/// The variants of the rows; a row with a problem may be left out.
fn variants(
    rows: Vec<Row>,
    source: Option<&Source>,
    tagger: &Tagger<'_>,
    inputs: &Inputs,
    problems: &mut Vec<Problem>,
) -> Vec<Variant> {
    let mut claims = Claims::default();
    if let Some(source) = source {
        claims.source(source, &inputs.images);
    }
    let own_sources: Vec<Option<SourceName>> =
        rows.iter().map(|row| own_source(row, tagger.version, problems)).collect();
    for (row, own_source) in rows.iter().zip(&own_sources) {
        own_source.iter().for_each(|own_source| claims.own_source(row, own_source, &inputs.images));
    }
    let mut variants = Vec::with_capacity(rows.len());
    for (row, own_source) in rows.into_iter().zip(own_sources) {
        refuse(&row, inputs, problems);
        let tags = tagger.variant(&row, problems);
        claims.variant(&row, &tags, problems);
        tagger.refuse_ambiguous(&row, &tags, &claims, problems);
        let Some(version_label) = tags.exact.first().cloned() else { continue };
        let source = match &row.made {
            Made::Elsewhere(_) => None,
            Made::Here(_) => own_source.or_else(|| Some(source?.name.clone())),
        };
        if source.is_none() && row.made.base().is_some() {
            // The problem has been reported.
            continue;
        }
        variants.push(variant(row, version_label, source, tags, inputs, tagger.version));
    }
    variants
}

/// The grammar of all tags that the plan makes.
fn grammar(inputs: &Inputs, bare: &[Template], source: Option<&Source>, variants: &[Variant]) -> Grammar {
    let entries = variants.iter().flat_map(|variant| variant.tags.origins.values().map(|origin| &origin.entry));
    let has_default = entries.clone().any(|entry| entry == DEFAULT_ENTRY);
    let of_source = inputs.source_tags.iter().map(|template| ("", template));
    let of_default = bare.iter().filter(|_| has_default).map(|template| (DEFAULT_ENTRY, template));
    let images = variants.iter().map(|variant| &variant.tags).chain(source.map(|source| &source.tags));
    Grammar::new(
        &inputs.tag_templates,
        &of_source.chain(of_default).collect::<Vec<_>>(),
        entries.filter(|entry| *entry != DEFAULT_ENTRY).cloned(),
        images.flat_map(|tags| tags.rolling.iter().map(|rolling| rolling.tag.clone())),
        inputs.version_scheme,
    )
}

fn source(inputs: &Inputs, tagger: &Tagger<'_>, problems: &mut Vec<Problem>) -> Option<Source> {
    let place = Place::Input("source");
    let name = match &inputs.source {
        Some(written) => written.fill(tagger.version),
        None => format!("{}:{}", inputs.images.first()?, tagger.version.tag_text())
            .parse()
            .map_err(|invalid: InvalidName| Flaw::of(&invalid)),
    };
    let name = name.map_err(|problem| problems.push(Problem::new(&place, problem))).ok()?;
    let place = Place::Input("source-tags");
    let tags = tagger.tags(&inputs.source_tags, &[(String::new(), place.clone())], problems);
    if tags.exact.is_empty() && !tags.rolling.is_empty() {
        problems.push(
            Problem::new(&place, format!("no template gives an exact tag of version `{}`", tagger.version))
                .hint("add `{version}`"),
        );
    }
    Some(Source { name, tags })
}
