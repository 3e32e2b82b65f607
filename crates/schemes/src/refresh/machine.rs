//! One wish for a token, from the first look at the row to its end. The driver does what a
//! [`Command`] says and brings the [`Event`] that comes of it; it decides nothing itself.

use latchstring_model::{Entropy, Timestamp};

use super::backoff::backoff;
use super::decide::{Decision, Need, Refusal, decide};
use super::row::{Life, Reuse, TokenRow};
use super::step::Step;
use super::{SEND_SLACK_MS, WAIT_LIMIT_MS};

/// What the driver is to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Read the row together with the database's clock → [`Event::Row`].
    Read,
    /// Run the step → [`Event::Ran`]. With [`Step::Save`], store what [`Command::Ask`] brought.
    Run(Step),
    /// Send the token request at once, for at most [`ASK_LIMIT_MS`](super::ASK_LIMIT_MS) → [`Event::Answered`].
    /// Meanwhile run [`Machine::heartbeat`] every [`HEARTBEAT_MS`](super::HEARTBEAT_MS); when it is
    /// refused, wait for the answer all the same. An answer that is there when the limit strikes counts.
    Ask,
    /// → [`Event::Woke`].
    Sleep {
        ms: i64,
    },
    Done(Ended),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    Row {
        row: TokenRow,
        now_db: Timestamp,
    },
    /// The row is gone: the credential was deleted or its values changed.
    NoRow,
    /// The row could not be read.
    NotRead,
    Ran(Ran),
    Answered(Answer),
    Woke,
}

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ran {
    Done,
    /// Its condition did not hold.
    Refused,
    /// The database did not answer: done or not, nobody knows.
    Unknown,
}

/// How a token request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Token(Life),
    /// The provider says that the grant is over.
    Dead,
    /// An error answer, or nothing was sent at all: nothing was spent.
    Failed {
        retry_after_ms: i64,
    },
    /// Sent, and no answer that can be read.
    Ambiguous,
}

/// How the wish ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// What is stored is the token to use; this version was seen.
    Use {
        version: i64,
    },
    /// We obtained this version and it is stored: the waiters may have it.
    Saved {
        version: i64,
    },
    NeedsReconnect,
    NeedsConsent,
    /// Asked in vain, now or before; nobody asks until then (the database's clock).
    BackOff {
        until: Timestamp,
    },
    /// Asked in vain just now.
    Failed {
        retry_ms: i64,
    },
    /// A refresh was forced a moment ago; the 401 has another cause.
    JustForced,
    /// Somebody else has been refreshing for too long.
    Busy,
    StoreUnavailable,
    Gone,
}

/// After trouble that waiting alone does not cure, and after a lost answer, leave the provider
/// alone for at least this long.
const LOST_BACKOFF_MS: i64 = 30_000;
const POLL_FIRST_MS: i64 = 50;
const POLL_LONGEST_MS: i64 = 1_000;

#[derive(Clone, Copy, Debug)]
struct Held {
    fence: i64,
    version: i64,
    failures: u32,
}

#[derive(Clone, Debug)]
enum Phase {
    Begin,
    Reading,
    Waiting,
    Taking(Held),
    Settling,
    Preparing(Held),
    /// Since when, by our own monotonic clock.
    Marking(Held, i64),
    Asking(Held),
    /// What must be written until it is known to be written or refused; the tries so far.
    Writing {
        held: Held,
        step: Step,
        tries: u32,
        then: Ended,
    },
    /// Before the same is tried again.
    Pausing {
        held: Held,
        step: Step,
        tries: u32,
        then: Ended,
    },
    Over,
}

pub struct Machine {
    me: String,
    need: Need,
    reuse: Reuse,
    phase: Phase,
    began: i64,
    polls: u32,
}

impl Machine {
    /// `now` here and below is our own monotonic clock in milliseconds. The first command is a [`Command::Read`].
    pub fn new(me: impl Into<String>, need: Need, reuse: Reuse, now: i64) -> Self {
        Self { me: me.into(), need, reuse, phase: Phase::Begin, began: now, polls: 0 }
    }

    /// What to do first.
    pub fn begin(&mut self) -> Command {
        self.phase = Phase::Reading;
        Command::Read
    }

    /// Whether the request is under way: hanging up on it now would lose a token.
    pub fn is_asking(&self) -> bool {
        matches!(self.phase, Phase::Asking(_))
    }

    /// Keeps the lease while asking.
    pub fn heartbeat(&self) -> Option<Step> {
        match &self.phase {
            Phase::Asking(held) => Some(Step::Renew { fence: held.fence }),
            _ => None,
        }
    }

