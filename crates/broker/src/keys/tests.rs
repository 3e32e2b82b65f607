//! On both databases, with rotations killed wherever they can wait.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::Mutex;
use std::time::Duration;

use latchstring_model::Entropy;
use latchstring_model::entity::{Principal, Role, Status};
use latchstring_model::id::{CredentialId, EnvironmentId, ProjectId, ServerId, UserId};
use latchstring_store::credentials::CredentialRow;
use latchstring_store::instance::ServerRow;
use latchstring_store::secrets::{SecretKind, SecretRow};
use latchstring_store::users::UserFields;
use latchstring_store::values::{Standing, ValuesRow};
use latchstring_store::{
    Store, credentials, data_keys, environments, instance, members, projects, secrets, users, values,
};
use latchstring_testkit::{FakeClock, SeededEntropy};
use latchstring_vault::{KeyRing, Vault, verify_check};

use super::data::{finish_rotation, rotate_data_keys};
use super::root::{Rotation, retire_root, rotate_root};
use super::start::prepare_vault;
use super::{KeyError, load_data_keys};
use crate::audit::tests::{Home, Killed, NOW, both};
use crate::road::authorise::owner_opens;
use crate::sealing::{secret_aad, values_aad};

static ENTROPY: std::sync::LazyLock<SeededEntropy> = std::sync::LazyLock::new(|| SeededEntropy::new(11));

fn entropy() -> &'static dyn Entropy {
    &*ENTROPY
}

fn server() -> ServerId {
    ServerId::new(NOW, entropy())
}

/// Sealed rows, and what was sealed.
struct Sealed {
    credentials: Vec<CredentialRow>,
    project: ProjectId,
    environment: EnvironmentId,
}

async fn fill(store: &Store, vault: &Vault, count: usize) -> Sealed {
    let user = UserId::new(NOW, entropy());
    let project = ProjectId::new(NOW, entropy());
    let mut tx = store.begin_write(&["instance"]).await.unwrap();
    let fields = UserFields {
        email: "ada@example.com".into(),
        username: None,
        name: "Ada".into(),
        first_name: "Ada".into(),
        last_name: "L".into(),
        superuser: false,
        active: true,
    };
    users::create(&mut tx, &user, &fields, None, NOW).await.unwrap();
    projects::create(&mut tx, &project, "acme", "Acme", NOW).await.unwrap();
    let named = ["production".to_owned()];
    let list = environments::replace(&mut tx, &project, &named, || EnvironmentId::new(NOW, entropy()), NOW)
        .await
        .unwrap();
    members::set(&mut tx, &project, &user, Role::Owner, NOW).await.unwrap();
    let environment = list[0].id.clone();
    let mut made = Vec::new();
    for number in 0..count {
        let row = CredentialRow {
            id: CredentialId::new(NOW, entropy()),
            owner: if number % 2 == 0 {
                Principal::User(user.clone())
            } else {
                Principal::Project(project.clone())
            },
            connector: "builtin/http".into(),
            auth_method: "bearer".into(),
            digest: "d".into(),
            oauth_client_id: None,
            name: format!("c{number}"),
            note: None,
            acts_as: None,
            disabled: false,
            expires_on: None,
            deletes_at: None,
            version: 1,
            created_by: "usr_x".into(),
            created_at: NOW,
            updated_at: NOW,
        };
        credentials::create(&mut tx, &row).await.unwrap();
        put_values(&mut tx, vault, &row, 1).await;
        let name = format!("s{number}");
        let aad = secret_aad(&project, &environment, SecretKind::Secret, &name, 1);
        let sealed = vault.seal(&aad, name.as_bytes(), entropy()).unwrap();
        let secret = SecretRow {
            kind: SecretKind::Secret,
            name,
            version: 1,
            sealed: sealed.bytes,
            data_key: sealed.data_key,
            hosts: vec![],
            set_by: "usr_x".into(),
            set_at: NOW,
        };
        secrets::put(&mut tx, &project, &environment, &secret, None).await.unwrap();
        made.push(row);
    }
    tx.commit().await.unwrap();
    Sealed { credentials: made, project, environment }
}

