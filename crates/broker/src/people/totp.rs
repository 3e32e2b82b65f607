//! Time-based one-time codes (RFC 6238 over RFC 4226) and recovery codes, as arithmetic: no clock, no store.
//!
//! Ours are what every app understands: SHA-1, six digits, thirty seconds, a secret of 160 bits (RFC 4226 section 4,
//! R6). SHA-1 is not at fault here: HMAC does not need its collision resistance.

use aws_lc_rs::hmac;
use latchstring_model::{Entropy, SecretBytes, SecretString, Timestamp};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use zeroize::Zeroizing;

use crate::people::random;

const SECRET_BYTES: usize = 20;
pub const DIGITS: u32 = 6;
pub const STEP_SECS: i64 = 30;
/// Steps before and after now whose codes are taken: clocks differ, and people type slowly (RFC 6238 section 5.2).
const SKEW: i64 = 1;

/// How many recovery codes there are at once.
pub const RECOVERY_CODES: usize = 10;
/// Characters of one, dashes not counted: 80 bits.
const RECOVERY_LENGTH: usize = 16;

/// RFC 4648 section 6.
const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

fn base32(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 8 / 5 + 1);
    let (mut held, mut bits) = (0_u32, 0);
    for byte in bytes {
        held = (held << 8) | u32::from(*byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            text.push(char::from(BASE32[(held >> bits) as usize & 31]));
        }
        held &= (1 << bits) - 1;
    }
    if bits > 0 {
        text.push(char::from(BASE32[(held << (5 - bits)) as usize & 31]));
    }
    text
}

pub fn new_secret(entropy: &dyn Entropy) -> SecretBytes {
    let mut bytes = Zeroizing::new([0; SECRET_BYTES]);
    entropy.fill(bytes.as_mut());
    SecretBytes::new(bytes.to_vec())
}

/// As an app wants it typed.
pub fn written(secret: &SecretBytes) -> SecretString {
    SecretString::new(base32(secret.expose()))
}

/// As an app reads it from a picture (the de-facto "Key Uri Format").
pub fn uri(secret: &SecretBytes, issuer: &str, account: &str) -> SecretString {
    let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    // A colon separates the two: in a name it would not be read back.
    let issuer = encode(&issuer.replace(':', " "));
    SecretString::new(format!(
        "otpauth://totp/{issuer}:{}?secret={}&issuer={issuer}&algorithm=SHA1&digits={DIGITS}&period={STEP_SECS}",
        encode(&account.replace(':', " ")),
        base32(secret.expose()),
    ))
}

/// RFC 4226 section 5.3.
fn code(algorithm: hmac::Algorithm, secret: &[u8], step: i64, digits: u32) -> String {
    let tag = hmac::sign(&hmac::Key::new(algorithm, secret), &step.to_be_bytes());
    let tag = tag.as_ref();
    let at = tag.last().map_or(0, |byte| usize::from(byte & 15));
    let number = tag.iter().skip(at).take(4).fold(0_u32, |number, byte| (number << 8) | u32::from(*byte));
    let number = (number & 0x7fff_ffff) % 10_u32.pow(digits);
    format!("{number:0width$}", width = digits as usize)
}

fn step_at(now: Timestamp) -> i64 {
    now.millis().div_euclid(1000 * STEP_SECS)
}

/// What people type: `123 456` is the same.
fn digits_of(typed: &SecretString) -> Option<Zeroizing<String>> {
    let digits: Zeroizing<String> =
        Zeroizing::new(typed.expose().chars().filter(|c| !c.is_whitespace()).collect());
    (digits.len() == DIGITS as usize && digits.bytes().all(|b| b.is_ascii_digit())).then_some(digits)
}

/// The time step whose code this is, if it is a code of now and none of `last_step` or before. All steps are looked
/// at, whichever fits.
pub fn step_of(secret: &SecretBytes, typed: &SecretString, now: Timestamp, last_step: i64) -> Option<i64> {
    let typed = digits_of(typed)?;
    let here = step_at(now);
    let mut found = None;
    for step in here - SKEW..=here + SKEW {
        let right = code(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.expose(), step, DIGITS);
        let fits = aws_lc_rs::constant_time::verify_slices_are_equal(right.as_bytes(), typed.as_bytes());
        if fits.is_ok() && step > last_step && found.is_none() {
            found = Some(step);
        }
    }
    found
}

/// The code that an app shows at a moment: for tests, and for nobody else.
pub fn code_at(secret: &SecretBytes, now: Timestamp) -> String {
    code(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.expose(), step_at(now), DIGITS)
}

/// `ABCD-EFGH-IJKL-MNOP`.
pub fn new_recovery_code(entropy: &dyn Entropy) -> SecretString {
    let mut bytes = Zeroizing::new([0; RECOVERY_LENGTH * 5 / 8]);
    entropy.fill(bytes.as_mut());
    let text = Zeroizing::new(base32(bytes.as_ref()));
    let parts: Vec<&str> = (0..RECOVERY_LENGTH / 4).filter_map(|i| text.get(i * 4..i * 4 + 4)).collect();
    SecretString::new(parts.join("-"))
}

