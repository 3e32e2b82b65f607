//! `WWW-Authenticate` and `Authentication-Info` of any server, and the answer to them: a header that can be sent.

#![no_main]

use http::{HeaderMap, HeaderValue, Method};
use latchstring_model::address::Address;
use latchstring_model::{Entropy, Timestamp};
use latchstring_schemes::digest::Digest;
use latchstring_schemes::keys::ParsedKeys;
use latchstring_schemes::wire::Outgoing;
use latchstring_schemes::{BodyNeed, Scheme};
use libfuzzer_sys::fuzz_target;

struct Fixed;

impl Entropy for Fixed {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(7);
    }
}

fuzz_target!(|data: &[u8]| {
    let digest = Digest { username: "Jäsøn \"Doe\"".into(), password: "Secret, or not?".into() };
    let prepared = Scheme::Digest(digest).prepare(&ParsedKeys::default()).expect("good values");
    let origin = Address::parse("https://api.example.com").expect("a URL").origin;
    for (number, line) in data.split(|byte| *byte == b'\n').take(4).enumerate() {
        let Ok(value) = HeaderValue::from_bytes(line) else { continue };
        let mut headers = HeaderMap::new();
        let (status, name) = if number % 2 == 0 { (401, "www-authenticate") } else { (200, "authentication-info") };
        headers.insert(name, value);
        let _ = prepared.challenge(status, &headers);
        let (mut target, mut sent) = ("/a?b=c".to_owned(), HeaderMap::new());
        let mut out =
            Outgoing { method: &Method::POST, origin: &origin, target: &mut target, headers: &mut sent };
        let body = match prepared.body_need(&out) {
            BodyNeed::None | BodyNeed::Twice => None,
            BodyNeed::Held { .. } => Some(b"body".as_slice()),
        };
        if prepared.sign(&mut out, body, None, Timestamp(0), &Fixed).is_ok() {
            assert_eq!(target, "/a?b=c");
            if let Some(line) = sent.get("authorization") {
                assert!(line.as_bytes().starts_with(b"Digest "));
            }
        }
    }
});
