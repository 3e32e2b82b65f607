//! May this credential name that client? A client serves one connector (or `http`), for the projects that it
//! names. Otherwise whoever administers a project could write a connector of their own whose token endpoint is
//! theirs, name a client of somebody else's in it, and be sent its secret.

use latchstring_model::id::{OAuthClientId, ProjectId};
use latchstring_model::problem::Refused;
use latchstring_model::{Code, FieldError, Problem};
use latchstring_store::Tx;
use latchstring_store::oauth_clients::{self as rows, OAuthClientRow};

use crate::actor::{Actor, Person, Who};
use crate::catalog::{BUILTIN, Found};
use crate::{Broker, refusals};

/// The connector that clients without one serve.
pub(crate) const ANY_SERVER: &str = "http";

const OTHERWISE: &str = "Choose a client that all of them may use, share with fewer, or ask a superuser to add the project to the client.";

fn wrong(detail: impl Into<String>) -> Problem {
    Problem::invalid(vec![FieldError::new("/oauth_client", detail)])
}

fn unknown() -> Problem {
    wrong("there is no such OAuth client, or it is not for your projects")
        .hint("GET /api/v1/oauth-clients?project={project} lists those that a project may use; superusers make them.")
}

fn not_for(detail: &'static str) -> Box<Problem> {
    Problem::new(Code::OAuthClientUnusable, detail)
        .hint("A superuser adds the project to the client, or the credential's owner chooses another client or withdraws the share.")
        .into()
}

/// Whether a client serves this very connector. The text goes on after "it cannot be used: ".
pub(super) fn serves(row: &OAuthClientRow, found: &Found) -> Result<(), String> {
    match &row.connector {
        None if found.uid.strip_prefix(BUILTIN) == Some(ANY_SERVER) => Ok(()),
        None => Err(format!("it names no connector, so it serves `{ANY_SERVER}` alone")),
        Some(uid) if *uid != found.uid => Err("it was made for another connector".into()),
        // A project's admins can change their connector, a built-in one changes with releases only.
        Some(_) if found.row.is_some() && row.connector_digest.as_deref() != Some(found.definition.digest()) => {
            Err("the connector has changed since a superuser made this client for it; a superuser looks at the \
                 connector and sends `connector` once more (PATCH /api/v1/oauth-clients/{id})"
                .into())
        }
        Some(_) => Ok(()),
    }
}

impl Broker {
    /// The client that a credential names, by its id: it exists, `actor` may see it, it serves the credential's
    /// connector, and it is for every one of `projects` (those that the credential is shared with, and the one
    /// that owns it). Ask again in the transaction that writes the credential.
    pub async fn usable_client(
        &self,
        tx: &mut impl Tx,
        actor: &Actor,
        named: &str,
        found: &Found,
        projects: &[ProjectId],
    ) -> Refused<OAuthClientRow> {
        let id: OAuthClientId = named.parse().map_err(|_| unknown())?;
        let row = match actor.as_user() {
            Some(person) if !person.superuser => rows::for_member(tx, &person.id, &id).await,
            // A service account works for its project alone, and `projects` says whether the client is for it.
            _ => rows::by_id(tx, &id).await,
        };
        let mut row = row.map_err(refusals::store)?;
        if let Who::Account { project, .. } = &actor.who
            && !rows::available(tx, &id, project).await.map_err(refusals::store)?
        {
            row = None;
        }
        let row = row.ok_or_else(unknown)?;
        if row.client_id.is_none() {
            return Err(wrong(format!("the OAuth client {} is a draft: it has no client id yet", row.name))
                .hint(
                    "A superuser enters the client id that the provider gave; then credentials can name it.",
                )
                .into());
        }
        serves(&row, found).map_err(|why| {
            wrong(why)
                .hint("GET /api/v1/oauth-clients?project={project} says which connector each client serves.")
        })?;
        for project in projects {
            if !rows::available(tx, &id, project).await.map_err(refusals::store)? {
                let detail = format!(
                    "the OAuth client {} is not for every project that this credential is shared with",
                    row.name
                );
                return Err(wrong(detail).hint(OTHERWISE).into());
            }
        }
        Ok(row)
    }

    /// Clients with which an account can be connected in a project, by whoever the project lets do that: each serves
    /// the connector, is for the project and has its client id.
    pub(crate) async fn clients_to_connect(
        &self,
        tx: &mut impl Tx,
        project: &ProjectId,
        found: &Found,
    ) -> Refused<Vec<OAuthClientId>> {
        let mut ids = Vec::new();
        for offered in rows::offered(tx, project).await.map_err(refusals::store)? {
            if offered.connector.as_ref() != Some(&found.uid) {
                continue;
            }
            let row = rows::by_id(tx, &offered.id).await.map_err(refusals::store)?;
            if row.is_some_and(|row| serves(&row, found).is_ok()) {
                ids.push(offered.id);
            }
        }
        Ok(ids)
    }

    /// Whether a credential's owner may still have its client used: `person` sees it, and it is for each of `projects`.
    /// What was so when the credential was made may have ended with a membership. Nobody is asked about where an end
    /// user consents: the project alone lets them.
    pub(crate) async fn client_is_still_for(
        &self,
        tx: &mut impl Tx,
        person: Option<&Person>,
        client: &OAuthClientId,
        projects: &[ProjectId],
    ) -> Refused<()> {
        let seen = match person {
            Some(person) if !person.superuser => {
                rows::for_member(tx, &person.id, client).await.map_err(refusals::store)?.is_some()
            }
            _ => true,
        };
        if !seen {
            return Err(not_for(
                "The OAuth client of this credential is not for any of your projects any more.",
            ));
        }
        for project in projects {
            self.client_is_for_project(tx, client, project).await?;
        }
        Ok(())
    }

    /// Whether calls of a project may go through a client.
    pub(crate) async fn client_is_for_project(
        &self,
        tx: &mut impl Tx,
        client: &OAuthClientId,
        project: &ProjectId,
    ) -> Refused<()> {
        if rows::available(tx, client, project).await.map_err(refusals::store)? {
            return Ok(());
        }
        Err(not_for(
            "The OAuth client of this credential is not for every project that the credential is used in.",
        ))
    }

    /// Whether a credential that names a client may be shared with a project: the client has to be for it too.
    pub(crate) async fn client_is_available(
        &self,
        tx: &mut impl Tx,
        client: &OAuthClientId,
        project: &ProjectId,
        pointer: String,
    ) -> Refused<()> {
        if rows::available(tx, client, project).await.map_err(refusals::store)? {
            return Ok(());
        }
        let detail = "the credential's OAuth client is not for this project";
        Err(Problem::invalid(vec![FieldError::new(pointer, detail)]).hint(OTHERWISE).into())
    }
}
