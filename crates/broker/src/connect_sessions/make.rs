//! A product asks for a session.

use latchstring_model::id::{ConnectSessionId, OAuthClientId, ProjectId};
use latchstring_model::problem::Refused;
use latchstring_model::{FieldError, Problem, Timestamp};
use latchstring_store::connect_sessions::{self as rows, ConnectSessionRow};
use latchstring_store::environments;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{LIFE, ways};
use crate::actor::Actor;
use crate::audit::Event;
use crate::people::{ShownOnce, random};
use crate::permissions::Operation;
use crate::projects::access;
use crate::{Broker, refusals};

/// Sessions of one project that are open at the same time.
const MOST: i64 = 1000;
/// Connectors to choose from, and tags.
const MOST_NAMED: usize = 20;
/// Characters of an end user's id and of a tag.
const LONGEST: usize = 200;

/// Whose account it is, as the product knows them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EndUser {
    pub id: String,
    pub tags: Map<String, Value>,
}

pub struct NewConnectSession {
    /// Slug or id.
    pub project: String,
    pub connectors: Vec<String>,
    /// All of the project's when missing.
    pub environments: Option<Vec<String>>,
    pub end_user: EndUser,
    pub external_id: Option<String>,
    /// Ids: which to consent to, where a connector has several in the project.
    pub oauth_clients: Vec<String>,
    pub return_origin: String,
}

pub struct Made {
    pub id: ConnectSessionId,
    /// The link that the end user opens.
    pub url: ShownOnce,
    pub expires_at: Timestamp,
}

/// An origin as browsers write it (RFC 6454 section 6.2), and nothing else: https, or http on this machine.
pub fn origin(given: &str) -> Option<String> {
    let parsed = url::Url::parse(given).ok()?;
    let host = parsed.host_str()?;
    // No browser is at a host with other signs; a star would look like one that means several.
    if !host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']')) {
        return None;
    }
    let local = matches!(host, "localhost" | "127.0.0.1" | "[::1]");
    let scheme = parsed.scheme() == "https" || parsed.scheme() == "http" && local;
    let origin = parsed.origin().ascii_serialization();
    (scheme && origin == given).then_some(origin)
}

fn check_text(text: &str, pointer: &str, errors: &mut Vec<FieldError>) {
    if text.trim().is_empty() || text.chars().count() > LONGEST || text.chars().any(char::is_control) {
        errors.push(FieldError::new(pointer, format!("is one line of 1 to {LONGEST} characters")));
    }
}

impl NewConnectSession {
    fn check(&self) -> Vec<FieldError> {
        let mut errors = Vec::new();
        if self.connectors.is_empty() || self.connectors.len() > MOST_NAMED {
            errors.push(FieldError::new("/connectors", format!("names 1 to {MOST_NAMED} connectors")));
        }
        check_text(&self.end_user.id, "/end_user/id", &mut errors);
        if self.end_user.tags.len() > MOST_NAMED {
            errors.push(FieldError::new("/end_user/tags", format!("at most {MOST_NAMED}")));
        }
        if self.oauth_clients.len() > MOST_NAMED {
            errors.push(FieldError::new("/oauth_clients", format!("at most {MOST_NAMED}")));
        }
        for (name, value) in &self.end_user.tags {
            let pointer = format!("/end_user/tags/{}", crate::credentials::input::escape(name));
            match value {
                Value::String(text) => check_text(text, &pointer, &mut errors),
                _ => errors.push(FieldError::new(pointer, "is a text")),
            }
        }
        if let Some(id) = &self.external_id {
            check_text(id, "/external_id", &mut errors);
        }
        if origin(&self.return_origin).is_none() {
            errors.push(FieldError::new(
                "/return_origin",
                "is an origin as browsers write it, such as https://app.example.com: https (http on this machine \
                 alone), no path, no slash at its end",
            ));
        }
        errors
    }
}

