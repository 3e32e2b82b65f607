//! Opening a database, and the pools behind a [`Store`].
//!
//! SQLite: one connection writes, a few read (WAL: they do not wait for each other). PostgreSQL: one pool.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::{Any, AnyConnection, AnyPool, ConnectOptions, Connection, Pool, Transaction};

use crate::audit_keys::HeadSigner;
use crate::dialect::{BEGIN_READ, BEGIN_WRITE, Dialect, SERVER};
use crate::error::{Result, StoreError};
use crate::scopes::ScopeChange;
use crate::sql::Statement;
use crate::tx::{ReadTx, Reader, WriteTx};

/// PostgreSQL 15, as `server_version_num` spells it.
const OLDEST_POSTGRES: i64 = 150_000;

#[derive(Clone, Debug)]
pub struct OpenOptions {
    /// Connections that read (SQLite) or all connections (PostgreSQL).
    pub connections: u32,
    /// How long to wait for the first connection, and for a free one.
    pub connect_timeout: Duration,
    /// What an SQLite file may grow to, so that it leaves room for the journal. `None`: the whole disk.
    pub sqlite_max_bytes: Option<u64>,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self { connections: 8, connect_timeout: Duration::from_secs(10), sqlite_max_bytes: None }
    }
}

type Listener = Arc<dyn Fn(&[ScopeChange]) + Send + Sync>;

struct Inner {
    dialect: Dialect,
    readers: AnyPool,
    writers: AnyPool,
    listeners: RwLock<Vec<Listener>>,
    head_signer: RwLock<Option<Arc<dyn HeadSigner>>>,
}

/// A database. Cheap to clone; the sockets belong to the runtime that opened it.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

impl Store {
    /// Opens `sqlite:<path>` (made when missing, in a folder that must exist) or `postgres://…`.
    /// Nothing is migrated yet.
    pub async fn open(url: &str, options: OpenOptions) -> Result<Self> {
        sqlx::any::install_default_drivers();
        let (dialect, url, file) = read_url(url)?;
        if let Some(file) = &file {
            make_file(file)?;
        }
        let connect = url.parse::<AnyConnectOptions>().map_err(|_| StoreError::BadUrl)?;
        let connect = connect.disable_statement_logging();
        let fail = |error| match StoreError::from_sqlx(dialect, error) {
            StoreError::CannotOpen(_) => StoreError::CannotOpen(file.clone().unwrap_or_default()),
            other => other,
        };
        first_contact(dialect, &connect, options.connect_timeout, &fail).await?;
        let sqlite_max_bytes = options.sqlite_max_bytes;
        let pool = |reader: bool, size: u32| {
            AnyPoolOptions::new()
                .max_connections(size.max(1))
                .acquire_timeout(options.connect_timeout)
                // After a restart of the server the pool holds dead connections: asking first costs a round trip
                // and saves a failed request. A file does not go away.
                .test_before_acquire(dialect == Dialect::Postgres)
                .before_acquire(|connection, _| Box::pin(is_between_transactions(connection)))
                .idle_timeout(None)
                .max_lifetime(None)
                .after_connect(move |connection, _| {
                    Box::pin(async move {
                        let session = dialect.session(reader, sqlite_max_bytes);
                        sqlx::raw_sql(sqlx::AssertSqlSafe(session)).execute(connection).await.map(|_| ())
                    })
                })
        };
        let (readers, writers) = match dialect {
            Dialect::Sqlite => (
                pool(true, options.connections).connect_lazy_with(connect.clone()),
                pool(false, 1).connect_lazy_with(connect),
            ),
            Dialect::Postgres => {
                let all = pool(false, options.connections).connect_lazy_with(connect);
                (all.clone(), all)
            }
        };
        Ok(Self {
            inner: Arc::new(Inner {
                dialect,
                readers,
                writers,
                listeners: RwLock::default(),
                head_signer: RwLock::default(),
            }),
        })
    }

    pub fn dialect(&self) -> Dialect {
        self.inner.dialect
    }

