//! A real registry (CNCF distribution) on loopback, and the few requests of the [distribution specification][spec] that
//! tests make themselves.
//!
//! [spec]: https://github.com/opencontainers/distribution-spec/blob/main/spec.md

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use hyper::StatusCode;
use serde_json::Value;
use tempfile::TempDir;

use crate::http::{self, Answer};
use crate::image::{Image, Manifest, MediaTypes, digest};
use crate::parts;
use crate::process::Process;
use crate::token_server::TokenServer;

/// The authentication that a registry asks for.
#[derive(Debug, Clone, Copy)]
pub enum Auth<'a> {
    /// None: everybody may do everything.
    None,
    /// Basic authentication, with one user.
    Htpasswd {
        /// The user's name.
        user: &'a str,
        /// The user's password.
        password: &'a str,
    },
    /// Bearer tokens, like those of GHCR and Docker Hub.
    Token(&'a TokenServer),
}

/// A request in the registry's access log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logged {
    /// The HTTP method: `GET`.
    pub method: String,
    /// Path and query, as sent.
    pub path: String,
    /// The status it was answered with.
    pub status: u16,
}

/// A running registry with its own storage; both are removed when it is dropped.
#[derive(Debug)]
pub struct Registry {
    host: String,
    process: Process,
    store: TempDir,
    program: PathBuf,
    credentials: Credentials,
    seen_before_restart: Vec<Logged>,
}

#[derive(Debug)]
enum Credentials {
    None,
    Basic(String),
    Token(crate::token_server::Mint),
}

impl Registry {
    /// Starts distribution 2; `None` if it isn't installed ([`parts::registry`]).
    pub async fn start(auth: Auth<'_>) -> Option<Self> {
        Self::start_on("127.0.0.1:0", auth).await
    }

    /// Starts distribution 2 on another address, such as that of a bridge that containers can reach; port 0 for any
    /// free one.
    pub async fn start_on(address: &str, auth: Auth<'_>) -> Option<Self> {
        Some(Self::serve(parts::registry()?, address, auth).await)
    }

    /// Starts distribution 3; `None` if it isn't available ([`parts::registry3`]).
    pub async fn start_v3(auth: Auth<'_>) -> Option<Self> {
        Some(Self::serve(parts::registry3()?, "127.0.0.1:0", auth).await)
    }

    async fn serve(program: PathBuf, address: &str, auth: Auth<'_>) -> Self {
        let store = tempfile::Builder::new().prefix("registry-").tempdir().expect("a temporary folder can be made");
        let (config, credentials) = match auth {
            Auth::None => (String::new(), Credentials::None),
            Auth::Htpasswd { user, password } => {
                let path = store.path().join("htpasswd");
                // The lowest possible cost, since the registry computes the hash on every request.
                let hash = bcrypt::hash(password, 4).expect("a password can be hashed");
                std::fs::write(&path, format!("{user}:{hash}\n")).expect("the temporary folder is writable");
                let config = format!("auth:\n  htpasswd:\n    realm: registry\n    path: {}\n", path.display());
                (config, Credentials::Basic(basic(user, password)))
            }
            Auth::Token(server) => {
                let path = store.path().join("tokens.pem");
                std::fs::write(&path, server.certificate()).expect("the temporary folder is writable");
                let config = format!(
                    "auth:\n  token:\n    realm: {}\n    service: {}\n    issuer: {}\n    rootcertbundle: {}\n",
                    server.realm(),
                    server.service(),
                    server.issuer(),
                    path.display()
                );
                (config, Credentials::Token(server.mint()))
            }
        };
        std::fs::write(store.path().join("auth.yml"), config).expect("the temporary folder is writable");
        let (process, host) = launch(&program, store.path(), address).await;
        Self { host, process, store, program, credentials, seen_before_restart: Vec::new() }
    }

    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Kills the registry and starts it again on the same port and store.
    pub async fn restart(&mut self) {
        self.seen_before_restart = self.requests();
        self.process.kill();
        (self.process, _) = launch(&self.program, self.store.path(), &self.host).await;
    }

    /// The folder of its `filesystem` storage driver.
    pub fn storage(&self) -> PathBuf {
        self.store.path().join("storage")
    }

