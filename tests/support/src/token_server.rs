//! A token server: the other half of distribution's `auth: token`, and of what GHCR and Docker Hub do.
//!
//! Specifications: [token authentication] and the [JWT] that it gives. Tokens are signed with a key made at the start; the
//! certificate over that key travels in each token (`x5c`), which distribution 2 and 3 both check against their `rootcertbundle`.
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

/// A request that the token server has answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRequest {
    /// The user who gave the right password; `None` for anonymous requests and for wrong passwords.
    pub user: Option<String>,
    /// The `service` asked for.
    pub service: String,
    /// The scopes asked for, each as written: `repository:acme/tool:pull,push`.
    pub scopes: Vec<String>,
    /// The status of the answer.
    pub status: u16,
}

/// A running token server. Its rules can be changed while it runs; it ends when it is dropped.
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
    /// Identity tokens, each with its user.
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
    /// Starts a server without any user: it gives tokens that allow nothing until [`TokenServer::add_user`] is called.
    pub fn start() -> Self {
        Self::start_on("127.0.0.1:0")
    }

    /// The same on another address; port 0 for any.
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

    /// Adds a user who may do everything in every repository, until [`TokenServer::grant`] says what exactly.
    pub fn add_user(&self, user: &str, password: &str) {
        self.state().users.push((user.into(), password.into()));
    }

    /// Makes `token` an identity token of `user`, which is exchanged by the OAuth2 way of asking (`POST`).
    pub fn add_identity(&self, user: &str, token: &str) {
        self.state().identities.push((token.into(), user.into()));
    }

    /// Restricts `user` to what is granted: `actions` (`pull,push`) in `repository`, or below it when it ends in `/*`.
    pub fn grant(&self, user: &str, repository: &str, actions: &str) {
        let actions = actions.split(',').map(str::to_owned).collect();
        self.state().grants.push(Grant { user: user.into(), repository: repository.into(), actions });
    }

    /// Lets requests without credentials pull, from every repository.
    pub fn allow_anonymous_pull(&self) {
        self.state().anonymous_pull = true;
    }

    /// From now on no token carries `push`, whoever asks; the token itself is still given.
    pub fn deny_push(&self, denied: bool) {
        self.state().push_denied = denied;
    }

    /// Refuses the next `count` requests with 403 `denied`, as GHCR does now and then to those who are allowed.
    pub fn deny_next(&self, count: usize) {
        self.state().denials = count;
    }

    /// From now on only the last scope that is asked for counts, as with GitLab.
    pub fn merge_no_scopes(&self) {
        self.state().merges_no_scopes = true;
    }

    /// From now on a request is refused with 403 `denied` if one action of its scopes isn't allowed.
    pub fn give_all_or_nothing(&self) {
        self.state().all_or_nothing = true;
    }

    /// From now on requests are redirected to another path, where they are answered.
    pub fn move_away(&self) {
        self.state().moved = true;
    }

    /// Seconds that a token is accepted for, by the registry too: its sixty seconds of leeway are taken off the token's `exp`.
    pub fn set_lifetime(&self, seconds: i64) {
        self.state().lifetime = seconds;
    }

    /// All requests so far.
    pub fn requests(&self) -> Vec<TokenRequest> {
        self.state().requests.clone()
    }

    /// The URL to ask for tokens.
    pub fn realm(&self) -> String {
        format!("http://{}/token", self.server.host())
    }

    /// The `service` that a registry names in its challenge.
    pub fn service(&self) -> &'static str {
        Mint::SERVICE
    }

    /// The issuer that the tokens name.
    pub fn issuer(&self) -> &'static str {
        Mint::ISSUER
    }

    /// The certificate that tokens are checked against, as PEM.
    pub fn certificate(&self) -> &str {
        self.shared.mint.certificate()
    }

    /// What signs the tokens, to make one without asking.
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
        // The OAuth2 way of asking (POST) is optional; who tries it is expected to fall back.
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
    /// The part of a scope that is allowed, as an entry of the token's `access`.
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

/// User and password of a `Basic` header; empty ones, which no user has, when it is something else.
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
