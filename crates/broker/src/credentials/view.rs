//! What is shown of a credential, and to whom: values that are not secret to the owner alone, to everybody else
//! who may use it only which fields are set.

use std::collections::{BTreeMap, HashMap};

use latchstring_model::entity::{Principal, Status};
use latchstring_model::id::{CredentialId, ProjectId};
use latchstring_model::problem::Refused;
use latchstring_model::{Code, Timestamp};
use latchstring_store::Tx;
use latchstring_store::consents::{ConsentRow, State};
use latchstring_store::credentials::CredentialRow;
use latchstring_store::heads::{self, Head, ShareHead, TokenHead, ValuesHead};
use latchstring_store::tokens::TokenState;
use latchstring_store::values::{self, ValuesRow};
use serde_json::{Map, Value};

use crate::road::authorise;
use crate::sealing::values_aad;
use crate::{Broker, refusals};

pub struct View {
    pub id: CredentialId,
    pub name: String,
    /// As people name it: `salesforce`, or a project's own id.
    pub connector: String,
    pub connector_uid: String,
    pub auth_method: String,
    pub oauth_client: Option<String>,
    /// Of the connector as its owner approved it.
    pub digest: String,
    pub owner: Principal,
    pub owner_email: Option<String>,
    /// Of the project that owns it.
    pub owner_slug: Option<String>,
    /// The owner's account is active. Without them nobody can use it.
    pub owner_active: bool,
    /// Seen by its owner: alone, or as an owner or admin of the project that owns it.
    pub owned: bool,
    pub note: Option<String>,
    pub acts_as: Option<String>,
    pub disabled: bool,
    pub deletes_at: Option<Timestamp>,
    pub expires_on: Option<Timestamp>,
    pub environments: Vec<(String, EnvironmentView)>,
    /// In the project it was asked for through; else of its only or first share.
    pub slug: Option<String>,
    pub external_id: Option<String>,
    pub shares: Vec<ShareView>,
    pub version: i64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

pub struct EnvironmentView {
    pub status: Status,
    pub version: i64,
    pub verified_at: Option<Timestamp>,
    pub checked_at: Option<Timestamp>,
    pub check_error: Option<String>,
    /// Only for the owner.
    pub fields: Option<Map<String, Value>>,
    pub secret_fields: Vec<String>,
    /// Set before the credential was given to its owner of now, who may use them and not read them.
    pub withheld_fields: Vec<String>,
    /// The earliest end of a certificate in the values.
    pub certificate_ends_at: Option<Timestamp>,
    pub token: Option<TokenView>,
    pub account: Option<String>,
    pub scopes: Option<Vec<String>>,
    /// Only for the owner.
    pub authorization: Option<AuthorizationView>,
    pub destinations: Vec<String>,
}

pub struct TokenView {
    pub expires_at: Option<Timestamp>,
    pub obtained_at: Option<Timestamp>,
    pub grant_expires_at: Option<Timestamp>,
    pub last_error: Option<String>,
    pub failures: i64,
    /// After a failure: nobody asks before.
    pub retry_at: Option<Timestamp>,
}

/// The consent that was begun last, and how it went.
pub struct AuthorizationView {
    pub state: &'static str,
    pub began_at: Timestamp,
    pub expires_at: Timestamp,
    pub ended_at: Option<Timestamp>,
    pub code: Option<String>,
    pub detail: Option<String>,
    pub hint: Option<String>,
}

impl AuthorizationView {
    fn of(row: ConsentRow, now: Timestamp) -> Self {
        let mut view = Self {
            state: row.state.as_str(),
            began_at: row.created_at,
            expires_at: row.expires_at,
            ended_at: None,
            code: None,
            detail: None,
            hint: None,
        };
        match row.ending {
            Some(ending) => {
                view.ended_at = Some(ending.at);
                view.code = Some(ending.outcome).filter(|code| code != "ok");
                view.detail = ending.detail;
                view.hint = ending.hint;
            }
            None if row.expires_at <= now => {
                view.state = State::Failed.as_str();
                view.ended_at = Some(row.expires_at);
                view.code = Some(Code::ConsentExpired.as_str().to_owned());
                view.detail = Some("Nobody finished the sign-in in time; nothing has changed.".into());
                view.hint = Some("Start it again: POST /api/v1/credentials/{id}/authorize.".into());
            }
            None => {}
        }
        view
    }
}

pub struct ShareView {
    pub project: String,
    pub slug: String,
    pub external_id: Option<String>,
    pub suspended: bool,
    /// Project environment → the credential's environment.
    pub grants: BTreeMap<String, String>,
    /// Origins that the project's calls go to; for its admins, who accept new ones.
    pub destinations: Vec<String>,
}

/// Who looks.
#[derive(Clone, Copy)]
pub enum Sight<'a> {
    /// Everything but secret values.
    Owner { with_fields: bool },
    /// Its owner, while owner rights rest: what those see who use it, and whom it is shared with.
    Resting,
    /// A member of this project, which uses it.
    Member { project: &'a ProjectId, admin: bool },
}

fn status_of(disabled: bool, values: &ValuesHead, token: Option<&TokenHead>) -> Status {
    if disabled {
        return Status::Disabled;
    }
    match token.map(|token| token.state) {
        Some(TokenState::NeedsReconnect) => Status::NeedsReconnect,
        _ => values.standing.status,
    }
}

/// Origins that a project's calls go to.
fn origins_of(head: &Head, share: &ShareHead) -> Vec<String> {
    let used = |values: &&ValuesHead| share.grants.values().any(|granted| *granted == values.environment);
    super::destinations::origins(head.values.iter().filter(used).flat_map(|values| &values.pins))
}

fn share_view(head: &Head, share: &ShareHead, sees_origins: bool) -> ShareView {
    ShareView {
        destinations: if sees_origins { origins_of(head, share) } else { Vec::new() },
        project: share.project_slug.clone(),
        slug: share.slug.clone(),
        external_id: share.external_id.clone(),
        suspended: share.suspended,
        grants: share.grants.clone(),
    }
}

/// What is shown of one environment; `fields` are the owner's to see.
fn environment_view(
    row: &CredentialRow,
    head: &Head,
    values: &ValuesHead,
    fields: Option<Map<String, Value>>,
    sight: Sight<'_>,
    now: Timestamp,
) -> EnvironmentView {
    let token = head
        .tokens
        .iter()
        .filter(|token| token.environment == values.environment && token.values_version == values.version)
        .max_by_key(|token| token.updated_at);
    let consents = row.oauth_client_id.is_some() || values.standing.scopes.is_some();
    let authorization = match sight {
        Sight::Owner { .. } if consents => {
            head.consents.iter().find(|consent| consent.environment == values.environment)
        }
        _ => None,
    };
    EnvironmentView {
        authorization: authorization.cloned().map(|row| AuthorizationView::of(row, now)),
        status: status_of(row.disabled || row.deletes_at.is_some(), values, token),
        version: values.version,
        verified_at: values.standing.verified_at,
        checked_at: values.standing.checked_at,
        check_error: values.standing.check_error.clone(),
        fields,
        secret_fields: values.secret_fields.clone(),
        withheld_fields: values.withheld.clone(),
        certificate_ends_at: values.certificate_ends_at,
        token: token.filter(|token| token.state != TokenState::Empty || token.last_error.is_some()).map(
            |token| TokenView {
                expires_at: token.expires_at,
                obtained_at: token.obtained_at,
                grant_expires_at: token.grant_expires_at,
                last_error: token.last_error.clone(),
                failures: token.failures,
                retry_at: token.retry_at,
            },
        ),
        account: values.standing.account.clone(),
        scopes: values.standing.scopes.clone(),
        destinations: match sight {
            Sight::Owner { .. } => super::destinations::shown_pins(&values.pins, &values.withheld),
            Sight::Resting | Sight::Member { .. } => Vec::new(),
        },
    }
}

impl Broker {
    pub(crate) async fn credential_view(
        &self,
        tx: &mut impl Tx,
        row: CredentialRow,
        sight: Sight<'_>,
    ) -> Refused<View> {
        let mut views = self.credential_views(tx, vec![(row, sight)]).await?;
        views.pop().ok_or_else(|| refusals::internal(&"a credential without a view"))
    }

