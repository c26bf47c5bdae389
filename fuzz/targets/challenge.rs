//! Any text as a `WWW-Authenticate` header: the result is a realm that occurs in it, or none, but never a panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use publish_variants::api::registry::headers;

fuzz_target!(|header: &str| {
    if let Some(realm) = headers::realm(header) {
        assert!(header.to_ascii_lowercase().contains("bearer"));
        assert!(realm.len() <= header.len());
    }
});
