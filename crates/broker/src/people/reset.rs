//! A forgotten password: a link that works once, for an hour, by mail or printed by a command.
//!
//! Who asks learns nothing: the answer is the same, and given before anybody is looked up. The link sets a
//! password and signs nobody in; a second factor stays, so whoever reads the mail does not come in with it alone.
//! All sessions end, the person is told, and owner rights rest for a day ([`super::recent`]). Keys go on: whoever
//! has one had it before.
//!
//! Only accounts that have a password get a link. Whoever signs in at the provider has none to forget, and whoever
//! was invited has their invitation.

use std::net::IpAddr;
use std::sync::Arc;

use latchstring_model::id::UserId;
use latchstring_model::problem::Refused;
use latchstring_model::{Code, FieldError, Problem, SecretString};
use latchstring_store::password_resets::{self, PasswordResetRow};
use latchstring_store::users::UserRow;
use latchstring_store::{fold, sessions, sign_ins, users};

use crate::actor::{Actor, Who};
use crate::audit::Event;
use crate::notices::account;
use crate::people::entry::Door;
use crate::people::identities::{password_sign_in_off, takes_password};
use crate::people::limits::Limits;
use crate::people::recent::FROZEN;
use crate::people::{ShownOnce, check_email, random};
use crate::road::authorise;
use crate::sealing::password_reset_aad;
use crate::{Broker, passwords, refusals};

/// Milliseconds that a link lives.
pub const LIFE: i64 = 3_600_000;

pub struct Reset {
    /// What stands behind `/reset/` in the link.
    pub token: SecretString,
    pub password: SecretString,
}

fn void() -> Box<Problem> {
    Problem::new(
        Code::Gone,
        "The link is not valid: it was used, an hour has gone by, a newer one was asked for, or it was mistyped.",
    )
    .hint("Ask for another one at /forgotten.")
    .into()
}

fn no_mail() -> Box<Problem> {
    Problem::new(Code::NotSetUp, "This server sends no mail, so it cannot send a link for a new password.")
        .hint("Ask whoever runs it: `latchstring admin reset-password --email …` prints a link.")
        .into()
}

impl Broker {
    fn reset_url(&self, token: &SecretString) -> SecretString {
        SecretString::new(format!("{}/reset/{}", self.settings.public_url, token.expose()))
    }

    /// A new link for this person, if they have a password to forget. An earlier one is void.
    async fn make_reset(&self, actor: &Actor, email: &str, by_mail: bool) -> Refused<Option<SecretString>> {
        let settings = self.instance().await?;
        let mut reader = self.parts.store.read().await.map_err(refusals::store)?;
        let user = users::by_email(&mut reader, email).await.map_err(refusals::store)?;
        drop(reader);
        let Some(user) = user.filter(|user| user.fields.active) else { return Ok(None) };
        if !takes_password(&settings, user.fields.superuser) {
            return Ok(None);
        }
        let now = self.now();
        let token = random::new_token(&*self.parts.entropy);
        let sealed = if by_mail {
            let sealed = self.seal(&password_reset_aad(&user.id, now), token.expose().as_bytes())?;
            Some((sealed.bytes, sealed.data_key))
        } else {
            None
        };
        let mut tx = self.parts.store.begin_write(&[user.id.as_str()]).await.map_err(refusals::store)?;
        if users::password_hash(&mut tx, &user.id).await.map_err(refusals::store)?.is_none() {
            return Ok(None);
        }
        let row = PasswordResetRow {
            user_id: user.id.clone(),
            sealed,
            created_at: now,
            expires_at: now.plus_millis(LIFE),
        };
        password_resets::set(&mut tx, &row, &random::hash(token.expose())).await.map_err(refusals::store)?;
        if by_mail {
            let address = actor.address.map(|address| address.to_string()).unwrap_or_default();
            let more = [("address", address.as_str())];
            account::tell(self, &mut tx, account::RESET_ASKED, &user.id, more).await?;
        }
        let event = Event::new("password.reset_ask").target(user.id.as_str());
        self.record(&mut tx, actor, event.detail("by_mail", by_mail)).await?;
        tx.commit().await.map_err(refusals::store)?;
        Ok(Some(token))
    }

    /// For `admin reset-password`: the link, to be printed and given to the person.
    pub async fn operator_reset_password(&self, actor: &Actor, email: &str) -> Refused<ShownOnce> {
        super::operator::only_operator(actor)?;
        match self.make_reset(actor, email, false).await? {
            Some(token) => Ok(ShownOnce(self.reset_url(&token))),
            None => Err(Problem::invalid(vec![FieldError::new(
                "/email",
                "nobody with that address has an active account with a password that this server takes",
            )])
            .hint("Somebody without a password is invited by a superuser (POST /api/v1/invites); where passwords are off: latchstring admin allow-passwords.")
            .into()),
        }
    }

    /// The newest link, for the mail that brings it. `None`: it has run out, was used, or went with another mail.
    pub(crate) async fn reset_link(&self, user: &UserId) -> Result<Option<String>, String> {
        let trouble = |problem: Box<Problem>| {
            tracing::warn!(problem = %problem, "the link for a new password could not be opened");
            "temporary trouble on this server; nothing was sent".to_owned()
        };
        let row = async {
            let mut reader = self.parts.store.read().await.map_err(refusals::store)?;
            password_resets::of_user(&mut reader, user, self.now()).await.map_err(refusals::store)
        };
        let Some(row) = row.await.map_err(trouble)? else { return Ok(None) };
        let Some((sealed, key)) = row.sealed else { return Ok(None) };
        self.ensure_data_key(&key).await.map_err(trouble)?;
        let aad = password_reset_aad(user, row.created_at);
        let opened = self.open(&authorise::sign_in_opens(), &aad, &sealed).map_err(trouble)?;
        let Ok(token) = std::str::from_utf8(opened.expose()) else { return Ok(None) };
        Ok(Some(self.reset_url(&SecretString::from(token)).expose().to_owned()))
    }

