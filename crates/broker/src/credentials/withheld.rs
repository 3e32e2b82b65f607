//! Fields that the owner of today may use and not read: they were set by an owner who has left for good, and the
//! credential was given away without that person. A field that is set anew is readable like any other; until then
//! values with such a field go nowhere else than before, because whoever could move them could read them there.

use latchstring_model::problem::Refused;
use latchstring_model::{Code, Pin, Problem};
use latchstring_store::WriteTx;
use latchstring_store::credentials::CredentialRow;
use latchstring_store::values::{self, ValuesRow};
use serde_json::{Map, Value};

use crate::road::authorise;
use crate::sealing::values_aad;
use crate::{Broker, refusals};

/// What stays withheld of changed values: what was, is still there, and was not given anew.
pub(super) fn still_withheld(
    before: &[String],
    given: Option<&Map<String, Value>>,
    after: &Map<String, Value>,
) -> Vec<String> {
    let given_anew =
        |name: &String| given.is_some_and(|given| given.get(name).is_some_and(|value| !value.is_null()));
    before.iter().filter(|name| after.contains_key(*name) && !given_anew(name)).cloned().collect()
}

/// The places that values may go to, where they hold something withheld: those of before.
pub(crate) fn held_to<'p>(withheld: &[String], pins: &'p [Pin]) -> Option<&'p [Pin]> {
    (!withheld.is_empty()).then_some(pins)
}

/// For places that are rendered before anything is asked.
pub(crate) fn check_held(withheld: &[String], before: &[Pin], now: &[Pin]) -> Refused<()> {
    if withheld.is_empty() || now.iter().all(|pin| before.contains(pin)) {
        return Ok(());
    }
    Err(Problem::new(
        Code::DestinationNotAllowed,
        "The values hold fields that you were given without reading them, so they go nowhere else than before.",
    )
    .hint("Set those fields anew (`withheld_fields` names them); then the credential may be moved.")
    .into())
}

impl Broker {
    /// Withholds everything that is stored of a credential, older versions included.
    pub(super) async fn withhold_all(&self, tx: &mut WriteTx, row: &CredentialRow) -> Refused<()> {
        for values in values::list(tx, row).await.map_err(refusals::store)? {
            self.ensure_data_key(&values.data_key).await?;
            let names = self.names_of(row, &values)?;
            let environment = &values.environment;
            values::withhold(tx, row, environment, values.version, &names).await.map_err(refusals::store)?;
        }
        for version in values::versions(tx, row).await.map_err(refusals::store)? {
            let Some((sealed, data_key)) = &version.sealed else { continue };
            self.ensure_data_key(data_key).await?;
            let aad = values_aad(&row.id, &row.owner, &version.environment, version.version);
            let opened = self.open_json(&authorise::owner_opens(), &aad, sealed)?;
            let names: Vec<String> = opened.keys().cloned().collect();
            let environment = &version.environment;
            values::withhold(tx, row, environment, version.version, &names).await.map_err(refusals::store)?;
        }
        Ok(())
    }

    fn names_of(&self, row: &CredentialRow, values: &ValuesRow) -> Refused<Vec<String>> {
        Ok(self.open_values(row, values)?.keys().cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn map(value: Value) -> Map<String, Value> {
        value.as_object().cloned().unwrap_or_default()
    }

    #[test]
    fn a_field_is_readable_once_it_is_set_anew() {
        let before = ["base_url", "token", "gone"].map(str::to_owned);
        let after = map(json!({"base_url": "https://a.example", "token": "t", "new": 1}));
        assert_eq!(still_withheld(&before, None, &after), ["base_url", "token"]);
        let given = map(json!({"token": "t", "gone": null}));
        assert_eq!(still_withheld(&before, Some(&given), &after), ["base_url"], "also with the same value");
    }
}
