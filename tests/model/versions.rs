//! The versions in histories, with all their properties by decree: nothing here parses a text.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use publish_variants::image::Tag;

/// A version of a tool, or something that a tag may be mistaken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    /// The version as it is written.
    pub(crate) text: &'static str,
    /// The version as it is written in tags.
    pub(crate) tag: &'static str,
    /// Major and minor.
    pub(crate) series: (&'static str, &'static str),
    /// The order of versions. Versions with equal ranks are one version in several spellings.
    pub(crate) rank: u32,
    /// How many dots are in its text.
    dots: usize,
    /// Whether it is neither a pre-release nor a development build.
    pub(crate) is_final: bool,
    /// Whether it is written in tags unchanged.
    pub(crate) literal: bool,
}

impl Known {
    /// The order in which versions own rolling tags: among several spellings, the one with more numbers comes later.
    pub(crate) fn order(&self) -> (u32, usize, &'static str) {
        (self.rank, self.dots, self.text)
    }
}

const fn dots(text: &str) -> usize {
    let (text, mut at, mut dots) = (text.as_bytes(), 0, 0);
    while at < text.len() {
        dots += (text[at] == b'.') as usize;
        at += 1;
    }
    dots
}

const fn known(rank: u32, text: &'static str, series: (&'static str, &'static str)) -> Known {
    Known { text, tag: text, series, rank, dots: dots(text), is_final: true, literal: true }
}

const fn unfinished(rank: u32, text: &'static str, series: (&'static str, &'static str)) -> Known {
    Known { is_final: false, ..known(rank, text, series) }
}

/// A version that is written differently in tags.
const fn altered(rank: u32, text: &'static str, tag: &'static str, series: (&'static str, &'static str)) -> Known {
    Known { tag, literal: false, ..known(rank, text, series) }
}

pub(crate) const KNOWN: &[Known] = &[
    known(1, "0", ("0", "0")),
    known(10, "0.9", ("0", "9")),
    known(10, "0.9.0", ("0", "9")),
    known(20, "0.9.1", ("0", "9")),
    known(30, "1", ("1", "0")),
    known(30, "1.0", ("1", "0")),
    known(30, "1.0.0", ("1", "0")),
    altered(35, "1+1.2.3", "1-1.2.3", ("1", "0")),
    altered(36, "1+1.2.4", "1-1.2.4", ("1", "0")),
    known(40, "1.0.1", ("1", "0")),
    known(50, "1.2", ("1", "2")),
    known(50, "1.2.0", ("1", "2")),
    known(60, "1.2.1", ("1", "2")),
    known(70, "1.2.2", ("1", "2")),
    unfinished(75, "1.2.3rc1", ("1", "2")),
    known(80, "1.2.3", ("1", "2")),
    altered(82, "1.2.3+22", "1.2.3-22", ("1", "2")),
    known(84, "1.2.3.post1", ("1", "2")),
    altered(86, "1.2.3-22", "1.2.3-22", ("1", "2")),
    known(90, "1.2.4", ("1", "2")),
    unfinished(95, "1.3.0-beta.1", ("1", "3")),
    unfinished(96, "1.3.0rc1", ("1", "3")),
    known(100, "1.3", ("1", "3")),
    known(100, "1.3.0", ("1", "3")),
    altered(102, "1.3.0-22", "1.3.0-22", ("1", "3")),
    known(110, "1.3.1", ("1", "3")),
    known(115, "1.29", ("1", "29")),
    altered(120, "1.29.1+k3s1", "1.29.1-k3s1", ("1", "29")),
    altered(130, "1.29.2+k3s1", "1.29.2-k3s1", ("1", "29")),
    altered(131, "1.29.2+k3s2", "1.29.2-k3s2", ("1", "29")),
    known(135, "1.30", ("1", "30")),
    altered(140, "1.30.0+k3s1", "1.30.0-k3s1", ("1", "30")),
    unfinished(145, "2.0.0rc1", ("2", "0")),
    known(150, "2", ("2", "0")),
    known(150, "2.0", ("2", "0")),
    known(150, "2.0.0", ("2", "0")),
    known(160, "2.0.1", ("2", "0")),
    known(165, "3.13", ("3", "13")),
    known(166, "3.13.1", ("3", "13")),
    known(167, "3.14", ("3", "14")),
    known(170, "21", ("21", "0")),
    known(170, "21.0", ("21", "0")),
    known(180, "22", ("22", "0")),
    known(180, "22.0", ("22", "0")),
    known(185, "22.04", ("22", "04")),
    known(190, "24", ("24", "0")),
    known(190, "24.0", ("24", "0")),
    known(200, "24.1", ("24", "1")),
    known(210, "24.1.1", ("24", "1")),
    known(220, "24.1.2", ("24", "1")),
    known(230, "24.2", ("24", "2")),
    known(235, "2026", ("2026", "0")),
    known(236, "2026.1", ("2026", "1")),
    known(240, "2026.1.10", ("2026", "1")),
    known(250, "2026.1.11", ("2026", "1")),
    known(260, "1234567", ("1234567", "0")),
    known(270, "20260110", ("20260110", "0")),
    altered(280, "1!1.2.3", "1-1.2.3", ("1", "2")),
    altered(282, "1!1.2.4", "1-1.2.4", ("1", "2")),
    altered(285, "21!1.2.3", "21-1.2.3", ("1", "2")),
    altered(290, "2026!01-10", "2026-01-10", ("01", "0")),
];

