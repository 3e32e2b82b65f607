//! `/api/v1/credentials`.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::IntoResponse;
use latchstring_broker::consent::BroughtGrant;
use latchstring_broker::credentials::read::Wanted;
use latchstring_broker::credentials::view::{AuthorizationView, EnvironmentView, ShareView, TokenView, View};
use latchstring_broker::credentials::{self as broker, NewCredential, Verify};
use latchstring_broker::people::Paging;
use latchstring_model::entity::{Principal, Status};
use latchstring_model::{Code, Problem, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::App;
use crate::extract::actor::Acting;
use crate::extract::body::Body;
use crate::extract::page::{Listed, Page};
use crate::extract::path::{Asked, Named};
use crate::extract::precondition::etag;
use crate::extract::secret::Secret;
use crate::extract::time::Time;
use crate::problem::{ApiResult, Refusals};

pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list_credentials, create_credential)).routes(routes!(get_credential))
}

/// Who owns a credential: a person or a project.
#[derive(Serialize, ToSchema)]
pub struct Owner {
    /// `user` or `project`.
    #[serde(rename = "type")]
    kind: &'static str,
    id: String,
    /// Of a person.
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<String>,
    /// Of a project: all of its owners and admins may edit the credential.
    #[serde(skip_serializing_if = "Option::is_none")]
    slug: Option<String>,
    /// False when the person's account is not active: then nobody can use what they own.
    active: bool,
}

/// What the method obtained and keeps alive.
#[derive(Serialize, ToSchema)]
pub struct Token {
    /// Null when its end is not known.
    expires_at: Option<Time>,
    obtained_at: Option<Time>,
    /// When the consent itself ends, where that is known.
    grant_expires_at: Option<Time>,
    /// In plain words, with the provider's own beside, masked. Null after a success.
    last_error: Option<String>,
    /// Failures in a row.
    failures: i64,
    /// After a failure: not tried again before.
    retry_at: Option<Time>,
}

impl From<TokenView> for Token {
    fn from(token: TokenView) -> Self {
        Self {
            expires_at: token.expires_at.map(Time::from),
            obtained_at: token.obtained_at.map(Time::from),
            grant_expires_at: token.grant_expires_at.map(Time::from),
            last_error: token.last_error,
            failures: token.failures,
            retry_at: token.retry_at.map(Time::from),
        }
    }
}

