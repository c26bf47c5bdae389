//! The tool's repository, as event payloads and GitHub's API describe it.

use serde::{Deserialize, Serialize};

/// The tool's repository. It describes every image, where the source has no facts of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RepositoryFacts {
    /// `uv`.
    pub name: String,
    /// `astral-sh/uv`.
    pub full_name: String,
    /// Its description; empty where it has none.
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
