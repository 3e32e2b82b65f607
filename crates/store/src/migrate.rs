//! Migrations: applied at start, in one transaction, under a lock, each exactly once.
//!
//! They only expand; where a table has to be made anew, with its rows, older versions are refused. `min_compatible` is the newest migration that a version has to know to work beside
//! this one, so that two versions can run side by side while a cluster is rolled over.

use sha2::{Digest, Sha256};

use crate::dialect::{CLOCK, Dialect, HAS_MIGRATIONS, MIGRATION_LOCK};
use crate::error::{Result, StoreError};
use crate::pool::Store;
use crate::sql::statements;
use crate::tx::Tx;

struct Migration {
    number: i64,
    name: &'static str,
    min_compatible: i64,
    text: &'static str,
}

const MIGRATIONS: &[Migration] = &[
    Migration {
        number: 1,
        name: "first",
        min_compatible: 1,
        text: include_str!("../migrations/0001_first.sql"),
    },
    Migration {
        number: 2,
        name: "oauth_clients",
        min_compatible: 1,
        text: include_str!("../migrations/0002_oauth_clients.sql"),
    },
    Migration {
        number: 3,
        name: "consent",
        min_compatible: 1,
        text: include_str!("../migrations/0003_consent.sql"),
    },
    Migration {
        number: 4,
        name: "notifications",
        min_compatible: 1,
        text: include_str!("../migrations/0004_notifications.sql"),
    },
    Migration {
        number: 5,
        name: "client_proofs",
        min_compatible: 1,
        text: include_str!("../migrations/0005_client_proofs.sql"),
    },
    Migration {
        number: 6,
        name: "people",
        min_compatible: 1,
        text: include_str!("../migrations/0006_people.sql"),
    },
    Migration {
        number: 8,
        name: "ownership",
        min_compatible: 1,
        text: include_str!("../migrations/0008_ownership.sql"),
    },
    Migration {
        number: 10,
        name: "audit",
        // A version that does not sign heads would leave chains behind that look as if they had been changed.
        min_compatible: 10,
        text: include_str!("../migrations/0010_audit.sql"),
    },
    Migration {
        number: 11,
        name: "connect_sessions",
        // A version before it takes a consent without a user for a broken row.
        min_compatible: 11,
        text: include_str!("../migrations/0011_connect_sessions.sql"),
    },
    Migration {
        number: 12,
        name: "applied",
        min_compatible: 1,
        text: include_str!("../migrations/0012_applied.sql"),
    },
    Migration {
        number: 13,
        name: "share_connectors",
        min_compatible: 1,
        text: include_str!("../migrations/0013_share_connectors.sql"),
    },
];

const TABLE: &str = "CREATE TABLE IF NOT EXISTS migrations (
    number BIGINT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    checksum TEXT NOT NULL,
    min_compatible BIGINT NOT NULL,
    applied_at BIGINT NOT NULL
);";

statements! {
    APPLIED = "SELECT number, checksum, min_compatible FROM migrations ORDER BY number";
    RECORD = "INSERT INTO migrations (number, name, checksum, min_compatible, applied_at) VALUES ($1, $2, $3, $4, $5)";
}

struct Applied {
    number: i64,
    checksum: String,
    min_compatible: i64,
}

impl Migration {
    /// Of the text without comments, so that a comment may be corrected.
    fn checksum(&self) -> String {
        let digest = Sha256::digest(Dialect::Sqlite.ddl(self.text).as_bytes());
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl Store {
    /// Brings the schema up to date; the numbers of the migrations that were applied now.
    pub async fn migrate(&self) -> Result<Vec<i64>> {
        let dialect = self.dialect();
        let mut tx = self.begin_upkeep().await?;
        MIGRATION_LOCK.on(&mut tx).run().await?;
        execute_ddl(&mut tx, TABLE).await?;
        let applied = applied(&mut tx).await?;
        check(&applied)?;
        let mut done = Vec::new();
        for migration in &MIGRATIONS[applied.iter().filter(|a| a.number <= known()).count()..] {
            execute_ddl(&mut tx, migration.text).await?;
            let now = CLOCK.on(&mut tx).one(|row| row.time()).await?;
            RECORD
                .on(&mut tx)
                .bind(migration.number)
                .bind(migration.name)
                .bind(migration.checksum())
                .bind(migration.min_compatible)
                .bind(now)
                .run()
                .await?;
            done.push(migration.number);
        }
        tx.commit().await?;
        if !done.is_empty() {
            tracing::info!(?dialect, migrations = ?done, "the database was migrated");
        }
        Ok(done)
    }

    /// Whether this version can work on the schema as it is: for readiness, and for commands that do not migrate.
    pub async fn check_schema(&self) -> Result<()> {
        let mut reader = self.read().await?;
        if HAS_MIGRATIONS.on(&mut reader).one(|row| row.int()).await? == 0 {
            return Err(StoreError::NotMigrated(1));
        }
        let applied = applied(&mut reader).await?;
        check(&applied)?;
        match MIGRATIONS.iter().find(|migration| applied.iter().all(|a| a.number != migration.number)) {
            Some(missing) => Err(StoreError::NotMigrated(missing.number)),
            None => Ok(()),
        }
    }
}

fn known() -> i64 {
    MIGRATIONS.last().map_or(0, |migration| migration.number)
}

async fn applied(tx: &mut impl Tx) -> Result<Vec<Applied>> {
    APPLIED
        .on(tx)
        .all(|row| Ok(Applied { number: row.int()?, checksum: row.text()?, min_compatible: row.int()? }))
        .await
}

fn check(applied: &[Applied]) -> Result<()> {
    for (at, row) in applied.iter().enumerate() {
        match MIGRATIONS.get(at) {
            Some(ours) if ours.number != row.number || ours.checksum() != row.checksum => {
                return Err(StoreError::MigrationChanged(row.number));
            }
            Some(_) => {}
            None if row.min_compatible > known() => {
                return Err(StoreError::SchemaTooNew { found: row.number, known: known() });
            }
            None => {}
        }
    }
    Ok(())
}

async fn execute_ddl(tx: &mut impl Tx, text: &str) -> Result<()> {
    let (dialect, connection) = tx.parts();
    // The text is part of this crate: no value is ever put into it.
    sqlx::raw_sql(sqlx::AssertSqlSafe(dialect.ddl(text)))
        .execute(connection)
        .await
        .map(|_| ())
        .map_err(|error| StoreError::from_sqlx(dialect, error))
}
