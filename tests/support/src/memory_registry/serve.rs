//! Serves the API of the [distribution
//! specification](https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md), like CNCF distribution 2.

use std::collections::BTreeMap;
use std::ops::Range;

use bytes::Bytes;
use hyper::header::{
    ACCEPT, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, RANGE,
};
use hyper::{Method, Response, StatusCode};
use serde_json::{Value, json};

use super::state::{References, Repository, Stored};
use super::{Call, Inner};
use crate::http::{Body, decoded, full, query_values};
use crate::image::{MediaTypes, digest};

/// Uploads that are open.
#[derive(Debug, Default)]
pub(super) struct Uploads {
    opened: u64,
    open: BTreeMap<String, Upload>,
}

#[derive(Debug)]
struct Upload {
    repository: String,
    bytes: Vec<u8>,
}

/// The resource that a request is for.
#[derive(Debug, PartialEq, Eq)]
enum Route {
    Base,
    Uploads { repository: String, id: String },
    Blob { repository: String, digest: String },
    Manifest { repository: String, reference: String },
    Tags { repository: String },
}

impl Route {
    fn of(path: &str) -> Option<Self> {
        let path = decoded(path.strip_prefix("/v2/")?);
        if path.is_empty() {
            return Some(Self::Base);
        }
        let (rest, last) = path.rsplit_once('/')?;
        let (rest, kind) = rest.rsplit_once('/')?;
        let (repository, route) = match (kind, last) {
            ("tags", "list") => (rest, Self::Tags { repository: rest.into() }),
            ("uploads", id) => {
                let repository = rest.strip_suffix("/blobs")?;
                (repository, Self::Uploads { repository: repository.into(), id: id.into() })
            }
            ("blobs", digest) => (rest, Self::Blob { repository: rest.into(), digest: digest.into() }),
            ("manifests", reference) if is_tag(reference) || reference.contains(':') => {
                (rest, Self::Manifest { repository: rest.into(), reference: reference.into() })
            }
            _ => return None,
        };
        is_repository(repository).then_some(route)
    }

    fn methods(&self) -> &'static [&'static str] {
        match self {
            Self::Base | Self::Tags { .. } => &["GET"],
            Self::Uploads { id, .. } if id.is_empty() => &["GET", "POST"],
            Self::Uploads { .. } => &["DELETE", "GET", "HEAD", "PATCH", "PUT"],
            Self::Blob { .. } => &["DELETE", "GET", "HEAD"],
            Self::Manifest { .. } => &["DELETE", "GET", "HEAD", "PUT"],
        }
    }
}

/// An error of the [specification](https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#error-codes).
#[derive(Debug, Clone, Copy)]
enum Refusal {
    BlobUnknown,
    BlobUploadInvalid,
    BlobUploadUnknown,
    DigestInvalid,
    ManifestInvalid,
    ManifestUnknown,
    NameUnknown,
    PaginationNumberInvalid,
    RangeInvalid,
    SizeInvalid,
    Unauthorized,
}

