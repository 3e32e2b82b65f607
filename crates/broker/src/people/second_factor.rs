//! A person's second factor: time-based codes of an app ([`super::totp`]), and recovery codes for the day it is lost.
//!
//! It is set up in two steps, so that nobody locks themselves out with an app that was never right. From then on
//! every sign-in and every confirmation takes a code, also after a password reset. Each code is good once. The
//! person removes it with a recent sign-in; a superuser, or whoever runs the server, when the person has lost both.

use latchstring_model::id::UserId;
use latchstring_model::problem::Refused;
use latchstring_model::{Code, FieldError, Problem, SecretBytes, SecretString, Timestamp};
use latchstring_store::second_factors::{self, SecondFactorRow};
use latchstring_store::{WriteTx, sessions, sign_ins, users};

use crate::actor::Actor;
use crate::audit::Event;
use crate::notices::account;
use crate::people::entry::Door;
use crate::people::recent::Deed;
use crate::people::{ShownOnce, totp};
use crate::permissions::Operation;
use crate::road::authorise;
use crate::sealing::second_factor_aad;
use crate::{Broker, refusals};

/// What an app is told, once.
pub struct Offered {
    /// To be typed.
    pub secret: ShownOnce,
    /// To be read from a picture.
    pub uri: ShownOnce,
}

pub struct FactorStatus {
    /// Since when codes are asked for; `None`: they are not.
    pub confirmed_at: Option<Timestamp>,
    pub recovery_codes_left: i64,
}

/// A factor that guards, opened.
pub(crate) struct Factor {
    row: SecondFactorRow,
    secret: SecretBytes,
}

/// What was shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shown {
    Code,
    Recovery { left: i64 },
}

fn none_there() -> Box<Problem> {
    Problem::new(Code::NoSecondFactor, "No second factor is set up for this account.")
        .hint("POST /api/v1/me/totp begins to set one up.")
        .into()
}

pub(crate) fn needed() -> Box<Problem> {
    Problem::new(Code::SecondFactorNeeded, "The password is right; this account has a second factor besides.")
        .hint("Send the same request again with `totp`: the code that the app shows now, or a recovery code.")
        .into()
}

pub(crate) fn wrong() -> Box<Problem> {
    Problem::new(Code::SecondFactorWrong, "The code is not right, or it was used before.")
        .hint("Codes change every 30 seconds and are good once: wait for the next one, and check the clock of the device. A recovery code works too.")
        .into()
}

fn from_of(actor: &Actor) -> String {
    actor.address.map(|address| address.to_string()).unwrap_or_default()
}

impl Broker {
    async fn factor_row(&self, user: &UserId) -> Refused<Option<SecondFactorRow>> {
        let mut reader = self.parts.store.read().await.map_err(refusals::store)?;
        second_factors::get(&mut reader, user).await.map_err(refusals::store)
    }

    async fn open_factor(&self, user: &UserId, row: SecondFactorRow) -> Refused<Factor> {
        self.ensure_data_key(&row.data_key).await?;
        let aad = second_factor_aad(user, row.secret_version);
        let secret = self.open(&authorise::second_factor_opens(), &aad, &row.sealed)?;
        Ok(Factor { row, secret })
    }

    /// The factor that guards this account, if one does.
    pub(crate) async fn factor(&self, user: &UserId) -> Refused<Option<Factor>> {
        match self.factor_row(user).await?.filter(|row| row.confirmed_at.is_some()) {
            Some(row) => self.open_factor(user, row).await.map(Some),
            None => Ok(None),
        }
    }

