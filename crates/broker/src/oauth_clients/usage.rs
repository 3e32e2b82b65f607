//! Which credentials name an OAuth client, for superusers: whom a change of it concerns.

use latchstring_model::problem::Refused;
use latchstring_store::oauth_clients as rows;

use crate::actor::Actor;
use crate::{Broker, refusals};

/// Credentials that are listed.
const LISTED: i64 = 100;

/// One that names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Use {
    pub name: String,
    /// The e-mail address of a person, the slug of a project.
    pub owner: String,
}

impl Broker {
    /// The first of them, and how many there are.
    pub async fn oauth_client_uses(&self, actor: &Actor, id: &str) -> Refused<(Vec<Use>, i64)> {
        let person = actor.superuser()?;
        let mut tx = self.parts.store.begin_read().await.map_err(refusals::store)?;
        let row = self.seen_client(&mut tx, person, id).await?;
        let used = rows::used_by(&mut tx, &row.id, LISTED).await.map_err(refusals::store)?;
        let count = rows::count_uses(&mut tx, &row.id).await.map_err(refusals::store)?;
        let used = used.into_iter().map(|one| Use { name: one.name, owner: one.owner_name });
        Ok((used.collect(), count))
    }
}
