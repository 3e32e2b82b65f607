//! Who acts. The HTTP layer finds out *who* ([`crate::people::entry`]); use cases ask an [`Actor`] what it may.

use std::net::IpAddr;

use latchstring_model::entity::KeyScope;
use latchstring_model::id::{ConnectSessionId, EnvironmentId, KeyId, ProjectId, SessionId, UserId};
use latchstring_model::problem::Refused;
use latchstring_model::{Code, Problem, Timestamp};
use latchstring_store::api_keys::KeyOwner;
use latchstring_store::users::UserRow;

/// A signed-in person, as templates and audit see one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    pub id: UserId,
    pub email: String,
    pub username: Option<String>,
    pub name: String,
    pub first_name: String,
    pub last_name: String,
    pub superuser: bool,
    /// In a session: opened with a second factor, here or at the provider. With a key: one is set up here.
    pub second_factor: bool,
    /// A superuser who may not act as one, because this server wants a second factor of them.
    pub held_back: bool,
    /// Owner rights rest until then: the password was reset.
    pub frozen_until: Option<Timestamp>,
}

impl Person {
    pub(crate) fn of(row: &UserRow) -> Self {
        Self {
            id: row.id.clone(),
            email: row.fields.email.clone(),
            username: row.fields.username.clone(),
            name: row.fields.name.clone(),
            first_name: row.fields.first_name.clone(),
            last_name: row.fields.last_name.clone(),
            superuser: row.fields.superuser,
            second_factor: row.second_factor,
            held_back: false,
            frozen_until: row.frozen_until,
        }
    }

    /// Whose personal key it is; a project's key is nobody's.
    pub(crate) fn of_key(id: UserId, owner: &KeyOwner) -> Option<Self> {
        let KeyOwner::User {
            email,
            username,
            name,
            first_name,
            last_name,
            superuser,
            second_factor,
            frozen_until,
        } = owner
        else {
            return None;
        };
        Some(Self {
            id,
            email: email.clone(),
            username: username.clone(),
            name: name.clone(),
            first_name: first_name.clone(),
            last_name: last_name.clone(),
            superuser: *superuser,
            second_factor: *second_factor,
            held_back: false,
            frozen_until: *frozen_until,
        })
    }
}

/// How a person came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Via {
    /// A browser session; `confirmed_at` is when the person last showed who they are.
    Session {
        id: SessionId,
        confirmed_at: Timestamp,
    },
    Key {
        id: KeyId,
        scope: KeyScope,
    },
    /// Not any more: the server brings to its end what this person began (a device flow).
    Begun,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    Anonymous,
    Person {
        person: Person,
        via: Via,
    },
    /// A service key: bound to one project and one environment; can only call.
    Service {
        key: KeyId,
        name: String,
        project: ProjectId,
        environment: EnvironmentId,
    },
    /// A service account: a key with which CI manages its project, and nothing else.
    Account {
        key: KeyId,
        name: String,
        project: ProjectId,
    },
    /// Whoever has opened a connect session: connects one account for its project, and nothing else. Never made of what
    /// a request brings along alone, only by [`crate::connect_sessions`].
    EndUser {
        session: ConnectSessionId,
        project: ProjectId,
    },
    /// A command on the machine itself: whoever has the shell is trusted, and audited.
    Operator,
}

#[derive(Clone, Debug)]
pub struct Actor {
    pub who: Who,
    /// `None` for commands and for the server's own work.
    pub address: Option<IpAddr>,
}

fn unauthenticated() -> Box<Problem> {
    Problem::new(Code::Unauthenticated, "This needs a key or a session, and there is none that is valid.")
        .hint("Send `Authorization: Bearer lst_…` with a personal key of scope manage, or sign in. A key that was ended or has expired counts as none.")
        .into()
}

impl Actor {
    pub fn operator() -> Self {
        Self { who: Who::Operator, address: None }
    }

