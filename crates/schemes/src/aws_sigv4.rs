//! AWS Signature Version 4 in headers.
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>
//!
//! Signed are `host`, `content-type` and every `x-amz-*` header. For S3 the path is not encoded a second
//! time and not normalised, `x-amz-content-sha256` is always sent, and a body that is streamed over https
//! goes as `UNSIGNED-PAYLOAD`; everywhere else the body must be held, because its hash is signed.

use aws_lc_rs::{digest, hmac};
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName};
use latchstring_model::{SecretString, Timestamp};
use percent_encoding::percent_decode_str;
use percent_encoding::{percent_encode, utf8_percent_encode};
use zeroize::Zeroizing;

use crate::apply::{STRICT, decode_query, header_value, split_target};
use crate::encoding::hex;
use crate::error::SchemeError;
use crate::time_text::{compact_date, compact_time};
use crate::wire::Outgoing;

pub struct AwsSigV4 {
    pub access_key_id: String,
    pub secret_access_key: SecretString,
    pub session_token: Option<SecretString>,
    pub region: String,
    pub service: String,
}

const DATE: HeaderName = HeaderName::from_static("x-amz-date");
const TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");
const CONTENT_SHA256: HeaderName = HeaderName::from_static("x-amz-content-sha256");
const UNSIGNED: &str = "UNSIGNED-PAYLOAD";

impl AwsSigV4 {
    pub(crate) fn prepare(&self) -> Result<PreparedSigV4, SchemeError> {
        let trimmed = |field: &'static str, text: &str| {
            let text = text.trim();
            if text.is_empty() {
                return Err(SchemeError::Missing { field });
            }
            header_value(field, text)?;
            Ok(text.to_owned())
        };
        let access_key_id = trimmed("access_key_id", &self.access_key_id)?;
        let secret = Zeroizing::new(trimmed("secret_access_key", self.secret_access_key.expose())?);
        let region = trimmed("region", &self.region)?.to_ascii_lowercase();
        let service = trimmed("service", &self.service)?.to_ascii_lowercase();
        let session_token = match &self.session_token {
            Some(token) if !token.is_empty() => Some(trimmed("session_token", token.expose())?.into()),
            _ => None,
        };
        let s3 = matches!(service.as_str(), "s3" | "s3express" | "s3-outposts" | "s3-object-lambda");
        Ok(PreparedSigV4 {
            access_key_id,
            key: SecretString::new(format!("AWS4{}", secret.as_str())),
            session_token,
            // These services read the body's hash from a header.
            sends_hash: s3 || matches!(service.as_str(), "glacier" | "aoss"),
            s3,
            normalise: !s3,
            region,
            service,
        })
    }
}

pub(crate) struct PreparedSigV4 {
    access_key_id: String,
    key: SecretString,
    pub(crate) session_token: Option<SecretString>,
    region: String,
    service: String,
    s3: bool,
    sends_hash: bool,
    normalise: bool,
}

impl PreparedSigV4 {
    /// Only S3 takes a body whose hash was not signed, and then TLS has to protect it.
    pub(crate) fn takes_unsigned(&self, https: bool) -> bool {
        self.s3 && https
    }

    /// The secret access key itself, for masks; it never goes on the wire.
    pub(crate) fn secret(&self) -> SecretString {
        self.key.expose().strip_prefix("AWS4").unwrap_or_default().into()
    }

    pub(crate) fn sign(
        &self,
        out: &mut Outgoing<'_>,
        body: Option<&[u8]>,
        now: Timestamp,
    ) -> Result<(), SchemeError> {
        let payload = match body {
            Some(body) => hex(digest::digest(&digest::SHA256, body).as_ref()),
            None if self.takes_unsigned(out.origin.https) => UNSIGNED.to_owned(),
            None => return Err(SchemeError::BodyNotHeld),
        };
        let time = compact_time(now);
        for name in [&AUTHORIZATION, &DATE, &TOKEN, &CONTENT_SHA256] {
            out.headers.remove(name);
        }
        out.headers.insert(DATE, header_value("x-amz-date", &time)?);
        if let Some(token) = &self.session_token {
            out.headers.insert(TOKEN, header_value("session_token", token.expose())?);
        }
        if self.sends_hash {
            out.headers.insert(CONTENT_SHA256, header_value("x-amz-content-sha256", &payload)?);
        }
        let signed = self.signed_headers(out);
        let (canonical, names) = self.canonical_request(out.method.as_str(), out.target, &signed, &payload);
        let (scope, signature) = self.signature(&canonical, now);
        let line = format!(
            "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={signature}",
            self.access_key_id
        );
        out.headers.insert(AUTHORIZATION, header_value("access_key_id", &line)?);
        Ok(())
    }

    /// Name and value of each header to sign, sorted; repeated ones joined with commas in their order.
    fn signed_headers(&self, out: &Outgoing<'_>) -> Vec<(String, String)> {
        let mut signed = vec![("host".to_owned(), out.origin.authority())];
        for name in out.headers.keys() {
            if *name == CONTENT_TYPE || name.as_str().starts_with("x-amz-") {
                let values: Vec<String> = out
                    .headers
                    .get_all(name)
                    .iter()
                    .map(|value| squeeze(&String::from_utf8_lossy(value.as_bytes())))
                    .collect();
                signed.push((name.as_str().to_owned(), values.join(",")));
            }
        }
        signed.sort();
        signed
    }

