//! The key ring: root keys, one of them active. A small JSON file, so that a person can see which
//! keys a server has without a tool:
//!
//! ```json
//! {
//!   "format": "latchstring-key-ring/1",
//!   "active": "rky_…",
//!   "keys": [{"id": "rky_…", "created_at": "2026-11-21T23:10:02Z", "key": "<32 bytes, base64>"}]
//! }
//! ```
//!
//! Reading and writing the file, its permissions and its renaming are the binary's.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use latchstring_model::id::RootKeyId;
use latchstring_model::{Entropy, SecretBytes, Timestamp};
use serde::{Deserialize, Deserializer};
use zeroize::Zeroizing;

use crate::cipher::{KEY, KeyBytes, new_key};

const FORMAT: &str = "latchstring-key-ring/1";
const FORMAT_STEM: &str = "latchstring-key-ring/";

/// Why a file is no key ring. None of the texts quotes the file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RingError {
    #[error(
        "the key file is empty; it was probably never written whole: restore it from your backup \
         (a new one cannot open the data that is there)"
    )]
    Empty,
    #[error(
        "the key file is not a Latchstring key ring (JSON is wrong at line {line}, column {column}); \
         it may be another file, cut off, or edited by hand: restore it from your backup"
    )]
    NotAKeyRing { line: usize, column: usize },
    #[error(
        "the key file has the format `{found}`, this version reads `latchstring-key-ring/1`; it was \
         written by a newer version: start that one"
    )]
    UnknownFormat { found: String },
    #[error(
        "the key file names no known format; it should say `\"format\": \"latchstring-key-ring/1\"`: \
         check that the path is that of the key file"
    )]
    NotTheFormat,
    #[error("the key file holds no key; restore it from your backup")]
    NoKeys,
    #[error("key number {position} of the key file has an id that is not `rky_` and 26 characters")]
    BadId { position: usize },
    #[error("the key file has the key {id} twice; remove the line that does not belong")]
    Duplicate { id: RootKeyId },
    #[error("the time `created_at` of key {id} is not RFC 3339, as in 2026-01-31T12:00:00Z")]
    BadTime { id: RootKeyId },
    #[error("key {id} is not base64; the file was probably edited: restore it from your backup")]
    NotBase64 { id: RootKeyId },
    #[error(
        "key {id} is {bytes} bytes long, 32 are needed; the file was probably cut off or made by \
         hand: restore it from your backup"
    )]
    WrongLength { id: RootKeyId, bytes: usize },
    #[error("key {id} is all zeros; that is no key: restore the file from your backup")]
    Zeros { id: RootKeyId },
    #[error("the key file does not say which key is active, or names one that it does not hold")]
    NoActive,
}

/// Why a key ring was not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RingChangeError {
    #[error("the key ring has no key {id}")]
    Unknown { id: RootKeyId },
    #[error("key {id} is the active one; activate another before you retire it")]
    Active { id: RootKeyId },
}

/// One root key. Its bytes never leave this crate except through [`KeyRing::to_bytes`].
#[derive(Clone)]
pub struct RootKey {
    pub(crate) id: RootKeyId,
    pub(crate) created_at: Timestamp,
    pub(crate) key: KeyBytes,
}

impl RootKey {
    pub fn id(&self) -> &RootKeyId {
        &self.id
    }

    pub fn created_at(&self) -> Timestamp {
        self.created_at
    }
}

/// Root keys, at least one, exactly one active. No `Debug`: it holds secrets.
#[derive(Clone)]
pub struct KeyRing {
    keys: Vec<RootKey>,
    /// Index into `keys`.
    active: usize,
}

impl KeyRing {
    /// A ring with one new key, active.
    pub fn generate(now: Timestamp, entropy: &dyn Entropy) -> Self {
        Self { keys: vec![new_root_key(now, entropy)], active: 0 }
    }

    /// Reads what [`KeyRing::to_bytes`] wrote. White space around it, and members that this version
    /// does not know, are accepted; everything else must fit.
    pub fn parse(bytes: &[u8]) -> Result<Self, RingError> {
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Err(RingError::Empty);
        }
        // serde_json's own text could quote the value it stumbled over.
        let not_a_ring = |e: serde_json::Error| RingError::NotAKeyRing { line: e.line(), column: e.column() };
        // The format first: a newer one may look different below.
        let named: FileFormat = serde_json::from_slice(bytes).map_err(not_a_ring)?;
        match named.format {
            Some(format) if format == FORMAT => {}
            Some(format) if format.starts_with(FORMAT_STEM) => {
                return Err(RingError::UnknownFormat { found: format.chars().take(40).collect() });
            }
            _ => return Err(RingError::NotTheFormat),
        }
        let file: File = serde_json::from_slice(bytes).map_err(not_a_ring)?;

