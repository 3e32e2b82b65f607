//! Methods that a person has to consent to: authorization code (RFC 6749 section 4.1) and device code (RFC 8628);
//! what they share with OAuth 1.0a's ([`crate::three_legged`]).
//!
//! Who we are there, and whatever of the endpoints and scopes the definition leaves open, comes from the
//! [`OAuthClient`] that the credential names. What both say, the client decides: the superuser who registered it has
//! written it down, within the connector's hosts. What the definition names has to be among its hosts, as everywhere.

use std::sync::Arc;

use latchstring_model::address::Address;
use latchstring_model::{Pin, PinPurpose, SecretString};
use latchstring_schemes::oauth2::{
    AuthorizationCode, Client, ClientAuth, DeviceCode, Grant, Paths, Refresh, Scope, TokenEndpoint,
};

use crate::answer::Path;
use crate::client::OAuthClient;
use crate::error::RenderError;

use crate::render::{Keys, client as own_client, endpoint_at};
use crate::resolve::{Destination, pin};
use crate::table::SchemeType;

/// What asking a person takes, beside the grant itself.
#[derive(Clone, Default)]
pub struct Consent {
    /// Scopes that are asked for every time, in the order to ask.
    pub mandatory: Vec<String>,
    /// Scopes that a person may choose.
    pub optional: Vec<String>,
    /// Whether the granted scopes are written as the asked ones are, so that a missing one can be seen.
    pub compares_scopes: bool,
    /// A grant without a refresh token is not what this API's consent should bring.
    pub refresh_required: bool,
    /// How one gets it.
    pub refresh_hint: Option<String>,
    pub userinfo_url: Option<Address>,
    /// Where its answer names the account. Empty: the usual places.
    pub userinfo_account: Option<Path>,
    /// What `iss` in a callback must be (RFC 9207).
    pub issuer: Option<String>,
    pub issuer_required: bool,
    /// Name in `token.<name>` → parameter of the callback.
    pub callback_metadata: Vec<(String, String)>,
    /// The page where people consent is written out in the definition, or the client's: no value moves it.
    pub authorize_fixed: bool,
    /// The client wants tokens that are bound to its key (RFC 9449): one that is not is not taken.
    pub bound_tokens: bool,
}

impl Consent {
    /// Scopes that no API checks: they ask for an answer's form, not for a right, and few servers repeat them.
    const PROTOCOL: [&'static str; 7] =
        ["openid", "offline_access", "profile", "email", "address", "phone", "refresh_token"];

    /// What was asked for and not granted. A provider that says nothing granted all (RFC 6749 section 5.1).
    pub fn missing<'a>(&self, asked: &'a [String], granted: Option<&[String]>) -> Vec<&'a str> {
        let Some(granted) = granted.filter(|_| self.compares_scopes) else { return Vec::new() };
        asked
            .iter()
            .map(String::as_str)
            .filter(|scope| !Self::PROTOCOL.contains(scope) && !granted.iter().any(|known| known == scope))
            .collect()
    }
}

/// An endpoint, and whether the client names it.
pub(crate) struct Found {
    pub address: Address,
    from: &'static str,
    pub of_client: bool,
}

pub(crate) fn find(
    keys: &Keys<'_>,
    name: &'static str,
    client: Option<&Option<Address>>,
) -> Result<Option<Found>, RenderError> {
    if let Some(address) = client.and_then(|given| given.clone()) {
        return Ok(Some(Found { address, from: name, of_client: true }));
    }
    Ok(keys.url(name)?.map(|address| Found { address, from: name, of_client: false }))
}

pub(crate) fn needed(
    keys: &Keys<'_>,
    name: &'static str,
    found: Option<Found>,
) -> Result<Found, RenderError> {
    match found {
        Some(found) => Ok(found),
        None => keys.wrong(
            name,
            "neither the connector nor the OAuth client says where this is; a superuser adds it to the client",
        ),
    }
}

fn union(first: Vec<String>, second: &[String]) -> Vec<String> {
    let mut all = first;
    for scope in second {
        if !all.contains(scope) {
            all.push(scope.clone());
        }
    }
    all
}

