//! Determines the version to publish, with its release and its commit.

use super::{Place, Problem, Release};
use crate::action::event::{DRY_RUN, Kind, ReleaseEvent};
use crate::action::inputs::VersionPattern;
use crate::action::{Event, Inputs};
use crate::hint::Input;
use crate::version::Version;

/// The version, and facts about it.
#[derive(Debug)]
pub(super) struct Determined {
    pub(super) version: Version,
    pub(super) release: Option<Release>,
    pub(super) revision: Option<String>,
    /// Why it gets no rolling tags, if that is the case.
    pub(super) not_final: Option<String>,
}

/// Whether a dry run was requested instead of a version.
pub(super) fn asks_for_dry_run(inputs: &Inputs, event: &Event) -> bool {
    event.asks_for_dry_run() || inputs.version.as_deref() == Some(DRY_RUN)
}

/// The version in the input.
fn named(inputs: &Inputs) -> Option<&str> {
    inputs.version.as_deref().filter(|version| *version != DRY_RUN)
}

/// The version from the input, else from the event. `None` if there is none; `problems` then says why.
pub(super) fn determine(inputs: &Inputs, event: &Event, problems: &mut Vec<Problem>) -> Option<Determined> {
    let before = problems.len();
    let from_event = from_event(inputs, event, problems);
    if problems.len() > before {
        return None;
    }
    let given = match named(inputs) {
        Some(text) => Some(parse(text, Origin::Input, inputs, &Place::Input("version"), problems)?),
        None => None,
    };
    if let (Some(given), Some(found), Kind::Release(release)) = (&given, &from_event, &event.kind)
        && given.version != found.version
    {
        problems.push(
            Problem::new(
                &Place::Input("version"),
                format!("`{}` is not the version of the release `{}` that this run is for", given.version, release.tag),
            )
            .hint(format!(
                "leave {} empty on a release event, or dispatch the workflow for another version",
                Input("version")
            )),
        );
        return None;
    }
    let same = given.as_ref().zip(from_event.as_ref()).is_some_and(|(given, found)| given.version == found.version);
    let mut determined = match (given, from_event) {
        (Some(given), None) => given,
        (Some(given), Some(_)) if !same => given,
        (_, Some(found)) => found,
        (None, None) => development(inputs, event).or_else(|| {
            // An input or event that can't be parsed has been reported already.
            let is_said = |problem: &Problem| matches!(problem.place(), Place::Event(_) | Place::Input("version"));
            if !problems.iter().any(is_said) {
                problems.push(nothing_found(inputs, event));
            }
            None
        })?,
    };
    if let Some(commit) = determined.version.as_commit() {
        let known = event.commit.as_deref().filter(|known| known.to_ascii_lowercase().starts_with(commit));
        determined.revision = Some(known.unwrap_or(commit).to_owned());
        determined.release = None;
        determined.not_final = Some(format!("{} is a development build", determined.version));
    } else if determined.version.is_prerelease() {
        determined.not_final = Some(format!("{} is a pre-release", determined.version));
    }
    Some(determined)
}

/// The version in the event, if there is one.
fn from_event(inputs: &Inputs, event: &Event, problems: &mut Vec<Problem>) -> Option<Determined> {
    let place = Place::Event(event.name.clone());
    match &event.kind {
        Kind::Release(release) => {
            if let Some(problem) = refused(release, &place) {
                problems.push(problem);
                return None;
            }
            let mut found = parse(&release.tag, Origin::Tag, inputs, &place, problems)?;
            found.release = Some(Release { tags: vec![release.tag.clone()] });
            found.revision.clone_from(&event.commit);
            found.not_final =
                release.prerelease.then(|| format!("release `{}` is marked as a pre-release", release.tag));
            Some(found)
        }
        // A run whose input names the version may be on any tag, such as `nightly`.
        Kind::Tag(tag) => {
            let mut ignored = Vec::new();
            let problems = if named(inputs).is_some() { &mut ignored } else { problems };
            let mut found = parse(tag, Origin::Tag, inputs, &place, problems)?;
            found.revision.clone_from(&event.commit);
            Some(found)
        }
        Kind::Dispatch(Some(text)) if named(inputs).is_none() && !event.asks_for_dry_run() => {
            parse(text, Origin::Input, inputs, &place, problems)
        }
        Kind::Dispatch(_) if event.unusable.is_some() && named(inputs).is_none() => {
            problems.extend(event.unusable.clone());
            None
        }
        Kind::Dispatch(_) | Kind::Other => {
            let tag = event.run_tag.as_deref().filter(|_| named(inputs).is_none())?;
            let mut found = parse(tag, Origin::Tag, inputs, &place, &mut Vec::new())?;
            found.revision.clone_from(&event.commit);
            Some(found)
        }
        Kind::Branch(_) | Kind::PullRequest { .. } => None,
    }
}

fn refused(release: &ReleaseEvent, place: &Place) -> Option<Problem> {
    if release.draft {
        let situation = format!("release `{}` is a draft", release.tag);
        return Some(
            Problem::new(place, situation)
                .hint("start the workflow with `on: release: types: [published]`, which drafts don't trigger"),
        );
    }
    matches!(release.action.as_str(), "deleted" | "unpublished").then(|| {
        Problem::new(place, format!("release `{}` was {}", release.tag, release.action))
            .hint("start the workflow with `on: release: types: [published]`")
    })
}

