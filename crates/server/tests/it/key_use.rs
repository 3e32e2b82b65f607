//! Which keys use a credential, when it is called so often that nobody reads its trail to the beginning.

use latchstring_model::Timestamp;
use latchstring_model::entity::{Fact, Outcome};
use latchstring_model::id::{CallId, CredentialId, KeyId, ProjectId};
use latchstring_store::api_keys;
use latchstring_store::audit::{self, AuditRecord, JournalRow, Shipped};
use latchstring_testkit::SeededEntropy;
use serde_json::{Value, json};

use crate::app::{Somebody, TestApp, both};

/// Records of the calls of a server of its own.
struct Trail<'a> {
    app: &'a TestApp,
    project: ProjectId,
    credential: CredentialId,
    entropy: SeededEntropy,
}

impl Trail<'_> {
    /// What its journal would have of one call.
    fn intent(&self, key: &Value, at: Timestamp, credential: &str, path: &str) -> (CallId, String) {
        let call = CallId::new(at, &self.entropy);
        let line = format!(
            r#"{{"fact":"intent","call_id":"{call}","at":{},"project_id":"{}","credential_id":"{credential}","actor":{{"type":"key","id":{}}},"environment":"production","project_environment":"staging","purpose":"call","method":"GET","host":"api.example.org","path":"{path}"}}"#,
            at.millis(),
            self.project,
            key["id"],
        );
        (call, line)
    }

    fn called(&self, key: &Value, at: Timestamp) -> String {
        self.intent(key, at, self.credential.as_str(), "/v1/me").1
    }

    fn record(&self, at: Timestamp, fact: Fact, body: String) -> AuditRecord {
        AuditRecord {
            writer: "srv_0000000001zzzzzzzzzzzzzzzz.0".into(),
            number: 0,
            at,
            fact,
            call_id: None,
            project_id: None,
            credential_id: None,
            actor_type: "server".into(),
            actor_id: None,
            actor_email: None,
            action: "calls".into(),
            target: None,
            environment: None,
            outcome: Outcome::Ok,
            body,
            previous: vec![0; 32],
            hash: vec![1; 32],
        }
    }

    fn batch(&self, at: Timestamp, lines: &[String]) -> Shipped {
        let scopes = vec![self.project.to_string(), self.credential.to_string()];
        Shipped { record: self.record(at, Fact::Batch, lines.join("\n")), scopes }
    }

    /// A call that was under way when its record was stored has a row of its own.
    fn alone(&self, key: &Value, at: Timestamp) -> Shipped {
        let (call, line) = self.intent(key, at, self.credential.as_str(), "/v1/slow");
        let mut record = self.record(at, Fact::Intent, line);
        record.call_id = Some(call);
        record.project_id = Some(self.project.clone());
        record.credential_id = Some(self.credential.clone());
        record.actor_type = "key".into();
        record.actor_id = key["id"].as_str().map(str::to_owned);
        record.action = "credential.use".into();
        Shipped { record, scopes: Vec::new() }
    }

    async fn store(&self, mut rows: Vec<Shipped>) {
        let mut tx = self.app.store.begin_upkeep().await.unwrap();
        let writer = rows[0].record.writer.clone();
        let from = audit::lock_head(&mut tx, &writer, &[0; 32]).await.unwrap();
        for (number, row) in (from.number + 1..).zip(&mut rows) {
            row.record.number = number;
        }
        let to = JournalRow { number: rows.last().unwrap().record.number, ..from.clone() };
        audit::append_shipped(&mut tx, &from, &rows, &to).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// As the server notes it, whatever the key called.
    async fn used(&self, keys: &[&Value]) {
        let used: Vec<(KeyId, Timestamp)> = keys
            .iter()
            .map(|key| (key["id"].as_str().unwrap().parse().unwrap(), self.app.broker.now()))
            .collect();
        let mut tx = self.app.store.begin_upkeep().await.unwrap();
        api_keys::touch(&mut tx, &used).await.unwrap();
        tx.commit().await.unwrap();
    }
}

