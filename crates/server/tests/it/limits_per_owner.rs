//! One owner whose other side hangs takes nothing from the others: renewals, mails, and tokens that are given back.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use latchstring_broker::notices::mail::MailSettings;
use latchstring_sandbox::TOKEN_TTL;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::app::{Db, Somebody};
use crate::calling::World;
use crate::connectors::definition;

/// A provider whose answers can be held up, and how many it had to work on at once.
#[derive(Clone, Default)]
struct Provider(Arc<Mutex<Seen>>);

#[derive(Default)]
struct Seen {
    now: usize,
    most: usize,
    revoked: usize,
    hold: Duration,
}

impl Provider {
    async fn start() -> (Self, SocketAddr) {
        let provider = Self::default();
        let token = || async {
            Json(
                json!({"access_token": "a-token-of-no-use", "token_type": "Bearer", "expires_in": TOKEN_TTL}),
            )
        };
        let held = |State(provider): State<Provider>| async move {
            let hold = {
                let mut seen = provider.0.lock().unwrap();
                seen.now += 1;
                seen.most = seen.most.max(seen.now);
                seen.hold
            };
            tokio::time::sleep(hold).await;
            let mut seen = provider.0.lock().unwrap();
            seen.now -= 1;
            seen.revoked += 1;
            Json(
                json!({"access_token": "another-of-no-use", "token_type": "Bearer", "expires_in": TOKEN_TTL}),
            )
        };
        let hangs = || async { std::future::pending::<&'static str>().await };
        let router = Router::new()
            .route("/token", post(token))
            .route("/held", post(held))
            .route("/hangs", post(hangs))
            .with_state(provider.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        (provider, at)
    }
}

/// A login whose token endpoint and place of revocation are values.
const LOGIN: &str = "  login:\n    fields: {base_url: {type: url}, token_url: {type: url}, revocation_url: {type: url, optional: true}}\n    scheme: {type: oauth2_client_credentials, token_url: \"{{ token_url }}\", revocation_url: \"{{ revocation_url }}\", client_id: me, client_secret: not-a-secret}\n";

async fn stored(world: &World, who: &Somebody, name: &str, values: Value) -> Value {
    let body = json!({
        "name": name, "connector": "crm", "auth_method": "login", "verify": "skip", "values": {"production": values},
        "shares": [{"project": "acme", "grants": {"staging": "production"}}],
    });
    world.app.post("/api/v1/credentials", body).key(&who.key).is(201).await.json()
}

async fn call(world: &World, who: &Somebody, path: &str) -> u16 {
    let key = format!("Bearer {}", who.key);
    let place = [("latchstring-project", "acme"), ("latchstring-environment", "staging")];
    world.proxy(path, &[("authorization", &key), place[0], place[1]]).await.status
}

/// Makes two tests out of one.
macro_rules! both {
    ($(async fn $name:ident($db:ident) $body:block)*) => {$(
        mod $name {
            #[allow(unused_imports)]
            use super::*;

            async fn run($db: Db) $body

            #[tokio::test]
            async fn sqlite() {
                run(Db::Sqlite).await;
            }

            #[tokio::test]
            async fn postgres() {
                run(Db::Postgres).await;
            }
        }
    )*};
}

both! {
    async fn renewals_that_hang_leave_places_for_other_owners(db) {
        let (provider, at) = Provider::start().await;
        let world = World::reaching(db, true, &[at]).await;
        world.upload("acme", &definition("CRM", "X-API-Key", LOGIN)).await;
        let bob = world.app.person("bob@example.org").await;
        world.app.member(&world.ada, "acme", &bob, "editor").await;
        let url = |path: &str| json!({"base_url": world.api, "token_url": format!("http://{at}{path}")});
        for i in 0..10 {
            stored(&world, &world.ada, &format!("a{i}"), url("/held")).await;
            assert_eq!(call(&world, &world.ada, &format!("a{i}/echo")).await, 200);
        }
        stored(&world, &bob, "b", url("/token")).await;
        assert_eq!(call(&world, &bob, "b/echo").await, 200);
        // From now on the provider of ada's takes its time.
        provider.0.lock().unwrap().hold = Duration::from_secs(9);
        world.app.clock.advance_secs(TOKEN_TTL * 9 / 10 - 1);
        let mut begun = world.app.broker.refresh_due_tokens().await.unwrap();
        assert_eq!(begun.len(), 3, "two of ada's ten, and bob's one, in one turn");
        // They are due at the same moment, so his may be any of the three.
        world.until("bob's does not wait for ada's", async || begun.iter().any(JoinHandle::is_finished)).await;
        begun.retain(|renewal| !renewal.is_finished());
        assert_eq!(begun.len(), 2, "ada's are held up");
        assert_eq!(world.app.broker.refresh_due_tokens().await.unwrap().len(), 0, "no more of ada's meanwhile");
        for renewal in begun {
            renewal.await.unwrap();
        }
        assert_eq!(provider.0.lock().unwrap().most, 2);
    }

    async fn mails_that_hang_leave_places_for_other_people(db) {
        // A mail server that takes connections and says nothing.
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let smtp = listener.local_addr().unwrap();
        let open = Arc::new(Mutex::new(Vec::new()));
        let held = Arc::clone(&open);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                held.lock().unwrap().push(stream);
            }
        });
        let (_, at) = Provider::start().await;
        let mail = MailSettings::read(&format!("smtp://{smtp}?tls=never"), "latch@example.org", "http://127.0.0.1:5282");
        let world = World::changed(db, &[at], move |settings| settings.mail = mail.ok()).await;
        let bob = world.app.person("bob@example.org").await;
        world.app.member(&world.ada, "acme", &bob, "editor").await;
        for (who, count) in [(&world.ada, 5), (&bob, 1)] {
            for i in 0..count {
                let body = json!({
                    "name": format!("{}{i}", who.email.split('@').next().unwrap()), "connector": "sandbox", "auth_method": "api_key",
                    "verify": "skip", "values": {"production": {"base_url": world.api, "key": "not-the-right-key"}},
                });
                let made = world.app.post("/api/v1/credentials", body).key(&who.key).is(201).await.json();
                let path = format!("/api/v1/credentials/{}/verify", made["id"].as_str().unwrap());
                for _ in 0..2 {
                    world.app.post(&path, json!({"environment": "production"})).key(&who.key).is(200).await;
                    world.app.clock.advance_millis(10);
                }
            }
        }
        let begun = world.app.broker.deliver_notices().await.unwrap();
        assert_eq!(begun.len(), 3, "two mails to ada, one to bob");
        assert_eq!(world.app.broker.deliver_notices().await.unwrap().len(), 0, "and no more while they hang");
        world.until("all three are at the server", async || open.lock().unwrap().len() == 3).await;
        for delivery in begun {
            delivery.abort();
        }
    }

    async fn tokens_are_given_back_all_at_once(db) {
        let (provider, at) = Provider::start().await;
        let world = World::reaching(db, false, &[at]).await;
        world.upload("acme", &definition("CRM", "X-API-Key", LOGIN)).await;
        provider.0.lock().unwrap().hold = Duration::from_millis(1_500);
        for (name, path) in [("c0", "/held"), ("c1", "/held"), ("c2", "/held"), ("c3", "/hangs")] {
            let values = json!({
                "base_url": world.api, "token_url": format!("http://{at}/token"), "revocation_url": format!("http://{at}{path}"),
            });
            let made = stored(&world, &world.ada, name, values).await;
            assert_eq!(call(&world, &world.ada, &format!("{name}/echo")).await, 200);
            world.app.delete(&format!("/api/v1/credentials/{}", made["id"].as_str().unwrap())).key(&world.ada.key).is(200).await;
        }
        world.app.clock.advance_secs(7 * 86_400 + 1);
        let began = Instant::now();
        world.app.broker.delete_due_credentials().await.unwrap();
        let took = began.elapsed();
        let (most, revoked) = {
            let seen = provider.0.lock().unwrap();
            (seen.most, seen.revoked)
        };
        assert_eq!((most, revoked), (3, 3), "all at the same time");
        // The one that hangs is left after five seconds, and keeps nobody from deleting.
        assert!(took < Duration::from_secs(9), "{took:?}: one after the other would take 9.5 s");
        let mut told: Vec<String> = world.app.recorded().await.into_iter().filter(|known| known.starts_with("token.revoke")).collect();
        told.sort();
        assert_eq!(told, ["token.revoke failed", "token.revoke ok", "token.revoke ok", "token.revoke ok"]);
        let left = world.app.get("/api/v1/credentials").key(&world.ada.key).is(200).await.json();
        assert_eq!(left["items"], json!([]));
    }
}
