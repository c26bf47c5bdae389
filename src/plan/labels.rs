//! Labels and annotations, by the [pre-defined keys](https://github.com/opencontainers/image-spec/blob/v1.1.1/annotations.md)
//! of the image specification, with the values that docker/metadata-action gives them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What is known about the tool's repository; it describes every image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RepositoryFacts {
    /// `uv`.
    pub name: String,
    /// `astral-sh/uv`.
    pub full_name: String,
    /// What the repository says about itself; empty where it says nothing.
    pub description: String,
    /// `https://github.com/astral-sh/uv`.
    pub html_url: String,
    /// The licence's SPDX identifier; empty where there is none.
    pub license: String,
}

/// The `repository` object of GitHub's REST description and event payloads, as far as it is needed.
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

/// What all images of a release have in common: title, description, url, source, licenses, and revision and created.
///
/// What isn't known is an empty text, not a missing label: it would otherwise be the base's that shows.
/// `revision` is the commit of the release's tag, `created` its time of publication in RFC 3339.
#[must_use]
pub fn labels(repository: &RepositoryFacts, revision: &str, created: &str) -> BTreeMap<String, String> {
    [
        ("created", created),
        ("description", &repository.description),
        ("licenses", &repository.license),
        ("revision", revision),
        ("source", &repository.html_url),
        ("title", &repository.name),
        ("url", &repository.html_url),
    ]
    .map(|(key, value)| (format!("org.opencontainers.image.{key}"), value.to_owned()))
    .into()
}
