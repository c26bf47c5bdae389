//! Passwords and tokens.

use std::sync::{Arc, Mutex};

use publish_variants::credentials::IDENTITY_TOKEN;
use publish_variants::secret::Listener;
use support::fault_proxy::{Fault, FaultProxy, LocationForm, Rule};
use support::image::{TinyImage, file};
use support::parts::skip;
use support::registry::{Auth, Registry};
use support::token_server::TokenServer;

use super::*;

/// A registry with tokens for `publisher`.
async fn guarded() -> Option<(TokenServer, Registry)> {
    let tokens = TokenServer::start();
    tokens.add_user("publisher", PASSWORD);
    let Some(registry) = Registry::start(Auth::Token(&tokens)).await else {
        skip("no docker-registry");
        return None;
    };
    Some((tokens, registry))
}

#[tokio::test]
async fn one_token_serves_all_requests_with_the_same_scope() {
    let Some((tokens, registry)) = guarded().await else { return };
    let to = repository(registry.host(), "acme/tool");
    let client = Client::publisher(registry.host());
    Image::new(1).push(&client.registries, &to).await.unwrap();
    let scopes: Vec<_> = tokens.requests().into_iter().map(|request| request.scopes).collect();
    assert_eq!(scopes, [["repository:acme/tool:pull,push"]]);
    assert_eq!(tokens.requests()[0].service, tokens.service());
    assert_eq!(tokens.requests()[0].user.as_deref(), Some("publisher"));
}

#[tokio::test]
async fn a_mount_requests_the_scope_of_its_source_as_well() {
    let Some((tokens, registry)) = guarded().await else { return };
    let (bytes, layer) = blob(2, 1000);
    registry.push_blob("library/base", bytes.to_vec()).await;
    let (base, to) = (repository(registry.host(), "library/base"), repository(registry.host(), "acme/tool"));
    let client = Client::publisher(registry.host());
    let ensured = client.registries.ensure_blob(&to, &layer, BlobOrigin::Repository(&base)).await.unwrap();
    assert_eq!(ensured, Ensured::Mounted);
    let scopes = ["repository:acme/tool:pull,push", "repository:library/base:pull"];
    assert!(tokens.requests().iter().any(|request| request.scopes == scopes), "{:?}", tokens.requests());
}

#[tokio::test]
async fn a_blob_whose_mount_source_is_only_readable_anonymously_is_still_published() {
    let Some((tokens, registry)) = guarded().await else { return };
    let (bytes, layer) = blob(3, 1000);
    let Some(other) = Registry::start(Auth::None).await else { return };
    other.push_blob("library/base", bytes.to_vec()).await;
    tokens.grant("publisher", "acme/*", "pull,push");
    // The registry has the blob in a repository that the publisher may not read.
    registry.push_blob("secret/base", bytes.to_vec()).await;
    let client = Client::publisher(registry.host());
    let to = repository(registry.host(), "acme/tool");
    let secret = repository(registry.host(), "secret/base");
    let error = client.registries.ensure_blob(&to, &layer, BlobOrigin::Repository(&secret)).await.unwrap_err();
    assert!(said(error).contains("`GET /v2/secret/base/blobs/"), "the copy is tried after the mount");
    let base = repository(other.host(), "library/base");
    let copied = client.registries.ensure_blob(&to, &layer, BlobOrigin::Repository(&base)).await.unwrap();
    assert_eq!(copied, Ensured::Copied);
}

#[tokio::test]
async fn a_token_that_expires_during_a_run_is_renewed() {
    let Some((tokens, registry)) = guarded().await else { return };
    tokens.set_lifetime(2);
    let to = repository(registry.host(), "acme/tool");
    let client = Client::publisher(registry.host());
    for seed in 0..4 {
        let (bytes, layer) = blob(seed, 1000);
        client.registries.ensure_blob(&to, &layer, BlobOrigin::Bytes(&bytes)).await.unwrap();
        tokio::time::sleep(Duration::from_millis(1200)).await;
    }
    assert!(tokens.requests().len() > 1, "{:?}", tokens.requests());
}

