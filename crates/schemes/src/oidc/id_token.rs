//! An ID token, verified whole (OpenID Connect Core 1.0 section 3.1.3.7). It came over TLS from the token endpoint,
//! and its signature is verified all the same.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, SHA384, SHA512, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use latchstring_model::{SecretString, Timestamp};
use serde_json::{Map, Value};

use crate::jws::Algorithm;
use crate::jws::verify::{PublicKeys, VerifyError, verify_compact};

/// How far two clocks may differ, in seconds.
const SKEW: i64 = 60;
/// A token for a code that was exchanged just now is not older than this, in seconds.
const OLDEST: i64 = 600;
/// OpenID Connect Core section 2: a subject has at most 255 ASCII characters.
const LONGEST_SUBJECT: usize = 255;

/// What a token has to say.
pub struct Expected<'a> {
    pub issuer: &'a str,
    pub client_id: &'a str,
    pub nonce: &'a SecretString,
    pub now: Timestamp,
    /// When the sign-in was begun that wanted the person to sign in anew (`max_age`): `auth_time` lies behind it.
    pub signed_in_since: Option<Timestamp>,
    /// With which `at_hash` is compared, where the token has one.
    pub access_token: &'a SecretString,
}

/// Why a token is not accepted. The text goes on after "the ID token …".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdTokenError {
    #[error(transparent)]
    Verify(#[from] VerifyError),
    #[error("comes from another issuer than the one that was asked")]
    Issuer,
    #[error("is for another client")]
    Audience,
    #[error("was given to another client (`azp`)")]
    Party,
    #[error("has expired; the clocks of provider and server may differ")]
    Expired,
    #[error("is from another time than now (`iat`); the clocks of provider and server may differ")]
    Issued,
    #[error("belongs to another sign-in (`nonce`)")]
    Nonce,
    #[error("names nobody (`sub`)")]
    Subject,
    #[error("does not say that the person has just signed in (`auth_time`)")]
    AuthTime,
    #[error("belongs to another access token (`at_hash`)")]
    AccessToken,
}

/// A token that was accepted.
pub struct IdToken {
    pub subject: String,
    pub claims: Map<String, Value>,
}

impl IdToken {
    /// Whether the provider says that more than one factor was shown (RFC 8176: `mfa`).
    pub fn has_second_factor(&self) -> bool {
        let methods = self.claims.get("amr").and_then(Value::as_array);
        methods.is_some_and(|methods| methods.iter().any(|method| method == "mfa"))
    }
}

fn text<'a>(claims: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    claims.get(name).and_then(Value::as_str)
}

/// A NumericDate (RFC 7519 section 2), in whole seconds.
fn seconds(claims: &Map<String, Value>, name: &str) -> Option<i64> {
    let value = claims.get(name)?;
    value.as_i64().or_else(|| value.as_f64().filter(|secs| secs.abs() < 1e12).map(|secs| secs as i64))
}

/// OpenID Connect Core section 3.1.3.6: the left half of the hash that goes with the token's algorithm.
fn at_hash(algorithm: Algorithm, access_token: &SecretString) -> String {
    let hash = match algorithm {
        Algorithm::Rs384 | Algorithm::Ps384 | Algorithm::Es384 | Algorithm::Hs384 => &SHA384,
        Algorithm::Rs512 | Algorithm::Ps512 | Algorithm::Es512 | Algorithm::Hs512 | Algorithm::EdDsa => {
            &SHA512
        }
        Algorithm::Rs256 | Algorithm::Ps256 | Algorithm::Es256 | Algorithm::Hs256 => &SHA256,
    };
    let whole = digest(hash, access_token.expose().as_bytes());
    URL_SAFE_NO_PAD.encode(&whole.as_ref()[..whole.as_ref().len() / 2])
}

pub fn verify_id_token(
    token: &SecretString,
    keys: &PublicKeys,
    expected: &Expected<'_>,
) -> Result<IdToken, IdTokenError> {
    let verified = verify_compact(token.expose(), keys)?;
    let claims = verified.claims;
    let now = expected.now.millis().div_euclid(1000);
    if text(&claims, "iss") != Some(expected.issuer) {
        return Err(IdTokenError::Issuer);
    }
    let several = match claims.get("aud") {
        Some(Value::String(one)) if one == expected.client_id => false,
        Some(Value::Array(list)) if list.iter().any(|one| one == expected.client_id) => list.len() > 1,
        _ => return Err(IdTokenError::Audience),
    };
    match claims.get("azp") {
        Some(party) if party != expected.client_id => return Err(IdTokenError::Party),
        None if several => return Err(IdTokenError::Party),
        _ => {}
    }
    if seconds(&claims, "exp").is_none_or(|end| end <= now - SKEW) {
        return Err(IdTokenError::Expired);
    }
    if seconds(&claims, "iat").is_none_or(|at| at > now + SKEW || at < now - OLDEST) {
        return Err(IdTokenError::Issued);
    }
    let nonce = text(&claims, "nonce").unwrap_or_default();
    let wanted = expected.nonce.expose();
    if wanted.is_empty() || verify_slices_are_equal(nonce.as_bytes(), wanted.as_bytes()).is_err() {
        return Err(IdTokenError::Nonce);
    }
    let subject = text(&claims, "sub")
        .filter(|sub| !sub.is_empty() && sub.len() <= LONGEST_SUBJECT && !sub.chars().any(char::is_control))
        .ok_or(IdTokenError::Subject)?
        .to_owned();
    if let Some(since) = expected.signed_in_since {
        let since = since.millis().div_euclid(1000);
        // Whole seconds, rounded as the provider likes; a skewed clock must not let an old sign-in pass.
        if seconds(&claims, "auth_time").is_none_or(|at| at < since - SKEW || at > now + SKEW) {
            return Err(IdTokenError::AuthTime);
        }
    }
    if let Some(hash) = text(&claims, "at_hash")
        && hash != at_hash(verified.algorithm, expected.access_token)
    {
        return Err(IdTokenError::AccessToken);
    }
    Ok(IdToken { subject, claims })
}
