//! Where a process is to be caught: whoever reaches an armed point stays there until the process is dead.

use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

/// A moment of a refresh, in its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Point {
    BeforeTake,
    TakeNotCommitted,
    TakeCommitted,
    BeforePrepare,
    PrepareCommitted,
    BeforeMark,
    MarkNotCommitted,
    MarkCommitted,
    ConnectedToProvider,
    RequestBeforeProvider,
    ProviderCommitted,
    HalfOfTheAnswer,
    BeforeSave,
    SaveNotCommitted,
    SaveCommitted,
    CallSent,
}

impl Point {
    pub const ALL: [Self; 16] = [
        Self::BeforeTake,
        Self::TakeNotCommitted,
        Self::TakeCommitted,
        Self::BeforePrepare,
        Self::PrepareCommitted,
        Self::BeforeMark,
        Self::MarkNotCommitted,
        Self::MarkCommitted,
        Self::ConnectedToProvider,
        Self::RequestBeforeProvider,
        Self::ProviderCommitted,
        Self::HalfOfTheAnswer,
        Self::BeforeSave,
        Self::SaveNotCommitted,
        Self::SaveCommitted,
        Self::CallSent,
    ];

    /// Between the provider's commit and ours: nobody has the new refresh token any more.
    pub fn answer_is_lost(self) -> bool {
        (Self::ProviderCommitted..=Self::SaveNotCommitted).contains(&self)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Off,
    Armed(Point),
    /// Somebody is there.
    Caught,
    /// The process is dead; whoever is held may go, without doing what it was about to do.
    Dead,
}

pub struct Trap {
    state: Mutex<State>,
    changed: Condvar,
}

impl Trap {
    pub fn new() -> Self {
        Self { state: Mutex::new(State::Off), changed: Condvar::new() }
    }

    pub fn arm(&self, point: Point) {
        *self.state.lock().unwrap() = State::Armed(point);
    }

    pub fn is_armed(&self, point: Point) -> bool {
        *self.state.lock().unwrap() == State::Armed(point)
    }

    /// Called at a point. Gives `true`, after the process is dead, if it was the armed one: the caller then does
    /// nothing more.
    pub fn at(&self, point: Point) -> bool {
        let mut state = self.state.lock().unwrap();
        if *state != State::Armed(point) {
            return false;
        }
        *state = State::Caught;
        self.changed.notify_all();
        while *state == State::Caught {
            state = self.changed.wait(state).unwrap();
        }
        true
    }

    /// Waits until somebody is at the armed point.
    pub fn wait(&self) {
        let (began, patience) = (Instant::now(), Duration::from_secs(60));
        let mut state = self.state.lock().unwrap();
        while let State::Armed(point) = *state {
            assert!(began.elapsed() < patience, "nobody came to {point:?}");
            state = self.changed.wait_timeout(state, Duration::from_secs(1)).unwrap().0;
        }
    }

    /// The process is dead.
    pub fn release(&self) {
        *self.state.lock().unwrap() = State::Dead;
        self.changed.notify_all();
    }
}
