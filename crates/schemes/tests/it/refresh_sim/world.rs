//! Two servers, one database, one provider, and everything that can go wrong between them, as
//! events in the order of one seeded scheduler.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet};

use latchstring_model::Timestamp;
use latchstring_schemes::refresh::{
    ASK_LIMIT_MS, Answer, Command, Ended, Event, HEARTBEAT_MS, Intent, LEASE_MS, Life, Machine, Need, Ran,
    Reuse, SILENT_MS, Step, TokenRow, TokenState, WAIT_LIMIT_MS,
};
use latchstring_schemes::token::margin;

use super::provider::{Provider, Token};
use super::rng::Rng;

/// Faults that a careless implementation has. They live in the simulated driver and database only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    None,
    /// A save does not look at the version.
    NoCompareAndSwap,
    /// The lease is judged by each server's own clock; the fence is not looked at.
    LockByTimeAlone,
    /// Whoever finds the token stale asks, lease or not.
    RefreshOutsideLease,
    /// Waiters get the token before it is stored.
    AnswerBeforePersist,
    /// Whoever begins takes everybody else for dead.
    BuryTheLiving,
}

/// How one seed ended, for those that want to know what the simulation reaches.
#[derive(Clone, Copy, Debug, Default)]
pub struct Story {
    pub refreshes: u32,
    pub crashes: u32,
    pub orphans: u32,
    pub buried: u32,
    pub late_saves: u32,
    pub reconnects: u32,
    pub busy: u32,
    pub forced: u32,
    pub ambiguous: u32,
    pub events: u32,
}

/// One step in the database of a seed: when, what, whether it was done, and the row after it.
#[derive(Clone, Debug)]
pub struct Traced {
    pub at: i64,
    pub step: Step,
    pub done: bool,
    pub row: TokenRow,
}

type Id = usize;

struct Task {
    server: usize,
    incarnation: u32,
    machine: Machine,
    need: Need,
    /// The token that was read with the row, and what an answer brought.
    seen: Token,
    got: Option<Token>,
    /// What was stored when it asked.
    replaces: Option<Token>,
    /// Counts asks; an answer to an earlier one is nobody's.
    ask: u32,
    asking: bool,
    sent_wall: i64,
    began: i64,
    paused_before: i64,
    /// Of its last lease; 0: none yet.
    fence: i64,
    ever_held: bool,
    over: bool,
    crashed: bool,
    last: bool,
}

struct Server {
    incarnation: u32,
    up: bool,
    paused_until: i64,
    paused_total: i64,
    /// Wall clock minus the database's.
    skew: i64,
    /// A restarted process finds what its predecessors left (the journal's folder) and clears it.
    knows_its_dead: bool,
}

struct Spend {
    at: i64,
    token: Token,
    task: Id,
    /// Somebody still waits for its answer.
    open: bool,
    /// Its sender died, or was away for longer than its lease.
    lost: bool,
    /// Its sender died, and whoever asks now knows it.
    buried: bool,
}

enum Op {
    Read,
    Run(Step, Option<Token>),
    /// A heartbeat: nobody waits for it.
    Beat(Step),
}

enum Happening {
    Spawn { server: usize, need: Need, last: bool },
    AtDatabase(Id, u32, Op),
    AtProvider { task: Id, ask: u32, generation: u64 },
    ToTask(Id, u32, ToTask),
    Pause(usize, i64),
    Restart(usize),
    DatabaseDown(i64),
}

enum ToTask {
    Plain(Event),
    Row(TokenRow, Token, i64),
    Answer(u32, Answer, Option<Token>),
    AskLimit(u32),
    Beat(u32),
}

impl ToTask {
    /// After a pause everything is there at once: a waiting answer counts before the time limit.
    fn rank(&self) -> u8 {
        match self {
            ToTask::Answer(..) => 0,
            ToTask::Plain(_) | ToTask::Row(..) | ToTask::Beat(_) => 1,
            ToTask::AskLimit(_) => 2,
        }
    }
}

struct Scheduled(i64, u8, u64, Happening);

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}
impl Eq for Scheduled {}
impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}
impl Scheduled {
    fn key(&self) -> (i64, u8, u64) {
        (self.0, self.1, self.2)
    }
}

