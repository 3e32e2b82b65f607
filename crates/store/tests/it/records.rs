//! Connectors, secrets, data keys, the instance, idempotency and the audit trail.

use latchstring_model::Timestamp;
use latchstring_model::entity::{Fact, Outcome};
use latchstring_store::audit::{self, AuditFilter, AuditRecord, JournalRow, Shipped};
use latchstring_store::connectors::{self, ConnectorRow};
use latchstring_store::data_keys::{self, SealedPlace};
use latchstring_store::idempotency::{self, AnswerRow};
use latchstring_store::instance::{self, ServerRow};
use latchstring_store::secrets::{self, SecretKind, SecretRow};
use latchstring_store::tokens::{self, Life, NewToken, TokenKey};
use latchstring_store::{Paging, Store, StoreError, Taken, credentials, oauth_clients, users, values};

use crate::support::*;

fn secret(kind: SecretKind, name: &str, version: i64) -> SecretRow {
    SecretRow {
        kind,
        name: name.into(),
        version,
        sealed: bytes(),
        data_key: data_key_id(),
        hosts: vec!["h".into()],
        set_by: "usr_x".into(),
        set_at: NOW,
    }
}

fn record(writer: &str, number: i64, fact: Fact) -> AuditRecord {
    AuditRecord {
        writer: writer.into(),
        number,
        at: NOW.plus_secs(number),
        fact,
        call_id: None,
        project_id: None,
        credential_id: None,
        actor_type: "user".into(),
        actor_id: Some("usr_x".into()),
        actor_email: Some("ada@example.com".into()),
        action: "credential.use".into(),
        target: None,
        environment: None,
        outcome: Outcome::Ok,
        body: format!("{{\"n\":{number}}}"),
        previous: vec![0; 32],
        hash: vec![number as u8; 32],
    }
}

async fn append(store: &Store, writer: &str, make: impl Fn(i64) -> Vec<AuditRecord>) {
    let mut tx = store.begin_upkeep().await.unwrap();
    let from = audit::lock_head(&mut tx, writer, &[0; 32]).await.unwrap();
    let records = make(from.number);
    let to = JournalRow {
        number: from.number + records.len() as i64,
        shipped: from.shipped + 100,
        head: records.last().unwrap().hash.clone(),
        ..from.clone()
    };
    audit::append(&mut tx, &from, &records, &to).await.unwrap();
    tx.commit().await.unwrap();
}

