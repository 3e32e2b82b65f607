//! What people and programs are told: by mail to the owner, by webhook to the projects that use a credential.
//!
//! 1. **Written** ([`Broker::tell`]) in the transaction of the change that it tells of, so that neither is there
//!    without the other. `sameness` says what makes two of them the same event; the second is not told.
//! 2. **Addressed** (`address`): one delivery for each mailbox and endpoint, made once.
//! 3. **Delivered** (`deliver`): tried until it gets through or the schedule ends, by whichever server has the
//!    lease. A webhook may come twice (with the same id), a mail does not.
//!
//! What is told names things and never holds a value of a credential.

pub mod account;
mod address;
mod deliver;
pub mod mail;
pub mod webhook;

use latchstring_model::id::NoticeId;
use latchstring_model::problem::Refused;
use latchstring_model::{Entropy, Timestamp};
use latchstring_store::credentials::{self, CredentialRow};
use latchstring_store::notices::{self, NoticeRow};
use latchstring_store::tokens::{self, TokenKey};
use latchstring_store::{StoreError, WriteTx};
use serde_json::{Map, Value, json};

use crate::jobs::supervisor::Again;
use crate::{Broker, refusals};

pub(crate) use deliver::Turns;

pub const NEEDS_RECONNECT: &str = "credential.needs_reconnect";
pub const GRANT_EXPIRING: &str = "credential.grant_expiring";
pub const FAILING: &str = "credential.failing";
/// Told by mail alone: to whom should it be posted.
pub const WEBHOOK_DISABLED: &str = "webhook.disabled";

/// What a webhook can be told of.
pub const EVENTS: &[&str] = &[NEEDS_RECONNECT, GRANT_EXPIRING, FAILING];

/// Days before the end of a grant at which it is told.
pub const WARNED: [i64; 2] = [14, 3];
const DAY: i64 = 86_400_000;

/// Several tokens of the same values (of several people, say) that die together are told of once; in milliseconds.
const QUIET: i64 = 3_600_000;

/// Grants that one statement looks at.
const GRANTS: i64 = 200;

/// One thing to tell.
pub(crate) struct Telling<'a> {
    pub event: &'static str,
    pub sameness: String,
    pub credential: &'a CredentialRow,
    /// The credential's.
    pub environment: &'a str,
    /// What it adds to the credential's name; never a value.
    pub more: Map<String, Value>,
}

/// Writes a notice in the transaction of what it tells of.
pub(crate) async fn tell(
    tx: &mut WriteTx,
    now: Timestamp,
    entropy: &dyn Entropy,
    telling: Telling<'_>,
) -> Result<(), StoreError> {
    let row = telling.credential;
    let mut data = Map::new();
    data.insert(
        "credential".into(),
        json!({
            "id": row.id, "name": row.name, "connector": row.connector, "auth_method": row.auth_method,
            "owner_type": row.owner.kind(),
        }),
    );
    data.insert("environment".into(), telling.environment.into());
    data.extend(telling.more);
    let notice = NoticeRow {
        id: NoticeId::new(now, entropy),
        event: telling.event.to_owned(),
        sameness: telling.sameness,
        credential_id: Some(row.id.clone()),
        environment: Some(telling.environment.to_owned()),
        project_id: None,
        data: Value::Object(data),
        at: now,
    };
    notices::add(tx, &notice).await.map(|_| ())
}

fn more(pairs: impl IntoIterator<Item = (&'static str, Value)>) -> Map<String, Value> {
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

impl Broker {
    /// A token's grant has died, in the transaction that marks it. `reason` is masked.
    pub(crate) async fn tell_needs_reconnect(
        &self,
        tx: &mut WriteTx,
        key: &TokenKey,
        version: i64,
        reason: &str,
    ) -> Result<(), StoreError> {
        let Some(row) = credentials::for_upkeep(tx, &key.credential_id).await? else { return Ok(()) };
        let now = self.now();
        let own = format!("{NEEDS_RECONNECT}/{}/", key.id);
        let since = now.plus_millis(-QUIET);
        let others = notices::told_since(tx, &row.id, &key.environment, NEEDS_RECONNECT, since, &own).await?;
        if others > 0 || row.disabled || row.deletes_at.is_some() {
            return Ok(());
        }
        let telling = Telling {
            event: NEEDS_RECONNECT,
            sameness: format!("{own}{version}"),
            credential: &row,
            environment: &key.environment,
            more: more([("status", "needs_reconnect".into()), ("reason", reason.into())]),
        };
        tell(tx, now, &*self.parts.entropy, telling).await
    }

    /// A check found for the second time that the API refuses the credential, in the transaction that says so.
    pub(crate) async fn tell_failing(
        &self,
        tx: &mut WriteTx,
        row: &CredentialRow,
        environment: &str,
        version: i64,
        reason: &str,
    ) -> Result<(), StoreError> {
        let now = self.now();
        let telling = Telling {
            event: FAILING,
            // A check that succeeds in between makes it another event.
            sameness: format!("{FAILING}/{}/{environment}/{version}/{}", row.id, now.millis()),
            credential: row,
            environment,
            more: more([("status", "failing".into()), ("reason", reason.into())]),
        };
        tell(tx, now, &*self.parts.entropy, telling).await
    }

    /// Grants that end soon, told 14 and 3 days ahead. What was told already is not told again.
    pub async fn tell_of_ending_grants(&self) -> Refused<Again> {
        let now = self.now();
        let [first, last] = WARNED;
        let mut after = String::new();
        loop {
            let mut reader = self.parts.store.read().await.map_err(refusals::store)?;
            let to = now.plus_millis(first * DAY);
            let rows =
                tokens::grants_ending(&mut reader, now, to, &after, GRANTS).await.map_err(refusals::store)?;
            drop(reader);
            let full = i64::try_from(rows.len()).is_ok_and(|count| count >= GRANTS);
            for row in rows {
                after.clone_from(&row.key.id);
                let Some(ends_at) = row.grant_expires_at else { continue };
                let days = if ends_at <= now.plus_millis(last * DAY) { last } else { first };
                self.tell_of_ending_grant(&row.key, ends_at, days, now).await.map_err(refusals::store)?;
            }
            if !full {
                return Ok(Again::Later);
            }
        }
    }

    async fn tell_of_ending_grant(
        &self,
        key: &TokenKey,
        ends_at: Timestamp,
        days: i64,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let mut tx = self.parts.store.begin_upkeep().await?;
        let Some(row) = credentials::for_upkeep(&mut tx, &key.credential_id).await? else { return Ok(()) };
        let telling = Telling {
            event: GRANT_EXPIRING,
            sameness: format!("{GRANT_EXPIRING}/{}/{}/{days}", key.id, ends_at.millis()),
            credential: &row,
            environment: &key.environment,
            more: more([("grant_expires_at", ends_at.to_rfc3339().into()), ("days_ahead", days.into())]),
        };
        tell(&mut tx, now, &*self.parts.entropy, telling).await?;
        tx.commit().await.map(|_| ())
    }
}
