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
mod endings;
mod inbox;
pub mod mail;
pub mod webhook;

use latchstring_model::entity::Status;
use latchstring_model::id::{CredentialId, NoticeId, UserId};
use latchstring_model::problem::Refused;
use latchstring_model::{Entropy, Timestamp};
use latchstring_store::credentials::{self, CredentialRow};
use latchstring_store::notices::{self, NoticeRow};
use latchstring_store::oauth_clients::OAuthClientRow;
use latchstring_store::tokens::{self, TokenKey};
use latchstring_store::{StoreError, WriteTx, values};
use serde_json::{Map, Value, json};

use crate::jobs::supervisor::Again;
use crate::{Broker, refusals};

pub(crate) use deliver::Turns;
pub use inbox::Told;

pub const NEEDS_RECONNECT: &str = "credential.needs_reconnect";
pub const GRANT_EXPIRING: &str = "credential.grant_expiring";
pub const FAILING: &str = "credential.failing";
/// A credential's `expires_on`, or the end of a certificate in its values, is near.
pub const EXPIRING: &str = "credential.expiring";
pub const TRANSFER_OFFERED: &str = "credential.transfer_offered";
pub const TRANSFER_CANCELLED: &str = "credential.transfer_cancelled";
/// The recipient has accepted.
pub const TRANSFERRED: &str = "credential.transferred";
/// A superuser gave what an owner left behind to somebody else.
pub const GIVEN: &str = "credential.given";
/// An end user has connected an account.
pub const CONNECTED: &str = "credential.connected";
/// Told by mail alone: to whom should it be posted.
pub const WEBHOOK_DISABLED: &str = "webhook.disabled";

/// What a webhook can be told of.
pub const EVENTS: &[&str] = &[NEEDS_RECONNECT, GRANT_EXPIRING, FAILING, EXPIRING, CONNECTED];

/// Days before the end of a grant at which it is told.
pub const WARNED: [i64; 2] = [14, 3];
pub(super) const DAY: i64 = 86_400_000;

/// Several tokens of the same values (of several people, say) that die together are told of once; in milliseconds.
const QUIET: i64 = 3_600_000;

/// Grants that one statement looks at.
const GRANTS: i64 = 200;

/// One thing to tell.
pub(crate) struct Telling<'a> {
    pub event: &'static str,
    pub sameness: String,
    pub credential: &'a CredentialRow,
    /// The credential's; `None`: all of them.
    pub environment: Option<&'a str>,
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
    data.insert("credential".into(), named(row));
    if let Some(environment) = telling.environment {
        data.insert("environment".into(), environment.into());
    }
    data.extend(telling.more);
    let notice = NoticeRow {
        id: NoticeId::new(now, entropy),
        event: telling.event.to_owned(),
        sameness: telling.sameness,
        credential_id: Some(row.id.clone()),
        environment: telling.environment.map(str::to_owned),
        project_id: None,
        data: Value::Object(data),
        at: now,
        recipients: None,
    };
    notices::add(tx, &notice).await.map(|_| ())
}

/// Something about a credential for certain people, whoever owns it by the time that it is told.
pub(crate) struct ToPeople<'a> {
    pub event: &'static str,
    pub sameness: String,
    pub credential: &'a CredentialRow,
    pub people: Vec<UserId>,
    pub more: Map<String, Value>,
}

/// Writes a notice for people in the transaction of what it tells of.
pub(crate) async fn tell_people(
    tx: &mut WriteTx,
    now: Timestamp,
    entropy: &dyn Entropy,
    telling: ToPeople<'_>,
) -> Result<(), StoreError> {
    let row = telling.credential;
    let mut data = Map::new();
    data.insert("credential".into(), named(row));
    data.extend(telling.more);
    let notice = NoticeRow {
        id: NoticeId::new(now, entropy),
        event: telling.event.to_owned(),
        sameness: telling.sameness,
        credential_id: Some(row.id.clone()),
        environment: None,
        project_id: None,
        data: Value::Object(data),
        at: now,
        recipients: Some(telling.people),
    };
    notices::add(tx, &notice).await.map(|_| ())
}

/// What a notice says of the credential that it is about.
fn named(row: &CredentialRow) -> Value {
    json!({
        "id": row.id, "name": row.name, "connector": row.connector, "auth_method": row.auth_method,
        "owner_type": row.owner.kind(),
    })
}

pub(crate) fn more(pairs: impl IntoIterator<Item = (&'static str, Value)>) -> Map<String, Value> {
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
            environment: Some(&key.environment),
            more: more([("status", "needs_reconnect".into()), ("reason", reason.into())]),
        };
        tell(tx, now, &*self.parts.entropy, telling).await
    }

    /// A superuser has changed an OAuth client so that what was connected through it is over: told to each owner, in the
    /// transaction of the change and before it marks them. `reason` is what the credential says then.
    pub(crate) async fn tell_client_changed(
        &self,
        tx: &mut WriteTx,
        client: &OAuthClientRow,
        credential: &CredentialId,
        reason: &str,
    ) -> Result<(), StoreError> {
        let Some(row) = credentials::for_upkeep(tx, credential).await? else { return Ok(()) };
        if row.disabled || row.deletes_at.is_some() {
            return Ok(());
        }
        let now = self.now();
        for values in values::list(tx, &row).await? {
            // What was not connected has lost nothing.
            if matches!(values.standing.status, Status::NeedsAuthorization | Status::NeedsReconnect) {
                continue;
            }
            let telling = Telling {
                event: NEEDS_RECONNECT,
                sameness: format!(
                    "{NEEDS_RECONNECT}/{}/{}/{}/{}",
                    row.id, values.environment, client.id, client.version
                ),
                credential: &row,
                environment: Some(&values.environment),
                more: more([("status", "needs_reconnect".into()), ("reason", reason.into())]),
            };
            tell(tx, now, &*self.parts.entropy, telling).await?;
        }
        Ok(())
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
            environment: Some(environment),
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
            environment: Some(&key.environment),
            more: more([("grant_expires_at", ends_at.to_rfc3339().into()), ("days_ahead", days.into())]),
        };
        tell(&mut tx, now, &*self.parts.entropy, telling).await?;
        tx.commit().await.map(|_| ())
    }
}
