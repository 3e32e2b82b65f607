//! What ends by the way: service keys, shares and grants that go with a project or an environment, keys that go with a
//! person. Each has the record that it would have if somebody had ended it by itself, with what it went with as
//! `because`: who looks up a key, and the owner of a credential, find its end where they look.

use std::collections::BTreeMap;

use latchstring_model::id::{EnvironmentId, ProjectId, UserId};
use latchstring_model::problem::Refused;
use latchstring_store::api_keys::{self, ApiKeyRow, KeyBelongs};
use latchstring_store::shares::{self, SharedHere};
use latchstring_store::{Paging, Tx};
use serde_json::json;

use crate::audit::Event;
use crate::projects::life::RemovedEnvironment;
use crate::refusals;

/// Whose keys.
#[derive(Clone, Copy)]
pub(crate) enum Of<'a> {
    Project(&'a ProjectId),
    Person(&'a UserId),
}

/// All keys that have not ended.
pub(crate) async fn living(tx: &mut impl Tx, of: Of<'_>) -> Refused<Vec<ApiKeyRow>> {
    let mut keys = Vec::new();
    let mut cursor = None;
    loop {
        let paging = Paging::new(cursor, Some(Paging::MAX_LIMIT));
        let page = match of {
            Of::Project(project) => api_keys::list_of_project(tx, project, &paging).await,
            Of::Person(user) => api_keys::list_of_user(tx, user, &paging).await,
        };
        let page = page.map_err(refusals::store)?;
        keys.extend(page.items);
        cursor = page.next_cursor;
        if cursor.is_none() {
            return Ok(keys);
        }
    }
}

pub(crate) fn key_ended(key: &ApiKeyRow, because: &'static str) -> Event {
    let event = Event::new("key.delete")
        .target(key.id.as_str())
        .detail("name", key.name.as_str())
        .detail("because", because);
    match &key.belongs {
        KeyBelongs::Personal { user_id } => event.detail("user", user_id.as_str()),
        KeyBelongs::Service { project_id, .. } | KeyBelongs::Account { project_id } => {
            event.project(project_id)
        }
    }
}

fn shared(share: &SharedHere, project: &ProjectId, because: &'static str) -> Event {
    Event::new("credential.share")
        .project(project)
        .credential(&share.credential_id)
        .target(share.name.clone())
        .detail("slug", share.slug.as_str())
        .detail("because", because)
}

fn granted(grants: &[(String, String)]) -> BTreeMap<&str, &str> {
    grants.iter().map(|(theirs, ours)| (theirs.as_str(), ours.as_str())).collect()
}

/// Of a project that is going to be deleted: its keys, and every share that it has.
pub(crate) async fn with_project(tx: &mut impl Tx, project: &ProjectId) -> Refused<Vec<Event>> {
    const BECAUSE: &str = "project.delete";
    let keys = living(tx, Of::Project(project)).await?;
    let mut events: Vec<Event> = keys.iter().map(|key| key_ended(key, BECAUSE)).collect();
    let shares = shares::all_of_project(tx, project).await.map_err(refusals::store)?;
    events.extend(shares.iter().map(|share| {
        shared(share, project, BECAUSE)
            .detail("withdrawn", true)
            .detail("grants_before", json!(granted(&share.grants)))
    }));
    Ok(events)
}

/// Of environments that are going to be removed: their keys, and the grants that they have.
pub(crate) async fn with_environments(
    tx: &mut impl Tx,
    project: &ProjectId,
    removed: &[RemovedEnvironment],
    keys: &[ApiKeyRow],
) -> Refused<Vec<Event>> {
    const BECAUSE: &str = "environment.delete";
    let gone = |id: &EnvironmentId| removed.iter().find(|gone| &gone.id == id);
    let ended = keys.iter().filter_map(|key| match &key.belongs {
        KeyBelongs::Service { environment_id, .. } => {
            Some(key_ended(key, BECAUSE).environment(gone(environment_id)?.name.as_str()))
        }
        KeyBelongs::Personal { .. } | KeyBelongs::Account { .. } => None,
    });
    let mut events: Vec<Event> = ended.collect();
    if removed.iter().all(|gone| gone.credentials.is_empty()) {
        return Ok(events);
    }
    for share in shares::all_of_project(tx, project).await.map_err(refusals::store)? {
        let mut left = share.grants.clone();
        left.retain(|(theirs, _)| removed.iter().all(|gone| gone.name != *theirs));
        if left.len() < share.grants.len() {
            events.push(
                shared(&share, project, BECAUSE)
                    .detail("grants_before", json!(granted(&share.grants)))
                    .detail("grants", json!(granted(&left))),
            );
        }
    }
    Ok(events)
}
