//! Secrets and variables of a project's environment, for templates. Both are sealed; a variable's value is
//! shown to the project's members, a secret's to nobody.

use latchstring_model::entity::valid_secret_name;
use latchstring_model::id::ProjectId;
use latchstring_model::problem::Refused;
use latchstring_model::{FieldError, Problem, SecretString, Timestamp};
use latchstring_store::applied::forget;
use latchstring_store::environments::EnvironmentRow;
use latchstring_store::secrets::{self, SecretRow};

use crate::actor::Actor;
use crate::audit::Event;
use crate::people::{Page, Paging};
use crate::permissions::Operation;
use crate::projects::{access, applied};
use crate::road::authorise;
use crate::sealing::secret_aad;
use crate::{Broker, refusals};

pub use latchstring_store::secrets::SecretKind;

/// Bytes of one value: 64 KiB.
pub const LONGEST_VALUE: usize = 64 * 1024;
/// Secrets, and variables, of one environment.
pub const MOST: usize = 1_000;
/// Hosts that a secret may be limited to.
const MOST_HOSTS: usize = 50;

pub struct NewValue {
    pub value: SecretString,
    /// Where a template may send it (`api.example.org`, `*.example.org`); empty: wherever.
    pub hosts: Vec<String>,
}

pub struct Value {
    pub name: String,
    pub hosts: Vec<String>,
    pub set_at: Timestamp,
    /// The id of the person.
    pub set_by: String,
    /// A variable's value; a secret has none to show.
    pub value: Option<String>,
}

/// `api.example.org`, `*.example.org`, an IP address; lower-case ASCII, no port: a pin has the port.
fn good_host(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    if bare.parse::<std::net::IpAddr>().is_ok() {
        return true;
    }
    let name = host.strip_prefix("*.").unwrap_or(host);
    name.len() <= 253
        && !name.is_empty()
        && name.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        })
}

fn check(new: &NewValue, name: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if !valid_secret_name(name) {
        errors.push(FieldError::new(
            "",
            "the name has 1 to 128 letters, digits and underscores and does not begin with a digit",
        ));
    }
    if new.value.len() > LONGEST_VALUE {
        errors.push(FieldError::new("/value", format!("at most {LONGEST_VALUE} bytes")));
    }
    if new.hosts.len() > MOST_HOSTS {
        errors.push(FieldError::new("/hosts", format!("at most {MOST_HOSTS} hosts")));
    }
    for (at, host) in new.hosts.iter().enumerate() {
        if !good_host(host) {
            errors.push(FieldError::new(
                format!("/hosts/{at}"),
                "a host such as api.example.org or *.example.org, without scheme, port and path",
            ));
        }
    }
    errors
}

fn unknown(kind: SecretKind) -> Box<Problem> {
    refusals::not_found(match kind {
        SecretKind::Secret => "The environment has no secret of that name.",
        SecretKind::Variable => "The environment has no variable of that name.",
    })
}

fn set_action(kind: SecretKind) -> &'static str {
    match kind {
        SecretKind::Secret => "secret.set",
        SecretKind::Variable => "variable.set",
    }
}

fn delete_action(kind: SecretKind) -> &'static str {
    match kind {
        SecretKind::Secret => "secret.delete",
        SecretKind::Variable => "variable.delete",
    }
}

fn look_operation(kind: SecretKind) -> Operation {
    match kind {
        SecretKind::Secret => Operation::SecretsList,
        SecretKind::Variable => Operation::VariablesList,
    }
}

fn set_operation(kind: SecretKind) -> Operation {
    match kind {
        SecretKind::Secret => Operation::SecretSet,
        SecretKind::Variable => Operation::VariableSet,
    }
}

fn delete_operation(kind: SecretKind) -> Operation {
    match kind {
        SecretKind::Secret => Operation::SecretDelete,
        SecretKind::Variable => Operation::VariableDelete,
    }
}

impl Broker {
    pub async fn set_value(
        &self,
        actor: &Actor,
        project: &str,
        environment: &str,
        kind: SecretKind,
        name: &str,
        new: NewValue,
    ) -> Refused<()> {
        let errors = check(&new, name);
        let (mut tx, found) = self.write_in_project(actor, project, set_operation(kind), &[]).await?;
        let project = &found.project.id;
        let environment = access::environment(&mut tx, project, environment).await?;
        if !errors.is_empty() {
            return Err(Problem::invalid(errors).into());
        }
        let before =
            secrets::one(&mut tx, project, &environment.id, kind, name).await.map_err(refusals::store)?;
        if before.is_none()
            && secrets::list(&mut tx, project, &environment.id, kind).await.map_err(refusals::store)?.len()
                >= MOST
        {
            return Err(refusals::limit_reached(
                MOST as i64,
                format!("The environment has {MOST} of them already."),
                "Delete those that nothing uses.",
            ));
        }
        let now = self.now();
        // Also grows over a deletion: a ciphertext that was kept aside never fits a later value's place.
        let version = before.as_ref().map_or(0, |row| row.version.saturating_add(1)).max(now.millis());
        let aad = secret_aad(project, &environment.id, kind, name, version);
        let sealed = self
            .parts
            .vault
            .seal(&aad, new.value.expose().as_bytes(), self.parts.entropy.as_ref())
            .map_err(|error| refusals::internal(&error))?;
        let row = SecretRow {
            kind,
            name: name.to_owned(),
            version,
            sealed: sealed.bytes,
            data_key: sealed.data_key,
            hosts: new.hosts,
            set_by: actor.signature(),
            set_at: now,
        };
        let event = Event::new(set_action(kind)).project(project).environment(environment.name).target(name);
        let mut event = event.detail("version", version).detail("existed_before", before.is_some());
        if let Some(before) = &before {
            event = event.detail("hosts_before", before.hosts.clone());
        }
        secrets::put(&mut tx, project, &environment.id, &row, before.map(|row| row.version))
            .await
            .map_err(refusals::store)?;
        self.record(&mut tx, actor, event.detail("hosts", row.hosts)).await?;
        tx.commit().await.map_err(refusals::store)?;
        Ok(())
    }

