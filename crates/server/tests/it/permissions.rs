//! The table of who may do what, asked cell by cell through the API: what it says is what the server does. And what is
//! somebody else's looks like what is not there, down to the statements that were run for it.

mod naming;

use std::collections::{BTreeMap, BTreeSet};

use axum::http::Method;
use latchstring_broker::permissions::{self, About, Ground, Operation};
use latchstring_model::entity::Role;
use latchstring_testkit::generated::assert_generated;
use serde_json::{Value, json};

use crate::app::{Answer, Call, Db, Somebody, TestApp, both};

#[test]
fn generated_permissions_md() {
    assert_generated("docs/permissions.md", &permissions::text());
}

#[test]
fn every_address_stands_in_the_table() {
    let document = serde_json::to_value(latchstring_server::api::openapi::document()).unwrap();
    let mut served = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            served.insert((method.to_uppercase(), path.clone()));
        }
    }
    let listed: BTreeSet<(String, String)> = Operation::ALL
        .iter()
        .flat_map(|operation| operation.endpoints())
        .map(|(method, path)| ((*method).to_owned(), (*path).to_owned()))
        .collect();
    let missing: Vec<_> = served.difference(&listed).collect();
    let stale: Vec<_> = listed.difference(&served).collect();
    assert!(missing.is_empty(), "add a row to crates/broker/src/permissions: {missing:?}");
    assert!(stale.is_empty(), "no such addresses any more: {stale:?}");
}

/// A key of somebody's that only calls.
async fn call_key(app: &TestApp, who: &Somebody) -> String {
    let body = json!({"name": "calls", "scope": "call"});
    let made = app.post("/api/v1/me/keys", body).cookie(&who.cookie).is(201).await;
    made.json()["key"].as_str().unwrap().to_owned()
}

/// Who asks.
struct People {
    ada: Somebody,
    /// An owner of each project, and of no credential.
    boss: Somebody,
    admin: Somebody,
    editor: Somebody,
    viewer: Somebody,
    extra: Somebody,
    eve: Somebody,
    root: Somebody,
}

impl People {
    async fn new(app: &TestApp) -> Self {
        Self {
            ada: app.person("ada@example.org").await,
            boss: app.person("boss@example.org").await,
            admin: app.person("admin@example.org").await,
            editor: app.person("editor@example.org").await,
            viewer: app.person("viewer@example.org").await,
            extra: app.person("extra@example.org").await,
            eve: app.person("eve@example.org").await,
            root: app.superuser("root@example.org").await,
        }
    }

    fn of(&self, role: Role) -> &Somebody {
        match role {
            Role::Owner => &self.ada,
            Role::Admin => &self.admin,
            Role::Editor => &self.editor,
            Role::Viewer => &self.viewer,
        }
    }
}

/// A project with one of everything, made anew for whatever changes it.
struct Place {
    slug: String,
    service: String,
    /// A service account.
    account: String,
    /// What addresses name, by the word that stands in them.
    names: BTreeMap<&'static str, String>,
}

const CONNECTOR: &str = "id: own
name: Own
hosts: [api.example.org]
base_url: https://api.example.org
auth_methods:
  key:
    label: Key
    fields:
      key: {type: text, secret: true}
    scheme: {type: bearer, token: '{{ key }}'}
";

/// The same as JSON, under a name.
fn definition(id: &str) -> Value {
    json!({
        "id": id, "name": "Own", "hosts": ["api.example.org"], "base_url": "https://api.example.org",
        "auth_methods": {"key": {
            "label": "Key", "fields": {"key": {"type": "text", "secret": true}},
            "scheme": {"type": "bearer", "token": "{{ key }}"},
        }},
    })
}

const MISSING: &str = "0000000001zzzzzzzzzzzzzzzz";

/// Port 9 of loopback is not allowed: what is asked there ends at once, and nothing is asked anywhere.
fn bearer(name: &str, project: &str) -> Value {
    json!({
        "name": name, "connector": "http", "auth_method": "bearer", "verify": "skip",
        "values": {"production": {"base_url": "http://127.0.0.1:9", "token": "planted-token-0123"}},
        "shares": [{"project": project, "grants": {"staging": "production"}}],
    })
}

