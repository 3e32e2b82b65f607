//! The door: who somebody is, from what a request carries; who was turned away, and how often.
//!
//! A key decides alone: what carries a key has no use for a cookie. A key that is given and wrong is refused
//! here, also where nobody needs one, because whoever sent it believes in it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use http::{HeaderMap, HeaderName, header};
use latchstring_model::entity::Outcome;
use latchstring_model::id::{CallId, CredentialId, KeyId, ProjectId};
use latchstring_model::problem::Refused;
use latchstring_model::{Problem, SecretString, Timestamp};
use latchstring_store::api_keys::{self, KeyBelongs, KeyCaller, KeyOwner};
use latchstring_store::{credentials, sessions, users};

use crate::actor::{Actor, Person, Via, Who};
use crate::audit::Event;
use crate::people::instance::SecondFactorFor;
use crate::people::limits::Limits;
use crate::people::random;
use crate::people::sessions::{COOKIE_LIFE, IDLE_LIFE, NOTED_EVERY, WHOLE_LIFE};
use crate::projects::service_keys::read_limits;
use crate::road::accept;
use crate::{Broker, refusals};

const KEY: HeaderName = HeaderName::from_static("latchstring-key");
/// How often `used_at` of keys is written, in milliseconds: a write per request would cost more than the request.
const USED_EVERY: i64 = 60_000;
/// Keys noted between two writes; beyond it, it is written at once.
const MOST_USED: usize = 1_000;

#[derive(Default)]
struct Used {
    keys: HashMap<KeyId, Timestamp>,
    written_at: Timestamp,
}

/// One per process: it counts tries.
pub struct Door {
    pub(crate) broker: Arc<Broker>,
    pub(crate) limits: Limits,
    used: Mutex<Used>,
    secure: bool,
}

impl Door {
    pub fn new(broker: Arc<Broker>) -> Self {
        let limits = Limits::new(&broker.parts.clock);
        let secure = broker.settings.public_url.starts_with("https://");
        Self { broker, limits, used: Mutex::default(), secure }
    }

    /// Whether people come over https, so that cookies can be kept to it.
    pub(crate) fn is_secure(&self) -> bool {
        self.secure
    }

    pub fn broker(&self) -> &Arc<Broker> {
        &self.broker
    }

