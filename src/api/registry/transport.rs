//! Sends one request: with its limits, redirects, and the token that a refusal asks for.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Method;
use reqwest::header::{AUTHORIZATION, CONTENT_LENGTH, HeaderMap};
use url::Url;

use super::answer::{Answer, broken, refused};
use super::auth::{Authorization, Identity};
use super::call::{Call, Payload, Target};
use super::endpoint::{self, Scheme};
use super::error::{Cause, RegistryError, Request};
use super::progress::Progress;
use super::trouble::Trouble;
use super::{Registries, lock};
use crate::api::tls;
use crate::image::Repository;
use crate::loopback::is_loopback;
use crate::quote::quoted;

const CONNECT: Duration = Duration::from_secs(10);
/// How many challenges to one request are answered: with a token, with one that has the challenge's scope, with one
/// that has only that scope.
const ROUNDS: u32 = 4;
/// How many redirects are followed.
pub(super) const REDIRECTS: usize = 5;

/// An HTTP client that doesn't follow redirects or retry by itself. `direct` ignores the environment variables that
/// name proxies.
///
/// # Errors
/// There are no trusted certificates.
pub(super) fn client(direct: bool) -> Result<reqwest::Client, RegistryError> {
    let builder = reqwest::Client::builder()
        .user_agent(concat!("publish-variants/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .connect_timeout(CONNECT);
    tls::client(if direct { builder.no_proxy() } else { builder }).map_err(RegistryError::Client)
}

impl Registries {
    /// Sends a request once; or more than once, but only to follow a redirect, to answer a challenge, or to switch to
    /// TLS. What the registry's user may not read is also requested anonymously: an account that may push isn't
    /// necessarily allowed to read a public base.
    pub(super) async fn send(&self, call: &Call<'_>) -> Result<Answer, Trouble> {
        let identity = self.0.auth.identity(call);
        let trouble = match self.send_as(call, identity).await {
            Err(trouble) if identity == Identity::User && !call.access.pushes() && trouble.is_denial() => trouble,
            answer => return answer,
        };
        match self.send_as(call, Identity::Anonymous).await {
            Ok(answer) if answer.status() < 300 => {
                self.0.auth.read_anonymously(call.repository);
                Ok(answer)
            }
            _ => Err(trouble),
        }
    }

    async fn send_as(&self, call: &Call<'_>, identity: Identity) -> Result<Answer, Trouble> {
        let mut authorization = self.authorization(call, identity).await?;
        let mut rounds = 0;
        loop {
            rounds += 1;
            let (answer, at_home) = self.follow(call, authorization.as_ref()).await?;
            // Only the registry itself may ask for credentials, not a host that it redirects to.
            let may_ask = at_home && rounds < ROUNDS;
            let challenge = answer.challenge().filter(|_| may_ask && answer.status() == 401);
            let is_plain = at_home && answer.url().scheme() == "http";
            let is_unasked = may_ask && challenge.is_none() && authorization.is_none() && identity == Identity::User;
            let next = match challenge {
                Some(challenge) if self.can_answer(call, identity, &challenge, authorization.as_ref()) => {
                    // Otherwise the refusal would keep its in-flight permit, and the request for the token might wait
                    // for a permit for ever.
                    drop(answer);
                    self.renew(call, identity, &challenge, authorization.as_ref()).await?
                }
                None if is_unasked && matches!(answer.status(), 401 | 403 | 404) => {
                    drop(answer);
                    self.unasked(call, identity).await?
                }
                _ => match self.judge(call, answer).await {
                    Err(trouble) if is_plain && self.wants_tls(call, &trouble) => authorization,
                    judged => return judged,
                },
            };
            authorization = next;
        }
    }

    /// Sends a request and follows [redirects](https://www.rfc-editor.org/rfc/rfc9110#name-redirection-3xx), with the
    /// same method and body. Also returns whether the answer came from the registry itself.
    async fn follow(&self, call: &Call<'_>, authorization: Option<&Authorization>) -> Result<(Answer, bool), Trouble> {
        let mut url = match &call.target {
            Target::Api(rest) => self.url(call.repository, rest),
            Target::Url(url) => url.clone(),
        };
        let reads = call.method == Method::GET || call.method == Method::HEAD;
        for redirects in 0..=REDIRECTS {
            let at_home = url.origin() == self.url(call.repository, "").origin();
            let request = name(call, &url, at_home);
            let redirected = |trouble| Trouble { redirected: redirects > 0, ..trouble };
            self.check(&request, &url).map_err(redirected)?;
            let mut headers = HeaderMap::new();
            for (name, value) in &call.headers {
                headers.insert(name, value.parse().expect("our headers' values are ASCII"));
            }
            // Credentials and tokens are for the registry alone; a redirect's URL carries its own permission.
            if let (Some(authorization), true) = (authorization, at_home) {
                headers.insert(AUTHORIZATION, authorization.value().clone());
            }
            let answer = self.exchange(request, call.kind(), call.method.clone(), url.clone(), headers, &call.payload);
            let answer = answer.await.map_err(redirected)?;
            match answer.redirect() {
                Some(next) if self.is_told_to_use_tls(call.repository, &url, &next) => url = next,
                Some(next) if reads || matches!(answer.status(), 307 | 308) => url = next,
                _ => return Ok((answer, at_home)),
            }
        }
        let cause = Cause::Malformed(format!("more than {REDIRECTS} redirects"));
        Err(Trouble::new(name(call, &url, false), cause))
    }

    /// Sends one HTTP request, which is counted as `kind`, and waits for the head of the response.
    pub(super) async fn exchange(
        &self,
        request: Request,
        kind: &'static str,
        method: Method,
        url: Url,
        mut headers: HeaderMap,
        payload: &Payload<'_>,
    ) -> Result<Answer, Trouble> {
        let idle = self.0.options.idle;
        let permit = Arc::clone(&self.0.in_flight).acquire_owned().await.expect("the semaphore is never closed");
        let progress = Progress::new(idle, payload);
        if payload.length() > 0 || [Method::POST, Method::PUT, Method::PATCH].contains(&method) {
            headers.insert(CONTENT_LENGTH, payload.length().into());
        }
        let client = if is_loopback(&url) { &self.0.direct } else { &self.0.through_proxies };
        let host = endpoint::authority(&url);
        let mut builder = client.request(method, url).headers(headers);
        match payload.body(&progress).await {
            Ok(Some(body)) => builder = builder.body(body),
            Ok(None) => {}
            Err(error) => return Err(Trouble::other(request, error)),
        }
        *lock(&self.0.sent).entry((host, kind)).or_default() += 1;
        match progress.watch(builder.send()).await {
            Some(Ok(response)) => Ok(Answer::new(request, response, idle, permit)),
            Some(Err(error)) => Err(broken(request, error)),
            None => Err(Trouble::new(request, Cause::Stalled(idle))),
        }
    }

    /// Refuses a URL without TLS, unless that is allowed.
    pub(super) fn check(&self, request: &Request, url: &Url) -> Result<(), Trouble> {
        if endpoint::is_allowed(url, &self.0.options.insecure) {
            return Ok(());
        }
        let (mut shown, host) = (url.clone(), endpoint::authority(url));
        shown.set_query(None);
        let url = quoted(shown.as_str());
        let plain = RegistryError::PlainHttp { request: Box::new(request.clone()), url, host };
        Err(Trouble::other(request.clone(), plain))
    }

    /// Returns expected responses; turns the rest into `Trouble`, with the registry's message.
    async fn judge(&self, call: &Call<'_>, answer: Answer) -> Result<Answer, Trouble> {
        let home = self.url(call.repository, "");
        let plain = home.scheme() == "http" && answer.url().origin() == home.origin();
        if call.expects.contains(&answer.status()) {
            if plain {
                lock(&self.0.schemes).entry(call.repository.registry().to_owned()).or_insert(Scheme::Http);
            }
            return Ok(answer);
        }
        let redirected = answer.url().origin() != home.origin();
        let mut trouble = Trouble { redirected, ..refused(answer).await };
        if let Cause::Answered(answered) = &trouble.cause {
            let applicant = call.applicant(self.0.auth.has_credentials(call.repository));
            let opens_upload = call.method == Method::POST;
            trouble.hint = match (answered.status, answered.code.as_deref()) {
                (401 | 403, _) => Some(applicant.setting()),
                (404, Some("NAME_UNKNOWN")) if call.access.pushes() => Some(applicant.repository_to_make()),
                (404, _) if opens_upload => Some(applicant.repository_to_make()),
                _ => None,
            };
        }
        Err(trouble)
    }

    /// Whether a registry wants TLS after plain HTTP was tried. Then it gets TLS from now on.
    fn wants_tls(&self, call: &Call<'_>, trouble: &Trouble) -> bool {
        let Cause::Answered(answered) = &trouble.cause else { return false };
        let mut schemes = lock(&self.0.schemes);
        answered.wants_tls()
            && *schemes.entry(call.repository.registry().to_owned()).or_insert(Scheme::Https) == Scheme::Https
    }

    /// Whether a redirect leads from a registry without TLS to the same one with TLS. Then it gets TLS from now on.
    fn is_told_to_use_tls(&self, repository: &Repository, from: &Url, to: &Url) -> bool {
        let with_tls = endpoint::url(repository, Scheme::Https, "");
        let is_told =
            from.origin() == endpoint::url(repository, Scheme::Http, "").origin() && to.origin() == with_tls.origin();
        if is_told {
            lock(&self.0.schemes).insert(repository.registry().to_owned(), Scheme::Https);
        }
        is_told
    }

    pub(super) fn url(&self, repository: &Repository, rest: &str) -> Url {
        let registry = repository.registry();
        let known = lock(&self.0.schemes).get(registry).copied();
        let scheme = known.unwrap_or_else(|| Scheme::of(registry, &self.0.options.insecure));
        endpoint::url(repository, scheme, rest)
    }

    /// The error for a refused request to the token server.
    pub(super) fn token_refused(&self, call: &Call<'_>, mut trouble: Trouble) -> Trouble {
        if matches!(trouble.status(), Some(400 | 401 | 403)) {
            let has_credentials = self.0.auth.has_credentials(call.repository);
            trouble.hint = Some(call.applicant(has_credentials).setting());
        }
        trouble
    }
}

fn name(call: &Call<'_>, url: &Url, at_home: bool) -> Request {
    let elsewhere = || quoted(&format!("{}{}", endpoint::authority(url), url.path()));
    let path = if at_home { url.path().to_owned() } else { elsewhere() };
    Request { repository: call.repository.to_string(), method: call.method.to_string(), path }
}
