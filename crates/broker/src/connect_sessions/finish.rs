//! What was typed is tried, and saved for the project; with it the session ends.

use std::collections::BTreeMap;
use std::net::IpAddr;

use http::HeaderMap;
use latchstring_connectors::literally;
use latchstring_model::id::{ConnectSessionId, CredentialId};
use latchstring_model::problem::Refused;
use latchstring_model::{Code, Problem, Timestamp};
use latchstring_store::connect_sessions::{self as rows, ConnectSessionRow};
use latchstring_store::credentials::CredentialRow;
use latchstring_store::{WriteTx, credentials};
use serde_json::{Map, Value, json};

use super::open::void;
use super::{Connects, ONE, Offered, TRIES, Way};
use crate::actor::{Actor, Who};
use crate::audit::Event;
use crate::credentials::{NewCredential, ShareInput, Verify};
use crate::notices::{self, CONNECTED, Telling};
use crate::people::entry::Door;
use crate::{Broker, refusals};

/// What an end user chose and typed.
pub struct Chosen {
    /// A connector's uid.
    pub connector: String,
    pub method: String,
    pub values: Map<String, Value>,
}

/// What comes after a form that was good.
pub enum Next {
    Connected,
    /// The end user signs in at this host; with the session's id the way there is found.
    SignIn {
        session: String,
        host: String,
    },
}

/// What the page that opened the window is told.
pub struct Connected {
    pub session: String,
    pub credential: CredentialId,
    /// The connector's id.
    pub connector: String,
    pub connector_name: String,
    pub end_user: Value,
    /// Nobody else is told.
    pub return_origin: String,
}

/// Text as it stands. A template could name the project's secrets, and an end user is none of its people.
/// Only what is asked for here may be more than text: a key that is made on this server.
fn as_typed(values: Map<String, Value>) -> Map<String, Value> {
    let made = json!({"generate": true});
    let typed = |value: Value| if value == made { value } else { literally(&value) };
    values.into_iter().map(|(name, value)| (name, typed(value))).collect()
}

/// The product's words about whose account it is, for the project's people.
fn note(end_user: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut lines = vec![format!("End user: {}", text(&end_user["id"]))];
    let tags = end_user["tags"].as_object().into_iter().flatten();
    lines.extend(tags.map(|(name, value)| format!("{name}: {}", text(value))));
    lines.join("\n")
}

fn new_credential(row: &ConnectSessionRow, offered: &Offered, way: &Way, chosen: Chosen) -> NewCredential {
    let name: String =
        format!("{} · {}", offered.definition.name, row.end_user["id"].as_str().unwrap_or_default());
    // The end of the id: two of the same end user must not ask for one name.
    let own = row.id.as_str();
    let own = own.get(own.len().saturating_sub(10)..).unwrap_or(own);
    let slug: String = format!("{}-{own}", offered.definition.id.replace('_', "-")).to_lowercase();
    NewCredential {
        name: name.chars().take(200).collect(),
        connector: offered.uid.clone(),
        auth_method: chosen.method,
        owner_project: Some(row.project_id.to_string()),
        external_id: row.external_id.clone(),
        oauth_client: way.client.as_ref().map(ToString::to_string),
        note: Some(note(&row.end_user)),
        values: BTreeMap::from([(ONE.to_owned(), as_typed(chosen.values))]),
        shares: vec![ShareInput {
            project: row.project_id.to_string(),
            slug: Some(slug),
            grants: row.environments.iter().map(|name| (name.clone(), ONE.to_owned())).collect(),
        }],
        verify: Verify::Required,
        connects: Some(Connects { session: row.id.clone(), end_user: row.end_user.clone() }),
        ..NewCredential::default()
    }
}

fn tried_too_often() -> Box<Problem> {
    Problem::new(Code::Gone, format!("This link was used up: it was tried {TRIES} times."))
        .hint("Go back to where you came from and begin again there.")
        .into()
}

