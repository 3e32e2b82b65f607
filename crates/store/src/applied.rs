//! What `latchstring apply` has made in a project. A mark is no right: it says what `apply --prune` may offer to
//! remove, which is then asked for as everything else is. It goes with its thing, in the same transaction.

use latchstring_model::Timestamp;
use latchstring_model::id::ProjectId;

use crate::error::Result;
use crate::sql::{Columns, statements};
use crate::tx::{Tx, WriteTx};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AppliedKind {
    Environment,
    Member,
    Connector,
    Variable,
    Secret,
    Credential,
    Keychain,
    Webhook,
}

impl AppliedKind {
    pub const ALL: [Self; 8] = [
        Self::Environment,
        Self::Member,
        Self::Connector,
        Self::Variable,
        Self::Secret,
        Self::Credential,
        Self::Keychain,
        Self::Webhook,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Environment => "environment",
            Self::Member => "member",
            Self::Connector => "connector",
            Self::Variable => "variable",
            Self::Secret => "secret",
            Self::Credential => "credential",
            Self::Keychain => "keychain",
            Self::Webhook => "webhook",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

/// What a mark names: an id where the thing has one, else its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thing {
    pub kind: AppliedKind,
    /// Of a variable or secret; else empty.
    pub environment: String,
    pub name: String,
}

impl Thing {
    pub fn new(kind: AppliedKind, name: impl Into<String>) -> Self {
        Self { kind, environment: String::new(), name: name.into() }
    }

    pub fn within(kind: AppliedKind, environment: impl Into<String>, name: impl Into<String>) -> Self {
        Self { kind, environment: environment.into(), name: name.into() }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppliedRow {
    pub thing: Thing,
    pub marked_by: String,
    pub marked_at: Timestamp,
}

statements! {
    LIST = "SELECT kind, environment, name, marked_by, marked_at FROM applied WHERE project_id = $1";
    COUNT = "SELECT COUNT(*) FROM applied WHERE project_id = $1";
    MARK = "INSERT INTO applied (project_id, kind, environment, name, marked_by, marked_at) VALUES ($1, $2, $3, $4, $5, $6)
        ON CONFLICT (project_id, kind, environment, name) DO NOTHING";
    FORGET = "DELETE FROM applied WHERE project_id = $1 AND kind = $2 AND environment = $3 AND name = $4";
    FORGET_ENVIRONMENT = "DELETE FROM applied WHERE project_id = $1
        AND (environment = $2 OR (kind = 'environment' AND name = $2))";
}

fn read(row: &mut Columns<'_>) -> Result<AppliedRow> {
    Ok(AppliedRow {
        thing: Thing { kind: row.word(AppliedKind::parse)?, environment: row.text()?, name: row.text()? },
        marked_by: row.text()?,
        marked_at: row.time()?,
    })
}

/// All of a project's, in no order.
pub async fn list(tx: &mut impl Tx, project: &ProjectId) -> Result<Vec<AppliedRow>> {
    LIST.on(tx).bind(project).all(read).await
}

pub async fn count(tx: &mut impl Tx, project: &ProjectId) -> Result<i64> {
    COUNT.on(tx).bind(project).one(|row| row.int()).await
}

/// Whether it was not marked yet.
pub async fn mark(tx: &mut WriteTx, project: &ProjectId, row: &AppliedRow) -> Result<bool> {
    let done = MARK
        .on(tx)
        .bind(project)
        .bind(row.thing.kind.as_str())
        .bind(&row.thing.environment)
        .bind(&row.thing.name)
        .bind(&row.marked_by)
        .bind(row.marked_at)
        .run()
        .await?;
    Ok(done == 1)
}

/// Called by whatever removes the thing. Whether there was a mark.
pub async fn forget(tx: &mut WriteTx, project: &ProjectId, thing: &Thing) -> Result<bool> {
    let done = FORGET
        .on(tx)
        .bind(project)
        .bind(thing.kind.as_str())
        .bind(&thing.environment)
        .bind(&thing.name)
        .run()
        .await?;
    Ok(done == 1)
}

/// With an environment go its variables and secrets.
pub(crate) async fn forget_environment(tx: &mut WriteTx, project: &ProjectId, name: &str) -> Result<()> {
    FORGET_ENVIRONMENT.on(tx).bind(project).bind(name).run().await?;
    Ok(())
}
