//! Docker's `config.json` and Podman's `auth.json`, which have the same format.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;

use super::{Credential, IDENTITY_TOKEN, registry_name};
use crate::secret::Secret;

/// The contents of such a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigFile {
    credentials: Vec<Credential>,
    helpers: BTreeMap<String, String>,
    store: Option<String>,
}

/// A text that isn't such a file. It may hold passwords, so nothing of it is shown.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is not the JSON that Docker and Podman write (line {line}, column {column})")]
pub struct NoConfigFile {
    line: usize,
    column: usize,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    auths: Option<BTreeMap<String, Option<RawAuth>>>,
    cred_helpers: Option<BTreeMap<String, String>>,
    creds_store: Option<String>,
}

#[derive(Deserialize)]
struct RawAuth {
    auth: Option<String>,
    identitytoken: Option<String>,
    username: Option<String>,
    password: Option<String>,
}

impl ConfigFile {
    /// Parses the text of such a file. Also returns the keys of entries that can't be used.
    ///
    /// # Errors
    /// The text isn't such a file.
    pub fn read(text: &str) -> Result<(Self, Vec<String>), NoConfigFile> {
        let raw: Raw =
            serde_json::from_str(text).map_err(|error| NoConfigFile { line: error.line(), column: error.column() })?;
        let mut file = Self { store: raw.creds_store.filter(|name| !name.is_empty()), ..Self::default() };
        let mut left_out = Vec::new();
        for (key, auth) in raw.auths.unwrap_or_default() {
            // If a helper keeps the password, the entry is empty.
            let Some(auth) = auth.filter(|auth| !auth.is_empty()) else { continue };
            match registry_name(&key).and_then(|registry| auth.credential(registry)) {
                Some(credential) => file.credentials.push(credential),
                None => left_out.push(key),
            }
        }
        for (key, helper) in raw.cred_helpers.unwrap_or_default() {
            match registry_name(&key) {
                Some(registry) if !helper.is_empty() => drop(file.helpers.insert(registry, helper)),
                Some(_) => {}
                None => left_out.push(key),
            }
        }
        Ok((file, left_out))
    }

    /// The credentials that the file itself contains.
    pub fn credentials(&self) -> impl Iterator<Item = &Credential> {
        self.credentials.iter()
    }

    /// The name of the credential helper for a registry: the registry's own, else the general one.
    #[must_use]
    pub fn helper(&self, registry: &str) -> Option<&str> {
        let own = registry_name(registry).and_then(|registry| self.helpers.get(&registry));
        own.or(self.store.as_ref()).map(String::as_str)
    }
}

impl RawAuth {
    fn is_empty(&self) -> bool {
        let fields = [&self.auth, &self.identitytoken, &self.username, &self.password];
        fields.into_iter().flatten().all(String::is_empty)
    }

    fn credential(self, registry: String) -> Option<Credential> {
        let given = |text: Option<String>| text.filter(|text| !text.is_empty());
        let (username, password) = match (given(self.identitytoken), given(self.auth)) {
            (Some(token), _) => (IDENTITY_TOKEN.to_owned(), token),
            (None, Some(auth)) => decode(auth.trim())?,
            (None, None) => (self.username?, self.password?),
        };
        // A header can't contain control characters.
        if [&username, &password].into_iter().any(|text| text.contains(char::is_control)) {
            return None;
        }
        Some(Credential { registry, username, password: Secret::new(password)? })
    }
}

/// Decodes `user:password` from base64, with or without padding.
fn decode(auth: &str) -> Option<(String, String)> {
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let decoded = GeneralPurpose::new(&STANDARD, config).decode(auth).ok()?;
    let text = String::from_utf8(decoded).ok()?;
    let (username, password) = text.split_once(':')?;
    // Docker pads old entries with zero bytes.
    Some((username.to_owned(), password.trim_end_matches('\0').to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `registry user password` for each credential, then `? key` for each ignored entry.
    fn said(text: &str) -> Vec<String> {
        let (file, left_out) = ConfigFile::read(text).unwrap();
        let said = file.credentials.iter().map(|c| format!("{} {} {}", c.registry, c.username, c.password.expose()));
        said.chain(left_out.into_iter().map(|key| format!("? {key}"))).collect()
    }

    #[test]
    fn every_form_of_an_entry_is_read() {
        for (auths, read) in [
            (r#""https://index.docker.io/v1/": {"auth": "aHViOnBhc3M="}"#, vec!["docker.io hub pass"]),
            (r#""docker.io": {"auth": "aHViOnBhc3M"}"#, vec!["docker.io hub pass"]),
            (r#""https://host:5000/v2/": {"auth": "YTpi"}"#, vec!["host:5000 a b"]),
            (
                r#""quay.io/acme": {"auth": "YTpi"}, "quay.io": {"auth": "YTpj"}"#,
                vec!["quay.io a c", "quay.io/acme a b"],
            ),
            (r#""acr.io": {"auth": "MDAwMDo=", "identitytoken": "eyJ"}"#, vec!["acr.io <token> eyJ"]),
            (
                r#""acr.io": {"identitytoken": "eyJ\nx"}, "q.io": {"username": "a", "password": "\t"}"#,
                vec!["? acr.io", "? q.io"],
            ),
            (r#""lan": {"username": "a", "password": "b:c"}"#, vec!["lan a b:c"]),
            (r#""a.io": {"auth": "YTpiOmM="}"#, vec!["a.io a b:c"]),
            (r#""a.io": {}, "b.io": null, "c.io": {"auth": ""}, "d.io": {"email": "e"}"#, vec![]),
            (
                r#""a.io": {"auth": "!"}, "b.io": {"auth": "YQ=="}, "c.io": {"auth": "YTo="}"#,
                vec!["? a.io", "? b.io", "? c.io"],
            ),
            (r#""": {"auth": "YTpi"}, "a b": {"auth": "YTpi"}"#, vec!["? ", "? a b"]),
        ] {
            assert_eq!(said(&format!(r#"{{"auths": {{{auths}}}}}"#)), read, "{auths}");
        }
    }

    #[test]
    fn a_registrys_own_helper_takes_precedence_over_the_general_one() {
        let text = r#"{"credsStore": "desktop", "credHelpers": {"gcr.io": "gcloud", "https://index.docker.io/v1/": "pass", "quay.io": ""}}"#;
        let (file, left_out) = ConfigFile::read(text).unwrap();
        let helpers = ["gcr.io", "docker.io", "quay.io", "ghcr.io"].map(|registry| file.helper(registry).unwrap());
        assert_eq!(helpers, ["gcloud", "pass", "desktop", "desktop"]);
        assert_eq!((left_out, ConfigFile::default().helper("gcr.io")), (Vec::new(), None));
    }

    #[test]
    fn an_invalid_file_is_refused_without_showing_it() {
        for text in ["", "hunter2", r#"{"auths": ["hunter2"]}"#, r#"{"auths": {"a.io": {"auth": {"hunter2": 1}}}}"#] {
            let said = ConfigFile::read(text).unwrap_err().to_string();
            assert!(said.starts_with("it is not the JSON that Docker") && !said.contains("hunter2"), "{said}");
        }
        assert_eq!(ConfigFile::read("{}").unwrap(), (ConfigFile::default(), Vec::new()));
    }
}
