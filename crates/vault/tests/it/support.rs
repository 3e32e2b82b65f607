use std::sync::atomic::{AtomicU64, Ordering};

use latchstring_model::id::{DataKeyId, ProjectId};
use latchstring_model::{Entropy, Timestamp};
use latchstring_vault::{Aad, KeyRing, Purpose, Vault};
use sha2::{Digest as _, Sha256};

pub const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);

/// SHA-256 of a counter: never the same bytes twice, always the same run.
pub struct Counted(AtomicU64);

impl Counted {
    pub const fn from(start: u64) -> Self {
        Self(AtomicU64::new(start))
    }
}

impl Entropy for Counted {
    fn fill(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(32) {
            let block = Sha256::digest(self.0.fetch_add(1, Ordering::Relaxed).to_be_bytes());
            chunk.copy_from_slice(&block[..chunk.len()]);
        }
    }
}

/// A vault with one data key, active.
pub fn vault(entropy: &Counted) -> Vault {
    let vault = Vault::new(KeyRing::generate(NOW, entropy));
    add_active(&vault, entropy);
    vault
}

pub fn add_active(vault: &Vault, entropy: &Counted) -> DataKeyId {
    let stored = vault.new_data_key(DataKeyId::new(NOW, entropy), entropy).unwrap();
    vault.load_data_key(&stored).unwrap();
    vault.set_active(&stored.id).unwrap();
    stored.id
}

pub fn aad() -> Aad {
    Aad {
        purpose: Purpose::CredentialValues,
        object: "crd_1".into(),
        environment: Some("production".into()),
        version: 3,
        project: Some(ProjectId::new(NOW, &Counted::from(900))),
    }
}
