//! OAuth clients: our registrations with providers, made by superusers for all projects or for named ones.
//!
//! * [`change`]: made, changed and deleted by superusers; [`settle`] brings together what they sent, what the
//!   connector says and what the issuer's [`discovery`] document says, [`proof`] how it proves itself. [`read`]: looked
//!   at.
//! * [`open`]: a client opened for a scheme, for consent and for token requests.
//! * [`elsewhere`]: a change that leads its secrets to another place comes with them.
//! * [`usage`]: which credentials name one.
//! * [`usable`]: may this person's credential of this connector, shared with these projects, name it?
//! * [`bound`]: what a grant is bound to; when that changes, consent has to be given again.

pub mod bound;
mod change;
mod discovery;
mod elsewhere;
mod endpoints;
mod input;
mod keys;
mod open;
mod proof;
mod read;
mod secrets;
mod settle;
mod usable;
mod usage;

use latchstring_model::id::OAuthClientId;

use crate::Broker;

pub use input::ClientInput;
pub use open::Opened;
pub use read::{ClientView, Owner, Whole};
pub(crate) use secrets::Secrets;
pub(crate) use usable::ANY_SERVER;
pub use usage::Use;

/// Names of the endpoints, as requests, answers and discovery documents (RFC 8414 section 2) have them.
/// Of OAuth 1.0a (RFC 5849 section 2.1), which has no discovery.
pub const REQUEST_TOKEN: &str = "request_token_endpoint";
pub const AUTHORIZATION: &str = "authorization_endpoint";
pub const TOKEN: &str = "token_endpoint";
pub const REVOCATION: &str = "revocation_endpoint";
pub const USERINFO: &str = "userinfo_endpoint";
pub const INTROSPECTION: &str = "introspection_endpoint";
pub const DEVICE: &str = "device_authorization_endpoint";
pub const ENDPOINTS: [&str; 7] =
    [REQUEST_TOKEN, AUTHORIZATION, TOKEN, REVOCATION, USERINFO, INTROSPECTION, DEVICE];

impl Broker {
    /// The client that a credential names, opened; `None` for credentials without one.
    pub(crate) async fn client_of(
        &self,
        tx: &mut impl latchstring_store::Tx,
        ticket: &latchstring_model::OpenTicket,
        credential: &latchstring_store::credentials::CredentialRow,
        found: &crate::catalog::Found,
    ) -> latchstring_model::problem::Refused<Option<Opened>> {
        match &credential.oauth_client_id {
            Some(id) => self.open_client(tx, ticket, id, found).await.map(Some),
            None => Ok(None),
        }
    }

    /// Where providers send people back to: one per client, so that the answer of one provider is never taken
    /// for that of another.
    pub fn redirect_uri(&self, client: &OAuthClientId) -> String {
        format!("{}/oauth/callback/{client}", self.settings.public_url)
    }
}
