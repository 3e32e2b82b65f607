//! Just enough DER (X.690) to tell what a blob is before a cryptographic parser sees it.

use latchstring_model::Timestamp;
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

/// The fields of a certificate's `tbsCertificate` from `serialNumber` on (RFC 5280 section 4.1).
fn certificate_fields(der: &[u8]) -> Option<Vec<AnyRef<'_>>> {
    if classify(der) != Shape::Certificate {
        return None;
    }
    let mut fields = elements(children(der)?.first()?.value())?;
    // version is there in every certificate but those of 1988.
    if !matches!(fields.first()?.tag(), Tag::Integer) {
        fields.remove(0);
    }
    Some(fields)
}

/// `notAfter` of a certificate. Years of two digits are those from 1950 to 2049.
pub(crate) fn certificate_end(der: &[u8]) -> Option<Timestamp> {
    let fields = certificate_fields(der)?;
    let end = elements(fields.get(3)?.value())?.get(1).copied()?;
    let text = std::str::from_utf8(end.value()).ok()?.strip_suffix('Z')?;
    let whole = match end.tag() {
        Tag::UtcTime if text.len() == 12 => {
            let century = if text.get(..2)? < "50" { "20" } else { "19" };
            format!("{century}{text}")
        }
        Tag::GeneralizedTime if text.len() == 14 => text.to_owned(),
        _ => return None,
    };
    let part =
        |from: usize, to: usize| whole.get(from..to).filter(|part| part.bytes().all(|b| b.is_ascii_digit()));
    let (year, month, day) = (part(0, 4)?, part(4, 6)?, part(6, 8)?);
    let (hour, minute, second) = (part(8, 10)?, part(10, 12)?, part(12, 14)?);
    Timestamp::parse_rfc3339(&format!("{year}-{month}-{day}T{hour}:{minute}:{second}Z"))
}

/// The bytes of a certificate's `subjectPublicKey` BIT STRING (RFC 5280 section 4.1).
pub(crate) fn certificate_public_key(der: &[u8]) -> Option<Vec<u8>> {
    let fields = certificate_fields(der)?;
    let bits = elements(fields.get(5)?.value())?;
    let bits = bits.get(1).filter(|part| part.tag() == Tag::BitString)?.value();
    // The first byte counts unused bits: none, for whole bytes.
    bits.strip_prefix(&[0]).map(<[u8]>::to_vec)
}
