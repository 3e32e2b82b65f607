//! OpenID Connect as a client of it: what an ID token has to be, and what a provider says about itself.

mod discovery;
mod id_token;

pub use discovery::{DiscoveryError, Metadata, metadata_address};
pub use id_token::{Expected, IdToken, IdTokenError, verify_id_token};
