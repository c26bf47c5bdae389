//! How requests are counted.

use std::collections::BTreeMap;

use support::fault_proxy::{Fault, FaultProxy, Rule};
use support::parts::skip;
use support::registry::{Auth, Registry};
use support::token_server::TokenServer;

use super::*;

#[tokio::test]
async fn requests_are_counted_by_host_and_kind() {
    let tokens = TokenServer::start();
    tokens.add_user("publisher", PASSWORD);
    let Some(registry) = Registry::start(Auth::Token(&tokens)).await else { return skip("no docker-registry") };
    let proxy = FaultProxy::start(registry.host());
    let (to, image) = (repository(&proxy.host(), "acme/tool"), Image::new(1));
    let client = Client::publisher(&proxy.host());
    assert_eq!(client.registries.requests(), BTreeMap::new());

    image.push(&client.registries, &to).await.unwrap();
    proxy.inject(Rule::on("GET", "/manifests/", Fault::bad_gateway()).times(2));
    client.registries.resolve(&to.tagged("latest".parse().unwrap())).await.unwrap();
    proxy.inject(Rule::on("GET", "/blobs/", Fault::RedirectBlob));
    client.registries.small_blob(&to, &image.layer.1).await.unwrap();
    client.registries.tags(&to).await.unwrap();

    let requests = client.registries.requests();
    let at = |host: &str| -> Vec<(&str, u64)> {
        requests.iter().filter(|((at, _), _)| at == host).map(|((_, kind), times)| (*kind, *times)).collect()
    };
    assert_eq!(
        at(&proxy.host()),
        [
            ("GET blob", 1),
            // Two of them failed.
            ("GET manifest", 3),
            // The first was answered with a challenge.
            ("HEAD blob", 3),
            ("HEAD manifest", 1),
            ("PUT manifest", 2),
            ("tags", 1),
            // An upload is opened and closed for each of two blobs.
            ("upload", 4),
        ]
    );
    assert_eq!(proxy.requests().len() as u64, at(&proxy.host()).iter().map(|(_, times)| times).sum::<u64>());
    let elsewhere: Vec<_> = requests.iter().filter(|((host, _), _)| *host != proxy.host()).collect();
    let elsewhere: Vec<_> = elsewhere.iter().map(|((_, kind), times)| (*kind, **times)).collect();
    assert!(elsewhere.contains(&("GET blob", 1)), "the storage: {elsewhere:?}");
    assert!(elsewhere.contains(&("token", tokens.requests().len() as u64)), "{elsewhere:?}");
}
