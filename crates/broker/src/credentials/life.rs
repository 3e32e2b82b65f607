//! A credential's life: disabled and enabled, scheduled for deletion and restored, purged; and what the admins of
//! a project decide about a share.

use latchstring_model::problem::Refused;
use latchstring_model::{Code, Problem, Timestamp};
use latchstring_store::credentials::{self as rows, CredentialRow};
use latchstring_store::shares::{self, ShareRow, ShareWithGrants};
use latchstring_store::{StoreError, Tx, WriteTx};

use super::access::{no_such_credential, owned};
use super::change::scheduled;
use super::save::{shared, told};
use super::view::{Sight, View};
use crate::actor::Actor;
use crate::audit::Event;
use crate::people::me::same_version;
use crate::people::recent::Deed;
use crate::permissions::Operation;
use crate::projects::access;
use crate::{Broker, refusals};

/// How a deletion went.
pub enum Deleted {
    /// Unusable from now on, restorable until then.
    Scheduled(Timestamp),
    Purged,
}

impl Broker {
    /// A write on one's own credential: looked at before the lock, and again under it.
    pub(super) async fn write_own(
        &self,
        actor: &Actor,
        id: &str,
        operation: Operation,
        if_match: Option<i64>,
    ) -> Refused<(WriteTx, CredentialRow, Vec<ShareWithGrants>)> {
        let mut tx = self.parts.store.begin_read().await.map_err(refusals::store)?;
        let row = owned(&mut tx, actor, id, operation).await?;
        let shares = shares::list_of_credential(&mut tx, &row).await.map_err(refusals::store)?;
        drop(tx);
        let mut scopes: Vec<&str> = vec![row.id.as_str(), row.owner.id()];
        scopes.extend(shares.iter().map(|share| share.share.project_id.as_str()));
        let mut tx = self.parts.store.begin_write(&scopes).await.map_err(refusals::store)?;
        let row = owned(&mut tx, actor, id, operation).await?;
        same_version(if_match, row.version)?;
        let shares = shares::list_of_credential(&mut tx, &row).await.map_err(refusals::store)?;
        Ok((tx, row, shares))
    }

    async fn save_life(
        &self,
        mut tx: WriteTx,
        actor: &Actor,
        mut row: CredentialRow,
        shares: &[ShareWithGrants],
        event: Event,
    ) -> Refused<View> {
        let now = self.now();
        row.version = rows::update(&mut tx, &row, now).await.map_err(refusals::store)?;
        row.updated_at = now;
        let sight = if self.is_frozen(actor) { Sight::Resting } else { Sight::Owner { with_fields: true } };
        let view = self.credential_view(&mut tx, row.clone(), sight).await?;
        self.record_all(&mut tx, actor, told(&row, shares, &event)).await?;
        tx.commit().await.map_err(refusals::store)?;
        Ok(view)
    }

    /// Ends all use at once, or allows it again. Doing it twice changes nothing.
    pub async fn set_disabled(
        &self,
        actor: &Actor,
        id: &str,
        disabled: bool,
        if_match: Option<i64>,
    ) -> Refused<View> {
        // Ending all use at once is never held up.
        if !disabled {
            self.unfrozen(actor)?;
        }
        let (tx, mut row, shares) = self.write_own(actor, id, Operation::CredentialDisable, if_match).await?;
        if row.deletes_at.is_some() {
            return Err(scheduled());
        }
        if row.disabled == disabled {
            drop(tx);
            // No change, but a look at the fields, which is recorded.
            return self.credential(actor, id).await;
        }
        row.disabled = disabled;
        let event = Event::new(if disabled { "credential.disable" } else { "credential.enable" });
        self.save_life(tx, actor, row, &shares, event).await
    }

    /// Schedules the deletion, or with `purge` wipes values, versions and tokens now. The audit trail stays.
    pub async fn delete_credential(
        &self,
        actor: &Actor,
        id: &str,
        purge: bool,
        if_match: Option<i64>,
    ) -> Refused<Deleted> {
        if purge {
            access::not_an_account(actor)?;
            self.recent(actor, Deed::Purge).await?;
        }
        self.unfrozen(actor)?;
        if purge {
            // Before the lock: the provider may take its time, and what is purged cannot be given back any more.
            let mut reader = self.parts.store.begin_read().await.map_err(refusals::store)?;
            let row = owned(&mut reader, actor, id, Operation::CredentialDelete).await?;
            same_version(if_match, row.version)?;
            self.not_in_use(&mut reader, &row.id).await?;
            drop(reader);
            self.revoke_grants(actor, &row).await;
        }
        let (mut tx, mut row, shares) =
            self.write_own(actor, id, Operation::CredentialDelete, if_match).await?;
        self.not_in_use(&mut tx, &row.id).await?;
        if purge {
            let event = Event::new("credential.delete").detail("purged", true).detail("id", row.id.as_str());
            let events = told(&row, &shares, &event);
            if !rows::purge(&mut tx, &row.owner, &row.id).await.map_err(refusals::store)? {
                return Err(refusals::store(StoreError::Moved));
            }
            self.record_all(&mut tx, actor, events).await?;
            tx.commit().await.map_err(refusals::store)?;
            return Ok(Deleted::Purged);
        }
        if let Some(at) = row.deletes_at {
            return Ok(Deleted::Scheduled(at));
        }
        let wait = i64::try_from(self.settings.delete_after.as_millis()).unwrap_or(i64::MAX);
        let at = self.now().plus_millis(wait);
        row.deletes_at = Some(at);
        let event = Event::new("credential.delete").detail("deletes_at", at.to_rfc3339());
        self.save_life(tx, actor, row, &shares, event).await?;
        Ok(Deleted::Scheduled(at))
    }

