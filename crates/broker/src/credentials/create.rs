//! Making a credential: checked, verified by a dry request in every context that it is granted to, then saved
//! whole. One environment that fails saves none.

use std::collections::BTreeSet;
use std::sync::Arc;

use latchstring_connectors::{AuthMethod, Definition, Values};
use latchstring_model::entity::{Principal, Role, Status};
use latchstring_model::id::{CredentialId, ProjectId};
use latchstring_model::problem::Refused;
use latchstring_model::{Code, FieldError, Pin, Problem, Timestamp};
use latchstring_store::credentials::{self as rows, CredentialRow};
use latchstring_store::tokens::{self, TokenKey};
use latchstring_store::values::{self, Standing, ValuesRow};
use latchstring_store::{WriteTx, projects};

use super::input::{NewCredential, Verify, escape};
use super::sharing::{self, Placed};
use super::verify::{Staged, Trial, Tried};
use super::view::{Sight, View};
use crate::actor::Actor;
use crate::audit::Event;
use crate::catalog::Found;
use crate::road::authorise::{self, EnvironmentAt, ProjectAt};
use crate::road::materials::{Materials, Names};
use crate::sealing::values_aad;
use crate::{Broker, refusals};

/// One environment's values, checked and perhaps tried.
pub(super) struct Ready {
    pub environment: String,
    pub values: Values,
    pub secret_fields: Vec<String>,
    pub tried: Tried,
    pub staged: Vec<Staged>,
}

/// Fields that are secret: those that the definition says, those it does not know, and those that once were.
pub(super) fn secret_fields(method: &AuthMethod, values: &Values, before: &[String]) -> Vec<String> {
    let mut names: Vec<String> = values
        .names()
        .filter(|name| {
            method.field(name).is_none_or(|field| field.secret) || before.iter().any(|known| known == name)
        })
        .map(str::to_owned)
        .collect();
    names.sort();
    names
}

pub(super) fn unknown_connector(named: &str, nearest: Option<&str>) -> Box<Problem> {
    let detail = match nearest {
        Some(nearest) => format!("there is no connector `{named}`; did you mean `{nearest}`?"),
        None => format!("there is no connector `{named}`"),
    };
    let problem = Problem::invalid(vec![FieldError::new("/connector", detail)])
        .hint("GET /api/v1/connectors lists them; `http` serves any API that has none yet.");
    Box::new(problem)
}

impl Broker {
    pub(super) async fn wanted_connector(
        &self,
        tx: &mut impl latchstring_store::Tx,
        projects: &[ProjectId],
        named: &str,
    ) -> Refused<Found> {
        if let Some(found) = self.definition_named(tx, projects, named).await? {
            return Ok(found);
        }
        let nearest = self
            .catalog
            .all_builtin()
            .iter()
            .map(|definition| definition.id.as_str())
            .filter(|id| close(id, named))
            .min_by_key(|id| id.len().abs_diff(named.len()));
        Err(unknown_connector(named, nearest))
    }

    pub async fn create_credential(&self, actor: &Actor, new: NewCredential) -> Refused<View> {
        let person = actor.manager()?.clone();
        let errors = new.check();
        if !errors.is_empty() {
            return Err(Problem::invalid(errors).into());
        }
        let environments: BTreeSet<String> = new.values.keys().cloned().collect();
        let mut tx = self.parts.store.begin_read().await.map_err(refusals::store)?;
        let placed = sharing::place(&mut tx, &person, &new.name, &new.shares, &environments).await?;
        let owner = self.owner_of(&mut tx, actor, new.owner_project.as_deref()).await?;
        let project_ids: Vec<ProjectId> =
            placed.iter().map(|place| place.member.project.id.clone()).collect();
        let found = self.wanted_connector(&mut tx, &project_ids, &new.connector).await?;
        let method = self.wanted_method(&found.definition, &new.auth_method)?.clone();
        let checked = check_values(&found.definition, &method, &new.values)?;
        let id = CredentialId::new(self.now(), &*self.parts.entropy);
        let contexts = self.contexts(&mut tx, &placed).await?;
        drop(tx);

        let mut ready = Vec::with_capacity(checked.len());
        for (environment, values) in checked {
            let fields = secret_fields(&method, &values, &[]);
            let one = self
                .try_environment(
                    actor,
                    &id,
                    &found.definition,
                    &method,
                    environment,
                    values,
                    1,
                    &contexts,
                    &placed,
                    new.verify,
                )
                .await?;
            ready.push(Ready { secret_fields: fields, ..one });
        }

        let now = self.now();
        let row = CredentialRow {
            id: id.clone(),
            owner: owner.clone(),
            connector: found.uid.clone(),
            auth_method: method.id.clone(),
            digest: found.definition.digest().to_owned(),
            oauth_client_id: None,
            name: new.name.trim().to_owned(),
            note: new.note,
            acts_as: new.acts_as,
            disabled: false,
            expires_on: None,
            deletes_at: None,
            version: 1,
            created_by: actor.signature(),
            created_at: now,
            updated_at: now,
        };
        let mut scopes: Vec<&str> = project_ids.iter().map(ProjectId::as_str).collect();
        scopes.extend([id.as_str(), owner.id()]);
        let mut tx = self.parts.store.begin_write(&scopes).await.map_err(refusals::store)?;
        rows::create(&mut tx, &row).await.map_err(refusals::store)?;
        for one in &ready {
            self.put_values(&mut tx, actor, &row, one, 1, None, now).await?;
        }
        for place in &placed {
            // The role may have changed while the API was asked.
            let member = projects::for_member(&mut tx, &person.id, place.member.project.id.as_str())
                .await
                .map_err(refusals::store)?;
            if member.is_none_or(|member| member.role < Role::Editor) {
                return Err(Problem::new(
                    Code::Forbidden,
                    format!("You may not share with {} any more.", place.member.project.slug),
                )
                .hint("Ask an admin of the project.")
                .into());
            }
            self.put_share(&mut tx, actor, &id, place, new.external_id.as_deref(), None).await?;
        }
        let view = self.credential_view(&mut tx, row.clone(), Sight::Owner { with_fields: true }).await?;
        let mut events = vec![created(&row, &ready)];
        for place in &placed {
            events.push(
                Event::new("credential.share")
                    .project(&place.member.project.id)
                    .credential(&id)
                    .target(row.name.clone())
                    .detail(
                        "grants",
                        serde_json::json!(
                            place
                                .grants
                                .iter()
                                .map(|(theirs, ours)| (theirs.name.clone(), ours.clone()))
                                .collect::<std::collections::BTreeMap<_, _>>()
                        ),
                    ),
            );
        }
        self.record_all(&mut tx, actor, events).await?;
        tx.commit().await.map_err(refusals::store)?;
        Ok(view)
    }

