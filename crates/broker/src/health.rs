//! Whether this server can do its work: what `/readyz` answers.

use latchstring_store::scopes;

use crate::Broker;

/// Beyond this share of its limit the journal's backlog is a reason not to be ready: the database lags behind.
const BACKLOG: u64 = 200 * 1024 * 1024;

impl Broker {
    /// (what, why not — in words that anybody may read)
    pub async fn readiness(&self) -> Vec<(&'static str, Option<String>)> {
        let database = async {
            let mut reader = self.parts.store.read().await?;
            scopes::epoch(&mut reader, scopes::INSTANCE).await
        };
        let limit = std::time::Duration::from_secs(2);
        let database = match tokio::time::timeout(limit, database).await {
            Ok(Ok(_)) => None,
            Ok(Err(_)) => Some("the database does not answer as it should".to_owned()),
            Err(_) => Some("the database does not answer within 2 s".to_owned()),
        };
        let migrations = match database {
            Some(_) => Some("not known while the database does not answer".to_owned()),
            None => self
                .parts
                .store
                .check_schema()
                .await
                .err()
                .map(|_| "the database's schema is not the one that this version needs".to_owned()),
        };
        let key = self.parts.vault.active().is_none().then(|| "no data key is loaded".to_owned());
        let behind = self.parts.journal.unshipped();
        let journal = (behind > BACKLOG)
            .then(|| format!("{behind} bytes of records wait to be written to the database"));
        vec![("database", database), ("key", key), ("migrations", migrations), ("journal", journal)]
    }
}
