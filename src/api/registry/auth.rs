//! Authentication, by password or by a [token](https://distribution.github.io/distribution/spec/auth/token/) with the
//! scopes that a request needs.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use chrono::{DateTime, Utc};
use reqwest::Method;
use reqwest::header::{ACCEPT, AUTHORIZATION, DATE, HeaderMap, HeaderValue};
use serde::Deserialize;
use tokio::sync::OnceCell;
use tokio::time::Instant;
use url::Url;

use super::answer::{Answer, refused};
use super::call::{Call, Payload};
use super::challenge::Challenge;
use super::error::{Cause, Request};
use super::scope::Scopes;
use super::transport::REDIRECTS;
use super::trouble::Trouble;
use super::{Credential, Registries, endpoint, identity, lock};
use crate::image::Repository;
use crate::quote::quoted;
use crate::secret::Secret;

/// The largest response of a token server, in bytes.
const ANSWER: u64 = 256 * 1024;
/// How long a token is valid if the server doesn't say so; the default of the specification.
const LIFETIME: Duration = Duration::from_secs(60);

/// The access that a request needs.
#[derive(Clone, Copy, Debug)]
pub(super) enum Access<'a> {
    /// Reading.
    Pull,
    /// Reading and writing.
    Push,
    /// Writing, and reading from another repository of the same registry.
    Mount(&'a Repository),
    /// Cancelling an upload, which some registries count as deleting.
    Cancel,
}

impl Access<'_> {
    pub(super) const fn pushes(&self) -> bool {
        !matches!(self, Self::Pull)
    }

    /// Whether a refusal doesn't matter, because there is another way.
    const fn is_dispensable(&self) -> bool {
        matches!(self, Self::Mount(_) | Self::Cancel)
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

/// On whose behalf a request is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Identity {
    /// The user in the credentials for the registry.
    User,
    /// An anonymous client.
    Anonymous,
}

/// The value of an `Authorization` header.
#[derive(Clone)]
pub(super) struct Authorization {
    value: HeaderValue,
    /// Whether it was obtained for this very request.
    fresh: bool,
    /// When a token expires. The request may have waited for so long that others are served first.
    good_until: Option<Instant>,
    /// The scopes that the token was requested with; `None` for a password.
    scopes: Option<Scopes>,
}

impl Authorization {
    pub(super) fn value(&self) -> &HeaderValue {
        &self.value
    }

    /// Whether it was obtained for this very request, and hasn't expired before the request was sent.
    fn is_fresh(&self) -> bool {
        self.fresh && self.good_until.is_none_or(|end| Instant::now() < end)
    }

    /// Whether the challenge asks for a different authorization.
    fn may_be_replaced(&self, challenge: &Challenge) -> bool {
        match &self.scopes {
            None => *challenge != Challenge::Basic,
            Some(scopes) => !self.is_fresh() || scopes.after(challenge, true).is_some(),
        }
    }
}

/// Credentials, and facts about registries that earlier answers have shown.
pub(super) struct Auth {
    credentials: Vec<Credential>,
    /// The authentication that each registry asks for, without scopes, since these depend on the request.
    challenges: Mutex<HashMap<String, Challenge>>,
    /// The registries whose `/v2/` has been requested.
    asked: Mutex<HashMap<String, Arc<OnceCell<()>>>>,
    /// The repositories that anybody may read, except for the registry's user.
    open: Mutex<HashSet<Repository>>,
    tokens: Mutex<HashMap<Key, Slot>>,
}

/// A registry, the scopes that we ask for, and on whose behalf.
type Key = (String, Vec<String>, Identity);
/// The place for a token. It is locked while the token is requested, so that all requests that need the token wait for
/// one answer.
type Slot = Arc<tokio::sync::Mutex<Held>>;

#[derive(Default)]
struct Held {
    scopes: Scopes,
    token: Option<Token>,
}

struct Token {
    value: HeaderValue,
    good_until: Instant,
}

/// The response of a token server.
#[derive(Deserialize)]
struct Issued {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<f64>,
    issued_at: Option<String>,
}

/// The token server of a registry.
#[derive(Clone, Copy)]
struct Realm<'a> {
    url: &'a str,
    service: Option<&'a str>,
}

impl Auth {
    pub(super) fn new(credentials: &[Credential]) -> Self {
        Self {
            credentials: credentials.to_vec(),
            challenges: Mutex::default(),
            asked: Mutex::default(),
            open: Mutex::default(),
            tokens: Mutex::default(),
        }
    }

