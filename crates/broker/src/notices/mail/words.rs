//! What a mail says: what happened, why that usually is, what to do, and where. Never a value.

use latchstring_store::notices::NoticeRow;
use serde_json::Value;

use crate::notices::{
    CONNECTED, EXPIRING, FAILING, GIVEN, GRANT_EXPIRING, NEEDS_RECONNECT, TRANSFER_CANCELLED,
    TRANSFER_OFFERED, TRANSFERRED, WEBHOOK_DISABLED, account,
};

pub struct Words {
    pub subject: String,
    pub body: String,
}

fn get<'a>(data: &'a Value, path: &str) -> &'a str {
    data.pointer(path).and_then(Value::as_str).unwrap_or_default()
}

/// The subject, and what happened, why that usually is, and what to do.
pub fn said(notice: &NoticeRow) -> (String, String) {
    if account::is_about(&notice.event) {
        return account::said(notice, None);
    }
    let data = &notice.data;
    let name = get(data, "/credential/name");
    let environment = get(data, "/environment");
    let connector = get(data, "/credential/connector");
    let connector = connector.rsplit('/').next().unwrap_or(connector);
    let (subject, body) = match notice.event.as_str() {
        NEEDS_RECONNECT => (
            format!("Reconnect \"{name}\": its access has ended"),
            format!(
                "The credential \"{name}\" ({connector}, environment {environment}) has stopped working: the provider no \
                 longer renews its access. Calls with it fail until it is connected once more.\n\n\
                 What was said: {}\n\n\
                 Usually somebody took the consent back, changed a password or a policy, the consent reached its end, or \
                 it was left unused for too long.\n\n\
                 What to do: sign in to Latchstring and connect the credential again. Nothing else has to be changed; \
                 its shares stay as they are.\n",
                or(get(data, "/reason"), "nothing more"),
            ),
        ),
        GRANT_EXPIRING => {
            let end = get(data, "/grant_expires_at");
            let days = data.pointer("/days_ahead").and_then(Value::as_i64).unwrap_or_default();
            (
                format!("\"{name}\" has to be reconnected within {days} days"),
                format!(
                    "The access of the credential \"{name}\" ({connector}, environment {environment}) ends at {end}. Until \
                     then it works as before; afterwards calls with it fail.\n\n\
                     The provider gives consent for a limited time only, so this is expected and happens again.\n\n\
                     What to do: sign in to Latchstring and connect the credential again before that time. The old \
                     access works until the new one stands.\n",
                ),
            )
        }
        FAILING => (
            format!("\"{name}\" is refused by its API"),
            format!(
                "The API refused the credential \"{name}\" ({connector}, environment {environment}) in two checks in a \
                 row.\n\n\
                 What was said: {}\n\n\
                 Usually a key or password was changed or has expired, or the account lost a right.\n\n\
                 What to do: sign in to Latchstring, look at what the check says, and enter the new values.\n",
                or(get(data, "/reason"), "nothing more"),
            ),
        ),
        WEBHOOK_DISABLED => (
            "A webhook was disabled".to_owned(),
            format!(
                "The webhook {} to {} was disabled: {}. It is told nothing any more.\n\n\
                 Usually the receiving server is gone, or its address or certificate has changed.\n\n\
                 What to do: look at its deliveries, mend the receiver, and enable the webhook again.\n",
                get(data, "/webhook/id"),
                or(get(data, "/webhook/host"), "its address"),
                or(get(data, "/reason"), "nothing got through"),
            ),
        ),
        EXPIRING => {
            let end = get(data, "/ends_at");
            let days = data.pointer("/days_ahead").and_then(Value::as_i64).unwrap_or_default();
            let what = match get(data, "/what") {
                "certificate" => format!(
                    "A certificate in the values of \"{name}\" ({connector}, environment {environment})"
                ),
                _ => format!("The credential \"{name}\" ({connector})"),
            };
            (
                format!("\"{name}\" ends within {days} days"),
                format!(
                    "{what} ends at {end}. Afterwards the API most likely refuses it, and calls with it fail.\n\n\
                     Usually keys and certificates are given for a limited time; this is expected and happens again.\n\n\
                     What to do: get a new one from the provider, sign in to Latchstring, and enter it before that time.\n",
                ),
            )
        }
        TRANSFER_OFFERED => (
            format!("\"{name}\" is to change hands"),
            format!(
                "{} offers the credential \"{name}\" ({connector}) to {}. Nothing has changed yet; the offer ends at {}.\n\n\
                 Usually somebody changes to other work and hands on what they looked after.\n\n\
                 What to do: the recipient opens the link that the owner sends them, signed in as themselves, and accepts. \
                 If you are the owner and did not do this, take the offer back and change your password.\n",
                get(data, "/from"),
                get(data, "/to"),
                get(data, "/expires_at"),
            ),
        ),
        TRANSFER_CANCELLED => (
            format!("\"{name}\" is not offered to you any more"),
            format!(
                "The owner of the credential \"{name}\" ({connector}) has taken the offer back.\n\n\
                 Usually it was offered by mistake, or to somebody else instead.\n\nWhat to do: nothing.\n",
            ),
        ),
        TRANSFERRED => (
            format!("\"{name}\" has a new owner"),
            format!(
                "The credential \"{name}\" ({connector}) was handed over by {} to {}. Everything that uses it goes on.\n\n\
                 Usually this was agreed between the two.\n\n\
                 What to do: nothing, if it was. Otherwise tell whoever runs this server at once.\n",
                get(data, "/from"),
                get(data, "/to"),
            ),
        ),
        GIVEN => (
            format!("\"{name}\" has a new owner"),
            format!(
                "The owner of the credential \"{name}\" ({connector}) has left, and a superuser gave it to {}. Everything that \
                 uses it goes on. Nobody has read its fields: the new owner can set them anew, and reads only what they set.\n\n\
                 Usually this is done so that somebody looks after it.\n\n\
                 What to do: nothing, if that is right. Otherwise ask the superusers of this server.\n",
                get(data, "/to"),
            ),
        ),
        CONNECTED => (
            format!("\"{name}\" was connected"),
            format!(
                "An end user ({}) connected an account of theirs: the credential \"{name}\" ({connector}). The project owns it, \
                 and its environments can call with it.\n\n\
                 Usually a product of yours asked for it (POST /api/v1/connect-sessions).\n\n\
                 What to do: nothing, if it did. Otherwise end the service account that made the session, and delete the \
                 credential.\n",
                or(get(data, "/end_user/id"), "without an id"),
            ),
        ),
        // Whatever is told later is told at least by its name.
        other => (
            format!("{other}: {name}"),
            format!("{other} happened to the credential \"{name}\" ({connector}).\n"),
        ),
    };
    (subject.replace(['\r', '\n'], " "), body)
}

