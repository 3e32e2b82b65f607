//! An API that answers as a test wants, on a loopback port; and a server that may reach it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use latchstring_broker::SandboxAt;
use latchstring_sandbox::DEMO;
use latchstring_testkit::{FakeClock, SeededEntropy};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::app::{Answer, Call, Db, Somebody, TestApp};

/// Makes two tests out of one, `sqlite` and `postgres`, each with a [`Shop`].
macro_rules! both_shops {
    ($(async fn $name:ident($shop:ident) $body:block)*) => {$(
        mod $name {
            #[allow(unused_imports)]
            use super::*;

            async fn run($shop: $crate::credentials_upstream::Shop) $body

            #[tokio::test]
            async fn sqlite() {
                run($crate::credentials_upstream::Shop::new($crate::app::Db::Sqlite).await).await;
            }

            #[tokio::test]
            async fn postgres() {
                run($crate::credentials_upstream::Shop::new($crate::app::Db::Postgres).await).await;
            }
        }
    )*};
}
pub(crate) use both_shops;

/// What the API was asked.
#[derive(Clone, Debug)]
pub struct Seen {
    pub path: String,
    pub headers: HeaderMap,
    pub body: String,
}

#[derive(Clone)]
struct Reply {
    status: u16,
    kind: &'static str,
    body: String,
    after: Duration,
}

#[derive(Default)]
struct Inner {
    replies: Mutex<HashMap<String, Reply>>,
    /// By paths.
    held: Mutex<HashMap<String, Waiting>>,
    seen: Mutex<Vec<Seen>>,
}

/// The other end of a [`Held`].
struct Waiting {
    asked: oneshot::Sender<()>,
    gone_on: oneshot::Receiver<()>,
}

/// Without a reply of its own, a path answers 200 `{"ok": true}`; `/token` with a new token each time.
#[derive(Clone)]
pub struct Upstream {
    pub url: String,
    inner: Arc<Inner>,
}

/// The next answer at a path, which waits.
pub struct Held {
    asked: oneshot::Receiver<()>,
    go_on: oneshot::Sender<()>,
}

impl Held {
    /// Does something while the API is being asked, and lets it answer then.
    pub async fn meanwhile(self, act: impl Future<Output = ()>) {
        let asked = tokio::time::timeout(Duration::from_secs(60), self.asked).await;
        asked.expect("the API is asked").expect("the API is there");
        act.await;
        let _ = self.go_on.send(());
    }
}

async fn listener() -> (tokio::net::TcpListener, SocketAddr) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    (listener, at)
}

impl Upstream {
    pub async fn start() -> Self {
        let (listener, at) = listener().await;
        let inner = Arc::new(Inner::default());
        let router = Router::new().fallback(answer).with_state(Arc::clone(&inner));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url: format!("http://{at}"), inner }
    }

    pub fn reply(&self, path: &str, status: u16, kind: &'static str, body: impl Into<String>) {
        let reply = Reply { status, kind, body: body.into(), after: Duration::ZERO };
        self.inner.replies.lock().unwrap().insert(path.to_owned(), reply);
    }

    pub fn json(&self, path: &str, status: u16, body: Value) {
        self.reply(path, status, "application/json", body.to_string());
    }

    pub fn slow(&self, path: &str, after: Duration) {
        let reply = Reply { status: 200, kind: "application/json", body: "{}".into(), after };
        self.inner.replies.lock().unwrap().insert(path.to_owned(), reply);
    }

    /// Holds the next answer at a path until something was done meanwhile.
    pub fn hold(&self, path: &str) -> Held {
        let ((asked, heard), (go_on, gone_on)) = (oneshot::channel(), oneshot::channel());
        self.inner.held.lock().unwrap().insert(path.to_owned(), Waiting { asked, gone_on });
        Held { asked: heard, go_on }
    }

    /// What was asked at a path so far.
    pub fn seen(&self, path: &str) -> Vec<Seen> {
        self.inner.seen.lock().unwrap().iter().filter(|seen| seen.path == path).cloned().collect()
    }

    pub fn asked(&self) -> usize {
        self.inner.seen.lock().unwrap().len()
    }
}

async fn answer(State(inner): State<Arc<Inner>>, request: Request<Body>) -> Response {
    let (parts, body) = request.into_parts();
    let body = String::from_utf8_lossy(&to_bytes(body, 1 << 20).await.unwrap()).into_owned();
    let path = parts.uri.path().to_owned();
    let number = {
        let mut seen = inner.seen.lock().unwrap();
        seen.push(Seen { path: path.clone(), headers: parts.headers.clone(), body: body.clone() });
        seen.iter().filter(|seen| seen.path == path).count()
    };
    let held = inner.held.lock().unwrap().remove(&path);
    if let Some(Waiting { asked, gone_on }) = held {
        let _ = asked.send(());
        let _ = gone_on.await;
    }
    let reply = inner.replies.lock().unwrap().get(&path).cloned();
    let Some(reply) = reply else {
        let token = json!({"access_token": format!("access-token-number-{number}"), "token_type": "Bearer", "expires_in": 600});
        return axum::Json(if path == "/token" { token } else { json!({"ok": true}) }).into_response();
    };
    tokio::time::sleep(reply.after).await;
    // An API that repeats what it was sent, in every form that it could.
    let said = parts.headers.get("authorization").map_or("", |value| value.to_str().unwrap());
    let secret = said.rsplit(' ').next().unwrap_or_default();
    let text = reply
        .body
        .replace("{raw}", secret)
        .replace("{base64}", &STANDARD.encode(secret))
        .replace("{hex}", &hex(secret))
        .replace("{url}", &url(secret))
        .replace("{body}", &body.replace('"', ""));
    let headers = [("content-type", reply.kind), ("x-echo", secret)];
    let mut answer = (StatusCode::from_u16(reply.status).unwrap(), headers, text).into_response();
    if reply.status == 401 && path == "/token" {
        let challenge = format!("Basic realm=\"for {secret}\"");
        answer.headers_mut().insert("www-authenticate", challenge.parse().unwrap());
    }
    answer
}

