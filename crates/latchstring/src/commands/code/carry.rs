//! Carries a plan out, one step after the other. Each step is one change of the server's; what was done stays done, and
//! the same file applied again goes on behind it.

use std::io::Write;

use latchstring_connectors::Position;
use serde_json::{Map, Value, json};

use super::held;
use super::plan::{Act, Difference, Step, said};
use super::secrets::Secrets;
use super::state::{Present, text};
use super::thing::{Kind, Thing, Wanted, Wrong};
use crate::Ending;
use crate::commands::client::{Api, Body, Refusal, Said, part, usage};

pub struct Carrier<'a> {
    pub api: &'a mut Api,
    pub wanted: &'a Wanted,
    pub present: Present,
    pub secrets: Secrets,
    pub unverified: bool,
    /// Where secrets go that the server makes and shows once.
    pub new_secrets: Option<std::fs::File>,
    /// What a person has to do now.
    pub people: Vec<String>,
    /// Marks are for admins; said once.
    pub unmarked: bool,
}

/// Why a step was not done.
pub enum Failed {
    Refused(Refusal),
    /// The server went away, or the like.
    Broken(Ending),
}

impl From<Refusal> for Failed {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Ending> for Failed {
    fn from(ending: Ending) -> Self {
        Self::Broken(ending)
    }
}

type Done<T> = Result<T, Failed>;

impl Carrier<'_> {
    fn base(&self) -> String {
        format!("/projects/{}", part(&self.present.slug))
    }

    async fn send(&mut self, method: &str, path: &str, body: &Value) -> Done<Said> {
        Ok(self.api.ask(method, path, Body::Json(body), None).await??)
    }

    async fn send_if(&mut self, method: &str, path: &str, body: &Value, etag: Option<&str>) -> Done<Said> {
        Ok(self.api.ask(method, path, Body::Json(body), etag).await??)
    }

    async fn delete(&mut self, path: &str) -> Done<Said> {
        Ok(self.api.ask("DELETE", path, Body::None, None).await??)
    }

    /// Says that this was made here, so that `--prune` may remove it one day.
    async fn mark(&mut self, kind: Kind, id: &str) -> Done<()> {
        let path = format!("{}/applied/{}/{}", self.base(), kind.word(), part(id));
        match self.api.ask("PUT", &path, Body::None, None).await? {
            Ok(_) => Ok(()),
            Err(refusal) if refusal.status == 403 => {
                if !std::mem::replace(&mut self.unmarked, true) {
                    self.people.push("what was made now is not marked as made by apply, which is for admins: --prune will leave it".into());
                }
                Ok(())
            }
            Err(refusal) => Err(refusal.into()),
        }
    }

    fn thing(&self, step: &Step) -> Done<&Thing> {
        self.wanted
            .things
            .get(&(step.kind, step.name.clone()))
            .ok_or_else(|| Failed::Broken(usage("a step is for nothing in the file")))
    }

    pub async fn carry(&mut self, step: &Step) -> Done<()> {
        match (step.kind, &step.act) {
            (Kind::Project, Act::Make) => self.make_project().await,
            (Kind::Project, Act::Change(differences)) => {
                let body: Map<String, Value> =
                    differences.iter().map(|one| (one.name.clone(), one.to.clone())).collect();
                let said = self.patch_project(&body.into()).await?;
                self.present.slug = text(&said["slug"]);
                Ok(())
            }
            (Kind::Environment, Act::Make) => {
                if !self.present.environments.contains(&step.name) {
                    let all = self.environments_with(Some(&step.name));
                    self.patch_project(&json!({"environments": all})).await?;
                }
                self.mark(Kind::Environment, &step.name).await
            }
            (Kind::Environment, Act::Remove) => self.remove_environment(&step.name).await,
            (Kind::Environment, _) => {
                let body = json!({"environments": self.environments_with(None)});
                self.patch_project(&body).await.map(drop)
            }
            (Kind::Member, Act::Remove) => {
                let path = format!("{}/members/{}", self.base(), part(&step.name));
                self.delete(&path).await.map(drop)
            }
            (Kind::Member, act) => {
                let role = self.thing(step)?.body.get("role").cloned().unwrap_or_default();
                let path = format!("{}/members/{}", self.base(), part(&step.name));
                let said = self.send("PUT", &path, &json!({"role": role})).await?;
                if *act == Act::Make {
                    self.mark(Kind::Member, &text(&said.body["user_id"])).await
                } else {
                    Ok(())
                }
            }
            (Kind::Connector, _) => self.connector(step).await,
            (Kind::Variable | Kind::Secret, _) => self.value(step).await,
            (Kind::Credential, _) => self.credential(step).await,
            (Kind::Keychain, _) => self.keychain(step).await,
            (Kind::Webhook, _) => self.webhook(step).await,
            (Kind::ServiceKey | Kind::Project, _) => Ok(()),
        }
    }

