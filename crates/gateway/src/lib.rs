//! The service that callers reach. `/proxy` is carried here, on data cores: threads with a runtime, an
//! upstream pool and a journal buffer of their own. Everything else is handed whole to the control runtime.

mod bounds;
mod connection;
mod cores;
mod peer;
mod plain;
mod unreadable;
mod version;

pub use connection::{ApiBody, ApiHandler};
pub use cores::{Gateway, GatewaySettings, start};
pub use peer::TrustedProxies;
