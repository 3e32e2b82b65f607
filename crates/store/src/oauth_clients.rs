//! OAuth clients: our registrations with providers, which projects may use them, and what uses them.
//!
//! Superusers have them all ([`by_id`], [`list`]); everybody else has them through a project ([`for_member`],
//! [`list_of_member`], [`available`]).

use std::collections::BTreeMap;

use latchstring_model::Timestamp;
use latchstring_model::entity::Principal;
use latchstring_model::id::{CredentialId, DataKeyId, OAuthClientId, ProjectId, UserId};
use serde::{Deserialize, Serialize};

use crate::credentials::{self, CredentialRow};
use crate::error::{Result, StoreError};
use crate::page::{Page, Paging};
use crate::sql::{Columns, Run, fold, json, statements};
use crate::tx::{Tx, WriteTx};

/// Where an endpoint's address comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndpointFrom {
    /// A superuser wrote it.
    Request,
    /// The issuer's discovery document.
    Issuer,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointRow {
    pub url: String,
    pub from: EndpointFrom,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OAuthClientRow {
    pub id: OAuthClientId,
    pub name: String,
    /// Whom people ask about it.
    pub owner_id: UserId,
    /// uid; `None`: it serves `http`, within its own hosts.
    pub connector: Option<String>,
    /// Of a project's connector, as a superuser accepted it.
    pub connector_digest: Option<String>,
    /// `None`: a draft.
    pub client_id: Option<String>,
    pub client_auth: String,
    pub sealed: Option<(Vec<u8>, DataKeyId)>,
    /// How often its secrets were sealed anew with other contents.
    pub sealed_version: i64,
    /// What is in `sealed`.
    pub secret_fields: Vec<String>,
    pub key_algorithm: Option<String>,
    pub key_id: Option<String>,
    /// A JWK.
    pub public_key: Option<serde_json::Value>,
    /// PEM, of a client that proves itself by mutual TLS.
    pub certificate: Option<String>,
    /// Thumbprint of the DPoP key, where its tokens are bound to one.
    pub dpop_jkt: Option<String>,
    /// RFC 8707.
    pub resource: Vec<String>,
    pub issuer: Option<String>,
    pub issuer_in_callback: bool,
    /// By name: `token_endpoint`, …
    pub endpoints: BTreeMap<String, EndpointRow>,
    pub mandatory_scopes: Vec<String>,
    pub optional_scopes: Vec<String>,
    pub scopes_doc_url: Option<String>,
    pub authorize_params: BTreeMap<String, String>,
    pub hosts: Vec<String>,
    pub pkce: bool,
    /// For all projects.
    pub global: bool,
    /// Of what grants are bound to.
    pub digest: String,
    pub version: i64,
    pub created_by: String,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// A credential that uses a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsedBy {
    pub id: CredentialId,
    pub name: String,
    pub owner: Principal,
    /// The e-mail address of a person, the slug of a project.
    pub owner_name: String,
}

macro_rules! columns {
    () => {
        "o.id, o.name, o.owner_id, o.connector, o.connector_digest, o.client_id, o.client_auth, o.sealed, o.data_key,
         o.sealed_version, o.secret_fields, o.key_algorithm, o.key_id, o.public_key, o.issuer, o.issuer_in_callback,
         o.endpoints, o.mandatory_scopes, o.optional_scopes, o.scopes_doc_url, o.authorize_params, o.hosts, o.pkce,
         o.is_global, o.digest, o.certificate, o.dpop_jkt, o.resource, o.version, o.created_by, o.created_at,
         o.updated_at"
    };
}

/// `$2` is a person who looks. A global client is everybody's.
macro_rules! of_member {
    () => {
        "(EXISTS (SELECT 1 FROM members m JOIN oauth_client_projects a ON a.project_id = m.project_id
              WHERE m.user_id = $2 AND a.client_id = o.id)
          OR (o.is_global = 1 AND EXISTS (SELECT 1 FROM users u WHERE u.id = $2 AND u.active = 1)))"
    };
}

