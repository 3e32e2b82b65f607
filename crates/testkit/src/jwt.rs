//! Two independent libraries that say whether a signed token is good: `jose` (npm) and `PyJWT` (PyPI).

use serde_json::{Value, json};

use crate::process::{ask, node, python};

/// What to verify a token with.
#[derive(Clone, Debug)]
pub enum Key {
    /// A public key as SubjectPublicKeyInfo PEM; for `jose` also a certificate.
    Public(String),
    /// An HMAC secret.
    Secret(Vec<u8>),
}

/// One token to be judged.
#[derive(Clone, Debug)]
pub struct Case {
    pub token: String,
    /// The only algorithm that is accepted, as in RFC 7518: `RS256`, `EdDSA`, …
    pub alg: String,
    pub key: Key,
}

/// What a library read out of a token whose signature is good. Times are not judged.
#[derive(Clone, Debug, PartialEq)]
pub struct Verified {
    pub header: Value,
    pub claims: Value,
}

/// The judgement of `jose`, one for each case; an error is the library's own.
pub fn jose(cases: &[Case]) -> Vec<Result<Verified, String>> {
    read(&ask(&mut node("verify-jose.mjs"), &question(cases)), cases.len())
}

/// The judgement of `PyJWT`, one for each case; an error is the library's own.
pub fn pyjwt(cases: &[Case]) -> Vec<Result<Verified, String>> {
    read(&ask(&mut python("verify_pyjwt.py"), &question(cases)), cases.len())
}

/// What `jose` says to DPoP proofs: `{header, claims, thumbprint}`, or its own error.
pub fn dpop(proofs: &[String]) -> Vec<Result<Value, String>> {
    let cases: Vec<Value> = proofs.iter().map(|proof| json!({"proof": proof})).collect();
    let answers = ask(&mut node("verify-dpop.mjs"), &json!(cases));
    let answers = answers.as_array().expect("a list of judgements").clone();
    assert_eq!(answers.len(), proofs.len(), "one judgement for each proof");
    let read = |answer: Value| match answer["ok"].as_bool() {
        Some(true) => Ok(answer),
        _ => Err(answer["error"].as_str().unwrap_or_default().to_owned()),
    };
    answers.into_iter().map(read).collect()
}

/// A key pair of an asymmetric algorithm, with which `jose` signs.
#[derive(Clone, Debug)]
pub struct KeyPair {
    pub alg: String,
    pub public_jwk: Value,
    pub public_pem: String,
    /// PKCS#8.
    pub private_pem: String,
}

impl KeyPair {
    pub fn generate(alg: &str) -> Self {
        let answer = ask(&mut node("sign-jose.mjs"), &json!({"alg": alg, "claims": {}}));
        let text = |name: &str| answer[name].as_str().expect("a text").to_owned();
        Self {
            alg: alg.to_owned(),
            public_jwk: answer["public_jwk"].clone(),
            public_pem: text("public_pem"),
            private_pem: text("private_pem"),
        }
    }

    pub fn sign(&self, claims: &Value) -> String {
        let question = json!({"alg": self.alg, "claims": claims, "private_pem": self.private_pem});
        ask(&mut node("sign-jose.mjs"), &question)["token"].as_str().expect("a token").to_owned()
    }
}

fn question(cases: &[Case]) -> Value {
    let one = |case: &Case| {
        let mut one = json!({"token": case.token, "alg": case.alg});
        match &case.key {
            Key::Public(pem) => one["pem"] = json!(pem),
            Key::Secret(bytes) => {
                one["secret_hex"] = json!(bytes.iter().map(|b| format!("{b:02x}")).collect::<String>());
            }
        }
        one
    };
    cases.iter().map(one).collect()
}

fn read(answers: &Value, expected: usize) -> Vec<Result<Verified, String>> {
    let answers = answers.as_array().expect("a list of judgements");
    assert_eq!(answers.len(), expected, "one judgement for each case");
    answers
        .iter()
        .map(|answer| match answer["ok"].as_bool() {
            Some(true) => Ok(Verified { header: answer["header"].clone(), claims: answer["claims"].clone() }),
            _ => Err(answer["error"].as_str().unwrap_or_default().to_owned()),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7515 appendix A.1.
    const TOKEN: &str = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    const SECRET: [u8; 64] = [
        3, 35, 53, 75, 43, 15, 165, 188, 131, 126, 6, 101, 119, 123, 166, 143, 90, 179, 40, 230, 240, 84,
        201, 40, 169, 15, 132, 178, 210, 80, 46, 191, 211, 251, 90, 146, 210, 6, 71, 239, 150, 138, 180, 195,
        119, 98, 61, 34, 61, 46, 33, 114, 5, 46, 79, 8, 192, 205, 154, 245, 103, 208, 128, 163,
    ];

    #[test]
    fn both_libraries_tell_good_from_bad() {
        let case = |token: &str, alg: &str, secret: &[u8]| Case {
            token: token.to_owned(),
            alg: alg.to_owned(),
            key: Key::Secret(secret.to_vec()),
        };
        let mut other = SECRET;
        other[0] ^= 1;
        let cases =
            [case(TOKEN, "HS256", &SECRET), case(TOKEN, "HS256", &other), case(TOKEN, "HS512", &SECRET)];
        for judge in [jose, pyjwt] {
            let answers = judge(&cases);
            let good = answers[0].as_ref().unwrap();
            assert_eq!(good.claims["iss"], "joe");
            assert_eq!(good.header["alg"], "HS256");
            assert!(answers[1].is_err() && answers[2].is_err());
        }
    }

    #[test]
    fn what_one_signs_the_other_verifies() {
        let keys = KeyPair::generate("ES512");
        let token = keys.sign(&json!({"sub": "x"}));
        let case = Case { token, alg: keys.alg.clone(), key: Key::Public(keys.public_pem) };
        assert_eq!(pyjwt(&[case])[0].as_ref().unwrap().claims["sub"], "x");
    }
}
