//! What a pull request changes: its plan, compared with that of the branch that it is to be merged into.
//!
//! The matrix of that branch is read from GitHub, at the commit that the event names. If it can't be read, the summary
//! says why, and the run goes on.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::action::step::Workflow;
use crate::action::{Environment, Event, Files, Inputs, Options};
use crate::api::github::GitHub;
use crate::error::first_line;
use crate::plan::{Plan, PlanError, Text};
use crate::report::{Comparison, difference};

/// How long the run waits for the files of the base branch, which only the summary needs.
const PATIENCE: Duration = Duration::from_secs(10);

/// Everything that inputs are read from.
#[derive(Clone, Copy)]
pub struct Given<'a> {
    /// The options of the command line.
    pub options: &'a Options,
    /// The variables of the run.
    pub environment: &'a Environment,
    /// The workspace.
    pub files: &'a dyn Files,
}

/// Compares `plan` with that of the base branch. `None` if the event isn't a pull request, or without GitHub.
pub async fn compare(
    plan: &Plan,
    inputs: &Inputs,
    event: &Event,
    given: Given<'_>,
    github: Option<&GitHub>,
) -> Option<Comparison> {
    let (commit, github) = (event.base_of_pull_request()?, github?);
    let base = Base { commit, event, given, github };
    Some(match tokio::time::timeout(PATIENCE, base.plan(inputs)).await {
        Ok(Ok(earlier)) => {
            Comparison::Known { base: commit.to_owned(), differences: difference::lines(&earlier, plan) }
        }
        Ok(Err(reason)) => Comparison::Unknown(reason),
        Err(_) => Comparison::Unknown(format!("GitHub gave no answer within {} s", PATIENCE.as_secs())),
    })
}

/// The commit at the tip of the base branch.
struct Base<'a> {
    commit: &'a str,
    event: &'a Event,
    given: Given<'a>,
    github: &'a GitHub,
}

impl Base<'_> {
    /// The plan that this run would make at the base, or why it can't be made. `inputs` are those of the head.
    async fn plan(&self, inputs: &Inputs) -> Result<Plan, String> {
        let is_inline = inputs.matrix.as_ref().is_some_and(|matrix| matches!(matrix.name, Text::Input(_)));
        let environment = match is_inline {
            true => &self.environment().await?,
            false => self.given.environment,
        };
        let mut problems = Vec::new();
        let mut inputs = Inputs::read(self.given.options, environment, self.given.files, &mut problems);
        if let Some(matrix) = &mut inputs.matrix
            && let Text::File(path) = &matrix.name
        {
            matrix.text = self.file(path).await?;
        }
        Plan::new(&inputs, self.event, problems).map_err(|error| unplanned(&error))
    }

    /// The variables of the run, with the inputs that the workflow had.
    async fn environment(&self) -> Result<Environment, String> {
        let environment = self.given.environment;
        let path = workflow_path(environment).ok_or("`GITHUB_WORKFLOW_REF` names no workflow of this repository")?;
        let text = self.file(path).await?;
        // For a step without an `id`, the runner makes one up (`__…`); the step is then looked for by its job.
        let id = environment.get("GITHUB_ACTION").filter(|id| !id.starts_with("__"));
        let given = BTreeSet::new();
        let read = |step| Workflow { path, step, given: &given }.inputs_at(&text, environment);
        let mut attempts = [id, environment.get("GITHUB_JOB")].into_iter().flatten().map(|step| read(Some(step)));
        attempts.find_map(Result::ok).map_or_else(|| read(None).map_err(|error| unplanned(&error)), Ok)
    }

    async fn file(&self, path: &str) -> Result<String, String> {
        // The path of the matrix may be absolute, and begin with the workspace.
        let workspace = self.given.environment.workspace().unwrap_or_default().trim_end_matches('/');
        let inside = path.strip_prefix(workspace).filter(|_| path.starts_with('/')).unwrap_or(path);
        let path = inside.trim_start_matches("./").trim_start_matches('/');
        let found = self.github.file(path, self.commit).await.map_err(|error| first_line(&error))?;
        found.ok_or_else(|| format!("it has no file `{path}`, or the token may not read it"))
    }
}

/// The first problem of a plan that can't be made.
fn unplanned(error: &PlanError) -> String {
    let problem = error.problems().first().map(ToString::to_string).unwrap_or_default();
    format!("its plan can't be made: {}", problem.lines().next().unwrap_or_default())
}

/// The path of the workflow: `GITHUB_WORKFLOW_REF` is `owner/name/.github/workflows/ci.yml@refs/pull/7/merge`.
fn workflow_path(environment: &Environment) -> Option<&str> {
    let reference = environment.get("GITHUB_WORKFLOW_REF")?;
    let inside = reference.strip_prefix(environment.get("GITHUB_REPOSITORY")?)?.strip_prefix('/')?;
    inside.split('@').next()
}