/// What may be chosen: uids of connectors, and the OAuth client of each that is consented to.
struct Choices {
    connectors: Vec<String>,
    clients: Vec<OAuthClientId>,
}

/// The one client of a connector: the only one, or the one that is named.
fn the_one(clients: &[OAuthClientId], named: &[OAuthClientId]) -> Result<Option<OAuthClientId>, String> {
    let wanted: Vec<&OAuthClientId> = clients.iter().filter(|client| named.contains(client)).collect();
    match (wanted.as_slice(), clients) {
        ([one], _) => Ok(Some((*one).clone())),
        ([], []) => Ok(None),
        ([], [one]) => Ok(Some(one.clone())),
        _ => {
            let ids: Vec<&str> = clients.iter().map(OAuthClientId::as_str).collect();
            Err(format!(
                "has several OAuth clients in this project: name one of {} in `oauth_clients`",
                ids.join(", ")
            ))
        }
    }
}

impl Broker {
    /// Each connector with at least one method that an end user can connect by.
    async fn connectable(
        &self,
        tx: &mut impl latchstring_store::Tx,
        project: &ProjectId,
        new: &NewConnectSession,
    ) -> Refused<Choices> {
        let (mut choices, mut errors) = (Choices { connectors: Vec::new(), clients: Vec::new() }, Vec::new());
        let named: Vec<OAuthClientId> = new.oauth_clients.iter().filter_map(|id| id.parse().ok()).collect();
        let mut known = Vec::new();
        for (i, name) in new.connectors.iter().enumerate() {
            let pointer = format!("/connectors/{i}");
            let Some(found) = self.definition_named(tx, std::slice::from_ref(project), name).await? else {
                errors.push(FieldError::new(pointer, "the project has no such connector"));
                continue;
            };
            let clients = self.clients_to_connect(tx, project, &found).await?;
            match the_one(&clients, &named) {
                Err(why) => errors.push(FieldError::new(pointer, why)),
                Ok(client) if ways(&found.definition, client.as_ref()).is_empty() => errors.push(FieldError::new(
                    pointer,
                    "has no method that an end user can connect by: none goes to hosts that the connector names, or they \
                     need an OAuth client for the connector, which a superuser makes for this project",
                )),
                Ok(_) if choices.connectors.contains(&found.uid) => {
                    errors.push(FieldError::new(pointer, "is named twice"));
                }
                Ok(client) => {
                    choices.connectors.push(found.uid);
                    choices.clients.extend(client);
                }
            }
            known.extend(clients);
        }
        for (i, id) in new.oauth_clients.iter().enumerate() {
            if !known.iter().any(|client| client.as_str() == id) {
                errors.push(FieldError::new(
                    format!("/oauth_clients/{i}"),
                    "the project has no such OAuth client for any of these connectors",
                ));
            }
        }
        if errors.is_empty() { Ok(choices) } else { Err(Problem::invalid(errors).into()) }
    }

