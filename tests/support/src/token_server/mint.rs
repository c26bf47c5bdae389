//! The key that signs tokens, and the format of a token: a [JWT] that contains the certificate for the key.
//!
//! [JWT]: https://distribution.github.io/distribution/spec/auth/jwt/

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD as BASE64, URL_SAFE_NO_PAD as BASE64_URL};
use chrono::Utc;
use rcgen::{CertificateParams, KeyPair};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use serde_json::{Value, json};

/// Distribution accepts a token for this many seconds after its `exp` (its constant `Leeway`).
const LEEWAY: i64 = 60;

/// A key for signing tokens, and its certificate.
#[derive(Debug, Clone)]
pub struct Mint {
    key: Arc<EcdsaKeyPair>,
    certificate: String,
    certificate_der: Vec<u8>,
}

impl Mint {
    pub(super) const SERVICE: &str = "registry.test";
    pub(super) const ISSUER: &str = "token-server.test";

    pub(super) fn new() -> Self {
        let key = KeyPair::generate().expect("a key can be made");
        let parameters = CertificateParams::new(vec![Self::ISSUER.into()]).expect("the name is valid");
        let certificate = parameters.self_signed(&key).expect("a certificate can be signed");
        let key =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key.serialized_der(), &SystemRandom::new());
        Self {
            key: Arc::new(key.expect("the key is a P-256 one")),
            certificate: certificate.pem(),
            certificate_der: certificate.der().to_vec(),
        }
    }

    /// A token for `user` with `(repository, actions)`, accepted for `lifetime` seconds.
    pub fn token(&self, user: &str, access: &[(&str, &str)], lifetime: i64) -> String {
        let access: Vec<Value> = access
            .iter()
            .map(|(name, actions)| json!({ "type": "repository", "name": name, "actions": actions.split(',').collect::<Vec<_>>() }))
            .collect();
        self.sign(user, Self::SERVICE, &access, lifetime)
    }

    pub(super) fn sign(&self, user: &str, service: &str, access: &[Value], lifetime: i64) -> String {
        let now = Utc::now().timestamp();
        let header = json!({ "typ": "JWT", "alg": "ES256", "x5c": [BASE64.encode(&self.certificate_der)] });
        let claims = json!({
            "iss": Self::ISSUER,
            "sub": user,
            "aud": service,
            "exp": now + lifetime - LEEWAY,
            "nbf": now - LEEWAY,
            "iat": now,
            "jti": format!("{:016x}", fastrand::u64(..)),
            "access": access,
        });
        let signed = [header, claims].map(|part| BASE64_URL.encode(part.to_string())).join(".");
        let signature = self.key.sign(&SystemRandom::new(), signed.as_bytes()).expect("the system has randomness");
        format!("{signed}.{}", BASE64_URL.encode(signature))
    }

    /// The certificate for verifying tokens, as PEM.
    pub(super) fn certificate(&self) -> &str {
        &self.certificate
    }
}
