//! Operations and metadata, from the API to a real API and back.

use latchstring_sandbox::DEMO;
use serde_json::json;

use crate::calling::{both_worlds, code, items};
use crate::connectors::definition;

const MORE: &str = r#"
  mailed:
    label: Key, with who asks
    fields:
      base_url: {type: url}
      key: {type: text, secret: true}
    scheme: {type: api_key, in: header, key: X-API-Key, value: "{{ key }}"}
    query: {user_email: "{{ user.email }}"}
  login:
    label: Token
    fields:
      base_url: {type: url}
    scheme:
      type: oauth2_client_credentials
      token_url: "{{ base_url }}/oauth/token"
      client_id: sandbox-client
      client_secret: sandbox-client-secret-not-a-secret
      client_auth: basic
errors: {"404": "There is no such page.", no_status: "Take a status that exists."}
operations:
  colleagues:
    get: /v1/people
    query: {limit: "50"}
    input: {role: {type: text}, floor: {type: integer, optional: true, min: 0}}
    filter: {items: items, where: "{{ item.role == input.role }}"}
  unjudged:
    get: /v1/people
    filter: {items: items, where: "{{ item.salary > 3 }}"}
  no_list:
    get: /v1/me
    filter: {items: items, where: "{{ true }}"}
  hidden:
    get: /v1/status/{{ input.code }}
    input: {code: {type: integer}}
    filter: {items: items, where: "{{ true }}"}
  status:
    get: /v1/status/{{ input.code }}
    input: {code: {type: integer}}
  echo:
    get: /echo/here
    query: {unmasked: "true", said: "{{ input.said }}"}
    input: {said: {type: text, default: nothing}}
  greet:
    get: /echo
    query: {who: "{{ user.email }}"}
  page: {get: /}
metadata:
  roles:
    get: /v1/people
    query: {limit: "{{ input.limit }}"}
    input: {limit: {type: integer, default: 2, max: 50}}
    select: {items: items, value: id, label: name, extra: {role: role}}
"#;

fn crm() -> String {
    definition("CRM", "X-API-Key", MORE.trim_start_matches('\n'))
}

