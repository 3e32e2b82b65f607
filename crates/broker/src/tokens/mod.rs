//! Tokens: obtained, sealed, stored, cached, renewed.
//!
//! A [`TokenSlot`] is one token in this process; all cores share it, and a warm call only reads it. Obtaining
//! is single-flight here, and across servers by the lease of the refresh protocol (`schemes::refresh`).

mod driver;
mod key;
mod obtain;
mod source;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use arc_swap::ArcSwapOption;
use latchstring_model::Timestamp;
use latchstring_model::id::CredentialId;
use latchstring_model::problem::Refused;
use latchstring_schemes::token::TokenSet;
use tokio::sync::watch;

use crate::road::mask::MaskSet;

pub use key::{id_of, token_id};
pub(crate) use source::excerpt;
pub use source::{AskClass, AskFailure, Exchange, TokenSource};

/// A token that can be used, opened.
pub struct LiveToken {
    pub set: TokenSet,
    /// Counts saved tokens of this slot; from the database.
    pub version: i64,
    pub mask: Arc<MaskSet>,
    /// From then on it is renewed before it is used.
    pub fresh_until: Option<Timestamp>,
}

impl LiveToken {
    pub fn new(set: TokenSet, version: i64, own_margin_ms: Option<i64>) -> Self {
        let mask = Arc::new(MaskSet::new(&set.secrets()));
        let fresh_until = set.fresh_until(own_margin_ms);
        Self { set, version, mask, fresh_until }
    }
}

/// How an attempt to get a token ended, for everybody who waits for it.
type Landing = watch::Receiver<Option<Refused<Arc<LiveToken>>>>;

/// One token of one credential: by its key, which no two people or projects share by accident.
pub struct TokenSlot {
    pub id: String,
    pub credential: CredentialId,
    /// Of the credential.
    pub environment: String,
    pub values_version: i64,
    live: ArcSwapOption<LiveToken>,
    flight: Mutex<Option<Landing>>,
}

impl TokenSlot {
    /// The token, if it is good for a call now.
    pub fn fresh(&self, now: Timestamp) -> Option<Arc<LiveToken>> {
        self.live.load_full().filter(|live| live.fresh_until.is_none_or(|until| now < until))
    }

    /// Whatever is here, fresh or not.
    pub fn any(&self) -> Option<Arc<LiveToken>> {
        self.live.load_full()
    }

    fn keep(&self, live: Arc<LiveToken>) {
        // A slower reader must not put an older token over a newer one.
        self.live.rcu(|known| match known {
            Some(known) if known.version > live.version => Some(Arc::clone(known)),
            _ => Some(Arc::clone(&live)),
        });
    }

    fn forget(&self) {
        self.live.store(None);
    }
}

/// All slots that some route uses at the moment.
#[derive(Default)]
pub struct TokenBook {
    slots: Mutex<HashMap<String, Weak<TokenSlot>>>,
}

impl TokenBook {
    pub fn slot(
        &self,
        id: &str,
        credential: &CredentialId,
        environment: &str,
        values_version: i64,
    ) -> Arc<TokenSlot> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = slots.get(id).and_then(Weak::upgrade) {
            return slot;
        }
        if slots.len() % 1024 == 1023 {
            slots.retain(|_, slot| slot.strong_count() > 0);
        }
        let slot = Arc::new(TokenSlot {
            id: id.to_owned(),
            credential: credential.clone(),
            environment: environment.to_owned(),
            values_version,
            live: ArcSwapOption::empty(),
            flight: Mutex::new(None),
        });
        slots.insert(id.to_owned(), Arc::downgrade(&slot));
        slot
    }
}