impl Place {
    async fn new(app: &TestApp, people: &People, slug: &str, team: bool) -> Self {
        let ada = &people.ada;
        app.project(ada, slug).await;
        for role in [Role::Admin, Role::Editor, Role::Viewer] {
            app.member(ada, slug, people.of(role), role.as_str()).await;
        }
        app.member(ada, slug, &people.extra, "viewer").await;
        app.member(ada, slug, &people.boss, "owner").await;
        let base = format!("/api/v1/projects/{slug}");
        let key = app.service_key(ada, slug, json!({})).await;
        for kind in ["secrets", "variables"] {
            let path = format!("{base}/environments/staging/{kind}/token");
            app.put(&path, json!({"value": "v"})).key(&ada.key).is(204).await;
        }
        app.call(Method::POST, &format!("{base}/connectors"))
            .header("content-type", "application/yaml")
            .body(CONNECTOR)
            .key(&ada.key)
            .is(201)
            .await;
        let account = json!({"name": "ci", "scope": "manage"});
        let account = app.post(&format!("{base}/api-keys"), account).key(&ada.key).is(201).await.json();
        let mut body = bearer("Main", slug);
        if team {
            body["owner_project"] = slug.into();
        }
        let credential = app.post("/api/v1/credentials", body).key(&ada.key).is(201).await.json();
        let keychain = json!({"name": "Chain", "connector": "http", "by": "{{ input.x }}"});
        let keychain = app.post(&format!("{base}/keychains"), keychain).key(&ada.key).is(201).await.json();
        let webhook = json!({"url": "https://hooks.example.org/x"});
        let webhook = app.post(&format!("{base}/webhooks"), webhook).key(&ada.key).is(201).await.json();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        Self {
            slug: slug.to_owned(),
            service: text(&key["key"]),
            account: text(&account["key"]),
            names: BTreeMap::from([
                ("account", text(&account["id"])),
                ("api-keys", text(&key["id"])),
                ("credentials", text(&credential["id"])),
                ("connectors", "own".to_owned()),
                ("keychains", text(&keychain["id"])),
                ("webhooks", text(&webhook["id"])),
            ]),
        }
    }

    /// One that nobody has made.
    fn missing() -> Self {
        Self {
            slug: "nowhere".to_owned(),
            service: String::new(),
            account: String::new(),
            names: BTreeMap::from([
                ("api-keys", format!("key_{MISSING}")),
                ("credentials", format!("crd_{MISSING}")),
                ("connectors", "own".to_owned()),
                ("keychains", format!("kch_{MISSING}")),
                ("webhooks", format!("whk_{MISSING}")),
            ]),
        }
    }

    /// An address with the names of this place in it.
    fn fill(&self, path: &str) -> String {
        let mut filled: Vec<String> = Vec::new();
        for part in path.split('/') {
            let before = filled.last().map(String::as_str).unwrap_or_default();
            let named = match part {
                "{project}" => self.slug.clone(),
                "{environment}" => "staging".to_owned(),
                "{email}" => "extra@example.org".to_owned(),
                "{kind}" => "variable".to_owned(),
                "{name}" if before == "variable" => "staging%2Ftoken".to_owned(),
                "{name}" | "{operation}" => "token".to_owned(),
                "{version}" => "1".to_owned(),
                "{delivery}" => format!("dlv_{MISSING}"),
                "{id}" | "{credential}" | "{keychain}" => self.names[before].clone(),
                part => part.to_owned(),
            };
            filled.push(named);
        }
        filled.join("/")
    }

    /// Everything that is this place's, so that answers about two places can be compared.
    fn without_names(&self, text: &str) -> String {
        let text = self.names.values().fold(text.to_owned(), |text, name| text.replace(name, "<it>"));
        text.replace(&self.slug, "<project>")
    }
}

/// One request of an operation.
struct Ask {
    method: Method,
    path: String,
    body: Option<Value>,
    /// What answers where somebody may, and still there is nothing: part of the detail.
    nothing: Option<&'static str>,
}

fn ask(method: &str, path: String, body: Option<Value>) -> Ask {
    Ask { method: method.parse().unwrap(), path, body, nothing: None }
}

/// An OAuth client for everybody.
fn client() -> Value {
    json!({
        "name": "Client", "client_auth": "none", "client_id": "c", "global": true, "hosts": ["api.example.org"],
        "authorization_endpoint": "https://api.example.org/a", "token_endpoint": "https://api.example.org/t",
    })
}

/// What is sent along, by address.
fn body_for(method: &str, path: &str) -> Option<Value> {
    Some(match (method, path) {
        ("PATCH", "/api/v1/projects/{project}") => json!({"name": "Other"}),
        ("PUT", "/api/v1/projects/{project}/members/{email}") => json!({"role": "editor"}),
        ("POST", "/api/v1/projects/{project}/api-keys") => json!({"name": "k", "environment": "staging"}),
        ("PUT", path) if path.contains("/secrets/") || path.contains("/variables/") => json!({"value": "w"}),
        ("POST", "/api/v1/projects/{project}/keychains") => {
            json!({"name": "Another", "connector": "http", "by": "{{ input.y }}"})
        }
        ("PATCH", "/api/v1/projects/{project}/keychains/{keychain}") => json!({"name": "Other"}),
        ("POST", "/api/v1/projects/{project}/webhooks") => json!({"url": "https://hooks.example.org/y"}),
        ("PATCH", "/api/v1/projects/{project}/webhooks/{id}") => json!({"description": "d"}),
        ("PATCH", "/api/v1/credentials/{id}") => json!({"name": "Other"}),
        ("POST", "/api/v1/credentials/{id}/verify" | "/api/v1/credentials/{id}/authorize") => {
            json!({"environment": "production"})
        }
        ("POST", "/api/v1/credentials/{id}/versions/{version}/restore") => json!({"verify": "skip"}),
        ("POST", "/api/v1/credentials/{id}/transfer" | "/api/v1/credentials/{id}/owner") => {
            json!({"email": "extra@example.org"})
        }
        ("POST", "/api/v1/credentials") => {
            let mut body = bearer("Own", "");
            body["shares"] = json!([]);
            body
        }
        ("POST", "/api/v1/projects") => json!({"name": "New", "slug": "new"}),
        ("POST", "/api/v1/users" | "/api/v1/invites") => json!({"email": "new@example.org"}),
        ("POST", "/api/v1/oauth-clients") => client(),
        ("POST", "/api/v1/session/confirm") => json!({"password": crate::app::PASSWORD}),
        ("POST", "/api/v1/me/totp/confirm") => json!({"code": "000000"}),
        ("POST", "/api/v1/me/keys") => json!({"name": "k"}),
        ("PUT", "/api/v1/me/password") => {
            json!({"current_password": "not the one", "new_password": "another long pass phrase"})
        }
        ("POST" | "PATCH" | "PUT", _) => json!({}),
        _ => return None,
    })
}

