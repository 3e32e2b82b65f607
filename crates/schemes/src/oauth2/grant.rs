//! The grants: which parameters ask for a token, and how one is renewed.

use latchstring_model::address::Address;
use latchstring_model::{Entropy, SecretString, Timestamp};
use serde_json::{Map, Value};

use std::sync::Arc;

use super::assertion::Assertion;
use super::authorize::{AuthorizeRequest, PkceVerifier};
use super::client::Client;
use super::error::{ErrorClass, OAuthError, Proof};
use super::request::{Params, Scope, TokenEndpoint};
use super::rules::AnswerRules;
use crate::dpop::DpopKey;
use crate::jws::SigningKey;
use crate::token::TokenSet;
use crate::wire::{WireAnswer, WireRequest};

/// JWT bearer tokens whose answer has no end are taken to live an hour (seconds).
pub const JWT_BEARER_TTL_SECS: i64 = 3600;

/// RFC 6749 §4.4.
#[derive(Clone)]
pub struct ClientCredentials {
    pub endpoint: TokenEndpoint,
    pub client: Client,
    pub scope: Scope,
}

/// RFC 7523 §2.1: a JWT that we sign is the grant.
#[derive(Clone)]
pub struct JwtBearer {
    pub endpoint: TokenEndpoint,
    /// Some providers want the client proven beside the assertion.
    pub client: Option<Client>,
    /// Parsed once, shared by all that sign with it. It decides the algorithm.
    pub key: Arc<SigningKey>,
    pub issuer: String,
    pub subject: Option<String>,
    /// Often not the token URL; one, unless the provider insists.
    pub audience: Vec<String>,
    /// Win over the standard claims; `null` takes one out.
    pub claims: Map<String, Value>,
    /// Further JOSE header fields: `kid`.
    pub headers: Map<String, Value>,
    /// How long the assertion itself is good; 180 s unless the provider asks for more.
    pub assertion_life_secs: i64,
    /// As a parameter; Google wants it as a claim instead.
    pub scope: Scope,
}

/// RFC 6749 §4.3, for the few APIs that know nothing else.
#[derive(Clone)]
pub struct Password {
    pub endpoint: TokenEndpoint,
    pub client: Option<Client>,
    pub username: String,
    pub password: SecretString,
    pub scope: Scope,
}

/// RFC 8693: one token for another.
#[derive(Clone)]
pub struct TokenExchange {
    pub endpoint: TokenEndpoint,
    pub client: Option<Client>,
    pub subject_token: SecretString,
    pub subject_token_type: String,
    /// The token and its type.
    pub actor: Option<(SecretString, String)>,
    pub requested_token_type: Option<String>,
    pub audience: Vec<String>,
    pub scope: Scope,
}

/// RFC 6749 §4.1 with PKCE: a person consents in a browser, the code is exchanged once, refresh
/// tokens keep it alive.
#[derive(Clone)]
pub struct AuthorizationCode {
    pub authorize_url: Address,
    pub endpoint: TokenEndpoint,
    pub client: Client,
    pub redirect_uri: String,
    pub scope: Scope,
    pub pkce: bool,
    pub authorize_params: Vec<(String, String)>,
    pub refresh: Refresh,
}

/// RFC 8628: a person confirms a short code on another device.
#[derive(Clone)]
pub struct DeviceCode {
    pub device_endpoint: TokenEndpoint,
    pub endpoint: TokenEndpoint,
    pub client: Client,
    pub scope: Scope,
    pub refresh: Refresh,
}

/// What the refresh request (RFC 6749 §6) does differently from the first one.
#[derive(Clone, Default)]
pub struct Refresh {
    /// Another URL than the token URL.
    pub url: Option<Address>,
    /// Take the place of the token endpoint's own `params`, which are for the first request.
    pub params: Vec<(String, SecretString)>,
    /// Repeat the scopes. RFC 6749 §6 lets them out (then they stay as granted); few providers insist.
    pub send_scope: bool,
    pub rules: Option<Box<AnswerRules>>,
}

