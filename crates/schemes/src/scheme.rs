//! All schemes behind one door: a [`Scheme`] is concrete (its templates rendered), a [`Prepared`] one has its
//! keys parsed and its header values checked, and is shared by every request of a credential.

use std::borrow::Cow;

use http::header::{AUTHORIZATION, HeaderMap};
use latchstring_model::{Entropy, SecretString, Timestamp};

use crate::api_key::ApiKey;
use crate::apply::{Fixed, Place, Placement, header_value};
use crate::aws_sigv4::{AwsSigV4, PreparedSigV4};
use crate::basic::Basic;
use crate::bearer::Bearer;
use crate::custom::{Custom, OwnBody};
use crate::digest::{Digest, PreparedDigest};
use crate::dpop;
use crate::error::SchemeError;
use crate::hmac::{Hmac, PreparedHmac};
use crate::jwt::{Jwt, PreparedJwt};
use crate::keys::ParsedKeys;
use crate::mutual_tls::{MutualTls, TlsIdentity};
use crate::oauth1::{OAuth1, PreparedOAuth1, ThreeLegged};
use crate::oauth2::Grant;
use crate::token::TokenSet;
use crate::wire::Outgoing;

/// The longest body that is held in memory because a signature covers it (bytes).
pub const HELD_BODY_MAX: usize = 8 * 1024 * 1024;

/// One auth method's mechanics with all its values.
pub enum Scheme {
    None,
    ApiKey(ApiKey),
    Basic(Basic),
    Bearer(Bearer),
    OAuth1(Box<OAuth1>),
    /// The same where a person consents: the token comes of that.
    ThreeLegged(Box<ThreeLegged>),
    OAuth2(OAuth2),
    Jwt(Jwt),
    Digest(Digest),
    Hmac(Hmac),
    AwsSigV4(AwsSigV4),
    /// A client certificate, and what else the API wants to see in the request.
    MutualTls(MutualTls, Option<Box<Scheme>>),
    Custom(Custom),
}

/// A token obtained by a grant, and how it is shown.
pub struct OAuth2 {
    pub grant: Grant,
    /// Default: `Authorization`, with the word that the token's type asks for.
    pub place: Option<Placement>,
    /// One of several tokens of the same grant (Slack's `user`); default: the grant's own.
    pub token_name: Option<String>,
}

impl OAuth2 {
    pub fn new(grant: Grant) -> Self {
        Self { grant, place: None, token_name: None }
    }
}

impl From<Grant> for Scheme {
    fn from(grant: Grant) -> Self {
        Scheme::OAuth2(OAuth2::new(grant))
    }
}

/// Whether a scheme must see the body before the request can leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyNeed {
    /// It may be streamed.
    None,
    /// It may be streamed, but the request goes out without a proof, is refused for that, and is then sent a second time: a
    /// small one is worth holding for that.
    Twice,
    /// It must be held whole; a longer one is refused.
    Held { max: usize },
}

enum Kind {
    None,
    Fixed(Fixed),
    Token { grant: Box<Grant>, place: Option<Place>, name: Option<String> },
    Jwt(Box<PreparedJwt>),
    OAuth1(Box<PreparedOAuth1>),
    ThreeLegged(Box<(ThreeLegged, PreparedOAuth1)>),
    Digest(PreparedDigest),
    Hmac(Box<PreparedHmac>),
    AwsSigV4(Box<PreparedSigV4>),
}

/// A scheme ready to sign, to be shared in an `Arc`.
pub struct Prepared {
    kind: Kind,
    identity: Option<TlsIdentity>,
    body: Option<OwnBody>,
}

impl Scheme {
    /// The grant that obtains its tokens, also behind a client certificate.
    pub fn grant(&self) -> Option<&Grant> {
        match self {
            Scheme::OAuth2(oauth2) => Some(&oauth2.grant),
            Scheme::MutualTls(_, Some(inner)) => inner.grant(),
            _ => None,
        }
    }

    /// The application that a person consents to by OAuth 1.0a, likewise.
    pub fn three_legged(&self) -> Option<&ThreeLegged> {
        match self {
            Scheme::ThreeLegged(scheme) => Some(scheme),
            Scheme::MutualTls(_, Some(inner)) => inner.three_legged(),
            _ => None,
        }
    }

