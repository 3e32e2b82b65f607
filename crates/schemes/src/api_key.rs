//! A key in a header, a query parameter or a cookie.

use latchstring_model::SecretString;

use crate::apply::{Fixed, Place, Placement};
use crate::error::SchemeError;

pub struct ApiKey {
    pub value: SecretString,
    pub place: Placement,
}

impl ApiKey {
    pub(crate) fn prepare(&self) -> Result<Fixed, SchemeError> {
        if self.value.is_empty() {
            return Err(SchemeError::Missing { field: "value" });
        }
        let mut fixed = Fixed::default();
        fixed.place(&Place::new("key", &self.place)?, "value", self.value.expose())?;
        // Blanks at the ends do not travel in a header, so an echo has none.
        fixed.secrets.push(match &self.place {
            Placement::Header { .. } => self.value.expose().trim_matches([' ', '\t']).into(),
            Placement::Query { .. } | Placement::Cookie { .. } => self.value.clone(),
        });
        Ok(fixed)
    }
}