    /// Uses up what was typed. `None`: it is no code of now, and no recovery code that is left.
    pub(crate) async fn show_code(
        &self,
        tx: &mut WriteTx,
        user: &UserId,
        factor: &Factor,
        typed: &SecretString,
    ) -> Refused<Option<Shown>> {
        let now = self.now();
        if let Some(step) = totp::step_of(&factor.secret, typed, now, factor.row.last_step) {
            let taken = second_factors::use_step(tx, user, factor.row.secret_version, step)
                .await
                .map_err(refusals::store)?;
            return Ok(taken.then_some(Shown::Code));
        }
        let Some(hash) = totp::recovery_hash(user.as_str(), typed) else { return Ok(None) };
        if !second_factors::use_code(tx, user, &hash, now).await.map_err(refusals::store)? {
            return Ok(None);
        }
        let left = second_factors::codes_left(tx, user).await.map_err(refusals::store)?;
        Ok(Some(Shown::Recovery { left }))
    }

    /// After a recovery code: it is recorded, and the person hears of it.
    pub(crate) async fn tell_of_recovery(
        &self,
        tx: &mut WriteTx,
        actor: &Actor,
        user: &UserId,
        shown: Option<Shown>,
    ) -> Refused<()> {
        let Some(Shown::Recovery { left }) = shown else { return Ok(()) };
        let (left_text, address) = (left.to_string(), from_of(actor));
        let more = [("left", left_text.as_str()), ("address", address.as_str())];
        account::tell(self, tx, account::RECOVERY_USED, user, more).await?;
        let event = Event::new("second_factor.recover").target(user.as_str()).detail("left", left);
        self.record(tx, actor, event).await
    }

    pub async fn second_factor(&self, actor: &Actor) -> Refused<FactorStatus> {
        let (person, _, _) = actor.in_session()?;
        let mut tx = self.parts.store.begin_read().await.map_err(refusals::store)?;
        let row = second_factors::get(&mut tx, &person.id).await.map_err(refusals::store)?;
        let left = second_factors::codes_left(&mut tx, &person.id).await.map_err(refusals::store)?;
        Ok(FactorStatus { confirmed_at: row.and_then(|row| row.confirmed_at), recovery_codes_left: left })
    }

    /// A secret for an app. It guards nothing until a code has shown that the app has it.
    pub async fn offer_second_factor(&self, actor: &Actor) -> Refused<Offered> {
        let (person, _, _) = actor.in_session()?;
        self.recent(actor, Deed::SecondFactor).await?;
        let name = self.instance().await?.name.clone();
        // Never one of an earlier secret: what is sealed under one version opens as no other.
        let version = self.now().millis();
        let secret = totp::new_secret(&*self.parts.entropy);
        let sealed = self.seal(&second_factor_aad(&person.id, version), secret.expose())?;
        let mut tx = self.parts.store.begin_write(&[person.id.as_str()]).await.map_err(refusals::store)?;
        let offered =
            second_factors::offer(&mut tx, &person.id, &sealed.bytes, &sealed.data_key, version, self.now())
                .await
                .map_err(refusals::store)?;
        if !offered {
            return Err(Problem::new(
                Code::SecondFactorExists,
                "A second factor is set up for this account already.",
            )
            .hint("To move to another app, remove it first (DELETE /api/v1/me/totp).")
            .into());
        }
        self.record(&mut tx, actor, Event::new("second_factor.offer").target(person.id.as_str())).await?;
        tx.commit().await.map_err(refusals::store)?;
        Ok(Offered {
            uri: ShownOnce(totp::uri(&secret, &name, &person.email)),
            secret: ShownOnce(totp::written(&secret)),
        })
    }

    async fn write_codes(&self, tx: &mut WriteTx, user: &UserId) -> Refused<Vec<ShownOnce>> {
        let codes: Vec<SecretString> =
            (0..totp::RECOVERY_CODES).map(|_| totp::new_recovery_code(&*self.parts.entropy)).collect();
        let hashes: Vec<[u8; 32]> =
            codes.iter().filter_map(|code| totp::recovery_hash(user.as_str(), code)).collect();
        second_factors::set_codes(tx, user, &hashes, self.now()).await.map_err(refusals::store)?;
        Ok(codes.into_iter().map(ShownOnce).collect())
    }

