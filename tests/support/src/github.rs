//! A stand-in for GitHub's REST API that holds the releases of one repository.
//!
//! It validates every request, and every answer of its own, with [GitHub's OpenAPI description](description). A request
//! that the description doesn't allow is refused with 422, and an answer that GitHub wouldn't send becomes a 500; both
//! are kept as violations. What the description leaves open (who may do what, limits, texts of refusals) follows the
//! [documentation].
//!
//! [documentation]: https://docs.github.com/en/rest/releases/releases

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, HeaderMap, USER_AGENT};
use hyper::{Request, Response};
use serde_json::{Value, json};

use crate::http::{Body, Failure as Broken, Server, query_pairs};
use crate::parts;

mod answer;
pub mod description;
mod failure;
mod payload;
mod release;
mod route;
mod store;

pub use description::Description;
pub use failure::Failure;
pub use release::Release;

use answer::Reply;
use description::Given;
use route::Route;
use store::Store;

/// A token that may write the repository's contents.
pub const WRITE_TOKEN: &str = "ghs_16C7e42F292c6912E7710c838347Ae178B4a";

/// A token of a workflow that has `contents: read`.
pub const READ_TOKEN: &str = "ghs_9f4Kd27Qm31xTbWc58Zr06VnLs41Ye73Hu20";

/// How to set up a stand-in.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The address to listen on; port 0 for any.
    pub listen: String,
    /// `owner/name`.
    pub repository: String,
    /// The existing releases.
    pub releases: Vec<Release>,
    /// A token that may write, in addition to [`WRITE_TOKEN`].
    pub token: Option<String>,
    /// GitHub's description; without it nothing is validated.
    pub description: Option<Arc<Description>>,
    /// A file that keeps the releases from one run to the next.
    pub state: Option<PathBuf>,
    /// Whether each request is logged to standard error.
    pub log: bool,
}

/// A request that the stand-in answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Asked {
    /// The HTTP method: `PATCH`.
    pub method: String,
    /// Path and query, as sent.
    pub target: String,
    /// Whether it carried credentials.
    pub authorized: bool,
    /// Its body.
    pub body: Option<Value>,
    /// The status of the answer; `None` if the connection was closed instead.
    pub status: Option<u16>,
}

/// A running stand-in. It ends when it is dropped, and then panics if there are violations that the test hasn't taken.
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
    /// By commit and path.
    files: BTreeMap<(String, String), String>,
    contents_are_refused: bool,
    requests: Vec<Asked>,
    violations: Vec<String>,
}

/// What a request's credentials allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    Anonymous,
    Read,
    Write,
}

impl GitHub {
    /// Starts a stand-in for `repository` (`owner/name`) on loopback; `None` if GitHub's description isn't available
    /// ([`parts::github_openapi`]).
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

    /// Starts a stand-in with `setup`. Panics if the address is taken or the state file is invalid.
    pub fn serve(setup: Setup) -> Self {
        assert!(setup.repository.split('/').count() == 2, "`{}` is not `owner/name`", setup.repository);
        let listen = setup.listen.clone();
        let state = State {
            store: Store::open(setup.releases.clone(), setup.state.clone()),
            failures: failure::Failures::default(),
            edits: Vec::new(),
            files: BTreeMap::new(),
            contents_are_refused: false,
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

    /// The API's URL, for `GITHUB_API_URL`.
    pub fn url(&self) -> String {
        format!("http://{}", self.server.host())
    }

    /// The current release of `tag`. Panics if there is none.
    pub fn release(&self, tag: &str) -> Release {
        let state = self.shared.state();
        state.store.by_tag(tag).unwrap_or_else(|| panic!("no release `{tag}`")).clone()
    }

    /// Adds a release, or replaces the one with its tag.
    pub fn set_release(&self, release: Release) {
        self.shared.state().store.put(release);
    }

    /// Publishes a release. Panics if its tag has one already.
    pub fn add(&self, release: Release) {
        let mut state = self.shared.state();
        assert!(state.store.by_tag(&release.tag).is_none(), "there is a release `{}` already", release.tag);
        state.store.put(release);
    }

    /// Makes the release of `tag` a pre-release, or a final one again.
    pub fn flag_prerelease(&self, tag: &str, prerelease: bool) {
        self.set_release(Release { prerelease, ..self.release(tag) });
    }

    /// Deletes the release of `tag` and its tag, or a tag without a release. Panics if there is neither.
    pub fn withdraw(&self, tag: &str) {
        assert!(self.shared.state().store.remove(tag).is_some(), "there is no release and no tag `{tag}`");
    }

    /// Deletes the release of `tag`; the tag stays. Panics if there is none.
    pub fn delete_release(&self, tag: &str) {
        let release = self.release(tag);
        let mut state = self.shared.state();
        state.store.remove(tag);
        state.store.put_tag(release);
    }

    /// Deletes the tag of a release, which turns it into a draft, as on GitHub. Panics if there is no release.
    pub fn delete_tag(&self, tag: &str) {
        self.set_release(self.release(tag).draft());
    }

    /// Adds a tag without a release, on the commit and with the date of `release`. Panics if there is such a tag.
    pub fn add_tag(&self, release: Release) {
        let mut state = self.shared.state();
        assert!(state.store.tagged(&release.tag).is_none(), "there is a tag `{}` already", release.tag);
        state.store.put_tag(release);
    }

    /// Replaces the notes of the release of `tag`, as a person would in a browser.
    pub fn set_body(&self, tag: &str, body: &str) {
        self.set_release(self.release(tag).body(body));
    }

    /// Replaces the notes of the release of `tag` right after they are next read: a person edits them between a
    /// client's reading and writing.
    pub fn edit_after_next_read(&self, tag: &str, body: &str) {
        self.shared.state().edits.push((tag.into(), body.into()));
    }

    /// Commits a file, or replaces the one that the commit has.
    pub fn put_file(&self, commit: &str, path: &str, text: &str) {
        self.shared.state().files.insert((commit.into(), path.into()), text.into());
    }

    /// From now on nobody may read files, as with a token that lacks `contents: read`.
    pub fn refuse_contents(&self) {
        self.shared.state().contents_are_refused = true;
    }

    /// Makes the next `times` requests of `method` (`*` for any) fail.
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

    /// All violations so far.
    pub fn violations(&self) -> Vec<String> {
        self.shared.state().violations.clone()
    }

    /// The same, for a test that provoked them: afterwards they are forgotten.
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

    /// Answers a request, and validates both the request and the answer.
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

    /// The permissions of the credentials; `None` if they are wrong. Public repositories can be read without any.
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

#[expect(clippy::print_stderr, reason = "the log of the program that serves the stand-in")]
fn log(line: &str) {
    eprintln!("{line}");
}

#[cfg(test)]
mod tests;
