//! One request: the connection, its limits, redirects and the way from a refusal to a token.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Method;
use reqwest::header::{AUTHORIZATION, CONTENT_LENGTH, HeaderMap};
use url::Url;

use super::answer::{Answer, broken, refused};
use super::auth::Authorization;
use super::call::{Call, Payload, Target};
use super::challenge::Challenge;
use super::endpoint::{self, Scheme};
use super::error::{Cause, RegistryError, Request};
use super::progress::Progress;
use super::retry::{Again, Trouble};
use super::{Registries, lock};
use crate::image::Repository;
use crate::quote::quoted;

const CONNECT: Duration = Duration::from_secs(10);
const REDIRECTS: usize = 5;

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

impl Registries {
    /// Sends a request once; more than once only to follow a redirect, or to answer a challenge.
    pub(super) async fn send(&self, call: &Call<'_>) -> Result<Answer, Trouble> {
        let mut authorization = self.authorization(call).await?;
        loop {
            let (answer, at_home) = self.follow(call, authorization.as_ref()).await?;
            // Only the registry itself may ask who we are, not where it sent us; and only once for one token.
            let (401, true, Some(challenge)) = (answer.status(), at_home, answer.challenge()) else {
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
        if challenge == Challenge::Basic && self.0.auth.password(call.repository).is_none() {
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
        let follows = call.method == Method::GET || call.method == Method::HEAD;
        for redirects in 0..=REDIRECTS {
            let at_home = url.origin() == home.origin();
            let request = name(call, &url, at_home);
            let redirected = |trouble| Trouble { redirected: redirects > 0, ..trouble };
            self.check(&request, &url).map_err(redirected)?;
            let mut headers = HeaderMap::new();
            for (name, value) in &call.headers {
                headers.insert(name, value.parse().expect("our headers' values are ASCII"));
            }
            // Credentials and tokens are for the registry; where it sends us, the URL itself says what we may.
            if let (Some(authorization), true) = (authorization, at_home) {
                headers.insert(AUTHORIZATION, authorization.value().clone());
            }
            let answer = self.exchange(request, call.kind(), call.method.clone(), url.clone(), headers, &call.payload);
            let answer = answer.await.map_err(redirected)?;
            match answer.redirect() {
                Some(next) if follows => url = next,
                _ => return Ok((answer, at_home)),
            }
        }
        let cause = Cause::Malformed(format!("more than {REDIRECTS} redirects"));
        Err(Trouble::new(name(call, &url, false), cause, Again::FewTimes))
    }

    /// Sends one HTTP request of the `kind` it is counted as, and waits for the head of its answer.
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
        let progress = Progress::new(idle, payload.length());
        if payload.length() > 0 || [Method::POST, Method::PUT, Method::PATCH].contains(&method) {
            headers.insert(CONTENT_LENGTH, payload.length().into());
        }
        let client = if endpoint::is_loopback(&url) { &self.0.direct } else { &self.0.through_proxies };
        let host = endpoint::authority(&url);
        let mut builder = client.request(method, url).headers(headers);
        match payload.body(&progress).await {
            Ok(Some(body)) => builder = builder.body(body),
            Ok(None) => {}
            Err(error) => return Err(Trouble::last(request, error)),
        }
        *lock(&self.0.sent).entry((host, kind)).or_default() += 1;
        match progress.watch(builder.send()).await {
            Some(Ok(response)) => Ok(Answer::new(request, response, idle, permit)),
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
        let url = quoted(shown.as_str());
        let plain = RegistryError::PlainHttp { request: Box::new(request.clone()), url, host };
        Err(Trouble::last(request.clone(), plain))
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
        let mut trouble = refused(answer).await;
        if let Cause::Answered(answered) = &trouble.cause {
            let registry = call.repository.registry();
            if plain && answered.wants_tls() {
                let scheme = *lock(&self.0.schemes).entry(registry.to_owned()).or_insert(Scheme::Https);
                if scheme == Scheme::Https {
                    trouble.again = Again::UntilDeadline { after: None };
                }
            }
            if matches!(answered.status, 401 | 403) {
                trouble.hint = Some(call.applicant(self.0.auth.has_credentials(call.repository)).setting());
            }
        }
        Err(trouble)
    }

    pub(super) fn url(&self, repository: &Repository, rest: &str) -> Url {
        let registry = repository.registry();
        let known = lock(&self.0.schemes).get(registry).copied();
        let scheme = known.unwrap_or_else(|| Scheme::of(registry, &self.0.options.insecure));
        endpoint::url(repository, scheme, rest)
    }

    /// How a request to the token server is refused.
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