/// All requests that an operation is made of, for a place.
fn asks(operation: Operation, place: &Place) -> Vec<Ask> {
    let mut asks: Vec<Ask> = operation
        .endpoints()
        .iter()
        .map(|(method, path)| {
            let query = if path.ends_with("/certificate") { "?environment=production" } else { "" };
            Ask {
                nothing: match *path {
                    path if path.contains("/call/") => Some("has no operation"),
                    path if path.contains("/metadata/") => Some("has no metadata"),
                    path if *method == "DELETE" && path.contains("/applied/") => Some("no such mark"),
                    path if path.ends_with("/redeliver") => Some("no such delivery"),
                    path if path.ends_with("/certificate") => Some("no certificate"),
                    path if *method == "DELETE" && path.ends_with("/transfer") => Some("no such offer"),
                    _ => None,
                },
                ..ask(method, format!("{}{query}", place.fill(path)), body_for(method, path))
            }
        })
        .collect();
    let project = &place.slug;
    let base = format!("/api/v1/projects/{project}");
    match operation {
        Operation::OwnersManage => {
            asks.push(ask(
                "PUT",
                format!("{base}/members/extra@example.org"),
                Some(json!({"role": "owner"})),
            ));
        }
        Operation::ProjectConnectorsLook => {
            asks.push(ask("GET", format!("/api/v1/connectors?project={project}"), None));
            asks.push(ask("GET", format!("/api/v1/connectors/own?project={project}"), None));
        }
        Operation::ProjectClientsLook => {
            asks.push(ask("GET", format!("/api/v1/oauth-clients?project={project}"), None));
        }
        Operation::ProjectCredentialsList => {
            asks.push(ask("GET", format!("/api/v1/credentials?project={project}"), None));
        }
        Operation::TeamCredentialCreate => {
            let mut body = bearer("Team", project);
            body["owner_project"] = project.as_str().into();
            body["shares"] = json!([]);
            asks.push(ask("POST", "/api/v1/credentials".into(), Some(body)));
        }
        Operation::ConnectSessionCreate => {
            asks[0].body = Some(json!({
                "project": project, "connectors": ["own"], "end_user": {"id": "customer-17"},
                "return_origin": "https://app.example.org",
            }));
        }
        Operation::SecondFactorRequire => {
            asks.push(ask("PATCH", base, Some(json!({"require_second_factor": false}))));
        }
        Operation::ConnectorCreate => {
            asks[0].body = Some(definition("another"));
        }
        Operation::ConnectorChange => {
            asks[0].body = Some(definition("own"));
        }
        _ => {}
    }
    asks
}

impl Ask {
    fn call<'a>(&self, app: &'a TestApp) -> Call<'a> {
        let call = app.call(self.method.clone(), &self.path);
        match &self.body {
            Some(body) => call.json(body.clone()),
            None => call,
        }
    }

    /// Whether an answer is that of somebody who may: done, or refused for a reason that is none of rights.
    fn may(&self, answer: &Answer) -> bool {
        match answer.status {
            401 | 403 => false,
            404 => self.nothing.is_some_and(|words| answer.text.contains(words)),
            500.. => false,
            _ => true,
        }
    }
}

/// What a cell has to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cell {
    May,
    /// 403: knows that it is there.
    Forbidden,
    /// 404: as if it were not there.
    Nothing,
}

async fn check(app: &TestApp, operation: Operation, asked: &Ask, key: &str, who: &str, wanted: Cell) {
    let answer = asked.call(app).key(key).send().await;
    let right = match wanted {
        Cell::May => asked.may(&answer),
        Cell::Forbidden => answer.status == 403,
        Cell::Nothing => answer.status == 404 && !asked.may(&answer),
    };
    assert!(
        right,
        "{} by {who}: {} {} should be {wanted:?}, and is {} {}",
        operation.id(),
        asked.method,
        asked.path,
        answer.status,
        answer.text
    );
}