/// How wild one seed is: per mille, and milliseconds.
struct Wildness {
    crash: i64,
    drop: i64,
    refuse: i64,
    unknown: i64,
    slow: i64,
    pause: i64,
}

pub struct World {
    rng: Rng,
    bug: Bug,
    reuse: Reuse,
    ttl: i64,
    wild: Wildness,
    calm_from: i64,
    now: i64,
    seq: u64,
    queue: BinaryHeap<Reverse<Scheduled>>,
    servers: [Server; 2],
    tasks: Vec<Task>,
    row: TokenRow,
    token: Token,
    stored: HashSet<u64>,
    down_until: i64,
    provider: Provider,
    spends: Vec<Spend>,
    story: Story,
    broken: Option<String>,
    last_ended: Option<Ended>,
    /// Requests that reached the provider after their sender was buried.
    ghosts: u32,
    trace: Vec<Traced>,
}

const HOUR: i64 = 3_600_000;

impl World {
    /// Runs one seed to its end. `Err` says which promise was broken.
    pub fn run(seed: u64, bug: Bug) -> Result<Story, String> {
        let mut world = Self::new(seed, bug);
        world.plan();
        world.play();
        let reuse = world.reuse;
        world.into_verdict().map_err(|what| format!("seed {seed}, {bug:?}, {reuse:?}: {what}"))
    }

    /// The row that a seed begins with, and every step that its database was asked for.
    pub fn traced(seed: u64) -> (TokenRow, Vec<Traced>) {
        let mut world = Self::new(seed, Bug::None);
        let first = world.row.clone();
        world.plan();
        world.play();
        (first, world.trace)
    }

    fn new(seed: u64, bug: Bug) -> Self {
        let rng = Rng::new(seed);
        let reuse = match rng.range(0, 9) {
            0..=4 => Reuse::SingleUse,
            5 | 6 => Reuse::Grace,
            7 | 8 => Reuse::NonRotating,
            _ => Reuse::Repeatable,
        };
        let ttl = rng.range(60, 300) * 1_000;
        let wild = match rng.range(0, 3) {
            0 => Wildness { crash: 0, drop: 0, refuse: 0, unknown: 0, slow: 50, pause: 0 },
            1 => Wildness { crash: 4, drop: 30, refuse: 30, unknown: 5, slow: 50, pause: 5 },
            2 => Wildness { crash: 20, drop: 100, refuse: 100, unknown: 30, slow: 200, pause: 30 },
            _ => Wildness { crash: 60, drop: 10, refuse: 0, unknown: 60, slow: 300, pause: 60 },
        };
        let skew =
            |rng: &Rng| if rng.per_mille(700) { rng.range(-500, 500) } else { rng.range(-45_000, 45_000) };
        let server = |rng: &Rng| Server {
            incarnation: 0,
            up: true,
            paused_until: 0,
            paused_total: 0,
            skew: skew(rng),
            knows_its_dead: rng.per_mille(500),
        };
        let servers = [server(&rng), server(&rng)];
        let provider = Provider::new(reuse, ttl);
        let token = provider.first();
        let row = TokenRow::live(life(0, ttl));
        let calm_from = rng.range(600, 1_200) * 1_000;
        Self {
            rng,
            bug,
            reuse,
            ttl,
            wild,
            calm_from,
            now: 0,
            seq: 0,
            queue: BinaryHeap::new(),
            servers,
            tasks: Vec::new(),
            row,
            token,
            stored: HashSet::from([0]),
            down_until: 0,
            provider,
            spends: Vec::new(),
            story: Story::default(),
            broken: None,
            last_ended: None,
            ghosts: 0,
            trace: Vec::new(),
        }
    }

    fn note(&mut self, step: &Step, done: bool) {
        self.trace.push(Traced { at: self.now, step: step.clone(), done, row: self.row.clone() });
    }

