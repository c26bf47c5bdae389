//! Refusals of registries: how they read, whether another attempt may help, and the setting to change.
//!
//! The body: [error codes](https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#error-codes).

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::error::Answered;
use super::retry::Again;
use crate::quote::quoted;

impl Answered {
    /// Reads the body of an answer, which may be anything.
    pub(super) fn read(status: u16, body: &[u8], retry_after: Option<Duration>) -> Self {
        let first = serde_json::from_slice::<Value>(body).ok();
        let error = first.as_ref().map(|json| json.pointer("/errors/0").unwrap_or(json));
        let field = |name: &str| error.and_then(|error| error.get(name)).and_then(Value::as_str);
        let (code, message) = match error {
            // `details` and `error` are what token servers have.
            Some(_) => (field("code"), field("message").or(field("details")).or(field("error")).map(str::to_owned)),
            None => (None, Some(without_tags(&String::from_utf8_lossy(body)))),
        };
        let code = code.map(quoted).filter(|code| !code.is_empty());
        Self { status, code, message: quoted(&message.unwrap_or_default()), retry_after }
    }

    /// Whether another attempt may help.
    pub(super) fn again(&self) -> Again {
        match (self.status, self.code.as_deref()) {
            (408 | 429 | 500 | 502..=504 | 506..=599, _) => Again::UntilDeadline { after: self.retry_after },
            // GHCR sometimes denies authorised requests with a bare `denied`; real denials name the missing permission.
            (401 | 403, _) if matches!(self.message.to_ascii_lowercase().as_str(), "denied" | "denied: denied") => {
                Again::FewTimes
            }
            // An upload that the registry has lost or mixed up, and blobs that aren't visible everywhere yet.
            (_, Some("BLOB_UPLOAD_UNKNOWN" | "BLOB_UPLOAD_INVALID" | "DIGEST_INVALID" | "SIZE_INVALID"))
            | (_, Some("MANIFEST_BLOB_UNKNOWN" | "BLOB_UNKNOWN"))
            | (416, _) => Again::FewTimes,
            _ => Again::Never,
        }
    }

    /// Whether the request had the wrong scheme: that's how servers of TLS answer plain HTTP.
    pub(super) fn wants_tls(&self) -> bool {
        self.status == 400 && self.message.contains("HTTPS")
    }
}

/// Whom a refusal is about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Applicant<'a> {
    pub(super) registry: &'a str,
    pub(super) repository: &'a str,
    pub(super) has_credentials: bool,
    pub(super) pushes: bool,
}

impl Applicant<'_> {
    /// The setting that would allow it.
    pub(super) fn setting(self) -> String {
        let Self { registry, repository, .. } = self;
        match (registry, self.has_credentials, self.pushes) {
            ("ghcr.io", _, true) => format!(
                "give the job `permissions: packages: write`, and in the settings of the package `{repository}` give this \
                 repository the role Write under `Manage Actions access`"
            ),
            ("ghcr.io", true, false) => format!(
                "in the settings of the package `{repository}` give this repository the role Read under `Manage Actions access`"
            ),
            (_, false, _) => format!("add a line `{registry} USER PASSWORD` to `credentials`"),
            ("docker.io", true, true) => format!(
                "use an access token with the permissions `Read & Write`, of a user who may push to `{repository}`"
            ),
            (_, true, true) => {
                format!(
                    "check the line for `{registry}` in `credentials`, and that its user may push to `{repository}`"
                )
            }
            (_, true, false) => {
                format!(
                    "check the line for `{registry}` in `credentials`, and that its user may pull from `{repository}`"
                )
            }
        }
    }
}

/// How long a [`Retry-After`](https://www.rfc-editor.org/rfc/rfc9110#name-retry-after) header asks to wait: seconds, or a date.
pub(super) fn retry_after(header: &str, now: DateTime<Utc>) -> Option<Duration> {
    let header = header.trim();
    if let Ok(seconds) = header.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = DateTime::parse_from_rfc2822(header).ok()?;
    // A date in the past: no need to wait.
    Some(date.signed_duration_since(now).to_std().unwrap_or_default())
}

/// The text of an HTML page: its title where it has one.
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
    fn what_passes_is_asked_again_and_what_stays_is_not() {
        let (deadline, few, never) = (Again::UntilDeadline { after: None }, Again::FewTimes, Again::Never);
        let code = |code: &str, message: &str| format!(r#"{{"errors":[{{"code":"{code}","message":"{message}"}}]}}"#);
        for (status, body, again) in [
            (408, String::new(), deadline),
            (429, code("TOOMANYREQUESTS", "slow down"), deadline),
            (500, String::new(), deadline),
            (502, "<html>".into(), deadline),
            (503, String::new(), deadline),
            (504, String::new(), deadline),
            (599, String::new(), deadline),
            (501, String::new(), never),
            (505, String::new(), never),
            (401, code("DENIED", "denied"), few),
            (403, code("DENIED", "Denied"), few),
            (403, code("DENIED", "permission_denied: write_package"), never),
            (403, code("DENIED", "requested access to the resource is denied"), never),
            (401, code("UNAUTHORIZED", "authentication required"), never),
            (404, code("MANIFEST_UNKNOWN", "manifest unknown"), never),
            (404, code("BLOB_UPLOAD_UNKNOWN", "upload unknown"), few),
            (400, code("DIGEST_INVALID", "x"), few),
            (400, code("MANIFEST_BLOB_UNKNOWN", "x"), few),
            (400, code("MANIFEST_INVALID", "x"), never),
            (400, String::new(), never),
            (413, String::new(), never),
            (405, String::new(), never),
        ] {
            assert_eq!(answered(status, &body).again(), again, "{status} {body}");
        }
        let hurried = Answered::read(429, b"", Some(Duration::from_secs(7)));
        assert_eq!(hurried.again(), Again::UntilDeadline { after: Some(Duration::from_secs(7)) });
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = "2026-01-15T20:44:00Z".parse().unwrap();
        for (header, seconds) in [
            ("0", Some(0)),
            ("120", Some(120)),
            (" 7 ", Some(7)),
            ("Thu, 15 Jan 2026 20:45:30 GMT", Some(90)),
            ("Thu, 15 Jan 2026 20:43:00 GMT", Some(0)),
            ("-1", None),
            ("1.5", None),
            ("soon", None),
            ("", None),
            ("99999999999999999999999", None),
        ] {
            assert_eq!(retry_after(header, now), seconds.map(Duration::from_secs), "{header:?}");
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
            (applicant("reg.lan", true, false), "may pull from `REPO`"),
        ] {
            assert!(setting.contains(part), "{setting}");
        }
    }
}
