//! Credentials for registries, in this order: lines of the input `credentials`, the job's token for the forge's own
//! registry, Docker's
//! [`config.json`](https://docs.docker.com/reference/cli/docker/#docker-cli-configuration-file-configjson-properties)
//! and Podman's [`auth.json`](https://github.com/containers/image/blob/main/docs/containers-auth.json.5.md).

mod config_file;
mod helper;
mod lines;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use url::Url;

use crate::action::environment::{Environment, Files, read_text};
use crate::image::Repository;
use crate::image::reference::DOCKER_HUB;
use crate::plan::{Place, Problem};
use crate::quote::quoted;
use crate::secret::Secret;

pub use config_file::{ConfigFile, NoConfigFile};
pub use lines::secrets;

/// The user name by which credential helpers say that the password is an identity token.
pub const IDENTITY_TOKEN: &str = "<token>";

/// The largest credentials file that is read, in bytes.
const FILE_LIMIT: u64 = 1 << 20;

/// Credentials for a registry, or for a part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    /// The registry as people write it: `ghcr.io`, `https://index.docker.io/v1/`. With a path (`quay.io/acme`), only
    /// repositories below that path are meant.
    pub registry: String,
    /// The user name; [`IDENTITY_TOKEN`] if the password is an identity token.
    pub username: String,
    /// The password, access token or identity token. It is sent over TLS or to a loopback address only, and only to the
    /// registry and the token server that the registry names.
    pub password: Secret,
}

impl Credential {
    /// Whether the password is an identity token, which only a token server takes in exchange for others.
    #[must_use]
    pub fn is_identity_token(&self) -> bool {
        self.username == IDENTITY_TOKEN
    }

    /// The credential for a repository: the most specific of `credentials` that covers it, and the first of equally
    /// specific ones.
    #[must_use]
    pub fn find<'a>(credentials: impl IntoIterator<Item = &'a Self>, repository: &Repository) -> Option<&'a Self> {
        let name = format!("{}/{}", registry_name(repository.registry())?, repository.path());
        let covering = credentials.into_iter().filter_map(|credential| {
            let scope = registry_name(&credential.registry)?;
            covers(&scope, &name).then_some((scope.len(), credential))
        });
        let best = covering.reduce(|best, next| if next.0 > best.0 { next } else { best });
        best.map(|(_, credential)| credential)
    }
}

/// Whether `name` is `scope`, or below it.
fn covers(scope: &str, name: &str) -> bool {
    name.strip_prefix(scope).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The registry, or the part of it, that `written` names: `ghcr.io`, `localhost:5000`, `[::1]:5000`, `quay.io/acme`.
/// `None` if it isn't a host.
///
/// The address of an API (`https://host/v2/`) means its host. Docker Hub has several names.
#[must_use]
pub fn registry_name(written: &str) -> Option<String> {
    let written = written.trim();
    let bare = ["https://", "http://"].iter().find_map(|scheme| written.strip_prefix(scheme));
    let (host, path) = bare.unwrap_or(written).split_once('/').unwrap_or((bare.unwrap_or(written), ""));
    let is_authority = |c: char| c.is_ascii_alphanumeric() || ".-_:[]".contains(c);
    if host.is_empty() || !host.chars().all(is_authority) {
        return None;
    }
    let url = Url::parse(&format!("https://{host}/")).ok()?;
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    let registry = match url.host_str()? {
        "index.docker.io" | "registry-1.docker.io" => DOCKER_HUB.to_owned(),
        host => format!("{host}{port}"),
    };
    match path.trim_matches('/') {
        "" | "v1" | "v2" => Some(registry),
        _ if bare.is_some() => Some(registry),
        path => {
            let is_path = path.chars().all(|c| c.is_ascii_alphanumeric() || "._-/".contains(c));
            is_path.then(|| format!("{registry}/{path}"))
        }
    }
}

/// All credentials of inputs and files, before any credential helper is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credentials {
    /// Lines of the input, then the job's token.
    given: Vec<Credential>,
    /// Docker's file, then Podman's.
    files: Vec<ConfigFile>,
    /// Lines of the input (counted from 1) without a user or a password, and their registry.
    incomplete: Vec<(usize, String)>,
    /// Lines and files that were ignored, and why.
    warnings: Vec<String>,
}

