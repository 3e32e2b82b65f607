//! Requests as a preview shows them: where a secret stands there is `…`, whatever its length. Of a long secret that
//! begins with a mark that its provider puts before all of its keys (`sk-`, `ghp_`), the mark is kept: it tells which
//! key it is, and nothing of the key.
//!
//! A preview shows what is not known yet to be right, so it trusts less than [`Masker`] does: of a header that a scheme
//! marks as secret, only what is a secret of ours by all its bytes is told apart; everything else of it is hidden.

use std::collections::BTreeSet;

use http::header::{ACCEPT, CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue};
use latchstring_model::SecretString;
use serde_json::Value;

use super::mask::Masker;

/// What stands for a secret.
const HIDDEN: &str = "…";
/// Shorter ones show no mark: too much of them would be known.
const LONG: usize = 12;
/// What providers put before keys, as they document it. Longer ones would show where a key begins that has no mark.
const MARKS: &[&str] = &[
    "sk-", "pk-", "rk-", "sk_", "pk_", "rk_", "xoxa-", "xoxb-", "xoxe-", "xoxp-", "xoxr-", "xoxs-", "xapp-",
    "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "gsk_", "hf_", "key-", "lin_", "npm_", "ntn_", "pat-", "phc_",
    "phx_", "pplx-", "pypi-", "re_", "sbp_", "xai-",
];
/// Words before a secret in `Authorization` (RFC 9110 section 16.4.1), and those that are as common.
const WORDS: &[&str] = &[
    "apikey",
    "aws4-hmac-sha256",
    "basic",
    "bearer",
    "digest",
    "dpop",
    "hmac",
    "jwt",
    "key",
    "oauth",
    "signature",
    "token",
    "zoho-oauthtoken",
];

/// A secret as a preview shows it.
fn veiled(secret: &str) -> String {
    let mark = MARKS.iter().find(|mark| secret.len() >= LONG && secret.starts_with(**mark));
    format!("{}{HIDDEN}", mark.copied().unwrap_or_default())
}

/// What one previewed request is hidden with.
pub(crate) struct Veil {
    masker: Masker,
    secrets: Vec<SecretString>,
    /// Texts that stand openly in the definition or in a field that is not secret.
    open: BTreeSet<String>,
    strict: bool,
}

impl Veil {
    /// `masker` has to know all of `secrets`, in their other forms too.
    pub fn new(masker: Masker, secrets: Vec<SecretString>, open: BTreeSet<String>) -> Self {
        Self { masker, secrets, open, strict: false }
    }

    /// Where secrets of a project went in, whoever looks may not read them: a template can make another text of one,
    /// which nobody could find again, so that of all that templates make nothing is shown.
    #[must_use]
    pub fn strictly(self, strict: bool) -> Self {
        Self { strict, ..self }
    }

    fn is_secret(&self, text: &str) -> bool {
        self.secrets.iter().any(|secret| secret.expose() == text)
    }

    /// A text of ours in which secrets may stand.
    pub fn text(&self, text: &str) -> String {
        let masked = self.masker.mask_text(text);
        if masked.len() != text.len() {
            return HIDDEN.to_owned();
        }
        let (mut out, mut at) = (String::with_capacity(text.len()), 0);
        while let Some(next) = masked.as_bytes().get(at) {
            let is_star = *next == b'*';
            let length = masked.bytes().skip(at).take_while(|byte| (*byte == b'*') == is_star).count();
            let part = text.get(at..at + length).unwrap_or(HIDDEN);
            match is_star && part.bytes().any(|byte| byte != b'*') {
                true if self.is_secret(part) => out.push_str(&veiled(part)),
                true => out.push_str(HIDDEN),
                false => out.push_str(part),
            }
            at += length;
        }
        out
    }

    /// A value that stands alone: short secrets are known by being all of it.
    fn part(&self, text: &str) -> String {
        if self.is_secret(text) {
            return veiled(text);
        }
        if self.masker.is_short(text) { HIDDEN.to_owned() } else { self.text(text) }
    }

