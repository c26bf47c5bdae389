//! Kinship: whether a published image is this release on another base, *begun* by an earlier run.
//!
//! Pure. The published image is compared with the one that this run would compose on the same base. Three differences
//! are allowed: [facts](crate::facts::KEYS), which a later run may know better; the OCI version label, which contains
//! the variant's first entry; and the compression of the executables' layer.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::{Composed, Origin};
use crate::facts;
use crate::image::manifest::Annotations;
use crate::image::{Config, Descriptor, Digest, Manifest, Platform};

/// A published image for one platform.
#[derive(Clone, Debug)]
pub struct Published {
    /// The platform that its index states.
    pub platform: Platform,
    /// Its manifest, parsed.
    pub manifest: Manifest,
    /// Its config, parsed.
    pub config: Config,
}

/// The first difference between a published index and the composed one, as the end of a sentence; `None` if they are
/// the same release.
///
/// In `annotations` and `images`, the published side comes first. A published image may have `run_lines` more layers on
/// top, which aren't compared.
#[must_use]
pub fn difference(
    annotations: (&Annotations, &Annotations),
    images: (&[Published], &[Composed]),
    run_lines: usize,
) -> Option<String> {
    let (published, composed) = images;
    if neutral(annotations.0) != neutral(annotations.1) {
        return Some("its annotations differ".to_owned());
    }
    let platforms: BTreeSet<&Platform> = published.iter().map(|image| &image.platform).collect();
    if platforms != composed.iter().map(|image| &image.platform).collect() {
        return Some("its platforms differ".to_owned());
    }
    composed.iter().find_map(|composed| {
        let published = published.iter().find(|image| image.platform == composed.platform)?;
        let what = image(published, composed, run_lines)?;
        Some(format!("its {what} for {} differs", composed.platform))
    })
}

fn image(published: &Published, composed: &Composed, run_lines: usize) -> Option<&'static str> {
    let expected: Manifest = serde_json::from_slice(composed.manifest.bytes()).expect("we have written it");
    if neutral(&published.manifest.annotations) != neutral(&expected.annotations) {
        return Some("manifest");
    }
    let (diff_ids, expected_ids) = (published.config.diff_ids(), composed.config.diff_ids());
    if diff_ids.len() != expected_ids.len() + run_lines || !diff_ids.starts_with(&expected_ids) {
        return Some("executables or base");
    }
    // The last composed layer is the executables'. By the config, its content is the same.
    let base = expected.layers.len() - 1;
    let layers = &published.manifest.layers;
    let same = |(a, b): (&Descriptor, &Descriptor)| a.digest == b.digest;
    if layers.len() != diff_ids.len() || !layers.iter().zip(&expected.layers).take(base).all(same) {
        return Some("base");
    }
    let above = (1 + run_lines, 1);
    (neutral_config(&published.config, above.0, run_lines) != neutral_config(&composed.config, above.1, 0))
        .then_some("config")
}

/// The layers of executables that aren't compressed as the composed ones are, each with the diff ID that it should have.
/// Only their bytes show whether they have it: a config may state any.
///
/// `published` are images that don't differ from the composed ones.
#[must_use]
pub fn compressed_otherwise<'a>(published: &'a [Published], composed: &[Composed]) -> Vec<(&'a Descriptor, Digest)> {
    let of_image = |composed: &Composed| {
        let published = published.iter().find(|published| published.platform == composed.platform)?;
        let (place, ours) = composed.blobs.iter().enumerate().find_map(|(place, blob)| match &blob.origin {
            Origin::Executables(layer) => Some((place, &layer.compressed)),
            _ => None,
        })?;
        let layer = published.manifest.layers.get(place)?;
        (layer.digest != ours.descriptor.digest).then(|| (layer, ours.diff_id.clone()))
    };
    composed.iter().filter_map(of_image).collect()
}

/// The annotations without the allowed differences.
fn neutral(annotations: &Annotations) -> Annotations {
    let mut neutral = annotations.clone();
    neutral.retain(|name, _| !may_differ(name));
    neutral
}

fn may_differ(name: &str) -> bool {
    facts::is_fact(name) || name == facts::VERSION
}

/// A config without the allowed differences: facts, the last `dropped` layers, and the dates of the other `own` layers
/// on top.
fn neutral_config(config: &Config, own: usize, dropped: usize) -> Map<String, Value> {
    let mut config = config.as_json().clone();
    config.remove("created");
    let cut = |list: Option<&mut Value>| {
        if let Some(Value::Array(list)) = list {
            list.truncate(list.len().saturating_sub(dropped));
        }
    };
    cut(config.get_mut("history"));
    cut(config.get_mut("rootfs").and_then(|rootfs| rootfs.get_mut("diff_ids")));
    if let Some(Value::Array(history)) = config.get_mut("history") {
        for entry in history.iter_mut().rev().take(own - dropped) {
            entry.as_object_mut().and_then(|entry| entry.remove("created"));
        }
    }
    let runtime = config.get_mut("config").and_then(Value::as_object_mut);
    if let Some(runtime) = runtime {
        if let Some(Value::Object(labels)) = runtime.get_mut("Labels") {
            labels.retain(|name, _| !may_differ(name));
        }
        // If all labels are facts, one of the two configs may have no `Labels` at all.
        runtime.retain(|name, value| name != "Labels" || value.as_object().is_some_and(|labels| !labels.is_empty()));
    }
    config
}
