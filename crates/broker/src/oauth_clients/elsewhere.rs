//! Secrets of a client are written, never read. Whoever could change where they go and keep them would read them
//! there, so a change that leads them elsewhere comes with them.

use std::collections::BTreeSet;

use latchstring_connectors::HostPattern;
use latchstring_model::address::{Address, Origin};
use latchstring_model::{FieldError, SecretString};
use latchstring_store::oauth_clients::OAuthClientRow;

use super::Secrets;
use super::input::ClientInput;
use crate::credentials::input::escape;

fn origins(row: &OAuthClientRow) -> BTreeSet<Origin> {
    row.endpoints
        .values()
        .filter_map(|endpoint| Address::parse(&endpoint.url).ok())
        .map(|address| address.origin)
        .collect()
}

fn patterns(row: &OAuthClientRow) -> Vec<HostPattern> {
    row.hosts.iter().filter_map(|host| HostPattern::parse(host).ok()).collect()
}

/// What of a change may lead the secrets to another place.
fn leads_elsewhere(before: &OAuthClientRow, row: &OAuthClientRow) -> Option<&'static str> {
    if before.connector != row.connector || before.connector_digest != row.connector_digest {
        return Some("another connector");
    }
    if row.issuer.is_some() && before.issuer != row.issuer {
        return Some("another issuer");
    }
    if !origins(row).is_subset(&origins(before)) {
        return Some("an endpoint at another server");
    }
    let known = patterns(before);
    if !patterns(row).iter().all(|host| known.iter().any(|known| known.covers(host))) {
        return Some("further hosts");
    }
    None
}

/// `secrets`: as they are to be. One that stays as it was, though it may now be sent elsewhere, is wrong.
pub(super) fn check(
    before: &OAuthClientRow,
    row: &OAuthClientRow,
    secrets: &Secrets,
    input: &ClientInput,
    errors: &mut Vec<FieldError>,
) {
    let Some(change) = leads_elsewhere(before, row) else { return };
    let mut kept = |pointer: String| {
        errors.push(FieldError::new(
            pointer,
            format!(
                "is needed once more: the request names {change}, and what is stored is sent to no other place than it \
                 was stored for"
            ),
        ));
    };
    let given = |sent: &Option<Option<SecretString>>| matches!(sent, Some(Some(_)));
    if secrets.client_secret.is_some() && !given(&input.client_secret) {
        kept("/client_secret".into());
    }
    // Of a draft that names no place: its key was made so that its public half can be registered first. It is never sent
    // itself, and until now there was nobody to whom anything was signed.
    let unplaced = before.client_id.is_none()
        && before.issuer.is_none()
        && before.endpoints.is_empty()
        && before.connector == row.connector;
    if secrets.private_key.is_some()
        && !given(&input.private_key)
        && input.generate_key.is_none()
        && !unplaced
    {
        kept("/private_key".into());
    }
    for name in secrets.token_params.keys().filter(|name| !input.token_params.contains_key(*name)) {
        kept(format!("/token_params/{}", escape(name)));
    }
}