    fn plan(&mut self) {
        // Crowds of callers around the ends of lives, and single ones in between.
        for _ in 0..self.rng.range(3, 7) {
            let at = self.rng.range(0, self.calm_from);
            for _ in 0..self.rng.range(1, 4) {
                let need = if self.rng.per_mille(100) { Need::Ahead { version: 1 } } else { Need::Usable };
                let server = self.rng.range(0, 1) as usize;
                let at = at + self.rng.range(0, 3_000);
                self.at(at, 1, Happening::Spawn { server, need, last: false });
            }
        }
        if self.wild.crash > 0 {
            for _ in 0..self.rng.range(0, 3) {
                let (at, server) = (self.rng.range(0, self.calm_from), self.rng.range(0, 1) as usize);
                let ms = self.rng.range(1_000, 200_000);
                self.at(at, 1, Happening::Pause(server, ms));
            }
            if self.rng.per_mille(300) {
                let (at, ms) = (self.rng.range(0, self.calm_from), self.rng.range(1_000, 30_000));
                self.at(at, 1, Happening::DatabaseDown(ms));
            }
        }
        // When all is calm again and every backoff is over, one more caller must be told something final.
        let server = self.rng.range(0, 1) as usize;
        self.at(self.calm_from + HOUR, 1, Happening::Spawn { server, need: Need::Usable, last: true });
    }

    fn at(&mut self, at: i64, rank: u8, what: Happening) {
        self.seq += 1;
        self.queue.push(Reverse(Scheduled(at, rank, self.seq, what)));
    }

    fn broke(&mut self, what: impl Into<String>) {
        if self.broken.is_none() {
            self.broken = Some(format!("at {} ms: {}", self.now, what.into()));
        }
    }

    fn calm(&self) -> bool {
        self.now >= self.calm_from
    }

    fn chance(&self, per_mille: i64) -> bool {
        per_mille > 0 && !self.calm() && self.rng.per_mille(per_mille)
    }

    fn latency(&self) -> i64 {
        if self.chance(self.wild.slow / 10) { self.rng.range(1_000, 20_000) } else { self.rng.range(1, 20) }
    }

    fn play(&mut self) {
        while let Some(Reverse(Scheduled(at, _, _, what))) = self.queue.pop() {
            self.now = at;
            self.story.events += 1;
            if self.broken.is_some() {
                return;
            }
            if self.story.events > 50_000 {
                return self.broke("the world does not come to rest");
            }
            match what {
                Happening::Spawn { server, need, last } => self.spawn(server, need, last),
                Happening::AtDatabase(task, incarnation, op) => self.at_database(task, incarnation, op),
                Happening::AtProvider { task, ask, generation } => self.at_provider(task, ask, generation),
                Happening::ToTask(task, incarnation, event) => self.deliver(task, incarnation, event),
                Happening::Pause(server, ms) => self.pause(server, ms),
                Happening::Restart(server) => self.restart(server),
                Happening::DatabaseDown(ms) => self.down_until = self.down_until.max(at + ms),
            }
        }
    }

    /// SIGSTOP: the process stands still while the world goes on.
    fn pause(&mut self, server: usize, ms: i64) {
        let server = &mut self.servers[server];
        let until = self.now + ms;
        if server.up && until > server.paused_until {
            server.paused_total += until - server.paused_until.max(self.now);
            server.paused_until = until;
        }
    }

    fn spawn(&mut self, server: usize, need: Need, last: bool) {
        let own = &self.servers[server];
        if !own.up || own.paused_until > self.now {
            // The load balancer finds nobody here; the last caller tries again.
            if last {
                self.at(self.now + 1_000, 1, Happening::Spawn { server, need, last });
            }
            return;
        }
        let need = match need {
            Need::Ahead { .. } => Need::Ahead { version: self.row.version },
            other => other,
        };
        let mut machine = Machine::new(format!("{server}.{}", own.incarnation), need, self.reuse, self.now);
        let command = machine.begin();
        let task = Task {
            server,
            incarnation: own.incarnation,
            machine,
            need,
            seen: self.token,
            got: None,
            replaces: None,
            ask: 0,
            asking: false,
            sent_wall: 0,
            began: self.now,
            paused_before: own.paused_total,
            fence: 0,
            ever_held: false,
            over: false,
            crashed: false,
            last,
        };
        self.tasks.push(task);
        self.obey(self.tasks.len() - 1, command);
    }

