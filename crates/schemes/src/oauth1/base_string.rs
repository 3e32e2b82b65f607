//! The signature base string (RFC 5849 section 3.4.1): what was signed, so that both sides write the same.

use std::fmt::Write as _;

use percent_encoding::percent_encode;
use zeroize::Zeroizing;

use crate::apply::{STRICT, decode_query, encode, split_target};
use crate::wire::Outgoing;

/// Method, base URI and parameters, each encoded once more (section 3.4.1.1). `form` is a form-encoded body.
pub(super) fn build(out: &Outgoing<'_>, query: &str, own: &[(&str, &str)], form: &[u8]) -> Zeroizing<String> {
    let (path, _) = split_target(out.target);
    // Section 3.4.1.2: an origin is lower case and without its scheme's own port already; a path is never empty.
    let path = if path.is_empty() { "/" } else { path };
    let uri = format!("{}{path}", out.origin);
    let mut text = Zeroizing::new(String::with_capacity(512 + form.len()));
    let parameters = parameters(query, own, form);
    // Writing to a string cannot fail.
    let _ = write!(text, "{}&{}&{}", out.method.as_str(), encode(&uri), encode(&parameters));
    text
}

/// Section 3.4.1.3: decoded, encoded anew, sorted by name, then by value.
fn parameters(query: &str, own: &[(&str, &str)], form: &[u8]) -> Zeroizing<String> {
    let mut pairs: Vec<(String, String)> = Vec::new();
    let mut add = |part: &[u8]| {
        for pair in part.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
            let at = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
            let (name, value) = pair.split_at(at);
            pairs.push((again(name), again(value.get(1..).unwrap_or_default())));
        }
    };
    add(query.as_bytes());
    add(form);
    pairs.extend(own.iter().map(|(name, value)| (encode(name), encode(value))));
    pairs.sort();
    let joined: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
    Zeroizing::new(joined.join("&"))
}

/// As servers read it, then as section 3.6 writes it. Bytes that are no UTF-8 stay what they are.
fn again(text: &[u8]) -> String {
    match std::str::from_utf8(text) {
        Ok(text) => percent_encode(&decode_query(text), STRICT).to_string(),
        Err(_) => percent_encode(text, STRICT).to_string(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use http::{HeaderMap, Method};
    use latchstring_model::address::Address;

    use super::*;

    fn base(method: Method, url: &str, own: &[(&str, &str)], form: &[u8]) -> String {
        let address = Address::parse(url).unwrap();
        let (mut target, mut headers) = (address.target(), HeaderMap::new());
        let query = address.query.clone().unwrap_or_default();
        let out =
            Outgoing { method: &method, origin: &address.origin, target: &mut target, headers: &mut headers };
        build(&out, &query, own, form).to_string()
    }

    /// RFC 5849 section 3.4.1.1.
    #[test]
    fn the_base_string_of_rfc_5849() {
        let own = [
            ("oauth_consumer_key", "9djdj82h48djs9d2"),
            ("oauth_token", "kkk9d7dh3k39sjv7"),
            ("oauth_signature_method", "HMAC-SHA1"),
            ("oauth_timestamp", "137131201"),
            ("oauth_nonce", "7d8f3e4a"),
        ];
        let text = base(
            Method::POST,
            "http://EXAMPLE.COM:80/request?b5=%3D%253D&a3=a&c%40=&a2=r%20b",
            &own,
            b"c2&a3=2+q",
        );
        assert_eq!(
            text,
            "POST&http%3A%2F%2Fexample.com%2Frequest&a2%3Dr%2520b%26a3%3D2%2520q\
             %26a3%3Da%26b5%3D%253D%25253D%26c%2540%3D%26c2%3D%26oauth_consumer_\
             key%3D9djdj82h48djs9d2%26oauth_nonce%3D7d8f3e4a%26oauth_signature_m\
             ethod%3DHMAC-SHA1%26oauth_timestamp%3D137131201%26oauth_token%3Dkkk\
             9d7dh3k39sjv7"
        );
    }

    /// RFC 5849 section 3.4.1.2.
    #[test]
    fn the_base_uris_of_rfc_5849() {
        let uri = |url: &str| base(Method::GET, url, &[], b"").split('&').nth(1).unwrap().to_owned();
        assert_eq!(uri("http://EXAMPLE.COM:80/r%20v/X?id=123"), encode("http://example.com/r%20v/X"));
        assert_eq!(uri("https://www.example.net:8080/?q=1"), encode("https://www.example.net:8080/"));
        assert_eq!(uri("https://example.com"), encode("https://example.com/"));
    }

    #[test]
    fn parameters_sort_by_their_encoded_form() {
        // `x!y` is `x%21y` once encoded, and `%` sorts before letters and digits.
        let own = [("a", "2"), ("a", "1"), ("x!y", "a"), ("x", "b"), ("xa", "c")];
        assert_eq!(parameters("", &own, b"").as_str(), "a=1&a=2&x=b&x%21y=a&xa=c");
        assert_eq!(parameters("q=a+b&q=%e4", &[], b"").as_str(), "q=%E4&q=a%20b");
    }
}
