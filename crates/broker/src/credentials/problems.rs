//! What is wrong with values that cannot be rendered, prepared or sent: a 422 that points at the field, wherever
//! the field is known. On calls the same faults are the caller's to hear ([`crate::road::materials`]); here the
//! owner is at the keyboard.

use latchstring_connectors::{AuthMethod, RenderError};
use latchstring_model::{Code, FieldError, Problem};
use latchstring_schemes::SchemeError;

use super::input::escape;
use crate::road::materials::render_problem;

/// Whose values are looked at: for pointers into `values`.
#[derive(Clone, Copy)]
pub(crate) struct Spot<'a> {
    pub method: &'a AuthMethod,
    pub environment: &'a str,
}

impl Spot<'_> {
    /// The field that a place in the definition (`scheme.private_key`, `base_url`) most likely means: they
    /// carry the same name almost everywhere. Else the environment.
    pub fn pointer(&self, place: &str) -> String {
        let named = place.split('.').rev().find_map(|part| {
            self.method.field(part).or_else(|| {
                let known = match part {
                    "value" | "key" => ["key", "value", "api_key", "token"].as_slice(),
                    "secret" => ["signing_key", "secret", "client_secret"].as_slice(),
                    "certificate" => ["certificate", "client_certificate"].as_slice(),
                    _ => [].as_slice(),
                };
                known.iter().find_map(|name| self.method.field(name).filter(|field| field.secret))
            })
        });
        match named {
            Some(field) => format!("/values/{}/{}", escape(self.environment), escape(&field.name)),
            None => format!("/values/{}", escape(self.environment)),
        }
    }

    fn error(&self, place: &str, detail: impl Into<String>) -> FieldError {
        FieldError::new(self.pointer(place), detail)
    }

    /// Values that do not render.
    pub fn render(&self, error: &RenderError) -> Box<Problem> {
        match error {
            RenderError::SecretMissing { at, .. } => {
                let problem = render_problem(error);
                let detail = problem.detail.to_string();
                Box::new(problem.errors(vec![self.error(at, detail)]))
            }
            RenderError::LookupFailed { .. } => render_problem(error),
            RenderError::Template { at, detail } | RenderError::Value { at, detail } => {
                let hint = "Nothing was sent and nothing was saved. Correct the field that is named.";
                Box::new(Problem::invalid(vec![self.error(at, detail.as_str())]).hint(hint))
            }
            RenderError::NotUsable { detail } => Box::new(
                Problem::invalid(vec![FieldError::new("/auth_method", detail.as_str())])
                    .hint("GET /api/v1/connectors/{id} lists the connector's methods."),
            ),
        }
    }

    /// A scheme that its values cannot carry: an algorithm that does not fit the key, a key that is none.
    pub fn scheme(&self, error: &SchemeError) -> Box<Problem> {
        use SchemeError as E;
        let field = match error {
            E::Missing { field }
            | E::ControlCharacter { field }
            | E::PrefixTwice { field, .. }
            | E::Key { field, .. }
            | E::Range { field, .. }
            | E::NotACertificate { field }
            | E::BadCertificate { field } => field,
            E::HeaderValue { field }
            | E::HeaderName { field }
            | E::ReservedHeader { field, .. }
            | E::CookieName { field }
            | E::CookieValue { field }
            | E::Placeholder { field, .. }
            | E::OpenPlaceholder { field } => field.as_str(),
            E::UserNameColon => "username",
            E::CertificateKeyMismatch => "certificate",
            E::Jws(_) => "claims",
            _ => "",
        };
        let hint = "Nothing was sent and nothing was saved. Correct the field that is named.";
        Box::new(Problem::invalid(vec![self.error(field, error.to_string())]).hint(hint))
    }

    /// A destination that the connector, or a secret's own limit, does not allow.
    pub fn destination(&self, place: &str, problem: Problem) -> Box<Problem> {
        if problem.code != Code::DestinationNotAllowed {
            return Box::new(problem);
        }
        let mut told = Problem::invalid(vec![self.error(place, problem.detail.to_string())]);
        told.hint = problem.hint;
        Box::new(told)
    }
}
