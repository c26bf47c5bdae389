//! A recipe as a [Dockerfile](https://docs.docker.com/reference/dockerfile/). Pure.

use std::collections::BTreeMap;

use super::recipe::{DESTINATION, Recipe};

/// The Dockerfile that builds `recipe`. It needs no other file.
#[must_use]
pub fn render(recipe: &Recipe) -> String {
    let changes = &recipe.changes;
    let mut lines = vec![
        format!("FROM --platform={} {}", recipe.platform, recipe.base.reference),
        format!("COPY --from={} {} {DESTINATION}/", recipe.source.reference, recipe.binaries.join(" ")),
    ];
    lines.extend(recipe.run.iter().map(|line| format!("RUN {line}")));
    lines.extend(assignments("ENV", &changes.env));
    lines.extend(assignments("LABEL", &changes.labels));
    let texts = [("WORKDIR", &changes.workdir), ("USER", &changes.user)];
    lines.extend(texts.iter().filter_map(|(word, text)| Some(format!("{word} {}", escape(text.as_ref()?)))));
    // In this order: a new entrypoint clears the command that was meant for the old one.
    let lists = [("ENTRYPOINT", &changes.entrypoint), ("CMD", &changes.cmd)];
    lines.extend(lists.iter().filter_map(|(word, list)| Some(format!("{word} {}", json(list.as_ref()?)))));
    lines.push(String::new());
    lines.join("\n")
}

fn json(list: &[String]) -> String {
    serde_json::Value::from(list).to_string()
}

fn assignments(word: &str, values: &BTreeMap<String, String>) -> Vec<String> {
    values.iter().map(|(name, value)| format!("{word} {}={}", quote(name), quote(value))).collect()
}

/// `text` as one double-quoted word that the Dockerfile's own expansion leaves as it is.
fn quote(text: &str) -> String {
    format!("\"{}\"", escape(text))
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        if matches!(character, '\\' | '"' | '$') {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}
