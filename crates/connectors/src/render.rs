//! From a scheme's keys in a definition to a [`Scheme`] with all its values.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::{HeaderName, HeaderValue};
use latchstring_model::address::Address;
use latchstring_model::{Pin, PinPurpose, SecretString};
use latchstring_schemes::api_key::ApiKey;
use latchstring_schemes::aws_sigv4::AwsSigV4;
use latchstring_schemes::basic::Basic;
use latchstring_schemes::bearer::Bearer;
use latchstring_schemes::custom::{Custom, OwnBody};
use latchstring_schemes::digest::Digest;
use latchstring_schemes::encoding::{KeyEncoding, OutputEncoding};
use latchstring_schemes::hmac::{Field as HmacField, Hmac, HmacAlgorithm, NonceFormat, TimestampFormat};
use latchstring_schemes::jws::{Algorithm, SigningKey};
use latchstring_schemes::jwt::{Jwt, JwtKey};
use latchstring_schemes::mutual_tls::MutualTls;
use latchstring_schemes::oauth1::{OAuth1, SignatureMethod};
use latchstring_schemes::oauth2::{
    ASSERTION_LIFE_SECS, AnswerRules, BodyForm, Client, ClientAuth, ClientCredentials, Grant, JwtBearer,
    Password, PrivateKeyJwt, Scope, TokenEndpoint, TokenExchange, TokenMethod,
};
use latchstring_schemes::scheme::OAuth2;
use latchstring_schemes::{Placement, Scheme};
use serde_json::{Map, Value};

use crate::consented::{self, Consent};
use crate::definition::{Conf, Config};
use crate::error::RenderError;
use crate::resolve::{Destination, RefreshReuse, TokenPolicy, address, find, pin};
use crate::scene::Scene;
use crate::table::{Kind, SchemeType};

pub(crate) struct Rendered {
    pub scheme: Scheme,
    pub policy: TokenPolicy,
    pub consent: Option<Consent>,
}

/// One config with the scene in which its templates are rendered.
pub(crate) struct Keys<'k> {
    scene: &'k Scene<'k>,
    config: &'k Config,
    place: String,
}

impl<'k> Keys<'k> {
    pub fn new(scene: &'k Scene<'k>, config: &'k Config, place: &str) -> Self {
        Self { scene, config, place: place.to_owned() }
    }

    /// What must not be shown of what was rendered so far.
    pub fn mask(&self) -> Vec<SecretString> {
        self.scene.mask.borrow().clone()
    }

    /// Whether no value has a say in it.
    pub fn is_literal(&self, name: &str) -> bool {
        matches!(find(self.config, name), Some(Conf::Text(template)) if template.as_literal().is_some())
    }

    fn at(&self, name: &str) -> String {
        format!("{}.{name}", self.place)
    }

    pub fn wrong<T>(&self, name: &str, detail: impl Into<String>) -> Result<T, RenderError> {
        Err(RenderError::Value { at: self.at(name), detail: detail.into() })
    }

    pub fn text(&self, name: &str) -> Result<Option<SecretString>, RenderError> {
        match find(self.config, name) {
            Some(Conf::Text(template)) => {
                let text = self.scene.text(template, &self.at(name))?;
                if let (Some(text), Some((key, _))) =
                    (&text, self.config.iter().find(|(key, _)| key.name == name))
                    && let Kind::Choice(options) = key.kind
                    && !options.contains(&text.expose())
                {
                    return self.wrong(name, format!("this is one of {}", options.join(", ")));
                }
                Ok(text)
            }
            _ => Ok(None),
        }
    }

    fn need(&self, name: &str) -> Result<SecretString, RenderError> {
        match self.text(name)? {
            Some(text) => Ok(text),
            None => self.wrong(name, "this is needed and was left out"),
        }
    }

    /// Of what may be shown.
    pub fn word(&self, name: &str) -> Result<Option<String>, RenderError> {
        Ok(self.text(name)?.map(|text| text.expose().to_owned()))
    }

