//! Opaque ids with a prefix (`prj_…`, `crd_…`).
//!
//! Sixteen bytes — six of time, ten random — in 26 characters of Crockford's base32:
//! sorting by id is sorting by age, which is what lists and cursors use.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::clock::{Entropy, Timestamp};

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const BODY: usize = 26;

/// Whether a byte is in the alphabet: a list of a hundred credentials reads a thousand ids.
const IN_ALPHABET: [bool; 256] = {
    let mut table = [false; 256];
    let mut at = 0;
    while at < ALPHABET.len() {
        table[ALPHABET[at] as usize] = true;
        at += 1;
    }
    table
};

/// Why a text is not an id of the wanted kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an id that begins with `{prefix}`")]
pub struct NotAnId {
    pub prefix: &'static str,
}

/// Made for every call: one allocation, no formatting.
fn make(prefix: &str, now: Timestamp, random: [u8; 10]) -> Box<str> {
    let time = u128::try_from(now.millis().max(0)).unwrap_or(0) & 0xFFFF_FFFF_FFFF;
    let mut bytes = [0; 16];
    bytes[6..].copy_from_slice(&random);
    let mut number = time << 80 | u128::from_be_bytes(bytes);
    let mut body = [0; BODY];
    for digit in body.iter_mut().rev() {
        *digit = ALPHABET[(number & 31) as usize];
        number >>= 5;
    }
    let mut text = String::with_capacity(prefix.len() + BODY);
    text.push_str(prefix);
    // ASCII, as the alphabet is.
    text.push_str(str::from_utf8(&body).unwrap_or_default());
    text.into_boxed_str()
}

fn valid(text: &str, prefix: &'static str) -> Result<(), NotAnId> {
    match text.strip_prefix(prefix) {
        Some(body) if body.len() == BODY && body.bytes().all(|b| IN_ALPHABET[usize::from(b)]) => Ok(()),
        _ => Err(NotAnId { prefix }),
    }
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Box<str>);

        impl $name {
            pub const PREFIX: &'static str = $prefix;

            pub fn new(now: Timestamp, entropy: &dyn Entropy) -> Self {
                let mut random = [0; 10];
                entropy.fill(&mut random);
                Self(make($prefix, now, random))
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// Whether a text a person typed could be an id of this kind (rather than a slug).
            pub fn looks_like(text: &str) -> bool {
                valid(text, $prefix).is_ok()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = NotAnId;
            fn from_str(text: &str) -> Result<Self, NotAnId> {
                valid(text, $prefix)?;
                Ok(Self(text.into()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = NotAnId;
            fn try_from(text: String) -> Result<Self, NotAnId> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0.into()
            }
        }
    )*};
}

ids! {
    ProjectId = "prj_";
    EnvironmentId = "env_";
    UserId = "usr_";
    SessionId = "ses_";
    KeyId = "key_";
    CredentialId = "crd_";
    ShareId = "shr_";
    /// An offer of a credential to another person.
    TransferId = "trf_";
    /// Chooses a credential by data.
    KeychainId = "kch_";
    /// Lets an end user of somebody's product connect an account.
    ConnectSessionId = "cns_";
    OAuthClientId = "oac_";
    /// A consent under way.
    ConsentId = "con_";
    /// Who a person is at a provider.
    IdentityId = "idn_";
    /// A sign-in under way.
    SignInId = "sgn_";
    WorkflowId = "wfl_";
    RunId = "run_";
    WebhookId = "whk_";
    /// Something that happened and is told to people and programs.
    NoticeId = "evt_";
    /// A notice on its way to one mailbox or endpoint.
    DeliveryId = "dlv_";
    /// One call through Latchstring; the caller sees it as `Latchstring-Call-Id`.
    CallId = "cal_";
    /// One running server process, new at every start: the writer of a journal.
    ServerId = "srv_";
    DataKeyId = "dky_";
    /// A key of the root key ring, which wraps data keys.
    RootKeyId = "rky_";
    /// A key that audit checkpoints and anchors are signed with.
    AuditKeyId = "auk_";
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed(u8);
    impl Entropy for Fixed {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(self.0);
        }
    }

    #[test]
    fn ids_sort_by_age_and_parse_back() {
        let old = ProjectId::new(Timestamp(1), &Fixed(255));
        let new = ProjectId::new(Timestamp(2), &Fixed(0));
        assert!(old < new);
        assert_eq!(new.as_str().parse::<ProjectId>().as_ref(), Ok(&new));
        assert_eq!(old.as_str(), "prj_0000000001zzzzzzzzzzzzzzzz");
    }

    #[test]
    fn another_kind_is_refused() {
        let id = UserId::new(Timestamp(1), &Fixed(7));
        assert!(id.as_str().parse::<ProjectId>().is_err());
        assert!("prj_".parse::<ProjectId>().is_err());
        assert!("prj_0000000001ZZZZZZZZZZZZZZZZ".parse::<ProjectId>().is_err());
    }
}
