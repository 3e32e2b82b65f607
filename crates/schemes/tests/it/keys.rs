//! Keys as people paste them, and what is said of what is not one.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use latchstring_schemes::Scheme;
use latchstring_schemes::encoding::KeyEncoding;
use latchstring_schemes::jws::{Algorithm, KeyError, SigningKey};
use latchstring_schemes::jwt::{Jwt, JwtKey};
use latchstring_schemes::keys::ParsedKeys;
use latchstring_schemes::oauth1::{OAuth1, SignatureMethod};

use crate::support::key_file;

fn parse(algorithm: Algorithm, text: &str, passphrase: Option<&str>) -> Result<SigningKey, KeyError> {
    let passphrase = passphrase.map(Into::into);
    SigningKey::parse(algorithm, &text.into(), passphrase.as_ref())
}

fn bare(pem: &str) -> String {
    pem.lines().filter(|line| !line.starts_with("-----")).collect()
}

/// Every spelling of one RSA key makes the same signature.
#[test]
fn every_form_of_one_key_is_the_same_key() {
    let wanted =
        parse(Algorithm::Rs256, &key_file("rsa2048.pkcs8.pem"), None).unwrap_or_else(|e| panic!("{e}"));
    let wanted = wanted.sign(b"x").unwrap();
    let (pkcs8, pkcs1) = (key_file("rsa2048.pkcs8.pem"), key_file("rsa2048.pkcs1.pem"));
    let mut forms: Vec<(&str, String)> = vec![
        ("PKCS#1", pkcs1.clone()),
        ("CRLF", pkcs8.replace('\n', "\r\n")),
        ("CR", pkcs8.replace('\n', "\r")),
        ("literal \\n", pkcs8.replace('\n', "\\n")),
        ("literal \\r\\n", pkcs8.replace('\n', "\\r\\n")),
        ("literal \\n, escaped twice", pkcs8.replace('\n', "\\\\n")),
        ("escaped slashes", pkcs8.replace('/', "\\/")),
        ("a JSON string", format!("\"{}\"", pkcs8.replace('\n', "\\n"))),
        ("blanks around", format!("\u{feff}\n\n   {pkcs8}   \n\t")),
        ("indented", pkcs8.replace('\n', "\n    ")),
        ("one line", pkcs8.replace('\n', " ")),
        ("one line, no blanks in between", pkcs8.replace('\n', "")),
        ("no wraps", { format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----", bare(&pkcs8)) }),
        ("base64 of PKCS#8", bare(&pkcs8)),
        (
            "wrapped base64 of PKCS#1",
            bare(&pkcs1).as_bytes().chunks(64).map(String::from_utf8_lossy).collect::<Vec<_>>().join("\n"),
        ),
        ("unpadded base64", bare(&pkcs8).trim_end_matches('=').to_owned()),
        ("the wrong label", pkcs8.replace("PRIVATE KEY", "RSA PRIVATE KEY")),
        ("behind its certificate", format!("{}\n{pkcs8}", key_file("rsa2048.cert.pem"))),
        (
            "with bag attributes",
            format!("Bag Attributes\n    localKeyID: 01\nKey Attributes: <No Attributes>\n{pkcs8}"),
        ),
    ];
    forms.push(("trailing text", format!("{pkcs8}\nsome note")));
    for (name, text) in forms {
        let key = parse(Algorithm::Rs256, &text, None).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(key.sign(b"x").unwrap() == wanted, "{name}");
    }
    for file in ["rsa2048.aes256.pem", "rsa2048.des3-sha1.pem", "rsa2048.scrypt.pem"] {
        let text = key_file(file).replace('\n', "\r\n");
        let key =
            parse(Algorithm::Rs256, &text, Some("correct horse")).unwrap_or_else(|e| panic!("{file}: {e}"));
        assert!(key.sign(b"x").unwrap() == wanted, "{file}");
        assert_eq!(parse(Algorithm::Rs256, &text, None).err(), Some(KeyError::PassphraseMissing), "{file}");
        assert_eq!(
            parse(Algorithm::Rs256, &text, Some("")).err(),
            Some(KeyError::PassphraseMissing),
            "{file}"
        );
        assert_eq!(
            parse(Algorithm::Rs256, &text, Some("wrong")).err(),
            Some(KeyError::WrongPassphrase),
            "{file}"
        );
    }
    let bare = bare(&key_file("rsa2048.aes256.pem"));
    assert!(parse(Algorithm::Rs256, &bare, Some("correct horse")).is_ok(), "encrypted, without armour");
}

#[test]
fn elliptic_curve_keys_in_their_forms() {
    for (algorithm, file) in [
        (Algorithm::Es256, "p256.sec1.pem"),
        (Algorithm::Es256, "p256.nopub.pem"),
        (Algorithm::Es256, "p256.with-params.pem"),
        (Algorithm::Es384, "p384.sec1.pem"),
        (Algorithm::Es512, "p521.sec1.pem"),
    ] {
        let pem = key_file(file);
        if let Err(error) = parse(algorithm, &pem, None) {
            panic!("{file}: {error}");
        }
        // Behind the parameters of the curve, where a file has those.
        let alone = pem.split("-----END EC PARAMETERS-----").last().unwrap();
        if let Err(error) = parse(algorithm, &bare(alone), None) {
            panic!("{file} without armour: {error}");
        }
    }
    assert!(parse(Algorithm::EdDsa, &bare(&key_file("ed25519.pkcs8.pem")), None).is_ok());
}

#[test]
fn what_is_no_private_key_is_named() {
    let file = key_file;
    let cases: Vec<(String, KeyError)> = vec![
        (String::new(), KeyError::Empty),
        (" \n ".into(), KeyError::Empty),
        ("hunter2".into(), KeyError::NotAPem),
        ("not base64 at all!".into(), KeyError::NotAPem),
        (file("rsa2048.cert.pem"), KeyError::Certificate),
        (bare(&file("rsa2048.cert.pem")), KeyError::Certificate),
        (file("p256.csr.pem"), KeyError::CertificateRequest),
        (bare(&file("p256.csr.pem")), KeyError::CertificateRequest),
        (file("rsa2048.pub.pem"), KeyError::PublicKey),
        (bare(&file("ed25519.pub.pem")), KeyError::PublicKey),
        (file("rsa2048.pub.pem").replace("PUBLIC KEY", "PRIVATE KEY"), KeyError::PublicKey),
        (file("openssh.pem"), KeyError::OpenSsh),
        (file("openssh.pub"), KeyError::OpenSshPublic),
        ("PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none".into(), KeyError::Putty),
        (file("p256.p12.b64"), KeyError::Pkcs12),
        (r#"{"kty":"RSA","n":"x"}"#.into(), KeyError::Jwk),
        (r#"{"type":"service_account","private_key":"-----BEGIN"}"#.into(), KeyError::Json),
        (file("rsa2048.legacy-encrypted.pem"), KeyError::LegacyEncryption),
        (file("rsa1024.pkcs8.pem"), KeyError::RsaTooShort { bits: 1024 }),
        (file("ed448.pkcs8.pem"), KeyError::Unsupported("an Ed448 key")),
        (file("secp256k1.pkcs8.pem"), KeyError::Unsupported("a key on the curve secp256k1")),
        (file("secp256k1.sec1.pem"), KeyError::Unsupported("a key on the curve secp256k1")),
        (STANDARD.encode(file("p256.pkcs8.pem")), KeyError::Base64OfPem),
        (file("p256.pkcs8.pem").replace("-----END PRIVATE KEY-----", ""), KeyError::CutOff),
        ("-----BEGIN PRIVATE KEY".into(), KeyError::CutOff),
        (file("p256.pkcs8.pem").replace("MI", "M*"), KeyError::NotBase64),
        ("-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----".into(), KeyError::NotBase64),
        ("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----".into(), KeyError::Garbled),
    ];
    for (text, wanted) in cases {
        let error = parse(Algorithm::Rs256, &text, None).err();
        assert_eq!(error, Some(wanted), "{}", &text.chars().take(60).collect::<String>());
    }
    let encrypted = |file| parse(Algorithm::Rs256, &key_file(file), Some("correct horse")).err();
    assert_eq!(encrypted("rsa2048.pbes1.pem"), Some(KeyError::UnsupportedEncryption));
    assert_eq!(encrypted("rsa2048.slow.pem"), Some(KeyError::TooExpensive));
}

#[test]
fn no_message_quotes_the_key() {
    let pem = key_file("p256.pkcs8.pem");
    let piece = &bare(&pem)[40..60];
    for text in [pem.replace('M', "*"), pem[..pem.len() - 30].to_owned(), format!("x{}", bare(&pem))] {
        let error = parse(Algorithm::Rs256, &text, None).err().unwrap();
        assert!(!format!("{error} {error:?}").contains(piece));
    }
}

proptest::proptest! {
    /// Whatever is pasted, cut or flipped: an error or a key, never a panic.
    #[test]
    fn nothing_pasted_panics(text in ".{0,200}", cut in 0usize..1700, flip in 0usize..1700, to in proptest::char::any()) {
        let _ = parse(Algorithm::Rs256, &text, Some("x"));
        let pem = key_file("rsa2048.pkcs8.pem");
        let _ = parse(Algorithm::Rs256, &pem[..cut.min(pem.len())], None);
        let mut changed: Vec<char> = pem.chars().collect();
        let at = flip % changed.len();
        changed[at] = to;
        let _ = parse(Algorithm::Rs256, &changed.into_iter().collect::<String>(), None);
    }
}

#[test]
fn a_key_is_read_once_for_all_schemes_that_are_prepared_with_it() {
    let (keys, pem) = (ParsedKeys::default(), key_file("rsa2048.aes256.pem"));
    let passphrase = || Some("correct horse".into());
    let known = keys.signing(Algorithm::Rs256, &pem.as_str().into(), passphrase().as_ref(), KeyEncoding::Raw);
    let known = known.unwrap_or_else(|error| panic!("{error}"));
    let jwt = || {
        let key = pem.as_str().into();
        Scheme::Jwt(Jwt::new(JwtKey { key, passphrase: passphrase(), encoding: KeyEncoding::Raw }))
    };
    let oauth1 = || {
        Scheme::OAuth1(Box::new(OAuth1 {
            method: SignatureMethod::RsaSha256,
            private_key: Some(pem.as_str().into()),
            passphrase: passphrase(),
            ..OAuth1::new("the-consumer-key", "")
        }))
    };
    let prepared: Vec<_> = [jwt(), jwt(), oauth1(), oauth1()]
        .into_iter()
        .map(|scheme| scheme.prepare(&keys).unwrap_or_else(|error| panic!("{error}")))
        .collect();
    assert_eq!(std::sync::Arc::strong_count(&known), 2 + prepared.len(), "ours, what is kept, and theirs");
    // Another algorithm or passphrase is another key, and what cannot be read stays so.
    let with = |algorithm, passphrase: &str| {
        keys.signing(algorithm, &pem.as_str().into(), Some(&passphrase.into()), KeyEncoding::Raw)
    };
    assert_eq!(
        with(Algorithm::Rs512, "correct horse").map(|key| key.algorithm()).ok(),
        Some(Algorithm::Rs512)
    );
    for _ in 0..2 {
        assert_eq!(with(Algorithm::Rs256, "incorrect horse").err(), Some(KeyError::WrongPassphrase));
    }
}