    fn needed_word(&self, name: &str) -> Result<String, RenderError> {
        Ok(self.need(name)?.expose().to_owned())
    }

    pub fn int(&self, name: &str) -> Result<Option<i64>, RenderError> {
        match self.text(name)? {
            None => Ok(None),
            Some(text) => match text.expose().trim().parse::<i64>() {
                Ok(number) if number >= 0 => Ok(Some(number)),
                _ => self.wrong(name, "this is a whole number, not below zero"),
            },
        }
    }

    pub fn url(&self, name: &str) -> Result<Option<Address>, RenderError> {
        match self.text(name)? {
            None => Ok(None),
            Some(text) => address(text.expose(), &self.at(name)).map(Some),
        }
    }

    pub fn map(&self, name: &str) -> Result<Vec<(String, SecretString)>, RenderError> {
        match find(self.config, name) {
            Some(Conf::Map(entries)) => self.scene.entries(entries, &self.at(name)),
            _ => Ok(Vec::new()),
        }
    }

    pub fn list(&self, name: &str) -> Result<Vec<String>, RenderError> {
        let Some(Conf::List(templates)) = find(self.config, name) else { return Ok(Vec::new()) };
        let place = self.at(name);
        let mut out = Vec::new();
        // One template may yield all of them: a list, or a text with blanks.
        let split = templates.len() == 1 && name != "sign" && name != "audience";
        for template in templates {
            match self.scene.json_of(template, &place)? {
                Value::Null => {}
                Value::String(text) if split => out.extend(text.split_whitespace().map(str::to_owned)),
                Value::String(text) => out.push(text),
                Value::Array(items) => {
                    for item in items {
                        match item {
                            Value::String(text) => out.push(text),
                            Value::Number(number) => out.push(number.to_string()),
                            _ => return self.wrong(name, "a list of texts is needed"),
                        }
                    }
                }
                Value::Number(number) => out.push(number.to_string()),
                _ => return self.wrong(name, "a list of texts is needed"),
            }
        }
        Ok(out)
    }

    fn json_map(&self, name: &str) -> Result<Map<String, Value>, RenderError> {
        let Some(Conf::Json(json)) = find(self.config, name) else { return Ok(Map::new()) };
        match self.scene.json(json, &self.at(name))? {
            Value::Object(map) => Ok(map),
            Value::Null => Ok(Map::new()),
            _ => self.wrong(name, "a map is needed"),
        }
    }

    pub fn nested(&self, name: &str) -> Option<Keys<'k>> {
        match find(self.config, name) {
            Some(Conf::Nested(config)) => Some(Keys { scene: self.scene, config, place: self.at(name) }),
            _ => None,
        }
    }

    fn algorithm(&self) -> Result<Algorithm, RenderError> {
        match self.word("algorithm")? {
            None => Ok(Algorithm::default()),
            Some(name) => match Algorithm::parse(&name) {
                Some(algorithm) => Ok(algorithm),
                None => self.wrong("algorithm", "no algorithm has that name"),
            },
        }
    }

    fn signing_key(&self) -> Result<Arc<SigningKey>, RenderError> {
        let key = self.need("private_key")?;
        let passphrase = self.text("passphrase")?;
        let known = self.scene.ctx.keys;
        match known.signing(self.algorithm()?, &key, passphrase.as_ref(), KeyEncoding::Raw) {
            Ok(key) => Ok(key),
            Err(error) => self.wrong("private_key", error.to_string()),
        }
    }

    fn encoding(&self) -> Result<KeyEncoding, RenderError> {
        Ok(self.word("secret_encoding")?.and_then(|name| KeyEncoding::parse(&name)).unwrap_or_default())
    }

    /// `in`, a name and `prefix`.
    fn placement(&self, name_key: &str, default: Option<&str>) -> Result<Placement, RenderError> {
        let place = self.word("in")?;
        let name = self.word(name_key)?;
        let prefix = self.word("prefix")?;
        Ok(match place.as_deref() {
            Some("query") => Placement::Query { name: name.unwrap_or_else(|| "access_token".into()) },
            Some("cookie") => Placement::Cookie { name: name.unwrap_or_else(|| "access_token".into()) },
            _ => {
                let name = match name.or_else(|| default.map(str::to_owned)) {
                    Some(name) => name,
                    None => return self.wrong(name_key, "this is needed and was left out"),
                };
                let bearer = default.is_some() && name.eq_ignore_ascii_case("authorization");
                let prefix = prefix.unwrap_or_else(|| if bearer { "Bearer".into() } else { String::new() });
                Placement::Header { name, prefix }
            }
        })
    }
}

