//! Root keys and data keys are exchanged while everything stays readable.

use latchstring_model::OpenTicket;
use latchstring_model::id::DataKeyId;
use latchstring_vault::{KeyRing, OpenError, SealError, UnwrapError, Vault, WrappedDataKey};

use crate::support::{Counted, NOW, aad, add_active};

fn stored(vault: &Vault, entropy: &Counted) -> WrappedDataKey {
    vault.new_data_key(DataKeyId::new(NOW, entropy), entropy).unwrap()
}

#[test]
fn a_new_data_key_is_not_used_before_it_is_stored_and_loaded() {
    let entropy = Counted::from(0);
    let vault = Vault::new(KeyRing::generate(NOW, &entropy));
    let key = stored(&vault, &entropy);
    assert!(vault.data_keys().is_empty());
    assert_eq!(vault.set_active(&key.id), Err(SealError::UnknownDataKey { id: key.id.clone() }));
    vault.load_data_key(&key).unwrap();
    vault.load_data_key(&key).unwrap();
    assert_eq!(vault.data_keys(), std::slice::from_ref(&key.id));
    assert_eq!(vault.active(), None);
    vault.set_active(&key.id).unwrap();
    assert_eq!(vault.active(), Some(key.id));
}

#[test]
fn another_root_key_does_not_unwrap() {
    let entropy = Counted::from(0);
    let ring = KeyRing::generate(NOW, &entropy);
    let vault = Vault::new(ring.clone());
    let key = stored(&vault, &entropy);
    assert!(Vault::new(ring.clone()).load_data_key(&key).is_ok());

    // A ring without that key: named.
    let other = Vault::new(KeyRing::generate(NOW, &entropy));
    let error = other.load_data_key(&key).unwrap_err();
    assert_eq!(error, UnwrapError::UnknownRootKey { id: key.id.clone(), root_key: key.root_key.clone() });
    assert!(error.to_string().contains(key.root_key.as_str()));

    // A row that claims to be wrapped by a key it was not wrapped by, or to be another data key.
    let mut both = ring;
    let second = both.add_key(NOW, &entropy);
    let both = Vault::new(both);
    let claims = WrappedDataKey { root_key: second, ..key.clone() };
    assert!(matches!(both.load_data_key(&claims), Err(UnwrapError::Refused { .. })));
    let renamed = WrappedDataKey { id: DataKeyId::new(NOW, &entropy), ..key.clone() };
    assert!(matches!(both.load_data_key(&renamed), Err(UnwrapError::Refused { .. })));
    assert!(both.load_data_key(&key).is_ok());
}

#[test]
fn a_wrapped_key_that_was_changed_or_cut_is_refused() {
    let entropy = Counted::from(0);
    let vault = Vault::new(KeyRing::generate(NOW, &entropy));
    let key = stored(&vault, &entropy);
    for bit in 0..key.wrapped.len() * 8 {
        let mut changed = key.clone();
        changed.wrapped[bit / 8] ^= 1 << (bit % 8);
        assert!(matches!(vault.load_data_key(&changed), Err(UnwrapError::Refused { .. })), "{bit}");
    }
    for length in 0..key.wrapped.len() {
        let cut = WrappedDataKey { wrapped: key.wrapped[..length].to_vec(), ..key.clone() };
        assert!(matches!(vault.load_data_key(&cut), Err(UnwrapError::Refused { .. })), "{length}");
    }
}

#[test]
fn the_root_key_is_rotated_without_touching_records() {
    let entropy = Counted::from(0);
    let mut ring = KeyRing::generate(NOW, &entropy);
    let old = ring.active_id().clone();
    let vault = Vault::new(ring.clone());
    let key = stored(&vault, &entropy);
    vault.load_data_key(&key).unwrap();
    vault.set_active(&key.id).unwrap();
    let sealed = vault.seal(&aad(), b"kept", &entropy).unwrap();

    let new = ring.add_key(NOW, &entropy);
    vault.replace_ring(ring.clone());
    assert_eq!(vault.root_keys(), [old.clone(), new.clone()]);
    ring.activate(&new).unwrap();
    vault.replace_ring(ring.clone());
    assert_eq!(vault.root_keys(), [new.clone(), old.clone()]);
    let rewrapped = vault.rewrap(&key, &entropy).unwrap();
    assert_eq!((&rewrapped.id, &rewrapped.root_key), (&key.id, &new));
    ring.retire(&old).unwrap();

    let restarted = Vault::new(ring);
    assert!(matches!(restarted.load_data_key(&key), Err(UnwrapError::UnknownRootKey { .. })));
    restarted.load_data_key(&rewrapped).unwrap();
    let opened = restarted.open(&OpenTicket::mint(), &aad(), &sealed.bytes).ok().unwrap();
    assert_eq!(opened.expose(), b"kept");
}

#[test]
fn the_data_key_is_rotated_by_resealing() {
    let entropy = Counted::from(0);
    let vault = Vault::new(KeyRing::generate(NOW, &entropy));
    let first = add_active(&vault, &entropy);
    let before = vault.seal(&aad(), b"kept", &entropy).unwrap();
    assert_eq!(before.data_key, first);
    let second = add_active(&vault, &entropy);
    assert_eq!(vault.forget(&second), Err(SealError::Active { id: second.clone() }));

    let after = vault.reseal(&aad(), &before.bytes, &entropy).unwrap();
    assert_eq!(after.data_key, second);
    vault.forget(&first).unwrap();
    assert_eq!(vault.active(), Some(second.clone()), "dropping an older key moves nothing");
    assert_eq!(vault.data_keys(), [second]);

    let ticket = OpenTicket::mint();
    assert_eq!(vault.open(&ticket, &aad(), &after.bytes).ok().unwrap().expose(), b"kept");
    let gone = vault.open(&ticket, &aad(), &before.bytes).err().unwrap();
    assert_eq!(gone, OpenError::UnknownDataKey { id: first.clone() });
    assert_eq!(vault.forget(&first), Err(SealError::UnknownDataKey { id: first }));
}
