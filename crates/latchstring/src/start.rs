//! What every command that works on the data begins with: settings, root key, database, vault — in an order in
//! which a wrong key or a read-only disk is found before anything is written.

use std::path::Path;
use std::sync::Arc;

use latchstring_broker::audit::signing::{FirstKey, sign_heads};
use latchstring_broker::keys::start::prepare_vault;
use latchstring_broker::{Broker, Parts, SandboxAt};
use latchstring_egress::{Egress, OutboundProxy};
use latchstring_journal::{Durability, Journal};
use latchstring_model::id::ServerId;
use latchstring_model::{Clock, Entropy};
use latchstring_store::{OpenOptions, Store, StoreError, instance};
use latchstring_vault::{KeyRing, Vault, verify_check};

use crate::clock::SystemClock;
use crate::entropy::OsEntropy;
use crate::root_key;
use crate::settings::{JournalSync, SettingError, Settings};

/// An opened installation.
pub struct Opened {
    pub store: Store,
    pub vault: Arc<Vault>,
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
    /// Whether this start made it.
    pub fresh: bool,
}

fn stop(what: impl std::fmt::Display) -> SettingError {
    SettingError(what.to_string())
}

fn make_data_dir(path: &Path) -> Result<(), SettingError> {
    use std::os::unix::fs::DirBuilderExt;
    if path.is_dir() {
        return Ok(());
    }
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|error| {
        stop(format!("the data folder {} cannot be made: {error}; make it, or choose another with LATCHSTRING_DATA_DIR", path.display()))
    })
}

/// The key check that the database holds, if it holds data.
async fn stored_check(store: &Store) -> Result<Option<String>, SettingError> {
    match store.check_schema().await {
        Ok(()) => {}
        // An older schema still has its check; an empty database has no tables at all.
        Err(StoreError::NotMigrated(1)) => return Ok(None),
        Err(StoreError::NotMigrated(_)) => {}
        Err(error) => return Err(stop(error)),
    }
    let mut reader = store.read().await.map_err(stop)?;
    instance::get(&mut reader, instance::KEY_CHECK).await.map_err(stop)
}

fn fits(ring: &KeyRing, check: &str, path: &Path) -> Result<(), SettingError> {
    verify_check(ring, check).map_err(|error| stop(format!("the root key file {}: {error}", path.display())))
}

/// Opens the database and the vault. `migrate`: only `serve` and `admin` change the schema.
pub async fn open(settings: &Settings, migrate: bool) -> Result<Opened, SettingError> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let entropy: Arc<dyn Entropy> = Arc::new(OsEntropy);
    // The key first: a wrong one is found before the database is touched.
    let found = root_key::read(&settings.root_key_file)?;
    let url = match &settings.database_url {
        Some(url) => url.clone(),
        None => {
            let file = settings.data_dir.join("latchstring.db");
            let file = file
                .to_str()
                .ok_or_else(|| {
                    stop("the data folder's path is not UTF-8; choose another with LATCHSTRING_DATA_DIR")
                })?
                .to_owned();
            if !migrate && !Path::new(&file).exists() {
                return Err(stop(format!(
                    "there is no data in {}; start `latchstring serve` once, or name the right folder with LATCHSTRING_DATA_DIR",
                    settings.data_dir.display()
                )));
            }
            if found.is_none()
                && Path::new(&file).exists()
                && std::fs::metadata(&file).is_ok_and(|about| about.len() > 0)
            {
                return Err(no_key(&settings.root_key_file));
            }
            make_data_dir(&settings.data_dir)?;
            format!("sqlite:{file}")
        }
    };
    let store = Store::open(&url, OpenOptions::default()).await.map_err(stop)?;
    match prepare(settings, migrate, found, &store, clock, entropy).await {
        Ok(opened) => Ok(opened),
        Err(error) => {
            // A start that is refused leaves the database's files as they were.
            store.close().await;
            Err(error)
        }
    }
}