impl Door {
    /// Tries and saves what an end user typed; once. Where they sign in elsewhere, that is next.
    pub async fn connect(
        &self,
        token: &str,
        headers: &HeaderMap,
        address: Option<IpAddr>,
        chosen: Chosen,
    ) -> Refused<Next> {
        let broker = &self.broker;
        let mut row = self.connect_session_here(token, headers, address).await?;
        if row.ended_at.is_some() {
            return Err(void());
        }
        let offered = self.offered(&row).await?;
        let offered = offered.into_iter().find(|one| one.uid == chosen.connector);
        let way = offered.as_ref().and_then(|one| one.ways.iter().find(|way| way.method.id == chosen.method));
        let (Some(offered), Some(way)) = (&offered, way) else {
            return Err(refusals::not_found("This cannot be chosen here."));
        };
        let mut tx = broker.parts.store.begin_upkeep().await.map_err(refusals::store)?;
        if !rows::count_try(&mut tx, &row.id, TRIES, broker.now()).await.map_err(refusals::store)? {
            return Err(tried_too_often());
        }
        tx.commit().await.map_err(refusals::store)?;
        broker.give_up_waiting(&row).await?;
        let who = Who::EndUser { session: row.id.clone(), project: row.project_id.clone() };
        let actor = Actor { who, address };
        let new = new_credential(&row, offered, way, chosen);
        let made = Box::pin(broker.create_credential(&actor, new)).await?;
        if way.client.is_none() {
            return Ok(Next::Connected);
        }
        row.credential_id = Some(made.id.clone());
        let host = Box::pin(broker.begin_end_users_consent(&actor, &row, &made.id)).await?;
        Ok(Next::SignIn { session: row.id.to_string(), host })
    }

    /// How it ended, for the page that tells it: in the same browser, until the link runs out.
    pub async fn connected(
        &self,
        token: &str,
        headers: &HeaderMap,
        address: Option<IpAddr>,
    ) -> Refused<Connected> {
        let row = self.connect_session_here(token, headers, address).await?;
        self.broker.what_was_connected(row).await
    }
}

impl Broker {
    /// The consent of an end user was good: the session ends in the transaction that saves its grant.
    pub(crate) async fn end_connect_by_consent(
        &self,
        tx: &mut WriteTx,
        actor: &Actor,
        session: &ConnectSessionId,
        row: &CredentialRow,
        begun_at: Timestamp,
    ) -> Refused<()> {
        let session = rows::by_id(tx, session).await.map_err(refusals::store)?.ok_or_else(void)?;
        let connects = Connects { session: session.id, end_user: session.end_user };
        self.end_connect(tx, actor, &connects, row, begun_at).await
    }

    /// What a session that has ended well was for.
    pub(super) async fn what_was_connected(&self, row: ConnectSessionRow) -> Refused<Connected> {
        row.ended_at.ok_or_else(void)?;
        let credential = row.credential_id.ok_or_else(void)?;
        let mut tx = self.parts.store.begin_read().await.map_err(refusals::store)?;
        let made = credentials::for_upkeep(&mut tx, &credential).await.map_err(refusals::store)?;
        let uid = made.ok_or_else(void)?.connector;
        let definition = self.definition_by_uid(&mut tx, &uid).await?.definition;
        Ok(Connected {
            session: row.id.to_string(),
            credential,
            connector: definition.id.clone(),
            connector_name: definition.name.clone(),
            end_user: row.end_user,
            return_origin: row.return_origin,
        })
    }

    /// Uses the session up, in the transaction that saves the credential: of two that try at once one is late, and
    /// nothing of it is saved.
    pub(crate) async fn end_connect(
        &self,
        tx: &mut WriteTx,
        actor: &Actor,
        connects: &Connects,
        row: &CredentialRow,
        begun_at: Timestamp,
    ) -> Refused<()> {
        let now = self.now();
        if !rows::end(tx, &connects.session, &row.id, now, begun_at).await.map_err(refusals::store)? {
            return Err(void());
        }
        let telling = Telling {
            event: CONNECTED,
            sameness: format!("{CONNECTED}/{}", connects.session),
            credential: row,
            environment: None,
            more: notices::more([
                ("connect_session", connects.session.as_str().into()),
                ("end_user", connects.end_user.clone()),
            ]),
        };
        notices::tell(tx, now, &*self.parts.entropy, telling).await.map_err(refusals::store)?;
        let mut event =
            Event::new("connect_session.use").credential(&row.id).target(connects.session.as_str());
        if let latchstring_model::entity::Principal::Project(project) = &row.owner {
            event = event.project(project);
        }
        self.record(tx, actor, event.detail("end_user", connects.end_user["id"].clone())).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_is_typed_is_a_template() {
        let typed = json!({
            "key": "{{ get_secret('signing_key') }}", "plain": "a{b", "list": ["x", "{% if x %}"],
            "map": {"literal": "{{ user.email }}"}, "own": {"literal": "plain"}, "made": {"generate": true}, "n": 1,
        });
        let Value::Object(typed) = typed else { return };
        assert_eq!(
            Value::Object(as_typed(typed)),
            json!({
                "key": {"literal": "{{ get_secret('signing_key') }}"}, "plain": "a{b",
                "list": ["x", {"literal": "{% if x %}"}],
                "map": {"literal": {"literal": "{{ user.email }}"}}, "own": {"literal": {"literal": "plain"}}, "made": {"generate": true}, "n": 1,
            })
        );
    }
}
