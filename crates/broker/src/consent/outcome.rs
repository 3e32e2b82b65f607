//! What did not come back, in words that say what to do.

use latchstring_model::{Code, Problem};

/// Scopes without which nothing works.
pub(super) fn incomplete(missing: &[&str]) -> Box<Problem> {
    let (what, is) = if missing.len() == 1 { ("the scope", "is") } else { ("the scopes", "are") };
    Problem::new(
        Code::ConsentIncomplete,
        format!(
            "Consent came back without {what} {}, which {is} mandatory here: calls that need it would be refused. Nothing was saved.",
            missing.join(", ")
        ),
    )
    .hint("Start the sign-in again and leave every box ticked at the provider. If the provider does not offer it to this account, an administrator there may have to allow it.")
    .with("missing_scopes", missing.to_vec().into())
    .into()
}

/// Without one the credential would stop working when its first token ends.
pub(super) fn no_refresh_token(hint: Option<&str>) -> Box<Problem> {
    let usual = "Take the access of this application away in the account's security settings at the provider, and start the sign-in again. If the provider wants offline access to be asked for, a superuser adds the scope or parameter to the OAuth client.";
    Problem::new(
        Code::ConsentIncomplete,
        "The provider gave no refresh token: the connection would end with its first access token, usually within an hour. Nothing was saved.",
    )
    .hint(hint.unwrap_or(usual).to_owned())
    .into()
}

/// RFC 9449 section 5: a server that does not bind tokens gives out one that is good for whoever has it.
pub(super) fn not_bound() -> Box<Problem> {
    Problem::new(
        Code::ConsentIncomplete,
        "The provider gave a token that is not bound to the OAuth client's key, though the client wants that (DPoP). Nothing was saved.",
    )
    .hint("A superuser has DPoP switched on for the application at the provider, or switches it off in the OAuth client (`dpop: false`); then start the sign-in again.")
    .into()
}
