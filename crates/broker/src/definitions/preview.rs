//! What a definition would send, while it is written: each of its methods with stand-ins for the fields, from their own
//! examples where they have some. No credential, no secret and nobody asked.

use std::collections::BTreeSet;
use std::sync::Arc;

use latchstring_connectors::{AuthMethod, Definition, Field, FieldType};
use latchstring_model::problem::Refused;
use serde_json::{Map, Value, json};

use super::change::check;
use crate::actor::Actor;
use crate::credentials::preview::Sketch;
use crate::permissions::Operation;
use crate::projects::access;
use crate::road::authorise::ProjectAt;
use crate::road::materials::{Materials, project_context, user_context};
use crate::{Broker, refusals};

/// Stands for a text of which nothing is known.
const STAND_IN: &str = "example";
/// Of the project's environments, where a template asks for one.
const ENVIRONMENT: &str = "production";

/// A host that the definition lets values go to.
fn host(definition: &Definition) -> String {
    let named = definition.hosts.first().map(ToString::to_string).filter(|host| host != "*");
    let host = named.unwrap_or_else(|| "api.example.com".to_owned());
    host.strip_prefix("*.").map(|rest| format!("example.{rest}")).unwrap_or(host)
}

/// Something that may stand in a field: its default, its example, or what its type asks for.
fn stand_in(definition: &Definition, field: &Field) -> Option<Value> {
    if let Some(given) = field.default.as_ref().or(field.examples.first()) {
        return Some(given.clone());
    }
    if field.optional {
        return None;
    }
    Some(match field.ty {
        FieldType::Url => format!("https://{}", host(definition)).into(),
        FieldType::Choice => field.options.first()?.0.as_str().into(),
        FieldType::Integer | FieldType::Number => {
            json!(format!("{:.0}", field.min.unwrap_or(1.0).max(1.0).ceil()).parse::<i64>().ok()?)
        }
        FieldType::Boolean => true.into(),
        FieldType::Map | FieldType::Json => json!({}),
        FieldType::List => json!([STAND_IN]),
        // A key cannot be made up: what needs one says so.
        FieldType::Pem => return None,
        FieldType::Text => field.placeholder.as_deref().unwrap_or(STAND_IN).into(),
    })
}

fn stand_ins(definition: &Definition, method: &AuthMethod) -> Map<String, Value> {
    let fields = method.fields.iter();
    fields.filter_map(|field| Some((field.name.clone(), stand_in(definition, field)?))).collect()
}

impl Broker {
    /// Reads a definition as if it were saved, and shows what each of its methods would send.
    pub async fn preview_connector(
        &self,
        actor: &Actor,
        project: &str,
        source: &str,
    ) -> Refused<Vec<Sketch>> {
        let project = {
            let mut reader = self.parts.store.read().await.map_err(refusals::store)?;
            access::member(&mut reader, actor, project, Operation::ConnectorCreate).await?.project
        };
        let definition = Arc::new(check(source)?);
        let here = ProjectAt { id: project.id, slug: project.slug, name: project.name };
        let sketches = definition.auth_methods.iter().map(|method| {
            let given = stand_ins(&definition, method);
            // Not checked against patterns: an example is there to be looked at.
            let sketch = match definition.load_values(method, &given) {
                Ok(values) => {
                    let mut materials =
                        Materials::new(Arc::clone(&definition), &method.id, values, Arc::default());
                    materials.user = actor.as_user().map(user_context);
                    materials.project = Some(project_context(&here));
                    materials.environment = Some(ENVIRONMENT.to_owned());
                    self.sketch(&materials, "", BTreeSet::new())
                }
                Err(errors) => Err(latchstring_model::Problem::invalid(errors).into()),
            };
            let sketch =
                sketch.unwrap_or_else(|problem| Sketch { refused: Some(problem), ..Sketch::default() });
            Sketch { of: method.label.clone(), ..sketch }
        });
        Ok(sketches.collect())
    }
}
