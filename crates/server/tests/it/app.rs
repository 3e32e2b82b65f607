//! A server without a socket: the router is called as the listener would call it.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use latchstring_broker::people::Names;
use latchstring_broker::people::operator::OperatorKey;
use latchstring_broker::people::totp;
use latchstring_broker::people::users::NewUser;
use latchstring_broker::road::Peer;
use latchstring_broker::{Actor, Broker, Parts, Settings};
use latchstring_egress::{AllowRule, Egress, Limits};
use latchstring_journal::Journal;
use latchstring_model::id::{DataKeyId, ServerId};
use latchstring_model::{Clock, Entropy, SecretBytes};
use latchstring_server::{Check, Options, router};
use latchstring_store::audit::{AuditFilter, AuditItem};
use latchstring_store::{OpenOptions, Paging, Store, audit, data_keys};
use latchstring_testkit::postgres::Postgres;
use latchstring_testkit::{FakeClock, SeededEntropy};
use latchstring_vault::{KeyRing, Vault};
use serde_json::{Value, json};
use tower::ServiceExt;

pub const PASSWORD: &str = "correct horse battery";

#[derive(Clone, Copy, Debug)]
pub enum Db {
    Sqlite,
    Postgres,
}

/// Makes two tests out of one, `sqlite` and `postgres`.
macro_rules! both {
    ($(async fn $name:ident($app:ident) $body:block)*) => {$(
        mod $name {
            #[allow(unused_imports)]
            use super::*;

            async fn run($app: $crate::app::TestApp) $body

            #[tokio::test]
            async fn sqlite() {
                run($crate::app::TestApp::new($crate::app::Db::Sqlite).await).await;
            }

            #[tokio::test]
            async fn postgres() {
                run($crate::app::TestApp::new($crate::app::Db::Postgres).await).await;
            }
        }
    )*};
}
pub(crate) use both;

pub struct TestApp {
    pub router: Router,
    pub broker: Arc<Broker>,
    pub store: Store,
    pub clock: FakeClock,
    vault: Arc<Vault>,
    folder: PathBuf,
}

impl Drop for TestApp {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// The path of an address of the server under test.
pub fn path_of(url: &str) -> String {
    url.strip_prefix("http://127.0.0.1:5282").unwrap_or_else(|| panic!("{url} is not ours")).to_owned()
}

/// Somebody with an account, a session and a key of scope manage.
#[derive(Clone)]
pub struct Somebody {
    pub id: String,
    pub email: String,
    pub cookie: String,
    pub key: String,
}

impl TestApp {
    pub async fn new(db: Db) -> Self {
        Self::at(db, "http://127.0.0.1:5282").await
    }

    pub async fn at(db: Db, public_url: &str) -> Self {
        Self::built(db, public_url, FakeClock::default(), Vec::new(), |_| ()).await
    }

