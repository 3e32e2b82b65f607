//! What rendering may see, and what it saw.

use std::collections::BTreeMap;

use aws_lc_rs::hmac;
use latchstring_model::{Entropy, SecretString, Timestamp};
use latchstring_schemes::keys::ParsedKeys;
use serde_json::{Map, Value};

use crate::client::OAuthClient;
use crate::template::hex;
use crate::values::Values;

/// The person on whose behalf a call is made.
#[derive(Clone, Debug, Default)]
pub struct UserContext {
    pub id: String,
    pub email: String,
    pub first_name: String,
    pub last_name: String,
    pub username: String,
    pub name: String,
}

#[derive(Clone, Debug, Default)]
pub struct ProjectContext {
    pub id: String,
    pub slug: String,
    pub name: String,
}

/// A project's secret for one environment, opened.
#[derive(Clone)]
pub struct SecretValue {
    pub value: SecretString,
    /// Where alone it may be sent; empty means wherever the credential may go.
    pub hosts: Vec<String>,
}

/// The store could not be asked; it has logged why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LookupUnavailable;

/// Secrets and variables of the calling project's environment.
pub trait Lookup: Send + Sync {
    fn secret(&self, name: &str) -> Result<Option<SecretValue>, LookupUnavailable>;
    fn variable(&self, name: &str) -> Result<Option<String>, LookupUnavailable>;
}

/// For calls where there are none.
pub struct NoLookup;

impl Lookup for NoLookup {
    fn secret(&self, _name: &str) -> Result<Option<SecretValue>, LookupUnavailable> {
        Ok(None)
    }

    fn variable(&self, _name: &str) -> Result<Option<String>, LookupUnavailable> {
        Ok(None)
    }
}

#[derive(Clone, Copy)]
pub struct Context<'a> {
    pub values: &'a Values,
    pub user: Option<&'a UserContext>,
    pub project: Option<&'a ProjectContext>,
    pub environment: Option<&'a str>,
    pub lookup: &'a dyn Lookup,
    /// Our registration with the provider, for methods that need consent.
    pub client: Option<&'a OAuthClient>,
    /// What the token request (or login) brought beside the token: `token.instance_url`.
    pub token: Option<&'a Map<String, Value>>,
    /// What a caller gave to an operation, checked by [`crate::Definition::check_input`].
    pub input: Option<&'a Value>,
    /// Keys that were parsed when the same was rendered before.
    pub keys: &'a ParsedKeys,
    pub now: Timestamp,
    pub entropy: &'a dyn Entropy,
}

/// What a rendering read: it decides what may be cached, and for whom.
#[derive(Clone, Default)]
pub struct Uses {
    pub user: bool,
    pub project: bool,
    pub environment: bool,
    pub token: bool,
    pub input: bool,
    /// The clock or random bytes: nothing of it may be cached.
    pub time: bool,
    /// `user.email` → what was read there; secrets and variables too.
    reads: BTreeMap<String, SecretString>,
    /// Secrets that may go to some hosts only.
    pub restricted: BTreeMap<String, Vec<String>>,
}

impl Uses {
    pub(crate) fn read(&mut self, name: String, value: &str) {
        self.reads.entry(name).or_insert_with(|| SecretString::new(value));
    }

    pub fn secrets(&self) -> impl Iterator<Item = &str> {
        self.reads.keys().filter_map(|name| name.strip_prefix("secret:"))
    }

    pub fn variables(&self) -> impl Iterator<Item = &str> {
        self.reads.keys().filter_map(|name| name.strip_prefix("variable:"))
    }

    /// Nothing but the credential's own values: the result is the same for everybody, at any time.
    pub fn only_values(&self) -> bool {
        self.reads.is_empty() && !(self.user || self.project || self.environment || self.input || self.time)
    }

    /// Part of a token's key: two people, projects or secret values never share one. Hex HMAC-SHA256
    /// under the caller's key, because what was read may be easy to guess.
    pub fn fingerprint(&self, key: &[u8]) -> String {
        let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
        for (name, value) in &self.reads {
            for part in [name.as_str(), value.expose()] {
                context.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
                context.update(part.as_bytes());
            }
        }
        hex(context.sign().as_ref())
    }

    pub(crate) fn merge(&mut self, other: &Uses) {
        self.user |= other.user;
        self.project |= other.project;
        self.environment |= other.environment;
        self.token |= other.token;
        self.input |= other.input;
        self.time |= other.time;
        for (name, value) in &other.reads {
            self.reads.entry(name.clone()).or_insert_with(|| value.clone());
        }
        for (name, hosts) in &other.restricted {
            self.restricted.insert(name.clone(), hosts.clone());
        }
    }
}