pub(crate) fn scheme(
    scene: &Scene<'_>,
    complete: &mut bool,
    destinations: &mut Vec<Destination>,
) -> Result<Rendered, RenderError> {
    let def = &scene.method.scheme;
    let keys = Keys::new(scene, &def.config, "scheme");
    let mut policy = TokenPolicy::default();
    let mut consented = None;
    let scheme = match def.ty {
        SchemeType::None => Scheme::None,
        SchemeType::ApiKey => {
            Scheme::ApiKey(ApiKey { value: keys.need("value")?, place: keys.placement("key", None)? })
        }
        SchemeType::Basic => Scheme::Basic(Basic {
            username: keys.text("username")?.unwrap_or_default(),
            password: keys.text("password")?.unwrap_or_default(),
        }),
        SchemeType::Bearer => match keys.word("prefix")? {
            None => Scheme::Bearer(Bearer { token: keys.need("token")? }),
            Some(prefix) => Scheme::ApiKey(ApiKey {
                value: keys.need("token")?,
                place: Placement::Header { name: "authorization".into(), prefix },
            }),
        },
        SchemeType::Jwt => jwt(&keys)?,
        SchemeType::Oauth1 if def.needs_consent() => {
            let (scheme, consent) = crate::three_legged::scheme(&keys, scene.ctx.client, destinations)?;
            consented = Some(consent);
            Scheme::ThreeLegged(Box::new(scheme))
        }
        SchemeType::Oauth1 => Scheme::OAuth1(Box::new(OAuth1 {
            consumer_key: keys.needed_word("consumer_key")?,
            consumer_secret: keys.text("consumer_secret")?.unwrap_or_default(),
            token: keys.text("token")?,
            token_secret: keys.text("token_secret")?.unwrap_or_default(),
            method: keys
                .word("signature_method")?
                .and_then(|name| SignatureMethod::parse(&name))
                .unwrap_or_default(),
            private_key: keys.text("private_key")?,
            passphrase: keys.text("passphrase")?,
            signing_key: None,
            realm: keys.word("realm")?,
        })),
        SchemeType::Digest => {
            Scheme::Digest(Digest { username: keys.need("username")?, password: keys.need("password")? })
        }
        SchemeType::Hmac => hmac(&keys)?,
        SchemeType::AwsSigv4 => Scheme::AwsSigV4(AwsSigV4 {
            access_key_id: keys.needed_word("access_key_id")?,
            secret_access_key: keys.need("secret_access_key")?,
            session_token: keys.text("session_token")?,
            region: keys.needed_word("region")?,
            service: keys.needed_word("service")?,
        }),
        SchemeType::MutualTls => {
            let headers = keys.map("headers")?;
            let inner = if headers.is_empty() {
                Scheme::None
            } else {
                Scheme::Custom(Custom { headers, ..Custom::default() })
            };
            Scheme::MutualTls(
                MutualTls {
                    certificate: keys.needed_word("certificate")?,
                    private_key: keys.need("private_key")?,
                    passphrase: keys.text("passphrase")?,
                },
                Some(Box::new(inner)),
            )
        }
        SchemeType::Custom => {
            let body = match find(&def.config, "body") {
                Some(Conf::Body(spec)) => {
                    let body = crate::resolve::body(scene, spec, "scheme.body")?;
                    Some(OwnBody { methods: Vec::new(), content_type: body.content_type, bytes: body.bytes })
                }
                _ => None,
            };
            Scheme::Custom(Custom {
                headers: keys.map("headers")?,
                query: keys.map("query")?,
                cookies: keys.map("cookies")?,
                body,
            })
        }
        SchemeType::Steps => {
            crate::steps::destinations(scene, destinations)?;
            policy.expiry_margin_ms = keys.int("expiry_margin")?.map(|secs| secs.saturating_mul(1000));
            if scene.ctx.token.is_none() {
                *complete = false;
                Scheme::None
            } else {
                match keys.nested("apply") {
                    None => Scheme::None,
                    Some(apply) => Scheme::Custom(Custom {
                        headers: apply.map("headers")?,
                        query: apply.map("query")?,
                        cookies: apply.map("cookies")?,
                        body: None,
                    }),
                }
            }
        }
        SchemeType::Oauth2ClientCredentials => {
            let endpoint = endpoint(&keys)?;
            let client = match client(&keys, &endpoint, true)? {
                Some(client) => client,
                None => return keys.wrong("client_id", "this is needed and was left out"),
            };
            let grant = ClientCredentials { endpoint, client, scope: scope(&keys)? };
            oauth(&keys, Grant::ClientCredentials(Box::new(grant)), &mut policy, destinations)?
        }
        SchemeType::Oauth2JwtBearer => {
            let endpoint = endpoint(&keys)?;
            let grant = JwtBearer {
                client: client(&keys, &endpoint, false)?,
                key: keys.signing_key()?,
                issuer: keys.needed_word("issuer")?,
                subject: keys.word("subject")?,
                audience: keys.list("audience")?,
                claims: keys.json_map("additional_claims")?,
                headers: keys.json_map("jwt_headers")?,
                assertion_life_secs: keys.int("assertion_ttl")?.unwrap_or(ASSERTION_LIFE_SECS),
                scope: scope(&keys)?,
                endpoint,
            };
            if grant.audience.is_empty() {
                return keys.wrong("audience", "this is needed and was left out");
            }
            oauth(&keys, Grant::JwtBearer(Box::new(grant)), &mut policy, destinations)?
        }
        SchemeType::Oauth2Password => {
            let endpoint = endpoint(&keys)?;
            let grant = Password {
                client: client(&keys, &endpoint, true)?,
                username: keys.needed_word("username")?,
                password: keys.need("password")?,
                scope: scope(&keys)?,
                endpoint,
            };
            oauth(&keys, Grant::Password(Box::new(grant)), &mut policy, destinations)?
        }
        SchemeType::Oauth2TokenExchange => {
            let endpoint = endpoint(&keys)?;
            const ACCESS: &str = "urn:ietf:params:oauth:token-type:access_token";
            let actor = match keys.text("actor_token")? {
                None => None,
                Some(token) => Some((token, keys.word("actor_token_type")?.unwrap_or_else(|| ACCESS.into()))),
            };
            let grant = TokenExchange {
                client: client(&keys, &endpoint, true)?,
                subject_token: keys.need("subject_token")?,
                subject_token_type: keys.word("subject_token_type")?.unwrap_or_else(|| ACCESS.into()),
                actor,
                requested_token_type: keys.word("requested_token_type")?,
                audience: keys.list("audience")?,
                scope: scope(&keys)?,
                endpoint,
            };
            oauth(&keys, Grant::TokenExchange(Box::new(grant)), &mut policy, destinations)?
        }
        SchemeType::Oauth2AuthorizationCode | SchemeType::Oauth2DeviceCode => {
            let (grant, consent) = consented::grant(&keys, def.ty, scene.ctx.client, destinations)?;
            consented = Some(consent);
            oauth(&keys, grant, &mut policy, destinations)?
        }
        SchemeType::Database => {
            return Err(RenderError::NotUsable {
                detail: format!(
                    "this version of Latchstring cannot use credentials of type `{}` yet; choose another method of this \
                     connector, if it has one",
                    def.ty.as_str()
                ),
            });
        }
    };
    Ok(Rendered { scheme, policy, consent: consented })
}

