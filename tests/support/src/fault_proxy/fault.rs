//! What can go wrong between a client and a registry, and to which request.

use std::collections::HashMap;
use std::fmt;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

use chrono::Utc;

use super::Asked;

/// Something that goes wrong, or is just different from what a client may expect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The connection is closed before the request reaches the registry.
    Reset,
    /// The registry carries out the request, but its answer never arrives.
    LoseAnswer,
    /// The connection is closed once `after` bytes of the request's body have passed.
    ResetUpload {
        /// Bytes that pass.
        after: u64,
    },
    /// The connection is closed once `after` bytes of the answer's body have passed.
    ResetDownload {
        /// Bytes that pass.
        after: u64,
    },
    /// Nothing happens for a while, then everything continues as usual.
    Stall(Duration),
    /// The answer's body stops for a while after some bytes, then continues.
    StallDownload {
        /// Bytes that pass first.
        after: u64,
        /// The length of the pause.
        duration: Duration,
    },
    /// The proxy answers by itself. The constructors have what registries really send.
    Status {
        /// The status.
        status: u16,
        /// The `Retry-After` header.
        retry_after: Option<RetryAfter>,
        /// The body's media type.
        media_type: &'static str,
        /// The body.
        body: String,
    },
    /// The answer has a wrong `Docker-Content-Digest`.
    WrongDigest,
    /// The answer has no `Docker-Content-Digest`.
    NoDigest,
    /// The answer's body ends early with a matching `Content-Length`, so that only the digest shows it.
    Truncate {
        /// Bytes that are left.
        keep: u64,
    },
    /// One bit of one byte of the answer's body is flipped.
    Corrupt {
        /// The byte's position, from 0.
        at: u64,
    },
    /// 401 with this challenge.
    Challenge(String),
    /// A redirect with this status to the same path and query, on the same host (with `moved=1` in the query) or on the
    /// other one. The redirected request isn't redirected again.
    Redirect {
        /// 301, 302, 303, 307 or 308.
        status: u16,
        /// Whether it leads to the other host.
        elsewhere: bool,
    },
    /// A mount is answered with 202 and a (real) upload session, as by a registry that doesn't mount.
    AcceptMount,
    /// The answer's `Location` has this form.
    Location(LocationForm),
    /// A blob is answered with a redirect to another host, with a signature in the query, as hosted registries do. That
    /// host refuses requests with an `Authorization` header, like S3.
    RedirectBlob,
    /// The same with a signature for `GET` only: the other host refuses a `HEAD` with 403, like S3.
    RedirectSignedForGet,
}

impl Fault {
    /// 429 as sent by Docker Hub.
    pub fn too_many_requests(retry_after: Option<RetryAfter>) -> Self {
        Self::registry_error(429, retry_after, "TOOMANYREQUESTS", "too many requests")
    }

    /// 408 without a body.
    pub fn request_timeout(retry_after: Option<RetryAfter>) -> Self {
        Self::Status { status: 408, retry_after, media_type: "text/plain", body: String::new() }
    }

    /// 500 as sent by distribution.
    pub fn internal_error() -> Self {
        Self::registry_error(500, None, "UNKNOWN", "unknown error")
    }

    /// 502 with the HTML page of a load balancer.
    pub fn bad_gateway() -> Self {
        let body = "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n<center><h1>502 Bad Gateway</h1></center>\r\n</body>\r\n</html>\r\n";
        Self::Status { status: 502, retry_after: None, media_type: "text/html", body: body.into() }
    }

    /// 503.
    pub fn unavailable(retry_after: Option<RetryAfter>) -> Self {
        Self::registry_error(503, retry_after, "UNAVAILABLE", "service unavailable")
    }

    /// 401 or 403 as GHCR sends it, sometimes even to authorised users.
    pub fn denied(status: u16) -> Self {
        Self::registry_error(status, None, "DENIED", "denied")
    }

    /// 403 as GHCR sends it if the token may not write packages.
    pub fn write_package() -> Self {
        Self::registry_error(403, None, "DENIED", "permission_denied: write_package")
    }

