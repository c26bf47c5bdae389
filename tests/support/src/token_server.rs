//! A token server: the counterpart of distribution's `auth: token`, in the way of GHCR and Docker Hub.
//!
//! Specifications: [token authentication] and its [JWT]s. Tokens are signed with a key made at the start. Each token
//! contains the certificate for that key (`x5c`), which distribution 2 and 3 both check against their `rootcertbundle`.
//!
//! [token authentication]: https://distribution.github.io/distribution/spec/auth/token/
//! [JWT]: https://distribution.github.io/distribution/spec/auth/jwt/

use std::sync::{Arc, Mutex, MutexGuard};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use chrono::{SecondsFormat, Utc};
use http_body_util::BodyExt as _;
use hyper::header::{AUTHORIZATION, HeaderValue, LOCATION};
use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode};
use serde_json::{Value, json};

use crate::http::{Body, Server, json as answer, query_values};

mod mint;

pub use mint::Mint;

/// A request that the token server answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRequest {
    /// The user with a correct password; `None` for anonymous requests and wrong passwords.
    pub user: Option<String>,
    /// The requested `service`.
    pub service: String,
    /// The requested scopes, as written: `repository:acme/tool:pull,push`.
    pub scopes: Vec<String>,
    /// The status of the answer.
    pub status: u16,
}

/// A running token server. Its rules can be changed while it runs, and it ends when it is dropped.
#[derive(Debug)]
pub struct TokenServer {
    server: Server,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    mint: Mint,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    lifetime: i64,
    users: Vec<(String, String)>,
    /// Identity tokens, and the user of each.
    identities: Vec<(String, String)>,
    grants: Vec<Grant>,
    anonymous_pull: bool,
    push_denied: bool,
    denials: usize,
    merges_no_scopes: bool,
    all_or_nothing: bool,
    moved: bool,
    requests: Vec<TokenRequest>,
}

#[derive(Debug)]
struct Grant {
    user: String,
    repository: String,
    actions: Vec<String>,
}

impl TokenServer {
    /// Starts a server without any user: its tokens permit nothing until [`TokenServer::add_user`] is called.
    pub fn start() -> Self {
        Self::start_on("127.0.0.1:0")
    }

    /// The same on another address; port 0 for any free one.
    pub fn start_on(address: &str) -> Self {
        let state = State {
            lifetime: 300,
            users: Vec::new(),
            identities: Vec::new(),
            grants: Vec::new(),
            anonymous_pull: false,
            push_denied: false,
            denials: 0,
            merges_no_scopes: false,
            all_or_nothing: false,
            moved: false,
            requests: Vec::new(),
        };
        let shared = Arc::new(Shared { mint: Mint::new(), state: Mutex::new(state) });
        let server = Server::start(address, {
            let shared = Arc::clone(&shared);
            move |request| {
                let shared = Arc::clone(&shared);
                async move {
                    let (head, body) = request.into_parts();
                    let body = body.collect().await?.to_bytes();
                    Ok(shared.answer(&head, &String::from_utf8_lossy(&body)))
                }
            }
        });
        Self { server, shared }
    }

    /// Adds a user who may do everything in every repository, until [`TokenServer::grant`] restricts that.
    pub fn add_user(&self, user: &str, password: &str) {
        self.state().users.push((user.into(), password.into()));
    }

    /// Makes `token` an identity token of `user`, which can be exchanged by OAuth2 (`POST`).
    pub fn add_identity(&self, user: &str, token: &str) {
        self.state().identities.push((token.into(), user.into()));
    }

    /// Restricts `user` to what is granted: `actions` (`pull,push`) in `repository`, or below it if that ends in `/*`.
    pub fn grant(&self, user: &str, repository: &str, actions: &str) {
        let actions = actions.split(',').map(str::to_owned).collect();
        self.state().grants.push(Grant { user: user.into(), repository: repository.into(), actions });
    }

    /// Lets requests without credentials pull from every repository.
    pub fn allow_anonymous_pull(&self) {
        self.state().anonymous_pull = true;
    }

    /// Issues tokens without `push` from now on, to everybody.
    pub fn deny_push(&self, denied: bool) {
        self.state().push_denied = denied;
    }

    /// Refuses the next `count` requests with 403 `denied`, as GHCR sometimes does to authorised users.
    pub fn deny_next(&self, count: usize) {
        self.state().denials = count;
    }

    /// Uses only the last of the requested scopes from now on, like GitLab.
    pub fn merge_no_scopes(&self) {
        self.state().merges_no_scopes = true;
    }

    /// Refuses a request with 403 `denied` from now on, if any action in its scopes isn't permitted.
    pub fn give_all_or_nothing(&self) {
        self.state().all_or_nothing = true;
    }

    /// Redirects requests from now on to another path, where they are answered.
    pub fn move_away(&self) {
        self.state().moved = true;
    }

    /// How many seconds a token is accepted, even by the registry: its leeway of sixty seconds is subtracted from the
    /// token's `exp`.
    pub fn set_lifetime(&self, seconds: i64) {
        self.state().lifetime = seconds;
    }

    /// All requests so far.
    pub fn requests(&self) -> Vec<TokenRequest> {
        self.state().requests.clone()
    }

    /// The URL for requesting tokens.
    pub fn realm(&self) -> String {
        format!("http://{}/token", self.server.host())
    }

