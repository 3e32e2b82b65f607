//! What a scheme obtains and that expires.
//!
//! A [`TokenSet`] is everything one token request brought. It is sealed as versioned JSON
//! ([`TokenSet::to_bytes`]); servers of two versions can run side by side, so the reader ignores
//! what it does not know and the writer says which oldest reader may still read it.
//!
//! Times are [`Timestamp`]s (milliseconds); lives and margins are milliseconds too.

use std::collections::BTreeMap;

use latchstring_model::{SecretBytes, SecretString, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use zeroize::Zeroize;

/// No token is refreshed earlier than this before its end, unless its connector says so.
pub const MAX_MARGIN_MS: i64 = 60_000;

const FORMAT: u32 = 2;

/// How long before its end a token of this life counts as spent: a tenth of the life, at most a minute.
pub const fn margin(life_ms: i64) -> i64 {
    let tenth = if life_ms > 0 { life_ms / 10 } else { 0 };
    if tenth < MAX_MARGIN_MS { tenth } else { MAX_MARGIN_MS }
}

/// Further fields of a token answer that URL templates read as `token.<name>` (Salesforce's
/// `instance_url`). Any of them may be secret, so the whole is treated as a secret.
#[derive(Clone, Default, PartialEq)]
pub struct Metadata(Map<String, Value>);

impl Metadata {
    pub fn new(fields: Map<String, Value>) -> Self {
        Self(fields)
    }

    /// The only way to the values: search for `expose` to audit every use.
    pub fn expose(&self) -> &Map<String, Value> {
        &self.0
    }

    pub fn insert(&mut self, name: impl Into<String>, value: Value) {
        if let Some(mut old) = self.0.insert(name.into(), value) {
            wipe(&mut old);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What a refresh did not repeat stays as it was; `null` and `""` repeat nothing.
    fn keep_from(&mut self, old: &Self) {
        for (name, value) in &old.0 {
            if self.0.get(name).is_none_or(is_nothing) {
                self.0.insert(name.clone(), value.clone());
            }
        }
    }
}

fn is_nothing(value: &Value) -> bool {
    value.is_null() || value.as_str().is_some_and(str::is_empty)
}

fn wipe(value: &mut Value) {
    match value {
        Value::String(text) => text.zeroize(),
        Value::Array(items) => items.iter_mut().for_each(wipe),
        Value::Object(fields) => fields.values_mut().for_each(wipe),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

impl Drop for Metadata {
    fn drop(&mut self) {
        self.0.values_mut().for_each(wipe);
    }
}

/// What one token request brought.
#[derive(Clone, PartialEq)]
pub struct TokenSet {
    pub access_token: SecretString,
    /// Of an OAuth 1.0a token: what requests are signed with beside the application's (RFC 5849 section 3.4).
    pub token_secret: Option<SecretString>,
    /// As the provider wrote it; absent when it said nothing.
    pub token_type: Option<String>,
    pub refresh_token: Option<SecretString>,
    pub id_token: Option<SecretString>,
    /// The granted scopes, if the provider named them.
    pub scopes: Option<Vec<String>>,
    /// Before the request was sent: a slow answer must not lengthen a life.
    pub obtained_at: Timestamp,
    /// Absent: no end is known.
    pub expires_at: Option<Timestamp>,
    /// When the grant itself (the refresh token) ends, where that is known.
    pub grant_expires_at: Option<Timestamp>,
    /// Who consented, by the name that the provider never gives to anybody else (`sub`, OpenID Connect Core section 8).
    pub subject: Option<String>,
    pub metadata: Metadata,
    /// Other tokens of the same grant by the name that the connector gave them
    /// (Slack's user token beside the bot's). They have no named tokens of their own.
    pub named: BTreeMap<String, TokenSet>,
}

impl TokenSet {
    /// A token about which nothing but its text and age is known.
    pub fn new(access_token: impl Into<SecretString>, obtained_at: Timestamp) -> Self {
        Self {
            access_token: access_token.into(),
            token_secret: None,
            token_type: None,
            refresh_token: None,
            id_token: None,
            scopes: None,
            obtained_at,
            expires_at: None,
            grant_expires_at: None,
            subject: None,
            metadata: Metadata::default(),
            named: BTreeMap::new(),
        }
    }

    /// The word before the token in `Authorization`. Most providers that answer `bearer` or
    /// nothing at all want `Bearer`.
    pub fn authorization_word(&self) -> &str {
        match self.token_type.as_deref() {
            None | Some("") => "Bearer",
            Some(word) if word.eq_ignore_ascii_case("bearer") => "Bearer",
            Some(word) if word.eq_ignore_ascii_case("dpop") => "DPoP",
            Some(word) => word,
        }
    }

    /// Whether it is bound to a key, so that every request has to prove it (RFC 9449 section 5).
    pub fn is_dpop(&self) -> bool {
        self.authorization_word() == "DPoP"
    }

    /// Milliseconds from obtaining it to its end.
    pub fn life_ms(&self) -> Option<i64> {
        self.expires_at.map(|end| end.millis().saturating_sub(self.obtained_at.millis()).max(0))
    }

    /// From when on it should be replaced. A connector's own margin is cut to half the life:
    /// a margin longer than the life would ask for a new token on every call.
    pub fn fresh_until(&self, own_margin_ms: Option<i64>) -> Option<Timestamp> {
        let (end, life) = (self.expires_at?, self.life_ms()?);
        let margin = match own_margin_ms {
            Some(own) => own.clamp(0, life / 2),
            None => margin(life),
        };
        Some(end.plus_millis(-margin))
    }

    /// Good for a call now, with the margin to spare.
    pub fn is_fresh(&self, now: Timestamp, own_margin_ms: Option<i64>) -> bool {
        self.fresh_until(own_margin_ms).is_none_or(|until| now < until)
    }

    /// Not yet at its end: still worth sending while a refresh is under way or failing.
    pub fn is_alive(&self, now: Timestamp) -> bool {
        self.expires_at.is_none_or(|end| now < end)
    }

    /// The token to keep after a refresh of `old` brought `self`: an answer without a refresh token
    /// keeps the old one, nothing is overwritten with nothing, and metadata that the answer does not
    /// repeat survives.
    #[must_use]
    pub fn over(mut self, old: &TokenSet) -> Self {
        fn keep<T: Clone>(new: &mut Option<T>, old: &Option<T>, is_empty: impl Fn(&T) -> bool) {
            if new.as_ref().is_none_or(is_empty) {
                new.clone_from(old);
            }
        }
        if self.access_token.is_empty() {
            self.access_token = old.access_token.clone();
            self.token_secret.clone_from(&old.token_secret);
            self.obtained_at = old.obtained_at;
            self.expires_at = old.expires_at;
        }
        keep(&mut self.token_type, &old.token_type, String::is_empty);
        keep(&mut self.refresh_token, &old.refresh_token, SecretString::is_empty);
        keep(&mut self.id_token, &old.id_token, SecretString::is_empty);
        keep(&mut self.scopes, &old.scopes, Vec::is_empty);
        keep(&mut self.grant_expires_at, &old.grant_expires_at, |_| false);
        keep(&mut self.subject, &old.subject, String::is_empty);
        self.metadata.keep_from(&old.metadata);
        for (name, token) in &old.named {
            let merged = match self.named.remove(name) {
                Some(new) => new.over(token),
                None => token.clone(),
            };
            self.named.insert(name.clone(), merged);
        }
        self
    }

    /// Every text in here that must not be shown: for masks.
    pub fn secrets(&self) -> Vec<SecretString> {
        let mut all = vec![self.access_token.clone()];
        all.extend(self.token_secret.clone());
        all.extend(self.refresh_token.clone());
        all.extend(self.id_token.clone());
        all.extend(self.named.values().flat_map(TokenSet::secrets));
        all
    }

    /// For sealing.
    pub fn to_bytes(&self) -> SecretBytes {
        // Room enough from the start: a growing buffer would leave copies behind in freed memory.
        let texts: usize = self.secrets().iter().map(|s| s.len() * 2).sum();
        let mut out = Vec::with_capacity(8192 + texts);
        // Writing maps with text keys into memory cannot fail; an empty record would not read back.
        if serde_json::to_writer(&mut out, &Written::from(self)).is_err() {
            out.zeroize();
        }
        SecretBytes::new(out)
    }

    /// Reads what [`TokenSet::to_bytes`] of this or a newer version wrote.
    pub fn from_bytes(bytes: &SecretBytes) -> Result<Self, TokenFormatError> {
        let read: Read = serde_json::from_slice(bytes.expose()).map_err(|_| TokenFormatError::Damaged)?;
        if read.min > FORMAT {
            return Err(TokenFormatError::Newer(read.min));
        }
        Ok(read.into())
    }
}

/// Why stored token bytes cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenFormatError {
    #[error("the stored token is not readable; it will have to be obtained again")]
    Damaged,
    #[error(
        "the stored token was written by a newer server (format {0}); run that version, or newer, here too"
    )]
    Newer(u32),
}

#[derive(Serialize)]
struct Written<'a> {
    v: u32,
    /// The oldest reader that may read this.
    min: u32,
    access_token: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_secret: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id_token: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scopes: Option<&'a [String]>,
    obtained_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    grant_expires_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a str>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    metadata: &'a Map<String, Value>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    named: BTreeMap<&'a str, Written<'a>>,
}

impl<'a> From<&'a TokenSet> for Written<'a> {
    fn from(token: &'a TokenSet) -> Self {
        Self {
            v: FORMAT,
            // One that does not know the secret would write the token back without it.
            min: if token.token_secret.is_some() { 2 } else { 1 },
            access_token: token.access_token.expose(),
            token_secret: token.token_secret.as_ref().map(SecretString::expose),
            token_type: token.token_type.as_deref(),
            refresh_token: token.refresh_token.as_ref().map(SecretString::expose),
            id_token: token.id_token.as_ref().map(SecretString::expose),
            scopes: token.scopes.as_deref(),
            obtained_at: token.obtained_at,
            expires_at: token.expires_at,
            grant_expires_at: token.grant_expires_at,
            subject: token.subject.as_deref(),
            metadata: token.metadata.expose(),
            named: token.named.iter().map(|(name, token)| (name.as_str(), token.into())).collect(),
        }
    }
}

