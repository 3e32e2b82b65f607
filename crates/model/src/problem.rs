//! Every refusal that a person or program can meet: a code, whose fault, what to do next.
//!
//! One table decides code → HTTP status → title; layers below return a [`Problem`] and the
//! HTTP layer only writes it down (RFC 9457).

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $status:literal, $title:literal;)*) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code { $($(#[$doc])* $name,)* }

        impl Code {
            pub const ALL: &'static [Code] = &[$(Code::$name,)*];

            pub const fn as_str(self) -> &'static str {
                match self { $(Code::$name => $text,)* }
            }

            pub const fn status(self) -> u16 {
                match self { $(Code::$name => $status,)* }
            }

            pub const fn title(self) -> &'static str {
                match self { $(Code::$name => $title,)* }
            }
        }
    };
}

codes! {
    BadRequest = "bad_request", 400, "The request could not be read";
    ConsentInvalid = "consent_invalid", 400, "The provider's answer does not belong to a sign-in from here";
    /// A text to choose by came with a credential that is not chosen by one.
    NotAKeychain = "not_a_keychain", 400, "The credential is no keychain";
    BadPath = "bad_path", 400, "The path is not one that can be sent on unchanged";
    Unauthenticated = "unauthenticated", 401, "No valid key or session";
    SecondFactorNeeded = "second_factor_needed", 401, "A second factor is needed to sign in";
    SecondFactorWrong = "second_factor_wrong", 401, "The code is not right";
    Forbidden = "forbidden", 403, "Your role does not allow this";
    /// Of a project, or of this server for superusers.
    SecondFactorRequired = "second_factor_required", 403, "Only people with a second factor may do that";
    RecentSignInRequired = "recent_sign_in_required", 403, "This wants a recent sign-in";
    /// A day after a password reset.
    OwnerFrozen = "owner_frozen", 403, "Owner rights rest after a password reset";
    PasswordSignInOff = "password_sign_in_off", 403, "Passwords are not taken here";
    /// Somebody at the provider who has no account here.
    IdentityUnknown = "identity_unknown", 403, "No account belongs to that identity";
    /// Another credential's or keychain's before: only an admin gives it to another.
    NameReserved = "name_reserved", 403, "The name belonged to another credential";
    NoGrant = "no_grant", 403, "The credential is not granted in this environment";
    /// A limit of the key itself: operations, methods, prefixes, networks.
    NotAllowed = "not_allowed", 403, "This key may not do that";
    DestinationNotAllowed = "destination_not_allowed", 403, "The destination is not allowed";
    /// Another browser, or another person, than the one who began.
    ConsentElsewhere = "consent_elsewhere", 403, "This sign-in belongs to another browser or person";
    ConsentDenied = "consent_denied", 403, "Consent was not given";
    CrossOrigin = "cross_origin", 403, "The request came from another site";
    NotFound = "not_found", 404, "Not found";
    UserNotFound = "user_not_found", 404, "Nobody has an account with that e-mail address";
    CredentialNotFound = "credential_not_found", 404, "No such credential";
    /// Of a keychain: neither a match nor a default, or a match that does not fit.
    NoKeychainMatch = "no_keychain_match", 404, "The keychain has no credential for this";
    MethodNotAllowed = "method_not_allowed", 405, "This address does not take that method";
    RequestTimeout = "request_timeout", 408, "The request did not come in time";
    /// A list has as many as it may hold: webhooks, keychains, connectors, open connect sessions.
    LimitReached = "limit_reached", 409, "There are as many as there may be";
    NameTaken = "name_taken", 409, "The name is taken";
    ExternalIdTaken = "external_id_taken", 409, "The external id is taken";
    EmailTaken = "email_taken", 409, "Somebody has that e-mail address";
    /// What a request refers to was there when it came, and is not any more.
    ChangedMeanwhile = "changed_meanwhile", 409, "What this builds on was changed meanwhile";
    /// One's own: password, state, sessions.
    AccountChanged = "account_changed", 409, "Your account was changed meanwhile";
    AccountInactive = "account_inactive", 409, "The account is not active";
    LastOwner = "last_owner", 409, "The project's last owner stays";
    LastSuperuser = "last_superuser", 409, "The last superuser stays";
    /// Without it one could not come back.
    LastSignIn = "last_sign_in", 409, "That is your only way to sign in";
    NotLinked = "not_linked", 409, "Your account is not linked with the sign-in provider";
    NoPassword = "no_password", 409, "Your account has no password";
    NoSecondFactor = "no_second_factor", 409, "No second factor is set up";
    SecondFactorExists = "second_factor_exists", 409, "A second factor is set up already";
    IdempotencyInProgress = "idempotency_in_progress", 409, "The first request is still being worked on";
    /// Its answer was shown once, is the API's own, too large, or of more rights than the caller has now.
    IdempotencyDone = "idempotency_done", 409, "It was done, and its answer is not given again";
    IdempotencyUnknown = "idempotency_unknown", 409, "Whether it was done is not known";
    /// Whoever comes from the provider has an account here that is not linked.
    AccountExists = "account_exists", 409, "An account with that address exists and is not linked";
    IdentityTaken = "identity_taken", 409, "That identity is linked already";
    /// Mail, or a sign-in provider.
    NotSetUp = "not_set_up", 409, "This server is not set up for that";
    SlugTaken = "slug_taken", 409, "The slug is taken";
    NeedsAuthorization = "needs_authorization", 409, "Consent has not been given yet";
    NeedsReconnect = "needs_reconnect", 409, "The grant is dead and must be given again";
    ConnectorChanged = "connector_changed", 409, "The connector's destination has changed";
    ConnectorExists = "connector_exists", 409, "The project has a connector of that id";
    ConnectorBuiltIn = "connector_built_in", 409, "That id belongs to a built-in connector";
    ConnectorInUse = "connector_in_use", 409, "The connector has credentials";
    CredentialDisabled = "credential_disabled", 409, "The credential is disabled";
    CredentialInUse = "credential_in_use", 409, "The credential is in use";
    DeletionBegun = "deletion_begun", 409, "The credential is being deleted";
    NothingToRestore = "nothing_to_restore", 409, "The credential is not going to be deleted";
    VersionInUse = "version_in_use", 409, "That version is the one in use";
    ProjectOwned = "project_owned", 409, "A project owns the credential";
    /// Of what somebody is thought to have left behind.
    OwnerActive = "owner_active", 409, "The owner's account is active";
    NotShared = "not_shared", 409, "No project uses the credential";
    WebhookDisabled = "webhook_disabled", 409, "The webhook is disabled";
    DeliveryPending = "delivery_pending", 409, "The delivery is still under way";
    /// Secrets, variables, keys or grants would go with it.
    EnvironmentInUse = "environment_in_use", 409, "The environment is in use";
    ValuesGranted = "values_granted", 409, "The values are granted to projects";
    OAuthClientInUse = "oauth_client_in_use", 409, "The OAuth client is in use";
    /// A draft, or made for another connector than the credential's.
    OAuthClientUnusable = "oauth_client_unusable", 409, "The OAuth client cannot be used";
    MemberOwnsCredentials = "member_owns_credentials", 409, "The member owns shared credentials";
    SetupDone = "setup_done", 409, "The set-up is already done";
    Gone = "gone", 410, "The link is no longer valid";
    VersionWiped = "version_wiped", 410, "The values of that version are wiped";
    ConsentExpired = "consent_expired", 410, "The sign-in took too long";
    PreconditionFailed = "precondition_failed", 412, "It was changed by somebody else";
    BodyTooLarge = "body_too_large", 413, "The body is too large to be held";
    UnsupportedMediaType = "unsupported_media_type", 415, "The body's media type is not understood";
    Invalid = "invalid", 422, "Some fields are not right";
    CursorInvalid = "cursor_invalid", 422, "The cursor is not of this list";
    ConsentNotNeeded = "consent_not_needed", 422, "The method needs nobody's consent";
    NoBaseUrl = "no_base_url", 422, "The credential has no base URL";
    VerificationFailed = "verification_failed", 422, "The API refused the credential";
    ConsentIncomplete = "consent_incomplete", 422, "The consent did not bring what is needed";
    VerificationInconclusive = "verification_inconclusive", 422, "The credential could not be checked";
    ContextMissing = "context_missing", 422, "Project or environment is missing";
    IdempotencyMismatch = "idempotency_mismatch", 422, "The Idempotency-Key was used for another request";
    SecretMissing = "secret_missing", 424, "A secret or variable is missing";
    TemplateError = "template_error", 424, "A template could not be rendered";
    TooManyRequests = "too_many_requests", 429, "Too many tries";
    Internal = "internal", 500, "Something went wrong inside Latchstring";
    UpgradeNotSupported = "upgrade_not_supported", 501, "Upgrades are not supported";
    TokenEndpointError = "token_endpoint_error", 502, "The token endpoint did not give a token";
    SignInProviderError = "sign_in_provider_error", 502, "The sign-in provider did not answer as it should";
    IdTokenInvalid = "id_token_invalid", 502, "The provider's ID token is not accepted";
    /// It did, and not as the operation expects.
    UpstreamError = "upstream_error", 502, "The API did not do what it was asked";
    /// A compressed answer that repeats the credential: it cannot be masked in place.
    AnswerWithheld = "answer_withheld", 502, "The API's answer was withheld";
    UpstreamUnreachable = "upstream_unreachable", 502, "The API could not be reached";
    Busy = "busy", 503, "Busy";
    Unavailable = "unavailable", 503, "Unavailable";
    UpstreamTimeout = "upstream_timeout", 504, "The API did not answer in time";
}

