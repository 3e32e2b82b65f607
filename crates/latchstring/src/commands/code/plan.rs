//! What is to be done so that a project is as the file says: compared, not guessed, before anything is written.

use std::collections::BTreeMap;

use latchstring_connectors::Position;
use serde_json::{Map, Value, json};

use super::file::meant;
use super::held;
use super::secrets::Want;
use super::state::{Me, Present, There, text};
use super::thing::{Kind, Name, Thing, Wanted, Wrong, is_nothing, same, shown};

/// One field that changes.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// A path into the body, with slashes.
    pub name: String,
    pub from: Value,
    pub to: Value,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Act {
    Make,
    Change(Vec<Difference>),
    /// Scheduled for deletion, and brought back; then changed.
    Restore(Vec<Difference>),
    Remove,
}

/// Something that `apply` does.
#[derive(Debug)]
pub struct Step {
    pub kind: Kind,
    pub name: String,
    pub act: Act,
    pub at: Position,
    pub wants: Vec<Want>,
}

/// Something that a person has to do.
#[derive(Debug, PartialEq, Eq)]
pub struct ByPerson {
    pub what: String,
    pub why: String,
}

/// Something that the file does not name.
#[derive(Debug, PartialEq, Eq)]
pub struct Left {
    pub kind: Kind,
    pub name: String,
    /// Made by `apply`, so that `--prune` would remove it.
    pub applied: bool,
    /// Though it would not, because of what else is in it.
    pub held: bool,
}

#[derive(Debug, Default)]
pub struct Plan {
    pub steps: Vec<Step>,
    pub people: Vec<ByPerson>,
    pub left: Vec<Left>,
    pub wrong: Vec<Wrong>,
}

/// A project that is not there yet: whoever makes it owns it.
pub fn nothing_yet(
    slug: &str,
    email: &str,
    connectors: Vec<Value>,
    clients: Vec<(String, String)>,
) -> Present {
    let body = Map::from_iter([("role".to_owned(), Value::from("owner"))]);
    let maker = There { body, id: String::new(), etag: None, owned: true, raw: Value::Null };
    Present {
        slug: slug.to_owned(),
        role: "owner".to_owned(),
        things: BTreeMap::from([((Kind::Member, email.to_owned()), maker)]),
        environments: Vec::new(),
        marks: Default::default(),
        unseen: Vec::new(),
        connectors,
        clients,
    }
}

struct Planner<'a> {
    wanted: &'a Wanted,
    present: &'a Present,
    me: &'a Me,
    prune: bool,
    plan: Plan,
}

pub fn plan(wanted: &Wanted, present: &Present, me: &Me, prune: bool) -> Plan {
    let mut planner = Planner { wanted, present, me, prune, plan: Plan::default() };
    planner.checked();
    if planner.here(Kind::Project, "").is_none() {
        planner.step(Kind::Project, "", Act::Make, Position { line: 1, column: 1 }, Vec::new());
    }
    planner.make_and_change();
    planner.rest();
    planner.plan.wrong.sort_by_key(|wrong| wrong.at);
    planner.plan
}

/// `-`: nothing; texts in quotes, as far as they fit on a line.
pub fn short(value: &Value) -> String {
    let whole = if is_nothing(value) && !value.is_boolean() { "–".to_owned() } else { value.to_string() };
    match whole.char_indices().nth(60) {
        Some((at, _)) => format!("{}…", whole.get(..at).unwrap_or_default()),
        None => whole,
    }
}

/// The names of a credential's fields, as the API describes them: JSON schemas.
fn method<'a>(connectors: &'a [Value], connector: &str, method: &str) -> Option<&'a Value> {
    let found = connectors.iter().find(|one| one["id"] == connector)?;
    found["auth_methods"].as_array()?.iter().find(|one| one["id"] == method)
}

fn types(property: &Value) -> Vec<String> {
    match &property["type"] {
        Value::String(one) => vec![one.clone()],
        Value::Array(all) => all.iter().map(text).collect(),
        _ => Vec::new(),
    }
}

impl<'a> Planner<'a> {
    fn wrong(&mut self, at: Position, message: impl Into<String>) {
        self.plan.wrong.push(Wrong::new(at, message));
    }

