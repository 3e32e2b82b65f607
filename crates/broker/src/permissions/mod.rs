//! Who may do what: the one table that every decision about a person, a role or a key is read from.
//!
//! A use case names its [`Operation`]; [`Actor::may`], [`crate::projects::access`] and
//! [`crate::credentials::access`] look up what it stands on and decide. `docs/permissions.md` is written from the
//! same table, and the tests ask every cell of it through the API. An endpoint that is not in the table fails a test.

mod page;

use latchstring_model::entity::Role;
use latchstring_model::id::SessionId;
use latchstring_model::problem::Refused;
use latchstring_model::{Problem, Timestamp};

use crate::actor::{Actor, Person};
use crate::refusals;

pub use page::text;

/// What somebody has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ground {
    /// Nobody in particular: what is sent along decides (a password, a link).
    Anybody,
    /// Any person, in a session or with a key of either scope.
    Person,
    /// A person, in a session or with a key of scope `manage`.
    Manager,
    /// A person who has signed in; no key reaches it.
    Session,
    /// A superuser, in a session or with a key of scope `manage`.
    Superuser,
    /// Any member of the project, in a session or with a key of either scope.
    Look,
    /// The same, or a superuser.
    LookOrSuperuser,
    /// A member with at least this role, in a session or with a key of scope `manage`.
    Member(Role),
    /// A member with at least this role, with a key of either scope, or the project's own service key.
    Call(Role),
    /// The credential's owner: the person, or a member of the project that owns it with at least this role; in a
    /// session or with a key of scope `manage`.
    Owner(Role),
    /// The credential's owner, or any member of a project that uses it, who sees less; with a key of either scope.
    Seen,
    /// The credential's owner, or a member with at least this role of a project that uses it; in a session or with a
    /// key of scope `manage`.
    Used(Role),
    /// A superuser, where the credential's owner has left for good.
    Orphan,
    /// The person to whom a credential was offered; in a session or with a key of scope `manage`.
    Recipient,
}

/// Which part of the page an operation stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    Project,
    Credential,
    Instance,
}

impl Ground {
    pub fn about(self) -> About {
        match self {
            Self::Look | Self::LookOrSuperuser | Self::Member(_) | Self::Call(_) => About::Project,
            Self::Owner(_) | Self::Seen | Self::Used(_) | Self::Orphan | Self::Recipient => About::Credential,
            Self::Anybody | Self::Person | Self::Manager | Self::Session | Self::Superuser => About::Instance,
        }
    }
}

macro_rules! operations {
    ($($name:ident = $id:literal, $ground:expr, $what:literal, [$($method:literal $path:literal),* $(,)?];)*) => {
        /// Everything that somebody can ask for.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Operation { $(#[doc = $what] $name,)* }

        impl Operation {
            pub const ALL: &'static [Operation] = &[$(Operation::$name,)*];

            /// `<thing>.<verb>`, as the page and the tests name it.
            pub const fn id(self) -> &'static str {
                match self { $(Self::$name => $id,)* }
            }

            pub const fn ground(self) -> Ground {
                match self { $(Self::$name => $ground,)* }
            }

            /// In words.
            pub const fn what(self) -> &'static str {
                match self { $(Self::$name => $what,)* }
            }

            /// (method, path) of the addresses that do it.
            pub const fn endpoints(self) -> &'static [(&'static str, &'static str)] {
                match self { $(Self::$name => &[$(($method, $path),)*],)* }
            }
        }
    };
}