/// One field that is not right.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldError {
    /// RFC 6901 JSON pointer into the request body.
    pub pointer: String,
    pub detail: String,
}

impl FieldError {
    pub fn new(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), detail: detail.into() }
    }
}

/// A refusal. `detail` says what happened and why that usually is, `hint` what to do next.
/// Neither ever holds a secret: what comes from an API is masked before it gets here.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    pub code: Code,
    pub detail: Cow<'static, str>,
    pub hint: Option<Cow<'static, str>>,
    pub errors: Vec<FieldError>,
    pub retry_after_secs: Option<u32>,
    /// Further members of the answer, such as `upstream` or `used_by`.
    pub extra: serde_json::Map<String, serde_json::Value>,
}

/// Boxed, so that a `Result` on the warm path stays small.
pub type Refused<T> = Result<T, Box<Problem>>;

impl Problem {
    pub fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            detail: detail.into(),
            hint: None,
            errors: Vec::new(),
            retry_after_secs: None,
            extra: serde_json::Map::new(),
        }
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<Cow<'static, str>>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    #[must_use]
    pub fn errors(mut self, errors: Vec<FieldError>) -> Self {
        self.errors = errors;
        self
    }

    #[must_use]
    pub fn retry_after(mut self, secs: u32) -> Self {
        self.retry_after_secs = Some(secs);
        self
    }

    #[must_use]
    pub fn with(mut self, name: &str, value: serde_json::Value) -> Self {
        self.extra.insert(name.to_owned(), value);
        self
    }

    /// A 422 with everything that is wrong at once.
    pub fn invalid(errors: Vec<FieldError>) -> Self {
        let detail = match errors.as_slice() {
            // What is in the path, or the body as a whole.
            [one] if one.pointer.is_empty() => one.detail.clone(),
            [one] => format!("{}: {}", one.pointer, one.detail),
            many => format!("{} fields are not right; `errors` lists them.", many.len()),
        };
        Self::new(Code::Invalid, detail).errors(errors)
    }

    /// The body of the answer, as RFC 9457 has it.
    pub fn to_json(&self) -> serde_json::Value {
        let mut body = serde_json::json!({
            "type": format!("/docs/errors#{}", self.code.as_str()),
            "title": self.code.title(),
            "status": self.code.status(),
            "detail": self.detail,
            "code": self.code.as_str(),
        });
        if let Some(map) = body.as_object_mut() {
            if let Some(hint) = &self.hint {
                map.insert("hint".into(), hint.as_ref().into());
            }
            if !self.errors.is_empty() {
                map.insert("errors".into(), serde_json::json!(self.errors));
            }
            for (name, value) in &self.extra {
                map.entry(name.clone()).or_insert_with(|| value.clone());
            }
        }
        body
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.code.as_str(), self.detail)
    }
}

