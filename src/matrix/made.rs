//! Where the image of a variant is made: here, on its base, or elsewhere.

use std::str::FromStr;

use super::axes::Combination;
use super::node::Node;
use super::read::{Entry, Reader};
use super::record::NoImage;
use crate::hint::Hinted;
use crate::plan::problem::nearest;
use crate::plan::{Made, Place, PlannedAnnotations};

/// Keys that change an image. They make no sense for a finished `image`.
const CHANGES: [&str; 9] = ["source", "binaries", "env", "cmd", "entrypoint", "user", "workdir", "labels", "run"];

/// A problem was found, and has already been reported.
pub(super) struct Reported;

impl Reader<'_> {
    /// Where the image is made. Keys of the entry itself take precedence over the defaults, whose `base` and `image`
    /// may be for other variants. `None` if the record of `images-from` decides.
    ///
    /// # Errors
    /// The keys are missing or invalid, which has been reported.
    pub(super) fn where_made(
        &mut self,
        entry: &Entry<'_>,
        combination: &Combination,
    ) -> Result<Option<Made>, Reported> {
        let (base, image) = match (entry.own("base"), entry.own("image")) {
            (None, None) => (entry.keys.get("base").copied(), entry.keys.get("image").copied()),
            own => own,
        };
        match (base, image) {
            (Some(_), Some(image)) => {
                self.refuse(
                    image,
                    "a variant has `base` or `image`, not both",
                    "keep `base` for a variant that is composed here, or `image` for one that is built elsewhere",
                );
                Err(Reported)
            }
            (Some(node), None) => self.parsed(node, combination).map(Made::Here).map(Some),
            (None, Some(node)) => self.parsed(node, combination).map(Made::Elsewhere).map(Some),
            (None, None) if self.record.is_some() => Ok(None),
            (None, None) => {
                self.refuse(
                    entry.node,
                    "`base` is missing",
                    "name the image under the variant, such as `alpine:3.23`, or an `image` that is built elsewhere",
                );
                Err(Reported)
            }
        }
    }

    fn parsed<T: FromStr<Err: Hinted>>(&mut self, node: &Node, combination: &Combination) -> Result<T, Reported> {
        let text = self.text(node).and_then(|text| self.fill(node, &text, combination)).ok_or(Reported)?;
        text.parse().map_err(|invalid| {
            self.problem(node, invalid);
            Reported
        })
    }

    /// The record's image for the variant with these tags.
    pub(super) fn of_record(&mut self, entry: &Entry<'_>, tags: &[(String, Place)]) -> Option<Made> {
        // An entry without tags has no name; that has been reported.
        let (record, (name, _)) = (self.record?, tags.first()?);
        match record.image(name) {
            Ok(image) => Some(Made::Elsewhere(image)),
            Err(NoImage::Unreadable) => None,
            Err(NoImage::Unknown) => {
                self.refuse(
                    entry.node,
                    format!("`{name}` has neither `base` nor `image`, and `{}` doesn't name it", record.path()),
                    match nearest(name, record.names()) {
                        Some(nearest) => {
                            format!("it names `{nearest}`; a variant's name is the first of its `tags`")
                        }
                        None => "add it to the record, or give it a `base`".to_owned(),
                    },
                );
                None
            }
        }
    }

    pub(super) fn refuse_changes(&mut self, entry: &Entry<'_>, annotations: &PlannedAnnotations) {
        for (key, node) in CHANGES.iter().filter_map(|key| Some((key, entry.own(key)?))) {
            self.refuse(
                node,
                format!("`{key}` would change an image that is built elsewhere"),
                "set it where the image is built, and remove it here",
            );
        }
        let only_manifests = annotations.manifest.iter().find(|(name, _)| !annotations.index.contains_key(*name));
        if let (Some((name, _)), Some(node)) = (only_manifests, entry.own("annotations")) {
            self.refuse(
                node,
                format!("`manifest:{name}` would change the manifests of an image that is built elsewhere"),
                "annotations of its index can be set: `index:`",
            );
        }
    }
}
