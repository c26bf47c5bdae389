//! Making a plan of the inputs and the event.

use std::collections::{BTreeMap, BTreeSet};

use super::problem::nearest;
use super::tags::{Claims, Tagger};
use super::version::determine;
use super::{Check, CheckOrigin, Place, Plan, PlanError, Platforms, Problem, Source, Tags, Variant};
use crate::action::inputs::Builder;
use crate::action::{Environment, Event, Files, Inputs, Options};
use crate::image::config::Changes;
use crate::image::reference::InvalidName;
use crate::image::{Base, Platform, Reference, SourceName, Tag};
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
        let dry_run = inputs.dry_run || event.is_pull_request();
        let version = determine(inputs, event, &mut problems);
        let rows = inputs.matrix.as_ref().map(|matrix| matrix::read(matrix, &mut problems)).unwrap_or_default();
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
        let tagger = Tagger { version: &version, templates: &inputs.tag_templates };
        let source = source(inputs, &tagger, &mut problems);

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
        if let Platforms::Listed(platforms) = &inputs.platforms {
            warnings.extend(platforms.iter().filter_map(|platform| unknown(platform, &Place::Input("platforms"))));
        }
        let mut variants = Vec::with_capacity(rows.len());
        for (row, own_source) in rows.into_iter().zip(own_sources) {
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
            // Without either there is a problem.
            let Some(source) = own_source.or_else(|| Some(source.as_ref()?.name.clone())) else { continue };
            variants.push(variant(row, version_label, source, tags, inputs, &version));
        }
        if !dry_run {
            let of_variants = variants.iter().map(|variant| &variant.source);
            let sources =
                source.iter().map(|source| &source.name).chain(of_variants).filter_map(SourceName::repository);
            let bases = variants.iter().filter_map(|variant| variant.base.reference()).map(Reference::repository);
            problems.extend(inputs.credentials.missing(inputs.images.iter().chain(sources).chain(bases)));
        }
        PlanError::unless_none(problems)?;
        let source = source.expect("its absence is a problem");
        let images = || variants.iter().map(|variant| &variant.tags).chain([&source.tags]);
        let grammar = Grammar::new(
            &inputs.tag_templates,
            &inputs.source_tags,
            variants.iter().flat_map(|variant| variant.tags.reasons.values().map(|reason| reason.entry.clone())),
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
            revision: determined.revision,
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
    let name = match &inputs.source {
        Some(written) => written.fill(tagger.version),
        None => format!("{}:{}", inputs.images.first()?, tagger.version.tag_text())
            .parse()
            .map_err(|invalid: InvalidName| invalid.to_string()),
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
    Some(Source { name, tags, labels: inputs.labels.clone() })
}

/// The source that a variant names itself.
fn own_source(row: &Row, version: &Version, problems: &mut Vec<Problem>) -> Option<SourceName> {
    let (written, place) = row.source.as_ref()?;
    // A matrix may be a file of a checkout, maybe of a pull request: what it names is in the workspace.
    let is_inside = |source: SourceName| match source.path_outside() {
        Some(path) => Err(format!(
            "`{path}` may lead out of the workspace\nhint: copy it there and write a relative path without `..`; only the input `source` may name another"
        )),
        None => Ok(source),
    };
    let filled = written.fill(version).and_then(is_inside).map_err(|problem| Problem::new(place, problem));
    // One of `defaults`, or of an entry with axes, is in several rows.
    filled
        .map_err(|problem| {
            if !problems.contains(&problem) {
                problems.push(problem)
            }
        })
        .ok()
}

fn variant(
    row: Row,
    version_label: Tag,
    source: SourceName,
    tags: Tags,
    inputs: &Inputs,
    version: &Version,
) -> Variant {
    // All of them by name, and no `..`: what the matrix says and nobody reads must not compile.
    let Row {
        place: _,
        base,
        tags: entries,
        source: _,
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
        source,
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
