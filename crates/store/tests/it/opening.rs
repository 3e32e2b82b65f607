//! Opening and migrating, and every way in which that fails.

use std::os::unix::fs::PermissionsExt;

use latchstring_store::{Dialect, OpenOptions, Store, StoreError, all_statements};
use latchstring_testkit::postgres::Postgres;
use sqlx::{Connection, Executor};

use crate::support::*;

async fn refused(url: &str) -> StoreError {
    match Store::open(url, OpenOptions::default()).await {
        Ok(store) => store.migrate().await.expect_err("opened and migrated"),
        Err(error) => error,
    }
}

both! {
    async fn migrating_twice_changes_nothing(store, home) {
        assert_eq!(store.migrate().await.unwrap(), Vec::<i64>::new());
        store.check_schema().await.unwrap();
    }

    async fn servers_that_start_together_migrate_once(store, home) {
        let fresh = match store.dialect() {
            Dialect::Sqlite => sqlite_home(),
            Dialect::Postgres => postgres_home(),
        };
        let first = fresh.open().await;
        assert!(matches!(first.check_schema().await, Err(StoreError::NotMigrated(1))));
        let mut others = Vec::new();
        for _ in 0..6 {
            others.push(fresh.open().await);
        }
        let runs = others.into_iter().map(|store| tokio::spawn(async move { store.migrate().await.unwrap().len() }));
        let mut applied = 0;
        for run in runs.collect::<Vec<_>>() {
            applied += run.await.unwrap();
        }
        let files = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations")).unwrap().count();
        assert_eq!(applied, files, "each once");
        first.check_schema().await.unwrap();
    }

    async fn every_statement_prepares(store, home) {
        sqlx::any::install_default_drivers();
        let mut connection = sqlx::AnyConnection::connect(&home.url).await.unwrap();
        let statements = all_statements(store.dialect());
        assert!(statements.len() > 60, "the list lost its modules");
        for (name, text) in statements {
            if text.starts_with("BEGIN") {
                continue;
            }
            if let Err(error) = (&mut connection).prepare(sqlx::SqlSafeStr::into_sql_str(text)).await {
                panic!("{name}: {error}\n{text}");
            }
        }
    }

    async fn what_is_under_way_survives_a_table_that_is_made_anew(store, home) {
        let (fresh, freely) = match store.dialect() {
            Dialect::Sqlite => (sqlite_home(), "PRAGMA foreign_keys = OFF"),
            Dialect::Postgres => (postgres_home(), "SET session_replication_role = replica"),
        };
        let opened = fresh.open().await;
        let mut connection = sqlx::AnyConnection::connect(&fresh.url).await.unwrap();
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/migrations");
        let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
        files.sort();
        for file in files {
            let anew = file.file_name().unwrap().to_str().unwrap().starts_with("0011");
            if anew {
                sqlx::raw_sql(freely).execute(&mut connection).await.unwrap();
                let row = "INSERT INTO consents (id, credential_id, environment, values_version, user_id, kind, state,
                    sealed_version, scopes, created_at, expires_at)
                    VALUES ('c', 'crd', 'production', 3, 'usr', 'browser', 'at_provider', 1, '[]', 10, 20)";
                sqlx::raw_sql(row).execute(&mut connection).await.unwrap();
            }
            let mut text = std::fs::read_to_string(&file).unwrap();
            if store.dialect() == Dialect::Postgres {
                text = text.replace(" BLOB", " BYTEA").replace("SEQUENCE_KEY", "BIGSERIAL PRIMARY KEY");
            }
            sqlx::raw_sql(sqlx::AssertSqlSafe(text)).execute(&mut connection).await.unwrap();
            if anew {
                let asked = "SELECT user_id, state, values_version, expires_at FROM consents WHERE connect_session_id IS NULL";
                let kept: Vec<(String, String, i64, i64)> =
                    sqlx::query_as(asked).fetch_all(&mut connection).await.unwrap();
                assert_eq!(kept, [("usr".to_owned(), "at_provider".to_owned(), 3, 20)]);
            }
        }
        opened.close().await;
    }

    async fn a_newer_schema_is_refused_unless_it_is_compatible(store, home) {
        let mut connection = sqlx::AnyConnection::connect(&home.url).await.unwrap();
        let insert = "INSERT INTO migrations (number, name, checksum, min_compatible, applied_at) VALUES (1000, 'n', 'c', 1, 0)";
        sqlx::raw_sql(insert).execute(&mut connection).await.unwrap();
        store.check_schema().await.unwrap();
        store.migrate().await.unwrap();
        sqlx::raw_sql("UPDATE migrations SET min_compatible = 1000 WHERE number = 1000").execute(&mut connection).await.unwrap();
        assert!(matches!(store.migrate().await, Err(StoreError::SchemaTooNew { found: 1000, .. })));
        assert!(matches!(store.check_schema().await, Err(StoreError::SchemaTooNew { .. })));
        sqlx::raw_sql("UPDATE migrations SET checksum = 'x' WHERE number = 1").execute(&mut connection).await.unwrap();
        assert!(matches!(store.migrate().await, Err(StoreError::MigrationChanged(1))));
    }
}

