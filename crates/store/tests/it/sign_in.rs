//! Second factors, identities, sign-ins under way, password resets, roles from groups.

use latchstring_store::group_roles::{self, GroupRoleRow};
use latchstring_store::identities::{self, IdentityRow};
use latchstring_store::password_resets::{self, PasswordResetRow};
use latchstring_store::sign_ins::{self, Purpose, SignInRow, Started, State};
use latchstring_store::{Taken, data_keys, projects, second_factors, sessions, users};

use crate::support::both;

both! {
    async fn a_second_factor_is_offered_confirmed_and_used_up(store, home) {
        let key = data_key_id();
        let mut tx = store.begin_write(&["instance"]).await.unwrap();
        let (ada, bob) = (user(&mut tx, "ada@example.com").await, user(&mut tx, "bob@example.com").await);
        data_keys::create(&mut tx, &key, "rky_x", b"w", NOW).await.unwrap();
        assert!(second_factors::offer(&mut tx, &ada, b"one", &key, 1, NOW).await.unwrap());
        assert!(second_factors::offer(&mut tx, &ada, b"two", &key, 2, NOW).await.unwrap(), "replaced until it is confirmed");
        assert!(!users::by_id(&mut tx, &ada).await.unwrap().unwrap().second_factor);
        assert!(!second_factors::use_step(&mut tx, &ada, 2, 10).await.unwrap(), "it guards nothing yet");
        assert!(!second_factors::confirm(&mut tx, &ada, 1, 10, NOW).await.unwrap(), "the secret before");
        assert!(second_factors::confirm(&mut tx, &ada, 2, 10, NOW).await.unwrap());
        assert!(!second_factors::confirm(&mut tx, &ada, 2, 11, NOW).await.unwrap(), "once");
        assert!(!second_factors::offer(&mut tx, &ada, b"three", &key, 3, NOW).await.unwrap(), "not over one that works");
        assert!(users::by_id(&mut tx, &ada).await.unwrap().unwrap().second_factor);
        assert!(!users::by_id(&mut tx, &bob).await.unwrap().unwrap().second_factor);
        for (step, taken) in [(10, false), (9, false), (11, true), (11, false), (12, true)] {
            assert_eq!(second_factors::use_step(&mut tx, &ada, 2, step).await.unwrap(), taken, "{step}");
        }
        assert!(!second_factors::use_step(&mut tx, &ada, 1, 20).await.unwrap());
        assert_eq!(data_keys::uses(&mut tx, &key).await.unwrap(), 1);
        let codes = [[1; 32], [2; 32]];
        second_factors::set_codes(&mut tx, &ada, &codes, NOW).await.unwrap();
        second_factors::set_codes(&mut tx, &bob, &[[1; 32]], NOW).await.unwrap();
        assert!(second_factors::use_code(&mut tx, &ada, &[1; 32], NOW).await.unwrap());
        assert!(!second_factors::use_code(&mut tx, &ada, &[1; 32], NOW).await.unwrap(), "once");
        assert!(!second_factors::use_code(&mut tx, &ada, &[3; 32], NOW).await.unwrap());
        assert_eq!(second_factors::codes_left(&mut tx, &ada).await.unwrap(), 1);
        assert_eq!(second_factors::codes_left(&mut tx, &bob).await.unwrap(), 1);
        assert!(second_factors::remove(&mut tx, &ada).await.unwrap());
        assert!(!second_factors::remove(&mut tx, &ada).await.unwrap());
        assert_eq!(second_factors::codes_left(&mut tx, &ada).await.unwrap(), 0);
        assert_eq!(second_factors::codes_left(&mut tx, &bob).await.unwrap(), 1);
        tx.commit().await.unwrap();
    }

    async fn what_was_shown_in_a_session_is_forgotten_with_the_factor(store, home) {
        let mut tx = store.begin_write(&["instance"]).await.unwrap();
        let ada = user(&mut tx, "ada@example.com").await;
        let row = sessions::SessionRow {
            id: session_id(), user_id: ada.clone(), created_at: NOW, seen_at: NOW, expires_at: NOW.plus_secs(100),
            confirmed_at: NOW, address: String::new(), agent: String::new(), second_factor: false,
        };
        sessions::create(&mut tx, &row, &[1; 32]).await.unwrap();
        sessions::confirm(&mut tx, &ada, &row.id, true, NOW.plus_secs(1)).await.unwrap();
        sessions::confirm(&mut tx, &ada, &row.id, false, NOW.plus_secs(2)).await.unwrap();
        let seen = sessions::by_id(&mut tx, &ada, &row.id, NOW).await.unwrap().unwrap();
        assert_eq!((seen.second_factor, seen.confirmed_at), (true, NOW.plus_secs(2)), "it is not lost by a confirmation without");
        assert!(sessions::by_id(&mut tx, &user_id(), &row.id, NOW).await.unwrap().is_none());
        assert!(sessions::by_id(&mut tx, &ada, &row.id, NOW.plus_secs(100)).await.unwrap().is_none());
        sessions::forget_factor(&mut tx, &ada).await.unwrap();
        assert!(!sessions::by_id(&mut tx, &ada, &row.id, NOW).await.unwrap().unwrap().second_factor);
        tx.commit().await.unwrap();
    }

    async fn an_identity_is_one_persons_and_a_person_has_one_at_an_issuer(store, home) {
        let mut tx = store.begin_write(&["instance"]).await.unwrap();
        let (ada, bob) = (user(&mut tx, "ada@example.com").await, user(&mut tx, "bob@example.com").await);
        tx.commit().await.unwrap();
        let row = |user: &latchstring_model::id::UserId, issuer: &str, subject: &str| IdentityRow {
            id: identity_id(), user_id: user.clone(), issuer: issuer.into(), subject: subject.into(),
            email: Some("x@example.com".into()), linked_at: NOW, seen_at: NOW,
        };
        let first = row(&ada, "https://a", "1");
        let mut tx = store.begin_write(&[ada.as_str()]).await.unwrap();
        identities::create(&mut tx, &first).await.unwrap();
        identities::create(&mut tx, &row(&ada, "https://b", "1")).await.unwrap();
        tx.commit().await.unwrap();
        for (other, taken) in [(row(&bob, "https://a", "1"), Taken::Identity), (row(&ada, "https://a", "2"), Taken::IdentityOfPerson)] {
            let mut tx = store.begin_write(&["instance"]).await.unwrap();
            let error = identities::create(&mut tx, &other).await.unwrap_err();
            assert!(error.is_taken(taken), "{error}");
        }
        let mut tx = store.begin_write(&[ada.as_str()]).await.unwrap();
        assert_eq!(identities::by_subject(&mut tx, "https://a", "1").await.unwrap().as_ref(), Some(&first));
        assert_eq!(identities::by_subject(&mut tx, "https://a/", "1").await.unwrap(), None);
        identities::seen(&mut tx, &first.id, None, NOW.plus_secs(1)).await.unwrap();
        assert_eq!(identities::list(&mut tx, &ada).await.unwrap().len(), 2);
        assert!(!identities::remove(&mut tx, &bob, &first.id).await.unwrap(), "not bob's to remove");
        assert!(identities::remove(&mut tx, &ada, &first.id).await.unwrap());
        assert_eq!(identities::by_subject(&mut tx, "https://a", "1").await.unwrap(), None);
        tx.commit().await.unwrap();
    }

    async fn a_sign_in_goes_one_way_and_each_step_is_taken_once(store, home) {
        let key = data_key_id();
        let mut tx = store.begin_upkeep().await.unwrap();
        data_keys::create(&mut tx, &key, "rky_x", b"w", NOW).await.unwrap();
        let ada = user(&mut tx, "ada@example.com").await;
        let row = SignInRow {
            id: sign_in_id(), purpose: Purpose::Confirm, state: State::Begun, browser_hash: None, sealed: None,
            user_id: Some(ada.clone()), session_id: Some(session_id()), return_to: Some("/account".into()),
            created_at: NOW, expires_at: NOW.plus_secs(600),
        };
        sign_ins::create(&mut tx, &row, Some(&[1; 32])).await.unwrap();
        assert_eq!(sign_ins::by_start(&mut tx, &[1; 32]).await.unwrap().as_ref(), Some(&row));
        assert!(!sign_ins::claim(&mut tx, &row.id, NOW).await.unwrap(), "nobody was sent to the provider");
        let started = |byte: u8| ([byte; 32], [byte + 100; 32], vec![byte]);
        for byte in [1, 2] {
            let (state, browser, sealed) = started(byte);
            let how = Started { state_hash: &state, browser_hash: &browser, sealed: &sealed, data_key: &key };
            assert!(sign_ins::start(&mut tx, &row.id, &how, NOW).await.unwrap());
        }
        assert!(sign_ins::by_state(&mut tx, &[1; 32]).await.unwrap().is_none(), "what was given out before is void");
        let found = sign_ins::by_state(&mut tx, &[2; 32]).await.unwrap().unwrap();
        assert_eq!((found.state, found.sealed), (State::AtProvider, Some((vec![2], key.clone()))));
        assert_eq!(data_keys::uses(&mut tx, &key).await.unwrap(), 1);
        assert!(!sign_ins::claim(&mut tx, &row.id, NOW.plus_secs(600)).await.unwrap(), "too late");
        assert!(sign_ins::claim(&mut tx, &row.id, NOW).await.unwrap());
        assert!(!sign_ins::claim(&mut tx, &row.id, NOW).await.unwrap(), "once");
        let (state, browser, sealed) = started(3);
        let again = Started { state_hash: &state, browser_hash: &browser, sealed: &sealed, data_key: &key };
        assert!(!sign_ins::start(&mut tx, &row.id, &again, NOW).await.unwrap(), "not once more");
        assert!(sign_ins::want_code(&mut tx, &row.id, &ada, NOW.plus_secs(60)).await.unwrap());
        let wanted = sign_ins::by_id(&mut tx, &row.id).await.unwrap().unwrap();
        assert_eq!((wanted.state, wanted.sealed, wanted.expires_at), (State::CodeWanted, None, NOW.plus_secs(60)));
        assert!(!sign_ins::end(&mut tx, &row.id, State::Exchanging).await.unwrap());
        assert!(sign_ins::end(&mut tx, &row.id, State::CodeWanted).await.unwrap());
        assert!(!sign_ins::end(&mut tx, &row.id, State::CodeWanted).await.unwrap());
        assert_eq!(data_keys::uses(&mut tx, &key).await.unwrap(), 0);
        assert_eq!(sign_ins::end_of_user(&mut tx, &ada).await.unwrap(), 1);
        let other = SignInRow { id: sign_in_id(), user_id: None, ..row };
        sign_ins::create(&mut tx, &other, None).await.unwrap();
        assert_eq!(sign_ins::purge(&mut tx, NOW.plus_secs(599)).await.unwrap(), 0);
        assert_eq!(sign_ins::purge(&mut tx, NOW.plus_secs(600)).await.unwrap(), 1);
        tx.commit().await.unwrap();
    }

    async fn a_reset_is_one_for_each_person_and_good_once(store, home) {
        let key = data_key_id();
        let mut tx = store.begin_write(&["instance"]).await.unwrap();
        data_keys::create(&mut tx, &key, "rky_x", b"w", NOW).await.unwrap();
        let ada = user(&mut tx, "ada@example.com").await;
        let row = |sealed| PasswordResetRow { user_id: ada.clone(), sealed, created_at: NOW, expires_at: NOW.plus_secs(3600) };
        password_resets::set(&mut tx, &row(Some((vec![1], key.clone()))), &[1; 32]).await.unwrap();
        password_resets::set(&mut tx, &row(Some((vec![2], key.clone()))), &[2; 32]).await.unwrap();
        assert_eq!(password_resets::by_token(&mut tx, &[1; 32], NOW).await.unwrap(), None, "replaced");
        assert!(password_resets::by_token(&mut tx, &[2; 32], NOW).await.unwrap().is_some());
        assert_eq!(password_resets::by_token(&mut tx, &[2; 32], NOW.plus_secs(3600)).await.unwrap(), None);
        assert_eq!(data_keys::uses(&mut tx, &key).await.unwrap(), 1);
        password_resets::wipe(&mut tx, &ada).await.unwrap();
        assert_eq!(data_keys::uses(&mut tx, &key).await.unwrap(), 0);
        assert_eq!(password_resets::of_user(&mut tx, &ada, NOW).await.unwrap(), Some(row(None)));
        let mut fields = person("ada@example.com");
        fields.active = false;
        users::update(&mut tx, &ada, 1, &fields, NOW).await.unwrap();
        assert_eq!(password_resets::by_token(&mut tx, &[2; 32], NOW).await.unwrap(), None, "of nobody who is not active");
        assert!(!password_resets::take(&mut tx, &ada, &[1; 32]).await.unwrap());
        assert!(password_resets::take(&mut tx, &ada, &[2; 32]).await.unwrap());
        assert!(!password_resets::take(&mut tx, &ada, &[2; 32]).await.unwrap());
        password_resets::set(&mut tx, &row(None), &[3; 32]).await.unwrap();
        assert_eq!(password_resets::purge(&mut tx, NOW.plus_secs(3600)).await.unwrap(), 1);
        users::freeze(&mut tx, &ada, NOW.plus_secs(60)).await.unwrap();
        users::freeze(&mut tx, &ada, NOW.plus_secs(30)).await.unwrap();
        assert_eq!(users::by_id(&mut tx, &ada).await.unwrap().unwrap().frozen_until, Some(NOW.plus_secs(60)), "never shorter");
        tx.commit().await.unwrap();
    }

    async fn roles_of_groups_go_with_their_project(store, home) {
        let mut tx = store.begin_write(&["instance"]).await.unwrap();
        let ada = user(&mut tx, "ada@example.com").await;
        let acme = project(&mut tx, "acme", &ada).await;
        let row = |place: &str, role: &str, by_hand: Option<&str>| GroupRoleRow {
            place: place.into(), role: role.into(), by_hand: by_hand.map(Into::into), granted_at: NOW,
        };
        group_roles::set(&mut tx, &ada, &row(acme.id.as_str(), "editor", None)).await.unwrap();
        group_roles::set(&mut tx, &ada, &row(acme.id.as_str(), "admin", Some("owner"))).await.unwrap();
        group_roles::set(&mut tx, &ada, &row(group_roles::INSTANCE, group_roles::SUPERUSER, None)).await.unwrap();
        let found = group_roles::get(&mut tx, &ada, acme.id.as_str()).await.unwrap().unwrap();
        assert_eq!((found.role.as_str(), found.by_hand.as_deref()), ("admin", Some("owner")));
        projects::require_second_factor(&mut tx, &acme.id, true).await.unwrap();
        assert!(projects::by_id(&mut tx, &acme.id).await.unwrap().unwrap().require_second_factor);
        projects::delete(&mut tx, &acme.id).await.unwrap();
        let left = group_roles::list(&mut tx, &ada).await.unwrap();
        assert_eq!(left.iter().map(|row| row.place.as_str()).collect::<Vec<_>>(), [group_roles::INSTANCE]);
        assert!(group_roles::remove(&mut tx, &ada, group_roles::INSTANCE).await.unwrap());
        assert!(!group_roles::remove(&mut tx, &ada, group_roles::INSTANCE).await.unwrap());
        tx.commit().await.unwrap();
    }
}