    fn person(&mut self, what: impl Into<String>, why: impl Into<String>) {
        let one = ByPerson { what: what.into(), why: why.into() };
        if !self.plan.people.contains(&one) {
            self.plan.people.push(one);
        }
    }

    fn step(&mut self, kind: Kind, name: &str, act: Act, at: Position, wants: Vec<Want>) {
        self.plan.steps.push(Step { kind, name: name.to_owned(), act, at, wants });
    }

    fn here(&self, kind: Kind, name: &str) -> Option<&'a There> {
        self.present.things.get(&(kind, name.to_owned()))
    }

    /// Environments as they will be.
    fn has_environment(&self, name: &str) -> bool {
        self.wanted.environments.iter().chain(&self.present.environments).any(|one| one == name)
    }

    /// What the file names has to be somewhere.
    fn checked(&mut self) {
        let known = self.wanted.environments.iter().chain(&self.present.environments);
        let known: Vec<&str> = known.map(String::as_str).collect();
        let mut wrong = Vec::new();
        for ((kind, name), thing) in &self.wanted.things {
            let unknown = |name: &str| {
                let near = meant(name, known.iter().copied());
                let message =
                    format!("the project has no environment `{name}`{near}; name it under `environments`");
                (!self.has_environment(name)).then_some(message)
            };
            match kind {
                Kind::Variable | Kind::Secret => {
                    let environment = name.split_once('/').map_or("", |(environment, _)| environment);
                    wrong.extend(unknown(environment).map(|message| (thing.at, message)));
                }
                Kind::Credential => {
                    let sets = thing.body.get("values").and_then(Value::as_object);
                    for (environment, set) in
                        thing.body.get("grants").and_then(Value::as_object).into_iter().flatten()
                    {
                        let at =
                            thing.places.get(&format!("/grants/{environment}")).copied().unwrap_or(thing.at);
                        wrong.extend(unknown(environment).map(|message| (at, message)));
                        let there = self
                            .here(Kind::Credential, name)
                            .and_then(|there| there.body["values"].as_object());
                        let is_set = |set: &str| {
                            sets.is_some_and(|sets| sets.get(set).is_some_and(|set| !set.is_null()))
                                || there.is_some_and(|there| there.contains_key(set))
                        };
                        if let Some(set) = set.as_str().filter(|set| !is_set(set)) {
                            let sets: Vec<&str> =
                                sets.into_iter().flatten().map(|(name, _)| name.as_str()).collect();
                            let near = meant(set, sets);
                            wrong.push((at, format!("credentials.{name} has no values `{set}`{near}; a grant names one of its `values`")));
                        }
                    }
                }
                _ => {}
            }
        }
        for (at, message) in wrong {
            self.wrong(at, message);
        }
    }

    fn make_and_change(&mut self) {
        let wanted = self.wanted;
        for ((kind, name), thing) in &wanted.things {
            match kind {
                Kind::Project => self.project(thing),
                Kind::Environment if self.here(*kind, name).is_none() => {
                    self.step(*kind, name, Act::Make, thing.at, Vec::new());
                }
                Kind::Environment => {}
                Kind::Member => self.member(name, thing),
                Kind::Credential => self.credential(name, thing),
                Kind::ServiceKey => self.service_key(name, thing),
                Kind::Connector | Kind::Variable | Kind::Secret | Kind::Keychain | Kind::Webhook => {
                    if *kind == Kind::Webhook && self.present.unseen.contains(kind) {
                        self.person(
                            "webhooks",
                            "only admins and owners see them; this key's person is neither",
                        );
                        continue;
                    }
                    self.plain(*kind, name, thing);
                }
            }
        }
        // Those of the file in its order, and behind them what it does not name.
        let named = |name: &&String| wanted.environments.contains(name);
        let before: Vec<&String> = self.present.environments.iter().filter(named).collect();
        let after: Vec<&String> =
            wanted.environments.iter().filter(|name| self.present.environments.contains(name)).collect();
        if before != after {
            let difference =
                Difference { name: "order".into(), from: json!(before), to: json!(wanted.environments) };
            let at = wanted
                .things
                .iter()
                .find(|((kind, _), _)| *kind == Kind::Environment)
                .map(|(_, thing)| thing.at);
            self.step(
                Kind::Environment,
                "",
                Act::Change(vec![difference]),
                at.unwrap_or(Position { line: 1, column: 1 }),
                Vec::new(),
            );
        }
    }

    fn differences(thing: &Thing, there: &There) -> Vec<Difference> {
        let fields = thing.body.iter().filter_map(|(name, to)| {
            let from = there.body.get(name).cloned().unwrap_or_default();
            (!same(&from, to)).then(|| Difference { name: name.clone(), from, to: to.clone() })
        });
        fields.collect()
    }

    fn plain(&mut self, kind: Kind, name: &str, thing: &Thing) {
        match self.here(kind, name) {
            None => {
                let path = format!("secrets.{}", name.replace('/', "."));
                let wants = (kind == Kind::Secret).then(|| Want { path, types: Vec::new() });
                self.step(kind, name, Act::Make, thing.at, wants.into_iter().collect());
            }
            Some(there) => {
                let mut differences = Self::differences(thing, there);
                if kind == Kind::Keychain && differences.iter().any(|one| one.name == "connector") {
                    let what = format!("keychain {name}: another connector");
                    self.person(what, "a keychain keeps its connector: delete it and apply again");
                    differences.retain(|one| one.name != "connector");
                }
                if differences.is_empty() {
                    return;
                }
                // A secret is set as a whole: to change its hosts, its value is needed.
                let path = format!("secrets.{}", name.replace('/', "."));
                let wants = (kind == Kind::Secret).then(|| Want { path, types: Vec::new() });
                self.step(kind, name, Act::Change(differences), thing.at, wants.into_iter().collect());
            }
        }
    }

    fn project(&mut self, thing: &Thing) {
        let Some(there) = self.here(Kind::Project, "") else {
            return;
        };
        let mut differences = Self::differences(thing, there);
        // Which project is meant was said already.
        differences.retain(|one| one.name != "slug");
        if let Some(at) = differences.iter().position(|one| one.name == "require_second_factor")
            && (*self.me == Me::Account || self.present.role != "owner")
        {
            differences.remove(at);
            self.person(
                "project: require_second_factor",
                "an owner of the project decides that, who has a second factor",
            );
        }
        if !differences.is_empty() {
            self.step(Kind::Project, "", Act::Change(differences), thing.at, Vec::new());
        }
    }

    fn member(&mut self, email: &str, thing: &Thing) {
        let to = thing.body.get("role").map(text).unwrap_or_default();
        let there = self.here(Kind::Member, email);
        let from = there.map(|there| text(&there.body["role"])).unwrap_or_default();
        if from == to {
            return;
        }
        let high = |role: &str| matches!(role, "admin" | "owner");
        if *self.me == Me::Account && (high(&from) || high(&to)) {
            let what = format!("member {email}: {to}");
            return self.person(
                what,
                "a service account makes and changes no admins and owners: an admin or owner does",
            );
        }
        if self.present.role != "owner" && (from == "owner" || to == "owner") {
            let what = format!("member {email}: {to}");
            return self.person(what, "owners are made and unmade by owners");
        }
        let act = match there {
            None => Act::Make,
            Some(there) => Act::Change(Self::differences(thing, there)),
        };
        self.step(Kind::Member, email, act, thing.at, Vec::new());
    }

    fn service_key(&mut self, name: &str, thing: &Thing) {
        let what = format!("service key {}", shown(name));
        match self.here(Kind::ServiceKey, name) {
            None => self.person(
                what,
                "a key is shown once, to whoever makes it: an admin or owner makes it on the project's page, or with `latchstring admin create-key`",
            ),
            Some(there) => {
                let differences = Self::differences(thing, there);
                if !differences.is_empty() {
                    let names: Vec<&str> = differences.iter().map(|one| one.name.as_str()).collect();
                    self.person(
                        what,
                        format!("{} is not as the file says, and a key does not change: an admin or owner makes another and ends this one", names.join(", ")),
                    );
                }
            }
        }
    }

    /// The auth method as the API describes it, where it can be known.
    fn schema(&mut self, name: &str, thing: &Thing) -> Option<Value> {
        let (connector, auth) = (text(&thing.body["connector"]), text(&thing.body["auth_method"]));
        let place = |field: &str| thing.places.get(&format!("/{field}")).copied().unwrap_or(thing.at);
        // A connector of the same file is there by then.
        if let Some(own) = self.wanted.things.get(&(Kind::Connector, connector.clone())) {
            let source = own.body.get("definition").map(text).unwrap_or_default();
            let definition = latchstring_connectors::check(&source, "").ok()?;
            let found = definition.auth_methods.iter().find(|one| one.id == auth);
            let Some(found) = found else {
                self.wrong(
                    place("auth_method"),
                    format!("credentials.{name}: the connector {connector} has no auth method `{auth}`"),
                );
                return None;
            };
            let consent = if found.needs_consent() { json!({}) } else { Value::Null };
            return Some(json!({"fields": definition.openapi_fields(found), "consent": consent}));
        }
        if let Some(found) = method(&self.present.connectors, &connector, &auth) {
            return Some(found.clone());
        }
        match self.present.connectors.iter().find(|one| one["id"] == connector.as_str()) {
            None => {
                let ids = self.present.connectors.iter().filter_map(|one| one["id"].as_str());
                let near = match meant(&connector, ids) {
                    near if near.is_empty() => "; the server's page /docs/connectors lists what there is, `connectors:` in this file brings one of your own, and `http` serves any API that has none".to_owned(),
                    near => near,
                };
                self.wrong(
                    place("connector"),
                    format!("credentials.{name}: there is no connector `{connector}`{near}"),
                );
            }
            Some(found) => {
                let ids: Vec<String> = found["auth_methods"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .map(|one| text(&one["id"]))
                    .collect();
                let near = meant(&auth, ids.iter().map(String::as_str));
                self.wrong(
                    place("auth_method"),
                    format!(
                        "credentials.{name}: {connector} has no auth method `{auth}`{near}; it has {}",
                        ids.join(", ")
                    ),
                );
            }
        }
        None
    }

    /// Values that are not secret stand under `fields`, and no others.
    fn fields(&mut self, name: &str, thing: &Thing, schema: &Value) {
        let properties = &schema["fields"]["properties"];
        for (set, values) in thing.body.get("values").and_then(Value::as_object).into_iter().flatten() {
            let place = |pointer: String| thing.places.get(&pointer).copied().unwrap_or(thing.at);
            let open = properties.as_object().is_none() || schema["fields"]["additionalProperties"] != false;
            for field in values["fields"].as_object().into_iter().flatten().map(|(field, _)| field) {
                let secret = match properties.get(field) {
                    Some(property) => property["writeOnly"] == true,
                    // Whatever a connector takes beside its fields is secret.
                    None => open,
                };
                if secret {
                    let at = place(format!("/values/{set}/fields/{field}"));
                    self.wrong(at, format!("credentials.{name}.values.{set}: `{field}` is secret and does not stand in the file: name it in `secret_fields`"));
                }
            }
            for (number, field) in
                values["secret_fields"].as_array().into_iter().flatten().map(text).enumerate()
            {
                if properties.get(&field).is_some_and(|property| property["writeOnly"] != true) {
                    let at = place(format!("/values/{set}/secret_fields/{number}"));
                    self.wrong(at, format!("credentials.{name}.values.{set}: `{field}` is not secret: its value stands under `fields`"));
                }
            }
        }
    }

    fn credential(&mut self, name: &str, thing: &Thing) {
        let there = self.here(Kind::Credential, name);
        let owner = thing.body.get("owner").map(text).map(|owner| owner.to_lowercase());
        let mine = |owner: &str| match self.me {
            Me::Person { email } => owner == email || owner == "project",
            Me::Account => owner == "project",
        };
        let Some(there) = there else {
            let owner = owner.unwrap_or_else(|| "project".to_owned());
            if !mine(&owner) {
                return self.person(
                    format!("credential {name}"),
                    format!("it is {owner}'s: they make it and share it with the project under this slug"),
                );
            }
            let Some(schema) = self.schema(name, thing) else { return };
            self.fields(name, thing, &schema);
            if let Some(client) = thing.body.get("oauth_client").and_then(Value::as_str)
                && !self.client(name, thing, client)
            {
                return;
            }
            let wants = wants(name, thing, None, &schema);
            self.step(Kind::Credential, name, Act::Make, thing.at, wants);
            if !schema["consent"].is_null() {
                self.person(
                    format!("credential {name}: connect an account"),
                    "signing in at the provider is its owner's, in a browser, once it is made",
                );
            }
            return;
        };
        let mut differences = Vec::new();
        for (field, to) in &thing.body {
            let from = there.body.get(field).cloned().unwrap_or_default();
            match field.as_str() {
                "values" => differences.extend(values_differ(&from, to)),
                "grants" => differences.extend(map_differs("grants", &from, to)),
                "owner" if owner.as_deref() == from.as_str() => {}
                _ if !same(&from, to) => {
                    differences.push(Difference { name: field.clone(), from, to: to.clone() })
                }
                _ => {}
            }
        }
        if self.prune && self.present.is_marked(Kind::Credential, &there.id) {
            let named = thing.body.get("grants").and_then(Value::as_object);
            for (environment, set) in there.body["grants"].as_object().into_iter().flatten() {
                if named.is_some_and(|named| !named.contains_key(environment)) {
                    differences.push(Difference {
                        name: format!("grants/{environment}"),
                        from: set.clone(),
                        to: Value::Null,
                    });
                }
            }
        }
        for fixed in ["connector", "auth_method", "owner"] {
            if let Some(at) = differences.iter().position(|one| one.name == fixed) {
                let one = differences.remove(at);
                let why = match fixed {
                    "owner" => "hands it on: its owner does, and the recipient accepts (docs/ownership.md)",
                    _ => {
                        "is another credential: its owner deletes this one, or gives one or the other another slug"
                    }
                };
                self.person(format!("credential {name}: {fixed} {}", short(&one.to)), why);
            }
        }
        let going = Present::is_going(there);
        let status = |word: &str| {
            there.raw["environments"]
                .as_object()
                .is_some_and(|all| all.values().any(|one| one["status"] == word))
        };
        if there.owned && !going && (status("needs_authorization") || status("needs_reconnect")) {
            self.person(
                format!("credential {name}: connect an account"),
                "signing in at the provider is its owner's, in a browser",
            );
        }
        if differences.is_empty() && !going {
            return;
        }
        if !there.owned {
            let names: Vec<&str> = differences.iter().map(|one| one.name.as_str()).collect();
            let what = if going { "scheduled for deletion".to_owned() } else { names.join(", ") };
            return self.person(
                format!("credential {name}: {what}"),
                format!("it is {}'s to change", text(&there.body["owner"])),
            );
        }
        let Some(schema) = self.schema(name, thing) else { return };
        self.fields(name, thing, &schema);
        if let Some(to) =
            differences.iter().find(|one| one.name == "oauth_client").and_then(|one| one.to.as_str())
            && !self.client(name, thing, to)
        {
            differences.retain(|one| one.name != "oauth_client");
        }
        let wants = wants(name, thing, Some(there), &schema);
        match going {
            true => self.step(Kind::Credential, name, Act::Restore(differences), thing.at, wants),
            false if differences.is_empty() => {}
            false => self.step(Kind::Credential, name, Act::Change(differences), thing.at, wants),
        }
    }

    /// Whether there is one OAuth client of that name (or id) for the project.
    fn client(&mut self, name: &str, thing: &Thing, client: &str) -> bool {
        let found = self.present.clients.iter().filter(|(id, one)| one == client || id == client).count();
        match found {
            1 => return true,
            0 => self.person(
                format!("credential {name}: the OAuth client {client}"),
                "the project may use no OAuth client of that name: a superuser makes it or gives it to the project, and then apply again",
            ),
            _ => {
                let at = thing.places.get("/oauth_client").copied().unwrap_or(thing.at);
                self.wrong(at, format!("credentials.{name}: several OAuth clients are called `{client}`; name one by its id (`latchstring oauth-clients`)"));
            }
        }
        false
    }

    /// What the file does not name: left, or removed.
    fn rest(&mut self) {
        let mut gone: Vec<(&Name, &There)> = Vec::new();
        for (name, there) in &self.present.things {
            let (kind, word) = name;
            let named = self.wanted.things.contains_key(name);
            if named
                || !self.wanted.sections.contains(kind)
                || Present::is_going(there)
                || *kind == Kind::Project
            {
                continue;
            }
            let applied = self.present.is_marked(*kind, &there.id);
            // Whoever makes the project belongs to it.
            if there.id.is_empty() {
                continue;
            }
            let held = match kind {
                Kind::Environment if applied => held::by_hand(self.present, word),
                _ => Vec::new(),
            };
            if !self.prune || !applied {
                let held = !held.is_empty();
                self.plan.left.push(Left { kind: *kind, name: word.clone(), applied, held });
            } else if held.is_empty() {
                gone.push((name, there));
            } else {
                let held = held::told(&held);
                self.person(
                    format!("environment {word}: remove it"),
                    format!("it stays, because it holds what apply did not make: {held}. Remove that first and prune again, or name the environment in the file; the project's settings remove it with all that is in it"),
                );
            }
        }
        let environments: Vec<&str> = gone
            .iter()
            .filter(|((kind, _), _)| *kind == Kind::Environment)
            .map(|((_, name), _)| name.as_str())
            .collect();
        let mut removals = Vec::new();
        for ((kind, name), there) in gone.iter().rev() {
            // Goes with its environment.
            if matches!(kind, Kind::Variable | Kind::Secret)
                && name.split_once('/').is_some_and(|(environment, _)| environments.contains(&environment))
            {
                continue;
            }
            let role = text(&there.body.get("role").cloned().unwrap_or_default());
            if *kind == Kind::Member
                && ((*self.me == Me::Account && matches!(role.as_str(), "admin" | "owner"))
                    || (role == "owner" && self.present.role != "owner"))
            {
                removals.push(Err((name.clone(), role)));
                continue;
            }
            let uses = |one: &There| one.body.get("connector").is_some_and(|used| used == name.as_str());
            if *kind == Kind::Connector
                && self.present.things.iter().any(|((kind, _), one)| *kind == Kind::Credential && uses(one))
            {
                let what = format!("connector {name}: remove it");
                self.person(what, "it has credentials, and those that are deleted are kept for a while: prune again when they are gone, or their owners purge them");
                continue;
            }
            if *kind == Kind::Credential && !there.owned {
                self.plan.left.push(Left { kind: *kind, name: name.clone(), applied: true, held: false });
                continue;
            }
            removals.push(Ok((*kind, name.clone())));
        }
        for one in removals {
            match one {
                Ok((kind, name)) => {
                    self.step(kind, &name, Act::Remove, Position { line: 1, column: 1 }, Vec::new())
                }
                Err((name, role)) => {
                    self.person(
                        format!("member {name}: remove them"),
                        format!("they are {role}, which is for people with that right"),
                    );
                }
            }
        }
    }
}