    /// A connection for single reads. Let go of it before a write begins: on PostgreSQL both come from one pool,
    /// and tasks that each hold one and wait for another would wait for ever.
    pub async fn read(&self) -> Result<Reader> {
        let connection = self.inner.readers.acquire().await.map_err(|error| self.error(error))?;
        Ok(Reader { dialect: self.inner.dialect, connection })
    }

    /// A transaction whose reads all see the same moment.
    pub async fn begin_read(&self) -> Result<ReadTx> {
        let inner = self.begin(&self.inner.readers, &BEGIN_READ).await?;
        Ok(ReadTx { dialect: self.inner.dialect, inner })
    }

    /// A write. Raises the epoch of every scope whose cached decisions it may change: the ids of the users,
    /// projects and credentials concerned, a connector's uid, [`crate::scopes::INSTANCE`].
    pub async fn begin_write(&self, scopes: &[&str]) -> Result<WriteTx> {
        let inner = self.begin(&self.inner.writers, &BEGIN_WRITE).await?;
        WriteTx::begin(self.clone(), inner, scopes).await
    }

    /// A write that no cached decision depends on: audit, heartbeats, `used_at`, leases. Its statements must
    /// each be right without a lock (single compare-and-swaps, inserts).
    pub async fn begin_upkeep(&self) -> Result<WriteTx> {
        self.begin_write(&[]).await
    }

    /// Who signs the heads of audit chains from now on. Without one they are not signed.
    pub fn sign_heads_with(&self, signer: Arc<dyn HeadSigner>) {
        *self.inner.head_signer.write().unwrap_or_else(PoisonError::into_inner) = Some(signer);
    }

    pub(crate) fn head_signer(&self) -> Option<Arc<dyn HeadSigner>> {
        self.inner.head_signer.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Called with the changed scopes after each commit of this process, before `commit` returns. Keep it short.
    pub fn on_change(&self, listener: impl Fn(&[ScopeChange]) + Send + Sync + 'static) {
        let mut listeners = self.inner.listeners.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        listeners.push(Arc::new(listener));
    }

    pub async fn close(&self) {
        self.inner.readers.close().await;
        self.inner.writers.close().await;
    }

    pub(crate) fn tell(&self, changes: &[ScopeChange]) {
        let listeners =
            self.inner.listeners.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        for listener in listeners {
            listener(changes);
        }
    }

    async fn begin(&self, pool: &Pool<Any>, statement: &Statement) -> Result<Transaction<'static, Any>> {
        crate::counting::note(statement.name);
        pool.begin_with(statement.text(self.inner.dialect)).await.map_err(|error| self.error(error))
    }

    fn error(&self, error: sqlx::Error) -> StoreError {
        StoreError::from_sqlx(self.inner.dialect, error)
    }
}

/// Whether a connection that was used before can begin anew. SQLite ends a transaction by itself when the disk is full,
/// and the driver, whose own ROLLBACK then fails, believes for ever that it is in one: such a connection is closed.
async fn is_between_transactions(connection: &mut AnyConnection) -> sqlx::Result<bool> {
    if connection.is_in_transaction() {
        // A rollback of before may be on its way.
        connection.ping().await?;
    }
    Ok(!connection.is_in_transaction())
}

/// One connection outside the pools: a pool hides why it cannot connect behind its time-out.
async fn first_contact(
    dialect: Dialect,
    connect: &AnyConnectOptions,
    limit: Duration,
    fail: &(dyn Fn(sqlx::Error) -> StoreError + Sync),
) -> Result<()> {
    let contact = async {
        let mut connection = connect.connect().await.map_err(fail)?;
        sqlx::raw_sql(sqlx::AssertSqlSafe(dialect.session(false, None)))
            .execute(&mut connection)
            .await
            .map_err(fail)?;
        let (version, number, encoding) = SERVER
            .on_connection(dialect, &mut connection)
            .one(|row| Ok((row.text()?, row.int()?, row.text()?)))
            .await?;
        check_server(dialect, version, number, encoding)?;
        connection.close().await.map_err(fail)
    };
    tokio::time::timeout(limit, contact)
        .await
        .unwrap_or_else(|_| Err(StoreError::Unreachable(format!("no answer within {} s", limit.as_secs()))))
}

