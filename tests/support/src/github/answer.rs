//! The answer of each operation, from the state of the stand-in.

use std::time::Duration;

use hyper::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue, LINK};
use hyper::{Response, StatusCode};
use serde_json::Value;

use super::payload::{self, Place};
use super::release::Release;
use super::route::{Operation, Route};
use super::{Access, Shared, State, failure};
use crate::http::{Body, full};

/// An answer before it is validated.
pub(super) struct Reply {
    pub(super) status: u16,
    media_type: &'static str,
    pub(super) body: Value,
    link: Option<String>,
}

impl Shared {
    /// The answer to a request that the description allows.
    pub(super) fn reply(
        &self,
        route: &Route,
        query: &[(String, String)],
        headers: &HeaderMap,
        body: Option<&Value>,
    ) -> Reply {
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
            Operation::Contents(_) if state.contents_are_refused => {
                Reply::error(403, "Resource not accessible by integration", "/repos/contents#get-repository-content")
            }
            Operation::Contents(path) => {
                let reference = query.iter().find(|(key, _)| key == "ref").map_or("HEAD", |(_, reference)| reference);
                let text = state.files.get(&(reference.to_owned(), path.clone()));
                match text {
                    Some(text) => Reply::json(200, payload::file(&place, path, reference, text)),
                    None => Reply::error(404, "Not Found", "/repos/contents#get-repository-content"),
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
}

impl State {
    /// Answers with a release, then makes the edit that has to follow its reading.
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
    pub(super) fn json(status: u16, body: Value) -> Self {
        Self { status, media_type: "application/json; charset=utf-8", body, link: None }
    }

    pub(super) fn error(status: u16, message: &str, page: &str) -> Self {
        Self::json(status, payload::error(status, message, page))
    }

    fn found(body: Option<Value>) -> Self {
        body.map_or_else(|| Self::error(404, "Not Found", ""), |body| Self::json(200, body))
    }

    pub(super) fn response(self) -> Response<Body> {
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
