//! Makes a plan from the inputs and the event.

use std::collections::{BTreeMap, BTreeSet};

use super::tags::{Claims, DEFAULT_ENTRY, Tagger};
use super::version::{asks_for_dry_run, determine};
use super::{
    Check, CheckOrigin, Made, Place, Plan, PlanError, PlannedAnnotations, Platforms, Problem, Source, Tags, Template,
    Variant,
};
use crate::action::inputs::{Builder, PullRequest};
use crate::action::{Environment, Event, Files, Inputs, Options};
use crate::compose::binaries::Binaries;
use crate::hint::{Flaw, Input};
use crate::image::config::Changes;
use crate::image::reference::InvalidName;
use crate::image::{Base, Location, Platform, SourceName, Tag};
use crate::matrix::{self, Row, Setting, Verify};
use crate::ownership::Grammar;
use crate::version::Version;

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
            if inputs.builder == Builder::Registry && !row.run.is_empty() {
                problems.push(
                    Problem::new(&row.place, "`run` needs the engine, which `builder: registry` doesn't use")
                        .hint(format!("remove the `run` lines, or set {}", Input("builder").set_to("engine"))),
                );
            }
            if row.made == Made::Here(Base::Scratch) && row.run.iter().any(|run| !run.is_list()) {
                problems.push(
                    Problem::new(&row.place, "`run` needs a shell, and `base: scratch` has none").hint(
                        "remove the `run` lines, or write them as lists: `[\"/usr/local/bin/tool\", \"argument\"]`",
                    ),
                );
            }
            if row.made.elsewhere().is_some_and(Location::may_move) {
                warnings.push(
                    Problem::new(&row.place, "`image` is named by a tag, which may name another image in the next run")
                        .hint("pin it as `repository@sha256:…`"),
                );
            }
            if let (Some(Base::Scratch), Some(command), true) =
                (row.made.base(), needs_shell(&row, inputs), inputs.verify)
            {
                problems.push(
                    Problem::new(
                        &row.place,
                        format!("`{command}` in `verify` needs a shell, and `base: scratch` has none"),
                    )
                    .hint("run one program, without `|`, `$` and the like; `contains` checks what it prints"),
                );
            }
            let platforms = row.platforms.iter().flatten();
            for warning in platforms.filter_map(|(platform, place)| unknown(platform, place)) {
                // A platform of `defaults`, or of an entry with axes, is in several rows.
                if !warnings.contains(&warning) {
                    warnings.push(warning);
                }
            }
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

/// Refuses a second default variant, and then treats it as an ordinary one.
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
            Problem::new(&place, format!("another variant is already the default, at {first}"))
                .hint("only one of them can have the tags without a suffix")
        });
    }
}

/// The first command of `verify` that needs a shell, if no shell is among the executables.
fn needs_shell(row: &Row, inputs: &Inputs) -> Option<String> {
    let (Verify::Also(listed), binaries) = (&row.verify, row.binaries.as_ref().unwrap_or(&inputs.binaries)) else {
        return None;
    };
    let name = |path: &str| path.rsplit('/').next().is_some_and(|name| name == "sh");
    let brings_one = binaries.iter().any(|binary| name(binary.to()));
    let is_for_one = |command: &&Vec<String>| !brings_one && command.first().is_some_and(|program| name(program));
    let command = listed.iter().map(|(command, _)| command).find(is_for_one)?;
    Some(match &command[..] {
        [_, option, line] if option == "-c" => line.clone(),
        words => words.join(" "),
    })
}

