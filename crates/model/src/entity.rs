//! Who and what: principals, roles, statuses, names that people type.

use serde::{Deserialize, Serialize};

use crate::id::{ProjectId, UserId};

/// Who can own a credential.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "type", content = "id", rename_all = "snake_case")]
pub enum Principal {
    User(UserId),
    Project(ProjectId),
}

impl Principal {
    pub fn kind(&self) -> &'static str {
        match self {
            Principal::User(_) => "user",
            Principal::Project(_) => "project",
        }
    }

    pub fn id(&self) -> &str {
        match self {
            Principal::User(id) => id.as_str(),
            Principal::Project(id) => id.as_str(),
        }
    }
}

macro_rules! words {
    ($($(#[$doc:meta])* $name:ident { $($variant:ident = $text:literal),* $(,)? })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum $name { $(#[serde(rename = $text)] $variant,)* }

        impl $name {
            pub const ALL: &'static [$name] = &[$($name::$variant,)*];

            pub const fn as_str(self) -> &'static str {
                match self { $($name::$variant => $text,)* }
            }

            pub fn parse(text: &str) -> Option<Self> {
                match text { $($text => Some($name::$variant),)* _ => None }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    )*};
}

words! {
    /// A member's role in a project, weakest first so that `>=` means "at least".
    Role { Viewer = "viewer", Editor = "editor", Admin = "admin", Owner = "owner" }

    /// How one environment of a credential stands.
    Status {
        Verified = "verified",
        Unverified = "unverified",
        Failing = "failing",
        NeedsAuthorization = "needs_authorization",
        NeedsReconnect = "needs_reconnect",
        Disabled = "disabled",
    }

    /// What a personal key may do. Even `manage` never reaches passwords, second factors or other personal keys.
    KeyScope { Call = "call", Manage = "manage" }

    /// `user`: acts as its person. `service`: bound to one project and environment, can only call. `account`: bound
    /// to one project, which it can manage.
    KeyKind { Personal = "personal", Service = "service", Account = "account" }

    /// How an audited action ended.
    Outcome { Ok = "ok", Refused = "refused", Failed = "failed" }

    /// The two immutable facts of a call, and everything else that is recorded. A `batch` is a row of the
    /// database that holds many intents and results.
    Fact { Event = "event", Intent = "intent", Result = "result", Batch = "batch" }
}

impl Role {
    /// Owners, admins and editors may call and run; viewers look.
    pub fn may_call(self) -> bool {
        self >= Role::Editor
    }

    /// Members, service keys and the project's connectors.
    pub fn may_administer(self) -> bool {
        self >= Role::Admin
    }
}

/// What a person names in a project's URL: lower-case letters, digits and single hyphens.
pub fn valid_slug(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 63
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
        && !text.contains("--")
}

/// A slug made from a name: `Salesforce (EU) users` → `salesforce-eu-users`. Empty when nothing is left.
pub fn slug_from(name: &str) -> String {
    let mut slug = String::new();
    for c in name.chars() {
        if c.is_ascii_alphanumeric() {
            slug.push(c.to_ascii_lowercase());
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
        if slug.len() >= 63 {
            break;
        }
    }
    slug.trim_end_matches('-').to_owned()
}

/// Names of secrets and variables: `[A-Za-z_][A-Za-z0-9_]*`, at most 128 characters.
pub fn valid_secret_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    text.len() <= 128
        && bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Environment names: as slugs, plus underscores.
pub fn valid_environment(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 63
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slugs() {
        assert_eq!(slug_from("Salesforce (EU) users!"), "salesforce-eu-users");
        assert_eq!(slug_from("¡¿"), "");
        for good in ["a", "a-b", "a1-2"] {
            assert!(valid_slug(good), "{good}");
        }
        for bad in ["", "-a", "a-", "a--b", "A", "a b", "a/b", "é"] {
            assert!(!valid_slug(bad), "{bad}");
        }
    }

    #[test]
    fn roles_are_ordered() {
        assert!(Role::Owner > Role::Admin && Role::Admin > Role::Editor && Role::Editor > Role::Viewer);
        assert!(!Role::Viewer.may_call());
        assert_eq!(Role::parse("admin"), Some(Role::Admin));
        assert_eq!(Role::parse("Admin"), None);
    }
}
