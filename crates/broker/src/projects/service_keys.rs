//! Service keys: bound to one project and one environment, made by its admins, able to call and nothing else.
//! Their limits only ever narrow. And service accounts: keys of a project, without an environment, with which CI
//! manages it ([`access::not_an_account`] keeps what matters to people), and which call nothing.

use std::net::IpAddr;

use ipnet::IpNet;
use latchstring_model::entity::KeyScope;
use latchstring_model::id::{KeyId, ProjectId};
use latchstring_model::problem::Refused;
use latchstring_model::{FieldError, Problem, Timestamp};
use latchstring_store::api_keys::{self, ApiKeyRow, KeyBelongs};
use latchstring_store::{WriteTx, environments, members, shares, users};

use crate::actor::{Actor, Who};
use crate::audit::Event;
use crate::people::keys::check_expiry;
use crate::people::recent::Deed;
use crate::people::{Page, Paging, ShownOnce, check_email, check_name, random};
use crate::permissions::Operation;
use crate::projects::access;
use crate::road::limits::KeyLimits;
use crate::{Broker, refusals};

/// Entries of one list of limits.
const MOST: usize = 100;
const LONGEST_PREFIX: usize = 500;
const LONGEST_METHOD: usize = 20;

/// Limits as they are asked for: text that was not looked at yet.
#[derive(Clone, Debug, Default)]
pub struct WantedLimits {
    pub credentials: Option<Vec<String>>,
    pub operations_only: bool,
    pub methods: Option<Vec<String>>,
    pub path_prefixes: Option<Vec<String>>,
    pub networks: Option<Vec<String>>,
    pub may_act_for: Option<Vec<String>>,
}

/// As they were stored. Limits that cannot be read are not no limits.
pub fn read_limits(stored: &serde_json::Value) -> Refused<KeyLimits> {
    serde_json::from_value(stored.clone()).map_err(|error| refusals::internal(&error))
}

fn token_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b)
}

/// A prefix has to be one that a path which the road accepts can begin with. Paths are compared decoded, so
/// percent-encoding has no place here.
fn good_prefix(text: &str) -> bool {
    text.starts_with('/')
        && text.len() <= LONGEST_PREFIX
        && text.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'?' | b'#' | b'%' | b'\\'))
        && !text.split('/').any(|segment| matches!(segment, "." | ".."))
}

fn network(text: &str) -> Option<IpNet> {
    let text = text.trim();
    text.parse::<IpNet>()
        .ok()
        .or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
        .map(|network| network.trunc())
}

/// Reads one list; an empty one is refused, because it could mean everything or nothing.
fn list<T: PartialEq>(
    name: &str,
    wanted: Option<Vec<String>>,
    errors: &mut Vec<FieldError>,
    what: &str,
    read: impl Fn(&str) -> Option<T>,
) -> Option<Vec<T>> {
    let wanted = wanted?;
    if wanted.is_empty() || wanted.len() > MOST {
        errors.push(FieldError::new(
            format!("/{name}"),
            format!("1 to {MOST} entries; leave it out for no limit"),
        ));
    }
    let mut found = Vec::with_capacity(wanted.len().min(MOST));
    for (at, text) in wanted.iter().enumerate() {
        match read(text) {
            Some(entry) if found.contains(&entry) => {}
            Some(entry) => found.push(entry),
            None => errors.push(FieldError::new(format!("/{name}/{at}"), what)),
        }
    }
    Some(found)
}

impl WantedLimits {
    /// Everything that is wrong goes into `errors`.
    pub fn read(self, errors: &mut Vec<FieldError>) -> KeyLimits {
        KeyLimits {
            credentials: list(
                "credentials",
                self.credentials,
                errors,
                "not a credential's id (crd_…)",
                |text| text.parse().ok(),
            ),
            operations_only: self.operations_only,
            methods: list("methods", self.methods, errors, "not an HTTP method such as GET", |text| {
                let method = text.trim().to_ascii_uppercase();
                (!method.is_empty() && method.len() <= LONGEST_METHOD && method.bytes().all(token_byte))
                    .then_some(method)
            }),
            path_prefixes: list(
                "path_prefixes",
                self.path_prefixes,
                errors,
                "begins with a slash, as in /v1/invoices, and has no `?`, `#`, `%`, backslash, space or dot segment",
                |text| good_prefix(text).then(|| text.to_owned()),
            ),
            networks: list(
                "networks",
                self.networks,
                errors,
                "not a network such as 192.0.2.0/24 or 2001:db8::/32",
                network,
            ),
            may_act_for: list("may_act_for", self.may_act_for, errors, "not an e-mail address", |text| {
                let mut wrong = Vec::new();
                check_email(text, "", &mut wrong);
                wrong.is_empty().then(|| text.trim().to_owned())
            }),
        }
    }
}