    /// Ten new ones; all others are void.
    pub async fn new_recovery_codes(&self, actor: &Actor) -> Refused<Vec<ShownOnce>> {
        let (person, _, _) = actor.in_session()?;
        self.recent(actor, Deed::SecondFactor).await?;
        let mut tx = self.parts.store.begin_write(&[person.id.as_str()]).await.map_err(refusals::store)?;
        let row = second_factors::get(&mut tx, &person.id).await.map_err(refusals::store)?;
        if row.is_none_or(|row| row.confirmed_at.is_none()) {
            return Err(none_there());
        }
        let codes = self.write_codes(&mut tx, &person.id).await?;
        self.record(&mut tx, actor, Event::new("second_factor.codes").target(person.id.as_str())).await?;
        tx.commit().await.map_err(refusals::store)?;
        Ok(codes)
    }

    /// With a recent sign-in, which took a code of it.
    pub async fn remove_my_second_factor(&self, actor: &Actor) -> Refused<()> {
        let (person, _, _) = actor.in_session()?;
        self.recent(actor, Deed::SecondFactor).await?;
        let id = person.id.clone();
        self.remove_factor(actor, &id, "person").await
    }

    /// For somebody who has lost app and recovery codes. It opens nothing by itself: the password is still needed.
    pub async fn remove_second_factor(&self, actor: &Actor, user: &str) -> Refused<()> {
        let superuser = actor.may(Operation::FactorRemove)?;
        self.recent(actor, Deed::RemoveSecondFactor).await?;
        let unknown = || refusals::not_found("There is no such person.");
        let id: UserId = user.parse().map_err(|_| unknown())?;
        if superuser.id == id {
            return Err(Problem::new(
                Code::Forbidden,
                "One's own second factor is removed in one's own session.",
            )
            .hint("DELETE /api/v1/me/totp, signed in.")
            .into());
        }
        let mut reader = self.parts.store.read().await.map_err(refusals::store)?;
        users::by_id(&mut reader, &id).await.map_err(refusals::store)?.ok_or_else(unknown)?;
        drop(reader);
        self.remove_factor(actor, &id, "superuser").await
    }

    pub async fn operator_remove_second_factor(&self, actor: &Actor, email: &str) -> Refused<()> {
        super::operator::only_operator(actor)?;
        let mut reader = self.parts.store.read().await.map_err(refusals::store)?;
        let user = users::by_email(&mut reader, email).await.map_err(refusals::store)?;
        drop(reader);
        let user = user.ok_or_else(|| {
            Problem::invalid(vec![FieldError::new("/email", "nobody with that address has an account here")])
        })?;
        self.remove_factor(actor, &user.id, "operator").await
    }

    async fn remove_factor(&self, actor: &Actor, user: &UserId, by: &str) -> Refused<()> {
        let mut tx = self.parts.store.begin_write(&[user.as_str()]).await.map_err(refusals::store)?;
        let row =
            second_factors::get(&mut tx, user).await.map_err(refusals::store)?.ok_or_else(none_there)?;
        second_factors::remove(&mut tx, user).await.map_err(refusals::store)?;
        sessions::forget_factor(&mut tx, user).await.map_err(refusals::store)?;
        sign_ins::end_of_user(&mut tx, user).await.map_err(refusals::store)?;
        // One that never worked guarded nothing.
        if row.confirmed_at.is_some() {
            let address = from_of(actor);
            let more = [("by", by), ("address", address.as_str())];
            account::tell(self, &mut tx, account::FACTOR_REMOVED, user, more).await?;
        }
        let event = Event::new("second_factor.delete").target(user.as_str()).detail("by", by);
        self.record(&mut tx, actor, event).await?;
        tx.commit().await.map_err(refusals::store)?;
        Ok(())
    }
}

