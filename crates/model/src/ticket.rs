//! Tickets: proof, in the type system, that a step of the road was taken.
//!
//! Opening a sealed value needs an [`OpenTicket`], which only *authorise* mints; getting a
//! network stream needs a [`CallTicket`], which only *record* mints, after the intent is in
//! the journal. A lint keeps both `mint` functions to those two files of the broker, so there
//! is no road for a secret that skips authorisation or the journal.

use std::sync::Arc;

use crate::address::{Origin, Pin};
use crate::id::{CallId, ProjectId};

/// Proof that a caller was authorised to have these values used.
pub struct OpenTicket {
    _private: (),
}

impl OpenTicket {
    /// Only `broker/src/road/authorise.rs` may call this (checked by `cargo xtask test`).
    pub fn mint() -> Self {
        Self { _private: () }
    }
}

/// Proof that the intent of one call is recorded; names where that call may go.
#[derive(Clone)]
pub struct CallTicket {
    call: CallId,
    project: Option<ProjectId>,
    pins: Arc<[Pin]>,
}

impl CallTicket {
    /// Only `broker/src/road/record.rs` may call this (checked by `cargo xtask test`).
    pub fn mint(call: CallId, project: Option<ProjectId>, pins: Arc<[Pin]>) -> Self {
        Self { call, project, pins }
    }

    pub fn call(&self) -> &CallId {
        &self.call
    }

    /// The project on whose behalf the call is made: egress rules can name one.
    pub fn project(&self) -> Option<&ProjectId> {
        self.project.as_ref()
    }

    /// Whether a stream to this origin may be had with this ticket.
    pub fn allows(&self, origin: &Origin) -> bool {
        self.pins.iter().any(|pin| &pin.origin == origin)
    }
}
