//! Stored values that are checked again by the server itself, so that a key which was withdrawn is known before a call
//! fails: two refusals in a row make them `failing` and tell the owner, a success clears it.
//!
//! It is the check that an owner asks for ([`super::check`]), on the same road, with pins that hold. Never a storm: each
//! environment has a time of its own, chosen at random within the interval; moving that time on is the lease, so that of
//! several servers one asks; at most [`AT_ONCE`] are under way, and [`EACH_AT_ONCE`] of one owner. After a refusal it is
//! asked once more within the hour, and not at the next turn.

use std::sync::Arc;
use std::time::Duration;

use latchstring_model::entity::{Principal, Status};
use latchstring_model::id::ProjectId;
use latchstring_model::problem::Refused;
use latchstring_model::{Code, Timestamp};
use latchstring_store::checks::{self, DueCheck};
use latchstring_store::credentials::{self as rows, CredentialRow};
use latchstring_store::environments::EnvironmentRow;
use latchstring_store::shares::{self, ShareWithGrants};
use latchstring_store::{ReadTx, members, projects, users, values};
use tokio::task::JoinHandle;

use super::attempt::Place;
use super::check::Checked;
use super::input::Verify;
use super::sharing::Placed;
use crate::actor::{Actor, Person};
use crate::jobs::places::{Full, Places};
use crate::permissions::Operation;
use crate::projects::access::role_may;
use crate::{Broker, refusals};

/// Checks that are under way at the same time; and of one owner.
pub const AT_ONCE: usize = 4;
pub const EACH_AT_ONCE: usize = 1;
/// Environments that get their first time in one turn, and that one turn looks at.
const PLANNED: i64 = 500;
const LOOKED_AT: i64 = 32;
/// After a refusal, in milliseconds: soon enough to know, late enough for a provider's short trouble to be over.
const AGAIN: i64 = 3_600_000;

pub(crate) struct Turns(Places);

impl Default for Turns {
    fn default() -> Self {
        Self(Places::new(AT_ONCE, EACH_AT_ONCE))
    }
}

impl Broker {
    /// Between `from` and `to` tenths of an interval, at random.
    fn within(&self, every: Duration, from: i64, to: i64) -> i64 {
        let mut bytes = [0; 4];
        self.parts.entropy.fill(&mut bytes);
        let tenth = i128::try_from(every.as_millis()).unwrap_or(i128::MAX / 10) / 10;
        let chance = i128::from(u32::from_be_bytes(bytes));
        let more = tenth.saturating_mul(i128::from(to - from)).saturating_mul(chance) / i128::from(u32::MAX);
        i64::try_from(tenth * i128::from(from) + more).unwrap_or(i64::MAX / 2)
    }

    /// One turn: begins what is due, as far as there are places. The handles are for whoever wants to wait.
    pub async fn check_due_values(self: &Arc<Self>) -> Refused<Vec<JoinHandle<()>>> {
        let mut begun = Vec::new();
        let Some(every) = self.settings.verify_every else { return Ok(begun) };
        let now = self.now();
        self.plan_checks(every, now).await?;
        if self.checks.0.are_full() {
            return Ok(begun);
        }
        let mut reader = self.parts.store.read().await.map_err(refusals::store)?;
        let due = checks::due(&mut reader, now, LOOKED_AT).await.map_err(refusals::store)?;
        drop(reader);
        for due in due {
            let place = match self.checks.0.take(&due.owner_id) {
                Ok(place) => place,
                Err(Full::Theirs) => continue,
                Err(Full::All) => break,
            };
            let next = now.plus_millis(self.within(every, 9, 11));
            let mut tx = self.parts.store.begin_upkeep().await.map_err(refusals::store)?;
            if !checks::take(&mut tx, &due, next).await.map_err(refusals::store)? {
                continue;
            }
            tx.commit().await.map_err(refusals::store)?;
            let broker = Arc::clone(self);
            begun.push(tokio::spawn(async move {
                if let Err(problem) = Box::pin(broker.check_again(&due, every)).await {
                    // What is wrong with it is told where somebody can do something about it.
                    tracing::debug!(credential = %due.credential_id, problem = %problem, "values were not checked again");
                }
                drop(place);
            }));
        }
        Ok(begun)
    }

    async fn plan_checks(&self, every: Duration, now: Timestamp) -> Refused<()> {
        let mut reader = self.parts.store.read().await.map_err(refusals::store)?;
        let new = checks::unplanned(&mut reader, PLANNED).await.map_err(refusals::store)?;
        drop(reader);
        if new.is_empty() {
            return Ok(());
        }
        let mut tx = self.parts.store.begin_upkeep().await.map_err(refusals::store)?;
        for (credential, environment) in new {
            let at = now.plus_millis(self.within(every, 1, 11));
            checks::plan(&mut tx, &credential, &environment, at).await.map_err(refusals::store)?;
        }
        tx.commit().await.map_err(refusals::store)?;
        Ok(())
    }

