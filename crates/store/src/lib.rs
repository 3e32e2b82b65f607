//! The only SQL: SQLite and PostgreSQL from one text.
//!
//! A [`Store`] opens transactions; the functions of a group ([`users`], [`credentials`], …) take one, and the
//! tenant with it: a row cannot be had without its project, user or owner. Sealed values come and go as
//! bytes; nothing here can open them.
//!
//! ```no_run
//! # async fn example() -> latchstring_store::Result<()> {
//! use latchstring_store::{OpenOptions, Store, scopes, users};
//! let store = Store::open("sqlite:latchstring-data/latchstring.db", OpenOptions::default()).await?;
//! store.migrate().await?;
//! let mut tx = store.begin_write(&[scopes::INSTANCE]).await?; // raises the epochs first: the lock
//! let count = users::count(&mut tx).await?;
//! tx.commit().await?; // tells the listeners, then returns
//! # Ok(()) }
//! ```
//!
//! Times are Unix milliseconds. `now` is a parameter everywhere, with one exception: leases, heartbeats and
//! `changed_at` are set and compared by the database's clock.

pub mod api_keys;
pub mod applied;
pub mod audit;
pub mod audit_forward;
pub mod audit_keys;
pub mod callers;
pub mod checkpoints;
pub mod checks;
pub mod connect_sessions;
pub mod connectors;
pub mod consents;
mod counting;
pub mod credentials;
pub mod data_keys;
pub mod deliveries;
pub mod dialect;
pub mod environments;
pub mod error;
pub mod group_roles;
pub mod heads;
pub mod idempotency;
pub mod identities;
pub mod inbox;
pub mod instance;
pub mod keychains;
pub mod members;
mod migrate;
pub mod notices;
pub mod oauth_clients;
mod page;
pub mod password_resets;
mod pool;
pub mod projects;
pub mod resolve;
pub mod retention;
pub mod scopes;
pub mod second_factors;
pub mod secrets;
pub mod sessions;
pub mod shares;
pub mod sign_ins;
mod sql;
pub mod tokens;
pub mod transfers;
pub mod tx;
pub mod users;
pub mod values;
pub mod webhooks;

pub use counting::counted;
pub use dialect::Dialect;
pub use error::{Result, StoreError, Taken};
pub use page::{Page, Paging};
pub use pool::{OpenOptions, Store};
pub use scopes::ScopeChange;
pub use sql::{all_statements, fold};
pub use tx::{ReadTx, Reader, Tx, WriteTx};
