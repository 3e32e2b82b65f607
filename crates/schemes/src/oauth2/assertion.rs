//! Signed assertions (RFC 7521, RFC 7523 §3): a short-lived JWT about who asks.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use latchstring_model::{Entropy, SecretString, Timestamp};
use serde_json::{Map, Value};

use super::error::OAuthError;
use crate::jws::{SigningKey, sign_compact};

/// What one assertion says. Borrowed from the grant or client that it is for.
pub struct Assertion<'a> {
    pub key: &'a SigningKey,
    pub issuer: &'a str,
    pub subject: Option<&'a str>,
    /// One is written as a text, several as a list, none leaves the claim out.
    pub audience: &'a [String],
    pub life_secs: i64,
    pub headers: &'a Map<String, Value>,
    /// Win over the claims above; `null` takes one out. Numeric texts in `exp`, `iat` and `nbf`
    /// become integers: templates render texts, and providers refuse those.
    pub claims: &'a Map<String, Value>,
}

impl Assertion<'_> {
    pub fn sign(&self, now: Timestamp, entropy: &dyn Entropy) -> Result<SecretString, OAuthError> {
        let mut header = Map::new();
        header.insert("typ".into(), "JWT".into());
        overlay(&mut header, self.headers);

        let mut claims = Map::new();
        claims.insert("iss".into(), self.issuer.into());
        if let Some(subject) = self.subject {
            claims.insert("sub".into(), subject.into());
        }
        match self.audience {
            [] => {}
            [one] => {
                claims.insert("aud".into(), one.as_str().into());
            }
            many => {
                claims.insert("aud".into(), many.into());
            }
        }
        claims.insert("iat".into(), now.secs().into());
        claims.insert("exp".into(), now.plus_secs(self.life_secs).secs().into());
        let mut id = [0; 16];
        entropy.fill(&mut id);
        claims.insert("jti".into(), URL_SAFE_NO_PAD.encode(id).into());
        overlay(&mut claims, self.claims);
        sign_compact(self.key, &header, &claims).map_err(|e| OAuthError::not_sendable(e.to_string()))
    }
}

fn overlay(base: &mut Map<String, Value>, extra: &Map<String, Value>) {
    for (name, value) in extra {
        if value.is_null() {
            base.shift_remove(name);
        } else {
            base.insert(name.clone(), value.clone());
        }
    }
}
