//! Requests to the [Engine API](https://docs.docker.com/reference/api/engine/).
//!
//! bollard sends no API version, and its models lack fields that we compare and records of the build cache, so it is
//! used only for the gRPC session of a build. The other dozen requests are plain HTTP.

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use reqwest::{Method, Response};
use serde_json::Value;
use tokio_util::io::ReaderStream;

use super::error::{Cause, EngineError};
use crate::quote::quoted;

/// The newest API version that we know. An older engine's own version takes precedence.
const NEWEST: ApiVersion = ApiVersion(1, 48);
/// For requests that are answered promptly. Longer ones (a pull, a wait) have limits of their own.
const PATIENCE: Duration = Duration::from_secs(120);

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

    /// Sends the request, and returns the body of the answer while it arrives.
    pub(super) async fn stream(self) -> Result<Body, EngineError> {
        let response = self.send().await?;
        Ok(response.bytes_stream().map(|chunk| chunk.map_err(|error| Cause::new(&error))).boxed())
    }

    /// Sends the request, and returns the head of the answer.
    pub(super) async fn send(self) -> Result<Response, EngineError> {
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
