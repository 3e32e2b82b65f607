//! Rotating data keys: a new generation, and everything sealed anew under it.

use latchstring_model::id::{DataKeyId, ServerId};
use latchstring_model::{Clock, Entropy, Timestamp};
use latchstring_store::data_keys::{self, DataKeyRow, SealedPlace, SealedRow};
use latchstring_store::{Store, StoreError, scopes};
use latchstring_vault::{Aad, OpenError, Vault};

use super::{KeyError, load_data_keys};
use crate::Broker;
use crate::actor::Actor;
use crate::audit::events::{self, Event};
use crate::sealing::{
    audit_key_aad, oauth_client_aad, second_factor_aad, secret_aad, token_aad, values_aad, webhook_aad,
};

/// Values (of each kind) that are sealed anew in one transaction.
const BATCH: i64 = 25;

/// A generation that the next one has replaced for so long, and under which nothing is sealed, is forgotten: a
/// day, in milliseconds. By then no server can have a value in its hands that it sealed under it.
const KEPT: i64 = 86_400_000;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resealed {
    /// The data key that everything is sealed under now.
    pub key: DataKeyId,
    /// An earlier run had begun it.
    pub resumed: bool,
    /// Values that this run sealed anew.
    pub values: usize,
}

fn aad(row: &SealedRow) -> Aad {
    match &row.place {
        SealedPlace::Values { credential_id, owner, environment }
        | SealedPlace::OldValues { credential_id, owner, environment } => {
            values_aad(credential_id, owner, environment, row.version)
        }
        SealedPlace::Secret { project_id, environment_id, kind, name } => {
            secret_aad(project_id, environment_id, *kind, name, row.version)
        }
        SealedPlace::Token { id, environment, .. } => token_aad(id, environment, row.version),
        SealedPlace::OAuthClient { id } => oauth_client_aad(id, row.version),
        SealedPlace::Webhook { id, project_id } => webhook_aad(project_id, id, row.version),
        SealedPlace::AuditKey { id } => audit_key_aad(id),
        SealedPlace::SecondFactor { user_id } => second_factor_aad(user_id, row.version),
    }
}

/// Where a value lies, as an operator can look for it.
fn name(row: &SealedRow) -> String {
    let version = row.version;
    match &row.place {
        SealedPlace::Values { credential_id, environment, .. } => {
            format!("values of {credential_id} in {environment}, version {version}")
        }
        SealedPlace::OldValues { credential_id, environment, .. } => {
            format!("former values of {credential_id} in {environment}, version {version}")
        }
        SealedPlace::Secret { environment_id, kind, name, .. } => {
            format!("{} {name} of {environment_id}", kind.as_str())
        }
        SealedPlace::Token { credential_id, environment, .. } => {
            format!("a token of {credential_id} in {environment}")
        }
        SealedPlace::OAuthClient { id } => format!("the secrets of the OAuth client {id}"),
        SealedPlace::Webhook { id, .. } => format!("the secret of {id}"),
        SealedPlace::AuditKey { id } => format!("the audit key {id}"),
        SealedPlace::SecondFactor { user_id } => format!("the second factor of {user_id}"),
    }
}

/// Seals anew what is sealed under `old`, batch by batch. A value that changes meanwhile is left to who changed it.
async fn reseal_all(
    store: &Store,
    vault: &Vault,
    entropy: &dyn Entropy,
    old: &DataKeyId,
    new: &DataKeyId,
    damaged: &mut Vec<(String, OpenError)>,
) -> Result<usize, KeyError> {
    let mut count = 0;
    let mut limit = BATCH;
    loop {
        let mut reader = store.read().await?;
        let rows = data_keys::sealed_under(&mut reader, old, limit).await?;
        drop(reader);
        if rows.is_empty() {
            return Ok(count);
        }
        let mut bad = Vec::new();
        let mut batch = Vec::with_capacity(rows.len());
        for row in &rows {
            match vault.reseal(&aad(row), &row.sealed, entropy) {
                Ok(sealed) if sealed.data_key == *new => batch.push((row, sealed)),
                Ok(_) => return Err(KeyError::Overtaken),
                Err(error) => bad.push((name(row), error)),
            }
        }
        if batch.is_empty() {
            // Nothing but what cannot be opened: look behind it, or give up when there is nothing else.
            let all = i64::try_from(rows.len()).is_ok_and(|count| count < limit);
            if all || limit > 100_000 {
                damaged.extend(bad);
                return Ok(count);
            }
            limit = limit.saturating_mul(4);
            continue;
        }
        // Single compare-and-swaps: no lock, so nobody waits for a rotation.
        let mut tx = store.begin_upkeep().await?;
        for (row, sealed) in &batch {
            if data_keys::reseal(&mut tx, row, &sealed.bytes, &sealed.data_key).await? {
                count += 1;
            }
        }
        tx.commit().await?;
    }
}