    fn crash(&mut self, server: usize) {
        if !self.servers[server].up {
            return;
        }
        self.story.crashes += 1;
        let own = &mut self.servers[server];
        own.up = false;
        own.incarnation += 1;
        own.paused_until = 0;
        let back = self.now + self.rng.range(100, 90_000);
        self.at(back, 1, Happening::Restart(server));
        for id in 0..self.tasks.len() {
            let task = &mut self.tasks[id];
            if task.server == server && !task.over {
                task.over = true;
                task.crashed = true;
                task.asking = false;
                for spend in self.spends.iter_mut().filter(|s| s.task == id && s.open) {
                    spend.open = false;
                    spend.lost = true;
                }
                if self.tasks[id].last {
                    self.broke("a crash after calm");
                }
            }
        }
    }

    /// A process begins where another ended. Without its database it does not begin.
    fn restart(&mut self, server: usize) {
        if self.now < self.down_until {
            return self.at(self.down_until, 1, Happening::Restart(server));
        }
        self.servers[server].up = true;
        if !self.servers[server].knows_its_dead {
            return;
        }
        let mut dead: Vec<(usize, u32)> =
            (0..self.servers[server].incarnation).map(|incarnation| (server, incarnation)).collect();
        if self.bug == Bug::BuryTheLiving {
            dead.push((1 - server, self.servers[1 - server].incarnation));
        }
        for (server, incarnation) in dead {
            let before = self.row.clone();
            let owner = format!("{server}.{incarnation}");
            let bury = Step::Bury { owner };
            let done = bury.apply(&mut self.row, Timestamp(self.now));
            self.note(&bury, done);
            if !done {
                continue;
            }
            self.story.buried += 1;
            if self.row.version != before.version || self.row.state != before.state {
                self.broke("burying the dead changed a token");
            }
            for spend in self.spends.iter_mut().filter(|spend| spend.lost) {
                let task = &self.tasks[spend.task];
                spend.buried |= task.server == server && task.incarnation == incarnation;
            }
        }
    }

    fn at_database(&mut self, id: Id, incarnation: u32, op: Op) {
        if self.now < self.down_until || self.chance(self.wild.unknown) {
            // Refused, or done with the answer lost.
            let event = match op {
                Op::Read => Event::NotRead,
                Op::Run(step, token) => {
                    if self.now >= self.down_until && self.rng.per_mille(500) {
                        self.apply(id, &step, token);
                    }
                    Event::Ran(Ran::Unknown)
                }
                Op::Beat(_) => return,
            };
            let at = self.now + self.latency();
            return self.at(at, 1, Happening::ToTask(id, incarnation, ToTask::Plain(event)));
        }
        let event = match op {
            Op::Read => ToTask::Row(self.row.clone(), self.token, self.now),
            Op::Run(step, token) => {
                let done = self.apply(id, &step, token);
                ToTask::Plain(Event::Ran(if done { Ran::Done } else { Ran::Refused }))
            }
            Op::Beat(step) => {
                self.apply(id, &step, None);
                return;
            }
        };
        let at = self.now + self.latency();
        self.at(at, event.rank(), Happening::ToTask(id, incarnation, event));
    }

    /// One statement in the database, and what must hold of it.
    fn apply(&mut self, id: Id, step: &Step, token: Option<Token>) -> bool {
        let before = self.row.clone();
        let done = match (self.bug, step) {
            (Bug::NoCompareAndSwap, Step::Save { life, .. }) => {
                Step::Save { version: before.version, life: *life }.apply(&mut self.row, Timestamp(self.now))
            }
            (Bug::LockByTimeAlone, Step::Take { owner, forced, .. }) => {
                let wall = Timestamp(self.now + self.servers[self.tasks[id].server].skew);
                let take = Step::Take {
                    owner: owner.clone(),
                    seen_fence: before.fence,
                    version: before.version,
                    may_repeat: true,
                    patience_ms: 0,
                    forced: *forced,
                };
                take.apply(&mut self.row, wall)
            }
            (Bug::LockByTimeAlone, Step::Prepare { .. } | Step::MarkSent { .. } | Step::Renew { .. }) => true,
            _ => step.apply(&mut self.row, Timestamp(self.now)),
        };
        self.note(step, done);
        if !done {
            if self.row != before {
                self.broke(format!("a refused step changed the row: {step:?}"));
            }
            if matches!(step, Step::Save { version, .. } if *version == before.version) {
                self.broke("an answer was thrown away although the version is unmoved");
            }
            return false;
        }
        if self.row.fence < before.fence || self.row.version < before.version {
            self.broke("fence or version went back");
        }
        match step {
            Step::Save { .. } => {
                let Some(token) = token else {
                    self.broke("a save without a token");
                    return true;
                };
                if token.serial <= self.token.serial {
                    self.broke("an older token took the place of a newer one");
                }
                if before.state == TokenState::NeedsReconnect {
                    self.story.late_saves += 1;
                }
                self.token = token;
                self.stored.insert(token.serial);
                self.provider.unsaved.retain(|generation| *generation > token.generation);
            }
            Step::Orphan { .. } => self.orphaned(&before),
            Step::Take { forced, .. } => {
                self.story.forced += u32::from(*forced);
                self.tasks[id].fence = self.row.fence;
            }
            _ => {}
        }
        true
    }

