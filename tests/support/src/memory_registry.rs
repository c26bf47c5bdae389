//! A registry in memory, for tests that run the program hundreds of times: it starts immediately, can be reset to an
//! earlier [`State`], and can stop the world at any request.
//!
//! It answers like CNCF distribution 2 (a test compares the two), with the paging of distribution 3. It differs
//! deliberately in two ways: it is strict about `Accept` for Docker's media types as well, and reads only the first
//! part of a range.
//!
//! Clients are told apart by the user that they authenticate as; after [`MemoryRegistry::require_login`] they all have
//! to. This is how a run is killed at its third request, and how a run takes place between two requests of another one:
//!
//! ```no_run
//! # use support::memory_registry::{Hold, MemoryRegistry};
//! # use support::runner::Step;
//! # async fn example(step: Step, first: Step, second: Step) {
//! let registry = MemoryRegistry::start();
//! registry.require_login();
//!
//! let gate = registry.hold(Hold::at(3));
//! let mut run = step.spawn();
//! tokio::select! {
//!     _ = gate.reached() => drop(run.kill()),
//!     done = run.wait() => assert_eq!(done.code, Some(0), "it made less than three requests"),
//! }
//! drop(gate);
//!
//! let gate = registry.hold(Hold::at(3).of("first"));
//! let mut run = first.spawn();
//! gate.reached().await;
//! second.run().await.succeeded();
//! gate.open();
//! run.wait().await.succeeded();
//! # }
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::io::{Read as _, Write as _};
use std::sync::{Arc, Mutex, MutexGuard};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::header::AUTHORIZATION;
use hyper::http::request::Parts;
use hyper::{Request, Response};
use serde_json::Value;

use crate::http::{Body, Failure, Server, full};
use crate::image::{Image, Manifest, digest};

mod gate;
mod serve;
mod state;

pub use gate::{Gate, Hold, Verdict};
pub use state::State;

use gate::{Hook, Moment, Post, Wait};
use serve::Uploads;
use state::Stored;

/// A request as it arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The user that sent it; `None` without a user name and password.
    pub client: Option<String>,
    /// Its number among the requests of its client since the requests were last cleared, counted from 1. Requests that
    /// were refused for lack of a login don't count.
    pub number: usize,
    /// The HTTP method: `GET`.
    pub method: String,
    /// The path, without the query.
    pub path: String,
    /// The query, empty if there is none.
    pub query: String,
}

impl Asked {
    /// Whether it may change something.
    pub fn is_write(&self) -> bool {
        !matches!(self.method.as_str(), "GET" | "HEAD")
    }

    /// The repository and the tag, if it reads or writes a manifest by tag.
    pub fn tag(&self) -> Option<(&str, &str)> {
        let (repository, reference) = self.path.strip_prefix("/v2/")?.rsplit_once("/manifests/")?;
        (!reference.contains(':')).then_some((repository, reference))
    }
}

/// A request and its outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// The request.
    pub asked: Asked,
    /// The status of the answer; `None` while it waits, and for ever if the connection was closed first.
    pub status: Option<u16>,
}

/// A running registry, which ends when it is dropped.
#[derive(Debug)]
pub struct MemoryRegistry {
    server: Server,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    state: State,
    uploads: Uploads,
    login: bool,
    page: Option<usize>,
    requests: Vec<Recorded>,
    /// How many requests have been cleared.
    forgotten: usize,
    counts: BTreeMap<Option<String>, usize>,
    hooks: Vec<Hook>,
    posts: Vec<Post>,
}

impl MemoryRegistry {
    /// Starts an empty registry on loopback.
    pub fn start() -> Self {
        let shared = Arc::<Shared>::default();
        let server = Server::start("127.0.0.1:0", {
            let shared = Arc::clone(&shared);
            move |request| {
                let shared = Arc::clone(&shared);
                async move { shared.answer(request).await }
            }
        });
        Self { server, shared }
    }

    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> String {
        self.server.host()
    }

