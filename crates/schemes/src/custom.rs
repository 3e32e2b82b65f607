//! Headers, query parameters and cookies as a definition rendered them: for what no other scheme says,
//! and for the outcome of a login in steps.

use http::Method;
use latchstring_model::{SecretBytes, SecretString};

use crate::apply::{Fixed, header_name, header_value};
use crate::error::SchemeError;

/// A name may stand several times; all of them replace all of the caller's.
#[derive(Default)]
pub struct Custom {
    pub headers: Vec<(String, SecretString)>,
    pub query: Vec<(String, SecretString)>,
    pub cookies: Vec<(String, SecretString)>,
    /// For requests of our own only (a verification, an operation): a caller's body is never touched.
    pub body: Option<OwnBody>,
}

/// The body of a request of our own.
#[derive(Clone)]
pub struct OwnBody {
    /// Methods that carry it; empty means all but GET and HEAD.
    pub methods: Vec<Method>,
    pub content_type: String,
    pub bytes: SecretBytes,
}

impl OwnBody {
    pub fn goes_with(&self, method: &Method) -> bool {
        if self.methods.is_empty() {
            method != Method::GET && method != Method::HEAD
        } else {
            self.methods.contains(method)
        }
    }
}

impl Custom {
    pub(crate) fn prepare(&self) -> Result<Fixed, SchemeError> {
        let mut fixed = Fixed::default();
        for (name, value) in &self.headers {
            let field = format!("headers.{name}");
            fixed.header(header_name(&field, name)?, header_value(&field, value.expose())?);
            // `Bearer abc`: the word before the blank is no secret, and an echo may lack it.
            let bare = value.expose().split_once(' ').map_or(value.expose(), |(_, rest)| rest);
            fixed.secrets.push(bare.trim().into());
        }
        for (name, value) in &self.query {
            fixed.query("query", name, value.expose())?;
            fixed.secrets.push(value.clone());
        }
        for (name, value) in &self.cookies {
            fixed.cookie(&format!("cookies.{name}"), name, value.expose())?;
            fixed.secrets.push(value.clone());
        }
        fixed.secrets.retain(|secret| !secret.is_empty());
        if let Some(body) = &self.body {
            header_value("body.content_type", &body.content_type)?;
        }
        Ok(fixed)
    }
}
