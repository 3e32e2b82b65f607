//! Metrics, as Prometheus text (exposition format 0.0.4).
//!
//! A registry of our own: a warm call may cost a few uncontended additions and nothing else, so counters are
//! plain relaxed atomics in one block per data core, found by index. Labels are known beforehand and their
//! texts are only made when somebody reads. The known crates look a labelled counter up in a locked map per
//! event, or want one handle kept for each combination, which is what the arrays here are.
//!
//! Durations are in milliseconds inside and in seconds outside; they last from the request's first step to the
//! end of the answer's body.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use latchstring_egress::Pool;
use latchstring_journal::Purpose;
use latchstring_model::{Code, Timestamp};

use crate::Broker;
use crate::tokens::AskClass;

/// Upper bounds of a duration's buckets, in milliseconds.
const BUCKETS: [u64; 11] = [5, 10, 25, 50, 100, 250, 500, 1_000, 5_000, 15_000, 60_000];

/// How a call that was recorded ended.
const OUTCOMES: [&str; 7] = ["2xx", "3xx", "4xx", "5xx", "other", "no_answer", "broken"];
const NO_ANSWER: usize = 5;
const BROKEN: usize = 6;

const PURPOSES: usize = Purpose::ALL.len();
const CODES: usize = Code::ALL.len();

const RESULTS: [&str; 5] = ["obtained", "dead", "refused", "failed", "ambiguous"];

fn counters<const N: usize>() -> [AtomicU64; N] {
    [const { AtomicU64::new(0) }; N]
}

fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

/// Calls of one purpose.
struct Ended {
    outcomes: [AtomicU64; OUTCOMES.len()],
    /// Each call in the first bucket that it fits; summed up when read. The last is what fits none.
    durations: [AtomicU64; BUCKETS.len() + 1],
    duration_ms: AtomicU64,
}

impl Ended {
    const fn new() -> Self {
        Self {
            outcomes: [const { AtomicU64::new(0) }; OUTCOMES.len()],
            durations: [const { AtomicU64::new(0) }; BUCKETS.len() + 1],
            duration_ms: AtomicU64::new(0),
        }
    }
}

/// One core's counters. Aligned so that no two cores write to the same cache line.
#[repr(align(128))]
pub struct CallCounts {
    ended: [Ended; PURPOSES],
    refused: [AtomicU64; CODES],
}

impl Default for CallCounts {
    fn default() -> Self {
        Self { ended: [const { Ended::new() }; PURPOSES], refused: counters() }
    }
}

