//! Showing once more who one is, in the session that one has: for what wants a recent sign-in.

use latchstring_model::problem::Refused;
use latchstring_model::{Code, FieldError, Problem, SecretString};
use latchstring_store::{fold, sessions, users};

use crate::actor::Actor;
use crate::audit::Event;
use crate::people::entry::Door;
use crate::people::second_factor;
use crate::{passwords, refusals};

pub struct Confirm {
    pub password: SecretString,
    /// The code of a second factor, or a recovery code.
    pub totp: Option<SecretString>,
}

impl Door {
    /// Password and, where one is set up, second factor: counted as for signing in.
    pub async fn confirm_session(&self, actor: &Actor, confirm: Confirm) -> Refused<()> {
        let (person, session, _) = actor.in_session()?;
        let broker = &self.broker;
        broker.check_takes_password(person).await?;
        passwords::check_length(&confirm.password, "/password")?;
        self.limits.password(actor.address, &fold(&person.email))?;
        let mut reader = broker.parts.store.read().await.map_err(refusals::store)?;
        let stored = users::password_hash(&mut reader, &person.id).await.map_err(refusals::store)?;
        drop(reader);
        if stored.is_none() {
            return Err(Problem::new(
                Code::NoPassword,
                "Your account has no password; you sign in at the provider.",
            )
            .hint("Confirm there: POST /api/v1/session/confirm/provider gives the address.")
            .into());
        }
        let event = || Event::new("session.confirm").target(session.as_str());
        if !passwords::fits(confirm.password, stored.clone()).await? {
            self.note_refusal(actor, event().detail("reason", "wrong_password")).await;
            return Err(Problem::invalid(vec![FieldError::new("/password", "this is not your password")])
                .hint("Type the password that you sign in with.")
                .into());
        }
        self.limits.fitted(actor.address, &fold(&person.email));
        let factor = broker.factor(&person.id).await?;
        if factor.is_some() {
            if confirm.totp.is_none() {
                return Err(second_factor::needed());
            }
            self.count_code(actor, &person.id).await?;
        }
        let mut tx = broker.parts.store.begin_write(&[person.id.as_str()]).await.map_err(refusals::store)?;
        let now = broker.now();
        let same = users::password_hash(&mut tx, &person.id).await.map_err(refusals::store)? == stored;
        let user = users::by_id(&mut tx, &person.id).await.map_err(refusals::store)?;
        let alive = sessions::by_id(&mut tx, &person.id, session, now).await.map_err(refusals::store)?;
        let (true, Some(user), Some(_)) = (same, user.filter(|user| user.fields.active), alive) else {
            return Err(Problem::new(Code::AccountChanged, "Your account was changed meanwhile.")
                .hint("Sign in again.")
                .into());
        };
        let shown = match (&factor, &confirm.totp) {
            (Some(factor), Some(typed)) => broker.show_code(&mut tx, &person.id, factor, typed).await?,
            _ => None,
        };
        if shown.is_none() && (factor.is_some() || user.second_factor) {
            tx.rollback().await.map_err(refusals::store)?;
            return match factor {
                Some(_) => Err(self.wrong_code(actor, &person.id).await),
                None => Err(second_factor::needed()),
            };
        }
        sessions::confirm(&mut tx, &person.id, session, shown.is_some(), now)
            .await
            .map_err(refusals::store)?;
        broker.tell_of_recovery(&mut tx, actor, &person.id, shown).await?;
        broker.record(&mut tx, actor, event()).await?;
        tx.commit().await.map_err(refusals::store)?;
        if shown.is_some() {
            self.limits.code_fitted(&person.id);
        }
        Ok(())
    }
}
