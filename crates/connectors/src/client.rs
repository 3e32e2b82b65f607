//! An OAuth client, opened: our registration with a provider as the schemes that need consent use it
//! (RFC 6749 section 2).

use std::sync::Arc;

use latchstring_model::SecretString;
use latchstring_model::address::Address;
use latchstring_model::id::OAuthClientId;
use latchstring_schemes::dpop::DpopKey;
use latchstring_schemes::jws::SigningKey;
use latchstring_schemes::oauth2::{ASSERTION_LIFE_SECS, Client, ClientAuth, PrivateKeyJwt};
use serde_json::Map;

use crate::definition::HostPattern;

/// How it proves itself to the token endpoint. The words are those of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuthMethod {
    /// `client_secret_basic` of RFC 6749 section 2.3.1.
    Basic,
    /// `client_secret_post`.
    Post,
    /// A public client: its id is all there is.
    None,
    /// RFC 7523 section 2.2.
    PrivateKeyJwt,
    /// RFC 8705 section 2.1: by a certificate that the server trusts for its issuer.
    TlsClientAuth,
    /// RFC 8705 section 2.2: by a certificate that was registered.
    SelfSignedTlsClientAuth,
}

impl ClientAuthMethod {
    pub const ALL: &'static [ClientAuthMethod] = &[
        ClientAuthMethod::Basic,
        ClientAuthMethod::Post,
        ClientAuthMethod::None,
        ClientAuthMethod::PrivateKeyJwt,
        ClientAuthMethod::TlsClientAuth,
        ClientAuthMethod::SelfSignedTlsClientAuth,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            ClientAuthMethod::Basic => "basic",
            ClientAuthMethod::Post => "post",
            ClientAuthMethod::None => "none",
            ClientAuthMethod::PrivateKeyJwt => "private_key_jwt",
            ClientAuthMethod::TlsClientAuth => "tls_client_auth",
            ClientAuthMethod::SelfSignedTlsClientAuth => "self_signed_tls_client_auth",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|method| method.as_str() == text)
    }

    pub const fn needs_secret(self) -> bool {
        matches!(self, ClientAuthMethod::Basic | ClientAuthMethod::Post)
    }

    /// Whether a certificate of ours is shown on the connection.
    pub const fn by_certificate(self) -> bool {
        matches!(self, ClientAuthMethod::TlsClientAuth | ClientAuthMethod::SelfSignedTlsClientAuth)
    }

    /// Whether it has a private key.
    pub const fn needs_key(self) -> bool {
        matches!(self, ClientAuthMethod::PrivateKeyJwt) || self.by_certificate()
    }
}

/// What a client shows on its connections (RFC 8705): to the provider, and to the API, whose tokens may be bound to it.
#[derive(Clone)]
pub struct ClientCertificate {
    /// PEM: its own and its issuers.
    pub chain: String,
    pub key: SecretString,
}

/// The private key of a client that signs assertions about itself.
#[derive(Clone)]
pub struct ClientKey {
    /// Parsed once; it knows its algorithm.
    pub signing: Arc<SigningKey>,
    /// `kid` in the header of its assertions, where the provider knows the key by one.
    pub id: Option<String>,
}

/// What the client itself names. What is missing, the connector's method names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OAuthEndpoints {
    /// OAuth 1.0a (RFC 5849 section 2.1).
    pub request_token: Option<Address>,
    pub authorization: Option<Address>,
    pub token: Option<Address>,
    pub revocation: Option<Address>,
    pub userinfo: Option<Address>,
    pub introspection: Option<Address>,
    pub device_authorization: Option<Address>,
}

/// A client that can be used: never a draft. It goes only where [`OAuthClient::may_go`] allows.
#[derive(Clone)]
pub struct OAuthClient {
    pub id: OAuthClientId,
    /// For error texts.
    pub name: String,
    pub client_id: String,
    pub auth: ClientAuthMethod,
    /// There when `auth` needs one.
    pub secret: Option<SecretString>,
    /// There with `private_key_jwt`.
    pub private_key: Option<ClientKey>,
    /// There when `auth` is by certificate.
    pub certificate: Option<ClientCertificate>,
    /// RFC 9449: its tokens are bound to this key, and one that is not is not taken.
    pub dpop: Option<Arc<DpopKey>>,
    /// RFC 8707: the APIs that its tokens are for; in place of the connector's.
    pub resource: Vec<String>,
    /// RFC 8414 section 2. Audience of assertions, and compared with `iss` of a callback (RFC 9207).
    pub issuer: Option<String>,
    /// The provider announces that its callbacks carry `iss`: one without is refused.
    pub issuer_in_callback: bool,
    pub endpoints: OAuthEndpoints,
    /// Always asked for; in the order, case and spelling that the superuser gave.
    pub mandatory_scopes: Vec<String>,
    /// A person may choose from these.
    pub optional_scopes: Vec<String>,
    /// Win over the connector's.
    pub authorize_params: Vec<(String, String)>,
    /// Win over the connector's.
    pub token_params: Vec<(String, SecretString)>,
    /// RFC 7636 with S256.
    pub pkce: bool,
    pub redirect_uri: String,
    /// Where it may be used. Empty: wherever its connector may be pinned.
    pub hosts: Vec<HostPattern>,
    /// Of what grants are bound to: another one means that consent has to be given again. Part of a token's key.
    pub digest: String,
}