fn map_differs(prefix: &str, from: &Value, to: &Value) -> Vec<Difference> {
    let all = to.as_object().into_iter().flatten().filter_map(|(name, to)| {
        let from = from.get(name).cloned().unwrap_or_default();
        // Of values, an empty text or list is something.
        (from != *to).then(|| Difference { name: format!("{prefix}/{name}"), from, to: to.clone() })
    });
    all.collect()
}

/// Sets of values: fields that differ, secrets that are not set yet, sets that are to go.
fn values_differ(from: &Value, to: &Value) -> Vec<Difference> {
    let mut all = Vec::new();
    for (set, wanted) in to.as_object().into_iter().flatten() {
        let there = &from[set];
        if wanted.is_null() {
            if !there.is_null() {
                all.push(Difference { name: format!("values/{set}"), from: json!("set"), to: Value::Null });
            }
            continue;
        }
        // Fields of somebody else's cannot be compared: they are not shown.
        if there.is_null() || there["fields"].is_object() {
            all.extend(map_differs(&format!("values/{set}/fields"), &there["fields"], &wanted["fields"]));
        }
        let set_already: Vec<&str> =
            there["secret_fields"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        for field in wanted["secret_fields"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if !set_already.contains(&field) {
                all.push(Difference {
                    name: format!("values/{set}/secret_fields/{field}"),
                    from: Value::Null,
                    to: json!("set"),
                });
            }
        }
        // A method without fields has sets that are empty.
        if there.is_null() && !all.iter().any(|one| one.name.starts_with(&format!("values/{set}/"))) {
            all.push(Difference { name: format!("values/{set}"), from: Value::Null, to: json!("set") });
        }
    }
    all
}

/// Secrets that the server does not have yet.
fn wants(name: &str, thing: &Thing, there: Option<&There>, schema: &Value) -> Vec<Want> {
    let mut all = Vec::new();
    for (set, wanted) in thing.body.get("values").and_then(Value::as_object).into_iter().flatten() {
        let before =
            there.map(|there| there.body["values"][set]["secret_fields"].clone()).unwrap_or_default();
        for field in wanted["secret_fields"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if !before.as_array().is_some_and(|before| before.iter().any(|one| one == field)) {
                let path = format!("credentials.{name}.{set}.{field}");
                all.push(Want { path, types: types(&schema["fields"]["properties"][field]) });
            }
        }
    }
    all
}

impl Plan {
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty() && self.people.is_empty()
    }

    pub fn wants(&self) -> Vec<Want> {
        self.steps.iter().flat_map(|step| step.wants.clone()).collect()
    }

    /// The same as people see, for programs.
    pub fn as_json(&self, project: &str) -> Value {
        let left = self.left.iter().map(|left| {
            json!({"kind": left.kind.word(), "name": shown(&left.name), "made_by_apply": left.applied})
        });
        let people = self.people.iter().map(|one| json!({"what": one.what, "why": one.why}));
        json!({
            "project": project,
            "steps": self.steps.iter().map(Step::as_json).collect::<Vec<_>>(),
            "people": people.collect::<Vec<_>>(),
            "left": left.collect::<Vec<_>>(),
        })
    }
}

