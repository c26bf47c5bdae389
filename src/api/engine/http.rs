//! Requests to the [Engine API](https://docs.docker.com/reference/api/engine/).
//!
//! bollard sends no API version, and its models lack fields that we compare and records of the build cache, so it is
//! used only for the gRPC session of a build. The other dozen requests are plain HTTP.

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use reqwest::{Method, Response};
use serde_json::Value;
use tokio_util::io::ReaderStream;

use super::error::{Cause, EngineError};
use crate::quote::quoted;

/// The newest API version that we know. An older engine's own version takes precedence.
const NEWEST: ApiVersion = ApiVersion(1, 48);
/// How long a prompt answer may take, and the next part of one that is a stream. Requests that take longer (a pull, a
/// wait) have limits of their own.
pub(super) const PATIENCE: Duration = Duration::from_secs(120);

/// A version of the Engine API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ApiVersion(pub(super) u16, pub(super) u16);

impl ApiVersion {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (major, minor) = text.split_once('.')?;
        Some(Self(major.parse().ok()?, minor.parse().ok()?))
    }
}

/// A connection to an engine, with the negotiated API version.
#[derive(Debug)]
pub(super) struct Http {
    client: reqwest::Client,
    origin: String,
    version: Option<ApiVersion>,
}

/// A response body that is still arriving.
pub(super) type Body = BoxStream<'static, Result<Bytes, Cause>>;

/// A request under construction.
pub(super) struct Call<'a> {
    http: &'a Http,
    what: String,
    method: Method,
    path: String,
    query: Vec<(&'a str, String)>,
    headers: Vec<(&'a str, String)>,
    body: Option<Sent>,
}

/// The body of a request.
enum Sent {
    Json(Value),
    /// A tar archive.
    Archive(std::fs::File),
}

impl Http {
    pub(super) fn unix(path: &str) -> Result<Self, Cause> {
        let client = Self::builder()?.unix_socket(std::path::Path::new(path));
        Self::new(client, "http://engine".to_owned())
    }

    pub(super) fn tcp(authority: &str) -> Result<Self, Cause> {
        Self::new(Self::builder()?, format!("http://{authority}"))
    }

    fn builder() -> Result<reqwest::ClientBuilder, Cause> {
        // Never used, since the engine is asked over plain HTTP; but without it, reqwest looks for a cryptography
        // provider.
        let tls = rustls::ClientConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
            .with_safe_default_protocol_versions()
            .map_err(|error| Cause::new(&error))?
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        let client = reqwest::Client::builder().tls_backend_preconfigured(tls).no_proxy().http1_only();
        Ok(client.connect_timeout(Duration::from_secs(10)).redirect(reqwest::redirect::Policy::none()))
    }

    fn new(client: reqwest::ClientBuilder, origin: String) -> Result<Self, Cause> {
        let client = client.build().map_err(|error| Cause::new(&error))?;
        Ok(Self { client, origin, version: None })
    }

    /// Uses the older of `theirs` and our version from now on.
    pub(super) fn negotiate(&mut self, theirs: ApiVersion) {
        self.version = Some(theirs.min(NEWEST));
    }

    pub(super) fn speaks(&self, version: ApiVersion) -> bool {
        self.version.is_some_and(|ours| ours >= version)
    }

    /// `what` completes the sentence "the engine failed to".
    pub(super) fn get(&self, path: impl Into<String>, what: impl Into<String>) -> Call<'_> {
        self.call(Method::GET, path, what)
    }

    pub(super) fn post(&self, path: impl Into<String>, what: impl Into<String>) -> Call<'_> {
        self.call(Method::POST, path, what)
    }

    pub(super) fn delete(&self, path: impl Into<String>, what: impl Into<String>) -> Call<'_> {
        self.call(Method::DELETE, path, what)
    }

    fn call(&self, method: Method, path: impl Into<String>, what: impl Into<String>) -> Call<'_> {
        let (path, what) = (path.into(), what.into());
        Call { http: self, what, method, path, query: Vec::new(), headers: Vec::new(), body: None }
    }
}

impl<'a> Call<'a> {
    pub(super) fn query(mut self, name: &'a str, value: impl Into<String>) -> Self {
        self.query.push((name, value.into()));
        self
    }

    pub(super) fn header(mut self, name: &'a str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(super) fn body(mut self, body: Value) -> Self {
        self.body = Some(Sent::Json(body));
        self
    }

    /// Sends a tar archive, from its beginning.
    pub(super) fn archive(mut self, archive: std::fs::File) -> Self {
        self.body = Some(Sent::Archive(archive));
        self
    }

