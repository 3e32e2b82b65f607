//! A JWT of our own on every request (RFC 7519), never cached.
//!
//! Claims that are not given are set: `iat` to now, `exp` to now plus `lifetime_secs`, `jti` to 128 random
//! bits. One that an API must not get is given as `null`. `nbf` is never set by itself. The header gets
//! `alg` always and `typ: JWT` unless given otherwise.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use latchstring_model::{Entropy, SecretString, Timestamp};
use serde_json::{Map, Value};

use crate::apply::{Place, Placement};
use crate::error::SchemeError;
use crate::jws::{self, Algorithm, JwsError, KeyEncoding, SigningKey};
use crate::keys::ParsedKeys;
use crate::wire::Outgoing;

/// Long enough for clocks that differ by a minute or two, short enough to be worthless when it leaks.
pub const DEFAULT_LIFETIME_SECS: i64 = 180;
const MAX_LIFETIME_SECS: i64 = 365 * 24 * 3600;

/// The key to sign with, as pasted; `encoding` is looked at for HS algorithms only.
pub struct JwtKey {
    pub key: SecretString,
    pub passphrase: Option<SecretString>,
    pub encoding: KeyEncoding,
}

pub struct Jwt {
    pub key: JwtKey,
    pub algorithm: Algorithm,
    pub claims: Map<String, Value>,
    pub headers: Map<String, Value>,
    /// From `iat` to `exp`, unless the claims give `exp`.
    pub lifetime_secs: i64,
    /// How far `iat` lies in the past: for servers whose clock is behind (GitHub advises 60).
    pub backdate_secs: i64,
    pub place: Placement,
}

impl Jwt {
    pub fn new(key: JwtKey) -> Self {
        Self {
            key,
            algorithm: Algorithm::default(),
            claims: Map::new(),
            headers: Map::new(),
            lifetime_secs: DEFAULT_LIFETIME_SECS,
            backdate_secs: 0,
            place: Placement::default(),
        }
    }

    pub(crate) fn prepare(&self, keys: &ParsedKeys) -> Result<PreparedJwt, SchemeError> {
        for (field, value, least) in
            [("lifetime_secs", self.lifetime_secs, 1), ("backdate_secs", self.backdate_secs, 0)]
        {
            if value < least || value > MAX_LIFETIME_SECS {
                return Err(SchemeError::Range { field, least, most: MAX_LIFETIME_SECS });
            }
        }
        let JwtKey { key, passphrase, encoding } = &self.key;
        let key = keys
            .signing(self.algorithm, key, passphrase.as_ref(), *encoding)
            .map_err(|source| SchemeError::Key { field: "private_key", source })?;
        let mut header = self.headers.clone();
        header.entry("typ").or_insert_with(|| Value::from("JWT"));
        let header = jws::encode_header(key.algorithm(), &header)?;

        let mut claims = self.claims.clone();
        jws::normalise_times(&mut claims)?;
        let set = |name: &str| !self.claims.contains_key(name);
        let (set_iat, set_exp, set_jti) = (set("iat"), set("exp"), set("jti"));
        claims.retain(|_, value| !value.is_null());
        let mut opening = serde_json::to_string(&claims).map_err(|_| JwsError::Json)?;
        // The object stays open: what differs from request to request is written behind it.
        opening.pop();
        Ok(PreparedJwt {
            key,
            header,
            opening,
            set_iat,
            set_exp,
            set_jti,
            lifetime_secs: self.lifetime_secs,
            backdate_secs: self.backdate_secs,
            place: Place::new("place", &self.place)?,
        })
    }
}

pub(crate) struct PreparedJwt {
    key: Arc<SigningKey>,
    header: String,
    opening: String,
    set_iat: bool,
    set_exp: bool,
    set_jti: bool,
    lifetime_secs: i64,
    backdate_secs: i64,
    pub(crate) place: Place,
}

impl PreparedJwt {
    fn payload(&self, now: Timestamp, entropy: &dyn Entropy) -> String {
        use std::fmt::Write as _;
        let mut payload = String::with_capacity(self.opening.len() + 96);
        payload.push_str(&self.opening);
        let mut member = |name: &str, value: std::fmt::Arguments<'_>| {
            let comma = if payload.ends_with('{') { "" } else { "," };
            // Writing to a string cannot fail.
            let _ = write!(payload, "{comma}\"{name}\":{value}");
        };
        if self.set_iat {
            member("iat", format_args!("{}", now.secs().saturating_sub(self.backdate_secs)));
        }
        if self.set_exp {
            member("exp", format_args!("{}", now.plus_secs(self.lifetime_secs).secs()));
        }
        if self.set_jti {
            let mut id = [0; 16];
            entropy.fill(&mut id);
            member("jti", format_args!("\"{}\"", URL_SAFE_NO_PAD.encode(id)));
        }
        payload.push('}');
        payload
    }

    pub(crate) fn sign(
        &self,
        out: &mut Outgoing<'_>,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> Result<(), SchemeError> {
        let token = jws::sign_encoded(&self.key, &self.header, self.payload(now, entropy).as_bytes())?;
        self.place.set(out, "place", &token)
    }
}
