//! Editing the notes of a release, which others may edit at the same time.

use std::time::{Duration, Instant};

use super::{Error, GitHub, Release};

/// How often the notes may change under our hands before we give up.
const EDIT_ROUNDS: u32 = 8;

/// What became of the notes of a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edited {
    /// They were as they should be.
    AlreadyThere,
    /// They were written, and read back.
    Written,
}

impl GitHub {
    /// Brings the notes of release `id` to where `edit` changes nothing any more.
    ///
    /// GitHub has no conditional write. So the notes are read right before they are written, and afterwards, and
    /// `edit` is applied again whenever they are not what it was applied to. It must give its own result back unchanged.
    /// What somebody writes in the one round trip between reading and writing is lost.
    ///
    /// # Errors
    /// Those of `edit`, a refusal, and [`Error::Contended`] where the notes keep changing.
    pub async fn edit_release_body<E: From<Error>>(
        &self,
        id: u64,
        edit: impl Fn(&str) -> Result<String, E>,
    ) -> Result<Edited, E> {
        let started = Instant::now();
        let mut edited = Edited::AlreadyThere;
        let mut body = self.release_body(id).await?;
        let mut attempt = 0;
        for _ in 0..EDIT_ROUNDS {
            let wanted = edit(&body)?;
            if wanted == body {
                return Ok(edited);
            }
            let now = self.release_body(id).await?;
            if now != body {
                body = now;
                continue;
            }
            // Only one attempt for each reading: a repeated PATCH would undo what was written while it waited.
            while let Err(wait) = self.write_body(id, &wanted, attempt, started).await? {
                attempt += 1;
                tokio::time::sleep(wait).await;
                if self.release_body(id).await? != body {
                    break;
                }
            }
            edited = Edited::Written;
            body = self.release_body(id).await?;
        }
        Err(Error::Contended { repository: self.repository.clone(), id }.into())
    }

    async fn release_body(&self, id: u64) -> Result<String, Error> {
        let release: Release = self.get(self.url(&["releases", &id.to_string()])).await?;
        Ok(release.body)
    }

    /// Writes the notes once: `Ok(Err(wait))` says after what time another attempt makes sense.
    async fn write_body(
        &self,
        id: u64,
        body: &str,
        attempt: u32,
        started: Instant,
    ) -> Result<Result<(), Duration>, Error> {
        let url = self.url(&["releases", &id.to_string()]);
        let body = serde_json::json!({ "body": body });
        let answer = self.client.patch::<serde::de::IgnoredAny, _, _>(url.as_str(), Some(&body));
        match self.judge(answer, "PATCH", &url, attempt, started).await? {
            Ok(_) => Ok(Ok(())),
            Err(wait) => Ok(Err(wait)),
        }
    }
}