    /// With a clock of one's own, networks that calls may reach, and other settings.
    pub async fn built(
        db: Db,
        public_url: &str,
        clock: FakeClock,
        allow: Vec<AllowRule>,
        change: impl FnOnce(&mut Settings),
    ) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("latchstring-server-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let url = match db {
            Db::Sqlite => format!("sqlite:{}", folder.join("test.db").display()),
            Db::Postgres => {
                tokio::task::spawn_blocking(|| Postgres::shared().fresh_database()).await.unwrap()
            }
        };
        let store =
            Store::open(&url, OpenOptions { connections: 4, ..OpenOptions::default() }).await.unwrap();
        store.migrate().await.unwrap();
        let entropy: Arc<dyn Entropy> = Arc::new(SeededEntropy::new(u64::from(number) + 1));
        let vault = Vault::new(KeyRing::generate(clock.now(), entropy.as_ref()));
        let data_key =
            vault.new_data_key(DataKeyId::new(clock.now(), entropy.as_ref()), entropy.as_ref()).unwrap();
        vault.load_data_key(&data_key).unwrap();
        vault.set_active(&data_key.id).unwrap();
        let vault = Arc::new(vault);
        let mut tx = store.begin_upkeep().await.unwrap();
        data_keys::create(&mut tx, &data_key.id, data_key.root_key.as_str(), &data_key.wrapped, clock.now())
            .await
            .unwrap();
        data_keys::activate(&mut tx, &data_key.id).await.unwrap();
        tx.commit().await.unwrap();
        let server = ServerId::new(clock.now(), entropy.as_ref());
        let egress = latchstring_egress::Settings {
            allow,
            extra_ca_pem: None,
            proxy: None,
            limits: Limits::default(),
        };
        let journal =
            Journal::open(latchstring_journal::Settings::new(folder.join("journal")), server.clone())
                .unwrap();
        let parts = Parts {
            clock: Arc::new(clock.clone()),
            entropy,
            store: store.clone(),
            vault: Arc::clone(&vault),
            egress: Arc::new(Egress::new(egress).unwrap()),
            journal: Arc::new(journal),
            server,
            control: tokio::runtime::Handle::current(),
        };
        let mut settings = Settings {
            public_url: public_url.to_owned(),
            stale_limit: Duration::from_secs(60),
            delete_after: Duration::from_secs(7 * 86_400),
            keep_versions: 10,
            verify_every: None,
            background_refresh: false,
            mail: None,
            oidc: None,
            sandbox: None,
            extra_hosts: Vec::new(),
        };
        change(&mut settings);
        let broker = Broker::new(parts, settings);
        let options = Options {
            ready: Arc::new(|| Box::pin(async { vec![Check { name: "database", trouble: None }] })),
            metrics: Arc::new(|| "latchstring_up 1\n".to_owned()),
        };
        Self { router: router(Arc::clone(&broker), options), broker, store, clock, vault, folder }
    }

