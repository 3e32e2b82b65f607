//! `/api/v1/oauth-clients`: our registrations with providers.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::IntoResponse;
use latchstring_broker::oauth_clients::{self as broker, ClientInput, ClientView};
use latchstring_broker::people::Paging;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::App;
use crate::extract::actor::Acting;
use crate::extract::body::Body;
use crate::extract::page::{Listed, Page};
use crate::extract::path::{Asked, Named};
use crate::extract::precondition::{IfMatch, etag};
use crate::extract::secret::Secret;
use crate::extract::time::Time;
use crate::problem::{ApiResult, Refusals};

pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list_oauth_clients, create_oauth_client)).routes(routes!(
        get_oauth_client,
        change_oauth_client,
        delete_oauth_client
    ))
}

/// Whom to ask about a client.
#[derive(Serialize, ToSchema)]
struct ClientOwner {
    #[schema(example = "usr_01k9x0000000000000000000zz")]
    id: String,
    email: String,
    name: String,
}

impl From<broker::Owner> for ClientOwner {
    fn from(owner: broker::Owner) -> Self {
        Self { id: owner.id, email: owner.email, name: owner.name }
    }
}

/// Our registration with a provider, as members of its projects see it.
#[derive(Serialize, ToSchema)]
struct OAuthClient {
    #[schema(example = "oac_01k9x0000000000000000000zz")]
    id: String,
    name: String,
    /// Id of the connector that it serves; `http` for any OAuth 2 server.
    connector: String,
    /// `builtin/<id>` or `<project>/<id>`; null for any OAuth 2 server.
    connector_uid: Option<String>,
    owner: ClientOwner,
    /// Without a client id: credentials cannot name it yet.
    draft: bool,
    /// Always asked for, in this order.
    mandatory_scopes: Vec<String>,
    /// To choose from.
    optional_scopes: Vec<String>,
    /// Where the provider describes its scopes.
    scopes_doc_url: Option<String>,
    /// What the provider's form wants as redirect URI (callback URL), to be copied as it is. It never changes.
    #[schema(example = "https://latchstring.example.com/oauth/callback/oac_01k9x0000000000000000000zz")]
    redirect_uri: String,
    /// For all projects.
    global: bool,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    whole: Option<WholeClient>,
}

/// Where an endpoint's address comes from.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum EndpointFrom {
    Request,
    Issuer,
    Connector,
}

/// What superusers see beside.
#[derive(Serialize, ToSchema)]
struct WholeClient {
    client_id: Option<String>,
    #[schema(example = "basic")]
    client_auth: String,
    /// `client_secret`, `private_key`, `dpop_key`, where they are set. They are never shown.
    secret_fields: Vec<String>,
    /// Of the private key, such as `RS256`.
    key_algorithm: Option<String>,
    /// `kid` in the header of its assertions.
    key_id: Option<String>,
    /// The public half of the private key, a JWK: what the provider is given.
    #[schema(value_type = Object)]
    public_jwk: Option<Value>,
    /// PEM: what it shows in mutual TLS (RFC 8705), and its issuers.
    certificate: Option<String>,
    /// Tokens are bound to a key of the client's (RFC 9449).
    dpop: bool,
    /// Thumbprint of that key (RFC 7638).
    dpop_jkt: Option<String>,
    /// The APIs that its tokens are asked for (RFC 8707).
    resource: Vec<String>,
    issuer: Option<String>,
    /// The provider announces that its callbacks carry `iss` (RFC 9207); one without it is refused.
    issuer_in_callback: bool,
    /// Of OAuth 1.0a.
    request_token_endpoint: Option<String>,
    authorization_endpoint: Option<String>,
    token_endpoint: Option<String>,
    revocation_endpoint: Option<String>,
    userinfo_endpoint: Option<String>,
    introspection_endpoint: Option<String>,
    device_authorization_endpoint: Option<String>,
    /// By the endpoint's name. Those of a connector that depend on a credential's fields are null above.
    endpoints_from: BTreeMap<&'static str, EndpointFrom>,
    authorize_params: BTreeMap<String, String>,
    /// Their values may be secret and are never shown.
    token_param_names: Vec<String>,
    /// Where alone it may be used; empty: wherever its connector may.
    hosts: Vec<String>,
    /// PKCE with S256 (RFC 7636).
    pkce: bool,
    /// Slugs of the projects that it is for.
    projects: Vec<String>,
    /// Credentials that name it.
    used_by_count: i64,
    /// A person's id, or `operator`.
    created_by: String,
    created_at: Time,
    updated_at: Time,
    /// What looked odd when it was written, and was not refused.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    warnings: Vec<String>,
}