    /// Path and query are looked at part by part.
    pub fn url(&self, url: &str) -> String {
        let shown = self.text(url);
        let part = |part: &str| if self.masker.is_short(part) { HIDDEN.to_owned() } else { part.to_owned() };
        let (place, query) = shown.split_once('?').map_or((shown.as_str(), None), |(a, b)| (a, Some(b)));
        let start = place.find("://").map_or(0, |at| at + 3);
        let start = place.get(start..).and_then(|rest| rest.find('/')).map_or(place.len(), |at| start + at);
        let (origin, path) = place.split_at(start);
        if self.strict && (path.len() > 1 || query.is_some()) {
            return format!("{origin}/{HIDDEN}");
        }
        let path: Vec<String> = path.split('/').map(part).collect();
        let query = query.map(|query| {
            let pairs = query.split('&').map(|pair| match pair.split_once('=') {
                Some((name, value)) => format!("{name}={}", part(value)),
                None => part(pair),
            });
            format!("?{}", pairs.collect::<Vec<_>>().join("&"))
        });
        format!("{origin}{}{}", path.join("/"), query.unwrap_or_default())
    }

    fn header(&self, value: &HeaderValue) -> String {
        let text = String::from_utf8_lossy(value.as_bytes());
        if self.is_secret(&text) {
            return veiled(&text);
        }
        let known = self.masker.found_in(value.as_bytes()) || self.masker.is_short(&text);
        if !value.is_sensitive() || (self.open.contains(&*text) && !known) {
            return self.part(&text);
        }
        // `Bearer …`, `key=…`: what stands before a secret is the connector's.
        let ends = self.secrets.iter().map(SecretString::expose).filter(|secret| !secret.is_empty());
        if let Some(secret) = ends.filter(|secret| text.ends_with(secret)).max_by_key(|secret| secret.len()) {
            let before = text.strip_suffix(secret).unwrap_or_default();
            let word = before.trim_end_matches([' ', '=']);
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
            let is_word = word.len() < before.len() && word.len() <= 16 && word.bytes().all(plain);
            if is_word && !self.is_secret(word) && !self.masker.is_short(word) {
                return format!("{before}{}", veiled(secret));
            }
        }
        match text.split_once(' ') {
            Some((word, _)) if WORDS.contains(&word.to_ascii_lowercase().as_str()) => {
                format!("{word} {HIDDEN}")
            }
            _ => HIDDEN.to_owned(),
        }
    }

    pub fn headers(&self, headers: &HeaderMap) -> Vec<(String, String)> {
        let ours = [ACCEPT, CONTENT_TYPE, USER_AGENT];
        let shown = |name: &HeaderName, value: &HeaderValue| match self.strict && !value.is_sensitive() {
            true if !ours.contains(name) => HIDDEN.to_owned(),
            _ => self.header(value),
        };
        headers.iter().map(|(name, value)| (name.to_string(), shown(name, value))).collect()
    }

