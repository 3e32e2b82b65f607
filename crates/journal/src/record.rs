//! The two immutable facts of a call. They are joined by `call_id` when they are read.
//!
//! A record as it is written *is* the canonical form that the audit chain hashes: compact JSON,
//! members in the order below, absent members left out, times in milliseconds since 1970 (UTC).

use std::borrow::Cow;

use latchstring_model::Timestamp;
use latchstring_model::entity::Outcome;
use latchstring_model::id::{CallId, CredentialId, ProjectId};
use serde::{Deserialize, Serialize};

/// One line of the journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "fact", rename_all = "snake_case")]
pub enum Record<'a> {
    Intent(Intent<'a>),
    Result(CallResult<'a>),
}

/// A secret is about to leave: who uses which credential for what, and where it goes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Intent<'a> {
    pub call_id: Cow<'a, CallId>,
    pub at: Timestamp,
    /// The project on whose behalf; `None` where a person tries a credential of their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project_id: Option<Cow<'a, ProjectId>>,
    pub credential_id: Cow<'a, CredentialId>,
    pub actor: Actor<'a>,
    /// The credential's environment whose values are used.
    pub environment: Cow<'a, str>,
    pub purpose: Purpose,
    /// As sent, in capitals.
    pub method: Cow<'a, str>,
    /// Host, with the port where it is not the scheme's own.
    pub host: Cow<'a, str>,
    /// The caller's path, never the rendered one; without the query, whose values may be secret.
    pub path: Cow<'a, str>,
    /// The caller's address, without the port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<Cow<'a, str>>,
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CallResult<'a> {
    pub call_id: Cow<'a, CallId>,
    pub at: Timestamp,
    pub outcome: Outcome,
    /// The upstream's status, when it answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    pub duration_ms: u64,
    /// Bytes of the answer's body that were handed on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Latchstring's own error code, when the error is Latchstring's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<Cow<'a, str>>,
}

/// Who did it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor<'a> {
    #[serde(rename = "type")]
    pub kind: ActorKind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<Cow<'a, str>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActorKind {
    User,
    Key,
    Server,
    Anonymous,
}

/// What a secret leaves for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    Call,
    Verify,
    Token,
    Revoke,
    Step,
    Metadata,
    Operation,
    Database,
}

/// A body that is no record of this version.
#[derive(Debug, thiserror::Error)]
#[error("a line of the journal is not a record that this version knows: {0}")]
pub struct NotARecord(#[from] serde_json::Error);

impl Record<'_> {
    /// Reads the body of a line.
    pub fn parse(body: &[u8]) -> Result<Record<'static>, NotARecord> {
        Ok(serde_json::from_slice(body)?)
    }

    pub fn call_id(&self) -> &CallId {
        match self {
            Record::Intent(intent) => &intent.call_id,
            Record::Result(result) => &result.call_id,
        }
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        // Writing plain structs into memory cannot fail: no map with odd keys, no I/O.
        let _ = serde_json::to_writer(out, self);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_canonical_form_does_not_change() {
        let call: CallId = "cal_00000000010000000000000000".parse().unwrap();
        let credential: CredentialId = "crd_00000000020000000000000000".parse().unwrap();
        let intent = Record::Intent(Intent {
            call_id: Cow::Borrowed(&call),
            at: Timestamp(1_700_000_000_123),
            project_id: None,
            credential_id: Cow::Borrowed(&credential),
            actor: Actor { kind: ActorKind::Key, id: Some("key_1".into()), email: None },
            environment: "production".into(),
            purpose: Purpose::Call,
            method: "GET".into(),
            host: "api.example.com".into(),
            path: "/a\n\"b\"".into(),
            client: None,
        });
        let mut out = Vec::new();
        intent.write(&mut out);
        assert_eq!(
            std::str::from_utf8(&out).unwrap(),
            concat!(
                r#"{"fact":"intent","call_id":"cal_00000000010000000000000000","at":1700000000123,"#,
                r#""credential_id":"crd_00000000020000000000000000","actor":{"type":"key","id":"key_1"},"#,
                r#""environment":"production","purpose":"call","method":"GET","host":"api.example.com","#,
                r#""path":"/a\n\"b\""}"#
            )
        );
        assert_eq!(Record::parse(&out).unwrap(), intent);

        let result = Record::Result(CallResult {
            call_id: Cow::Borrowed(&call),
            at: Timestamp(5),
            outcome: Outcome::Failed,
            status: Some(502),
            duration_ms: 7,
            bytes: None,
            code: Some("upstream_unreachable".into()),
        });
        out.clear();
        result.write(&mut out);
        assert_eq!(
            std::str::from_utf8(&out).unwrap(),
            concat!(
                r#"{"fact":"result","call_id":"cal_00000000010000000000000000","at":5,"#,
                r#""outcome":"failed","status":502,"duration_ms":7,"code":"upstream_unreachable"}"#
            )
        );
        assert_eq!(Record::parse(&out).unwrap(), result);
        assert_eq!(Record::parse(&out).unwrap().call_id(), &call);
    }

    #[test]
    fn what_is_no_record_is_an_error() {
        for body in ["", "{}", r#"{"fact":"other"}"#, r#"{"fact":"intent","call_id":"x"}"#] {
            assert!(Record::parse(body.as_bytes()).is_err(), "{body}");
        }
    }
}