pub fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

pub fn url(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

/// A server, the API above, and the sandbox.
pub struct Shop {
    pub app: TestApp,
    pub up: Upstream,
    /// Of the sandbox.
    pub sandbox: String,
    /// Owner of the project `acme`.
    pub ada: Somebody,
    pub acme: Value,
}

impl Shop {
    pub async fn new(db: Db) -> Self {
        Self::changed(db, |_| ()).await
    }

    /// With other settings.
    pub async fn changed(db: Db, change: impl FnOnce(&mut latchstring_broker::Settings)) -> Self {
        // The sandbox judges assertions by this clock; the database's leases do not meet it.
        let clock = FakeClock::default();
        let (listener, at) = listener().await;
        let entropy = Arc::new(SeededEntropy::new(77));
        tokio::spawn(latchstring_sandbox::serve(listener, Arc::new(clock.clone()), entropy));
        let sandbox = format!("http://{at}");
        let base_url = sandbox.clone();
        let allow = vec!["127.0.0.0/8".parse().unwrap()];
        let app = TestApp::built(db, "http://127.0.0.1:5282", clock, allow, move |settings| {
            settings.sandbox = Some(SandboxAt { base_url });
            change(settings);
        })
        .await;
        app.broker.open_own_way().unwrap();
        let up = Upstream::start().await;
        let ada = app.person("ada@example.org").await;
        let acme = app.project(&ada, "acme").await;
        Self { app, up, sandbox, ada, acme }
    }

    pub fn create(&self, body: Value) -> Call<'_> {
        self.app.post("/api/v1/credentials", body).key(&self.ada.key)
    }

    /// A bearer credential of the API above, granted to both of acme's environments.
    pub fn bearer(&self, name: &str, token: &str) -> Value {
        json!({
            "name": name, "connector": "http", "auth_method": "bearer",
            "values": {"production": {"base_url": self.up.url, "token": token, "test_path": "/me"}},
            "shares": [{"project": "acme", "grants": {"production": "production", "staging": "production"}}],
        })
    }

    /// One of the sandbox's own credentials.
    pub fn of_sandbox(&self, name: &str, method: &str) -> Value {
        let values = match method {
            "api_key" => json!({"key": DEMO.api_key}),
            "basic" => json!({"password": DEMO.password}),
            "oauth2_client_credentials" => json!({"client_secret": DEMO.client_secret}),
            "oauth2_jwt_bearer" | "jwt" => json!({"private_key": DEMO.private_key}),
            other => panic!("{other}"),
        };
        let mut values = values;
        values["base_url"] = self.sandbox.as_str().into();
        json!({
            "name": name, "connector": "sandbox", "auth_method": method,
            "values": {"production": values},
            "shares": [{"project": "acme", "grants": {"production": "production"}}],
        })
    }

    /// Client credentials whose token request carries `scope`.
    pub fn tokened(&self, name: &str, scope: &str) -> Value {
        json!({
            "name": name, "connector": "http", "auth_method": "oauth2_client_credentials",
            "values": {"production": {
                "base_url": self.up.url, "token_url": format!("{}/token", self.up.url), "client_id": "latch",
                "client_secret": "planted-client-secret-0123", "scope": scope, "test_path": "/me",
            }},
            "shares": [{"project": "acme", "grants": {"production": "production", "staging": "production"}}],
        })
    }

    pub fn at(&self, credential: &Value, rest: &str) -> String {
        format!("/api/v1/credentials/{}{rest}", credential["id"].as_str().unwrap())
    }

    pub fn patch(&self, credential: &Value, body: Value) -> Call<'_> {
        self.app.patch(&self.at(credential, ""), body).key(&self.ada.key)
    }

    pub async fn read(&self, credential: &Value) -> Answer {
        self.app.get(&self.at(credential, "")).key(&self.ada.key).is(200).await
    }

    pub fn verify(&self, credential: &Value, environment: &str) -> Call<'_> {
        self.app.post(&self.at(credential, "/verify"), json!({"environment": environment})).key(&self.ada.key)
    }

    /// Nothing of a refused change is there: the same answer as before, tag included.
    #[track_caller]
    pub fn same(before: &Answer, after: &Answer) {
        assert_eq!(before.header("etag"), after.header("etag"));
        assert_eq!(before.text, after.text);
    }

    pub async fn count(&self) -> usize {
        let listed = self.app.get("/api/v1/credentials").key(&self.ada.key).is(200).await.json();
        listed["items"].as_array().unwrap().len()
    }
}
