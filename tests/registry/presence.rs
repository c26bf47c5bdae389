//! Lookups without reading, and waiting for content that isn't visible yet.

use publish_variants::api::registry::Cause;
use publish_variants::image::Index;
use support::fault_proxy::{Fault, FaultProxy, Rule};
use support::image::{TinyImage, file};
use support::parts::skip;
use support::registry::{Auth, Registry};

use super::canned::{Canned, ok, status};
use super::*;

/// An answer with this status and nothing else.
fn bare(status: u16) -> Fault {
    Fault::Status { status, retry_after: None, media_type: "text/plain", body: String::new() }
}

#[tokio::test]
async fn a_digest_is_learned_without_reading_the_manifest() {
    let Some(registry) = Registry::start(Auth::None).await else { return skip("no docker-registry") };
    let proxy = FaultProxy::start(registry.host());
    let (to, image) = (repository(&proxy.host(), "acme/tool"), Image::new(1));
    let client = Client::new();
    image.push(&client.registries, &to).await.unwrap();
    proxy.forget();
    let (digest, other) = (image.manifest.digest().clone(), Digest::of(b"something else"));
    for (reference, found) in [
        (to.tagged("latest".parse().unwrap()), Some(&digest)),
        (to.pinned(digest.clone()).into(), Some(&digest)),
        (to.tagged("1.0".parse().unwrap()), None),
        (to.pinned(other.clone()).into(), None),
        (repository(&proxy.host(), "acme/nothing").tagged("1.0".parse().unwrap()), None),
    ] {
        assert_eq!(client.registries.digest(&reference).await.unwrap().as_ref(), found, "{reference}");
    }
    assert!(client.registries.has_manifest(&to, &digest).await.unwrap());
    assert!(!client.registries.has_manifest(&to, &other).await.unwrap());
    assert_eq!((proxy.count("HEAD", "/manifests/"), proxy.count("GET", "")), (7, 0));
}

#[tokio::test]
async fn after_an_odd_answer_to_a_head_request_get_is_used() {
    let Some(registry) = Registry::start(Auth::None).await else { return skip("no docker-registry") };
    let proxy = FaultProxy::start(registry.host());
    let (to, image) = (repository(&proxy.host(), "acme/tool"), Image::new(2));
    image.push(&Client::new().registries, &to).await.unwrap();
    let (_, missing) = blob(3, 10);
    let client = Client::with(Options { concurrency: 1, ..Options::default() });
    for fault in [
        Fault::NoDigest,
        bare(307),
        bare(400),
        bare(401),
        bare(403),
        bare(405),
        bare(501),
        Fault::denied(403),
        Fault::too_large(),
    ] {
        proxy.inject(Rule::on("HEAD", "", fault.clone()));
        let tag = to.tagged("latest".parse().unwrap());
        let digest = image.manifest.digest();
        assert_eq!(client.registries.digest(&tag).await.unwrap().as_ref(), Some(digest), "{fault:?}");
        assert!(client.registries.has_manifest(&to, digest).await.unwrap(), "{fault:?}");
        assert!(!client.registries.has_manifest(&to, &missing.digest).await.unwrap(), "{fault:?}");
        let there = client.registries.ensure_blob(&to, &image.layer.1, BlobOrigin::Bytes(&image.layer.0)).await;
        assert_eq!(there.unwrap(), Ensured::AlreadyThere, "{fault:?}");
        proxy.heal();
    }
    assert_eq!((client.registries.retried(), proxy.sent().blobs), (0, 2), "only the first push has sent blobs");
}

#[tokio::test]
async fn a_400_to_a_head_is_not_taken_for_a_registry_with_tls() {
    let Some(registry) = Registry::start(Auth::None).await else { return skip("no docker-registry") };
    let proxy = FaultProxy::start(registry.host());
    proxy.inject(Rule::on("HEAD", "", bare(400)));
    let missing = repository(&proxy.host(), "acme/tool").tagged("1.0".parse().unwrap());
    let client = Client::new();
    assert_eq!(client.registries.digest(&missing).await.unwrap(), None);
    assert_eq!(client.registries.retried(), 0);
}

