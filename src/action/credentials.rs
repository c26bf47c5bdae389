//! Credentials for registries: lines of the `credentials` input, Docker's
//! [`config.json`](https://docs.docker.com/reference/cli/docker/#docker-cli-configuration-file-configjson-properties),
//! and for `ghcr.io` the token of the job.

use std::collections::BTreeMap;
use std::path::Path;

use base64::Engine as _;
use serde::Deserialize;

use super::environment::{Environment, Files, read_text};
use crate::image::reference::DOCKER_HUB;
use crate::plan::{Place, Problem};
use crate::secret::Secret;

/// Who we are at a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    /// The registry's host, as in [`crate::image::Repository::registry`].
    pub registry: String,
    /// The user.
    pub username: String,
    /// The password or token.
    pub password: Secret,
}

/// Credentials, at most one for each registry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credentials {
    by_registry: BTreeMap<String, Credential>,
    /// Lines of the input (from 1) that lack the user or the password, as where a secret isn't set.
    pub(crate) incomplete: Vec<usize>,
}

#[derive(Deserialize)]
struct DockerConfig {
    #[serde(default)]
    auths: BTreeMap<String, DockerAuth>,
}

#[derive(Deserialize)]
struct DockerAuth {
    auth: Option<String>,
}

impl Credentials {
    /// Those of the input's `lines` (`registry username password`), else of Docker's configuration, else the token.
    #[must_use]
    pub fn read(
        lines: &str,
        token: Option<&Secret>,
        environment: &Environment,
        files: &dyn Files,
        problems: &mut Vec<Problem>,
    ) -> Self {
        let mut credentials = Self::default();
        if let Some(password) = token.cloned() {
            let username = environment.get("GITHUB_ACTOR").unwrap_or("x-access-token").to_owned();
            credentials.insert(Credential { registry: "ghcr.io".to_owned(), username, password });
        }
        if let Some(folder) = environment.get("DOCKER_CONFIG") {
            // It may be a place that only the runner sees, so its absence is no problem.
            for credential in docker_config(&Path::new(folder).join("config.json"), files).unwrap_or_default() {
                credentials.insert(credential);
            }
        }
        credentials.read_lines(lines, problems);
        credentials
    }

    /// The credential for a registry.
    #[must_use]
    pub fn get(&self, registry: &str) -> Option<&Credential> {
        self.by_registry.get(registry)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Credential> {
        self.by_registry.values()
    }

    fn insert(&mut self, credential: Credential) {
        self.by_registry.insert(credential.registry.clone(), credential);
    }

    /// Never quotes a line: if its fields are swapped, any word may be the password.
    fn read_lines(&mut self, lines: &str, problems: &mut Vec<Problem>) {
        let place = Place::Input("credentials");
        let mut seen = BTreeMap::new();
        for (number, line) in (1..).zip(lines.lines()) {
            match line.split_whitespace().collect::<Vec<_>>()[..] {
                [] => {}
                [_] | [_, _] => self.incomplete.push(number),
                [registry, username, password] => {
                    let registry = normal_registry(registry);
                    if let Some(first) = seen.insert(registry.clone(), number) {
                        problems.push(
                            Problem::new(&place, format!("lines {first} and {number} are for the same registry"))
                                .hint("keep one of them"),
                        );
                    }
                    if let Some(password) = Secret::new(password) {
                        self.insert(Credential { registry, username: username.to_owned(), password });
                    }
                }
                _ => problems.push(
                    Problem::new(&place, format!("line {number} has more than three words"))
                        .hint("write `registry username password`, one registry a line"),
                ),
            }
        }
    }
}

/// Docker Hub has more names than one.
fn normal_registry(text: &str) -> String {
    let host = text.trim_start_matches("https://").trim_start_matches("http://");
    let host = host.split('/').next().unwrap_or(host).to_ascii_lowercase();
    match host.as_str() {
        "index.docker.io" | "registry-1.docker.io" => DOCKER_HUB.to_owned(),
        _ => host,
    }
}

fn docker_config(path: &Path, files: &dyn Files) -> Option<Vec<Credential>> {
    let config: DockerConfig = serde_json::from_str(&read_text(files, path, 1 << 20).ok()?).ok()?;
    let read = |(registry, auth): (String, DockerAuth)| {
        let decoded = base64::engine::general_purpose::STANDARD.decode(auth.auth?.trim()).ok()?;
        let text = String::from_utf8(decoded).ok()?;
        let (username, password) = text.split_once(':')?;
        Some(Credential {
            registry: normal_registry(&registry),
            username: username.to_owned(),
            password: Secret::new(password.trim_end_matches('\0'))?,
        })
    };
    Some(config.auths.into_iter().filter_map(read).collect())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn read(lines: &str, environment: &[(&str, &str)], config: &str) -> (Credentials, Vec<Problem>) {
        let files = BTreeMap::from([(PathBuf::from("/docker/config.json"), config.to_owned())]);
        let environment = environment.iter().copied().collect();
        let mut problems = Vec::new();
        let token = Secret::new("ghs_token");
        (Credentials::read(lines, token.as_ref(), &environment, &files, &mut problems), problems)
    }

    #[test]
    fn lines_count_more_than_dockers_config_and_that_more_than_the_token() {
        let config = r#"{ "auths": { "https://index.docker.io/v1/": { "auth": "aHViOmZyb20tY29uZmln" }, "quay.io": {},
            "localhost:5000": { "auth": "YTpi" } } }"#;
        let environment = [("DOCKER_CONFIG", "/docker"), ("GITHUB_ACTOR", "octocat")];
        let (credentials, problems) = read("docker.io user pass\n\n", &environment, config);
        assert_eq!(problems, []);
        let get = |registry| credentials.get(registry).map(|c| (c.username.as_str(), c.password.expose()));
        assert_eq!(get("docker.io"), Some(("user", "pass")));
        assert_eq!(get("localhost:5000"), Some(("a", "b")));
        assert_eq!(get("ghcr.io"), Some(("octocat", "ghs_token")));
        assert_eq!(get("quay.io"), None);
    }

    #[test]
    fn a_line_that_cannot_be_used_is_named_and_never_shown() {
        let (credentials, problems) = read("docker.io user hunter2 extra\ndocker.io hunter2\nq u p\nq u p", &[], "");
        assert_eq!(credentials.incomplete, [2]);
        assert_eq!(problems.len(), 2);
        assert!(!format!("{problems:?}{credentials:?}").contains("hunter2"));
    }
}
