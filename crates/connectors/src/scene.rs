//! The world in which a method's templates are rendered: fields, `let`, token, person, secrets.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use latchstring_model::{Entropy, SecretString, Timestamp};
use serde_json::{Map, Value};

use crate::context::{Context, Uses};
use crate::definition::{AuthMethod, Entries, JsonTemplate};
use crate::error::{LookupKind, RenderError};
use crate::template::{Env, Object, Stop, Template, Text, Val};
use crate::values::{Stored, same};

pub(crate) struct Scene<'a> {
    pub method: &'a AuthMethod,
    pub ctx: &'a Context<'a>,
    /// What earlier steps of a login extracted; stands before the context's token.
    pub extracted: Option<&'a Map<String, Value>>,
    pub item: Option<&'a Value>,
    pub uses: RefCell<Uses>,
    /// What must not be shown: secret fields, and everything from `get_secret`.
    pub mask: RefCell<Vec<SecretString>>,
    memo: RefCell<BTreeMap<String, (Val<'static>, Uses)>>,
    open: RefCell<BTreeSet<String>>,
}

fn stop<T>(detail: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Error(RenderError::template(detail)))
}

impl<'a> Scene<'a> {
    pub fn new(method: &'a AuthMethod, ctx: &'a Context<'a>) -> Self {
        Self {
            method,
            ctx,
            extracted: None,
            item: None,
            uses: RefCell::default(),
            mask: RefCell::default(),
            memo: RefCell::default(),
            open: RefCell::default(),
        }
    }

