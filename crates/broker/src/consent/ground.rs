//! What a consent stands on: the values, the client, the endpoints that follow from them, and whether all of that
//! is still what it was when the consent began.

use std::sync::Arc;

use latchstring_connectors::{Consent, RenderError, Resolved};
use latchstring_egress::Identity;
use latchstring_journal::Purpose;
use latchstring_model::entity::Principal;
use latchstring_model::id::ProjectId;
use latchstring_model::problem::Refused;
use latchstring_model::{Code, Pin, PinPurpose, Problem, SecretString};
use latchstring_schemes::oauth1::ThreeLegged;
use latchstring_schemes::oauth2::{ANSWER_LIMIT, Grant};
use latchstring_schemes::scheme::Prepared;
use latchstring_schemes::wire::{WireAnswer, WireRequest};
use latchstring_store::Tx;
use latchstring_store::consents::ConsentRow;

use crate::actor::{Actor, Who};
use crate::credentials::attempt::{Place, contexts};
use crate::credentials::check::Checked;
use crate::credentials::input::Verify;
use crate::credentials::problems::Spot;
use crate::credentials::withheld::check_held;
use crate::permissions::Operation;
use crate::road::materials::Materials;
use crate::road::own::{OwnCall, OwnFailure};
use crate::road::plan::{self, check_host, check_place, check_restricted};
use crate::{Broker, refusals};

/// How long a request of a consent's may take, answer included: a person sits before it.
pub(super) const WITHIN: std::time::Duration = std::time::Duration::from_secs(20);

/// What a person consents by.
pub(crate) enum Way {
    OAuth2(Box<Grant>),
    OAuth1(Box<ThreeLegged>),
}

/// Everything that asking the provider takes.
pub(crate) struct Ready {
    pub way: Way,
    /// Signs with the token that comes.
    pub prepared: Prepared,
    pub consent: Consent,
    /// Where the values go with the definition and client as they are now.
    pub pins: Arc<[Pin]>,
    pub identity: Option<Identity>,
    pub mask: Vec<SecretString>,
    pub materials: Materials,
}

impl Ready {
    /// What must not be shown of anything that the provider says.
    pub fn secrets(&self) -> Vec<SecretString> {
        let mut all = match &self.way {
            Way::OAuth2(grant) => grant.secrets(None),
            Way::OAuth1(scheme) => scheme.secrets(),
        };
        all.extend(self.mask.iter().cloned());
        all
    }

    /// Where people sign in: a host.
    pub fn host(&self) -> String {
        let origin = match &self.way {
            Way::OAuth1(legs) => &legs.authorize_url.origin,
            Way::OAuth2(grant) => match &**grant {
                Grant::AuthorizationCode(grant) => &grant.authorize_url.origin,
                Grant::DeviceCode(grant) => &grant.device_endpoint.url.origin,
                _ => return String::new(),
            },
        };
        origin.host.clone()
    }

    /// What the person is asked for.
    pub fn ask_for(&mut self, scopes: &[String]) {
        let scope = match &mut self.way {
            Way::OAuth2(grant) => grant.consent_scope(),
            Way::OAuth1(scheme) => Some(&mut scheme.scope),
        };
        if let Some(scope) = scope {
            scope.scopes = scopes.to_vec();
        }
    }
}

/// What of the values a grant depends on: where it is asked for and renewed, and with which parameters. Compared,
/// never shown or stored.
pub(crate) fn depends_on(resolved: &Resolved) -> Vec<SecretString> {
    if let Some(scheme) = resolved.scheme.three_legged() {
        let places = [&scheme.request_token_url, &scheme.authorize_url, &scheme.token_url];
        let mut parts: Vec<SecretString> = places.into_iter().map(|url| url.to_string().into()).collect();
        parts.push(scheme.client.consumer_key.as_str().into());
        return parts;
    }
    let (authorize, endpoint, client, refresh) = match resolved.scheme.grant() {
        Some(Grant::AuthorizationCode(grant)) => {
            (Some(&grant.authorize_url), &grant.endpoint, &grant.client, &grant.refresh)
        }
        Some(Grant::DeviceCode(grant)) => {
            (Some(&grant.device_endpoint.url), &grant.endpoint, &grant.client, &grant.refresh)
        }
        _ => return Vec::new(),
    };
    let mut parts: Vec<SecretString> = [authorize, Some(&endpoint.url), refresh.url.as_ref()]
        .into_iter()
        .flatten()
        .map(|url| url.to_string().into())
        .collect();
    parts.push(client.id.as_str().into());
    for (name, value) in endpoint.params.iter().chain(&refresh.params) {
        parts.push(name.as_str().into());
        parts.push(value.clone());
    }
    parts.extend(endpoint.resource.iter().map(|resource| resource.as_str().into()));
    parts
}

fn no_consent(method: &str) -> Box<Problem> {
    Problem::new(Code::ConsentNotNeeded, format!("The method `{method}` of this credential needs nobody's consent."))
        .hint("There is nothing to authorize: its tokens are obtained without a person. POST /api/v1/credentials/{id}/verify shows whether it works.")
        .into()
}

