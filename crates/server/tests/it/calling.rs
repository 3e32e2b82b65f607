//! A server that calls a real API: the sandbox on a loopback port, and `/proxy` behind a socket.
#![allow(clippy::disallowed_methods)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::http::Method;
use latchstring_broker::{SandboxAt, Settings};
use latchstring_egress::AllowRule;
use latchstring_gateway::{Gateway, GatewaySettings, TrustedProxies};
use latchstring_model::{Clock, Timestamp};
use latchstring_sandbox::DEMO;
use latchstring_testkit::{FakeClock, SeededEntropy, http};
use serde_json::{Value, json};

use crate::app::{Answer, Call, Db, Somebody, TestApp};

/// Makes two tests out of one, `sqlite` and `postgres`, each with a [`World`].
macro_rules! both_worlds {
    ($(async fn $name:ident($world:ident) $body:block)*) => {$(
        mod $name {
            #[allow(unused_imports)]
            use super::*;

            async fn run($world: $crate::calling::World) $body

            #[tokio::test]
            async fn sqlite() {
                run($crate::calling::World::new($crate::app::Db::Sqlite).await).await;
            }

            #[tokio::test]
            async fn postgres() {
                run($crate::calling::World::new($crate::app::Db::Postgres).await).await;
            }
        }
    )*};
}
pub(crate) use both_worlds;

pub struct World {
    pub app: TestApp,
    /// Of the sandbox.
    pub api: String,
    pub api_clock: FakeClock,
    proxy: SocketAddr,
    /// An owner of the project `acme`.
    pub ada: Somebody,
    pub acme: Value,
    jobs: Option<tokio::sync::watch::Sender<bool>>,
    _gateway: Gateway,
}

/// The database's clock is real, and so leases are; tokens are judged by this one, which begins with it.
fn clock() -> FakeClock {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    FakeClock::at(Timestamp(i64::try_from(since.as_millis()).unwrap()))
}

impl World {
    pub async fn new(db: Db) -> Self {
        Self::with(db, true).await
    }

    pub async fn with(db: Db, background_refresh: bool) -> Self {
        Self::reaching(db, background_refresh, &[]).await
    }

    /// Calls may reach more than the sandbox.
    pub async fn reaching(db: Db, background_refresh: bool, more: &[SocketAddr]) -> Self {
        Self::changed(db, more, |settings| settings.background_refresh = background_refresh).await
    }

    /// The same with other settings.
    pub async fn changed(db: Db, more: &[SocketAddr], change: impl FnOnce(&mut Settings)) -> Self {
        let clock = clock();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let api = format!("http://{at}");
        let api_clock = FakeClock::at(clock.now());
        let entropy = Arc::new(SeededEntropy::new(77));
        tokio::spawn(latchstring_sandbox::serve(listener, Arc::new(api_clock.clone()), entropy));
        let base_url = api.clone();
        let app = TestApp::built(
            db,
            "http://127.0.0.1:5282",
            clock,
            more.iter().chain([&at]).map(|at| AllowRule::exactly(*at)).collect(),
            move |settings| {
                settings.sandbox = Some(SandboxAt { base_url });
                change(settings);
            },
        )
        .await;
        app.broker.open_own_way().unwrap();
        tokio::spawn(Arc::clone(app.broker.freshness()).run(app.store.clone()));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = listener.local_addr().unwrap();
        let settings = GatewaySettings {
            cores: 1,
            tls: None,
            trusted: TrustedProxies::new(Vec::new()),
            max_connections: 1000,
        };
        let api_handler: latchstring_gateway::ApiHandler =
            Arc::new(|_, _| panic!("only /proxy is asked here"));
        let gateway = latchstring_gateway::start(listener, settings, &app.broker, &api_handler).unwrap();
        let ada = app.person("ada@example.org").await;
        let acme = app.project(&ada, "acme").await;
        Self { app, api, api_clock, proxy, ada, acme, jobs: None, _gateway: gateway }
    }