    fn token(&self) -> Option<&'a Map<String, Value>> {
        self.extracted.or(self.ctx.token)
    }

    /// Whether a template needs a token that is not there yet.
    pub fn lacks_token(&self, template: &Template) -> bool {
        if self.token().is_some() || !self.method.scheme.has_token() {
            return false;
        }
        let known = template.known();
        known.reads("token")
            || self
                .method
                .lets
                .iter()
                .any(|(name, template)| known.reads(name) && template.known().reads("token"))
    }

    pub fn text(&self, template: &Template, place: &str) -> Result<Option<SecretString>, RenderError> {
        match template.value(self).map_err(|error| error.at(place))? {
            Val::None => Ok(None),
            Val::Text(text) => Ok(Some(text.into_secret())),
            other => match other.to_text() {
                Some(text) => Ok(Some(SecretString::new(text.into_owned()))),
                None => Err(RenderError::template(format!(
                    "a text is needed, the template gives {}",
                    other.what()
                ))
                .at(place)),
            },
        }
    }

    pub fn json_of(&self, template: &Template, place: &str) -> Result<Value, RenderError> {
        let val = template.value(self).map_err(|error| error.at(place))?;
        val.to_json().ok_or_else(|| RenderError::template("this is no value").at(place))
    }

    pub fn json(&self, template: &JsonTemplate, place: &str) -> Result<Value, RenderError> {
        Ok(match template {
            JsonTemplate::Value(value) => value.clone(),
            JsonTemplate::Text(template) => self.json_of(template, place)?,
            JsonTemplate::List(items) => {
                Value::Array(items.iter().map(|item| self.json(item, place)).collect::<Result<_, _>>()?)
            }
            JsonTemplate::Map(map) => {
                let mut out = Map::new();
                for (name, item) in map {
                    let value = self.json(item, &format!("{place}.{name}"))?;
                    // `name: "{{ left_out }}"` leaves the member out; `name: null` in the file is sent.
                    if value.is_null() && matches!(item, JsonTemplate::Text(_)) {
                        continue;
                    }
                    out.insert(name.clone(), value);
                }
                Value::Object(out)
            }
        })
    }

    /// Entries whose template yields nothing are left out.
    pub fn entries(
        &self,
        entries: &Entries,
        place: &str,
    ) -> Result<Vec<(String, SecretString)>, RenderError> {
        match entries {
            Entries::Each(each) => {
                let mut out = Vec::with_capacity(each.len());
                for (name, template) in each {
                    if let Some(text) = self.text(template, &format!("{place}.{name}"))? {
                        out.push((name.clone(), text));
                    }
                }
                Ok(out)
            }
            Entries::Whole(template) => self.map_of(template, place),
        }
    }

    pub fn map_of(
        &self,
        template: &Template,
        place: &str,
    ) -> Result<Vec<(String, SecretString)>, RenderError> {
        let named = self.names_of(template, place)?;
        Ok(named.into_iter().filter_map(|(name, value)| Some((name, value?))).collect())
    }

    /// The same with the names that stand for nothing.
    pub fn names_of(
        &self,
        template: &Template,
        place: &str,
    ) -> Result<Vec<(String, Option<SecretString>)>, RenderError> {
        match self.json_of(template, place)? {
            Value::Null => Ok(Vec::new()),
            Value::Object(map) => {
                let mut out = Vec::new();
                for (name, value) in map {
                    match value {
                        Value::Null => out.push((name, None)),
                        Value::String(text) => out.push((name, Some(SecretString::new(text)))),
                        Value::Bool(_) | Value::Number(_) => {
                            out.push((name, Some(SecretString::new(value.to_string()))))
                        }
                        Value::Array(items) if items.is_empty() => out.push((name, None)),
                        Value::Array(items) => {
                            // `a: [1, 2]` is sent as `a=1&a=2`.
                            for item in items {
                                match item {
                                    Value::String(text) => {
                                        out.push((name.clone(), Some(SecretString::new(text))));
                                    }
                                    Value::Bool(_) | Value::Number(_) => {
                                        out.push((name.clone(), Some(SecretString::new(item.to_string()))));
                                    }
                                    _ => return Err(not_flat(place)),
                                }
                            }
                        }
                        Value::Object(_) => return Err(not_flat(place)),
                    }
                }
                Ok(out)
            }
            _ => Err(RenderError::template("a map is needed here").at(place)),
        }
    }

    /// A field's or `let`'s value; what it reads is counted for whoever asks, also the second time.
    fn remembered(
        &self,
        name: &str,
        make: impl FnOnce() -> Result<Val<'static>, Stop>,
    ) -> Result<Val<'static>, Stop> {
        if let Some((val, uses)) = self.memo.borrow().get(name) {
            self.uses.borrow_mut().merge(uses);
            return Ok(val.clone());
        }
        if !self.open.borrow_mut().insert(name.to_owned()) {
            return stop(format!("`{name}` is defined by itself"));
        }
        let outer = self.uses.replace(Uses::default());
        let made = make();
        let own = self.uses.replace(outer);
        self.uses.borrow_mut().merge(&own);
        self.open.borrow_mut().remove(name);
        let val = made?;
        self.memo.borrow_mut().insert(name.to_owned(), (val.clone(), own));
        Ok(val)
    }

    pub fn visible(&self, name: &str) -> bool {
        let Some(field) = self.method.field(name) else { return true };
        field.visible_when.iter().all(|(other, wanted)| {
            let given = match self.ctx.values.get(other) {
                Some(Stored::Text(text)) => Value::from(text.expose()),
                Some(Stored::Json(value)) => value.clone(),
                Some(_) => return true,
                None => {
                    self.method.field(other).and_then(|field| field.default.clone()).unwrap_or(Value::Null)
                }
            };
            wanted.iter().any(|wanted| same(wanted, &given))
        })
    }

    fn field(&self, name: &str) -> Result<Option<Val<'_>>, Stop> {
        let declared = self.method.field(name);
        let stored = self.ctx.values.get(name).filter(|_| self.visible(name));
        let secret = declared.is_none_or(|field| field.secret);
        let val = match stored {
            Some(Stored::Text(text)) => Val::Text(Text::Ref(text.expose())),
            Some(Stored::Json(value)) => Val::from_json(value),
            Some(Stored::Template { template, .. }) => self.remembered(name, || {
                let val = template.value(self).map_err(|error| Stop::Error(error.at(name)))?;
                let val = owned(val);
                let (Some(field), Some(json)) = (declared, val.to_json()) else {
                    return Ok(val);
                };
                // A choice or an address must be one of its kind whatever the template made.
                match crate::values::made(field, &json) {
                    Ok(Some(Stored::Text(text))) => Ok(Val::Text(Text::Own(text))),
                    Ok(Some(Stored::Json(value))) => Ok(Val::from_owned_json(value)),
                    Ok(_) if field.optional => Ok(Val::None),
                    Ok(_) => Err(Stop::Error(
                        RenderError::template("the template gives nothing, and the field is needed").at(name),
                    )),
                    Err(detail) => Err(Stop::Error(
                        RenderError::template(format!("the template's result does not fit: {detail}"))
                            .at(name),
                    )),
                }
            })?,
            Some(Stored::JsonTemplate { template, .. }) => self.remembered(name, || {
                self.json(template, name).map(Val::from_owned_json).map_err(Stop::Error)
            })?,
            None => match declared {
                Some(field) => match &field.default {
                    Some(default) if self.visible(name) => Val::from_json(default),
                    _ => Val::None,
                },
                None => return Ok(None),
            },
        };
        if secret {
            self.keep_masked(&val);
        }
        Ok(Some(val))
    }

    fn keep_masked(&self, val: &Val<'_>) {
        match val {
            Val::Text(text) => self.mask_text(text.as_str()),
            Val::Json(value) => self.mask_json(value),
            _ => {}
        }
    }

    pub fn mask_text(&self, text: &str) {
        let mut mask = self.mask.borrow_mut();
        if !text.is_empty() && !mask.iter().any(|known| known.expose() == text) {
            mask.push(SecretString::new(text));
        }
    }

    pub fn mask_json(&self, value: &Value) {
        match value {
            Value::String(text) => self.mask_text(text),
            Value::Array(items) => items.iter().for_each(|item| self.mask_json(item)),
            Value::Object(map) => map.values().for_each(|item| self.mask_json(item)),
            _ => {}
        }
    }
}

fn not_flat(place: &str) -> RenderError {
    RenderError::template("the values of this map must be texts, numbers or booleans").at(place)
}

