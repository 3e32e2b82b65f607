//! Which definition stands behind a connector's name: built into the binary, or a project's own.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::digest::{SHA256, digest};
use latchstring_connectors::{Definition, HostVerdict};
use latchstring_model::id::ProjectId;
use latchstring_model::problem::Refused;
use latchstring_model::{Code, Origin, Problem};
use latchstring_store::{Tx, connectors};

use crate::credentials::nearest;
use crate::{Broker, refusals};

/// Built-in uids begin so; a project's begin with its id, so nothing can be shadowed.
pub const BUILTIN: &str = "builtin/";

/// Where somebody goes on whose connector is not there, and no name is near to what they wrote.
const ELSEWHERE: &str = "GET /api/v1/connectors and the page /docs/connectors list what there is; an admin of the project uploads another one (POST /api/v1/projects/{project}/connectors), and `http` serves any API that has none";

/// Definitions of projects that were parsed, by uid; the digest of their source tells whether they still hold.
const PARSED: usize = 1024;

/// The digest of the source that was read, and what it says.
type Parsed = (Vec<u8>, Arc<Definition>);

#[derive(Default)]
pub struct Catalog {
    builtin: HashMap<String, Arc<Definition>>,
    order: Vec<Arc<Definition>>,
    parsed: Mutex<HashMap<String, Parsed>>,
}

impl Catalog {
    /// What is said of a connector that is not there.
    pub fn no_connector(&self, named: &str) -> String {
        let known = self.order.iter().map(|definition| definition.id.as_str());
        match nearest(named, known) {
            Some(near) => format!("there is no connector `{named}`; did you mean `{near}`?"),
            None => format!("there is no connector `{named}`; {ELSEWHERE}"),
        }
    }

    /// `sandbox`: where the external API of `--sandbox` listens; without it its connector does not exist here.
    pub fn new(sandbox: Option<&str>) -> Self {
        let order: Vec<Arc<Definition>> = latchstring_connectors::builtin()
            .filter_map(|definition| match (definition.sandbox, sandbox) {
                (false, _) => Some(definition.clone()),
                (true, Some(base_url)) => latchstring_connectors::sandbox_at(base_url),
                (true, None) => None,
            })
            .map(Arc::new)
            .collect();
        let builtin =
            order.iter().map(|definition| (definition.id.clone(), Arc::clone(definition))).collect();
        Self { builtin, order, parsed: Mutex::default() }
    }

    pub fn builtin(&self, id: &str) -> Option<Arc<Definition>> {
        self.builtin.get(id).cloned()
    }

    pub fn all_builtin(&self) -> &[Arc<Definition>] {
        &self.order
    }

    fn parse(&self, row: &connectors::ConnectorRow) -> Refused<Arc<Definition>> {
        // Not the version: one that was deleted and made again begins at 1 once more.
        let source = digest(&SHA256, row.source.as_bytes()).as_ref().to_vec();
        let mut parsed = self.parsed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, definition)) = parsed.get(&row.uid)
            && *known == source
        {
            return Ok(Arc::clone(definition));
        }
        let definition = latchstring_connectors::load_stored(&row.source).map_err(|error| {
            tracing::error!(connector = %row.uid, "a stored definition cannot be read by this version");
            Problem::new(
                Code::ConnectorChanged,
                format!(
                    "The connector {} cannot be read by this version of Latchstring: {error:?}.",
                    row.name
                ),
            )
            .hint("A project admin can put a definition that this version reads.")
        })?;
        let definition = Arc::new(definition);
        if parsed.len() >= PARSED {
            parsed.clear();
        }
        parsed.insert(row.uid.clone(), (source, Arc::clone(&definition)));
        Ok(definition)
    }
}

/// A definition, by the uid that credentials pin.
pub struct Found {
    pub uid: String,
    pub definition: Arc<Definition>,
    /// Of a project; `None` for built-in ones.
    pub row: Option<connectors::ConnectorRow>,
}

impl Broker {
    pub(crate) async fn definition_by_uid(&self, tx: &mut impl Tx, uid: &str) -> Refused<Found> {
        if let Some(id) = uid.strip_prefix(BUILTIN) {
            let definition = self.catalog.builtin(id).ok_or_else(|| {
                Problem::new(
                    Code::ConnectorChanged,
                    format!("The built-in connector {id} does not exist in this version."),
                )
                .hint("The sandbox connector exists only on servers started with --sandbox.")
            })?;
            return Ok(Found { uid: uid.to_owned(), definition, row: None });
        }
        let row = connectors::by_uid(tx, uid).await.map_err(refusals::store)?.ok_or_else(|| {
            Problem::new(Code::ConnectorChanged, "The connector of this credential was deleted.")
                .hint("A project admin can upload it again under the same id.")
        })?;
        Ok(Found { uid: row.uid.clone(), definition: self.catalog.parse(&row)?, row: Some(row) })
    }

    /// By what a person wrote: a built-in id, a project's own id, or a whole uid.
    pub(crate) async fn definition_named(
        &self,
        tx: &mut impl Tx,
        projects: &[ProjectId],
        named: &str,
    ) -> Refused<Option<Found>> {
        let plain = named.strip_prefix(BUILTIN).unwrap_or(named);
        if let Some(definition) = self.catalog.builtin(plain) {
            return Ok(Some(Found { uid: format!("{BUILTIN}{plain}"), definition, row: None }));
        }
        for project in projects {
            let id =
                named.strip_prefix(project.as_str()).and_then(|rest| rest.strip_prefix('/')).unwrap_or(named);
            if let Some(row) = connectors::by_id(tx, project, id).await.map_err(refusals::store)? {
                return Ok(Some(Found {
                    uid: row.uid.clone(),
                    definition: self.catalog.parse(&row)?,
                    row: Some(row),
                }));
            }
        }
        Ok(None)
    }

    /// Whether a credential of this connector may be pinned there: as the definition says, or as the
    /// operator added (LATCHSTRING_EXTRA_HOSTS).
    pub(crate) fn may_pin(&self, definition: &Definition, origin: &Origin) -> HostVerdict {
        let extra = self.settings.extra_hosts.iter().any(|(connector, host, port)| {
            *connector == definition.id && *host == origin.host && port.is_none_or(|port| port == origin.port)
        });
        if extra { HostVerdict::Allowed } else { definition.host_verdict(origin) }
    }

    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }
}
