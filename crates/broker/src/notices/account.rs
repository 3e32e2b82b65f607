//! What people are told about their own account: whoever did it, the person hears of it.

use latchstring_model::id::{NoticeId, UserId};
use latchstring_model::problem::Refused;
use latchstring_store::WriteTx;
use latchstring_store::notices::{self, NoticeRow};
use serde_json::{Map, Value, json};

use super::mail::words::Words;
use crate::people::random;
use crate::{Broker, refusals};

const PREFIX: &str = "account.";

/// Its mail holds the link, which is put in when it is sent and stored nowhere.
pub const RESET_ASKED: &str = "account.password_reset_asked";
pub const RESET: &str = "account.password_reset";
pub const PASSWORD_CHANGED: &str = "account.password_changed";
pub const FACTOR_ADDED: &str = "account.second_factor_added";
pub const FACTOR_REMOVED: &str = "account.second_factor_removed";
pub const RECOVERY_USED: &str = "account.recovery_code_used";
pub const CODES_GUESSED: &str = "account.codes_guessed";
pub const LINKED: &str = "account.identity_linked";
pub const UNLINKED: &str = "account.identity_unlinked";

pub const ALL: &[&str] = &[
    RESET_ASKED,
    RESET,
    PASSWORD_CHANGED,
    FACTOR_ADDED,
    FACTOR_REMOVED,
    RECOVERY_USED,
    CODES_GUESSED,
    LINKED,
    UNLINKED,
];

/// Whether a notice is about somebody's own account.
pub(crate) fn is_about(event: &str) -> bool {
    event.starts_with(PREFIX)
}

/// Whether the person's own list has it. The mail that brings a link is for the mailbox alone.
pub(super) fn is_listed(event: &str) -> bool {
    event != RESET_ASKED
}

/// Whose account.
pub(super) fn whose(notice: &NoticeRow) -> Option<UserId> {
    notice.data.pointer("/user/id").and_then(Value::as_str).and_then(|id| id.parse().ok())
}

/// Writes the notice in the transaction of what it tells of. `more`: names, never secrets.
pub(crate) async fn tell<'a>(
    broker: &Broker,
    tx: &mut WriteTx,
    event: &'static str,
    person: &UserId,
    more: impl IntoIterator<Item = (&'static str, &'a str)>,
) -> Refused<()> {
    let (now, entropy) = (broker.now(), &*broker.parts.entropy);
    let mut data: Map<String, Value> =
        more.into_iter().map(|(name, value)| (name.to_owned(), Value::from(value))).collect();
    data.insert("user".into(), json!({"id": person}));
    let notice = NoticeRow {
        id: NoticeId::new(now, entropy),
        event: event.to_owned(),
        // Each is told: two in the same moment are two.
        sameness: format!("{event}/{person}/{}", random::hash_text(random::new_token(entropy).expose())),
        credential_id: None,
        environment: None,
        project_id: None,
        recipients: None,
        data: Value::Object(data),
        at: now,
    };
    notices::add(tx, &notice).await.map(|_| ()).map_err(refusals::store)
}