    /// A grant may be given up only when the sender of its request is away, not while it is at work.
    fn orphaned(&mut self, before: &TokenRow) {
        self.story.orphans += 1;
        if self.reuse != Reuse::SingleUse {
            self.broke("a grant was given up although asking again was harmless");
        }
        let Intent::Sent { fence, .. } = before.intent else {
            return self.broke("a grant was given up although nothing had been sent");
        };
        let ended = |task: &Task| task.fence == fence && task.over && !task.crashed;
        if self.tasks.iter().any(ended) {
            self.broke("somebody ended and left the mark of a sent request behind");
        }
        let busy = self.spends.iter().any(|spend| {
            let task = &self.tasks[spend.task];
            spend.open && self.servers[task.server].paused_until <= self.now
        });
        if busy {
            self.broke("a grant was given up while its request was under way");
        }
    }

    fn at_provider(&mut self, id: Id, ask: u32, generation: u64) {
        let (incarnation, waiting) = {
            let task = &self.tasks[id];
            (task.incarnation, task.asking && task.ask == ask)
        };
        let crashed = self.tasks[id].over && !waiting;
        // A sender that hung up took the request back; one that died may have got it out or not.
        if (!waiting && !crashed) || (crashed && self.rng.per_mille(500)) {
            return;
        }
        if self.chance(self.wild.refuse) {
            let retry_after_ms = if self.rng.per_mille(300) { self.rng.range(1, 120) * 1_000 } else { 0 };
            let at = self.now + self.latency();
            let answer = ToTask::Answer(ask, Answer::Failed { retry_after_ms }, None);
            return self.at(at, 0, Happening::ToTask(id, incarnation, answer));
        }
        // A request that outlived its sender spends the token, and its answer is lost, whenever it arrives.
        let buried = self.spends.iter().any(|spend| spend.task == id && spend.buried);
        self.ghosts += u32::from(crashed && buried);
        let token = self.provider.refresh(generation, self.now);
        if token.is_some() {
            self.story.refreshes += 1;
        }
        if self.chance(self.wild.drop) {
            return;
        }
        let slow = self.chance(self.wild.slow);
        let at = self.now + if slow { self.rng.range(5_000, 70_000) } else { self.rng.range(20, 800) };
        let answer = match token {
            Some(_) => Answer::Token(life(self.tasks[id].sent_wall, self.ttl)),
            None => Answer::Dead,
        };
        self.at(at, 0, Happening::ToTask(id, incarnation, ToTask::Answer(ask, answer, token)));
    }

