//! The key file and the key check value: each way of being wrong has its own message.

use latchstring_model::Timestamp;
use latchstring_vault::{CheckError, KeyRing, RingChangeError, RingError, key_check, verify_check};
use proptest::prelude::*;

use crate::support::{Counted, NOW};

fn text(ring: &KeyRing) -> String {
    String::from_utf8(ring.to_bytes().expose().to_vec()).unwrap()
}

fn refusal(file: &str) -> RingError {
    match KeyRing::parse(file.as_bytes()) {
        Ok(_) => panic!("it parsed: {file}"),
        Err(error) => error,
    }
}

/// The base64 text of the only key in a file.
fn key_text(file: &str) -> String {
    let start = file.find("\"key\": \"").unwrap() + 8;
    file[start..start + 44].to_owned()
}

#[test]
fn a_ring_is_written_and_read() {
    let entropy = Counted::from(0);
    let mut ring = KeyRing::generate(NOW, &entropy);
    let added = ring.add_key(Timestamp(NOW.millis() + 5), &entropy);
    let file = text(&ring);
    let again = KeyRing::parse(file.as_bytes()).ok().unwrap();
    assert_eq!(text(&again), file);
    assert_eq!(again.active_id(), ring.active_id());
    assert_eq!(again.ids().last(), Some(&added));
    assert_eq!(again.keys()[1].created_at(), Timestamp(NOW.millis() + 5));
    let json: serde_json::Value = serde_json::from_str(&file).unwrap();
    assert_eq!(json["format"], "latchstring-key-ring/1");
    assert_eq!(json["keys"][0]["created_at"], "2023-11-14T22:13:20.000Z");
    assert!(file.ends_with("}\n"));
}

#[test]
fn two_generated_rings_differ() {
    let entropy = Counted::from(0);
    let (one, two) = (KeyRing::generate(NOW, &entropy), KeyRing::generate(NOW, &entropy));
    assert_ne!(one.active_id(), two.active_id());
    assert_ne!(key_text(&text(&one)), key_text(&text(&two)));
}

#[test]
fn each_fault_of_a_key_file_has_its_own_error() {
    let ring = KeyRing::generate(NOW, &Counted::from(0));
    let good = text(&ring);
    let id = ring.active_id().clone();
    let key = key_text(&good);
    let entry = {
        let start = good.find("{\"id\"").unwrap();
        let end = good[start..].find('}').unwrap() + start + 1;
        good[start..end].to_owned()
    };

    assert_eq!(refusal(""), RingError::Empty);
    assert_eq!(refusal(" \n\n"), RingError::Empty);
    assert!(matches!(refusal("-----BEGIN PRIVATE KEY-----"), RingError::NotAKeyRing { line: 1, .. }));
    assert!(matches!(refusal("\u{0}\u{1}\u{2}"), RingError::NotAKeyRing { .. }));
    assert_eq!(refusal("{}"), RingError::NotTheFormat);
    assert_eq!(refusal("{\"format\": \"pkcs8\"}"), RingError::NotTheFormat);
    assert_eq!(
        refusal("{\"format\": \"latchstring-key-ring/2\", \"other\": 1}"),
        RingError::UnknownFormat { found: "latchstring-key-ring/2".into() }
    );
    assert_eq!(refusal(&good.replace(&entry, "")), RingError::NoKeys);
    assert_eq!(
        refusal(&good.replace(&format!("\"id\": \"{id}\""), "\"id\": \"main\"")),
        RingError::BadId { position: 1 }
    );
    assert_eq!(
        refusal(&good.replace(&entry, &format!("{entry}, {entry}"))),
        RingError::Duplicate { id: id.clone() }
    );
    assert_eq!(refusal(&good.replace("2023-11-14", "14.11.23 ")), RingError::BadTime { id: id.clone() });
    assert_eq!(refusal(&good.replace(&key, "no base64!")), RingError::NotBase64 { id: id.clone() });
    assert_eq!(
        refusal(&good.replace(&key, &key[..40])),
        RingError::WrongLength { id: id.clone(), bytes: 30 }
    );
    assert_eq!(refusal(&good.replace(&key, "")), RingError::WrongLength { id: id.clone(), bytes: 0 });
    assert_eq!(
        refusal(&good.replace(&key, &format!("{}A=", "A".repeat(42)))),
        RingError::Zeros { id: id.clone() }
    );
    let other = KeyRing::generate(NOW, &Counted::from(50)).active_id().clone();
    assert_eq!(
        refusal(&good.replace(&format!("\"active\": \"{id}\""), &format!("\"active\": \"{other}\""))),
        RingError::NoActive
    );
    assert_eq!(refusal(&good.replace(&format!("\"active\": \"{id}\","), "")), RingError::NoActive);
}

