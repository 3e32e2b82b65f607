//! Shares and grants: which project may use a credential under which slug, and which of its values in which of
//! the project's environments. Nothing is ever matched by name behind anybody's back.

use std::collections::{BTreeMap, BTreeSet};

use latchstring_model::entity::{Principal, Role, slug_from};
use latchstring_model::id::{CredentialId, ProjectId, ShareId};
use latchstring_model::problem::Refused;
use latchstring_model::{Code, FieldError, Problem};
use latchstring_store::environments::EnvironmentRow;
use latchstring_store::projects::ProjectRow;
use latchstring_store::shares::{NameKind, NewGrant, ShareRow, ShareWithGrants};
use latchstring_store::{StoreError, Taken, Tx, WriteTx, environments, keychains, projects, shares};

use super::input::{ShareInput, escape};
use crate::actor::Actor;
use crate::permissions::Operation;
use crate::projects::access::{self, least_role, role_may};
use crate::{Broker, refusals};

/// A share as it is to be, with what it names looked up.
#[derive(Clone)]
pub struct Placed {
    pub project: ProjectRow,
    /// Of the person who shares; `None`: not a member (any more).
    pub role: Option<Role>,
    pub slug: String,
    pub external_id: Option<String>,
    /// (project environment, credential environment)
    pub grants: Vec<(EnvironmentRow, String)>,
    /// The share as it is.
    pub existing: Option<ShareWithGrants>,
}

impl Placed {
    /// Grants that are not there yet.
    pub fn added(&self) -> impl Iterator<Item = &(EnvironmentRow, String)> {
        self.grants.iter().filter(|(theirs, ours)| {
            !self.existing.as_ref().is_some_and(|existing| {
                existing
                    .grants
                    .iter()
                    .any(|grant| grant.environment_id == theirs.id && grant.credential_environment == *ours)
            })
        })
    }

    /// The project gets something that it has not: that takes a role there. Taking away does not.
    pub fn widens(&self) -> bool {
        self.added().next().is_some()
            || self.existing.as_ref().is_none_or(|existing| {
                existing.share.slug != self.slug || existing.share.external_id != self.external_id
            })
    }

    pub fn changes(&self) -> bool {
        self.widens()
            || self.existing.as_ref().is_some_and(|existing| existing.grants.len() != self.grants.len())
    }

    pub fn may(&self, operation: Operation) -> bool {
        role_may(self.role, operation)
    }

    /// Project environment → the credential's environment.
    pub fn granted(&self) -> BTreeMap<&str, &str> {
        self.grants.iter().map(|(theirs, ours)| (theirs.name.as_str(), ours.as_str())).collect()
    }
}

/// What shares are looked up for.
pub(super) struct Wanted<'a> {
    pub actor: &'a Actor,
    pub owner: &'a Principal,
    pub name: &'a str,
    /// For new shares, and for those that have no slug of their own in the request.
    pub slug: Option<&'a str>,
    /// For every share, where it changes.
    pub external_id: Option<Option<&'a str>>,
    pub shares: &'a [ShareInput],
    pub existing: &'a [ShareWithGrants],
    /// The credential's environments, as they will be.
    pub values: &'a BTreeSet<String>,
}

fn list<'n>(names: impl Iterator<Item = &'n str>) -> String {
    names.collect::<Vec<_>>().join(", ")
}

