//! Uploading, changing and deleting a project's connectors; for its admins and owners.
//!
//! Every change raises the connector's own scope, so that no server goes on with a route that was built from
//! the definition before.

use std::sync::Arc;

use latchstring_connectors::{Definition, Diagnostic};
use latchstring_model::problem::Refused;
use latchstring_model::{Code, FieldError, Problem};
use latchstring_store::applied::{AppliedKind, Thing, forget};
use latchstring_store::connectors::{self, ConnectorRow};
use latchstring_store::{StoreError, Taken, WriteTx, credentials, keychains};

use super::read::no_such_connector;
use super::{Connector, OwnConnector};
use crate::actor::Actor;
use crate::audit::Event;
use crate::people::me::same_version;
use crate::permissions::Operation;
use crate::projects::access;
use crate::{Broker, refusals};

/// Bytes of a definition: 256 KiB.
pub const MOST_BYTES: usize = 256 * 1024;
/// Connectors of one project.
const MOST: usize = 200;

/// A definition that was put in an older one's place.
pub struct Put {
    pub connector: Connector,
    /// What decides where values go has changed: its credentials wait for their owners' approval.
    pub destinations_changed: bool,
    /// Credentials, whoever owns them, that now wait.
    pub waiting: i64,
}

fn field_error(wrong: &Diagnostic) -> FieldError {
    let meant = wrong.suggestion.as_ref().map(|name| format!(" (did you mean `{name}`?)"));
    FieldError::new(
        wrong.pointer.clone(),
        format!(
            "line {}, column {}: {}{}",
            wrong.at.line,
            wrong.at.column,
            wrong.message,
            meant.unwrap_or_default()
        ),
    )
}

fn wrong(errors: Vec<FieldError>) -> Box<Problem> {
    let detail = match errors.as_slice() {
        [one] => format!("The definition is not right. {}", one.detail),
        many => format!("The definition is not right in {} places; `errors` lists them.", many.len()),
    };
    Problem::new(Code::Invalid, detail)
        .errors(errors)
        .hint("docs/connectors.md is the language's reference; `latchstring connector check FILE` says the same on your machine.")
        .into()
}

/// Reads an uploaded definition strictly: all mistakes at once.
pub(super) fn check(source: &str) -> Refused<Definition> {
    if source.len() > MOST_BYTES {
        return Err(too_large());
    }
    let definition = latchstring_connectors::check(source, "definition")
        .map_err(|found| wrong(found.iter().map(field_error).collect()))?;
    if definition.sandbox {
        let only = "only the built-in connector of --sandbox has this key; leave it out";
        return Err(wrong(vec![FieldError::new("/sandbox", only)]));
    }
    Ok(definition)
}

pub fn too_large() -> Box<Problem> {
    Problem::new(Code::BodyTooLarge, format!("A definition has at most {MOST_BYTES} bytes."))
        .hint("Leave out operations that nobody uses, or make two connectors of it.")
        .into()
}

/// Ids of built-in connectors are theirs everywhere, also of one that this server does not offer.
fn not_built_in(id: &str) -> Refused<()> {
    if latchstring_connectors::builtin().all(|definition| definition.id != id) {
        return Ok(());
    }
    Err(Problem::new(
        Code::ConnectorBuiltIn,
        format!("`{id}` is a built-in connector; a project's own cannot stand in its place."),
    )
    .hint(format!("Give yours another id, such as `{id}_custom`."))
    .into())
}

fn taken(id: &str) -> Box<Problem> {
    Problem::new(Code::ConnectorExists, format!("The project has a connector `{id}` already."))
        .hint("PUT /api/v1/projects/{project}/connectors/{id} changes it.")
        .into()
}

async fn waiting(tx: &mut WriteTx, uid: &str) -> Refused<i64> {
    credentials::count_of_connector(tx, uid).await.map_err(refusals::store)
}

fn shown(definition: Definition, row: ConnectorRow, credentials: i64) -> Connector {
    Connector {
        uid: row.uid.clone(),
        definition: Arc::new(definition),
        own: Some(OwnConnector::from(row)),
        credentials,
        consent: None,
    }
}

impl Broker {
    pub async fn create_connector(&self, actor: &Actor, project: &str, source: &str) -> Refused<Connector> {
        // Whose project it is comes first: a stranger's upload is not looked at.
        {
            let mut reader = self.parts.store.read().await.map_err(refusals::store)?;
            access::member(&mut reader, actor, project, Operation::ConnectorCreate).await?;
        }
        let definition = check(source)?;
        not_built_in(&definition.id)?;
        let (mut tx, found) = self.write_in_project(actor, project, Operation::ConnectorCreate, &[]).await?;
        let project = found.project.id;
        let uid = connectors::uid(&project, &definition.id);
        tx.raise(&[&uid]).await.map_err(refusals::store)?;
        let known = connectors::list(&mut tx, &project).await.map_err(refusals::store)?;
        if known.iter().any(|row| row.id == definition.id) {
            return Err(taken(&definition.id));
        }
        if known.len() >= MOST {
            return Err(refusals::limit_reached(
                MOST as i64,
                format!("A project has at most {MOST} connectors."),
                "Delete one that nobody uses.",
            ));
        }
        let now = self.now();
        let row = ConnectorRow {
            uid: uid.clone(),
            project_id: project.clone(),
            id: definition.id.clone(),
            name: definition.name.clone(),
            source: source.to_owned(),
            digest: definition.digest().to_owned(),
            version: 1,
            created_by: actor.signature(),
            created_at: now,
            updated_at: now,
        };
        connectors::create(&mut tx, &row).await.map_err(|error| {
            if error.is_taken(Taken::ConnectorId) { taken(&row.id) } else { refusals::store(error) }
        })?;
        let event = Event::new("connector.create").project(&project).target(row.id.as_str());
        self.record(&mut tx, actor, event.detail("digest", row.digest.as_str())).await?;
        tx.commit().await.map_err(refusals::store)?;
        Ok(shown(definition, row, 0))
    }