#[tokio::test]
async fn storage_that_accepts_a_signed_url_only_for_get_is_asked_by_get() {
    let Some(registry) = Registry::start(Auth::Htpasswd { user: "publisher", password: PASSWORD }).await else {
        return skip("no docker-registry");
    };
    let proxy = FaultProxy::start(registry.host());
    let (to, image) = (repository(&proxy.host(), "acme/tool"), Image::new(4));
    image.push(&Client::publisher(&proxy.host()).registries, &to).await.unwrap();
    let client = Client::publisher(&proxy.host());
    // The proxy redirects before the registry asks for credentials.
    client.registries.check_push(&to).await.unwrap();
    proxy.inject(Rule::on("*", "/blobs/sha256:", Fault::RedirectSignedForGet));
    proxy.inject(Rule::on("*", "/manifests/", Fault::RedirectSignedForGet));
    let there = client.registries.ensure_blob(&to, &image.layer.1, BlobOrigin::Bytes(&image.layer.0)).await;
    assert_eq!(there.unwrap(), Ensured::AlreadyThere);
    let found = client.registries.digest(&to.tagged("latest".parse().unwrap())).await.unwrap();
    assert_eq!(found.as_ref(), Some(image.manifest.digest()));
    let at_store: Vec<_> = proxy.store_requests().iter().map(|request| (request.authorized, request.status)).collect();
    assert_eq!(at_store, [(false, 403), (false, 206), (false, 403), (false, 200)]);
    assert_eq!(client.registries.retried(), 0);
}

#[tokio::test]
async fn a_head_that_is_led_astray_is_asked_again_by_get() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let manifest = r#"{"schemaVersion":2}"#;
    for location in ["/round/and/round", "http://192.0.2.1/without-tls", "http://[", &format!("http://{nobody}/")] {
        let redirect = status("307 Temporary Redirect", &format!("Location: {location}"), "");
        let server = Canned::by_method(move |method, target| match (method, target) {
            ("GET", "/v2/a/b/manifests/1.0") => ok("X: y", manifest),
            ("HEAD", _) => redirect.clone(),
            other => panic!("{other:?}"),
        });
        let (client, tag) = (Client::new(), repository(&server.host(), "a/b").tagged("1.0".parse().unwrap()));
        let found = client.registries.digest(&tag).await.unwrap();
        assert_eq!(found, Some(Digest::of(manifest.as_bytes())), "{location}");
        assert_eq!(client.registries.retried(), 0, "{location}");
    }
}

#[tokio::test]
async fn transient_failures_are_retried_and_not_asked_by_get() {
    let Some(registry) = Registry::start(Auth::None).await else { return skip("no docker-registry") };
    let proxy = FaultProxy::start(registry.host());
    let (to, image) = (repository(&proxy.host(), "acme/tool"), Image::new(5));
    image.push(&Client::new().registries, &to).await.unwrap();
    for fault in [
        Fault::Reset,
        Fault::LoseAnswer,
        Fault::request_timeout(None),
        Fault::too_many_requests(None),
        Fault::internal_error(),
        Fault::bad_gateway(),
        Fault::unavailable(None),
    ] {
        proxy.inject(Rule::on("HEAD", "/manifests/", fault.clone()).times(6));
        let client = Client::new();
        assert!(client.registries.has_manifest(&to, image.manifest.digest()).await.unwrap(), "{fault:?}");
        assert!(client.registries.retried() >= 6, "{fault:?}");
    }
    assert_eq!(proxy.count("GET", ""), 0);
}

#[tokio::test]
async fn a_refusal_is_reported_in_the_words_that_only_a_get_has() {
    let Some(registry) = Registry::start(Auth::None).await else { return skip("no docker-registry") };
    let proxy = FaultProxy::start(registry.host());
    proxy.inject(Rule::on("*", "", Fault::write_package()));
    let tag = repository(&proxy.host(), "acme/tool").tagged("1.0".parse().unwrap());
    let error = Client::new().registries.digest(&tag).await.unwrap_err();
    assert!(matches!(&error, RegistryError::Refused { .. }), "{error:?}");
    assert!(said(error).contains("403 DENIED (permission_denied: write_package)"));
    assert_eq!((proxy.count("HEAD", ""), proxy.count("GET", "")), (1, 1));
}

#[tokio::test]
async fn another_digest_or_other_bytes_are_not_what_was_asked_for() {
    let Some(registry) = Registry::start(Auth::None).await else { return skip("no docker-registry") };
    let proxy = FaultProxy::start(registry.host());
    let (to, image) = (repository(&proxy.host(), "acme/tool"), Image::new(6));
    image.push(&Client::new().registries, &to).await.unwrap();
    let pinned = to.pinned(image.manifest.digest().clone());
    for (head, get) in [(Fault::WrongDigest, None), (Fault::NoDigest, Some(Fault::Corrupt { at: 7 }))] {
        proxy.inject(Rule::on("HEAD", "", head));
        if let Some(get) = get {
            proxy.inject(Rule::on("GET", "", get));
        }
        let client = Client::new();
        for error in [
            client.registries.digest(&pinned.clone().into()).await.unwrap_err(),
            client.registries.has_manifest(&to, pinned.digest()).await.unwrap_err(),
        ] {
            assert!(
                matches!(error, RegistryError::Failed { cause: Cause::Mismatch { .. }, attempts: 5, .. }),
                "{error:?}"
            );
        }
        proxy.heal();
    }
}