    /// Seconds that a grant lives, counted from consent, where the connector knows.
    pub fn grant_ttl(&self) -> Option<i64> {
        self.grant()
            .and_then(Grant::grant_ttl)
            .or_else(|| self.three_legged().and_then(|scheme| scheme.grant_ttl))
    }

    /// The type as definitions and the API name it.
    pub fn type_name(&self) -> &'static str {
        match self {
            Scheme::None => "none",
            Scheme::ApiKey(_) => "api_key",
            Scheme::Basic(_) => "basic",
            Scheme::Bearer(_) => "bearer",
            Scheme::OAuth1(_) | Scheme::ThreeLegged(_) => "oauth1",
            Scheme::OAuth2(oauth2) => match oauth2.grant {
                Grant::ClientCredentials(_) => "oauth2_client_credentials",
                Grant::JwtBearer(_) => "oauth2_jwt_bearer",
                Grant::Password(_) => "oauth2_password",
                Grant::TokenExchange(_) => "oauth2_token_exchange",
                Grant::AuthorizationCode(_) => "oauth2_authorization_code",
                Grant::DeviceCode(_) => "oauth2_device_code",
            },
            Scheme::Jwt(_) => "jwt",
            Scheme::Digest(_) => "digest",
            Scheme::Hmac(_) => "hmac",
            Scheme::AwsSigV4(_) => "aws_sigv4",
            Scheme::MutualTls(..) => "mutual_tls",
            Scheme::Custom(_) => "custom",
        }
    }

    /// Parses keys, unless `keys` has them, and checks every value that will stand in a request.
    pub fn prepare(self, keys: &ParsedKeys) -> Result<Prepared, SchemeError> {
        let mut body = None;
        let mut identity = None;
        let kind = match self {
            Scheme::None => Kind::None,
            Scheme::ApiKey(scheme) => Kind::Fixed(scheme.prepare()?),
            Scheme::Basic(scheme) => Kind::Fixed(scheme.prepare()?),
            Scheme::Bearer(scheme) => Kind::Fixed(scheme.prepare()?),
            Scheme::OAuth1(scheme) => Kind::OAuth1(Box::new(scheme.prepare(keys)?)),
            Scheme::ThreeLegged(scheme) => {
                let prepared = scheme.prepare(keys)?;
                Kind::ThreeLegged(Box::new((*scheme, prepared)))
            }
            Scheme::OAuth2(OAuth2 { grant, place, token_name }) => Kind::Token {
                grant: Box::new(grant),
                place: place.as_ref().map(|place| Place::new("token_place", place)).transpose()?,
                name: token_name,
            },
            Scheme::Jwt(scheme) => Kind::Jwt(Box::new(scheme.prepare(keys)?)),
            Scheme::Digest(scheme) => Kind::Digest(scheme.prepare(keys)?),
            Scheme::Hmac(scheme) => Kind::Hmac(Box::new(scheme.prepare()?)),
            Scheme::AwsSigV4(scheme) => Kind::AwsSigV4(Box::new(scheme.prepare()?)),
            Scheme::MutualTls(scheme, with) => {
                identity = Some(keys.tls(&scheme)?);
                match with {
                    None => Kind::None,
                    Some(with) if matches!(*with, Scheme::MutualTls(..)) => {
                        return Err(SchemeError::NestedMethod);
                    }
                    Some(with) => {
                        let inner = with.prepare(keys)?;
                        body = inner.body;
                        inner.kind
                    }
                }
            }
            Scheme::Custom(scheme) => {
                let fixed = scheme.prepare()?;
                body = scheme.body;
                Kind::Fixed(fixed)
            }
        };
        Ok(Prepared { kind, identity, body })
    }
}

impl Prepared {
    /// Whether a [`TokenSet`] has to be obtained before anything can be signed.
    pub fn needs_token(&self) -> bool {
        matches!(self.kind, Kind::Token { .. } | Kind::ThreeLegged(_))
    }