    fn deliver(&mut self, id: Id, incarnation: u32, event: ToTask) {
        let server = self.tasks[id].server;
        if self.servers[server].incarnation != incarnation || self.tasks[id].over {
            return;
        }
        let until = self.servers[server].paused_until;
        if until > self.now {
            return self.at(until, event.rank(), Happening::ToTask(id, incarnation, event));
        }
        let task = &mut self.tasks[id];
        let event = match event {
            ToTask::Plain(event) => event,
            ToTask::Row(row, token, at) => {
                task.seen = token;
                Event::Row { row, now_db: Timestamp(at) }
            }
            ToTask::Answer(ask, answer, token) if task.asking && task.ask == ask => {
                task.asking = false;
                task.got = token;
                self.close(id);
                if self.bug == Bug::AnswerBeforePersist
                    && let Some(token) = token
                {
                    self.hand_out(token);
                }
                Event::Answered(answer)
            }
            ToTask::AskLimit(ask) if task.asking && task.ask == ask => {
                task.asking = false;
                self.story.ambiguous += 1;
                self.close(id);
                Event::Answered(Answer::Ambiguous)
            }
            ToTask::Beat(ask) if task.asking && task.ask == ask => {
                let Some(step) = task.machine.heartbeat() else {
                    return self.broke("no heartbeat while asking");
                };
                let at = self.now + self.latency();
                self.at(at, 1, Happening::AtDatabase(id, incarnation, Op::Beat(step)));
                return self.at(
                    self.now + HEARTBEAT_MS,
                    1,
                    Happening::ToTask(id, incarnation, ToTask::Beat(ask)),
                );
            }
            ToTask::Answer(..) | ToTask::AskLimit(_) | ToTask::Beat(_) => return,
        };
        // Killed before it saw the event, after it decided, or after it acted.
        let point = if self.chance(self.wild.crash) { self.rng.range(1, 3) } else { 0 };
        if point == 1 {
            return self.crash(server);
        }
        let command = self.tasks[id].machine.on(event, self.now, &self.rng);
        if point == 2 {
            return self.crash(server);
        }
        self.obey(id, command);
        // A pause is most dangerous while a step or a request is under way.
        if self.chance(self.wild.pause) {
            let ms = self.rng.range(10_000, 150_000);
            self.pause(server, ms);
        }
        if point == 3 {
            self.crash(server);
        }
    }

    fn close(&mut self, id: Id) {
        for spend in self.spends.iter_mut().filter(|s| s.task == id) {
            spend.open = false;
        }
    }

    fn obey(&mut self, id: Id, command: Command) {
        let incarnation = self.tasks[id].incarnation;
        match command {
            Command::Read => {
                let at = self.now + self.latency();
                self.at(at, 1, Happening::AtDatabase(id, incarnation, Op::Read));
            }
            Command::Run(step) => {
                self.tasks[id].ever_held |= !matches!(step, Step::Take { .. } | Step::Orphan { .. });
                let lease = matches!(step, Step::Take { .. } | Step::Prepare { .. } | Step::MarkSent { .. });
                if self.bug == Bug::RefreshOutsideLease && lease {
                    let event = ToTask::Plain(Event::Ran(Ran::Done));
                    return self.at(self.now + 1, 1, Happening::ToTask(id, incarnation, event));
                }
                let token = matches!(step, Step::Save { .. }).then_some(self.tasks[id].got).flatten();
                let at = self.now + self.latency();
                self.at(at, 1, Happening::AtDatabase(id, incarnation, Op::Run(step, token)));
            }
            Command::Ask => self.ask(id),
            Command::Sleep { ms } => {
                let woke = ToTask::Plain(Event::Woke);
                self.at(self.now + ms, 1, Happening::ToTask(id, incarnation, woke));
            }
            Command::Done(ended) => self.done(id, ended),
        }
    }

    fn ask(&mut self, id: Id) {
        let token = self.tasks[id].seen;
        let rotates = matches!(self.reuse, Reuse::SingleUse | Reuse::Grace);
        // Where nothing rotates, the stored token that is to be replaced tells requests apart.
        let same = |other: Token| if rotates { other.generation == token.generation } else { other == token };
        for spend in self.spends.iter().filter(|spend| same(spend.token)) {
            let other = &self.tasks[spend.task];
            let away = self.servers[other.server].paused_until > self.now;
            // Where asking twice does no harm, who was silent for long enough is not waited for.
            let given_up = self.reuse == Reuse::Repeatable && self.now - spend.at >= SILENT_MS;
            if spend.open && !away && !given_up {
                let what = format!(
                    "two requests spend the same refresh token at once: one of {} s ago",
                    (self.now - spend.at) / 1_000
                );
                return self.broke(what);
            }
            if self.reuse == Reuse::SingleUse && (spend.lost || spend.open) && !spend.buried {
                return self.broke("a refresh token was spent again although an earlier request got lost");
            }
        }
        self.spends.push(Spend { at: self.now, token, task: id, open: true, lost: false, buried: false });
        let now = self.now;
        let task = &mut self.tasks[id];
        task.ask += 1;
        task.asking = true;
        task.got = None;
        task.replaces = Some(token);
        task.sent_wall = now + self.servers[task.server].skew;
        let (ask, incarnation) = (task.ask, task.incarnation);
        let arrives = now + if self.chance(self.wild.slow / 10) { self.rng.range(1_000, 40_000) } else { 10 };
        self.at(arrives, 1, Happening::AtProvider { task: id, ask, generation: token.generation });
        self.at(now + HEARTBEAT_MS, 1, Happening::ToTask(id, incarnation, ToTask::Beat(ask)));
        self.at(now + ASK_LIMIT_MS, 2, Happening::ToTask(id, incarnation, ToTask::AskLimit(ask)));
    }

