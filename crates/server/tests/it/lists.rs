//! Lists of credentials: narrowed by name, connector, owner and status; as many statements for fifty as for one.

use serde_json::{Value, json};

use crate::app::{Answer, Somebody, TestApp, both};

async fn make(app: &TestApp, who: &Somebody, name: &str, more: Value) -> Value {
    let mut body = json!({
        "name": name, "connector": "http", "auth_method": "bearer", "verify": "skip",
        "values": {"production": {"base_url": "https://api.example.org", "token": "planted-token-0123"}},
        "shares": [{"project": "acme", "grants": {"staging": "production"}}],
    });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let made = app.post("/api/v1/credentials", body).key(&who.key).is(201).await.json();
    // Ids sort by time.
    app.clock.advance_millis(1);
    made
}

fn names(answer: &Answer) -> Vec<String> {
    let answer = answer.json();
    answer["items"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect()
}

both! {
    async fn they_are_narrowed(app) {
        let ada = app.person("ada@example.org").await;
        let bob = app.person("bob@example.org").await;
        app.project(&ada, "acme").await;
        app.member(&ada, "acme", &bob, "editor").await;
        make(&app, &ada, "Alpha", json!({})).await;
        make(&app, &bob, "Beta", json!({})).await;
        make(&app, &ada, "Team", json!({"owner_project": "acme"})).await;
        make(&app, &ada, "Hidden Team", json!({"owner_project": "acme", "shares": []})).await;
        make(&app, &ada, "Own", json!({"shares": []})).await;
        let disabled = make(&app, &ada, "Off", json!({})).await;
        app.post(&format!("/api/v1/credentials/{}/disable", disabled["id"].as_str().unwrap()), json!({})).key(&ada.key).is(200).await;
        let list = async |who: &Somebody, query: &str| {
            names(&app.get(&format!("/api/v1/credentials?{query}")).key(&who.key).is(200).await)
        };
        assert_eq!(list(&ada, "").await, ["Alpha", "Own", "Off"]);
        // What the project owns is its own, shared or not; its admins find it.
        assert_eq!(list(&ada, "project=acme").await, ["Alpha", "Beta", "Team", "Hidden Team", "Off"]);
        assert_eq!(list(&bob, "project=acme&owner=ada@example.org").await, ["Alpha", "Off"]);
        assert_eq!(list(&bob, "project=acme&owner=ADA@example.org&q=AL").await, ["Alpha"]);
        assert_eq!(list(&bob, &format!("project=acme&owner={}", bob.id)).await, ["Beta"]);
        assert_eq!(list(&bob, "project=acme&owner=acme").await, ["Team", "Hidden Team"]);
        assert_eq!(list(&bob, "project=acme&owner=nobody@example.org").await, [""; 0]);
        assert_eq!(list(&ada, "owner=acme").await, ["Team", "Hidden Team"]);
        assert_eq!(list(&bob, "owner=acme").await, [""; 0], "an editor edits none of them");
        assert_eq!(list(&ada, "owner=ada@example.org&q=own").await, ["Own"]);
        assert_eq!(list(&ada, "owner=bob@example.org").await, [""; 0], "what is somebody else's is theirs");
        assert_eq!(list(&ada, "status=disabled").await, ["Off"]);
        assert_eq!(list(&ada, "status=unverified").await, ["Alpha", "Own"], "what is disabled is that alone");
        assert_eq!(list(&ada, "status=unverified&connector=http&q=a").await, ["Alpha"]);
        assert_eq!(list(&ada, "connector=slack").await, [""; 0]);
        app.get("/api/v1/credentials?project=nowhere").key(&bob.key).is(404).await;
        let seen = app.get("/api/v1/credentials?project=acme&q=beta").key(&ada.key).is(200).await.json();
        let item = &seen["items"][0];
        assert!(item["environments"]["production"].get("fields").is_none(), "{item}");
        assert_eq!((item["owner"]["email"].as_str(), item["slug"].as_str()), (Some("bob@example.org"), Some("beta")));
    }

    async fn many_cost_as_much_as_one(app) {
        let ada = app.person("ada@example.org").await;
        app.project(&ada, "acme").await;
        make(&app, &ada, "One", json!({})).await;
        let list = |query: &str| app.get(&format!("/api/v1/credentials?{query}")).key(&ada.key).is(200);
        let (_, one) = latchstring_store::counted(list("project=acme")).await;
        let (_, own) = latchstring_store::counted(list("")).await;
        make(&app, &ada, "Two", json!({})).await;
        let (_, two) = latchstring_store::counted(list("project=acme")).await;
        let (_, own_two) = latchstring_store::counted(list("")).await;
        // One is asked for by itself, and in as many statements.
        assert_eq!((one.len(), own.len()), (two.len(), own_two.len()));
        assert!(one.contains(&"VALUES_OF_ONE") && two.contains(&"VALUES"), "{one:?} {two:?}");
        for number in 3..=50 {
            make(&app, &ada, &format!("Credential {number}"), json!({})).await;
        }
        let (answer, many) = latchstring_store::counted(list("project=acme")).await;
        assert_eq!((answer.json()["items"].as_array().unwrap().len(), many), (50, two));
        let (answer, many) = latchstring_store::counted(list("")).await;
        assert_eq!((answer.json()["items"].as_array().unwrap().len(), many), (50, own_two));
        // More than one statement's worth, in pages of two sizes: the same items in the same order.
        for number in 51..=130 {
            make(&app, &ada, &format!("Credential {number}"), json!({})).await;
        }
        let whole = names(&list("limit=200").await);
        let mut paged = Vec::new();
        let mut cursor = String::new();
        loop {
            let page = list(&format!("limit=60{cursor}")).await;
            paged.extend(names(&page));
            match page.json()["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        assert_eq!((whole.len(), &whole), (130, &paged));
        let last = list("limit=200&q=credential%20130").await.json();
        assert_eq!(last["items"][0]["shares"][0]["grants"], json!({"staging": "production"}));
        assert_eq!(last["items"][0]["environments"]["production"]["secret_fields"], json!(["token"]));
    }
}
