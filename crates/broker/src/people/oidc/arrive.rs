//! Whom an identity belongs to. By issuer and subject, and by nothing else: an e-mail address is what its provider
//! says today, and what another one may say tomorrow.
//!
//! | identity | the provider's address, called verified | what happens |
//! | --- | --- | --- |
//! | linked | whatever it is | its account |
//! | not linked | of an account here | refused: sign in to that account as before, and link it there |
//! | not linked | of no account here | a new account, if that is on and the domain is one of those that may |
//! | not linked | none, or not verified | refused |

use std::net::IpAddr;

use latchstring_model::problem::Refused;
use latchstring_model::{Code, Problem};
use latchstring_store::sign_ins::{Purpose, SignInRow, State};
use latchstring_store::users::UserRow;
use latchstring_store::{WriteTx, identities, instance, sessions, sign_ins, users};
use serde_json::{Map, Value};

use super::begin::unknown;
use super::settings::OidcSettings;
use crate::actor::{Actor, Person, Via, Who};
use crate::audit::Event;
use crate::notices::account;
use crate::people::code_page::{CODE_LIFE, code_path};
use crate::people::entry::Door;
use crate::people::sessions::Entered;
use crate::people::users::NewUser;
use crate::people::{LONGEST_NAME, Names, check_email, invites};
use crate::{Broker, refusals};

/// Who stands at the door, as the provider says.
pub(super) struct Guest {
    pub issuer: String,
    pub subject: String,
    /// The provider says that more than one factor was shown.
    pub second_factor: bool,
    pub email: Option<String>,
    /// Whether the address counts as theirs.
    pub email_verified: bool,
    pub names: Names,
    pub groups: Vec<String>,
}

/// What came of it.
pub enum Arrived {
    Entered(Entered),
    /// A path on this server: the second factor of this account is asked for there.
    CodeWanted(String),
    Linked,
    Confirmed,
}

impl Guest {
    pub(super) fn of(
        oidc: &OidcSettings,
        subject: String,
        second_factor: bool,
        claims: &Map<String, Value>,
    ) -> Self {
        let text = |name: &str| {
            let text: String =
                claims.get(name)?.as_str()?.chars().filter(|c| !c.is_control()).take(LONGEST_NAME).collect();
            Some(text.trim().to_owned()).filter(|text| !text.is_empty())
        };
        let email = text("email").filter(|email| {
            let mut wrong = Vec::new();
            check_email(email, "", &mut wrong);
            wrong.is_empty()
        });
        let email_verified = match claims.get("email_verified") {
            Some(Value::Bool(verified)) => *verified,
            Some(Value::String(text)) => text == "true",
            // Not said; a provider of one's own may be trusted all the same.
            None => oidc.trust_email,
            Some(_) => false,
        };
        let groups = match claims.get(&oidc.groups_claim) {
            Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            Some(Value::String(one)) => vec![one.clone()],
            _ => Vec::new(),
        };
        Self {
            issuer: oidc.issuer.clone(),
            subject,
            second_factor,
            email,
            email_verified,
            names: Names {
                name: text("name"),
                first_name: text("given_name"),
                last_name: text("family_name"),
                username: text("preferred_username"),
            },
            groups,
        }
    }

    /// The address, where it counts.
    fn own_email(&self) -> Option<&str> {
        self.email.as_deref().filter(|_| self.email_verified)
    }
}

fn nobody(detail: impl Into<std::borrow::Cow<'static, str>>) -> Box<Problem> {
    Problem::new(Code::IdentityUnknown, detail)
        .hint("Ask a superuser for an invitation. If you have an account here, sign in to it as before and link it at /account.")
        .into()
}

fn not_active() -> Box<Problem> {
    Problem::new(Code::IdentityUnknown, "The account that is linked with this identity is not active.")
        .hint("A superuser can activate it again.")
        .into()
}

