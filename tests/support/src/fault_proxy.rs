//! A proxy in front of a real registry that injects the faults of a test, and records every request.
//!
//! Nothing is buffered: bodies are passed on in both directions as they arrive, and a fault within a body happens at an
//! exact byte. The `Host` header is passed on, so that the registry's absolute `Location`s lead back to the proxy.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::header::{
    AUTHORIZATION, CONTENT_LENGTH, HOST, HeaderName, HeaderValue, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE,
};
use hyper::{Method, Request, Response, StatusCode, Uri};

use crate::http::{Body, Failure, Server, empty, send, text};

mod blob_store;
mod fault;
mod profile;
mod tampered;

pub use blob_store::StoreRequest;
pub use fault::{Fault, LocationForm, RetryAfter, Rule};
pub use profile::Profile;

use blob_store::BlobStore;
use tampered::{Tampered, Tampering};

/// A request as it arrived at the proxy.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Asked {
    /// The HTTP method: `GET`.
    pub method: String,
    /// The path, without the query.
    pub path: String,
    /// The query, empty if there is none.
    pub query: String,
    /// Whether it carried an `Authorization` header.
    pub authorized: bool,
    /// The `Range` or `Content-Range` header, as written.
    pub range: Option<String>,
    /// Whether it arrived at the proxy's other host ([`LocationForm::OtherHost`]).
    pub at_other_host: bool,
}

impl Asked {
    /// Whether [`Fault::Redirect`] led here.
    fn was_redirected(&self) -> bool {
        self.at_other_host || self.query.split('&').any(|pair| pair == "moved=1")
    }

    fn of(request: &Request<Incoming>, at_other_host: bool) -> Self {
        let range = request.headers().get("range").or_else(|| request.headers().get("content-range"));
        Self {
            method: request.method().to_string(),
            path: request.uri().path().to_owned(),
            query: request.uri().query().unwrap_or_default().to_owned(),
            authorized: request.headers().contains_key(AUTHORIZATION),
            range: range.and_then(|value| value.to_str().ok()).map(str::to_owned),
            at_other_host,
        }
    }
}

/// A request and its outcome.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// The request.
    pub asked: Asked,
    /// The status that was sent; `None` until then, and for ever if the connection was closed first.
    pub status: Option<u16>,
    /// The fault that was injected, if any.
    pub fault: Option<Fault>,
    sent: Arc<AtomicU64>,
    received: Arc<AtomicU64>,
}

impl Recorded {
    /// Bytes of its body that have passed so far.
    pub fn bytes_sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Bytes of the answer's body that have passed so far.
    pub fn bytes_received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }
}

/// A running proxy, which stops when it is dropped.
#[derive(Debug)]
pub struct FaultProxy {
    server: Server,
    other: Server,
    store: BlobStore,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    upstream: String,
    requests: Mutex<Vec<Recorded>>,
    faults: Mutex<fault::Faults>,
    /// The beginning of paths as clients know it, and as the registry does.
    name: Mutex<Option<(String, String)>>,
}

impl FaultProxy {
    /// Starts a proxy in front of `upstream` (`127.0.0.1:PORT`) that doesn't change anything yet.
    pub fn start(upstream: &str) -> Self {
        Self::start_on("127.0.0.1:0", upstream)
    }

    /// The same on another address. Its port has to be 0, since the other host and the blob store listen on that
    /// address as well.
    pub fn start_on(address: &str, upstream: &str) -> Self {
        let shared = Arc::new(Shared {
            upstream: upstream.to_owned(),
            requests: Mutex::default(),
            faults: Mutex::default(),
            name: Mutex::default(),
        });
        let store = BlobStore::start(address, upstream);
        let other = listen(address, &shared, store.doors(), None);
        let server = listen(address, &shared, store.doors(), Some(other.host()));
        Self { server, other, store, shared }
    }

    /// `127.0.0.1:PORT`, for the registry's name.
    pub fn host(&self) -> String {
        self.server.host()
    }

    /// The second name under which the same registry answers ([`LocationForm::OtherHost`]).
    pub fn other_host(&self) -> String {
        self.other.host()
    }

    /// All requests so far, in order of arrival.
    pub fn requests(&self) -> Vec<Recorded> {
        self.shared.requests().clone()
    }

    /// How many requests so far had `method` and a path containing `path`.
    pub fn count(&self, method: &str, path: &str) -> usize {
        let matches = |recorded: &&Recorded| recorded.asked.method == method && recorded.asked.path.contains(path);
        self.shared.requests().iter().filter(matches).count()
    }

    /// How many blobs and manifests have been sent so far, counting successful uploads that had bytes.
    pub fn sent(&self) -> Sent {
        let requests = self.shared.requests();
        let created = |path: &str| {
            let matches = |recorded: &&Recorded| {
                recorded.asked.method == "PUT" && recorded.asked.path.contains(path) && recorded.status == Some(201)
            };
            requests.iter().filter(matches).count()
        };
        Sent { blobs: created("/blobs/uploads/"), manifests: created("/manifests/") }
    }

