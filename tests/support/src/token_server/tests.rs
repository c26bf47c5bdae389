use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64_URL;

use super::*;
use crate::http::{Answer, get};
use crate::parts::skip;
use crate::registry::{Auth, Registry, basic};

async fn ask(tokens: &TokenServer, authorization: Option<&str>, scopes: &[&str]) -> Answer {
    let scopes: String = scopes.iter().map(|scope| format!("&scope={scope}")).collect();
    let headers: Vec<_> = authorization.map(|value| ("authorization", value)).into_iter().collect();
    get(&format!("{}?service={}{scopes}", tokens.realm(), tokens.service()), &headers).await.unwrap()
}

/// The status of the first request of a push, with a token from the server.
async fn push(tokens: &TokenServer, registry: &Registry, authorization: Option<&str>, repository: &str) -> u16 {
    let answer = ask(tokens, authorization, &[&format!("repository:{repository}:pull,push")]).await;
    let bearer = format!("Bearer {}", answer.json()["token"].as_str().unwrap());
    let url = format!("http://{}/v2/{repository}/blobs/uploads/", registry.host());
    crate::http::request("POST", &url, &[("authorization", &bearer)], "").await.unwrap().status.as_u16()
}

#[tokio::test]
async fn the_registry_lets_those_push_who_are_granted_it() {
    let tokens = TokenServer::start();
    tokens.add_user("publisher", "s3cret");
    tokens.grant("publisher", "acme/*", "pull,push");
    tokens.grant("publisher", "library/base", "pull");
    let Some(registry) = Registry::start(Auth::Token(&tokens)).await else { return skip("no docker-registry") };
    let publisher = basic("publisher", "s3cret");
    assert_eq!(push(&tokens, &registry, Some(&publisher), "acme/tool").await, 202);
    assert_eq!(push(&tokens, &registry, Some(&publisher), "library/base").await, 401);
    assert_eq!(push(&tokens, &registry, None, "acme/tool").await, 401);
    tokens.deny_push(true);
    assert_eq!(push(&tokens, &registry, Some(&publisher), "acme/tool").await, 401);
    assert_eq!(tokens.requests()[0].scopes, ["repository:acme/tool:pull,push"]);
    assert_eq!(tokens.requests()[0].user.as_deref(), Some("publisher"));
}

#[tokio::test]
async fn an_expired_token_is_refused_by_the_registry() {
    let tokens = TokenServer::start();
    tokens.add_user("publisher", "s3cret");
    let Some(registry) = Registry::start(Auth::Token(&tokens)).await else { return skip("no docker-registry") };
    tokens.set_lifetime(-1);
    assert_eq!(push(&tokens, &registry, Some(&basic("publisher", "s3cret")), "acme/tool").await, 401);
    tokens.set_lifetime(60);
    assert_eq!(push(&tokens, &registry, Some(&basic("publisher", "s3cret")), "acme/tool").await, 202);
}

#[tokio::test]
async fn a_wrong_password_gets_no_token() {
    let tokens = TokenServer::start();
    tokens.add_user("publisher", "s3cret");
    assert_eq!(ask(&tokens, Some(&basic("publisher", "wrong")), &[]).await.status, 401);
    assert_eq!(ask(&tokens, Some(&basic("", "")), &[]).await.status, 401);
    assert_eq!(ask(&tokens, Some("Bearer x"), &[]).await.status, 401);
    assert_eq!(ask(&tokens, Some(&basic("publisher", "s3cret")), &[]).await.status, 200);
}

#[tokio::test]
async fn denials_end_after_the_given_number_of_requests() {
    let tokens = TokenServer::start();
    tokens.add_user("publisher", "s3cret");
    tokens.deny_next(2);
    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(ask(&tokens, Some(&basic("publisher", "s3cret")), &[]).await.status.as_u16());
    }
    assert_eq!(statuses, [403, 403, 200]);
}

#[tokio::test]
async fn several_scopes_may_be_requested_together() {
    let tokens = TokenServer::start();
    tokens.allow_anonymous_pull();
    let answer = ask(&tokens, None, &["repository:a/b:pull,push", "repository:c/d:pull"]).await;
    let token = answer.json()["token"].as_str().unwrap().to_owned();
    let claims = BASE64_URL.decode(token.split('.').nth(1).unwrap()).unwrap();
    let claims: Value = serde_json::from_slice(&claims).unwrap();
    let expected = json!([
        { "type": "repository", "name": "a/b", "actions": ["pull"] },
        { "type": "repository", "name": "c/d", "actions": ["pull"] },
    ]);
    assert_eq!(claims["access"], expected);
}
