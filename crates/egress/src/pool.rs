//! Connections that wait for their next request. One pool per data core.
//!
//! Locks here are held for a few loads and stores, never over an await; within a data core nobody
//! else wants them. (They are locks, not cells, so that the control runtime, which has several
//! threads, can use a pool too.)

use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use http::HeaderValue;
use http::uri::Authority;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use latchstring_model::Origin;
use latchstring_model::id::ProjectId;
use tokio::time::{Instant, sleep};

use crate::body::RequestBody;
use crate::dial::{Dialled, Egress, Place};
use crate::error::{EgressError, Stage, Unreachable, UnreachableReason};
use crate::patience::Patience;
use crate::permit::Permit;
use crate::send;
use crate::stream::Stream;
use crate::tls::{Identity, IdentityId};

/// How often an HTTP/2 connection in use is asked whether it still lives, and how long it may think.
const PING_EVERY: Duration = Duration::from_secs(20);
const PING_WITHIN: Duration = Duration::from_secs(10);

/// What hyper is told that an HTTP/2 peer bears until it says so itself: a number by which it can be seen that it has
/// not, because no server says it.
const UNSAID: usize = 101;
/// So long the calls after a new connection's first wait for what its peer bears. It is the first thing that a server
/// says (RFC 9113 section 3.4).
const SAID_WITHIN: Duration = Duration::from_secs(1);
/// How often those who wait look.
const LOOK_EVERY: Duration = Duration::from_millis(1);
/// Then it is taken to bear no fewer than RFC 9113 section 6.5.2 recommends.
const RECOMMENDED: usize = 100;

/// Warm connections of one runtime, and the way to send over them. Cheap to clone.
///
/// All use must come from the runtime that it was first used on: sockets belong to the runtime that
/// opened them.
#[derive(Clone)]
pub struct Pool {
    pub(crate) inner: Arc<Inner>,
}

/// Counts since the start, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Connections opened.
    pub opened: u64,
    /// Requests that found a warm connection.
    pub reused: u64,
    /// Requests sent a second time, because the first provably was not processed or may be repeated.
    pub retried: u64,
    /// HTTP/1.1 connections that wait now.
    pub idle: u64,
}

pub(crate) struct Inner {
    pub(crate) egress: Arc<Egress>,
    slots: Mutex<HashMap<Origin, Vec<Arc<Slot>>>>,
    /// Waiting HTTP/1.1 connections of all slots.
    idle: AtomicUsize,
    reaping: AtomicBool,
    opened: AtomicU64,
    reused: AtomicU64,
    pub(crate) retried: AtomicU64,
}

/// The connections to one origin under one identity.
pub(crate) struct Slot {
    identity: Option<IdentityId>,
    /// The origin's authority, ready for a Host header and for `:authority`.
    pub(crate) host: HeaderValue,
    pub(crate) authority: Authority,
    conns: Mutex<Conns>,
    /// Held while a connection is opened that may turn out to serve all (HTTP/2).
    opening: tokio::sync::Mutex<()>,
    /// The last connection spoke HTTP/1.1: open as many as are wanted, side by side.
    each_its_own: AtomicBool,
}

#[derive(Default)]
struct Conns {
    /// The last one back is the first one out.
    idle: Vec<Waiting>,
    shared: Vec<Shared>,
}

struct Waiting {
    one: One,
    since: Instant,
}

/// An HTTP/1.1 connection.
pub(crate) struct One {
    pub(crate) sender: http1::SendRequest<RequestBody>,
    stamp: Stamp,
    /// The limit on the wait for an answer's head, set anew for every request.
    pub(crate) patience: Patience,
}

struct Shared {
    sender: http2::SendRequest<RequestBody>,
    /// Gone when the connection has ended.
    driver: Weak<Mutex<Driver>>,
    stamp: Stamp,
    opened: Instant,
    used: Instant,
    /// Cloned into every answer that is under way.
    users: Arc<()>,
}

/// hyper's side of an HTTP/2 connection: it works while it is polled, and knows what the peer has said.
type Driver = http2::Connection<TokioIo<Stream>, RequestBody, TokioExecutor>;

impl Shared {
    /// How many streams hyper would send at once.
    fn streams(&self) -> Option<usize> {
        self.driver.upgrade().map(|driver| lock(&driver).current_max_send_streams())
    }

    /// How many the peer has said that it bears.
    fn said(&self) -> Option<usize> {
        self.streams().filter(|said| *said != UNSAID)
    }