/// `tls: {client_certificate, client_key}` beside any scheme, or the certificate by which the OAuth client proves
/// itself: one connection shows one.
pub(crate) fn with_client_certificate(
    scheme: Scheme,
    tls: &Keys<'_>,
    scene: &Scene<'_>,
) -> Result<Scheme, RenderError> {
    let registered = scene.ctx.client.filter(|_| scene.method.needs_consent());
    let of_client = registered.and_then(|client| client.certificate.as_ref());
    let (certificate, key) = (tls.word("client_certificate")?, tls.text("client_key")?);
    match (certificate, key, of_client) {
        (Some(_), _, Some(_)) => tls.wrong(
            "client_certificate",
            "the OAuth client shows a certificate of its own, and a connection shows one; leave this one out, or choose a client that proves itself in another way",
        ),
        (None, _, Some(own)) => Ok(Scheme::MutualTls(
            MutualTls { certificate: own.chain.clone(), private_key: own.key.clone(), passphrase: None },
            Some(Box::new(scheme)),
        )),
        (None, None, None) if proves_by_certificate(&scheme) => {
            tls.wrong("client_certificate", "the client proves itself by its certificate, and there is none")
        }
        (None, None, None) => Ok(scheme),
        (Some(certificate), Some(private_key), None) => Ok(Scheme::MutualTls(
            MutualTls { certificate, private_key, passphrase: tls.text("passphrase")? },
            Some(Box::new(scheme)),
        )),
        (None, Some(_), None) => {
            tls.wrong("client_certificate", "the client key is given, its certificate is missing")
        }
        (Some(_), None, None) => tls.wrong("client_key", "the client certificate is given, its key is missing"),
    }
}

