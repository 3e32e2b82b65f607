//! What a grant is bound to: the client's id, its issuer and the origins of its endpoints. Whoever changes one of
//! them could have the tokens of other people sent somewhere else, so what was consented to before is over. So it is
//! with another DPoP key, to which tokens of before are not bound, and with other APIs that tokens are asked for.
//!
//! What is over is not given back to the provider. Nobody has said that the accounts shall be disconnected there: a
//! superuser has no right over other people's grants, and where an address was mistyped, or a provider has a new name,
//! that would end what still lives elsewhere (other programs' tokens of the same client among it). And where the old
//! server is no more whose it was, it would be sent all of our tokens at once. The audit trail tells whose they were;
//! an owner who wants the access to end there ends it in the account's own settings.

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
pub fn digest(row: &OAuthClientRow) -> String {
    of(
        row.client_id.as_deref(),
        row.issuer.as_deref(),
        &row.endpoints,
        row.dpop_jkt.as_deref(),
        &row.resource,
    )
}

fn of(
    client_id: Option<&str>,
    issuer: Option<&str>,
    endpoints: &BTreeMap<String, EndpointRow>,
    dpop_jkt: Option<&str>,
    resource: &[String],
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
    // What is not there leaves the digest as it was before there was such a thing.
    for (name, value) in dpop_jkt
        .map(|jkt| ("dpop_jkt", jkt))
        .into_iter()
        .chain(resource.iter().map(|one| ("resource", one.as_str())))
    {
        put(name);
        put(value);
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
        let of = |endpoints| super::of(Some("id"), Some("https://i"), endpoints, None, &[]);
        assert_eq!(of(&one), of(&moved));
        for other in [&elsewhere, &port, &other_kind, &endpoints(&[])] {
            assert_ne!(of(&one), of(other));
        }
        let with = |id, issuer| super::of(Some(id), issuer, &one, None, &[]);
        assert_ne!(with("id", None), with("id2", None));
        assert_ne!(with("id", None), with("id", Some("https://i")));
        assert_ne!(with("ab", Some("c")), with("a", Some("bc")));
        let api = ["https://api.example.com".to_owned()];
        let bound = |jkt, resource| super::of(Some("id"), None, &one, jkt, resource);
        for other in [bound(Some("k"), &[]), bound(None, &api), bound(Some("l"), &[])] {
            assert_ne!(other, bound(None, &[]));
        }
        assert_ne!(bound(Some("k"), &[]), bound(Some("l"), &[]));
    }
}
