//! Any bytes as the config of a base: the result is a config that can be parsed again, or an error, but never a panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use publish_variants::image::config::{AddedLayer, Changes};
use publish_variants::image::{Config, Digest};

fuzz_target!(|bytes: &[u8]| {
    let Ok(config) = Config::parse(bytes) else { return };
    let _ = (config.created(), config.label("x"), config.runtime());
    let changes = Changes {
        env: [("PATH".into(), "/opt:${PATH}".parse().expect("it is a value"))].into(),
        cmd: Some(vec!["/usr/local/bin/tool".into()]),
        entrypoint: Some(Vec::new()),
        labels: [("a".into(), "b".into())].into(),
        ..Changes::default()
    };
    let added = AddedLayer { diff_id: Digest::of(b"ours"), created_by: "COPY /tool /usr/local/bin/".into() };
    let platform = "linux/arm64".parse().expect("it is one");
    let derived = config.derive(&platform, Some("2026-01-15T20:44:00Z"), &[added], &changes);
    assert_eq!(derived.platform(), platform);
    assert_eq!(derived.diff_ids().len(), config.diff_ids().len() + 1);
    let written = serde_json::to_vec(derived.as_json()).expect("it is JSON");
    let read = Config::parse(&written).expect("we have written it");
    assert_eq!(read.as_json(), derived.as_json());
});
