//! What superusers decide about this server while it runs. What needs the machine itself — addresses, files, the
//! sign-in provider, the mail server — is configuration, and not here.

use std::sync::{Arc, Mutex, PoisonError};

use latchstring_model::problem::Refused;
use latchstring_model::{Code, FieldError, Problem};
use latchstring_store::{Tx, instance, scopes};
use serde::{Deserialize, Serialize};

use crate::actor::Actor;
use crate::audit::Event;
use crate::freshness::{Basis, Validity};
use crate::people::me::same_version;
use crate::people::recent::Deed;
use crate::people::{check_name, identities};
use crate::permissions::Operation;
use crate::{Broker, refusals};

/// Its name among the instance's values.
const STORED: &str = "settings";
/// Minutes for which a sign-in may count as recent.
const MINUTES: std::ops::RangeInclusive<i64> = 1..=60;

macro_rules! words {
    ($($(#[$doc:meta])* $name:ident { $($(#[$each:meta])* $variant:ident = $text:literal),* $(,)? })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        pub enum $name { $($(#[$each])* #[serde(rename = $text)] $variant,)* }

        impl $name {
            pub const fn as_str(self) -> &'static str {
                match self { $($name::$variant => $text,)* }
            }

            pub fn parse(text: &str) -> Option<Self> {
                match text { $($text => Some($name::$variant),)* _ => None }
            }
        }
    )*};
}

