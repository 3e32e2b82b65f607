//! Who would be left without a credential: the one function that answers, before anything is removed. Whatever comes
//! to choose credentials by itself (workflows, next) answers here.

use latchstring_model::id::{CredentialId, ProjectId};
use latchstring_model::problem::Refused;
use latchstring_model::{Code, Problem};
use latchstring_store::{Tx, keychains};
use serde_json::{Value, json};

use crate::{Broker, refusals};

/// Uses that are listed.
const MOST: i64 = 100;

/// Something that would stop working.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsedBy {
    /// Its slug.
    pub project: String,
    pub by: By,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum By {
    /// An active workflow; a deactivated one is not a use.
    Workflow { workflow: String, step: String },
    /// A keychain falls back to it; its slug.
    Keychain { keychain: String },
}

impl UsedBy {
    pub fn to_json(&self) -> Value {
        match &self.by {
            By::Workflow { workflow, step } => {
                json!({ "project": self.project, "workflow": workflow, "step": step })
            }
            By::Keychain { keychain } => json!({ "project": self.project, "keychain": keychain }),
        }
    }
}

impl Broker {
    /// Everything that names this credential and would fail without it, in one project or in all.
    pub(crate) async fn used_by(
        &self,
        tx: &mut impl Tx,
        credential: &CredentialId,
        project: Option<&ProjectId>,
    ) -> Refused<Vec<UsedBy>> {
        let found = keychains::defaults_to(tx, credential, project, MOST).await.map_err(refusals::store)?;
        let keychain = |(row, project): (keychains::KeychainRow, String)| UsedBy {
            project,
            by: By::Keychain { keychain: row.slug },
        };
        Ok(found.into_iter().map(keychain).collect())
    }

    /// The refusal, with the list, of what would leave somebody without it.
    pub(super) async fn not_in_use(&self, tx: &mut impl Tx, credential: &CredentialId) -> Refused<()> {
        let used_by = self.used_by(tx, credential, None).await?;
        if used_by.is_empty() {
            return Ok(());
        }
        let list: Vec<Value> = used_by.iter().map(UsedBy::to_json).collect();
        Err(Problem::new(
            Code::CredentialInUse,
            "Something depends on this credential; `used_by` lists what would stop.",
        )
        .hint("Deactivate those workflows, give those keychains another default, or let them name another credential first.")
        .with("used_by", list.into())
        .into())
    }
}
