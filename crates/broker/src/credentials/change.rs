//! Changing a credential: what changed is tried first, with the merged values, in the contexts of the grants as
//! they will be; then everything is saved in one transaction, or nothing.
//!
//! One engine for three use cases: an edit, going back to an older version, and the owner's approval of a
//! connector that was changed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use latchstring_connectors::{AuthMethod, Definition, OAuthClient, Values};
use latchstring_model::problem::Refused;
use latchstring_model::{Code, FieldError, Origin, Pin, Problem};
use latchstring_store::credentials::{self as rows, CredentialRow};
use latchstring_store::shares::{self, ShareWithGrants};
use latchstring_store::values::{self, Standing, ValuesRow};
use latchstring_store::{StoreError, WriteTx, tokens};
use serde_json::{Map, Value, json};

use super::access::owned;
use super::attempt::{Attempt, Outcome, Place};
use super::check::for_owner;
use super::destinations::{origins, shown_pins};
use super::input::{CredentialChange, escape};
use super::save::{self, Ready, nothing_saved, told};
use super::sharing::{self, Placed, Wanted};
use super::verify::Granted;
use super::view::{Sight, View};
use super::withheld::{held_to, still_withheld};
use crate::actor::Actor;
use crate::audit::Event;
use crate::catalog::Found;
use crate::people::me::same_version;
use crate::permissions::Operation;
use crate::road::route::connector_changed;
use crate::{Broker, refusals};

/// A change in the form that the engine takes.
pub(super) struct Edit {
    pub operation: Operation,
    pub change: CredentialChange,
    /// One environment's values as a whole, with the secret names that they had.
    pub replace: Option<Replace>,
    /// The owner accepts the connector as it is now: everything is tried anew.
    pub approve: bool,
    /// Further members of the event's detail.
    pub note: Map<String, Value>,
}

impl Default for Edit {
    fn default() -> Self {
        Self {
            operation: Operation::CredentialChange,
            change: CredentialChange::default(),
            replace: None,
            approve: false,
            note: Map::new(),
        }
    }
}

pub(super) struct Replace {
    pub environment: String,
    pub values: Map<String, Value>,
    pub secret_fields: Vec<String>,
    pub withheld: Vec<String>,
}

/// Where values may be sent, before and after.
#[derive(Clone, Debug, Default)]
pub struct Destinations {
    pub digest: String,
    /// By environment.
    pub destinations: BTreeMap<String, Vec<String>>,
}

/// What the owner approves.
pub struct Approval {
    /// `None`: this was a look, and nothing was saved.
    pub saved: Option<View>,
    pub changed: bool,
    pub before: Destinations,
    pub after: Destinations,
}

/// What happens to one environment.
enum Step {
    /// New values.
    Put {
        ready: Ready,
        expected: Option<i64>,
        changed: Vec<String>,
        /// Names of the fields that were set.
        before: Vec<String>,
    },
    /// The same values in other contexts, or for another definition: new pins, perhaps a new standing.
    Pin {
        environment: String,
        version: i64,
        outcome: Outcome,
        pins: Vec<Pin>,
        anew: bool,
    },
    Remove {
        environment: String,
    },
}

impl Step {
    fn environment(&self) -> &str {
        match self {
            Step::Put { ready, .. } => &ready.environment,
            Step::Pin { environment, .. } | Step::Remove { environment } => environment,
        }
    }

    fn pins(&self) -> &[Pin] {
        match self {
            Step::Put { ready, .. } => &ready.outcome.tried.pins,
            Step::Pin { pins, .. } => pins,
            Step::Remove { .. } => &[],
        }
    }
}

pub(crate) fn scheduled() -> Box<Problem> {
    Problem::new(Code::CredentialDisabled, "The credential is going to be deleted.")
        .hint("Restore it first: POST /api/v1/credentials/{id}/restore.")
        .into()
}

/// Names whose value is not the same in both.
fn differing(before: &Map<String, Value>, after: &Map<String, Value>) -> Vec<String> {
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    names.into_iter().filter(|name| before.get(*name) != after.get(*name)).cloned().collect()
}

