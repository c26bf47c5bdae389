//! Any text as a `WWW-Authenticate` header: a realm that stands in it, or none, never a panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use publish_variants::api::registry::headers;

fuzz_target!(|header: &str| {
    if let Some(realm) = headers::realm(header) {
        assert!(header.to_ascii_lowercase().contains("bearer"));
        assert!(realm.len() <= header.len());
    }
});
