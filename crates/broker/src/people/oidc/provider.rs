//! The provider itself: its document, its keys, and every request to it.
//!
//! The operator named the issuer, and the issuer's document (over TLS) names the rest, so the operator's egress
//! policy applies to all of it: private addresses too. Nothing of a tenant travels here.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION};
use http::{HeaderMap, HeaderValue, Method, Request, Uri};
use latchstring_egress::Configured;
use latchstring_model::address::Address;
use latchstring_model::problem::Refused;
use latchstring_model::{Code, Problem, SecretBytes, SecretString, Timestamp};
use latchstring_schemes::jws::verify::{PublicKeys, VerifyError};
use latchstring_schemes::oauth2::{
    AuthorizationCode, Client, ClientAuth, PkceVerifier, Refresh, Scope, TokenEndpoint,
};
use latchstring_schemes::oidc::{
    Expected, IdToken, IdTokenError, Metadata, metadata_address, verify_id_token,
};
use latchstring_schemes::token::TokenSet;
use latchstring_schemes::wire::{WireAnswer, WireRequest};
use serde_json::{Map, Value};
use tokio::sync::Mutex;

use super::settings::{OidcSettings, good_address};
use crate::{Broker, refusals};

const MOST_BYTES: usize = 1024 * 1024;
/// How long one request may take, connection included.
const WITHIN: Duration = Duration::from_secs(10);
/// How long document and keys are used before they are asked for again; in milliseconds.
const KEPT: i64 = 3_600_000;
/// A token that is signed with a key that we do not know has us look again, this often at most.
const LOOK_AGAIN: i64 = 10_000;

/// What is known of the provider. One who asks holds the lock: the others wait for that answer.
#[derive(Default)]
pub struct Provider(Mutex<Known>);

#[derive(Default)]
struct Known {
    metadata: Option<(Arc<Metadata>, Timestamp)>,
    keys: Option<(Arc<PublicKeys>, Timestamp)>,
}

/// The provider is at fault, or the way to it. The log has what it said.
pub(super) fn trouble(what: impl Into<std::borrow::Cow<'static, str>>) -> Box<Problem> {
    Problem::new(Code::SignInProviderError, what)
        .hint("Try again in a minute. If it stays so, whoever runs this server finds the reason in its log.")
        .into()
}

/// What the provider gave in exchange for a code.
pub(super) struct Exchanged {
    pub set: TokenSet,
    pub id_token: SecretString,
}

impl Broker {
    pub(super) fn oidc(&self) -> Refused<&OidcSettings> {
        self.settings.oidc.as_ref().ok_or_else(|| {
            Problem::new(Code::NotSetUp, "No sign-in provider is set up on this server.")
                .hint("Whoever runs it sets LATCHSTRING_OIDC_ISSUER and LATCHSTRING_OIDC_CLIENT_ID; until then people sign in with passwords.")
                .into()
        })
    }

    /// Where the provider sends people back to.
    pub fn sign_in_redirect_uri(&self) -> String {
        format!("{}/sign-in/callback", self.settings.public_url)
    }

    async fn ask_sign_in_provider(&self, what: &'static str, request: WireRequest) -> Refused<WireAnswer> {
        let way = self
            .own_way
            .get()
            .ok_or_else(|| refusals::internal(&"the control runtime's way out is not open"))?;
        let origin = request.address.origin.clone();
        let uri: Uri = request.address.target().parse().map_err(|_| {
            trouble(format!("The provider's address of its {what} cannot stand in a request."))
        })?;
        let mut sent = Request::new(Bytes::copy_from_slice(request.body.expose()));
        *sent.method_mut() = request.method;
        *sent.uri_mut() = uri;
        *sent.headers_mut() = request.headers;
        let permit = Configured::new(origin.clone());
        match way.pool.fetch(&permit, None, &origin, sent, MOST_BYTES, WITHIN).await {
            Ok(answer) => Ok(WireAnswer {
                status: answer.status.as_u16(),
                headers: answer.headers,
                body: answer.body,
                truncated: answer.truncated,
            }),
            Err(error) => {
                tracing::warn!(what, reason = %error.operator_reason(), "the sign-in provider did not answer");
                Err(trouble(format!("The sign-in provider's {what} could not be reached.")))
            }
        }
    }

