//! The tool's repository, in the terms of event payloads and GitHub's API.

use serde::{Deserialize, Serialize};
use url::Url;

/// The tool's repository. Its facts are used if the source has none of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RepositoryFacts {
    /// The name without its owner: `uv`.
    pub name: String,
    /// With its owner: `astral-sh/uv`.
    pub full_name: String,
    /// Its description; empty if there is none.
    pub description: String,
    /// The address of its page: `https://github.com/astral-sh/uv`.
    pub html_url: String,
    /// The licence's SPDX identifier; empty if there is none.
    pub license: String,
}

impl RepositoryFacts {
    /// The repository at an address, in the form of git or of a browser: `https://host/owner/name`,
    /// `git@host:owner/name.git`. `None` for other texts, and for local paths.
    #[must_use]
    pub fn at(address: &str) -> Option<Self> {
        let address = address.trim();
        let url = match address.split_once("://") {
            Some(_) => Url::parse(address).ok()?,
            None => {
                let (host, path) =
                    address.split_once(':').filter(|(host, _)| !host.contains('/') && host.contains(['@', '.']))?;
                Url::parse(&format!("ssh://{host}/{}", path.trim_start_matches('/'))).ok()?
            }
        };
        let host = url.host_str().filter(|host| !host.is_empty())?;
        let (scheme, port) = match url.scheme() {
            scheme @ ("https" | "http") => (scheme, url.port()),
            // The ports of these protocols aren't those of the web server.
            "ssh" | "git" | "git+ssh" => ("https", None),
            _ => return None,
        };
        let full_name = url.path().trim_matches('/').trim_end_matches(".git").to_owned();
        let name = full_name.rsplit('/').next().filter(|name| !name.is_empty())?.to_owned();
        let port = port.map(|port| format!(":{port}")).unwrap_or_default();
        Some(Self { html_url: format!("{scheme}://{host}{port}/{full_name}"), name, full_name, ..Self::default() })
    }
}

/// The fields that we need of the `repository` object in GitHub's REST API and event payloads.
#[derive(Deserialize)]
struct RawRepository {
    #[serde(default)]
    name: String,
    #[serde(default)]
    full_name: String,
    description: Option<String>,
    #[serde(default)]
    html_url: Option<String>,
    license: Option<RawLicense>,
}

#[derive(Deserialize)]
struct RawLicense {
    spdx_id: Option<String>,
}

impl<'de> Deserialize<'de> for RepositoryFacts {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = RawRepository::deserialize(deserializer)?;
        Ok(Self {
            name: raw.name,
            full_name: raw.full_name,
            description: raw.description.unwrap_or_default(),
            html_url: raw.html_url.unwrap_or_default(),
            license: raw.license.and_then(|license| license.spdx_id).unwrap_or_default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_is_recognised_by_each_form_of_its_address_and_secrets_in_it_are_dropped() {
        for address in [
            "https://example.org/acme/tool",
            "https://example.org/acme/tool.git/",
            "https://ci-token:secret@example.org/acme/tool.git",
            "git@example.org:acme/tool.git",
            "example.org:/acme/tool",
            "ssh://git@example.org:2222/acme/tool.git",
        ] {
            let facts = RepositoryFacts::at(address).unwrap();
            assert_eq!((&*facts.html_url, &*facts.name), ("https://example.org/acme/tool", "tool"), "{address}");
        }
        let facts = RepositoryFacts::at("http://forge.lan:3000/team/sub/tool").unwrap();
        assert_eq!((&*facts.html_url, &*facts.full_name), ("http://forge.lan:3000/team/sub/tool", "team/sub/tool"));
        for other in
            ["", "/srv/git/tool.git", "../tool", "C:\\tool", "file:///srv/tool", "https://example.org/", "tool"]
        {
            assert_eq!(RepositoryFacts::at(other), None, "{other}");
        }
    }
}
