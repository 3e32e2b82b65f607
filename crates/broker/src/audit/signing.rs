//! What the trail is signed with: one Ed25519 key of the installation, made at the first start. Its seed is sealed
//! under a data key like every secret, so the root key stands behind it: whoever has the database alone can neither
//! sign nor put a key of their own in its place.
//!
//! * Heads of chains are signed in every append, so that a chain cannot be hashed anew or appended to.
//! * Anchors are, so that a chain cannot be cut at its beginning.
//! * Checkpoints are, so that a place that others can write proves something.

use std::collections::HashMap;
use std::sync::Arc;

use latchstring_model::id::AuditKeyId;
use latchstring_model::{Entropy, Timestamp};
use latchstring_store::audit::JournalRow;
use latchstring_store::audit_keys::{self, AuditKeyRow, HeadSignature, HeadSigner};
use latchstring_store::{Store, StoreError, scopes};
use latchstring_vault::{OpenError, SealError, SignError, Vault, signature_fits};

use crate::sealing::audit_key_aad;

/// Different things: what was signed as one is no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signed {
    Head,
    Checkpoint,
    Anchor,
}

impl Signed {
    const fn label(self) -> &'static [u8] {
        match self {
            Signed::Head => b"latchstring audit head 2\0",
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
    #[error(
        "the audit key is gone from the database; restore the table audit_keys, or restart the server to make a new one (what the old one signed does not count then)"
    )]
    NoKey,
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
    /// The newest key, or none. Read again each time: it is sealed anew when data keys rotate.
    pub async fn known(store: &Store, vault: &Vault) -> Result<Option<Self>, SigningError> {
        let mut reader = store.read().await?;
        let rows = audit_keys::list(&mut reader).await?;
        rows.last().map(|newest| signer_of(vault, newest)).transpose()
    }

    /// The newest key, which the start has made.
    pub async fn current(store: &Store, vault: &Vault) -> Result<Self, SigningError> {
        Self::known(store, vault).await?.ok_or(SigningError::NoKey)
    }

    /// The newest key; made when there is none. It signs nothing that is there: a chain without a signature may be one
    /// that somebody forged, with the old key, or all trace of there ever having been one, taken away.
    async fn first(
        store: &Store,
        vault: &Vault,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> Result<Self, SigningError> {
        if let Some(known) = Self::known(store, vault).await? {
            return Ok(known);
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

/// What is signed of a head: a chain, its length and its hash, and how far its journal is shipped; each of one form. A
/// journal that was said to be shipped further would lose what is not, and nobody would miss it.
pub(super) fn head_text(row: &JournalRow) -> String {
    let JournalRow { writer, segment, shipped, number, head } = row;
    format!("{writer}\n{number}\n{}\n{segment}\n{shipped}", super::verify::hex(head))
}

/// Signs heads as they are written.
struct HeadKeeper {
    vault: Arc<Vault>,
    signer: Signer,
}

impl HeadKeeper {
    fn new(vault: &Arc<Vault>, signer: Signer) -> Self {
        Self { vault: Arc::clone(vault), signer }
    }
}

impl HeadSigner for HeadKeeper {
    fn sign(&self, row: &JournalRow) -> Result<HeadSignature, StoreError> {
        let text = head_text(row);
        match self.signer.sign(&self.vault, Signed::Head, text.as_bytes()) {
            Ok(signature) => Ok(HeadSignature { key_id: self.signer.id.clone(), signature }),
            Err(error) => Err(StoreError::Other { code: "audit_key".into(), text: error.to_string() }),
        }
    }

    fn fits(&self, row: &JournalRow, signature: &HeadSignature) -> bool {
        let message = Signed::Head.message(head_text(row).as_bytes());
        let fits = signature.key_id == self.signer.id
            && signature_fits(&self.signer.public_key, &message, &signature.signature);
        if !fits {
            tracing::error!(
                writer = row.writer,
                number = row.number,
                "the head of an audit chain is not what a server of this installation signed: somebody else wrote to the database; see `latchstring audit verify`"
            );
        }
        fits
    }
}

/// Whether there is a key to be made when there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstKey {
    Never,
    Make,
}

/// From now on this store signs what it appends.
pub async fn sign_heads(
    store: &Store,
    vault: &Arc<Vault>,
    now: Timestamp,
    entropy: &dyn Entropy,
    first: FirstKey,
) -> Result<(), SigningError> {
    let signer = match first {
        FirstKey::Never => Signer::known(store, vault).await?,
        FirstKey::Make => Some(Signer::first(store, vault, now, entropy).await?),
    };
    if let Some(signer) = signer {
        store.sign_heads_with(Arc::new(HeadKeeper::new(vault, signer)));
    }
    Ok(())
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

    /// Whether a head is one that a server of this installation wrote.
    pub fn fit_head(&self, row: &JournalRow, signature: &HeadSignature) -> bool {
        self.fit(&signature.key_id, Signed::Head, head_text(row).as_bytes(), &signature.signature)
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