#[tokio::test]
async fn a_manifest_that_was_just_pushed_is_looked_up_until_it_is_visible() {
    let Some(registry) = Registry::start(Auth::None).await else { return skip("no docker-registry") };
    let proxy = FaultProxy::start(registry.host());
    let (to, image) = (repository(&proxy.host(), "acme/tool"), Image::new(7));
    let (client, digest) = (Client::new(), image.manifest.digest());
    image.push(&client.registries, &to).await.unwrap();
    for (unseen, there, attempts) in [(0, true, 1), (6, true, 7), (usize::MAX, false, 7)] {
        proxy.forget();
        proxy.inject(Rule::on("HEAD", "/manifests/", bare(404)).times(unseen));
        assert_eq!(client.registries.confirm(&to, digest).await.unwrap(), there, "{unseen} times 404");
        assert_eq!(proxy.count("HEAD", "/manifests/"), attempts, "{unseen} times 404");
        proxy.heal();
    }
    proxy.inject(Rule::on("HEAD", "/manifests/", Fault::WrongDigest));
    client.registries.confirm(&to, digest).await.unwrap_err();
}

#[tokio::test]
async fn a_source_that_was_just_pushed_is_read_as_soon_as_it_is_visible() {
    let Some(registry) = Registry::start(Auth::None).await else { return skip("no docker-registry") };
    let proxy = FaultProxy::start(registry.host());
    let (from, image) = (repository(&proxy.host(), "acme/tool"), Image::new(8));
    let (client, latest) = (Client::new(), from.tagged("latest".parse().unwrap()));
    image.push(&client.registries, &from).await.unwrap();
    proxy.inject(Rule::on("GET", "/manifests/", bare(404)).times(6));
    let pulled = client.registries.patiently(|| client.registries.resolve(&latest)).await.unwrap();
    assert_eq!(pulled.document.bytes(), image.manifest.bytes());
    assert_eq!(proxy.count("GET", "/manifests/"), 7);

    proxy.inject(Rule::on("GET", "/manifests/", bare(404)));
    let error = client.registries.patiently(|| client.registries.resolve(&latest)).await.unwrap_err();
    assert!(matches!(&error, RegistryError::Missing(name) if *name == latest.to_string()), "{error:?}");
    assert_eq!(proxy.count("GET", "/manifests/"), 14);
}

#[tokio::test]
async fn an_index_is_complete_while_all_its_manifests_are_there() {
    let Some(registry) = Registry::start(Auth::None).await else { return skip("no docker-registry") };
    let proxy = FaultProxy::start(registry.host());
    let image = TinyImage::new(&["linux/amd64", "linux/arm64"]).layer(vec![file("a", "a")]).build();
    registry.push(&image, "acme/tool", "1.0").await;
    let (client, to) = (Client::new(), repository(&proxy.host(), "acme/tool"));
    let index = client.registries.resolve(&to.tagged("1.0".parse().unwrap())).await.unwrap();
    proxy.forget();
    assert!(client.registries.complete(&to, &index).await.unwrap());
    assert_eq!((proxy.count("HEAD", "/manifests/"), proxy.requests().len()), (2, 2));

    let Index { manifests, .. } = serde_json::from_slice(index.document.bytes()).unwrap();
    let manifest = client.registries.manifest(&to.pinned(manifests[0].digest.clone())).await.unwrap();
    registry.delete_manifest("acme/tool", manifests[1].digest.as_str()).await;
    assert!(!client.registries.complete(&to, &index).await.unwrap());
    assert!(!client.registries.complete(&repository(&proxy.host(), "acme/other"), &index).await.unwrap());

    proxy.forget();
    assert!(client.registries.complete(&to, &manifest).await.unwrap(), "a manifest is complete by itself");
    assert_eq!(proxy.requests().len(), 0);
}

#[tokio::test]
async fn lookups_can_be_spawned_as_tasks() {
    let Some(registry) = Registry::start(Auth::None).await else { return skip("no docker-registry") };
    let (client, to, image) = (Client::new(), repository(registry.host(), "acme/tool"), Image::new(9));
    image.push(&client.registries, &to).await.unwrap();
    let digest = image.manifest.digest().clone();
    let task = tokio::spawn(async move {
        let latest = to.tagged("latest".parse().unwrap());
        let pulled = client.registries.patiently(|| client.registries.resolve(&latest)).await?;
        client.registries.digest(&pulled.reference.clone().into()).await?;
        Ok::<_, RegistryError>((
            client.registries.confirm(&to, &digest).await?,
            client.registries.complete(&to, &pulled).await?,
        ))
    });
    assert_eq!(task.await.unwrap().unwrap(), (true, true));
}