async fn put_values(tx: &mut latchstring_store::WriteTx, vault: &Vault, row: &CredentialRow, version: i64) {
    let aad = values_aad(&row.id, &row.owner, "production", version);
    let sealed = vault.seal(&aad, format!("{} {version}", row.name).as_bytes(), entropy()).unwrap();
    let values_row = ValuesRow {
        environment: "production".into(),
        version,
        sealed: sealed.bytes,
        data_key: sealed.data_key,
        secret_fields: vec![],
        pins: vec![],
        standing: Standing {
            status: Status::Unverified,
            verified_at: None,
            checked_at: None,
            check_error: None,
            account: None,
            scopes: None,
        },
        withheld: Vec::new(),
        certificate_ends_at: Some(latchstring_model::Timestamp(0)),
        set_by: "usr_x".into(),
        set_at: NOW,
    };
    values::put(tx, row, &values_row, (version > 1).then_some(version - 1), &[]).await.unwrap();
}

impl Sealed {
    /// Opens everything with a vault that has just started.
    async fn all_open(&self, store: &Store, ring: &KeyRing) {
        let vault = Vault::new(ring.clone());
        prepare_vault(store, &vault, ring, NOW, entropy()).await.unwrap();
        let ticket = owner_opens();
        let mut reader = store.read().await.unwrap();
        for row in &self.credentials {
            let now = values::one(&mut reader, row, "production").await.unwrap().unwrap();
            let aad = values_aad(&row.id, &row.owner, "production", now.version);
            let opened = vault.open(&ticket, &aad, &now.sealed).unwrap();
            assert_eq!(opened.expose(), format!("{} {}", row.name, now.version).as_bytes());
            for old in values::versions(&mut reader, row).await.unwrap() {
                let aad = values_aad(&row.id, &row.owner, "production", old.version);
                vault.open(&ticket, &aad, &old.sealed.unwrap().0).unwrap();
            }
        }
        for secret in
            secrets::list(&mut reader, &self.project, &self.environment, SecretKind::Secret).await.unwrap()
        {
            let one =
                secrets::one(&mut reader, &self.project, &self.environment, SecretKind::Secret, &secret.name)
                    .await
                    .unwrap()
                    .unwrap();
            let aad =
                secret_aad(&self.project, &self.environment, SecretKind::Secret, &one.name, one.version);
            assert_eq!(vault.open(&ticket, &aad, &one.sealed).unwrap().expose(), one.name.as_bytes());
        }
    }
}

async fn started(home: &Home) -> (Store, KeyRing, Vault) {
    let store = home.store().await;
    let ring = KeyRing::generate(NOW, entropy());
    let vault = Vault::new(ring.clone());
    prepare_vault(&store, &vault, &ring, NOW, entropy()).await.unwrap();
    (store, ring, vault)
}

async fn lives(store: &Store, id: &ServerId, ring: &KeyRing) {
    let row = ServerRow {
        id: id.clone(),
        version: "t".into(),
        started_at: NOW,
        seen_at: NOW,
        root_keys: ring.ids().map(ToString::to_string).collect(),
    };
    let mut tx = store.begin_upkeep().await.unwrap();
    instance::heartbeat(&mut tx, &row).await.unwrap();
    tx.commit().await.unwrap();
}

