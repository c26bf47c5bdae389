//! Authentication: passwords, and [tokens](https://distribution.github.io/distribution/spec/auth/token/) with the
//! [scopes](https://distribution.github.io/distribution/spec/auth/scope/) that a request needs.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use chrono::{DateTime, Utc};
use reqwest::Method;
use reqwest::header::{ACCEPT, AUTHORIZATION, DATE, HeaderMap, HeaderValue};
use serde::Deserialize;
use tokio::time::Instant;
use url::Url;

use super::answer::refused;
use super::call::{Call, Payload};
use super::challenge::Challenge;
use super::error::{Cause, Request};
use super::retry::{Again, Trouble};
use super::{Credential, Registries, endpoint, identity, lock};
use crate::image::Repository;
use crate::quote::quoted;
use crate::secret::Secret;

/// The most that a token server may send.
const ANSWER: u64 = 256 * 1024;
/// How long a token is good for where its server doesn't say, as the specification has it.
const LIFETIME: Duration = Duration::from_secs(60);

/// What a request needs.
#[derive(Clone, Copy, Debug)]
pub(super) enum Access<'a> {
    /// To read.
    Pull,
    /// To read and to write.
    Push,
    /// To write, and to read from another repository of the same registry.
    Mount(&'a Repository),
    /// To cancel an upload, which some registries count as deleting.
    Cancel,
}

impl Access<'_> {
    pub(super) const fn pushes(&self) -> bool {
        !matches!(self, Self::Pull)
    }

    fn scopes(&self, repository: &Repository) -> Vec<String> {
        let scope = |repository: &Repository, actions| format!("repository:{}:{actions}", repository.path());
        match self {
            Self::Pull => vec![scope(repository, "pull")],
            Self::Push => vec![scope(repository, "pull,push")],
            Self::Cancel => vec![scope(repository, "pull,push,delete")],
            Self::Mount(source) => vec![scope(repository, "pull,push"), scope(source, "pull")],
        }
    }
}

/// The value of an `Authorization` header.
#[derive(Clone)]
pub(super) struct Authorization {
    value: HeaderValue,
    fresh: bool,
}

impl Authorization {
    /// Whether there is no better one: it was made for this request, or is a password.
    pub(super) fn is_fresh(&self) -> bool {
        self.fresh
    }

    pub(super) fn value(&self) -> &HeaderValue {
        &self.value
    }
}

/// Credentials, and what was learned and received from registries.
pub(super) struct Auth {
    credentials: Vec<Credential>,
    challenges: Mutex<HashMap<String, Challenge>>,
    tokens: Mutex<HashMap<Key, Slot>>,
}

/// A registry and the scopes of a token.
type Key = (String, Vec<String>);
/// A token, or the place where one is about to be: it is locked while it is fetched, so that all who need it wait for one request.
type Slot = Arc<tokio::sync::Mutex<Option<Token>>>;

struct Token {
    value: HeaderValue,
    good_until: Instant,
}

/// What a token server answers.
#[derive(Deserialize)]
struct Issued {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<f64>,
    issued_at: Option<String>,
}

impl Auth {
    pub(super) fn new(credentials: &[Credential]) -> Self {
        Self { credentials: credentials.to_vec(), challenges: Mutex::default(), tokens: Mutex::default() }
    }

    pub(super) fn has_credentials(&self, repository: &Repository) -> bool {
        self.credential(repository).is_some()
    }

    pub(super) fn credential(&self, repository: &Repository) -> Option<&Credential> {
        Credential::find(&self.credentials, repository)
    }

    /// The header with the password for a repository; an identity token is none.
    pub(super) fn password(&self, repository: &Repository) -> Option<HeaderValue> {
        let credential = self.credential(repository).filter(|credential| !credential.is_identity_token())?;
        let pair = format!("{}:{}", credential.username, credential.password.expose());
        Some(secret(&format!("Basic {}", BASE64.encode(pair))).expect("Base64 is ASCII"))
    }

