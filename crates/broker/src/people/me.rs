//! One's own account.

use latchstring_model::problem::Refused;
use latchstring_model::{Code, FieldError, Problem, SecretString};
use latchstring_store::{StoreError, fold, password_resets, sessions, sign_ins, users};

use crate::actor::Actor;
use crate::audit::Event;
use crate::notices::account;
use crate::people::entry::Door;
use crate::people::recent::Deed;
use crate::people::{Names, User};
use crate::permissions::Operation;
use crate::{Broker, passwords, refusals};

/// `If-Match`: what is edited has to be at this version.
pub(crate) fn same_version(wanted: Option<i64>, found: i64) -> Refused<()> {
    match wanted {
        Some(wanted) if wanted != found => Err(refusals::store(StoreError::Moved)),
        _ => Ok(()),
    }
}

pub struct ChangePassword {
    /// Not for an account without a password, which is given its first one.
    pub current: Option<SecretString>,
    pub new: SecretString,
}

impl Broker {
    /// Whatever the key's scope.
    pub async fn me(&self, actor: &Actor) -> Refused<User> {
        let person = actor.may(Operation::MeLook)?;
        let mut reader = self.parts.store.read().await.map_err(refusals::store)?;
        let row = users::by_id(&mut reader, &person.id).await.map_err(refusals::store)?;
        row.map(User::from).ok_or_else(|| refusals::not_found("There is no such person."))
    }

    /// Only names: an address is what others know a person by, and a superuser's to change.
    pub async fn change_me(&self, actor: &Actor, names: Names, version: Option<i64>) -> Refused<User> {
        let person = actor.may(Operation::MeChange)?;
        let mut errors = Vec::new();
        names.check(&mut errors);
        if names.name.as_deref().is_some_and(|name| name.trim().is_empty()) {
            errors.push(FieldError::new("/name", "a name is needed"));
        }
        if !errors.is_empty() {
            return Err(Problem::invalid(errors).into());
        }
        // Templates see names: what was rendered with the old ones is over.
        let mut tx = self.parts.store.begin_write(&[person.id.as_str()]).await.map_err(refusals::store)?;
        let row = users::by_id(&mut tx, &person.id).await.map_err(refusals::store)?;
        let mut row = row.ok_or_else(|| refusals::not_found("There is no such person."))?;
        same_version(version, row.version)?;
        let mut changed = Vec::new();
        for (field, value, name) in [
            (&mut row.fields.name, names.name, "name"),
            (&mut row.fields.first_name, names.first_name, "first_name"),
            (&mut row.fields.last_name, names.last_name, "last_name"),
        ] {
            if let Some(value) = value {
                *field = value.trim().to_owned();
                changed.push(name);
            }
        }
        if let Some(username) = names.username {
            row.fields.username = Some(username.trim().to_owned()).filter(|name| !name.is_empty());
            changed.push("username");
        }
        let now = self.now();
        row.version =
            users::update(&mut tx, &row.id, row.version, &row.fields, now).await.map_err(refusals::store)?;
        row.updated_at = now;
        self.record(
            &mut tx,
            actor,
            Event::new("user.update").target(row.id.as_str()).detail("fields", changed),
        )
        .await?;
        tx.commit().await.map_err(refusals::store)?;
        Ok(row.into())
    }
}

impl Door {
    /// In a session with a recent sign-in, and with the current password. All other sessions end; a second factor
    /// stays.
    pub async fn change_password(&self, actor: &Actor, change: ChangePassword) -> Refused<()> {
        let (person, session, _) = actor.in_session_for(Operation::PasswordChange)?;
        let broker = &self.broker;
        broker.check_takes_password(person).await?;
        broker.recent(actor, Deed::Password).await?;
        passwords::check(&change.new, "/new_password")?;
        self.limits.password(actor.address, &fold(&person.email))?;
        let mut reader = broker.parts.store.read().await.map_err(refusals::store)?;
        let stored = users::password_hash(&mut reader, &person.id).await.map_err(refusals::store)?;
        drop(reader);
        let fits = match (&stored, change.current) {
            // Whoever signs in at the provider has shown there who they are, and recently.
            (None, None) => true,
            (stored, current) => passwords::fits(current.unwrap_or_default(), stored.clone()).await?,
        };
        if !fits {
            self.note_refusal(
                actor,
                Event::new("password.set").target(person.id.as_str()).detail("reason", "wrong_password"),
            )
            .await;
            return Err(Problem::invalid(vec![FieldError::new(
                "/current_password",
                "this is not your password",
            )])
            .hint("Type the password that you signed in with.")
            .into());
        }
        self.limits.fitted(actor.address, &fold(&person.email));
        let hash = passwords::hash(change.new, broker.parts.entropy.as_ref()).await?;
        let mut tx = broker.parts.store.begin_write(&[person.id.as_str()]).await.map_err(refusals::store)?;
        if users::password_hash(&mut tx, &person.id).await.map_err(refusals::store)? != stored {
            return Err(Problem::new(Code::AccountChanged, "The password was changed meanwhile.")
                .hint("Sign in again.")
                .into());
        }
        let now = broker.now();
        users::set_password(&mut tx, &person.id, Some(&hash), now).await.map_err(refusals::store)?;
        let ended = sessions::end_all(&mut tx, &person.id, Some(session)).await.map_err(refusals::store)?;
        sessions::confirm(&mut tx, &person.id, session, false, now).await.map_err(refusals::store)?;
        sign_ins::end_of_user(&mut tx, &person.id).await.map_err(refusals::store)?;
        password_resets::remove(&mut tx, &person.id).await.map_err(refusals::store)?;
        let address = actor.address.map(|address| address.to_string()).unwrap_or_default();
        let more = [("address", address.as_str())];
        account::tell(broker, &mut tx, account::PASSWORD_CHANGED, &person.id, more).await?;
        let event = Event::new("password.set").target(person.id.as_str());
        broker.record(&mut tx, actor, event.detail("ended_sessions", ended)).await?;
        tx.commit().await.map_err(refusals::store)?;
        Ok(())
    }
}
