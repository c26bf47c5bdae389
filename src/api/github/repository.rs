//! Facts about the [repository](https://docs.github.com/en/rest/repos/repos#get-a-repository).

use serde::Deserialize;

use super::{Error, GitHub};

/// The facts that GitHub has about a repository.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Facts {
    /// The name without its owner.
    pub name: String,
    /// `owner/name`, in the repository's own spelling.
    pub full_name: String,
    /// A sentence about the repository.
    pub description: Option<String>,
    /// The address of its page.
    pub html_url: String,
    /// The licence, if GitHub found one.
    pub license: Option<License>,
    /// The branch that GitHub shows first.
    pub default_branch: String,
}

/// A licence, as GitHub recognised it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct License {
    /// Its [SPDX identifier](https://spdx.org/licenses/), or `NOASSERTION` if GitHub doesn't know it.
    pub spdx_id: Option<String>,
}

impl GitHub {
    /// Reads the facts about the repository.
    ///
    /// # Errors
    /// There is no such repository, no answer until the deadline, or a refusal.
    pub async fn repository(&self) -> Result<Facts, Error> {
        match self.get(self.root.clone()).await {
            Err(Error::NotFound { .. }) => {
                Err(Error::NoRepository { repository: self.repository.clone(), anonymous: self.anonymous })
            }
            answer => answer,
        }
    }
}