        let mut keys: Vec<RootKey> = Vec::with_capacity(file.keys.len());
        for (index, entry) in file.keys.iter().enumerate() {
            let id: RootKeyId = entry.id.parse().map_err(|_| RingError::BadId { position: index + 1 })?;
            if keys.iter().any(|key| key.id == id) {
                return Err(RingError::Duplicate { id });
            }
            let Some(created_at) = Timestamp::parse_rfc3339(&entry.created_at) else {
                return Err(RingError::BadTime { id });
            };
            let Ok(decoded) = STANDARD.decode(entry.key.as_bytes()).map(Zeroizing::new) else {
                return Err(RingError::NotBase64 { id });
            };
            if decoded.len() != KEY {
                return Err(RingError::WrongLength { id, bytes: decoded.len() });
            }
            if decoded.iter().all(|byte| *byte == 0) {
                return Err(RingError::Zeros { id });
            }
            let mut key = KeyBytes::default();
            key.copy_from_slice(&decoded);
            keys.push(RootKey { id, created_at, key });
        }
        if keys.is_empty() {
            return Err(RingError::NoKeys);
        }
        let active = keys.iter().position(|key| key.id.as_str() == file.active).ok_or(RingError::NoActive)?;
        Ok(Self { keys, active })
    }

    /// The file's content: text that ends with a newline. Secret as a whole.
    pub fn to_bytes(&self) -> SecretBytes {
        // Written by hand into a buffer that is large enough from the start: one that grows leaves
        // copies of the keys behind in freed memory. No member needs escaping.
        let mut text = Zeroizing::new(String::with_capacity(160 + 192 * self.keys.len()));
        let active = self.active_id();
        let _ = write!(text, "{{\n  \"format\": \"{FORMAT}\",\n  \"active\": \"{active}\",\n  \"keys\": [");
        for (index, key) in self.keys.iter().enumerate() {
            let mut encoded = Zeroizing::new([0; KEY.div_ceil(3) * 4]);
            let length = STANDARD.encode_slice(key.key.as_slice(), encoded.as_mut_slice()).unwrap_or(0);
            let encoded = std::str::from_utf8(&encoded[..length]).unwrap_or_default();
            let comma = if index == 0 { "" } else { "," };
            let (id, at) = (&key.id, key.created_at.to_rfc3339());
            let _ = write!(
                text,
                "{comma}\n    {{\"id\": \"{id}\", \"created_at\": \"{at}\", \"key\": \"{encoded}\"}}"
            );
        }
        text.push_str("\n  ]\n}\n");
        SecretBytes::new(std::mem::take(&mut *text).into_bytes())
    }

    /// Adds a new key, which is *not* active yet: first every server must have it.
    pub fn add_key(&mut self, now: Timestamp, entropy: &dyn Entropy) -> RootKeyId {
        let key = new_root_key(now, entropy);
        let id = key.id.clone();
        self.keys.push(key);
        id
    }

    /// From now on, data keys are wrapped by this key.
    pub fn activate(&mut self, id: &RootKeyId) -> Result<(), RingChangeError> {
        match self.keys.iter().position(|key| &key.id == id) {
            Some(index) => {
                self.active = index;
                Ok(())
            }
            None => Err(RingChangeError::Unknown { id: id.clone() }),
        }
    }

    /// Removes a key. The caller has made sure that no data key is wrapped by it any more.
    pub fn retire(&mut self, id: &RootKeyId) -> Result<(), RingChangeError> {
        let Some(index) = self.keys.iter().position(|key| &key.id == id) else {
            return Err(RingChangeError::Unknown { id: id.clone() });
        };
        if index == self.active {
            return Err(RingChangeError::Active { id: id.clone() });
        }
        self.keys.remove(index);
        if index < self.active {
            self.active -= 1;
        }
        Ok(())
    }

    pub fn active_id(&self) -> &RootKeyId {
        &self.active_key().id
    }

    /// All ids, in the order of the file (oldest first).
    pub fn ids(&self) -> impl Iterator<Item = &RootKeyId> {
        self.keys.iter().map(|key| &key.id)
    }

    /// All keys, to show their ages.
    pub fn keys(&self) -> &[RootKey] {
        &self.keys
    }

    pub(crate) fn active_key(&self) -> &RootKey {
        &self.keys[self.active]
    }

    pub(crate) fn find(&self, id: &RootKeyId) -> Option<&RootKey> {
        self.keys.iter().find(|key| &key.id == id)
    }
}

fn new_root_key(now: Timestamp, entropy: &dyn Entropy) -> RootKey {
    RootKey { id: RootKeyId::new(now, entropy), created_at: now, key: new_key(entropy) }
}

#[derive(Deserialize)]
struct FileFormat {
    format: Option<String>,
}

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    active: String,
    keys: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    id: String,
    created_at: String,
    #[serde(deserialize_with = "wiped")]
    key: Zeroizing<String>,
}

fn wiped<'de, D: Deserializer<'de>>(from: D) -> Result<Zeroizing<String>, D::Error> {
    String::deserialize(from).map(Zeroizing::new)
}
