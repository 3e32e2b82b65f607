//! A project's life: made, seen, changed, deleted.

use latchstring_model::entity::{Principal, Role, slug_from, valid_slug};
use latchstring_model::id::{EnvironmentId, ProjectId, UserId};
use latchstring_model::problem::Refused;
use latchstring_model::{Code, FieldError, Problem};
use latchstring_store::credentials::{self, CredentialFilter};
use latchstring_store::environments::EnvironmentRow;
use latchstring_store::projects::{self as store, MemberProject, ProjectRow};
use latchstring_store::{StoreError, Taken, Tx, WriteTx, environments as store_environments, members};
use serde_json::{Value, json};

use crate::actor::{Actor, Who};
use crate::audit::Event;
use crate::people::instance::ProjectMakers;
use crate::people::me::same_version;
use crate::people::recent::Deed;
use crate::people::{Page, Paging, check_name};
use crate::permissions::Operation;
use crate::projects::{Environment, Project, access, ended, environments};
use crate::{Broker, refusals};

/// What a project has when nobody says otherwise.
pub const DEFAULT_ENVIRONMENTS: [&str; 2] = ["staging", "production"];

pub struct NewProject {
    /// Made from the name when missing.
    pub slug: Option<String>,
    pub name: String,
    /// [`DEFAULT_ENVIRONMENTS`] when missing.
    pub environments: Option<Vec<String>>,
}

#[derive(Default)]
pub struct ProjectChange {
    pub slug: Option<String>,
    pub name: Option<String>,
    /// The whole list; what is left out is removed.
    pub environments: Option<Vec<String>>,
    /// Those of them that are left out, and may go with what is in them.
    pub remove_environments: Vec<String>,
    /// For owners: whether its people need a second factor.
    pub require_second_factor: Option<bool>,
}

/// What goes with an environment that is removed.
#[derive(Debug)]
pub struct RemovedEnvironment {
    pub(crate) id: EnvironmentId,
    pub name: String,
    pub secrets: Vec<String>,
    pub variables: Vec<String>,
    /// Service keys that end: their names.
    pub api_keys: Vec<String>,
    /// Slugs of credentials whose grant for it is withdrawn.
    pub credentials: Vec<String>,
}

impl RemovedEnvironment {
    fn is_empty(&self) -> bool {
        [&self.secrets, &self.variables, &self.api_keys, &self.credentials].iter().all(|list| list.is_empty())
    }

    /// As the refusal lists it.
    fn to_json(&self) -> Value {
        json!({
            "name": self.name, "secrets": self.secrets, "variables": self.variables, "api_keys": self.api_keys,
            "credentials": self.credentials,
        })
    }
}

/// The refusal of what would take along more than was named.
fn environments_in_use(project: &ProjectRow, going: &[&RemovedEnvironment]) -> Box<Problem> {
    let names: Vec<&str> = going.iter().map(|one| one.name.as_str()).collect();
    let list: Vec<Value> = going.iter().map(|one| one.to_json()).collect();
    Problem::new(
        Code::EnvironmentInUse,
        format!(
            "Secrets, variables, service keys or grants would go with {}; `environments` lists them.",
            names.join(", ")
        ),
    )
    .hint(format!(
        "Remove those first, or repeat it with `\"remove_environments\": {}`: then they go with it, for good.",
        json!(names)
    ))
    .with("environments", list.into())
    .with("project", project.id.as_str().into())
    .into()
}

pub struct ChangedProject {
    pub project: Project,
    pub removed: Vec<RemovedEnvironment>,
}

fn view(found: MemberProject, environments: Vec<EnvironmentRow>) -> Project {
    let MemberProject { project, role } = found;
    Project {
        id: project.id,
        slug: project.slug,
        name: project.name,
        environments: environments
            .into_iter()
            .map(|row| Environment { id: row.id, name: row.name })
            .collect(),
        role,
        require_second_factor: project.require_second_factor,
        locked: false,
        version: project.version,
        created_at: project.created_at,
        updated_at: project.updated_at,
    }
}

fn check_slug(slug: &str, errors: &mut Vec<FieldError>) {
    if !valid_slug(slug) {
        let example = slug_from(slug);
        let such_as = if example.is_empty() { "acme-billing".to_owned() } else { example };
        errors.push(FieldError::new(
            "/slug",
            format!("1 to 63 lower-case letters, digits and single hyphens, such as {such_as}"),
        ));
    }
}

