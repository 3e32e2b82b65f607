//! The cold path of a call: one query from (project, environment, credential) to sealed values.

use latchstring_model::entity::{Principal, Role};
use latchstring_model::id::{EnvironmentId, ProjectId};

use crate::credentials::{self, CredentialRow};
use crate::error::Result;
use crate::shares::{self, ShareRow};
use crate::sql::{Columns, statements};
use crate::tx::Tx;
use crate::values::{self, ValuesRow};

#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    pub credential: CredentialRow,
    pub share: ShareRow,
    /// `None`: the project has no such environment.
    pub environment_id: Option<EnvironmentId>,
    /// Of the credential; `None`: no grant here.
    pub credential_environment: Option<String>,
    /// `None`: no grant, or the values that it names have been removed.
    pub values: Option<ValuesRow>,
    /// Whether the owner is this project or an active member of it: the share lives only then.
    pub owner_living: bool,
    /// What this was built from, of the same moment.
    pub epochs: RouteEpochs,
}

/// The scopes to watch are the ids of the project, the credential and its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteEpochs {
    pub project: i64,
    pub credential: i64,
    pub owner: i64,
}

statements! {
    ROUTE = concat!("SELECT ", credentials::credential_columns!(), ", ", shares::share_columns!(), ",
        e.id, g.credential_environment, u.active, m.role, sp.epoch, sc.epoch, so.epoch,
        v.credential_id, ", values::values_columns!(), "
        FROM shares s
        JOIN credentials c ON c.id = s.credential_id
        LEFT JOIN environments e ON e.project_id = s.project_id AND e.name = $2
        LEFT JOIN grants g ON g.share_id = s.id AND g.environment_id = e.id
        LEFT JOIN credential_values v ON v.credential_id = c.id AND v.environment = g.credential_environment
        LEFT JOIN users u ON u.id = c.owner_id AND c.owner_type = 'user'
        LEFT JOIN members m ON m.project_id = s.project_id AND m.user_id = u.id
        LEFT JOIN scopes sp ON sp.id = s.project_id
        LEFT JOIN scopes sc ON sc.id = c.id
        LEFT JOIN scopes so ON so.id = c.owner_id
        WHERE s.project_id = $1 AND (s.slug = $3 OR s.credential_id = $3)");
}

fn read(row: &mut Columns<'_>) -> Result<Route> {
    let credential = credentials::read(row)?;
    let share = shares::read(row)?;
    let environment_id = row.id_or()?;
    let credential_environment = row.text_or()?;
    let active = row.flag_or()?;
    let role = row.word_or(Role::parse)?;
    let epochs = RouteEpochs {
        project: row.int_or()?.unwrap_or(0),
        credential: row.int_or()?.unwrap_or(0),
        owner: row.int_or()?.unwrap_or(0),
    };
    let values = match row.text_or()? {
        Some(_) => Some(values::read(row)?),
        None => None,
    };
    let owner_living = match &credential.owner {
        Principal::Project(id) => *id == share.project_id,
        Principal::User(_) => active == Some(true) && role.is_some(),
    };
    Ok(Route { credential, share, environment_id, credential_environment, values, owner_living, epochs })
}

/// `credential` is its slug in that project, or its id. `None`: not shared with the project, or no such thing.
pub async fn route(
    tx: &mut impl Tx,
    project: &ProjectId,
    environment: &str,
    credential: &str,
) -> Result<Option<Route>> {
    ROUTE.on(tx).bind(project).bind(environment).bind(credential).optional(read).await
}