    async fn document(
        &self,
        what: &'static str,
        address: &Address,
        bearer: Option<&SecretString>,
    ) -> Refused<Bytes> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        if let Some(token) = bearer {
            let mut value = HeaderValue::try_from(format!("Bearer {}", token.expose()))
                .map_err(|_| trouble("The provider's access token cannot stand in a header."))?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        let request = WireRequest {
            method: Method::GET,
            address: address.clone(),
            headers,
            body: SecretBytes::default(),
        };
        let answer = self.ask_sign_in_provider(what, request).await?;
        if answer.status != 200 || answer.truncated {
            tracing::warn!(
                what,
                status = answer.status,
                truncated = answer.truncated,
                "the sign-in provider's document cannot be used"
            );
            return Err(trouble(format!("The sign-in provider's {what} answered {}.", answer.status)));
        }
        Ok(answer.body)
    }

    async fn fetch_metadata(&self) -> Refused<Metadata> {
        let oidc = self.oidc()?;
        let address = metadata_address(&oidc.issuer_address);
        let body = self.document("discovery document", &address, None).await?;
        Metadata::read(&body, &oidc.issuer, good_address).map_err(|error| {
            tracing::warn!(%address, error = %error, "the sign-in provider's discovery document cannot be used");
            trouble(format!("{address} {error}."))
        })
    }

    pub(super) async fn provider_metadata(&self) -> Refused<Arc<Metadata>> {
        let mut known = self.provider.0.lock().await;
        self.metadata_of(&mut known).await
    }

    async fn metadata_of(&self, known: &mut Known) -> Refused<Arc<Metadata>> {
        let now = self.now();
        if let Some((metadata, at)) = &known.metadata
            && now.millis() - at.millis() < KEPT
        {
            return Ok(Arc::clone(metadata));
        }
        let metadata = Arc::new(self.fetch_metadata().await?);
        known.metadata = Some((Arc::clone(&metadata), now));
        Ok(metadata)
    }

    /// `again`: one of these keys is missing, so they may have been changed.
    async fn provider_keys(&self, again: bool) -> Refused<Arc<PublicKeys>> {
        let mut known = self.provider.0.lock().await;
        let now = self.now();
        if let Some((keys, at)) = &known.keys {
            let age = now.millis() - at.millis();
            if age < LOOK_AGAIN || (!again && age < KEPT) {
                return Ok(Arc::clone(keys));
            }
        }
        let metadata = self.metadata_of(&mut known).await?;
        let body = self.document("key set", &metadata.jwks_uri, None).await?;
        let keys = PublicKeys::read(&body).filter(|keys| !keys.is_empty());
        let Some(keys) = keys.map(Arc::new) else {
            return Err(trouble(
                "The sign-in provider publishes no key that signatures can be verified with.",
            ));
        };
        known.keys = Some((Arc::clone(&keys), now));
        Ok(keys)
    }

    /// The grant of a sign-in. `more`: further parameters of the authorization request.
    pub(super) async fn sign_in_grant(
        &self,
        more: Vec<(String, String)>,
    ) -> Refused<(AuthorizationCode, Arc<Metadata>)> {
        let oidc = self.oidc()?;
        let metadata = self.provider_metadata().await?;
        let knows = |method: &str| {
            // Discovery section 3: Basic, when the document does not say.
            metadata
                .auth_methods
                .as_ref()
                .map_or(method == "client_secret_basic", |known| known.iter().any(|known| known == method))
        };
        let auth = match &oidc.client_secret {
            None => ClientAuth::None,
            Some(secret) if !knows("client_secret_basic") && knows("client_secret_post") => {
                ClientAuth::Post { secret: secret.clone() }
            }
            Some(secret) => ClientAuth::Basic { secret: secret.clone(), raw: false },
        };
        let grant = AuthorizationCode {
            authorize_url: metadata.authorization_endpoint.clone(),
            endpoint: TokenEndpoint::new(metadata.token_endpoint.clone()),
            client: Client::new(oidc.client_id.clone(), auth),
            redirect_uri: self.sign_in_redirect_uri(),
            scope: Scope::new(oidc.scopes.iter().map(String::as_str)),
            pkce: true,
            authorize_params: more,
            refresh: Refresh::default(),
        };
        Ok((grant, metadata))
    }

