//! Verification of values that are stored: the dry request again, for their owner and for members who may use
//! them. It moves how the values stand: a success makes them verified, two refusals in a row failing; an answer
//! that says nothing moves nothing.

use std::sync::Arc;

use latchstring_connectors::{AuthMethod, Definition, OAuthClient, Values};
use latchstring_model::entity::{Principal, Status};
use latchstring_model::id::ProjectId;
use latchstring_model::problem::Refused;
use latchstring_model::{Code, FieldError, Pin, Problem, Timestamp};
use latchstring_store::credentials::CredentialRow;
use latchstring_store::shares::{self, ShareWithGrants};
use latchstring_store::values::{self, Standing, ValuesRow};
use latchstring_store::{Tx, members, users};
use serde_json::Value;

use super::access::{Held, Stand, held};
use super::attempt::{Attempt, Outcome, Place};
use super::change::scheduled;
use super::input::Verify;
use super::save::told;
use super::sharing::{self, Wanted};
use super::verify::Granted;
use super::withheld::held_to;
use crate::actor::{Actor, Person, Who};
use crate::audit::Event;
use crate::permissions::Operation;
use crate::projects::access::{self, role_may};
use crate::road::route::connector_changed;
use crate::{Broker, refusals};

/// How the note about a check begins. Only a refusal counts towards `failing`.
const REFUSED: &str = "Refused: ";
const UNCLEAR: &str = "Not clear: ";

/// What a check found out, masked.
pub struct Report {
    /// What this check says: `verified`, `failing` (refused) or `unverified` (nothing to ask, or no clear answer).
    pub status: Status,
    /// How the values stand now.
    pub stands: Status,
    pub checked_at: Timestamp,
    /// Why not, for programs.
    pub code: Option<Code>,
    pub request: Option<Value>,
    pub response: Option<Value>,
    pub explanation: String,
    pub hint: Option<String>,
    pub account: Option<String>,
    pub errors: Vec<FieldError>,
}

/// Whose values are checked, and where.
pub(crate) struct Checked {
    pub row: CredentialRow,
    pub values: ValuesRow,
    pub shares: Vec<ShareWithGrants>,
    pub places: Vec<Place>,
    /// As whom they are tried; nobody where the server checks what a project owns.
    pub person: Option<Person>,
    /// The owner's check may move the pins; a member's may not, nor one while owner rights rest.
    pub owner: bool,
    pub definition: Arc<Definition>,
    pub method: AuthMethod,
    pub read: Values,
    /// For methods that need consent.
    pub client: Option<Arc<OAuthClient>>,
}

impl Checked {
    /// Where the values may go, for whom that is fixed: who only uses them, and who may not read them.
    pub(crate) fn held(&self) -> Option<&[Pin]> {
        if self.owner { held_to(&self.values.withheld, &self.values.pins) } else { Some(&self.values.pins) }
    }

    /// The request as whoever asked for the check may see it: its origin is in the trail of calls anyway. What else is not
    /// secret in it (paths, fixed headers, what stands in the query) is for an owner's eyes who may read all of the values.
    fn request_for_asker(&self, request: Value) -> Value {
        if self.owner { request_for_owner(request, &self.values.withheld) } else { origin_alone(request) }
    }

    /// How these values are tried. `held`: see [`Attempt`].
    pub(crate) fn attempt<'a>(
        &'a self,
        actor: &'a Actor,
        verify: Verify,
        held: Option<&'a [Pin]>,
        grant: Option<&'a Granted>,
    ) -> Attempt<'a> {
        Attempt {
            actor,
            person: self.person.as_ref(),
            id: &self.row.id,
            definition: &self.definition,
            method: &self.method,
            verify,
            writes: false,
            held,
            client: self.client.clone(),
            grant,
        }
    }
}

/// A request that was shown beside what it was answered, for the owner: who may not read all of the values does not read
/// them here.
pub(crate) fn request_for_owner(request: Value, withheld: &[String]) -> Value {
    if withheld.is_empty() { request } else { origin_alone(request) }
}

/// A refusal with such a request in it.
pub(crate) fn for_owner(mut problem: Box<Problem>, withheld: &[String]) -> Box<Problem> {
    if let Some(request) = problem.extra.remove("request") {
        problem.extra.insert("request".into(), request_for_owner(request, withheld));
    }
    problem
}

