//! Inputs that are lists of lines or words. Blank lines, empty items and comments are ignored.

/// The lines of `text`, trimmed. A line that begins with `#` is a comment; elsewhere, `#` is part of a value.
pub(crate) fn lines(text: &str) -> impl Iterator<Item = &str> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
}

/// The words of `text`, separated by blanks, commas or line breaks. A word that begins with `#` starts a comment, which
/// ends with its line.
pub(crate) fn words(text: &str) -> impl Iterator<Item = &str> {
    lines(text).flat_map(words_of_line)
}

fn words_of_line(line: &str) -> impl Iterator<Item = &str> {
    let words = line.split(|c: char| c == ',' || c.is_whitespace()).filter(|word| !word.is_empty());
    words.take_while(|word| !word.starts_with('#'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_empty_items_are_left_out() {
        let text = "\u{feff}# all\r\n\r\n a=b # c\r\n#d=e\n\tf=#g\n";
        assert_eq!(lines(text).collect::<Vec<_>>(), ["a=b # c", "f=#g"]);
        let text = "# images\r\nghcr.io/a/b,,docker.io/c#d # , the last\r\n , \n\tquay.io/e #\n#quay.io/f";
        assert_eq!(words(text).collect::<Vec<_>>(), ["ghcr.io/a/b", "docker.io/c#d", "quay.io/e"]);
    }
}