    /// First without leave to take anything along: what is in it now may be more than the plan has seen.
    async fn remove_environment(&mut self, name: &str) -> Done<()> {
        let all: Vec<&String> = self.present.environments.iter().filter(|one| *one != name).collect();
        let mut body = json!({"environments": all});
        match self.patch_project(&body).await {
            Err(Failed::Refused(refusal)) if refusal.code() == "environment_in_use" => {
                let strange = held::listed(&self.present, name, refusal.more("environments"));
                if !strange.is_empty() {
                    let strange = held::told(&strange);
                    return Err(Failed::Broken(usage(format!(
                        "environments.{name}: it stays, because somebody has put into it what apply did not make: {strange}. Apply again for a plan that knows it"
                    ))));
                }
            }
            other => return other.map(drop),
        }
        body["remove_environments"] = json!([name]);
        self.patch_project(&body).await.map(drop)
    }

    /// The file's, in its order; then what else there is.
    fn environments_with(&self, new: Option<&str>) -> Vec<String> {
        let there = |name: &&String| self.present.environments.contains(name) || Some(name.as_str()) == new;
        let mut all: Vec<String> = self.wanted.environments.iter().filter(there).cloned().collect();
        let others = self.present.environments.iter().filter(|name| !all.contains(name)).cloned();
        let others: Vec<String> = others.collect();
        all.extend(others);
        all
    }

    async fn make_project(&mut self) -> Done<()> {
        let own = self.wanted.things.get(&(Kind::Project, String::new()));
        let name = own.and_then(|own| own.body.get("name")).filter(|name| !name.is_null()).cloned();
        let mut body = json!({"slug": self.present.slug, "name": name.unwrap_or_else(|| self.present.slug.clone().into())});
        if !self.wanted.environments.is_empty() {
            body["environments"] = json!(self.wanted.environments);
        }
        let made = self.send("POST", "/projects", &body).await?;
        self.know_project(&made);
        if own.and_then(|own| own.body.get("require_second_factor")).is_some_and(|wanted| *wanted == true) {
            self.patch_project(&json!({"require_second_factor": true})).await?;
        }
        Ok(())
    }

    fn know_project(&mut self, said: &Said) {
        self.present.environments =
            said.body["environments"].as_array().into_iter().flatten().map(text).collect();
        let key = (Kind::Project, String::new());
        let mut known = super::state::There {
            body: Map::new(),
            id: String::new(),
            etag: None,
            owned: true,
            raw: Value::Null,
        };
        known.etag.clone_from(&said.etag);
        self.present.things.insert(key, known);
    }

    /// On top of what was seen: the list of environments is given as a whole.
    async fn patch_project(&mut self, body: &Value) -> Done<Value> {
        let etag = self.present.things.get(&(Kind::Project, String::new())).and_then(|own| own.etag.clone());
        let said = self.send_if("PATCH", &self.base(), body, etag.as_deref()).await?;
        self.know_project(&said);
        Ok(said.body)
    }

