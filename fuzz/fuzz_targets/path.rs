//! A caller's path and query below a base URL: what is joined stays below it, byte for byte, and holds nothing that a
//! server could read as leaving it.

#![no_main]

#[allow(dead_code)]
#[path = "../../crates/broker/src/road/bind.rs"]
mod bind;

use latchstring_model::address::Address;
use libfuzzer_sys::fuzz_target;

const BASE: &str = "https://api.example.com/v1/tenant";

fuzz_target!(|text: &str| {
    // As the gateway hands it over: a request target holds visible ASCII alone.
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return;
    }
    let (rest, query) = match text.split_once('?') {
        Some((rest, query)) => (rest, Some(query)),
        None => (text, None),
    };
    // What follows a credential's name begins with a slash, or is not there.
    if !rest.is_empty() && !rest.starts_with('/') {
        return;
    }
    let base = Address::parse(BASE).expect("a base URL");
    let Ok(target) = bind::join(&base, rest, query) else { return };
    let path = target.split('?').next().unwrap_or_default();
    assert!(path == "/v1/tenant" || path.starts_with("/v1/tenant/"), "{target}");
    assert!(path.ends_with(rest), "the caller's path was changed: {target}");
    if let Some(query) = query {
        assert!(target.ends_with(query), "the caller's query was changed: {target}");
    }
    // What other people's reader of URLs makes of it stays below the base as well.
    let mut decoded = path.as_bytes().to_vec();
    for _ in 0..3 {
        let text = String::from_utf8_lossy(&decoded).replace('\\', "/");
        let mut depth = 0_i64;
        for segment in text.split('/').skip(3) {
            match segment.split(';').next().unwrap_or(segment) {
                ".." => depth -= 1,
                "" | "." => {}
                _ => depth += 1,
            }
            assert!(depth >= 0, "{target} leaves its base as {text}");
        }
        decoded = percent_encoding::percent_decode(&decoded).collect();
    }
});
