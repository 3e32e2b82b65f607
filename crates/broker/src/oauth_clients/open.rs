//! A client opened, for consent and for token requests.

use std::collections::BTreeMap;
use std::sync::Arc;

use latchstring_connectors::{
    ClientAuthMethod, ClientCertificate, ClientKey, HostPattern, OAuthClient, OAuthEndpoints,
};
use latchstring_model::address::Address;
use latchstring_model::id::OAuthClientId;
use latchstring_model::problem::Refused;
use latchstring_model::{Code, OpenTicket, Problem};
use latchstring_schemes::dpop::DpopKey;
use latchstring_schemes::jws::{Algorithm, SigningKey};
use latchstring_store::oauth_clients::{self as rows, EndpointRow, OAuthClientRow};
use latchstring_store::{Tx, scopes};

use super::{
    AUTHORIZATION, DEVICE, INTROSPECTION, REQUEST_TOKEN, REVOCATION, Secrets, TOKEN, USERINFO, usable,
};
use crate::catalog::Found;
use crate::sealing::oauth_client_aad;
use crate::{Broker, refusals};

/// A client as a scheme uses it, and what tells whether it still is so.
pub struct Opened {
    pub client: OAuthClient,
    /// Of the scope that is named by the client's id: add it to the basis of what is cached.
    pub epoch: i64,
}

fn unusable(detail: String) -> Problem {
    Problem::new(Code::OAuthClientUnusable, detail)
}

impl Broker {
    /// Loads and opens the client that a credential names. `found`: the connector of that credential, which the
    /// client must serve, whatever was checked when the credential was made.
    pub async fn open_client(
        &self,
        tx: &mut impl Tx,
        ticket: &OpenTicket,
        id: &OAuthClientId,
        found: &Found,
    ) -> Refused<Opened> {
        let epoch = scopes::epoch(tx, id.as_str()).await.map_err(refusals::store)?;
        let row = rows::by_id(tx, id).await.map_err(refusals::store)?.ok_or_else(|| {
            unusable("The OAuth client of this credential does not exist any more.".into())
                .hint("Its owner chooses another OAuth client and connects again.")
        })?;
        if let Err(why) = usable::serves(&row, found) {
            return Err(unusable(format!("The OAuth client {} cannot be used here: {why}.", row.name))
                .hint("A superuser sets the client right, or the credential's owner chooses another one.")
                .into());
        }
        let secrets = self.open_client_secrets(ticket, &row).await?;
        Ok(Opened { client: self.opened(row, secrets)?, epoch })
    }

    /// What is sealed of a client.
    pub(crate) async fn open_client_secrets(
        &self,
        ticket: &OpenTicket,
        row: &OAuthClientRow,
    ) -> Refused<Secrets> {
        let Some((sealed, key)) = &row.sealed else { return Ok(Secrets::default()) };
        self.ensure_data_key(key).await?;
        let bytes = self.open(ticket, &oauth_client_aad(&row.id, row.sealed_version), sealed)?;
        Secrets::from_bytes(bytes.expose())
    }

    fn opened(&self, row: OAuthClientRow, secrets: Secrets) -> Refused<OAuthClient> {
        let auth = ClientAuthMethod::parse(&row.client_auth)
            .ok_or_else(|| refusals::internal(&"an OAuth client's authentication method is unknown"))?;
        let draft = || {
            unusable(format!("The OAuth client {} is a draft: it has no client id yet.", row.name)).hint(
                "A superuser enters the client id that the provider gave (PATCH /api/v1/oauth-clients/{id}).",
            )
        };
        let client_id = row.client_id.clone().ok_or_else(draft)?;
        let private_key = match (&secrets.private_key, auth) {
            (Some(pem), ClientAuthMethod::PrivateKeyJwt) => {
                let algorithm = row.key_algorithm.as_deref().and_then(Algorithm::parse).unwrap_or_default();
                let signing = SigningKey::parse(algorithm, pem, None)
                    .map_err(|error| refusals::internal(&format!("the key of an OAuth client: {error}")))?;
                Some(ClientKey { signing: Arc::new(signing), id: row.key_id.clone() })
            }
            _ => None,
        };
        let certificate = match (&row.certificate, &secrets.private_key) {
            (Some(chain), Some(key)) if auth.by_certificate() => {
                Some(ClientCertificate { chain: chain.clone(), key: key.clone() })
            }
            _ => None,
        };
        let dpop = match &secrets.dpop_key {
            Some(key) if row.dpop_jkt.is_some() => {
                Some(DpopKey::parse(key, None).map(Arc::new).map_err(|error| {
                    refusals::internal(&format!("the DPoP key of an OAuth client: {error}"))
                })?)
            }
            _ => None,
        };
        let incomplete = auth.needs_secret() && secrets.client_secret.is_none()
            || auth == ClientAuthMethod::PrivateKeyJwt && private_key.is_none()
            || auth.by_certificate() && certificate.is_none()
            // Tokens that shall be bound to a key are not asked for without it.
            || row.dpop_jkt.is_some() && dpop.is_none();
        if incomplete {
            return Err(draft().into());
        }
        let hosts = row.hosts.iter().map(|host| HostPattern::parse(host)).collect::<Result<Vec<_>, _>>();
        Ok(OAuthClient {
            redirect_uri: self.redirect_uri(&row.id),
            client_id,
            auth,
            secret: secrets.client_secret,
            private_key,
            certificate,
            dpop,
            resource: row.resource,
            endpoints: endpoints(&row.endpoints)?,
            hosts: hosts.map_err(|error| refusals::internal(&error))?,
            token_params: secrets.token_params.into_iter().collect(),
            authorize_params: row.authorize_params.into_iter().collect(),
            id: row.id,
            name: row.name,
            issuer: row.issuer,
            issuer_in_callback: row.issuer_in_callback,
            mandatory_scopes: row.mandatory_scopes,
            optional_scopes: row.optional_scopes,
            pkce: row.pkce,
            digest: row.digest,
        })
    }
}

fn endpoints(stored: &BTreeMap<String, EndpointRow>) -> Refused<OAuthEndpoints> {
    let one = |name: &str| -> Refused<Option<Address>> {
        let Some(endpoint) = stored.get(name) else { return Ok(None) };
        Address::parse(&endpoint.url).map(Some).map_err(|error| refusals::internal(&error))
    };
    Ok(OAuthEndpoints {
        request_token: one(REQUEST_TOKEN)?,
        authorization: one(AUTHORIZATION)?,
        token: one(TOKEN)?,
        revocation: one(REVOCATION)?,
        userinfo: one(USERINFO)?,
        introspection: one(INTROSPECTION)?,
        device_authorization: one(DEVICE)?,
    })
}
