//! Values of environment variables, which may refer to variables of the base, as in
//! [`ENV`](https://docs.docker.com/reference/dockerfile/#environment-replacement) of a Dockerfile.
//!
//! `$NAME` and `${NAME}` stand for the base's value, `${NAME:-text}` and `${NAME:+text}` depend on whether the base has
//! one, and `\$` is a dollar sign. All other characters, including quotes and backslashes, stand for themselves. Values
//! of one variant can't refer to each other, just as those of one `ENV` instruction can't.

use std::collections::BTreeMap;
use std::fmt;
use std::iter::Peekable;
use std::str::{Chars, FromStr};

use crate::hint::{Hinted, Hints};
use serde::{Serialize, Serializer};

/// The value of a variable, as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvValue {
    written: String,
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Variable { name: String, choice: Choice },
}

/// What a reference is replaced by.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Choice {
    /// The variable's value, or nothing if it has none.
    Value,
    /// `:-`: the variable's value, or this text if the value is missing or empty.
    Or(Vec<Part>),
    /// `:+`: this text, if the variable has a value that isn't empty.
    Instead(Vec<Part>),
}

/// A value that a Dockerfile would refuse, or would read in an unexpected way.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{written}` {what}")]
pub struct InvalidEnvValue {
    written: String,
    what: String,
}

impl Hinted for InvalidEnvValue {
    fn hints(&self) -> Hints {
        "write `\\$` for a dollar sign, and `$NAME` or `${NAME}` for a variable of the base".into()
    }
}

impl EnvValue {
    /// The value on a base with these variables. A variable that the base lacks is empty.
    #[must_use]
    pub fn expand(&self, base: &BTreeMap<String, String>) -> String {
        expand(&self.parts, base)
    }
}

fn expand(parts: &[Part], base: &BTreeMap<String, String>) -> String {
    let mut expanded = String::new();
    for part in parts {
        match part {
            Part::Text(text) => expanded.push_str(text),
            Part::Variable { name, choice } => {
                let value = base.get(name).map(String::as_str).unwrap_or_default();
                match choice {
                    Choice::Or(otherwise) if value.is_empty() => expanded.push_str(&expand(otherwise, base)),
                    Choice::Value | Choice::Or(_) => expanded.push_str(value),
                    Choice::Instead(_) if value.is_empty() => {}
                    Choice::Instead(instead) => expanded.push_str(&expand(instead, base)),
                }
            }
        }
    }
    expanded
}

impl FromStr for EnvValue {
    type Err = InvalidEnvValue;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut rest = text.chars().peekable();
        let parts = parts(&mut rest, None).map_err(|what| InvalidEnvValue { written: text.to_owned(), what })?;
        Ok(Self { written: text.to_owned(), parts })
    }
}

impl fmt::Display for EnvValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

impl Serialize for EnvValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.written)
    }
}

/// Parses to the end of the text, or past `end`.
fn parts(rest: &mut Peekable<Chars<'_>>, end: Option<char>) -> Result<Vec<Part>, String> {
    let (mut parts, mut text) = (Vec::new(), String::new());
    loop {
        match rest.next() {
            None if end.is_some() => return Err("has a `${` without its `}`".to_owned()),
            character if character == end => break,
            None => break,
            // Within braces, the closing brace can be escaped as well.
            Some('\\') if rest.peek().is_some_and(|&next| next == '$' || Some(next) == end) => text.extend(rest.next()),
            Some('$') => match variable(rest)? {
                Some(variable) => {
                    parts.push(Part::Text(std::mem::take(&mut text)));
                    parts.push(variable);
                }
                None => text.push('$'),
            },
            Some(other) => text.push(other),
        }
    }
    parts.push(Part::Text(text));
    parts.retain(|part| !matches!(part, Part::Text(text) if text.is_empty()));
    Ok(parts)
}