/// Bob's, granted to acme's staging, and its trail.
async fn bobs<'a>(app: &'a TestApp, ada: &Somebody, bob: &Somebody) -> (String, Trail<'a>) {
    let project = app.project(ada, "acme").await;
    app.member(ada, "acme", bob, "editor").await;
    let body = json!({
        "name": "Robot", "connector": "raw", "auth_method": "custom", "verify": "skip", "values": {"production": {"a": "b"}},
        "shares": [{"project": "acme", "slug": "robot", "grants": {"staging": "production"}}],
    });
    let made = app.post("/api/v1/credentials", body).key(&bob.key).is(201).await.json();
    let id = made["id"].as_str().unwrap().to_owned();
    let trail = Trail {
        app,
        project: project["id"].as_str().unwrap().parse().unwrap(),
        credential: id.parse().unwrap(),
        entropy: SeededEntropy::new(5),
    };
    (id, trail)
}

/// Name and calls of the keys, in their order.
fn keys(told: &Value) -> Vec<(String, u64)> {
    let keys = told["api_keys"].as_array().unwrap().iter();
    keys.map(|key| (key["name"].as_str().unwrap().to_owned(), key["calls"].as_u64().unwrap())).collect()
}

fn named(expected: &[(&str, u64)]) -> Vec<(String, u64)> {
    expected.iter().map(|(name, calls)| ((*name).to_owned(), *calls)).collect()
}

/// What is said of the member who owns it: names of keys, whether they are all, and back to when.
async fn stops(app: &TestApp, ada: &Somebody) -> (Vec<String>, Value, Value) {
    let refused =
        app.delete("/api/v1/projects/acme/members/bob@example.org").key(&ada.key).is(409).await.json();
    let one = &refused["credentials"][0];
    let mut names: Vec<String> =
        one["api_keys"].as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect();
    names.sort();
    (names, one["complete"].clone(), one["looked_back_to"].clone())
}

const CUT: &str = "were not looked through";

