//! A project as the server has it, in the words of the file.

use std::collections::{BTreeMap, HashSet};

use serde_json::{Map, Value, json};

use super::thing::{Kind, Name, is_nothing, numbered};
use crate::Ending;
use crate::commands::client::{Api, Body, part, usage};

/// As whom the commands work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Me {
    Person {
        email: String,
    },
    /// A service account of the project.
    Account,
}

/// Something that is there.
#[derive(Debug)]
pub struct There {
    pub body: Map<String, Value>,
    /// As a mark names it.
    pub id: String,
    pub etag: Option<String>,
    /// May be edited by whoever asks.
    pub owned: bool,
    /// As the API shows it.
    pub raw: Value,
}

#[derive(Debug)]
pub struct Present {
    pub slug: String,
    /// What calls itself admin of it may do more than an editor; see [`Present::is_admin`].
    pub role: String,
    pub things: BTreeMap<Name, There>,
    pub environments: Vec<String>,
    /// (kind, name) of what `apply` has made.
    pub marks: HashSet<(String, String)>,
    /// Parts that this role does not see.
    pub unseen: Vec<Kind>,
    /// All connectors that the project may use, as the API shows them.
    pub connectors: Vec<Value>,
    /// OAuth clients: (id, name).
    pub clients: Vec<(String, String)>,
}

pub async fn me(api: &mut Api) -> Result<Me, Ending> {
    match api.ask("GET", "/me", Body::None, None).await? {
        Ok(said) => Ok(Me::Person { email: text(&said.body["email"]).to_lowercase() }),
        // A person belongs to what a service account is refused here for.
        Err(refusal) if refusal.code() == "not_allowed" => Ok(Me::Account),
        Err(refusal) => Err(refusal.into()),
    }
}

pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn picked(from: &Value, names: &[&str]) -> Map<String, Value> {
    names.iter().map(|name| ((*name).to_owned(), from[*name].clone())).collect()
}

fn there(body: Map<String, Value>, id: impl Into<String>, raw: Value) -> There {
    There { body, id: id.into(), etag: None, owned: true, raw }
}

impl Present {
    pub fn is_admin(&self) -> bool {
        matches!(self.role.as_str(), "admin" | "owner")
    }

    /// `None`: there is no such project, or it is somebody else's.
    pub async fn load(api: &mut Api, project: &str, me: &Me) -> Result<Option<Self>, Ending> {
        let base = format!("/projects/{}", part(project));
        let said = match api.ask("GET", &base, Body::None, None).await? {
            Ok(said) => said,
            Err(refusal) if refusal.status == 404 => return Ok(None),
            Err(refusal) => return Err(refusal.into()),
        };
        if said.body["locked"] == true {
            return Err(usage(format!(
                "the project {project} is for people with a second factor, and this key's person has none: they set one up at /account"
            )));
        }
        let environments: Vec<String> =
            said.body["environments"].as_array().into_iter().flatten().map(text).collect();
        let mut present = Self {
            slug: text(&said.body["slug"]),
            role: text(&said.body["role"]),
            things: BTreeMap::new(),
            environments,
            marks: HashSet::new(),
            unseen: Vec::new(),
            connectors: Vec::new(),
            clients: Vec::new(),
        };
        let mut own = there(picked(&said.body, &["slug", "name", "require_second_factor"]), "", said.body);
        own.etag = said.etag;
        present.things.insert((Kind::Project, String::new()), own);
        for mark in api.list(&format!("{base}/applied")).await?? {
            present.marks.insert((text(&mark["kind"]), text(&mark["name"])));
        }
        present.simple(api, &base).await?;
        present.connectors(api).await?;
        present.credentials(api, me).await?;
        for client in api.list(&format!("/oauth-clients?project={}", part(project))).await?? {
            present.clients.push((text(&client["id"]), text(&client["name"])));
        }
        present.name_clients();
        present.keys(api, &base).await?;
        Ok(Some(present))
    }

    fn add(&mut self, kind: Kind, name: &str, thing: There) {
        self.things.insert((kind, name.to_owned()), thing);
    }