operations! {
    // Projects.
    ProjectLook = "project.look", Ground::Look, "look at the project", ["GET" "/api/v1/projects/{project}"];
    ProjectChange = "project.change", Ground::Member(Role::Admin), "change name, slug and environments",
        ["PATCH" "/api/v1/projects/{project}"];
    ProjectDelete = "project.delete", Ground::Member(Role::Owner), "delete the project", ["DELETE" "/api/v1/projects/{project}"];
    SecondFactorRequire = "second_factor.require", Ground::Member(Role::Owner), "require a second factor of the project's people", [];
    MembersList = "members.list", Ground::Look, "see the members", ["GET" "/api/v1/projects/{project}/members"];
    MemberSet = "member.set", Ground::Member(Role::Admin), "add members and change their roles (not owners')",
        ["PUT" "/api/v1/projects/{project}/members/{email}"];
    MemberRemove = "member.remove", Ground::Member(Role::Admin), "remove members (not owners)",
        ["DELETE" "/api/v1/projects/{project}/members/{email}"];
    MemberLeave = "member.leave", Ground::Member(Role::Viewer), "leave the project (not the last owner)", [];
    OwnersManage = "owners.manage", Ground::Member(Role::Owner), "make and unmake owners", [];
    ServiceKeysList = "service_keys.list", Ground::Look, "see the service keys", ["GET" "/api/v1/projects/{project}/api-keys"];
    ServiceKeyCreate = "service_key.create", Ground::Member(Role::Admin), "make service keys",
        ["POST" "/api/v1/projects/{project}/api-keys"];
    ServiceKeyEnd = "service_key.end", Ground::Member(Role::Admin), "end service keys",
        ["DELETE" "/api/v1/projects/{project}/api-keys/{id}"];
    AuditLook = "audit.look", Ground::Look, "read the audit trail", [
        "GET" "/api/v1/projects/{project}/audit",
        "GET" "/api/v1/projects/{project}/audit/export",
    ];
    SecretsList = "secrets.list", Ground::Look, "see names of secrets", [
        "GET" "/api/v1/projects/{project}/environments/{environment}/secrets",
        "GET" "/api/v1/projects/{project}/environments/{environment}/secrets/{name}",
    ];
    SecretSet = "secret.set", Ground::Member(Role::Editor), "set secrets",
        ["PUT" "/api/v1/projects/{project}/environments/{environment}/secrets/{name}"];
    SecretName = "secret.name", Ground::Member(Role::Admin), "write the name of a secret that somebody else has set into a credential", [];
    SecretDelete = "secret.delete", Ground::Member(Role::Editor), "delete secrets",
        ["DELETE" "/api/v1/projects/{project}/environments/{environment}/secrets/{name}"];
    VariablesList = "variables.list", Ground::Look, "read variables", [
        "GET" "/api/v1/projects/{project}/environments/{environment}/variables",
        "GET" "/api/v1/projects/{project}/environments/{environment}/variables/{name}",
    ];
    VariableSet = "variable.set", Ground::Member(Role::Editor), "set variables",
        ["PUT" "/api/v1/projects/{project}/environments/{environment}/variables/{name}"];
    VariableDelete = "variable.delete", Ground::Member(Role::Editor), "delete variables",
        ["DELETE" "/api/v1/projects/{project}/environments/{environment}/variables/{name}"];
    ProjectConnectorsLook = "project_connectors.look", Ground::Look, "see the project's own connectors (`?project=`)", [];
    ConnectorCreate = "connector.create", Ground::Member(Role::Admin), "upload connectors",
        ["POST" "/api/v1/projects/{project}/connectors"];
    ConnectorChange = "connector.change", Ground::Member(Role::Admin), "change connectors",
        ["PUT" "/api/v1/projects/{project}/connectors/{id}"];
    ConnectorDelete = "connector.delete", Ground::Member(Role::Admin), "delete connectors",
        ["DELETE" "/api/v1/projects/{project}/connectors/{id}"];
    ProjectClientsLook = "project_oauth_clients.look", Ground::LookOrSuperuser, "see the project's OAuth clients (`?project=`)", [];
    ProjectCredentialsList = "project_credentials.list", Ground::Look, "see which credentials the project uses (`?project=`)", [];
    CredentialShare = "credential.share", Ground::Member(Role::Editor), "share one's own credentials with the project", [];
    ConnectSessionCreate = "connect_session.create", Ground::Member(Role::Admin), "let an end user connect an account for the project",
        ["POST" "/api/v1/connect-sessions"];
    TeamCredentialCreate = "team_credential.create", Ground::Member(Role::Admin), "make credentials that the project owns", [];
    NameTake = "name.take", Ground::Member(Role::Admin), "take over a slug or external id that another credential had", [];
    ShareWithdraw = "share.withdraw", Ground::Member(Role::Admin), "see what stops without a credential, and withdraw it from the project", [
        "GET" "/api/v1/projects/{project}/credentials/{id}/usage",
        "DELETE" "/api/v1/projects/{project}/credentials/{id}",
    ];
    ShareAccept = "share.accept", Ground::Member(Role::Admin), "accept a credential's new destination",
        ["POST" "/api/v1/projects/{project}/credentials/{id}/accept"];
    KeychainsList = "keychains.list", Ground::Look, "see the keychains", [
        "GET" "/api/v1/projects/{project}/keychains",
        "GET" "/api/v1/projects/{project}/keychains/{keychain}",
    ];
    KeychainCreate = "keychain.create", Ground::Member(Role::Admin), "make keychains",
        ["POST" "/api/v1/projects/{project}/keychains"];
    KeychainChange = "keychain.change", Ground::Member(Role::Admin), "change keychains",
        ["PATCH" "/api/v1/projects/{project}/keychains/{keychain}"];
    KeychainDelete = "keychain.delete", Ground::Member(Role::Admin), "delete keychains",
        ["DELETE" "/api/v1/projects/{project}/keychains/{keychain}"];
    WebhooksList = "webhooks.list", Ground::Member(Role::Admin), "see webhooks and their deliveries", [
        "GET" "/api/v1/projects/{project}/webhooks",
        "GET" "/api/v1/projects/{project}/webhooks/{id}",
        "GET" "/api/v1/projects/{project}/webhooks/{id}/deliveries",
    ];
    WebhookCreate = "webhook.create", Ground::Member(Role::Admin), "make webhooks", ["POST" "/api/v1/projects/{project}/webhooks"];
    WebhookChange = "webhook.change", Ground::Member(Role::Admin), "change webhooks, their secrets, deliver again", [
        "PATCH" "/api/v1/projects/{project}/webhooks/{id}",
        "POST" "/api/v1/projects/{project}/webhooks/{id}/rotate-secret",
        "POST" "/api/v1/projects/{project}/webhooks/{id}/deliveries/{delivery}/redeliver",
    ];
    WebhookDelete = "webhook.delete", Ground::Member(Role::Admin), "delete webhooks",
        ["DELETE" "/api/v1/projects/{project}/webhooks/{id}"];
    AppliedList = "applied.list", Ground::Look, "see what `apply` has made", ["GET" "/api/v1/projects/{project}/applied"];
    AppliedMark = "applied.mark", Ground::Member(Role::Admin), "say what `apply` has made", [
        "PUT" "/api/v1/projects/{project}/applied/{kind}/{name}",
        "DELETE" "/api/v1/projects/{project}/applied/{kind}/{name}",
    ];
    Call = "call", Ground::Call(Role::Editor), "call: `/proxy`, operations, metadata", [
        "POST" "/api/v1/projects/{project}/environments/{environment}/credentials/{credential}/call/{operation}",
        "GET" "/api/v1/projects/{project}/environments/{environment}/credentials/{credential}/metadata/{name}",
    ];

    // One credential.
    CredentialLook = "credential.look", Ground::Seen, "look at it: fields for its owner, names of set secret fields for all others",
        ["GET" "/api/v1/credentials/{id}"];
    CredentialVerify = "credential.verify", Ground::Used(Role::Editor), "verify it", ["POST" "/api/v1/credentials/{id}/verify"];
    CredentialChange = "credential.change", Ground::Owner(Role::Admin), "edit values, names, shares and grants",
        ["PATCH" "/api/v1/credentials/{id}"];
    CredentialApprove = "credential.approve", Ground::Owner(Role::Admin), "approve a changed connector",
        ["POST" "/api/v1/credentials/{id}/approve"];
    CredentialAuthorize = "credential.authorize", Ground::Owner(Role::Admin), "connect an account",
        ["POST" "/api/v1/credentials/{id}/authorize"];
    CredentialCertificate = "credential.certificate", Ground::Owner(Role::Admin), "download the certificate of a key made here",
        ["GET" "/api/v1/credentials/{id}/certificate"];
    CredentialDisable = "credential.disable", Ground::Owner(Role::Admin), "disable and enable it", [
        "POST" "/api/v1/credentials/{id}/disable",
        "POST" "/api/v1/credentials/{id}/enable",
    ];
    CredentialDelete = "credential.delete", Ground::Owner(Role::Admin), "delete, purge and restore it", [
        "DELETE" "/api/v1/credentials/{id}",
        "POST" "/api/v1/credentials/{id}/restore",
    ];
    CredentialUsage = "credential.usage", Ground::Owner(Role::Admin), "see who uses it", ["GET" "/api/v1/credentials/{id}/usage"];
    CredentialVersions = "credential.versions", Ground::Owner(Role::Admin), "see its versions",
        ["GET" "/api/v1/credentials/{id}/versions"];
    CredentialAudit = "credential.audit", Ground::Owner(Role::Admin), "read what happened with it, in every project", [
        "GET" "/api/v1/credentials/{id}/audit",
        "GET" "/api/v1/credentials/{id}/audit/export",
    ];
    CredentialRevert = "credential.revert", Ground::Owner(Role::Admin), "go back to a version",
        ["POST" "/api/v1/credentials/{id}/versions/{version}/restore"];
    CredentialTransfer = "credential.transfer", Ground::Owner(Role::Admin), "offer it to another person, and take that back", [
        "POST" "/api/v1/credentials/{id}/transfer",
        "DELETE" "/api/v1/credentials/{id}/transfer",
    ];
    TransferAccept = "transfer.accept", Ground::Recipient, "look at an offer and accept it", [
        "GET" "/api/v1/transfers/{token}",
        "POST" "/api/v1/transfers/{token}/accept",
    ];
    CredentialGive = "credential.give", Ground::Orphan, "give it to another member of its projects, values unread",
        ["POST" "/api/v1/credentials/{id}/owner"];

    // Everything else.
    CredentialsList = "credentials.list", Ground::Person, "list one's own credentials", ["GET" "/api/v1/credentials"];
    CredentialCreate = "credential.create", Ground::Manager, "store a credential of one's own", ["POST" "/api/v1/credentials"];
    TransfersList = "transfers.list", Ground::Person, "see offers from and to oneself", ["GET" "/api/v1/me/transfers"];
    NoticesList = "notices.list", Ground::Person, "read one's own notices", ["GET" "/api/v1/me/notices"];
    NoticesRead = "notices.read", Ground::Manager, "mark one's own notices as read", [
        "POST" "/api/v1/me/notices/read",
        "POST" "/api/v1/me/notices/{id}/read",
    ];
    ProjectsList = "projects.list", Ground::Person, "list one's own projects", ["GET" "/api/v1/projects"];
    ProjectCreate = "project.create", Ground::Manager, "make a project", ["POST" "/api/v1/projects"];
    ConnectorsLook = "connectors.look", Ground::Person, "see the built-in connectors", [
        "GET" "/api/v1/connectors",
        "GET" "/api/v1/connectors/{id}",
    ];
    ClientsLook = "oauth_clients.look", Ground::Person, "see OAuth clients that one may use", [
        "GET" "/api/v1/oauth-clients",
        "GET" "/api/v1/oauth-clients/{id}",
    ];
    ClientCreate = "oauth_client.create", Ground::Superuser, "register OAuth clients", ["POST" "/api/v1/oauth-clients"];
    ClientChange = "oauth_client.change", Ground::Superuser, "change and delete OAuth clients", [
        "PATCH" "/api/v1/oauth-clients/{id}",
        "DELETE" "/api/v1/oauth-clients/{id}",
    ];
    UsersLook = "users.look", Ground::Superuser, "see all people, and what those who left have left behind", [
        "GET" "/api/v1/users",
        "GET" "/api/v1/users/{id}",
        "GET" "/api/v1/users/{id}/credentials",
    ];
    UserCreate = "user.create", Ground::Superuser, "make accounts and invite people", [
        "POST" "/api/v1/users",
        "POST" "/api/v1/invites",
    ];
    UserChange = "user.change", Ground::Superuser, "activate, deactivate, make superusers", ["PATCH" "/api/v1/users/{id}"];
    MeLook = "me.look", Ground::Person, "see who one is", ["GET" "/api/v1/me"];
    MeChange = "me.change", Ground::Manager, "change one's own names", ["PATCH" "/api/v1/me"];
    PasswordChange = "password.change", Ground::Session, "change one's own password", ["PUT" "/api/v1/me/password"];
    OwnKeysLook = "own_keys.look", Ground::Session, "see one's own keys", ["GET" "/api/v1/me/keys"];
    OwnKeyCreate = "own_key.create", Ground::Session, "make personal keys", ["POST" "/api/v1/me/keys"];
    OwnKeyEnd = "own_key.end", Ground::Session, "end personal keys (a key may end itself)", ["DELETE" "/api/v1/me/keys/{id}"];
    SessionsLook = "sessions.look", Ground::Session, "see one's own sessions", ["GET" "/api/v1/me/sessions"];
    SessionsEnd = "sessions.end", Ground::Session, "end one's own sessions", [
        "DELETE" "/api/v1/me/sessions",
        "DELETE" "/api/v1/me/sessions/{id}",
        "DELETE" "/api/v1/session",
    ];
    SessionConfirm = "session.confirm", Ground::Session, "show anew who one is", [
        "POST" "/api/v1/session/confirm",
        "POST" "/api/v1/session/confirm/provider",
    ];
    FactorLook = "own_factor.look", Ground::Session, "see whether one has a second factor", ["GET" "/api/v1/me/totp"];
    FactorChange = "own_factor.change", Ground::Session, "set one's own second factor up, make recovery codes, remove it", [
        "POST" "/api/v1/me/totp",
        "POST" "/api/v1/me/totp/confirm",
        "POST" "/api/v1/me/totp/recovery-codes",
        "DELETE" "/api/v1/me/totp",
    ];
    FactorRemove = "factor.remove", Ground::Superuser, "remove somebody's second factor", ["DELETE" "/api/v1/users/{id}/totp"];
    IdentitiesLook = "own_identities.look", Ground::Session, "see the identities that one's account is linked with",
        ["GET" "/api/v1/me/identities"];
    IdentitiesChange = "own_identities.change", Ground::Session, "link and unlink them", [
        "POST" "/api/v1/me/identities",
        "DELETE" "/api/v1/me/identities/{id}",
    ];
    InstanceLook = "instance.look", Ground::Person, "see this server's settings", ["GET" "/api/v1/instance"];
    InstanceChange = "instance.change", Ground::Superuser, "change this server's settings", ["PATCH" "/api/v1/instance"];
    InstanceAudit = "instance.audit", Ground::Superuser, "read what happened to this server: of no project, of no credential", [
        "GET" "/api/v1/audit",
        "GET" "/api/v1/audit/export",
    ];
    ComeIn = "come_in", Ground::Anybody, "sign in, accept an invitation, reset a forgotten password, set the server up", [
        "GET" "/api/v1/session/ways",
        "POST" "/api/v1/session",
        "POST" "/api/v1/password-resets",
        "POST" "/api/v1/password-resets/accept",
        "POST" "/api/v1/invites/accept",
        "POST" "/api/v1/setup",
    ];
}

