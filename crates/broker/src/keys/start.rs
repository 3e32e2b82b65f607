//! At start: is this the key ring that the data needs, and which data keys are there?

use latchstring_model::id::DataKeyId;
use latchstring_model::{Entropy, Timestamp};
use latchstring_store::{Store, data_keys, instance, scopes};
use latchstring_vault::{KeyRing, Vault, key_check, verify_check};

use super::{KeyError, load_data_keys};

/// Checks the ring against what is stored beside the data, loads all data keys into the vault, and makes the
/// first one when there is none. Of several servers that start on an empty database one wins; the ring of the
/// others must be the same. With a ring that does not fit, nothing is written.
pub async fn prepare_vault(
    store: &Store,
    vault: &Vault,
    ring: &KeyRing,
    now: Timestamp,
    entropy: &dyn Entropy,
) -> Result<(), KeyError> {
    let mut reader = store.read().await?;
    let stored = instance::get(&mut reader, instance::KEY_CHECK).await?;
    drop(reader);
    if let Some(stored) = &stored {
        verify_check(ring, stored)?;
    }
    // Before anything is written: data keys without a check value must unwrap, too.
    let rows = load_data_keys(store, vault).await?;
    if stored.is_some() && rows.iter().any(|row| row.active) {
        return Ok(());
    }

    let mut tx = store.begin_write(&[scopes::INSTANCE]).await?;
    let stored = instance::set_once(&mut tx, instance::KEY_CHECK, &key_check(ring)).await?;
    verify_check(ring, &stored)?;
    let rows = data_keys::list(&mut tx).await?;
    if !rows.iter().any(|row| row.active) {
        // A key that was stored by a start that got no further is as good as a new one.
        let id = match rows.last() {
            Some(row) => row.id.clone(),
            None => {
                let new = vault.new_data_key(DataKeyId::new(now, entropy), entropy)?;
                data_keys::create(&mut tx, &new.id, new.root_key.as_str(), &new.wrapped, now).await?;
                new.id
            }
        };
        data_keys::activate(&mut tx, &id).await?;
    }
    tx.commit().await?;
    load_data_keys(store, vault).await.map(drop)
}
