//! What values would send, before anything is saved: shown, or sent once and shown with its answer.
//!
//! Both go the way that making a credential goes, up to where that one saves: the same rights, checks, contexts,
//! destinations, and for a test the same dry request, recorded and masked as every verification. A preview asks nobody,
//! so that a token stands in it as `…`, behind the request that would bring it.

use std::collections::BTreeSet;
use std::sync::Arc;

use http::Method;
use latchstring_connectors::{Definition, Expect, OwnRequest, StepsNext, StepsRun, To};
use latchstring_model::problem::Refused;
use latchstring_model::{Code, FieldError, Pin, Problem, SecretString};
use latchstring_schemes::scheme::Prepared;
use latchstring_schemes::token::TokenSet;
use latchstring_schemes::wire::WireRequest;
use serde_json::{Map, Value};

use super::attempt::{Attempt, Place, contexts};
use super::create::Drafted;
use super::input::{NewCredential, Verify};
use super::verify::Shown;
use crate::Broker;
use crate::actor::Actor;
use crate::road::described::ShownRequest;
use crate::road::mask::{MaskSet, Masker};
use crate::road::materials::{Materials, render_problem};
use crate::road::plan::Plan;
use crate::road::veil::Veil;
use crate::tokens::LiveToken;

/// What stands in a request for a token that nobody has asked for: hidden like one.
const NO_TOKEN: &str = "no-token-was-asked-for";
/// Parameters of a token request that say what is asked for, and not by whom or with what.
pub(crate) const OPEN_PARAMETERS: &[&str] = &[
    "audience",
    "client_assertion_type",
    "grant_type",
    "requested_token_type",
    "resource",
    "response_type",
    "scope",
    "subject_token_type",
];

/// The requests of one set of values, every secret hidden: as JSON, like those that a failed verification shows.
#[derive(Clone, Debug, Default)]
pub struct Sketch {
    /// Of the credential; or the auth method of a definition.
    pub of: String,
    /// What is asked first: for a token, or the first step of a login.
    pub first: Option<Value>,
    /// What the API would be asked. `None`: the answer to the first request says where, or with what.
    pub call: Option<Value>,
    /// Why nothing can be shown.
    pub refused: Option<Box<Problem>>,
}

/// What one set of values was answered.
pub struct Trying {
    pub environment: String,
    pub request: Option<Value>,
    pub response: Option<Value>,
    /// Whom the API knows us as.
    pub account: Option<String>,
    /// Why that does not show that they work.
    pub refused: Option<Box<Problem>>,
}

/// A path to ask at, where the connector has nothing to ask: below the base URL.
fn check_path(path: &str) -> Refused<()> {
    if path.is_empty() || path.starts_with(['/', '?']) {
        return crate::road::bind::check_path(path.split('?').next().unwrap_or_default());
    }
    Err(Problem::invalid(vec![FieldError::new("/try_path", "a path begins with `/`")]).into())
}

fn asked_at(path: &str) -> OwnRequest {
    OwnRequest {
        method: Method::GET,
        to: To::Path(path.into()),
        query: Vec::new(),
        headers: Vec::new(),
        body: None,
        expect: Expect::default(),
        account: None,
    }
}

/// Texts that the form shows anyway: of fields that are not secret, as far as no template is among them.
fn open_texts(drafted: &Drafted, given: &Map<String, Value>) -> BTreeSet<String> {
    fn leaves(value: &Value, out: &mut BTreeSet<String>) {
        match value {
            Value::String(text) if !latchstring_connectors::is_template(text) => {
                out.insert(text.clone());
            }
            Value::Array(items) => items.iter().for_each(|item| leaves(item, out)),
            Value::Object(map) => map.values().for_each(|item| leaves(item, out)),
            _ => {}
        }
    }
    let mut open = BTreeSet::new();
    for (name, value) in given {
        if drafted.method.field(name).is_some_and(|field| !field.secret) {
            leaves(value, &mut open);
        }
    }
    open
}

