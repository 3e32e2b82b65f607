//! A connector's operations, and what happens when somebody changes the connector.

use serde_json::{Value, json};

use crate::support::{Upstream, app, json_reply};

fn definition(base: &str) -> Value {
    json!({
        "id": "tickets", "name": "Tickets", "allow_http": true, "base_url": base,
        "auth_methods": {"key": {
            "label": "Key", "fields": {"token": {"type": "text", "secret": true}},
            "scheme": {"type": "bearer", "token": "{{ token }}"},
        }},
        "operations": {"mine": {
            "get": "/tickets/{{ input.kind }}", "query": {"limit": "10"}, "input": {"kind": {"type": "text"}},
            "filter": {"items": "tickets", "where": "{{ item.open == true }}"},
        }},
    })
}

fn answering() -> Upstream {
    Upstream::start(|seen| {
        let token = seen.header("authorization").to_owned();
        json_reply(&json!({"tickets": [{"id": 1, "open": true, "by": token}, {"id": 2, "open": false}]}))
    })
}

#[test]
fn an_operation_is_called_and_a_changed_connector_waits_for_the_owner() {
    let (first, second) = (answering(), answering());
    let app = app();
    app.done("POST", "/projects/acme/connectors", &definition(&first.url()), 201);
    let made = app.credential_of("tickets", "main", "key", &json!({"token": "the-planted-token-1"}));
    let call = |kind: &str| {
        let path = "/projects/acme/environments/production/credentials/main/call/mine";
        app.api_as(app.key(), "POST", path, &json!({"kind": kind}))
    };
    let answer = call("all/of it");
    assert_eq!(answer.status, 200, "{}", answer.text());
    let items = answer.json()["tickets"].as_array().unwrap().clone();
    assert_eq!(items.len(), 1, "the filter ran on the server");
    assert_eq!(items[0]["by"], format!("Bearer {}", "*".repeat("the-planted-token-1".len())));
    assert_eq!(first.last().target, "/tickets/all%2Fof%20it?limit=10");
    let refused = app.api_as(
        app.key(),
        "POST",
        "/projects/acme/environments/production/credentials/main/call/nothing",
        &json!({}),
    );
    assert_eq!(refused.status, 404, "{}", refused.text());
    assert_eq!(app.get("main/tickets/x").status, 200);

    // The destination moves: calls stop within a second, on both ways, and nothing goes to the new place.
    app.done("PUT", "/projects/acme/connectors/tickets", &definition(&second.url()), 200);
    latchstring_testkit::eventually("calls to be refused", || {
        let answer = app.get("main/tickets/x");
        (answer.status == 409)
            .then(|| assert_eq!(answer.header("latchstring-error"), Some("connector_changed")))
    });
    assert_eq!((call("x").status, call("x").json()["code"].clone()), (409, json!("connector_changed")));
    assert_eq!(second.count(), 0);
    let approve = format!("/credentials/{}/approve", made["id"].as_str().unwrap());
    let look = app.done("POST", &approve, &json!({"preview": true}), 200);
    assert_eq!(look["after"]["destinations"]["production"], json!([format!("{}/", second.url())]));
    let digest = look["after"]["digest"].clone();
    app.done("POST", &approve, &json!({"digest": digest, "verify": "skip"}), 200);
    latchstring_testkit::eventually("calls to go to the new place", || {
        (app.get("main/tickets/x").status == 200).then_some(())
    });
    let before = first.count();
    assert_eq!(call("x").status, 200);
    assert_eq!((first.count(), second.last().target), (before, "/tickets/x?limit=10".to_owned()));
    app.stop();
}

