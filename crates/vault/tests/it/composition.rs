//! The composition, done again with another implementation (RustCrypto) from the description in
//! the crate's docs: what the vault seals, this opens, and the other way round. The second
//! implementation itself is held to RFC 5869's and the GCM specification's vectors.

use aes_gcm::aead::{Aead as _, KeyInit as _, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use base64::Engine as _;
use hkdf::Hkdf;
use latchstring_model::id::DataKeyId;
use latchstring_model::{Entropy, OpenTicket};
use latchstring_vault::{Aad, KeyRing, Purpose, Vault, WrappedDataKey};
use sha2::Sha256;

use crate::support::{Counted, NOW, aad};

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect()
}

fn derive(ikm: &[u8], salt: &[u8], info: &[u8]) -> [u8; 32] {
    let mut key = [0; 32];
    Hkdf::<Sha256>::new(Some(salt), ikm).expand(info, &mut key).unwrap();
    key
}

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_be_bytes(), text.as_bytes()].concat()
}

fn encoded(aad: &Aad) -> Vec<u8> {
    let option = |value: Option<&str>| match value {
        None => vec![0],
        Some(value) => [vec![1], text(value)].concat(),
    };
    [
        text(aad.purpose.as_str()),
        text(&aad.object),
        option(aad.environment.as_deref()),
        aad.version.to_be_bytes().to_vec(),
        option(aad.project.as_ref().map(|id| id.as_str())),
    ]
    .concat()
}

/// Opens `header ‖ salt ‖ nonce ‖ ciphertext ‖ tag` by the book.
fn open(ikm: &[u8], label: &[u8], header: usize, aad: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
    let (head, rest) = sealed.split_at(header);
    let (salt, rest) = rest.split_at(32);
    let (nonce, ciphertext) = rest.split_at(12);
    let bound = [head, aad].concat();
    let key = derive(ikm, salt, &[label, &bound].concat());
    let nonce: [u8; 12] = nonce.try_into().unwrap();
    Aes256Gcm::new_from_slice(&key)
        .unwrap()
        .decrypt(&Nonce::from(nonce), Payload { msg: ciphertext, aad: &bound })
        .ok()
}

fn seal(ikm: &[u8], label: &[u8], head: &[u8], aad: &[u8], plaintext: &[u8]) -> Vec<u8> {
    let (salt, nonce) = ([7_u8; 32], [9_u8; 12]);
    let bound = [head, aad].concat();
    let key = derive(ikm, &salt, &[label, &bound].concat());
    let sealed = Aes256Gcm::new_from_slice(&key)
        .unwrap()
        .encrypt(&Nonce::from(nonce), Payload { msg: plaintext, aad: &bound })
        .unwrap();
    [head, &salt, &nonce, &sealed].concat()
}

const RECORD: &[u8] = b"latchstring record 1\0";
const WRAP: &[u8] = b"latchstring data key 1\0";

fn root_key(ring: &KeyRing) -> Vec<u8> {
    let file: serde_json::Value = serde_json::from_slice(ring.to_bytes().expose()).unwrap();
    let text = file["keys"][0]["key"].as_str().unwrap();
    base64::engine::general_purpose::STANDARD.decode(text).unwrap()
}

fn wrap_aad(key: &WrappedDataKey) -> Vec<u8> {
    [text(key.id.as_str()), text(key.root_key.as_str())].concat()
}

#[test]
fn what_the_vault_seals_another_implementation_opens() {
    let entropy = Counted::from(0);
    let ring = KeyRing::generate(NOW, &entropy);
    let vault = Vault::new(ring.clone());
    let stored = vault.new_data_key(DataKeyId::new(NOW, &entropy), &entropy).unwrap();
    vault.load_data_key(&stored).unwrap();
    vault.set_active(&stored.id).unwrap();

    assert_eq!(stored.wrapped[0], 1);
    let data_key = open(&root_key(&ring), WRAP, 1, &wrap_aad(&stored), &stored.wrapped).unwrap();
    assert_eq!(data_key.len(), 32);

    let without = Aad { environment: None, project: None, purpose: Purpose::TotpSecret, ..aad() };
    for place in [aad(), without] {
        for plaintext in [b"".as_slice(), b"x", &[0xAB; 5000]] {
            let sealed = vault.seal(&place, plaintext, &entropy).unwrap();
            assert_eq!(sealed.bytes[0], 1);
            assert_eq!(&sealed.bytes[1..31], stored.id.as_str().as_bytes());
            let opened = open(&data_key, RECORD, 31, &encoded(&place), &sealed.bytes);
            assert_eq!(opened.as_deref(), Some(plaintext));
        }
    }
}

#[test]
fn what_another_implementation_seals_the_vault_opens() {
    let entropy = Counted::from(0);
    let ring = KeyRing::generate(NOW, &entropy);
    let vault = Vault::new(ring.clone());
    let mut data_key = [0; 32];
    entropy.fill(&mut data_key);
    let id = DataKeyId::new(NOW, &entropy);
    let mut stored =
        WrappedDataKey { id: id.clone(), root_key: ring.active_id().clone(), wrapped: Vec::new() };
    stored.wrapped = seal(&root_key(&ring), WRAP, &[1], &wrap_aad(&stored), &data_key);
    vault.load_data_key(&stored).unwrap();

    let head = [&[1], id.as_str().as_bytes()].concat();
    let sealed = seal(&data_key, RECORD, &head, &encoded(&aad()), b"by the book");
    let opened = vault.open(&OpenTicket::mint(), &aad(), &sealed).ok().unwrap();
    assert_eq!(opened.expose(), b"by the book");
}

/// A wrapped key of a wrong length is refused even when it unwraps.
#[test]
fn a_data_key_of_another_length_is_refused() {
    let ring = KeyRing::generate(NOW, &Counted::from(0));
    let vault = Vault::new(ring.clone());
    let id = DataKeyId::new(NOW, &Counted::from(1));
    let mut stored = WrappedDataKey { id, root_key: ring.active_id().clone(), wrapped: Vec::new() };
    for length in [0, 16, 31, 33] {
        stored.wrapped = seal(&root_key(&ring), WRAP, &[1], &wrap_aad(&stored), &vec![5; length]);
        assert!(vault.load_data_key(&stored).is_err(), "{length} bytes");
    }
}

/// RFC 5869, appendix A.1 (the first 32 of its 42 bytes: a shorter output is the beginning of a longer one).
#[test]
fn rfc_5869_vector() {
    let key = derive(
        &bytes("0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b"),
        &bytes("000102030405060708090a0b0c"),
        &bytes("f0f1f2f3f4f5f6f7f8f9"),
    );
    let expected = "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf";
    assert_eq!(key.to_vec(), bytes(expected));
}

/// The GCM specification (McGrew and Viega), test case 16: AES-256 with additional data.
#[test]
fn gcm_specification_vector() {
    let key = bytes("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308");
    let plaintext = bytes(
        "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
    );
    let aad = bytes("feedfacedeadbeeffeedfacedeadbeefabaddad2");
    let nonce: [u8; 12] = bytes("cafebabefacedbaddecaf888").try_into().unwrap();
    let sealed = Aes256Gcm::new_from_slice(&key)
        .unwrap()
        .encrypt(&Nonce::from(nonce), Payload { msg: &plaintext, aad: &aad })
        .unwrap();
    assert_eq!(
        sealed,
        bytes(
            "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f66276fc6ece0f4e1768cddf8853bb2d551b"
        )
    );
}
