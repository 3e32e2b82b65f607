//! What lists show of many credentials, read for all of a page at once: everything but sealed bytes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::iter;

use latchstring_model::entity::Status;
use latchstring_model::id::{CredentialId, ProjectId, ShareId};
use latchstring_model::{Pin, Timestamp};

use crate::consents::{self, ConsentRow};
use crate::credentials::CredentialRow;
use crate::error::Result;
use crate::sql::{Columns, Run, Statement, statements};
use crate::tokens::TokenState;
use crate::tx::Tx;
use crate::values::Standing;

/// Values of one environment, without what is sealed.
#[derive(Clone, Debug, PartialEq)]
pub struct ValuesHead {
    pub environment: String,
    pub version: i64,
    pub secret_fields: Vec<String>,
    pub withheld: Vec<String>,
    pub pins: Vec<Pin>,
    pub standing: Standing,
    pub certificate_ends_at: Option<Timestamp>,
}

/// A token, without what is sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenHead {
    pub environment: String,
    pub values_version: i64,
    pub state: TokenState,
    pub obtained_at: Option<Timestamp>,
    pub expires_at: Option<Timestamp>,
    pub grant_expires_at: Option<Timestamp>,
    pub failures: i64,
    pub retry_at: Option<Timestamp>,
    pub last_error: Option<String>,
    pub updated_at: Timestamp,
}

/// A share as it is shown: without who made it and its grants, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShareHead {
    pub id: ShareId,
    pub project_id: ProjectId,
    pub slug: String,
    pub external_id: Option<String>,
    pub suspended: bool,
    pub project_slug: String,
    /// Project environment → the credential's environment.
    pub grants: BTreeMap<String, String>,
}

/// Everything that is shown of one credential beside its own row.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Head {
    pub values: Vec<ValuesHead>,
    pub shares: Vec<ShareHead>,
    pub tokens: Vec<TokenHead>,
    /// Of a person; and whether they are there at all.
    pub owner_email: Option<String>,
    pub owner_active: bool,
    /// Of the project that owns it.
    pub owner_slug: Option<String>,
    /// The last consent of each environment.
    pub consents: Vec<ConsentRow>,
}

/// Ids that one statement asks for; shorter lists are filled up.
const AT_ONCE: usize = 50;

macro_rules! one {
    () => {
        "= $1"
    };
}

macro_rules! many {
    () => {
        "IN ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23,
         $24, $25, $26, $27, $28, $29, $30, $31, $32, $33, $34, $35, $36, $37, $38, $39, $40, $41, $42, $43, $44, $45,
         $46, $47, $48, $49, $50)"
    };
}

/// Each text twice: for [`AT_ONCE`] ids, and for one.
macro_rules! by_ids {
    ($($many:ident, $one:ident = ($($before:expr),+), ids $(, $after:expr)?;)*) => {
        statements! {$(
            $many = concat!($($before,)+ many!() $(, $after)?);
            $one = concat!($($before,)+ one!() $(, $after)?);
        )*}
    };
}