fn merged(base: &Map<String, Value>, given: &Map<String, Value>) -> Map<String, Value> {
    let mut merged = base.clone();
    for (name, value) in given {
        if value.is_null() {
            merged.remove(name);
        } else {
            merged.insert(name.clone(), value.clone());
        }
    }
    merged
}

/// Everything about a credential that a change may touch, of one moment.
struct Loaded {
    row: CredentialRow,
    values: Vec<ValuesRow>,
    shares: Vec<ShareWithGrants>,
    /// The highest number that an environment's values ever had.
    latest: BTreeMap<String, i64>,
    found: Found,
    method: AuthMethod,
    /// For methods that need consent.
    client: Option<Arc<OAuthClient>>,
    /// The connector is not what the owner approved.
    moved: bool,
}

impl Loaded {
    fn current(&self, environment: &str) -> Option<&ValuesRow> {
        self.values.iter().find(|values| values.environment == environment)
    }

    fn next_version(&self, environment: &str) -> i64 {
        self.latest.get(environment).copied().unwrap_or(0) + 1
    }
}

impl Broker {
    /// What a PATCH does.
    pub async fn change_credential(
        self: &Arc<Self>,
        actor: &Actor,
        id: &str,
        change: CredentialChange,
        if_match: Option<i64>,
    ) -> Refused<View> {
        if let Some(client) = change.oauth_client.clone() {
            return self.change_client(actor, id, &change, &client, if_match).await;
        }
        Box::pin(self.edit(actor, id, Edit { change, ..Edit::default() }, if_match)).await
    }

    /// The owner looks at a changed connector (`save: false`), or accepts it: every environment is verified for
    /// where its values would go now. `digest`: what the owner has looked at.
    pub async fn approve_connector(
        self: &Arc<Self>,
        actor: &Actor,
        id: &str,
        change: CredentialChange,
        digest: Option<&str>,
        save: bool,
    ) -> Refused<Approval> {
        let operation = Operation::CredentialApprove;
        self.unfrozen(actor)?;
        let loaded = self.load_for_change(actor, id, operation).await?;
        let now = loaded.found.definition.digest().to_owned();
        if digest.is_some_and(|looked_at| looked_at != now) {
            return Err(Problem::new(
                Code::PreconditionFailed,
                "The connector was changed once more since you looked.",
            )
            .hint("Look at what it is now (`\"preview\": true`), then approve that digest.")
            .with("digest", now.into())
            .into());
        }
        let mut approval = Approval {
            saved: None,
            changed: loaded.moved,
            before: Destinations { digest: loaded.row.digest.clone(), ..Destinations::default() },
            after: Destinations { digest: now, ..Destinations::default() },
        };
        for values in &loaded.values {
            approval
                .before
                .destinations
                .insert(values.environment.clone(), shown_pins(&values.pins, &values.withheld));
        }
        if !save {
            for values in &loaded.values {
                let would = self.would_pin(actor, &loaded, values)?;
                approval.after.destinations.insert(values.environment.clone(), would);
            }
            return Ok(approval);
        }
        let mut note = Map::new();
        note.insert("digest_before".into(), approval.before.digest.as_str().into());
        note.insert("digest".into(), approval.after.digest.as_str().into());
        let edit = Edit { operation, change, approve: true, note, ..Edit::default() };
        // What was compared with the digest is what is tried and saved: a connector that is changed meanwhile is
        // not what the owner looked at, and stays unapproved.
        let view = self.edit_loaded(actor, loaded, edit).await?;
        for (environment, shown) in &view.environments {
            approval.after.destinations.insert(environment.clone(), shown.destinations.clone());
        }
        approval.saved = Some(view);
        Ok(approval)
    }

    /// Where values would go with the connector as it is now, as far as that can be said without asking anybody.
    fn would_pin(&self, actor: &Actor, loaded: &Loaded, values: &ValuesRow) -> Refused<Vec<String>> {
        use crate::road::materials::{Materials, user_context};
        let opened = self.open_values(&loaded.row, values)?;
        let Ok(read) = loaded.found.definition.load_values(&loaded.method, &opened) else {
            return Ok(Vec::new());
        };
        let mut materials = Materials::new(
            loaded.found.definition.clone(),
            &loaded.method.id,
            read,
            std::sync::Arc::default(),
        );
        materials.user = actor.as_user().map(user_context);
        materials.client.clone_from(&loaded.client);
        let resolved = materials.resolve(None, self.now(), &*self.parts.entropy);
        let pins = resolved
            .map(|resolved| resolved.destinations.into_iter().map(|place| place.pin).collect::<Vec<_>>());
        Ok(shown_pins(&pins.unwrap_or_default(), &values.withheld))
    }

