//! The pages in a real browser.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod embedding;
mod every_page;
mod first_run;
mod focus;
mod frame;
mod looked_at;
mod making;
mod ownership;
mod provider;
mod scene;
mod scopes;
mod team;
mod trying;
