//! Notices on their way: one row for each mailbox or endpoint.
//!
//! | state | |
//! | --- | --- |
//! | `waiting` | in the queue until `next_at` |
//! | `handing_over` | a mail's last byte is about to be sent: from here on a crash leaves it unknown whether it arrived |
//! | `done` `failed` | ended |
//! | `unknown` | ended: the server that was handing it over died; a mail is not sent twice |
//!
//! Who works on one holds its lease, by the database's clock. `next_at` is the caller's clock.

use latchstring_model::Timestamp;
use latchstring_model::id::{DeliveryId, NoticeId, WebhookId};
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::notices::NoticeRow;
use crate::page::{Page, Paging};
use crate::sql::{Columns, json, statements};
use crate::tx::{Tx, WriteTx};

/// Tries that are kept of one delivery.
const KEPT_TRIES: usize = 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Channel {
    Mail,
    Webhook,
}

impl Channel {
    pub const fn as_str(self) -> &'static str {
        match self {
            Channel::Mail => "mail",
            Channel::Webhook => "webhook",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Channel::Mail, Channel::Webhook].into_iter().find(|channel| channel.as_str() == text)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    Waiting,
    HandingOver,
    Done,
    Failed,
    Unknown,
}

impl State {
    const ALL: [State; 5] = [State::Waiting, State::HandingOver, State::Done, State::Failed, State::Unknown];

    pub const fn as_str(self) -> &'static str {
        match self {
            State::Waiting => "waiting",
            State::HandingOver => "handing_over",
            State::Done => "done",
            State::Failed => "failed",
            State::Unknown => "unknown",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        State::ALL.into_iter().find(|state| state.as_str() == text)
    }
}

/// How one try went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Try {
    pub at: Timestamp,
    /// Of HTTP or SMTP, when there was an answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    pub duration_ms: i64,
}

#[derive(Clone, Debug, PartialEq)]
pub struct DeliveryRow {
    pub id: DeliveryId,
    pub channel: Channel,
    /// A person's or a webhook's id.
    pub target: String,
    pub state: State,
    pub attempts: i64,
    pub next_at: Timestamp,
    pub tries: Vec<Try>,
    pub created_at: Timestamp,
    pub ended_at: Option<Timestamp>,
    pub notice: NoticeRow,
}

/// What becomes of it after a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    Again(Timestamp),
    End(State),
}

macro_rules! columns {
    () => {
        "d.id, d.channel, d.target, d.state, d.attempts, d.next_at, d.tries, d.created_at, d.ended_at,
         n.id, n.event, n.sameness, n.credential_id, n.environment, n.project_id, n.data, n.at, n.recipients"
    };
}