    /// For admins and owners of the project, and its service accounts.
    pub async fn create_connect_session(&self, actor: &Actor, new: NewConnectSession) -> Refused<Made> {
        let operation = Operation::ConnectSessionCreate;
        let found = {
            let mut reader = self.parts.store.read().await.map_err(refusals::store)?;
            access::member(&mut reader, actor, &new.project, operation).await?
        };
        // Who comes in by a reset mailbox gives nobody else a way in.
        self.unfrozen(actor)?;
        let errors = new.check();
        if !errors.is_empty() {
            return Err(Problem::invalid(errors).into());
        }
        let project = found.project.id;
        let mut tx = self.parts.store.begin_upkeep().await.map_err(refusals::store)?;
        access::member(&mut tx, actor, project.as_str(), operation).await?;
        let Choices { connectors, clients } = self.connectable(&mut tx, &project, &new).await?;
        let known: Vec<String> = environments::list(&mut tx, &project)
            .await
            .map_err(refusals::store)?
            .into_iter()
            .map(|environment| environment.name)
            .collect();
        let wanted = new.environments.unwrap_or_else(|| known.clone());
        let unknown = wanted.iter().enumerate().filter(|(_, name)| !known.contains(name));
        let mut errors: Vec<FieldError> = unknown
            .map(|(i, _)| {
                FieldError::new(format!("/environments/{i}"), "the project has no such environment")
            })
            .collect();
        if wanted.is_empty() {
            errors.push(FieldError::new("/environments", "names at least one environment"));
        }
        if !errors.is_empty() {
            return Err(Problem::invalid(errors).into());
        }
        let now = self.now();
        if rows::count_open(&mut tx, &project, now).await.map_err(refusals::store)? >= MOST {
            return Err(refusals::limit_reached(
                MOST,
                format!("{MOST} connect sessions of this project are open already."),
                "Make one when somebody presses the button, not ahead of time. They end after half an hour.",
            ));
        }
        let token = random::new_token(&*self.parts.entropy);
        let end_user = serde_json::to_value(&new.end_user).map_err(|error| refusals::internal(&error))?;
        let row = ConnectSessionRow {
            id: ConnectSessionId::new(now, &*self.parts.entropy),
            project_id: project.clone(),
            connectors,
            environments: wanted,
            end_user,
            external_id: new.external_id,
            oauth_clients: clients,
            return_origin: new.return_origin,
            browser_hash: None,
            credential_id: None,
            created_by: actor.signature(),
            created_at: now,
            expires_at: now.plus_millis(LIFE),
            ended_at: None,
        };
        rows::create(&mut tx, &row, &random::hash(token.expose())).await.map_err(refusals::store)?;
        let event = Event::new("connect_session.create")
            .project(&project)
            .target(row.id.as_str())
            .detail("end_user", new.end_user.id.as_str())
            .detail("connectors", row.connectors.clone())
            .detail("return_origin", row.return_origin.as_str());
        self.record(&mut tx, actor, event).await?;
        tx.commit().await.map_err(refusals::store)?;
        let url = format!("{}/connect/{}", self.settings.public_url, token.expose());
        Ok(Made { id: row.id, url: ShownOnce(url.into()), expires_at: row.expires_at })
    }
}

#[cfg(test)]
mod tests {
    use super::{origin, the_one};

    #[test]
    fn of_several_clients_one_is_named() {
        let ids = |ids: &[&str]| -> Vec<_> {
            ids.iter().map(|id| format!("oac_{id:0>26}").parse().unwrap()).collect()
        };
        let (none, one, two) = (ids(&[]), ids(&["1"]), ids(&["1", "2"]));
        assert_eq!(the_one(&none, &none), Ok(None));
        assert_eq!(the_one(&one, &none), Ok(Some(one[0].clone())));
        assert_eq!(the_one(&two, &ids(&["2"])), Ok(Some(two[1].clone())));
        assert!(the_one(&two, &none).unwrap_err().contains(one[0].as_str()));
        assert!(the_one(&two, &two).is_err());
        assert_eq!(the_one(&one, &ids(&["3"])), Ok(Some(one[0].clone())), "another connector's");
    }

    #[test]
    fn an_origin_is_exact() {
        for good in ["https://app.example.com", "https://app.example.com:8443", "http://127.0.0.1:3000"] {
            assert_eq!(origin(good).as_deref(), Some(good));
        }
        for bad in [
            "",
            "*",
            "null",
            "app.example.com",
            "https://app.example.com/",
            "https://app.example.com/path",
            "https://app.example.com:443",
            "https://APP.example.com",
            "https://user@app.example.com",
            "https://*.example.com",
            "https://app.example.com?x",
            "http://app.example.com",
            "http://127.0.0.1.evil.example",
            "javascript:alert(1)",
            "data:text/html,x",
            "https://app.example.com\n",
        ] {
            assert_eq!(origin(bad), None, "{bad:?}");
        }
    }
}
