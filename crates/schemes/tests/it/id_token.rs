//! ID tokens that `jose` signed: each thing that one has to be, taken away once.

use latchstring_model::{SecretString, Timestamp};
use latchstring_schemes::jws::verify::{PublicKeys, VerifyError, verify_compact};
use latchstring_schemes::oidc::{Expected, IdTokenError, verify_id_token};
use latchstring_testkit::jwt::KeyPair;
use serde_json::{Value, json};

const NOW: i64 = 1_800_000_000;
const ISSUER: &str = "https://id.example.com";

fn keys(pairs: &[(&KeyPair, &str)]) -> PublicKeys {
    let all: Vec<Value> = pairs
        .iter()
        .map(|(pair, kid)| {
            let mut jwk = pair.public_jwk.clone();
            jwk["kid"] = json!(kid);
            jwk["use"] = json!("sig");
            jwk
        })
        .collect();
    PublicKeys::read(json!({"keys": all}).to_string().as_bytes()).unwrap()
}

fn claims() -> Value {
    json!({
        "iss": ISSUER, "sub": "alice", "aud": "latchstring", "nonce": "a nonce", "iat": NOW - 5, "exp": NOW + 300,
        "auth_time": NOW - 2,
    })
}

fn judged(token: &str, keys: &PublicKeys, since: Option<i64>) -> Result<String, IdTokenError> {
    let (nonce, access) = ("a nonce".into(), "an access token".into());
    let expected = Expected {
        issuer: ISSUER,
        client_id: "latchstring",
        nonce: &nonce,
        now: Timestamp(NOW * 1000),
        signed_in_since: since.map(|secs| Timestamp(secs * 1000)),
        access_token: &access,
    };
    verify_id_token(&SecretString::from(token), keys, &expected).map(|token| token.subject)
}

#[test]
fn every_public_key_algorithm_is_taken_and_no_other() {
    for alg in ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"] {
        let pair = KeyPair::generate(alg);
        let token = pair.sign(&claims());
        assert_eq!(judged(&token, &keys(&[(&pair, "one")]), None).as_deref(), Ok("alice"), "{alg}");
        // Another key of the same kind.
        let other = KeyPair::generate(alg);
        let refused = judged(&token, &keys(&[(&other, "one")]), None);
        assert_eq!(refused, Err(IdTokenError::Verify(VerifyError::Signature)), "{alg}");
        // One sign of the signature.
        let mut bent = token.clone().into_bytes();
        let at = bent.len() - 10;
        bent[at] = if bent[at] == b'A' { b'B' } else { b'A' };
        let bent = String::from_utf8(bent).unwrap();
        assert!(judged(&bent, &keys(&[(&pair, "one")]), None).is_err(), "{alg}");
    }
}

#[test]
fn what_is_not_signed_with_a_published_key_is_not_believed() {
    use base64::Engine as _;
    let encode = |value: &Value| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(value.to_string());
    let pair = KeyPair::generate("RS256");
    let known = keys(&[(&pair, "one")]);
    let unsigned = |header: Value, tag: &str| format!("{}.{}.{tag}", encode(&header), encode(&claims()));
    let named = |token: &str| judged(token, &known, None).unwrap_err();
    for alg in ["none", "None", "NONE", "HS256", "rs256", ""] {
        assert_eq!(
            named(&unsigned(json!({"alg": alg}), "")),
            IdTokenError::Verify(VerifyError::Algorithm(alg.into()))
        );
    }
    assert_eq!(
        named(&unsigned(json!({"alg": "RS256", "kid": "two"}), "AA")),
        IdTokenError::Verify(VerifyError::UnknownKey)
    );
    assert_eq!(
        named(&unsigned(json!({"alg": "ES256"}), "AA")),
        IdTokenError::Verify(VerifyError::UnknownKey)
    );
    assert_eq!(
        named(&unsigned(json!({"alg": "RS256", "crit": ["exp"]}), "AA")),
        IdTokenError::Verify(VerifyError::Critical("crit"))
    );
    assert_eq!(
        named(&unsigned(json!({"alg": "RS256", "b64": false}), "AA")),
        IdTokenError::Verify(VerifyError::Critical("b64"))
    );
    assert_eq!(
        named(&unsigned(json!({"alg": "RS256", "kid": "one"}), "")),
        IdTokenError::Verify(VerifyError::Signature)
    );
    for bad in ["", ".", "..", "a.b", "a.b.c.d", "e30.e30.", "W10.e30.AA"] {
        assert_eq!(named(bad), IdTokenError::Verify(VerifyError::Malformed), "{bad}");
    }
}