statements! {
    ADD = "INSERT INTO deliveries (id, notice_id, channel, target, state, attempts, next_at, lease_until, tries, created_at)
        VALUES ($1, $2, $3, $4, 'waiting', 0, $5, 0, '[]', $5) ON CONFLICT (notice_id, channel, target) DO NOTHING";
    DUE = concat!("SELECT ", columns!(), ", q.whose FROM (
            SELECT d.id AS id, COALESCE(w.project_id, d.target) AS whose, ROW_NUMBER() OVER (
                PARTITION BY COALESCE(w.project_id, d.target) ORDER BY d.next_at, d.id) AS place
            FROM deliveries d LEFT JOIN webhooks w ON w.id = d.target
            WHERE d.channel = $1 AND d.state = 'waiting' AND d.next_at <= $2 AND d.lease_until <= $3) q
        JOIN deliveries d ON d.id = q.id JOIN notices n ON n.id = d.notice_id
        WHERE q.place <= $4 ORDER BY d.next_at, d.id LIMIT $5");
    WAITING = "SELECT COUNT(*) FROM deliveries WHERE target = $1 AND state = 'waiting'";
    CLAIM = "UPDATE deliveries SET lease_until = $1, attempts = attempts + 1
        WHERE id = $2 AND state = 'waiting' AND attempts = $3 AND lease_until <= $4";
    HAND_OVER = "UPDATE deliveries SET state = 'handing_over', lease_until = $1
        WHERE id = $2 AND state = 'waiting' AND attempts = $3 AND lease_until > $4";
    AFTER = "UPDATE deliveries SET state = $1, next_at = $2, ended_at = $3, tries = $4, lease_until = 0
        WHERE id = $5 AND attempts = $6 AND state IN ('waiting', 'handing_over')";
    LOST = "UPDATE deliveries SET state = 'unknown', ended_at = $1 WHERE state = 'handing_over' AND lease_until <= $2";
    OF_TARGET = concat!("SELECT ", columns!(), " FROM deliveries d JOIN notices n ON n.id = d.notice_id
        WHERE d.target = $1 AND (d.id < $2 OR $2 = '') ORDER BY d.id DESC LIMIT $3");
    ONE_OF_TARGET = concat!("SELECT ", columns!(), " FROM deliveries d JOIN notices n ON n.id = d.notice_id
        WHERE d.target = $1 AND d.id = $2");
    AGAIN = "UPDATE deliveries SET state = 'waiting', attempts = 0, next_at = $1, ended_at = NULL
        WHERE id = $2 AND target = $3 AND channel = 'webhook' AND state IN ('done', 'failed', 'unknown')";
    STOP_TARGET = "UPDATE deliveries SET state = 'failed', ended_at = $1 WHERE target = $2 AND state = 'waiting'";
    DELETE_OF_TARGET = "DELETE FROM deliveries WHERE target = $1";
    PURGE = "DELETE FROM deliveries WHERE ended_at < $1";
}

fn read(row: &mut Columns<'_>) -> Result<DeliveryRow> {
    Ok(DeliveryRow {
        id: row.id()?,
        channel: row.word(Channel::parse)?,
        target: row.text()?,
        state: row.word(State::parse)?,
        attempts: row.int()?,
        next_at: row.time()?,
        tries: row.json()?,
        created_at: row.time()?,
        ended_at: row.time_or()?,
        notice: crate::notices::read(row)?,
    })
}

/// Puts one into the queue; nobody is told the same event twice.
pub async fn add(
    tx: &mut WriteTx,
    id: &DeliveryId,
    notice: &NoticeId,
    channel: Channel,
    target: &str,
    now: Timestamp,
) -> Result<()> {
    ADD.on(tx).bind(id).bind(notice).bind(channel.as_str()).bind(target).bind(now).run().await?;
    Ok(())
}

/// What should be sent by now and nobody is at.
#[derive(Clone, Debug)]
pub struct Due {
    pub row: DeliveryRow,
    /// The project's id, or the person's.
    pub whose: String,
}

/// At most `limit`, and at most `each` of one project or person: who has many waiting does not hide the others.
pub async fn due(
    tx: &mut impl Tx,
    channel: Channel,
    now: Timestamp,
    db_now: Timestamp,
    each: i64,
    limit: i64,
) -> Result<Vec<Due>> {
    let run = DUE.on(tx).bind(channel.as_str()).bind(now).bind(db_now).bind(each).bind(limit);
    run.all(|row| Ok(Due { row: read(row)?, whose: row.text()? })).await
}

/// How many of a webhook's are in the queue.
pub async fn waiting(tx: &mut impl Tx, webhook: &WebhookId) -> Result<i64> {
    WAITING.on(tx).bind(webhook).one(|row| row.int()).await
}

/// Takes it for `lease_ms` and counts the attempt; `false` when another server was quicker.
pub async fn claim(tx: &mut WriteTx, row: &DeliveryRow, lease_ms: i64) -> Result<bool> {
    let now = tx.db_now();
    let claimed =
        CLAIM.on(tx).bind(now.plus_millis(lease_ms)).bind(&row.id).bind(row.attempts).bind(now).run().await?;
    Ok(claimed == 1)
}

/// `attempt` is the one that was claimed; from now on it may take `lease_ms`. `false`: it is not ours any more,
/// and must not be sent.
pub async fn hand_over(tx: &mut WriteTx, id: &DeliveryId, attempt: i64, lease_ms: i64) -> Result<bool> {
    let now = tx.db_now();
    let run = HAND_OVER.on(tx).bind(now.plus_millis(lease_ms)).bind(id).bind(attempt).bind(now);
    Ok(run.run().await? == 1)
}

/// Writes down how the attempt went.
pub async fn after(tx: &mut WriteTx, row: &DeliveryRow, attempt: i64, how: Try, next: Next) -> Result<bool> {
    let mut tries = row.tries.clone();
    let at = how.at;
    tries.push(how);
    let surplus = tries.len().saturating_sub(KEPT_TRIES);
    tries.drain(..surplus);
    let (state, next_at, ended_at) = match next {
        Next::Again(next_at) => (State::Waiting, next_at, None),
        Next::End(state) => (state, at, Some(at)),
    };
    let run = AFTER.on(tx).bind(state.as_str()).bind(next_at).bind(ended_at).bind(json(&tries)?);
    Ok(run.bind(&row.id).bind(attempt).run().await? == 1)
}

/// Those whose server died while it handed them over.
pub async fn lost(tx: &mut WriteTx, now: Timestamp) -> Result<u64> {
    let db_now = tx.db_now();
    LOST.on(tx).bind(now).bind(db_now).run().await
}

/// A webhook's, newest first.
pub async fn of_webhook(tx: &mut impl Tx, webhook: &WebhookId, paging: &Paging) -> Result<Page<DeliveryRow>> {
    let rows = OF_TARGET.on(tx).bind(webhook).bind(paging.after()).bind(paging.fetch()).all(read).await?;
    paging.page(rows, |row| row.id.to_string())
}

pub async fn one_of_webhook(
    tx: &mut impl Tx,
    webhook: &WebhookId,
    id: &DeliveryId,
) -> Result<Option<DeliveryRow>> {
    ONE_OF_TARGET.on(tx).bind(webhook).bind(id).optional(read).await
}

/// Puts one that has ended into the queue once more; `false` when it is still under way.
pub async fn again(tx: &mut WriteTx, webhook: &WebhookId, id: &DeliveryId, now: Timestamp) -> Result<bool> {
    Ok(AGAIN.on(tx).bind(now).bind(id).bind(webhook).run().await? == 1)
}

/// Takes all that wait for an endpoint out of the queue.
pub async fn stop(tx: &mut WriteTx, webhook: &WebhookId, now: Timestamp) -> Result<u64> {
    STOP_TARGET.on(tx).bind(now).bind(webhook).run().await
}

pub async fn delete_of_webhook(tx: &mut WriteTx, webhook: &WebhookId) -> Result<()> {
    DELETE_OF_TARGET.on(tx).bind(webhook).run().await?;
    Ok(())
}

pub async fn purge(tx: &mut WriteTx, before: Timestamp) -> Result<u64> {
    PURGE.on(tx).bind(before).run().await
}
