//! Sections of a text, each between two markers: they are replaced as a whole, and the text around them never changes.
//!
//! Several tools, jobs and registries may write into the notes of one release, each into a section of its own. The
//! marker at the beginning of a section names the repositories that the section is about.

use std::ops::Range;

/// The beginning of the line that starts a section.
const BEGIN: &str = "<!-- publish-variants:begin";

/// The end of that line.
const CLOSE: &str = "-->";

/// The line that ends a section.
pub const END: &str = "<!-- publish-variants:end -->";

/// The line before which new sections are inserted. It stays there, for the sections of other jobs.
pub const PLACEHOLDER: &str = "<!-- publish-variants -->";

/// The line that starts the section about `repositories`.
#[must_use]
pub fn begin<'a>(repositories: impl IntoIterator<Item = &'a str>) -> String {
    let names: String = repositories.into_iter().flat_map(|name| [" ", name]).collect();
    format!("{BEGIN}{names} {CLOSE}")
}

/// A section of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section<'a> {
    /// The text of the section, including its markers.
    pub text: &'a str,
    /// The repositories that its first marker names. Older versions didn't name any.
    pub repositories: Vec<&'a str>,
    /// The range from the start of its first line to the end of its last line, without that line's line end.
    range: Range<usize>,
}

impl Section<'_> {
    /// Whether there is nothing between the markers, because the section was merged into another one.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.text.lines().count() == 2
    }
}

/// `body` with `section` in place of the section that `is_ours` recognises. If there is none, it is inserted before
/// [`PLACEHOLDER`], else after the last section, else at the end.
///
/// `section` starts with a line from [`begin`] and ends with [`END`]. A section reaches from a marker that begins one
/// to the next marker, if that is an end. If several are ours, all but the first are emptied. Markers without a
/// counterpart are ordinary text. Line ends are those of the body.
#[must_use]
pub fn replace_section(body: &str, section: &str, is_ours: impl Fn(&Section<'_>) -> bool) -> String {
    let newline = if body.contains("\r\n") { "\r\n" } else { "\n" };
    let section = section.replace('\n', newline);
    let sections = sections(body);
    let ours: Vec<&Section<'_>> = sections.iter().filter(|section| is_ours(section)).collect();
    if ours.is_empty() {
        if let Some(at) = placeholder(body, &sections) {
            return format!("{}{section}{newline}{newline}{}", &body[..at], &body[at..]);
        }
        if let Some(last) = sections.iter().rfind(|section| !section.is_empty()) {
            let (before, after) = body.split_at(last.range.end);
            return format!("{before}{newline}{newline}{section}{after}");
        }
        let gap = match body {
            "" => "",
            _ if body.ends_with("\n\n") || body.ends_with("\r\n\r\n") => "",
            _ if body.ends_with('\n') => newline,
            _ => &newline.repeat(2),
        };
        return format!("{body}{gap}{section}{newline}");
    }
    // The markers of emptied sections stay: otherwise stray markers on both sides of a section would become a pair, and
    // the next run would replace everything between them.
    let emptied = format!("{}{newline}{END}", begin([]));
    let (mut text, mut kept_from) = (String::with_capacity(body.len() + section.len()), 0);
    for (number, old) in ours.into_iter().enumerate() {
        text.push_str(&body[kept_from..old.range.start]);
        text.push_str(if number == 0 { &section } else { &emptied });
        kept_from = old.range.end;
    }
    text + &body[kept_from..]
}

/// The sections of `body`.
#[must_use]
pub fn sections(body: &str) -> Vec<Section<'_>> {
    let (mut found, mut open, mut start) = (Vec::new(), None, 0);
    for line in body.split_inclusive('\n') {
        // A marker is on a line of its own; in a sentence or a quotation it is only mentioned.
        let text = line.trim_end();
        if let Some(repositories) = begins(text) {
            open = Some((start, repositories));
        } else if text == END
            && let Some((begin, repositories)) = open.take()
        {
            let range = begin..start + line.trim_end_matches(['\n', '\r']).len();
            found.push(Section { text: &body[range.clone()], repositories, range });
        }
        start += line.len();
    }
    found
}

