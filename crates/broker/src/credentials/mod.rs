//! Credentials: made, verified, edited, shared, ended.
//!
//! * [`create`], [`change`]: values are checked, tried in every context that they are granted to ([`attempt`],
//!   [`verify`]), and saved whole in one transaction, or not at all.
//! * [`preview`]: what values would send, shown or sent once, with nothing saved.
//! * [`check`]: the same try with values that are stored, for their owner and for members who use them.
//! * [`life`]: disabled, scheduled for deletion, restored, purged; shares withdrawn and accepted.
//! * [`versions`], [`usage`]: what was, and who uses it, [`key_use`]: with which keys.
//! * [`keypair`]: keys made here, and their certificates.
//! * [`sharing`]: which project may use which values where.

pub mod access;
pub(crate) mod attempt;
pub mod change;
pub mod check;
mod client;
mod create;
pub(crate) mod destinations;
pub mod input;
pub mod key_use;
pub mod keypair;
pub mod life;
pub mod orphans;
pub mod preview;
pub(crate) mod problems;
pub mod read;
pub mod recheck;
pub(crate) mod save;
mod sharing;
pub mod transfer;
pub mod usage;
pub mod uses;
pub mod verify;
pub mod versions;
pub mod view;
pub(crate) mod withheld;

use latchstring_model::{Code, Problem};
use latchstring_schemes::SchemeError;

pub(crate) use create::nearest;
pub use input::{CredentialChange, NewCredential, ShareInput, Verify};

/// A scheme that its values cannot carry: said before anything is sent.
pub(crate) fn scheme_problem(error: &SchemeError) -> Box<Problem> {
    Problem::new(Code::TemplateError, format!("The credential cannot be put on a request: {error}."))
        .hint("Its owner corrects the field that is named.")
        .into()
}