    /// Puts another definition in the place of a project's own. `version`: the revision that the change was
    /// made on top of, when the caller says so.
    pub async fn put_connector(
        &self,
        actor: &Actor,
        project: &str,
        id: &str,
        source: &str,
        version: Option<i64>,
    ) -> Refused<Put> {
        {
            let mut reader = self.parts.store.read().await.map_err(refusals::store)?;
            access::member(&mut reader, actor, project, Operation::ConnectorChange).await?;
        }
        not_built_in(id)?;
        let definition = check(source)?;
        if definition.id != id {
            let detail = format!("the address says `{id}`; a connector's id is never changed");
            return Err(wrong(vec![FieldError::new("/id", detail)]));
        }
        let (mut tx, found) = self.write_in_project(actor, project, Operation::ConnectorChange, &[]).await?;
        let project = found.project.id;
        let uid = connectors::uid(&project, id);
        tx.raise(&[&uid]).await.map_err(refusals::store)?;
        let before = connectors::by_id(&mut tx, &project, id).await.map_err(refusals::store)?;
        let before = before.ok_or_else(no_such_connector)?;
        same_version(version, before.version)?;
        let now = self.now();
        let destinations_changed = before.digest != definition.digest();
        let mut row = ConnectorRow {
            name: definition.name.clone(),
            source: source.to_owned(),
            digest: definition.digest().to_owned(),
            updated_at: now,
            ..before.clone()
        };
        row.version = connectors::update(&mut tx, &row, now).await.map_err(refusals::store)?;
        let count = waiting(&mut tx, &uid).await?;
        let event = Event::new("connector.update")
            .project(&project)
            .target(row.id.as_str())
            .detail("revision", row.version)
            .detail("digest", row.digest.as_str())
            .detail("destinations_changed", destinations_changed);
        let event = if destinations_changed {
            event.detail("digest_before", before.digest.as_str()).detail("credentials", count)
        } else {
            event
        };
        self.record(&mut tx, actor, event).await?;
        tx.commit().await.map_err(refusals::store)?;
        Ok(Put {
            connector: shown(definition, row, count),
            destinations_changed,
            waiting: if destinations_changed { count } else { 0 },
        })
    }

    /// Refused while credentials pin it, scheduled deletions included: they can be restored.
    pub async fn delete_connector(
        &self,
        actor: &Actor,
        project: &str,
        id: &str,
        version: Option<i64>,
    ) -> Refused<()> {
        let (mut tx, found) = self.write_in_project(actor, project, Operation::ConnectorDelete, &[]).await?;
        let project = found.project.id;
        not_built_in(id)?;
        let uid = connectors::uid(&project, id);
        tx.raise(&[&uid]).await.map_err(refusals::store)?;
        let before = connectors::by_id(&mut tx, &project, id).await.map_err(refusals::store)?;
        let before = before.ok_or_else(no_such_connector)?;
        same_version(version, before.version)?;
        let keychains = keychains::count_of_connector(&mut tx, &uid).await.map_err(refusals::store)?;
        if keychains > 0 {
            return Err(Problem::new(
                Code::ConnectorInUse,
                format!("{keychains} keychains choose among this connector's credentials."),
            )
            .hint("Delete those keychains first: GET /api/v1/projects/{project}/keychains lists them.")
            .with("keychains", keychains.into())
            .into());
        }
        match connectors::delete(&mut tx, &project, id).await {
            Ok(true) => {}
            Ok(false) => return Err(no_such_connector()),
            Err(StoreError::StillUsed) => {
                let count = waiting(&mut tx, &uid).await?;
                return Err(Problem::new(
                    Code::ConnectorInUse,
                    format!("{count} credentials belong to this connector; without it they could not be used."),
                )
                .hint("Their owners delete them first, or make them anew with another connector. Credentials that are scheduled for deletion count until then.")
                .with("credentials", count.into())
                .into());
            }
            Err(error) => return Err(refusals::store(error)),
        }
        let mark = Thing::new(AppliedKind::Connector, id);
        forget(&mut tx, &project, &mark).await.map_err(refusals::store)?;
        let event = Event::new("connector.delete").project(&project).target(id);
        self.record(&mut tx, actor, event.detail("digest", before.digest.as_str())).await?;
        tx.commit().await.map_err(refusals::store)?;
        Ok(())
    }
}
