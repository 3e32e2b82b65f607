//! Keychains made, seen, changed, deleted.

use latchstring_connectors::Choice;
use latchstring_model::entity::{slug_from, valid_slug};
use latchstring_model::id::{CredentialId, KeychainId, ProjectId};
use latchstring_model::problem::Refused;
use latchstring_model::{Code, FieldError, Problem};
use latchstring_store::applied::{AppliedKind, Thing, forget};
use latchstring_store::keychains::{self as store, KeychainRow};
use latchstring_store::{StoreError, Taken, Tx, WriteTx, credentials, shares};

use super::{Keychain, KeychainChange, MOST, NewKeychain};
use crate::actor::Actor;
use crate::audit::Event;
use crate::people::me::same_version;
use crate::people::{Page, Paging, check_name};
use crate::permissions::Operation;
use crate::projects::access;
use crate::{Broker, refusals};

fn no_such_keychain() -> Box<Problem> {
    refusals::not_found("The project has no such keychain.")
}

fn slug_taken(slug: &str) -> Box<Problem> {
    Problem::new(
        Code::SlugTaken,
        format!("The project has a credential or a keychain with the slug `{slug}` already."),
    )
    .errors(vec![FieldError::new("/slug", "taken")])
    .hint("Choose another: calls name both in the same place.")
    .into()
}

fn raced(slug: &str) -> impl Fn(StoreError) -> Box<Problem> + '_ {
    move |error| {
        if error.is_taken(Taken::KeychainSlug) { slug_taken(slug) } else { refusals::store(error) }
    }
}

fn check_slug(slug: &str, errors: &mut Vec<FieldError>) {
    if !valid_slug(slug) {
        let detail =
            "a slug has lower-case letters, digits and single hyphens between them, at most 63 characters";
        errors.push(FieldError::new("/slug", detail));
    }
}

fn check_by(by: &str, errors: &mut Vec<FieldError>) {
    if let Err(error) = Choice::parse(by) {
        errors.push(FieldError::new("/by", error.message));
    }
}

async fn view(tx: &mut impl Tx, row: KeychainRow) -> Refused<Keychain> {
    let default_slug = match &row.default {
        Some(id) => shares::in_project(tx, &row.project_id, id.as_str())
            .await
            .map_err(refusals::store)?
            .filter(|share| share.credential_id == *id)
            .map(|share| share.slug),
        None => None,
    };
    Ok(Keychain {
        default_slug,
        connector: row.connector.rsplit('/').next().unwrap_or(&row.connector).to_owned(),
        id: row.id,
        slug: row.slug,
        name: row.name,
        connector_uid: row.connector,
        by: row.chosen_by,
        default: row.default,
        version: row.version,
        created_at: row.created_at,
        updated_at: row.updated_at,
    })
}

/// A default has to be one that a call could use: shared with the project, of the keychain's connector, and staying.
async fn wanted_default(
    tx: &mut WriteTx,
    project: &ProjectId,
    connector: &str,
    named: &str,
) -> Refused<CredentialId> {
    let wrong = |detail: &str| Problem::invalid(vec![FieldError::new("/default", detail)]);
    let share = shares::in_project(tx, project, named).await.map_err(refusals::store)?;
    let share = share.ok_or_else(|| wrong("the project has no such credential"))?;
    // Its owner must not delete it in the same moment.
    tx.raise(&[share.credential_id.as_str()]).await.map_err(refusals::store)?;
    let row = credentials::for_upkeep(tx, &share.credential_id).await.map_err(refusals::store)?;
    let row = row.ok_or_else(|| wrong("the project has no such credential"))?;
    if row.connector != connector {
        return Err(wrong("belongs to another connector than the keychain").into());
    }
    if row.deletes_at.is_some() {
        return Err(wrong("is going to be deleted").into());
    }
    Ok(row.id)
}

async fn check_free(
    tx: &mut WriteTx,
    project: &ProjectId,
    slug: &str,
    own: Option<&KeychainId>,
) -> Refused<()> {
    let share = shares::in_project(tx, project, slug).await.map_err(refusals::store)?;
    let keychain = store::in_project(tx, project, slug).await.map_err(refusals::store)?;
    if share.is_some() || keychain.is_some_and(|found| Some(&found.id) != own) {
        return Err(slug_taken(slug));
    }
    Ok(())
}

fn event(action: &'static str, row: &KeychainRow) -> Event {
    Event::new(action)
        .project(&row.project_id)
        .target(row.id.as_str())
        .detail("slug", row.slug.as_str())
        .detail("by", row.chosen_by.as_str())
        .detail("default", row.default.as_ref().map(ToString::to_string))
}

impl Broker {
    /// Oldest first, for any member.
    pub async fn keychains(&self, actor: &Actor, project: &str, paging: &Paging) -> Refused<Page<Keychain>> {
        let mut tx = self.parts.store.begin_read().await.map_err(refusals::store)?;
        let found = access::member(&mut tx, actor, project, Operation::KeychainsList).await?;
        let page = store::list(&mut tx, &found.project.id, paging).await.map_err(refusals::store)?;
        let mut items = Vec::with_capacity(page.items.len());
        for row in page.items {
            items.push(view(&mut tx, row).await?);
        }
        Ok(Page { items, next_cursor: page.next_cursor })
    }

