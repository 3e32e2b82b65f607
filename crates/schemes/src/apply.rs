//! Putting names and values on a request so that they replace what the caller sent under the same name.
//!
//! Headers: by name, whatever their case. Query parameters: every one whose name, percent-decoded, is
//! the same; the rest of the target stays byte for byte. Cookies: every one of the same name.

use std::borrow::Cow;

use http::HeaderMap;
use http::header::{COOKIE, HeaderName, HeaderValue};
use latchstring_model::SecretString;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, utf8_percent_encode};

use crate::error::SchemeError;
use crate::wire::Outgoing;

/// All but the unreserved characters of RFC 3986 section 2.3.
pub(crate) const STRICT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

pub(crate) fn encode(text: &str) -> String {
    utf8_percent_encode(text, STRICT).to_string()
}

/// Headers that say how the message travels, not who asks: egress writes them.
const RESERVED: &[&str] = &[
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

pub(crate) fn header_name(field: &str, name: &str) -> Result<HeaderName, SchemeError> {
    let parsed = HeaderName::from_bytes(name.trim().as_bytes())
        .map_err(|_| SchemeError::HeaderName { field: field.to_owned() })?;
    if RESERVED.contains(&parsed.as_str()) {
        return Err(SchemeError::ReservedHeader { field: field.to_owned(), name: parsed.to_string() });
    }
    Ok(parsed)
}

/// A header value that no log prints. Blanks at its ends are what copying leaves and would not arrive anyway.
pub(crate) fn header_value(field: &str, value: &str) -> Result<HeaderValue, SchemeError> {
    let mut value = HeaderValue::from_bytes(value.trim_matches([' ', '\t']).as_bytes())
        .map_err(|_| SchemeError::HeaderValue { field: field.to_owned() })?;
    value.set_sensitive(true);
    Ok(value)
}

pub(crate) fn cookie_pair(field: &str, name: &str, value: &str) -> Result<String, SchemeError> {
    if HeaderName::from_bytes(name.as_bytes()).is_err() {
        return Err(SchemeError::CookieName { field: field.to_owned() });
    }
    if value.bytes().any(|byte| byte <= b' ' || byte == 0x7f || byte == b';') {
        return Err(SchemeError::CookieValue { field: field.to_owned() });
    }
    Ok(format!("{name}={value}"))
}

pub(crate) fn query_pair(field: &'static str, name: &str, value: &str) -> Result<String, SchemeError> {
    if name.is_empty() {
        return Err(SchemeError::Missing { field });
    }
    Ok(format!("{}={}", encode(name), encode(value)))
}

/// A name or value of a query as servers read it: `+` is a blank, `%xx` a byte.
pub(crate) fn decode_query(text: &str) -> Cow<'_, [u8]> {
    if text.contains('+') {
        let spaced = text.replace('+', " ");
        Cow::Owned(percent_decode(spaced.as_bytes()).collect())
    } else {
        percent_decode(text.as_bytes()).into()
    }
}

/// Path and query of a target.
pub(crate) fn split_target(target: &str) -> (&str, Option<&str>) {
    match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    }
}

/// Drops every parameter of that name, and nothing else.
pub(crate) fn remove_query(target: &mut String, name: &str) {
    let (path, Some(query)) = split_target(target) else { return };
    let has = |pair: &str| {
        let key = pair.split_once('=').map_or(pair, |(key, _)| key);
        decode_query(key).as_ref() == name.as_bytes()
    };
    if !query.split('&').any(has) {
        return;
    }
    let kept: Vec<&str> = query.split('&').filter(|pair| !has(pair)).collect();
    let mut fresh = String::with_capacity(target.len());
    fresh.push_str(path);
    if !kept.is_empty() {
        fresh.push('?');
        fresh.push_str(&kept.join("&"));
    }
    *target = fresh;
}

/// Adds an encoded `name=value`.
pub(crate) fn append_query(target: &mut String, pair: &str) {
    let separator = match split_target(target).1 {
        None => "?",
        Some("") => "",
        Some(query) if query.ends_with('&') => "",
        Some(_) => "&",
    };
    target.push_str(separator);
    target.push_str(pair);
}

