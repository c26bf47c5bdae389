//! One request: the connection, its limits, redirects and the way from a refusal to a token.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use chrono::{DateTime, Utc};
use futures_util::StreamExt as _;
use reqwest::header::{
    AUTHORIZATION, CONTENT_LENGTH, DATE, HeaderMap, HeaderName, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE,
};
use reqwest::{Body, Method, Response};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use tokio_util::io::ReaderStream;
use url::Url;

use super::auth::{Access, Authorization};
use super::challenge::Challenge;
use super::endpoint::{self, Scheme};
use super::error::{Answered, Cause, RegistryError, Request};
use super::refusal::{Applicant, retry_after};
use super::retry::{Again, Trouble};
use super::{Registries, lock};
use crate::image::Repository;

const CONNECT: Duration = Duration::from_secs(10);
const REDIRECTS: usize = 5;
/// What is read of an answer that wasn't wished for.
const REFUSAL: u64 = 64 * 1024;
/// The pieces that a file is sent in; each upload has a few of them in memory.
const PIECE: usize = 256 * 1024;
/// A registry may read a blob once more before it answers: the slowest at which it's believed to do so, in bytes per second.
const DIGESTING: u64 = 10_000_000;

/// Chooses the cryptography of TLS, unless the process already has.
pub(super) fn install_crypto() {
    // An error says that there is one already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// An HTTP client that follows no redirect and repeats nothing by itself. `direct` ignores the variables that name proxies.
pub(super) fn client(direct: bool) -> reqwest::Result<reqwest::Client> {
    let builder = reqwest::Client::builder()
        .user_agent(concat!("publish-variants/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .connect_timeout(CONNECT);
    if direct { builder.no_proxy() } else { builder }.build()
}

/// What is asked of a registry.
pub(super) struct Call<'a> {
    pub(super) repository: &'a Repository,
    pub(super) access: Access<'a>,
    pub(super) method: Method,
    pub(super) target: Target,
    pub(super) headers: Vec<(HeaderName, String)>,
    pub(super) payload: Payload<'a>,
    /// The statuses that are an answer; all others are trouble.
    pub(super) expects: &'static [u16],
}

/// Where a request goes.
pub(super) enum Target {
    /// To the repository: `manifests/latest`.
    Api(String),
    /// To where the registry told us.
    Url(Url),
}

/// The body of a request; it can be sent again.
#[derive(Clone)]
pub(super) enum Payload<'a> {
    Empty,
    Bytes(Bytes),
    File { path: &'a Path, start: u64, length: u64 },
}

impl<'a> Call<'a> {
    pub(super) fn new(
        repository: &'a Repository,
        access: Access<'a>,
        method: Method,
        rest: impl Into<String>,
        expects: &'static [u16],
    ) -> Self {
        let target = Target::Api(rest.into());
        Self { repository, access, method, target, headers: Vec::new(), payload: Payload::Empty, expects }
    }

    pub(super) fn to(mut self, url: Url) -> Self {
        self.target = Target::Url(url);
        self
    }

    pub(super) fn header(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(super) fn payload(mut self, payload: Payload<'a>) -> Self {
        self.payload = payload;
        self
    }

    fn applicant(&self, has_credentials: bool) -> Applicant<'a> {
        let (registry, repository) = (self.repository.registry(), self.repository.path());
        Applicant { registry, repository, has_credentials, pushes: self.access.pushes() }
    }
}

/// An answer that was wished for; its body isn't read yet. It counts as a request in flight while it lives.
pub(super) struct Answer {
    pub(super) request: Request,
    response: Response,
    idle: Duration,
    _permit: OwnedSemaphorePermit,
}

impl Answer {
    pub(super) fn status(&self) -> u16 {
        self.response.status().as_u16()
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.response.headers().get(name)?.to_str().ok()
    }

    pub(super) fn trouble(&self, cause: Cause, again: Again) -> Trouble {
        Trouble::new(self.request.clone(), cause, again)
    }

    /// Where `Location` says to go on.
    pub(super) fn location(&self) -> Result<Url, Trouble> {
        let location = self.header("location").and_then(|l| endpoint::follow(self.response.url(), l));
        location.ok_or_else(|| {
            self.trouble(Cause::Malformed("it has no `Location`".to_owned()), Again::UntilDeadline { after: None })
        })
    }

    pub(super) fn url(&self) -> &Url {
        self.response.url()
    }

    /// The next piece of the body.
    pub(super) async fn chunk(&mut self) -> Result<Option<Bytes>, Trouble> {
        match tokio::time::timeout(self.idle, self.response.chunk()).await {
            Ok(Ok(chunk)) => Ok(chunk),
            Ok(Err(error)) => Err(broken(self.request.clone(), error)),
            Err(_) => Err(self.trouble(Cause::Stalled(self.idle), Again::UntilDeadline { after: None })),
        }
    }

    /// The whole body, if it isn't longer than `limit` bytes.
    pub(super) async fn bytes(mut self, what: &str, limit: u64) -> Result<Bytes, Trouble> {
        let mut bytes = BytesMut::new();
        while let Some(chunk) = self.chunk().await? {
            bytes.extend_from_slice(&chunk);
            let size = bytes.len() as u64;
            if size > limit {
                return Err(Trouble::last(
                    self.request,
                    RegistryError::TooLarge { what: what.to_owned(), size, limit },
                ));
            }
        }
        Ok(bytes.freeze())
    }

    /// As much of the body as came, up to a limit: for people to read.
    async fn beginning(mut self, limit: u64) -> BytesMut {
        let mut bytes = BytesMut::new();
        while (bytes.len() as u64) < limit {
            match self.chunk().await {
                Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
                Ok(None) | Err(_) => break,
            }
        }
        bytes.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        bytes
    }
}

impl Registries {
    /// Sends a request once; more than once only to follow a redirect, or to answer a challenge.
    pub(super) async fn send(&self, call: &Call<'_>) -> Result<Answer, Trouble> {
        let mut authorization = self.authorization(call).await?;
        loop {
            let (answer, at_home) = self.follow(call, authorization.as_ref()).await?;
            let headers = answer.response.headers().get_all(WWW_AUTHENTICATE);
            let challenge = Challenge::choose(headers.iter().filter_map(|value| value.to_str().ok()));
            // Only the registry itself may ask who we are, not where it sent us; and only once for one token.
            let (401, true, Some(challenge)) = (answer.status(), at_home, challenge) else {
                return self.judge(call, answer).await;
            };
            if authorization.as_ref().is_some_and(Authorization::is_fresh) {
                return self.judge(call, answer).await;
            }
            match self.respond(call, challenge, authorization.as_ref(), answer).await? {
                Ok(fresh) => authorization = Some(fresh),
                Err(answer) => return self.judge(call, answer).await,
            }
        }
    }

    /// Answers a challenge; gives the refusal back where there is nothing to answer it with.
    async fn respond(
        &self,
        call: &Call<'_>,
        challenge: Challenge,
        used: Option<&Authorization>,
        refusal: Answer,
    ) -> Result<Result<Authorization, Answer>, Trouble> {
        if challenge == Challenge::Basic && !self.0.auth.has_credentials(call.repository.registry()) {
            return Ok(Err(refusal));
        }
        // Else the refusal would count as a request in flight, and the token's request might wait for it for ever.
        drop(refusal);
        self.renew(call, challenge, used).await.map(Ok)
    }

    /// Sends a request and follows redirects; also tells whether the answer is the registry's own.
    async fn follow(&self, call: &Call<'_>, authorization: Option<&Authorization>) -> Result<(Answer, bool), Trouble> {
        let home = self.url(call.repository, "");
        let mut url = match &call.target {
            Target::Api(rest) => self.url(call.repository, rest),
            Target::Url(url) => url.clone(),
        };
        let redirects = call.method == Method::GET || call.method == Method::HEAD;
        for _ in 0..=REDIRECTS {
            let at_home = url.origin() == home.origin();
            let request = name(call, &url, at_home);
            self.check(&request, &url)?;
            let mut headers = HeaderMap::new();
            for (name, value) in &call.headers {
                headers.insert(name, value.parse().expect("our headers' values are ASCII"));
            }
            // Credentials and tokens are for the registry; where it sends us, the URL itself says what we may.
            if let (Some(authorization), true) = (authorization, at_home) {
                headers.insert(AUTHORIZATION, authorization.value().clone());
            }
            let answer = self.exchange(request, call.method.clone(), url.clone(), headers, &call.payload).await?;
            let location = matches!(answer.status(), 301 | 302 | 303 | 307 | 308)
                .then(|| answer.response.headers().get(LOCATION)?.to_str().ok())
                .flatten();
            match location.and_then(|location| endpoint::follow(&url, location)) {
                Some(next) if redirects => url = next,
                _ => return Ok((answer, at_home)),
            }
        }
        let cause = Cause::Malformed(format!("more than {REDIRECTS} redirects"));
        Err(Trouble::new(name(call, &url, false), cause, Again::FewTimes))
    }

    /// Sends one HTTP request and waits for the head of its answer.
    pub(super) async fn exchange(
        &self,
        request: Request,
        method: Method,
        url: Url,
        mut headers: HeaderMap,
        payload: &Payload<'_>,
    ) -> Result<Answer, Trouble> {
        let idle = self.0.options.idle;
        let permit = Arc::clone(&self.0.in_flight).acquire_owned().await.expect("the semaphore is never closed");
        let progress = Progress::new(idle, payload.length());
        if payload.length() > 0 || [Method::POST, Method::PUT, Method::PATCH].contains(&method) {
            headers.insert(CONTENT_LENGTH, payload.length().into());
        }
        let client = if endpoint::is_loopback(&url) { &self.0.direct } else { &self.0.through_proxies };
        let mut builder = client.request(method, url).headers(headers);
        match payload.body(&progress).await {
            Ok(Some(body)) => builder = builder.body(body),
            Ok(None) => {}
            Err(error) => return Err(Trouble::last(request, error)),
        }
        match progress.watch(builder.send()).await {
            Some(Ok(response)) => Ok(Answer { request, response, idle, _permit: permit }),
            Some(Err(error)) => Err(broken(request, error)),
            None => Err(Trouble::new(request, Cause::Stalled(idle), Again::UntilDeadline { after: None })),
        }
    }

    /// Refuses a URL without TLS, unless that is allowed.
    pub(super) fn check(&self, request: &Request, url: &Url) -> Result<(), Trouble> {
        if endpoint::is_allowed(url, &self.0.options.insecure) {
            return Ok(());
        }
        let (mut shown, host) = (url.clone(), endpoint::authority(url));
        shown.set_query(None);
        let plain = RegistryError::PlainHttp { request: Box::new(request.clone()), url: shown.into(), host };
        Err(Trouble::last(request.clone(), plain))
    }

    /// Passes what was wished for; all else becomes trouble, with what the registry says about it.
    async fn judge(&self, call: &Call<'_>, answer: Answer) -> Result<Answer, Trouble> {
        if call.expects.contains(&answer.status()) {
            return Ok(answer);
        }
        let plain = answer.url().scheme() == "http";
        let mut trouble = refused(answer).await;
        if let Cause::Answered(answered) = &trouble.cause {
            let registry = call.repository.registry();
            if plain && answered.wants_tls() {
                lock(&self.0.schemes).insert(registry.to_owned(), Scheme::Https);
                trouble.again = Again::UntilDeadline { after: None };
            }
            if matches!(answered.status, 401 | 403) {
                trouble.hint = Some(call.applicant(self.0.auth.has_credentials(registry)).setting());
            }
        }
        Err(trouble)
    }

    fn url(&self, repository: &Repository, rest: &str) -> Url {
        let registry = repository.registry();
        let known = lock(&self.0.schemes).get(registry).copied();
        let scheme = known.unwrap_or_else(|| Scheme::of(registry, &self.0.options.insecure));
        endpoint::url(repository, scheme, rest)
    }

    /// How a request to the token server is refused.
    pub(super) fn token_refused(&self, call: &Call<'_>, mut trouble: Trouble) -> Trouble {
        if matches!(trouble.status(), Some(400 | 401 | 403)) {
            let has_credentials = self.0.auth.has_credentials(call.repository.registry());
            trouble.hint = Some(call.applicant(has_credentials).setting());
        }
        trouble
    }
}

/// The trouble with an answer that wasn't wished for.
pub(super) async fn refused(answer: Answer) -> Trouble {
    let (status, request) = (answer.status(), answer.request.clone());
    let now = answer.header(DATE.as_str()).and_then(|date| DateTime::parse_from_rfc2822(date).ok());
    let now = now.map_or_else(|| SystemTime::now().into(), |date| date.with_timezone(&Utc));
    let wait = answer.header(RETRY_AFTER.as_str()).and_then(|header| retry_after(header, now));
    let answered = Answered::read(status, &answer.beginning(REFUSAL).await, wait);
    let again = answered.again();
    Trouble::new(request, Cause::Answered(Box::new(answered)), again)
}

fn name(call: &Call<'_>, url: &Url, at_home: bool) -> Request {
    let path = if at_home { url.path().to_owned() } else { format!("{}{}", endpoint::authority(url), url.path()) };
    Request { repository: call.repository.to_string(), method: call.method.to_string(), path }
}

/// A connection that failed. The URL is taken out: its query may be a signature.
fn broken(request: Request, error: reqwest::Error) -> Trouble {
    let again = match () {
        () if is_untrusted(&error) => Again::Never,
        // A name that doesn't resolve is a typing error more often than an outage.
        () if error.is_dns() => Again::FewTimes,
        () => Again::UntilDeadline { after: None },
    };
    Trouble::new(request, Cause::Broken(error.without_url()), again)
}

/// Whether the server has shown a certificate that we can't accept.
fn is_untrusted(error: &reqwest::Error) -> bool {
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        // An `io::Error` doesn't have what it wraps as its source.
        let inner = cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        let tls = inner.and_then(|inner| inner.downcast_ref()).or_else(|| cause.downcast_ref());
        if matches!(tls, Some(rustls::Error::InvalidCertificate(_))) {
            return true;
        }
        source = match inner {
            Some(inner) => Some(inner),
            None => cause.source(),
        };
    }
    false
}

impl Payload<'_> {
    pub(super) fn length(&self) -> u64 {
        match self {
            Self::Empty => 0,
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File { length, .. } => *length,
        }
    }

    /// The bytes from `start` on, `length` of them.
    pub(super) fn part(&self, from: u64, count: u64) -> Self {
        match self {
            Self::Empty => Self::Empty,
            Self::Bytes(bytes) => {
                let index = |at: u64| usize::try_from(at).expect("what is in memory has an index");
                Self::Bytes(bytes.slice(index(from)..index(from + count)))
            }
            Self::File { path, start, .. } => Self::File { path, start: start + from, length: count },
        }
    }

    async fn body(&self, progress: &Progress) -> Result<Option<Body>, RegistryError> {
        match self {
            Self::Empty => Ok(None),
            Self::Bytes(bytes) => Ok(Some(bytes.clone().into())),
            Self::File { path, start, length } => {
                let disk = |cause| RegistryError::Disk { path: path.to_path_buf(), cause };
                let mut file = tokio::fs::File::open(path).await.map_err(disk)?;
                file.set_max_buf_size(PIECE);
                let size = file.metadata().await.map_err(disk)?.len();
                if size < start + length {
                    return Err(disk(std::io::Error::other(format!(
                        "it has {size} bytes instead of {}",
                        start + length
                    ))));
                }
                file.seek(std::io::SeekFrom::Start(*start)).await.map_err(disk)?;
                let progress = progress.clone();
                let pieces = ReaderStream::with_capacity(file.take(*length), PIECE);
                Ok(Some(Body::wrap_stream(pieces.inspect(move |piece| {
                    if let Ok(piece) = piece {
                        progress.sent(piece.len() as u64);
                    }
                }))))
            }
        }
    }
}

/// When a request last showed a sign of life.
#[derive(Clone)]
struct Progress(Arc<Mutex<Life>>);

struct Life {
    idle: Duration,
    length: u64,
    left: u64,
    patience: Instant,
}

impl Progress {
    fn new(idle: Duration, length: u64) -> Self {
        Self(Arc::new(Mutex::new(Life { idle, length, left: length, patience: Instant::now() + idle })))
    }

    fn sent(&self, bytes: u64) {
        let mut life = lock(&self.0);
        life.left = life.left.saturating_sub(bytes);
        let digesting = if life.left == 0 { Duration::from_secs(life.length / DIGESTING) } else { Duration::ZERO };
        life.patience = Instant::now() + life.idle + digesting;
    }

    /// Waits for the answer, and no longer than there are signs of life.
    async fn watch<T>(&self, answer: impl Future<Output = T>) -> Option<T> {
        let mut answer = std::pin::pin!(answer);
        loop {
            let patience = lock(&self.0).patience;
            match tokio::time::timeout_at(patience, &mut answer).await {
                Ok(answer) => return Some(answer),
                Err(_) if lock(&self.0).patience <= Instant::now() => return None,
                Err(_) => {}
            }
        }
    }
}
