//! The action's outputs, for the steps that follow.

use std::fmt::Write as _;

use super::Report;

/// Every output but `checksums`, which is the path of a file with [`checksums`].
#[must_use]
pub fn outputs(report: &Report) -> Vec<(&'static str, String)> {
    let digests: serde_json::Map<String, serde_json::Value> =
        report.variants.iter().map(|variant| (variant.name.clone(), variant.digest.as_str().into())).collect();
    let images = serde_json::to_string(report).expect("a report has string keys only");
    vec![
        ("status", report.status.as_str().to_owned()),
        ("version", report.version.clone()),
        ("digests", serde_json::Value::Object(digests).to_string()),
        ("images", images),
        ("tags", tags(report)),
    ]
}

/// Every reference that shows an image of this release now, one on each line.
#[must_use]
pub fn tags(report: &Report) -> String {
    let images = report.variants.iter().map(|variant| &variant.destinations).chain([&report.source.destinations]);
    let references = images.flatten().flat_map(|destination| destination.references().collect::<Vec<_>>());
    references.map(|reference| reference.to_string()).collect::<Vec<_>>().join("\n")
}

/// The digest of the index that every variant has, as `sha256sum` writes it: one `<hex>  <name>` for each variant and destination.
///
/// This is the form that [`actions/attest`](https://github.com/actions/attest) takes as `subject-checksums`.
#[must_use]
pub fn checksums(report: &Report) -> String {
    let mut text = String::new();
    for variant in &report.variants {
        for destination in &variant.destinations {
            let name = match destination.references().next() {
                Some(reference) => reference.to_string(),
                None => destination.repository.to_string(),
            };
            let _ = writeln!(text, "{}  {name}", destination.digest.hex());
        }
    }
    text
}
