//! Consent: a person lets Latchstring use an account of theirs, in a browser (RFC 6749 section 4.1, RFC 5849 section 2)
//! or on another device (RFC 8628).
//!
//! * [`begin`]: somebody asks for it; a browser gets a link of our own, a device its code.
//! * [`start`]: the link is opened in that person's session: `state`, PKCE and the flow's cookie are made, and the
//!   browser goes to the provider.
//! * [`callback`]: it comes back. A `state` is taken once, from that browser and person, for that client.
//! * [`oauth1`]: what of these two is different with OAuth 1.0a.
//! * [`end_user`]: what is different for an end user, in a connect session.
//! * [`device`]: the server asks until the person has decided.
//! * [`finish`]: what came is looked at, used once, and saved in one transaction; until then the old grant stands.
//! * [`bring_in`]: a grant that exists already, at the creation of a credential.
//! * [`account`]: who signed in there.
//! * [`revoke`]: tokens of what is purged or removed are given back.
//!
//! A grant belongs to the client and to what of the values decides where it is asked for ([`ground::depends_on`]):
//! editing anything else keeps it.

mod account;
mod begin;
pub mod bring_in;
mod callback;
mod device;
mod end_user;
mod finish;
pub(crate) mod ground;
mod oauth1;
mod outcome;
mod revoke;
mod start;

use latchstring_model::Timestamp;

pub use begin::{Asked, Offer, own_path};
pub use bring_in::BroughtGrant;
pub use callback::CameBack;
pub use finish::Connected;
pub use start::Started;

/// How long a person has, from asking to coming back; in milliseconds.
pub const LIFE: i64 = 600_000;

/// Outcomes are told for a day; in milliseconds.
pub(crate) const KEPT: i64 = 86_400_000;

/// What `authorize` answers.
pub enum Begun {
    Browser {
        authorize_url: String,
        expires_at: Timestamp,
    },
    Device {
        user_code: String,
        verification_uri: String,
        verification_uri_complete: Option<String>,
        expires_at: Timestamp,
    },
}