    /// 404 as ECR sends it if the repository hasn't been created.
    pub fn no_repository() -> Self {
        Self::registry_error(404, None, "NAME_UNKNOWN", "The repository does not exist in the registry")
    }

    /// 404 for a manifest.
    pub fn manifest_unknown() -> Self {
        Self::registry_error(404, None, "MANIFEST_UNKNOWN", "manifest unknown")
    }

    /// 404 for a blob.
    pub fn blob_unknown() -> Self {
        Self::registry_error(404, None, "BLOB_UNKNOWN", "blob unknown to registry")
    }

    /// A refusal to overwrite a tag, as sent by ECR (400) or others (409).
    pub fn immutable_tag(status: u16) -> Self {
        Self::registry_error(
            status,
            None,
            "TAG_INVALID",
            "the tag already exists and cannot be overwritten because it is immutable",
        )
    }

    /// 405, if a registry doesn't support the method.
    pub fn unsupported() -> Self {
        Self::registry_error(405, None, "UNSUPPORTED", "the operation is unsupported")
    }

    /// A permanent refusal.
    pub fn refused(status: u16) -> Self {
        Self::registry_error(status, None, "DENIED", "requested access to the resource is denied")
    }

    /// 413 as sent by a proxy with a limit.
    pub fn too_large() -> Self {
        let body = "<html><head><title>413 Request Entity Too Large</title></head></html>";
        Self::Status { status: 413, retry_after: None, media_type: "text/html", body: body.into() }
    }

    fn registry_error(status: u16, retry_after: Option<RetryAfter>, code: &str, message: &str) -> Self {
        let body = serde_json::json!({ "errors": [{ "code": code, "message": message }] }).to_string();
        Self::Status { status, retry_after, media_type: "application/json", body }
    }
}

/// The forms of a [`Retry-After`](https://www.rfc-editor.org/rfc/rfc9110#name-retry-after) header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RetryAfter {
    /// Seconds from now.
    Seconds(u64),
    /// A date, this many seconds from the answer.
    DateIn(u64),
    /// Any text.
    Text(&'static str),
}

impl fmt::Display for RetryAfter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Seconds(seconds) => write!(f, "{seconds}"),
            Self::DateIn(seconds) => {
                let date = Utc::now() + Duration::from_secs(*seconds);
                write!(f, "{}", date.format("%a, %d %b %Y %H:%M:%S GMT"))
            }
            Self::Text(text) => f.write_str(text),
        }
    }
}

/// The forms in which a registry may write where an upload continues. The specification allows all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LocationForm {
    /// The form that the registry chose.
    AsItIs,
    /// A path: `/v2/…`.
    Relative,
    /// `http://HOST/v2/…`.
    Absolute,
    /// `http://OTHER/v2/…`: another host that accepts the same upload, but is another origin for credentials.
    OtherHost,
}

impl LocationForm {
    pub(super) fn apply(self, location: &str, host: &str, other_host: &str) -> String {
        let path = match location.split_once("://") {
            Some((_, rest)) => rest.find('/').map_or("/", |at| &rest[at..]),
            None => location,
        };
        match self {
            Self::AsItIs => location.to_owned(),
            Self::Relative => path.to_owned(),
            Self::Absolute => format!("http://{host}{path}"),
            Self::OtherHost => format!("http://{other_host}{path}"),
        }
    }
}

/// A fault and the requests that it happens to.
#[derive(Debug, Clone)]
pub struct Rule {
    method: Option<String>,
    parts: Vec<String>,
    authorized: Option<bool>,
    exact: bool,
    skip: usize,
    times: usize,
    fault: Option<Fault>,
}

impl Rule {
    /// A rule for all requests of `method` (`*` for any) whose path and query contain `part`.
    pub fn on(method: &str, part: &str, fault: Fault) -> Self {
        let method = (method != "*").then(|| method.to_owned());
        let parts = vec![part.to_owned()];
        Self { method, parts, authorized: None, exact: false, skip: 0, times: usize::MAX, fault: Some(fault) }
    }

