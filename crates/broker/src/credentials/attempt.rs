//! One environment's values, tried in every context in which they are to be used: each project environment that
//! is granted them, as the person who acts. Where nothing of a context is read, asking once stands for all.

use std::collections::BTreeSet;
use std::sync::Arc;

use latchstring_connectors::{AuthMethod, Definition, OAuthClient, RenderError, Values};
use latchstring_model::entity::{Role, Status};
use latchstring_model::id::CredentialId;
use latchstring_model::problem::Refused;
use latchstring_model::{FieldError, Pin, Problem};
use latchstring_store::Tx;

use super::input::{Verify, escape};
use super::problems::Spot;
use super::sharing::Placed;
use super::verify::{Granted, Staged, Trial, Tried};
use crate::Broker;
use crate::actor::{Actor, Person};
use crate::permissions::Operation;
use crate::projects::access::{least_role, role_may};
use crate::road::authorise::{self, EnvironmentAt, ProjectAt};
use crate::road::materials::{Materials, Names, user_context};

/// A project environment in which values are to be used.
pub(crate) struct Place {
    pub project: ProjectAt,
    pub role: Role,
    pub environment: EnvironmentAt,
    /// The credential's environment that it is granted.
    pub ours: String,
    /// Not there before.
    pub added: bool,
    names: Arc<Names>,
}

/// What is the same for all environments of one try.
pub(crate) struct Attempt<'a> {
    pub actor: &'a Actor,
    /// `user` in templates; nobody where the server checks what a project owns.
    pub person: Option<&'a Person>,
    pub id: &'a CredentialId,
    pub definition: &'a Arc<Definition>,
    pub method: &'a AuthMethod,
    pub verify: Verify,
    /// Values or grants that are being saved: who acts answers for the secrets that they name. Not so in a check of what
    /// is stored.
    pub writes: bool,
    /// Pins that hold: nothing may go elsewhere. `None` for values that get new ones.
    pub held: Option<&'a [Pin]>,
    /// Our registration with the provider, for methods that need consent.
    pub client: Option<Arc<OAuthClient>>,
    /// Their grant, where there is one.
    pub grant: Option<&'a Granted>,
}

/// What came of one environment.
pub(crate) struct Outcome {
    /// With the pins of all contexts.
    pub tried: Tried,
    pub staged: Vec<Staged>,
}

impl Broker {
    /// The contexts of shares as they are to be. Where the person is no member, the share is dead: nobody can
    /// use it, and nothing of that project is opened.
    pub(crate) async fn places(&self, tx: &mut impl Tx, placed: &[Placed]) -> Refused<Vec<Place>> {
        let mut places = Vec::new();
        let ticket = authorise::owner_opens();
        for share in placed {
            let Some(role) = share.role else { continue };
            for (environment, ours) in &share.grants {
                let names = self.names(tx, &ticket, &share.project.id, &environment.id).await?;
                places.push(Place {
                    project: ProjectAt {
                        id: share.project.id.clone(),
                        slug: share.project.slug.clone(),
                        name: share.project.name.clone(),
                    },
                    role,
                    environment: EnvironmentAt { id: environment.id.clone(), name: environment.name.clone() },
                    ours: ours.clone(),
                    added: share.added().any(|(theirs, _)| theirs.id == environment.id),
                    names: Arc::new(names),
                });
            }
        }
        Ok(places)
    }

    pub(crate) async fn try_environment(
        &self,
        attempt: &Attempt<'_>,
        environment: &str,
        values: &Values,
        version: i64,
        places: &[&Place],
    ) -> Refused<Outcome> {
        let spot = Spot { method: attempt.method, environment };
        if attempt.writes {
            self.may_name(attempt, &spot, values, places)?;
        }
        let mut outcome = Outcome { tried: Tried::untried(self.now()), staged: Vec::new() };
        let runs = contexts(attempt, values, places)?;
        let mut seen = BTreeSet::new();
        for (number, (project, materials)) in runs.iter().enumerate() {
            let method = materials.auth_method()?;
            let context = materials.context(None, None, self.now(), &*self.parts.entropy);
            let rendered = match materials.definition.resolve(method, &context) {
                Ok(rendered) => rendered,
                // What belongs to a project is not there yet: the values wait for it, unpinned and unused.
                Err(RenderError::SecretMissing { .. }) if attempt.verify == Verify::Skip => continue,
                Err(RenderError::Template { .. }) if project.is_none() && attempt.verify == Verify::Skip => {
                    continue;
                }
                Err(error) if project.is_none() => return Err(without_project(&spot, &error)),
                Err(error) => return Err(spot.render(&error)),
            };
            let print = if rendered.uses.time {
                number.to_string()
            } else {
                rendered.uses.fingerprint(attempt.id.as_str().as_bytes())
            };
            if !seen.insert(print) {
                continue;
            }
            if rendered.consent.is_some() && !rendered.token_uses.only_values() {
                return Err(whose_consent(&spot));
            }
            // Said before anything is sent, whether or not anything will be asked.
            materials.prepare(rendered.scheme).map_err(|error| spot.scheme(&error))?;
            let trial = Trial {
                actor: attempt.actor,
                credential: attempt.id,
                environment,
                values_version: version,
                project: *project,
                materials,
                held: attempt.held,
                ask: attempt.verify == Verify::Required,
                grant: attempt.grant,
            };
            let mut tried = Box::pin(self.try_values(&trial)).await?;
            let mut pins = std::mem::take(&mut outcome.tried.pins);
            for pin in tried.pins.drain(..) {
                if !pins.contains(&pin) {
                    pins.push(pin);
                }
            }
            if let Some(one) = tried.staged.take()
                && outcome.staged.iter().all(|other| other.id != one.id)
            {
                outcome.staged.push(one);
            }
            outcome.tried = Tried { pins, ..tried };
        }
        if attempt.method.needs_consent() && attempt.grant.is_none() {
            outcome.tried.status = Status::NeedsAuthorization;
        }
        Ok(outcome)
    }

