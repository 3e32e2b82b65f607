//! What to do about a token, from its row alone.

use latchstring_model::Timestamp;

use super::row::{Intent, Reuse, TokenRow, TokenState};
use super::step::Step;
use super::{FORCE_INTERVAL_MS, LEASE_MS, SILENT_MS};

/// What somebody wants of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// A token for a call.
    Usable,
    /// In the background, ahead of its end or to keep an idle grant alive: a successor of this version.
    Ahead { version: i64 },
    /// The API answered 401 to the token of this version: a successor.
    Rejected { version: i64 },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The stored token is the one to use.
    Use,
    /// Somebody refreshes; their time is up at `until`, by the database's clock.
    Wait {
        until: Timestamp,
    },
    /// Nobody refreshes and somebody should.
    Take(Step),
    /// A request was sent, its sender is gone, and asking again could end the grant.
    Settle(Step),
    Refuse(Refusal),
}

/// Why there is no token and none will be asked for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    NeedsReconnect,
    /// Nobody has consented yet.
    NeedsConsent,
    /// After a failure, by the database's clock.
    BackOff {
        until: Timestamp,
    },
    /// A refresh was forced a moment ago; the 401 has another cause.
    JustForced,
}

/// `now` is the database's clock when it read the row.
pub fn decide(row: &TokenRow, now: Timestamp, me: &str, need: Need, reuse: Reuse) -> Decision {
    let wanted = match need {
        Need::Usable => !row.is_fresh(now),
        // Somebody else brought a successor already.
        Need::Ahead { version } | Need::Rejected { version } => row.version == version,
    };
    if !wanted && row.state == TokenState::Live {
        return Decision::Use;
    }
    // What is still alive serves a call while it cannot be, or is being, refreshed.
    let serves = need == Need::Usable && row.is_alive(now);
    let or_use = |decision| if serves { Decision::Use } else { decision };

    if row.state == TokenState::NeedsReconnect {
        // What the API answered 401 to earns another 401, whatever life it has left.
        let rejected = row.forced_at.zip(row.life).is_some_and(|(at, life)| at >= life.obtained_at);
        let refuse = Decision::Refuse(Refusal::NeedsReconnect);
        return if rejected { refuse } else { or_use(refuse) };
    }
    if row.state == TokenState::Empty && reuse != Reuse::Repeatable {
        return Decision::Refuse(Refusal::NeedsConsent);
    }
    let patience_ms = if reuse == Reuse::Repeatable { LEASE_MS - SILENT_MS } else { 0 };
    if let Some(lease) = &row.lease {
        let until = lease.deadline.plus_millis(-patience_ms);
        if now < until {
            return or_use(Decision::Wait { until });
        }
    }
    if let Intent::Sent { deadline, .. } = row.intent
        && reuse != Reuse::Repeatable
    {
        if now < deadline {
            return or_use(Decision::Wait { until: deadline });
        }
        if !reuse.may_repeat() {
            return Decision::Settle(Step::Orphan { seen_fence: row.fence, version: row.version });
        }
    }
    if let Some(until) = row.retry_at.filter(|until| now < *until) {
        return or_use(Decision::Refuse(Refusal::BackOff { until }));
    }
    let forced = matches!(need, Need::Rejected { .. });
    if forced && row.forced_at.is_some_and(|at| now < at.plus_millis(FORCE_INTERVAL_MS)) {
        return Decision::Refuse(Refusal::JustForced);
    }
    Decision::Take(Step::Take {
        owner: me.to_owned(),
        seen_fence: row.fence,
        version: row.version,
        may_repeat: reuse.may_repeat(),
        patience_ms,
        forced,
    })
}