    pub(super) async fn exchange_sign_in_code(
        &self,
        grant: &AuthorizationCode,
        code: &SecretString,
        verifier: &PkceVerifier,
    ) -> Refused<Exchanged> {
        let mut secrets = grant.client.secrets();
        secrets.extend([code.clone(), verifier.expose().into()]);
        let sent_at = self.now();
        let failed = |error: latchstring_schemes::oauth2::OAuthError| {
            let error = error.mask(&secrets);
            tracing::warn!(error = %error.explanation(), "the sign-in provider did not take a code");
            trouble(format!("The sign-in provider did not take the code: {}", error.explanation()))
        };
        let request = grant.code_request(code, verifier, sent_at, &*self.parts.entropy).map_err(failed)?;
        let answer = self.ask_sign_in_provider("token endpoint", request).await?;
        let set = grant.read_code_answer(&answer, sent_at).map_err(failed)?;
        let id_token = set.id_token.clone().ok_or_else(|| {
            trouble("The sign-in provider gave no ID token: the scope `openid` may be missing, or it knows OAuth alone.")
        })?;
        Ok(Exchanged { set, id_token })
    }

    /// The ID token, believed. Keys that were changed since are asked for once.
    pub(super) async fn believe(
        &self,
        exchanged: &Exchanged,
        nonce: &SecretString,
        signed_in_since: Option<Timestamp>,
    ) -> Refused<IdToken> {
        let oidc = self.oidc()?;
        let expected = Expected {
            issuer: &oidc.issuer,
            client_id: &oidc.client_id,
            nonce,
            now: self.now(),
            signed_in_since,
            access_token: &exchanged.set.access_token,
        };
        let mut keys = self.provider_keys(false).await?;
        let mut verified = verify_id_token(&exchanged.id_token, &keys, &expected);
        if matches!(verified, Err(IdTokenError::Verify(VerifyError::UnknownKey | VerifyError::Signature))) {
            keys = self.provider_keys(true).await?;
            verified = verify_id_token(&exchanged.id_token, &keys, &expected);
        }
        verified.map_err(|error| {
            tracing::warn!(error = %error, "an ID token was not accepted");
            Problem::new(Code::IdTokenInvalid, format!("The sign-in provider's ID token {error}."))
                .hint("Sign in again. If it stays so, whoever runs this server compares issuer, client id and clocks with the provider's.")
                .into()
        })
    }

    /// What the userinfo endpoint adds (section 5.3), for what the ID token does not say. It has to be about the
    /// same person.
    pub(super) async fn further_claims(
        &self,
        metadata: &Metadata,
        exchanged: &Exchanged,
        subject: &str,
    ) -> Refused<Map<String, Value>> {
        let Some(address) = &metadata.userinfo_endpoint else { return Ok(Map::new()) };
        let body = self.document("userinfo endpoint", address, Some(&exchanged.set.access_token)).await?;
        let claims: Map<String, Value> = serde_json::from_slice(&body).map_err(|_| {
            trouble("The sign-in provider's userinfo endpoint sent what is not a JSON object.")
        })?;
        if claims.get("sub").and_then(Value::as_str) != Some(subject) {
            return Err(trouble(
                "The sign-in provider's userinfo endpoint speaks of somebody else than its ID token.",
            ));
        }
        Ok(claims)
    }
}
