//! `Idempotency-Key`: a POST that is sent again gets the first one's answer, and nothing happens twice.
//!
//! Two rows per attempt, both only ever inserted: one says that it began, one how it ended. So of two servers
//! that get the same request one works and the other sees it. An attempt that ended in a refusal which may pass
//! (429, 5xx) frees the key for another attempt. One that began and never ended has died half-way: whether it
//! changed anything cannot be known here, and is not guessed.
//!
//! An answer is given again only to who may no less than when it was given first.
//!
//! Answers that show a key are not kept: in their place a refusal that says so is. The others are sealed.
//!
//! What a request was is kept as its SHA-256, sealed: a body may hold a password or an API's key, and a plain
//! hash of it would let whoever has the database try guesses. Where it cannot be opened any more, because its
//! data key has been rotated away, nothing is compared and nothing is answered again.

use std::collections::BTreeMap;

use latchstring_model::entity::Role;
use latchstring_model::problem::Refused;
use latchstring_model::{Code, Problem, SecretBytes};
use latchstring_store::idempotency::{self, AnswerRow};
use latchstring_store::{Paging, StoreError, Taken, Tx, projects};
use latchstring_vault::{Aad, OpenError, Purpose};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::actor::{Actor, Who};
use crate::people::random;
use crate::road::authorise::owner_opens;
use crate::{Broker, refusals};

/// Milliseconds that an answer is kept at least: a day.
pub const KEPT: i64 = 24 * 3_600_000;
/// How long a request may take; one that began earlier and has not ended has died. Milliseconds.
const WORKING: i64 = 120_000;
const LONGEST: usize = 255;
/// Attempts with one key.
const MOST: u32 = 100;
/// What stands for "ended, and may be tried again".
const FREED: u16 = 0;

/// An attempt that began.
pub struct Attempt {
    actor: Actor,
    name: String,
}

/// What somebody may, as far as answers depend on it. An answer is given again only to who may no less than when it
/// was given first: a role that was taken away, or a key that may less, does not bring it back.
#[derive(Serialize, Deserialize)]
struct Rights {
    manages: bool,
    superuser: bool,
    /// By project.
    roles: BTreeMap<String, String>,
}

impl Rights {
    fn include(&self, then: &Rights) -> bool {
        let holds = |(project, role): (&String, &String)| {
            let now = self.roles.get(project).and_then(|role| Role::parse(role));
            Role::parse(role).is_some_and(|then| now >= Some(then))
        };
        (self.manages || !then.manages) && (self.superuser || !then.superuser) && then.roles.iter().all(holds)
    }
}

fn no_longer_yours() -> Box<Problem> {
    Problem::new(
        Code::IdempotencyDone,
        "The first request with this Idempotency-Key was done, and its answer is not given again: you may less now than you did then.",
    )
    .hint("Read what it made or changed, as far as you still may.")
    .into()
}

pub enum Repeat {
    /// Do it, then tell [`Broker::end_attempt`].
    New(Box<Attempt>),
    /// Status and body of the first answer.
    Answered(u16, String),
}

fn busy() -> Box<Problem> {
    Problem::new(
        Code::IdempotencyInProgress,
        "The first request with this Idempotency-Key is still being worked on.",
    )
    .hint("Try again in a moment.")
    .retry_after(1)
    .into()
}

/// What is kept of an end, sealed: answers hold what only those see who may.
#[derive(Serialize, Deserialize)]
struct Ended {
    rights: Rights,
    body: String,
}

fn unknown_end(what: &str) -> Box<Problem> {
    Problem::new(
        Code::IdempotencyUnknown,
        format!(
            "This Idempotency-Key was used before, and what {what}: the data keys were changed meanwhile."
        ),
    )
    .hint("Look whether what you wanted is there; if not, send the request with a new key.")
    .into()
}

fn kept_aad(owner: &str, name: &str) -> Aad {
    Aad {
        purpose: Purpose::Setting,
        object: format!("idempotency/{owner}/{name}"),
        environment: None,
        version: 0,
        project: None,
    }
}

impl Broker {
    async fn rights(&self, tx: &mut impl Tx, actor: &Actor) -> Refused<Rights> {
        let mut rights =
            Rights { manages: actor.manager().is_ok(), superuser: false, roles: BTreeMap::new() };
        if let Who::Account { project, .. } = &actor.who {
            rights.manages = true;
            rights.roles.insert(project.to_string(), Role::Admin.to_string());
            return Ok(rights);
        }
        let Who::Person { person, .. } = &actor.who else { return Ok(rights) };
        rights.superuser = person.superuser;
        let mut cursor = None;
        loop {
            let paging = Paging::new(cursor, Some(Paging::MAX_LIMIT));
            let page = projects::list_of_member(tx, &person.id, &paging).await.map_err(refusals::store)?;
            let roles = page.items.into_iter();
            rights.roles.extend(roles.map(|at| (at.project.id.to_string(), at.role.to_string())));
            cursor = page.next_cursor;
            if cursor.is_none() {
                return Ok(rights);
            }
        }
    }

    async fn open_kept(&self, aad: &Aad, sealed: &[u8]) -> Result<SecretBytes, OpenError> {
        let open = || self.parts.vault.open(&owner_opens(), aad, sealed);
        let mut opened = open();
        if matches!(opened, Err(OpenError::UnknownDataKey { .. })) {
            // Another server has made a new one.
            if let Err(error) = self.reload_data_keys().await {
                tracing::warn!(error = %error, "the data keys could not be loaded");
            }
            opened = open();
        }
        opened
    }

