//! Calls that were refused before anything was sent: they have no record in a journal, so they come here.
//!
//! Data cores note them without waiting; what is more than a bounded queue holds is counted. The control
//! runtime looks up who it was and writes one event for all alike (same caller, credential and reason) of a
//! second, with their count, at most [`MOST`] events in a second, and in the long run no more than a budget earns: a
//! flood costs the database little, fills no disk, and hides behind a number what exceeds it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use latchstring_model::entity::Outcome;
use latchstring_model::id::{CredentialId, ProjectId};
use latchstring_model::{Code, Problem, SecretString, Timestamp};
use latchstring_store::api_keys::{KeyBelongs, KeyCaller, KeyOwner};
use latchstring_store::{StoreError, Tx, api_keys, projects, shares, users};
use tokio::sync::mpsc;

use super::events::{self, Event};
use crate::Broker;
use crate::actor::{Actor, Person, Via, Who};
use crate::road::Peer;
use crate::road::accept::Ask;
use crate::road::route::Route;

/// Refusals that wait to be written.
const WAITING: usize = 1000;
/// Events in one second.
const MOST: usize = 50;
/// Events of those who have a valid key: so many at once, then one in so many milliseconds. A flood that lasts
/// for days must not fill the disk: this is about 26 megabytes a day.
const KNOWN: Budget = Budget { most: 2_000, every: 2_000, left: 2_000, at: Timestamp(0) };
/// And of strangers, who must not use up what the others have: 5 megabytes a day.
const STRANGERS: Budget = Budget { most: 400, every: 10_000, left: 400, at: Timestamp(0) };
/// A summary alone is written no more often; in milliseconds.
const SUMMARY: i64 = 60_000;
/// Bytes of a path or a name that are kept.
const KEPT: usize = 512;

/// The way of refusals from the data cores to the control runtime. A field of [`Broker`].
pub struct Refusals {
    sender: mpsc::Sender<Noted>,
    receiver: Mutex<mpsc::Receiver<Noted>>,
    unrecorded: AtomicU64,
    budgets: Mutex<Budgets>,
}

struct Budgets {
    known: Budget,
    strangers: Budget,
    summed_up: Timestamp,
}

/// So many events at once, then one in so many milliseconds.
#[derive(Clone, Copy)]
struct Budget {
    most: i64,
    every: i64,
    left: i64,
    at: Timestamp,
}

impl Budget {
    fn take(&mut self, now: Timestamp) -> bool {
        let earned = now.millis().saturating_sub(self.at.millis()).max(0) / self.every;
        if earned > 0 {
            self.left = self.left.saturating_add(earned).min(self.most);
            // What is left of the time counts for the next one.
            self.at = if self.left == self.most { now } else { self.at.plus_millis(earned * self.every) };
        }
        if self.left == 0 {
            return false;
        }
        self.left -= 1;
        true
    }
}

impl Default for Refusals {
    fn default() -> Self {
        let (sender, receiver) = mpsc::channel(WAITING);
        let budgets = Budgets { known: KNOWN, strangers: STRANGERS, summed_up: Timestamp(0) };
        Self {
            sender,
            receiver: Mutex::new(receiver),
            unrecorded: AtomicU64::new(0),
            budgets: Mutex::new(budgets),
        }
    }
}

struct Noted {
    by: By,
    credential: String,
    client: IpAddr,
    method: String,
    path: String,
    code: Code,
}

enum By {
    /// There was no valid key. Whatever was sent in its place is not kept.
    Nobody,
    Key {
        secret: SecretString,
        project: Option<String>,
        environment: Option<String>,
    },
    Known(Box<KnownCaller>),
}

#[derive(Clone)]
struct KnownCaller {
    actor: Actor,
    project: Option<ProjectId>,
    credential: Option<CredentialId>,
    environment: Option<String>,
}

