//! OAuth 1.0a (RFC 5849): every request is signed with the application's and the person's secrets.
//!
//! | signature method | key | |
//! | --- | --- | --- |
//! | `HMAC-SHA1` | both secrets | section 3.4.2; the default, since it is what most providers know |
//! | `HMAC-SHA256` | both secrets | no RFC, but the same with another hash |
//! | `RSA-SHA256` | the application's RSA key | likewise; section 3.4.3 has SHA-1, with which aws-lc-rs rightly does not sign |
//! | `PLAINTEXT` | both secrets, as they are | section 3.4.4; TLS alone keeps them |
//!
//! The protocol's parameters go into the `Authorization` header (section 3.5.1). A form-encoded body is covered by
//! the signature (section 3.4.1.3.1), so it is held; any other body is not covered and is streamed.
//!
//! [`ThreeLegged`] is an application that people consent to, with the messages by which a person's token is obtained
//! (section 2). Times are seconds since 1970.

mod base_string;
mod consent;
mod three_legged;

use std::sync::Arc;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use latchstring_model::{Entropy, SecretString, Timestamp};
use zeroize::Zeroizing;

use crate::apply::{encode, header_value, remove_query, split_target};
use crate::encoding::{KeyEncoding, hex};
use crate::error::SchemeError;
use crate::jws::{Algorithm, SigningKey};
use crate::keys::ParsedKeys;
use crate::wire::Outgoing;

pub use consent::{
    ANSWER_LIMIT, Credentials, OAuth1Error, TemporaryCredentials, callback_token, read_callback,
};
pub use three_legged::ThreeLegged;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SignatureMethod {
    #[default]
    HmacSha1,
    HmacSha256,
    RsaSha256,
    Plaintext,
}

impl SignatureMethod {
    pub const ALL: &'static [SignatureMethod] = &[
        SignatureMethod::HmacSha1,
        SignatureMethod::HmacSha256,
        SignatureMethod::RsaSha256,
        SignatureMethod::Plaintext,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            SignatureMethod::HmacSha1 => "HMAC-SHA1",
            SignatureMethod::HmacSha256 => "HMAC-SHA256",
            SignatureMethod::RsaSha256 => "RSA-SHA256",
            SignatureMethod::Plaintext => "PLAINTEXT",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|method| method.as_str() == text)
    }
}

/// The application and, once there is one, the person's token.
#[derive(Clone)]
pub struct OAuth1 {
    pub consumer_key: String,
    /// Empty for the few providers that hand out none, and with an RSA key.
    pub consumer_secret: SecretString,
    pub token: Option<SecretString>,
    pub token_secret: SecretString,
    pub method: SignatureMethod,
    /// PEM, for `RSA-SHA256`.
    pub private_key: Option<SecretString>,
    /// Of an encrypted one.
    pub passphrase: Option<SecretString>,
    /// The same, parsed already; it wins.
    pub signing_key: Option<Arc<SigningKey>>,
    pub realm: Option<String>,
}

impl OAuth1 {
    /// An application without a person's token.
    pub fn new(consumer_key: impl Into<String>, consumer_secret: impl Into<SecretString>) -> Self {
        Self {
            consumer_key: consumer_key.into(),
            consumer_secret: consumer_secret.into(),
            token: None,
            token_secret: SecretString::default(),
            method: SignatureMethod::default(),
            private_key: None,
            passphrase: None,
            signing_key: None,
            realm: None,
        }
    }

    pub fn prepare(&self, keys: &ParsedKeys) -> Result<PreparedOAuth1, SchemeError> {
        if self.consumer_key.is_empty() {
            return Err(SchemeError::Missing { field: "consumer_key" });
        }
        let realm = match self.realm.as_deref() {
            Some(realm) if realm.chars().any(char::is_control) => {
                return Err(SchemeError::ControlCharacter { field: "realm" });
            }
            Some(realm) => Some(realm.replace('\\', "\\\\").replace('"', "\\\"")),
            None => None,
        };
        let key = match self.method {
            SignatureMethod::RsaSha256 => Some(self.rsa_key(keys)?),
            _ => None,
        };
        Ok(PreparedOAuth1 {
            consumer_key: self.consumer_key.clone(),
            consumer_secret: self.consumer_secret.clone(),
            token: self.token.clone().filter(|token| !token.is_empty()),
            token_secret: self.token_secret.clone(),
            method: self.method,
            signer: Signer::new(self.method, &self.consumer_secret, &self.token_secret, key)?,
            realm,
        })
    }