impl Operation {
    /// What a project's service account may do, in its own project and with what that project owns. Whatever is not
    /// named here is for people.
    pub const fn for_accounts(self) -> bool {
        use Operation as O;
        matches!(
            self,
            // It looks as a member does.
            O::ProjectLook | O::MembersList | O::ServiceKeysList | O::AuditLook | O::SecretsList | O::VariablesList
                | O::ProjectConnectorsLook | O::ProjectClientsLook | O::ProjectCredentialsList | O::KeychainsList
                | O::WebhooksList | O::AppliedList | O::CredentialLook | O::CredentialUsage | O::CredentialVersions
                | O::CredentialAudit | O::CredentialsList | O::ProjectsList | O::ConnectorsLook | O::ClientsLook
                // It manages the project. Of people: viewers and editors; of keys: it ends itself.
                | O::ProjectChange | O::MemberSet | O::MemberRemove | O::ServiceKeyEnd | O::SecretSet | O::SecretDelete
                | O::VariableSet | O::VariableDelete | O::ConnectorCreate | O::ConnectorChange | O::ConnectorDelete
                | O::WebhookCreate | O::WebhookChange | O::WebhookDelete
                | O::KeychainCreate | O::KeychainChange | O::KeychainDelete | O::AppliedMark
                // And what the project owns: no destination, no consent, no purge, no other owner.
                | O::CredentialShare | O::TeamCredentialCreate | O::NameTake | O::SecretName | O::ShareWithdraw | O::CredentialVerify
                | O::CredentialChange | O::CredentialDisable | O::CredentialDelete | O::CredentialRevert
                | O::CredentialCertificate | O::ConnectSessionCreate
        )
    }
}

