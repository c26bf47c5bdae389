//! A stand-in for GitHub's REST API that holds the releases of one repository.
//!
//! It judges every request, and every answer of its own, by [GitHub's OpenAPI description](description): a request that the
//! description doesn't allow is refused with 422 and kept as a violation, and so is an answer that is not what GitHub would
//! send (500). What the description leaves open (who may do what, limits, texts of refusals) follows the [documentation].
//!
//! [documentation]: https://docs.github.com/en/rest/releases/releases

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, LINK, USER_AGENT};
use hyper::{Request, Response, StatusCode};
use serde_json::{Value, json};

use crate::http::{Body, Failure as Broken, Server, full, query_pairs};
use crate::parts;

pub mod description;
mod failure;
mod payload;
mod release;
mod route;
mod store;

pub use description::Description;
pub use failure::Failure;
pub use release::Release;

use description::Given;
use payload::Place;
use route::{Operation, Route};
use store::Store;

/// A token that may write the repository's contents.
pub const WRITE_TOKEN: &str = "ghs_16C7e42F292c6912E7710c838347Ae178B4a";

/// A token of a workflow that has `contents: read`.
pub const READ_TOKEN: &str = "ghs_9f4Kd27Qm31xTbWc58Zr06VnLs41Ye73Hu20";

/// How a stand-in is set up.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The address to listen on; port 0 for any.
    pub listen: String,
    /// `owner/name`.
    pub repository: String,
    /// The releases there are.
    pub releases: Vec<Release>,
    /// A token that may write, beside [`WRITE_TOKEN`].
    pub token: Option<String>,
    /// GitHub's description; nothing is judged without it.
    pub description: Option<Arc<Description>>,
    /// A file that keeps the releases from one run to the next.
    pub state: Option<PathBuf>,
    /// Whether each request gets a line on standard error.
    pub log: bool,
}

/// A request that the stand-in has answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Asked {
    /// `GET`, `PATCH`.
    pub method: String,
    /// Path and query, as sent.
    pub target: String,
    /// Whether it carried credentials.
    pub authorized: bool,
    /// Its body.
    pub body: Option<Value>,
    /// The status of the answer, `None` where the connection was closed instead.
    pub status: Option<u16>,
}

/// A running stand-in. It ends when it is dropped, and panics then if it has seen violations that nobody took.
#[derive(Debug)]
pub struct GitHub {
    server: Server,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    setup: Setup,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    store: Store,
    failures: failure::Failures,
    edits: Vec<(String, String)>,
    requests: Vec<Asked>,
    violations: Vec<String>,
}

/// An answer before it is judged.
struct Reply {
    status: u16,
    media_type: &'static str,
    body: Value,
    link: Option<String>,
}

/// What a request's credentials allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    Anonymous,
    Read,
    Write,
}

impl GitHub {
    /// Starts a stand-in for `repository` (`owner/name`) on loopback, or gives `None` where GitHub's description is
    /// not at hand ([`parts::github_openapi`]).
    pub fn start(repository: &str, releases: Vec<Release>) -> Option<Self> {
        Some(Self::serve(Setup {
            listen: "127.0.0.1:0".into(),
            repository: repository.into(),
            releases,
            token: None,
            description: Some(Description::read(&parts::github_openapi()?)),
            state: None,
            log: false,
        }))
    }

    /// Starts a stand-in as `setup` says. Panics when the address is taken or the state file is no such file.
    pub fn serve(setup: Setup) -> Self {
        assert!(setup.repository.split('/').count() == 2, "`{}` is not `owner/name`", setup.repository);
        let listen = setup.listen.clone();
        let state = State {
            store: Store::open(setup.releases.clone(), setup.state.clone()),
            failures: failure::Failures::default(),
            edits: Vec::new(),
            requests: Vec::new(),
            violations: Vec::new(),
        };
        let shared = Arc::new(Shared { setup, state: Mutex::new(state) });
        let server = Server::start(&listen, {
            let shared = Arc::clone(&shared);
            move |request| {
                let shared = Arc::clone(&shared);
                async move { shared.serve(request).await }
            }
        });
        Self { server, shared }
    }