    /// Whether another token can be had when the one that is there has ended. OAuth 1.0a knows no such thing.
    pub fn renews(&self) -> bool {
        !matches!(self.kind, Kind::ThreeLegged(_))
    }

    /// The grant that obtains it.
    pub fn grant(&self) -> Option<&Grant> {
        match &self.kind {
            Kind::Token { grant, .. } => Some(grant),
            _ => None,
        }
    }

    /// The application that a person consents to by OAuth 1.0a.
    pub fn three_legged(&self) -> Option<&ThreeLegged> {
        match &self.kind {
            Kind::ThreeLegged(both) => Some(&both.0),
            _ => None,
        }
    }

    /// What [`Prepared::sign`] wants to know of the body of this request. For digest the answer depends on
    /// what the server last asked for, and its refusal may ask for more: a replay is signed with its body, whatever was
    /// said here before. For OAuth 1.0a it depends on `Content-Type`.
    pub fn body_need(&self, out: &Outgoing<'_>) -> BodyNeed {
        let held = match &self.kind {
            Kind::None | Kind::Fixed(_) | Kind::Token { .. } | Kind::Jwt(_) => false,
            Kind::OAuth1(oauth1) => oauth1.covers_body(out.headers),
            Kind::ThreeLegged(both) => both.1.covers_body(out.headers),
            Kind::Digest(digest) => match digest.covers_body() {
                None => return BodyNeed::Twice,
                Some(covered) => covered,
            },
            Kind::Hmac(hmac) => hmac.needs_body,
            Kind::AwsSigV4(aws) => !aws.takes_unsigned(out.origin.https),
        };
        if held { BodyNeed::Held { max: HELD_BODY_MAX } } else { BodyNeed::None }
    }

