//! Digest authentication (RFC 7616, and its forerunners RFC 2617 and 2069 where a server knows no better).
//!
//! The first request goes out without credentials and is answered 401 with a challenge; that request
//! is replayed. From then on the last nonce is used ahead of being asked, with a rising count, until the
//! server names another. Nonces are shared by all who share the prepared scheme.

mod challenge;

use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::digest as hashes;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, HeaderMap, WWW_AUTHENTICATE};
use latchstring_model::{Entropy, SecretString};
use md5::{Digest as _, Md5};
use zeroize::Zeroizing;

use self::challenge::{Challenge, Hash, Quality, next_nonce};
use crate::apply::header_value;
use crate::basic::check_user;
use crate::encoding::hex;
use crate::error::SchemeError;
use crate::keys::ParsedKeys;
use crate::wire::Outgoing;

pub struct Digest {
    pub username: SecretString,
    pub password: SecretString,
}

impl Digest {
    pub(crate) fn prepare(&self, keys: &ParsedKeys) -> Result<PreparedDigest, SchemeError> {
        if self.username.is_empty() {
            return Err(SchemeError::Missing { field: "username" });
        }
        check_user(self.username.expose(), self.password.expose())?;
        Ok(PreparedDigest {
            username: self.username.clone(),
            password: self.password.clone(),
            session: keys.heard(&self.username, &self.password),
        })
    }
}

pub(crate) struct PreparedDigest {
    username: SecretString,
    pub(crate) password: SecretString,
    session: Heard,
}

/// What the server last said, for all who answer it with the same password.
pub(crate) type Heard = Arc<Mutex<Option<Session>>>;

/// One nonce of the server and how often it was used.
pub(crate) struct Session {
    challenge: Challenge,
    count: u32,
    /// Fixed for a `-sess` algorithm, whose key it is part of (section 3.4.2); else drawn anew each time.
    cnonce: Option<String>,
}

impl Hash {
    fn hex(self, parts: &[&[u8]]) -> String {
        let algorithm = match self {
            Hash::Md5 => {
                let mut context = Md5::new();
                parts.iter().for_each(|part| context.update(part));
                return hex(&context.finalize());
            }
            Hash::Sha256 => &hashes::SHA256,
            Hash::Sha512Trunc256 => &hashes::SHA512_256,
        };
        let mut context = hashes::Context::new(algorithm);
        parts.iter().for_each(|part| context.update(part));
        hex(context.finish().as_ref())
    }
}

impl PreparedDigest {
    /// Learns a nonce from a 401. True when there is one to answer: whether the refused request carried
    /// credentials is not known here (several may be under way), so it is for the caller to replay only once.
    pub(crate) fn challenge(&self, status: u16, headers: &HeaderMap) -> bool {
        if status != 401 {
            self.take_next_nonce(headers);
            return false;
        }
        let lines = headers.get_all(WWW_AUTHENTICATE);
        let Some(found) =
            lines.iter().find_map(|line| Challenge::first(&String::from_utf8_lossy(line.as_bytes())))
        else {
            return false;
        };
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        // A count must not start again under the same nonce: servers take that for a replayed request.
        match session.as_mut() {
            Some(known) if known.challenge.nonce == found.nonce => known.challenge = found,
            _ => *session = Some(Session { challenge: found, count: 0, cnonce: None }),
        }
        true
    }

    /// A server with one-time nonces hands out the next one with its answer (RFC 7616 section 3.5).
    fn take_next_nonce(&self, headers: &HeaderMap) {
        let Some(line) = headers.get("authentication-info") else { return };
        let Some(nonce) = next_nonce(&String::from_utf8_lossy(line.as_bytes())) else { return };
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = session.as_mut()
            && known.challenge.nonce != nonce
        {
            known.challenge.nonce = nonce;
            known.count = 0;
            known.cnonce = None;
        }
    }

    /// Whether the next signature covers the body: the server offers nothing but `auth-int`. `None`: there is nothing to
    /// answer yet, so that the next request has no signature.
    pub(crate) fn covers_body(&self) -> Option<bool> {
        let session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        session.as_ref().map(|known| known.challenge.quality == Quality::AuthInt)
    }

