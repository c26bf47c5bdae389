//! Any text as a `Link` header: the result is a target that occurs in it, or none, but never a panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use publish_variants::api::registry::headers;

fuzz_target!(|header: &str| {
    if let Some(target) = headers::next_page(header) {
        assert!(header.contains(target));
        assert!(header.to_ascii_lowercase().contains("next"));
    }
});
