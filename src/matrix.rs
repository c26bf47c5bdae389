//! The matrix: which variants there are.
//!
//! YAML or JSON, or lines `base,tag,tag`. All problems of a text are found in one go, each with its line and column.

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
    /// Where it stands.
    pub place: Place,
    /// The axes of its entry.
    pub axes: Vec<String>,
    /// Where its image is made.
    pub made: Made,
    /// What it is called in tags, the most specific first, each with its place. At least one.
    pub tags: Vec<(String, Place)>,
    /// Where it says that it is the default variant, which gets the bare tags, if it does.
    pub default: Option<Place>,
    /// The image with its executables, with its place, if it says.
    pub source: Option<(WrittenSource, Place)>,
    /// What of the source goes where, if it says.
    pub binaries: Option<Binaries>,
    /// Its platforms, each with its place, if it says; empty for `auto`.
    pub platforms: Option<Vec<(Platform, Place)>>,
    /// Environment variables to set.
    pub env: BTreeMap<String, EnvValue>,
    /// The command, if it says.
    pub cmd: Setting,
    /// The entrypoint, if it says.
    pub entrypoint: Setting,
    /// The user.
    pub user: Option<String>,
    /// The working directory.
    pub workdir: Option<String>,
    /// Labels to set.
    pub labels: BTreeMap<String, String>,
    /// Annotations to set.
    pub annotations: PlannedAnnotations,
    /// Extra `RUN` instructions.
    pub run: Vec<RunInstruction>,
    /// Commands that must succeed.
    pub verify: Verify,
    /// Why people should no longer use it.
    pub deprecated: Option<String>,
}

/// A command of the image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Setting {
    /// The matrix doesn't say.
    #[default]
    Unsaid,
    /// The base's is kept.
    OfBase,
    /// This one, empty to clear it.
    Set(Vec<String>),
}

/// What is run before a variant is published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verify {
    /// Nothing.
    Nothing,
    /// The commands that are always run, then these, each with what its output must contain.
    Also(Vec<(Vec<String>, Option<String>)>),
}

/// Reads a matrix, and the record with the images of variants that the matrix doesn't name any for. What is wrong goes to
/// `problems`; the rows are then those that could be read.
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