impl OAuthClient {
    /// Whether secret, codes and tokens may be sent there, as far as the client says.
    pub fn may_go(&self, address: &Address) -> bool {
        self.hosts.is_empty() || self.hosts.iter().any(|pattern| pattern.fits_host(&address.origin))
    }

    /// The client as the token endpoint sees it. `None` when a secret or key that its method needs is missing.
    ///
    /// The audience of an assertion is the issuer alone: one that also named the token URL could be passed on
    /// by another server (draft-ietf-oauth-rfc7523bis section 4). Without a known issuer it is the token URL.
    pub fn prover(&self, token_url: &Address) -> Option<Client> {
        let auth = match self.auth {
            ClientAuthMethod::Basic => ClientAuth::Basic { secret: self.secret.clone()?, raw: false },
            ClientAuthMethod::Post => ClientAuth::Post { secret: self.secret.clone()? },
            ClientAuthMethod::None => ClientAuth::None,
            ClientAuthMethod::TlsClientAuth | ClientAuthMethod::SelfSignedTlsClientAuth => {
                self.certificate.as_ref()?;
                ClientAuth::Tls
            }
            ClientAuthMethod::PrivateKeyJwt => {
                let key = self.private_key.as_ref()?;
                let mut headers = Map::new();
                if let Some(id) = &key.id {
                    headers.insert("kid".into(), id.as_str().into());
                }
                ClientAuth::PrivateKeyJwt(PrivateKeyJwt {
                    key: Arc::clone(&key.signing),
                    audience: self.issuer.clone().unwrap_or_else(|| token_url.to_string()),
                    life_secs: ASSERTION_LIFE_SECS,
                    headers,
                    claims: Map::new(),
                })
            }
        };
        Some(Client::new(self.client_id.clone(), auth))
    }

    /// Whether a scope may be asked for.
    pub fn declares(&self, scope: &str) -> bool {
        self.mandatory_scopes.iter().chain(&self.optional_scopes).any(|known| known == scope)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use latchstring_model::{Entropy, Timestamp};
    use latchstring_schemes::jws::Algorithm;

    use super::*;

    struct Fixed;
    impl Entropy for Fixed {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(7);
        }
    }

    fn client(auth: ClientAuthMethod) -> OAuthClient {
        OAuthClient {
            id: OAuthClientId::new(Timestamp(1), &Fixed),
            name: "CRM".into(),
            client_id: "ours".into(),
            auth,
            secret: Some("s3cret".into()),
            private_key: None,
            certificate: None,
            dpop: None,
            resource: Vec::new(),
            issuer: None,
            issuer_in_callback: false,
            endpoints: OAuthEndpoints::default(),
            mandatory_scopes: vec!["openid".into()],
            optional_scopes: vec!["Files.Read".into()],
            authorize_params: Vec::new(),
            token_params: Vec::new(),
            pkce: true,
            redirect_uri: "https://l.example.com/oauth/callback/x".into(),
            hosts: vec![HostPattern::parse("*.example.com").unwrap()],
            digest: "d".into(),
        }
    }

    #[test]
    fn it_goes_where_its_hosts_say() {
        let mut own = client(ClientAuthMethod::Basic);
        assert!(own.may_go(&Address::parse("https://auth.example.com/token").unwrap()));
        assert!(!own.may_go(&Address::parse("https://auth.example.org/token").unwrap()));
        own.hosts.clear();
        assert!(own.may_go(&Address::parse("https://auth.example.org/token").unwrap()));
        assert!(own.declares("openid") && own.declares("Files.Read") && !own.declares("files.read"));
    }

    #[test]
    fn an_assertion_is_for_the_issuer_alone() {
        let token = Address::parse("https://auth.example.com/token").unwrap();
        let mut own = client(ClientAuthMethod::PrivateKeyJwt);
        assert!(own.prover(&token).is_none(), "without a key there is nothing to prove with");
        let signing = SigningKey::parse(Algorithm::Hs256, &"shared".into(), None).unwrap();
        own.private_key = Some(ClientKey { signing: Arc::new(signing), id: Some("k1".into()) });
        let audience = |own: &OAuthClient| match own.prover(&token).unwrap().auth {
            ClientAuth::PrivateKeyJwt(jwt) => (jwt.audience, jwt.headers["kid"].clone()),
            _ => unreachable!("it signs"),
        };
        assert_eq!(audience(&own), (token.to_string(), "k1".into()));
        own.issuer = Some("https://auth.example.com".into());
        assert_eq!(audience(&own), ("https://auth.example.com".to_owned(), "k1".into()));
    }

    #[test]
    fn what_is_missing_is_not_left_out_silently() {
        let token = Address::parse("https://auth.example.com/token").unwrap();
        let mut own = client(ClientAuthMethod::Post);
        assert!(own.prover(&token).is_some());
        own.secret = None;
        assert!(own.prover(&token).is_none());
        own.auth = ClientAuthMethod::None;
        assert!(own.prover(&token).is_some());
        own.auth = ClientAuthMethod::TlsClientAuth;
        assert!(own.prover(&token).is_none(), "without a certificate nothing is proven");
        for method in ClientAuthMethod::ALL {
            assert_eq!(ClientAuthMethod::parse(method.as_str()), Some(*method));
        }
    }
}
