//! People: who they are, how they come in, and the keys that act for them.
//!
//! | thing | form | stored as | lives |
//! | --- | --- | --- | --- |
//! | key | `lst_` + 43 base64url characters (256 random bits) | SHA-256 | until its `expires_at`, or until it is ended |
//! | session | 43 base64url characters in a cookie | SHA-256 | 12 hours after its last use, 30 days at most |
//! | set-up link | 43 base64url characters | SHA-256 | one hour, while there is no user |
//! | invitation | 43 base64url characters | SHA-256 | seven days, once |
//! | reset link | 43 base64url characters | SHA-256 | one hour, once; a newer one makes it void |
//! | recovery code | 16 letters and digits (80 random bits) | SHA-256 with its person | once |
//!
//! None of them needs a salt or a slow hash: there is nothing to guess in 256 random bits.

pub mod code_page;
pub mod confirm;
pub mod entry;
pub mod identities;
pub mod instance;
pub mod invites;
pub mod keys;
pub mod limits;
pub mod me;
pub mod oidc;
pub mod operator;
pub mod random;
pub mod recent;
pub mod repeats;
pub mod reset;
pub mod second_factor;
pub mod sessions;
pub mod setup;
pub mod totp;
pub mod users;

use latchstring_model::id::UserId;
use latchstring_model::{FieldError, SecretString, Timestamp};
use latchstring_store::users::UserRow;
use serde::{Serialize, Serializer};

pub use latchstring_store::{Page, Paging};

/// A person as the outside sees one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    pub id: UserId,
    pub email: String,
    pub username: Option<String>,
    pub name: String,
    pub first_name: String,
    pub last_name: String,
    pub superuser: bool,
    pub active: bool,
    pub version: i64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    /// Whether a second factor of this server is set up.
    pub second_factor: bool,
    /// Owner rights rest until then.
    pub frozen_until: Option<Timestamp>,
}

impl From<UserRow> for User {
    fn from(row: UserRow) -> Self {
        let fields = row.fields;
        Self {
            id: row.id,
            email: fields.email,
            username: fields.username,
            name: fields.name,
            first_name: fields.first_name,
            last_name: fields.last_name,
            superuser: fields.superuser,
            active: fields.active,
            version: row.version,
            created_at: row.created_at,
            updated_at: row.updated_at,
            second_factor: row.second_factor,
            frozen_until: row.frozen_until,
        }
    }
}

/// A key, link or cookie on its only way out: the one secret type that an answer may hold.
pub struct ShownOnce(pub(crate) SecretString);

impl ShownOnce {
    /// For the terminal: a command prints it and nothing else.
    pub fn reveal(&self) -> &str {
        self.0.expose()
    }
}

impl Serialize for ShownOnce {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.expose())
    }
}

/// How long a name of any kind may be, in characters.
pub const LONGEST_NAME: usize = 200;

/// What a person is called, where it is given: names fill each other in.
#[derive(Clone, Debug, Default)]
pub struct Names {
    pub name: Option<String>,
    pub first_name: Option<String>,
    pub last_name: Option<String>,
    pub username: Option<String>,
}

impl Names {
    pub(crate) fn check(&self, errors: &mut Vec<FieldError>) {
        for (pointer, value) in [
            ("/name", &self.name),
            ("/first_name", &self.first_name),
            ("/last_name", &self.last_name),
            ("/username", &self.username),
        ] {
            if let Some(value) = value {
                check_text(value, pointer, LONGEST_NAME, errors);
            }
        }
    }

    /// (name, first name, last name): what is missing is made from what is there, in the end from the address.
    pub(crate) fn filled(&self, email: &str) -> (String, String, String) {
        let given = |text: &Option<String>| {
            text.as_deref().map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned)
        };
        let (first, last) = (given(&self.first_name), given(&self.last_name));
        let name = given(&self.name).unwrap_or_else(|| match (&first, &last) {
            (None, None) => email.split('@').next().unwrap_or(email).to_owned(),
            (first, last) => {
                [first.as_deref(), last.as_deref()].into_iter().flatten().collect::<Vec<_>>().join(" ")
            }
        });
        let (before, after) = name.rsplit_once(' ').unwrap_or((name.as_str(), ""));
        let (before, after) = (before.trim().to_owned(), after.trim().to_owned());
        match (first, last) {
            (None, None) => (name, before, after),
            (first, last) => (name, first.unwrap_or_default(), last.unwrap_or_default()),
        }
    }
}

/// One line of text, within bounds; control characters could forge lines of logs and mails.
pub(crate) fn check_text(text: &str, pointer: &str, longest: usize, errors: &mut Vec<FieldError>) {
    if text.chars().count() > longest {
        errors.push(FieldError::new(pointer, format!("at most {longest} characters")));
    } else if text.chars().any(char::is_control) {
        errors.push(FieldError::new(pointer, "one line of text without control characters"));
    }
}

/// As [`check_text`], and not empty.
pub(crate) fn check_name(text: &str, pointer: &str, errors: &mut Vec<FieldError>) {
    if text.trim().is_empty() {
        errors.push(FieldError::new(pointer, "a name is needed"));
    } else {
        check_text(text, pointer, LONGEST_NAME, errors);
    }
}

/// RFC 5321 bounds the length at 254; whether an address exists is known only by writing to it, so no more
/// than its form is looked at.
pub(crate) fn check_email(email: &str, pointer: &str, errors: &mut Vec<FieldError>) {
    let email = email.trim();
    let sides = email.rsplit_once('@').is_some_and(|(name, host)| !name.is_empty() && !host.is_empty());
    if !sides || email.len() > 254 || email.chars().any(|c| c.is_whitespace() || c.is_control()) {
        errors.push(FieldError::new(pointer, "an e-mail address such as ada@example.org, at most 254 bytes"));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names_fill_each_other_in() {
        let filled = |name: &str, first: &str, last: &str| {
            let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
            let names =
                Names { name: some(name), first_name: some(first), last_name: some(last), username: None };
            let (name, first, last) = names.filled("ada@example.org");
            format!("{name}|{first}|{last}")
        };
        assert_eq!(filled("Ada King Lovelace", "", ""), "Ada King Lovelace|Ada King|Lovelace");
        assert_eq!(filled("", "Ada", "Lovelace"), "Ada Lovelace|Ada|Lovelace");
        assert_eq!(filled("", "", ""), "ada|ada|");
        assert_eq!(filled("The Countess", "Ada", ""), "The Countess|Ada|");
    }

    #[test]
    fn addresses() {
        for (email, good) in [
            ("ada@example.org", true),
            ("a b@c", false),
            ("@c", false),
            ("a@", false),
            ("ada", false),
            ("a\n@c", false),
        ] {
            let mut errors = Vec::new();
            check_email(email, "/email", &mut errors);
            assert_eq!(errors.is_empty(), good, "{email:?}");
        }
    }
}
