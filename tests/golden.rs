//! Golden digests: the same source, base and plan result in the same digests in every version of this program. Changing
//! one is a breaking change: every project that publishes a release again would find its exact tags taken.

#![expect(clippy::unwrap_used, reason = "a failing setup fails its test")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::sync::Arc;

use publish_variants::compose::{
    self, Content, ImageContent, recipe::Recipe, recipe::ResolvedBase, recipe::ResolvedImage,
};
use publish_variants::facts;
use publish_variants::image::config::Changes;
use publish_variants::image::layer::{InstalledFile, Layer};
use publish_variants::image::manifest::Annotations;
use publish_variants::image::{Config, Descriptor, Digest, Document, Manifest, MediaType, Platform, Repository};
use serde_json::json;

/// An image with one layer, of which only the digest is known.
fn image(repository: &str, platform: &Platform, config: &serde_json::Value) -> ResolvedImage {
    let config = json!({
        "os": platform.os(), "architecture": platform.architecture(), "config": config,
        "created": "2025-12-03T18:21:54.123456789Z",
        "history": [{ "created_by": "ADD rootfs.tar.xz / # buildkit" }],
        "rootfs": { "type": "layers", "diff_ids": [Digest::of(b"rootfs")] },
    });
    let document = Document::new(MediaType::Config, &config);
    let mut layer = Descriptor::new(MediaType::LayerGzip, Digest::of(b"compressed rootfs"), 3_861_821);
    layer.media_type = "application/vnd.docker.image.rootfs.diff.tar.gzip".to_owned();
    let manifest = Manifest {
        schema_version: 2,
        media_type: "application/vnd.docker.distribution.manifest.v2+json".to_owned(),
        config: document.descriptor(),
        layers: vec![layer.to_oci_layer().unwrap()],
        annotations: Annotations::new(),
    };
    ResolvedImage {
        reference: repository.parse::<Repository>().unwrap().pinned(Digest::of(platform.to_string().as_bytes())),
        manifest,
        config: Config::parse(document.bytes()).unwrap(),
    }
}

fn layer() -> Arc<Layer> {
    let mut content = tempfile::NamedTempFile::new().unwrap();
    let bytes: Vec<u8> = (0..300_000u32).flat_map(|n| (n.wrapping_mul(2_654_435_761) >> 20).to_le_bytes()).collect();
    content.write_all(&bytes).unwrap();
    let (size, digest, content) = (bytes.len() as u64, Digest::of(&bytes), Arc::new(content));
    let executable =
        InstalledFile { path: "/usr/local/bin/tool".into(), mode: 0o755, size, digest, interpreter: None, content };
    Arc::new(Layer::write(vec![executable], &std::env::temp_dir()).unwrap())
}

fn annotations() -> Annotations {
    let base = "docker.io/library/alpine:3.23".parse().unwrap();
    let mut annotations = facts::of_variant("1.2.3-alpine3.23", Some((&base, &Digest::of(b"alpine"))));
    let facts = [
        ("created", "2026-01-10T06:30:00Z"),
        ("revision", "ee4f0036283a350681a618176484df6bcde27507"),
        ("title", "tool"),
    ];
    annotations.extend(facts.map(|(key, value)| (format!("org.opencontainers.image.{key}"), value.to_owned())));
    annotations
}

fn variant() -> Content {
    let layer = layer();
    let composed: Vec<_> = ["linux/amd64", "linux/arm64"]
        .map(|platform| {
            let platform: Platform = platform.parse().unwrap();
            let base = json!({ "Env": ["PATH=/bin"], "Cmd": ["/bin/sh"], "Labels": { "org.opencontainers.image.title": "alpine", "maintainer": "x" } });
            let recipe = Recipe {
                variant: "alpine3.23".into(),
                base: ResolvedBase::Image(image("docker.io/library/alpine", &platform, &base)),
                source: image("ghcr.io/acme/tool", &platform, &json!({})).into(),
                binaries: ["/tool"].into_iter().collect(),
                not_executable: BTreeSet::new(),
                interpreters: BTreeMap::new(),
                changes: Changes {
                    env: [("TOOL_HOME".into(), "/opt".parse().unwrap())].into(),
                    cmd: Some(vec!["/usr/local/bin/tool".into()]),
                    entrypoint: Some(Vec::new()),
                    labels: annotations(),
                    unlabel: facts::of_the_base_alone(),
                    ..Changes::default()
                },
                run: Vec::new(),
                created: Some("2026-01-10T06:30:00Z".into()),
                platform,
            };
            compose::image(&recipe, &layer, &[], &annotations())
        })
        .into();
    let mut of_index = annotations();
    of_index.insert(publish_variants::ownership::VERSION_ANNOTATION.into(), "1.2.3".into());
    of_index.insert(publish_variants::ownership::BASE_CREATED_ANNOTATION.into(), "2025-12-03T18:21:54Z".into());
    compose::index(&composed.iter().collect::<Vec<_>>(), &of_index)
}

#[test]
fn a_variant_has_the_digests_that_it_always_had() {
    let content = variant();
    insta::assert_snapshot!(String::from_utf8_lossy(content.index.bytes()));
    insta::assert_snapshot!(content.images[0].blobs.last().map(config).unwrap());
    assert_eq!(content.digest().short(), "eef7efe1fe5c");
}

fn config(blob: &compose::Blob) -> String {
    match &blob.origin {
        compose::Origin::Document(document) => String::from_utf8_lossy(document.bytes()).into_owned(),
        other => panic!("the last blob is the config, not {other:?}"),
    }
}

#[test]
fn the_sources_own_index_has_the_digest_that_it_always_had() {
    let of_variant = variant();
    let images: Vec<ImageContent> = of_variant.images;
    let listed: Vec<Descriptor> = images.iter().map(|image| image.manifest.descriptor()).collect();
    let as_resolved = Content { index: Document::new(MediaType::Index, &json!({})), images };
    let annotated = compose::annotated(&as_resolved, listed, &annotations());
    assert_eq!(annotated.digest().short(), "0cadd38ac9f3");
}
