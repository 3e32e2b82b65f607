//! The vault: seals and opens records, keeps the unwrapped data keys.
//!
//! A sealed value is `1 ‖ data key id (30 characters) ‖ salt (32) ‖ nonce (12) ‖ ciphertext ‖ tag (16)`:
//! [`Vault::OVERHEAD`] bytes more than its plaintext. The id is in it, so that a value can be
//! opened, and missing keys named, without its row's other columns.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use latchstring_model::id::{DataKeyId, RootKeyId};
use latchstring_model::{Entropy, OpenTicket, SecretBytes};

use crate::aad::{Aad, put};
use crate::cipher::{self, KEY, KeyBytes, OVERHEAD};
use crate::ring::KeyRing;

const FORMAT: u8 = 1;
const ID: usize = 30;
const HEADER: usize = 1 + ID;
const RECORD_LABEL: &[u8] = b"latchstring record 1\0";
const WRAP_LABEL: &[u8] = b"latchstring data key 1\0";

/// A sealed value, and the data key that it was sealed under (for the row's `data_key` column).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    pub bytes: Vec<u8>,
    pub data_key: DataKeyId,
}

/// A data key as it is stored: useless without the root key that it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrappedDataKey {
    pub id: DataKeyId,
    pub root_key: RootKeyId,
    pub wrapped: Vec<u8>,
}

/// Why nothing was sealed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    #[error("no data key is active; the server has not finished starting, or none was made")]
    NoActiveDataKey,
    #[error("the data key {id} is not loaded; load it from the store first")]
    UnknownDataKey { id: DataKeyId },
    #[error("the data key {id} is the active one; activate another first")]
    Active { id: DataKeyId },
    #[error("it could not be sealed: it is longer than 64 GiB, or memory ran out")]
    Failed,
}

/// Why a sealed value did not open.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    #[error("the sealed value is cut off ({bytes} bytes); the row is damaged")]
    Truncated { bytes: usize },
    #[error(
        "the sealed value has the format {found}, this version knows 1; it was written by a newer \
         version, or is damaged"
    )]
    UnknownFormat { found: u8 },
    #[error("the sealed value does not name a data key; the row is damaged")]
    NoDataKey,
    #[error(
        "the value was sealed under the data key {id}, which is not loaded; it was made after this \
         server looked, or its row is gone"
    )]
    UnknownDataKey { id: DataKeyId },
    #[error(
        "the sealed value was changed, or belongs to another object, field, environment, version or \
         project; restore the row from a backup, or set the value again"
    )]
    Refused,
    #[error("the value could not be sealed again: {0}")]
    Seal(#[from] SealError),
}

/// Why a data key was not unwrapped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnwrapError {
    #[error(
        "the data key {id} is wrapped by the root key {root_key}, which the key file does not hold; \
         use the file that holds it"
    )]
    UnknownRootKey { id: DataKeyId, root_key: RootKeyId },
    #[error(
        "the data key {id} does not unwrap with the root key {root_key}: its row was changed, or \
         the key file holds another key under that id"
    )]
    Refused { id: DataKeyId, root_key: RootKeyId },
    #[error("the data key could not be wrapped again: {0}")]
    Seal(#[from] SealError),
}

#[derive(Clone)]
struct DataKey {
    id: DataKeyId,
    key: Arc<KeyBytes>,
}

struct State {
    ring: KeyRing,
    /// Few (generations), so a list.
    keys: Vec<DataKey>,
    /// Index into `keys`.
    active: Option<usize>,
}

/// The key ring and the data keys that it unwrapped. Shared by all threads (`Send + Sync`); the
/// lock is held to find a key, never while something is sealed or opened.
pub struct Vault {
    state: RwLock<State>,
}

impl Vault {
    /// What sealing adds to a plaintext, in bytes.
    pub const OVERHEAD: usize = HEADER + OVERHEAD;