pub fn of(notice: &NoticeRow, public_url: &str) -> Words {
    if account::is_about(&notice.event) {
        return account::words(notice, public_url, None);
    }
    let (subject, body) = said(notice);
    let id = get(&notice.data, "/credential/id");
    let when = notice.at.to_rfc3339();
    let mut body = format!("{body}\nSign in: {public_url}/\n");
    if !id.is_empty() {
        body.push_str(&format!("Credential: {id}\n"));
    }
    body.push_str(&format!("When: {when}\n\nLatchstring sends this once. It holds no secret.\n"));
    Words { subject, body }
}

fn or<'a>(text: &'a str, otherwise: &'a str) -> &'a str {
    if text.is_empty() { otherwise } else { text }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use latchstring_model::Timestamp;
    use serde_json::json;

    use super::*;

    #[test]
    fn every_mail_says_what_why_what_to_do_and_where() {
        for event in [
            NEEDS_RECONNECT,
            GRANT_EXPIRING,
            FAILING,
            EXPIRING,
            TRANSFER_OFFERED,
            TRANSFER_CANCELLED,
            TRANSFERRED,
            GIVEN,
            CONNECTED,
            WEBHOOK_DISABLED,
        ] {
            let notice = NoticeRow {
                id: "evt_0000000001zzzzzzzzzzzzzzzz".parse().unwrap(),
                event: event.into(),
                sameness: "s".into(),
                credential_id: None,
                environment: None,
                project_id: None,
                data: json!({
                    "credential": {"id": "crd_1", "name": "CRM", "connector": "builtin/salesforce"},
                    "environment": "production", "reason": "invalid_grant", "days_ahead": 14,
                    "grant_expires_at": "2026-12-01T00:00:00.000Z",
                    "webhook": {"id": "whk_1", "host": "https://hooks.example.com"},
                }),
                at: Timestamp(1_700_000_000_000),
                recipients: None,
            };
            let words = of(&notice, "https://creds.example.com");
            assert!(words.body.contains("sually") || event == GRANT_EXPIRING, "{}", words.body);
            assert!(
                words.body.contains("What to do: ") && words.body.contains("https://creds.example.com/\n")
            );
            assert!(!words.subject.is_empty() && !words.body.contains("builtin/"));
        }
    }
}