impl From<broker::Whole> for WholeClient {
    fn from(whole: broker::Whole) -> Self {
        let url = |name: &str| whole.endpoints.get(name).map(|(url, _)| url.clone());
        Self {
            request_token_endpoint: url(broker::REQUEST_TOKEN),
            authorization_endpoint: url(broker::AUTHORIZATION),
            token_endpoint: url(broker::TOKEN),
            revocation_endpoint: url(broker::REVOCATION),
            userinfo_endpoint: url(broker::USERINFO),
            introspection_endpoint: url(broker::INTROSPECTION),
            device_authorization_endpoint: url(broker::DEVICE),
            endpoints_from: whole
                .endpoints
                .iter()
                .map(|(name, (_, from))| {
                    let from = match *from {
                        "issuer" => EndpointFrom::Issuer,
                        "connector" => EndpointFrom::Connector,
                        _ => EndpointFrom::Request,
                    };
                    (*name, from)
                })
                .collect(),
            client_id: whole.client_id,
            client_auth: whole.client_auth,
            secret_fields: whole.secret_fields,
            key_algorithm: whole.key_algorithm,
            key_id: whole.key_id,
            public_jwk: whole.public_key,
            certificate: whole.certificate,
            dpop: whole.dpop_jkt.is_some(),
            dpop_jkt: whole.dpop_jkt,
            resource: whole.resource,
            issuer: whole.issuer,
            issuer_in_callback: whole.issuer_in_callback,
            authorize_params: whole.authorize_params,
            token_param_names: whole.token_param_names,
            hosts: whole.hosts,
            pkce: whole.pkce,
            projects: whole.projects,
            used_by_count: whole.used_by_count,
            created_by: whole.created_by,
            created_at: whole.created_at.into(),
            updated_at: whole.updated_at.into(),
            warnings: whole.warnings,
        }
    }
}

impl From<ClientView> for OAuthClient {
    fn from(view: ClientView) -> Self {
        Self {
            id: view.id.to_string(),
            name: view.name,
            connector: view.connector,
            connector_uid: view.connector_uid,
            owner: view.owner.into(),
            draft: view.draft,
            mandatory_scopes: view.mandatory_scopes,
            optional_scopes: view.optional_scopes,
            scopes_doc_url: view.scopes_doc_url,
            redirect_uri: view.redirect_uri,
            global: view.global,
            whole: view.whole.map(WholeClient::from),
        }
    }
}

#[derive(Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Which {
    /// Slug or id: those that this project may use. Without it, all that I may see.
    project: Option<String>,
    /// Items on the page, 1 to 200 (default 50).
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// OAuth clients, oldest first. Superusers see all of each; members of a client's projects its name and scopes.
#[utoipa::path(get, path = "/api/v1/oauth-clients", tag = "OAuth clients", params(Which), responses((status = 200, body = Listed<OAuthClient>), Refusals))]
async fn list_oauth_clients(
    State(app): State<App>,
    Acting(actor): Acting,
    Asked(which): Asked<Which>,
) -> ApiResult<Json<Listed<OAuthClient>>> {
    let page = Page { limit: which.limit, cursor: which.cursor };
    let paging = Paging::new(page.cursor.clone(), Some(page.limit()?));
    let page = app.broker().oauth_clients(&actor, which.project.as_deref(), &paging).await?;
    Ok(Json(Listed {
        items: page.items.into_iter().map(OAuthClient::from).collect(),
        next_cursor: page.next_cursor,
    }))
}

/// One OAuth client. Superusers see all of it; members of its projects its name and scopes.
#[utoipa::path(get, path = "/api/v1/oauth-clients/{id}", tag = "OAuth clients", params(("id" = String, Path, description = "`oac_…`")), responses((status = 200, body = OAuthClient), Refusals))]
async fn get_oauth_client(
    State(app): State<App>,
    Acting(actor): Acting,
    Named(id): Named<String>,
) -> ApiResult<impl IntoResponse> {
    let view = app.broker().oauth_client(&actor, &id).await?;
    Ok((etag(view.version), Json(OAuthClient::from(view))))
}

/// A field that is there and null is not the same as one that is not there.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(from).map(Some)
}

