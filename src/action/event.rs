//! The event that started the run. Events of workflows are described in
//! <https://docs.github.com/en/actions/reference/workflows-and-actions/events-that-trigger-workflows>.

use std::io::{BufReader, Read as _};
use std::path::Path;

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use super::environment::{Environment, Files};
use super::forge;
use crate::hint::Flaw;
use crate::plan::{Place, Problem, RepositoryFacts};
use crate::work_tree::WorkTree;

/// The largest payload that is read, in bytes. GitHub limits webhooks to 25 MB, but a payload on a runner can be a
/// little larger.
const PAYLOAD_LIMIT: u64 = 64 << 20;

/// What release workflows pass instead of a version if nothing should be released. It is the default of the input `tag`
/// in workflows written by [cargo-dist](https://github.com/axodotdev/cargo-dist).
pub const DRY_RUN: &str = "dry-run";

/// The properties of the event that a plan depends on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// Its name: `release`, `workflow_dispatch`, …; empty outside of GitHub Actions.
    pub name: String,
    /// What happened, in the terms of this program.
    pub kind: Kind,
    /// Why the version that a workflow was dispatched with can't be used.
    pub unusable: Option<Problem>,
    /// The commit of the run; for releases and pushed tags, the tag's commit.
    pub commit: Option<String>,
    /// The date of that commit, if the event has it.
    pub date: Option<DateTime<Utc>>,
    /// The tag that the run is on, whatever the event is.
    pub run_tag: Option<String>,
    /// The repository, if the payload describes it.
    pub repository: Option<RepositoryFacts>,
    /// The git work tree, if the run isn't on GitHub or GitLab.
    pub work_tree: Option<WorkTree>,
}

/// What happened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// Something happened to a release.
    Release(ReleaseEvent),
    /// A tag was pushed.
    Tag(String),
    /// A branch was pushed.
    Branch(String),
    /// A person or another workflow started the workflow, with this version.
    Dispatch(Option<String>),
    /// Something happened to a pull request, or because of one.
    PullRequest {
        /// The commit at its head.
        head: Option<String>,
        /// The commit of the branch that it is to be merged into, which is always one of this repository.
        base: Option<String>,
        /// Whether its head is a branch of the same repository, and the event is about the pull request itself. Other
        /// events may be about a fork.
        is_own: bool,
    },
    /// An event that says nothing about a version, such as `schedule`.
    #[default]
    Other,
}

/// What happened to a release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReleaseEvent {
    /// The activity type: `published`, `released`, `prereleased`, `edited`, …
    pub action: String,
    /// The name of its tag: `v0.9.26`.
    pub tag: String,
    /// Whether it is unpublished.
    pub draft: bool,
    /// Whether it is marked as a pre-release.
    pub prerelease: bool,
}

/// The fields that we need of the payload; the others are skipped while parsing.
#[derive(Default, Deserialize)]
struct Payload {
    action: Option<Value>,
    #[serde(rename = "ref")]
    git_ref: Option<Value>,
    #[serde(default)]
    deleted: bool,
    inputs: Option<Given>,
    client_payload: Option<Given>,
    release: Option<RawRelease>,
    pull_request: Option<RawPullRequest>,
    issue: Option<RawIssue>,
    workflow_run: Option<RawWorkflowRun>,
    head_commit: Option<RawCommit>,
    repository: Option<RepositoryFacts>,
}

#[derive(Deserialize)]
struct Given {
    version: Option<Value>,
    tag: Option<Value>,
}

#[derive(Deserialize)]
struct RawRelease {
    tag_name: String,
    #[serde(default)]
    draft: bool,
    #[serde(default)]
    prerelease: bool,
}

#[derive(Deserialize)]
struct RawPullRequest {
    head: Option<RawHead>,
    base: Option<RawHead>,
}

/// The head commit of a push.
#[derive(Deserialize)]
struct RawCommit {
    id: Option<Value>,
    timestamp: Option<Value>,
}

