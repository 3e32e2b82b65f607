//! Basic authentication (RFC 7617), in UTF-8.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::AUTHORIZATION;
use latchstring_model::SecretString;
use zeroize::Zeroizing;

use crate::apply::{Fixed, header_value};
use crate::error::SchemeError;

pub struct Basic {
    pub username: SecretString,
    /// May be empty: APIs that take a key as the user name want it so.
    pub password: SecretString,
}

/// Section 2: neither part may hold a control character, the user name no colon.
pub(crate) fn check_user(username: &str, password: &str) -> Result<(), SchemeError> {
    if username.contains(':') {
        return Err(SchemeError::UserNameColon);
    }
    for (field, value) in [("username", username), ("password", password)] {
        if value.chars().any(char::is_control) {
            return Err(SchemeError::ControlCharacter { field });
        }
    }
    Ok(())
}

impl Basic {
    pub(crate) fn prepare(&self) -> Result<Fixed, SchemeError> {
        let (username, password) = (self.username.expose(), self.password.expose());
        check_user(username, password)?;
        if username.is_empty() && password.is_empty() {
            return Err(SchemeError::Missing { field: "username" });
        }
        let pair = Zeroizing::new(format!("{username}:{password}"));
        let encoded = SecretString::new(STANDARD.encode(pair.as_bytes()));
        let mut fixed = Fixed::default();
        fixed.header(AUTHORIZATION, header_value("password", &format!("Basic {}", encoded.expose()))?);
        fixed.secrets.push(encoded);
        // Where the password is empty, the user name is the key.
        let secret = if password.is_empty() { &self.username } else { &self.password };
        fixed.secrets.push(secret.clone());
        Ok(fixed)
    }
}