    /// `__Host-` has browsers refuse the cookie from a subdomain or over http; only https can have it.
    pub fn cookie_name(&self) -> &'static str {
        if self.secure { "__Host-latchstring_session" } else { "latchstring_session" }
    }

    pub(crate) fn cookie(&self, token: &SecretString) -> String {
        let secure = if self.secure { "; Secure" } else { "" };
        format!(
            "{}={}; Path=/; HttpOnly; SameSite=Lax; Max-Age={COOKIE_LIFE}{secure}",
            self.cookie_name(),
            token.expose()
        )
    }

    /// `Set-Cookie` that takes the cookie away.
    pub fn no_cookie(&self) -> String {
        let secure = if self.secure { "; Secure" } else { "" };
        format!("{}=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0{secure}", self.cookie_name())
    }

    /// Who sent this request. Without key and session: anonymous.
    pub async fn enter(&self, headers: &HeaderMap, address: Option<IpAddr>) -> Refused<Actor> {
        if headers.contains_key(header::AUTHORIZATION) || headers.contains_key(KEY) {
            let known = match accept::caller_key(headers).filter(|key| random::is_key(key.expose())) {
                Some(key) => self.caller(key.expose()).await?,
                None => None,
            };
            return match known {
                Some(caller) => self.by_key(caller, address).await,
                None => Err(self.wrong_key(address).await),
            };
        }
        match self.session_cookie(headers) {
            Some(token) => self.by_session(&token, address).await,
            None => Ok(Actor { who: Who::Anonymous, address }),
        }
    }

    async fn caller(&self, key: &str) -> Refused<Option<KeyCaller>> {
        let mut reader = self.broker.parts.store.read().await.map_err(refusals::store)?;
        api_keys::by_secret_hash(&mut reader, &random::hash(key), self.broker.now())
            .await
            .map_err(refusals::store)
    }

    async fn wrong_key(&self, address: Option<IpAddr>) -> Box<Problem> {
        let actor = Actor { who: Who::Anonymous, address };
        self.note_refusal(&actor, Event::new("key.refuse")).await;
        accept::unauthenticated()
    }

    async fn by_key(&self, caller: KeyCaller, address: Option<IpAddr>) -> Refused<Actor> {
        let key = caller.key;
        let who = match (caller.owner, key.belongs) {
            (owner @ KeyOwner::User { .. }, KeyBelongs::Personal { user_id }) => {
                let person = Person::of_key(user_id, &owner)
                    .ok_or_else(|| refusals::internal(&"a personal key of nobody"))?;
                let person = self.held_back(person).await?;
                Who::Person { person, via: Via::Key { id: key.id.clone(), scope: key.scope } }
            }
            (KeyOwner::Project { .. }, KeyBelongs::Service { project_id, environment_id }) => {
                let who = Who::Service {
                    key: key.id.clone(),
                    name: key.name,
                    project: project_id.clone(),
                    environment: environment_id,
                };
                self.check_network(who, &key.limits, &project_id, address).await?
            }
            (KeyOwner::Project { .. }, KeyBelongs::Account { project_id }) => {
                let who = Who::Account { key: key.id.clone(), name: key.name, project: project_id.clone() };
                self.check_network(who, &key.limits, &project_id, address).await?
            }
            _ => return Err(refusals::internal(&"a key whose owner is of another kind")),
        };
        self.note_used(&key.id).await;
        Ok(Actor { who, address })
    }

    /// A project's key, if it comes from where it may.
    async fn check_network(
        &self,
        who: Who,
        limits: &serde_json::Value,
        project: &ProjectId,
        address: Option<IpAddr>,
    ) -> Refused<Who> {
        let limits = read_limits(limits)?;
        if let Some(address) = address
            && let Err(problem) = limits.check_network(address)
        {
            let actor = Actor { who, address: Some(address) };
            let event = Event::new("key.refuse").project(project).detail("reason", "network");
            self.note_refusal(&actor, event).await;
            return Err(problem);
        }
        Ok(who)
    }

    /// A superuser acts as one only with a second factor, where this server wants that.
    async fn held_back(&self, mut person: Person) -> Refused<Person> {
        if person.superuser
            && !person.second_factor
            && self.broker.instance().await?.second_factor_for == SecondFactorFor::Superusers
        {
            person.superuser = false;
            person.held_back = true;
        }
        Ok(person)
    }

    /// The session's token, if the cookie is there and looks like one.
    fn session_cookie(&self, headers: &HeaderMap) -> Option<SecretString> {
        let lines = headers.get_all(header::COOKIE);
        let mut pairs = lines.iter().filter_map(|line| line.to_str().ok()).flat_map(|line| line.split(';'));
        pairs.find_map(|pair| {
            let (name, value) = pair.trim().split_once('=')?;
            (name == self.cookie_name() && random::is_token(value)).then(|| SecretString::new(value))
        })
    }

    /// A session that has ended is none: whoever has its cookie is anonymous and may sign in again.
    async fn by_session(&self, token: &SecretString, address: Option<IpAddr>) -> Refused<Actor> {
        let now = self.broker.now();
        let store = &self.broker.parts.store;
        let mut reader = store.read().await.map_err(refusals::store)?;
        let session = sessions::by_token_hash(&mut reader, &random::hash(token.expose()), now)
            .await
            .map_err(refusals::store)?;
        let Some(session) = session else { return Ok(Actor { who: Who::Anonymous, address }) };
        let user = users::by_id(&mut reader, &session.user_id).await.map_err(refusals::store)?;
        drop(reader);
        let Some(user) = user.filter(|user| user.fields.active) else {
            return Ok(Actor { who: Who::Anonymous, address });
        };
        if now.millis() - session.seen_at.millis() >= NOTED_EVERY {
            let end = now.plus_millis(IDLE_LIFE).min(session.created_at.plus_millis(WHOLE_LIFE));
            let mut tx = store.begin_upkeep().await.map_err(refusals::store)?;
            sessions::seen(&mut tx, &session.id, now, end).await.map_err(refusals::store)?;
            tx.commit().await.map_err(refusals::store)?;
        }
        let via = Via::Session { id: session.id, confirmed_at: session.confirmed_at };
        // What was shown in this session counts, not what the person has.
        let person = Person { second_factor: session.second_factor, ..Person::of(&user) };
        let person = self.held_back(person).await?;
        Ok(Actor { who: Who::Person { person, via }, address })
    }

    async fn note_used(&self, key: &KeyId) {
        let now = self.broker.now();
        let due: Vec<(KeyId, Timestamp)> = {
            let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
            used.keys.insert(key.clone(), now);
            if now.millis() - used.written_at.millis() < USED_EVERY && used.keys.len() < MOST_USED {
                return;
            }
            used.written_at = now;
            used.keys.drain().collect()
        };
        let written = async {
            let mut tx = self.broker.parts.store.begin_upkeep().await?;
            api_keys::touch(&mut tx, &due).await?;
            tx.commit().await
        };
        if let Err(error) = written.await {
            tracing::warn!(error = %error, "when keys were last used could not be written down");
        }
    }

    /// Writes a refusal into the audit trail, up to the bounds of [`crate::people::limits`]; what was left out
    /// is counted in the next one. The refusal itself does not depend on it.
    pub async fn note_refusal(&self, actor: &Actor, event: Event) {
        let Some(unrecorded) = self.limits.record_refusal(actor.address) else { return };
        let mut event = event;
        if event.outcome == Outcome::Ok {
            event.outcome = Outcome::Refused;
        }
        if unrecorded > 0 {
            event = event.detail("unrecorded_before", unrecorded);
        }
        if let Some(address) = actor.address {
            event = event.detail("address", address.to_string());
        }
        let written: Refused<()> = async {
            let mut tx = self.broker.parts.store.begin_upkeep().await.map_err(refusals::store)?;
            self.broker.record(&mut tx, actor, event).await?;
            tx.commit().await.map_err(refusals::store)?;
            Ok(())
        }
        .await;
        if let Err(problem) = written {
            tracing::warn!(problem = %problem, "a refusal could not be recorded");
        }
    }
}