    pub(crate) fn sign(
        &self,
        out: &mut Outgoing<'_>,
        body: Option<&[u8]>,
        entropy: &dyn Entropy,
    ) -> Result<(), SchemeError> {
        out.headers.remove(AUTHORIZATION);
        let mut guard = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(session) = guard.as_mut() else { return Ok(()) };
        if session.challenge.quality == Quality::AuthInt && body.is_none() {
            return Err(SchemeError::BodyNotHeld);
        }
        let fresh = || {
            let mut random = [0; 24];
            entropy.fill(&mut random);
            STANDARD.encode(random)
        };
        let cnonce = if session.challenge.session {
            session.cnonce.get_or_insert_with(fresh).clone()
        } else {
            fresh()
        };
        session.count = session.count.wrapping_add(1);
        let (challenge, count) = (session.challenge.clone(), session.count);
        // Hashing a body may take a while, and other requests need the count.
        drop(guard);
        let line = self.authorization(&challenge, count, &cnonce, out.method.as_str(), out.target, body);
        out.headers.insert(AUTHORIZATION, header_value("username", &line)?);
        Ok(())
    }

    /// Section 3.4.
    fn authorization(
        &self,
        challenge: &Challenge,
        count: u32,
        cnonce: &str,
        method: &str,
        target: &str,
        body: Option<&[u8]>,
    ) -> String {
        let hash = challenge.hash;
        let (user, realm, nonce) =
            (self.username.expose(), challenge.realm.as_str(), challenge.nonce.as_str());
        let nc = format!("{count:08x}");
        let password = self.password.expose().as_bytes();
        let mut a1 = Zeroizing::new(hash.hex(&[user.as_bytes(), b":", realm.as_bytes(), b":", password]));
        if challenge.session {
            a1 = Zeroizing::new(hash.hex(&[a1.as_bytes(), b":", nonce.as_bytes(), b":", cnonce.as_bytes()]));
        }
        let a2 = match challenge.quality {
            Quality::AuthInt => {
                let body = hash.hex(&[body.unwrap_or_default()]);
                hash.hex(&[method.as_bytes(), b":", target.as_bytes(), b":", body.as_bytes()])
            }
            Quality::Auth | Quality::None => hash.hex(&[method.as_bytes(), b":", target.as_bytes()]),
        };
        let quality = challenge.quality.as_str();
        let response = if challenge.quality == Quality::None {
            hash.hex(&[a1.as_bytes(), b":", nonce.as_bytes(), b":", a2.as_bytes()])
        } else {
            let middle = format!(":{nonce}:{nc}:{cnonce}:{quality}:");
            hash.hex(&[a1.as_bytes(), middle.as_bytes(), a2.as_bytes()])
        };

        let mut line = String::from("Digest ");
        if challenge.user_hash {
            let name = hash.hex(&[user.as_bytes(), b":", realm.as_bytes()]);
            line.push_str(&format!("username=\"{name}\""));
        } else if challenge.utf8 && !user.is_ascii() {
            line.push_str(&format!("username*=UTF-8''{}", crate::apply::encode(user)));
        } else {
            line.push_str(&format!("username={}", quoted(user)));
        }
        line.push_str(&format!(
            ", realm={}, nonce={}, uri={}, response=\"{response}\"",
            quoted(realm),
            quoted(nonce),
            quoted(target)
        ));
        if let Some(algorithm) = &challenge.algorithm {
            line.push_str(&format!(", algorithm={algorithm}"));
        }
        if let Some(opaque) = &challenge.opaque {
            line.push_str(&format!(", opaque={}", quoted(opaque)));
        }
        if challenge.quality != Quality::None {
            line.push_str(&format!(", qop={quality}, nc={nc}, cnonce=\"{cnonce}\""));
        } else if challenge.session {
            line.push_str(&format!(", cnonce=\"{cnonce}\""));
        }
        if challenge.user_hash {
            line.push_str(", userhash=true");
        }
        line
    }
}

