//! A token request put together: parameters in, bytes out (RFC 6749 §4, Appendix B).

use std::collections::BTreeMap;
use std::sync::Arc;

use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use latchstring_model::address::Address;
use latchstring_model::{Entropy, SecretBytes, SecretString, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::authorize::form_decode;
use super::client::Client;
use super::error::OAuthError;
use super::rules::AnswerRules;
use crate::dpop::{DpopKey, PROOF, Server};
use crate::wire::{WireAnswer, WireRequest};

/// Where tokens are asked for, how the request is written, how the answer is read.
#[derive(Clone)]
pub struct TokenEndpoint {
    pub url: Address,
    pub method: TokenMethod,
    pub body: BodyForm,
    /// Sent with every request; win over ours (`Accept`).
    pub headers: Vec<(HeaderName, SecretString)>,
    /// Parameters beside those of the grant; win over them.
    pub params: Vec<(String, SecretString)>,
    /// The provider's name for a parameter (`client_id` → `app_id`); an empty one leaves it out.
    pub renames: BTreeMap<String, String>,
    /// RFC 8707: the APIs that the token is for.
    pub resource: Vec<String>,
    /// RFC 9449: tokens are bound to this key, and every request proves it.
    pub dpop: Option<Arc<DpopKey>>,
    pub rules: AnswerRules,
}

impl TokenEndpoint {
    /// An endpoint as RFC 6749 has it.
    pub fn new(url: Address) -> Self {
        Self {
            url,
            method: TokenMethod::Post,
            body: BodyForm::Form,
            headers: Vec::new(),
            params: Vec::new(),
            renames: BTreeMap::new(),
            resource: Vec::new(),
            dpop: None,
            rules: AnswerRules::default(),
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TokenMethod {
    #[default]
    Post,
    /// The parameters go into the query, whatever `body` says.
    Get,
    Put,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BodyForm {
    #[default]
    Form,
    Json,
    /// In the URL's query, with an empty body.
    Query,
}

/// Scopes to ask for, in the order and case given, with the connector's separator.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    pub scopes: Vec<String>,
    /// `None`: a space (RFC 6749 §3.3).
    pub separator: Option<String>,
}

impl Scope {
    pub fn new<T: Into<String>>(scopes: impl IntoIterator<Item = T>) -> Self {
        Self { scopes: scopes.into_iter().map(Into::into).collect(), separator: None }
    }

    pub fn joined(&self) -> Option<String> {
        (!self.scopes.is_empty()).then(|| self.scopes.join(self.separator.as_deref().unwrap_or(" ")))
    }
}

/// Parameters on their way into a request, in order.
#[derive(Clone, Default)]
pub(super) struct Params(Vec<(String, SecretString)>);

impl Params {
    pub(super) fn grant(grant_type: &str) -> Self {
        let mut params = Self::default();
        params.text("grant_type", grant_type);
        params
    }

    pub(super) fn push(&mut self, name: &str, value: SecretString) {
        self.0.push((name.to_owned(), value));
    }

    pub(super) fn text(&mut self, name: &str, value: &str) {
        self.push(name, value.into());
    }

    pub(super) fn optional(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value.filter(|v| !v.is_empty()) {
            self.text(name, value);
        }
    }

    pub(super) fn scope(&mut self, scope: &Scope) {
        self.optional("scope", scope.joined().as_deref());
    }

    /// A connector's own parameters take the place of ours with the same name.
    pub(super) fn overlay(&mut self, own: &[(String, SecretString)]) {
        self.0.retain(|(name, _)| !own.iter().any(|(other, _)| other == name));
        self.0.extend(own.iter().cloned());
    }

    pub(super) fn rename(&mut self, renames: &BTreeMap<String, String>) {
        self.0.retain_mut(|(name, _)| match renames.get(name) {
            Some(new) if new.is_empty() => false,
            Some(new) => {
                name.clone_from(new);
                true
            }
            None => true,
        });
    }

    pub(super) fn form(&self) -> SecretString {
        let pairs: Vec<_> =
            self.0.iter().map(|(n, v)| format!("{}={}", form_encode(n), form_encode(v.expose()))).collect();
        SecretString::new(pairs.join("&"))
    }

    fn json(&self) -> SecretString {
        let mut map = Map::new();
        for (name, value) in &self.0 {
            let value = Value::from(value.expose());
            match map.get_mut(name) {
                Some(Value::Array(list)) => list.push(value),
                Some(first) => *first = Value::Array(vec![first.take(), value]),
                None => {
                    map.insert(name.clone(), value);
                }
            }
        }
        SecretString::new(Value::Object(map).to_string())
    }
}

/// `application/x-www-form-urlencoded` of one name or value.
pub(super) fn form_encode(text: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(text.len() * 3);
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'*' | b'-' | b'.' | b'_' => out.push(char::from(byte)),
            b' ' => out.push('+'),
            // Writing into a String cannot fail.
            _ => drop(write!(out, "%{byte:02X}")),
        }
    }
    out
}

impl TokenEndpoint {
    pub(super) fn request(
        &self,
        mut params: Params,
        client: Option<&Client>,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> Result<WireRequest, OAuthError> {
        for resource in &self.resource {
            params.text("resource", resource);
        }
        let proof = match client {
            Some(client) => client.prove(&mut params, now, entropy)?,
            None => None,
        };
        params.overlay(&self.params);
        params.rename(&self.renames);

        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        if let Some(proof) = proof {
            headers.insert(AUTHORIZATION, header_value(&AUTHORIZATION, &proof)?);
        }
        let mut address = self.url.clone();
        let in_query = self.method == TokenMethod::Get || self.body == BodyForm::Query;
        let body = if in_query {
            let form = params.form();
            address.query = match address.query.take().filter(|q| !q.is_empty()) {
                Some(query) => Some(format!("{query}&{}", form.expose())),
                None => Some(form.expose().to_owned()),
            };
            SecretString::default()
        } else if self.body == BodyForm::Json {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            params.json()
        } else {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
            params.form()
        };
        for (name, value) in &self.headers {
            headers.insert(name, header_value(name, value)?);
        }
        let method = match self.method {
            TokenMethod::Post => Method::POST,
            TokenMethod::Get => Method::GET,
            TokenMethod::Put => Method::PUT,
        };
        if let Some(dpop) = &self.dpop {
            let to = Server::Authorization;
            dpop.prove(&mut headers, &method, &address.origin, &address.path, to, None, now, entropy)
                .map_err(|error| OAuthError::not_sendable(error.to_string()))?;
        }
        Ok(WireRequest { method, address, headers, body: SecretBytes::new(body.expose().as_bytes()) })
    }
}

impl TokenEndpoint {
    /// Remembers the DPoP nonce of an answer. True when the request was refused for want of it alone (RFC 9449 §8):
    /// nothing was spent, also no code, and the request is to be made anew and sent once more.
    pub fn learn_nonce(&self, answer: &WireAnswer) -> bool {
        let Some(dpop) = &self.dpop else { return false };
        dpop.learn(Server::Authorization, &answer.headers)
            && matches!(answer.status, 400 | 401)
            && serde_json::from_slice::<Value>(&answer.body)
                .is_ok_and(|body| body.get("error").and_then(Value::as_str) == Some("use_dpop_nonce"))
    }
}

/// Parameters that are no secret: what is asked for, by whom, and in which way. A provider's words may name them.
const OPEN: [&str; 13] = [
    "actor_token_type",
    "audience",
    "client_assertion_type",
    "client_id",
    "grant_type",
    "redirect_uri",
    "requested_token_type",
    "resource",
    "response_type",
    "scope",
    "subject_token_type",
    "token_type_hint",
    "username",
];

/// What a token request carries and nobody may see, as it stands there: its credentials, its proof, and every parameter
/// that may be one. An assertion or the base64 of a client's secret is nowhere else.
pub fn secrets_in(request: &WireRequest) -> Vec<SecretString> {
    let header = |name: HeaderName| request.headers.get(name).and_then(|value| value.to_str().ok());
    let credentials = header(AUTHORIZATION).map(|line| line.split_once(' ').map_or(line, |(_, rest)| rest));
    let mut found: Vec<SecretString> =
        credentials.into_iter().chain(header(PROOF)).map(SecretString::from).collect();
    let body = std::str::from_utf8(request.body.expose()).unwrap_or_default();
    if let Ok(Value::Object(fields)) = serde_json::from_str::<Value>(body) {
        let secret = fields.iter().filter(|(name, _)| !OPEN.contains(&name.as_str()));
        let texts = secret.flat_map(|(_, value)| match value {
            Value::Array(items) => items.iter().filter_map(Value::as_str).collect(),
            other => Vec::from_iter(other.as_str()),
        });
        found.extend(texts.map(SecretString::from));
    } else {
        let query = request.address.query.as_deref().unwrap_or_default();
        let pairs = if body.is_empty() { query } else { body };
        let secret = pairs.split('&').filter_map(|pair| pair.split_once('='));
        let secret = secret.filter(|(name, _)| !OPEN.contains(&form_decode(name).as_str()));
        found.extend(secret.map(|(_, value)| SecretString::new(form_decode(value))));
    }
    found.retain(|secret| !secret.is_empty());
    found
}

fn header_value(name: &HeaderName, value: &SecretString) -> Result<HeaderValue, OAuthError> {
    let mut header = HeaderValue::from_bytes(value.expose().as_bytes()).map_err(|_| {
        OAuthError::not_sendable(format!(
            "the value for the header {name} has a line break or another control character; a stray line end \
             is often copied along, so take it out of the field"
        ))
    })?;
    header.set_sensitive(true);
    Ok(header)
}
