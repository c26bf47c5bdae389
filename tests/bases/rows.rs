//! The shapes of bases: each with its source (a section of a specification, or a report) and the expected outcome.

use serde_json::{Value, json};
use support::image::{Image, Manifest, TinyImage};

use super::shape::{
    AMD64, ARM64, Entry, INDEX, MANIFEST, artifact, beside, changed, config, listed, manifest, of_index, of_manifest,
    recorded, shell, single, together, usual, usual_for,
};

/// The expected outcome for a base.
pub(crate) enum Outcome {
    /// Images for these platforms.
    Published(&'static [&'static str]),
    /// An error with this text.
    Refused(&'static str),
}

use Outcome::{Published, Refused};

pub(crate) struct Row {
    pub(crate) name: &'static str,
    /// Where the shape comes from.
    pub(crate) seen: &'static str,
    pub(crate) base: Image,
    pub(crate) outcome: Outcome,
}

const ONE: &[&str] = &[AMD64];
const BOTH: &[&str] = &[AMD64, ARM64];

macro_rules! spec {
    ($part:literal) => {
        concat!("https://github.com/opencontainers/image-spec/blob/v1.1.1/", $part)
    };
}
const HISTORY: &str = spec!("config.md#properties");
const DESCRIPTOR: &str = spec!("descriptor.md#properties");
const OF_INDEX: &str = spec!("image-index.md#image-index-property-descriptions");
const OF_MANIFEST: &str = spec!("manifest.md#image-manifest-property-descriptions");
const VARIANTS: &str = spec!("image-index.md#platform-variants");
const LAYERS: &str = spec!("layer.md");
const DOCKER_CONFIG: &str = "https://github.com/moby/docker-image-spec/blob/v1.3.1/spec.md";
const AMBIGUOUS: &str = "https://github.com/opencontainers/image-spec/security/advisories/GHSA-77vh-xpmg-72qh";
const CONTENT_TYPE: &str =
    "https://github.com/opencontainers/distribution-spec/security/advisories/GHSA-mc8v-mgrf-8f4m";
const GO: &str = "https://pkg.go.dev/encoding/json#Marshal: a nil slice, map or pointer is null";

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    let mut row = |name, seen, base, outcome| rows.push(Row { name, seen, base, outcome });
    configs(&mut row);
    manifests(&mut row);
    indexes(&mut row);
    producers(&mut row);
    rows
}

type Add<'a> = &'a mut dyn FnMut(&'static str, &'static str, Image, Outcome);

fn without(value: &mut Value, key: &str) {
    value.as_object_mut().unwrap().remove(key);
}

