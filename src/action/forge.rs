//! The forge that runs the job, recognised by its variables: GitHub, a forge that is compatible with it (Forgejo,
//! Gitea), or GitLab.

use chrono::DateTime;
use url::Url;

use super::environment::Environment;
use super::event::{Event, Kind};
use crate::plan::RepositoryFacts;

/// The variables in which forges and runners pass tokens and passwords, besides those of inputs.
pub(super) const SECRETS: [&str; 10] = [
    "GITHUB_TOKEN",
    "ACTIONS_ID_TOKEN_REQUEST_TOKEN",
    "ACTIONS_RUNTIME_TOKEN",
    "FORGEJO_TOKEN",
    "GITEA_TOKEN",
    "CI_JOB_TOKEN",
    "CI_REGISTRY_PASSWORD",
    "CI_DEPLOY_PASSWORD",
    "CI_DEPENDENCY_PROXY_PASSWORD",
    "HARBOR_PASSWORD",
];

impl Environment {
    /// Whether [Forgejo or Gitea](https://forgejo.org/docs/latest/user/actions/) runs the job. Both also set GitHub's
    /// variables, but their API is different.
    #[must_use]
    pub fn is_forgejo(&self) -> bool {
        let says_so = ["FORGEJO_ACTIONS", "GITEA_ACTIONS"].iter().any(|name| self.get(name) == Some("true"));
        let api = self.get("GITHUB_API_URL").unwrap_or_default();
        says_so || api.trim_end_matches('/').ends_with("/api/v1")
    }

    /// Whether [GitLab](https://docs.gitlab.com/ci/variables/predefined_variables/) runs the job. All of its jobs have
    /// `GITLAB_CI`, but a job that passes its variables on to another container may leave that one out.
    #[must_use]
    pub fn is_gitlab(&self) -> bool {
        self.get("GITLAB_CI") == Some("true") || self.get("CI_PROJECT_URL").is_some()
    }

    /// The job's repository on GitHub: `astral-sh/uv`.
    #[must_use]
    pub fn github_repository(&self) -> Option<&str> {
        self.get("GITHUB_REPOSITORY").filter(|_| !self.is_forgejo())
    }

    /// The container registry of the job's forge, which accepts the job's token. It is
    /// [`containers.HOST`](https://docs.github.com/en/enterprise-server@latest/packages/working-with-a-github-packages-registry/working-with-the-container-registry)
    /// on GitHub Enterprise Server and on `ghe.com`, and the forge itself on Forgejo.
    #[must_use]
    pub fn container_registry(&self) -> Option<String> {
        let server = Url::parse(self.server().trim()).ok()?;
        match server.host()? {
            _ if self.is_forgejo() => Some(server.authority().to_owned()),
            url::Host::Domain("github.com") => Some("ghcr.io".to_owned()),
            url::Host::Domain(host) => Some(format!("containers.{host}")),
            url::Host::Ipv4(_) | url::Host::Ipv6(_) => None,
        }
    }

    /// The address of the GitHub server, or of the server that is compatible with it.
    #[must_use]
    pub fn server(&self) -> &str {
        self.get("GITHUB_SERVER_URL").unwrap_or("https://github.com")
    }

    /// The job's own repository in the forge's container registry.
    #[must_use]
    pub fn own_image(&self) -> Option<String> {
        if self.is_gitlab() {
            return self.get("CI_REGISTRY_IMAGE").map(str::to_owned);
        }
        let (registry, name) = self.container_registry().zip(self.get("GITHUB_REPOSITORY"))?;
        Some(format!("{registry}/{}", name.to_lowercase()))
    }

    /// The folder that this step of a job shares with later ones.
    #[must_use]
    pub fn workspace(&self) -> Option<&str> {
        let of_action = self.get("GITHUB_WORKSPACE").filter(|_| self.is_action());
        of_action.or_else(|| self.get("CI_PROJECT_DIR").filter(|_| self.is_gitlab()))
    }
}

/// The repository in the variables of GitHub and Forgejo.
pub(super) fn repository(environment: &Environment) -> Option<RepositoryFacts> {
    let name = environment.get("GITHUB_REPOSITORY")?;
    RepositoryFacts::at(&format!("{}/{name}", environment.server().trim_end_matches('/')))
}

