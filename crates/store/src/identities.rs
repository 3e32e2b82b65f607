//! Who people are at a provider: found by issuer and subject, and by nothing else.

use latchstring_model::Timestamp;
use latchstring_model::id::{IdentityId, UserId};

use crate::error::Result;
use crate::sql::{Columns, statements};
use crate::tx::{Tx, WriteTx};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityRow {
    pub id: IdentityId,
    pub user_id: UserId,
    pub issuer: String,
    pub subject: String,
    /// As the provider gave it last; for display.
    pub email: Option<String>,
    pub linked_at: Timestamp,
    pub seen_at: Timestamp,
}

macro_rules! columns {
    () => {
        "i.id, i.user_id, i.issuer, i.subject, i.email, i.linked_at, i.seen_at"
    };
}

statements! {
    CREATE = "INSERT INTO identities (id, user_id, issuer, subject, email, linked_at, seen_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7)";
    BY_SUBJECT = concat!("SELECT ", columns!(), " FROM identities i WHERE i.issuer = $1 AND i.subject = $2");
    LIST = concat!("SELECT ", columns!(), " FROM identities i WHERE i.user_id = $1 ORDER BY i.id");
    SEEN = "UPDATE identities SET email = $1, seen_at = $2 WHERE id = $3";
    REMOVE = "DELETE FROM identities WHERE id = $1 AND user_id = $2";
}

fn read(row: &mut Columns<'_>) -> Result<IdentityRow> {
    Ok(IdentityRow {
        id: row.id()?,
        user_id: row.id()?,
        issuer: row.text()?,
        subject: row.text()?,
        email: row.text_or()?,
        linked_at: row.time()?,
        seen_at: row.time()?,
    })
}

/// [`crate::Taken::Identity`] when it is somebody's already, [`crate::Taken::IdentityOfPerson`] when the person has
/// another one at that issuer.
pub async fn create(tx: &mut WriteTx, row: &IdentityRow) -> Result<()> {
    CREATE
        .on(tx)
        .bind(&row.id)
        .bind(&row.user_id)
        .bind(&row.issuer)
        .bind(&row.subject)
        .bind(row.email.as_ref())
        .bind(row.linked_at)
        .bind(row.seen_at)
        .run()
        .await?;
    Ok(())
}

pub async fn by_subject(tx: &mut impl Tx, issuer: &str, subject: &str) -> Result<Option<IdentityRow>> {
    BY_SUBJECT.on(tx).bind(issuer).bind(subject).optional(read).await
}

/// A person's, oldest first.
pub async fn list(tx: &mut impl Tx, user: &UserId) -> Result<Vec<IdentityRow>> {
    LIST.on(tx).bind(user).all(read).await
}

pub async fn seen(tx: &mut WriteTx, id: &IdentityId, email: Option<&str>, now: Timestamp) -> Result<()> {
    SEEN.on(tx).bind(email).bind(now).bind(id).run().await?;
    Ok(())
}

/// Whether there was one to remove.
pub async fn remove(tx: &mut WriteTx, user: &UserId, id: &IdentityId) -> Result<bool> {
    Ok(REMOVE.on(tx).bind(id).bind(user).run().await? == 1)
}
