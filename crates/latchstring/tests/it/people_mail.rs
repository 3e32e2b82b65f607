//! What people are told about their own account, by a real mail server.

use latchstring_testkit::app::{EMAIL, PASSWORD};
use latchstring_testkit::{MailServer, TestApp, eventually, http};
use serde_json::{Value, json};

use crate::consent::Browser;
use crate::support::setup;

fn mail_of(mails: &MailServer, subject: &str) -> String {
    eventually(subject, || {
        mails.mails().into_iter().find(|mail| mail.to_string().contains(subject)).map(|mail| text(&mail))
    })
}

fn text(mail: &Value) -> String {
    mail.to_string()
}

fn world() -> (MailServer, TestApp) {
    let mails = MailServer::start();
    let app = setup()
        .set("LATCHSTRING_SMTP_URL", format!("smtp://127.0.0.1:{}", mails.port()))
        .set("LATCHSTRING_MAIL_FROM", "latchstring@example.com")
        .start();
    (mails, app)
}

#[test]
fn a_forgotten_password_is_set_anew_by_mail() {
    let (mails, app) = world();
    for email in [EMAIL, "nobody@example.com"] {
        let asked = http::post_json(&app.at("/api/v1/password-resets"), &json!({"email": email}));
        assert_eq!((asked.status, asked.text().as_str()), (202, ""));
    }
    let mail = mail_of(&mails, "A new password for Latchstring");
    let token = mail.split("/reset/").nth(1).unwrap().get(..43).unwrap().to_owned();
    // Nobody but the reader has it: neither the database nor the log.
    eventually("the sealed token is wiped", || {
        let database = std::fs::read(app.setup().data().join("latchstring.db")).unwrap();
        (!String::from_utf8_lossy(&database).contains(&token)).then_some(())
    });
    assert!(!app.log().contains(&token));
    let set = json!({"token": token, "password": "a new pass phrase"});
    assert_eq!(http::post_json(&app.at("/api/v1/password-resets/accept"), &set).status, 204);
    let told = mail_of(&mails, "Your Latchstring password was reset");
    assert!(told.contains("127.0.0.1") && told.contains("If this was not you"), "{told}");
    let inside = http::post_json(
        &app.at("/api/v1/session"),
        &json!({"email": EMAIL, "password": "a new pass phrase"}),
    );
    assert_eq!(inside.status, 204);
    assert_eq!(mails.mails().len(), 2, "nobody else got a mail");
}

#[test]
fn people_hear_of_what_happens_to_their_account() {
    let (mails, app) = world();
    let mut ada = Browser::signed_in(&app);
    let offered = ada.send("POST", &app.at("/api/v1/me/totp"), &json!({})).json();
    let secret = offered["secret"].as_str().unwrap().to_owned();
    let code = crate::people::code_of(&secret);
    let confirmed = ada.send("POST", &app.at("/api/v1/me/totp/confirm"), &json!({"code": code})).json();
    let recovery = confirmed["recovery_codes"][0].as_str().unwrap().to_owned();
    mail_of(&mails, "A second factor was set up");
    let with = |code: &str| json!({"email": EMAIL, "password": PASSWORD, "totp": code});
    assert_eq!(http::post_json(&app.at("/api/v1/session"), &with(&recovery)).status, 204);
    let used = mail_of(&mails, "A recovery code of your Latchstring account was used");
    assert!(used.contains("9 are left"), "{used}");
    // Somebody who knows the password guesses.
    for _ in 0..12 {
        http::post_json(&app.at("/api/v1/session"), &with("000000"));
    }
    mail_of(&mails, "Wrong codes for your Latchstring account");
    let change = json!({"current_password": PASSWORD, "new_password": "another pass phrase"});
    assert_eq!(ada.send("PUT", &app.at("/api/v1/me/password"), &change).status, 204);
    mail_of(&mails, "Your Latchstring password was changed");
    let gone = app.setup().run(&["admin", "remove-second-factor", "--email", EMAIL]);
    assert!(gone.status.success(), "{}", String::from_utf8_lossy(&gone.stderr));
    let removed = mail_of(&mails, "The second factor of your Latchstring account was removed");
    assert!(removed.contains("whoever runs the server"), "{removed}");
    let all: String = mails.mails().iter().map(text).collect();
    assert_eq!(all.matches("Wrong codes").count(), 1, "told once");
    for secret in [PASSWORD, "another pass phrase", &secret, &recovery] {
        assert!(!all.contains(secret));
    }
}
