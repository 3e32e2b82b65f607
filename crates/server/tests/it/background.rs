//! Tokens renewed ahead of their end.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::routing::post;
use axum::{Json, Router};
use latchstring_sandbox::{DEMO, TOKEN_TTL};
use serde_json::json;

use crate::app::Db;
use crate::calling::{World, both_worlds};
use crate::connectors::definition;

const OBTAINED: &str = r#"latchstring_token_requests_total{result="obtained"}"#;
const AHEAD: &str = "latchstring_tokens_renewed_ahead_total";

async fn with_token(world: &World, name: &str, client_id: &str) {
    let values = json!({"base_url": world.api, "client_id": client_id, "client_secret": DEMO.client_secret});
    world.stored("acme", "sandbox", "oauth2_client_credentials", name, values).await;
}

async fn turn(world: &World) -> usize {
    let begun = world.app.broker.refresh_due_tokens().await.unwrap();
    let count = begun.len();
    for renewal in begun {
        renewal.await.unwrap();
    }
    count
}

both_worlds! {
    async fn a_token_in_use_is_renewed_before_a_call_needs_it(world) {
        with_token(&world, "main", DEMO.client_id).await;
        assert_eq!(world.proxy_as_ada("main/v1/me").await.status, 200);
        assert_eq!(world.metric(OBTAINED), 1);
        assert_eq!(turn(&world).await, 0, "its time has not come");
        world.app.clock.advance_secs(TOKEN_TTL * 2 / 3);
        assert_eq!(turn(&world).await, 0);
        // A tenth of its life before the margin begins, and before it is stale: 120 s, less 12, less 6 to 11.
        world.app.clock.set(world.now().plus_secs(TOKEN_TTL * 9 / 10 - TOKEN_TTL * 2 / 3 - 1));
        assert_eq!(turn(&world).await, 1);
        assert_eq!((world.metric(OBTAINED), world.metric(AHEAD)), (2, 1));
        assert_eq!(turn(&world).await, 0, "the new one is good for long");
        world.app.clock.advance_secs(30);
        assert_eq!(world.proxy_as_ada("main/v1/me").await.status, 200);
        assert_eq!(world.metric(OBTAINED), 2, "the call found the renewed token");
    }

    async fn one_that_nobody_uses_is_not(world) {
        with_token(&world, "main", DEMO.client_id).await;
        assert_eq!(world.proxy_as_ada("main/v1/me").await.status, 200);
        world.app.clock.advance_secs(TOKEN_TTL * 9 / 10 - 1);
        assert_eq!(turn(&world).await, 1);
        // Nobody called since: it lapses, and the next call gets one for itself.
        world.app.clock.advance_secs(TOKEN_TTL * 9 / 10 - 1);
        assert_eq!(turn(&world).await, 0);
        world.app.clock.advance_secs(3600);
        assert_eq!(turn(&world).await, 0);
        assert_eq!(world.metric(OBTAINED), 2);
    }

    async fn operations_count_as_use(world) {
        with_token(&world, "main", DEMO.client_id).await;
        world.operation("main", "people", json!({})).key(&world.ada.key).is(200).await;
        world.app.clock.advance_secs(TOKEN_TTL * 9 / 10 - 1);
        assert_eq!(turn(&world).await, 1, "put together from the credential: the call's route is gone");
        world.operation("main", "people", json!({})).key(&world.ada.key).is(200).await;
        assert_eq!(world.metric(OBTAINED), 2);
    }

    async fn a_credential_that_may_not_be_used_is_left_alone(world) {
        with_token(&world, "main", DEMO.client_id).await;
        assert_eq!(world.proxy_as_ada("main/v1/me").await.status, 200);
        let mut tx = world.app.store.begin_write(&[&world.ada.id]).await.unwrap();
        let owner = latchstring_model::entity::Principal::User(world.ada.id.parse().unwrap());
        let page = latchstring_store::credentials::list_of_owner(&mut tx, &owner, &Default::default(), &latchstring_store::Paging::first()).await.unwrap();
        let mut row = page.items[0].clone();
        row.disabled = true;
        latchstring_store::credentials::update(&mut tx, &row, world.now()).await.unwrap();
        tx.commit().await.unwrap();
        world.app.clock.advance_secs(TOKEN_TTL * 9 / 10 - 1);
        assert_eq!(turn(&world).await, 0);
    }
}

#[tokio::test]
async fn with_the_setting_off_only_calls_renew() {
    let world = World::with(Db::Sqlite, false).await;
    with_token(&world, "main", DEMO.client_id).await;
    assert_eq!(world.proxy_as_ada("main/v1/me").await.status, 200);
    world.app.clock.advance_secs(TOKEN_TTL * 9 / 10 - 1);
    assert_eq!(turn(&world).await, 0);
    // The API refuses it: the call itself renews.
    world.api_clock.advance_secs(TOKEN_TTL + 1);
    assert_eq!(world.proxy_as_ada("main/v1/me").await.status, 200);
    assert_eq!((world.metric(OBTAINED), world.metric(AHEAD)), (2, 0));
}

/// A token endpoint that takes its time, and how many it had to serve at once.
async fn slow_endpoint() -> (SocketAddr, Arc<Mutex<(usize, usize)>>) {
    let seen = Arc::new(Mutex::new((0, 0)));
    let counted = Arc::clone(&seen);
    let answer = move || {
        let seen = Arc::clone(&counted);
        async move {
            {
                let mut seen = seen.lock().unwrap();
                seen.0 += 1;
                seen.1 = seen.1.max(seen.0);
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
            seen.lock().unwrap().0 -= 1;
            Json(
                json!({"access_token": "a-token-of-no-use", "token_type": "Bearer", "expires_in": TOKEN_TTL}),
            )
        }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(axum::serve(listener, Router::new().route("/token", post(answer))).into_future());
    (at, seen)
}

async fn no_more_than_two_of_one_owner_at_once(db: Db) {
    let (slow, seen) = slow_endpoint().await;
    let world = World::reaching(db, true, &[slow]).await;
    let more = "  login:\n    fields: {base_url: {type: url}, token_url: {type: url}}\n    scheme: {type: oauth2_client_credentials, token_url: \"{{ token_url }}\", client_id: me, client_secret: not-a-secret}\n";
    world.upload("acme", &definition("CRM", "X-API-Key", more)).await;
    for i in 0..12 {
        let values = json!({"base_url": world.api, "token_url": format!("http://{slow}/token")});
        world.stored("acme", "crm", "login", &format!("c{i}"), values).await;
    }
    let calls = (0..12).map(|i| format!("c{i}/echo"));
    for path in calls {
        assert_eq!(world.proxy_as_ada(&path).await.status, 200);
    }
    assert_eq!((world.metric(OBTAINED), seen.lock().unwrap().1), (12, 1));
    world.app.clock.advance_secs(TOKEN_TTL * 9 / 10 - 1);
    let mut turns = 0;
    while world.metric(OBTAINED) < 24 {
        turn(&world).await;
        turns += 1;
        assert!(turns < 20, "all are renewed some time");
    }
    let most = seen.lock().unwrap().1;
    assert!(
        most <= 2,
        "{most} at once: a token endpoint of one owner that hangs leaves places for the others"
    );
}

#[tokio::test]
async fn no_more_than_two_of_one_owner_at_once_sqlite() {
    no_more_than_two_of_one_owner_at_once(Db::Sqlite).await;
}

#[tokio::test]
async fn no_more_than_two_of_one_owner_at_once_postgres() {
    no_more_than_two_of_one_owner_at_once(Db::Postgres).await;
}