fn origin_alone(mut request: Value) -> Value {
    if let Some(shown) = request.as_object_mut() {
        shown.remove("headers");
        shown.remove("body");
        if let Some(Value::String(url)) = shown.get_mut("url") {
            let path =
                url.find("://").and_then(|at| url[at + 3..].find(['/', '?', '#']).map(|end| at + 3 + end));
            url.truncate(path.unwrap_or(url.len()));
        }
    }
    request
}

/// There is nothing to ask with: why, and what its owner does about it.
fn report_without_grant(checked: &Checked, problem: Box<Problem>, now: Timestamp) -> Refused<Report> {
    let status = match problem.code {
        Code::NeedsAuthorization => Status::NeedsAuthorization,
        Code::NeedsReconnect => Status::NeedsReconnect,
        Code::TokenEndpointError => Status::Unverified,
        _ => return Err(problem),
    };
    Ok(Report {
        status,
        stands: checked.values.standing.status,
        checked_at: now,
        code: Some(problem.code),
        request: None,
        response: None,
        explanation: problem.detail.into_owned(),
        hint: problem.hint.map(std::borrow::Cow::into_owned),
        account: None,
        errors: Vec::new(),
    })
}

/// The next standing after one that is refused, unclear or good.
fn stands(before: &Standing, verdict: Verdict, text: &str, now: Timestamp) -> Standing {
    let mut after = before.clone();
    after.checked_at = Some(now);
    match verdict {
        Verdict::Good => {
            after.status = Status::Verified;
            after.verified_at = Some(now);
            after.check_error = None;
        }
        Verdict::Refused => {
            let again = before.check_error.as_deref().is_some_and(|error| error.starts_with(REFUSED));
            if again && matches!(before.status, Status::Verified | Status::Unverified) {
                after.status = Status::Failing;
            }
            after.check_error = Some(format!("{REFUSED}{text}"));
        }
        Verdict::Unclear => {
            // A refusal before it still counts.
            if !before.check_error.as_deref().is_some_and(|error| error.starts_with(REFUSED)) {
                after.check_error = Some(format!("{UNCLEAR}{text}"));
            }
        }
        // There was nothing to ask: not a check of the API.
        Verdict::NotAsked => after.checked_at = before.checked_at,
    }
    after
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Good,
    Refused,
    Unclear,
    NotAsked,
}

impl Broker {
    /// Asks the API with the stored values of one of the credential's environments.
    pub async fn verify_credential(
        self: &Arc<Self>,
        actor: &Actor,
        id: &str,
        environment: &str,
    ) -> Refused<Report> {
        let checked = self.load_for_check(actor, id, environment, Operation::CredentialVerify).await?;
        let places: Vec<&Place> = checked.places.iter().collect();
        let held = checked.held();
        let grant = match self.grant_of(actor, &checked).await {
            Ok(grant) => grant,
            Err(problem) => return report_without_grant(&checked, problem, self.now()),
        };
        let attempt = checked.attempt(actor, Verify::Required, held, grant.as_ref());
        let version = checked.values.version;
        let tried = self.try_environment(&attempt, environment, &checked.read, version, &places).await;
        let now = self.now();
        match tried {
            Ok(outcome) => self.report_good(actor, &checked, outcome, now).await,
            Err(problem) => self.report_bad(actor, &checked, problem, now).await,
        }
    }

    pub(crate) async fn load_for_check(
        &self,
        actor: &Actor,
        id: &str,
        environment: &str,
        operation: Operation,
    ) -> Refused<Checked> {
        actor.may_manage()?;
        let mut tx = self.parts.store.begin_read().await.map_err(refusals::store)?;
        let Held { row, stand } = held(&mut tx, actor, id, operation).await?;
        let owner = stand == Stand::Owner && !self.is_frozen(actor);
        if row.deletes_at.is_some() {
            return Err(scheduled());
        }
        if row.disabled {
            return Err(Problem::new(
                Code::CredentialDisabled,
                "The credential is disabled: it is not sent anywhere.",
            )
            .hint("Its owner can enable it: POST /api/v1/credentials/{id}/enable.")
            .into());
        }
        let all = values::list(&mut tx, &row).await.map_err(refusals::store)?;
        let Some(values) = all.iter().find(|values| values.environment == environment).cloned() else {
            let has: Vec<&str> = all.iter().map(|values| values.environment.as_str()).collect();
            let detail =
                format!("the credential has no values for `{environment}`; it has {}", has.join(", "));
            return Err(Problem::invalid(vec![FieldError::new("/environment", detail)]).into());
        };
        let shares = shares::list_of_credential(&mut tx, &row).await.map_err(refusals::store)?;
        let places = self.places_for_check(&mut tx, actor, &row, &shares, environment).await?;
        if !owner && places.is_empty() {
            if stand == Stand::Owner {
                self.unfrozen(actor)?;
            }
            return Err(Problem::new(
                Code::Forbidden,
                format!("No environment in which you may call is granted these values (`{environment}`)."),
            )
            .hint("Its owner decides in the share's grants; in the project, calls need the role editor.")
            .into());
        }
        self.to_check(&mut tx, actor.as_user().cloned(), row, values, shares, places, owner).await
    }

