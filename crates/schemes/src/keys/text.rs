//! From pasted text to DER: armour, line ends, quotes, missing wraps.

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use zeroize::Zeroizing;

use super::der::{self, Shape};
use super::error::KeyError;

const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

pub(super) enum Found {
    Der(Zeroizing<Vec<u8>>),
    Encrypted(Zeroizing<Vec<u8>>),
}

/// One PEM block.
pub(crate) struct Block {
    pub label: String,
    pub der: Zeroizing<Vec<u8>>,
    /// `Proc-Type: 4,ENCRYPTED`: OpenSSL's own encryption of before PKCS#8.
    pub legacy_encrypted: bool,
}

/// Undoes what JSON, shells and forms do to a PEM: literal `\n` (also escaped twice), `\/`, CRLF, a byte-order
/// mark, quotes around it.
fn tidy(text: &str) -> Zeroizing<String> {
    let text = text.trim_start_matches('\u{feff}').trim();
    let mut text = Zeroizing::new(text.replace('\r', "\n"));
    if text.contains('\\') {
        // No key format has a backslash of its own.
        for (escape, plain) in [("\\r", ""), ("\\n", "\n"), ("\\", "")] {
            text = Zeroizing::new(text.replace(escape, plain));
        }
    }
    let inner = text.trim();
    let unquoted = inner
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
        .or_else(|| inner.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')))
        .unwrap_or(inner);
    Zeroizing::new(unquoted.trim().to_owned())
}

fn decode(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let mut packed = Zeroizing::new(Vec::with_capacity(text.len()));
    packed.extend(text.bytes().filter(|byte| !byte.is_ascii_whitespace()));
    if packed.is_empty() {
        return None;
    }
    LENIENT.decode(packed.as_slice()).ok().map(Zeroizing::new)
}

/// All PEM blocks of a text, in their order.
pub(crate) fn blocks(text: &str) -> Result<Vec<Block>, KeyError> {
    let text = tidy(text);
    let mut rest: &str = &text;
    let mut found = Vec::new();
    while let Some(at) = rest.find("-----BEGIN ") {
        let after = &rest[at + "-----BEGIN ".len()..];
        let (label, body) = after.split_once("-----").ok_or(KeyError::CutOff)?;
        let end = format!("-----END {label}-----");
        let (body, tail) = body.split_once(end.as_str()).ok_or(KeyError::CutOff)?;
        let legacy_encrypted = body.contains("Proc-Type:") && body.contains("ENCRYPTED");
        // Headers (RFC 1421) end at an empty line; a PEM on one line has lost it, but then also its meaning.
        let body =
            if body.contains(':') { body.split_once("\n\n").map_or("", |(_, data)| data) } else { body };
        let der = match decode(body) {
            Some(der) => der,
            None if legacy_encrypted => Zeroizing::default(),
            None => return Err(KeyError::NotBase64),
        };
        found.push(Block { label: label.trim().to_owned(), der, legacy_encrypted });
        rest = tail;
    }
    Ok(found)
}

/// The private key in a text, or what the text is instead.
pub(super) fn find(text: &str) -> Result<Found, KeyError> {
    let tidied = tidy(text);
    if tidied.is_empty() {
        return Err(KeyError::Empty);
    }
    if tidied.starts_with('{') {
        return Err(if tidied.contains("\"kty\"") { KeyError::Jwk } else { KeyError::Json });
    }
    if tidied.starts_with("PuTTY-User-Key-File") {
        return Err(KeyError::Putty);
    }
    if tidied.starts_with("ssh-") || tidied.starts_with("ecdsa-sha2-") {
        return Err(KeyError::OpenSshPublic);
    }
    let blocks = blocks(&tidied)?;
    if blocks.is_empty() {
        return bare(&tidied);
    }
    // Beside a key there are often its certificates, or the parameters of its curve.
    let private = blocks.iter().find(|block| block.label.ends_with("PRIVATE KEY"));
    let Some(block) = private.or(blocks.first()) else { return Err(KeyError::NotAPem) };
    if block.legacy_encrypted {
        return Err(KeyError::LegacyEncryption);
    }
    match block.label.as_str() {
        "ENCRYPTED PRIVATE KEY" => Ok(Found::Encrypted(block.der.clone())),
        // The content decides, not the label: the two are mixed up often enough.
        "PRIVATE KEY" | "RSA PRIVATE KEY" | "EC PRIVATE KEY" => Ok(by_content(block.der.clone())),
        "OPENSSH PRIVATE KEY" => Err(KeyError::OpenSsh),
        "CERTIFICATE" | "X509 CERTIFICATE" | "TRUSTED CERTIFICATE" => Err(KeyError::Certificate),
        "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST" => Err(KeyError::CertificateRequest),
        "PUBLIC KEY" | "RSA PUBLIC KEY" | "SSH2 PUBLIC KEY" => Err(KeyError::PublicKey),
        "DSA PRIVATE KEY" => Err(KeyError::Unsupported("a DSA key")),
        "EC PARAMETERS" => Err(KeyError::Unsupported("only the parameters of a curve, without the key")),
        "PGP PRIVATE KEY BLOCK" | "PGP PUBLIC KEY BLOCK" => Err(KeyError::Unsupported("an OpenPGP key")),
        _ => Err(KeyError::Garbled),
    }
}

fn by_content(der: Zeroizing<Vec<u8>>) -> Found {
    if der::classify(&der) == Shape::EncryptedPkcs8 { Found::Encrypted(der) } else { Found::Der(der) }
}

/// Base64 without armour: taken only when it is DER of a known shape, so that nothing is guessed.
fn bare(text: &str) -> Result<Found, KeyError> {
    let Some(der) = decode(text) else { return Err(KeyError::NotAPem) };
    if der.starts_with(b"-----BEGIN ") {
        return Err(KeyError::Base64OfPem);
    }
    match der::classify(&der) {
        Shape::Other => Err(KeyError::NotAPem),
        _ => Ok(by_content(der)),
    }
}
