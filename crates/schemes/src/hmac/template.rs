//! Texts with placeholders, checked when a scheme is prepared. See the table in [`super`].

use std::collections::BTreeMap;

use aws_lc_rs::digest;
use http::header::HeaderName;
use latchstring_model::Timestamp;
use md5::{Digest as _, Md5};

use super::TimestampFormat;
use crate::apply::{decode_query, header_name, split_target};
use crate::encoding::OutputEncoding;
use crate::error::SchemeError;
use crate::time_text;
use crate::wire::Outgoing;

const KNOWN: &str = "Known are method, method_lower, path, target, url, query, query_sorted, query_lines, host, timestamp, \
     timestamp_<format>, nonce, key_id, header:<name>, headers:<prefix>, body, body_<hash>_<encoding>, body_length, \
     body_length_nonzero, newline, open, close, and signature where the signature is placed.";

enum Part {
    Literal(String),
    Method,
    MethodLower,
    Path,
    Target,
    Url,
    Query,
    QuerySorted,
    QueryLines,
    Host,
    Timestamp(Option<TimestampFormat>),
    Nonce,
    KeyId,
    Header(HeaderName),
    Headers(String),
    Body,
    BodyHash(BodyHash, OutputEncoding),
    BodyLength,
    BodyLengthNonzero,
    Signature,
}

#[derive(Clone, Copy)]
enum BodyHash {
    Md5,
    Other(&'static digest::Algorithm),
}

pub(super) struct Template(Vec<Part>);

/// What one request brings along, beside itself.
pub(super) struct Facts<'a> {
    pub key_id: &'a str,
    pub timestamp: TimestampFormat,
    pub now: Timestamp,
    pub nonce: &'a str,
    pub body: &'a [u8],
    pub signature: &'a str,
}

impl Template {
    pub(super) fn parse(field: &str, text: &str, signature: bool) -> Result<Self, SchemeError> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((literal, after)) = rest.split_once('{') {
            if !literal.is_empty() {
                parts.push(Part::Literal(literal.to_owned()));
            }
            let (name, tail) = after
                .split_once('}')
                .ok_or_else(|| SchemeError::OpenPlaceholder { field: field.to_owned() })?;
            parts.push(placeholder(field, name.trim(), signature)?);
            rest = tail;
        }
        if !rest.is_empty() {
            parts.push(Part::Literal(rest.to_owned()));
        }
        Ok(Self(parts))
    }

    pub(super) fn needs_body(&self) -> bool {
        self.0.iter().any(|part| {
            matches!(part, Part::Body | Part::BodyHash(..) | Part::BodyLength | Part::BodyLengthNonzero)
        })
    }

    pub(super) fn has_signature(&self) -> bool {
        self.0.iter().any(|part| matches!(part, Part::Signature))
    }

    /// All that is the same for every request.
    pub(super) fn constants(&self) -> String {
        self.0
            .iter()
            .filter_map(|part| if let Part::Literal(text) = part { Some(text.as_str()) } else { None })
            .collect()
    }

    pub(super) fn render(&self, out: &Outgoing<'_>, facts: &Facts<'_>) -> Result<Vec<u8>, SchemeError> {
        let mut text = Vec::with_capacity(256);
        for part in &self.0 {
            part.write(out, facts, &mut text);
        }
        Ok(text)
    }
}

fn placeholder(field: &str, name: &str, signature: bool) -> Result<Part, SchemeError> {
    let unknown = || SchemeError::Placeholder {
        field: field.to_owned(),
        placeholder: name.chars().take(60).collect(),
        known: KNOWN,
    };
    if let Some(header) = name.strip_prefix("header:") {
        return match header_name(field, header) {
            Ok(name) => Ok(Part::Header(name)),
            // It is only read here: the host, too, can be signed by its header's name.
            Err(SchemeError::ReservedHeader { .. }) if header.trim().eq_ignore_ascii_case("host") => {
                Ok(Part::Host)
            }
            Err(SchemeError::ReservedHeader { .. })
                if header.trim().eq_ignore_ascii_case("content-length") =>
            {
                Ok(Part::BodyLength)
            }
            Err(error) => Err(error),
        };
    }
    if let Some(prefix) = name.strip_prefix("headers:") {
        let prefix = prefix.trim().to_ascii_lowercase();
        return if prefix.is_empty() { Err(unknown()) } else { Ok(Part::Headers(prefix)) };
    }
    if let Some(format) = name.strip_prefix("timestamp_") {
        return TimestampFormat::parse(format)
            .map(|format| Part::Timestamp(Some(format)))
            .ok_or_else(unknown);
    }
    Ok(match name {
        "method" => Part::Method,
        "method_lower" => Part::MethodLower,
        "path" => Part::Path,
        "target" => Part::Target,
        "url" => Part::Url,
        "query" => Part::Query,
        "query_sorted" => Part::QuerySorted,
        "query_lines" => Part::QueryLines,
        "host" => Part::Host,
        "timestamp" => Part::Timestamp(None),
        "nonce" => Part::Nonce,
        "key_id" => Part::KeyId,
        "body" => Part::Body,
        "body_length" => Part::BodyLength,
        "body_length_nonzero" => Part::BodyLengthNonzero,
        "newline" => Part::Literal("\n".to_owned()),
        "open" => Part::Literal("{".to_owned()),
        "close" => Part::Literal("}".to_owned()),
        "signature" if signature => Part::Signature,
        _ => {
            let (hash, encoding) =
                name.strip_prefix("body_").and_then(|rest| rest.split_once('_')).ok_or_else(unknown)?;
            let hash = match hash {
                "md5" => BodyHash::Md5,
                "sha1" => BodyHash::Other(&digest::SHA1_FOR_LEGACY_USE_ONLY),
                "sha256" => BodyHash::Other(&digest::SHA256),
                "sha384" => BodyHash::Other(&digest::SHA384),
                "sha512" => BodyHash::Other(&digest::SHA512),
                _ => return Err(unknown()),
            };
            Part::BodyHash(hash, OutputEncoding::parse(encoding).ok_or_else(unknown)?)
        }
    })
}

