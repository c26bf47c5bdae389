//! The input of a run of the action, in memory: its variables and files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use publish_variants::action::environment::variable;
use publish_variants::action::{Environment, Event, Inputs, Options};
use publish_variants::error::Failure;
use publish_variants::plan::{Plan, PlanError};

#[derive(Clone, Default)]
pub(crate) struct Given {
    variables: BTreeMap<String, String>,
    files: BTreeMap<PathBuf, String>,
}

/// A run with the inputs of uv's workflow, except for version and matrix.
pub(crate) fn given() -> Given {
    Given::default()
        .input("images", "ghcr.io/astral-sh/uv\ndocker.io/astral/uv")
        .input("binaries", "/uv /uvx")
        .variable("GITHUB_REPOSITORY", "astral-sh/uv")
        .variable("GITHUB_SHA", "0123456789abcdef0123456789abcdef01234567")
}

impl Given {
    pub(crate) fn input(self, name: &str, value: &str) -> Self {
        self.variable(&variable(name), value)
    }

    pub(crate) fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.to_owned(), value.to_owned());
        self
    }

    pub(crate) fn file(mut self, path: &str, content: impl Into<String>) -> Self {
        self.files.insert(path.into(), content.into());
        self
    }

    pub(crate) fn event(self, name: &str, payload: impl Into<String>) -> Self {
        self.variable("GITHUB_EVENT_NAME", name)
            .variable("GITHUB_EVENT_PATH", "/github/workflow/event.json")
            .file("/github/workflow/event.json", payload)
    }

    /// An event that GitHub recorded, such as `release.published`, with the values at some JSON pointers replaced.
    pub(crate) fn recorded(self, file: &str, changes: &[(&str, serde_json::Value)]) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/events/{file}.json"));
        let mut payload: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        for (pointer, value) in changes {
            *payload.pointer_mut(pointer).unwrap() = value.clone();
        }
        self.event(file.split('.').next().unwrap(), payload.to_string())
    }

    pub(crate) fn read(&self) -> Result<(Plan, Inputs, Event), PlanError> {
        let environment: Environment = self.variables.clone().into_iter().collect();
        Plan::read(&Options::default(), &environment, &self.files)
    }

    pub(crate) fn plan(&self) -> Plan {
        self.read().unwrap_or_else(|error| panic!("{error}")).0
    }

    /// The error that the user sees.
    pub(crate) fn failure(&self) -> String {
        let failure = Failure::from(self.read().map(|(plan, ..)| plan.to_json()).unwrap_err());
        assert_eq!(failure.exit_code(), 2);
        failure.to_string()
    }
}

/// The errors that the user sees in several cases, each under the case's name, for one snapshot.
pub(crate) fn failures<'a>(cases: impl IntoIterator<Item = (&'a str, Given)>) -> String {
    let failures = cases.into_iter().map(|(name, given)| format!("# {name}\n{}", given.failure()));
    failures.collect::<Vec<_>>().join("\n\n")
}
