//! Sign-in at a provider that the operator named (OpenID Connect Core 1.0, authorization code flow with PKCE).
//!
//! * [`settings`]: the operator's word: issuer, client, who may come in, which groups give what.
//! * [`provider`]: what the provider says about itself, its keys, and the requests to it.
//! * [`begin`]: a sign-in, a link or a confirmation begins: `state`, `nonce`, PKCE and the flow's cookie are made.
//! * [`callback`]: the browser comes back: the answer is taken once, by the browser that began it; the ID token is
//!   verified whole.
//! * [`arrive`]: whom the identity belongs to, by issuer and subject; what they begin with here.
//! * [`groups`]: roles that come from the provider's groups.
//!
//! An e-mail address never finds an account. It is a thing to show, and what a new account begins with.

mod arrive;
mod begin;
mod callback;
mod groups;
mod provider;
mod settings;

pub use arrive::Arrived;
pub use begin::{Begun, Link};
pub(crate) use groups::given_by_hand;
pub use provider::Provider;
pub use settings::{Gives, GroupRole, OidcSettings, OidcText};

/// How long a person has, from the beginning to coming back; in milliseconds.
pub const LIFE: i64 = 600_000;
