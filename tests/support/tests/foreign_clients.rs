//! A client that isn't ours (skopeo, which asks the token server itself) works against these parts as it does against
//! hosted registries.

use std::process::{Command, Output};

use support::fault_proxy::{Fault, FaultProxy, LocationForm, Rule};
use support::image::TinyImage;
use support::parts::skip;
use support::registry::{Auth, Registry};
use support::token_server::TokenServer;

fn skopeo(arguments: &[&str]) -> Option<Output> {
    Command::new("skopeo").args(arguments).output().ok()
}

#[tokio::test]
async fn skopeo_copies_an_image_through_the_proxy_with_a_token() {
    let tokens = TokenServer::start();
    tokens.add_user("publisher", "s3cret");
    tokens.grant("publisher", "acme/*", "pull,push");
    tokens.add_user("stranger", "s3cret");
    tokens.grant("stranger", "acme/*", "pull");
    let Some(registry) = Registry::start(Auth::Token(&tokens)).await else { return skip("no docker-registry") };
    let proxy = FaultProxy::start(registry.host());
    proxy.inject(Rule::on("POST", "/blobs/uploads/", Fault::Location(LocationForm::Relative)));
    proxy.inject(Rule::on("GET", "/blobs/", Fault::RedirectBlob));
    let image = TinyImage::tool(&["linux/amd64", "linux/arm64"], &["tool"], "1.2.3").build();
    let folder = tempfile::tempdir().unwrap();
    image.write_layout(folder.path(), "1.2.3");

    let source = format!("oci:{}:1.2.3", folder.path().display());
    let target = format!("docker://{}/acme/tool:1.2.3", proxy.host());
    let copy = |user: &str, from: &[&str]| {
        let credentials = format!("{user}:s3cret");
        let options =
            ["copy", "--all", "--src-tls-verify=false", "--dest-tls-verify=false", "--dest-creds", &credentials];
        skopeo(&[&options[..], from, &[&target]].concat())
    };
    let Some(refused) = copy("stranger", &[&source]) else { return skip("no skopeo") };
    assert!(!refused.status.success());
    let copied = copy("publisher", &[&source]).unwrap();
    assert!(copied.status.success(), "{}", String::from_utf8_lossy(&copied.stderr));
    assert_eq!(registry.manifest("acme/tool", "1.2.3").await.as_ref(), Some(image.top()));
    assert!(tokens.requests().iter().any(|request| request.scopes == ["repository:acme/tool:pull,push"]));

    let back = format!("oci:{}:back", folder.path().join("back").display());
    let from = format!("docker://{}/acme/tool:1.2.3", proxy.host());
    let options = ["copy", "--all", "--src-tls-verify=false", "--src-creds", "stranger:s3cret"];
    let pulled = skopeo(&[&options[..], &[&from, &back]].concat()).unwrap();
    assert!(pulled.status.success(), "{}", String::from_utf8_lossy(&pulled.stderr));
    assert!(!proxy.store_requests().is_empty());
    assert!(proxy.store_requests().iter().all(|request| !request.authorized && request.status == 200));
}