    /// Refuses requests without a user and a password (any will do), so that every client has a name.
    pub fn require_login(&self) {
        self.inner().login = true;
    }

    /// Lists at most this many tags in one answer, whatever is requested.
    pub fn set_page(&self, tags: usize) {
        assert!(tags > 0, "a page has room for a tag");
        self.inner().page = Some(tags);
    }

    /// Puts an image under `tag`, replacing another one. Returns the digest that the tag names.
    pub fn put_image(&self, image: &Image, repository: &str, tag: &str) -> String {
        for blob in &image.blobs {
            self.put_blob(repository, blob.clone());
        }
        for manifest in &image.manifests {
            self.put_manifest(repository, manifest);
        }
        let digest = image.top().digest();
        self.tag(repository, tag, &digest);
        digest
    }

    /// Puts a blob, and returns its digest.
    pub fn put_blob(&self, repository: &str, bytes: impl Into<Bytes>) -> String {
        let bytes = bytes.into();
        let digest = digest(&bytes);
        self.inner().state.change(repository).blobs.insert(digest.clone(), bytes);
        digest
    }

    /// Puts a manifest unchecked, and returns its digest.
    pub fn put_manifest(&self, repository: &str, manifest: &Manifest) -> String {
        let digest = manifest.digest();
        let stored = Stored { media_type: manifest.media_type.clone(), bytes: manifest.bytes.clone().into() };
        self.inner().state.change(repository).manifests.insert(digest.clone(), stored);
        digest
    }

    /// Puts a copy of an index that differs in the top layers of its images: `change` edits their content, and they are
    /// compressed in another way. Configs stay, whatever they say about the layers. Returns the digests of the copy and
    /// of these layers.
    pub fn put_recompressed(
        &self,
        repository: &str,
        index: &str,
        change: impl Fn(&mut Vec<u8>),
    ) -> (String, Vec<String>) {
        let read = |digest: &str| self.manifest(repository, digest).expect("the index is complete");
        let put = |descriptor: &mut Value, document: &Value, media_type: &str| {
            let manifest = Manifest { media_type: media_type.to_owned(), bytes: document.to_string().into_bytes() };
            descriptor["size"] = manifest.bytes.len().into();
            descriptor["digest"] = self.put_manifest(repository, &manifest).into();
        };
        let digest_of =
            |descriptor: &Value| descriptor["digest"].as_str().expect("a descriptor has a digest").to_owned();
        let (top, mut layers) = (read(index), Vec::new());
        let mut copy = top.json();
        for child in copy["manifests"].as_array_mut().expect("it is an index") {
            let of_child = read(&digest_of(child));
            let mut manifest = of_child.json();
            let layer = manifest["layers"].as_array_mut().and_then(|layers| layers.last_mut()).expect("it has layers");
            let blob = self.blob(repository, &digest_of(layer)).expect("the index is complete");
            let mut content = Vec::new();
            MultiGzDecoder::new(&blob[..]).read_to_end(&mut content).expect("it is compressed by gzip");
            change(&mut content);
            let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
            let blob = gzip.write_all(&content).and_then(|()| gzip.finish()).expect("a Vec takes every write");
            layer["size"] = blob.len().into();
            layer["digest"] = self.put_blob(repository, blob).into();
            layers.push(digest_of(layer));
            put(child, &manifest, &of_child.media_type);
        }
        let mut descriptor = Value::Null;
        put(&mut descriptor, &copy, &top.media_type);
        (digest_of(&descriptor), layers)
    }

    /// Makes a tag name a manifest. Panics if there is no such manifest.
    pub fn tag(&self, repository: &str, tag: &str, digest: &str) {
        let mut inner = self.inner();
        let repository = inner.state.change(repository);
        assert!(repository.manifests.contains_key(digest), "there is no manifest {digest} to name `{tag}`");
        repository.tags.get_or_insert_default().insert(tag.to_owned(), digest.to_owned());
    }