fn proves_by_certificate(scheme: &Scheme) -> bool {
    let Scheme::OAuth2(oauth) = scheme else { return false };
    oauth.grant.client().is_some_and(|client| matches!(client.auth, ClientAuth::Tls))
}

fn jwt(keys: &Keys<'_>) -> Result<Scheme, RenderError> {
    let mut jwt = Jwt::new(JwtKey {
        key: keys.need("private_key")?,
        passphrase: keys.text("passphrase")?,
        encoding: keys.encoding()?,
    });
    jwt.algorithm = keys.algorithm()?;
    jwt.claims = keys.json_map("claims")?;
    jwt.headers = keys.json_map("jwt_headers")?;
    jwt.place = keys.placement("name", Some("Authorization"))?;
    if let Some(secs) = keys.int("lifetime")? {
        jwt.lifetime_secs = secs;
    }
    jwt.backdate_secs = keys.int("backdate")?.unwrap_or(0);
    Ok(Scheme::Jwt(jwt))
}

fn hmac(keys: &Keys<'_>) -> Result<Scheme, RenderError> {
    let word = |name: &str| keys.word(name).map(Option::unwrap_or_default);
    let Some(place) = keys.nested("place") else {
        return keys.wrong("place", "this is needed and was left out");
    };
    let value = place.word("value")?.unwrap_or_else(|| "{signature}".into());
    let place = match (place.word("header")?, place.word("query")?) {
        (Some(name), None) => HmacField::Header { name, value },
        (None, Some(name)) => HmacField::Query { name, value },
        _ => return keys.wrong("place", "exactly one of `header` and `query` is needed"),
    };
    let mut additions = Vec::new();
    for (name, value) in keys.map("headers")? {
        additions.push(HmacField::Header { name, value: value.expose().to_owned() });
    }
    for (name, value) in keys.map("query")? {
        additions.push(HmacField::Query { name, value: value.expose().to_owned() });
    }
    Ok(Scheme::Hmac(Hmac {
        algorithm: HmacAlgorithm::parse(&word("algorithm")?).unwrap_or_default(),
        secret: keys.need("secret")?,
        secret_encoding: keys.encoding()?,
        key_id: word("key_id")?,
        sign: keys.list("sign")?,
        separator: word("separator")?,
        output: OutputEncoding::parse(&word("output")?).unwrap_or_default(),
        place,
        additions,
        timestamp: TimestampFormat::parse(&word("timestamp")?).unwrap_or_default(),
        nonce: NonceFormat::parse(&word("nonce")?).unwrap_or_default(),
    }))
}