    async fn owner_of(
        &self,
        tx: &mut impl latchstring_store::Tx,
        actor: &Actor,
        project: Option<&str>,
    ) -> Refused<Principal> {
        match project {
            None => Ok(Principal::User(actor.manager()?.id.clone())),
            Some(name) => {
                let member = crate::projects::access::member(tx, actor, name, Role::Admin).await?;
                Ok(Principal::Project(member.project.id))
            }
        }
    }

    pub(super) fn wanted_method<'d>(
        &self,
        definition: &'d Definition,
        named: &str,
    ) -> Refused<&'d AuthMethod> {
        definition.method(named).ok_or_else(|| {
            let list: Vec<&str> = definition.auth_methods.iter().map(|method| method.id.as_str()).collect();
            Problem::invalid(vec![FieldError::new(
                "/auth_method",
                format!("{} has no auth method `{named}`; it has {}", definition.name, list.join(", ")),
            )])
            .into()
        })
    }

    /// The context of every project environment that a share grants something to.
    pub(super) async fn contexts(
        &self,
        tx: &mut impl latchstring_store::Tx,
        placed: &[Placed],
    ) -> Refused<Vec<(usize, usize, Arc<Names>)>> {
        let mut contexts = Vec::new();
        let ticket = authorise::owner_opens();
        for (i, place) in placed.iter().enumerate() {
            for (j, (environment, _)) in place.grants.iter().enumerate() {
                let names = self.names(tx, &ticket, &place.member.project.id, &environment.id).await?;
                contexts.push((i, j, Arc::new(names)));
            }
        }
        Ok(contexts)
    }

    /// Tries one environment's values in every context that they are granted to, or once without a project.
    #[allow(clippy::too_many_arguments, reason = "the parts of one use case, each looked up before")]
    pub(super) async fn try_environment(
        &self,
        actor: &Actor,
        id: &CredentialId,
        definition: &Arc<Definition>,
        method: &AuthMethod,
        environment: String,
        values: Values,
        version: i64,
        contexts: &[(usize, usize, Arc<Names>)],
        placed: &[Placed],
        verify: Verify,
    ) -> Refused<Ready> {
        let person = actor.manager()?;
        let mut pins: Vec<Pin> = Vec::new();
        let mut staged: Vec<Staged> = Vec::new();
        let mut last: Option<Tried> = None;
        let granted: Vec<_> = contexts
            .iter()
            .filter_map(|(i, j, names)| {
                let place = placed.get(*i)?;
                let (theirs, ours) = place.grants.get(*j)?;
                (*ours == environment).then_some((place, theirs, names))
            })
            .collect();
        // Where nothing of a context is read, asking once is enough for all of them.
        let mut seen = BTreeSet::new();
        let bare = Arc::new(Names::default());
        let mut runs: Vec<(Option<ProjectAt>, Materials)> = Vec::new();
        for (place, theirs, names) in &granted {
            let project = ProjectAt {
                id: place.member.project.id.clone(),
                slug: place.member.project.slug.clone(),
                name: place.member.project.name.clone(),
            };
            let at = EnvironmentAt { id: theirs.id.clone(), name: theirs.name.clone() };
            let materials =
                Materials::new(Arc::clone(definition), &method.id, values.clone(), Arc::clone(names))
                    .for_caller(Some(person), &project, &at);
            let rendered = materials.resolve(None, self.now(), &*self.parts.entropy)?;
            let print = if rendered.uses.time {
                format!("{}/{}", project.id, at.id)
            } else {
                rendered.uses.fingerprint(id.as_str().as_bytes())
            };
            if seen.insert(print) {
                runs.push((Some(project), materials));
            }
        }
        if runs.is_empty() {
            let mut materials = Materials::new(Arc::clone(definition), &method.id, values.clone(), bare);
            materials.user = Some(crate::road::materials::user_context(person));
            runs.push((None, materials));
        }
        for (project, materials) in &runs {
            let trial = Trial {
                actor,
                credential: id,
                environment: &environment,
                values_version: version,
                project: project.as_ref(),
                materials,
                ask: verify == Verify::Required,
            };
            let mut tried = self.try_values(&trial).await?;
            for pin in tried.pins.drain(..) {
                if !pins.contains(&pin) {
                    pins.push(pin);
                }
            }
            if let Some(one) = tried.staged.take()
                && staged.iter().all(|other| other.id != one.id)
            {
                staged.push(one);
            }
            last = Some(tried);
        }
        let Some(mut tried) = last else { return Err(refusals::internal(&"values were not tried")) };
        tried.pins = pins;
        if method.scheme.ty.needs_consent() {
            tried.status = Status::NeedsAuthorization;
        }
        Ok(Ready { environment, values, secret_fields: Vec::new(), tried, staged })
    }

    /// Seals and writes one environment's values, and the tokens that verification obtained.
    #[allow(clippy::too_many_arguments, reason = "the parts of one use case, each looked up before")]
    pub(super) async fn put_values(
        &self,
        tx: &mut WriteTx,
        actor: &Actor,
        row: &CredentialRow,
        ready: &Ready,
        version: i64,
        expected: Option<(i64, &[String])>,
        now: Timestamp,
    ) -> Refused<()> {
        let aad = values_aad(&row.id, &row.owner, &ready.environment, version);
        let sealed = self.seal_json(&aad, &ready.values.to_json())?;
        let asked = ready.tried.status == Status::Verified;
        let values = ValuesRow {
            environment: ready.environment.clone(),
            version,
            sealed: sealed.bytes,
            data_key: sealed.data_key,
            secret_fields: ready.secret_fields.clone(),
            pins: ready.tried.pins.clone(),
            standing: Standing {
                status: ready.tried.status,
                verified_at: asked.then_some(ready.tried.checked_at),
                checked_at: asked.then_some(ready.tried.checked_at),
                check_error: None,
                account: ready.tried.account.clone(),
                scopes: None,
            },
            set_by: actor.signature(),
            set_at: now,
        };
        let all: Vec<String> = ready.values.names().map(str::to_owned).collect();
        let (expected, changed) = match expected {
            Some((version, changed)) => (Some(version), changed.to_vec()),
            None => (None, all),
        };
        values::put(tx, row, &values, expected, &changed).await.map_err(refusals::store)?;
        for staged in &ready.staged {
            let key = TokenKey {
                id: staged.id.clone(),
                credential_id: row.id.clone(),
                environment: ready.environment.clone(),
                values_version: version,
                name: "default".into(),
            };
            tokens::ensure(tx, &key).await.map_err(refusals::store)?;
            let new = self.sealed_token(&key, &staged.set, 1, staged.margin_ms).map_err(refusals::store)?;
            tokens::save(tx, &key.id, 0, &new).await.map_err(refusals::store)?;
        }
        Ok(())
    }
}

