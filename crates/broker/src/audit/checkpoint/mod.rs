//! Checkpoints: what the trail was at a moment, signed and kept in a second place.
//!
//! A hash chain alone shows nothing to whoever may write to the whole database: they hash it anew, cut it together
//! with its head, or put back last week's copy. A checkpoint names the heads of all chains and the versions of
//! credentials; it is signed with a key that the database does not give away, and lies where the database's
//! keeper does not write.
//!
//! * [`line`]: one checkpoint is one line of JSON, which names the hash of the line before.
//! * [`write`]: every server writes its own, behind the newest record by a second or ten records.
//! * [`read`]: whether lines are what servers wrote, and what they say the trail must hold.

pub mod line;
pub mod read;
pub mod write;

pub use read::{Checkpoints, LineError, Reading};
pub use write::{Look, Place};