    pub fn new(ring: KeyRing) -> Self {
        Self { state: RwLock::new(State { ring, keys: Vec::new(), active: None }) }
    }

    // No change below leaves the state half done, so a poisoned lock holds a good state.
    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The ids of the root keys that this server holds, active one first.
    pub fn root_keys(&self) -> Vec<RootKeyId> {
        let state = self.read();
        let active = state.ring.active_id();
        let others = state.ring.ids().filter(|id| *id != active);
        std::iter::once(active).chain(others).cloned().collect()
    }

    /// Puts a ring that was read again in the old one's place. Data keys stay loaded.
    pub fn replace_ring(&self, ring: KeyRing) {
        self.write().ring = ring;
    }

    /// A new data key, wrapped by the active root key. It is not loaded: store it first, so that
    /// nothing is ever sealed under a key that a crash could lose.
    pub fn new_data_key(&self, id: DataKeyId, entropy: &dyn Entropy) -> Result<WrappedDataKey, SealError> {
        let key = cipher::new_key(entropy);
        wrap(&self.read().ring, id, &key, entropy)
    }

    /// Unwraps a stored data key and keeps it for opening. Loading it again changes nothing.
    pub fn load_data_key(&self, stored: &WrappedDataKey) -> Result<(), UnwrapError> {
        let mut state = self.write();
        let key = Arc::new(unwrap(&state.ring, stored)?);
        if !state.keys.iter().any(|known| known.id == stored.id) {
            state.keys.push(DataKey { id: stored.id.clone(), key });
        }
        Ok(())
    }

    /// The same data key, wrapped anew by the active root key. What is sealed under it stays as it is.
    pub fn rewrap(
        &self,
        stored: &WrappedDataKey,
        entropy: &dyn Entropy,
    ) -> Result<WrappedDataKey, UnwrapError> {
        let state = self.read();
        let key = unwrap(&state.ring, stored)?;
        Ok(wrap(&state.ring, stored.id.clone(), &key, entropy)?)
    }

    /// From now on, values are sealed under this data key.
    pub fn set_active(&self, id: &DataKeyId) -> Result<(), SealError> {
        let mut state = self.write();
        match state.keys.iter().position(|key| &key.id == id) {
            Some(index) => {
                state.active = Some(index);
                Ok(())
            }
            None => Err(SealError::UnknownDataKey { id: id.clone() }),
        }
    }

    /// The data key that values are sealed under.
    pub fn active(&self) -> Option<DataKeyId> {
        let state = self.read();
        state.active.and_then(|index| state.keys.get(index)).map(|key| key.id.clone())
    }

    /// All data keys that are loaded.
    pub fn data_keys(&self) -> Vec<DataKeyId> {
        self.read().keys.iter().map(|key| key.id.clone()).collect()
    }

    /// Drops and wipes a retired data key. The active one stays.
    pub fn forget(&self, id: &DataKeyId) -> Result<(), SealError> {
        let mut state = self.write();
        let Some(index) = state.keys.iter().position(|key| &key.id == id) else {
            return Err(SealError::UnknownDataKey { id: id.clone() });
        };
        match state.active {
            Some(active) if active == index => return Err(SealError::Active { id: id.clone() }),
            Some(active) if active > index => state.active = Some(active - 1),
            _ => {}
        }
        state.keys.remove(index);
        Ok(())
    }

    /// Seals under the active data key. Sealing the same twice gives two different values.
    pub fn seal(&self, aad: &Aad, plaintext: &[u8], entropy: &dyn Entropy) -> Result<Sealed, SealError> {
        let key = {
            let state = self.read();
            let active = state.active.and_then(|index| state.keys.get(index));
            active.cloned().ok_or(SealError::NoActiveDataKey)?
        };
        let header = header(&key.id);
        let bytes = cipher::seal(&key.key, RECORD_LABEL, &header, &aad.encode(), plaintext, entropy)
            .map_err(|_| SealError::Failed)?;
        Ok(Sealed { bytes, data_key: key.id })
    }

