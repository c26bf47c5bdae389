//! Any bytes as a manifest or an index: the result is a document that is written unchanged, or an error, but never a
//! panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use publish_variants::image::manifest::{DOCKER_INDEX, DOCKER_MANIFEST, ManifestOrIndex};
use publish_variants::image::{Document, MediaType};

fuzz_target!(|bytes: &[u8]| {
    for media_type in [MediaType::Index.as_str(), MediaType::Manifest.as_str(), DOCKER_INDEX, DOCKER_MANIFEST] {
        let Ok(read) = ManifestOrIndex::parse(media_type, bytes) else { continue };
        let document = match &read {
            ManifestOrIndex::Index(index) => {
                index.manifests.iter().for_each(|entry| drop(entry.image_platform().map(|p| p.to_string())));
                Document::new(MediaType::Index, index)
            }
            ManifestOrIndex::Manifest(manifest) => {
                for layer in &manifest.layers {
                    if let Ok(oci) = layer.to_oci_layer() {
                        assert_eq!(oci.digest, layer.digest);
                        assert_eq!(oci.to_oci_layer().expect("it is one already"), oci);
                    }
                }
                Document::new(MediaType::Manifest, manifest)
            }
        };
        let again = ManifestOrIndex::parse(document.media_type(), document.bytes()).expect("we have written it");
        assert_eq!(again, read);
    }
});
