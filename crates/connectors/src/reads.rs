//! What a login in steps could read, told from its templates without rendering them. A step is rendered only
//! when those before it were answered, and the key of the session that comes of it is needed before that.
//!
//! Every branch of every template counts: two people with a session each where one would have done is
//! harmless, one session for two people is not.

use std::collections::BTreeSet;

use crate::definition::{BodySpec, Conf, Definition, Entries, JsonTemplate, RequestSpec, Target};
use crate::error::RenderError;
use crate::scene::Scene;
use crate::table::SchemeType;
use crate::template::{Env, Object, Stop, Template, Val};
use crate::values::Stored;

/// Counts among the scene's uses what the login's requests could read. Nothing for other schemes: theirs are
/// rendered whole.
pub(crate) fn login(scene: &Scene<'_>, definition: &Definition) -> Result<(), RenderError> {
    let method = scene.method;
    if !matches!(method.scheme.ty, SchemeType::Steps) {
        return Ok(());
    }
    let mut walk = Walk { scene, seen: BTreeSet::new() };
    for (key, conf) in &method.scheme.config {
        // What is made of the session afterwards is the call's affair.
        if key.name == "apply" {
            continue;
        }
        walk.conf(conf)?;
        if let Conf::Steps(steps) = conf
            && steps.iter().any(|step| matches!(step.request.target, Target::Path(_)))
            && let Some(base) = method.base_url.as_ref().or(definition.base_url.as_ref())
        {
            walk.template(base)?;
        }
    }
    Ok(())
}

struct Walk<'w> {
    scene: &'w Scene<'w>,
    /// Names of `let`s and fields that were walked: each once, also when they read each other.
    seen: BTreeSet<String>,
}

impl Walk<'_> {
    fn conf(&mut self, conf: &Conf) -> Result<(), RenderError> {
        match conf {
            Conf::Text(template) => self.template(template),
            Conf::Map(entries) => self.entries(entries),
            Conf::List(templates) => templates.iter().try_for_each(|template| self.template(template)),
            Conf::Json(json) => self.json(json),
            Conf::Nested(config) => config.iter().try_for_each(|(_, conf)| self.conf(conf)),
            Conf::Answer(_) => Ok(()),
            Conf::Steps(steps) => steps.iter().try_for_each(|step| self.request(&step.request)),
            Conf::Body(body) => self.body(body),
        }
    }

    fn request(&mut self, spec: &RequestSpec) -> Result<(), RenderError> {
        let (Target::Path(target) | Target::Url(target)) = &spec.target;
        self.template(target)?;
        self.entries(&spec.query)?;
        self.entries(&spec.headers)?;
        spec.body.as_ref().map_or(Ok(()), |body| self.body(body))
    }

    fn body(&mut self, body: &BodySpec) -> Result<(), RenderError> {
        match body {
            BodySpec::Json(json) => self.json(json),
            BodySpec::Form(entries) => self.entries(entries),
            BodySpec::Text { text, .. } => self.template(text),
        }
    }

    fn entries(&mut self, entries: &Entries) -> Result<(), RenderError> {
        match entries {
            Entries::Each(each) => each.iter().try_for_each(|(_, template)| self.template(template)),
            Entries::Whole(template) => self.template(template),
        }
    }

    fn json(&mut self, json: &JsonTemplate) -> Result<(), RenderError> {
        match json {
            JsonTemplate::Value(_) => Ok(()),
            JsonTemplate::Text(template) => self.template(template),
            JsonTemplate::List(items) => items.iter().try_for_each(|item| self.json(item)),
            JsonTemplate::Map(map) => map.iter().try_for_each(|(_, item)| self.json(item)),
        }
    }

    fn template(&mut self, template: &Template) -> Result<(), RenderError> {
        let (scene, known) = (self.scene, template.known());
        for attribute in &known.user {
            passed(scene.object(Object::User, attribute))?;
        }
        for attribute in &known.project {
            passed(scene.object(Object::Project, attribute))?;
        }
        for name in &known.secrets {
            passed(scene.secret(name))?;
        }
        for name in &known.variables {
            passed(scene.variable(name))?;
        }
        for name in &known.roots {
            if name == "environment" {
                passed(scene.root(name))?;
            }
            if self.seen.insert(name.clone()) {
                self.named(name)?;
            }
        }
        Ok(())
    }

    /// A `let` and a field of one name are both walked: which of them is meant is not asked.
    fn named(&mut self, name: &str) -> Result<(), RenderError> {
        let scene = self.scene;
        if let Some((_, template)) = scene.method.lets.iter().find(|(known, _)| known == name) {
            self.template(template)?;
        }
        let Some(stored) = scene.ctx.values.get(name).filter(|_| scene.visible(name)) else { return Ok(()) };
        let secret = scene.method.field(name).is_none_or(|field| field.secret);
        match stored {
            Stored::Text(text) if secret => scene.mask_text(text.expose()),
            Stored::Json(value) if secret => scene.mask_json(value),
            Stored::Text(_) | Stored::Json(_) => {}
            Stored::Template { template, .. } => self.template(template)?,
            Stored::JsonTemplate { template, .. } => self.json(template)?,
        }
        Ok(())
    }
}

/// What is missing may stand in a branch that is not taken: if it is, the step says so. Only a store that
/// could not be asked ends it here, since the key would be that of another session.
fn passed(read: Result<Val<'_>, Stop>) -> Result<(), RenderError> {
    match read {
        Err(Stop::Error(error @ RenderError::LookupFailed { .. })) => Err(error.at("scheme.steps")),
        _ => Ok(()),
    }
}
