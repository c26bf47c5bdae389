//! Registries in the wild: the ways in which they differ from the specification, or use the freedom that it leaves.
//! docs/registries.md says which registry does what.

use support::fault_proxy::{Fault, FaultProxy, LocationForm, Rule};
use support::image::{TinyImage, file};
use support::parts::skip;
use support::registry::{Auth, Registry};
use support::token_server::TokenServer;

use super::canned::{Canned, ok, status};
use super::*;

const BASIC: &str = r#"Basic realm="r""#;

/// An answer with this status and nothing else.
fn bare(status: u16) -> Fault {
    Fault::Status { status, retry_after: None, media_type: "text/plain", body: String::new() }
}

/// A registry with tokens: `publisher` may push, and everybody may pull.
async fn guarded() -> Option<(TokenServer, Registry)> {
    let tokens = TokenServer::start();
    tokens.add_user("publisher", PASSWORD);
    tokens.allow_anonymous_pull();
    let Some(registry) = Registry::start(Auth::Token(&tokens)).await else {
        skip("no docker-registry");
        return None;
    };
    Some((tokens, registry))
}

#[tokio::test]
async fn credentials_are_sent_even_if_a_registry_asks_only_at_its_root_or_nowhere() {
    let Some(registry) = Registry::start(Auth::None).await else { return skip("no docker-registry") };
    for (number, refusal) in [bare(401), bare(403), bare(404), Fault::refused(403)].into_iter().enumerate() {
        for challenge in [Some(BASIC), None] {
            let proxy = FaultProxy::start(registry.host());
            if let Some(challenge) = challenge {
                proxy.inject(Rule::at("GET", "/v2/", Fault::Challenge(challenge.to_owned())).unauthorized());
            }
            proxy.inject(Rule::on("*", "/v2/acme/", refusal.clone()).unauthorized());
            let path = format!("acme/tool{number}{}", challenge.map_or(0, str::len));
            let (to, image) = (repository(&proxy.host(), &path), Image::new(number as u64));
            let pushed = image.push(&Client::publisher(&proxy.host()).registries, &to).await;
            pushed.unwrap_or_else(|error| panic!("{refusal:?} {challenge:?}: {}", said(error)));
            let asked = proxy.requests().into_iter().filter(|request| request.asked.path == "/v2/").count();
            assert_eq!(asked, 1, "{refusal:?} {challenge:?}");
            let refused =
                proxy.requests().into_iter().filter(|request| request.fault.as_ref() == Some(&refusal)).count();
            assert_eq!(refused, 1, "from then on they are sent at once: {refusal:?} {challenge:?}");

            proxy.forget();
            Client::new().registries.check_push(&to).await.unwrap_err();
            let asked = proxy.requests().into_iter().filter(|request| request.asked.path == "/v2/").count();
            assert_eq!(asked, 0, "without credentials: {refusal:?} {challenge:?}");
        }
    }
}

#[tokio::test]
async fn the_scope_in_a_challenge_is_requested() {
    for strict in [false, true] {
        let Some((tokens, registry)) = guarded().await else { return };
        tokens.grant("publisher", "library/*", "pull");
        tokens.grant("publisher", "inner/*", "pull,push");
        if strict {
            tokens.give_all_or_nothing();
        } else {
            tokens.merge_no_scopes();
        }
        let image = TinyImage::new(&["linux/amd64"]).layer(vec![file("a", "a")]).build();
        registry.push(&image, "library/base", "3").await;
        let proxy = FaultProxy::start(registry.host());
        let client = Client::publisher(&proxy.host());

        proxy.rename("base", "library/base");
        let base = repository(&proxy.host(), "base");
        client.registries.resolve(&base.tagged("3".parse().unwrap())).await.unwrap();
        let asked: Vec<_> = tokens.requests().into_iter().flat_map(|request| request.scopes).collect();
        assert!(asked.contains(&"repository:library/base:pull".to_owned()), "{asked:?}");

        proxy.rename("tool", "inner/tool");
        let to = repository(&proxy.host(), "tool");
        Image::new(1).push(&client.registries, &to).await.unwrap_or_else(|error| panic!("{strict}: {}", said(error)));
        assert!(registry.manifest("inner/tool", "latest").await.is_some(), "{strict}");
    }
}