    pub(super) fn has_credentials(&self, repository: &Repository) -> bool {
        self.credential(repository).is_some()
    }

    /// On whose behalf to send a request.
    pub(super) fn identity(&self, call: &Call<'_>) -> Identity {
        let is_open = || !call.access.pushes() && lock(&self.open).contains(call.repository);
        match self.has_credentials(call.repository) && !is_open() {
            true => Identity::User,
            false => Identity::Anonymous,
        }
    }

    /// Reads a repository without credentials from now on.
    pub(super) fn read_anonymously(&self, repository: &Repository) {
        lock(&self.open).insert(repository.clone());
    }

    fn credential(&self, repository: &Repository) -> Option<&Credential> {
        Credential::find(&self.credentials, repository)
    }

    fn credential_of(&self, identity: Identity, repository: &Repository) -> Option<&Credential> {
        self.credential(repository).filter(|_| identity == Identity::User)
    }

    /// The header with the user's password. There is none for an identity token.
    fn basic(&self, identity: Identity, repository: &Repository) -> Option<Authorization> {
        let credential = self.credential_of(identity, repository)?;
        Some(Authorization { value: password(credential)?, fresh: true, good_until: None, scopes: None })
    }

    fn slot(&self, call: &Call<'_>, identity: Identity) -> Slot {
        let ours = call.access.scopes(call.repository);
        let key = (call.repository.registry().to_owned(), ours.clone(), identity);
        let held = || Arc::new(tokio::sync::Mutex::new(Held { scopes: Scopes::new(ours), token: None }));
        Arc::clone(lock(&self.tokens).entry(key).or_insert_with(held))
    }
}

impl Registries {
    /// The authorization for a first attempt, according to the registry's earlier challenges.
    pub(super) async fn authorization(
        &self,
        call: &Call<'_>,
        identity: Identity,
    ) -> Result<Option<Authorization>, Trouble> {
        let registry = call.repository.registry();
        let challenge = lock(&self.0.auth.challenges).get(registry).cloned();
        match challenge {
            None => Ok(None),
            Some(Challenge::Basic) => Ok(self.0.auth.basic(identity, call.repository)),
            Some(Challenge::Bearer { realm, service, .. }) => {
                let realm = Realm { url: &realm, service: service.as_deref() };
                match self.token(call, identity, realm, None).await {
                    Ok(token) => Ok(Some(token)),
                    // The registry may call the needed scope by another name, which its challenge will contain.
                    Err(trouble) if trouble.hint.is_some() && !call.access.is_dispensable() => Ok(None),
                    Err(trouble) => Err(trouble),
                }
            }
        }
    }

    /// Whether [`Self::renew`] has an authorization for another attempt, after the registry refused the one in `used`.
    pub(super) fn can_answer(
        &self,
        call: &Call<'_>,
        identity: Identity,
        challenge: &Challenge,
        used: Option<&Authorization>,
    ) -> bool {
        let has_password = self.0.auth.basic(identity, call.repository).is_some();
        (has_password || *challenge != Challenge::Basic) && used.is_none_or(|used| used.may_be_replaced(challenge))
    }

    /// The authorization that a challenge asks for; `None` if it asks for a password and there is none.
    pub(super) async fn renew(
        &self,
        call: &Call<'_>,
        identity: Identity,
        challenge: &Challenge,
        used: Option<&Authorization>,
    ) -> Result<Option<Authorization>, Trouble> {
        let registry = call.repository.registry();
        self.0.auth.learn(registry, challenge);
        let Challenge::Bearer { realm, service, .. } = challenge else {
            return Ok(self.0.auth.basic(identity, call.repository));
        };
        let realm = Realm { url: realm, service: service.as_deref() };
        let authorization = self.token(call, identity, realm, Some((challenge, used))).await?;
        // If the refused request didn't have the cached token yet, that token gets one chance. After that, only a new
        // one does.
        let fresh = authorization.fresh || used.is_some();
        Ok(Some(Authorization { fresh, ..authorization }))
    }

    /// The authorization to try if a request is refused without a challenge: some registries send one only for `/v2/`.
    /// A registry that doesn't send one there either gets the password.
    ///
    /// # Errors
    /// The registry doesn't answer.
    pub(super) async fn unasked(&self, call: &Call<'_>, identity: Identity) -> Result<Option<Authorization>, Trouble> {
        let registry = call.repository.registry();
        let asked = Arc::clone(lock(&self.0.auth.asked).entry(registry.to_owned()).or_default());
        asked.get_or_try_init(|| self.ask(call)).await?;
        let challenge = lock(&self.0.auth.challenges).get(registry).cloned().unwrap_or(Challenge::Basic);
        self.renew(call, identity, &challenge, None).await
    }

