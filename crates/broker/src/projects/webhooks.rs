//! A project's webhooks: who is told, of what, and how it went. For its admins and owners alone, since an address
//! may hold a secret of the receiver.

use latchstring_model::address::Address;
use latchstring_model::id::{DeliveryId, ProjectId, WebhookId};
use latchstring_model::problem::Refused;
use latchstring_model::{Code, FieldError, Problem, Timestamp};
use latchstring_store::applied::{AppliedKind, Thing, forget};
use latchstring_store::deliveries;
pub use latchstring_store::deliveries::DeliveryRow;
use latchstring_store::webhooks::{self as store, WebhookRow};
use latchstring_store::{StoreError, Tx};

use crate::actor::Actor;
use crate::audit::Event;
use crate::notices::{EVENTS, webhook};
use crate::people::me::same_version;
use crate::people::{Page, Paging, ShownOnce};
use crate::permissions::Operation;
use crate::projects::access;
use crate::{Broker, refusals};

/// Webhooks of one project.
const MOST: i64 = 20;
/// Deliveries of one webhook that may wait when another one is put into the queue by hand.
const MOST_WAITING: i64 = 10;
const LONGEST_URL: usize = 2000;
const LONGEST_DESCRIPTION: usize = 500;
/// How long the secret before the current one signs too: a day, in milliseconds.
const OVERLAP: i64 = 86_400_000;

#[derive(Debug)]
pub struct Webhook {
    pub id: WebhookId,
    pub url: String,
    pub description: String,
    /// Empty: all.
    pub events: Vec<String>,
    pub disabled: bool,
    pub disabled_why: Option<String>,
    pub failing_since: Option<Timestamp>,
    /// Until then deliveries have a signature of the secret before, too.
    pub old_secret_until: Option<Timestamp>,
    pub version: i64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

pub struct MadeWebhook {
    pub webhook: Webhook,
    pub secret: ShownOnce,
}

pub struct NewWebhook {
    pub url: String,
    pub description: String,
    pub events: Vec<String>,
}

/// What is to be changed; `None` stays.
#[derive(Default)]
pub struct WebhookChange {
    pub url: Option<String>,
    pub description: Option<String>,
    pub events: Option<Vec<String>>,
    pub disabled: Option<bool>,
}

fn view(row: WebhookRow, now: Timestamp) -> Webhook {
    Webhook {
        id: row.id,
        url: row.url,
        description: row.description,
        events: row.events,
        disabled: row.disabled,
        disabled_why: row.disabled_why,
        failing_since: row.failing_since,
        old_secret_until: row.old_until.filter(|until| now < *until),
        version: row.version,
        created_at: row.created_at,
        updated_at: row.updated_at,
    }
}

fn unknown() -> Box<Problem> {
    refusals::not_found("The project has no such webhook.")
}

async fn find(tx: &mut impl Tx, project: &ProjectId, id: &str) -> Refused<WebhookRow> {
    let id: WebhookId = id.parse().map_err(|_| unknown())?;
    store::one(tx, project, &id).await.map_err(refusals::store)?.ok_or_else(unknown)
}

impl Broker {
    fn check_webhook(&self, project: &ProjectId, row: &WebhookRow) -> Refused<()> {
        let mut errors = Vec::new();
        let mut wrong = |pointer: &str, detail: String| errors.push(FieldError::new(pointer, detail));
        match Address::parse(&row.url) {
            Err(error) => wrong("/url", format!("this is not an address that can be told: {error}")),
            Ok(_) if row.url.len() > LONGEST_URL => {
                wrong("/url", format!("an address has at most {LONGEST_URL} characters"));
            }
            // One text for whatever is refused: what lies in private networks is nobody's business.
            Ok(address) if self.parts.egress.refuses(Some(project), &address.origin).is_some() => wrong(
                "/url",
                "this address may not be called from here; an operator can allow private networks, and http to them, with LATCHSTRING_EGRESS_ALLOW".into(),
            ),
            Ok(_) => {}
        }
        if row.description.chars().count() > LONGEST_DESCRIPTION {
            wrong("/description", format!("at most {LONGEST_DESCRIPTION} characters"));
        }
        for (at, event) in row.events.iter().enumerate() {
            if !EVENTS.contains(&event.as_str()) {
                wrong(
                    &format!("/events/{at}"),
                    format!("there is no such event; known are {}", EVENTS.join(", ")),
                );
            }
        }
        if errors.is_empty() { Ok(()) } else { Err(Problem::invalid(errors).into()) }
    }