/// What limits calls limits nothing for who calls nothing: somebody would believe in it.
fn limits_of_an_account(limits: &KeyLimits, errors: &mut Vec<FieldError>) {
    for (name, set) in [
        ("credentials", limits.credentials.is_some()),
        ("operations_only", limits.operations_only),
        ("methods", limits.methods.is_some()),
        ("path_prefixes", limits.path_prefixes.is_some()),
        ("may_act_for", limits.may_act_for.is_some()),
    ] {
        if set {
            let detail = "limits calls, and a key of scope manage makes none: leave it out";
            errors.push(FieldError::new(format!("/{name}"), detail));
        }
    }
}

pub struct NewServiceKey {
    pub name: String,
    /// `Manage`: a service account.
    pub scope: KeyScope,
    /// By name; a service account has none.
    pub environment: Option<String>,
    pub limits: WantedLimits,
    pub expires_at: Option<Timestamp>,
}

pub struct ServiceKey {
    pub id: KeyId,
    pub name: String,
    pub scope: KeyScope,
    /// `None`: a service account.
    pub environment: Option<String>,
    /// Its last four characters.
    pub hint: String,
    pub limits: KeyLimits,
    pub created_at: Timestamp,
    pub created_by: String,
    pub expires_at: Option<Timestamp>,
    pub used_at: Option<Timestamp>,
}

pub struct MadeServiceKey {
    pub key: ServiceKey,
    pub secret: ShownOnce,
}

fn view(row: ApiKeyRow, environment: Option<String>) -> Refused<ServiceKey> {
    Ok(ServiceKey {
        id: row.id,
        name: row.name,
        scope: row.scope,
        environment,
        hint: row.hint,
        limits: read_limits(&row.limits)?,
        created_at: row.created_at,
        created_by: row.created_by,
        expires_at: row.expires_at,
        used_at: row.used_at,
    })
}

impl Broker {
    /// Checks and writes a key, under the project's lock; everything that is wrong is told at once.
    pub(crate) async fn insert_service_key(
        &self,
        tx: &mut WriteTx,
        actor: &Actor,
        project: &ProjectId,
        new: NewServiceKey,
    ) -> Refused<MadeServiceKey> {
        let now = self.now();
        let mut errors = Vec::new();
        check_name(&new.name, "/name", &mut errors);
        let limits = new.limits.read(&mut errors);
        check_expiry(new.expires_at, now, &mut errors);
        let environment = match (new.scope, &new.environment) {
            (KeyScope::Call, Some(name)) => {
                let found = environments::by_name(tx, project, name).await.map_err(refusals::store)?;
                if found.is_none() {
                    errors
                        .push(FieldError::new("/environment", "the project has no environment of that name"));
                }
                found
            }
            (KeyScope::Call, None) => {
                let detail =
                    "which of the project's environments the key is for; a key of scope manage has none";
                errors.push(FieldError::new("/environment", detail));
                None
            }
            (KeyScope::Manage, Some(_)) => {
                let detail = "a key of scope manage is for the whole project: leave it out";
                errors.push(FieldError::new("/environment", detail));
                None
            }
            (KeyScope::Manage, None) => None,
        };
        if new.scope == KeyScope::Manage {
            limits_of_an_account(&limits, &mut errors);
        }
        for id in limits.credentials.iter().flatten() {
            let share = shares::in_project(tx, project, id.as_str()).await.map_err(refusals::store)?;
            if share.is_none_or(|share| &share.credential_id != id) {
                errors.push(FieldError::new("/credentials", format!("{id} is not shared with the project")));
            }
        }
        for email in limits.may_act_for.iter().flatten() {
            let user = users::by_email(tx, email).await.map_err(refusals::store)?;
            let role = match &user {
                Some(user) => members::role(tx, project, &user.id).await.map_err(refusals::store)?,
                None => None,
            };
            if role.is_none() {
                errors.push(FieldError::new("/may_act_for", format!("{email} is no member of the project")));
            }
        }
        if !errors.is_empty() {
            return Err(Problem::invalid(errors).into());
        }
        let belongs = match &environment {
            Some(environment) => {
                KeyBelongs::Service { project_id: project.clone(), environment_id: environment.id.clone() }
            }
            None => KeyBelongs::Account { project_id: project.clone() },
        };
        let environment = environment.map(|found| found.name);
        let secret = random::new_key(self.parts.entropy.as_ref());
        let row = ApiKeyRow {
            id: KeyId::new(now, self.parts.entropy.as_ref()),
            belongs,
            name: new.name.trim().to_owned(),
            scope: new.scope,
            hint: random::hint(&secret),
            limits: serde_json::to_value(&limits).map_err(|error| refusals::internal(&error))?,
            created_by: actor.signature(),
            created_at: now,
            expires_at: new.expires_at,
            used_at: None,
            ended_at: None,
        };
        api_keys::create(tx, &row, &random::hash(secret.expose())).await.map_err(refusals::store)?;
        let mut event = Event::new("key.create").project(project).target(row.id.as_str());
        event.environment.clone_from(&environment);
        let event = event.detail("name", row.name.as_str()).detail("scope", row.scope.as_str());
        self.record(tx, actor, event.detail("limits", row.limits.clone())).await?;
        Ok(MadeServiceKey { key: view(row, environment)?, secret: ShownOnce(secret) })
    }