/// Parses what follows a dollar sign; `None` if the sign stands for itself.
fn variable(rest: &mut Peekable<Chars<'_>>) -> Result<Option<Part>, String> {
    match rest.peek() {
        Some('{') => drop(rest.next()),
        Some(&first) if starts_name(first) => {
            return Ok(Some(Part::Variable { name: name(rest), choice: Choice::Value }));
        }
        // Positional parameters and the like of a shell, which are always empty in a Dockerfile.
        Some(&special) if special.is_ascii_digit() || "@*#!?-$".contains(special) => {
            return Err(format!("has `${special}`, which is not a variable of the base"));
        }
        _ => return Ok(None),
    }
    let name = name(rest);
    let choice = match (rest.next(), rest.peek()) {
        _ if name.is_empty() => return Err("has a `${` that no name follows".to_owned()),
        (Some('}'), _) => Choice::Value,
        (Some(':'), Some('-')) => Choice::Or(word(rest)?),
        (Some(':'), Some('+')) => Choice::Instead(word(rest)?),
        (None, _) => return Err("has a `${` without its `}`".to_owned()),
        _ => return Err(format!("has `${{{name}` with a modifier that is neither `:-` nor `:+`")),
    };
    Ok(Some(Part::Variable { name, choice }))
}

/// Parses the text after `:-` or `:+`, of which the second character comes next.
fn word(rest: &mut Peekable<Chars<'_>>) -> Result<Vec<Part>, String> {
    rest.next();
    parts(rest, Some('}'))
}

fn starts_name(character: char) -> bool {
    character.is_ascii_alphabetic() || character == '_'
}

fn name(rest: &mut Peekable<Chars<'_>>) -> String {
    let mut name = String::new();
    while let Some(character) = rest.next_if(|&next| starts_name(next) || next.is_ascii_digit() && !name.is_empty()) {
        name.push(character);
    }
    name
}

/// Why `name` can't be the name of a variable, if it can't. POSIX wants letters, digits and `_`, but engines take names
/// such as `npm_config_@acme:registry`, so only names that would be read as something else are refused.
#[must_use]
pub fn wrong_name(name: &str) -> Option<&'static str> {
    match name {
        "" => Some("it is empty"),
        _ if name.contains('=') => Some("it has an equals sign"),
        _ if name.contains(char::is_whitespace) => Some("it has a blank"),
        _ if name.contains(char::is_control) => Some("it has a control character"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base() -> BTreeMap<String, String> {
        [("PATH", "/usr/bin:/bin"), ("EMPTY", ""), ("A1", "one")].map(|(n, v)| (n.to_owned(), v.to_owned())).into()
    }

    #[test]
    fn variables_of_the_base_are_filled_in_and_everything_else_stays() {
        for (written, expected) in [
            ("/opt/x/bin:$PATH", "/opt/x/bin:/usr/bin:/bin"),
            ("/opt/x/bin:${PATH}:/y", "/opt/x/bin:/usr/bin:/bin:/y"),
            ("$A1-$A1.x${A1}x$A1x", "one-one.xonex"),
            ("[$EMPTY$UNKNOWN${UNKNOWN}]", "[]"),
            ("${EMPTY:-a} ${UNKNOWN:-b} ${A1:-c} ${A1:-}", "a b one one"),
            ("${EMPTY:+a}${UNKNOWN:+b}${A1:+c}", "c"),
            ("${UNKNOWN:-${EMPTY:-$A1}}", "one"),
            (r"${UNKNOWN:-\}\$}", "}$"),
            (r"5\$PATH \${PATH} \\$ \n", r"5$PATH ${PATH} \$ \n"),
            ("100 $ $. $(id) ^a$", "100 $ $. $(id) ^a$"),
            (r#"it's "quoted" {A1} #"#, r#"it's "quoted" {A1} #"#),
            ("", ""),
        ] {
            let value = written.parse::<EnvValue>().unwrap();
            assert_eq!(value.expand(&base()), expected, "{written}");
            assert_eq!(value.to_string(), written);
        }
    }

    #[test]
    fn what_a_dockerfile_refuses_or_drops_is_refused() {
        for written in [
            "$5", "a$$b", "$@", "${", "${PATH", "${}", "${5}", "${:-x}", "${A1:-x", "${A1#x}", "${A1-x}", "${A1:?x}",
            "${A 1}",
        ] {
            let refused = written.parse::<EnvValue>().unwrap_err();
            assert!(!refused.hints().is_empty());
            let refused = refused.to_string();
            assert!(refused.contains(&format!("`{written}`")), "{refused}");
        }
    }

    #[test]
    fn only_names_that_would_be_read_as_something_else_are_wrong() {
        for good in ["PATH", "a.b-c", "npm_config_@acme:registry", "1", "É"] {
            assert_eq!(wrong_name(good), None, "{good}");
        }
        for bad in ["", "A B", "A=B", "=", "A\tB", "A\nB", "A\u{0}", " A", "A\u{a0}B"] {
            assert!(wrong_name(bad).is_some(), "{bad:?}");
        }
    }
}
