//! The way of one call. The modules are its steps, in order; docs/ARCHITECTURE.md tells the story.

pub mod accept;
pub mod answer;
pub mod authorise;
pub mod bind;
mod coded;
mod decode;
pub mod described;
mod fresh;
pub mod headers;
mod held;
pub mod kept;
pub mod lane;
pub mod limits;
pub mod mask;
pub mod materials;
pub mod own;
pub mod plan;
pub mod record;
pub mod route;
mod trailers;
pub(crate) mod veil;

pub use answer::{AnswerBody, BoxError};
pub use lane::{Lane, Peer, refusal};
pub use latchstring_egress::PatientTimer;
