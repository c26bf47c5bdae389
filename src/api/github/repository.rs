//! Facts of the [repository](https://docs.github.com/en/rest/repos/repos#get-a-repository).

use serde::Deserialize;

use super::{Error, GitHub};

/// What is known about the repository.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Facts {
    /// The name without its owner.
    pub name: String,
    /// `owner/name`, spelled as the repository spells it.
    pub full_name: String,
    /// What it is, in a line.
    pub description: Option<String>,
    /// Its page.
    pub html_url: String,
    /// Its licence.
    pub license: Option<License>,
    /// The branch that it shows first.
    pub default_branch: String,
}

/// A licence, as GitHub has recognised it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct License {
    /// Its [SPDX identifier](https://spdx.org/licenses/); `NOASSERTION` for one that GitHub doesn't know.
    pub spdx_id: Option<String>,
}

impl GitHub {
    /// What is known about the repository.
    ///
    /// # Errors
    /// No such repository, no answer until the deadline, or a refusal.
    pub async fn repository(&self) -> Result<Facts, Error> {
        match self.get(self.root.clone()).await {
            Err(Error::NotFound { .. }) => {
                Err(Error::NoRepository { repository: self.repository.clone(), anonymous: self.anonymous })
            }
            answer => answer,
        }
    }
}