    pub fn on(&mut self, event: Event, now: i64, entropy: &dyn Entropy) -> Command {
        let phase = std::mem::replace(&mut self.phase, Phase::Over);
        match (phase, event) {
            (Phase::Over | Phase::Begin, _) => Command::Done(Ended::StoreUnavailable),
            (_, Event::NoRow) => Command::Done(Ended::Gone),
            (_, Event::NotRead) => Command::Done(Ended::StoreUnavailable),
            (Phase::Reading, Event::Row { row, now_db }) => self.decide(&row, now_db, now, entropy),
            (Phase::Waiting, Event::Woke) | (Phase::Settling, Event::Ran(Ran::Done | Ran::Refused)) => {
                self.begin()
            }

            (Phase::Taking(held), Event::Ran(Ran::Done)) => {
                self.phase = Phase::Preparing(held);
                Command::Run(Step::Prepare { fence: held.fence, version: held.version })
            }
            (Phase::Preparing(held), Event::Ran(Ran::Done)) => {
                self.phase = Phase::Marking(held, now);
                Command::Run(Step::MarkSent { fence: held.fence, version: held.version })
            }
            // Too late to be done within the lease: somebody else may begin while we still ask.
            (Phase::Marking(held, since), Event::Ran(Ran::Done))
                if now.saturating_sub(since) >= SEND_SLACK_MS =>
            {
                self.release(held)
            }
            (Phase::Marking(held, _), Event::Ran(Ran::Done)) => {
                self.phase = Phase::Asking(held);
                Command::Ask
            }
            // The mark may be there although nothing was sent: it must not be taken for a lost request.
            (Phase::Marking(held, _), Event::Ran(Ran::Unknown)) => self.release(held),
            (Phase::Taking(_) | Phase::Preparing(_) | Phase::Marking(..), Event::Ran(Ran::Refused)) => {
                self.begin()
            }
            // A lease or a prepared intent that nobody follows up runs out by itself.
            (Phase::Taking(_) | Phase::Preparing(_) | Phase::Settling, Event::Ran(Ran::Unknown)) => {
                Command::Done(Ended::StoreUnavailable)
            }

            (Phase::Asking(held), Event::Answered(answer)) => self.answered(held, answer, entropy),

            (Phase::Writing { then, .. }, Event::Ran(Ran::Done)) => Command::Done(then),
            // Somebody else came first, or our own try of before was done after all: what is stored counts.
            (Phase::Writing { .. }, Event::Ran(Ran::Refused)) => self.begin(),
            // An answer in hand is never given up.
            (Phase::Writing { held, step, tries, then }, Event::Ran(Ran::Unknown)) => {
                let ms = (200_i64 << tries.min(5)).min(5_000);
                self.phase = Phase::Pausing { held, step, tries: tries.saturating_add(1), then };
                Command::Sleep { ms }
            }
            (Phase::Pausing { held, step, tries, then }, Event::Woke) => self.write(held, step, tries, then),

            // An event that no command asked for: the driver is wrong, and guessing could spend a token.
            (_, Event::Row { .. } | Event::Ran(_) | Event::Answered(_) | Event::Woke) => {
                Command::Done(Ended::StoreUnavailable)
            }
        }
    }

    fn decide(&mut self, row: &TokenRow, now_db: Timestamp, now: i64, entropy: &dyn Entropy) -> Command {
        let end = match decide(row, now_db, &self.me, self.need, self.reuse) {
            Decision::Take(step) => {
                let held = Held { fence: row.fence + 1, version: row.version, failures: row.failures };
                self.phase = Phase::Taking(held);
                return Command::Run(step);
            }
            Decision::Settle(step) => {
                self.phase = Phase::Settling;
                return Command::Run(step);
            }
            Decision::Wait { .. } if now.saturating_sub(self.began) < WAIT_LIMIT_MS => {
                self.phase = Phase::Waiting;
                return Command::Sleep { ms: self.poll(now, entropy) };
            }
            Decision::Wait { .. } => Ended::Busy,
            Decision::Use => Ended::Use { version: row.version },
            Decision::Refuse(Refusal::NeedsReconnect) => Ended::NeedsReconnect,
            Decision::Refuse(Refusal::NeedsConsent) => Ended::NeedsConsent,
            Decision::Refuse(Refusal::BackOff { until }) => Ended::BackOff { until },
            Decision::Refuse(Refusal::JustForced) => Ended::JustForced,
        };
        Command::Done(end)
    }

    /// Looks again soon at first, then once a second, never past the limit; waiters spread out.
    fn poll(&mut self, now: i64, entropy: &dyn Entropy) -> i64 {
        let step = (POLL_FIRST_MS << self.polls.min(10)).min(POLL_LONGEST_MS);
        self.polls = self.polls.saturating_add(1);
        let mut byte = [0];
        entropy.fill(&mut byte);
        let jittered = step - (step / 4) * i64::from(byte[0]) / 256;
        let left = WAIT_LIMIT_MS - now.saturating_sub(self.began);
        jittered.min(left).max(1)
    }

    fn answered(&mut self, held: Held, answer: Answer, entropy: &dyn Entropy) -> Command {
        let (fence, version) = (held.fence, held.version);
        let at_least = match answer {
            Answer::Token(life) => {
                let then = Ended::Saved { version: version + 1 };
                return self.write(held, Step::Save { version, life }, 0, then);
            }
            // The condition on the version is the second look: if it moved, someone else won.
            Answer::Dead if self.reuse != Reuse::Repeatable => {
                return self.write(held, Step::Dead { fence, version }, 0, Ended::NeedsReconnect);
            }
            Answer::Failed { retry_after_ms } => retry_after_ms,
            // Nothing that a person could connect anew; after a correction it works again.
            Answer::Dead | Answer::Ambiguous => LOST_BACKOFF_MS,
        };
        let retry_ms = backoff(held.failures.saturating_add(1), at_least, entropy);
        self.write(held, Step::Fail { fence, version, retry_ms }, 0, Ended::Failed { retry_ms })
    }

    fn release(&mut self, held: Held) -> Command {
        self.write(held, Step::Release { fence: held.fence }, 0, Ended::StoreUnavailable)
    }

    fn write(&mut self, held: Held, step: Step, tries: u32, then: Ended) -> Command {
        self.phase = Phase::Writing { held, step: step.clone(), tries, then };
        Command::Run(step)
    }
}
