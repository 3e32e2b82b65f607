//! The small jobs: what has run out is removed, what is due is done.

use std::sync::Arc;
use std::time::Duration;

use latchstring_model::Timestamp;
use latchstring_model::entity::Principal;
use latchstring_store::credentials::CredentialRow;
use latchstring_store::instance::ServerRow;
use latchstring_store::{
    StoreError, WriteTx, api_keys, connect_sessions, consents, credentials, idempotency, instance,
    password_resets, sessions, shares, sign_ins, transfers,
};
use tokio::task::JoinSet;

use super::supervisor::Again;
use crate::Broker;
use crate::actor::Actor;
use crate::audit::events::{self, Event};
use crate::people::repeats::KEPT;

/// How often a server says that it lives.
pub const HEARTBEAT: Duration = Duration::from_secs(5);

/// A server that was not heard of for so long is not waited for any more; in milliseconds.
pub const LIVING: i64 = 20_000;

/// A server that was not heard of for so long is forgotten: a day.
const FORGOTTEN: i64 = 86_400_000;

/// Credentials that are stated anew in one turn.
const UNSTATED: i64 = 200;

/// For so long somebody is told what became of an offer that is over: thirty days.
const OFFERS_KEPT: i64 = 30 * 86_400_000;

/// Credentials that are deleted in one turn, each in its own transaction.
const DELETIONS: i64 = 20;

impl Broker {
    /// Says that this server lives and which root keys it holds.
    pub(crate) async fn heartbeat(&self, started_at: Timestamp) -> Result<Again, StoreError> {
        let row = ServerRow {
            id: self.parts.server.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at,
            seen_at: started_at,
            root_keys: self.parts.vault.root_keys().iter().map(ToString::to_string).collect(),
        };
        let mut tx = self.parts.store.begin_upkeep().await?;
        instance::heartbeat(&mut tx, &row).await?;
        tx.commit().await?;
        Ok(Again::Later)
    }

    /// When keys were last used, as data cores noted it.
    pub(crate) async fn write_used_keys(&self) -> Result<Again, StoreError> {
        let used = self.routes.take_used();
        if used.is_empty() {
            return Ok(Again::Later);
        }
        let mut tx = self.parts.store.begin_upkeep().await?;
        api_keys::touch(&mut tx, &used).await?;
        tx.commit().await?;
        Ok(Again::Later)
    }

    /// Sessions and answers to repeats that have run out, servers that are long gone. A set-up link is void once
    /// its hour is over, and replaced by the next one.
    pub(crate) async fn purge_expired(&self) -> Result<Again, StoreError> {
        let now = self.now();
        let mut tx = self.parts.store.begin_upkeep().await?;
        let ended = sessions::purge_expired(&mut tx, now).await?;
        let repeats = idempotency::purge(&mut tx, now.plus_millis(-KEPT)).await?;
        let consents = consents::purge(&mut tx, now.plus_millis(-crate::consent::KEPT)).await?;
        let offers = transfers::purge(&mut tx, now.plus_millis(-OFFERS_KEPT)).await?;
        let connects = connect_sessions::purge(&mut tx, now.plus_millis(-OFFERS_KEPT)).await?;
        let servers = instance::purge_servers(&mut tx, FORGOTTEN).await?;
        let links = sign_ins::purge(&mut tx, now).await? + password_resets::purge(&mut tx, now).await?;
        tx.commit().await?;
        if ended + repeats + consents + offers + connects + servers + links > 0 {
            tracing::debug!(
                ended,
                repeats,
                consents,
                offers,
                connects,
                servers,
                links,
                "removed what had run out"
            );
        }
        Ok(Again::Later)
    }