#[test]
fn no_error_quotes_the_key() {
    let ring = KeyRing::generate(NOW, &Counted::from(0));
    let good = text(&ring);
    let key = key_text(&good);
    // A key where something else belongs is the likely slip of somebody who edits the file.
    for file in [
        good.replace("\"keys\": [", &format!("\"keys\": \"{key}\", \"x\": [")),
        good.replace(&format!("\"{key}\""), &format!("{{\"v\": \"{key}\"}}")),
        good.replace(&key, &key[..43]),
        good.replace(&key, &format!("{key}{key}")),
        good.replace("latchstring-key-ring/1", &key),
        good.replace(ring.active_id().as_str(), &key),
    ] {
        let error = refusal(&file);
        for shown in [error.to_string(), format!("{error:?}")] {
            assert!(!shown.contains(&key[..12]), "{shown}");
        }
    }
}

#[test]
fn a_cut_key_file_is_refused_at_every_length() {
    let mut ring = KeyRing::generate(NOW, &Counted::from(0));
    ring.add_key(NOW, &Counted::from(9));
    let file = text(&ring);
    for length in 0..file.trim_end().len() {
        refusal(&file[..length]);
    }
}

#[test]
fn keys_are_added_activated_and_retired() {
    let entropy = Counted::from(0);
    let mut ring = KeyRing::generate(NOW, &entropy);
    let old = ring.active_id().clone();
    let new = ring.add_key(NOW, &entropy);
    assert_eq!(ring.active_id(), &old, "a new key is not active by itself");
    assert_eq!(ring.retire(&old), Err(RingChangeError::Active { id: old.clone() }));
    ring.activate(&new).unwrap();
    ring.retire(&old).unwrap();
    assert_eq!(ring.active_id(), &new);
    assert_eq!(ring.ids().collect::<Vec<_>>(), [&new]);
    assert_eq!(ring.retire(&old), Err(RingChangeError::Unknown { id: old.clone() }));
    assert_eq!(ring.activate(&old), Err(RingChangeError::Unknown { id: old }));
}

#[test]
fn the_check_value_names_what_is_missing_or_different() {
    let entropy = Counted::from(0);
    let mut ring = KeyRing::generate(NOW, &entropy);
    let first = ring.active_id().clone();
    let stored = key_check(&ring);
    assert!(!stored.contains(&key_text(&text(&ring))));
    assert_eq!(verify_check(&ring, &stored), Ok(()));

    let mut grown = ring.clone();
    let second = grown.add_key(NOW, &entropy);
    assert_eq!(verify_check(&grown, &stored), Ok(()), "a key that is on its way is fine");
    assert_eq!(verify_check(&ring, &key_check(&grown)), Err(CheckError::Missing { id: second.clone() }));
    assert!(verify_check(&ring, &key_check(&grown)).unwrap_err().to_string().contains(second.as_str()));

    // The same id over other bytes.
    let other = text(&KeyRing::generate(NOW, &Counted::from(70)));
    let forged = text(&ring).replace(&key_text(&text(&ring)), &key_text(&other));
    ring = KeyRing::parse(forged.as_bytes()).ok().unwrap();
    assert_eq!(verify_check(&ring, &stored), Err(CheckError::Different { id: first }));

    for damaged in ["", "{}", "rky_", "{\"format\":1,\"keys\":{}}", "{\"format\":2,\"keys\":{\"a\":\"b\"}}"] {
        assert_eq!(verify_check(&ring, damaged), Err(CheckError::Unreadable), "{damaged}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_refused_without_a_panic(bytes: Vec<u8>) {
        prop_assert!(KeyRing::parse(&bytes).is_err());
    }
}
