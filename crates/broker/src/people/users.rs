//! People, as superusers see and change them.

use latchstring_model::id::UserId;
use latchstring_model::problem::Refused;
use latchstring_model::{Code, FieldError, Problem, SecretString};
use latchstring_store::users::{self as store_users, UserFields, UserRow};
use latchstring_store::{
    StoreError, Taken, WriteTx, api_keys, group_roles, password_resets, scopes, sessions, sign_ins,
};

use crate::actor::Actor;
use crate::audit::Event;
use crate::people::me::same_version;
use crate::people::oidc::given_by_hand;
use crate::people::recent::Deed;
use crate::people::{Names, Page, Paging, User, check_email};
use crate::permissions::Operation;
use crate::projects::ended;
use crate::{Broker, passwords, refusals};

pub struct NewUser {
    pub email: String,
    pub names: Names,
    pub superuser: bool,
    /// Without one the person comes in through an invitation.
    pub password: Option<SecretString>,
}

#[derive(Default)]
pub struct UserChange {
    pub active: Option<bool>,
    pub superuser: Option<bool>,
}

fn unknown() -> Box<Problem> {
    refusals::not_found("There is no such person.")
}

pub(crate) fn email_taken(error: StoreError) -> Box<Problem> {
    if error.is_taken(Taken::Email) {
        return Problem::new(Code::EmailTaken, "Somebody has that e-mail address already.")
            .errors(vec![FieldError::new("/email", "taken; case does not matter")])
            .hint("Look the person up in the list of users.")
            .into();
    }
    refusals::store(error)
}

impl NewUser {
    /// Everything that is wrong, at once.
    pub(crate) fn check(&self) -> Vec<FieldError> {
        let mut errors = Vec::new();
        check_email(&self.email, "/email", &mut errors);
        self.names.check(&mut errors);
        if let Some(password) = &self.password
            && let Err(problem) = passwords::check(password, "/password")
        {
            errors.extend(problem.errors);
        }
        errors
    }
}

impl Broker {
    /// Writes a person; what is needed was checked before.
    pub(crate) async fn insert_user(
        &self,
        tx: &mut WriteTx,
        new: &NewUser,
        password_hash: Option<&str>,
    ) -> Refused<UserRow> {
        let now = self.now();
        let id = UserId::new(now, self.parts.entropy.as_ref());
        let (name, first_name, last_name) = new.names.filled(new.email.trim());
        let fields = UserFields {
            email: new.email.trim().to_owned(),
            username: new
                .names
                .username
                .as_deref()
                .map(str::trim)
                .filter(|name| !name.is_empty())
                .map(str::to_owned),
            name,
            first_name,
            last_name,
            superuser: new.superuser,
            active: true,
        };
        store_users::create(tx, &id, &fields, password_hash, now).await.map_err(email_taken)?;
        Ok(UserRow {
            id,
            fields,
            version: 1,
            created_at: now,
            updated_at: now,
            second_factor: false,
            frozen_until: None,
        })
    }

    pub(crate) async fn hash_password(&self, password: &Option<SecretString>) -> Refused<Option<String>> {
        match password {
            Some(password) => passwords::hash(password.clone(), self.parts.entropy.as_ref()).await.map(Some),
            None => Ok(None),
        }
    }

    /// Oldest first; `q` is looked for in e-mail addresses.
    pub async fn users(&self, actor: &Actor, q: Option<&str>, paging: &Paging) -> Refused<Page<User>> {
        actor.may(Operation::UsersLook)?;
        let mut reader = self.parts.store.read().await.map_err(refusals::store)?;
        let page = store_users::list(&mut reader, q, paging).await.map_err(refusals::store)?;
        Ok(Page { items: page.items.into_iter().map(User::from).collect(), next_cursor: page.next_cursor })
    }

    pub async fn user(&self, actor: &Actor, id: &str) -> Refused<User> {
        actor.may(Operation::UsersLook)?;
        let id: UserId = id.parse().map_err(|_| unknown())?;
        let mut reader = self.parts.store.read().await.map_err(refusals::store)?;
        store_users::by_id(&mut reader, &id)
            .await
            .map_err(refusals::store)?
            .map(User::from)
            .ok_or_else(unknown)
    }

    /// Whoever got somebody's browser or mailbox makes no account of their own by it.
    pub(crate) async fn lets_people_in(&self, actor: &Actor) -> Refused<()> {
        self.unfrozen(actor)?;
        self.recent(actor, Deed::Accounts).await
    }

