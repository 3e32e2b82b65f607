//! One operation, from the wish to the reply.

use std::sync::Arc;
use std::time::Duration;

use latchstring_connectors::{AuthMethod, FieldType, Operation, OwnRequest, To};
use latchstring_journal::Purpose;
use latchstring_model::id::CallId;
use latchstring_model::problem::Refused;
use latchstring_model::{Code, FieldError, Problem};
use serde_json::{Map, Value};

use super::caller::caller;
use super::reply::{Reply, reply};
use super::{Kind, MOST_BYTES, Wish};
use crate::actor::Actor;
use crate::freshness::Basis;
use crate::keychains::choose::Data;
use crate::road::authorise;
use crate::road::described::{Behalf, Described};
use crate::road::limits::KeyLimits;
use crate::road::mask::MaskSet;
use crate::road::materials::{Materials, render_problem};
use crate::road::plan::{self, Plan};
use crate::road::route::Route;
use crate::tokens::LiveToken;
use crate::{Broker, refusals};

/// How long the API may take, its answer included.
const WITHIN: Duration = Duration::from_secs(60);
/// How often a route is built anew because something changed meanwhile.
const TRIES: usize = 4;

/// What a caller gave to an operation; checked by its fields.
pub struct Input {
    pub(super) base: &'static str,
    pub(super) values: Map<String, Value>,
    pub(super) texts: bool,
}

fn unknown(materials: &Materials, kind: Kind, name: &str) -> Box<Problem> {
    let (what, known) = match kind {
        Kind::Operation => ("operation", &materials.definition.operations),
        Kind::Metadata => ("metadata", &materials.definition.metadata),
    };
    let names: Vec<&str> = known.iter().map(|operation| operation.name.as_str()).collect();
    let hint = match names.as_slice() {
        [] => format!("It has none; /proxy carries any request to {}.", materials.definition.name),
        names => format!("It has {}.", names.join(", ")),
    };
    Problem::new(
        Code::NotFound,
        format!("The connector {} has no {what} `{name}`.", materials.definition.name),
    )
    .hint(hint)
    .into()
}

fn wanted<'d>(materials: &'d Materials, kind: Kind, name: &str) -> Refused<&'d Operation> {
    match kind {
        Kind::Operation => materials.definition.operation(name),
        Kind::Metadata => materials.definition.metadata_named(name),
    }
    .ok_or_else(|| unknown(materials, kind, name))
}

fn is_text(ty: FieldType) -> bool {
    matches!(ty, FieldType::Text | FieldType::Url | FieldType::Pem | FieldType::Choice)
}

/// What a text of a query string says to a field that is none.
fn read_texts(operation: &Operation, values: &Map<String, Value>) -> Map<String, Value> {
    let read = |(name, value): (&String, &Value)| {
        let field = operation.input.iter().find(|field| field.name == *name);
        let parsed = field.filter(|field| !is_text(field.ty)).and_then(|_| {
            let text = value.as_str()?;
            serde_json::from_str::<Value>(text).ok()
        });
        (name.clone(), parsed.unwrap_or_else(|| value.clone()))
    };
    values.iter().map(read).collect()
}

fn checked(materials: &Materials, operation: &Operation, input: &Input) -> Refused<Value> {
    let given = if input.texts { read_texts(operation, &input.values) } else { input.values.clone() };
    materials.definition.check_input(operation, &given).map_err(|errors| {
        let errors = errors
            .into_iter()
            .map(|error| FieldError::new(format!("{}{}", input.base, error.pointer), error.detail))
            .collect();
        Problem::invalid(errors).into()
    })
}

/// A key that is limited to some paths is limited to them here too: an operation is no way round.
fn check_path(limits: &KeyLimits, request: &OwnRequest) -> Refused<()> {
    if limits.path_prefixes.is_none() {
        return Ok(());
    }
    let within = KeyLimits { operations_only: false, methods: None, ..limits.clone() };
    match &request.to {
        To::Path(path) => {
            let path = path.expose().split('?').next().unwrap_or_default();
            within.check_proxy(&request.method, path.trim_start_matches('/'))
        }
        To::Url(_) => Err(Problem::new(
            Code::NotAllowed,
            "This key is limited to some paths, and the operation goes somewhere else.",
        )
        .hint("A project admin can make a key with other limits.")
        .into()),
    }
}

/// What is asked with one token; another token, another request.
struct Ready {
    plan: Arc<Plan>,
    request: OwnRequest,
    /// Of what the operation itself read: the scheme's mask does not know them.
    mask: Arc<MaskSet>,
}

impl Broker {
    /// Calls an operation, or reads metadata. The id is that of the call that was made last; where nothing was
    /// sent it names no record.
    pub async fn operate(self: &Arc<Self>, actor: &Actor, wish: &Wish<'_>) -> (CallId, Refused<Reply>) {
        let mut call = CallId::new(self.now(), &*self.parts.entropy);
        let done = self.operated(actor, wish, &mut call).await;
        if let Err(problem) = &done {
            self.metrics.own().refused(problem.code);
        }
        (call, done)
    }