    /// By name.
    pub async fn values(
        &self,
        actor: &Actor,
        project: &str,
        environment: &str,
        kind: SecretKind,
        cursor: Option<&str>,
        limit: u32,
    ) -> Refused<Page<Value>> {
        let mut tx = self.parts.store.begin_read().await.map_err(refusals::store)?;
        let found = access::member(&mut tx, actor, project, look_operation(kind)).await?;
        let project = found.project.id;
        let environment = access::environment(&mut tx, &project, environment).await?;
        let rows = secrets::list(&mut tx, &project, &environment.id, kind).await.map_err(refusals::store)?;
        drop(tx);
        let limit = usize::try_from(limit.clamp(1, Paging::MAX_LIMIT)).unwrap_or(1);
        let mut rest = rows.into_iter().filter(|row| cursor.is_none_or(|after| row.name.as_str() > after));
        let mut items = Vec::with_capacity(limit);
        for row in rest.by_ref().take(limit) {
            items.push(self.show(&project, &environment, row)?);
        }
        let next_cursor =
            if rest.next().is_some() { items.last().map(|item| item.name.clone()) } else { None };
        Ok(Page { items, next_cursor })
    }

    pub async fn value(
        &self,
        actor: &Actor,
        project: &str,
        environment: &str,
        kind: SecretKind,
        name: &str,
    ) -> Refused<Value> {
        let mut tx = self.parts.store.begin_read().await.map_err(refusals::store)?;
        let found = access::member(&mut tx, actor, project, look_operation(kind)).await?;
        let project = found.project.id;
        let environment = access::environment(&mut tx, &project, environment).await?;
        let row =
            secrets::one(&mut tx, &project, &environment.id, kind, name).await.map_err(refusals::store)?;
        drop(tx);
        self.show(&project, &environment, row.ok_or_else(|| unknown(kind))?)
    }

    fn show(&self, project: &ProjectId, environment: &EnvironmentRow, row: SecretRow) -> Refused<Value> {
        let value = match row.kind {
            SecretKind::Secret => None,
            SecretKind::Variable => {
                let aad = secret_aad(project, &environment.id, row.kind, &row.name, row.version);
                let opened = self
                    .parts
                    .vault
                    .open(&authorise::owner_opens(), &aad, &row.sealed)
                    .map_err(|error| refusals::internal(&error))?;
                Some(String::from_utf8_lossy(opened.expose()).into_owned())
            }
        };
        Ok(Value { name: row.name, hosts: row.hosts, set_at: row.set_at, set_by: row.set_by, value })
    }

    pub async fn delete_value(
        &self,
        actor: &Actor,
        project: &str,
        environment: &str,
        kind: SecretKind,
        name: &str,
    ) -> Refused<()> {
        let (mut tx, found) = self.write_in_project(actor, project, delete_operation(kind), &[]).await?;
        let project = &found.project.id;
        let environment = access::environment(&mut tx, project, environment).await?;
        if !secrets::delete(&mut tx, project, &environment.id, kind, name).await.map_err(refusals::store)? {
            return Err(unknown(kind));
        }
        let mark = applied::value(kind, &environment.name, name);
        forget(&mut tx, project, &mark).await.map_err(refusals::store)?;
        self.record(
            &mut tx,
            actor,
            Event::new(delete_action(kind)).project(project).environment(environment.name).target(name),
        )
        .await?;
        tx.commit().await.map_err(refusals::store)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        for good in [
            "api.example.org",
            "*.example.org",
            "localhost",
            "192.0.2.1",
            "[2001:db8::1]",
            "2001:db8::1",
            "xn--bcher-kva.example",
        ] {
            assert!(good_host(good), "{good}");
        }
        for bad in [
            "",
            "*",
            "*.",
            "https://a.b",
            "a.b/c",
            "a.b:443",
            "A.b",
            "a..b",
            "-a.b",
            "a.*.b",
            "bücher.example",
        ] {
            assert!(!good_host(bad), "{bad}");
        }
    }
}
