//! Parts that pages are made of: each a struct with its own small template, safe to put into any other.

pub mod exchange;
pub mod field;
pub mod form;
pub mod mark;
pub mod mistakes;
pub mod sketched;
pub mod when;

pub use exchange::Exchange;
pub use field::Field;
pub use form::Wrong;
pub use mark::{Badge, Icon, Tile};
pub use mistakes::Mistakes;
pub use sketched::Sketched;
pub use when::When;
