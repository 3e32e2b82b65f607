//! What the trail's checkpoints and anchors are signed with: one Ed25519 key of the installation, made when it is
//! first needed. Its seed is sealed under a data key like every secret, so the root key stands behind it: whoever
//! has the database alone can neither sign nor put a key of their own in its place.

use std::collections::HashMap;

use latchstring_model::id::AuditKeyId;
use latchstring_model::{Entropy, Timestamp};
use latchstring_store::audit_keys::{self, AuditKeyRow};
use latchstring_store::{Store, StoreError, scopes};
use latchstring_vault::{OpenError, SealError, SignError, Vault, signature_fits};

use crate::sealing::audit_key_aad;

/// Checkpoints and anchors are different things: what was signed as one is no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signed {
    Checkpoint,
    Anchor,
}

impl Signed {
    const fn label(self) -> &'static [u8] {
        match self {
            Signed::Checkpoint => b"latchstring audit checkpoint 1\0",
            Signed::Anchor => b"latchstring audit anchor 1\0",
        }
    }

    fn message(self, text: &[u8]) -> Vec<u8> {
        [self.label(), text].concat()
    }
}

/// Why nothing could be signed, or why it is not known with what.
#[derive(Debug, thiserror::Error)]
pub enum SigningError {
    #[error("the audit keys cannot be read: {0}")]
    Store(#[from] StoreError),
    #[error("the audit key could not be made: {0}")]
    Make(#[from] SealError),
    #[error("the audit key {id} cannot be used: {error}")]
    Use { id: AuditKeyId, error: SignError },
    #[error("the text to be signed cannot be written: {0}")]
    Text(#[from] serde_json::Error),
}

impl SigningError {
    /// The key was not opened by the ring of this installation: it was changed, or put there by somebody else.
    pub fn is_foreign(&self) -> bool {
        matches!(
            self,
            SigningError::Use {
                error: SignError::NotAKey
                    | SignError::Open(
                        OpenError::Refused
                            | OpenError::Truncated { .. }
                            | OpenError::UnknownFormat { .. }
                            | OpenError::NoDataKey
                    ),
                ..
            }
        )
    }
}

/// The key that signs now.
pub struct Signer {
    pub id: AuditKeyId,
    pub public_key: [u8; latchstring_vault::PUBLIC_KEY],
    sealed: Vec<u8>,
}

fn signer_of(vault: &Vault, row: &AuditKeyRow) -> Result<Signer, SigningError> {
    let public_key = vault
        .public_key(&audit_key_aad(&row.id), &row.sealed)
        .map_err(|error| SigningError::Use { id: row.id.clone(), error })?;
    Ok(Signer { id: row.id.clone(), public_key, sealed: row.sealed.clone() })
}

impl Signer {
    /// The newest key; made when there is none. Read again each time: it is sealed anew when data keys rotate.
    pub async fn current(
        store: &Store,
        vault: &Vault,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> Result<Self, SigningError> {
        let mut reader = store.read().await?;
        let rows = audit_keys::list(&mut reader).await?;
        drop(reader);
        if let Some(newest) = rows.last() {
            return signer_of(vault, newest);
        }
        let id = AuditKeyId::new(now, entropy);
        let made = vault.new_signing_key(&audit_key_aad(&id), entropy)?;
        let row = AuditKeyRow {
            id,
            public_key: made.public_key.to_vec(),
            sealed: made.sealed.bytes,
            data_key: made.sealed.data_key,
            created_at: now,
        };
        let mut tx = store.begin_write(&[scopes::INSTANCE]).await?;
        // Another server may have made one since.
        if let Some(newest) = audit_keys::list(&mut tx).await?.last() {
            return signer_of(vault, newest);
        }
        audit_keys::create(&mut tx, &row).await?;
        tx.commit().await?;
        signer_of(vault, &row)
    }

    pub fn sign(&self, vault: &Vault, what: Signed, text: &[u8]) -> Result<Vec<u8>, SigningError> {
        vault
            .sign(&audit_key_aad(&self.id), &self.sealed, &what.message(text))
            .map(|signature| signature.to_vec())
            .map_err(|error| SigningError::Use { id: self.id.clone(), error })
    }
}

/// The keys whose signatures count: those that the installation's ring opens.
#[derive(Clone, Debug, Default)]
pub struct PublicKeys(HashMap<AuditKeyId, Vec<u8>>);

impl PublicKeys {
    pub async fn of(store: &Store, vault: &Vault) -> Result<Self, SigningError> {
        let mut reader = store.read().await?;
        let rows = audit_keys::list(&mut reader).await?;
        drop(reader);
        let mut keys = HashMap::new();
        for row in rows {
            let signer = signer_of(vault, &row)?;
            keys.insert(row.id, signer.public_key.to_vec());
        }
        Ok(Self(keys))
    }

    pub fn has(&self, id: &AuditKeyId) -> bool {
        self.0.contains_key(id)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// For people to compare: id and SHA-256 of the public key, in hexadecimal.
    pub fn fingerprints(&self) -> Vec<(AuditKeyId, String)> {
        let mut all: Vec<_> = self.0.iter().map(|(id, key)| (id.clone(), fingerprint(key))).collect();
        all.sort();
        all
    }

    pub fn fit(&self, id: &AuditKeyId, what: Signed, text: &[u8], signature: &[u8]) -> bool {
        self.0.get(id).is_some_and(|key| signature_fits(key, &what.message(text), signature))
    }
}

/// How a public key is told to people.
pub fn fingerprint(public_key: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, public_key);
    super::verify::hex(digest.as_ref())
}
