//! Older values: listed by names alone, and brought back as a new version. Tokens are never brought back.

use latchstring_model::problem::Refused;
use latchstring_model::{Code, FieldError, Problem, Timestamp};
use latchstring_store::credentials::CredentialRow;
use latchstring_store::values::{self, VersionRow};
use latchstring_store::{Tx, users};

use super::access::owned;
use super::change::Edit;
use super::input::{CredentialChange, Verify};
use super::view::View;
use crate::actor::Actor;
use crate::permissions::Operation;
use crate::road::authorise;
use crate::sealing::values_aad;
use crate::{Broker, refusals};

/// One change of one environment's values.
pub struct Version {
    pub environment: String,
    pub version: i64,
    /// In use now.
    pub current: bool,
    /// Its values are still kept.
    pub restorable: bool,
    /// Names, never values.
    pub changed_fields: Vec<String>,
    pub secret_fields: Vec<String>,
    pub set_by: String,
    pub set_by_email: Option<String>,
    pub set_at: Timestamp,
}

impl Broker {
    /// Newest first, for the owner.
    pub async fn credential_versions(&self, actor: &Actor, id: &str) -> Refused<Vec<Version>> {
        let mut tx = self.parts.store.begin_read().await.map_err(refusals::store)?;
        let row = owned(&mut tx, actor, id, Operation::CredentialVersions).await?;
        let current = values::list(&mut tx, &row).await.map_err(refusals::store)?;
        let mut versions = Vec::new();
        for found in values::versions(&mut tx, &row).await.map_err(refusals::store)? {
            let in_use = current
                .iter()
                .any(|values| values.environment == found.environment && values.version == found.version);
            let email = email_of(&mut tx, &found.set_by).await?;
            versions.push(Version {
                current: in_use,
                restorable: found.sealed.is_some() && !in_use,
                environment: found.environment,
                version: found.version,
                changed_fields: found.changed_fields,
                secret_fields: found.secret_fields,
                set_by: found.set_by,
                set_by_email: email,
                set_at: found.set_at,
            });
        }
        versions.sort_by(|a, b| {
            b.set_at
                .cmp(&a.set_at)
                .then_with(|| (&a.environment, b.version).cmp(&(&b.environment, a.version)))
        });
        Ok(versions)
    }

    /// Makes the values of version `number` the newest, once they are verified. `environment` may be left out
    /// where only one has that version.
    pub async fn restore_version(
        self: &std::sync::Arc<Self>,
        actor: &Actor,
        id: &str,
        number: i64,
        environment: Option<&str>,
        verify: Verify,
        if_match: Option<i64>,
    ) -> Refused<View> {
        self.unfrozen(actor)?;
        let mut tx = self.parts.store.begin_read().await.map_err(refusals::store)?;
        let row = owned(&mut tx, actor, id, Operation::CredentialRevert).await?;
        let all = values::versions(&mut tx, &row).await.map_err(refusals::store)?;
        let current = values::list(&mut tx, &row).await.map_err(refusals::store)?;
        drop(tx);
        let found = choose(all, number, environment)?;
        if current.iter().any(|now| now.environment == found.environment && now.version == number) {
            return Err(Problem::new(
                Code::VersionInUse,
                format!("Version {number} of {} is the one in use.", found.environment),
            )
            .hint("GET /api/v1/credentials/{id}/versions lists the others.")
            .into());
        }
        let opened = self.open_version(&row, &found)?;
        let mut note = serde_json::Map::new();
        note.insert("restored_version".into(), number.into());
        let edit = Edit {
            change: CredentialChange { verify, ..CredentialChange::default() },
            replace: Some(super::change::Replace {
                environment: found.environment,
                values: opened,
                secret_fields: found.secret_fields,
                withheld: found.withheld,
            }),
            note,
            operation: Operation::CredentialRevert,
            ..Edit::default()
        };
        Box::pin(self.edit(actor, id, edit, Some(if_match.unwrap_or(row.version)))).await
    }

    fn open_version(
        &self,
        row: &CredentialRow,
        version: &VersionRow,
    ) -> Refused<serde_json::Map<String, serde_json::Value>> {
        let Some((sealed, _)) = &version.sealed else {
            return Err(Problem::new(
                Code::VersionWiped,
                format!("The values of version {} of {} are wiped.", version.version, version.environment),
            )
            .hint(format!(
                "The newest {} versions are kept (LATCHSTRING_KEEP_VERSIONS); an environment that was removed keeps none.",
                self.settings.keep_versions
            ))
            .into());
        };
        let aad = values_aad(&row.id, &row.owner, &version.environment, version.version);
        self.open_json(&authorise::owner_opens(), &aad, sealed)
    }
}

async fn email_of(tx: &mut impl Tx, id: &str) -> Refused<Option<String>> {
    let Ok(id) = id.parse() else { return Ok(None) };
    Ok(users::by_id(tx, &id).await.map_err(refusals::store)?.map(|user| user.fields.email))
}

fn choose(all: Vec<VersionRow>, number: i64, environment: Option<&str>) -> Refused<VersionRow> {
    let mut fitting: Vec<VersionRow> = all
        .into_iter()
        .filter(|version| version.version == number)
        .filter(|version| environment.is_none_or(|wanted| wanted == version.environment))
        .collect();
    if fitting.len() > 1 {
        let names: Vec<&str> = fitting.iter().map(|version| version.environment.as_str()).collect();
        let detail = format!("several environments have a version {number}: {}; say which", names.join(", "));
        return Err(Problem::invalid(vec![FieldError::new("/environment", detail)]).into());
    }
    fitting.pop().ok_or_else(|| {
        let mut problem = refusals::not_found("The credential has no such version.");
        problem.hint = Some("GET /api/v1/credentials/{id}/versions lists them, by environment.".into());
        problem
    })
}
