//! Statements as constants, and the only way to run one.
//!
//! A [`Statement`] can be made only by the macro [`statements!`], which also enters it into the list
//! that the tests prepare on both databases, or in `dialect.rs`. Values are always bound.

use std::str::FromStr;

use latchstring_model::Timestamp;
use latchstring_model::entity::{Fact, KeyKind, KeyScope, Outcome, Role, Status};
use latchstring_model::id::{
    AuditKeyId, CallId, ConnectSessionId, ConsentId, CredentialId, DataKeyId, DeliveryId, EnvironmentId,
    IdentityId, KeyId, KeychainId, NoticeId, OAuthClientId, ProjectId, ServerId, SessionId, ShareId,
    SignInId, TransferId, UserId, WebhookId,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::any::{AnyArguments, AnyRow};
use sqlx::{Any, AnyConnection, Arguments, Decode, Encode, Row, Type};

use crate::dialect::Dialect;
use crate::error::{Result, StoreError};
use crate::tx::Tx;

pub(crate) struct Statement {
    pub(crate) name: &'static str,
    sqlite: &'static str,
    postgres: &'static str,
}

impl Statement {
    /// For [`statements!`] alone.
    pub(crate) const fn one(name: &'static str, text: &'static str) -> Self {
        Self { name, sqlite: text, postgres: text }
    }

    /// For `dialect.rs` alone.
    pub(crate) const fn two(name: &'static str, sqlite: &'static str, postgres: &'static str) -> Self {
        Self { name, sqlite, postgres }
    }

    pub(crate) const fn text(&self, dialect: Dialect) -> &'static str {
        match dialect {
            Dialect::Sqlite => self.sqlite,
            Dialect::Postgres => self.postgres,
        }
    }

    #[cfg(test)]
    pub(crate) fn has_two_texts(&self) -> bool {
        self.sqlite != self.postgres
    }

    /// Begins a run of this statement.
    pub(crate) fn on<'a, T: Tx + ?Sized>(&self, tx: &'a mut T) -> Run<'a> {
        let (dialect, connection) = tx.parts();
        self.on_connection(dialect, connection)
    }

    pub(crate) fn on_connection<'a>(&self, dialect: Dialect, connection: &'a mut AnyConnection) -> Run<'a> {
        crate::counting::note(self.name);
        Run {
            dialect,
            connection,
            text: self.text(dialect),
            arguments: AnyArguments::default(),
            failed: None,
            nul: false,
        }
    }
}

