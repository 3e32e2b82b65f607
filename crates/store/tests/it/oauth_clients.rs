//! OAuth clients: who sees them, what uses them, and what happens to grants when they change.

use latchstring_model::entity::{Principal, Role, Status};
use latchstring_model::id::{OAuthClientId, UserId};
use latchstring_store::oauth_clients::{self, EndpointFrom, EndpointRow, OAuthClientRow};
use latchstring_store::tokens::{self, Life, NewToken, TokenKey, TokenState};
use latchstring_store::{
    Paging, Store, StoreError, WriteTx, credentials, data_keys, members, projects, values,
};

use crate::support::{NOW, both, oauth_client_id};

pub fn client_row(owner: &UserId, name: &str) -> OAuthClientRow {
    OAuthClientRow {
        id: oauth_client_id(),
        name: name.into(),
        owner_id: owner.clone(),
        connector: Some("builtin/salesforce".into()),
        connector_digest: None,
        client_id: Some("ours".into()),
        client_auth: "basic".into(),
        sealed: None,
        sealed_version: 0,
        secret_fields: vec!["client_secret".into()],
        key_algorithm: None,
        key_id: None,
        public_key: None,
        certificate: Some("-----BEGIN CERTIFICATE-----".into()),
        dpop_jkt: Some("a thumbprint".into()),
        resource: vec!["https://api.example.com/".into()],
        issuer: Some("https://login.example.com".into()),
        issuer_in_callback: true,
        endpoints: [(
            "token_endpoint".to_owned(),
            EndpointRow { url: "https://login.example.com/token".into(), from: EndpointFrom::Issuer },
        )]
        .into(),
        mandatory_scopes: vec!["Zeta".into(), "alpha".into()],
        optional_scopes: vec!["b".into(), "A".into()],
        scopes_doc_url: None,
        authorize_params: [("prompt".to_owned(), "consent".to_owned())].into(),
        hosts: vec![],
        pkce: true,
        global: false,
        digest: "d1".into(),
        version: 1,
        created_by: owner.to_string(),
        created_at: NOW,
        updated_at: NOW,
    }
}

async fn key(tx: &mut WriteTx) -> latchstring_model::id::DataKeyId {
    let id = crate::support::data_key_id();
    data_keys::create(tx, &id, "root", b"w", NOW).await.unwrap();
    id
}

async fn statuses(
    store: &Store,
    owner: &UserId,
    id: &latchstring_model::id::CredentialId,
) -> (Status, Option<TokenState>) {
    let mut tx = store.begin_read().await.unwrap();
    let row = credentials::of_owner(&mut tx, &Principal::User(owner.clone()), id).await.unwrap().unwrap();
    let set = values::one(&mut tx, &row, "production").await.unwrap().unwrap();
    let token = tokens::list_of_credential(&mut tx, &row).await.unwrap();
    (set.standing.status, token.first().map(|token| token.state))
}

