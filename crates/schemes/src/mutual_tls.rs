//! A client certificate shown to the upstream (RFC 8446 section 4.4.2, RFC 8705). Nothing is added to the
//! request itself; another method may be combined with it for that.

use std::sync::Arc;

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use latchstring_model::SecretString;

use crate::encoding::hex;
use crate::error::SchemeError;
use crate::keys::{self, KeyError, KeyKind};

pub struct MutualTls {
    /// PEM: the client's own certificate and its issuers, in any order.
    pub certificate: String,
    pub private_key: SecretString,
    pub passphrase: Option<SecretString>,
}

/// What egress needs to show a certificate. Connections are pooled per [`TlsIdentity::id`].
#[derive(Clone)]
pub struct TlsIdentity(Arc<Parts>);

struct Parts {
    chain: String,
    key: SecretString,
    id: String,
}

impl TlsIdentity {
    /// The client's own certificate first.
    pub fn cert_chain_pem(&self) -> &str {
        &self.0.chain
    }

    /// Never encrypted: PKCS#8, PKCS#1 or SEC1.
    pub fn key_pem(&self) -> &SecretString {
        &self.0.key
    }

    /// SHA-256 (hex) of the chain and the public key: the same for the same identity, and no secret.
    pub fn id(&self) -> &str {
        &self.0.id
    }
}

impl PartialEq for TlsIdentity {
    fn eq(&self, other: &Self) -> bool {
        self.0.id == other.0.id
    }
}

impl Eq for TlsIdentity {}

fn to_pem(label: &str, der: &[u8]) -> SecretString {
    let encoded = SecretString::new(STANDARD.encode(der));
    let mut text = String::with_capacity(encoded.len() + encoded.len() / 64 + 80);
    text.push_str(&format!("-----BEGIN {label}-----\n"));
    let mut rest = encoded.expose();
    while !rest.is_empty() {
        // Base64 is ASCII, so every offset is a boundary.
        let (line, tail) = rest.split_at(rest.len().min(64));
        text.push_str(line);
        text.push('\n');
        rest = tail;
    }
    text.push_str(&format!("-----END {label}-----\n"));
    SecretString::new(text)
}

impl MutualTls {
    /// Checks that certificate and key are readable and belong together.
    pub fn identity(&self) -> Result<TlsIdentity, SchemeError> {
        let wrong_key = |source| SchemeError::Key { field: "private_key", source };
        let key = keys::read(&self.private_key, self.passphrase.as_ref()).map_err(wrong_key)?;
        if key.key.kind() == KeyKind::RsaPss {
            return Err(wrong_key(KeyError::Unsupported(
                "an RSA key for RSASSA-PSS only, which TLS here cannot use",
            )));
        }
        let bad = || SchemeError::BadCertificate { field: "certificate" };
        let blocks = keys::blocks(&self.certificate).map_err(|_| bad())?;
        let mut certificates = Vec::new();
        let mut own = None;
        for block in &blocks {
            // A key pasted along is not an error, and not sent anywhere.
            if !block.label.ends_with("CERTIFICATE") {
                continue;
            }
            let public = keys::certificate_public_key(&block.der).ok_or_else(bad)?;
            if own.is_none() && public == key.key.public_bits() {
                own = Some(certificates.len());
            }
            certificates.push(block.der.as_slice());
        }
        if certificates.is_empty() {
            return Err(SchemeError::NotACertificate { field: "certificate" });
        }
        let own = own.ok_or(SchemeError::CertificateKeyMismatch)?;
        certificates[..=own].rotate_right(1);

        let mut hash = digest::Context::new(&digest::SHA256);
        let mut chain = String::new();
        for certificate in &certificates {
            hash.update(&u64::try_from(certificate.len()).unwrap_or(u64::MAX).to_be_bytes());
            hash.update(certificate);
            chain.push_str(to_pem("CERTIFICATE", certificate).expose());
        }
        hash.update(key.key.public_bits());
        Ok(TlsIdentity(Arc::new(Parts {
            chain,
            key: to_pem(key.label, key.der.expose()),
            id: hex(hash.finish().as_ref()),
        })))
    }
}
