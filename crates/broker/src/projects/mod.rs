//! Projects: the boundary of who sees what. Members with roles, environments, service keys, secrets and
//! variables for templates.
//!
//! | may | viewer | editor | admin | owner |
//! | --- | --- | --- | --- | --- |
//! | see the project, its members, keys, secrets' names and variables | ✓ | ✓ | ✓ | ✓ |
//! | call; set secrets and variables | | ✓ | ✓ | ✓ |
//! | members, service keys, name, slug, environments | | | ✓ | ✓ |
//! | make and unmake owners, require a second factor, delete the project | | | | ✓ |
//!
//! Every change of what somebody may do raises the project's epoch (and the person's), so that no server goes
//! on with a decision that was cached before.

pub mod access;
pub mod applied;
pub(crate) mod ended;
pub mod environments;
pub mod life;
pub mod members;
pub mod service_keys;
pub mod values;
pub mod webhooks;

use latchstring_model::Timestamp;
use latchstring_model::entity::Role;
use latchstring_model::id::{EnvironmentId, ProjectId};

#[derive(Clone, Debug)]
pub struct Environment {
    pub id: EnvironmentId,
    pub name: String,
}

/// A project as one of its members sees it.
#[derive(Clone, Debug)]
pub struct Project {
    pub id: ProjectId,
    pub slug: String,
    pub name: String,
    /// In the order that was given.
    pub environments: Vec<Environment>,
    /// Of the person who asks.
    pub role: Role,
    /// Its people need a second factor.
    pub require_second_factor: bool,
    /// The person who asks has none, so this is all they see.
    pub locked: bool,
    pub version: i64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}