/// The known version with this text.
pub(crate) fn version(text: &str) -> Known {
    *KNOWN.iter().find(|known| known.text == text).unwrap_or_else(|| panic!("add {text} to the versions of the model"))
}

/// The tag that a template makes. Only the oracle uses it: the program has its own code.
pub(crate) fn render(template: &str, version: Known, entry: &str) -> String {
    // It is called a million times, and `str::replace` is slow without optimisation.
    let (mut text, mut rest) = (String::new(), template);
    while let Some(at) = rest.bytes().position(|byte| byte == b'{') {
        let end = at + rest.as_bytes()[at..].iter().position(|byte| *byte == b'}').expect("a template is closed");
        text.push_str(&rest[..at]);
        text.push_str(match &rest[at + 1..end] {
            "version" => version.tag,
            "major" => version.series.0,
            "minor" => version.series.1,
            "tag" => entry,
            other => panic!("the model has no {other}"),
        });
        rest = &rest[end + 1..];
    }
    text.push_str(rest);
    text
}

/// The tags that a template makes for all known versions, in their order. They are made once for each template and
/// entry, since the oracle tries all versions for all tags.
pub(crate) fn tags_of_all(template: &str, entry: &str) -> Rc<Vec<Tag>> {
    type Made = HashMap<(String, String), Rc<Vec<Tag>>>;
    thread_local! {
        static MADE: RefCell<Made> = RefCell::default();
    }
    let make = || Rc::new(KNOWN.iter().map(|known| render(template, *known, entry).parse().unwrap()).collect());
    MADE.with_borrow_mut(|made| Rc::clone(made.entry((template.to_owned(), entry.to_owned())).or_insert_with(make)))
}

/// Whether a template makes this tag: [`render`] without allocating, on which the oracle spends most of its time.
pub(crate) fn gives(template: &str, version: Known, entry: &str, tag: &str) -> bool {
    let (mut template, mut tag) = (template.as_bytes(), tag.as_bytes());
    while !template.is_empty() {
        let (part, after) = match template {
            [b'{', b'v', ..] => (version.tag.as_bytes(), &template["{version}".len()..]),
            [b'{', b'm', b'a', ..] => (version.series.0.as_bytes(), &template["{major}".len()..]),
            [b'{', b'm', b'i', ..] => (version.series.1.as_bytes(), &template["{minor}".len()..]),
            [b'{', ..] => (entry.as_bytes(), &template["{tag}".len()..]),
            _ => template.split_at(1),
        };
        let Some(rest) = tag.strip_prefix(part) else { return false };
        (template, tag) = (after, rest);
    }
    tag.is_empty()
}

/// Whether a template makes tags of a single version.
pub(crate) fn is_exact(template: &str) -> bool {
    template.contains("{version}")
}
