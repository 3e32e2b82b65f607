//! A fresh, migrated database for each test, and rows to put into it.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use latchstring_model::entity::{Principal, Role, Status};
use latchstring_model::id::*;
use latchstring_model::{Entropy, Timestamp};
use latchstring_store::credentials::CredentialRow;
use latchstring_store::shares::ShareRow;
use latchstring_store::users::UserFields;
use latchstring_store::values::{Standing, ValuesRow};
use latchstring_store::{
    OpenOptions, Store, WriteTx, credentials, environments, members, projects, shares, users,
};
use latchstring_testkit::postgres::Postgres;

pub const NOW: Timestamp = Timestamp(1_700_000_000_000);

/// Different every time, the same in every run.
pub struct Counter;
static COUNT: AtomicU64 = AtomicU64::new(1);
impl Entropy for Counter {
    fn fill(&self, bytes: &mut [u8]) {
        let number = COUNT.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        bytes.fill(0);
        for (to, from) in bytes.iter_mut().rev().zip(number.iter().rev()) {
            *to = *from;
        }
    }
}

macro_rules! make_ids {
    ($($name:ident: $of:ident),*) => {$(pub fn $name() -> $of { $of::new(NOW, &Counter) })*};
}
make_ids!(user_id: UserId, project_id: ProjectId, environment_id: EnvironmentId, key_id: KeyId, session_id: SessionId,
    credential_id: CredentialId, share_id: ShareId, data_key_id: DataKeyId, server_id: ServerId, call_id: CallId,
    oauth_client_id: OAuthClientId, webhook_id: WebhookId, consent_id: ConsentId, notice_id: NoticeId,
    delivery_id: DeliveryId, identity_id: IdentityId, sign_in_id: SignInId);

pub fn bytes() -> Vec<u8> {
    let mut bytes = vec![0; 32];
    Counter.fill(&mut bytes);
    bytes
}

/// A folder that goes with the test.
pub struct Folder(pub PathBuf);
impl Folder {
    pub fn new() -> Self {
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("latchstring-store-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
    pub fn url(&self) -> String {
        format!("sqlite:{}/test.db", self.0.display())
    }
}
impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Where a test's database is; keep it as long as the store.
pub struct Home {
    pub url: String,
    _folder: Option<Folder>,
}

pub fn sqlite_home() -> Home {
    let folder = Folder::new();
    Home { url: folder.url(), _folder: Some(folder) }
}

pub fn postgres_home() -> Home {
    Home { url: Postgres::shared().fresh_database(), _folder: None }
}

impl Home {
    pub async fn open(&self) -> Store {
        Store::open(&self.url, OpenOptions::default()).await.unwrap()
    }
    pub async fn migrated(&self) -> Store {
        let store = self.open().await;
        store.migrate().await.unwrap();
        store
    }
}

/// The same test on both. The home gives further stores (other servers) on the same database.
macro_rules! both {
    ($($(#[$doc:meta])* async fn $name:ident($store:ident, $home:ident) $body:block)*) => {$(
        $(#[$doc])*
        mod $name {
            #![allow(unused_variables, unused_imports)]
            use super::*;
            use $crate::support::*;
            async fn run($store: latchstring_store::Store, $home: &Home) $body
            #[tokio::test]
            async fn sqlite() {
                let home = sqlite_home();
                let store = home.migrated().await;
                run(store.clone(), &home).await;
                store.close().await;
            }
            #[tokio::test]
            async fn postgres() {
                let home = postgres_home();
                let store = home.migrated().await;
                run(store.clone(), &home).await;
                store.close().await;
            }
        }
    )*};
}
pub(crate) use both;

pub fn person(email: &str) -> UserFields {
    UserFields {
        email: email.into(),
        username: None,
        name: "Ada Lovelace".into(),
        first_name: "Ada".into(),
        last_name: "Lovelace".into(),
        superuser: false,
        active: true,
    }
}

pub async fn user(tx: &mut WriteTx, email: &str) -> UserId {
    let id = user_id();
    users::create(tx, &id, &person(email), Some("$argon2id$x"), NOW).await.unwrap();
    id
}

pub struct Project {
    pub id: ProjectId,
    pub production: EnvironmentId,
    pub staging: EnvironmentId,
}

pub async fn project(tx: &mut WriteTx, slug: &str, owner: &UserId) -> Project {
    let id = project_id();
    projects::create(tx, &id, slug, slug, NOW).await.unwrap();
    let names = ["staging".into(), "production".into()];
    let list = environments::replace(tx, &id, &names, environment_id, NOW).await.unwrap();
    members::set(tx, &id, owner, Role::Owner, NOW).await.unwrap();
    Project { id, staging: list[0].id.clone(), production: list[1].id.clone() }
}

pub fn credential_row(owner: Principal, name: &str) -> CredentialRow {
    CredentialRow {
        id: credential_id(),
        owner,
        connector: "builtin/http".into(),
        auth_method: "bearer".into(),
        digest: "d1".into(),
        oauth_client_id: None,
        name: name.into(),
        note: None,
        acts_as: None,
        disabled: false,
        expires_on: None,
        deletes_at: None,
        version: 1,
        created_by: "usr_x".into(),
        created_at: NOW,
        updated_at: NOW,
    }
}

pub async fn credential(tx: &mut WriteTx, owner: &UserId, name: &str) -> CredentialRow {
    let row = credential_row(Principal::User(owner.clone()), name);
    credentials::create(tx, &row).await.unwrap();
    row
}

pub fn values_row(environment: &str, version: i64) -> ValuesRow {
    ValuesRow {
        environment: environment.into(),
        version,
        sealed: bytes(),
        data_key: data_key_id(),
        secret_fields: vec!["token".into()],
        pins: vec![],
        standing: Standing {
            status: Status::Verified,
            verified_at: Some(NOW),
            checked_at: Some(NOW),
            check_error: None,
            account: None,
            scopes: None,
        },
        withheld: Vec::new(),
        certificate_ends_at: Some(latchstring_model::Timestamp(0)),
        set_by: "usr_x".into(),
        set_at: NOW,
    }
}

pub async fn share(
    tx: &mut WriteTx,
    credential: &CredentialRow,
    project: &ProjectId,
    slug: &str,
) -> ShareRow {
    let row = ShareRow {
        id: share_id(),
        credential_id: credential.id.clone(),
        project_id: project.clone(),
        slug: slug.into(),
        external_id: None,
        suspended: false,
        created_by: "usr_x".into(),
        created_at: NOW,
    };
    shares::create(tx, &row).await.unwrap();
    row
}