/// A warning about an unknown platform. It may be newer than this program, so it isn't refused: source and bases
/// decide.
fn unknown(platform: &Platform, place: &Place) -> Option<Problem> {
    if platform.is_known() {
        return None;
    }
    let warning = Problem::new(place, format!("`{platform}` is not a known platform"));
    Some(match platform.nearest() {
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

/// The source that a variant names itself. A variant built elsewhere ignores the source in `defaults`.
fn own_source(row: &Row, version: &Version, problems: &mut Vec<Problem>) -> Option<SourceName> {
    let (written, place) = row.source.as_ref().filter(|_| row.made.base().is_some())?;
    // The matrix may come with a checkout, possibly of a pull request, so it may only name files of the workspace.
    let is_inside = |source: SourceName| match source.path_outside() {
        Some(path) => Err(Flaw::new(
            format!("`{path}` may lead out of the workspace"),
            format!(
                "copy it there and write a relative path without `..`; only {} may name another",
                Input("source").in_full()
            ),
        )),
        None => Ok(source),
    };
    let filled = written.fill(version).and_then(is_inside).map_err(|problem| Problem::new(place, problem));
    // A source of `defaults`, or of an entry with axes, is in several rows.
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
    source: Option<SourceName>,
    tags: Tags,
    inputs: &Inputs,
    version: &Version,
) -> Variant {
    // Every field by name, without `..`, so that a key that nobody reads doesn't compile.
    let Row {
        place,
        axes: _,
        default: _,
        made,
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
    let name = entries.into_iter().map(|(tag, _)| tag).next().unwrap_or_default();
    let annotations = inputs.annotations.clone().with(annotations);
    let platforms = platforms.map(|listed| match listed.len() {
        0 => Platforms::Auto,
        _ => Platforms::Listed(listed.into_iter().map(|(platform, _)| platform).collect()),
    });
    let platforms = platforms.unwrap_or_else(|| inputs.platforms.clone());
    let Made::Here(base) = &made else {
        // Keys that would change the image were refused in its entry. In `defaults` and inputs, they are for the other
        // variants.
        let checks = if inputs.verify { checks_elsewhere(verify, &inputs.binaries, version) } else { Vec::new() };
        return Variant {
            place,
            name,
            made,
            version_label,
            source,
            binaries: Binaries::default(),
            platforms,
            tags,
            changes: Changes { labels: inputs.labels.clone(), ..Changes::default() },
            annotations: PlannedAnnotations { manifest: BTreeMap::new(), ..annotations },
            run: Vec::new(),
            checks,
            deprecated,
        };
    };
    let binaries = binaries.unwrap_or_else(|| inputs.binaries.clone());
    let executable = binaries.first_executable().to_owned();
    let command = |setting, default| match setting {
        Setting::Unsaid => Some(default),
        Setting::OfBase => None,
        Setting::Set(command) => Some(command),
    };
    Variant {
        place,
        name,
        version_label,
        source,
        binaries,
        platforms,
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
        annotations,
        run,
        checks: if inputs.verify { checks(verify, base, executable, version) } else { Vec::new() },
        made,
        deprecated,
    }
}

/// The general values, overridden by a variant's own.
fn merged<T: Clone>(general: &BTreeMap<String, T>, own: BTreeMap<String, T>) -> BTreeMap<String, T> {
    let mut merged = general.clone();
    merged.extend(own);
    merged
}

fn checks(verify: Verify, base: &Base, executable: String, version: &Version) -> Vec<Check> {
    let Verify::Also(listed) = verify else { return Vec::new() };
    // A development build may print any version.
    let contains = version.as_commit().is_none().then(|| version.to_string());
    let by_default = [
        Check { command: vec![executable, "--version".to_owned()], contains, origin: CheckOrigin::Version },
        Check { command: ["sh", "-c", "true"].map(str::to_owned).to_vec(), contains: None, origin: CheckOrigin::Shell },
    ];
    let listed = listed.into_iter().map(Check::of_matrix);
    // The image has only the executables, so there is no shell to check.
    let by_default =
        by_default.into_iter().filter(|check| *base != Base::Scratch || check.origin != CheckOrigin::Shell);
    by_default.chain(listed).collect()
}

/// The checks of an image built elsewhere. The place of its executables isn't known, so the tool is looked for in its
/// `PATH`. An image of another version is noticed by that.
fn checks_elsewhere(verify: Verify, binaries: &Binaries, version: &Version) -> Vec<Check> {
    let Verify::Also(listed) = verify else { return Vec::new() };
    let name = |path: &str| path.rsplit('/').next().unwrap_or(path).to_owned();
    let tool = (!binaries.is_empty()).then(|| Check {
        command: vec![name(binaries.first_executable()), "--version".to_owned()],
        contains: version.as_commit().is_none().then(|| version.to_string()),
        origin: CheckOrigin::VersionIfThere,
    });
    tool.into_iter().chain(listed.into_iter().map(Check::of_matrix)).collect()
}

impl Check {
    fn of_matrix((command, contains): (Vec<String>, Option<String>)) -> Self {
        Self { command, contains, origin: CheckOrigin::Matrix }
    }
}
