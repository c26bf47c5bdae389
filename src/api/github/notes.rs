//! Editing the notes of a release, which others may edit at the same time.

use std::time::{Duration, Instant};

use url::Url;

use super::answer::Answer;
use super::{Error, GitHub, Release, attempt};

/// The first wait after the notes have changed under our hands, at most; each later one may be twice as long.
const FIRST_STEP_BACK: Duration = Duration::from_millis(250);
/// The longest such wait.
const LONGEST_STEP_BACK: Duration = Duration::from_secs(8);
/// How long after a write the notes are looked at once more: somebody who read them before it may write after it.
const SETTLING: Duration = Duration::from_millis(500);

/// What became of the notes of a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edited {
    /// They were as they should be.
    AlreadyThere,
    /// They were written, and read back.
    Written,
}

impl std::fmt::Display for Edited {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::AlreadyThere => "the section is as it should be",
            Self::Written => "the section is written",
        })
    }
}

impl GitHub {
    /// Brings the notes of release `id` to where `edit` changes nothing any more.
    ///
    /// GitHub has no conditional write. So the notes are read right before they are written, and afterwards, and
    /// `edit` is applied again whenever they are not what it was applied to. It must give its own result back unchanged.
    /// What somebody writes in the one round trip between reading and writing is lost, unless somebody is a run of this program,
    /// which looks again half a second later. Jobs of one workflow may all come here at
    /// once, so whoever finds the notes changed steps back for a random while, until the deadline.
    ///
    /// # Errors
    /// Those of `edit`, a refusal, and [`Error::Contended`] where the notes keep changing.
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
            // Only one attempt for each reading: a repeated PATCH would undo what was written while it waited.
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

    /// Writes the notes, in one attempt.
    async fn write_body(&self, url: &Url, body: &str) -> Result<(), Answer> {
        let body = serde_json::json!({ "body": body });
        attempt(self.client.patch::<serde::de::IgnoredAny, _, _>(url.as_str(), Some(&body))).await.map(drop)
    }
}
