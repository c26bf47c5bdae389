//! TLS for the clients of registries and of GitHub.

use std::error::Error;
use std::sync::{Arc, OnceLock};

use rustls::ClientConfig;
use rustls::crypto::ring;
use rustls_platform_verifier::BuilderVerifierExt as _;

/// Builds a client that trusts the CAs that this system trusts, or those in the file that `SSL_CERT_FILE` names.
///
/// # Errors
/// There are no trusted CAs.
pub(super) fn client(builder: reqwest::ClientBuilder) -> Result<reqwest::Client, Box<dyn Error + Send + Sync>> {
    Ok(builder.tls_backend_preconfigured(config()?).build()?)
}

/// The same configuration for all clients, because a system has hundreds of certificates to read.
fn config() -> Result<ClientConfig, rustls::Error> {
    static CONFIG: OnceLock<Result<ClientConfig, rustls::Error>> = OnceLock::new();
    CONFIG.get_or_init(read).clone()
}

fn read() -> Result<ClientConfig, rustls::Error> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_platform_verifier()?
        .with_no_client_auth();
    config.alpn_protocols = vec!["http/1.1".into()];
    Ok(config)
}
