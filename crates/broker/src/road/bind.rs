//! Step 4, bind: the URL that will be sent, made from the caller's path kept byte for byte.
//!
//! `Url::join` is not used: it normalises, and what it normalises is not what the checks saw.
//! Instead every path that any server could read as leaving the prefix is refused, and the bytes
//! that were checked are the bytes that are sent.

use latchstring_model::address::Address;
use latchstring_model::problem::Refused;
use latchstring_model::{Code, Origin, Pin, PinPurpose, Problem};

fn bad_path(detail: &'static str) -> Box<Problem> {
    Problem::new(Code::BadPath, detail)
        .hint(
            "Send the path as the API's documentation writes it: no `.` or `..` segments, no backslash, no control \
             characters, encoded or not. Encode a literal backslash in a value as part of the query instead.",
        )
        .into()
}

/// One round of percent-decoding; a `%` that begins no escape stays.
fn decode_once(bytes: &[u8]) -> Vec<u8> {
    percent_encoding::percent_decode(bytes).collect()
}

/// A segment that some server reads as "here" or "up": `.`, `..`, and the same with parameters (`..;x`).
fn is_dot_segment(segment: &[u8]) -> bool {
    let name = segment.split(|b| *b == b';').next().unwrap_or(segment);
    name == b"." || name == b".."
}

fn check_bytes(path: &[u8]) -> Result<(), &'static str> {
    if path.iter().any(|b| *b < 0x20 || *b == 0x7f) {
        return Err("The path holds a control character, raw or percent-encoded.");
    }
    if path.contains(&b'\\') {
        return Err("The path holds a backslash, which some servers read as `/`.");
    }
    if path.split(|b| *b == b'/').any(is_dot_segment) {
        return Err(
            "The path holds a `.` or `..` segment, raw or percent-encoded, which could leave the API's base path.",
        );
    }
    Ok(())
}

/// Refuses a path that a server might read as another one than it says. Checked raw, decoded, and
/// decoded twice: a server behind a decoding proxy sees the second reading.
pub fn check_path(path: &str) -> Refused<()> {
    let mut bytes = path.as_bytes().to_vec();
    check_bytes(&bytes).map_err(bad_path)?;
    for _ in 0..2 {
        if !bytes.contains(&b'%') {
            break;
        }
        bytes = decode_once(&bytes);
        check_bytes(&bytes).map_err(bad_path)?;
    }
    Ok(())
}

/// Joins the base URL and the caller's path and query; `rest` is what follows the credential in
/// `/proxy/{credential}/…`, with its leading slash. Nothing asks for the base URL as it is written; below it, one with
/// a trailing slash and one without are the same.
pub fn join(base: &Address, rest: &str, query: Option<&str>) -> Refused<String> {
    check_path(rest)?;
    let prefix = base.path.trim_end_matches('/');
    let mut target = String::with_capacity(
        prefix.len()
            + rest.len()
            + 2
            + query.map_or(0, str::len)
            + base.query.as_ref().map_or(0, String::len)
            + 1,
    );
    target.push_str(prefix);
    if !rest.is_empty() {
        target.push_str(rest);
    } else if prefix.is_empty() || base.path.ends_with('/') {
        target.push('/');
    }
    let mut separator = '?';
    for part in [base.query.as_deref(), query].into_iter().flatten() {
        target.push(separator);
        target.push_str(part);
        separator = '&';
    }
    Ok(target)
}

/// Whether a target lies within one of the pins for this purpose; if not, nothing is sent.
pub fn check_pins(pins: &[Pin], purpose: PinPurpose, origin: &Origin, path: &str) -> Refused<()> {
    let within = pins.iter().any(|pin| pin.purpose == purpose && pin.contains(origin, path));
    if within {
        return Ok(());
    }
    Err(Problem::new(
        Code::DestinationNotAllowed,
        format!(
            "The credential is bound to {}, and this request would go to {}.",
            describe(pins, purpose),
            origin
        ),
    )
    .hint("The destination was fixed when the credential was verified. Its owner can verify it again for the new address.")
    .into())
}

