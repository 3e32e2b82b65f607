//! Webhooks and deliveries, and what the database itself keeps.

use latchstring_model::Timestamp;
use latchstring_model::id::{DataKeyId, ProjectId};
use latchstring_store::consents::{self, ConsentRow};
use latchstring_store::deliveries::{self, Channel};
use latchstring_store::notices::{self, NoticeRow};
use latchstring_store::webhooks::{self, WebhookRow};
use latchstring_store::{StoreError, WriteTx, data_keys};

use crate::support::{NOW, both, bytes, data_key_id, delivery_id, notice_id, webhook_id};

fn webhook_row(project: &ProjectId, data_key: DataKeyId) -> WebhookRow {
    WebhookRow {
        id: webhook_id(),
        project_id: project.clone(),
        url: "https://hooks.example.com/".into(),
        description: String::new(),
        events: vec![],
        sealed: bytes(),
        data_key,
        secret_version: 1,
        old_until: None,
        disabled: false,
        disabled_why: None,
        failing_since: None,
        version: 1,
        created_by: "usr_x".into(),
        created_at: NOW,
        updated_at: NOW,
    }
}

async fn key(tx: &mut WriteTx) -> DataKeyId {
    let id = data_key_id();
    data_keys::create(tx, &id, "root", b"w", NOW).await.unwrap();
    id
}

async fn queued(tx: &mut WriteTx, channel: Channel, target: &str, at: Timestamp) {
    let id = notice_id();
    let notice = NoticeRow {
        sameness: id.to_string(),
        id,
        event: "credential.failing".into(),
        credential_id: None,
        environment: None,
        project_id: None,
        data: serde_json::json!({}),
        at,
        recipients: None,
    };
    notices::add(tx, &notice).await.unwrap();
    deliveries::add(tx, &delivery_id(), &notice.id, channel, target, at).await.unwrap();
}

both! {
    /// An older server knows nothing of these tables: the database keeps it from forgetting their data keys.
    async fn a_data_key_that_a_webhook_needs_cannot_be_removed(store, home) {
        let mut tx = store.begin_write(&["instance"]).await.unwrap();
        let ada = user(&mut tx, "ada@example.com").await;
        let acme = project(&mut tx, "acme", &ada).await;
        let known = key(&mut tx).await;
        webhooks::create(&mut tx, &webhook_row(&acme.id, known)).await.unwrap();
        let made = webhooks::create(&mut tx, &webhook_row(&acme.id, data_key_id())).await;
        assert!(matches!(made, Err(StoreError::ReferenceGone)), "{made:?}");
    }

    async fn nor_one_that_a_consent_needs(store, home) {
        let mut tx = store.begin_write(&["instance"]).await.unwrap();
        let ada = user(&mut tx, "ada@example.com").await;
        let crm = credential(&mut tx, &ada, "CRM").await;
        let row = |data_key: DataKeyId| ConsentRow {
            id: consent_id(),
            credential_id: crm.id.clone(),
            environment: "production".into(),
            values_version: 1,
            by: consents::By::User(ada.clone()),
            oauth_client_id: None,
            client_digest: None,
            kind: consents::Kind::Device,
            state: consents::State::AtProvider,
            browser_hash: None,
            sealed: Some((bytes(), data_key)),
            sealed_version: 1,
            scopes: vec![],
            return_to: None,
            ending: None,
            poll_at: None,
            poll_every_ms: None,
            created_at: NOW,
            expires_at: NOW.plus_secs(600),
        };
        let known = key(&mut tx).await;
        consents::create(&mut tx, &row(known), None).await.unwrap();
        let made = consents::create(&mut tx, &row(data_key_id()), None).await;
        assert!(matches!(made, Err(StoreError::ReferenceGone)), "{made:?}");
    }

    async fn who_has_many_due_does_not_hide_the_others(store, home) {
        let mut tx = store.begin_write(&["instance"]).await.unwrap();
        let ada = user(&mut tx, "ada@example.com").await;
        let (acme, other) = (project(&mut tx, "acme", &ada).await, project(&mut tx, "other", &ada).await);
        let data_key = key(&mut tx).await;
        let hooks = [&acme.id, &acme.id, &other.id].map(|project| webhook_row(project, data_key.clone()));
        for hook in &hooks {
            webhooks::create(&mut tx, hook).await.unwrap();
        }
        for number in 0..10 {
            let hook = &hooks[number % 2];
            queued(&mut tx, Channel::Webhook, hook.id.as_str(), NOW).await;
        }
        queued(&mut tx, Channel::Webhook, hooks[2].id.as_str(), NOW.plus_secs(1)).await;
        queued(&mut tx, Channel::Mail, ada.as_str(), NOW).await;
        assert_eq!(deliveries::waiting(&mut tx, &hooks[0].id).await.unwrap(), 5);
        let (now, db_now) = (NOW.plus_secs(2), tx.db_now());
        let due = deliveries::due(&mut tx, Channel::Webhook, now, db_now, 2, 4).await.unwrap();
        let whose: Vec<&str> = due.iter().map(|due| due.whose.as_str()).collect();
        assert_eq!(whose, [acme.id.as_str(), acme.id.as_str(), other.id.as_str()]);
        let mails = deliveries::due(&mut tx, Channel::Mail, now, db_now, 2, 4).await.unwrap();
        assert_eq!(mails.iter().map(|due| due.whose.as_str()).collect::<Vec<_>>(), [ada.as_str()]);
        tx.commit().await.unwrap();
    }
}
