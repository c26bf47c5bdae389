//! Annotations that the inputs ask for. Their names may be prefixed with a level, as in docker/metadata-action and
//! buildx: `index:org.opencontainers.image.title`.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

use super::problem::nearest;
use crate::hint::Flaw;
use crate::image::manifest::Annotations;

/// Annotations to set, by level. They override computed ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlannedAnnotations {
    /// Annotations of the index.
    pub index: Annotations,
    /// Annotations of the manifest for every platform.
    pub manifest: Annotations,
}

/// The document that an annotation is set on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Index,
    Manifest,
}

const LEVELS: [(&str, Level); 2] = [("index", Level::Index), ("manifest", Level::Manifest)];
/// buildx's levels for descriptors. They aren't supported: here, descriptors are determined by what they refer to.
const DESCRIPTORS: [&str; 2] = ["index-descriptor", "manifest-descriptor"];

impl PlannedAnnotations {
    /// Sets an annotation on both levels, unless `name` has a prefix: `index:`, `manifest:` or `index,manifest:`.
    ///
    /// # Errors
    /// The name is empty, or its level isn't supported.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), Flaw> {
        let (levels, name) = match name.split_once(':') {
            // Otherwise the colon is a part of the name.
            Some((levels, name)) if is_list_of_levels(levels) => (self::levels(levels)?, name),
            _ => (LEVELS.map(|(_, level)| level).to_vec(), name),
        };
        if name.is_empty() || name.contains(char::is_control) {
            let situation = format!("`{name}` is not the name of an annotation");
            return Err(Flaw::new(situation, "a name looks like `org.opencontainers.image.title`"));
        }
        for level in levels {
            let annotations = match level {
                Level::Index => &mut self.index,
                Level::Manifest => &mut self.manifest,
            };
            annotations.insert(name.to_owned(), value.to_owned());
        }
        Ok(())
    }

    /// These annotations, overridden by those of `other`.
    #[must_use]
    pub fn with(mut self, other: Self) -> Self {
        self.index.extend(other.index);
        self.manifest.extend(other.manifest);
        self
    }
}

/// Whether `text` is a list of words in lower case, separated by commas, each possibly followed by platforms in
/// brackets.
fn is_list_of_levels(text: &str) -> bool {
    text.split(',').all(|level| {
        let (level, platform) = level.trim().split_once('[').unwrap_or((level.trim(), "]"));
        !level.is_empty() && level.bytes().all(|b| b.is_ascii_lowercase() || b == b'-') && platform.ends_with(']')
    })
}

fn levels(text: &str) -> Result<Vec<Level>, Flaw> {
    let levels = text.split(',').map(|text| {
        let text = text.trim();
        if let Some((_, level)) = LEVELS.iter().find(|(name, _)| *name == text) {
            return Ok(*level);
        }
        let (name, is_for_platform) = text.split_once('[').map_or((text, false), |(name, _)| (name, true));
        let known = LEVELS.map(|(name, _)| name).into_iter().chain(DESCRIPTORS);
        let (situation, hint) = match name {
            _ if DESCRIPTORS.contains(&name) => (
                format!("`{text}` would annotate a descriptor, which isn't supported"),
                "use `index:` or `manifest:`, or no prefix for both".to_owned(),
            ),
            "index" | "manifest" if is_for_platform => (
                format!("`{text}` is for one platform, and annotations are for all of them"),
                format!("write `{name}:`"),
            ),
            _ => (
                format!("`{name}` is not a level of annotations"),
                match nearest(name, known).filter(|nearest| !DESCRIPTORS.contains(nearest)) {
                    Some(nearest) => format!("did you mean `{nearest}:`?"),
                    None => "use `index:` or `manifest:`, or no prefix for both".to_owned(),
                },
            ),
        };
        Err(Flaw::new(situation, hint))
    });
    levels.collect()
}

/// In the form of the input: names without a prefix if they are set on both levels.
impl Serialize for PlannedAnnotations {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut written = BTreeMap::<String, &String>::new();
        for ((prefix, annotations), other) in
            [("index", &self.index), ("manifest", &self.manifest)].into_iter().zip([&self.manifest, &self.index])
        {
            for (name, value) in annotations {
                let is_on_both = other.get(name) == Some(value);
                written.insert(if is_on_both { name.clone() } else { format!("{prefix}:{name}") }, value);
            }
        }
        written.serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hint::Hinted as _;

    #[test]
    fn levels_are_those_of_metadata_action() {
        let mut annotations = PlannedAnnotations::default();
        for (name, value) in [
            ("org.example.both", "1"),
            ("index:org.example.top", "2"),
            ("manifest:org.example.each", "3"),
            ("index,manifest:org.example.all", "4"),
            ("manifest, index:org.example.also", "5"),
            ("urn.example/x:y", "6"),
            ("index:org.example.both", "7"),
        ] {
            annotations.set(name, value).unwrap();
        }
        let json = serde_json::to_value(&annotations).unwrap();
        let expected = serde_json::json!({
            "index:org.example.both": "7", "manifest:org.example.both": "1", "index:org.example.top": "2",
            "manifest:org.example.each": "3", "org.example.all": "4", "org.example.also": "5", "urn.example/x:y": "6",
        });
        assert_eq!(json, expected);
    }

    #[test]
    fn invalid_annotations_are_refused_with_a_hint() {
        for (name, situation, hint) in [
            ("manifest-descriptor:a", "would annotate a descriptor", "use `index:`"),
            ("index,index-descriptor:a", "would annotate a descriptor", "use `index:`"),
            ("manifest[linux/amd64]:a", "is for one platform", "write `manifest:`"),
            ("manifst:a", "`manifst` is not a level", "did you mean `manifest:`?"),
            ("layer:a", "`layer` is not a level", "use `index:`"),
            ("index:", "not the name", "looks like"),
            ("", "not the name", "looks like"),
        ] {
            let invalid = PlannedAnnotations::default().set(name, "x").unwrap_err();
            let said = invalid.with_hints();
            assert!(said.contains(situation) && said.contains(hint), "{name}: {said}");
        }
    }
}