/// A consent under way, or how it ended.
#[derive(Serialize, ToSchema)]
pub struct Authorization {
    /// `begun`, `at_provider`, `exchanging`, `done` or `failed`.
    state: &'static str,
    began_at: Time,
    expires_at: Time,
    ended_at: Option<Time>,
    /// Why not: `consent_denied`, `consent_expired`, `consent_incomplete`, `verification_failed`, …
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

impl From<AuthorizationView> for Authorization {
    fn from(view: AuthorizationView) -> Self {
        Self {
            state: view.state,
            began_at: view.began_at.into(),
            expires_at: view.expires_at.into(),
            ended_at: view.ended_at.map(Time::from),
            code: view.code,
            detail: view.detail,
            hint: view.hint,
        }
    }
}

/// One set of values of a credential.
#[derive(Serialize, ToSchema)]
pub struct Environment {
    /// `verified`, `unverified`, `failing`, `needs_authorization`, `needs_reconnect` or `disabled`.
    status: &'static str,
    /// Counts changes of the values, from 1.
    version: i64,
    verified_at: Option<Time>,
    checked_at: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    check_error: Option<String>,
    /// The values that are not secret; only for the owner, and not in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    fields: Option<Map<String, Value>>,
    /// Names of the secret fields that are set.
    secret_fields: Vec<String>,
    /// Names of fields that were set before the credential was given to its owner of now, who reads them once they set
    /// them anew.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    withheld_fields: Vec<String>,
    /// When the first of the certificates in the values ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate_expires_at: Option<Time>,
    token: Option<Token>,
    /// Who signed in, or whom the API says that this is.
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<String>,
    /// What was granted.
    #[serde(skip_serializing_if = "Option::is_none")]
    scopes: Option<Vec<String>>,
    /// How the last consent went or stands; for the owner, for a day.
    #[serde(skip_serializing_if = "Option::is_none")]
    authorization: Option<Authorization>,
    /// Where the values may be sent; only for the owner.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    destinations: Vec<String>,
}

impl From<EnvironmentView> for Environment {
    fn from(view: EnvironmentView) -> Self {
        Self {
            status: view.status.as_str(),
            version: view.version,
            verified_at: view.verified_at.map(Time::from),
            checked_at: view.checked_at.map(Time::from),
            check_error: view.check_error,
            fields: view.fields,
            secret_fields: view.secret_fields,
            withheld_fields: view.withheld_fields,
            certificate_expires_at: view.certificate_ends_at.map(Time::from),
            token: view.token.map(Token::from),
            account: view.account,
            scopes: view.scopes,
            authorization: view.authorization.map(Authorization::from),
            destinations: view.destinations,
        }
    }
}

/// A project that may use the credential.
#[derive(Serialize, ToSchema)]
pub struct Share {
    project: String,
    slug: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    external_id: Option<String>,
    /// A new destination waits until a project admin accepts it.
    suspended: bool,
    /// Project environment → the credential's environment whose values it may use.
    grants: BTreeMap<String, String>,
    /// Origins that the project's calls go to; for the owner and the project's admins.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    destinations: Vec<String>,
}

impl From<ShareView> for Share {
    fn from(view: ShareView) -> Self {
        Self {
            project: view.project,
            slug: view.slug,
            external_id: view.external_id,
            suspended: view.suspended,
            grants: view.grants,
            destinations: view.destinations,
        }
    }
}

/// One owner's values for one auth method of one connector, per environment.
#[derive(Serialize, ToSchema)]
pub struct Credential {
    #[schema(example = "crd_01k9x0000000000000000000zz")]
    id: String,
    name: String,
    connector: String,
    /// `builtin/<id>` or `<project>/<id>`.
    connector_uid: String,
    auth_method: String,
    /// Our registration with the provider, for methods that need consent.
    oauth_client: Option<String>,
    owner: Owner,
    note: Option<String>,
    /// Whom changes at the other side are made as, such as the name of an integration user.
    acts_as: Option<String>,
    disabled: bool,
    /// Set while it is scheduled for deletion.
    deletes_at: Option<Time>,
    expires_on: Option<Time>,
    environments: BTreeMap<String, Environment>,
    slug: Option<String>,
    external_id: Option<String>,
    shares: Vec<Share>,
    created_at: Time,
    updated_at: Time,
}

impl From<View> for Credential {
    fn from(view: View) -> Self {
        let (kind, id) = match &view.owner {
            Principal::User(id) => ("user", id.to_string()),
            Principal::Project(id) => ("project", id.to_string()),
        };
        Self {
            id: view.id.to_string(),
            name: view.name,
            connector: view.connector,
            connector_uid: view.connector_uid,
            auth_method: view.auth_method,
            oauth_client: view.oauth_client,
            owner: Owner {
                kind,
                id,
                email: view.owner_email,
                slug: view.owner_slug,
                active: view.owner_active,
            },
            note: view.note,
            acts_as: view.acts_as,
            disabled: view.disabled,
            deletes_at: view.deletes_at.map(Time::from),
            expires_on: view.expires_on.map(Time::from),
            environments: view
                .environments
                .into_iter()
                .map(|(name, environment)| (name, environment.into()))
                .collect(),
            slug: view.slug,
            external_id: view.external_id,
            shares: view.shares.into_iter().map(Share::from).collect(),
            created_at: view.created_at.into(),
            updated_at: view.updated_at.into(),
        }
    }
}

#[derive(Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Filter {
    /// Slug or id: what is shared with that project. Without it, my own.
    project: Option<String>,
    /// A connector's id.
    connector: Option<String>,
    /// `verified`, `unverified`, `failing`, `needs_authorization`, `needs_reconnect` or `disabled`.
    status: Option<String>,
    /// A part of the name, in any case.
    q: Option<String>,
    /// Only this owner's: an e-mail address, an id, or a project's slug. Without `project`: what a project of mine owns,
    /// where I may edit it.
    owner: Option<String>,
    /// Items on the page, 1 to 200 (default 50).
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Credentials: my own, or those that are shared with a project of mine.
#[utoipa::path(get, path = "/api/v1/credentials", tag = "Credentials", params(Filter), responses((status = 200, body = Listed<Credential>), Refusals))]
async fn list_credentials(
    State(app): State<App>,
    Acting(actor): Acting,
    Asked(filter): Asked<Filter>,
) -> ApiResult<Json<Listed<Credential>>> {
    let page = Page { limit: filter.limit, cursor: filter.cursor };
    let status = match filter.status.as_deref() {
        None => None,
        Some(text) => Some(Status::parse(text).ok_or_else(|| {
            let words: Vec<&str> = Status::ALL.iter().map(|status| status.as_str()).collect();
            Problem::new(Code::Invalid, format!("`status` is one of {}.", words.join(", ")))
                .hint("Ask with one of these, or leave `status` out to see them all.")
        })?),
    };
    let wanted = Wanted {
        project: filter.project,
        connector: filter.connector,
        status,
        q: filter.q,
        owner: filter.owner,
    };
    let paging = Paging::new(page.cursor.clone(), Some(page.limit()?));
    let page = app.broker().credentials(&actor, &wanted, &paging).await?;
    Ok(Json(Listed {
        items: page.items.into_iter().map(Credential::from).collect(),
        next_cursor: page.next_cursor,
    }))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ShareWith {
    /// Slug or id of a project in which you are at least editor.
    project: String,
    /// Made from the credential's name when missing.
    slug: Option<String>,
    /// Project environment → the credential's environment. No grant, no use.
    #[serde(default)]
    grants: BTreeMap<String, String>,
}

impl From<ShareWith> for broker::ShareInput {
    fn from(share: ShareWith) -> Self {
        Self { project: share.project, slug: share.slug, grants: share.grants }
    }
}

#[derive(Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum HowToVerify {
    /// A dry request first; what is refused is not saved.
    #[default]
    Required,
    /// Saved as `unverified`.
    Skip,
}

impl From<HowToVerify> for Verify {
    fn from(how: HowToVerify) -> Self {
        match how {
            HowToVerify::Required => Verify::Required,
            HowToVerify::Skip => Verify::Skip,
        }
    }
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateCredential {
    /// One line of 1 to 200 characters.
    name: String,
    /// A connector's id, such as `salesforce` or `http`.
    connector: String,
    /// One of the connector's auth methods.
    auth_method: String,
    /// Slug or id: the project owns it, and its owners and admins may edit it. A person's own when missing.
    owner_project: Option<String>,
    /// Chooses this credential by data; unique in a project.
    external_id: Option<String>,
    /// For methods that need consent.
    oauth_client: Option<String>,
    /// At most 4,000 characters.
    note: Option<String>,
    /// Whom changes at the other side are made as, such as the name of an integration user; one line of at most 200
    /// characters, shown beside every call in the audit trail.
    acts_as: Option<String>,
    /// When the credential itself ends at its provider.
    expires_on: Option<Time>,
    /// By the credential's own environments: the fields of the auth method.
    #[schema(value_type = Object)]
    #[serde(deserialize_with = "null_is_default")]
    values: BTreeMap<String, Map<String, Value>>,
    #[serde(default, deserialize_with = "null_is_default")]
    shares: Vec<ShareWith>,
    #[serde(default, deserialize_with = "null_is_default")]
    verify: HowToVerify,
    /// For methods that need consent, by environment: a grant that exists already. It is used once before it is saved.
    #[serde(default, deserialize_with = "null_is_default")]
    token: BTreeMap<String, BringToken>,
}

/// `null` is as good as leaving it out.
fn null_is_default<'de, D: serde::Deserializer<'de>, T: Default + Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// A grant from elsewhere: an access token, a refresh token, or both.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BringToken {
    #[schema(value_type = Option<String>, format = Password, write_only)]
    access_token: Option<Secret>,
    /// Of OAuth 1.0a, beside the access token.
    #[schema(value_type = Option<String>, format = Password, write_only)]
    token_secret: Option<Secret>,
    /// Used at once where there is no living access token; with providers that rotate, it is spent then.
    #[schema(value_type = Option<String>, format = Password, write_only)]
    refresh_token: Option<Secret>,
    /// As the provider wrote it; `Bearer` when missing.
    token_type: Option<String>,
    /// When the access token ends.
    expires_at: Option<Time>,
    /// The same as seconds from now; `expires_at` wins.
    expires_in: Option<u32>,
    /// When the grant itself (the refresh token) ends, where you know it: its owner is warned ahead. Without it the
    /// connector's time counts from now, which is later than the truth.
    grant_expires_at: Option<Time>,
    /// What was granted, with blanks between.
    scope: Option<String>,
    /// Further fields of the provider's answer that the connector's addresses read, such as `instance_url`.
    #[serde(default)]
    #[schema(value_type = Object)]
    metadata: Map<String, Value>,
}

impl BringToken {
    fn brought(self, now: Timestamp) -> BroughtGrant {
        let expires_in = self.expires_in.map(|secs| now.plus_secs(i64::from(secs)));
        BroughtGrant {
            access_token: self.access_token.map(|secret| secret.0),
            token_secret: self.token_secret.map(|secret| secret.0),
            refresh_token: self.refresh_token.map(|secret| secret.0),
            token_type: self.token_type,
            expires_at: self.expires_at.map(|Time(at)| at).or(expires_in),
            grant_expires_at: self.grant_expires_at.map(|Time(at)| at),
            scopes: self.scope.map(|scope| scope.split_whitespace().map(str::to_owned).collect()),
            metadata: self.metadata,
        }
    }
}

/// Stores a credential, after it was verified by a dry request.
///
/// Every environment is asked, for each grant in its project's context. A refusal is a 422 `verification_failed`,
/// anything but a clear answer a 422 `verification_inconclusive`; then nothing is saved, and the answer shows the
/// request as sent and the answer as received, with secrets masked.
#[utoipa::path(post, path = "/api/v1/credentials", tag = "Credentials", request_body = CreateCredential, responses((status = 201, body = Credential), Refusals))]
async fn create_credential(
    State(app): State<App>,
    Acting(actor): Acting,
    Body(body): Body<CreateCredential>,
) -> ApiResult<impl IntoResponse> {
    let now = app.broker().now();
    let token =
        body.token.into_iter().map(|(environment, token)| (environment, token.brought(now))).collect();
    let new = NewCredential {
        name: body.name,
        connector: body.connector,
        auth_method: body.auth_method,
        owner_project: body.owner_project,
        external_id: body.external_id,
        oauth_client: body.oauth_client,
        note: body.note,
        acts_as: body.acts_as,
        expires_on: body.expires_on.map(|Time(at)| at),
        values: body.values,
        token,
        shares: body.shares.into_iter().map(Into::into).collect(),
        verify: body.verify.into(),
        connects: None,
    };
    let view = Box::pin(app.broker().create_credential(&actor, new)).await?;
    let location = HeaderValue::try_from(format!("/api/v1/credentials/{}", view.id))
        .unwrap_or(HeaderValue::from_static("/api/v1/credentials"));
    Ok((
        StatusCode::CREATED,
        [(header::LOCATION, location)],
        etag(view.version),
        Json(Credential::from(view)),
    ))
}

/// One credential: fields for its owner, which of them are set for everybody else who may use it.
#[utoipa::path(get, path = "/api/v1/credentials/{id}", tag = "Credentials", params(("id" = String, Path, description = "`crd_…`")), responses((status = 200, body = Credential), Refusals))]
async fn get_credential(
    State(app): State<App>,
    Acting(actor): Acting,
    Named(id): Named<String>,
) -> ApiResult<impl IntoResponse> {
    let view = app.broker().credential(&actor, &id).await?;
    Ok((etag(view.version), Json(Credential::from(view))))
}
