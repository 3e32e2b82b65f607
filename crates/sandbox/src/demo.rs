//! The sandbox's credentials. They are fixed, public and guard nothing but sample data: that is what
//! lets the start message and the README print them.

/// Everything that a newcomer needs to try each way of proving who one is.
#[derive(Clone, Copy, Debug)]
pub struct Demo {
    /// Header `X-API-Key`.
    pub api_key: &'static str,
    /// A key that may look and not write: a POST with it is a 403.
    pub read_only_api_key: &'static str,
    /// HTTP Basic.
    pub username: &'static str,
    pub password: &'static str,
    /// OAuth 2 client credentials.
    pub client_id: &'static str,
    pub client_secret: &'static str,
    pub scopes: &'static [&'static str],
    /// `iss` of assertions and of signed requests.
    pub issuer: &'static str,
    /// `sub` of an assertion: a person who lets the issuer act for her.
    pub subject: &'static str,
    /// A person who does not.
    pub unapproved_subject: &'static str,
    /// PKCS#8; signs assertions and requests with RS256.
    pub private_key: &'static str,
    /// What the sandbox has registered for it.
    pub public_key: &'static str,
    /// Signs requests with HS256.
    pub shared_secret: &'static str,
}

pub const DEMO: Demo = Demo {
    api_key: "sandbox-key-not-a-secret",
    read_only_api_key: "sandbox-read-only-key-not-a-secret",
    username: "sandbox",
    password: "sandbox-password-not-a-secret",
    client_id: "sandbox-client",
    client_secret: "sandbox-client-secret-not-a-secret",
    scopes: &["people:read", "people:write"],
    issuer: "sandbox-robot",
    subject: "ada@example.com",
    unapproved_subject: "grace@example.com",
    private_key: include_str!("../keys/demo-private-not-a-secret.pem"),
    public_key: include_str!("../keys/demo-public.pem"),
    shared_secret: "sandbox-shared-secret-of-32-bytes-or-more-not-a-secret",
};