fn created(row: &CredentialRow, ready: &[Ready]) -> Event {
    let mut environments = serde_json::Map::new();
    for one in ready {
        environments.insert(
            one.environment.clone(),
            serde_json::json!({
                "status": one.tried.status.as_str(),
                "fields": one.values.names().collect::<Vec<_>>(),
                "destinations": one.tried.pins.iter().map(|pin| format!("{}{}", pin.origin, pin.prefix)).collect::<Vec<_>>(),
            }),
        );
    }
    Event::new("credential.create")
        .credential(&row.id)
        .target(row.name.clone())
        .detail("connector", row.connector.as_str())
        .detail("environments", environments)
}

/// All environments' values against the fields; all errors at once.
pub(super) fn check_values(
    definition: &Definition,
    method: &AuthMethod,
    given: &std::collections::BTreeMap<String, serde_json::Map<String, serde_json::Value>>,
) -> Refused<Vec<(String, Values)>> {
    let mut errors = Vec::new();
    let mut checked = Vec::new();
    for (environment, values) in given {
        match definition.check_values(method, values) {
            Ok(values) => checked.push((environment.clone(), values)),
            Err(wrong) => errors.extend(wrong.into_iter().map(|error| {
                FieldError::new(format!("/values/{}{}", escape(environment), error.pointer), error.detail)
            })),
        }
    }
    if errors.is_empty() { Ok(checked) } else { Err(Problem::invalid(errors).into()) }
}

/// Close enough to have been meant: one contains the other, or they begin alike.
fn close(id: &str, named: &str) -> bool {
    let named = named.to_ascii_lowercase();
    id.contains(&named)
        || named.contains(id)
        || (named.len() >= 3 && id.starts_with(named.get(..3).unwrap_or("\0")))
}
