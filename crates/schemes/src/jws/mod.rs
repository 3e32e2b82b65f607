//! JSON Web Signature, compact serialisation (RFC 7515 section 7.1), for JWTs (RFC 7519): those that we sign, and
//! ([`verify`]) those that a sign-in provider signed.
//!
//! Times are NumericDates: seconds since the epoch (RFC 7519 section 2).

mod algorithm;
mod key;
pub mod verify;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use latchstring_model::SecretString;
use serde_json::{Map, Number, Value};

pub use self::algorithm::Algorithm;
pub use self::key::SigningKey;
pub use crate::encoding::KeyEncoding;
pub use crate::keys::{KeyError, KeyKind};

/// Why a token could not be signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwsError {
    #[error(
        "The claim `{0}` must be a number of seconds since 1970 (RFC 7519), but is a text that is none. \
         Leave it out to have it set, or use now(…) in its template."
    )]
    TimeClaim(&'static str),
    #[error(
        "The JWT header `alg` says something else than the chosen algorithm {0}. \
         Leave it out of the headers: it is always set."
    )]
    AlgConflict(Algorithm),
    #[error(
        "The JWT header `{0}` would change how the token has to be read and is not supported. Leave it out."
    )]
    UnsupportedHeader(&'static str),
    #[error("The claims or headers cannot be written as JSON.")]
    Json,
    #[error("The signature could not be made with this key. Export the key again; it may be damaged.")]
    Signing,
}

/// Makes `exp`, `iat` and `nbf` numbers where they are numeric texts, as templates render them.
pub fn normalise_times(claims: &mut Map<String, Value>) -> Result<(), JwsError> {
    for name in ["exp", "iat", "nbf"] {
        if let Some(value @ Value::String(_)) = claims.get_mut(name) {
            let number = value.as_str().and_then(numeric_date).ok_or(JwsError::TimeClaim(name))?;
            *value = Value::Number(number);
        }
    }
    Ok(())
}

/// `1700000000`, also with blanks around or a fraction, which is cut off: `1700000000.25`.
fn numeric_date(text: &str) -> Option<Number> {
    let text = text.trim();
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    whole.parse::<i64>().ok().map(Number::from)
}

/// The protected header in base64url: ours is `alg`; what else was given follows. Values that are `null` are left out.
pub(crate) fn encode_header(algorithm: Algorithm, header: &Map<String, Value>) -> Result<String, JwsError> {
    let mut full = Map::with_capacity(header.len() + 1);
    full.insert("alg".to_owned(), Value::from(algorithm.as_str()));
    for (name, value) in header {
        match name.as_str() {
            "alg" if value.as_str() != Some(algorithm.as_str()) && !value.is_null() => {
                return Err(JwsError::AlgConflict(algorithm));
            }
            "alg" => {}
            // RFC 7797: the payload would not be base64url any more.
            "b64" => return Err(JwsError::UnsupportedHeader("b64")),
            "crit" => return Err(JwsError::UnsupportedHeader("crit")),
            _ if value.is_null() => {}
            _ => {
                full.insert(name.clone(), value.clone());
            }
        }
    }
    let json = serde_json::to_vec(&full).map_err(|_| JwsError::Json)?;
    Ok(URL_SAFE_NO_PAD.encode(json))
}

/// Signs a payload under a header that [`encode_header`] made.
pub(crate) fn sign_encoded(key: &SigningKey, header: &str, payload: &[u8]) -> Result<String, JwsError> {
    let mut token = String::with_capacity(header.len() + payload.len() * 4 / 3 + 700);
    token.push_str(header);
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(payload, &mut token);
    let signature = key.sign(token.as_bytes())?;
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut token);
    Ok(token)
}

/// A signed JWT. `alg` is always the key's own; `typ` and all else stand in `header`.
/// Numeric texts in `exp`, `iat` and `nbf` become numbers.
pub fn sign_compact(
    key: &SigningKey,
    header: &Map<String, Value>,
    claims: &Map<String, Value>,
) -> Result<SecretString, JwsError> {
    let header = encode_header(key.algorithm(), header)?;
    let mut claims = claims.clone();
    normalise_times(&mut claims)?;
    let payload = serde_json::to_vec(&claims).map_err(|_| JwsError::Json)?;
    sign_encoded(key, &header, &payload).map(SecretString::new)
}
