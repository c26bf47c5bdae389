//! Turns the tree of a matrix into its rows.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::axes::{Combination, MOST_VARIANTS, combinations};
use super::node::{Node, Value};
use super::record::Record;
use super::{Row, lines};
use crate::action::inputs::MatrixText;
use crate::hint::Hinted;
use crate::image::Tag;
use crate::plan::problem::nearest;
use crate::plan::{Made, Place, Problem, Text};

/// The maximum number of problems that are collected.
const MOST_PROBLEMS: usize = 1_000;
/// An entry with more tags or exclusions is a mistake.
const MOST_ITEMS: usize = 1_000;

/// The keys of a variant.
const KEYS: [&str; 20] = [
    "base",
    "image",
    "tags",
    "for",
    "exclude",
    "newest-tags",
    "default",
    "source",
    "binaries",
    "platforms",
    "env",
    "cmd",
    "entrypoint",
    "user",
    "workdir",
    "labels",
    "annotations",
    "run",
    "verify",
    "deprecated",
];

/// The keys whose value may be `null`, which keeps the base's value.
const NULLABLE: [&str; 2] = ["cmd", "entrypoint"];

/// Other names of `variants`: the list in the workflows of uv and Ruff, and the one in GitHub's matrices.
const SYNONYMS: [&str; 2] = ["image-mapping", "include"];

/// The keys and values of a mapping.
type Keys<'a> = BTreeMap<&'a str, &'a Node>;

pub(super) fn rows(matrix: &MatrixText, record: Option<&Record>, problems: &mut Vec<Problem>) -> Vec<Row> {
    let mut reader = Reader { of: &matrix.name, record, problems, said: HashSet::new(), made: 0 };
    if lines::is_lines(&matrix.text) {
        return reader.all(&lines::nodes(&matrix.text), &Keys::new());
    }
    let root = match Node::parse(&matrix.text) {
        Ok(root) => root,
        Err((line, column, message)) => {
            let at = Node { line, column, value: Value::Null };
            let hint = what_is_meant(&matrix.text, line);
            reader.refuse(&at, message, hint);
            return Vec::new();
        }
    };
    match &root.value {
        Value::Null => Vec::new(),
        Value::List(entries) => reader.all(entries, &Keys::new()),
        Value::Text(_) => reader.all(std::slice::from_ref(&root), &Keys::new()),
        Value::Map(_) if root.get("jobs").is_some() && root.get("on").is_some() => {
            let hint = format!("`publish-variants plan --workflow {}` reads the step in it", matrix.name);
            reader.refuse(&root, "this is a workflow, not a matrix", hint);
            Vec::new()
        }
        Value::Map(_) => {
            let keys = reader.keys(&root, &["defaults", "variants", SYNONYMS[0], SYNONYMS[1]]);
            let defaults = keys.get("defaults").map(|node| reader.keys(node, &KEYS)).unwrap_or_default();
            let variants = ["variants"].iter().chain(&SYNONYMS).filter_map(|name| keys.get(name));
            let mut rows = Vec::new();
            for node in variants {
                match &node.value {
                    Value::List(entries) => rows.extend(reader.all(entries, &defaults)),
                    Value::Text(text) if text.contains(',') && lines::is_lines(text) => {
                        let mut entries = lines::nodes(text);
                        entries.iter_mut().for_each(|entry| {
                            entry.line += node.line - 1;
                            entry.column += node.column - 1;
                        });
                        rows.extend(reader.all(&entries, &defaults));
                    }
                    _ => reader.expected(node, "a list of variants"),
                }
            }
            rows
        }
    }
}

/// The hint about a text that can't be parsed at `line`.
fn what_is_meant(text: &str, line: u64) -> &'static str {
    let at = |number: u64| text.lines().nth(usize::try_from(number).unwrap_or(usize::MAX)).unwrap_or_default().trim();
    let is_quoted = |line: &str| line.starts_with(['"', '\'']) && line.contains(',');
    // The line that the parser can't read, and the one before it.
    let near = [line.saturating_sub(2), line.saturating_sub(1)].map(at);
    if near.into_iter().any(|line| line.contains(":{") || line.contains(":[")) {
        "write values with braces in quotes, such as `base: \"python:{python}\"`"
    } else if near.into_iter().any(is_quoted) {
        "write lines `base,tag,tag` without quotes"
    } else {
        "the matrix is YAML, JSON, or lines such as `alpine:3.23,alpine3.23,alpine`"
    }
}

pub(super) struct Reader<'a> {
    of: &'a Text,
    /// The images of variants for which the matrix names none.
    pub(super) record: Option<&'a Record>,
    problems: &'a mut Vec<Problem>,
    /// Problems that have been reported: one in `defaults`, or in an entry with axes, occurs again in each of its
    /// variants.
    said: HashSet<Problem>,
    /// The number of variants so far, including invalid ones.
    made: usize,
}

