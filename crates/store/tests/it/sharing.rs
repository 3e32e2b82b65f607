//! Credentials, their values, shares and grants, and the one query of a call.

use latchstring_model::entity::{Principal, Role, Status};
use latchstring_model::{Pin, PinPurpose, address::Address};
use latchstring_store::credentials::{self, CredentialFilter};
use latchstring_store::shares::{self, NameKind, NewGrant};
use latchstring_store::tokens::{self, TokenKey};
use latchstring_store::values::{self, Standing};
use latchstring_store::{Paging, StoreError, Taken, environments, members, projects, resolve, users};
use sqlx::Connection;

use crate::support::both;

both! {
    async fn a_credential_is_its_owners(store, home) {
        let mut tx = store.begin_write(&["instance"]).await.unwrap();
        let (ada, bob) = (user(&mut tx, "ada@example.com").await, user(&mut tx, "bob@example.com").await);
        let mut row = credential_row(Principal::User(ada.clone()), "Sales 100%");
        row.note = Some("n".into());
        row.expires_on = Some(NOW.plus_secs(5));
        credentials::create(&mut tx, &row).await.unwrap();
        let owner = Principal::User(ada);
        let stranger = Principal::User(bob.clone());
        assert_eq!(credentials::of_owner(&mut tx, &owner, &row.id).await.unwrap().as_ref(), Some(&row));
        assert_eq!(credentials::of_owner(&mut tx, &stranger, &row.id).await.unwrap(), None);
        assert!(!credentials::purge(&mut tx, &stranger, &row.id).await.unwrap());

        row.name = "Renamed".into();
        row.disabled = true;
        row.note = None;
        assert_eq!(credentials::update(&mut tx, &row, NOW.plus_secs(1)).await.unwrap(), 2);
        assert!(matches!(credentials::update(&mut tx, &row, NOW).await, Err(StoreError::Moved)), "version 1 is gone");
        row.version = 2;
        row.updated_at = NOW.plus_secs(1);
        assert_eq!(credentials::of_owner(&mut tx, &owner, &row.id).await.unwrap().as_ref(), Some(&row));

        assert_eq!(credentials::change_owner(&mut tx, &row, &stranger, NOW).await.unwrap(), 3);
        assert_eq!(credentials::of_owner(&mut tx, &owner, &row.id).await.unwrap(), None);
        assert!(matches!(credentials::update(&mut tx, &row, NOW).await, Err(StoreError::Moved)), "no longer hers");
        assert!(credentials::of_owner(&mut tx, &stranger, &row.id).await.unwrap().is_some());
        tx.commit().await.unwrap();
    }

    async fn lists_are_narrowed_and_paged(store, home) {
        let mut tx = store.begin_write(&["instance"]).await.unwrap();
        let ada = user(&mut tx, "ada@example.com").await;
        let acme = project(&mut tx, "acme", &ada).await;
        for number in 0..7 {
            let mut row = credential_row(Principal::User(ada.clone()), &format!("Kredit Ä{number}"));
            row.connector = if number % 2 == 0 { "builtin/http".into() } else { "builtin/slack".into() };
            row.disabled = number == 6;
            credentials::create(&mut tx, &row).await.unwrap();
            let mut set = values_row("production", 1);
            set.standing.status = if number == 0 { Status::Failing } else { Status::Verified };
            values::put(&mut tx, &row, &set, None, &[]).await.unwrap();
            if number < 5 {
                share(&mut tx, &row, &acme.id, &format!("c{number}")).await;
            }
        }
        let owner = Principal::User(ada);
        let all = CredentialFilter::default();
        let page = credentials::list_of_owner(&mut tx, &owner, &all, &Paging::new(None, Some(4))).await.unwrap();
        assert_eq!(page.items.len(), 4);
        let rest = credentials::list_of_owner(&mut tx, &owner, &all, &Paging::new(page.next_cursor, Some(4))).await.unwrap();
        assert_eq!((rest.items.len(), rest.next_cursor), (3, None));
        for (filter, count, shared) in [
            (CredentialFilter { connector: Some("builtin/slack".into()), ..all.clone() }, 3, 2),
            (CredentialFilter { q: Some("kredit ä3".into()), ..all.clone() }, 1, 1),
            (CredentialFilter { q: Some("%".into()), ..all.clone() }, 0, 0),
            (CredentialFilter { status: Some(Status::Failing), ..all.clone() }, 1, 1),
            (CredentialFilter { status: Some(Status::Disabled), ..all.clone() }, 1, 0),
            (CredentialFilter { status: Some(Status::Verified), connector: Some("builtin/http".into()), ..all.clone() }, 2, 2),
            (all.clone(), 7, 5),
            // What is disabled is that and nothing else, as it is shown.
        ] {
            let mine = credentials::list_of_owner(&mut tx, &owner, &filter, &Paging::first()).await.unwrap();
            assert_eq!(mine.items.len(), count, "{filter:?}");
            let ours = credentials::list_of_project(&mut tx, &acme.id, &filter, &Paging::first()).await.unwrap();
            assert_eq!(ours.items.len(), shared, "{filter:?}");
        }
        let foreign = credentials::list_of_project(&mut tx, &project_id(), &all, &Paging::first()).await.unwrap();
        assert!(foreign.items.is_empty());
        assert_eq!(credentials::count_of_connector(&mut tx, "builtin/slack").await.unwrap(), 3);
        let counts = [("builtin/http".to_owned(), 3), ("builtin/slack".to_owned(), 2)];
        assert!(credentials::count_per_connector(&mut tx, &acme.id).await.unwrap().into_iter().eq(counts));
        assert_eq!(credentials::shared_of_owner(&mut tx, &owner, &acme.id).await.unwrap().len(), 5);
        assert!(credentials::shared_of_owner(&mut tx, &Principal::User(user_id()), &acme.id).await.unwrap().is_empty());
    }

    async fn what_a_project_has_is_counted_as_its_list_shows_it(store, home) {
        let mut tx = store.begin_write(&["instance"]).await.unwrap();
        let ada = user(&mut tx, "ada@example.com").await;
        let acme = project(&mut tx, "acme", &ada).await;
        let owners = [Principal::User(ada.clone()), Principal::Project(acme.id.clone())];
        for (number, (owner, shared)) in owners.iter().flat_map(|owner| [(owner, true), (owner, false)]).enumerate() {
            let mut row = credential_row(owner.clone(), &format!("c{number}"));
            row.connector = if number == 0 { "builtin/slack".into() } else { "builtin/http".into() };
            credentials::create(&mut tx, &row).await.unwrap();
            if shared {
                share(&mut tx, &row, &acme.id, &format!("c{number}")).await;
            }
        }
        let listed = credentials::list_of_project(&mut tx, &acme.id, &CredentialFilter::default(), &Paging::first()).await.unwrap();
        assert_eq!(listed.items.len(), 3);
        let counts = [("builtin/http".to_owned(), 2), ("builtin/slack".to_owned(), 1)];
        assert!(credentials::count_per_connector(&mut tx, &acme.id).await.unwrap().into_iter().eq(counts.clone()));
        tx.commit().await.unwrap();

        // A version that is older than the column still works beside this one.
        let mut connection = sqlx::AnyConnection::connect(&home.url).await.unwrap();
        let older = "UPDATE shares SET connector = '' WHERE slug = 'c0'";
        assert_eq!(sqlx::raw_sql(older).execute(&mut connection).await.unwrap().rows_affected(), 1);
        let mut tx = store.read().await.unwrap();
        assert!(credentials::count_per_connector(&mut tx, &acme.id).await.unwrap().into_iter().eq(counts));
    }

    async fn values_have_versions_that_are_never_used_twice(store, home) {
        let mut tx = store.begin_write(&["instance"]).await.unwrap();
        let ada = user(&mut tx, "ada@example.com").await;
        let row = credential(&mut tx, &ada, "c").await;
        let at = Address::parse("https://api.example.com/v1").unwrap();
        let mut set = values_row("production", values::next_version(&mut tx, &row, "production").await.unwrap());
        set.pins = vec![Pin::new(PinPurpose::Call, at.origin, &at.path)];
        set.standing.scopes = Some(vec!["read".into()]);
        values::put(&mut tx, &row, &set, None, &["token".into()]).await.unwrap();
        assert_eq!(values::one(&mut tx, &row, "production").await.unwrap().as_ref(), Some(&set));
        assert_eq!(values::one(&mut tx, &row, "staging").await.unwrap(), None);
        tx.commit().await.unwrap();

        let mut tx = store.begin_write(&[row.id.as_str()]).await.unwrap();
        let twice = values::put(&mut tx, &row, &values_row("production", 2), None, &[]).await;
        assert!(matches!(twice, Err(StoreError::Moved)), "{twice:?}");
        drop(tx);

        let mut tx = store.begin_write(&[row.id.as_str()]).await.unwrap();
        let second = values_row("production", values::next_version(&mut tx, &row, "production").await.unwrap());
        assert_eq!(second.version, 2);
        values::put(&mut tx, &row, &second, Some(1), &["token".into()]).await.unwrap();
        assert!(matches!(values::put(&mut tx, &row, &values_row("production", 3), Some(1), &[]).await, Err(StoreError::Moved)));
        let failing = Standing { status: Status::Failing, check_error: Some("401".into()), ..second.standing.clone() };
        assert!(!values::set_standing(&mut tx, &row, "production", 1, &failing).await.unwrap(), "of other values");
        assert!(values::set_standing(&mut tx, &row, "production", 2, &failing).await.unwrap());
        assert!(values::set_pins(&mut tx, &row, "production", 2, &set.pins).await.unwrap());
        let now = values::one(&mut tx, &row, "production").await.unwrap().unwrap();
        assert_eq!((now.standing, now.pins, now.version), (failing, set.pins.clone(), 2));

        let versions = values::versions(&mut tx, &row).await.unwrap();
        assert_eq!(versions.iter().map(|v| v.version).collect::<Vec<_>>(), [2, 1]);
        assert_eq!(versions[1].sealed, Some((set.sealed, set.data_key)));
        assert_eq!(values::wipe_versions(&mut tx, &row, "production", 2).await.unwrap(), 1);
        assert_eq!(values::versions(&mut tx, &row).await.unwrap()[1].sealed, None);
        assert!(values::remove(&mut tx, &row, "production").await.unwrap());
        assert!(values::versions(&mut tx, &row).await.unwrap().iter().all(|v| v.sealed.is_none()));
        assert_eq!(values::next_version(&mut tx, &row, "production").await.unwrap(), 3);
        assert!(values::list(&mut tx, &row).await.unwrap().is_empty());
        tx.commit().await.unwrap();
    }

    async fn shares_are_unique_in_three_ways(store, home) {
        let mut tx = store.begin_write(&["instance"]).await.unwrap();
        let ada = user(&mut tx, "ada@example.com").await;
        let (acme, other) = (project(&mut tx, "acme", &ada).await, project(&mut tx, "other", &ada).await);
        let (one, two) = (credential(&mut tx, &ada, "one").await, credential(&mut tx, &ada, "two").await);
        let mut first = share(&mut tx, &one, &acme.id, "api").await;
        first.external_id = Some("x-1".into());
        shares::update(&mut tx, &first).await.unwrap();
        share(&mut tx, &one, &other.id, "api").await;
        tx.commit().await.unwrap();
        let attempt = |credential: &credentials::CredentialRow, slug: &str, external_id: Option<&str>| {
            let row = shares::ShareRow {
                id: share_id(), credential_id: credential.id.clone(), project_id: acme.id.clone(), slug: slug.into(),
                external_id: external_id.map(str::to_owned), suspended: false, created_by: "x".into(), created_at: NOW,
            };
            let store = store.clone();
            async move {
                let mut tx = store.begin_write(&["instance"]).await.unwrap();
                shares::create(&mut tx, &row).await
            }
        };
        assert!(attempt(&two, "api", None).await.unwrap_err().is_taken(Taken::ShareSlug));
        assert!(attempt(&two, "b", Some("x-1")).await.unwrap_err().is_taken(Taken::ExternalId));
        assert!(attempt(&one, "b", None).await.unwrap_err().is_taken(Taken::Share));
        attempt(&two, "b", Some("x-2")).await.unwrap();

        let mut tx = store.begin_write(&["instance"]).await.unwrap();
        assert_eq!(shares::by_external_id(&mut tx, &acme.id, "x-1").await.unwrap().as_ref(), Some(&first));
        assert_eq!(shares::by_external_id(&mut tx, &other.id, "x-1").await.unwrap(), None);
        let mut stolen = first.clone();
        stolen.project_id = other.id.clone();
        assert!(matches!(shares::update(&mut tx, &stolen).await, Err(StoreError::Moved)));
        assert_eq!(shares::suspend_all(&mut tx, &one).await.unwrap(), 2);
        assert!(shares::in_project(&mut tx, &acme.id, "api").await.unwrap().unwrap().suspended);

        shares::claim(&mut tx, &acme.id, NameKind::Slug, "api", &one.id).await.unwrap();
        assert_eq!(shares::claimed_by(&mut tx, &acme.id, NameKind::Slug, "api").await.unwrap(), Some(one.id.clone()));
        assert_eq!(shares::claimed_by(&mut tx, &acme.id, NameKind::ExternalId, "api").await.unwrap(), None);
        assert_eq!(shares::claimed_by(&mut tx, &other.id, NameKind::Slug, "api").await.unwrap(), None);
        assert!(shares::remove(&mut tx, &first).await.unwrap());
        assert!(shares::claimed_by(&mut tx, &acme.id, NameKind::Slug, "api").await.unwrap().is_some(), "it stays claimed");
    }

    async fn a_route_needs_share_grant_and_a_living_owner(store, home) {
        let mut tx = store.begin_write(&["instance"]).await.unwrap();
        let (ada, bob) = (user(&mut tx, "ada@example.com").await, user(&mut tx, "bob@example.com").await);
        let (acme, other) = (project(&mut tx, "acme", &bob).await, project(&mut tx, "other", &bob).await);
        members::set(&mut tx, &acme.id, &ada, Role::Editor, NOW).await.unwrap();
        let row = credential(&mut tx, &ada, "c").await;
        let set = values_row("live", 1);
        values::put(&mut tx, &row, &set, None, &[]).await.unwrap();
        let shared = share(&mut tx, &row, &acme.id, "api").await;
        tx.raise(&[acme.id.as_str(), row.id.as_str()]).await.unwrap();
        tx.commit().await.unwrap();

        let mut tx = store.begin_write(&[acme.id.as_str()]).await.unwrap();
        assert_eq!(resolve::route(&mut tx, &other.id, "production", "api").await.unwrap(), None, "foreign");
        assert_eq!(resolve::route(&mut tx, &other.id, "production", row.id.as_str()).await.unwrap(), None, "foreign by id");
        assert_eq!(resolve::route(&mut tx, &acme.id, "production", "nothing").await.unwrap(), None, "unknown");
        let route = resolve::route(&mut tx, &acme.id, "nowhere", "api").await.unwrap().unwrap();
        assert_eq!((route.environment_id, route.values), (None, None));
        let route = resolve::route(&mut tx, &acme.id, "production", "api").await.unwrap().unwrap();
        assert_eq!((route.environment_id.as_ref(), &route.credential_environment), (Some(&acme.production), &None), "no grant");
        assert_eq!(route.epochs, resolve::RouteEpochs { project: 2, credential: 1, owner: 0 });

        let grant = |environment: &latchstring_model::id::EnvironmentId, of: &str| NewGrant {
            environment_id: environment.clone(), credential_environment: of.into(),
        };
        shares::replace_grants(&mut tx, &shared, &[grant(&acme.production, "live")], "ada", NOW).await.unwrap();
        let foreign = shares::replace_grants(&mut tx, &shared, &[grant(&other.production, "live")], "ada", NOW).await;
        assert!(matches!(foreign, Err(StoreError::ReferenceGone)), "{foreign:?}");
        shares::replace_grants(&mut tx, &shared, &[grant(&acme.production, "live")], "bob", NOW).await.unwrap();
        shares::replace_grants(&mut tx, &shared, &[grant(&acme.production, "live"), grant(&acme.staging, "none")], "eve", NOW).await.unwrap();
        let grants = &shares::list_of_credential(&mut tx, &row).await.unwrap()[0].grants;
        assert_eq!(grants.iter().map(|g| (g.environment.as_str(), g.granted_by.as_str())).collect::<Vec<_>>(),
            [("staging", "eve"), ("production", "bob")], "an unchanged grant keeps its giver");
        for name in ["api", row.id.as_str()] {
            let route = resolve::route(&mut tx, &acme.id, "production", name).await.unwrap().unwrap();
            assert_eq!(route.values.as_ref(), Some(&set));
            assert_eq!((&route.credential, &route.share), (&row, &shared));
            assert!(route.owner_living);
        }
        let dangling = resolve::route(&mut tx, &acme.id, "staging", "api").await.unwrap().unwrap();
        assert_eq!((dangling.credential_environment.as_deref(), dangling.values), (Some("none"), None));

        let mut fields = person("ada@example.com");
        fields.active = false;
        users::update(&mut tx, &ada, 1, &fields, NOW).await.unwrap();
        assert!(!resolve::route(&mut tx, &acme.id, "production", "api").await.unwrap().unwrap().owner_living);
        users::update(&mut tx, &ada, 2, &person("ada@example.com"), NOW).await.unwrap();
        members::remove(&mut tx, &acme.id, &ada).await.unwrap();
        assert!(!resolve::route(&mut tx, &acme.id, "production", "api").await.unwrap().unwrap().owner_living);

        let own = credential_row(Principal::Project(acme.id.clone()), "own");
        credentials::create(&mut tx, &own).await.unwrap();
        share(&mut tx, &own, &acme.id, "own").await;
        assert!(resolve::route(&mut tx, &acme.id, "production", "own").await.unwrap().unwrap().owner_living);

        environments::replace(&mut tx, &acme.id, &["staging".into()], environment_id, NOW).await.unwrap();
        environments::replace(&mut tx, &acme.id, &["production".into(), "staging".into()], environment_id, NOW).await.unwrap();
        let again = resolve::route(&mut tx, &acme.id, "production", "api").await.unwrap().unwrap();
        assert_eq!(again.credential_environment, None, "an environment made again inherits no grant");
        tx.commit().await.unwrap();
    }

    async fn what_is_purged_leaves_nothing(store, home) {
        let mut tx = store.begin_write(&["instance"]).await.unwrap();
        let ada = user(&mut tx, "ada@example.com").await;
        let acme = project(&mut tx, "acme", &ada).await;
        let mut row = credential(&mut tx, &ada, "c").await;
        values::put(&mut tx, &row, &values_row("live", 1), None, &[]).await.unwrap();
        let shared = share(&mut tx, &row, &acme.id, "api").await;
        let grants = [NewGrant { environment_id: acme.production.clone(), credential_environment: "live".into() }];
        shares::replace_grants(&mut tx, &shared, &grants, "ada", NOW).await.unwrap();
        let key = TokenKey { id: "t".into(), credential_id: row.id.clone(), environment: "live".into(), values_version: 1, name: "main".into() };
        tokens::ensure(&mut tx, &key).await.unwrap();

        assert!(credentials::due_for_deletion(&mut tx, NOW.plus_secs(99), 10).await.unwrap().is_empty());
        row.deletes_at = Some(NOW.plus_secs(7));
        row.version = credentials::update(&mut tx, &row, NOW).await.unwrap();
        assert!(credentials::due_for_deletion(&mut tx, NOW.plus_secs(6), 10).await.unwrap().is_empty());
        assert_eq!(credentials::due_for_deletion(&mut tx, NOW.plus_secs(7), 10).await.unwrap(), [credentials::for_upkeep(&mut tx, &row.id).await.unwrap().unwrap()]);

        assert!(credentials::purge(&mut tx, &row.owner, &row.id).await.unwrap());
        assert_eq!(credentials::for_upkeep(&mut tx, &row.id).await.unwrap(), None);
        assert_eq!(shares::in_project(&mut tx, &acme.id, "api").await.unwrap(), None);
        assert!(tokens::by_id(&mut tx, "t").await.unwrap().is_none());

        let own = credential_row(Principal::Project(acme.id.clone()), "own");
        credentials::create(&mut tx, &own).await.unwrap();
        assert!(matches!(projects::delete(&mut tx, &acme.id).await, Err(StoreError::StillUsed)));
        credentials::purge(&mut tx, &own.owner, &own.id).await.unwrap();
        assert!(projects::delete(&mut tx, &acme.id).await.unwrap());
        assert_eq!(projects::by_id(&mut tx, &acme.id).await.unwrap(), None);
        tx.commit().await.unwrap();
    }
}
