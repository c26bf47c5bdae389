use super::*;

fn two_platforms() -> TinyImage {
    TinyImage::new(&["linux/amd64", "linux/arm/v7"])
        .layer(vec![file("etc/os-release", "ID=tiny\n")])
        .layer_for("linux/amd64", vec![executable("/bin/sh", "#!")])
        .config("Env", json!(["PATH=/bin"]))
}

#[test]
fn a_layer_for_one_platform_is_in_no_other() {
    let image = two_platforms().build();
    let layers = |at: usize| image.manifests[at].json()["layers"].as_array().unwrap().len();
    assert_eq!((layers(0), layers(1)), (2, 1));
    assert_eq!(image.top().json()["manifests"][1]["platform"]["variant"], "v7");
}

#[test]
fn the_same_description_gives_the_same_bytes() {
    assert_eq!(two_platforms().build().top(), two_platforms().build().top());
    assert_ne!(two_platforms().annotation("a", "b").build().top(), two_platforms().build().top());
}

#[test]
fn an_attestation_entry_names_its_subject() {
    let image = two_platforms().attestations().build();
    let index = image.top().json();
    let entries = index["manifests"].as_array().unwrap();
    assert_eq!(entries.len(), 4);
    assert_eq!(entries[2]["platform"], json!({ "os": "unknown", "architecture": "unknown" }));
    assert_eq!(entries[2]["annotations"]["vnd.docker.reference.digest"], entries[0]["digest"]);
}

#[test]
fn a_layout_is_read_back_as_it_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let image = two_platforms().media_types(MediaTypes::Docker).build();
    image.write_layout(folder.path(), "3.23");
    let read = Image::read_layout(folder.path(), "3.23");
    assert_eq!(read.manifests, image.manifests);
    assert_eq!(read.blobs.len(), image.blobs.len());
}