/// On creation what is left out has its default; in a change it stays as it is, and null clears.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SetOAuthClient {
    /// One line of 1 to 200 characters. Needed on creation.
    name: Option<String>,
    /// E-mail address of the person whom people ask about it. Default: who makes it.
    owner: Option<String>,
    /// Id or uid of the connector that it serves, which needs a method with consent. Without one (or with `http`)
    /// it serves any OAuth 2 server within `hosts`.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    connector: Option<Option<String>>,
    /// As the provider gave it. Without it the client is a draft: it has its redirect URI already, which the
    /// provider's form asks for.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    client_id: Option<Option<String>>,
    /// For `basic` and `post`. Never shown again.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, format = Password)]
    client_secret: Option<Option<Secret>>,
    /// How it proves itself to the token endpoint: `basic`, `post`, `none` (a public client), `private_key_jwt`, or by a
    /// client certificate (RFC 8705) `tls_client_auth` or `self_signed_tls_client_auth`. Default: what the connector
    /// says, else `basic`; `private_key_jwt` with a key.
    client_auth: Option<String>,
    /// PEM, for `private_key_jwt` or of the certificate. Never shown again; its public half is.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, format = Password)]
    private_key: Option<Option<Secret>>,
    /// Of an encrypted private key. Used once and not kept.
    passphrase: Option<Secret>,
    /// Makes a new key pair for `private_key_jwt`: `RS256`, `PS256`, `ES256`, `ES384` or `EdDSA`. The public half
    /// is in the answer as `public_jwk`; the private half never leaves the server. With `self_signed_tls_client_auth`
    /// (`RS256` or `ES256`) its certificate is made too.
    generate_key: Option<String>,
    /// PEM, for `tls_client_auth` and `self_signed_tls_client_auth`: the certificate of `private_key`, and its issuers.
    /// It is shown to the provider and to the API, which may have bound the token to it.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    certificate: Option<Option<String>>,
    /// Tokens are bound to a key that is made here (RFC 9449), and a provider that does not bind them is refused.
    /// Switching it on or off ends what was connected before.
    dpop: Option<bool>,
    /// The APIs that tokens are asked for (RFC 8707): absolute URIs, in place of the connector's; the whole list. Another
    /// list ends what was connected before.
    resource: Option<Vec<String>>,
    /// Of the private key. Default: what fits the key, such as `RS256`.
    key_algorithm: Option<String>,
    /// `kid` of its assertions, where the provider knows the key by one.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    key_id: Option<Option<String>>,
    /// Of the authorization server. Its discovery document (OpenID Connect, RFC 8414) gives the endpoints that
    /// neither the connector nor this request names; it is read anew whenever this is sent.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    issuer: Option<Option<String>>,
    /// Of OAuth 1.0a (RFC 5849 section 2.1): where temporary credentials are asked for. The application's consumer key
    /// and secret are then `client_id` and `client_secret`, and `token_endpoint` exchanges them for the token.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    request_token_endpoint: Option<Option<String>>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    authorization_endpoint: Option<Option<String>>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    token_endpoint: Option<Option<String>>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    revocation_endpoint: Option<Option<String>>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    userinfo_endpoint: Option<Option<String>>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    introspection_endpoint: Option<Option<String>>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    device_authorization_endpoint: Option<Option<String>>,
    /// Always asked for. Case and order are kept. Default: those of the connector.
    mandatory_scopes: Option<Vec<String>>,
    /// To choose from.
    optional_scopes: Option<Vec<String>>,
    /// Where the provider describes its scopes. Default: as the connector says.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    scopes_doc_url: Option<Option<String>>,
    /// Further parameters of the authorization request; the whole list. Everybody's browser shows them: no secrets.
    authorize_params: Option<BTreeMap<String, String>>,
    /// Further parameters of the token request. Merged per name, null clears one; their values are sealed.
    #[serde(default)]
    #[schema(value_type = Object)]
    token_params: BTreeMap<String, Option<Secret>>,
    /// Where alone secret, codes and tokens may go: `api.example.com`, `*.example.com`, `example.com:8443`; the
    /// whole list. Needed without a connector.
    hosts: Option<Vec<String>>,
    /// PKCE with S256 (RFC 7636). Default true, unless the connector's provider refuses it.
    pkce: Option<bool>,
    /// For all projects. Default false.
    global: Option<bool>,
    /// Slugs or ids of the projects that it is for; the whole list.
    projects: Option<Vec<String>>,
}