impl Refresh {
    fn endpoint(&self, first: &TokenEndpoint) -> TokenEndpoint {
        let mut endpoint = first.clone();
        if let Some(url) = &self.url {
            endpoint.url = url.clone();
        }
        endpoint.params = self.params.clone();
        endpoint
    }

    fn rules<'a>(&'a self, first: &'a TokenEndpoint) -> &'a AnswerRules {
        self.rules.as_deref().unwrap_or(&first.rules)
    }
}

impl ClientCredentials {
    pub fn token_request(&self, now: Timestamp, entropy: &dyn Entropy) -> Result<WireRequest, OAuthError> {
        let mut params = Params::grant("client_credentials");
        params.scope(&self.scope);
        self.endpoint.request(params, Some(&self.client), now, entropy)
    }
}

impl JwtBearer {
    pub fn token_request(&self, now: Timestamp, entropy: &dyn Entropy) -> Result<WireRequest, OAuthError> {
        let assertion = Assertion {
            key: &self.key,
            issuer: &self.issuer,
            subject: self.subject.as_deref(),
            audience: &self.audience,
            life_secs: self.assertion_life_secs,
            headers: &self.headers,
            claims: &self.claims,
        };
        let mut params = Params::grant("urn:ietf:params:oauth:grant-type:jwt-bearer");
        params.push("assertion", assertion.sign(now, entropy)?);
        params.scope(&self.scope);
        self.endpoint.request(params, self.client.as_ref(), now, entropy)
    }
}

impl Password {
    pub fn token_request(&self, now: Timestamp, entropy: &dyn Entropy) -> Result<WireRequest, OAuthError> {
        let mut params = Params::grant("password");
        params.text("username", &self.username);
        params.push("password", self.password.clone());
        params.scope(&self.scope);
        self.endpoint.request(params, self.client.as_ref(), now, entropy)
    }
}

impl TokenExchange {
    pub fn token_request(&self, now: Timestamp, entropy: &dyn Entropy) -> Result<WireRequest, OAuthError> {
        let mut params = Params::grant("urn:ietf:params:oauth:grant-type:token-exchange");
        params.push("subject_token", self.subject_token.clone());
        params.text("subject_token_type", &self.subject_token_type);
        if let Some((token, kind)) = &self.actor {
            params.push("actor_token", token.clone());
            params.text("actor_token_type", kind);
        }
        params.optional("requested_token_type", self.requested_token_type.as_deref());
        for audience in &self.audience {
            params.text("audience", audience);
        }
        params.scope(&self.scope);
        self.endpoint.request(params, self.client.as_ref(), now, entropy)
    }
}

impl AuthorizationCode {
    /// Where to send the browser. `verifier` is wanted exactly when `pkce` is on.
    pub fn authorize_url(&self, state: &SecretString, verifier: &PkceVerifier) -> SecretString {
        let mut params = self.authorize_params.clone();
        // RFC 9449 §10: a code that is stolen is worth nothing without the key.
        params.extend(self.endpoint.dpop.as_ref().map(|key| ("dpop_jkt".to_owned(), key.thumbprint())));
        AuthorizeRequest {
            endpoint: &self.authorize_url,
            client_id: &self.client.id,
            redirect_uri: &self.redirect_uri,
            state,
            scope: &self.scope,
            pkce: self.pkce.then_some(verifier),
            resource: &self.endpoint.resource,
            params: &params,
            renames: &self.endpoint.renames,
        }
        .url()
    }