/// Pull requests are issues as well: a comment on one is an event about an issue.
#[derive(Deserialize)]
struct RawIssue {
    pull_request: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct RawWorkflowRun {
    event: Option<Value>,
    head_sha: Option<String>,
}

#[derive(Deserialize)]
struct RawHead {
    sha: Option<String>,
    repo: Option<RawRepository>,
}

/// The id of a repository, which is unique. A deleted fork's is `null`.
#[derive(Deserialize)]
struct RawRepository {
    id: Option<u64>,
}

/// Whether an event with this name is about a pull request or a merge group.
fn is_of_pull_request(name: &str) -> bool {
    name.starts_with("pull_request") || name == "merge_group"
}

impl Payload {
    /// Whether the event is about a pull request: by its name, as a comment on one, or as the end of a workflow that
    /// one started.
    fn is_of_pull_request(&self, name: &str) -> bool {
        let started_by = self.workflow_run.as_ref().and_then(|run| run.event.as_ref()).and_then(Value::as_str);
        is_of_pull_request(name)
            || self.pull_request.is_some()
            || self.issue.as_ref().is_some_and(|issue| issue.pull_request.is_some())
            || started_by.is_some_and(is_of_pull_request)
    }

    /// Whether the event is about a pull request itself, and its head and base are in the same repository.
    fn is_of_own_pull_request(&self, name: &str) -> bool {
        let number = |head: &Option<RawHead>| head.as_ref()?.repo.as_ref()?.id;
        let request = self.pull_request.as_ref().filter(|_| name == "pull_request");
        request.is_some_and(|request| number(&request.head).is_some() && number(&request.head) == number(&request.base))
    }

    /// The date of `commit`, if a push contains it.
    fn date_of(&self, commit: Option<&str>) -> Option<DateTime<Utc>> {
        let head =
            self.head_commit.as_ref().filter(|head| commit.is_some() && text(head.id.as_ref()).as_deref() == commit)?;
        DateTime::parse_from_rfc3339(&text(head.timestamp.as_ref())?).ok().map(|date| date.to_utc())
    }

    fn head_of_pull_request(&self) -> Option<String> {
        let head = self.pull_request.as_ref().and_then(|request| request.head.as_ref()?.sha.clone());
        head.or_else(|| self.workflow_run.as_ref()?.head_sha.clone())
    }
}

impl Event {
    /// Reads the event from the variables of the forge, and adds what is wrong with them to `problems`. Outside of a
    /// forge there is no event, and that isn't a problem: the commit comes from the work tree.
    #[must_use]
    pub fn read(environment: &Environment, files: &dyn Files, problems: &mut Vec<Problem>) -> Self {
        let mut event = match environment.get("GITHUB_EVENT_NAME") {
            Some(name) => Self::of_workflow(name, environment, files, problems),
            None if environment.is_gitlab() => return forge::pipeline(environment),
            None => Self::default(),
        };
        if environment.github_repository().is_none() {
            event.work_tree = files.workspace().and_then(WorkTree::find);
            event.repository = event.repository.or_else(|| forge::repository(environment));
            // An error is ignored here: if the commit is needed, the work tree is read again, and the error reported.
            let head = || event.work_tree.as_ref().and_then(|tree| tree.head().ok().flatten());
            event.commit = event.commit.clone().or_else(head);
        }
        event
    }