    /// Sends the request, and returns the JSON of the answer (`null` if there is none).
    pub(super) async fn json(self) -> Result<Value, EngineError> {
        let what = self.what.clone();
        let failed = |cause| EngineError::Request { what: what.clone(), cause };
        let answer = async {
            let response = self.send().await?;
            let status = response.status().as_u16();
            let bytes = response.bytes().await.map_err(|error| failed(Cause::new(&error)))?;
            Ok((status, bytes))
        };
        let (status, bytes) = tokio::time::timeout(PATIENCE, answer)
            .await
            .map_err(|_| failed(Cause::text(format!("no answer within {} s", PATIENCE.as_secs()))))??;
        if bytes.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&bytes).map_err(|error| failed(Cause::refused(status, format!("not JSON: {error}"))))
    }

    /// Sends the request, and returns the body of the answer while it arrives. If neither the head nor the next part of
    /// the body arrives within `silence`, the connection counts as lost.
    pub(super) async fn stream(self, silence: Duration) -> Result<Body, EngineError> {
        let what = self.what.clone();
        let body = tokio::time::timeout(silence, self.unlimited_stream()).await;
        let body = body.map_err(|_| EngineError::Request { what, cause: Cause::stalled(silence) })??;
        Ok(while_it_arrives(body, silence))
    }

    /// Like [`Self::stream`], for callers that limit the time in another way.
    pub(super) async fn unlimited_stream(self) -> Result<Body, EngineError> {
        let response = self.send().await?;
        Ok(response.bytes_stream().map(|chunk| chunk.map_err(|error| Cause::new(&error))).boxed())
    }

    /// Sends the request, and returns the head of the answer, however long it takes.
    async fn send(self) -> Result<Response, EngineError> {
        let version = self.http.version.map(|ApiVersion(major, minor)| format!("/v{major}.{minor}"));
        let mut url = format!("{}{}{}", self.http.origin, version.unwrap_or_default(), self.path);
        if !self.query.is_empty() {
            let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(&self.query).finish();
            url = format!("{url}?{query}");
        }
        let mut request = self.http.client.request(self.method, url);
        for (name, value) in self.headers {
            request = request.header(name, value);
        }
        request = match self.body {
            Some(Sent::Json(body)) => request.header("content-type", "application/json").body(body.to_string()),
            Some(Sent::Archive(file)) => {
                let pieces = ReaderStream::new(tokio::fs::File::from_std(file));
                request.header("content-type", "application/x-tar").body(reqwest::Body::wrap_stream(pieces))
            }
            None => request,
        };
        let what = self.what;
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) => return Err(EngineError::Request { what, cause: Cause::new(&error.without_url()) }),
        };
        if response.status().is_success() || response.status() == 304 {
            return Ok(response);
        }
        let status = response.status().as_u16();
        let text = response.text().await.unwrap_or_default();
        let message = serde_json::from_str::<Value>(&text)
            .ok()
            .and_then(|answer| Some(answer.get("message")?.as_str()?.to_owned()))
            .filter(|message| !message.is_empty())
            .unwrap_or(if text.is_empty() { format!("HTTP status {status}") } else { quoted(&text) });
        Err(EngineError::Request { what, cause: Cause::refused(status, message) })
    }
}

/// `body`, which ends with a lost connection if its next part doesn't arrive within `silence`. The time that the reader
/// takes between two parts doesn't count.
fn while_it_arrives(body: Body, silence: Duration) -> Body {
    let parts = stream::unfold(Some(body), move |body| async move {
        let mut body = body?;
        match tokio::time::timeout(silence, body.next()).await {
            Ok(part) => Some((part?, Some(body))),
            Err(_) => Some((Err(Cause::stalled(silence)), None)),
        }
    });
    parts.boxed()
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::os::unix::net::UnixListener;

    use super::*;

    /// An engine that answers one request with `said`, and then keeps the connection open.
    fn stalling_engine(said: &'static str) -> (tempfile::TempDir, Http) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("engine.sock");
        let listener = UnixListener::bind(&path).unwrap();
        std::thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            assert!(socket.read(&mut [0; 4096]).unwrap() > 0);
            socket.write_all(said.as_bytes()).unwrap();
            // Until the client closes the connection.
            let _ = socket.read_to_end(&mut Vec::new());
        });
        let http = Http::unix(path.to_str().unwrap()).unwrap();
        (folder, http)
    }

    #[tokio::test]
    async fn an_engine_that_stops_talking_is_a_lost_connection() {
        for said in ["", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf"] {
            let (_folder, http) = stalling_engine(said);
            let read = async {
                let mut body = http.get("/file", "read a file").stream(Duration::from_millis(300)).await?;
                while let Some(part) = body.next().await {
                    part.map_err(|cause| EngineError::Request { what: "read a file".to_owned(), cause })?;
                }
                Ok::<_, EngineError>(())
            };
            let error = tokio::time::timeout(Duration::from_secs(60), read).await.unwrap().unwrap_err();
            assert!(error.is_lost_connection(), "{said:?}: {error:?}");
            assert!(format!("{error:?}").contains("it sent nothing"), "{said:?}: {error:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_may_last_as_long_as_it_goes_on() {
        let parts = ["one", "two", "three"].map(|part| Ok::<_, Cause>(Bytes::from(part)));
        let arriving = stream::iter(parts).then(async |part| {
            tokio::time::sleep(PATIENCE / 2).await;
            part
        });
        let mut body = while_it_arrives(arriving.chain(stream::pending()).boxed(), PATIENCE);
        for part in ["one", "two", "three"] {
            // The reader may take its time.
            tokio::time::sleep(2 * PATIENCE).await;
            assert_eq!(body.next().await.unwrap().unwrap(), part);
        }
        assert!(body.next().await.unwrap().unwrap_err().is_lost_connection());
        assert!(body.next().await.is_none(), "it has ended");
    }
}
