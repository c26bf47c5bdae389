//! Makes a plan from the inputs and the event.

use super::refusals::{own_source, refuse, refuse_defaults, unknown, warn};
use super::tags::{Claims, DEFAULT_ENTRY, Tagger};
use super::variant::variant;
use super::version::{asks_for_dry_run, determine};
use super::{Made, Place, Plan, PlanError, Platforms, Problem, Source, Template};
use crate::action::inputs::PullRequest;
use crate::action::{Environment, Event, Files, Inputs, Options};
use crate::hint::{Flaw, Input};
use crate::image::SourceName;
use crate::image::reference::InvalidName;
use crate::matrix::{self, Row};
use crate::ownership::Grammar;

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
        let version = determine(inputs, event, &mut problems);
        let is_release = version.as_ref().is_some_and(|determined| determined.version.as_commit().is_none());
        let pushes = inputs.pull_request == PullRequest::Push && event.is_own_pull_request() && !is_release;
        let dry_run = inputs.dry_run || (event.is_pull_request() && !pushes) || asks_for_dry_run(inputs, event);
        let record = inputs.images_from.as_ref();
        let mut rows =
            inputs.matrix.as_ref().map(|matrix| matrix::read(matrix, record, &mut problems)).unwrap_or_default();
        let needs_binaries = |row: &Row| row.binaries.is_none() && row.made.elsewhere().is_none();
        if inputs.binaries.is_empty() && (inputs.matrix.is_none() || rows.iter().any(needs_binaries)) {
            problems.push(
                Problem::new(&Place::Input("binaries"), "no executables are named")
                    .hint("list their paths in the source image, such as `/uv /uvx`"),
            );
        }
        let Some(determined) = version else {
            return Err(PlanError::unless_none(problems).expect_err("no version is a problem"));
        };
        let version = determined.version;
        let bare_templates = Template::bare();
        let tagger = Tagger { version: &version, templates: &inputs.tag_templates, bare: &bare_templates };
        let is_without_source = inputs.source.is_none()
            && inputs.source_tags.is_empty()
            && !rows.is_empty()
            && rows.iter().all(|row| row.made.elsewhere().is_some() || row.source.is_some());
        let source = if is_without_source { None } else { source(inputs, &tagger, &mut problems) };

        refuse_defaults(&mut rows, &mut problems);
        let mut claims = Claims::default();
        if let Some(source) = &source {
            claims.source(source, &inputs.images);
        }
        let own_sources: Vec<Option<SourceName>> =
            rows.iter().map(|row| own_source(row, &version, &mut problems)).collect();
        for (row, source) in rows.iter().zip(&own_sources) {
            source.iter().for_each(|source| claims.own_source(row, source, &inputs.images));
        }
        let mut warnings = Vec::new();
        if is_release && inputs.pull_request == PullRequest::Push && event.is_pull_request() {
            let situation =
                format!("pull requests push development images only, so this is a dry run of version `{version}`");
            warnings.push(
                Problem::new(&Place::Input("pull-request"), situation)
                    .hint(format!("leave {} empty on pull requests", Input("version"))),
            );
        }
        if let Platforms::Listed(platforms) = &inputs.platforms {
            warnings.extend(platforms.iter().filter_map(|platform| unknown(platform, &Place::Input("platforms"))));
        }
        let mut variants = Vec::with_capacity(rows.len());
        for (row, own_source) in rows.into_iter().zip(own_sources) {
            refuse(&row, inputs, &mut problems);
            warn(&row, &mut warnings);
            let tags = tagger.variant(&row, &mut problems);
            claims.variant(&row, &tags, &mut problems);
            tagger.refuse_ambiguous(&row, &tags, &claims, &mut problems);
            let Some(version_label) = tags.exact.first().cloned() else { continue };
            let source = match &row.made {
                Made::Elsewhere(_) => None,
                Made::Here(_) => own_source.or_else(|| Some(source.as_ref()?.name.clone())),
            };
            if source.is_none() && row.made.base().is_some() {
                // The problem has been reported.
                continue;
            }
            variants.push(variant(row, version_label, source, tags, inputs, &version));
        }
        if !dry_run {
            let named = source.iter().map(|source| &source.name);
            let own = variants.iter().filter_map(|variant| variant.source.as_ref());
            let sources = named.chain(own).filter_map(SourceName::repository);
            let read = variants.iter().filter_map(|variant| variant.made.repository());
            problems.extend(inputs.credentials.missing(inputs.images.iter().chain(sources).chain(read)));
        }
        PlanError::unless_none(problems)?;
        let images = || variants.iter().map(|variant| &variant.tags).chain(source.iter().map(|source| &source.tags));
        let entries = variants.iter().flat_map(|variant| variant.tags.origins.values().map(|origin| &origin.entry));
        let bare = inputs.source_tags.iter().map(|template| ("", template));
        let of_default = bare_templates.iter().map(|template| (DEFAULT_ENTRY, template));
        let bare = bare.chain(of_default.filter(|_| entries.clone().any(|entry| entry == DEFAULT_ENTRY)));
        let grammar = Grammar::new(
            &inputs.tag_templates,
            &bare.collect::<Vec<_>>(),
            entries.filter(|entry| *entry != DEFAULT_ENTRY).cloned(),
            images().flat_map(|tags| tags.rolling.iter().map(|rolling| rolling.tag.clone())),
            inputs.version_scheme,
        );
        Ok(Self {
            grammar,
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
