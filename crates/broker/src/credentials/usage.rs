//! Who uses a credential, for its owner: before something is changed or ended.

use std::collections::BTreeMap;

use latchstring_model::Timestamp;
use latchstring_model::id::ProjectId;
use latchstring_model::problem::Refused;
use latchstring_store::audit::{AuditFilter, AuditItem};
use latchstring_store::{Paging, Tx, api_keys, audit, shares};

use super::access::owned;
use super::uses::UsedBy;
use crate::actor::Actor;
use crate::audit::list::Item;
use crate::permissions::Operation;
use crate::{Broker, refusals};

/// Records of the trail that are looked through, newest first.
const LOOKED_THROUGH: usize = 1000;
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

impl Broker {
    pub async fn credential_usage(&self, actor: &Actor, id: &str) -> Refused<Usage> {
        let mut tx = self.parts.store.begin_read().await.map_err(refusals::store)?;
        let row = owned(&mut tx, actor, id, Operation::CredentialUsage).await?;
        let mut calls: Vec<AuditItem> = Vec::new();
        let mut used: BTreeMap<String, KeyUse> = BTreeMap::new();
        let mut looked = 0;
        let mut cursor = None;
        loop {
            let paging = Paging::new(cursor, Some(Paging::MAX_LIMIT));
            let page = audit::list_of_credential(&mut tx, &row, &AuditFilter::default(), &paging)
                .await
                .map_err(refusals::store)?;
            looked += page.items.len();
            for item in page.items.into_iter().filter(|item| item.record.action == "credential.use") {
                if let Some(key) = item.record.actor_id.as_ref().filter(|_| item.record.actor_type == "key") {
                    let entry = used.entry(key.clone()).or_insert_with(|| KeyUse {
                        id: key.clone(),
                        name: None,
                        project: None,
                        calls: 0,
                        last_call_at: None,
                    });
                    entry.calls += 1;
                    entry.last_call_at = entry.last_call_at.max(Some(item.record.at));
                }
                if calls.len() < SHOWN {
                    calls.push(item);
                }
            }
            match page.next_cursor {
                Some(next) if looked < LOOKED_THROUGH => cursor = Some(next),
                _ => break,
            }
        }
        for share in shares::list_of_credential(&mut tx, &row).await.map_err(refusals::store)? {
            let project = &share.share.project_id;
            self.name_keys(&mut tx, project, &share.project_slug, row.id.as_str(), &mut used).await?;
        }
        let used_by = self.used_by(&mut tx, &row.id).await?;
        let mut keys: Vec<KeyUse> = used.into_values().collect();
        keys.sort_by(|a, b| b.last_call_at.cmp(&a.last_call_at).then_with(|| a.id.cmp(&b.id)));
        Ok(Usage { used_by, keys, calls: calls.into_iter().map(Item::of).collect() })
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