/// The client chose how it proves itself; a provider that takes nothing but its own way wins.
fn as_the_provider_wants(
    keys: &Keys<'_>,
    registered: &OAuthClient,
    mut client: Client,
) -> Result<Client, RenderError> {
    match (keys.word("client_auth")?.as_deref(), &registered.secret) {
        (Some("basic_raw"), Some(secret)) => {
            client.auth = ClientAuth::Basic { secret: secret.clone(), raw: true };
        }
        (Some("tls" | "tls_client_auth" | "self_signed_tls_client_auth"), _) => client.auth = ClientAuth::Tls,
        (Some("custom"), _) => client.auth = ClientAuth::Silent,
        _ => {}
    }
    if let (ClientAuth::PrivateKeyJwt(own), Some(audience)) =
        (&mut client.auth, keys.word("assertion_audience")?)
    {
        own.audience = audience;
    }
    Ok(client)
}

/// Which scopes people are asked for, and where it is found out who they are.
pub(crate) fn wishes(
    keys: &Keys<'_>,
    registered: Option<&OAuthClient>,
) -> Result<(Consent, Option<Found>), RenderError> {
    let mut consent = Consent { compares_scopes: true, ..Consent::default() };
    let declared =
        registered.filter(|client| !client.mandatory_scopes.is_empty() || !client.optional_scopes.is_empty());
    let scopes = keys.nested("scopes");
    let default = match (&declared, &scopes) {
        (Some(client), _) => client.mandatory_scopes.clone(),
        (None, Some(scopes)) => scopes.list("default")?,
        (None, None) => Vec::new(),
    };
    consent.mandatory = union(keys.list("scope")?, &default);
    consent.optional = declared.map(|client| client.optional_scopes.clone()).unwrap_or_default();
    consent.optional.retain(|scope| !consent.mandatory.contains(scope));
    if let Some(scopes) = &scopes {
        consent.compares_scopes = scopes.word("granted")?.as_deref() != Some("ignore");
    }
    consent.userinfo_account = match keys.word("userinfo_account")? {
        None => None,
        Some(text) => match Path::parse(&text) {
            Ok(path) => Some(path),
            Err(error) => return keys.wrong("userinfo_account", error.to_string()),
        },
    };
    let userinfo = find(keys, "userinfo_url", registered.map(|client| &client.endpoints.userinfo))?;
    consent.userinfo_url = userinfo.as_ref().map(|found| found.address.clone());
    Ok((consent, userinfo))
}

/// What both kinds share.
struct Common {
    endpoint: TokenEndpoint,
    client: Client,
    scope: Scope,
    refresh: Refresh,
    consent: Consent,
}

fn common(
    keys: &Keys<'_>,
    registered: Option<&OAuthClient>,
    destinations: &mut Vec<Destination>,
) -> Result<Common, RenderError> {
    let token = find(keys, "token_url", registered.map(|client| &client.endpoints.token))?;
    let token = needed(keys, "token_url", token)?;
    let mut endpoint = endpoint_at(keys, token.address.clone())?;
    if let Some(registered) = registered {
        for (name, value) in &registered.token_params {
            endpoint.params.retain(|(known, _)| known != name);
            endpoint.params.push((name.clone(), value.clone()));
        }
        if !registered.resource.is_empty() {
            endpoint.resource.clone_from(&registered.resource);
        }
        if let Some(key) = &registered.dpop {
            endpoint.dpop = Some(Arc::clone(key));
        }
    }
    if let Some(ttl) = keys.int("grant_ttl")? {
        endpoint.rules.grant_ttl = Some(ttl);
    }
    if endpoint.rules.grant_expiry.iter().next().is_none() {
        // Unambiguous where they stand at all; `0` (no end) says nothing.
        endpoint.rules.grant_expiry = Paths::of(&["refresh_token_expires_in", "refresh_expires_in"]);
    }
    let client = match registered {
        Some(registered) => match registered.prover(&endpoint.url) {
            Some(client) => as_the_provider_wants(keys, registered, client)?,
            None => {
                return Err(RenderError::NotUsable {
                    detail: format!(
                        "the OAuth client {} has no secret, key or certificate to prove itself with; a superuser adds it",
                        registered.name
                    ),
                });
            }
        },
        None => match own_client(keys, &endpoint, true)? {
            Some(client) => client,
            None => return keys.wrong("client_id", "this is needed and was left out"),
        },
    };
    let (mut consent, userinfo) = wishes(keys, registered)?;
    consent.refresh_required = keys.word("refresh_token")?.as_deref() == Some("required");
    consent.refresh_hint = keys.word("refresh_token_hint")?;
    consent.bound_tokens = registered.is_some_and(|client| client.dpop.is_some());
    let scope = Scope { scopes: consent.mandatory.clone(), separator: keys.word("scope_separator")? };
    let refresh = Refresh {
        // Beside a token endpoint of its own the client means that one.
        url: if token.of_client { None } else { keys.url("refresh_url")? },
        params: keys.map("refresh_params")?,
        send_scope: false,
        rules: None,
    };
    for found in [Some(token), userinfo].into_iter().flatten() {
        goes_to(keys, found, destinations);
    }
    Ok(Common { endpoint, client, scope, refresh, consent })
}

