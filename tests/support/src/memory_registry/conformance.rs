//! Compares this registry with CNCF distribution: the same requests must have the same answers, in everything that
//! clients look at.

use hyper::StatusCode;

use super::*;
use crate::http::{self, Answer};
use crate::image::{MediaTypes, TinyImage, file};
use crate::parts::skip;
use crate::registry::{self, Auth};

const OCTETS: (&str, &str) = ("content-type", "application/octet-stream");
/// The headers that are compared. In `location`, only the kind of target matters, since uploads have unique names.
const HEADERS: [&str; 12] = [
    "accept-ranges",
    "allow",
    "content-length",
    "content-range",
    "content-type",
    "docker-content-digest",
    "docker-distribution-api-version",
    "etag",
    "link",
    "location",
    "range",
    "www-authenticate",
];

/// Sends requests to one registry, and records everything that must be the same for the other.
struct Client<'a> {
    host: &'a str,
    heard: Vec<String>,
}

impl Client<'_> {
    /// Sends a request, and returns the answer. `path` is either the part after `/v2/`, or a URL.
    async fn ask(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let url = if path.starts_with("http") { path.to_owned() } else { format!("http://{}/v2/{path}", self.host) };
        let answer = http::request(method, &url, headers, body.to_vec()).await;
        let answer = answer.unwrap_or_else(|error| panic!("{method} {url}: {error}"));
        let mut lines = vec![format!("{method} {} -> {}", self.without_names(&url), answer.status.as_u16())];
        for name in HEADERS {
            // The text of an error isn't compared, and neither is its length.
            if !answer.header(name).is_empty() && (name != "content-length" || answer.status.is_success()) {
                lines.push(format!("  {name}: {}", self.without_names(answer.header(name))));
            }
        }
        lines.push(format!("  {}", body_of(&answer)));
        self.heard.push(lines.join("\n"));
        answer
    }

    /// Opens an upload, and returns its location.
    async fn open(&mut self) -> String {
        let opened = self.ask("POST", "acme/tool/blobs/uploads/", &[], b"").await;
        assert_eq!(opened.status, StatusCode::ACCEPTED);
        opened.header("location").to_owned()
    }

    fn without_names(&self, url: &str) -> String {
        let url = url.replace(self.host, "HOST");
        match url.split_once("/blobs/uploads/") {
            Some((before, after)) if !after.is_empty() && !after.starts_with('?') => {
                let digest =
                    after.split_once("&digest=").map_or(String::new(), |(_, digest)| format!("&digest={digest}"));
                format!(
                    "{before}/blobs/uploads/ID{}{digest}",
                    if after.contains("?_state=") { "?_state=X" } else { "" }
                )
            }
            _ => url,
        }
    }
}

/// The body for the comparison: the codes of errors, a sorted list of tags, or everything.
fn body_of(answer: &Answer) -> String {
    let Ok(json) = serde_json::from_slice::<serde_json::Value>(&answer.body) else { return answer.text() };
    if let Some(errors) = json["errors"].as_array() {
        let mut codes: Vec<String> = errors.iter().map(|error| error["code"].to_string()).collect();
        codes.sort_unstable();
        return format!("errors: {}", codes.join(" "));
    }
    if let Some(tags) = json["tags"].as_array() {
        let mut tags: Vec<String> = tags.iter().map(ToString::to_string).collect();
        tags.sort_unstable();
        return format!("tags: {}", tags.join(" "));
    }
    answer.text().trim().to_owned()
}

async fn pulls_of_missing_content(client: &mut Client<'_>) {
    let unknown = digest(b"unknown");
    for path in ["", "acme/tool/tags/list", "acme/tool/manifests/1", "ACME/tags/list", "acme/tool", "a/manifests/-x"] {
        client.ask("GET", path, &[], b"").await;
    }
    for path in [format!("acme/tool/blobs/{unknown}"), format!("acme/tool/manifests/{unknown}")] {
        for method in ["GET", "HEAD", "DELETE"] {
            client.ask(method, &path, &[], b"").await;
        }
    }
    client.ask("GET", "acme/tool/blobs/sha256:abc", &[], b"").await;
    for (method, path) in
        [("PUT", "acme/tool/tags/list"), ("PATCH", "acme/tool/manifests/1"), ("POST", "acme/tool/manifests/1")]
    {
        client.ask(method, path, &[], b"").await;
    }
    client.ask("PUT", &format!("acme/tool/blobs/{unknown}"), &[], b"").await;
    client.ask("GET", "acme/tool/blobs/uploads/", &[], b"").await;
    client.ask("GET", "acme/tool/blobs/uploads/unknown", &[], b"").await;
}