    async fn load_for_change(&self, actor: &Actor, id: &str, operation: Operation) -> Refused<Loaded> {
        let mut tx = self.parts.store.begin_read().await.map_err(refusals::store)?;
        let row = owned(&mut tx, actor, id, operation).await?;
        if row.deletes_at.is_some() {
            return Err(scheduled());
        }
        let values = values::list(&mut tx, &row).await.map_err(refusals::store)?;
        let shares = shares::list_of_credential(&mut tx, &row).await.map_err(refusals::store)?;
        let mut latest = BTreeMap::new();
        for version in values::versions(&mut tx, &row).await.map_err(refusals::store)? {
            let newest = latest.entry(version.environment).or_insert(0);
            *newest = version.version.max(*newest);
        }
        let found = self.definition_by_uid(&mut tx, &row.connector).await?;
        let method = found.definition.method(&row.auth_method).cloned().ok_or_else(|| {
            Problem::new(
                Code::ConnectorChanged,
                format!("The connector {} has no auth method `{}` any more.", found.definition.name, row.auth_method),
            )
            .hint("Make the credential anew with one of the methods that the connector has now, and delete this one.")
        })?;
        let moved = found.row.is_some() && found.definition.digest() != row.digest;
        let ticket = crate::road::authorise::owner_opens();
        let client = self.client_of(&mut tx, &ticket, &row, &found).await?;
        let client = client.map(|opened| Arc::new(opened.client));
        Ok(Loaded { row, values, shares, latest, found, method, client, moved })
    }

    pub(super) async fn edit(
        self: &Arc<Self>,
        actor: &Actor,
        id: &str,
        mut edit: Edit,
        if_match: Option<i64>,
    ) -> Refused<View> {
        actor.may_manage()?;
        self.unfrozen(actor)?;
        let loaded = self.load_for_change(actor, id, edit.operation).await?;
        same_version(if_match, loaded.row.version)?;
        // No key is made for a request that cannot be done.
        let errors = edit.change.check();
        if !errors.is_empty() {
            return Err(Problem::invalid(errors).into());
        }
        let verify = edit.change.verify;
        self.make_keys(&loaded.method, &loaded.row.name, verify, &mut edit.change.values).await?;
        Box::pin(self.edit_loaded(actor, loaded, edit)).await
    }