#[tokio::test]
async fn urls_that_are_none() {
    for url in ["", "mysql://localhost/x", "sqlite:", "sqlite::memory:", "postgres://u:p@h:not-a-port/x"] {
        let error = refused(url).await;
        assert!(matches!(error, StoreError::BadUrl), "{url}: {error}");
    }
}

#[tokio::test]
async fn sqlite_files_that_cannot_be_used() {
    let folder = Folder::new();
    let missing = refused(&format!("sqlite:{}/none/x.db", folder.0.display())).await;
    assert!(matches!(&missing, StoreError::MissingFolder(path) if path.ends_with("none")), "{missing}");

    let junk = folder.0.join("junk.db");
    std::fs::write(&junk, "this is not a database, it is a text of some length".repeat(40)).unwrap();
    let error = refused(&format!("sqlite:{}", junk.display())).await;
    assert!(matches!(error, StoreError::NotADatabase(_)), "{error}");

    let error = refused(&format!("sqlite:{}", folder.0.display())).await;
    assert!(matches!(error, StoreError::CannotOpen(_)), "a folder: {error}");

    let spaced = Folder::new();
    let path = spaced.0.join("50% of #1 & ü.db");
    let store = Store::open(&format!("sqlite:{}", path.display()), OpenOptions::default()).await.unwrap();
    store.migrate().await.unwrap();
    store.close().await;
    assert!(path.is_file());
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600, "nobody else reads it");
}

#[tokio::test]
async fn a_read_only_sqlite_file_says_so() {
    use std::io::{Seek, SeekFrom, Write};
    let home = sqlite_home();
    home.migrated().await.close().await;
    // Permissions do not keep root from writing. A file whose format's write version is one that SQLite does
    // not know is read-only for everybody (https://www.sqlite.org/fileformat.html#file_format_version_numbers).
    let path = home.url.strip_prefix("sqlite:").unwrap();
    let mut file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    file.seek(SeekFrom::Start(18)).unwrap();
    file.write_all(&[3, 1]).unwrap();
    drop(file);
    let error = refused(&home.url).await;
    assert!(matches!(error, StoreError::ReadOnly), "{error}");
}