    fn rsa_key(&self, keys: &ParsedKeys) -> Result<Arc<SigningKey>, SchemeError> {
        if let Some(key) = &self.signing_key {
            // Its own algorithm is what it signs with, whatever the header would say.
            if key.algorithm() == Algorithm::Rs256 {
                return Ok(Arc::clone(key));
            }
            return Err(SchemeError::OAuth(format!(
                "the application's key is for {}, and OAuth 1.0a signs with RS256 here (RSA-SHA256); give it an RSA key",
                key.algorithm().as_str()
            )));
        }
        let Some(key) = self.private_key.as_ref().filter(|key| !key.is_empty()) else {
            return Err(SchemeError::Missing { field: "private_key" });
        };
        keys.signing(Algorithm::Rs256, key, self.passphrase.as_ref(), KeyEncoding::Raw)
            .map_err(|source| SchemeError::Key { field: "private_key", source })
    }
}

enum Signer {
    Plain(SecretString),
    Hmac(Box<hmac::Key>),
    Rsa(Arc<SigningKey>),
}

impl Signer {
    fn new(
        method: SignatureMethod,
        consumer_secret: &SecretString,
        token_secret: &SecretString,
        key: Option<Arc<SigningKey>>,
    ) -> Result<Self, SchemeError> {
        // Section 3.4.2: the encoded secrets with an ampersand between, also when one is empty.
        let pair = || {
            Zeroizing::new(format!("{}&{}", encode(consumer_secret.expose()), encode(token_secret.expose())))
        };
        Ok(match method {
            SignatureMethod::Plaintext => Signer::Plain(SecretString::new(pair().as_str())),
            SignatureMethod::HmacSha1 => {
                let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, pair().as_bytes());
                Signer::Hmac(Box::new(key))
            }
            SignatureMethod::HmacSha256 => {
                Signer::Hmac(Box::new(hmac::Key::new(hmac::HMAC_SHA256, pair().as_bytes())))
            }
            SignatureMethod::RsaSha256 => match key {
                Some(key) => Signer::Rsa(key),
                None => return Err(SchemeError::Missing { field: "private_key" }),
            },
        })
    }
}

pub struct PreparedOAuth1 {
    consumer_key: String,
    consumer_secret: SecretString,
    token: Option<SecretString>,
    token_secret: SecretString,
    method: SignatureMethod,
    signer: Signer,
    realm: Option<String>,
}

/// What the header may hold beside `realm` and the signature; a caller's of these names in the query would be read
/// as ours (section 3.5).
const OURS: [&str; 7] = [
    "oauth_consumer_key",
    "oauth_token",
    "oauth_signature_method",
    "oauth_timestamp",
    "oauth_nonce",
    "oauth_version",
    "oauth_signature",
];

/// Section 3.4.1.3.1: a single-part body of this type is a part of what is signed.
pub(crate) fn is_form(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let (Some(only), None) = (values.next(), values.next()) else { return false };
    let essence = only.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
    essence.trim_ascii().eq_ignore_ascii_case(b"application/x-www-form-urlencoded")
}

impl PreparedOAuth1 {
    /// Whether the signature covers this request's body.
    pub(crate) fn covers_body(&self, headers: &HeaderMap) -> bool {
        self.method != SignatureMethod::Plaintext && is_form(headers)
    }

    /// The same application with a person's token.
    pub(crate) fn with_token(
        &self,
        token: &SecretString,
        secret: &SecretString,
    ) -> Result<Self, SchemeError> {
        let key = match &self.signer {
            Signer::Rsa(key) => Some(Arc::clone(key)),
            _ => None,
        };
        Ok(Self {
            consumer_key: self.consumer_key.clone(),
            consumer_secret: self.consumer_secret.clone(),
            token: Some(token.clone()).filter(|token| !token.is_empty()),
            token_secret: secret.clone(),
            method: self.method,
            signer: Signer::new(self.method, &self.consumer_secret, secret, key)?,
            realm: self.realm.clone(),
        })
    }

