//! Making a plan of the inputs and the event.

use std::collections::BTreeMap;

use super::template::{ExactTags, Template};
use super::{Check, CheckOrigin, KeptTag, Place, Plan, PlanError, Problem, Reason, RollingTag, Source, Tags, Variant};
use crate::action::{Environment, Event, Files, Inputs, Options};
use crate::build::recipe::DESTINATION;
use crate::image::{Reference, Repository, Tag};
use crate::matrix::{self, Row, Setting, Verify};
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
        if !dry_run {
            for line in &inputs.credentials.incomplete {
                problems.push(
                    Problem::new(&Place::Input("credentials"), format!("line {line} has no user or no password"))
                        .hint("write `registry username password`; is the secret or variable of that line set?"),
                );
            }
        }
        let version = super::version::determine(inputs, event, &mut problems);
        let rows = inputs.matrix.as_ref().map(|matrix| matrix::read(matrix, &mut problems)).unwrap_or_default();
        let Some(determined) = version else {
            return Err(PlanError::unless_none(problems).expect_err("no version is a problem"));
        };
        let version = determined.version;
        let tagger = Tagger { version: &version, withheld: determined.withheld.as_deref() };
        let source = source(inputs, &tagger, &mut problems);

        let mut claims = Claims::default();
        if let Some(source) = &source {
            claims.source(source, &inputs.images);
        }
        let mut variants = Vec::with_capacity(rows.len());
        for row in rows {
            let tags = tagger.variant(&inputs.tag_templates, &row, &mut problems);
            claims.variant(&row, &tags, &mut problems);
            let Some(version_label) = tags.exact.first().cloned() else { continue };
            variants.push(variant(row, version_label, tags, inputs, &version));
        }
        PlanError::unless_none(problems)?;
        let entries =
            variants.iter().flat_map(|variant| variant.tags.reasons.values().map(|reason| reason.entry.clone()));
        Ok(Self {
            exact_tags: ExactTags::new(&inputs.tag_templates, entries, inputs.version_scheme),
            source_exact_tags: ExactTags::new(&inputs.source_tags, [String::new()], inputs.version_scheme),
            release: determined.release,
            revision: determined.revision,
            source: source.expect("its absence is a problem"),
            binaries: inputs.binaries.clone(),
            destinations: inputs.images.clone(),
            variants,
            dry_run,
            version,
        })
    }
}

fn source(inputs: &Inputs, tagger: &Tagger<'_>, problems: &mut Vec<Problem>) -> Option<Source> {
    let place = Place::Input("source");
    let text = match &inputs.source {
        Some(template) => template.render(tagger.version, "").or_else(|| {
            problems
                .push(Problem::new(&place, format!("`{template}` can't be filled for version `{}`", tagger.version)));
            None
        })?,
        None => format!("{}:{}", inputs.images.first()?, tagger.version.tag_text()),
    };
    let reference = text.parse::<Reference>().map_err(|invalid| problems.push(Problem::new(&place, invalid))).ok()?;
    let tags = tagger.tags(&inputs.source_tags, &[(String::new(), Place::Input("source-tags"))], problems);
    Some(Source { reference, tags })
}

fn variant(row: Row, version_label: Tag, tags: Tags, inputs: &Inputs, version: &Version) -> Variant {
    let first = inputs.binaries.first().and_then(|path| path.rsplit('/').next()).unwrap_or_default();
    let executable = format!("{DESTINATION}/{first}");
    let merged = |general: &BTreeMap<String, String>, own: BTreeMap<String, String>| {
        let mut merged = general.clone();
        merged.extend(own);
        merged
    };
    let command = |setting, default| match setting {
        Setting::Unsaid => Some(default),
        Setting::OfBase => None,
        Setting::Set(command) => Some(command),
    };
    Variant {
        name: row.tags.first().map(|(tag, _)| tag.clone()).unwrap_or_default(),
        base: row.base,
        version_label,
        platforms: row.platforms.unwrap_or_else(|| inputs.platforms.clone()),
        tags,
        env: merged(&inputs.env, row.env),
        cmd: command(row.cmd, vec![executable.clone()]),
        entrypoint: command(row.entrypoint, Vec::new()),
        user: row.user,
        workdir: row.workdir,
        labels: merged(&inputs.labels, row.labels),
        annotations: merged(&inputs.annotations, row.annotations),
        run: row.run,
        checks: checks(row.verify, executable, version),
        deprecated: row.deprecated,
    }
}

fn checks(verify: Verify, executable: String, version: &Version) -> Vec<Check> {
    let Verify::Also(listed) = verify else { return Vec::new() };
    // What a development build calls itself is its own business.
    let contains = version.as_commit().is_none().then(|| version.to_string());
    let by_default = [
        Check { command: vec![executable, "--version".to_owned()], contains, origin: CheckOrigin::Version },
        Check { command: ["sh", "-c", "true"].map(str::to_owned).to_vec(), contains: None, origin: CheckOrigin::Shell },
    ];
    let listed = listed.into_iter().map(|(command, contains)| Check { command, contains, origin: CheckOrigin::Matrix });
    by_default.into_iter().chain(listed).collect()
}