/// Puts `pairs` (`name=value`) into one `Cookie` header, without the caller's of those names.
pub(crate) fn replace_cookies(headers: &mut HeaderMap, pairs: &[String]) {
    let name_of = |pair: &str| pair.split_once('=').map_or(pair, |(name, _)| name).trim().to_owned();
    let ours: Vec<String> = pairs.iter().map(|pair| name_of(pair)).collect();
    let mut line: Vec<u8> = Vec::new();
    let mut add = |pair: &[u8]| {
        if !line.is_empty() {
            line.extend_from_slice(b"; ");
        }
        line.extend_from_slice(pair);
    };
    for header in headers.get_all(COOKIE) {
        for pair in header.as_bytes().split(|byte| *byte == b';').map(<[u8]>::trim_ascii) {
            let name = pair.split(|byte| *byte == b'=').next().unwrap_or_default().trim_ascii();
            if !pair.is_empty() && !ours.iter().any(|own| own.as_bytes() == name) {
                add(pair);
            }
        }
    }
    for pair in pairs {
        add(pair.as_bytes());
    }
    // All parts came from valid headers or were checked when prepared.
    if let Ok(mut value) = HeaderValue::from_bytes(&line) {
        value.set_sensitive(true);
        headers.insert(COOKIE, value);
    }
}

/// Where a credential goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Placement {
    /// `prefix` stands before the value. One that ends in a letter or digit (`Bearer`, `Token`) is followed
    /// by a blank; any other (`key=`, `Token token=`) stands as it is.
    Header {
        name: String,
        prefix: String,
    },
    Query {
        name: String,
    },
    Cookie {
        name: String,
    },
}

impl Placement {
    /// `Authorization: Bearer …` (RFC 6750 section 2.1).
    pub fn bearer() -> Self {
        Placement::Header { name: "authorization".to_owned(), prefix: "Bearer".to_owned() }
    }

    pub fn header(name: impl Into<String>) -> Self {
        Placement::Header { name: name.into(), prefix: String::new() }
    }
}

impl Default for Placement {
    fn default() -> Self {
        Placement::bearer()
    }
}

/// A checked [`Placement`], for values that differ from request to request.
pub(crate) enum Place {
    Header { name: HeaderName, prefix: String },
    Query { name: String },
    Cookie { name: String },
}

impl Place {
    pub(crate) fn new(field: &'static str, placement: &Placement) -> Result<Self, SchemeError> {
        match placement {
            Placement::Header { name, prefix } => {
                let name = header_name(field, name)?;
                let mut prefix = prefix.clone();
                header_value(field, &prefix)?;
                if prefix.ends_with(|last: char| last.is_alphanumeric()) {
                    prefix.push(' ');
                }
                Ok(Place::Header { name, prefix })
            }
            Placement::Query { name } if name.is_empty() => Err(SchemeError::Missing { field }),
            Placement::Query { name } => Ok(Place::Query { name: name.clone() }),
            Placement::Cookie { name } => {
                cookie_pair(field, name, "x")?;
                Ok(Place::Cookie { name: name.clone() })
            }
        }
    }

    /// Puts `value` there, in place of what the caller sent.
    pub(crate) fn set(
        &self,
        out: &mut Outgoing<'_>,
        field: &'static str,
        value: &str,
    ) -> Result<(), SchemeError> {
        match self {
            Place::Header { name, prefix } => {
                let value = header_value(field, &format!("{prefix}{value}"))?;
                out.headers.insert(name, value);
            }
            Place::Query { name } => {
                remove_query(out.target, name);
                append_query(out.target, &query_pair(field, name, value)?);
            }
            Place::Cookie { name } => replace_cookies(out.headers, &[cookie_pair(field, name, value)?]),
        }
        Ok(())
    }

