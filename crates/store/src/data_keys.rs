//! Data keys, wrapped by a root key, and what is sealed under which: for starting and for rotation.

use latchstring_model::Timestamp;
use latchstring_model::entity::Principal;
use latchstring_model::id::{
    AuditKeyId, CredentialId, DataKeyId, EnvironmentId, OAuthClientId, ProjectId, UserId, WebhookId,
};

use crate::error::{Result, StoreError};
use crate::secrets::SecretKind;
use crate::sql::{Columns, statements};
use crate::tx::{Tx, WriteTx};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataKeyRow {
    pub id: DataKeyId,
    pub root_key: String,
    pub wrapped: Vec<u8>,
    /// New values are sealed under the active one.
    pub active: bool,
    pub created_at: Timestamp,
    pub retired_at: Option<Timestamp>,
}

/// A sealed value where it lies, with all that its AAD may name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedRow {
    pub place: SealedPlace,
    pub version: i64,
    pub sealed: Vec<u8>,
    pub data_key: DataKeyId,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SealedPlace {
    Values {
        credential_id: CredentialId,
        owner: Principal,
        environment: String,
    },
    OldValues {
        credential_id: CredentialId,
        owner: Principal,
        environment: String,
    },
    Secret {
        project_id: ProjectId,
        environment_id: EnvironmentId,
        kind: SecretKind,
        name: String,
    },
    Token {
        id: String,
        credential_id: CredentialId,
        environment: String,
    },
    /// `version` is its `sealed_version`.
    OAuthClient {
        id: OAuthClientId,
    },
    /// `version` is its `secret_version`.
    Webhook {
        id: WebhookId,
        project_id: ProjectId,
    },
    /// It has no versions.
    AuditKey {
        id: AuditKeyId,
    },
    /// `version` is its `secret_version`.
    SecondFactor {
        user_id: UserId,
    },
}

statements! {
    LIST = "SELECT id, root_key, wrapped, active, created_at, retired_at FROM data_keys WHERE retired_at IS NULL ORDER BY id";
    CREATE = "INSERT INTO data_keys (id, root_key, wrapped, active, created_at) VALUES ($1, $2, $3, 0, $4)";
    DEACTIVATE = "UPDATE data_keys SET active = 0 WHERE active = 1";
    ACTIVATE = "UPDATE data_keys SET active = 1 WHERE id = $1 AND retired_at IS NULL";
    REWRAP = "UPDATE data_keys SET root_key = $1, wrapped = $2 WHERE id = $3 AND root_key = $4";
    UNDER_ROOT = "SELECT COUNT(*) FROM data_keys WHERE root_key = $1";
    USES = "SELECT (SELECT COUNT(*) FROM credential_values WHERE data_key = $1)
        + (SELECT COUNT(*) FROM credential_versions WHERE data_key = $1)
        + (SELECT COUNT(*) FROM secrets WHERE data_key = $1) + (SELECT COUNT(*) FROM tokens WHERE data_key = $1)
        + (SELECT COUNT(*) FROM oauth_clients WHERE data_key = $1)
        + (SELECT COUNT(*) FROM consents WHERE data_key = $1)
        + (SELECT COUNT(*) FROM webhooks WHERE data_key = $1)
        + (SELECT COUNT(*) FROM audit_keys WHERE data_key = $1)
        + (SELECT COUNT(*) FROM second_factors WHERE data_key = $1)
        + (SELECT COUNT(*) FROM sign_ins WHERE data_key = $1)
        + (SELECT COUNT(*) FROM password_resets WHERE data_key = $1)";
    DELETE = "DELETE FROM data_keys WHERE id = $1 AND active = 0";
    VALUES_UNDER = "SELECT v.credential_id, c.owner_type, c.owner_id, v.environment, v.version, v.sealed, v.data_key
        FROM credential_values v JOIN credentials c ON c.id = v.credential_id
        WHERE v.data_key = $1 ORDER BY v.credential_id, v.environment LIMIT $2";
    VERSIONS_UNDER = "SELECT v.credential_id, c.owner_type, c.owner_id, v.environment, v.version, v.sealed, v.data_key
        FROM credential_versions v JOIN credentials c ON c.id = v.credential_id
        WHERE v.data_key = $1 ORDER BY v.credential_id, v.environment, v.version LIMIT $2";
    SECRETS_UNDER = "SELECT e.project_id, s.environment_id, s.kind, s.name, s.version, s.sealed, s.data_key
        FROM secrets s JOIN environments e ON e.id = s.environment_id
        WHERE s.data_key = $1 ORDER BY s.environment_id, s.kind, s.name LIMIT $2";
    TOKENS_UNDER = "SELECT id, credential_id, environment, version, sealed, data_key FROM tokens
        WHERE data_key = $1 ORDER BY id LIMIT $2";
    CLIENTS_UNDER = "SELECT id, sealed_version, sealed, data_key FROM oauth_clients
        WHERE data_key = $1 ORDER BY id LIMIT $2";
    WEBHOOKS_UNDER = "SELECT id, project_id, secret_version, sealed, data_key FROM webhooks
        WHERE data_key = $1 ORDER BY id LIMIT $2";
    AUDIT_KEYS_UNDER = "SELECT id, sealed, data_key FROM audit_keys WHERE data_key = $1 ORDER BY id LIMIT $2";
    RESEAL_AUDIT_KEY = "UPDATE audit_keys SET sealed = $1, data_key = $2 WHERE data_key = $3 AND CAST($4 AS BIGINT) = 0 AND id = $5";
    FACTORS_UNDER = "SELECT user_id, secret_version, sealed, data_key FROM second_factors
        WHERE data_key = $1 ORDER BY user_id LIMIT $2";
    RESEAL_FACTOR = "UPDATE second_factors SET sealed = $1, data_key = $2
        WHERE data_key = $3 AND secret_version = $4 AND user_id = $5";
    RESEAL_WEBHOOK = "UPDATE webhooks SET sealed = $1, data_key = $2
        WHERE data_key = $3 AND secret_version = $4 AND id = $5";
    RESEAL_VALUES = "UPDATE credential_values SET sealed = $1, data_key = $2
        WHERE data_key = $3 AND version = $4 AND credential_id = $5 AND environment = $6";
    RESEAL_VERSION = "UPDATE credential_versions SET sealed = $1, data_key = $2
        WHERE data_key = $3 AND version = $4 AND credential_id = $5 AND environment = $6";
    RESEAL_SECRET = "UPDATE secrets SET sealed = $1, data_key = $2
        WHERE data_key = $3 AND version = $4 AND environment_id = $5 AND kind = $6 AND name = $7";
    RESEAL_TOKEN = "UPDATE tokens SET sealed = $1, data_key = $2 WHERE data_key = $3 AND version = $4 AND id = $5";
    RESEAL_CLIENT = "UPDATE oauth_clients SET sealed = $1, data_key = $2
        WHERE data_key = $3 AND sealed_version = $4 AND id = $5";
}