enum Origin {
    /// A tag of the repository, which must match `version-pattern`.
    Tag,
    /// An input that a person wrote: a version or a tag.
    Input,
}

fn parse(
    text: &str,
    origin: Origin,
    inputs: &Inputs,
    place: &Place,
    problems: &mut Vec<Problem>,
) -> Option<Determined> {
    let pattern = &inputs.version_pattern;
    let bare = match (pattern.version_in(text), origin) {
        (Some(bare), _) => bare,
        (None, Origin::Input) => text,
        (None, Origin::Tag) => {
            problems.push(
                Problem::new(
                    place,
                    format!("tag `{text}` doesn't fit {}, which is `{pattern}`", Input("version-pattern")),
                )
                .hint(
                    "is it the release of another tool? Then let the job run only for the tags of this one: \
                     `if: startsWith(github.ref_name, 'tool-')`",
                ),
            );
            return None;
        }
    };
    match Version::parse(bare, inputs.version_scheme) {
        Ok(version) => {
            let release = Some(Release { tags: tags_of(text, bare, pattern) });
            Some(Determined { version, release, revision: None, not_final: None })
        }
        Err(invalid) => {
            let problem = Problem::new(place, invalid);
            problems.push(match guess_pattern(bare, inputs).filter(|_| pattern.is_plain()) {
                Some(pattern) => {
                    let setting = Input("version-pattern").set_to(&pattern.to_string());
                    problem.hint(format!("if that is how the tag is named, set {setting}"))
                }
                None => problem,
            });
            None
        }
    }
}

/// The possible tags of the release, if `text` was written for the version `bare`: as it is written, and with or without
/// the `v`. A pattern that has one itself, `tool-v{version}`, takes no second one.
fn tags_of(text: &str, bare: &str, pattern: &VersionPattern) -> Vec<String> {
    let (text, bare) = (text.trim(), bare.trim());
    let plain = bare.strip_prefix(['v', 'V']);
    let written = match pattern.version_in(text) {
        Some(_) => text.to_owned(),
        None => pattern.tag(bare),
    };
    match plain {
        Some(plain) if pattern.has_v() => vec![pattern.tag(plain)],
        Some(plain) => vec![written, pattern.tag(plain)],
        None if pattern.has_v() => vec![written],
        None => vec![written, pattern.tag(&format!("v{bare}"))],
    }
}

/// The pattern that a tag suggests: `tool-v{version}` for `tool-v1.2.3`.
fn guess_pattern(tag: &str, inputs: &Inputs) -> Option<String> {
    let starts = tag.char_indices().filter(|(at, c)| *at > 0 && c.is_ascii_digit());
    let start = starts.map(|(at, _)| at).find(|at| Version::parse(&tag[*at..], inputs.version_scheme).is_ok())?;
    // A date isn't how a tool is called.
    let name = &tag[..start];
    name.contains(char::is_alphabetic).then(|| format!("{name}{{version}}"))
}

/// The development build of the run's commit: for pull requests, for dry runs without a version, and if a template with
/// `{sha}` asks for it.
fn development(inputs: &Inputs, event: &Event) -> Option<Determined> {
    let asked = asks_for_dry_run(inputs, event) || inputs.tag_templates.iter().any(super::Template::has_sha);
    let commit = match &event.kind {
        _ if asked && inputs.stated.revision.is_some() => inputs.stated.revision.as_deref(),
        Kind::PullRequest { head, .. } => head.as_deref().or(event.commit.as_deref()),
        Kind::Branch(_) | Kind::Dispatch(_) | Kind::Other if asked => event.commit.as_deref(),
        _ => None,
    };
    let version = Version::commit(commit?)?;
    Some(Determined { version, release: None, revision: commit.map(str::to_owned), not_final: None })
}

fn nothing_found(inputs: &Inputs, event: &Event) -> Problem {
    if asks_for_dry_run(inputs, event) {
        return Problem::new(
            &Place::Input("version"),
            format!("`{DRY_RUN}` is a dry run of a development build, and the run's commit isn't known"),
        )
        .hint(format!(
            "give a version, with {}, or set {}",
            Input("dry-run").set_to("true"),
            Input("revision")
        ));
    }
    let looked = match &event.kind {
        _ if event.name.is_empty() => "no event started this run".to_owned(),
        Kind::Branch(branch) => format!("the push was to branch `{branch}`, not of a tag"),
        Kind::Dispatch(_) if event.name == "repository_dispatch" => {
            "the payload of `repository_dispatch` has no `client_payload.version`".to_owned()
        }
        Kind::Dispatch(_) => format!("event `{}` has no input `version` or `tag`", event.name),
        Kind::PullRequest { .. } => "the payload of the pull request names no commit".to_owned(),
        _ => format!("event `{}` names no version", event.name),
    };
    let hint = match &event.kind {
        _ if event.name.is_empty() => "give it with `--version`".to_owned(),
        Kind::Branch(_) => format!(
            "run on `release: types: [published]`, set {}, or add `sha-{{sha}}-{{tag}}` to {} to publish development builds",
            Input("version"),
            Input("tag-templates")
        ),
        _ => format!("run on `release: types: [published]`, or set {}", Input("version")),
    };
    Problem::new(&Place::Input("version"), format!("it is empty, and {looked}")).hint(hint)
}
