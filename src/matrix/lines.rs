//! Lines of the form `base,tag,tag`, as in the workflows of uv and Ruff.

use super::node::{Node, Value};

/// Whether `text` consists of such lines, and isn't a YAML mapping or list.
pub(super) fn is_lines(text: &str) -> bool {
    let mut lines = significant(text).peekable();
    lines.peek().is_some()
        && lines.all(|(_, line)| {
            let line = line.trim();
            let is_yaml = line.starts_with(['-', '[', '{', '"', '\'', '&', '%', '!']) && !begins_with_ipv6(line);
            !is_yaml && !line.ends_with(':') && !line.contains(": ")
        })
}

/// Whether a line begins with a registry's host such as `[::1]:5000`, which doesn't begin a YAML list.
fn begins_with_ipv6(line: &str) -> bool {
    let host = line.strip_prefix('[').and_then(|line| line.split_once(']'));
    host.is_some_and(|(host, _)| host.parse::<std::net::Ipv6Addr>().is_ok())
}

/// The lines, each with its place.
pub(super) fn nodes(text: &str) -> Vec<Node> {
    significant(text)
        .map(|(number, line)| {
            let column = line.chars().take_while(|c| c.is_whitespace()).count() as u64 + 1;
            Node { line: number, column, value: Value::Text(line.trim().to_owned()) }
        })
        .collect()
}

/// The lines that aren't blank or comments, with their numbers.
fn significant(text: &str) -> impl Iterator<Item = (u64, &str)> {
    (1..)
        .zip(text.lines())
        .map(|(number, line)| match [" #", "\t#"].iter().filter_map(|comment| line.find(comment)).min() {
            Some(comment) => (number, &line[..comment]),
            None => (number, line),
        })
        .filter(|(_, line)| !line.trim().is_empty() && !line.trim_start().starts_with('#'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_at_an_ipv6_address_is_not_a_yaml_list() {
        for (text, expected) in [
            ("[::1]:5000/library/alpine:3.23,alpine", true),
            ("alpine:3.23,alpine\n[2001:db8::1]:5000/debian:13,debian", true),
            ("[alpine, debian]", false),
            ("[{base: 'alpine:3.23', tags: [alpine]}]", false),
        ] {
            assert_eq!(is_lines(text), expected, "{text}");
        }
    }
}