impl Reader<'_> {
    pub(super) fn problem(&mut self, at: &Node, situation: impl Hinted) {
        self.add(Problem::new(&at.place(self.of), situation));
    }

    /// Reports a problem with a hint.
    pub(super) fn refuse(&mut self, at: &Node, situation: impl Hinted, hint: impl std::fmt::Display) {
        self.add(Problem::new(&at.place(self.of), situation).hint(hint));
    }

    fn add(&mut self, problem: Problem) {
        if self.said.len() < MOST_PROBLEMS && self.said.insert(problem.clone()) {
            self.problems.push(problem);
        }
    }

    /// The text that is being parsed: an input or a file.
    pub(super) fn of(&self) -> &Text {
        self.of
    }

    /// How many problems have been found.
    pub(super) fn problems(&self) -> usize {
        self.problems.len()
    }

    pub(super) fn expected(&mut self, at: &Node, what: &str) {
        self.problem(at, format!("expected {what}, found {}", at.kind()));
    }

    fn all(&mut self, entries: &[Node], defaults: &Keys<'_>) -> Vec<Row> {
        let mut rows = Vec::new();
        let is_set = |entry: &&Node| match &entry.value {
            Value::Null => false,
            Value::Text(text) => !text.trim().is_empty(),
            Value::List(_) | Value::Map(_) => true,
        };
        for entry in entries.iter().filter(is_set) {
            rows.extend(self.entry(entry, defaults));
            if self.made > MOST_VARIANTS {
                self.problem(entry, format!("the matrix has more than {MOST_VARIANTS} variants"));
                break;
            }
        }
        rows
    }

    /// The keys of a mapping. Unknown ones are reported.
    pub(super) fn keys<'n>(&mut self, node: &'n Node, known: &[&'n str]) -> Keys<'n> {
        let Value::Map(entries) = &node.value else {
            self.expected(node, "a mapping");
            return Keys::new();
        };
        let mut keys = Keys::new();
        for (key, value) in entries {
            // A key without a value is ignored, unless `null` has a meaning there.
            let unset = matches!(value.value, Value::Null);
            match &key.value {
                Value::Text(name) if unset && known.contains(&name.as_str()) && !NULLABLE.contains(&name.as_str()) => {}
                Value::Text(name) if known.contains(&name.as_str()) => {
                    keys.insert(name, value);
                }
                Value::Text(name) => {
                    let hint = match nearest(name, known.iter().copied()) {
                        Some(nearest) => {
                            // Treated as the key that was meant, so that this one isn't reported as missing.
                            keys.entry(nearest).or_insert(value);
                            format!("did you mean `{nearest}`?")
                        }
                        None => {
                            let said = known.iter().filter(|key| !SYNONYMS.contains(key)).copied().collect::<Vec<_>>();
                            format!("known keys are {}", said.join(", "))
                        }
                    };
                    self.refuse(key, format!("unknown key `{name}`"), hint);
                }
                _ => self.expected(key, "a key"),
            }
        }
        keys
    }

    /// The rows of one entry: one row, or with `for` one row for each combination.
    fn entry(&mut self, entry: &Node, defaults: &Keys<'_>) -> Vec<Row> {
        let line;
        let mut keys = defaults.clone();
        match &entry.value {
            Value::Text(text) => {
                line = line_entry(entry, text);
                keys.extend(line.iter().map(|(key, node)| (*key, node)));
            }
            Value::Map(_) => keys.extend(self.keys(entry, &KEYS)),
            _ => {
                self.expected(entry, "a variant");
                return Vec::new();
            }
        }
        let entry_keys = Entry { node: entry, keys, defaults };
        let axes = self.axes(&entry_keys);
        let Some(combinations) = combinations(&axes) else {
            self.problem(entry, format!("`for` gives more than {MOST_VARIANTS} variants"));
            return Vec::new();
        };
        let excluded = self.excluded(&entry_keys, &axes);
        let combinations: Vec<Combination> = combinations
            .into_iter()
            .filter(|combination| !excluded.iter().any(|excluded| combination.matches(excluded)))
            .collect();
        let mut newest = Newest::default();
        if combinations.is_empty() {
            if !excluded.is_empty() {
                self.problem(entry, "`exclude` leaves no variant of this entry");
            }
            // The row is parsed once more, to find the entry's other problems.
            let value = |values: &[String]| values.first().cloned().unwrap_or_else(|| "x".to_owned());
            let any = axes.iter().map(|(axis, values)| (axis.clone(), value(values))).collect();
            let _ = self.row(&entry_keys, &Combination(any), &mut newest);
        }
        combinations.iter().filter_map(|combination| self.row(&entry_keys, combination, &mut newest)).collect()
    }

    fn axes(&mut self, entry: &Entry<'_>) -> Vec<(String, Vec<String>)> {
        let Some(node) = entry.keys.get("for") else { return Vec::new() };
        let Value::Map(entries) = &node.value else {
            self.expected(node, "axes with their values, such as `{ python: [\"3.14\", \"3.13\"] }`");
            return Vec::new();
        };
        let mut axes = Vec::new();
        for (name, values) in entries {
            let Value::Text(axis) = &name.value else {
                self.expected(name, "the name of an axis");
                continue;
            };
            let texts: Vec<String> = self.items(values).into_iter().map(|(_, text)| text).collect();
            if texts.is_empty() {
                self.problem(values, format!("axis `{axis}` has no values"));
            }
            if let Some(twice) = duplicate(&texts) {
                self.problem(values, format!("axis `{axis}` has the value `{twice}` twice"));
            }
            axes.push((axis.clone(), texts));
        }
        axes
    }

    fn excluded(&mut self, entry: &Entry<'_>, axes: &[(String, Vec<String>)]) -> Vec<Vec<(String, String)>> {
        let Some(node) = entry.keys.get("exclude") else { return Vec::new() };
        let Value::List(items) = &node.value else {
            self.expected(node, "a list of combinations, such as `[{ python: \"3.9\" }]`");
            return Vec::new();
        };
        let names: Vec<&str> = axes.iter().map(|(name, _)| name.as_str()).collect();
        if items.len() > MOST_ITEMS {
            self.problem(node, format!("more than {MOST_ITEMS} combinations are excluded"));
        }
        let mut excluded = Vec::new();
        for item in items.iter().take(MOST_ITEMS) {
            let mut combination = Vec::new();
            for (axis, value) in self.keys(item, &names) {
                let Some(text) = self.text(value) else { continue };
                if axes.iter().any(|(name, values)| name == axis && !values.contains(&text)) {
                    self.problem(value, format!("axis `{axis}` has no value `{text}` to exclude"));
                }
                combination.push((axis.to_owned(), text));
            }
            excluded.push(combination);
        }
        excluded
    }

    fn row(&mut self, entry: &Entry<'_>, combination: &Combination, newest: &mut Newest) -> Option<Row> {
        self.made += 1;
        let made = self.where_made(entry, combination);
        let tags = self.tags(entry, combination, newest);
        let made = match made {
            Ok(None) => self.of_record(entry, &tags),
            said => said.ok().flatten(),
        };
        let annotations = self.annotations(entry, combination);
        if let Some(Made::Elsewhere(_)) = made {
            self.refuse_changes(entry, &annotations);
        }
        let row = Row {
            place: entry.node.place(self.of),
            axes: combination.0.iter().map(|(axis, _)| axis.clone()).collect(),
            tags,
            default: self.default(entry),
            source: self.source(entry, combination),
            binaries: self.binaries(entry, combination),
            platforms: entry.keys.get("platforms").map(|node| self.platforms(node)),
            env: self.env(entry, combination),
            cmd: self.setting(entry, "cmd", combination),
            entrypoint: self.setting(entry, "entrypoint", combination),
            user: self.optional_text(entry, "user", combination),
            workdir: self.workdir(entry, combination),
            labels: self.labels(entry, combination),
            annotations,
            run: self.run(entry, combination),
            verify: self.verify(entry, combination),
            deprecated: self.optional_text(entry, "deprecated", combination),
            // Evaluated last, so that the problems of all other keys are found.
            made: made?,
        };
        (!row.tags.is_empty()).then_some(row)
    }

    /// The place that makes the variant the default.
    fn default(&mut self, entry: &Entry<'_>) -> Option<Place> {
        let node = entry.keys.get("default")?;
        match &node.value {
            Value::Text(text) if text.eq_ignore_ascii_case("true") => return Some(node.place(self.of)),
            Value::Text(text) if text.eq_ignore_ascii_case("false") => {}
            _ => self.refuse(
                node,
                "expected `true` or `false`",
                "`default: true` gives a variant the tags without a suffix",
            ),
        }
        None
    }

    /// A relative path would depend on the base's working directory, which isn't known here.
    fn workdir(&mut self, entry: &Entry<'_>, combination: &Combination) -> Option<String> {
        let path = self.optional_text(entry, "workdir", combination)?;
        if !path.starts_with('/') {
            let node = entry.keys.get("workdir").copied().unwrap_or(entry.node);
            self.refuse(node, format!("`{path}` is not an absolute path"), format!("write `/{path}`"));
        }
        Some(path)
    }

    fn tags(&mut self, entry: &Entry<'_>, combination: &Combination, newest: &mut Newest) -> Vec<(String, Place)> {
        let mut tags = Vec::new();
        match entry.keys.get("tags") {
            Some(node) => {
                let before = self.problems.len();
                for (at, text) in self.names(node) {
                    // An axis may have an empty value.
                    if let Some(text) = self.fill(at, &text, combination).filter(|text| !text.is_empty()) {
                        tags.push((text, at));
                    }
                }
                if tags.is_empty() && self.problems.len() == before {
                    self.refuse(node, "the variant has no tags", "name it, such as `[alpine3.23, alpine]`");
                }
            }
            None => self.refuse(
                entry.node,
                "`tags` are missing",
                "name the variant, the most specific name first, such as `[alpine3.23, alpine]`",
            ),
        }
        if let Some(node) = entry.keys.get("newest-tags") {
            if combination.0.is_empty() {
                self.refuse(node, "`newest-tags` need axes", "add `for`, or move them to `tags`");
            }
            for (at, text) in self.names(node) {
                if let Some(filled) = self.fill(at, &text, combination)
                    && !filled.is_empty()
                    && newest.takes(&text, &filled, combination)
                {
                    tags.push((filled, at));
                }
            }
        }
        if tags.len() > MOST_ITEMS {
            self.problem(entry.node, format!("the variant has more than {MOST_ITEMS} tags"));
            tags.truncate(MOST_ITEMS);
        }
        let mut valid = Vec::new();
        for (text, at) in tags {
            if let Err(invalid) = text.parse::<Tag>() {
                self.problem(at, invalid);
            } else if valid.iter().any(|(known, _)| *known == text) {
                self.problem(at, format!("the variant has the tag `{text}` twice"));
            } else {
                valid.push((text, at.place(self.of)));
            }
        }
        valid
    }

    pub(super) fn fill(&mut self, at: &Node, text: &str, combination: &Combination) -> Option<String> {
        combination
            .fill(text)
            .map_err(|placeholder| {
                let axes: Vec<&str> = combination.0.iter().map(|(name, _)| name.as_str()).collect();
                let hint = match nearest(&placeholder, axes.iter().copied()) {
                    Some(nearest) => format!("did you mean `{{{nearest}}}`?"),
                    None if axes.is_empty() => {
                        "placeholders are named by the axes of `for`, and there are none".to_owned()
                    }
                    None => format!("the axes are {}", axes.join(", ")),
                };
                self.refuse(at, format!("unknown placeholder `{{{placeholder}}}`"), hint);
            })
            .ok()
    }
}

