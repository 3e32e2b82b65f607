//! The refresh protocol as a pure state machine.
//!
//! Refresh tokens are single-use, processes die between a provider's commit and ours, and several
//! servers share one token. So one server at a time holds the token's *lease*, writes down its
//! *intent* before it asks, and saves what it gets by compare-and-swap on the token's *version*:
//!
//! ```text
//! read → decide ─┬─ use what is there
//!                ├─ wait for the holder (at most 45 s), read again
//!                └─ Take → Prepare → MarkSent → ask (≤ 45 s) ─┬─ token → Save → answer all who wait
//!                                                             ├─ dead → Dead, unless the version moved
//!                                                             └─ failed → Fail (backoff)
//! ```
//!
//! - The lease's *fence* decides who may send. It does not decide who may save: an answer is never
//!   thrown away while the version is unmoved, because after a long pause the late answer may hold
//!   the only living refresh token.
//! - A foreign intent that is `prepared` was never sent: go on. One that is `sent` may have spent the
//!   refresh token: asking again is right only where that is harmless ([`Reuse`]), else the token
//!   needs reconnecting. A late answer still saves then, and the token lives again.
//! - A foreign process that is known to have ended (its journal's lock in our own folder is free) is buried:
//!   its leases and intents are cleared at once. Nobody is left to get its answer, so that asking again costs
//!   nothing; if the provider had committed, it says so now, and the grant is found dead.
//! - When the holder itself gets no answer it knows that none can come any more, so it fails with
//!   backoff and the token is asked for again: if the provider did commit, the old refresh token is
//!   refused and the grant is found dead; if it did not, nothing was lost.
//! - Waiters are answered only after the token is stored.
//!
//! Every change of a row is one [`Step`]: a condition and a change, to be done as one SQL statement
//! whose row count tells whether the condition held. [`Step::apply`] is its meaning, used by the
//! simulation and compared with the SQL on real databases. Lease, intent and backoff deadlines are
//! set and compared by the database's clock; all times are milliseconds.

mod backoff;
mod decide;
mod machine;
mod row;
mod step;

pub use backoff::{JITTER_BYTES, backoff};
pub use decide::{Decision, Need, Refusal, decide};
pub use machine::{Answer, Command, Ended, Event, Machine, Ran};
pub use row::{Intent, Lease, Life, Reuse, TokenRow, TokenState};
pub use step::Step;

/// How long one token request may take, from sending it to the end of its answer.
pub const ASK_LIMIT_MS: i64 = 45_000;

/// How long a lease lasts without a heartbeat. Longer than an ask: the holder of an unanswered
/// request gives up before anybody else may begin.
pub const LEASE_MS: i64 = 60_000;

/// How often a holder renews its lease while it asks.
pub const HEARTBEAT_MS: i64 = 5_000;

/// A holder that has not renewed its lease for so long has missed two heartbeats: it is dead, or so slow that it does
/// not matter. Where asking twice is harmless ([`Reuse::Repeatable`]) its lease is not waited out: its callers' callers
/// would get nothing for a minute. Two may ask at once then; the version decides whose token is kept.
pub const SILENT_MS: i64 = 15_000;

/// How long somebody waits for another's refresh before being told that it is busy.
pub const WAIT_LIMIT_MS: i64 = 45_000;

/// After a 401 a token is refreshed by force at most once in this time.
pub const FORCE_INTERVAL_MS: i64 = 30_000;

/// Between marking an intent as sent and really sending no more than this may pass, so that the
/// ask ends within the lease.
pub const SEND_SLACK_MS: i64 = LEASE_MS - ASK_LIMIT_MS;
