//! The action's step in a workflow file, for `plan --workflow`: its `with:` and the repository of the work tree replace
//! the variables that a runner would set.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::environment::{Environment, Files, read_text, variable};
use super::options::{NOT_IN_A_PLAN, Options};
use crate::matrix::node::Node;
use crate::plan::problem::nearest;
use crate::plan::{Place, PlanError, Problem, RepositoryFacts, Text};
use crate::work_tree::WorkTree;

/// The largest workflow file that is read, in bytes.
const LIMIT: u64 = 8 << 20;

/// A workflow file, and which of its steps is meant.
#[derive(Clone, Copy, Debug)]
pub struct Workflow<'a> {
    /// The path of the file.
    pub path: &'a str,
    /// The `id` or the `name` of the step, or the job that it belongs to. `None` if there is only one.
    pub step: Option<&'a str>,
    /// The inputs from the command line, which override those in the file.
    pub given: &'a BTreeSet<String>,
}

/// A step that uses this action.
struct Step<'a> {
    job: &'a str,
    node: &'a Node,
}

impl Workflow<'_> {
    /// `environment`, with the inputs of the step.
    ///
    /// # Errors
    /// There is no such step; it has inputs that the action doesn't have; or an input is an expression whose
    /// value is known only when the workflow runs, and no option overrides it.
    pub fn inputs(&self, environment: &Environment, files: &dyn Files) -> Result<Environment, PlanError> {
        let mut problems = Vec::new();
        let mut source = String::new();
        let root =
            match read_text(files, Path::new(self.path), LIMIT) {
                Ok(text) => {
                    source = text;
                    self.parse(&source)
                }
                Err(error) => Err(Problem::new(&self.start(), format!("it can't be read: {error}"))
                    .hint("give the path of a workflow")),
            };
        let inputs = match &root {
            Ok(root) => self.step(root).map(|step| self.with(&step, &mut problems)),
            Err(problem) => Err(problem.clone()),
        };
        let inputs = inputs.unwrap_or_else(|problem| {
            problems.push(problem);
            Vec::new()
        });
        PlanError::unless_none(problems)?;
        let variables =
            inputs.iter().map(|(name, value)| (variable(name), value.as_text().unwrap_or_default().to_owned()));
        let environment = environment.with(variables.chain(repository(environment, files)));
        let matrix = inputs.iter().find(|(name, _)| name == "matrix").and_then(|(_, node)| in_place(node, &source));
        Ok(match matrix {
            Some(text) => environment.with([(variable("matrix"), text)]).with_text_in("matrix", self.path),
            None => environment,
        })
    }

    /// `environment`, which is that of a run, with the step's inputs from `text`, which is the workflow at another
    /// commit. An input with an expression keeps the value that it has in the run.
    ///
    /// # Errors
    /// The text isn't a workflow, there is no such step, or the matrix has an expression.
    pub fn inputs_at(&self, text: &str, environment: &Environment) -> Result<Environment, PlanError> {
        let read = || {
            let root = self.parse(text)?;
            let step = self.step(&root)?;
            let mut inputs: BTreeMap<String, String> =
                Options::names().into_iter().map(|name| (name, String::new())).collect();
            // `github-token` has a default.
            inputs.remove("github-token");
            for (key, value) in step.node.get("with").map(Node::entries).unwrap_or_default() {
                let (name, text) = (key.as_text().unwrap_or_default().to_lowercase(), value.as_text());
                match text.and_then(expression) {
                    None => inputs.extend(text.map(|text| (name, text.to_owned()))),
                    Some(expression) if name == "matrix" => {
                        let situation =
                            format!("the matrix has `{expression}`, which is known only when the workflow runs");
                        return Err(Problem::new(&value.place(&self.text()), situation));
                    }
                    Some(_) => drop(inputs.remove(&name)),
                }
            }
            Ok(environment.with(inputs.into_iter().map(|(name, value)| (variable(&name), value))))
        };
        read().map_err(PlanError::from)
    }

    fn parse(&self, text: &str) -> Result<Node, Problem> {
        Node::parse(text)
            .map_err(|(line, column, message)| Problem::new(&Place::Line { of: self.text(), line, column }, message))
    }

    fn start(&self) -> Place {
        Place::Line { of: self.text(), line: 1, column: 1 }
    }

    fn text(&self) -> Text {
        Text::File(self.path.to_owned())
    }

    /// The step that uses this action, or of several the one that is meant.
    fn step<'n>(&self, root: &'n Node) -> Result<Step<'n>, Problem> {
        let start = self.start();
        let jobs = root.get("jobs").map(Node::entries).unwrap_or_default();
        let jobs = jobs.iter().filter_map(|(name, job)| Some((name.as_text()?, job.get("steps")?)));
        // A composite action's file has its steps elsewhere.
        let composite = root.get("runs").and_then(|runs| runs.get("steps")).map(|steps| ("runs", steps));
        let steps =
            jobs.chain(composite).flat_map(|(job, steps)| steps.items().iter().map(move |node| Step { job, node }));
        let mut ours: Vec<Step<'_>> = steps.filter(|step| is_ours(step.node)).collect();
        if ours.is_empty() {
            let problem = Problem::new(&start, "no step of this workflow uses this action");
            return Err(
                problem.hint("such a step has `uses: astral-sh/publish-variants@v1`, or a local path and a `matrix`")
            );
        }
        let names = |step: &Step<'_>| {
            let text = |key| step.node.get(key).and_then(Node::as_text).map(str::to_owned);
            [text("id"), text("name"), Some(step.job.to_owned())].into_iter().flatten().collect::<Vec<_>>()
        };
        let all: Vec<String> = ours
            .iter()
            .map(|step| format!("`{}` in line {}", names(step).first().map_or("", String::as_str), step.node.line))
            .collect();
        if let Some(wanted) = self.step {
            ours.retain(|step| names(step).iter().any(|name| name == wanted));
        }
        let one = ours.pop().filter(|_| ours.is_empty());
        one.ok_or_else(|| {
            let count =
                if self.step.is_none() { "several steps use this action" } else { "`--step` fits no step, or several" };
            Problem::new(&start, format!("{count}: {}", all.join(", ")))
                .hint("choose one with `--step`: its `id`, its `name`, or the job that it is in")
        })
    }

    /// The inputs in `with`, as environment variables.
    fn with<'n>(&self, step: &Step<'n>, problems: &mut Vec<Problem>) -> Vec<(String, &'n Node)> {
        let known = Options::names();
        let mut inputs = Vec::new();
        for (key, value) in step.node.get("with").map(Node::entries).unwrap_or_default() {
            let name = key.as_text().unwrap_or_default().to_lowercase();
            if !known.contains(&name) {
                let problem = Problem::new(&key.place(&self.text()), format!("the action has no input `{name}`"));
                let nearest = nearest(&name, known.iter().map(String::as_str));
                problems.push(match nearest {
                    Some(nearest) => problem.hint(format!("did you mean `{nearest}`?")),
                    None => problem.hint("GitHub ignores it, with a warning"),
                });
            } else if self.given.contains(&name) {
                // The option takes precedence.
            } else if let Some(text) = value.as_text() {
                match expression(text) {
                    None => inputs.push((name, value)),
                    // Without them, a plan is that of a usual run.
                    Some(_) if USUAL.contains(&name.as_str()) || NOT_IN_A_PLAN.contains(&name.as_str()) => {}
                    Some(expression) => problems.push(
                        Problem::new(
                            &value.place(&self.text()),
                            format!("input `{name}` has `{expression}`, which is known only when the workflow runs"),
                        )
                        .hint(format!("give the input's value with `--{name}`")),
                    ),
                }
            } else if !value.is_null() {
                problems.push(Problem::new(&value.place(&self.text()), format!("input `{name}` is not a text")));
            }
        }
        inputs
    }
}