#[test]
fn a_key_is_used_for_what_it_was_published_for() {
    let pair = KeyPair::generate("RS256");
    let token = pair.sign(&claims());
    let set = |change: &dyn Fn(&mut Value)| {
        let mut jwk = pair.public_jwk.clone();
        jwk["kid"] = json!("one");
        change(&mut jwk);
        PublicKeys::read(json!({"keys": [jwk]}).to_string().as_bytes()).unwrap()
    };
    assert!(judged(&token, &set(&|_| ()), None).is_ok());
    for change in [
        &(|jwk: &mut Value| jwk["use"] = json!("enc")) as &dyn Fn(&mut Value),
        &|jwk| jwk["key_ops"] = json!(["encrypt"]),
        &|jwk| jwk["alg"] = json!("PS256"),
        &|jwk| jwk["alg"] = json!("HS256"),
        &|jwk| jwk["alg"] = json!("RSA-OAEP"),
        &|jwk| jwk["kty"] = json!("oct"),
    ] {
        assert_eq!(judged(&token, &set(change), None), Err(IdTokenError::Verify(VerifyError::UnknownKey)));
    }
    // Without a name in the token, two keys that could have signed it are one too many.
    let other = KeyPair::generate("RS256");
    let two = keys(&[(&pair, "one"), (&other, "two")]);
    assert_eq!(judged(&token, &two, None), Err(IdTokenError::Verify(VerifyError::AmbiguousKey)));
    assert!(PublicKeys::read(b"{}").is_none() && PublicKeys::read(b"[]").is_none());
    assert_eq!(
        PublicKeys::read(br#"{"keys": [1, {}, {"kty": "EC", "crv": "P-256", "x": "AA"}]}"#).unwrap().len(),
        0
    );
    assert!(verify_compact(&"a".repeat(70_000), &two).is_err());
}

/// What is done to the claims.
type Change = Box<dyn Fn(&mut Value)>;

#[test]
fn each_claim_has_to_be_right() {
    let pair = KeyPair::generate("ES256");
    let known = keys(&[(&pair, "one")]);
    let with = |change: &dyn Fn(&mut Value)| {
        let mut claims = claims();
        change(&mut claims);
        judged(&pair.sign(&claims), &known, None)
    };
    let gone =
        |name: &'static str| move |claims: &mut Value| drop(claims.as_object_mut().unwrap().remove(name));
    use IdTokenError as E;
    let cases: Vec<(&str, Change, E)> = vec![
        ("no issuer", Box::new(gone("iss")), E::Issuer),
        ("another issuer", Box::new(|c| c["iss"] = json!("https://id.example.com/")), E::Issuer),
        ("no audience", Box::new(gone("aud")), E::Audience),
        ("another client", Box::new(|c| c["aud"] = json!("other")), E::Audience),
        ("a list of others", Box::new(|c| c["aud"] = json!(["other"])), E::Audience),
        (
            "the issuer's client too, nobody named",
            Box::new(|c| c["aud"] = json!(["latchstring", "other"])),
            E::Party,
        ),
        ("given to another", Box::new(|c| c["azp"] = json!("other")), E::Party),
        ("no end", Box::new(gone("exp")), E::Expired),
        ("ended", Box::new(|c| c["exp"] = json!(NOW - 60)), E::Expired),
        ("no beginning", Box::new(gone("iat")), E::Issued),
        ("of the future", Box::new(|c| c["iat"] = json!(NOW + 61)), E::Issued),
        ("of long ago", Box::new(|c| c["iat"] = json!(NOW - 601)), E::Issued),
        ("no nonce", Box::new(gone("nonce")), E::Nonce),
        ("another nonce", Box::new(|c| c["nonce"] = json!("another")), E::Nonce),
        ("no text as nonce", Box::new(|c| c["nonce"] = json!(1)), E::Nonce),
        ("nobody", Box::new(gone("sub")), E::Subject),
        ("an empty name", Box::new(|c| c["sub"] = json!("")), E::Subject),
        ("a number", Box::new(|c| c["sub"] = json!(7)), E::Subject),
        ("too long a name", Box::new(|c| c["sub"] = json!("x".repeat(256))), E::Subject),
        (
            "another access token",
            Box::new(|c| c["at_hash"] = json!("AAAAAAAAAAAAAAAAAAAAAA")),
            E::AccessToken,
        ),
    ];
    for (what, change, error) in &cases {
        assert_eq!(with(change.as_ref()), Err(error.clone()), "{what}");
    }
    for good in [
        &(|c: &mut Value| c["aud"] = json!(["latchstring"])) as &dyn Fn(&mut Value),
        &|c| (c["aud"], c["azp"]) = (json!(["latchstring", "other"]), json!("latchstring")),
        &|c| c["exp"] = json!(NOW - 59),
        &|c| c["iat"] = json!(NOW + 60),
        &|c| c["iat"] = json!(NOW as f64 + 0.5),
        // SHA-256 of "an access token", its left half.
        &|c| c["at_hash"] = json!("FPlcM-1UXiivOYozpUrp7Q"),
    ] {
        assert_eq!(with(good).as_deref(), Ok("alice"));
    }
}

#[test]
fn a_sign_in_that_was_wanted_anew_is_new() {
    let pair = KeyPair::generate("ES256");
    let known = keys(&[(&pair, "one")]);
    let at = |auth_time: Value| {
        let mut claims = claims();
        claims["auth_time"] = auth_time;
        judged(&pair.sign(&claims), &known, Some(NOW - 100))
    };
    assert!(at(json!(NOW - 3)).is_ok());
    for bad in [json!(NOW - 161), json!(NOW + 61), Value::Null, json!("now")] {
        assert_eq!(at(bad.clone()), Err(IdTokenError::AuthTime), "{bad}");
    }
}

#[test]
fn a_second_factor_is_what_the_provider_says() {
    let pair = KeyPair::generate("ES256");
    let known = keys(&[(&pair, "one")]);
    let (nonce, access) = ("a nonce".into(), "x".into());
    let expected = Expected {
        issuer: ISSUER,
        client_id: "latchstring",
        nonce: &nonce,
        now: Timestamp(NOW * 1000),
        signed_in_since: None,
        access_token: &access,
    };
    for (amr, is) in
        [(json!(["pwd", "mfa"]), true), (json!(["pwd"]), false), (json!("mfa"), false), (Value::Null, false)]
    {
        let mut claims = claims();
        claims["amr"] = amr.clone();
        let token = verify_id_token(&SecretString::from(pair.sign(&claims)), &known, &expected).ok().unwrap();
        assert_eq!(token.has_second_factor(), is, "{amr}");
    }
}