    /// Whoever writes a secret's name into a value makes it reach a call, and may send it where they like: that is for
    /// who has set the secret, and for those who administer the project.
    fn may_name(
        &self,
        attempt: &Attempt<'_>,
        spot: &Spot<'_>,
        values: &Values,
        places: &[&Place],
    ) -> Refused<()> {
        let named = values.secrets_named();
        if named.is_empty() || places.is_empty() {
            return Ok(());
        }
        self.unfrozen(attempt.actor)?;
        let signature = attempt.actor.signature();
        for place in places {
            if role_may(Some(place.role), Operation::SecretName) {
                continue;
            }
            let sets = role_may(Some(place.role), Operation::SecretSet);
            for secret in &named {
                let may = sets
                    && match place.names.setter(secret) {
                        Some(setter) => setter == signature,
                        // Without a dry request it would be whatever somebody sets under that name later.
                        None => attempt.verify == Verify::Required,
                    };
                if !may {
                    return Err(not_to_be_named(spot, secret, place));
                }
            }
        }
        Ok(())
    }
}

fn not_to_be_named(spot: &Spot<'_>, secret: &str, place: &Place) -> Box<Problem> {
    let detail = format!(
        "a value names the secret `{secret}` of {}, where your role is {}; who has not set it themselves (as {} or more) needs {}",
        place.project.slug,
        place.role,
        least_role(Operation::SecretSet),
        least_role(Operation::SecretName),
    );
    Problem::invalid(vec![FieldError::new(format!("/values/{}", escape(spot.environment)), detail)])
        .hint("Ask an admin of the project to store this credential, set a secret of your own and name that, or withdraw the grant there in the same request.")
        .into()
}

/// What values are tried with: in each of these places, or alone where there is none.
pub(crate) fn contexts<'p>(
    attempt: &Attempt<'_>,
    values: &Values,
    places: &[&'p Place],
) -> Refused<Vec<(Option<&'p ProjectAt>, Materials)>> {
    let person = attempt.person;
    let materials = |names: &Arc<Names>| {
        Materials::new(Arc::clone(attempt.definition), &attempt.method.id, values.clone(), Arc::clone(names))
            .with_client(attempt.client.clone())
    };
    if places.is_empty() {
        let mut alone = materials(&Arc::default());
        alone.user = person.map(user_context);
        return Ok(vec![(None, alone)]);
    }
    let here = |place: &&'p Place| {
        let materials = materials(&place.names).for_caller(person, &place.project, &place.environment);
        (Some(&place.project), materials)
    };
    Ok(places.iter().map(here).collect())
}

/// One consent, one grant: it cannot differ by who calls, where, or when.
fn whose_consent(spot: &Spot<'_>) -> Box<Problem> {
    let detail = "what this method's token depends on reads the caller, the project, a secret or the time; a person consents once, \
                  for the values as they are";
    Problem::invalid(vec![FieldError::new(format!("/values/{}", escape(spot.environment)), detail)])
        .hint("Write those values out, or make a credential for each of them.")
        .into()
}

/// Values that read something of a project, and no project that they are granted to.
fn without_project(spot: &Spot<'_>, error: &RenderError) -> Box<Problem> {
    let told = spot.render(error);
    let at = told.errors.first().map_or_else(String::new, |error| error.pointer.clone());
    let detail = match error {
        RenderError::SecretMissing { name, kind, .. } => format!(
            "reads the {kind} `{name}`, which belongs to a project's environment, and these values are granted to none"
        ),
        RenderError::Template { detail, .. }
            if detail.contains("project") || detail.contains("environment") =>
        {
            format!("reads something of a project, and these values are granted to none ({detail})")
        }
        _ => return told,
    };
    Problem::invalid(vec![FieldError::new(at, detail)])
        .hint("Grant the environment to a project in `shares`: it is verified there. Or save it unverified with `\"verify\": \"skip\"` and grant it later.")
        .into()
}