/// A request as it may be seen. `parameters`: those of its body that are shown with their values, where only some are.
pub(crate) fn request_json(veil: &Veil, wire: &WireRequest, parameters: Option<&[&str]>) -> Value {
    let request = ShownRequest {
        method: wire.method.to_string(),
        url: veil.url(&wire.address.to_string()),
        headers: veil.headers(&wire.headers),
    };
    let shown = Shown { request, status: None, headers: Vec::new(), body_excerpt: String::new() };
    let mut shown = shown.request_json();
    if let (Value::Object(map), Some(body)) =
        (&mut shown, veil.body(&wire.headers, wire.body.expose(), parameters))
    {
        map.insert("body".into(), body.into());
    }
    shown
}

impl Broker {
    /// What each set of values would send. Sends nothing and saves nothing.
    pub async fn preview_credential(
        self: &Arc<Self>,
        actor: &Actor,
        mut new: NewCredential,
        path: &str,
    ) -> Refused<Vec<Sketch>> {
        check_path(path)?;
        new.verify = Verify::Skip;
        let drafted = self.draft(actor, &mut new).await?;
        let attempt = drafted.attempt(actor, Verify::Skip, &drafted.found.definition);
        let mut sketches = Vec::new();
        for (environment, values) in &drafted.checked {
            let here: Vec<&Place> =
                drafted.places.iter().filter(|place| place.ours == *environment).collect();
            // The destinations are looked at, and what is wrong is told at its field.
            self.try_environment(&attempt, environment, values, 1, &here).await?;
            let open = new.values.get(environment).map(|given| open_texts(&drafted, given));
            if let Some((_, materials)) = contexts(&attempt, values, &here)?.first() {
                let sketch = self.sketch(materials, path, open.unwrap_or_default())?;
                sketches.push(Sketch { of: environment.clone(), ..sketch });
            }
        }
        Ok(sketches)
    }

    /// Asks the API with each set of values, as a verification does, and saves nothing.
    pub async fn test_credential(
        self: &Arc<Self>,
        actor: &Actor,
        mut new: NewCredential,
        path: &str,
    ) -> Refused<Vec<Trying>> {
        check_path(path)?;
        new.verify = Verify::Required;
        let drafted = self.draft(actor, &mut new).await?;
        let mut tried = Vec::new();
        for (environment, values) in &drafted.checked {
            let here: Vec<&Place> =
                drafted.places.iter().filter(|place| place.ours == *environment).collect();
            let definition = self.with_something_to_ask(&drafted, actor, values, &here, path)?;
            let attempt = drafted.attempt(actor, Verify::Required, &definition);
            let one = match self.try_environment(&attempt, environment, values, 1, &here).await {
                Ok(outcome) => {
                    let shown = outcome.tried.shown.as_ref();
                    Trying {
                        environment: environment.clone(),
                        request: shown.map(Shown::request_json),
                        response: shown.map(Shown::response_json),
                        account: outcome.tried.account,
                        refused: None,
                    }
                }
                Err(problem)
                    if matches!(problem.code, Code::VerificationFailed | Code::VerificationInconclusive) =>
                {
                    Trying {
                        environment: environment.clone(),
                        request: problem.extra.get("request").cloned(),
                        response: problem.extra.get("response").cloned(),
                        account: None,
                        refused: Some(problem),
                    }
                }
                Err(problem) => return Err(problem),
            };
            tried.push(one);
        }
        Ok(tried)
    }

    /// The definition; or, where it has nothing to ask for these values, the same asking at `path`.
    fn with_something_to_ask(
        &self,
        drafted: &Drafted,
        actor: &Actor,
        values: &latchstring_connectors::Values,
        here: &[&Place],
        path: &str,
    ) -> Refused<Arc<Definition>> {
        let definition = &drafted.found.definition;
        let attempt = drafted.attempt(actor, Verify::Required, definition);
        let runs = contexts(&attempt, values, here)?;
        let asks = runs.first().is_some_and(|(_, materials)| {
            let context = materials.context(None, None, self.now(), &*self.parts.entropy);
            // What does not render is told by the try itself.
            match definition.resolve(&drafted.method, &context) {
                Ok(resolved) => resolved.verify.is_some() || !resolved.complete,
                Err(_) => true,
            }
        });
        let says = drafted.method.verify.is_some() || definition.verify.is_some();
        if says && asks {
            return Ok(Arc::clone(definition));
        }
        Ok(Arc::new(definition.asking(&drafted.method.id, path)))
    }