#[derive(Deserialize)]
struct Read {
    #[serde(default = "first")]
    min: u32,
    access_token: String,
    #[serde(default)]
    token_secret: Option<String>,
    #[serde(default)]
    token_type: Option<String>,
    #[serde(default)]
    refresh_token: Option<String>,
    #[serde(default)]
    id_token: Option<String>,
    #[serde(default)]
    scopes: Option<Vec<String>>,
    #[serde(default)]
    obtained_at: Timestamp,
    #[serde(default)]
    expires_at: Option<Timestamp>,
    #[serde(default)]
    grant_expires_at: Option<Timestamp>,
    #[serde(default)]
    subject: Option<String>,
    #[serde(default)]
    metadata: Map<String, Value>,
    #[serde(default)]
    named: BTreeMap<String, Read>,
}

const fn first() -> u32 {
    1
}

impl From<Read> for TokenSet {
    fn from(read: Read) -> Self {
        Self {
            access_token: read.access_token.into(),
            token_secret: read.token_secret.map(SecretString::from),
            token_type: read.token_type,
            refresh_token: read.refresh_token.map(SecretString::from),
            id_token: read.id_token.map(SecretString::from),
            scopes: read.scopes,
            obtained_at: read.obtained_at,
            expires_at: read.expires_at,
            grant_expires_at: read.grant_expires_at,
            subject: read.subject,
            metadata: Metadata::new(read.metadata),
            named: read.named.into_iter().map(|(name, token)| (name, token.into())).collect(),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    fn full() -> TokenSet {
        let mut token = TokenSet::new("at-1", Timestamp(1_000));
        token.token_type = Some("bearer".into());
        token.refresh_token = Some("rt-1".into());
        token.scopes = Some(vec!["a".into(), "b".into()]);
        token.expires_at = Some(Timestamp(3_601_000));
        token.grant_expires_at = Some(Timestamp(9_000_000));
        token.subject = Some("248289761001".into());
        token.metadata.insert("instance_url", json!("https://eu1.example.com"));
        token.named.insert("user".into(), TokenSet::new("ut-1", Timestamp(1_000)));
        token
    }

    #[test]
    fn bytes_round_trip() {
        let token = full();
        assert!(TokenSet::from_bytes(&token.to_bytes()).unwrap() == token);
    }

    #[test]
    fn the_reader_is_tolerant_but_not_blind() {
        let read = |text: &str| TokenSet::from_bytes(&SecretBytes::new(text.as_bytes()));
        let newer = read(r#"{"v":7,"min":1,"access_token":"x","colour":"blue"}"#).ok().unwrap();
        assert_eq!(newer.access_token.expose(), "x");
        // A reader that does not know an OAuth 1.0a secret would write the token back without it.
        let written = |set: &TokenSet| -> Value { serde_json::from_slice(set.to_bytes().expose()).unwrap() };
        let mut signed = TokenSet::new("x", Timestamp(0));
        assert_eq!(written(&signed)["min"], 1);
        signed.token_secret = Some("y".into());
        assert_eq!(written(&signed)["min"], 2);
        assert_eq!(read(r#"{"v":7,"min":7,"access_token":"x"}"#).err(), Some(TokenFormatError::Newer(7)));
        assert_eq!(read(r#"{"v":1}"#).err(), Some(TokenFormatError::Damaged));
        assert_eq!(read("").err(), Some(TokenFormatError::Damaged));
    }

    #[test]
    fn margins() {
        assert_eq!(margin(3_600_000), 60_000);
        assert_eq!(margin(300_000), 30_000);
        assert_eq!(margin(0), 0);
        assert_eq!(margin(-5), 0);
        let token = full();
        assert!(token.is_fresh(Timestamp(3_540_999), None));
        assert!(!token.is_fresh(Timestamp(3_541_000), None));
        assert!(token.is_alive(Timestamp(3_600_999)) && !token.is_alive(Timestamp(3_601_000)));
        // Its own margin, cut to half the life.
        assert!(!token.is_fresh(Timestamp(3_001_000), Some(600_000)));
        assert!(token.is_fresh(Timestamp(1_800_999), Some(i64::MAX)));
        assert!(!token.is_fresh(Timestamp(1_801_000), Some(i64::MAX)));
        assert!(TokenSet::new("x", Timestamp(0)).is_fresh(Timestamp(i64::MAX), None));
    }

    #[test]
    fn nothing_is_overwritten_with_nothing() {
        let mut new = TokenSet::new("at-2", Timestamp(5_000));
        new.metadata.insert("instance_url", Value::Null);
        new.metadata.insert("issued", json!(7));
        let kept = new.over(&full());
        assert_eq!(kept.access_token.expose(), "at-2");
        assert_eq!(kept.refresh_token.as_ref().unwrap().expose(), "rt-1");
        assert_eq!(kept.scopes.as_ref().unwrap().len(), 2);
        assert_eq!(kept.metadata.expose()["instance_url"], "https://eu1.example.com");
        assert_eq!(kept.metadata.expose()["issued"], 7);
        assert_eq!(kept.named["user"].access_token.expose(), "ut-1");
        assert_eq!(kept.expires_at, None, "the new token's end, not the old one's");
        assert_eq!(kept.grant_expires_at, Some(Timestamp(9_000_000)));
        assert_eq!(
            kept.subject.as_deref(),
            Some("248289761001"),
            "a renewed grant is still the same person's"
        );

        let mut rotated = TokenSet::new("at-3", Timestamp(6_000));
        rotated.refresh_token = Some("rt-2".into());
        assert_eq!(rotated.over(&kept).refresh_token.unwrap().expose(), "rt-2");

        let mut hollow = TokenSet::new("", Timestamp(6_000));
        hollow.refresh_token = Some("".into());
        let kept = hollow.over(&full());
        assert_eq!(kept.access_token.expose(), "at-1");
        assert_eq!(kept.refresh_token.unwrap().expose(), "rt-1");
        assert_eq!(kept.expires_at, Some(Timestamp(3_601_000)));
    }

    #[test]
    fn the_word_before_the_token() {
        let mut token = full();
        assert_eq!(token.authorization_word(), "Bearer");
        token.token_type = Some("MAC".into());
        assert_eq!(token.authorization_word(), "MAC");
    }
}