impl Refusal {
    fn words(self) -> (u16, &'static str, &'static str) {
        match self {
            Self::BlobUnknown => (404, "BLOB_UNKNOWN", "blob unknown to registry"),
            Self::BlobUploadInvalid => (404, "BLOB_UPLOAD_INVALID", "blob upload invalid"),
            Self::BlobUploadUnknown => (404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry"),
            Self::DigestInvalid => (400, "DIGEST_INVALID", "provided digest did not match uploaded content"),
            Self::ManifestInvalid => (400, "MANIFEST_INVALID", "manifest invalid"),
            Self::ManifestUnknown => (404, "MANIFEST_UNKNOWN", "manifest unknown"),
            Self::NameUnknown => (404, "NAME_UNKNOWN", "repository name not known to registry"),
            Self::PaginationNumberInvalid => (400, "PAGINATION_NUMBER_INVALID", "invalid number of results requested"),
            Self::RangeInvalid => (416, "RANGE_INVALID", "invalid content range"),
            Self::SizeInvalid => (400, "SIZE_INVALID", "provided length did not match content length"),
            Self::Unauthorized => (401, "UNAUTHORIZED", "authentication required"),
        }
    }

    fn answer(self, detail: &Value) -> Response<Body> {
        let (status, code, message) = self.words();
        errors(status, &json!([{ "code": code, "message": message, "detail": detail }]))
    }
}

const JSON: (&str, &str) = ("content-type", "application/json; charset=utf-8");
const TEXT: (&str, &str) = ("content-type", "text/plain; charset=utf-8");

type Answer = Result<Response<Body>, Refusal>;

impl Inner {
    /// Answers a request, and applies its changes immediately.
    pub(super) fn serve(&mut self, call: &Call) -> Response<Body> {
        let path = call.parts.uri.path();
        if path == "/v2" {
            return answer(301, [("location", "/v2/")], Bytes::new());
        }
        let Some(route) = Route::of(path) else {
            return answer(404, [TEXT], "404 page not found\n");
        };
        if !route.methods().contains(&call.parts.method.as_str()) {
            let allow = route.methods().join(", ");
            return answer(405, [("allow", allow.as_str()), TEXT], "Method not allowed\n");
        }
        let answered = match &route {
            Route::Base => Ok(answer(200, [JSON], "{}")),
            Route::Uploads { repository, id } if id.is_empty() => self.open_upload(call, repository),
            Route::Uploads { repository, id } => self.upload(call, repository, id),
            Route::Blob { repository, digest } => self.blob(call, repository, digest),
            Route::Manifest { repository, reference } => self.manifest(call, repository, reference),
            Route::Tags { repository } => self.tags(call, repository),
        };
        answered.unwrap_or_else(|refusal| refusal.answer(&json!({})))
    }

    fn open_upload(&mut self, call: &Call, repository: &str) -> Answer {
        if call.parts.method == Method::GET {
            return Err(Refusal::BlobUploadUnknown);
        }
        let (mount, from) = (call.parameter("mount"), call.parameter("from"));
        let mounted = mount.zip(from).and_then(|(digest, from)| {
            let bytes = self.state.blob(&from, &digest)?;
            Some((digest, bytes))
        });
        if let Some((digest, bytes)) = mounted {
            self.state.change(repository).blobs.insert(digest.clone(), bytes);
            return Ok(created(call, repository, "blobs", &digest));
        }
        self.uploads.opened += 1;
        let id = format!("00000000-0000-4000-8000-{:012x}", self.uploads.opened);
        self.uploads.open.insert(id.clone(), Upload { repository: repository.into(), bytes: Vec::new() });
        Ok(progress(call, 202, repository, &id, 0))
    }

    fn upload(&mut self, call: &Call, repository: &str, id: &str) -> Answer {
        // A client that drops the query of a `Location` is refused here.
        let state = call.parameter("_state").ok_or(Refusal::BlobUploadInvalid)?;
        let known = self.uploads.open.get_mut(id).filter(|upload| upload.repository == repository);
        let upload = known.ok_or(Refusal::BlobUploadUnknown)?;
        if state != upload_state(upload.bytes.len()) {
            return Err(Refusal::BlobUploadInvalid);
        }
        match call.parts.method {
            Method::PATCH => {
                check_range(call, upload.bytes.len())?;
                upload.bytes.extend_from_slice(&call.body);
                Ok(progress(call, 202, repository, id, upload.bytes.len()))
            }
            Method::PUT => {
                let named = call.parameter("digest").filter(|digest| is_digest(digest));
                let named = named.ok_or(Refusal::DigestInvalid)?;
                upload.bytes.extend_from_slice(&call.body);
                if digest(&upload.bytes) != named {
                    return Err(Refusal::DigestInvalid);
                }
                let bytes = self.uploads.open.remove(id).map(|upload| upload.bytes).unwrap_or_default();
                self.state.change(repository).blobs.insert(named.clone(), bytes.into());
                Ok(created(call, repository, "blobs", &named))
            }
            Method::DELETE => {
                self.uploads.open.remove(id);
                Ok(answer(204, [("docker-upload-uuid", id)], Bytes::new()))
            }
            _ => Ok(progress(call, 204, repository, id, upload.bytes.len())),
        }
    }

