//! The log's lines about tags: one for each image with the tags that are written, and one for all others of a kind.

use std::collections::BTreeMap;

use crate::image::{Repository, Tag};
use crate::ownership::{Decision, TagOutcome};
use crate::quote::count;

/// How many of the tags that stay a line names.
const NAMED: usize = 6;

/// What became of a tag, or would become of it in a publication.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Word {
    /// It is written: its image's line lists it after this word.
    Written(String),
    /// It stays, for this reason.
    Kept(String),
    /// It already names the right image.
    Unchanged,
}

impl Word {
    /// What became of a tag.
    pub(crate) fn done(outcome: &TagOutcome) -> Self {
        Self::of(outcome, str::to_owned)
    }

    /// What would become of a tag.
    pub(crate) fn to_be(outcome: &TagOutcome) -> Self {
        Self::of(outcome, |done| format!("to be {}:", done.trim_end_matches(':')))
    }

    fn of(outcome: &TagOutcome, written: impl Fn(&str) -> String) -> Self {
        match outcome {
            TagOutcome::Unchanged => Self::Unchanged,
            TagOutcome::Created => Self::Written(written("created")),
            TagOutcome::Moved(_) => Self::Written(written("moved")),
            TagOutcome::GivenTo(version) => Self::Written(written(&format!("given to {version}, which is newer:"))),
            TagOutcome::Kept(reason) => Self::Kept(reason.to_string()),
        }
    }
}

/// A tag of one of the run's images, and what became of it.
#[derive(Clone, Debug)]
pub(crate) struct Said<'a> {
    pub(crate) destination: &'a Repository,
    pub(crate) artifact: usize,
    pub(crate) tag: &'a Tag,
    pub(crate) word: Word,
}

impl<'a> Said<'a> {
    pub(crate) fn of(decision: &'a Decision, word: Word) -> Self {
        Self { destination: &decision.destination, artifact: decision.artifact, tag: &decision.tag, word }
    }
}

/// The lines, in the order of the tags; tags that are written come first.
pub(crate) fn lines<'a>(said: impl IntoIterator<Item = Said<'a>>) -> Vec<String> {
    let mut written = Groups::<(&Repository, usize), Groups<String, Vec<&Tag>>>::default();
    let mut others = Groups::<(&Repository, Word), Vec<&Tag>>::default();
    for Said { destination, artifact, tag, word } in said {
        match word {
            Word::Written(word) => written.of((destination, artifact)).of(word).push(tag),
            word => others.of((destination, word)).push(tag),
        }
    }
    let written = written.groups.into_iter().map(|((destination, _), words)| {
        let words = words.groups.iter().map(|(word, tags)| format!("{word} {}", names(tags, tags.len())));
        format!("{destination}  {}", words.collect::<Vec<_>>().join("; "))
    });
    let others = others.groups.into_iter().map(|((destination, word), tags)| match word {
        Word::Kept(reason) => format!("{destination}  kept ({reason}): {}", names(&tags, NAMED)),
        _ => format!("{destination}  {} unchanged", count(tags.len(), "tag")),
    });
    written.chain(others).collect()
}

/// The first `most` names, and how many more there are.
fn names(tags: &[&Tag], most: usize) -> String {
    let names = tags.iter().take(most).map(|tag| tag.as_str()).collect::<Vec<_>>().join(", ");
    match tags.len().saturating_sub(most) {
        0 => names,
        more => format!("{names} and {more} more"),
    }
}

/// Values by keys, in the order in which the keys came.
struct Groups<K, V> {
    numbers: BTreeMap<K, usize>,
    groups: Vec<(K, V)>,
}

impl<K, V> Default for Groups<K, V> {
    fn default() -> Self {
        Self { numbers: BTreeMap::new(), groups: Vec::new() }
    }
}

impl<K: Ord + Clone, V: Default> Groups<K, V> {
    fn of(&mut self, key: K) -> &mut V {
        let number = *self.numbers.entry(key.clone()).or_insert_with(|| {
            self.groups.push((key, V::default()));
            self.groups.len() - 1
        });
        &mut self.groups[number].1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_has_a_line_for_its_written_tags_and_the_other_tags_share_lines() {
        let places: Vec<Repository> = ["ghcr.io/a/b", "docker.io/a/b"].map(|name| name.parse().unwrap()).into();
        let tags: Vec<Tag> = (0..10).map(|number| format!("tag-{number}").parse().unwrap()).collect();
        let said = |place: usize, artifact, tag: usize, word| Said {
            destination: &places[place],
            artifact,
            tag: &tags[tag],
            word,
        };
        let written = |word: &str| Word::Written(word.to_owned());
        let kept = |tag| said(1, 1, tag, Word::Kept("belongs to 2.0, which is newer".to_owned()));
        let said = [
            said(0, 0, 0, written("created")),
            said(1, 0, 0, written("created")),
            said(0, 0, 1, written("moved")),
            said(0, 0, 2, written("created")),
            said(0, 1, 3, Word::Unchanged),
            said(0, 1, 4, Word::Unchanged),
        ];
        assert_eq!(
            lines(said.into_iter().chain((0..8).map(kept))),
            [
                "ghcr.io/a/b  created tag-0, tag-2; moved tag-1",
                "docker.io/a/b  created tag-0",
                "ghcr.io/a/b  2 tags unchanged",
                "docker.io/a/b  kept (belongs to 2.0, which is newer): tag-0, tag-1, tag-2, tag-3, tag-4, tag-5 and 2 more",
            ]
        );
    }
}
