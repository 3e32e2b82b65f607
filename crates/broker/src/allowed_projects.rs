//! Networks that the operator allows to one project (`10.0.0.0/8@acme`): the setting names a slug, calls carry
//! ids. Looked up at the start and again and again, because a project can be made or renamed later.

use std::sync::Arc;
use std::time::Duration;

use latchstring_store::{StoreError, projects};

use crate::Broker;

const LOOK: Duration = Duration::from_secs(2);

impl Broker {
    /// Once at the start, before anything is served.
    pub async fn learn_allowed_projects(&self) -> Result<(), StoreError> {
        let rules = self.parts.egress.rules();
        let names: Vec<String> = rules.project_slugs().map(Into::into).collect();
        if names.is_empty() {
            return Ok(());
        }
        let mut reader = self.parts.store.read().await?;
        for name in names {
            let found = projects::by_slug_or_id(&mut reader, &name).await?;
            rules.set_project(&name, found.map(|project| project.id));
        }
        Ok(())
    }

    /// For as long as the server runs.
    pub async fn keep_allowed_projects(self: Arc<Self>) {
        loop {
            tokio::time::sleep(LOOK).await;
            if let Err(error) = self.learn_allowed_projects().await {
                tracing::debug!(error = %error, "allow-listed projects could not be looked up");
            }
        }
    }
}
