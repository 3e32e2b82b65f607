//! What only one call has: a JWT or a signature that was made for it. It is looked for in every form of a stored secret,
//! and in base64 also where it was encoded together with what stands around it, as in a whole request.
//!
//! To compile those forms, as is done once for a stored secret, would cost more than the rest of the road. So what is looked
//! for is a short piece out of the end of each form, where a signature is like nothing else. The forms are made where
//! such a piece is found, and for answers that come in pieces.

use std::sync::OnceLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use latchstring_model::SecretString;
use latchstring_schemes::echo;
use latchstring_schemes::encoding::OutputEncoding;
use memchr::memmem;
use zeroize::Zeroizing;

use super::mask;

/// Bytes at the end of a value that stand for all of it.
const END: usize = 12;

type Forms = Vec<Zeroizing<Vec<u8>>>;

pub(super) struct Fresh {
    secret: SecretString,
    pieces: OnceLock<Forms>,
    /// The longest first.
    forms: OnceLock<Forms>,
}

impl Fresh {
    pub fn new(secret: SecretString) -> Self {
        Self { secret, pieces: OnceLock::new(), forms: OnceLock::new() }
    }

    fn pieces(&self) -> &Forms {
        self.pieces.get_or_init(|| pieces(self.secret.expose()))
    }

    fn forms(&self) -> &Forms {
        self.forms.get_or_init(|| forms(self.secret.expose()))
    }

    pub fn is_in(&self, bytes: &[u8]) -> bool {
        // No form is shorter than the value.
        bytes.len() >= self.secret.len() && is_one_in(bytes, self.pieces()) && is_one_in(bytes, self.forms())
    }

    pub fn blot(&self, bytes: &mut [u8]) {
        if !self.is_in(bytes) {
            return;
        }
        for form in self.forms() {
            let found: Vec<usize> = memmem::find_iter(bytes, form.as_slice()).collect();
            for start in found {
                bytes[start..start + form.len()].fill(b'*');
            }
        }
    }

    /// How long an end of `bytes` could be the beginning of a form.
    pub fn open_tail(&self, bytes: &[u8]) -> usize {
        let forms = self.forms();
        mask::open_tail(bytes, forms, forms.first().map_or(0, |longest| longest.len()))
    }
}

fn is_one_in(bytes: &[u8], needles: &Forms) -> bool {
    needles.iter().any(|needle| memmem::find(bytes, needle).is_some())
}

/// Every form in which an API commonly repeats the value, by itself or within something longer.
fn forms(secret: &str) -> Forms {
    let mut forms: Forms =
        echo::forms(secret).into_iter().map(|form| Zeroizing::new(form.into_bytes())).collect();
    for before in 0..3 {
        add_base64(&mut forms, within(secret.as_bytes(), before));
    }
    forms.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.as_slice().cmp(b)));
    forms.dedup();
    forms
}

/// Of the base64 of a longer text the signs that are the value's alone, when so many bytes of another stand `before` it
/// in its first group of three.
fn within(secret: &[u8], before: usize) -> Vec<u8> {
    let text = Zeroizing::new([[0; 2].get(..before).unwrap_or_default(), secret].concat());
    let mut encoded = STANDARD_NO_PAD.encode(&*text).into_bytes();
    encoded.truncate(text.len() * 4 / 3);
    // Signs that have a bit of what stands before: of 8 bits two, of 16 bits three.
    let mixed = (before * 8).div_ceil(6);
    encoded.drain(..mixed);
    encoded
}

/// In both alphabets, if they differ.
fn add_base64(list: &mut Forms, encoded: Vec<u8>) {
    let other: Vec<u8> = encoded
        .iter()
        .map(|sign| match sign {
            b'+' => b'-',
            b'/' => b'_',
            other => *other,
        })
        .collect();
    if other != encoded {
        list.push(Zeroizing::new(other));
    }
    list.push(Zeroizing::new(encoded));
}