both_worlds! {
    async fn a_filter_takes_out_what_is_not_for_the_caller(world) {
        world.upload("acme", &crm()).await;
        world.credential("acme", "crm", "key", "main").await;
        let ada = &world.ada.key;
        let all = world.proxy_as_ada("main/v1/people?limit=50").await;
        assert!(all.text().contains("mary@example.com"), "/proxy shows all");
        let answer = world.operation("main", "colleagues", json!({"input": {"role": "engineer"}})).key(ada).is(200).await;
        assert_eq!(items(&answer), ["grace@example.com", "alan@example.com"]);
        assert!(answer.header("latchstring-call-id").starts_with("cal_"), "{:?}", answer.headers);
        assert_eq!(answer.header("content-type"), "application/json");
        // The fields by themselves do, too.
        let answer = world.operation("main", "colleagues", json!({"role": "nurse"})).key(ada).is(200).await;
        assert_eq!(items(&answer), ["mary@example.com"]);
        // In a browser's session as well.
        let answer = world.operation("main", "colleagues", json!({"role": "nurse"})).cookie(&world.ada.cookie).is(200).await;
        assert_eq!(items(&answer), ["mary@example.com"]);
        // Fails closed: an item that cannot be judged, and an answer without the list.
        for name in ["unjudged", "no_list"] {
            let refused = world.operation("main", name, json!({})).key(ada).is(502).await;
            assert_eq!(refused.code(), "upstream_error");
            assert!(!refused.text.contains("example.com") && !refused.text.contains("sandbox"), "{}", refused.text);
        }
    }

    async fn an_operation_that_filters_shows_of_a_refusal_only_its_status(world) {
        world.upload("acme", &crm()).await;
        world.credential("acme", "crm", "key", "main").await;
        let ada = &world.ada.key;
        let shown = world.operation("main", "status", json!({"code": 503})).key(ada).is(502).await;
        assert_eq!(shown.code(), "upstream_error");
        assert_eq!(shown.json()["upstream"]["status"], 503);
        assert!(shown.json()["upstream"]["body_excerpt"].as_str().unwrap().contains("Service Unavailable"));
        let hidden = world.operation("main", "hidden", json!({"code": 503})).key(ada).is(502).await;
        assert_eq!(hidden.json()["upstream"], json!({"status": 503, "body_excerpt": null}));
        assert!(!hidden.text.contains("Service Unavailable"), "{}", hidden.text);
        let explained = world.operation("main", "status", json!({"code": 404})).key(ada).is(502).await;
        assert_eq!(explained.json()["hint"], "There is no such page.");
        world.operation("main", "status", json!({"code": 204})).key(ada).is(204).await;
    }

    async fn input_is_checked_all_at_once(world) {
        world.upload("acme", &crm()).await;
        world.credential("acme", "crm", "key", "main").await;
        let wrong = |body| world.operation("main", "colleagues", body).key(&world.ada.key).is(422);
        assert_eq!(wrong(json!({"input": {"floor": -1, "nope": 1}})).await.pointers().len(), 3);
        let mut pointers = wrong(json!({"input": {"floor": "x", "nope": 1}})).await.pointers();
        pointers.sort();
        assert_eq!(pointers, ["/input/floor", "/input/nope", "/input/role"]);
        assert_eq!(wrong(json!({"floor": 1})).await.pointers(), ["/role"]);
        assert_eq!(wrong(json!({"input": {"role": "x"}, "other": 1})).await.pointers(), ["/other"]);
        assert_eq!(wrong(json!({"input": 3})).await.pointers(), ["/input"]);
        let unknown = world.operation("main", "nothing", json!({})).key(&world.ada.key).is(404).await;
        assert!(unknown.json()["hint"].as_str().unwrap().contains("colleagues"));
        // What a caller gives is never a template.
        let echoed = world.operation("main", "echo", json!({"said": "{{ user.email }}"})).key(&world.ada.key).is(200).await;
        assert!(echoed.json()["query"].as_str().unwrap().contains("said=%7B%7B%20user.email"), "{}", echoed.text);
        assert!(world.metric(r#"latchstring_call_errors_total{code="invalid"}"#) == 3);
    }

    async fn an_echoed_secret_is_masked(world) {
        world.upload("acme", &crm()).await;
        world.credential("acme", "crm", "key", "main").await;
        let answer = world.operation("main", "echo", json!({})).key(&world.ada.key).is(200).await;
        assert!(!answer.text.contains(DEMO.api_key), "{}", answer.text);
        let shown = answer.json()["headers"]["x-api-key"].as_str().unwrap().to_owned();
        assert_eq!(shown.len(), DEMO.api_key.len(), "it arrived, and is masked: {shown}");
        // A refusal's excerpt, too.
        let page = world.operation("main", "page", json!({})).key(&world.ada.key).is(200).await;
        assert!(!page.text.contains(DEMO.api_key), "{}", page.text);
    }

    async fn what_only_the_operation_reads_is_masked_in_every_form(world) {
        let definition = definition("CRM", "X-API-Key", "operations:\n  signed: {get: /echo/here, query: {unmasked: \"true\"}, headers: {X-Signing: \"{{ signing }}\", X-Coded: \"{{ signing | base64 }}\"}}\n  note: {post: /echo/here, query: {unmasked: \"true\"}, headers: {Content-Type: application/fhir+json}, body: {json: {said: \"hello\"}}}\n  plain: {post: /echo/here, query: {unmasked: \"true\"}, body: {json: {said: \"hello\"}}}\n")
            .replace("      key: {type: text, secret: true}\n", "      key: {type: text, secret: true}\n      signing: {type: text, secret: true}\n");
        world.upload("acme", &definition).await;
        let values = json!({"base_url": world.api, "key": DEMO.api_key, "signing": "planted-signing-secret"});
        world.stored("acme", "crm", "key", "main", values).await;
        let answer = world.operation("main", "signed", json!({})).key(&world.ada.key).is(200).await;
        assert!(!answer.text.contains("planted-signing-secret"), "{}", answer.text);
        let coded = "cGxhbnRlZC1zaWduaW5nLXNlY3JldA==";
        assert!(!answer.text.contains(coded), "{}", answer.text);
        assert_eq!(answer.json()["headers"]["x-coded"], "*".repeat(coded.len()), "it arrived: {}", answer.text);
        // A request's own media type stands.
        let kind = async |operation: &str| {
            let answer = world.operation("main", operation, json!({})).key(&world.ada.key).is(200).await;
            answer.json()["headers"]["content-type"].as_str().unwrap().to_owned()
        };
        assert_eq!(kind("note").await, "application/fhir+json");
        assert_eq!(kind("plain").await, "application/json");
    }

    async fn metadata_is_a_call_and_a_list_of_choices(world) {
        world.upload("acme", &crm()).await;
        world.credential("acme", "crm", "key", "main").await;
        let answer = world.metadata("main", "roles").key(&world.ada.key).is(200).await;
        assert_eq!(answer.json(), json!({"items": [
            {"value": 1, "label": "Ada Lovelace", "role": "analyst"}, {"value": 2, "label": "Grace Hopper", "role": "engineer"},
        ], "next_cursor": null}));
        assert!(answer.header("latchstring-call-id").starts_with("cal_"));
        let path = "/api/v1/projects/acme/environments/staging/credentials/main/metadata/roles";
        assert_eq!(world.app.get(&format!("{path}?limit=1")).key(&world.ada.key).is(200).await.json()["items"].as_array().unwrap().len(), 1);
        assert_eq!(world.app.get(&format!("{path}?limit=51&x=1")).key(&world.ada.key).is(422).await.pointers().len(), 2);
        world.metadata("main", "colleagues").key(&world.ada.key).is(404).await;
        // Somebody else asks right after: nothing was kept for them.
        let eve = world.app.person("eve@example.org").await;
        world.metadata("main", "roles").key(&eve.key).is(404).await;
        let viewer = world.app.person("viewer@example.org").await;
        world.app.member(&world.ada, "acme", &viewer, "viewer").await;
        assert_eq!(world.metadata("main", "roles").key(&viewer.key).is(403).await.code(), "forbidden");
        world.app.member(&world.ada, "acme", &viewer, "editor").await;
        world.metadata("main", "roles").key(&viewer.key).is(200).await;
        world.app.delete("/api/v1/projects/acme/members/viewer@example.org").key(&world.ada.key).is(204).await;
        world.metadata("main", "roles").key(&viewer.key).is(404).await;
    }

    async fn the_person_who_asks_is_who_the_template_says(world) {
        world.upload("acme", &crm()).await;
        world.credential("acme", "crm", "mailed", "main").await;
        let bob = world.app.person("bob@example.org").await;
        world.app.member(&world.ada, "acme", &bob, "editor").await;
        for who in [&world.ada, &bob] {
            let answer = world.operation("main", "greet", json!({})).key(&who.key).is(200).await;
            let encoded = who.email.replace('@', "%40");
            assert_eq!(answer.json()["query"], format!("who={encoded}&user_email={encoded}"));
        }
        // On /proxy the caller's own value of that name is dropped, however it is written.
        for forged in ["user_email=eve%40example.org", "user%5Femail=eve&user_email=eve", "a=1&user_email"] {
            let answer = world.proxy_as_ada(&format!("main/echo?{forged}")).await;
            let query = answer.json()["query"].as_str().unwrap().to_owned();
            assert!(query.ends_with("user_email=ada%40example.org") && !query.contains("eve"), "{query}");
            assert_eq!(query.matches("mail").count(), 1, "{query}");
        }
        // A person is nobody else.
        let refused = world.operation("main", "greet", json!({})).key(&bob.key).header("latchstring-user", "ada@example.org").is(403).await;
        assert_eq!(refused.code(), "not_allowed");
    }

    async fn a_service_key_is_somebody_only_if_it_may_act_for_them(world) {
        world.upload("acme", &crm()).await;
        world.credential("acme", "crm", "mailed", "main").await;
        let bob = world.app.person("bob@example.org").await;
        world.app.member(&world.ada, "acme", &bob, "viewer").await;
        let alone = world.app.service_key(&world.ada, "acme", json!({})).await["key"].as_str().unwrap().to_owned();
        let acting = world.app.service_key(&world.ada, "acme", json!({"may_act_for": ["bob@example.org"]})).await["key"].as_str().unwrap().to_owned();
        for key in [&alone, &acting] {
            let nobody = world.operation("main", "greet", json!({})).key(key).is(424).await;
            assert_eq!((nobody.code().as_str(), nobody.header("latchstring-error")), ("template_error", "template_error"));
        }
        let ask = |key: &str, who: &str| world.operation("main", "greet", json!({})).key(key).header("latchstring-user", who);
        assert_eq!(ask(&alone, "bob@example.org").is(403).await.code(), "not_allowed");
        assert_eq!(ask(&acting, "ada@example.org").is(403).await.code(), "not_allowed");
        let answer = ask(&acting, "bob@example.org").is(200).await;
        assert_eq!(answer.json()["query"], "who=bob%40example.org&user_email=bob%40example.org");
        world.app.delete("/api/v1/projects/acme/members/bob@example.org").key(&world.ada.key).is(204).await;
        ask(&acting, "bob@example.org").is(403).await;
    }

    async fn a_key_that_is_limited_to_operations_gets_no_further(world) {
        world.upload("acme", &crm()).await;
        let main = world.credential("acme", "crm", "key", "main").await;
        world.credential("acme", "crm", "key", "other").await;
        let key = world.app.service_key(&world.ada, "acme", json!({"operations_only": true, "methods": ["GET"], "credentials": [main["id"]]})).await;
        let key = key["key"].as_str().unwrap();
        let answer = world.operation("main", "colleagues", json!({"role": "engineer"})).key(key).is(200).await;
        assert_eq!(items(&answer).len(), 2);
        let bearer = format!("Bearer {key}");
        let proxied = world.proxy("main/v1/people", &[("authorization", &bearer)]).await;
        assert_eq!((proxied.status, code(&proxied).as_str()), (403, "not_allowed"));
        assert_eq!(world.operation("other", "colleagues", json!({"role": "engineer"})).key(key).is(403).await.code(), "not_allowed");
        // Another environment, another project.
        let place = |project: &str, environment: &str| format!("/api/v1/projects/{project}/environments/{environment}/credentials/main/metadata/roles");
        world.app.project(&world.ada, "beta").await;
        assert_eq!(world.app.get(&place("acme", "production")).key(key).is(403).await.code(), "not_allowed");
        world.app.get(&place("beta", "staging")).key(key).is(404).await;
        world.app.get(&place("acme", "staging")).key(key).is(200).await;
    }

    async fn limits_of_a_key_hold_for_operations_too(world) {
        world.credential("acme", "sandbox", "api_key", "main").await;
        let key = async |limits| world.app.service_key(&world.ada, "acme", limits).await["key"].as_str().unwrap().to_owned();
        let reading = key(json!({"methods": ["GET"]})).await;
        let person = json!({"name": "Marie Curie", "email": "marie@example.com"});
        world.operation("main", "people", json!({})).key(&reading).is(200).await;
        assert_eq!(world.operation("main", "add_person", person.clone()).key(&reading).is(403).await.code(), "not_allowed");
        let below = key(json!({"path_prefixes": ["/v1/people/1"]})).await;
        world.operation("main", "person", json!({"id": 1})).key(&below).is(200).await;
        assert_eq!(world.operation("main", "person", json!({"id": 2})).key(&below).is(403).await.code(), "not_allowed");
        let here = key(json!({"networks": ["192.0.2.0/24"]})).await;
        world.operation("main", "people", json!({})).key(&here).is(200).await;
        world.operation("main", "people", json!({})).key(&here).from("198.51.100.1").is(403).await;
        let mut ending = world.app.post("/api/v1/projects/acme/api-keys", json!({"name": "x", "environment": "staging"})).key(&world.ada.key).is(201).await.json();
        let secret = ending["key"].take().as_str().unwrap().to_owned();
        world.operation("main", "people", json!({})).key(&secret).is(200).await;
        world.app.delete(&format!("/api/v1/projects/acme/api-keys/{}", ending["id"].as_str().unwrap())).key(&world.ada.key).is(204).await;
        world.operation("main", "people", json!({})).key(&secret).is(401).await;
        let made = world.operation("main", "add_person", person).key(&world.ada.key).is(200).await;
        assert_eq!(made.json()["name"], "Marie Curie");
    }

    async fn no_grant_no_operation(world) {
        let body = json!({"name": "main", "connector": "sandbox", "auth_method": "api_key", "verify": "skip",
            "values": {"production": {"base_url": world.api, "key": DEMO.api_key}},
            "shares": [{"project": "acme", "grants": {"production": "production"}}]});
        world.app.post("/api/v1/credentials", body).key(&world.ada.key).is(201).await;
        assert_eq!(world.operation("main", "people", json!({})).key(&world.ada.key).is(403).await.code(), "no_grant");
        assert_eq!(world.operation("nothing", "people", json!({})).key(&world.ada.key).is(404).await.code(), "credential_not_found");
    }

    async fn a_refused_token_is_renewed_once_and_the_request_sent_again(world) {
        world.upload("acme", &crm()).await;
        world.stored("acme", "crm", "login", "main", json!({"base_url": world.api})).await;
        let obtained = || world.metric(r#"latchstring_token_requests_total{result="obtained"}"#);
        let sent = |outcome: &str| world.metric(&format!("latchstring_calls_total{{purpose=\"operation\",outcome=\"{outcome}\"}}"));
        let ask = || world.operation("main", "colleagues", json!({"role": "nurse"})).key(&world.ada.key);
        for _ in 0..2 {
            ask().is(200).await;
        }
        assert_eq!((obtained(), sent("2xx")), (1, 2), "the token of the first call served the second");
        // The API's clock goes ahead: it refuses a token that is fresh by ours.
        world.app.clock.advance_secs(2);
        world.api_clock.advance_secs(130);
        ask().is(200).await;
        assert_eq!((obtained(), sent("2xx"), sent("4xx")), (2, 3, 1));
        // Once in half a minute: a 401 again so soon has another cause, which the caller is told.
        world.app.clock.advance_secs(2);
        world.api_clock.advance_secs(130);
        let refused = ask().is(502).await;
        assert_eq!((refused.code().as_str(), refused.json()["upstream"]["status"].as_i64()), ("upstream_error", Some(401)));
        assert_eq!((obtained(), sent("4xx")), (2, 2));
    }

    async fn operations_are_recorded_like_calls(world) {
        let mut world = world;
        world.run_jobs();
        world.credential("acme", "sandbox", "api_key", "main").await;
        let made = world.operation("main", "person", json!({"id": 3})).key(&world.ada.key).is(200).await;
        let call = made.header("latchstring-call-id").to_owned();
        let key = world.app.service_key(&world.ada, "acme", json!({"methods": ["POST"]})).await;
        world.operation("main", "person", json!({"id": 3})).key(key["key"].as_str().unwrap()).is(403).await;
        let trail = async || world.app.get("/api/v1/projects/acme/audit?limit=200").key(&world.ada.key).is(200).await.json()["items"].as_array().unwrap().clone();
        world.until("the call and the refusal are in the trail", async || {
            let trail = trail().await;
            let made = trail.iter().any(|item| item["call"]["id"] == call.as_str() && item["call"]["status"] == 200);
            made && trail.iter().any(|item| item["action"] == "credential.use" && item["outcome"] == "refused")
        }).await;
        let trail = trail().await;
        let recorded = trail.iter().find(|item| item["call"]["id"] == call.as_str()).unwrap();
        assert_eq!(recorded["call"]["path"], "(operation person)", "{recorded}");
    }
}