async fn uploads(client: &mut Client<'_>) {
    let (hello, other) = (digest(b"hello"), digest(b"other"));
    let at_once = client.open().await;
    client.ask("GET", &at_once, &[], b"").await;
    client.ask("PUT", &format!("{at_once}&digest={hello}"), &[OCTETS], b"hello").await;
    client.ask("GET", &at_once, &[], b"").await;

    let mut chunked = client.open().await;
    for chunk in [("0-2", b"oth".as_slice()), ("3-4", b"er")] {
        let sent = client.ask("PATCH", &chunked, &[OCTETS, ("content-range", chunk.0)], chunk.1).await;
        chunked = sent.header("location").to_owned();
        chunked = client.ask("GET", &chunked, &[], b"").await.header("location").to_owned();
    }
    client.ask("PUT", &format!("{chunked}&digest={other}"), &[], b"").await;

    let mut mixed = client.open().await;
    mixed = client.ask("PATCH", &mixed, &[OCTETS], b"la").await.header("location").to_owned();
    client.ask("PUT", &format!("{mixed}&digest={}", digest(b"last")), &[OCTETS], b"st").await;
    let empty = client.open().await;
    client.ask("PUT", &format!("{empty}&digest={}", digest(b"")), &[], b"").await;

    let unnamed = client.open().await;
    client.ask("PUT", &unnamed, &[OCTETS], b"hello").await;
    client.ask("PUT", &format!("{unnamed}&digest=sha256:abc"), &[OCTETS], b"hello").await;
    client.ask("PUT", &format!("{unnamed}&digest={hello}"), &[OCTETS], b"hello").await;
    let wrong = client.open().await;
    client.ask("PUT", &format!("{wrong}&digest={hello}"), &[OCTETS], b"something else").await;
    client.ask("GET", &wrong, &[], b"").await;
    let stale = client.open().await;
    let fresh = client.ask("PATCH", &stale, &[OCTETS], b"hel").await.header("location").to_owned();
    client.ask("PATCH", &stale, &[OCTETS], b"hel").await;
    client.ask("GET", &fresh, &[], b"").await;
    let without_state = client.open().await;
    client.ask("PATCH", without_state.split('?').next().unwrap(), &[OCTETS], b"hel").await;
    let cancelled = client.open().await;
    client.ask("DELETE", &cancelled, &[], b"").await;
    client.ask("DELETE", &cancelled, &[], b"").await;
    client.ask("PATCH", &cancelled, &[OCTETS], b"hel").await;
}

async fn blobs(client: &mut Client<'_>) {
    let hello = digest(b"hello");
    let path = format!("acme/tool/blobs/{hello}");
    client.ask("HEAD", &path, &[], b"").await;
    client.ask("GET", &path, &[], b"").await;
    // Distribution 2 announces a body with a 416 but doesn't send it, so that isn't compared.
    for range in ["bytes=1-2", "bytes=3-", "bytes=-2", "bytes=-9", "bytes=2-100"] {
        client.ask("GET", &path, &[("range", range)], b"").await;
        client.ask("HEAD", &path, &[("range", range)], b"").await;
    }
    let mount = format!("other/x/blobs/uploads/?mount={hello}&from=acme/tool");
    client.ask("POST", &mount, &[], b"").await;
    client.ask("POST", &mount, &[], b"").await;
    client.ask("GET", &format!("other/x/blobs/{hello}"), &[], b"").await;
    client.ask("GET", "other/x/tags/list", &[], b"").await;
    for query in [
        format!("mount={}&from=acme/tool", digest(b"unknown")),
        format!("mount={}&from=other/x", digest(b"other")),
        format!("mount={hello}&from=no/where"),
        format!("mount={hello}"),
        "mount=x&from=acme/tool".to_owned(),
    ] {
        client.ask("POST", &format!("third/x/blobs/uploads/?{query}"), &[], b"").await;
    }
    client.ask("DELETE", &format!("other/x/blobs/{hello}"), &[], b"").await;
    client.ask("HEAD", &format!("other/x/blobs/{hello}"), &[], b"").await;
    client.ask("DELETE", &format!("other/x/blobs/{hello}"), &[], b"").await;
    client.ask("HEAD", &path, &[], b"").await;
}