both! {
    async fn a_key_that_called_long_before_the_others_is_found(app) {
        let ada = app.person("ada@example.org").await;
        let bob = app.person("bob@example.org").await;
        let (id, trail) = bobs(&app, &ada, &bob).await;
        let mut made = Vec::new();
        for name in ["busy", "nightly", "slow", "idle"] {
            made.push(app.service_key(&ada, "acme", json!({"name": name})).await);
        }
        let (busy, nightly, slow) = (&made[0], &made[1], &made[2]);
        let now = app.broker.now();
        let night = now.plus_secs(-3600);
        let mut rows = vec![
            trail.batch(night, &[trail.called(nightly, night), trail.called(busy, night)]),
            trail.alone(slow, night.plus_secs(1)),
        ];
        for part in 0..3 {
            let calls: Vec<String> = (0..500).map(|call| trail.called(busy, now.plus_millis(part * 1000 + call))).collect();
            rows.push(trail.batch(now, &calls));
        }
        trail.store(rows).await;
        trail.used(&[busy, nightly, slow]).await;

        let at = format!("/api/v1/credentials/{id}/usage");
        for (path, who) in [(at.as_str(), &bob), ("/api/v1/projects/acme/credentials/robot/usage", &ada)] {
            let told = app.get(path).key(&who.key).is(200).await.json();
            assert_eq!(keys(&told), named(&[("busy", 1501), ("slow", 1), ("nightly", 1)]), "{path}");
            assert_eq!(told["api_keys"][2]["last_call_at"], night.to_rfc3339());
            assert_eq!((&told["complete"], &told["looked_back_to"]), (&json!(true), &Value::Null), "{path}");
            assert_eq!(told["calls"].as_array().unwrap().len(), 50);
        }
        assert_eq!(stops(&app, &ada).await, (vec!["busy".into(), "nightly".into(), "slow".into()], json!(true), Value::Null));
        for (page, who) in [(format!("/credentials/{id}/activity"), &bob), (format!("/credentials/{id}?project=acme"), &ada)] {
            let page = app.get(&page).cookie(&who.cookie).is(200).await.text;
            assert!(page.contains("nightly") && !page.contains(CUT) && !page.contains("idle"), "{page}");
        }
    }

    // Sixteen megabytes are read, and no more.
    async fn what_was_not_looked_through_is_said(app) {
        let ada = app.person("ada@example.org").await;
        let bob = app.person("bob@example.org").await;
        let (id, trail) = bobs(&app, &ada, &bob).await;
        let soon = app.broker.now().plus_secs(10).to_rfc3339();
        let mut made = std::collections::BTreeMap::new();
        for (name, more) in [
            ("busy", json!({})),
            ("nightly", json!({})),
            ("idle", json!({})),
            ("made-for-it", json!({"credentials": [id]})),
            ("production", json!({"environment": "production"})),
            ("expired", json!({"expires_at": soon})),
        ] {
            let mut body = json!({"name": name});
            body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            made.insert(name, app.service_key(&ada, "acme", body).await);
        }
        let other = json!({
            "name": "Other", "connector": "raw", "auth_method": "custom", "verify": "skip", "values": {"production": {"a": "b"}},
            "shares": [{"project": "acme", "grants": {"staging": "production"}}],
        });
        let other = app.post("/api/v1/credentials", other).key(&ada.key).is(201).await.json();
        made.insert("for-another", app.service_key(&ada, "acme", json!({"name": "for-another", "credentials": [other["id"]]})).await);
        app.clock.advance_secs(60);

        let now = app.broker.now();
        let night = now.plus_secs(-86_400);
        trail.store(vec![trail.batch(night, &[trail.called(&made["nightly"], night), trail.called(&made["nightly"], night)])]).await;
        let long = "x".repeat(300_000);
        for part in 0..6 {
            // What else lies in a batch is read with it.
            let rows = (0..10).map(|number| {
                let at = now.plus_secs(part * 10 + number - 100);
                let beside = trail.intent(&made["busy"], at, other["id"].as_str().unwrap(), &format!("/{long}")).1;
                trail.batch(at, &[trail.called(&made["busy"], at), beside])
            });
            trail.store(rows.collect()).await;
        }

        let at = format!("/api/v1/credentials/{id}/usage");
        let here = "/api/v1/projects/acme/credentials/robot/usage";
        trail.used(&[&made["busy"]]).await;
        // All keys that were ever used are found soon: it need not go on, and says from when on it counted.
        let told = app.get(&at).key(&bob.key).is(200).await.json();
        assert_eq!(told["complete"], true, "{told}");
        assert!(told["api_keys"][0]["calls"].as_u64().unwrap() < 60 && told["looked_back_to"].is_string(), "{told}");

        trail.used(&made.iter().filter(|(name, _)| **name != "idle").map(|(_, key)| key).collect::<Vec<_>>()).await;
        for (path, who) in [(at.as_str(), &bob), (here, &ada)] {
            let told = app.get(path).key(&who.key).is(200).await.json();
            let found = keys(&told);
            assert!(found[0].0 == "busy" && (50..60).contains(&found[0].1), "{found:?}");
            let mut rest = found[1..].to_vec();
            rest.sort();
            assert_eq!(rest, named(&[("made-for-it", 0), ("nightly", 0)]), "those that may have called before");
            assert_eq!(told["complete"], false);
            let back_to = Timestamp::parse_rfc3339(told["looked_back_to"].as_str().unwrap()).unwrap();
            assert!(back_to > night && back_to < now, "{told}");
        }
        let (names, complete, back_to) = stops(&app, &ada).await;
        assert_eq!((names, complete), (vec!["busy".into(), "made-for-it".into(), "nightly".into()], json!(false)));
        assert!(back_to.is_string());

        let activity = app.get(&format!("/credentials/{id}/activity")).cookie(&bob.cookie).is(200).await.text;
        assert!(activity.contains("It is called too often") && activity.contains("Their calls are counted from"), "{activity}");
        let overview = app.get(&format!("/credentials/{id}?project=acme")).cookie(&ada.cookie).is(200).await.text;
        assert!(overview.contains(CUT) && overview.contains("nightly"), "{overview}");
        let form = [("email", "bob@example.org")];
        let members = app.post("/projects/acme/members/remove", json!({})).form(&form).cookie(&ada.cookie).is(409).await.text;
        assert!(members.contains(CUT) && members.contains("nightly"), "{members}");
    }
}