impl std::error::Error for Problem {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_distinct_and_statuses_are_errors() {
        let mut seen = std::collections::HashSet::new();
        for code in Code::ALL {
            assert!(seen.insert(code.as_str()), "{} twice", code.as_str());
            assert!((400..600).contains(&code.status()));
        }
    }

    #[test]
    fn the_body_is_rfc_9457() {
        let body = Problem::new(Code::BadPath, "no").hint("yes").with("status", 1.into()).to_json();
        assert_eq!(body["status"], 400, "members of RFC 9457 cannot be overwritten");
        assert_eq!(body["hint"], "yes");
        assert!(body.get("errors").is_none());
    }

    #[test]
    fn one_wrong_field_is_told_with_its_place_if_it_has_one() {
        let told = |pointer: &str| Problem::invalid(vec![FieldError::new(pointer, "too long")]).detail;
        assert_eq!((told("/name").as_ref(), told("").as_ref()), ("/name: too long", "too long"));
    }

    #[test]
    fn every_code_is_explained_in_the_docs() {
        let page = include_str!("../../../docs/errors.md");
        let mut told = std::collections::HashMap::new();
        for code in Code::ALL {
            let code_name = code.as_str();
            let row = format!(
                "\n| <a id=\"{code_name}\"></a>`{code_name}` | {} | {} | ",
                code.status(),
                code.title()
            );
            let rest = page.split_once(&row).map(|(_, rest)| rest);
            let what = rest.and_then(|rest| rest.split_once(" |\n")).map(|(what, _)| what.trim());
            let what = what.unwrap_or_else(|| panic!("docs/errors.md lacks the row: {row}"));
            // Every answer has a detail and a hint: a row says what they do not, of this code alone.
            let says = what.replace("Read `detail` and `hint`", "").len() >= 15;
            assert!(says, "docs/errors.md does not say what to do about {code_name}: {what}");
            if let Some(other) = told.insert(what, code_name) {
                panic!("docs/errors.md says the same of {code_name} and {other}");
            }
        }
        assert_eq!(
            page.matches("<a id=").count(),
            Code::ALL.len(),
            "docs/errors.md explains a code that is gone"
        );
    }

    /// A code is what a program branches on: one for whatever is in the way tells it nothing.
    #[test]
    fn no_code_is_for_everything() {
        for code in Code::ALL {
            let name = code.as_str();
            assert!(!["conflict", "error", "failed", "refused", "taken"].contains(&name), "{name}");
        }
    }
}
