//! Connectors as people see and change them: the built-in ones, and those that a project has of its own.
//!
//! Nothing of a definition is secret; a project's own is shown to its members only. A change that moves where
//! values go gives the definition another digest, and its credentials then answer `connector_changed` until
//! their owner approves: whoever administers a project must not be able to redirect other people's credentials.

mod change;
mod preview;
mod read;

use std::sync::Arc;

use latchstring_model::Timestamp;
use latchstring_model::id::ProjectId;
use latchstring_store::connectors::ConnectorRow;

use crate::catalog::{BUILTIN, Found};

pub use change::{MOST_BYTES, Put, too_large};
pub use latchstring_connectors::{AuthMethod, Definition, Field, FieldType, Operation, PemKind, SchemeType};

/// What a project has of its own, beside the definition.
#[derive(Clone, Debug)]
pub struct OwnConnector {
    pub project: ProjectId,
    /// The definition as it was given.
    pub source: String,
    /// Counts changes, from 1.
    pub revision: i64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// A connector as somebody may see it.
#[derive(Clone)]
pub struct Connector {
    pub uid: String,
    pub definition: Arc<Definition>,
    /// `None`: built in.
    pub own: Option<OwnConnector>,
    /// Credentials of it that are shared with the project that was asked for; without one, my own.
    pub credentials: i64,
    /// For connectors with consent, where somebody looks who might give it.
    pub consent: Option<ConsentOffer>,
}

/// The OAuth clients that credentials of a connector may name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConsentOffer {
    /// Id and name.
    pub clients: Vec<(String, String)>,
    /// Names of superusers, where there is no client: they make one.
    pub ask: Vec<String>,
}

impl Connector {
    fn builtin(definition: &Arc<Definition>) -> Self {
        Self {
            uid: format!("{BUILTIN}{}", definition.id),
            definition: Arc::clone(definition),
            own: None,
            credentials: 0,
            consent: None,
        }
    }

    fn of(found: Found) -> Self {
        Self {
            uid: found.uid,
            definition: found.definition,
            own: found.row.map(OwnConnector::from),
            credentials: 0,
            consent: None,
        }
    }
}

impl From<ConnectorRow> for OwnConnector {
    fn from(row: ConnectorRow) -> Self {
        Self {
            project: row.project_id,
            source: row.source,
            revision: row.version,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}