by_ids! {
    VALUES, VALUES_OF_ONE = ("SELECT v.credential_id, v.environment, v.version, v.secret_fields, v.withheld, v.pins,
        v.status, v.verified_at, v.checked_at, v.check_error, v.account, v.scopes, v.certificate_ends_at
        FROM credential_values v WHERE v.credential_id "), ids, " ORDER BY v.credential_id, v.environment";
    SHARES, SHARES_OF_ONE = ("SELECT s.credential_id, s.id, s.project_id, s.slug, s.external_id, s.suspended, p.slug,
        e.name, g.credential_environment
        FROM shares s JOIN projects p ON p.id = s.project_id LEFT JOIN grants g ON g.share_id = s.id
        LEFT JOIN environments e ON e.id = g.environment_id
        WHERE s.credential_id "), ids, " ORDER BY s.id, e.position, e.id";
    TOKENS, TOKENS_OF_ONE = ("SELECT t.credential_id, t.environment, t.values_version, t.state, t.obtained_at,
        t.expires_at, t.grant_expires_at, t.failures, t.retry_at, t.last_error, t.updated_at
        FROM tokens t WHERE t.credential_id "), ids, " ORDER BY t.environment, t.id";
    CONSENTS, CONSENTS_OF_ONE = ("SELECT ", consents::consent_columns!(), " FROM consents f WHERE f.credential_id "),
        ids, " AND NOT EXISTS (SELECT 1 FROM consents n WHERE n.credential_id = f.credential_id
            AND n.environment = f.environment
            AND (n.created_at > f.created_at OR (n.created_at = f.created_at AND n.id > f.id)))";
    PEOPLE, PERSON = ("SELECT u.id, u.email, u.active FROM users u WHERE u.id "), ids;
    PROJECTS, PROJECT = ("SELECT p.id, p.slug FROM projects p WHERE p.id "), ids;
}

/// Asks with the one statement or the other. PostgreSQL reads a small table whole for as many as [`AT_ONCE`], and goes on
/// to do so while the table grows; who looks at one credential does not pay for that.
fn asked<'t, 'i>(
    tx: &'t mut impl Tx,
    one: &Statement,
    many: &Statement,
    ids: impl ExactSizeIterator<Item = &'i str>,
) -> Run<'t> {
    let (statement, places) = if ids.len() == 1 { (one, 1) } else { (many, AT_ONCE) };
    // No id is empty.
    ids.chain(iter::repeat("")).take(places).fold(statement.on(tx), |run, id| run.bind(id))
}

fn read_values(row: &mut Columns<'_>) -> Result<(CredentialId, ValuesHead)> {
    Ok((
        row.id()?,
        ValuesHead {
            environment: row.text()?,
            version: row.int()?,
            secret_fields: row.json()?,
            withheld: row.json_or()?.unwrap_or_default(),
            pins: row.json()?,
            standing: Standing {
                status: row.word(Status::parse)?,
                verified_at: row.time_or()?,
                checked_at: row.time_or()?,
                check_error: row.text_or()?,
                account: row.text_or()?,
                scopes: row.json_or()?,
            },
            certificate_ends_at: row.time_or()?.filter(|at| at.0 > 0),
        },
    ))
}

/// A share with one of its grants; without any it has one row.
fn read_share(row: &mut Columns<'_>) -> Result<(CredentialId, ShareHead)> {
    let credential_id = row.id()?;
    let mut share = ShareHead {
        id: row.id()?,
        project_id: row.id()?,
        slug: row.text()?,
        external_id: row.text_or()?,
        suspended: row.flag()?,
        project_slug: row.text()?,
        grants: BTreeMap::new(),
    };
    if let (Some(environment), Some(values)) = (row.text_or()?, row.text_or()?) {
        share.grants.insert(environment, values);
    }
    Ok((credential_id, share))
}

fn read_token(row: &mut Columns<'_>) -> Result<(CredentialId, TokenHead)> {
    Ok((
        row.id()?,
        TokenHead {
            environment: row.text()?,
            values_version: row.int()?,
            state: row.word(TokenState::parse)?,
            obtained_at: row.time_or()?,
            expires_at: row.time_or()?,
            grant_expires_at: row.time_or()?,
            failures: row.int()?,
            retry_at: row.time_or()?,
            last_error: row.text_or()?,
            updated_at: row.time()?,
        },
    ))
}

/// `consents`: also how the last consents went, which only owners see.
pub async fn of_all(
    tx: &mut impl Tx,
    rows: &[&CredentialRow],
    consents: bool,
) -> Result<HashMap<CredentialId, Head>> {
    let mut heads: HashMap<CredentialId, Head> =
        rows.iter().map(|row| (row.id.clone(), Head::default())).collect();
    for rows in rows.chunks(AT_ONCE) {
        let ids = || rows.iter().map(|row| row.id.as_str());
        for (id, values) in asked(tx, &VALUES_OF_ONE, &VALUES, ids()).all(read_values).await? {
            if let Some(head) = heads.get_mut(&id) {
                head.values.push(values);
            }
        }
        for (id, share) in asked(tx, &SHARES_OF_ONE, &SHARES, ids()).all(read_share).await? {
            if let Some(head) = heads.get_mut(&id) {
                // The rows of a share come one after the other.
                match head.shares.last_mut().filter(|last| last.id == share.id) {
                    Some(last) => last.grants.extend(share.grants),
                    None => head.shares.push(share),
                }
            }
        }
        for (id, token) in asked(tx, &TOKENS_OF_ONE, &TOKENS, ids()).all(read_token).await? {
            if let Some(head) = heads.get_mut(&id) {
                head.tokens.push(token);
            }
        }
        owners(tx, rows, &mut heads).await?;
        if consents {
            for consent in asked(tx, &CONSENTS_OF_ONE, &CONSENTS, ids()).all(consents::read).await? {
                if let Some(head) = heads.get_mut(&consent.credential_id) {
                    head.consents.push(consent);
                }
            }
        }
    }
    Ok(heads)
}

/// Many credentials have few owners: each is read once.
async fn owners(
    tx: &mut impl Tx,
    rows: &[&CredentialRow],
    heads: &mut HashMap<CredentialId, Head>,
) -> Result<()> {
    let of_kind = |kind: &str| -> BTreeSet<&str> {
        rows.iter().filter(|row| row.owner.kind() == kind).map(|row| row.owner.id()).collect()
    };
    let (people, projects) = (of_kind("user"), of_kind("project"));
    let mut emails: HashMap<String, (String, bool)> = HashMap::new();
    let mut slugs: HashMap<String, String> = HashMap::new();
    if !people.is_empty() {
        let found = asked(tx, &PERSON, &PEOPLE, people.into_iter());
        emails.extend(found.all(|row| Ok((row.text()?, (row.text()?, row.flag()?)))).await?);
    }
    if !projects.is_empty() {
        slugs.extend(
            asked(tx, &PROJECT, &PROJECTS, projects.into_iter())
                .all(|row| Ok((row.text()?, row.text()?)))
                .await?,
        );
    }
    for row in rows {
        if let Some(head) = heads.get_mut(&row.id) {
            let person = emails.get(row.owner.id());
            head.owner_email = person.map(|(email, _)| email.clone());
            head.owner_active = person.is_none_or(|(_, active)| *active);
            head.owner_slug = slugs.get(row.owner.id()).cloned();
        }
    }
    Ok(())
}