    fn blob(&mut self, call: &Call, repository: &str, digest: &str) -> Answer {
        if !is_digest(digest) {
            return Err(Refusal::DigestInvalid);
        }
        let bytes = self.state.blob(repository, digest).ok_or(Refusal::BlobUnknown)?;
        if call.parts.method == Method::DELETE {
            self.state.change(repository).blobs.remove(digest);
            return Ok(answer(202, [("content-length", "0")], Bytes::new()));
        }
        let mut headers = vec![
            ("docker-content-digest", digest.to_owned()),
            ("etag", format!("\"{digest}\"")),
            ("content-type", "application/octet-stream".to_owned()),
            ("accept-ranges", "bytes".to_owned()),
        ];
        let Some(range) = call.header(&RANGE) else { return Ok(answer(200, headers, bytes)) };
        let length = bytes.len();
        let Some(range) = byte_range(range, length) else {
            headers.push(("content-range", format!("bytes */{length}")));
            return Ok(answer(416, headers, Bytes::new()));
        };
        headers.push(("content-range", format!("bytes {}-{}/{length}", range.start, range.end - 1)));
        Ok(answer(206, headers, bytes.slice(range)))
    }

    fn manifest(&mut self, call: &Call, repository: &str, reference: &str) -> Answer {
        match call.parts.method {
            Method::PUT => self.put_manifest(call, repository, reference),
            Method::DELETE => {
                if !is_digest(reference) {
                    return Err(Refusal::DigestInvalid);
                }
                self.state
                    .repository(repository)
                    .and_then(|there| there.find(reference))
                    .ok_or(Refusal::ManifestUnknown)?;
                self.state.change(repository).remove_with_tags(reference);
                Ok(answer(202, [("content-length", "0")], Bytes::new()))
            }
            _ => {
                let found = self.state.repository(repository).and_then(|there| there.find(reference));
                let (digest, Stored { media_type, bytes }) = found.ok_or(Refusal::ManifestUnknown)?;
                if !accepts(&call.parts.headers, media_type) {
                    return Err(Refusal::ManifestUnknown);
                }
                let headers = [
                    ("docker-content-digest", digest.to_owned()),
                    ("etag", format!("\"{digest}\"")),
                    ("content-type", media_type.clone()),
                ];
                Ok(answer(200, headers, bytes.clone()))
            }
        }
    }

    fn put_manifest(&mut self, call: &Call, repository: &str, reference: &str) -> Answer {
        let media_type = call.header(&CONTENT_TYPE).unwrap_or_default();
        check_manifest(media_type, &call.body)?;
        let digest = digest(&call.body);
        if reference.contains(':') && reference != digest {
            return Err(Refusal::DigestInvalid);
        }
        let references = References::of(&call.body);
        let empty = Repository::default();
        let there = self.state.repository(repository).unwrap_or(&empty);
        let missing_blobs = references.blobs.iter().filter(|blob| !there.blobs.contains_key(*blob));
        let missing_manifests = references.manifests.iter().filter(|child| !there.manifests.contains_key(*child));
        let missing: Vec<Value> = missing_blobs
            .chain(missing_manifests)
            .map(|digest| json!({ "code": "MANIFEST_BLOB_UNKNOWN", "message": "blob unknown to registry", "detail": digest }))
            .collect();
        if !missing.is_empty() {
            return Ok(errors(400, &Value::Array(missing)));
        }
        let stored = Stored { media_type: media_type.to_owned(), bytes: call.body.clone() };
        let there = self.state.change(repository);
        there.manifests.insert(digest.clone(), stored);
        if !reference.contains(':') {
            there.tags.get_or_insert_default().insert(reference.to_owned(), digest.clone());
        }
        Ok(created(call, repository, "manifests", &digest))
    }

    fn tags(&self, call: &Call, repository: &str) -> Answer {
        let tags = self.state.repository(repository).and_then(|there| there.tags.as_ref());
        let tags = tags.ok_or(Refusal::NameUnknown)?;
        let wished = call.parameter("n").map(|n| n.parse::<usize>()).transpose();
        let wished = wished.map_err(|_| Refusal::PaginationNumberInvalid)?;
        let length = wished.into_iter().chain(self.page).min();
        let last = call.parameter("last");
        let mut rest = tags.keys().filter(|tag| last.as_ref().is_none_or(|last| *tag > last));
        let page: Vec<&String> = rest.by_ref().take(length.unwrap_or(usize::MAX)).collect();
        let none_is_null = if tags.is_empty() { Value::Null } else { json!(page) };
        let mut answer = json_answer(&json!({ "name": repository, "tags": none_is_null }));
        if let (Some(length), Some(last), Some(_)) = (length, page.last(), rest.next()) {
            let link = format!("</v2/{repository}/tags/list?last={last}&n={length}>; rel=\"next\"");
            answer.headers_mut().insert("link", HeaderValue::from_str(&link).expect("names and tags are ASCII"));
        }
        Ok(answer)
    }
}

impl Call {
    fn parameter(&self, name: &str) -> Option<String> {
        query_values(self.parts.uri.query().unwrap_or_default(), name).into_iter().next()
    }

