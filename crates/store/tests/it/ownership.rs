//! Offers, withheld fields, keychains, people's notices, what is looked at again and again, and how lists are read.

use latchstring_model::entity::{Principal, Status};
use latchstring_model::id::{KeychainId, NoticeId, TransferId};
use latchstring_store::checks;
use latchstring_store::credentials;
use latchstring_store::inbox;
use latchstring_store::keychains::{self, KeychainRow};
use latchstring_store::notices::{self, NoticeRow};
use latchstring_store::shares;
use latchstring_store::transfers::{self, Outcome, TransferRow};
use latchstring_store::users;
use latchstring_store::values;
use latchstring_store::{Dialect, Paging, StoreError, Taken, all_statements, heads};
use serde_json::json;
use sqlx::{Connection, Row};

use crate::support::both;

const DAY: i64 = 24 * 60 * 60;

fn notice() -> NoticeRow {
    let id = NoticeId::new(crate::support::NOW, &crate::support::Counter);
    NoticeRow {
        sameness: id.to_string(),
        id,
        event: "credential.given".into(),
        credential_id: None,
        environment: None,
        project_id: None,
        data: json!({}),
        at: crate::support::NOW,
        recipients: None,
    }
}

both! {
    async fn an_offer_ends_once(store, home) {
        let mut tx = store.begin_write(&["instance"]).await.unwrap();
        let (ada, bob) = (user(&mut tx, "ada@example.com").await, user(&mut tx, "bob@example.com").await);
        let eve = user(&mut tx, "eve@example.com").await;
        let row = credential(&mut tx, &ada, "Sales").await;
        let offer = |hour: i64| TransferRow {
            id: TransferId::new(NOW, &Counter),
            credential_id: row.id.clone(),
            from: ada.clone(),
            to: bob.clone(),
            ground: vec![1, 2, 3],
            created_at: NOW,
            expires_at: NOW.plus_secs(hour * 3_600),
            ended: None,
        };
        let (first, second) = (offer(1), offer(2));
        transfers::create(&mut tx, &first, b"hash-1").await.unwrap();
        assert_eq!(transfers::by_token(&mut tx, b"hash-1", &bob).await.unwrap().as_ref(), Some(&first));
        assert_eq!(transfers::by_token(&mut tx, b"hash-1", &eve).await.unwrap(), None, "it is nobody else's");
        assert_eq!(transfers::by_token(&mut tx, b"hash-1", &ada).await.unwrap(), None);
        assert_eq!(transfers::by_token(&mut tx, b"hash-2", &bob).await.unwrap(), None);
        let all = Paging::new(None, None);
        for (who, count) in [(&ada, 1), (&bob, 1), (&eve, 0)] {
            let open = transfers::open_of_person(&mut tx, who, NOW, &all).await.unwrap();
            assert_eq!(open.items.len(), count, "{who}");
        }
        let open = transfers::open_of_person(&mut tx, &bob, NOW, &all).await.unwrap().items.remove(0);
        assert_eq!((open.credential_name.as_str(), open.from_email.as_str()), ("Sales", "ada@example.com"));

        assert_eq!(transfers::end_of_credential(&mut tx, &row.id, Outcome::Overtaken, NOW).await.unwrap(), 1);
        assert!(!transfers::end(&mut tx, &first.id, Outcome::Accepted, NOW).await.unwrap(), "it has ended");
        let ended = transfers::by_token(&mut tx, b"hash-1", &bob).await.unwrap().unwrap();
        assert_eq!(ended.ended, Some(Outcome::Overtaken));
        transfers::create(&mut tx, &second, b"hash-2").await.unwrap();
        assert_eq!(transfers::open_of_credential(&mut tx, &row.id, NOW).await.unwrap().as_ref(), Some(&second));
        assert_eq!(transfers::open_of_credential(&mut tx, &row.id, second.expires_at).await.unwrap(), None);
        assert!(!transfers::end(&mut tx, &second.id, Outcome::Accepted, second.expires_at).await.unwrap(), "too late");
        assert!(transfers::end(&mut tx, &second.id, Outcome::Accepted, NOW).await.unwrap());
        assert!(!transfers::end(&mut tx, &second.id, Outcome::Accepted, NOW).await.unwrap(), "once");
        assert_eq!(transfers::purge(&mut tx, second.expires_at).await.unwrap(), 1, "the older one");
        tx.commit().await.unwrap();
    }

    async fn what_is_withheld_stands_in_the_version_too(store, home) {
        let mut tx = store.begin_write(&["instance"]).await.unwrap();
        let ada = user(&mut tx, "ada@example.com").await;
        let row = credential(&mut tx, &ada, "Sales").await;
        values::put(&mut tx, &row, &values_row("production", 1), None, &[]).await.unwrap();
        values::put(&mut tx, &row, &values_row("production", 2), Some(1), &[]).await.unwrap();
        values::withhold(&mut tx, &row, "production", 2, &["token".into(), "user".into()]).await.unwrap();
        let read = values::one(&mut tx, &row, "production").await.unwrap().unwrap();
        assert_eq!(read.withheld, ["token", "user"]);
        let versions = values::versions(&mut tx, &row).await.unwrap();
        let of = |number: i64| versions.iter().find(|version| version.version == number).unwrap().withheld.clone();
        assert_eq!((of(1).len(), of(2)), (0, vec!["token".to_owned(), "user".to_owned()]));
        let heads = heads::of_all(&mut tx, &[&row], false).await.unwrap();
        assert_eq!(heads[&row.id].values[0].withheld, ["token", "user"]);
        tx.commit().await.unwrap();
    }

    async fn keychains_have_names_of_their_own(store, home) {
        let mut tx = store.begin_write(&["instance"]).await.unwrap();
        let ada = user(&mut tx, "ada@example.com").await;
        let (acme, beta) = (project(&mut tx, "acme", &ada).await, project(&mut tx, "beta", &ada).await);
        let fallback = credential(&mut tx, &ada, "House").await;
        let made = |project: &Project, slug: &str| KeychainRow {
            id: KeychainId::new(NOW, &Counter),
            project_id: project.id.clone(),
            slug: slug.into(),
            name: slug.into(),
            connector: "builtin/http".into(),
            chosen_by: "{{ input.shop }}".into(),
            default: Some(fallback.id.clone()),
            version: 1,
            created_by: "usr_x".into(),
            created_at: NOW,
            updated_at: NOW,
        };
        let mut row = made(&acme, "shops");
        keychains::create(&mut tx, &row).await.unwrap();
        let betas = made(&beta, "shops");
        keychains::create(&mut tx, &betas).await.unwrap();
        for named in ["shops", row.id.to_string().as_str()] {
            assert_eq!(keychains::in_project(&mut tx, &acme.id, named).await.unwrap().as_ref(), Some(&row));
        }
        assert_eq!(keychains::in_project(&mut tx, &beta.id, &row.id.to_string()).await.unwrap(), None, "another project's");
        assert_eq!((keychains::count(&mut tx, &acme.id).await.unwrap(), keychains::count_of_connector(&mut tx, "builtin/http").await.unwrap()), (1, 2));
        // A default counts where it is shared.
        assert_eq!(keychains::defaults_to(&mut tx, &fallback.id, None, 10).await.unwrap(), []);
        share(&mut tx, &fallback, &acme.id, "house").await;
        assert_eq!(keychains::defaults_to(&mut tx, &fallback.id, None, 10).await.unwrap(), [(row.clone(), "acme".into())]);
        // Of one project, however many others have.
        share(&mut tx, &fallback, &beta.id, "house").await;
        for (asked, expected) in [(&acme, (row.clone(), "acme".into())), (&beta, (betas.clone(), "beta".into()))] {
            assert_eq!(keychains::defaults_to(&mut tx, &fallback.id, Some(&asked.id), 1).await.unwrap(), [expected]);
        }
        assert_eq!(keychains::defaults_to(&mut tx, &fallback.id, None, 10).await.unwrap().len(), 2);

        row.default = None;
        row.chosen_by = "{{ input.site }}".into();
        assert_eq!(keychains::update(&mut tx, &row, NOW.plus_secs(1)).await.unwrap(), 2);
        assert!(matches!(keychains::update(&mut tx, &row, NOW).await, Err(StoreError::Moved)), "version 1 is gone");
        (row.version, row.updated_at) = (2, NOW.plus_secs(1));
        assert_eq!(keychains::in_project(&mut tx, &acme.id, "shops").await.unwrap().as_ref(), Some(&row));
        shares::claim_for_keychain(&mut tx, &acme.id, "shops", &row.id).await.unwrap();
        assert_eq!(shares::claimed_by_keychain(&mut tx, &acme.id, "shops").await.unwrap().as_ref(), Some(&row.id));
        assert_eq!(shares::claimed_by_keychain(&mut tx, &beta.id, "shops").await.unwrap(), None);
        tx.commit().await.unwrap();

        let mut tx = store.begin_write(&["instance"]).await.unwrap();
        let taken = keychains::create(&mut tx, &made(&acme, "shops")).await;
        assert!(matches!(taken, Err(StoreError::Taken(Taken::KeychainSlug))), "{taken:?}");
        drop(tx);
        let mut tx = store.begin_write(&["instance"]).await.unwrap();
        assert!(keychains::delete(&mut tx, &row).await.unwrap() && !keychains::delete(&mut tx, &row).await.unwrap());
        assert_eq!(keychains::list(&mut tx, &acme.id, &Paging::new(None, None)).await.unwrap().items, []);
        tx.commit().await.unwrap();
    }

    async fn notices_are_each_persons(store, home) {
        let mut tx = store.begin_write(&["instance"]).await.unwrap();
        let (ada, bob) = (user(&mut tx, "ada@example.com").await, user(&mut tx, "bob@example.com").await);
        let rows = [notice(), notice(), notice()];
        for row in &rows {
            assert!(notices::add(&mut tx, row).await.unwrap());
            inbox::add(&mut tx, &ada, &row.id, NOW).await.unwrap();
            inbox::add(&mut tx, &ada, &row.id, NOW).await.unwrap();
        }
        inbox::add(&mut tx, &bob, &rows[0].id, NOW).await.unwrap();
        assert_eq!((inbox::unread(&mut tx, &ada).await.unwrap(), inbox::unread(&mut tx, &bob).await.unwrap()), (3, 1));
        assert!(inbox::mark_read(&mut tx, &ada, &rows[0].id, NOW).await.unwrap());
        assert!(inbox::mark_read(&mut tx, &ada, &rows[0].id, NOW.plus_secs(9)).await.unwrap(), "read twice is read");
        assert!(!inbox::mark_read(&mut tx, &bob, &rows[1].id, NOW).await.unwrap(), "it is not his");
        assert_eq!((inbox::unread(&mut tx, &ada).await.unwrap(), inbox::unread(&mut tx, &bob).await.unwrap()), (2, 1));
        // Newest first, in pages.
        let page = inbox::list(&mut tx, &ada, false, &Paging::new(None, Some(2))).await.unwrap();
        let ids = |items: &[inbox::InboxItem]| items.iter().map(|item| item.notice.id.clone()).collect::<Vec<_>>();
        assert_eq!(ids(&page.items), [rows[2].id.clone(), rows[1].id.clone()]);
        let page = inbox::list(&mut tx, &ada, false, &Paging::new(page.next_cursor, Some(2))).await.unwrap();
        assert_eq!((ids(&page.items), page.items[0].read_at, page.next_cursor), (vec![rows[0].id.clone()], Some(NOW), None));
        assert_eq!(inbox::list(&mut tx, &ada, true, &Paging::new(None, None)).await.unwrap().items.len(), 2);
        assert_eq!(inbox::mark_all_read(&mut tx, &ada, NOW).await.unwrap(), 2);
        assert_eq!((inbox::purge(&mut tx, NOW).await.unwrap(), inbox::purge(&mut tx, NOW.plus_secs(1)).await.unwrap()), (0, 4));
        tx.commit().await.unwrap();
    }

    async fn a_check_is_one_servers(store, home) {
        let mut tx = store.begin_write(&["instance"]).await.unwrap();
        let (ada, gone) = (user(&mut tx, "ada@example.com").await, user(&mut tx, "gone@example.com").await);
        let mut rows = Vec::new();
        for (owner, name) in [(&ada, "due"), (&ada, "later"), (&ada, "disabled"), (&ada, "unauthorized"), (&gone, "orphan")] {
            let mut row = credential_row(Principal::User(owner.clone()), name);
            row.disabled = name == "disabled";
            credentials::create(&mut tx, &row).await.unwrap();
            let mut set = values_row("production", 1);
            if name == "unauthorized" {
                set.standing.status = Status::NeedsAuthorization;
            }
            values::put(&mut tx, &row, &set, None, &[]).await.unwrap();
            rows.push(row);
        }
        let inactive = users::UserFields { active: false, ..person("gone@example.com") };
        users::update(&mut tx, &gone, 1, &inactive, NOW).await.unwrap();
        let unplanned = checks::unplanned(&mut tx, 10).await.unwrap();
        assert_eq!(unplanned.len(), 5);
        for row in &rows {
            let at = if row.name == "later" { NOW.plus_secs(60) } else { NOW };
            assert!(checks::plan(&mut tx, &row.id, "production", at).await.unwrap());
            assert!(!checks::plan(&mut tx, &row.id, "production", NOW).await.unwrap(), "it has its time");
        }
        assert_eq!(checks::unplanned(&mut tx, 10).await.unwrap(), []);
        let due = checks::due(&mut tx, NOW, 10).await.unwrap();
        assert_eq!(due.iter().map(|due| &due.credential_id).collect::<Vec<_>>(), [&rows[0].id], "one can be checked now");
        assert_eq!(checks::due(&mut tx, NOW.plus_secs(60), 10).await.unwrap().len(), 2);
        assert!(checks::take(&mut tx, &due[0], NOW.plus_secs(DAY)).await.unwrap());
        assert!(!checks::take(&mut tx, &due[0], NOW.plus_secs(DAY)).await.unwrap(), "another server has it");
        assert!(!checks::put_off(&mut tx, &rows[0].id, "production", 2, NOW).await.unwrap(), "those are other values");
        assert!(checks::put_off(&mut tx, &rows[0].id, "production", 1, NOW).await.unwrap());
        assert_eq!(checks::due(&mut tx, NOW, 10).await.unwrap().len(), 1);
        tx.commit().await.unwrap();
    }

    async fn what_ends_is_found(store, home) {
        let mut tx = store.begin_write(&["instance"]).await.unwrap();
        let ada = user(&mut tx, "ada@example.com").await;
        let mut rows = Vec::new();
        for days in [2, 5, 40] {
            let mut row = credential_row(Principal::User(ada.clone()), "ends");
            row.expires_on = Some(NOW.plus_secs(days * DAY));
            credentials::create(&mut tx, &row).await.unwrap();
            let mut set = values_row("production", 1);
            set.certificate_ends_at = if days == 40 { None } else { Some(NOW.plus_secs(days * DAY)) };
            values::put(&mut tx, &row, &set, None, &[]).await.unwrap();
            rows.push(row);
        }
        let until = NOW.plus_secs(30 * DAY);
        let found = checks::credentials_ending(&mut tx, NOW, until, "", 10).await.unwrap();
        assert_eq!(found.iter().map(|ending| &ending.credential.id).collect::<Vec<_>>(), [&rows[0].id, &rows[1].id]);
        let after = rows[0].id.to_string();
        assert_eq!(checks::credentials_ending(&mut tx, NOW, until, &after, 10).await.unwrap().len(), 1);
        assert_eq!(checks::certificates_ending(&mut tx, NOW, until, ("", ""), 10).await.unwrap().len(), 2);
        assert_eq!(checks::certificates_ending(&mut tx, NOW, until, (&after, "production"), 10).await.unwrap().len(), 1);
        // One that nobody has looked at.
        assert_eq!(checks::unread_certificates(&mut tx, 10).await.unwrap(), [(rows[2].id.clone(), "production".to_owned())]);
        assert!(!checks::set_certificate(&mut tx, &rows[2].id, "production", 2, None).await.unwrap(), "other values");
        assert!(checks::set_certificate(&mut tx, &rows[2].id, "production", 1, None).await.unwrap());
        assert_eq!(checks::unread_certificates(&mut tx, 10).await.unwrap(), []);
        let read = values::one(&mut tx, &rows[2], "production").await.unwrap().unwrap();
        assert_eq!(read.certificate_ends_at, Some(latchstring_model::Timestamp(0)), "looked at, and there is none");
        tx.commit().await.unwrap();
    }

    /// Every write that changes how values stand keeps the list's own note of it right.
    async fn lists_know_how_each_stands(store, home) {
        let mut tx = store.begin_write(&["instance"]).await.unwrap();
        let ada = user(&mut tx, "ada@example.com").await;
        let mut row = credential(&mut tx, &ada, "Sales").await;
        let owner = Principal::User(ada);
        macro_rules! stands {
            ($tx:ident, $expected:expr) => {{
                let mut found = Vec::new();
                for status in [Status::Verified, Status::Unverified, Status::Failing, Status::NeedsAuthorization, Status::NeedsReconnect, Status::Disabled] {
                    let filter = credentials::CredentialFilter { status: Some(status), ..Default::default() };
                    let page = credentials::list_of_owner(&mut $tx, &owner, &filter, &Paging::new(None, None)).await.unwrap();
                    if page.items.len() == 1 {
                        found.push(status);
                    }
                }
                assert_eq!(found, $expected);
            }};
        }
        stands!(tx, [] as [Status; 0]);
        values::put(&mut tx, &row, &values_row("production", 1), None, &[]).await.unwrap();
        stands!(tx, [Status::Verified]);
        let mut staging = values_row("staging", 1);
        staging.standing.status = Status::NeedsAuthorization;
        values::put(&mut tx, &row, &staging, None, &[]).await.unwrap();
        stands!(tx, [Status::Verified, Status::NeedsAuthorization]);
        let mut standing = values_row("staging", 1).standing;
        standing.status = Status::Failing;
        assert!(values::set_standing(&mut tx, &row, "production", 1, &standing).await.unwrap());
        stands!(tx, [Status::Failing, Status::NeedsAuthorization]);
        assert!(values::grant_ended(&mut tx, &row.id, "production", 1).await.unwrap());
        stands!(tx, [Status::NeedsAuthorization, Status::NeedsReconnect]);
        values::put(&mut tx, &row, &values_row("production", 2), Some(1), &[]).await.unwrap();
        assert!(values::remove(&mut tx, &row, "staging").await.unwrap());
        stands!(tx, [Status::Verified]);
        row.disabled = true;
        row.version = credentials::update(&mut tx, &row, NOW).await.unwrap();
        stands!(tx, [Status::Disabled]);
        row.disabled = false;
        row.deletes_at = Some(NOW);
        row.version = credentials::update(&mut tx, &row, NOW).await.unwrap();
        stands!(tx, [Status::Disabled]);
        row.deletes_at = None;
        credentials::update(&mut tx, &row, NOW).await.unwrap();
        stands!(tx, [Status::Verified]);
        tx.commit().await.unwrap();

        // What an older version has written is set right afterwards.
        let mut connection = sqlx::AnyConnection::connect(&home.url).await.unwrap();
        sqlx::raw_sql("UPDATE credentials SET statuses = 0").execute(&mut connection).await.unwrap();
        drop(connection);
        let mut tx = store.begin_write(&["instance"]).await.unwrap();
        stands!(tx, [] as [Status; 0]);
        assert_eq!(credentials::unstated(&mut tx, 10).await.unwrap(), [row.id.clone()]);
        credentials::state_again(&mut tx, &row.id).await.unwrap();
        stands!(tx, [Status::Verified]);
        assert_eq!(credentials::unstated(&mut tx, 10).await.unwrap(), []);
        tx.commit().await.unwrap();
    }

    /// An owner's list is filtered in the index alone; a project's begins at its shares.
    async fn lists_are_read_by_their_indexes(store, home) {
        sqlx::any::install_default_drivers();
        let mut connection = sqlx::AnyConnection::connect(&home.url).await.unwrap();
        if store.dialect() == Dialect::Postgres {
            // It plans by what there is: of empty tables every way through is as good.
            for person in 0..100 {
                // One for each: a write may take only so long.
                let mut tx = store.begin_write(&["instance"]).await.unwrap();
                let owner = user(&mut tx, &format!("{person}@example.com")).await;
                for number in 0..8 {
                    let row = credential(&mut tx, &owner, &format!("Sales {number}")).await;
                    values::put(&mut tx, &row, &values_row("production", 1), None, &[]).await.unwrap();
                }
                tx.commit().await.unwrap();
            }
            sqlx::raw_sql("ANALYZE credentials, credential_values, users").execute(&mut connection).await.unwrap();
        }
        let statements = all_statements(store.dialect());
        for (name, index) in [
            ("LIST_OF_OWNER", "credentials_listed"),
            ("LIST_OF_PROJECT", "shares_listed"),
            ("DUE", "credential_values_check"),
            ("CERTIFICATES", "credential_values_certificate"),
            ("EXPIRING", "credentials_expires_on"),
            ("DEFAULTS_TO", "keychains_default"),
        ] {
            let found: Vec<&str> = statements.iter().filter(|(of, text)| *of == name && text.contains("credential")).map(|(_, text)| *text).collect();
            let mut plans = Vec::new();
            for text in found {
                plans.push(plan(&mut connection, store.dialect(), text).await);
            }
            assert!(plans.iter().any(|plan| plan.contains(index)), "{name} does not read {index}:\n{}", plans.join("\n\n"));
        }
    }
}

