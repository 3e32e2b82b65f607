//! Request signatures with a shared secret, as data.
//!
//! Providers differ in what they sign, how they write it and where they put it, so all of that is
//! text with placeholders. `sign` is a list of pieces that `separator` joins; `additions` are headers and
//! query parameters that go with the signature and are set, in their order, before anything is signed;
//! the signature itself goes last. There is one time and one nonce per request.
//!
//! | placeholder | stands for |
//! | --- | --- |
//! | `{method}` `{method_lower}` | `POST`, `post` |
//! | `{path}` `{target}` `{url}` | `/v1/x`; with `?query`; with `https://host` in front |
//! | `{query}` `{query_sorted}` | as sent, without `?`; its pairs sorted by name, then by value |
//! | `{query_lines}` | per name, sorted: newline, name in lower case, `:`, its values with commas; all decoded |
//! | `{host}` | as in the `Host` header |
//! | `{timestamp}` | in the format of `timestamp`; or one of its own: `{timestamp_unix}`, `_ms`, `_ns`, `_rfc3339`, `_rfc3339_ms`, `_http`, `_compact` |
//! | `{nonce}` `{key_id}` | |
//! | `{header:NAME}` | its value as sent, empty when there is none |
//! | `{headers:PREFIX}` | every header with that prefix: `name:value`, newline; sorted |
//! | `{body}` | its bytes |
//! | `{body_sha256_hex}` | its hash: md5, sha1, sha256, sha384, sha512; hex, base64, base64url |
//! | `{body_length}` `{body_length_nonzero}` | in bytes; the second is empty for 0 |
//! | `{newline}` `{open}` `{close}` | a line feed, `{`, `}` |
//! | `{signature}` | only where the signature is placed |
//!
//! How some providers are written:
//! - Binance: additions query `timestamp={timestamp}` and header `X-MBX-APIKEY={key_id}`; sign `{query}{body}`; hex in query `signature`.
//! - Coinbase Exchange: key in base64; sign `{timestamp}{method}{target}{body}`; base64 in header `CB-ACCESS-SIGN`; additions for time and key id.
//! - Slack, Stripe and other webhook styles: sign `v0:{timestamp}:{body}`; header format `v0={signature}`.
//! - Azure Storage SharedKey: key in base64; sign joins with newlines `{method}`, …, `{body_length_nonzero}`, …,
//!   `{headers:x-ms-}/account{path}{query_lines}`; header `Authorization`, format `SharedKey account:{signature}`.
//! - draft-cavage-http-signatures: sign `(request-target): {method_lower} {target}`, `host: {host}`, `date: {header:date}`;
//!   format `keyId="{key_id}",algorithm="hmac-sha256",headers="(request-target) host date",signature="{signature}"`.
//! - RFC 9421: an addition `Signature-Input`, the same parameters in the last piece of `sign`, format `sig1=:{signature}:`.

mod template;

use aws_lc_rs::hmac;
use http::header::HeaderName;
use latchstring_model::{Entropy, SecretBytes, SecretString, Timestamp};

use self::template::{Facts, Template};
use crate::apply::{append_query, header_name, header_value, query_pair, remove_query};
use crate::encoding::{KeyEncoding, OutputEncoding, hex};
use crate::error::SchemeError;
use crate::wire::Outgoing;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HmacAlgorithm {
    Sha1,
    #[default]
    Sha256,
    Sha384,
    Sha512,
}

impl HmacAlgorithm {
    pub const ALL: &'static [HmacAlgorithm] =
        &[HmacAlgorithm::Sha1, HmacAlgorithm::Sha256, HmacAlgorithm::Sha384, HmacAlgorithm::Sha512];

    pub const fn as_str(self) -> &'static str {
        match self {
            HmacAlgorithm::Sha1 => "sha1",
            HmacAlgorithm::Sha256 => "sha256",
            HmacAlgorithm::Sha384 => "sha384",
            HmacAlgorithm::Sha512 => "sha512",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|algorithm| algorithm.as_str() == text)
    }
}

