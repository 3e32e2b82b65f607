//! Reading `WWW-Authenticate` (RFC 9110 section 11.6.1): a list of challenges, commas within and between.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hash {
    Md5,
    Sha256,
    Sha512Trunc256,
}

/// `qop`: what the response covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Quality {
    /// RFC 2069: the server knows no `qop`.
    None,
    Auth,
    AuthInt,
}

impl Quality {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Quality::None => "",
            Quality::Auth => "auth",
            Quality::AuthInt => "auth-int",
        }
    }
}

/// One Digest challenge that can be answered. `stale` makes no difference: either way the nonce is new.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Challenge {
    pub realm: String,
    pub nonce: String,
    pub opaque: Option<String>,
    /// As the server wrote it, to be echoed.
    pub algorithm: Option<String>,
    pub hash: Hash,
    pub session: bool,
    pub quality: Quality,
    pub user_hash: bool,
    pub utf8: bool,
}

impl Challenge {
    /// The first Digest challenge of a header line whose algorithm and `qop` are known: servers list
    /// what they prefer first (RFC 7616 section 3.7).
    pub(super) fn first(line: &str) -> Option<Self> {
        split(line)
            .into_iter()
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("digest"))
            .find_map(|(_, p)| Self::read(&p))
    }

    fn read(params: &[(String, String)]) -> Option<Self> {
        let get = |name: &str| params.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        let algorithm = get("algorithm");
        let name = algorithm.unwrap_or("MD5").to_ascii_uppercase();
        let (base, session) = match name.strip_suffix("-SESS") {
            Some(base) => (base, true),
            None => (name.as_str(), false),
        };
        let hash = match base {
            "MD5" => Hash::Md5,
            "SHA-256" => Hash::Sha256,
            "SHA-512-256" => Hash::Sha512Trunc256,
            _ => return None,
        };
        let quality = match get("qop") {
            None => Quality::None,
            Some(offers) => {
                let offers =
                    |wanted: &str| offers.split(',').any(|one| one.trim().eq_ignore_ascii_case(wanted));
                // `auth` first: it streams, and `auth-int` is rarely implemented well.
                if offers("auth") {
                    Quality::Auth
                } else if offers("auth-int") {
                    Quality::AuthInt
                } else {
                    return None;
                }
            }
        };
        let is_true = |name: &str| get(name).is_some_and(|value| value.eq_ignore_ascii_case("true"));
        Some(Self {
            realm: get("realm").unwrap_or_default().to_owned(),
            nonce: get("nonce").filter(|nonce| !nonce.is_empty())?.to_owned(),
            opaque: get("opaque").map(str::to_owned),
            // Echoed unquoted; by now it is one of six known words.
            algorithm: algorithm.map(str::to_owned),
            hash,
            session,
            quality,
            user_hash: is_true("userhash"),
            utf8: get("charset").is_some_and(|value| value.eq_ignore_ascii_case("utf-8")),
        })
    }
}

type Params = Vec<(String, String)>;

/// The `nextnonce` of an `Authentication-Info` (RFC 7616 section 3.5).
pub(super) fn next_nonce(line: &str) -> Option<String> {
    // The header is a list of parameters like those of a challenge, without a scheme in front.
    let params = split(&format!("Digest {line}")).into_iter().next()?.1;
    params.into_iter().find(|(name, value)| name == "nextnonce" && !value.is_empty()).map(|(_, value)| value)
}

/// Schemes and their parameters (names in lower case).
fn split(line: &str) -> Vec<(String, Params)> {
    let mut found: Vec<(String, Params)> = Vec::new();
    let mut rest = line;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        if rest.is_empty() {
            return found;
        }
        let end = rest.find([' ', '\t', ',', '=', '"']).unwrap_or(rest.len());
        let (word, tail) = rest.split_at(end);
        let after = tail.trim_start_matches([' ', '\t']);
        if let Some(value) = after.strip_prefix('=') {
            let (value, tail) = value_of(value.trim_start_matches([' ', '\t']));
            if let Some((_, params)) = found.last_mut() {
                params.push((word.to_ascii_lowercase(), value));
            }
            rest = tail;
        } else if word.is_empty() {
            // A stray quote: nothing sensible can follow.
            return found;
        } else {
            found.push((word.to_owned(), Vec::new()));
            rest = after;
        }
    }
}

/// A token or quoted-string, and what follows it.
fn value_of(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ', '\t']).unwrap_or(text.len());
        let (value, rest) = text.split_at(end);
        return (value.to_owned(), rest);
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => {
                if let Some((_, escaped)) = chars.next() {
                    value.push(escaped);
                }
            }
            _ => value.push(c),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn several_challenges_on_one_line() {
        let found = Challenge::first(
            "Negotiate, NTLM TlRMTVNTUAAC==, Basic realm=\"a, b=c\", Digest realm=\"x\\\"y\" , nonce = \"n,1\", \
             algorithm=SHA-9, qop=\"auth\", digest nonce=n2,qop=\"auth-int,AUTH\",algorithm=md5-sess, STALE=TRUE",
        )
        .unwrap();
        assert_eq!(found.nonce, "n2", "the first has an unknown algorithm");
        assert_eq!(found.quality, Quality::Auth);
        assert_eq!((found.hash, found.session), (Hash::Md5, true));
        assert_eq!(found.algorithm.as_deref(), Some("md5-sess"));
        let quoted = Challenge::first("Digest realm=\"x\\\"y\", nonce = \"n,1\"").unwrap();
        assert_eq!((quoted.realm.as_str(), quoted.nonce.as_str()), ("x\"y", "n,1"));
    }

    #[test]
    fn what_cannot_be_answered_is_not_a_challenge() {
        for line in [
            "",
            "Digest",
            "Digest realm=\"r\"",
            "Digest nonce=\"\"",
            "Digest nonce=n, qop=\"other\"",
            "\"",
            "=,=",
            "Digest nonce=\"open",
        ] {
            let found = Challenge::first(line);
            assert!(found.is_none() || line.contains("open"), "{line}: {found:?}");
        }
    }
}