/// A part of each form; made from the end of the value, which has the end of each form for its own form.
fn pieces(secret: &str) -> Forms {
    let bytes = secret.as_bytes();
    let Some(start) = bytes.len().checked_sub(END).filter(|start| *start >= 2 && secret.is_ascii()) else {
        return forms(secret);
    };
    let mut pieces = Forms::with_capacity(12);
    for before in 0..3 {
        // Where a group of three begins.
        let end = bytes.get(start - (start + before) % 3..).unwrap_or_default();
        add_base64(&mut pieces, within(end, 0));
    }
    let end = secret.get(start..).unwrap_or_default();
    let texts =
        [OutputEncoding::Hex, OutputEncoding::HexUpper].map(|encoding| encoding.encode(end.as_bytes()));
    let texts = texts.into_iter().chain(echo::written(end));
    pieces.extend(texts.map(|text| Zeroizing::new(text.into_bytes())));
    pieces.sort_by(|a, b| a.as_slice().cmp(b));
    pieces.dedup();
    pieces
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
    use bytes::Bytes;

    use super::super::mask::{Masker, StreamMask};
    use super::*;

    /// A JWT, a signature in base64 whose signs have to be escaped, one in hex, one too short to have an end, and one that
    /// no scheme makes.
    const VALUES: [&str; 6] = [
        "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJtZSJ9.bmljZS1zaWduYXR1cmU_-9Zk-w",
        "y+/1aDq8V7c/HfRrk3mGQz0xk+b9S1vKdTfVJc2l+/8=",
        "d7a8fbb307d7809469ca9abcb0082e4f8d5651e46d3cdb762d02d0bf37c9e592",
        "a%20b&c%2Bd",
        "it is\n\"quoted\"/and\\escaped ~ with an end of its own",
        "schlüssel-für-jeden-aufruf",
    ];

    fn masker(value: &str) -> Masker {
        let mut masker = Masker::new(None, None);
        masker.add_fresh(value.into());
        masker
    }

    fn in_hex(text: &str) -> String {
        text.bytes().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn no_form_is_without_its_piece() {
        for value in VALUES {
            let (pieces, forms) = (pieces(value), forms(value));
            for form in &forms {
                assert!(form.len() >= value.len(), "{value}");
                let found = pieces.iter().any(|piece| memmem::find(form, piece).is_some());
                assert!(found, "{}", String::from_utf8_lossy(form));
            }
            if value.len() > END + 2 && value.is_ascii() {
                assert!(pieces.iter().all(|piece| piece.len() <= 4 * END), "{value}: short ones");
            }
        }
    }

    #[test]
    fn every_form_is_masked() {
        for value in VALUES {
            for form in echo::forms(value) {
                let masked = masker(value).mask_text(&format!("{{\"echo\": \"{form}\"}}"));
                assert_eq!(masked, format!("{{\"echo\": \"{}\"}}", "*".repeat(form.len())), "{form}");
            }
        }
    }

    #[test]
    fn it_is_masked_within_a_longer_text_that_was_encoded() {
        for value in VALUES {
            for before in ["", "a", "ab", "authorization: Bearer "] {
                for after in ["", "z", "\r\nhost: a.example\r\n"] {
                    let text = format!("{before}{value}{after}");
                    let all = [STANDARD.encode(&text), URL_SAFE.encode(&text), URL_SAFE_NO_PAD.encode(&text)];
                    for encoded in all {
                        let masked = masker(value).mask_text(&encoded);
                        // A sign at each end may have bits of what stands beside it.
                        let stars = masked.bytes().filter(|byte| *byte == b'*').count();
                        assert!(stars + 2 >= value.len() * 4 / 3, "{encoded}\n{masked}");
                        assert!(masked.contains(&"*".repeat(stars)), "{masked}: all in a row");
                    }
                    let masked = masker(value).mask_text(&in_hex(&text));
                    let stars = "**".repeat(value.len());
                    assert_eq!(masked, format!("{}{stars}{}", in_hex(before), in_hex(after)));
                }
            }
        }
    }

    #[test]
    fn it_is_found_wherever_an_answer_is_cut() {
        let value = VALUES[1];
        for form in forms(value) {
            let text = [b"before ".as_slice(), &form, b" after"].concat();
            let wanted = masker(value).mask(Bytes::from(text.clone()));
            assert!(memmem::find(&wanted, &form).is_none());
            for cut in 0..=text.len() {
                let mut stream = StreamMask::new(masker(value));
                let mut out = stream.feed(Bytes::copy_from_slice(&text[..cut]), false).to_vec();
                out.extend_from_slice(&stream.feed(Bytes::copy_from_slice(&text[cut..]), true));
                assert_eq!(out.len(), wanted.len());
                // A cut just before the padding: what came so far was a form already.
                let seen = out.iter().zip(&wanted).filter(|(out, wanted)| out != wanted).count();
                assert!(seen <= 3, "{seen} signs when cut at {cut}: {}", String::from_utf8_lossy(&out));
            }
        }
        let mut stream = StreamMask::new(masker(value));
        assert_eq!(stream.feed(Bytes::from_static(b"data: tick\n\n"), false), "data: tick\n\n");
    }

    #[test]
    fn its_end_alone_is_no_echo() {
        let value = VALUES[0];
        let text = format!("{} and {}", &value[1..], &value[..value.len() - 1]);
        assert_eq!(masker(value).mask_text(&text), text);
    }
}