    /// Removes a tag, but not the manifest. Does nothing if there is no such tag.
    pub fn untag(&self, repository: &str, tag: &str) {
        if let Some(tags) = &mut self.inner().state.change(repository).tags {
            tags.remove(tag);
        }
    }

    /// The digest that a tag names, whether or not that manifest exists; `None` if there is no such tag.
    pub fn named(&self, repository: &str, tag: &str) -> Option<String> {
        self.inner().state.named(repository, tag)
    }

    /// The tags of a repository, sorted; none if there is no such repository.
    pub fn tags(&self, repository: &str) -> Vec<String> {
        self.inner().state.tags(repository)
    }

    /// The manifest that `reference` (a tag or a digest) names, if it exists.
    pub fn manifest(&self, repository: &str, reference: &str) -> Option<Manifest> {
        self.inner().state.manifest(repository, reference)
    }

    /// The bytes of a blob, if the repository has it.
    pub fn blob(&self, repository: &str, digest: &str) -> Option<Bytes> {
        self.inner().state.blob(repository, digest)
    }

    /// Deletes only a manifest, as some clean-ups do: indexes and tags that name it stay. Panics if there is none.
    pub fn delete_manifest(&self, repository: &str, digest: &str) {
        let deleted = self.inner().state.change(repository).manifests.remove(digest);
        assert!(deleted.is_some(), "{repository} has no manifest {digest}");
    }

    /// Deletes a manifest, and the tags that name it. Panics if there is none.
    pub fn delete_manifest_and_tags(&self, repository: &str, digest: &str) {
        let deleted = self.inner().state.change(repository).remove_with_tags(digest);
        assert!(deleted, "{repository} has no manifest {digest}");
    }

    /// Deletes a blob from a repository. Panics if there is none.
    pub fn delete_blob(&self, repository: &str, digest: &str) {
        let deleted = self.inner().state.change(repository).blobs.remove(digest);
        assert!(deleted.is_some(), "{repository} has no blob {digest}");
    }

    /// The registry's current content. Taking it is cheap.
    pub fn snapshot(&self) -> State {
        self.inner().state.clone()
    }

    /// Resets the registry to an earlier state, possibly of another registry. Open uploads are lost.
    pub fn restore(&self, state: &State) {
        let mut inner = self.inner();
        inner.state = state.clone();
        inner.uploads = Uploads::default();
    }

    /// All requests since they were last cleared, in order of arrival.
    pub fn requests(&self) -> Vec<Recorded> {
        self.inner().requests.clone()
    }

    /// Forgets the requests so far. The requests of clients are counted from 1 again.
    pub fn clear_requests(&self) {
        let mut inner = self.inner();
        inner.forgotten += inner.requests.len();
        inner.requests.clear();
        inner.counts.clear();
    }

    /// Lets `hook` decide about every request, with the state before it is served. The first hook that doesn't return
    /// [`Verdict::Serve`] decides. Hooks are called between requests, one at a time, and must not call the registry
    /// themselves: a test that wants to change something at a certain request waits for it with
    /// [`MemoryRegistry::hold`].
    pub fn on_request(&self, hook: impl Fn(&Asked, &State) -> Verdict + Send + Sync + 'static) {
        self.inner().hooks.push(Box::new(hook));
    }

    /// Removes all hooks.
    pub fn clear_hooks(&self) {
        self.inner().hooks.clear();
    }

    /// Puts up a gate at which certain requests wait; all others pass.
    pub fn hold(&self, hold: Hold) -> Gate {
        let (post, gate) = Post::new(hold);
        self.inner().posts.push(post);
        gate
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.shared.inner()
    }
}

/// A request with its whole body.
struct Call {
    parts: Parts,
    body: Bytes,
}

