//! The other host to which hosted registries redirect for blobs. Its URLs are signed, and it must not get credentials.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, HOST, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};

use crate::http::{Body, Failure, Server, empty, query_values, send, text};

/// A request that arrived at the blob store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreRequest {
    /// Path and query.
    pub target: String,
    /// Whether it carried an `Authorization` header, which is a leak.
    pub authorized: bool,
    /// The status of the answer.
    pub status: u16,
}

#[derive(Debug)]
pub(super) struct BlobStore {
    doors: Doors,
    _server: Server,
}

/// What the proxy needs to know about the store: its address, and the URLs that have been signed.
#[derive(Debug, Clone)]
pub(super) struct Doors {
    host: String,
    open: Arc<Mutex<Open>>,
}

#[derive(Debug, Default)]
struct Open {
    /// By signature.
    doors: HashMap<String, Door>,
    requests: Vec<StoreRequest>,
}

/// What a signature permits.
#[derive(Debug, Clone)]
struct Door {
    method: Method,
    /// The path on the registry.
    path: String,
    /// The credentials of the first request for it.
    authorization: Option<HeaderValue>,
}

impl BlobStore {
    pub(super) fn start(address: &str, upstream: &str) -> Self {
        let open: Arc<Mutex<Open>> = Arc::default();
        let (upstream, shared) = (upstream.to_owned(), Arc::clone(&open));
        let server = Server::start(address, move |request| {
            let (upstream, shared) = (upstream.clone(), Arc::clone(&shared));
            async move {
                let target = request.uri().to_string();
                let authorized = request.headers().contains_key(AUTHORIZATION);
                let answer = answer(&upstream, &shared, request).await?;
                lock(&shared).requests.push(StoreRequest { target, authorized, status: answer.status().as_u16() });
                Ok(answer)
            }
        });
        Self { doors: Doors { host: server.host(), open }, _server: server }
    }

    pub(super) fn doors(&self) -> Doors {
        self.doors.clone()
    }

    pub(super) fn requests(&self) -> Vec<StoreRequest> {
        lock(&self.doors.open).requests.clone()
    }
}

impl Doors {
    /// A URL signed for requests of `method` for the blob at `path` on the registry.
    pub(super) fn open(&self, method: &Method, path: &str, authorization: Option<HeaderValue>) -> String {
        let signature = format!("{:032x}", fastrand::u128(..));
        let name = path.rsplit('/').next().unwrap_or_default().replace(':', "/");
        let door = Door { method: method.clone(), path: path.to_owned(), authorization };
        lock(&self.open).doors.insert(signature.clone(), door);
        format!(
            "http://{}/docker/registry/v2/blobs/{name}/data?X-Amz-Expires=1200&X-Amz-Signature={signature}",
            self.host
        )
    }
}

async fn answer(upstream: &str, open: &Mutex<Open>, request: Request<Incoming>) -> Result<Response<Body>, Failure> {
    if request.headers().contains_key(AUTHORIZATION) {
        let body = "<Error><Code>InvalidArgument</Code><Message>Only one auth mechanism allowed</Message></Error>";
        return Ok(text(StatusCode::BAD_REQUEST, "application/xml", body.to_owned()));
    }
    let signature = query_values(request.uri().query().unwrap_or_default(), "X-Amz-Signature").into_iter().next();
    let door = signature.and_then(|signature| lock(open).doors.get(&signature).cloned());
    let Some(Door { path, authorization, .. }) = door.filter(|door| door.method == *request.method()) else {
        let body = "<Error><Code>SignatureDoesNotMatch</Code></Error>";
        return Ok(text(StatusCode::FORBIDDEN, "application/xml", body.to_owned()));
    };
    let (mut parts, _) = request.into_parts();
    parts.uri = format!("http://{upstream}{path}").parse()?;
    parts.headers.remove(HOST);
    parts.headers.extend(authorization.map(|value| (AUTHORIZATION, value)));
    let (mut parts, body) = send(Request::from_parts(parts, empty())).await?.into_parts();
    // A plain object store doesn't send the registry's headers.
    parts.headers.remove("docker-content-digest");
    parts.headers.remove("docker-distribution-api-version");
    Ok(Response::from_parts(parts, body.map_err(Into::into).boxed()))
}

fn lock(open: &Mutex<Open>) -> MutexGuard<'_, Open> {
    open.lock().expect("nothing panics while it holds the doors")
}
