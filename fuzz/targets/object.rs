//! Any bytes as an object of git, loose or in a pack: the result is the commit that it is or leads to, or an error, but
//! never a panic.
#![no_main]

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use flate2::Compression;
use flate2::write::ZlibEncoder;
use libfuzzer_sys::fuzz_target;
use publish_variants::work_tree::WorkTree;

/// The object's name.
const NAME: &str = "ffffffffffffffffffffffffffffffffffffffff";
/// The name of the object before it in the pack.
const BASE: &str = "eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee";
/// The first byte of an object in a pack: its type, and a length that isn't read.
const COMMIT: u8 = 1 << 4;
const DISTANCE: u8 = 6 << 4;
const NAMED: u8 = 7 << 4;

/// This process's work tree. Whoever runs the target removes it.
pub(crate) static WORK_TREE: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = std::env::temp_dir().join(format!("publish-variants-fuzz-{}", std::process::id()));
    fs::create_dir_all(folder.join(".git/objects/pack")).expect("the folder is writable");
    fs::create_dir_all(folder.join(".git/objects/ff")).expect("the folder is writable");
    folder
});

fuzz_target!(|bytes: &[u8]| {
    // The first byte determines the form of the rest, the second how much of it is the first of two parts.
    let [form, cut, rest @ ..] = bytes else { return };
    let (first, second) = rest.split_at(rest.len() * usize::from(*cut) / 255);
    let objects = WORK_TREE.join(".git/objects");
    let loose = objects.join("ff").join(&NAME[2..]);
    let (pack, index) = (objects.join("pack/pack-1.pack"), objects.join("pack/pack-1.idx"));
    for file in [&loose, &pack, &index] {
        let _ = fs::remove_file(file);
    }
    let write = |path: &Path, content: &[u8]| fs::write(path, content).expect("the folder is writable");
    match form % 5 {
        0 => write(&loose, &deflated(rest)),
        1 => write(&loose, rest),
        2 => {
            write(&index, first);
            write(&pack, second);
        }
        // A commit, and another one as its delta.
        how => {
            let base = [&[COMMIT][..], &deflated(first)].concat();
            // The distance in digits of 7 bits; all but the last are stored as one less.
            let link = match base.len() {
                _ if how == 4 => [&[NAMED][..], &[0xee; 20]].concat(),
                near @ 0..0x80 => vec![DISTANCE, near as u8],
                far @ 0x80..0x4000 => vec![DISTANCE, 0x80 | ((far - 0x80) >> 7) as u8, (far & 0x7f) as u8],
                _ => return,
            };
            write(&pack, &[b"PACK\0\0\0\x02\0\0\0\x02", &base[..], &link, &deflated(second)].concat());
            write(&index, &index_of(&[(BASE, 12), (NAME, 12 + base.len() as u32)]));
        }
    }
    let tree = WorkTree::find(&WORK_TREE).expect("it is there");
    if let Ok(commit) = tree.commit(&[], Some(NAME)) {
        assert!(commit.is_none_or(|commit| matches!(commit.sha.len(), 40 | 64)));
    }
});

fn deflated(content: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::none());
    encoder.write_all(content).expect("it is memory");
    encoder.finish().expect("it is memory")
}

/// The index of a pack in version 2: names in order, checksums, which aren't read, and offsets.
fn index_of(entries: &[(&str, u32)]) -> Vec<u8> {
    let bytes = |name: &str| u8::from_str_radix(&name[..2], 16).expect("it is a digit");
    let up_to = |byte: u8| entries.iter().filter(|(name, _)| bytes(name) <= byte).count() as u32;
    let mut index = b"\xfftOc\0\0\0\x02".to_vec();
    index.extend((0..=0xff).flat_map(|byte| up_to(byte).to_be_bytes()));
    index.extend(entries.iter().flat_map(|(name, _)| [bytes(name); 20]));
    index.extend(entries.iter().flat_map(|_| [0; 4]));
    index.extend(entries.iter().flat_map(|(_, offset)| offset.to_be_bytes()));
    index
}