fn describe(pins: &[Pin], purpose: PinPurpose) -> String {
    let list: Vec<String> = pins
        .iter()
        .filter(|pin| pin.purpose == purpose)
        .map(|pin| format!("{}{}", pin.origin, pin.prefix))
        .collect();
    if list.is_empty() { "no destination yet".to_owned() } else { list.join(", ") }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_callers_bytes_are_kept() {
        let base = Address::parse("https://api.example.com/v1/").unwrap();
        for (rest, query, want) in [
            ("/users", None, "/v1/users"),
            ("/users/", Some("a=b"), "/v1/users/?a=b"),
            ("/a%20b/%C3%A9", Some("q=%2F..%2F"), "/v1/a%20b/%C3%A9?q=%2F..%2F"),
            ("/a//b", None, "/v1/a//b"),
            ("/a%2Fb", None, "/v1/a%2Fb"),
            ("/files/..hidden", None, "/v1/files/..hidden"),
            ("/100%", None, "/v1/100%"),
            ("", None, "/v1/"),
            ("/", None, "/v1/"),
            ("//", None, "/v1//"),
            ("", Some(""), "/v1/?"),
        ] {
            assert_eq!(join(&base, rest, query).unwrap(), want);
        }
        let bare = Address::parse("https://api.example.com").unwrap();
        assert_eq!(join(&bare, "", None).unwrap(), "/");
        assert_eq!(join(&bare, "/", None).unwrap(), "/");
        assert_eq!(join(&bare, "/x", None).unwrap(), "/x");
        let open = Address::parse("https://api.example.com/v1").unwrap();
        assert_eq!(join(&open, "", None).unwrap(), "/v1", "as it is written");
        assert_eq!(join(&open, "/", None).unwrap(), "/v1/", "with a slash");
        let one = Address::parse("https://api.example.com/v1?key=1").unwrap();
        assert_eq!(join(&one, "", None).unwrap(), "/v1?key=1");
        assert_eq!(join(&one, "/x", Some("a=b")).unwrap(), "/v1/x?key=1&a=b");
    }

    #[test]
    fn what_could_leave_the_prefix_is_refused() {
        for path in [
            "..",
            "../admin",
            "a/../../b",
            "./a",
            "a/.",
            "%2e%2e/a",
            "%2E%2E%2Fadmin",
            ".%2e/a",
            "%2e./a",
            "%252e%252e/a",
            "a/%252e%252e%252fb",
            "a\\b",
            "..\\a",
            "a%5cb",
            "a%5C..%5Cb",
            "%255c",
            "a%00",
            "a%0d%0aHost:%20x",
            "a%7f",
            "a%1f",
            "..;/a",
            "a/..;x=y/b",
            "%2e%2e;/",
            "a%2f..%2fb",
            "%252e%252e%255c",
        ] {
            let error = check_path(path).expect_err(path);
            assert_eq!(error.code, Code::BadPath, "{path}");
            assert!(error.hint.is_some());
        }
    }

    #[test]
    fn pins_hold_per_purpose() {
        let base = Address::parse("https://api.example.com/v1").unwrap();
        let pins = [Pin::new(PinPurpose::Call, base.origin.clone(), "/v1")];
        let pinned = |purpose, text: &str| {
            let at = Address::parse(text).unwrap();
            check_pins(&pins, purpose, &at.origin, &at.path)
        };
        assert!(pinned(PinPurpose::Call, "https://api.example.com/v1/x").is_ok());
        for other in [
            "https://api.example.com/v2",
            "https://evil.example/v1/x",
            "http://api.example.com/v1/x",
            "https://api.example.com:444/v1",
        ] {
            assert_eq!(
                pinned(PinPurpose::Call, other).unwrap_err().code,
                Code::DestinationNotAllowed,
                "{other}"
            );
        }
        assert!(pinned(PinPurpose::Token, "https://api.example.com/v1/x").is_err());
    }
}
