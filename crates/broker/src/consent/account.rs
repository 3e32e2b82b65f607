//! Who signed in there: the provider's userinfo endpoint (OpenID Connect Core section 5.3), asked with the new token.
//! For display, and as a use of the token where the connector has no request of its own to check it with.

use http::header::ACCEPT;
use http::{HeaderMap, HeaderValue, Method};
use latchstring_journal::Purpose;
use latchstring_model::SecretBytes;
use latchstring_model::address::Address;
use latchstring_schemes::token::TokenSet;
use latchstring_schemes::wire::{Outgoing, WireAnswer, WireRequest};
use serde_json::Value;

use super::ground::Ready;
use crate::Broker;
use crate::actor::Actor;
use crate::credentials::check::Checked;

/// Longest account name that is kept, in characters.
const LONGEST: usize = 200;

/// Where userinfo answers name a person, the most telling first.
const USUAL: [&str; 6] = ["email", "preferred_username", "login", "username", "name", "sub"];

/// What the endpoint said of the token.
pub(super) struct Account {
    /// It took the token.
    pub accepted: bool,
    /// For display: people can have the same, and change theirs.
    pub name: Option<String>,
    /// `sub`: never another person's at this provider (OpenID Connect Core section 5.3.2).
    pub subject: Option<String>,
}

fn name(value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text.trim().to_owned(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    let text: String = text.chars().filter(|c| !c.is_control()).take(LONGEST).collect();
    (!text.is_empty()).then_some(text)
}

impl Broker {
    /// `None`: there is nobody to ask, or no answer.
    pub(super) async fn signed_in_account(
        &self,
        actor: &Actor,
        checked: &Checked,
        ready: &Ready,
        set: &TokenSet,
    ) -> Option<Account> {
        let address = ready.consent.userinfo_url.clone()?;
        let mut answer = self.ask_who(actor, checked, ready, set, &address).await?;
        // RFC 9449 section 9: a server that wants its nonce first has not looked at the token.
        if ready.prepared.challenge(answer.status, &answer.headers) {
            answer = self.ask_who(actor, checked, ready, set, &address).await?;
        }
        if !(200..300).contains(&answer.status) {
            return Some(Account { accepted: false, name: None, subject: None });
        }
        let body: Value = serde_json::from_slice(&answer.body).ok()?;
        let found = match &ready.consent.userinfo_account {
            Some(path) => path.get(&body).as_ref().and_then(name),
            None => USUAL.iter().find_map(|field| body.get(field).and_then(name)),
        };
        let subject =
            body.get("sub").and_then(Value::as_str).filter(|sub| !sub.is_empty()).map(str::to_owned);
        Some(Account { accepted: true, name: found, subject })
    }
    async fn ask_who(
        &self,
        actor: &Actor,
        checked: &Checked,
        ready: &Ready,
        set: &TokenSet,
        address: &Address,
    ) -> Option<WireAnswer> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        let mut target = address.target();
        let (method, origin) = (Method::GET, &address.origin);
        let mut out = Outgoing { method: &method, origin, target: &mut target, headers: &mut headers };
        let signed = ready.prepared.sign_plainly(&mut out, set, self.now(), &*self.parts.entropy);
        if let Err(error) = signed {
            tracing::info!(error = %error, "nobody could be asked who signed in");
            return None;
        }
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path.to_owned(), Some(query.to_owned())),
            None => (target, None),
        };
        let address = Address { origin: address.origin.clone(), path, query };
        let request = WireRequest { method, address, headers, body: SecretBytes::default() };
        match self.ask_provider(actor, checked, ready, Purpose::Verify, "(userinfo)", request).await {
            Ok(answer) => Some(answer),
            Err(failure) => {
                tracing::info!(problem = %failure.problem, "nobody could be asked who signed in");
                None
            }
        }
    }
}
