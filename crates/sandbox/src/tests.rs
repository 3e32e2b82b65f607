#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::atomic::{AtomicI64, AtomicU8, Ordering};

use axum::body::Body;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, Request, header};
use http_body_util::BodyExt;
use latchstring_model::Timestamp;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tower::ServiceExt;

use super::*;
use crate::jwt::tests::{NOW, sign};

const BASE: &str = "http://127.0.0.1:5283";
const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
const ASSERTION_FORM: &str = "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer";

struct Hand(AtomicI64);

impl Clock for Hand {
    fn now(&self) -> Timestamp {
        Timestamp::from_secs(self.0.load(Ordering::SeqCst))
    }
}

struct Counting(AtomicU8);

impl Entropy for Counting {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(self.0.fetch_add(1, Ordering::SeqCst));
    }
}

struct World {
    clock: Arc<Hand>,
    router: Router,
}

struct Answer {
    status: u16,
    headers: HeaderMap,
    text: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("{} {}", self.status, self.text))
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }
}

impl World {
    fn new() -> Self {
        let clock = Arc::new(Hand(AtomicI64::new(NOW)));
        let router = router(BASE, clock.clone(), Arc::new(Counting(AtomicU8::new(0))));
        Self { clock, router }
    }

    async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from(body.to_owned())).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        Answer { status: parts.status.as_u16(), headers: parts.headers, text }
    }

    async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.send("GET", path, headers, "").await
    }

    async fn token(&self, form: &str) -> Answer {
        self.send("POST", "/oauth/token", &[FORM], form).await
    }

    async fn client_token(&self, scope: &str) -> String {
        let form = format!(
            "grant_type=client_credentials&client_id={}&client_secret={}&scope={scope}",
            DEMO.client_id, DEMO.client_secret
        );
        let answer = self.token(&form).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.json()["access_token"].as_str().unwrap().to_owned()
    }
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

fn assertion(sub: &str, aud: &str) -> String {
    sign("RS256", &json!({"iss": DEMO.issuer, "sub": sub, "aud": aud, "exp": NOW + 180}))
}

#[tokio::test]
async fn each_credential_opens_its_own_part_and_the_common_one() {
    let world = World::new();
    let token = bearer(&world.client_token("").await);
    let jwt = bearer(&sign("HS256", &json!({"iss": DEMO.issuer, "exp": NOW + 60})));
    let user = basic(DEMO.username, DEMO.password);
    let all = [
        ("/api-key", ("x-api-key", DEMO.api_key), "api_key"),
        ("/basic", ("authorization", user.as_str()), "basic"),
        ("/bearer", ("authorization", token.as_str()), "access_token"),
        ("/jwt", ("authorization", jwt.as_str()), "signed_jwt"),
    ];
    for (part, _, _) in all {
        for (own, header, kind) in all {
            let answer = world.get(&format!("{part}/v1/me"), &[header]).await;
            if part == own {
                assert_eq!(answer.status, 200, "{part}: {}", answer.text);
                assert_eq!(answer.json()["signed_in_with"], kind);
            } else {
                assert_eq!(answer.status, 401, "{part} took {kind}");
                assert!(!answer.header("www-authenticate").is_empty());
                assert!(answer.json()["hint"].is_string());
            }
        }
        assert_eq!(world.get(&format!("{part}/v1/me"), &[]).await.json()["error"], "credential_missing");
    }
    for (_, header, kind) in all {
        assert_eq!(world.get("/v1/me", &[header]).await.json()["signed_in_with"], kind);
    }
    assert_eq!(world.get("/v1/me", &[]).await.status, 401);
}

#[tokio::test]
async fn a_wrong_credential_is_told_what_is_wrong() {
    let world = World::new();
    let wrong = basic(DEMO.username, "x");
    let jwt = bearer("a.b.c");
    for (header, code) in [
        (("x-api-key", "nonsense"), "wrong_api_key"),
        (("authorization", wrong.as_str()), "wrong_password"),
        (("authorization", "Basic %%%"), "wrong_password"),
        (("authorization", "Bearer nonsense"), "invalid_token"),
        (("authorization", jwt.as_str()), "invalid_jwt"),
    ] {
        let answer = world.get("/v1/people", &[header]).await;
        assert_eq!((answer.status, answer.json()["error"].as_str()), (401, Some(code)));
        assert!(!answer.text.contains("nonsense"), "the answer does not repeat what was sent");
    }
}