/// The credentials that a run uses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// The credentials, without those that one of higher rank covers.
    pub credentials: Vec<Credential>,
    /// Files that couldn't be read, and credential helpers that couldn't be asked.
    pub warnings: Vec<String>,
}

impl Credentials {
    /// Reads the input's `lines` (`registry username password`), the job's token, and Docker's and Podman's files.
    #[must_use]
    pub fn read(
        lines: &str,
        token: Option<&Secret>,
        environment: &Environment,
        files: &dyn Files,
        problems: &mut Vec<Problem>,
    ) -> Self {
        let mut credentials = Self::default();
        credentials.read_lines(lines, problems);
        // A server's token must not reach other hosts: for GitHub Enterprise, `ghcr.io` is a third party.
        if let (Some(password), Some(registry)) = (token.cloned(), environment.container_registry()) {
            let username = environment.get("GITHUB_ACTOR").unwrap_or("x-access-token").to_owned();
            credentials.given.push(Credential { registry, username, password });
        }
        // GitLab's registry has a host of its own, and GitLab passes credentials for it to the job.
        let of_gitlab = |name| environment.get(name).filter(|_| environment.is_gitlab()).map(str::to_owned);
        if let (Some(registry), Some(username), Some(password)) = (
            of_gitlab("CI_REGISTRY").as_deref().and_then(registry_name),
            of_gitlab("CI_REGISTRY_USER"),
            of_gitlab("CI_REGISTRY_PASSWORD").and_then(Secret::new),
        ) {
            credentials.given.push(Credential { registry, username, password });
        }
        for candidates in [docker_files(environment), podman_files(environment)] {
            credentials.read_first(&candidates, files);
        }
        credentials
    }

    /// Incomplete lines of the input for registries of `repositories`.
    #[must_use]
    pub fn missing<'a>(&self, repositories: impl IntoIterator<Item = &'a Repository> + Clone) -> Vec<Problem> {
        let is_used = |scope: &str| {
            repositories.clone().into_iter().any(|repository| {
                registry_name(repository.registry())
                    .is_some_and(|registry| covers(scope, &format!("{registry}/{}", repository.path())))
            })
        };
        let incomplete = self.incomplete.iter().filter(|(_, scope)| is_used(scope));
        incomplete
            .map(|(line, _)| {
                Problem::new(&Place::Input("credentials"), format!("line {line} has no username or no password"))
                    .hint("write `registry username password`; is the secret or variable of that line set?")
            })
            .collect()
    }

    /// The credentials for the registries of `repositories`. Credential helpers are asked only if nothing of a higher
    /// rank covers a registry.
    pub async fn settle<'a>(&self, repositories: impl IntoIterator<Item = &'a Repository>) -> Settled {
        let mut settled = Settled { credentials: self.given.clone(), warnings: self.warnings.clone() };
        let repositories: Vec<&Repository> = repositories.into_iter().collect();
        for file in &self.files {
            let is_open = |repository: &&&Repository| Credential::find(&settled.credentials, repository).is_none();
            let registries = repositories.iter().filter(is_open).map(|repository| repository.registry());
            let mut of_file = Vec::new();
            for registry in registries.collect::<BTreeSet<_>>() {
                let Some(helper) = file.helper(registry) else { continue };
                match helper::get(helper, registry).await {
                    Ok(credential) => of_file.extend(credential),
                    Err(failed) => settled.warn(failed.to_string()),
                }
            }
            of_file.extend(file.credentials().cloned());
            settled.add(of_file);
        }
        // A file may have dozens of credentials for other registries. Only the ones in use are sent, and looked for in
        // the content to be published.
        let used: BTreeSet<String> =
            repositories.iter().filter_map(|repository| registry_name(repository.registry())).collect();
        settled.credentials.retain(|credential| {
            registry_name(&credential.registry).is_some_and(|scope| used.iter().any(|used| covers(used, &scope)))
        });
        settled
    }

    /// Never quotes a line: if its fields are swapped, any word may be the password.
    fn read_lines(&mut self, lines: &str, problems: &mut Vec<Problem>) {
        use lines::Line;

        let place = Place::Input("credentials");
        let mut seen = BTreeMap::new();
        for (number, line) in lines::read(lines) {
            match line {
                Line::Incomplete { registry } => {
                    let scope = registry_name(registry).unwrap_or_else(|| registry.to_owned());
                    self.incomplete.push((number, scope));
                }
                Line::Login(credential) => {
                    let Some(registry) = registry_name(&credential.registry) else {
                        let problem = Problem::new(&place, format!("line {number} doesn't begin with a registry"));
                        problems.push(problem.hint("write `registry username password`, such as `ghcr.io user token`"));
                        continue;
                    };
                    if let Some(first) = seen.insert(registry.clone(), number) {
                        problems.push(
                            Problem::new(&place, format!("lines {first} and {number} are for the same registry"))
                                .hint("keep one of them"),
                        );
                    }
                    self.given.push(Credential { registry, ..credential });
                }
                Line::Key => problems.push(
                    Problem::new(&place, format!("line {number} has a JSON key that doesn't fit the line")).hint(
                        "use the user `_json_key_base64` with the key in base64 (`base64 -w0 key.json`), or \
                         `_json_key` with the key on one line (`jq -c . key.json`)",
                    ),
                ),
                Line::TooLong => problems.push(
                    Problem::new(&place, format!("line {number} has more than three words"))
                        .hint("write `registry username password`, one registry per line"),
                ),
            }
        }
    }

    /// Reads the first of `candidates` that exists.
    fn read_first(&mut self, candidates: &[Candidate], files: &dyn Files) {
        for Candidate { path, named_by } in candidates {
            let text = match read_text(files, path, FILE_LIMIT) {
                Ok(text) => text,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound && named_by.is_none() => continue,
                Err(error) => {
                    let why = named_by.map(|name| {
                        format!("; `{name}` names it, but the workspace is the only folder of the runner that the action's container has")
                    });
                    let path = quoted(&path.display().to_string());
                    self.warnings
                        .push(format!("credentials in `{path}` can't be read: {error}{}", why.unwrap_or_default()));
                    return;
                }
            };
            let path = quoted(&path.display().to_string());
            match ConfigFile::read(&text) {
                Ok((file, left_out)) => {
                    self.files.push(file);
                    self.warnings.extend(left_out.into_iter().map(|entry| {
                        format!("the credential for `{}` in `{path}` can't be read, and isn't used", quoted(&entry))
                    }));
                }
                Err(invalid) => self.warnings.push(format!("credentials in `{path}` can't be read: {invalid}")),
            }
            return;
        }
    }
}

