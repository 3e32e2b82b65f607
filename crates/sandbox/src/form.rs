//! `application/x-www-form-urlencoded`, as far as an OAuth request needs it.

use std::collections::HashMap;

/// The pairs of a form; none of them may come twice (RFC 6749 section 3.2).
pub fn read(body: &[u8]) -> Option<HashMap<String, String>> {
    let text = std::str::from_utf8(body).ok()?;
    let mut pairs = HashMap::new();
    for pair in text.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if pairs.insert(decode(name)?, decode(value)?).is_some() {
            return None;
        }
    }
    Some(pairs)
}

/// `+` is a blank, `%41` is a byte of UTF-8.
pub fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
                u8::try_from(digit(rest.next())? * 16 + digit(rest.next())?).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_read() {
        let form = read(b"a=b+c&d=%C3%A9%26&e").unwrap();
        assert_eq!((form["a"].as_str(), form["d"].as_str(), form["e"].as_str()), ("b c", "é&", ""));
        assert!(read(b"a=1&a=2").is_none());
        assert!(read(b"a=%4").is_none() && read(b"a=%zz").is_none() && read(b"a=%ff").is_none());
    }
}