/// The repositories in a marker that begins a section.
fn begins(line: &str) -> Option<Vec<&str>> {
    let names = line.strip_prefix(BEGIN)?.strip_suffix(CLOSE)?;
    let is_apart = names.starts_with(' ') && names.ends_with(' ');
    is_apart.then(|| names.split_whitespace().collect())
}

/// The start of the first line that is a placeholder, outside of `sections`.
fn placeholder(body: &str, sections: &[Section<'_>]) -> Option<usize> {
    let mut start = 0;
    let mut lines = body.split_inclusive('\n').map(|line| {
        start += line.len();
        (start - line.len(), line)
    });
    let is_outside = |at: usize| !sections.iter().any(|section| section.range.contains(&at));
    lines.find(|(at, line)| line.trim_end() == PLACEHOLDER && is_outside(*at)).map(|(at, _)| at)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BARE: &str = "<!-- publish-variants:begin -->";

    fn ours(text: &str) -> String {
        format!("{}\n{text}\n{END}", begin(["ghcr.io/acme/tool"]))
    }

    /// Replaces any section that isn't empty.
    fn replace(body: &str, section: &str) -> String {
        replace_section(body, section, |section| !section.is_empty())
    }

    /// The text outside of all sections.
    fn outside(body: &str) -> String {
        let mut text = body.to_owned();
        for section in sections(body).into_iter().rev() {
            text.replace_range(section.range, "");
        }
        text
    }

    #[test]
    fn a_section_names_its_repositories() {
        let body = format!("{}\nx\n{END}\n{BARE}\n{END}\n", begin(["ghcr.io/a/b", "docker.io/c/d"]));
        let found = sections(&body);
        assert_eq!(found[0].repositories, ["ghcr.io/a/b", "docker.io/c/d"]);
        assert!(!found[0].is_empty() && found[1].is_empty() && found[1].repositories.is_empty());
        assert_eq!(begin([]), BARE);
        for other in
            ["<!-- publish-variants:begins -->", "<!-- publish-variants:begin-->", "x <!-- publish-variants:begin -->"]
        {
            assert_eq!(sections(&format!("{other}\n{END}\n")), [], "{other}");
        }
    }

    #[test]
    fn the_section_is_added_at_the_end_and_then_replaced_in_its_place() {
        for (body, expected) in [
            ("", "NEW\n"),
            ("Notes", "Notes\n\nNEW\n"),
            ("Notes\n", "Notes\n\nNEW\n"),
            ("Notes\n\n", "Notes\n\nNEW\n"),
            ("Notes\r\n", "Notes\r\n\r\nNEW\r\n"),
        ] {
            let new = replace(body, &ours("1"));
            let crlf = body.contains('\r');
            let section = if crlf { ours("1").replace('\n', "\r\n") } else { ours("1") };
            assert_eq!(new, expected.replace("NEW", &section), "{body:?}");
            let moved_up = format!("Before\n{new}After");
            assert_eq!(replace(&moved_up, &ours("2")), moved_up.replace('1', "2"), "{body:?}");
        }
    }

    #[test]
    fn sections_are_inserted_before_the_placeholder_which_stays() {
        let body = format!("Notes\n\n{PLACEHOLDER}\n\n## Verifying\n");
        let once = replace(&body, &ours("1"));
        assert_eq!(once, format!("Notes\n\n{}\n\n{PLACEHOLDER}\n\n## Verifying\n", ours("1")));
        assert_eq!(replace(&once, &ours("1")), once);
        let twice = replace_section(&once, &ours("2"), |_| false);
        assert_eq!(twice, format!("Notes\n\n{}\n\n{}\n\n{PLACEHOLDER}\n\n## Verifying\n", ours("1"), ours("2")));
        let mentioned = format!("put `{PLACEHOLDER}` here\n");
        assert_eq!(replace(&mentioned, &ours("1")), format!("{mentioned}\n{}\n", ours("1")));
    }

    #[test]
    fn sections_stay_together() {
        let body = format!("Notes\n{}\nAfter\n", ours("1"));
        let with_two = replace_section(&body, &ours("2"), |_| false);
        assert_eq!(with_two, format!("Notes\n{}\n\n{}\nAfter\n", ours("1"), ours("2")));
        let replaced = replace_section(&with_two, &ours("3"), |section| section.text.contains("\n2\n"));
        assert_eq!(replaced, with_two.replace('2', "3"));
    }

    #[test]
    fn markers_without_a_counterpart_are_text() {
        let new = ours("new");
        for (body, expected) in [
            (format!("a\n{BARE}\nb"), format!("a\n{BARE}\nb\n\n{new}\n")),
            (format!("a\n{END}\nb\n"), format!("a\n{END}\nb\n\n{new}\n")),
            (format!("{END}\n{BARE}\n"), format!("{END}\n{BARE}\n\n{new}\n")),
            (format!("{BARE}\na\n{BARE}\nold\n{END}\nb\n{END}\n"), format!("{BARE}\na\n{new}\nb\n{END}\n")),
            (format!("see `{BARE}`\n  {BARE}\nx {END}\n"), format!("see `{BARE}`\n  {BARE}\nx {END}\n\n{new}\n")),
        ] {
            let text = replace(&body, &new);
            assert_eq!(text, expected);
            assert_eq!(replace(&text, &new), text);
        }
    }

    #[test]
    fn of_several_sections_of_ours_the_first_is_replaced_and_the_others_are_emptied() {
        let body = format!("a\n{}\nb\n{}\nc\n{}", ours("1"), ours("2"), ours("3"));
        let empty = format!("{BARE}\n{END}");
        assert_eq!(replace(&body, &ours("new")), format!("a\n{}\nb\n{empty}\nc\n{empty}", ours("new")));
    }

    #[test]
    fn a_section_inside_an_unfinished_one_does_not_complete_it() {
        let body = format!("{}\n{BARE}\nx\n{}\ny\n{END}\n", ours("1"), ours("2"));
        let once = replace(&body, &ours("new"));
        assert!(once.contains("\nx\n") && once.contains("\ny\n"));
        assert_eq!(replace(&once, &ours("new")), once);
    }

    fn bodies() -> impl Strategy<Value = String> {
        let line = prop_oneof![
            2 => Just(BARE.to_owned()),
            2 => Just(begin(["a.io/b"])),
            4 => Just(END.to_owned()),
            1 => Just(PLACEHOLDER.to_owned()),
            1 => Just(format!("{BARE}  ")),
            1 => Just(format!(" {END}")),
            6 => "[a-c<>!\\- ]{0,6}",
            1 => "\\PC{0,8}",
        ];
        let end = prop_oneof![5 => Just("\n"), 3 => Just("\r\n"), 1 => Just("")];
        prop::collection::vec((line, end), 0..12).prop_map(|lines| lines.into_iter().map(|(l, e)| l + e).collect())
    }

    proptest! {
        #[test]
        fn nothing_around_the_sections_is_lost(body in bodies()) {
            let new = replace(&body, &ours("new"));
            let of_ours = |body: &str| sections(body).into_iter().filter(|section| !section.is_empty()).count();
            let bare = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
            prop_assert_eq!(bare(&outside(&new)), bare(&outside(&body)));
            prop_assert_eq!(of_ours(&new), 1);
            let found = sections(&new).into_iter().find(|section| !section.is_empty()).unwrap();
            prop_assert_eq!(found.text.replace("\r\n", "\n"), ours("new"));
        }

        #[test]
        fn a_second_time_changes_nothing(body in bodies()) {
            let once = replace(&body, &ours("new"));
            prop_assert_eq!(replace(&once, &ours("new")), once);
        }
    }
}