/// What keeps `user_email={{ user.email }}` honest, and what a caller may choose all the same.
#[test]
fn fixed_headers_and_parameters_stand_unless_the_connector_lets_callers_override_them() {
    let (app, upstream) = (app(), Upstream::recording());
    let definition = json!({
        "id": "fixed", "name": "Fixed", "allow_http": true, "base_url": upstream.url(),
        "headers": {
            "X-Version": {"value": "1", "overridable": true}, "X-Tenant": "ours", "X-Note": "{{ note }}",
            "X-Hint": {"value": "{{ note }}", "overridable": true},
        },
        "query": {
            "page": {"value": "10", "overridable": true}, "site": "ours", "note": "{{ note }}",
            "hint": {"value": "{{ note }}", "overridable": true},
        },
        "auth_methods": {"key": {
            "label": "Key",
            "fields": {"token": {"type": "text", "secret": true}, "note": {"type": "text", "optional": true}},
            "scheme": {"type": "bearer", "token": "{{ token }}"},
        }},
    });
    app.done("POST", "/projects/acme/connectors", &definition, 201);
    app.credential_of("fixed", "bare", "key", &json!({"token": "the-token-5"}));
    app.credential_of("fixed", "noted", "key", &json!({"token": "the-token-5", "note": "kept"}));
    let sent = |slug: &str, query: &str, headers: &[(&str, &str)]| {
        let answer = app.call("GET", &format!("{slug}/x{query}"), headers, b"");
        assert_eq!(answer.status, 200, "{}", answer.text());
        upstream.last()
    };
    let query = |seen: &crate::support::Seen| {
        let mut pairs: Vec<String> = seen.target["/x?".len()..].split('&').map(str::to_owned).collect();
        pairs.sort();
        pairs
    };
    // Nothing of the caller's: the connector's own.
    let seen = sent("bare", "", &[]);
    assert_eq!((seen.header("x-version"), seen.header("x-tenant")), ("1", "ours"));
    assert!(seen.all("x-note").is_empty() && seen.all("x-hint").is_empty());
    assert_eq!(query(&seen), ["page=10", "site=ours"]);
    // The caller's: kept where the connector says so, and dropped elsewhere, also where nothing takes its place.
    let mine = [("x-version", "2"), ("x-tenant", "mine"), ("x-note", "mine"), ("x-hint", "mine")];
    let seen = sent("bare", "?site=mine&page=20&n%6fte=mine&hint=mine&z=1&note=again", &mine);
    assert_eq!((seen.header("x-version"), seen.header("x-tenant")), ("2", "ours"));
    assert!(seen.all("x-note").is_empty(), "{:?}", seen.headers);
    assert_eq!(seen.header("x-hint"), "mine");
    assert_eq!(query(&seen), ["hint=mine", "page=20", "site=ours", "z=1"]);
    // Nor in a spelling that servers take for the same.
    let alike = [("x_tenant", "mine"), ("x_note", "mine"), ("x_version", "2"), ("x_other", "mine")];
    let seen = sent("bare", "?Site=mine&n%4fTE=mine&Page=20", &alike);
    assert_eq!((seen.header("x-tenant"), seen.header("x-version")), ("ours", "1"));
    assert!(seen.all("x_tenant").is_empty() && seen.all("x_note").is_empty(), "{:?}", seen.headers);
    assert_eq!((seen.header("x_version"), seen.header("x_other")), ("2", "mine"));
    assert_eq!(query(&seen), ["Page=20", "page=10", "site=ours"]);
    let seen = sent("noted", "?note=mine&hint=mine", &mine);
    assert_eq!((seen.header("x-note"), seen.header("x-hint")), ("kept", "mine"));
    assert_eq!(query(&seen), ["hint=mine", "note=kept", "page=10", "site=ours"]);
    let seen = sent("noted", "", &[]);
    assert_eq!((seen.header("x-note"), seen.header("x-hint")), ("kept", "kept"));
    assert_eq!(query(&seen), ["hint=kept", "note=kept", "page=10", "site=ours"]);
    app.stop();
}

