//! Pushing blobs, manifests and tags.

use support::fault_proxy::{Fault, FaultProxy, RetryAfter, Rule, Sent};
use support::parts::skip;
use support::registry::{Auth, Registry};
use support::token_server::TokenServer;

use super::*;

#[tokio::test]
async fn pushed_content_can_be_pulled_and_a_second_push_sends_nothing() {
    let tokens = TokenServer::start();
    tokens.add_user("publisher", PASSWORD);
    for auth in [Auth::None, Auth::Htpasswd { user: "publisher", password: PASSWORD }, Auth::Token(&tokens)] {
        let Some(registry) = Registry::start(auth).await else { return skip("no docker-registry") };
        let proxy = FaultProxy::start(registry.host());
        let (to, image) = (repository(&proxy.host(), "acme/tool"), Image::new(1));

        let first = image.push(&Client::publisher(&proxy.host()).registries, &to).await.unwrap();
        assert_eq!(first, [Ensured::Pushed; 3]);
        assert_eq!(proxy.sent(), Sent { blobs: 2, manifests: 2 });

        let client = Client::publisher(&proxy.host());
        let second = image.push(&client.registries, &to).await.unwrap();
        assert_eq!(second, [Ensured::AlreadyThere; 3]);
        assert_eq!(proxy.sent(), Sent { blobs: 2, manifests: 3 }, "only the tag is written again");

        let pulled = client.registries.resolve(&to.tagged("latest".parse().unwrap())).await.unwrap();
        assert_eq!(pulled.document.bytes(), image.manifest.bytes());
        assert_eq!(pulled.reference, to.pinned(image.manifest.digest().clone()));
        let layer = client.registries.small_blob(&to, &image.layer.1).await.unwrap();
        assert_eq!(layer, image.layer.0);
    }
}

#[tokio::test]
async fn within_a_registry_blobs_are_mounted() {
    let Some(registry) = Registry::start(Auth::None).await else { return skip("no docker-registry") };
    let proxy = FaultProxy::start(registry.host());
    let (base, tool) = (repository(&proxy.host(), "library/base"), repository(&proxy.host(), "acme/tool"));
    let (bytes, layer) = blob(2, 1000);
    registry.push_blob("library/base", bytes.to_vec()).await;
    let client = Client::new();
    let ensured = client.registries.ensure_blob(&tool, &layer, BlobOrigin::Repository(&base)).await.unwrap();
    assert_eq!(ensured, Ensured::Mounted);
    assert_eq!((proxy.sent().blobs, proxy.count("GET", "/blobs/")), (0, 0));
    assert_eq!(registry.blob("acme/tool", layer.digest.as_str()).await, Some(bytes));
}

#[tokio::test]
async fn a_blob_sent_to_one_repository_is_mounted_into_the_next() {
    let Some(registry) = Registry::start(Auth::None).await else { return skip("no docker-registry") };
    let proxy = FaultProxy::start(registry.host());
    let (bytes, layer) = blob(3, 1000);
    let client = Client::new();
    let mut ensured = Vec::new();
    for path in ["acme/tool", "acme/other"] {
        let to = repository(&proxy.host(), path);
        ensured.push(client.registries.ensure_blob(&to, &layer, BlobOrigin::Bytes(&bytes)).await.unwrap());
    }
    assert_eq!(ensured, [Ensured::Pushed, Ensured::Mounted]);
    assert_eq!(proxy.sent().blobs, 1);
}

#[tokio::test]
async fn a_blob_is_read_once_however_many_registries_need_it_and_nothing_stays_on_disk() {
    let Some(source) = Registry::start(Auth::None).await else { return skip("no docker-registry") };
    let source_proxy = FaultProxy::start(source.host());
    let (bytes, layer) = blob(4, 3_000_000);
    source.push_blob("library/base", bytes.to_vec()).await;
    let mut destinations = Vec::new();
    for _ in 0..3 {
        destinations.push(Registry::start(Auth::None).await.unwrap());
    }
    let to: Vec<_> = destinations.iter().map(|registry| repository(registry.host(), "acme/tool")).collect();
    let base = repository(&source_proxy.host(), "library/base");

    let client = Client::new();
    let origin = BlobOrigin::Repository(&base);
    let ensured = client.registries.ensure_blob_everywhere(&to, &layer, origin).await.unwrap();
    assert_eq!(ensured, [Ensured::Copied; 3]);
    assert_eq!(source_proxy.count("GET", "/blobs/"), 1);
    for registry in &destinations {
        assert_eq!(registry.blob("acme/tool", layer.digest.as_str()).await.as_ref(), Some(&bytes));
    }
    assert_eq!(client.spooled(), 0);
    let again = client.registries.ensure_blob_everywhere(&to, &layer, origin).await.unwrap();
    assert_eq!(again, [Ensured::AlreadyThere; 3]);
}

#[tokio::test]
async fn concurrent_requests_for_the_same_blob_wait_for_one_upload() {
    let Some(registry) = Registry::start(Auth::None).await else { return skip("no docker-registry") };
    let proxy = FaultProxy::start(registry.host());
    let (to, (bytes, layer)) = (repository(&proxy.host(), "acme/tool"), blob(5, 2_000_000));
    let client = Client::new();
    let uploads = (0..10).map(|_| client.registries.ensure_blob(&to, &layer, BlobOrigin::Bytes(&bytes)));
    let ensured = futures_util::future::try_join_all(uploads).await.unwrap();
    assert_eq!(ensured.iter().filter(|ensured| **ensured == Ensured::Pushed).count(), 1);
    assert_eq!((proxy.sent().blobs, proxy.count("POST", "/blobs/uploads/")), (1, 1));
}