    /// A caller gets this token.
    fn hand_out(&mut self, token: Token) {
        if !self.stored.contains(&token.serial) {
            self.broke("a caller got a token that is not stored");
        }
    }

    fn done(&mut self, id: Id, ended: Ended) {
        let (server, need, last) = {
            let task = &mut self.tasks[id];
            task.over = true;
            (task.server, task.need, task.last)
        };
        let task = &self.tasks[id];
        let unsaved = task.got.is_some_and(|token| !self.stored.contains(&token.serial));
        let moved = task.replaces != Some(self.token) || self.row.state != TokenState::Live;
        let took = self.now - task.began - (self.servers[server].paused_total - task.paused_before);
        // Slow statements (at most 20 s each way) and a database that is away (30 s) come on top.
        let allowed = WAIT_LIMIT_MS + 4 * 20_000 + 30_000 + if task.ever_held { 4 * LEASE_MS } else { 0 };
        if took > allowed {
            self.broke(format!("somebody waited for {took} ms and got {ended:?}"));
        }
        if unsaved && !moved {
            self.broke("somebody ended with an answer in hand that nobody stored");
        }
        if last {
            self.last_ended = Some(ended);
        }
        let token = match ended {
            Ended::Saved { .. } => self.tasks[id].got.unwrap_or(self.token),
            Ended::Use { .. } => self.tasks[id].seen,
            Ended::Busy => {
                self.story.busy += 1;
                return;
            }
            Ended::NeedsReconnect if self.row.state == TokenState::Live && last => {
                return self.broke("told to reconnect while the token lives");
            }
            Ended::Gone => return self.broke("the row is not gone"),
            Ended::NeedsConsent => return self.broke("consent was given"),
            _ => return,
        };
        self.hand_out(token);
        // The call. A token that the API refuses is renewed by force, once.
        if !self.provider.accepts(token, self.now) && need == Need::Usable {
            let version = match ended {
                Ended::Saved { version } | Ended::Use { version } => version,
                _ => self.row.version,
            };
            self.spawn(server, Need::Rejected { version }, last);
        }
    }

    fn into_verdict(mut self) -> Result<Story, String> {
        if self.broken.is_none() && self.tasks.iter().any(|task| !task.over) {
            self.broke("somebody hangs");
        }
        if self.broken.is_none() {
            let lost_answer = !self.provider.unsaved.is_empty();
            let rotates = matches!(self.reuse, Reuse::SingleUse | Reuse::Grace);
            let kept =
                !self.provider.family_dead && (!rotates || self.token.generation == self.provider.live);
            match (self.row.state, self.last_ended) {
                (TokenState::Live, Some(Ended::Use { .. } | Ended::Saved { .. })) => {
                    if !kept {
                        self.broke("the token is dead and nobody noticed");
                    } else if !self.provider.accepts(self.token, self.now) {
                        self.broke("the last caller was left with a dead token");
                    }
                }
                (TokenState::NeedsReconnect, Some(Ended::NeedsReconnect)) => {
                    self.story.reconnects += 1;
                    if self.reuse != Reuse::SingleUse {
                        self.broke("a token was lost although the provider forgives");
                    } else if !lost_answer && self.ghosts == 0 && (self.story.orphans == 0 || !kept) {
                        self.broke("a token was lost although no answer was");
                    }
                }
                (state, ended) => {
                    self.broke(format!("the end is neither live nor reported: {state:?}, {ended:?}"))
                }
            }
        }
        match self.broken {
            Some(what) => Err(what),
            None => Ok(self.story),
        }
    }
}

fn life(obtained: i64, ttl: i64) -> Life {
    Life {
        obtained_at: Timestamp(obtained),
        fresh_until: Some(Timestamp(obtained + ttl - margin(ttl))),
        expires_at: Some(Timestamp(obtained + ttl)),
    }
}