impl Settled {
    /// Adds credentials that rank below all earlier ones.
    fn add(&mut self, credentials: Vec<Credential>) {
        let above: Vec<String> = self.credentials.iter().filter_map(|known| registry_name(&known.registry)).collect();
        let is_new = |credential: &Credential| {
            registry_name(&credential.registry).is_some_and(|scope| !above.iter().any(|above| covers(above, &scope)))
        };
        self.credentials.extend(credentials.into_iter().filter(is_new));
    }

    fn warn(&mut self, warning: String) {
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }
}

/// A file that may hold credentials.
struct Candidate {
    path: PathBuf,
    /// The environment variable that names it, if one does: then the file must exist.
    named_by: Option<&'static str>,
}

fn docker_files(environment: &Environment) -> Vec<Candidate> {
    let in_folder = |folder: PathBuf, named_by| Candidate { path: folder.join("config.json"), named_by };
    match (environment.get("DOCKER_CONFIG"), environment.get("HOME")) {
        (Some(folder), _) => vec![in_folder(folder.into(), Some("DOCKER_CONFIG"))],
        (None, Some(home)) => vec![in_folder(PathBuf::from(home).join(".docker"), None)],
        (None, None) => Vec::new(),
    }
}

/// Where [Podman](https://docs.podman.io/en/latest/markdown/podman-login.1.html) keeps its credentials.
fn podman_files(environment: &Environment) -> Vec<Candidate> {
    if let Some(path) = environment.get("REGISTRY_AUTH_FILE") {
        return vec![Candidate { path: path.into(), named_by: Some("REGISTRY_AUTH_FILE") }];
    }
    let folder = |name| environment.get(name).map(PathBuf::from);
    let config = folder("XDG_CONFIG_HOME").or_else(|| Some(folder("HOME")?.join(".config")));
    let folders = [folder("XDG_RUNTIME_DIR"), config].into_iter().flatten();
    folders.map(|folder| Candidate { path: folder.join("containers/auth.json"), named_by: None }).collect()
}

#[cfg(test)]
mod tests;
