//! The trail from an older record to newer ones: for exports, and for those who follow it. The order is that of
//! `seq`, which grows with commits, so that somebody who goes on behind the last record passes nothing over.

use latchstring_model::id::{CredentialId, ProjectId};

use crate::audit::batch::{self, Wanted};
use crate::audit::{self, AuditFilter, AuditItem};
use crate::error::Result;
use crate::sql::{Run, statements};
use crate::tx::Tx;

/// Whose records.
#[derive(Clone, Copy, Debug)]
pub enum Of<'a> {
    Project(&'a ProjectId),
    Credential(&'a CredentialId),
    /// Events that belong to no project and no credential.
    Instance,
    Everything,
}

/// A part of them, oldest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    pub items: Vec<AuditItem>,
    /// Behind which `seq` the next part begins.
    pub next: i64,
    /// Whether there is more at this moment. A part without items may have more behind it: the filter found little
    /// in as much as is read at once.
    pub more: bool,
}

/// Batches that are read for one part.
const BATCHES_A_PART: usize = 10;

macro_rules! narrowed {
    ($of:literal) => {
        concat!(
            audit::items!(),
            "WHERE ",
            $of,
            " AND a.seq > $2
            AND (a.credential_id = $3 OR CAST($3 AS TEXT) IS NULL)
            AND (a.actor_id = $4 OR a.actor_email = $4 OR CAST($4 AS TEXT) IS NULL)
            AND (a.action = $5 OR CAST($5 AS TEXT) IS NULL)
            AND (a.at >= $6 OR CAST($6 AS BIGINT) IS NULL) AND (a.at < $7 OR CAST($7 AS BIGINT) IS NULL)
            ORDER BY a.seq LIMIT $8"
        )
    };
}

statements! {
    OF_PROJECT = narrowed!("a.project_id = $1 AND a.fact IN ('event', 'intent')");
    OF_CREDENTIAL = narrowed!("a.credential_id = $1 AND a.fact IN ('event', 'intent')");
    OF_INSTANCE = narrowed!("CAST($1 AS TEXT) IS NULL AND a.fact = 'event' AND a.project_id IS NULL AND a.credential_id IS NULL");
    OF_EVERYTHING = narrowed!("CAST($1 AS TEXT) IS NULL AND a.fact IN ('event', 'intent')");
    BATCHES = "SELECT s.seq FROM audit_batch_scopes s WHERE s.scope_id = $1 AND s.seq >= $2 ORDER BY s.seq LIMIT $3";
    BATCHES_OF_BOTH = "SELECT s.seq FROM audit_batch_scopes s JOIN audit_batch_scopes p ON p.seq = s.seq
        AND p.scope_id = $4 WHERE s.scope_id = $1 AND s.seq >= $2 ORDER BY s.seq LIMIT $3";
    ALL_BATCHES = "SELECT a.seq FROM audit a WHERE a.fact = 'batch' AND a.seq >= $1 ORDER BY a.seq LIMIT $2";
}

impl<'a> Of<'a> {
    fn rows<'t>(&self, tx: &'t mut impl Tx) -> Run<'t> {
        match self {
            Of::Project(project) => OF_PROJECT.on(tx).bind(project.as_str()),
            Of::Credential(credential) => OF_CREDENTIAL.on(tx).bind(credential.as_str()),
            Of::Instance => OF_INSTANCE.on(tx).bind(None::<String>),
            Of::Everything => OF_EVERYTHING.on(tx).bind(None::<String>),
        }
    }

    /// The batches that may hold calls of theirs, from this row on.
    async fn batches(&self, tx: &mut impl Tx, filter: &AuditFilter, from: i64) -> Result<Vec<i64>> {
        let limit = i64::try_from(BATCHES_A_PART + 1).unwrap_or(i64::MAX);
        let run = match (self, &filter.credential) {
            (Of::Instance, _) => return Ok(Vec::new()),
            (Of::Project(project), Some(credential)) => {
                BATCHES_OF_BOTH.on(tx).bind(credential).bind(from).bind(limit).bind(*project)
            }
            (Of::Project(project), None) => BATCHES.on(tx).bind(*project).bind(from).bind(limit),
            (Of::Credential(credential), _) => BATCHES.on(tx).bind(*credential).bind(from).bind(limit),
            (Of::Everything, Some(credential)) => BATCHES.on(tx).bind(credential).bind(from).bind(limit),
            (Of::Everything, None) => ALL_BATCHES.on(tx).bind(from).bind(limit),
        };
        run.all(|row| row.int()).await
    }
}

/// At most `limit` items behind `after`. A call comes once, with how it ended if it has.
pub async fn part(
    tx: &mut impl Tx,
    of: Of<'_>,
    filter: &AuditFilter,
    after: i64,
    limit: usize,
) -> Result<Part> {
    let row = after.div_euclid(batch::SLOTS);
    let rows = of
        .rows(tx)
        .bind(row)
        .bind(filter.credential.as_ref())
        .bind(filter.actor.as_ref())
        .bind(filter.action.as_ref())
        .bind(filter.from)
        .bind(filter.to)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1))
        .all(audit::read_item)
        .await?;
    let batches = of.batches(tx, filter, row).await?;
    let project = if let Of::Project(project) = of { Some(project) } else { None };
    let credential = if let Of::Credential(credential) = of { Some(credential) } else { None };
    let narrowed = AuditFilter {
        credential: credential.cloned().or_else(|| filter.credential.clone()),
        ..filter.clone()
    };
    let wanted = Wanted { project, filter: &narrowed };

    let mut items: Vec<AuditItem> = Vec::new();
    let mut rows = rows.into_iter().peekable();
    let mut goes_on = None;
    for (read, &seq) in batches.iter().enumerate() {
        let start = seq.saturating_mul(batch::SLOTS);
        while items.len() <= limit
            && let Some(item) = rows.next_if(|row| row.seq < start)
        {
            items.push(item);
        }
        if items.len() > limit {
            break;
        }
        if read == BATCHES_A_PART {
            goes_on = Some(start - 1);
            break;
        }
        if let Some(row) = audit::batch_at(tx, seq).await? {
            items.extend(batch::oldest_first(start, &row, &wanted, after, limit + 1 - items.len()));
        }
    }
    if goes_on.is_none() && items.len() <= limit {
        items.extend(rows.take(limit + 1 - items.len()));
    }
    let full = items.len() > limit;
    items.truncate(limit);
    audit::add_late_results(tx, &mut items).await?;
    let last = items.last().map_or(after, |item| item.seq);
    let next = if full { last } else { goes_on.unwrap_or(last) };
    Ok(Part { items, next, more: full || goes_on.is_some() })
}