    /// The `service` that a registry names in its challenge.
    pub fn service(&self) -> &'static str {
        Mint::SERVICE
    }

    /// The issuer in the tokens.
    pub fn issuer(&self) -> &'static str {
        Mint::ISSUER
    }

    /// The certificate for verifying tokens, as PEM.
    pub fn certificate(&self) -> &str {
        self.shared.mint.certificate()
    }

    /// The key that signs tokens, for making one without a request.
    pub fn mint(&self) -> Mint {
        self.shared.mint.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state()
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no request panics while it holds the rules")
    }

    fn answer(&self, request: &Parts, body: &str) -> Response<Body> {
        match request.uri.path() {
            "/token" if self.state().moved => {
                let mut moved = answer(StatusCode::TEMPORARY_REDIRECT, &json!({}));
                let query = request.uri.query().unwrap_or_default();
                let location = HeaderValue::from_str(&format!("/moved?{query}")).expect("a query is ASCII");
                moved.headers_mut().insert(LOCATION, location);
                return moved;
            }
            "/token" | "/moved" => {}
            _ => return answer(StatusCode::NOT_FOUND, &error("NOT_FOUND", "not found")),
        }
        let mut state = self.state();
        let is_exchange = request.method == Method::POST;
        // OAuth2 (POST) is optional; a client that tries it must fall back.
        let is_answered = request.method == Method::GET || (is_exchange && !state.identities.is_empty());
        if !is_answered {
            return answer(StatusCode::METHOD_NOT_ALLOWED, &error("UNSUPPORTED", "method not allowed"));
        }
        let query = if is_exchange { body } else { request.uri.query().unwrap_or_default() };
        let one = |name: &str| query_values(query, name).into_iter().next().unwrap_or_default();
        let scopes: Vec<String> =
            query_values(query, "scope").iter().flat_map(|scope| scope.split(' ')).map(str::to_owned).collect();
        let service = one("service");
        let credentials = request.headers.get(AUTHORIZATION).map(|value| credentials(value.as_bytes()));
        let user = match &credentials {
            _ if is_exchange => {
                let is_known = one("grant_type") == "refresh_token" && !one("client_id").is_empty();
                let token = one("refresh_token");
                let identity = state.identities.iter().find(|(identity, _)| is_known && *identity == token);
                identity.map(|(_, user)| Some(user.clone())).ok_or(())
            }
            None => Ok(None),
            Some(given) => state.users.iter().find(|user| *user == given).map(|user| Some(user.0.clone())).ok_or(()),
        };
        let response = match &user {
            Err(()) => answer(StatusCode::UNAUTHORIZED, &error("UNAUTHORIZED", "authentication required")),
            Ok(_) if state.denials > 0 => {
                state.denials -= 1;
                answer(StatusCode::FORBIDDEN, &error("DENIED", "denied"))
            }
            Ok(user)
                if state.all_or_nothing && !scopes.iter().all(|scope| state.allows_all(user.as_deref(), scope)) =>
            {
                answer(StatusCode::FORBIDDEN, &error("DENIED", "denied"))
            }
            Ok(user) => {
                let skipped = if state.merges_no_scopes { scopes.len().saturating_sub(1) } else { 0 };
                let access: Vec<Value> =
                    scopes.iter().skip(skipped).filter_map(|scope| state.access(user.as_deref(), scope)).collect();
                let token = self.mint.sign(user.as_deref().unwrap_or_default(), &service, &access, state.lifetime);
                let issued_at = Utc::now().to_rfc3339_opts(SecondsFormat::Secs, true);
                let mut body = json!({ "access_token": token, "expires_in": state.lifetime, "issued_at": issued_at });
                if !is_exchange {
                    body["token"] = token.into();
                }
                answer(StatusCode::OK, &body)
            }
        };
        let status = response.status().as_u16();
        state.requests.push(TokenRequest { user: user.ok().flatten(), service, scopes, status });
        response
    }
}

impl State {
    /// The permitted part of a scope, as an entry of the token's `access`.
    fn access(&self, user: Option<&str>, scope: &str) -> Option<Value> {
        let (kind, rest) = scope.split_once(':')?;
        let (name, actions) = rest.rsplit_once(':')?;
        if kind != "repository" {
            return None;
        }
        let allowed: Vec<&str> = actions.split(',').filter(|action| self.allows(user, name, action)).collect();
        (!allowed.is_empty()).then(|| json!({ "type": kind, "name": name, "actions": allowed }))
    }

    fn allows_all(&self, user: Option<&str>, scope: &str) -> bool {
        let granted = self.access(user, scope);
        let granted = granted.as_ref().and_then(|access| access["actions"].as_array()).map_or(0, Vec::len);
        granted == scope.rsplit(':').next().unwrap_or_default().split(',').count()
    }

    fn allows(&self, user: Option<&str>, repository: &str, action: &str) -> bool {
        if action == "push" && self.push_denied {
            return false;
        }
        let Some(user) = user else { return self.anonymous_pull && action == "pull" };
        let mut grants = self.grants.iter().filter(|grant| grant.user == user).peekable();
        grants.peek().is_none()
            || grants.any(|grant| grant.covers(repository) && grant.actions.iter().any(|granted| granted == action))
    }
}

impl Grant {
    fn covers(&self, repository: &str) -> bool {
        match self.repository.strip_suffix('*') {
            Some(prefix) => repository.starts_with(prefix),
            None => repository == self.repository,
        }
    }
}

/// User and password of a `Basic` header; empty ones, which no user has, for any other header.
fn credentials(header: &[u8]) -> (String, String) {
    let text = std::str::from_utf8(header).unwrap_or_default();
    let decoded = text.strip_prefix("Basic ").and_then(|encoded| BASE64.decode(encoded).ok());
    let pair = decoded.and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default();
    let (user, password) = pair.split_once(':').unwrap_or_default();
    (user.into(), password.into())
}

fn error(code: &str, message: &str) -> Value {
    json!({ "errors": [{ "code": code, "message": message }] })
}

#[cfg(test)]
mod tests;