    /// Whether its peer will soon say how many.
    fn is_yet_to_say(&self, now: Instant) -> bool {
        self.streams() == Some(UNSAID) && now - self.opened < SAID_WITHIN
    }

    /// Whether a request would be sent at once. One too many would wait within hyper, unseen, for the end of
    /// another's stream, which can be a long one.
    fn has_room(&self, now: Instant) -> bool {
        // One is our own.
        let streams = Arc::strong_count(&self.users) - 1;
        self.streams().is_some_and(|most| match most {
            UNSAID if now - self.opened < SAID_WITHIN => streams < 1,
            UNSAID => streams < RECOMMENDED,
            said => streams < said,
        })
    }

    /// Whether this permit may use it.
    fn suits(&self, permit: Permit<'_>, generation: u64) -> bool {
        !self.sender.is_closed() && self.stamp.suits(permit, generation)
    }
}

/// Who may use a connection, and under which state of the rules it was opened.
#[derive(Clone)]
pub(crate) struct Stamp {
    audience: Audience,
    generation: u64,
}

#[derive(Clone, PartialEq, Eq)]
enum Audience {
    Tenants,
    Project(ProjectId),
    Operator,
}

impl Stamp {
    fn suits(&self, permit: Permit<'_>, generation: u64) -> bool {
        self.generation == generation
            && match (&self.audience, permit) {
                (Audience::Tenants, Permit::Call(_)) => true,
                (Audience::Project(project), Permit::Call(ticket)) => ticket.project() == Some(project),
                (Audience::Operator, Permit::Configured(_)) => true,
                _ => false,
            }
    }
}

/// A connection with room for one request.
pub(crate) enum Conn {
    One(One),
    Shared(http2::SendRequest<RequestBody>, Arc<()>),
}

/// What an answer under way holds of its connection.
pub(crate) struct Lease {
    pub(crate) pool: Arc<Inner>,
    pub(crate) slot: Arc<Slot>,
    pub(crate) held: Held,
}

pub(crate) enum Held {
    One(One),
    Shared(Arc<()>),
}

impl Lease {
    /// The answer was read to its end.
    pub(crate) fn give_back(self) {
        if let Held::One(one) = self.held {
            Inner::keep(&self.pool, &self.slot, one);
        }
    }

    /// The peer has gone silent: nothing more goes over this connection.
    pub(crate) fn condemn(self) {
        if let Held::Shared(users) = &self.held {
            self.slot.forget(users);
        }
    }
}

