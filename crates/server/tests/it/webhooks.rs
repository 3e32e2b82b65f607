//! Webhooks: who may have them, and how a delivery goes on, fails and is given up.
#![allow(clippy::disallowed_methods)]

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use serde_json::{Value, json};

use crate::app::{Db, both};
use crate::calling::World;

const DAY: i64 = 86_400;

/// An API whose `/me` answers what it is told to, and an endpoint that does the same and remembers who came.
#[derive(Clone, Default)]
struct Outside {
    me: Arc<AtomicU16>,
    hook: Arc<AtomicU16>,
    came: Arc<Mutex<Vec<HeaderMap>>>,
}

impl Outside {
    async fn start() -> (Self, SocketAddr) {
        let outside = Self::default();
        outside.me.store(200, Ordering::SeqCst);
        outside.hook.store(200, Ordering::SeqCst);
        let (me, hook, came) =
            (Arc::clone(&outside.me), Arc::clone(&outside.hook), Arc::clone(&outside.came));
        let status = |of: &AtomicU16| StatusCode::from_u16(of.load(Ordering::SeqCst)).unwrap();
        let hangs = || async { std::future::pending::<StatusCode>().await };
        let router = Router::new().route("/hangs", post(hangs));
        let router = router.route("/me", get(move || async move { status(&me) })).route(
            "/hook",
            post(move |headers: HeaderMap| async move {
                came.lock().unwrap().push(headers);
                (status(&hook), [("retry-after", "7200")])
            }),
        );
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        (outside, at)
    }

    fn came(&self) -> usize {
        self.came.lock().unwrap().len()
    }
}

/// One turn of the queue, to its end.
async fn turn(world: &World) -> usize {
    let begun = world.app.broker.deliver_notices().await.unwrap();
    let count = begun.len();
    for delivery in begun {
        delivery.await.unwrap();
    }
    count
}

async fn failing_credential(world: &World, at: SocketAddr, outside: &Outside) -> Value {
    let values =
        json!({"base_url": format!("http://{at}"), "token": "the-token-of-this-test", "test_path": "/me"});
    let made = world.stored("acme", "http", "bearer", "crm", values).await;
    outside.me.store(401, Ordering::SeqCst);
    check_twice(world, &made).await;
    made
}

async fn check_twice(world: &World, credential: &Value) {
    let path = format!("/api/v1/credentials/{}/verify", credential["id"].as_str().unwrap());
    for _ in 0..2 {
        world.app.post(&path, json!({"environment": "production"})).key(&world.ada.key).is(200).await;
        world.app.clock.advance_millis(10);
    }
}

async fn webhook(world: &World, at: SocketAddr, body: Value) -> Value {
    let mut body = body;
    body["url"] = json!(format!("http://{at}/hook"));
    world.app.post("/api/v1/projects/acme/webhooks", body).key(&world.ada.key).is(201).await.json()
}

async fn deliveries(world: &World, webhook: &Value) -> Vec<Value> {
    let path = format!("/api/v1/projects/acme/webhooks/{}/deliveries", webhook["id"].as_str().unwrap());
    let list = world.app.get(&path).key(&world.ada.key).is(200).await.json();
    list["items"].as_array().unwrap().clone()
}