    /// The change of what was loaded: nothing is looked up a second time but what the transaction locks.
    async fn edit_loaded(self: &Arc<Self>, actor: &Actor, loaded: Loaded, edit: Edit) -> Refused<View> {
        actor.may_manage()?;
        let change = &edit.change;
        let errors = change.check();
        if !errors.is_empty() {
            return Err(Problem::invalid(errors).into());
        }
        let touches_values = !change.values.is_empty() || edit.replace.is_some() || change.shares.is_some();
        if loaded.moved && !edit.approve && touches_values {
            return Err(connector_changed(&loaded.found.definition.name));
        }
        let candidates = self.candidates(&loaded, &edit)?;
        let removed = removed(&loaded, change)?;
        let after: BTreeSet<String> = loaded
            .values
            .iter()
            .map(|values| values.environment.clone())
            .chain(candidates.iter().map(|candidate| candidate.environment.clone()))
            .filter(|name| !removed.contains(name.as_str()))
            .collect();
        if after.is_empty() {
            let all = FieldError::new("/values", "a credential has values for at least one environment");
            return Err(Problem::invalid(vec![all])
                .hint("To end the credential, DELETE /api/v1/credentials/{id}.")
                .into());
        }
        if change.shares.is_none() {
            not_granted(&loaded.shares, &removed)?;
        }

        // Shares as they will be, and the contexts that follow from them.
        let mut tx = self.parts.store.begin_read().await.map_err(refusals::store)?;
        let wanted_shares = change.shares.clone().unwrap_or_else(|| sharing::unchanged(&loaded.shares));
        let wanted = Wanted {
            actor,
            owner: &loaded.row.owner,
            name: change.name.as_deref().unwrap_or(&loaded.row.name),
            slug: change.slug.as_deref(),
            external_id: change.external_id.as_ref().map(|id| id.as_deref()),
            shares: &wanted_shares,
            existing: &loaded.shares,
            values: &after,
        };
        let placed = sharing::place(&mut tx, &wanted).await?;
        if placed.is_empty() {
            belongs_to_a_share(change)?;
        }
        self.client_is_for(&mut tx, &loaded.row, &placed).await?;
        let places = self.places(&mut tx, &placed).await?;
        drop(tx);

        let mut steps = self.try_candidates(actor, &loaded, &edit, candidates, &places).await?;
        steps.extend(
            removed.iter().map(|environment| Step::Remove { environment: (*environment).to_owned() }),
        );
        let dropped: Vec<&ShareWithGrants> = loaded
            .shares
            .iter()
            .filter(|share| !placed.iter().any(|place| place.project.id == share.share.project_id))
            .collect();
        // What a removed environment's tokens are given back with goes with its values.
        let revocable = match removed.is_empty() {
            true => Vec::new(),
            false => self.revocable(&loaded.row, |environment| removed.contains(environment)).await?,
        };
        let view = self.write(actor, &loaded, &edit, &steps, &placed, &dropped).await?;
        Box::pin(self.revoke(actor, &loaded.row, revocable)).await;
        Ok(view)
    }

    /// Environments whose values change, checked against the fields; all errors at once.
    fn candidates(&self, loaded: &Loaded, edit: &Edit) -> Refused<Vec<Candidate>> {
        let definition = &loaded.found.definition;
        let mut errors = Vec::new();
        let mut candidates = Vec::new();
        let mut names: BTreeSet<&str> = BTreeSet::new();
        for (environment, given) in &edit.change.values {
            if given.is_some() {
                names.insert(environment);
            }
        }
        if edit.approve {
            names.extend(loaded.values.iter().map(|values| values.environment.as_str()));
        }
        if let Some(replace) = &edit.replace {
            names.insert(&replace.environment);
        }
        for environment in names {
            let current = loaded.current(environment);
            let base = match current {
                Some(current) => self.open_values(&loaded.row, current)?,
                None => Map::new(),
            };
            let replace = edit.replace.as_ref().filter(|replace| replace.environment == environment);
            let given = match (replace, edit.change.values.get(environment)) {
                (Some(replace), _) => replace.values.clone(),
                (None, Some(Some(given))) => merged(&base, given),
                // Approved as they are; one that is removed in the same request needs no look.
                (None, Some(None)) => continue,
                (None, None) => base.clone(),
            };
            let checked = match check(definition, &loaded.method, environment, &given) {
                Ok(checked) => checked,
                Err(wrong) => {
                    errors.extend(wrong);
                    continue;
                }
            };
            let after = checked.to_json();
            let mut changed = differing(&base, &after);
            let given_now = edit.change.values.get(environment).and_then(Option::as_ref);
            let withheld = match (replace, current) {
                (Some(replace), _) => still_withheld(&replace.withheld, None, &after),
                (None, Some(current)) => still_withheld(&current.withheld, given_now, &after),
                (None, None) => Vec::new(),
            };
            // A field that is set anew is the owner's own from now on, also where the value is the same.
            let before = current.map_or(&[][..], |current| current.withheld.as_slice());
            let own = before.iter().filter(|name| after.contains_key(*name) && !withheld.contains(name));
            for name in own {
                if replace.is_none() && !changed.contains(name) {
                    changed.push(name.clone());
                }
            }
            if changed.is_empty() && current.is_some() && !edit.approve && replace.is_none() {
                continue;
            }
            let mut before = current.map(|current| current.secret_fields.clone()).unwrap_or_default();
            if let Some(replace) = replace {
                before.extend(replace.secret_fields.iter().cloned());
            }
            let secret_fields = save::secret_fields(&loaded.method, &checked, &before);
            // Secrecy is stored with the values: where the definition now asks for more, they are written anew.
            let anew = changed.is_empty()
                && replace.is_none()
                && current.is_some_and(|current| current.secret_fields == secret_fields);
            candidates.push(Candidate {
                environment: environment.to_owned(),
                values: checked,
                secret_fields,
                withheld,
                changed,
                before: base.keys().cloned().collect(),
                anew,
            });
        }
        if errors.is_empty() { Ok(candidates) } else { Err(Problem::invalid(errors).into()) }
    }

