//! The life of a token, as a bar and in words.

use latchstring_broker::credentials::view::TokenView;
use latchstring_model::Timestamp;

use crate::pages::ui::When;
use crate::texts::{Rich, T};

pub struct Life {
    pub words: Rich,
    /// Seconds that are left, and of how many; `None` where its end is not known.
    pub left: Option<(i64, i64)>,
    /// Less than a tenth is left.
    pub late: bool,
    pub failed: Option<String>,
    pub retry: Option<Rich>,
    pub grant_ends: Option<Rich>,
}

impl Life {
    pub fn of(t: T, token: &TokenView, now: Timestamp) -> Self {
        let c = &t.credentials;
        let near = |at: Timestamp| When::near(t, at, now);
        let (words, left) = match (token.obtained_at, token.expires_at) {
            (_, Some(ends)) if ends <= now => (c.token_ended.rich().part("when", &near(ends)), None),
            (began, Some(ends)) => {
                let whole = began.map_or(0, |began| ends.secs() - began.secs()).max(1);
                let left = (ends.secs() - now.secs()).clamp(0, whole);
                (c.token_until.rich().part("when", &near(ends)), Some((left, whole)))
            }
            (Some(_), None) => (c.token_unknown.rich(), None),
            (None, None) => (c.token_none.rich(), None),
        };
        Self {
            words,
            late: left.is_some_and(|(left, whole)| left * 10 < whole),
            left,
            failed: token.last_error.as_ref().map(|error| c.token_failed.with("error", error).0),
            retry: token
                .retry_at
                .filter(|at| *at > now)
                .map(|at| c.token_retry.rich().part("when", &near(at))),
            grant_ends: token.grant_expires_at.map(|at| c.grant_ends.rich().part("when", &near(at))),
        }
    }
}