    /// Views of many, in their order: as many statements as for one.
    pub(crate) async fn credential_views(
        &self,
        tx: &mut impl Tx,
        seen: Vec<(CredentialRow, Sight<'_>)>,
    ) -> Refused<Vec<View>> {
        let rows: Vec<&CredentialRow> = seen.iter().map(|(row, _)| row).collect();
        let own = seen.iter().any(|(_, sight)| matches!(sight, Sight::Owner { .. }));
        let mut heads = heads::of_all(tx, &rows, own).await.map_err(refusals::store)?;
        let mut views = Vec::with_capacity(seen.len());
        for (row, sight) in seen {
            let head = heads.remove(&row.id).unwrap_or_default();
            let mut fields = HashMap::new();
            if let Sight::Owner { with_fields: true } = sight {
                for values in values::list(tx, &row).await.map_err(refusals::store)? {
                    let opened = self.open_fields(&row, &values)?;
                    fields.insert(values.environment, opened);
                }
            }
            views.push(self.view_of(row, &head, fields, sight));
        }
        Ok(views)
    }

    fn view_of(
        &self,
        row: CredentialRow,
        head: &Head,
        mut fields: HashMap<String, Map<String, Value>>,
        sight: Sight<'_>,
    ) -> View {
        let shown: Vec<&ShareHead> = match sight {
            Sight::Owner { .. } | Sight::Resting => head.shares.iter().collect(),
            // Others learn nothing of the projects that they are not in.
            Sight::Member { project, .. } => {
                head.shares.iter().filter(|share| share.project_id == *project).collect()
            }
        };
        let sees_origins = !matches!(sight, Sight::Resting | Sight::Member { admin: false, .. });
        let now = self.now();
        let environments = head
            .values
            .iter()
            .map(|values| {
                let fields = fields.remove(&values.environment);
                let view = environment_view(&row, head, values, fields, sight, now);
                (values.environment.clone(), view)
            })
            .collect();
        let connector = row.connector.rsplit('/').next().unwrap_or(&row.connector).to_owned();
        View {
            oauth_client: row.oauth_client_id.as_ref().map(ToString::to_string),
            slug: shown.first().map(|share| share.slug.clone()),
            external_id: shown.first().and_then(|share| share.external_id.clone()),
            shares: shown.into_iter().map(|share| share_view(head, share, sees_origins)).collect(),
            environments,
            connector,
            digest: row.digest,
            connector_uid: row.connector,
            auth_method: row.auth_method,
            owner: row.owner,
            owner_email: head.owner_email.clone(),
            owner_slug: head.owner_slug.clone(),
            owner_active: head.owner_active,
            owned: matches!(sight, Sight::Owner { .. } | Sight::Resting),
            note: row.note,
            acts_as: row.acts_as,
            disabled: row.disabled,
            deletes_at: row.deletes_at,
            expires_on: row.expires_on,
            version: row.version,
            created_at: row.created_at,
            updated_at: row.updated_at,
            id: row.id,
            name: row.name,
        }
    }

    /// The fields that are not secret, for the owner.
    pub(crate) fn open_fields(&self, row: &CredentialRow, values: &ValuesRow) -> Refused<Map<String, Value>> {
        let mut opened = self.open_values(row, values)?;
        opened.retain(|name, _| !values.secret_fields.contains(name) && !values.withheld.contains(name));
        Ok(opened)
    }

    /// All values, for work that their owner asked for.
    pub(crate) fn open_values(&self, row: &CredentialRow, values: &ValuesRow) -> Refused<Map<String, Value>> {
        let aad = values_aad(&row.id, &row.owner, &values.environment, values.version);
        self.open_json(&authorise::owner_opens(), &aad, &values.sealed)
    }
}