fn owned(val: Val<'_>) -> Val<'static> {
    match val {
        Val::None => Val::None,
        Val::Bool(flag) => Val::Bool(flag),
        Val::Int(whole) => Val::Int(whole),
        Val::Float(real) => Val::Float(real),
        Val::Text(text) => Val::Text(Text::Own(text.into_secret())),
        Val::Json(value) => Val::Json(Cow::Owned(value.into_owned())),
        Val::Object(object) => Val::Object(object),
    }
}

impl Env for Scene<'_> {
    fn root(&self, name: &str) -> Result<Val<'_>, Stop> {
        match name {
            "environment" => match self.ctx.environment {
                Some(environment) => {
                    let mut uses = self.uses.borrow_mut();
                    uses.environment = true;
                    uses.read("environment".into(), environment);
                    Ok(Val::Text(Text::Ref(environment)))
                }
                None => stop("there is no environment in this call"),
            },
            "input" => {
                self.uses.borrow_mut().input = true;
                match self.ctx.input {
                    Some(input) => Ok(Val::from_json(input)),
                    None => stop("there is no `input` in this call"),
                }
            }
            "item" => match self.item {
                Some(item) => Ok(Val::from_json(item)),
                None => stop("there is no `item` here"),
            },
            "token" if self.method.scheme.has_token() || self.method.field("token").is_none() => {
                self.uses.borrow_mut().token = true;
                match self.token() {
                    Some(token) => Ok(Val::Json(Cow::Owned(Value::Object(token.clone())))),
                    None => stop("there is no token yet"),
                }
            }
            _ => {
                if let Some((_, template)) = self.method.lets.iter().find(|(known, _)| known == name) {
                    return self.remembered(name, || {
                        template
                            .value(self)
                            .map(owned)
                            .map_err(|error| Stop::Error(error.at(&format!("let.{name}"))))
                    });
                }
                match self.field(name)? {
                    Some(val) => Ok(val),
                    None => Err(Stop::Undefined(format!(
                        "there is no `{}` among the credential's values",
                        name.chars().take(60).collect::<String>()
                    ))),
                }
            }
        }
    }

    fn object(&self, object: Object, attribute: &str) -> Result<Val<'_>, Stop> {
        let (what, text) = match object {
            Object::Fields => return self.root(attribute),
            Object::User => {
                self.uses.borrow_mut().user = true;
                let Some(user) = self.ctx.user else {
                    return stop(
                        "`user` is read, but nobody's name stands behind this call: a service key calls for a person only \
                         when it may (`may_act_for`) and names one in the header Latchstring-User",
                    );
                };
                let text = match attribute {
                    "id" => &user.id,
                    "email" => &user.email,
                    "first_name" => &user.first_name,
                    "last_name" => &user.last_name,
                    "username" => &user.username,
                    _ => &user.name,
                };
                ("user", text)
            }
            Object::Project => {
                self.uses.borrow_mut().project = true;
                let Some(project) = self.ctx.project else {
                    return stop("`project` is read, but this call has none");
                };
                let text = match attribute {
                    "id" => &project.id,
                    "slug" => &project.slug,
                    _ => &project.name,
                };
                ("project", text)
            }
        };
        self.uses.borrow_mut().read(format!("{what}.{attribute}"), text);
        // Somebody without a user name must not become everybody without one.
        if text.is_empty() {
            return Err(Stop::Undefined(format!("`{what}.{attribute}` is empty for whom this call is made")));
        }
        Ok(Val::Text(Text::Ref(text)))
    }

    fn secret(&self, name: &str) -> Result<Val<'_>, Stop> {
        let found =
            self.ctx.lookup.secret(name).map_err(|_| RenderError::LookupFailed { at: String::new() })?;
        let Some(secret) = found else {
            return Err(Stop::Error(RenderError::SecretMissing {
                name: name.to_owned(),
                kind: LookupKind::Secret,
                at: String::new(),
            }));
        };
        self.mask_text(secret.value.expose());
        let mut uses = self.uses.borrow_mut();
        uses.read(format!("secret:{name}"), secret.value.expose());
        if !secret.hosts.is_empty() {
            uses.restricted.insert(name.to_owned(), secret.hosts);
        }
        Ok(Val::Text(Text::Own(secret.value)))
    }

    fn variable(&self, name: &str) -> Result<Val<'_>, Stop> {
        let found =
            self.ctx.lookup.variable(name).map_err(|_| RenderError::LookupFailed { at: String::new() })?;
        let Some(value) = found else {
            return Err(Stop::Error(RenderError::SecretMissing {
                name: name.to_owned(),
                kind: LookupKind::Variable,
                at: String::new(),
            }));
        };
        self.uses.borrow_mut().read(format!("variable:{name}"), &value);
        Ok(Val::own(value))
    }

    fn now(&self) -> Result<Timestamp, Stop> {
        self.uses.borrow_mut().time = true;
        Ok(self.ctx.now)
    }

    fn entropy(&self) -> Result<&dyn Entropy, Stop> {
        self.uses.borrow_mut().time = true;
        Ok(self.ctx.entropy)
    }
}