fn configs(row: Add<'_>) {
    let history = |value: Value| config(move |config| config["history"] = value.clone());
    let runtime = |key: &'static str, value: Value| config(move |config| config["config"][key] = value.clone());
    row(
        "no-history",
        "https://github.com/containers/podman/issues/21094",
        config(|c| without(c, "history")),
        Published(ONE),
    );
    row("null-history", "https://github.com/aws/aws-lambda-base-images/issues/2", history(json!(null)), Published(ONE));
    row("empty-history", "https://github.com/gardenlinux/unbase_oci/pull/1", history(json!([])), Published(ONE));
    row(
        "short-history",
        "https://github.com/OSInside/kiwi/issues/918",
        history(json!([{ "created_by": "KIWI 9.17.7" }])),
        Published(ONE),
    );
    let long = json!([{ "created_by": "a" }, { "created_by": "b" }, { "created_by": "c" }]);
    row(
        "long-history",
        "https://github.com/moby/buildkit/blob/v0.26.0/exporter/containerimage/writer.go: unaccounted layers",
        history(long),
        Published(ONE),
    );
    row("history-of-empty-entries", HISTORY, history(json!([{}, { "empty_layer": true }, {}])), Published(ONE));
    row("no-created", HISTORY, config(|c| without(c, "created")), Published(ONE));
    row("null-created", HISTORY, config(|c| c["created"] = json!(null)), Published(ONE));
    row(
        "created-in-year-1",
        "https://github.com/google/go-containerregistry/issues/1703",
        config(|c| c["created"] = "0001-01-01T00:00:00Z".into()),
        Published(ONE),
    );
    row(
        "created-elsewhere",
        "https://datatracker.ietf.org/doc/html/rfc3339#section-5.6",
        config(|c| c["created"] = "2026-01-15T02:00:00.5+02:00".into()),
        Published(ONE),
    );
    row("no-config-section", HISTORY, config(|c| without(c, "config")), Published(ONE));
    row("null-config-section", HISTORY, config(|c| c["config"] = json!(null)), Published(ONE));
    let nulls = json!({ "Env": null, "Cmd": null, "Entrypoint": null, "Labels": null, "Volumes": null, "OnBuild": null, "ExposedPorts": null });
    row("nulls-in-config-section", HISTORY, config(move |c| c["config"] = nulls.clone()), Published(ONE));
    row("no-path", DOCKER_CONFIG, runtime("Env", json!(["LANG=C.UTF-8"])), Published(ONE));
    row(
        "doubled-variable",
        DOCKER_CONFIG,
        runtime("Env", json!(["PATH=/bin", "A=1", "PATH=/usr/local/bin:/bin"])),
        Published(ONE),
    );
    row("no-labels", HISTORY, runtime("Labels", json!({})), Published(ONE));
    row(
        "fields-of-docker",
        DOCKER_CONFIG,
        config(|c| {
            c["config"]["Healthcheck"] = json!({ "Test": ["CMD", "true"], "Interval": 1_000_000_000 });
            c["config"]["Shell"] = json!(["/bin/sh", "-c"]);
            c["config"]["StopSignal"] = "SIGQUIT".into();
            c["config"]["ArgsEscaped"] = true.into();
        }),
        Published(ONE),
    );
    row(
        "ports-and-volumes",
        spec!("config.md#properties"),
        config(|c| {
            c["config"]["ExposedPorts"] = json!({ "80/tcp": {}, "53/udp": {} });
            c["config"]["Volumes"] = json!({ "/data": {} });
        }),
        Published(ONE),
    );
    row(
        "unknown-fields",
        spec!("considerations.md#extensibility"),
        config(|c| {
            c["org.example.field"] = json!({ "a": [1, null] });
            c["moby.buildkit.buildinfo.v1"] = "e30=".into();
        }),
        Published(ONE),
    );
    row("version-of-linux", spec!("config.md#properties"), config(|c| c["os.version"] = "6.1".into()), Published(ONE));
    row(
        "triggers",
        "https://docs.docker.com/reference/dockerfile/#onbuild",
        runtime("OnBuild", json!(["RUN make"])),
        Refused("ONBUILD"),
    );
    row(
        "no-os",
        "https://github.com/grafana/alloy/issues/5378",
        config(|c| c["os"] = "".into()),
        Refused("no `os` or no `architecture`"),
    );
    row(
        "layers-and-diff-ids-disagree",
        HISTORY,
        config(|c| {
            c["rootfs"]["diff_ids"].as_array_mut().unwrap().pop();
        }),
        Refused("it names 1 layers, and the manifest 2"),
    );
    row("config-is-no-json", spec!("config.md"), broken_config(), Refused("the config is not that of an image"));
}

fn broken_config() -> Image {
    let mut image = of_manifest(|manifest| {
        let bytes = b"<html>";
        manifest["config"]["digest"] = support::image::digest(bytes).into();
        manifest["config"]["size"] = bytes.len().into();
    });
    image.blobs.push(b"<html>".to_vec());
    image
}

