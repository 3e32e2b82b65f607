//! The queue: what is due is taken under a lease and tried; what did not get through waits longer each time.

use std::sync::Arc;
use std::time::Duration;

use latchstring_model::Timestamp;
use latchstring_model::id::{NoticeId, UserId, WebhookId};
use latchstring_model::problem::Refused;
use latchstring_store::deliveries::{self, Channel, DeliveryRow, Due, Next, State, Try};
use latchstring_store::notices::{self, NoticeRow};
use latchstring_store::{StoreError, inbox, scopes, users, webhooks};
use serde_json::json;
use tokio::task::JoinHandle;

use super::mail::smtp::MailError;
use super::webhook::HookError;
use super::{WEBHOOK_DISABLED, account, mail};
use crate::jobs::places::{Full, Places};
use crate::{Broker, refusals};

/// Deliveries that are under way at the same time: no endpoint keeps a mail waiting.
const WEBHOOKS_AT_ONCE: usize = 8;
const MAILS_AT_ONCE: usize = 4;
/// Of one project's webhooks, or to one person: an endpoint that does not answer holds its place for 15 s.
const EACH_AT_ONCE: usize = 2;
/// How long one may take until a mail is handed over; a server that dies holds it for so long.
const LEASE_MS: i64 = 60_000;
/// How long handing it over may take.
const HAND_OVER_MS: i64 = 240_000;

/// Pauses between the tries of a webhook, in seconds: together a little more than a day.
pub(super) const WEBHOOK_PAUSES: &[i64] = &[5, 30, 120, 600, 1_800, 3_600, 7_200, 14_400, 21_600, 36_000];
/// The same of a mail: two days.
const MAIL_PAUSES: &[i64] = &[10, 60, 300, 900, 3_600, 10_800, 21_600, 43_200, 86_400];

/// An endpoint to which nothing got through for so long is disabled: five days, in milliseconds.
pub(super) const GIVEN_UP: i64 = 5 * 86_400_000;

/// Notices and deliveries are kept for so long: thirty days, in milliseconds.
const KEPT: i64 = 30 * 86_400_000;

/// Characters of an error that are kept.
const SHOWN: usize = 300;

/// What the delivery log says when the database failed us: the rest is for whoever runs this server.
pub(super) fn trouble_here(error: &StoreError) -> String {
    tracing::warn!(error = %error, "a notice could not be delivered because of the database");
    "temporary trouble on this server; nothing was sent".to_owned()
}

/// What goes on from turn to turn.
pub(crate) struct Turns {
    mails: Places,
    webhooks: Places,
}

impl Default for Turns {
    fn default() -> Self {
        Self {
            mails: Places::new(MAILS_AT_ONCE, EACH_AT_ONCE),
            webhooks: Places::new(WEBHOOKS_AT_ONCE, EACH_AT_ONCE),
        }
    }
}

/// How one try ended.
struct Ended {
    status: Option<u16>,
    error: Option<String>,
    next: Wish,
}

enum Wish {
    Done,
    /// Not before so many seconds, if the other side said so.
    Later(Option<i64>),
    Never,
    /// It may have arrived, and must not come twice.
    Unknown,
}

impl Broker {
    /// One turn: addresses what was written and begins what is due, as far as there are places. It does not wait
    /// for what it begins; the handles are for whoever wants to.
    pub async fn deliver_notices(self: &Arc<Self>) -> Refused<Vec<JoinHandle<()>>> {
        let now = self.now();
        self.address_notices(now).await.map_err(refusals::store)?;
        let mut begun = Vec::new();
        let turns = &self.deliveries;
        for (channel, places) in [(Channel::Mail, &turns.mails), (Channel::Webhook, &turns.webhooks)] {
            begun.extend(self.deliver_by(channel, places, now).await?);
        }
        Ok(begun)
    }

    async fn deliver_by(
        self: &Arc<Self>,
        channel: Channel,
        places: &Places,
        now: Timestamp,
    ) -> Refused<Vec<JoinHandle<()>>> {
        let mut begun = Vec::new();
        if places.are_full() {
            return Ok(begun);
        }
        let mut reader = self.parts.store.read().await.map_err(refusals::store)?;
        let db_now = scopes::db_now(&mut reader).await.map_err(refusals::store)?;
        let (each, most) = (EACH_AT_ONCE as i64, 2 * WEBHOOKS_AT_ONCE as i64);
        let due = deliveries::due(&mut reader, channel, now, db_now, each, most).await;
        let due = due.map_err(refusals::store)?;
        drop(reader);
        for Due { row, whose } in due {
            let place = match places.take(&whose) {
                Ok(place) => place,
                Err(Full::Theirs) => continue,
                Err(Full::All) => break,
            };
            let mut tx = self.parts.store.begin_upkeep().await.map_err(refusals::store)?;
            if !deliveries::claim(&mut tx, &row, LEASE_MS).await.map_err(refusals::store)? {
                continue;
            }
            tx.commit().await.map_err(refusals::store)?;
            let broker = Arc::clone(self);
            begun.push(tokio::spawn(async move {
                broker.try_delivery(&row, row.attempts + 1).await;
                drop(place);
            }));
        }
        Ok(begun)
    }