    pub async fn keychain(&self, actor: &Actor, project: &str, named: &str) -> Refused<Keychain> {
        let mut tx = self.parts.store.begin_read().await.map_err(refusals::store)?;
        let found = access::member(&mut tx, actor, project, Operation::KeychainsList).await?;
        let row = store::in_project(&mut tx, &found.project.id, named).await.map_err(refusals::store)?;
        view(&mut tx, row.ok_or_else(no_such_keychain)?).await
    }

    pub async fn create_keychain(&self, actor: &Actor, project: &str, new: NewKeychain) -> Refused<Keychain> {
        let (mut tx, found) = self.write_in_project(actor, project, Operation::KeychainCreate, &[]).await?;
        let project = found.project.id;
        let mut errors = Vec::new();
        check_name(&new.name, "/name", &mut errors);
        let slug = new.slug.unwrap_or_else(|| slug_from(&new.name));
        check_slug(&slug, &mut errors);
        check_by(&new.by, &mut errors);
        let connector =
            self.definition_named(&mut tx, std::slice::from_ref(&project), &new.connector).await?;
        if connector.is_none() {
            errors.push(FieldError::new("/connector", self.catalog.no_connector(&new.connector)));
        }
        let (Some(connector), []) = (connector, errors.as_slice()) else {
            return Err(Problem::invalid(errors).into());
        };
        if store::count(&mut tx, &project).await.map_err(refusals::store)? >= MOST {
            return Err(refusals::limit_reached(
                MOST,
                format!("The project has {MOST} keychains already."),
                "Delete one that nobody uses.",
            ));
        }
        check_free(&mut tx, &project, &slug, None).await?;
        let default = match &new.default {
            Some(named) => Some(wanted_default(&mut tx, &project, &connector.uid, named).await?),
            None => None,
        };
        let now = self.now();
        let row = KeychainRow {
            id: KeychainId::new(now, &*self.parts.entropy),
            project_id: project.clone(),
            slug,
            name: new.name.trim().to_owned(),
            connector: connector.uid,
            chosen_by: new.by,
            default,
            version: 1,
            created_by: actor.signature(),
            created_at: now,
            updated_at: now,
        };
        store::create(&mut tx, &row).await.map_err(raced(&row.slug))?;
        shares::claim_for_keychain(&mut tx, &project, &row.slug, &row.id).await.map_err(refusals::store)?;
        self.record(&mut tx, actor, event("keychain.create", &row)).await?;
        let shown = view(&mut tx, row).await?;
        tx.commit().await.map_err(refusals::store)?;
        Ok(shown)
    }

    pub async fn change_keychain(
        &self,
        actor: &Actor,
        project: &str,
        named: &str,
        change: KeychainChange,
        if_match: Option<i64>,
    ) -> Refused<Keychain> {
        let (mut tx, found) = self.write_in_project(actor, project, Operation::KeychainChange, &[]).await?;
        let project = found.project.id;
        let row = store::in_project(&mut tx, &project, named).await.map_err(refusals::store)?;
        let mut row = row.ok_or_else(no_such_keychain)?;
        same_version(if_match, row.version)?;
        let mut errors = Vec::new();
        if let Some(name) = &change.name {
            check_name(name, "/name", &mut errors);
        }
        if let Some(slug) = &change.slug {
            check_slug(slug, &mut errors);
        }
        if let Some(by) = &change.by {
            check_by(by, &mut errors);
        }
        if !errors.is_empty() {
            return Err(Problem::invalid(errors).into());
        }
        if let Some(name) = change.name {
            row.name = name.trim().to_owned();
        }
        if let Some(slug) = change.slug.filter(|slug| *slug != row.slug) {
            check_free(&mut tx, &project, &slug, Some(&row.id)).await?;
            shares::claim_for_keychain(&mut tx, &project, &slug, &row.id).await.map_err(refusals::store)?;
            row.slug = slug;
        }
        if let Some(by) = change.by {
            row.chosen_by = by;
        }
        match change.default {
            Some(Some(named)) => {
                row.default = Some(wanted_default(&mut tx, &project, &row.connector, &named).await?);
            }
            Some(None) => row.default = None,
            None => {}
        }
        let now = self.now();
        row.version = store::update(&mut tx, &row, now).await.map_err(raced(&row.slug))?;
        row.updated_at = now;
        self.record(&mut tx, actor, event("keychain.update", &row)).await?;
        let shown = view(&mut tx, row).await?;
        tx.commit().await.map_err(refusals::store)?;
        Ok(shown)
    }

    pub async fn delete_keychain(
        &self,
        actor: &Actor,
        project: &str,
        named: &str,
        if_match: Option<i64>,
    ) -> Refused<()> {
        let (mut tx, found) = self.write_in_project(actor, project, Operation::KeychainDelete, &[]).await?;
        let row = store::in_project(&mut tx, &found.project.id, named).await.map_err(refusals::store)?;
        let row = row.ok_or_else(no_such_keychain)?;
        same_version(if_match, row.version)?;
        if !store::delete(&mut tx, &row).await.map_err(refusals::store)? {
            return Err(refusals::store(StoreError::Moved));
        }
        let mark = Thing::new(AppliedKind::Keychain, row.id.as_str());
        forget(&mut tx, &row.project_id, &mark).await.map_err(refusals::store)?;
        self.record(&mut tx, actor, event("keychain.delete", &row)).await?;
        tx.commit().await.map_err(refusals::store)?;
        Ok(())
    }
}
