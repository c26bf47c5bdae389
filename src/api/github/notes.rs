//! Edits the notes of a release, which others may edit at the same time.

use std::time::{Duration, Instant};

use url::Url;

use super::answer::Answer;
use super::{Error, GitHub, Release, attempt};

/// The longest first wait after somebody else has changed the notes; it doubles each time.
const FIRST_STEP_BACK: Duration = Duration::from_millis(250);
/// The longest such wait.
const LONGEST_STEP_BACK: Duration = Duration::from_secs(8);
/// How long after a write the notes are read once more: somebody who read them before our write may write after it.
const SETTLING: Duration = Duration::from_millis(500);

/// The outcome of an edit of the notes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edited {
    /// The notes didn't have to change.
    AlreadyThere,
    /// They were written, and read back.
    Written,
}

impl std::fmt::Display for Edited {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::AlreadyThere => "the section is up to date",
            Self::Written => "the section was written",
        })
    }
}

impl GitHub {
    /// Edits the notes of release `id` until `edit` doesn't change them any more.
    ///
    /// GitHub has no conditional writes. So the notes are read right before they are written and again afterwards, and
    /// `edit` is applied again whenever somebody has changed them. It must leave its own result unchanged. An edit that
    /// somebody else makes in the one round trip between reading and writing is lost, unless it was made by another run
    /// of this program, which reads the notes again half a second later. Several jobs of a workflow may edit them at
    /// the same time, so after each conflict a run waits for a random time, until the deadline.
    ///
    /// # Errors
    /// The errors of `edit`; a refusal; or [`Error::Contended`] if the notes keep changing.
    pub async fn edit_release_body<E: From<Error>>(
        &self,
        id: u64,
        edit: impl Fn(&str) -> Result<String, E>,
    ) -> Result<Edited, E> {
        let (url, mut retry) = (self.url(&["releases", &id.to_string()]), self.retry());
        let mut edited = Edited::AlreadyThere;
        let mut body = self.release_body(id).await?;
        let (started, mut longest) = (Instant::now(), FIRST_STEP_BACK);
        let mut is_settled = true;
        loop {
            let wanted = edit(&body)?;
            if wanted == body {
                if is_settled {
                    return Ok(edited);
                }
                tokio::time::sleep(SETTLING).await;
                body = self.release_body(id).await?;
                is_settled = true;
                continue;
            }
            if started.elapsed() >= self.deadline {
                return Err(Error::Contended { repository: self.repository.clone(), id }.into());
            }
            let now = self.release_body(id).await?;
            if now != body {
                tokio::time::sleep(longest.mul_f64(fastrand::f64())).await;
                longest = (2 * longest).min(LONGEST_STEP_BACK);
                body = self.release_body(id).await?;
                continue;
            }
            // Only one attempt per reading: a repeated PATCH would undo what others wrote while it was waiting.
            while let Err(answer) = self.write_body(&url, &wanted).await {
                self.pause(&mut retry, "PATCH", &url, answer).await?;
                if self.release_body(id).await? != body {
                    break;
                }
            }
            (edited, is_settled) = (Edited::Written, false);
            body = self.release_body(id).await?;
        }
    }

    async fn release_body(&self, id: u64) -> Result<String, Error> {
        let release: Release = self.get(self.url(&["releases", &id.to_string()])).await?;
        Ok(release.body)
    }

    /// Writes the notes, without retrying.
    async fn write_body(&self, url: &Url, body: &str) -> Result<(), Answer> {
        let body = serde_json::json!({ "body": body });
        attempt(self.client.patch::<serde::de::IgnoredAny, _, _>(url.as_str(), Some(&body))).await.map(drop)
    }
}
