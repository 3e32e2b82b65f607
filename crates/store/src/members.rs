//! Who belongs to a project, and as what.

use latchstring_model::Timestamp;
use latchstring_model::entity::Role;
use latchstring_model::id::{ProjectId, UserId};

use crate::applied::{self, AppliedKind, Thing};
use crate::error::Result;
use crate::page::{Page, Paging};
use crate::sql::{Columns, statements};
use crate::tx::{Tx, WriteTx};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberRow {
    pub user_id: UserId,
    pub email: String,
    pub name: String,
    pub active: bool,
    pub role: Role,
    pub created_at: Timestamp,
}

statements! {
    SET = "INSERT INTO members (project_id, user_id, role, created_at) VALUES ($1, $2, $3, $4)
        ON CONFLICT (project_id, user_id) DO UPDATE SET role = excluded.role";
    ROLE = "SELECT role FROM members WHERE project_id = $1 AND user_id = $2";
    MEMBERSHIP = "SELECT role, created_at FROM members WHERE project_id = $1 AND user_id = $2";
    LIST = "SELECT m.user_id, u.email, u.name, u.active, m.role, m.created_at FROM members m
        JOIN users u ON u.id = m.user_id WHERE m.project_id = $1 AND m.user_id > $2 ORDER BY m.user_id LIMIT $3";
    OWNERS = "SELECT COUNT(*) FROM members m JOIN users u ON u.id = m.user_id
        WHERE m.project_id = $1 AND m.role = 'owner' AND u.active = 1";
    REMOVE = "DELETE FROM members WHERE project_id = $1 AND user_id = $2";
}

fn read(row: &mut Columns<'_>) -> Result<MemberRow> {
    Ok(MemberRow {
        user_id: row.id()?,
        email: row.text()?,
        name: row.text()?,
        active: row.flag()?,
        role: row.word(Role::parse)?,
        created_at: row.time()?,
    })
}

/// Makes somebody a member, or changes the role of one.
pub async fn set(
    tx: &mut WriteTx,
    project: &ProjectId,
    user: &UserId,
    role: Role,
    now: Timestamp,
) -> Result<()> {
    SET.on(tx).bind(project).bind(user).bind(role).bind(now).run().await?;
    Ok(())
}

pub async fn role(tx: &mut impl Tx, project: &ProjectId, user: &UserId) -> Result<Option<Role>> {
    ROLE.on(tx).bind(project).bind(user).optional(|row| row.word(Role::parse)).await
}

/// As what, and since when: somebody who was removed and added again is a member of another time.
pub async fn membership(
    tx: &mut impl Tx,
    project: &ProjectId,
    user: &UserId,
) -> Result<Option<(Role, Timestamp)>> {
    let run = MEMBERSHIP.on(tx).bind(project).bind(user);
    run.optional(|row| Ok((row.word(Role::parse)?, row.time()?))).await
}

pub async fn list(tx: &mut impl Tx, project: &ProjectId, paging: &Paging) -> Result<Page<MemberRow>> {
    let rows = LIST.on(tx).bind(project).bind(paging.after()).bind(paging.fetch()).all(read).await?;
    paging.page(rows, |row| row.user_id.to_string())
}

/// Active owners: the last one cannot leave.
pub async fn count_owners(tx: &mut impl Tx, project: &ProjectId) -> Result<i64> {
    OWNERS.on(tx).bind(project).one(|row| row.int()).await
}

/// Whether there was one to remove.
pub async fn remove(tx: &mut WriteTx, project: &ProjectId, user: &UserId) -> Result<bool> {
    let mark = Thing::new(AppliedKind::Member, user.as_str());
    applied::forget(tx, project, &mark).await?;
    Ok(REMOVE.on(tx).bind(project).bind(user).run().await? == 1)
}
