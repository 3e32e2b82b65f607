//! Connector definitions as people upload them. Whatever comes, the checker answers; what it accepts is read back
//! the same when it is loaded from the database, and its schema and digest can be made.

#![no_main]

use latchstring_connectors::{check, load_stored};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|source: &str| {
    match check(source, "fuzz.yaml") {
        Ok(definition) => {
            let again = load_stored(source).unwrap_or_else(|_| panic!("accepted, and not loaded again"));
            assert_eq!(definition.digest(), again.digest());
            for method in &definition.auth_methods {
                // Without any value every needed field is an error, never a panic.
                let _ = definition.check_values(method, &serde_json::Map::new());
            }
        }
        Err(problems) => {
            assert!(!problems.is_empty(), "refused, and nothing said");
            for problem in problems {
                assert!(!problem.to_string().is_empty());
            }
        }
    }
});