/// What is alike: who (the hash of a key, or an id), from where, for which credential, why.
type Alike = (Vec<u8>, IpAddr, String, &'static str);

fn cut(text: &str) -> String {
    let mut end = text.len().min(KEPT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

fn hash(key: &SecretString) -> Vec<u8> {
    aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, key.expose().as_bytes()).as_ref().to_vec()
}

impl Refusals {
    fn note(&self, make: impl FnOnce() -> Noted) {
        match self.sender.try_reserve() {
            Ok(place) => place.send(make()),
            Err(_) => {
                self.unrecorded.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    fn take(&self) -> Vec<Noted> {
        let mut receiver = self.receiver.lock().unwrap_or_else(PoisonError::into_inner);
        let mut taken = Vec::new();
        while let Ok(noted) = receiver.try_recv() {
            taken.push(noted);
        }
        taken
    }
}

impl Noted {
    fn alike(&self) -> Alike {
        let (who, credential) = match &self.by {
            // A stranger can think of any number of names.
            By::Nobody => (Vec::new(), String::new()),
            By::Key { secret, .. } => (hash(secret), self.credential.clone()),
            By::Known(known) => (known.actor.signature().into_bytes(), self.credential.clone()),
        };
        (who, self.client, credential, self.code.as_str())
    }
}

/// Whose key it is, and which of the names that were given mean something to them.
async fn look_up(
    tx: &mut impl Tx,
    secret: &SecretString,
    project: Option<&str>,
    environment: Option<&str>,
    credential: &str,
    now: Timestamp,
) -> Result<Option<KnownCaller>, StoreError> {
    let Some(KeyCaller { key, owner, .. }) = api_keys::by_secret_hash(tx, &hash(secret), now).await? else {
        return Ok(None);
    };
    let (who, project, environment) = match (key.belongs, owner) {
        (KeyBelongs::Service { project_id, environment_id }, owner) => {
            let environment = match owner {
                KeyOwner::Project { environment, .. } => Some(environment),
                KeyOwner::User { .. } => None,
            };
            let who = Who::Service {
                key: key.id,
                name: key.name,
                project: project_id.clone(),
                environment: environment_id,
            };
            (who, Some(project_id), environment)
        }
        (KeyBelongs::Account { project_id }, _) => {
            let who = Who::Account { key: key.id, name: key.name, project: project_id.clone() };
            (who, Some(project_id), None)
        }
        (KeyBelongs::Personal { user_id }, _) => {
            let Some(user) = users::by_id(tx, &user_id).await? else { return Ok(None) };
            let person = Person {
                id: user.id,
                email: user.fields.email,
                username: user.fields.username,
                name: user.fields.name,
                first_name: user.fields.first_name,
                last_name: user.fields.last_name,
                superuser: user.fields.superuser,
                second_factor: user.second_factor,
                held_back: false,
                frozen_until: user.frozen_until,
            };
            // A project that is not theirs does not get a record by being named.
            let project = match project {
                Some(named) => projects::for_member(tx, &user_id, named).await?.map(|found| found.project.id),
                None => None,
            };
            let environment = project.as_ref().and(environment).map(cut);
            (Who::Person { person, via: Via::Key { id: key.id, scope: key.scope } }, project, environment)
        }
    };
    let share = match &project {
        Some(project) => shares::in_project(tx, project, credential).await?,
        None => None,
    };
    Ok(Some(KnownCaller {
        actor: Actor { who, address: None },
        project,
        credential: share.map(|share| share.credential_id),
        environment,
    }))
}

fn event(noted: &Noted, known: Option<&KnownCaller>, count: u64) -> (Actor, Event) {
    let outcome = if noted.code.status() < 500 { Outcome::Refused } else { Outcome::Failed };
    let mut event = Event::new("credential.use")
        .target(noted.credential.as_str())
        .outcome(outcome)
        .detail("code", noted.code.as_str())
        .detail("method", noted.method.as_str())
        .detail("path", noted.path.as_str());
    if count > 1 {
        event = event.detail("count", count);
    }
    let who = match known {
        Some(known) => {
            event.project = known.project.clone();
            event.credential = known.credential.clone();
            event.environment = known.environment.clone();
            known.actor.who.clone()
        }
        None => Who::Anonymous,
    };
    (Actor { who, address: Some(noted.client) }, event)
}

impl Broker {
    /// A call was refused before its route was known. Never waits.
    pub fn refused_call(
        &self,
        ask: &Ask<'_>,
        peer: Peer,
        method: &http::Method,
        path: &str,
        problem: &Problem,
    ) {
        self.refusals_noted.note(|| Noted {
            by: if problem.code == Code::Unauthenticated {
                By::Nobody
            } else {
                By::Key {
                    secret: ask.key.expose().into(),
                    project: ask.project.map(cut),
                    environment: ask.environment.map(cut),
                }
            },
            credential: cut(ask.credential),
            client: peer.address,
            method: cut(method.as_str()),
            path: cut(path),
            code: problem.code,
        });
    }

    /// A call without a key, or with something that is none. Never waits.
    pub fn refused_stranger(
        &self,
        credential: &str,
        peer: Peer,
        method: &http::Method,
        path: &str,
        problem: &Problem,
    ) {
        self.refusals_noted.note(|| Noted {
            by: By::Nobody,
            credential: cut(credential),
            client: peer.address,
            method: cut(method.as_str()),
            path: cut(path),
            code: problem.code,
        });
    }

    /// A call was refused on a known route: by the key's limits, the path, the pins. Never waits.
    pub fn refused_route(
        &self,
        route: &Route,
        peer: Peer,
        method: &http::Method,
        path: &str,
        problem: &Problem,
    ) {
        self.refusals_noted.note(|| Noted {
            by: By::Known(Box::new(KnownCaller {
                actor: route.caller.actor.clone(),
                project: Some(route.caller.project.id.clone()),
                credential: Some(route.credential.clone()),
                environment: Some(route.caller.environment.name.clone()),
            })),
            credential: route.credential.to_string(),
            client: peer.address,
            method: cut(method.as_str()),
            path: cut(path),
            code: problem.code,
        });
    }

    /// An operation was refused, before or on a known route. Never waits.
    pub(crate) fn refused_operation(
        &self,
        actor: &Actor,
        route: Option<&Route>,
        credential: &str,
        path: &str,
        problem: &Problem,
    ) {
        let unknown = IpAddr::from([0, 0, 0, 0]);
        // Whose project it is that a person names is known only on a route.
        let own = match &actor.who {
            Who::Service { project, .. } | Who::Account { project, .. } => Some(project.clone()),
            _ => None,
        };
        self.refusals_noted.note(|| Noted {
            by: By::Known(Box::new(KnownCaller {
                actor: actor.clone(),
                project: route.map(|route| route.caller.project.id.clone()).or(own),
                credential: route.map(|route| route.credential.clone()),
                environment: route.map(|route| route.caller.environment.name.clone()),
            })),
            credential: cut(route.map_or(credential, |route| route.credential.as_str())),
            client: actor.address.unwrap_or(unknown),
            method: String::new(),
            path: cut(path),
            code: problem.code,
        });
    }

    /// Writes down what was refused since the last time. How many events.
    pub(crate) async fn write_refusals(&self) -> Result<usize, StoreError> {
        let mut groups: HashMap<Alike, (Noted, u64)> = HashMap::new();
        let mut order: Vec<Alike> = Vec::new();
        let mut unrecorded = self.refusals_noted.unrecorded.swap(0, Ordering::Relaxed);
        let now = self.now();
        let mut summary_is_due = false;
        {
            let budgets = &mut *self.refusals_noted.budgets.lock().unwrap_or_else(PoisonError::into_inner);
            for noted in self.refusals_noted.take() {
                let alike = noted.alike();
                let budget = match noted.by {
                    By::Nobody => &mut budgets.strangers,
                    _ => &mut budgets.known,
                };
                if let Some((_, count)) = groups.get_mut(&alike) {
                    *count += 1;
                } else if groups.len() < MOST && budget.take(now) {
                    order.push(alike.clone());
                    groups.insert(alike, (noted, 1));
                } else {
                    unrecorded += 1;
                }
            }
            if now.millis().saturating_sub(budgets.summed_up.millis()) >= SUMMARY {
                summary_is_due = true;
                budgets.summed_up = now;
            }
        }
        if groups.is_empty() && !(summary_is_due && unrecorded > 0) {
            self.refusals_noted.unrecorded.fetch_add(unrecorded, Ordering::Relaxed);
            return Ok(0);
        }
        let lost = unrecorded + groups.values().map(|(_, count)| count).sum::<u64>();
        let written = self.write_groups(&order, &groups, unrecorded).await;
        if written.is_err() {
            // They are counted in the next record that can be written.
            self.refusals_noted.unrecorded.fetch_add(lost, Ordering::Relaxed);
        }
        written
    }

    async fn write_groups(
        &self,
        order: &[Alike],
        groups: &HashMap<Alike, (Noted, u64)>,
        unrecorded: u64,
    ) -> Result<usize, StoreError> {
        let now = self.now();
        let mut events: Vec<(Actor, Event)> = Vec::with_capacity(order.len() + 1);
        let mut reader = self.parts.store.read().await?;
        for (noted, count) in order.iter().filter_map(|alike| groups.get(alike)) {
            let looked_up;
            let known = match &noted.by {
                By::Nobody => None,
                By::Known(known) => Some(&**known),
                By::Key { secret, project, environment } => {
                    looked_up = look_up(
                        &mut reader,
                        secret,
                        project.as_deref(),
                        environment.as_deref(),
                        &noted.credential,
                        now,
                    )
                    .await?;
                    looked_up.as_ref()
                }
            };
            events.push(event(noted, known, *count));
        }
        drop(reader);
        if unrecorded > 0 {
            let summary =
                Event::new("credential.use").outcome(Outcome::Refused).detail("unrecorded", unrecorded);
            events.push((Actor::operator(), summary));
        }
        let written = events.len();
        let events: Vec<(&Actor, Event)> =
            events.iter().map(|(actor, event)| (actor, event.clone())).collect();
        let mut tx = self.parts.store.begin_upkeep().await?;
        events::append(&mut tx, &self.parts.server, now, &events).await?;
        tx.commit().await?;
        Ok(written)
    }
}
