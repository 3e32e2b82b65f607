//! A secret in a request's body: read, handed on, never shown.

use latchstring_model::SecretString;
use serde::{Deserialize, Deserializer};
use utoipa::ToSchema;

/// Neither `Debug` nor `Serialize`.
#[derive(Clone, Default, ToSchema)]
#[schema(value_type = String, format = Password)]
pub struct Secret(pub SecretString);

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(SecretString::new(text)))
    }
}
