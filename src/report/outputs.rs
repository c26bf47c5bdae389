//! The action's outputs, for the steps that follow.

use super::{Destination, KeptTag, Report, Status, Variant};
use crate::image::Digest;

/// Every output except for `checksums` and `notes`, which are the paths of files.
#[must_use]
pub fn outputs(report: &Report) -> Vec<(&'static str, String)> {
    let digest = |variant: &Variant| Some((variant.name.clone(), variant.digest.as_ref()?.as_str().into()));
    let digests: serde_json::Map<String, serde_json::Value> = report.variants.iter().filter_map(digest).collect();
    let images = serde_json::to_string(report).expect("a report has string keys only");
    vec![
        ("status", report.status.as_str().to_owned()),
        ("version", report.version.clone()),
        ("digests", serde_json::Value::Object(digests).to_string()),
        ("images", images),
        ("tags", tags(report)),
        ("kept", kept(report)),
    ]
}

/// Every reference that names an image of this release now, one per line.
#[must_use]
pub fn tags(report: &Report) -> String {
    lines(images(report).flat_map(Destination::references))
}

/// Every tag of the plan that doesn't name this release, one per line: `<reference>  <reason>`.
#[must_use]
pub fn kept(report: &Report) -> String {
    let of_destination = |destination: &Destination| {
        let kept = destination.kept.iter();
        let line = |kept: &KeptTag| format!("{}  {}", destination.repository.tagged(kept.tag.clone()), kept.reason);
        kept.map(line).collect::<Vec<_>>()
    };
    lines(images(report).flat_map(of_destination))
}

/// The digests of all indexes that may be attested, in the format of `sha256sum`: one `<hex>  <reference>` for each
/// variant and destination, and for the source if it has tags of its own.
///
/// [`actions/attest`](https://github.com/actions/attest) takes this format as `subject-checksums`.
#[must_use]
pub fn checksums(report: &Report) -> String {
    let line = |(name, digest): (String, &Digest)| format!("{}  {name}\n", digest.hex());
    vouched_for(report).map(line).collect()
}

/// The same images as lines for [`GITHUB_ARTIFACTS`](https://github.com/actions/runner): `oci://REFERENCE@DIGEST`.
/// Nothing that a dry run makes can be pulled, so it declares none.
#[must_use]
pub fn artifacts(report: &Report) -> String {
    let line = |(name, digest): (String, &Digest)| format!("oci://{name}@{digest}\n");
    vouched_for(report).filter(|_| report.status != Status::DryRun).map(line).collect()
}

/// Every index that may be attested, once for each destination, with its name there.
fn vouched_for(report: &Report) -> impl Iterator<Item = (String, &Digest)> {
    let variants = report.variants.iter().filter(|variant| variant.is_vouched_for);
    let destinations = variants.flat_map(|variant| &variant.destinations).chain(report.source_destinations());
    destinations.filter_map(|destination| {
        let name = match destination.references().next() {
            Some(reference) => reference.to_string(),
            None => destination.repository.to_string(),
        };
        Some((name, destination.digest.as_ref()?))
    })
}

/// Every image at every destination; the source comes last.
fn images(report: &Report) -> impl Iterator<Item = &Destination> {
    report.variants.iter().flat_map(|variant| &variant.destinations).chain(report.source_destinations())
}

fn lines(items: impl Iterator<Item = impl ToString>) -> String {
    items.map(|item| item.to_string()).collect::<Vec<_>>().join("\n")
}