    async fn try_candidates(
        self: &Arc<Self>,
        actor: &Actor,
        loaded: &Loaded,
        edit: &Edit,
        candidates: Vec<Candidate>,
        places: &[Place],
    ) -> Refused<Vec<Step>> {
        let attempt = Attempt {
            actor,
            person: actor.as_user(),
            id: &loaded.row.id,
            definition: &loaded.found.definition,
            method: &loaded.method,
            verify: edit.change.verify,
            writes: true,
            held: None,
            client: loaded.client.clone(),
            grant: None,
        };
        let mut steps = Vec::new();
        for candidate in candidates {
            let Candidate { environment, values, secret_fields, withheld, changed, before, anew } = candidate;
            let here: Vec<&Place> = places.iter().filter(|place| place.ours == environment).collect();
            let current = loaded.current(&environment);
            let version = match current {
                Some(current) if anew => current.version,
                _ => loaded.next_version(&environment),
            };
            let grant = match current.filter(|_| !anew) {
                Some(current) => self.carried_grant(&attempt, loaded, current, &values, &here).await?,
                None => None,
            };
            let pins = current.map_or(&[][..], |current| current.pins.as_slice());
            let attempt = Attempt {
                grant: grant.as_ref(),
                client: attempt.client.clone(),
                held: held_to(&withheld, pins),
                ..attempt
            };
            let mut outcome = self
                .try_environment(&attempt, &environment, &values, version, &here)
                .await
                .map_err(|problem| nothing_saved(for_owner(problem, &withheld)))?;
            if let (Some(_), Some(current)) = (&grant, current) {
                outcome.tried.account = outcome.tried.account.or_else(|| current.standing.account.clone());
                outcome.tried.scopes.clone_from(&current.standing.scopes);
            }
            steps.push(if anew {
                let pins = outcome.tried.pins.clone();
                Step::Pin { environment, version, outcome, pins, anew: true }
            } else {
                let ready = Ready { environment, values, version, secret_fields, withheld, outcome };
                Step::Put { ready, expected: current.map(|current| current.version), changed, before }
            });
        }
        // New grants of values that stay: tried where they are new, if anything of that context is read.
        for current in &loaded.values {
            let name = &current.environment;
            let fresh: Vec<&Place> =
                places.iter().filter(|place| place.added && place.ours == *name).collect();
            if fresh.is_empty() || steps.iter().any(|step| step.environment() == name) {
                continue;
            }
            let opened = self.open_values(&loaded.row, current)?;
            let values = loaded
                .found
                .definition
                .load_values(&loaded.method, &opened)
                .map_err(|errors| Problem::invalid(at_environment(name, errors)))?;
            let grant = self.carried_grant(&attempt, loaded, current, &values, &fresh).await?;
            let attempt = Attempt {
                grant: grant.as_ref(),
                client: attempt.client.clone(),
                held: held_to(&current.withheld, &current.pins),
                ..attempt
            };
            let outcome = self
                .try_environment(&attempt, name, &values, current.version, &fresh)
                .await
                .map_err(|problem| nothing_saved(for_owner(problem, &current.withheld)))?;
            let mut pins = current.pins.clone();
            for pin in &outcome.tried.pins {
                if !pins.contains(pin) {
                    pins.push(pin.clone());
                }
            }
            let environment = name.clone();
            steps.push(Step::Pin { environment, version: current.version, outcome, pins, anew: false });
        }
        Ok(steps)
    }

    /// What a person consented to stays, unless what changes decides where it was asked for.
    async fn carried_grant(
        self: &Arc<Self>,
        attempt: &Attempt<'_>,
        loaded: &Loaded,
        current: &ValuesRow,
        after: &Values,
        places: &[&Place],
    ) -> Refused<Option<Granted>> {
        if !loaded.method.needs_consent() {
            return Ok(None);
        }
        let opened = self.open_values(&loaded.row, current)?;
        let Ok(before) = loaded.found.definition.load_values(&loaded.method, &opened) else {
            return Ok(None);
        };
        self.carried(attempt, &loaded.row, (current, &before), after, places).await
    }

