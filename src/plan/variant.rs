//! A variant of the plan, of its row of the matrix and the inputs.

use std::collections::{BTreeMap, BTreeSet};

use super::{Check, CheckOrigin, Made, PlannedAnnotations, Platforms, Tags, Variant};
use crate::action::Inputs;
use crate::compose::binaries::Binaries;
use crate::image::config::Changes;
use crate::image::{Base, SourceName, Tag};
use crate::matrix::{Row, Setting, Verify};
use crate::version::Version;

pub(super) fn variant(
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
/// `PATH`: then an image of another version is noticed.
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
