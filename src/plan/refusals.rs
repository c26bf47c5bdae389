//! What a variant's row of the matrix is refused or warned about, given the inputs. Its syntax was checked when it was
//! read.

use std::collections::BTreeSet;

use super::{Made, Place, Problem};
use crate::action::Inputs;
use crate::action::inputs::Builder;
use crate::hint::{Flaw, Input};
use crate::image::{Base, Location, Platform, SourceName};
use crate::matrix::{Row, Verify};
use crate::version::Version;

/// Refuses a second default variant, and then treats it as an ordinary one.
pub(super) fn refuse_defaults(rows: &mut [Row], problems: &mut Vec<Problem>) {
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

/// Refuses what a row asks for and can't be had.
pub(super) fn refuse(row: &Row, inputs: &Inputs, problems: &mut Vec<Problem>) {
    let place = &row.place;
    if inputs.builder == Builder::Registry && !row.run.is_empty() {
        problems.push(
            Problem::new(place, "`run` needs the engine, which `builder: registry` doesn't use")
                .hint(format!("remove the `run` lines, or set {}", Input("builder").set_to("engine"))),
        );
    }
    if row.made == Made::Here(Base::Scratch) {
        refuse_shell(row, inputs, problems);
    }
    let image = row.made.elsewhere();
    if let Err(flaw) = inside(image.and_then(Location::path_outside), None) {
        push_once(Problem::new(place, flaw), problems);
    }
}

/// Refuses commands that need a shell, for an image of the executables alone.
fn refuse_shell(row: &Row, inputs: &Inputs, problems: &mut Vec<Problem>) {
    if row.run.iter().any(|run| !run.is_list()) {
        problems.push(
            Problem::new(&row.place, "`run` needs a shell, and `base: scratch` has none")
                .hint("remove the `run` lines, or write them as lists: `[\"/usr/local/bin/tool\", \"argument\"]`"),
        );
    }
    if inputs.verify
        && let Some(command) = needs_shell(row, inputs)
    {
        problems.push(
            Problem::new(&row.place, format!("`{command}` in `verify` needs a shell, and `base: scratch` has none"))
                .hint("run one program, without `|`, `$` and the like; `contains` checks what it prints"),
        );
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

/// The source that a variant names itself. A variant built elsewhere ignores the source in `defaults`.
pub(super) fn own_source(row: &Row, version: &Version, problems: &mut Vec<Problem>) -> Option<SourceName> {
    let (written, place) = row.source.as_ref().filter(|_| row.made.base().is_some())?;
    let is_inside = |source: SourceName| inside(source.path_outside(), Some("source")).map(|()| source);
    let filled = written.fill(version).and_then(is_inside).map_err(|flaw| Problem::new(place, flaw));
    filled.map_err(|problem| push_once(problem, problems)).ok()
}

/// Refuses a path out of the workspace. The matrix may come with a checkout, possibly of a pull request, so it may only
/// name files of the workspace. `input` may name others, since the author of the workflow writes it.
fn inside(outside: Option<&str>, input: Option<&'static str>) -> Result<(), Flaw> {
    let Some(path) = outside else { return Ok(()) };
    let mut hint = "copy it into the workspace, and write a relative path without `..`".to_owned();
    if let Some(input) = input {
        hint += &format!("; only {} may name another", Input(input).in_full());
    }
    Err(Flaw::new(format!("`{path}` may lead out of the workspace"), hint))
}

/// Warns about what is allowed and probably isn't meant.
pub(super) fn warn(row: &Row, warnings: &mut Vec<Problem>) {
    if row.made.elsewhere().is_some_and(Location::may_move) {
        warnings.push(
            Problem::new(&row.place, "`image` is named by a tag, which may name another image in the next run")
                .hint("pin it as `repository@sha256:…`"),
        );
    }
    for (platform, place) in row.platforms.iter().flatten() {
        unknown(platform, place).into_iter().for_each(|warning| push_once(warning, warnings));
    }
}

/// A warning about an unknown platform. It may be newer than this program, so it isn't refused: source and bases
/// decide.
pub(super) fn unknown(platform: &Platform, place: &Place) -> Option<Problem> {
    if platform.is_known() {
        return None;
    }
    let warning = Problem::new(place, format!("`{platform}` is not a known platform"));
    Some(match platform.nearest() {
        Some(nearest) => warning.hint(format!("did you mean `{nearest}`?")),
        None => warning.hint("a platform looks like `linux/amd64` or `linux/arm/v7`"),
    })
}

/// What stands in `defaults`, or in an entry with axes, is in several rows, and is said once.
fn push_once(problem: Problem, problems: &mut Vec<Problem>) {
    if !problems.contains(&problem) {
        problems.push(problem);
    }
}
