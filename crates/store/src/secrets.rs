//! Secrets and variables of a project's environment, for templates. Both are sealed.

use latchstring_model::Timestamp;
use latchstring_model::id::{DataKeyId, EnvironmentId, ProjectId};

use crate::error::{Result, StoreError, Taken};
use crate::sql::{Columns, json, statements};
use crate::tx::{Tx, WriteTx};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SecretKind {
    Secret,
    Variable,
}

impl SecretKind {
    pub const fn as_str(self) -> &'static str {
        match self {
            SecretKind::Secret => "secret",
            SecretKind::Variable => "variable",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        [SecretKind::Secret, SecretKind::Variable].into_iter().find(|kind| kind.as_str() == text)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretRow {
    pub kind: SecretKind,
    pub name: String,
    pub version: i64,
    pub sealed: Vec<u8>,
    pub data_key: DataKeyId,
    /// Where a template may send it; empty: wherever.
    pub hosts: Vec<String>,
    pub set_by: String,
    pub set_at: Timestamp,
}

macro_rules! columns {
    () => {
        "s.kind, s.name, s.version, s.sealed, s.data_key, s.hosts, s.set_by, s.set_at"
    };
}

statements! {
    ONE = concat!("SELECT ", columns!(), " FROM secrets s
        JOIN environments e ON e.id = s.environment_id AND e.project_id = $1
        WHERE s.environment_id = $2 AND s.kind = $3 AND s.name = $4");
    LIST = concat!("SELECT ", columns!(), " FROM secrets s
        JOIN environments e ON e.id = s.environment_id AND e.project_id = $1
        WHERE s.environment_id = $2 AND s.kind = $3 ORDER BY s.name");
    INSERT = "INSERT INTO secrets (environment_id, kind, name, version, sealed, data_key, hosts, set_by, set_at)
        SELECT e.id, $1, $2, $3, $4, $5, $6, $7, $8 FROM environments e WHERE e.id = $9 AND e.project_id = $10";
    UPDATE = "UPDATE secrets SET version = $3, sealed = $4, data_key = $5, hosts = $6, set_by = $7, set_at = $8
        WHERE kind = $1 AND name = $2
        AND environment_id = (SELECT e.id FROM environments e WHERE e.id = $9 AND e.project_id = $10) AND version = $11";
    DELETE = "DELETE FROM secrets WHERE kind = $1 AND name = $2
        AND environment_id = (SELECT e.id FROM environments e WHERE e.id = $3 AND e.project_id = $4)";
}

fn read(row: &mut Columns<'_>) -> Result<SecretRow> {
    Ok(SecretRow {
        kind: row.word(SecretKind::parse)?,
        name: row.text()?,
        version: row.int()?,
        sealed: row.bytes()?,
        data_key: row.id()?,
        hosts: row.json()?,
        set_by: row.text()?,
        set_at: row.time()?,
    })
}

pub async fn one(
    tx: &mut impl Tx,
    project: &ProjectId,
    environment: &EnvironmentId,
    kind: SecretKind,
    name: &str,
) -> Result<Option<SecretRow>> {
    ONE.on(tx).bind(project).bind(environment).bind(kind.as_str()).bind(name).optional(read).await
}

/// By name.
pub async fn list(
    tx: &mut impl Tx,
    project: &ProjectId,
    environment: &EnvironmentId,
    kind: SecretKind,
) -> Result<Vec<SecretRow>> {
    LIST.on(tx).bind(project).bind(environment).bind(kind.as_str()).all(read).await
}

/// Sets one. `expected`: the version that it replaces, `None` for a new one; [`StoreError::Moved`] when that
/// is not so, or the environment is not one of that project.
pub async fn put(
    tx: &mut WriteTx,
    project: &ProjectId,
    environment: &EnvironmentId,
    row: &SecretRow,
    expected: Option<i64>,
) -> Result<()> {
    let statement = if expected.is_some() { &UPDATE } else { &INSERT };
    let mut run = statement
        .on(tx)
        .bind(row.kind.as_str())
        .bind(&row.name)
        .bind(row.version)
        .bind(&row.sealed)
        .bind(&row.data_key)
        .bind(json(&row.hosts)?)
        .bind(&row.set_by)
        .bind(row.set_at)
        .bind(environment)
        .bind(project);
    if let Some(expected) = expected {
        run = run.bind(expected);
    }
    match run.run().await {
        Ok(1) => Ok(()),
        Ok(_) | Err(StoreError::Taken(Taken::Other)) => Err(StoreError::Moved),
        Err(error) => Err(error),
    }
}

/// Whether there was one.
pub async fn delete(
    tx: &mut WriteTx,
    project: &ProjectId,
    environment: &EnvironmentId,
    kind: SecretKind,
    name: &str,
) -> Result<bool> {
    Ok(DELETE.on(tx).bind(kind.as_str()).bind(name).bind(environment).bind(project).run().await? == 1)
}