    /// Asks a registry for its challenge.
    async fn ask(&self, call: &Call<'_>) -> Result<(), Trouble> {
        let registry = call.repository.registry();
        let mut url = self.url(call.repository, "");
        url.set_path("/v2/");
        let request = Request { repository: call.repository.to_string(), method: "GET".into(), path: "/v2/".into() };
        let answer = self.exchange(request, "other", Method::GET, url, HeaderMap::new(), &Payload::Empty).await?;
        let challenge = answer.challenge().filter(|_| answer.status() == 401).unwrap_or(Challenge::Basic);
        // A challenge to a request takes precedence.
        lock(&self.0.auth.challenges).entry(registry.to_owned()).or_insert_with(|| challenge.without_scopes());
        Ok(())
    }

    /// The token for a request: the cached one, unless it is about to expire or a challenge has refused it.
    async fn token(
        &self,
        call: &Call<'_>,
        identity: Identity,
        realm: Realm<'_>,
        refusal: Option<(&Challenge, Option<&Authorization>)>,
    ) -> Result<Authorization, Trouble> {
        let slot = self.0.auth.slot(call, identity);
        let mut held = slot.lock().await;
        if let Some((challenge, used)) = refusal {
            // The token that was used may be older than the cached one.
            let used = used.filter(|used| held.token.as_ref().is_some_and(|token| token.value == used.value));
            let is_fresh = used.is_some_and(Authorization::is_fresh);
            let scopes = held.scopes.after(challenge, is_fresh).unwrap_or_else(|| held.scopes.clone());
            if used.is_some() || scopes != held.scopes {
                *held = Held { scopes, token: None };
            }
        }
        if let Some(token) = held.token.as_ref().filter(|token| Instant::now() < token.good_until) {
            let scopes = Some(held.scopes.clone());
            let good_until = Some(token.good_until);
            return Ok(Authorization { value: token.value.clone(), fresh: false, good_until, scopes });
        }
        let mut retry = self.retry();
        loop {
            let trouble = match self.fetch_token(call, identity, realm, &held.scopes.asked()).await {
                Ok(token) => {
                    let (value, good_until) = (token.value.clone(), Some(token.good_until));
                    held.token = Some(token);
                    return Ok(Authorization { value, fresh: true, good_until, scopes: Some(held.scopes.clone()) });
                }
                Err(trouble) => self.token_refused(call, trouble),
            };
            let is_denied = trouble.hint.is_some();
            if let Some(scopes) = held.scopes.without_ours().filter(|_| is_denied) {
                held.scopes = scopes;
                continue;
            }
            // Something else is tried first: waiting for a challenge to the request itself, or sending no credentials.
            let may_be_anonymous = identity == Identity::User && !call.access.pushes();
            if call.access.is_dispensable() || (is_denied && (refusal.is_none() || may_be_anonymous)) {
                return Err(trouble);
            }
            let request = trouble.request.clone();
            retry.pause(trouble).await.map_err(|error| Trouble::other(request, error))?;
        }
    }

    async fn fetch_token(
        &self,
        call: &Call<'_>,
        identity: Identity,
        realm: Realm<'_>,
        scopes: &[String],
    ) -> Result<Token, Trouble> {
        let request =
            |path: String| Request { repository: call.repository.to_string(), method: "GET".to_owned(), path };
        let malformed = |path, what: &str| Trouble::new(request(path), Cause::Malformed(what.to_owned()));
        let url: Url = realm.url.parse().map_err(|_| malformed(quoted(realm.url), "`realm` is not a URL"))?;
        let path = quoted(&format!("{}{}", endpoint::authority(&url), url.path()));
        let credential = self.0.auth.credential_of(identity, call.repository);
        let asked_at = Instant::now();
        let answer = self.ask_realm(&request(path.clone()), url, realm.service, scopes, credential).await?;
        if answer.status() != 200 {
            return Err(refused(answer).await);
        }
        let date = answer.header(DATE.as_str()).and_then(|date| DateTime::parse_from_rfc2822(date).ok());
        let body = answer.bytes("the token server's answer", ANSWER).await?;
        // The parser's own message would contain a part of the token.
        let issued: Issued = serde_json::from_slice(&body).map_err(|_| malformed(path.clone(), "it is not a token"))?;
        let good_for = good_for(&issued, date.map(|date| date.with_timezone(&Utc)));
        let token = issued.token.or(issued.access_token).and_then(Secret::new);
        token.iter().for_each(|token| self.0.options.issued.tell(token));
        let value = token.and_then(|token| secret(&format!("Bearer {}", token.expose())));
        let value = value.ok_or_else(|| malformed(path, "it is not a token"))?;
        Ok(Token { value, good_until: asked_at + good_for })
    }