impl Part {
    fn write(&self, out: &Outgoing<'_>, facts: &Facts<'_>, text: &mut Vec<u8>) {
        let (path, query) = split_target(out.target);
        let query = query.unwrap_or_default();
        let mut put = |piece: &str| text.extend_from_slice(piece.as_bytes());
        match self {
            Part::Literal(literal) => put(literal),
            Part::Method => put(out.method.as_str()),
            Part::MethodLower => put(&out.method.as_str().to_ascii_lowercase()),
            Part::Path => put(path),
            Part::Target => put(out.target),
            Part::Url => put(&format!("{}{}", out.origin, out.target)),
            Part::Query => put(query),
            Part::QuerySorted => put(&sorted(query)),
            Part::QueryLines => put(&lines(query)),
            Part::Host => put(&out.origin.authority()),
            Part::Timestamp(format) => put(&written(facts.now, format.unwrap_or(facts.timestamp))),
            Part::Nonce => put(facts.nonce),
            Part::KeyId => put(facts.key_id),
            Part::Header(name) => text.extend_from_slice(&joined(out, name)),
            Part::Headers(prefix) => {
                let mut names: Vec<&HeaderName> =
                    out.headers.keys().filter(|name| name.as_str().starts_with(prefix.as_str())).collect();
                names.sort_by_key(|name| name.as_str());
                for name in names {
                    text.extend_from_slice(name.as_str().as_bytes());
                    text.push(b':');
                    text.extend_from_slice(&joined(out, name));
                    text.push(b'\n');
                }
            }
            Part::Body => text.extend_from_slice(facts.body),
            Part::BodyHash(BodyHash::Md5, encoding) => put(&encoding.encode(&Md5::digest(facts.body))),
            Part::BodyHash(BodyHash::Other(algorithm), encoding) => {
                put(&encoding.encode(digest::digest(algorithm, facts.body).as_ref()));
            }
            Part::BodyLength => put(&facts.body.len().to_string()),
            Part::BodyLengthNonzero if facts.body.is_empty() => {}
            Part::BodyLengthNonzero => put(&facts.body.len().to_string()),
            Part::Signature => put(facts.signature),
        }
    }
}

/// All values of a header, as one: RFC 9110 section 5.3.
fn joined(out: &Outgoing<'_>, name: &HeaderName) -> Vec<u8> {
    let values: Vec<&[u8]> =
        out.headers.get_all(name).iter().map(|value| value.as_bytes().trim_ascii()).collect();
    values.join(b", ".as_slice())
}

fn written(now: Timestamp, format: TimestampFormat) -> String {
    match format {
        TimestampFormat::Unix => now.secs().to_string(),
        TimestampFormat::Ms => now.millis().to_string(),
        TimestampFormat::Ns => (i128::from(now.millis()) * 1_000_000).to_string(),
        TimestampFormat::Rfc3339 => time_text::rfc3339(now),
        TimestampFormat::Rfc3339Ms => time_text::rfc3339_millis(now),
        TimestampFormat::Http => time_text::http_date(now),
        TimestampFormat::Compact => time_text::compact_time(now),
    }
}

fn sorted(query: &str) -> String {
    let mut pairs: Vec<&str> = query.split('&').filter(|pair| !pair.is_empty()).collect();
    pairs.sort_by_key(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs.join("&")
}

fn lines(query: &str) -> String {
    let mut names: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let decode = |text: &str| String::from_utf8_lossy(&decode_query(text)).into_owned();
        names.entry(decode(name).to_lowercase()).or_default().push(decode(value));
    }
    let mut text = String::new();
    for (name, mut values) in names {
        values.sort();
        text.push_str(&format!("\n{name}:{}", values.join(",")));
    }
    text
}
