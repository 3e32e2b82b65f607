//! Who uses a credential, before something is changed or ended: for its owner, in all projects; for the admins of a
//! project, in theirs.

use latchstring_model::Timestamp;
use latchstring_model::id::{CredentialId, ProjectId};
use latchstring_model::problem::Refused;
use latchstring_store::audit::{self, AuditFilter, batch};
use latchstring_store::credentials::{self as rows, CredentialRow};
use latchstring_store::{Paging, Tx, shares};

use super::access::{no_such_credential, owned};
use super::key_use::{KeyUse, KeysInUse, Place, REACH};
use super::life::share_here;
use super::uses::UsedBy;
use crate::actor::Actor;
use crate::audit::list::Item;
use crate::permissions::Operation;
use crate::projects::{access, ended};
use crate::{Broker, refusals};

/// Pages of calls that are looked through for those that are shown: a page may be short.
const PAGES: usize = 20;
/// Calls that are shown.
const SHOWN: u32 = 50;

pub struct Usage {
    /// What would stop working without it.
    pub used_by: Vec<UsedBy>,
    pub keys: Vec<KeyUse>,
    /// Every key that has called is there with its last call. Otherwise those that have none may have called before
    /// `looked_back_to`.
    pub complete: bool,
    /// From when on the calls of keys are counted; `None`: all that are recorded.
    pub looked_back_to: Option<Timestamp>,
    /// Newest first.
    pub calls: Vec<Item>,
}

/// What stops in a project that gives a credential up.
pub struct ShareUsage {
    pub id: CredentialId,
    pub name: String,
    pub slug: String,
    /// The project's environments that were granted values of it.
    pub environments: Vec<String>,
    /// Of this project alone.
    pub usage: Usage,
}

fn usage(used_by: Vec<UsedBy>, found: KeysInUse, calls: Vec<Item>) -> Usage {
    Usage { used_by, keys: found.keys, complete: found.complete, looked_back_to: found.back_to, calls }
}

async fn newest_calls(
    tx: &mut impl Tx,
    row: &CredentialRow,
    project: Option<&ProjectId>,
) -> Refused<Vec<Item>> {
    let filter = AuditFilter {
        credential: Some(row.id.clone()),
        action: Some(batch::USE.to_owned()),
        ..AuditFilter::default()
    };
    let shown = SHOWN as usize;
    let mut calls = Vec::new();
    let mut cursor = None;
    for _ in 0..PAGES {
        let paging = Paging::new(cursor, Some(SHOWN));
        let page = match project {
            Some(project) => audit::list_of_project(tx, project, &filter, &paging).await,
            None => audit::list_of_credential(tx, row, &filter, &paging).await,
        };
        let page = page.map_err(refusals::store)?;
        // A try that was refused has no call.
        calls.extend(page.items.into_iter().filter(|item| item.record.call_id.is_some()));
        cursor = page.next_cursor;
        if calls.len() >= shown || cursor.is_none() {
            break;
        }
    }
    calls.truncate(shown);
    Ok(calls.into_iter().map(Item::of).collect())
}

impl Broker {
    pub async fn credential_usage(&self, actor: &Actor, id: &str) -> Refused<Usage> {
        let mut tx = self.parts.store.begin_read().await.map_err(refusals::store)?;
        let row = owned(&mut tx, actor, id, Operation::CredentialUsage).await?;
        let shares = shares::list_of_credential(&mut tx, &row).await.map_err(refusals::store)?;
        let mut keys = Vec::with_capacity(shares.len());
        for share in &shares {
            keys.push(ended::living(&mut tx, ended::Of::Project(&share.share.project_id)).await?);
        }
        let places: Vec<Place<'_>> = shares
            .iter()
            .zip(&keys)
            .map(|(share, keys)| Place {
                slug: &share.project_slug,
                keys,
                granted: share.grants.iter().map(|grant| grant.environment_id.clone()).collect(),
            })
            .collect();
        let found = self.keys_in_use(&mut tx, &row.id, None, &places, &mut { REACH }).await?;
        let calls = newest_calls(&mut tx, &row, None).await?;
        let used_by = self.used_by(&mut tx, &row.id, None).await?;
        Ok(usage(used_by, found, calls))
    }

    /// What stops in a project that gives a credential up; for whoever may withdraw the share.
    pub async fn share_usage(&self, actor: &Actor, project: &str, named: &str) -> Refused<ShareUsage> {
        let mut tx = self.parts.store.begin_read().await.map_err(refusals::store)?;
        let member = access::member(&mut tx, actor, project, Operation::ShareWithdraw).await?;
        let project = &member.project;
        let share = share_here(&mut tx, &project.id, named).await?;
        let row = rows::for_upkeep(&mut tx, &share.credential_id).await.map_err(refusals::store)?;
        let row = row.ok_or_else(no_such_credential)?;
        let grants = shares::grants(&mut tx, &share).await.map_err(refusals::store)?;
        let keys = ended::living(&mut tx, ended::Of::Project(&project.id)).await?;
        let granted = grants.iter().map(|grant| grant.environment_id.clone()).collect();
        let place = Place { slug: &project.slug, keys: &keys, granted };
        let found = self.keys_in_use(&mut tx, &row.id, Some(&project.id), &[place], &mut { REACH }).await?;
        let calls = newest_calls(&mut tx, &row, Some(&project.id)).await?;
        let used_by = self.used_by(&mut tx, &row.id, Some(&project.id)).await?;
        Ok(ShareUsage {
            id: row.id,
            name: row.name,
            slug: share.slug,
            environments: grants.into_iter().map(|grant| grant.environment).collect(),
            usage: usage(used_by, found, calls),
        })
    }
}
