//! What steps 1 to 3 found for one kind of request — the same key, project, environment and credential — kept
//! for the next one. Shared by all cores; ended by the epochs of what it was built from.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use arc_swap::ArcSwapOption;
use latchstring_connectors::Resolved;
use latchstring_model::id::CredentialId;
use latchstring_model::problem::Refused;
use latchstring_model::{Code, Pin, Problem, Timestamp};
use latchstring_schemes::Scheme;

use super::accept::{RouteAsk, RouteId};
use super::authorise::{self, Authorised, Caller};
use super::materials::Materials;
use super::plan::{self, Plan};
use crate::freshness::{Basis, Validity};
use crate::sealing::values_aad;
use crate::tokens::{LiveToken, TokenSlot};
use crate::{Broker, refusals};

/// How often a route is built anew because something changed meanwhile.
const TRIES: usize = 4;

pub struct Route {
    pub caller: Caller,
    pub credential: CredentialId,
    /// The credential's environment whose values are used.
    pub credential_environment: String,
    pub values_version: i64,
    /// One line: what records say about whom the other side takes for the caller.
    pub acts_as: Option<Box<str>>,
    pub materials: Materials,
    /// As fixed when the values were verified.
    pub pins: Arc<[Pin]>,
    pub token: Option<Arc<TokenSlot>>,
    /// The base URL comes out of the token's answer.
    base_from_token: bool,
    /// Rendering reads the token's metadata: another token, another plan.
    reads_token: bool,
    /// Rendering reads the clock or random bytes: every call has its own plan.
    per_call: bool,
    plan: ArcSwapOption<Plan>,
    valid: Validity,
    used: Arc<AtomicI64>,
}

impl Route {
    pub fn is_valid(&self, now: Timestamp) -> bool {
        self.valid.holds() && self.caller.expires_at.is_none_or(|end| now < end)
    }

    /// Notes that the key was used; written to the database now and then, so the second is enough. (A store for
    /// every call would have all cores fight for one cache line.)
    pub fn touch(&self, now: Timestamp) {
        if now.millis() - self.used.load(Ordering::Relaxed) >= 1_000 {
            self.used.store(now.millis(), Ordering::Relaxed);
        }
    }

    /// The version of the token that a plan for it depends on, if it depends on one.
    fn token_read(&self, token: Option<&LiveToken>) -> Option<i64> {
        token.filter(|_| self.reads_token).map(|token| token.version)
    }

    /// The plan for this token. Warm: one load.
    pub fn plan(&self, broker: &Broker, token: Option<&LiveToken>, now: Timestamp) -> Refused<Arc<Plan>> {
        if !self.per_call
            && let Some(plan) = self.plan.load_full()
            && plan.token_version == self.token_read(token)
        {
            return Ok(plan);
        }
        let plan = self.new_plan(broker, token, now)?;
        Ok(if self.per_call { plan } else { self.share(plan) })
    }

    /// Makes it the plan of all who share the route, unless somebody was faster.
    fn share(&self, plan: Arc<Plan>) -> Arc<Plan> {
        let kept = self.plan.rcu(|kept| match kept {
            Some(kept) if kept.token_version == plan.token_version => Arc::clone(kept),
            _ => Arc::clone(&plan),
        });
        kept.filter(|kept| kept.token_version == plan.token_version).unwrap_or(plan)
    }

    fn new_plan(&self, broker: &Broker, token: Option<&LiveToken>, now: Timestamp) -> Refused<Arc<Plan>> {
        let resolved = self.materials.resolve(token.map(|token| &token.set), now, &*broker.parts.entropy)?;
        let plan = Plan::build(
            broker,
            &self.materials,
            resolved,
            &self.pins,
            self.token_read(token),
            self.base_from_token,
        )?;
        Ok(Arc::new(plan))
    }
}

/// A core's own hold on a route. Every call counts what it uses up and down, and counters that all cores share
/// cost more than the rest of the look-up: so each core has its own, and its own plan with all that hangs on it, unless
/// the plan learns from answers: what one call was taught (a nonce) is for the next, whatever core it comes to.
pub struct Held {
    pub ask: RouteAsk,
    pub route: Arc<Route>,
    plan: Mutex<Option<Arc<Plan>>>,
}

impl Held {
    pub fn new(ask: RouteAsk, route: Arc<Route>) -> Self {
        Self { ask, route, plan: Mutex::default() }
    }