fn read(row: &mut Columns<'_>) -> Result<DataKeyRow> {
    Ok(DataKeyRow {
        id: row.id()?,
        root_key: row.text()?,
        wrapped: row.bytes()?,
        active: row.flag()?,
        created_at: row.time()?,
        retired_at: row.time_or()?,
    })
}

fn read_credential(
    row: &mut Columns<'_>,
    place: fn(CredentialId, Principal, String) -> SealedPlace,
) -> Result<SealedRow> {
    let credential_id = row.id()?;
    let owner = match row.text()?.as_str() {
        "user" => Principal::User(row.id()?),
        _ => Principal::Project(row.id()?),
    };
    let place = place(credential_id, owner, row.text()?);
    Ok(SealedRow { place, version: row.int()?, sealed: row.bytes()?, data_key: row.id()? })
}

fn read_secret(row: &mut Columns<'_>) -> Result<SealedRow> {
    let place = SealedPlace::Secret {
        project_id: row.id()?,
        environment_id: row.id()?,
        kind: row.word(SecretKind::parse)?,
        name: row.text()?,
    };
    Ok(SealedRow { place, version: row.int()?, sealed: row.bytes()?, data_key: row.id()? })
}

fn read_token(row: &mut Columns<'_>) -> Result<SealedRow> {
    let place = SealedPlace::Token { id: row.text()?, credential_id: row.id()?, environment: row.text()? };
    Ok(SealedRow { place, version: row.int()?, sealed: row.bytes()?, data_key: row.id()? })
}

fn read_webhook(row: &mut Columns<'_>) -> Result<SealedRow> {
    let place = SealedPlace::Webhook { id: row.id()?, project_id: row.id()? };
    Ok(SealedRow { place, version: row.int()?, sealed: row.bytes()?, data_key: row.id()? })
}

fn read_audit_key(row: &mut Columns<'_>) -> Result<SealedRow> {
    let place = SealedPlace::AuditKey { id: row.id()? };
    Ok(SealedRow { place, version: 0, sealed: row.bytes()?, data_key: row.id()? })
}

fn read_client(row: &mut Columns<'_>) -> Result<SealedRow> {
    let place = SealedPlace::OAuthClient { id: row.id()? };
    Ok(SealedRow { place, version: row.int()?, sealed: row.bytes()?, data_key: row.id()? })
}

fn read_factor(row: &mut Columns<'_>) -> Result<SealedRow> {
    let place = SealedPlace::SecondFactor { user_id: row.id()? };
    Ok(SealedRow { place, version: row.int()?, sealed: row.bytes()?, data_key: row.id()? })
}

/// All that are not retired, oldest first.
pub async fn list(tx: &mut impl Tx) -> Result<Vec<DataKeyRow>> {
    LIST.on(tx).all(read).await
}

