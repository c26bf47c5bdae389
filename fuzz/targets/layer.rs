//! Any bytes as the layers of a source: the result is the files in them or an error, but never a panic, and every file
//! that is found is in that entry.
#![no_main]

use std::io::{self, Read as _};

use libfuzzer_sys::fuzz_target;
use publish_variants::image::unpack::archive::{Archive, Kind};
use publish_variants::image::unpack::compression;
use publish_variants::image::unpack::tree::{Found, Tree};

/// Large enough to reach all of the code, and small enough for a thousand runs per second.
const UNPACKED: u64 = 1 << 20;

fuzz_target!(|bytes: &[u8]| {
    // The first byte determines how much of the rest is the upper layer.
    let Some((first, rest)) = bytes.split_first() else { return };
    let (upper, lower) = rest.split_at(rest.len() * usize::from(*first) / 255);
    let open = |blob| Ok::<_, io::Error>(compression::open(blob)?.take(UNPACKED));
    let mut tree = Tree::default();
    let mut paths = vec!["/tool".to_owned(), "/bin/../bin/tool".to_owned(), "/".to_owned(), String::new()];
    for blob in [upper, lower] {
        if open(blob).and_then(|layer| tree.read_layer(layer)).is_err() {
            return;
        }
        paths.extend(tree.some_files(8));
    }
    tree.complete();
    for path in paths {
        let found = tree.find(&path);
        assert_ne!(found, Found::Undecided);
        let Found::File(file) = found else { continue };
        let layer = open([upper, lower][file.layer]).expect("it was opened before");
        let mut archive = Archive::new(layer);
        for _ in 0..file.entry {
            archive.next_entry().expect("it was read before");
        }
        let entry = archive.next_entry().expect("it was read before").expect("it has this entry");
        assert_eq!(entry.kind, Kind::File { size: file.size, mode: file.mode, capabilities: file.capabilities });
    }
});
