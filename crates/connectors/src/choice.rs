//! A template that chooses by data: over `input`, and nothing else.

use latchstring_model::{Entropy, Timestamp};
use serde_json::Value;

use crate::error::RenderError;
use crate::template::{Env, Object, Stop, Template, TemplateError, Val};

/// What a keychain looks its credential up by.
#[derive(Clone, Debug)]
pub struct Choice(Template);

impl Choice {
    pub fn parse(source: &str) -> Result<Self, TemplateError> {
        let template = Template::parse(source)?;
        let known = template.known();
        let refuse = |message: String| Err(TemplateError { message, line: 1, suggestion: None });
        let stranger = known.roots.iter().find(|root| root.as_str() != "input");
        if let Some(stranger) = stranger {
            return refuse(format!("reads `{stranger}`; what chooses a credential reads `input` alone"));
        }
        let elsewhere = [&known.user, &known.project, &known.secrets, &known.variables];
        if elsewhere.iter().any(|names| !names.is_empty()) || known.time {
            return refuse(
                "reads more than `input`: no person, project, secret, variable or time".to_owned(),
            );
        }
        if !known.reads("input") {
            return refuse("reads nothing of `input`, so it would choose the same for every call".to_owned());
        }
        Ok(Self(template))
    }

    /// The text that it chooses by; `None`: nothing is chosen. A name that `input` lacks is an error.
    pub fn text(&self, input: &Value) -> Result<Option<String>, RenderError> {
        let input = Input(input);
        let value = self.0.value(&input).map_err(|error| error.at("by"))?;
        let text = match &value {
            Val::None => return Ok(None),
            value => value.to_text().ok_or_else(|| {
                RenderError::template(format!(
                    "a text or a number is needed, the template gives {}",
                    value.what()
                ))
                .at("by")
            })?,
        };
        let text = text.trim();
        Ok(if text.is_empty() { None } else { Some(text.to_owned()) })
    }
}

struct Input<'a>(&'a Value);

fn none<T>(what: &str) -> Result<T, Stop> {
    Err(Stop::Undefined(format!("there is no {what} here")))
}

impl Env for Input<'_> {
    fn root(&self, name: &str) -> Result<Val<'_>, Stop> {
        if name == "input" { Ok(Val::from_json(self.0)) } else { none("such name") }
    }

    fn object(&self, _object: Object, _attribute: &str) -> Result<Val<'_>, Stop> {
        none("person or project")
    }

    fn secret(&self, _name: &str) -> Result<Val<'_>, Stop> {
        none("secret")
    }

    fn variable(&self, _name: &str) -> Result<Val<'_>, Stop> {
        none("variable")
    }

    fn now(&self) -> Result<Timestamp, Stop> {
        none("time")
    }

    fn entropy(&self) -> Result<&dyn Entropy, Stop> {
        none("chance")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    fn chosen(source: &str, input: Value) -> Result<Option<String>, String> {
        Choice::parse(source).map_err(|error| error.message)?.text(&input).map_err(|error| error.to_string())
    }

    #[test]
    fn data_chooses() {
        let input = json!({"customer": {"id": 42, "name": " Acme "}, "none": null, "list": [1], "empty": ""});
        assert_eq!(chosen("{{ input.customer.id }}", input.clone()), Ok(Some("42".into())));
        assert_eq!(chosen("eu-{{ input.customer.id }}", input.clone()), Ok(Some("eu-42".into())));
        assert_eq!(chosen("{{ input.customer.name }}", input.clone()), Ok(Some("Acme".into())));
        assert_eq!(chosen("{{ input.none }}", input.clone()), Ok(None));
        assert_eq!(chosen("{{ input.empty }}", input.clone()), Ok(None));
        assert!(
            chosen("{{ input.missing }}", input.clone()).is_err(),
            "a missing name is an error, never nothing"
        );
        assert!(chosen("{{ input.list }}", input).is_err());
    }

    #[test]
    fn nothing_else_has_a_say() {
        for bad in [
            "constant",
            "{{ token }}",
            "{{ user.email }}",
            "{{ project.slug }}",
            "{{ get_secret('x') }}",
            "{{ get_variable('x') }}{{ input.a }}",
            "{{ input.a }}{{ environment }}",
            "{{ now() }}{{ input.a }}",
            "{{ input.a",
        ] {
            assert!(Choice::parse(bad).is_err(), "{bad}");
        }
    }
}