    pub async fn create_user(&self, actor: &Actor, new: NewUser) -> Refused<User> {
        actor.may(Operation::UserCreate)?;
        self.lets_people_in(actor).await?;
        self.create_user_unasked(actor, new).await
    }

    pub(crate) async fn create_user_unasked(&self, actor: &Actor, new: NewUser) -> Refused<User> {
        let errors = new.check();
        if !errors.is_empty() {
            return Err(Problem::invalid(errors).into());
        }
        let hash = self.hash_password(&new.password).await?;
        let mut tx = self.parts.store.begin_write(&[scopes::INSTANCE]).await.map_err(refusals::store)?;
        let row = self.insert_user(&mut tx, &new, hash.as_deref()).await?;
        let event =
            Event::new("user.create").target(row.id.as_str()).detail("email", row.fields.email.as_str());
        self.record(&mut tx, actor, event.detail("superuser", row.fields.superuser)).await?;
        tx.commit().await.map_err(refusals::store)?;
        Ok(row.into())
    }

    /// Takes the right to come in, or gives it back; makes superusers. Whoever is deactivated loses sessions
    /// and keys for good, at once. The last active superuser stays one.
    pub async fn change_user(
        &self,
        actor: &Actor,
        id: &str,
        change: UserChange,
        version: Option<i64>,
    ) -> Refused<User> {
        actor.may(Operation::UserChange)?;
        let id: UserId = id.parse().map_err(|_| unknown())?;
        // Shutting somebody out is never held up.
        if change.superuser.is_some() || change.active == Some(true) {
            self.lets_people_in(actor).await?;
        }
        // The instance is the lock under which superusers are counted.
        let mut tx =
            self.parts.store.begin_write(&[scopes::INSTANCE, id.as_str()]).await.map_err(refusals::store)?;
        let mut row = store_users::by_id(&mut tx, &id).await.map_err(refusals::store)?.ok_or_else(unknown)?;
        same_version(version, row.version)?;
        let before = row.fields.clone();
        row.fields.active = change.active.unwrap_or(before.active);
        row.fields.superuser = change.superuser.unwrap_or(before.superuser);
        if row.fields == before {
            tx.rollback().await.map_err(refusals::store)?;
            return Ok(row.into());
        }
        let (was, is) = (before.superuser && before.active, row.fields.superuser && row.fields.active);
        if was && !is && store_users::count_superusers(&mut tx).await.map_err(refusals::store)? <= 1 {
            return Err(Problem::new(
                Code::LastSuperuser,
                "This is the last active superuser; without one nobody could let people in.",
            )
            .hint("Make somebody else a superuser first.")
            .into());
        }
        let now = self.now();
        row.version = store_users::update(&mut tx, &id, row.version, &row.fields, now)
            .await
            .map_err(refusals::store)?;
        row.updated_at = now;
        let mut event =
            Event::new("user.update").target(id.as_str()).detail("email", row.fields.email.as_str());
        if row.fields.superuser != before.superuser {
            event = event.detail("superuser", row.fields.superuser);
        }
        if row.fields.active != before.active {
            event = event.detail("active", row.fields.active);
        }
        let mut events = Vec::new();
        if before.active && !row.fields.active {
            let living = ended::living(&mut tx, ended::Of::Person(&id)).await?;
            events.extend(living.iter().map(|key| ended::key_ended(key, "user.update")));
            let sessions = sessions::end_all(&mut tx, &id, None).await.map_err(refusals::store)?;
            sign_ins::end_of_user(&mut tx, &id).await.map_err(refusals::store)?;
            password_resets::remove(&mut tx, &id).await.map_err(refusals::store)?;
            let keys = api_keys::end_all_of_user(&mut tx, &id, now).await.map_err(refusals::store)?;
            event = event.detail("ended_sessions", sessions).detail("ended_keys", keys);
        }
        if row.fields.superuser != before.superuser {
            let by_hand = row.fields.superuser.then_some(group_roles::SUPERUSER);
            given_by_hand(&mut tx, &id, group_roles::INSTANCE, by_hand).await?;
        }
        events.push(event);
        self.record_all(&mut tx, actor, events).await?;
        tx.commit().await.map_err(refusals::store)?;
        Ok(row.into())
    }
}