impl Slot {
    /// Takes a shared connection out, so that new requests open another.
    pub(crate) fn forget(&self, users: &Arc<()>) {
        lock(&self.conns).shared.retain(|shared| !Arc::ptr_eq(&shared.users, users));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Pool {
    pub fn new(egress: Arc<Egress>) -> Self {
        Self {
            inner: Arc::new(Inner {
                egress,
                slots: Mutex::default(),
                idle: AtomicUsize::new(0),
                reaping: AtomicBool::new(false),
                opened: AtomicU64::new(0),
                reused: AtomicU64::new(0),
                retried: AtomicU64::new(0),
            }),
        }
    }

    pub fn egress(&self) -> &Arc<Egress> {
        &self.inner.egress
    }

    pub fn stats(&self) -> Stats {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Stats {
            opened: load(&self.inner.opened),
            reused: load(&self.inner.reused),
            retried: load(&self.inner.retried),
            idle: self.inner.idle.load(Ordering::Relaxed) as u64,
        }
    }
}

impl Inner {
    pub(crate) fn slot(
        &self,
        origin: &Origin,
        identity: Option<&Identity>,
    ) -> Result<Arc<Slot>, EgressError> {
        let identity = identity.map(|identity| identity.id);
        let mut slots = lock(&self.slots);
        if let Some(of_origin) = slots.get(origin)
            && let Some(slot) = of_origin.iter().find(|slot| slot.identity == identity)
        {
            return Ok(slot.clone());
        }
        let text = origin.authority();
        let (Ok(host), Ok(authority)) = (HeaderValue::from_str(&text), Authority::try_from(text.as_str()))
        else {
            return Err(EgressError::Unreachable(Unreachable::new(UnreachableReason::NoAddress)));
        };
        let slot = Arc::new(Slot {
            identity,
            host,
            authority,
            conns: Mutex::default(),
            opening: tokio::sync::Mutex::new(()),
            each_its_own: AtomicBool::new(!origin.https),
        });
        slots.entry(origin.clone()).or_default().push(slot.clone());
        Ok(slot)
    }

    /// A warm connection, if there is one for this permit.
    pub(crate) fn warm(&self, slot: &Slot, permit: Permit<'_>) -> Option<Conn> {
        let generation = self.egress.rules().generation();
        let limit = self.egress.limits().idle_connection;
        let now = Instant::now();
        let mut conns = lock(&slot.conns);
        // Always the first that can: the others fall idle, and are closed, when fewer are enough.
        let useful = |shared: &&mut Shared| shared.suits(permit, generation) && shared.has_room(now);
        if let Some(shared) = conns.shared.iter_mut().find(useful) {
            shared.used = now;
            self.reused.fetch_add(1, Ordering::Relaxed);
            return Some(Conn::Shared(shared.sender.clone(), shared.users.clone()));
        }
        for at in (0..conns.idle.len()).rev() {
            let waiting = &conns.idle[at];
            let spent = waiting.one.sender.is_closed()
                || waiting.one.stamp.generation != generation
                || now - waiting.since >= limit;
            // Not ready: its last request's body is still on the way out though the answer is complete.
            let useful = waiting.one.sender.is_ready() && waiting.one.stamp.suits(permit, generation);
            if !spent && !useful {
                continue;
            }
            let waiting = conns.idle.remove(at);
            self.idle.fetch_sub(1, Ordering::Relaxed);
            if !spent {
                self.reused.fetch_add(1, Ordering::Relaxed);
                return Some(Conn::One(waiting.one));
            }
        }
        None
    }

    /// Whether there is a connection for this permit whose peer will soon say how many streams it bears.
    fn is_yet_to_say(&self, slot: &Slot, permit: Permit<'_>) -> bool {
        let (generation, now) = (self.egress.rules().generation(), Instant::now());
        let conns = lock(&slot.conns);
        conns.shared.iter().any(|shared| shared.suits(permit, generation) && shared.is_yet_to_say(now))
    }

    /// A new connection. Where the origin may speak HTTP/2 one is opened for all who wait.
    pub(crate) async fn open(
        self: &Arc<Self>,
        slot: &Arc<Slot>,
        permit: Permit<'_>,
        identity: Option<&Identity>,
        origin: &Origin,
        fresh: bool,
    ) -> Result<Conn, EgressError> {
        let limits = self.egress.limits();
        let _turn = if slot.each_its_own.load(Ordering::Relaxed) {
            None
        } else {
            // Who waited as long as an attempt may take need not make one more.
            let turn = tokio::time::timeout(limits.connect + limits.handshake, slot.opening.lock()).await;
            let Ok(turn) = turn else { return Err(EgressError::Timeout { stage: Stage::Connect }) };
            if !fresh {
                loop {
                    if let Some(conn) = self.warm(slot, permit) {
                        return Ok(conn);
                    }
                    if !self.is_yet_to_say(slot, permit) {
                        break;
                    }
                    sleep(LOOK_EVERY).await;
                }
            }
            if slot.each_its_own.load(Ordering::Relaxed) { None } else { Some(turn) }
        };
        let place = self.egress.place()?;
        // Before the rules are asked: a change meanwhile must make this connection stale.
        let generation = self.egress.rules().generation();
        let Dialled { stream, for_project } = self.egress.dial(permit, identity, origin).await?;
        let audience = match permit {
            Permit::Configured(_) => Audience::Operator,
            Permit::Call(ticket) => match ticket.project() {
                Some(project) if for_project => Audience::Project(project.clone()),
                _ => Audience::Tenants,
            },
        };
        let stamp = Stamp { audience, generation };
        self.opened.fetch_add(1, Ordering::Relaxed);
        if stream.speaks_h2() {
            // What the origin says on other connections, or many at once could come to more before it says it here.
            let streams = lock(&slot.conns).shared.iter().filter_map(Shared::said).min();
            let (sender, driver) = http2::Builder::new(TokioExecutor::new())
                .timer(TokioTimer::new())
                .keep_alive_interval(PING_EVERY)
                .keep_alive_timeout(PING_WITHIN)
                .max_header_list_size(limits.head_bytes)
                .initial_max_send_streams(streams.unwrap_or(UNSAID))
                .handshake(TokioIo::new(stream))
                .await
                .map_err(|error| send::not_sent(&error))?;
            let driver = Arc::new(Mutex::new(driver));
            let users = Arc::new(());
            let shared = Shared {
                sender: sender.clone(),
                driver: Arc::downgrade(&driver),
                stamp,
                opened: Instant::now(),
                used: Instant::now(),
                users: users.clone(),
            };
            // It is let go of with the connection's end: by that the sender knows that it is closed.
            drive(place, poll_fn(move |cx| Pin::new(&mut *lock(&driver)).poll(cx)));
            lock(&slot.conns).shared.push(shared);
            self.start_reaper();
            Ok(Conn::Shared(sender, users))
        } else {
            slot.each_its_own.store(true, Ordering::Relaxed);
            let (sender, driver) = http1::Builder::new()
                .max_header_size(limits.head_bytes as usize)
                .handshake(TokioIo::new(stream))
                .await
                .map_err(|error| send::not_sent(&error))?;
            drive(place, driver);
            let patience = Patience::until(Instant::now() + limits.response_head);
            Ok(Conn::One(One { sender, stamp, patience }))
        }
    }

    /// Puts a connection back for the next request.
    fn keep(self: &Arc<Self>, slot: &Slot, one: One) {
        if one.sender.is_closed() {
            return;
        }
        let limits = self.egress.limits();
        {
            let mut conns = lock(&slot.conns);
            if conns.idle.len() >= limits.idle_per_origin {
                return;
            }
            conns.idle.push(Waiting { one, since: Instant::now() });
        }
        if self.idle.fetch_add(1, Ordering::Relaxed) >= limits.idle_total {
            self.thin_out();
        }
        self.start_reaper();
    }

    /// Too many wait: closes the eighth that has waited longest.
    fn thin_out(&self) {
        let slots = lock(&self.slots);
        let mut since: Vec<Instant> = Vec::new();
        for slot in slots.values().flatten() {
            since.extend(lock(&slot.conns).idle.iter().map(|waiting| waiting.since));
        }
        if since.is_empty() {
            return;
        }
        let (_, cut, _) = {
            let at = since.len() / 8;
            since.select_nth_unstable(at)
        };
        let cut = *cut;
        for slot in slots.values().flatten() {
            self.retain(&mut lock(&slot.conns), |waiting| waiting.since > cut);
        }
    }

    fn retain(&self, conns: &mut Conns, keep: impl FnMut(&Waiting) -> bool) {
        let before = conns.idle.len();
        let mut keep = keep;
        conns.idle.retain(|waiting| keep(waiting));
        self.idle.fetch_sub(before - conns.idle.len(), Ordering::Relaxed);
    }

    /// Closes what has waited too long; tells whether anything is left to watch.
    fn sweep(&self) -> bool {
        let generation = self.egress.rules().generation();
        let limit = self.egress.limits().idle_connection;
        let now = Instant::now();
        let mut slots = lock(&self.slots);
        slots.retain(|_, of_origin| {
            of_origin.retain(|slot| {
                let mut conns = lock(&slot.conns);
                self.retain(&mut conns, |waiting| {
                    !waiting.one.sender.is_closed()
                        && waiting.one.stamp.generation == generation
                        && now - waiting.since < limit
                });
                conns.shared.retain(|shared| {
                    !shared.sender.is_closed()
                        && shared.stamp.generation == generation
                        && (Arc::strong_count(&shared.users) > 1 || now - shared.used < limit)
                });
                // Whoever is about to use the slot holds it too.
                !conns.idle.is_empty() || !conns.shared.is_empty() || Arc::strong_count(slot) > 1
            });
            !of_origin.is_empty()
        });
        !slots.is_empty()
    }

    fn start_reaper(self: &Arc<Self>) {
        if self.reaping.load(Ordering::Relaxed) || self.reaping.swap(true, Ordering::AcqRel) {
            return;
        }
        let pool = Arc::downgrade(self);
        let every = (self.egress.limits().idle_connection / 8).max(Duration::from_millis(100));
        tokio::spawn(reap(pool, every));
    }
}

/// Looks after the pool until it is empty or gone.
async fn reap(pool: Weak<Inner>, every: Duration) {
    loop {
        sleep(every).await;
        let Some(pool) = pool.upgrade() else { return };
        if pool.sweep() {
            continue;
        }
        pool.reaping.store(false, Ordering::Release);
        // A connection kept between the sweep and the line above saw a reaper that is about to go.
        if lock(&pool.slots).is_empty() || pool.reaping.swap(true, Ordering::AcqRel) {
            return;
        }
    }
}

/// The place is free again when the connection has ended.
fn drive(place: Place, connection: impl Future<Output = hyper::Result<()>> + Send + 'static) {
    tokio::spawn(async move {
        let _place = place;
        if let Err(error) = connection.await {
            tracing::debug!(%error, "upstream connection ended");
        }
    });
}