    fn slot(&self, call: &Call<'_>) -> Slot {
        let key = (call.repository.registry().to_owned(), call.access.scopes(call.repository));
        Arc::clone(lock(&self.tokens).entry(key).or_default())
    }
}

impl Registries {
    /// The authorization for a first attempt, by the registry's earlier challenges.
    pub(super) async fn authorization(&self, call: &Call<'_>) -> Result<Option<Authorization>, Trouble> {
        let registry = call.repository.registry();
        let challenge = lock(&self.0.auth.challenges).get(registry).cloned();
        match challenge {
            None => Ok(None),
            Some(Challenge::Basic) => {
                Ok(self.0.auth.password(call.repository).map(|value| Authorization { value, fresh: true }))
            }
            Some(Challenge::Bearer { realm, service }) => {
                self.token(call, &realm, service.as_deref(), None).await.map(Some)
            }
        }
    }

    /// The authorization for the next attempt, after the registry has refused the one that was `used`.
    pub(super) async fn renew(
        &self,
        call: &Call<'_>,
        challenge: Challenge,
        used: Option<&Authorization>,
    ) -> Result<Authorization, Trouble> {
        let registry = call.repository.registry();
        lock(&self.0.auth.challenges).insert(registry.to_owned(), challenge.clone());
        let authorization = match challenge {
            Challenge::Basic => {
                let password = self.0.auth.password(call.repository);
                let value = password.expect("a challenge is answered if there are credentials");
                Authorization { value, fresh: true }
            }
            Challenge::Bearer { realm, service } => self.token(call, &realm, service.as_deref(), used).await?,
        };
        // A cached token that the refused request didn't have yet gets its chance; after that only a new one.
        let fresh = authorization.fresh || used.is_some();
        Ok(Authorization { fresh, ..authorization })
    }

    /// The token for a request: the one we have, unless it is about to expire or is the one that was `refused`.
    async fn token(
        &self,
        call: &Call<'_>,
        realm: &str,
        service: Option<&str>,
        refused: Option<&Authorization>,
    ) -> Result<Authorization, Trouble> {
        let slot = self.0.auth.slot(call);
        let mut token = slot.lock().await;
        if let Some(token) = &*token {
            let is_refused = refused.is_some_and(|refused| refused.value == token.value);
            if !is_refused && Instant::now() < token.good_until {
                return Ok(Authorization { value: token.value.clone(), fresh: false });
            }
        }
        let mut retry = self.retry();
        loop {
            match self.fetch_token(call, realm, service).await {
                Ok(fetched) => {
                    let value = fetched.value.clone();
                    *token = Some(fetched);
                    return Ok(Authorization { value, fresh: true });
                }
                Err(trouble) => {
                    let request = trouble.request.clone();
                    let trouble = self.token_refused(call, trouble);
                    retry.pause(trouble).await.map_err(|error| Trouble::last(request, error))?;
                }
            }
        }
    }