/// On both databases, with the outside that calls may reach.
macro_rules! both_outsides {
    ($(async fn $name:ident($world:ident, $outside:ident, $at:ident) $body:block)*) => {$(
        mod $name {
            #[allow(unused_imports)]
            use super::*;

            async fn run(db: Db) {
                let ($outside, $at) = Outside::start().await;
                let $world = World::reaching(db, false, &[$at]).await;
                $body
            }

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

both_outsides! {
    async fn two_refused_checks_are_told_once_to_who_asked_for_it(world, outside, at) {
        let asked = webhook(&world, at, json!({"events": ["credential.failing"]})).await;
        let other = webhook(&world, at, json!({"events": ["credential.grant_expiring"]})).await;
        let all = webhook(&world, at, json!({})).await;
        let bob = world.app.person("bob@example.org").await;
        world.app.project(&bob, "foreign").await;
        let foreign = json!({"url": format!("http://{at}/hook")});
        world.app.post("/api/v1/projects/foreign/webhooks", foreign).key(&bob.key).is(201).await;
        let credential = failing_credential(&world, at, &outside).await;
        assert_eq!(turn(&world).await, 2);
        assert_eq!(turn(&world).await, 0);
        assert_eq!(outside.came(), 2, "a project that does not use it hears nothing");
        for (webhook, count) in [(&asked, 1), (&other, 0), (&all, 1)] {
            let log = deliveries(&world, webhook).await;
            assert_eq!(log.len(), count, "{log:?}");
            for one in log {
                assert_eq!((&one["state"], &one["event"]), (&json!("done"), &json!("credential.failing")));
            }
        }
        // Still failing is no news; failing again after a good check is.
        check_twice(&world, &credential).await;
        assert_eq!(turn(&world).await, 0);
        outside.me.store(200, Ordering::SeqCst);
        check_twice(&world, &credential).await;
        outside.me.store(401, Ordering::SeqCst);
        check_twice(&world, &credential).await;
        assert_eq!(turn(&world).await, 2);
    }

    async fn what_does_not_get_through_waits_longer_each_time(world, outside, at) {
        let made = webhook(&world, at, json!({})).await;
        outside.hook.store(503, Ordering::SeqCst);
        failing_credential(&world, at, &outside).await;
        assert_eq!(turn(&world).await, 1);
        // The endpoint asked for two hours; the schedule alone would say five seconds.
        world.app.clock.advance_secs(7_000);
        assert_eq!(turn(&world).await, 0);
        world.app.clock.advance_secs(2_000);
        assert_eq!(turn(&world).await, 1);
        let one = deliveries(&world, &made).await.remove(0);
        assert_eq!((&one["state"], &one["attempts"]), (&json!("waiting"), &json!(2)));
        assert_eq!(one["tries"][1]["status"], 503);
        // The schedule ends after a day and some.
        let mut tries = 2;
        for _ in 0..40 {
            world.app.clock.advance_secs(12 * 3600 + 7200);
            tries += turn(&world).await;
        }
        assert_eq!(tries, 11, "ten pauses");
        let one = deliveries(&world, &made).await.remove(0);
        assert_eq!((&one["state"], &one["next_try_at"]), (&json!("failed"), &Value::Null));
    }

    async fn an_endpoint_is_given_up_after_days_and_can_be_enabled_again(world, outside, at) {
        let made = webhook(&world, at, json!({})).await;
        let path = format!("/api/v1/projects/acme/webhooks/{}", made["id"].as_str().unwrap());
        let state = async || world.app.get(&path).key(&world.ada.key).is(200).await.json();
        outside.hook.store(500, Ordering::SeqCst);
        let credential = failing_credential(&world, at, &outside).await;
        assert_eq!(turn(&world).await, 1);
        assert!(state().await["failing_since"].is_string());
        world.app.clock.advance_secs(4 * DAY);
        assert_eq!(turn(&world).await, 1);
        assert_eq!(state().await["disabled"], false);
        // A success in between begins the count anew.
        outside.hook.store(204, Ordering::SeqCst);
        world.app.clock.advance_secs(DAY);
        assert_eq!(turn(&world).await, 1);
        assert_eq!(state().await["failing_since"], Value::Null);
        outside.hook.store(500, Ordering::SeqCst);
        outside.me.store(200, Ordering::SeqCst);
        check_twice(&world, &credential).await;
        outside.me.store(401, Ordering::SeqCst);
        check_twice(&world, &credential).await;
        assert_eq!(turn(&world).await, 1);
        world.app.clock.advance_secs(5 * DAY + 60);
        assert_eq!(turn(&world).await, 1);
        let given_up = state().await;
        assert_eq!(given_up["disabled"], true);
        assert!(given_up["disabled_reason"].as_str().unwrap().contains("five days"), "{given_up}");
        world.app.clock.advance_secs(DAY);
        assert_eq!(turn(&world).await, 0, "what waited was taken out of the queue");
        let failed = deliveries(&world, &made).await[0]["id"].as_str().unwrap().to_owned();
        let again = format!("{path}/deliveries/{failed}/redeliver");
        assert_eq!(world.app.post(&again, json!({})).key(&world.ada.key).is(409).await.code(), "webhook_disabled");
        world.app.patch(&path, json!({"disabled": false})).key(&world.ada.key).is(200).await;
        outside.hook.store(200, Ordering::SeqCst);
        let before = outside.came();
        world.app.post(&again, json!({})).key(&world.ada.key).is(202).await;
        assert_eq!((turn(&world).await, outside.came()), (1, before + 1));
        assert_eq!(world.app.post(&again, json!({})).key(&world.ada.key).is(202).await.json()["state"], "waiting");
        assert_eq!(world.app.post(&again, json!({})).key(&world.ada.key).is(409).await.code(), "delivery_pending");
    }

    async fn endpoints_that_hang_do_not_hold_all_places(world, outside, at) {
        for _ in 0..5 {
            let body = json!({"url": format!("http://{at}/hangs")});
            world.app.post("/api/v1/projects/acme/webhooks", body).key(&world.ada.key).is(201).await;
        }
        failing_credential(&world, at, &outside).await;
        let begun = world.app.broker.deliver_notices().await.unwrap();
        assert_eq!(begun.len(), 2, "of one project");
        assert!(world.app.broker.deliver_notices().await.unwrap().is_empty(), "while these two hang");
        for delivery in begun {
            delivery.abort();
            assert!(delivery.await.unwrap_err().is_cancelled());
        }
        let begun = world.app.broker.deliver_notices().await.unwrap();
        assert_eq!(begun.len(), 2, "the places are free again");
        for delivery in begun {
            delivery.abort();
        }
    }

    async fn not_everything_is_sent_again_at_once(world, outside, at) {
        let made = webhook(&world, at, json!({})).await;
        let credential = failing_credential(&world, at, &outside).await;
        assert_eq!(turn(&world).await, 1);
        let first = deliveries(&world, &made).await[0]["id"].as_str().unwrap().to_owned();
        outside.hook.store(500, Ordering::SeqCst);
        for _ in 0..10 {
            outside.me.store(200, Ordering::SeqCst);
            check_twice(&world, &credential).await;
            outside.me.store(401, Ordering::SeqCst);
            check_twice(&world, &credential).await;
            assert_eq!(turn(&world).await, 1);
        }
        let again = format!("/api/v1/projects/acme/webhooks/{}/deliveries/{first}/redeliver", made["id"].as_str().unwrap());
        let refused = world.app.post(&again, json!({})).key(&world.ada.key).is(429).await;
        assert_eq!((refused.code(), refused.header("retry-after")), ("too_many_requests".into(), "60"));
        outside.hook.store(200, Ordering::SeqCst);
        world.app.clock.advance_secs(8_000 * 2);
        assert_eq!(turn(&world).await, 2);
        world.app.post(&again, json!({})).key(&world.ada.key).is(202).await;
    }

    async fn gone_means_gone(world, outside, at) {
        let made = webhook(&world, at, json!({})).await;
        outside.hook.store(410, Ordering::SeqCst);
        failing_credential(&world, at, &outside).await;
        assert_eq!(turn(&world).await, 1);
        let path = format!("/api/v1/projects/acme/webhooks/{}", made["id"].as_str().unwrap());
        let state = world.app.get(&path).key(&world.ada.key).is(200).await.json();
        assert_eq!(state["disabled"], true);
        assert!(state["disabled_reason"].as_str().unwrap().contains("410"), "{state}");
        assert_eq!(deliveries(&world, &made).await[0]["state"], "failed");
    }

    async fn two_servers_deliver_once(world, outside, at) {
        webhook(&world, at, json!({})).await;
        failing_credential(&world, at, &outside).await;
        let (one, two) = tokio::join!(turn(&world), turn(&world));
        assert_eq!(one + two, 1);
        assert_eq!(outside.came(), 1);
    }
}

both! {
    async fn made_changed_rotated_and_deleted(app) {
        let ada = app.person("ada@example.org").await;
        let project = app.project(&ada, "acme").await;
        let new = json!({"url": "https://hooks.example.com/a?token=of-the-receiver", "events": ["credential.failing"], "description": "Pager"});
        let made = app.post("/api/v1/projects/acme/webhooks", new).key(&ada.key).is(201).await.json();
        let secret = made["secret"].as_str().unwrap();
        assert!(secret.starts_with("whsec_") && secret.len() > 40);
        let path = format!("/api/v1/projects/acme/webhooks/{}", made["id"].as_str().unwrap());
        let read = app.get(&path).key(&ada.key).is(200).await;
        assert!(!read.text.contains("whsec_") && !read.text.contains("sealed"), "{}", read.text);
        let tag = read.header("etag").to_owned();
        let list = app.get("/api/v1/projects/acme/webhooks").key(&ada.key).is(200).await;
        assert_eq!(list.json()["items"][0], read.json());
        let change = json!({"events": [], "description": "All"});
        let changed = app.patch(&path, change.clone()).key(&ada.key).header("if-match", &tag).is(200).await;
        assert_eq!((&changed.json()["events"], &changed.json()["description"]), (&json!([]), &json!("All")));
        app.patch(&path, change).key(&ada.key).header("if-match", &tag).is(412).await;
        let rotated = app.post(&format!("{path}/rotate-secret"), json!({})).key(&ada.key).is(200).await.json();
        assert_ne!(rotated["secret"], made["secret"]);
        let until = rotated["old_secret_until"].as_str().unwrap();
        assert_eq!(until, app.broker.now().plus_secs(DAY).to_rfc3339());
        app.clock.advance_secs(DAY);
        assert_eq!(app.get(&path).key(&ada.key).is(200).await.json()["old_secret_until"], Value::Null);
        app.delete(&path).key(&ada.key).is(204).await;
        app.get(&path).key(&ada.key).is(404).await;
        let trail = app.audit(&project).await;
        let actions: Vec<&str> = trail.iter().map(|item| item.record.action.as_str()).collect();
        assert_eq!(actions, ["webhook.delete", "webhook.rotate", "webhook.update", "webhook.create", "project.create"]);
        for item in &trail {
            let text = &item.record.body;
            assert!(!text.contains("of-the-receiver") && !text.contains("whsec_"), "{text}");
        }
    }

    async fn only_admins_and_owners_have_them(app) {
        let ada = app.person("ada@example.org").await;
        app.project(&ada, "acme").await;
        let new = || json!({"url": "https://hooks.example.com/a"});
        let made = app.post("/api/v1/projects/acme/webhooks", new()).key(&ada.key).is(201).await.json();
        let path = format!("/api/v1/projects/acme/webhooks/{}", made["id"].as_str().unwrap());
        for (role, status) in [("viewer", 403), ("editor", 403), ("admin", 200)] {
            let bob = app.person(&format!("{role}@example.org")).await;
            app.member(&ada, "acme", &bob, role).await;
            app.get(&path).key(&bob.key).is(status).await;
            app.get("/api/v1/projects/acme/webhooks").key(&bob.key).is(status).await;
            app.get(&format!("{path}/deliveries")).key(&bob.key).is(status).await;
            app.patch(&path, json!({})).key(&bob.key).is(status).await;
            app.post(&format!("{path}/rotate-secret"), json!({})).key(&bob.key).is(status).await;
            app.post("/api/v1/projects/acme/webhooks", new()).key(&bob.key).is(if status == 200 { 201 } else { status }).await;
        }
        let eve = app.person("eve@example.org").await;
        app.project(&eve, "foreign").await;
        app.get(&path).key(&eve.key).is(404).await;
        // The id alone is no way in.
        let through = path.replace("/acme/", "/foreign/");
        app.get(&through).key(&eve.key).is(404).await;
        app.delete(&through).key(&eve.key).is(404).await;
        app.post(&format!("{through}/rotate-secret"), json!({})).key(&eve.key).is(404).await;
        app.get(&path).key(&ada.key).is(200).await;
    }

    async fn everything_wrong_is_said_at_once(app) {
        let ada = app.person("ada@example.org").await;
        app.project(&ada, "acme").await;
        for (body, pointers) in [
            (json!({"url": "not a url", "events": ["credential.x", "credential.failing"], "description": "x".repeat(501)}), vec!["/url", "/description", "/events/0"]),
            (json!({"url": "https://10.0.0.7/hook"}), vec!["/url"]),
            (json!({"url": "https://169.254.169.254/latest"}), vec!["/url"]),
            (json!({"url": format!("https://hooks.example.com/{}", "x".repeat(2000))}), vec!["/url"]),
            (json!({"url": "ftp://hooks.example.com/"}), vec!["/url"]),
        ] {
            let answer = app.post("/api/v1/projects/acme/webhooks", body.clone()).key(&ada.key).is(422).await;
            assert_eq!(answer.pointers(), pointers, "{body}");
        }
        for _ in 0..20 {
            app.post("/api/v1/projects/acme/webhooks", json!({"url": "https://hooks.example.com/"})).key(&ada.key).is(201).await;
        }
        let answer = app.post("/api/v1/projects/acme/webhooks", json!({"url": "https://hooks.example.com/"})).key(&ada.key).is(409).await;
        assert_eq!((answer.code().as_str(), &answer.json()["limit"]), ("limit_reached", &json!(20)));
    }

    async fn a_project_goes_with_its_webhooks(app) {
        let ada = app.person("ada@example.org").await;
        app.project(&ada, "acme").await;
        app.post("/api/v1/projects/acme/webhooks", json!({"url": "https://hooks.example.com/"})).key(&ada.key).is(201).await;
        app.delete("/api/v1/projects/acme").key(&ada.key).is(204).await;
        let mut reader = app.store.read().await.unwrap();
        let left = latchstring_store::webhooks::for_upkeep(&mut reader, &"whk_0000000001zzzzzzzzzzzzzzzz".parse().unwrap()).await.unwrap();
        assert!(left.is_none());
    }
}
