//! Grants over time: across a kill, when nobody calls, when their environment goes.

use latchstring_testkit::app::PROJECT;
use latchstring_testkit::{AppSetup, OidcProvider, eventually};
use serde_json::{Value, json};

use crate::consent::{Browser, World};
use crate::support::setup;

/// Somebody is on the way to another screen; the server dies meanwhile, twice.
#[test]
fn a_device_flow_survives_a_kill() {
    let world = World::with(setup().start(), &json!({}));
    let made = world.app.done("POST", "/credentials", &world.body("tv", "oauth2_device_code"), 201);
    let id = made["id"].as_str().unwrap();
    let begun = world.app.done(
        "POST",
        &format!("/credentials/{id}/authorize"),
        &json!({"environment": "production"}),
        200,
    );
    let code = begun["user_code"].as_str().unwrap();
    // Before the provider was asked.
    let restart = |world: World| {
        let World { app, oidc, client } = world;
        World { app: AppSetup::start(app.kill()), oidc, client }
    };
    let world = restart(world);
    eventually("the provider is asked after a restart", || (world.oidc.token_requests() > 0).then_some(()));
    assert_eq!(world.environment(id)["authorization"]["state"], "at_provider");
    // After it was asked, and before the person has decided.
    let world = restart(world);
    world.oidc.answer_device(code, true);
    let connected = eventually("the device is connected", || {
        let environment = world.environment(id);
        (environment["authorization"]["state"] == "done").then_some(environment)
    });
    assert_eq!(connected["status"], "verified", "{connected}");
    assert_eq!(world.app.get("tv/resource").json()["sub"], "alice");
    assert!(world.environment(id)["token"]["expires_at"].is_string());
    world.app.stop();
}

/// A provider ends grants that are left alone; the access token would live for an hour yet.
#[test]
fn an_idle_grant_is_kept_alive() {
    let world = World::with(setup().start(), &json!({}));
    let issuer = world.oidc.issuer();
    let definition = |id: &str, more: &str| {
        json!({
            "id": id, "name": id, "allow_http": true, "hosts": [format!("127.0.0.1:{}", world.oidc.port())],
            "base_url": issuer, "verify": {"get": "/resource"},
            "auth_methods": {"oauth": {"scheme": serde_json::from_str::<Value>(&format!(
                "{{\"type\": \"oauth2_authorization_code\", \"authorize_url\": \"{issuer}/auth\", \"token_url\": \"{issuer}/token\"{more}}}"
            )).unwrap()}},
        })
    };
    let mut ids = Vec::new();
    for (slug, more) in [("idle", ", \"keep_alive\": 2"), ("left", "")] {
        world.app.done("POST", &format!("/projects/{PROJECT}/connectors"), &definition(slug, more), 201);
        let client = world.app.done(
            "POST",
            "/oauth-clients",
            &json!({
                "name": slug, "connector": slug, "client_id": OidcProvider::CLIENT_ID, "client_auth": "basic",
                "client_secret": OidcProvider::CLIENT_SECRET, "projects": [PROJECT],
                "mandatory_scopes": ["openid", "offline_access", "read"], "authorize_params": {"prompt": "consent"},
            }),
            201,
        );
        world.oidc.redirect_to(OidcProvider::CLIENT_ID, client["redirect_uri"].as_str().unwrap());
        let made = world.app.done(
            "POST",
            "/credentials",
            &json!({
                "name": slug, "connector": slug, "auth_method": "oauth", "oauth_client": client["id"],
                "values": {"production": {}},
                "shares": [{"project": PROJECT, "slug": slug, "grants": {"production": "production"}}],
            }),
            201,
        );
        let id = made["id"].as_str().unwrap().to_owned();
        let page = world.connect(&mut Browser::signed_in(&world.app), &id, json!({}));
        assert_eq!(page.status, 200, "{}", page.text());
        ids.push(id);
    }
    let obtained = |id: &str| world.environment(id)["token"]["obtained_at"].as_str().unwrap().to_owned();
    let (idle, left) = (obtained(&ids[0]), obtained(&ids[1]));
    world.oidc.reset_counts();
    eventually("nobody calls, and it is renewed again and again", || {
        (world.oidc.token_requests() >= 2).then_some(())
    });
    assert_ne!(obtained(&ids[0]), idle);
    assert_eq!(obtained(&ids[1]), left, "one that does not die of idleness is left alone");
    for (slug, id) in [("idle", &ids[0]), ("left", &ids[1])] {
        assert_eq!(world.environment(id)["status"], "verified");
        assert_eq!(world.app.get(&format!("{slug}/resource")).status, 200);
    }
    world.app.stop();
}

/// An environment that is taken out of a credential leaves no token alive at the provider.
#[test]
fn a_removed_environment_gives_its_tokens_back() {
    let world = World::with(setup().start(), &json!({}));
    let mut body = world.body("drive", "oauth2_authorization_code");
    body["values"]["staging"] = body["values"]["production"].clone();
    let made = world.app.done("POST", "/credentials", &body, 201);
    let id = made["id"].as_str().unwrap();
    let mut browser = Browser::signed_in(&world.app);
    for environment in ["production", "staging"] {
        let begun = world.app.done(
            "POST",
            &format!("/credentials/{id}/authorize"),
            &json!({"environment": environment}),
            200,
        );
        let back = world.to_callback(&mut browser, begun["authorize_url"].as_str().unwrap());
        assert_eq!(browser.get(&back).status, 200);
    }
    world.oidc.reset_counts();
    // A change that is refused takes nothing away, not even at the provider.
    let path = format!("/credentials/{id}");
    let wrong = json!({"values": {"staging": null, "production": {"test_path": "/no-such-path"}}});
    assert_eq!(world.app.api("PATCH", &path, &wrong).status, 422);
    let granted = json!({"values": {"production": null}});
    assert_eq!(world.app.api("PATCH", &path, &granted).status, 409, "it is granted to a project");
    assert_eq!(world.oidc.counts().get("POST /token/revocation"), None);

    let left = world.app.done("PATCH", &path, &json!({"values": {"staging": null}}), 200);
    assert_eq!(left["environments"].as_object().unwrap().len(), 1, "{left}");
    assert_eq!(
        world.oidc.counts()["POST /token/revocation"],
        2,
        "refresh and access token of that one alone"
    );
    let calls = world.app.get("drive/resource");
    assert_eq!(calls.status, 200, "the other environment's grant lives: {}", calls.text());
    world.app.stop();
}