    fn json(&self, value: &mut Value) {
        match value {
            Value::String(text) => *text = self.part(text),
            Value::Array(items) => items.iter_mut().for_each(|item| self.json(item)),
            Value::Object(map) => map.values_mut().for_each(|item| self.json(item)),
            Value::Number(_) | Value::Bool(_) if self.is_secret(&value.to_string()) => *value = HIDDEN.into(),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// A body; `None` where there is none. `shown`: of a token request, whose parameters a definition names: those whose
    /// values may be seen.
    pub fn body(&self, headers: &HeaderMap, body: &[u8], shown: Option<&[&str]>) -> Option<String> {
        if body.is_empty() {
            return None;
        }
        let Ok(text) = std::str::from_utf8(body) else { return Some(HIDDEN.to_owned()) };
        if (self.strict && shown.is_none()) || self.is_secret(text) {
            return Some(HIDDEN.to_owned());
        }
        let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let is_open = |name: &str| !self.strict && shown.is_none_or(|names| names.contains(&name));
        if let Ok(mut value @ (Value::Object(_) | Value::Array(_))) = serde_json::from_str::<Value>(text) {
            match &mut value {
                Value::Object(map) => map.iter_mut().for_each(|(name, value)| match is_open(name) {
                    true => self.json(value),
                    false => *value = HIDDEN.into(),
                }),
                _ if shown.is_some() => return Some(HIDDEN.to_owned()),
                other => self.json(other),
            }
            return Some(value.to_string());
        }
        if kind.is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded")) {
            let pairs = text.split('&').map(|pair| match pair.split_once('=') {
                Some((name, value)) if is_open(name) => {
                    let plain = percent_encoding::percent_decode_str(&value.replace('+', " "))
                        .decode_utf8_lossy()
                        .into_owned();
                    match self.part(&plain) {
                        same if same == plain => format!("{name}={value}"),
                        hidden => format!("{name}={hidden}"),
                    }
                }
                Some((name, _)) => format!("{name}={HIDDEN}"),
                None => HIDDEN.to_owned(),
            });
            return Some(pairs.collect::<Vec<_>>().join("&"));
        }
        // Anywhere in a text a short secret could stand.
        let holds = |secret: &SecretString| !secret.is_empty() && text.contains(secret.expose());
        let short =
            self.secrets.iter().filter(|secret| secret.expose().len() < super::mask::SHORTEST).any(holds);
        Some(if short || shown.is_some() { HIDDEN.to_owned() } else { self.text(text) })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use super::*;
    use crate::road::mask::MaskSet;

    const PLANTED: [&str; 6] = [
        "sk-ant-planted-0123456789",
        "ghp_planted0123456789",
        "my-secret-horse-battery",
        "sk-short-1",
        "pin7",
        "two words of it",
    ];

    fn veil() -> Veil {
        let secrets: Vec<SecretString> = PLANTED.iter().map(|secret| (*secret).into()).collect();
        let masker = Masker::new(Some(Arc::new(MaskSet::new(&secrets))), None);
        Veil::new(masker, secrets, ["2023-06-01".to_owned()].into())
    }

    fn sensitive(text: &str) -> HeaderValue {
        let mut value = HeaderValue::from_str(text).unwrap();
        value.set_sensitive(true);
        value
    }

    #[test]
    fn a_mark_is_kept_and_nothing_else() {
        for (secret, shown) in [
            ("sk-ant-planted-0123456789", "sk-…"),
            ("ghp_planted0123456789", "ghp_…"),
            ("xoxb-1234-5678-abcdef", "xoxb-…"),
            ("my-secret-horse-battery", "…"),
            ("ab-cdefghijklmnop", "…"),
            ("sk-short-1", "…"),
            ("-----BEGIN PRIVATE KEY-----", "…"),
            ("0123456789abcdef", "…"),
            ("", "…"),
        ] {
            assert_eq!(veiled(secret), shown, "{secret}");
        }
        // As the house promises: up to the first `-` or `_`, within five signs.
        for mark in MARKS {
            assert!(mark.len() <= 5 && mark.find(['-', '_']) == Some(mark.len() - 1), "{mark}");
        }
    }

    #[test]
    fn no_header_shows_a_secret() {
        let veil = veil();
        for (header, shown) in [
            ("sk-ant-planted-0123456789", "sk-…"),
            ("Bearer sk-ant-planted-0123456789", "Bearer sk-…"),
            ("key=ghp_planted0123456789", "key=ghp_…"),
            ("two words of it", "…"),
            ("Token pin7", "Token …"),
            ("pin7", "…"),
            ("Basic YWRhOm15LXNlY3JldA==", "Basic …"),
            ("AWS4-HMAC-SHA256 Credential=AKIA/x, Signature=abc", "AWS4-HMAC-SHA256 …"),
            ("sid=sk-ant-planted-0123456789; other=1", "…"),
            ("derived0123456789", "…"),
            ("correct horse", "…"),
            // What the definition says itself is public, but for a secret in it.
            ("2023-06-01", "2023-06-01"),
        ] {
            assert_eq!(veil.header(&sensitive(header)), shown, "{header}");
        }
        assert_eq!(veil.header(&HeaderValue::from_static("application/json")), "application/json");
        assert_eq!(veil.header(&HeaderValue::from_static("x my-secret-horse-battery")), "x …");
    }

    #[test]
    fn no_url_and_no_body_shows_a_secret() {
        let veil = veil();
        let secret = "sk-ant-planted-0123456789";
        for (url, shown) in [
            (
                "https://a.example/v1/x?key=sk-ant-planted-0123456789&n=1",
                "https://a.example/v1/x?key=sk-…&n=1",
            ),
            ("https://a.example/ghp_planted0123456789/x", "https://a.example/ghp_…/x"),
            ("https://a.example/x?p=pin7", "https://a.example/x?p=…"),
            ("https://a.example/x?p=two%20words%20of%20it", "https://a.example/x?p=…"),
            ("https://a.example", "https://a.example"),
        ] {
            assert_eq!(veil.url(url), shown);
        }
        let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
        let form = HeaderMap::from_iter([(CONTENT_TYPE, kind)]);
        let sent = "grant_type=password&password=pin7&client_secret=two+words+of+it&assertion=eyJ&scope=a+b";
        assert_eq!(
            veil.body(&form, sent.as_bytes(), None).unwrap(),
            "grant_type=password&password=…&client_secret=…&assertion=eyJ&scope=a+b"
        );
        assert_eq!(
            veil.body(&form, sent.as_bytes(), Some(&["grant_type", "scope"])).unwrap(),
            "grant_type=password&password=…&client_secret=…&assertion=…&scope=a+b"
        );
        let json =
            format!(r#"{{"user": "ada", "pin": "pin7", "deep": [{{"key": "{secret}"}}, "x {secret}"]}}"#);
        let shown = veil.body(&HeaderMap::new(), json.as_bytes(), None).unwrap();
        assert_eq!(shown, r#"{"user":"ada","pin":"…","deep":[{"key":"sk-…"},"x sk-…"]}"#);
        assert_eq!(veil.body(&HeaderMap::new(), b"the pin7 of it", None).unwrap(), "…");
        assert_eq!(
            veil.body(&HeaderMap::new(), b"<a>my-secret-horse-battery</a>", None).unwrap(),
            "<a>…</a>"
        );
        assert_eq!(veil.body(&HeaderMap::new(), &[0xff, 0xfe], None).unwrap(), "…");
        assert_eq!(veil.body(&HeaderMap::new(), b"", None), None);
    }

    #[test]
    fn what_templates_make_of_a_projects_secrets_is_not_shown() {
        let strict = veil().strictly(true);
        // No mask knows these: they were turned around.
        assert_eq!(strict.url("https://a.example/v1/yrettab-esroh?x=yrettab"), "https://a.example/…");
        assert_eq!(strict.url("https://a.example"), "https://a.example");
        assert_eq!(strict.url("https://a.example?x=yrettab"), "https://a.example/…");
        assert_eq!(strict.body(&HeaderMap::new(), br#"{"key": "yrettab"}"#, None).unwrap(), "…");
        let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
        let form = HeaderMap::from_iter([(CONTENT_TYPE, kind)]);
        let sent = b"grant_type=password&scope=yrettab";
        assert_eq!(strict.body(&form, sent, Some(&["grant_type", "scope"])).unwrap(), "grant_type=…&scope=…");
        let mut headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static("*/*"))]);
        headers.insert("x-own", HeaderValue::from_static("yrettab"));
        headers.insert("x-key", sensitive("sk-ant-planted-0123456789"));
        let shown = strict.headers(&headers);
        for (name, text) in [("accept", "*/*"), ("x-own", "…"), ("x-key", "sk-…")] {
            assert!(shown.contains(&(name.to_owned(), text.to_owned())), "{shown:?}");
        }
    }
}