    async fn try_delivery(&self, row: &DeliveryRow, attempt: i64) {
        let began = self.now();
        let ended = match row.channel {
            Channel::Mail => self.try_mail(row, attempt).await,
            Channel::Webhook => self.try_webhook(row).await,
        };
        let now = self.now();
        let next = match ended.next {
            Wish::Done => Next::End(State::Done),
            Wish::Never => Next::End(State::Failed),
            Wish::Unknown => Next::End(State::Unknown),
            Wish::Later(at_least) => match self.pause(row.channel, attempt, at_least) {
                Some(ms) => Next::Again(now.plus_millis(ms)),
                None => Next::End(State::Failed),
            },
        };
        let error = ended.error.map(|text| text.chars().take(SHOWN).collect::<String>());
        if let Some(error) = &error {
            tracing::info!(delivery = %row.id, event = row.notice.event, attempt, error, "a notice did not get through");
        }
        let how = Try {
            at: began,
            status: ended.status,
            error,
            duration_ms: now.millis().saturating_sub(began.millis()),
        };
        // A database that is away for a moment must not have a mail sent twice.
        for pause in [0, 1, 5, 20] {
            tokio::time::sleep(Duration::from_secs(pause)).await;
            match self.write_delivery(row, attempt, how.clone(), next, now).await {
                Ok(()) => return,
                Err(error) => {
                    tracing::warn!(delivery = %row.id, error = %error, "how a delivery went could not be written");
                }
            }
        }
    }

    async fn write_delivery(
        &self,
        row: &DeliveryRow,
        attempt: i64,
        how: Try,
        next: Next,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let mut tx = self.parts.store.begin_upkeep().await?;
        deliveries::after(&mut tx, row, attempt, how, next).await?;
        if row.channel == Channel::Webhook
            && let Ok(id) = row.target.parse::<WebhookId>()
        {
            match next {
                Next::End(State::Done) => webhooks::succeeded(&mut tx, &id).await?,
                Next::Again(_) | Next::End(_) => {
                    webhooks::failed(&mut tx, &id, now).await?;
                    self.give_up(&mut tx, &id, now).await?;
                }
            }
        }
        tx.commit().await.map(|_| ())
    }

    /// Disables an endpoint to which nothing gets through, and tells the project's admins.
    async fn give_up(
        &self,
        tx: &mut latchstring_store::WriteTx,
        id: &WebhookId,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let Some(webhook) = webhooks::for_upkeep(tx, id).await? else { return Ok(()) };
        let Some(since) = webhook.failing_since.filter(|at| now.millis() - at.millis() >= GIVEN_UP) else {
            return Ok(());
        };
        self.disable_webhook(tx, &webhook, "nothing got through for five days", since, now).await
    }

    pub(super) async fn disable_webhook(
        &self,
        tx: &mut latchstring_store::WriteTx,
        webhook: &webhooks::WebhookRow,
        why: &str,
        since: Timestamp,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        if !webhooks::disable(tx, &webhook.id, why, now).await? {
            return Ok(());
        }
        deliveries::stop(tx, &webhook.id, now).await?;
        let notice = NoticeRow {
            id: NoticeId::new(now, &*self.parts.entropy),
            event: WEBHOOK_DISABLED.into(),
            sameness: format!("{WEBHOOK_DISABLED}/{}/{}", webhook.id, webhook.version),
            credential_id: None,
            environment: None,
            project_id: Some(webhook.project_id.clone()),
            data: json!({
                "webhook": {"id": webhook.id, "host": super::webhook::host(&webhook.url), "description": webhook.description},
                "reason": why,
                "failing_since": since.to_rfc3339(),
            }),
            at: now,
            recipients: None,
        };
        notices::add(tx, &notice).await.map(|_| ())
    }