impl From<SetOAuthClient> for ClientInput {
    fn from(body: SetOAuthClient) -> Self {
        let open = |given: Option<Option<Secret>>| given.map(|secret| secret.map(|Secret(secret)| secret));
        let endpoints = [
            (broker::REQUEST_TOKEN, body.request_token_endpoint),
            (broker::AUTHORIZATION, body.authorization_endpoint),
            (broker::TOKEN, body.token_endpoint),
            (broker::REVOCATION, body.revocation_endpoint),
            (broker::USERINFO, body.userinfo_endpoint),
            (broker::INTROSPECTION, body.introspection_endpoint),
            (broker::DEVICE, body.device_authorization_endpoint),
        ];
        Self {
            name: body.name,
            owner: body.owner,
            connector: body.connector,
            client_id: body.client_id,
            client_secret: open(body.client_secret),
            client_auth: body.client_auth,
            private_key: open(body.private_key),
            passphrase: body.passphrase.map(|Secret(secret)| secret),
            generate_key: body.generate_key,
            certificate: body.certificate,
            dpop: body.dpop,
            resource: body.resource,
            key_algorithm: body.key_algorithm,
            key_id: body.key_id,
            issuer: body.issuer,
            endpoints: endpoints.into_iter().filter_map(|(name, given)| Some((name, given?))).collect(),
            mandatory_scopes: body.mandatory_scopes,
            optional_scopes: body.optional_scopes,
            scopes_doc_url: body.scopes_doc_url,
            authorize_params: body.authorize_params,
            token_params: body
                .token_params
                .into_iter()
                .map(|(name, value)| (name, value.map(|Secret(value)| value)))
                .collect(),
            hosts: body.hosts,
            pkce: body.pkce,
            global: body.global,
            projects: body.projects,
        }
    }
}

/// Registers an OAuth client; for superusers.
///
/// Everything that is wrong is told at once. `redirect_uri` in the answer belongs into the provider's form. Without
/// `client_id` the client is a draft: PATCH it when the provider has given one.
#[utoipa::path(post, path = "/api/v1/oauth-clients", tag = "OAuth clients", request_body = SetOAuthClient, responses((status = 201, body = OAuthClient), Refusals))]
async fn create_oauth_client(
    State(app): State<App>,
    Acting(actor): Acting,
    Body(body): Body<SetOAuthClient>,
) -> ApiResult<impl IntoResponse> {
    let view = Box::pin(app.broker().create_oauth_client(&actor, body.into())).await?;
    let location = HeaderValue::try_from(format!("/api/v1/oauth-clients/{}", view.id))
        .unwrap_or(HeaderValue::from_static("/api/v1/oauth-clients"));
    Ok((
        StatusCode::CREATED,
        [(header::LOCATION, location)],
        etag(view.version),
        Json(OAuthClient::from(view)),
    ))
}

/// Changes an OAuth client; for superusers.
///
/// Grants are bound to client id, issuer and the endpoints' origins, to the DPoP key and to `resource`: when one of them
/// changes, every credential that was connected through the client is `needs_reconnect`. A project whose credentials use it cannot be left
/// out, nor can the connector change, while that is so (409 with `used_by`).
#[utoipa::path(patch, path = "/api/v1/oauth-clients/{id}", tag = "OAuth clients", params(("id" = String, Path, description = "`oac_…`"), ("If-Match" = Option<String>, Header, description = "The `ETag` that is edited")), request_body = SetOAuthClient, responses((status = 200, body = OAuthClient), Refusals))]
async fn change_oauth_client(
    State(app): State<App>,
    Acting(actor): Acting,
    Named(id): Named<String>,
    IfMatch(version): IfMatch,
    Body(body): Body<SetOAuthClient>,
) -> ApiResult<impl IntoResponse> {
    let view = Box::pin(app.broker().change_oauth_client(&actor, &id, body.into(), version)).await?;
    Ok((etag(view.version), Json(OAuthClient::from(view))))
}

/// Deletes an OAuth client that no credential uses; for superusers.
///
/// While credentials use it, a 409 `oauth_client_in_use` lists them in `used_by` (the first 100).
#[utoipa::path(delete, path = "/api/v1/oauth-clients/{id}", tag = "OAuth clients", params(("id" = String, Path, description = "`oac_…`"), ("If-Match" = Option<String>, Header, description = "The `ETag` that is deleted")), responses((status = 204, description = "Deleted"), Refusals))]
async fn delete_oauth_client(
    State(app): State<App>,
    Acting(actor): Acting,
    Named(id): Named<String>,
    IfMatch(version): IfMatch,
) -> ApiResult<StatusCode> {
    app.broker().delete_oauth_client(&actor, &id, version).await?;
    Ok(StatusCode::NO_CONTENT)
}