    /// The plan for this token, as [`Route::plan`] makes it, once for this core.
    pub fn plan(&self, broker: &Broker, token: Option<&LiveToken>, now: Timestamp) -> Refused<Arc<Plan>> {
        if self.route.per_call {
            return self.route.new_plan(broker, token, now);
        }
        let mut kept = self.plan.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(plan) = &*kept
            && plan.token_version == self.route.token_read(token)
        {
            return Ok(Arc::clone(plan));
        }
        let mut plan = self.route.new_plan(broker, token, now)?;
        if plan.learns {
            plan = self.route.share(plan);
        }
        *kept = Some(Arc::clone(&plan));
        Ok(plan)
    }
}

/// Routes by id, so that cores share what one of them built; and when each key was used.
#[derive(Default)]
pub struct RouteBook {
    routes: Mutex<HashMap<RouteId, Weak<Route>>>,
    /// Look-ups under way: who asks for the same meanwhile waits for their end.
    under_way: Mutex<HashMap<RouteId, Weak<Lookup>>>,
    used: Mutex<HashMap<latchstring_model::id::KeyId, Arc<AtomicI64>>>,
}

/// One look-up's end, for all who wait for it.
type Lookup = tokio::sync::OnceCell<Refused<Arc<Route>>>;

impl RouteBook {
    /// The look-up that is under way, or a new one. It is forgotten with the last who waits.
    fn lookup(&self, id: &RouteId) -> Arc<Lookup> {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = under_way.get(id).and_then(Weak::upgrade)
            // One that has ended says how things were, not how they are.
            && !known.initialized()
        {
            return known;
        }
        if under_way.len() % 1024 == 1023 {
            under_way.retain(|_, lookup| lookup.strong_count() > 0);
        }
        let new = Arc::new(Lookup::new());
        under_way.insert(*id, Arc::downgrade(&new));
        new
    }

    fn get(&self, id: &RouteId) -> Option<Arc<Route>> {
        self.routes.lock().unwrap_or_else(PoisonError::into_inner).get(id).and_then(Weak::upgrade)
    }

    fn put(&self, id: RouteId, route: &Arc<Route>) {
        let mut routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        if routes.len() % 4096 == 4095 {
            routes.retain(|_, route| route.strong_count() > 0);
        }
        routes.insert(id, Arc::downgrade(route));
    }

    /// Routes that some core still has.
    pub fn living(&self) -> usize {
        let routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        routes.values().filter(|route| route.strong_count() > 0).count()
    }

    fn usage(&self, key: &latchstring_model::id::KeyId) -> Arc<AtomicI64> {
        Arc::clone(self.used.lock().unwrap_or_else(PoisonError::into_inner).entry(key.clone()).or_default())
    }

    /// Keys that were used since they were last taken, with the time.
    pub fn take_used(&self) -> Vec<(latchstring_model::id::KeyId, Timestamp)> {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = used
            .iter()
            .map(|(key, at)| (key.clone(), Timestamp(at.swap(0, Ordering::Relaxed))))
            .filter(|(_, at)| at.0 > 0)
            .collect();
        used.retain(|_, at| Arc::strong_count(at) > 1);
        taken
    }
}

impl Broker {
    /// Steps 1 to 3, on the control runtime. However many ask for a route at once, it is looked up once.
    pub(crate) async fn route(self: &Arc<Self>, id: RouteId, ask: &RouteAsk) -> Refused<Arc<Route>> {
        if let Some(known) = self.routes.get(&id)
            && known.is_valid(self.now())
            && self.freshness.is_fresh(self.now())
        {
            return Ok(known);
        }
        let lookup = self.routes.lookup(&id);
        lookup.get_or_init(|| self.find_route(id, ask)).await.clone()
    }

    async fn find_route(self: &Arc<Self>, id: RouteId, ask: &RouteAsk) -> Refused<Arc<Route>> {
        self.metrics.route_looked_up();
        for _ in 0..TRIES {
            let mut tx = self.parts.store.begin_read().await.map_err(refusals::store)?;
            let mut basis = Basis::default();
            let caller = authorise::caller(&mut tx, ask, self.now(), &mut basis).await?;
            let authorised =
                authorise::credential(&mut tx, caller, &ask.credential, ask.data(), basis).await?;
            if let Some(route) = self.build_route(&mut tx, authorised).await? {
                self.routes.put(id, &route);
                return Ok(route);
            }
        }
        Err(Problem::new(Code::Busy, "What this call depends on is being changed again and again.")
            .hint("Try again in a moment.")
            .retry_after(1)
            .into())
    }

