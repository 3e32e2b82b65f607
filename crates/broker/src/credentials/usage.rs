//! Who uses a credential, before something is changed or ended: for its owner, in all projects; for the admins of a
//! project, in theirs.

use std::collections::BTreeMap;

use latchstring_model::Timestamp;
use latchstring_model::id::{CredentialId, ProjectId};
use latchstring_model::problem::Refused;
use latchstring_store::audit::{AuditFilter, AuditItem};
use latchstring_store::{Paging, Tx, api_keys, audit, credentials as rows, shares};

use super::access::{no_such_credential, owned};
use super::life::share_here;
use super::uses::UsedBy;
use crate::actor::Actor;
use crate::audit::list::Item;
use crate::permissions::Operation;
use crate::projects::access;
use crate::{Broker, refusals};

/// Records of the trail that are looked through, newest first.
const LOOKED_THROUGH: usize = 1000;
/// Pages of a project's calls that are looked through: a page may be short.
const PAGES: usize = 5;
/// Calls that are shown.
const SHOWN: usize = 50;

/// A key that may use the credential, or has.
pub struct KeyUse {
    pub id: String,
    /// `None` for keys that ended long ago.
    pub name: Option<String>,
    pub project: Option<String>,
    /// Among the calls that were looked through.
    pub calls: u64,
    pub last_call_at: Option<Timestamp>,
}

pub struct Usage {
    /// What would stop working without it.
    pub used_by: Vec<UsedBy>,
    pub keys: Vec<KeyUse>,
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

/// What was found in the trail.
#[derive(Default)]
struct Found {
    calls: Vec<AuditItem>,
    used: BTreeMap<String, KeyUse>,
}

impl Found {
    fn take(&mut self, items: Vec<AuditItem>) {
        for item in items.into_iter().filter(|item| item.record.action == "credential.use") {
            if let Some(key) = item.record.actor_id.as_ref().filter(|_| item.record.actor_type == "key") {
                let entry = self.used.entry(key.clone()).or_insert_with(|| KeyUse {
                    id: key.clone(),
                    name: None,
                    project: None,
                    calls: 0,
                    last_call_at: None,
                });
                entry.calls += 1;
                entry.last_call_at = entry.last_call_at.max(Some(item.record.at));
            }
            if self.calls.len() < SHOWN {
                self.calls.push(item);
            }
        }
    }

    fn usage(self, used_by: Vec<UsedBy>) -> Usage {
        let mut keys: Vec<KeyUse> = self.used.into_values().collect();
        keys.sort_by(|a, b| b.last_call_at.cmp(&a.last_call_at).then_with(|| a.id.cmp(&b.id)));
        Usage { used_by, keys, calls: self.calls.into_iter().map(Item::of).collect() }
    }
}

impl Broker {
    pub async fn credential_usage(&self, actor: &Actor, id: &str) -> Refused<Usage> {
        let mut tx = self.parts.store.begin_read().await.map_err(refusals::store)?;
        let row = owned(&mut tx, actor, id, Operation::CredentialUsage).await?;
        let mut found = Found::default();
        let mut looked = 0;
        let mut cursor = None;
        loop {
            let paging = Paging::new(cursor, Some(Paging::MAX_LIMIT));
            let page = audit::list_of_credential(&mut tx, &row, &AuditFilter::default(), &paging)
                .await
                .map_err(refusals::store)?;
            looked += page.items.len();
            found.take(page.items);
            match page.next_cursor {
                Some(next) if looked < LOOKED_THROUGH => cursor = Some(next),
                _ => break,
            }
        }
        for share in shares::list_of_credential(&mut tx, &row).await.map_err(refusals::store)? {
            let project = &share.share.project_id;
            self.name_keys(&mut tx, project, &share.project_slug, row.id.as_str(), &mut found.used).await?;
        }
        let used_by = self.used_by(&mut tx, &row.id, None).await?;
        Ok(found.usage(used_by))
    }

    /// What stops in a project that gives a credential up; for whoever may withdraw the share.
    pub async fn share_usage(&self, actor: &Actor, project: &str, named: &str) -> Refused<ShareUsage> {
        let mut tx = self.parts.store.begin_read().await.map_err(refusals::store)?;
        let member = access::member(&mut tx, actor, project, Operation::ShareWithdraw).await?;
        let project = &member.project;
        let share = share_here(&mut tx, &project.id, named).await?;
        let row = rows::for_upkeep(&mut tx, &share.credential_id).await.map_err(refusals::store)?;
        let row = row.ok_or_else(no_such_credential)?;
        let filter = AuditFilter {
            credential: Some(row.id.clone()),
            action: Some("credential.use".to_owned()),
            ..AuditFilter::default()
        };
        let mut found = Found::default();
        let mut cursor = None;
        for _ in 0..PAGES {
            let paging = Paging::new(cursor, Some(Paging::MAX_LIMIT));
            let page = audit::list_of_project(&mut tx, &project.id, &filter, &paging)
                .await
                .map_err(refusals::store)?;
            found.take(page.items);
            cursor = page.next_cursor;
            if cursor.is_none() {
                break;
            }
        }
        self.name_keys(&mut tx, &project.id, &project.slug, row.id.as_str(), &mut found.used).await?;
        let used_by = self.used_by(&mut tx, &row.id, Some(&project.id)).await?;
        let grants = shares::grants(&mut tx, &share).await.map_err(refusals::store)?;
        Ok(ShareUsage {
            id: row.id,
            name: row.name,
            slug: share.slug,
            environments: grants.into_iter().map(|grant| grant.environment).collect(),
            usage: found.usage(used_by),
        })
    }

    /// Names of keys that called, and keys that are made for this credential and have not called yet.
    async fn name_keys(
        &self,
        tx: &mut impl Tx,
        project: &ProjectId,
        slug: &str,
        credential: &str,
        used: &mut BTreeMap<String, KeyUse>,
    ) -> Refused<()> {
        let mut cursor = None;
        loop {
            let paging = Paging::new(cursor, Some(Paging::MAX_LIMIT));
            let page = api_keys::list_of_project(tx, project, &paging).await.map_err(refusals::store)?;
            for key in page.items {
                let named = key
                    .limits
                    .get("credentials")
                    .and_then(serde_json::Value::as_array)
                    .is_some_and(|list| list.iter().any(|id| id.as_str() == Some(credential)));
                let id = key.id.to_string();
                if !used.contains_key(&id) && !named {
                    continue;
                }
                let entry = used.entry(id.clone()).or_insert_with(|| KeyUse {
                    id,
                    name: None,
                    project: None,
                    calls: 0,
                    last_call_at: None,
                });
                entry.name = Some(key.name);
                entry.project = Some(slug.to_owned());
            }
            match page.next_cursor {
                Some(next) => cursor = Some(next),
                None => return Ok(()),
            }
        }
    }
}
