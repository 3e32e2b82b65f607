//! A credential handed to another person: its owner offers it, the recipient accepts with the offer's token, once.
//!
//! What is offered is what is accepted: an offer is void once the credential, its shares or a membership that it was
//! made with has changed. Nothing that uses the credential notices: tokens, grants, pins and slugs stay, and the
//! values are sealed for the credential, not for the person. A credential that a project owns stays the project's.

use aws_lc_rs::digest::{Context, SHA256};
use latchstring_model::entity::Principal;
use latchstring_model::id::{TransferId, UserId};
use latchstring_model::problem::Refused;
use latchstring_model::{Code, FieldError, Problem, Timestamp};
use latchstring_store::credentials::{self as rows, CredentialRow};
use latchstring_store::shares::{self, ShareWithGrants};
use latchstring_store::transfers::{self, Outcome, TransferRow};
use latchstring_store::users::UserRow;
use latchstring_store::{StoreError, Tx, members, users, values};
use serde_json::json;

use super::access::owned;
use super::change::scheduled;
use super::save::told;
use super::view::{Sight, View};
use crate::actor::Actor;
use crate::audit::Event;
use crate::notices::{self, TRANSFER_CANCELLED, TRANSFER_OFFERED, TRANSFERRED};
use crate::people::recent::Deed;
use crate::people::{Page, Paging, ShownOnce, random};
use crate::permissions::Operation;
use crate::{Broker, refusals};

/// How long an offer stands: three days, in milliseconds.
pub const LIFE: i64 = 3 * 86_400_000;

/// An offer on its way to the recipient.
pub struct Offered {
    pub id: TransferId,
    pub token: ShownOnce,
    pub expires_at: Timestamp,
}

/// An open offer, as both sides see it.
pub struct Offer {
    pub id: TransferId,
    pub credential: String,
    pub credential_name: String,
    pub connector: String,
    pub from: String,
    pub to: String,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    /// Whether the person who asks is to receive it.
    pub incoming: bool,
}

impl Offer {
    fn of(open: transfers::OpenTransfer, me: &UserId) -> Self {
        Self {
            incoming: open.row.to == *me,
            id: open.row.id,
            credential: open.row.credential_id.to_string(),
            credential_name: open.credential_name,
            connector: open.connector,
            from: open.from_email,
            to: open.to_email,
            created_at: open.row.created_at,
            expires_at: open.row.expires_at,
        }
    }
}

/// What an offer is about, for the recipient who has its token.
pub struct Preview {
    pub offer: Offer,
    /// Slugs of the projects that use it.
    pub projects: Vec<String>,
}

pub(super) fn no_such_offer() -> Box<Problem> {
    refusals::not_found("There is no such offer.")
}

fn over(why: &'static str) -> Box<Problem> {
    Problem::new(Code::Gone, why).hint("Ask the credential's owner to offer it once more.").into()
}

/// Two texts that follow each other are not the same as one.
fn put(context: &mut Context, part: &str) {
    context.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
    context.update(part.as_bytes());
}

/// A digest of everything that an offer stands on.
async fn ground(
    tx: &mut impl Tx,
    row: &CredentialRow,
    shares: &[ShareWithGrants],
    people: [&UserId; 2],
) -> Refused<Vec<u8>> {
    let mut context = Context::new(&SHA256);
    put(&mut context, "latchstring transfer 1");
    for part in [row.id.as_str(), row.owner.kind(), row.owner.id(), &row.version.to_string()] {
        put(&mut context, part);
    }
    for values in values::list(tx, row).await.map_err(refusals::store)? {
        put(&mut context, &values.environment);
        put(&mut context, &values.version.to_string());
        put(&mut context, &json!(values.pins).to_string());
    }
    for share in shares {
        let one = &share.share;
        let external_id = json!(one.external_id).to_string();
        let suspended = one.suspended.to_string();
        for part in [one.id.as_str(), one.project_id.as_str(), &one.slug, &external_id, &suspended] {
            put(&mut context, part);
        }
        for grant in &share.grants {
            put(&mut context, grant.environment_id.as_str());
            put(&mut context, &grant.credential_environment);
        }
        for person in people {
            let membership =
                members::membership(tx, &one.project_id, person).await.map_err(refusals::store)?;
            let told = membership.map(|(role, since)| format!("{role} since {}", since.millis()));
            put(&mut context, told.as_deref().unwrap_or("none"));
        }
    }
    for person in people {
        let user = users::by_id(tx, person).await.map_err(refusals::store)?;
        let active = user.is_some_and(|user| user.fields.active);
        put(&mut context, if active { "active" } else { "not active" });
    }
    Ok(context.finish().as_ref().to_vec())
}

