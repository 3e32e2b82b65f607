//! How secrets and signatures are written as text.

use base64::Engine;
use base64::alphabet;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use latchstring_model::SecretBytes;

use crate::keys::KeyError;

const INDIFFERENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const ANY_STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, INDIFFERENT);
const ANY_URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, INDIFFERENT);

/// How a shared secret is written in its field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyEncoding {
    /// The text's own UTF-8 bytes.
    #[default]
    Raw,
    Hex,
    /// Either alphabet, padded or not.
    Base64,
}

impl KeyEncoding {
    pub const ALL: &'static [KeyEncoding] = &[KeyEncoding::Raw, KeyEncoding::Hex, KeyEncoding::Base64];

    pub const fn as_str(self) -> &'static str {
        match self {
            KeyEncoding::Raw => "raw",
            KeyEncoding::Hex => "hex",
            KeyEncoding::Base64 => "base64",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|encoding| encoding.as_str() == text)
    }

    /// The secret's bytes. Blanks around hex and base64 are what copying leaves behind.
    pub fn decode(self, text: &str) -> Result<SecretBytes, KeyError> {
        let wrong = KeyError::SecretEncoding { encoding: self.as_str() };
        let bytes = match self {
            KeyEncoding::Raw => return Ok(SecretBytes::new(text.as_bytes())),
            KeyEncoding::Hex => unhex(text.trim()),
            KeyEncoding::Base64 => {
                let text = text.trim();
                ANY_STANDARD.decode(text).or_else(|_| ANY_URL_SAFE.decode(text)).ok()
            }
        };
        match bytes {
            Some(bytes) if !bytes.is_empty() => Ok(SecretBytes::new(bytes)),
            _ => Err(wrong),
        }
    }
}

/// How a digest or a signature is written on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OutputEncoding {
    #[default]
    Hex,
    HexUpper,
    Base64,
    /// Without padding.
    Base64Url,
}

impl OutputEncoding {
    pub const ALL: &'static [OutputEncoding] =
        &[OutputEncoding::Hex, OutputEncoding::HexUpper, OutputEncoding::Base64, OutputEncoding::Base64Url];

    pub const fn as_str(self) -> &'static str {
        match self {
            OutputEncoding::Hex => "hex",
            OutputEncoding::HexUpper => "hex_upper",
            OutputEncoding::Base64 => "base64",
            OutputEncoding::Base64Url => "base64url",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|encoding| encoding.as_str() == text)
    }

    pub fn encode(self, bytes: &[u8]) -> String {
        match self {
            OutputEncoding::Hex => hex(bytes),
            OutputEncoding::HexUpper => hex(bytes).to_ascii_uppercase(),
            OutputEncoding::Base64 => STANDARD.encode(bytes),
            OutputEncoding::Base64Url => URL_SAFE_NO_PAD.encode(bytes),
        }
    }
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    if !text.len().is_multiple_of(2) {
        return None;
    }
    text.as_bytes().chunks_exact(2).map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn secrets_are_read_in_their_encoding() {
        assert_eq!(KeyEncoding::Hex.decode(" 00fF ").unwrap().expose(), [0, 255]);
        for text in ["+/8=", "+/8", "-_8"] {
            assert_eq!(KeyEncoding::Base64.decode(text).unwrap().expose(), [0xfb, 0xff], "{text}");
        }
        for wrong in ["0", "zz", "", "é"] {
            assert!(KeyEncoding::Hex.decode(wrong).is_err(), "{wrong}");
        }
        assert_eq!(OutputEncoding::HexUpper.encode(&[0xab]), "AB");
        assert_eq!(OutputEncoding::Base64Url.encode(&[0xfb, 0xff]), "-_8");
    }
}
