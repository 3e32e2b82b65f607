//! Personal keys: made, listed and ended in a session. A key reaches no key but itself, to end it.

use latchstring_model::entity::KeyScope;
use latchstring_model::id::{KeyId, UserId};
use latchstring_model::problem::Refused;
use latchstring_model::{FieldError, Problem, Timestamp};
use latchstring_store::WriteTx;
use latchstring_store::api_keys::{self, ApiKeyRow, KeyBelongs};
use serde_json::json;

use crate::actor::{Actor, Via, Who};
use crate::audit::Event;
use crate::people::recent::Deed;
use crate::people::{Page, Paging, ShownOnce, check_name, random};
use crate::permissions::Operation;
use crate::{Broker, refusals};

pub struct NewKey {
    pub name: String,
    pub scope: KeyScope,
    pub expires_at: Option<Timestamp>,
}

pub struct Key {
    pub id: KeyId,
    pub name: String,
    pub scope: KeyScope,
    /// Its last four characters.
    pub hint: String,
    pub created_at: Timestamp,
    pub expires_at: Option<Timestamp>,
    pub used_at: Option<Timestamp>,
}

impl From<ApiKeyRow> for Key {
    fn from(row: ApiKeyRow) -> Self {
        Self {
            id: row.id,
            name: row.name,
            scope: row.scope,
            hint: row.hint,
            created_at: row.created_at,
            expires_at: row.expires_at,
            used_at: row.used_at,
        }
    }
}

pub struct MadeKey {
    pub key: Key,
    pub secret: ShownOnce,
}

/// What is wrong with an end that is no longer ahead.
pub(crate) fn check_expiry(expires_at: Option<Timestamp>, now: Timestamp, errors: &mut Vec<FieldError>) {
    if expires_at.is_some_and(|at| at <= now) {
        errors.push(FieldError::new("/expires_at", "it lies in the past; such a key would never work"));
    }
}

impl Broker {
    pub(crate) async fn insert_personal_key(
        &self,
        tx: &mut WriteTx,
        actor: &Actor,
        user: &UserId,
        new: NewKey,
    ) -> Refused<MadeKey> {
        let now = self.now();
        let secret = random::new_key(self.parts.entropy.as_ref());
        let row = ApiKeyRow {
            id: KeyId::new(now, self.parts.entropy.as_ref()),
            belongs: KeyBelongs::Personal { user_id: user.clone() },
            name: new.name.trim().to_owned(),
            scope: new.scope,
            hint: random::hint(&secret),
            limits: json!({}),
            created_by: actor.signature(),
            created_at: now,
            expires_at: new.expires_at,
            used_at: None,
            ended_at: None,
        };
        api_keys::create(tx, &row, &random::hash(secret.expose())).await.map_err(refusals::store)?;
        let event = Event::new("key.create")
            .target(row.id.as_str())
            .detail("name", row.name.as_str())
            .detail("scope", row.scope.as_str());
        self.record(tx, actor, event.detail("user", user.as_str())).await?;
        Ok(MadeKey { key: row.into(), secret: ShownOnce(secret) })
    }

    /// In a session with a recent sign-in: a stolen cookie alone does not become a key.
    pub async fn create_my_key(&self, actor: &Actor, new: NewKey) -> Refused<MadeKey> {
        let (person, _, _) = actor.in_session_for(Operation::OwnKeyCreate)?;
        let now = self.now();
        self.recent(actor, Deed::MakeKey).await?;
        self.unfrozen(actor)?;
        let mut errors = Vec::new();
        check_name(&new.name, "/name", &mut errors);
        check_expiry(new.expires_at, now, &mut errors);
        if !errors.is_empty() {
            return Err(Problem::invalid(errors).into());
        }
        let mut tx = self.parts.store.begin_write(&[person.id.as_str()]).await.map_err(refusals::store)?;
        let made = self.insert_personal_key(&mut tx, actor, &person.id, new).await?;
        tx.commit().await.map_err(refusals::store)?;
        Ok(made)
    }

    pub async fn my_keys(&self, actor: &Actor, paging: &Paging) -> Refused<Page<Key>> {
        let (person, _, _) = actor.in_session_for(Operation::OwnKeysLook)?;
        let mut reader = self.parts.store.read().await.map_err(refusals::store)?;
        let page = api_keys::list_of_user(&mut reader, &person.id, paging).await.map_err(refusals::store)?;
        Ok(Page { items: page.items.into_iter().map(Key::from).collect(), next_cursor: page.next_cursor })
    }

    /// In a session any of one's own; a key may end itself.
    pub async fn end_my_key(&self, actor: &Actor, id: &str) -> Refused<()> {
        let unknown = || refusals::not_found("You have no such key.");
        let person = match &actor.who {
            Who::Person { person, via: Via::Key { id: own, .. } } if own.as_str() == id => person,
            _ => actor.in_session_for(Operation::OwnKeyEnd)?.0,
        };
        let id: KeyId = id.parse().map_err(|_| unknown())?;
        let mut tx = self.parts.store.begin_write(&[person.id.as_str()]).await.map_err(refusals::store)?;
        if !api_keys::end_of_user(&mut tx, &person.id, &id, self.now()).await.map_err(refusals::store)? {
            return Err(unknown());
        }
        self.record(&mut tx, actor, Event::new("key.delete").target(id.as_str())).await?;
        tx.commit().await.map_err(refusals::store)?;
        Ok(())
    }
}