    /// Takes a scheduled deletion back, with the shares and grants that were not withdrawn meanwhile.
    pub async fn restore_credential(&self, actor: &Actor, id: &str, if_match: Option<i64>) -> Refused<View> {
        self.unfrozen(actor)?;
        let (tx, mut row, shares) = self.write_own(actor, id, Operation::CredentialDelete, if_match).await?;
        // By then its tokens may have been given back to the provider already.
        if row.deletes_at.is_some_and(|at| at <= self.now()) {
            return Err(Problem::new(
                Code::DeletionBegun,
                "The credential's day of deletion has come; it is being removed.",
            )
            .hint("It cannot be brought back. Make it anew: POST /api/v1/credentials.")
            .into());
        }
        if row.deletes_at.is_none() {
            return Err(Problem::new(Code::NothingToRestore, "The credential is not going to be deleted.")
                .hint(
                    "There is nothing to restore. Older values are at GET /api/v1/credentials/{id}/versions.",
                )
                .into());
        }
        row.deletes_at = None;
        self.save_life(tx, actor, row, &shares, Event::new("credential.restore")).await
    }

    /// The share of a project whose admin acts, with the credential.
    async fn write_share(
        &self,
        actor: &Actor,
        project: &str,
        named: &str,
        operation: Operation,
    ) -> Refused<(WriteTx, ShareRow, CredentialRow)> {
        let found = {
            let mut reader = self.parts.store.begin_read().await.map_err(refusals::store)?;
            let member = access::member(&mut reader, actor, project, operation).await?;
            share_here(&mut reader, &member.project.id, named).await?
        };
        let (mut tx, member) =
            self.write_in_project(actor, project, operation, &[found.credential_id.as_str()]).await?;
        let share = share_here(&mut tx, &member.project.id, found.credential_id.as_str()).await?;
        let row = rows::for_upkeep(&mut tx, &share.credential_id).await.map_err(refusals::store)?;
        Ok((tx, share, row.ok_or_else(no_such_credential)?))
    }

    /// A project's admin ends the project's use of a credential. The owner can share it anew.
    pub async fn withdraw_share(&self, actor: &Actor, project: &str, named: &str) -> Refused<()> {
        let (mut tx, share, row) = self.write_share(actor, project, named, Operation::ShareWithdraw).await?;
        shares::remove(&mut tx, &share).await.map_err(refusals::store)?;
        let event = shared(&row, &share.project_id).detail("withdrawn", true);
        self.record(&mut tx, actor, event.detail("slug", share.slug.as_str())).await?;
        tx.commit().await.map_err(refusals::store)?;
        Ok(())
    }

    /// A project's admin accepts the credential's new destination. `if_match`: what was looked at.
    pub async fn accept_share(
        &self,
        actor: &Actor,
        project: &str,
        named: &str,
        if_match: Option<i64>,
    ) -> Refused<View> {
        // A new destination is for somebody to look at.
        access::not_an_account(actor)?;
        self.unfrozen(actor)?;
        let (mut tx, mut share, row) =
            self.write_share(actor, project, named, Operation::ShareAccept).await?;
        same_version(if_match, row.version)?;
        let sight = share.project_id.clone();
        if !share.suspended {
            return self.credential_view(&mut tx, row, Sight::Member { project: &sight, admin: true }).await;
        }
        share.suspended = false;
        shares::update(&mut tx, &share).await.map_err(refusals::store)?;
        let view = self
            .credential_view(&mut tx, row.clone(), Sight::Member { project: &sight, admin: true })
            .await?;
        let origins: Vec<&str> =
            view.shares.iter().flat_map(|share| share.destinations.iter().map(String::as_str)).collect();
        let event = Event::new("credential.accept").project(&sight).credential(&row.id);
        let event = event.target(row.name.clone()).detail("destinations", origins);
        self.record(&mut tx, actor, event).await?;
        tx.commit().await.map_err(refusals::store)?;
        Ok(view)
    }
}

pub(super) async fn share_here(
    tx: &mut impl Tx,
    project: &latchstring_model::id::ProjectId,
    named: &str,
) -> Refused<ShareRow> {
    shares::in_project(tx, project, named)
        .await
        .map_err(refusals::store)?
        .ok_or_else(|| refusals::not_found("The project has no such credential."))
}