    /// Forgets the requests so far.
    pub fn forget(&self) {
        self.shared.requests().clear();
    }

    /// Requests that arrived at the blob store ([`Fault::RedirectBlob`]).
    pub fn store_requests(&self) -> Vec<StoreRequest> {
        self.store.requests()
    }

    /// Adds a rule. The first rule that matches a request decides.
    pub fn inject(&self, rule: Rule) {
        self.shared.faults().rules.push(rule);
    }

    /// Adds the rules for a registry's behaviour.
    pub fn behave_as(&self, profile: Profile) {
        profile.rules().into_iter().for_each(|rule| self.inject(rule));
    }

    /// Gives a repository another name than the registry does: `inner` is `outer` to clients, as behind a proxy that
    /// drops `library/`.
    pub fn rename(&self, outer: &str, inner: &str) {
        *self.shared.name.lock().expect("nothing panics while it holds the name") =
            Some((format!("/v2/{outer}/"), format!("/v2/{inner}/")));
    }

    /// Lets a function decide about requests that no rule matches.
    pub fn inject_with(&self, choose: impl FnMut(&Asked) -> Option<Fault> + Send + 'static) {
        self.shared.faults().choose = Some(Box::new(choose));
    }

    /// Breaks requests at random, with `probability`, unless something else decides about them. The choice depends on
    /// the seed, the request and how often it came, but not on the order of different requests. No request is broken
    /// more than `in_a_row` times in a row.
    pub fn chaos(&self, seed: u64, probability: f64, in_a_row: usize, faults: Vec<Fault>) {
        self.shared.faults().chaos = Some(fault::Chaos::new(seed, probability, in_a_row, faults));
    }

    /// Removes all faults.
    pub fn heal(&self) {
        *self.shared.faults() = fault::Faults::default();
    }
}

/// The counts of [`FaultProxy::sent`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// Finished uploads; mounts don't count.
    pub blobs: usize,
    /// Manifests and indexes, by digest or by tag.
    pub manifests: usize,
}

fn listen(address: &str, shared: &Arc<Shared>, doors: blob_store::Doors, other_host: Option<String>) -> Server {
    let shared = Arc::clone(shared);
    let at_other_host = other_host.is_none();
    Server::start(address, move |request| {
        let (shared, doors, other_host) = (Arc::clone(&shared), doors.clone(), other_host.clone());
        async move {
            let asked = Asked::of(&request, at_other_host);
            let fault = shared.faults().choose(&asked);
            let recorded = Recorded { asked, status: None, fault, sent: Arc::default(), received: Arc::default() };
            let at = {
                let mut requests = shared.requests();
                requests.push(recorded.clone());
                requests.len() - 1
            };
            let answer = shared.answer(request, &recorded, &doors, other_host.as_deref()).await?;
            // `forget` may have been called in the meantime.
            if let Some(entry) = shared.requests().get_mut(at).filter(|entry| Arc::ptr_eq(&entry.sent, &recorded.sent))
            {
                entry.status = Some(answer.status().as_u16());
            }
            Ok(answer)
        }
    })
}