impl NewProject {
    /// What is wrong, with pointers below `base`.
    pub(crate) fn check(&self, base: &str) -> Vec<FieldError> {
        let mut errors = Vec::new();
        match &self.slug {
            Some(slug) => check_slug(slug, &mut errors),
            None if slug_from(&self.name).is_empty() => {
                errors.push(FieldError::new(
                    "/slug",
                    "no slug can be made from this name; give one, such as acme-billing",
                ));
            }
            None => {}
        }
        check_name(&self.name, "/name", &mut errors);
        if let Some(names) = &self.environments {
            environments::check(names, "/environments", &mut errors);
        }
        for error in &mut errors {
            error.pointer.insert_str(0, base);
        }
        errors
    }

    fn slug(&self) -> String {
        self.slug.clone().unwrap_or_else(|| slug_from(&self.name))
    }

    fn environments(&self) -> Vec<String> {
        self.environments.clone().unwrap_or_else(|| DEFAULT_ENVIRONMENTS.map(str::to_owned).to_vec())
    }
}

fn slug_taken(slug: &str, suggestion: Option<String>) -> Box<Problem> {
    let problem = Problem::new(Code::SlugTaken, format!("Another project has the slug {slug}."))
        .errors(vec![FieldError::new("/slug", "taken")]);
    match suggestion {
        Some(free) => problem.hint(format!("{free} is free.")).with("suggestion", free.into()),
        None => problem.hint("Choose another."),
    }
    .into()
}

/// What is named to go has to be something that goes: a slip of the pen removes nothing.
fn check_named(named: &[String], going: &[RemovedEnvironment]) -> Refused<()> {
    let wrong = named.iter().enumerate().filter(|(_, name)| !going.iter().any(|gone| gone.name == **name));
    let errors: Vec<FieldError> = wrong
        .map(|(at, name)| {
            let detail = format!("`{name}` is no environment of the project that `environments` leaves out");
            FieldError::new(format!("/remove_environments/{at}"), detail)
        })
        .collect();
    if errors.is_empty() { Ok(()) } else { Err(Problem::invalid(errors).into()) }
}

/// The refusal to delete a project that owns credentials, with the list; of very many the first.
async fn owns_credentials(tx: &mut impl Tx, project: &ProjectRow) -> Refused<Box<Problem>> {
    let owner = Principal::Project(project.id.clone());
    let first = Paging::new(None, Some(Paging::MAX_LIMIT));
    let owned = credentials::list_of_owner(tx, &owner, &CredentialFilter::default(), &first)
        .await
        .map_err(refusals::store)?;
    let used_by: Vec<Value> = owned
        .items
        .iter()
        .map(|row| json!({"project": project.slug, "credential": row.id.as_str(), "name": row.name}))
        .collect();
    Ok(Problem::new(Code::CredentialInUse, "The project owns credentials; `used_by` lists them.")
        .hint("Delete them for good first (DELETE /api/v1/credentials/{id}?purge=true), so that their tokens are revoked.")
        .with("used_by", used_by.into())
        .with("project", project.id.as_str().into())
        .into())
}

/// The refusal if another project has the slug, with one that is free.
async fn check_free(tx: &mut impl Tx, slug: &str) -> Refused<()> {
    if store::by_slug_or_id(tx, slug).await.map_err(refusals::store)?.is_none() {
        return Ok(());
    }
    let stem: String = slug.chars().take(58).collect();
    let stem = stem.trim_end_matches('-');
    for n in 2..=20 {
        let candidate = format!("{stem}-{n}");
        if store::by_slug_or_id(tx, &candidate).await.map_err(refusals::store)?.is_none() {
            return Err(slug_taken(slug, Some(candidate)));
        }
    }
    Err(slug_taken(slug, None))
}

fn slug_race(slug: &str) -> impl Fn(StoreError) -> Box<Problem> + '_ {
    move |error| {
        if error.is_taken(Taken::ProjectSlug) { slug_taken(slug, None) } else { refusals::store(error) }
    }
}