    /// Any signed-in person, whatever the key's scope: for what only reads about themselves.
    pub fn person(&self) -> Refused<&Person> {
        match &self.who {
            Who::Person { person, .. } => Ok(person),
            Who::Service { .. } => Err(Problem::new(
                Code::NotAllowed,
                "A service key can use `/proxy`, `call` and `metadata`, nothing else.",
            )
            .hint("Use a personal key of scope manage, or sign in.")
            .into()),
            Who::Account { .. } => Err(Problem::new(
                Code::NotAllowed,
                "A service account manages its own project; this belongs to a person.",
            )
            .hint("Use a personal key, or sign in. docs/people.md says what a service account may do.")
            .into()),
            Who::Anonymous | Who::EndUser { .. } | Who::Operator => Err(unauthenticated()),
        }
    }

    /// A person who may manage: in a session, or with a key of scope `manage`.
    pub fn manager(&self) -> Refused<&Person> {
        let person = self.person()?;
        match &self.who {
            Who::Person { via: Via::Key { scope: KeyScope::Call, .. }, .. } => Err(Problem::new(
                Code::NotAllowed,
                "This key has the scope call: it can make calls, and manage nothing.",
            )
            .hint("Use a personal key of scope manage, or sign in.")
            .into()),
            _ => Ok(person),
        }
    }

    /// A person who may manage, or a service account; what each may is asked where it is done.
    pub fn may_manage(&self) -> Refused<()> {
        match &self.who {
            Who::Account { .. } | Who::EndUser { .. } => Ok(()),
            _ => self.manager().map(|_| ()),
        }
    }

    /// A person who looks, or a service account.
    pub fn may_look(&self) -> Refused<()> {
        match &self.who {
            Who::Account { .. } => Ok(()),
            _ => self.person().map(|_| ()),
        }
    }

    /// `user` in templates: a service account is nobody.
    pub fn as_user(&self) -> Option<&Person> {
        match &self.who {
            Who::Person { person, .. } => Some(person),
            _ => None,
        }
    }

    /// A person in a browser session: passwords, second factors and personal keys are out of every key's reach.
    pub fn in_session(&self) -> Refused<(&Person, &SessionId, Timestamp)> {
        let person = self.person()?;
        match &self.who {
            Who::Person { via: Via::Session { id, confirmed_at }, .. } => Ok((person, id, *confirmed_at)),
            _ => Err(Problem::new(
                Code::NotAllowed,
                "This is done by a person who has signed in; no key reaches it.",
            )
            .hint("Sign in (POST /api/v1/session, or the sign-in page) and use that session.")
            .into()),
        }
    }

    pub fn superuser(&self) -> Refused<&Person> {
        let person = self.manager()?;
        if person.superuser {
            return Ok(person);
        }
        if person.held_back {
            return Err(Problem::new(
                Code::SecondFactorRequired,
                "On this server superusers need a second factor, and you came in without one.",
            )
            .hint(
                "Set one up at /account (POST /api/v1/me/totp), or sign in again with the one that you have.",
            )
            .into());
        }
        Err(Problem::new(Code::Forbidden, "Only a superuser may do that.")
            .hint("Ask one of the superusers of this server.")
            .into())
    }

    /// `user`, `key`, `server` or `anonymous`; the id; the e-mail address: as the audit trail has it.
    pub fn audited(&self) -> (&'static str, Option<String>, Option<String>) {
        match &self.who {
            Who::Anonymous => ("anonymous", None, None),
            Who::EndUser { session, .. } => ("anonymous", Some(session.to_string()), None),
            Who::Person { person, .. } => ("user", Some(person.id.to_string()), Some(person.email.clone())),
            Who::Service { key, .. } | Who::Account { key, .. } => ("key", Some(key.to_string()), None),
            Who::Operator => ("server", None, None),
        }
    }

    /// Who a row says it was made by.
    pub fn signature(&self) -> String {
        match &self.who {
            Who::Person { person, .. } => person.id.to_string(),
            Who::Service { key, .. } | Who::Account { key, .. } => key.to_string(),
            Who::Anonymous => "anonymous".to_owned(),
            Who::EndUser { session, .. } => session.to_string(),
            Who::Operator => "operator".to_owned(),
        }
    }
}