/// Inputs that are set to something else only for special runs.
const USUAL: [&str; 3] = ["dry-run", "ignore-versions", "rolling"];

/// The job's repository, which determines the defaults: the one of the work tree, if that is on GitHub.
fn repository(environment: &Environment, files: &dyn Files) -> Option<(String, String)> {
    let name = "GITHUB_REPOSITORY";
    let tree = files.workspace().filter(|_| environment.get(name).is_none()).and_then(WorkTree::find)?;
    let origin = RepositoryFacts::at(&tree.origin().ok()??)?;
    let is_there = origin.html_url.starts_with(&format!("{}/", environment.server().trim_end_matches('/')));
    is_there.then(|| (name.to_owned(), origin.full_name))
}

/// Whether a step uses this action: from a repository or an image with its name, or from a path and with an input that
/// only this action has.
fn is_ours(step: &Node) -> bool {
    let Some(uses) = step.get("uses").and_then(Node::as_text) else { return false };
    let is_local = ["./", "../", "$/"].iter().any(|start| uses.starts_with(start)) || matches!(uses, "." | "$");
    let name = uses.split('@').next().unwrap_or_default().trim_start_matches("docker://");
    let name = name.rsplit('/').next().unwrap_or_default().split(':').next();
    match is_local {
        true => step.get("with").is_some_and(|with| with.get("matrix").is_some()),
        false => name == Some("publish-variants"),
    }
}

/// The text of `node`, padded with line ends and blanks so that every line and column is the same as in `source`.
/// `None` if the lines of the text aren't literally in `source`, as in a folded block or a text with escapes.
fn in_place(node: &Node, source: &str) -> Option<String> {
    let text = node.as_text()?;
    let source: Vec<&str> = source.lines().collect();
    let at = |line: u64| usize::try_from(line).ok()?.checked_sub(1);
    // A block begins on the line after its indicator, and any other text right at its node.
    let block = [node.line, node.line + 1].into_iter().filter_map(at).find_map(|first| {
        let indent = |(number, line): (usize, &str)| {
            let before = source.get(first + number)?.strip_suffix(line)?;
            before.chars().all(|c| c == ' ').then_some((first, before.len()))
        };
        let mut lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()).map(indent);
        let place = lines.next()??;
        lines.all(|other| other == Some(place)).then_some(place)
    });
    let (first, indent) = match block {
        Some(place) => place,
        None => {
            let line = source.get(at(node.line)?)?;
            let column = usize::try_from(node.column).ok()?.checked_sub(1)?;
            let rest: String = line.chars().skip(column).collect();
            let quote = usize::from(rest.starts_with(['"', '\'']));
            (!text.contains('\n') && rest[quote..].starts_with(text)).then_some((at(node.line)?, column + quote))?
        }
    };
    let lines = text.lines().map(|line| format!("{}{line}\n", " ".repeat(if line.is_empty() { 0 } else { indent })));
    Some("\n".repeat(first) + &lines.collect::<String>())
}

/// The first [expression](https://docs.github.com/en/actions/reference/workflows-and-actions/expressions) in a text.
fn expression(text: &str) -> Option<&str> {
    let start = text.find("${{")?;
    let end = text[start..].find("}}").map_or(text.len(), |end| start + end + 2);
    Some(&text[start..end])
}
