//! Bases of any shape, in memory: made here, changed, or reconstructed from recordings of what tools made.

use std::io::{Read as _, Write as _};
use std::path::Path;

use serde_json::{Value, json};
use support::image::{Image, Manifest, digest};

pub(crate) const AMD64: &str = "linux/amd64";
pub(crate) const ARM64: &str = "linux/arm64";
pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub(crate) const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// An entry of a layer.
pub(crate) enum Entry {
    File(&'static str, Vec<u8>),
    Link(&'static str, &'static str),
    /// A folder, with its mode, and the number of its user and group.
    Folder(&'static str, u32, u64),
}

pub(crate) fn tar(entries: &[Entry]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for entry in entries {
        let mut header = tar::Header::new_gnu();
        header.set_size(0);
        header.set_mode(0o755);
        header.set_uid(0);
        header.set_gid(0);
        match entry {
            Entry::File(path, bytes) => {
                header.set_size(bytes.len() as u64);
                tar.append_data(&mut header, path, &bytes[..]).unwrap();
            }
            Entry::Link(path, target) => {
                header.set_entry_type(tar::EntryType::Symlink);
                tar.append_link(&mut header, path, target).unwrap();
            }
            Entry::Folder(path, mode, owner) => {
                header.set_entry_type(tar::EntryType::Directory);
                header.set_mode(*mode);
                header.set_uid(*owner);
                header.set_gid(*owner);
                tar.append_data(&mut header, path, &[][..]).unwrap();
            }
        }
    }
    tar.into_inner().unwrap()
}

/// An archive compressed according to its media type: by gzip, as a zstd frame without compression, or not at all.
fn compressed(archive: &[u8], media_type: &str) -> Vec<u8> {
    if media_type.ends_with("gzip") {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(archive).unwrap();
        return gzip.finish().unwrap();
    }
    if !media_type.ends_with("zstd") {
        return archive.to_vec();
    }
    // One frame (RFC 8878, 3.1.1) with raw blocks, and the content's length in four bytes.
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0xa0];
    frame.extend(u32::try_from(archive.len()).unwrap().to_le_bytes());
    let blocks: Vec<&[u8]> = archive.chunks(1 << 16).collect();
    for (number, block) in blocks.iter().enumerate() {
        let last = u32::from(number + 1 == blocks.len());
        let head = (u32::try_from(block.len()).unwrap() << 3) | last;
        frame.extend(&head.to_le_bytes()[..3]);
        frame.extend(*block);
    }
    frame
}

/// A program for `sh -c true`, which exits with 0.
pub(crate) fn shell(platform: &str) -> Entry {
    Entry::File("bin/sh", support::elf::printing(platform, ""))
}

/// Whether a layer, compressed or not, contains [`shell`].
pub(crate) fn has_shell(layer: &[u8]) -> bool {
    let mut unpacked = Vec::new();
    let gzip = flate2::read::GzDecoder::new(layer).read_to_end(&mut unpacked).is_ok();
    let archive = if gzip { &unpacked[..] } else { layer };
    archive.windows(6).any(|window| window == b"bin/sh")
}

pub(crate) fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({ "mediaType": media_type, "digest": digest(bytes), "size": bytes.len() })
}

pub(crate) fn manifest(media_type: &str, value: &Value) -> Manifest {
    Manifest { media_type: media_type.to_owned(), bytes: value.to_string().into_bytes() }
}

fn platform(text: &str) -> Value {
    let parts: Vec<&str> = text.split('/').collect();
    let mut platform = json!({ "os": parts[0], "architecture": parts[1] });
    if let Some(variant) = parts.get(2) {
        platform["variant"] = (*variant).into();
    }
    platform
}

/// An entry of an index.
pub(crate) fn listed(manifest: &Manifest, on: &str) -> Value {
    let mut listed = descriptor(&manifest.media_type, &manifest.bytes);
    listed["platform"] = platform(on);
    listed
}