    /// The API's URL, as `GITHUB_API_URL` has it.
    pub fn url(&self) -> String {
        format!("http://{}", self.server.host())
    }

    /// The release of `tag` as it is now. Panics where there is none.
    pub fn release(&self, tag: &str) -> Release {
        let state = self.shared.state();
        state.store.by_tag(tag).unwrap_or_else(|| panic!("no release `{tag}`")).clone()
    }

    /// Adds a release, or replaces the one with its tag.
    pub fn set_release(&self, release: Release) {
        self.shared.state().store.put(release);
    }

    /// Replaces the notes of the release of `tag`, as somebody would in a browser.
    pub fn set_body(&self, tag: &str, body: &str) {
        self.set_release(self.release(tag).body(body));
    }

    /// Replaces the notes of the release of `tag` right after its next reading: somebody edits it between a client's reading and writing.
    pub fn edit_after_next_read(&self, tag: &str, body: &str) {
        self.shared.state().edits.push((tag.into(), body.into()));
    }

    /// Lets the next `times` requests of `method` (`*` for any) fail.
    pub fn fail(&self, method: &str, times: usize, failure: Failure) {
        self.shared.state().failures.add(method, times, failure);
    }

    /// All requests so far.
    pub fn requests(&self) -> Vec<Asked> {
        self.shared.state().requests.clone()
    }

    /// How many requests so far had `method`.
    pub fn count(&self, method: &str) -> usize {
        self.shared.state().requests.iter().filter(|asked| asked.method == method).count()
    }

    /// What was wrong with requests and answers so far.
    pub fn violations(&self) -> Vec<String> {
        self.shared.state().violations.clone()
    }

    /// The same, for a test that has provoked them: they are forgotten.
    pub fn take_violations(&self) -> Vec<String> {
        std::mem::take(&mut self.shared.state().violations)
    }
}