    /// A rule for requests of `method` for exactly this path, whatever their query.
    pub fn at(method: &str, path: &str, fault: Fault) -> Self {
        Self { exact: true, ..Self::on(method, path, fault) }
    }

    /// A rule that passes requests on unchanged, whatever else would match them.
    pub fn pass(method: &str, part: &str) -> Self {
        Self { fault: None, ..Self::on(method, part, Fault::Reset) }
    }

    /// Restricts the rule to requests whose path and query also contain `part`.
    #[must_use]
    pub fn and(mut self, part: &str) -> Self {
        self.parts.push(part.to_owned());
        self
    }

    /// Restricts the rule to requests without an `Authorization` header, except on the other host, which never gets
    /// one.
    #[must_use]
    pub fn unauthorized(self) -> Self {
        Self { authorized: Some(false), ..self }
    }

    /// Restricts the rule to requests with an `Authorization` header.
    #[must_use]
    pub fn authorized(self) -> Self {
        Self { authorized: Some(true), ..self }
    }

    /// Restricts the rule to the first `times` requests.
    #[must_use]
    pub fn times(mut self, times: usize) -> Self {
        self.times = times;
        self
    }

    /// Skips the first `skip` requests.
    #[must_use]
    pub fn after(mut self, skip: usize) -> Self {
        self.skip = skip;
        self
    }

    fn takes(&mut self, asked: &Asked) -> bool {
        let target = format!("{}?{}", asked.path, asked.query);
        let matches = self.method.as_deref().is_none_or(|method| method == asked.method)
            && self.parts.iter().all(|part| if self.exact { asked.path == *part } else { target.contains(part) })
            && self.authorized.is_none_or(|authorized| authorized == asked.authorized && !asked.at_other_host)
            && !(matches!(self.fault, Some(Fault::Redirect { .. })) && asked.was_redirected());
        if !matches || self.times == 0 {
            return false;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        self.times -= 1;
        true
    }
}

type Choose = Box<dyn FnMut(&Asked) -> Option<Fault> + Send>;

/// Everything that may decide about a request.
#[derive(Default)]
pub(super) struct Faults {
    pub(super) rules: Vec<Rule>,
    pub(super) choose: Option<Choose>,
    pub(super) chaos: Option<Chaos>,
}

impl Faults {
    pub(super) fn choose(&mut self, asked: &Asked) -> Option<Fault> {
        if let Some(rule) = self.rules.iter_mut().find_map(|rule| rule.takes(asked).then_some(rule)) {
            return rule.fault.clone();
        }
        let chosen = self.choose.as_mut().and_then(|choose| choose(asked));
        chosen.or_else(|| self.chaos.as_mut().and_then(|chaos| chaos.choose(asked)))
    }
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Faults").field("rules", &self.rules).field("chaos", &self.chaos).finish_non_exhaustive()
    }
}

/// Faults at random, the same ones for the same seed.
#[derive(Debug)]
pub(super) struct Chaos {
    seed: u64,
    probability: f64,
    in_a_row: usize,
    faults: Vec<Fault>,
    seen: HashMap<(String, String), (usize, usize)>,
}

impl Chaos {
    pub(super) fn new(seed: u64, probability: f64, in_a_row: usize, faults: Vec<Fault>) -> Self {
        Self { seed, probability, in_a_row, faults, seen: HashMap::new() }
    }

    fn choose(&mut self, asked: &Asked) -> Option<Fault> {
        // The registry names the session of an upload at random, so the name must not influence the choice.
        let place = asked.path.split_once("/blobs/uploads/").map_or(asked.path.as_str(), |(repository, _)| repository);
        let (times, running) = self.seen.entry((asked.method.clone(), place.to_owned())).or_default();
        *times += 1;
        let mut hasher = DefaultHasher::new();
        (self.seed, &asked.method, place, *times).hash(&mut hasher);
        let mut random = fastrand::Rng::with_seed(hasher.finish());
        if *running >= self.in_a_row || random.f64() >= self.probability {
            *running = 0;
            return None;
        }
        *running += 1;
        random.choice(&self.faults).cloned()
    }
}
