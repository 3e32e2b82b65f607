//! Just enough DER (X.690) to tell what a blob is before a cryptographic parser sees it.

use pkcs8::der::asn1::AnyRef;
use pkcs8::der::{Decode, Reader, SliceReader, Tag, Tagged};

/// What a DER blob turns out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Pkcs8,
    EncryptedPkcs8,
    Pkcs1,
    Sec1,
    PublicKey,
    Certificate,
    CertificateRequest,
    Pkcs12,
    Other,
}

/// The elements of an outer SEQUENCE that is the whole of `der`.
pub(crate) fn children(der: &[u8]) -> Option<Vec<AnyRef<'_>>> {
    let mut reader = SliceReader::new(der).ok()?;
    let outer = AnyRef::decode(&mut reader).ok()?;
    if outer.tag() != Tag::Sequence || !reader.is_finished() {
        return None;
    }
    elements(outer.value())
}

fn elements(content: &[u8]) -> Option<Vec<AnyRef<'_>>> {
    let mut reader = SliceReader::new(content).ok()?;
    let mut found = Vec::new();
    while !reader.is_finished() {
        found.push(AnyRef::decode(&mut reader).ok()?);
    }
    Some(found)
}

pub(crate) fn classify(der: &[u8]) -> Shape {
    let Some(parts) = children(der) else { return Shape::Other };
    let tags: Vec<Tag> = parts.iter().map(|part| part.tag()).collect();
    match tags.as_slice() {
        [Tag::Integer, Tag::Sequence, Tag::OctetString, ..] => Shape::Pkcs8,
        [Tag::Integer, Tag::OctetString, ..] => Shape::Sec1,
        [Tag::Integer, Tag::Integer] => Shape::PublicKey,
        [Tag::Integer, Tag::Integer, ..] if tags.len() >= 9 => Shape::Pkcs1,
        [Tag::Integer, Tag::Sequence, ..] if parts[0].value() == [3] => Shape::Pkcs12,
        [Tag::Sequence, Tag::OctetString] => Shape::EncryptedPkcs8,
        [Tag::Sequence, Tag::BitString] => Shape::PublicKey,
        [Tag::Sequence, Tag::Sequence, Tag::BitString] => {
            let inner = elements(parts[0].value()).unwrap_or_default();
            if inner.len() >= 6 { Shape::Certificate } else { Shape::CertificateRequest }
        }
        _ => Shape::Other,
    }
}

/// The length of an `RSAPrivateKey`'s modulus in bits.
pub(crate) fn rsa_bits(pkcs1: &[u8]) -> Option<usize> {
    let parts = children(pkcs1)?;
    let modulus = parts.get(1).filter(|part| part.tag() == Tag::Integer)?.value();
    let first = modulus.iter().position(|byte| *byte != 0)?;
    let significant = &modulus[first..];
    let head = significant.first()?.leading_zeros();
    (significant.len() * 8).checked_sub(usize::try_from(head).ok()?)
}

/// The bytes of a certificate's `subjectPublicKey` BIT STRING (RFC 5280 section 4.1).
pub(crate) fn certificate_public_key(der: &[u8]) -> Option<Vec<u8>> {
    if classify(der) != Shape::Certificate {
        return None;
    }
    let tbs = children(der)?;
    let fields = elements(tbs.first()?.value())?;
    // version is there in every certificate but those of 1988.
    let has_version = !matches!(fields.first()?.tag(), Tag::Integer);
    let spki = fields.get(if has_version { 6 } else { 5 })?;
    let bits = elements(spki.value())?;
    let bits = bits.get(1).filter(|part| part.tag() == Tag::BitString)?.value();
    // The first byte counts unused bits: none, for whole bytes.
    bits.strip_prefix(&[0]).map(<[u8]>::to_vec)
}
