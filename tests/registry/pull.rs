//! Pulling manifests, tags and blobs.

use publish_variants::api::registry::Cause;
use publish_variants::error::{Fault as Whose, StageError as _};
use support::fault_proxy::{Fault, FaultProxy, Rule};
use support::image::{TinyImage, file};
use support::parts::skip;
use support::registry::{Auth, Registry};

use super::*;

#[tokio::test]
async fn missing_content_is_none_or_an_error_that_names_it() {
    let Some(registry) = Registry::start(Auth::None).await else { return skip("no docker-registry") };
    let client = Client::new();
    let missing = repository(registry.host(), "acme/tool");
    let reference = missing.tagged("1.0".parse().unwrap());
    assert!(client.registries.find(&reference).await.unwrap().is_none());
    assert_eq!(client.registries.tags(&missing).await.unwrap(), []);
    let error = client.registries.resolve(&reference).await.unwrap_err();
    assert_eq!(error.fault(), Whose::Input);
    assert!(said(error).starts_with(&format!("`{reference}` does not exist")));
    let (_, layer) = blob(1, 10);
    for error in [
        client.registries.small_blob(&missing, &layer).await.unwrap_err(),
        client.registries.spool_blob(&missing, &layer, client.spool.path()).await.unwrap_err(),
    ] {
        assert!(matches!(error, RegistryError::Missing(ref name) if name.contains(layer.digest.as_str())), "{error:?}");
    }
    assert_eq!(client.spooled(), 0);
    assert_eq!(client.registries.retried(), 0);
}

#[tokio::test]
async fn an_index_and_its_manifests_are_read_by_tag_and_by_digest() {
    let Some(registry) = Registry::start(Auth::None).await else { return skip("no docker-registry") };
    let image = TinyImage::new(&["linux/amd64", "linux/arm64"]).layer(vec![file("a", "a")]).build();
    let digest: Digest = registry.push(&image, "library/base", "3").await.parse().unwrap();
    let client = Client::new();
    let base = repository(registry.host(), "library/base");
    let by_tag = client.registries.resolve(&base.tagged("3".parse().unwrap())).await.unwrap();
    let by_digest = client.registries.manifest(&base.pinned(digest)).await.unwrap();
    assert_eq!(by_tag.reference, by_digest.reference);
    assert_eq!(&by_tag.document.bytes()[..], image.top().bytes);
    assert_eq!(client.registries.tags(&base).await.unwrap(), ["3".parse().unwrap()]);
}

#[tokio::test]
async fn a_spooled_blob_is_a_file_while_it_is_needed() {
    let Some(registry) = Registry::start(Auth::None).await else { return skip("no docker-registry") };
    let (bytes, layer) = blob(8, 5_000_000);
    registry.push_blob("library/base", bytes.to_vec()).await;
    let client = Client::new();
    let base = repository(registry.host(), "library/base");
    let spooled = client.registries.spool_blob(&base, &layer, client.spool.path()).await.unwrap();
    assert_eq!(std::fs::read(spooled.path()).unwrap(), bytes);
    drop(spooled);
    assert_eq!(client.spooled(), 0);
}

#[tokio::test]
async fn an_interrupted_download_resumes_where_it_stopped() {
    let Some(registry) = Registry::start(Auth::None).await else { return skip("no docker-registry") };
    let proxy = FaultProxy::start(registry.host());
    let (bytes, layer) = blob(9, 1_000_000);
    registry.push_blob("library/base", bytes.to_vec()).await;
    proxy.inject(Rule::on("GET", "/blobs/", Fault::ResetDownload { after: 400_000 }).times(2));
    let client = Client::new();
    let base = repository(&proxy.host(), "library/base");
    let spooled = client.registries.spool_blob(&base, &layer, client.spool.path()).await.unwrap();
    assert_eq!(std::fs::read(spooled.path()).unwrap(), bytes);
    let ranges: Vec<_> = proxy.requests().into_iter().map(|request| request.asked.range.is_some()).collect();
    assert_eq!(ranges, [false, true, true]);
}

#[tokio::test]
async fn wrong_bytes_are_never_passed_on() {
    let Some(registry) = Registry::start(Auth::None).await else { return skip("no docker-registry") };
    let proxy = FaultProxy::start(registry.host());
    let client = Client::new();
    let (base, image) = (repository(&proxy.host(), "library/base"), Image::new(10));
    image.push(&client.registries, &base).await.unwrap();
    proxy.inject(Rule::on("GET", "", Fault::Corrupt { at: 7 }));
    let pinned = base.pinned(image.manifest.digest().clone());
    for error in [
        client.registries.resolve(&base.tagged("latest".parse().unwrap())).await.unwrap_err(),
        client.registries.manifest(&pinned).await.unwrap_err(),
        client.registries.small_blob(&base, &image.layer.1).await.unwrap_err(),
        client.registries.spool_blob(&base, &image.layer.1, client.spool.path()).await.unwrap_err(),
    ] {
        assert!(matches!(error, RegistryError::Failed { cause: Cause::Mismatch { .. }, attempts: 5, .. }), "{error:?}");
    }
    assert_eq!(client.spooled(), 0);
}