    async fn fetch_token(&self, call: &Call<'_>, realm: &str, service: Option<&str>) -> Result<Token, Trouble> {
        let request =
            |path: String| Request { repository: call.repository.to_string(), method: "GET".to_owned(), path };
        let malformed =
            |path, what: &str| Trouble::new(request(path), Cause::Malformed(what.to_owned()), Again::FewTimes);
        let mut url: Url = realm.parse().map_err(|_| malformed(quoted(realm), "`realm` is no URL"))?;
        let path = quoted(&format!("{}{}", endpoint::authority(&url), url.path()));
        let request = request(path.clone());
        self.check(&request, &url)?;
        let scopes = call.access.scopes(call.repository);
        let asked_at = Instant::now();
        let credential = self.0.auth.credential(call.repository);
        let answer = match credential.filter(|credential| credential.is_identity_token()) {
            Some(credential) => {
                let form = identity::form(&credential.password, service, &scopes);
                self.exchange(request, "token", Method::POST, url, identity::headers(), &Payload::Bytes(form)).await?
            }
            None => {
                url.query_pairs_mut()
                    .extend_pairs(service.map(|service| ("service", service)))
                    .extend_pairs(scopes.iter().map(|scope| ("scope", scope)));
                let mut headers = HeaderMap::new();
                headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
                if let Some(password) = self.0.auth.password(call.repository) {
                    headers.insert(AUTHORIZATION, password);
                }
                self.exchange(request, "token", Method::GET, url, headers, &Payload::Empty).await?
            }
        };
        if answer.status() != 200 {
            return Err(refused(answer).await);
        }
        let date = answer.header(DATE.as_str()).and_then(|date| DateTime::parse_from_rfc2822(date).ok());
        let body = answer.bytes("the token server's answer", ANSWER).await?;
        // The parser's own message would show a part of the token.
        let issued: Issued = serde_json::from_slice(&body).map_err(|_| malformed(path.clone(), "it is no token"))?;
        let good_for = good_for(&issued, date.map(|date| date.with_timezone(&Utc)));
        let token = issued.token.or(issued.access_token).and_then(Secret::new);
        token.iter().for_each(|token| self.0.options.issued.tell(token));
        let value = token.and_then(|token| secret(&format!("Bearer {}", token.expose())));
        let value = value.ok_or_else(|| malformed(path, "it is no token"))?;
        Ok(Token { value, good_until: asked_at + good_for })
    }
}

/// How long a token is used, from the moment when it was asked for: less than it lives, since requests take their time. `now` is the
/// server's clock, since the token's date is, too.
fn good_for(issued: &Issued, now: Option<DateTime<Utc>>) -> Duration {
    // A lifetime that isn't one (negative, or longer than a day's work) is cut.
    let seconds = issued.expires_in.filter(|s| s.is_finite()).map(|s| s.clamp(0.0, 86_400.0));
    let lifetime = seconds.map_or(LIFETIME, Duration::from_secs_f64);
    let issued_at = issued.issued_at.as_deref().and_then(|date| DateTime::parse_from_rfc3339(date).ok());
    let age = now.zip(issued_at).and_then(|(now, at)| now.signed_duration_since(at).to_std().ok()).unwrap_or_default();
    let left = lifetime.saturating_sub(age);
    left - (left / 5).min(Duration::from_secs(30))
}

fn secret(value: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(value).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_renewed_before_it_expires() {
        let now = Some("2026-01-15T20:44:00Z".parse().unwrap());
        for (json, seconds) in [
            (r#"{"token":"t"}"#, 48),
            (r#"{"token":"t","expires_in":300}"#, 270),
            (r#"{"token":"t","expires_in":5}"#, 4),
            (r#"{"token":"t","expires_in":300,"issued_at":"2026-01-15T20:43:00Z"}"#, 210),
            (r#"{"token":"t","expires_in":300,"issued_at":"2026-01-15T20:45:00Z"}"#, 270),
            (r#"{"token":"t","expires_in":300,"issued_at":"2020-01-01T00:00:00Z"}"#, 0),
            (r#"{"token":"t","expires_in":300,"issued_at":"yesterday"}"#, 270),
            (r#"{"token":"t","expires_in":-7}"#, 0),
            (r#"{"token":"t","expires_in":1e300}"#, 86_370),
        ] {
            let issued = serde_json::from_str(json).unwrap();
            assert_eq!(good_for(&issued, now), Duration::from_secs(seconds), "{json}");
        }
    }

    #[test]
    fn a_mount_needs_to_read_its_source() {
        let (uv, ruff): (Repository, Repository) = ("ghcr.io/a/uv".parse().unwrap(), "ghcr.io/a/ruff".parse().unwrap());
        assert_eq!(Access::Mount(&ruff).scopes(&uv), ["repository:a/uv:pull,push", "repository:a/ruff:pull"]);
        assert_eq!(Access::Pull.scopes(&uv), ["repository:a/uv:pull"]);
    }
}
