//! Credential helpers: programs `docker-credential-NAME` on `PATH`, with the protocol of
//! [docker-credential-helpers](https://github.com/docker/docker-credential-helpers#development).
//!
//! `get` reads the registry's address from standard input, and writes JSON or the text of an error to standard output.

use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::Credential;
use crate::hint::Input;
use crate::image::reference::DOCKER_HUB;
use crate::quote::quoted;
use crate::secret::Secret;

/// How long a helper may take: some of them ask a cloud service.
const PATIENCE: Duration = Duration::from_secs(30);
/// The longest answer that is read, in bytes.
const ANSWER: u64 = 1 << 20;
/// A helper's error if it has no credentials for a registry.
const NOT_FOUND: &str = "credentials not found in native keychain";

/// A helper that failed. The registry is then used without credentials.
#[derive(Debug, thiserror::Error)]
pub(super) enum HelperError {
    #[error(
        "`docker-credential-{0}` is not on `PATH`; helpers of the runner are not in the action's container, where a line of \
         {credentials} is needed",
        credentials = Input("credentials")
    )]
    NotThere(String),
    #[error("`{0}` is not the name of a credential helper")]
    NotAName(String),
    #[error("`docker-credential-{helper}` has no credentials for `{registry}`: {why}")]
    Failed { helper: String, registry: String, why: String },
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: String,
}

/// Asks `docker-credential-{helper}` for a registry's credential; `None` if it has none.
pub(super) async fn get(helper: &str, registry: &str) -> Result<Option<Credential>, HelperError> {
    // The name comes from a file: with a path in it, something outside of `PATH` would be run.
    if !helper.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)) {
        return Err(HelperError::NotAName(quoted(helper)));
    }
    let failed = |why: String| HelperError::Failed { helper: helper.to_owned(), registry: registry.to_owned(), why };
    let address = if registry == DOCKER_HUB { "https://index.docker.io/v1/" } else { registry };
    let running = tokio::task::spawn_blocking({
        let (helper, address) = (helper.to_owned(), address.to_owned());
        move || run(&helper, &address)
    });
    let (succeeded, said) = match running.await.expect("it doesn't panic") {
        Ok(Some(ended)) => ended,
        Ok(None) => return Err(failed(format!("it gave no answer within {} s", PATIENCE.as_secs()))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(HelperError::NotThere(helper.to_owned()));
        }
        Err(error) => return Err(failed(error.to_string())),
    };
    if !succeeded {
        let said = String::from_utf8_lossy(&said);
        return if said.trim() == NOT_FOUND { Ok(None) } else { Err(failed(quoted(&said))) };
    }
    // The parser's own message might contain the secret.
    let answer: Answer =
        serde_json::from_slice(&said).map_err(|_| failed("its answer is not the JSON of a credential".to_owned()))?;
    Ok(Secret::new(answer.secret).map(|password| Credential {
        registry: registry.to_owned(),
        username: answer.username,
        password,
    }))
}

/// Whether it succeeded, and its standard output; `None` if it took too long.
fn run(helper: &str, address: &str) -> std::io::Result<Option<(bool, Vec<u8>)>> {
    let until = Instant::now() + PATIENCE;
    let mut child = Command::new(format!("docker-credential-{helper}"))
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let (answers, answer) = mpsc::channel();
    if let Some(stdout) = child.stdout.take() {
        std::thread::spawn(move || {
            let mut said = Vec::new();
            let read = stdout.take(ANSWER).read_to_end(&mut said);
            // If the receiver is gone, the answer came too late.
            let _ = answers.send(read.map(|_| said));
        });
    }
    if let Some(mut stdin) = child.stdin.take() {
        // A helper that fails early reads nothing; its answer says why.
        let _ = stdin.write_all(address.as_bytes());
    }
    while Instant::now() < until {
        if let Some(status) = child.try_wait()? {
            let left = until.saturating_duration_since(Instant::now());
            return answer.recv_timeout(left).ok().map(|said| Ok((status.success(), said?))).transpose();
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill()?;
    child.wait()?;
    Ok(None)
}
