//! A message that survives one redirect: what was done, told by the page that follows. The cookie holds a name out of
//! this list and nothing else, so that whoever plants one can make a page say no more than that.

use axum::http::{HeaderMap, HeaderValue, header};

use latchstring_broker::cookies::cookie;

use crate::texts::{T, Text};

const COOKIE: &str = "latchstring_said";
/// Seconds that it waits for its page.
const LIFE: u32 = 60;

macro_rules! flashes {
    ($($Name:ident $text:ident;)*) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Flash { $($Name,)* }

        impl Flash {
            const ALL: &'static [(Flash, &'static str)] = &[$((Flash::$Name, stringify!($text)),)*];

            pub fn text(self, t: T) -> Text {
                match self { $(Flash::$Name => t.common.$text,)* }
            }
        }
    };
}

flashes! {
    Saved flash_saved;
    ProjectMade flash_project_made;
    ProjectDeleted flash_project_deleted;
    CredentialMade flash_credential_made;
    CredentialUnverified flash_credential_unverified;
    CredentialWaiting flash_credential_waiting;
    CredentialConnected flash_credential_connected;
    CredentialChanged flash_credential_changed;
    CredentialDisabled flash_credential_disabled;
    CredentialEnabled flash_credential_enabled;
    CredentialScheduled flash_credential_scheduled;
    CredentialRestored flash_credential_restored;
    CredentialPurged flash_credential_purged;
    VersionRestored flash_version_restored;
    ShareWithdrawn flash_share_withdrawn;
    ShareAccepted flash_share_accepted;
    ConnectorApproved flash_connector_approved;
    SecretSet flash_secret_set;
    SecretDeleted flash_secret_deleted;
    VariableSet flash_variable_set;
    VariableDeleted flash_variable_deleted;
    MemberSet flash_member_set;
    MemberRemoved flash_member_removed;
    KeyEnded flash_key_ended;
    ConnectorSaved flash_connector_saved;
    ConnectorDeleted flash_connector_deleted;
    ClientSaved flash_client_saved;
    ClientDeleted flash_client_deleted;
    WebhookSaved flash_webhook_saved;
    WebhookDeleted flash_webhook_deleted;
    Redelivered flash_redelivered;
    PersonChanged flash_person_changed;
    PasswordChanged flash_password_changed;
    PasswordReset flash_password_reset;
    FactorRemoved flash_factor_removed;
    IdentityUnlinked flash_identity_unlinked;
    SessionEnded flash_session_ended;
    SessionsEnded flash_sessions_ended;
    NamesSaved flash_names_saved;
    OfferCancelled flash_offer_cancelled;
    OfferAccepted flash_offer_accepted;
    NoticeRead flash_notice_read;
    NoticesRead flash_notices_read;
    KeychainSaved flash_keychain_saved;
    KeychainDeleted flash_keychain_deleted;
    CredentialGiven flash_credential_given;
}

impl Flash {
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let name = cookie(headers, COOKIE)?;
        Self::ALL.iter().find(|(_, known)| *known == name).map(|(flash, _)| *flash)
    }

    /// `Set-Cookie` that has the next page say it.
    pub fn set(self) -> HeaderValue {
        let name = Self::ALL.iter().find(|(flash, _)| *flash == self).map_or("", |(_, name)| *name);
        let cookie = format!("{COOKIE}={name}; Path=/; HttpOnly; SameSite=Lax; Max-Age={LIFE}");
        HeaderValue::try_from(cookie).unwrap_or_else(|_| gone())
    }
}

/// `Set-Cookie` once it was said.
pub fn gone() -> HeaderValue {
    HeaderValue::from_static("latchstring_said=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0")
}

/// Whether a request brought one that its answer ought to take away.
pub fn brought(headers: &HeaderMap) -> bool {
    headers.contains_key(header::COOKIE) && cookie(headers, COOKIE).is_some()
}
