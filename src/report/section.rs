//! A section of a text, between two markers: replaced whole, and never anything around it.

/// The line that starts the section.
pub const BEGIN: &str = "<!-- publish-variants:begin -->";

/// The line that ends the section.
pub const END: &str = "<!-- publish-variants:end -->";

/// `body` with `section` in the place of the section it has, else at its end.
///
/// `section` starts with [`BEGIN`] and ends with [`END`]. A section is what stands between a marker that begins one and
/// the next marker, if that ends it; further sections, as runs at the same time leave them, are emptied. Markers without
/// a partner are text like any other. Line ends are the body's.
#[must_use]
pub fn replace_section(body: &str, section: &str) -> String {
    let section = if body.contains("\r\n") { section.replace('\n', "\r\n") } else { section.to_owned() };
    let newline = if body.contains("\r\n") { "\r\n" } else { "\n" };
    let sections = sections(body);
    if sections.is_empty() {
        let gap = match body {
            "" => "",
            _ if body.ends_with("\n\n") || body.ends_with("\r\n\r\n") => "",
            _ if body.ends_with('\n') => newline,
            _ => &newline.repeat(2),
        };
        return format!("{body}{gap}{section}{newline}");
    }
    // Their markers stay: without them, stray markers on both sides of a section would become partners, and the next
    // run would replace what stands between them.
    let emptied = format!("{BEGIN}{newline}{END}");
    let (mut text, mut kept_from) = (String::with_capacity(body.len() + section.len()), 0);
    for (number, old) in sections.into_iter().enumerate() {
        text.push_str(&body[kept_from..old.start]);
        text.push_str(if number == 0 { &section } else { &emptied });
        kept_from = old.end;
    }
    text + &body[kept_from..]
}

/// The text between the markers of the first section of `body`.
#[must_use]
pub fn find_section(body: &str) -> Option<&str> {
    let range = sections(body).into_iter().next()?;
    Some(&body[range])
}

/// Where sections are, from the start of the first line to the end of the last one, without its line end.
fn sections(body: &str) -> Vec<std::ops::Range<usize>> {
    let (mut found, mut open, mut start) = (Vec::new(), None, 0);
    for line in body.split_inclusive('\n') {
        // A marker has its line for itself; in a sentence or a quotation it is only mentioned.
        let text = line.trim_end();
        if text == BEGIN {
            open = Some(start);
        } else if text == END
            && let Some(begin) = open.take()
        {
            found.push(begin..start + line.trim_end_matches(['\n', '\r']).len());
        }
        start += line.len();
    }
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ours(text: &str) -> String {
        format!("{BEGIN}\n{text}\n{END}")
    }

    /// What is not ours.
    fn outside(body: &str) -> String {
        let mut text = body.to_owned();
        for range in sections(body).into_iter().rev() {
            text.replace_range(range, "");
        }
        text
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
            let new = replace_section(body, &ours("1"));
            let crlf = body.contains('\r');
            let section = if crlf { ours("1").replace('\n', "\r\n") } else { ours("1") };
            assert_eq!(new, expected.replace("NEW", &section), "{body:?}");
            let moved_up = format!("Before\n{new}After");
            assert_eq!(replace_section(&moved_up, &ours("2")), moved_up.replace('1', "2"), "{body:?}");
        }
    }

    #[test]
    fn markers_without_a_partner_are_text() {
        let new = ours("new");
        for (body, expected) in [
            (format!("a\n{BEGIN}\nb"), format!("a\n{BEGIN}\nb\n\n{new}\n")),
            (format!("a\n{END}\nb\n"), format!("a\n{END}\nb\n\n{new}\n")),
            (format!("{END}\n{BEGIN}\n"), format!("{END}\n{BEGIN}\n\n{new}\n")),
            (format!("{BEGIN}\na\n{BEGIN}\nold\n{END}\nb\n{END}\n"), format!("{BEGIN}\na\n{new}\nb\n{END}\n")),
            (format!("see `{BEGIN}`\n  {BEGIN}\nx {END}\n"), format!("see `{BEGIN}`\n  {BEGIN}\nx {END}\n\n{new}\n")),
        ] {
            let text = replace_section(&body, &new);
            assert_eq!(text, expected);
            assert_eq!(replace_section(&text, &new), text);
        }
    }

    #[test]
    fn of_several_sections_the_first_is_replaced_and_the_others_are_emptied() {
        let body = format!("a\n{}\nb\n{}\nc\n{}", ours("1"), ours("2"), ours("3"));
        let empty = format!("{BEGIN}\n{END}");
        assert_eq!(replace_section(&body, &ours("new")), format!("a\n{}\nb\n{empty}\nc\n{empty}", ours("new")));
    }

    #[test]
    fn a_section_in_a_torn_one_does_not_make_it_whole() {
        let body = format!("{}\n{BEGIN}\nx\n{}\ny\n{END}\n", ours("1"), ours("2"));
        let once = replace_section(&body, &ours("new"));
        assert!(once.contains("\nx\n") && once.contains("\ny\n"));
        assert_eq!(replace_section(&once, &ours("new")), once);
    }

    fn bodies() -> impl Strategy<Value = String> {
        let line = prop_oneof![
            4 => Just(BEGIN.to_owned()),
            4 => Just(END.to_owned()),
            1 => Just(format!("{BEGIN}  ")),
            1 => Just(format!(" {END}")),
            6 => "[a-c<>!\\- ]{0,6}",
            1 => "\\PC{0,8}",
        ];
        let end = prop_oneof![5 => Just("\n"), 3 => Just("\r\n"), 1 => Just("")];
        prop::collection::vec((line, end), 0..12).prop_map(|lines| lines.into_iter().map(|(l, e)| l + e).collect())
    }

    proptest! {
        #[test]
        fn nothing_around_the_section_is_lost(body in bodies()) {
            let new = replace_section(&body, &ours("new"));
            if sections(&body).is_empty() {
                prop_assert!(new.starts_with(&body));
            } else {
                prop_assert_eq!(outside(&new), outside(&body));
            }
            prop_assert_eq!(sections(&new).len(), sections(&body).len().max(1));
            prop_assert_eq!(find_section(&new).unwrap().replace("\r\n", "\n"), ours("new"));
        }

        #[test]
        fn a_second_time_changes_nothing(body in bodies()) {
            let once = replace_section(&body, &ours("new"));
            prop_assert_eq!(replace_section(&once, &ours("new")), once);
        }
    }
}
