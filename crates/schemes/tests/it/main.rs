//! The schemes against standards' vectors and independent libraries.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod aws_sigv4;
mod digest;
mod dpop;
mod hmac;
mod id_token;
mod jws;
mod jwt;
mod keys;
mod mutual_tls;
mod oauth1;
mod oauth_answers;
mod oauth_messages;
mod refresh_sim;
mod refresh_steps;
mod replaces;
mod support;