    /// The requests that these materials make.
    pub(crate) fn sketch(
        &self,
        materials: &Materials,
        path: &str,
        mut open: BTreeSet<String>,
    ) -> Refused<Sketch> {
        let now = self.now();
        let method = materials.auth_method()?;
        open.extend(materials.definition.literal_headers(method));
        let bare = materials.resolve(None, now, &*self.parts.entropy)?;
        let (needs_token, complete) = (bare.needs_token, bare.complete);
        let from_token = needs_token && bare.base_url.is_none();
        let mut sketch = Sketch::default();
        let mut token = None;
        let mut resolved = bare;
        if needs_token {
            let mask = std::mem::take(&mut resolved.mask);
            let of_project = resolved.uses.secrets().next().is_some();
            let prepared =
                materials.prepare(resolved.scheme).map_err(|error| super::scheme_problem(&error))?;
            sketch.first = self.first_request(materials, &prepared, mask, of_project)?;
            let mut set = TokenSet::new(NO_TOKEN, now);
            set.token_secret = prepared.three_legged().map(|_| NO_TOKEN.into());
            resolved = match materials.resolve(Some(&set), now, &*self.parts.entropy) {
                Ok(resolved) => resolved,
                // What the answer brings beside the token is wanted, and nobody has asked.
                Err(_) if !complete => return Ok(sketch),
                Err(problem) => return Err(problem),
            };
            token = Some(LiveToken::new(set, 1, None));
        }
        let request = resolved.verify.take().unwrap_or_else(|| asked_at(path));
        let pins: Arc<[Pin]> = resolved.destinations.iter().map(|place| place.pin.clone()).collect();
        let mut secrets = resolved.mask.clone();
        let of_project = resolved.uses.secrets().next().is_some();
        let plan = Plan::build(self, materials, resolved, &pins, None, from_token)?;
        secrets.extend(plan.prepared.secrets_to_mask());
        secrets.extend(token.as_ref().map(|_| SecretString::from(NO_TOKEN)));
        match self.signed(&plan, token.as_ref(), &request) {
            Ok((wire, masker, _)) => {
                let veil = Veil::new(masker, secrets, open).strictly(of_project);
                sketch.call = Some(request_json(&veil, &wire, None));
            }
            // One of several tokens of an answer, which only that answer names.
            Err(_) if needs_token => {}
            Err(problem) => return Err(problem),
        }
        Ok(sketch)
    }

    /// What is asked before the API is: nothing where a person has to consent first.
    fn first_request(
        &self,
        materials: &Materials,
        prepared: &Prepared,
        mask: Vec<SecretString>,
        of_project: bool,
    ) -> Refused<Option<Value>> {
        let method = materials.auth_method()?;
        if method.needs_consent() {
            return Ok(None);
        }
        let now = self.now();
        let mut secrets = mask;
        let (wire, parameters) = match prepared.grant() {
            Some(grant) => {
                secrets.extend(grant.secrets(None));
                let wire = grant
                    .token_request(None, now, &*self.parts.entropy)
                    .map_err(|error| Box::new(error.to_problem()))?;
                (wire, Some(OPEN_PARAMETERS))
            }
            None => {
                let mut run = StepsRun::new(now);
                let context = materials.context(None, None, now, &*self.parts.entropy);
                let next = run.next(&materials.definition, method, &context);
                let StepsNext::Send(wire) = next.map_err(|error| render_problem(&error))? else {
                    return Ok(None);
                };
                secrets.extend(run.mask());
                (wire, None)
            }
        };
        let masker = Masker::new(Some(Arc::new(MaskSet::new(&secrets))), None);
        let veil = Veil::new(masker, secrets, BTreeSet::new()).strictly(of_project);
        Ok(Some(request_json(&veil, &wire, parameters)))
    }
}

impl Drafted {
    fn attempt<'a>(
        &'a self,
        actor: &'a Actor,
        verify: Verify,
        definition: &'a Arc<Definition>,
    ) -> Attempt<'a> {
        Attempt {
            actor,
            person: actor.as_user(),
            id: &self.id,
            definition,
            method: &self.method,
            verify,
            writes: true,
            held: None,
            client: self.client.clone().map(Arc::new),
            grant: None,
        }
    }
}
