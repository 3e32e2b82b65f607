//! The sealed values of a credential per environment, and their older versions.
//!
//! Functions take the [`CredentialRow`] that the caller loaded through its owner or a share.

use latchstring_model::entity::Status;
use latchstring_model::id::{CredentialId, DataKeyId};
use latchstring_model::{Pin, Timestamp};

use crate::credentials::{self, CredentialRow};
use crate::error::{Result, StoreError, Taken};
use crate::sql::{Columns, json, statements};
use crate::tx::{Tx, WriteTx};

/// The current values of one environment.
#[derive(Clone, Debug, PartialEq)]
pub struct ValuesRow {
    pub environment: String,
    pub version: i64,
    pub sealed: Vec<u8>,
    pub data_key: DataKeyId,
    pub secret_fields: Vec<String>,
    pub pins: Vec<Pin>,
    pub standing: Standing,
    /// Names of fields that the owner may use and not read.
    pub withheld: Vec<String>,
    /// The earliest end of a certificate in the values; 0 when there is none, `None` when nobody looked.
    pub certificate_ends_at: Option<Timestamp>,
    pub set_by: String,
    pub set_at: Timestamp,
}

/// How they stand: what checks and consent found out.
#[derive(Clone, Debug, PartialEq)]
pub struct Standing {
    pub status: Status,
    pub verified_at: Option<Timestamp>,
    pub checked_at: Option<Timestamp>,
    pub check_error: Option<String>,
    /// Who consented.
    pub account: Option<String>,
    /// What was granted.
    pub scopes: Option<Vec<String>>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct VersionRow {
    pub environment: String,
    pub version: i64,
    /// `None` once wiped.
    pub sealed: Option<(Vec<u8>, DataKeyId)>,
    pub secret_fields: Vec<String>,
    pub changed_fields: Vec<String>,
    /// Names of fields that the owner of today may use and not read.
    pub withheld: Vec<String>,
    pub set_by: String,
    pub set_at: Timestamp,
}

macro_rules! values_columns {
    () => {
        "v.environment, v.version, v.sealed, v.data_key, v.secret_fields, v.pins, v.status, v.verified_at,
         v.checked_at, v.check_error, v.account, v.scopes, v.withheld, v.certificate_ends_at, v.set_by, v.set_at"
    };
}
pub(crate) use values_columns;

statements! {
    OF_CREDENTIAL = concat!("SELECT ", values_columns!(), " FROM credential_values v
        WHERE v.credential_id = $1 ORDER BY v.environment");
    ONE = concat!("SELECT ", values_columns!(), " FROM credential_values v
        WHERE v.credential_id = $1 AND v.environment = $2");
    INSERT = "INSERT INTO credential_values (credential_id, environment, version, sealed, data_key, secret_fields, pins,
        status, verified_at, checked_at, check_error, account, scopes, set_by, set_at, withheld, certificate_ends_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)";
    UPDATE = "UPDATE credential_values SET version = $3, sealed = $4, data_key = $5, secret_fields = $6, pins = $7,
        status = $8, verified_at = $9, checked_at = $10, check_error = $11, account = $12, scopes = $13, set_by = $14,
        set_at = $15, withheld = $16, certificate_ends_at = $17, check_at = NULL
        WHERE credential_id = $1 AND environment = $2 AND version = $18";
    LATEST = "SELECT COALESCE(MAX(version), 0) FROM credential_versions WHERE credential_id = $1 AND environment = $2";
    INSERT_VERSION = "INSERT INTO credential_versions (credential_id, environment, version, sealed, data_key,
        secret_fields, changed_fields, set_by, set_at, withheld) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
    VERSIONS = "SELECT environment, version, sealed, data_key, secret_fields, changed_fields, withheld, set_by, set_at
        FROM credential_versions WHERE credential_id = $1 ORDER BY environment, version DESC";
    WIPE_VERSIONS = "UPDATE credential_versions SET sealed = NULL, data_key = NULL
        WHERE credential_id = $1 AND environment = $2 AND version < $3 AND sealed IS NOT NULL";
    DELETE_TOKENS = "DELETE FROM tokens WHERE credential_id = $1 AND environment = $2";
    DELETE_GRANTS = "DELETE FROM grants WHERE credential_environment = $2
        AND share_id IN (SELECT id FROM shares WHERE credential_id = $1)";
    DELETE = "DELETE FROM credential_values WHERE credential_id = $1 AND environment = $2";
    SET_STANDING = "UPDATE credential_values SET status = $1, verified_at = $2, checked_at = $3, check_error = $4,
        account = $5, scopes = $6 WHERE credential_id = $7 AND environment = $8 AND version = $9";
    GRANT_ENDED = "UPDATE credential_values SET status = 'needs_reconnect'
        WHERE credential_id = $1 AND environment = $2 AND version = $3";
    WITHHOLD = "UPDATE credential_values SET withheld = $1
        WHERE credential_id = $2 AND environment = $3 AND version = $4";
    WITHHOLD_VERSION = "UPDATE credential_versions SET withheld = $1
        WHERE credential_id = $2 AND environment = $3 AND version = $4";
    SET_PINS = "UPDATE credential_values SET pins = $1 WHERE credential_id = $2 AND environment = $3 AND version = $4";
}

pub(crate) fn read(row: &mut Columns<'_>) -> Result<ValuesRow> {
    Ok(ValuesRow {
        environment: row.text()?,
        version: row.int()?,
        sealed: row.bytes()?,
        data_key: row.id()?,
        secret_fields: row.json()?,
        pins: row.json()?,
        standing: Standing {
            status: row.word(Status::parse)?,
            verified_at: row.time_or()?,
            checked_at: row.time_or()?,
            check_error: row.text_or()?,
            account: row.text_or()?,
            scopes: row.json_or()?,
        },
        withheld: row.json_or()?.unwrap_or_default(),
        certificate_ends_at: row.time_or()?,
        set_by: row.text()?,
        set_at: row.time()?,
    })
}

fn read_version(row: &mut Columns<'_>) -> Result<VersionRow> {
    Ok(VersionRow {
        environment: row.text()?,
        version: row.int()?,
        sealed: match (row.bytes_or()?, row.id_or()?) {
            (Some(sealed), Some(key)) => Some((sealed, key)),
            _ => None,
        },
        secret_fields: row.json()?,
        changed_fields: row.json()?,
        withheld: row.json_or()?.unwrap_or_default(),
        set_by: row.text()?,
        set_at: row.time()?,
    })
}

/// Nothing is written as nothing.
fn names(list: &[String]) -> Result<Option<String>> {
    if list.is_empty() { Ok(None) } else { json(list).map(Some) }
}

pub async fn list(tx: &mut impl Tx, credential: &CredentialRow) -> Result<Vec<ValuesRow>> {
    OF_CREDENTIAL.on(tx).bind(&credential.id).all(read).await
}

/// The provider does not accept the grant of these values any more; the token's row says why.
pub async fn grant_ended(
    tx: &mut WriteTx,
    credential: &CredentialId,
    environment: &str,
    version: i64,
) -> Result<bool> {
    let ended = GRANT_ENDED.on(tx).bind(credential).bind(environment).bind(version).run().await? == 1;
    credentials::restate(tx, credential).await?;
    Ok(ended)
}

pub async fn one(
    tx: &mut impl Tx,
    credential: &CredentialRow,
    environment: &str,
) -> Result<Option<ValuesRow>> {
    ONE.on(tx).bind(&credential.id).bind(environment).optional(read).await
}

/// The version that new values of an environment get. Numbers are never used twice, also when an
/// environment was removed and made again: a sealed value is bound to its number. Ask inside the write.
pub async fn next_version(tx: &mut WriteTx, credential: &CredentialRow, environment: &str) -> Result<i64> {
    let latest = LATEST.on(tx).bind(&credential.id).bind(environment).one(|row| row.int()).await?;
    Ok(latest + 1)
}

/// Writes values and notes them as a version. `expected`: the version they replace, `None` for an environment
/// without values. [`StoreError::Moved`] when that is not so. `changed_fields` are names, never values.
pub async fn put(
    tx: &mut WriteTx,
    credential: &CredentialRow,
    row: &ValuesRow,
    expected: Option<i64>,
    changed_fields: &[String],
) -> Result<()> {
    let scopes = row.standing.scopes.as_ref().map(json).transpose()?;
    let statement = if expected.is_some() { &UPDATE } else { &INSERT };
    let mut run = statement
        .on(tx)
        .bind(&credential.id)
        .bind(&row.environment)
        .bind(row.version)
        .bind(&row.sealed)
        .bind(&row.data_key)
        .bind(json(&row.secret_fields)?)
        .bind(json(&row.pins)?)
        .bind(row.standing.status)
        .bind(row.standing.verified_at)
        .bind(row.standing.checked_at)
        .bind(row.standing.check_error.as_ref())
        .bind(row.standing.account.as_ref())
        .bind(scopes)
        .bind(&row.set_by)
        .bind(row.set_at)
        .bind(names(&row.withheld)?)
        .bind(row.certificate_ends_at);
    if let Some(expected) = expected {
        run = run.bind(expected);
    }
    match run.run().await {
        Ok(1) => {}
        Ok(_) | Err(StoreError::Taken(Taken::Other)) => return Err(StoreError::Moved),
        Err(error) => return Err(error),
    }
    INSERT_VERSION
        .on(tx)
        .bind(&credential.id)
        .bind(&row.environment)
        .bind(row.version)
        .bind(&row.sealed)
        .bind(&row.data_key)
        .bind(json(&row.secret_fields)?)
        .bind(json(changed_fields)?)
        .bind(&row.set_by)
        .bind(row.set_at)
        .bind(names(&row.withheld)?)
        .run()
        .await
        .map_err(|error| if error.is_taken(Taken::Other) { StoreError::Moved } else { error })?;
    credentials::restate(tx, &credential.id).await
}

/// By environment, newest first.
pub async fn versions(tx: &mut impl Tx, credential: &CredentialRow) -> Result<Vec<VersionRow>> {
    VERSIONS.on(tx).bind(&credential.id).all(read_version).await
}

/// Forgets the sealed values older than `keep_from`; the list of versions stays. How many.
pub async fn wipe_versions(
    tx: &mut WriteTx,
    credential: &CredentialRow,
    environment: &str,
    keep_from: i64,
) -> Result<u64> {
    WIPE_VERSIONS.on(tx).bind(&credential.id).bind(environment).bind(keep_from).run().await
}

/// Removes an environment's values with its tokens and the grants that used them; its versions are wiped.
pub async fn remove(tx: &mut WriteTx, credential: &CredentialRow, environment: &str) -> Result<bool> {
    DELETE_TOKENS.on(tx).bind(&credential.id).bind(environment).run().await?;
    DELETE_GRANTS.on(tx).bind(&credential.id).bind(environment).run().await?;
    WIPE_VERSIONS.on(tx).bind(&credential.id).bind(environment).bind(i64::MAX).run().await?;
    let gone = DELETE.on(tx).bind(&credential.id).bind(environment).run().await? == 1;
    credentials::restate(tx, &credential.id).await?;
    Ok(gone)
}

/// Writes what a check found out, if the values are still those that were checked.
pub async fn set_standing(
    tx: &mut WriteTx,
    credential: &CredentialRow,
    environment: &str,
    values_version: i64,
    standing: &Standing,
) -> Result<bool> {
    let changed = SET_STANDING
        .on(tx)
        .bind(standing.status)
        .bind(standing.verified_at)
        .bind(standing.checked_at)
        .bind(standing.check_error.as_ref())
        .bind(standing.account.as_ref())
        .bind(standing.scopes.as_ref().map(json).transpose()?)
        .bind(&credential.id)
        .bind(environment)
        .bind(values_version)
        .run()
        .await?;
    credentials::restate(tx, &credential.id).await?;
    Ok(changed == 1)
}

/// Withholds fields of the values, and of a version, from whoever owns them now.
pub async fn withhold(
    tx: &mut WriteTx,
    credential: &CredentialRow,
    environment: &str,
    version: i64,
    fields: &[String],
) -> Result<()> {
    for statement in [&WITHHOLD, &WITHHOLD_VERSION] {
        let run = statement.on(tx).bind(names(fields)?).bind(&credential.id);
        run.bind(environment).bind(version).run().await?;
    }
    Ok(())
}

/// Moves the pins, if the values are still those that they belong to.
pub async fn set_pins(
    tx: &mut WriteTx,
    credential: &CredentialRow,
    environment: &str,
    values_version: i64,
    pins: &[Pin],
) -> Result<bool> {
    let changed = SET_PINS
        .on(tx)
        .bind(json(pins)?)
        .bind(&credential.id)
        .bind(environment)
        .bind(values_version)
        .run()
        .await?;
    Ok(changed == 1)
}
