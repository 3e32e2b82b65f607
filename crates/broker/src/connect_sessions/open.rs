//! The link is opened: in the first browser that does, and from then on in that one alone.

use std::net::IpAddr;
use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use http::HeaderMap;
use latchstring_connectors::{AuthMethod, Definition};
use latchstring_model::id::{ConnectSessionId, KeyId, UserId};
use latchstring_model::problem::Refused;
use latchstring_model::{Code, Problem, SecretString};
use latchstring_store::connect_sessions::{self as rows, ConnectSessionRow};
use latchstring_store::{Tx, api_keys, credentials, members, users};

use super::{Way, ways};
use crate::actor::{Actor, Who};
use crate::audit::Event;
use crate::cookies::cookie;
use crate::people::entry::Door;
use crate::people::random;
use crate::permissions::Operation;
use crate::projects::access::role_may;
use crate::{Broker, refusals};

/// A connector that may be chosen.
#[derive(Clone)]
pub struct Offered {
    pub uid: String,
    pub definition: Arc<Definition>,
    pub ways: Vec<Way>,
}

impl Offered {
    pub fn methods(&self) -> Vec<&AuthMethod> {
        self.ways.iter().map(|way| &way.method).collect()
    }
}

/// How the end user came back from signing in elsewhere, without having connected anything.
pub struct ComeBack {
    /// A connector's uid, and a method's id: what they had chosen.
    pub connector: String,
    pub method: String,
    pub detail: String,
    pub hint: Option<String>,
}

/// An open session, in the browser that it belongs to.
pub struct Visit {
    pub offered: Vec<Offered>,
    /// For whom it is: the origin that is told the result.
    pub return_origin: String,
    pub come_back: Option<ComeBack>,
    /// `Set-Cookie`, for the browser that was first.
    pub cookie: Option<String>,
}

pub(super) fn void() -> Box<Problem> {
    Problem::new(
        Code::Gone,
        "This link is not valid: it was used, half an hour has gone by, or it was mistyped.",
    )
    .hint("Go back to where you came from and begin again there.")
    .into()
}

fn elsewhere() -> Box<Problem> {
    Problem::new(
        Code::ConsentElsewhere,
        "This link was opened in another browser first, or this one does not keep its cookie.",
    )
    .hint("Go back to where you came from and begin again there.")
    .into()
}

fn cookie_name(id: &ConnectSessionId, secure: bool) -> String {
    let own = id.as_str().trim_start_matches(ConnectSessionId::PREFIX);
    format!("{}latchstring_connect_{own}", if secure { "__Secure-" } else { "" })
}

impl Broker {
    /// Whether whoever made a session could make it now: a key that was ended, and a person who is no admin any more, let
    /// nobody in.
    pub(crate) async fn maker_stands(&self, tx: &mut impl Tx, row: &ConnectSessionRow) -> Refused<bool> {
        if let Ok(key) = row.created_by.parse::<KeyId>() {
            let found = api_keys::by_id(tx, &key, self.now()).await.map_err(refusals::store)?;
            return Ok(found.is_some());
        }
        let Ok(user) = row.created_by.parse::<UserId>() else { return Ok(false) };
        let person = users::by_id(tx, &user).await.map_err(refusals::store)?;
        let role = members::role(tx, &row.project_id, &user).await.map_err(refusals::store)?;
        let active = person.is_some_and(|person| person.fields.active);
        Ok(active && role_may(role, Operation::ConnectSessionCreate))
    }
}

impl Door {
    /// By the link's token; or by the id, which is no secret, where a browser has opened it before: that one alone can
    /// do anything with it.
    pub(super) async fn connect_session(&self, link: &str) -> Refused<ConnectSessionRow> {
        let mut reader = self.broker.parts.store.read().await.map_err(refusals::store)?;
        let row = if let Ok(id) = link.parse::<ConnectSessionId>() {
            let row = rows::by_id(&mut reader, &id).await.map_err(refusals::store)?;
            row.filter(|row| row.browser_hash.is_some())
        } else if random::is_token(link) {
            rows::by_token(&mut reader, &random::hash(link)).await.map_err(refusals::store)?
        } else {
            None
        };
        let row = row.filter(|row| row.expires_at > self.broker.now()).ok_or_else(void)?;
        if row.ended_at.is_none() && !self.broker.maker_stands(&mut reader, &row).await? {
            return Err(void());
        }
        Ok(row)
    }

    /// Whether the browser is the one that the session belongs to.
    fn is_its_browser(&self, row: &ConnectSessionRow, headers: &HeaderMap) -> bool {
        let brought = cookie(headers, &cookie_name(&row.id, self.is_secure())).unwrap_or_default();
        let kept = row.browser_hash.as_ref();
        kept.is_some_and(|kept| verify_slices_are_equal(kept, &random::hash(brought)).is_ok())
    }

