//! What can go wrong between us and a database, sorted by who can do something about it.
//!
//! Texts say what happened, why that usually is and what to do next. They hold no value that
//! was bound to a statement: PostgreSQL's `DETAIL` (which quotes rows) is never copied.

use std::path::PathBuf;

use crate::dialect::Dialect;

pub type Result<T> = std::result::Result<T, StoreError>;

/// Which name or key was already there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Taken {
    Email,
    /// Somebody is linked with that account of a provider already.
    Identity,
    /// The person is linked with another account of that provider already.
    IdentityOfPerson,
    ProjectSlug,
    EnvironmentName,
    Member,
    ConnectorId,
    ShareSlug,
    KeychainSlug,
    ExternalId,
    /// The credential is shared with that project already.
    Share,
    Grant,
    ClaimedName,
    /// This writer's record of that number exists: it was shipped before.
    AuditNumber,
    IdempotencyKey,
    /// An id, a hash: something that random bytes should have kept apart.
    Other,
}

impl Taken {
    /// The unique constraints that users can run into: SQLite names the columns, PostgreSQL the constraint.
    const NAMED: &'static [(&'static str, &'static str, Taken)] = &[
        ("users.email_folded", "users_email_folded_key", Taken::Email),
        ("identities.issuer, identities.subject", "identities_issuer_subject_key", Taken::Identity),
        ("identities.user_id, identities.issuer", "identities_user_id_issuer_key", Taken::IdentityOfPerson),
        ("projects.slug", "projects_slug_key", Taken::ProjectSlug),
        (
            "environments.project_id, environments.name",
            "environments_project_id_name_key",
            Taken::EnvironmentName,
        ),
        ("members.project_id, members.user_id", "members_pkey", Taken::Member),
        ("connectors.project_id, connectors.id", "connectors_project_id_id_key", Taken::ConnectorId),
        ("connectors.uid", "connectors_pkey", Taken::ConnectorId),
        ("shares.project_id, shares.slug", "shares_project_id_slug_key", Taken::ShareSlug),
        ("keychains.project_id, keychains.slug", "keychains_project_id_slug_key", Taken::KeychainSlug),
        ("shares.project_id, shares.external_id", "shares_project_id_external_id_key", Taken::ExternalId),
        ("shares.credential_id, shares.project_id", "shares_credential_id_project_id_key", Taken::Share),
        ("grants.share_id, grants.environment_id", "grants_pkey", Taken::Grant),
        (
            "claimed_names.project_id, claimed_names.kind, claimed_names.name",
            "claimed_names_pkey",
            Taken::ClaimedName,
        ),
        ("audit.writer, audit.number", "audit_writer_number_key", Taken::AuditNumber),
        ("idempotency.actor, idempotency.name", "idempotency_pkey", Taken::IdempotencyKey),
    ];

    fn from_sqlite(message: &str) -> Self {
        let columns = message.rsplit("UNIQUE constraint failed: ").next().unwrap_or_default().trim();
        Self::NAMED.iter().find(|(sqlite, _, _)| *sqlite == columns).map_or(Taken::Other, |found| found.2)
    }

    fn from_postgres(constraint: &str) -> Self {
        Self::NAMED
            .iter()
            .find(|(_, postgres, _)| *postgres == constraint)
            .map_or(Taken::Other, |found| found.2)
    }
}

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    // What a use case expects and answers for.
    #[error("{0:?} is taken")]
    Taken(Taken),
    #[error("something that this refers to has been removed meanwhile; load it again")]
    ReferenceGone,
    #[error("other rows still need it; remove those first")]
    StillUsed,
    #[error("the row is gone or was changed by somebody else; load it again")]
    Moved,
    #[error("the cursor is not one that a list gave out; start the list again")]
    BadCursor,

    #[error("a text holds the NUL character, which cannot be stored; leave it out")]
    NulCharacter,

    // What passes.
    #[error("the database is busy: {0}; try again in a moment")]
    Busy(String),
    #[error("the database cannot be reached: {0}; check that it runs and that its address is right")]
    Unreachable(String),

    // What an operator has to set right.
    #[error(
        "the database URL is not understood; write sqlite:/path/to/file or postgres://user:password@host:5432/database"
    )]
    BadUrl,
    #[error("the folder {0} does not exist or cannot be read; make it, or point the data folder elsewhere")]
    MissingFolder(PathBuf),
    #[error(
        "the database file {0} cannot be opened; check that this user may read and write it and its folder"
    )]
    CannotOpen(PathBuf),
    #[error(
        "the database is read-only: the file, its folder or the disk cannot be written, or the server is a standby; make it writable"
    )]
    ReadOnly,
    #[error("the disk of the database is full; make room, nothing was lost")]
    DiskFull,
    #[error(
        "the disk of the database cannot be read or written; look at the system's log and at limits on the size of files"
    )]
    DiskFault,
    #[error(
        "the file is not an SQLite database, or is damaged ({0}); restore it from a backup or name another file"
    )]
    NotADatabase(String),
    #[error("the database refused user name or password; check LATCHSTRING_DATABASE_URL")]
    WrongPassword,
    #[error(
        "the database named in LATCHSTRING_DATABASE_URL does not exist on that server; create it with CREATE DATABASE"
    )]
    NoSuchDatabase,
    #[error("this database user lacks a right: {0}; it needs to own its schema")]
    NotPermitted(String),
    #[error("PostgreSQL {0} is too old; 15 or newer is needed")]
    TooOld(String),
    #[error("the database's encoding is {0}; create it with ENCODING 'UTF8'")]
    NotUtf8(String),
    #[error(
        "the database was migrated by a newer version (migration {found}) that this one (up to {known}) cannot work beside; start the newer version"
    )]
    SchemaTooNew { found: i64, known: i64 },
    #[error(
        "migration {0} was applied with another text than this version has; the database belongs to another build"
    )]
    MigrationChanged(i64),
    #[error(
        "the database has not been migrated yet (missing migration {0}); run `latchstring serve` once, it migrates at start"
    )]
    NotMigrated(i64),

    // What should not be.
    #[error(
        "a stored row cannot be read: {0}; the database was edited by hand or belongs to a newer version"
    )]
    BadRow(String),
    #[error("the database answered {code}: {text}")]
    Other { code: String, text: String },
}

