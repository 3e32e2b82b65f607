//! `/api/v1`, one file per group of endpoints. How a group is written (copy [`variables`] or [`members`]):
//!
//! 1. **Types.** A request type derives `Deserialize, ToSchema` and has `#[serde(deny_unknown_fields)]`; every
//!    field has a doc comment with unit and range, which is what the OpenAPI document shows. An answer type
//!    derives `Serialize, ToSchema` and is made by `From` of the broker's type. Secrets come in as
//!    [`crate::extract::secret::Secret`], times are [`crate::extract::time::Time`].
//! 2. **A handler** per endpoint, in the order of the path: `Acting` first (nothing of a stranger's request is
//!    looked at), then `Named` (path), `Asked` (query), `IfMatch`, and the `Body` last. It translates, calls one
//!    use case, translates back. Refusals pass through `?`.
//! 3. **`#[utoipa::path]`** above it: the full path, a tag, the successes, then `Refusals`. The doc comment's
//!    first line is the summary, the rest says who may and what else happens.
//! 4. **`router()`** lists the handlers; [`router`] here merges it, and `actions` names what a refused change is
//!    called in the audit trail (forgotten, the server does not start).
//! 5. **Tests** in `tests/it/<group>.rs` against the real router: the happy path, each refusal, another tenant.
//!
//! Conventions that hold without a handler's doing: problems for unknown addresses and methods, body limit,
//! security headers, request ids, cross-origin checks, `Idempotency-Key`.

pub mod actions;
pub mod api_keys;
mod applied;
pub mod audit;
mod audit_export;
pub mod connect_sessions;
pub mod connectors;
pub mod credentials;
mod credentials_certificate;
mod credentials_change;
mod credentials_check;
mod credentials_consent;
mod credentials_history;
mod credentials_life;
pub mod health;
pub mod instance;
pub mod invites;
pub mod keychains;
pub mod me;
pub mod me_identities;
pub mod me_keys;
pub mod me_notices;
pub mod me_password;
pub mod me_sessions;
pub mod me_totp;
pub mod members;
pub mod oauth_clients;
pub mod openapi;
pub mod operations;
pub mod orphans;
pub mod password_resets;
pub mod projects;
pub mod secrets;
pub mod session;
pub mod session_confirm;
pub mod setup;
pub mod transfers;
pub mod users;
pub mod users_totp;
pub mod variables;
pub mod webhooks;

use utoipa::OpenApi as _;
use utoipa_axum::router::OpenApiRouter;

use crate::App;

/// All groups, with their part of the document.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::with_openapi(openapi::Frame::openapi())
        .merge(setup::router())
        .merge(session::router())
        .merge(session_confirm::router())
        .merge(password_resets::router())
        .merge(instance::router())
        .merge(me::router())
        .merge(me_password::router())
        .merge(me_totp::router())
        .merge(me_identities::router())
        .merge(me_keys::router())
        .merge(me_notices::router())
        .merge(me_sessions::router())
        .merge(users::router())
        .merge(users_totp::router())
        .merge(invites::router())
        .merge(projects::router())
        .merge(members::router())
        .merge(api_keys::router())
        .merge(applied::router())
        .merge(audit::router())
        .merge(audit_export::router())
        .merge(secrets::router())
        .merge(variables::router())
        .merge(connectors::router())
        .merge(connect_sessions::router())
        .merge(credentials::router())
        .merge(credentials_change::router())
        .merge(credentials_certificate::router())
        .merge(credentials_check::router())
        .merge(credentials_consent::router())
        .merge(credentials_life::router())
        .merge(credentials_history::router())
        .merge(transfers::router())
        .merge(orphans::router())
        .merge(keychains::router())
        .merge(operations::router())
        .merge(oauth_clients::router())
        .merge(webhooks::router())
}