    fn header(&self, name: &HeaderName) -> Option<&str> {
        self.parts.headers.get(name)?.to_str().ok()
    }

    /// The absolute URL of a path, for `Location`.
    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.header(&HOST).unwrap_or("localhost"))
    }
}

/// The answer to a request without a login.
pub(super) fn login() -> Response<Body> {
    let mut answer = Refusal::Unauthorized.answer(&Value::Null);
    answer.headers_mut().insert("www-authenticate", HeaderValue::from_static("Basic realm=\"registry\""));
    answer
}

fn answer(
    status: u16,
    headers: impl IntoIterator<Item = (&'static str, impl AsRef<str>)>,
    body: impl Into<Bytes>,
) -> Response<Body> {
    let mut answer = Response::new(full(body));
    *answer.status_mut() = StatusCode::from_u16(status).expect("the statuses here are valid");
    answer.headers_mut().insert("docker-distribution-api-version", HeaderValue::from_static("registry/2.0"));
    for (name, value) in headers {
        answer.headers_mut().insert(name, HeaderValue::from_str(value.as_ref()).expect("the values here are ASCII"));
    }
    answer
}

fn json_answer(value: &Value) -> Response<Body> {
    answer(200, [JSON], format!("{value}\n"))
}

fn errors(status: u16, errors: &Value) -> Response<Body> {
    let mut answer = json_answer(&json!({ "errors": errors }));
    *answer.status_mut() = StatusCode::from_u16(status).expect("the statuses here are valid");
    answer
}

fn created(call: &Call, repository: &str, kind: &str, digest: &str) -> Response<Body> {
    let location = call.url(&format!("/v2/{repository}/{kind}/{digest}"));
    answer(201, [("location", location.as_str()), ("docker-content-digest", digest)], Bytes::new())
}

/// The progress of an upload, and where to continue it.
fn progress(call: &Call, status: u16, repository: &str, id: &str, length: usize) -> Response<Body> {
    let state = upload_state(length).replace('=', "%3D");
    let headers = [
        ("location", call.url(&format!("/v2/{repository}/blobs/uploads/{id}?_state={state}"))),
        ("range", format!("0-{}", length.saturating_sub(1))),
        ("docker-upload-uuid", id.to_owned()),
    ];
    answer(status, headers, Bytes::new())
}

/// The value of an upload's `_state`, which is valid for one request and must be encoded.
fn upload_state(length: usize) -> String {
    format!("{length}=")
}

/// A chunk must follow the bytes received so far, and be as long as it claims.
fn check_range(call: &Call, length: usize) -> Result<(), Refusal> {
    let (Some(range), Some(_)) = (call.header(&CONTENT_RANGE), call.header(&CONTENT_LENGTH)) else { return Ok(()) };
    let range = range.split_once('-').and_then(|(first, last)| Some((first.parse().ok()?, last.parse().ok()?)));
    let (first, last): (usize, usize) = range.ok_or(Refusal::RangeInvalid)?;
    if first > last || first != length {
        return Err(Refusal::RangeInvalid);
    }
    if last - first + 1 == call.body.len() { Ok(()) } else { Err(Refusal::SizeInvalid) }
}

/// The first part of a `Range` header; `None` if the content has no such part.
fn byte_range(header: &str, length: usize) -> Option<Range<usize>> {
    let (first, last) = header.strip_prefix("bytes=")?.split(',').next()?.trim().split_once('-')?;
    let range = match (first, last) {
        ("", last) => length.saturating_sub(last.parse().ok()?)..length,
        (first, "") => first.parse().ok()?..length,
        (first, last) => first.parse().ok()?..last.parse::<usize>().ok()?.checked_add(1)?.min(length),
    };
    (range.start < range.end).then_some(range)
}

/// Whether a document is a manifest of the media type that it is sent with.
fn check_manifest(media_type: &str, document: &[u8]) -> Result<(), Refusal> {
    let known = [MediaTypes::Oci, MediaTypes::Docker].iter().any(|t| [t.index(), t.manifest()].contains(&media_type));
    let document: Value = serde_json::from_slice(document).map_err(|_| Refusal::ManifestInvalid)?;
    let names_it = match document["mediaType"].as_str() {
        None | Some("") => media_type.starts_with("application/vnd.oci."),
        Some(named) => named == media_type,
    };
    if known && names_it && document["schemaVersion"] == 2 { Ok(()) } else { Err(Refusal::ManifestInvalid) }
}

fn accepts(headers: &HeaderMap, media_type: &str) -> bool {
    let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut types =
        values.flat_map(|value| value.split(',')).map(|one| one.split(';').next().unwrap_or_default().trim());
    types.any(|accepted| accepted == media_type)
}

fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:").is_some_and(|hex| {
        hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    })
}