/// A quoted-string (RFC 9110 section 5.6.4).
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn answer(
        user: &str,
        password: &str,
        challenge: &str,
        cnonce: &str,
        target: &str,
        body: Option<&[u8]>,
    ) -> String {
        let digest = Digest { username: user.into(), password: password.into() };
        let digest = digest.prepare(&ParsedKeys::default()).unwrap();
        let challenge = Challenge::first(challenge).unwrap();
        digest.authorization(&challenge, 1, cnonce, "GET", target, body)
    }

    fn part(line: &str, name: &str) -> String {
        let rest = &line[line.find(&format!("{name}=")).unwrap() + name.len() + 1..];
        rest.split(", ").next().unwrap().trim_matches('"').to_owned()
    }

    const RFC_7616: &str = "realm=\"http-auth@example.org\", qop=\"auth, auth-int\", \
         nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\"";

    /// RFC 7616 section 3.9.1.
    #[test]
    fn the_first_example_of_rfc_7616() {
        for (algorithm, wanted) in [
            ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
            ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
        ] {
            let line = answer(
                "Mufasa",
                "Circle of Life",
                &format!("Digest {RFC_7616}, algorithm={algorithm}"),
                "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
                "/dir/index.html",
                None,
            );
            assert_eq!(part(&line, "response"), wanted);
            assert_eq!(part(&line, "qop"), "auth");
            assert_eq!(part(&line, "opaque"), "FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS");
        }
    }

    /// RFC 7616 section 3.9.2 with the values of erratum 4897: the printed ones are cut SHA-512, not SHA-512/256.
    #[test]
    fn the_second_example_of_rfc_7616() {
        let line = answer(
            "J\u{e4}s\u{f8}n Doe",
            "Secret, or not?",
            "Digest realm=\"api@example.org\", qop=\"auth\", algorithm=SHA-512-256, \
             nonce=\"5TsQWLVdgBdmrQ0XsxbDODV+57QdFR34I9HAbC/RVvkK\", \
             opaque=\"HRPCssKJSGjCrkzDg8OhwpzCiGPChXYjwrI2QmXDnsOS\", charset=UTF-8, userhash=true",
            "NTg6RKcb9boFIAS3KrFK9BGeh+iDa/sm6jUMp2wds69v",
            "/doe.json",
            None,
        );
        assert_eq!(
            part(&line, "username"),
            "793263caabb707a56211940d90411ea4a575adeccb7e360aeb624ed06ece9b0b"
        );
        assert_eq!(
            part(&line, "response"),
            "3798d4131c277846293534c3edc11bd8a5e4cdcbff78b05db9d95eeb1cec68a5"
        );
        assert!(line.ends_with("userhash=true"));
    }

    /// RFC 2617 section 3.5, and RFC 2069 section 2.4 with its erratum 749.
    #[test]
    fn the_older_examples() {
        let line = answer(
            "Mufasa",
            "Circle Of Life",
            "Digest realm=\"testrealm@host.com\", qop=\"auth,auth-int\", \
             nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\", opaque=\"5ccc069c403ebaf9f0171e9517f40e41\"",
            "0a4f113b",
            "/dir/index.html",
            None,
        );
        assert_eq!(part(&line, "response"), "6629fae49393a05397450978507c4ef1");
        assert!(!line.contains("algorithm"), "what the server did not say is not said");
        let line = answer(
            "Mufasa",
            "CircleOfLife",
            "Digest realm=\"testrealm@host.com\", nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\"",
            "unused",
            "/dir/index.html",
            None,
        );
        assert_eq!(part(&line, "response"), "1949323746fe6a43ef61f9606e7febea");
        assert!(!line.contains("cnonce") && !line.contains("qop"));
    }

    #[test]
    fn a_name_outside_ascii_is_written_as_the_server_reads_it() {
        let with = answer(
            "J\u{e4}s",
            "p",
            "Digest realm=\"r\", nonce=\"n\", qop=auth, charset=UTF-8",
            "c",
            "/",
            None,
        );
        assert!(with.contains("username*=UTF-8''J%C3%A4s,"), "{with}");
        let without = answer("a\"b", "p", "Digest realm=\"r\", nonce=\"n\", qop=auth", "c", "/", None);
        assert!(without.contains("username=\"a\\\"b\""), "{without}");
    }

    #[test]
    fn only_a_digest_challenge_of_a_401_teaches() {
        let digest = Digest { username: "u".into(), password: "p".into() };
        let digest = digest.prepare(&ParsedKeys::default()).unwrap();
        let headers = |line: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(WWW_AUTHENTICATE, line.parse().unwrap());
            headers
        };
        let first = headers("Digest realm=\"r\", nonce=\"1\", qop=\"auth\"");
        assert!(!digest.challenge(403, &first));
        assert_eq!(digest.covers_body(), None);
        assert!(!digest.challenge(401, &headers("Basic realm=\"r\"")));
        assert!(digest.challenge(401, &first));
        assert_eq!(digest.covers_body(), Some(false));
        assert!(digest.challenge(401, &headers("Digest realm=\"r\", nonce=\"2\", qop=\"auth-int\"")));
        assert_eq!(digest.covers_body(), Some(true));
    }
}
