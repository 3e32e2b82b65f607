//! How often something may be tried: counted in memory, by the server's own clock, bounded in size.
//!
//! | what | at once | then |
//! | --- | --- | --- |
//! | passwords for one account from one address | 10 | one per 30 s |
//! | passwords from one address | 60 | one per 2 s |
//! | passwords for one account from anywhere | 100 | one per 10 s |
//! | codes of a second factor for one account, from anywhere | 5 | one per 5 min |
//! | links and invitations from one address | 20 | one per 10 s |
//! | sign-ins at the provider begun from one address | 30 | one per 2 s |
//! | password resets asked for from one address | 10 | one per min |
//! | password resets asked for one account | 3 | one per 10 min |
//! | recorded refusals from one address | 200 | one per 3 s |
//! | recorded refusals in all | 1000 | one per s |
//!
//! An IPv6 address stands for its /64 network: that is what one customer has. With several servers each
//! counts for itself.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use governor::clock::Clock as _;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};
use latchstring_model::id::UserId;
use latchstring_model::problem::Refused;
use latchstring_model::{Clock, Code, FieldError, Problem};

/// Bytes of an address that somebody could sign in with, generously (RFC 5321 §4.5.3.1: 64 + 1 + 255). Longer
/// ones are not counted: they would fill the memory.
const LONGEST_ACCOUNT: usize = 320;
/// Counters beyond this many are swept of those that have filled up again.
const MANY: usize = 10_000;

#[derive(Clone)]
struct ByOurClock(Arc<dyn Clock>);

impl governor::clock::Clock for ByOurClock {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        let millis = u64::try_from(self.0.now().millis()).unwrap_or(0);
        Nanos::new(millis.saturating_mul(1_000_000))
    }
}

struct Counter<K: Hash + Eq + Clone> {
    limiter: RateLimiter<K, DashMapStateStore<K>, ByOurClock, NoOpMiddleware<Nanos>>,
    clock: ByOurClock,
}

impl<K: Hash + Eq + Clone> Counter<K> {
    fn new(clock: &Arc<dyn Clock>, at_once: u32, then_every: Duration) -> Self {
        let burst = NonZeroU32::new(at_once).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::with_period(then_every).unwrap_or(Quota::per_minute(burst)).allow_burst(burst);
        let clock = ByOurClock(Arc::clone(clock));
        Self { limiter: RateLimiter::dashmap_with_clock(quota, clock.clone()), clock }
    }

    /// Counts one try; the seconds to wait when there have been too many.
    fn count(&self, key: &K) -> Result<(), u32> {
        if self.limiter.len() > MANY {
            self.limiter.retain_recent();
        }
        self.limiter.check_key(key).map_err(|not_until| {
            let wait = not_until.wait_time_from(self.clock.now());
            u32::try_from(wait.as_millis().div_ceil(1000)).unwrap_or(u32::MAX).max(1)
        })
    }
}

/// What a network's customer has.
fn network(address: Option<IpAddr>) -> IpAddr {
    match address.map(|address| address.to_canonical()) {
        Some(IpAddr::V6(v6)) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
        Some(v4) => v4,
        None => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    }
}

pub struct Limits {
    pair: Counter<(IpAddr, String)>,
    address: Counter<IpAddr>,
    account: Counter<String>,
    links: Counter<IpAddr>,
    codes: Counter<String>,
    began: Counter<IpAddr>,
    resets: Counter<IpAddr>,
    resets_of: Counter<String>,
    refusals: Counter<IpAddr>,
    all_refusals: Counter<()>,
    unrecorded: AtomicU64,
    /// Who came in last time: their next try is not counted. It is wrong passwords that are bounded.
    came_in: Mutex<HashSet<(IpAddr, String)>>,
    /// Whose code was right last time: the same.
    code_fitted: Mutex<HashSet<String>>,
    /// Who was told that somebody tries codes, and when.
    warned: Mutex<HashMap<String, i64>>,
    clock: ByOurClock,
}

fn lock<T>(held: &Mutex<T>) -> MutexGuard<'_, T> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

fn too_many(secs: u32, what: &'static str) -> Box<Problem> {
    Problem::new(Code::TooManyRequests, what)
        .hint(format!("Wait {secs} seconds, then try again."))
        .retry_after(secs)
        .into()
}

impl Limits {
    pub fn new(clock: &Arc<dyn Clock>) -> Self {
        let secs = Duration::from_secs;
        Self {
            pair: Counter::new(clock, 10, secs(30)),
            address: Counter::new(clock, 60, secs(2)),
            account: Counter::new(clock, 100, secs(10)),
            links: Counter::new(clock, 20, secs(10)),
            codes: Counter::new(clock, 5, secs(300)),
            began: Counter::new(clock, 30, secs(2)),
            resets: Counter::new(clock, 10, secs(60)),
            resets_of: Counter::new(clock, 3, secs(600)),
            refusals: Counter::new(clock, 200, secs(3)),
            all_refusals: Counter::new(clock, 1000, secs(1)),
            unrecorded: AtomicU64::new(0),
            came_in: Mutex::default(),
            code_fitted: Mutex::default(),
            warned: Mutex::default(),
            clock: ByOurClock(Arc::clone(clock)),
        }
    }

