//! Words in messages: quotes of untrusted text of any length, and counts.

/// The longest quote in a message, in characters.
pub const LONGEST: usize = 80;

/// `text` on one line of at most [`LONGEST`] characters, without control characters.
#[must_use]
pub fn quoted(text: &str) -> String {
    // What is cut off isn't processed: it may be megabytes.
    let beginning: String = text.chars().take(16 * LONGEST).collect();
    let words = beginning.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    let line = words.collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(LONGEST - 1) {
        Some((end, last)) if end + last.len_utf8() < line.len() || beginning.len() < text.len() => {
            format!("{}…", &line[..end])
        }
        _ => line,
    }
}

/// `1 tag`, `2 tags`, `2 repositories`.
#[must_use]
pub fn count(number: usize, what: &str) -> String {
    match (number, what.strip_suffix('y')) {
        (1, _) => format!("1 {what}"),
        (_, Some(stem)) => format!("{number} {stem}ies"),
        (_, None) => format!("{number} {what}s"),
    }
}

/// `message` without the numbers that Rust appends to the words of the operating system: `(os error 2)`.
#[must_use]
pub fn without_error_numbers(message: &str) -> String {
    let mut parts = message.split(" (os error ");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| match part.split_once(')') {
        Some((number, rest)) if number.bytes().all(|b| b.is_ascii_digit()) => text + rest,
        _ => format!("{text} (os error {part}"),
    })
}

/// `message` with everything between backticks shortened: a quoted name may have any length.
#[must_use]
pub fn with_short_quotes(message: &str) -> String {
    if message.chars().count() <= LONGEST {
        return message.to_owned();
    }
    let parts = message.split('`').enumerate();
    let parts = parts.map(|(number, part)| match number % 2 {
        1 if part.chars().nth(LONGEST).is_some() => quoted(part),
        _ => part.to_owned(),
    });
    parts.collect::<Vec<_>>().join("`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quote_has_one_line_of_eighty_characters() {
        let (fits, long) = ("x".repeat(80), "ü".repeat(81));
        for (text, shown) in [
            ("", String::new()),
            (" a\r\n\tb \u{1b}[31mc\0d ", "a b [31mc d".to_owned()),
            (&fits, fits.clone()),
            (&long, format!("{}…", "ü".repeat(79))),
            (&format!("{}\n", "x".repeat(79)), "x".repeat(79)),
        ] {
            assert_eq!(quoted(text), shown);
        }
        let megabytes = quoted(&"a b\n".repeat(1 << 20));
        assert_eq!(megabytes.chars().count(), 80);
        assert!(megabytes.ends_with('…'));
    }

    #[test]
    fn numbers_of_the_operating_system_are_not_for_people() {
        for (said, shown) in [
            ("no such file (os error 2)", "no such file"),
            ("a (os error 2): b (os error 13), c", "a: b, c"),
            ("x (os error y) (os error 1", "x (os error y) (os error 1"),
            ("", ""),
        ] {
            assert_eq!(without_error_numbers(said), shown);
        }
    }

    #[test]
    fn quotes_in_a_message_are_shortened_and_the_rest_is_not() {
        let long = "word ".repeat(40);
        let message = format!("`{long}` is not `short`, {long}");
        assert_eq!(with_short_quotes(&message), format!("`{}` is not `short`, {long}", quoted(&long)));
        assert_eq!(with_short_quotes(&long), long);
    }
}