    fn canonical_request(
        &self,
        method: &str,
        target: &str,
        headers: &[(String, String)],
        payload: &str,
    ) -> (String, String) {
        let (path, query) = split_target(target);
        let path = if self.s3 { s3_path(path) } else { path_twice(path, self.normalise) };
        let query = canonical_query(query.unwrap_or_default());
        let mut lines = String::new();
        for (name, value) in headers {
            lines.push_str(&format!("{name}:{value}\n"));
        }
        let names: Vec<&str> = headers.iter().map(|(name, _)| name.as_str()).collect();
        let names = names.join(";");
        (format!("{method}\n{path}\n{query}\n{lines}\n{names}\n{payload}"), names)
    }

    /// The credential scope and the signature over a canonical request.
    fn signature(&self, canonical: &str, now: Timestamp) -> (String, String) {
        let day = compact_date(now);
        let scope = format!("{day}/{}/{}/aws4_request", self.region, self.service);
        let hash = hex(digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref());
        let text = format!("AWS4-HMAC-SHA256\n{}\n{scope}\n{hash}", compact_time(now));
        let mut key = mac(self.key.expose().as_bytes(), day.as_bytes());
        for part in [self.region.as_bytes(), self.service.as_bytes(), b"aws4_request"] {
            key = mac(&key, part);
        }
        let signature = mac(&key, text.as_bytes());
        (scope, hex(&signature))
    }
}

fn mac(key: &[u8], message: &[u8]) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message).as_ref().to_vec())
}

/// Without blanks at the ends, and one where there were several.
fn squeeze(value: &str) -> String {
    value.split_ascii_whitespace().collect::<Vec<_>>().join(" ")
}

/// S3 signs the path that it decodes: each segment encoded once, whatever way the caller spelt it.
fn s3_path(path: &str) -> String {
    let encoded: Vec<String> = path
        .split('/')
        .map(|segment| percent_encode(&percent_decode_str(segment).collect::<Vec<u8>>(), STRICT).to_string())
        .collect();
    let path = encoded.join("/");
    if path.starts_with('/') { path } else { format!("/{path}") }
}

/// All others sign the path as sent, encoded once more, without empty and dot segments.
fn path_twice(path: &str, normalise: bool) -> String {
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    let mut kept: Vec<&str> = Vec::with_capacity(segments.len());
    let mut folder = false;
    for segment in segments {
        folder = false;
        match segment {
            "" | "." if normalise => folder = true,
            ".." if normalise => {
                kept.pop();
                folder = true;
            }
            _ => kept.push(segment),
        }
    }
    let mut text = String::with_capacity(path.len() + 1);
    for segment in &kept {
        text.push('/');
        text.extend(utf8_percent_encode(segment, STRICT));
    }
    if text.is_empty() || (folder && !text.ends_with('/')) {
        text.push('/');
    }
    text
}

/// Every pair encoded anew, sorted by name, then by value.
fn canonical_query(query: &str) -> String {
    let mut pairs: Vec<(String, String)> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let encode = |text: &str| percent_encode(&decode_query(text), STRICT).to_string();
            (encode(name), encode(value))
        })
        .collect();
    pairs.sort();
    pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Vector {
        name: String,
        method: String,
        target: String,
        headers: Vec<(String, String)>,
        body: String,
        sign_body: bool,
        normalize: bool,
        token: Option<String>,
        access_key_id: String,
        secret_access_key: String,
        region: String,
        service: String,
        time: String,
        canonical_request: String,
        signature: String,
    }

    /// The published suite signs every header, with services that normalise and some that do not.
    #[test]
    fn the_published_suite() {
        let vectors: Vec<Vector> = serde_json::from_str(include_str!("../tests/data/sigv4.json")).unwrap();
        assert_eq!(vectors.len(), 38);
        for vector in vectors {
            let now = Timestamp::parse_rfc3339(&vector.time).unwrap();
            let mut aws = AwsSigV4 {
                access_key_id: vector.access_key_id,
                secret_access_key: vector.secret_access_key.into(),
                session_token: None,
                region: vector.region,
                service: vector.service,
            }
            .prepare()
            .unwrap();
            aws.normalise = vector.normalize;
            let payload = hex(digest::digest(&digest::SHA256, vector.body.as_bytes()).as_ref());
            let mut headers: Vec<(String, String)> = Vec::new();
            let mut add = |name: &str, value: &str| {
                let (name, value) = (name.to_ascii_lowercase(), squeeze(value));
                match headers.iter_mut().find(|(known, _)| *known == name) {
                    Some((_, values)) => *values = format!("{values},{value}"),
                    None => headers.push((name, value)),
                }
            };
            for (name, value) in &vector.headers {
                add(name, value);
            }
            if !vector.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("x-amz-date")) {
                add("x-amz-date", &compact_time(now));
            }
            if let Some(token) = &vector.token {
                add("x-amz-security-token", token);
            }
            if vector.sign_body {
                add("x-amz-content-sha256", &payload);
            }
            headers.sort();
            let (canonical, _) = aws.canonical_request(&vector.method, &vector.target, &headers, &payload);
            assert_eq!(canonical, vector.canonical_request, "{}", vector.name);
            assert_eq!(aws.signature(&canonical, now).1, vector.signature, "{}", vector.name);
        }
    }

    #[test]
    fn paths_as_each_service_signs_them() {
        assert_eq!(s3_path("/a%20b/c=d/%E1%88%B4/+"), "/a%20b/c%3Dd/%E1%88%B4/%2B");
        assert_eq!(s3_path("/a//b/./c"), "/a//b/./c");
        assert_eq!(s3_path(""), "/");
        // As in AWS's own note on Lambda function names.
        assert_eq!(path_twice("/f/arn%3Aaws%3Alambda/x", true), "/f/arn%253Aaws%253Alambda/x");
        assert_eq!(path_twice("/a/../b/./c//", true), "/b/c/");
        assert_eq!(path_twice("/..", true), "/");
        assert_eq!(path_twice("/model/x:1", true), "/model/x%3A1");
    }
}
