//! Reads and writes the OCI [image layout].
//!
//! [image layout]: https://github.com/opencontainers/image-spec/blob/main/image-layout.md

use std::path::Path;

use serde_json::{Value, json};

use super::{Image, Manifest, MediaTypes, descriptor, digest};

impl Image {
    /// Reads an OCI image layout: the entry of `index.json` named `tag`, else its only entry, else all of its entries
    /// under one index. Panics with the path of anything that is missing.
    pub fn read_layout(folder: &Path, tag: &str) -> Self {
        let read = |path: &Path| std::fs::read(path).unwrap_or_else(|error| panic!("`{}`: {error}", path.display()));
        let index_bytes = read(&folder.join("index.json"));
        let index: Value = serde_json::from_slice(&index_bytes).expect("`index.json` is JSON");
        let entries = index["manifests"].as_array().expect("`index.json` lists manifests");
        let name =
            |entry: &Value| entry["annotations"]["org.opencontainers.image.ref.name"].as_str().map(str::to_owned);
        let named = entries
            .iter()
            .find(|entry| name(entry).is_some_and(|name| name == tag || name.ends_with(&format!(":{tag}"))));
        let mut image = Self { blobs: Vec::new(), manifests: Vec::new() };
        match (named, entries.as_slice()) {
            (Some(entry), _) | (None, [entry]) => image.read_entry(folder, entry),
            (None, entries) => {
                for entry in entries {
                    image.read_entry(folder, entry);
                }
                image.manifests.push(Manifest { media_type: MediaTypes::Oci.index().into(), bytes: index_bytes });
            }
        }
        image
    }

    /// Writes the image as an OCI image layout, in which it is named `tag`.
    pub fn write_layout(&self, folder: &Path, tag: &str) {
        let blobs = folder.join("blobs/sha256");
        std::fs::create_dir_all(&blobs).expect("the folder is writable");
        let manifests = self.manifests.iter().map(|manifest| &manifest.bytes);
        for bytes in self.blobs.iter().chain(manifests) {
            std::fs::write(blobs.join(&digest(bytes)["sha256:".len()..]), bytes).expect("the folder is writable");
        }
        let mut top = descriptor(&self.top().media_type, &self.top().bytes);
        top["annotations"] = json!({ "org.opencontainers.image.ref.name": tag });
        let index = json!({ "schemaVersion": 2, "mediaType": MediaTypes::Oci.index(), "manifests": [top] });
        std::fs::write(folder.join("index.json"), index.to_string()).expect("the folder is writable");
        let version = json!({ "imageLayoutVersion": "1.0.0" });
        std::fs::write(folder.join("oci-layout"), version.to_string()).expect("the folder is writable");
    }

    fn read_entry(&mut self, folder: &Path, descriptor: &Value) {
        let bytes = read_blob(folder, descriptor);
        let manifest = Manifest { media_type: descriptor["mediaType"].as_str().expect("a media type").into(), bytes };
        let json = manifest.json();
        for entry in json["manifests"].as_array().into_iter().flatten() {
            self.read_entry(folder, entry);
        }
        for blob in json["layers"].as_array().into_iter().flatten().chain(json.get("config")) {
            self.blobs.push(read_blob(folder, blob));
        }
        self.manifests.push(manifest);
    }
}

fn read_blob(folder: &Path, descriptor: &Value) -> Vec<u8> {
    let digest = descriptor["digest"].as_str().expect("a descriptor has a digest");
    let path = folder.join("blobs").join(digest.replace(':', "/"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("`{}`: {error}", path.display()))
}