/// The hash of what could be a recovery code: upper and lower case, dashes and blanks do not matter. With its
/// person, so that one code is two hashes for two people.
pub fn recovery_hash(user: &str, typed: &SecretString) -> Option<[u8; 32]> {
    let plain: Zeroizing<String> = Zeroizing::new(
        typed
            .expose()
            .chars()
            .filter(|c| !c.is_whitespace() && *c != '-')
            .map(|c| c.to_ascii_uppercase())
            .collect(),
    );
    if plain.len() != RECOVERY_LENGTH || !plain.bytes().all(|b| BASE32.contains(&b)) {
        return None;
    }
    let text = Zeroizing::new(format!("recovery {user} {}", plain.as_str()));
    Some(random::hash(&text))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// RFC 6238 appendix B: the reference implementation's keys, all eighteen codes.
    #[test]
    fn the_official_codes() {
        let keys = [
            (hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, "12345678901234567890"),
            (hmac::HMAC_SHA256, "12345678901234567890123456789012"),
            (hmac::HMAC_SHA512, "1234567890123456789012345678901234567890123456789012345678901234"),
        ];
        let vectors = [
            (59, ["94287082", "46119246", "90693936"]),
            (1_111_111_109, ["07081804", "68084774", "25091201"]),
            (1_111_111_111, ["14050471", "67062674", "99943326"]),
            (1_234_567_890, ["89005924", "91819424", "93441116"]),
            (2_000_000_000, ["69279037", "90698825", "38618901"]),
            (20_000_000_000_i64, ["65353130", "77737706", "47863826"]),
        ];
        for (secs, expected) in vectors {
            for ((algorithm, key), code_of) in keys.iter().zip(expected) {
                let step = step_at(Timestamp(secs * 1000));
                assert_eq!(code(*algorithm, key.as_bytes(), step, 8), code_of, "{secs}");
            }
        }
    }

    /// RFC 4226 appendix D.
    #[test]
    fn the_official_counters() {
        let expected = [
            "755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583", "399871",
            "520489",
        ];
        for (step, expected) in (0_i64..).zip(expected) {
            assert_eq!(code(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, b"12345678901234567890", step, 6), expected);
        }
    }

    /// RFC 4648 section 10.
    #[test]
    fn the_official_letters() {
        for (plain, text) in [
            ("", ""),
            ("f", "MY"),
            ("fo", "MZXQ"),
            ("foo", "MZXW6"),
            ("foob", "MZXW6YQ"),
            ("fooba", "MZXW6YTB"),
            ("foobar", "MZXW6YTBOI"),
        ] {
            assert_eq!(base32(plain.as_bytes()), text);
        }
    }

    fn secret() -> SecretBytes {
        SecretBytes::new(b"12345678901234567890".to_vec())
    }

    const NOW: Timestamp = Timestamp(1_800_000_000_000);

    #[test]
    fn a_code_is_good_a_step_before_and_after_and_once() {
        let at = |steps: i64| code_at(&secret(), NOW.plus_millis(steps * 30_000)).into();
        let here = step_at(NOW);
        for (steps, good) in [(-2, false), (-1, true), (0, true), (1, true), (2, false)] {
            let found = step_of(&secret(), &at(steps), NOW, 0);
            assert_eq!(found, good.then_some(here + steps), "{steps}");
        }
        assert_eq!(step_of(&secret(), &at(0), NOW, here), None, "used");
        assert_eq!(step_of(&secret(), &at(-1), NOW, here), None, "older than one that was used");
        assert_eq!(step_of(&secret(), &at(1), NOW, here), Some(here + 1));
    }

    #[test]
    fn codes_are_read_as_people_type_them() {
        let code = code_at(&secret(), NOW);
        let spaced = format!(" {} {} ", &code[..3], &code[3..]);
        assert!(step_of(&secret(), &spaced.into(), NOW, 0).is_some());
        for bad in ["", "12345", "1234567", "abcdef", "１２３４５６", "-12345"] {
            assert_eq!(step_of(&secret(), &bad.into(), NOW, 0), None, "{bad}");
        }
    }

    #[test]
    fn an_app_reads_the_secret() {
        let text = uri(&secret(), "Acme: Keys", "ada@example.org");
        assert_eq!(
            text.expose(),
            "otpauth://totp/Acme%20%20Keys:ada%40example%2Eorg?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=Acme%20%20Keys&algorithm=SHA1&digits=6&period=30"
        );
    }

    #[test]
    fn recovery_codes_are_read_as_people_type_them() {
        struct Count;
        impl Entropy for Count {
            fn fill(&self, bytes: &mut [u8]) {
                bytes.iter_mut().zip(1..).for_each(|(byte, i)| *byte = i);
            }
        }
        let code = new_recovery_code(&Count);
        assert_eq!(code.expose(), "AEBA-GBAF-AYDQ-QCIK");
        let hash = recovery_hash("usr_1", &code).unwrap();
        assert_eq!(recovery_hash("usr_1", &"aebagbaf aydqqcik".into()), Some(hash));
        assert_ne!(recovery_hash("usr_2", &code), Some(hash));
        for bad in ["", "AEBA-GBAF-AYDQ", "AEBA-GBAF-AYDQ-QCI1", "123456"] {
            assert_eq!(recovery_hash("usr_1", &bad.into()), None, "{bad}");
        }
    }
}
