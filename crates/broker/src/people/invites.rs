//! Invitations: an account without a password, and a link through which its person gives it one.
//!
//! Only for accounts that have no way to sign in yet: a new password for somebody else's account would be a way to
//! their credentials, which superusers have no right over.

use std::net::IpAddr;

use latchstring_model::id::UserId;
use latchstring_model::problem::Refused;
use latchstring_model::{Code, Problem, SecretString, Timestamp};
use latchstring_store::users::UserRow;
use latchstring_store::{Tx, identities, instance, users};
use serde::{Deserialize, Serialize};

use crate::actor::{Actor, Who};
use crate::audit::Event;
use crate::people::entry::Door;
use crate::people::identities::takes_password;
use crate::people::oidc::Begun;
use crate::people::sessions::Entered;
use crate::people::users::NewUser;
use crate::people::{ShownOnce, User, random};
use crate::permissions::Operation;
use crate::{Broker, passwords, refusals};

/// Milliseconds that an invitation lives.
pub const LIFE: i64 = 7 * 24 * 3_600_000;

#[derive(Serialize, Deserialize)]
struct Stored {
    hash: String,
    expires_at: Timestamp,
}

pub struct Invited {
    pub user: User,
    /// Works once: for the person alone.
    pub url: ShownOnce,
    pub expires_at: Timestamp,
}

pub struct Accept {
    /// What stands behind `/invite/` in the link.
    pub token: SecretString,
    pub password: SecretString,
    pub agent: String,
}

pub(crate) fn name_of(user: &UserId) -> String {
    format!("invite:{user}")
}

pub(crate) fn void() -> Box<Problem> {
    Problem::new(Code::Gone, "The invitation is not valid: it was used, has expired, was replaced by a newer one, or was mistyped.")
        .hint("If you have a password already, sign in; otherwise ask for a new invitation.")
        .into()
}

/// Whether the invitation that was looked at at that time still stands: not used, not replaced by a newer one.
pub(crate) async fn is_open(
    tx: &mut impl Tx,
    user: &UserId,
    looked_at: Timestamp,
    now: Timestamp,
) -> Refused<bool> {
    let Some(stored) = instance::get(tx, &name_of(user)).await.map_err(refusals::store)? else {
        return Ok(false);
    };
    let stored: Stored = serde_json::from_str(&stored).map_err(|error| refusals::internal(&error))?;
    Ok(stored.expires_at > now && stored.expires_at.millis() - LIFE <= looked_at.millis())
}

/// The invited person, if the token is the valid one.
async fn invited(tx: &mut impl Tx, token: &SecretString, now: Timestamp) -> Refused<UserRow> {
    let (user, secret) = token.expose().split_once('.').ok_or_else(void)?;
    let user: UserId = user.parse().map_err(|_| void())?;
    let stored = instance::get(tx, &name_of(&user)).await.map_err(refusals::store)?.ok_or_else(void)?;
    let stored: Stored = serde_json::from_str(&stored).map_err(|error| refusals::internal(&error))?;
    // Both are hashes: how far they agree says nothing about the token.
    if stored.hash != random::hash_text(secret) || stored.expires_at <= now {
        return Err(void());
    }
    users::by_id(tx, &user).await.map_err(refusals::store)?.filter(|user| user.fields.active).ok_or_else(void)
}

