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