#[tokio::test]
async fn a_read_only_key_may_not_write() {
    let world = World::new();
    let body = r#"{"name": "Marie Curie", "email": "marie@example.com"}"#;
    let json = ("content-type", "application/json");
    let read_only = ("x-api-key", DEMO.read_only_api_key);
    assert_eq!(world.get("/v1/people", &[read_only]).await.status, 200);
    assert_eq!(world.send("POST", "/v1/people", &[read_only, json], body).await.status, 403);
    let full = ("x-api-key", DEMO.api_key);
    let made = world.send("POST", "/v1/people", &[full, json], body).await;
    assert_eq!((made.status, made.header("location")), (201, "/v1/people/11"));
    assert_eq!(world.get("/v1/people/11", &[full]).await.json()["name"], "Marie Curie");
    let bad = world.send("POST", "/v1/people", &[full, json], r#"{"name": 1}"#).await;
    assert_eq!((bad.status, bad.json()["error"].as_str()), (422, Some("invalid_person")));
    let token = bearer(&world.client_token("people:read").await);
    assert_eq!(world.send("POST", "/v1/people", &[("authorization", &token), json], body).await.status, 403);
}

#[tokio::test]
async fn people_come_in_pages() {
    let world = World::new();
    let key = ("x-api-key", DEMO.api_key);
    let mut names = Vec::new();
    let mut cursor = Value::from(0);
    while !cursor.is_null() {
        let page = world.get(&format!("/v1/people?limit=4&cursor={cursor}"), &[key]).await.json();
        names.extend(page["items"].as_array().unwrap().iter().map(|person| person["id"].as_u64().unwrap()));
        cursor = page["next_cursor"].clone();
    }
    assert_eq!(names, (1..=10).collect::<Vec<u64>>());
    let nurses = world.get("/v1/people?role=nurse", &[key]).await.json();
    assert_eq!(nurses["items"][0]["name"], "Mary Seacole");
    assert_eq!(world.get("/v1/people/99", &[key]).await.status, 404);
    assert_eq!(world.get("/v1/people/x", &[key]).await.status, 404);
    assert_eq!(world.get("/v1/people?lmit=1", &[key]).await.status, 400);
}

#[tokio::test]
async fn client_credentials_go_both_ways_and_expire() {
    let world = World::new();
    let auth = basic(DEMO.client_id, DEMO.client_secret);
    let form = "grant_type=client_credentials&scope=people%3Aread";
    let answer = world.send("POST", "/oauth/token", &[FORM, ("authorization", &auth)], form).await;
    assert_eq!((answer.status, answer.header("cache-control")), (200, "no-store"));
    let body = answer.json();
    assert_eq!(
        (&body["token_type"], &body["scope"], &body["expires_in"]),
        (&json!("Bearer"), &json!("people:read"), &json!(120))
    );
    let token = bearer(body["access_token"].as_str().unwrap());
    let me = ("authorization", token.as_str());
    assert_eq!(world.get("/bearer/v1/me", &[me]).await.json()["subject"], DEMO.client_id);
    world.clock.0.fetch_add(TOKEN_TTL - 1, Ordering::SeqCst);
    assert_eq!(world.get("/bearer/v1/me", &[me]).await.status, 200);
    world.clock.0.fetch_add(1, Ordering::SeqCst);
    assert_eq!(world.get("/bearer/v1/me", &[me]).await.json()["error"], "invalid_token");
    let json = json!({"grant_type": "client_credentials", "client_id": DEMO.client_id, "client_secret": DEMO.client_secret});
    let as_json =
        world.send("POST", "/oauth/token", &[("content-type", "application/json")], &json.to_string()).await;
    assert_eq!(as_json.json()["scope"], "people:read people:write");
}

#[tokio::test]
async fn token_requests_fail_as_rfc_6749_says() {
    let world = World::new();
    let id = format!("client_id={}", DEMO.client_id);
    let secret = format!("client_secret={}", DEMO.client_secret);
    for (form, status, code) in [
        (format!("grant_type=client_credentials&{id}&client_secret=x"), 401, "invalid_client"),
        (format!("grant_type=client_credentials&client_id=x&{secret}"), 401, "invalid_client"),
        ("grant_type=client_credentials".to_owned(), 401, "invalid_client"),
        (format!("grant_type=client_credentials&{id}&{secret}&scope=admin"), 400, "invalid_scope"),
        (format!("grant_type=password&{id}&{secret}"), 400, "unsupported_grant_type"),
        (format!("{id}&{secret}"), 400, "invalid_request"),
        (format!("{id}&{id}&{secret}&grant_type=client_credentials"), 400, "invalid_request"),
        (ASSERTION_FORM.to_owned(), 400, "invalid_request"),
    ] {
        let answer = world.token(&form).await;
        assert_eq!((answer.status, answer.json()["error"].as_str()), (status, Some(code)), "{form}");
        assert_eq!(answer.header("www-authenticate").is_empty(), status != 401);
    }
    let no_type = world.send("POST", "/oauth/token", &[], "grant_type=client_credentials").await;
    assert_eq!(no_type.json()["error"], "invalid_request");
}

#[tokio::test]
async fn an_assertion_is_worth_a_token_once() {
    let world = World::new();
    let url = format!("{BASE}/oauth/token");
    let ask = |assertion: String| {
        let world = &world;
        async move { world.token(&format!("{ASSERTION_FORM}&assertion={assertion}")).await }
    };
    let good = assertion(DEMO.subject, &url);
    let answer = ask(good.clone()).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let token = bearer(answer.json()["access_token"].as_str().unwrap());
    assert_eq!(world.get("/v1/me", &[("authorization", &token)]).await.json()["subject"], DEMO.subject);
    let description = |answer: Answer| {
        assert_eq!((answer.status, answer.json()["error"].as_str()), (400, Some("invalid_grant")));
        answer.json()["error_description"].as_str().unwrap().to_owned()
    };
    assert!(description(ask(good).await).contains("used before"));
    assert!(
        description(ask(assertion(DEMO.subject, "https://elsewhere.example")).await).contains("audience")
    );
    assert_eq!(
        description(ask(assertion(DEMO.unapproved_subject, &url)).await),
        "user hasn't approved this consumer"
    );
    assert!(description(ask(assertion("nobody@example.com", &url)).await).contains("no person"));
    let symmetric =
        sign("HS256", &json!({"iss": DEMO.issuer, "sub": DEMO.subject, "aud": url, "exp": NOW + 60}));
    assert!(description(ask(symmetric).await).contains("`HS256`"));
}

#[tokio::test]
async fn a_revoked_token_is_dead() {
    let world = World::new();
    let token = world.client_token("").await;
    let auth = basic(DEMO.client_id, DEMO.client_secret);
    let form = format!("token={token}");
    assert_eq!(world.send("POST", "/oauth/revoke", &[FORM], &form).await.status, 401);
    assert_eq!(world.get("/v1/me", &[("authorization", &bearer(&token))]).await.status, 200);
    assert_eq!(
        world.send("POST", "/oauth/revoke", &[FORM, ("authorization", &auth)], &form).await.status,
        200
    );
    assert_eq!(world.get("/v1/me", &[("authorization", &bearer(&token))]).await.status, 401);
    assert_eq!(
        world.send("POST", "/oauth/revoke", &[FORM, ("authorization", &auth)], "token=unknown").await.status,
        200
    );
}

#[tokio::test]
async fn the_echo_masks_what_is_secret() {
    let world = World::new();
    let headers = [("x-api-key", "abcdefgh"), ("authorization", "Bearer xyz"), ("x-other", "seen")];
    let answer = world.send("PUT", "/echo/a/b?c=d", &headers, "body").await.json();
    assert_eq!(
        (&answer["method"], &answer["path"], &answer["query"]),
        (&json!("PUT"), &json!("/echo/a/b"), &json!("c=d"))
    );
    assert_eq!(answer["headers"]["x-api-key"], "(8 characters, masked)");
    assert_eq!(answer["headers"]["authorization"], "Bearer (3 characters, masked)");
    assert_eq!((&answer["headers"]["x-other"], &answer["body"]), (&json!("seen"), &json!("body")));
    let careless = world.get("/echo?unmasked=true", &headers).await.json();
    assert_eq!(careless["headers"]["x-api-key"], "abcdefgh");
}

#[tokio::test]
async fn the_limit_tells_when_to_come_back() {
    let world = World::new();
    let key = ("x-api-key", DEMO.api_key);
    for left in ["2", "1", "0"] {
        let answer = world.get("/v1/limited", &[key]).await;
        assert_eq!((answer.status, answer.header("x-ratelimit-remaining")), (200, left));
    }
    world.clock.0.fetch_add(4, Ordering::SeqCst);
    let refused = world.get("/v1/limited", &[key]).await;
    assert_eq!((refused.status, refused.header("retry-after")), (429, "6"));
    world.clock.0.fetch_add(6, Ordering::SeqCst);
    assert_eq!(world.get("/v1/limited", &[key]).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn events_come_one_by_one() {
    let world = World::new();
    let request = Request::get("/v1/events?count=3&interval_ms=1000").header("x-api-key", DEMO.api_key);
    let response = world.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(response.headers()[header::CONTENT_TYPE], "text/event-stream");
    let start = tokio::time::Instant::now();
    let mut body = response.into_body();
    let mut seen = Vec::new();
    while let Some(frame) = body.frame().await {
        let data = frame.unwrap().into_data().unwrap();
        seen.push((start.elapsed().as_millis(), String::from_utf8(data.to_vec()).unwrap()));
    }
    let times: Vec<u128> = seen.iter().map(|(at, _)| *at / 1000).collect();
    assert_eq!(times, [0, 1, 2]);
    assert_eq!(seen[2].1, "id: 3\nevent: tick\ndata: {\"number\":3,\"of\":3}\n\n");
}

#[tokio::test]
async fn any_status_can_be_asked_for() {
    let world = World::new();
    let key = ("x-api-key", DEMO.api_key);
    for code in [200, 204, 304, 404, 418, 500, 503, 599] {
        assert_eq!(world.get(&format!("/v1/status/{code}"), &[key]).await.status, code);
    }
    assert_eq!(world.get("/v1/status/101", &[key]).await.status, 400);
    assert_eq!(world.get("/v1/status/204", &[key]).await.text, "");
}

#[tokio::test]
async fn the_start_page_tells_everything() {
    let world = World::new();
    let index = world.get("/", &[]).await.json();
    assert_eq!(index["credentials"]["api_key"]["key"], DEMO.api_key);
    assert_eq!(index["credentials"]["client_credentials"]["token_url"], format!("{BASE}/oauth/token"));
    assert!(index["credentials"]["jwt"]["RS256_private_key"].as_str().unwrap().contains("PRIVATE KEY"));
    assert_eq!(world.get("/nowhere", &[]).await.json()["error"], "not_found");
    assert_eq!(world.send("DELETE", "/oauth/token", &[], "").await.json()["error"], "method_not_allowed");
}

#[tokio::test]
async fn it_is_served_on_loopback_and_nowhere_else() {
    for (address, allowed) in
        [("127.0.0.1:1", true), ("[::1]:1", true), ("0.0.0.0:1", false), ("10.0.0.1:1", false)]
    {
        assert_eq!(only_loopback(address.parse().unwrap()).is_ok(), allowed, "{address}");
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let clock = Arc::new(Hand(AtomicI64::new(NOW)));
    let server = tokio::spawn(serve(listener, clock, Arc::new(Counting(AtomicU8::new(0)))));
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!(
        "GET /v1/me HTTP/1.1\r\nhost: {address}\r\nx-api-key: {}\r\nconnection: close\r\n\r\n",
        DEMO.api_key
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("\"signed_in_with\":\"api_key\""),
        "{answer}"
    );
    server.abort();
}

fn s256(verifier: &str) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, verifier.as_bytes());
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(digest)
}

#[tokio::test]
async fn a_person_consents_and_the_grant_rotates() {
    let world = World::new();
    let back = "http%3A%2F%2F127.0.0.1%3A5282%2Fcallback";
    let ask = format!(
        "/oauth/authorize?response_type=code&client_id={}&redirect_uri={back}&state=a%26b&scope=people%3Aread+people%3Awrite&code_challenge={}&code_challenge_method=S256",
        DEMO.client_id,
        s256("a verifier")
    );
    let page = world.get(&ask, &[]).await;
    assert!(
        page.text.contains("value=\"people:write\" checked") && page.header("x-frame-options") == "DENY",
        "{}",
        page.text
    );
    for wrong in [
        ask.replace(DEMO.client_id, "x"),
        ask.replace("127.0.0.1", "evil.example"),
        ask.replace("S256", "plain"),
        ask.replace("people%3Awrite", "admin"),
    ] {
        assert_eq!(world.get(&wrong, &[]).await.status, 400, "{wrong}");
    }
    let send = async |body: &str| world.send("POST", &ask, &[FORM], body).await.header("location").to_owned();
    assert!(send("answer=deny").await.starts_with("http://127.0.0.1:5282/callback?error=access_denied"));
    let allowed = send("granted=people%3Aread&answer=allow").await;
    assert!(allowed.ends_with("&state=a%26b&iss=http%3A%2F%2F127.0.0.1%3A5283"), "{allowed}");
    let code = allowed.split("code=").nth(1).unwrap().split('&').next().unwrap().to_owned();

    let basic = format!("Basic {}", STANDARD.encode(format!("{}:{}", DEMO.client_id, DEMO.client_secret)));
    let token =
        async |form: &str| world.send("POST", "/oauth/token", &[FORM, ("authorization", &basic)], form).await;
    let exchange = |code: &str, verifier: &str| {
        format!("grant_type=authorization_code&code={code}&redirect_uri={back}&code_verifier={verifier}")
    };
    let first = token(&exchange(&code, "a+verifier")).await.json();
    assert_eq!(
        (first["scope"].as_str(), first["token_type"].as_str()),
        (Some("people:read"), Some("Bearer"))
    );
    assert_eq!(
        token(&exchange(&code, "a+verifier")).await.json()["error"],
        "invalid_grant",
        "a code is good once"
    );
    let bearer = format!("Bearer {}", first["access_token"].as_str().unwrap());
    assert_eq!(world.get("/v1/me", &[("authorization", &bearer)]).await.json()["subject"], DEMO.subject);
    assert_eq!(
        world.get("/oauth/userinfo", &[("authorization", &bearer)]).await.json()["email"],
        DEMO.subject
    );
    assert_eq!(world.get("/oauth/userinfo", &[]).await.status, 401);

    let renew = |token: &Value| format!("grant_type=refresh_token&refresh_token={}", token.as_str().unwrap());
    let second = token(&renew(&first["refresh_token"])).await.json();
    assert_ne!(second["refresh_token"], first["refresh_token"]);
    assert_eq!(token(&renew(&first["refresh_token"])).await.json()["error"], "invalid_grant", "used once");
    let form = format!("token={}", second["refresh_token"].as_str().unwrap());
    assert_eq!(
        world.send("POST", "/oauth/revoke", &[FORM, ("authorization", &basic)], &form).await.status,
        200
    );
    assert_eq!(token(&renew(&second["refresh_token"])).await.json()["error"], "invalid_grant");

    // Another verifier, another redirect_uri, a code that is too old.
    for (verifier, wait) in [("another", 0), ("a+verifier", 61)] {
        let allowed = send("granted=people%3Aread&answer=allow").await;
        let code = allowed.split("code=").nth(1).unwrap().split('&').next().unwrap().to_owned();
        world.clock.0.fetch_add(wait, Ordering::SeqCst);
        assert_eq!(token(&exchange(&code, verifier)).await.json()["error"], "invalid_grant");
    }
}