/// A use case asked for a decision that its ground cannot give: a fault of ours, and never a yes.
pub(crate) fn misplaced(operation: Operation) -> Box<Problem> {
    refusals::internal(&format!("{} was asked for in the wrong place", operation.id()))
}

impl Actor {
    /// For what depends on nobody but who acts: no project, no credential.
    pub fn may(&self, operation: Operation) -> Refused<&Person> {
        match operation.ground() {
            Ground::Person => self.person(),
            Ground::Manager | Ground::Recipient => self.manager(),
            Ground::Session => Ok(self.in_session()?.0),
            Ground::Superuser | Ground::Orphan => self.superuser(),
            _ => Err(misplaced(operation)),
        }
    }

    /// For what is done in a session alone: also which, and when the password was given last.
    pub fn in_session_for(&self, operation: Operation) -> Refused<(&Person, &SessionId, Timestamp)> {
        if operation.ground() == Ground::Session { self.in_session() } else { Err(misplaced(operation)) }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_operation_has_its_own_name_and_every_address_one_operation() {
        let (mut ids, mut addresses) = (HashSet::new(), HashSet::new());
        for operation in Operation::ALL {
            assert!(ids.insert(operation.id()), "{}", operation.id());
            for endpoint in operation.endpoints() {
                assert!(addresses.insert(endpoint), "{endpoint:?}");
            }
        }
    }

    #[test]
    fn what_is_asked_in_the_wrong_place_is_refused() {
        let operator = Actor::operator();
        for operation in Operation::ALL {
            assert!(operator.may(*operation).is_err(), "{}", operation.id());
        }
    }
}