    /// The mail is with the mail server: from here on only its reader has the link.
    pub(crate) async fn forget_reset_token(&self, user: &UserId) {
        let done: Refused<()> = async {
            let mut tx = self.parts.store.begin_upkeep().await.map_err(refusals::store)?;
            password_resets::wipe(&mut tx, user).await.map_err(refusals::store)?;
            tx.commit().await.map_err(refusals::store)?;
            Ok(())
        }
        .await;
        if let Err(problem) = done {
            tracing::warn!(problem = %problem, "a link for a new password stays sealed until its hour is over");
        }
    }
}

impl Door {
    /// Asks for a link by mail. The answer says nothing: whoever is looked up is looked up behind it.
    pub async fn ask_for_reset(&self, email: &str, address: Option<IpAddr>) -> Refused<()> {
        let anonymous = Actor { who: Who::Anonymous, address };
        let account = fold(email);
        Limits::check_account(&account)?;
        let mut errors = Vec::new();
        check_email(email, "/email", &mut errors);
        if !errors.is_empty() {
            return Err(Problem::invalid(errors).into());
        }
        if self.broker.settings.mail.is_none() {
            return Err(no_mail());
        }
        if let Err(problem) = self.limits.reset(address, &account) {
            let event = Event::new("password.reset_ask").detail("reason", "too_many_requests");
            self.note_refusal(&anonymous, event).await;
            return Err(problem);
        }
        let (broker, email) = (Arc::clone(&self.broker), email.to_owned());
        self.broker.parts.control.spawn(async move {
            if let Err(problem) = broker.make_reset(&anonymous, &email, true).await {
                tracing::warn!(problem = %problem, "a link for a new password could not be made");
            }
        });
        Ok(())
    }

    async fn of_token(&self, token: &SecretString) -> Refused<UserId> {
        if !random::is_token(token.expose()) {
            return Err(void());
        }
        let mut reader = self.broker.parts.store.read().await.map_err(refusals::store)?;
        let row = password_resets::by_token(&mut reader, &random::hash(token.expose()), self.broker.now())
            .await
            .map_err(refusals::store)?;
        row.map(|row| row.user_id).ok_or_else(void)
    }

    /// Whether the page behind a link should show its form.
    pub async fn look_at_reset(&self, token: &SecretString, address: Option<IpAddr>) -> Refused<()> {
        self.limits.link(address)?;
        self.of_token(token).await.map(|_| ())
    }

    /// Sets the password and uses the link up. Signs nobody in.
    pub async fn reset_password(&self, reset: Reset, address: Option<IpAddr>) -> Refused<()> {
        let broker = &self.broker;
        let anonymous = Actor { who: Who::Anonymous, address };
        self.limits.link(address)?;
        let user = match self.of_token(&reset.token).await {
            Ok(user) => user,
            Err(problem) => {
                self.note_refusal(&anonymous, Event::new("password.reset").detail("reason", "link")).await;
                return Err(problem);
            }
        };
        passwords::check(&reset.password, "/password")?;
        let settings = broker.instance().await?;
        let hash = passwords::hash(reset.password, &*broker.parts.entropy).await?;
        let mut tx = broker.parts.store.begin_write(&[user.as_str()]).await.map_err(refusals::store)?;
        let now = broker.now();
        let row: UserRow = users::by_id(&mut tx, &user)
            .await
            .map_err(refusals::store)?
            .filter(|user| user.fields.active)
            .ok_or_else(void)?;
        if !takes_password(&settings, row.fields.superuser) {
            return Err(password_sign_in_off());
        }
        let token_hash = random::hash(reset.token.expose());
        // Of two who bring the link at once one has it.
        let alive = password_resets::by_token(&mut tx, &token_hash, now).await.map_err(refusals::store)?;
        let taken = password_resets::take(&mut tx, &user, &token_hash).await.map_err(refusals::store)?;
        if alive.is_none() || !taken {
            return Err(void());
        }
        let until = now.plus_millis(FROZEN);
        users::set_password(&mut tx, &user, Some(&hash), now).await.map_err(refusals::store)?;
        users::freeze(&mut tx, &user, until).await.map_err(refusals::store)?;
        let ended = sessions::end_all(&mut tx, &user, None).await.map_err(refusals::store)?;
        sign_ins::end_of_user(&mut tx, &user).await.map_err(refusals::store)?;
        let (until, from) =
            (until.to_rfc3339(), address.map(|address| address.to_string()).unwrap_or_default());
        let more = [("frozen_until", until.as_str()), ("address", from.as_str())];
        account::tell(broker, &mut tx, account::RESET, &user, more).await?;
        let event = Event::new("password.reset")
            .target(user.as_str())
            .detail("ended_sessions", ended)
            .detail("frozen_until", until.as_str());
        broker.record(&mut tx, &anonymous, event).await?;
        tx.commit().await.map_err(refusals::store)?;
        Ok(())
    }
}