impl Door {
    /// Somebody tried what the API offers, and it was refused or failed. It is recorded where it can be seen: with
    /// the project that they belong to, with the credential that it was about, if there is such a one.
    pub async fn note_try(
        &self,
        actor: &Actor,
        action: &'static str,
        outcome: Outcome,
        target: Option<String>,
        credential: Option<CredentialId>,
        problem: &Problem,
    ) {
        let mut event = Event::new(action).outcome(outcome).detail("code", problem.code.as_str());
        event.target = target;
        // A use case says in whose project it refused something; a project that is not theirs gets no record.
        let named = problem.extra.get("project").and_then(|id| id.as_str());
        event.project = match (named.and_then(|id| id.parse::<ProjectId>().ok()), &actor.who) {
            (Some(project), _) => Some(project),
            (None, Who::Service { project, .. } | Who::Account { project, .. }) => Some(project.clone()),
            _ => None,
        };
        if let Some(id) = credential
            && let Ok(mut reader) = self.broker.parts.store.read().await
            && let Ok(Some(_)) = credentials::for_upkeep(&mut reader, &id).await
        {
            // In its own trail, for its owner alone: a project's members are not told who strangers are.
            event.credential = Some(id);
        }
        self.note_refusal(actor, event).await;
    }

    /// For `X-Request-Id`.
    pub fn request_id(&self) -> String {
        CallId::new(self.broker.now(), self.broker.parts.entropy.as_ref()).as_str().replacen(
            CallId::PREFIX,
            "req_",
            1,
        )
    }
}