/// Operations whose cells are asked by tests of their own ([`leaving`], [`sharing_ones_own`], [`taking_a_name`],
/// [`naming`], [`coming_in`]; [`an_offer`] and [`giving`] for two more), because a request alone does not say who
/// may.
const APART: [Operation; 5] = [
    Operation::MemberLeave,
    Operation::CredentialShare,
    Operation::NameTake,
    Operation::SecretName,
    Operation::ComeIn,
];

fn least(ground: Ground) -> (Role, bool) {
    match ground {
        Ground::Look | Ground::LookOrSuperuser => (Role::Viewer, true),
        Ground::Member(least) => (least, false),
        Ground::Call(least) => (least, true),
        other => panic!("{other:?}"),
    }
}

both! {
    async fn in_a_project(app) {
        let people = People::new(&app).await;
        let standing = Place::new(&app, &people, "standing", false).await;
        let calls = call_key(&app, &people.ada).await;
        let viewers_calls = call_key(&app, &people.viewer).await;
        let mut number = 0;
        for operation in Operation::ALL.iter().copied() {
            if operation.ground().about() != About::Project || APART.contains(&operation) {
                continue;
            }
            let (least, any_key) = least(operation.ground());
            assert!(!asks(operation, &standing).is_empty(), "{}: no request is known", operation.id());
            // What is refused changes nothing: one place does for all.
            for asked in asks(operation, &standing) {
                for role in Role::ALL.iter().copied().filter(|role| *role < least) {
                    check(&app, operation, &asked, &people.of(role).key, role.as_str(), Cell::Forbidden).await;
                }
                check(&app, operation, &asked, &people.eve.key, "nobody to it", Cell::Nothing).await;
                let over = if operation.ground() == Ground::LookOrSuperuser { Cell::May } else { Cell::Nothing };
                check(&app, operation, &asked, &people.root.key, "superuser", over).await;
                let service = if matches!(operation.ground(), Ground::Call(_)) { Cell::May } else { Cell::Forbidden };
                check(&app, operation, &asked, &standing.service, "service key", service).await;
                if !operation.for_accounts() {
                    check(&app, operation, &asked, &standing.account, "service account", Cell::Forbidden).await;
                }
                if !any_key {
                    check(&app, operation, &asked, &calls, "owner's call key", Cell::Forbidden).await;
                }
            }
            // What is done may change the place: each has its own.
            for role in Role::ALL.iter().copied().filter(|role| *role >= least) {
                number += 1;
                let looks = matches!(operation.ground(), Ground::Look | Ground::LookOrSuperuser | Ground::Call(_));
                let own = if looks { None } else { Some(Place::new(&app, &people, &format!("place-{number}"), false).await) };
                for asked in asks(operation, own.as_ref().unwrap_or(&standing)) {
                    check(&app, operation, &asked, &people.of(role).key, role.as_str(), Cell::May).await;
                }
            }
            if operation == Operation::ServiceKeyEnd {
                // No key but itself.
                let own = Place::new(&app, &people, "account-itself", false).await;
                let end = |key: &str| ask("DELETE", format!("/api/v1/projects/account-itself/api-keys/{}", own.names[key]), None);
                check(&app, operation, &end("api-keys"), &own.account, "service account, another key", Cell::Forbidden).await;
                check(&app, operation, &end("account"), &own.account, "service account, itself", Cell::May).await;
            } else if operation.for_accounts() {
                let own = Place::new(&app, &people, &format!("account-{number}"), false).await;
                for asked in asks(operation, &own) {
                    check(&app, operation, &asked, &own.account, "service account", Cell::May).await;
                }
            }
            if any_key {
                let (key, role) = if least == Role::Viewer { (&viewers_calls, "viewer's call key") } else { (&calls, "owner's call key") };
                for asked in asks(operation, &standing) {
                    check(&app, operation, &asked, key, role, Cell::May).await;
                }
            }
        }
    }

    async fn on_a_credential(app) {
        let people = People::new(&app).await;
        let calls = call_key(&app, &people.ada).await;
        let standing = Place::new(&app, &people, "standing", false).await;
        let team = Place::new(&app, &people, "team", true).await;
        // Ada leaves the project's roles to others: what she may, she may as the credential's owner.
        let mut number = 0;
        for operation in Operation::ALL.iter().copied() {
            let ground = operation.ground();
            if ground.about() != About::Credential || matches!(ground, Ground::Orphan | Ground::Recipient) {
                continue;
            }
            let member = |role: Role| match ground {
                Ground::Owner(_) => Cell::Nothing,
                Ground::Seen => Cell::May,
                Ground::Used(least) if role >= least => Cell::May,
                _ => Cell::Forbidden,
            };
            for (place, team) in [(&standing, false), (&team, true)] {
                for asked in asks(operation, place) {
                    for role in [Role::Viewer, Role::Editor, Role::Admin] {
                        // A project's own: its admins are owners, and owners are asked below.
                        let wanted = if team && role >= Role::Admin { continue } else { member(role) };
                        check(&app, operation, &asked, &people.of(role).key, role.as_str(), wanted).await;
                    }
                    if !team {
                        check(&app, operation, &asked, &people.boss.key, "project's owner", member(Role::Owner)).await;
                    }
                    for (who, key) in [("nobody to it", &people.eve.key), ("superuser", &people.root.key)] {
                        check(&app, operation, &asked, key, who, Cell::Nothing).await;
                    }
                    check(&app, operation, &asked, &place.service, "service key", Cell::Forbidden).await;
                    if !team {
                        check(&app, operation, &asked, &place.account, "service account", match ground {
                            Ground::Seen => Cell::May,
                            Ground::Used(_) => Cell::Forbidden,
                            _ => Cell::Nothing,
                        }).await;
                    } else if !operation.for_accounts() {
                        check(&app, operation, &asked, &place.account, "service account", Cell::Forbidden).await;
                    }
                    let by_call_key = if ground == Ground::Seen { Cell::May } else { Cell::Forbidden };
                    check(&app, operation, &asked, &calls, "owner's call key", by_call_key).await;
                }
            }
            for (who, team) in [(&people.ada, false), (&people.ada, true), (&people.boss, true), (&people.admin, true)] {
                number += 1;
                let own = Place::new(&app, &people, &format!("place-{number}"), team).await;
                for asked in asks(operation, &own) {
                    check(&app, operation, &asked, &who.key, &format!("owner (team: {team})"), Cell::May).await;
                }
            }
            if operation.for_accounts() {
                let own = Place::new(&app, &people, &format!("account-{number}"), true).await;
                for asked in asks(operation, &own) {
                    check(&app, operation, &asked, &own.account, "service account", Cell::May).await;
                }
            }
        }
    }

    async fn on_this_server(app) {
        let people = People::new(&app).await;
        let (person, root) = (&people.eve, &people.root);
        let calls = call_key(&app, person).await;
        let roots_calls = call_key(&app, root).await;
        let place = Place::new(&app, &people, "standing", false).await;
        for operation in Operation::ALL.iter().copied() {
            let ground = operation.ground();
            if ground.about() != About::Instance || APART.contains(&operation) {
                continue;
            }
            for (method, path) in operation.endpoints() {
                let made = if path.contains("/oauth-clients/{id}") {
                    app.post("/api/v1/oauth-clients", client()).key(&root.key).is(201).await.json()["id"].as_str().unwrap().to_owned()
                } else {
                    String::new()
                };
                let filled = match *path {
                    path if path.contains("/oauth-clients/") => path.replace("{id}", &made),
                    path if path.contains("/users/") => path.replace("{id}", &people.extra.id),
                    path if path.contains("/connectors/") => path.replace("{id}", "http"),
                    path if path.contains("/notices/") => path.replace("{id}", &format!("evt_{MISSING}")),
                    path if path.contains("/me/keys/") => path.replace("{id}", &format!("key_{MISSING}")),
                    path if path.contains("/me/identities/") => path.replace("{id}", &format!("idn_{MISSING}")),
                    path if path.contains("/me/sessions/") => path.replace("{id}", &format!("ses_{MISSING}")),
                    path => path.to_owned(),
                };
                let asked = Ask {
                    nothing: path.contains("/me/").then_some("no such"),
                    ..ask(method, filled, body_for(method, path))
                };
                let of = |may: bool| if may { Cell::May } else { Cell::Forbidden };
                check(&app, operation, &asked, &calls, "call key", of(ground == Ground::Person)).await;
                check(&app, operation, &asked, &place.service, "service key", Cell::Forbidden).await;
                if operation == Operation::CredentialCreate {
                    // It stores for its project alone, and is told so at the field.
                    let refused = asked.call(&app).key(&place.account).is(422).await;
                    assert_eq!(refused.pointers(), ["/owner_project"], "{}", refused.text);
                } else {
                    check(&app, operation, &asked, &place.account, "service account", of(operation.for_accounts())).await;
                }
                let by_person = of(matches!(ground, Ground::Person | Ground::Manager));
                check(&app, operation, &asked, &person.key, "person", by_person).await;
                if ground == Ground::Superuser {
                    check(&app, operation, &asked, &roots_calls, "superuser's call key", Cell::Forbidden).await;
                }
                check(&app, operation, &asked, &root.key, "superuser", of(ground != Ground::Session)).await;
                if ground == Ground::Session {
                    for who in [person, root] {
                        let cookie = app.sign_in(&who.email).await;
                        let answer = asked.call(&app).cookie(&cookie).send().await;
                        let (id, who) = (operation.id(), &who.email);
                        assert!(asked.may(&answer), "{id} in a session of {who}: {} {}", answer.status, answer.text);
                    }
                }
            }
        }
    }

    async fn leaving(app) {
        let people = People::new(&app).await;
        let place = Place::new(&app, &people, "acme", false).await;
        let leave = |project: &str, who: &Somebody| app.delete(&format!("/api/v1/projects/{project}/members/{}", who.email));
        for who in [&people.eve, &people.root] {
            same(leave("acme", who).key(&who.key), leave("nowhere", who).key(&who.key), 404).await;
        }
        // Keys that are nobody's belong to no project as a member does; those that call manage nothing.
        let calls = call_key(&app, &people.editor).await;
        for key in [&place.service, &calls] {
            leave("acme", &people.editor).key(key).is(403).await;
        }
        for who in [&people.viewer, &people.editor, &people.admin, &people.boss] {
            leave("acme", who).key(&who.key).is(204).await;
            app.get("/api/v1/projects/acme").key(&who.key).is(404).await;
        }
        let last = leave("acme", &people.ada).key(&people.ada.key).is(409).await;
        assert!(last.text.contains("last owner"), "{}", last.text);
    }

    async fn sharing_ones_own(app) {
        let people = People::new(&app).await;
        let place = Place::new(&app, &people, "acme", false).await;
        let share = |who: &str, project: &str| app.post("/api/v1/credentials", bearer(&format!("Of {who}"), project));
        for (who, may) in [
            (&people.viewer, false), (&people.editor, true), (&people.admin, true), (&people.boss, true),
            (&people.eve, false), (&people.root, false),
        ] {
            let answer = share(&who.email, "acme").key(&who.key).is(if may { 201 } else { 422 }).await;
            if !may {
                assert_eq!(answer.pointers(), ["/shares/0/project"], "{}", answer.text);
            }
        }
        for who in [&people.eve, &people.root] {
            let asked = |project: &str| share("x", project).key(&who.key);
            same(asked("acme"), asked("nowhere"), 422).await;
        }
        let calls = call_key(&app, &people.boss).await;
        for key in [&place.service, &calls] {
            share("y", "acme").key(key).is(403).await;
        }
        // A service account: of what the project owns.
        let mut body = bearer("Of the account", "acme");
        body["owner_project"] = "acme".into();
        app.post("/api/v1/credentials", body).key(&place.account).is(201).await;
    }

    async fn taking_a_name(app) {
        let people = People::new(&app).await;
        let place = Place::new(&app, &people, "acme", false).await;
        let calls = call_key(&app, &people.boss).await;
        for (number, (key, status)) in [
            (&people.viewer.key, 422), (&people.editor.key, 403), (&people.admin.key, 201), (&people.boss.key, 201),
            (&people.eve.key, 422), (&people.root.key, 422), (&place.service, 403), (&calls, 403), (&place.account, 201),
        ].into_iter().enumerate() {
            for of in ["slug", "external_id"] {
                let word = format!("{}-{number}", of.replace('_', "-"));
                let named = |name: String| {
                    let mut body = bearer(&name, "acme");
                    match of {
                        "slug" => body["shares"][0]["slug"] = word.as_str().into(),
                        _ => body["external_id"] = word.as_str().into(),
                    }
                    body
                };
                // Ada's had it, and is not shared any more.
                let had = app.post("/api/v1/credentials", named(format!("First {word}"))).key(&people.ada.key).is(201).await.json();
                app.delete(&format!("/api/v1/projects/acme/credentials/{}", had["id"].as_str().unwrap())).key(&people.ada.key).is(204).await;
                let mut body = named(format!("Second {word}"));
                if key == &place.account {
                    body["owner_project"] = "acme".into();
                }
                let answer = app.post("/api/v1/credentials", body).key(key).is(status).await;
                if status == 422 {
                    assert_eq!(answer.pointers(), ["/shares/0/project"], "who may not share takes no name either: {}", answer.text);
                }
            }
        }
    }

    async fn an_offer(app) {
        let people = People::new(&app).await;
        let place = Place::new(&app, &people, "acme", false).await;
        let everybody = [&people.viewer, &people.editor, &people.admin, &people.boss, &people.eve, &people.root];
        for (number, to) in everybody.into_iter().enumerate() {
            // Who is in no project of the credential's is offered one that is in none.
            let mut body = bearer(&format!("Offered {number}"), "acme");
            if [&people.eve.id, &people.root.id].contains(&&to.id) {
                body["shares"] = json!([]);
            }
            let made = app.post("/api/v1/credentials", body).key(&people.ada.key).is(201).await.json();
            let path = format!("/api/v1/credentials/{}/transfer", made["id"].as_str().unwrap());
            let offered = app.post(&path, json!({"email": to.email})).key(&people.ada.key).is(201).await.json();
            let token = offered["token"].as_str().unwrap();
            let requests = [(Method::GET, ""), (Method::POST, "/accept")];
            for (method, rest) in &requests {
                let asked = |token: &str| app.call(method.clone(), &format!("/api/v1/transfers/{token}{rest}")).json(json!({}));
                for other in everybody.into_iter().chain([&people.ada]).filter(|other| other.id != to.id) {
                    let nonsense = "A".repeat(token.len());
                    same(asked(token).key(&other.key), asked(&nonsense).key(&other.key), 404).await;
                }
                let calls = call_key(&app, to).await;
                for key in [&place.service, &place.account, &calls] {
                    asked(token).key(key).is(403).await;
                }
                asked(token).key(&to.key).is(200).await;
            }
        }
    }

    async fn giving(app) {
        let people = People::new(&app).await;
        let place = Place::new(&app, &people, "acme", false).await;
        let left = app.person("left@example.org").await;
        app.member(&people.ada, "acme", &left, "editor").await;
        let made = app.post("/api/v1/credentials", bearer("Left behind", "acme")).key(&left.key).is(201).await.json();
        let orphan = made["id"].as_str().unwrap();
        app.patch(&format!("/api/v1/users/{}", left.id), json!({"active": false})).key(&people.root.key).is(200).await;
        let give = |id: &str| app.post(&format!("/api/v1/credentials/{id}/owner"), json!({"email": "extra@example.org"}));
        // Its owner cannot ask for anything any more.
        give(orphan).key(&left.key).is(401).await;
        let calls = call_key(&app, &people.root).await;
        for who in [&people.viewer, &people.editor, &people.admin, &people.ada, &people.boss, &people.eve] {
            give(orphan).key(&who.key).is(403).await;
        }
        for key in [&place.service, &place.account, &calls] {
            give(orphan).key(key).is(403).await;
        }
        // Whose owner is there: as if it were not there, for a superuser too.
        let living = &place.names["credentials"];
        let missing = Place::missing();
        same(give(living).key(&people.root.key), give(&missing.names["credentials"]).key(&people.root.key), 404).await;
        give(orphan).key(&people.root.key).is(200).await;
    }

    // Whatever key is sent along: it is not looked at.
    async fn coming_in(app) {
        let people = People::new(&app).await;
        let place = Place::new(&app, &people, "acme", false).await;
        let calls = call_key(&app, &people.eve).await;
        let password = crate::app::PASSWORD;
        let mut tries = 0;
        for (method, path) in Operation::ComeIn.endpoints() {
            let mut send = |key: Option<&str>| {
                // Tries are counted by address and by account.
                tries += 1;
                let email = format!("nobody-{tries}@example.org");
                let body = match *path {
                    "/api/v1/session/ways" => None,
                    "/api/v1/session" => Some(json!({"email": email, "password": password})),
                    "/api/v1/password-resets" => Some(json!({"email": email})),
                    "/api/v1/password-resets/accept" | "/api/v1/invites/accept" => {
                        Some(json!({"token": "x", "password": password}))
                    }
                    "/api/v1/setup" => Some(json!({"token": "x", "email": email, "password": password})),
                    other => panic!("say what is sent to {other}"),
                };
                let asked = ask(method, (*path).to_owned(), body);
                let call = asked.call(&app).from(&format!("198.51.100.{tries}"));
                match key {
                    Some(key) => call.key(key),
                    None => call,
                }
            };
            let wanted = send(None).send().await;
            assert!(!matches!(wanted.status, 403 | 404 | 422 | 429), "{path}: {} {}", wanted.status, wanted.text);
            for key in [&people.eve.key, &people.root.key, &calls, &place.service, &place.account] {
                let answer = send(Some(key)).send().await;
                assert_eq!((answer.status, &answer.text), (wanted.status, &wanted.text), "{path}");
            }
        }
    }

    async fn what_is_anothers_looks_like_what_is_not_there(app) {
        let people = People::new(&app).await;
        let foreign = Place::new(&app, &people, "acme", false).await;
        let team = Place::new(&app, &people, "team", true).await;
        let missing = Place::missing();
        let calls = call_key(&app, &people.eve).await;
        // And keys of another project, which are nobody's.
        app.project(&people.eve, "evils").await;
        let evils = app.service_key(&people.eve, "evils", json!({})).await["key"].as_str().unwrap().to_owned();
        let account = json!({"name": "ci", "scope": "manage"});
        let account = app.post("/api/v1/projects/evils/api-keys", account).key(&people.eve.key).is(201).await.json();
        let account = account["key"].as_str().unwrap().to_owned();
        let mut compared = 0;
        for operation in Operation::ALL.iter().copied() {
            if operation.ground().about() == About::Instance || APART.contains(&operation) {
                continue;
            }
            if matches!(operation.ground(), Ground::Recipient) {
                continue;
            }
            for key in [&people.eve.key, &people.root.key, &calls, &evils, &account] {
                if key == &people.root.key && operation.ground() == Ground::LookOrSuperuser {
                    continue;
                }
                for foreign in [&foreign, &team] {
                    for (there, nowhere) in asks(operation, foreign).iter().zip(asks(operation, &missing)) {
                        let (one, ran) = latchstring_store::counted(there.call(&app).key(key).send()).await;
                        let (other, also) = latchstring_store::counted(nowhere.call(&app).key(key).send()).await;
                        let what = format!("{} {}", there.method, there.path);
                        assert_eq!(one.status, other.status, "{what}: {} {}", one.text, other.text);
                        assert!(matches!(one.status, 403 | 404 | 422), "{what}: {} {}", one.status, one.text);
                        assert_eq!(foreign.without_names(&one.text), missing.without_names(&other.text), "{what}");
                        assert_eq!(headers(&one), headers(&other), "{what}");
                        assert_eq!(ran, also, "{what}: the same work");
                        compared += 1;
                    }
                }
            }
        }
        assert!(compared > 500, "{compared}");
    }
}

