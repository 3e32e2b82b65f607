//! Verifies signed JWTs (RFC 7519) by this crate's own reading: the sandbox is the independent other
//! side, so it shares no code with what signs.

use aws_lc_rs::{hmac, signature};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::Value;

use crate::demo::DEMO;

/// Clocks may differ by so many seconds.
const SKEW: i64 = 30;

/// What a token must be to be taken.
pub struct Wanted<'a> {
    pub algorithms: &'a [&'a str],
    /// One of these must be the audience.
    pub audiences: &'a [String],
    /// Whether a token may do without an audience.
    pub audience_optional: bool,
    /// Seconds from now that `exp` may lie ahead.
    pub longest_life: i64,
}

/// Signature, issuer, audience and times; an error is a sentence for the person who signs.
pub fn verify(token: &str, wanted: &Wanted<'_>, now: i64) -> Result<Value, String> {
    let (signed, signature) = token.rsplit_once('.').ok_or("it has no three parts separated by dots")?;
    let (header, claims) = signed.split_once('.').ok_or("it has no three parts separated by dots")?;
    let header = part(header).ok_or("its header is not base64url of JSON")?;
    let claims = part(claims).ok_or("its claims are not base64url of JSON")?;
    let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| "its signature is not base64url")?;
    let algorithm = header["alg"].as_str().unwrap_or_default();
    if !wanted.algorithms.contains(&algorithm) {
        return Err(format!(
            "it is signed with `{algorithm}`, and {} is wanted here",
            wanted.algorithms.join(" or ")
        ));
    }
    if !genuine(algorithm, signed.as_bytes(), &signature) {
        return Err("its signature does not fit: it was signed with another key".to_owned());
    }
    check(&claims, wanted, now)?;
    Ok(claims)
}

fn part(text: &str) -> Option<Value> {
    let value: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
    value.is_object().then_some(value)
}

fn genuine(algorithm: &str, message: &[u8], signature: &[u8]) -> bool {
    match algorithm {
        "RS256" => public_key_der().is_some_and(|der| {
            let key = signature::UnparsedPublicKey::new(&signature::RSA_PKCS1_2048_8192_SHA256, der);
            key.verify(message, signature).is_ok()
        }),
        "HS256" => {
            let key = hmac::Key::new(hmac::HMAC_SHA256, DEMO.shared_secret.as_bytes());
            hmac::verify(&key, message, signature).is_ok()
        }
        _ => false,
    }
}

fn public_key_der() -> Option<Vec<u8>> {
    let base64: String = DEMO.public_key.lines().filter(|line| !line.starts_with('-')).collect();
    STANDARD.decode(base64).ok()
}

fn check(claims: &Value, wanted: &Wanted<'_>, now: i64) -> Result<(), String> {
    match claims["iss"].as_str() {
        Some(issuer) if issuer == DEMO.issuer => {}
        other => {
            return Err(format!(
                "its issuer (iss) is `{}`, not `{}`",
                other.unwrap_or_default(),
                DEMO.issuer
            ));
        }
    }
    if !audience_fits(&claims["aud"], wanted) {
        return Err(format!(
            "its audience (aud) is {}, not {}",
            claims["aud"],
            wanted.audiences.join(" or ")
        ));
    }
    let time = |name: &str| claims[name].as_f64().map(|seconds| seconds as i64);
    let expires = time("exp").ok_or("it has no expiry (exp) as a number of seconds")?;
    if expires + SKEW <= now {
        return Err(format!("it expired {} seconds ago", now - expires));
    }
    if expires - now > wanted.longest_life + SKEW {
        return Err(format!("its expiry lies more than {} seconds ahead", wanted.longest_life));
    }
    for name in ["iat", "nbf"] {
        if time(name).is_some_and(|at| at - SKEW > now) {
            return Err(format!("its {name} lies in the future: compare the two clocks"));
        }
    }
    Ok(())
}