    /// What [`Place::set`] put there, as it went out.
    pub(crate) fn read(&self, out: &Outgoing<'_>) -> Option<SecretString> {
        match self {
            Place::Header { name, prefix } => {
                let text = out.headers.get(name)?.to_str().ok()?;
                Some(text.strip_prefix(prefix.as_str()).unwrap_or(text).into())
            }
            Place::Query { name } => {
                let query = split_target(out.target).1?;
                let pair = query.split('&').find_map(|pair| {
                    let (key, value) = pair.split_once('=')?;
                    (decode_query(key).as_ref() == name.as_bytes()).then_some(value)
                })?;
                Some(String::from_utf8_lossy(&decode_query(pair)).into_owned().into())
            }
            Place::Cookie { name } => {
                let text = out.headers.get(COOKIE)?.to_str().ok()?;
                let pair =
                    text.split("; ").find_map(|pair| pair.strip_prefix(name.as_str())?.strip_prefix('='))?;
                Some(pair.into())
            }
        }
    }
}

/// Names and values that are the same for every request, checked and encoded once.
#[derive(Default)]
pub(crate) struct Fixed {
    headers: Vec<(HeaderName, HeaderValue)>,
    /// Name as servers read it, and the encoded pair.
    query: Vec<(String, String)>,
    cookies: Vec<String>,
    pub(crate) secrets: Vec<SecretString>,
}

impl Fixed {
    pub(crate) fn header(&mut self, name: HeaderName, value: HeaderValue) {
        self.headers.push((name, value));
    }

    pub(crate) fn query(&mut self, field: &'static str, name: &str, value: &str) -> Result<(), SchemeError> {
        let pair = query_pair(field, name, value)?;
        self.query.push((name.to_owned(), pair));
        Ok(())
    }

    pub(crate) fn cookie(&mut self, field: &str, name: &str, value: &str) -> Result<(), SchemeError> {
        self.cookies.push(cookie_pair(field, name, value)?);
        Ok(())
    }

    pub(crate) fn place(
        &mut self,
        place: &Place,
        field: &'static str,
        value: &str,
    ) -> Result<(), SchemeError> {
        match place {
            Place::Header { name, prefix } => {
                self.header(name.clone(), header_value(field, &format!("{prefix}{value}"))?);
            }
            Place::Query { name } => self.query(field, name, value)?,
            Place::Cookie { name } => self.cookie(field, name, value)?,
        }
        Ok(())
    }

    pub(crate) fn apply(&self, out: &mut Outgoing<'_>) {
        if let [(name, value)] = self.headers.as_slice() {
            out.headers.insert(name.clone(), value.clone());
        } else {
            for (name, _) in &self.headers {
                out.headers.remove(name);
            }
            for (name, value) in &self.headers {
                out.headers.append(name.clone(), value.clone());
            }
        }
        for (name, _) in &self.query {
            remove_query(out.target, name);
        }
        for (_, pair) in &self.query {
            append_query(out.target, pair);
        }
        if !self.cookies.is_empty() {
            replace_cookies(out.headers, &self.cookies);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn without(target: &str, name: &str) -> String {
        let mut target = target.to_owned();
        remove_query(&mut target, name);
        target
    }

    #[test]
    fn only_the_parameters_of_that_name_go() {
        assert_eq!(without("/a?key=1&b=2&key=3&c", "key"), "/a?b=2&c");
        assert_eq!(without("/a?k%65y=1&b=%2f", "key"), "/a?b=%2f");
        assert_eq!(without("/a?my+key=1&my%20key=2&x", "my key"), "/a?x");
        assert_eq!(without("/a?key", "key"), "/a");
        assert_eq!(without("/a?Key=1&&keys=2&=key", "key"), "/a?Key=1&&keys=2&=key");
        assert_eq!(without("/a/key=1", "key"), "/a/key=1");
        assert_eq!(without("/a?", "key"), "/a?");
        assert_eq!(without("/a?%6=1&%zz=2", "key"), "/a?%6=1&%zz=2");
    }

    #[test]
    fn a_parameter_is_added_to_any_target() {
        for (target, wanted) in
            [("/a", "/a?k=v"), ("/a?", "/a?k=v"), ("/a?b", "/a?b&k=v"), ("/a?b&", "/a?b&k=v")]
        {
            let mut target = target.to_owned();
            append_query(&mut target, "k=v");
            assert_eq!(target, wanted);
        }
    }
}