    /// The registry's log so far.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// All requests that the registry has answered since its start, in the order of its access log. A request is logged
    /// after it has been answered, so its client may see the answer a moment earlier.
    pub fn requests(&self) -> Vec<Logged> {
        let mut requests = self.seen_before_restart.clone();
        requests.extend(self.process.log().lines().filter_map(access_log_entry));
        requests
    }

    /// How many of [`Registry::requests`] changed something: finished uploads, mounts, manifests, deletions.
    pub fn writes(&self) -> usize {
        let is_write = |request: &&Logged| match request.method.as_str() {
            "PUT" | "DELETE" => request.status < 300,
            "POST" => request.status == 201,
            _ => false,
        };
        self.requests().iter().filter(is_write).count()
    }

    /// Sends a request for `repository` with the registry's own credentials. `path` is the part after
    /// `/v2/<repository>/`.
    pub async fn send(
        &self,
        method: &str,
        repository: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Answer {
        self.send_to(method, &format!("http://{}/v2/{repository}/{path}", self.host), repository, headers, body).await
    }

    /// Pushes an image under `tag`, and returns the digest that the tag names.
    pub async fn push(&self, image: &Image, repository: &str, tag: &str) -> String {
        for blob in &image.blobs {
            self.push_blob(repository, blob.clone()).await;
        }
        for manifest in &image.manifests {
            self.push_manifest(repository, &manifest.digest(), manifest).await;
        }
        self.push_manifest(repository, tag, image.top()).await;
        image.top().digest()
    }

    /// Pushes an OCI image layout (see [`Image::read_layout`]) under `tag`, and returns the digest that the tag names.
    pub async fn seed(&self, layout: &Path, repository: &str, tag: &str) -> String {
        self.push(&Image::read_layout(layout, tag), repository, tag).await
    }

    /// Pushes a blob, unless it is there, and returns its digest.
    pub async fn push_blob(&self, repository: &str, blob: Vec<u8>) -> String {
        let digest = digest(&blob);
        if self.blob_exists(repository, &digest).await {
            return digest;
        }
        let started = self.send("POST", repository, "blobs/uploads/", &[], Bytes::new()).await;
        assert_eq!(started.status, StatusCode::ACCEPTED, "{}", started.text());
        let location = started.header("location");
        let join = if location.contains('?') { '&' } else { '?' };
        let headers = [("content-type", "application/octet-stream")];
        let pushed = self.send_to("PUT", &format!("{location}{join}digest={digest}"), repository, &headers, blob).await;
        assert_eq!(pushed.status, StatusCode::CREATED, "{}", pushed.text());
        digest
    }

    /// Pushes a manifest under `reference`, which is a tag or its digest.
    pub async fn push_manifest(&self, repository: &str, reference: &str, manifest: &Manifest) {
        let headers = [("content-type", manifest.media_type.as_str())];
        let pushed =
            self.send("PUT", repository, &format!("manifests/{reference}"), &headers, manifest.bytes.clone()).await;
        assert_eq!(pushed.status, StatusCode::CREATED, "{}", pushed.text());
    }

    /// The manifest that `reference` (a tag or a digest) names, if it exists.
    pub async fn manifest(&self, repository: &str, reference: &str) -> Option<Manifest> {
        let accept = [MediaTypes::Oci, MediaTypes::Docker]
            .map(|types| format!("{}, {}", types.index(), types.manifest()))
            .join(", ");
        let path = format!("manifests/{reference}");
        let deadline = Instant::now() + Duration::from_secs(10);
        let answer = loop {
            let answer = self.send("GET", repository, &path, &[("accept", &accept)], Bytes::new()).await;
            // Distribution answers like this for a tag that it is just writing.
            if answer.status != StatusCode::INTERNAL_SERVER_ERROR || Instant::now() > deadline {
                break answer;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        let media_type = answer.header("content-type").to_owned();
        found(&answer).then(|| Manifest { media_type, bytes: answer.body.to_vec() })
    }

    /// The bytes of a blob, if the repository has it.
    pub async fn blob(&self, repository: &str, digest: &str) -> Option<Bytes> {
        let answer = self.send("GET", repository, &format!("blobs/{digest}"), &[], Bytes::new()).await;
        found(&answer).then_some(answer.body)
    }

    /// Whether the repository has a blob.
    pub async fn blob_exists(&self, repository: &str, digest: &str) -> bool {
        found(&self.send("HEAD", repository, &format!("blobs/{digest}"), &[], Bytes::new()).await)
    }

    /// The tags of a repository, sorted; none if there is no such repository.
    pub async fn tags(&self, repository: &str) -> Vec<String> {
        let answer = self.send("GET", repository, "tags/list?n=10000", &[], Bytes::new()).await;
        if !found(&answer) {
            return Vec::new();
        }
        let list = answer.json();
        let tags = list["tags"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let mut tags: Vec<String> = tags.map(str::to_owned).collect();
        tags.sort_unstable();
        tags
    }

    /// Deletes a manifest (by digest), and the tags that name it.
    pub async fn delete_manifest(&self, repository: &str, digest: &str) {
        let answer = self.send("DELETE", repository, &format!("manifests/{digest}"), &[], Bytes::new()).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text());
    }

    /// Deletes a blob from a repository.
    pub async fn delete_blob(&self, repository: &str, digest: &str) {
        let answer = self.send("DELETE", repository, &format!("blobs/{digest}"), &[], Bytes::new()).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text());
    }

    async fn send_to(
        &self,
        method: &str,
        url: &str,
        repository: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Answer {
        let authorization = match &self.credentials {
            Credentials::None => None,
            Credentials::Basic(basic) => Some(basic.clone()),
            Credentials::Token(mint) => {
                Some(format!("Bearer {}", mint.token("test", &[(repository, "pull,push,delete")], 300)))
            }
        };
        let mut headers = headers.to_vec();
        headers.extend(authorization.as_deref().map(|value| ("authorization", value)));
        let answer = http::request(method, url, &headers, body).await;
        answer.unwrap_or_else(|error| panic!("{method} {url}: {error}"))
    }
}

/// The value of an `Authorization` header for a user and a password.
pub fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", BASE64.encode(format!("{user}:{password}")))
}

async fn launch(program: &Path, store: &Path, address: &str) -> (Process, String) {
    let storage = store.join("storage");
    let auth = std::fs::read_to_string(store.join("auth.yml")).expect("written at the start");
    let config = format!(
        "version: 0.1\n\
         log:\n  level: info\n  accesslog:\n    disabled: false\n\
         storage:\n  filesystem:\n    rootdirectory: {}\n  delete:\n    enabled: true\n  maintenance:\n    uploadpurging:\n      enabled: false\n\
         http:\n  addr: {address}\n  secret: not-a-secret\n{auth}",
        storage.display()
    );
    let path = store.join("config.yml");
    std::fs::write(&path, config).expect("the temporary folder is writable");
    // Distribution 3 would otherwise look for a trace collector.
    let mut process = Process::spawn(Command::new(program).arg("serve").arg(&path).env("OTEL_TRACES_EXPORTER", "none"));
    let host = process.wait_for("its address", listening).await;
    (process, host)
}

/// The address in distribution's `msg="listening on 127.0.0.1:5000"`, which it logs when it is ready.
fn listening(log: &str) -> Option<String> {
    let after = log.split_once("listening on ")?.1;
    Some(after[..after.find('"')?].to_owned())
}

/// A line of the access log, which is in Apache's combined format.
fn access_log_entry(line: &str) -> Option<Logged> {
    let mut quoted = line.split('"');
    let (_, request, rest) = (quoted.next()?, quoted.next()?, quoted.next()?);
    let mut words = request.split(' ');
    let (method, path, protocol) = (words.next()?, words.next()?, words.next()?);
    let status = rest.split_whitespace().next()?.parse().ok()?;
    protocol.starts_with("HTTP/").then(|| Logged { method: method.into(), path: path.into(), status })
}

fn found(answer: &Answer) -> bool {
    match answer.status {
        StatusCode::OK => true,
        StatusCode::NOT_FOUND => false,
        status => panic!("{status}: {}", answer.text()),
    }
}

#[cfg(test)]
mod tests;
