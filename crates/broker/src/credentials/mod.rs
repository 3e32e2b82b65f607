//! Credentials: made, verified, edited, shared, ended.

mod create;
pub mod input;
pub mod read;
mod sharing;
pub mod verify;
pub mod view;

use latchstring_model::{Code, Problem};
use latchstring_schemes::SchemeError;

pub use input::{NewCredential, ShareInput, Verify};

/// A scheme that its values cannot carry: said before anything is sent.
pub(crate) fn scheme_problem(error: &SchemeError) -> Box<Problem> {
    Problem::new(Code::TemplateError, format!("The credential cannot be put on a request: {error}."))
        .hint("Its owner corrects the field that is named.")
        .into()
}