/// Looks up projects and environments of shares; all that is wrong at once.
pub(super) async fn place(tx: &mut impl Tx, wanted: &Wanted<'_>) -> Refused<Vec<Placed>> {
    let mut errors = Vec::new();
    let mut placed: Vec<Placed> = Vec::new();
    for (i, share) in wanted.shares.iter().enumerate() {
        let at = format!("/shares/{i}");
        let existing = wanted
            .existing
            .iter()
            .find(|known| {
                known.project_slug == share.project || known.share.project_id.as_str() == share.project
            })
            .cloned();
        let member = access::known(tx, wanted.actor, &share.project).await?;
        let (project, role) = match (member, &existing) {
            (Some(member), _) => (member.project, Some(member.role)),
            (None, Some(known)) => {
                let project = projects::by_id(tx, &known.share.project_id).await.map_err(refusals::store)?;
                match project {
                    Some(project) => (project, None),
                    None => continue,
                }
            }
            (None, None) => {
                errors.push(FieldError::new(
                    format!("{at}/project"),
                    "there is no such project, or you are not a member of it",
                ));
                continue;
            }
        };
        if let Principal::Project(owner) = wanted.owner
            && *owner != project.id
        {
            errors.push(FieldError::new(
                format!("{at}/project"),
                "a credential that a project owns is used in that project only",
            ));
            continue;
        }
        if placed.iter().any(|other| other.project.id == project.id) {
            errors.push(FieldError::new(format!("{at}/project"), "the project is named twice"));
            continue;
        }
        let known = environments::list(tx, &project.id).await.map_err(refusals::store)?;
        let mut grants = Vec::new();
        for (theirs, ours) in &share.grants {
            let pointer = format!("{at}/grants/{}", escape(theirs));
            match known.iter().find(|environment| environment.name == *theirs) {
                None => {
                    let has = list(known.iter().map(|environment| environment.name.as_str()));
                    let detail = format!("the project has no such environment; it has {has}");
                    errors.push(FieldError::new(pointer, detail));
                }
                Some(_) if !wanted.values.contains(ours) => {
                    let has = list(wanted.values.iter().map(String::as_str));
                    let detail = format!("the credential has no values for `{ours}`; it has {has}");
                    errors.push(FieldError::new(pointer, detail));
                }
                Some(environment) => grants.push((environment.clone(), ours.clone())),
            }
        }
        let slug = share
            .slug
            .clone()
            .or_else(|| wanted.slug.map(str::to_owned))
            .or_else(|| existing.as_ref().map(|known| known.share.slug.clone()))
            .unwrap_or_else(|| slug_from(wanted.name));
        if slug.is_empty() {
            errors.push(FieldError::new(format!("{at}/slug"), "no slug can be made from the name; give one"));
            continue;
        }
        let before = match &existing {
            Some(known) => known.share.external_id.clone(),
            // A new share is chosen by the same data as the others.
            None => wanted.existing.iter().find_map(|known| known.share.external_id.clone()),
        };
        let external_id = match wanted.external_id {
            Some(id) => id.map(str::to_owned),
            None => before,
        };
        let one = Placed { project, role, slug, external_id, grants, existing };
        if one.widens() && !one.may(Operation::CredentialShare) {
            let needed = least_role(Operation::CredentialShare);
            let detail = match role {
                Some(role) => {
                    format!("your role there is {role}; sharing a credential needs {needed}")
                }
                None => "you are not a member of that project any more; you can only take away there".into(),
            };
            errors.push(FieldError::new(format!("{at}/project"), detail));
            continue;
        }
        placed.push(one);
    }
    if errors.is_empty() { Ok(placed) } else { Err(Problem::invalid(errors).into()) }
}

/// The shares as they are, in the form of a request that changes nothing.
pub(super) fn unchanged(existing: &[ShareWithGrants]) -> Vec<ShareInput> {
    existing
        .iter()
        .map(|known| ShareInput {
            project: known.share.project_id.to_string(),
            slug: None,
            grants: known
                .grants
                .iter()
                .map(|grant| (grant.environment.clone(), grant.credential_environment.clone()))
                .collect(),
        })
        .collect()
}

/// A slug like the wanted one that nobody has or had.
async fn free_slug(tx: &mut impl Tx, project: &ProjectId, wanted: &str) -> Refused<Option<String>> {
    for number in 2..100 {
        let tail = format!("-{number}");
        let stem: String = wanted.chars().take(63 - tail.len()).collect();
        let slug = format!("{}{tail}", stem.trim_end_matches('-'));
        let taken = shares::in_project(tx, project, &slug).await.map_err(refusals::store)?.is_some();
        let had = shares::claimed_by(tx, project, NameKind::Slug, &slug).await.map_err(refusals::store)?;
        let keychain = keychains::in_project(tx, project, &slug).await.map_err(refusals::store)?;
        if !taken && had.is_none() && keychain.is_none() {
            return Ok(Some(slug));
        }
    }
    Ok(None)
}

fn suggest(problem: Problem, free: Option<String>) -> Box<Problem> {
    match free {
        Some(free) => problem
            .hint(format!("`{free}` is free: give the share a `slug`, or the credential another name."))
            .with("suggestion", free.into()),
        None => problem.hint("Give the share another `slug`."),
    }
    .into()
}

/// A slug or external id that another credential had here may be taken over only by an admin: workflows and
/// scripts that name it would call with another account.
async fn check_claim(
    tx: &mut impl Tx,
    placed: &Placed,
    kind: NameKind,
    name: &str,
    credential: &CredentialId,
) -> Refused<()> {
    let project = &placed.project;
    let had = shares::claimed_by(tx, &project.id, kind, name).await.map_err(refusals::store)?;
    let by_a_keychain = kind == NameKind::Slug
        && placed.existing.as_ref().is_none_or(|existing| existing.share.slug != name)
        && shares::claimed_by_keychain(tx, &project.id, name).await.map_err(refusals::store)?.is_some();
    if !by_a_keychain && had.is_none_or(|had| had == *credential) || placed.may(Operation::NameTake) {
        return Ok(());
    }
    let what = match kind {
        NameKind::Slug => "slug",
        NameKind::ExternalId => "external id",
    };
    let problem = Problem::new(
        Code::NameReserved,
        format!("The {what} `{name}` belonged to another credential or keychain of {}.", project.slug),
    );
    match kind {
        NameKind::Slug => {
            let free = free_slug(tx, &project.id, name).await?;
            Err(suggest(problem, free))
        }
        NameKind::ExternalId => Err(problem
            .hint("What still names it would suddenly use yours. Choose another one, or ask an admin of the project to do it.")
            .into()),
    }
}

