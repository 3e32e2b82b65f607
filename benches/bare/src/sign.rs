//! One RS256 JWT (RFC 7519, RFC 7518 section 3.3) per call, with a key that was parsed once.

use aws_lc_rs::rand::{self, SystemRandom};
use aws_lc_rs::rsa::KeyPair;
use aws_lc_rs::signature::RSA_PKCS1_SHA256;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD as BASE64URL};

const HEADER: &str = r#"{"alg":"RS256","typ":"JWT"}"#;

pub struct Signer {
    key: KeyPair,
    random: SystemRandom,
    header: String,
}

impl Signer {
    pub fn read(path: &str) -> Result<Self, String> {
        let text = std::fs::read_to_string(path).map_err(|e| format!("{path}: {e}"))?;
        let inner: String = text.lines().filter(|line| !line.starts_with("-----")).collect();
        let der = STANDARD.decode(inner).map_err(|e| format!("{path}: {e}"))?;
        let key = KeyPair::from_pkcs8(&der).map_err(|e| format!("{path}: {e}"))?;
        Ok(Self { key, random: SystemRandom::new(), header: BASE64URL.encode(HEADER) })
    }

    /// A header value with a token that nobody has had before.
    pub fn bearer(&self) -> Result<String, String> {
        let mut id = [0_u8; 16];
        rand::fill(&mut id).map_err(|_| "no random bytes")?;
        let now = unix_seconds();
        let claims = format!(
            r#"{{"iss":"bench","aud":"https://api.example.com","sub":"bench","iat":{now},"exp":{},"jti":"{}"}}"#,
            now + 180,
            BASE64URL.encode(id)
        );
        let mut token = String::with_capacity(768);
        token.push_str("Bearer ");
        token.push_str(&self.header);
        token.push('.');
        BASE64URL.encode_string(claims, &mut token);
        let signed = token.get("Bearer ".len()..).unwrap_or_default().as_bytes();
        let mut signature = vec![0; self.key.public_modulus_len()];
        self.key
            .sign(&RSA_PKCS1_SHA256, &self.random, signed, &mut signature)
            .map_err(|_| "the key does not sign")?;
        token.push('.');
        BASE64URL.encode_string(signature, &mut token);
        Ok(token)
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "the program to compare with is no part of the product and has no Clock"
)]
fn unix_seconds() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};

    #[test]
    fn every_token_is_new_and_verifies() {
        let folder = std::env::temp_dir().join(format!("latchstring-bare-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        crate::keys::write(folder.to_str().unwrap()).unwrap();
        let signer = Signer::read(folder.join("rsa.pem").to_str().unwrap()).unwrap();
        let tokens = [signer.bearer().unwrap(), signer.bearer().unwrap()];
        assert_ne!(tokens[0], tokens[1]);
        for token in &tokens {
            let (signed, signature) = token.strip_prefix("Bearer ").unwrap().rsplit_once('.').unwrap();
            UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, signer.key.public_key().as_ref())
                .verify(signed.as_bytes(), &BASE64URL.decode(signature).unwrap())
                .unwrap();
        }
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