    pub(crate) fn secrets(&self) -> Vec<SecretString> {
        let mut all = vec![self.consumer_secret.clone(), self.token_secret.clone()];
        all.extend(self.token.clone());
        if let Signer::Plain(text) = &self.signer {
            all.push(text.clone());
        }
        all
    }

    /// Gives back the signature as it was written, for masks.
    pub(crate) fn sign(
        &self,
        out: &mut Outgoing<'_>,
        body: Option<&[u8]>,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> Result<SecretString, SchemeError> {
        self.sign_with(out, body, &[], now, entropy)
    }

    /// `more` are protocol parameters of the messages of section 2: `oauth_callback`, `oauth_verifier`.
    fn sign_with(
        &self,
        out: &mut Outgoing<'_>,
        body: Option<&[u8]>,
        more: &[(&str, &str)],
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> Result<SecretString, SchemeError> {
        for name in OURS {
            remove_query(out.target, name);
        }
        let form = match (self.covers_body(out.headers), body) {
            (true, None) => return Err(SchemeError::BodyNotHeld),
            (true, Some(body)) => body,
            (false, _) => &[],
        };
        let mut random = [0; 16];
        entropy.fill(&mut random);
        let (nonce, timestamp) = (hex(&random), now.secs().to_string());
        let mut own = vec![("oauth_consumer_key", self.consumer_key.as_str())];
        own.extend(self.token.as_ref().map(|token| ("oauth_token", token.expose())));
        own.push(("oauth_signature_method", self.method.as_str()));
        // Section 3.1 lets PLAINTEXT do without these two; many servers want them all the same.
        own.push(("oauth_timestamp", &timestamp));
        own.push(("oauth_nonce", &nonce));
        own.push(("oauth_version", "1.0"));
        own.extend(more.iter().copied());

        let signature = match &self.signer {
            Signer::Plain(text) => text.clone(),
            Signer::Hmac(key) => {
                let (_, query) = split_target(out.target);
                let text = base_string::build(out, query.unwrap_or_default(), &own, form);
                SecretString::new(STANDARD.encode(hmac::sign(key, text.as_bytes())))
            }
            Signer::Rsa(key) => {
                let (_, query) = split_target(out.target);
                let text = base_string::build(out, query.unwrap_or_default(), &own, form);
                SecretString::new(STANDARD.encode(key.sign(text.as_bytes())?))
            }
        };

        let mut line = Zeroizing::new(String::from("OAuth "));
        if let Some(realm) = &self.realm {
            line.push_str(&format!("realm=\"{realm}\", "));
        }
        for (name, value) in &own {
            line.push_str(&format!("{name}=\"{}\", ", encode(value)));
        }
        line.push_str(&format!("oauth_signature=\"{}\"", encode(signature.expose())));
        out.headers.insert(AUTHORIZATION, header_value("consumer_key", &line)?);
        Ok(signature)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use http::Method;
    use latchstring_model::address::Address;

    use super::*;

    /// The last request of RFC 5849 section 1.2, which has no `oauth_version`: key and base string by hand.
    #[test]
    fn the_signature_of_rfc_5849() {
        let address =
            Address::parse("http://photos.example.net/photos?file=vacation.jpg&size=original").unwrap();
        let (mut target, mut headers) = (address.target(), HeaderMap::new());
        let out = Outgoing {
            method: &Method::GET,
            origin: &address.origin,
            target: &mut target,
            headers: &mut headers,
        };
        let own = [
            ("oauth_consumer_key", "dpf43f3p2l4k3l03"),
            ("oauth_token", "nnch734d00sl2jdk"),
            ("oauth_signature_method", "HMAC-SHA1"),
            ("oauth_timestamp", "137131202"),
            ("oauth_nonce", "chapoH"),
        ];
        let text = base_string::build(&out, "file=vacation.jpg&size=original", &own, b"");
        let scheme = OAuth1 {
            token: Some("nnch734d00sl2jdk".into()),
            token_secret: "pfkkdhi9sl3r4s00".into(),
            ..OAuth1::new("dpf43f3p2l4k3l03", "kd94hf93k423kf44")
        };
        let Signer::Hmac(key) = scheme.prepare(&ParsedKeys::default()).unwrap().signer else {
            panic!("HMAC is the default")
        };
        assert_eq!(STANDARD.encode(hmac::sign(&key, text.as_bytes())), "MdpQcU8iPSUjWoN/UDMsK2sui9I=");
    }
}