/// The subject, and what happened and what to do. `link`: for the one that brings it.
pub(super) fn said(notice: &NoticeRow, link: Option<&str>) -> (String, String) {
    let get = |path: &str| notice.data.pointer(path).and_then(Value::as_str).unwrap_or_default();
    let by = match get("/by") {
        "operator" => "whoever runs the server",
        "superuser" => "a superuser of the server",
        _ => "somebody who was signed in as you",
    };
    let address = match get("/address") {
        "" => String::new(),
        address => format!(" (from {address})"),
    };
    let not_you = "If this was not you, tell a superuser of the server now, and change your password.";
    let (subject, body) = match notice.event.as_str() {
        RESET_ASKED => (
            "A new password for Latchstring",
            format!(
                "Somebody asked for a new password for your account{address}. With this link you choose one; it works once, \
                 for an hour:\n\n  {}\n\nAll your sessions end with it, and for a day you cannot see, change, hand on or \
                 delete what you own, nor make keys; calls go on.\n\nWhat to do: nothing, if you did not ask. Without the \
                 link nothing changes.\n",
                link.unwrap_or("(the link has run out; ask once more)")
            ),
        ),
        RESET => (
            "Your Latchstring password was reset",
            format!(
                "Your password was set anew through a link for forgotten passwords{address}. All your sessions have ended, \
                 and until {} you cannot see, change, hand on or delete what you own, nor make keys; calls go on.\n\n\
                 What to do: nothing, if it was you. {not_you}\n",
                get("/frozen_until"),
            ),
        ),
        PASSWORD_CHANGED => (
            "Your Latchstring password was changed",
            format!(
                "Your password was changed{address} by {by}. All your other sessions have ended.\n\nWhat to do: nothing, if it was you. {not_you}\n"
            ),
        ),
        FACTOR_ADDED => (
            "A second factor was set up for your Latchstring account",
            format!(
                "From now on signing in takes a code of your app. It was set up{address} by {by}.\n\nWhat to do: keep the recovery codes in a safe place. {not_you}\n"
            ),
        ),
        FACTOR_REMOVED => (
            "The second factor of your Latchstring account was removed",
            format!(
                "Signing in takes no code any more. It was removed{address} by {by}.\n\nWhat to do: set it up anew as soon as you can. {not_you}\n"
            ),
        ),
        RECOVERY_USED => (
            "A recovery code of your Latchstring account was used",
            format!(
                "Somebody signed in to your account{address} with a recovery code; {} are left.\n\nWhat to do: make new ones when few are left. {not_you}\n",
                get("/left")
            ),
        ),
        CODES_GUESSED => (
            "Wrong codes for your Latchstring account",
            format!(
                "Somebody who knows your password tried many wrong codes{address}. Nobody came in.\n\nWhat to do: change your password. {not_you}\n"
            ),
        ),
        LINKED => (
            "Your Latchstring account was linked with a sign-in provider",
            format!(
                "It can be signed in to at {} from now on. It was linked{address} by {by}.\n\nWhat to do: nothing, if it was you. {not_you}\n",
                get("/issuer")
            ),
        ),
        UNLINKED => (
            "A link of your Latchstring account was taken away",
            format!(
                "It cannot be signed in to at {} any more. That was done{address} by {by}.\n\nWhat to do: nothing, if it was you. {not_you}\n",
                get("/issuer")
            ),
        ),
        other => ("Your Latchstring account", format!("{other} happened to your account.\n")),
    };
    (subject.to_owned(), body)
}

/// The mail of it.
pub(super) fn words(notice: &NoticeRow, public_url: &str, link: Option<&str>) -> Words {
    let (subject, body) = said(notice, link);
    let body = format!(
        "{body}\nSign in: {public_url}/\nWhen: {}\n\nLatchstring sends this once.\n",
        notice.at.to_rfc3339()
    );
    Words { subject, body }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use latchstring_model::Timestamp;

    use super::*;

    #[test]
    fn every_mail_says_what_to_do_and_none_is_forgotten() {
        for event in ALL {
            assert!(is_about(event));
            let notice = NoticeRow {
                id: "evt_0000000001zzzzzzzzzzzzzzzz".parse().unwrap(),
                event: (*event).to_owned(),
                sameness: "s".into(),
                credential_id: None,
                environment: None,
                project_id: None,
                recipients: None,
                data: json!({"user": {"id": "usr_0000000001zzzzzzzzzzzzzzzz"}, "address": "192.0.2.1", "by": "operator", "left": "9"}),
                at: Timestamp(1_700_000_000_000),
            };
            let words =
                words(&notice, "https://creds.example.com", Some("https://creds.example.com/reset/x"));
            assert!(words.body.contains("What to do: ") && words.body.contains("192.0.2.1"), "{event}");
            assert_eq!(words.body.contains("/reset/x"), *event == RESET_ASKED);
            assert_eq!(whose(&notice).unwrap().as_str(), "usr_0000000001zzzzzzzzzzzzzzzz");
        }
    }
}