macro_rules! used {
    () => {
        "SELECT c.id, c.name, c.owner_type, c.owner_id, COALESCE(u.email, p.slug, c.owner_id)
         FROM credentials c
         LEFT JOIN users u ON c.owner_type = 'user' AND u.id = c.owner_id
         LEFT JOIN projects p ON c.owner_type = 'project' AND p.id = c.owner_id"
    };
}

statements! {
    CREATE = "INSERT INTO oauth_clients (name, name_folded, owner_id, connector, connector_digest, client_id,
        client_auth, sealed, data_key, sealed_version, secret_fields, key_algorithm, key_id, public_key, issuer,
        issuer_in_callback, endpoints, mandatory_scopes, optional_scopes, scopes_doc_url, authorize_params, hosts,
        pkce, is_global, digest, certificate, dpop_jkt, resource, id, version, created_by, created_at, updated_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22,
        $23, $24, $25, $26, $27, $28, $29, 1, $30, $31, $31)";
    BY_ID = concat!("SELECT ", columns!(), " FROM oauth_clients o WHERE o.id = $1");
    FOR_MEMBER = concat!("SELECT ", columns!(), " FROM oauth_clients o WHERE o.id = $1 AND ", of_member!());
    LIST = concat!("SELECT ", columns!(), " FROM oauth_clients o WHERE o.id > $1
        AND (CAST($2 AS TEXT) IS NULL OR o.is_global = 1
             OR EXISTS (SELECT 1 FROM oauth_client_projects a WHERE a.client_id = o.id AND a.project_id = $2))
        ORDER BY o.id LIMIT $3");
    LIST_OF_MEMBER = concat!("SELECT ", columns!(), " FROM oauth_clients o WHERE o.id > $1 AND ", of_member!(), "
        ORDER BY o.id LIMIT $3");
    OFFERED = "SELECT o.id, o.name, o.connector FROM oauth_clients o WHERE o.client_id IS NOT NULL
        AND (o.is_global = 1
             OR EXISTS (SELECT 1 FROM oauth_client_projects a WHERE a.client_id = o.id AND a.project_id = $1))
        ORDER BY o.id";
    OFFERED_TO_MEMBER = concat!("SELECT o.id, o.name, o.connector FROM oauth_clients o
        WHERE o.client_id IS NOT NULL AND o.id > $1 AND ", of_member!(), " ORDER BY o.id");
    AVAILABLE = "SELECT o.id FROM oauth_clients o WHERE o.id = $1
        AND (o.is_global = 1
             OR EXISTS (SELECT 1 FROM oauth_client_projects a WHERE a.client_id = o.id AND a.project_id = $2))";
    PROJECTS = "SELECT a.project_id, p.slug FROM oauth_client_projects a JOIN projects p ON p.id = a.project_id
        WHERE a.client_id = $1 ORDER BY p.slug";
    ADD_PROJECT = "INSERT INTO oauth_client_projects (client_id, project_id) VALUES ($1, $2)";
    DROP_PROJECTS = "DELETE FROM oauth_client_projects WHERE client_id = $1";
    UPDATE = "UPDATE oauth_clients SET name = $1, name_folded = $2, owner_id = $3, connector = $4,
        connector_digest = $5, client_id = $6, client_auth = $7, sealed = $8, data_key = $9, sealed_version = $10,
        secret_fields = $11, key_algorithm = $12, key_id = $13, public_key = $14, issuer = $15,
        issuer_in_callback = $16, endpoints = $17, mandatory_scopes = $18, optional_scopes = $19,
        scopes_doc_url = $20, authorize_params = $21, hosts = $22, pkce = $23, is_global = $24, digest = $25,
        certificate = $26, dpop_jkt = $27, resource = $28, version = version + 1, updated_at = $29
        WHERE id = $30 AND version = $31";
    COUNT = "SELECT COUNT(*) FROM oauth_clients";
    USED_BY = concat!(used!(), " WHERE c.oauth_client_id = $1 ORDER BY c.id LIMIT $2");
    COUNT_USES = "SELECT COUNT(*) FROM credentials WHERE oauth_client_id = $1";
    USED_OUTSIDE = concat!(used!(), " WHERE c.oauth_client_id = $1
        AND (EXISTS (SELECT 1 FROM shares s WHERE s.credential_id = c.id AND NOT EXISTS
                 (SELECT 1 FROM oauth_client_projects a WHERE a.client_id = $1 AND a.project_id = s.project_id))
             OR (c.owner_type = 'project' AND NOT EXISTS
                 (SELECT 1 FROM oauth_client_projects a WHERE a.client_id = $1 AND a.project_id = c.owner_id)))
        ORDER BY c.id LIMIT $2");
    GRANTED = "SELECT DISTINCT c.id FROM credentials c WHERE c.oauth_client_id = $1
        AND (EXISTS (SELECT 1 FROM tokens t WHERE t.credential_id = c.id AND t.state = 'live')
             OR EXISTS (SELECT 1 FROM credential_values v WHERE v.credential_id = c.id
                 AND v.status NOT IN ('needs_authorization', 'needs_reconnect')))
        ORDER BY c.id";
    END_TOKENS = "UPDATE tokens SET state = 'needs_reconnect', retry_at = NULL, last_error = $1, updated_at = $2
        WHERE state = 'live' AND credential_id IN (SELECT c.id FROM credentials c WHERE c.oauth_client_id = $3)";
    END_TOKENS_OF = "UPDATE tokens SET state = 'needs_reconnect', retry_at = NULL, last_error = $1, updated_at = $2
        WHERE state = 'live' AND credential_id = $3";
    END_VALUES_OF = "UPDATE credential_values SET status = 'needs_reconnect', check_error = $1
        WHERE status NOT IN ('needs_authorization', 'needs_reconnect') AND credential_id = $2";
    END_VALUES = "UPDATE credential_values SET status = 'needs_reconnect', check_error = $1
        WHERE status NOT IN ('needs_authorization', 'needs_reconnect')
        AND credential_id IN (SELECT c.id FROM credentials c WHERE c.oauth_client_id = $2)";
    DELETE = "DELETE FROM oauth_clients WHERE id = $1 AND version = $2";
}

fn read(row: &mut Columns<'_>) -> Result<OAuthClientRow> {
    Ok(OAuthClientRow {
        id: row.id()?,
        name: row.text()?,
        owner_id: row.id()?,
        connector: row.text_or()?,
        connector_digest: row.text_or()?,
        client_id: row.text_or()?,
        client_auth: row.text()?,
        sealed: match (row.bytes_or()?, row.id_or()?) {
            (Some(sealed), Some(key)) => Some((sealed, key)),
            _ => None,
        },
        sealed_version: row.int()?,
        secret_fields: row.json()?,
        key_algorithm: row.text_or()?,
        key_id: row.text_or()?,
        public_key: row.json_or()?,
        issuer: row.text_or()?,
        issuer_in_callback: row.flag()?,
        endpoints: row.json()?,
        mandatory_scopes: row.json()?,
        optional_scopes: row.json()?,
        scopes_doc_url: row.text_or()?,
        authorize_params: row.json()?,
        hosts: row.json()?,
        pkce: row.flag()?,
        global: row.flag()?,
        digest: row.text()?,
        certificate: row.text_or()?,
        dpop_jkt: row.text_or()?,
        resource: row.json()?,
        version: row.int()?,
        created_by: row.text()?,
        created_at: row.time()?,
        updated_at: row.time()?,
    })
}

fn read_used(row: &mut Columns<'_>) -> Result<UsedBy> {
    Ok(UsedBy {
        id: row.id()?,
        name: row.text()?,
        owner: match row.text()?.as_str() {
            "user" => Principal::User(row.id()?),
            _ => Principal::Project(row.id()?),
        },
        owner_name: row.text()?,
    })
}

/// What a row says beside its id and its history, from `$1` on.
fn fields<'a>(run: Run<'a>, row: &OAuthClientRow) -> Result<Run<'a>> {
    let (sealed, key) = row.sealed.as_ref().map_or((None, None), |(sealed, key)| (Some(sealed), Some(key)));
    Ok(run
        .bind(&row.name)
        .bind(fold(&row.name))
        .bind(&row.owner_id)
        .bind(row.connector.as_ref())
        .bind(row.connector_digest.as_ref())
        .bind(row.client_id.as_ref())
        .bind(&row.client_auth)
        .bind(sealed)
        .bind(key)
        .bind(row.sealed_version)
        .bind(json(&row.secret_fields)?)
        .bind(row.key_algorithm.as_ref())
        .bind(row.key_id.as_ref())
        .bind(row.public_key.as_ref())
        .bind(row.issuer.as_ref())
        .bind(row.issuer_in_callback)
        .bind(json(&row.endpoints)?)
        .bind(json(&row.mandatory_scopes)?)
        .bind(json(&row.optional_scopes)?)
        .bind(row.scopes_doc_url.as_ref())
        .bind(json(&row.authorize_params)?)
        .bind(json(&row.hosts)?)
        .bind(row.pkce)
        .bind(row.global)
        .bind(&row.digest)
        .bind(row.certificate.as_ref())
        .bind(row.dpop_jkt.as_ref())
        .bind(json(&row.resource)?))
}

/// `version` and `updated_at` of the row are not looked at: a new one begins with 1 and `created_at`.
pub async fn create(tx: &mut WriteTx, row: &OAuthClientRow) -> Result<()> {
    fields(CREATE.on(tx), row)?.bind(&row.id).bind(&row.created_by).bind(row.created_at).run().await?;
    Ok(())
}

/// Writes everything of a loaded row but its id and who made it when. The new version.
pub async fn update(tx: &mut WriteTx, row: &OAuthClientRow, now: Timestamp) -> Result<i64> {
    let changed = fields(UPDATE.on(tx), row)?.bind(now).bind(&row.id).bind(row.version).run().await?;
    if changed == 1 { Ok(row.version + 1) } else { Err(StoreError::Moved) }
}

/// Whoever asks: for superusers, and for credentials that name it. People come in through [`for_member`].
pub async fn by_id(tx: &mut impl Tx, id: &OAuthClientId) -> Result<Option<OAuthClientRow>> {
    BY_ID.on(tx).bind(id).optional(read).await
}

pub async fn count(tx: &mut impl Tx) -> Result<i64> {
    COUNT.on(tx).one(|row| row.int()).await
}

/// If it is global, or for a project that this person is a member of.
pub async fn for_member(
    tx: &mut impl Tx,
    user: &UserId,
    id: &OAuthClientId,
) -> Result<Option<OAuthClientRow>> {
    FOR_MEMBER.on(tx).bind(id).bind(user).optional(read).await
}

/// All, or those that a project may use: for superusers and, with a project, for its members. Oldest first.
pub async fn list(
    tx: &mut impl Tx,
    project: Option<&ProjectId>,
    paging: &Paging,
) -> Result<Page<OAuthClientRow>> {
    let rows = LIST.on(tx).bind(paging.after()).bind(project).bind(paging.fetch()).all(read).await?;
    paging.page(rows, |row| row.id.to_string())
}

/// Those that a person may use in any project.
pub async fn list_of_member(
    tx: &mut impl Tx,
    user: &UserId,
    paging: &Paging,
) -> Result<Page<OAuthClientRow>> {
    let rows = LIST_OF_MEMBER.on(tx).bind(paging.after()).bind(user).bind(paging.fetch()).all(read).await?;
    paging.page(rows, |row| row.id.to_string())
}

/// A client that can be named, for a list to choose from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offered {
    pub id: OAuthClientId,
    pub name: String,
    /// uid; `None`: it serves `http`.
    pub connector: Option<String>,
}