    /// Puts together what a try takes; whether it may be tried was decided before.
    #[allow(clippy::too_many_arguments, reason = "the parts of one check, each looked up before")]
    pub(super) async fn to_check(
        &self,
        tx: &mut impl Tx,
        person: Option<Person>,
        row: CredentialRow,
        values: ValuesRow,
        shares: Vec<ShareWithGrants>,
        places: Vec<Place>,
        owner: bool,
    ) -> Refused<Checked> {
        let found = self.definition_by_uid(tx, &row.connector).await?;
        let ticket = crate::road::authorise::owner_opens();
        let client = self.client_of(tx, &ticket, &row, &found).await?;
        let client = client.map(|opened| Arc::new(opened.client));
        let definition = found.definition;
        let Some(method) = definition.method(&row.auth_method).cloned() else {
            return Err(connector_changed(&definition.name));
        };
        if found.row.is_some() && definition.digest() != row.digest {
            return Err(connector_changed(&definition.name));
        }
        self.ensure_data_key(&values.data_key).await?;
        let opened = self.open_values(&row, &values)?;
        let read = definition.load_values(&method, &opened).map_err(|errors| {
            Problem::new(Code::TemplateError, "Stored values do not fit the connector any more.")
                .hint("Its owner edits the fields that are named and saves them again.")
                .errors(if owner { errors } else { Vec::new() })
        })?;
        Ok(Checked { row, values, shares, places, person, owner, definition, method, read, client })
    }

    /// The contexts of this person: environments that are granted these values, in projects where they may call.
    async fn places_for_check(
        &self,
        tx: &mut impl Tx,
        actor: &Actor,
        row: &CredentialRow,
        shares: &[ShareWithGrants],
        environment: &str,
    ) -> Refused<Vec<Place>> {
        let mut usable = Vec::new();
        let there = self.owner_is_there(tx, row).await?;
        for share in shares {
            // A share lives only while its owner is an active member: a member's check is a use like any other.
            if !there || !self.share_lives(tx, row, &share.share.project_id).await? {
                continue;
            }
            let role = access::role(tx, actor, &share.share.project_id).await?;
            if role_may(role, Operation::Call) && !share.share.suspended {
                let mut share = share.clone();
                share.grants.retain(|grant| grant.credential_environment == environment);
                usable.push(share);
            }
        }
        let inputs = sharing::unchanged(&usable);
        let values = [environment.to_owned()].into();
        let wanted = Wanted {
            actor,
            owner: &row.owner,
            name: &row.name,
            slug: None,
            external_id: None,
            shares: &inputs,
            existing: &usable,
            values: &values,
        };
        let placed = sharing::place(tx, &wanted).await?;
        self.places(tx, &placed).await
    }

    /// A person's account is active; a project always is there.
    pub(super) async fn owner_is_there(&self, tx: &mut impl Tx, row: &CredentialRow) -> Refused<bool> {
        Ok(match &row.owner {
            Principal::Project(_) => true,
            Principal::User(id) => {
                users::by_id(tx, id).await.map_err(refusals::store)?.is_some_and(|user| user.fields.active)
            }
        })
    }

    /// The owner is this project or a member of it.
    pub(super) async fn share_lives(
        &self,
        tx: &mut impl Tx,
        row: &CredentialRow,
        project: &ProjectId,
    ) -> Refused<bool> {
        Ok(match &row.owner {
            Principal::Project(owner) => owner == project,
            Principal::User(id) => members::role(tx, project, id).await.map_err(refusals::store)?.is_some(),
        })
    }