impl Shared {
    fn requests(&self) -> MutexGuard<'_, Vec<Recorded>> {
        self.requests.lock().expect("nothing panics while it holds the record")
    }

    fn faults(&self) -> MutexGuard<'_, fault::Faults> {
        self.faults.lock().expect("the test's function that chooses faults does not panic")
    }

    async fn answer(
        &self,
        mut request: Request<Incoming>,
        recorded: &Recorded,
        doors: &blob_store::Doors,
        other_host: Option<&str>,
    ) -> Result<Response<Body>, Failure> {
        let host = request.headers().get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default().to_owned();
        let (mut upload, mut download) = (Tampering::None, Tampering::None);
        match &recorded.fault {
            Some(Fault::Reset) => return Err("closed before an answer".into()),
            Some(Fault::Stall(duration)) => tokio::time::sleep(*duration).await,
            Some(Fault::Status { status, retry_after, media_type, body }) => {
                return drained(request, &recorded.sent, refusal(*status, retry_after.as_ref(), media_type, body))
                    .await;
            }
            Some(fault @ (Fault::RedirectBlob | Fault::RedirectSignedForGet)) => {
                let authorization = request.headers().get(AUTHORIZATION).cloned();
                let method = if *fault == Fault::RedirectBlob { request.method() } else { &Method::GET };
                let location = doors.open(method, request.uri().path(), authorization);
                let mut answer = Response::new(empty());
                *answer.status_mut() = StatusCode::TEMPORARY_REDIRECT;
                answer.headers_mut().insert(LOCATION, HeaderValue::from_str(&location)?);
                return Ok(answer);
            }
            Some(Fault::Challenge(challenge)) => {
                let mut answer = refusal(401, None, "application/json", r#"{"errors":[{"code":"UNAUTHORIZED"}]}"#);
                answer.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_str(challenge)?);
                return drained(request, &recorded.sent, answer).await;
            }
            Some(Fault::Redirect { status, elsewhere }) => {
                let Asked { path, query, .. } = &recorded.asked;
                let location = match other_host {
                    Some(other_host) if *elsewhere => format!("http://{other_host}{path}?{query}"),
                    _ if query.is_empty() => format!("{path}?moved=1"),
                    _ => format!("{path}?{query}&moved=1"),
                };
                let mut answer = refusal(*status, None, "text/plain", "");
                answer.headers_mut().insert(LOCATION, HeaderValue::from_str(&location)?);
                return drained(request, &recorded.sent, answer).await;
            }
            Some(Fault::AcceptMount) => *request.uri_mut() = without_mount(request.uri())?,
            Some(Fault::ResetUpload { after }) => upload = Tampering::Cut { after: *after },
            Some(Fault::ResetDownload { after }) => download = Tampering::Cut { after: *after },
            Some(Fault::StallDownload { after, duration }) => {
                download = Tampering::Stall { after: *after, duration: *duration };
            }
            Some(Fault::Truncate { keep }) => download = Tampering::End { after: *keep },
            Some(Fault::Corrupt { at }) => download = Tampering::Flip { at: *at },
            _ => {}
        }

        let name = self.name.lock().expect("nothing panics while it holds the name").clone();
        let (mut parts, body) = request.into_parts();
        let target = parts.uri.to_string();
        let target = match &name {
            Some((outer, inner)) => target.replacen(outer, inner, 1),
            None => target,
        };
        parts.uri = format!("http://{}{target}", self.upstream).parse()?;
        let body = Tampered::new(body, upload, Arc::clone(&recorded.sent)).boxed();
        let (mut parts, body) = send(Request::from_parts(parts, body)).await?.into_parts();
        match &recorded.fault {
            Some(Fault::LoseAnswer) => {
                body.collect().await?;
                return Err("the answer is lost".into());
            }
            Some(Fault::WrongDigest) => {
                let wrong = HeaderValue::from_str(&crate::image::digest(b"something else"))?;
                parts.headers.insert(HeaderName::from_static("docker-content-digest"), wrong);
            }
            Some(Fault::NoDigest) => drop(parts.headers.remove("docker-content-digest")),
            Some(Fault::Truncate { keep }) => {
                if let Some(length) = parts.headers.get_mut(CONTENT_LENGTH) {
                    let whole: u64 = length.to_str()?.parse()?;
                    *length = HeaderValue::from(whole.min(*keep));
                }
            }
            _ => {}
        }
        if let Some(location) = parts.headers.get(LOCATION).and_then(|location| location.to_str().ok()) {
            let form = match &recorded.fault {
                Some(Fault::Location(form)) => *form,
                _ => LocationForm::AsItIs,
            };
            let location = match &name {
                Some((outer, inner)) => location.replacen(inner, outer, 1),
                None => location.to_owned(),
            };
            let location = form.apply(&location.replace(&self.upstream, &host), &host, other_host.unwrap_or(&host));
            parts.headers.insert(LOCATION, HeaderValue::from_str(&location)?);
        }
        Ok(Response::from_parts(parts, Tampered::new(body, download, Arc::clone(&recorded.received)).boxed()))
    }
}

/// Reads the request's body before an answer that doesn't depend on it: otherwise the client sees a broken connection
/// instead of the answer.
async fn drained(
    request: Request<Incoming>,
    sent: &AtomicU64,
    answer: Response<Body>,
) -> Result<Response<Body>, Failure> {
    let mut body = request.into_body();
    while let Some(frame) = body.frame().await {
        sent.fetch_add(frame?.data_ref().map_or(0, |data| data.len() as u64), Ordering::Relaxed);
    }
    Ok(answer)
}

fn refusal(status: u16, retry_after: Option<&RetryAfter>, media_type: &'static str, body: &str) -> Response<Body> {
    let status = StatusCode::from_u16(status).expect("the test asks for a valid status");
    let mut answer = text(status, media_type, body.to_owned());
    if let Some(retry_after) = retry_after {
        let value = HeaderValue::from_str(&retry_after.to_string()).expect("seconds and dates are ASCII");
        answer.headers_mut().insert(RETRY_AFTER, value);
    }
    answer
}

/// The same URI without the parameters of a mount: it opens an upload, which the registry answers with 202.
fn without_mount(uri: &Uri) -> Result<Uri, Failure> {
    let is_mount = |pair: &&str| pair.starts_with("mount=") || pair.starts_with("from=");
    let query: Vec<&str> = uri.query().unwrap_or_default().split('&').filter(|pair| !is_mount(pair)).collect();
    Ok(format!("{}?{}", uri.path(), query.join("&")).parse()?)
}

#[cfg(test)]
mod tests;
