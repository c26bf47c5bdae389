//! Parses the values of a variant's keys.

use std::collections::BTreeMap;

use super::axes::Combination;
use super::node::{Node, Value};
use super::read::{Entry, Reader};
use super::words::{self, NoCommand};
use super::{Setting, Verify};
use crate::action::inputs::list;
use crate::compose::binaries::Binaries;
use crate::compose::run::RunInstruction;
use crate::image::environment::wrong_name;
use crate::image::platform::NotLinux;
use crate::image::{EnvValue, Platform};
use crate::plan::{Place, PlannedAnnotations, WrittenSource};

impl Reader<'_> {
    /// Parses `source`: a text of one or more lines, or a list of lines.
    pub(super) fn source(&mut self, entry: &Entry<'_>, combination: &Combination) -> Option<(WrittenSource, Place)> {
        let node = entry.keys.get("source")?;
        let lines: Vec<String> = self.list(node).into_iter().map(|(_, text)| combination.fill_known(&text)).collect();
        if lines.is_empty() {
            self.refuse(
                node,
                "the source is empty",
                "name the image with the executables, such as `ghcr.io/acme/tool`",
            );
            return None;
        }
        let written = WrittenSource::read(&lines.join("\n"));
        let written =
            written.map_err(|problems| problems.iter().for_each(|problem| self.problem(node, problem))).ok()?;
        Some((written, node.place(self.of())))
    }

    pub(super) fn binaries(&mut self, entry: &Entry<'_>, combination: &Combination) -> Option<Binaries> {
        let node = entry.keys.get("binaries")?;
        let mut binaries = Binaries::default();
        for (at, text) in self.list(node) {
            let mut problems = Vec::new();
            let filled = combination.fill_known(&text);
            binaries.add(&list::words(&filled).collect::<Vec<_>>().join(" "), &mut problems);
            problems.iter().for_each(|problem| self.problem(at, problem));
        }
        if binaries.is_empty() {
            self.refuse(node, "no executables are named", "list their paths in the source image, such as `/uv`");
        }
        Some(binaries)
    }

    /// The platforms with their places; empty for `auto`.
    pub(super) fn platforms(&mut self, node: &Node) -> Vec<(Platform, Place)> {
        let mut platforms = Vec::<(Platform, Place)>::new();
        for (at, text) in self.list(node) {
            for word in list::words(&text).filter(|word| *word != "auto") {
                match word.parse::<Platform>() {
                    Ok(platform) if platforms.iter().any(|(listed, _)| *listed == platform) => {}
                    Ok(platform) if !platform.is_linux() => self.problem(at, NotLinux(platform)),
                    Ok(platform) => platforms.push((platform, at.place(self.of()))),
                    Err(invalid) => self.problem(at, invalid),
                }
            }
        }
        platforms
    }

    /// Environment variables. An invalid one is reported at its value.
    pub(super) fn env(&mut self, entry: &Entry<'_>, combination: &Combination) -> BTreeMap<String, EnvValue> {
        let mut values = BTreeMap::new();
        for (at, name, text) in self.map(entry, "env", combination) {
            if let Some(why) = wrong_name(&name) {
                self.refuse(
                    at,
                    format!("{name:?} is not the name of a variable: {why}"),
                    "name it as in `NAME: value`",
                );
            }
            match text.parse() {
                Ok(value) => drop(values.insert(name, value)),
                Err(invalid) => {
                    let own = entry.keys.get("env").into_iter().chain(entry.defaults.get("env"));
                    let place = own.filter_map(|node| value_of(node, &name)).next().unwrap_or(entry.node);
                    self.problem(place, invalid);
                }
            }
        }
        values
    }

    pub(super) fn labels(&mut self, entry: &Entry<'_>, combination: &Combination) -> BTreeMap<String, String> {
        let entries = self.map(entry, "labels", combination);
        for (at, name, _) in &entries {
            if name.is_empty() || name.contains(|c: char| c == '=' || c.is_control()) {
                self.refuse(
                    at,
                    format!("{name:?} is not the name of a label"),
                    "a name looks like `org.opencontainers.image.title`",
                );
            }
        }
        entries.into_iter().map(|(_, name, value)| (name, value)).collect()
    }

    pub(super) fn annotations(&mut self, entry: &Entry<'_>, combination: &Combination) -> PlannedAnnotations {
        let mut annotations = PlannedAnnotations::default();
        for (at, name, value) in self.map(entry, "annotations", combination) {
            if let Err(invalid) = annotations.set(&name, &value) {
                self.problem(at, invalid);
            }
        }
        annotations
    }

    /// A mapping from names to texts: the one in the defaults, followed by the variant's own.
    fn map<'n>(&mut self, entry: &Entry<'n>, key: &str, combination: &Combination) -> Vec<(&'n Node, String, String)> {
        let mut found = Vec::new();
        for node in [entry.defaults.get(key).copied(), entry.own(key)].into_iter().flatten() {
            let Value::Map(entries) = &node.value else {
                self.expected(node, "names with their values");
                continue;
            };
            for (name, value) in entries {
                let Value::Text(name_text) = &name.value else {
                    self.expected(name, "a name");
                    continue;
                };
                let text = match &value.value {
                    Value::Null => Some(String::new()),
                    _ => self.text(value),
                };
                found.extend(text.map(|text| (name, name_text.clone(), combination.fill_known(&text))));
            }
        }
        found
    }

    pub(super) fn setting(&mut self, entry: &Entry<'_>, key: &str, combination: &Combination) -> Setting {
        match entry.keys.get(key) {
            None => Setting::Unsaid,
            Some(node) if matches!(node.value, Value::Null) => Setting::OfBase,
            Some(node) => Setting::Set(self.command(node, combination)),
        }
    }

    /// A command as a line or a list of words. Without words, or with a single empty one, there is no command: `[""]`
    /// clears it as well.
    fn command(&mut self, node: &Node, combination: &Combination) -> Vec<String> {
        let words: Vec<String> = match &node.value {
            Value::Text(line) if matches!(line.trim(), "''" | "\"\"") => return Vec::new(),
            Value::Text(_) => {
                let line = combination.fill_known(&self.text(node).unwrap_or_default());
                words::command(&line).unwrap_or_else(|wrong| {
                    self.refuse_command(node, &line, &wrong);
                    Vec::new()
                })
            }
            _ => self.items(node).iter().map(|(_, text)| combination.fill_known(text)).collect(),
        };
        match &words[..] {
            [only] if only.is_empty() => Vec::new(),
            [first, ..] if first.is_empty() => {
                self.refuse(node, "the first word of the command is empty", "name the program to run, or write `[]`");
                Vec::new()
            }
            _ => words,
        }
    }

    fn refuse_command(&mut self, node: &Node, line: &str, wrong: &NoCommand) {
        let (situation, hint) = wrong.explain(line);
        self.refuse(node, situation, hint);
    }

    pub(super) fn run(&mut self, entry: &Entry<'_>, combination: &Combination) -> Vec<RunInstruction> {
        let Some(node) = entry.keys.get("run") else { return Vec::new() };
        let mut instructions = Vec::new();
        for (at, text) in self.list(node) {
            match combination.fill_known(&text).parse() {
                Ok(instruction) => instructions.push(instruction),
                Err(invalid) => self.problem(at, invalid),
            }
        }
        instructions
    }

    pub(super) fn verify(&mut self, entry: &Entry<'_>, combination: &Combination) -> Verify {
        let Some(node) = entry.keys.get("verify") else { return Verify::Also(Vec::new()) };
        let commands = match &node.value {
            Value::Text(text) if text.eq_ignore_ascii_case("false") => return Verify::Nothing,
            Value::Text(text) if text.eq_ignore_ascii_case("true") => &[],
            Value::Null => &[],
            // Each line is a command.
            Value::Text(_) => {
                let text = self.text(node).unwrap_or_default();
                return Verify::Also(self.lines(node, &combination.fill_known(&text)));
            }
            Value::Map(_) => std::slice::from_ref(*node),
            Value::List(commands) => &commands[..],
        };
        let commands = commands.iter().filter(|command| !matches!(command.value, Value::Null));
        let checks = commands.filter_map(|command| self.check(command, combination)).collect();
        Verify::Also(checks)
    }

    /// One command per line.
    fn lines(&mut self, node: &Node, text: &str) -> Vec<(Vec<String>, Option<String>)> {
        let commands = words::commands(text).unwrap_or_else(|wrong| {
            self.refuse_command(node, text, &wrong);
            Vec::new()
        });
        commands.into_iter().map(|command| (command, None)).collect()
    }

    /// An item of `verify`: one command, possibly on several lines. `None` if it is empty.
    fn check(&mut self, node: &Node, combination: &Combination) -> Option<(Vec<String>, Option<String>)> {
        let (command, contains) = match &node.value {
            Value::Text(_) => (self.command(node, combination), None),
            Value::Map(_) => {
                let keys = self.keys(node, &["command", "contains"]);
                let contains = keys.get("contains").and_then(|node| self.text(node));
                let Some(at) = keys.get("command") else {
                    self.problem(node, "`command` is missing");
                    return None;
                };
                let before = self.problems();
                let command = self.command(at, combination);
                if command.is_empty() && self.problems() == before {
                    self.refuse(at, "the command is empty", "write the command to run, such as `python --version`");
                }
                (command, contains.map(|text| combination.fill_known(&text)))
            }
            _ => {
                self.expected(node, "a command");
                return None;
            }
        };
        (!command.is_empty()).then_some((command, contains))
    }

    pub(super) fn optional_text(&mut self, entry: &Entry<'_>, key: &str, combination: &Combination) -> Option<String> {
        let node = entry.keys.get(key).filter(|node| !matches!(node.value, Value::Null))?;
        self.text(node).map(|text| combination.fill_known(&text))
    }

    pub(super) fn text(&mut self, node: &Node) -> Option<String> {
        match &node.value {
            Value::Text(text) if text.contains('\0') => {
                self.refuse(
                    node,
                    "the text has a NUL character",
                    "remove it: neither commands nor variables can have one",
                );
                None
            }
            Value::Text(text) => Some(text.clone()),
            _ => {
                self.expected(node, "a text");
                None
            }
        }
    }

    /// A list of texts, or a single one, without empty items.
    pub(super) fn list<'n>(&mut self, node: &'n Node) -> Vec<(&'n Node, String)> {
        let is_set = |item: &&Node| !matches!(&item.value, Value::Null);
        let items: Vec<(&Node, String)> = match &node.value {
            Value::List(items) => {
                items.iter().filter(is_set).filter_map(|item| Some((item, self.text(item)?))).collect()
            }
            _ => self.items(node),
        };
        items.into_iter().filter(|(_, text)| !text.trim().is_empty()).collect()
    }

    /// A list of texts, or a single one, including empty ones: arguments and values of axes may be empty.
    pub(super) fn items<'n>(&mut self, node: &'n Node) -> Vec<(&'n Node, String)> {
        match &node.value {
            Value::List(items) => items.iter().filter_map(|item| Some((item, self.text(item)?))).collect(),
            Value::Text(_) => self.text(node).map(|text| (node, text)).into_iter().collect(),
            _ => {
                self.expected(node, "a list of texts");
                Vec::new()
            }
        }
    }

    /// A list of names, or a text with names separated by line breaks or commas.
    pub(super) fn names<'n>(&mut self, node: &'n Node) -> Vec<(&'n Node, String)> {
        let Value::Text(_) = &node.value else { return self.list(node) };
        let text = self.text(node).unwrap_or_default();
        let names = list::lines(&text).flat_map(|line| line.split(',')).map(str::trim).filter(|name| !name.is_empty());
        names.map(|name| (node, name.to_owned())).collect()
    }
}

/// The value of a key in a mapping.
fn value_of<'n>(map: &'n Node, key: &str) -> Option<&'n Node> {
    let Value::Map(entries) = &map.value else { return None };
    let found = entries.iter().find(|(name, _)| matches!(&name.value, Value::Text(text) if text == key));
    found.map(|(_, value)| value)
}