impl Broker {
    /// A new account for somebody whom nobody knows, if such get one.
    fn may_have_account<'g>(&self, guest: &'g Guest) -> Refused<&'g str> {
        let oidc = self.oidc()?;
        if !oidc.create_accounts {
            return Err(nobody(
                "The provider knows you, and this server does not: nobody has made an account for you.",
            ));
        }
        let Some(email) = guest.own_email() else {
            return Err(nobody(
                "The provider gave no e-mail address of yours that it calls verified, and an account here needs one.",
            ));
        };
        let domain = email.rsplit('@').next().unwrap_or_default().to_lowercase();
        if !oidc.allowed_domains.is_empty() && !oidc.allowed_domains.contains(&domain) {
            return Err(nobody("Your address at the provider is of a domain that gets no accounts here."));
        }
        Ok(email)
    }

    /// The account of a guest who signs in: the linked one, or a new one.
    async fn account_of(&self, tx: &mut WriteTx, guest: &Guest) -> Refused<(UserRow, bool)> {
        let linked =
            identities::by_subject(tx, &guest.issuer, &guest.subject).await.map_err(refusals::store)?;
        if let Some(identity) = linked {
            let user = users::by_id(tx, &identity.user_id).await.map_err(refusals::store)?;
            let user = user.filter(|user| user.fields.active).ok_or_else(not_active)?;
            identities::seen(tx, &identity.id, guest.email.as_deref(), self.now())
                .await
                .map_err(refusals::store)?;
            return Ok((user, false));
        }
        if let Some(email) = guest.own_email()
            && users::by_email(tx, email).await.map_err(refusals::store)?.is_some()
        {
            return Err(Problem::new(
                Code::AccountExists,
                "There is an account with your e-mail address here, and it is not linked with this identity. An address alone links nothing: whoever could have it written into a profile would have your account.",
            )
            .hint("Sign in to that account as before (or through its invitation), and link it at /account (POST /api/v1/me/identities).")
            .into());
        }
        let email = self.may_have_account(guest)?.to_owned();
        let names = Names {
            name: guest.names.name.clone(),
            first_name: guest.names.first_name.clone(),
            last_name: guest.names.last_name.clone(),
            username: guest.names.username.clone(),
        };
        let new = NewUser { email, names, superuser: false, password: None };
        let user = self.insert_user(tx, &new, None).await?;
        self.link_identity(tx, &user.id, &guest.issuer, &guest.subject, guest.email.as_deref()).await?;
        Ok((user, true))
    }
}

impl Door {
    pub(super) async fn arrive(
        &self,
        actor: &Actor,
        row: &SignInRow,
        guest: Guest,
        agent: &str,
        address: Option<IpAddr>,
    ) -> Refused<Arrived> {
        match row.purpose {
            Purpose::SignIn => self.come_in(row, &guest, agent, address).await,
            Purpose::Invite => self.come_in_invited(row, &guest, agent, address).await,
            Purpose::Link => self.link(actor, row, &guest).await,
            Purpose::Confirm => self.confirm_at_provider(actor, row, &guest).await,
        }
    }

    async fn come_in(
        &self,
        row: &SignInRow,
        guest: &Guest,
        agent: &str,
        address: Option<IpAddr>,
    ) -> Refused<Arrived> {
        let broker = &self.broker;
        // Whom it concerns is looked up first, so that the write can name its scopes.
        let plan = broker.plan_groups(&guest.issuer, &guest.subject, &guest.groups).await?;
        let mut tx = broker.parts.store.begin_write(&plan.scopes()).await.map_err(refusals::store)?;
        let (user, new) = broker.account_of(&mut tx, guest).await?;
        tx.raise(&[user.id.as_str()]).await.map_err(refusals::store)?;
        let as_person = Actor { who: Who::Person { person: Person::of(&user), via: Via::Begun }, address };
        let mut events = Vec::new();
        if new {
            let event = Event::new("user.create").target(user.id.as_str());
            events.push(
                event.detail("email", user.fields.email.as_str()).detail("issuer", guest.issuer.as_str()),
            );
        }
        events.extend(broker.apply_groups(&mut tx, &user, &plan).await?);
        let event = Event::new("identity.use").target(user.id.as_str());
        events
            .push(event.detail("issuer", guest.issuer.as_str()).detail("second_factor", guest.second_factor));
        if user.second_factor && !guest.second_factor {
            let until = broker.now().plus_millis(CODE_LIFE);
            if !sign_ins::want_code(&mut tx, &row.id, &user.id, until).await.map_err(refusals::store)? {
                return Err(unknown());
            }
            broker.record_all(&mut tx, &as_person, events).await?;
            tx.commit().await.map_err(refusals::store)?;
            return Ok(Arrived::CodeWanted(code_path(&row.id)));
        }
        if !sign_ins::end(&mut tx, &row.id, State::Exchanging).await.map_err(refusals::store)? {
            return Err(unknown());
        }
        // Groups may have made or unmade a superuser.
        let user = users::by_id(&mut tx, &user.id).await.map_err(refusals::store)?.ok_or_else(unknown)?;
        broker.record_all(&mut tx, &as_person, events).await?;
        let (_, token) = broker.open_session(&mut tx, &user, address, agent, guest.second_factor).await?;
        tx.commit().await.map_err(refusals::store)?;
        Ok(Arrived::Entered(Entered { user: user.into(), cookie: self.cookie(&token) }))
    }

