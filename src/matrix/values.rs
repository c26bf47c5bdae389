//! The values of a variant's keys.

use std::collections::BTreeMap;

use super::axes::Combination;
use super::node::{Node, Value};
use super::read::{Entry, Reader};
use super::{Setting, Verify};
use crate::compose::binaries::Binaries;
use crate::image::Platform;
use crate::image::platform::NotLinux;
use crate::plan::Platforms;

impl Reader<'_> {
    pub(super) fn binaries(&mut self, entry: &Entry<'_>, combination: &Combination) -> Option<Binaries> {
        let node = entry.keys.get("binaries")?;
        let mut binaries = Binaries::default();
        for (at, text) in self.list(node) {
            let mut problems = Vec::new();
            binaries.add(&combination.fill_known(&text), &mut problems);
            problems.iter().for_each(|problem| self.problem(at, problem));
        }
        if binaries.is_empty() {
            self.problem(node, "no executables are named\nhint: list their paths in the source image, such as `/uv`");
        }
        Some(binaries)
    }

    pub(super) fn platforms(&mut self, node: &Node) -> Platforms {
        let mut platforms = Vec::new();
        for (at, text) in self.list(node) {
            for word in text.split([',', ' ']).filter(|word| !word.is_empty() && *word != "auto") {
                match word.parse::<Platform>() {
                    Ok(platform) if platforms.contains(&platform) => {}
                    Ok(platform) if !platform.is_linux() => self.problem(at, NotLinux(platform)),
                    Ok(platform) => platforms.push(platform),
                    Err(invalid) => self.problem(at, invalid),
                }
            }
        }
        if platforms.is_empty() { Platforms::Auto } else { Platforms::Listed(platforms) }
    }

    /// A mapping of names to texts: that of the defaults, then the variant's own.
    pub(super) fn map(&mut self, entry: &Entry<'_>, key: &str, combination: &Combination) -> BTreeMap<String, String> {
        let mut map = BTreeMap::new();
        let own =
            entry.keys.get(key).filter(|own| !entry.defaults.get(key).is_some_and(|node| std::ptr::eq(*node, **own)));
        for node in [entry.defaults.get(key), own].into_iter().flatten() {
            let Value::Map(entries) = &node.value else {
                self.expected(node, "names with their values");
                continue;
            };
            for (name, value) in entries {
                let Value::Text(name_text) = &name.value else {
                    self.expected(name, "a name");
                    continue;
                };
                if name_text.is_empty() || name_text.contains('=') && key == "env" {
                    self.problem(name, format!("`{name_text}` is no name of a variable"));
                }
                let text = match &value.value {
                    Value::Null => Some(String::new()),
                    _ => self.text(value),
                };
                map.extend(text.map(|text| (name_text.clone(), combination.fill_known(&text))));
            }
        }
        map
    }

    pub(super) fn setting(&mut self, entry: &Entry<'_>, key: &str, combination: &Combination) -> Setting {
        let Some(node) = entry.keys.get(key) else { return Setting::Unsaid };
        match &node.value {
            Value::Null => Setting::OfBase,
            Value::Text(line) => Setting::Set(self.words(node, line, combination)),
            _ => Setting::Set(self.list(node).iter().map(|(_, text)| combination.fill_known(text)).collect()),
        }
    }

    fn words(&mut self, node: &Node, line: &str, combination: &Combination) -> Vec<String> {
        super::words::words(&combination.fill_known(line)).unwrap_or_else(|| {
            self.problem(node, format!("`{line}` is no command\nhint: is there a quote without its counterpart?"));
            Vec::new()
        })
    }

    pub(super) fn run(&mut self, entry: &Entry<'_>, combination: &Combination) -> Vec<String> {
        let Some(node) = entry.keys.get("run") else { return Vec::new() };
        self.list(node).iter().map(|(_, text)| combination.fill_known(text)).collect()
    }

    pub(super) fn verify(&mut self, entry: &Entry<'_>, combination: &Combination) -> Verify {
        let Some(node) = entry.keys.get("verify") else { return Verify::Also(Vec::new()) };
        let commands = match &node.value {
            Value::Text(text) if text == "false" => return Verify::Nothing,
            Value::Text(text) if text == "true" => &[],
            Value::Null => &[],
            Value::Text(_) | Value::Map(_) => std::slice::from_ref(*node),
            Value::List(commands) => &commands[..],
        };
        let checks = commands.iter().filter_map(|command| self.check(command, combination)).collect();
        Verify::Also(checks)
    }

    fn check(&mut self, node: &Node, combination: &Combination) -> Option<(Vec<String>, Option<String>)> {
        match &node.value {
            Value::Text(line) => Some((self.words(node, line, combination), None)),
            Value::Map(_) => {
                let keys = self.keys(node, &["command", "contains"]);
                let contains = keys.get("contains").and_then(|node| self.text(node));
                let Some(command) = keys.get("command") else {
                    self.problem(node, "`command` is missing");
                    return None;
                };
                let words = match &command.value {
                    Value::Text(line) => self.words(command, line, combination),
                    _ => self.list(command).iter().map(|(_, text)| combination.fill_known(text)).collect(),
                };
                Some((words, contains.map(|text| combination.fill_known(&text))))
            }
            _ => {
                self.expected(node, "a command");
                None
            }
        }
    }

    pub(super) fn optional_text(&mut self, entry: &Entry<'_>, key: &str, combination: &Combination) -> Option<String> {
        let node = entry.keys.get(key).filter(|node| !matches!(node.value, Value::Null))?;
        self.text(node).map(|text| combination.fill_known(&text))
    }

    pub(super) fn text(&mut self, node: &Node) -> Option<String> {
        match &node.value {
            Value::Text(text) => Some(text.clone()),
            _ => {
                self.expected(node, "a text");
                None
            }
        }
    }

    /// A list of texts, or a single one.
    pub(super) fn list<'n>(&mut self, node: &'n Node) -> Vec<(&'n Node, String)> {
        match &node.value {
            Value::List(items) => items.iter().filter_map(|item| Some((item, self.text(item)?))).collect(),
            Value::Text(text) => vec![(node, text.clone())],
            _ => {
                self.expected(node, "a list of texts");
                Vec::new()
            }
        }
    }
}