/// An image with these layers for one platform, without an index.
pub(crate) fn single(on: &str, layers: &[Vec<Entry>]) -> Image {
    let archives: Vec<Vec<u8>> = layers.iter().map(|entries| tar(entries)).collect();
    let blobs: Vec<Vec<u8>> = archives.iter().map(|archive| compressed(archive, LAYER)).collect();
    let mut config = json!({
        "created": "2026-01-15T00:00:00Z",
        "config": { "Env": ["PATH=/usr/local/bin:/bin", "LANG=C.UTF-8"], "Cmd": ["sh"] },
        "history": archives.iter().map(|_| json!({ "created": "2026-01-15T00:00:00Z", "created_by": "ADD . /" })).collect::<Vec<_>>(),
        "rootfs": { "type": "layers", "diff_ids": archives.iter().map(|archive| digest(archive)).collect::<Vec<_>>() },
    });
    for (key, value) in platform(on).as_object().unwrap() {
        config[key] = value.clone();
    }
    let config = config.to_string().into_bytes();
    let document = json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "config": descriptor(CONFIG, &config),
        "layers": blobs.iter().map(|blob| descriptor(LAYER, blob)).collect::<Vec<_>>(),
    });
    Image { blobs: [vec![config], blobs].concat(), manifests: vec![manifest(MANIFEST, &document)] }
}

/// Images under one index, each listed for its platform.
pub(crate) fn together(images: Vec<(Image, &str)>) -> Image {
    let entries: Vec<Value> = images.iter().map(|(image, on)| listed(image.top(), on)).collect();
    let mut all = Image { blobs: Vec::new(), manifests: Vec::new() };
    for (image, _) in images {
        all.blobs.extend(image.blobs);
        all.manifests.extend(image.manifests);
    }
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": entries });
    all.manifests.push(manifest(INDEX, &index));
    all
}

/// The usual base: two layers, an index, and one platform.
pub(crate) fn usual() -> Image {
    together(vec![(usual_for(AMD64), AMD64)])
}

pub(crate) fn usual_for(on: &str) -> Image {
    let release = Entry::File("etc/os-release", format!("ID=tiny\nFOR={on}\n").into_bytes());
    single(on, &[vec![shell(on)], vec![release]])
}

/// The usual base with each config, manifest and index changed.
pub(crate) fn changed(
    image: Image,
    change_config: impl Fn(&mut Value),
    change_manifest: impl Fn(&mut Value),
    change_index: impl Fn(&mut Value),
) -> Image {
    let mut done = Image { blobs: image.blobs.clone(), manifests: Vec::new() };
    let mut renamed = Vec::<(String, Manifest)>::new();
    for document in &image.manifests {
        let mut value = document.json();
        if value["manifests"].is_array() {
            for listed in value["manifests"].as_array_mut().unwrap() {
                if let Some((_, now)) = renamed.iter().find(|(before, _)| listed["digest"] == **before) {
                    listed["digest"] = now.digest().into();
                    listed["size"] = now.bytes.len().into();
                }
            }
            change_index(&mut value);
        } else {
            let config = image.blobs.iter().find(|blob| value["config"]["digest"] == digest(blob));
            if let Some(mut config) = config.and_then(|config| serde_json::from_slice::<Value>(config).ok()) {
                change_config(&mut config);
                let config = config.to_string().into_bytes();
                value["config"]["digest"] = digest(&config).into();
                value["config"]["size"] = config.len().into();
                done.blobs.push(config);
            }
            change_manifest(&mut value);
        }
        // If a document states its media type, the registry uses that.
        let media_type = value["mediaType"].as_str().unwrap_or(&document.media_type).to_owned();
        let now = manifest(&media_type, &value);
        renamed.push((document.digest(), now.clone()));
        done.manifests.push(now);
    }
    done
}