    pub fn call(&self, method: Method, path: &str) -> Call<'_> {
        Call {
            app: self,
            method,
            path: path.to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
            address: "192.0.2.1".parse().unwrap(),
        }
    }

    pub fn get(&self, path: &str) -> Call<'_> {
        self.call(Method::GET, path)
    }

    pub fn post(&self, path: &str, body: Value) -> Call<'_> {
        self.call(Method::POST, path).json(body)
    }

    pub fn put(&self, path: &str, body: Value) -> Call<'_> {
        self.call(Method::PUT, path).json(body)
    }

    pub fn patch(&self, path: &str, body: Value) -> Call<'_> {
        self.call(Method::PATCH, path).json(body)
    }

    pub fn delete(&self, path: &str) -> Call<'_> {
        self.call(Method::DELETE, path)
    }

    async fn account(&self, email: &str, superuser: bool) -> Somebody {
        let new = NewUser {
            email: email.to_owned(),
            names: Names::default(),
            superuser,
            password: Some(PASSWORD.into()),
        };
        let user = self.broker.operator_create_user(&Actor::operator(), new).await.unwrap();
        let key = OperatorKey { email: email.to_owned(), name: "test".to_owned(), service: None };
        let key = self.broker.operator_create_key(&Actor::operator(), key).await.unwrap();
        let cookie = self.sign_in(email).await;
        // Ids sort by time: what is made later comes later in lists.
        self.clock.advance_millis(1);
        Somebody { id: user.id.to_string(), email: email.to_owned(), cookie, key: key.reveal().to_owned() }
    }

    pub async fn person(&self, email: &str) -> Somebody {
        self.account(email, false).await
    }

    pub async fn superuser(&self, email: &str) -> Somebody {
        self.account(email, true).await
    }

    /// The `Cookie` of a new session.
    pub async fn sign_in(&self, email: &str) -> String {
        let answer = self.post("/api/v1/session", json!({"email": email, "password": PASSWORD})).send().await;
        assert_eq!(answer.status, 204, "{}", answer.text);
        answer.cookie()
    }

    /// Sets up a second factor, in this person's session.
    pub async fn second_factor(&self, who: &Somebody) -> Factor {
        let offered = self.post("/api/v1/me/totp", json!({})).cookie(&who.cookie).is(201).await.json();
        let secret = SecretBytes::new(base32(offered["secret"].as_str().unwrap()));
        let code = totp::code_at(&secret, self.clock.now());
        let confirmed =
            self.post("/api/v1/me/totp/confirm", json!({"code": code})).cookie(&who.cookie).is(200).await;
        let codes = confirmed.json()["recovery_codes"].as_array().unwrap().clone();
        let recovery = codes.iter().map(|code| code.as_str().unwrap().to_owned()).collect();
        Factor { secret, recovery }
    }

    /// A code that was not used yet: time goes on for it.
    pub fn next_code(&self, factor: &Factor) -> String {
        self.clock.advance_secs(30);
        totp::code_at(&factor.secret, self.clock.now())
    }

    /// A link for a new password, as the command prints it; its token.
    pub async fn reset_token(&self, email: &str) -> String {
        let link = self.broker.operator_reset_password(&Actor::operator(), email).await.unwrap();
        link.reveal().rsplit('/').next().unwrap().to_owned()
    }

    /// A project with the environments staging and production.
    pub async fn project(&self, owner: &Somebody, slug: &str) -> Value {
        self.post("/api/v1/projects", json!({"slug": slug, "name": slug}))
            .key(&owner.key)
            .is(201)
            .await
            .json()
    }

    pub async fn member(&self, owner: &Somebody, project: &str, who: &Somebody, role: &str) {
        let path = format!("/api/v1/projects/{project}/members/{}", who.email);
        self.put(&path, json!({"role": role})).key(&owner.key).is(200).await;
    }

    /// A service key of the project's environment staging.
    pub async fn service_key(&self, admin: &Somebody, project: &str, more: Value) -> Value {
        let mut body = json!({"name": "robot", "environment": "staging"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.post(&format!("/api/v1/projects/{project}/api-keys"), body).key(&admin.key).is(201).await.json()
    }

    /// A new data key, and everything sealed anew under it.
    pub async fn rotate_data_keys(&self) -> latchstring_broker::keys::data::Resealed {
        let server = ServerId::new(self.clock.now(), &SeededEntropy::new(9));
        let entropy = SeededEntropy::new(10);
        let rotate = latchstring_broker::keys::data::rotate_data_keys;
        rotate(&self.store, &self.vault, &server, &self.clock, &entropy).await.unwrap()
    }

    /// What a project's people see of the audit trail, newest first.
    pub async fn audit(&self, project: &Value) -> Vec<AuditItem> {
        let id = project["id"].as_str().unwrap().parse().unwrap();
        let mut reader = self.store.read().await.unwrap();
        audit::list_of_project(&mut reader, &id, &AuditFilter::default(), &Paging::new(None, Some(200)))
            .await
            .unwrap()
            .items
    }

    /// Everything that was recorded, as `action outcome`, in order.
    pub async fn recorded(&self) -> Vec<String> {
        self.records()
            .await
            .into_iter()
            .map(|record| format!("{} {}", record.action, record.outcome))
            .collect()
    }

    pub async fn records(&self) -> Vec<audit::AuditRecord> {
        let mut reader = self.store.read().await.unwrap();
        let mut all = Vec::new();
        for writer in audit::journals(&mut reader).await.unwrap() {
            all.extend(audit::chain(&mut reader, &writer.writer, 0, 10_000).await.unwrap());
        }
        all
    }
}

/// Somebody's authenticator app, and the paper in their safe.
pub struct Factor {
    pub secret: SecretBytes,
    pub recovery: Vec<String>,
}

/// RFC 4648 section 6, read.
fn base32(text: &str) -> Vec<u8> {
    let (mut bytes, mut held, mut bits) = (Vec::new(), 0_u32, 0);
    for letter in text.bytes() {
        let five = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".iter().position(|known| *known == letter).unwrap();
        held = (held << 5) | u32::try_from(five).unwrap();
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from(held >> bits & 255).unwrap());
        }
    }
    bytes
}