both! {
    // Several to a statement, and the rest one by one.
    async fn many_records_are_stored_in_their_order(store, home) {
        let make = |from: i64| (1..=19).map(|number| record("srv_many.events", from + number, Fact::Event)).collect::<Vec<_>>();
        append(&store, "srv_many.events", make).await;
        append(&store, "srv_many.events", make).await;
        let mut reader = store.read().await.unwrap();
        let found = audit::chain_with_seq(&mut reader, "srv_many.events", 0, 100).await.unwrap();
        assert!(found.is_sorted_by_key(|(seq, _)| *seq), "the order of lists is the chain's");
        let found: Vec<AuditRecord> = found.into_iter().map(|(_, record)| record).collect();
        assert_eq!(found, (0..38).flat_map(|number| make(number).into_iter().take(1)).collect::<Vec<_>>());
    }

    async fn connectors_belong_to_a_project(store, home) {
        let mut tx = store.begin_write(&["instance"]).await.unwrap();
        let ada = user(&mut tx, "ada@example.com").await;
        let (acme, other) = (project(&mut tx, "acme", &ada).await, project(&mut tx, "other", &ada).await);
        let mut row = ConnectorRow {
            uid: connectors::uid(&acme.id, "crm"), project_id: acme.id.clone(), id: "crm".into(), name: "CRM".into(),
            source: "id: crm\n".into(), digest: "d".into(), version: 1, created_by: "usr_x".into(),
            created_at: NOW, updated_at: NOW,
        };
        connectors::create(&mut tx, &row).await.unwrap();
        assert_eq!(connectors::by_id(&mut tx, &acme.id, "crm").await.unwrap().as_ref(), Some(&row));
        assert_eq!(connectors::by_uid(&mut tx, &row.uid).await.unwrap().as_ref(), Some(&row));
        assert_eq!(connectors::by_id(&mut tx, &other.id, "crm").await.unwrap(), None);
        assert!(connectors::list(&mut tx, &other.id).await.unwrap().is_empty());
        row.digest = "d2".into();
        assert_eq!(connectors::update(&mut tx, &row, NOW).await.unwrap(), 2);
        assert!(matches!(connectors::update(&mut tx, &row, NOW).await, Err(StoreError::Moved)));
        let mut pinned = credential_row(latchstring_model::entity::Principal::User(ada), "c");
        pinned.connector = row.uid.clone();
        credentials::create(&mut tx, &pinned).await.unwrap();
        assert!(matches!(connectors::delete(&mut tx, &acme.id, "crm").await, Err(StoreError::StillUsed)));
        credentials::purge(&mut tx, &pinned.owner, &pinned.id).await.unwrap();
        assert!(!connectors::delete(&mut tx, &other.id, "crm").await.unwrap());
        tx.commit().await.unwrap();
        let mut tx = store.begin_write(&["instance"]).await.unwrap();
        assert!(connectors::create(&mut tx, &row).await.unwrap_err().is_taken(Taken::ConnectorId));
        drop(tx);
        let mut tx = store.begin_write(&["instance"]).await.unwrap();
        assert!(connectors::delete(&mut tx, &acme.id, "crm").await.unwrap());
    }

    async fn secrets_belong_to_an_environment_of_a_project(store, home) {
        let mut tx = store.begin_write(&["instance"]).await.unwrap();
        let ada = user(&mut tx, "ada@example.com").await;
        let (acme, other) = (project(&mut tx, "acme", &ada).await, project(&mut tx, "other", &ada).await);
        let row = secret(SecretKind::Secret, "KEY", 1);
        secrets::put(&mut tx, &acme.id, &acme.production, &row, None).await.unwrap();
        secrets::put(&mut tx, &acme.id, &acme.production, &secret(SecretKind::Variable, "KEY", 1), None).await.unwrap();
        assert_eq!(secrets::one(&mut tx, &acme.id, &acme.production, SecretKind::Secret, "KEY").await.unwrap(), Some(row));
        assert_eq!(secrets::one(&mut tx, &acme.id, &acme.staging, SecretKind::Secret, "KEY").await.unwrap(), None);
        assert_eq!(secrets::one(&mut tx, &other.id, &acme.production, SecretKind::Secret, "KEY").await.unwrap(), None);
        assert!(secrets::list(&mut tx, &other.id, &acme.production, SecretKind::Secret).await.unwrap().is_empty());
        let foreign = secrets::put(&mut tx, &other.id, &acme.production, &secret(SecretKind::Secret, "X", 1), None).await;
        assert!(matches!(foreign, Err(StoreError::Moved)), "{foreign:?}");
        let second = secret(SecretKind::Secret, "KEY", 2);
        assert!(matches!(secrets::put(&mut tx, &other.id, &acme.production, &second, Some(1)).await, Err(StoreError::Moved)));
        secrets::put(&mut tx, &acme.id, &acme.production, &second, Some(1)).await.unwrap();
        assert!(matches!(secrets::put(&mut tx, &acme.id, &acme.production, &second, Some(1)).await, Err(StoreError::Moved)));
        assert!(!secrets::delete(&mut tx, &other.id, &acme.production, SecretKind::Secret, "KEY").await.unwrap());
        tx.commit().await.unwrap();
        let mut tx = store.begin_write(&["instance"]).await.unwrap();
        let twice = secrets::put(&mut tx, &acme.id, &acme.production, &secret(SecretKind::Secret, "KEY", 1), None).await;
        assert!(matches!(twice, Err(StoreError::Moved)), "{twice:?}");
        drop(tx);
        let mut tx = store.begin_write(&["instance"]).await.unwrap();
        assert!(secrets::delete(&mut tx, &acme.id, &acme.production, SecretKind::Secret, "KEY").await.unwrap());
        assert_eq!(secrets::list(&mut tx, &acme.id, &acme.production, SecretKind::Variable).await.unwrap().len(), 1);
    }

    async fn data_keys_rotate_and_retire(store, home) {
        let mut tx = store.begin_write(&["instance"]).await.unwrap();
        let (old, new) = (data_key_id(), data_key_id());
        data_keys::create(&mut tx, &old, "root1", b"w1", NOW).await.unwrap();
        data_keys::create(&mut tx, &new, "root1", b"w2", NOW).await.unwrap();
        data_keys::activate(&mut tx, &old).await.unwrap();
        data_keys::activate(&mut tx, &new).await.unwrap();
        assert_eq!(data_keys::list(&mut tx).await.unwrap().iter().map(|k| k.active).collect::<Vec<_>>(), [false, true]);
        assert!(!data_keys::rewrap(&mut tx, &old, "other", "root2", b"w").await.unwrap());
        assert!(data_keys::rewrap(&mut tx, &old, "root1", "root2", b"w").await.unwrap());
        assert_eq!(data_keys::count_under_root(&mut tx, "root1").await.unwrap(), 1);

        let ada = user(&mut tx, "ada@example.com").await;
        let acme = project(&mut tx, "acme", &ada).await;
        let row = credential(&mut tx, &ada, "c").await;
        let mut set = values_row("live", 1);
        set.data_key = old.clone();
        values::put(&mut tx, &row, &set, None, &[]).await.unwrap();
        let mut kept = secret(SecretKind::Variable, "V", 1);
        kept.data_key = old.clone();
        secrets::put(&mut tx, &acme.id, &acme.production, &kept, None).await.unwrap();
        let key = TokenKey { id: "t".into(), credential_id: row.id.clone(), environment: "live".into(), values_version: 1, name: "main".into() };
        tokens::ensure(&mut tx, &key).await.unwrap();
        let life = Life { obtained_at: NOW, fresh_until: None, expires_at: None };
        let token = NewToken { sealed: bytes(), data_key: old.clone(), life, grant_expires_at: None };
        assert!(tokens::save(&mut tx, "t", 0, &token).await.unwrap());
        let mut client = crate::oauth_clients::client_row(&ada, "CRM");
        client.sealed = Some((bytes(), old.clone()));
        client.sealed_version = 3;
        oauth_clients::create(&mut tx, &client).await.unwrap();

        assert_eq!(data_keys::uses(&mut tx, &old).await.unwrap(), 5);
        assert!(matches!(data_keys::delete(&mut tx, &old).await, Err(StoreError::StillUsed)));
        let sealed = data_keys::sealed_under(&mut tx, &old, 100).await.unwrap();
        assert_eq!(sealed.len(), 5);
        assert!(sealed.iter().any(|s| s.place == SealedPlace::OAuthClient { id: client.id.clone() } && s.version == 3));
        assert!(sealed.iter().any(|s| matches!(&s.place, SealedPlace::Secret { project_id, .. } if *project_id == acme.id)));
        for row in &sealed {
            assert!(data_keys::reseal(&mut tx, row, b"again", &new).await.unwrap());
            assert!(!data_keys::reseal(&mut tx, row, b"late", &new).await.unwrap(), "it has changed");
        }
        assert_eq!(values::one(&mut tx, &row, "live").await.unwrap().unwrap().sealed, b"again");
        assert_eq!(oauth_clients::by_id(&mut tx, &client.id).await.unwrap().unwrap().sealed, Some((b"again".to_vec(), new.clone())));
        data_keys::delete(&mut tx, &old).await.unwrap();
        assert!(matches!(data_keys::delete(&mut tx, &new).await, Err(StoreError::StillUsed)), "the active one");
        tx.commit().await.unwrap();
    }

    async fn one_set_up_link_while_there_is_nobody(store, home) {
        let mut tx = store.begin_write(&["instance"]).await.unwrap();
        assert!(instance::offer_setup(&mut tx, &[1; 32], NOW.plus_secs(10)).await.unwrap());
        assert!(instance::offer_setup(&mut tx, &[2; 32], NOW.plus_secs(10)).await.unwrap());
        assert!(!instance::setup_is_open(&mut tx, &[1; 32], NOW).await.unwrap(), "replaced");
        assert!(!instance::setup_is_open(&mut tx, &[2; 32], NOW.plus_secs(10)).await.unwrap(), "too late");
        assert!(instance::setup_is_open(&mut tx, &[2; 32], NOW).await.unwrap());
        assert!(instance::take_setup(&mut tx, &[2; 32], NOW).await.unwrap());
        assert!(!instance::take_setup(&mut tx, &[2; 32], NOW).await.unwrap(), "once");
        assert!(instance::offer_setup(&mut tx, &[3; 32], NOW.plus_secs(10)).await.unwrap());
        user(&mut tx, "first@example.com").await;
        assert!(!instance::take_setup(&mut tx, &[3; 32], NOW).await.unwrap(), "there is somebody");
        assert!(!instance::offer_setup(&mut tx, &[4; 32], NOW.plus_secs(10)).await.unwrap());
    }

    async fn of_many_servers_one_stores_the_key_check(store, home) {
        let mut tasks = Vec::new();
        for number in 0..6 {
            let store = store.clone();
            tasks.push(tokio::spawn(async move {
                let mut tx = store.begin_write(&["instance"]).await.unwrap();
                let stored = instance::set_once(&mut tx, instance::KEY_CHECK, &number.to_string()).await.unwrap();
                tx.commit().await.unwrap();
                stored
            }));
        }
        let mut seen = std::collections::HashSet::new();
        for task in tasks {
            seen.insert(task.await.unwrap());
        }
        assert_eq!(seen.len(), 1);

        let server = ServerRow { id: server_id(), version: "1".into(), started_at: NOW, seen_at: Timestamp(0), root_keys: vec!["r1".into()] };
        let mut tx = store.begin_upkeep().await.unwrap();
        instance::heartbeat(&mut tx, &server).await.unwrap();
        instance::heartbeat(&mut tx, &ServerRow { root_keys: vec!["r1".into(), "r2".into()], ..server.clone() }).await.unwrap();
        let live = instance::servers(&mut tx, 5_000).await.unwrap();
        assert_eq!((live.len(), live[0].root_keys.len()), (1, 2));
        assert_eq!(instance::purge_servers(&mut tx, 5_000).await.unwrap(), 0);
        instance::end_server(&mut tx, &server.id).await.unwrap();
        assert!(instance::servers(&mut tx, 5_000).await.unwrap().is_empty());
    }

    async fn a_repeated_request_finds_its_answer(store, home) {
        let answer = AnswerRow { sealed: bytes(), status: 201, created_at: NOW };
        let mut tx = store.begin_upkeep().await.unwrap();
        idempotency::put(&mut tx, "usr_a", "k", &answer).await.unwrap();
        idempotency::put(&mut tx, "usr_b", "k", &answer).await.unwrap();
        assert_eq!(idempotency::get(&mut tx, "usr_a", "k").await.unwrap().as_ref(), Some(&answer));
        assert_eq!(idempotency::get(&mut tx, "usr_a", "other").await.unwrap(), None);
        tx.commit().await.unwrap();
        let mut tx = store.begin_upkeep().await.unwrap();
        assert!(idempotency::put(&mut tx, "usr_a", "k", &answer).await.unwrap_err().is_taken(Taken::IdempotencyKey));
        drop(tx);
        let mut tx = store.begin_upkeep().await.unwrap();
        assert_eq!(idempotency::purge(&mut tx, NOW).await.unwrap(), 0);
        assert_eq!(idempotency::purge(&mut tx, NOW.plus_secs(1)).await.unwrap(), 2);
    }

    async fn a_call_is_one_item_with_both_facts(store, home) {
        let (acme, other) = (project_id(), project_id());
        let (ended, open) = (call_id(), call_id());
        let row = credential_row(latchstring_model::entity::Principal::User(user_id()), "c");
        append(&store, "srv_1.0", |_| vec![
            AuditRecord { call_id: Some(ended.clone()), project_id: Some(acme.clone()), credential_id: Some(row.id.clone()), ..record("srv_1.0", 1, Fact::Intent) },
            AuditRecord { call_id: Some(open.clone()), project_id: Some(acme.clone()), credential_id: Some(row.id.clone()), ..record("srv_1.0", 2, Fact::Intent) },
            AuditRecord { call_id: Some(ended.clone()), project_id: Some(acme.clone()), outcome: Outcome::Failed, ..record("srv_1.0", 3, Fact::Result) },
            AuditRecord { project_id: Some(acme.clone()), action: "member.set".into(), actor_id: None, ..record("srv_1.0", 4, Fact::Event) },
            AuditRecord { project_id: Some(other.clone()), ..record("srv_1.0", 5, Fact::Event) },
        ]).await;
        let mut reader = store.read().await.unwrap();
        let all = AuditFilter::default();
        let items = audit::list_of_project(&mut reader, &acme, &all, &Paging::first()).await.unwrap().items;
        assert_eq!(items.iter().map(|item| item.record.number).collect::<Vec<_>>(), [4, 2, 1]);
        assert_eq!(items[2].result.as_ref().map(|end| (end.outcome, end.body.as_str())), Some((Outcome::Failed, "{\"n\":3}")));
        assert_eq!((&items[0].result, &items[1].result), (&None, &None));
        for (filter, count) in [
            (AuditFilter { action: Some("member.set".into()), ..all.clone() }, 1),
            (AuditFilter { credential: Some(row.id.clone()), ..all.clone() }, 2),
            (AuditFilter { actor: Some("usr_x".into()), ..all.clone() }, 2),
            (AuditFilter { actor: Some("ada@example.com".into()), ..all.clone() }, 3),
            (AuditFilter { actor: Some("nobody".into()), ..all.clone() }, 0),
        ] {
            let page = audit::list_of_project(&mut reader, &acme, &filter, &Paging::first()).await.unwrap();
            assert_eq!(page.items.len(), count, "{filter:?}");
        }
        let page = audit::list_of_project(&mut reader, &acme, &all, &Paging::new(None, Some(2))).await.unwrap();
        let rest = audit::list_of_project(&mut reader, &acme, &all, &Paging::new(page.next_cursor, Some(2))).await.unwrap();
        assert_eq!((rest.items.len(), rest.items[0].record.number, rest.next_cursor), (1, 1, None));
        assert_eq!(audit::list_of_credential(&mut reader, &row, &AuditFilter::default(), &Paging::first()).await.unwrap().items.len(), 2);
        let bad = audit::list_of_project(&mut reader, &acme, &all, &Paging::new(Some("x".into()), None)).await;
        assert!(matches!(bad, Err(StoreError::BadCursor)));
        assert_eq!(audit::count(&mut reader).await.unwrap(), 5);
    }

    async fn a_batch_is_found_by_each_of_its_projects_and_credentials(store, home) {
        let people: Vec<_> = (0..20).map(|_| project_id()).collect();
        let row = credential_row(latchstring_model::entity::Principal::User(user_id()), "c");
        let calls: Vec<_> = people.iter().map(|_| call_id()).collect();
        let intent = |at: usize| format!(
            r#"{{"fact":"intent","call_id":"{}","at":{at},"project_id":"{}","credential_id":"{}","actor":{{"type":"key","id":"key_{at}"}},"environment":"live","purpose":"verify","method":"GET","host":"h","path":"/"}}"#,
            calls[at], people[at], row.id);
        let result = |at: usize| format!(r#"{{"fact":"result","call_id":"{}","at":99,"outcome":"failed","duration_ms":1}}"#, calls[at]);
        // Of the last call, the result is a row of its own; a line that nobody knows is nobody's.
        let mut lines: Vec<String> = (0..20).map(intent).collect();
        lines.push(r#"{"fact":"intent","call_id":"x","at":1,"purpose":"new"}"#.into());
        lines.extend((0..19).map(result));
        let batch = AuditRecord { body: lines.join("\n"), actor_id: None, actor_email: None, action: "calls".into(), ..record("srv_1.0", 1, Fact::Batch) };
        let scopes: Vec<String> = audit::batch::scopes("srv_1.0", &batch.body).into_iter().map(|scope| scope.into_owned()).collect();
        assert_eq!(scopes.len(), 21);
        let late = AuditRecord { call_id: Some(calls[19].clone()), body: result(19), outcome: Outcome::Failed, ..record("srv_1.0", 2, Fact::Result) };
        let rows = [Shipped { record: batch, scopes: scopes.clone() }, Shipped { record: late, scopes: vec![] }];
        let mut tx = store.begin_upkeep().await.unwrap();
        let from = audit::lock_head(&mut tx, "srv_1.0", &[0; 32]).await.unwrap();
        let to = JournalRow { number: 2, ..from.clone() };
        let short = JournalRow { number: 1, ..from.clone() };
        assert!(matches!(audit::append_shipped(&mut tx, &from, &rows, &short).await, Err(StoreError::Moved)));
        audit::append_shipped(&mut tx, &from, &rows, &to).await.unwrap();
        tx.commit().await.unwrap();

        let mut reader = store.read().await.unwrap();
        let every: Vec<&str> = scopes.iter().map(String::as_str).collect();
        assert_eq!(audit::count_scopes_of(&mut reader, "srv_1.0", 1, &every).await.unwrap(), 21);
        assert_eq!(audit::count_scopes_of(&mut reader, "srv_1.0", 2, &every).await.unwrap(), 0);
        assert_eq!(audit::count_scopes(&mut reader).await.unwrap(), 21);
        for (at, project) in people.iter().enumerate() {
            let page = audit::list_of_project(&mut reader, project, &AuditFilter::default(), &Paging::first()).await.unwrap();
            let [item] = page.items.as_slice() else { panic!("{page:?}") };
            assert_eq!((item.record.fact, item.record.call_id.as_ref(), item.record.at), (Fact::Intent, Some(&calls[at]), Timestamp(at as i64)));
            assert_eq!((item.record.action.as_str(), item.seq % audit::batch::SLOTS), ("credential.verify", at as i64));
            assert_eq!(item.result.as_ref().map(|end| (end.outcome, end.body.clone())), Some((Outcome::Failed, result(at))));
        }
        let whole = audit::list_of_credential(&mut reader, &row, &AuditFilter::default(), &Paging::first()).await.unwrap().items;
        assert_eq!(whole.len(), 20);
        let first = audit::list_of_credential(&mut reader, &row, &AuditFilter::default(), &Paging::new(None, Some(7))).await.unwrap();
        let rest = audit::list_of_credential(&mut reader, &row, &AuditFilter::default(), &Paging::new(first.next_cursor, Some(50))).await.unwrap();
        assert_eq!([first.items, rest.items].concat(), whole);
        for cursor in ["-1", "-4097", "0", "9223372036854775807", "-9223372036854775808"] {
            let page = audit::list_of_credential(&mut reader, &row, &AuditFilter::default(), &Paging::new(Some(cursor.into()), None)).await.unwrap();
            assert_eq!(page.items.len(), if cursor.len() == 19 { 20 } else { 0 }, "{cursor}");
        }
    }

    async fn a_result_is_found_in_a_later_batch(store, home) {
        let acme = project_id();
        let row = credential_row(latchstring_model::entity::Principal::User(user_id()), "c");
        let calls: Vec<_> = (0..40).map(|_| call_id()).collect();
        let intent = |at: usize| format!(
            r#"{{"fact":"intent","call_id":"{}","at":{at},"project_id":"{acme}","credential_id":"{}","actor":{{"type":"key","id":"k"}},"environment":"live","purpose":"call","method":"GET","host":"h","path":"/"}}"#,
            calls[at], row.id);
        let result = |at: usize| format!(r#"{{"fact":"result","call_id":"{}","at":99,"outcome":"ok","duration_ms":{at}}}"#, calls[at]);
        // The first batch ends none of its calls; each later one ends two of them; the last call stays open.
        let mut bodies = vec![(0..40).map(intent).collect::<Vec<_>>().join("\n")];
        for pair in 0..19 {
            bodies.push([result(2 * pair), result(2 * pair + 1), audit::batch::follows_line([1])].join("\n"));
        }
        bodies.push([result(38), audit::batch::follows_line([1])].join("\n"));
        let rows: Vec<Shipped> = bodies.into_iter().zip(1..).map(|(body, number)| Shipped {
            scopes: audit::batch::scopes("srv_1.0", &body).into_iter().map(|scope| scope.into_owned()).collect(),
            record: AuditRecord { body, actor_id: None, actor_email: None, action: "calls".into(), ..record("srv_1.0", number, Fact::Batch) },
        }).collect();
        let mut tx = store.begin_upkeep().await.unwrap();
        let from = audit::lock_head(&mut tx, "srv_1.0", &[0; 32]).await.unwrap();
        audit::append_shipped(&mut tx, &from, &rows, &JournalRow { number: 21, ..from.clone() }).await.unwrap();
        tx.commit().await.unwrap();

        let mut reader = store.read().await.unwrap();
        let items = audit::list_of_project(&mut reader, &acme, &AuditFilter::default(), &Paging::first()).await.unwrap().items;
        assert_eq!(items.len(), 40);
        for (item, at) in items.iter().rev().zip(0..) {
            let end = item.result.as_ref().map(|end| end.body.clone());
            assert_eq!(end, (at < 39).then(|| result(at)), "{at}");
        }
        let whole = audit::list_of_credential(&mut reader, &row, &AuditFilter::default(), &Paging::new(None, Some(3))).await.unwrap();
        assert_eq!(whole.items.iter().filter(|item| item.result.is_some()).count(), 2);
    }

    async fn chains_grow_without_gaps_whoever_writes(store, home) {
        let other = home.open().await;
        let mut tasks = Vec::new();
        for number in 0..8 {
            let store = if number % 2 == 0 { store.clone() } else { other.clone() };
            tasks.push(tokio::spawn(async move {
                for _ in 0..5 {
                    append(&store, "srv_1.e", |head| (head + 1..head + 4).map(|n| record("srv_1.e", n, Fact::Event)).collect()).await;
                }
            }));
        }
        for task in tasks {
            task.await.unwrap();
        }
        let mut reader = store.read().await.unwrap();
        let chain = audit::chain(&mut reader, "srv_1.e", 0, 1_000).await.unwrap();
        assert_eq!(chain.iter().map(|r| r.number).collect::<Vec<_>>(), (1..=120).collect::<Vec<_>>());
        assert_eq!(audit::chain(&mut reader, "srv_1.e", 100, 7).await.unwrap().len(), 7);
        let journals = audit::journals(&mut reader).await.unwrap();
        assert_eq!((journals.len(), journals[0].number, journals[0].shipped), (1, 120, 4_000));
        drop(reader);

        let mut tx = store.begin_upkeep().await.unwrap();
        let from = audit::lock_head(&mut tx, "srv_1.e", &[0; 32]).await.unwrap();
        let gap = [record("srv_1.e", 122, Fact::Event)];
        let to = JournalRow { number: 121, ..from.clone() };
        assert!(matches!(audit::append(&mut tx, &from, &gap, &to).await, Err(StoreError::Moved)));
        let stale = JournalRow { number: 119, ..from };
        let again = [record("srv_1.e", 120, Fact::Event)];
        let to = JournalRow { number: 120, ..stale.clone() };
        let twice = audit::append(&mut tx, &stale, &again, &to).await.unwrap_err();
        assert!(twice.is_taken(Taken::AuditNumber), "{twice}");
        drop(tx);
        other.close().await;
    }

    async fn no_text_holds_a_nul(store, home) {
        let mut tx = store.begin_write(&["instance"]).await.unwrap();
        let refused = users::create(&mut tx, &user_id(), &person("a\0b@example.com"), None, NOW).await;
        assert!(matches!(refused, Err(StoreError::NulCharacter)), "{refused:?}");
    }
}
