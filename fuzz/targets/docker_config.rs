//! Any text as Docker's `config.json`: the result is credentials that can be sent and are never shown, or a refusal,
//! but never a panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use publish_variants::credentials::{ConfigFile, Credential, registry_name};
use publish_variants::image::Repository;

fuzz_target!(|text: &str| {
    match ConfigFile::read(text) {
        Ok((file, _)) => {
            for credential in file.credentials() {
                let Credential { registry, username, password } = credential;
                assert_eq!(registry_name(registry).as_ref(), Some(registry), "a name is in its final form");
                let is_sendable = |text: &str| !text.chars().any(char::is_control);
                assert!(is_sendable(username) && is_sendable(password.expose()) && !password.expose().is_empty());
                assert!(format!("{credential:?}").contains("password: ***"));
                // A name without a dot or a port isn't parsed as a registry's.
                if let Ok(repository) = format!("{registry}/tool").parse::<Repository>()
                    && registry_name(repository.registry()).is_some_and(|host| registry.starts_with(&host))
                {
                    assert!(Credential::find(file.credentials(), &repository).is_some(), "it counts for its registry");
                }
            }
            for registry in ["docker.io", "ghcr.io", "[::1]:5000"] {
                assert!(file.helper(registry).is_none_or(|helper| !helper.is_empty()));
            }
        }
        Err(refusal) => assert!(refusal.to_string().len() < 120),
    }
});