async fn manifests(client: &mut Client<'_>, types: MediaTypes) {
    let repository = format!("images/{types:?}").to_lowercase();
    let image =
        TinyImage::new(&["linux/amd64", "linux/arm64"]).layer(vec![file("etc/x", "x")]).media_types(types).build();
    let (child, index) = (&image.manifests[0], image.top());
    let put = async |client: &mut Client<'_>, reference: &str, media_type: &str, bytes: &[u8]| {
        client.ask("PUT", &format!("{repository}/manifests/{reference}"), &[("content-type", media_type)], bytes).await;
    };
    put(client, &child.digest(), types.manifest(), &child.bytes).await;
    put(client, "1", types.index(), &index.bytes).await;
    for blob in &image.blobs {
        let opened = client.ask("POST", &format!("{repository}/blobs/uploads/"), &[], b"").await;
        client.ask("PUT", &format!("{}&digest={}", opened.header("location"), digest(blob)), &[OCTETS], blob).await;
    }
    put(client, "1", types.index(), &index.bytes).await;
    put(client, "1", types.index(), &child.bytes).await;
    put(client, "1", "text/plain", &child.bytes).await;
    put(client, "1", types.manifest(), b"{").await;
    put(client, "1", types.manifest(), b"").await;
    put(client, &digest(b"other"), types.manifest(), &child.bytes).await;
    put(client, &"a".repeat(129), types.manifest(), &child.bytes).await;
    client.ask("GET", &format!("{repository}/tags/list"), &[], b"").await;
    for manifest in &image.manifests {
        put(client, &manifest.digest(), &manifest.media_type, &manifest.bytes).await;
    }
    client.ask("GET", &format!("{repository}/tags/list"), &[], b"").await;
    for tag in ["b", "a", "1.0_x-Y", "B"] {
        put(client, tag, types.index(), &index.bytes).await;
    }
    put(client, "child", types.manifest(), &child.bytes).await;
    client.ask("GET", &format!("{repository}/tags/list"), &[], b"").await;
    let both = format!("{}, {};q=0.5", types.manifest(), types.index());
    for reference in ["a", "child", &index.digest(), &child.digest(), "none", &digest(b"none")] {
        for method in ["GET", "HEAD"] {
            client.ask(method, &format!("{repository}/manifests/{reference}"), &[("accept", &both)], b"").await;
        }
    }
    if types == MediaTypes::Oci {
        for accept in ["*/*", types.index(), MediaTypes::Docker.manifest()] {
            client.ask("GET", &format!("{repository}/manifests/child"), &[("accept", accept)], b"").await;
        }
    }
    put(client, "a", types.manifest(), &child.bytes).await;
    client.ask("HEAD", &format!("{repository}/manifests/a"), &[("accept", &both)], b"").await;
    client.ask("DELETE", &format!("{repository}/manifests/a"), &[], b"").await;
    client.ask("DELETE", &format!("{repository}/manifests/{}", child.digest()), &[], b"").await;
    for reference in ["a", "b", "child", &child.digest()] {
        client.ask("GET", &format!("{repository}/manifests/{reference}"), &[("accept", &both)], b"").await;
    }
    client.ask("GET", &format!("{repository}/tags/list"), &[], b"").await;
    client.ask("DELETE", &format!("{repository}/manifests/{}", child.digest()), &[], b"").await;
    put(client, "again", types.index(), &index.bytes).await;
    client.ask("DELETE", &format!("{repository}/manifests/{}", index.digest()), &[], b"").await;
    client.ask("GET", &format!("{repository}/tags/list"), &[], b"").await;
}

async fn heard(host: &str) -> Vec<String> {
    let mut client = Client { host, heard: Vec::new() };
    pulls_of_missing_content(&mut client).await;
    uploads(&mut client).await;
    blobs(&mut client).await;
    manifests(&mut client, MediaTypes::Oci).await;
    manifests(&mut client, MediaTypes::Docker).await;
    client.heard
}

#[tokio::test]
async fn it_answers_as_distribution_2_does() {
    let Some(real) = registry::Registry::start(Auth::None).await else { return skip("no docker-registry") };
    let ours = MemoryRegistry::start();
    let (expected, found) = (heard(real.host()).await, heard(&ours.host()).await);
    let differences: Vec<String> = expected
        .iter()
        .zip(&found)
        .filter(|(expected, found)| expected != found)
        .map(|(expected, found)| format!("distribution: {expected}\nours: {found}"))
        .collect();
    assert!(differences.is_empty(), "{}", differences.join("\n\n"));
    assert!(expected.len() == found.len() && expected.len() > 150, "{} requests", expected.len());
}

#[tokio::test]
async fn it_asks_for_a_login_as_distribution_2_does() {
    let auth = Auth::Htpasswd { user: "publisher", password: "s3cret" };
    let Some(real) = registry::Registry::start(auth).await else { return skip("no docker-registry") };
    let ours = MemoryRegistry::start();
    ours.require_login();
    let login = registry::basic("publisher", "s3cret");
    let mut heard = Vec::new();
    for host in [real.host(), &ours.host()] {
        let mut client = Client { host, heard: Vec::new() };
        for headers in [&[][..], &[("authorization", login.as_str())]] {
            for (method, path) in [("GET", ""), ("GET", "acme/tool/tags/list"), ("POST", "acme/tool/blobs/uploads/")] {
                client.ask(method, path, headers, b"").await;
            }
        }
        heard.push(client.heard);
    }
    assert_eq!(heard[1], heard[0]);
}