words! {
    ProjectMakers { #[default] Everyone = "everyone", Superusers = "superusers" }

    /// Who may sign in with a password.
    PasswordSignIn { #[default] Everyone = "everyone", Superusers = "superusers", Nobody = "nobody" }

    /// Of whom a second factor is wanted, whatever their projects want.
    SecondFactorFor { #[default] Nobody = "nobody", Superusers = "superusers" }

    /// `sessions`: a browser session needs a recent sign-in for what matters, keys of scope manage go on as they
    /// are. `everything`: what matters is done in a browser only.
    RecentSignInFor { #[default] Sessions = "sessions", Everything = "everything" }
}

/// As they are stored. A word that this version does not know stops what depends on it, and is never taken for
/// the default.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct InstanceSettings {
    /// Counts changes.
    pub version: i64,
    pub name: String,
    pub projects_by: ProjectMakers,
    pub password_sign_in: PasswordSignIn,
    pub second_factor_for: SecondFactorFor,
    pub recent_sign_in_for: RecentSignInFor,
    pub recent_sign_in_minutes: i64,
}

impl Default for InstanceSettings {
    fn default() -> Self {
        Self {
            version: 1,
            name: "Latchstring".to_owned(),
            projects_by: ProjectMakers::default(),
            password_sign_in: PasswordSignIn::default(),
            second_factor_for: SecondFactorFor::default(),
            recent_sign_in_for: RecentSignInFor::default(),
            recent_sign_in_minutes: 15,
        }
    }
}

/// What is left out stays.
#[derive(Default)]
pub struct InstanceChange {
    pub name: Option<String>,
    pub projects_by: Option<ProjectMakers>,
    pub password_sign_in: Option<PasswordSignIn>,
    pub second_factor_for: Option<SecondFactorFor>,
    pub recent_sign_in_for: Option<RecentSignInFor>,
    pub recent_sign_in_minutes: Option<i64>,
}

/// The settings, for as long as the scope of the instance does not move.
#[derive(Default)]
pub(crate) struct Known(Mutex<Option<(Arc<InstanceSettings>, Validity)>>);

async fn stored(tx: &mut impl Tx) -> Refused<InstanceSettings> {
    match instance::get(tx, STORED).await.map_err(refusals::store)? {
        None => Ok(InstanceSettings::default()),
        Some(text) => serde_json::from_str(&text).map_err(|error| refusals::internal(&error)),
    }
}

impl Broker {
    /// Every request of a person asks: read once, and again when they have changed.
    pub(crate) async fn instance(&self) -> Refused<Arc<InstanceSettings>> {
        if self.freshness.is_fresh(self.now())
            && let Some((settings, valid)) = &*self.instance.0.lock().unwrap_or_else(PoisonError::into_inner)
            && valid.holds()
        {
            return Ok(Arc::clone(settings));
        }
        let mut tx = self.parts.store.begin_read().await.map_err(refusals::store)?;
        let settings = Arc::new(stored(&mut tx).await?);
        let mut basis = Basis::default();
        basis.add(scopes::INSTANCE, scopes::epoch(&mut tx, scopes::INSTANCE).await.map_err(refusals::store)?);
        drop(tx);
        if let Some(valid) = self.freshness.watch(&basis) {
            let mut known = self.instance.0.lock().unwrap_or_else(PoisonError::into_inner);
            *known = Some((Arc::clone(&settings), valid));
        }
        Ok(settings)
    }

    /// For any signed-in person: they are rules that hold for everybody.
    pub async fn instance_settings(&self, actor: &Actor) -> Refused<InstanceSettings> {
        actor.may(Operation::InstanceLook)?;
        let mut reader = self.parts.store.read().await.map_err(refusals::store)?;
        stored(&mut reader).await
    }

    pub async fn change_instance(
        &self,
        actor: &Actor,
        change: InstanceChange,
        version: Option<i64>,
    ) -> Refused<InstanceSettings> {
        actor.may(Operation::InstanceChange)?;
        self.recent(actor, Deed::Instance).await?;
        let mut errors = Vec::new();
        if let Some(name) = &change.name {
            check_name(name, "/name", &mut errors);
        }
        if change.recent_sign_in_minutes.is_some_and(|minutes| !MINUTES.contains(&minutes)) {
            errors.push(FieldError::new("/recent_sign_in_minutes", "a number of minutes from 1 to 60"));
        }
        if !errors.is_empty() {
            return Err(Problem::invalid(errors).into());
        }
        let mut tx = self.parts.store.begin_write(&[scopes::INSTANCE]).await.map_err(refusals::store)?;
        let before = stored(&mut tx).await?;
        same_version(version, before.version)?;
        let mut after = before.clone();
        if let Some(name) = change.name {
            after.name = name.trim().to_owned();
        }
        after.projects_by = change.projects_by.unwrap_or(before.projects_by);
        after.password_sign_in = change.password_sign_in.unwrap_or(before.password_sign_in);
        after.second_factor_for = change.second_factor_for.unwrap_or(before.second_factor_for);
        after.recent_sign_in_for = change.recent_sign_in_for.unwrap_or(before.recent_sign_in_for);
        after.recent_sign_in_minutes = change.recent_sign_in_minutes.unwrap_or(before.recent_sign_in_minutes);
        if after == before {
            return Ok(before);
        }
        let person = actor.superuser()?;
        if after.password_sign_in != PasswordSignIn::Everyone
            && after.password_sign_in != before.password_sign_in
        {
            identities::can_do_without_passwords(self, &mut tx, &person.id, after.password_sign_in).await?;
        }
        if after.second_factor_for == SecondFactorFor::Superusers
            && after.second_factor_for != before.second_factor_for
            && !person.second_factor
        {
            return Err(Problem::new(
                Code::SecondFactorRequired,
                "Who wants a second factor of all superusers has one: you would shut yourself out.",
            )
            .hint("Set one up first (POST /api/v1/me/totp), then change this.")
            .into());
        }
        after.version += 1;
        self.write_instance(&mut tx, actor, &before, &after).await?;
        tx.commit().await.map_err(refusals::store)?;
        Ok(after)
    }

    async fn write_instance(
        &self,
        tx: &mut latchstring_store::WriteTx,
        actor: &Actor,
        before: &InstanceSettings,
        after: &InstanceSettings,
    ) -> Refused<()> {
        let text = serde_json::to_string(after).map_err(|error| refusals::internal(&error))?;
        instance::set(tx, STORED, &text).await.map_err(refusals::store)?;
        let changed = |settings: &InstanceSettings| {
            [
                ("name", settings.name.clone()),
                ("projects_by", settings.projects_by.as_str().to_owned()),
                ("password_sign_in", settings.password_sign_in.as_str().to_owned()),
                ("second_factor_for", settings.second_factor_for.as_str().to_owned()),
                ("recent_sign_in_for", settings.recent_sign_in_for.as_str().to_owned()),
                ("recent_sign_in_minutes", settings.recent_sign_in_minutes.to_string()),
            ]
        };
        let mut event = Event::new("instance.update").target(scopes::INSTANCE);
        for ((name, was), (_, is)) in changed(before).into_iter().zip(changed(after)) {
            if was != is {
                event = event.detail(name, serde_json::json!({"before": was, "after": is}));
            }
        }
        self.record(tx, actor, event).await
    }

    /// The way back in when the sign-in provider is gone: a command on the machine itself.
    pub async fn operator_allow_passwords(&self, actor: &Actor) -> Refused<bool> {
        super::operator::only_operator(actor)?;
        let mut tx = self.parts.store.begin_write(&[scopes::INSTANCE]).await.map_err(refusals::store)?;
        let before = stored(&mut tx).await?;
        if before.password_sign_in == PasswordSignIn::Everyone {
            return Ok(false);
        }
        let after = InstanceSettings {
            password_sign_in: PasswordSignIn::Everyone,
            version: before.version + 1,
            ..before.clone()
        };
        self.write_instance(&mut tx, actor, &before, &after).await?;
        tx.commit().await.map_err(refusals::store)?;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_not_known_is_not_the_default() {
        let read = |text: &str| serde_json::from_str::<InstanceSettings>(text);
        assert_eq!(read("{}").unwrap(), InstanceSettings::default());
        assert_eq!(
            read(r#"{"password_sign_in": "nobody"}"#).unwrap().password_sign_in,
            PasswordSignIn::Nobody
        );
        assert!(read(r#"{"password_sign_in": "robots"}"#).is_err());
        assert!(read(r#"{"second_factor_for": ""}"#).is_err());
    }
}