fn scope(keys: &Keys<'_>) -> Result<Scope, RenderError> {
    Ok(Scope { scopes: keys.list("scope")?, separator: keys.word("scope_separator")? })
}

fn endpoint(keys: &Keys<'_>) -> Result<TokenEndpoint, RenderError> {
    match keys.url("token_url")? {
        Some(url) => endpoint_at(keys, url),
        None => keys.wrong("token_url", "this is needed and was left out"),
    }
}

pub(crate) fn endpoint_at(keys: &Keys<'_>, url: Address) -> Result<TokenEndpoint, RenderError> {
    let mut endpoint = TokenEndpoint::new(url);
    endpoint.method = match keys.word("token_method")?.as_deref() {
        Some("get") => TokenMethod::Get,
        Some("put") => TokenMethod::Put,
        _ => TokenMethod::Post,
    };
    endpoint.body = match keys.word("body")?.as_deref() {
        Some("json") => BodyForm::Json,
        Some("query") => BodyForm::Query,
        _ => BodyForm::Form,
    };
    for (name, value) in keys.map("token_headers")? {
        let at = format!("token_headers.{name}");
        let Ok(header) = HeaderName::try_from(&name) else {
            return keys.wrong(&at, "that is no name of a header");
        };
        if HeaderValue::try_from(value.expose()).is_err() {
            return keys.wrong(&at, "that is no value of a header");
        }
        endpoint.headers.push((header, value));
    }
    endpoint.params = keys.map("token_params")?;
    endpoint.renames = keys
        .map("param_names")?
        .into_iter()
        .map(|(name, value)| (name, value.expose().to_owned()))
        .collect::<BTreeMap<_, _>>();
    endpoint.resource = keys.list("resource")?;
    if let Some(key) = keys.text("dpop_key")? {
        endpoint.dpop = match keys.scene.ctx.keys.dpop(&key, keys.text("dpop_passphrase")?.as_ref()) {
            Ok(key) => Some(key),
            Err(error) => return keys.wrong("dpop_key", error.to_string()),
        };
    }
    if let Some(Conf::Answer(rules)) = find(keys.config, "token_answer") {
        endpoint.rules = AnswerRules::clone(rules);
    }
    if let Some(ttl) = keys.int("token_ttl")? {
        endpoint.rules.ttl = Some(ttl);
    }
    Ok(endpoint)
}

