//! Making a plan of the inputs and the event.

use std::collections::{BTreeMap, BTreeSet};

use super::problem::nearest;
use super::tags::{Claims, DEFAULT_ENTRY, Tagger};
use super::version::{asks_for_dry_run, determine};
use super::{Check, CheckOrigin, Place, Plan, PlanError, Platforms, Problem, Source, Tags, Template, Variant};
use crate::action::inputs::{Builder, PullRequest};
use crate::action::{Environment, Event, Files, Inputs, Options};
use crate::image::config::Changes;
use crate::image::{Base, Platform, Reference, Tag};
use crate::matrix::{self, Row, Setting, Verify};
use crate::ownership::Grammar;
use crate::version::Version;

impl Plan {
    /// Reads options, environment and files, and makes the plan.
    ///
    /// # Errors
    /// Everything that is wrong with them.
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

    /// Makes the plan. `problems` are those that the inputs and the event had.
    ///
    /// # Errors
    /// These, and everything else that is wrong.
    pub fn new(inputs: &Inputs, event: &Event, mut problems: Vec<Problem>) -> Result<Self, PlanError> {
        let version = determine(inputs, event, &mut problems);
        let is_release = version.as_ref().is_some_and(|determined| determined.version.as_commit().is_none());
        let pushes = inputs.pull_request == PullRequest::Push && event.is_own_pull_request() && !is_release;
        let dry_run = inputs.dry_run || (event.is_pull_request() && !pushes) || asks_for_dry_run(inputs, event);
        let mut rows = inputs.matrix.as_ref().map(|matrix| matrix::read(matrix, &mut problems)).unwrap_or_default();
        if inputs.binaries.is_empty() && (inputs.matrix.is_none() || rows.iter().any(|row| row.binaries.is_none())) {
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
        let source = source(inputs, &tagger, &mut problems);

        refuse_defaults(&mut rows, &mut problems);
        let mut claims = Claims::default();
        if let Some(source) = &source {
            claims.source(source, &inputs.images);
        }
        let mut warnings = Vec::new();
        if is_release && inputs.pull_request == PullRequest::Push && event.is_pull_request() {
            let situation =
                format!("pull requests push development images only, so this is a dry run of version `{version}`");
            warnings.push(
                Problem::new(&Place::Input("pull-request"), situation).hint("leave `version` empty on pull requests"),
            );
        }
        if let Platforms::Listed(platforms) = &inputs.platforms {
            warnings.extend(platforms.iter().filter_map(|platform| unknown(platform, &Place::Input("platforms"))));
        }
        let mut variants = Vec::with_capacity(rows.len());
        for row in rows {
            if inputs.builder == Builder::Registry && !row.run.is_empty() {
                problems.push(
                    Problem::new(&row.place, "`run` needs something that runs it, and `builder: registry` doesn't")
                        .hint("remove the `run` lines, or set `builder: engine`"),
                );
            }
            if row.base == Base::Scratch && row.run.iter().any(|run| !run.is_list()) {
                problems.push(
                    Problem::new(&row.place, "`run` needs a shell, and `base: scratch` has none").hint(
                        "remove the `run` lines, or write them as lists: `[\"/usr/local/bin/tool\", \"argument\"]`",
                    ),
                );
            }
            let platforms = row.platforms.iter().flatten();
            for warning in platforms.filter_map(|(platform, place)| unknown(platform, place)) {
                // One of `defaults`, or of an entry with axes, is in several rows.
                if !warnings.contains(&warning) {
                    warnings.push(warning);
                }
            }
            let tags = tagger.variant(&row, &mut problems);
            claims.variant(&row, &tags, &mut problems);
            tagger.refuse_ambiguous(&row, &tags, &claims, &mut problems);
            let Some(version_label) = tags.exact.first().cloned() else { continue };
            variants.push(variant(row, version_label, tags, inputs, &version));
        }
        if !dry_run {
            let sources = source.iter().map(|source| source.reference.repository());
            let bases = variants.iter().filter_map(|variant| variant.base.reference()).map(Reference::repository);
            problems.extend(inputs.credentials.missing(inputs.images.iter().chain(sources).chain(bases)));
        }
        PlanError::unless_none(problems)?;
        let source = source.expect("its absence is a problem");
        let images = || variants.iter().map(|variant| &variant.tags).chain([&source.tags]);
        let entries = variants.iter().flat_map(|variant| variant.tags.reasons.values().map(|reason| &reason.entry));
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
            not_final: determined.not_final,
            ignored: inputs.ignore_versions.clone(),
            rolling: inputs.rolling,
            on_conflict: inputs.on_conflict,
            version_pattern: inputs.version_pattern.clone(),
            release: determined.release,
            revision: inputs.stated.revision.clone().or(determined.revision),
            stated: inputs.stated.clone(),
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

/// Refuses a second default variant, and takes it for an ordinary one.
fn refuse_defaults(rows: &mut [Row], problems: &mut Vec<Problem>) {
    let mut rows = rows.iter_mut().filter(|row| row.default.is_some());
    let Some(first) = rows.next().and_then(|row| row.default.clone()) else { return };
    let mut refused = BTreeSet::new();
    let places = rows.filter_map(|row| row.default.take());
    for place in places.filter(|place| refused.insert(place.to_string())) {
        problems.push(if place == first {
            Problem::new(&place, "`default: true` is for one variant, and `for` makes several of this entry")
                .hint("give the default variant an entry of its own")
        } else {
            Problem::new(&place, format!("another variant is the default already, at {first}"))
                .hint("only one of them can have the tags without a suffix")
        });
    }
}

/// A warning about a platform that is none we know. It may be newer than we are, so it isn't refused: source and bases decide.
fn unknown(platform: &Platform, place: &Place) -> Option<Problem> {
    if platform.is_known() {
        return None;
    }
    let warning = Problem::new(place, format!("`{platform}` is not a known platform"));
    let (written, known) = (platform.to_string(), Platform::known().collect::<Vec<_>>());
    Some(match nearest(&written, known.iter().map(String::as_str)) {
        Some(nearest) => warning.hint(format!("did you mean `{nearest}`?")),
        None => warning.hint("a platform looks like `linux/amd64` or `linux/arm/v7`"),
    })
}

fn source(inputs: &Inputs, tagger: &Tagger<'_>, problems: &mut Vec<Problem>) -> Option<Source> {
    let place = Place::Input("source");
    let mut text = match &inputs.source {
        Some(template) => template.render(tagger.version, "").or_else(|| {
            problems
                .push(Problem::new(&place, format!("`{template}` can't be filled for version `{}`", tagger.version)));
            None
        })?,
        None => inputs.images.first()?.to_string(),
    };
    // `latest` may be another version by now.
    if !text.contains('@') && !text.rsplit('/').next().is_some_and(|name| name.contains(':')) {
        text = format!("{text}:{}", tagger.version.tag_text());
    }
    let reference = text.parse::<Reference>().map_err(|invalid| problems.push(Problem::new(&place, invalid))).ok()?;
    let place = Place::Input("source-tags");
    let tags = tagger.tags(&inputs.source_tags, &[(String::new(), place.clone())], problems);
    if tags.exact.is_empty() && !tags.rolling.is_empty() {
        problems.push(
            Problem::new(&place, format!("no template gives an exact tag of version `{}`", tagger.version))
                .hint("add `{version}`"),
        );
    }
    Some(Source { reference, tags })
}

fn variant(row: Row, version_label: Tag, tags: Tags, inputs: &Inputs, version: &Version) -> Variant {
    // All of them by name, and no `..`: what the matrix says and nobody reads must not compile.
    let Row {
        place: _,
        default: _,
        base,
        tags: entries,
        binaries,
        platforms,
        env,
        cmd,
        entrypoint,
        user,
        workdir,
        labels,
        annotations,
        run,
        verify,
        deprecated,
    } = row;
    let binaries = binaries.unwrap_or_else(|| inputs.binaries.clone());
    let executable = binaries.first_executable().to_owned();
    let command = |setting, default| match setting {
        Setting::Unsaid => Some(default),
        Setting::OfBase => None,
        Setting::Set(command) => Some(command),
    };
    let platforms = platforms.map(|listed| match listed.len() {
        0 => Platforms::Auto,
        _ => Platforms::Listed(listed.into_iter().map(|(platform, _)| platform).collect()),
    });
    Variant {
        name: entries.into_iter().map(|(tag, _)| tag).next().unwrap_or_default(),
        version_label,
        binaries,
        platforms: platforms.unwrap_or_else(|| inputs.platforms.clone()),
        tags,
        changes: Changes {
            env: merged(&inputs.env, env),
            cmd: command(cmd, vec![executable.clone()]),
            entrypoint: command(entrypoint, Vec::new()),
            user,
            workdir,
            labels: merged(&inputs.labels, labels),
            unlabel: BTreeSet::new(),
        },
        annotations: inputs.annotations.clone().with(annotations),
        run,
        checks: if inputs.verify { checks(verify, &base, executable, version) } else { Vec::new() },
        base,
        deprecated,
    }
}

/// The general values, and a variant's own ones over them.
fn merged<T: Clone>(general: &BTreeMap<String, T>, own: BTreeMap<String, T>) -> BTreeMap<String, T> {
    let mut merged = general.clone();
    merged.extend(own);
    merged
}

fn checks(verify: Verify, base: &Base, executable: String, version: &Version) -> Vec<Check> {
    let Verify::Also(listed) = verify else { return Vec::new() };
    // What a development build calls itself is its own business.
    let contains = version.as_commit().is_none().then(|| version.to_string());
    let by_default = [
        Check { command: vec![executable, "--version".to_owned()], contains, origin: CheckOrigin::Version },
        Check { command: ["sh", "-c", "true"].map(str::to_owned).to_vec(), contains: None, origin: CheckOrigin::Shell },
    ];
    let listed = listed.into_iter().map(|(command, contains)| Check { command, contains, origin: CheckOrigin::Matrix });
    // Nothing but the executables: no shell to be looked for.
    let by_default =
        by_default.into_iter().filter(|check| *base != Base::Scratch || check.origin != CheckOrigin::Shell);
    by_default.chain(listed).collect()
}