    async fn simple(&mut self, api: &mut Api, base: &str) -> Result<(), Ending> {
        for name in self.environments.clone() {
            self.add(Kind::Environment, &name, there(Map::new(), &name, Value::Null));
            for (kind, section, fields) in [
                (Kind::Variable, "variables", &["value", "hosts"][..]),
                (Kind::Secret, "secrets", &["hosts"]),
            ] {
                for item in api.list(&format!("{base}/environments/{}/{section}", part(&name))).await?? {
                    let full = format!("{name}/{}", text(&item["name"]));
                    self.add(kind, &full, there(picked(&item, fields), &full, Value::Null));
                }
            }
        }
        for member in api.list(&format!("{base}/members")).await?? {
            let id = text(&member["user_id"]);
            let email = text(&member["email"]).to_lowercase();
            self.add(Kind::Member, &email, there(picked(&member, &["role"]), id, member));
        }
        for keychain in api.list(&format!("{base}/keychains")).await?? {
            let mut body = picked(&keychain, &["name", "connector", "by"]);
            body.insert("default".into(), keychain["default_slug"].clone());
            self.add(Kind::Keychain, &text(&keychain["slug"]), there(body, text(&keychain["id"]), keychain));
        }
        match api.list(&format!("{base}/webhooks")).await? {
            Ok(all) => {
                for webhook in all {
                    let name = numbered(Kind::Webhook, &text(&webhook["url"]), &self.things);
                    let body = picked(&webhook, &["url", "events", "description", "disabled"]);
                    self.add(Kind::Webhook, &name, there(body, text(&webhook["id"]), webhook));
                }
            }
            Err(refusal) if refusal.status == 403 => self.unseen.push(Kind::Webhook),
            Err(refusal) => return Err(refusal.into()),
        }
        Ok(())
    }

    async fn connectors(&mut self, api: &mut Api) -> Result<(), Ending> {
        let of = format!("project={}", part(&self.slug));
        self.connectors = api.list(&format!("/connectors?{of}")).await??;
        let own: Vec<String> = self
            .connectors
            .iter()
            .filter(|one| !one["project_id"].is_null())
            .map(|one| text(&one["id"]))
            .collect();
        for id in own {
            let said = api.get(&format!("/connectors/{}?{of}", part(&id))).await?;
            let body = Map::from_iter([("definition".to_owned(), said.body["source"].clone())]);
            self.add(Kind::Connector, &id, There { etag: said.etag, ..there(body, &id, Value::Null) });
        }
        Ok(())
    }

    async fn credentials(&mut self, api: &mut Api, me: &Me) -> Result<(), Ending> {
        for listed in api.list(&format!("/credentials?project={}", part(&self.slug))).await?? {
            let owner = match text(&listed["owner"]["type"]).as_str() {
                "project" => "project".to_owned(),
                _ => text(&listed["owner"]["email"]).to_lowercase(),
            };
            let owned = match me {
                Me::Person { email } => owner == *email || (owner == "project" && self.is_admin()),
                Me::Account => owner == "project",
            };
            let (etag, whole) = if owned {
                let said = api.get(&format!("/credentials/{}", part(&text(&listed["id"])))).await?;
                (said.etag, said.body)
            } else {
                (None, listed)
            };
            let shares = whole["shares"].as_array().into_iter().flatten();
            let here = shares.into_iter().find(|share| share["project"] == self.slug.as_str()).cloned();
            let here = here.unwrap_or_default();
            let mut body = picked(&whole, &["name", "connector", "auth_method"]);
            body.insert("owner".into(), owner.into());
            body.insert("external_id".into(), here["external_id"].clone());
            body.extend(picked(&whole, &["oauth_client", "note", "acts_as", "expires_on"]));
            let mut sets = Map::new();
            for (name, set) in whole["environments"].as_object().into_iter().flatten() {
                let mut shown = Map::new();
                if set["fields"].is_object() {
                    shown.insert("fields".into(), set["fields"].clone());
                }
                let mut names: Vec<String> =
                    set["secret_fields"].as_array().into_iter().flatten().map(text).collect();
                names.sort();
                shown.insert("secret_fields".into(), names.into());
                sets.insert(name.clone(), shown.into());
            }
            body.insert("values".into(), sets.into());
            body.insert("grants".into(), here["grants"].clone());
            let slug = text(&here["slug"]);
            self.add(
                Kind::Credential,
                &slug,
                There { body, id: text(&whole["id"]), etag, owned, raw: whole },
            );
        }
        Ok(())
    }

