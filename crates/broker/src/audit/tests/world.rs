//! What people see of the trail, over a whole broker.

use super::*;

/// A broker on a fresh database, with a project of one owner and one service key in it.
pub(super) struct World {
    pub broker: Arc<Broker>,
    pub journal: Arc<Journal>,
    owner: Actor,
    project: ProjectId,
    key: String,
    key_id: KeyId,
}

fn person(id: &UserId, email: &str) -> Actor {
    let person = Person {
        id: id.clone(),
        email: email.into(),
        username: None,
        name: "Ada".into(),
        first_name: "Ada".into(),
        last_name: "L".into(),
        superuser: false,
        second_factor: false,
        held_back: false,
        frozen_until: None,
    };
    let via = Via::Session { id: SessionId::new(NOW, entropy()), confirmed_at: NOW };
    Actor { who: Who::Person { person, via }, address: None }
}

pub(super) async fn world(home: &Home) -> World {
    let (store, id) = (home.store().await, server());
    let ring = KeyRing::generate(NOW, entropy());
    let vault = Arc::new(Vault::new(ring.clone()));
    prepare_vault(&store, &vault, &ring, NOW, entropy()).await.unwrap();
    let egress = latchstring_egress::Settings {
        allow: vec![],
        extra_ca_pem: None,
        proxy: None,
        limits: latchstring_egress::Limits::default(),
    };
    let journal = journal(home, &id, 16 << 20);
    let parts = Parts {
        clock: Arc::new(FakeClock::at(NOW)),
        entropy: Arc::new(SeededEntropy::new(COUNT.fetch_add(1, Ordering::Relaxed))),
        store: store.clone(),
        vault,
        egress: Arc::new(Egress::new(egress).unwrap()),
        journal: Arc::clone(&journal),
        server: id,
        control: tokio::runtime::Handle::current(),
    };
    let settings = crate::Settings {
        public_url: "http://127.0.0.1:1".into(),
        stale_limit: Duration::from_secs(60),
        delete_after: Duration::from_secs(60),
        keep_versions: 10,
        verify_every: None,
        background_refresh: false,
        mail: None,
        oidc: None,
        sandbox: None,
        extra_hosts: vec![],
    };
    let broker = Broker::new(parts, settings);

    let (user, project) = (UserId::new(NOW, entropy()), ProjectId::new(NOW, entropy()));
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
    let key = "lst_a_key_that_must_never_be_written".to_owned();
    let row = ApiKeyRow {
        id: KeyId::new(NOW, entropy()),
        belongs: KeyBelongs::Service { project_id: project.clone(), environment_id: list[0].id.clone() },
        scope: KeyScope::Call,
        name: "bot".into(),
        hint: "tten".into(),
        limits: serde_json::json!({}),
        created_by: "usr_x".into(),
        created_at: NOW,
        expires_at: None,
        ended_at: None,
        used_at: None,
    };
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, key.as_bytes());
    api_keys::create(&mut tx, &row, hash.as_ref()).await.unwrap();
    tx.commit().await.unwrap();
    World { broker, journal, owner: person(&user, "ada@example.com"), project, key, key_id: row.id }
}