both! {
    async fn what_is_written_is_read(store, home) {
        let mut tx = store.begin_write(&["instance"]).await.unwrap();
        let ada = user(&mut tx, "ada@example.com").await;
        let mut row = client_row(&ada, "CRM");
        oauth_clients::create(&mut tx, &row).await.unwrap();
        assert_eq!(oauth_clients::by_id(&mut tx, &row.id).await.unwrap().as_ref(), Some(&row));

        row.sealed = Some((bytes(), key(&mut tx).await));
        row.sealed_version = 1;
        row.client_id = None;
        row.connector = None;
        row.connector_digest = Some("c".into());
        row.public_key = Some(serde_json::json!({"kty": "RSA"}));
        row.key_algorithm = Some("RS256".into());
        row.key_id = Some("k".into());
        row.hosts = vec!["*.example.com".into()];
        row.global = true;
        row.pkce = false;
        row.scopes_doc_url = Some("https://example.com/scopes".into());
        assert_eq!(oauth_clients::update(&mut tx, &row, NOW.plus_secs(1)).await.unwrap(), 2);
        assert!(matches!(oauth_clients::update(&mut tx, &row, NOW).await, Err(StoreError::Moved)), "version 1 is gone");
        row.version = 2;
        row.updated_at = NOW.plus_secs(1);
        assert_eq!(oauth_clients::by_id(&mut tx, &row.id).await.unwrap().as_ref(), Some(&row));
        let mut stale = row.clone();
        stale.version = 1;
        assert!(matches!(oauth_clients::delete(&mut tx, &stale).await, Err(StoreError::Moved)));
        oauth_clients::delete(&mut tx, &row).await.unwrap();
        assert_eq!(oauth_clients::by_id(&mut tx, &row.id).await.unwrap(), None);
        tx.commit().await.unwrap();
    }

    async fn people_see_those_of_their_projects(store, home) {
        let mut tx = store.begin_write(&["instance"]).await.unwrap();
        let (ada, bob, eve) = (
            user(&mut tx, "ada@example.com").await, user(&mut tx, "bob@example.com").await, user(&mut tx, "eve@example.com").await,
        );
        let (acme, other) = (project(&mut tx, "acme", &ada).await, project(&mut tx, "other", &eve).await);
        members::set(&mut tx, &acme.id, &bob, Role::Viewer, NOW).await.unwrap();
        let (ours, theirs, nobodys) = (client_row(&ada, "ours"), client_row(&ada, "theirs"), client_row(&ada, "nobody's"));
        let everybodys = OAuthClientRow { global: true, ..client_row(&ada, "everybody's") };
        for row in [&ours, &theirs, &nobodys, &everybodys] {
            oauth_clients::create(&mut tx, row).await.unwrap();
        }
        let both = [acme.id.clone(), other.id.clone()];
        oauth_clients::replace_projects(&mut tx, &ours.id, &both[..1]).await.unwrap();
        oauth_clients::replace_projects(&mut tx, &theirs.id, &both[1..]).await.unwrap();
        assert_eq!(oauth_clients::projects(&mut tx, &ours.id).await.unwrap(), [(acme.id.clone(), "acme".to_owned())]);

        let names = |page: latchstring_store::Page<OAuthClientRow>| page.items.into_iter().map(|row| row.name).collect::<Vec<_>>();
        let all = Paging::first();
        assert_eq!(names(oauth_clients::list_of_member(&mut tx, &bob, &all).await.unwrap()), ["ours", "everybody's"]);
        assert_eq!(names(oauth_clients::list_of_member(&mut tx, &eve, &all).await.unwrap()), ["theirs", "everybody's"]);
        assert_eq!(names(oauth_clients::list(&mut tx, Some(&acme.id), &all).await.unwrap()), ["ours", "everybody's"]);
        let first = oauth_clients::list(&mut tx, None, &Paging::new(None, Some(3))).await.unwrap();
        let rest = oauth_clients::list(&mut tx, None, &Paging::new(first.next_cursor.clone(), Some(3))).await.unwrap();
        assert_eq!((names(first), names(rest)), (vec!["ours".into(), "theirs".into(), "nobody's".into()], vec!["everybody's".to_owned()]));

        assert!(oauth_clients::for_member(&mut tx, &bob, &ours.id).await.unwrap().is_some());
        assert!(oauth_clients::for_member(&mut tx, &bob, &everybodys.id).await.unwrap().is_some());
        assert_eq!(oauth_clients::for_member(&mut tx, &bob, &theirs.id).await.unwrap(), None);
        assert_eq!(oauth_clients::for_member(&mut tx, &ada, &nobodys.id).await.unwrap(), None, "not even who made it");
        assert_eq!(oauth_clients::for_member(&mut tx, &user_id(), &everybodys.id).await.unwrap(), None);
        assert!(oauth_clients::available(&mut tx, &ours.id, &acme.id).await.unwrap());
        assert!(!oauth_clients::available(&mut tx, &ours.id, &other.id).await.unwrap());
        assert!(oauth_clients::available(&mut tx, &everybodys.id, &other.id).await.unwrap());

        assert!(projects::delete(&mut tx, &acme.id).await.unwrap(), "it takes its place among the client's projects with it");
        assert!(oauth_clients::projects(&mut tx, &ours.id).await.unwrap().is_empty());
        tx.commit().await.unwrap();
        let mut tx = store.begin_write(&["instance"]).await.unwrap();
        let gone = oauth_clients::replace_projects(&mut tx, &ours.id, &both[..1]).await;
        assert!(matches!(gone, Err(StoreError::ReferenceGone)), "{gone:?}");
    }

    async fn one_in_use_stays(store, home) {
        let mut tx = store.begin_write(&["instance"]).await.unwrap();
        let ada = user(&mut tx, "ada@example.com").await;
        let (acme, other) = (project(&mut tx, "acme", &ada).await, project(&mut tx, "other", &ada).await);
        let row = client_row(&ada, "CRM");
        oauth_clients::create(&mut tx, &row).await.unwrap();
        oauth_clients::replace_projects(&mut tx, &row.id, std::slice::from_ref(&acme.id)).await.unwrap();
        let mut mine = credential_row(Principal::User(ada.clone()), "mine");
        mine.oauth_client_id = Some(row.id.clone());
        let mut projects_own = credential_row(Principal::Project(other.id.clone()), "theirs");
        projects_own.oauth_client_id = Some(row.id.clone());
        for one in [&mine, &projects_own, &credential_row(Principal::User(ada.clone()), "without")] {
            credentials::create(&mut tx, one).await.unwrap();
        }
        share(&mut tx, &mine, &acme.id, "mine").await;
        let used = oauth_clients::used_by(&mut tx, &row.id, 10).await.unwrap();
        let told: Vec<_> = used.iter().map(|used| (used.name.as_str(), used.owner_name.as_str())).collect();
        assert_eq!(told, [("mine", "ada@example.com"), ("theirs", "other")]);
        assert_eq!(used[0].owner, Principal::User(ada));
        assert_eq!(oauth_clients::used_by(&mut tx, &row.id, 1).await.unwrap().len(), 1);
        assert_eq!(oauth_clients::count_uses(&mut tx, &row.id).await.unwrap(), 2);
        assert!(matches!(oauth_clients::delete(&mut tx, &row).await, Err(StoreError::StillUsed)));
        let outside = oauth_clients::used_outside(&mut tx, &row.id, 10).await.unwrap();
        assert_eq!(outside.iter().map(|used| used.name.as_str()).collect::<Vec<_>>(), ["theirs"], "owned by a project that is not named");
        share(&mut tx, &mine, &other.id, "mine").await;
        assert_eq!(oauth_clients::used_outside(&mut tx, &row.id, 10).await.unwrap().len(), 2, "shared with one that is not named");
        oauth_clients::replace_projects(&mut tx, &row.id, &[acme.id, other.id]).await.unwrap();
        assert!(oauth_clients::used_outside(&mut tx, &row.id, 10).await.unwrap().is_empty());
        tx.commit().await.unwrap();
    }

    async fn grants_end_and_their_tokens_stay(store, home) {
        let mut tx = store.begin_write(&["instance"]).await.unwrap();
        let ada = user(&mut tx, "ada@example.com").await;
        let (row, untouched) = (client_row(&ada, "CRM"), client_row(&ada, "other"));
        let mut made = Vec::new();
        for (name, client, status, token) in [
            ("granted", &row, Status::Verified, true),
            ("never", &row, Status::NeedsAuthorization, false),
            ("failing", &row, Status::Failing, false),
            ("foreign", &untouched, Status::Verified, true),
        ] {
            if oauth_clients::by_id(&mut tx, &client.id).await.unwrap().is_none() {
                oauth_clients::create(&mut tx, client).await.unwrap();
            }
            let mut credential = credential_row(Principal::User(ada.clone()), name);
            credential.oauth_client_id = Some(client.id.clone());
            credentials::create(&mut tx, &credential).await.unwrap();
            let mut set = values_row("production", 1);
            set.standing.status = status;
            values::put(&mut tx, &credential, &set, None, &[]).await.unwrap();
            if token {
                let id = format!("t-{name}");
                let key = TokenKey { id: id.clone(), credential_id: credential.id.clone(), environment: "production".into(), values_version: 1, name: "main".into() };
                tokens::ensure(&mut tx, &key).await.unwrap();
                let life = Life { obtained_at: NOW, fresh_until: None, expires_at: None };
                let new = NewToken { sealed: bytes(), data_key: data_key_id(), life, grant_expires_at: None };
                assert!(tokens::save(&mut tx, &id, 0, &new).await.unwrap());
            }
            made.push(credential);
        }
        let granted: Vec<_> = oauth_clients::granted(&mut tx, &row.id).await.unwrap();
        assert_eq!(granted, [made[0].id.clone(), made[2].id.clone()]);
        oauth_clients::end_grants(&mut tx, &row.id, "its token endpoint is another", NOW.plus_secs(9)).await.unwrap();
        assert!(oauth_clients::granted(&mut tx, &row.id).await.unwrap().is_empty(), "once");
        tx.commit().await.unwrap();

        assert_eq!(statuses(&store, &ada, &made[0].id).await, (Status::NeedsReconnect, Some(TokenState::NeedsReconnect)));
        assert_eq!(statuses(&store, &ada, &made[1].id).await, (Status::NeedsAuthorization, None), "nothing was given");
        assert_eq!(statuses(&store, &ada, &made[2].id).await, (Status::NeedsReconnect, None));
        assert_eq!(statuses(&store, &ada, &made[3].id).await, (Status::Verified, Some(TokenState::Live)), "another client's");
        let mut reader = store.read().await.unwrap();
        let token = tokens::list_of_credential(&mut reader, &made[0]).await.unwrap().remove(0);
        assert!(token.sealed.is_some(), "it is replaced by a new one, or revoked");
        assert_eq!(token.last_error.as_deref(), Some("its token endpoint is another"));
    }

    /// An older server knows nothing of clients: the database keeps it from forgetting their data key.
    async fn a_data_key_that_a_client_needs_cannot_be_removed(store, home) {
        let mut tx = store.begin_write(&["instance"]).await.unwrap();
        let ada = user(&mut tx, "ada@example.com").await;
        let mut row = client_row(&ada, "CRM");
        row.sealed = Some((bytes(), data_key_id()));
        let made = oauth_clients::create(&mut tx, &row).await;
        assert!(matches!(made, Err(StoreError::ReferenceGone)), "{made:?}");
    }
}

#[test]
fn ids_of_clients_have_their_prefix() {
    assert!(
        OAuthClientId::looks_like(oauth_client_id().as_str())
            && oauth_client_id().as_str().starts_with("oac_")
    );
}