pub(crate) fn goes_to(keys: &Keys<'_>, found: Found, destinations: &mut Vec<Destination>) {
    let mask: Vec<SecretString> = keys.mask();
    // What grants through a client are bound to is where its endpoints are, not their paths.
    let pin = match found.of_client {
        true => Pin::new(PinPurpose::Token, found.address.origin.clone(), "/"),
        false => pin(PinPurpose::Token, &found.address, &mask),
    };
    destinations.push(Destination { from: found.from.to_owned(), pin, of_client: found.of_client });
}

pub(crate) fn grant(
    keys: &Keys<'_>,
    ty: SchemeType,
    registered: Option<&OAuthClient>,
    destinations: &mut Vec<Destination>,
) -> Result<(Grant, Consent), RenderError> {
    if ty == SchemeType::Oauth2AuthorizationCode {
        return authorization_code(keys, registered, destinations);
    }
    let Common { endpoint, client, scope, refresh, consent } = common(keys, registered, destinations)?;
    let at = find(
        keys,
        "device_authorization_url",
        registered.map(|client| &client.endpoints.device_authorization),
    )?;
    let at = needed(keys, "device_authorization_url", at)?;
    let mut device_endpoint = TokenEndpoint::new(at.address.clone());
    device_endpoint.params = keys.map("device_params")?;
    device_endpoint.headers = endpoint.headers.clone();
    device_endpoint.renames = endpoint.renames.clone();
    device_endpoint.resource = endpoint.resource.clone();
    goes_to(keys, at, destinations);
    let grant = DeviceCode { device_endpoint, endpoint, client, scope, refresh };
    Ok((Grant::DeviceCode(Box::new(grant)), consent))
}

pub(crate) fn no_client() -> RenderError {
    RenderError::NotUsable {
        detail:
            "this method needs an OAuth client: our registration with the provider, which a superuser makes"
                .into(),
    }
}

fn authorization_code(
    keys: &Keys<'_>,
    registered: Option<&OAuthClient>,
    destinations: &mut Vec<Destination>,
) -> Result<(Grant, Consent), RenderError> {
    let Some(registered) = registered else {
        return Err(no_client());
    };
    let authorize = find(keys, "authorize_url", Some(&registered.endpoints.authorization))?;
    let authorize = needed(keys, "authorize_url", authorize)?;
    let Common { endpoint, client, scope, refresh, mut consent } =
        common(keys, Some(registered), destinations)?;
    let mut authorize_params: Vec<(String, String)> = keys
        .map("authorize_params")?
        .into_iter()
        .map(|(name, value)| (name, value.expose().to_owned()))
        .collect();
    for (name, value) in &registered.authorize_params {
        authorize_params.retain(|(known, _)| known != name);
        authorize_params.push((name.clone(), value.clone()));
    }
    consent.issuer = match keys.word("issuer")? {
        Some(issuer) => Some(issuer),
        None => registered.issuer.clone(),
    };
    consent.issuer_required = registered.issuer_in_callback;
    consent.callback_metadata = keys
        .map("callback_metadata")?
        .into_iter()
        .map(|(name, value)| (name, value.expose().to_owned()))
        .collect();
    consent.authorize_fixed = authorize.of_client || keys.is_literal("authorize_url");
    let pkce = registered.pkce && keys.word("pkce")?.as_deref() != Some("false");
    let grant = AuthorizationCode {
        authorize_url: authorize.address,
        endpoint,
        client,
        redirect_uri: registered.redirect_uri.clone(),
        scope,
        pkce,
        authorize_params,
        refresh,
    };
    Ok((Grant::AuthorizationCode(Box::new(grant)), consent))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn a_scope_that_was_unticked_is_missed() {
        let consent = Consent { compares_scopes: true, ..Consent::default() };
        let asked = all(&["openid", "read", "write", "offline_access"]);
        assert_eq!(consent.missing(&asked, Some(&all(&["read"]))), ["write"]);
        assert!(consent.missing(&asked, None).is_empty(), "nothing said is all granted");
        let other_words = Consent { compares_scopes: false, ..Consent::default() };
        assert!(other_words.missing(&asked, Some(&all(&["R"]))).is_empty());
    }
}