impl Broker {
    /// Makes the account if there is none yet, and a link for its person. An earlier link is void.
    pub async fn invite(&self, actor: &Actor, new: NewUser) -> Refused<Invited> {
        actor.may(Operation::UserCreate)?;
        self.lets_people_in(actor).await?;
        let new = NewUser { password: None, ..new };
        let errors = new.check();
        if !errors.is_empty() {
            return Err(Problem::invalid(errors).into());
        }
        let now = self.now();
        let mut tx = self
            .parts
            .store
            .begin_write(&[latchstring_store::scopes::INSTANCE])
            .await
            .map_err(refusals::store)?;
        let user = match users::by_email(&mut tx, &new.email).await.map_err(refusals::store)? {
            None => {
                let user = self.insert_user(&mut tx, &new, None).await?;
                let event = Event::new("user.create")
                    .target(user.id.as_str())
                    .detail("email", user.fields.email.as_str());
                self.record(&mut tx, actor, event.detail("superuser", user.fields.superuser)).await?;
                user
            }
            Some(user) => {
                let has_password =
                    users::password_hash(&mut tx, &user.id).await.map_err(refusals::store)?.is_some();
                let linked = !identities::list(&mut tx, &user.id).await.map_err(refusals::store)?.is_empty();
                if !user.fields.active {
                    return Err(Problem::new(
                        Code::AccountInactive,
                        "This person has an account, and it is not active.",
                    )
                    .hint("Activate it first (PATCH /api/v1/users/{id} with {\"active\": true}), then invite them if they have no way to sign in.")
                    .into());
                }
                if has_password || linked {
                    return Err(Problem::new(
                        Code::EmailTaken,
                        "This person has an account and a way to sign in.",
                    )
                    .hint("They can sign in as they are; who has lost the password resets it at /forgotten.")
                    .into());
                }
                user
            }
        };
        let secret = random::new_token(self.parts.entropy.as_ref());
        let expires_at = now.plus_millis(LIFE);
        let stored = Stored { hash: random::hash_text(secret.expose()), expires_at };
        let stored = serde_json::to_string(&stored).map_err(|error| refusals::internal(&error))?;
        instance::set(&mut tx, &name_of(&user.id), &stored).await.map_err(refusals::store)?;
        self.record(
            &mut tx,
            actor,
            Event::new("invite.create").target(user.id.as_str()).detail("email", user.fields.email.as_str()),
        )
        .await?;
        tx.commit().await.map_err(refusals::store)?;
        let url =
            SecretString::new(format!("{}/invite/{}.{}", self.settings.public_url, user.id, secret.expose()));
        Ok(Invited { user: user.into(), url: ShownOnce(url), expires_at })
    }
}

impl Door {
    /// Whether the page behind a link should show its form; for whom.
    pub async fn look_at_invite(&self, token: &SecretString, address: Option<IpAddr>) -> Refused<User> {
        self.limits.link(address)?;
        let mut reader = self.broker.parts.store.read().await.map_err(refusals::store)?;
        invited(&mut reader, token, self.broker.now()).await.map(User::from)
    }

    /// The way to the provider, for somebody who takes the invitation by signing in there.
    pub async fn take_invite_to_provider(
        &self,
        token: &SecretString,
        address: Option<IpAddr>,
    ) -> Refused<Begun> {
        let user = self.look_at_invite(token, address).await?;
        self.begin_invited(&user.id, address).await
    }

    /// Sets the password, uses the link up and signs the person in.
    pub async fn accept_invite(&self, accept: Accept, address: Option<IpAddr>) -> Refused<Entered> {
        let broker = &self.broker;
        let anonymous = Actor { who: Who::Anonymous, address };
        let user = match self.look_at_invite(&accept.token, address).await {
            Ok(user) => user,
            Err(problem) => {
                if problem.code == Code::Gone {
                    self.note_refusal(&anonymous, Event::new("invite.refuse")).await;
                }
                return Err(problem);
            }
        };
        if !takes_password(&*broker.instance().await?, user.superuser) {
            return Err(Problem::new(
                Code::PasswordSignInOff,
                "This server takes no passwords; take the invitation by signing in at the provider.",
            )
            .hint("Open the invitation in a browser and choose the provider there.")
            .into());
        }
        passwords::check(&accept.password, "/password")?;
        let hash = passwords::hash(accept.password, broker.parts.entropy.as_ref()).await?;
        let mut tx = broker.parts.store.begin_write(&[user.id.as_str()]).await.map_err(refusals::store)?;
        let mut row = invited(&mut tx, &accept.token, broker.now()).await?;
        if !instance::remove(&mut tx, &name_of(&row.id)).await.map_err(refusals::store)? {
            return Err(void());
        }
        users::set_password(&mut tx, &row.id, Some(&hash), broker.now()).await.map_err(refusals::store)?;
        row.version += 1;
        let (actor, token) = broker.open_session(&mut tx, &row, address, &accept.agent, false).await?;
        broker.record(&mut tx, &actor, Event::new("invite.accept").target(row.id.as_str())).await?;
        tx.commit().await.map_err(refusals::store)?;
        Ok(Entered { user: row.into(), cookie: self.cookie(&token) })
    }
}