    pub async fn create_service_key(
        &self,
        actor: &Actor,
        project: &str,
        new: NewServiceKey,
    ) -> Refused<MadeServiceKey> {
        access::not_an_account(actor)?;
        // The right before the sign-in: who may not is told that.
        {
            let mut reader = self.parts.store.read().await.map_err(refusals::store)?;
            access::member(&mut reader, actor, project, Operation::ServiceKeyCreate).await?;
        }
        self.recent(actor, Deed::MakeKey).await?;
        self.unfrozen(actor)?;
        let (mut tx, found) = self.write_in_project(actor, project, Operation::ServiceKeyCreate, &[]).await?;
        let made = self.insert_service_key(&mut tx, actor, &found.project.id, new).await?;
        tx.commit().await.map_err(refusals::store)?;
        Ok(made)
    }

    pub async fn service_keys(
        &self,
        actor: &Actor,
        project: &str,
        paging: &Paging,
    ) -> Refused<Page<ServiceKey>> {
        let mut tx = self.parts.store.begin_read().await.map_err(refusals::store)?;
        let found = access::member(&mut tx, actor, project, Operation::ServiceKeysList).await?;
        let names = environments::list(&mut tx, &found.project.id).await.map_err(refusals::store)?;
        let page =
            api_keys::list_of_project(&mut tx, &found.project.id, paging).await.map_err(refusals::store)?;
        let mut items = Vec::with_capacity(page.items.len());
        for row in page.items {
            let name = match &row.belongs {
                KeyBelongs::Personal { .. } => continue,
                KeyBelongs::Account { .. } => None,
                KeyBelongs::Service { environment_id, .. } => {
                    let found = names.iter().find(|known| &known.id == environment_id);
                    Some(found.map(|known| known.name.clone()).unwrap_or_default())
                }
            };
            items.push(view(row, name)?);
        }
        Ok(Page { items, next_cursor: page.next_cursor })
    }

    pub async fn end_service_key(&self, actor: &Actor, project: &str, id: &str) -> Refused<()> {
        let unknown = || refusals::not_found("The project has no such key.");
        // A service account ends no key but itself.
        if !matches!(&actor.who, Who::Account { key, .. } if key.as_str() == id) {
            access::not_an_account(actor)?;
        }
        let (mut tx, found) = self.write_in_project(actor, project, Operation::ServiceKeyEnd, &[]).await?;
        let id: KeyId = id.parse().map_err(|_| unknown())?;
        if !api_keys::end_of_project(&mut tx, &found.project.id, &id, self.now())
            .await
            .map_err(refusals::store)?
        {
            return Err(unknown());
        }
        self.record(&mut tx, actor, Event::new("key.delete").project(&found.project.id).target(id.as_str()))
            .await?;
        tx.commit().await.map_err(refusals::store)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn texts(list: &[&str]) -> Option<Vec<String>> {
        Some(list.iter().map(|text| (*text).to_owned()).collect())
    }

    #[test]
    fn everything_wrong_is_said_at_once() {
        let wanted = WantedLimits {
            credentials: texts(&["crd_", "crd_0000000001zzzzzzzzzzzzzzzz"]),
            methods: texts(&["get", "GET", "G T", ""]),
            path_prefixes: texts(&["/v1", "v1", "/a/../b", "/a?b", "/a\\b", "/%61", "/ä"]),
            networks: texts(&["10.1.2.3/8", "192.0.2.7", "10.0.0.0/33", "everywhere"]),
            may_act_for: texts(&[]),
            ..WantedLimits::default()
        };
        let mut errors = Vec::new();
        let limits = wanted.read(&mut errors);
        let pointers: Vec<&str> = errors.iter().map(|error| error.pointer.as_str()).collect();
        let paths = [
            "/path_prefixes/1",
            "/path_prefixes/2",
            "/path_prefixes/3",
            "/path_prefixes/4",
            "/path_prefixes/5",
            "/path_prefixes/6",
        ];
        let mut expected = vec!["/credentials/0", "/methods/2", "/methods/3"];
        expected.extend(paths);
        expected.extend(["/networks/2", "/networks/3", "/may_act_for"]);
        assert_eq!(pointers, expected);
        assert_eq!(limits.methods.unwrap(), ["GET"]);
        assert_eq!(
            limits.networks.unwrap().iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["10.0.0.0/8", "192.0.2.7/32"]
        );
    }

    #[test]
    fn limits_that_cannot_be_read_are_no_free_pass() {
        assert!(read_limits(&serde_json::json!({"networks": ["x"]})).is_err());
        assert_eq!(read_limits(&serde_json::json!({})).unwrap(), KeyLimits::default());
        let mut errors = Vec::new();
        let limits = WantedLimits {
            networks: texts(&["10.0.0.0/8"]),
            operations_only: true,
            ..WantedLimits::default()
        }
        .read(&mut errors);
        assert!(errors.is_empty());
        assert_eq!(read_limits(&serde_json::to_value(&limits).unwrap()).unwrap(), limits);
    }
}
