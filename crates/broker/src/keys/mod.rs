//! Root keys and data keys: loading at start, rotating beside live servers. DESIGN section 6.
//!
//! A root key wraps data keys; a data key seals values. Both rotate in steps of which each leaves everything
//! readable, so a rotation that was killed is run again and goes on where it stopped:
//!
//! * [`root`]: new key into the ring's file → all living servers hold it → it becomes the active one → data
//!   keys are wrapped anew → the key check value names it. The old key is retired by a command of its own.
//! * [`data`]: new generation stored → it becomes the active one → values are sealed anew in small batches.
//!   A generation under which nothing is sealed any more is forgotten a day later.
//!
//! Other servers learn of a new data key by looking every few seconds, and at once when they meet a value that
//! was sealed under one which they do not have.

pub mod data;
pub mod root;
pub mod start;
#[cfg(test)]
mod tests;

use latchstring_model::id::{DataKeyId, RootKeyId, ServerId};
use latchstring_model::problem::Refused;
use latchstring_store::data_keys::{self, DataKeyRow};
use latchstring_store::{Store, StoreError};
use latchstring_vault::{
    CheckError, OpenError, RingChangeError, SealError, UnwrapError, Vault, WrappedDataKey,
};

use crate::{Broker, refusals};

/// Why keys were not loaded or rotated. What was done until then stays done, and is picked up when it is tried again.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Check(#[from] CheckError),
    #[error(transparent)]
    Unwrap(#[from] UnwrapError),
    #[error(transparent)]
    Seal(#[from] SealError),
    #[error(transparent)]
    Ring(#[from] RingChangeError),
    #[error(
        "the new key ring could not be written: {0}; nothing depends on it yet, so try again when that is put right"
    )]
    Write(String),
    #[error("the data key row {0} names a root key that is no id; the row was changed")]
    BadRow(DataKeyId),
    #[error(
        "these servers do not hold the new root key {key} yet: {}; the key file has to reach them (it is already \
         written here), they read it again by themselves within seconds. Then run this command again, it goes on from here",
        list(servers)
    )]
    NotHeldBy { key: RootKeyId, servers: Vec<ServerId> },
    #[error("the root key {key} still wraps {count} data keys; rotate the root key first, then retire it")]
    StillWraps { key: RootKeyId, count: i64 },
    #[error("another rotation has made another data key the active one meanwhile; run this command again")]
    Overtaken,
    #[error(
        "{} sealed values do not open and were left as they are: {}; set them again or restore them, then run this command again",
        damaged.len(), damaged.iter().map(|(place, error)| format!("{place} ({error})")).collect::<Vec<_>>().join(", ")
    )]
    Damaged { damaged: Vec<(String, OpenError)> },
}

fn list(servers: &[ServerId]) -> String {
    servers.iter().map(ServerId::as_str).collect::<Vec<_>>().join(", ")
}

fn wrapped(row: &DataKeyRow) -> Result<WrappedDataKey, KeyError> {
    let root_key = row.root_key.parse().map_err(|_| KeyError::BadRow(row.id.clone()))?;
    Ok(WrappedDataKey { id: row.id.clone(), root_key, wrapped: row.wrapped.clone() })
}

/// Brings a vault into step with the stored data keys: loads those that it lacks, seals under the active one,
/// drops those that are gone. Gives the rows.
pub async fn load_data_keys(store: &Store, vault: &Vault) -> Result<Vec<DataKeyRow>, KeyError> {
    let mut reader = store.read().await?;
    let rows = data_keys::list(&mut reader).await?;
    drop(reader);
    let held = vault.data_keys();
    for row in rows.iter().filter(|row| !held.contains(&row.id)) {
        vault.load_data_key(&wrapped(row)?)?;
    }
    if let Some(active) = rows.iter().find(|row| row.active) {
        vault.set_active(&active.id)?;
    }
    for gone in held.iter().filter(|id| !rows.iter().any(|row| row.id == **id)) {
        // The active one stays until another takes its place.
        if vault.active().as_ref() != Some(gone) {
            vault.forget(gone)?;
        }
    }
    Ok(rows)
}

impl Broker {
    /// Before a stored value is opened: has its data key at hand. Costs nothing when it is there already.
    pub async fn ensure_data_key(&self, id: &DataKeyId) -> Refused<()> {
        if self.parts.vault.data_keys().contains(id) {
            return Ok(());
        }
        load_data_keys(&self.parts.store, &self.parts.vault).await.map_err(|error| match error {
            KeyError::Store(error) => refusals::store(error),
            other => refusals::internal(&other),
        })?;
        if self.parts.vault.data_keys().contains(id) {
            return Ok(());
        }
        Err(refusals::internal(&format!("a value is sealed under the data key {id}, which does not exist")))
    }

    /// Every few seconds: other servers and commands rotate.
    pub(crate) async fn reload_data_keys(&self) -> Result<(), KeyError> {
        load_data_keys(&self.parts.store, &self.parts.vault).await.map(drop)
    }
}
