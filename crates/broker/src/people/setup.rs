//! The one-time set-up link: whoever started the server makes the first account, a superuser, through it.
//!
//! The link goes to the terminal, never into logs. It lives for an hour, only while there is no user; a new
//! start makes a new one, and the old one is void.

use std::net::IpAddr;

use latchstring_model::problem::Refused;
use latchstring_model::{Code, Problem, SecretString};
use latchstring_store::{instance, scopes, users};

use crate::actor::{Actor, Who};
use crate::audit::Event;
use crate::people::entry::Door;
use crate::people::sessions::Entered;
use crate::people::users::NewUser;
use crate::people::{ShownOnce, random};
use crate::projects::Project;
use crate::projects::life::NewProject;
use crate::{Broker, passwords, refusals};

/// Milliseconds that the link lives.
pub const LIFE: i64 = 3_600_000;

pub struct Setup {
    pub token: SecretString,
    /// Its `superuser` is not looked at: the first person is one. A password is needed.
    pub user: NewUser,
    pub project: Option<NewProject>,
    pub agent: String,
}

pub struct SetUp {
    pub entered: Entered,
    pub project: Option<Project>,
}

fn done() -> Box<Problem> {
    Problem::new(Code::SetupDone, "This server is set up already.")
        .hint("Sign in at /sign-in; a superuser can invite you.")
        .into()
}

fn void() -> Box<Problem> {
    Problem::new(
        Code::Gone,
        "The set-up link is not valid: it has expired, was mistyped, or a later start made another one.",
    )
    .hint("Start the server again; it prints a new link.")
    .into()
}

impl Broker {
    /// The path of the link, `/setup/{token}`, for the binary to print behind the public URL; `None` once there
    /// is a user.
    pub async fn begin_setup(&self) -> Refused<Option<ShownOnce>> {
        let token = random::new_token(self.parts.entropy.as_ref());
        let mut tx = self.parts.store.begin_write(&[scopes::INSTANCE]).await.map_err(refusals::store)?;
        let ends = self.now().plus_millis(LIFE);
        if !instance::offer_setup(&mut tx, &random::hash(token.expose()), ends)
            .await
            .map_err(refusals::store)?
        {
            return Ok(None);
        }
        tx.commit().await.map_err(refusals::store)?;
        Ok(Some(ShownOnce(token)))
    }

    /// Whether anybody can sign in yet, for the start page.
    pub async fn is_set_up(&self) -> Refused<bool> {
        let mut reader = self.parts.store.read().await.map_err(refusals::store)?;
        Ok(users::count(&mut reader).await.map_err(refusals::store)? > 0)
    }
}

impl Door {
    /// Whether the page behind a link should show its form.
    pub async fn look_at_setup(&self, token: &str, address: Option<IpAddr>) -> Refused<()> {
        self.limits.link(address)?;
        if self.broker.is_set_up().await? {
            return Err(done());
        }
        let mut reader = self.broker.parts.store.read().await.map_err(refusals::store)?;
        match instance::setup_is_open(&mut reader, &random::hash(token), self.broker.now())
            .await
            .map_err(refusals::store)?
        {
            true => Ok(()),
            false => Err(void()),
        }
    }

    /// Makes the first user, a superuser, with a first project if wanted, and signs them in.
    pub async fn finish_setup(&self, setup: Setup, address: Option<IpAddr>) -> Refused<SetUp> {
        let broker = &self.broker;
        let anonymous = Actor { who: Who::Anonymous, address };
        if let Err(problem) = self.look_at_setup(setup.token.expose(), address).await {
            if problem.code != Code::TooManyRequests {
                self.note_refusal(
                    &anonymous,
                    Event::new("setup.refuse").detail("code", problem.code.as_str()),
                )
                .await;
            }
            return Err(problem);
        }
        let mut errors = setup.user.check();
        let given = setup.user.password.clone().unwrap_or_default();
        if setup.user.password.is_none()
            && let Err(problem) = passwords::check(&given, "/password")
        {
            errors.extend(problem.errors);
        }
        if let Some(project) = &setup.project {
            errors.extend(project.check("/project"));
        }
        if !errors.is_empty() {
            return Err(Problem::invalid(errors).into());
        }
        let hash = passwords::hash(given, broker.parts.entropy.as_ref()).await?;
        let mut tx = broker.parts.store.begin_write(&[scopes::INSTANCE]).await.map_err(refusals::store)?;
        if users::count(&mut tx).await.map_err(refusals::store)? > 0 {
            return Err(done());
        }
        if !instance::take_setup(&mut tx, &random::hash(setup.token.expose()), broker.now())
            .await
            .map_err(refusals::store)?
        {
            return Err(void());
        }
        let first = NewUser { superuser: true, ..setup.user };
        let user = broker.insert_user(&mut tx, &first, Some(&hash)).await?;
        let (actor, token) = broker.open_session(&mut tx, &user, address, &setup.agent, false).await?;
        let event =
            Event::new("user.create").target(user.id.as_str()).detail("email", user.fields.email.as_str());
        broker.record(&mut tx, &actor, event.detail("superuser", true)).await?;
        let project = match &setup.project {
            Some(project) => Some(broker.insert_project(&mut tx, &actor, &user.id, project).await?),
            None => None,
        };
        tx.commit().await.map_err(refusals::store)?;
        Ok(SetUp { entered: Entered { user: user.into(), cookie: self.cookie(&token) }, project })
    }
}