fn check_server(dialect: Dialect, version: String, number: i64, encoding: String) -> Result<()> {
    if dialect == Dialect::Postgres && number < OLDEST_POSTGRES {
        return Err(StoreError::TooOld(version));
    }
    if !encoding.eq_ignore_ascii_case("UTF8") && !encoding.eq_ignore_ascii_case("UTF-8") {
        return Err(StoreError::NotUtf8(encoding));
    }
    Ok(())
}

/// The dialect, the URL as the driver wants it, and SQLite's file.
fn read_url(url: &str) -> Result<(Dialect, String, Option<PathBuf>)> {
    if url.starts_with("postgres://") || url.starts_with("postgresql://") {
        return Ok((Dialect::Postgres, url.to_owned(), None));
    }
    let path = url.strip_prefix("sqlite:").ok_or(StoreError::BadUrl)?;
    let path = path.strip_prefix("//").unwrap_or(path);
    // In memory every connection would have its own database; parameters are ours to choose.
    if path.is_empty() || path.starts_with(":memory:") || path.contains('?') {
        return Err(StoreError::BadUrl);
    }
    Ok((Dialect::Sqlite, sqlite_url(Path::new(path))?, Some(PathBuf::from(path))))
}

/// `sqlite:` URL of a file, whatever characters its path has.
fn sqlite_url(path: &Path) -> Result<String> {
    let path = path.to_str().ok_or(StoreError::BadUrl)?;
    let mut url = String::from("sqlite:");
    // A relative path stays one: `sqlite://a/b` would make `a` a host.
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'_' | b'-' => url.push(char::from(byte)),
            _ => url.push_str(&format!("%{byte:02X}")),
        }
    }
    url.push_str("?mode=rw");
    Ok(url)
}

/// Makes the file before SQLite does, so that nobody else can read it; its companions take over the mode.
fn make_file(file: &Path) -> Result<()> {
    use std::io::ErrorKind;
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !folder.is_dir() {
        return Err(StoreError::MissingFolder(folder.to_owned()));
    }
    let mut options = std::fs::OpenOptions::new();
    options.read(true).append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(file) {
        Ok(_) => Ok(()),
        Err(error) => Err(match error.kind() {
            ErrorKind::ReadOnlyFilesystem => StoreError::ReadOnly,
            ErrorKind::StorageFull => StoreError::DiskFull,
            _ => StoreError::CannotOpen(file.to_owned()),
        }),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn old_servers_are_refused() {
        let check = |version: &str, number, encoding: &str| {
            check_server(Dialect::Postgres, version.into(), number, encoding.into())
        };
        assert!(
            matches!(check("14.9", 140_009, "UTF8"), Err(StoreError::TooOld(version)) if version == "14.9")
        );
        assert!(matches!(check("15.0", 150_000, "SQL_ASCII"), Err(StoreError::NotUtf8(_))));
        assert!(check("15.0", 150_000, "UTF8").is_ok());
    }

    #[test]
    fn urls() {
        assert_eq!(
            read_url("sqlite:/a b/c?").err().map(|e| e.to_string()),
            Some(StoreError::BadUrl.to_string())
        );
        let (_, url, file) = read_url("sqlite:///var/a b#c%.db").unwrap();
        assert_eq!(url, "sqlite:/var/a%20b%23c%25.db?mode=rw");
        assert_eq!(file, Some(PathBuf::from("/var/a b#c%.db")));
        assert_eq!(read_url("sqlite:data/x.db").unwrap().1, "sqlite:data/x.db?mode=rw");
        assert_eq!(read_url("postgres://u:p@h/d").unwrap().0, Dialect::Postgres);
        for bad in ["", "mysql://x", "sqlite:", "sqlite::memory:", "/a/b.db"] {
            assert!(read_url(bad).is_err(), "{bad}");
        }
    }
}