    /// RFC 6749 §4.1.3. A code is good once: never send this twice.
    pub fn code_request(
        &self,
        code: &SecretString,
        verifier: &PkceVerifier,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> Result<WireRequest, OAuthError> {
        let mut params = Params::grant("authorization_code");
        params.push("code", code.clone());
        params.text("redirect_uri", &self.redirect_uri);
        if self.pkce {
            params.text("code_verifier", verifier.expose());
        }
        self.endpoint.request(params, Some(&self.client), now, entropy)
    }

    /// Reads the answer to [`AuthorizationCode::code_request`].
    pub fn read_code_answer(&self, answer: &WireAnswer, sent_at: Timestamp) -> Result<TokenSet, OAuthError> {
        self.endpoint.rules.read(answer, sent_at).map(|token| consented(token, &self.endpoint.rules))
    }
}

/// RFC 8628 §3.2: what the person is told.
#[derive(Clone)]
pub struct DeviceAuthorization {
    pub device_code: SecretString,
    pub user_code: String,
    pub verification_uri: String,
    pub verification_uri_complete: Option<String>,
    pub expires_at: Timestamp,
    /// Seconds between two polls; `slow_down` adds five.
    pub interval_secs: i64,
}

impl DeviceCode {
    pub fn device_request(&self, now: Timestamp, entropy: &dyn Entropy) -> Result<WireRequest, OAuthError> {
        let mut params = Params::default();
        params.scope(&self.scope);
        if matches!(self.client.auth, super::ClientAuth::None | super::ClientAuth::Basic { .. }) {
            params.text("client_id", &self.client.id);
        }
        // §3.1: a public client names itself, any other proves itself as at the token endpoint.
        let client = (!matches!(self.client.auth, super::ClientAuth::None)).then_some(&self.client);
        self.device_endpoint.request(params, client, now, entropy)
    }

    pub fn read_device_answer(
        &self,
        answer: &WireAnswer,
        sent_at: Timestamp,
    ) -> Result<DeviceAuthorization, OAuthError> {
        self.device_endpoint.rules.read_device(answer, sent_at)
    }