    pub async fn create_webhook(
        &self,
        actor: &Actor,
        project: &str,
        new: NewWebhook,
    ) -> Refused<MadeWebhook> {
        let (mut tx, found) = self.write_in_project(actor, project, Operation::WebhookCreate, &[]).await?;
        let project = found.project.id;
        let (now, entropy) = (self.now(), self.parts.entropy.as_ref());
        if store::count(&mut tx, &project).await.map_err(refusals::store)? >= MOST {
            return Err(refusals::limit_reached(
                MOST,
                format!("The project has {MOST} webhooks already, and may have no more."),
                "Delete one that is not needed, or give one of them more events.",
            ));
        }
        let secret = webhook::new_secret(entropy);
        let mut row = WebhookRow {
            id: WebhookId::new(now, entropy),
            project_id: project.clone(),
            url: new.url.trim().to_owned(),
            description: new.description.trim().to_owned(),
            events: new.events,
            sealed: Vec::new(),
            data_key: self
                .parts
                .vault
                .active()
                .ok_or_else(|| refusals::internal(&"no data key is loaded"))?,
            secret_version: 1,
            old_until: None,
            disabled: false,
            disabled_why: None,
            failing_since: None,
            version: 1,
            created_by: actor.signature(),
            created_at: now,
            updated_at: now,
        };
        self.check_webhook(&project, &row)?;
        let sealed = self.seal_webhook(&row, 1, &secret, None)?;
        (row.sealed, row.data_key) = (sealed.bytes, sealed.data_key);
        store::create(&mut tx, &row).await.map_err(refusals::store)?;
        self.record(&mut tx, actor, webhook_event("webhook.create", &row)).await?;
        tx.commit().await.map_err(refusals::store)?;
        Ok(MadeWebhook { webhook: view(row, now), secret: ShownOnce(secret) })
    }

    pub async fn webhooks(&self, actor: &Actor, project: &str, paging: &Paging) -> Refused<Page<Webhook>> {
        let mut tx = self.parts.store.begin_read().await.map_err(refusals::store)?;
        let found = access::member(&mut tx, actor, project, Operation::WebhooksList).await?;
        let page = store::list(&mut tx, &found.project.id, paging).await.map_err(refusals::store)?;
        let now = self.now();
        let items = page.items.into_iter().map(|row| view(row, now)).collect();
        Ok(Page { items, next_cursor: page.next_cursor })
    }

    pub async fn webhook(&self, actor: &Actor, project: &str, id: &str) -> Refused<Webhook> {
        let mut tx = self.parts.store.begin_read().await.map_err(refusals::store)?;
        let found = access::member(&mut tx, actor, project, Operation::WebhooksList).await?;
        Ok(view(find(&mut tx, &found.project.id, id).await?, self.now()))
    }

    /// Enabled again, it begins with a clean record; what ended meanwhile is not sent by itself.
    pub async fn change_webhook(
        &self,
        actor: &Actor,
        project: &str,
        id: &str,
        change: WebhookChange,
        if_match: Option<i64>,
    ) -> Refused<Webhook> {
        let (mut tx, found) = self.write_in_project(actor, project, Operation::WebhookChange, &[]).await?;
        let mut row = find(&mut tx, &found.project.id, id).await?;
        same_version(if_match, row.version)?;
        if let Some(url) = change.url {
            row.url = url.trim().to_owned();
        }
        if let Some(description) = change.description {
            row.description = description.trim().to_owned();
        }
        if let Some(events) = change.events {
            row.events = events;
        }
        match change.disabled {
            Some(false) if row.disabled => {
                (row.disabled, row.disabled_why, row.failing_since) = (false, None, None);
            }
            Some(true) if !row.disabled => {
                (row.disabled, row.disabled_why) = (true, Some("by a person".to_owned()));
                deliveries::stop(&mut tx, &row.id, self.now()).await.map_err(refusals::store)?;
            }
            _ => {}
        }
        self.check_webhook(&found.project.id, &row)?;
        self.save_webhook(&mut tx, &mut row).await?;
        self.record(&mut tx, actor, webhook_event("webhook.update", &row).detail("disabled", row.disabled))
            .await?;
        tx.commit().await.map_err(refusals::store)?;
        Ok(view(row, self.now()))
    }

    async fn save_webhook(&self, tx: &mut latchstring_store::WriteTx, row: &mut WebhookRow) -> Refused<()> {
        let now = self.now();
        row.version = store::update(tx, row, now).await.map_err(refusals::store)?;
        row.updated_at = now;
        Ok(())
    }