    /// Statuses of credentials that a server of an older version stored meanwhile.
    pub(crate) async fn state_unstated(&self) -> Result<Again, StoreError> {
        let mut reader = self.parts.store.read().await?;
        let found = credentials::unstated(&mut reader, UNSTATED).await?;
        drop(reader);
        if found.is_empty() {
            return Ok(Again::Later);
        }
        let full = i64::try_from(found.len()).is_ok_and(|count| count >= UNSTATED);
        let mut tx = self.parts.store.begin_upkeep().await?;
        for id in &found {
            credentials::state_again(&mut tx, id).await?;
        }
        tx.commit().await?;
        Ok(if full { Again::Now } else { Again::Later })
    }

    /// Deletes credentials whose day has come. Values, tokens and shares go; the audit trail stays.
    pub async fn delete_due_credentials(self: &Arc<Self>) -> Result<Again, StoreError> {
        if let Err(problem) = self.give_up_left().await {
            tracing::warn!(problem = %problem, "what waits for end users who have gone could not be removed");
        }
        let now = self.now();
        let mut reader = self.parts.store.read().await?;
        let due = credentials::due_for_deletion(&mut reader, now, DELETIONS).await?;
        drop(reader);
        let full = i64::try_from(due.len()).is_ok_and(|count| count >= DELETIONS);
        // All at once: providers that do not answer hold up this turn no longer than one of them does.
        let mut revoking = JoinSet::new();
        let mut claimed = Vec::with_capacity(due.len());
        for row in due {
            let mut tx = self.parts.store.begin_write(&[row.id.as_str(), row.owner.id()]).await?;
            // It may have been restored since it was listed. From here on nobody restores it: its day has come.
            if still_due(&mut tx, &row, now).await?.is_some() {
                let (broker, ours) = (Arc::clone(self), row.clone());
                revoking.spawn(async move { broker.revoke_grants(&Actor::operator(), &ours).await });
                claimed.push(row);
            }
        }
        while let Some(ended) = revoking.join_next().await {
            if let Err(error) = ended {
                tracing::error!(error = %error, "revoking a credential's tokens ended early");
            }
        }
        let mut deleted = 0;
        for row in claimed {
            let mut tx = self.parts.store.begin_write(&[row.id.as_str(), row.owner.id()]).await?;
            let Some(current) = still_due(&mut tx, &row, now).await? else { continue };
            if self.purge_credential(&mut tx, &current, now).await? {
                tx.commit().await?;
                deleted += 1;
            }
        }
        Ok(if full && deleted > 0 { Again::Now } else { Again::Later })
    }

    /// What a deleted credential leaves is its trail.
    pub(crate) async fn purge_credential(
        &self,
        tx: &mut WriteTx,
        row: &CredentialRow,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let events = purged(tx, row).await?;
        if !credentials::purge(tx, &row.owner, &row.id).await? {
            return Ok(false);
        }
        let operator = Actor::operator();
        let events: Vec<_> = events.into_iter().map(|event| (&operator, event)).collect();
        events::append(tx, &self.parts.server, now, &events).await?;
        Ok(true)
    }
}

/// The row as it is under the lock of its scope, unless it was restored, given away or removed meanwhile.
async fn still_due(
    tx: &mut WriteTx,
    row: &CredentialRow,
    now: Timestamp,
) -> Result<Option<CredentialRow>, StoreError> {
    let current = credentials::for_upkeep(tx, &row.id).await?;
    Ok(current.filter(|current| current.deletes_at.is_some_and(|at| at <= now) && current.owner == row.owner))
}

/// One event for the owner, and one for each project where the credential was shared.
async fn purged(tx: &mut WriteTx, row: &CredentialRow) -> Result<Vec<Event>, StoreError> {
    let event = || {
        Event::new("credential.delete")
            .target(row.id.as_str())
            .credential(&row.id)
            .detail("name", row.name.as_str())
            .detail("purged", true)
    };
    let owner = match &row.owner {
        Principal::Project(id) => event().project(id),
        Principal::User(_) => event(),
    };
    let mut events = vec![owner];
    for share in shares::list_of_credential(tx, row).await? {
        if row.owner != Principal::Project(share.share.project_id.clone()) {
            events.push(event().project(&share.share.project_id));
        }
    }
    Ok(events)
}