impl Broker {
    /// Writes one share with its grants. `suspend`: until a project admin accepts the new destination.
    pub(super) async fn put_share(
        &self,
        tx: &mut WriteTx,
        actor: &Actor,
        credential: &CredentialId,
        placed: &Placed,
        suspend: bool,
    ) -> Refused<()> {
        let project = &placed.project.id;
        let now = self.now();
        let taken = shares::in_project(tx, project, &placed.slug).await.map_err(refusals::store)?;
        if taken.is_some_and(|taken| taken.credential_id != *credential) {
            let free = free_slug(tx, project, &placed.slug).await?;
            let detail = format!(
                "The project {} has a credential with the slug `{}` already.",
                placed.project.slug, placed.slug
            );
            return Err(suggest(Problem::new(Code::SlugTaken, detail), free));
        }
        let keychain = keychains::in_project(tx, project, &placed.slug).await.map_err(refusals::store)?;
        if keychain.is_some() {
            let free = free_slug(tx, project, &placed.slug).await?;
            let detail = format!(
                "The project {} has a keychain with the slug `{}`.",
                placed.project.slug, placed.slug
            );
            return Err(suggest(Problem::new(Code::SlugTaken, detail), free));
        }
        check_claim(tx, placed, NameKind::Slug, &placed.slug, credential).await?;
        if let Some(id) = &placed.external_id {
            check_claim(tx, placed, NameKind::ExternalId, id, credential).await?;
        }
        let row = match &placed.existing {
            Some(existing) => {
                let mut row = existing.share.clone();
                row.slug.clone_from(&placed.slug);
                row.external_id.clone_from(&placed.external_id);
                // An admin may have accepted meanwhile: that is not taken back by accident.
                let current =
                    shares::in_project(tx, project, credential.as_str()).await.map_err(refusals::store)?;
                row.suspended = suspend || current.is_some_and(|current| current.suspended);
                shares::update(tx, &row).await.map_err(|error| names_taken(error, placed))?;
                row
            }
            None => {
                // Taken away and shared again it could lead elsewhere by now, past an admin who never accepted that.
                let again = !placed.may(Operation::ShareAccept)
                    && shares::was_shared(tx, project, credential).await.map_err(refusals::store)?;
                let row = ShareRow {
                    id: ShareId::new(now, &*self.parts.entropy),
                    credential_id: credential.clone(),
                    project_id: project.clone(),
                    slug: placed.slug.clone(),
                    external_id: placed.external_id.clone(),
                    suspended: suspend || again,
                    created_by: actor.signature(),
                    created_at: now,
                };
                shares::create(tx, &row).await.map_err(|error| names_taken(error, placed))?;
                row
            }
        };
        let grants: Vec<NewGrant> = placed
            .grants
            .iter()
            .map(|(environment, ours)| NewGrant {
                environment_id: environment.id.clone(),
                credential_environment: ours.clone(),
            })
            .collect();
        shares::replace_grants(tx, &row, &grants, &actor.signature(), now).await.map_err(refusals::store)?;
        shares::claim(tx, project, NameKind::Slug, &placed.slug, credential)
            .await
            .map_err(refusals::store)?;
        if let Some(id) = &placed.external_id {
            shares::claim(tx, project, NameKind::ExternalId, id, credential)
                .await
                .map_err(refusals::store)?;
        }
        Ok(())
    }

    /// Roles may have changed while the API was asked: looked at again under the lock.
    pub(super) async fn with_roles_now(
        &self,
        tx: &mut WriteTx,
        actor: &Actor,
        placed: &[Placed],
    ) -> Refused<Vec<Placed>> {
        let mut now = Vec::with_capacity(placed.len());
        for place in placed {
            let role = access::role(tx, actor, &place.project.id).await?;
            now.push(Placed { role, ..place.clone() });
        }
        Ok(now)
    }

    pub(super) fn still_may_share(&self, placed: &Placed) -> Refused<()> {
        if placed.may(Operation::CredentialShare) {
            return Ok(());
        }
        Err(Problem::new(
            Code::Forbidden,
            format!("You may not share with {} any more.", placed.project.slug),
        )
        .hint("Ask an admin of the project.")
        .into())
    }
}

fn names_taken(error: StoreError, placed: &Placed) -> Box<Problem> {
    if error.is_taken(Taken::ExternalId) {
        return Problem::new(
            Code::ExternalIdTaken,
            format!("The project {} has a credential with that external id already.", placed.project.slug),
        )
        .hint("Choose another one, or change that of the credential which has it: it chooses one credential by data, so it is unique in a project.")
        .into();
    }
    if error.is_taken(Taken::ShareSlug) {
        return Problem::new(Code::SlugTaken, format!("The slug `{}` was just taken.", placed.slug))
            .hint("Try again with another one.")
            .into();
    }
    refusals::store(error)
}