    fn came_in(&self) -> MutexGuard<'_, HashSet<(IpAddr, String)>> {
        lock(&self.came_in)
    }

    /// The password was right.
    pub fn fitted(&self, address: Option<IpAddr>, account: &str) {
        let mut came_in = self.came_in();
        if came_in.len() >= MANY {
            came_in.clear();
        }
        came_in.insert((network(address), account.to_owned()));
    }

    /// No account has such an address: said before it counts as a try, and not kept among those that are counted.
    pub fn check_account(account: &str) -> Refused<()> {
        if account.len() > LONGEST_ACCOUNT {
            let text = format!("an e-mail address has at most {LONGEST_ACCOUNT} bytes");
            return Err(Problem::invalid(vec![FieldError::new("/email", text)]).into());
        }
        Ok(())
    }

    /// Before any password is looked at, whether or not the account exists. The account has passed
    /// [`Limits::check_account`].
    pub fn password(&self, address: Option<IpAddr>, account: &str) -> Refused<()> {
        let (address, account) = (network(address), account.to_owned());
        // Good for one try: a wrong one is counted from the next on.
        if self.came_in().remove(&(address, account.clone())) {
            return Ok(());
        }
        self.address
            .count(&address)
            .and_then(|()| self.pair.count(&(address, account.clone())))
            .and_then(|()| self.account.count(&account))
            .map_err(|secs| {
                too_many(secs, "Too many passwords were tried for this account or from this address.")
            })
    }

    /// Before a code is looked at. A code has six digits: how often one may guess is what makes it worth something.
    pub fn code(&self, person: &UserId) -> Refused<()> {
        let person = person.to_string();
        if lock(&self.code_fitted).remove(&person) {
            return Ok(());
        }
        self.codes
            .count(&person)
            .map_err(|secs| too_many(secs, "Too many codes were tried for this account."))
    }

    pub fn code_fitted(&self, person: &UserId) {
        let mut fitted = lock(&self.code_fitted);
        if fitted.len() >= MANY {
            fitted.clear();
        }
        fitted.insert(person.to_string());
    }

    /// Whether the person is to be told that somebody tries codes: once a day.
    pub fn warn(&self, person: &UserId) -> bool {
        const DAY: i64 = 86_400_000;
        let now = self.clock.0.now().millis();
        let mut warned = lock(&self.warned);
        if warned.len() >= MANY {
            warned.retain(|_, at| now - *at < DAY);
        }
        let before = warned.get(person.as_str()).copied();
        if before.is_some_and(|at| now - at < DAY) {
            return false;
        }
        warned.insert(person.to_string(), now);
        true
    }

    /// A sign-in at the provider begins: it leaves a row.
    pub fn begin(&self, address: Option<IpAddr>) -> Refused<()> {
        self.began
            .count(&network(address))
            .map_err(|secs| too_many(secs, "Too many sign-ins were begun from this address."))
    }

    /// Whether or not the account exists. It has passed [`Limits::check_account`].
    pub fn reset(&self, address: Option<IpAddr>, account: &str) -> Refused<()> {
        self.resets.count(&network(address)).and_then(|()| self.resets_of.count(&account.to_owned())).map_err(
            |secs| {
                too_many(
                    secs,
                    "Too many new passwords were asked for, for this account or from this address.",
                )
            },
        )
    }

    pub fn link(&self, address: Option<IpAddr>) -> Refused<()> {
        self.links
            .count(&network(address))
            .map_err(|secs| too_many(secs, "Too many links were tried from this address."))
    }

    /// Whether a refusal is still written down; if so, how many before it were not.
    pub fn record_refusal(&self, address: Option<IpAddr>) -> Option<u64> {
        if self.refusals.count(&network(address)).and_then(|()| self.all_refusals.count(&())).is_err() {
            self.unrecorded.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        Some(self.unrecorded.swap(0, Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::atomic::AtomicI64;

    use latchstring_model::Timestamp;

    use super::*;

    struct At(AtomicI64);
    impl Clock for At {
        fn now(&self) -> Timestamp {
            Timestamp(self.0.load(Ordering::Relaxed))
        }
    }

    fn limits() -> (Limits, Arc<At>) {
        let clock = Arc::new(At(AtomicI64::new(1_800_000_000_000)));
        let shared: Arc<dyn Clock> = clock.clone();
        (Limits::new(&shared), clock)
    }

    fn from(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn ten_at_once_then_one_per_half_minute() {
        let (limits, clock) = limits();
        for _ in 0..10 {
            assert!(limits.password(from("192.0.2.1"), "ada").is_ok());
        }
        let problem = limits.password(from("192.0.2.1"), "ada").unwrap_err();
        assert_eq!((problem.code, problem.retry_after_secs), (Code::TooManyRequests, Some(30)));
        assert!(limits.password(from("192.0.2.2"), "ada").is_ok(), "another address");
        assert!(limits.password(from("192.0.2.1"), "bob").is_ok(), "another account");
        clock.0.fetch_add(30_000, Ordering::Relaxed);
        assert!(limits.password(from("192.0.2.1"), "ada").is_ok());
        assert!(limits.password(from("192.0.2.1"), "ada").is_err());
    }

    #[test]
    fn who_comes_in_is_not_counted() {
        let (limits, _) = limits();
        let address = from("192.0.2.1");
        for _ in 0..100 {
            assert!(limits.password(address, "ada").is_ok());
            limits.fitted(address, "ada");
        }
        let wrong = (0..100).filter(|_| limits.password(address, "ada").is_ok()).count();
        assert_eq!(wrong, 10, "one for the last success, and nine of the ten that are left after the first");
    }

    #[test]
    fn one_address_cannot_try_many_accounts() {
        let (limits, _) = limits();
        let tries = (0..100).filter(|n| limits.password(from("192.0.2.1"), &n.to_string()).is_ok()).count();
        assert_eq!(tries, 60);
    }

    #[test]
    fn what_is_too_long_for_an_address_is_refused_uncounted() {
        let (limits, _) = limits();
        for _ in 0..100 {
            let problem = Limits::check_account(&"x".repeat(321)).unwrap_err();
            assert_eq!(problem.code, Code::Invalid);
        }
        assert_eq!((limits.address.limiter.len(), limits.account.limiter.len()), (0, 0));
        assert!(limits.password(from("192.0.2.1"), &"x".repeat(320)).is_ok());
    }

    #[test]
    fn one_account_cannot_be_tried_from_many_addresses() {
        let (limits, _) = limits();
        let tries =
            (0..200).filter(|n| limits.password(from(&format!("192.0.2.{n}")), "ada").is_ok()).count();
        assert_eq!(tries, 100);
    }

    #[test]
    fn codes_are_few_and_the_right_one_is_not_counted() {
        let (limits, clock) = limits();
        let ada: UserId = "usr_0000000001zzzzzzzzzzzzzzzz".parse().unwrap();
        for _ in 0..20 {
            assert!(limits.code(&ada).is_ok());
            limits.code_fitted(&ada);
        }
        let wrong = (0..20).filter(|_| limits.code(&ada).is_ok()).count();
        assert_eq!(wrong, 5, "one for the last success, and four of the five that are left after the first");
        assert_eq!(limits.code(&ada).unwrap_err().retry_after_secs, Some(300));
        assert!(limits.warn(&ada) && !limits.warn(&ada), "told once");
        // A day of guessing: three of a million codes are good at a time.
        let mut tries = 0;
        for _ in 0..24 * 60 {
            clock.0.fetch_add(60_000, Ordering::Relaxed);
            tries += usize::from(limits.code(&ada).is_ok());
        }
        assert!((280..=300).contains(&tries), "{tries}");
        assert!(limits.warn(&ada));
    }

    #[test]
    fn resets_are_few_for_one_account_and_from_one_address() {
        let (limits, _) = limits();
        let same = (0..20).filter(|n| limits.reset(from(&format!("192.0.2.{n}")), "ada").is_ok()).count();
        assert_eq!(same, 3);
        let many = (0..20).filter(|n| limits.reset(from("198.51.100.1"), &n.to_string()).is_ok()).count();
        assert_eq!(many, 10);
    }

    #[test]
    fn an_ipv6_network_is_one_address() {
        let (limits, _) = limits();
        let tries = (0..100).filter(|n| limits.link(from(&format!("2001:db8::{n:x}"))).is_ok()).count();
        assert_eq!(tries, 20);
        assert!(limits.link(from("2001:db8:0:1::1")).is_ok());
        let tries = (0..100).filter(|_| limits.link(from("::ffff:192.0.2.7")).is_ok()).count();
        assert_eq!(tries, 20);
        assert!(limits.link(from("192.0.2.7")).is_err(), "the mapped form is the same address");
    }

    #[test]
    fn refusals_are_recorded_up_to_a_bound_and_the_rest_is_counted() {
        let (limits, clock) = limits();
        let recorded = (0..500).filter(|_| limits.record_refusal(from("192.0.2.1")).is_some()).count();
        assert_eq!(recorded, 200);
        clock.0.fetch_add(3_000, Ordering::Relaxed);
        assert_eq!(limits.record_refusal(from("192.0.2.1")), Some(300));
        clock.0.fetch_add(3_600_000, Ordering::Relaxed);
        let all = (0..20_000_u32)
            .filter(|n| limits.record_refusal(Some(IpAddr::from(n.to_be_bytes()))).is_some())
            .count();
        assert_eq!(all, 1000);
    }
}
