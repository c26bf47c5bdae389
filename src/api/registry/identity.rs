//! Identity tokens, which a token server exchanges for tokens that a registry accepts, by [OAuth
//! 2](https://distribution.github.io/distribution/spec/auth/oauth/). Azure's registry issues them, and credential
//! helpers return them.

use bytes::Bytes;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use url::form_urlencoded::Serializer;

use crate::secret::Secret;

/// The body of the request for a token with `scopes`.
pub(super) fn form(token: &Secret, service: Option<&str>, scopes: &[String]) -> Bytes {
    let form = Serializer::new(String::new())
        .append_pair("grant_type", "refresh_token")
        .append_pair("client_id", "publish-variants")
        .extend_pairs(service.map(|service| ("service", service)))
        .append_pair("scope", &scopes.join(" "))
        .append_pair("refresh_token", token.expose())
        .finish();
    form.into()
}

/// The headers of that request.
pub(super) fn headers() -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
    headers
}
