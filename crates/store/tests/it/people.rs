//! Users, sessions, projects, environments, members, keys.

use latchstring_model::entity::{KeyScope, Role};
use latchstring_store::api_keys::{self, ApiKeyRow, KeyBelongs, KeyOwner};
use latchstring_store::sessions::{self, SessionRow};
use latchstring_store::shares::{self, NewGrant};
use latchstring_store::{Paging, StoreError, Taken, environments, members, projects, users};
use serde_json::json;

use crate::support::both;

both! {
    async fn users_are_found_changed_and_unique(store, home) {
        let mut tx = store.begin_write(&["instance"]).await.unwrap();
        let id = user(&mut tx, "Ada@Example.com").await;
        tx.commit().await.unwrap();

        let mut tx = store.begin_write(&["instance"]).await.unwrap();
        let again = users::create(&mut tx, &user_id(), &person("ADA@example.COM"), None, NOW).await.unwrap_err();
        assert!(again.is_taken(Taken::Email), "{again}");
        drop(tx);

        let mut reader = store.read().await.unwrap();
        let row = users::by_email(&mut reader, " ada@example.com ").await.unwrap().unwrap();
        assert_eq!((row.fields.email.as_str(), row.version), ("Ada@Example.com", 1));
        assert_eq!(users::by_id(&mut reader, &id).await.unwrap().unwrap(), row);
        assert_eq!(users::password_hash(&mut reader, &id).await.unwrap().as_deref(), Some("$argon2id$x"));
        assert_eq!(users::by_id(&mut reader, &user_id()).await.unwrap(), None);

        let mut tx = store.begin_write(&[id.as_str()]).await.unwrap();
        let mut fields = person("ada@example.com");
        fields.username = Some("ada".into());
        fields.superuser = true;
        assert_eq!(users::update(&mut tx, &id, 1, &fields, NOW.plus_secs(1)).await.unwrap(), 2);
        assert!(matches!(users::update(&mut tx, &id, 1, &fields, NOW).await, Err(StoreError::Moved)));
        users::set_password(&mut tx, &id, None, NOW).await.unwrap();
        assert_eq!(users::password_hash(&mut tx, &id).await.unwrap(), None);
        let row = users::by_id(&mut tx, &id).await.unwrap().unwrap();
        assert_eq!((row.fields, row.version), (fields, 3));
        assert_eq!(users::count_superusers(&mut tx).await.unwrap(), 1);
        tx.commit().await.unwrap();
    }

    async fn lists_come_in_pages_and_wildcards_are_letters(store, home) {
        let mut tx = store.begin_write(&["instance"]).await.unwrap();
        let mut ids = Vec::new();
        for number in 0..23 {
            ids.push(user(&mut tx, &format!("user{number}@example.com")).await);
        }
        user(&mut tx, "under_score@example.com").await;
        tx.commit().await.unwrap();
        let mut reader = store.read().await.unwrap();
        let (mut seen, mut cursor) = (Vec::new(), None);
        loop {
            let page = users::list(&mut reader, Some("USER"), &Paging::new(cursor, Some(10))).await.unwrap();
            assert!(page.items.len() <= 10);
            seen.extend(page.items.into_iter().map(|row| row.id));
            cursor = page.next_cursor;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(seen, ids);
        let one = users::list(&mut reader, Some("_"), &Paging::first()).await.unwrap();
        assert_eq!(one.items.len(), 1, "an underscore finds an underscore");
        assert_eq!(users::list(&mut reader, Some("%"), &Paging::first()).await.unwrap().items.len(), 0);
        assert_eq!(users::list(&mut reader, None, &Paging::new(None, Some(0))).await.unwrap().items.len(), 1);
        let all = users::list(&mut reader, None, &Paging::new(None, Some(100_000))).await.unwrap();
        assert_eq!((all.items.len(), all.next_cursor), (24, None));
    }

    async fn sessions_live_and_end(store, home) {
        let mut tx = store.begin_write(&["instance"]).await.unwrap();
        let id = user(&mut tx, "a@example.com").await;
        let stranger = user(&mut tx, "b@example.com").await;
        let mut rows = Vec::new();
        for number in 0..3_u8 {
            let row = SessionRow {
                id: session_id(), user_id: id.clone(), created_at: NOW, seen_at: NOW, expires_at: NOW.plus_secs(100),
                confirmed_at: NOW, address: "127.0.0.1".into(), agent: "test".into(), second_factor: false,
            };
            sessions::create(&mut tx, &row, &[number; 32]).await.unwrap();
            rows.push(row);
        }
        assert_eq!(sessions::by_token_hash(&mut tx, &[1; 32], NOW).await.unwrap().as_ref(), Some(&rows[1]));
        assert_eq!(sessions::by_token_hash(&mut tx, &[9; 32], NOW).await.unwrap(), None);
        assert_eq!(sessions::by_token_hash(&mut tx, &[1; 32], NOW.plus_secs(100)).await.unwrap(), None, "expired");
        sessions::seen(&mut tx, &rows[1].id, NOW.plus_secs(50), NOW.plus_secs(150)).await.unwrap();
        assert!(sessions::by_token_hash(&mut tx, &[1; 32], NOW.plus_secs(120)).await.unwrap().is_some());
        assert!(!sessions::end(&mut tx, &stranger, &rows[0].id).await.unwrap(), "not the stranger's to end");
        assert!(!sessions::confirm(&mut tx, &stranger, &rows[0].id, true, NOW).await.unwrap());
        assert!(sessions::end(&mut tx, &id, &rows[0].id).await.unwrap());
        assert_eq!(sessions::end_all(&mut tx, &id, Some(&rows[1].id)).await.unwrap(), 1);
        assert_eq!(sessions::list(&mut tx, &id, NOW).await.unwrap().len(), 1);
        let mut fields = person("a@example.com");
        fields.active = false;
        users::update(&mut tx, &id, 1, &fields, NOW).await.unwrap();
        assert_eq!(sessions::by_token_hash(&mut tx, &[1; 32], NOW).await.unwrap(), None, "an inactive user has none");
        assert_eq!(sessions::purge_expired(&mut tx, NOW.plus_secs(150)).await.unwrap(), 1);
        assert_eq!(sessions::end_all(&mut tx, &id, None).await.unwrap(), 0);
        tx.commit().await.unwrap();
    }

    async fn projects_belong_to_their_members(store, home) {
        let mut tx = store.begin_write(&["instance"]).await.unwrap();
        let (ada, bob) = (user(&mut tx, "ada@example.com").await, user(&mut tx, "bob@example.com").await);
        let acme = project(&mut tx, "acme", &ada).await;
        let other = project(&mut tx, "other", &bob).await;
        tx.commit().await.unwrap();

        let mut tx = store.begin_write(&["instance"]).await.unwrap();
        let taken = projects::create(&mut tx, &project_id(), "acme", "Acme", NOW).await.unwrap_err();
        assert!(taken.is_taken(Taken::ProjectSlug), "{taken}");
        drop(tx);

        let mut tx = store.begin_write(&[acme.id.as_str()]).await.unwrap();
        for name in ["acme", acme.id.as_str()] {
            let mine = projects::for_member(&mut tx, &ada, name).await.unwrap().unwrap();
            assert_eq!((mine.project.slug.as_str(), mine.role), ("acme", Role::Owner));
            assert_eq!(projects::for_member(&mut tx, &bob, name).await.unwrap(), None);
        }
        assert_eq!(projects::list_of_member(&mut tx, &bob, &Paging::first()).await.unwrap().items.len(), 1);
        members::set(&mut tx, &acme.id, &bob, Role::Viewer, NOW).await.unwrap();
        members::set(&mut tx, &acme.id, &bob, Role::Editor, NOW).await.unwrap();
        assert_eq!(members::role(&mut tx, &acme.id, &bob).await.unwrap(), Some(Role::Editor));
        assert_eq!(members::list(&mut tx, &acme.id, &Paging::first()).await.unwrap().items.len(), 2);
        assert_eq!(members::count_owners(&mut tx, &acme.id).await.unwrap(), 1);
        assert!(members::remove(&mut tx, &acme.id, &bob).await.unwrap());
        assert!(!members::remove(&mut tx, &acme.id, &bob).await.unwrap());
        assert_eq!(projects::update(&mut tx, &acme.id, 1, "acme-2", "Acme 2", NOW).await.unwrap(), 2);
        assert!(matches!(projects::update(&mut tx, &acme.id, 1, "x", "x", NOW).await, Err(StoreError::Moved)));
        let gone = members::set(&mut tx, &acme.id, &user_id(), Role::Viewer, NOW).await.unwrap_err();
        assert!(matches!(gone, StoreError::ReferenceGone), "{gone}");
    }

    async fn kept_environments_keep_their_ids(store, home) {
        let mut tx = store.begin_write(&["instance"]).await.unwrap();
        let ada = user(&mut tx, "ada@example.com").await;
        let acme = project(&mut tx, "acme", &ada).await;
        let hash = bytes();
        api_keys::create(&mut tx, &service_key(&acme), &hash).await.unwrap();
        assert!(api_keys::by_secret_hash(&mut tx, &hash, NOW).await.unwrap().is_some());

        let list = environments::replace(&mut tx, &acme.id, &["staging".into(), "test".into()], environment_id, NOW).await.unwrap();
        assert_eq!(list.iter().map(|row| row.name.as_str()).collect::<Vec<_>>(), ["staging", "test"]);
        assert_eq!(list[0].id, acme.staging);
        let list = environments::replace(&mut tx, &acme.id, &["production".into(), "staging".into()], environment_id, NOW).await.unwrap();
        assert_ne!(list[0].id, acme.production, "made again, it is another one");
        assert_eq!(list[1].id, acme.staging);
        assert_eq!(api_keys::by_secret_hash(&mut tx, &hash, NOW).await.unwrap(), None, "its key has ended");
        assert_eq!(environments::by_name(&mut tx, &acme.id, "test").await.unwrap(), None);
        tx.commit().await.unwrap();
        let mut tx = store.begin_write(&["instance"]).await.unwrap();
        let twice = environments::replace(&mut tx, &acme.id, &["a".into(), "a".into()], environment_id, NOW).await.unwrap_err();
        assert!(twice.is_taken(Taken::EnvironmentName), "{twice}");
    }

    async fn what_is_granted_in_an_environment_is_all_there(store, home) {
        let mut tx = store.begin_write(&["instance"]).await.unwrap();
        let ada = user(&mut tx, "ada@example.com").await;
        let (acme, other) = (project(&mut tx, "acme", &ada).await, project(&mut tx, "other", &ada).await);
        let mut wanted = Vec::new();
        for number in 0..12 {
            let row = credential(&mut tx, &ada, &format!("c{number}")).await;
            let share = share(&mut tx, &row, &acme.id, &format!("c{number}")).await;
            // Some in both environments, some in one, some in none.
            let here: Vec<NewGrant> = [(&acme.staging, number % 3 != 0), (&acme.production, number % 2 == 0)]
                .into_iter()
                .filter(|(_, granted)| *granted)
                .map(|(id, _)| NewGrant { environment_id: id.clone(), credential_environment: "production".into() })
                .collect();
            shares::replace_grants(&mut tx, &share, &here, "usr_x", NOW).await.unwrap();
            if number % 3 != 0 {
                wanted.push(format!("c{number}"));
            }
        }
        assert_eq!(environments::granted(&mut tx, &acme.id, &acme.staging).await.unwrap(), wanted);
        assert_eq!(environments::granted(&mut tx, &acme.id, &acme.production).await.unwrap().len(), 6);
        assert!(environments::granted(&mut tx, &other.id, &acme.staging).await.unwrap().is_empty(), "another project's");
        assert!(environments::granted(&mut tx, &other.id, &other.staging).await.unwrap().is_empty());
    }

    async fn keys_say_who_calls(store, home) {
        let mut tx = store.begin_write(&["instance"]).await.unwrap();
        let ada = user(&mut tx, "ada@example.com").await;
        let acme = project(&mut tx, "acme", &ada).await;
        tx.commit().await.unwrap();
        let mut tx = store.begin_write(&[ada.as_str(), acme.id.as_str()]).await.unwrap();
        let (personal, service) = (personal_key(&ada), service_key(&acme));
        let (one, two) = (bytes(), bytes());
        api_keys::create(&mut tx, &personal, &one).await.unwrap();
        api_keys::create(&mut tx, &service, &two).await.unwrap();
        tx.commit().await.unwrap();

        let mut tx = store.begin_write(&[ada.as_str(), acme.id.as_str()]).await.unwrap();
        let caller = api_keys::by_secret_hash(&mut tx, &one, NOW).await.unwrap().unwrap();
        assert_eq!((&caller.key, caller.epoch), (&personal, 2));
        assert!(matches!(&caller.owner, KeyOwner::User { email, .. } if email == "ada@example.com"));
        let caller = api_keys::by_secret_hash(&mut tx, &two, NOW).await.unwrap().unwrap();
        assert!(matches!(&caller.owner, KeyOwner::Project { slug, environment, .. } if slug == "acme" && environment == "production"));
        assert_eq!(api_keys::by_secret_hash(&mut tx, &two, NOW.plus_secs(60)).await.unwrap(), None, "expired");
        assert_eq!(api_keys::by_secret_hash(&mut tx, &bytes(), NOW).await.unwrap(), None);

        api_keys::touch(&mut tx, &[(service.id.clone(), NOW.plus_secs(9)), (service.id.clone(), NOW)]).await.unwrap();
        let listed = api_keys::list_of_project(&mut tx, &acme.id, &Paging::first()).await.unwrap().items;
        assert_eq!(listed[0].used_at, Some(NOW.plus_secs(9)), "it never goes back");
        assert!(!api_keys::end_of_project(&mut tx, &project_id(), &service.id, NOW).await.unwrap());
        assert!(!api_keys::end_of_user(&mut tx, &ada, &service.id, NOW).await.unwrap());
        assert!(api_keys::end_of_project(&mut tx, &acme.id, &service.id, NOW).await.unwrap());
        assert!(!api_keys::end_of_project(&mut tx, &acme.id, &service.id, NOW).await.unwrap());
        assert_eq!(api_keys::by_secret_hash(&mut tx, &two, NOW).await.unwrap(), None, "ended");
        assert_eq!(api_keys::list_of_user(&mut tx, &ada, &Paging::first()).await.unwrap().items, [personal]);
        let mut fields = person("ada@example.com");
        fields.active = false;
        users::update(&mut tx, &ada, 1, &fields, NOW).await.unwrap();
        assert_eq!(api_keys::by_secret_hash(&mut tx, &one, NOW).await.unwrap(), None, "an inactive user's");
        assert_eq!(api_keys::end_all_of_user(&mut tx, &ada, NOW).await.unwrap(), 1);
    }
}

fn personal_key(user: &latchstring_model::id::UserId) -> ApiKeyRow {
    use crate::support::{NOW, key_id};
    ApiKeyRow {
        id: key_id(),
        belongs: KeyBelongs::Personal { user_id: user.clone() },
        name: "laptop".into(),
        scope: KeyScope::Manage,
        hint: "abcd".into(),
        limits: json!({}),
        created_by: user.to_string(),
        created_at: NOW,
        expires_at: None,
        used_at: None,
        ended_at: None,
    }
}

fn service_key(project: &crate::support::Project) -> ApiKeyRow {
    use crate::support::{NOW, key_id};
    ApiKeyRow {
        id: key_id(),
        belongs: KeyBelongs::Service {
            project_id: project.id.clone(),
            environment_id: project.production.clone(),
        },
        name: "ci".into(),
        scope: KeyScope::Call,
        hint: "wxyz".into(),
        limits: json!({"operations_only": true, "methods": ["GET"]}),
        created_by: "usr_x".into(),
        created_at: NOW,
        expires_at: Some(NOW.plus_secs(60)),
        used_at: None,
        ended_at: None,
    }
}
