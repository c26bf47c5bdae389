//! The record of another workflow with the image that it built for each variant: a JSON object from the variant's name
//! to `repository@digest`. Other contents of such a record (tags, destinations) aren't used.

use std::collections::BTreeMap;

use super::Row;
use super::node::{Node, Value};
use crate::action::inputs::MatrixText;
use crate::image::{Location, Reference};
use crate::plan::problem::nearest;
use crate::plan::{Place, Problem, Text};

/// Images that were built elsewhere, by the variant's name.
pub(super) struct Record {
    path: Text,
    /// `None` if the record can't be read, which has been reported.
    images: Option<BTreeMap<String, Entry>>,
}

struct Entry {
    place: Place,
    /// `None` if the entry can't be used, which has been reported.
    image: Option<Location>,
}

/// Why a record has no image for a variant.
pub(super) enum NoImage {
    /// The record can't be read, or its entry can't be used; either has been reported.
    Unreadable,
    /// The record doesn't contain the variant.
    Unknown,
}

impl Record {
    /// A record that can't be read, which has been reported.
    pub(super) fn unreadable() -> Self {
        Self { path: Text::File(String::new()), images: None }
    }

    /// Parses a record, and adds what is wrong with it to `problems`.
    pub(super) fn read(text: &MatrixText, problems: &mut Vec<Problem>) -> Self {
        let path = text.name.clone();
        let root = match Node::parse(&text.text) {
            Ok(root) => root,
            Err((line, column, message)) => {
                problems.push(Problem::new(&Place::Line { of: path.clone(), line, column }, message).hint(FORM));
                return Self { path, images: None };
            }
        };
        let Value::Map(entries) = &root.value else {
            let found = format!("expected an object from variants to images, found {}", root.kind());
            problems.push(Problem::new(&root.place(&path), found).hint(FORM));
            return Self { path, images: None };
        };
        let mut images = BTreeMap::new();
        for (key, value) in entries {
            let (Value::Text(name), place) = (&key.value, key.place(&path)) else { continue };
            let image = image(value).map_err(|wrong| {
                problems.push(Problem::new(&value.place(&path), wrong).hint(FORM));
            });
            images.insert(name.clone(), Entry { place, image: image.ok() });
        }
        Self { path, images: Some(images) }
    }

    /// The path of the record's file.
    pub(super) fn path(&self) -> &Text {
        &self.path
    }

    /// The image for a variant.
    ///
    /// # Errors
    /// The record has no image for it.
    pub(super) fn image(&self, variant: &str) -> Result<Location, NoImage> {
        let images = self.images.as_ref().ok_or(NoImage::Unreadable)?;
        images.get(variant).ok_or(NoImage::Unknown)?.image.clone().ok_or(NoImage::Unreadable)
    }

    /// The names of all variants in the record.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.images.iter().flat_map(BTreeMap::keys).map(String::as_str)
    }

    /// Refuses variants that the matrix lacks, or for which it has a base or an image itself: then the record was made
    /// for another matrix.
    pub(super) fn refuse_unknown(&self, rows: &[Row], problems: &mut Vec<Problem>) {
        let name = |row: &Row| row.tags.first().map(|(name, _)| name.clone()).unwrap_or_default();
        let names: BTreeMap<String, &Row> = rows.iter().map(|row| (name(row), row)).collect();
        for (variant, entry) in self.images.iter().flatten() {
            match names.get(variant) {
                Some(row) if row.made.elsewhere() == entry.image.as_ref() => {}
                Some(row) => {
                    let has = if row.made.elsewhere().is_some() { "an `image`" } else { "a `base`" };
                    let problem = Problem::new(&entry.place, format!("`{variant}` has {has} of its own in the matrix"));
                    problems.push(problem.hint("leave it out of the record, or out of the matrix"));
                }
                None => {
                    let problem = Problem::new(&entry.place, format!("`{variant}` is not a variant of the matrix"));
                    problems.push(match nearest(variant, names.keys().map(String::as_str)) {
                        Some(nearest) => problem.hint(format!("did you mean `{nearest}`?")),
                        None => problem.hint("a variant is named by the first of its `tags`, without the version"),
                    });
                }
            }
        }
    }
}

/// The format of a record, for hints.
const FORM: &str = "a record looks like `{ \"alpine3.23\": \"ghcr.io/acme/candidates@sha256:…\" }`";

fn image(value: &Node) -> Result<Location, String> {
    let Value::Text(text) = &value.value else {
        return Err(format!("expected `repository@digest`, found {}", value.kind()));
    };
    let reference: Reference =
        text.parse().map_err(|invalid| format!("{invalid}").lines().next().unwrap_or_default().to_owned())?;
    match reference.digest() {
        Some(_) => Ok(Location::Registry(reference)),
        None => Err(format!("`{text}` isn't pinned by its digest")),
    }
}