impl Broker {
    /// The values whose owner asks for consent.
    pub(super) async fn consent_ground(
        &self,
        actor: &Actor,
        id: &str,
        environment: &str,
    ) -> Refused<Checked> {
        let operation = Operation::CredentialAuthorize;
        let checked = self.load_for_check(actor, id, environment, operation).await?;
        if !checked.method.needs_consent() {
            return Err(no_consent(&checked.method.id));
        }
        let mut tx = self.parts.store.begin_read().await.map_err(refusals::store)?;
        self.client_stays(&mut tx, actor, &checked).await?;
        Ok(checked)
    }

    /// Whether the owner may still use the credential's client, and each project that the credential is used in.
    pub(super) async fn client_stays(
        &self,
        tx: &mut impl Tx,
        actor: &Actor,
        checked: &Checked,
    ) -> Refused<()> {
        let Some(client) = &checked.row.oauth_client_id else { return Ok(()) };
        let mut projects: Vec<ProjectId> =
            checked.shares.iter().map(|share| share.share.project_id.clone()).collect();
        if let Principal::Project(owner) = &checked.row.owner {
            projects.push(owner.clone());
        }
        let person = match &actor.who {
            Who::EndUser { .. } => None,
            _ => Some(actor.person()?),
        };
        self.client_is_still_for(tx, person, client, &projects).await
    }

    /// The same for a consent that was begun before, if nothing that it depends on has changed.
    pub(super) async fn ground_of(&self, actor: &Actor, row: &ConsentRow) -> Refused<Checked> {
        let checked = self.consent_ground(actor, row.credential_id.as_str(), &row.environment).await?;
        let client = checked.client.as_deref();
        let same = checked.values.version == row.values_version
            && client.map(|client| &client.id) == row.oauth_client_id.as_ref()
            && client.map(|client| client.digest.as_str()) == row.client_digest.as_deref();
        if same {
            return Ok(checked);
        }
        Err(Problem::new(
            Code::ConsentInvalid,
            "The credential or its OAuth client was changed while you were at the provider, so that answer is not used.",
        )
        .hint("Start the sign-in again.")
        .into())
    }

    /// Renders what asking takes, and looks whether each place may be gone to.
    pub(super) fn consent_ready(&self, actor: &Actor, checked: &Checked) -> Refused<Ready> {
        let places: Vec<&Place> = checked.places.iter().collect();
        let attempt = checked.attempt(actor, Verify::Required, None, None);
        let contexts = contexts(&attempt, &checked.read, &places)?;
        let materials = crate::tokens::one_that_renders(self, contexts)?;
        let spot = Spot { method: &checked.method, environment: &checked.values.environment };
        let context = materials.context(None, None, self.now(), &*self.parts.entropy);
        let resolved = materials
            .definition
            .resolve(&checked.method, &context)
            .map_err(|error: RenderError| spot.render(&error))?;
        for place in &resolved.destinations {
            check_place(self, &materials.definition, &resolved.client_hosts, place)
                .map_err(|problem| spot.destination(&place.from, *problem))?;
        }
        let pins: Arc<[Pin]> = resolved.destinations.iter().map(|place| place.pin.clone()).collect();
        check_restricted(&resolved.uses, &pins).map_err(|problem| spot.destination("", *problem))?;
        check_held(&checked.values.withheld, &checked.values.pins, &pins)?;
        let Some(consent) = resolved.consent else { return Err(no_consent(&checked.method.id)) };
        let (mask, ca) = (resolved.mask, resolved.ca_certificate);
        let prepared = materials.prepare(resolved.scheme).map_err(|error| spot.scheme(&error))?;
        let identity = plan::identity(self, &materials, &prepared, ca.as_ref())?;
        let way = match (prepared.grant(), prepared.three_legged()) {
            (Some(grant), _) => Way::OAuth2(Box::new(grant.clone())),
            (None, Some(scheme)) => Way::OAuth1(Box::new(scheme.clone())),
            (None, None) => return Err(no_consent(&checked.method.id)),
        };
        let page = match &way {
            Way::OAuth2(grant) => match &**grant {
                Grant::AuthorizationCode(code) => Some(&code.authorize_url.origin),
                _ => None,
            },
            Way::OAuth1(scheme) => Some(&scheme.authorize_url.origin),
        };
        // A value that a person typed must not send others to a page that only looks like the provider's.
        if let Some(origin) = page.filter(|_| !consent.authorize_fixed) {
            check_host(self, &materials.definition, origin)
                .map_err(|problem| spot.destination("authorize_url", *problem))?;
        }
        Ok(Ready { way, prepared, consent, pins, identity, mask, materials })
    }

    /// One request to the provider, recorded like every other.
    pub(super) async fn ask_provider(
        &self,
        actor: &Actor,
        checked: &Checked,
        ready: &Ready,
        purpose: Purpose,
        what: &str,
        request: WireRequest,
    ) -> Result<WireAnswer, OwnFailure> {
        let own = OwnCall {
            actor,
            project: None,
            credential: &checked.row.id,
            environment: &checked.values.environment,
            project_environment: None,
            purpose,
            pins: &ready.pins,
            pin: PinPurpose::Token,
            identity: ready.identity.as_ref(),
            path: what,
            acts_as: None,
            max_body: ANSWER_LIMIT + 1,
            within: WITHIN,
        };
        self.fetch(own, request).await
    }
}