    async fn connector(&mut self, step: &Step) -> Done<()> {
        let path = format!("{}/connectors", self.base());
        let own = format!("{path}/{}", part(&step.name));
        let there = self.present.things.get(&(step.kind, step.name.clone()));
        let etag = there.and_then(|there| there.etag.clone());
        if step.act == Act::Remove {
            return self.delete(&own).await.map(drop);
        }
        let source = self.thing(step)?.body.get("definition").map(text).unwrap_or_default();
        if step.act == Act::Make {
            self.api.ask("POST", &path, Body::Yaml(&source), None).await??;
            return self.mark(step.kind, &step.name).await;
        }
        let said = self.api.ask("PUT", &own, Body::Yaml(&source), etag.as_deref()).await??;
        if said.body["destinations_changed"] == true && said.body["credentials_waiting"] != 0 {
            self.people.push(format!(
                "connector {}: values would go elsewhere now, so its {} credentials are not used until each owner approves that",
                step.name, said.body["credentials_waiting"]
            ));
        }
        Ok(())
    }

    async fn value(&mut self, step: &Step) -> Done<()> {
        let (environment, name) = step.name.split_once('/').unwrap_or_default();
        let section = step.kind.section();
        let path = format!("{}/environments/{}/{section}/{}", self.base(), part(environment), part(name));
        if step.act == Act::Remove {
            return self.delete(&path).await.map(drop);
        }
        let thing = self.thing(step)?;
        let there = self.present.things.get(&(step.kind, step.name.clone()));
        let hosts = thing.body.get("hosts").filter(|hosts| !hosts.is_null());
        let hosts = hosts.or_else(|| there.and_then(|there| there.body.get("hosts"))).cloned();
        let value = match step.kind {
            Kind::Variable => thing.body.get("value").cloned(),
            _ => self.secrets.get(&format!("secrets.{environment}.{name}")).cloned(),
        };
        let body = json!({"value": value.unwrap_or_default(), "hosts": hosts.unwrap_or_else(|| json!([]))});
        self.send("PUT", &path, &body).await?;
        if step.act == Act::Make { self.mark(step.kind, &step.name).await } else { Ok(()) }
    }

    async fn keychain(&mut self, step: &Step) -> Done<()> {
        let path = format!("{}/keychains", self.base());
        let own = format!("{path}/{}", part(&step.name));
        match &step.act {
            Act::Remove => self.delete(&own).await.map(drop),
            Act::Make => {
                let mut body = said(&self.thing(step)?.body);
                body.insert("slug".into(), step.name.as_str().into());
                let made = self.send("POST", &path, &body.into()).await?;
                self.mark(step.kind, &text(&made.body["id"])).await
            }
            Act::Change(differences) | Act::Restore(differences) => {
                self.send("PATCH", &own, &changed(differences)).await.map(drop)
            }
        }
    }

    async fn webhook(&mut self, step: &Step) -> Done<()> {
        let path = format!("{}/webhooks", self.base());
        let id = self.present.things.get(&(step.kind, step.name.clone())).map(|there| there.id.clone());
        let own = format!("{path}/{}", part(&id.unwrap_or_default()));
        match &step.act {
            Act::Remove => self.delete(&own).await.map(drop),
            Act::Make => {
                let mut body = said(&self.thing(step)?.body);
                let disabled = body.shift_remove("disabled");
                let made = self.send("POST", &path, &body.into()).await?;
                let id = text(&made.body["id"]);
                self.keep(&format!("webhooks.{id}"), &text(&made.body["secret"]))?;
                if disabled == Some(Value::Bool(true)) {
                    self.send("PATCH", &format!("{path}/{}", part(&id)), &json!({"disabled": true})).await?;
                }
                self.mark(step.kind, &id).await
            }
            Act::Change(differences) | Act::Restore(differences) => {
                self.send("PATCH", &own, &changed(differences)).await.map(drop)
            }
        }
    }

    /// What is shown once goes to the file that was named, or nowhere.
    fn keep(&mut self, path: &str, secret: &str) -> Done<()> {
        match &mut self.new_secrets {
            Some(file) => {
                let line = format!("{path}: {}\n", Value::from(secret));
                file.write_all(line.as_bytes())
                    .map_err(|error| Failed::Broken(usage(format!("the signing secret of {path} was made and cannot be written down: {error}; make another with POST …/rotate-secret"))))
            }
            None => {
                self.people.push(format!(
                    "{path}: its signing secret was not kept (--new-secrets FILE keeps such); the receiver's is made with POST …/webhooks/{{id}}/rotate-secret"
                ));
                Ok(())
            }
        }
    }

