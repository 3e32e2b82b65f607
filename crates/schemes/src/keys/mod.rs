//! Private keys as people paste them, read once into a form that signs.
//!
//! Accepted: PKCS#8 (RFC 5958, also encrypted with PBES2), PKCS#1 (RFC 8017 A.1.2) and SEC1 (RFC 5915),
//! as PEM (RFC 7468) or as the base64 of the DER alone. Whatever a form, a JSON file or a shell may
//! have done to the line ends is undone. What is not a private key is named for what it is.

mod der;
mod error;
mod facts;
mod parsed;
mod text;

use aws_lc_rs::rsa;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P256K1_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING,
    ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair,
};
use latchstring_model::{SecretBytes, SecretString, Timestamp};
use zeroize::Zeroizing;

pub(crate) use self::der::certificate_public_key;
pub use self::error::{KeyError, KeyKind};
pub use self::facts::{KeyFacts, facts};
pub use self::parsed::{ParsedKeys, Remembered, read_so_far};
use self::text::Found;
pub(crate) use self::text::blocks;

/// When the first of the certificates ends that stand in a text; what cannot be read as one is passed over.
pub fn certificates_end(text: &str) -> Option<Timestamp> {
    let blocks = blocks(text).ok()?;
    let certificates = blocks.iter().filter(|block| block.label.ends_with("CERTIFICATE"));
    certificates.filter_map(|block| der::certificate_end(&block.der)).min()
}

/// A parsed private key, not yet tied to an algorithm.
pub(crate) enum PrivateKey {
    Rsa { pair: Box<rsa::KeyPair>, pss_only: bool },
    Ec { pair: EcdsaKeyPair, kind: KeyKind },
    Ed25519(Ed25519KeyPair),
}

/// A private key and the DER that it was read from (decrypted, with the PEM label that names its form).
pub(crate) struct ReadKey {
    pub key: PrivateKey,
    pub der: SecretBytes,
    pub label: &'static str,
}

impl PrivateKey {
    pub(crate) fn kind(&self) -> KeyKind {
        match self {
            PrivateKey::Rsa { pss_only: true, .. } => KeyKind::RsaPss,
            PrivateKey::Rsa { .. } => KeyKind::Rsa,
            PrivateKey::Ec { kind, .. } => *kind,
            PrivateKey::Ed25519(_) => KeyKind::Ed25519,
        }
    }

    /// The public half as a certificate's BIT STRING holds it: `RSAPublicKey`, an uncompressed point, 32 bytes.
    pub(crate) fn public_bits(&self) -> &[u8] {
        match self {
            PrivateKey::Rsa { pair, .. } => pair.public_key().as_ref(),
            PrivateKey::Ec { pair, .. } => pair.public_key().as_ref(),
            PrivateKey::Ed25519(pair) => pair.public_key().as_ref(),
        }
    }
}

/// Reads a private key from what a person typed.
pub(crate) fn read(key: &SecretString, passphrase: Option<&SecretString>) -> Result<ReadKey, KeyError> {
    parsed::count_read();
    let der = match text::find(key.expose())? {
        Found::Der(der) => der,
        Found::Encrypted(der) => decrypt(&der, passphrase)?,
    };
    let (key, label) = read_der(&der)?;
    Ok(ReadKey { key, der: SecretBytes::new(der.as_slice()), label })
}

fn read_der(bytes: &[u8]) -> Result<(PrivateKey, &'static str), KeyError> {
    match der::classify(bytes) {
        der::Shape::Pkcs8 => Ok((read_pkcs8(bytes)?, "PRIVATE KEY")),
        der::Shape::Pkcs1 => Ok((read_rsa(bytes, false)?, "RSA PRIVATE KEY")),
        der::Shape::Sec1 => Ok((read_ec(bytes)?, "EC PRIVATE KEY")),
        // Only met within an encrypted one; outermost, the reader of the text has decrypted it.
        der::Shape::EncryptedPkcs8 => Err(KeyError::Garbled),
        der::Shape::PublicKey => Err(KeyError::PublicKey),
        der::Shape::Certificate => Err(KeyError::Certificate),
        der::Shape::CertificateRequest => Err(KeyError::CertificateRequest),
        der::Shape::Pkcs12 => Err(KeyError::Pkcs12),
        der::Shape::Other => Err(KeyError::Garbled),
    }
}

