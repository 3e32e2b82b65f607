//! What a request is called in the audit trail: one line per endpoint that changes something, or that shows what only
//! few may see. A refused or failed try is recorded under this name by the entrance; that it went well, by the use case.

use axum::http::Method;

/// Method, path as the document has it, action. Without an action (`""`) refusals are recorded by the use case.
const ACTIONS: &[(Method, &str, &str)] = &[
    (Method::GET, "/api/v1/credentials/{id}", "credential.view"),
    (Method::GET, "/api/v1/credentials/{id}/certificate", "credential.view"),
    (Method::GET, "/api/v1/credentials/{id}/usage", "credential.view"),
    (Method::GET, "/api/v1/projects/{project}/credentials/{id}/usage", "credential.view"),
    (Method::GET, "/api/v1/credentials/{id}/versions", "credential.view"),
    (Method::GET, "/api/v1/credentials/{id}/audit", "credential.view"),
    (Method::GET, "/api/v1/projects/{project}/audit/export", "audit.export"),
    (Method::GET, "/api/v1/credentials/{id}/audit/export", "audit.export"),
    (Method::GET, "/api/v1/audit/export", "audit.export"),
    (Method::POST, "/api/v1/setup", ""),
    (Method::POST, "/api/v1/session", ""),
    (Method::DELETE, "/api/v1/session", "session.delete"),
    (Method::POST, "/api/v1/session/confirm", "session.confirm"),
    (Method::POST, "/api/v1/session/confirm/provider", "session.confirm"),
    (Method::POST, "/api/v1/password-resets", ""),
    (Method::POST, "/api/v1/password-resets/accept", ""),
    (Method::PATCH, "/api/v1/instance", "instance.update"),
    (Method::POST, "/api/v1/me/totp", "second_factor.offer"),
    (Method::DELETE, "/api/v1/me/totp", "second_factor.delete"),
    (Method::POST, "/api/v1/me/totp/confirm", "second_factor.create"),
    (Method::POST, "/api/v1/me/totp/recovery-codes", "second_factor.codes"),
    (Method::POST, "/api/v1/me/identities", "identity.create"),
    (Method::DELETE, "/api/v1/me/identities/{id}", "identity.delete"),
    (Method::DELETE, "/api/v1/users/{id}/totp", "second_factor.delete"),
    (Method::PATCH, "/api/v1/me", "user.update"),
    (Method::PUT, "/api/v1/me/password", "password.set"),
    (Method::POST, "/api/v1/me/keys", "key.create"),
    (Method::DELETE, "/api/v1/me/keys/{id}", "key.delete"),
    (Method::DELETE, "/api/v1/me/sessions", "session.delete"),
    (Method::DELETE, "/api/v1/me/sessions/{id}", "session.delete"),
    (Method::POST, "/api/v1/users", "user.create"),
    (Method::PATCH, "/api/v1/users/{id}", "user.update"),
    (Method::POST, "/api/v1/invites", "invite.create"),
    (Method::POST, "/api/v1/invites/accept", ""),
    (Method::POST, "/api/v1/projects", "project.create"),
    (Method::PATCH, "/api/v1/projects/{project}", "project.update"),
    (Method::DELETE, "/api/v1/projects/{project}", "project.delete"),
    (Method::PUT, "/api/v1/projects/{project}/members/{email}", "member.set"),
    (Method::DELETE, "/api/v1/projects/{project}/members/{email}", "member.delete"),
    (Method::POST, "/api/v1/projects/{project}/api-keys", "key.create"),
    (Method::DELETE, "/api/v1/projects/{project}/api-keys/{id}", "key.delete"),
    (Method::PUT, "/api/v1/projects/{project}/environments/{environment}/secrets/{name}", "secret.set"),
    (Method::DELETE, "/api/v1/projects/{project}/environments/{environment}/secrets/{name}", "secret.delete"),
    (Method::PUT, "/api/v1/projects/{project}/environments/{environment}/variables/{name}", "variable.set"),
    (
        Method::DELETE,
        "/api/v1/projects/{project}/environments/{environment}/variables/{name}",
        "variable.delete",
    ),
    (Method::POST, "/api/v1/projects/{project}/connectors", "connector.create"),
    (Method::PUT, "/api/v1/projects/{project}/connectors/{id}", "connector.update"),
    (Method::DELETE, "/api/v1/projects/{project}/connectors/{id}", "connector.delete"),
    // Refused calls are noted like those of /proxy.
    (
        Method::POST,
        "/api/v1/projects/{project}/environments/{environment}/credentials/{credential}/call/{operation}",
        "",
    ),
    (Method::POST, "/api/v1/oauth-clients", "oauth_client.create"),
    (Method::PATCH, "/api/v1/oauth-clients/{id}", "oauth_client.update"),
    (Method::DELETE, "/api/v1/oauth-clients/{id}", "oauth_client.delete"),
    (Method::POST, "/api/v1/connect-sessions", "connect_session.create"),
    (Method::POST, "/api/v1/credentials", "credential.create"),
    (Method::PATCH, "/api/v1/credentials/{id}", "credential.update"),
    (Method::DELETE, "/api/v1/credentials/{id}", "credential.delete"),
    (Method::POST, "/api/v1/credentials/{id}/approve", "credential.approve"),
    (Method::POST, "/api/v1/credentials/{id}/verify", "credential.verify"),
    (Method::POST, "/api/v1/credentials/{id}/authorize", "credential.authorize"),
    (Method::POST, "/api/v1/credentials/{id}/disable", "credential.disable"),
    (Method::POST, "/api/v1/credentials/{id}/enable", "credential.enable"),
    (Method::POST, "/api/v1/credentials/{id}/restore", "credential.restore"),
    (Method::POST, "/api/v1/credentials/{id}/versions/{version}/restore", "credential.update"),
    (Method::DELETE, "/api/v1/projects/{project}/credentials/{id}", "credential.share"),
    (Method::POST, "/api/v1/projects/{project}/credentials/{id}/accept", "credential.accept"),
    (Method::POST, "/api/v1/credentials/{id}/transfer", "credential.transfer"),
    (Method::DELETE, "/api/v1/credentials/{id}/transfer", "credential.transfer"),
    (Method::POST, "/api/v1/transfers/{token}/accept", "credential.transfer"),
    (Method::POST, "/api/v1/credentials/{id}/owner", "credential.transfer"),
    (Method::POST, "/api/v1/me/notices/read", "notice.read"),
    (Method::POST, "/api/v1/me/notices/{id}/read", "notice.read"),
    (Method::PUT, "/api/v1/projects/{project}/applied/{kind}/{name}", "applied.mark"),
    (Method::DELETE, "/api/v1/projects/{project}/applied/{kind}/{name}", "applied.unmark"),
    (Method::POST, "/api/v1/projects/{project}/keychains", "keychain.create"),
    (Method::PATCH, "/api/v1/projects/{project}/keychains/{keychain}", "keychain.update"),
    (Method::DELETE, "/api/v1/projects/{project}/keychains/{keychain}", "keychain.delete"),
    (Method::POST, "/api/v1/projects/{project}/webhooks", "webhook.create"),
    (Method::PATCH, "/api/v1/projects/{project}/webhooks/{id}", "webhook.update"),
    (Method::DELETE, "/api/v1/projects/{project}/webhooks/{id}", "webhook.delete"),
    (Method::POST, "/api/v1/projects/{project}/webhooks/{id}/rotate-secret", "webhook.rotate"),
    (
        Method::POST,
        "/api/v1/projects/{project}/webhooks/{id}/deliveries/{delivery}/redeliver",
        "webhook.redeliver",
    ),
];

/// Every endpoint whose use is recorded, with its action: what the tests go through.
pub fn all() -> &'static [(Method, &'static str, &'static str)] {
    ACTIONS
}

/// For the refusals that the entrance records.
pub fn of(method: &Method, path: &str) -> Option<&'static str> {
    let found = ACTIONS.iter().find(|(known, pattern, _)| known == method && *pattern == path);
    found.map(|(_, _, action)| *action).filter(|action| !action.is_empty())
}

/// Whether the endpoint was thought of.
pub fn knows(method: &Method, path: &str) -> bool {
    ACTIONS.iter().any(|(known, pattern, _)| known == method && *pattern == path)
}