/// The decision about a request when it arrives. No other request is handled in the meantime.
enum Arrived {
    Answered(Response<Body>),
    /// It waits; it has number `entry` among all requests.
    Held {
        entry: usize,
        verdict: Verdict,
        waits: Vec<Wait>,
    },
}

impl Shared {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().expect("hooks and predicates don't panic")
    }

    /// Answers a request. If its client goes away while it waits, this is dropped, and the request is never served.
    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Body>, Failure> {
        let (parts, body) = request.into_parts();
        let call = Call { parts, body: body.collect().await?.to_bytes() };
        let arrived = self.inner().arrive(&call);
        let (entry, verdict, waits) = match arrived {
            Arrived::Answered(answer) => return Ok(answer),
            Arrived::Held { entry, verdict, waits } => (entry, verdict, waits),
        };
        for wait in &waits {
            wait.pass(Moment::Before).await?;
        }
        if let Verdict::Delay(duration) = verdict {
            tokio::time::sleep(duration).await;
        }
        let answer = {
            let mut inner = self.inner();
            let answer = match &verdict {
                Verdict::Serve | Verdict::Delay(_) => Some(inner.serve(&call)),
                Verdict::Answer(answer) => Some(answer.clone().map(full)),
                Verdict::LoseAnswer => {
                    inner.serve(&call);
                    None
                }
                Verdict::Reset | Verdict::Hang => None,
            };
            if let Some(answer) = &answer {
                inner.record(entry, answer);
            }
            for wait in &waits {
                wait.tell(Moment::After);
            }
            answer
        };
        for wait in &waits {
            wait.pass(Moment::After).await?;
        }
        if matches!(verdict, Verdict::Hang) {
            std::future::pending::<()>().await;
        }
        answer.ok_or_else(|| "closed without an answer".into())
    }
}

impl Inner {
    fn arrive(&mut self, call: &Call) -> Arrived {
        let client = client(&call.parts);
        let refused = self.login && client.is_none();
        let count = self.counts.entry(client.clone()).or_default();
        *count += usize::from(!refused);
        let asked = Asked {
            client,
            number: *count,
            method: call.parts.method.to_string(),
            path: call.parts.uri.path().to_owned(),
            query: call.parts.uri.query().unwrap_or_default().to_owned(),
        };
        let entry = self.forgotten + self.requests.len();
        self.requests.push(Recorded { asked: asked.clone(), status: None });
        if refused {
            let answer = serve::login();
            self.record(entry, &answer);
            return Arrived::Answered(answer);
        }
        let verdicts = self.hooks.iter().map(|hook| hook(&asked, &self.state));
        let verdict = verdicts.into_iter().find(|verdict| !matches!(verdict, Verdict::Serve)).unwrap_or(Verdict::Serve);
        self.posts.retain(Post::stands);
        let waits: Vec<Wait> = self.posts.iter_mut().filter_map(|post| post.count(&asked)).collect();
        if matches!(verdict, Verdict::Serve) && waits.is_empty() {
            let answer = self.serve(call);
            self.record(entry, &answer);
            return Arrived::Answered(answer);
        }
        Arrived::Held { entry, verdict, waits }
    }

    fn record(&mut self, entry: usize, answer: &Response<Body>) {
        // It may have been cleared in the meantime.
        let entry = entry.checked_sub(self.forgotten).and_then(|at| self.requests.get_mut(at));
        if let Some(entry) = entry {
            entry.status = Some(answer.status().as_u16());
        }
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inner").field("state", &self.state).field("requests", &self.requests).finish_non_exhaustive()
    }
}

/// The user of a request's Basic authentication.
fn client(parts: &Parts) -> Option<String> {
    let value = parts.headers.get(AUTHORIZATION)?.to_str().ok()?;
    let decoded = BASE64.decode(value.strip_prefix("Basic ")?).ok()?;
    let (user, _) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
    Some(user.to_owned())
}

#[cfg(test)]
mod conformance;
#[cfg(test)]
mod tests;
