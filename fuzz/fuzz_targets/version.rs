//! The first bytes of a connection: HTTP/2 is its whole preface and nothing else, and more bytes never change what was
//! found.

#![no_main]

#[allow(dead_code)]
#[path = "../../crates/gateway/src/version.rs"]
mod version;

use libfuzzer_sys::fuzz_target;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

fuzz_target!(|data: &[u8]| {
    let mut found = None;
    for length in 0..=data.len().min(2 * PREFACE.len()) {
        let now = version::of_bytes(&data[..length]);
        assert!(found.is_none() || found == now, "another version after more bytes");
        found = now;
        match now {
            Some(version::Version::Http2) => assert!(data.starts_with(PREFACE)),
            Some(version::Version::Http1) => assert!(!data[..length].starts_with(PREFACE)),
            None => assert!(length < PREFACE.len() && PREFACE.starts_with(&data[..length])),
        }
    }
});
