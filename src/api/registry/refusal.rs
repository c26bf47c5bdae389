//! Refusals of registries: their messages, and the settings that would allow the request.
//!
//! The format of their bodies: [error
//! codes](https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#error-codes).

use std::time::Duration;

use serde_json::Value;

use super::error::Answered;
use crate::hint::Input;
use crate::quote::quoted;

impl Answered {
    /// Parses the body of an error response, which may contain anything.
    pub(super) fn read(status: u16, body: &[u8], retry_after: Option<Duration>) -> Self {
        let first = serde_json::from_slice::<Value>(body).ok();
        let error = first.as_ref().map(|json| json.pointer("/errors/0").unwrap_or(json));
        let field = |name: &str| error.and_then(|error| error.get(name)).and_then(Value::as_str);
        let (code, message) = match error {
            // Token servers write `details` or `error`.
            Some(_) => (field("code"), field("message").or(field("details")).or(field("error")).map(str::to_owned)),
            None => (None, Some(without_tags(&String::from_utf8_lossy(body)))),
        };
        let code = code.map(quoted).filter(|code| !code.is_empty());
        Self { status, code, message: quoted(&message.unwrap_or_default()), retry_after }
    }

    /// Whether the request should have used TLS: this is how TLS servers answer plain HTTP.
    pub(super) fn wants_tls(&self) -> bool {
        self.status == 400 && self.message.contains("HTTPS")
    }
}

/// The user and the request that were refused.
#[derive(Clone, Copy, Debug)]
pub(super) struct Applicant<'a> {
    pub(super) registry: &'a str,
    pub(super) repository: &'a str,
    pub(super) has_credentials: bool,
    pub(super) pushes: bool,
}

impl Applicant<'_> {
    /// What to do if there is no such repository to push to. Most registries create it, but some want it created first.
    pub(super) fn repository_to_make(self) -> String {
        let Self { registry, repository, .. } = self;
        self.repository_to_make_at_ecr().unwrap_or_else(|| {
            format!(
                "create the repository `{repository}` at `{registry}` first, or correct its name in {}",
                Input("images")
            )
        })
    }

    /// The same for ECR, which has a command for it; `None` for other registries.
    pub(super) fn repository_to_make_at_ecr(self) -> Option<String> {
        let Self { registry, repository, .. } = self;
        let (command, name) = if registry == "public.ecr.aws" {
            // At ECR Public, the first path segment is the registry's alias.
            ("ecr-public", repository.split_once('/').map_or(repository, |(_, name)| name))
        } else if registry.contains(".dkr.ecr") && registry.contains(".amazonaws.") {
            ("ecr", repository)
        } else {
            return None;
        };
        Some(format!("create the repository first: `aws {command} create-repository --repository-name {name}`"))
    }

    /// The setting that would allow the request.
    pub(super) fn setting(self) -> String {
        let Self { registry, repository, .. } = self;
        let credentials = Input("credentials");
        match (registry, self.has_credentials, self.pushes) {
            ("ghcr.io", _, true) => format!(
                "give the job `permissions: packages: write` (a personal access token needs the scope `write:packages`), and in the settings of the package `{repository}` give this \
                 repository the role Write under `Manage Actions access`"
            ),
            ("ghcr.io", true, false) => format!(
                "in the settings of the package `{repository}` give this repository the role Read under `Manage Actions access`"
            ),
            (_, false, _) => format!("add a line `{registry} USER PASSWORD` to {credentials}"),
            ("docker.io", true, true) => format!(
                "use an access token with the permissions `Read & Write`, of a user who may push to `{repository}`"
            ),
            (_, true, true) => {
                format!(
                    "check the line for `{registry}` in {credentials}, and that its user may push to `{repository}`, with the scope \
                     `repository:{repository}:pull,push`"
                )
            }
            (_, true, false) => {
                format!(
                    "check the line for `{registry}` in {credentials}, and that its user may pull from `{repository}`"
                )
            }
        }
    }
}

/// The text of an HTML page, or its title if it has one.
fn without_tags(text: &str) -> String {
    let lower = text.to_ascii_lowercase();
    let title = lower.find("<title>").and_then(|start| {
        let start = start + "<title>".len();
        Some(&text[start..start + lower[start..].find("</title>")?])
    });
    let (mut plain, mut in_tag) = (String::new(), false);
    for c in title.unwrap_or(text).chars() {
        match c {
            '<' => in_tag = true,
            '>' if in_tag => {
                in_tag = false;
                plain.push(' ');
            }
            _ if !in_tag => plain.push(c),
            _ => {}
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(status: u16, body: &str) -> Answered {
        Answered::read(status, body.as_bytes(), None)
    }

    #[test]
    fn an_answer_is_said_in_one_line() {
        let long = format!(r#"{{"errors":[{{"code":"X","message":"{}"}}]}}"#, "word ".repeat(100));
        for (body, line) in [
            (
                r#"{"errors":[{"code":"DENIED","message":"permission_denied: write_package"}]}"#,
                "403 DENIED (permission_denied: write_package)",
            ),
            (r#"{"details":"incorrect username or password"}"#, "403 (incorrect username or password)"),
            (r#"{"errors":[]}"#, "403"),
            ("", "403"),
            ("null", "403"),
            ("<html>\r\n<head><title>502 Bad\nGateway</title></head><body>x</body></html>", "403 (502 Bad Gateway)"),
            ("<h1>Forbidden</h1><p>by   policy", "403 (Forbidden by policy)"),
            ("\u{1b}[31mred\n::error::x", "403 ([31mred ::error::x)"),
            (&long, &format!("403 X ({}word…)", "word ".repeat(15))),
        ] {
            assert_eq!(answered(403, body).to_string(), line);
        }
    }

    #[test]
    fn a_repository_that_must_be_made_first_is_named_with_the_command() {
        let hint = |registry, repository| {
            Applicant { registry, repository, has_credentials: true, pushes: true }.repository_to_make()
        };
        let ecr = "123456789012.dkr.ecr.eu-west-1.amazonaws.com";
        for (registry, repository, part) in [
            (ecr, "acme/tool", "`aws ecr create-repository --repository-name acme/tool`"),
            ("public.ecr.aws", "a1b2c3/tool", "`aws ecr-public create-repository --repository-name tool`"),
            (
                "europe-docker.pkg.dev",
                "project/repo/tool",
                "create the repository `project/repo/tool` at `europe-docker.pkg.dev`",
            ),
        ] {
            let hint = hint(registry, repository);
            assert!(hint.contains(part), "{hint}");
        }
    }

    #[test]
    fn a_refusal_names_the_setting_to_change() {
        let applicant = |registry, has_credentials, pushes| {
            Applicant { registry, repository: "REPO", has_credentials, pushes }.setting()
        };
        for (setting, part) in [
            (applicant("ghcr.io", true, true), "packages: write"),
            (applicant("ghcr.io", true, true), "Manage Actions access"),
            (applicant("docker.io", true, true), "access token"),
            (applicant("docker.io", false, true), "`docker.io USER PASSWORD`"),
            (applicant("reg.lan", true, true), "may push to `REPO`"),
            (applicant("reg.lan", true, true), "`repository:REPO:pull,push`"),
            (applicant("ghcr.io", false, true), "`write:packages`"),
            (applicant("reg.lan", true, false), "may pull from `REPO`"),
        ] {
            assert!(setting.contains(part), "{setting}");
        }
    }
}