    /// For a person in a session or with a key, on the API: `call/{operation}` and `metadata`.
    pub(crate) async fn build_route(
        self: &Arc<Self>,
        tx: &mut latchstring_store::ReadTx,
        authorised: Authorised,
    ) -> Refused<Option<Arc<Route>>> {
        let Authorised { caller, credential, values, slug: _, mut basis, ticket } = authorised;
        let found = self.definition_by_uid(tx, &credential.connector).await?;
        if let Some(row) = &found.row {
            let epoch = latchstring_store::scopes::epoch(tx, &row.uid).await.map_err(refusals::store)?;
            basis.add(&row.uid, epoch);
            if found.definition.digest() != credential.digest {
                return Err(connector_changed(&found.definition.name));
            }
        }
        let names = self.names(tx, &ticket, &caller.project.id, &caller.environment.id).await?;
        let aad = values_aad(&credential.id, &credential.owner, &values.environment, values.version);
        self.ensure_data_key(&values.data_key).await?;
        let opened = self.open_json(&ticket, &aad, &values.sealed)?;
        let method = found.definition.method(&credential.auth_method);
        let method = method.ok_or_else(|| connector_changed(&found.definition.name))?;
        let checked = found.definition.load_values(method, &opened).map_err(|errors| {
            Problem::new(
                Code::TemplateError,
                "Stored values of this credential do not fit the connector any more.",
            )
            .hint("Its owner edits the fields that are named and saves them again.")
            .errors(errors)
        })?;
        if let Some(client) = &credential.oauth_client_id {
            self.client_is_for_project(tx, client, &caller.project.id).await?;
        }
        let client = self.client_of(tx, &ticket, &credential, &found).await?;
        if let Some(client) = &client {
            basis.add(client.client.id.as_str(), client.epoch);
        }
        let client = client.map(|opened| Arc::new(opened.client));
        let materials =
            Materials::new(Arc::clone(&found.definition), &credential.auth_method, checked, Arc::new(names))
                .with_client(client)
                .for_caller(caller.user.as_ref(), &caller.project, &caller.environment);
        let (materials, bare) = self.first_look(materials).await?;
        let token = if bare.needs_token {
            let id =
                crate::tokens::token_id(&credential, &values, materials.client.as_deref(), &bare.token_uses);
            let slot = self.tokens.slot(&id, &credential.id, &values.environment, values.version);
            self.look_again(tx, &slot).await?;
            Some(slot)
        } else {
            None
        };
        let key = match &caller.actor.who {
            crate::Who::Person { via: crate::Via::Key { id, .. }, .. }
            | crate::Who::Service { key: id, .. } => Some(id.clone()),
            _ => None,
        };
        let Some(valid) = self.freshness.watch(&basis) else { return Ok(None) };
        let route = Arc::new(Route {
            base_from_token: bare.needs_token && bare.base_url.is_none(),
            reads_token: bare.needs_token && (bare.uses.token || !bare.complete),
            per_call: bare.uses.time,
            caller,
            credential: credential.id.clone(),
            credential_environment: values.environment,
            values_version: values.version,
            acts_as: credential.acts_as.as_deref().map(recorded),
            pins: values.pins.into(),
            token,
            materials,
            plan: ArcSwapOption::empty(),
            valid,
            used: key.map_or_else(Arc::default, |key| self.routes.usage(&key)),
        });
        if let Some(slot) = &route.token {
            slot.belongs_to(&route);
        }
        Ok(Some(route))
    }

    /// What these materials come to, without a token. Their keys are read here, so that no core reads one when it makes
    /// a plan; beside the threads that everybody waits for, because opening an encrypted one may take a second.
    async fn first_look(self: &Arc<Self>, materials: Materials) -> Refused<(Materials, Resolved)> {
        let broker = Arc::clone(self);
        let looked = tokio::task::spawn_blocking(move || {
            let mut bare = materials.resolve(None, broker.now(), &*broker.parts.entropy)?;
            let scheme = std::mem::replace(&mut bare.scheme, Scheme::None);
            // What is wrong with a key is remembered, and said when a plan is made.
            if let Ok(prepared) = materials.prepare(scheme) {
                drop(plan::identity(&broker, &materials, &prepared, bare.ca_certificate.as_ref()));
            }
            Ok((materials, bare))
        });
        looked.await.map_err(|error| refusals::internal(&error))?
    }
}

/// As much of a note as goes into every record.
fn recorded(acts_as: &str) -> Box<str> {
    let line: String = acts_as.chars().filter(|c| !c.is_control()).take(200).collect();
    line.into()
}

pub(crate) fn connector_changed(name: &str) -> Box<Problem> {
    Problem::new(
        Code::ConnectorChanged,
        format!("The connector {name} was changed in a way that decides where this credential's values go, and its owner has not approved that yet."),
    )
    .hint("The credential's owner looks at the change and approves it: POST /api/v1/credentials/{id}/approve.")
    .into()
}
