//! What somebody was told, for them to read where they are: also where no mail is set up.

use latchstring_model::Timestamp;
use latchstring_model::id::NoticeId;
use latchstring_model::problem::Refused;
use latchstring_store::inbox::{self as store, InboxItem};
use serde_json::{Map, Value};

use super::mail::words;
use crate::actor::Actor;
use crate::people::{Page, Paging};
use crate::permissions::Operation;
use crate::{Broker, refusals};

/// One notice, in words and for programs.
pub struct Told {
    pub id: NoticeId,
    pub event: String,
    pub at: Timestamp,
    pub read_at: Option<Timestamp>,
    pub title: String,
    /// What happened, why that usually is, what to do.
    pub text: String,
    /// The credential that it is about, if it is about one.
    pub credential: Option<String>,
    pub environment: Option<String>,
    /// As webhooks have it: names, never values.
    pub data: Map<String, Value>,
}

impl Told {
    fn of(item: InboxItem) -> Self {
        let (title, text) = words::said(&item.notice);
        let notice = item.notice;
        Self {
            id: notice.id,
            event: notice.event,
            at: notice.at,
            read_at: item.read_at,
            title,
            text,
            credential: notice.credential_id.map(|id| id.to_string()),
            environment: notice.environment,
            data: match notice.data {
                Value::Object(data) => data,
                _ => Map::new(),
            },
        }
    }
}

impl Broker {
    /// Newest first, of the last thirty days.
    pub async fn notices(&self, actor: &Actor, unread: bool, paging: &Paging) -> Refused<Page<Told>> {
        let person = actor.may(Operation::NoticesList)?;
        let mut reader = self.parts.store.read().await.map_err(refusals::store)?;
        let page = store::list(&mut reader, &person.id, unread, paging).await.map_err(refusals::store)?;
        Ok(Page { items: page.items.into_iter().map(Told::of).collect(), next_cursor: page.next_cursor })
    }

    /// How many of one's own were not read.
    pub async fn unread_notices(&self, actor: &Actor) -> Refused<i64> {
        let person = actor.may(Operation::NoticesList)?;
        let mut reader = self.parts.store.read().await.map_err(refusals::store)?;
        store::unread(&mut reader, &person.id).await.map_err(refusals::store)
    }

    pub async fn read_notice(&self, actor: &Actor, id: &str) -> Refused<()> {
        let person = actor.may(Operation::NoticesRead)?;
        let unknown = || refusals::not_found("You have no such notice.");
        let id: NoticeId = id.parse().map_err(|_| unknown())?;
        let mut tx = self.parts.store.begin_upkeep().await.map_err(refusals::store)?;
        if !store::mark_read(&mut tx, &person.id, &id, self.now()).await.map_err(refusals::store)? {
            return Err(unknown());
        }
        tx.commit().await.map_err(refusals::store)?;
        Ok(())
    }

    /// How many were new.
    pub async fn read_all_notices(&self, actor: &Actor) -> Refused<u64> {
        let person = actor.may(Operation::NoticesRead)?;
        let mut tx = self.parts.store.begin_upkeep().await.map_err(refusals::store)?;
        let read = store::mark_all_read(&mut tx, &person.id, self.now()).await.map_err(refusals::store)?;
        tx.commit().await.map_err(refusals::store)?;
        Ok(read)
    }
}
