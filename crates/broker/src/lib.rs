//! The use cases. Everything meets here: HTTP layers translate to and from these functions and
//! decide nothing. See docs/ARCHITECTURE.md.

pub mod actor;
mod allowed_projects;
pub mod audit;
pub mod catalog;
pub mod connect_sessions;
pub mod consent;
pub mod cookies;
pub mod credentials;
pub mod definitions;
pub mod freshness;
mod health;
pub mod jobs;
mod key_making;
pub mod keychains;
pub mod keys;
pub mod metrics;
pub mod notices;
pub mod oauth_clients;
pub mod operations;
pub mod passwords;
pub mod people;
pub mod permissions;
pub mod projects;
mod refusals;
pub mod returned;
pub mod road;
mod sealing;
pub mod tokens;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use latchstring_egress::Egress;
use latchstring_journal::Journal;
use latchstring_model::id::ServerId;
use latchstring_model::{Clock, Entropy, Timestamp};
use latchstring_store::Store;
use latchstring_vault::Vault;

pub use crate::actor::{Actor, Person, Via, Who};
use crate::freshness::Freshness;

/// What the binary hands over, already open and checked.
pub struct Parts {
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
    pub store: Store,
    pub vault: Arc<Vault>,
    pub egress: Arc<Egress>,
    pub journal: Arc<Journal>,
    pub server: ServerId,
    /// The control runtime: it owns the database's sockets.
    pub control: tokio::runtime::Handle,
}

/// What the operator chose, of what use cases need to know.
pub struct Settings {
    /// Without a trailing slash.
    pub public_url: String,
    pub stale_limit: Duration,
    pub delete_after: Duration,
    /// Versions whose values are kept, the current one among them.
    pub keep_versions: i64,
    /// How often stored values are checked again; `None`: only when somebody asks.
    pub verify_every: Option<Duration>,
    pub background_refresh: bool,
    /// Without them nobody is told anything by mail.
    pub mail: Option<notices::mail::MailSettings>,
    /// Where people can sign in besides here.
    pub oidc: Option<people::oidc::OidcSettings>,
    /// Whether the sandbox connector exists here.
    pub sandbox: Option<SandboxAt>,
    /// (connector id, host, port): more places where its credentials may be pinned.
    pub extra_hosts: Vec<(String, String, Option<u16>)>,
}

/// Where the sandbox's external API listens.
#[derive(Clone)]
pub struct SandboxAt {
    pub base_url: String,
}

/// The use cases' common ground. One per process.
pub struct Broker {
    pub(crate) parts: Parts,
    pub(crate) settings: Settings,
    pub(crate) freshness: Arc<Freshness>,
    pub(crate) catalog: catalog::Catalog,
    pub(crate) routes: road::route::RouteBook,
    pub(crate) tokens: tokens::TokenBook,
    pub(crate) own_way: OnceLock<road::own::OwnWay>,
    pub(crate) refusals_noted: audit::Refusals,
    pub(crate) metrics: metrics::Metrics,
    pub(crate) turns: tokens::background::Turns,
    pub(crate) deliveries: notices::Turns,
    pub(crate) checks: credentials::recheck::Turns,
    pub(crate) instance: people::instance::Known,
    pub(crate) provider: people::oidc::Provider,
}

impl Broker {
    /// Joins the parts. Call [`Broker::open_own_way`] on the control runtime before anything is served.
    pub fn new(parts: Parts, settings: Settings) -> Arc<Self> {
        let freshness = Arc::new(Freshness::new(Arc::clone(&parts.clock), settings.stale_limit));
        let heard = Arc::clone(&freshness);
        parts.store.on_change(move |changes| heard.changed(changes));
        let sandbox = settings.sandbox.as_ref().map(|at| at.base_url.clone());
        let metrics = metrics::Metrics::new(parts.clock.now());
        Arc::new(Self {
            parts,
            settings,
            freshness,
            catalog: catalog::Catalog::new(sandbox.as_deref()),
            routes: road::route::RouteBook::default(),
            tokens: tokens::TokenBook::default(),
            own_way: OnceLock::new(),
            refusals_noted: audit::Refusals::default(),
            metrics,
            turns: tokens::background::Turns::default(),
            deliveries: notices::Turns::default(),
            checks: credentials::recheck::Turns::default(),
            instance: people::instance::Known::default(),
            provider: people::oidc::Provider::default(),
        })
    }

    pub fn freshness(&self) -> &Arc<Freshness> {
        &self.freshness
    }

    pub fn store(&self) -> &Store {
        &self.parts.store
    }

    pub fn now(&self) -> Timestamp {
        self.parts.clock.now()
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }
}