fn manifests(row: Add<'_>) {
    let layer = |change: fn(&mut Value)| of_manifest(move |manifest| change(&mut manifest["layers"][1]));
    row("no-media-type", OF_MANIFEST, of_manifest(|m| without(m, "mediaType")), Published(ONE));
    row("null-media-type", OF_MANIFEST, of_manifest(|m| m["mediaType"] = json!(null)), Published(ONE));
    row("null-annotations", GO, of_manifest(|m| m["annotations"] = json!(null)), Published(ONE));
    row(
        "annotations",
        spec!("annotations.md"),
        of_manifest(|m| m["annotations"] = json!({ "a": "b" })),
        Published(ONE),
    );
    row("subject", OF_MANIFEST, of_manifest(|m| m["subject"] = m["config"].clone()), Published(ONE));
    row(
        "artifact-type-of-an-image",
        OF_MANIFEST,
        of_manifest(|m| m["artifactType"] = super::shape::CONFIG.into()),
        Published(ONE),
    );
    row(
        "embedded-data",
        spec!("descriptor.md#embedded-content"),
        of_manifest(|m| m["config"]["data"] = "e30=".into()),
        Published(ONE),
    );
    row("annotated-layer", DESCRIPTOR, layer(|l| l["annotations"] = json!({ "containerd.io/x": "y" })), Published(ONE));
    row("null-annotations-of-a-layer", GO, layer(|l| l["annotations"] = json!(null)), Published(ONE));
    row("no-urls", DESCRIPTOR, layer(|l| l["urls"] = json!([])), Published(ONE));
    row("null-urls", GO, layer(|l| l["urls"] = json!(null)), Published(ONE));
    let twice = || vec![Entry::File("etc/twice", b"x".to_vec())];
    let doubled = together(vec![(single(AMD64, &[vec![shell(AMD64)], twice(), twice()]), AMD64)]);
    row("a-layer-twice", OF_MANIFEST, doubled, Published(ONE));
    row(
        "foreign-layer",
        "https://distribution.github.io/distribution/spec/manifest-v2-2/",
        layer(|l| {
            l["mediaType"] = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip".into();
        }),
        Refused("is a foreign layer"),
    );
    row(
        "nondistributable-layer",
        spec!("layer.md#non-distributable-layers"),
        layer(|l| {
            l["mediaType"] = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip".into();
        }),
        Refused("is a foreign layer"),
    );
    row(
        "encrypted-layer",
        "https://github.com/containers/ocicrypt/blob/main/spec/spec.go",
        layer(|l| {
            l["mediaType"] = "application/vnd.oci.image.layer.v1.tar+gzip+encrypted".into();
        }),
        Refused("tar+gzip+encrypted` is not supported"),
    );
    row(
        "layer-of-another-compression",
        LAYERS,
        layer(|l| {
            l["mediaType"] = "application/vnd.oci.image.layer.v1.tar+xz".into();
        }),
        Refused("tar+xz` is not supported"),
    );
    row("manifest-and-index-at-once", AMBIGUOUS, of_manifest(|m| m["manifests"] = json!([])), Refused("ambiguous"));
    let chart = artifact(|_| {});
    row("artifact", spec!("manifest.md#guidelines-for-artifact-usage"), chart, Refused("not supported"));
    let chart = artifact(|m| m["layers"] = json!([]));
    row("artifact-without-layers", OF_MANIFEST, chart, Refused("no `os` or no `architecture`"));
    let old = manifest("application/vnd.docker.distribution.manifest.v1+prettyjws", &json!({ "schemaVersion": 1 }));
    row(
        "schema-1",
        "https://distribution.github.io/distribution/spec/deprecated-schema-v1/",
        Image { blobs: vec![], manifests: vec![old] },
        Refused("does not exist"),
    );
    let docker = |image: TinyImage| image.media_types(support::image::MediaTypes::Docker);
    let tiny = || TinyImage::new(BOTH).layer_for(AMD64, vec![sh(AMD64)]).layer_for(ARM64, vec![sh(ARM64)]);
    row(
        "docker-types",
        "https://distribution.github.io/distribution/spec/manifest-v2-2/",
        docker(tiny()).build(),
        Published(BOTH),
    );
    row("docker-types-with-attestations", ATTESTATIONS, docker(tiny()).attestations().build(), Published(BOTH));
    row("attestations", ATTESTATIONS, tiny().attestations().build(), Published(BOTH));
    row("no-index", OF_MANIFEST, usual_for(AMD64), Published(ONE));
}

const ATTESTATIONS: &str = "https://docs.docker.com/build/metadata/attestations/attestation-storage/";

fn sh(platform: &str) -> support::image::File {
    support::image::executable("/bin/sh", support::elf::printing(platform, ""))
}