    /// Whoever has the invitation takes the account with their identity instead of a password.
    async fn come_in_invited(
        &self,
        row: &SignInRow,
        guest: &Guest,
        agent: &str,
        address: Option<IpAddr>,
    ) -> Refused<Arrived> {
        let broker = &self.broker;
        let id = row.user_id.as_ref().ok_or_else(unknown)?;
        let mut tx = broker.parts.store.begin_write(&[id.as_str()]).await.map_err(refusals::store)?;
        let user = users::by_id(&mut tx, id).await.map_err(refusals::store)?;
        let user = user.filter(|user| user.fields.active).ok_or_else(unknown)?;
        // It may have been used, or replaced by a newer one, meanwhile.
        if !invites::is_open(&mut tx, id, row.created_at, broker.now()).await?
            || !instance::remove(&mut tx, &invites::name_of(id)).await.map_err(refusals::store)?
            || !sign_ins::end(&mut tx, &row.id, State::Exchanging).await.map_err(refusals::store)?
        {
            return Err(invites::void());
        }
        broker.link_identity(&mut tx, id, &guest.issuer, &guest.subject, guest.email.as_deref()).await?;
        let (actor, token) = broker.open_session(&mut tx, &user, address, agent, guest.second_factor).await?;
        let events = vec![
            Event::new("invite.accept").target(id.as_str()),
            Event::new("identity.create").target(id.as_str()).detail("issuer", guest.issuer.as_str()),
        ];
        broker.record_all(&mut tx, &actor, events).await?;
        tx.commit().await.map_err(refusals::store)?;
        Ok(Arrived::Entered(Entered { user: user.into(), cookie: self.cookie(&token) }))
    }

    async fn link(&self, actor: &Actor, row: &SignInRow, guest: &Guest) -> Refused<Arrived> {
        let broker = &self.broker;
        let (person, session, _) = actor.in_session()?;
        let mut tx = broker.parts.store.begin_write(&[person.id.as_str()]).await.map_err(refusals::store)?;
        let alive =
            sessions::by_id(&mut tx, &person.id, session, broker.now()).await.map_err(refusals::store)?;
        if alive.is_none()
            || !sign_ins::end(&mut tx, &row.id, State::Exchanging).await.map_err(refusals::store)?
        {
            return Err(unknown());
        }
        let known =
            identities::by_subject(&mut tx, &guest.issuer, &guest.subject).await.map_err(refusals::store)?;
        if known.is_some_and(|known| known.user_id == person.id) {
            tx.commit().await.map_err(refusals::store)?;
            return Ok(Arrived::Linked);
        }
        broker
            .link_identity(&mut tx, &person.id, &guest.issuer, &guest.subject, guest.email.as_deref())
            .await?;
        let address = actor.address.map(|address| address.to_string()).unwrap_or_default();
        let more = [("issuer", guest.issuer.as_str()), ("address", address.as_str())];
        account::tell(broker, &mut tx, account::LINKED, &person.id, more).await?;
        let event = Event::new("identity.create").target(person.id.as_str());
        broker.record(&mut tx, actor, event.detail("issuer", guest.issuer.as_str())).await?;
        tx.commit().await.map_err(refusals::store)?;
        Ok(Arrived::Linked)
    }

    /// The person has just signed in at the provider, as the one whom this account is linked with.
    async fn confirm_at_provider(&self, actor: &Actor, row: &SignInRow, guest: &Guest) -> Refused<Arrived> {
        let broker = &self.broker;
        let (person, session, _) = actor.in_session()?;
        let now = broker.now();
        let mut tx = broker.parts.store.begin_write(&[person.id.as_str()]).await.map_err(refusals::store)?;
        let known =
            identities::by_subject(&mut tx, &guest.issuer, &guest.subject).await.map_err(refusals::store)?;
        if known.is_none_or(|known| known.user_id != person.id) {
            return Err(Problem::new(
                Code::IdentityUnknown,
                "You signed in at the provider as somebody else than the one whom your account here is linked with.",
            )
            .hint("Sign out at the provider, then confirm again as yourself.")
            .into());
        }
        let user = users::by_id(&mut tx, &person.id).await.map_err(refusals::store)?;
        let user = user.filter(|user| user.fields.active).ok_or_else(unknown)?;
        sessions::by_id(&mut tx, &person.id, session, now)
            .await
            .map_err(refusals::store)?
            .ok_or_else(unknown)?;
        if user.second_factor && !guest.second_factor {
            let until = now.plus_millis(CODE_LIFE);
            if !sign_ins::want_code(&mut tx, &row.id, &person.id, until).await.map_err(refusals::store)? {
                return Err(unknown());
            }
            tx.commit().await.map_err(refusals::store)?;
            return Ok(Arrived::CodeWanted(code_path(&row.id)));
        }
        if !sign_ins::end(&mut tx, &row.id, State::Exchanging).await.map_err(refusals::store)? {
            return Err(unknown());
        }
        sessions::confirm(&mut tx, &person.id, session, guest.second_factor, now)
            .await
            .map_err(refusals::store)?;
        let event = Event::new("session.confirm").target(session.as_str());
        broker.record(&mut tx, actor, event.detail("issuer", guest.issuer.as_str())).await?;
        tx.commit().await.map_err(refusals::store)?;
        Ok(Arrived::Confirmed)
    }
}