both! {
    async fn of_servers_that_start_together_one_makes_the_first_key(home) {
        let store = home.store().await;
        let ring = KeyRing::generate(NOW, entropy());
        let vaults: Vec<Vault> = (0..4).map(|_| Vault::new(ring.clone())).collect();
        let (a, b, c, d) = tokio::join!(
            prepare_vault(&store, &vaults[0], &ring, NOW, entropy()),
            prepare_vault(&store, &vaults[1], &ring, NOW, entropy()),
            prepare_vault(&store, &vaults[2], &ring, NOW, entropy()),
            prepare_vault(&store, &vaults[3], &ring, NOW, entropy()),
        );
        for outcome in [a, b, c, d] {
            outcome.unwrap();
        }
        let mut reader = store.read().await.unwrap();
        let rows = data_keys::list(&mut reader).await.unwrap();
        assert_eq!(rows.len(), 1);
        assert!(vaults.iter().all(|vault| vault.active().as_ref() == Some(&rows[0].id)));
        // A server with another ring does not start, and writes nothing.
        let other = KeyRing::generate(NOW, entropy());
        let refused = prepare_vault(&store, &Vault::new(other.clone()), &other, NOW, entropy()).await;
        assert!(matches!(refused, Err(KeyError::Check(_))), "{refused:?}");
        assert_eq!(data_keys::list(&mut reader).await.unwrap(), rows);
    }

    async fn a_data_key_rotation_that_is_killed_anywhere_goes_on(home) {
        let (store, ring, vault) = started(&home).await;
        let sealed = fill(&store, &vault, 30).await;
        let (id, clock) = (server(), FakeClock::at(NOW));
        let first = vault.active().unwrap();
        let mut killed = 0;
        for polls in 1..400 {
            // Each try is a process of its own.
            let vault = Vault::new(ring.clone());
            clock.advance_secs(1);
            let done = Killed::after(polls, rotate_data_keys(&store, &vault, &id, &clock, entropy())).await;
            sealed.all_open(&store, &ring).await;
            killed += u32::from(done.is_none());
            let mut reader = store.read().await.unwrap();
            let rows = data_keys::list(&mut reader).await.unwrap();
            let left = data_keys::uses(&mut reader, &first).await.unwrap();
            // It may be killed when all is done and only the answer is missing.
            let newest = rows.last().unwrap();
            if newest.active && left == 0 {
                assert_eq!(data_keys::uses(&mut reader, &newest.id).await.unwrap(), 90);
                assert!(done.is_none_or(|done| done.unwrap().key == newest.id));
                break;
            }
            assert!(done.is_none(), "it says that it is done and is not");
        }
        assert!(killed > 3, "{killed}");
        let mut reader = store.read().await.unwrap();
        let rows = data_keys::list(&mut reader).await.unwrap();
        assert_eq!(rows.len(), 2, "the killed tries began one rotation together");
        drop(reader);

        // A server that had not heard of it sealed under the old key meanwhile: swept up.
        let mut tx = store.begin_write(&["instance"]).await.unwrap();
        put_values(&mut tx, &vault, &sealed.credentials[0], 2).await;
        tx.commit().await.unwrap();
        assert_eq!(vault.active(), Some(first.clone()));
        finish_rotation(&store, &vault, entropy(), NOW).await.unwrap();
        let mut reader = store.read().await.unwrap();
        assert_eq!(data_keys::uses(&mut reader, &first).await.unwrap(), 0);
        assert_eq!(data_keys::list(&mut reader).await.unwrap().len(), 2, "kept for a day");
        drop(reader);
        sealed.all_open(&store, &ring).await;
        finish_rotation(&store, &vault, entropy(), NOW.plus_secs(3 * 86_400)).await.unwrap();
        load_data_keys(&store, &vault).await.unwrap();
        assert!(!vault.data_keys().contains(&first));
        sealed.all_open(&store, &ring).await;
    }

    async fn a_damaged_value_is_named_and_the_rest_goes_on(home) {
        let (store, ring, vault) = started(&home).await;
        let sealed = fill(&store, &vault, 5).await;
        let victim = &sealed.credentials[2];
        let mut tx = store.begin_write(&["instance"]).await.unwrap();
        let row = data_keys::sealed_under(&mut tx, &vault.active().unwrap(), 100).await.unwrap().into_iter()
            .find(|row| matches!(&row.place, data_keys::SealedPlace::Values { credential_id, .. } if *credential_id == victim.id)).unwrap();
        let mut bytes = row.sealed.clone();
        *bytes.last_mut().unwrap() ^= 1;
        assert!(data_keys::reseal(&mut tx, &row, &bytes, &row.data_key).await.unwrap());
        tx.commit().await.unwrap();
        let old = vault.active().unwrap();
        let fresh = Vault::new(ring.clone());
        let clock = FakeClock::at(NOW.plus_secs(1));
        match rotate_data_keys(&store, &fresh, &server(), &clock, entropy()).await {
            Err(KeyError::Damaged { damaged }) => {
                assert_eq!(damaged.len(), 1);
                assert!(damaged[0].0.contains(victim.id.as_str()), "{}", damaged[0].0);
            }
            other => panic!("{other:?}"),
        }
        let mut reader = store.read().await.unwrap();
        assert_eq!(data_keys::uses(&mut reader, &old).await.unwrap(), 1, "only the damaged one is left behind");
    }

    async fn a_root_key_rotation_that_is_killed_anywhere_goes_on(home) {
        let (store, ring, vault) = started(&home).await;
        let sealed = fill(&store, &vault, 3).await;
        let clock = FakeClock::at(NOW.plus_secs(1));
        rotate_data_keys(&store, &vault, &server(), &clock, entropy()).await.unwrap();
        let first = ring.active_id().clone();
        // The key file.
        let file = Mutex::new(ring.to_bytes());
        let write = |ring: &KeyRing| -> Result<(), String> {
            *file.lock().unwrap() = ring.to_bytes();
            Ok(())
        };
        let read = || KeyRing::parse(file.lock().unwrap().expose()).unwrap();
        let (id, clock) = (server(), FakeClock::at(NOW));
        let with = Rotation { store: &store, server: &id, clock: &clock, entropy: entropy() };
        let mut killed = 0;
        for polls in 1..300 {
            let mut ring = read();
            let done = Killed::after(polls, rotate_root(&with, &mut ring, write, Duration::ZERO)).await;
            // Whatever happened: a server starts with the file as it is.
            sealed.all_open(&store, &read()).await;
            killed += u32::from(done.is_none());
            let mut reader = store.read().await.unwrap();
            let check = instance::get(&mut reader, instance::KEY_CHECK).await.unwrap().unwrap();
            let ring = read();
            // It may be killed when all is done and only the answer is missing.
            let whole = *ring.active_id() != first
                && check.contains(ring.active_id().as_str())
                && data_keys::count_under_root(&mut reader, first.as_str()).await.unwrap() == 0;
            if whole {
                assert!(done.is_none_or(|done| done.unwrap().key == *ring.active_id()));
                break;
            }
            assert!(done.is_none(), "it says that it is done and is not");
        }
        assert!(killed > 3, "{killed}");
        let mut ring = read();
        assert_eq!(ring.ids().count(), 2, "the killed tries began one rotation together");
        assert_ne!(ring.active_id(), &first);
        let mut reader = store.read().await.unwrap();
        assert_eq!(data_keys::count_under_root(&mut reader, first.as_str()).await.unwrap(), 0);
        let check = instance::get(&mut reader, instance::KEY_CHECK).await.unwrap().unwrap();
        drop(reader);
        verify_check(&ring, &check).unwrap();
        assert!(check.contains(ring.active_id().as_str()));

        let active = ring.active_id().clone();
        assert!(matches!(retire_root(&with, &mut ring, &active, write).await, Err(KeyError::Ring(_))));
        for polls in 1..100 {
            let mut ring = read();
            let done = Killed::after(polls, retire_root(&with, &mut ring, &first, write)).await;
            sealed.all_open(&store, &read()).await;
            if let Some(done) = done {
                done.unwrap();
                break;
            }
        }
        assert_eq!(read().ids().collect::<Vec<_>>(), [&active]);
    }

    async fn a_root_key_waits_for_every_living_server(home) {
        let (store, ring, vault) = started(&home).await;
        let sealed = fill(&store, &vault, 2).await;
        let file = Mutex::new(ring.to_bytes());
        let write = |ring: &KeyRing| -> Result<(), String> {
            *file.lock().unwrap() = ring.to_bytes();
            Ok(())
        };
        let read = || KeyRing::parse(file.lock().unwrap().expose()).unwrap();
        let (command, (one, other)) = (server(), (server(), server()));
        lives(&store, &one, &ring).await;
        lives(&store, &other, &ring).await;
        let clock = FakeClock::at(NOW);
        let with = Rotation { store: &store, server: &command, clock: &clock, entropy: entropy() };
        let mut mine = ring.clone();
        match rotate_root(&with, &mut mine, write, Duration::ZERO).await {
            Err(KeyError::NotHeldBy { servers, .. }) => assert_eq!(servers.len(), 2),
            outcome => panic!("{outcome:?}"),
        }
        assert_eq!(read().active_id(), ring.active_id(), "not active before all hold it");
        lives(&store, &one, &read()).await;
        match rotate_root(&with, &mut read(), write, Duration::ZERO).await {
            Err(error @ KeyError::NotHeldBy { .. }) => {
                let text = error.to_string();
                assert!(text.contains(other.as_str()) && !text.contains(one.as_str()), "{text}");
            }
            outcome => panic!("{outcome:?}"),
        }
        let wraps = retire_root(&with, &mut { let mut r = read(); let new = r.keys()[1].id().clone(); r.activate(&new).unwrap(); r }, ring.active_id(), |_| Ok(())).await;
        assert!(matches!(wraps, Err(KeyError::StillWraps { count: 1, .. })), "{wraps:?}");
        lives(&store, &other, &read()).await;
        let done = rotate_root(&with, &mut read(), write, Duration::ZERO).await.unwrap();
        assert!(done.resumed && done.rewrapped == 1);
        sealed.all_open(&store, &read()).await;
        // A ring from before the rotation is refused now.
        let refused = prepare_vault(&store, &Vault::new(ring.clone()), &ring, NOW, entropy()).await;
        assert!(matches!(refused, Err(KeyError::Check(_))), "{refused:?}");
    }
}