/// A new key, not active yet: first every server must have loaded it.
pub async fn create(
    tx: &mut WriteTx,
    id: &DataKeyId,
    root_key: &str,
    wrapped: &[u8],
    now: Timestamp,
) -> Result<()> {
    CREATE.on(tx).bind(id).bind(root_key).bind(wrapped).bind(now).run().await?;
    Ok(())
}

/// Makes it the one that new values are sealed under.
pub async fn activate(tx: &mut WriteTx, id: &DataKeyId) -> Result<()> {
    DEACTIVATE.on(tx).run().await?;
    if ACTIVATE.on(tx).bind(id).run().await? == 1 { Ok(()) } else { Err(StoreError::Moved) }
}

/// Puts it under another root key, if it is still under `from`.
pub async fn rewrap(tx: &mut WriteTx, id: &DataKeyId, from: &str, to: &str, wrapped: &[u8]) -> Result<bool> {
    Ok(REWRAP.on(tx).bind(to).bind(wrapped).bind(id).bind(from).run().await? == 1)
}

/// How many data keys a root key still wraps.
pub async fn count_under_root(tx: &mut impl Tx, root_key: &str) -> Result<i64> {
    UNDER_ROOT.on(tx).bind(root_key).one(|row| row.int()).await
}

/// How many values are sealed under it.
pub async fn uses(tx: &mut impl Tx, id: &DataKeyId) -> Result<i64> {
    USES.on(tx).bind(id).one(|row| row.int()).await
}

/// Forgets a key under which nothing is sealed any more; [`StoreError::StillUsed`] otherwise.
pub async fn delete(tx: &mut WriteTx, id: &DataKeyId) -> Result<()> {
    if uses(tx, id).await? > 0 || DELETE.on(tx).bind(id).run().await? != 1 {
        return Err(StoreError::StillUsed);
    }
    Ok(())
}

/// At most `limit` values (of each kind) that are sealed under a key. Re-sealed ones leave the list.
pub async fn sealed_under(tx: &mut impl Tx, key: &DataKeyId, limit: i64) -> Result<Vec<SealedRow>> {
    let mut rows = VALUES_UNDER
        .on(tx)
        .bind(key)
        .bind(limit)
        .all(|row| {
            read_credential(row, |credential_id, owner, environment| SealedPlace::Values {
                credential_id,
                owner,
                environment,
            })
        })
        .await?;
    let old = VERSIONS_UNDER.on(tx).bind(key).bind(limit).all(|row| {
        read_credential(row, |credential_id, owner, environment| SealedPlace::OldValues {
            credential_id,
            owner,
            environment,
        })
    });
    rows.extend(old.await?);
    rows.extend(SECRETS_UNDER.on(tx).bind(key).bind(limit).all(read_secret).await?);
    rows.extend(TOKENS_UNDER.on(tx).bind(key).bind(limit).all(read_token).await?);
    rows.extend(CLIENTS_UNDER.on(tx).bind(key).bind(limit).all(read_client).await?);
    rows.extend(WEBHOOKS_UNDER.on(tx).bind(key).bind(limit).all(read_webhook).await?);
    rows.extend(AUDIT_KEYS_UNDER.on(tx).bind(key).bind(limit).all(read_audit_key).await?);
    rows.extend(FACTORS_UNDER.on(tx).bind(key).bind(limit).all(read_factor).await?);
    Ok(rows)
}

/// Puts the same plaintext, sealed under another key, in the place of `row`, if that has not changed.
pub async fn reseal(tx: &mut WriteTx, row: &SealedRow, sealed: &[u8], data_key: &DataKeyId) -> Result<bool> {
    let statement = match &row.place {
        SealedPlace::Values { .. } => &RESEAL_VALUES,
        SealedPlace::OldValues { .. } => &RESEAL_VERSION,
        SealedPlace::Secret { .. } => &RESEAL_SECRET,
        SealedPlace::Token { .. } => &RESEAL_TOKEN,
        SealedPlace::OAuthClient { .. } => &RESEAL_CLIENT,
        SealedPlace::Webhook { .. } => &RESEAL_WEBHOOK,
        SealedPlace::AuditKey { .. } => &RESEAL_AUDIT_KEY,
        SealedPlace::SecondFactor { .. } => &RESEAL_FACTOR,
    };
    let run = statement.on(tx).bind(sealed).bind(data_key).bind(&row.data_key).bind(row.version);
    let run = match &row.place {
        SealedPlace::Values { credential_id, environment, .. }
        | SealedPlace::OldValues { credential_id, environment, .. } => {
            run.bind(credential_id).bind(environment)
        }
        SealedPlace::Secret { environment_id, kind, name, .. } => {
            run.bind(environment_id).bind(kind.as_str()).bind(name)
        }
        SealedPlace::Token { id, .. } => run.bind(id),
        SealedPlace::OAuthClient { id } => run.bind(id),
        SealedPlace::Webhook { id, .. } => run.bind(id),
        SealedPlace::AuditKey { id } => run.bind(id),
        SealedPlace::SecondFactor { user_id } => run.bind(user_id),
    };
    Ok(run.run().await? == 1)
}
