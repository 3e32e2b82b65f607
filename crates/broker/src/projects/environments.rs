//! Names of environments, and what goes with one.

use latchstring_model::FieldError;
use latchstring_model::entity::valid_environment;
use latchstring_model::id::ProjectId;
use latchstring_model::problem::Refused;
use latchstring_store::Tx;
use latchstring_store::api_keys::{ApiKeyRow, KeyBelongs};
use latchstring_store::environments::{self, EnvironmentRow};
use latchstring_store::secrets::{self, SecretKind};

use crate::projects::life::RemovedEnvironment;
use crate::refusals;

/// Environments of one project: more than anybody has stages.
pub const MOST: usize = 50;

pub(crate) fn check(names: &[String], pointer: &str, errors: &mut Vec<FieldError>) {
    if names.is_empty() {
        errors.push(FieldError::new(pointer, "a project has at least one environment, such as production"));
    }
    if names.len() > MOST {
        errors.push(FieldError::new(pointer, format!("a project has at most {MOST} environments")));
    }
    for (at, name) in names.iter().enumerate() {
        if !valid_environment(name) {
            errors.push(FieldError::new(
                format!("{pointer}/{at}"),
                "1 to 63 lower-case letters, digits, hyphens and underscores",
            ));
        } else if names.iter().take(at).any(|other| other == name) {
            errors.push(FieldError::new(format!("{pointer}/{at}"), format!("`{name}` is in the list twice")));
        }
    }
}

/// What is lost when this environment is removed; `keys` are all that the project has.
pub(crate) async fn what_goes_with(
    tx: &mut impl Tx,
    project: &ProjectId,
    gone: EnvironmentRow,
    keys: &[ApiKeyRow],
) -> Refused<RemovedEnvironment> {
    let mut names = Vec::new();
    for kind in [SecretKind::Secret, SecretKind::Variable] {
        let rows = secrets::list(tx, project, &gone.id, kind).await.map_err(refusals::store)?;
        names.push(rows.into_iter().map(|row| row.name).collect());
    }
    let variables = names.pop().unwrap_or_default();
    let secrets = names.pop().unwrap_or_default();
    let here = keys.iter().filter(|key| matches!(&key.belongs, KeyBelongs::Service { environment_id, .. } if environment_id == &gone.id));
    let api_keys = here.map(|key| key.name.clone()).collect();
    let credentials = environments::granted(tx, project, &gone.id).await.map_err(refusals::store)?;
    Ok(RemovedEnvironment { id: gone.id, name: gone.name, secrets, variables, api_keys, credentials })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_is_wrong_is_said_at_once() {
        let names = ["production", "Staging", "production", ""].map(str::to_owned);
        let mut errors = Vec::new();
        check(&names, "/environments", &mut errors);
        let pointers: Vec<&str> = errors.iter().map(|error| error.pointer.as_str()).collect();
        assert_eq!(pointers, ["/environments/1", "/environments/2", "/environments/3"]);
        errors.clear();
        check(&[], "/environments", &mut errors);
        assert_eq!(errors.len(), 1);
    }
}