fn read_offered(row: &mut Columns<'_>) -> Result<Offered> {
    Ok(Offered { id: row.id()?, name: row.text()?, connector: row.text_or()? })
}

/// Those that a project may use and that are no drafts.
pub async fn offered(tx: &mut impl Tx, project: &ProjectId) -> Result<Vec<Offered>> {
    OFFERED.on(tx).bind(project).all(read_offered).await
}

/// The same of all projects of a person.
pub async fn offered_to_member(tx: &mut impl Tx, user: &UserId) -> Result<Vec<Offered>> {
    OFFERED_TO_MEMBER.on(tx).bind("").bind(user).all(read_offered).await
}

/// Whether a project may use it.
pub async fn available(tx: &mut impl Tx, id: &OAuthClientId, project: &ProjectId) -> Result<bool> {
    Ok(AVAILABLE.on(tx).bind(id).bind(project).optional(|row| row.text()).await?.is_some())
}

/// The projects that it names, by slug.
pub async fn projects(tx: &mut impl Tx, id: &OAuthClientId) -> Result<Vec<(ProjectId, String)>> {
    PROJECTS.on(tx).bind(id).all(|row| Ok((row.id()?, row.text()?))).await
}

/// Names other projects. [`StoreError::ReferenceGone`] when one does not exist.
pub async fn replace_projects(tx: &mut WriteTx, id: &OAuthClientId, projects: &[ProjectId]) -> Result<()> {
    DROP_PROJECTS.on(tx).bind(id).run().await?;
    for project in projects {
        ADD_PROJECT.on(tx).bind(id).bind(project).run().await?;
    }
    Ok(())
}

