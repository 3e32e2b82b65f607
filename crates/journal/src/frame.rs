//! How a record lies in a file: see the crate's page.

/// The longest body, in bytes (1 MiB). A longer one is refused when it is appended.
pub const MAX_BODY: usize = 1 << 20;

/// `llllllll cccccccc `
pub(crate) const HEADER: usize = 18;

/// Appends a frame around what `body` writes. Gives back the frame's length, or the body's length
/// when that is too long; then `out` is as before.
pub(crate) fn push(out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) -> Result<usize, usize> {
    let start = out.len();
    out.extend_from_slice(&[b' '; HEADER]);
    body(out);
    let length = out.len() - start - HEADER;
    if length > MAX_BODY {
        out.truncate(start);
        return Err(length);
    }
    let digits = hex(u32::try_from(length).unwrap_or(u32::MAX));
    let checksum = hex(checksum(&digits, &out[start + HEADER..]));
    out[start..start + 8].copy_from_slice(&digits);
    out[start + 9..start + 17].copy_from_slice(&checksum);
    out.push(b'\n');
    Ok(HEADER + length + 1)
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Parsed<'a> {
    /// `length` is that of the whole frame.
    Frame { body: &'a [u8], length: usize },
    /// A frame could begin like this.
    Short,
    /// No frame begins like this.
    Bad,
}

/// What `bytes` begin with.
pub(crate) fn parse(bytes: &[u8]) -> Parsed<'_> {
    let Some((head, rest)) = bytes.split_at_checked(HEADER) else {
        return Parsed::Short;
    };
    let (Some(length), Some(expected)) = (number(&head[..8]), number(&head[9..17])) else {
        return Parsed::Bad;
    };
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    if head[8] != b' ' || head[17] != b' ' || length > MAX_BODY {
        return Parsed::Bad;
    }
    let (Some(body), Some(end)) = (rest.get(..length), rest.get(length)) else {
        return Parsed::Short;
    };
    if *end != b'\n' || checksum(&head[..8], body) != expected {
        return Parsed::Bad;
    }
    Parsed::Frame { body, length: HEADER + length + 1 }
}

/// The end of the last frame that lies whole within the first `written` bytes of `frames`.
pub(crate) fn whole_within(frames: &[u8], written: usize) -> usize {
    let mut end = 0;
    while let Parsed::Frame { length, .. } = parse(&frames[end..]) {
        if end + length > written {
            break;
        }
        end += length;
    }
    end
}

fn checksum(digits: &[u8], body: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(digits), body)
}

fn hex(number: u32) -> [u8; 8] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    std::array::from_fn(|i| DIGITS[(number >> (28 - 4 * i)) as usize & 15])
}

/// Eight lower-case hex digits.
fn number(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0_u32, |number, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u32::from(value))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn framed(body: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        push(&mut out, |out| out.extend_from_slice(body)).unwrap();
        out
    }

    /// RFC 3720, appendix B.4: 32 bytes of zeros.
    #[test]
    fn the_checksum_is_crc_32c() {
        assert_eq!(crc32c::crc32c(&[0; 32]), 0x8A91_36AA);
    }

    #[test]
    fn a_frame_can_be_read_by_eye() {
        let frame = framed(b"{}");
        let text = std::str::from_utf8(&frame).unwrap();
        assert!(text.starts_with("00000002 ") && text.ends_with(" {}\n"), "{text}");
    }

    #[test]
    fn a_body_that_is_too_long_leaves_the_buffer_as_it_was() {
        let mut out = framed(b"one");
        let before = out.clone();
        assert_eq!(push(&mut out, |out| out.resize(out.len() + MAX_BODY + 1, b'x')), Err(MAX_BODY + 1));
        assert_eq!(out, before);
        assert!(push(&mut out, |out| out.resize(out.len() + MAX_BODY, b'x')).is_ok());
    }

    #[test]
    fn every_single_bit_flip_is_noticed() {
        let frame = framed(b"{\"fact\":\"intent\"}");
        for bit in 0..frame.len() * 8 {
            let mut changed = frame.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(!matches!(parse(&changed), Parsed::Frame { .. }), "bit {bit}");
        }
    }

    proptest! {
        #[test]
        fn frames_come_back(bodies: Vec<Vec<u8>>) {
            let mut out = Vec::new();
            for body in &bodies {
                push(&mut out, |out| out.extend_from_slice(body)).unwrap();
            }
            let mut rest = out.as_slice();
            for expected in &bodies {
                let Parsed::Frame { body, length } = parse(rest) else {
                    return Err(TestCaseError::fail("no frame"));
                };
                prop_assert_eq!(body, expected.as_slice());
                rest = &rest[length..];
            }
            prop_assert!(rest.is_empty());
        }

        #[test]
        fn a_cut_frame_is_short_never_wrong(body: Vec<u8>) {
            let frame = framed(&body);
            for length in 0..frame.len() {
                prop_assert_eq!(parse(&frame[..length]), Parsed::Short);
            }
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>) {
            let is_frame = matches!(parse(&bytes), Parsed::Frame { .. });
            prop_assert!(!is_frame || bytes.len() > HEADER);
        }

        #[test]
        fn whole_frames_are_counted(bodies in proptest::collection::vec("[a-z]{0,20}", 0..6), cut: usize) {
            let mut out = Vec::new();
            let mut ends = vec![0];
            for body in &bodies {
                push(&mut out, |out| out.extend_from_slice(body.as_bytes())).unwrap();
                ends.push(out.len());
            }
            let written = cut % (out.len() + 1);
            let expected = ends.iter().rev().find(|end| **end <= written).copied();
            prop_assert_eq!(Some(whole_within(&out, written)), expected);
        }
    }
}
