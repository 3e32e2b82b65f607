//! What a provider's groups have given to a person: remembered, so that it alone is taken back when the person
//! leaves the group.

use latchstring_model::Timestamp;
use latchstring_model::id::UserId;

use crate::error::Result;
use crate::sql::{Columns, statements};
use crate::tx::{Tx, WriteTx};

/// `place` of the right of a superuser.
pub const INSTANCE: &str = "instance";
pub const SUPERUSER: &str = "superuser";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupRoleRow {
    /// A project's id, or [`INSTANCE`].
    pub place: String,
    /// What the groups gave: a role's name, or [`SUPERUSER`].
    pub role: String,
    /// What somebody gave; `None`: nothing.
    pub by_hand: Option<String>,
    pub granted_at: Timestamp,
}

statements! {
    LIST = "SELECT place, role, by_hand, granted_at FROM group_roles WHERE user_id = $1 ORDER BY place";
    GET = "SELECT place, role, by_hand, granted_at FROM group_roles WHERE user_id = $1 AND place = $2";
    SET = "INSERT INTO group_roles (user_id, place, role, by_hand, granted_at) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (user_id, place) DO UPDATE SET role = excluded.role, by_hand = excluded.by_hand";
    REMOVE = "DELETE FROM group_roles WHERE user_id = $1 AND place = $2";
}

fn read(row: &mut Columns<'_>) -> Result<GroupRoleRow> {
    Ok(GroupRoleRow {
        place: row.text()?,
        role: row.text()?,
        by_hand: row.text_or()?,
        granted_at: row.time()?,
    })
}

pub async fn list(tx: &mut impl Tx, user: &UserId) -> Result<Vec<GroupRoleRow>> {
    LIST.on(tx).bind(user).all(read).await
}

pub async fn get(tx: &mut impl Tx, user: &UserId, place: &str) -> Result<Option<GroupRoleRow>> {
    GET.on(tx).bind(user).bind(place).optional(read).await
}

pub async fn set(tx: &mut WriteTx, user: &UserId, row: &GroupRoleRow) -> Result<()> {
    SET.on(tx)
        .bind(user)
        .bind(&row.place)
        .bind(&row.role)
        .bind(row.by_hand.as_ref())
        .bind(row.granted_at)
        .run()
        .await?;
    Ok(())
}

pub async fn remove(tx: &mut WriteTx, user: &UserId, place: &str) -> Result<bool> {
    Ok(REMOVE.on(tx).bind(user).bind(place).run().await? == 1)
}
