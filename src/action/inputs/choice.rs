//! Inputs with few values, and the names of these values.

use clap::builder::{PossibleValue, PossibleValuesParser};

use super::{Builder, OnConflict, PullRequest, ReleaseNotes, Rolling};
use crate::plan::problem::nearest;
use crate::version::Scheme;

/// An input with few values, each of which has one or more names.
pub(crate) trait Choice: Copy + PartialEq + 'static {
    /// Every value and its names, the one to recommend first.
    const VALUES: &'static [(&'static str, Self)];
}

/// The names of the values, each value once.
fn names<C: Choice>() -> impl Iterator<Item = &'static str> {
    let is_new = |number: &usize| !C::VALUES[..*number].iter().any(|(_, known)| *known == C::VALUES[*number].1);
    (0..C::VALUES.len()).filter(is_new).map(|number| C::VALUES[number].0)
}

/// Reads a value, in any case.
///
/// # Errors
/// The text isn't one of the names. The situation and the hint are worded as clap words them for an option.
pub(crate) fn read<C: Choice>(text: &str) -> Result<C, (String, String)> {
    if let Some((_, value)) = C::VALUES.iter().find(|(name, _)| text.eq_ignore_ascii_case(name)) {
        return Ok(*value);
    }
    let names: Vec<&str> = names::<C>().collect();
    let hint = match nearest(&text.to_ascii_lowercase(), names.iter().copied()) {
        Some(near) => format!("a similar value exists: `{near}`"),
        None => "use one of the possible values".to_owned(),
    };
    Err((format!("invalid value `{text}` [possible values: {}]", names.join(", ")), hint))
}

/// The values, for the command line.
pub(crate) fn values<C: Choice>() -> PossibleValuesParser {
    let shown: Vec<&str> = names::<C>().collect();
    C::VALUES.iter().map(|(name, _)| PossibleValue::new(*name).hide(!shown.contains(name))).collect::<Vec<_>>().into()
}

impl Choice for Builder {
    const VALUES: &'static [(&'static str, Self)] = &[("engine", Self::Engine), ("registry", Self::Registry)];
}

impl Choice for PullRequest {
    const VALUES: &'static [(&'static str, Self)] = &[("dry-run", Self::DryRun), ("push", Self::Push)];
}

impl Choice for Rolling {
    const VALUES: &'static [(&'static str, Self)] =
        &[("guard", Self::Guard), ("always", Self::Always), ("never", Self::Never)];
}

impl Choice for OnConflict {
    const VALUES: &'static [(&'static str, Self)] =
        &[("keep", Self::Keep), ("fail", Self::Fail), ("replace", Self::Replace)];
}

impl Choice for ReleaseNotes {
    // `true` dates from when there was only one form.
    const VALUES: &'static [(&'static str, Self)] =
        &[("compact", Self::Compact), ("full", Self::Full), ("false", Self::Off), ("true", Self::Compact)];
}

impl Choice for Scheme {
    const VALUES: &'static [(&'static str, Self)] =
        &[("auto", Self::Auto), ("pep440", Self::Pep440), ("semver", Self::Semver)];
}

impl Choice for bool {
    const VALUES: &'static [(&'static str, Self)] = &[("true", true), ("false", false)];
}
