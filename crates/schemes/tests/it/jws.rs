//! The thirteen algorithms: RFC 7515, 7520 and 8037, and verification by libraries that share no code with us.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{DecodingKey, Validation, decode};
use latchstring_model::SecretString;
use latchstring_schemes::jws::{
    Algorithm, JwsError, KeyEncoding, KeyError, KeyKind, SigningKey, normalise_times, sign_compact,
};
use serde_json::{Map, Value, json};

use crate::support::key_file;

fn map(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

fn key(algorithm: Algorithm, file: &str) -> SigningKey {
    SigningKey::parse(algorithm, &key_file(file).into(), None)
        .unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn signed(key: &SigningKey, input: &str) -> String {
    URL_SAFE_NO_PAD.encode(key.sign(input.as_bytes()).unwrap())
}

/// RFC 7515 appendix A.1 and A.2, RFC 7520 section 4.1, RFC 8037 appendix A.4: signatures without randomness.
#[test]
fn published_signatures() {
    const JOE: &str =
        "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
    let shared = SigningKey::shared_secret(
        Algorithm::Hs256,
        &"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow".into(),
        KeyEncoding::Base64,
    )
    .unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(
        signed(&shared, &format!("eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.{JOE}")),
        "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    );
    assert_eq!(
        signed(&key(Algorithm::Rs256, "rfc7515-a2.pem"), &format!("eyJhbGciOiJSUzI1NiJ9.{JOE}")),
        "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CU\
         Ar7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_d\
         O--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0ig\
         cN_IoypGlUPQGe77Rw"
    );
    let frodo = URL_SAFE_NO_PAD.encode(
        "It\u{2019}s a dangerous business, Frodo, going out your door. You step onto the road, and if you don't keep \
         your feet, there\u{2019}s no knowing where you might be swept off to.",
    );
    assert_eq!(
        signed(
            &key(Algorithm::Rs256, "rfc7520-3.4.pem"),
            &format!("eyJhbGciOiJSUzI1NiIsImtpZCI6ImJpbGJvLmJhZ2dpbnNAaG9iYml0b24uZXhhbXBsZSJ9.{frodo}")
        ),
        "MRjdkly7_-oTPTS3AXP41iQIGKa80A0ZmTuV5MEaHoxnW2e5CZ5NlKtainoFmKZopdHM1O2U4mwzJdQx996ivp83xuglII7PNDi84wnB-BDk\
         oBwA78185hX-Es4JIwmDLJK3lfWRa-XtL0RnltuYv746iYTh_qHRD68BNt1uSNCrUCTJDt5aAE6x8wW1Kt9eRo4QPocSadnHXFxnt8Is9Uzp\
         ERV0ePPQdLuW3IS_de3xyIrDaLGdjluPxUAhb6L2aXic1U12podGU0KLUQSE_oI-ZnmKJ3F4uOZDnd6QZWJushZ41Axf_fcIe8u9ipH84ogo\
         ree7vjbU5y18kDquDg"
    );
    assert_eq!(
        signed(
            &key(Algorithm::EdDsa, "rfc8037-a1.pem"),
            &format!("eyJhbGciOiJFZERTQSJ9.{}", URL_SAFE_NO_PAD.encode("Example of Ed25519 signing"))
        ),
        "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
    );
}

/// RFC 4231 test case 2, for the hashes that RFC 7515 has no example of.
#[test]
fn longer_hmacs() {
    let sign = |algorithm| {
        let key =
            SigningKey::parse(algorithm, &"Jefe".into(), None).unwrap_or_else(|error| panic!("{error}"));
        hex::encode(key.sign(b"what do ya want for nothing?").unwrap())
    };
    assert_eq!(sign(Algorithm::Hs256), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    assert_eq!(
        sign(Algorithm::Hs384),
        "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e8e2240ca5e69e2c78b3239ecfab21649"
    );
    assert_eq!(
        sign(Algorithm::Hs512),
        "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fd\
         caeab1a34d4a6b4b636e070a38bce737"
    );
}

const SECRET: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn files(algorithm: Algorithm) -> Option<(&'static str, &'static str)> {
    match algorithm {
        Algorithm::Hs256 | Algorithm::Hs384 | Algorithm::Hs512 => None,
        Algorithm::Es256 => Some(("p256.pkcs8.pem", "p256.pub.pem")),
        Algorithm::Es384 => Some(("p384.pkcs8.pem", "p384.pub.pem")),
        Algorithm::Es512 => Some(("p521.pkcs8.pem", "p521.pub.pem")),
        Algorithm::EdDsa => Some(("ed25519.pkcs8.pem", "ed25519.pub.pem")),
        _ => Some(("rsa2048.pkcs8.pem", "rsa2048.pub.pem")),
    }
}

fn verify_p521(token: &str) -> Value {
    use p521::ecdsa::signature::Verifier;
    use p521::ecdsa::{Signature, VerifyingKey};
    use p521::pkcs8::DecodePublicKey;
    let (message, signature) = token.rsplit_once('.').unwrap();
    let public = p521::PublicKey::from_public_key_pem(&key_file("p521.pub.pem")).unwrap();
    let signature = Signature::from_slice(&URL_SAFE_NO_PAD.decode(signature).unwrap()).unwrap();
    VerifyingKey::from(public).verify(message.as_bytes(), &signature).unwrap();
    let payload = message.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

#[test]
fn every_algorithm_is_verified_by_another_library() {
    let header = map(json!({"typ": "JWT", "kid": "k1"}));
    let claims = map(json!({"iss": "me", "exp": "4102444800", "iat": " 1700000000 ", "n": "007"}));
    let mut verified = 0;
    for algorithm in Algorithm::ALL.iter().copied() {
        let secret = match files(algorithm) {
            None => SecretString::from(SECRET),
            Some((private, _)) => key_file(private).into(),
        };
        let key = SigningKey::parse(algorithm, &secret, None)
            .unwrap_or_else(|error| panic!("{algorithm}: {error}"));
        let token = sign_compact(&key, &header, &claims).unwrap();
        let payload = if algorithm == Algorithm::Es512 {
            verify_p521(token.expose())
        } else {
            let theirs: jsonwebtoken::Algorithm = algorithm.as_str().parse().unwrap();
            let public = match files(algorithm) {
                None => DecodingKey::from_secret(SECRET.as_bytes()),
                Some((_, public)) => {
                    let pem = key_file(public);
                    match algorithm {
                        Algorithm::Es256 | Algorithm::Es384 => {
                            DecodingKey::from_ec_pem(pem.as_bytes()).unwrap()
                        }
                        Algorithm::EdDsa => DecodingKey::from_ed_pem(pem.as_bytes()).unwrap(),
                        _ => DecodingKey::from_rsa_pem(pem.as_bytes()).unwrap(),
                    }
                }
            };
            let mut rules = Validation::new(theirs);
            rules.required_spec_claims.clear();
            let token = decode::<Value>(token.expose(), &public, &rules)
                .unwrap_or_else(|e| panic!("{algorithm}: {e}"));
            assert_eq!(token.header.kid.as_deref(), Some("k1"));
            token.claims
        };
        assert_eq!(payload, json!({"iss": "me", "exp": 4_102_444_800_i64, "iat": 1_700_000_000, "n": "007"}));
        verified += 1;
    }
    assert_eq!(verified, 13);
}

#[test]
fn a_key_restricted_to_pss_signs_pss() {
    let public = key_file("rsapss2048.pub.pem");
    for algorithm in [Algorithm::Ps256, Algorithm::Ps512] {
        let key = key(algorithm, "rsapss2048.pkcs8.pem");
        let message = b"hello";
        let signature = key.sign(message).unwrap();
        // The key's own identifier is not one that the other library reads: take the plain key out of it.
        let der = pem_body(&public);
        let spki_bits = &der[der.len() - 270..];
        let verify = match algorithm {
            Algorithm::Ps256 => &aws_lc_rs::signature::RSA_PSS_2048_8192_SHA256,
            _ => &aws_lc_rs::signature::RSA_PSS_2048_8192_SHA512,
        };
        aws_lc_rs::signature::UnparsedPublicKey::new(verify, spki_bits).verify(message, &signature).unwrap();
    }
    let refused =
        SigningKey::parse(Algorithm::Rs256, &key_file("rsapss2048.pkcs8.pem").into(), None).err().unwrap();
    assert_eq!(refused, KeyError::AlgorithmMismatch { algorithm: "RS256", kind: KeyKind::RsaPss });
}

fn pem_body(pem: &str) -> Vec<u8> {
    let text: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    base64::engine::general_purpose::STANDARD.decode(text).unwrap()
}

#[test]
fn every_algorithm_refuses_every_other_key() {
    let kinds = [
        ("rsa2048.pkcs8.pem", KeyKind::Rsa, "RS256 RS384 RS512 PS256 PS384 PS512"),
        ("rsapss2048.pkcs8.pem", KeyKind::RsaPss, "PS256 PS384 PS512"),
        ("p256.pkcs8.pem", KeyKind::P256, "ES256"),
        ("p384.sec1.pem", KeyKind::P384, "ES384"),
        ("p521.pkcs8.pem", KeyKind::P521, "ES512"),
        ("ed25519.pkcs8.pem", KeyKind::Ed25519, "EdDSA"),
    ];
    for (file, kind, fits) in kinds {
        for algorithm in Algorithm::ALL.iter().copied() {
            let result = SigningKey::parse(algorithm, &key_file(file).into(), None);
            let wanted = if fits.split(' ').any(|name| name == algorithm.as_str()) {
                None
            } else if algorithm.is_hmac() {
                Some(KeyError::PemForHmac { algorithm: algorithm.as_str() })
            } else {
                Some(KeyError::AlgorithmMismatch { algorithm: algorithm.as_str(), kind })
            };
            assert_eq!(result.err(), wanted, "{file} {algorithm}");
        }
    }
    let text = KeyError::AlgorithmMismatch { algorithm: "ES256", kind: KeyKind::P384 }.to_string();
    assert!(text.contains("P-384") && text.contains("ES384"), "{text}");
}

#[test]
fn times_become_numbers_and_nothing_else_does() {
    let mut claims = map(json!({"exp": "1.5", "iat": 7, "nbf": "-3", "other": "12", "sub": 1.5}));
    normalise_times(&mut claims).unwrap();
    assert_eq!(Value::Object(claims), json!({"exp": 1, "iat": 7, "nbf": -3, "other": "12", "sub": 1.5}));
    for wrong in ["soon", "", "2023-11-14T22:13:20Z", "1e9", "0x10", "99999999999999999999", "1.x"] {
        let mut claims = map(json!({"exp": wrong}));
        assert_eq!(normalise_times(&mut claims), Err(JwsError::TimeClaim("exp")), "{wrong}");
    }
}

#[test]
fn the_header_cannot_lie_about_the_algorithm() {
    let key =
        SigningKey::parse(Algorithm::Hs256, &SECRET.into(), None).unwrap_or_else(|error| panic!("{error}"));
    let sign = |header| sign_compact(&key, &map(header), &Map::new()).err();
    assert_eq!(sign(json!({"alg": "none"})), Some(JwsError::AlgConflict(Algorithm::Hs256)));
    assert_eq!(sign(json!({"b64": false})), Some(JwsError::UnsupportedHeader("b64")));
    assert_eq!(sign(json!({"crit": ["b64"]})), Some(JwsError::UnsupportedHeader("crit")));
    assert_eq!(sign(json!({"alg": "HS256", "x": null})), None);
}
