//! What people were told, for them to read in the browser: also where no mail is set up.

use latchstring_model::Timestamp;
use latchstring_model::id::{NoticeId, UserId};

use crate::error::Result;
use crate::notices::{NoticeRow, read as read_notice};
use crate::page::{Page, Paging};
use crate::sql::{Columns, statements};
use crate::tx::{Tx, WriteTx};

#[derive(Clone, Debug, PartialEq)]
pub struct InboxItem {
    pub notice: NoticeRow,
    pub read_at: Option<Timestamp>,
}

statements! {
    ADD = "INSERT INTO inbox (user_id, notice_id, created_at) VALUES ($1, $2, $3)
        ON CONFLICT (user_id, notice_id) DO NOTHING";
    LIST = "SELECT n.id, n.event, n.sameness, n.credential_id, n.environment, n.project_id, n.data, n.at, n.recipients,
        i.read_at FROM inbox i JOIN notices n ON n.id = i.notice_id
        WHERE i.user_id = $1 AND (i.notice_id < $2 OR $2 = '') AND ($3 = 0 OR i.read_at IS NULL)
        ORDER BY i.notice_id DESC LIMIT $4";
    UNREAD = "SELECT COUNT(*) FROM inbox WHERE user_id = $1 AND read_at IS NULL";
    READ = "UPDATE inbox SET read_at = $1 WHERE user_id = $2 AND notice_id = $3 AND read_at IS NULL";
    HAS = "SELECT COUNT(*) FROM inbox WHERE user_id = $1 AND notice_id = $2";
    READ_ALL = "UPDATE inbox SET read_at = $1 WHERE user_id = $2 AND read_at IS NULL";
    PURGE = "DELETE FROM inbox WHERE created_at < $1";
}

fn read(row: &mut Columns<'_>) -> Result<InboxItem> {
    Ok(InboxItem { notice: read_notice(row)?, read_at: row.time_or()? })
}

pub async fn add(tx: &mut WriteTx, user: &UserId, notice: &NoticeId, now: Timestamp) -> Result<()> {
    ADD.on(tx).bind(user).bind(notice).bind(now).run().await?;
    Ok(())
}

/// Newest first; `unread`: only what was not read.
pub async fn list(tx: &mut impl Tx, user: &UserId, unread: bool, paging: &Paging) -> Result<Page<InboxItem>> {
    let run = LIST.on(tx).bind(user).bind(paging.after()).bind(unread).bind(paging.fetch());
    let rows = run.all(read).await?;
    paging.page(rows, |item| item.notice.id.to_string())
}

pub async fn unread(tx: &mut impl Tx, user: &UserId) -> Result<i64> {
    UNREAD.on(tx).bind(user).one(|row| row.int()).await
}

/// Whether there is such a notice; reading it twice changes nothing.
pub async fn mark_read(tx: &mut WriteTx, user: &UserId, notice: &NoticeId, now: Timestamp) -> Result<bool> {
    if READ.on(tx).bind(now).bind(user).bind(notice).run().await? == 1 {
        return Ok(true);
    }
    Ok(HAS.on(tx).bind(user).bind(notice).one(|row| row.int()).await? > 0)
}

/// How many were new.
pub async fn mark_all_read(tx: &mut WriteTx, user: &UserId, now: Timestamp) -> Result<u64> {
    READ_ALL.on(tx).bind(now).bind(user).run().await
}

pub async fn purge(tx: &mut WriteTx, before: Timestamp) -> Result<u64> {
    PURGE.on(tx).bind(before).run().await
}