    /// Ships journals and writes refusals down.
    pub fn run_jobs(&mut self) {
        let (stop, stopped) = tokio::sync::watch::channel(false);
        let _jobs = self.app.broker.start_jobs(stopped);
        self.jobs = Some(stop);
    }

    pub fn now(&self) -> Timestamp {
        self.app.clock.now()
    }

    /// Uploads a definition into a project.
    pub async fn upload(&self, project: &str, definition: &str) -> Value {
        self.upload_as(&self.ada, project, definition).is(201).await.json()
    }

    pub fn upload_as(&self, who: &Somebody, project: &str, definition: &str) -> Call<'_> {
        self.app
            .call(Method::POST, &format!("/api/v1/projects/{project}/connectors"))
            .header("content-type", "application/yaml")
            .body(definition)
            .key(&who.key)
    }

    pub fn put(&self, project: &str, id: &str, definition: &str) -> Call<'_> {
        self.app
            .call(Method::PUT, &format!("/api/v1/projects/{project}/connectors/{id}"))
            .header("content-type", "application/yaml")
            .body(definition)
            .key(&self.ada.key)
    }

    /// A credential of ada's with the sandbox's API key, granted to both environments of a project.
    pub async fn credential(&self, project: &str, connector: &str, method: &str, name: &str) -> Value {
        let values = json!({"base_url": self.api, "key": DEMO.api_key});
        self.stored(project, connector, method, name, values).await
    }

    pub async fn stored(
        &self,
        project: &str,
        connector: &str,
        method: &str,
        name: &str,
        values: Value,
    ) -> Value {
        let body = json!({
            "name": name, "connector": connector, "auth_method": method, "verify": "skip",
            "values": {"production": values},
            "shares": [{"project": project, "grants": {"staging": "production", "production": "production"}}],
        });
        self.app.post("/api/v1/credentials", body).key(&self.ada.key).is(201).await.json()
    }

    /// An operation in acme's staging.
    pub fn operation(&self, credential: &str, name: &str, body: Value) -> Call<'_> {
        let path = format!("/api/v1/projects/acme/environments/staging/credentials/{credential}/call/{name}");
        self.app.post(&path, body)
    }

    pub fn metadata(&self, credential: &str, name: &str) -> Call<'_> {
        let path =
            format!("/api/v1/projects/acme/environments/staging/credentials/{credential}/metadata/{name}");
        self.app.get(&path)
    }

    /// Through `/proxy`, on the real road.
    pub async fn proxy(&self, path: &str, headers: &[(&str, &str)]) -> http::Answer {
        let url = format!("http://{}/proxy/{path}", self.proxy);
        let headers: Vec<(String, String)> =
            headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let answer = tokio::task::spawn_blocking(move || {
            let headers: Vec<(&str, &str)> =
                headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            http::get(&url, &headers)
        })
        .await
        .unwrap();
        answer.says_what_to_do();
        answer
    }

    /// The same with ada's key in acme's staging.
    pub async fn proxy_as_ada(&self, path: &str) -> http::Answer {
        let key = format!("Bearer {}", self.ada.key);
        let place = [("latchstring-project", "acme"), ("latchstring-environment", "staging")];
        self.proxy(path, &[("authorization", &key), place[0], place[1]]).await
    }

    /// A line of the metrics, by its name and labels.
    pub fn metric(&self, line: &str) -> u64 {
        let text = self.app.broker.metrics();
        let found = text.lines().find_map(|known| known.strip_prefix(line)?.strip_prefix(' '));
        found.map_or(0, |value| value.parse().unwrap())
    }

    /// Until it is so, or for five seconds.
    pub async fn until(&self, what: &str, mut so: impl AsyncFnMut() -> bool) {
        for _ in 0..100 {
            if so().await {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{what}");
    }
}

/// The code of an error of our own on `/proxy`.
pub fn code(answer: &http::Answer) -> String {
    answer.header("latchstring-error").unwrap_or_default().to_owned()
}

pub fn items(answer: &Answer) -> Vec<String> {
    let answer = answer.json();
    answer["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["email"].as_str().unwrap().to_owned())
        .collect()
}