    /// One poll: `Pending` and `SlowDown` are errors that mean "ask again".
    pub fn poll_request(
        &self,
        device_code: &SecretString,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> Result<WireRequest, OAuthError> {
        let mut params = Params::grant("urn:ietf:params:oauth:grant-type:device_code");
        params.push("device_code", device_code.clone());
        self.endpoint.request(params, Some(&self.client), now, entropy)
    }

    pub fn read_poll_answer(&self, answer: &WireAnswer, sent_at: Timestamp) -> Result<TokenSet, OAuthError> {
        self.endpoint.rules.read(answer, sent_at).map(|token| consented(token, &self.endpoint.rules))
    }
}

/// The grant's own end counts from consent, so only a first answer sets it.
fn consented(mut token: TokenSet, rules: &AnswerRules) -> TokenSet {
    if token.grant_expires_at.is_none() && token.refresh_token.is_some() {
        token.grant_expires_at = rules.grant_ttl.map(|secs| token.obtained_at.plus_secs(secs));
    }
    token
}

/// RFC 7009: tell the provider that a token is no longer needed.
#[derive(Clone)]
pub struct Revocation {
    /// Its `params`, `renames`, `headers`, method and body form are those of the revocation request.
    pub endpoint: TokenEndpoint,
    pub client: Option<Client>,
}

impl Revocation {
    /// One request for each of its tokens, the refresh token first: with most providers it ends the whole grant.
    pub fn requests(
        &self,
        token: &TokenSet,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> Result<Vec<WireRequest>, OAuthError> {
        let access = (!token.access_token.is_empty()).then(|| (token.access_token.clone(), "access_token"));
        let refresh = token.refresh_token.clone().filter(|refresh| !refresh.is_empty());
        let named = token.named.values().map(|token| (token.access_token.clone(), "access_token"));
        refresh
            .map(|refresh| (refresh, "refresh_token"))
            .into_iter()
            .chain(access)
            .chain(named)
            .map(|(text, hint)| {
                let mut params = Params::default();
                params.push("token", text);
                params.text("token_type_hint", hint);
                self.endpoint.request(params, self.client.as_ref(), now, entropy)
            })
            .collect()
    }

    /// Revoking the refresh token ends the whole grant with most providers; without one, the access token.
    pub fn request(
        &self,
        token: &TokenSet,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> Result<WireRequest, OAuthError> {
        let mut params = Params::default();
        match &token.refresh_token {
            Some(refresh) => {
                params.push("token", refresh.clone());
                params.text("token_type_hint", "refresh_token");
            }
            None => {
                params.push("token", token.access_token.clone());
                params.text("token_type_hint", "access_token");
            }
        }
        self.endpoint.request(params, self.client.as_ref(), now, entropy)
    }

    /// §2.2: any 2xx means gone, and an unknown token is as good as revoked.
    pub fn read_answer(&self, answer: &WireAnswer) -> Result<(), OAuthError> {
        if (200..300).contains(&answer.status) {
            return Ok(());
        }
        match self.endpoint.rules.read(answer, Timestamp(0)) {
            Err(error) if error.class == ErrorClass::DeadGrant => Ok(()),
            Err(error) => Err(error),
            Ok(_) => Ok(()),
        }
    }
}

/// Any of the grants, as the refresh protocol sees it: something that asks for a token and can do so again.
#[derive(Clone)]
pub enum Grant {
    ClientCredentials(Box<ClientCredentials>),
    JwtBearer(Box<JwtBearer>),
    Password(Box<Password>),
    TokenExchange(Box<TokenExchange>),
    AuthorizationCode(Box<AuthorizationCode>),
    DeviceCode(Box<DeviceCode>),
}

impl Grant {
    fn endpoint(&self) -> &TokenEndpoint {
        match self {
            Grant::ClientCredentials(grant) => &grant.endpoint,
            Grant::JwtBearer(grant) => &grant.endpoint,
            Grant::Password(grant) => &grant.endpoint,
            Grant::TokenExchange(grant) => &grant.endpoint,
            Grant::AuthorizationCode(grant) => &grant.endpoint,
            Grant::DeviceCode(grant) => &grant.endpoint,
        }
    }

    /// Who asks, where somebody does.
    pub fn client(&self) -> Option<&Client> {
        match self {
            Grant::ClientCredentials(grant) => Some(&grant.client),
            Grant::AuthorizationCode(grant) => Some(&grant.client),
            Grant::DeviceCode(grant) => Some(&grant.client),
            Grant::JwtBearer(grant) => grant.client.as_ref(),
            Grant::Password(grant) => grant.client.as_ref(),
            Grant::TokenExchange(grant) => grant.client.as_ref(),
        }
    }

    /// Seconds that the grant itself lives, counted from consent, where the connector knows.
    pub fn grant_ttl(&self) -> Option<i64> {
        self.endpoint().rules.grant_ttl
    }

    /// The key that its tokens are bound to, if any (RFC 9449).
    pub fn dpop(&self) -> Option<&DpopKey> {
        self.endpoint().dpop.as_deref()
    }

    /// [`TokenEndpoint::learn_nonce`].
    pub fn learn_nonce(&self, answer: &WireAnswer) -> bool {
        self.endpoint().learn_nonce(answer)
    }

    /// How its tokens are revoked at that address: asked as the token endpoint is, proven in the same way.
    pub fn revocation(&self, url: Address) -> Revocation {
        let first = self.endpoint();
        let mut endpoint = TokenEndpoint::new(url);
        endpoint.headers.clone_from(&first.headers);
        endpoint.renames.clone_from(&first.renames);
        Revocation { endpoint, client: self.client().cloned() }
    }

    /// The scopes that consent asks for; `None` for grants without a person.
    pub fn consent_scope(&mut self) -> Option<&mut Scope> {
        match self {
            Grant::AuthorizationCode(grant) => Some(&mut grant.scope),
            Grant::DeviceCode(grant) => Some(&mut grant.scope),
            _ => None,
        }
    }

    /// Whether a token request uses up a refresh token. Otherwise asking twice does no harm.
    pub fn spends_refresh_token(&self) -> bool {
        matches!(self, Grant::AuthorizationCode(_) | Grant::DeviceCode(_))
    }

    /// The next token request: the refresh grant where a person's consent is behind it, else the
    /// grant itself again, which needs nothing of the old token (RFC 6749 §4.4.3).
    pub fn token_request(
        &self,
        current: Option<&TokenSet>,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> Result<WireRequest, OAuthError> {
        let (first, client, scope, refresh) = match self {
            Grant::ClientCredentials(grant) => return grant.token_request(now, entropy),
            Grant::JwtBearer(grant) => return grant.token_request(now, entropy),
            Grant::Password(grant) => return grant.token_request(now, entropy),
            Grant::TokenExchange(grant) => return grant.token_request(now, entropy),
            Grant::AuthorizationCode(grant) => (&grant.endpoint, &grant.client, &grant.scope, &grant.refresh),
            Grant::DeviceCode(grant) => (&grant.endpoint, &grant.client, &grant.scope, &grant.refresh),
        };
        let Some(current) = current else { return Err(OAuthError::new(ErrorClass::NeedsConsent)) };
        let Some(token) = current.refresh_token.as_ref().filter(|token| !token.is_empty()) else {
            return Err(OAuthError::new(ErrorClass::DeadGrant).what(
                "the access token has ended and the provider gave no refresh token with it; many give one only when \
                 asked for offline access, or only at the first consent",
            ));
        };
        let mut params = Params::grant("refresh_token");
        params.push("refresh_token", token.clone());
        if refresh.send_scope {
            let granted = current.scopes.clone().unwrap_or_else(|| scope.scopes.clone());
            params.scope(&Scope { scopes: granted, separator: scope.separator.clone() });
        }
        refresh.endpoint(first).request(params, Some(client), now, entropy)
    }

    /// Reads the answer to [`Grant::token_request`]. `sent_at` is from before the request was sent.
    /// What the answer leaves out is kept from `current`. Whoever has the request masks the error with what was sent.
    pub fn read_answer(
        &self,
        answer: &WireAnswer,
        current: Option<&TokenSet>,
        sent_at: Timestamp,
    ) -> Result<TokenSet, OAuthError> {
        let token = match self {
            Grant::JwtBearer(grant) => {
                let mut rules = grant.endpoint.rules.clone();
                rules.default_ttl = rules.default_ttl.or(Some(JWT_BEARER_TTL_SECS));
                rules.read(answer, sent_at)
            }
            Grant::AuthorizationCode(grant) => grant.refresh.rules(&grant.endpoint).read(answer, sent_at),
            Grant::DeviceCode(grant) => grant.refresh.rules(&grant.endpoint).read(answer, sent_at),
            Grant::ClientCredentials(_) | Grant::Password(_) | Grant::TokenExchange(_) => {
                self.endpoint().rules.read(answer, sent_at)
            }
        }
        .map_err(|error| match self.proof() {
            Some(proof) => error.without_consent(proof),
            None => error,
        })?;
        Ok(match current {
            Some(old) => token.over(old),
            None => token,
        })
    }

    fn proof(&self) -> Option<Proof> {
        match self {
            Grant::ClientCredentials(_) => Some(Proof::Client),
            Grant::JwtBearer(_) => Some(Proof::Assertion),
            Grant::Password(_) => Some(Proof::Password),
            Grant::TokenExchange(_) => Some(Proof::SubjectToken),
            Grant::AuthorizationCode(_) | Grant::DeviceCode(_) => None,
        }
    }

    /// Everything that this grant has and nobody may see. What is made for one request is in that
    /// ([`super::secrets_in`]).
    pub fn secrets(&self, current: Option<&TokenSet>) -> Vec<SecretString> {
        let mut all: Vec<SecretString> = self.client().map(Client::secrets).unwrap_or_default();
        let endpoint = self.endpoint();
        all.extend(endpoint.params.iter().map(|(_, value)| value.clone()));
        all.extend(endpoint.headers.iter().map(|(_, value)| value.clone()));
        match self {
            Grant::Password(grant) => all.push(grant.password.clone()),
            Grant::TokenExchange(grant) => {
                all.push(grant.subject_token.clone());
                all.extend(grant.actor.iter().map(|(token, _)| token.clone()));
            }
            Grant::AuthorizationCode(grant) => {
                all.extend(grant.refresh.params.iter().map(|(_, v)| v.clone()))
            }
            Grant::DeviceCode(grant) => all.extend(grant.refresh.params.iter().map(|(_, v)| v.clone())),
            Grant::ClientCredentials(_) | Grant::JwtBearer(_) => {}
        }
        all.extend(current.map(TokenSet::secrets).unwrap_or_default());
        all
    }
}