/// The recipient, who has to be in every project that uses the credential.
pub(super) async fn recipient(tx: &mut impl Tx, email: &str, shares: &[ShareWithGrants]) -> Refused<UserRow> {
    let user = users::by_email(tx, email.trim()).await.map_err(refusals::store)?;
    let user = user.filter(|user| user.fields.active);
    let mut missing = Vec::new();
    for share in shares {
        let role = match &user {
            Some(user) => {
                members::role(tx, &share.share.project_id, &user.id).await.map_err(refusals::store)?
            }
            None => None,
        };
        if role.is_none() {
            missing.push(share.project_slug.clone());
        }
    }
    missing.sort();
    if !missing.is_empty() {
        let detail =
            format!("is not an active member of {}, which the credential is shared with", missing.join(", "));
        return Err(Problem::invalid(vec![FieldError::new("/email", detail)])
            .hint("Have an admin add the person there, or take those projects out of the credential's shares first.")
            .with("projects", missing.into())
            .into());
    }
    user.ok_or_else(|| {
        Problem::invalid(vec![FieldError::new(
            "/email",
            "nobody with that e-mail address has an active account here",
        )])
        .hint("A superuser can make the account or send an invitation (POST /api/v1/invites).")
        .into()
    })
}

fn of_a_project() -> Box<Problem> {
    Problem::new(Code::ProjectOwned, "A project owns this credential, and it stays the project's.")
        .hint("Each of the project's owners and admins may edit it already. For another owner, store it anew and delete this one.")
        .into()
}

impl Broker {
    /// Offers a credential to somebody. An earlier offer of it is over.
    pub async fn offer_transfer(&self, actor: &Actor, id: &str, email: &str) -> Refused<Offered> {
        let operation = Operation::CredentialTransfer;
        let (row, shares, to) = {
            let mut tx = self.parts.store.begin_read().await.map_err(refusals::store)?;
            let row = owned(&mut tx, actor, id, operation).await?;
            self.unfrozen(actor)?;
            self.recent(actor, Deed::Transfer).await?;
            if matches!(row.owner, Principal::Project(_)) {
                return Err(of_a_project());
            }
            if row.deletes_at.is_some() {
                return Err(scheduled());
            }
            let shares = shares::list_of_credential(&mut tx, &row).await.map_err(refusals::store)?;
            let to = recipient(&mut tx, email, &shares).await?;
            (row, shares, to)
        };
        let person = actor.manager()?;
        if to.id == person.id {
            let detail = "is your own address; the credential is yours already";
            return Err(Problem::invalid(vec![FieldError::new("/email", detail)]).into());
        }
        let now = self.now();
        let token = random::new_token(&*self.parts.entropy);
        // Of this credential alone: nothing that is cached depends on an offer, but two of them must not pass each other.
        let mut tx = self.parts.store.begin_write(&[row.id.as_str()]).await.map_err(refusals::store)?;
        let current = owned(&mut tx, actor, id, operation).await?;
        let now_shared = shares::list_of_credential(&mut tx, &current).await.map_err(refusals::store)?;
        if current.version != row.version || now_shared != shares {
            return Err(refusals::store(StoreError::Moved));
        }
        transfers::end_of_credential(&mut tx, &row.id, Outcome::Overtaken, now)
            .await
            .map_err(refusals::store)?;
        let offer = TransferRow {
            id: TransferId::new(now, &*self.parts.entropy),
            credential_id: row.id.clone(),
            from: person.id.clone(),
            to: to.id.clone(),
            ground: ground(&mut tx, &current, &now_shared, [&person.id, &to.id]).await?,
            created_at: now,
            expires_at: now.plus_millis(LIFE),
            ended: None,
        };
        transfers::create(&mut tx, &offer, &random::hash(token.expose())).await.map_err(refusals::store)?;
        let telling = notices::ToPeople {
            event: TRANSFER_OFFERED,
            sameness: format!("{TRANSFER_OFFERED}/{}", offer.id),
            credential: &current,
            people: vec![to.id.clone(), person.id.clone()],
            more: notices::more([
                ("from", person.email.as_str().into()),
                ("to", to.fields.email.as_str().into()),
                ("expires_at", offer.expires_at.to_rfc3339().into()),
            ]),
        };
        notices::tell_people(&mut tx, now, &*self.parts.entropy, telling).await.map_err(refusals::store)?;
        let event = Event::new("credential.transfer")
            .credential(&row.id)
            .target(row.name.clone())
            .detail("step", "offered")
            .detail("offer", offer.id.as_str())
            .detail("to", to.fields.email.as_str());
        self.record(&mut tx, actor, event).await?;
        tx.commit().await.map_err(refusals::store)?;
        Ok(Offered { id: offer.id, token: ShownOnce(token), expires_at: offer.expires_at })
    }