    /// A new secret. The old one signs beside it for a day, so that the receiver can change over in between.
    pub async fn rotate_webhook_secret(
        &self,
        actor: &Actor,
        project: &str,
        id: &str,
    ) -> Refused<MadeWebhook> {
        let (mut tx, found) = self.write_in_project(actor, project, Operation::WebhookChange, &[]).await?;
        let mut row = find(&mut tx, &found.project.id, id).await?;
        let (now, secret) = (self.now(), webhook::new_secret(self.parts.entropy.as_ref()));
        let (old, _) = self.open_webhook(&row).await?;
        let version = row.secret_version + 1;
        let sealed = self.seal_webhook(&row, version, &secret, Some(&old))?;
        (row.sealed, row.data_key, row.secret_version) = (sealed.bytes, sealed.data_key, version);
        row.old_until = Some(now.plus_millis(OVERLAP));
        self.save_webhook(&mut tx, &mut row).await?;
        self.record(&mut tx, actor, webhook_event("webhook.rotate", &row)).await?;
        tx.commit().await.map_err(refusals::store)?;
        Ok(MadeWebhook { webhook: view(row, now), secret: ShownOnce(secret) })
    }

    pub async fn delete_webhook(&self, actor: &Actor, project: &str, id: &str) -> Refused<()> {
        let (mut tx, found) = self.write_in_project(actor, project, Operation::WebhookDelete, &[]).await?;
        let row = find(&mut tx, &found.project.id, id).await?;
        if !store::delete(&mut tx, &found.project.id, &row.id).await.map_err(refusals::store)? {
            return Err(refusals::store(StoreError::Moved));
        }
        let mark = Thing::new(AppliedKind::Webhook, row.id.as_str());
        forget(&mut tx, &found.project.id, &mark).await.map_err(refusals::store)?;
        self.record(&mut tx, actor, webhook_event("webhook.delete", &row)).await?;
        tx.commit().await.map_err(refusals::store)?;
        Ok(())
    }

    /// The delivery log, newest first: kept for thirty days.
    pub async fn webhook_deliveries(
        &self,
        actor: &Actor,
        project: &str,
        id: &str,
        paging: &Paging,
    ) -> Refused<Page<DeliveryRow>> {
        let mut tx = self.parts.store.begin_read().await.map_err(refusals::store)?;
        let found = access::member(&mut tx, actor, project, Operation::WebhooksList).await?;
        let row = find(&mut tx, &found.project.id, id).await?;
        deliveries::of_webhook(&mut tx, &row.id, paging).await.map_err(refusals::store)
    }

    /// Puts a delivery that has ended into the queue once more, with the same id and a fresh schedule.
    pub async fn redeliver(
        &self,
        actor: &Actor,
        project: &str,
        id: &str,
        delivery: &str,
    ) -> Refused<DeliveryRow> {
        let gone = || refusals::not_found("The webhook has no such delivery.");
        let (mut tx, found) = self.write_in_project(actor, project, Operation::WebhookChange, &[]).await?;
        let row = find(&mut tx, &found.project.id, id).await?;
        if row.disabled {
            return Err(Problem::new(
                Code::WebhookDisabled,
                "The webhook is disabled, so nothing is sent to it.",
            )
            .hint("Enable it first: PATCH with {\"disabled\": false}.")
            .into());
        }
        let delivery: DeliveryId = delivery.parse().map_err(|_| gone())?;
        if deliveries::waiting(&mut tx, &row.id).await.map_err(refusals::store)? >= MOST_WAITING {
            return Err(Problem::new(Code::TooManyRequests, "Many deliveries of this webhook wait already.")
                .hint("They are sent a few at a time. Send this one again when they are through.")
                .retry_after(60)
                .into());
        }
        let now = self.now();
        let again = deliveries::again(&mut tx, &row.id, &delivery, now).await.map_err(refusals::store)?;
        let after = deliveries::one_of_webhook(&mut tx, &row.id, &delivery).await.map_err(refusals::store)?;
        let after = after.ok_or_else(gone)?;
        if !again {
            return Err(Problem::new(Code::DeliveryPending, "This delivery is still under way.")
                .hint("It is tried again by itself; `next_try_at` says when.")
                .into());
        }
        let event = webhook_event("webhook.redeliver", &row).detail("delivery", delivery.as_str());
        self.record(&mut tx, actor, event).await?;
        tx.commit().await.map_err(refusals::store)?;
        Ok(after)
    }
}

/// The trail names the host alone: what follows may be a secret of the receiver.
fn webhook_event(action: &'static str, row: &WebhookRow) -> Event {
    Event::new(action)
        .project(&row.project_id)
        .target(row.id.as_str())
        .detail("host", webhook::host(&row.url))
        .detail("events", row.events.clone())
}
