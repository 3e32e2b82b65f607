//! Connect sessions: an end user of somebody's product connects an account of theirs, on a page of this server, without
//! an account here.
//!
//! 1. **Made** ([`make`]) by an admin or a service account of the project, from the product's own server: which
//!    connectors may be chosen, whose account it is to the product, and the one origin that is told the result. The
//!    answer is a link; only a hash of its token is stored.
//! 2. **Opened** ([`open`]): the first browser that does gets a cookie, and from then on the link works there alone.
//! 3. **Used** ([`finish`]): what was typed is tried as always; with the transaction that saves the credential the session
//!    ends, and the project's webhooks are told. A try that fails uses nothing up; twenty of them do.
//!
//! The project owns what is connected: an end user is nobody here afterwards. What they type is taken as it stands, never
//! as a template, which could name the project's secrets; and only by connectors that say themselves where values go.

mod finish;
mod make;
mod open;

use latchstring_connectors::{AuthMethod, Definition};
use latchstring_model::id::ConnectSessionId;
use serde_json::Value;

pub use finish::{Chosen, Connected};
pub use make::{EndUser, Made, NewConnectSession};
pub use open::{Offered, Visit};

/// Milliseconds that a link lives.
pub const LIFE: i64 = 1_800_000;
/// How often the form may be sent.
const TRIES: i64 = 20;

/// The session that a new credential uses up.
pub struct Connects {
    pub session: ConnectSessionId,
    pub end_user: Value,
}

/// Methods that an end user can fill in: where values go is the connector's to say, and nobody signs in elsewhere.
fn usable(definition: &Definition) -> impl Iterator<Item = &AuthMethod> {
    let fixed = !definition.hosts.is_empty() || definition.sandbox;
    definition
        .auth_methods
        .iter()
        .filter(move |method| fixed && !method.open_fields && !method.needs_consent())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::usable;
    use crate::catalog::Catalog;

    #[test]
    fn nobody_types_where_values_go_or_anything_at_all() {
        let catalog = Catalog::new(Some("http://127.0.0.1:9"));
        let methods = |id: &str| usable(&catalog.builtin(id).unwrap()).count();
        assert!(methods("sandbox") > 0 && methods("airtable") > 0);
        for id in ["http", "raw"] {
            assert_eq!(methods(id), 0, "{id}");
        }
    }
}
