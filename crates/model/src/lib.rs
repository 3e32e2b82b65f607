//! The words of Latchstring as types: ids, entities, destinations, error kinds.
//!
//! No I/O, no clock, no randomness: time and random bytes come in as parameters
//! (see [`clock`]), so everything above can be tested to the millisecond.

pub mod address;
pub mod clock;
pub mod entity;
pub mod id;
pub mod problem;
pub mod secret;
pub mod ticket;

pub use address::{Origin, Pin, PinPurpose};
pub use clock::{Clock, Entropy, Timestamp};
pub use problem::{Code, FieldError, Problem};
pub use secret::{SecretBytes, SecretString};
pub use ticket::{CallTicket, OpenTicket};
