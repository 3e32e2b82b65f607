//! What handlers ask for: who acts, a body that was understood, a page of a list, a version.

pub mod actor;
pub mod body;
pub mod form;
pub mod page;
pub mod path;
pub mod precondition;
pub mod secret;
pub mod time;