/// Everything behind an open database: does the key fit, is the schema there, which data keys are there.
async fn prepare(
    settings: &Settings,
    migrate: bool,
    found: Option<KeyRing>,
    store: &Store,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
) -> Result<Opened, SettingError> {
    let check = stored_check(store).await?;
    let (ring, made) = match (found, &check) {
        (Some(ring), Some(check)) => {
            fits(&ring, check, &settings.root_key_file)?;
            (ring, false)
        }
        (Some(ring), None) => (ring, false),
        (None, Some(_)) => return Err(no_key(&settings.root_key_file)),
        (None, None) if migrate => {
            make_data_dir(&settings.data_dir)?;
            let ring = root_key::generate(&*clock, &*entropy);
            root_key::write_first(&settings.root_key_file, &ring)?;
            (ring, true)
        }
        (None, None) => return Err(stop("there is no data yet; start `latchstring serve` once")),
    };
    let first_key = if migrate {
        store.migrate().await.map_err(stop)?;
        FirstKey::Make
    } else {
        store.check_schema().await.map_err(stop)?;
        FirstKey::Never
    };
    let vault = Arc::new(Vault::new(ring.clone()));
    // Of several first starts on one database one wins; the others have the wrong key and say so.
    if let Err(error) = prepare_vault(store, &vault, &ring, clock.now(), &*entropy).await {
        if made {
            root_key::take_back(&settings.root_key_file, &ring);
        }
        return Err(stop(format!("the root key file {}: {error}", settings.root_key_file.display())));
    }
    sign_heads(store, &vault, clock.now(), &*entropy, first_key).await.map_err(stop)?;
    Ok(Opened { store: store.clone(), vault, clock, entropy, fresh: check.is_none() })
}

fn no_key(path: &Path) -> SettingError {
    stop(format!(
        "the root key file {} is missing, but there is data that it opens; restore it from your backup (a new key cannot open the data)",
        path.display()
    ))
}

/// Those that wait are half of all at most: they must not be in the way of those that are wanted. Each core has a pool,
/// and the control runtime one more.
fn idle_of_a_pool(all: usize, cores: usize) -> usize {
    (all / 2 / (cores + 1)).clamp(4, 2_048)
}

/// The way out, as the operator set it.
pub fn egress(
    settings: &Settings,
    further: Vec<latchstring_egress::AllowRule>,
) -> Result<Egress, SettingError> {
    let extra_ca_pem = match &settings.extra_ca_file {
        None => None,
        Some(path) => Some(std::fs::read(path).map_err(|error| {
            stop(format!("LATCHSTRING_EXTRA_CA_FILE {} cannot be read: {error}", path.display()))
        })?),
    };
    let proxy = match &settings.outbound_proxy {
        None => None,
        Some(text) => Some(
            text.parse::<OutboundProxy>()
                .map_err(|error| stop(format!("LATCHSTRING_OUTBOUND_PROXY cannot be understood: {error}")))?,
        ),
    };
    let mut allow = settings.egress_allow.clone();
    allow.extend(further);
    Egress::new(latchstring_egress::Settings {
        allow,
        extra_ca_pem,
        proxy,
        limits: latchstring_egress::Limits {
            response_head: settings.upstream_timeout,
            idle_body: settings.upstream_idle_timeout,
            open_total: settings.upstream_connections,
            idle_total: idle_of_a_pool(settings.upstream_connections, settings.data_cores),
            ..latchstring_egress::Limits::default()
        },
    })
    .map_err(stop)
}

pub fn journal(settings: &Settings, server: &ServerId) -> Result<Journal, SettingError> {
    let mut journal = latchstring_journal::Settings::new(settings.data_dir.join("journal"));
    journal.durability = match settings.journal_sync {
        JournalSync::Always => Durability::EveryWrite,
        JournalSync::Every(interval) => Durability::Every(interval),
    };
    Journal::open(journal, server.clone()).map_err(stop)
}

/// Joins everything to the use cases' common ground. Runs on the control runtime.
pub fn broker(
    settings: &Settings,
    opened: &Opened,
    egress: Egress,
    sandbox: Option<SandboxAt>,
) -> Result<Arc<Broker>, SettingError> {
    let server = ServerId::new(opened.clock.now(), &*opened.entropy);
    let journal = journal(settings, &server)?;
    let mut extra_hosts: Vec<(String, String, Option<u16>)> = settings
        .extra_hosts
        .iter()
        .map(|extra| (extra.connector.clone(), extra.host.clone(), extra.port))
        .collect();
    if let Some(at) = &sandbox
        && let Ok(address) = latchstring_model::address::Address::parse(&at.base_url)
    {
        extra_hosts.push(("sandbox".into(), address.origin.host, Some(address.origin.port)));
    }
    let broker = Broker::new(
        Parts {
            clock: Arc::clone(&opened.clock),
            entropy: Arc::clone(&opened.entropy),
            store: opened.store.clone(),
            vault: Arc::clone(&opened.vault),
            egress: Arc::new(egress),
            journal: Arc::new(journal),
            server,
            control: tokio::runtime::Handle::current(),
        },
        latchstring_broker::Settings {
            public_url: settings.public_url.clone(),
            stale_limit: settings.stale_limit,
            delete_after: settings.delete_after,
            keep_versions: settings.keep_versions,
            verify_every: settings.verify_every,
            background_refresh: settings.background_refresh,
            mail: settings.mail()?,
            oidc: settings.sign_in_provider()?,
            sandbox,
            extra_hosts,
        },
    );
    broker.open_own_way().map_err(|problem| stop(problem.detail))?;
    Ok(broker)
}