/// Makes a new data key and seals everything anew under it, beside live servers. `vault` holds the ring; its
/// data keys are loaded here. Run again after an interruption, it goes on instead of beginning another one.
pub async fn rotate_data_keys(
    store: &Store,
    vault: &Vault,
    server: &ServerId,
    clock: &dyn Clock,
    entropy: &dyn Entropy,
) -> Result<Resealed, KeyError> {
    let rows = load_data_keys(store, vault).await?;
    let (key, resumed) = match unfinished(store, &rows).await? {
        Some(key) => (key, true),
        None => {
            let now = clock.now();
            let new = vault.new_data_key(DataKeyId::new(now, entropy), entropy)?;
            let mut tx = store.begin_write(&[scopes::INSTANCE]).await?;
            data_keys::create(&mut tx, &new.id, new.root_key.as_str(), &new.wrapped, now).await?;
            tx.commit().await?;
            (new.id, false)
        }
    };
    let mut tx = store.begin_write(&[scopes::INSTANCE]).await?;
    let current = data_keys::list(&mut tx).await?;
    if current.last().is_some_and(|newest| newest.id != key) {
        return Err(KeyError::Overtaken);
    }
    if !current.iter().any(|row| row.active && row.id == key) {
        data_keys::activate(&mut tx, &key).await?;
        let event = Event::new("data_key.rotate").target(key.as_str());
        events::append(&mut tx, server, clock.now(), &[(&Actor::operator(), event)]).await?;
    }
    tx.commit().await?;

    let rows = load_data_keys(store, vault).await?;
    let (mut values, mut damaged) = (0, Vec::new());
    for old in rows.iter().filter(|row| row.id != key) {
        values += reseal_all(store, vault, entropy, &old.id, &key, &mut damaged).await?;
    }
    if damaged.is_empty() {
        Ok(Resealed { key, resumed, values })
    } else {
        Err(KeyError::Damaged { damaged })
    }
}

/// The generation that an earlier run has begun to move to.
async fn unfinished(store: &Store, rows: &[DataKeyRow]) -> Result<Option<DataKeyId>, StoreError> {
    let Some(newest) = rows.last() else { return Ok(None) };
    if !newest.active {
        return Ok(Some(newest.id.clone()));
    }
    let mut reader = store.read().await?;
    for old in rows.iter().filter(|row| row.id != newest.id) {
        if data_keys::uses(&mut reader, &old.id).await? > 0 {
            return Ok(Some(newest.id.clone()));
        }
    }
    Ok(None)
}

impl Broker {
    /// What a rotation left behind, because it was killed or because a server sealed under the former key until
    /// it had heard of the new one: sealed anew. Old generations that nothing needs are forgotten.
    pub(crate) async fn finish_rotation(&self) -> Result<(), KeyError> {
        finish_rotation(&self.parts.store, &self.parts.vault, &*self.parts.entropy, self.now()).await
    }
}

pub(crate) async fn finish_rotation(
    store: &Store,
    vault: &Vault,
    entropy: &dyn Entropy,
    now: Timestamp,
) -> Result<(), KeyError> {
    let rows = load_data_keys(store, vault).await?;
    // While the newest is not active, a rotation is at work or will be run again.
    let Some(active) = rows.last().filter(|row| row.active) else { return Ok(()) };
    let mut damaged = Vec::new();
    for old in rows.iter().filter(|row| row.id != active.id) {
        reseal_all(store, vault, entropy, &old.id, &active.id, &mut damaged).await?;
        if now.millis().saturating_sub(active.created_at.millis()) < KEPT {
            continue;
        }
        let mut tx = store.begin_write(&[scopes::INSTANCE]).await?;
        match data_keys::delete(&mut tx, &old.id).await {
            Ok(()) => {
                tx.commit().await?;
                tracing::info!(data_key = %old.id, "a data key that nothing is sealed under any more was forgotten");
            }
            Err(StoreError::StillUsed) => {}
            Err(error) => return Err(error.into()),
        }
    }
    if damaged.is_empty() { Ok(()) } else { Err(KeyError::Damaged { damaged }) }
}
