//! The matrix: the list of variants.
//!
//! It is YAML, JSON, or lines of the form `base,tag,tag`. All problems of a text are reported together, each with its
//! line and column.

mod axes;
mod file;
mod lines;
mod made;
pub(crate) mod node;
mod read;
mod record;
mod values;
mod words;

use std::collections::BTreeMap;

use crate::action::inputs::{MatrixText, RecordText};
use crate::compose::binaries::Binaries;
use crate::compose::run::RunInstruction;
use crate::image::{EnvValue, Platform};
use crate::plan::{Made, Place, PlannedAnnotations, Problem, WrittenSource};

pub use file::schema;
use record::Record;

/// One variant, with the axes filled in and the defaults applied.
#[derive(Clone, Debug)]
pub struct Row {
    /// Its line in the matrix.
    pub place: Place,
    /// The axes of its entry.
    pub axes: Vec<String>,
    /// Where its image is made.
    pub made: Made,
    /// Its names in tags, the most specific first, each with its place. At least one.
    pub tags: Vec<(String, Place)>,
    /// The place that marks it as the default variant, which gets the bare tags.
    pub default: Option<Place>,
    /// The image with its executables and its place, if the row names one.
    pub source: Option<(WrittenSource, Place)>,
    /// Which files of the source go where, if the row says so.
    pub binaries: Option<Binaries>,
    /// Its platforms, each with its place, if the row says so; empty for `auto`.
    pub platforms: Option<Vec<(Platform, Place)>>,
    /// Environment variables to set.
    pub env: BTreeMap<String, EnvValue>,
    /// The command, if the row says so.
    pub cmd: Setting,
    /// The entrypoint, if the row says so.
    pub entrypoint: Setting,
    /// The user that the image runs as, if the row says so.
    pub user: Option<String>,
    /// The working directory, if the row says so.
    pub workdir: Option<String>,
    /// Labels to set.
    pub labels: BTreeMap<String, String>,
    /// Annotations to set.
    pub annotations: PlannedAnnotations,
    /// Extra `RUN` instructions, in order.
    pub run: Vec<RunInstruction>,
    /// The commands that must succeed before the variant is published.
    pub verify: Verify,
    /// Why people should stop using the variant.
    pub deprecated: Option<String>,
}

/// What a row says about the image's command or entrypoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Setting {
    /// The row doesn't say.
    #[default]
    Unsaid,
    /// The base's value is kept.
    OfBase,
    /// It is set to this value, or cleared if that is empty.
    Set(Vec<String>),
}

/// The commands to run before a variant is published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verify {
    /// No commands at all.
    Nothing,
    /// The default commands, then these, each with the text that its output must contain.
    Also(Vec<(Vec<String>, Option<String>)>),
}

/// Reads a matrix, and the record that names the images of variants for which the matrix names none. Adds what is wrong
/// to `problems`, and returns the rows that could be read.
#[must_use]
pub fn read(matrix: &MatrixText, record: Option<&RecordText>, problems: &mut Vec<Problem>) -> Vec<Row> {
    let mut found = Vec::new();
    let record = record.map(|record| match record {
        RecordText::Read(text) => Record::read(text, &mut found),
        RecordText::Unreadable => Record::unreadable(),
    });
    let rows = read::rows(matrix, record.as_ref(), &mut found);
    if found.is_empty()
        && let Some(record) = &record
    {
        record.refuse_unknown(&rows, &mut found);
    }
    if rows.is_empty() && found.is_empty() {
        let place = Place::Line { of: matrix.name.clone(), line: 1, column: 1 };
        found.push(Problem::new(&place, "it has no variants").hint("add one, such as `alpine:3.23,alpine3.23,alpine`"));
    }
    problems.extend(found);
    rows
}
