//! What is sealed of a client: one JSON object, only ever between the vault and the functions that need it.

use std::collections::BTreeMap;

use latchstring_model::SecretString;
use latchstring_model::problem::Refused;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::refusals;

const CLIENT_SECRET: &str = "client_secret";
const PRIVATE_KEY: &str = "private_key";
const DPOP_KEY: &str = "dpop_key";
const TOKEN_PARAMS: &str = "token_params.";

/// Of the names of what is sealed, those of fields.
pub(super) fn field_names(names: &[String]) -> Vec<String> {
    names.iter().filter(|name| !name.starts_with(TOKEN_PARAMS)).cloned().collect()
}

/// Of the names of what is sealed, those of parameters.
pub(super) fn token_param_names(names: &[String]) -> Vec<String> {
    names.iter().filter_map(|name| name.strip_prefix(TOKEN_PARAMS)).map(str::to_owned).collect()
}

#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Secrets {
    pub client_secret: Option<SecretString>,
    /// PEM; an encrypted one was decrypted before.
    pub private_key: Option<SecretString>,
    /// PEM, made here: tokens are bound to it (RFC 9449).
    pub dpop_key: Option<SecretString>,
    pub token_params: BTreeMap<String, SecretString>,
}

#[derive(Serialize)]
struct Written<'s> {
    #[serde(skip_serializing_if = "Option::is_none")]
    client_secret: Option<&'s str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    private_key: Option<&'s str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dpop_key: Option<&'s str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    token_params: BTreeMap<&'s str, &'s str>,
}

#[derive(Deserialize)]
struct Read {
    #[serde(default)]
    client_secret: Option<String>,
    #[serde(default)]
    private_key: Option<String>,
    #[serde(default)]
    dpop_key: Option<String>,
    #[serde(default)]
    token_params: BTreeMap<String, String>,
}

impl Secrets {
    /// Names of what is there: `client_secret`, `private_key`, `dpop_key`, `token_params.<name>`.
    pub fn names(&self) -> Vec<String> {
        let fields = [
            (CLIENT_SECRET, self.client_secret.is_some()),
            (PRIVATE_KEY, self.private_key.is_some()),
            (DPOP_KEY, self.dpop_key.is_some()),
        ];
        let fields = fields.into_iter().filter(|(_, there)| *there).map(|(name, _)| name.to_owned());
        fields.chain(self.token_params.keys().map(|name| format!("{TOKEN_PARAMS}{name}"))).collect()
    }

    pub fn to_bytes(&self) -> Refused<Zeroizing<Vec<u8>>> {
        let written = Written {
            client_secret: self.client_secret.as_ref().map(SecretString::expose),
            private_key: self.private_key.as_ref().map(SecretString::expose),
            dpop_key: self.dpop_key.as_ref().map(SecretString::expose),
            token_params: self
                .token_params
                .iter()
                .map(|(name, value)| (name.as_str(), value.expose()))
                .collect(),
        };
        serde_json::to_vec(&written).map(Zeroizing::new).map_err(|error| refusals::internal(&error))
    }

    pub fn from_bytes(bytes: &[u8]) -> Refused<Self> {
        let read: Read = serde_json::from_slice(bytes)
            .map_err(|_| refusals::internal(&"the sealed part of an OAuth client is not what was put in"))?;
        Ok(Self {
            client_secret: read.client_secret.map(SecretString::new),
            private_key: read.private_key.map(SecretString::new),
            dpop_key: read.dpop_key.map(SecretString::new),
            token_params: read
                .token_params
                .into_iter()
                .map(|(name, value)| (name, SecretString::new(value)))
                .collect(),
        })
    }
}