impl Step {
    fn as_json(&self) -> Value {
        let none: &[Difference] = &[];
        let (act, differences) = match &self.act {
            Act::Make => ("make", none),
            Act::Remove => ("remove", none),
            Act::Change(differences) => ("change", differences.as_slice()),
            Act::Restore(differences) => ("restore", differences.as_slice()),
        };
        let change = |one: &Difference| json!({"field": one.name, "from": one.from, "to": one.to});
        json!({
            "act": act,
            "kind": self.kind.word(),
            "name": shown(&self.name),
            "changes": differences.iter().map(change).collect::<Vec<_>>(),
            "needs": self.wants.iter().map(|want| want.path.as_str()).collect::<Vec<_>>(),
        })
    }

    /// A line for people.
    pub fn line(&self) -> String {
        let name = if self.name.is_empty() { String::new() } else { format!(" {}", shown(&self.name)) };
        let (sign, more) = match &self.act {
            Act::Make => ('+', String::new()),
            Act::Remove if self.kind == Kind::Environment => {
                ('-', "with the variables, secrets and grants that apply made in it".to_owned())
            }
            Act::Remove if self.kind == Kind::Credential => ('-', "restorable for a while".to_owned()),
            Act::Remove => ('-', String::new()),
            Act::Change(differences) => ('~', lines(differences)),
            Act::Restore(differences) if differences.is_empty() => ('~', "restored".to_owned()),
            Act::Restore(differences) => ('~', format!("restored; {}", lines(differences))),
        };
        let wants: Vec<&str> = self.wants.iter().map(|want| want.path.as_str()).collect();
        let wants = if wants.is_empty() { String::new() } else { format!("needs {}", wants.join(", ")) };
        let more: Vec<String> = [more, wants].into_iter().filter(|text| !text.is_empty()).collect();
        let more = if more.is_empty() { String::new() } else { format!(": {}", more.join("; ")) };
        format!("{sign} {}{name}{more}", self.kind.word())
    }
}

fn lines(differences: &[Difference]) -> String {
    let all = differences.iter().map(|one| {
        let name = one.name.replace('/', ".");
        match one.name.as_str() {
            // The text of a definition says nothing on a line.
            "definition" => "another definition".to_owned(),
            _ => format!("{name} {} → {}", short(&one.from), short(&one.to)),
        }
    });
    all.collect::<Vec<_>>().join(", ")
}

/// The body that a new one is made with: what was said, and nothing else.
pub fn said(body: &Map<String, Value>) -> Map<String, Value> {
    body.iter()
        .filter(|(_, value)| !value.is_null())
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}