/// Credentials that use it, oldest first; those that are going to be deleted too, for they can be restored.
pub async fn used_by(tx: &mut impl Tx, id: &OAuthClientId, limit: i64) -> Result<Vec<UsedBy>> {
    USED_BY.on(tx).bind(id).bind(limit).all(read_used).await
}

pub async fn count_uses(tx: &mut impl Tx, id: &OAuthClientId) -> Result<i64> {
    COUNT_USES.on(tx).bind(id).one(|row| row.int()).await
}

/// Credentials that use it in a project, or for one, that it does not name.
pub async fn used_outside(tx: &mut impl Tx, id: &OAuthClientId, limit: i64) -> Result<Vec<UsedBy>> {
    USED_OUTSIDE.on(tx).bind(id).bind(limit).all(read_used).await
}

/// Credentials whose owners have consented through it. Raise their scopes before [`end_grants`].
pub async fn granted(tx: &mut impl Tx, id: &OAuthClientId) -> Result<Vec<CredentialId>> {
    GRANTED.on(tx).bind(id).all(|row| row.id()).await
}

/// Marks every grant that was given through it as dead; the sealed tokens stay until new ones stand in their
/// place. `reason` is shown to the owners.
pub async fn end_grants(tx: &mut WriteTx, id: &OAuthClientId, reason: &str, now: Timestamp) -> Result<()> {
    END_TOKENS.on(tx).bind(reason).bind(now).bind(id).run().await?;
    END_VALUES.on(tx).bind(reason).bind(id).run().await?;
    credentials::restate_of_client(tx, id).await
}

/// The same for one credential, whose owner has chosen another client. Its scope is raised.
pub async fn end_grants_of(
    tx: &mut WriteTx,
    credential: &CredentialRow,
    reason: &str,
    now: Timestamp,
) -> Result<()> {
    END_TOKENS_OF.on(tx).bind(reason).bind(now).bind(&credential.id).run().await?;
    END_VALUES_OF.on(tx).bind(reason).bind(&credential.id).run().await?;
    credentials::restate(tx, &credential.id).await
}

/// [`StoreError::StillUsed`] while credentials name it, [`StoreError::Moved`] when it is another version.
pub async fn delete(tx: &mut WriteTx, row: &OAuthClientRow) -> Result<()> {
    if count_uses(tx, &row.id).await? > 0 {
        return Err(StoreError::StillUsed);
    }
    DROP_PROJECTS.on(tx).bind(&row.id).run().await?;
    if DELETE.on(tx).bind(&row.id).bind(row.version).run().await? == 1 {
        Ok(())
    } else {
        Err(StoreError::Moved)
    }
}
