//! A sealed value opens only unchanged and only where it belongs.

use latchstring_model::id::{DataKeyId, ProjectId};
use latchstring_model::{OpenTicket, SecretBytes};
use latchstring_vault::{Aad, OpenError, Purpose, SealError, Vault, data_key_of};
use proptest::prelude::*;

use crate::support::{Counted, NOW, aad, add_active, vault};

fn open(vault: &Vault, aad: &Aad, sealed: &[u8]) -> Result<SecretBytes, OpenError> {
    vault.open(&OpenTicket::mint(), aad, sealed)
}

/// `unwrap_err` needs a `Debug` that secrets do not have.
fn refusal(opened: Result<SecretBytes, OpenError>) -> OpenError {
    match opened {
        Ok(_) => panic!("it opened"),
        Err(error) => error,
    }
}

#[test]
fn every_single_bit_flip_is_refused() {
    let entropy = Counted::from(0);
    let vault = vault(&entropy);
    // A second generation is there: a flip within the id must not find it either.
    add_active(&vault, &entropy);
    let sealed = vault.seal(&aad(), b"{\"token\":\"s3cr3t\"}", &entropy).unwrap().bytes;
    for bit in 0..sealed.len() * 8 {
        let mut changed = sealed.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        let error = refusal(open(&vault, &aad(), &changed));
        let expected = match bit / 8 {
            0 => matches!(error, OpenError::UnknownFormat { .. }),
            1..=30 => matches!(error, OpenError::NoDataKey | OpenError::UnknownDataKey { .. }),
            _ => error == OpenError::Refused,
        };
        assert!(expected, "bit {bit}: {error:?}");
    }
    assert!(open(&vault, &aad(), &sealed).is_ok());
}

#[test]
fn another_loaded_data_key_named_in_the_header_does_not_open() {
    let entropy = Counted::from(0);
    let vault = vault(&entropy);
    let sealed = vault.seal(&aad(), b"x", &entropy).unwrap().bytes;
    let other = add_active(&vault, &entropy);
    let mut changed = sealed;
    changed[1..31].copy_from_slice(other.as_str().as_bytes());
    assert_eq!(refusal(open(&vault, &aad(), &changed)), OpenError::Refused);
}

#[test]
fn a_moved_value_is_refused() {
    let entropy = Counted::from(0);
    let vault = vault(&entropy);
    let sealed = vault.seal(&aad(), b"value", &entropy).unwrap().bytes;
    let mut moved = vec![
        Aad { object: "crd_2".into(), ..aad() },
        Aad { object: "crd_1 ".into(), ..aad() },
        Aad { object: String::new(), ..aad() },
        Aad { environment: Some("staging".into()), ..aad() },
        Aad { environment: Some(String::new()), ..aad() },
        Aad { environment: None, ..aad() },
        Aad { version: 2, ..aad() },
        Aad { version: 4, ..aad() },
        Aad { version: -3, ..aad() },
        Aad { project: None, ..aad() },
        Aad { project: Some(ProjectId::new(NOW, &Counted::from(901))), ..aad() },
        // The same letters, cut elsewhere.
        Aad { object: "crd_1production".into(), environment: Some(String::new()), ..aad() },
        Aad { object: "crd_".into(), environment: Some("1production".into()), ..aad() },
    ];
    for purpose in Purpose::ALL {
        if *purpose != aad().purpose {
            moved.push(Aad { purpose: *purpose, ..aad() });
        }
    }
    for place in moved {
        assert_eq!(refusal(open(&vault, &place, &sealed)), OpenError::Refused, "{place:?}");
        let resealed = vault.reseal(&place, &sealed, &entropy).unwrap_err();
        assert_eq!(resealed, OpenError::Refused, "{place:?}");
    }
}

#[test]
fn purposes_have_distinct_names() {
    let names: std::collections::HashSet<_> = Purpose::ALL.iter().map(|p| p.as_str()).collect();
    assert_eq!(names.len(), Purpose::ALL.len());
}

#[test]
fn a_cut_value_is_refused_at_every_length() {
    let entropy = Counted::from(0);
    let vault = vault(&entropy);
    let sealed = vault.seal(&aad(), b"abc", &entropy).unwrap().bytes;
    assert_eq!(sealed.len(), Vault::OVERHEAD + 3);
    for length in 0..sealed.len() {
        let error = refusal(open(&vault, &aad(), &sealed[..length]));
        if length < Vault::OVERHEAD {
            assert_eq!(error, OpenError::Truncated { bytes: length });
        } else {
            assert_eq!(error, OpenError::Refused);
        }
    }
    let longer = [sealed.as_slice(), &[0]].concat();
    assert_eq!(refusal(open(&vault, &aad(), &longer)), OpenError::Refused);
}

