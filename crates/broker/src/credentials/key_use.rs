//! Which service keys use a credential: those that called with it, those that are made for it, and, where the trail is
//! too long to be read to its beginning, those that may have called before. None is left out without a word.

use std::collections::{BTreeMap, HashMap};

use latchstring_model::Timestamp;
use latchstring_model::id::{CredentialId, EnvironmentId, ProjectId};
use latchstring_model::problem::Refused;
use latchstring_store::Tx;
use latchstring_store::api_keys::{ApiKeyRow, KeyBelongs};
use latchstring_store::callers::{Callers, KeyCalls, Reach};
use serde_json::Value;

use crate::{Broker, refusals};

/// What is read of the trail for one credential: some 30,000 calls.
pub(super) const REACH: Reach = Reach { bytes: 16 << 20, rows: 10_000 };

/// A key that may use the credential, or has.
pub struct KeyUse {
    pub id: String,
    /// `None` for keys that ended long ago.
    pub name: Option<String>,
    pub project: Option<String>,
    /// Among the calls that were looked through.
    pub calls: u64,
    pub last_call_at: Option<Timestamp>,
}

/// The keys, the one that called last before the others.
pub struct KeysInUse {
    pub keys: Vec<KeyUse>,
    /// Every key that has called is there with its last call. Otherwise those that have none may have called before
    /// `back_to`.
    pub complete: bool,
    /// From when on calls are counted; `None`: all that are recorded.
    pub back_to: Option<Timestamp>,
}

/// A project that may use the credential.
pub(crate) struct Place<'a> {
    pub slug: &'a str,
    /// All that have not ended.
    pub keys: &'a [ApiKeyRow],
    /// The environments that have a grant of it.
    pub granted: Vec<EnvironmentId>,
}

/// The credentials that a key is limited to, if it is.
fn limited(key: &ApiKeyRow) -> Option<&Vec<Value>> {
    key.limits.get("credentials").and_then(Value::as_array)
}

impl Place<'_> {
    fn made_for(key: &ApiKeyRow, credential: &CredentialId) -> bool {
        limited(key).is_some_and(|list| list.iter().any(|id| *id == credential.as_str()))
    }

    /// It can call, and has called something. Only the trail knows what.
    fn may_have_called(&self, key: &ApiKeyRow, credential: &CredentialId, now: Timestamp) -> bool {
        let KeyBelongs::Service { environment_id, .. } = &key.belongs else { return false };
        self.granted.contains(environment_id)
            && (limited(key).is_none() || Self::made_for(key, credential))
            && key.used_at.is_some()
            && key.expires_at.is_none_or(|end| end > now)
    }
}

impl Broker {
    /// `project`: only calls in this one.
    pub(crate) async fn keys_in_use(
        &self,
        tx: &mut impl Tx,
        credential: &CredentialId,
        project: Option<&ProjectId>,
        places: &[Place<'_>],
        reach: &mut Reach,
    ) -> Refused<KeysInUse> {
        let now = self.now();
        let open = |known: &HashMap<String, KeyCalls>| {
            places.iter().any(|place| {
                place.keys.iter().any(|key| {
                    !known.contains_key(key.id.as_str()) && place.may_have_called(key, credential, now)
                })
            })
        };
        let mut callers = Callers::new(credential, project, now);
        let mut complete = false;
        while !complete && !reach.is_spent() {
            callers.further(tx, reach).await.map_err(refusals::store)?;
            complete = callers.is_whole() || !open(callers.keys());
        }
        let found = callers.keys().iter().map(|(id, found)| {
            let one = KeyUse {
                id: id.clone(),
                name: None,
                project: None,
                calls: found.calls,
                last_call_at: Some(found.last_at),
            };
            (id.as_str(), one)
        });
        let mut keys: BTreeMap<&str, KeyUse> = found.collect();
        for place in places {
            for key in place.keys {
                let listed = Place::made_for(key, credential)
                    || (!complete && place.may_have_called(key, credential, now));
                let id = key.id.as_str();
                if listed && !keys.contains_key(id) {
                    let one =
                        KeyUse { id: id.to_owned(), name: None, project: None, calls: 0, last_call_at: None };
                    keys.insert(id, one);
                }
                if let Some(one) = keys.get_mut(id) {
                    one.name = Some(key.name.clone());
                    one.project = Some(place.slug.to_owned());
                }
            }
        }
        let mut keys: Vec<KeyUse> = keys.into_values().collect();
        keys.sort_by(|a, b| b.last_call_at.cmp(&a.last_call_at).then_with(|| a.id.cmp(&b.id)));
        Ok(KeysInUse { keys, complete, back_to: callers.back_to() })
    }
}
