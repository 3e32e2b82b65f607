//! Answers of token endpoints, with rules that a connector could have. The first line of the input chooses the rules,
//! the second the status; the rest is the body. A refusal says nothing of the body but its error fields.

#![no_main]

use bytes::Bytes;
use http::HeaderMap;
use latchstring_model::Timestamp;
use latchstring_schemes::oauth2::AnswerRules;
use latchstring_schemes::wire::WireAnswer;
use libfuzzer_sys::fuzz_target;

const SENT: Timestamp = Timestamp(1_767_225_600_000);
/// Ten years, and the day that leap years add: what docs and rules.rs say is the most that counts.
const LONGEST_MS: i64 = 3_653 * 24 * 3_600_000;

fuzz_target!(|data: &[u8]| {
    let mut parts = data.splitn(3, |byte| *byte == b'\n');
    let (Some(rules), Some(status), Some(body)) = (parts.next(), parts.next(), parts.next()) else { return };
    let rules: AnswerRules = match std::str::from_utf8(rules).ok().map(|text| serde_json::from_str(text)) {
        Some(Ok(rules)) => rules,
        _ => AnswerRules::default(),
    };
    let status = std::str::from_utf8(status).ok().and_then(|text| text.parse().ok()).unwrap_or(200);
    let answer =
        WireAnswer { status, headers: HeaderMap::new(), body: Bytes::copy_from_slice(body), truncated: false };
    match rules.read(&answer, SENT) {
        Ok(token) => {
            assert!(!token.access_token.is_empty(), "a token without a token");
            if let Some(life) = token.life_ms().filter(|_| rules.ttl.is_none() && rules.default_ttl.is_none()) {
                assert!((0..=LONGEST_MS).contains(&life), "a life of {life} ms");
            }
            let again = latchstring_schemes::token::TokenSet::from_bytes(&token.to_bytes());
            assert!(again.is_ok_and(|again| again.access_token == token.access_token), "not read back the same");
            let _ = token.fresh_until(None);
        }
        Err(error) => {
            let shown = error.mask(&[]);
            assert!(!shown.to_string().is_empty() && !shown.to_problem().detail.is_empty());
        }
    }
});