    fn verify(&self) -> &'static str {
        if self.unverified { "skip" } else { "required" }
    }

    fn client_id(&self, named: &Value) -> Value {
        let found =
            self.present.clients.iter().find(|(id, name)| named == name.as_str() || named == id.as_str());
        found.map_or(Value::Null, |(id, _)| id.as_str().into())
    }

    /// The values of a set as they are sent: what is not secret from the file, secrets from where they are.
    fn set(&self, slug: &str, set: &str, fields: &[(String, Value)], secrets: &[String]) -> Value {
        let mut all: Map<String, Value> = fields.iter().cloned().collect();
        for field in secrets {
            let secret = self.secrets.get(&format!("credentials.{slug}.{set}.{field}"));
            all.insert(field.clone(), secret.cloned().unwrap_or_default());
        }
        all.into()
    }

    async fn credential(&mut self, step: &Step) -> Done<()> {
        let key = (step.kind, step.name.clone());
        let id = self.present.things.get(&key).map(|there| there.id.clone()).unwrap_or_default();
        let own = format!("/credentials/{}", part(&id));
        match &step.act {
            Act::Remove => self.delete(&own).await.map(drop),
            Act::Make => self.make_credential(step).await,
            Act::Restore(differences) => {
                self.send("POST", &format!("{own}/restore"), &json!({})).await?;
                self.change_credential(step, &own, differences, None).await
            }
            Act::Change(differences) => {
                let etag = self.present.things.get(&key).and_then(|there| there.etag.clone());
                self.change_credential(step, &own, differences, etag).await
            }
        }
    }

    async fn make_credential(&mut self, step: &Step) -> Done<()> {
        let thing = self.thing(step)?;
        let mut body = said(&thing.body);
        let (sets, grants) = (body.shift_remove("values"), body.shift_remove("grants"));
        let owner = body.shift_remove("owner").map(|owner| text(&owner));
        if owner.is_none_or(|owner| owner == "project") {
            body.insert("owner_project".into(), self.present.slug.as_str().into());
        }
        if let Some(client) = body.get("oauth_client").cloned() {
            body.insert("oauth_client".into(), self.client_id(&client));
        }
        let mut values = Map::new();
        for (name, set) in
            sets.iter().filter_map(Value::as_object).flatten().filter(|(_, set)| !set.is_null())
        {
            let fields = set["fields"].as_object().into_iter().flatten();
            let fields: Vec<_> =
                fields.filter(|(_, value)| !value.is_null()).map(|(n, v)| (n.clone(), v.clone())).collect();
            let secrets: Vec<String> =
                set["secret_fields"].as_array().into_iter().flatten().map(text).collect();
            values.insert(name.clone(), self.set(&step.name, name, &fields, &secrets));
        }
        let grants = said(grants.as_ref().and_then(Value::as_object).unwrap_or(&Map::new()));
        body.insert("values".into(), values.into());
        body.insert(
            "shares".into(),
            json!([{"project": self.present.slug, "slug": step.name, "grants": grants}]),
        );
        body.insert("verify".into(), self.verify().into());
        let made = self.send("POST", "/credentials", &body.into()).await?;
        self.mark(step.kind, &text(&made.body["id"])).await
    }

    async fn change_credential(
        &mut self,
        step: &Step,
        own: &str,
        differences: &[Difference],
        mut etag: Option<String>,
    ) -> Done<()> {
        // Another OAuth client is a change of its own.
        if let Some(client) = differences.iter().find(|one| one.name == "oauth_client") {
            let body = json!({"oauth_client": self.client_id(&client.to)});
            etag = self.send_if("PATCH", own, &body, etag.as_deref()).await?.etag;
        }
        let mut body = Map::new();
        let mut sets: Map<String, Value> = Map::new();
        for one in differences {
            let parts: Vec<&str> = one.name.splitn(4, '/').collect();
            let set = |sets: &mut Map<String, Value>, name: &str, field: &str, value: Value| {
                let entry = sets.entry(name).or_insert_with(|| json!({}));
                entry[field] = value;
            };
            match parts.as_slice() {
                ["oauth_client"] | ["grants", ..] => {}
                ["values", name] if one.to.is_null() => {
                    sets.insert((*name).to_owned(), Value::Null);
                }
                ["values", name] => {
                    sets.entry(*name).or_insert_with(|| json!({}));
                }
                ["values", name, "fields", field] => set(&mut sets, name, field, one.to.clone()),
                ["values", name, "secret_fields", field] => {
                    let secret = self.secrets.get(&format!("credentials.{}.{name}.{field}", step.name));
                    set(&mut sets, name, field, secret.cloned().unwrap_or_default());
                }
                _ => {
                    body.insert(one.name.clone(), one.to.clone());
                }
            }
        }
        if !sets.is_empty() {
            body.insert("values".into(), sets.into());
        }
        if differences.iter().any(|one| one.name.starts_with("grants/")) {
            body.insert("shares".into(), self.shares(step, differences));
        }
        if body.is_empty() {
            return Ok(());
        }
        body.insert("verify".into(), self.verify().into());
        self.send_if("PATCH", own, &body.into(), etag.as_deref()).await.map(drop)
    }

    /// The whole list, with this project's grants as they are to be.
    fn shares(&self, step: &Step, differences: &[Difference]) -> Value {
        let there = self.present.things.get(&(step.kind, step.name.clone()));
        let all = there.and_then(|there| there.raw["shares"].as_array()).into_iter().flatten();
        let all = all.map(|share| {
            let mut grants = share["grants"].as_object().cloned().unwrap_or_default();
            if share["project"] == self.present.slug.as_str() {
                for one in differences {
                    let Some(environment) = one.name.strip_prefix("grants/") else { continue };
                    if one.to.is_null() {
                        grants.shift_remove(environment);
                    } else {
                        grants.insert(environment.to_owned(), one.to.clone());
                    }
                }
            }
            json!({"project": share["project"], "slug": share["slug"], "grants": grants})
        });
        all.collect()
    }

    /// Where in the file a refusal belongs, and what it says.
    pub fn told(&self, step: &Step, refusal: &Refusal) -> Wrong {
        let thing = self.wanted.things.get(&(step.kind, step.name.clone()));
        let found = refusal.errors().into_iter().find_map(|(pointer, _)| Some(place(thing?, pointer)));
        let name = if step.name.is_empty() {
            String::new()
        } else {
            format!(".{}", super::thing::shown(&step.name).replace('/', "."))
        };
        Wrong::new(found.unwrap_or(step.at), format!("{}{name}: {}", step.kind.section(), refusal.text()))
    }
}