impl CallCounts {
    /// A recorded call ended. `code`: why without an answer, or why in the middle of one.
    pub fn ended(&self, purpose: Purpose, status: Option<u16>, code: Option<&str>, took_ms: i64) {
        let Some(ended) = self.ended.get(purpose as usize) else { return };
        let outcome = match (status, code) {
            (None, _) => NO_ANSWER,
            (Some(_), Some(_)) => BROKEN,
            (Some(status @ 200..=599), None) => usize::from(status / 100 - 2),
            (Some(_), None) => 4,
        };
        let took = u64::try_from(took_ms).unwrap_or(0);
        let bucket = BUCKETS.iter().position(|bound| took <= *bound).unwrap_or(BUCKETS.len());
        for counter in [ended.outcomes.get(outcome), ended.durations.get(bucket)].into_iter().flatten() {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        ended.duration_ms.fetch_add(took, Ordering::Relaxed);
    }

    /// A caller got an error of our own instead of an answer of the API.
    pub fn refused(&self, code: Code) {
        if let Some(counter) = self.refused.get(code as usize) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// One runtime's counters and its pool.
struct Core {
    name: String,
    counts: Arc<CallCounts>,
    pool: Option<Pool>,
}

/// Everything that is counted. One per process.
pub struct Metrics {
    own: Arc<CallCounts>,
    cores: Mutex<Vec<Core>>,
    token_requests: [AtomicU64; RESULTS.len()],
    ahead: AtomicU64,
    lookups: AtomicU64,
    identities: AtomicU64,
    started_at: Timestamp,
}

impl Metrics {
    pub fn new(started_at: Timestamp) -> Self {
        Self {
            own: Arc::default(),
            cores: Mutex::default(),
            token_requests: counters(),
            ahead: AtomicU64::new(0),
            lookups: AtomicU64::new(0),
            identities: AtomicU64::new(0),
            started_at,
        }
    }

    /// The control runtime's.
    pub fn own(&self) -> &Arc<CallCounts> {
        &self.own
    }

    /// A data core's; once per core.
    pub fn core(&self, index: usize, pool: &Pool) -> Arc<CallCounts> {
        let counts = Arc::<CallCounts>::default();
        let core = Core { name: index.to_string(), counts: Arc::clone(&counts), pool: Some(pool.clone()) };
        self.cores.lock().unwrap_or_else(PoisonError::into_inner).push(core);
        counts
    }

    pub fn route_looked_up(&self) {
        self.lookups.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn identity_made(&self) {
        self.identities.fetch_add(1, Ordering::Relaxed);
    }

    /// `None`: a token came.
    pub(crate) fn token_request(&self, failure: Option<AskClass>) {
        let result = match failure {
            None => 0,
            Some(AskClass::Dead) => 1,
            Some(AskClass::Refused) => 2,
            Some(AskClass::Failed { .. }) => 3,
            Some(AskClass::Ambiguous) => 4,
        };
        if let Some(counter) = self.token_requests.get(result) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A token is renewed before a call needs it.
    pub(crate) fn renewed_ahead(&self) {
        self.ahead.fetch_add(1, Ordering::Relaxed);
    }
}

/// Prometheus text as it grows.
#[derive(Default)]
struct Text(String);

impl Text {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a String does not fail.
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    fn line(&mut self, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        self.0.push_str(name);
        if !labels.is_empty() {
            let labels: Vec<String> =
                labels.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
            let _ = write!(self.0, "{{{}}}", labels.join(","));
        }
        let _ = writeln!(self.0, " {value}");
    }

    fn one(&mut self, name: &str, kind: &str, help: &str, value: impl std::fmt::Display) {
        self.family(name, kind, help);
        self.line(name, &[], value);
    }
}

fn seconds(ms: u64) -> String {
    let text = format!("{}.{:03}", ms / 1000, ms % 1000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn sum<'c>(cores: impl Iterator<Item = &'c CallCounts>, of: impl Fn(&CallCounts) -> u64) -> u64 {
    cores.map(of).sum()
}

fn calls(text: &mut Text, all: &[Arc<CallCounts>]) {
    let total = |of: &dyn Fn(&CallCounts) -> u64| sum(all.iter().map(|counts| &**counts), of);
    let name = "latchstring_calls_total";
    text.family(name, "counter", "Requests that were recorded and sent, by what for and how they ended.");
    for (p, purpose) in Purpose::ALL.iter().enumerate() {
        for (o, outcome) in OUTCOMES.iter().enumerate() {
            let count = total(&|counts| read(&counts.ended[p].outcomes[o]));
            text.line(name, &[("purpose", purpose.as_str()), ("outcome", outcome)], count);
        }
    }
    let name = "latchstring_call_errors_total";
    let help = "Answers of Latchstring's own, by code: refused before anything was sent, or no answer came.";
    text.family(name, "counter", help);
    for (c, code) in Code::ALL.iter().enumerate() {
        let count = total(&|counts| read(&counts.refused[c]));
        if count > 0 {
            text.line(name, &[("code", code.as_str())], count);
        }
    }
    let name = "latchstring_call_duration_seconds";
    text.family(name, "histogram", "From a request's first step to the end of its answer's body.");
    for (p, purpose) in Purpose::ALL.iter().enumerate() {
        let purpose = purpose.as_str();
        let mut below = 0;
        for (b, bound) in BUCKETS.iter().enumerate() {
            below += total(&|counts| read(&counts.ended[p].durations[b]));
            let le = seconds(*bound);
            text.line(&format!("{name}_bucket"), &[("purpose", purpose), ("le", &le)], below);
        }
        below += total(&|counts| read(&counts.ended[p].durations[BUCKETS.len()]));
        text.line(&format!("{name}_bucket"), &[("purpose", purpose), ("le", "+Inf")], below);
        let spent = total(&|counts| read(&counts.ended[p].duration_ms));
        text.line(&format!("{name}_sum"), &[("purpose", purpose)], seconds(spent));
        text.line(&format!("{name}_count"), &[("purpose", purpose)], below);
    }
}

fn pools(text: &mut Text, cores: &[(String, latchstring_egress::Stats)]) {
    type Of = fn(&latchstring_egress::Stats) -> u64;
    let families: [(&str, &str, &str, Of); 4] = [
        ("latchstring_upstream_connections_opened_total", "counter", "Connections opened.", |s| s.opened),
        (
            "latchstring_upstream_connections_reused_total",
            "counter",
            "Requests that found a warm connection.",
            |s| s.reused,
        ),
        (
            "latchstring_upstream_retries_total",
            "counter",
            "Requests sent again because the first try was provably not processed.",
            |s| s.retried,
        ),
        ("latchstring_upstream_connections_idle", "gauge", "HTTP/1.1 connections that wait.", |s| s.idle),
    ];
    for (name, kind, help, of) in families {
        text.family(name, kind, help);
        for (core, stats) in cores {
            text.line(name, &[("core", core)], of(stats));
        }
    }
}

impl Broker {
    /// All metrics, as Prometheus text.
    pub fn metrics(&self) -> String {
        let metrics = &self.metrics;
        let mut text = Text::default();
        text.family("latchstring_build_info", "gauge", "Which version this is.");
        text.line("latchstring_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
        let started = u64::try_from(metrics.started_at.millis()).unwrap_or(0);
        let name = "latchstring_start_time_seconds";
        text.one(name, "gauge", "When this process began, in Unix time.", seconds(started));

        let mut all = vec![Arc::clone(&metrics.own)];
        let mut stats = Vec::new();
        if let Some(way) = self.own_way.get() {
            stats.push(("control".to_owned(), way.pool.stats()));
        }
        for core in metrics.cores.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            all.push(Arc::clone(&core.counts));
            stats.extend(core.pool.as_ref().map(|pool| (core.name.clone(), pool.stats())));
        }
        calls(&mut text, &all);
        pools(&mut text, &stats);

        let name = "latchstring_token_requests_total";
        text.family(name, "counter", "Attempts to obtain a token, by what came of them.");
        for (result, counter) in RESULTS.iter().zip(&metrics.token_requests) {
            text.line(name, &[("result", result)], read(counter));
        }
        let name = "latchstring_tokens_renewed_ahead_total";
        text.one(name, "counter", "Renewals begun before a call needed them.", read(&metrics.ahead));
        let (routes, tokens) = (self.routes.living(), self.tokens.living());
        text.one("latchstring_routes_cached", "gauge", "Routes that are kept for the next call.", routes);
        let name = "latchstring_route_lookups_total";
        text.one(name, "counter", "Routes that were looked up in the database.", read(&metrics.lookups));
        let name = "latchstring_private_keys_read_total";
        let help = "Private keys that were read from their PEM: once for many calls.";
        text.one(name, "counter", help, latchstring_schemes::keys::read_so_far());
        let name = "latchstring_tls_identities_made_total";
        let help = "Client certificates and authorities of credentials that were made ready for TLS.";
        text.one(name, "counter", help, read(&metrics.identities));
        text.one("latchstring_tokens_cached", "gauge", "Tokens that are kept opened.", tokens);
        let name = "latchstring_journal_unshipped_bytes";
        let behind = self.parts.journal.unshipped();
        text.one(name, "gauge", "Bytes of records that are not in the database yet.", behind);
        let fresh = u64::from(self.freshness.is_fresh(self.now()));
        let help = "1 while the database was heard of within the stale limit.";
        text.one("latchstring_database_in_touch", "gauge", help, fresh);
        text.0
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn purposes_and_codes_are_counted_at_their_place() {
        for (i, purpose) in Purpose::ALL.iter().enumerate() {
            assert_eq!(*purpose as usize, i);
        }
        for (i, code) in Code::ALL.iter().enumerate() {
            assert_eq!(*code as usize, i);
        }
    }

    #[test]
    fn a_call_is_in_one_outcome_and_in_every_bucket_above_it() {
        let (one, other) = (Arc::<CallCounts>::default(), Arc::<CallCounts>::default());
        one.ended(Purpose::Call, Some(204), None, 5);
        other.ended(Purpose::Call, Some(503), None, 6);
        other.ended(Purpose::Call, None, Some("upstream_timeout"), 70_000);
        other.ended(Purpose::Call, Some(200), Some("caller_gone"), -3);
        other.refused(Code::NoGrant);
        let mut text = Text::default();
        calls(&mut text, &[one, other]);
        let has = |line: &str| assert!(text.0.lines().any(|known| known == line), "{line}\n{}", text.0);
        has(r#"latchstring_calls_total{purpose="call",outcome="2xx"} 1"#);
        has(r#"latchstring_calls_total{purpose="call",outcome="5xx"} 1"#);
        has(r#"latchstring_calls_total{purpose="call",outcome="no_answer"} 1"#);
        has(r#"latchstring_calls_total{purpose="call",outcome="broken"} 1"#);
        has(r#"latchstring_call_errors_total{code="no_grant"} 1"#);
        has(r#"latchstring_call_duration_seconds_bucket{purpose="call",le="0.005"} 2"#);
        has(r#"latchstring_call_duration_seconds_bucket{purpose="call",le="0.01"} 3"#);
        has(r#"latchstring_call_duration_seconds_bucket{purpose="call",le="60"} 3"#);
        has(r#"latchstring_call_duration_seconds_bucket{purpose="call",le="+Inf"} 4"#);
        has(r#"latchstring_call_duration_seconds_sum{purpose="call"} 70.011"#);
        has(r#"latchstring_call_duration_seconds_count{purpose="call"} 4"#);
    }

    #[test]
    fn seconds_have_no_needless_digits() {
        assert_eq!([5, 10, 1000, 15_000, 1_500].map(seconds), ["0.005", "0.01", "1", "15", "1.5"]);
    }
}