/// The event behind a GitLab pipeline.
pub(super) fn pipeline(environment: &Environment) -> Event {
    let get = |name| environment.get(name).map(str::to_owned);
    let name = get("CI_PIPELINE_SOURCE").unwrap_or_else(|| "pipeline".to_owned());
    let run_tag = get("CI_COMMIT_TAG");
    let commit = get("CI_COMMIT_SHA");
    let kind = match (&run_tag, get("CI_COMMIT_BRANCH")) {
        _ if name == "merge_request_event" || get("CI_MERGE_REQUEST_IID").is_some() => {
            let source = get("CI_MERGE_REQUEST_SOURCE_PROJECT_ID");
            let is_own = source.is_some() && source == get("CI_MERGE_REQUEST_PROJECT_ID");
            // GitLab makes up the commit of a merged result, so it belongs to no branch.
            Kind::PullRequest {
                head: get("CI_MERGE_REQUEST_SOURCE_BRANCH_SHA").or_else(|| commit.clone()),
                base: None,
                is_own,
            }
        }
        // A pull request of a repository at GitHub that GitLab builds, in a pipeline for its branch.
        _ if name == "external_pull_request_event" || get("CI_EXTERNAL_PULL_REQUEST_IID").is_some() => {
            let source = get("CI_EXTERNAL_PULL_REQUEST_SOURCE_REPOSITORY");
            let is_own = source.is_some() && source == get("CI_EXTERNAL_PULL_REQUEST_TARGET_REPOSITORY");
            let head = get("CI_EXTERNAL_PULL_REQUEST_SOURCE_BRANCH_SHA").or_else(|| commit.clone());
            Kind::PullRequest { head, base: None, is_own }
        }
        (Some(tag), _) => Kind::Tag(tag.clone()),
        (None, Some(branch)) => Kind::Branch(branch),
        (None, None) => Kind::Other,
    };
    let repository = get("CI_PROJECT_URL").as_deref().and_then(RepositoryFacts::at).map(|facts| RepositoryFacts {
        name: get("CI_PROJECT_NAME").unwrap_or(facts.name),
        description: get("CI_PROJECT_DESCRIPTION").unwrap_or_default(),
        ..facts
    });
    let date = get("CI_COMMIT_TIMESTAMP").and_then(|date| DateTime::parse_from_rfc3339(&date).ok());
    Event { name, kind, commit, date: date.map(|date| date.to_utc()), run_tag, repository, ..Event::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipeline_of_gitlab_is_for_a_tag_a_branch_or_a_request_to_merge() {
        let kind = |variables: &[(&str, &str)]| {
            let variables = variables.iter().copied().chain([("GITLAB_CI", "true"), ("CI_COMMIT_SHA", "c0ffee")]);
            pipeline(&variables.collect()).kind
        };
        let request = |head: &str, is_own| Kind::PullRequest { head: Some(head.to_owned()), base: None, is_own };
        assert_eq!(kind(&[("CI_PIPELINE_SOURCE", "push"), ("CI_COMMIT_TAG", "1.2.3")]), Kind::Tag("1.2.3".to_owned()));
        assert_eq!(
            kind(&[("CI_PIPELINE_SOURCE", "web"), ("CI_COMMIT_BRANCH", "main")]),
            Kind::Branch("main".to_owned())
        );
        assert_eq!(kind(&[("CI_PIPELINE_SOURCE", "schedule")]), Kind::Other);
        let merge = [("CI_MERGE_REQUEST_IID", "7"), ("CI_MERGE_REQUEST_PROJECT_ID", "1")];
        let of = |source, sha| [&merge[..], &[source, sha]].concat();
        let (own, fork) = (("CI_MERGE_REQUEST_SOURCE_PROJECT_ID", "1"), ("CI_MERGE_REQUEST_SOURCE_PROJECT_ID", "2"));
        let (detached, merged) =
            (("CI_MERGE_REQUEST_SOURCE_BRANCH_SHA", ""), ("CI_MERGE_REQUEST_SOURCE_BRANCH_SHA", "f00d"));
        assert_eq!(kind(&of(own, detached)), request("c0ffee", true));
        assert_eq!(kind(&of(fork, merged)), request("f00d", false));
        // The pipeline is also one for the branch, which must not make it publish.
        let external = |repository| {
            kind(&[
                ("CI_PIPELINE_SOURCE", "external_pull_request_event"),
                ("CI_COMMIT_BRANCH", "feature"),
                ("CI_EXTERNAL_PULL_REQUEST_IID", "7"),
                ("CI_EXTERNAL_PULL_REQUEST_SOURCE_REPOSITORY", repository),
                ("CI_EXTERNAL_PULL_REQUEST_TARGET_REPOSITORY", "acme/tool"),
                ("CI_EXTERNAL_PULL_REQUEST_SOURCE_BRANCH_SHA", "f00d"),
            ])
        };
        assert_eq!(external("acme/tool"), request("f00d", true));
        assert_eq!(external("somebody/tool"), request("f00d", false));
    }

    #[test]
    fn the_token_is_for_the_registry_of_its_server() {
        for (server, registry) in [
            ("", Some("ghcr.io")),
            ("https://github.com", Some("ghcr.io")),
            ("https://GitHub.com/", Some("ghcr.io")),
            ("https://ghe.corp.example", Some("containers.ghe.corp.example")),
            ("https://acme.ghe.com", Some("containers.acme.ghe.com")),
            ("https://github.com.example.org", Some("containers.github.com.example.org")),
            ("https://10.0.0.1", None),
            ("nonsense", None),
        ] {
            let environment: Environment = [("GITHUB_SERVER_URL", server)].into_iter().collect();
            assert_eq!(environment.container_registry().as_deref(), registry, "{server:?}");
        }
        let forgejo =
            [("GITHUB_SERVER_URL", "https://codeberg.org"), ("GITHUB_API_URL", "https://codeberg.org/api/v1")];
        let forgejo: Environment = forgejo.into_iter().collect();
        assert_eq!(forgejo.container_registry().as_deref(), Some("codeberg.org"));
    }
}