pub struct Call<'a> {
    app: &'a TestApp,
    method: Method,
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    address: IpAddr,
}

impl Call<'_> {
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(known, _)| known != name);
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn key(self, key: &str) -> Self {
        self.header("authorization", &format!("Bearer {key}"))
    }

    /// As a browser on our own page sends it.
    pub fn cookie(self, cookie: &str) -> Self {
        self.header("cookie", cookie).header("sec-fetch-site", "same-origin")
    }

    pub fn json(mut self, body: Value) -> Self {
        self.body = body.to_string().into_bytes();
        self.header("content-type", "application/json")
    }

    pub fn form(mut self, pairs: &[(&str, &str)]) -> Self {
        let encode = |text: &str| {
            percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
        };
        let pairs: Vec<String> =
            pairs.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
        self.body = pairs.join("&").into_bytes();
        self.header("content-type", "application/x-www-form-urlencoded")
    }

    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    pub fn from(mut self, address: &str) -> Self {
        self.address = address.parse().unwrap();
        self
    }

    pub async fn send(self) -> Answer {
        let mut request =
            Request::builder().method(self.method).uri(&self.path).header("host", "127.0.0.1:5282");
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let mut request = request.body(Body::from(self.body)).unwrap();
        request.extensions_mut().insert(Peer { address: self.address, tls: false });
        let response = self.app.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = to_bytes(body, 16 << 20).await.unwrap();
        let answer = Answer {
            status: parts.status.as_u16(),
            headers: parts.headers,
            text: String::from_utf8(bytes.to_vec()).unwrap(),
        };
        answer.says_what_to_do();
        answer
    }

    /// Sends it and wants this status.
    #[track_caller]
    pub fn is(self, status: u16) -> impl Future<Output = Answer> {
        let place = std::panic::Location::caller().to_string();
        let what = format!("{} {}", self.method, self.path);
        let future = self.send();
        async move {
            let answer = future.await;
            assert_eq!(answer.status, status, "{place}: {what}: {}", answer.text);
            answer
        }
    }
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
}

impl Answer {
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text)
            .unwrap_or_else(|error| panic!("{error}: {} {:?}", self.status, self.text))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// `name=value` of the session's cookie that was set, or else of the first.
    pub fn cookie(&self) -> String {
        let all: Vec<&str> = self
            .headers
            .get_all(header::SET_COOKIE)
            .iter()
            .map(|value| value.to_str().unwrap().split(';').next().unwrap())
            .collect();
        let session = all.iter().find(|pair| pair.contains("latchstring_session="));
        (*session.unwrap_or(&all[0])).to_owned()
    }

    /// Every refusal that a caller can do something about says what.
    fn says_what_to_do(&self) {
        if !(400..500).contains(&self.status) || self.header("content-type") != "application/problem+json" {
            return;
        }
        let problem = self.json();
        let hinted = problem["hint"].as_str().is_some_and(|hint| !hint.is_empty());
        // Beside each field that it points at stands what is right there.
        let pointed = problem["code"] == "invalid"
            && problem["errors"].as_array().is_some_and(|errors| !errors.is_empty());
        assert!(hinted || pointed, "a refusal without a hint: {problem}");
    }

    /// The refusal's code, which has to be a problem of RFC 9457.
    #[track_caller]
    pub fn code(&self) -> String {
        assert_eq!(self.header("content-type"), "application/problem+json", "{}", self.text);
        let problem = self.json();
        assert_eq!(problem["status"], self.status);
        assert!(problem["detail"].as_str().is_some_and(|text| !text.is_empty()), "{problem}");
        assert!(StatusCode::from_u16(self.status).unwrap().canonical_reason().is_some());
        problem["code"].as_str().unwrap().to_owned()
    }

    /// The pointers of all that is wrong.
    #[track_caller]
    pub fn pointers(&self) -> Vec<String> {
        let problem = self.json();
        problem["errors"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|error| error["pointer"].as_str().unwrap().to_owned())
            .collect()
    }
}