    pub(super) async fn report_good(
        &self,
        actor: &Actor,
        checked: &Checked,
        outcome: Outcome,
        now: Timestamp,
    ) -> Refused<Report> {
        let Outcome { tried, staged } = outcome;
        let asked = tried.status == Status::Verified;
        let verdict = if asked { Verdict::Good } else { Verdict::NotAsked };
        let quiet = !asked && actor.who == Who::Operator;
        let mut standing = stands(&checked.values.standing, verdict, "", now);
        if tried.account.is_some() {
            standing.account.clone_from(&tried.account);
        }
        let pins = checked.held().is_none().then_some(tried.pins.as_slice());
        let code = if asked { "verified" } else { "not_asked" };
        // Where there is nothing to ask, the server's own checks leave nothing behind, day after day.
        if !quiet {
            self.keep_check(actor, checked, &standing, pins, &staged, code).await?;
        }
        let (request, response) = match &tried.shown {
            Some(shown) => {
                (Some(checked.request_for_asker(shown.request_json())), Some(shown.response_json()))
            }
            None => (None, None),
        };
        let token = if staged.iter().all(|staged| staged.stored.is_some()) {
            ""
        } else {
            " The token endpoint gave a new token."
        };
        let status = tried.shown.as_ref().and_then(|shown| shown.status);
        let explanation = match (asked, status) {
            (true, Some(status)) => format!("The API accepted the credential: it answered {status}.{token}"),
            (true, None) => format!("The API accepted the credential.{token}"),
            (false, _) if tried.status == Status::NeedsAuthorization => {
                "Consent has not been given yet, so there is nothing to ask with.".to_owned()
            }
            (false, _) => format!(
                "There is no request to check this credential with: the connector names none, and no test path is set.{token}"
            ),
        };
        let hint = (!asked).then(|| {
            "Set the field `test_path`, if the method has it, to something that the API shows only to those it knows, such as /me.".to_owned()
        });
        Ok(Report {
            status: if asked { Status::Verified } else { tried.status },
            stands: standing.status,
            checked_at: now,
            code: None,
            request,
            response,
            explanation,
            hint,
            account: tried.account,
            errors: Vec::new(),
        })
    }

    pub(super) async fn report_bad(
        &self,
        actor: &Actor,
        checked: &Checked,
        mut problem: Box<Problem>,
        now: Timestamp,
    ) -> Refused<Report> {
        let verdict = match problem.code {
            Code::VerificationFailed => Verdict::Refused,
            Code::VerificationInconclusive => Verdict::Unclear,
            // What is wrong with the values or the context is told; nothing was sent.
            Code::Invalid
            | Code::NoBaseUrl
            | Code::SecretMissing
            | Code::TemplateError
            | Code::DestinationNotAllowed => Verdict::NotAsked,
            _ => return Err(problem),
        };
        let standing = stands(&checked.values.standing, verdict, &problem.detail, now);
        let code = problem.code;
        self.keep_check(actor, checked, &standing, None, &[], code.as_str()).await?;
        Ok(Report {
            status: if verdict == Verdict::Refused { Status::Failing } else { Status::Unverified },
            stands: standing.status,
            checked_at: now,
            code: Some(code),
            request: problem.extra.remove("request").map(|request| checked.request_for_asker(request)),
            response: problem.extra.remove("response"),
            explanation: problem.detail.into_owned(),
            hint: problem.hint.map(std::borrow::Cow::into_owned),
            account: None,
            // Pointers into values are the owner's to follow.
            errors: if checked.owner { problem.errors } else { Vec::new() },
        })
    }

