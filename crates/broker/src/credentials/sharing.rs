//! Shares and grants: which project may use a credential under which slug, and which of its values in which of
//! the project's environments. Nothing is ever matched by name behind anybody's back.

use std::collections::BTreeSet;

use latchstring_model::entity::{Role, slug_from};
use latchstring_model::id::{CredentialId, ProjectId, ShareId};
use latchstring_model::problem::Refused;
use latchstring_model::{Code, FieldError, Problem};
use latchstring_store::environments::EnvironmentRow;
use latchstring_store::projects::MemberProject;
use latchstring_store::shares::{NameKind, NewGrant, ShareRow};
use latchstring_store::{StoreError, Taken, Tx, WriteTx, environments, projects, shares};

use super::input::{ShareInput, escape};
use crate::actor::{Actor, Person};
use crate::{Broker, refusals};

/// A share that was asked for, with what it names looked up.
pub struct Placed {
    pub member: MemberProject,
    pub slug: String,
    pub chosen: bool,
    /// (project environment, credential environment)
    pub grants: Vec<(EnvironmentRow, String)>,
}

/// Looks up projects and environments of shares; all that is wrong at once. `values`: the credential's environments.
pub(super) async fn place(
    tx: &mut impl Tx,
    person: &Person,
    name: &str,
    wanted: &[ShareInput],
    values: &BTreeSet<String>,
) -> Refused<Vec<Placed>> {
    let mut errors = Vec::new();
    let mut placed: Vec<Placed> = Vec::new();
    for (i, share) in wanted.iter().enumerate() {
        let found = projects::for_member(tx, &person.id, &share.project).await.map_err(refusals::store)?;
        let Some(member) = found else {
            errors.push(FieldError::new(
                format!("/shares/{i}/project"),
                "there is no such project, or you are not a member of it",
            ));
            continue;
        };
        if member.role < Role::Editor {
            errors.push(FieldError::new(
                format!("/shares/{i}/project"),
                format!("your role there is {}; sharing a credential needs {}", member.role, Role::Editor),
            ));
            continue;
        }
        if placed.iter().any(|other| other.member.project.id == member.project.id) {
            errors.push(FieldError::new(format!("/shares/{i}/project"), "the project is named twice"));
            continue;
        }
        let known = environments::list(tx, &member.project.id).await.map_err(refusals::store)?;
        let mut grants = Vec::new();
        for (theirs, ours) in &share.grants {
            let pointer = format!("/shares/{i}/grants/{}", escape(theirs));
            match known.iter().find(|environment| environment.name == *theirs) {
                None => {
                    let list: Vec<&str> = known.iter().map(|environment| environment.name.as_str()).collect();
                    errors.push(FieldError::new(
                        pointer,
                        format!("the project has no such environment; it has {}", list.join(", ")),
                    ));
                }
                Some(_) if !values.contains(ours) => {
                    let list: Vec<&str> = values.iter().map(String::as_str).collect();
                    errors.push(FieldError::new(
                        pointer,
                        format!("the credential has no values for `{ours}`; it has {}", list.join(", ")),
                    ));
                }
                Some(environment) => grants.push((environment.clone(), ours.clone())),
            }
        }
        let made = slug_from(name);
        let slug = share.slug.clone().unwrap_or(made);
        if slug.is_empty() {
            errors.push(FieldError::new(
                format!("/shares/{i}/slug"),
                "no slug can be made from the name; give one",
            ));
            continue;
        }
        placed.push(Placed { member, slug, chosen: share.slug.is_some(), grants });
    }
    if errors.is_empty() { Ok(placed) } else { Err(Problem::invalid(errors).into()) }
}

/// A slug like the wanted one that nobody has.
async fn free_slug(tx: &mut impl Tx, project: &ProjectId, wanted: &str) -> Refused<String> {
    for number in 2..100 {
        let tail = format!("-{number}");
        let stem: String = wanted.chars().take(63 - tail.len()).collect();
        let slug = format!("{}{tail}", stem.trim_end_matches('-'));
        if shares::in_project(tx, project, &slug).await.map_err(refusals::store)?.is_none() {
            return Ok(slug);
        }
    }
    Ok(format!("{}-new", wanted.chars().take(59).collect::<String>().trim_end_matches('-')))
}

/// A slug or external id that another credential had here may be taken over only by an admin: workflows and
/// scripts that name it would call with another account.
async fn check_claim(
    tx: &mut impl Tx,
    member: &MemberProject,
    kind: NameKind,
    name: &str,
    credential: &CredentialId,
) -> Refused<()> {
    let had = shares::claimed_by(tx, &member.project.id, kind, name).await.map_err(refusals::store)?;
    if had.is_none_or(|had| had == *credential) || member.role.may_administer() {
        return Ok(());
    }
    let what = match kind {
        NameKind::Slug => "slug",
        NameKind::ExternalId => "external id",
    };
    Err(Problem::new(Code::Forbidden, format!("The {what} `{name}` belonged to another credential of {}.", member.project.slug))
        .hint("What still names it would suddenly use yours. Choose another one, or ask an admin of the project to do it.")
        .into())
}

impl Broker {
    /// Writes one share with its grants.
    pub(super) async fn put_share(
        &self,
        tx: &mut WriteTx,
        actor: &Actor,
        credential: &CredentialId,
        placed: &Placed,
        external_id: Option<&str>,
        existing: Option<ShareRow>,
    ) -> Refused<()> {
        let project = &placed.member.project.id;
        let now = self.now();
        check_claim(tx, &placed.member, NameKind::Slug, &placed.slug, credential).await?;
        if let Some(id) = external_id {
            check_claim(tx, &placed.member, NameKind::ExternalId, id, credential).await?;
        }
        let taken = shares::in_project(tx, project, &placed.slug).await.map_err(refusals::store)?;
        if taken.is_some_and(|taken| taken.credential_id != *credential) {
            let free = free_slug(tx, project, &placed.slug).await?;
            return Err(Problem::new(
                Code::SlugTaken,
                format!(
                    "The project {} has a credential with the slug `{}` already.",
                    placed.member.project.slug, placed.slug
                ),
            )
            .hint(format!("`{free}` is free: give the share a `slug`, or the credential another name."))
            .with("suggestion", free.into())
            .into());
        }
        let row = match existing {
            Some(mut row) => {
                row.slug.clone_from(&placed.slug);
                row.external_id = external_id.map(str::to_owned);
                shares::update(tx, &row).await.map_err(|error| names_taken(error, placed))?;
                row
            }
            None => {
                let row = ShareRow {
                    id: ShareId::new(now, &*self.parts.entropy),
                    credential_id: credential.clone(),
                    project_id: project.clone(),
                    slug: placed.slug.clone(),
                    external_id: external_id.map(str::to_owned),
                    suspended: false,
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
        if let Some(id) = external_id {
            shares::claim(tx, project, NameKind::ExternalId, id, credential)
                .await
                .map_err(refusals::store)?;
        }
        Ok(())
    }
}

fn names_taken(error: StoreError, placed: &Placed) -> Box<Problem> {
    if error.is_taken(Taken::ExternalId) {
        return Problem::new(
            Code::Conflict,
            format!(
                "The project {} has a credential with that external id already.",
                placed.member.project.slug
            ),
        )
        .hint("An external id chooses one credential by data, so it is unique in a project.")
        .into();
    }
    if error.is_taken(Taken::ShareSlug) {
        return Problem::new(Code::SlugTaken, format!("The slug `{}` was just taken.", placed.slug))
            .hint("Try again with another one.")
            .into();
    }
    refusals::store(error)
}
