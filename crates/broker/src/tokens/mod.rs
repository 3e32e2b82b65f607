//! Tokens: obtained, sealed, stored, cached, renewed.
//!
//! A [`TokenSlot`] is one token in this process; all cores share it, and a warm call only reads it. Obtaining
//! is single-flight here, and across servers by the lease of the refresh protocol (`schemes::refresh`).

pub mod background;
mod driver;
mod grant;
mod key;
mod obtain;
mod source;

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use arc_swap::ArcSwapOption;
use latchstring_model::Timestamp;
use latchstring_model::id::CredentialId;
use latchstring_model::problem::Refused;
use latchstring_schemes::token::TokenSet;
use tokio::sync::watch;

use crate::road::mask::MaskSet;
use crate::road::route::Route;

pub(crate) use grant::one_that_renders;
pub use key::{bound_to, id_of, token_id};
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

/// An attempt that is under way.
#[derive(Clone)]
struct Flight {
    landing: Landing,
    /// Begun in the background, ahead of need: its failure is nobody's yet.
    ahead: bool,
    /// Begun by a call that was answered 401, which may be told that it was tried a moment ago: who only needs a token is
    /// not told that.
    forced: bool,
}

/// How exactly uses are noted, in milliseconds: a store per call would have all cores write to one line.
const USE_NOTED_EVERY: i64 = 10_000;
/// A token that operations used is kept opened for so long after its last use, in milliseconds.
const KEPT_FOR: i64 = 3_600_000;
/// Tokens that are kept for operations.
const MOST_KEPT: usize = 4096;

/// One token of one credential: by its key, which no two people or projects share by accident.
pub struct TokenSlot {
    pub id: String,
    pub credential: CredentialId,
    /// Of the credential.
    pub environment: String,
    pub values_version: i64,
    live: ArcSwapOption<LiveToken>,
    flight: Mutex<Option<Flight>>,
    /// When a call last wanted it, to [`USE_NOTED_EVERY`].
    used: AtomicI64,
    /// The route that was built last: it knows how the token is asked for.
    route: Mutex<Weak<Route>>,
}

impl TokenSlot {
    /// The token, if it is good for a call now.
    pub fn fresh(&self, now: Timestamp) -> Option<Arc<LiveToken>> {
        if now.millis() - self.used.load(Ordering::Relaxed) >= USE_NOTED_EVERY {
            self.used.store(now.millis(), Ordering::Relaxed);
        }
        self.current(now)
    }

    /// The same for whoever is no call.
    fn current(&self, now: Timestamp) -> Option<Arc<LiveToken>> {
        self.live.load_full().filter(|live| live.fresh_until.is_none_or(|until| now < until))
    }

    /// Whatever is here, fresh or not.
    pub fn any(&self) -> Option<Arc<LiveToken>> {
        self.live.load_full()
    }

    /// Whether a call of this process wanted it since then.
    fn used_since(&self, at: Timestamp) -> bool {
        self.used.load(Ordering::Relaxed) >= at.plus_millis(-USE_NOTED_EVERY).millis()
    }

    /// Told by each new route of it.
    pub(crate) fn belongs_to(&self, route: &Arc<Route>) {
        *self.route.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(route);
    }

    fn route(&self) -> Option<Arc<Route>> {
        self.route.lock().unwrap_or_else(PoisonError::into_inner).upgrade()
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
    /// Those that no data core holds: operations build a route for each call.
    kept: Mutex<HashMap<String, Arc<TokenSlot>>>,
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
            used: AtomicI64::new(i64::MIN / 2),
            route: Mutex::new(Weak::new()),
        });
        slots.insert(id.to_owned(), Arc::downgrade(&slot));
        slot
    }

    fn find(&self, id: &str) -> Option<Arc<TokenSlot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner).get(id).and_then(Weak::upgrade)
    }

    /// What is remembered of a token is not what is stored any more.
    pub(crate) fn forget(&self, id: &str) {
        if let Some(slot) = self.find(id) {
            slot.forget();
        }
    }

    /// Keeps the token of a call whose route ends with it.
    pub(crate) fn keep(&self, slot: &Arc<TokenSlot>) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= MOST_KEPT && !kept.contains_key(&slot.id) {
            kept.clear();
        }
        kept.insert(slot.id.clone(), Arc::clone(slot));
    }

    /// Lets go of what nobody has used for long.
    fn sweep(&self, now: Timestamp) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|_, slot| slot.used_since(now.plus_millis(-KEPT_FOR)));
    }

    /// Slots that somebody holds.
    pub fn living(&self) -> usize {
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.values().filter(|slot| slot.strong_count() > 0).count()
    }
}