fn indexes(row: Add<'_>) {
    let entry = |change: fn(&mut Value)| of_index(move |index| change(&mut index["manifests"][0]));
    let extra = |on: &'static str, change: fn(&mut Value)| {
        beside(single(AMD64, &[vec![Entry::File("etc/other", on.into())]]), move |manifest: &Manifest| {
            let mut listed = listed(manifest, on);
            change(&mut listed);
            listed
        })
    };
    row("index-without-media-type", OF_INDEX, of_index(|i| without(i, "mediaType")), Published(ONE));
    row("index-with-null-annotations", GO, of_index(|i| i["annotations"] = json!(null)), Published(ONE));
    row("index-with-subject", OF_INDEX, of_index(|i| i["subject"] = json!(null)), Published(ONE));
    row("index-with-layers", AMBIGUOUS, of_index(|i| i["layers"] = json!([])), Refused("ambiguous"));
    row("index-of-nothing", OF_INDEX, of_index(|i| i["manifests"] = json!([])), Refused("it has: none"));
    row("index-of-null", GO, of_index(|i| i["manifests"] = json!(null)), Refused("it has: none"));
    row(
        "entry-without-platform",
        "https://github.com/pulp/pulp_container/pull/2202",
        entry(|e| without(e, "platform")),
        Published(ONE),
    );
    row("entry-with-null-platform", GO, entry(|e| e["platform"] = json!(null)), Published(ONE));
    row(
        "entry-with-empty-platform",
        "https://github.com/inspektor-gadget/inspektor-gadget/pull/5494",
        entry(|e| e["platform"] = json!({ "os": "", "architecture": "" })),
        Published(ONE),
    );
    row(
        "entry-with-other-fields",
        OF_INDEX,
        entry(|e| {
            e["platform"]["os.version"] = json!(null);
            e["platform"]["os.features"] = json!(null);
            e["platform"]["features"] = json!(["sse4"]);
            e["platform"]["variant"] = "".into();
        }),
        Published(ONE),
    );
    row(
        "x86-64",
        "https://github.com/containerd/platforms/blob/v0.2.1/database.go",
        entry(|e| e["platform"]["architecture"] = "x86_64".into()),
        Published(ONE),
    );
    row(
        "windows-entries",
        "https://github.com/docker-library/golang: entries that differ in os.version",
        extra("windows/amd64", |e| {
            e["platform"]["os.version"] = "10.0.26100.4349".into();
            e["platform"]["os.features"] = json!(["win32k"]);
        }),
        Published(ONE),
    );
    row(
        "macos-entry",
        "https://github.com/Homebrew/brew/blob/4.3.0/Library/Homebrew/github_packages.rb: one index for all platforms",
        extra("darwin/arm64", |_| {}),
        Published(ONE),
    );
    row("newer-variants-of-amd64", VARIANTS, extra("linux/amd64/v3", |_| {}), Published(ONE));
    row(
        "attestation-under-the-images-platform",
        ATTESTATIONS,
        extra(AMD64, |e| {
            e["annotations"] = json!({ "vnd.docker.reference.type": "attestation-manifest" });
        }),
        Published(ONE),
    );
    row(
        "artifact-under-the-images-platform",
        DESCRIPTOR,
        extra(AMD64, |e| {
            e["artifactType"] = "application/vnd.example.sbom.v1".into();
        }),
        Published(ONE),
    );
    let chart = |manifest: &Manifest| super::shape::descriptor(MANIFEST, &manifest.bytes);
    row(
        "artifact-without-platform",
        spec!("manifest.md#guidelines-for-artifact-usage"),
        beside(artifact(|_| {}), chart),
        Published(ONE),
    );
    let first_counts = changed(
        together(vec![(usual_for(AMD64), AMD64), (single(AMD64, &[vec![shell(AMD64)]]), AMD64)]),
        |_| {},
        |_| {},
        |_| {},
    );
    row("a-platform-twice", OF_INDEX, first_counts, Published(ONE));
    row(
        "arm64-v8",
        VARIANTS,
        together(vec![(usual_for(AMD64), AMD64), (usual_for(ARM64), "linux/arm64/v8")]),
        Published(BOTH),
    );
    let nested = || {
        let mut inner = usual();
        let listed = super::shape::descriptor(INDEX, &inner.top().bytes);
        inner
            .manifests
            .push(manifest(INDEX, &json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [listed] })));
        inner
    };
    row("nested-index", "https://github.com/pelagos-containers/pelagos/issues/533", nested(), Published(ONE));
    let mut deep = nested();
    for _ in 0..16 {
        let listed = super::shape::descriptor(INDEX, &deep.top().bytes);
        deep.manifests.push(manifest(INDEX, &json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [listed] })));
    }
    row(
        "indexes-without-end",
        "https://github.com/opencontainers/image-spec/issues/780",
        deep,
        Refused("too many indexes within the index"),
    );
    row("index-called-a-manifest", CONTENT_TYPE, called_a_manifest(), Refused("ambiguous"));
}

/// An index that its registry serves as a manifest.
fn called_a_manifest() -> Image {
    let mut image = usual();
    let top = image.manifests.pop().unwrap();
    image.manifests.push(Manifest { media_type: MANIFEST.to_owned(), ..top });
    image
}

/// Images that tools have made. The files say which tool, and how.
fn producers(row: Add<'_>) {
    for name in [
        "buildah-oci",
        "buildah-docker",
        "buildah-no-history",
        "skopeo-docker-to-oci",
        "skopeo-zstd",
        "umoci",
        "docker-classic-builder",
        "docker-commit",
        "docker-import",
        "docker-29-import",
        "docker-29-buildkit-provenance",
        "buildkit-estargz",
        "buildkit-inline-cache",
        "buildx-imagetools",
        "nix-stream-layered-image",
        "rules-oci-scratch",
        "rules-oci-on-docker-base",
        "crane-index",
    ] {
        row(name, "tests/fixtures/bases", recorded(name), Published(ONE));
    }
    for name in ["crane-index-nested", "buildkit-zstd", "buildkit-docker", "jib", "apko", "ko"] {
        row(name, "tests/fixtures/bases", recorded(name), Published(BOTH));
    }
    for name in ["buildah-manifest-oci", "buildah-manifest-docker"] {
        row(name, "tests/fixtures/bases", recorded(name), Published(BOTH));
    }
    for name in ["crane-append", "crane-append-oci"] {
        row(name, "tests/fixtures/bases", recorded(name), Refused("no `os` or no `architecture`"));
    }
}
