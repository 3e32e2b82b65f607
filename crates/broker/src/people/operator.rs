//! What the `admin` commands do. Whoever has the shell is trusted; it is recorded like anything else.

use latchstring_model::entity::KeyScope;
use latchstring_model::problem::Refused;
use latchstring_model::{Code, FieldError, Problem};
use latchstring_store::{members, projects, users};

use crate::actor::{Actor, Who};
use crate::people::keys::{MadeKey, NewKey};
use crate::people::users::NewUser;
use crate::people::{ShownOnce, User, check_name};
use crate::permissions::Operation;
use crate::projects::access;
use crate::projects::service_keys::{NewServiceKey, WantedLimits};
use crate::{Broker, refusals};

/// For `admin create-key`.
pub struct OperatorKey {
    pub email: String,
    pub name: String,
    /// A service key of this project and environment, or without an environment a service account; without a
    /// project a personal key of scope manage.
    pub service: Option<(String, Option<String>)>,
}

pub(crate) fn only_operator(actor: &Actor) -> Refused<()> {
    match actor.who {
        Who::Operator => Ok(()),
        _ => Err(Problem::new(Code::Forbidden, "Only a command on the server's own machine does that.")
            .hint("Whoever runs the server does it there: `latchstring admin --help` lists such commands.")
            .into()),
    }
}

impl Broker {
    pub async fn operator_create_user(&self, actor: &Actor, new: NewUser) -> Refused<User> {
        only_operator(actor)?;
        self.create_user_unasked(actor, new).await
    }

    /// The key alone, to be printed. For a service key the person has to be one who could make it: an admin
    /// of the project.
    pub async fn operator_create_key(&self, actor: &Actor, new: OperatorKey) -> Refused<ShownOnce> {
        only_operator(actor)?;
        let mut errors = Vec::new();
        check_name(&new.name, "/name", &mut errors);
        if !errors.is_empty() {
            return Err(Problem::invalid(errors).into());
        }
        let nobody = || -> Box<Problem> {
            Problem::invalid(vec![FieldError::new(
                "/email",
                "nobody with that address has an active account here",
            )])
            .hint("Make the account first: latchstring admin create-user --email …")
            .into()
        };
        let mut reader = self.parts.store.read().await.map_err(refusals::store)?;
        let user = users::by_email(&mut reader, &new.email).await.map_err(refusals::store)?;
        let user = user.filter(|user| user.fields.active).ok_or_else(nobody)?;
        let Some((project, environment)) = new.service else {
            drop(reader);
            let mut tx = self.parts.store.begin_write(&[user.id.as_str()]).await.map_err(refusals::store)?;
            let key = NewKey { name: new.name, scope: KeyScope::Manage, expires_at: None };
            let MadeKey { secret, .. } = self.insert_personal_key(&mut tx, actor, &user.id, key).await?;
            tx.commit().await.map_err(refusals::store)?;
            return Ok(secret);
        };
        let found = projects::by_slug_or_id(&mut reader, &project).await.map_err(refusals::store)?;
        let found = found.ok_or_else(|| refusals::not_found("There is no such project."))?;
        let role = members::role(&mut reader, &found.id, &user.id).await.map_err(refusals::store)?;
        if !access::role_may(role, Operation::ServiceKeyCreate) {
            return Err(Problem::new(Code::Forbidden, "That person is no admin or owner of the project.")
                .hint("Name a person who is; service keys are theirs to make.")
                .into());
        }
        drop(reader);
        let key = NewServiceKey {
            name: new.name,
            scope: if environment.is_some() { KeyScope::Call } else { KeyScope::Manage },
            environment,
            limits: WantedLimits::default(),
            expires_at: None,
        };
        let mut tx = self.parts.store.begin_write(&[found.id.as_str()]).await.map_err(refusals::store)?;
        let made = self.insert_service_key(&mut tx, actor, &found.id, key).await?;
        tx.commit().await.map_err(refusals::store)?;
        Ok(made.secret)
    }
}