    /// Whether the sealed hash is this one.
    async fn is_same_request(&self, aad: &Aad, sealed: &[u8], hash: &[u8]) -> Refused<bool> {
        self.open_kept(aad, sealed).await.map(|opened| opened.expose() == hash).map_err(|error| {
            tracing::warn!(error = %error, "the hash kept for an Idempotency-Key does not open");
            unknown_end("came with it can no longer be compared")
        })
    }

    /// `request` is everything that makes the request this one: path, body, headers that change its meaning.
    pub async fn begin_attempt(&self, actor: &Actor, key: &str, request: &[&[u8]]) -> Refused<Repeat> {
        if key.is_empty() || key.len() > LONGEST || !key.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(Problem::new(
                Code::BadRequest,
                format!("Idempotency-Key has 1 to {LONGEST} visible ASCII characters."),
            )
            .hint("A random UUID is a good one.")
            .into());
        }
        let owner = match &actor.who {
            Who::Anonymous | Who::EndUser { .. } | Who::Operator => {
                return Err(refusals::internal(&"an attempt of nobody"));
            }
            Who::Person { .. } | Who::Service { .. } | Who::Account { .. } => actor.signature(),
        };
        // Made as large as it gets, so that no copy of it is left behind by growing.
        let mut joined = Zeroizing::new(Vec::with_capacity(
            request.iter().map(|part| part.len() + size_of::<u64>()).sum(),
        ));
        for part in request {
            joined.extend_from_slice(&(part.len() as u64).to_be_bytes());
            joined.extend_from_slice(part);
        }
        let hash = random::hash_bytes(&joined);
        let now = self.now();
        for number in 1..=MOST {
            let name = format!("{key} {number}");
            let opening = format!("{name} open");
            let aad = kept_aad(&owner, &opening);
            let mut tx = self.parts.store.begin_upkeep().await.map_err(refusals::store)?;
            let begun = idempotency::get(&mut tx, &owner, &opening).await.map_err(refusals::store)?;
            let Some(begun) = begun else {
                let row = AnswerRow { sealed: self.seal(&aad, &hash)?.bytes, status: FREED, created_at: now };
                return match idempotency::put(&mut tx, &owner, &opening, &row).await {
                    Ok(()) => {
                        tx.commit().await.map_err(refusals::store)?;
                        Ok(Repeat::New(Box::new(Attempt { actor: actor.clone(), name })))
                    }
                    Err(StoreError::Taken(Taken::IdempotencyKey)) => Err(busy()),
                    Err(error) => Err(refusals::store(error)),
                };
            };
            let ended = idempotency::get(&mut tx, &owner, &name).await.map_err(refusals::store)?;
            drop(tx);
            if !self.is_same_request(&aad, &begun.sealed, &hash).await? {
                return Err(Problem::new(
                    Code::IdempotencyMismatch,
                    "This Idempotency-Key came with another request before.",
                )
                .hint("Use a new key for a new request; send a repeated one unchanged.")
                .into());
            }
            match ended {
                Some(ended) if ended.status == FREED => {}
                Some(ended) => {
                    let mut tx = self.parts.store.begin_read().await.map_err(refusals::store)?;
                    let now = self.rights(&mut tx, actor).await?;
                    let kept = self.open_kept(&kept_aad(&owner, &name), &ended.sealed).await;
                    let kept = kept.ok().and_then(|kept| serde_json::from_slice::<Ended>(kept.expose()).ok());
                    let Some(Ended { rights: then, body }) = kept else {
                        return Err(unknown_end("it came to can no longer be read"));
                    };
                    if !now.include(&then) {
                        return Err(no_longer_yours());
                    }
                    return Ok(Repeat::Answered(ended.status, body));
                }
                None if now.millis() - begun.created_at.millis() < WORKING => return Err(busy()),
                None => {
                    return Err(Problem::new(Code::IdempotencyUnknown, "The first request with this Idempotency-Key never ended: the server stopped meanwhile, and whether it changed anything is not known.")
                        .hint("Look whether what you wanted is there; if not, send the request with a new key.")
                        .into());
                }
            }
        }
        Err(Problem::new(Code::TooManyRequests, "This Idempotency-Key was tried too often.")
            .hint("Use a new key.")
            .retry_after(60)
            .into())
    }

    /// Keeps the answer, or frees the key (`None`).
    pub async fn end_attempt(&self, attempt: Attempt, answer: Option<(u16, String)>) -> Refused<()> {
        let (status, body) = answer.unwrap_or((FREED, String::new()));
        let mut tx = self.parts.store.begin_upkeep().await.map_err(refusals::store)?;
        // The row that opened the attempt says what the request was; this one with what rights it was answered.
        let rights = self.rights(&mut tx, &attempt.actor).await?;
        let ended = serde_json::to_vec(&Ended { rights, body }).map(Zeroizing::new);
        let ended = ended.map_err(|error| refusals::internal(&error))?;
        let aad = kept_aad(&attempt.actor.signature(), &attempt.name);
        let sealed = if status == FREED { Vec::new() } else { self.seal(&aad, &ended)?.bytes };
        let row = AnswerRow { sealed, status, created_at: self.now() };
        let actor = attempt.actor.signature();
        idempotency::put(&mut tx, &actor, &attempt.name, &row).await.map_err(refusals::store)?;
        tx.commit().await.map_err(refusals::store)?;
        Ok(())
    }

    /// What the upkeep job calls now and then; how many rows went.
    pub async fn purge_attempts(&self) -> Refused<u64> {
        let mut tx = self.parts.store.begin_upkeep().await.map_err(refusals::store)?;
        let gone =
            idempotency::purge(&mut tx, self.now().plus_millis(-KEPT)).await.map_err(refusals::store)?;
        tx.commit().await.map_err(refusals::store)?;
        Ok(gone)
    }
}
