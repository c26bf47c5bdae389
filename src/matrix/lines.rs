//! Lines `base,tag,tag`, as the workflows of uv and Ruff have them.

use super::node::{Node, Value};

/// Whether `text` is such lines and no YAML mapping or list.
pub(super) fn is_lines(text: &str) -> bool {
    let mut lines = significant(text).peekable();
    lines.peek().is_some()
        && lines.all(|(_, line)| {
            let line = line.trim();
            !line.starts_with(['-', '[', '{', '"', '\'', '&', '%', '!']) && !line.ends_with(':') && !line.contains(": ")
        })
}

/// Each line as a text with its place.
pub(super) fn nodes(text: &str) -> Vec<Node> {
    significant(text)
        .map(|(number, line)| {
            let column = line.chars().take_while(|c| c.is_whitespace()).count() as u64 + 1;
            Node { line: number, column, value: Value::Text(line.trim().to_owned()) }
        })
        .collect()
}

/// What isn't blank or a comment, with its line number.
fn significant(text: &str) -> impl Iterator<Item = (u64, &str)> {
    (1..)
        .zip(text.lines())
        .map(|(number, line)| match [" #", "\t#"].iter().filter_map(|comment| line.find(comment)).min() {
            Some(comment) => (number, &line[..comment]),
            None => (number, line),
        })
        .filter(|(_, line)| !line.trim().is_empty() && !line.trim_start().starts_with('#'))
}