    /// Puts the credential on the request, in place of what the caller sent under the same names.
    ///
    /// `body` is `Some` when it is held (empty when there is none), `None` when it will be streamed.
    /// Header values that are secret are marked sensitive. What was put there and differs from request to
    /// request is returned for masks; what stays the same is in [`Prepared::secrets_to_mask`].
    pub fn sign(
        &self,
        out: &mut Outgoing<'_>,
        body: Option<&[u8]>,
        token: Option<&TokenSet>,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> Result<Option<SecretString>, SchemeError> {
        match &self.kind {
            Kind::None => Ok(None),
            Kind::Fixed(fixed) => {
                fixed.apply(out);
                Ok(None)
            }
            Kind::Token { grant, place, name } => {
                let token = match (token, name) {
                    (Some(token), Some(name)) => token.named.get(name),
                    (token, _) => token,
                };
                let token =
                    token.filter(|token| !token.access_token.is_empty()).ok_or(SchemeError::TokenMissing)?;
                // A server that does not bind tokens says so by their type (RFC 9449 section 5).
                let key = grant.dpop().filter(|_| token.is_dpop());
                // A proof belongs into the header beside the token, wherever else one would go.
                let place = place.as_ref().filter(|_| key.is_none());
                apply_token(out, token, place).map_err(|_| SchemeError::BadToken)?;
                let Some(key) = key else { return Ok(None) };
                let (to, bound) = (dpop::Server::Resource, Some(&token.access_token));
                key.prove(out.headers, out.method, out.origin, out.target, to, bound, now, entropy).map(Some)
            }
            Kind::Jwt(jwt) => {
                jwt.sign(out, now, entropy)?;
                Ok(jwt.place.read(out))
            }
            Kind::OAuth1(oauth1) => oauth1.sign(out, body, now, entropy).map(Some),
            Kind::ThreeLegged(both) => {
                let token = token.filter(|token| !token.access_token.is_empty());
                let token = token.ok_or(SchemeError::TokenMissing)?;
                let secret = token.token_secret.clone().unwrap_or_default();
                both.1.with_token(&token.access_token, &secret)?.sign(out, body, now, entropy).map(Some)
            }
            Kind::Digest(digest) => {
                digest.sign(out, body, entropy)?;
                Ok(after(out, "response=\"", "\""))
            }
            Kind::Hmac(hmac) => hmac.sign(out, body, now, entropy).map(Some),
            Kind::AwsSigV4(aws) => {
                aws.sign(out, body, now)?;
                Ok(after(out, "Signature=", ","))
            }
        }
    }

    /// The same for a question to the authorization server itself, its userinfo endpoint: with the grant's own token,
    /// in the header where OpenID Connect Core section 5.3 wants it, wherever the API's calls carry theirs.
    pub fn sign_plainly(
        &self,
        out: &mut Outgoing<'_>,
        token: &TokenSet,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> Result<(), SchemeError> {
        let Kind::Token { grant, .. } = &self.kind else {
            return self.sign(out, Some(b""), Some(token), now, entropy).map(drop);
        };
        if token.access_token.is_empty() {
            return Err(SchemeError::TokenMissing);
        }
        apply_token(out, token, None).map_err(|_| SchemeError::BadToken)?;
        if let Some(key) = grant.dpop().filter(|_| token.is_dpop()) {
            let (to, bound) = (dpop::Server::Resource, Some(&token.access_token));
            key.prove(out.headers, out.method, out.origin, out.target, to, bound, now, entropy)?;
        }
        Ok(())
    }

    /// Whether [`Prepared::challenge`] can learn anything from answers.
    pub fn learns(&self) -> bool {
        match &self.kind {
            Kind::Digest(_) => true,
            Kind::Token { grant, .. } => grant.dpop().is_some(),
            _ => false,
        }
    }

    /// Looks at an answer's status and headers. True when a refusal taught something (a nonce, of digest or
    /// DPoP), so that signing again and replaying, once, is worthwhile. DPoP also learns from answers that are
    /// no refusal; leaving those out only costs a round trip.
    pub fn challenge(&self, status: u16, headers: &HeaderMap) -> bool {
        match &self.kind {
            Kind::Digest(digest) => digest.challenge(status, headers),
            Kind::Token { grant, .. } => grant.dpop().is_some_and(|key| {
                key.learn(dpop::Server::Resource, headers) && dpop::wants_nonce(status, headers)
            }),
            _ => false,
        }
    }

    /// The client certificate to show, if any.
    pub fn tls_identity(&self) -> Option<&TlsIdentity> {
        self.identity.as_ref()
    }

    /// The body that a `custom` method gives to requests of our own.
    pub fn own_body(&self) -> Option<&OwnBody> {
        self.body.as_ref()
    }

    /// What must not come back to a caller in an answer: the values themselves and, where they travel in
    /// another spelling, that spelling. Tokens have their own list, [`TokenSet::secrets`].
    pub fn secrets_to_mask(&self) -> Vec<SecretString> {
        let mut secrets = match &self.kind {
            Kind::None | Kind::Jwt(_) => Vec::new(),
            Kind::Fixed(fixed) => fixed.secrets.clone(),
            Kind::Token { grant, .. } => grant.secrets(None),
            Kind::OAuth1(oauth1) => oauth1.secrets(),
            Kind::ThreeLegged(both) => both.1.secrets(),
            Kind::Digest(digest) => vec![digest.password.clone()],
            Kind::Hmac(hmac) => vec![hmac.secret.clone()],
            Kind::AwsSigV4(aws) => {
                let mut secrets = vec![aws.secret()];
                secrets.extend(aws.session_token.clone());
                secrets
            }
        };
        if let Some(body) = &self.body
            && let Ok(text) = std::str::from_utf8(body.bytes.expose())
        {
            secrets.push(text.into());
        }
        secrets.retain(|secret| !secret.is_empty());
        secrets
    }
}

fn apply_token(out: &mut Outgoing<'_>, token: &TokenSet, place: Option<&Place>) -> Result<(), SchemeError> {
    let text = token.access_token.expose();
    if let Some(place) = place {
        return place.set(out, "token", text);
    }
    let word: Cow<'_, str> = token.authorization_word().into();
    let line = zeroize::Zeroizing::new(format!("{word} {text}"));
    out.headers.insert(AUTHORIZATION, header_value("token", &line)?);
    Ok(())
}

/// A part of the `Authorization` header that was just written.
fn after(out: &Outgoing<'_>, start: &str, end: &str) -> Option<SecretString> {
    let line = out.headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (_, rest) = line.split_once(start)?;
    Some(rest.split(end).next().unwrap_or(rest).into())
}