/// How the database would read it, with values that it does not know.
async fn plan(connection: &mut sqlx::AnyConnection, dialect: Dialect, text: &str) -> String {
    let lines = match dialect {
        Dialect::Sqlite => {
            let explain = format!("EXPLAIN QUERY PLAN {text}");
            sqlx::raw_sql(sqlx::AssertSqlSafe(explain)).fetch_all(connection).await.unwrap()
        }
        Dialect::Postgres => {
            // Tables are small: without this, reading them whole is the best that can be done.
            let count = (1..=20).rev().find(|number| text.contains(&format!("${number}"))).unwrap();
            let nulls = vec!["NULL"; count].join(", ");
            for sql in [
                "DEALLOCATE ALL".to_owned(),
                "SET enable_seqscan = off".into(),
                "SET enable_bitmapscan = off".into(),
                "SET plan_cache_mode = force_generic_plan".into(),
                format!("PREPARE planned AS {text}"),
            ] {
                sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut *connection).await.unwrap();
            }
            let explain = format!("EXPLAIN EXECUTE planned({nulls})");
            sqlx::raw_sql(sqlx::AssertSqlSafe(explain)).fetch_all(connection).await.unwrap()
        }
    };
    let column = if dialect == Dialect::Sqlite { 3 } else { 0 };
    lines.iter().map(|line| line.get::<String, _>(column)).collect::<Vec<_>>().join("\n")
}
