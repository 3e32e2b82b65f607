//! What is looked at by itself again and again: values that are due for a check, credentials and certificates that
//! end soon.

use latchstring_model::Timestamp;
use latchstring_model::entity::Status;
use latchstring_model::id::CredentialId;

use crate::credentials::{self, CredentialRow, credential_columns};
use crate::error::Result;
use crate::sql::statements;
use crate::tx::{Tx, WriteTx};

/// Values whose time for a check has come, and when that was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DueCheck {
    pub credential_id: CredentialId,
    pub environment: String,
    pub version: i64,
    pub status: Status,
    pub at: Timestamp,
    pub owner_id: String,
}

/// Something of a credential that ends.
#[derive(Clone, Debug, PartialEq)]
pub struct Ending {
    pub credential: CredentialRow,
    /// Of a certificate: whose values it stands in.
    pub environment: Option<String>,
    pub at: Timestamp,
}

statements! {
    UNPLANNED = "SELECT v.credential_id, v.environment FROM credential_values v WHERE v.check_at IS NULL
        ORDER BY v.credential_id, v.environment LIMIT $1";
    PLAN = "UPDATE credential_values SET check_at = $1 WHERE credential_id = $2 AND environment = $3 AND check_at IS NULL";
    DUE = "SELECT v.credential_id, v.environment, v.version, v.status, v.check_at, c.owner_id
        FROM credential_values v JOIN credentials c ON c.id = v.credential_id
        LEFT JOIN users u ON u.id = c.owner_id
        WHERE v.check_at <= $1 AND c.disabled = 0 AND c.deletes_at IS NULL
        AND v.status IN ('verified', 'unverified', 'failing') AND (c.owner_type = 'project' OR u.active = 1)
        ORDER BY v.check_at, v.credential_id, v.environment LIMIT $2";
    TAKE = "UPDATE credential_values SET check_at = $1 WHERE credential_id = $2 AND environment = $3 AND check_at = $4";
    MOVE = "UPDATE credential_values SET check_at = $1 WHERE credential_id = $2 AND environment = $3 AND version = $4";
    CERTIFICATES = concat!("SELECT ", credential_columns!(), ", v.environment, v.certificate_ends_at
        FROM credential_values v JOIN credentials c ON c.id = v.credential_id
        WHERE v.certificate_ends_at > $1 AND v.certificate_ends_at <= $2 AND c.disabled = 0 AND c.deletes_at IS NULL
        AND (v.credential_id > $3 OR (v.credential_id = $3 AND v.environment > $4))
        ORDER BY v.credential_id, v.environment LIMIT $5");
    EXPIRING = concat!("SELECT ", credential_columns!(), " FROM credentials c
        WHERE c.expires_on > $1 AND c.expires_on <= $2 AND c.disabled = 0 AND c.deletes_at IS NULL AND c.id > $3
        ORDER BY c.id LIMIT $4");
    UNREAD_CERTIFICATES = "SELECT v.credential_id, v.environment FROM credential_values v
        WHERE v.certificate_ends_at IS NULL ORDER BY v.credential_id, v.environment LIMIT $1";
    SET_CERTIFICATE = "UPDATE credential_values SET certificate_ends_at = $1
        WHERE credential_id = $2 AND environment = $3 AND version = $4 AND certificate_ends_at IS NULL";
}

/// Values that no time was chosen for.
pub async fn unplanned(tx: &mut impl Tx, limit: i64) -> Result<Vec<(CredentialId, String)>> {
    UNPLANNED.on(tx).bind(limit).all(|row| Ok((row.id()?, row.text()?))).await
}

/// Chooses the first time.
pub async fn plan(
    tx: &mut WriteTx,
    credential: &CredentialId,
    environment: &str,
    at: Timestamp,
) -> Result<bool> {
    Ok(PLAN.on(tx).bind(at).bind(credential).bind(environment).run().await? == 1)
}

/// Longest due first, of credentials that may be used at all.
pub async fn due(tx: &mut impl Tx, now: Timestamp, limit: i64) -> Result<Vec<DueCheck>> {
    DUE.on(tx)
        .bind(now)
        .bind(limit)
        .all(|row| {
            Ok(DueCheck {
                credential_id: row.id()?,
                environment: row.text()?,
                version: row.int()?,
                status: row.word(Status::parse)?,
                at: row.time()?,
                owner_id: row.text()?,
            })
        })
        .await
}

/// Moves the time on, which is the lease: `false` when another server was quicker, or the values are others.
pub async fn take(tx: &mut WriteTx, due: &DueCheck, next: Timestamp) -> Result<bool> {
    Ok(TAKE.on(tx).bind(next).bind(&due.credential_id).bind(&due.environment).bind(due.at).run().await? == 1)
}

/// Another time for these values.
pub async fn put_off(
    tx: &mut WriteTx,
    credential: &CredentialId,
    environment: &str,
    version: i64,
    at: Timestamp,
) -> Result<bool> {
    Ok(MOVE.on(tx).bind(at).bind(credential).bind(environment).bind(version).run().await? == 1)
}

/// Certificates that end between two moments, after (credential, environment) of the page before.
pub async fn certificates_ending(
    tx: &mut impl Tx,
    from: Timestamp,
    to: Timestamp,
    after: (&str, &str),
    limit: i64,
) -> Result<Vec<Ending>> {
    let run = CERTIFICATES.on(tx).bind(from).bind(to).bind(after.0).bind(after.1).bind(limit);
    run.all(|row| {
        Ok(Ending { credential: credentials::read(row)?, environment: Some(row.text()?), at: row.time()? })
    })
    .await
}

/// Credentials whose `expires_on` lies between two moments.
pub async fn credentials_ending(
    tx: &mut impl Tx,
    from: Timestamp,
    to: Timestamp,
    after: &str,
    limit: i64,
) -> Result<Vec<Ending>> {
    let run = EXPIRING.on(tx).bind(from).bind(to).bind(after).bind(limit);
    run.all(|row| {
        let credential = credentials::read(row)?;
        let at = credential.expires_on.unwrap_or(from);
        Ok(Ending { credential, environment: None, at })
    })
    .await
}

/// Values whose certificates nobody has looked at: stored by an older version.
pub async fn unread_certificates(tx: &mut impl Tx, limit: i64) -> Result<Vec<(CredentialId, String)>> {
    UNREAD_CERTIFICATES.on(tx).bind(limit).all(|row| Ok((row.id()?, row.text()?))).await
}

/// `None`: these values hold no certificate.
pub async fn set_certificate(
    tx: &mut WriteTx,
    credential: &CredentialId,
    environment: &str,
    version: i64,
    ends_at: Option<Timestamp>,
) -> Result<bool> {
    let at = ends_at.unwrap_or(Timestamp(0));
    Ok(SET_CERTIFICATE.on(tx).bind(at).bind(credential).bind(environment).bind(version).run().await? == 1)
}
