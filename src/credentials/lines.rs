//! Lines of the input `credentials`: `registry username password`.

use serde_json::{Map, Value};

use super::Credential;
use crate::secret::Secret;

/// The user name for the key of a Google service account.
const JSON_KEY: &str = "_json_key";

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line<'a> {
    /// The user or the password is missing, perhaps because a secret isn't set.
    Incomplete {
        /// The registry, as written.
        registry: &'a str,
    },
    /// A complete credential.
    Login(Credential),
    /// A JSON key that continues on the next lines, or isn't valid JSON.
    Key,
    /// There are more words than a credential has.
    TooLong,
}

/// The lines that aren't blank or comments, each with its number, counted from 1.
pub(super) fn read(text: &str) -> Vec<(usize, Line<'_>)> {
    let mut lines = Vec::new();
    let mut inside_key = false;
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if inside_key {
            inside_key = !line.starts_with('}');
        } else if !line.is_empty() && !line.starts_with('#') {
            let read = read_line(line);
            inside_key = read == Line::Key && line.ends_with('{');
            lines.push((number, read));
        }
    }
    lines
}

fn read_line(line: &str) -> Line<'_> {
    let words: Vec<&str> = line.split_whitespace().collect();
    match words[..] {
        [registry] | [registry, _] => Line::Incomplete { registry },
        [registry, JSON_KEY, ..] => {
            let key = after_two_words(line);
            match serde_json::from_str::<Map<String, Value>>(key) {
                Ok(_) => login(registry, JSON_KEY, key),
                Err(_) => Line::Key,
            }
        }
        [registry, username, password] => login(registry, username, password),
        _ => Line::TooLong,
    }
}

fn login<'a>(registry: &str, username: &str, password: &str) -> Line<'a> {
    let password = Secret::new(password).expect("a word has a character");
    Line::Login(Credential { registry: registry.to_owned(), username: username.to_owned(), password })
}

fn after_two_words(line: &str) -> &str {
    (0..2).fold(line.trim(), |rest, _| rest.split_once(char::is_whitespace).map_or("", |(_, rest)| rest.trim_start()))
}

/// Everything in `text` that may be a password, whether or not the lines can be used, so that it can be masked first.
#[must_use]
pub fn secrets(text: &str) -> Vec<Secret> {
    let mut secrets = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
        let rest = after_two_words(line);
        secrets.extend(Secret::new(rest));
        // The private part of a key may be shown without the rest.
        if let Ok(key) = serde_json::from_str::<Map<String, Value>>(rest) {
            secrets.extend(key.get("private_key").and_then(Value::as_str).and_then(Secret::new));
        }
    }
    secrets
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A text for each line: `1 incomplete ghcr.io`, `2 ghcr.io/user/password` …
    fn said(text: &str) -> Vec<String> {
        let said = |(number, line)| match line {
            Line::Incomplete { registry } => format!("{number} incomplete {registry}"),
            Line::Login(Credential { registry, username, password }) => {
                format!("{number} {registry} {username} {}", password.expose())
            }
            Line::Key => format!("{number} key"),
            Line::TooLong => format!("{number} too long"),
        };
        read(text).into_iter().map(said).collect()
    }

    #[test]
    fn lines_are_read_and_comments_are_not() {
        for (text, lines) in [
            ("", vec![]),
            ("\n  \n# Docker Hub\n#quay.io user token\n  # ghcr.io a b", vec![]),
            ("# Docker Hub\ndocker.io user p#ss", vec!["2 docker.io user p#ss"]),
            ("docker.io", vec!["1 incomplete docker.io"]),
            ("docker.io  \nquay.io user ", vec!["1 incomplete docker.io", "2 incomplete quay.io"]),
            ("[::1]:5000 user pass", vec!["1 [::1]:5000 user pass"]),
            ("docker.io user correct horse", vec!["1 too long"]),
        ] {
            assert_eq!(said(text), lines, "{text:?}");
        }
    }

    #[test]
    fn a_json_key_fits_a_line_or_is_said_not_to() {
        let compact = r#"{"type": "service_account", "private_key": "-----BEGIN PRIVATE KEY-----\nMIIE\n"}"#;
        let long = "{\n  \"type\": \"service_account\",\n  \"private_key\": \"-----BEGIN PRIVATE KEY-----\"\n}";
        for (line, read) in [
            (format!("gcr.io _json_key {compact}"), vec![format!("1 gcr.io _json_key {compact}")]),
            (format!("gcr.io _json_key {long}\nquay.io a b"), vec!["1 key".to_owned(), "5 quay.io a b".to_owned()]),
            ("gcr.io _json_key eyJ0eXBlIjoiIn0=".to_owned(), vec!["1 key".to_owned()]),
            (
                "gcr.io _json_key_base64 eyJ0eXBlIjoiIn0=".to_owned(),
                vec!["1 gcr.io _json_key_base64 eyJ0eXBlIjoiIn0=".to_owned()],
            ),
        ] {
            assert_eq!(said(&line), read, "{line}");
        }
        let secrets = secrets(&format!("gcr.io _json_key {compact}"));
        let secrets: Vec<&str> = secrets.iter().map(Secret::expose).collect();
        assert_eq!(secrets, [compact, "-----BEGIN PRIVATE KEY-----\nMIIE\n"]);
    }

    #[test]
    fn whatever_may_be_a_password_is_masked() {
        let secrets = secrets("# Docker Hub\ndocker.io user hunter2\nquay.io user correct horse\nghcr.io\n");
        assert_eq!(secrets.iter().map(Secret::expose).collect::<Vec<_>>(), ["hunter2", "correct horse"]);
    }
}
