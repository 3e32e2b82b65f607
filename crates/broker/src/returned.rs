//! How a browser came back from a provider: from consent, or from sign-in.

use latchstring_model::Problem;
use latchstring_model::problem::Refused;

/// How it ended, for the page that tells it.
pub struct Returned<T> {
    pub result: Refused<T>,
    /// The path that whoever began it wanted to come back to.
    pub return_to: Option<String>,
    /// `Set-Cookie` that takes the flow's cookie away, when the flow is over.
    pub no_cookie: Option<String>,
}

impl<T> From<Box<Problem>> for Returned<T> {
    fn from(problem: Box<Problem>) -> Self {
        Self { result: Err(problem), return_to: None, no_cookie: None }
    }
}
