//! One checkpoint as text.
//!
//! `{"checkpoint":1,…,"signature":"…"}`: compact JSON on one line. What is signed is the text without its last
//! member; what the next line names is the SHA-256 of the whole line. Both can be checked with common tools.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use latchstring_model::Timestamp;
use latchstring_model::id::{AuditKeyId, ServerId};
use latchstring_vault::Vault;
use serde::{Deserialize, Serialize};

use crate::audit::signing::{PublicKeys, Signed, Signer, SigningError};
use crate::audit::verify::hex;

/// How every line begins: a log that holds other things as well can be read.
pub const BEGINS: &str = r#"{"checkpoint":"#;
const SIGNATURE: &str = r#","signature":""#;
const FORMAT: u32 = 1;

/// What a line says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The format, always 1.
    pub checkpoint: u32,
    /// Who wrote it.
    pub server: ServerId,
    /// Counted in this place; the next line has the next number.
    pub number: u64,
    /// SHA-256 of the line before, hexadecimal; `None` for the first.
    pub previous: Option<String>,
    /// RFC 3339, the server's clock.
    pub at: String,
    /// The newest row of the trail.
    pub seq: i64,
    /// How many rows were ever written, and how many chains there are.
    pub rows: i64,
    pub chains: i64,
    /// Heads that have moved since the server's line before; in its first, and in the first of a new file, all.
    pub heads: Vec<Head>,
    /// Credentials that have changed since.
    pub credentials: Vec<Credential>,
    /// The same moment has a further line, with more credentials.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub more: bool,
    /// The database's clock, in milliseconds: credentials that changed later are in a later line.
    pub until: i64,
    pub key: AuditKeyId,
    /// Ed25519, base64: where all heads are named, so that the place itself says what to check it with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_key: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    pub writer: String,
    /// Of its last record, which is how many it has written.
    pub number: u64,
    /// Of that record, hexadecimal.
    pub hash: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credential {
    pub id: String,
    /// `None`: it was deleted for good.
    pub version: Option<i64>,
    /// The version of each environment's values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub values: BTreeMap<String, i64>,
}

impl Checkpoint {
    pub const FORMAT: u32 = FORMAT;

    pub fn time(&self) -> Option<Timestamp> {
        Timestamp::parse_rfc3339(&self.at)
    }

    /// The line, without its line break.
    pub fn signed(&self, vault: &Vault, signer: &Signer) -> Result<String, SigningError> {
        let mut text = serde_json::to_string(self)?;
        let signature = signer.sign(vault, Signed::Checkpoint, text.as_bytes())?;
        text.pop();
        text.push_str(SIGNATURE);
        STANDARD.encode_string(signature, &mut text);
        text.push_str("\"}");
        Ok(text)
    }
}

/// What a line is named by in the next one.
pub fn hash(line: &str) -> String {
    hex(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, line.as_bytes()).as_ref())
}

/// Why a line is no checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotACheckpoint {
    #[error("it cannot be read: it was changed, or its end is missing")]
    Unreadable,
    #[error("it has the format {0}, which this version does not know: a newer one wrote it")]
    NewerFormat(u32),
    #[error(
        "it is signed with the key {0}, which this installation does not have: it is another installation's, or was forged"
    )]
    UnknownKey(AuditKeyId),
    #[error("its signature does not fit: it was changed")]
    Forged,
}

#[derive(Deserialize)]
struct Format {
    checkpoint: u32,
}

/// Reads a line without looking at its signature: for going on behind it.
pub fn parse(line: &str) -> Result<Checkpoint, NotACheckpoint> {
    parts(line).map(|(checkpoint, _, _)| checkpoint)
}

/// Reads a line and checks who signed it.
pub fn verified(line: &str, keys: &PublicKeys) -> Result<Checkpoint, NotACheckpoint> {
    let (checkpoint, text, signature) = parts(line)?;
    if !keys.has(&checkpoint.key) {
        return Err(NotACheckpoint::UnknownKey(checkpoint.key));
    }
    if !keys.fit(&checkpoint.key, Signed::Checkpoint, text.as_bytes(), &signature) {
        return Err(NotACheckpoint::Forged);
    }
    Ok(checkpoint)
}

fn parts(line: &str) -> Result<(Checkpoint, String, Vec<u8>), NotACheckpoint> {
    let unreadable = || NotACheckpoint::Unreadable;
    // The format first: a newer one may look different behind it.
    if let Ok(Format { checkpoint }) = serde_json::from_str::<Format>(line)
        && checkpoint != FORMAT
    {
        return Err(NotACheckpoint::NewerFormat(checkpoint));
    }
    let (text, rest) = line.rsplit_once(SIGNATURE).ok_or_else(unreadable)?;
    let signature = rest.strip_suffix("\"}").ok_or_else(unreadable)?;
    let signature = STANDARD.decode(signature).map_err(|_| unreadable())?;
    let text = format!("{text}}}");
    let checkpoint = serde_json::from_str::<Checkpoint>(&text).map_err(|_| unreadable())?;
    Ok((checkpoint, text, signature))
}