    /// Reads the event from `GITHUB_REF`, `GITHUB_SHA` and the payload at `GITHUB_EVENT_PATH`.
    fn of_workflow(name: &str, environment: &Environment, files: &dyn Files, problems: &mut Vec<Problem>) -> Self {
        let place = Place::Event(name.to_owned());
        let payload = match payload(environment, files) {
            Ok(payload) => payload,
            Err(situation) => {
                problems.push(Problem::new(&place, situation));
                Payload::default()
            }
        };
        let git_ref = environment.get("GITHUB_REF").map(str::to_owned).or_else(|| text(payload.git_ref.as_ref()));
        let run_tag = git_ref.as_deref().and_then(|git_ref| git_ref.strip_prefix("refs/tags/")).map(str::to_owned);
        let mut unusable = None;
        let mut given = |given: Option<&Given>| {
            let (version, tag) = given.map(|given| (given.version.as_ref(), given.tag.as_ref())).unwrap_or_default();
            let is_given =
                |value: &&Value| !value.is_null() && value.as_str().is_none_or(|text| !text.trim().is_empty());
            let value = version.filter(is_given).or(tag.filter(is_given))?;
            if !value.is_string() {
                let problem = Problem::new(&place, format!("the version `{value}` is not a text"));
                unusable = Some(problem.hint("quote it: the number 0.10 is 0.1"));
            }
            text(Some(value))
        };
        let commit = environment.get("GITHUB_SHA").map(str::to_owned);
        let date = payload.date_of(commit.as_deref());
        let is_on_pull_request = git_ref.as_deref().is_some_and(|git_ref| git_ref.starts_with("refs/pull/"));
        let kind = match name {
            _ if is_on_pull_request || payload.is_of_pull_request(name) => Kind::PullRequest {
                head: payload.head_of_pull_request(),
                base: payload.pull_request.as_ref().and_then(|request| request.base.as_ref()?.sha.clone()),
                is_own: payload.is_of_own_pull_request(name),
            },
            "release" => match payload.release {
                Some(release) => Kind::Release(ReleaseEvent {
                    action: text(payload.action.as_ref()).unwrap_or_default(),
                    tag: release.tag_name,
                    draft: release.draft,
                    prerelease: release.prerelease,
                }),
                None => Kind::Other,
            },
            "push" if payload.deleted => Kind::Other,
            "push" => match (&run_tag, git_ref) {
                (Some(tag), _) => Kind::Tag(tag.clone()),
                (None, Some(branch)) => Kind::Branch(branch.trim_start_matches("refs/heads/").to_owned()),
                (None, None) => Kind::Other,
            },
            "workflow_dispatch" | "workflow_call" => Kind::Dispatch(given(payload.inputs.as_ref())),
            "repository_dispatch" => Kind::Dispatch(given(payload.client_payload.as_ref())),
            _ => Kind::Other,
        };
        Self {
            name: name.to_owned(),
            kind,
            unusable,
            commit,
            date,
            run_tag,
            repository: payload.repository,
            work_tree: None,
        }
    }

    /// Whether the event is about a release.
    #[must_use]
    pub fn is_release(&self) -> bool {
        matches!(self.kind, Kind::Release(_))
    }

    /// Whether the workflow was dispatched with [`DRY_RUN`] instead of a version.
    #[must_use]
    pub fn asks_for_dry_run(&self) -> bool {
        matches!(&self.kind, Kind::Dispatch(Some(version)) if version == DRY_RUN)
    }

    /// Whether the event is about a pull request of the same repository, not of a fork.
    #[must_use]
    pub fn is_own_pull_request(&self) -> bool {
        matches!(self.kind, Kind::PullRequest { is_own: true, .. })
    }

    /// The commit of the branch that a pull request is to be merged into.
    #[must_use]
    pub fn base_of_pull_request(&self) -> Option<&str> {
        match &self.kind {
            Kind::PullRequest { base, .. } => base.as_deref(),
            _ => None,
        }
    }

    /// Whether the event is about a pull request, or was caused by one.
    #[must_use]
    pub fn is_pull_request(&self) -> bool {
        matches!(self.kind, Kind::PullRequest { .. })
    }
}

fn text(value: Option<&Value>) -> Option<String> {
    value?.as_str().map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned)
}