    /// Sends a request to a token server, and follows its redirects. Passwords and identity tokens stay at the origin
    /// that the registry named.
    async fn ask_realm(
        &self,
        request: &Request,
        mut url: Url,
        service: Option<&str>,
        scopes: &[String],
        credential: Option<&Credential>,
    ) -> Result<Answer, Trouble> {
        let home = url.origin();
        let identity_token = credential.filter(|credential| credential.is_identity_token());
        if identity_token.is_none() {
            url.query_pairs_mut()
                .extend_pairs(service.map(|service| ("service", service)))
                .extend_pairs(scopes.iter().map(|scope| ("scope", scope)));
        }
        for _ in 0..=REDIRECTS {
            self.check(request, &url)?;
            let is_home = url.origin() == home;
            let (method, headers, body) = match identity_token {
                Some(token) if is_home => (
                    Method::POST,
                    identity::headers(),
                    Payload::Bytes(identity::form(&token.password, service, scopes)),
                ),
                _ => {
                    let mut headers = HeaderMap::new();
                    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
                    if let Some(password) = credential.filter(|_| is_home).and_then(password) {
                        headers.insert(AUTHORIZATION, password);
                    }
                    (Method::GET, headers, Payload::Empty)
                }
            };
            let answer = self.exchange(request.clone(), "token", method, url, headers, &body).await?;
            match answer.redirect() {
                Some(next) => url = next,
                None => return Ok(answer),
            }
        }
        Err(Trouble::new(request.clone(), Cause::Malformed(format!("more than {REDIRECTS} redirects"))))
    }
}

impl Auth {
    fn learn(&self, registry: &str, challenge: &Challenge) {
        lock(&self.challenges).insert(registry.to_owned(), challenge.without_scopes());
    }
}

/// How long a token is used, from the time of its request: less than its lifetime, since requests take time. `now` is
/// the time of the server's clock, because the token's date is as well.
fn good_for(issued: &Issued, now: Option<DateTime<Utc>>) -> Duration {
    // An implausible lifetime (negative, or longer than a day) is cut.
    let seconds = issued.expires_in.filter(|s| s.is_finite()).map(|s| s.clamp(0.0, 86_400.0));
    let lifetime = seconds.map_or(LIFETIME, Duration::from_secs_f64);
    let issued_at = issued.issued_at.as_deref().and_then(|date| DateTime::parse_from_rfc3339(date).ok());
    let age = now.zip(issued_at).and_then(|(now, at)| now.signed_duration_since(at).to_std().ok()).unwrap_or_default();
    let left = lifetime.saturating_sub(age);
    left - (left / 5).min(Duration::from_secs(30))
}

/// The header with a password. There is none for an identity token.
fn password(credential: &Credential) -> Option<HeaderValue> {
    if credential.is_identity_token() {
        return None;
    }
    let pair = format!("{}:{}", credential.username, credential.password.expose());
    Some(secret(&format!("Basic {}", BASE64.encode(pair))).expect("Base64 is ASCII"))
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
    fn a_token_that_expired_while_its_request_waited_may_be_replaced() {
        let challenge = Challenge::Bearer { realm: String::new(), service: None, scopes: vec![] };
        for (seconds, may_be_replaced) in [(0, true), (300, false)] {
            let refused = Authorization {
                value: HeaderValue::from_static("Bearer t"),
                fresh: true,
                good_until: Some(Instant::now() + Duration::from_secs(seconds)),
                scopes: Some(Scopes::new(vec!["repository:a:pull".into()])),
            };
            assert_eq!(refused.may_be_replaced(&challenge), may_be_replaced);
        }
    }

    #[test]
    fn a_mount_needs_to_read_its_source() {
        let (uv, ruff): (Repository, Repository) = ("ghcr.io/a/uv".parse().unwrap(), "ghcr.io/a/ruff".parse().unwrap());
        assert_eq!(Access::Mount(&ruff).scopes(&uv), ["repository:a/uv:pull,push", "repository:a/ruff:pull"]);
        assert_eq!(Access::Pull.scopes(&uv), ["repository:a/uv:pull"]);
    }
}