impl Drop for GitHub {
    fn drop(&mut self) {
        let violations = self.violations();
        assert!(
            violations.is_empty() || std::thread::panicking(),
            "GitHub's description was violated:\n{}",
            violations.join("\n")
        );
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn serve(&self, request: Request<Incoming>) -> Result<Response<Body>, Broken> {
        let (parts, body) = request.into_parts();
        let bytes = body.collect().await?.to_bytes();
        let body: Option<Result<Value, _>> = (!bytes.is_empty()).then(|| serde_json::from_slice(&bytes));
        let method = parts.method.to_string();
        let target = parts.uri.to_string();
        let failure = self.state().failures.next(&method);

        let answer = match &failure {
            Some(Failure::Reset) => Err("closed before an answer".into()),
            Some(Failure::Stall(duration)) => {
                tokio::time::sleep(*duration).await;
                Ok(self.answer(&parts, body.as_ref()))
            }
            Some(Failure::LoseAnswer) => {
                self.answer(&parts, body.as_ref());
                Err("the answer is lost".into())
            }
            Some(failure) => Ok(failure.response()),
            None => Ok(self.answer(&parts, body.as_ref())),
        };
        let status = answer.as_ref().ok().map(|answer: &Response<Body>| answer.status().as_u16());
        if self.setup.log {
            log(&format!("{method} {target} {}", status.map_or_else(|| "closed".into(), |status| status.to_string())));
        }
        let authorized = parts.headers.contains_key(AUTHORIZATION);
        self.state().requests.push(Asked { method, target, authorized, body: body.and_then(Result::ok), status });
        answer
    }

    /// Answers, and judges the request before and the answer after.
    fn answer(
        &self,
        parts: &hyper::http::request::Parts,
        body: Option<&Result<Value, serde_json::Error>>,
    ) -> Response<Body> {
        let request = format!("{} {}", parts.method, parts.uri);
        if parts.uri.path() == "/_violations" {
            return Reply::json(200, json!(self.state().violations)).response();
        }
        if !parts.headers.contains_key(USER_AGENT) {
            self.violated(&format!("{request}: it has no `User-Agent`"));
            return Reply::error(
                403,
                "Request forbidden by administrative rules. Please make sure your request has a User-Agent header",
                "",
            )
            .response();
        }
        let Some(route) = Route::of(&parts.method, parts.uri.path()) else {
            self.violated(&format!("{request}: the stand-in serves no such operation"));
            return Reply::error(404, "Not Found", "").response();
        };
        let body = match body {
            Some(Err(error)) => {
                self.violated(&format!("{request}: {error}"));
                return Reply::error(400, "Problems parsing JSON", "").response();
            }
            Some(Ok(body)) => Some(body),
            None => None,
        };
        let query = query_pairs(parts.uri.query().unwrap_or_default());
        let mut reply = None;
        if let Some(description) = &self.setup.description {
            let given = Given { path: &route.parameters(), query: &query, body };
            let wrong = description.request(parts.method.as_str(), route.template(), given);
            if !wrong.is_empty() {
                self.violated(&format!("{request}: {}", wrong.join("; ")));
                reply = Some(Reply::error(422, &format!("Invalid request.\n\n{}", wrong.join("\n")), ""));
            }
        }
        let reply = reply.unwrap_or_else(|| self.reply(&route, &query, &parts.headers, body));
        let wrong = match &self.setup.description {
            Some(description) if !reply.body.is_string() => description.response(
                parts.method.as_str(),
                route.template(),
                reply.status,
                "application/json",
                &reply.body,
            ),
            _ => Vec::new(),
        };
        if wrong.is_empty() {
            return reply.response();
        }
        let message = format!("{request}: the stand-in's own answer: {}", wrong.join("; "));
        self.violated(&message);
        Reply::error(500, &message, "").response()
    }

    fn reply(&self, route: &Route, query: &[(String, String)], headers: &HeaderMap, body: Option<&Value>) -> Reply {
        let host = headers.get("host").and_then(|host| host.to_str().ok()).unwrap_or("api.github.com");
        let (owner, name) = self.setup.repository.split_once('/').expect("checked at the start");
        let place = Place { api: format!("http://{host}"), owner: owner.into(), name: name.into() };
        let Some(access) = self.access(headers) else { return Reply::error(401, "Bad credentials", "") };
        if !route.owner.eq_ignore_ascii_case(owner) || !route.repository.eq_ignore_ascii_case(name) {
            return Reply::error(404, "Not Found", "");
        }
        let mut state = self.state();
        match &route.operation {
            Operation::Repository => Reply::json(200, payload::repository(&place)),
            Operation::Releases => state.list(&place, query, access),
            Operation::LatestRelease => {
                Reply::found(state.store.latest().map(|latest| payload::release(&place, latest)))
            }
            Operation::ReleaseByTag(tag) => {
                let release = state.store.by_tag(tag).filter(|release| !release.draft).cloned();
                state.read(&place, release)
            }
            Operation::Release(id) => {
                let release = id.parse().ok().and_then(|id| state.store.by_id(id));
                let release = release.filter(|release| !release.draft || access == Access::Write).cloned();
                state.read(&place, release)
            }
            Operation::UpdateRelease(id) => match access {
                Access::Anonymous => {
                    Reply::error(401, "Requires authentication", "/releases/releases#update-a-release")
                }
                Access::Read => {
                    Reply::error(403, "Resource not accessible by integration", "/releases/releases#update-a-release")
                }
                Access::Write => {
                    let changed = id.parse().ok().map(|id| state.store.update(id, body.unwrap_or(&Value::Null)));
                    match changed.flatten() {
                        None => Reply::error(404, "Not Found", "/releases/releases#update-a-release"),
                        Some(Err(refused)) => Reply::json(422, refused),
                        Some(Ok(release)) => Reply::json(200, payload::release(&place, &release)),
                    }
                }
            },
            Operation::Commit(reference) => {
                let accept = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
                match state.store.commit(reference) {
                    None => Reply::error(
                        422,
                        &format!("No commit found for SHA: {reference}"),
                        "/commits/commits#get-a-commit",
                    ),
                    Some(commit) if accept.starts_with("application/vnd.github") && accept.contains("sha") => Reply {
                        status: 200,
                        media_type: "application/vnd.github.sha; charset=utf-8",
                        body: commit.sha.into(),
                        link: None,
                    },
                    Some(commit) => {
                        Reply::json(200, payload::commit(&place, &commit.sha, &commit.message, &commit.date))
                    }
                }
            }
            Operation::TagRef(reference) => {
                let tagged = reference.strip_prefix("tags/").and_then(|tag| state.store.tagged(tag));
                Reply::found(tagged.map(|release| payload::git_ref(&place, release)))
            }
            Operation::TagObject(sha) => {
                Reply::found(state.store.tag_object(sha).map(|release| payload::git_tag(&place, release)))
            }
        }
    }

    /// What the credentials allow; `None` where they are wrong. Public repositories can be read without any.
    fn access(&self, headers: &HeaderMap) -> Option<Access> {
        let Some(value) = headers.get(AUTHORIZATION) else { return Some(Access::Anonymous) };
        let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
        let scheme_fits = scheme.eq_ignore_ascii_case("bearer") || scheme.eq_ignore_ascii_case("token");
        match token {
            _ if !scheme_fits => None,
            READ_TOKEN => Some(Access::Read),
            WRITE_TOKEN => Some(Access::Write),
            token => (self.setup.token.as_deref() == Some(token)).then_some(Access::Write),
        }
    }

    fn violated(&self, violation: &str) {
        if self.setup.log {
            log(&format!("VIOLATION {violation}"));
        }
        self.state().violations.push(violation.to_owned());
    }
}

impl State {
    /// Answers with a release, then makes the edit that was to follow its reading.
    fn read(&mut self, place: &Place, release: Option<Release>) -> Reply {
        let Some(release) = release else { return Reply::error(404, "Not Found", "/releases/releases") };
        let body = payload::release(place, &release);
        if let Some(at) = self.edits.iter().position(|(tag, _)| *tag == release.tag) {
            let (_, notes) = self.edits.remove(at);
            self.store.put(release.body(&notes));
        }
        Reply::json(200, body)
    }