    #[allow(clippy::too_many_arguments, reason = "the parts of one write, each looked up before")]
    async fn write(
        &self,
        actor: &Actor,
        loaded: &Loaded,
        edit: &Edit,
        steps: &[Step],
        placed: &[Placed],
        dropped: &[&ShareWithGrants],
    ) -> Refused<View> {
        let now = self.now();
        let change = &edit.change;
        let (mut row, renamed) = changed_row(loaded, edit);
        let suspended: Vec<&Placed> =
            placed.iter().filter(|place| leads_elsewhere(place, loaded, steps)).collect();
        let touched = steps.iter().any(|step| !matches!(step, Step::Pin { anew: false, .. }));
        let nothing = !touched
            && renamed.is_empty()
            && dropped.is_empty()
            && suspended.is_empty()
            && !edit.approve
            && placed.iter().all(|place| !place.changes());
        if nothing && steps.is_empty() {
            // The answer shows the fields: that is a look at them, and recorded as one.
            return self.credential(actor, row.id.as_str()).await;
        }
        let mut scopes: Vec<&str> = vec![row.id.as_str(), row.owner.id()];
        scopes.extend(loaded.shares.iter().map(|share| share.share.project_id.as_str()));
        scopes.extend(placed.iter().map(|place| place.project.id.as_str()));
        scopes.extend(row.oauth_client_id.as_ref().map(|id| id.as_str()));
        let mut tx = self.parts.store.begin_write(&scopes).await.map_err(refusals::store)?;
        self.client_is_for(&mut tx, &row, placed).await?;
        // Under the lock once more: it may have been edited, given away, or the role taken.
        let current = owned(&mut tx, actor, row.id.as_str(), edit.operation).await?;
        if current.version != row.version || current.owner != row.owner {
            return Err(refusals::store(StoreError::Moved));
        }
        let placed = self.with_roles_now(&mut tx, actor, placed).await?;
        let suspended: Vec<&Placed> =
            placed.iter().filter(|place| leads_elsewhere(place, loaded, steps)).collect();
        row.version = rows::update(&mut tx, &row, now).await.map_err(refusals::store)?;
        row.updated_at = now;
        for step in steps {
            self.write_step(&mut tx, actor, &row, loaded, step, now).await?;
        }
        for gone in dropped {
            shares::remove(&mut tx, &gone.share).await.map_err(refusals::store)?;
        }
        for place in &placed {
            let suspend = suspended.iter().any(|other| other.project.id == place.project.id);
            if place.widens() {
                self.still_may_share(place)?;
            }
            if place.changes() || suspend {
                self.put_share(&mut tx, actor, &row.id, place, suspend).await?;
            }
        }
        let view = self.credential_view(&mut tx, row.clone(), Sight::Owner { with_fields: true }).await?;

        let action = if edit.approve { "credential.approve" } else { "credential.update" };
        let mut event = Event::new(action);
        event.detail.extend(edit.note.clone());
        if !renamed.is_empty() {
            event = event.detail("changed", renamed);
        }
        if !steps.is_empty() {
            event = event.detail("environments", told_steps(steps));
        }
        if !suspended.is_empty() {
            let projects: Vec<&str> = suspended.iter().map(|place| place.project.slug.as_str()).collect();
            event = event.detail("suspended", projects);
        }
        if change.verify == super::Verify::Skip && !steps.is_empty() {
            event = event.detail("verify", "skip");
        }
        let mut events = told(&row, &loaded.shares, &event);
        for place in placed.iter().filter(|place| place.changes()) {
            let mut event = save::shared(&row, &place.project.id).detail("grants", json!(place.granted()));
            if let Some(existing) = &place.existing {
                let before: BTreeMap<&str, &str> = existing
                    .grants
                    .iter()
                    .map(|grant| (grant.environment.as_str(), grant.credential_environment.as_str()))
                    .collect();
                event = event.detail("grants_before", json!(before));
            }
            events.push(event.detail("slug", place.slug.as_str()));
        }
        for gone in dropped {
            let event = save::shared(&row, &gone.share.project_id).detail("withdrawn", true);
            events.push(event.detail("slug", gone.share.slug.as_str()));
        }
        self.record_all(&mut tx, actor, events).await?;
        tx.commit().await.map_err(refusals::store)?;
        Ok(view)
    }