#[tokio::test]
async fn no_more_requests_are_in_flight_than_allowed() {
    let Some(registry) = Registry::start(Auth::None).await else { return skip("no docker-registry") };
    let proxy = FaultProxy::start(registry.host());
    // Requests are slow, so that without a limit there would be many in flight.
    proxy.inject(Rule::on("*", "", Fault::Stall(Duration::from_millis(50))));
    let client = Client::with(Options { concurrency: 2, ..Options::default() });
    let to = repository(&proxy.host(), "acme/tool");
    let blobs: Vec<_> = (0..6).map(|seed| blob(seed, 100)).collect();
    let uploads =
        blobs.iter().map(|(bytes, layer)| client.registries.ensure_blob(&to, layer, BlobOrigin::Bytes(bytes)));
    let mut uploads = std::pin::pin!(futures_util::future::try_join_all(uploads));
    let mut most = 0;
    loop {
        let open = proxy.requests().iter().filter(|request| request.status.is_none()).count();
        most = most.max(open);
        tokio::select! {
            done = &mut uploads => { done.unwrap(); break }
            () = tokio::time::sleep(Duration::from_millis(5)) => {}
        }
    }
    assert_eq!(most, 2);
}

#[tokio::test]
async fn checking_whether_we_may_push_leaves_nothing_behind() {
    let Some(registry) = Registry::start(Auth::None).await else { return skip("no docker-registry") };
    let to = repository(registry.host(), "acme/tool");
    Client::new().registries.check_push(&to).await.unwrap();
    let methods: Vec<_> = registry.requests().into_iter().map(|request| (request.method, request.status)).collect();
    assert_eq!(methods, [("POST".to_owned(), 202), ("DELETE".to_owned(), 204)]);
}

#[tokio::test]
async fn a_tag_that_another_run_writes_between_two_attempts_is_left_alone() {
    let Some(registry) = Registry::start(Auth::None).await else { return skip("no docker-registry") };
    let proxy = FaultProxy::start(registry.host());
    let (to, directly) = (repository(&proxy.host(), "acme/tool"), repository(registry.host(), "acme/tool"));
    let (registries, latest) = (Client::new().registries, "latest".parse().unwrap());
    let [older, ours, theirs] = [1, 2, 3].map(Image::new);
    for image in [&ours, &theirs, &older] {
        image.push(&registries, &directly).await.unwrap();
    }
    let from = Some(older.manifest.digest());
    proxy.inject(Rule::on("PUT", "/manifests/latest", Fault::unavailable(Some(RetryAfter::Seconds(1)))).times(1));
    let another_run = async {
        while proxy.count("PUT", "/manifests/latest") == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        registries.move_tag(&directly, &latest, from, &theirs.manifest).await.unwrap()
    };
    let (ours_moved, theirs_moved) = tokio::join!(registries.move_tag(&to, &latest, from, &ours.manifest), another_run);
    assert_eq!((ours_moved.unwrap(), theirs_moved), (false, true));
    let named = registries.digest(&directly.tagged(latest.clone())).await.unwrap();
    assert_eq!(named.as_ref(), Some(theirs.manifest.digest()));

    // If only the answer was lost, there is nothing to repeat.
    proxy.forget();
    proxy.inject(Rule::on("PUT", "/manifests/latest", Fault::LoseAnswer).times(1));
    assert!(registries.move_tag(&to, &latest, named.as_ref(), &ours.manifest).await.unwrap());
    assert_eq!(proxy.count("PUT", "/manifests/latest"), 1);
}

#[tokio::test]
async fn a_file_that_is_not_the_blob_is_not_published() {
    let Some(registry) = Registry::start(Auth::None).await else { return skip("no docker-registry") };
    let to = repository(registry.host(), "acme/tool");
    let ((bytes, layer), (other, _)) = (blob(6, 1000), blob(7, 1000));
    let file = tempfile::NamedTempFile::new().unwrap();
    let client = Client::new();

    std::fs::write(file.path(), &bytes[..999]).unwrap();
    let short = client.registries.ensure_blob(&to, &layer, BlobOrigin::File(file.path())).await.unwrap_err();
    assert!(matches!(short, RegistryError::Disk { .. }), "{short:?}");

    std::fs::write(file.path(), &other).unwrap();
    let wrong = said(client.registries.ensure_blob(&to, &layer, BlobOrigin::File(file.path())).await.unwrap_err());
    assert!(wrong.contains("400 DIGEST_INVALID"), "{wrong}");
    assert!(!registry.blob_exists("acme/tool", layer.digest.as_str()).await);
}

#[tokio::test]
async fn uploads_can_be_spawned_as_tasks() {
    let Some(registry) = Registry::start(Auth::None).await else { return skip("no docker-registry") };
    let (client, to) = (Client::new(), repository(registry.host(), "acme/tool"));
    let tasks: Vec<_> = (0..3)
        .map(|seed| {
            let (registries, to) = (client.registries.clone(), to.clone());
            tokio::spawn(async move {
                let image = Image::new(seed);
                image.push(&registries, &to).await?;
                registries.ensure_blob_everywhere(&[], &image.layer.1, BlobOrigin::Repository(&to)).await?;
                registries.check_push(&to).await?;
                registries.spool_blob(&to, &image.layer.1, &std::env::temp_dir()).await?;
                registries.resolve(&to.pinned(image.manifest.digest().clone()).to_string().parse().unwrap()).await
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
}