#[tokio::test]
async fn a_token_server_may_redirect_and_the_password_stays_at_its_origin() {
    let Some((tokens, registry)) = guarded().await else { return };
    tokens.move_away();
    let to = repository(registry.host(), "acme/tool");
    Image::new(2).push(&Client::publisher(registry.host()).registries, &to).await.unwrap();

    let elsewhere = Canned::start(|_| ok("X: y", r#"{"token":"t"}"#));
    let location = format!("Location: http://{}/token", elsewhere.host());
    let named = Canned::start(move |_| status("302 Found", &location, ""));
    let challenge = format!("WWW-Authenticate: Bearer realm=\"http://{}/token\"", named.host());
    let asking = Canned::start(move |_| status("401 Unauthorized", &challenge, ""));
    let client = Client::publisher(&asking.host());
    client.registries.check_push(&repository(&asking.host(), "a/b")).await.unwrap_err();
    assert!(named.seen().iter().all(|head| head.contains("authorization: Basic ")), "{:?}", named.seen());
    assert!(!elsewhere.seen().is_empty());
    assert!(elsewhere.seen().iter().all(|head| !head.contains("authorization")), "{:?}", elsewhere.seen());
}

#[tokio::test]
async fn a_token_refused_because_of_one_scope_costs_one_request() {
    let Some((tokens, registry)) = guarded().await else { return };
    tokens.grant("publisher", "acme/*", "pull,push");
    tokens.give_all_or_nothing();
    let (client, to) = (Client::publisher(registry.host()), repository(registry.host(), "acme/tool"));
    // Cancelling an upload needs the scope `delete`.
    client.registries.check_push(&to).await.unwrap();
    let denied = || tokens.requests().iter().filter(|request| request.status == 403).count();
    assert_eq!(denied(), 1);
    // The scope of a mount includes the base, which everybody may read except for this user.
    let base = repository(registry.host(), "library/base");
    for seed in 0..3 {
        let (bytes, layer) = blob(seed, 1000);
        registry.push_blob("library/base", bytes.to_vec()).await;
        let ensured = client.registries.ensure_blob(&to, &layer, BlobOrigin::Repository(&base)).await.unwrap();
        assert_eq!(ensured, Ensured::Copied);
    }
    assert_eq!(client.registries.retried(), 2, "the first mount, which may have been denied in passing");
}

#[tokio::test]
async fn a_public_base_is_read_without_credentials_if_they_are_refused_for_it() {
    let Some((tokens, registry)) = guarded().await else { return };
    tokens.grant("publisher", "acme/*", "pull,push");
    let image = TinyImage::new(&["linux/amd64"]).layer(vec![file("a", "a")]).build();
    registry.push(&image, "library/base", "3").await;
    let (client, base) = (Client::publisher(registry.host()), repository(registry.host(), "library/base"));
    let index = client.registries.resolve(&base.tagged("3".parse().unwrap())).await.unwrap();
    assert!(client.registries.complete(&base, &index).await.unwrap());
    let asked: Vec<_> = tokens.requests().into_iter().map(|request| request.user).collect();
    assert_eq!(asked, [Some("publisher".to_owned()), None], "from then on it is read anonymously");
    client.registries.check_push(&repository(registry.host(), "acme/tool")).await.unwrap();

    let closed = TokenServer::start();
    closed.add_user("publisher", PASSWORD);
    closed.grant("publisher", "acme/*", "pull,push");
    let Some(registry) = Registry::start(Auth::Token(&closed)).await else { return };
    registry.push(&image, "library/base", "3").await;
    let base = repository(registry.host(), "library/base");
    let client = Client::publisher(registry.host());
    let error = client.registries.resolve(&base.tagged("3".parse().unwrap())).await.unwrap_err();
    assert!(said(error).contains("may pull from `library/base`"), "the refusal is the one of the user");
}

#[tokio::test]
async fn a_mount_that_fails_in_any_way_falls_back_to_an_upload() {
    let Some(registry) = Registry::start(Auth::None).await else { return skip("no docker-registry") };
    let base = |proxy: &FaultProxy| repository(&proxy.host(), "library/base");
    for (seed, refusal) in [
        Fault::denied(401),
        Fault::denied(403),
        Fault::refused(403),
        Fault::Challenge(BASIC.to_owned()),
        Fault::no_repository(),
        Fault::blob_unknown(),
        Fault::unsupported(),
        Fault::internal_error(),
        Fault::Reset,
        Fault::AcceptMount,
        bare(400),
        bare(200),
    ]
    .into_iter()
    .enumerate()
    {
        let proxy = FaultProxy::start(registry.host());
        proxy.inject(Rule::on("POST", "mount=", refusal.clone()));
        let (bytes, layer) = blob(100 + seed as u64, 1000);
        registry.push_blob("library/base", bytes.to_vec()).await;
        let (client, to) = (Client::new(), repository(&proxy.host(), "acme/tool"));
        let ensured = client.registries.ensure_blob(&to, &layer, BlobOrigin::Repository(&base(&proxy))).await;
        assert_eq!(ensured.unwrap_or_else(|error| panic!("{refusal:?}: {}", said(error))), Ensured::Copied);
        let mounts = proxy.requests().into_iter().filter(|request| request.asked.query.contains("mount=")).count();
        assert!((1..=3).contains(&mounts), "{refusal:?}: {mounts}");
    }
}

#[tokio::test]
async fn a_repository_that_has_to_be_created_first_is_named() {
    let Some(registry) = Registry::start(Auth::None).await else { return skip("no docker-registry") };
    let proxy = FaultProxy::start(registry.host());
    proxy.inject(Rule::on("POST", "/blobs/uploads/", Fault::no_repository()));
    let error = Client::new().registries.check_push(&repository(&proxy.host(), "acme/tool")).await.unwrap_err();
    let said = said(error);
    assert!(said.contains("404 NAME_UNKNOWN") && said.contains("hint: create the repository `acme/tool` at"), "{said}");
    assert_eq!(proxy.count("POST", ""), 1);
}

#[tokio::test]
async fn a_refused_tag_that_names_the_image_anyway_counts_as_written() {
    let Some(registry) = Registry::start(Auth::None).await else { return skip("no docker-registry") };
    for immutable in [400, 409] {
        let proxy = FaultProxy::start(registry.host());
        let to = repository(&proxy.host(), &format!("acme/tool{immutable}"));
        proxy.inject(Rule::on("PUT", "/manifests/latest", Fault::LoseAnswer).times(1));
        proxy.inject(Rule::on("PUT", "/manifests/latest", Fault::immutable_tag(immutable)));
        let (client, image, other) = (Client::new(), Image::new(3), Image::new(4));
        image.push(&client.registries, &to).await.unwrap();
        assert_eq!(proxy.count("PUT", "/manifests/latest"), 1, "only the answer was lost");
        image.push(&client.registries, &to).await.unwrap();
        assert_eq!(proxy.count("PUT", "/manifests/latest"), 2);
        let error = other.push(&client.registries, &to).await.unwrap_err();
        assert!(said(error).contains(&format!("{immutable} TAG_INVALID")), "another image isn't there");
    }
}

#[tokio::test]
async fn writes_are_redirected_with_method_and_body_and_without_credentials_to_another_host() {
    let Some(registry) = Registry::start(Auth::None).await else { return skip("no docker-registry") };
    let mut number = 0;
    for (method, part) in [("POST", "/blobs/uploads/"), ("PUT", "/blobs/uploads/"), ("PUT", "/manifests/")] {
        for (status, elsewhere) in [(307, false), (308, false), (307, true), (308, true)] {
            number += 1;
            let proxy = FaultProxy::start(registry.host());
            proxy.inject(Rule::on("*", "", Fault::Challenge(BASIC.to_owned())).unauthorized());
            proxy.inject(Rule::on(method, part, Fault::Redirect { status, elsewhere }));
            let to = repository(&proxy.host(), &format!("acme/tool{number}"));
            let name = format!("{method} {part} {status} {elsewhere}");
            let image = Image::new(number);
            let pushed = image.push(&Client::publisher(&proxy.host()).registries, &to).await;
            pushed.unwrap_or_else(|error| panic!("{name}: {}", said(error)));
            assert!(registry.manifest(&format!("acme/tool{number}"), "latest").await.is_some(), "{name}");
            let there: Vec<_> = proxy.requests().into_iter().filter(|request| request.asked.at_other_host).collect();
            assert_eq!(!there.is_empty(), elsewhere, "{name}");
            assert!(there.iter().all(|request| !request.asked.authorized), "{name}");
        }
    }
    // Other redirects may turn a `POST` into a `GET`.
    let proxy = FaultProxy::start(registry.host());
    proxy.inject(Rule::on("POST", "", Fault::Redirect { status: 302, elsewhere: false }));
    let error = Client::new().registries.check_push(&repository(&proxy.host(), "acme/tool")).await.unwrap_err();
    assert!(said(error).contains("answered 302"));
}

#[tokio::test]
async fn a_host_at_which_an_upload_continues_gets_only_the_upload() {
    let Some(registry) = Registry::start(Auth::None).await else { return skip("no docker-registry") };
    let proxy = FaultProxy::start(registry.host());
    proxy.inject(Rule::on("POST", "", Fault::Location(LocationForm::OtherHost)));
    let (client, to) = (Client::new(), repository(&proxy.host(), "acme/tool"));
    client.registries.check_push(&to).await.unwrap();
    Image::new(5).push(&client.registries, &to).await.unwrap();
    let there = proxy.requests().into_iter().filter(|request| request.asked.at_other_host);
    let methods: Vec<_> = there.map(|request| request.asked.method).collect();
    assert_eq!(methods, ["PUT", "PUT"]);
}

#[tokio::test]
async fn a_manifest_that_was_just_pushed_is_awaited_only_on_request() {
    let Some(registry) = Registry::start(Auth::None).await else { return skip("no docker-registry") };
    let proxy = FaultProxy::start(registry.host());
    let (from, image) = (repository(&proxy.host(), "acme/tool"), Image::new(6));
    let client = Client::new();
    let registries = &client.registries;
    image.push(registries, &from).await.unwrap();
    let (pinned, config) = (from.pinned(image.manifest.digest().clone()), image.config.descriptor());

    proxy.inject(Rule::on("GET", "/manifests/", Fault::manifest_unknown()).times(2));
    proxy.inject(Rule::on("GET", "/blobs/", Fault::blob_unknown()).times(2));
    registries.patiently(|| registries.manifest(&pinned)).await.unwrap();
    registries.patiently(|| registries.small_blob(&from, &config)).await.unwrap();
    proxy.inject(Rule::on("GET", "/blobs/", Fault::blob_unknown()).times(2));
    registries.patiently(|| registries.spool_blob(&from, &image.layer.1, client.spool.path())).await.unwrap();

    proxy.heal();
    proxy.forget();
    proxy.inject(Rule::on("GET", "/", bare(404)));
    for error in [
        registries.manifest(&pinned).await.unwrap_err(),
        registries.small_blob(&from, &config).await.unwrap_err(),
        registries.spool_blob(&from, &image.layer.1, client.spool.path()).await.unwrap_err(),
    ] {
        assert!(matches!(error, RegistryError::Missing(_)), "{error:?}");
    }
    assert_eq!(proxy.count("GET", ""), 3, "once each");
}