    async fn write_step(
        &self,
        tx: &mut WriteTx,
        actor: &Actor,
        row: &CredentialRow,
        loaded: &Loaded,
        step: &Step,
        now: latchstring_model::Timestamp,
    ) -> Refused<()> {
        match step {
            Step::Put { ready, expected, changed, .. } => {
                self.put_values(tx, actor, row, ready, *expected, changed, now).await
            }
            Step::Remove { environment } => {
                values::remove(tx, row, environment).await.map_err(refusals::store)?;
                Ok(())
            }
            Step::Pin { environment, version, outcome, pins, anew } => {
                let held = loaded.current(environment).map(|values| &values.standing);
                if *anew {
                    // Another definition may mean another token host: what it gave is not used here.
                    tokens::delete_superseded(tx, row, environment, version + 1)
                        .await
                        .map_err(refusals::store)?;
                    let tried = &outcome.tried;
                    let verified = (tried.status == latchstring_model::entity::Status::Verified)
                        .then_some(tried.checked_at);
                    let standing = Standing {
                        status: tried.status,
                        verified_at: verified.or(held.and_then(|held| held.verified_at)),
                        checked_at: verified.or(held.and_then(|held| held.checked_at)),
                        check_error: None,
                        account: tried.account.clone(),
                        scopes: held.and_then(|held| held.scopes.clone()),
                    };
                    values::set_standing(tx, row, environment, *version, &standing)
                        .await
                        .map_err(refusals::store)?;
                }
                let kept =
                    values::set_pins(tx, row, environment, *version, pins).await.map_err(refusals::store)?;
                if !kept {
                    return Err(refusals::store(StoreError::Moved));
                }
                self.keep_tokens(tx, row, environment, *version, &outcome.staged).await
            }
        }
    }
}

/// Values that are to be tried.
struct Candidate {
    environment: String,
    values: Values,
    secret_fields: Vec<String>,
    withheld: Vec<String>,
    /// Names.
    changed: Vec<String>,
    before: Vec<String>,
    /// The values stay, only the connector is another.
    anew: bool,
}

fn at_environment(environment: &str, errors: Vec<FieldError>) -> Vec<FieldError> {
    errors
        .into_iter()
        .map(|error| {
            FieldError::new(format!("/values/{}{}", escape(environment), error.pointer), error.detail)
        })
        .collect()
}

fn check(
    definition: &Definition,
    method: &AuthMethod,
    environment: &str,
    given: &Map<String, Value>,
) -> Result<Values, Vec<FieldError>> {
    definition.check_values(method, given).map_err(|wrong| at_environment(environment, wrong))
}

/// Environments that are to go.
fn removed<'c>(loaded: &Loaded, change: &'c CredentialChange) -> Refused<BTreeSet<&'c str>> {
    let mut errors = Vec::new();
    let mut gone = BTreeSet::new();
    for (environment, given) in &change.values {
        if given.is_some() {
            continue;
        }
        if loaded.current(environment).is_none() {
            let has: Vec<&str> = loaded.values.iter().map(|values| values.environment.as_str()).collect();
            let detail = format!("there are no values to remove; the credential has {}", has.join(", "));
            errors.push(FieldError::new(format!("/values/{}", escape(environment)), detail));
        }
        gone.insert(environment.as_str());
    }
    if errors.is_empty() { Ok(gone) } else { Err(Problem::invalid(errors).into()) }
}

