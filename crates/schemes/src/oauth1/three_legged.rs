//! An application that people consent to: everything that the three requests and the page between them take, and
//! how a call is signed with what came of it.

use latchstring_model::address::Address;
use latchstring_model::{Entropy, SecretString, Timestamp};
use serde_json::Map;

use super::consent::{self, Credentials, OAuth1Error, TemporaryCredentials};
use super::{OAuth1, PreparedOAuth1};
use crate::apply::{append_query, encode};
use crate::error::SchemeError;
use crate::keys::ParsedKeys;
use crate::oauth2::Scope;
use crate::token::{Metadata, TokenSet};
use crate::wire::{WireAnswer, WireRequest};

#[derive(Clone)]
pub struct ThreeLegged {
    /// Without a token.
    pub client: OAuth1,
    /// Where temporary credentials are asked for (section 2.1).
    pub request_token_url: Address,
    /// Where the person consents (section 2.2).
    pub authorize_url: Address,
    /// Where they are exchanged for the token (section 2.3).
    pub token_url: Address,
    /// Of the page where the person consents.
    pub authorize_params: Vec<(String, String)>,
    /// No part of the standard; providers that have scopes take them on that page.
    pub scope: Scope,
    /// Where the person comes back to.
    pub callback: String,
    /// Seconds that the grant lives, counted from consent, where that is known.
    pub grant_ttl: Option<i64>,
}

impl ThreeLegged {
    /// Section 2.1: what the person then consents to.
    pub fn temporary_request(
        &self,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> Result<WireRequest, OAuth1Error> {
        let callback = [("oauth_callback", self.callback.as_str())];
        consent::request(&self.request_token_url, &self.client, &callback, now, entropy)
    }

    pub fn read_temporary(&self, answer: &WireAnswer) -> Result<TemporaryCredentials, OAuth1Error> {
        consent::temporary(answer)
    }

    /// Section 2.2: where to send the person.
    pub fn authorize_url(&self, temporary: &TemporaryCredentials) -> SecretString {
        let mut page = self.authorize_url.to_string();
        let own = |name: &str| self.authorize_params.iter().any(|(known, _)| known == name);
        let scope = self.scope.joined().filter(|_| !own("scope"));
        let params = self.authorize_params.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        for (name, value) in scope.iter().map(|scope| ("scope", scope.as_str())).chain(params) {
            // What the answer is told apart by is ours alone.
            if name != "oauth_token" {
                append_query(&mut page, &format!("{}={}", encode(name), encode(value)));
            }
        }
        append_query(&mut page, &format!("oauth_token={}", encode(temporary.token.expose())));
        SecretString::new(page)
    }

    /// Section 2.3. Good once: never send this twice.
    pub fn token_request(
        &self,
        temporary: &TemporaryCredentials,
        verifier: &SecretString,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> Result<WireRequest, OAuth1Error> {
        let signer = OAuth1 {
            token: Some(temporary.token.clone()),
            token_secret: temporary.secret.clone(),
            ..self.client.clone()
        };
        consent::request(&self.token_url, &signer, &[("oauth_verifier", verifier.expose())], now, entropy)
    }

    /// What came of it. The token lives until the person or the provider ends it; what else the answer says can be
    /// read as `token.<name>`.
    pub fn read_token(&self, answer: &WireAnswer, sent_at: Timestamp) -> Result<TokenSet, OAuth1Error> {
        let Credentials { token, secret, more } = consent::credentials(answer)?;
        let mut set = TokenSet::new(token, sent_at);
        set.token_secret = Some(secret);
        set.grant_expires_at = self.grant_ttl.map(|secs| sent_at.plus_secs(secs));
        set.metadata =
            Metadata::new(more.into_iter().map(|(name, value)| (name, value.into())).collect::<Map<_, _>>());
        Ok(set)
    }

    /// Checks the application's half, once.
    pub(crate) fn prepare(&self, keys: &ParsedKeys) -> Result<PreparedOAuth1, SchemeError> {
        self.client.prepare(keys)
    }

    /// What must not be shown of the requests.
    pub fn secrets(&self) -> Vec<SecretString> {
        vec![self.client.consumer_secret.clone()]
    }
}
