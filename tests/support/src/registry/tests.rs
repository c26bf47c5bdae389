use super::*;
use crate::image::{TinyImage, file};
use crate::parts::skip;
use crate::token_server::TokenServer;

fn image() -> Image {
    TinyImage::new(&["linux/amd64", "linux/arm64"]).layer(vec![file("etc/os-release", "ID=tiny\n")]).build()
}

async fn takes_an_image_and_gives_it_back(registry: &Registry) {
    let image = image();
    let digest = registry.push(&image, "library/tiny", "1").await;
    assert_eq!(registry.manifest("library/tiny", "1").await.as_ref(), Some(image.top()));
    assert_eq!(registry.manifest("library/tiny", &digest).await.as_ref(), Some(image.top()));
    assert_eq!(registry.tags("library/tiny").await, ["1"]);
    let blob = crate::image::digest(&image.blobs[0]);
    assert_eq!(registry.blob("library/tiny", &blob).await.unwrap(), image.blobs[0]);
    assert_eq!(registry.manifest("library/tiny", "2").await, None);
    assert!(registry.tags("library/none").await.is_empty());
}

async fn refuses(registry: &Registry, headers: &[(&str, &str)]) {
    let url = format!("http://{}/v2/library/tiny/tags/list", registry.host());
    assert_eq!(http::get(&url, headers).await.unwrap().status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn an_open_registry_takes_an_image_and_gives_it_back() {
    let Some(mut registry) = Registry::start(Auth::None).await else { return skip("no docker-registry") };
    takes_an_image_and_gives_it_back(&registry).await;
    let writes = registry.writes();
    assert!(writes >= 6, "blobs and manifests are counted: {:?}", registry.requests());
    registry.restart().await;
    assert_eq!(registry.tags("library/tiny").await, ["1"]);
    assert_eq!(registry.writes(), writes);
    registry.delete_manifest("library/tiny", &image().top().digest()).await;
    assert_eq!(registry.manifest("library/tiny", "1").await, None);
}

#[tokio::test]
async fn a_registry_with_a_password_asks_for_it() {
    let auth = Auth::Htpasswd { user: "publisher", password: "s3cret" };
    let Some(registry) = Registry::start(auth).await else { return skip("no docker-registry") };
    takes_an_image_and_gives_it_back(&registry).await;
    refuses(&registry, &[]).await;
    refuses(&registry, &[("authorization", &basic("publisher", "wrong"))]).await;
}

#[tokio::test]
async fn a_registry_with_tokens_accepts_those_of_its_token_server() {
    let (tokens, others) = (TokenServer::start(), TokenServer::start());
    let Some(registry) = Registry::start(Auth::Token(&tokens)).await else { return skip("no docker-registry") };
    takes_an_image_and_gives_it_back(&registry).await;
    refuses(&registry, &[]).await;
    let foreign = others.mint().token("test", &[("library/tiny", "pull")], 300);
    refuses(&registry, &[("authorization", &format!("Bearer {foreign}"))]).await;
}

#[tokio::test]
async fn distribution_3_does_the_same() {
    let tokens = TokenServer::start();
    let Some(registry) = Registry::start_v3(Auth::Token(&tokens)).await else {
        return skip("PV_REGISTRY3_BIN is not set");
    };
    takes_an_image_and_gives_it_back(&registry).await;
    refuses(&registry, &[]).await;
    assert!(registry.writes() >= 6, "{:?}", registry.requests());
}

#[tokio::test]
async fn a_layout_on_disk_is_seeded_completely() {
    let Some(registry) = Registry::start(Auth::None).await else { return skip("no docker-registry") };
    let folder = tempfile::tempdir().unwrap();
    image().write_layout(folder.path(), "1");
    assert_eq!(registry.seed(folder.path(), "library/tiny", "1").await, image().top().digest());
    assert!(registry.manifest("library/tiny", "1").await.is_some());
}