/// How `{timestamp}` is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TimestampFormat {
    /// Seconds since 1970.
    #[default]
    Unix,
    /// Milliseconds since 1970.
    Ms,
    /// Nanoseconds since 1970 (to the millisecond).
    Ns,
    /// `2015-08-30T12:36:00Z`
    Rfc3339,
    /// `2015-08-30T12:36:00.042Z`
    Rfc3339Ms,
    /// `Sun, 30 Aug 2015 12:36:00 GMT`
    Http,
    /// `20150830T123600Z`
    Compact,
}

impl TimestampFormat {
    pub const ALL: &'static [TimestampFormat] = &[
        TimestampFormat::Unix,
        TimestampFormat::Ms,
        TimestampFormat::Ns,
        TimestampFormat::Rfc3339,
        TimestampFormat::Rfc3339Ms,
        TimestampFormat::Http,
        TimestampFormat::Compact,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            TimestampFormat::Unix => "unix",
            TimestampFormat::Ms => "ms",
            TimestampFormat::Ns => "ns",
            TimestampFormat::Rfc3339 => "rfc3339",
            TimestampFormat::Rfc3339Ms => "rfc3339_ms",
            TimestampFormat::Http => "http",
            TimestampFormat::Compact => "compact",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|format| format.as_str() == text)
    }
}

/// How `{nonce}` is written: 128 random bits in hex, or a version 4 UUID.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NonceFormat {
    #[default]
    Hex,
    Uuid,
}

impl NonceFormat {
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "hex" => Some(NonceFormat::Hex),
            "uuid" => Some(NonceFormat::Uuid),
            _ => None,
        }
    }

    fn draw(self, entropy: &dyn Entropy) -> String {
        let mut random = [0; 16];
        entropy.fill(&mut random);
        match self {
            NonceFormat::Hex => hex(&random),
            NonceFormat::Uuid => {
                random[6] = (random[6] & 0x0f) | 0x40;
                random[8] = (random[8] & 0x3f) | 0x80;
                let text = hex(&random);
                format!("{}-{}-{}-{}-{}", &text[..8], &text[8..12], &text[12..16], &text[16..20], &text[20..])
            }
        }
    }
}

/// A header or query parameter whose value is a text with placeholders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Field {
    Header { name: String, value: String },
    Query { name: String, value: String },
}

pub struct Hmac {
    pub algorithm: HmacAlgorithm,
    pub secret: SecretString,
    pub secret_encoding: KeyEncoding,
    /// What `{key_id}` stands for; may be empty.
    pub key_id: String,
    pub sign: Vec<String>,
    pub separator: String,
    pub output: OutputEncoding,
    /// Where the signature goes; its value usually is `{signature}`, or has it in the middle.
    pub place: Field,
    pub additions: Vec<Field>,
    pub timestamp: TimestampFormat,
    pub nonce: NonceFormat,
}

enum Spot {
    Header(HeaderName, Template),
    Query(String, Template),
}

impl Spot {
    fn new(field: &'static str, spot: &Field, signature: bool) -> Result<Self, SchemeError> {
        let (Field::Header { name, value } | Field::Query { name, value }) = spot;
        let label = format!("{field}.{name}");
        let template = Template::parse(&label, value, signature)?;
        match spot {
            Field::Header { .. } => {
                // Line breaks in the constant parts would only show when the first request is signed.
                header_value(&label, &template.constants())?;
                Ok(Spot::Header(header_name(&label, name)?, template))
            }
            Field::Query { .. } => {
                query_pair(field, name, "")?;
                Ok(Spot::Query(name.clone(), template))
            }
        }
    }

    fn template(&self) -> &Template {
        let (Spot::Header(_, template) | Spot::Query(_, template)) = self;
        template
    }