/// The API points into what was sent, which is nearly what the file has.
fn place(thing: &Thing, pointer: &str) -> Position {
    let parts: Vec<&str> = pointer.split('/').skip(1).collect();
    let mut tries = Vec::new();
    match parts.as_slice() {
        ["values", set, field, ..] => {
            tries.push(format!("/values/{set}/fields/{field}"));
            tries.push(format!("/values/{set}/secret_fields"));
            tries.push(format!("/values/{set}"));
        }
        ["shares", _, "grants", environment, ..] => tries.push(format!("/grants/{environment}")),
        ["shares", _, "grants"] => tries.push("/grants".to_owned()),
        _ => {}
    }
    for count in (1..=parts.len()).rev() {
        tries.push(format!("/{}", parts.get(..count).unwrap_or_default().join("/")));
    }
    tries.iter().find_map(|pointer| thing.places.get(pointer).copied()).unwrap_or(thing.at)
}

fn changed(differences: &[Difference]) -> Value {
    let all = differences.iter().map(|one| {
        // An empty list or text says more to the API than null does.
        let to = match (&one.to, &one.from) {
            (Value::Null, Value::Array(_)) => json!([]),
            (Value::Null, Value::Bool(_)) => json!(false),
            (Value::Null, Value::String(_)) if one.name == "description" => json!(""),
            (to, _) => to.clone(),
        };
        (one.name.clone(), to)
    });
    Value::Object(all.collect())
}
