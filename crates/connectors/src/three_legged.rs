//! OAuth 1.0a with consent (RFC 5849 section 2): an `oauth1` method that says `consent: true`. The application is the
//! OAuth client: its client id and secret are the consumer's, its key signs where the provider wants RSA.

use std::sync::Arc;

use latchstring_schemes::oauth1::{OAuth1, SignatureMethod, ThreeLegged};
use latchstring_schemes::oauth2::Scope;

use crate::client::OAuthClient;
use crate::consented::{Consent, find, goes_to, needed, no_client, wishes};
use crate::error::RenderError;
use crate::render::Keys;
use crate::resolve::Destination;

/// The application, as its requests are signed.
fn application(keys: &Keys<'_>, registered: &OAuthClient) -> Result<OAuth1, RenderError> {
    let key = registered.private_key.as_ref().map(|key| Arc::clone(&key.signing));
    let method = match keys.word("signature_method")?.and_then(|name| SignatureMethod::parse(&name)) {
        Some(method) => method,
        None if key.is_some() => SignatureMethod::RsaSha256,
        None => SignatureMethod::default(),
    };
    match (method, &key, &registered.secret) {
        (SignatureMethod::RsaSha256, None, _) => Err(RenderError::NotUsable {
            detail: format!(
                "RSA-SHA256 signs with a key, and the OAuth client {} has none; a superuser sets its `client_auth` to `private_key_jwt` with an RSA key",
                registered.name
            ),
        }),
        (SignatureMethod::RsaSha256, Some(_), _) | (_, _, Some(_)) => {
            let secret = registered.secret.clone().unwrap_or_default();
            let mut client = OAuth1::new(registered.client_id.clone(), secret);
            client.method = method;
            client.signing_key = key;
            client.realm = keys.word("realm")?;
            Ok(client)
        }
        (_, _, None) => Err(RenderError::NotUsable {
            detail: format!(
                "{} signs with the consumer secret, and the OAuth client {} has none; a superuser sets its `client_auth` to `basic` with the secret",
                method.as_str(),
                registered.name
            ),
        }),
    }
}

pub(crate) fn scheme(
    keys: &Keys<'_>,
    registered: Option<&OAuthClient>,
    destinations: &mut Vec<Destination>,
) -> Result<(ThreeLegged, Consent), RenderError> {
    let Some(registered) = registered else {
        return Err(no_client());
    };
    let named = &registered.endpoints;
    let request =
        needed(keys, "request_token_url", find(keys, "request_token_url", Some(&named.request_token))?)?;
    let page = needed(keys, "authorize_url", find(keys, "authorize_url", Some(&named.authorization))?)?;
    let token = needed(keys, "token_url", find(keys, "token_url", Some(&named.token))?)?;
    let (mut consent, userinfo) = wishes(keys, Some(registered))?;
    // The standard knows no scopes, and so no provider says which were granted.
    consent.compares_scopes = false;
    consent.authorize_fixed = page.of_client || keys.is_literal("authorize_url");
    let mut authorize_params: Vec<(String, String)> = keys
        .map("authorize_params")?
        .into_iter()
        .map(|(name, value)| (name, value.expose().to_owned()))
        .collect();
    for (name, value) in &registered.authorize_params {
        authorize_params.retain(|(known, _)| known != name);
        authorize_params.push((name.clone(), value.clone()));
    }
    let scheme = ThreeLegged {
        client: application(keys, registered)?,
        request_token_url: request.address.clone(),
        authorize_url: page.address,
        token_url: token.address.clone(),
        authorize_params,
        scope: Scope { scopes: consent.mandatory.clone(), separator: keys.word("scope_separator")? },
        callback: registered.redirect_uri.clone(),
        grant_ttl: keys.int("grant_ttl")?,
    };
    for found in [Some(request), Some(token), userinfo].into_iter().flatten() {
        goes_to(keys, found, destinations);
    }
    Ok((scheme, consent))
}