#[test]
fn a_missing_data_key_is_named() {
    let entropy = Counted::from(0);
    let here = vault(&entropy);
    let elsewhere = vault(&entropy);
    let sealed = elsewhere.seal(&aad(), b"x", &entropy).unwrap();
    let error = refusal(open(&here, &aad(), &sealed.bytes));
    assert_eq!(error, OpenError::UnknownDataKey { id: sealed.data_key.clone() });
    assert!(error.to_string().contains(sealed.data_key.as_str()));
    assert_eq!(data_key_of(&sealed.bytes), Ok(sealed.data_key));
}

#[test]
fn without_an_active_data_key_nothing_is_sealed() {
    let entropy = Counted::from(0);
    let vault = Vault::new(latchstring_vault::KeyRing::generate(NOW, &entropy));
    assert_eq!(vault.seal(&aad(), b"x", &entropy), Err(SealError::NoActiveDataKey));
    let unknown = DataKeyId::new(NOW, &entropy);
    assert_eq!(vault.set_active(&unknown), Err(SealError::UnknownDataKey { id: unknown }));
}

#[test]
fn equal_plaintexts_are_sealed_differently() {
    let entropy = Counted::from(0);
    let vault = vault(&entropy);
    let one = vault.seal(&aad(), b"same", &entropy).unwrap().bytes;
    let two = vault.seal(&aad(), b"same", &entropy).unwrap().bytes;
    // Header apart, no run of four bytes is shared at the same place.
    let shared = one[31..].windows(4).zip(two[31..].windows(4)).any(|(a, b)| a == b);
    assert!(!shared);
}

#[test]
fn threads_share_a_vault_while_keys_change() {
    let entropy = Counted::from(0);
    let vault = vault(&entropy);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (vault, entropy) = (&vault, &entropy);
            scope.spawn(move || {
                let aad = Aad { version: thread, ..aad() };
                for _ in 0..50 {
                    let sealed = vault.seal(&aad, b"shared", entropy).unwrap();
                    assert_eq!(open(vault, &aad, &sealed.bytes).ok().unwrap().expose(), b"shared");
                }
            });
        }
        for _ in 0..20 {
            add_active(&vault, &entropy);
        }
    });
    assert_eq!(vault.data_keys().len(), 21);
}

fn any_aad() -> impl Strategy<Value = Aad> {
    let purpose = proptest::sample::select(Purpose::ALL);
    let environment = proptest::option::of("[a-b]{0,2}");
    (purpose, "[a-b]{0,3}", environment, -2_i64..2, proptest::option::of(0_u64..2)).prop_map(
        |(purpose, object, environment, version, project)| Aad {
            purpose,
            object,
            environment,
            version,
            project: project.map(|seed| ProjectId::new(NOW, &Counted::from(seed))),
        },
    )
}

proptest! {
    #[test]
    fn what_was_sealed_opens_again(aad in any_aad(), plaintext: Vec<u8>, seed: u64) {
        let entropy = Counted::from(seed / 2);
        let vault = vault(&entropy);
        let sealed = vault.seal(&aad, &plaintext, &entropy).unwrap();
        prop_assert_eq!(sealed.bytes.len(), plaintext.len() + Vault::OVERHEAD);
        let opened = open(&vault, &aad, &sealed.bytes).ok().unwrap();
        prop_assert_eq!(opened.expose(), plaintext.as_slice());
    }

    /// Small alphabets, so that places which differ only in where a text ends do come up.
    #[test]
    fn it_opens_in_no_other_place(home in any_aad(), other in any_aad()) {
        let entropy = Counted::from(0);
        let vault = vault(&entropy);
        let sealed = vault.seal(&home, b"value", &entropy).unwrap();
        prop_assert_eq!(open(&vault, &other, &sealed.bytes).is_ok(), home == other);
    }

    #[test]
    fn any_bytes_are_refused_without_a_panic(bytes: Vec<u8>, headed: bool) {
        let entropy = Counted::from(0);
        let vault = vault(&entropy);
        let mut value = bytes;
        if headed {
            let mut sealed = vault.seal(&aad(), b"", &entropy).unwrap().bytes;
            sealed.truncate(31);
            sealed.append(&mut value);
            value = sealed;
        }
        prop_assert!(open(&vault, &aad(), &value).is_err());
    }
}