/// `None` when there is no client to prove beside the grant.
pub(crate) fn client(
    keys: &Keys<'_>,
    endpoint: &TokenEndpoint,
    default: bool,
) -> Result<Option<Client>, RenderError> {
    let id = keys.word("client_id")?;
    let secret = keys.text("client_secret")?;
    let auth = keys.word("client_auth")?;
    // An assertion grant signs with `private_key` itself: that is not the client's proof.
    let own_key =
        default && find(keys.config, "private_key").is_some() && keys.text("private_key")?.is_some();
    let auth = match auth.as_deref() {
        Some(auth) => auth,
        None if secret.is_some() => "basic",
        None if own_key => "private_key_jwt",
        None if default || id.is_some() => "none",
        None => return Ok(None),
    };
    let missing = |name: &str| {
        keys.wrong(name, format!("client authentication `{auth}` needs this, and it was left out"))
    };
    let auth = match (auth, secret) {
        ("basic", Some(secret)) => ClientAuth::Basic { secret, raw: false },
        ("basic_raw", Some(secret)) => ClientAuth::Basic { secret, raw: true },
        ("post", Some(secret)) => ClientAuth::Post { secret },
        ("basic" | "basic_raw" | "post", None) => return missing("client_secret"),
        ("none", _) => ClientAuth::None,
        ("tls" | "tls_client_auth" | "self_signed_tls_client_auth", _) => ClientAuth::Tls,
        ("private_key_jwt", _) => ClientAuth::PrivateKeyJwt(PrivateKeyJwt {
            key: keys.signing_key()?,
            audience: keys.word("assertion_audience")?.unwrap_or_else(|| endpoint.url.to_string()),
            life_secs: keys.int("assertion_ttl")?.unwrap_or(ASSERTION_LIFE_SECS),
            headers: keys.json_map("assertion_headers")?,
            claims: keys.json_map("assertion_claims")?,
        }),
        _ => return Ok(Some(Client::new(id.unwrap_or_default(), ClientAuth::Silent))),
    };
    match id {
        Some(id) => Ok(Some(Client::new(id, auth))),
        None if default && matches!(auth, ClientAuth::None) => Ok(None),
        None => keys.wrong("client_id", "this is needed and was left out"),
    }
}

fn oauth(
    keys: &Keys<'_>,
    grant: Grant,
    policy: &mut TokenPolicy,
    destinations: &mut Vec<Destination>,
) -> Result<Scheme, RenderError> {
    policy.expiry_margin_ms = keys.int("expiry_margin")?.map(|secs| secs.saturating_mul(1000));
    policy.keep_alive_secs = keys.int("keep_alive")?;
    policy.reuse = match keys.word("refresh_reuse")?.as_deref() {
        Some("grace") => RefreshReuse::Grace,
        Some("nonrotating") => RefreshReuse::Nonrotating,
        _ => RefreshReuse::SingleUse,
    };
    policy.revocation_url = keys.url("revocation_url")?;
    policy.introspection_url = keys.url("introspection_url")?;
    let mask = keys.mask();
    let mut goes_to = |name: &str, url: &Address, of_client: bool| {
        let pin = match of_client {
            true => Pin::new(PinPurpose::Token, url.origin.clone(), "/"),
            false => pin(PinPurpose::Token, url, &mask),
        };
        if !destinations.iter().any(|known| known.from == name) {
            destinations.push(Destination { from: name.to_owned(), pin, of_client });
        }
    };
    // What the client says stands before what the definition says, and with a token endpoint of its own it is asked
    // there for renewals too.
    let client = keys.scene.ctx.client.filter(|_| keys.scene.method.needs_consent());
    for (name, place) in
        [("revocation_url", &mut policy.revocation_url), ("introspection_url", &mut policy.introspection_url)]
    {
        let own = client.and_then(|client| match name {
            "revocation_url" => client.endpoints.revocation.clone(),
            _ => client.endpoints.introspection.clone(),
        });
        if let Some(url) = own {
            goes_to(name, &url, true);
            *place = Some(url);
        }
    }
    let moved = client.is_some_and(|client| client.endpoints.token.is_some());
    for name in ["token_url", "refresh_url", "revocation_url", "introspection_url"] {
        if moved && name == "refresh_url" {
            continue;
        }
        if let Some(url) = keys.url(name)? {
            goes_to(name, &url, false);
        }
    }
    let mut oauth = OAuth2::new(grant);
    if let Some(place) = keys.nested("send_as") {
        oauth.place = Some(place.placement("name", Some("Authorization"))?);
    }
    oauth.token_name = keys.word("token_name")?;
    Ok(Scheme::OAuth2(oauth))
}
