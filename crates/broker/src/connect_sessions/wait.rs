//! While an end user signs in elsewhere: what was saved waits for them. It goes with its try: when they begin anew, or have
//! not come back when the link ran out.

use std::net::IpAddr;

use latchstring_model::problem::Refused;
use latchstring_model::{Code, Problem};
use latchstring_store::connect_sessions::{self as rows, ConnectSessionRow};
use latchstring_store::consents::State;
use latchstring_store::credentials::CredentialRow;
use latchstring_store::{WriteTx, credentials, shares, tokens};

use super::open::void;
use super::{Connected, Connects};
use crate::people::entry::Door;
use crate::people::random;
use crate::{Broker, refusals};

/// Sessions that are looked at in one turn.
const LOOKED_AT: i64 = 20;
/// What comes back at the very end is still exchanged; in milliseconds.
const GRACE: i64 = 120_000;

/// How far a session is, for the page that opened its window.
pub enum Progress {
    /// Not opened, or a form is being filled in.
    Open,
    /// The end user is at the provider.
    SigningIn,
    Connected(Connected),
}

fn being_finished() -> Box<Problem> {
    Problem::new(Code::Busy, "A sign-in that came back is just being finished.")
        .hint("Wait a few seconds and reload this page.")
        .into()
}

impl Broker {
    /// The credential waits for consent: one of a session at a time.
    pub(crate) async fn wait_for_consent(
        &self,
        tx: &mut WriteTx,
        connects: &Connects,
        row: &CredentialRow,
    ) -> Refused<()> {
        if rows::wait(tx, &connects.session, &row.id, self.now()).await.map_err(refusals::store)? {
            return Ok(());
        }
        Err(void())
    }

    /// What waited goes; unless a person of the project has connected it meanwhile: then it is theirs.
    pub(super) async fn give_up_waiting(&self, session: &ConnectSessionRow) -> Refused<()> {
        let Some(waits) = &session.credential_id else { return Ok(()) };
        let now = self.now();
        let mut tx = self
            .parts
            .store
            .begin_write(&[waits.as_str(), session.project_id.as_str()])
            .await
            .map_err(refusals::store)?;
        let consent = self.end_users_consent(&mut tx, session).await?;
        if consent
            .is_some_and(|one| one.state == State::Exchanging && one.expires_at.plus_millis(GRACE) > now)
        {
            return Err(being_finished());
        }
        if !rows::give_up(&mut tx, &session.id, waits).await.map_err(refusals::store)? {
            return Err(void());
        }
        if let Some(row) = credentials::for_upkeep(&mut tx, waits).await.map_err(refusals::store)?
            && tokens::list_of_credential(&mut tx, &row).await.map_err(refusals::store)?.is_empty()
        {
            // Nobody could call by its names, so they lead nobody astray when the next try has them.
            shares::unclaim(&mut tx, &session.project_id, &row.id).await.map_err(refusals::store)?;
            self.purge_credential(&mut tx, &row, now).await.map_err(refusals::store)?;
        }
        tx.commit().await.map_err(refusals::store)?;
        Ok(())
    }

    /// One turn: what waits for end users who did not come back in time goes.
    pub(crate) async fn give_up_left(&self) -> Refused<()> {
        let mut reader = self.parts.store.read().await.map_err(refusals::store)?;
        let until = self.now().plus_millis(-GRACE);
        let left = rows::left(&mut reader, until, LOOKED_AT).await.map_err(refusals::store)?;
        drop(reader);
        for session in left {
            self.give_up_waiting(&session).await?;
        }
        Ok(())
    }
}

impl Door {
    /// How far the session of a link is. `origin`: of the page that asks; told is the session's own alone.
    pub async fn connect_progress(
        &self,
        token: &str,
        origin: &str,
        address: Option<IpAddr>,
    ) -> Refused<Progress> {
        let row = match self.connect_session(token).await {
            Ok(row) if random::is_token(token) && row.return_origin == origin => row,
            Ok(_) => return Err(self.refused_link(void(), address).await),
            Err(problem) => return Err(self.refused_link(problem, address).await),
        };
        if row.ended_at.is_some() {
            return self.broker.what_was_connected(row).await.map(Progress::Connected);
        }
        let mut tx = self.broker.parts.store.begin_read().await.map_err(refusals::store)?;
        let consent = self.broker.end_users_consent(&mut tx, &row).await?;
        let away = consent.is_some_and(|one| one.ending.is_none() && one.expires_at > self.broker.now());
        Ok(if away { Progress::SigningIn } else { Progress::Open })
    }
}