/// Whether a text is a valid tag: `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`.
fn is_tag(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    (1..=128).contains(&text.len()) && text.bytes().all(fits) && !text.starts_with(['.', '-'])
}

/// Whether a text is a valid repository name: parts of lower-case letters and digits, joined by `.`, `_`, `__` or
/// hyphens.
fn is_repository(text: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    text.split('/').all(|part| {
        let ends = part.bytes().next().zip(part.bytes().last());
        let separators = part.split(|c: char| c.is_ascii() && is_word(c as u8)).filter(|between| !between.is_empty());
        let fits = |between: &str| matches!(between, "." | "_" | "__") || between.bytes().all(|byte| byte == b'-');
        ends.is_some_and(|(first, last)| is_word(first) && is_word(last)) && separators.into_iter().all(fits)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_to_routes() {
        let repository = || "acme/blobs".to_owned();
        let digest = digest(b"");
        for (path, expected) in [
            ("/v2/", Some(Route::Base)),
            ("/v2/acme/blobs/tags/list", Some(Route::Tags { repository: repository() })),
            ("/v2/acme/blobs/blobs/uploads/", Some(Route::Uploads { repository: repository(), id: String::new() })),
            ("/v2/acme/blobs/blobs/uploads/7", Some(Route::Uploads { repository: repository(), id: "7".into() })),
            (
                "/v2/acme/blobs/manifests/1.0",
                Some(Route::Manifest { repository: repository(), reference: "1.0".into() }),
            ),
            (
                &format!("/v2/acme/blobs/blobs/{digest}"),
                Some(Route::Blob { repository: repository(), digest: digest.clone() }),
            ),
            ("/v2/acme/blobs/manifests/.x", None),
            ("/v2/ACME/tags/list", None),
            ("/v2/acme/tool", None),
            ("/", None),
        ] {
            assert_eq!(Route::of(path), expected, "{path}");
        }
    }

    #[test]
    fn valid_names_are_told_from_invalid_ones() {
        for name in ["a", "acme/tool", "a.b/c_d/e__f/g---h", "1/2"] {
            assert!(is_repository(name), "{name}");
        }
        for name in ["", "A", "a//b", "/a", "a.", "-a", "a..b", "a___b", "a._b", "a b", "é"] {
            assert!(!is_repository(name), "{name}");
        }
        assert!(is_tag("_1.0-alpine") && is_tag(&"a".repeat(128)));
        assert!(!is_tag("") && !is_tag(&"a".repeat(129)) && !is_tag("-a") && !is_tag("a+b"));
    }

    #[test]
    fn ranges_are_cut_to_the_content() {
        for (header, expected) in [
            ("bytes=1-2", Some(1..3)),
            ("bytes=3-", Some(3..5)),
            ("bytes=-2", Some(3..5)),
            ("bytes=-9", Some(0..5)),
            ("bytes=2-100", Some(2..5)),
            ("bytes=1-1,3-4", Some(1..2)),
            ("bytes=5-", None),
            ("bytes=3-2", None),
            ("lines=1-2", None),
            ("bytes=x", None),
        ] {
            assert_eq!(byte_range(header, 5), expected, "{header}");
        }
    }
}
