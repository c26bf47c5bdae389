//! The fuzz targets compile, and hold for their seeds and for small changes of them. `scripts/fuzz` runs them with
//! libFuzzer.

#![expect(clippy::unwrap_used, reason = "a failing setup fails its test")]

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// Replaces libFuzzer's crate for the targets.
extern crate self as libfuzzer_sys;

// `no_main` is for the executables.
#[allow(unused_attributes)]
#[path = "../fuzz/targets/challenge.rs"]
mod challenge;
#[allow(unused_attributes)]
#[path = "../fuzz/targets/config.rs"]
mod config;
#[allow(unused_attributes)]
#[path = "../fuzz/targets/docker_config.rs"]
mod docker_config;
#[allow(unused_attributes)]
#[path = "../fuzz/targets/event.rs"]
mod event;
#[allow(unused_attributes)]
#[path = "../fuzz/targets/layer.rs"]
mod layer;
#[allow(unused_attributes)]
#[path = "../fuzz/targets/link.rs"]
mod link;
#[allow(unused_attributes)]
#[path = "../fuzz/targets/manifest.rs"]
mod manifest;
#[allow(unused_attributes)]
#[path = "../fuzz/targets/matrix.rs"]
mod matrix;
#[allow(unused_attributes)]
#[path = "../fuzz/targets/object.rs"]
mod object;

// Below the targets, which import it.
macro_rules! fuzz_target {
    (|$data:ident: $type:ty| $body:block) => {
        pub(crate) fn run($data: $type) $body
    };
}
pub(crate) use fuzz_target;

const CHANGES: usize = 150;
const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// The files of a folder of fixtures.
fn fixtures(folder: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(folder);
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file());
    files.map(|path| fs::read(path).unwrap()).collect()
}

/// `seed` with some bytes replaced, removed or repeated.
fn changed(seed: &[u8], random: &mut fastrand::Rng) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..random.usize(1..8) {
        let at = random.usize(..bytes.len().max(1));
        match random.u8(..4) {
            0 => drop(bytes.drain(at.min(bytes.len())..bytes.len().min(at + random.usize(..16)))),
            1 => bytes.splice(at.min(bytes.len())..at.min(bytes.len()), [random.u8(..)]).for_each(drop),
            2 => bytes.extend_from_within(at.min(bytes.len())..),
            _ => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << random.u8(..8)),
        }
    }
    bytes
}

#[track_caller]
fn hold(target: impl Fn(&[u8]), seeds: &[Vec<u8>]) {
    assert!(!seeds.is_empty());
    let mut random = fastrand::Rng::with_seed(1);
    for seed in seeds {
        target(seed);
        for _ in 0..CHANGES {
            let bytes = changed(seed, &mut random);
            let done = catch_unwind(AssertUnwindSafe(|| target(&bytes)));
            assert!(done.is_ok(), "{:?}", String::from_utf8_lossy(&bytes));
        }
    }
}

/// For targets that take text.
fn text(target: impl Fn(&str)) -> impl Fn(&[u8]) {
    move |bytes| target(&String::from_utf8_lossy(bytes))
}

#[test]
fn any_matrix_is_a_plan_or_a_list_of_problems() {
    hold(text(matrix::run), &fixtures("matrix"));
}

#[test]
fn any_event_is_a_version_or_a_problem() {
    let events =
        fixtures("events").into_iter().map(|payload| [b"release\nrefs/heads/main\n".to_vec(), payload].concat());
    hold(text(event::run), &events.collect::<Vec<_>>());
}

#[test]
fn any_docker_config_is_credentials_or_a_refusal() {
    hold(text(docker_config::run), &fixtures("docker"));
}

#[test]
fn any_header_is_understood_or_ignored() {
    hold(
        text(challenge::run),
        &[br#"Basic realm="a", Bearer realm="https://a/t?x=\"y\"",service="s",scope="b:pull""#.to_vec()],
    );
    hold(text(link::run), &[br#"</first>; rel="first", </v2/a/tags/list?n=2&last=a,b>; rel="last next""#.to_vec()]);
}

#[test]
fn any_document_of_an_image_is_read_back_as_it_was_written_or_refused() {
    let index = format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[
            {{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{DIGEST}","size":3,
              "platform":{{"os":"linux","architecture":"arm","variant":"v7"}}}}],"annotations":{{"a":"b"}}}}"#
    );
    let layer = r#"{"mediaType":"application/vnd.docker.image.rootfs.diff.tar.gzip","digest":"@","size":3}"#;
    let config = r#"{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"@","size":3}"#;
    let manifest = format!(r#"{{"schemaVersion":2,"config":{config},"layers":[{layer}]}}"#).replace('@', DIGEST);
    hold(manifest::run, &[index.into_bytes(), manifest.into_bytes()]);
    let config = r#"{"os":"linux","architecture":"amd64","config":{"Env":["PATH=/bin"],"Labels":{"a":"b"},"Cmd":["sh"]},
        "rootfs":{"type":"layers","diff_ids":["@"]},"history":[{"created_by":"x"},{"empty_layer":true}]}"#;
    hold(config::run, &[config.replace('@', DIGEST).into_bytes()]);
}

#[test]
fn any_layer_is_files_or_an_error() {
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o755);
    header.set_size(4);
    archive.append_data(&mut header, "bin/tool", &b"tool"[..]).unwrap();
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_size(0);
    archive.append_link(&mut header, "tool", "bin/tool").unwrap();
    header.set_entry_type(tar::EntryType::Link);
    archive.append_link(&mut header, "hard", "bin/tool").unwrap();
    let seed = [vec![0x7f], archive.into_inner().unwrap()].concat();
    hold(layer::run, &[seed]);
}

#[test]
fn any_object_of_git_is_a_commit_or_an_error() {
    let commit = "commit 0\0tree 0\nauthor A <a@example.org> 1700000000 +0000\ncommitter A <a@example.org> 1700000000 +0100\n\nA\n";
    let delta = [b"\x04\xf1", &commit.as_bytes()[9..], b"\x78\x41\x90\x61\x01x"].concat();
    hold(object::run, &[[b"\0\0", commit.as_bytes()].concat(), delta]);
    fs::remove_dir_all(object::WORK_TREE.as_path()).unwrap();
}