    /// The session of this link, in its browser; used up or not.
    pub(crate) async fn connect_session_here(
        &self,
        link: &str,
        headers: &HeaderMap,
        address: Option<IpAddr>,
    ) -> Refused<ConnectSessionRow> {
        let found = match self.connect_session(link).await {
            Ok(row) if self.is_its_browser(&row, headers) => Ok(row),
            Ok(_) => Err(elsewhere()),
            Err(problem) => Err(problem),
        };
        match found {
            Ok(row) => Ok(row),
            Err(problem) => Err(self.refused_link(problem, address).await),
        }
    }

    /// Only what fails is counted: the end users of one product may all come from one address.
    pub(super) async fn refused_link(&self, problem: Box<Problem>, address: Option<IpAddr>) -> Box<Problem> {
        let event = Event::new("connect_session.open").detail("code", problem.code.as_str());
        self.note_refusal(&Actor { who: Who::Anonymous, address }, event).await;
        self.limits.link(address).err().unwrap_or(problem)
    }

    /// Opens the link: shows what may be chosen, and binds it to the first browser.
    pub async fn open_connect(
        &self,
        token: &str,
        headers: &HeaderMap,
        address: Option<IpAddr>,
    ) -> Refused<Visit> {
        match self.open_connect_at(token, headers).await {
            Ok(visit) => Ok(visit),
            Err(problem) => Err(self.refused_link(problem, address).await),
        }
    }

    async fn open_connect_at(&self, token: &str, headers: &HeaderMap) -> Refused<Visit> {
        let broker = &self.broker;
        let row = self.connect_session(token).await?;
        if row.ended_at.is_some() {
            return Err(void());
        }
        let mut cookie = None;
        if row.browser_hash.is_none() {
            let browser: SecretString = random::new_token(&*broker.parts.entropy);
            let mut tx = broker.parts.store.begin_upkeep().await.map_err(refusals::store)?;
            // Of two that open it at once one is first.
            if !rows::open(&mut tx, &row.id, &random::hash(browser.expose()))
                .await
                .map_err(refusals::store)?
            {
                return Err(elsewhere());
            }
            tx.commit().await.map_err(refusals::store)?;
            let left = (row.expires_at.millis() - broker.now().millis()).max(0) / 1000;
            let secure = if self.is_secure() { "; Secure" } else { "" };
            cookie = Some(format!(
                "{}={}; Path=/connect/; HttpOnly; SameSite=Lax; Max-Age={left}{secure}",
                cookie_name(&row.id, self.is_secure()),
                browser.expose()
            ));
        } else if !self.is_its_browser(&row, headers) {
            return Err(elsewhere());
        }
        let offered = self.offered(&row).await?;
        let come_back = self.come_back(&row).await?;
        Ok(Visit { offered, return_origin: row.return_origin, come_back, cookie })
    }

    async fn come_back(&self, row: &ConnectSessionRow) -> Refused<Option<ComeBack>> {
        let Some(waits) = &row.credential_id else { return Ok(None) };
        let mut tx = self.broker.parts.store.begin_read().await.map_err(refusals::store)?;
        let consent = self.broker.end_users_consent(&mut tx, row).await?;
        let Some(ending) = consent.and_then(|consent| consent.ending) else { return Ok(None) };
        let made = credentials::for_upkeep(&mut tx, waits).await.map_err(refusals::store)?;
        Ok(made.map(|made| ComeBack {
            connector: made.connector,
            method: made.auth_method,
            detail: ending.detail.unwrap_or_default(),
            hint: ending.hint,
        }))
    }

    /// What may be chosen, as it is now: one that is gone meanwhile is not offered.
    pub(super) async fn offered(&self, row: &ConnectSessionRow) -> Refused<Vec<Offered>> {
        let mut tx = self.broker.parts.store.begin_read().await.map_err(refusals::store)?;
        let mut offered = Vec::with_capacity(row.connectors.len());
        for uid in &row.connectors {
            match self.broker.definition_by_uid(&mut tx, uid).await {
                Ok(found) => {
                    let clients = self.broker.clients_to_connect(&mut tx, &row.project_id, &found).await?;
                    let client = clients.iter().find(|client| row.oauth_clients.contains(client));
                    let ways = ways(&found.definition, client);
                    if !ways.is_empty() {
                        offered.push(Offered { uid: found.uid, definition: found.definition, ways });
                    }
                }
                Err(problem) if problem.code == Code::ConnectorChanged => {}
                Err(problem) => return Err(problem),
            }
        }
        Ok(offered)
    }
}
