//! A connector's operations and metadata: requests that its definition describes, made by name.
//!
//! They walk the same road as `/proxy`: who calls, for which project and environment, share → grant → values,
//! limits of the key, pins, a record before anything is sent. Metadata is a call like any other; no answer is
//! kept, so there is nothing that could be handed to somebody who may not ask.
//!
//! What a `filter` takes out of an answer nobody sees: a service account sees more than the person may. An
//! answer that cannot be filtered is not handed on, and of a refusal only its status is shown.

mod call;
mod caller;
mod reply;

use serde_json::{Map, Value};

pub use call::Input;
pub use reply::Reply;

/// Bytes of an answer that are held: 8 MiB. What is longer is not handed on.
pub const MOST_BYTES: usize = 8 * 1024 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Operation,
    Metadata,
}

/// What somebody wants to have asked.
pub struct Wish<'a> {
    /// Slug or id.
    pub project: &'a str,
    pub environment: &'a str,
    /// Slug or id, of a credential or of a keychain.
    pub credential: &'a str,
    pub kind: Kind,
    pub name: &'a str,
    pub input: Input,
    /// `Latchstring-User`: the member that a service key acts for.
    pub user: Option<&'a str>,
    /// `Latchstring-External-Id`: which credential of a keychain.
    pub external_id: Option<&'a str>,
}

impl Input {
    /// As JSON; `base` is where it stands in the request's body, as a JSON pointer.
    pub fn json(base: &'static str, values: Map<String, Value>) -> Self {
        Self { base, values, texts: false }
    }

    /// As a query string has it: all texts, read as what the fields want.
    pub fn texts(pairs: impl IntoIterator<Item = (String, String)>) -> Self {
        let values = pairs.into_iter().map(|(name, value)| (name, value.into())).collect();
        Self { base: "", values, texts: true }
    }
}