/// Some APIs refuse who does not say what they want to hear.
#[test]
fn requests_of_our_own_have_the_headers_that_callers_may_override() {
    let (app, upstream) = (app(), Upstream::recording());
    let definition = json!({
        "id": "named", "name": "Named", "allow_http": true, "base_url": upstream.url(),
        "headers": {
            "User-Agent": {"value": "OurBot (1)", "overridable": true},
            "Accept": {"value": "application/fhir+json", "overridable": true},
        },
        "auth_methods": {"key": {
            "label": "Key", "fields": {"token": {"type": "text", "secret": true}},
            "scheme": {"type": "bearer", "token": "{{ token }}"}, "verify": {"get": "/me"},
        }},
        "operations": {"mine": {"get": "/mine"}},
    });
    app.done("POST", "/projects/acme/connectors", &definition, 201);
    let made = app.credential_of("named", "main", "key", &json!({"token": "the-token-5"}));
    let verify = format!("/credentials/{}/verify", made["id"].as_str().unwrap());
    app.done("POST", &verify, &json!({"environment": "production"}), 200);
    let operation = "/projects/acme/environments/production/credentials/main/call/mine";
    assert_eq!(app.api_as(app.key(), "POST", operation, &json!({})).status, 200);
    let seen = upstream.seen();
    assert_eq!(seen.iter().map(|seen| seen.target.as_str()).collect::<Vec<_>>(), ["/me", "/mine"]);
    for seen in seen {
        assert_eq!(
            (seen.header("user-agent"), seen.header("accept")),
            ("OurBot (1)", "application/fhir+json"),
            "{}",
            seen.target
        );
    }
    app.stop();
}

/// What is rendered at a call can differ from what was verified; what is sent can not go anywhere else.
#[test]
fn a_login_that_a_variable_has_moved_out_of_the_pins_is_not_asked() {
    let answering = || Upstream::start(|_| json_reply(&json!({"token": "session-of-the-login"})));
    let (login, api, elsewhere) = (answering(), answering(), answering());
    let app = app();
    let to = |url: &str| {
        let path = "/projects/acme/environments/production/variables/login";
        app.done("PUT", path, &json!({"value": url}), 204);
    };
    let until = |status: u16| {
        latchstring_testkit::eventually("the variable's new value to count", || {
            let answer = app.get("desk/things");
            (answer.status == status).then_some(answer)
        })
    };
    let good = format!("{}/auth/login", login.url());
    to(&good);
    app.credential(
        "desk",
        "steps",
        &json!({
            "base_url": api.url(), "login_url": "{{ get_variable('login') }}",
            "login_body": {"password": "the-password-1"}, "token_path": "token",
        }),
    );
    until(200);
    assert_eq!(api.last().header("authorization"), "Bearer session-of-the-login");
    // Within the folder that was pinned it may move.
    to(&format!("{}/auth/v2/login", login.url()));
    latchstring_testkit::eventually("a login at the new place", || {
        assert_eq!(app.get("desk/things").status, 200);
        (login.last().target == "/auth/v2/login").then_some(())
    });
    let logins = login.count();
    for moved in [
        format!("{}/auth/login", elsewhere.url()),
        // Another folder of the same server, and a server that is pinned for calls and not for logins.
        format!("{}/other/login", login.url()),
        format!("{}/auth/login", api.url()),
    ] {
        to(&good);
        until(200);
        to(&moved);
        let refused = until(403);
        assert_eq!(refused.header("latchstring-error"), Some("destination_not_allowed"), "{moved}");
        assert!(refused.json()["detail"].as_str().unwrap().contains(&format!("{}/auth/", login.url())));
        assert!(refused.json()["hint"].as_str().unwrap().contains("Its owner can verify it again"));
        assert!(!refused.text().contains("the-password-1"));
    }
    assert_eq!((login.count(), elsewhere.count()), (logins, 0));
    assert!(api.seen().iter().all(|seen| seen.target == "/things" && seen.body.is_empty()));
    app.stop();
}