    fn clear(&self, out: &mut Outgoing<'_>) {
        match self {
            Spot::Header(name, _) => {
                out.headers.remove(name);
            }
            Spot::Query(name, _) => remove_query(out.target, name),
        }
    }

    fn set(&self, out: &mut Outgoing<'_>, facts: &Facts<'_>) -> Result<(), SchemeError> {
        let value = self.template().render(out, facts)?;
        match self {
            Spot::Header(name, _) => {
                let text = String::from_utf8_lossy(&value);
                out.headers.insert(name, header_value(name.as_str(), &text)?);
            }
            Spot::Query(name, _) => {
                append_query(out.target, &query_pair("query", name, &String::from_utf8_lossy(&value))?);
            }
        }
        Ok(())
    }
}

impl Hmac {
    pub(crate) fn prepare(&self) -> Result<PreparedHmac, SchemeError> {
        if self.secret.is_empty() {
            return Err(SchemeError::Missing { field: "secret" });
        }
        if self.sign.iter().all(|piece| piece.is_empty()) {
            return Err(SchemeError::Missing { field: "sign" });
        }
        let bytes = self
            .secret_encoding
            .decode(self.secret.expose())
            .map_err(|source| SchemeError::Key { field: "secret", source })?;
        let sign = Template::parse("sign", &self.sign.join(&self.separator), false)?;
        let place = Spot::new("place", &self.place, true)?;
        if !place.template().has_signature() {
            return Err(SchemeError::Missing { field: "place.value" });
        }
        let additions: Vec<Spot> = self
            .additions
            .iter()
            .map(|field| Spot::new("additions", field, false))
            .collect::<Result<_, _>>()?;
        let needs_body = sign.needs_body()
            || place.template().needs_body()
            || additions.iter().any(|spot| spot.template().needs_body());
        Ok(PreparedHmac {
            key: self.key(&bytes),
            secret: self.secret.clone(),
            key_id: self.key_id.clone(),
            sign,
            output: self.output,
            place,
            additions,
            timestamp: self.timestamp,
            nonce: self.nonce,
            needs_body,
        })
    }

    fn key(&self, bytes: &SecretBytes) -> hmac::Key {
        let algorithm = match self.algorithm {
            HmacAlgorithm::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            HmacAlgorithm::Sha256 => hmac::HMAC_SHA256,
            HmacAlgorithm::Sha384 => hmac::HMAC_SHA384,
            HmacAlgorithm::Sha512 => hmac::HMAC_SHA512,
        };
        hmac::Key::new(algorithm, bytes.expose())
    }
}

pub(crate) struct PreparedHmac {
    key: hmac::Key,
    pub(crate) secret: SecretString,
    key_id: String,
    sign: Template,
    output: OutputEncoding,
    place: Spot,
    additions: Vec<Spot>,
    timestamp: TimestampFormat,
    nonce: NonceFormat,
    pub(crate) needs_body: bool,
}

impl PreparedHmac {
    /// Gives back the signature as it was written, for masks.
    pub(crate) fn sign(
        &self,
        out: &mut Outgoing<'_>,
        body: Option<&[u8]>,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> Result<SecretString, SchemeError> {
        if self.needs_body && body.is_none() {
            return Err(SchemeError::BodyNotHeld);
        }
        let nonce = self.nonce.draw(entropy);
        let mut facts = Facts {
            key_id: &self.key_id,
            timestamp: self.timestamp,
            now,
            nonce: &nonce,
            body: body.unwrap_or_default(),
            signature: "",
        };
        self.place.clear(out);
        self.additions.iter().for_each(|spot| spot.clear(out));
        for addition in &self.additions {
            addition.set(out, &facts)?;
        }
        let text = self.sign.render(out, &facts)?;
        let signature = self.output.encode(hmac::sign(&self.key, &text).as_ref());
        facts.signature = &signature;
        self.place.set(out, &facts)?;
        Ok(SecretString::new(signature))
    }
}