    async fn operated(self: &Arc<Self>, actor: &Actor, wish: &Wish<'_>, call: &mut CallId) -> Refused<Reply> {
        let shown = match wish.kind {
            Kind::Operation => format!("(operation {})", wish.name),
            Kind::Metadata => format!("(metadata {})", wish.name),
        };
        let route = match self.operation_route(actor, wish).await {
            Ok(route) => route,
            Err(problem) => {
                self.refused_operation(actor, None, wish.credential, &shown, &problem);
                return Err(problem);
            }
        };
        let limits = &route.caller.limits;
        let materials = &route.materials;
        let operation = wanted(materials, wish.kind, wish.name)?;
        let refused = |problem: Box<Problem>| {
            self.refused_operation(actor, Some(&route), wish.credential, &shown, &problem);
            problem
        };
        check_network(limits, actor)
            .and_then(|()| limits.check_method(&operation.request.method))
            .map_err(refused)?;
        let input = checked(materials, operation, &wish.input)?;
        let began = self.now();
        let mut token = self.token_of(&route).await?;
        let mut ready = self.ready(&route, operation, &input, token.as_deref())?;
        check_path(limits, &ready.request).map_err(refused)?;
        let behalf = Behalf {
            actor,
            project: Some(&route.caller.project.id),
            credential: &route.credential,
            environment: &route.credential_environment,
            project_environment: Some(&route.caller.environment.name),
            purpose: match wish.kind {
                Kind::Operation => Purpose::Operation,
                Kind::Metadata => Purpose::Metadata,
            },
            path: &shown,
            acts_as: route.acts_as.as_deref(),
            max_body: MOST_BYTES,
            within: WITHIN,
        };
        let mut described = self.send(&ready, token.as_deref(), behalf, call).await?;
        if described.answer.status == 401
            && let Some(refused) = &token
            && let Some(live) = self.renew_token(&route, refused, began).await?
        {
            ready = self.ready(&route, operation, &input, Some(&live))?;
            described = self.send(&ready, Some(&live), behalf, call).await?;
            token = Some(live);
        }
        let context = materials.context(
            token.as_deref().map(|token| &token.set),
            Some(&input),
            self.now(),
            &*self.parts.entropy,
        );
        reply(materials, operation, wish.kind, &context, &described)
    }

    /// Steps 1 to 3 of the road, for what the door let in. Nothing of it is kept.
    async fn operation_route(self: &Arc<Self>, actor: &Actor, wish: &Wish<'_>) -> Refused<Arc<Route>> {
        let input = serde_json::Value::Object(wish.input.values.clone());
        let data = Data { external_id: wish.external_id, input: Some(&input) };
        for _ in 0..TRIES {
            let mut tx = self.parts.store.begin_read().await.map_err(refusals::store)?;
            let mut basis = Basis::default();
            let caller = caller(&mut tx, actor, wish, self.now(), &mut basis).await?;
            let authorised = authorise::credential(&mut tx, caller, wish.credential, data, basis).await?;
            if let Some(route) = self.build_route(&mut tx, authorised).await? {
                return Ok(route);
            }
        }
        Err(Problem::new(Code::Busy, "What this call depends on is being changed again and again.")
            .hint("Try again in a moment.")
            .retry_after(1)
            .into())
    }

    async fn token_of(self: &Arc<Self>, route: &Arc<Route>) -> Refused<Option<Arc<LiveToken>>> {
        let Some(slot) = &route.token else { return Ok(None) };
        // The route ends with this call; its token is worth keeping.
        self.tokens.keep(slot);
        match slot.fresh(self.now()) {
            Some(live) => Ok(Some(live)),
            None => self.obtain_token(route, None).await.map(Some),
        }
    }

    fn ready(
        &self,
        route: &Route,
        operation: &Operation,
        input: &Value,
        token: Option<&LiveToken>,
    ) -> Refused<Ready> {
        let now = self.now();
        let plan = route.plan(self, token, now)?;
        let materials = &route.materials;
        let method: &AuthMethod = materials.auth_method()?;
        let context =
            materials.context(token.map(|token| &token.set), Some(input), now, &*self.parts.entropy);
        let (request, uses, secrets) = materials
            .definition
            .render_operation(operation, method, &context)
            .map_err(|error| render_problem(&error))?;
        plan::check_restricted(&uses, &plan.pins)?;
        Ok(Ready { plan, request, mask: Arc::new(MaskSet::new(&secrets)) })
    }

    async fn send(
        &self,
        ready: &Ready,
        token: Option<&LiveToken>,
        behalf: Behalf<'_>,
        call: &mut CallId,
    ) -> Refused<Described> {
        let sent = self.describe(&ready.plan, token, &ready.request, behalf).await;
        let mut described = sent.map_err(|undelivered| {
            if let Some(made) = undelivered.failure.call {
                *call = made;
            }
            undelivered.failure.problem
        })?;
        *call = described.call.clone();
        described.masker.also(Arc::clone(&ready.mask));
        Ok(described)
    }
}

fn check_network(limits: &KeyLimits, actor: &Actor) -> Refused<()> {
    match actor.address {
        Some(address) => limits.check_network(address),
        None if limits.networks.is_none() => Ok(()),
        None => Err(Problem::new(
            Code::NotAllowed,
            "This key is limited to certain networks, and where the request comes from is not known.",
        )
        .hint("Call from one of those networks.")
        .into()),
    }
}
