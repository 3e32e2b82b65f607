//! Where connections may go: the address filter.

mod allow;
mod judge;
mod ranges;

pub use allow::{AllowRule, AllowRuleError};
pub use judge::{Policy, Refusal, Rules, Verdict, judge};
