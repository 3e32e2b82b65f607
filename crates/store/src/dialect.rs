//! The two databases, and the only places where their texts differ.
//!
//! [`EXCEPTIONS`] lists every statement that has two texts; a test counts them. Everything else in
//! this crate is one text for both. The schema is one text too: [`Dialect::ddl`] rewrites its type words.

use crate::sql::Statement;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    Sqlite,
    Postgres,
}

/// The database's clock in Unix milliseconds. Never compared with the process's clock.
pub(crate) const CLOCK: Statement = Statement::two(
    "clock",
    "SELECT CAST(ROUND(unixepoch('now', 'subsec') * 1000) AS INTEGER)",
    "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)",
);

/// Raises a scope's epoch, which locks the row until the transaction ends. On PostgreSQL the time is
/// taken in DO UPDATE and not in VALUES: only there is it read after the wait for the lock.
pub(crate) const RAISE_SCOPE: Statement = Statement::two(
    "raise_scope",
    "INSERT INTO scopes (id, epoch, changed_at)
     VALUES ($1, 1, CAST(ROUND(unixepoch('now', 'subsec') * 1000) AS INTEGER))
     ON CONFLICT (id) DO UPDATE SET epoch = scopes.epoch + 1, changed_at = excluded.changed_at
     RETURNING epoch, changed_at",
    "INSERT INTO scopes (id, epoch, changed_at)
     VALUES ($1, 1, CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT))
     ON CONFLICT (id) DO UPDATE SET epoch = scopes.epoch + 1,
         changed_at = CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)
     RETURNING epoch, changed_at",
);

/// SQLite's writer lock is taken at BEGIN: a deferred one fails when it must be raised later.
pub(crate) const BEGIN_WRITE: Statement = Statement::two("begin_write", "BEGIN IMMEDIATE", "BEGIN");

pub(crate) const BEGIN_READ: Statement =
    Statement::two("begin_read", "BEGIN", "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");

/// One server migrates at a time. SQLite has the lock already (BEGIN IMMEDIATE).
pub(crate) const MIGRATION_LOCK: Statement =
    Statement::two("migration_lock", "SELECT 1", "SELECT pg_advisory_xact_lock(528252825282)");

/// Whether the table of migrations is there.
pub(crate) const HAS_MIGRATIONS: Statement = Statement::two(
    "has_migrations",
    "SELECT COUNT(*) FROM sqlite_schema WHERE type = 'table' AND name = 'migrations'",
    "SELECT COUNT(*) FROM pg_catalog.pg_tables WHERE tablename = 'migrations' AND schemaname = current_schema()",
);

/// Version and encoding, checked at start. The SQLite library is built in.
pub(crate) const SERVER: Statement = Statement::two(
    "server",
    "SELECT sqlite_version(), CAST(0 AS INTEGER), encoding FROM pragma_encoding",
    "SELECT current_setting('server_version'), CAST(current_setting('server_version_num') AS BIGINT),
     current_setting('server_encoding')",
);

pub(crate) const EXCEPTIONS: &[&Statement] =
    &[&CLOCK, &RAISE_SCOPE, &BEGIN_WRITE, &BEGIN_READ, &MIGRATION_LOCK, &HAS_MIGRATIONS, &SERVER];

/// Bytes of a page of a database file that we make. Batches of records are hundreds of kilobytes: with SQLite's
/// default of 4,096 the write-ahead log takes four times as many writes for them.
const SQLITE_PAGE: u64 = 16_384;

impl Dialect {
    /// What every new connection is told.
    pub(crate) fn session(self, reader: bool, sqlite_max_bytes: Option<u64>) -> String {
        let fixed = match (self, reader) {
            (Dialect::Sqlite, false) => {
                "PRAGMA busy_timeout = 5000; PRAGMA page_size = 16384; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
                 PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF;"
            }
            (Dialect::Sqlite, true) => {
                "PRAGMA busy_timeout = 5000; PRAGMA query_only = ON; PRAGMA trusted_schema = OFF;"
            }
            (Dialect::Postgres, _) => {
                // All statements are short: compiling one (`jit`) would take longer than it runs.
                "SET statement_timeout = '30s'; SET lock_timeout = '10s';
                 SET idle_in_transaction_session_timeout = '30s'; SET TIME ZONE 'UTC';
                 SET client_min_messages = 'warning'; SET jit = off;"
            }
        };
        match (self, sqlite_max_bytes) {
            (Dialect::Sqlite, Some(bytes)) => {
                format!("{fixed} PRAGMA max_page_count = {};", (bytes / SQLITE_PAGE).max(1))
            }
            _ => fixed.to_owned(),
        }
    }

    /// The schema text in this database's type words, without comments.
    pub(crate) fn ddl(self, text: &str) -> String {
        let mut out = String::with_capacity(text.len() * 2);
        for line in text.lines() {
            let code = line.split("--").next().unwrap_or_default().trim_end();
            if code.is_empty() {
                continue;
            }
            let mut word = String::new();
            for c in code.chars().chain(std::iter::once('\n')) {
                if c.is_ascii_alphanumeric() || c == '_' {
                    word.push(c);
                } else {
                    out.push_str(self.type_word(&word));
                    word.clear();
                    out.push(c);
                }
            }
        }
        out
    }

    fn type_word(self, word: &str) -> &str {
        match (self, word) {
            // Bytewise order and equality everywhere: what one database finds, the other finds.
            (Dialect::Postgres, "TEXT") => "TEXT COLLATE \"C\"",
            (Dialect::Postgres, "BLOB") => "BYTEA",
            (Dialect::Postgres, "SEQUENCE_KEY") => "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
            (Dialect::Sqlite, "SEQUENCE_KEY") => "INTEGER PRIMARY KEY AUTOINCREMENT",
            _ => word,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exceptions_are_these() {
        let names: Vec<&str> = EXCEPTIONS.iter().map(|statement| statement.name).collect();
        assert_eq!(
            names,
            [
                "clock",
                "raise_scope",
                "begin_write",
                "begin_read",
                "migration_lock",
                "has_migrations",
                "server"
            ],
            "a new exception needs a reason beside it and a line here"
        );
        assert!(EXCEPTIONS.iter().all(|statement| statement.has_two_texts()));
        assert!(crate::sql::registry().all(|statement| !statement.has_two_texts()), "two texts belong here");
    }

    #[test]
    fn only_type_words_are_rewritten() {
        let text = "CREATE TABLE t (-- TEXT\n    a TEXT NOT NULL, CONTEXT BLOB, s SEQUENCE_KEY\n);\n";
        assert_eq!(
            Dialect::Postgres.ddl(text),
            "CREATE TABLE t (\n    a TEXT COLLATE \"C\" NOT NULL, CONTEXT BYTEA, s BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY\n);\n"
        );
        assert_eq!(
            Dialect::Sqlite.ddl(text),
            "CREATE TABLE t (\n    a TEXT NOT NULL, CONTEXT BLOB, s INTEGER PRIMARY KEY AUTOINCREMENT\n);\n"
        );
    }
}