/// `/proxy` hands on the caller's body, so this one is of our own requests alone (docs/auth/custom.md).
#[test]
fn the_body_of_a_custom_scheme_goes_with_requests_of_our_own() {
    let (app, upstream) = (app(), Upstream::recording());
    let definition = json!({
        "id": "forms", "name": "Forms", "allow_http": true, "base_url": upstream.url(),
        "auth_methods": {"key": {
            "label": "Key", "fields": {"key": {"type": "text", "secret": true}},
            "scheme": {"type": "custom", "body": {"form": {"api_key": "{{ key }}", "format": "json"}}},
        }},
        "verify": {"post": "/check"},
        "operations": {
            "list": {"post": "/list"},
            "add": {"post": "/add", "body": {"json": {"name": "x"}}},
            "read": {"get": "/read"},
        },
    });
    app.done("POST", "/projects/acme/connectors", &definition, 201);
    let made = app.done(
        "POST",
        "/credentials",
        &json!({
            "name": "main", "connector": "forms", "auth_method": "key",
            "values": {"production": {"key": "the planted key-1"}},
            "shares": [{"project": "acme", "slug": "main", "grants": {"production": "production"}}],
        }),
        201,
    );
    assert_eq!(made["environments"]["production"]["status"], "verified", "{made}");
    let of = |seen: &crate::support::Seen| {
        let kind = seen.all("content-type").first().map(|kind| (*kind).to_owned());
        (seen.target.clone(), kind.unwrap_or_default(), String::from_utf8(seen.body.clone()).unwrap())
    };
    let form = "application/x-www-form-urlencoded".to_owned();
    let body = "api_key=the%20planted%20key-1&format=json".to_owned();
    assert_eq!(of(&upstream.last()), ("/check".to_owned(), form.clone(), body.clone()));
    for (operation, kind, sent) in [
        ("list", form, body),
        ("add", "application/json".to_owned(), "{\"name\":\"x\"}".to_owned()),
        ("read", String::new(), String::new()),
    ] {
        let path = format!("/projects/acme/environments/production/credentials/main/call/{operation}");
        let answer = app.api_as(app.key(), "POST", &path, &json!({}));
        assert_eq!(answer.status, 200, "{operation}: {}", answer.text());
        assert_eq!(of(&upstream.last()), (format!("/{operation}"), kind, sent));
    }
    let answer = app.call("POST", "main/x", &[("content-type", "text/plain")], b"the caller's");
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(of(&upstream.last()), ("/x".to_owned(), "text/plain".to_owned(), "the caller's".to_owned()));
    app.stop();
}

#[test]
fn steps_of_a_login_may_be_paths_below_the_base_url() {
    let upstream = Upstream::start(|seen| match seen.target.as_str() {
        "/api/session" => json_reply(&json!({"sid": "session-of-the-login"})),
        _ => json_reply(&json!({"sid": seen.all("x-sid")})),
    });
    let app = app();
    let definition = json!({
        "id": "desk", "name": "Desk", "allow_http": true, "base_url": format!("{}/api", upstream.url()),
        "auth_methods": {"login": {
            "label": "Login", "fields": {"password": {"type": "text", "secret": true}},
            "scheme": {
                "type": "steps",
                "steps": [{
                    "name": "session", "post": "/session", "body": {"json": {"password": "{{ password }}"}},
                    "extract": {"sid": "sid"},
                }],
                "apply": {"headers": {"X-Sid": "{{ token.sid }}"}},
            },
        }},
    });
    app.done("POST", "/projects/acme/connectors", &definition, 201);
    let made = app.credential_of("desk", "main", "login", &json!({"password": "the-password-1"}));
    assert_eq!(app.get("main/things").status, 200, "{}", app.get("main/things").text());
    let seen = upstream.seen();
    assert_eq!((seen[0].method.as_str(), seen[0].target.as_str()), ("POST", "/api/session"));
    assert_eq!(upstream.last().header("x-sid"), "session-of-the-login");
    let pinned = &made["environments"]["production"]["destinations"];
    assert_eq!(*pinned, json!([format!("{}/api/", upstream.url())]), "{made}");
    app.stop();
}
