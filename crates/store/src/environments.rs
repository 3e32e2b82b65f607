//! Environments of a project: an ordered list that is replaced as a whole.

use latchstring_model::Timestamp;
use latchstring_model::id::{EnvironmentId, ProjectId};

use crate::applied;
use crate::error::Result;
use crate::sql::{Columns, statements};
use crate::tx::{Tx, WriteTx};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvironmentRow {
    pub id: EnvironmentId,
    pub name: String,
}

statements! {
    LIST = "SELECT id, name FROM environments WHERE project_id = $1 ORDER BY position, id";
    BY_NAME = "SELECT id, name FROM environments WHERE project_id = $1 AND name = $2";
    INSERT = "INSERT INTO environments (id, project_id, name, position) VALUES ($1, $2, $3, $4)";
    MOVE = "UPDATE environments SET position = $1 WHERE id = $2 AND project_id = $3";
    GRANTED = "SELECT s.slug FROM grants g JOIN shares s ON s.id = g.share_id
        WHERE g.environment_id = $1 AND s.project_id = $2 ORDER BY s.credential_id";
    DELETE_GRANTS = "DELETE FROM grants WHERE environment_id = $1";
    DELETE_SECRETS = "DELETE FROM secrets WHERE environment_id = $1";
    END_KEYS = "UPDATE api_keys SET ended_at = $1 WHERE environment_id = $2 AND ended_at IS NULL";
    DELETE = "DELETE FROM environments WHERE id = $1 AND project_id = $2";
}

fn read(row: &mut Columns<'_>) -> Result<EnvironmentRow> {
    Ok(EnvironmentRow { id: row.id()?, name: row.text()? })
}

/// In the order that was given.
pub async fn list(tx: &mut impl Tx, project: &ProjectId) -> Result<Vec<EnvironmentRow>> {
    LIST.on(tx).bind(project).all(read).await
}

pub async fn by_name(tx: &mut impl Tx, project: &ProjectId, name: &str) -> Result<Option<EnvironmentRow>> {
    BY_NAME.on(tx).bind(project).bind(name).optional(read).await
}

/// Slugs of the credentials that are granted in it: all of them, whatever else the project uses.
pub async fn granted(
    tx: &mut impl Tx,
    project: &ProjectId,
    environment: &EnvironmentId,
) -> Result<Vec<String>> {
    GRANTED.on(tx).bind(environment).bind(project).all(|row| row.text()).await
}

/// Replaces the list. A kept name keeps its id, and with it grants, secrets and keys. What is left out goes
/// with its grants, secrets and variables, and its keys end: made again later, it is another environment.
/// Names must be distinct ([`crate::Taken::EnvironmentName`]).
pub async fn replace(
    tx: &mut WriteTx,
    project: &ProjectId,
    names: &[String],
    mut new_id: impl FnMut() -> EnvironmentId,
    now: Timestamp,
) -> Result<Vec<EnvironmentRow>> {
    let old = list(tx, project).await?;
    for gone in old.iter().filter(|row| !names.contains(&row.name)) {
        DELETE_GRANTS.on(tx).bind(&gone.id).run().await?;
        DELETE_SECRETS.on(tx).bind(&gone.id).run().await?;
        END_KEYS.on(tx).bind(now).bind(&gone.id).run().await?;
        applied::forget_environment(tx, project, &gone.name).await?;
        DELETE.on(tx).bind(&gone.id).bind(project).run().await?;
    }
    let mut kept: Vec<&EnvironmentRow> = old.iter().collect();
    for (position, name) in (0_i64..).zip(names) {
        match kept.iter().position(|row| &row.name == name) {
            Some(at) => {
                let row = kept.swap_remove(at);
                MOVE.on(tx).bind(position).bind(&row.id).bind(project).run().await?;
            }
            None => {
                INSERT.on(tx).bind(&new_id()).bind(project).bind(name).bind(position).run().await?;
            }
        }
    }
    list(tx, project).await
}