both! {
    async fn refused_calls_are_recorded_grouped_and_bounded(home) {
        let world = world(&home).await;
        let peer = |last| Peer { address: std::net::Ipv4Addr::new(192, 0, 2, last).into(), tls: false };
        let ask = |key: &str| Ask { key: CallerKey::Decoded(SecretString::new(key)), project: None, environment: None, user: None, external_id: None, credential: "crm" };
        let no_grant = Problem::new(Code::NoGrant, "no");
        let unknown = Problem::new(Code::Unauthenticated, "no");
        for _ in 0..3 {
            world.broker.refused_call(&ask(&world.key), peer(1), &http::Method::POST, "/x", &no_grant);
        }
        for _ in 0..5 {
            world.broker.refused_call(&ask("lst_mistyped_secret"), peer(2), &http::Method::GET, "/y", &unknown);
        }
        assert_eq!(world.broker.write_refusals().await.unwrap(), 2);
        assert_eq!(world.broker.write_refusals().await.unwrap(), 0);
        // A flood: bounded in memory and in the trail, and counted.
        for number in 0..5_000_u32 {
            world.broker.refused_call(&ask("lst_x"), peer((number % 200) as u8), &http::Method::GET, "/z", &unknown);
        }
        assert_eq!(world.broker.write_refusals().await.unwrap(), 51);

        let store = world.broker.store();
        let mut reader = store.read().await.unwrap();
        let trail = rows::chain(&mut reader, &events::writer(&world.broker.parts.server), 0, 1_000).await.unwrap();
        assert_eq!(trail.len(), 53);
        let whole: String = trail.iter().map(|record| record.body.as_str()).collect();
        assert!(!whole.contains("lst_"), "no key is ever written");
        let known = trail.iter().find(|record| record.actor_type == "key").unwrap();
        assert_eq!(known.actor_id.as_deref(), Some(world.key_id.as_str()));
        assert_eq!((known.action.as_str(), known.outcome, known.project_id.as_ref()), ("credential.use", Outcome::Refused, Some(&world.project)));
        assert!(known.body.contains(r#""detail":{"code":"no_grant","count":3,"method":"POST","path":"/x"}"#), "{}", known.body);
        let counted = |record: &rows::AuditRecord, name: &str| {
            serde_json::from_str::<serde_json::Value>(&record.body).unwrap()["detail"][name].as_u64()
        };
        let told: u64 = trail[2..52].iter().map(|record| counted(record, "count").unwrap_or(1)).sum();
        assert_eq!(told + counted(&trail[52], "unrecorded").unwrap(), 5_000, "each try is counted once");
        verify_audit(store).await.unwrap();
    }

    async fn members_see_calls_with_how_they_ended(home) {
        let world = world(&home).await;
        let writer = world.journal.writer();
        let credential = CredentialId::new(NOW, entropy());
        let mut calls = Vec::new();
        for ends in [true, false] {
            let call = CallId::new(NOW, entropy());
            let intent = Record::Intent(Intent {
                call_id: Cow::Borrowed(&call),
                at: NOW,
                project_id: Some(Cow::Borrowed(&world.project)),
                credential_id: Cow::Borrowed(&credential),
                actor: JournalActor { kind: ActorKind::Key, id: Some(world.key_id.as_str().into()), email: None },
                environment: "live".into(),
                project_environment: Some("staging".into()),
                purpose: if ends { Purpose::Call } else { Purpose::Verify },
                method: "PUT".into(),
                host: "api.example.com:8443".into(),
                path: "/a%2Fb".into(),
                client: Some("192.0.2.7".into()),
                acts_as: None,
            });
            writer.append(&intent).await.unwrap();
            if ends {
                let result = CallResult {
                    call_id: Cow::Borrowed(&call), at: NOW.plus_millis(9), outcome: Outcome::Failed,
                    status: None, duration_ms: 9, bytes: Some(0), code: Some("upstream_timeout".into()),
                };
                writer.append_later(&Record::Result(result)).unwrap();
            }
            calls.push(call);
        }
        wait_for_writes(&world.journal).await;
        let broker = &world.broker;
        let mut shipper = shipper(broker.store(), &world.journal, &broker.parts.server);
        assert_eq!(drain(&mut shipper).await, 3);
        let mut tx = broker.store().begin_upkeep().await.unwrap();
        broker.record(&mut tx, &world.owner, Event::new("member.set").project(&world.project).target("usr_y").detail("role", "viewer")).await.unwrap();
        tx.commit().await.unwrap();

        let all = Filter::default();
        let page = broker.audit(&world.owner, &Whose::Project("acme".into()), &all, &Paging::first()).await.unwrap();
        assert_eq!(page.items.len(), 3);
        let event = &page.items[0];
        assert_eq!((event.action.as_str(), event.target.as_deref(), event.outcome), ("member.set", Some("usr_y"), Outcome::Ok));
        assert_eq!((event.actor.kind.as_str(), event.actor.email.as_deref()), ("user", Some("ada@example.com")));
        assert_eq!(event.detail["role"], "viewer");
        assert_eq!((event.call.is_none(), event.hash.len()), (true, 64));
        let open = page.items[1].call.as_ref().unwrap();
        assert_eq!((&open.id, open.status, open.duration_ms, page.items[1].action.as_str()), (&calls[1], None, None, "credential.verify"));
        let ended = page.items[2].call.as_ref().unwrap();
        assert_eq!((&ended.id, ended.duration_ms, ended.code.as_deref()), (&calls[0], Some(9), Some("upstream_timeout")));
        assert_eq!((ended.method.as_str(), ended.host.as_str(), ended.path.as_str()), ("PUT", "api.example.com:8443", "/a%2Fb"));
        assert_eq!((page.items[2].outcome, page.items[2].environment.as_deref()), (Outcome::Failed, Some("live")));

        for (filter, count) in [
            (Filter { credential: Some(credential.to_string()), ..all.clone() }, 2),
            (Filter { actor: Some("ada@example.com".into()), ..all.clone() }, 1),
            (Filter { actor: Some(world.key_id.to_string()), action: Some("credential.use".into()), ..all.clone() }, 1),
            (Filter { action: Some("no.such".into()), ..all.clone() }, 0),
        ] {
            let page = broker.audit(&world.owner, &Whose::Project("acme".into()), &filter, &Paging::first()).await.unwrap();
            assert_eq!(page.items.len(), count, "{filter:?}");
        }
        let first = broker.audit(&world.owner, &Whose::Project("acme".into()), &all, &Paging::new(None, Some(2))).await.unwrap();
        let rest = broker.audit(&world.owner, &Whose::Project("acme".into()), &all, &Paging::new(first.next_cursor, Some(2))).await.unwrap();
        assert_eq!((rest.items.len(), rest.items[0].seq, rest.next_cursor), (1, page.items[2].seq, None));
        let unknown = Filter { credential: Some("crm".into()), ..all.clone() };
        let refused = broker.audit(&world.owner, &Whose::Project("acme".into()), &unknown, &Paging::first()).await.unwrap_err();
        assert_eq!(refused.code, Code::CredentialNotFound);
        let stranger = person(&UserId::new(NOW, entropy()), "eve@example.com");
        assert_eq!(broker.audit(&stranger, &Whose::Project("acme".into()), &all, &Paging::first()).await.unwrap_err().code, Code::NotFound);
        assert_eq!(broker.audit(&stranger, &Whose::Credential(credential.to_string()), &all, &Paging::first()).await.unwrap_err().code, Code::NotFound);
    }

    /// As the binary runs them: what is recorded is in the database within a second, and at the end nothing is left.
    async fn the_jobs_ship_by_themselves_and_end_in_order(home) {
        let world = world(&home).await;
        let broker = &world.broker;
        let (stop, stopping) = tokio::sync::watch::channel(false);
        let jobs = broker.start_jobs(stopping);
        let writer = world.journal.writer();
        let credential = CredentialId::new(NOW, entropy());
        for _ in 0..10 {
            call(&writer, &credential).await;
        }
        let began = std::time::Instant::now();
        while stored(broker.store()).await.len() < 20 {
            assert!(began.elapsed() < Duration::from_secs(5), "shipped within a second on a machine that is not busy");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let living = || async {
            let mut reader = broker.store().read().await.unwrap();
            instance::servers(&mut reader, 20_000).await.unwrap()
        };
        let servers = living().await;
        assert_eq!(servers.len(), 1);
        assert_eq!(servers[0].root_keys, broker.parts.vault.root_keys().iter().map(ToString::to_string).collect::<Vec<_>>());
        for _ in 0..10 {
            call(&writer, &credential).await;
        }
        wait_for_writes(&world.journal).await;
        stop.send(true).unwrap();
        jobs.ended().await;
        assert_eq!(stored(broker.store()).await.len(), 40, "the last ones too");
        assert!(living().await.is_empty());
    }
}
