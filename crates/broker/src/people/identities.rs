//! Accounts here, linked with identities at a provider. A person links their own, in a session with a recent
//! sign-in; nothing else links.

use latchstring_model::id::{IdentityId, UserId};
use latchstring_model::problem::Refused;
use latchstring_model::{Code, Problem, Timestamp};
use latchstring_store::identities::{self, IdentityRow};
use latchstring_store::{Tx, users};

use crate::actor::{Actor, Person};
use crate::audit::Event;
use crate::notices::account;
use crate::people::instance::{InstanceSettings, PasswordSignIn};
use crate::people::recent::Deed;
use crate::{Broker, refusals};

pub struct Identity {
    pub id: IdentityId,
    pub issuer: String,
    pub subject: String,
    /// As the provider gave it last.
    pub email: Option<String>,
    pub linked_at: Timestamp,
    pub seen_at: Timestamp,
}

impl From<IdentityRow> for Identity {
    fn from(row: IdentityRow) -> Self {
        Self {
            id: row.id,
            issuer: row.issuer,
            subject: row.subject,
            email: row.email,
            linked_at: row.linked_at,
            seen_at: row.seen_at,
        }
    }
}

/// Whether somebody's password is taken at all.
pub(crate) fn takes_password(settings: &InstanceSettings, superuser: bool) -> bool {
    match settings.password_sign_in {
        PasswordSignIn::Everyone => true,
        PasswordSignIn::Superusers => superuser,
        PasswordSignIn::Nobody => false,
    }
}

/// Nobody shuts themselves and everybody else out.
pub(crate) async fn can_do_without_passwords(
    broker: &Broker,
    tx: &mut impl Tx,
    person: &UserId,
    wanted: PasswordSignIn,
) -> Refused<()> {
    let Some(oidc) = &broker.settings.oidc else {
        return Err(Problem::new(
            Code::NotSetUp,
            "No sign-in provider is set up, so without passwords nobody could come in.",
        )
        .hint("Whoever runs this server sets LATCHSTRING_OIDC_ISSUER and LATCHSTRING_OIDC_CLIENT_ID.")
        .into());
    };
    let linked = identities::list(tx, person).await.map_err(refusals::store)?;
    if wanted == PasswordSignIn::Nobody && linked.iter().all(|identity| identity.issuer != oidc.issuer) {
        return Err(Problem::new(
            Code::NotLinked,
            "Your own account is not linked with the sign-in provider: you would shut yourself out.",
        )
        .hint("Link it first (POST /api/v1/me/identities), and sign in that way once.")
        .into());
    }
    Ok(())
}

impl Broker {
    /// One's own.
    pub async fn identities(&self, actor: &Actor) -> Refused<Vec<Identity>> {
        let (person, _, _) = actor.in_session()?;
        let mut reader = self.parts.store.read().await.map_err(refusals::store)?;
        let rows = identities::list(&mut reader, &person.id).await.map_err(refusals::store)?;
        Ok(rows.into_iter().map(Identity::from).collect())
    }

    /// Takes a link away. One way in stays.
    pub async fn unlink_identity(&self, actor: &Actor, id: &str) -> Refused<()> {
        let (person, _, _) = actor.in_session()?;
        self.recent(actor, Deed::Identity).await?;
        let unknown = || refusals::not_found("Your account has no such link.");
        let id: IdentityId = id.parse().map_err(|_| unknown())?;
        let settings = self.instance().await?;
        let mut tx = self.parts.store.begin_write(&[person.id.as_str()]).await.map_err(refusals::store)?;
        let all = identities::list(&mut tx, &person.id).await.map_err(refusals::store)?;
        let gone = all.iter().find(|identity| identity.id == id).ok_or_else(unknown)?;
        let password = users::password_hash(&mut tx, &person.id).await.map_err(refusals::store)?.is_some()
            && takes_password(&settings, person.superuser);
        let others = all.iter().any(|other| other.id != id && self.is_configured(&other.issuer));
        if !password && !others {
            return Err(Problem::new(
                Code::LastSignIn,
                "This is your only way to sign in; without it you could not come back.",
            )
            .hint("Set a password first (PUT /api/v1/me/password), if this server takes passwords.")
            .into());
        }
        identities::remove(&mut tx, &person.id, &id).await.map_err(refusals::store)?;
        account::tell(self, &mut tx, account::UNLINKED, &person.id, [("issuer", gone.issuer.as_str())])
            .await?;
        let event = Event::new("identity.delete").target(person.id.as_str());
        self.record(&mut tx, actor, event.detail("issuer", gone.issuer.as_str())).await?;
        tx.commit().await.map_err(refusals::store)?;
        Ok(())
    }

    fn is_configured(&self, issuer: &str) -> bool {
        self.settings.oidc.as_ref().is_some_and(|oidc| oidc.issuer == issuer)
    }

    /// Writes the link of an identity with an account, in the transaction of what makes it.
    pub(crate) async fn link_identity(
        &self,
        tx: &mut latchstring_store::WriteTx,
        person: &UserId,
        issuer: &str,
        subject: &str,
        email: Option<&str>,
    ) -> Refused<()> {
        use latchstring_store::Taken;
        let now = self.now();
        let row = IdentityRow {
            id: IdentityId::new(now, &*self.parts.entropy),
            user_id: person.clone(),
            issuer: issuer.to_owned(),
            subject: subject.to_owned(),
            email: email.map(str::to_owned),
            linked_at: now,
            seen_at: now,
        };
        identities::create(tx, &row).await.map_err(|error| {
            if error.is_taken(Taken::Identity) {
                Problem::new(Code::IdentityTaken, "That identity is linked with another account here.")
                    .hint("Sign in at the provider as somebody else, or take the link away in that account first.")
                    .into()
            } else if error.is_taken(Taken::IdentityOfPerson) {
                Problem::new(
                    Code::IdentityTaken,
                    "Your account is linked with another identity at this provider already.",
                )
                .hint("Take that link away first (DELETE /api/v1/me/identities/{id}).")
                .into()
            } else {
                refusals::store(error)
            }
        })
    }
}

/// How somebody can sign in, for a page and for clients.
pub struct WaysIn {
    pub passwords: PasswordSignIn,
    /// What the provider is called.
    pub provider: Option<String>,
    /// Whether a forgotten password can be reset by mail.
    pub reset_by_mail: bool,
    /// What this server is called.
    pub name: String,
}

impl Broker {
    pub async fn ways_in(&self) -> Refused<WaysIn> {
        let settings = self.instance().await?;
        Ok(WaysIn {
            passwords: settings.password_sign_in,
            provider: self.settings.oidc.as_ref().map(|oidc| oidc.name.clone()),
            reset_by_mail: self.settings.mail.is_some()
                && settings.password_sign_in != PasswordSignIn::Nobody,
            name: settings.name.clone(),
        })
    }

    /// Whether this person's password is taken, for what asks for it once more.
    pub(crate) async fn check_takes_password(&self, person: &Person) -> Refused<()> {
        // `held_back` superusers are superusers still when it comes to their own password.
        if takes_password(&*self.instance().await?, person.superuser || person.held_back) {
            return Ok(());
        }
        Err(password_sign_in_off())
    }
}

pub(crate) fn password_sign_in_off() -> Box<Problem> {
    Problem::new(
        Code::PasswordSignInOff,
        "This server takes no password for that account; people sign in at the provider.",
    )
    .hint("Go to /sign-in/provider. When the provider is gone, whoever runs the server lets passwords in again: latchstring admin allow-passwords.")
    .into()
}
