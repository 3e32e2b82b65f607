//! How a client proves itself to a token endpoint (RFC 6749 §2.3, RFC 7523 §2.2, RFC 8705 §2).

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use latchstring_model::{Entropy, SecretString, Timestamp};
use serde_json::Map;

use super::assertion::Assertion;
use super::error::OAuthError;
use super::request::{Params, form_encode};
use crate::jws::SigningKey;

/// Assertions are used at once; a long life only helps whoever steals one.
pub const ASSERTION_LIFE_SECS: i64 = 180;

/// Our registration with a provider, as far as its token endpoint sees it.
#[derive(Clone)]
pub struct Client {
    pub id: String,
    pub auth: ClientAuth,
}

#[derive(Clone)]
pub enum ClientAuth {
    /// `Authorization: Basic`. RFC 6749 §2.3.1 form-encodes id and secret first; `raw` leaves that
    /// out for the providers that compare the decoded text byte for byte.
    Basic {
        secret: SecretString,
        raw: bool,
    },
    /// `client_id` and `client_secret` among the parameters.
    Post {
        secret: SecretString,
    },
    /// A public client: `client_id` among the parameters, no proof.
    None,
    /// RFC 8705 §2: the certificate of the connection is the proof (`tls_client_auth` and
    /// `self_signed_tls_client_auth` differ in how the server trusts it, not in what is sent); `client_id` among the
    /// parameters says whose it should be.
    Tls,
    /// Neither id nor proof in the request: a connector's own headers.
    Silent,
    PrivateKeyJwt(PrivateKeyJwt),
}

/// RFC 7523 §2.2: the client signs a JWT about itself.
#[derive(Clone)]
pub struct PrivateKeyJwt {
    /// Parsed once, shared by all that sign with it.
    pub key: Arc<SigningKey>,
    /// Most providers want their issuer, many still their token URL. One alone: an assertion for two
    /// audiences can be passed on by one to the other.
    pub audience: String,
    pub life_secs: i64,
    /// Further JOSE header fields: `kid`, `x5t`.
    pub headers: Map<String, serde_json::Value>,
    /// Further claims; `null` takes one out.
    pub claims: Map<String, serde_json::Value>,
}

impl Client {
    pub fn new(id: impl Into<String>, auth: ClientAuth) -> Self {
        Self { id: id.into(), auth }
    }

    /// What must never be shown of this client.
    pub fn secrets(&self) -> Vec<SecretString> {
        match &self.auth {
            ClientAuth::Basic { secret, .. } | ClientAuth::Post { secret } => vec![secret.clone()],
            ClientAuth::None | ClientAuth::Tls | ClientAuth::Silent | ClientAuth::PrivateKeyJwt(_) => {
                Vec::new()
            }
        }
    }

    /// Adds the proof to the parameters; what belongs into `Authorization` is returned.
    pub(super) fn prove(
        &self,
        params: &mut Params,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> Result<Option<SecretString>, OAuthError> {
        match &self.auth {
            ClientAuth::Basic { secret, raw } => Ok(Some(basic(&self.id, secret, *raw))),
            ClientAuth::Post { secret } => {
                params.text("client_id", &self.id);
                params.push("client_secret", secret.clone());
                Ok(None)
            }
            ClientAuth::None | ClientAuth::Tls => {
                params.text("client_id", &self.id);
                Ok(None)
            }
            ClientAuth::Silent => Ok(None),
            ClientAuth::PrivateKeyJwt(own) => {
                let assertion = Assertion {
                    key: &own.key,
                    issuer: &self.id,
                    subject: Some(&self.id),
                    audience: std::slice::from_ref(&own.audience),
                    life_secs: own.life_secs,
                    headers: &own.headers,
                    claims: &own.claims,
                };
                params.text("client_id", &self.id);
                params
                    .text("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
                params.push("client_assertion", assertion.sign(now, entropy)?);
                Ok(None)
            }
        }
    }
}

fn basic(id: &str, secret: &SecretString, raw: bool) -> SecretString {
    let pair = if raw {
        SecretString::new(format!("{id}:{}", secret.expose()))
    } else {
        SecretString::new(format!("{}:{}", form_encode(id), form_encode(secret.expose())))
    };
    SecretString::new(format!("Basic {}", STANDARD.encode(pair.expose())))
}
