//! Who acts, as [`crate::guard::enter`] found out.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use latchstring_broker::{Actor, Who};
use latchstring_model::{Code, Problem};

use crate::problem::ApiError;

/// Anybody, also nobody in particular: for signing in and pages.
pub struct Anyone(pub Actor);

/// Somebody with a key or a session. Stands first among a handler's arguments, so that nothing of a stranger's
/// request is looked at any further.
pub struct Acting(pub Actor);

impl<S: Send + Sync> FromRequestParts<S> for Anyone {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        // A route that was mounted outside of the entrance has nobody: that is refused, not guessed.
        Ok(Self(
            parts.extensions.get::<Actor>().cloned().unwrap_or(Actor { who: Who::Anonymous, address: None }),
        ))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Acting {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Anyone(actor) = Anyone::from_request_parts(parts, state).await?;
        match actor.who {
            Who::Anonymous | Who::EndUser { .. } | Who::Operator => Err(Problem::new(Code::Unauthenticated, "This needs a key or a session, and the request carries neither.")
                .hint("Send `Authorization: Bearer lst_…` with a personal key of scope manage, or sign in. A session that has ended counts as none.")
                .into()),
            Who::Person { .. } | Who::Service { .. } | Who::Account { .. } => Ok(Self(actor)),
        }
    }
}