fn payload(environment: &Environment, files: &dyn Files) -> Result<Payload, Flaw> {
    let Some(path) = environment.get("GITHUB_EVENT_PATH") else { return Ok(Payload::default()) };
    let unreadable = |error: &dyn std::fmt::Display| {
        let situation = format!("its payload `{path}` can't be read: {error}");
        Flaw::new(situation, "`GITHUB_EVENT_PATH` names the payload that the runner wrote")
    };
    let file = files.open(Path::new(path)).map_err(|error| unreadable(&error))?;
    let mut reader = BufReader::new(file).take(PAYLOAD_LIMIT + 1);
    let payload = serde_json::from_reader(&mut reader);
    if reader.limit() == 0 {
        return Err(unreadable(&format!("it has more than {} MiB", PAYLOAD_LIMIT >> 20)));
    }
    payload.map_err(|error| unreadable(&error))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::PathBuf;

    use super::*;

    fn read(name: &str, payload: &str, variables: &[(&str, &str)]) -> (Event, Vec<Problem>) {
        let files = BTreeMap::from([(PathBuf::from("/event.json"), payload.to_owned())]);
        let fixed = [("GITHUB_EVENT_NAME", name), ("GITHUB_EVENT_PATH", "/event.json")];
        let environment = fixed.iter().chain(variables).copied().collect();
        let mut problems = Vec::new();
        (Event::read(&environment, &files, &mut problems), problems)
    }

    #[test]
    fn a_dispatch_gives_its_version_or_its_tag() {
        for (payload, version) in [
            (r#"{"inputs": {"version": "1.2.3", "tag": "x"}}"#, Some("1.2.3")),
            (r#"{"inputs": {"version": "", "tag": "v1.2.3"}}"#, Some("v1.2.3")),
            (r#"{"inputs": {"other": true}}"#, None),
            (r#"{"inputs": null}"#, None),
            ("{}", None),
        ] {
            let (event, problems) = read("workflow_dispatch", payload, &[]);
            assert_eq!(event.kind, Kind::Dispatch(version.map(str::to_owned)), "{payload}");
            assert_eq!(problems, []);
        }
        for (payload, is_usable) in [
            (r#"{"client_payload": {"version": 0.10}}"#, false),
            (r#"{"client_payload": {"version": null, "tag": 1}}"#, false),
            (r#"{"client_payload": {"version": "0.10", "tag": 1}}"#, true),
        ] {
            assert_eq!(read("repository_dispatch", payload, &[]).0.unusable.is_none(), is_usable, "{payload}");
        }
    }

    #[test]
    fn a_push_is_of_a_tag_or_a_branch() {
        let kind = |git_ref| read("push", "{}", &[("GITHUB_REF", git_ref)]).0.kind;
        assert_eq!(kind("refs/tags/v1.2.3"), Kind::Tag("v1.2.3".to_owned()));
        assert_eq!(kind("refs/heads/feature/x"), Kind::Branch("feature/x".to_owned()));
        let (event, _) = read("push", r#"{"ref": "refs/tags/1.0", "deleted": true}"#, &[]);
        assert_eq!(event.kind, Kind::Other);
    }

    #[test]
    fn events_caused_by_a_pull_request_publish_nothing() {
        let of_pull_request =
            |name, payload, git_ref| read(name, payload, &[("GITHUB_REF", git_ref)]).0.is_pull_request();
        for (name, payload, git_ref) in [
            ("pull_request", r#"{"pull_request": {}}"#, "refs/pull/7/merge"),
            ("pull_request", "{}", ""),
            ("pull_request_target", "{}", "refs/heads/main"),
            ("pull_request_review", "{}", ""),
            ("pull_request_review_comment", r#"{"comment": {}, "pull_request": {"head": {"sha": "abc"}}}"#, ""),
            ("merge_group", "{}", "refs/heads/gh-readonly-queue/main/pr-7"),
            ("issue_comment", r#"{"issue": {"number": 7, "pull_request": {"url": "u"}}}"#, "refs/heads/main"),
            ("workflow_run", r#"{"workflow_run": {"event": "pull_request", "head_sha": "abc"}}"#, "refs/heads/main"),
            ("workflow_dispatch", r#"{"inputs": {"version": "1.0"}}"#, "refs/pull/7/head"),
        ] {
            assert!(of_pull_request(name, payload, git_ref), "{name} {payload} {git_ref}");
        }
        for (name, payload, git_ref) in [
            ("issue_comment", r#"{"issue": {"number": 7, "pull_request": null}}"#, "refs/heads/main"),
            ("workflow_run", r#"{"workflow_run": {"event": "push", "head_sha": "abc"}}"#, "refs/heads/main"),
            ("push", "{}", "refs/tags/refs/pull/1"),
            ("release", r#"{"release": {"tag_name": "1.0"}, "pull_request": null}"#, "refs/tags/1.0"),
        ] {
            assert!(!of_pull_request(name, payload, git_ref), "{name} {payload} {git_ref}");
        }
    }

    #[test]
    fn an_invalid_payload_is_a_problem_and_not_a_panic() {
        for payload in ["", "[]", "{", r#"{"release": 3}"#, r#"{"release": {"tag_name": null}}"#] {
            let (event, problems) = read("release", payload, &[]);
            assert_eq!(problems.len(), 1, "{payload}");
            assert_eq!(event.kind, Kind::Other);
        }
    }

    #[test]
    fn a_payload_of_thirty_megabytes_is_read() {
        let payload = format!(
            r#"{{"release": {{"tag_name": "1.2.3", "body": "{}", "assets": [{}1]}}, "action": "published"}}"#,
            "x".repeat(15 << 20),
            r#"{"a":[1,2]},"#.repeat((15 << 20) / 12)
        );
        let (event, problems) = read("release", &payload, &[]);
        assert_eq!(problems, []);
        assert!(matches!(event.kind, Kind::Release(release) if release.tag == "1.2.3"));
    }
}