    /// Takes an offer back.
    pub async fn cancel_transfer(&self, actor: &Actor, id: &str) -> Refused<()> {
        let operation = Operation::CredentialTransfer;
        let row = {
            let mut tx = self.parts.store.begin_read().await.map_err(refusals::store)?;
            owned(&mut tx, actor, id, operation).await?
        };
        let now = self.now();
        let mut tx = self.parts.store.begin_write(&[row.id.as_str()]).await.map_err(refusals::store)?;
        let row = owned(&mut tx, actor, id, operation).await?;
        let open = transfers::open_of_credential(&mut tx, &row.id, now).await.map_err(refusals::store)?;
        let open = open.ok_or_else(no_such_offer)?;
        if !transfers::end(&mut tx, &open.id, Outcome::Cancelled, now).await.map_err(refusals::store)? {
            return Err(no_such_offer());
        }
        let telling = notices::ToPeople {
            event: TRANSFER_CANCELLED,
            sameness: format!("{TRANSFER_CANCELLED}/{}", open.id),
            credential: &row,
            people: vec![open.to.clone()],
            more: notices::more([]),
        };
        notices::tell_people(&mut tx, now, &*self.parts.entropy, telling).await.map_err(refusals::store)?;
        let event = Event::new("credential.transfer").credential(&row.id).target(row.name.clone());
        let event = event.detail("step", "cancelled").detail("offer", open.id.as_str());
        self.record(&mut tx, actor, event).await?;
        tx.commit().await.map_err(refusals::store)?;
        Ok(())
    }

    /// Open offers from and to the person who asks.
    pub async fn transfers(&self, actor: &Actor, paging: &Paging) -> Refused<Page<Offer>> {
        let person = actor.may(Operation::TransfersList)?.clone();
        let mut reader = self.parts.store.read().await.map_err(refusals::store)?;
        let page = transfers::open_of_person(&mut reader, &person.id, self.now(), paging)
            .await
            .map_err(refusals::store)?;
        let items = page.items.into_iter().map(|open| Offer::of(open, &person.id)).collect();
        Ok(Page { items, next_cursor: page.next_cursor })
    }

    /// An offer by its token, for the person it is meant for: what stands behind it, or why it is over.
    async fn offer_by_token(
        &self,
        tx: &mut impl Tx,
        actor: &Actor,
        token: &str,
    ) -> Refused<(TransferRow, CredentialRow, Vec<ShareWithGrants>)> {
        let person = actor.may(Operation::TransferAccept)?;
        let hash = random::hash(token);
        // Somebody else's offer and none at all: the same statement, the same answer.
        let offer = transfers::by_token(tx, &hash, &person.id).await.map_err(refusals::store)?;
        let offer = offer.ok_or_else(no_such_offer)?;
        match offer.ended {
            Some(Outcome::Accepted) => return Err(over("The offer was accepted already; it works once.")),
            Some(Outcome::Cancelled) => return Err(over("The offer was taken back.")),
            Some(Outcome::Overtaken) => return Err(over("Another offer has taken this one's place.")),
            Some(Outcome::Void) => return Err(void()),
            None if offer.expires_at <= self.now() => return Err(over("The offer has run out.")),
            None => {}
        }
        let row =
            rows::for_upkeep(tx, &offer.credential_id).await.map_err(refusals::store)?.ok_or_else(void)?;
        let shares = shares::list_of_credential(tx, &row).await.map_err(refusals::store)?;
        let same = ground(tx, &row, &shares, [&offer.from, &offer.to]).await? == offer.ground;
        if same && row.deletes_at.is_none() { Ok((offer, row, shares)) } else { Err(void()) }
    }