/// An entry together with the defaults.
pub(super) struct Entry<'a> {
    pub(super) node: &'a Node,
    pub(super) keys: Keys<'a>,
    pub(super) defaults: &'a Keys<'a>,
}

impl<'a> Entry<'a> {
    /// The value of a key that is set by the entry itself, not by the defaults.
    pub(super) fn own(&self, key: &str) -> Option<&'a Node> {
        let of_defaults = self.defaults.get(key).copied();
        self.keys.get(key).copied().filter(|node| !of_defaults.is_some_and(|default| std::ptr::eq(default, *node)))
    }
}

/// Decides which combination gets a tag of `newest-tags`: the first one that makes the tag.
#[derive(Default)]
struct Newest {
    given: BTreeSet<String>,
}

impl Newest {
    fn takes(&mut self, template: &str, filled: &str, combination: &Combination) -> bool {
        // A tag that names every axis is different for each combination; only the first combination gets it.
        let names_all = combination.0.iter().all(|(axis, _)| template.contains(&format!("{{{axis}}}")));
        self.given.insert(if names_all { template.to_owned() } else { filled.to_owned() })
    }
}

/// The keys that a line `base,tag,tag` is short for.
fn line_entry(at: &Node, line: &str) -> Vec<(&'static str, Node)> {
    let mut column = at.column;
    let mut parts = line.split(',').map(|part| {
        let blanks = part.chars().take_while(|c| c.is_whitespace()).count() as u64;
        let node = Node { line: at.line, column: column + blanks, value: Value::Text(part.trim().to_owned()) };
        column += part.chars().count() as u64 + 1;
        node
    });
    let base = parts.next();
    let tags: Vec<Node> = parts.filter(|part| !matches!(&part.value, Value::Text(text) if text.is_empty())).collect();
    let mut keys: Vec<_> = base.into_iter().map(|base| ("base", base)).collect();
    if !tags.is_empty() {
        keys.push(("tags", Node { line: at.line, column: at.column, value: Value::List(tags) }));
    }
    keys
}

fn duplicate(texts: &[String]) -> Option<&String> {
    let mut seen = BTreeSet::new();
    texts.iter().find(|text| !seen.insert(*text))
}
