//! Reminders ahead: a credential's `expires_on`, and the end of certificates that stand in its values. A certificate
//! ends on its own day whatever its owner noted, and both are told.

use latchstring_model::Timestamp;
use latchstring_model::problem::Refused;
use latchstring_store::checks::{self, Ending};
use latchstring_store::credentials as rows;
use latchstring_store::{StoreError, values};

use super::{DAY, EXPIRING, Telling, more, tell};
use crate::credentials::save::certificates_end;
use crate::jobs::supervisor::Again;
use crate::{Broker, refusals};

/// Days before the end at which it is told.
pub const REMINDED: [i64; 3] = [30, 14, 3];

/// Rows that one statement looks at.
const AT_ONCE: i64 = 200;

/// Which of the reminders is due: the last whose time has come.
fn days_ahead(ends_at: Timestamp, now: Timestamp) -> Option<i64> {
    let left = ends_at.millis() - now.millis();
    REMINDED.into_iter().rev().find(|days| left <= days * DAY).filter(|_| left > 0)
}

impl Broker {
    /// What ends within thirty days, told 30, 14 and 3 days ahead. What was told already is not told again.
    pub async fn tell_of_endings(&self) -> Refused<Again> {
        self.read_certificates().await?;
        let now = self.now();
        let until = now.plus_millis(REMINDED[0] * DAY);
        let mut after = String::new();
        loop {
            let mut reader = self.parts.store.read().await.map_err(refusals::store)?;
            let found = checks::credentials_ending(&mut reader, now, until, &after, AT_ONCE)
                .await
                .map_err(refusals::store)?;
            drop(reader);
            for ending in &found {
                after = ending.credential.id.to_string();
                self.tell_of_ending(ending, now).await.map_err(refusals::store)?;
            }
            if !i64::try_from(found.len()).is_ok_and(|count| count >= AT_ONCE) {
                break;
            }
        }
        let mut after = (String::new(), String::new());
        loop {
            let mut reader = self.parts.store.read().await.map_err(refusals::store)?;
            let found = checks::certificates_ending(&mut reader, now, until, (&after.0, &after.1), AT_ONCE)
                .await
                .map_err(refusals::store)?;
            drop(reader);
            for ending in &found {
                after = (ending.credential.id.to_string(), ending.environment.clone().unwrap_or_default());
                self.tell_of_ending(ending, now).await.map_err(refusals::store)?;
            }
            if !i64::try_from(found.len()).is_ok_and(|count| count >= AT_ONCE) {
                return Ok(Again::Later);
            }
        }
    }

    async fn tell_of_ending(&self, ending: &Ending, now: Timestamp) -> Result<(), StoreError> {
        let Some(days) = days_ahead(ending.at, now) else { return Ok(()) };
        let row = &ending.credential;
        let what = if ending.environment.is_some() { "certificate" } else { "expires_on" };
        let place = ending.environment.as_deref().unwrap_or("-");
        let telling = Telling {
            event: EXPIRING,
            sameness: format!("{EXPIRING}/{}/{what}/{place}/{}/{days}", row.id, ending.at.millis()),
            credential: row,
            environment: ending.environment.as_deref(),
            more: more([
                ("what", what.into()),
                ("ends_at", ending.at.to_rfc3339().into()),
                ("days_ahead", days.into()),
            ]),
        };
        let mut tx = self.parts.store.begin_upkeep().await?;
        tell(&mut tx, now, &*self.parts.entropy, telling).await?;
        tx.commit().await.map(|_| ())
    }

    /// Looks into values that were stored before certificates were noted.
    async fn read_certificates(&self) -> Refused<()> {
        loop {
            let mut reader = self.parts.store.read().await.map_err(refusals::store)?;
            let found = checks::unread_certificates(&mut reader, AT_ONCE).await.map_err(refusals::store)?;
            drop(reader);
            for (id, environment) in &found {
                let mut tx = self.parts.store.begin_upkeep().await.map_err(refusals::store)?;
                let Some(row) = rows::for_upkeep(&mut tx, id).await.map_err(refusals::store)? else {
                    continue;
                };
                let one = values::one(&mut tx, &row, environment).await.map_err(refusals::store)?;
                let Some(one) = one else { continue };
                self.ensure_data_key(&one.data_key).await?;
                let ends_at = certificates_end(&self.open_values(&row, &one)?);
                let ends_at = Some(ends_at).filter(|at| at.millis() > 0);
                checks::set_certificate(&mut tx, id, environment, one.version, ends_at)
                    .await
                    .map_err(refusals::store)?;
                tx.commit().await.map_err(refusals::store)?;
            }
            if !i64::try_from(found.len()).is_ok_and(|count| count >= AT_ONCE) {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_reminder_whose_time_has_come_is_told() {
        let now = Timestamp(1_700_000_000_000);
        let at = |days: i64, more: i64| days_ahead(now.plus_millis(days * DAY + more), now);
        assert_eq!((at(31, 0), at(30, 1), at(30, 0)), (None, None, Some(30)));
        assert_eq!((at(14, 1), at(14, 0), at(3, 1)), (Some(30), Some(14), Some(14)));
        assert_eq!((at(3, 0), at(0, 1), at(0, 0), at(-1, 0)), (Some(3), Some(3), None, None));
    }
}
