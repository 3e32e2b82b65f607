//! The table of who may do what, asked cell by cell through the API: what it says is what the server does. And what is
//! somebody else's looks like what is not there, down to the statements that were run for it.

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
            asks[0].body = Some(json!({"definition": "none"}));
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

/// Operations whose cells are asked by tests of their own, because a request alone does not say who may.
const APART: [Operation; 4] =
    [Operation::MemberLeave, Operation::CredentialShare, Operation::NameTake, Operation::ComeIn];

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
            if operation.for_accounts() && operation != Operation::ServiceKeyEnd {
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
            for (who, team) in [(&people.ada, false), (&people.ada, true), (&people.admin, true)] {
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
                let by_person = of(matches!(ground, Ground::Person | Ground::Manager));
                check(&app, operation, &asked, &person.key, "person", by_person).await;
                if ground == Ground::Superuser {
                    check(&app, operation, &asked, &roots_calls, "superuser's call key", Cell::Forbidden).await;
                    check(&app, operation, &asked, &root.key, "superuser", Cell::May).await;
                }
                if ground == Ground::Session {
                    let cookie = app.sign_in(&person.email).await;
                    let answer = asked.call(&app).cookie(&cookie).send().await;
                    assert!(asked.may(&answer), "{} in a session: {} {}", operation.id(), answer.status, answer.text);
                }
            }
        }
    }

    async fn what_a_request_alone_does_not_say(app) {
        let people = People::new(&app).await;
        let place = Place::new(&app, &people, "acme", false).await;
        // Sharing one's own takes an editor.
        for (role, status) in [(Role::Viewer, 422), (Role::Editor, 201), (Role::Admin, 201)] {
            let who = people.of(role);
            let body = bearer(&format!("Of {role}"), &place.slug);
            app.post("/api/v1/credentials", body).key(&who.key).is(status).await;
        }
        // Taking over a name that another one had takes an admin.
        app.delete("/api/v1/projects/acme/credentials/of-editor").key(&people.ada.key).is(204).await;
        let mut body = bearer("Other", &place.slug);
        body["shares"][0]["slug"] = "of-editor".into();
        let third = app.person("third@example.org").await;
        app.member(&people.ada, "acme", &third, "editor").await;
        assert_eq!(app.post("/api/v1/credentials", body.clone()).key(&third.key).is(403).await.code(), "forbidden");
        app.post("/api/v1/credentials", body).key(&people.admin.key).is(201).await;
        // Anybody may leave.
        for role in [Role::Viewer] {
            let who = people.of(role);
            let path = format!("/api/v1/projects/acme/members/{}", who.email);
            app.delete(&path).key(&who.key).is(204).await;
        }
    }

    async fn what_is_anothers_looks_like_what_is_not_there(app) {
        let people = People::new(&app).await;
        let foreign = Place::new(&app, &people, "acme", false).await;
        let team = Place::new(&app, &people, "team", true).await;
        let missing = Place::missing();
        let calls = call_key(&app, &people.eve).await;
        let mut compared = 0;
        for operation in Operation::ALL.iter().copied() {
            if operation.ground().about() == About::Instance || APART.contains(&operation) {
                continue;
            }
            if matches!(operation.ground(), Ground::Recipient) {
                continue;
            }
            for key in [&people.eve.key, &people.root.key, &calls] {
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
        assert!(compared > 300, "{compared}");
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