impl Broker {
    /// Writes a project whose owner is `owner`; what is wanted was checked before.
    pub(crate) async fn insert_project(
        &self,
        tx: &mut WriteTx,
        actor: &Actor,
        owner: &UserId,
        new: &NewProject,
    ) -> Refused<Project> {
        let now = self.now();
        let entropy = self.parts.entropy.as_ref();
        let id = ProjectId::new(now, entropy);
        let slug = new.slug();
        check_free(tx, &slug).await?;
        let name = new.name.trim();
        store::create(tx, &id, &slug, name, now).await.map_err(slug_race(&slug))?;
        let names = new.environments();
        let rows = store_environments::replace(tx, &id, &names, || EnvironmentId::new(now, entropy), now)
            .await
            .map_err(refusals::store)?;
        members::set(tx, &id, owner, Role::Owner, now).await.map_err(refusals::store)?;
        let event =
            Event::new("project.create").project(&id).target(id.as_str()).detail("slug", slug.as_str());
        self.record(tx, actor, event.detail("environments", names)).await?;
        let project = ProjectRow {
            id,
            slug,
            name: name.to_owned(),
            version: 1,
            created_at: now,
            updated_at: now,
            require_second_factor: false,
        };
        Ok(view(MemberProject { project, role: Role::Owner }, rows))
    }

    /// Any person may make one, and is its owner; where the instance keeps that to superusers, they.
    pub async fn create_project(&self, actor: &Actor, new: NewProject) -> Refused<Project> {
        let person = actor.may(Operation::ProjectCreate)?;
        if self.instance().await?.projects_by == ProjectMakers::Superusers && actor.superuser().is_err() {
            return Err(Problem::new(Code::Forbidden, "On this server superusers make the projects.")
                .hint("Ask one of them to make it and to add you (the instance setting `projects_by`).")
                .into());
        }
        let errors = new.check("");
        if !errors.is_empty() {
            return Err(Problem::invalid(errors).into());
        }
        let mut tx = self.parts.store.begin_write(&[person.id.as_str()]).await.map_err(refusals::store)?;
        let project = self.insert_project(&mut tx, actor, &person.id, &new).await?;
        tx.commit().await.map_err(refusals::store)?;
        Ok(project)
    }

    /// The projects that one is a member of, oldest first. One that wants a second factor of somebody who has none
    /// is named, and nothing in it is shown.
    pub async fn projects(&self, actor: &Actor, paging: &Paging) -> Refused<Page<Project>> {
        if let Who::Account { project, .. } = &actor.who {
            let own = self.project(actor, project.as_str()).await?;
            return Ok(Page { items: vec![own], next_cursor: None });
        }
        let person = actor.may(Operation::ProjectsList)?;
        let mut tx = self.parts.store.begin_read().await.map_err(refusals::store)?;
        let page = store::list_of_member(&mut tx, &person.id, paging).await.map_err(refusals::store)?;
        let mut items = Vec::with_capacity(page.items.len());
        for found in page.items {
            if access::second_factor(person, &found.project).is_err() {
                items.push(Project { locked: true, ..view(found, Vec::new()) });
                continue;
            }
            let rows = store_environments::list(&mut tx, &found.project.id).await.map_err(refusals::store)?;
            items.push(view(found, rows));
        }
        Ok(Page { items, next_cursor: page.next_cursor })
    }

    pub async fn project(&self, actor: &Actor, name: &str) -> Refused<Project> {
        let mut tx = self.parts.store.begin_read().await.map_err(refusals::store)?;
        let found = access::member(&mut tx, actor, name, Operation::ProjectLook).await?;
        let rows = store_environments::list(&mut tx, &found.project.id).await.map_err(refusals::store)?;
        Ok(view(found, rows))
    }