    /// Opens a value that was sealed for exactly this `aad`.
    pub fn open(&self, _authorised: &OpenTicket, aad: &Aad, sealed: &[u8]) -> Result<SecretBytes, OpenError> {
        self.open_inside(aad, sealed)
    }

    /// Seals again under the active data key. It needs no ticket, because nobody gets to see the
    /// plaintext.
    pub fn reseal(&self, aad: &Aad, sealed: &[u8], entropy: &dyn Entropy) -> Result<Sealed, OpenError> {
        let plaintext = self.open_inside(aad, sealed)?;
        Ok(self.seal(aad, plaintext.expose(), entropy)?)
    }

    pub(crate) fn open_inside(&self, aad: &Aad, sealed: &[u8]) -> Result<SecretBytes, OpenError> {
        let id = data_key_of(sealed)?;
        let key = {
            let state = self.read();
            state.keys.iter().find(|key| key.id == id).map(|key| key.key.clone())
        };
        let Some(key) = key else {
            return Err(OpenError::UnknownDataKey { id });
        };
        let (header, rest) = sealed.split_at(HEADER);
        cipher::open(&key, RECORD_LABEL, header, &aad.encode(), rest).map_err(|_| OpenError::Refused)
    }
}

/// The data key that a value was sealed under, from the value itself.
pub fn data_key_of(sealed: &[u8]) -> Result<DataKeyId, OpenError> {
    match sealed.first() {
        None => return Err(OpenError::Truncated { bytes: 0 }),
        Some(&FORMAT) => {}
        Some(&found) => return Err(OpenError::UnknownFormat { found }),
    }
    if sealed.len() < Vault::OVERHEAD {
        return Err(OpenError::Truncated { bytes: sealed.len() });
    }
    std::str::from_utf8(&sealed[1..HEADER]).ok().and_then(|id| id.parse().ok()).ok_or(OpenError::NoDataKey)
}

fn header(id: &DataKeyId) -> Vec<u8> {
    let mut header = Vec::with_capacity(HEADER);
    header.push(FORMAT);
    header.extend_from_slice(id.as_str().as_bytes());
    header
}

/// The AAD of a wrapped data key: which key, by which root key.
fn wrap_aad(id: &DataKeyId, root_key: &RootKeyId) -> Vec<u8> {
    let mut aad = Vec::with_capacity(80);
    put(&mut aad, id.as_str());
    put(&mut aad, root_key.as_str());
    aad
}

fn wrap(
    ring: &KeyRing,
    id: DataKeyId,
    key: &KeyBytes,
    entropy: &dyn Entropy,
) -> Result<WrappedDataKey, SealError> {
    let root = ring.active_key();
    let aad = wrap_aad(&id, &root.id);
    let wrapped = cipher::seal(&root.key, WRAP_LABEL, &[FORMAT], &aad, key.as_slice(), entropy)
        .map_err(|_| SealError::Failed)?;
    Ok(WrappedDataKey { id, root_key: root.id.clone(), wrapped })
}

fn unwrap(ring: &KeyRing, stored: &WrappedDataKey) -> Result<KeyBytes, UnwrapError> {
    let (id, root_key) = (stored.id.clone(), stored.root_key.clone());
    let Some(root) = ring.find(&root_key) else {
        return Err(UnwrapError::UnknownRootKey { id, root_key });
    };
    let aad = wrap_aad(&id, &root_key);
    let opened = match stored.wrapped.split_first() {
        Some((&FORMAT, rest)) => cipher::open(&root.key, WRAP_LABEL, &[FORMAT], &aad, rest).ok(),
        _ => None,
    };
    match opened {
        Some(bytes) if bytes.len() == KEY => {
            let mut key = KeyBytes::default();
            key.copy_from_slice(bytes.expose());
            Ok(key)
        }
        _ => Err(UnwrapError::Refused { id, root_key }),
    }
}
