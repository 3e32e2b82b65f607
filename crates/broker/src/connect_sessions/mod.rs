//! Connect sessions: an end user of somebody's product connects an account of theirs, on a page of this server, without
//! an account here.
//!
//! 1. **Made** ([`make`]) by an admin or a service account of the project, from the product's own server: which
//!    connectors may be chosen, whose account it is to the product, and the one origin that is told the result. The
//!    answer is a link; only a hash of its token is stored.
//! 2. **Opened** ([`open`]): the first browser that does gets a cookie, and from then on the link works there alone.
//! 3. **Used** ([`finish`]): what was typed is tried as always; with the transaction that saves the credential the session
//!    ends, and the project's webhooks are told. A try that fails uses nothing up; twenty of them do.
//!    Where the end user signs in elsewhere, the credential is saved first and *waits*: the session ends with the
//!    transaction that saves the grant. What waits goes when they begin anew, or do not come back in time ([`wait`]).
//!
//! The project owns what is connected: an end user is nobody here afterwards. What they type is taken as it stands, never
//! as a template, which could name the project's secrets; and only by connectors that say themselves where values go.

mod finish;
mod make;
mod open;
mod wait;

use latchstring_connectors::{AuthMethod, Definition, SchemeType};
use latchstring_model::id::{ConnectSessionId, OAuthClientId};
use serde_json::Value;

pub use finish::{Chosen, Connected, Next};
pub use make::{EndUser, Made, NewConnectSession};
pub use open::{ComeBack, Offered, Visit};
pub use wait::Progress;

/// Milliseconds that a link lives.
pub const LIFE: i64 = 1_800_000;
/// The credential's one environment.
pub(crate) const ONE: &str = "default";
/// How often the form may be sent.
const TRIES: i64 = 20;

/// The session that a new credential uses up.
pub struct Connects {
    pub session: ConnectSessionId,
    pub end_user: Value,
}

/// A method that an end user can connect by.
#[derive(Clone)]
pub struct Way {
    pub method: AuthMethod,
    /// What they consent to.
    pub client: Option<OAuthClientId>,
}

/// Methods that an end user can connect by: where values go is the connector's to say, and signing in elsewhere takes
/// one of the clients that it is chosen from.
fn ways(definition: &Definition, client: Option<&OAuthClientId>) -> Vec<Way> {
    let fixed = !definition.hosts.is_empty() || definition.sandbox;
    // On another device nobody comes back to the window.
    let here = |method: &&AuthMethod| !method.open_fields && method.scheme.ty != SchemeType::Oauth2DeviceCode;
    let methods = definition.auth_methods.iter().filter(|_| fixed).filter(here);
    let way = |method: &AuthMethod| match (method.needs_consent(), client) {
        (false, _) => Some(Way { method: method.clone(), client: None }),
        (true, Some(client)) => Some(Way { method: method.clone(), client: Some(client.clone()) }),
        (true, None) => None,
    };
    methods.filter_map(way).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::ways;
    use crate::catalog::Catalog;

    #[test]
    fn nobody_types_where_values_go_or_anything_at_all() {
        let catalog = Catalog::new(Some("http://127.0.0.1:9"));
        let client = "oac_01k9x0000000000000000000zz".parse().unwrap();
        let methods = |id: &str| {
            let definition = catalog.builtin(id).unwrap();
            (ways(&definition, None).len(), ways(&definition, Some(&client)).len())
        };
        let (typed, all) = methods("sandbox");
        assert!(typed > 0 && all == typed + 1, "one is consented to: {typed}, {all}");
        assert!(methods("airtable").0 > 0);
        for id in ["http", "raw"] {
            assert_eq!(methods(id), (0, 0), "{id}");
        }
    }
}
