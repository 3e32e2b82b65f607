//! Sealing: what is secret in the database is opaque without a key that is not in it.
//!
//! ```text
//! key ring (a file)      root keys, one active             KeyRing
//!    └ wraps             data keys, generations            WrappedDataKey, in the database
//!         └ derives      one key for each record           never stored
//!              └ seals   credential values, tokens, …      Sealed, in the database
//! ```
//!
//! # Why a key for each record
//! AES-GCM with one key and random 96-bit nonces must stop after 2³² messages (NIST SP 800-38D,
//! 8.3), and one repeated nonce gives away the authentication key. A broker re-seals a token at
//! every refresh, for years. So every record gets its own AES-256 key,
//! `HKDF-SHA256(ikm = data key, salt = 32 random bytes, info = label ‖ AAD)` (RFC 5869): the data
//! key itself never meets AES, two records would have to draw the same 256-bit salt *and* the same
//! nonce before anything is lost, and the number of records under one data key has no limit that
//! could be reached. Because the AAD is in the derivation as well as in GCM's own additional data,
//! a record that was moved is not even tried with the key it was sealed under.
//!
//! # What a sealed value is bound to
//! [`Aad`]: purpose, logical object, environment, version, project. A value copied to another
//! row, field, environment, version or tenant does not open. What this cannot see: a whole row, or
//! a whole database, put back to an older state. The audit checkpoints, which carry versions, do.
//!
//! # Rotation
//! Root: [`KeyRing::add_key`] → write the file → all servers have it → [`KeyRing::activate`] →
//! [`Vault::rewrap`] each data key → [`KeyRing::retire`].
//! Data key: [`Vault::new_data_key`] → store → [`Vault::load_data_key`] on all servers →
//! [`Vault::set_active`] → [`Vault::reseal`] each row by compare-and-swap → [`Vault::forget`].
//!
//! This crate has no I/O, clock or randomness of its own: files are read by the binary, wrapped
//! keys and sealed values lie in the store, `now` and random bytes are parameters.

mod aad;
mod check;
mod cipher;
mod ring;
mod sealing;
mod signing;

pub use aad::{Aad, Purpose};
pub use check::{CheckError, key_check, verify_check};
pub use ring::{KeyRing, RingChangeError, RingError, RootKey};
pub use sealing::{OpenError, SealError, Sealed, UnwrapError, Vault, WrappedDataKey, data_key_of};
pub use signing::{NewSigningKey, PUBLIC_KEY, SIGNATURE, SignError, signature_fits};