impl Door {
    /// The app has the secret: from now on codes are asked for. All other sessions end, because they came in without.
    pub async fn confirm_second_factor(
        &self,
        actor: &Actor,
        typed: &SecretString,
    ) -> Refused<Vec<ShownOnce>> {
        let (person, session, _) = actor.in_session()?;
        let broker = &self.broker;
        broker.recent(actor, Deed::SecondFactor).await?;
        let row = broker.factor_row(&person.id).await?.ok_or_else(none_there)?;
        if row.confirmed_at.is_some() {
            return Err(Problem::new(Code::SecondFactorExists, "The second factor was confirmed before.")
                .hint("It is in use. For another device remove it first (DELETE /api/v1/me/totp) and set it up anew.")
                .into());
        }
        self.limits.code(&person.id)?;
        let factor = broker.open_factor(&person.id, row).await?;
        let now = broker.now();
        let Some(step) = totp::step_of(&factor.secret, typed, now, 0) else {
            self.note_refusal(actor, Event::new("second_factor.create").target(person.id.as_str())).await;
            return Err(Problem::invalid(vec![FieldError::new(
                "/code",
                "this is not the code that the app shows now",
            )])
            .hint("Compare the clocks of the device and of this server, or begin anew: POST /api/v1/me/totp.")
            .into());
        };
        let mut tx = broker.parts.store.begin_write(&[person.id.as_str()]).await.map_err(refusals::store)?;
        let version = factor.row.secret_version;
        if !second_factors::confirm(&mut tx, &person.id, version, step, now).await.map_err(refusals::store)? {
            return Err(Problem::new(Code::ChangedMeanwhile, "The set-up was begun anew meanwhile.")
                .hint("Take the code that belongs to the newest secret.")
                .into());
        }
        let codes = broker.write_codes(&mut tx, &person.id).await?;
        let ended = sessions::end_all(&mut tx, &person.id, Some(session)).await.map_err(refusals::store)?;
        sessions::confirm(&mut tx, &person.id, session, true, now).await.map_err(refusals::store)?;
        sign_ins::end_of_user(&mut tx, &person.id).await.map_err(refusals::store)?;
        let address = from_of(actor);
        account::tell(broker, &mut tx, account::FACTOR_ADDED, &person.id, [("address", address.as_str())])
            .await?;
        let event = Event::new("second_factor.create").target(person.id.as_str());
        broker.record(&mut tx, actor, event.detail("ended_sessions", ended)).await?;
        tx.commit().await.map_err(refusals::store)?;
        self.limits.code_fitted(&person.id);
        Ok(codes)
    }

    /// A wrong code: recorded, and when there are too many the person hears that somebody has their password.
    pub(crate) async fn wrong_code(&self, actor: &Actor, user: &UserId) -> Box<Problem> {
        let event = Event::new("session.refuse").target(user.as_str()).detail("reason", "wrong_code");
        self.note_refusal(actor, event).await;
        wrong()
    }

    /// Before a code is looked at.
    pub(crate) async fn count_code(&self, actor: &Actor, user: &UserId) -> Refused<()> {
        let Err(problem) = self.limits.code(user) else { return Ok(()) };
        let event = Event::new("session.refuse").target(user.as_str()).detail("reason", "too_many_codes");
        self.note_refusal(actor, event).await;
        if self.limits.warn(user) {
            let told: Refused<()> = async {
                let mut tx = self.broker.parts.store.begin_upkeep().await.map_err(refusals::store)?;
                let address = from_of(actor);
                let more = [("address", address.as_str())];
                account::tell(&self.broker, &mut tx, account::CODES_GUESSED, user, more).await?;
                tx.commit().await.map_err(refusals::store)?;
                Ok(())
            }
            .await;
            if let Err(problem) = told {
                tracing::warn!(problem = %problem, "a person could not be told that somebody tries codes");
            }
        }
        Err(problem)
    }
}
