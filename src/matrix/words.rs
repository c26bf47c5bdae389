//! A command line, taken apart into words as a shell would, without what only a shell can do.

/// The words of `line`: apart by blanks, with quotes and backslashes. A line that needs a shell (`|`, `$`, `;`, …) is given to one.
/// `None` where a quote is open or there is no word.
pub(super) fn words(line: &str) -> Option<Vec<String>> {
    let (mut words, mut word, mut needs_shell) = (Vec::new(), None::<String>, false);
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match character {
            c if c.is_whitespace() => words.extend(word.take()),
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match characters.next()? {
                        '\'' => break,
                        c => word.push(c),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match characters.next()? {
                        '"' => break,
                        '\\' => word.push(characters.next()?),
                        c => {
                            needs_shell |= matches!(c, '$' | '`');
                            word.push(c);
                        }
                    }
                }
            }
            '\\' => word.get_or_insert_default().push(characters.next()?),
            c => {
                needs_shell |= matches!(c, '|' | '&' | ';' | '<' | '>' | '(' | ')' | '$' | '`' | '*' | '?' | '~');
                word.get_or_insert_default().push(c);
            }
        }
    }
    words.extend(word);
    match words.is_empty() {
        true => None,
        false if needs_shell => Some(["sh", "-c", line.trim()].map(str::to_owned).to_vec()),
        false => Some(words),
    }
}

#[cfg(test)]
mod tests {
    use super::words;

    #[test]
    fn lines_are_taken_apart_as_a_shell_would() {
        for (line, expected) in [
            ("python --version", Some(vec!["python", "--version"])),
            ("  a  'b c' \"d \\\" e\"f g\\ h '' ", Some(vec!["a", "b c", "d \" ef", "g h", ""])),
            ("uv --version | grep 1", Some(vec!["sh", "-c", "uv --version | grep 1"])),
            ("echo \"$HOME\"", Some(vec!["sh", "-c", "echo \"$HOME\""])),
            ("echo '$HOME'", Some(vec!["echo", "$HOME"])),
            ("'open", None),
            ("\"open", None),
            ("end\\", None),
            ("  ", None),
        ] {
            let expected = expected.map(|words| words.into_iter().map(str::to_owned).collect::<Vec<_>>());
            assert_eq!(words(line), expected, "{line}");
        }
    }
}
