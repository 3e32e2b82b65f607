//! What entitles somebody to a connection.

use latchstring_model::{CallTicket, Origin};

/// A host that only the configuration names (mail, sign-in, a key service): the operator's word,
/// so the operator's policy applies. No credential of a project may travel on it.
pub struct Configured {
    origin: Origin,
}

impl Configured {
    /// Only the binary may call this, with an origin from its settings.
    pub fn new(origin: Origin) -> Self {
        Self { origin }
    }

    pub fn origin(&self) -> &Origin {
        &self.origin
    }
}

/// Proof that a connection to an origin may be had, and by whose rules.
#[derive(Clone, Copy)]
pub enum Permit<'a> {
    /// One recorded call of a project: the tenant policy and the ticket's pins apply.
    Call(&'a CallTicket),
    /// A host from the configuration: the operator policy applies.
    Configured(&'a Configured),
}

impl Permit<'_> {
    pub(crate) fn allows(&self, origin: &Origin) -> bool {
        match self {
            Permit::Call(ticket) => ticket.allows(origin),
            Permit::Configured(configured) => &configured.origin == origin,
        }
    }
}

impl<'a> From<&'a CallTicket> for Permit<'a> {
    fn from(ticket: &'a CallTicket) -> Self {
        Permit::Call(ticket)
    }
}

impl<'a> From<&'a Configured> for Permit<'a> {
    fn from(configured: &'a Configured) -> Self {
        Permit::Configured(configured)
    }
}