    /// Name, slug, environments. An environment that is left out goes with its grants, secrets and variables,
    /// and its keys end; where there are any it has to be named for that. The answer says which they were.
    pub async fn change_project(
        &self,
        actor: &Actor,
        name: &str,
        change: ProjectChange,
        version: Option<i64>,
    ) -> Refused<ChangedProject> {
        let mut errors = Vec::new();
        if let Some(slug) = &change.slug {
            check_slug(slug, &mut errors);
        }
        if let Some(name) = &change.name {
            check_name(name, "/name", &mut errors);
        }
        if let Some(names) = &change.environments {
            environments::check(names, "/environments", &mut errors);
        } else if !change.remove_environments.is_empty() {
            errors.push(FieldError::new(
                "/environments",
                "says which environments stay; without it none is removed",
            ));
        }
        // Who may loosen it decides who comes in.
        let operation = match change.require_second_factor {
            Some(_) => Operation::SecondFactorRequire,
            None => Operation::ProjectChange,
        };
        let (mut tx, mut found) = self.write_in_project(actor, name, operation, &[]).await?;
        if !errors.is_empty() {
            return Err(Problem::invalid(errors).into());
        }
        let now = self.now();
        let entropy = self.parts.entropy.as_ref();
        let project = &mut found.project;
        same_version(version, project.version)?;
        let mut event = Event::new("project.update").project(&project.id).target(project.id.as_str());
        if let Some(slug) = change.slug.filter(|slug| slug != &project.slug) {
            check_free(&mut tx, &slug).await?;
            event = event.detail("slug_before", project.slug.as_str()).detail("slug", slug.as_str());
            project.slug = slug;
        }
        if let Some(name) = change.name {
            event = event.detail("name_before", project.name.as_str());
            project.name = name.trim().to_owned();
            event = event.detail("name", project.name.as_str());
        }
        if let Some(required) =
            change.require_second_factor.filter(|wanted| *wanted != project.require_second_factor)
        {
            if required && !actor.person()?.second_factor {
                return Err(Problem::new(
                    Code::SecondFactorRequired,
                    "Who wants a second factor of a project's people has one: you would shut yourself out.",
                )
                .hint("Set one up first (POST /api/v1/me/totp), then change this.")
                .with("project", project.id.as_str().into())
                .into());
            }
            store::require_second_factor(&mut tx, &project.id, required).await.map_err(refusals::store)?;
            project.require_second_factor = required;
            event = event
                .detail("require_second_factor_before", !required)
                .detail("require_second_factor", required);
        }
        let mut removed = Vec::new();
        let mut events = Vec::new();
        if let Some(names) = change.environments {
            let old = store_environments::list(&mut tx, &project.id).await.map_err(refusals::store)?;
            let before: Vec<&str> = old.iter().map(|row| row.name.as_str()).collect();
            event = event.detail("environments_before", before);
            let going: Vec<EnvironmentRow> =
                old.into_iter().filter(|row| !names.contains(&row.name)).collect();
            let keys = match going.is_empty() {
                true => Vec::new(),
                false => ended::living(&mut tx, ended::Of::Project(&project.id)).await?,
            };
            for gone in going {
                removed.push(environments::what_goes_with(&mut tx, &project.id, gone, &keys).await?);
            }
            check_named(&change.remove_environments, &removed)?;
            let in_use: Vec<&RemovedEnvironment> = removed
                .iter()
                .filter(|gone| !gone.is_empty() && !change.remove_environments.contains(&gone.name))
                .collect();
            if !in_use.is_empty() {
                return Err(environments_in_use(project, &in_use));
            }
            events = ended::with_environments(&mut tx, &project.id, &removed, &keys).await?;
            store_environments::replace(
                &mut tx,
                &project.id,
                &names,
                || EnvironmentId::new(now, entropy),
                now,
            )
            .await
            .map_err(refusals::store)?;
            event = event.detail("environments", names);
        }
        project.version =
            store::update(&mut tx, &project.id, project.version, &project.slug, &project.name, now)
                .await
                .map_err(slug_race(&project.slug))?;
        project.updated_at = now;
        events.extend(removed.iter().map(|gone| {
            Event::new("environment.delete")
                .project(&project.id)
                .environment(gone.name.as_str())
                .detail("secrets", gone.secrets.clone())
                .detail("variables", gone.variables.clone())
                .detail("api_keys", gone.api_keys.clone())
                .detail("credentials", gone.credentials.clone())
        }));
        events.push(event);
        self.record_all(&mut tx, actor, events).await?;
        let rows = store_environments::list(&mut tx, &project.id).await.map_err(refusals::store)?;
        tx.commit().await.map_err(refusals::store)?;
        Ok(ChangedProject { project: view(found, rows), removed })
    }

    /// With everything that is its own, and the shares that others gave it. Credentials that the project owns
    /// have to be purged first: their tokens may have to be revoked.
    pub async fn delete_project(&self, actor: &Actor, name: &str) -> Refused<()> {
        self.recent(actor, Deed::Purge).await?;
        self.unfrozen(actor)?;
        let (mut tx, found) = self.write_in_project(actor, name, Operation::ProjectDelete, &[]).await?;
        let project = found.project;
        let mut events = ended::with_project(&mut tx, &project.id).await?;
        match store::delete(&mut tx, &project.id).await {
            Ok(_) => {}
            Err(StoreError::StillUsed) => return Err(owns_credentials(&mut tx, &project).await?),
            Err(other) => return Err(refusals::store(other)),
        }
        events.push(
            Event::new("project.delete")
                .project(&project.id)
                .target(project.id.as_str())
                .detail("slug", project.slug.as_str()),
        );
        self.record_all(&mut tx, actor, events).await?;
        tx.commit().await.map_err(refusals::store)?;
        Ok(())
    }
}