#[tokio::test]
async fn a_token_that_the_registry_refuses_is_replaced_once() {
    let Some((tokens, registry)) = guarded().await else { return };
    let to = repository(registry.host(), "acme/tool");
    let client = Client::publisher(registry.host());
    tokens.deny_push(true);
    let error = client.registries.check_push(&to).await.unwrap_err();
    let RegistryError::Refused { answered, hint, .. } = &error else { panic!("{error:?}") };
    assert_eq!((answered.status, answered.code.as_deref()), (401, Some("UNAUTHORIZED")));
    assert!(hint.contains("may push to `acme/tool`"), "{hint}");
    assert_eq!(tokens.requests().len(), 1, "a fresh token is not replaced");
    // The cached token doesn't permit it; a new one does.
    tokens.deny_push(false);
    client.registries.check_push(&to).await.unwrap();
    let scopes: Vec<_> = tokens.requests().into_iter().map(|request| request.scopes.concat()).collect();
    let push = "repository:acme/tool:pull,push";
    assert_eq!(scopes, [push, push, "repository:acme/tool:pull,push,delete"]);
    let cancelled = registry.requests().iter().any(|request| request.method == "DELETE" && request.status == 204);
    assert!(cancelled, "{:?}", registry.requests());
}

#[tokio::test]
async fn a_transient_denial_of_the_token_server_is_retried_and_a_permanent_one_is_a_refusal() {
    let Some((tokens, registry)) = guarded().await else { return };
    let to = repository(registry.host(), "acme/tool");
    tokens.deny_next(3);
    Client::publisher(registry.host()).registries.check_push(&to).await.unwrap();
    assert_eq!(tokens.requests().iter().filter(|request| request.status == 403).count(), 3);
    tokens.deny_next(1000);
    let error = Client::publisher(registry.host()).registries.check_push(&to).await.unwrap_err();
    assert!(matches!(error, RegistryError::Refused { .. }), "{error:?}");
    assert_eq!(tokens.requests().iter().filter(|request| request.status == 403).count(), 3 + 5);
}

#[tokio::test]
async fn a_wrong_password_is_refused_immediately_and_never_shown() {
    let Some((tokens, registry)) = guarded().await else { return };
    let wrong = Secret::new("wrong-and-secret").unwrap();
    let credential = Credential { password: wrong, ..credential(registry.host()) };
    let client = Client::with(Options { credentials: vec![credential], ..Options::default() });
    let error = client.registries.check_push(&repository(registry.host(), "acme/tool")).await.unwrap_err();
    assert_eq!(tokens.requests().len(), 1);
    let shown = format!("{error:?} {:?} ", client.registries) + &said(error);
    assert!(shown.contains("check the line for"), "{shown}");
    assert!(!shown.contains("wrong-and-secret") && !shown.contains("d3JvbmctYW5kLXNlY3JldA"), "{shown}");
}

#[tokio::test]
async fn an_identity_token_is_exchanged_and_sent_nowhere_else() {
    let Some((tokens, registry)) = guarded().await else { return };
    tokens.add_identity("publisher", "identity&token");
    let identity = |token: &str| Credential {
        username: IDENTITY_TOKEN.to_owned(),
        password: Secret::new(token).unwrap(),
        ..credential(registry.host())
    };
    let to = repository(registry.host(), "acme/tool");
    let client = Client::with(Options { credentials: vec![identity("identity&token")], ..Options::default() });
    Image::new(6).push(&client.registries, &to).await.unwrap();
    let asked = tokens.requests();
    assert_eq!(asked[0].user.as_deref(), Some("publisher"));
    assert_eq!(
        (asked[0].service.as_str(), &asked[0].scopes[..]),
        (tokens.service(), &["repository:acme/tool:pull,push".to_owned()][..])
    );

    let client = Client::with(Options { credentials: vec![identity("another")], ..Options::default() });
    let refused = said(client.registries.check_push(&to).await.unwrap_err());
    assert!(refused.contains("is refused: 401") && !refused.contains("another"), "{refused}");

    let basic = Auth::Htpasswd { user: "publisher", password: PASSWORD };
    let Some(registry) = Registry::start(basic).await else { return };
    let here = Credential { registry: registry.host().to_owned(), ..identity("identity&token") };
    let client = Client::with(Options { credentials: vec![here], ..Options::default() });
    let refused = said(client.registries.check_push(&repository(registry.host(), "acme/tool")).await.unwrap_err());
    assert!(
        refused.contains("401") && registry.requests().len() == 1,
        "a password's registry gets no token: {refused}"
    );
}

