//! Credentials: made, verified, edited, shared, ended.

use latchstring_model::{Code, Problem};
use latchstring_schemes::SchemeError;

/// A scheme that its values cannot carry: said before anything is sent.
pub(crate) fn scheme_problem(error: &SchemeError) -> Box<Problem> {
    Problem::new(Code::TemplateError, format!("The credential cannot be put on a request: {error}."))
        .hint("Its owner corrects the field that is named.")
        .into()
}