    /// Writes what was found out, if the values are still those that were checked.
    async fn keep_check(
        &self,
        actor: &Actor,
        checked: &Checked,
        standing: &Standing,
        pins: Option<&[Pin]>,
        staged: &[super::verify::Staged],
        found: &'static str,
    ) -> Refused<()> {
        let Checked { row, values: current, shares, .. } = checked;
        let moved = pins.filter(|pins| *pins != current.pins.as_slice());
        let mut scopes: Vec<&str> = vec![row.id.as_str()];
        if moved.is_some() {
            scopes.extend(shares.iter().map(|share| share.share.project_id.as_str()));
        }
        let mut tx = self.parts.store.begin_write(&scopes).await.map_err(refusals::store)?;
        let environment = &current.environment;
        let held = values::set_standing(&mut tx, row, environment, current.version, standing)
            .await
            .map_err(refusals::store)?;
        let mut event =
            Event::new("credential.verify").environment(environment.as_str()).detail("found", found);
        event = event.detail("status", standing.status.as_str());
        if held {
            if standing.status == Status::Failing && current.standing.status != Status::Failing {
                let reason = standing.check_error.as_deref().unwrap_or_default();
                self.tell_failing(&mut tx, row, environment, current.version, reason)
                    .await
                    .map_err(refusals::store)?;
            }
            if let Some(pins) = moved {
                values::set_pins(&mut tx, row, environment, current.version, pins)
                    .await
                    .map_err(refusals::store)?;
                let suspended = self.suspend_others(&mut tx, actor, checked, pins).await?;
                if !suspended.is_empty() {
                    event = event.detail("suspended", suspended);
                }
                event = event.detail("destinations", super::destinations::origins(pins));
            }
            self.keep_tokens(&mut tx, row, environment, current.version, staged).await?;
        }
        let events = if standing.status != current.standing.status || moved.is_some() {
            told(row, shares, &event)
        } else {
            told(row, &[], &event)
        };
        self.record_all(&mut tx, actor, events).await?;
        tx.commit().await.map_err(refusals::store)?;
        Ok(())
    }

    /// The owner's check found the API at a new origin: projects that this person does not administer accept it
    /// first. What is held is not in `checked.values.pins`.
    pub(crate) async fn suspend_others(
        &self,
        tx: &mut latchstring_store::WriteTx,
        actor: &Actor,
        checked: &Checked,
        pins: &[Pin],
    ) -> Refused<Vec<String>> {
        let known = |pin: &Pin| checked.values.pins.iter().any(|old| old.origin == pin.origin);
        // Values that were never pinned were of no use to anybody yet; nor was what waits for an end user's consent.
        let unused = checked.values.pins.is_empty() || matches!(actor.who, Who::EndUser { .. });
        if unused || pins.iter().all(known) {
            return Ok(Vec::new());
        }
        let mut suspended = Vec::new();
        for share in &checked.shares {
            let granted =
                share.grants.iter().any(|grant| grant.credential_environment == checked.values.environment);
            let role = access::role(tx, actor, &share.share.project_id).await?;
            if granted && !role_may(role, Operation::ShareAccept) {
                let mut row = share.share.clone();
                row.suspended = true;
                shares::update(tx, &row).await.map_err(refusals::store)?;
                suspended.push(share.project_slug.clone());
            }
        }
        Ok(suspended)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn fresh() -> Standing {
        Standing {
            status: Status::Verified,
            verified_at: Some(Timestamp(1)),
            checked_at: Some(Timestamp(1)),
            check_error: None,
            account: None,
            scopes: None,
        }
    }

    #[test]
    fn two_refusals_in_a_row_fail_and_a_success_clears() {
        let once = stands(&fresh(), Verdict::Refused, "401", Timestamp(2));
        assert_eq!((once.status, once.check_error.as_deref()), (Status::Verified, Some("Refused: 401")));
        let unclear = stands(&once, Verdict::Unclear, "503", Timestamp(3));
        assert_eq!(
            unclear.check_error.as_deref(),
            Some("Refused: 401"),
            "what says nothing forgives nothing"
        );
        let twice = stands(&unclear, Verdict::Refused, "401", Timestamp(4));
        assert_eq!((twice.status, twice.checked_at), (Status::Failing, Some(Timestamp(4))));
        let good = stands(&twice, Verdict::Good, "", Timestamp(5));
        assert_eq!(
            (good.status, good.check_error, good.verified_at),
            (Status::Verified, None, Some(Timestamp(5)))
        );
    }

    #[test]
    fn what_is_unclear_does_not_count() {
        let unclear = stands(&fresh(), Verdict::Unclear, "503", Timestamp(2));
        assert_eq!(
            (unclear.status, unclear.check_error.as_deref()),
            (Status::Verified, Some("Not clear: 503"))
        );
        let refused = stands(&unclear, Verdict::Refused, "401", Timestamp(3));
        assert_eq!(refused.status, Status::Verified);
        let not_asked = stands(&refused, Verdict::NotAsked, "", Timestamp(9));
        assert_eq!(not_asked, refused);
    }
}