    /// What somebody is about to accept.
    pub async fn transfer_preview(&self, actor: &Actor, token: &str) -> Refused<Preview> {
        let mut tx = self.parts.store.begin_read().await.map_err(refusals::store)?;
        let (offer, row, shares) = self.offer_by_token(&mut tx, actor, token).await?;
        let email = |user: Option<UserRow>| user.map(|user| user.fields.email).unwrap_or_default();
        let from = email(users::by_id(&mut tx, &offer.from).await.map_err(refusals::store)?);
        let to = email(users::by_id(&mut tx, &offer.to).await.map_err(refusals::store)?);
        Ok(Preview {
            projects: shares.into_iter().map(|share| share.project_slug).collect(),
            offer: Offer {
                incoming: true,
                id: offer.id,
                credential: row.id.to_string(),
                credential_name: row.name,
                connector: row.connector,
                from,
                to,
                created_at: offer.created_at,
                expires_at: offer.expires_at,
            },
        })
    }

    /// The recipient takes the credential over: from now on it is theirs alone.
    pub async fn accept_transfer(&self, actor: &Actor, token: &str) -> Refused<View> {
        let (offer, row, shares) = {
            let mut tx = self.parts.store.begin_read().await.map_err(refusals::store)?;
            self.offer_by_token(&mut tx, actor, token).await?
        };
        // Whoever comes in by a reset mailbox takes nothing over either.
        self.unfrozen(actor)?;
        self.recent(actor, Deed::Transfer).await?;
        let now = self.now();
        let mut scopes: Vec<&str> = vec![row.id.as_str(), offer.from.as_str(), offer.to.as_str()];
        scopes.extend(shares.iter().map(|share| share.share.project_id.as_str()));
        let mut tx = self.parts.store.begin_write(&scopes).await.map_err(refusals::store)?;
        // Under the locks once more: of two that accept, or of one that accepts and one that edits, one is late.
        let (offer, row, shares) = self.offer_by_token(&mut tx, actor, token).await?;
        if !transfers::end(&mut tx, &offer.id, Outcome::Accepted, now).await.map_err(refusals::store)? {
            return Err(over("The offer has run out."));
        }
        let to = Principal::User(offer.to.clone());
        let row = self.hand_over(&mut tx, row, &to, now).await?;
        let people = vec![offer.from.clone(), offer.to.clone()];
        let from = users::by_id(&mut tx, &offer.from).await.map_err(refusals::store)?;
        let person = actor.manager()?;
        let from = from.map(|user| user.fields.email).unwrap_or_default();
        let telling = notices::ToPeople {
            event: TRANSFERRED,
            sameness: format!("{TRANSFERRED}/{}", offer.id),
            credential: &row,
            people,
            more: notices::more([("from", from.as_str().into()), ("to", person.email.as_str().into())]),
        };
        notices::tell_people(&mut tx, now, &*self.parts.entropy, telling).await.map_err(refusals::store)?;
        let view = self.credential_view(&mut tx, row.clone(), Sight::Owner { with_fields: true }).await?;
        let event = Event::new("credential.transfer")
            .detail("step", "accepted")
            .detail("offer", offer.id.as_str())
            .detail("owner_before", offer.from.as_str())
            .detail("owner", offer.to.as_str());
        self.record_all(&mut tx, actor, told(&row, &shares, &event)).await?;
        tx.commit().await.map_err(refusals::store)?;
        Ok(view)
    }

    /// The one place where a credential changes hands. Raise its scope, both owners' and its projects' before.
    pub(super) async fn hand_over(
        &self,
        tx: &mut latchstring_store::WriteTx,
        mut row: CredentialRow,
        to: &Principal,
        now: Timestamp,
    ) -> Refused<CredentialRow> {
        // Sealed for the credential and, where there is one, its project: another person opens it the same way.
        if !matches!((&row.owner, to), (Principal::User(_), Principal::User(_))) {
            return Err(of_a_project());
        }
        row.version = rows::change_owner(tx, &row, to, now).await.map_err(refusals::store)?;
        row.owner = to.clone();
        row.updated_at = now;
        transfers::end_of_credential(tx, &row.id, Outcome::Overtaken, now).await.map_err(refusals::store)?;
        Ok(row)
    }
}

fn void() -> Box<Problem> {
    over("The credential, its shares or a membership has changed since it was offered, so the offer is void.")
}