#[tokio::test]
async fn a_full_disk_says_so_and_loses_nothing() {
    let home = sqlite_home();
    // SQLite answers SQLITE_FULL at its quota as it does when the disk has no room.
    let options = OpenOptions { sqlite_max_bytes: Some(4 << 20), ..OpenOptions::default() };
    let store = Store::open(&home.url, options).await.unwrap();
    store.migrate().await.unwrap();
    let mut tx = store.begin_write(&["instance"]).await.unwrap();
    let kept = user(&mut tx, "kept@example.com").await;
    tx.commit().await.unwrap();
    let mut failed = None;
    for number in 0..6_000 {
        let mut tx = store.begin_write(&["instance"]).await.unwrap();
        let fields = person(&format!("{number}-{}@example.com", "x".repeat(500)));
        let result = latchstring_store::users::create(&mut tx, &user_id(), &fields, None, NOW).await;
        if let Err(error) = result {
            failed = Some(error);
            break;
        }
        tx.commit().await.unwrap();
    }
    assert!(matches!(failed, Some(StoreError::DiskFull)), "{failed:?}");
    let mut reader = store.read().await.unwrap();
    assert!(latchstring_store::users::by_id(&mut reader, &kept).await.unwrap().is_some());
}

#[tokio::test]
async fn postgres_servers_that_cannot_be_used() {
    let postgres = Postgres::shared();
    let good = postgres.fresh_database();
    let (_, rest) = good.split_once("//").unwrap();
    let (_, at) = rest.split_once('@').unwrap();

    if std::env::var(latchstring_testkit::postgres::URL_VARIABLE).is_err() {
        let error = refused(&format!("postgres://postgres:wrong-password@{at}")).await;
        assert!(matches!(error, StoreError::WrongPassword), "{error}");
        assert!(!error.to_string().contains("wrong-password"));
    }
    let error = refused(&postgres.url_of("no_such_database")).await;
    assert!(matches!(error, StoreError::NoSuchDatabase), "{error}");

    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let quick =
        OpenOptions { connect_timeout: std::time::Duration::from_millis(300), ..OpenOptions::default() };
    let silent = Store::open(&format!("postgres://u:p@127.0.0.1:{port}/x"), quick).await.err().unwrap();
    assert!(matches!(silent, StoreError::Unreachable(_)), "{silent}");
    drop(listener);
    let error = refused(&format!("postgres://u:p@127.0.0.1:{port}/x")).await;
    assert!(matches!(error, StoreError::Unreachable(_)), "{error}");

    let latin = postgres.fresh_database_with("ENCODING 'LATIN1'");
    let error = refused(&latin).await;
    assert!(matches!(&error, StoreError::NotUtf8(encoding) if encoding == "LATIN1"), "{error}");

    let read_only = postgres.fresh_database();
    let name = read_only.rsplit('/').next().unwrap().split('?').next().unwrap();
    postgres.run(postgres.url(), &format!("ALTER DATABASE {name} SET default_transaction_read_only = on"));
    let error = refused(&read_only).await;
    assert!(matches!(error, StoreError::ReadOnly), "{error}");

    let foreign = postgres.fresh_database();
    let role = format!("plain_{}", std::process::id());
    postgres.run(postgres.url(), &format!("CREATE ROLE {role} LOGIN PASSWORD 'plain'"));
    let (_, at) = foreign.split_once('@').unwrap();
    let error = refused(&format!("postgres://{role}:plain@{at}")).await;
    assert!(matches!(error, StoreError::NotPermitted(_)), "{error}");
}

/// As `.cargo/config.toml` has it: with either lock, the readers of a list wait for each other.
#[tokio::test]
async fn connections_of_sqlite_share_no_locks() {
    let home = sqlite_home();
    home.open().await;
    let mut connection = sqlx::AnyConnection::connect(&home.url).await.unwrap();
    let options: Vec<(String,)> =
        sqlx::query_as("PRAGMA compile_options").fetch_all(&mut connection).await.unwrap();
    let has = |wanted: &str| options.iter().any(|(option,)| option == wanted);
    assert!(has("DEFAULT_MEMSTATUS=0"), "{options:?}");
    assert!(!has("ENABLE_MEMORY_MANAGEMENT"), "{options:?}");
    assert!(has("ENABLE_QPSG"), "{options:?}");
}
