//! The key check value: stored beside the data, it tells at start whether this key ring is the
//! one that the data was sealed with, before anything is read or written.
//!
//! For each key of the ring its id and 16 bytes of HKDF-SHA256 over it. It gives away nothing
//! about a key of 256 random bits.

use std::collections::BTreeMap;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use latchstring_model::id::RootKeyId;
use serde::{Deserialize, Serialize};

use crate::cipher::derive;
use crate::ring::{KeyRing, RootKey};

const LABEL: &[u8] = b"latchstring key check 1";
const FORMAT: u32 = 1;

/// Why a key ring is not the one that the data needs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckError {
    #[error(
        "the data was sealed with the root key {id}, which the key file does not hold; this is \
         another instance's key file, or one from before a rotation: use the file that holds {id}"
    )]
    Missing { id: RootKeyId },
    #[error(
        "the key file holds a key {id}, but not the one that the data was sealed with; the file \
         was changed: restore it from your backup"
    )]
    Different { id: RootKeyId },
    #[error(
        "the key check value stored with the data cannot be read; the data is damaged, or was \
         written by a newer version"
    )]
    Unreadable,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    format: u32,
    keys: BTreeMap<String, String>,
}

/// What to store for this ring. Equal rings give equal texts. Store a new one whenever the ring
/// has got or lost a key.
pub fn key_check(ring: &KeyRing) -> String {
    let keys = ring.keys().iter().map(|key| (key.id().to_string(), tag(key).unwrap_or_default())).collect();
    serde_json::to_string(&Stored { format: FORMAT, keys }).unwrap_or_default()
}

/// Whether `ring` holds every key that `stored` (by [`key_check`]) names. Keys that are in the
/// ring only are fine: a rotation has begun.
pub fn verify_check(ring: &KeyRing, stored: &str) -> Result<(), CheckError> {
    let stored: Stored = serde_json::from_str(stored).map_err(|_| CheckError::Unreadable)?;
    if stored.format != FORMAT || stored.keys.is_empty() {
        return Err(CheckError::Unreadable);
    }
    for (id, expected) in &stored.keys {
        let id: RootKeyId = id.parse().map_err(|_| CheckError::Unreadable)?;
        match ring.find(&id) {
            None => return Err(CheckError::Missing { id }),
            Some(key) => {
                let same = tag(key)
                    .is_some_and(|tag| verify_slices_are_equal(tag.as_bytes(), expected.as_bytes()).is_ok());
                if !same {
                    return Err(CheckError::Different { id });
                }
            }
        }
    }
    Ok(())
}

/// `None` only when memory runs out; then nothing matches.
fn tag(key: &RootKey) -> Option<String> {
    let tag = derive(&key.key, LABEL, &[key.id.as_str().as_bytes()]).ok()?;
    Some(STANDARD_NO_PAD.encode(&tag[..16]))
}