    /// Milliseconds until the next try, with up to a fifth more, so that what failed together does not come
    /// together; `None` when the schedule has ended.
    fn pause(&self, channel: Channel, attempt: i64, at_least: Option<i64>) -> Option<i64> {
        let pauses = match channel {
            Channel::Mail => MAIL_PAUSES,
            Channel::Webhook => WEBHOOK_PAUSES,
        };
        let index = usize::try_from(attempt - 1).ok()?;
        let secs = pauses.get(index).copied()?.max(at_least.unwrap_or(0).min(86_400));
        let mut byte = [0];
        self.parts.entropy.fill(&mut byte);
        Some(secs * 1000 + secs * 200 * i64::from(byte[0]) / 255)
    }

    async fn try_mail(&self, row: &DeliveryRow, attempt: i64) -> Ended {
        let failed = |error: String, next| Ended { status: None, error: Some(error), next };
        let Some(settings) = &self.settings.mail else {
            return failed("mail is not set up on this server".into(), Wish::Later(None));
        };
        let Ok(user) = row.target.parse::<UserId>() else {
            return failed("the recipient is no person".into(), Wish::Never);
        };
        let recipient = async {
            let mut reader = self.parts.store.read().await?;
            users::by_id(&mut reader, &user).await
        };
        let to = match recipient.await {
            Ok(Some(found)) if found.fields.active => found.fields.email,
            Ok(_) => return failed("the recipient has no active account".into(), Wish::Never),
            Err(error) => return failed(trouble_here(&error), Wish::Later(None)),
        };
        let words = match row.notice.event.as_str() {
            account::RESET_ASKED => match Box::pin(self.reset_link(&user)).await {
                Ok(Some(link)) => account::words(&row.notice, &self.settings.public_url, Some(&link)),
                Ok(None) => {
                    return failed("the link has run out, or a newer one was asked for".into(), Wish::Never);
                }
                Err(error) => return failed(error, Wish::Later(None)),
            },
            _ => mail::words::of(&row.notice, &self.settings.public_url),
        };
        let id = format!("{}@{}", row.id, settings.hello_host());
        let message = mail::message::Message { to: &to, words: &words, id: &id, at: row.notice.at };
        let hand_over = async {
            let mut tx = self.parts.store.begin_upkeep().await.ok()?;
            let ours = deliveries::hand_over(&mut tx, &row.id, attempt, HAND_OVER_MS).await.ok()?;
            tx.commit().await.ok()?;
            ours.then_some(())
        };
        match mail::smtp::send(&self.parts.egress, settings, &message, hand_over).await {
            Ok(status) => {
                if row.notice.event == account::RESET_ASKED {
                    self.forget_reset_token(&user).await;
                }
                Ended { status: Some(status), error: None, next: Wish::Done }
            }
            Err(error) => Ended {
                status: error.status(),
                next: match error {
                    MailError::Refused { permanent: true, .. } | MailError::Address(_) => Wish::Never,
                    MailError::Unknown(_) => Wish::Unknown,
                    _ => Wish::Later(None),
                },
                error: Some(error.to_string()),
            },
        }
    }

    async fn try_webhook(&self, row: &DeliveryRow) -> Ended {
        match self.post_webhook(row).await {
            Ok(status) => Ended { status: Some(status), error: None, next: Wish::Done },
            Err(HookError::Gone(why)) => Ended { status: None, error: Some(why), next: Wish::Never },
            Err(HookError::Answered { status, retry_after_secs, why }) => {
                Ended { status: Some(status), error: Some(why), next: Wish::Later(retry_after_secs) }
            }
            Err(HookError::NoAnswer(why)) => {
                Ended { status: None, error: Some(why), next: Wish::Later(None) }
            }
        }
    }

    /// Ends what a dead server was handing over, and forgets what is old.
    pub async fn tidy_notices(&self) -> Refused<()> {
        let now = self.now();
        let mut tx = self.parts.store.begin_upkeep().await.map_err(refusals::store)?;
        let lost = deliveries::lost(&mut tx, now).await.map_err(refusals::store)?;
        let before = now.plus_millis(-KEPT);
        deliveries::purge(&mut tx, before).await.map_err(refusals::store)?;
        inbox::purge(&mut tx, before).await.map_err(refusals::store)?;
        notices::purge(&mut tx, before).await.map_err(refusals::store)?;
        tx.commit().await.map_err(refusals::store)?;
        if lost > 0 {
            tracing::warn!(lost, "a server ended while it handed mails over; they are not sent again");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_webhook_is_tried_for_a_little_more_than_a_day() {
        let all: i64 = WEBHOOK_PAUSES.iter().sum();
        assert!((86_400 / 24 * 23..=86_400 * 5 / 4).contains(&all), "{all} s");
        assert!(WEBHOOK_PAUSES.is_sorted() && MAIL_PAUSES.is_sorted());
    }
}