fn read_pkcs8(bytes: &[u8]) -> Result<PrivateKey, KeyError> {
    let info = pkcs8::PrivateKeyInfoRef::try_from(bytes).map_err(|_| KeyError::Garbled)?;
    match info.algorithm.oid.to_string().as_str() {
        "1.2.840.113549.1.1.1" => read_rsa(info.private_key.as_bytes(), false),
        "1.2.840.113549.1.1.10" => read_rsa(info.private_key.as_bytes(), true),
        "1.2.840.10045.2.1" => read_ec(bytes),
        "1.3.101.112" => {
            Ed25519KeyPair::from_pkcs8(bytes).map(PrivateKey::Ed25519).map_err(|_| KeyError::Garbled)
        }
        "1.3.101.113" => Err(KeyError::Unsupported("an Ed448 key")),
        "1.3.101.110" | "1.3.101.111" => {
            Err(KeyError::Unsupported("an X25519 or X448 key, which cannot sign"))
        }
        "1.2.840.10040.4.1" => Err(KeyError::Unsupported("a DSA key")),
        "1.2.840.113549.1.3.1" | "1.2.840.10046.2.1" => {
            Err(KeyError::Unsupported("a Diffie-Hellman key, which cannot sign"))
        }
        _ => Err(KeyError::Unsupported("a key of another family")),
    }
}

/// Shorter RSA keys are refused by every provider that checks, and RFC 7518 section 3.3 forbids them.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

fn read_rsa(pkcs1: &[u8], pss_only: bool) -> Result<PrivateKey, KeyError> {
    let bits = der::rsa_bits(pkcs1).ok_or(KeyError::Garbled)?;
    if bits < *RSA_BITS.start() {
        return Err(KeyError::RsaTooShort { bits });
    }
    if bits > *RSA_BITS.end() {
        return Err(KeyError::RsaTooLong { bits });
    }
    let pair = rsa::KeyPair::from_der(pkcs1).map_err(|_| KeyError::Garbled)?;
    Ok(PrivateKey::Rsa { pair: Box::new(pair), pss_only })
}

fn read_ec(bytes: &[u8]) -> Result<PrivateKey, KeyError> {
    // A SEC1 key may leave its curve out; the smallest curve that its scalar fits is then the right one.
    static CURVES: [(&EcdsaSigningAlgorithm, KeyKind); 3] = [
        (&ECDSA_P256_SHA256_FIXED_SIGNING, KeyKind::P256),
        (&ECDSA_P384_SHA384_FIXED_SIGNING, KeyKind::P384),
        (&ECDSA_P521_SHA512_FIXED_SIGNING, KeyKind::P521),
    ];
    for (algorithm, kind) in CURVES {
        if let Ok(pair) = EcdsaKeyPair::from_private_key_der(algorithm, bytes) {
            return Ok(PrivateKey::Ec { pair, kind });
        }
    }
    if EcdsaKeyPair::from_private_key_der(&ECDSA_P256K1_SHA256_ASN1_SIGNING, bytes).is_ok() {
        return Err(KeyError::Unsupported("a key on the curve secp256k1"));
    }
    Err(KeyError::UnknownCurve)
}

/// More than this is not protection but a way to keep a server busy (OpenSSL writes 2,048, OWASP asks for 600,000).
const MAX_PBKDF2_ROUNDS: u32 = 2_000_000;
const MAX_SCRYPT_BYTES: u64 = 64 * 1024 * 1024;

fn decrypt(bytes: &[u8], passphrase: Option<&SecretString>) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let Some(passphrase) = passphrase.filter(|p| !p.is_empty()) else {
        return Err(KeyError::PassphraseMissing);
    };
    let info =
        pkcs8::EncryptedPrivateKeyInfoRef::try_from(bytes).map_err(|_| KeyError::UnsupportedEncryption)?;
    let Some(scheme) = info.encryption_algorithm.pbes2() else {
        return Err(KeyError::UnsupportedEncryption);
    };
    if scheme.kdf.pbkdf2().is_some_and(|kdf| kdf.iteration_count > MAX_PBKDF2_ROUNDS) {
        return Err(KeyError::TooExpensive);
    }
    if let Some(kdf) = scheme.kdf.scrypt() {
        let memory = kdf.cost_parameter.saturating_mul(u64::from(kdf.block_size)).saturating_mul(128);
        if memory > MAX_SCRYPT_BYTES || kdf.parallelization > 16 {
            return Err(KeyError::TooExpensive);
        }
    }
    let document = info.decrypt(passphrase.expose().as_bytes()).map_err(|error| match error {
        pkcs8::Error::EncryptedPrivateKey(
            pkcs8::pkcs5::Error::UnsupportedAlgorithm { .. }
            | pkcs8::pkcs5::Error::NoPbes1CryptSupport
            | pkcs8::pkcs5::Error::AlgorithmParametersInvalid { .. },
        ) => KeyError::UnsupportedEncryption,
        _ => KeyError::WrongPassphrase,
    })?;
    let plain = Zeroizing::new(document.as_bytes().to_vec());
    // One wrong passphrase in some hundred leaves a padding that looks right.
    if matches!(der::classify(&plain), der::Shape::Pkcs8) {
        Ok(plain)
    } else {
        Err(KeyError::WrongPassphrase)
    }
}
