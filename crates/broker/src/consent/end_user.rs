//! Consent of an end user, who has no account here: for what waits for them in their connect session. The session's
//! cookie says who opens the way to the provider, the flow's cookie who comes back. Asked for are the mandatory scopes of
//! the OAuth client: what is optional is for people who know what it is for.

use std::net::IpAddr;

use http::HeaderMap;
use latchstring_model::id::{ConnectSessionId, CredentialId};
use latchstring_model::problem::Refused;
use latchstring_store::connect_sessions::{self, ConnectSessionRow};
use latchstring_store::consents::{self, By, ConsentRow};
use latchstring_store::{Tx, credentials};

use super::begin::wanted;
use super::start::{Started, unknown};
use crate::actor::{Actor, Who};
use crate::connect_sessions::ONE;
use crate::people::entry::Door;
use crate::{Broker, refusals};

impl Broker {
    /// Asks for consent for what was just made in a connect session; the host where the end user signs in.
    pub(crate) async fn begin_end_users_consent(
        &self,
        actor: &Actor,
        session: &ConnectSessionRow,
        credential: &CredentialId,
    ) -> Refused<String> {
        let checked = self.consent_ground(actor, credential.as_str(), ONE).await?;
        let ready = self.consent_ready(actor, &checked)?;
        let scopes = wanted(&ready, None, None)?;
        let mut row = self.new_consent(By::ConnectSession(session.id.clone()), &checked, scopes, None);
        row.expires_at = row.expires_at.min(session.expires_at);
        let mut tx = self.parts.store.begin_upkeep().await.map_err(refusals::store)?;
        consents::create(&mut tx, &row, None).await.map_err(refusals::store)?;
        tx.commit().await.map_err(refusals::store)?;
        Ok(ready.host())
    }

    /// The consent that was begun last for what waits in a connect session.
    pub(crate) async fn end_users_consent(
        &self,
        tx: &mut impl Tx,
        session: &ConnectSessionRow,
    ) -> Refused<Option<ConsentRow>> {
        let Some(waits) = &session.credential_id else { return Ok(None) };
        let Some(credential) = credentials::for_upkeep(tx, waits).await.map_err(refusals::store)? else {
            return Ok(None);
        };
        let latest = consents::latest(tx, &credential, ONE).await.map_err(refusals::store)?;
        Ok(latest.filter(|latest| latest.by == By::ConnectSession(session.id.clone())))
    }
}

impl Door {
    /// The end user goes to the provider.
    pub async fn start_end_users_consent(
        &self,
        link: &str,
        headers: &HeaderMap,
        address: Option<IpAddr>,
    ) -> Refused<Started> {
        let broker = &self.broker;
        let session = self.connect_session_here(link, headers, address).await?;
        let row = {
            let mut tx = broker.parts.store.begin_read().await.map_err(refusals::store)?;
            broker.end_users_consent(&mut tx, &session).await?.ok_or_else(unknown)?
        };
        let who = Who::EndUser { session: session.id, project: session.project_id };
        broker.send_to_provider(&Actor { who, address }, &row, self.is_secure()).await
    }

    /// Who comes back: whoever has the flow's cookie, while the session is open.
    pub(super) async fn end_user_of(
        &self,
        session: &ConnectSessionId,
        address: Option<IpAddr>,
    ) -> Refused<Actor> {
        let mut reader = self.broker.parts.store.read().await.map_err(refusals::store)?;
        let session = connect_sessions::by_id(&mut reader, session).await.map_err(refusals::store)?;
        let session = session.filter(|session| session.ended_at.is_none()).ok_or_else(unknown)?;
        if !self.broker.maker_stands(&mut reader, &session).await? {
            return Err(unknown());
        }
        Ok(Actor { who: Who::EndUser { session: session.id, project: session.project_id }, address })
    }
}
