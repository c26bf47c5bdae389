//! Servers that misbehave.

use super::canned::{Canned, ok, status};
use super::*;

#[tokio::test]
async fn a_password_is_not_sent_without_tls() {
    let server =
        Canned::start(|_| status("401 Unauthorized", "WWW-Authenticate: Bearer realm=\"http://192.0.2.1/t\"", ""));
    let client = Client::publisher(&server.host());
    let error = client.registries.check_push(&repository(&server.host(), "a/b")).await.unwrap_err();
    assert!(matches!(&error, RegistryError::PlainHttp { host, .. } if host == "192.0.2.1"), "{error:?}");
    assert!(said(error).contains("hint: if that is intended, add `192.0.2.1` to `insecure-registries`"));
}

#[tokio::test]
async fn a_redirect_or_an_upload_without_tls_is_not_followed() {
    let (_, layer) = blob(1, 10);
    let server = Canned::start(|_| status("307 Temporary Redirect", "Location: http://192.0.2.1/b?sig=SECRET", ""));
    let error = Client::new().registries.small_blob(&repository(&server.host(), "a/b"), &layer).await.unwrap_err();
    let shown = said(error);
    assert!(shown.contains("`http://192.0.2.1/b` doesn't use TLS") && !shown.contains("SECRET"), "{shown}");
}

#[tokio::test]
async fn redirects_come_to_an_end() {
    let server = Canned::start(|_| status("307 Temporary Redirect", "Location: /round/and/round", ""));
    let (_, layer) = blob(1, 10);
    let error = Client::new().registries.small_blob(&repository(&server.host(), "a/b"), &layer).await.unwrap_err();
    assert!(said(error).contains("more than 5 redirects"));
}

#[tokio::test]
async fn an_endless_manifest_or_token_is_not_read_into_memory() {
    let endless = || format!("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{}", "x".repeat(5 << 20));
    let server = Canned::start(move |_| endless());
    let client = Client::new();
    let reference = repository(&server.host(), "a/b").tagged("1".parse().unwrap());
    let error = client.registries.resolve(&reference).await.unwrap_err();
    assert!(matches!(&error, RegistryError::TooLarge { what, .. } if *what == reference.to_string()), "{error:?}");

    let challenge = format!("WWW-Authenticate: Bearer realm=\"http://{}/t\"", server.host());
    let asking = Canned::start(move |_| status("401 Unauthorized", &challenge, ""));
    let reference = repository(&asking.host(), "a/b").tagged("1".parse().unwrap());
    let error = client.registries.resolve(&reference).await.unwrap_err();
    assert!(matches!(error, RegistryError::TooLarge { .. }), "{error:?}");
}

#[tokio::test]
async fn a_blob_that_is_longer_or_shorter_than_described_is_refused() {
    let (bytes, layer) = blob(1, 10);
    let text = "x".repeat(10);
    let server = Canned::start(move |_| ok("X: y", &text));
    let client = Client::new();
    let from = repository(&server.host(), "a/b");
    let digest = Digest::of("x".repeat(10).as_bytes());
    for size in [9, 11] {
        let described = Descriptor { size, digest: digest.clone(), ..layer.clone() };
        client.registries.small_blob(&from, &described).await.unwrap_err();
    }
    let shorter = Descriptor { size: 9, digest, ..layer.clone() };
    let error = client.registries.spool_blob(&from, &shorter, client.spool.path()).await.unwrap_err();
    assert!(said(error).contains("it has more than 9 bytes"));
    let huge = Descriptor { size: 9 << 20, ..layer };
    let error = client.registries.small_blob(&from, &huge).await.unwrap_err();
    assert!(matches!(error, RegistryError::TooLarge { .. }), "{error:?}");
    assert_eq!((client.spooled(), bytes.len()), (0, 10));
}

#[tokio::test]
async fn a_document_that_is_not_an_image_is_refused_immediately() {
    let server = Canned::start(|_| ok("Content-Type: application/vnd.docker.distribution.manifest.v1+json", "{}"));
    let reference = repository(&server.host(), "a/b").tagged("1".parse().unwrap());
    let client = Client::new();
    let error = said(client.registries.resolve(&reference).await.unwrap_err());
    assert!(error.starts_with(&format!("`{reference}` can't be used")), "{error}");
    assert_eq!(server.seen().len(), 1);
    assert!(server.seen()[0].contains("accept: application/vnd.oci.image.index.v1+json, "), "{:?}", server.seen());
    assert!(server.seen()[0].contains("user-agent: publish-variants/"), "{:?}", server.seen());
}
