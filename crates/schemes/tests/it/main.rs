//! The schemes against standards' vectors and independent libraries.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;
mod oauth_answers;
mod oauth_messages;
mod refresh_sim;
mod jws;
mod keys;
mod aws_sigv4;
mod digest;
mod hmac;
mod jwt;
mod mutual_tls;
mod replaces;
