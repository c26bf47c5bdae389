//! The bit of HTTP/1.1 that the servers of this crate share: a listener that ends when it is dropped, and a client for
//! single requests.

use std::convert::Infallible;
use std::future::Future;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::task::{AbortHandle, JoinSet};

/// An error; only its text matters.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// The body of a request or an answer, streamed.
pub type Body = BoxBody<Bytes, Failure>;

/// The runtime of all servers of this crate. It isn't the test's own, because a test may block that one (by running a
/// program and waiting for it) while the servers still have to answer that program.
pub(crate) fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("support")
            .enable_all()
            .build()
            .expect("a runtime can be started")
    })
}

/// A listening server. Dropping it closes the listener and all its connections.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    accepting: AbortHandle,
}

impl Server {
    /// Listens on `address` (port 0 for any free one) and answers each request by `answer`. If that fails, the
    /// connection is closed without an answer.
    pub fn start<A, F>(address: &str, answer: A) -> Self
    where
        A: Fn(Request<Incoming>) -> F + Send + Sync + 'static,
        F: Future<Output = Result<Response<Body>, Failure>> + Send + 'static,
    {
        let listener =
            TcpListener::bind(address).unwrap_or_else(|error| panic!("can't listen on `{address}`: {error}"));
        listener.set_nonblocking(true).expect("a socket can be made non-blocking");
        let address = listener.local_addr().expect("a bound socket has an address");
        let answer = Arc::new(answer);
        let accepting = runtime().spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).expect("the runtime drives sockets");
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                // Otherwise an answer in two pieces would wait for the client's delayed acknowledgement of the first.
                let _ = stream.set_nodelay(true);
                let answer = Arc::clone(&answer);
                connections.spawn(async move {
                    let service = hyper::service::service_fn(move |request| answer(request));
                    // A connection that the peer or a fault broke isn't a failure of the server.
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
                while connections.try_join_next().is_some() {}
            }
        });
        Self { address, accepting: accepting.abort_handle() }
    }

    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> String {
        self.address.to_string()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Sends one request, whose URI is absolute (`http://…`), over a connection of its own. The answer's body is streamed.
pub async fn send(mut request: Request<Body>) -> Result<Response<Incoming>, Failure> {
    let authority = request.uri().authority().ok_or("the URI names no host")?.clone();
    if !request.headers().contains_key("host") {
        request.headers_mut().insert("host", HeaderValue::from_str(authority.as_str())?);
    }
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str()).parse()?;
    *request.uri_mut() = path;
    let stream = TcpStream::connect(authority.as_str()).await?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender.send_request(request).await?)
}

/// An answer with its whole body.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

impl Answer {
    /// The header `name` as text; empty if it is missing.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The body as JSON. Panics with the body if it isn't JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("not JSON ({error}): {}", self.text()))
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Sends one request with a body in memory, and reads the whole answer. It doesn't follow redirects.
pub async fn request(
    method: &str,
    url: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Result<Answer, Failure> {
    let mut request = Request::builder().method(method).uri(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let (parts, body) = send(request.body(full(body))?).await?.into_parts();
    Ok(Answer { status: parts.status, headers: parts.headers, body: body.collect().await?.to_bytes() })
}

/// `request` with the method GET.
pub async fn get(url: &str, headers: &[(&str, &str)]) -> Result<Answer, Failure> {
    request("GET", url, headers, Bytes::new()).await
}

pub(crate) fn full(bytes: impl Into<Bytes>) -> Body {
    let bytes = bytes.into();
    if bytes.is_empty() { empty() } else { Full::new(bytes).map_err(never).boxed() }
}

pub(crate) fn empty() -> Body {
    Empty::new().map_err(never).boxed()
}

pub(crate) fn json(status: StatusCode, value: &Value) -> Response<Body> {
    text(status, "application/json", value.to_string())
}

pub(crate) fn text(status: StatusCode, media_type: &'static str, text: String) -> Response<Body> {
    let mut response = Response::new(full(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

/// The decoded values of `name` in a query, in order.
pub(crate) fn query_values(query: &str, name: &str) -> Vec<String> {
    query_pairs(query).into_iter().filter(|(key, _)| key == name).map(|(_, value)| value).collect()
}

/// The decoded pairs of a query, in order.
pub(crate) fn query_pairs(query: &str) -> Vec<(String, String)> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(key, value)| (decoded(key), decoded(&value.replace('+', " "))))
        .collect()
}

/// Percent-decoding.
pub(crate) fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escaped = (bytes[at] == b'%').then(|| text.get(at + 1..at + 3)).flatten();
        match escaped.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn never(never: Infallible) -> Failure {
    match never {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_dropped_server_no_longer_answers() {
        let server = Server::start("127.0.0.1:0", |_| async { Ok(text(StatusCode::OK, "text/plain", "here".into())) });
        let url = format!("http://{}/", server.host());
        assert_eq!(get(&url, &[]).await.unwrap().text(), "here");
        drop(server);
        // The task is aborted at its next turn, not immediately.
        for _ in 0..500 {
            if get(&url, &[]).await.is_err() {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("the server still answers");
    }

    #[test]
    fn a_blocked_test_does_not_block_the_servers() {
        let server = Server::start("127.0.0.1:0", |_| async { Ok(text(StatusCode::OK, "text/plain", "here".into())) });
        let mut stream = std::net::TcpStream::connect(server.host()).unwrap();
        std::io::Write::write_all(&mut stream, b"GET / HTTP/1.0\r\n\r\n").unwrap();
        let answer = std::io::read_to_string(stream).unwrap();
        assert!(answer.ends_with("here"), "{answer}");
    }

    #[test]
    fn queries_are_decoded() {
        let query = "scope=repository%3Aacme%2Ftool%3Apull%2Cpush&service=a+b&scope=x&bad=%zz";
        assert_eq!(query_values(query, "scope"), ["repository:acme/tool:pull,push", "x"]);
        assert_eq!(query_values(query, "service"), ["a b"]);
        assert_eq!(query_values(query, "bad"), ["%zz"]);
    }
}