    fn list(&self, place: &Place, query: &[(String, String)], access: Access) -> Reply {
        let number = |name: &str, default: usize| {
            let value = query.iter().find(|(key, _)| key == name).and_then(|(_, value)| value.parse().ok());
            value.filter(|value| *value > 0).unwrap_or(default)
        };
        let (page, per_page) = (number("page", 1), number("per_page", 30).min(100));
        let releases = self.store.newest_first();
        let visible: Vec<_> = releases.iter().filter(|release| !release.draft || access == Access::Write).collect();
        let pages = visible.len().div_ceil(per_page).max(1);
        let shown = visible.iter().skip((page - 1) * per_page).take(per_page);
        let mut reply = Reply::json(200, shown.map(|release| payload::release(place, release)).collect());
        let link = |page: usize, relation: &str| {
            format!(
                "<{}/repos/{}/{}/releases?per_page={per_page}&page={page}>; rel=\"{relation}\"",
                place.api, place.owner, place.name
            )
        };
        let mut links = Vec::new();
        if page > 1 {
            links.extend([link(page - 1, "prev"), link(1, "first")]);
        }
        if page < pages {
            links.extend([link(page + 1, "next"), link(pages, "last")]);
        }
        reply.link = (!links.is_empty()).then(|| links.join(", "));
        reply
    }
}

impl Reply {
    fn json(status: u16, body: Value) -> Self {
        Self { status, media_type: "application/json; charset=utf-8", body, link: None }
    }

    fn error(status: u16, message: &str, page: &str) -> Self {
        Self::json(status, payload::error(status, message, page))
    }

    fn found(body: Option<Value>) -> Self {
        body.map_or_else(|| Self::error(404, "Not Found", ""), |body| Self::json(200, body))
    }

    fn response(self) -> Response<Body> {
        let text = match self.body {
            Value::String(text) => text,
            body => body.to_string(),
        };
        let mut response = Response::new(full(text));
        *response.status_mut() = StatusCode::from_u16(self.status).expect("the statuses here are valid");
        failure::rate_limit(response.headers_mut(), 4_999, Duration::from_secs(3_600));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(self.media_type));
        if let Some(link) = self.link {
            response.headers_mut().insert(LINK, HeaderValue::from_str(&link).expect("a URL is ASCII"));
        }
        response
    }
}

#[expect(clippy::print_stderr, reason = "the log of the program that serves the stand-in")]
fn log(line: &str) {
    eprintln!("{line}");
}

#[cfg(test)]
mod tests;