impl StoreError {
    /// Whether the same thing may work in a moment, with nobody changing anything.
    pub fn is_transient(&self) -> bool {
        matches!(self, StoreError::Busy(_) | StoreError::Unreachable(_))
    }

    pub fn is_taken(&self, what: Taken) -> bool {
        matches!(self, StoreError::Taken(taken) if *taken == what)
    }

    pub(crate) fn bad_row(what: impl Into<String>) -> Self {
        StoreError::BadRow(what.into())
    }

    pub(crate) fn from_sqlx(dialect: Dialect, error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::Database(error) => match dialect {
                Dialect::Sqlite => from_sqlite(error.as_ref()),
                Dialect::Postgres => from_postgres(error.as_ref()),
            },
            sqlx::Error::Io(error) => StoreError::Unreachable(error.to_string()),
            sqlx::Error::Tls(error) => StoreError::Unreachable(format!("TLS: {error}")),
            sqlx::Error::Protocol(text) => StoreError::Unreachable(text),
            sqlx::Error::PoolTimedOut => StoreError::Busy("no connection became free in time".into()),
            sqlx::Error::PoolClosed => StoreError::Unreachable("the store has been closed".into()),
            sqlx::Error::WorkerCrashed => {
                StoreError::Unreachable("the database's worker thread ended".into())
            }
            // A Configuration error can quote the URL, which holds the password.
            sqlx::Error::Configuration(_) => StoreError::BadUrl,
            other => StoreError::Other { code: "driver".into(), text: other.to_string() },
        }
    }
}

fn from_sqlite(error: &dyn sqlx::error::DatabaseError) -> StoreError {
    let code = error.code().and_then(|code| code.parse::<i32>().ok()).unwrap_or_default();
    // https://www.sqlite.org/rescode.html: the low byte is the primary code.
    match (code, code & 0xff) {
        (1555 | 2067 | 2579, _) => StoreError::Taken(Taken::from_sqlite(error.message())),
        (787, _) => StoreError::ReferenceGone,
        (_, 5 | 6) => StoreError::Busy("another process holds the SQLite file".into()),
        (_, 8) => StoreError::ReadOnly,
        (_, 10) => StoreError::DiskFault,
        (_, 13) => StoreError::DiskFull,
        (_, 14) => StoreError::CannotOpen(PathBuf::new()),
        (_, 11 | 26) => StoreError::NotADatabase(error.message().to_owned()),
        _ => StoreError::Other { code: code.to_string(), text: error.message().to_owned() },
    }
}

fn from_postgres(error: &dyn sqlx::error::DatabaseError) -> StoreError {
    let code = error.code().unwrap_or_default().into_owned();
    let text = || error.message().to_owned();
    // https://www.postgresql.org/docs/15/errcodes-appendix.html
    match code.as_str() {
        "23505" => StoreError::Taken(Taken::from_postgres(error.constraint().unwrap_or_default())),
        "23503" => StoreError::ReferenceGone,
        "40001" | "40P01" | "55P03" | "57014" | "53300" | "25P03" | "57P05" => StoreError::Busy(text()),
        "57P01" | "57P02" | "57P03" | "08000" | "08003" | "08006" => StoreError::Unreachable(text()),
        "25006" => StoreError::ReadOnly,
        "53100" => StoreError::DiskFull,
        "28000" | "28P01" => StoreError::WrongPassword,
        "3D000" => StoreError::NoSuchDatabase,
        "42501" => StoreError::NotPermitted(text()),
        _ => StoreError::Other { code, text: text() },
    }
}
