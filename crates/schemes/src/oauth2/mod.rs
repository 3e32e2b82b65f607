//! OAuth 2 as it is spoken: requests to token endpoints and what their answers mean.
//!
//! Everything is pure. A grant (its templates rendered) with the time and randomness gives a
//! [`WireRequest`](crate::wire::WireRequest); a [`WireAnswer`](crate::wire::WireAnswer) with the
//! connector's [`AnswerRules`] gives a [`TokenSet`](crate::token::TokenSet) or a classed
//! [`OAuthError`]. What providers do differently is data ([`TokenEndpoint`], [`AnswerRules`]),
//! never code for one of them.
//!
//! RFC 6749 (framework), 7009 (revocation), 7521/7523 (JWT assertions), 7636 (PKCE), 8628 (device
//! code), 8693 (token exchange), 8705 (mutual TLS), 8707 (resource), 9207 (issuer in the authorization answer), 9449
//! (DPoP, in [`crate::dpop`]).

mod answer;
mod assertion;
mod authorize;
mod client;
mod date;
mod error;
mod grant;
mod json_path;
mod request;
mod rules;

pub use assertion::Assertion;
pub use authorize::{
    AuthorizeRequest, Callback, CallbackRefused, PkceVerifier, callback_state, read_callback,
};
pub use client::{ASSERTION_LIFE_SECS, Client, ClientAuth, PrivateKeyJwt};
pub use date::parse_date;
pub use error::{ErrorClass, OAuthError, Words, mask_text};
pub use grant::{
    AuthorizationCode, ClientCredentials, DeviceAuthorization, DeviceCode, Grant, JWT_BEARER_TTL_SECS,
    JwtBearer, Password, Refresh, Revocation, TokenExchange,
};
pub use json_path::{Path, Paths};
pub use request::{BodyForm, Scope, TokenEndpoint, TokenMethod, secrets_in};
pub use rules::{AnswerForm, AnswerRules, Equals, ExpiryFormat, NamedToken, ScopeSeparator};

/// Answers of token endpoints are read up to this many bytes; real ones have a few thousand.
pub const ANSWER_LIMIT: usize = 1024 * 1024;
