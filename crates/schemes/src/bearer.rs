//! A bearer token that does not expire by itself (RFC 6750 section 2.1).

use http::header::AUTHORIZATION;
use latchstring_model::SecretString;

use crate::apply::{Fixed, header_value};
use crate::error::SchemeError;

pub struct Bearer {
    pub token: SecretString,
}

impl Bearer {
    pub(crate) fn prepare(&self) -> Result<Fixed, SchemeError> {
        let token = self.token.expose().trim_matches(' ');
        if token.is_empty() {
            return Err(SchemeError::Missing { field: "token" });
        }
        if token.get(..7).is_some_and(|start| start.eq_ignore_ascii_case("bearer ")) {
            return Err(SchemeError::PrefixTwice { field: "token", prefix: "Bearer " });
        }
        let mut fixed = Fixed::default();
        fixed.header(AUTHORIZATION, header_value("token", &format!("Bearer {token}"))?);
        fixed.secrets.push(token.into());
        Ok(fixed)
    }
}