/// Two requests, for what is somebody else's and for what is not there: the same answer, by the same work.
async fn same(there: Call<'_>, nowhere: Call<'_>, status: u16) {
    let (one, ran) = latchstring_store::counted(there.send()).await;
    let (other, also) = latchstring_store::counted(nowhere.send()).await;
    assert_eq!((one.status, other.status), (status, status), "{} {}", one.text, other.text);
    assert_eq!(one.text, other.text);
    assert_eq!(headers(&one), headers(&other), "{}", one.text);
    assert_eq!(ran, also, "the same work: {}", one.text);
}

crate::calling::both_worlds! {
    // The row *call* once more, over a socket: `/proxy` is no address of the API.
    async fn through_proxy(world) {
        let (app, ada) = (&world.app, &world.ada);
        world.credential("acme", "sandbox", "api_key", "One").await;
        let mut people = BTreeMap::new();
        for role in Role::ALL.iter().copied() {
            let who = app.person(&format!("{role}@example.org")).await;
            app.member(ada, "acme", &who, role.as_str()).await;
            people.insert(role.as_str(), who);
        }
        let eve = app.person("eve@example.org").await;
        let root = app.superuser("root@example.org").await;
        app.project(&eve, "evils").await;
        let key = |made: Value| made["key"].as_str().unwrap().to_owned();
        let service = key(app.service_key(ada, "acme", json!({})).await);
        let evils = key(app.service_key(&eve, "evils", json!({})).await);
        let account = json!({"name": "ci", "scope": "manage"});
        let account = key(app.post("/api/v1/projects/acme/api-keys", account).key(&ada.key).is(201).await.json());
        let ask = async |key: &str, project: Option<&str>, credential: &str| {
            let bearer = format!("Bearer {key}");
            let mut headers = vec![("authorization", bearer.as_str())];
            if let Some(project) = project {
                headers.extend([("latchstring-project", project), ("latchstring-environment", "staging")]);
            }
            let answer = world.proxy(&format!("{credential}/v1/me"), &headers).await;
            let text = answer.text().replace(project.unwrap_or("-"), "<project>").replace(credential, "<it>");
            (answer.status, crate::calling::code(&answer), text)
        };
        for (role, who) in &people {
            let may = Role::parse(role).is_some_and(|role| role >= Role::Editor);
            let calls = call_key(app, who).await;
            for key in [&who.key, &calls] {
                let (status, code, text) = ask(key, Some("acme"), "one").await;
                let wanted = if may { (200, "") } else { (403, "forbidden") };
                assert_eq!((status, code.as_str()), wanted, "{role}: {text}");
            }
        }
        assert_eq!(ask(&service, None, "one").await.0, 200);
        let (status, code, _) = ask(&account, Some("acme"), "one").await;
        assert_eq!((status, code.as_str()), (403, "not_allowed"));
        // What is somebody else's, and what is not there.
        for who in [&eve, &root] {
            let foreign = ask(&who.key, Some("acme"), "one").await;
            assert_eq!((foreign.0, foreign.1.as_str()), (404, "credential_not_found"));
            for (project, credential) in [("nowhere", "one"), ("acme", "nothing"), ("nowhere", "nothing")] {
                assert_eq!(ask(&who.key, Some(project), credential).await, foreign, "{project}, {credential}");
            }
        }
        assert_eq!(ask(&evils, None, "one").await.0, 404);
        assert_eq!(ask(&evils, None, "one").await, ask(&evils, None, "nothing").await);
    }
}

/// All but what names the request.
fn headers(answer: &Answer) -> BTreeMap<String, String> {
    answer
        .headers
        .iter()
        .filter(|(name, _)| !matches!(name.as_str(), "x-request-id" | "latchstring-call-id"))
        .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect()
}

/// The counter counts: two requests that differ in what they look up differ in what is counted.
#[tokio::test]
async fn statements_are_counted() {
    let app = TestApp::new(Db::Sqlite).await;
    let ada = app.person("ada@example.org").await;
    let (_, ran) = latchstring_store::counted(app.get("/api/v1/projects/nowhere").key(&ada.key).send()).await;
    assert!(ran.contains(&"FOR_MEMBER"), "{ran:?}");
    let (_, other) = latchstring_store::counted(app.get("/api/v1/me").key(&ada.key).send()).await;
    assert_ne!(ran, other);
}
