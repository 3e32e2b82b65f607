//! Keychains: a name in a project for "the credential that the data says". A call names the keychain where it would
//! name a credential; the text that it is looked up by is compared with the `external_id` of the project's credentials.
//!
//! | what the text finds | the call uses |
//! | --- | --- |
//! | a credential of the keychain's connector | that one, and no other: also when it has no grant, is disabled or its owner has left, which is then the call's refusal |
//! | a credential of another connector | none: `no_keychain_match` |
//! | nothing, and there is a default | the default |
//! | nothing, and there is none | none: `no_keychain_match` |
//!
//! A call is never made without a credential because none was found. [`choose`] decides; the rest of the road is that
//! of every call.

mod change;
pub(crate) mod choose;

use latchstring_model::Timestamp;
use latchstring_model::id::{CredentialId, KeychainId};

/// Keychains of one project.
pub const MOST: i64 = 200;

pub struct NewKeychain {
    pub name: String,
    /// Made from the name when missing.
    pub slug: Option<String>,
    /// As people name it in the project.
    pub connector: String,
    /// A template over `input`.
    pub by: String,
    /// Slug or id of a credential in the project.
    pub default: Option<String>,
}

/// What is not named stays; `Some(None)` takes the default away.
#[derive(Default)]
pub struct KeychainChange {
    pub name: Option<String>,
    pub slug: Option<String>,
    pub by: Option<String>,
    pub default: Option<Option<String>>,
}

/// A keychain as the project's members see it.
pub struct Keychain {
    pub id: KeychainId,
    pub slug: String,
    pub name: String,
    pub connector: String,
    pub connector_uid: String,
    pub by: String,
    pub default: Option<CredentialId>,
    /// The default's slug in the project; missing when it is not shared with the project any more.
    pub default_slug: Option<String>,
    pub version: i64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}