pub(crate) fn config(change: impl Fn(&mut Value)) -> Image {
    changed(usual(), change, |_| {}, |_| {})
}

pub(crate) fn of_manifest(change: impl Fn(&mut Value)) -> Image {
    changed(usual(), |_| {}, change, |_| {})
}

pub(crate) fn of_index(change: impl Fn(&mut Value)) -> Image {
    changed(usual(), |_| {}, |_| {}, change)
}

/// The usual base with `extra` in its index, listed by the entry that `entry` makes.
pub(crate) fn beside(extra: Image, entry: impl Fn(&Manifest) -> Value) -> Image {
    let mut image = usual();
    let index = image.manifests.pop().unwrap();
    let mut value = index.json();
    value["manifests"].as_array_mut().unwrap().insert(0, entry(extra.top()));
    image.blobs.extend(extra.blobs);
    image.manifests.extend(extra.manifests);
    image.manifests.push(manifest(INDEX, &value));
    image
}

/// An artifact: a manifest whose config isn't an image's.
pub(crate) fn artifact(change: impl Fn(&mut Value)) -> Image {
    let (empty, text) = (b"{}".to_vec(), b"a chart".to_vec());
    let mut document = json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": "application/vnd.example.chart.v1",
        "config": descriptor("application/vnd.oci.empty.v1+json", &empty), "layers": [descriptor("text/plain", &text)],
    });
    change(&mut document);
    Image { blobs: vec![empty, text], manifests: vec![manifest(MANIFEST, &document)] }
}

/// An image that a tool made, with other layers: manifests and configs are as recorded, except for digests and sizes.
pub(crate) fn recorded(name: &str) -> Image {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/bases/{name}.json"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let record: Value = serde_json::from_str(&text).unwrap();
    let mut image = Image { blobs: Vec::new(), manifests: Vec::new() };
    let top = (record["top"].as_str().unwrap(), record["mediaType"].as_str().unwrap());
    rebuild(&record["documents"], top, &mut image);
    image
}

/// Adds a recorded manifest or index, and everything that it refers to; it becomes the image's last manifest.
fn rebuild(documents: &Value, (name, media_type): (&str, &str), image: &mut Image) {
    let mut value = documents[name].clone();
    for listed in value.get_mut("manifests").and_then(Value::as_array_mut).into_iter().flatten() {
        let child = (listed["digest"].as_str().unwrap().to_owned(), listed["mediaType"].as_str().unwrap().to_owned());
        rebuild(documents, (&child.0, &child.1), image);
        listed["digest"] = image.top().digest().into();
        listed["size"] = image.top().bytes.len().into();
    }
    if value["layers"].is_array() {
        let recorded = value["config"]["digest"].as_str().unwrap().to_owned();
        let mut config = documents[&recorded].clone();
        let architecture = if config["architecture"] == "arm64" { ARM64 } else { AMD64 };
        let mut diff_ids = Vec::new();
        for (number, layer) in value["layers"].as_array_mut().unwrap().iter_mut().enumerate() {
            let media_type = layer["mediaType"].as_str().unwrap().to_owned();
            let lowest = || vec![shell(architecture)];
            let above = || vec![Entry::File("etc/layer", format!("{architecture} {number}").into_bytes())];
            let archive = tar(&if number == 0 { lowest() } else { above() });
            let blob = compressed(&archive, &media_type);
            layer["digest"] = digest(&blob).into();
            layer["size"] = blob.len().into();
            diff_ids.push(digest(&archive));
            image.blobs.push(blob);
        }
        if config["rootfs"]["diff_ids"].is_array() {
            config["rootfs"]["diff_ids"] = json!(diff_ids);
        }
        let config = config.to_string().into_bytes();
        value["config"]["digest"] = digest(&config).into();
        value["config"]["size"] = config.len().into();
        image.blobs.push(config);
    }
    image.manifests.push(manifest(media_type, &value));
}
