//! What is stored of a token beside its sealed bytes.

use latchstring_model::Timestamp;
use serde::{Deserialize, Serialize};

/// Whether a request may be repeated when its answer was lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reuse {
    /// Spends a refresh token that is good once; a second use may end the whole grant.
    #[default]
    SingleUse,
    /// As single-use, but the provider takes the last one again for a while.
    Grace,
    /// The refresh token stays the same.
    #[serde(rename = "nonrotating")]
    NonRotating,
    /// Spends nothing: client credentials, signed assertions, login steps.
    Repeatable,
}

impl Reuse {
    /// Whether to ask once more after somebody's request got lost.
    pub const fn may_repeat(self) -> bool {
        !matches!(self, Reuse::SingleUse)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenState {
    /// Never had a token.
    Empty,
    Live,
    /// The grant is dead, or may be and cannot be asked without harm.
    NeedsReconnect,
}

/// Who refreshes; its fence is the row's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// A server process, new at every start.
    pub owner: String,
    /// By the database's clock.
    pub deadline: Timestamp,
}

/// How far somebody got with a token request; outlives its process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intent {
    None,
    /// About to ask; nothing was sent.
    Prepared {
        fence: i64,
    },
    /// Asked, or about to at any moment. Over at the latest at `deadline`, by the database's clock.
    Sent {
        fence: i64,
        deadline: Timestamp,
    },
}

impl Intent {
    pub const fn is_sent(self) -> bool {
        matches!(self, Intent::Sent { .. })
    }

    pub const fn fence(self) -> Option<i64> {
        match self {
            Intent::None => None,
            Intent::Prepared { fence } | Intent::Sent { fence, .. } => Some(fence),
        }
    }
}

/// The times of one obtained token, in the clear beside its sealed bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    pub obtained_at: Timestamp,
    /// The end less the margin: from then on it is refreshed.
    pub fresh_until: Option<Timestamp>,
    pub expires_at: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRow {
    pub state: TokenState,
    /// Counts saved tokens; every save and every reconnect moves it.
    pub version: i64,
    /// Of the stored token, if there is one.
    pub life: Option<Life>,
    /// Counts leases; only the holder of the newest may send.
    pub fence: i64,
    pub lease: Option<Lease>,
    pub intent: Intent,
    /// Failures since the last success.
    pub failures: u32,
    /// Nobody asks before, by the database's clock.
    pub retry_at: Option<Timestamp>,
    /// When a refresh was last forced by a 401, by the database's clock.
    pub forced_at: Option<Timestamp>,
}

impl TokenRow {
    pub const fn empty() -> Self {
        Self {
            state: TokenState::Empty,
            version: 0,
            life: None,
            fence: 0,
            lease: None,
            intent: Intent::None,
            failures: 0,
            retry_at: None,
            forced_at: None,
        }
    }

    /// A token that came from consent or from the owner's hands.
    pub fn live(life: Life) -> Self {
        Self { state: TokenState::Live, version: 1, life: Some(life), ..Self::empty() }
    }

    pub fn is_fresh(&self, now: Timestamp) -> bool {
        self.state == TokenState::Live
            && self.life.is_some_and(|life| life.fresh_until.is_none_or(|until| now < until))
    }

    /// Not at its end: worth sending even when it cannot be refreshed.
    pub fn is_alive(&self, now: Timestamp) -> bool {
        self.life.is_some_and(|life| life.expires_at.is_none_or(|end| now < end))
    }

    pub fn is_leased(&self, now: Timestamp) -> bool {
        self.lease.as_ref().is_some_and(|lease| now < lease.deadline)
    }
}