/// RFC 7519 section 4.1.3: one text or a list of them.
fn audience_fits(aud: &Value, wanted: &Wanted<'_>) -> bool {
    let fits =
        |one: &Value| one.as_str().is_some_and(|text| wanted.audiences.iter().any(|known| known == text));
    match aud {
        Value::Null => wanted.audience_optional,
        Value::Array(many) => many.iter().any(fits),
        one => fits(one),
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use aws_lc_rs::rand::SystemRandom;
    use serde_json::json;

    pub const NOW: i64 = 1_800_000_000;

    /// Signs with the demo key of the algorithm that the header names.
    pub fn sign(alg: &str, claims: &Value) -> String {
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", encode(&json!({"alg": alg, "typ": "JWT"})), encode(claims));
        let signature = if alg == "HS256" {
            let key = hmac::Key::new(hmac::HMAC_SHA256, DEMO.shared_secret.as_bytes());
            hmac::sign(&key, signed.as_bytes()).as_ref().to_vec()
        } else {
            let base64: String = DEMO.private_key.lines().filter(|line| !line.starts_with('-')).collect();
            let key = signature::RsaKeyPair::from_pkcs8(&STANDARD.decode(base64).unwrap()).unwrap();
            let mut bytes = vec![0; key.public_modulus_len()];
            key.sign(&signature::RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut bytes)
                .unwrap();
            bytes
        };
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn judge(token: &str) -> Result<Value, String> {
        let audiences = ["http://here".to_owned()];
        let algorithms = &["RS256", "HS256"];
        verify(
            token,
            &Wanted { algorithms, audiences: &audiences, audience_optional: false, longest_life: 300 },
            NOW,
        )
    }

    fn good() -> Value {
        json!({"iss": DEMO.issuer, "aud": "http://here", "iat": NOW, "exp": NOW + 180})
    }

    #[test]
    fn good_tokens_of_both_kinds_are_taken() {
        for alg in ["RS256", "HS256"] {
            assert_eq!(judge(&sign(alg, &good())).unwrap()["iss"], DEMO.issuer);
        }
        let mut many = good();
        many["aud"] = json!(["http://elsewhere", "http://here"]);
        assert!(judge(&sign("RS256", &many)).is_ok());
    }

    #[test]
    fn each_fault_is_named() {
        let with = |name: &str, value: Value| {
            let mut claims = good();
            claims[name] = value;
            judge(&sign("RS256", &claims)).unwrap_err()
        };
        assert!(with("iss", json!("other")).contains("issuer"));
        assert!(with("aud", json!("http://elsewhere")).contains("audience"));
        assert!(with("aud", Value::Null).contains("audience"));
        assert!(with("exp", json!(NOW - 31)).contains("expired 31 seconds ago"));
        assert!(with("exp", json!(NOW + 331)).contains("ahead"));
        assert!(with("exp", json!("tomorrow")).contains("no expiry"));
        assert!(with("iat", json!(NOW + 31)).contains("future"));
        assert!(judge("a.b").unwrap_err().contains("three parts"));
        assert!(judge("a.b.c").unwrap_err().contains("header"));
    }

    #[test]
    fn another_signature_is_refused() {
        let token = sign("RS256", &good());
        let (signed, _) = token.rsplit_once('.').unwrap();
        assert!(judge(&format!("{signed}.AAAA")).unwrap_err().contains("another key"));
        // `none`, and the public key taken for an HMAC secret, are the two classic forgeries.
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let none = format!("{}.{}.", encode(&json!({"alg": "none"})), encode(&good()));
        assert!(judge(&none).unwrap_err().contains("`none`"));
        let forged = format!("{}.{}", encode(&json!({"alg": "HS256"})), encode(&good()));
        let key = hmac::Key::new(hmac::HMAC_SHA256, DEMO.public_key.as_bytes());
        let tag = URL_SAFE_NO_PAD.encode(hmac::sign(&key, forged.as_bytes()));
        assert!(judge(&format!("{forged}.{tag}")).unwrap_err().contains("another key"));
    }
}