    async fn check_again(self: &Arc<Self>, due: &DueCheck, every: Duration) -> Refused<()> {
        let Some(checked) = self.due_check(due).await? else { return Ok(()) };
        let server = Actor::operator();
        let grant = match self.grant_of(&server, &checked).await {
            Ok(grant) => grant,
            // A grant that is dead was told when it died.
            Err(problem) if matches!(problem.code, Code::NeedsAuthorization | Code::NeedsReconnect) => {
                return Ok(());
            }
            Err(problem) => return Err(problem),
        };
        let places: Vec<&Place> = checked.places.iter().collect();
        let attempt = checked.attempt(&server, Verify::Required, checked.held(), grant.as_ref());
        let version = checked.values.version;
        let tried = self.try_environment(&attempt, &due.environment, &checked.read, version, &places).await;
        let now = self.now();
        let report = match tried {
            Ok(outcome) => self.report_good(&server, &checked, outcome, now).await?,
            Err(problem) => self.report_bad(&server, &checked, problem, now).await?,
        };
        if report.code == Some(Code::VerificationFailed) && report.stands != Status::Failing {
            let soon = i64::try_from(every.as_millis()).unwrap_or(i64::MAX).min(AGAIN);
            let at =
                now.plus_millis(soon / 2 + self.within(Duration::from_millis(soon.unsigned_abs()), 0, 5));
            let mut tx = self.parts.store.begin_upkeep().await.map_err(refusals::store)?;
            checks::put_off(&mut tx, &due.credential_id, &due.environment, version, at)
                .await
                .map_err(refusals::store)?;
            tx.commit().await.map_err(refusals::store)?;
        }
        Ok(())
    }

    /// `None`: it is not for checks any more, or the values are others by now.
    async fn due_check(&self, due: &DueCheck) -> Refused<Option<Checked>> {
        let mut tx = self.parts.store.begin_read().await.map_err(refusals::store)?;
        let row = rows::for_upkeep(&mut tx, &due.credential_id).await.map_err(refusals::store)?;
        let Some(row) = row.filter(|row| !row.disabled && row.deletes_at.is_none()) else { return Ok(None) };
        let values = values::one(&mut tx, &row, &due.environment).await.map_err(refusals::store)?;
        let Some(values) = values.filter(|values| values.version == due.version) else { return Ok(None) };
        let person = match &row.owner {
            Principal::User(id) => {
                let user = users::by_id(&mut tx, id).await.map_err(refusals::store)?;
                match user.filter(|user| user.fields.active) {
                    Some(user) => Some(Person::of(&user)),
                    None => return Ok(None),
                }
            }
            Principal::Project(_) => None,
        };
        let shares = shares::list_of_credential(&mut tx, &row).await.map_err(refusals::store)?;
        let placed = self.placed_for_upkeep(&mut tx, &row, &shares, &due.environment).await?;
        let places = self.places(&mut tx, &placed).await?;
        // As for somebody who only uses them: nothing that a check finds moves where the values go.
        self.to_check(&mut tx, person, row, values, shares, places, false).await.map(Some)
    }

    /// Where these values are used, of shares that live.
    async fn placed_for_upkeep(
        &self,
        tx: &mut ReadTx,
        row: &CredentialRow,
        shares: &[ShareWithGrants],
        environment: &str,
    ) -> Refused<Vec<Placed>> {
        let mut placed = Vec::new();
        for share in shares.iter().filter(|share| !share.share.suspended) {
            let id: &ProjectId = &share.share.project_id;
            if !self.share_lives(tx, row, id).await? {
                continue;
            }
            let role = match &row.owner {
                Principal::User(user) => members::role(tx, id, user).await.map_err(refusals::store)?,
                Principal::Project(_) => Some(latchstring_model::entity::Role::Owner),
            };
            if !role_may(role, Operation::Call) {
                continue;
            }
            let Some(project) = projects::by_id(tx, id).await.map_err(refusals::store)? else { continue };
            let used = share.grants.iter().filter(|grant| grant.credential_environment == environment);
            let grants = used
                .map(|grant| {
                    let theirs =
                        EnvironmentRow { id: grant.environment_id.clone(), name: grant.environment.clone() };
                    (theirs, grant.credential_environment.clone())
                })
                .collect();
            placed.push(Placed {
                project,
                role,
                slug: share.share.slug.clone(),
                external_id: share.share.external_id.clone(),
                grants,
                existing: Some(share.clone()),
            });
        }
        Ok(placed)
    }
}