/// Makes tags of templates and entries.
struct Tagger<'a> {
    version: &'a Version,
    /// Why no rolling tag goes to this version, if none does.
    withheld: Option<&'a str>,
}

impl Tagger<'_> {
    fn variant(&self, templates: &[Template], row: &Row, problems: &mut Vec<Problem>) -> Tags {
        let tags = self.tags(templates, &row.tags, problems);
        if tags.exact.is_empty() && !templates.is_empty() && problems.is_empty() {
            problems.push(
                Problem::new(
                    &Place::Input("tag-templates"),
                    format!("no template gives an exact tag of version `{}`", self.version),
                )
                .hint("add `{version}-{tag}`"),
            );
        }
        tags
    }

    /// The tags of one image. Templates come first, then entries, so that `0.9-alpine` stands beside `0.9-alpine3.23`.
    fn tags(&self, templates: &[Template], entries: &[(String, Place)], problems: &mut Vec<Problem>) -> Tags {
        let mut tags = Tags::default();
        for template in templates {
            for (entry, place) in entries {
                let Some(text) = template.render(self.version, entry) else { continue };
                let tag = match text.parse::<Tag>() {
                    Ok(tag) => tag,
                    Err(invalid) => {
                        problems.push(Problem::new(place, invalid));
                        continue;
                    }
                };
                // Of `{version}` and `{major}.{minor}` for a version 2024.10, the exact tag is the one to keep.
                if tags.reasons.contains_key(&tag) {
                    continue;
                }
                let reason = Reason { template: template.to_string(), entry: entry.clone(), place: place.to_string() };
                if template.is_exact() {
                    tags.exact.push(tag.clone());
                } else if let Some(why) = self.withheld {
                    tags.kept.push(KeptTag { tag: tag.clone(), reason: why.to_owned() });
                } else {
                    let series = template.series(self.version);
                    tags.rolling.push(RollingTag { tag: tag.clone(), series, entry: entry.clone() });
                }
                tags.reasons.insert(tag, reason);
            }
        }
        // Where a rolling template comes before the exact one that gives the same tag.
        let exact = templates.iter().filter(|template| template.is_exact());
        for text in
            exact.flat_map(|template| entries.iter().filter_map(|(entry, _)| template.render(self.version, entry)))
        {
            let rolling = tags.rolling.iter().position(|rolling| rolling.tag.as_str() == text);
            let kept = tags.kept.iter().position(|kept| kept.tag.as_str() == text);
            let moved =
                rolling.map(|at| tags.rolling.remove(at).tag).or_else(|| kept.map(|at| tags.kept.remove(at).tag));
            tags.exact.extend(moved);
        }
        tags
    }
}

/// Who claims which tag at the destinations.
#[derive(Default)]
struct Claims(BTreeMap<String, Claim>);

struct Claim {
    who: String,
    place: Place,
}

impl Claims {
    /// The tags of the source: those that it gets, and the one that it has if it lives at a destination.
    fn source(&mut self, source: &Source, destinations: &[Repository]) {
        let own = source.reference.tag().filter(|_| destinations.contains(source.reference.repository()));
        let kept = source.tags.kept.iter().map(|kept| &kept.tag);
        for tag in source.tags.iter().chain(kept).chain(own) {
            let claim = Claim { who: "the source image".to_owned(), place: Place::Input("source-tags") };
            self.0.insert(tag.to_string(), claim);
        }
    }

    fn variant(&mut self, row: &Row, tags: &Tags, problems: &mut Vec<Problem>) {
        let kept = tags.kept.iter().map(|kept| &kept.tag);
        let mut named = Vec::<(String, String)>::new();
        for tag in tags.iter().chain(kept) {
            let entry = tags.reasons.get(tag).map(|reason| reason.entry.as_str()).unwrap_or_default();
            let place = row.tags.iter().find(|(text, _)| text == entry).map_or(&row.place, |(_, place)| place);
            match self.0.get(tag.as_str()) {
                Some(other) => {
                    // One clash of entries shows in each of their tags; once is enough.
                    let clash = (entry.to_owned(), other.place.to_string());
                    if !named.contains(&clash) {
                        problems.push(
                            Problem::new(
                                place,
                                format!("tag `{tag}` is claimed here and by {} at {}", other.who, other.place),
                            )
                            .hint("give each tag to one of them"),
                        );
                        named.push(clash);
                    }
                }
                None => {
                    let who = format!("variant `{}`", row.tags.first().map_or("", |(name, _)| name));
                    self.0.insert(tag.to_string(), Claim { who, place: place.clone() });
                }
            }
        }
    }
}
