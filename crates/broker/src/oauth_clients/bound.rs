//! What a grant is bound to: the client's id, its issuer and the origins of its endpoints. Whoever changes one of
//! them could have the tokens of other people sent somewhere else, so what was consented to before is over.

use std::collections::BTreeMap;

use aws_lc_rs::digest::{Context, SHA256};
use latchstring_model::Timestamp;
use latchstring_model::address::Address;
use latchstring_model::id::CredentialId;
use latchstring_model::problem::Refused;
use latchstring_store::oauth_clients::{self as rows, EndpointRow, OAuthClientRow};
use latchstring_store::{Tx, WriteTx};

use crate::refusals;

/// Hex SHA-256. Paths are not in it: a provider that moves its token endpoint from `/token` to `/v2/token` is
/// still the same provider.
pub fn digest(
    client_id: Option<&str>,
    issuer: Option<&str>,
    endpoints: &BTreeMap<String, EndpointRow>,
) -> String {
    let mut context = Context::new(&SHA256);
    let mut put = |text: &str| {
        context.update(&(text.len() as u64).to_be_bytes());
        context.update(text.as_bytes());
    };
    put(client_id.unwrap_or_default());
    put(issuer.unwrap_or_default());
    for (name, endpoint) in endpoints {
        put(name);
        match Address::parse(&endpoint.url) {
            Ok(address) => put(&address.origin.to_string()),
            Err(_) => put(&endpoint.url),
        }
    }
    context.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether a grant that was given for `digest` still holds. Ask under the client's lock (its scope) before a
/// new grant is saved: the client may have changed while the person was at the provider.
pub async fn still_holds(
    tx: &mut impl Tx,
    client: &latchstring_model::id::OAuthClientId,
    digest: &str,
) -> Refused<bool> {
    let row = rows::by_id(tx, client).await.map_err(refusals::store)?;
    Ok(row.is_some_and(|row| row.digest == digest))
}

/// Ends every grant that was given through a client, in the transaction of the change that broke them: their
/// environments and tokens are `needs_reconnect`. Which credentials.
pub async fn end_grants(
    tx: &mut WriteTx,
    client: &OAuthClientRow,
    reason: &str,
    now: Timestamp,
) -> Refused<Vec<CredentialId>> {
    let touched = rows::granted(tx, &client.id).await.map_err(refusals::store)?;
    let scopes: Vec<&str> = touched.iter().map(CredentialId::as_str).collect();
    tx.raise(&scopes).await.map_err(refusals::store)?;
    rows::end_grants(tx, &client.id, reason, now).await.map_err(refusals::store)?;
    Ok(touched)
}

#[cfg(test)]
mod tests {
    use latchstring_store::oauth_clients::EndpointFrom;

    use super::*;

    fn endpoints(list: &[(&str, &str)]) -> BTreeMap<String, EndpointRow> {
        list.iter()
            .map(|(name, url)| {
                ((*name).to_owned(), EndpointRow { url: (*url).to_owned(), from: EndpointFrom::Request })
            })
            .collect()
    }

    #[test]
    fn origins_count_and_paths_do_not() {
        let one = endpoints(&[("token_endpoint", "https://a.example.com/token")]);
        let moved = endpoints(&[("token_endpoint", "https://a.example.com/v2/token")]);
        let elsewhere = endpoints(&[("token_endpoint", "https://b.example.com/token")]);
        let port = endpoints(&[("token_endpoint", "https://a.example.com:8443/token")]);
        let other_kind = endpoints(&[("userinfo_endpoint", "https://a.example.com/token")]);
        let of = |endpoints| digest(Some("id"), Some("https://i"), endpoints);
        assert_eq!(of(&one), of(&moved));
        for other in [&elsewhere, &port, &other_kind, &endpoints(&[])] {
            assert_ne!(of(&one), of(other));
        }
        assert_ne!(digest(Some("id"), None, &one), digest(Some("id2"), None, &one));
        assert_ne!(digest(Some("id"), None, &one), digest(Some("id"), Some("https://i"), &one));
        assert_ne!(digest(Some("ab"), Some("c"), &one), digest(Some("a"), Some("bc"), &one));
    }
}
