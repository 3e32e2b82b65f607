//! Rotating the root key. What must hold at every moment: each data key is wrapped by a key that every living
//! server holds, and every key that the check value names is in the ring's file.

use std::time::Duration;

use latchstring_model::id::{RootKeyId, ServerId};
use latchstring_model::{Clock, Entropy};
use latchstring_store::{Store, data_keys, instance, scopes};
use latchstring_vault::{KeyRing, Vault, key_check, verify_check};

use super::{KeyError, wrapped};
use crate::Broker;
use crate::actor::Actor;
use crate::audit::events::{self, Event};
use crate::jobs::upkeep::LIVING;

/// Between two looks at what servers report.
const LOOK: Duration = Duration::from_millis(500);

/// What a rotation works with. The caller has read the ring from its file, and is the only one to write it.
pub struct Rotation<'a> {
    pub store: &'a Store,
    /// Who writes the audit event: the process that runs the command.
    pub server: &'a ServerId,
    pub clock: &'a dyn Clock,
    pub entropy: &'a dyn Entropy,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rotated {
    /// The root key that wraps all data keys now.
    pub key: RootKeyId,
    /// An earlier run had begun it.
    pub resumed: bool,
    /// Data keys that this run wrapped anew.
    pub rewrapped: usize,
}

/// Rotates the root key; `ring` is changed along, `write` puts it into the key file (whole or not at all) and
/// is called at most twice. Waits up to `patience` for living servers to hold the new key. Run again after an
/// interruption, it goes on.
pub async fn rotate_root(
    with: &Rotation<'_>,
    ring: &mut KeyRing,
    write: impl Fn(&KeyRing) -> Result<(), String>,
    patience: Duration,
) -> Result<Rotated, KeyError> {
    let mut reader = with.store.read().await?;
    let stored = instance::get(&mut reader, instance::KEY_CHECK).await?;
    let rows = data_keys::list(&mut reader).await?;
    drop(reader);
    if let Some(stored) = &stored {
        verify_check(ring, stored)?;
    }

    let active = ring.active_id().clone();
    let behind = rows.iter().any(|row| row.root_key != active.as_str());
    let unchecked = stored.as_deref().is_some_and(|stored| !stored.contains(active.as_str()));
    let waiting = ring.keys().iter().skip_while(|key| key.id() != &active).nth(1).map(|key| key.id().clone());
    let resumed = behind || unchecked || waiting.is_some();
    let key = if behind || unchecked {
        active
    } else {
        let key = match waiting {
            Some(key) => key,
            None => {
                let mut larger = ring.clone();
                let key = larger.add_key(with.clock.now(), with.entropy);
                write(&larger).map_err(KeyError::Write)?;
                *ring = larger;
                key
            }
        };
        all_hold(with.store, &key, patience).await?;
        let mut switched = ring.clone();
        switched.activate(&key)?;
        write(&switched).map_err(KeyError::Write)?;
        *ring = switched;
        key
    };

    // Data keys are wrapped anew by a vault of our own; nothing is sealed or opened with them here.
    let vault = Vault::new(ring.clone());
    let mut rewrapped = 0;
    for row in rows.iter().filter(|row| row.root_key != key.as_str()) {
        let new = vault.rewrap(&wrapped(row)?, with.entropy)?;
        let mut tx = with.store.begin_write(&[scopes::INSTANCE]).await?;
        // Somebody else may have done it.
        if data_keys::rewrap(&mut tx, &row.id, &row.root_key, key.as_str(), &new.wrapped).await? {
            rewrapped += 1;
        }
        tx.commit().await?;
    }

    let mut tx = with.store.begin_write(&[scopes::INSTANCE]).await?;
    let stored = instance::set_once(&mut tx, instance::KEY_CHECK, &key_check(ring)).await?;
    verify_check(ring, &stored)?;
    instance::set(&mut tx, instance::KEY_CHECK, &key_check(ring)).await?;
    let event = Event::new("root_key.rotate")
        .target(key.as_str())
        .detail("rewrapped", rewrapped)
        .detail("resumed", resumed);
    events::append(&mut tx, with.server, with.clock.now(), &[(&Actor::operator(), event)]).await?;
    tx.commit().await?;
    Ok(Rotated { key, resumed, rewrapped })
}

/// Waits until every living server reports the key.
async fn all_hold(store: &Store, key: &RootKeyId, patience: Duration) -> Result<(), KeyError> {
    let started = tokio::time::Instant::now();
    loop {
        let mut reader = store.read().await?;
        let servers = instance::servers(&mut reader, LIVING).await?;
        drop(reader);
        let lacking: Vec<ServerId> = servers
            .into_iter()
            .filter(|server| !server.root_keys.iter().any(|held| held == key.as_str()))
            .map(|server| server.id)
            .collect();
        if lacking.is_empty() {
            return Ok(());
        }
        if started.elapsed() >= patience {
            return Err(KeyError::NotHeldBy { key: key.clone(), servers: lacking });
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Removes a root key that wraps nothing any more. First from the check value, then from the file: in between
/// the file has a key more than it needs, which every start accepts.
pub async fn retire_root(
    with: &Rotation<'_>,
    ring: &mut KeyRing,
    key: &RootKeyId,
    write: impl Fn(&KeyRing) -> Result<(), String>,
) -> Result<(), KeyError> {
    let mut smaller = ring.clone();
    smaller.retire(key)?;
    let mut tx = with.store.begin_write(&[scopes::INSTANCE]).await?;
    let count = data_keys::count_under_root(&mut tx, key.as_str()).await?;
    if count > 0 {
        return Err(KeyError::StillWraps { key: key.clone(), count });
    }
    if let Some(stored) = instance::get(&mut tx, instance::KEY_CHECK).await? {
        verify_check(ring, &stored)?;
    }
    instance::set(&mut tx, instance::KEY_CHECK, &key_check(&smaller)).await?;
    let event = Event::new("root_key.retire").target(key.as_str());
    events::append(&mut tx, with.server, with.clock.now(), &[(&Actor::operator(), event)]).await?;
    tx.commit().await?;
    write(&smaller).map_err(KeyError::Write)?;
    *ring = smaller;
    Ok(())
}

impl Broker {
    /// The key file was read again. A ring that lacks a key which the data needs is refused, and the server
    /// goes on with the one that it has.
    pub(crate) async fn take_ring(&self, ring: KeyRing) -> Result<(), KeyError> {
        let active = std::iter::once(ring.active_id());
        let others = ring.ids().filter(|id| *id != ring.active_id());
        if active.chain(others).eq(&self.parts.vault.root_keys()) {
            return Ok(());
        }
        let mut reader = self.parts.store.read().await?;
        let stored = instance::get(&mut reader, instance::KEY_CHECK).await?;
        drop(reader);
        if let Some(stored) = stored {
            verify_check(&ring, &stored)?;
        }
        tracing::info!(active = %ring.active_id(), keys = ring.ids().count(), "the root key file has changed and was read again");
        self.parts.vault.replace_ring(ring);
        Ok(())
    }
}
