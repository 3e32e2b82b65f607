//! Whom a notice concerns.
//!
//! | whom | |
//! | --- | --- |
//! | mailboxes alone | of a link for a new password: the person |
//! | people, in the browser and by mail | of a person's own account: the person; else those that the notice names, else the owner: the person, or the owners and admins of the project that owns it; who is active |
//! | webhooks | of the project that owns it, and of those whose grants use the values that it is about |

use latchstring_model::Timestamp;
use latchstring_model::entity::Principal;
use latchstring_model::id::{DeliveryId, ProjectId, UserId};
use latchstring_store::deliveries::{self, Channel};
use latchstring_store::notices::{self, NoticeRow};
use latchstring_store::{Paging, StoreError, Tx, credentials, inbox, members, shares, users, webhooks};

use super::{EVENTS, WEBHOOK_DISABLED, account};
use crate::Broker;
use crate::permissions::Operation;
use crate::projects::access;

/// Notices that one turn addresses.
const AT_ONCE: i64 = 50;

impl Broker {
    /// How many there were.
    pub(super) async fn address_notices(&self, now: Timestamp) -> Result<usize, StoreError> {
        let mut reader = self.parts.store.read().await?;
        let open = notices::unaddressed(&mut reader, AT_ONCE).await?;
        drop(reader);
        for notice in &open {
            let mut tx = self.parts.store.begin_upkeep().await?;
            if !notices::address(&mut tx, &notice.id, now).await? {
                continue;
            }
            let mut targets = Vec::new();
            for id in people(&mut tx, notice).await? {
                if account::is_listed(&notice.event) {
                    inbox::add(&mut tx, &id, &notice.id, now).await?;
                }
                if self.settings.mail.is_some() {
                    targets.push((Channel::Mail, id.to_string()));
                }
            }
            targets.extend(endpoints(&mut tx, notice).await?.into_iter().map(|id| (Channel::Webhook, id)));
            for (channel, target) in targets {
                let id = DeliveryId::new(now, &*self.parts.entropy);
                deliveries::add(&mut tx, &id, &notice.id, channel, &target, now).await?;
            }
            tx.commit().await?;
        }
        Ok(open.len())
    }
}

async fn people(tx: &mut impl Tx, notice: &NoticeRow) -> Result<Vec<UserId>, StoreError> {
    if let Some(recipients) = &notice.recipients {
        let mut there = Vec::with_capacity(recipients.len());
        for id in recipients {
            if users::by_id(tx, id).await?.is_some_and(|user| user.fields.active) && !there.contains(id) {
                there.push(id.clone());
            }
        }
        return Ok(there);
    }
    if notice.event == WEBHOOK_DISABLED {
        return match &notice.project_id {
            Some(project) => admins(tx, project).await,
            None => Ok(Vec::new()),
        };
    }
    if account::is_about(&notice.event) {
        let Some(person) = account::whose(notice) else { return Ok(Vec::new()) };
        let found = users::by_id(tx, &person).await?.filter(|user| user.fields.active);
        return Ok(found.map(|user| user.id).into_iter().collect());
    }
    let Some(credential) = &notice.credential_id else { return Ok(Vec::new()) };
    let Some(row) = credentials::for_upkeep(tx, credential).await? else { return Ok(Vec::new()) };
    match &row.owner {
        Principal::Project(project) => admins(tx, project).await,
        Principal::User(user) => {
            let found = users::by_id(tx, user).await?;
            Ok(found.filter(|user| user.fields.active).map(|user| user.id).into_iter().collect())
        }
    }
}

async fn admins(tx: &mut impl Tx, project: &ProjectId) -> Result<Vec<UserId>, StoreError> {
    let mut found = Vec::new();
    let mut cursor = None;
    loop {
        let page = members::list(tx, project, &Paging::new(cursor, Some(Paging::MAX_LIMIT))).await?;
        let may = page.items.iter().filter(|member| {
            member.active && access::role_may(Some(member.role), Operation::CredentialChange)
        });
        found.extend(may.map(|member| member.user_id.clone()));
        cursor = page.next_cursor;
        if cursor.is_none() {
            return Ok(found);
        }
    }
}

async fn endpoints(tx: &mut impl Tx, notice: &NoticeRow) -> Result<Vec<String>, StoreError> {
    if !EVENTS.contains(&notice.event.as_str()) {
        return Ok(Vec::new());
    }
    let Some(credential) = &notice.credential_id else { return Ok(Vec::new()) };
    let Some(row) = credentials::for_upkeep(tx, credential).await? else { return Ok(Vec::new()) };
    let mut projects: Vec<ProjectId> = Vec::new();
    if let Principal::Project(owner) = &row.owner {
        projects.push(owner.clone());
    }
    for share in shares::list_of_credential(tx, &row).await? {
        let used = share.grants.iter().any(|grant| {
            notice.environment.as_ref().is_none_or(|about| *about == grant.credential_environment)
        });
        if used && !share.share.suspended && !projects.contains(&share.share.project_id) {
            projects.push(share.share.project_id);
        }
    }
    let mut found = Vec::new();
    for project in projects {
        let all = webhooks::enabled(tx, &project).await?;
        let wanting = all
            .into_iter()
            .filter(|webhook| webhook.events.is_empty() || webhook.events.contains(&notice.event));
        found.extend(wanting.map(|webhook| webhook.id.to_string()));
    }
    Ok(found)
}