#[tokio::test]
async fn the_credential_for_a_part_of_a_registry_is_used_only_there() {
    let Some((tokens, registry)) = guarded().await else { return };
    tokens.add_user("other", "0ther");
    let part = Credential {
        registry: format!("{}/acme", registry.host()),
        username: "other".into(),
        password: Secret::new("0ther").unwrap(),
    };
    let client = Client::with(Options { credentials: vec![credential(registry.host()), part], ..Options::default() });
    for (path, user) in [("acme/tool", "other"), ("acmes/tool", "publisher")] {
        client.registries.check_push(&repository(registry.host(), path)).await.unwrap();
        assert_eq!(tokens.requests().last().unwrap().user.as_deref(), Some(user), "{path}");
    }
}

#[tokio::test]
async fn every_token_is_announced_before_it_is_sent() {
    let Some((tokens, registry)) = guarded().await else { return };
    let proxy = Arc::new(FaultProxy::start(registry.host()));
    let heard = Arc::new(Mutex::new(Vec::new()));
    let issued = Listener::new({
        let (heard, proxy) = (Arc::clone(&heard), Arc::clone(&proxy));
        let authorized = move || proxy.requests().iter().filter(|request| request.asked.authorized).count();
        move |token: &Secret| heard.lock().unwrap().push((token.expose().to_owned(), authorized()))
    });
    let credentials = vec![credential(&proxy.host())];
    let client = Client::with(Options { credentials, issued, ..Options::default() });
    for path in ["acme/tool", "acme/other"] {
        client.registries.check_push(&repository(&proxy.host(), path)).await.unwrap();
    }
    let heard = heard.lock().unwrap();
    assert!(heard.iter().all(|(token, _)| token.split('.').count() == 3), "{heard:?}");
    assert_eq!(heard[0].1, 0, "a token was sent before it was announced");
    assert_eq!(heard.len(), tokens.requests().iter().filter(|request| request.status == 200).count());
}

#[tokio::test]
async fn without_credentials_public_images_are_pulled_and_others_are_refused() {
    let Some((tokens, registry)) = guarded().await else { return };
    tokens.allow_anonymous_pull();
    let image = TinyImage::new(&["linux/amd64"]).layer(vec![file("a", "a")]).build();
    registry.push(&image, "library/base", "3").await;
    let base = repository(registry.host(), "library/base");
    let client = Client::new();
    client.registries.resolve(&base.tagged("3".parse().unwrap())).await.unwrap();
    let refused = said(client.registries.check_push(&base).await.unwrap_err());
    assert!(refused.contains(&format!("hint: add a line `{} USER PASSWORD` to `credentials`", registry.host())));
    assert!(tokens.requests().iter().all(|request| request.user.is_none()));

    let basic = Auth::Htpasswd { user: "publisher", password: PASSWORD };
    let Some(registry) = Registry::start(basic).await else { return };
    let refused = client.registries.check_push(&repository(registry.host(), "acme/tool")).await.unwrap_err();
    assert!(matches!(refused, RegistryError::Refused { .. }), "{refused:?}");
    assert_eq!(registry.requests().len(), 1);
}

#[tokio::test]
async fn credentials_stay_with_their_registry() {
    let basic = Auth::Htpasswd { user: "publisher", password: PASSWORD };
    let Some(registry) = Registry::start(basic).await else { return skip("no docker-registry") };
    let proxy = FaultProxy::start(registry.host());
    let client = Client::publisher(&proxy.host());
    let (to, image) = (repository(&proxy.host(), "acme/tool"), Image::new(4));
    image.push(&client.registries, &to).await.unwrap();

    proxy.inject(Rule::on("GET", "/blobs/", Fault::RedirectBlob));
    let layer = client.registries.small_blob(&to, &image.layer.1).await.unwrap();
    assert_eq!(layer, image.layer.0);
    let at_store: Vec<_> = proxy.store_requests().iter().map(|request| (request.authorized, request.status)).collect();
    assert_eq!(at_store, [(false, 200)]);

    // This other host asks for a password as well, although it has no business doing so.
    proxy.inject(Rule::on("POST", "/blobs/uploads/", Fault::Location(LocationForm::OtherHost)));
    let (bytes, layer) = blob(5, 10);
    let error = client.registries.ensure_blob(&to, &layer, BlobOrigin::Bytes(&bytes)).await.unwrap_err();
    assert!(matches!(&error, RegistryError::Refused { request, .. } if request.path.starts_with(&proxy.other_host())));
    let elsewhere: Vec<_> = proxy.requests().into_iter().filter(|request| request.asked.at_other_host).collect();
    assert!(!elsewhere.is_empty() && elsewhere.iter().all(|request| !request.asked.authorized));
}