    /// Files name OAuth clients as people do; one that is not seen keeps its id.
    fn name_clients(&mut self) {
        let clients = self.clients.clone();
        for (_, thing) in self.things.iter_mut().filter(|((kind, _), _)| *kind == Kind::Credential) {
            let name = clients.iter().find(|(id, _)| thing.body["oauth_client"] == id.as_str());
            if let Some((_, name)) = name {
                thing.body.insert("oauth_client".into(), name.as_str().into());
            }
        }
    }

    async fn keys(&mut self, api: &mut Api, base: &str) -> Result<(), Ending> {
        let slugs: BTreeMap<String, String> = self
            .things
            .iter()
            .filter(|((kind, _), _)| *kind == Kind::Credential)
            .map(|((_, slug), thing)| (thing.id.clone(), slug.clone()))
            .collect();
        for key in api.list(&format!("{base}/api-keys")).await?? {
            let names: Vec<&str> = Kind::ServiceKey.fields().iter().map(|(name, ..)| *name).collect();
            let mut body = picked(&key, &names);
            if let Some(ids) = key["credentials"].as_array() {
                let named = ids.iter().map(text).map(|id| slugs.get(&id).cloned().unwrap_or(id));
                body.insert("credentials".into(), named.collect::<Vec<_>>().into());
            }
            let name = numbered(Kind::ServiceKey, &text(&key["name"]), &self.things);
            self.add(Kind::ServiceKey, &name, there(body, text(&key["id"]), key));
        }
        Ok(())
    }

    /// `apply` has made it, and nobody has removed it since. `id`: as a mark names it.
    pub fn is_marked(&self, kind: Kind, id: &str) -> bool {
        self.marks.contains(&(kind.word().to_owned(), id.to_owned()))
    }

    /// Scheduled for deletion: nothing uses it any more.
    pub fn is_going(thing: &There) -> bool {
        !thing.raw["deletes_at"].is_null()
    }

    /// The project as a file.
    pub fn document(&self) -> Value {
        let mut parts: BTreeMap<Kind, Value> = Kind::ALL
            .into_iter()
            .filter(|kind| !self.unseen.contains(kind))
            .map(|kind| {
                (kind, if matches!(kind, Kind::Webhook | Kind::ServiceKey) { json!([]) } else { json!({}) })
            })
            .collect();
        parts.insert(Kind::Environment, self.environments.clone().into());
        for ((kind, name), thing) in &self.things {
            let mut body = thing.body.clone();
            for set in
                body.get_mut("values").and_then(Value::as_object_mut).into_iter().flat_map(Map::values_mut)
            {
                if let Some(set) = set.as_object_mut() {
                    set.retain(|_, names| !is_nothing(names));
                }
            }
            body.retain(|_, value| !is_nothing(value));
            let (Some(section), false) = (parts.get_mut(kind), Self::is_going(thing)) else { continue };
            match kind {
                Kind::Environment => {}
                Kind::Project => *section = body.into(),
                Kind::Member => section[name] = thing.body["role"].clone(),
                Kind::Variable | Kind::Secret => {
                    let (environment, name) = name.split_once('/').unwrap_or_default();
                    let value = match kind {
                        Kind::Variable if body.contains_key("hosts") => thing.body.clone().into(),
                        Kind::Variable => thing.body["value"].clone(),
                        _ => body.into(),
                    };
                    section[environment][name] = value;
                }
                Kind::Webhook | Kind::ServiceKey => {
                    if let Some(list) = section.as_array_mut() {
                        list.push(body.into());
                    }
                }
                Kind::Connector | Kind::Credential | Kind::Keychain => section[name] = body.into(),
            }
        }
        let mut document = json!({"latchstring": 1});
        for (kind, part) in parts {
            if kind != Kind::Secret && kind != Kind::Variable || !is_nothing(&part) {
                document[kind.section()] = part;
            }
        }
        document
    }
}
