//! Which credential a keychain means for one call.

use latchstring_connectors::Choice;
use latchstring_model::id::{CredentialId, ProjectId};
use latchstring_model::problem::Refused;
use latchstring_model::{Code, Problem};
use latchstring_store::credentials::CredentialRow;
use latchstring_store::keychains::{self as store, KeychainRow};
use latchstring_store::{Tx, credentials, shares};
use serde_json::Value;

use crate::refusals;
use crate::road::materials::render_problem;

/// What a call brings along to choose by.
#[derive(Clone, Copy, Debug, Default)]
pub struct Data<'a> {
    /// `Latchstring-External-Id`: the text itself.
    pub external_id: Option<&'a str>,
    /// What an operation is called with.
    pub input: Option<&'a Value>,
}

fn no_match(keychain: &KeychainRow, detail: String) -> Box<Problem> {
    Problem::new(Code::NoKeychainMatch, detail)
        .hint("Give one of the project's credentials that `external_id`, or the keychain a default. A call is never made without a credential.")
        .with("keychain", keychain.slug.as_str().into())
        .into()
}

/// As much of a text as may be shown: it comes from the caller.
fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(100).collect()
}

/// The text to look up, from the header or from the input.
fn looked_up_by(keychain: &KeychainRow, data: Data<'_>) -> Refused<Option<String>> {
    if let Some(text) = data.external_id {
        return Ok(Some(text.to_owned()));
    }
    let Some(input) = data.input else {
        return Err(Problem::new(
            Code::ContextMissing,
            format!(
                "{} is a keychain: the request has to say which of its credentials is meant.",
                keychain.slug
            ),
        )
        .hint("Send `Latchstring-External-Id: <the credential's external_id>`.")
        .into());
    };
    let choice = Choice::parse(&keychain.chosen_by).map_err(|error| refusals::internal(&error))?;
    choice.text(input).map_err(|error| render_problem(&error))
}

/// `None`: the project has no keychain of that name.
pub async fn choose(
    tx: &mut impl Tx,
    project: &ProjectId,
    named: &str,
    data: Data<'_>,
) -> Refused<Option<CredentialId>> {
    let found = store::in_project(tx, project, named).await.map_err(refusals::store)?;
    let Some(keychain) = found else { return Ok(None) };
    let text = looked_up_by(&keychain, data)?;
    let share = match &text {
        Some(text) => shares::by_external_id(tx, project, text).await.map_err(refusals::store)?,
        None => None,
    };
    if let (Some(share), Some(text)) = (share, &text) {
        let row = credentials::for_upkeep(tx, &share.credential_id).await.map_err(refusals::store)?;
        fits(&keychain, row.as_ref(), text)?;
        return Ok(Some(share.credential_id));
    }
    if let Some(default) = keychain.default {
        return Ok(Some(default));
    }
    let detail = match text {
        Some(text) => format!("No credential of this project has the external id `{}`.", shown(&text)),
        None => "What the keychain is chosen by is empty for this call.".to_owned(),
    };
    Err(no_match(&keychain, detail))
}

fn fits(keychain: &KeychainRow, row: Option<&CredentialRow>, text: &str) -> Refused<()> {
    if row.is_some_and(|row| row.connector == keychain.connector) {
        return Ok(());
    }
    let detail = format!(
        "The credential with the external id `{}` belongs to another connector than the keychain {}.",
        shown(text),
        keychain.slug
    );
    Err(no_match(keychain, detail))
}

/// A credential was named that is no keychain, and a text to choose by came with it: one of the two is a mistake.
pub fn not_a_keychain() -> Box<Problem> {
    Problem::new(Code::NotAKeychain, "Latchstring-External-Id came with a credential that is no keychain.")
        .hint("Leave the header out, or name the keychain that should choose.")
        .into()
}
