//! Private keys as people paste them, for each algorithm: read or refused in words, and what was read signs.

#![no_main]

use latchstring_model::SecretString;
use latchstring_schemes::jws::{Algorithm, SigningKey, sign_compact};
use latchstring_schemes::mutual_tls::MutualTls;
use libfuzzer_sys::fuzz_target;
use serde_json::Map;

const ALGORITHMS: [&str; 5] = ["RS256", "PS256", "ES256", "ES512", "EdDSA"];

fuzz_target!(|data: &[u8]| {
    let Some((choice, rest)) = data.split_first() else { return };
    let Ok(text) = std::str::from_utf8(rest) else { return };
    let algorithm = Algorithm::parse(ALGORITHMS[usize::from(*choice) % ALGORITHMS.len()]).expect("an algorithm");
    // A passphrase only for the encrypted ones; with it, a hostile number of rounds must not hang us.
    let passphrase = text.contains("ENCRYPTED").then(|| SecretString::new("a passphrase"));
    match SigningKey::parse(algorithm, &SecretString::new(text), passphrase.as_ref()) {
        Ok(key) => {
            let token = sign_compact(&key, &Map::new(), &Map::new()).expect("a key that was read signs");
            assert_eq!(token.expose().matches('.').count(), 2);
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    let pair = MutualTls { certificate: text.to_owned(), private_key: SecretString::new(text), passphrase };
    if let Err(error) = pair.identity() {
        assert!(!error.to_string().is_empty());
    }
});