/// A set of values that is granted is not removed without naming where.
fn not_granted(shares: &[ShareWithGrants], removed: &BTreeSet<&str>) -> Refused<()> {
    let mut errors = Vec::new();
    let mut grants = Vec::new();
    for name in removed {
        let mut places = Vec::new();
        for share in shares {
            for grant in share.grants.iter().filter(|grant| grant.credential_environment == *name) {
                places.push(format!("{} ({})", share.project_slug, grant.environment));
                grants.push(json!({
                    "project": share.project_slug,
                    "environment": grant.environment,
                    "granted": name,
                }));
            }
        }
        if !places.is_empty() {
            let detail = format!("these values are granted to {}", places.join(", "));
            errors.push(FieldError::new(format!("/values/{}", escape(name)), detail));
        }
    }
    if errors.is_empty() {
        return Ok(());
    }
    Err(Problem::new(
        Code::ValuesGranted,
        "These values are granted to environments of projects; `grants` lists where. Nothing was removed.",
    )
    .errors(errors)
    .hint("Withdraw those grants in the same request: send `shares` without them.")
    .with("grants", grants.into())
    .into())
}

/// Names of a share, where there is none.
fn belongs_to_a_share(change: &CredentialChange) -> Refused<()> {
    let mut errors = Vec::new();
    let detail = "belongs to a share: name at least one project in `shares`";
    if change.slug.is_some() {
        errors.push(FieldError::new("/slug", detail));
    }
    if matches!(change.external_id, Some(Some(_))) {
        errors.push(FieldError::new("/external_id", detail));
    }
    if errors.is_empty() { Ok(()) } else { Err(Problem::invalid(errors).into()) }
}

/// The row as it will be, and what of it is another.
fn changed_row(loaded: &Loaded, edit: &Edit) -> (CredentialRow, Vec<&'static str>) {
    let change = &edit.change;
    let mut row = loaded.row.clone();
    let mut changed = Vec::new();
    if let Some(name) = change.name.as_deref().map(str::trim).filter(|name| *name != row.name) {
        row.name = name.to_owned();
        changed.push("name");
    }
    if let Some(note) = change.note.as_ref().filter(|note| **note != row.note) {
        row.note.clone_from(note);
        changed.push("note");
    }
    if let Some(acts_as) = change.acts_as.as_ref().filter(|acts_as| **acts_as != row.acts_as) {
        row.acts_as.clone_from(acts_as);
        changed.push("acts_as");
    }
    if let Some(expires_on) = change.expires_on.filter(|at| *at != row.expires_on) {
        row.expires_on = expires_on;
        changed.push("expires_on");
    }
    // Built-in definitions change with releases; what the owner approved is a project's.
    if edit.approve || loaded.found.row.is_none() {
        loaded.found.definition.digest().clone_into(&mut row.digest);
    }
    (row, changed)
}

/// Whether calls of this project could now reach an origin that they could not reach before. Somebody who
/// administers the project accepts it by doing it.
fn leads_elsewhere(place: &Placed, loaded: &Loaded, steps: &[Step]) -> bool {
    let Some(existing) = &place.existing else { return false };
    if place.may(Operation::ShareAccept) {
        return false;
    }
    // Without grants nothing was reachable: what is granted now is new to the project.
    let before: BTreeSet<&Origin> = existing
        .grants
        .iter()
        .filter_map(|grant| loaded.current(&grant.credential_environment))
        .flat_map(|values| values.pins.iter().map(|pin| &pin.origin))
        .collect();
    place.grants.iter().any(|(_, ours)| {
        let step = steps.iter().find(|step| step.environment() == ours);
        let pins = match step {
            Some(step) => step.pins(),
            None => loaded.current(ours).map_or(&[][..], |values| values.pins.as_slice()),
        };
        pins.iter().any(|pin| !before.contains(&pin.origin))
    })
}

/// For the audit trail: names and origins, never values.
fn told_steps(steps: &[Step]) -> Map<String, Value> {
    steps
        .iter()
        .map(|step| {
            let told = match step {
                Step::Put { ready, changed, before, .. } => json!({
                    "version": ready.version,
                    "fields_before": before,
                    "fields": ready.values.names().collect::<Vec<_>>(),
                    "changed": changed,
                    "status": ready.outcome.tried.status.as_str(),
                    "destinations": origins(step.pins()),
                }),
                Step::Pin { .. } => json!({ "destinations": origins(step.pins()) }),
                Step::Remove { .. } => json!({ "removed": true }),
            };
            (step.environment().to_owned(), told)
        })
        .collect()
}
