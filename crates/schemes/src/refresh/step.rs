//! The few changes of a token row, each a compare-and-swap.

use latchstring_model::Timestamp;

use super::LEASE_MS;
use super::row::{Intent, Lease, Life, TokenRow, TokenState};

/// A condition on the row and a change, to be done in one statement. `now` is the database's clock
/// in that statement. Where the condition does not hold nothing changes and the step is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// If nobody holds the lease (one that runs out within `patience_ms` does not count), nobody took it since it was read (`seen_fence`), the version is
    /// unmoved, and no request is open that must not be repeated:
    /// a new fence, the lease is `owner`'s for 60 s; `forced` notes the time.
    Take { owner: String, seen_fence: i64, version: i64, may_repeat: bool, patience_ms: i64, forced: bool },
    /// If the lease with this fence has not run out: 60 s more.
    Renew { fence: i64 },
    /// If the lease with this fence has not run out and the version is unmoved: the intent is written.
    Prepare { fence: i64, version: i64 },
    /// If the lease with this fence has not run out, the version is unmoved and our intent is
    /// prepared: it is sent, and lease and intent last 60 s from now.
    MarkSent { fence: i64, version: i64 },
    /// If the version is unmoved, whoever holds the lease: the new token is stored under the next
    /// version, lease, intent and failures are cleared, the token lives.
    Save { version: i64, life: Life },
    /// If the fence is ours and the version unmoved: lease and intent are cleared, one failure more,
    /// nobody asks for `retry_ms`.
    Fail { fence: i64, version: i64, retry_ms: i64 },
    /// If the fence is ours and the version unmoved: lease and intent are cleared, the grant is dead.
    Dead { fence: i64, version: i64 },
    /// If the fence is ours: the lease is cleared, and the intent too if it is ours. Only for who has
    /// sent nothing.
    Release { fence: i64 },
    /// If nobody came since (`seen_fence`), the version is unmoved, and a sent intent is past its
    /// deadline with no lease: it is cleared, the grant counts as dead, and a new fence keeps its
    /// sender from any step but a late Save.
    Orphan { seen_fence: i64, version: i64 },
    /// If the lease is `owner`'s, whether or not it has run out: lease, intent and the note of a forced refresh
    /// are cleared, and a new fence keeps `owner` from any step but a late Save. Only for an owner whose process is known to
    /// have ended: nobody is left who could get the answer, so asking again loses nothing that is not
    /// lost already, and saves a grant whose request never reached the provider.
    Bury { owner: String },
    /// Always: a token from consent or from the owner takes the place of what is there.
    Replace { life: Life },
}

impl Step {
    /// What the SQL statement of this step does. `false`: refused, nothing has changed.
    pub fn apply(&self, row: &mut TokenRow, now: Timestamp) -> bool {
        let held = |row: &TokenRow, fence: i64| row.fence == fence && row.is_leased(now);
        match self {
            Step::Take { owner, seen_fence, version, may_repeat, patience_ms, forced } => {
                if row.fence != *seen_fence
                    || row.version != *version
                    || row.is_leased(now.plus_millis(*patience_ms))
                    || (row.intent.is_sent() && !may_repeat)
                {
                    return false;
                }
                row.fence += 1;
                row.lease = Some(Lease { owner: owner.clone(), deadline: now.plus_millis(LEASE_MS) });
                if *forced {
                    row.forced_at = Some(now);
                }
            }
            Step::Renew { fence } => {
                if !held(row, *fence) {
                    return false;
                }
                extend(row, now);
            }
            Step::Prepare { fence, version } => {
                if !held(row, *fence) || row.version != *version {
                    return false;
                }
                row.intent = Intent::Prepared { fence: *fence };
            }
            Step::MarkSent { fence, version } => {
                if !held(row, *fence)
                    || row.version != *version
                    || row.intent != (Intent::Prepared { fence: *fence })
                {
                    return false;
                }
                row.intent = Intent::Sent { fence: *fence, deadline: now.plus_millis(LEASE_MS) };
                extend(row, now);
            }
            Step::Save { version, life } => {
                if row.version != *version {
                    return false;
                }
                store(row, *life);
            }
            Step::Fail { fence, version, retry_ms } => {
                if row.fence != *fence || row.version != *version {
                    return false;
                }
                row.lease = None;
                row.intent = Intent::None;
                row.failures = row.failures.saturating_add(1);
                row.retry_at = Some(now.plus_millis(*retry_ms));
            }
            Step::Dead { fence, version } => {
                if row.fence != *fence || row.version != *version {
                    return false;
                }
                die(row);
            }
            Step::Release { fence } => {
                if row.fence != *fence {
                    return false;
                }
                row.lease = None;
                if row.intent.fence() == Some(*fence) {
                    row.intent = Intent::None;
                }
            }
            Step::Orphan { seen_fence, version } => {
                let over = matches!(row.intent, Intent::Sent { deadline, .. } if deadline <= now);
                if row.fence != *seen_fence || row.version != *version || row.is_leased(now) || !over {
                    return false;
                }
                row.fence += 1;
                die(row);
            }
            Step::Bury { owner } => {
                if row.lease.as_ref().is_none_or(|lease| lease.owner != *owner) {
                    return false;
                }
                row.fence += 1;
                row.lease = None;
                row.intent = Intent::None;
                row.forced_at = None;
            }
            Step::Replace { life } => store(row, *life),
        }
        true
    }
}

fn extend(row: &mut TokenRow, now: Timestamp) {
    if let Some(lease) = &mut row.lease {
        lease.deadline = now.plus_millis(LEASE_MS);
    }
}

fn store(row: &mut TokenRow, life: Life) {
    row.version += 1;
    row.state = TokenState::Live;
    row.life = Some(life);
    row.lease = None;
    row.intent = Intent::None;
    row.failures = 0;
    row.retry_at = None;
}

fn die(row: &mut TokenRow) {
    row.state = TokenState::NeedsReconnect;
    row.lease = None;
    row.intent = Intent::None;
    row.failures = row.failures.saturating_add(1);
    row.retry_at = None;
}
