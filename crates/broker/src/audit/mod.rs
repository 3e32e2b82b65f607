//! What is recorded: every call, every change, every refusal of one. DESIGN section 8.
//!
//! * [`events`]: an event is written in the same transaction as the change it tells of, so that neither exists
//!   without the other.
//! * [`ship`]: calls come from the journals of the data cores, with the bytes that they were recorded with, many
//!   in a row of the database.
//! * [`refused`]: calls that were refused before they had a record of their own; bounded and summarised.
//! * [`list`]: what the members of a project, the owner of a credential, and superusers get to see;
//!   [`export`]: as text.
//! * [`verify`]: whether the trail still is what was written.
//! * [`checkpoint`]: what it was at a moment, [`signing`]: signed, and kept in a second place.
//! * [`retention`]: what is too old is cut away, behind a signed anchor.
//!
//! Each writer has its own hash chain ([`latchstring_journal::chain`]): `srv_….<core>` for the journal of one
//! core of one server process, `srv_….events` for what that process writes itself.

mod body;
pub mod checkpoint;
pub mod events;
pub mod export;
pub mod list;
mod pack;
pub mod refused;
pub mod retention;
pub mod ship;
pub mod signing;
pub mod verify;

#[cfg(test)]
pub(crate) mod tests;

pub use events::Event;
pub use refused::Refusals;
pub use verify::verify_audit;