/// `NAME = "text";` makes a constant each, and `ALL`, the list of the module's statements.
macro_rules! statements {
    ($($(#[$doc:meta])* $name:ident = $text:expr;)*) => {
        $($(#[$doc])* const $name: $crate::sql::Statement = $crate::sql::Statement::one(stringify!($name), $text);)*
        pub(crate) const ALL: &[&$crate::sql::Statement] = &[$(&$name,)*];
    };
}
pub(crate) use statements;

const MODULES: &[&[&Statement]] = &[
    crate::api_keys::ALL,
    crate::applied::ALL,
    crate::audit::ALL,
    crate::audit_forward::ALL,
    crate::audit_keys::ALL,
    crate::callers::ALL,
    crate::checkpoints::ALL,
    crate::checks::ALL,
    crate::connectors::ALL,
    crate::consents::ALL,
    crate::credentials::ALL,
    crate::data_keys::ALL,
    crate::deliveries::ALL,
    crate::environments::ALL,
    crate::group_roles::ALL,
    crate::heads::ALL,
    crate::idempotency::ALL,
    crate::identities::ALL,
    crate::inbox::ALL,
    crate::instance::ALL,
    crate::keychains::ALL,
    crate::members::ALL,
    crate::migrate::ALL,
    crate::notices::ALL,
    crate::oauth_clients::ALL,
    crate::password_resets::ALL,
    crate::projects::ALL,
    crate::resolve::ALL,
    crate::retention::ALL,
    crate::scopes::ALL,
    crate::second_factors::ALL,
    crate::secrets::ALL,
    crate::sessions::ALL,
    crate::shares::ALL,
    crate::sign_ins::ALL,
    crate::tokens::ALL,
    crate::transfers::ALL,
    crate::connect_sessions::ALL,
    crate::users::ALL,
    crate::values::ALL,
    crate::webhooks::ALL,
];

/// Every statement of this crate that has one text, for the tests that prepare them.
pub(crate) fn registry() -> impl Iterator<Item = &'static Statement> {
    MODULES.iter().copied().flatten().copied()
}

/// Name and text of every statement as the given database gets it.
pub fn all_statements(dialect: Dialect) -> Vec<(&'static str, &'static str)> {
    registry()
        .chain(crate::dialect::EXCEPTIONS.iter().copied())
        .map(|statement| (statement.name, statement.text(dialect)))
        .collect()
}

/// A statement with its values, about to run.
pub(crate) struct Run<'a> {
    dialect: Dialect,
    connection: &'a mut AnyConnection,
    text: &'static str,
    arguments: AnyArguments,
    failed: Option<String>,
    nul: bool,
}

impl Run<'_> {
    pub(crate) fn bind<V: Bind>(mut self, value: V) -> Self {
        // PostgreSQL has no room for it in a text, SQLite does: neither gets one.
        self.nul |= value.has_nul();
        if let Err(error) = self.arguments.add(value.sql()) {
            self.failed = Some(error.to_string());
        }
        self
    }

    /// Runs it; how many rows it changed.
    pub(crate) async fn run(self) -> Result<u64> {
        let dialect = self.ready()?;
        sqlx::query_with::<Any, _>(self.text, self.arguments)
            .execute(self.connection)
            .await
            .map(|done| done.rows_affected())
            .map_err(|error| StoreError::from_sqlx(dialect, error))
    }

    pub(crate) async fn optional<R>(
        self,
        read: impl FnOnce(&mut Columns<'_>) -> Result<R>,
    ) -> Result<Option<R>> {
        let dialect = self.ready()?;
        let row = sqlx::query_with::<Any, _>(self.text, self.arguments)
            .fetch_optional(self.connection)
            .await
            .map_err(|error| StoreError::from_sqlx(dialect, error))?;
        row.map(|row| Columns::read(&row, read)).transpose()
    }

    /// For statements that always give a row (aggregates, upserts with RETURNING).
    pub(crate) async fn one<R>(self, read: impl FnOnce(&mut Columns<'_>) -> Result<R>) -> Result<R> {
        self.optional(read)
            .await?
            .ok_or_else(|| StoreError::bad_row("a statement that gives a row gave none"))
    }

    pub(crate) async fn all<R>(self, read: impl Fn(&mut Columns<'_>) -> Result<R>) -> Result<Vec<R>> {
        let dialect = self.ready()?;
        let rows = sqlx::query_with::<Any, _>(self.text, self.arguments)
            .fetch_all(self.connection)
            .await
            .map_err(|error| StoreError::from_sqlx(dialect, error))?;
        rows.iter().map(|row| Columns::read(row, &read)).collect()
    }

    fn ready(&self) -> Result<Dialect> {
        match &self.failed {
            _ if self.nul => Err(StoreError::NulCharacter),
            Some(text) => Err(StoreError::Other { code: "bind".into(), text: text.clone() }),
            None => Ok(self.dialect),
        }
    }
}

/// A row read from left to right, in the order of the statement's columns.
pub(crate) struct Columns<'r> {
    row: &'r AnyRow,
    at: usize,
}

impl<'r> Columns<'r> {
    fn read<R>(row: &'r AnyRow, read: impl FnOnce(&mut Columns<'_>) -> Result<R>) -> Result<R> {
        read(&mut Columns { row, at: 0 })
    }

    fn next<T: Decode<'r, Any> + Type<Any>>(&mut self) -> Result<T> {
        let at = self.at;
        self.at += 1;
        // The driver's own text would quote the value.
        self.row.try_get(at).map_err(|_| StoreError::bad_row(format!("column {at} has another type")))
    }

    fn unreadable(&self, what: &str) -> StoreError {
        StoreError::bad_row(format!("column {} is not {what}", self.at - 1))
    }

    pub(crate) fn text(&mut self) -> Result<String> {
        self.next()
    }

    pub(crate) fn text_or(&mut self) -> Result<Option<String>> {
        self.next()
    }

    pub(crate) fn int(&mut self) -> Result<i64> {
        self.next()
    }

    pub(crate) fn int_or(&mut self) -> Result<Option<i64>> {
        self.next()
    }

    pub(crate) fn flag(&mut self) -> Result<bool> {
        Ok(self.int()? != 0)
    }

    pub(crate) fn flag_or(&mut self) -> Result<Option<bool>> {
        Ok(self.int_or()?.map(|flag| flag != 0))
    }

    pub(crate) fn time(&mut self) -> Result<Timestamp> {
        self.int().map(Timestamp)
    }

    pub(crate) fn time_or(&mut self) -> Result<Option<Timestamp>> {
        Ok(self.int_or()?.map(Timestamp))
    }

    pub(crate) fn bytes(&mut self) -> Result<Vec<u8>> {
        self.next()
    }

    pub(crate) fn bytes_or(&mut self) -> Result<Option<Vec<u8>>> {
        self.next()
    }

    pub(crate) fn id<I: FromStr>(&mut self) -> Result<I> {
        let text: &str = self.next()?;
        text.parse().map_err(|_| self.unreadable("an id of the right kind"))
    }

    pub(crate) fn id_or<I: FromStr>(&mut self) -> Result<Option<I>> {
        let text: Option<&str> = self.next()?;
        text.map(|text| text.parse().map_err(|_| self.unreadable("an id of the right kind"))).transpose()
    }

    pub(crate) fn word<W>(&mut self, parse: impl FnOnce(&str) -> Option<W>) -> Result<W> {
        let text: &str = self.next()?;
        parse(text).ok_or_else(|| self.unreadable("a word this version knows"))
    }

    pub(crate) fn word_or<W>(&mut self, parse: impl FnOnce(&str) -> Option<W>) -> Result<Option<W>> {
        let text: Option<&str> = self.next()?;
        text.map(|text| parse(text).ok_or_else(|| self.unreadable("a word this version knows"))).transpose()
    }

    pub(crate) fn json<J: DeserializeOwned>(&mut self) -> Result<J> {
        let text: &str = self.next()?;
        serde_json::from_str(text).map_err(|_| self.unreadable("the JSON that belongs there"))
    }

    pub(crate) fn json_or<J: DeserializeOwned>(&mut self) -> Result<Option<J>> {
        let text: Option<&str> = self.next()?;
        text.map(|text| {
            serde_json::from_str(text).map_err(|_| self.unreadable("the JSON that belongs there"))
        })
        .transpose()
    }
}

/// What can be bound, and as what it is stored. `None` keeps its type: PostgreSQL wants to know it.
pub(crate) trait Bind {
    type Sql: for<'q> Encode<'q, Any> + Type<Any> + 'static;
    fn sql(self) -> Self::Sql;
    fn has_nul(&self) -> bool {
        false
    }
}

impl<B: Bind> Bind for Option<B> {
    type Sql = Option<B::Sql>;
    fn sql(self) -> Self::Sql {
        self.map(Bind::sql)
    }
    fn has_nul(&self) -> bool {
        self.as_ref().is_some_and(Bind::has_nul)
    }
}

macro_rules! bind_text {
    ($($of:ty),*) => {$(
        impl Bind for $of {
            type Sql = String;
            fn sql(self) -> String {
                self.to_owned()
            }
            fn has_nul(&self) -> bool {
                self.contains('\0')
            }
        }
    )*};
}
bind_text!(String, &String, &str);

macro_rules! bind {
    ($($of:ty => $sql:ty, $value:ident, $into:expr;)*) => {$(
        impl Bind for $of {
            type Sql = $sql;
            fn sql(self) -> $sql {
                let $value = self;
                $into
            }
        }
    )*};
}

bind! {
    i64 => i64, v, v;
    bool => i64, v, i64::from(v);
    Timestamp => i64, v, v.0;
    Vec<u8> => Vec<u8>, v, v;
    &Vec<u8> => Vec<u8>, v, v.clone();
    &[u8] => Vec<u8>, v, v.to_vec();
    &serde_json::Value => String, v, v.to_string();
    Role => String, v, v.as_str().to_owned();
    Status => String, v, v.as_str().to_owned();
    KeyScope => String, v, v.as_str().to_owned();
    KeyKind => String, v, v.as_str().to_owned();
    Outcome => String, v, v.as_str().to_owned();
    Fact => String, v, v.as_str().to_owned();
    &ProjectId => String, v, v.as_str().to_owned();
    &EnvironmentId => String, v, v.as_str().to_owned();
    &UserId => String, v, v.as_str().to_owned();
    &SessionId => String, v, v.as_str().to_owned();
    &KeyId => String, v, v.as_str().to_owned();
    &ConnectSessionId => String, v, v.as_str().to_owned();
    &CredentialId => String, v, v.as_str().to_owned();
    &ShareId => String, v, v.as_str().to_owned();
    &ConsentId => String, v, v.as_str().to_owned();
    &OAuthClientId => String, v, v.as_str().to_owned();
    &CallId => String, v, v.as_str().to_owned();
    &ServerId => String, v, v.as_str().to_owned();
    &DataKeyId => String, v, v.as_str().to_owned();
    &WebhookId => String, v, v.as_str().to_owned();
    &NoticeId => String, v, v.as_str().to_owned();
    &DeliveryId => String, v, v.as_str().to_owned();
    &AuditKeyId => String, v, v.as_str().to_owned();
    &TransferId => String, v, v.as_str().to_owned();
    &KeychainId => String, v, v.as_str().to_owned();
    &IdentityId => String, v, v.as_str().to_owned();
    &SignInId => String, v, v.as_str().to_owned();
}

/// A list or map, stored as JSON text.
pub(crate) fn json<T: Serialize + ?Sized>(value: &T) -> Result<String> {
    serde_json::to_string(value)
        .map_err(|error| StoreError::Other { code: "json".into(), text: error.to_string() })
}

/// As the `*_folded` columns are written and searched.
pub fn fold(text: &str) -> String {
    text.trim().to_lowercase()
}

/// A folded pattern for `LIKE … ESCAPE '\'` that finds `text` anywhere and takes nothing in it as a wildcard.
pub(crate) fn containing(text: &str) -> String {
    let mut pattern = String::from("%");
    for c in fold(text).chars() {
        if matches!(c, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern.push('%');
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_are_taken_as_they_are() {
        assert_eq!(containing("50%_A\\"), "%50\\%\\_a\\\\%");
    }

    #[test]
    fn names_are_distinct_per_text() {
        let mut texts = std::collections::HashSet::new();
        for statement in registry() {
            assert!(texts.insert(statement.text(Dialect::Sqlite)), "{} is written twice", statement.name);
        }
    }

    #[test]
    fn no_statement_escapes_the_list() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src");
        let listed: std::collections::HashSet<&str> = registry().map(|statement| statement.name).collect();
        assert!(listed.contains("ROUTE") && listed.contains("MARK_SENT"));
        let mut tables = 0;
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let text = std::fs::read_to_string(entry.path()).unwrap_or_default();
            // Also where a macro of the module writes them.
            tables += usize::from(text.lines().any(|line| line.trim_start().starts_with("statements! {")));
            if name == "sql.rs" {
                continue;
            }
            assert!(!text.contains("sqlx::query"), "{name} runs SQL past the list");
            assert!(!text.contains("Statement::one("), "{name} makes a statement past the list");
            assert!(name == "dialect.rs" || !text.contains("Statement::two("), "{name} has an exception");
            let raw = ["pool.rs", "migrate.rs"].contains(&name.as_str());
            assert!(raw || !text.contains("raw_sql"), "{name} runs raw SQL");
        }
        assert_eq!(tables, MODULES.len(), "a module's statements are not in the list");
    }
}
